// SPDX-License-Identifier: MIT
/* SEIZE, INTERRUPT, wait, DETACH. Rejected: PTRACE_ATTACH and its SIGSTOP (races with
 * real stops). Traps: 'wait' takes a stop's code out of the kernel, so a tracer that
 * dies before passing the signal on loses it: stops are only peeked at (WNOWAIT);
 * waiting for any child is O(threads) per call: wait by tid, asleep: SIGCHLD, the same
 * for all, would wake us at each thread's stop and so hold up those that stop after it. */
#include "freeze.h"

#include "boost.h"
#include "ktime.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define UNINTERRUPTIBLE_NS (10 * NSEC_PER_MSEC) /* a thread in state D gets this long to stop */
#define THREAD_NS (50 * NSEC_PER_USEC)		/* ... and this much for each thread */
#define QUIET_NS (400 * NSEC_PER_USEC)		/* a thread that has not stopped by then is helped to get a CPU */
#define HELP_NS (2 * NSEC_PER_MSEC)		/* ... for so long at most */
#define TICK_SIGNAL SIGUSR2
#define TICK_NS (100 * NSEC_PER_USEC)	   /* how late a wait may end that it came too early for */
#define CALL_QUIET_NS (60 * NSEC_PER_USEC) /* a call that has not ended by then is helped */
#define STOPS_MAX 64			   /* stops seen during one injected call */

void freeze_init(struct freeze *freeze, const struct proc *proc)
{
	*freeze = (struct freeze){ .proc = proc, .states.fd = -1 };
}

void freeze_done(struct freeze *freeze)
{
	spool_close(&freeze->states);
	free(freeze->state);
	free(freeze->thread);
	*freeze = (struct freeze){ .states.fd = -1 };
}

static size_t row_bytes(void)
{
	return sizeof(struct arch_state) + arch_xstate_size();
}

/* Before the stop: all that registers will need. */
static int make_room(struct freeze *freeze)
{
	if (!freeze->state) {
		freeze->state = calloc(1, row_bytes());
		if (!freeze->state)
			return -ENOMEM;
		freeze->state->xstate = (uint8_t *)(freeze->state + 1);
	}
	if (freeze->states.fd < 0) {
		int r = spool_open(&freeze->states, -1);

		if (r < 0)
			return r;
	}
	spool_reserve(&freeze->states, freeze->count * row_bytes());
	return 0;
}

const struct arch_state *freeze_state(struct freeze *freeze, const struct freeze_thread *thread)
{
	if (!thread->taken ||
	    spool_get(&freeze->states, thread->row * (uint64_t)row_bytes(), freeze->state, row_bytes()) < 0)
		return NULL;
	freeze->state->xstate = (uint8_t *)(freeze->state + 1);
	return freeze->state;
}

struct freeze_thread *freeze_find(struct freeze *freeze, pid_t tid)
{
	size_t lo = 0, hi = freeze->count;

	while (lo < hi) { /* threads are kept in the order of their ids */
		size_t mid = (lo + hi) / 2;

		if (freeze->thread[mid].tid == tid)
			return &freeze->thread[mid];
		if (freeze->thread[mid].tid < tid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int insert(struct freeze *freeze, pid_t tid)
{
	size_t at = freeze->count;

	if (freeze->count == freeze->cap) {
		size_t bigger = freeze->cap ? freeze->cap * 2 : 64;
		struct freeze_thread *thread = realloc(freeze->thread, bigger * sizeof(*thread));

		if (!thread)
			return -ENOMEM;
		freeze->thread = thread;
		freeze->cap = bigger;
	}
	for (; at > 0 && freeze->thread[at - 1].tid > tid; at--)
		freeze->thread[at] = freeze->thread[at - 1];
	freeze->thread[at] = (struct freeze_thread){ .tid = tid };
	freeze->count++;
	return 0;
}

/* Ends a wait that has no time limit of its own. It may come before the wait has begun:
 * then it comes again. */
static timer_t tick;
static uint64_t tick_ns; /* it is set for; 0: it is off */

static void on_tick(int sig)
{
	(void)sig;
}

static int make_tick(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL };
	struct sigaction action = { .sa_handler = on_tick };
	static bool made;

	event._sigev_un._tid = gettid();
	if (!made && (sigaction(TICK_SIGNAL, &action, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &event, &tick) < 0))
		return -errno;
	made = true;
	return 0;
}

/* 0: none. It stays until it is set anew: who waits must turn it off at the end. */
static void set_tick(uint64_t at_ns)
{
	const struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(at_ns / NSEC_PER_SEC), .tv_nsec = (long)(at_ns % NSEC_PER_SEC) },
		.it_interval.tv_nsec = at_ns ? TICK_NS : 0,
	};
	sigset_t set;

	if (at_ns == tick_ns)
		return;
	timer_settime(tick, TIMER_ABSTIME, &when, NULL);
	if (!at_ns || !tick_ns) {
		sigemptyset(&set);
		sigaddset(&set, TICK_SIGNAL);
		pthread_sigmask(at_ns ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
	}
	tick_ns = at_ns;
}

/* The stop a thread is in: its code stays in the kernel. */
static int wait_stop(pid_t tid, uint64_t deadline_ns)
{
	for (;;) {
		bool over = now_ns() >= deadline_ns;
		siginfo_t si = { 0 };

		if (!over)
			set_tick(deadline_ns);
		if (waitid(P_PID, (id_t)tid, &si, WSTOPPED | WEXITED | __WALL | WNOWAIT | (over ? WNOHANG : 0)) < 0) {
			if (errno == EINTR)
				continue;
			return errno == ECHILD ? -ESRCH : -errno;
		}
		if (si.si_pid && (si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED))
			return si.si_status;
		if (si.si_pid) {
			waitpid(tid, NULL, __WALL | WNOHANG);
			return -ESRCH;
		}
		if (over)
			return -ETIMEDOUT;
	}
}

static int resume(enum __ptrace_request how, pid_t tid, int sig)
{
	return ptrace(how, tid, NULL, (long)sig) < 0 ? -errno : 0;
}

int freeze_pass(pid_t tid, int signal)
{
	struct arch_state state = { .xstate = NULL };

	/* The stop has cut its call short: if no handler runs it must not show. */
	if (arch_read(tid, &state) == 0 && memcmp(&state.regs, &state.resume, sizeof(state.regs)))
		arch_set(tid, &state.resume);
	return resume(PTRACE_CONT, tid, signal);
}

void freeze_again(struct freeze *freeze)
{
	spool_close(&freeze->states);
	freeze->count = freeze->rows = freeze->running = 0;
	freeze->later_code = 0;
	freeze->stop_ns = freeze->taken_ns = freeze->thaw_ns = 0;
	freeze->shown = 0;
}

static char thread_state(const struct freeze *freeze, pid_t tid)
{
	struct proc_stat stat;
	char path[64];

	snprintf(path, sizeof(path), "task/%d/stat", tid);
	return proc_stat_read(freeze->proc->dir_fd, path, &stat) < 0 ? 'X' : stat.state;
}

static int seize(struct freeze *freeze, pid_t tid, struct err *err)
{
	pid_t pid = freeze->proc->pid;
	struct proc_status status;
	char name[64], path[64];
	int code;

	if (freeze->followed) /* each is ours from its begin on */
		return 0;
	if (ptrace(PTRACE_SEIZE, tid, NULL, freeze->options) == 0)
		return 0;
	code = -errno;
	snprintf(path, sizeof(path), "task/%d/status", tid);
	if (code == -EPERM && freeze->options && proc_status_read(freeze->proc->dir_fd, path, &status) == 0 &&
	    status.tracer == getpid())
		return 0; /* made meanwhile by one that we hold */
	if (code == -ESRCH || strchr("ZX", thread_state(freeze, tid)))
		return -ESRCH; /* this thread has ended: no failure */
	if (code == -EPERM && proc_status_read(freeze->proc->dir_fd, "status", &status) == 0 && status.tracer) {
		proc_name(status.tracer, name, sizeof(name));
		return err_say(err, code, "cannot stop process %d: it is traced already, by process %d ('%s')", pid,
			       status.tracer, name);
	}
	if (code == -EPERM)
		return err_say(err, code, "cannot stop process %d: not permitted; run as root, or with CAP_SYS_PTRACE",
			       pid);
	return err_sys(err, code, "cannot stop process %d", pid);
}

/* Attaches to every thread not known yet; with 'interrupt' tells it to stop, too. */
static int scan(struct freeze *freeze, pid_t only, bool interrupt, size_t *ret_new, struct err *err)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t count = 0;
	int r = proc_threads(freeze->proc->dir_fd, &tids, &count);

	*ret_new = 0;
	if (r < 0)
		return err_say(err, -ESRCH, "process %d has ended", freeze->proc->pid);
	for (size_t i = 0; i < count; i++) {
		if ((only && tids[i] != only) || freeze_find(freeze, tids[i]))
			continue;
		r = seize(freeze, tids[i], err);
		if (r == -ESRCH)
			continue;
		if (r == 0)
			r = insert(freeze, tids[i]);
		if (r == -ENOMEM)
			err_sys(err, r, "cannot keep the threads of process %d", freeze->proc->pid);
		if (r < 0)
			return r;
		if (interrupt)
			ptrace(PTRACE_INTERRUPT, tids[i], NULL, NULL);
		++*ret_new;
	}
	return 0;
}

/* Do we hold every thread that there is? Cheaper than a look at the list: that costs
 * microseconds a thread. The directory of threads has as many links, and its own two. */
static bool holds_all(const struct freeze *freeze)
{
	struct stat st;
	size_t stopped = 0;

	for (size_t i = 0; i < freeze->count; i++)
		stopped += freeze->thread[i].stopped;
	return fstatat(freeze->proc->dir_fd, "task", &st, 0) == 0 && st.st_nlink == stopped + 2;
}

/* We may be stopped ourselves, or hang: then the kernel ends us and lets the target go. */
static int watchdog(uint64_t after_ns)
{
	static timer_t timer;
	static bool made;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(after_ns / NSEC_PER_SEC),
						 .tv_nsec = (long)(after_ns % NSEC_PER_SEC) } };

	if (!made && after_ns && timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return -errno;
	made |= after_ns > 0;
	return made && timer_settime(timer, 0, &when, NULL) < 0 ? -errno : 0;
}

int freeze_seize(struct freeze *freeze, pid_t only, struct err *err)
{
	struct proc_stat stat;
	size_t new;
	int r = watchdog(freeze->longest_ns); /* a thread attached to stands still at its next signal */

	if (r == 0)
		r = make_tick();
	if (r < 0)
		return err_sys(err, r, "cannot set a time limit, without which process %d is not stopped",
			       freeze->proc->pid);
	do
		r = scan(freeze, only, false, &new, err);
	while (r == 0 && new);
	if (r < 0)
		return r;
	/* The directory fd reaches this process or none; its ids may have been used
	 * again only if it is gone. */
	if (!freeze->count || proc_start(freeze->proc, &stat) < 0 || stat.start_ticks != freeze->proc->start_ticks)
		return err_say(err, -ESRCH, "process %d has ended", freeze->proc->pid);
	r = make_room(freeze);
	return r < 0 ? err_sys(err, r, "cannot keep the registers of process %d", freeze->proc->pid) : 0;
}

void freeze_made(struct freeze *freeze, pid_t tid)
{
	unsigned long made = 0;
	char path[32];

	if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &made) < 0)
		return;
	snprintf(path, sizeof(path), "task/%lu", made);
	if (faccessat(freeze->proc->dir_fd, path, F_OK, 0) < 0 &&
	    wait_stop((pid_t)made, now_ns() + UNINTERRUPTIBLE_NS) >= 0)
		resume(PTRACE_DETACH, (pid_t)made, 0);
	set_tick(0);
}

/* Waits until the thread stands in the stop that INTERRUPT asked for. A signal that
 * comes first is passed on. */
static int settle(struct freeze *freeze, struct freeze_thread *thread, uint64_t deadline_ns)
{
	for (;;) {
		int stop = wait_stop(thread->tid, deadline_ns), event = stop >> 8, sig = stop & 0x7f, r;
		siginfo_t info;

		if (stop == -ESRCH)
			thread->gone = true;
		if (stop < 0)
			return stop;
		if (event == PTRACE_EVENT_STOP) {
			thread->stopped = true;
			thread->group_stop = sig != SIGTRAP;
			return 0;
		}
		if (event == PTRACE_EVENT_EXIT && freeze->ending) {
			thread->stopped = true;
			return 0;
		}
		if (event == PTRACE_EVENT_CLONE)
			freeze_made(freeze, thread->tid);
		if (!event && freeze->passed && ptrace(PTRACE_GETSIGINFO, thread->tid, NULL, &info) == 0)
			freeze->passed(freeze->passed_arg, thread->tid, &info);
		r = event ? resume(PTRACE_CONT, thread->tid, 0) : freeze_pass(thread->tid, sig);
		if (r == -ESRCH && kill(thread->tid, 0) < 0)
			thread->gone = true;
		if (r < 0)
			return r;
	}
}

static int no_registers(const struct freeze *freeze, struct freeze_thread *thread, int code, struct err *err)
{
	if (code == -ESRCH) { /* killed in its stop */
		thread->stopped = false;
		thread->gone = true;
		return 0;
	}
	if (code == -ENOTSUP)
		return err_say(err, code, "process %d runs 32-bit code, which is not supported", freeze->proc->pid);
	return err_sys(err, code, "cannot read the registers of thread %d", thread->tid);
}

/* At once: what dies from here on leaves the call whole. */
static int mend(struct freeze *freeze, struct freeze_thread *thread, struct err *err)
{
	struct arch_state state = { .xstate = NULL };
	int r = arch_read(thread->tid, &state);

	if (r < 0)
		return no_registers(freeze, thread, r, err);
	/* What SIGSTOP made return EINTR is not ours to start again. */
	if (!thread->group_stop && memcmp(&state.regs, &state.resume, sizeof(state.regs)))
		thread->mended = arch_set(thread->tid, &state.resume) == 0;
	return 0;
}

static int take(struct freeze *freeze, struct freeze_thread *thread, struct err *err)
{
	struct arch_state *state = freeze->state;
	int r = arch_read(thread->tid, state);

	if (r < 0)
		return no_registers(freeze, thread, r, err);
	if (thread->mended)
		arch_as_found(state);
	else
		state->resume = state->regs;
	r = spool_put(&freeze->states, state, row_bytes(), NULL);
	if (r < 0)
		return err_sys(err, r, "cannot keep the registers of thread %d", thread->tid);
	thread->taken = true;
	thread->row = freeze->rows++;
	return 0;
}

int freeze_take(struct freeze *freeze, pid_t only, struct err *err)
{
	int r = freeze->later_code;

	if (r < 0 && err)
		*err = freeze->later_err;
	for (size_t i = 0; i < freeze->count && r == 0; i++) {
		struct freeze_thread *thread = &freeze->thread[i];

		if (thread->stopped && !thread->taken && (!only || thread->tid == only))
			r = take(freeze, thread, err);
	}
	return r;
}

int freeze_show(struct freeze *freeze, pid_t tid)
{
	int r = arch_read(tid, freeze->state);

	if (r == 0)
		r = spool_put(&freeze->states, freeze->state, row_bytes(), NULL);
	if (r < 0)
		return r;
	freeze->shown = tid;
	freeze->shown_row = freeze->rows++;
	return 0;
}

void freeze_shown(struct freeze *freeze)
{
	struct freeze_thread *thread = freeze->shown ? freeze_find(freeze, freeze->shown) : NULL;

	if (thread) {
		thread->row = freeze->shown_row;
		thread->taken = true;
	}
	freeze->shown = 0;
}

/* As many of those that do not stand still yet as can be helped at a time. */
static void help_from(const struct freeze *freeze, size_t first, uint64_t deadline_ns)
{
	uint64_t until_ns = MIN(deadline_ns, now_ns() + HELP_NS);

	for (size_t i = first; i < freeze->count; i++) {
		const struct freeze_thread *thread = &freeze->thread[i];

		if (!thread->stopped && !thread->gone && !boost_begin(thread->tid, until_ns))
			return;
	}
}

static int settle_all(struct freeze *freeze, uint64_t wait_ns, struct err *err)
{
	/* Most stop at once; then those that wait for a CPU; then those in state D are left out. */
	const uint64_t pass_ns[] = { QUIET_NS, UNINTERRUPTIBLE_NS + freeze->count * THREAD_NS, wait_ns };
	int r = 0;

	for (size_t pass = 0; pass < ARRAY_LEN(pass_ns); pass++) {
		uint64_t deadline_ns = freeze->stop_ns + MIN(pass_ns[pass], wait_ns);

		for (size_t n = 0; n < freeze->count && r == 0; n++) {
			/* Who was told last stops last: we sleep until then, and seldom twice. */
			size_t i = pass ? n : freeze->count - 1 - n;
			struct freeze_thread *thread = &freeze->thread[i];
			char state;

			if (thread->stopped || thread->gone)
				continue;
			/* Thousands of threads take their time: most of them stand still by now. */
			if (pass && settle(freeze, thread, 0) == 0)
				r = mend(freeze, thread, err);
			if (thread->stopped || thread->gone || r < 0)
				continue;
			state = pass ? thread_state(freeze, thread->tid) : 'R';
			thread->gone = state == 'Z' || state == 'X'; /* a main thread that has ended stays */
			if (thread->gone || (pass == 2 && state == 'D'))
				continue;
			if (pass)
				help_from(freeze, i, deadline_ns);
			if (settle(freeze, thread, deadline_ns) == 0 && pass)
				r = mend(freeze, thread, err);
			if (pass)
				boost_end(thread->tid);
		}
		/* Not as they come: while we run, those behind us on our CPU cannot stop. */
		for (size_t i = 0; i < freeze->count && r == 0 && !pass; i++) {
			if (freeze->thread[i].stopped && !freeze->thread[i].taken)
				r = mend(freeze, &freeze->thread[i], err);
		}
	}
	set_tick(0);
	return r;
}

void freeze_longest(struct freeze *freeze, uint64_t longest_ns)
{
	freeze->longest_ns = longest_ns;
	watchdog(longest_ns);
}

int freeze_stop(struct freeze *freeze, pid_t only, uint64_t wait_ns, struct err *err)
{
	size_t new = 0, stopped = 0;
	int r = 0;

	r = watchdog(freeze->longest_ns);
	if (r < 0)
		return err_sys(err, r, "cannot set a time limit, without which process %d is not stopped",
			       freeze->proc->pid);
	boost_open();
	freeze->stop_ns = now_ns();
	for (size_t i = 0; i < freeze->count && r == 0; i++) {
		if (freeze->held && freeze->thread[i].tid == freeze->held) {
			freeze->thread[i].stopped = true;
			r = mend(freeze, &freeze->thread[i], err);
		} else if (only && freeze->thread[i].tid != only) {
			continue;
		} else if (ptrace(PTRACE_INTERRUPT, freeze->thread[i].tid, NULL, NULL) < 0 && errno == ESRCH)
			freeze->thread[i].gone = true;
	}
	do {
		r = r < 0 ? r : settle_all(freeze, wait_ns, err);
		new = 0;
		if (r == 0 && !holds_all(freeze))
			r = scan(freeze, only, true, &new, err);
	} while (r == 0 && new &&now_ns() < freeze->stop_ns + wait_ns);
	if (r < 0)
		return r;
	freeze->taken_ns = now_ns();
	freeze->running = new;
	if (!freeze->later)
		r = freeze_take(freeze, 0, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < freeze->count; i++) {
		stopped += freeze->thread[i].stopped;
		freeze->running += !freeze->thread[i].stopped && !freeze->thread[i].gone;
	}
	if (!stopped)
		return err_say(err, freeze->running ? -ETIMEDOUT : -ESRCH,
			       freeze->running ? "cannot stop process %d: none of its threads stopped in time"
					       : "process %d has ended",
			       freeze->proc->pid);
	return 0;
}

/* It goes on; who stays sees to it that a stop by SIGSTOP remains one. */
static void let_go(const struct freeze *freeze, const struct freeze_thread *thread)
{
	if (!freeze->stay) {
		resume(PTRACE_DETACH, thread->tid, thread->tid == freeze->held ? freeze->held_signal : 0);
	} else if (thread->group_stop) {
		waitpid(thread->tid, NULL, __WALL | WNOHANG);
		ptrace(PTRACE_LISTEN, thread->tid, NULL, NULL);
	} else {
		resume(PTRACE_CONT, thread->tid, 0);
	}
}

static void let_all_go(struct freeze *freeze, const struct freeze_thread *but)
{
	boost_return(but ? but->tid : 0);
	for (size_t i = 0; i < freeze->count; i++) {
		struct freeze_thread *thread = &freeze->thread[i];

		if (!thread->stopped || thread == but)
			continue;
		let_go(freeze, thread);
		thread->stopped = false;
	}
}

void freeze_thaw(struct freeze *freeze)
{
	let_all_go(freeze, NULL);
	freeze->held = 0;
	freeze->followed = freeze->stay;
	freeze->thaw_ns = now_ns();
	watchdog(0);
	boost_close();
}

void freeze_share(struct freeze *freeze, const struct freeze *host)
{
	freeze->followed = freeze->stay = true;
	freeze->options = host->options;
	freeze->passed = host->passed;
	freeze->passed_arg = host->passed_arg;
}

void freeze_late(struct freeze *freeze)
{
	for (size_t i = 0; freeze->running && !freeze->stay && i < freeze->count; i++) {
		struct freeze_thread *thread = &freeze->thread[i];

		if (thread->gone || thread->taken)
			continue;
		if (settle(freeze, thread, 0) == 0)
			resume(PTRACE_DETACH, thread->tid, 0);
		if (thread->stopped || thread->gone)
			freeze->running--;
		thread->gone |= thread->stopped;
		thread->stopped = false;
	}
}

/* Lets the thread run the call whose registers are set. Returns 0 when it is through
 * it, with the child of a clone. Meanwhile, on another CPU, we take what is left of the
 * other threads' registers. */
static int call_through(struct freeze *freeze, pid_t tid, uint64_t deadline_ns, pid_t *ret_child)
{
	for (int i = 0, sig = 0; i < STOPS_MAX; i++) {
		struct __ptrace_syscall_info info;
		unsigned long child;
		int64_t value;
		int stop, r = resume(PTRACE_SYSCALL, tid, sig);

		if (r < 0)
			return r;
		if (i && freeze->later)
			freeze->later_code = freeze_take(freeze, 0, &freeze->later_err);
		stop = wait_stop(tid, MIN(deadline_ns, now_ns() + CALL_QUIET_NS));
		if (stop == -ETIMEDOUT) {
			boost_begin(tid, deadline_ns);
			stop = wait_stop(tid, deadline_ns);
		}
		if (stop < 0)
			return stop;
		sig = 0;
		if (stop >> 8 == PTRACE_EVENT_CLONE) {
			if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &child) < 0)
				return -errno;
			*ret_child = (pid_t)child;
			return 0;
		}
		if (stop == (SIGTRAP | 0x80)) {
			if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
				return -errno;
			if (info.op != PTRACE_SYSCALL_INFO_EXIT)
				continue;
			value = info.exit.rval;
			if (value <= -512 && value >= -516)
				continue; /* the kernel starts it again */
			return 0;
		}
		if (!(stop >> 8))
			sig = stop & 0x7f; /* all that can be blocked is: this one must be delivered */
	}
	return -ETIMEDOUT;
}

/* On to a stop of the signal path: only there does the kernel start a call again that the
 * saved registers ask for. When there is a copy, the other threads have nothing to wait for. */
static int call_leave(struct freeze *freeze, const struct freeze_thread *thread, uint64_t deadline_ns, bool copied)
{
	int stop = 0, r = ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0 ? -errno : 0;

	while (r == 0 && stop >> 8 != PTRACE_EVENT_STOP) {
		r = resume(PTRACE_CONT, thread->tid, 0);
		if (r == 0 && copied)
			let_all_go(freeze, thread);
		copied = false;
		if (r == 0)
			stop = wait_stop(thread->tid, deadline_ns);
		if (stop < 0)
			r = stop;
	}
	return r;
}

int freeze_call(struct freeze *freeze, const struct freeze_thread *thread, const struct arch_site *site, int mem_fd,
		long nr, const uint64_t arg[6], uint64_t wait_ns, struct arch_frames *ret_frames, int64_t *ret_value,
		pid_t *ret_child)
{
	const unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | freeze->options;
	uint64_t deadline_ns = now_ns() + wait_ns, mask, all = ~0ull;
	const struct arch_state *state = freeze_state(freeze, thread);
	struct user_regs_struct regs, resume_regs;
	uint64_t args[6];
	pid_t tid = thread->tid;
	int r;

	*ret_child = 0;
	if (!state)
		return -EIO;
	resume_regs = state->resume; /* the room of 'state' is used for others meanwhile */
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL, options) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(mask), &mask) < 0)
		return -errno;
	/* An exec by another thread gives its own place to this id. */
	if (!arch_stands(tid, &state->resume))
		return -ESTALE;
	r = arch_frames_write(site, mem_fd, state, mask, ret_frames);
	if (r < 0)
		return r;
	memcpy(args, arg, sizeof(args));
	if (nr == SYS_clone)
		args[1] = ret_frames->child;
	arch_call(site, ret_frames, state, nr, args, &regs);
	/* Registers before the mask: the frame then is in place whatever comes. */
	r = arch_set(tid, &regs);
	if (r == 0 && ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) < 0)
		r = -errno;
	if (r == 0)
		r = call_through(freeze, tid, deadline_ns, ret_child);
	if (r == 0)
		r = call_leave(freeze, thread, deadline_ns, *ret_child != 0);
	boost_end(tid);
	set_tick(0);
	if (r < 0)
		return r;
	r = arch_result(tid, ret_value);
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0 && r == 0)
		r = -errno;
	if (r == 0)
		r = arch_set(tid, &resume_regs);
	if (r == 0) /* else the thread may need them: it restores itself when it is let go */
		arch_frames_erase(ret_frames, mem_fd);
	return r;
}

int freeze_child_hold(pid_t child, uint64_t wait_ns)
{
	int stop = wait_stop(child, now_ns() + wait_ns);

	set_tick(0);
	if (stop < 0)
		return stop;
	if (ptrace(PTRACE_SETOPTIONS, child, NULL, (long)PTRACE_O_EXITKILL) < 0)
		return -errno;
	waitpid(child, NULL, __WALL | WNOHANG);
	return 0;
}

int freeze_child_end(pid_t child, uint64_t wait_ns)
{
	uint64_t deadline_ns = now_ns() + wait_ns;
	int stop;

	if (kill(child, SIGKILL) < 0 && errno != ESRCH)
		return -errno;
	do /* its exit is taken by wait_stop; an old stop may still be there to see */
		stop = wait_stop(child, deadline_ns);
	while (stop >= 0 && now_ns() < deadline_ns);
	set_tick(0);
	return stop == -ESRCH ? 0 : -ETIMEDOUT;
}
