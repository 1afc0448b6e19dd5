/* SPDX-License-Identifier: MIT */
/* TARGETs of the verbs that trace: named, or started by us. */
#ifndef REQTRAP_CMD_TARGETS_H
#define REQTRAP_CMD_TARGETS_H

#include "child.h"
#include "loop.h"
#include "options.h"
#include "target.h"
#include "tracer.h"

/* -EINVAL with words when the command line names none. */
int targets_named(const struct command_line *line, struct err *err);

/* --hooks and --slots: each is written only if it was given. */
int targets_how(const struct command_line *line, enum tracer_hooks *ret_hooks, unsigned int *ret_slots,
		struct err *err);

/* Starts the command after '--' (into *command, whose pid is 0 before) and calls add()
 * for each process that is meant, workers included. Of many, some may end meanwhile. */
int targets_add(const struct command_line *line, struct child *command,
		int (*add)(void *arg, pid_t pid, struct err *err), void *arg, size_t *ret_added, struct err *err);

/* Adds the children of each that run the same program: what a master has forked already.
 * Reads all of /proc once for each. */
void targets_workers(struct targets *targets);

/* What we started ends with us: TERM, then it gets a while, or until loop_stop. */
void command_end(struct child *command, struct loop *loop);

#endif
