/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests that go from thread to thread without a byte moved: a thread that is at
 * work on one wakes or makes another of its process. That may hand the request over or
 * be for anything else (a lock, a collector), so it is only noted: who was woken from
 * where. User space judges when the request is trapped (holder.c); the first byte that
 * a thread moves on the request's own connection settles it. */
#ifndef REQTRAP_BPF_HANDS_H
#define REQTRAP_BPF_HANDS_H

#include "recorder.h"

#define PLACE_BYTES 48 /* words of one condition variable, which are waited on in turn */

/* Calls in which an event loop or an acceptor waits for whatever comes next. */
static __always_inline bool waits_for_any(s32 nr)
{
	return nr == 232 /* epoll_wait */ || nr == 281 || nr == 441 || nr == 7 /* poll */ || nr == 271 ||
	       nr == 23 /* select */ || nr == 270 || nr == 43 /* accept */ || nr == 288 ||
	       nr == 426 /* io_uring_enter */;
}

/* Calls by which one thread wakes another on purpose. In all others it is an interrupt
 * that wakes, for somebody else. */
static __always_inline bool wakes_on_purpose(s32 nr)
{
	return nr == 202 /* futex */ || nr == 454 || nr == 1 /* write */ || nr == 20 || nr == 44 /* sendto */ ||
	       nr == 46;
}

/* The request of the current thread: whose bytes it moved last, else the one that it
 * seems to have been handed. gen 0: none. */
static __always_inline struct slot *current_request(struct ref *ret)
{
	struct work *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
	struct slot *s;

	ret->gen = 0;
	ret->slot = ret->how = 0;
	if (!mine)
		return NULL;
	s = slot_of(&mine->ref);
	if (s) {
		*ret = mine->ref;
		if (s->turn_over || s->tid != (u32)bpf_get_current_pid_tgid())
			ret->how |= SLOT_LINK_LATE;
		return s;
	}
	s = slot_of(&mine->maybe);
	if (s) {
		*ret = mine->maybe;
		ret->how = SLOT_LINK_GUESSED;
	}
	return s;
}

__noinline int hand_note(const struct ref *of, const struct hand *hand)
{
	struct hands *h;
	u32 index, place;

	if (!of || !hand)
		return 0;
	index = of->slot;
	h = bpf_map_lookup_elem(&hands, &index);
	if (!h)
		return 0;
	if (h->gen != of->gen) {
		h->gen = of->gen;
		h->count = 0;
	}
	for (u32 i = 0; i < HANDS; i++) {
		if (i >= h->count)
			break;
		/* Where it stood when it was first woken stays: later it may have waited for
		 * a lock in the midst of the work. */
		if (h->hand[i].tid == hand->tid) {
			h->hand[i].at_ns = hand->at_ns;
			if (hand->how == HAND_WOKEN && h->hand[i].how == HAND_PASSED)
				h->hand[i].how = HAND_WOKEN;
			return 0;
		}
	}
	place = h->count++;
	h->hand[place & (HANDS - 1)] = *hand;
	return 0;
}

static __always_inline bool same_place(const struct work *work, s32 nr, u64 a)
{
	u64 apart = a > work->home_a ? a - work->home_a : work->home_a - a;

	return work->home_nr == nr && apart < PLACE_BYTES;
}

/* At each wake-up of the host: what is not of one process is left at once. */
static __always_inline void hand_woken(struct task_struct *p)
{
	struct task_struct *me = bpf_get_current_task_btf();
	struct hand hand = { .how = HAND_WOKEN };
	struct slot *s, *other;
	struct pt_regs *regs;
	struct ref mine;
	struct work *his;

	if (me->tgid != p->tgid || me->pid == p->pid)
		return;
	s = current_request(&mine);
	if (!s || !wakes_on_purpose((s32)((struct pt_regs *)bpf_task_pt_regs(me))->orig_ax))
		return;
	regs = (struct pt_regs *)bpf_task_pt_regs(p);
	hand.nr = (s16)regs->orig_ax;
	hand.a = regs->di;
	if (s->tid == (u32)p->pid) {
		/* Back to the thread that had it: so it was handed over and is returned. */
		if (mine.how & SLOT_LINK_GUESSED && waits_for_any(hand.nr))
			handing_learn(p->tgid);
		return;
	}
	if (hand.nr < 0 || hand.nr == 35 /* nanosleep */ || hand.nr == 230 /* clock_nanosleep */)
		return;
	his = bpf_task_storage_get(&threads, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!his)
		return;
	other = slot_of(&his->ref);
	if (other && other->tid == (u32)p->pid)
		return; /* it has a request of its own */
	hand.at_ns = bpf_ktime_get_ns();
	hand.pid = p->tgid;
	hand.tid = p->pid;
	if (mine.how & SLOT_LINK_GUESSED)
		hand.how = HAND_PASSED;
	other = slot_of(&his->maybe);
	if (!other) {
		his->home_nr = hand.nr;
		his->home_a = hand.a;
	} else if (his->maybe.gen != mine.gen || his->maybe.slot != mine.slot) {
		hand.busy = !same_place(his, hand.nr, hand.a);
	}
	if (!other || (!hand.busy && hand.how == HAND_WOKEN)) {
		his->maybe.slot = mine.slot;
		his->maybe.gen = mine.gen;
	}
	hand_note(&mine, &hand);
}

/* A thread or a process is born of one that works on a request. */
static __always_inline void hand_made(struct task_struct *child, u32 how)
{
	struct hand hand = { .how = how, .nr = -1 };
	struct work *his;
	struct ref mine;

	if (!current_request(&mine))
		return;
	his = bpf_task_storage_get(&threads, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!his)
		return;
	his->maybe = mine;
	his->home_nr = -1;
	hand.at_ns = bpf_ktime_get_ns();
	hand.pid = child->tgid;
	hand.tid = child->pid;
	hand_note(&mine, &hand);
}

#endif
