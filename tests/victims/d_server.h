/* SPDX-License-Identifier: MIT */
/* What the victim d_server counts about itself, in a file that others map. */
#ifndef D_SERVER_H
#define D_SERVER_H

#include <stdint.h>

#define D_THREADS 6 /* the main thread is 0 */

struct d_counts {
	volatile uint64_t ready;
	volatile uint64_t tick[D_THREADS]; /* each thread: it lives */
	volatile uint64_t eintr;	   /* calls that returned EINTR */
	volatile uint64_t wrong;	   /* registers, red zone or identity not as they must be */
	volatile uint64_t sigchld;
	volatile uint64_t handled; /* queued real-time signals */
	volatile uint64_t gap_ns;  /* the longest time the ticker did not run */
	volatile uint64_t fork_ns; /* the last fork() of its own, SIGUSR2 asks for one */
	volatile uint64_t forks;
};

#endif
