/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Threads with an event loop: when they are idle in their poll, and whose turn it is else. A
 * request whose thread has turned away sees from that what it waited behind. Between a
 * poll and the first byte it is not known whose turn it is: whoever moves that byte. */
#ifndef REQTRAP_BPF_LOOPS_H
#define REQTRAP_BPF_LOOPS_H

#include "maps.h"

/* 'number' counts from 1; 0: none. */
static __always_inline struct loop *loop_at(u32 number)
{
	u32 index = number - 1;

	return number ? bpf_map_lookup_elem(&loops, &index) : NULL;
}

/* The loop of a thread, made if need be; NULL: there are too many. */
static __always_inline struct loop *loop_of(struct work *mine, struct task_struct *task, u64 now)
{
	struct loop *lp;
	u32 index;

	if (mine->loop)
		return loop_at(mine->loop);
	if (bpf_map_pop_elem(&free_loops, &index))
		return NULL;
	lp = bpf_map_lookup_elem(&loops, &index);
	if (!lp)
		return NULL;
	lp->tid = task->pid;
	lp->pid = task->tgid;
	lp->idle_ns = lp->idle_since_ns = lp->off_since_ns = 0;
	lp->blocked_ns = lp->ready_ns = 0;
	lp->turn_since_ns = now;
	lp->gen = 0;
	lp->stopped = 0;
	lp->turn_count = 0;
	mine->loop = index + 1;
	return lp;
}

/* A turn is over; what follows is nobody's so far. */
__noinline int loop_turn_over(struct loop *lp, u64 now)
{
	struct loop_turn *turn;
	struct slot *s;
	u32 place, index;

	if (!lp)
		return 0;
	if (now < lp->turn_since_ns + LOOP_LONG)
		goto over;
	place = lp->turn_count % LOOP_TURNS;
	asm volatile("" : "+r"(place));
	if (place >= LOOP_TURNS)
		return 0;
	turn = &lp->turn[place];
	turn->at_ns = lp->turn_since_ns;
	turn->dur_ns = now - lp->turn_since_ns;
	turn->gen = lp->gen;
	turn->slot = index = lp->slot;
	turn->stopped = lp->stopped;
	turn->head[0] = 0;
	s = lp->gen ? bpf_map_lookup_elem(&slots, &index) : NULL;
	if (s && s->gen == lp->gen && !(s->flags & SLOT_FASTCGI))
		__builtin_memcpy(turn->head, s->head, LOOP_HEAD);
	lp->turn_count++;
over:
	lp->turn_since_ns = now;
	lp->gen = 0;
	lp->stopped = 0;
	lp->blocked_ns = lp->ready_ns = lp->off_since_ns = 0;
	return 0;
}

/* The thread moves bytes for this request. */
static __always_inline void loop_turns_to(struct loop *lp, u32 index, u64 gen, u64 now)
{
	if (lp->gen == gen && lp->slot == index)
		return;
	if (lp->gen)
		loop_turn_over(lp, now);
	lp->gen = gen;
	lp->slot = index;
}

static __always_inline void loop_wakes(struct loop *lp, u64 now)
{
	if (!lp->idle_since_ns)
		return;
	if (now > lp->idle_since_ns)
		lp->idle_ns += now - lp->idle_since_ns;
	lp->idle_since_ns = 0;
	lp->turn_since_ns = now;
	lp->gen = 0;
	lp->stopped = 0;
	lp->blocked_ns = lp->ready_ns = lp->off_since_ns = 0;
}

/* It leaves the CPU, not for its poll, in a turn that is nobody's so far. */
static __always_inline void loop_off(struct loop *lp, bool blocked, u64 now)
{
	lp->off_since_ns = now;
	lp->off_blocked = blocked;
}

/* ... or is stopped then: a turn of its own, so that nobody's time is called work. */
static __always_inline void loop_stops(struct loop *lp, s32 by, u64 now)
{
	loop_turn_over(lp, now);
	lp->stopped = by;
}

static __always_inline void loop_on(struct loop *lp, u64 now)
{
	u64 off = lp->off_since_ns && now > lp->off_since_ns ? now - lp->off_since_ns : 0;

	lp->off_since_ns = 0;
	if (lp->off_blocked)
		lp->blocked_ns += off;
	else
		lp->ready_ns += off;
}

#endif
