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

#endif
