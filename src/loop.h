/* SPDX-License-Identifier: MIT */
/* One epoll loop: fds and timers, no threads. Callbacks must not block.
 * A source may be removed from inside any callback, its own too. */
#ifndef REQTRAP_LOOP_H
#define REQTRAP_LOOP_H

#include "err.h"

struct loop;
struct source;

int loop_new(struct loop **ret_loop, struct err *err);
void loop_free(struct loop *loop); /* frees all sources; closes none of the callers' fds */

/* Calls fn(arg, events) when fd has 'events' (EPOLLIN ...). The fd stays the caller's. */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
		struct source **ret_source);

/* Calls fn(arg, 0) at 'when_ns' (CLOCK_MONOTONIC), then every 'every_ns' if not 0.
 * A one-shot timer source stays allocated until loop_remove. */
int loop_add_timer(struct loop *loop, uint64_t when_ns, uint64_t every_ns, void (*fn)(void *arg, uint32_t events),
		   void *arg, struct source **ret_source);

/* Blocks these signals for good, except a SIGHUP that is ignored (nohup), and calls
 * fn(arg, signal) for each that comes. Whoever wants to die of one unblocks it. */
int loop_add_signals(struct loop *loop, const int *signals, size_t count, void (*fn)(void *arg, uint32_t signal),
		     void *arg, struct err *err);

/* This source's callback comes first of those that are due together, and the loop before
 * all other work of the host (SCHED_RR, which no child inherits), unless it runs for
 * 100 ms without a wait. -EPERM: not allowed here; the loop runs as any other then. */
int loop_urgent(struct loop *loop, struct source *source);

void loop_remove(struct loop *loop, struct source *source); /* NULL is fine */

/* Runs until loop_stop, which may come first. Returns the value given to loop_stop, or negative errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int result);

#endif
