/* SPDX-License-Identifier: MIT */
/* Writes the capture (capture.h): who the threads are, their registers, and copies of
 * their stacks. Reads memory and /proc; stops nothing itself. */
#ifndef REQTRAP_TRIAGE_H
#define REQTRAP_TRIAGE_H

#include "capture.h"
#include "freeze.h"

struct triage_thread {
	pid_t tid, ns_tid;
	char comm[16], wchan[32], state;
	uint64_t utime_ticks, stime_ticks;
};

struct triage {
	struct triage_thread *thread; /* owned; ascending tids */
	size_t count;
};

/* Before the stop, and before anything is attached to: what a stopped thread no longer
 * shows (state, wchan). */
int triage_look(const struct proc *proc, struct triage *ret_triage);
void triage_free(struct triage *triage);

/* mem: the stopped process, or a frozen copy; maps and maps_text are its own. Returns a
 * new memfd, the caller's. */
int triage_write(const struct triage *triage, struct freeze *freeze, const struct memory *mem,
		 const struct proc_maps *maps, const struct spool *maps_text, pid_t holder_tid, int *ret_fd,
		 struct err *err);

/* A piece of the capture: copies the stack that the registers point to to 'off' of the
 * file, and says in the row where it lies. mem, maps: of the same process. cut: counts
 * those that are longer than CAPTURE_STACK_MAX. */
int triage_stack(int fd, const struct proc_maps *maps, const struct memory *mem, const struct user_regs_struct *regs,
		 uint64_t off, struct capture_thread *row, uint32_t *cut);

#endif
