/* SPDX-License-Identifier: MIT */
/* The processes that a tracer watches: those that were named, what they fork, and who
 * answers their calls. Each is held by a pidfd, so that a number that is given to
 * another process is never taken for it. Knows nothing of rules. */
#ifndef REQTRAP_WATCHED_H
#define REQTRAP_WATCHED_H

#include "loop.h"
#include "tracer.h"

struct watched_config {
	struct loop *loop;
	struct tracer *tracer;
	void (*came)(void *arg, pid_t pid); /* one is watched; NULL allowed */
	void (*gone)(void *arg, pid_t pid); /* one has ended; NULL allowed */
	void (*all_gone)(void *arg);	    /* the last that was not adopted has; once; NULL allowed */
	void *arg;
};

struct watched;

int watched_new(const struct watched_config *config, struct watched **ret_watched, struct err *err);
void watched_free(struct watched *watched);

/* -ESRCH: it has ended. */
int watched_add(struct watched *watched, pid_t pid, struct err *err);

/* Probes for libraries that were loaded, and programs that were started, since. */
void watched_probe(struct watched *watched);

/* RECORD_FORK and RECORD_ADOPTED; true if it was one of them. */
bool watched_record(struct watched *watched, const struct record *record);

#endif
