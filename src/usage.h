/* SPDX-License-Identifier: MIT */
/* What a process uses, at one moment: read once per tick, for all that want to know.
 * Reads /proc and the cgroup's files only; never stops anything. Other users' fds and
 * calls need CAP_SYS_PTRACE. */
#ifndef REQTRAP_USAGE_H
#define REQTRAP_USAGE_H

#include "proc.h"

enum usage_part {
	USAGE_CPU = 1 << 0,
	USAGE_MEMORY = 1 << 1,
	USAGE_THREADS = 1 << 2,
	USAGE_FDS = 1 << 3,
	USAGE_CPU_PRESSURE = 1 << 4,
	USAGE_MEMORY_PRESSURE = 1 << 5,
	USAGE_IO_PRESSURE = 1 << 6,
	USAGE_MEMORY_EVENTS = 1 << 7,
	USAGE_PLACE = 1 << 8,
};

struct usage {
	uint32_t parts;	       /* enum usage_part bits: what is valid below */
	uint64_t at_ns;	       /* CLOCK_MONOTONIC */
	uint64_t cpu_ns;       /* user and system, all threads, ended ones too */
	uint64_t memory_bytes; /* resident and swapped */
	uint64_t threads, fds;
	uint64_t pressure_ns[3]; /* cpu, memory, io: time in which some task of its cgroup waited for it */
	uint64_t memory_events;	 /* of its cgroup: how often a limit was hit, and kills */
	uint64_t place;		 /* where all threads are (call, sp, pc): the same number means that none has moved */
};

/* A process under observation. */
struct meter {
	const struct proc *proc; /* the caller's */
	uint32_t parts;
	char cgroup[512]; /* its folder in the unified hierarchy; '' none */
	char memory[512]; /* ... in that of cgroup v1's memory controller */
};

/* Where its cgroup's files are: with NULL of the unified hierarchy, else of that controller
 * of cgroup v1. '' where there is none, or out of our sight. */
void cgroup_folder(int dir_fd, const char *controller, char *ret, size_t size);

/* -EOPNOTSUPP in words: a part that this kernel or this process has not. */
int meter_init(struct meter *meter, const struct proc *proc, uint32_t parts, struct err *err);

/* -ESRCH: it has ended. A part that cannot be read is missing in 'parts'. About 30 us. */
int usage_read(const struct meter *meter, struct usage *ret_usage);

#endif
