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

#endif
