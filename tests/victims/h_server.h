/* SPDX-License-Identifier: MIT */
/* What the victim h_server says of itself, in a file that the harness maps. */
#ifndef H_SERVER_H
#define H_SERVER_H

#include <stdint.h>

#define H_THREADS_MAX 80
#define H_FD_CLIENT 3 /* its only connection: 'q' is answered 'Q', 'h' is held until 'g': 'GH' */

enum h_wrong {
	H_GENERAL = 1,
	H_RED_ZONE = 2,
	H_FLAGS = 4,
	H_X87 = 8,
	H_VECTOR = 16,
	H_MASK_REGS = 32,
	H_BASES = 64,
	H_IDENTITY = 128,
	H_ALT_STACK = 256,
	H_SHORT = 512, /* a wait ended before its time */
};

struct h_counts {
	volatile uint32_t threads, up; /* how many there are to be, and how many are set up */
	volatile uint32_t go;	       /* 0: all rest in a futex wait on it */
	volatile uint32_t wrong;       /* enum h_wrong bits */
	volatile uint64_t eintr, sigchld, handled;
	volatile uint64_t gap_ns; /* the longest time that thread 1 did not run; the harness sets it to 0 */
	volatile uint64_t tick[H_THREADS_MAX];
};

#endif
