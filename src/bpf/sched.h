/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the thread that holds a request does: runs, waits for a CPU, is blocked and by
 * what. And workers that a watched process forks. */
#ifndef REQTRAP_BPF_SCHED_H
#define REQTRAP_BPF_SCHED_H

#include "conns.h"
#include "hands.h"
#include "objects.h"

#define TASK_DEEP 2
#define TASK_STOPPED_ 4
#define TASK_TRACED_ 8

enum {
	NR_POLL = 7,
	NR_SELECT = 23,
	NR_FCNTL = 72,
	NR_WAITID = 247,
	NR_PSELECT = 270,
	NR_PPOLL = 271,
	NR_EPOLL_PWAIT = 281,
	NR_EPOLL_PWAIT2 = 441,
};

/* Calls whose first argument is a descriptor that they may block on: a bit each. */
#define CALL(nr) (1ull << ((nr)&63))
static const u64 fd_calls[] = {
	/* read write close ioctl pread64 pwrite64 readv writev sendfile connect accept sendto
	 * recvfrom sendmsg recvmsg */
	CALL(0) | CALL(1) | CALL(3) | CALL(16) | CALL(17) | CALL(18) | CALL(19) | CALL(20) | CALL(40) | CALL(42) |
		CALL(43) | CALL(44) | CALL(45) | CALL(46) | CALL(47),
	/* fcntl flock fsync fdatasync ftruncate getdents */
	CALL(72) | CALL(73) | CALL(74) | CALL(75) | CALL(77) | CALL(78), 0, CALL(217), /* getdents64 */
	/* splice tee sync_file_range vmsplice fallocate accept4 preadv pwritev recvmmsg sendmmsg */
	CALL(275) | CALL(276) | CALL(277) | CALL(278) | CALL(285) | CALL(288) | CALL(295) | CALL(296) | CALL(299) |
		CALL(307),
	CALL(326) | CALL(327) | CALL(328), /* copy_file_range preadv2 pwritev2 */
};

static __always_inline bool waits_on_fd(s32 nr)
{
	u32 word = (u32)nr >> 6;

	asm volatile("" : "+r"(word));
	return nr >= 0 && word < sizeof(fd_calls) / sizeof(fd_calls[0]) && fd_calls[word] >> (nr & 63) & 1;
}

static __always_inline bool waits_for_events(s32 nr)
{
	return nr == NR_EPOLL_WAIT || nr == NR_EPOLL_PWAIT || nr == NR_EPOLL_PWAIT2;
}

/* The first descriptor of a poll or select: mostly there is no other. -1: none. */
static __always_inline s32 polled_fd(struct slot *s, s32 nr, const struct pt_regs *regs)
{
	struct {
		s32 fd;
		u32 events;
	} first;
	u64 set, at, word;

	if (nr == NR_POLL || nr == NR_PPOLL) {
		if (!regs->si || bpf_probe_read_user(&first, sizeof(first), (void *)regs->di))
			return -1;
		if (regs->si > 1)
			s->wait_state |= WAIT_MORE;
		return first.fd;
	}
	for (int i = 0; i < 2; i++) {
		set = i ? regs->dx : regs->si;
		if (!set || bpf_probe_read_user(&word, sizeof(word), (void *)set) || !word)
			continue;
		if (word & (word - 1))
			s->wait_state |= WAIT_MORE;
		for (at = 0; at < 63 && !(word >> at & 1); at++)
			;
		return at;
	}
	return -1;
}

/* What the call waits on, as far as it can be told without looking long. */
static __always_inline void wait_on(struct slot *s, s32 nr, const struct pt_regs *regs)
{
	s32 fd = -1;

	s->wait_a = regs->di;
	if (waits_on_fd(nr)) {
		fd = regs->di;
	} else if (nr == NR_POLL || nr == NR_PPOLL || nr == NR_SELECT || nr == NR_PSELECT) {
		fd = polled_fd(s, nr, regs);
		s->wait_a = (u64)fd;
	} else if (waits_for_events(nr)) {
		s->wait_a = (u64)fd;
	} else if (nr == NR_WAITID && regs->di == 1 /* P_PID */) {
		s->wait_a = regs->si;
	}
	if (fd < 0)
		return;
	s->wait_object = object_of_fd(s, fd);
	if (s->up_waiting && fd == s->up_fd)
		s->wait_state |= WAIT_ANSWER;
}

/* Who has stopped the thread; 0: nobody, it waits. */
static __always_inline s32 stopped_by(struct task_struct *task, u32 state, u32 *ret_tracer)
{
	struct task_struct *tracer;

	*ret_tracer = 0;
	if (!(state & (TASK_STOPPED_ | TASK_TRACED_)))
		return 0;
	if (state & TASK_STOPPED_)
		return NO_CALL_SIGNALLED;
	tracer = BPF_CORE_READ(task, parent);
	*ret_tracer = BPF_CORE_READ(tracer, tgid);
	return BPF_CORE_READ(tracer, real_parent, tgid) == (int)own_tgid ? NO_CALL_CAPTURED : NO_CALL_TRACED;
}

static __always_inline void wait_begins(struct slot *s, struct task_struct *prev, u32 state, s32 stopped, u32 tracer)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(prev);
	s32 nr = (s32)regs->orig_ax;

	s->wait_state = state & TASK_DEEP ? WAIT_DEEP : WAIT_SLEEPS;
	if (state & TASK_DEEP && BPF_CORE_READ_BITFIELD_PROBED(prev, in_iowait))
		s->wait_state |= WAIT_IO;
	s->waker = 0;
	s->wait_object = 0;
	s->wait_nr = nr;
	s->wait_a = 0;
	if (stopped) {
		s->wait_nr = stopped;
		s->wait_a = tracer;
	} else if (nr == NR_RESTART) {
		/* A timed wait that was interrupted goes on under another number. */
		s->wait_nr = s->last_nr;
		s->wait_a = s->last_a;
		s->wait_object = s->last_object;
	} else {
		if (nr >= 0)
			wait_on(s, nr, regs);
		s->last_nr = s->wait_nr;
		s->last_a = s->wait_a;
		s->last_object = s->wait_object;
	}
}

static __always_inline struct work *work_of(struct task_struct *task)
{
	return target_kind(task->tgid) ? bpf_task_storage_get(&threads, task, NULL, 0) : NULL;
}

/* The slot of a thread's request, if it is that thread that holds it and it has not turned
 * away. */
static __always_inline struct slot *held_by(const struct work *mine, struct task_struct *task)
{
	struct slot *s = slot_of(&mine->ref);

	return s && s->tid == (u32)task->pid && s->seg_kind < SEGMENT_AWAY ? s : NULL;
}

static __always_inline void goes_off(struct work *mine, struct task_struct *prev, bool preempt)
{
	bool runs_on = preempt || prev->__state == 0, to_poll = false;
	struct slot *s = held_by(mine, prev);
	struct loop *lp = loop_at(mine->loop);
	u32 state = prev->__state, tracer = 0;
	s32 stopped = runs_on ? 0 : stopped_by(prev, state, &tracer);
	u64 now;

	if (!runs_on && !stopped)
		to_poll = waits_for_events((s32)((struct pt_regs *)bpf_task_pt_regs(prev))->orig_ax);
	if (!s && !lp && !to_poll)
		return;
	now = bpf_ktime_get_ns();
	if (to_poll)
		lp = loop_of(mine, prev, now);
	if (to_poll && lp) {
		if (s) {
			s->turn_over = 1;
			away_begins(s, mine->loop, now, SEGMENT_PARKED);
		}
		loop_turn_over(lp, now);
		lp->idle_since_ns = now;
	} else if (!s) {
		if (lp && !lp->gen && stopped)
			loop_stops(lp, stopped, now);
		else if (lp && !lp->gen)
			loop_off(lp, !runs_on, now);
	} else if (runs_on) {
		segment_to(s, SEGMENT_RUNNABLE, now);
	} else {
		wait_begins(s, prev, state, stopped, tracer);
		if (waits_for_any(s->wait_nr))
			s->turn_over = 1;
		segment_to(s, SEGMENT_WAIT, now);
	}
}

static __always_inline void comes_on(struct work *mine, struct task_struct *next)
{
	struct slot *s = held_by(mine, next);
	struct loop *lp = loop_at(mine->loop);
	u64 now;

	if (!s && !lp)
		return;
	now = bpf_ktime_get_ns();
	if (lp && lp->idle_since_ns)
		loop_wakes(lp, now);
	else if (lp && lp->off_since_ns)
		loop_on(lp, now);
	else if (lp && lp->stopped)
		loop_turn_over(lp, now);
	if (!s)
		return;
	if (s->seg_kind == SEGMENT_WAIT)
		wait_over(s, now);
	if (s->seg_kind != SEGMENT_CPU)
		segment_to(s, SEGMENT_CPU, now);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct work *mine = work_of(prev);

	if (mine)
		goes_off(mine, prev, preempt);
	mine = work_of(next);
	if (mine)
		comes_on(mine, next);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *p)
{
	struct work *mine;
	struct slot *s;
	struct loop *lp;
	u64 now;

	if (!target_kind(p->tgid))
		return 0;
	hand_woken(p);
	mine = bpf_task_storage_get(&threads, p, NULL, 0);
	if (!mine)
		return 0;
	s = held_by(mine, p);
	lp = loop_at(mine->loop);
	if (lp && lp->idle_since_ns) {
		now = bpf_ktime_get_ns();
		loop_wakes(lp, now);
		loop_off(lp, false, now);
	}
	if (!s || s->seg_kind != SEGMENT_WAIT)
		return 0;
	now = bpf_ktime_get_ns();
	s->waker = waker_note(s);
	wait_over(s, now);
	segment_to(s, SEGMENT_RUNNABLE, now);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	u32 from = parent->tgid, to = child->tgid, kind;

	hand_made(child, from == to ? HAND_MADE : HAND_FORKED);
	if (from == to)
		return 0;
	kind = target_kind(from);
	if (!kind)
		return 0;
	if (kind != TARGET_ADOPTED)
		kind = TARGET_FORKED;
	/* There already: the number's last process was not forgotten yet. */
	if (target_add(to, kind))
		target_change(to, kind);
	send_record(RECORD_FORK, NULL, from, NULL, to);
	return 0;
}

#endif
