// SPDX-License-Identifier: MIT
/* Which of the stops that follow.c sees is the one that was asked for. Rejected: to ask
 * before the process runs what its handlers are (they change): it is looked at when the
 * signal is there. Traps: a fault whose signal is blocked or ignored is fatal: the kernel
 * has set its handler to the default by the time we see it; the first process of a pid
 * namespace drops fatal signals while it is traced, and would fault for ever. */
#include "sentry.h"

#include "follow.h"
#include "ktime.h"
#include "worker.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WAIT_NS NSEC_PER_SEC

/* Those whose default is not the end of the process. */
static uint64_t harmless(void)
{
	return sentry_bit(SIGCHLD) | sentry_bit(SIGURG) | sentry_bit(SIGWINCH) | sentry_bit(SIGCONT) |
	       sentry_bit(SIGSTOP) | sentry_bit(SIGTSTP) | sentry_bit(SIGTTIN) | sentry_bit(SIGTTOU);
}

static pid_t sender_of(const siginfo_t *info)
{
	return info->si_code <= 0 && info->si_code != SI_TIMER ? info->si_pid : 0;
}

void sentry_saw(struct sentry *s, pid_t tid, const void *arg)
{
	const siginfo_t *info = arg;
	uint32_t row = (uint32_t)info->si_signo - 1;
	struct sentry_seen *seen;

	if (row >= SENTRY_SIGNALS)
		return;
	seen = &s->report->seen[row];
	*seen = (struct sentry_seen){ .count = seen->count + 1,
				      .code = info->si_code,
				      .sender = sender_of(info),
				      .tid = tid,
				      .wall_ns = wall_ns() };
}

/* --- what it is --- */

static bool is_fatal(const struct sentry *s, const siginfo_t *info)
{
	uint64_t bit = sentry_bit(info->si_signo);
	struct proc_status status;

	if (bit & harmless())
		return false;
	if (s->init && info->si_code <= 0) /* it is not for such a process */
		return false;
	if (proc_status_read(s->follow->freeze->proc->dir_fd, "status", &status) < 0)
		return false;
	return !((status.sig_caught | status.sig_ignored) & bit);
}

static void report_signal(struct sentry *s, const struct follow_event *e, bool fatal)
{
	struct sentry_report *report = s->report;

	report->cause = fatal ? SENTRY_FATAL : SENTRY_SIGNAL;
	report->signal = e->info.si_signo;
	report->code = e->info.si_code;
	report->sender = sender_of(&e->info);
	report->tid = e->tid;
	report->exit_code = -1;
	report->wall_ns = wall_ns();
	report->ended = fatal;
}

static void report_end(struct sentry *s, const struct follow_event *e, enum sentry_cause cause)
{
	struct sentry_report *report = s->report;
	int status = e->status;

	report->cause = cause;
	report->signal = status < 0 ? 0 : WTERMSIG(status);
	report->code = 0;
	report->sender = 0;
	report->tid = e->tid;
	report->exit_code = status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	report->wall_ns = wall_ns();
	report->ended = 1;
}

/* Is it what was asked for? ret_end: it ends the process. */
static bool fires(const struct sentry *s, const struct follow_event *e, bool *ret_end)
{
	const struct sentry_wish *wish = s->wish;
	bool asked;

	*ret_end = e->kind == FOLLOW_EXIT;
	if (*ret_end)
		return wish->exit || wish->signals & sentry_bit(WTERMSIG(e->status));
	asked = wish->signals & sentry_bit(e->info.si_signo);
	*ret_end = (asked || wish->fatal || wish->exit || s->init) && is_fatal(s, &e->info);
	return asked || (*ret_end && (wish->fatal || wish->exit));
}

void sentry_take(struct sentry *s, const struct follow_event *e)
{
	bool end;

	fires(s, e, &end);
	if (e->kind == FOLLOW_EXIT)
		report_end(s, e, SENTRY_EXIT);
	else
		report_signal(s, e, end);
}

/* It would fault again and again, since its signal is dropped while we are there. */
static bool is_stuck(const struct sentry *s, const struct follow_event *e)
{
	return s->init && e->kind == FOLLOW_SIGNAL && e->info.si_code > 0 && is_fatal(s, &e->info);
}

/* --- */

static bool parent_asks(const struct sentry *s)
{
	struct pollfd pfd = { .fd = s->sock, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* Nobody is to hear of it: it goes on. */
static void pass(struct sentry *s, const struct follow_event *e)
{
	if (is_stuck(s, e))
		follow_release(s->follow, e);
	else
		follow_pass(s->follow, e);
}

bool sentry_attend(struct sentry *s, const bool *done, struct follow_event *ret)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGIO); /* done; what is to be done about SIGTERM, the writer knows */
	while (!__atomic_load_n(done, __ATOMIC_ACQUIRE)) {
		bool end;

		follow_next(s->follow, WAIT_NS, &ours, ret);
		if (ret->kind == FOLLOW_END)
			return false;
		if (ret->kind == FOLLOW_NOTHING)
			continue;
		if (ret->kind == FOLLOW_SIGNAL)
			sentry_saw(s, ret->tid, &ret->info);
		if (fires(s, ret, &end)) {
			if (end)
				return true;
			s->report->missed++;
		}
		pass(s, ret);
	}
	return false;
}

enum sentry_end sentry_wait(struct sentry *s, struct follow_event *ret)
{
	sigset_t ours;
	bool end;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGIO); /* the parent's message, or its end */
	for (;;) {
		if (parent_asks(s))
			return SENTRY_ASKED;
		follow_next(s->follow, WAIT_NS, &ours, ret);
		switch (ret->kind) {
		case FOLLOW_NOTHING:
			if (ret->ours == SIGTERM)
				return SENTRY_ASKED;
			continue;
		case FOLLOW_END:
			report_end(s, ret, SENTRY_NONE);
			return SENTRY_OVER;
		case FOLLOW_SIGNAL:
			sentry_saw(s, ret->tid, &ret->info);
			break;
		case FOLLOW_EXIT:
			break;
		}
		if (fires(s, ret, &end)) {
			sentry_take(s, ret);
			return SENTRY_FIRED;
		}
		pass(s, ret);
	}
}
