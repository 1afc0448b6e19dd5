/* SPDX-License-Identifier: MIT */
/* All threads of a process are attached to, and run: each signal that one of them gets is
 * seen before it has it, each end while the memory is there. New threads are followed,
 * children are not. Does not know what for. Our death, at any instant, lets all go.
 *
 * SIGCHLD must be blocked. Between two calls of follow_next threads may stand and wait:
 * keep it short. If we are stopped ourselves for FOLLOW_DEAF_NS, the kernel ends us. */
#ifndef REQTRAP_FOLLOW_H
#define REQTRAP_FOLLOW_H

#include "freeze.h"

#include <signal.h>

#define FOLLOW_DEAF_NS (5 * NSEC_PER_SEC)

enum follow_kind {
	FOLLOW_NOTHING, /* the time is over, or one of the other signals is there for us */
	FOLLOW_SIGNAL,	/* 'tid' stands before 'signal': follow_pass must follow */
	FOLLOW_EXIT,	/* 'tid' stands at its end, and with it the process: follow_pass must follow */
	FOLLOW_END,	/* the process is gone, its parent was told */
};

struct follow_event {
	enum follow_kind kind;
	pid_t tid;
	siginfo_t info; /* of the signal; si_signo is set even if the rest is not known */
	int status;	/* of the exit or end, as of wait(); -1: not known */
	int ours;	/* FOLLOW_NOTHING: a signal to us that was taken, 0 none */
};

#define FOLLOWED_LEAVING 16

struct follow {
	struct freeze *freeze;
	pid_t leaving[FOLLOWED_LEAVING]; /* threads let go at their end, the last ones */
	unsigned int left;
	pid_t hint; /* SIGCHLD named it */
	int status; /* of the end, as far as it was seen coming; -1 */
};

/* Attaches to all threads. exits: their ends are looked at, too, which costs a stop for
 * each thread that ends. Errors as freeze_seize. */
int follow_begin(struct follow *follow, struct freeze *freeze, bool exits, struct err *err);

/* What comes next. Waits for wait_ns at most; 'ours' are signals to us (blocked) that end
 * the wait, NULL: none. */
void follow_next(struct follow *follow, uint64_t wait_ns, const sigset_t *ours, struct follow_event *ret_event);
void follow_pass(struct follow *follow, const struct follow_event *event);

/* The same, and the thread is not followed any more. */
void follow_release(struct follow *follow, const struct follow_event *event);

#endif
