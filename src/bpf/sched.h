/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the thread that holds a request does: runs, waits for a CPU, is blocked and by
 * what. And workers that a watched process forks. */
#ifndef REQTRAP_BPF_SCHED_H
#define REQTRAP_BPF_SCHED_H

#include "conns.h"
#include "source.h"

#define TASK_STOPPED_OR_TRACED 0xc

/* The slot of a thread's request, if it is that thread that holds it. */
static __always_inline struct slot *held_by(struct task_struct *task)
{
	struct ref *mine = target_kind(task->tgid) ? bpf_task_storage_get(&threads, task, NULL, 0) : NULL;
	struct slot *s = mine ? slot_of(mine) : NULL;

	return s && s->tid == (u32)task->pid ? s : NULL;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct slot *s = held_by(prev);
	u64 now;

	if (s) {
		struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(prev);
		u32 state = prev->__state;

		now = bpf_ktime_get_ns();
		if (preempt || state == 0) {
			segment_to(s, SEGMENT_RUNNABLE, now);
		} else {
			s->wait_nr = (s16)regs->orig_ax;
			s->wait_a = regs->di;
			if (state & TASK_STOPPED_OR_TRACED) {
				s->wait_nr = NO_CALL_STOPPED;
				s->wait_a = 0;
			} else if (s->wait_nr == NR_RESTART) {
				/* A timed wait that was interrupted goes on under another number. */
				s->wait_nr = s->last_nr;
				s->wait_a = s->last_a;
			} else {
				s->last_nr = s->wait_nr;
				s->last_a = s->wait_a;
			}
			s->wait_state = state & 2 ? 2 : 1;
			s->waker = 0;
			segment_to(s, SEGMENT_WAIT, now);
		}
	}
	s = held_by(next);
	if (s) {
		now = bpf_ktime_get_ns();
		if (s->seg_kind == SEGMENT_WAIT)
			event(s, EVENT_WAIT, s->wait_nr, s->wait_a, s->seg_since_ns, now - s->seg_since_ns);
		if (s->seg_kind != SEGMENT_CPU)
			segment_to(s, SEGMENT_CPU, now);
	}
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *p)
{
	struct slot *s = held_by(p);
	u64 now;

	if (!s || s->seg_kind != SEGMENT_WAIT)
		return 0;
	now = bpf_ktime_get_ns();
	s->waker = (u32)bpf_get_current_pid_tgid();
	event(s, EVENT_WAIT, s->wait_nr, s->wait_a, s->seg_since_ns, now - s->seg_since_ns);
	segment_to(s, SEGMENT_RUNNABLE, now);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	u32 from = parent->tgid, to = child->tgid, kind;

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
