/* SPDX-License-Identifier: MIT */
/* All threads of a process stand still, and go on. The only file with follow.c and
 * arch_*.c that calls ptrace. Does not know what the stop is for.
 *
 * Needs CAP_SYS_PTRACE, or the same uid where Yama allows. Nothing here sends the
 * target a signal. A thread that cannot stop (uninterruptible wait, vfork) is marked
 * and left alone: only the exit of our process lets go of it, so a process that calls
 * freeze_stop must be short-lived. SIGCHLD must be blocked by the caller. */
#ifndef REQTRAP_FREEZE_H
#define REQTRAP_FREEZE_H

#include "arch.h"
#include "spool.h"

#include <signal.h>

struct freeze_thread {
	pid_t tid;
	bool stopped;	 /* stands still now */
	bool taken;	 /* stood still: freeze_state has its registers */
	bool group_stop; /* it was stopped already, by SIGSTOP or the like */
	bool mended;	 /* a call of it that the stop cut short is to start again */
	bool gone;	 /* ended before it could be stopped */
	uint32_t row;	 /* of its registers in the spool */
};

struct freeze {
	const struct proc *proc;
	struct freeze_thread *thread; /* owned; grows with the process */
	size_t count, cap;
	struct spool states;	  /* registers: those of 10,000 threads are too many for our memory */
	struct arch_state *state; /* one, with its extended registers behind it; owned */
	uint32_t rows;
	size_t running;			     /* threads that did not stop */
	uint64_t longest_ns;		     /* set by the caller: a longer stop kills us, which lets all go; 0 none */
	uint64_t stop_ns, taken_ns, thaw_ns; /* first INTERRUPT, all stopped, last DETACH */

	bool later;	/* set by the caller: freeze_stop leaves the registers to freeze_call and freeze_take */
	int later_code; /* what the call said of it */
	struct err later_err;

	/* Set by follow.h: the threads are attached to all the time, until the next thaw. */
	bool followed;
	unsigned long options; /* PTRACE_O_* */
	bool stay;	       /* the thaw lets them go on, attached to still */
	pid_t held;	       /* stands in the stop before 'held_signal'; 0 none */
	int held_signal;       /* which it gets at the thaw; 0: it is at its end */
	pid_t shown;	       /* freeze_show */
	uint32_t shown_row;
	bool ending; /* so are they all: threads at their end count as stopped */
	void (*passed)(void *arg, pid_t tid, const siginfo_t *info); /* a signal is passed on; NULL: nobody is told */
	void *passed_arg;
};

void freeze_init(struct freeze *freeze, const struct proc *proc);
void freeze_done(struct freeze *freeze); /* frees memory; does not thaw */

/* Attaches to all threads, or to 'only' (not 0). Nothing stops yet. -EPERM names the
 * other tracer. The process is checked to be the one in freeze->proc. */
int freeze_seize(struct freeze *freeze, pid_t only, struct err *err);

/* Stops them. Threads that wait for a CPU run before all others until they stand, and we
 * until freeze_thaw, where that is allowed (boost_prepare). Blocks until all stand still
 * or wait_ns is over; threads in an uninterruptible wait are given up much sooner. Fails
 * only if no thread stopped. */
int freeze_stop(struct freeze *freeze, pid_t only, uint64_t wait_ns, struct err *err);

/* Takes the registers of all that stand still, or of 'only' (not 0), which have not been
 * taken yet. */
int freeze_take(struct freeze *freeze, pid_t only, struct err *err);

/* A thread that stands in the stop before a signal gets it and goes on. A call that it
 * cuts short starts again if the signal is ignored. */
int freeze_pass(pid_t tid, int signal);

/* After freeze_seize, before the stop: the registers of a thread that stands before a
 * signal. freeze_shown: they are the thread's from here on, as nothing is called in it
 * any more; those that it has since, at the begin of its handler, are forgotten. */
int freeze_show(struct freeze *freeze, pid_t tid);
void freeze_shown(struct freeze *freeze);

/* A followed thread has made something: if that is a child, attached to like a thread,
 * it is let go. Waits for its first stop, which is due. */
void freeze_made(struct freeze *freeze, pid_t tid);

/* For the next stop of followed threads: what is known of the last is forgotten. */
void freeze_again(struct freeze *freeze);

/* Lets all go on; calls cut short by the stop start again. With 'stay' they are followed
 * still, those that did not stop in time as well. */
void freeze_thaw(struct freeze *freeze);

/* Another stop of threads that 'host' follows, and stays with. */
void freeze_share(struct freeze *freeze, const struct freeze *host);

/* Another limit for a stop that has begun; counted from now. */
void freeze_longest(struct freeze *freeze, uint64_t longest_ns);

/* After the thaw: lets go of threads that stopped too late. Call it now and then; where
 * they are followed it does nothing. */
void freeze_late(struct freeze *freeze);

struct freeze_thread *freeze_find(struct freeze *freeze, pid_t tid); /* NULL: none */

/* The registers of a taken thread; valid until the next call. NULL: it was not taken,
 * or they cannot be read. */
const struct arch_state *freeze_state(struct freeze *freeze, const struct freeze_thread *thread);

/* Runs one system call in a stopped thread, which then stands as before (the stack of
 * a SYS_clone is filled in). Survivable:
 * if we die in between, the thread completes the call and restores itself.
 * ret_value: what the call returned in the target. ret_child: for a clone, the
 * process that came of it (traced and stopped by us), else 0; its memory still holds
 * ret_frames.
 * When a clone has been made, all other threads go on at once.
 * -ETIMEDOUT: the thread is still inside the call: the caller must exit. */
int freeze_call(struct freeze *freeze, const struct freeze_thread *thread, const struct arch_site *site, int mem_fd,
		long nr, const uint64_t arg[6], uint64_t wait_ns, struct arch_frames *ret_frames, int64_t *ret_value,
		pid_t *ret_child);

/* For the traced child of freeze_call: waits for its first stop, takes it (nobody who waits
 * for any of our threads sees it), and ties its life to ours. */
int freeze_child_hold(pid_t child, uint64_t wait_ns);
int freeze_child_end(pid_t child, uint64_t wait_ns); /* SIGKILL, and takes its exit */

#endif
