/* SPDX-License-Identifier: MIT */
/* What a process had used up at one moment: CPU time by thread, memory by mapping. Two
 * moments make a difference: compare.h, growth.h. Reads /proc only, stops nothing;
 * another user's process needs CAP_SYS_PTRACE. */
#ifndef REQTRAP_MOMENT_H
#define REQTRAP_MOMENT_H

#include "proc.h"

enum moment_part {
	MOMENT_CPU = 1 << 0,	/* about 10 us a thread */
	MOMENT_MEMORY = 1 << 1, /* about 25 ms a GiB of small pages, and 10 us a thread */
};

struct thread_cpu {
	pid_t tid;
	uint64_t start_ticks; /* of the thread: its number may be given to another */
	uint64_t cpu_ns;      /* user and system */
	uint64_t queued_ns;   /* ready to run, and waiting for a CPU; 0 on kernels that do not tell */
};

/* Memory that counts: the process's own pages, resident or swapped out, and those of
 * shared memory. Pages that a file still holds do not. */
struct moment_mapping {
	uint64_t start, end;
	uint64_t bytes;
	bool stack; /* a thread's stack pointer lies in it; one that runs does not tell its own */
};

/* All mappings of one name: a file, '[heap]', '[stack]', '[anon:NAME]'. */
struct moment_name {
	char *name; /* raw bytes */
	uint64_t bytes, mappings;
};

struct moment {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	uint32_t parts; /* enum moment_part bits: what is valid below */
	struct thread_cpu *cpu;
	size_t cpu_count;	     /* by tid */
	struct moment_mapping *anon; /* those without a name, that hold something; by address */
	size_t anon_count;
	struct moment_name *named; /* by name */
	size_t named_count;
	uint64_t bytes;	      /* of all */
	uint64_t not_counted; /* mappings that are too large to be looked through on this kernel */
};

/* One thread's; false: it has ended. About 10 us. */
bool thread_cpu_read(int dir_fd, pid_t tid, struct thread_cpu *ret_cpu);

/* -ESRCH: it has ended. The moment is the caller's: moment_done. */
int moment_read(const struct proc *proc, uint32_t parts, struct moment *ret_moment, struct err *err);
void moment_done(struct moment *moment); /* a zeroed one is fine */

#endif
