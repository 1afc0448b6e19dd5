/* SPDX-License-Identifier: MIT */
/* For tests: stops a process that the test may trace and makes a capture of it.
 * Simple and slow: one thread after the other. */
#ifndef PLAY_CAPTURE_H
#define PLAY_CAPTURE_H

#include "capture.h"
#include "proc.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

struct play {
	pid_t pid, holder_tid;
	struct proc proc;
	pid_t *tids;
	size_t count;
	int mem_fd, capture_fd;
};

static inline void play_thread(struct play *p, pid_t tid, struct capture_thread *t, char *stack)
{
	struct user_regs_struct regs;
	struct proc_status status;
	struct proc_syscall call;
	char path[64];
	struct proc_maps maps;
	const struct proc_map *m;
	ssize_t n;

	*t = (struct capture_thread){ .tid = tid, .syscall_nr = -1 };
	snprintf(path, sizeof(path), "task/%d/status", tid);
	if (proc_status_read(p->proc.dir_fd, path, &status) == 0) {
		snprintf(t->comm, sizeof(t->comm), "%.15s", status.comm);
		t->ns_tid = status.ns_tid;
	}
	snprintf(path, sizeof(path), "task/%d/syscall", tid);
	t->state = proc_syscall_read(p->proc.dir_fd, path, &call) == 0 && call.nr >= 0 ? 'S' : 'R';
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
	    waitpid(tid, NULL, __WALL) != tid || ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		return;
	t->stopped = 1;
	memcpy(t->reg, &regs, sizeof(t->reg));
	t->syscall_nr = (int64_t)regs.orig_rax;
	t->arg[0] = regs.rdi;
	t->arg[1] = regs.rsi;
	t->arg[2] = regs.rdx;
	t->arg[3] = regs.r10;
	t->arg[4] = regs.r8;
	t->arg[5] = regs.r9;
	if (proc_maps_read(p->proc.dir_fd, false, &maps, NULL) < 0)
		return;
	m = proc_maps_find(&maps, regs.rsp);
	if (m) {
		t->stack_addr = MAX(regs.rsp - 128, m->start);
		n = pread(p->mem_fd, stack, MIN(m->end - t->stack_addr, (uint64_t)CAPTURE_STACK_MAX),
			  (off_t)t->stack_addr);
		t->stack_len = n > 0 ? (uint64_t)n : 0;
	}
	proc_maps_free(&maps);
}

/* Stops everything and makes the capture's memfd. */
static inline bool play_stop(struct play *p)
{
	struct capture_head head = {
		.magic = CAPTURE_MAGIC, .size = sizeof(head), .pid = p->pid, .holder_tid = p->holder_tid
	};
	struct capture_thread *threads;
	char *stack = malloc(CAPTURE_STACK_MAX), *text;
	size_t len;
	uint64_t at;

	if (proc_threads(p->proc.dir_fd, &p->tids, &p->count) < 0)
		return false;
	threads = calloc(p->count, sizeof(*threads));
	p->capture_fd = memfd_create("capture", MFD_CLOEXEC);
	at = sizeof(head) + p->count * sizeof(*threads);
	for (size_t i = 0; i < p->count; i++) {
		play_thread(p, p->tids[i], &threads[i], stack);
		threads[i].stack_off = at;
		if (pwrite(p->capture_fd, stack, threads[i].stack_len, (off_t)at) < 0)
			return false;
		at += threads[i].stack_len;
	}
	if (proc_file(p->proc.dir_fd, "maps", 1 << 20, &text, &len) < 0)
		return false;
	head.thread_count = (uint32_t)p->count;
	head.maps_off = at;
	head.maps_len = len;
	head.total_len = at + len;
	if (pwrite(p->capture_fd, text, len, (off_t)at) < 0 || pwrite(p->capture_fd, &head, sizeof(head), 0) < 0 ||
	    pwrite(p->capture_fd, threads, p->count * sizeof(*threads), sizeof(head)) < 0)
		return false;
	free(text);
	free(threads);
	free(stack);
	return true;
}

#endif
