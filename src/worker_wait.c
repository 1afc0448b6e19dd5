// SPDX-License-Identifier: MIT
/* A worker that stays attached: it waits, dumps what it waited for, and waits on, so that
 * each signal is dumped or counted. While a core is written, which a disk may hold up, a
 * thread of ours writes and the tracer sees to the process. Rejected: to detach for the
 * writing and have the next worker attach (what came in between was seen by nobody).
 * Traps: only the thread that attached may use ptrace; the copy of the process is a
 * tracee, too, and its stop must not be taken for one of the process's threads. */
#include "ktime.h"
#include "plan.h"
#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define LATE_NS NSEC_PER_MSEC	 /* between two looks for threads that stop only now */
#define WATCHDOG_NS NSEC_PER_SEC /* beyond the time that a process may be held */

/* --- beside the process --- */

struct aside {
	struct worker *w;
	int (*work)(struct worker *w, struct err *err);
	struct err err;
	pthread_t tracer;
	int r;
	bool done;
};

static void *run_aside(void *arg)
{
	struct aside *a = arg;

	a->r = a->work(a->w, &a->err);
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	pthread_kill(a->tracer, SIGIO); /* blocked: it ends a wait */
	return NULL;
}

static void attend(struct worker *w, const struct aside *a)
{
	w->next.kind = FOLLOW_NOTHING;
	if (!sentry_attend(&w->sentry, &a->done, &w->next)) {
		if (w->next.kind != FOLLOW_END)
			freeze_longest(&w->freeze, FOLLOW_DEAF_NS);
		w->next.kind = FOLLOW_NOTHING;
		return;
	}
	/* At its end: it is held from here on, and nothing else is looked at. */
	w->next_ns = now_ns();
	freeze_longest(&w->freeze, w->order.hold_ns);
}

int worker_beside(struct worker *w, int (*work)(struct worker *w, struct err *err), struct err *err)
{
	struct aside a = { .w = w, .work = work, .err = { "" }, .tracer = pthread_self() };
	pthread_t thread;

	if ((!w->stays && !w->freeze.running) || pthread_create(&thread, NULL, run_aside, &a) != 0)
		return work(w, err);
	if (w->stays && w->next.kind == FOLLOW_NOTHING)
		attend(w, &a);
	while (!w->stays && !__atomic_load_n(&a.done, __ATOMIC_ACQUIRE)) {
		nanosleep(&(struct timespec){ .tv_nsec = LATE_NS }, NULL);
		freeze_late(&w->freeze);
	}
	pthread_join(thread, NULL);
	if (a.r < 0 && err)
		*err = a.err;
	return a.r;
}

/* --- the waiting --- */

static void passed(void *arg, pid_t tid, const siginfo_t *info)
{
	struct worker *w = arg;

	/* The one that fired is known. */
	if (tid == w->event.tid && info->si_signo == w->event.info.si_signo && !w->fired_passed) {
		w->fired_passed = true;
		return;
	}
	sentry_saw(&w->sentry, tid, info);
	w->result.sentry.missed += (w->order.on.signals & sentry_bit(info->si_signo)) != 0;
}

/* What of a process whose main thread has ended can be read is read as another thread's. */
static void mind_leader(struct worker *w)
{
	struct proc_stat stat;
	CLEAN(fd) int fd = -1;

	if (proc_stat_read(w->proc.dir_fd, "stat", &stat) == 0 && stat.state != 'Z')
		return;
	fd = proc_dir_open(w->event.tid);
	if (fd < 0 || proc_stat_read(fd, "stat", &stat) < 0)
		return;
	close(w->proc.dir_fd);
	w->proc.dir_fd = take_fd(&fd);
}

/* What was waited for is there, its thread stands. A process that is at its end is not
 * cloned: whoever waits for that end would start a successor, and the copy would hold its
 * ports; and a fault's thread that ran our call would lose its signal if we died. */
static int dump_fired(struct worker *w, struct err *err)
{
	const struct sentry_report *report = &w->result.sentry;

	w->fired_passed = w->event.kind != FOLLOW_SIGNAL;
	w->order.holder_tid = report->tid;
	w->held = report->ended;
	w->stays = !w->held && w->analyst_fd < 0 && w->number + 1 < w->order.on_count;
	w->freeze.stay = w->stays;
	if (w->held) {
		w->order.snapshot = SNAPSHOT_STOP;
		w->order.pause_budget_ns = 0;
		w->hold_until_ns = w->order.hold_ns ? w->fired_ns + w->order.hold_ns : 0;
		freeze_longest(&w->freeze, w->order.hold_ns ? w->order.hold_ns + WATCHDOG_NS : 0);
		w->freeze.held = report->tid;
		w->freeze.held_signal = w->event.kind == FOLLOW_SIGNAL ? report->signal : 0;
		w->freeze.ending = w->event.kind == FOLLOW_EXIT;
		mind_leader(w);
	}
	if (proc_status_read(w->proc.dir_fd, "status", &w->status) < 0)
		return err_say(err, -ESRCH, "process %d has ended", w->order.pid);
	worker_tell(w, WORKER_NONE, 0);
	return worker_dump(w, err);
}

static int say_over(const struct worker *w, struct err *err)
{
	const struct sentry_report *report = &w->result.sentry;
	char how[48] = "";

	if (report->signal)
		snprintf(how, sizeof(how), " (signal %d)", report->signal);
	else if (report->exit_code >= 0)
		snprintf(how, sizeof(how), " (exit code %d)", report->exit_code);
	return err_say(err, -ESRCH, "process %d ended%s: what was waited for never came", w->order.pid, how);
}

static bool parent_gone(void)
{
	struct pollfd pfd = { .fd = WORKER_FD_PARENT };

	return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR);
}

static int next_event(struct worker *w, struct err *err)
{
	if (w->next.kind != FOLLOW_NOTHING) {
		w->event = w->next;
		w->fired_ns = w->next_ns;
		w->next.kind = FOLLOW_NOTHING;
		sentry_take(&w->sentry, &w->event);
		return 0;
	}
	worker_tell(w, WORKER_WAITING, 0);
	switch (sentry_wait(&w->sentry, &w->event)) {
	case SENTRY_OVER:
		return say_over(w, err);
	case SENTRY_ASKED:
		if (w->number && parent_gone()) /* before it took the last one */
			worker_forget_file(w, w->number - 1);
		return err_say(err, -ECANCELED, "the waiting for process %d was cancelled", w->order.pid);
	case SENTRY_FIRED:
		break;
	}
	w->fired_ns = now_ns();
	return 0;
}

/* All that one dump has left behind. What is attached to, and to be waited for, stays. */
static void again(struct worker *w)
{
	proc_maps_free(&w->before);
	proc_maps_free(&w->frozen);
	spool_close(&w->before_text);
	spool_close(&w->frozen_text);
	snapshot_close(&w->snapshot);
	side_close(&w->side);
	if (w->order.kinds & DUMP_MINI)
		mini_close(&w->mini);
	assembly_about_done(&w->about);
	leftover_forget(w->journal_fd, &w->left);
	if (w->journal_fd >= 0)
		close(w->journal_fd);
	w->journal_fd = -1;
	freeze_again(&w->freeze);
	w->mini = (struct mini){ .more_max = 0 };
	w->cost = (struct cost){ 0 };
	w->result = (struct dump_result){ .code = 0 };
	w->done_bytes = w->moved_bytes = w->moved_ns = 0;
	w->number++;
}

int worker_wait(struct worker *w, struct err *err)
{
	const struct sentry_wish *wish = &w->order.on;
	int r = follow_begin(&w->follow, &w->freeze, wish->exit || wish->signals & sentry_bit(SIGKILL), err);

	if (r < 0)
		return r;
	w->sentry = (struct sentry){ .wish = wish,
				     .report = &w->result.sentry,
				     .follow = &w->follow,
				     .sock = WORKER_FD_PARENT,
				     .init = w->status.ns_tid == 1 };
	w->freeze.passed = passed;
	w->freeze.passed_arg = w;
	fcntl(WORKER_FD_PARENT, F_SETOWN, getpid());
	fcntl(WORKER_FD_PARENT, F_SETFL, O_ASYNC); /* SIGIO, blocked, ends a wait */
	for (;;) {
		r = next_event(w, err);
		if (r == 0)
			r = dump_fired(w, err);
		if (r < 0 || w->core_code < 0 || !w->stays)
			return r;
		w->result.goes_on = 1;
		worker_answer(w);
		again(w);
	}
}
