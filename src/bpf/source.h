/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The system call in progress: which, and where its bytes lie. */
#ifndef REQTRAP_BPF_SOURCE_H
#define REQTRAP_BPF_SOURCE_H

#include "bytes.h"

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
	NR_RESTART = 219,
	NR_SPLICE = 275,
	NR_SENDMMSG = 307
};

#define CALLS(a, b) (1ull << (a) | 1ull << (b))
#define CALLS_BUFFER (CALLS(NR_READ, NR_WRITE) | CALLS(NR_RECVFROM, NR_SENDTO))
#define CALLS_VECTOR CALLS(NR_READV, NR_WRITEV)
#define CALLS_MESSAGE CALLS(NR_RECVMSG, NR_SENDMSG)

/* Where the bytes of the call in progress lie, by the user's registers. */
static __always_inline void source_of_call(struct source *src, u32 nr, u64 di, u64 si, u64 dx)
{
	u64 bit = nr < 64 ? 1ull << nr : 0;

	src->nr = nr;
	src->fd = bit & (CALLS_BUFFER | CALLS_VECTOR | CALLS_MESSAGE | 1ull << NR_SENDFILE) ? (s32)di : -1;
	src->base = si;
	src->iov_count = 0;
	src->first_len = 0;
	src->readable = 0;
	if (bit & CALLS_BUFFER) {
		src->readable = 1;
		return;
	}
	if (bit & CALLS_VECTOR) {
		src->iov_count = dx;
	} else if (bit & CALLS_MESSAGE) {
		struct user_msghdr_abi msg;

		if (bpf_probe_read_user(&msg, sizeof(msg), (void *)si))
			return;
		src->base = msg.iov;
		src->iov_count = msg.iovlen;
	} else {
		return;
	}
	src->readable = 1;
	if (src->iov_count) {
		struct user_iovec first;

		/* Most often the first buffer held it all: as if it were the only one. */
		if (bpf_probe_read_user(&first, sizeof(first), (void *)src->base))
			return;
		if (first.len >= src->len) {
			src->base = first.base;
			src->iov_count = 0;
		}
		src->first_base = first.base;
		src->first_len = first.len;
	}
}

/* The same as a call: the verifier forgets by which of the ways it came, and what
 * follows is small enough for it. */
__noinline int source_of_exit(struct source *src, u32 nr, u64 di, u64 si, u64 dx)
{
	if (src)
		source_of_call(src, nr, di, si, dx);
	return 0;
}

#endif
