/* SPDX-License-Identifier: MIT */
/* A process that dumps are to be taken of: found by the word that was typed, one that
 * may be dumped, held so that no later one can be taken for it. Stops nothing. */
#ifndef REQTRAP_SUBJECT_H
#define REQTRAP_SUBJECT_H

#include "proc.h"
#include "target.h"

struct subject {
	struct proc proc;
	char process[64]; /* its name when it was opened, escaped */
};

/* The processes that a word names and that live, never this one: a PID, a name, a pattern.
 * any_case: as typed on Windows; ret_loosely then says that only this made it fit.
 * -ESRCH: none, -EINVAL: no such word; in words. */
int subject_find(const char *word, bool any_case, struct targets *ret_targets, bool *ret_loosely, struct err *err);

/* -EINVAL with the list where there are several: the newest nginx is a worker today and
 * the master after a reload. */
int subject_only(const char *word, const struct targets *targets, struct err *err);

/* -ESRCH, -EINVAL (no such thing can be dumped), -EPERM; with what to do about it. */
int subject_open(pid_t pid, struct subject *ret_subject, struct err *err);
void subject_close(struct subject *subject);

#endif
