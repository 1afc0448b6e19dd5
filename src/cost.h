/* SPDX-License-Identifier: MIT */
/* What a stop will cost the process, guessed before it from /proc, and whether that is
 * allowed. Within a factor of 2 of the truth on a machine with a CPU to spare. Stops
 * nothing. */
#ifndef REQTRAP_COST_H
#define REQTRAP_COST_H

#include "proc.h"

struct cost {
	uint64_t look_ns;  /* stop, registers, go */
	uint64_t clone_ns; /* ... with a clone in between */
	uint64_t stop_ns;  /* ... with the core written in between */
	uint64_t bytes;	   /* private memory to be written */
};

/* Huge pages are cheap to copy. With 'clone' they are looked for in the page tables, which
 * takes some 2 ms a GiB; before Linux 6.7 only if without them the guess is above
 * enough_ns (0: never). */
int cost_estimate(const struct proc *proc, const struct proc_maps *maps, bool clone, uint64_t enough_ns,
		  struct cost *ret_cost, struct err *err);

/* Copying in the stop, beside the clone: how long so many bytes take, how many that time buys. */
uint64_t cost_of_copy(uint64_t bytes);
uint64_t cost_copy_bytes(uint64_t ns);

/* -EBUSY with a text if cost_ns is above budget_ns (0: no limit). 'what': would stop it. */
int cost_check(uint64_t cost_ns, uint64_t budget_ns, pid_t pid, const char *what, const char *choice, struct err *err);

#endif
