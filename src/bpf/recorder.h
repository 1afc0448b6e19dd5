/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flight recorder: slots begin and end, events and segments are written in place,
 * the timer of a slot finds out by itself whether its limit has passed. */
#ifndef REQTRAP_BPF_RECORDER_H
#define REQTRAP_BPF_RECORDER_H

#include "bytes.h"
#include "loops.h"

/* Functions that are not 'static' are verified once, for any argument, and not again
 * at each call: that is what keeps this loadable. They check their pointers. */

static __always_inline struct slot *slot_at(u32 index)
{
	return bpf_map_lookup_elem(&slots, &index);
}

/* The slot if it is still the same request, else NULL. */
static __always_inline struct slot *slot_of(const struct ref *ref)
{
	struct slot *s;

	if (!ref->gen)
		return NULL;
	s = slot_at(ref->slot);
	if (!s || s->gen != ref->gen || s->state == SLOT_FREE || s->state == SLOT_ENDED)
		return NULL;
	return s;
}

static __always_inline void send_record(u32 kind, const struct ref *ref, u64 value, const struct ref *inner, u32 pid)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		COUNT(lost_ring);
		if (kind == RECORD_LIMIT || kind == RECORD_STATUS || kind == RECORD_OVER)
			COUNT(lost_trigger);
		return;
	}
	r->kind = kind;
	r->slot = ref ? ref->slot : SLOT_NONE;
	r->gen = ref ? ref->gen : 0;
	r->at_ns = bpf_ktime_get_ns();
	r->value = value;
	r->inner_slot = inner ? inner->slot : SLOT_NONE;
	r->inner_gen = inner ? inner->gen : 0;
	r->pid = pid;
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

/* ---- the flight recorder ---- */

static __always_inline void segment_to(struct slot *s, u32 kind, u64 now)
{
	/* Two CPUs may have read the clock in another order than they come here. */
	if (now > s->seg_since_ns) {
		s->acc[s->seg_kind & (SEGMENTS - 1)] += now - s->seg_since_ns;
		s->seg_since_ns = now;
	}
	s->seg_kind = kind;
}

static __always_inline u32 event_place(u32 n)
{
	if (n >= SLOT_EVENTS_KEPT)
		n = SLOT_EVENTS_KEPT + (n - SLOT_EVENTS_KEPT) % (SLOT_EVENTS - SLOT_EVENTS_KEPT);
	/* The compiler knows the bound and would drop the callers' test of it, which
	 * the verifier of older kernels needs. */
	asm volatile("" : "+r"(n));
	return n;
}

/* Equal neighbours are merged: thousands of small reads are one line. */
__noinline int event_add(struct slot *s, u32 kind_nr, u64 a, u64 at, u64 dur)
{
	u32 kind = kind_nr >> 16, tid, place;
	s16 nr = (s16)(kind_nr & 0xffff);
	struct slot_event *e;

	if (!s || (lean && (kind == EVENT_RECV || kind == EVENT_SEND)))
		return 0;
	tid = s->tid;
	if (s->event_count) {
		place = event_place(s->event_count - 1);
		if (place < SLOT_EVENTS) {
			e = &s->event[place];
			if (e->kind == kind && e->nr == nr && e->tid == tid &&
			    (kind == EVENT_RECV || kind == EVENT_SEND ||
			     (kind == EVENT_WAIT && e->a == a && e->object == s->wait_object))) {
				e->count++;
				e->dur_ns += dur;
				if (kind != EVENT_WAIT)
					e->a += a;
				e->waker = s->waker;
				return 0;
			}
		}
	}
	place = event_place(s->event_count);
	if (place >= SLOT_EVENTS)
		return 0;
	e = &s->event[place];
	e->at_ns = at;
	e->dur_ns = dur;
	e->a = a;
	e->tid = tid;
	e->count = 1;
	e->waker = kind == EVENT_WAIT ? s->waker : 0;
	e->object = kind == EVENT_WAIT ? s->wait_object : 0;
	e->nr = nr;
	e->kind = kind;
	e->state = kind == EVENT_WAIT ? s->wait_state : 0;
	s->event_count++;
	return 0;
}

static __always_inline void event(struct slot *s, u32 kind, s32 nr, u64 a, u64 at, u64 dur)
{
	event_add(s, kind << 16 | (u16)nr, a, at, dur);
}

/* The CPU time of the current thread: from here on it is this request's, up to here it
 * was. Counted by the kernel's ticks: only the split into user and kernel is taken of it. */
static __always_inline void usage_from(struct slot *s, struct task_struct *task)
{
	s->task = (u64)task;
	s->user_from = s->user_seen = task->utime;
	s->kernel_from = s->kernel_seen = task->stime;
	s->faults_from = s->faults_seen = task->maj_flt;
}

/* What the holder's clocks stand at. It may be another thread, and gone: its memory is read
 * with care, and believed only if the number is still its own. */
__noinline int usage_look(struct slot *s)
{
	struct task_struct *task;

	if (!s || !s->task)
		return 1;
	task = (struct task_struct *)s->task;
	if (BPF_CORE_READ(task, pid) != (int)s->tid)
		return 2;
	s->user_seen = BPF_CORE_READ(task, utime);
	s->kernel_seen = BPF_CORE_READ(task, stime);
	s->faults_seen = BPF_CORE_READ(task, maj_flt);
	return 0;
}

static __always_inline void usage_until(struct slot *s)
{
	usage_look(s);
	s->user_ns += s->user_seen - s->user_from;
	s->kernel_ns += s->kernel_seen - s->kernel_from;
	s->faults += s->faults_seen - s->faults_from;
	s->task = 0;
}

/* The requests of this process go from thread to thread. */
static __always_inline void handing_learn(u32 tgid)
{
	u32 yes = 1;

	if (!bpf_map_lookup_elem(&handing, &tgid))
		bpf_map_update_elem(&handing, &tgid, &yes, BPF_ANY);
}

/* Another thread than so far moves bytes: whom the last one woke is of no interest now. */
static __always_inline void handed_over(struct slot *s, u32 index)
{
	struct hands *h = bpf_map_lookup_elem(&hands, &index);

	if (h)
		h->gen = 0;
	if (s->head_ns && !s->reply_ns)
		handing_learn(s->pid);
}

enum { NR_EPOLL_WAIT = 232 };

/* In objects.h. */
u32 object_of_fd(struct slot *s, u32 fd);
int wait_add(struct slot *s, u64 at, u64 ns);

/* The thread goes to its poll, or turns to another request. What this one waits for then is
 * the answer to its latest call, if there is one. */
__noinline int away_begins(struct slot *s, u32 loop, u64 now, u32 kind)
{
	struct loop *lp = loop_at(loop);

	if (!s)
		return 0;
	if (s->seg_kind >= SEGMENT_AWAY && !unseen) {
		s->seg_kind = kind;
		return 0;
	}
	if (s->task)
		usage_until(s);
	segment_to(s, unseen ? SEGMENT_UNSEEN : kind, now);
	if (unseen)
		return 0;
	s->loop = loop;
	s->idle_from = lp ? lp->idle_ns : 0;
	s->wait_nr = NR_EPOLL_WAIT;
	s->wait_state = WAIT_SLEEPS;
	s->wait_a = (u64)-1;
	s->wait_object = s->waker = 0;
	if (s->up_waiting) {
		s->wait_a = s->up_fd;
		s->wait_state |= WAIT_ANSWER;
		s->wait_object = object_of_fd(s, s->up_fd);
	}
	return 0;
}

/* It is back. What of the time its loop was idle, this request has waited; what it has worked
 * since its poll, it has for this one; the rest was for others. */
__noinline int away_over(struct slot *s, u64 now, u32 same_thread)
{
	struct loop *lp = s ? loop_at(s->loop) : NULL;
	u64 away, idle, turn = 0, off = 0;

	if (!lp || now <= s->seg_since_ns)
		return 0;
	away = now - s->seg_since_ns;
	idle = lp->idle_ns - s->idle_from;
	if (lp->idle_since_ns && now > lp->idle_since_ns)
		idle += now - lp->idle_since_ns;
	if (idle > away)
		idle = away;
	if (same_thread && !lp->idle_since_ns && !lp->gen && now > lp->turn_since_ns)
		turn = now - lp->turn_since_ns;
	if (turn > away - idle)
		turn = away - idle;
	if (lp->blocked_ns + lp->ready_ns <= turn)
		off = lp->blocked_ns + lp->ready_ns;
	if (idle)
		wait_add(s, s->seg_since_ns, idle);
	s->acc[SEGMENT_AWAY] += away - idle - turn;
	s->acc[SEGMENT_WAIT] += idle + (off ? lp->blocked_ns : 0);
	s->acc[SEGMENT_RUNNABLE] += off ? lp->ready_ns : 0;
	s->acc[SEGMENT_CPU] += turn - off;
	s->seg_since_ns = now;
	return 0;
}

/* It did so when it moved bytes last, and has neither turned away nor waited for events since. */
static __always_inline bool still_bound(const struct slot *s, const struct source *src, u32 how)
{
	return s->task == src->task && s->tid == (u32)src->id &&
	       s->seg_kind == (unseen ? SEGMENT_UNSEEN : SEGMENT_CPU) && !s->turn_over &&
	       !how == !(s->flags & SLOT_GUESSED);
}

__noinline int bind_anew(struct slot *s, u32 index, u64 now, u32 how)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct work *mine = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	u32 tid = task->pid, number = mine ? mine->loop : 0;
	struct loop *lp;

	if (!s)
		return 0;

	if (mine && (mine->ref.slot != index || mine->ref.gen != s->gen)) {
		struct slot *old = slot_of(&mine->ref);

		if (old && old->tid == tid) {
			/* Two at a time are an event loop's, also before it was seen in its poll. */
			if (loop_of(mine, task, now))
				number = mine->loop;
			away_begins(old, number, now, SEGMENT_AWAY);
		}
		mine->ref.slot = index;
		mine->ref.gen = s->gen;
		mine->ref.how = how;
	}
	if (s->seg_kind >= SEGMENT_AWAY && s->seg_kind != SEGMENT_UNSEEN && now != s->seg_since_ns)
		away_over(s, now, s->tid == tid);
	lp = loop_at(number);
	if (lp)
		loop_turns_to(lp, index, s->gen, now);
	s->loop = number;
	s->turn_over = 0;
	if (s->task != (u64)task) {
		if (s->task)
			usage_until(s);
		usage_from(s, task);
	}
	if (s->tid != tid) {
		bool first = s->tid == 0;

		if (!first && !how)
			handed_over(s, index);
		s->tid = tid;
		if (!first)
			event(s, EVENT_HOLDER, -1, 0, now, 0);
	}
	s->pid = task->tgid;
	if (how)
		s->flags |= SLOT_GUESSED;
	else if (s->flags & SLOT_GUESSED)
		s->flags &= ~SLOT_GUESSED;
	how = unseen ? SEGMENT_UNSEEN : SEGMENT_CPU;
	if (s->seg_kind != how)
		segment_to(s, how, now);
	return 0;
}

/* The current thread works on this request from now on; 'how': SLOT_LINK_GUESSED or 0. */
static __always_inline void bind_thread(struct slot *s, u32 index, const struct source *src, u32 how)
{
	if (!still_bound(s, src, how))
		bind_anew(s, index, src->now, how);
}

/* How long the request's first bytes lay at the socket before they were read. TCP notes when
 * the last bytes came, in ticks: when those came after the begin nothing is known. Asked when
 * something fires, not for each request. */
__noinline int unread_note(struct slot *s, u64 now)
{
	struct inet_connection_sock *sk;
	u64 came;

	if (!s || s->client.family == AF_UNIX || s->flags & SLOT_START_UNKNOWN || !tick_ns ||
	    s->unread_ns != UNREAD_UNKNOWN)
		return 0;
	sk = (struct inet_connection_sock *)s->conn;
	came = now - (u64)((u32)bpf_jiffies64() - BPF_CORE_READ(sk, icsk_ack.lrcvtime)) * tick_ns;
	if (came <= now && came <= s->begin_ns + tick_ns)
		s->unread_ns = came < s->begin_ns ? s->begin_ns - came : 0;
	return 0;
}

/* ---- begin and end ---- */

__noinline int find_late_parent(u32 index); /* calls.h */

/* The shortest limit of that clock that is longer than what has passed, 0: none. By value, not
 * by index: the rules may change while a request is in flight. */
static __always_inline u64 limit_after(u64 passed, u32 clock)
{
	u32 set = limit_set & 1;
	u64 next = 0;

	for (u32 i = 0; i < LIMITS_MAX; i++) {
		u64 limit = limits[set][LIMITS_MAX - 1 - i];

		if (limit > passed && (limit & LIMIT_CLOCK) == clock)
			next = limit;
	}
	return next;
}

/* Since when the server has had all that the client sent; 'now': the client is still at it, 0:
 * the reply has begun. Bytes that lie at the socket unread are the server's to read. */
__noinline u64 server_since(u32 index, u64 now)
{
	struct slot *s = slot_at(index);
	struct tcp_sock *tp;
	struct conn *conn;
	u64 key, came;

	if (!s || s->reply_ns)
		return 0;
	key = s->conn;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (!conn || conn->in.slot != index || conn->in.gen != s->gen || conn->in_phase == IN_IDLE)
		return s->last_ns;
	tp = (struct tcp_sock *)key;
	if (conn->family == AF_UNIX || !tick_ns || BPF_CORE_READ(tp, rcv_nxt) == BPF_CORE_READ(tp, copied_seq))
		return now;
	came = now -
	       (u64)((u32)bpf_jiffies64() - BPF_CORE_READ((struct inet_connection_sock *)key, icsk_ack.lrcvtime)) *
		       tick_ns;
	return came < now && came > s->last_ns ? came : s->last_ns;
}

/* A limit of one clock has passed: user space is told. */
static __always_inline void slot_fires(struct slot *s, u32 index, u64 limit, u64 now)
{
	struct ref ref = { .slot = index, .gen = s->gen };

	unread_note(s, now);
	event(s, EVENT_LIMIT, -1, limit & ~LIMIT_CLOCK, now, 0);
	if (__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD) != SLOT_FREE)
		send_record(RECORD_LIMIT, &ref, limit, NULL, s->pid);
}

/* When the slot wants to be looked at next for the limits of a clock, 0: not at all. With
 * 'fire' what is due fires first. An inner request fires for itself only when nobody waits for
 * it any more: its outer one has the limit. */
__noinline u64 slot_due(u32 index, u64 now, u32 fire, u32 clock)
{
	struct ref parent;
	struct slot *s = slot_at(index);
	u64 limit, since;

	if (!s || (s->state != SLOT_OPEN && s->state != SLOT_HELD))
		return 0;
	limit = limit_after(clock ? s->passed_server : s->passed_whole, clock);
	if (!limit)
		return 0;
	since = clock ? server_since(index, now) : s->begin_ns;
	if (!since)
		return 0;
	if (now < since + limit)
		return since + limit;
	if (fire)
		find_late_parent(index);
	parent.slot = s->parent_slot;
	parent.gen = s->parent_gen;
	/* A few bytes that may become a request are none yet; what nobody can tell the end
	 * of may be over; when an older one began nobody knows. */
	if (slot_of(&parent) || (!s->method && !(s->flags & SLOT_FASTCGI)) ||
	    s->flags & (SLOT_GAP | SLOT_START_UNKNOWN) || s->out_phase == OUT_UNKNOWN)
		return now + limit;
	if (!fire)
		return now;
	if (clock)
		s->passed_server = limit;
	else
		s->passed_whole = limit;
	if (!s->reply_ns)
		s->server_ns = now - server_since(index, now);
	slot_fires(s, index, limit, now);
	limit = limit_after(limit, clock);
	return limit ? since + limit : 0;
}

/* Of two moments, 0 for none. A function of its own, for what it returns is a number that
 * the verifier knows nothing of: kernel 6.12 remembers of each step of a loop which of the
 * two was taken, and gives up after a million of such states. */
__noinline u64 sooner(u64 a, u64 b)
{
	return a && (!b || a < b) ? a : b;
}

/* The earliest of all slots that hang on this timer. */
static __always_inline u64 clock_next(u32 key, u64 now, u32 fire)
{
	u64 next = 0;

	for (u32 k = 0; k < SLOTS_MOST / CLOCKS; k++) {
		u32 index = key + k * CLOCKS;

		if (index >= slot_count)
			break;
		next = sooner(slot_due(index, now, fire, 0), next);
		next = sooner(slot_due(index, now, fire, LIMIT_CLOCK), next);
	}
	return next;
}

/* Slots share timers, and a timer is set only when it is not set or set too late: under
 * load that is one timer operation per limit, not per request. Nothing is lost between
 * a request that begins and a callback that looks: both write first what the other
 * reads (the slot, 'due_ns'), by exchanges that are full barriers, and the callback
 * looks once more after it has set the timer. */
static int on_clock(void *map, u32 *key, struct clock *c)
{
	u64 now = bpf_ktime_get_ns(), next;

	__sync_lock_test_and_set(&c->due_ns, 0);
	next = clock_next(*key, now, 1);
	if (!next)
		return 0;
	__sync_lock_test_and_set(&c->due_ns, next);
	bpf_timer_start(&c->timer, next > now ? next - now : 1, 0);
	now = bpf_ktime_get_ns();
	if (clock_next(*key, now, 0) < next) {
		__sync_lock_test_and_set(&c->due_ns, now);
		bpf_timer_start(&c->timer, 1, 0);
	}
	return 0;
}

static __always_inline void clock_arm(u32 index, u64 now)
{
	u32 key = index % CLOCKS;
	struct clock *c = bpf_map_lookup_elem(&clocks, &key);
	u64 first = shortest, due = now + first, set;

	if (!c || !first)
		return;
	set = __sync_fetch_and_add(&c->due_ns, 0);
	if (set && set <= due)
		return;
	__sync_lock_test_and_set(&c->due_ns, due);
	bpf_timer_start(&c->timer, first, 0);
}

/* Making a timer takes memory that the kernel may not have at hand in the midst of
 * traffic, so user space has them made one by one before anything is attached. */
SEC("syscall")
int clock_make(struct ref *order)
{
	u32 key = order->slot;
	struct clock *c = bpf_map_lookup_elem(&clocks, &key);
	long r;

	if (!c)
		return 1;
	r = bpf_timer_init(&c->timer, &clocks, 1 /* CLOCK_MONOTONIC */);
	if (r && r != -16 /* EBUSY: it is there */)
		return 2;
	return bpf_timer_set_callback(&c->timer, on_clock) ? 3 : 0;
}

/* The limits are others now: each timer looks at its requests. */
SEC("syscall")
int clock_ring(struct ref *order)
{
	u32 key = order->slot;
	struct clock *c = bpf_map_lookup_elem(&clocks, &key);

	if (!c)
		return 1;
	__sync_lock_test_and_set(&c->due_ns, bpf_ktime_get_ns());
	return bpf_timer_start(&c->timer, 1, 0) ? 2 : 0;
}

/* A thread that computes changes nothing in its slot: user space has it looked at before
 * it makes a copy. */
SEC("syscall")
int slot_look(struct ref *order)
{
	struct ref ref = { .slot = order->slot, .gen = order->gen };
	struct slot *s = slot_of(&ref);

	return s ? usage_look(s) : 1;
}

/* Who asks is looked for at the reply or at a limit; a mark comes before both. */
SEC("syscall")
int slot_link(struct ref *order)
{
	struct ref ref = { .slot = order->slot, .gen = order->gen };

	return slot_of(&ref) ? find_late_parent(ref.slot) : 0;
}

static __always_inline void endpoint_of(u64 sock, struct endpoint *at)
{
	struct sock *sk = (struct sock *)sock;

	at->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (at->family == AF_UNIX)
		return;
	at->port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (at->family == AF_INET)
		at->addr[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	else if (at->family == AF_INET6)
		BPF_CORE_READ_INTO(&at->addr, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
}

/* The path that a connected unix socket's other end was bound to. */
static __always_inline void unix_path_of(u64 sock, u8 *path)
{
	struct sock *peer = BPF_CORE_READ((struct unix_sock *)sock, peer);
	struct unix_address *addr = peer ? BPF_CORE_READ((struct unix_sock *)peer, addr) : NULL;

	__builtin_memset(path, 0, UNIX_PATH);
	if (addr)
		bpf_probe_read_kernel(path, UNIX_PATH, __builtin_preserve_access_index(&addr->name[0].sun_path));
}

/* A free slot for a request that may begin, or SLOT_NONE. Whoever still reads its last
 * life sees at once that this is another. */
static __always_inline u32 slot_take(struct slot **ret_slot)
{
	struct per_cpu *here = this_cpu();
	struct slot *s;
	u32 index;

	index = here ? __sync_lock_test_and_set(&here->spare, 0) : 0;
	if (index)
		index--;
	else if (bpf_map_pop_elem(&free_slots, &index))
		return SLOT_NONE;
	s = slot_at(index);
	if (!s)
		return SLOT_NONE;
	s->gen++;
	s->head_len = 0;
	s->flags = 0;
	*ret_slot = s;
	return index;
}

static __always_inline void slot_give_back(u32 index)
{
	struct per_cpu *here = keep_spare ? this_cpu() : NULL;

	if (here && !__sync_val_compare_and_swap(&here->spare, 0, index + 1))
		return;
	if (bpf_map_push_elem(&free_slots, &index, BPF_ANY))
		COUNT(slot_lost);
}

/* The request has begun whose first bytes are in this slot already. */
static __always_inline void slot_begin(struct conn *conn, struct slot *s, u32 index, const struct source *src,
				       const struct ref *parent)
{
	u64 now = src->now;

	s->conn = src->sk;
	s->begin_ns = s->last_ns = s->seg_since_ns = now;
	s->head_ns = s->reply_ns = s->end_ns = 0;
	s->unread_ns = UNREAD_UNKNOWN;
	s->request_bytes = s->reply_bytes = 0;
	s->child_pid = s->child_tid = 0;
	s->child_status = s->fired_status = 0;
	s->ino = conn->ino;
	s->parent_gen = parent->gen;
	s->parent_slot = parent->slot;
	s->pid = src->id >> 32;
	s->tid = (u32)src->id;
	s->fd = src->fd;
	s->up_fd = -1;
	s->up_pid = 0;
	s->status = 0;
	s->passed_whole = s->passed_server = s->server_ns = 0;
	s->up_waiting = s->turn_over = s->severity = 0;
	s->reply_len = 0;
	s->out_left = 0;
	s->out_phase = OUT_NONE;
	s->method = 0;
	s->seg_kind = SEGMENT_AWAY;
	__builtin_memset(s->acc, 0, sizeof(s->acc));
	s->event_count = 0;
	s->wait_nr = s->last_nr = NO_CALL_FAULT;
	s->last_a = 0;
	s->waker = s->wait_object = s->last_object = 0;
	s->object_count = s->sum_count = s->waker_count = 0;
	s->task = s->user_ns = s->kernel_ns = s->faults = 0;
	s->loop = 0;
	s->client = conn->peer;
	s->up.family = 0;
	if (slot_of(parent))
		s->flags |= SLOT_INNER | parent->how;
	conn->in.slot = index;
	conn->in.gen = s->gen;
	if (!conn->queue_len)
		conn->queue_head = 0; /* the same few cache lines each time */
	conn->queue[(conn->queue_head + conn->queue_len) & (QUEUE_MAX - 1)] = conn->in;
	conn->queue_len++;
	s->state = SLOT_OPEN;
}

static __always_inline void count_verdict(u32 flags)
{
	if (flags & SLOT_START_UNKNOWN)
		return; /* counted when it was found */
	if (flags & SLOT_GAP)
		COUNT(gap);
	else if (flags & SLOT_END_INFERRED)
		COUNT(inferred);
	else if (flags & SLOT_ABORTED)
		COUNT(aborted);
	else
		COUNT(complete);
}

/* Is this an end that some rule asks for? Of an inner request nobody asks. */
static __always_inline bool over_wanted(const struct slot *s)
{
	const u32 unsure = SLOT_GAP | SLOT_END_INFERRED;

	if (!s->method && !(s->flags & SLOT_FASTCGI))
		return false;
	return (over_aborted && (s->flags & (SLOT_ABORTED | unsure)) == SLOT_ABORTED) ||
	       (over_bytes && s->reply_bytes >= over_bytes);
}

static __always_inline void count_latency(u64 ns)
{
	u32 v = ns >> LATENCY_SHIFT >> 32 ? 0xffffffff : (u32)(ns >> LATENCY_SHIFT), bucket = 0;
	struct per_cpu *here = this_cpu();

	for (u32 step = 16; step; step /= 2) {
		if (v >> step) {
			v >>= step;
			bucket += step;
		}
	}
	bucket += v; /* 1, or 0 if there was nothing */
	if (bucket >= LATENCY_BUCKETS)
		bucket = LATENCY_BUCKETS - 1;
	if (here)
		here->counters.latency[bucket]++;
}

__noinline int slot_end(u32 index, u64 gen, u32 flags, u32 counted, u64 now)
{
	struct ref ref = { .slot = index, .gen = gen }, parent;
	struct slot *s = slot_of(&ref), *p;
	struct loop *lp;

	if (!s)
		return 0;
	parent.slot = s->parent_slot;
	parent.gen = s->parent_gen;
	p = slot_of(&parent);
	if (p) {
		p->child_pid = s->pid;
		p->child_tid = s->tid;
		p->child_status = s->status;
	}
	s->flags |= flags;
	/* An end that was only inferred is when the last byte went by. */
	s->end_ns = flags & SLOT_END_INFERRED ? s->last_ns : now;
	segment_to(s, s->seg_kind, now);
	if (s->state == SLOT_HELD && s->task)
		usage_until(s);
	/* Its slot may be another one's before the turn is over. */
	lp = loop_at(s->loop);
	if (lp && lp->gen == gen && lp->slot == index)
		loop_turn_over(lp, now);
	if (counted && (s->method || s->flags & SLOT_FASTCGI))
		count_verdict(s->flags);
	if (counted && !(s->flags & (SLOT_INNER | SLOT_GAP | SLOT_START_UNKNOWN)))
		count_latency(s->end_ns - s->begin_ns);
	if (counted && !p && over_wanted(s) &&
	    __sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_ENDED) == SLOT_OPEN) {
		send_record(RECORD_OVER, &ref, 0, NULL, s->pid);
		return 0;
	}
	if (__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_FREE) == SLOT_OPEN) {
		slot_give_back(index);
		return 0;
	}
	if (__sync_val_compare_and_swap(&s->state, SLOT_HELD, SLOT_ENDED) == SLOT_HELD)
		send_record(RECORD_ENDED, &ref, 0, NULL, s->pid);
	else if (__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_FREE) == SLOT_OPEN)
		slot_give_back(index); /* user space let go of it between the two */
	return 0;
}

/* The oldest request of the connection got its whole reply. */
static __always_inline void conn_pop(struct conn *conn, u32 flags, u64 now)
{
	struct ref *oldest = &conn->queue[conn->queue_head & (QUEUE_MAX - 1)];

	if (!conn->queue_len)
		return;
	if (conn->in.gen == oldest->gen && conn->in.slot == oldest->slot) {
		conn->in.gen = 0;
		/* The rest of a refused upload is counted off. */
		if (conn->in_phase != IN_LENGTH && conn->in_phase != IN_WALK)
			conn->in_phase = IN_IDLE;
	}
	slot_end(oldest->slot, oldest->gen, flags, 1, now);
	oldest->gen = 0;
	conn->queue_head = (conn->queue_head + 1) & (QUEUE_MAX - 1);
	conn->queue_len--;
}

__noinline int conn_end(struct conn *conn, u32 flags)
{
	u64 now = bpf_ktime_get_ns();

	if (!conn)
		return 0;
	for (int i = 0; i < QUEUE_MAX && conn->queue_len; i++) {
		struct ref *oldest = &conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
		struct slot *s = slot_of(oldest);
		u32 how = flags;

		/* A reply without a length ends by closing: that is its proper end. */
		if (s && s->out_phase == OUT_CLOSE)
			how = 0;
		else if (s && s->out_phase == OUT_UNKNOWN)
			how = SLOT_END_INFERRED;
		conn_pop(conn, how, now);
	}
	conn->in_phase = IN_IDLE;
	conn->skipped = conn->skipping = 0;
	conn->role = ROLE_OPAQUE;
	conn->closed = 1;
	return 0;
}

#endif
