/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls that a watched request makes to somebody else, and who answers them on this
 * host: how a request is linked to the one that made it. */
#ifndef REQTRAP_BPF_CALLS_H
#define REQTRAP_BPF_CALLS_H

#include "bytes.h"
#include "conns.h"
#include "hands.h"

/* A kernel without network name spaces has but one. */
static __always_inline u64 net_of(struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net))
		return 0;
	return (u64)BPF_CORE_READ(sk, __sk_common.skc_net.net);
}

/* Cheap, so that strangers' and clients' bytes are not asked about one by one. */
static __always_inline bool may_have_parent(u32 port)
{
	return port ? called[port / 64 % 1024] >> (port % 64) & 1 : unix_calls;
}

/* Who made the call that this socket (its address in the kernel) receives? The request of the
 * caller's process. Returns 1 and that request, 2: a watched process, for whom is not known. */
__noinline int find_parent(const u64 *key, struct ref *ret_parent)
{
	struct conn *caller;
	struct tuple t;
	u64 peer = 0, *found;
	struct sock *sk;
	u16 family;

	if (!key || !ret_parent)
		return 0;
	sk = (struct sock *)*key;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__builtin_memset(&t, 0, sizeof(t));

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
		t.net = net_of(sk);
		found = bpf_map_lookup_elem(&tuples, &t);
		if (!found)
			return 0;
		peer = *found;
	}
	if (!peer)
		return 0;
	caller = bpf_map_lookup_elem(&conns, &peer);
	if (!caller || caller->role != ROLE_CLIENT)
		return 0;
	if (family == AF_UNIX && caller->ino != inode_of((struct sock *)peer))
		return 0; /* of a socket that went, where this one is now */
	if (!caller->owner.gen)
		return 2;
	*ret_parent = caller->owner;
	return 1;
}

/* A call's owner is known once its bytes have gone, and by then the other side may have
 * read them: who asks is looked for again at the reply's first byte, and before a limit
 * fires. */
__noinline int find_late_parent(u32 index)
{
	struct ref parent = {};
	struct slot *s = slot_at(index);

	if (!s || s->flags & (SLOT_INNER | SLOT_START_UNKNOWN) || !client_conns)
		return 0;
	if (find_parent(&s->conn, &parent) != 1 || parent.slot == index || !slot_of(&parent))
		return 0;
	s->parent_slot = parent.slot;
	s->parent_gen = parent.gen;
	s->flags |= SLOT_INNER | parent.how;
	if (s->method || s->flags & SLOT_FASTCGI) {
		COUNT(inner);
		COUNT_BY(requests, -1);
	}
	return 1;
}

__noinline int adopt(u32 tgid, const struct ref *parent)
{
	if (parent && target_add(tgid, TARGET_ADOPTED) == 0)
		send_record(RECORD_ADOPTED, parent, 0, NULL, tgid);
	return 0;
}

/* A watched process read an answer to a call of its own: the thread is back at the
 * request that made the call. */
static __always_inline void caller_received(struct conn *conn, const struct source *src)
{
	struct slot *s = slot_of(&conn->owner);

	conn->answered = 1;
	if (!s)
		return;
	s->up_waiting = 0;
	bind_thread(s, conn->owner.slot, src, conn->owner.how & SLOT_LINK_GUESSED);
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
	t.net = net_of(sk);
	conn->tuple = t;
	__sync_fetch_and_or(&called[t.dport / 64], 1ull << (t.dport % 64));
	/* A key in the memory of an argument is refused by older verifiers (6.1). */
	if (bpf_map_update_elem(&tuples, &t, &key, BPF_ANY))
		COUNT(lost_link);
	else
		conn->linked = 1;
}

/* What a request asks of somebody else: the first bytes are kept, of the last one only. */
__noinline int ask_note(const struct ref *of, const struct source *src)
{
	struct user_iovec first;
	struct asked *a;
	u32 index, n;
	u64 base;

	if (!of || !src || !src->readable)
		return 0;
	index = of->slot;
	a = bpf_map_lookup_elem(&asked, &index);
	if (!a)
		return 0;
	base = src->base;
	n = src->len < ASKED_BYTES ? src->len : ASKED_BYTES;
	if (src->iov_count) { /* in several buffers: what the first one holds tells enough */
		if (bpf_probe_read_user(&first, sizeof(first), (void *)base))
			return 0;
		base = first.base;
		if (first.len < n)
			n = first.len;
	}
	asm volatile("%0 &= 0x1ff" : "+r"(n));
	if (n == 0 || n > ASKED_BYTES || bpf_probe_read_user(a->bytes, n, (void *)base))
		n = 0;
	a->len = n;
	a->total = src->len;
	a->fd = src->fd;
	a->at_ns = src->now;
	endpoint_of(src->sk, &a->to);
	a->gen = of->gen;
	return 0;
}

/* A watched process wrote to a socket on which it reads no requests: a call to
 * somebody else. It belongs to the request of the thread that connected or, on a
 * connection that is used again, to that of the thread that writes; to none if that
 * thread works on none. */
__noinline int caller_sent(struct conn *conn, const struct source *src)
{
	struct slot *s;

	if (!conn || !src)
		return 0;
	if (!conn->linked && conn->family != AF_UNIX)
		tuple_remember(conn, src->sk);
	client_conns = 1;
	if (conn->family == AF_UNIX)
		unix_calls = 1;
	if (conn->answered && !conn->owner_pending)
		current_request(&conn->owner);
	s = slot_of(&conn->owner);
	if (s) {
		if (conn->answered) {
			ask_note(&conn->owner, src);
			s->up_fd = src->fd;
			s->up_pid = 0;
			s->up_waiting = 1;
			endpoint_of(src->sk, &s->up);
			if (s->up.family == AF_UNIX)
				unix_path_of(src->sk, s->up_path);
			event(s, EVENT_UPSTREAM, src->nr, (u32)src->fd, src->now, 0);
		}
		bind_thread(s, conn->owner.slot, src, conn->owner.how & SLOT_LINK_GUESSED);
	}
	conn->answered = 0;
	conn->owner_pending = 0;
	return 0;
}

#endif
