/* SPDX-License-Identifier: MIT */
/* What the machine and a process's cgroup let it have: CPUs, load, pressure, throttling,
 * memory. Reads /proc and the cgroup's files (v1 and v2); stops nothing. What cannot be
 * read is unknown, never 0 that means something. */
#ifndef REQTRAP_HOST_H
#define REQTRAP_HOST_H

#include "incident.h"

/* The counters of cgroups over time, so that it can be told what they grew by while a
 * request ran. */
struct host_log;

struct host_log *host_log_new(void); /* NULL: no memory */
void host_log_free(struct host_log *log);

/* Reads the counters of that process's cgroup; twice within half a second only once.
 * Two small files. */
void host_log_note(struct host_log *log, pid_t pid);
void host_log_tick(struct host_log *log); /* those of all cgroups that were noted before */

/* dir_fd: its open /proc/PID. since_ns: CLOCK_MONOTONIC. log: NULL without deltas. */
void host_read(struct host_log *log, int dir_fd, uint64_t since_ns, struct host_facts *ret_facts);

#endif
