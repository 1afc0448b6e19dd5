/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state of a connection, and whether a process is watched. */
#ifndef REQTRAP_BPF_CONNS_H
#define REQTRAP_BPF_CONNS_H

#include "recorder.h"

static __always_inline u64 inode_of(struct sock *sk)
{
	struct socket_alloc *sa = (struct socket_alloc *)BPF_CORE_READ(sk, sk_socket);

	return sa ? BPF_CORE_READ(sa, vfs_inode.i_ino) : 0;
}

/* Who connects has a peer with a name; neither end of a socketpair has one. */
static __always_inline bool is_pair(struct sock *sk)
{
	struct unix_sock *peer = (struct unix_sock *)BPF_CORE_READ((struct unix_sock *)sk, peer);

	return !peer || !BPF_CORE_READ(peer, addr);
}

/* Another unix socket where one was that has gone unseen. */
static __noinline void conn_anew(struct conn *conn, u64 ino)
{
	if (conn->queue_len)
		conn_end(conn, SLOT_END_INFERRED);
	__builtin_memset(conn, 0, sizeof(*conn));
	conn->ino = ino;
	conn->family = conn->peer.family = AF_UNIX;
}

/* The connection's state, if it has any. The address of a socket is used again: TCP
 * sockets tell when they go (tcp_gone), of unix sockets the inode tells. */
static __always_inline struct conn *conn_of(const struct source *src)
{
	u64 key = src->sk;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);

	if (conn && conn->family == AF_UNIX && conn->ino != src->unix_ino)
		conn_anew(conn, src->unix_ino);
	return conn;
}

static const struct conn no_conn; /* too large for a stack that older kernels add up to 512 */

/* The same, made if need be. NULL: the table is full, which the caller counts by what is lost. */
static __noinline struct conn *conn_make(u64 key)
{
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);
	struct sock *sk = (struct sock *)key;

	if (conn)
		return conn;
	if (bpf_map_update_elem(&conns, &key, &no_conn, BPF_NOEXIST))
		return NULL;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (!conn)
		return NULL;
	conn->ino = inode_of(sk);
	endpoint_of(key, &conn->peer);
	conn->family = conn->peer.family;
	return conn;
}

/* A connection to somebody else: which request it is for is not known without its state. */
static __always_inline struct conn *conn_make_client(u64 key)
{
	struct conn *conn = conn_make(key);

	if (!conn) {
		COUNT(lost_link);
		return NULL;
	}
	conn->role = ROLE_CLIENT;
	conn->answered = 1;
	return conn;
}

/* enum target_kind, 0: a stranger. */
static __always_inline u32 target_kind(u32 tgid)
{
	u64 sum = watched[tgid % WATCHED];
	u32 *kind;

	if (!(sum & 0xffff))
		return 0;
	if ((sum & 0xffff) == 1)
		return sum >> 32 == tgid ? sum >> 16 & 0xffff : 0;
	kind = bpf_map_lookup_elem(&targets, &tgid);
	return kind ? *kind : 0;
}

/* Returns 0 when the process was not among the targets. */
static __always_inline int target_add(u32 tgid, u32 kind)
{
	if (bpf_map_update_elem(&targets, &tgid, &kind, BPF_NOEXIST))
		return -1;
	__sync_fetch_and_add(&watched[tgid % WATCHED], watched_as(tgid, kind));
	return 0;
}

static __always_inline void target_change(u32 tgid, u32 kind)
{
	u32 *at = bpf_map_lookup_elem(&targets, &tgid), old;

	if (!at)
		return;
	old = __sync_lock_test_and_set(at, kind);
	__sync_fetch_and_add(&watched[tgid % WATCHED], watched_as(tgid, kind) - watched_as(tgid, old));
}

#endif
