// SPDX-License-Identifier: MIT
/* SEIZE with TRACECLONE, then one stop after the other, each let go at once. Rejected: a
 * list of threads (the kernel has it; execs and ids used again would make ours lie).
 * Traps: a signal's stop is only peeked at (WNOWAIT), so that it is not lost if we die; a
 * group stop must be taken, or it is seen for ever; a child made by a bare clone() is
 * attached to like a thread; its parent learns of the process's end only when we have
 * taken it; the first thread at its end of many that a group exit ends may be any. */
#include "follow.h"

#include "ktime.h"

#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TICK_NS NSEC_PER_SEC
#define FEW_THREADS 64		      /* with more of them no thread is taken for the last one */
#define EXEC_NS (100 * NSEC_PER_MSEC) /* for an exec to be seen for one */

int follow_begin(struct follow *follow, struct freeze *freeze, bool exits, struct err *err)
{
	int r;

	*follow = (struct follow){ .freeze = freeze, .status = -1 };
	freeze->options = PTRACE_O_TRACECLONE | (exits ? PTRACE_O_TRACEEXIT : 0);
	freeze_longest(freeze, FOLLOW_DEAF_NS); /* from the first thread on */
	r = freeze_seize(freeze, 0, err);
	freeze->followed = true;
	freeze_again(freeze);
	return r;
}

static bool is_thread(const struct follow *follow, pid_t tid)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "task/%d", tid);
	return fstatat(follow->freeze->proc->dir_fd, path, &st, 0) == 0;
}

static bool is_leaving(const struct follow *follow, pid_t tid)
{
	for (size_t i = 0; i < ARRAY_LEN(follow->leaving); i++) {
		if (follow->leaving[i] == tid)
			return true;
	}
	return false;
}

/* Of another thread: is it on its way out, or gone? */
static bool is_over(const struct follow *follow, pid_t tid)
{
	struct proc_stat stat;
	char path[64];

	snprintf(path, sizeof(path), "task/%d/stat", tid);
	if (proc_stat_read(follow->freeze->proc->dir_fd, path, &stat) < 0)
		return true;
	return strchr("ZX", stat.state) || stat.flags & PROC_STAT_EXITING || is_leaving(follow, tid);
}

static bool others_over(const struct follow *follow, pid_t tid)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t count = 0;

	if (proc_threads(follow->freeze->proc->dir_fd, &tids, &count) < 0 || count > FEW_THREADS)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (tids[i] != tid && !is_over(follow, tids[i]))
			return false;
	}
	return true;
}

/* An exec ends all threads but its own, as an exit does: which of them is it? The thread
 * that does it may be running still; then it is asked again. */
static bool one_execs(const struct follow *follow)
{
	uint64_t end_ns = now_ns() + EXEC_NS;

	do {
		CLEAN(free) pid_t *tids = NULL;
		size_t count = 0;

		if (proc_threads(follow->freeze->proc->dir_fd, &tids, &count) < 0)
			return false;
		for (size_t i = 0; i < count; i++) {
			struct proc_syscall sc = { .nr = -1 };
			char path[64];

			snprintf(path, sizeof(path), "task/%d/syscall", tids[i]);
			proc_syscall_read(follow->freeze->proc->dir_fd, path, &sc);
			if (sc.nr == SYS_execve || sc.nr == SYS_execveat)
				return true;
			if (sc.nr == SYS_exit_group)
				return false;
		}
		nanosleep(&(struct timespec){ .tv_nsec = NSEC_PER_MSEC / 5 }, NULL);
	} while (now_ns() < end_ns);
	return false;
}

/* Is it the end of the process, too? */
static bool ends_all(const struct follow *follow, pid_t tid, int status)
{
	struct arch_state state = { .xstate = NULL };

	if (status & 0x7f) /* killed: that is never one thread alone */
		return true;
	if (arch_read(tid, &state) < 0)
		return false;
	if (arch_call_of(&state.regs) == SYS_exit_group)
		return true;
	if (arch_call_of(&state.regs) == SYS_exit)
		return others_over(follow, tid);
	return status || !one_execs(follow); /* it was ended by another thread */
}

static void let_go(struct follow *follow, pid_t tid)
{
	follow->leaving[follow->left++ % ARRAY_LEN(follow->leaving)] = tid;
	ptrace(PTRACE_CONT, tid, NULL, NULL);
}

static bool at_exit(struct follow *follow, pid_t tid, struct follow_event *ret)
{
	unsigned long status = 0;

	if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &status) < 0 || !ends_all(follow, tid, (int)status)) {
		let_go(follow, tid);
		return false;
	}
	follow->status = (int)status;
	*ret = (struct follow_event){ .kind = FOLLOW_EXIT, .tid = tid, .status = (int)status };
	return true;
}

/* One that has stopped. True: the caller is to know. */
static bool stopped(struct follow *follow, pid_t tid, int stop, struct follow_event *ret)
{
	int signal = stop & 0x7f;

	if (stop >> 8 == PTRACE_EVENT_EXIT)
		return at_exit(follow, tid, ret);
	if (stop >> 8 == 0) {
		*ret = (struct follow_event){ .kind = FOLLOW_SIGNAL, .tid = tid, .status = -1 };
		ptrace(PTRACE_GETSIGINFO, tid, NULL, &ret->info);
		ret->info.si_signo = signal;
		return true;
	}
	if (stop >> 8 == PTRACE_EVENT_STOP && signal != SIGTRAP) {
		waitpid(tid, NULL, __WALL | WNOHANG);
		ptrace(PTRACE_LISTEN, tid, NULL, NULL);
	} else if (stop >> 8 == PTRACE_EVENT_STOP && !is_thread(follow, tid)) {
		ptrace(PTRACE_DETACH, tid, NULL, NULL); /* a child */
	} else if (stop >> 8 == PTRACE_EVENT_STOP) {
		freeze_pass(tid, 0);
	} else {
		if (stop >> 8 == PTRACE_EVENT_CLONE)
			freeze_made(follow->freeze, tid);
		ptrace(PTRACE_CONT, tid, NULL, NULL);
	}
	return false;
}

/* One of them, or any (0). 1: the caller is to know; 0: it was seen to, 'again'; -EAGAIN: nothing. */
static int look(struct follow *follow, pid_t tid, struct follow_event *ret)
{
	siginfo_t si = { 0 };
	int status = -1;

	if (waitid(tid ? P_PID : P_ALL, (id_t)tid, &si, WSTOPPED | WEXITED | __WALL | WNOWAIT | WNOHANG) < 0) {
		if (errno == EINTR)
			return 0;
		if (tid)
			return -EAGAIN;
		*ret = (struct follow_event){ .kind = FOLLOW_END, .status = follow->status };
		return 1;
	}
	if (!si.si_pid)
		return -EAGAIN;
	if (si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED)
		return stopped(follow, si.si_pid, si.si_status, ret);
	waitpid(si.si_pid, &status, __WALL | WNOHANG);
	if (si.si_pid != follow->freeze->proc->pid)
		return 0;
	follow->status = status;
	*ret = (struct follow_event){ .kind = FOLLOW_END, .status = follow->status };
	return 1;
}

void follow_next(struct follow *follow, uint64_t wait_ns, const sigset_t *ours, struct follow_event *ret)
{
	uint64_t end_ns = now_ns() + wait_ns, now;
	sigset_t set;

	sigemptyset(&set);
	if (ours)
		set = *ours;
	sigaddset(&set, SIGCHLD);
	for (;;) {
		struct timespec tick;
		siginfo_t si = { 0 };
		int r = follow->hint ? look(follow, follow->hint, ret) : 0;

		follow->hint = 0;
		while (r != 1 && (r = look(follow, 0, ret)) == 0)
			;
		if (r == 1)
			return;
		/* Stopped ourselves, we would keep each thread that gets a signal. */
		freeze_longest(follow->freeze, FOLLOW_DEAF_NS);
		now = now_ns();
		*ret = (struct follow_event){ .kind = FOLLOW_NOTHING, .status = -1 };
		if (now >= end_ns)
			return;
		tick.tv_sec = (time_t)(MIN(end_ns - now, TICK_NS) / NSEC_PER_SEC);
		tick.tv_nsec = (long)(MIN(end_ns - now, TICK_NS) % NSEC_PER_SEC);
		r = sigtimedwait(&set, &si, &tick);
		if (r == SIGCHLD && si.si_code != SI_USER && si.si_code != SI_QUEUE && si.si_code != SI_TKILL)
			follow->hint = si.si_pid;
		ret->ours = r > 0 && r != SIGCHLD ? r : 0;
		if (ret->ours || (r == SIGCHLD && !follow->hint))
			return;
	}
}

void follow_pass(struct follow *follow, const struct follow_event *event)
{
	if (event->kind == FOLLOW_SIGNAL)
		freeze_pass(event->tid, event->info.si_signo);
	else if (event->kind == FOLLOW_EXIT)
		let_go(follow, event->tid);
}

void follow_release(struct follow *follow, const struct follow_event *event)
{
	(void)follow;
	ptrace(PTRACE_DETACH, event->tid, NULL, (long)event->info.si_signo);
}
