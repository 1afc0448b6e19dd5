/* SPDX-License-Identifier: MIT */
/* The dead copies that killed workers leave in their targets: a journal of where one may
 * be, and how one is told from a child of the target's own. Reads /proc; stops nothing,
 * reaps nothing. An entry is an empty file; its name says all, so it is whole or absent.
 * The directory: /run/reqtrap/leftovers for root, else the same below $XDG_RUNTIME_DIR. */
#ifndef REQTRAP_LEFTOVER_H
#define REQTRAP_LEFTOVER_H

#include "proc.h"

#define LEFTOVER_NAME_MAX 128

/* A worker of ours that has, or had, a copy of 'target'. */
struct leftover {
	char name[LEFTOVER_NAME_MAX]; /* of the entry; '' none */
	pid_t target, worker;
	uint64_t target_start, worker_start, pid_namespace;
};

/* The journal's directory, the caller's; runtime_dir NULL: as above. Refused (-EPERM) if
 * others could write to it. With 'make' it is made. */
int leftover_open(const char *runtime_dir, bool make);

/* Before the clone, by the worker: writes the entry. Does not sync: after a power cut
 * there is no target either. */
int leftover_note(int dir_fd, const struct proc *target, struct leftover *ret_left);
void leftover_forget(int dir_fd, struct leftover *left);

/* Calls fn for each entry whose worker is gone; fn may forget it. */
void leftover_each(int dir_fd, void (*fn)(void *arg, int dir_fd, struct leftover *left), void *arg);

/* Has the journal an entry for the process, by a worker that lives, or by one that is gone? */
bool leftover_noted(const struct proc *target, bool alive);

/* One copy in the process without a worker: its id here, and inside the target's own pid
 * namespace. 0: none. ret_dead false: it is on its way out, and cannot be reaped yet. */
pid_t leftover_find(const struct proc *target, pid_t *ret_inside, bool *ret_dead);

/* Is its main thread still inside the call that makes a copy? Seen while it waits there,
 * not while it runs. */
bool leftover_coming(const struct proc *target);

#endif
