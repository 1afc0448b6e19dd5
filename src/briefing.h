/* SPDX-License-Identifier: MIT */
/* What the dump worker tells the analyst, and how long it waits for it. The messages
 * are analyst.h's contract; all waits are bounded, all failures cost the analysis only. */
#ifndef REQTRAP_BRIEFING_H
#define REQTRAP_BRIEFING_H

#include "proc.h"

/* Before the stop: opens the target's ELF files and hands them over with its maps
 * (maps_fd: their text, kept by the caller and not written to any more) and memory; then waits for 'ready', at most wait_ns. fd < 0: does nothing. */
int briefing_prepare(int fd, const struct proc *proc, const struct proc_maps *maps, int maps_fd, uint64_t wait_ns);

/* copy_mem_fd: -1 when the target itself stands still; envoy_fd: -1 without an envoy. */
int briefing_go(int fd, pid_t pid, int capture_fd, int copy_mem_fd, int envoy_fd, bool arguments);
void briefing_failed(int fd, pid_t pid, const char *why);

/* Waits for MEMORY_DONE until the given moment (CLOCK_MONOTONIC). False: not done. */
bool briefing_wait(int fd, uint64_t until_ns);

#endif
