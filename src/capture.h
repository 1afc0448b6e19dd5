/* SPDX-License-Identifier: MIT */
/* What the dump worker takes while the target stands still, as one flat file
 * (a memfd): the threads with registers and a copy of their stacks. Written by
 * DUMP, read by UNDERSTAND, so that neither room knows the other. Layout:
 * capture_head, then thread_count capture_thread, then the stack bytes, then the
 * text of /proc/PID/maps. Same machine, same build: native byte order.
 * The reader still checks every offset: stacks are hostile bytes. */
#ifndef REQTRAP_CAPTURE_H
#define REQTRAP_CAPTURE_H

#include <stdint.h>

#define CAPTURE_MAGIC 0x3170617271657274ull
#define CAPTURE_STACK_MAX (256u << 10) /* bytes of stack copied per thread at most */

struct capture_head {
	uint64_t magic;
	uint32_t size; /* of this struct, as a layout check */
	int32_t pid;
	int32_t holder_tid; /* the request's thread, 0 if none */
	uint32_t thread_count;
	uint64_t taken_ns; /* CLOCK_MONOTONIC, all threads stopped */
	uint64_t maps_off, maps_len;
	uint64_t total_len;
	uint32_t stack_bytes_cut; /* threads whose stack was longer than CAPTURE_STACK_MAX */
	uint32_t pad;
};

struct capture_thread {
	int32_t tid;
	int32_t ns_tid; /* in the process's own pid namespace: what pthread words hold */
	char comm[16];
	char state;	 /* R S D T ... just before the stop */
	uint8_t stopped; /* registers are from ptrace; else only sp, pc and the call are known */
	uint8_t pad[6];
	int64_t syscall_nr; /* -1: in user mode; restart_syscall is resolved where possible */
	uint64_t arg[6];
	uint64_t reg[27]; /* struct user_regs_struct of x86-64, in its order */
	uint64_t utime_ticks, stime_ticks;
	uint64_t stack_addr; /* address of the first copied byte (sp, minus the red zone) */
	uint64_t stack_off;  /* in this file */
	uint64_t stack_len;
	char wchan[32];
};

#endif
