/* SPDX-License-Identifier: MIT */
/* What stands around the holder of a request: what its descriptors lead to, who has their
 * other ends, the pool of workers it is one of, its host, what CPU its threads use. Looks
 * while everything runs, a little at a time; stops nothing. */
#ifndef REQTRAP_SCENE_H
#define REQTRAP_SCENE_H

#include "host.h"
#include "incident.h"
#include "loop.h"
#include "moment.h"

struct scene_spec {
	struct loop *loop;
	struct incident *incident;   /* its holder, analysis and pause are there; its scene is filled */
	int fd;			     /* of the holder: the request came by it; -1 not known, or no request */
	uint64_t ino;		     /* ... and its socket */
	int waited_fd;		     /* its call to somebody else that is not answered; -1 none */
	uint64_t since_ns;	     /* when the request began */
	struct host_log *log;	     /* NULL: nothing is known of the time before */
	const struct moment *before; /* CPU of its threads, earlier; NULL */

	/* The request that a process works on, by its socket (0: any) as 'GET /path'. False: none
	 * is known. NULL: nobody watches; the pool is that of the first socket that the process
	 * listens on, and who waits for no work is busy. */
	bool (*work)(void *arg, pid_t pid, uint64_t ino, char *buf, size_t size);
	void (*done)(void *arg); /* not from within scene_begin */
	void *arg;
};

struct scene_look;

/* The port at the other end of 'tcp 10.0.0.8:51234 -> 10.0.0.5:5432', or the one that the
 * service behind 'unix:/run/.s.PGSQL.5432' has elsewhere; 0: not known. */
uint16_t scene_port(const char *what);

struct scene_look *scene_begin(const struct scene_spec *spec); /* NULL: no memory, or the process has ended */
void scene_free(struct scene_look *look);		       /* also before it is through; NULL is fine */

#endif
