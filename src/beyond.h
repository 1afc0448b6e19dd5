/* SPDX-License-Identifier: MIT */
/* What stands behind the wait of a captured thread, in other processes: who holds the file
 * lock, has the pipe's or the socket's other end, is the child that is waited for; what that
 * one does in turn; and so on to the end of the chain. Each process on the way is stopped
 * for a look at its stacks like the first, never for a core, and once at most; one that may
 * not be stopped is named, with the reason. Runs on the loop. */
#ifndef REQTRAP_BEYOND_H
#define REQTRAP_BEYOND_H

#include "incident.h"
#include "loop.h"

#define BEYOND_STEPS 8
#define BEYOND_NS 2000000000ull /* for all of it */

#define BEYOND_RECENT 8
#define BEYOND_RECENT_NS 1000000000ull

struct beyond_walk;

/* Looks of a moment ago: many requests that wait for one process stop it once. */
struct beyond_recent {
	pid_t pid;
	uint64_t start_ticks, taken_ns;
	char *analysis; /* as JSON */
};

void beyond_recent_done(struct beyond_recent recent[BEYOND_RECENT]);

struct beyond_spec {
	struct loop *loop;
	struct incident *incident; /* its analysis is there; gets the rows */
	pid_t tid;		   /* of its analysis: where the chain begins */
	uint64_t pause_budget_ns;
	struct beyond_recent *recent; /* BEYOND_RECENT of them, shared by walks; NULL: none */
	/* Fills in what request that process, or thread, works on, and by which thread, if that
	 * is known. socket: inode of its end of a connection, 0 none. NULL: nothing is watched. */
	void (*work)(void *arg, struct beyond *row, uint64_t socket);
	void (*done)(void *arg); /* from the loop; beyond_free must follow */
	void *arg;
};

/* NULL: the thread waits for nothing that another process might have, or no memory. */
struct beyond_walk *beyond_begin(const struct beyond_spec *spec);
void beyond_free(struct beyond_walk *walk); /* at once; what was found stays. NULL is fine */

#endif
