/* SPDX-License-Identifier: MIT */
/* Where dumps are put: a folder in safe hands and a pattern for their names. A name is
 * taken by a whole dump only, and what has it already is not touched, but by 'replace',
 * and then only a regular file. Does not know what a dump is. Blocks on the disk. */
#ifndef REQTRAP_PLACE_H
#define REQTRAP_PLACE_H

#include "err.h"
#include "procdump.h"

struct place {
	int dir_fd;	     /* owned */
	char *dir;	     /* absolute; owned */
	const char *pattern; /* the file named by the path, into it; NULL: a folder was */
	unsigned int swept;  /* unfinished dumps of runs that were killed, which it has removed */
};

struct place_name {
	struct dump_name of;
	bool replace;
	unsigned int number; /* to begin with; 0: the plain name */
};

bool place_is_file(const char *path); /* it names a file, there or not; else a folder, or NULL */

/* path NULL: the current folder. Who called sudo may own it. -EPERM: not in safe hands. */
int place_open(const char *path, struct place *ret_place, struct err *err);
void place_close(struct place *place);

/* The name that is meant, before anything is done for it. -EINVAL: what has it is nothing
 * that a dump could be put in the place of, or beside. */
int place_look(const struct place *place, const struct place_name *name, char *ret_name, size_t size, struct err *err);

/* Gives the finished 'part' its name: the first that is free. -EEXIST: none is. */
int place_take(const struct place *place, const char *part, const struct place_name *name, char *ret_name, size_t size,
	       struct err *err);

#endif
