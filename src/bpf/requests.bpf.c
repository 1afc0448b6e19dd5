// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Requests, from the first byte a server reads to the last byte of the reply.
 *
 * The idea: two socket tracepoints see every byte count that a watched process
 * moves, with the socket, and the user registers tell where the bytes lie. A small
 * incremental HTTP/1 and FastCGI state machine per connection finds begin, head,
 * status and end. Scheduler tracepoints add what the holding thread waits for. All
 * of it is written in place into the request's slot (event.h); user space is woken
 * only when a limit passes or a status fires.
 *
 * Rejected: kprobes and fentry (refused by locked-down kernels), LRU maps (they drop
 * the oldest request, which is the slow one), one ring record per event (waking user
 * space costs more than everything else together).
 *
 * Traps: pid, tid and tgid: 'pid' in the kernel's structs is a thread. A sock's
 * address is used again after it is freed, so a connection also keeps the inode
 * number. Programs of different hooks run at the same time on two CPUs: what two of
 * them write is either changed by compare-and-swap or harmless when torn. */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "../event.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by user space before load (const) or at any time (the rest). */
const volatile u32 layout = EVENT_LAYOUT;
const volatile bool follow = true; /* look at who answers the calls of watched requests */
u64 limits[LIMITS_MAX];
u32 limit_count;
u64 status_wanted[16]; /* bit per status code below 1024 */
u32 client_conns;      /* how many calls to others were ever seen: 0 spares strangers the lookup */

enum role { ROLE_NONE, ROLE_SERVER, ROLE_CLIENT, ROLE_OPAQUE };
enum in_phase { IN_IDLE, IN_HEAD, IN_LENGTH, IN_CHUNKED, IN_FASTCGI, IN_UNKNOWN };
enum out_phase { OUT_NONE, OUT_HEAD, OUT_LENGTH, OUT_CHUNKED, OUT_CLOSE, OUT_FASTCGI, OUT_UNKNOWN };

struct ref { /* a slot, and which of its lives */
	u64 gen;
	u32 slot;
	u32 pad;
};

struct conn {
	u64 ino;
	u64 last_ns;
	u64 in_left; /* request body bytes still to come */
	u64 in_tail; /* last eight bytes received of a chunked body */
	struct ref in;	  /* the request being received */
	struct ref owner; /* ROLE_CLIENT: the request this call is made for */
	struct ref queue[QUEUE_MAX]; /* requests waiting for their reply, oldest at queue_head */
	u8 queue_head, queue_len;
	u8 role, in_phase;
	u8 answered; /* ROLE_CLIENT: bytes came back since the last send */
	u8 family;
	u8 owner_pending; /* ROLE_CLIENT: owner was taken at connect, not used yet */
	u8 pad;
};

struct tuple { /* a TCP connection between two sockets of this host */
	u32 src[4], dst[4];
	u16 sport, dport; /* host order */
};

struct clock {
	struct bpf_timer timer;
	u32 armed;
	u32 ready;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, union slot_value);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK); /* last in, first out: few slots, warm in the cache */
	__uint(max_entries, 2048);
	__type(value, u32);
} free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, struct clock);
} clocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* struct sock * */
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tuple);
	__type(value, u64); /* the caller's struct sock * */
} tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32); /* tgid */
	__type(value, u32); /* enum target_kind */
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ref);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counters SEC(".maps");

#define COUNT(field)                                                                                                   \
	do {                                                                                                           \
		u32 zero_ = 0;                                                                                         \
		struct counters *c_ = bpf_map_lookup_elem(&counters, &zero_);                                          \
		if (c_)                                                                                                \
			c_->field++;                                                                                   \
	} while (0)

/* Functions that are not 'static' are verified once, for any argument, and not again
 * at each call: that is what keeps this loadable. They check their pointers. */

/* The bytes of one socket call in the caller's memory. */
struct source {
	u64 base; /* the buffer, or the iovec array */
	u32 iov_count; /* 0: one buffer */
	u32 readable;  /* 0: only the length is known (sendfile, io_uring) */
	u64 len;       /* bytes that were moved */
	s32 fd;
	s32 nr;
	u64 sk;
};

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
		s->acc[s->seg_kind & 3] += now - s->seg_since_ns;
		s->seg_since_ns = now;
	}
	s->seg_kind = kind;
}

static __always_inline u32 event_place(u32 n)
{
	return n < SLOT_EVENTS_KEPT ? n : SLOT_EVENTS_KEPT + (n - SLOT_EVENTS_KEPT) % (SLOT_EVENTS - SLOT_EVENTS_KEPT);
}

/* Equal neighbours are merged: thousands of small reads are one line. */
__noinline int event_add(struct slot *s, u32 kind_nr, u64 a, u64 at, u64 dur)
{
	u32 kind = kind_nr >> 16, tid, place;
	s16 nr = (s16)(kind_nr & 0xffff);
	struct slot_event *e;

	if (!s)
		return 0;
	tid = s->tid;
	if (s->event_count) {
		place = event_place(s->event_count - 1);
		if (place < SLOT_EVENTS) {
			e = &s->event[place];
			if (e->kind == kind && e->nr == nr && e->tid == tid &&
			    (kind == EVENT_RECV || kind == EVENT_SEND || (kind == EVENT_WAIT && e->a == a))) {
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

/* The current thread works on this request from now on. */
static __always_inline void bind_thread(struct slot *s, u32 index, u64 now)
{
	u64 id = bpf_get_current_pid_tgid();
	struct ref *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL,
						BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (mine && (mine->slot != index || mine->gen != s->gen)) {
		struct slot *old = slot_of(mine);

		if (old && old->tid == (u32)id)
			segment_to(old, SEGMENT_AWAY, now);
		mine->slot = index;
		mine->gen = s->gen;
	}
	s->pid = id >> 32;
	if (s->tid != (u32)id) {
		bool first = s->tid == 0;

		s->tid = (u32)id;
		if (!first)
			event(s, EVENT_HOLDER, -1, 0, now, 0);
	}
	if (s->seg_kind != SEGMENT_CPU)
		segment_to(s, SEGMENT_CPU, now);
}

/* ---- begin and end ---- */

static int on_clock(void *map, u32 *key, struct clock *c)
{
	struct slot *s = slot_at(*key);
	struct ref ref = { .slot = *key };
	u64 now, due;
	u32 i;

	__sync_lock_test_and_set(&c->armed, 0);
	if (!s || (s->state != SLOT_OPEN && s->state != SLOT_HELD) || (s->flags & SLOT_INNER))
		return 0;
	i = s->next_limit;
	if (i >= limit_count || i >= LIMITS_MAX)
		return 0;
	now = bpf_ktime_get_ns();
	due = s->begin_ns + limits[i & (LIMITS_MAX - 1)];
	if (now >= due) {
		ref.gen = s->gen;
		s->next_limit = i + 1;
		event(s, EVENT_LIMIT, -1, limits[i & (LIMITS_MAX - 1)], now, 0);
		if (__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD) != SLOT_FREE)
			send_record(RECORD_LIMIT, &ref, limits[i & (LIMITS_MAX - 1)], NULL, s->pid);
		i++;
		if (i >= limit_count || i >= LIMITS_MAX)
			return 0;
		due = s->begin_ns + limits[i & (LIMITS_MAX - 1)];
	}
	/* A younger request has taken the slot, or the next limit is still to come. */
	c->armed = 1;
	bpf_timer_start(&c->timer, due > now ? due - now : 1, 0);
	return 0;
}

/* One timer operation per limit and slot, not per request: a timer that is already
 * on its way finds out by itself that the slot has a younger request. The full
 * barrier of the swap orders our begin_ns before the look at 'armed'. */
static __always_inline void clock_arm(u32 index)
{
	struct clock *c = bpf_map_lookup_elem(&clocks, &index);

	if (!c || !limit_count)
		return;
	if (!c->ready) {
		bpf_timer_init(&c->timer, &clocks, 1 /* CLOCK_MONOTONIC */);
		bpf_timer_set_callback(&c->timer, on_clock);
		c->ready = 1;
	}
	if (__sync_val_compare_and_swap(&c->armed, 0, 1) == 0)
		bpf_timer_start(&c->timer, limits[0], 0);
}

/* Takes a slot for a request that begins. Returns its index or SLOT_NONE. */
__noinline u32 slot_begin(struct conn *conn, u64 sk, u32 flags, const struct ref *parent)
{
	u64 now = bpf_ktime_get_ns();
	struct slot *s, *p;
	u32 index;

	if (!conn || !parent)
		return SLOT_NONE;
	if (conn->queue_len >= QUEUE_MAX) {
		COUNT(refused_queue);
		return SLOT_NONE;
	}
	if (bpf_map_pop_elem(&free_slots, &index)) {
		COUNT(refused);
		return SLOT_NONE;
	}
	s = slot_at(index);
	if (!s)
		return SLOT_NONE;
	s->gen++;
	s->flags = flags;
	s->conn = sk;
	s->begin_ns = now;
	s->head_ns = s->reply_ns = s->end_ns = 0;
	s->last_ns = now;
	s->request_bytes = s->reply_bytes = 0;
	s->child_gen = 0;
	s->child_slot = SLOT_NONE;
	s->parent_gen = parent->gen;
	s->parent_slot = parent->slot;
	s->pid = s->tid = 0;
	s->fd = s->up_fd = -1;
	s->up_pid = 0;
	s->status = 0;
	s->next_limit = 0;
	s->up_waiting = 0;
	s->head_len = s->reply_len = s->head_scan = s->reply_scan = 0;
	s->out_left = s->tail = 0;
	s->out_phase = OUT_NONE;
	s->method = 0;
	s->seg_kind = SEGMENT_AWAY;
	s->seg_since_ns = now;
	s->acc[0] = s->acc[1] = s->acc[2] = s->acc[3] = 0;
	s->event_count = 0;
	s->wait_nr = -1;
	s->waker = 0;
	p = slot_of(parent);
	if (p) {
		s->flags |= SLOT_INNER;
		p->child_slot = index;
		p->child_gen = s->gen;
	}
	conn->in.slot = index;
	conn->in.gen = s->gen;
	conn->queue[(conn->queue_head + conn->queue_len) & (QUEUE_MAX - 1)] = conn->in;
	conn->queue_len++;
	s->state = SLOT_OPEN;
	return index;
}

static __always_inline void slot_give_back(u32 index)
{
	if (bpf_map_push_elem(&free_slots, &index, BPF_ANY))
		COUNT(slot_lost);
}

__noinline int slot_end(u32 index, u64 gen, u32 flags, u32 counted)
{
	struct ref ref = { .slot = index, .gen = gen };
	struct slot *s = slot_of(&ref);
	u64 now = bpf_ktime_get_ns();

	if (!s)
		return 0;
	s->flags |= flags;
	/* An end that was only inferred is when the last byte went by. */
	s->end_ns = flags & SLOT_END_INFERRED ? s->last_ns : now;
	segment_to(s, s->seg_kind, now);
	if (counted)
		COUNT(ended);
	if (__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_FREE) == SLOT_OPEN) {
		slot_give_back(index);
		return 0;
	}
	if (__sync_val_compare_and_swap(&s->state, SLOT_HELD, SLOT_ENDED) == SLOT_HELD)
		send_record(RECORD_ENDED, &ref, 0, NULL, s->pid);
	return 0;
}

/* The oldest request of the connection got its whole reply. */
static __always_inline void conn_pop(struct conn *conn, u32 flags)
{
	struct ref *oldest = &conn->queue[conn->queue_head & (QUEUE_MAX - 1)];

	if (!conn->queue_len)
		return;
	if (conn->in.gen == oldest->gen && conn->in.slot == oldest->slot)
		conn->in.gen = 0;
	slot_end(oldest->slot, oldest->gen, flags, 1);
	oldest->gen = 0;
	conn->queue_head = (conn->queue_head + 1) & (QUEUE_MAX - 1);
	conn->queue_len--;
}

__noinline int conn_end(struct conn *conn, u32 flags)
{
	if (!conn)
		return 0;
	for (int i = 0; i < QUEUE_MAX; i++) {
		struct ref *oldest = &conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
		struct slot *s = slot_of(oldest);
		u32 how = flags;

		if (!conn->queue_len)
			break;
		/* A reply without a length ends by closing: that is its proper end. */
		if (s && s->out_phase == OUT_CLOSE)
			how = 0;
		else if (s && s->out_phase == OUT_UNKNOWN)
			how = SLOT_END_INFERRED;
		conn_pop(conn, how);
	}
	conn->in_phase = IN_IDLE;
	return 0;
}

/* ---- bytes ---- */

/* Appends what the call moved, from 'skip' on, to the head (or reply) kept in the
 * slot. Returns how many bytes were taken. */
__noinline u32 take_head(struct slot *s, const struct source *src, u64 skip, u32 reply)
{
	u32 at, room, got = 0;
	u64 left;

	if (!s || !src)
		return 0;
	at = reply ? s->reply_len : s->head_len;
	if (at >= SLOT_HEAD || !src->readable || skip >= src->len)
		return 0;
	room = SLOT_HEAD - at;
	left = src->len - skip;
	for (int i = 0; i < 8; i++) {
		struct user_iovec v = { src->base, src->len };
		u32 n, to = at + got;
		u8 *dst = reply ? s->reply : s->head;

		if (src->iov_count) {
			if (i >= src->iov_count)
				break;
			if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + i * sizeof(v)))) {
				COUNT(bad_read);
				break;
			}
		} else if (i) {
			break;
		}
		if (skip >= v.len) {
			skip -= v.len;
			continue;
		}
		v.base += skip;
		v.len -= skip;
		skip = 0;
		if (v.len > left)
			v.len = left;
		if (v.len > room)
			v.len = room;
		n = v.len;
		/* The verifier wants to see the bound on the very register it uses. */
		asm volatile("%0 &= 0xfff" : "+r"(n));
		asm volatile("%0 &= 0x7ff" : "+r"(to));
		if (n > SLOT_HEAD || n == 0)
			break;
		if (bpf_probe_read_user(dst + to, n, (void *)v.base)) {
			COUNT(bad_read);
			s->flags |= SLOT_UNREADABLE;
			break;
		}
		got += n;
		room -= n;
		left -= n;
		if (!room || !left)
			break;
	}
	if (reply)
		s->reply_len = at + got;
	else
		s->head_len = at + got;
	return got;
}

/* The last eight bytes that the call moved, shifted into a tail kept so far: the
 * newest byte is the lowest. Only for chunked bodies and FastCGI. */
__noinline u64 take_tail(const struct source *src, u64 tail)
{
	u64 left;

	if (!src || !src->readable)
		return 0;
	left = src->len;
	for (int i = 0; i < 24; i++) {
		struct user_iovec v = { src->base, src->len };
		u64 raw = 0;
		u32 n;

		if (src->iov_count) {
			if (i >= src->iov_count)
				break;
			if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + i * sizeof(v))))
				return 0;
		} else if (i) {
			break;
		}
		if (v.len > left)
			v.len = left;
		left -= v.len;
		n = v.len < 8 ? v.len : 8;
		if (n == 0)
			continue;
		asm volatile("%0 &= 0xf" : "+r"(n));
		if (n > 8)
			return 0;
		if (bpf_probe_read_user(&raw, n, (void *)(v.base + v.len - n)))
			return 0;
		/* raw holds the bytes in memory order: lowest byte first. */
		raw = __builtin_bswap64(raw);
		tail = n == 8 ? raw : tail << (n * 8) | raw >> (64 - n * 8);
		if (!left)
			break;
	}
	return tail;
}

/* '\r\n0\r\n\r\n' at the end of what went by, or only '0\r\n\r\n' and nothing before it. */
static __always_inline bool tail_is_last_chunk(u64 tail)
{
	return (tail & 0xffffffffffffffull) == 0x0d0a300d0a0d0aull || tail == 0x300d0a0d0aull;
}

/* ---- heads ---- */

struct scanned {
	u32 line;     /* where to go on: the newline before the last line seen */
	u32 end;      /* just behind the blank line, 0: not there yet */
	u32 length;   /* where the value of Content-Length starts, 0 none */
	u32 chunked;  /* a Transfer-Encoding was there */
	u32 upgrade;
	u32 pad;
};

#define SCAN_STEPS 420
#define LOWER 0x2020202020202020ull
#define WORD(a, b, c, d, e, f, g, h)                                                                                   \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 |                \
	 (u64)(g) << 48 | (u64)(h) << 56)

/* Finds line starts eight bytes at a time. One loop whose every step goes to the
 * next newline or the next word: nested loops are too much for the verifier. */
__noinline int scan_head(struct slot *s, u32 from_reply, struct scanned *out)
{
	u32 reply = from_reply & 1, i, len;
	const u8 *data;

	if (!s || !out)
		return 0;
	data = reply ? s->reply : s->head;
	len = reply ? s->reply_len : s->head_len;
	i = reply ? s->reply_scan : s->head_scan;
	out->line = i;
	for (int n = 0; n < SCAN_STEPS; n++) {
		u64 w, m;

		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i >= SLOT_HEAD)
			break;
		w = *(const u64 *)(data + i) ^ 0x0a0a0a0a0a0a0a0aull;
		m = (w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull;
		if (!m) {
			i += 8;
			continue;
		}
		/* Bytes up to and with the first newline: no count-trailing-zeros here. */
		i += (((m & -m) - 1) & 0x0101010101010101ull) * 0x0101010101010101ull >> 56;
		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i > SLOT_HEAD)
			break;
		out->line = i - 1;
		w = *(const u64 *)(data + i);
		if ((w & 0xff) == '\n') {
			out->end = i + 1;
			break;
		}
		if ((w & 0xffff) == ('\r' | '\n' << 8)) {
			out->end = i + 2;
			break;
		}
		w |= LOWER;
		if (w == WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-')) {
			if (((*(const u64 *)(data + i + 8) | LOWER) & 0xffffffffffffffull) ==
			    (WORD('l', 'e', 'n', 'g', 't', 'h', ':', 0) | (LOWER & 0xffffffffffffffull)))
				out->length = i + 15;
		} else if (w == WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r')) {
			out->chunked = 1;
		} else if (w == WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':')) {
			out->upgrade = 1;
		}
	}
	if (out->end > len)
		out->end = 0;
	if (reply)
		s->reply_scan = out->line;
	else
		s->head_scan = out->line;
	return 0;
}

/* Decimal digits of a Content-Length. */
__noinline u64 read_number(struct slot *s, u32 from_reply, u32 at)
{
	u64 value = 0;
	const u8 *data;

	if (!s)
		return 0;
	data = from_reply ? s->reply : s->head;
	for (int i = 0; i < 24; i++) {
		u8 c;

		asm volatile("%0 &= 0xfff" : "+r"(at));
		if (at >= SLOT_HEAD)
			break;
		c = data[at];
		at++;
		if (c == ' ' || c == '\t')
			continue;
		if (c < '0' || c > '9')
			break;
		value = value * 10 + (c - '0');
	}
	return value;
}

/* The request method by its first eight bytes; n of them are known. Returns 0 when
 * none fits, else 1 + its index. */
static __always_inline u32 method_of(u64 w, u32 n)
{
	u64 known = n >= 8 ? ~0ull : (1ull << (n * 8)) - 1;

#define METHOD(index, word, bytes)                                                                                     \
	if (((w ^ (word)) & known & (bytes >= 8 ? ~0ull : (1ull << (bytes * 8 & 63)) - 1)) == 0)                       \
		return 1 + (index)
	METHOD(0, WORD('G', 'E', 'T', ' ', 0, 0, 0, 0), 4);
	METHOD(1, WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0), 5);
	METHOD(2, WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0), 5);
	METHOD(3, WORD('P', 'U', 'T', ' ', 0, 0, 0, 0), 4);
	METHOD(4, WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0), 7);
	METHOD(5, WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '), 8);
	METHOD(6, WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0), 6);
	METHOD(7, WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '), 8);
	METHOD(8, WORD('T', 'R', 'A', 'C', 'E', ' ', 0, 0), 6);
	METHOD(9, WORD('P', 'R', 'O', 'P', 'F', 'I', 'N', 'D'), 8);
	METHOD(10, WORD('P', 'R', 'O', 'P', 'P', 'A', 'T', 'C'), 8);
	METHOD(11, WORD('R', 'E', 'P', 'O', 'R', 'T', ' ', 0), 7);
	METHOD(12, WORD('M', 'K', 'C', 'O', 'L', ' ', 0, 0), 6);
	METHOD(13, WORD('C', 'O', 'P', 'Y', ' ', 0, 0, 0), 5);
	METHOD(14, WORD('M', 'O', 'V', 'E', ' ', 0, 0, 0), 5);
	METHOD(15, WORD('L', 'O', 'C', 'K', ' ', 0, 0, 0), 5);
	METHOD(16, WORD('U', 'N', 'L', 'O', 'C', 'K', ' ', 0), 7);
	METHOD(17, WORD('S', 'E', 'A', 'R', 'C', 'H', ' ', 0), 7);
	METHOD(18, WORD('P', 'U', 'R', 'G', 'E', ' ', 0, 0), 6);
#undef METHOD
	return 0;
}

#define METHOD_HEAD 2
#define METHOD_CONNECT 8

static __always_inline bool is_fastcgi_begin(u64 w, u32 n)
{
	/* version 1, type BEGIN_REQUEST, any id, length 8 */
	return n >= 8 && (w & 0xffff) == 0x0101 && (w >> 32 & 0xffff) == 0x0800;
}

static __always_inline u64 peek(const struct source *src, u64 skip, u32 *ret_n)
{
	u64 w = 0, addr = src->base;
	u32 n;

	*ret_n = 0;
	if (!src->readable || skip >= src->len)
		return 0;
	n = src->len - skip < 8 ? src->len - skip : 8;
	if (src->iov_count) {
		struct user_iovec v;

		if (bpf_probe_read_user(&v, sizeof(v), (void *)src->base))
			return 0;
		addr = v.base;
		if (skip >= v.len)
			return 0;
		if (n > v.len - skip)
			n = v.len - skip;
	}
	asm volatile("%0 &= 0xf" : "+r"(n));
	if (n == 0 || n > 8 || bpf_probe_read_user(&w, n, (void *)(addr + skip)))
		return 0;
	*ret_n = n;
	return w;
}

/* ---- requests coming in ---- */

/* The head is complete at scanned.end: what body follows? */
static __always_inline void request_framed(struct conn *conn, struct slot *s, const struct scanned *sc, u64 now)
{
	s->head_ns = now;
	conn->in_left = 0;
	conn->in_phase = IN_IDLE;
	if (sc->chunked) {
		conn->in_phase = IN_CHUNKED;
		conn->in_tail = 0;
	} else if (sc->length) {
		conn->in_left = read_number(s, 0, sc->length);
		if (conn->in_left)
			conn->in_phase = IN_LENGTH;
	}
}

/* Feeds what a read brought, from 'skip' on. Returns how many bytes it used. */
__noinline u64 feed_request(struct conn *conn, const struct source *src, u64 skip, const struct ref *parent)
{
	u64 now = bpf_ktime_get_ns(), avail, used;
	struct scanned sc = {};
	struct slot *s;
	u32 index, n, before, got;

	if (!conn || !src || !parent || skip >= src->len)
		return 0;
	avail = src->len - skip;
	if (conn->in_phase == IN_LENGTH) {
		used = avail < conn->in_left ? avail : conn->in_left;
		conn->in_left -= used;
		s = slot_of(&conn->in);
		if (s) {
			s->request_bytes += used;
			s->last_ns = now;
		}
		if (!conn->in_left)
			conn->in_phase = IN_IDLE;
		return used;
	}
	if (conn->in_phase == IN_CHUNKED || conn->in_phase == IN_FASTCGI || conn->in_phase == IN_UNKNOWN) {
		s = slot_of(&conn->in);
		if (s) {
			s->request_bytes += avail;
			s->last_ns = now;
			if (conn->in_phase == IN_FASTCGI)
				take_head(s, src, skip, 0);
		}
		if (conn->in_phase == IN_CHUNKED) {
			conn->in_tail = take_tail(src, conn->in_tail);
			if (tail_is_last_chunk(conn->in_tail))
				conn->in_phase = IN_IDLE;
		}
		return avail;
	}
	if (conn->in_phase == IN_IDLE) {
		u64 w = peek(src, skip, &n);
		bool fastcgi = is_fastcgi_begin(w, n);

		if (!fastcgi && (n == 0 || !method_of(w, n)))
			return avail; /* not a request: what it is we do not know */
		index = slot_begin(conn, src->sk, fastcgi ? SLOT_FASTCGI : 0, parent);
		if (index == SLOT_NONE)
			return avail;
		conn->role = ROLE_SERVER;
		conn->in_phase = fastcgi ? IN_FASTCGI : IN_HEAD;
		s = slot_at(index);
		if (!s)
			return avail;
		s->fd = src->fd;
		bind_thread(s, index, now);
		if (s->flags & SLOT_INNER)
			COUNT(inner);
		else
			clock_arm(index);
		if (fastcgi) {
			if (!(s->flags & SLOT_INNER))
				COUNT(requests);
			s->head_ns = now;
			s->request_bytes = avail;
			take_head(s, src, skip, 0);
			event(s, EVENT_RECV, src->nr, avail, now, 0);
			return avail;
		}
	} else {
		s = slot_of(&conn->in);
		if (!s) {
			conn->in_phase = IN_IDLE;
			return avail;
		}
	}
	/* IN_HEAD */
	before = s->head_len;
	got = take_head(s, src, skip, 0);
	if (s->method == 0 && s->head_len >= 8) {
		s->method = method_of(*(u64 *)s->head, 8);
		if (s->method && !(s->flags & SLOT_INNER))
			COUNT(requests);
	}
	if (!got && before < SLOT_HEAD)
		return avail; /* unreadable */
	s->last_ns = now;
	if (s->method == 0 && s->head_len >= 8) { /* it only looked like one */
		conn->in_phase = IN_IDLE;
		conn->queue_len--;
		slot_end(conn->in.slot, conn->in.gen, 0, 0);
		conn->in.gen = 0;
		return avail;
	}
	sc.line = 0;
	scan_head(s, 0, &sc);
	if (sc.end) {
		used = sc.end > before ? sc.end - before : 0;
		s->request_bytes += used;
		request_framed(conn, s, &sc, now);
	} else {
		used = avail;
		s->request_bytes += used;
		if (s->head_len >= SLOT_HEAD && !(s->flags & SLOT_HEAD_CUT)) {
			/* Too long to look through: its body's length is not known. */
			s->flags |= SLOT_HEAD_CUT;
			s->head_ns = now;
			COUNT(head_cut);
			conn->in_phase = IN_UNKNOWN;
		}
	}
	event(s, EVENT_RECV, src->nr, used, now, 0);
	return used ? used : avail;
}

/* Who made the call that this socket receives? The request of the caller's process. */
__noinline int find_parent(const struct source *src, struct ref *ret_parent)
{
	struct conn *caller;
	struct tuple t = {};
	u64 peer = 0, *found;
	struct sock *sk;
	u16 family;

	if (!src || !ret_parent)
		return 0;
	sk = (struct sock *)src->sk;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family == AF_UNIX) {
		peer = (u64)BPF_CORE_READ((struct unix_sock *)sk, peer);
	} else if (family == AF_INET) {
		/* The caller's view: its source is our destination. */
		t.src[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		t.dst[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&t.src, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
		BPF_CORE_READ_INTO(&t.dst, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		/* An IPv4 caller of a dual-stack server: ::ffff:a.b.c.d here, plain there. */
		if (t.src[0] == 0 && t.src[1] == 0 && t.src[2] == 0xffff0000u) {
			t.src[0] = t.src[3];
			t.dst[0] = t.dst[3];
			t.src[2] = t.src[3] = t.dst[2] = t.dst[3] = 0;
		}
	} else {
		return 0;
	}
	if (family != AF_UNIX) {
		t.sport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
		t.dport = BPF_CORE_READ(sk, __sk_common.skc_num);
		found = bpf_map_lookup_elem(&tuples, &t);
		if (!found)
			return 0;
		peer = *found;
	}
	if (!peer)
		return 0;
	caller = bpf_map_lookup_elem(&conns, &peer);
	if (!caller || caller->role != ROLE_CLIENT || !caller->owner.gen)
		return 0;
	*ret_parent = caller->owner;
	return 1;
}

static __always_inline u64 inode_of(struct sock *sk)
{
	struct socket_alloc *sa = (struct socket_alloc *)BPF_CORE_READ(sk, sk_socket);

	return sa ? BPF_CORE_READ(sa, vfs_inode.i_ino) : 0;
}

/* The connection's state; made when 'create', emptied when the address of the
 * socket was used again. */
static __noinline struct conn *conn_of(struct sock *sk, u32 create)
{
	u64 key = (u64)sk, ino;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);
	struct conn fresh = {};

	if (!conn && !create)
		return NULL;
	ino = inode_of(sk);
	if (conn && conn->ino != ino) {
		if (conn->ino == 0) { /* seen at connect(), before it had one */
			conn->ino = ino;
			return conn;
		}
		conn_end(conn, SLOT_END_INFERRED);
		__builtin_memset(conn, 0, sizeof(*conn));
		conn->ino = ino;
		conn->family = BPF_CORE_READ(sk, __sk_common.skc_family);
		return conn;
	}
	if (conn)
		return conn;
	fresh.ino = ino;
	fresh.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (bpf_map_update_elem(&conns, &key, &fresh, BPF_NOEXIST)) {
		COUNT(refused_conn);
		return NULL;
	}
	return bpf_map_lookup_elem(&conns, &key);
}

__noinline int target_known(u32 tgid)
{
	return bpf_map_lookup_elem(&targets, &tgid) != NULL;
}

__noinline int adopt(u32 tgid, const struct ref *parent)
{
	u32 kind = TARGET_ADOPTED;

	if (parent && bpf_map_update_elem(&targets, &tgid, &kind, BPF_NOEXIST) == 0)
		send_record(RECORD_ADOPTED, parent, 0, NULL, tgid);
	return 0;
}

/* A watched process read an answer to a call of its own: the thread is back at the
 * request that made the call. */
static __always_inline void caller_received(struct conn *conn, const struct source *src, u64 now)
{
	struct slot *s = slot_of(&conn->owner);

	conn->answered = 1;
	if (!s)
		return;
	s->up_waiting = 0;
	bind_thread(s, conn->owner.slot, now);
}

static __always_inline int on_recv(struct sock *sk, struct source *src)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct ref parent = {};
	struct conn *conn;
	u64 now, skip = 0;
	int known = target_known(tgid);

	src->sk = (u64)sk;
	if (!known) {
		/* Strangers: only who answers a watched request's call is of interest. */
		if (!follow || !client_conns || (s64)src->len <= 0 || !find_parent(src, &parent))
			return 0;
	}
	if ((s64)src->len <= 0)
		return 0;
	now = bpf_ktime_get_ns();
	conn = conn_of(sk, 0);
	if (conn && conn->role == ROLE_OPAQUE)
		return 0;
	if (conn && conn->role == ROLE_CLIENT) {
		conn->last_ns = now;
		caller_received(conn, src, now);
		return 0;
	}
	if (!conn || (conn->in_phase == IN_IDLE && conn->queue_len == 0)) {
		/* Nothing is known of it yet: does a request start here? */
		u32 n;
		u64 w = peek(src, 0, &n);

		if (n == 0) {
			if (!src->readable)
				COUNT(blind);
			return 0;
		}
		if (!is_fastcgi_begin(w, n) && !method_of(w, n)) {
			struct slot *p = slot_of(&parent);

			if (!known && p)
				p->up_pid = tgid;
			return 0;
		}
		if (known && follow && client_conns)
			find_parent(src, &parent);
		if (!known)
			adopt(tgid, &parent);
		conn = conn_of(sk, 1);
		if (!conn)
			return 0;
	} else if (known && follow && client_conns && conn->in_phase == IN_IDLE) {
		find_parent(src, &parent); /* pipelined behind another */
	}
	conn->last_ns = now;
	/* Bytes of a body whose length is unknown end where the next request begins. */
	if (conn->in_phase == IN_UNKNOWN && conn->queue_len == 0)
		conn->in_phase = IN_IDLE;
	for (int i = 0; i < QUEUE_MAX; i++) {
		u64 used = feed_request(conn, src, skip, &parent);

		skip += used;
		if (!used || skip >= src->len)
			break;
	}
	if (conn->in_phase != IN_IDLE) {
		struct slot *s = slot_of(&conn->in);

		if (s)
			bind_thread(s, conn->in.slot, now);
	}
	return 0;
}

/* ---- replies going out ---- */

/* Tells user space of a status that some rule asks for. The inner request's status
 * fires for the outer one: at that moment the worker still holds it. */
static __always_inline void status_check(struct slot *s, const struct ref *self, u64 now)
{
	struct ref outer = *self, up;
	struct slot *o = s;
	u32 status = s->status;

	event(s, EVENT_REPLY, -1, status, now, 0);
	if (!(status_wanted[status >> 6 & 15] >> (status & 63) & 1))
		return;
	for (int i = 0; i < 4; i++) {
		struct slot *p;

		up.slot = o->parent_slot;
		up.gen = o->parent_gen;
		p = slot_of(&up);
		if (!p)
			break;
		outer = up;
		o = p;
	}
	if (o->flags & SLOT_STATUS_FIRED)
		return;
	o->flags |= SLOT_STATUS_FIRED;
	if (o != s)
		__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD);
	__sync_val_compare_and_swap(&o->state, SLOT_OPEN, SLOT_HELD);
	send_record(RECORD_STATUS, &outer, status, o != s ? self : NULL, s->pid);
}

static __always_inline u32 three_digits(const u8 *p)
{
	u32 a = p[0] - '0', b = p[1] - '0', c = p[2] - '0';

	return a < 10 && b < 10 && c < 10 ? a * 100 + b * 10 + c : 0;
}

/* The reply's head is complete: how does its body end? Returns 1 if it is over. */
static __always_inline u32 reply_framed(struct conn *conn, struct slot *s, const struct scanned *sc)
{
	u32 status = s->status;

	if (status == 101 || (s->method == METHOD_CONNECT && status < 300)) {
		conn->role = ROLE_OPAQUE; /* what follows is not HTTP/1 any more */
		return 1;
	}
	if (s->method == METHOD_HEAD || status == 204 || status == 304)
		return 1;
	if (sc->chunked) {
		s->out_phase = OUT_CHUNKED;
		s->tail = 0;
	} else if (sc->length) {
		s->out_left = read_number(s, 1, sc->length);
		s->out_phase = OUT_LENGTH;
		return s->out_left == 0;
	} else {
		s->out_phase = OUT_CLOSE;
	}
	return 0;
}

/* FastCGI: the reply is over with an END_REQUEST record at the very end: 01 03 id id
 * 00 08 pad 00 + 8 bytes of body. The tail holds the body only, so the record's
 * header is looked at one word before. */
static __always_inline bool fastcgi_ended(const struct source *src)
{
	u64 w = 0, addr = src->base, len = src->len;

	if (!src->readable)
		return false;
	if (src->iov_count) {
		struct user_iovec v;
		u32 last = src->iov_count - 1;

		if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + (u64)last * sizeof(v))))
			return false;
		addr = v.base;
		len = v.len;
	}
	if (len < 16 || bpf_probe_read_user(&w, sizeof(w), (void *)(addr + len - 16)))
		return false;
	return (w & 0xffff) == 0x0301 && (w >> 32 & 0xffff) == 0x0800;
}

__noinline u32 fastcgi_reply(struct slot *s, const struct source *src, const struct ref *self)
{
	u64 now = bpf_ktime_get_ns();

	if (!s || !src || !self)
		return 0;
	if (!s->status && take_head(s, src, 0, 1) && s->reply_len >= 24) {
		/* record header of 8 bytes, then 'Status: NNN', else it is a 200 */
		s->status = 200;
		if ((*(u64 *)(s->reply + 8) | 0x0000202020202020ull) ==
		    (WORD('s', 't', 'a', 't', 'u', 's', ':', ' ') | 0x0000202020202020ull)) {
			u32 code = three_digits(s->reply + 16);

			if (code >= 100 && code < 1000)
				s->status = code;
		}
		status_check(s, self, now);
	}
	return fastcgi_ended(src);
}

/* Feeds what a write took, from 'skip' on, to the oldest request that waits for its
 * reply. Returns how many bytes belonged to it. */
__noinline u64 feed_reply(struct conn *conn, const struct source *src, u64 skip)
{
	u64 now = bpf_ktime_get_ns(), avail, used;
	struct ref self;
	struct scanned sc = {};
	struct slot *s;
	u32 before, over = 0;

	if (!conn || !src || skip >= src->len || !conn->queue_len)
		return 0;
	avail = src->len - skip;
	self = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&self);
	if (!s) {
		conn->queue_head = (conn->queue_head + 1) & (QUEUE_MAX - 1);
		conn->queue_len--;
		return 0;
	}
	s->last_ns = now;
	if (!s->reply_ns)
		s->reply_ns = now;
	if (s->flags & SLOT_FASTCGI) {
		s->reply_bytes += avail;
		event(s, EVENT_SEND, src->nr, avail, now, 0);
		if (fastcgi_reply(s, src, &self)) {
			conn->in_phase = IN_IDLE;
			conn_pop(conn, 0);
		}
		return avail;
	}
	used = avail;
	if (s->out_phase == OUT_NONE || s->out_phase == OUT_HEAD) {
		before = s->reply_len;
		s->out_phase = OUT_HEAD;
		take_head(s, src, skip, 1);
		if (!s->status && s->reply_len >= 12) {
			u32 code = three_digits(s->reply + 9);

			s->status = code < 1000 ? code : 0;
			if (code >= 200 || code == 101)
				status_check(s, &self, now);
		}
		scan_head(s, 1, &sc);
		if (!sc.end) {
			s->reply_bytes += avail;
			event(s, EVENT_SEND, src->nr, avail, now, 0);
			if (!src->readable || s->reply_len >= SLOT_HEAD || s->reply_len == before) {
				s->flags |= SLOT_REPLY_CUT;
				s->out_phase = OUT_UNKNOWN;
				COUNT(head_cut);
			}
			return avail;
		}
		used = sc.end > before ? sc.end - before : 0;
		s->reply_bytes += used;
		if (s->status >= 100 && s->status < 200 && s->status != 101) {
			/* An interim reply: the real one follows. */
			s->status = 0;
			s->reply_len = s->reply_scan = 0;
			s->out_phase = OUT_NONE;
			event(s, EVENT_SEND, src->nr, used, now, 0);
			return used;
		}
		over = reply_framed(conn, s, &sc);
		if (!over && s->out_phase == OUT_LENGTH) {
			u64 body = avail - used;

			if (body > s->out_left)
				body = s->out_left;
			s->out_left -= body;
			s->reply_bytes += body;
			used += body;
			over = s->out_left == 0;
		} else if (!over && s->out_phase == OUT_CHUNKED) {
			s->reply_bytes += avail - used;
			if (avail > used) {
				s->tail = take_tail(src, 0);
				over = tail_is_last_chunk(s->tail);
			}
			used = avail;
		} else if (!over) {
			s->reply_bytes += avail - used;
			used = avail;
		}
	} else if (s->out_phase == OUT_LENGTH) {
		used = avail < s->out_left ? avail : s->out_left;
		s->out_left -= used;
		s->reply_bytes += used;
		over = s->out_left == 0;
	} else {
		s->reply_bytes += avail;
		if (s->out_phase == OUT_CHUNKED) {
			s->tail = take_tail(src, s->tail);
			over = tail_is_last_chunk(s->tail);
		}
	}
	event(s, EVENT_SEND, src->nr, used, now, 0);
	if (over) {
		/* What is left of the request's body (a refused upload) is still its own. */
		if (conn->in_phase == IN_UNKNOWN)
			conn->in_phase = IN_IDLE;
		conn_pop(conn, 0);
	}
	return used;
}

static __always_inline void tuple_remember(u64 key)
{
	struct sock *sk = (struct sock *)key;
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	struct tuple t = {};

	if (family == AF_INET) {
		t.src[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		t.dst[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&t.src, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		BPF_CORE_READ_INTO(&t.dst, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
	} else {
		return;
	}
	t.sport = BPF_CORE_READ(sk, __sk_common.skc_num);
	t.dport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	bpf_map_update_elem(&tuples, &t, &key, BPF_ANY);
}

/* A watched process wrote to a socket on which it reads no requests: a call to
 * somebody else. It belongs to the request of the thread that connected or, on a
 * connection that is used again, to that of the thread that writes. */
__noinline int caller_sent(struct conn *conn, const struct source *src)
{
	u64 now = bpf_ktime_get_ns();
	struct ref *mine;
	struct slot *s;

	if (!conn || !src)
		return 0;
	if (conn->role != ROLE_CLIENT) {
		conn->role = ROLE_CLIENT;
		conn->answered = 1;
		tuple_remember(src->sk);
		client_conns = 1;
	}
	if (conn->answered && !conn->owner_pending) {
		mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
		if (mine)
			conn->owner = *mine;
	}
	s = slot_of(&conn->owner);
	if (s) {
		if (conn->answered) {
			s->up_fd = src->fd;
			s->up_pid = 0;
			s->up_waiting = 1;
			event(s, EVENT_UPSTREAM, src->nr, (u32)src->fd, now, 0);
		}
		bind_thread(s, conn->owner.slot, now);
	}
	conn->answered = 0;
	conn->owner_pending = 0;
	return 0;
}

static __always_inline int on_send(struct sock *sk, struct source *src)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct conn *conn;
	u64 skip = 0, now;
	u16 family;

	if (!target_known(tgid))
		return 0;
	src->sk = (u64)sk;
	conn = conn_of(sk, 0);
	now = bpf_ktime_get_ns();
	if ((s64)src->len <= 0) {
		/* EPIPE, ECONNRESET: nobody is there to read the reply. A unix socket has
		 * no other sign of its end. */
		if (conn && conn->role == ROLE_SERVER && conn->family == AF_UNIX &&
		    ((s64)src->len == -32 || (s64)src->len == -104))
			conn_end(conn, SLOT_ABORTED);
		return 0;
	}
	if (conn && conn->role == ROLE_OPAQUE)
		return 0;
	if (conn && conn->role == ROLE_SERVER) {
		struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
		struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;

		conn->last_ns = now;
		if (s)
			bind_thread(s, oldest.slot, now);
		for (int i = 0; i < QUEUE_MAX; i++) {
			u64 used = feed_reply(conn, src, skip);

			skip += used;
			if (!used || skip >= src->len)
				break;
		}
		return 0;
	}
	if (!follow)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
		return 0;
	if (!conn) {
		struct ref *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);

		/* A thread without a request (a log socket at start-up) is of no interest. */
		if (!mine || !slot_of(mine))
			return 0;
		conn = conn_of(sk, 1);
		if (!conn)
			return 0;
	}
	conn->last_ns = now;
	return caller_sent(conn, src);
}

/* ---- hooks ---- */

enum { NR_READ = 0, NR_WRITE = 1, NR_READV = 19, NR_WRITEV = 20, NR_SENDFILE = 40, NR_SENDTO = 44, NR_RECVFROM = 45,
       NR_SENDMSG = 46, NR_RECVMSG = 47 };

/* Where the bytes of the call in progress lie, by the user's registers. */
static __always_inline void source_of_call(struct source *src, struct pt_regs *regs, s64 len)
{
	s32 nr = (s32)regs->orig_ax;

	src->nr = nr;
	src->len = len;
	src->fd = -1;
	if (nr == NR_READ || nr == NR_WRITE || nr == NR_RECVFROM || nr == NR_SENDTO) {
		src->base = regs->si;
		src->readable = 1;
		src->fd = regs->di;
	} else if (nr == NR_READV || nr == NR_WRITEV) {
		src->base = regs->si;
		src->iov_count = regs->dx;
		src->readable = 1;
		src->fd = regs->di;
	} else if (nr == NR_RECVMSG || nr == NR_SENDMSG) {
		struct user_msghdr_abi msg;

		src->fd = regs->di;
		if (bpf_probe_read_user(&msg, sizeof(msg), (void *)regs->si) == 0) {
			src->base = msg.iov;
			src->iov_count = msg.iovlen;
			src->readable = 1;
		}
	} else if (nr == NR_SENDFILE) {
		src->fd = regs->di;
	}
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv, struct sock *sk, int ret, int flags)
{
	struct source src = {};

	source_of_call(&src, (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()), ret);
	return on_recv(sk, &src);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send, struct sock *sk, int ret, int flags)
{
	struct source src = {};

	source_of_call(&src, (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()), ret);
	return on_send(sk, &src);
}

/* Kernels before about 6.3 have no socket tracepoints: every system call's exit, and
 * the socket found through the file descriptor. */
static __always_inline struct sock *sock_of_fd(u32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **table, *file = NULL;
	struct socket *socket;

	if (!fdt || fd >= BPF_CORE_READ(fdt, max_fds))
		return NULL;
	table = BPF_CORE_READ(fdt, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), table + fd) || !file)
		return NULL;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & 0170000) != 0140000)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : NULL;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct source src = {};
	struct sock *sk;
	bool in;
	s32 nr;

	if (!target_known(tgid) && !client_conns)
		return 0;
	nr = (s32)regs->orig_ax;
	in = nr == NR_READ || nr == NR_READV || nr == NR_RECVFROM || nr == NR_RECVMSG;
	if (!in && nr != NR_WRITE && nr != NR_WRITEV && nr != NR_SENDTO && nr != NR_SENDMSG && nr != NR_SENDFILE)
		return 0;
	if (in && ret <= 0)
		return 0;
	/* MSG_PEEK moves nothing: recvfrom has its flags in r10, recvmsg in dx. */
	if ((nr == NR_RECVFROM && regs->r10 & 2) || (nr == NR_RECVMSG && regs->dx & 2))
		return 0;
	sk = sock_of_fd(regs->di);
	if (!sk)
		return 0;
	source_of_call(&src, regs, ret);
	return in ? on_recv(sk, &src) : on_send(sk, &src);
}

enum { TCP_ESTABLISHED_ = 1, TCP_SYN_SENT_ = 2, TCP_FIN_WAIT1_ = 4, TCP_CLOSE_ = 7, TCP_LAST_ACK_ = 9 };

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int oldstate, int newstate)
{
	u64 key = (u64)sk;
	struct conn *conn;

	if (newstate == TCP_SYN_SENT_) {
		u32 tgid = bpf_get_current_pid_tgid() >> 32;
		struct ref *mine;

		if (!follow || !target_known(tgid))
			return 0;
		mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
		if (!mine || !slot_of(mine))
			return 0;
		conn = conn_of(sk, 1);
		if (!conn)
			return 0;
		conn->owner = *mine;
		conn->owner_pending = 1;
		return 0;
	}
	if (newstate != TCP_FIN_WAIT1_ && newstate != TCP_CLOSE_ && newstate != TCP_LAST_ACK_)
		return 0;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (conn && conn->role == ROLE_SERVER)
		conn_end(conn, SLOT_ABORTED);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_gone, struct sock *sk)
{
	u64 key = (u64)sk;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);
	struct tuple t = {};

	if (!conn)
		return 0;
	conn_end(conn, SLOT_ABORTED);
	if (conn->role == ROLE_CLIENT) {
		t.sport = sk->__sk_common.skc_num;
		t.dport = __builtin_bswap16(sk->__sk_common.skc_dport);
		if (sk->__sk_common.skc_family == AF_INET) {
			t.src[0] = sk->__sk_common.skc_rcv_saddr;
			t.dst[0] = sk->__sk_common.skc_daddr;
		} else {
			BPF_CORE_READ_INTO(&t.src, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
			BPF_CORE_READ_INTO(&t.dst, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
		}
		bpf_map_delete_elem(&tuples, &t);
	}
	bpf_map_delete_elem(&conns, &key);
	return 0;
}

/* The slot of a thread's request, if it is that thread that holds it. */
static __always_inline struct slot *held_by(struct task_struct *task)
{
	struct ref *mine = bpf_task_storage_get(&threads, task, NULL, 0);
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
	u32 from = parent->tgid, to = child->tgid, kind = TARGET_FORKED;
	u32 *known;

	if (from == to)
		return 0;
	known = bpf_map_lookup_elem(&targets, &from);
	if (!known)
		return 0;
	if (*known == TARGET_ADOPTED)
		kind = TARGET_ADOPTED;
	if (bpf_map_update_elem(&targets, &to, &kind, BPF_ANY) == 0)
		send_record(RECORD_FORK, NULL, from, NULL, to);
	return 0;
}
