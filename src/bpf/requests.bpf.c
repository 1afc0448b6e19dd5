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
#include "calls.h"
#include "replies.h"
#include "sched.h"
#include "older.h"

enum { SOCK_DGRAM_ = 2, SEND_SHUTDOWN_ = 2 };

/* The server has closed its side, and reads what still comes only so that the client gets
 * to see the reply: a request in it is thrown away. */
__noinline int on_discard(const struct source *src)
{
	u64 w;
	u32 n;

	if (!src)
		return 0;
	w = peek(src, 0, &n);
	if (n == 8 && method_of(w, n))
		COUNT(discarded);
	return 0;
}

static __always_inline bool is_stream(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_type) == SOCK_STREAM_;
}

/* The first bytes on a connection of which nothing is known: does a request start here? */
static __noinline bool on_first_bytes(const struct source *src, u32 kind, struct ref *parent)
{
	struct sock *sk = (struct sock *)src->sk;
	struct conn *conn;
	struct slot *p;
	u32 n;
	u64 w = peek(src, 0, &n);

	if (n == 0) {
		if (!src->readable) {
			COUNT(blind);
			/* If a request was in it, its reply tells (feed_unseen). */
			if (kind && kind != TARGET_ADOPTED && src->port && is_stream(sk)) {
				conn = conn_make(src->sk);
				if (conn)
					conn->role = ROLE_SERVER;
			}
		}
		return false;
	}
	if (BPF_CORE_READ(sk, sk_shutdown) & SEND_SHUTDOWN_) {
		if (kind)
			on_discard(src);
		return false;
	}
	if (kind && n == 8 && w == WORD('H', 'T', 'T', 'P', '/', '1', '.', '1')) {
		/* An answer: a connection to somebody else, made before we looked. */
		conn = conn_make_client(src->sk);
		if (conn)
			conn->last_ns = src->now;
		return false;
	}
	if (!is_fastcgi_begin(w, n) && !method_of(w, n) && (w & 0xff) != '\r' && (w & 0xff) != '\n' &&
	    !(kind && n == 8 && may_be_method(w))) {
		p = slot_of(parent);
		if (!kind && p)
			p->up_pid = src->id >> 32;
		return false;
	}
	/* A letter by which a process tells itself, or its workers, of a signal (php-fpm: 'C' for a
	 * child that has ended) begins many a method, too. */
	if (n < 8 && !src->port && !BPF_CORE_READ((struct unix_sock *)sk, addr) && is_pair(sk))
		return false;
	if (kind && may_have_parent(src->port))
		find_parent(&src->sk, parent);
	/* Who was only adopted is of interest for the calls it answers. */
	if (kind == TARGET_ADOPTED && !slot_of(parent))
		return false;
	if (!kind)
		adopt(src->id >> 32, parent);
	return true;
}

/* One read has brought several requests: the thread works on the first, the others wait behind
 * it. Bound the last one first, so that it turns away from each to the one before. */
static __noinline int on_several(struct conn *conn, const struct source *src, u32 waiting)
{
	if (!conn || !src)
		return 0;
	for (u32 i = 0; i < QUEUE_MAX; i++) {
		u32 place = conn->queue_len - 1 - i;
		struct ref *at = &conn->queue[(conn->queue_head + place) & (QUEUE_MAX - 1)];
		struct slot *s;

		if (i >= conn->queue_len || place < waiting)
			break;
		s = slot_of(at);
		if (s)
			bind_anew(s, at->slot, src->now, 0);
	}
	return 0;
}

static __always_inline int on_recv(struct source *src, u32 kind)
{
	struct ref parent = {};
	struct conn *conn;
	struct slot *s;
	u32 waiting;

	/* Strangers: only who answers a watched request's call is of interest. */
	if (!kind && find_parent(&src->sk, &parent) != 1)
		return 0;
	src->now = bpf_ktime_get_ns();
	conn = conn_of(src);
	if (conn && conn->role == ROLE_OPAQUE)
		return conn->closed ? on_discard(src) : 0;
	if (conn && conn->role == ROLE_CLIENT) {
		conn->last_ns = src->now;
		caller_received(conn, src);
		return 0;
	}
	if (!conn || (conn->in_phase == IN_IDLE && conn->queue_len == 0 && (conn->role != ROLE_SERVER || !kind))) {
		if (conn && conn->role == ROLE_OLDER && !older_read(conn, src))
			return 0;
		if (!on_first_bytes(src, kind, &parent))
			return 0;
		if (!conn)
			conn = conn_make(src->sk);
		if (!conn) {
			COUNT(refused_conn);
			conns_full = 1;
			return 0;
		}
	} else if (conn->in_phase == IN_IDLE && kind && follow) {
		if (may_have_parent(src->port))
			find_parent(&src->sk, &parent);
		if (kind == TARGET_ADOPTED && conn->queue_len == 0 && !slot_of(&parent))
			return 0;
	}
	conn->last_ns = src->now;
	waiting = conn->queue_len;
	feed_requests(conn, src, &parent);
	s = slot_of(&conn->in);
	if (unlikely(conn->queue_len > waiting + 1))
		on_several(conn, src, waiting);
	else if (s)
		bind_thread(s, conn->in.slot, src, 0);
	return 0;
}

/* A name server is asked, most often with two messages in one call: the first one tells. */
static __noinline int on_lookup(const struct source *src, const struct ref *mine)
{
	struct source first = *src;
	struct pt_regs *regs;

	if (src->nr == NR_SENDMMSG) {
		regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
		source_of_exit(&first, NR_SENDMSG, regs->di, regs->si, regs->dx);
	}
	first.now = src->now;
	return ask_note(mine, &first);
}

/* A watched process writes to a socket that it reads no requests from: its state, if
 * this is a call that a request makes. */
static __noinline struct conn *on_first_words(const struct source *src)
{
	struct sock *sk = (struct sock *)src->sk;
	struct ref mine;
	u32 n = 0;
	u64 w;

	/* A thread without a request (a log socket at start-up) is of no interest. */
	if (!current_request(&mine))
		return NULL;
	/* A unix socket without an address of its own is one that connected. TCP calls
	 * were seen when they connected, but for those made before we looked: there the
	 * ports or a request tell. Whoever else writes first is the server of a client that we
	 * do not understand. */
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX) {
		if (BPF_CORE_READ((struct unix_sock *)sk, addr))
			return NULL;
	} else {
		u16 port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));

		if (BPF_CORE_READ(sk, sk_type) == SOCK_DGRAM_) {
			if (port == 53)
				on_lookup(src, &mine);
			return NULL;
		}
		w = peek(src, 0, &n);
		if (!has_called(sk, port) && (n < 8 || (!is_fastcgi_begin(w, n) && !method_of(w, n))))
			return NULL;
	}
	return conn_make_client(src->sk);
}

/* The first words on a TCP connection are a reply: was the request read in a way that nobody
 * sees (splice)? Something was read. What was seen and taken for no request is answered by a
 * 400; who did not fit into the table is counted there. */
static __noinline struct conn *on_unasked(const struct source *src)
{
	struct tcp_sock *tp = (struct tcp_sock *)src->sk;
	struct conn *conn;
	u32 n, unread;
	u64 w;

	w = peek(src, 0, &n);
	if (n != 8 || !is_reply(w) || conns_full || !is_stream((struct sock *)src->sk))
		return NULL;
	w = peek(src, 8, &n);
	unread = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	if ((w & 0xffffffff) == (u32)WORD(' ', '4', '0', '0', 0, 0, 0, 0) ||
	    BPF_CORE_READ(tp, bytes_received) <= unread + 1ull /* a FIN */)
		return NULL;
	conn = conn_make(src->sk);
	if (!conn)
		return NULL;
	conn->role = ROLE_SERVER;
	conn->blind = 1;
	return conn;
}

/* A reply is whole, and the thread that sent it has read the next request, too. */
static __noinline int on_next(struct conn *conn, const struct source *src)
{
	struct ref *next;
	struct slot *s;

	if (!conn || !src)
		return 0;
	next = &conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(next);
	if (s && s->tid == (u32)src->id && s->seg_kind == SEGMENT_AWAY)
		bind_anew(s, next->slot, src->now, 0);
	return 0;
}

static __always_inline int reply_sent(struct conn *conn, struct source *src)
{
	struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;
	u32 head = conn->queue_head;

	conn->last_ns = src->now;
	if (s)
		bind_thread(s, oldest.slot, src, 0);
	feed_replies(conn, src);
	if (unlikely(conn->queue_len) && conn->queue_head != head)
		on_next(conn, src);
	return 0;
}

static __always_inline int on_send(struct source *src, u32 kind)
{
	struct conn *conn = conn_of(src);

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
	src->now = bpf_ktime_get_ns();
	if (unlikely(!conn) && src->port && kind != TARGET_ADOPTED)
		conn = on_unasked(src);
	/* From an older one on it is a server's like any other. */
	if (conn && (conn->role == ROLE_SERVER || (conn->role == ROLE_OLDER && older_sent(conn, src))))
		return reply_sent(conn, src);
	if (!follow)
		return 0;
	if (!conn || conn->role == ROLE_NONE)
		conn = on_first_words(src);
	if (!conn)
		return 0;
	conn->last_ns = src->now;
	return caller_sent(conn, src);
}

static __always_inline u64 id_of(struct task_struct *task)
{
	return (u64)(u32)task->tgid << 32 | (u32)task->pid;
}

/* The argument of a tracepoint is a pointer that may simply be followed, which costs a
 * tenth of the helper that reads kernel memory; of descriptors it may not. */
static __always_inline void source_of_sock(struct source *src, struct sock *sk, struct task_struct *task)
{
	bool is_unix = sk->__sk_common.skc_family == AF_UNIX;

	src->sk = (u64)sk;
	src->unix_ino = is_unix ? sk->sk_socket->file->f_inode->i_ino : 0;
	src->port = is_unix ? 0 : sk->__sk_common.skc_num;
	src->task = (u64)task;
	src->id = id_of(task);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv, struct sock *sk, int ret, int flags)
{
	struct task_struct *task;
	struct pt_regs *regs;
	struct source src;
	u32 kind;

	if (ret <= 0 || flags & 2 /* MSG_PEEK: the bytes come again */)
		return 0;
	task = bpf_get_current_task_btf();
	kind = target_kind(task->tgid);
	if (!kind && !client_conns)
		return 0;
	source_of_sock(&src, sk, task);
	if (!kind && !may_have_parent(src.port))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	src.len = ret;
	source_of_call(&src, regs->orig_ax, regs->di, regs->si, regs->dx);
	return on_recv(&src, kind);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send, struct sock *sk, int ret, int flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 kind = target_kind(task->tgid);
	struct pt_regs *regs;
	struct source src;

	if (!kind)
		return 0;
	source_of_sock(&src, sk, task);
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	src.len = ret;
	source_of_call(&src, regs->orig_ax, regs->di, regs->si, regs->dx);
	return on_send(&src, kind);
}

/* Kernels before about 6.3 have no socket tracepoints: every system call's exit, and
 * the socket found through the file descriptor. */
static __always_inline struct sock *sock_of_fd(struct task_struct *task, u32 fd, u64 *ret_ino)
{
	struct file *file = file_of_fd(task, fd);
	struct socket *socket;

	if (!file)
		return NULL;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_KIND) != S_SOCKET)
		return NULL;
	*ret_ino = BPF_CORE_READ(file, f_inode, i_ino);
	socket = BPF_CORE_READ(file, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : NULL;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	s32 nr = (s32)regs->orig_ax;
	bool in = nr == NR_READ || nr == NR_READV || nr == NR_RECVFROM || nr == NR_RECVMSG;
	struct task_struct *task;
	struct sock *sk;
	struct source src;
	u32 kind;

	/* Cheapest first: every system call of the host comes by here. */
	if (!in && nr != NR_WRITE && nr != NR_WRITEV && nr != NR_SENDTO && nr != NR_SENDMSG && nr != NR_SENDFILE &&
	    nr != NR_SPLICE)
		return 0;
	if (in && ret <= 0)
		return 0;
	task = bpf_get_current_task_btf();
	kind = target_kind(task->tgid);
	if (!kind && !(in && client_conns))
		return 0;
	/* MSG_PEEK moves nothing: recvfrom has its flags in r10, recvmsg in dx. */
	if ((nr == NR_RECVFROM && regs->r10 & 2) || (nr == NR_RECVMSG && regs->dx & 2))
		return 0;
	/* A pipe into a socket; the other way it shows in what TCP has counted (body_unseen). */
	sk = sock_of_fd(task, nr == NR_SPLICE ? regs->dx : regs->di, &src.unix_ino);
	if (!sk)
		return 0;
	src.sk = (u64)sk;
	src.port = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX ? 0 : BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!kind && !may_have_parent(src.port))
		return 0;
	src.task = (u64)task;
	src.id = id_of(task);
	src.len = ret;
	source_of_exit(&src, nr, regs->di, regs->si, regs->dx);
	return in ? on_recv(&src, kind) : on_send(&src, kind);
}

enum { TCP_ESTABLISHED_ = 1, TCP_SYN_SENT_ = 2, TCP_FIN_WAIT1_ = 4, TCP_CLOSE_ = 7, TCP_LAST_ACK_ = 9 };

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int oldstate, int newstate)
{
	u64 key = (u64)sk;
	struct conn *conn;

	if (newstate == TCP_SYN_SENT_) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct ref mine;

		if (!follow || !target_kind(task->tgid))
			return 0;
		conn = conn_make_client(key);
		if (!conn)
			return 0;
		current_request(&mine);
		if (mine.gen) {
			conn->owner = mine;
			conn->owner_pending = 1;
		}
		return 0;
	}
	if (newstate != TCP_FIN_WAIT1_ && newstate != TCP_CLOSE_ && newstate != TCP_LAST_ACK_)
		return 0;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (conn && (conn->role == ROLE_SERVER || conn->role == ROLE_OLDER))
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
