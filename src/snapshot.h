/* SPDX-License-Identifier: MIT */
/* A frozen copy of a process: a clone made inside it, copy-on-write, that never runs
 * an instruction of it. Refuses rather than risks: every refusal has words. Does not
 * know what the copy is for; ptrace only through freeze.h and arch.h. */
#ifndef REQTRAP_SNAPSHOT_H
#define REQTRAP_SNAPSHOT_H

#include "freeze.h"

struct snapshot {
	const struct proc *proc;
	const struct freeze *host;   /* that stays attached to all threads, set by the caller; NULL: none is */
	int status_fd;		     /* of the thread that makes the copy */
	int target_mem_fd;	     /* /proc/PID/mem, read-write */
	struct proc_program program; /* that the site was found in */
	struct arch_site site;
	struct arch_frames frames;
	pid_t tid;			/* the thread that makes and reaps it */
	pid_t child;			/* 0: none */
	int64_t child_inside;		/* its id in the target's own pid namespace */
	int dir_fd, mem_fd, pagemap_fd; /* /proc/CHILD and files in it */
};

/* Finds where a clone could be made. Stops nothing. 0, or -EOPNOTSUPP with the reason
 * in 'why' (one line for the user). snapshot_close must follow in any case. */
int snapshot_prepare(struct snapshot *snapshot, const struct proc *proc, const struct proc_maps *maps, char *why,
		     size_t why_size);

/* Last looks at the stopped threads, then makes the clone. All threads must be stopped.
 * 0; -EOPNOTSUPP with 'why', the process being as before; -ETIMEDOUT with 'why': a
 * thread is still inside the call, the caller must exit at once. */
int snapshot_take(struct snapshot *snapshot, struct freeze *freeze, uint64_t wait_ns, char *why, size_t why_size);

/* After the thaw: ties the copy's life to ours, makes it the first to go when memory
 * is short, opens its memory. */
int snapshot_hold(struct snapshot *snapshot, struct err *err);
bool snapshot_alive(const struct snapshot *snapshot);

/* Is there room for what the process writes to meanwhile, which is most_bytes at most? To be
 * asked now and then: -ECANCELED in words, before the kernel kills somebody for it. It takes
 * the copy first; but whose memory is being read is gone before its memory is, and then the
 * process itself is the next. */
int snapshot_room(const struct snapshot *snapshot, uint64_t most_bytes, struct err *err);

/* Kills the copy and has the target reap it, which stops one thread of the target for
 * a moment (added to ret_pause_ns), and what killed workers have left there before.
 * Fails if a zombie child of ours stays in the target. */
int snapshot_drop(struct snapshot *snapshot, uint64_t *ret_pause_ns, struct err *err);

/* Without a clone: only has the target reap what killed workers have left there, which
 * stops one of its threads for a moment each. Waits some seconds for one that is still on
 * its way out. Fails if one stays. snapshot_close must follow in any case. */
int snapshot_reap(struct snapshot *snapshot, const struct proc *proc, const struct proc_maps *maps,
		  uint64_t *ret_pause_ns, struct err *err);
void snapshot_close(struct snapshot *snapshot); /* closes fds; kills nothing */

#endif
