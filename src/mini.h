/* SPDX-License-Identifier: MIT */
/* The memory of a mini core: of every thread its stack and control block, the pages
 * that registers and stack words point to, and what a debugger needs to find the
 * modules. Copied while the process stands still, written when it runs again: no clone.
 * Reads memory and page tables only, and no page that is absent. Every byte of the
 * target is hostile: each walk is bounded, and what a bound leaves out is told. */
#ifndef REQTRAP_MINI_H
#define REQTRAP_MINI_H

#include "core.h"
#include "freeze.h"
#include "spool.h"

#define MINI_AIM_BYTES (5u << 20)   /* of the core: referenced pages fill it up, ... */
#define MINI_LEAST_BYTES (1u << 20) /* ... and have at least this */
#define MINI_STACK_MAX (1u << 20)   /* of a stack whose end is known; else CAPTURE_STACK_MAX */
#define MINI_LINKS_MAX 4096u	    /* modules */

#define MINI_OFF_REF (1ull << 62) /* a bit of a run's offset: what a word pointed to */

struct mini_run {
	uint64_t start, end;
	uint64_t off; /* where the bytes are: in a spool, with MINI_* bits */
};

typedef void mini_omit_fn(void *arg, uint64_t start, uint64_t end, const char *name, const char *why, bool lost);

struct mini {
	/* given by the caller, and kept by it */
	struct memory memory; /* of the process */
	struct pages pages;
	const struct proc_maps *maps; /* from before the stop */
	int proc_dir_fd;	      /* /proc/PID: auxv, and threads that cannot be stopped */
	pid_t holder_tid;	      /* served first */
	bool everything;	      /* MADV_DONTDUMP does not count */
	mini_omit_fn *omit;
	void *omit_arg;

	/* inside */
	struct spool quick, more;
	struct mini_run *run; /* owned; ascending and disjoint after mini_take */
	size_t count, cap;
	uint64_t *seen; /* pages looked at, a hash table */
	size_t seen_count;
	uint32_t *left; /* per mapping: referenced pages left out */
	uint8_t *chunk;
	uint64_t *words;	     /* of the stack at work */
	const struct proc_map *last; /* found */
	const struct proc_map **data;
	size_t data_count;
	char *auxv;
	size_t auxv_len;
	uint64_t dynamic, dynamic_len; /* the program's dynamic section */
	uint64_t refs_until_ns;
	uint64_t refs_bytes, refs_max; /* taken, and allowed to the thread at work */
	size_t late_threads;	       /* whose references were not followed: no time */
	uint64_t more_max;	       /* of what is copied beyond the memory made ready */
	size_t cut_threads;	       /* whose stacks were cut for want of time or room */
	struct core_source source;
};

/* Before the stop, the given fields set: memory for some 'threads', touched, and what
 * does not change: headers of modules, the vdso. -ENOMEM. mini_close must follow. */
int mini_open(struct mini *mini, size_t threads, struct err *err);
void mini_close(struct mini *mini);

/* In the stop. After refs_until_ns (CLOCK_MONOTONIC) no reference is followed any
 * more, after stacks_until_ns (0: never) only the nearest pages of stacks are copied. */
int mini_take(struct mini *mini, struct freeze *freeze, uint64_t refs_until_ns, uint64_t stacks_until_ns,
	      struct err *err);

/* Afterwards: segments of all mappings; what was copied has data. maps: with flags.
 * flags_known false: nobody can say what MADV_DONTDUMP forbids: referenced memory is
 * left out. Tells of all that is. The mini must outlive the core. */
int mini_segments(struct mini *mini, const struct proc_maps *maps, bool flags_known, struct core *core);

/* The copied bytes; reads less where there are none. */
struct memory mini_memory(const struct mini *mini);

#endif
