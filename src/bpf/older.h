/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What was there before we looked: connections of the watched, and the requests that were
 * under way on them. Each of the processes' open sockets is looked at once. Of TCP the
 * kernel's own counts tell whether a request was read and nothing sent since: that one gets
 * its slot at once. Of the others (unix sockets, the same tick of the clock, a reply that is
 * half out) the next bytes tell. None of it has a known begin, so no time rule fires.
 *
 * Trap: the hooks run meanwhile. A connection that they know already is left alone, and one
 * is put into the table whole. */
#ifndef REQTRAP_BPF_OLDER_H
#define REQTRAP_BPF_OLDER_H

#include "replies.h"

/* Who listens, then who has called, then who was called: each looks at what the one before found. */
enum older_step { OLDER_LISTENS, OLDER_CALLS, OLDER_SERVES };

enum { CHOSEN_PORTS = 32768, ST_ESTABLISHED = 1, ST_CLOSE_WAIT = 8, ST_LISTEN = 10, SOCK_STREAM_ = 1 };

#define OLDER_SHARE 4 /* one slot in so many at most: tunnels look the same, and stay */

u32 older_slots; /* taken by the look */
struct conn older_draft;

/* Whose port the kernel chose, and the other end's nobody did, is the one that called. */
static __always_inline bool has_called(struct sock *sk, u16 port)
{
	return BPF_CORE_READ(sk, __sk_common.skc_num) >= CHOSEN_PORTS && port < CHOSEN_PORTS;
}

/* A record of TLS: nothing of it can be understood. */
static __always_inline bool is_tls(u64 w, u32 n)
{
	return n >= 3 && (w & 0xff) >= 20 && (w & 0xff) <= 23 && (w >> 8 & 0xff) == 3 && (w >> 16 & 0xff) <= 4;
}

static __always_inline bool is_fastcgi_reply(u64 w, u32 n)
{
	u32 type = w >> 8 & 0xff;

	return n == 8 && (w & 0xff) == 1 && (type == 6 || type == FASTCGI_STDERR || type == FASTCGI_END);
}

/* Its slot, and its place in the queue. Returns 0 when there is none. */
__noinline int older_begin(struct conn *conn, const struct source *src)
{
	struct ref parent = {};
	struct slot *s = NULL;
	u32 index;

	if (!conn || !src)
		return 0;
	index = slot_take(&s);
	if (!s) {
		COUNT(refused);
		return 0;
	}
	slot_begin(conn, s, index, src, &parent);
	s->flags |= SLOT_START_UNKNOWN;
	s->seg_kind = SEGMENT_UNSEEN;
	s->head_ns = src->now;
	/* What another watched process asks for is a part of that one's request. */
	if (find_parent(&src->sk, &parent)) {
		s->flags |= SLOT_INNER;
		s->parent_slot = parent.slot;
		s->parent_gen = parent.gen;
	} else {
		COUNT(older);
	}
	return 1;
}

/* It was none, or it is one of which no more can be known. */
__noinline int older_drop(struct conn *conn, u32 uncount)
{
	struct ref oldest;
	struct slot *s;

	if (!conn || !conn->queue_len)
		return 0;
	oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&oldest);
	if (s && uncount && !(s->flags & SLOT_INNER))
		COUNT_BY(older, -1);
	conn_pop(conn, SLOT_END_INFERRED, bpf_ktime_get_ns());
	return 1;
}

/* The first bytes that are read on an older connection. Returns 1 when they may begin a
 * request, and are to be looked at as any other's. */
__noinline int older_read(struct conn *conn, const struct source *src)
{
	u64 w;
	u32 n;

	if (!conn || !src)
		return 0;
	w = peek(src, 0, &n);
	if (is_tls(w, n)) {
		conn->role = ROLE_OPAQUE;
		return 0;
	}
	/* Or more of one that was half read. */
	if (!is_fastcgi_begin(w, n) && !method_of(w, n) && (w & 0xff) != '\r' && (w & 0xff) != '\n' &&
	    !(n == 8 && is_reply(w)))
		return 0;
	conn->role = ROLE_NONE;
	return 1;
}

/* The first that is sent. Returns 1 when it is the reply to an older request, which has its
 * slot now. */
__noinline int older_sent(struct conn *conn, const struct source *src)
{
	struct ref oldest, parent;
	struct slot *s;
	bool fastcgi;
	u64 w;
	u32 n;

	if (!conn || !src)
		return 0;
	w = peek(src, 0, &n);
	if (is_tls(w, n)) {
		older_drop(conn, 1);
		conn->role = ROLE_OPAQUE;
		return 0;
	}
	/* Else the rest of a reply, or another protocol behind one: counted, but where it ends is
	 * not to be seen. */
	conn->role = ROLE_NONE;
	fastcgi = is_fastcgi_reply(w, n);
	if (!fastcgi && !(n == 8 && is_reply(w))) {
		bool asks = n && (method_of(w, n) || is_fastcgi_begin(w, n));

		if (!older_drop(conn, 0) && conn->family != AF_UNIX && !asks && !find_parent(&src->sk, &parent))
			COUNT(older);
		conn->in_phase = IN_IDLE;
		return 0;
	}
	if (!conn->queue_len && !older_begin(conn, src))
		return 0;
	oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&oldest);
	if (s && fastcgi)
		s->flags |= SLOT_FASTCGI;
	conn->fastcgi = fastcgi;
	conn->in_phase = IN_IDLE; /* what is read now begins the next */
	conn->role = ROLE_SERVER;
	return 1;
}

/* ---- the look at open sockets ---- */

/* All that came was read, and nothing was sent since. 'ret_ago': ticks since the last of it came. */
static __always_inline bool older_runs(struct sock *sk, u32 *ret_ago)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	u32 received = BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_ack.lrcvtime);
	u32 fin = BPF_CORE_READ(sk, __sk_common.skc_state) == ST_CLOSE_WAIT;

	*ret_ago = (u32)bpf_jiffies64() - received;
	if (BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq) > fin ||
	    BPF_CORE_READ(tp, write_seq) != BPF_CORE_READ(tp, snd_nxt))
		return false;
	if (!BPF_CORE_READ(tp, bytes_sent))
		return BPF_CORE_READ(tp, bytes_received) > fin;
	return (s32)(received - BPF_CORE_READ(tp, lsndtime)) > 0;
}

static __always_inline int older_serves(struct sock *sk, struct task_struct *task, u32 fd)
{
	u64 key = (u64)sk, now = bpf_ktime_get_ns();
	struct source src = { .sk = key, .fd = (s32)fd, .now = now };
	struct conn *conn = &older_draft;
	u32 ago = 0;

	__builtin_memset(conn, 0, sizeof(*conn));
	conn->ino = inode_of(sk);
	endpoint_of(key, &conn->peer);
	conn->family = conn->peer.family;
	conn->last_ns = now;
	conn->role = ROLE_OLDER;
	if (conn->family != AF_UNIX && older_slots < slot_count / OLDER_SHARE && older_runs(sk, &ago)) {
		src.now -= ago ? (ago - 1) * tick_ns : 0;
		src.id = (u64)(u32)task->tgid << 32 | (task->signal->nr_threads == 1 ? (u32)task->pid : 0);
		older_slots += older_begin(conn, &src);
		conn->in_phase = IN_UNKNOWN;
	}
	if (bpf_map_update_elem(&conns, &key, conn, BPF_NOEXIST) && conn->queue_len)
		older_drop(conn, 1);
	return 0;
}

static __always_inline int older_calls(struct sock *sk)
{
	struct conn *conn = conn_make((u64)sk);

	if (!conn)
		COUNT(lost_link);
	if (!conn || conn->role != ROLE_NONE)
		return 0;
	conn->role = ROLE_CLIENT;
	conn->answered = 1;
	/* Many a server has such for its signals: no reason to look at every read of the host, until
	 * a request writes there. */
	if (conn->family == AF_UNIX && is_pair(sk))
		return 0;
	client_conns = 1;
	if (conn->family == AF_UNIX)
		unix_calls = 1;
	else if (!conn->linked)
		tuple_remember(conn, (u64)sk);
	return 0;
}

SEC("iter/task_file")
int older_look(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	u32 state, port, kind;
	struct sock *sk;
	bool serves;

	if (!task || !file)
		return 0;
	kind = target_kind(task->tgid);
	if (!kind || kind == TARGET_ADOPTED || (file->f_inode->i_mode & S_KIND) != S_SOCKET)
		return 0;
	socket = file->private_data;
	sk = socket ? BPF_CORE_READ(socket, sk) : NULL;
	if (!sk || BPF_CORE_READ(sk, sk_type) != SOCK_STREAM_)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX) {
		if (state != ST_ESTABLISHED || !BPF_CORE_READ((struct unix_sock *)sk, peer))
			return 0;
		serves = BPF_CORE_READ((struct unix_sock *)sk, addr) != NULL;
	} else {
		port = BPF_CORE_READ(sk, __sk_common.skc_num);
		if (state == ST_LISTEN) {
			__sync_fetch_and_or(&served[port / 64 % 1024], 1ull << (port % 64));
			return 0;
		}
		if (state != ST_ESTABLISHED && state != ST_CLOSE_WAIT)
			return 0;
		serves = served[port / 64 % 1024] >> (port % 64) & 1;
		if (!serves && !has_called(sk, __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport))))
			return 0;
	}
	if (serves)
		return older_step == OLDER_SERVES ? older_serves(sk, task, ctx->fd) : 0;
	return older_step == OLDER_CALLS ? older_calls(sk) : 0;
}

#endif
