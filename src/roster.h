/* SPDX-License-Identifier: MIT */
/* Which series of dumps run here, and of which processes: one file for each in our
 * runtime folder, locked as long as its series runs. Only the same user's are seen. */
#ifndef REQTRAP_ROSTER_H
#define REQTRAP_ROSTER_H

#include "proc.h"

struct roster {
	int dir_fd, fd; /* -1: there is no entry */
	char name[64];
};

/* Our own entry. -ENOENT: this user has no runtime folder. */
int roster_open(const char *runtime_dir, struct roster *ret_roster);
int roster_add(struct roster *roster, const struct proc *proc); /* one more process of ours */
void roster_close(struct roster *roster);			/* and removes the entry */

/* Asks each series on that process to end (SIGTERM): only a process that is proved to be
 * the one that made the entry. Entries of those that were killed are removed. */
int roster_cancel(const char *runtime_dir, const struct proc *proc, unsigned int *ret_asked, struct err *err);

#endif
