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

#include "maps.h"
#include "recorder.h"
#include "bytes.h"

/* ---- requests coming in ---- */

/* The last chunk, with or without trailers. These come in the write that begins with
 * it: '0\r\nName: value\r\n\r\n'. */
static __always_inline bool chunks_ended(const struct source *src, u64 tail)
{
	u32 n;

	if (tail_is_last_chunk(tail))
		return true;
	return (tail & 0xffffffffull) == 0x0d0a0d0aull &&
	       (peek(src, 0, &n) & 0xffffff) == ('0' | '\r' << 8 | '\n' << 16);
}

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

/* A new request comes while the end of the last reply has not been seen (a head too
 * long to look through, trailers): the client knows that it was over. */
static __always_inline void reply_given_up(struct conn *conn)
{
	struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;

	if (s && s->reply_ns && (s->out_phase == OUT_UNKNOWN || s->out_phase == OUT_CHUNKED))
		conn_pop(conn, SLOT_END_INFERRED);
}

/* Feeds what a read brought, from 'skip' on. Returns how many bytes it used. */
__noinline u64 feed_request(struct conn *conn, const struct source *src, u64 skip, const struct ref *parent)
{
	u64 now = bpf_ktime_get_ns(), avail, used;
	struct scanned sc = {};
	struct slot *s;
	u32 index, n, before, got, fits = 1;

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
			if (chunks_ended(src, conn->in_tail))
				conn->in_phase = IN_IDLE;
		}
		return avail;
	}
	if (conn->in_phase == IN_IDLE) {
		u64 w = peek(src, skip, &n);
		bool fastcgi = is_fastcgi_begin(w, n);

		if (n && ((w & 0xff) == '\r' || (w & 0xff) == '\n'))
			return 1; /* an empty line before a request is none */
		if (!fastcgi && (n == 0 || !method_of(w, n)))
			return avail; /* not a request: what it is we do not know */
		conn->role = ROLE_SERVER;
		reply_given_up(conn);
		index = slot_begin(conn, src->sk, fastcgi ? SLOT_FASTCGI : 0, parent);
		if (index == SLOT_NONE)
			return avail;
		conn->in_phase = fastcgi ? IN_FASTCGI : IN_HEAD;
		s = slot_at(index);
		if (!s)
			return avail;
		s->fd = src->fd;
		bind_thread(s, index, now);
		if (s->flags & SLOT_INNER)
			COUNT(inner);
		clock_arm(index, now);
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
	if (s->method == 0) {
		n = s->head_len < 8 ? s->head_len : 8;
		fits = method_of(*(u64 *)s->head, n);
		if (n == 8) {
			s->method = fits;
			if (fits && !(s->flags & SLOT_INNER))
				COUNT(requests);
		}
	}
	if (!got && before < SLOT_HEAD)
		return avail; /* unreadable */
	s->last_ns = now;
	if (!fits) { /* the first bytes only looked like one */
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
		if (conn->linked)
			bpf_map_delete_elem(&tuples, &conn->tuple);
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

/* enum target_kind, 0: a stranger. */
__noinline u32 target_known(u32 tgid)
{
	u32 *kind = bpf_map_lookup_elem(&targets, &tgid);

	return kind ? *kind : 0;
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
static __always_inline void caller_received(struct conn *conn, u64 now)
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
	struct slot *s;
	u64 now, skip = 0;
	u32 known = target_known(tgid);

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
		caller_received(conn, now);
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
		if (known && n == 8 && w == WORD('H', 'T', 'T', 'P', '/', '1', '.', '1')) {
			/* An answer: a connection to somebody else, made before we looked. */
			conn = conn_of(sk, 1);
			if (conn) {
				conn->role = ROLE_CLIENT;
				conn->answered = 1;
				conn->last_ns = now;
			}
			return 0;
		}
		if (!is_fastcgi_begin(w, n) && !method_of(w, n) && (w & 0xff) != '\r' && (w & 0xff) != '\n') {
			struct slot *p = slot_of(&parent);

			if (!known && p)
				p->up_pid = tgid;
			return 0;
		}
		if (known && follow && client_conns)
			find_parent(src, &parent);
		/* Who was only adopted is of interest for the calls it answers. */
		if (known == TARGET_ADOPTED && !slot_of(&parent))
			return 0;
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
	for (int i = 0; i < 2 * QUEUE_MAX + 2; i++) {
		u64 used = feed_request(conn, src, skip, &parent);

		skip += used;
		if (!used || skip >= src->len)
			break;
	}
	if (skip < src->len)
		COUNT(refused_queue); /* more requests in one read than are looked at */
	s = slot_of(&conn->in);
	if (s)
		bind_thread(s, conn->in.slot, now);
	return 0;
}

/* ---- replies going out ---- */

/* Tells user space of a status that some rule asks for. What a FastCGI worker sends is
 * what its proxy passes on, so it fires for the outer request, while the worker still
 * holds it. What another HTTP server answers may be changed or not be passed on at all:
 * there the outer request's own status counts. */
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
		if (!(o->flags & SLOT_FASTCGI))
			return;
		outer = up;
		o = p;
	}
	if (o->fired_status == status)
		return;
	o->fired_status = status;
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

#define FASTCGI_STDERR 7

__noinline u32 fastcgi_reply(struct slot *s, const struct source *src, const struct ref *self)
{
	u64 now = bpf_ktime_get_ns();
	u32 at = 0;

	if (!s || !src || !self)
		return 0;
	if (!s->status && take_head(s, src, 0, 1)) {
		/* What PHP logs (STDERR records) may come before the reply itself. */
		for (int i = 0; i < 8; i++) {
			asm volatile("%0 &= 0x7ff" : "+r"(at));
			if (at + 24 > s->reply_len || s->reply[at + 1] != FASTCGI_STDERR)
				break;
			at += 8 + (s->reply[at + 4] << 8 | s->reply[at + 5]) + s->reply[at + 6];
		}
		asm volatile("%0 &= 0x7ff" : "+r"(at));
		if (at + 24 <= s->reply_len) {
			/* record header of 8 bytes, then 'Status: NNN', else it is a 200 */
			s->status = 200;
			if ((*(u64 *)(s->reply + at + 8) | 0x0000202020202020ull) ==
			    (WORD('s', 't', 'a', 't', 'u', 's', ':', ' ') | 0x0000202020202020ull)) {
				u32 code = three_digits(s->reply + at + 16);

				if (code >= 100 && code < 1000)
					s->status = code;
			}
			status_check(s, self, now);
		}
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
				over = chunks_ended(src, s->tail);
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
			over = chunks_ended(src, s->tail);
		}
	}
	event(s, EVENT_SEND, src->nr, used, now, 0);
	if (over) {
		conn_pop(conn, 0);
	}
	return used;
}

static __always_inline void tuple_remember(struct conn *conn, u64 key)
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
	conn->tuple = t;
	/* A key in the memory of an argument is refused by older verifiers (6.1). */
	if (bpf_map_update_elem(&tuples, &t, &key, BPF_ANY))
		COUNT(lost_link);
	else
		conn->linked = 1;
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
	if (!conn->linked && conn->family != AF_UNIX)
		tuple_remember(conn, src->sk);
	client_conns = 1;
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
			endpoint_of(src->sk, &s->up);
			if (s->up.family == AF_UNIX)
				unix_path_of(src->sk, s->up_path);
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
	if (!conn || conn->role == ROLE_NONE) {
		struct ref *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
		bool is_unix = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX;
		u32 n;
		u64 w;

		/* A thread without a request (a log socket at start-up) is of no interest. */
		if (!mine || !slot_of(mine))
			return 0;
		/* A unix socket without an address of its own is one that connected. TCP calls
		 * were seen when they connected, but for those made before we looked: there a
		 * request tells. Whoever else writes first is the server of a client that we
		 * do not understand. */
		if (is_unix && BPF_CORE_READ((struct unix_sock *)sk, addr))
			return 0;
		if (!is_unix) {
			w = peek(src, 0, &n);
			if (n < 8 || (!is_fastcgi_begin(w, n) && !method_of(w, n)))
				return 0;
		}
		conn = conn_of(sk, 1);
		if (!conn)
			return 0;
		conn->role = ROLE_CLIENT;
		conn->answered = 1;
	}
	conn->last_ns = now;
	return caller_sent(conn, src);
}

/* ---- hooks ---- */

enum {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_RESTART = 219
};

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

	if (flags & 2 /* MSG_PEEK: the bytes come again */)
		return 0;
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
	s32 nr = (s32)regs->orig_ax;
	bool in = nr == NR_READ || nr == NR_READV || nr == NR_RECVFROM || nr == NR_RECVMSG;
	struct source src = {};
	struct sock *sk;

	/* Cheapest first: every system call of the host comes by here. */
	if (!in && nr != NR_WRITE && nr != NR_WRITEV && nr != NR_SENDTO && nr != NR_SENDMSG && nr != NR_SENDFILE)
		return 0;
	if (in && ret <= 0)
		return 0;
	if (!target_known(bpf_get_current_pid_tgid() >> 32) && !(in && follow && client_conns))
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
		conn = conn_of(sk, 1);
		if (!conn)
			return 0;
		conn->role = ROLE_CLIENT;
		conn->answered = 1;
		mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
		if (mine && slot_of(mine)) {
			conn->owner = *mine;
			conn->owner_pending = 1;
		}
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

	if (!conn)
		return 0;
	conn_end(conn, SLOT_ABORTED);
	/* By now the socket has lost its port: the tuple as it was noted. */
	if (conn->linked)
		bpf_map_delete_elem(&tuples, &conn->tuple);
	bpf_map_delete_elem(&conns, &key);
	return 0;
}

#define TASK_STOPPED_OR_TRACED 0xc

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
