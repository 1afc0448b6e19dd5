// SPDX-License-Identifier: MIT
/* Events of a process: a worker is attached to it, dumps each that was asked for, and
 * waits on. Only one tracer can be: for a dump of another cause the guard is asked to go,
 * and comes back after the turn; how long nobody was there is told. Trap: it may have
 * fired in that very moment: then there are two dumps. */
#include "series_state.h"

#include "ktime.h"
#include "process.h"

#include <signal.h>
#include <string.h>

/* What the core of an event holds: the largest of what was asked for. */
static uint32_t kind_of(const struct series *s, unsigned int turn)
{
	const struct series_step *step = series_step_of(s->spec, turn);

	return step->shot[step->shots - 1];
}

/* So many of the turns to come want the same. */
static unsigned int alike(const struct series *s, uint32_t kind)
{
	unsigned int n = 0;

	while (s->turns + n < s->wanted && kind_of(s, s->turns + n) == kind)
		n++;
	return n;
}

static void explain(const struct sentry_report *report, struct series_cause *cause)
{
	char name[16], sender[48] = "";

	trigger_signal_name(report->signal, name, sizeof(name));
	if (report->sender)
		snprintf(sender, sizeof(sender), ", sent by process %d", report->sender);
	cause->wall_ns = report->wall_ns;
	cause->trigger = trigger_event(report->cause);
	if (report->cause == SENTRY_EXIT && !report->signal) {
		snprintf(cause->value, sizeof(cause->value), "%d", report->exit_code);
		snprintf(cause->words, sizeof(cause->words), "exit with code %d", report->exit_code);
		return;
	}
	snprintf(cause->value, sizeof(cause->value), "%s", name);
	snprintf(cause->words, sizeof(cause->words), "%s %s of thread %d%s",
		 report->cause == SENTRY_SIGNAL ? "signal" : "end by signal", name, report->tid, sender);
}

/* Those that came, of all kinds: what led to the crash. */
static void tell_seen(const struct series *s, const struct member *m, const struct sentry_report *report)
{
	char list[256] = "";
	size_t len = 0;

	for (int i = 1; i <= SENTRY_SIGNALS && len < sizeof(list); i++) {
		char name[16];

		if (!report->seen[i - 1].count)
			continue;
		trigger_signal_name(i, name, sizeof(name));
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s %u", len ? ", " : "", name,
					report->seen[i - 1].count);
	}
	if (len)
		series_say(s, SERIES_NOTE, "signals of process %d: %s", m->subject.proc.pid, list);
	if (report->missed)
		series_say(s, SERIES_WARNING, "%u more came to process %d meanwhile, not dumped", report->missed,
			   m->subject.proc.pid);
}

static void fired(struct member *m, const struct shot_result *result)
{
	struct series *s = m->series;
	const struct sentry_report *report = &result->dump->sentry;
	struct series_dump dump = series_dump_of(m, m->guard_kind);

	explain(report, &m->cause);
	s->turns++;
	s->taken++;
	m->taken++;
	s->dumps++;
	s->changed = true;
	if (result->dump->error[0])
		series_say(s, SERIES_WARNING, "%s", result->dump->error);
	dump.result = result->dump;
	dump.path = result->path;
	s->calls->dumped(s->calls->arg, &dump);
	tell_seen(s, m, report);
	m->gone |= report->ended != 0;
}

/* One of several: the guard stays. */
static void on_one(void *arg, const struct shot_result *result)
{
	struct member *m = arg;
	struct series *s = m->series;

	if (result->code == 0) {
		fired(m, result);
	} else {
		series_say(s, SERIES_ERROR, "%s", result->text);
		series_worse(s, series_failed_code(result->code));
		s->ending = true;
	}
	series_begin_turns(s);
}

static void put_end(struct member *m, const struct sentry_report *report)
{
	char name[16];

	if (report->signal) {
		trigger_signal_name(report->signal, name, sizeof(name));
		snprintf(m->how, sizeof(m->how), " (signal %s)", name);
	} else if (report->exit_code >= 0) {
		snprintf(m->how, sizeof(m->how), " (exit code %d)", report->exit_code);
	}
}

static void on_guard(void *arg, const struct shot_result *result)
{
	struct member *m = arg;
	struct series *s = m->series;

	m->guard = NULL;
	m->armed = m->dismissed = false;
	s->changed = true;
	if (result->code == 0) {
		fired(m, result);
	} else if (result->code == -ESRCH && !result->cancelled) {
		tell_seen(s, m, &result->dump->sentry);
		put_end(m, &result->dump->sentry);
		m->gone = true;
	} else if (!result->cancelled) {
		series_say(s, SERIES_ERROR, "%s", result->text);
		series_worse(s, series_failed_code(result->code));
		series_member_out(m);
		if (s->hold.go_fd >= 0)
			child_release(&s->hold, false, NULL);
	}
	if (m->gone && !m->ended && !series_is_over(s) && !s->ending) {
		series_member_gone(m);
		return;
	}
	if (m->running && !m->shot && !m->gone && !m->ended) {
		series_begin_shot(m);
		return;
	}
	series_guard(m);
	series_begin_turns(s);
}

static void dismiss(struct member *m)
{
	if (!m->dismissed)
		shot_cancel(m->guard);
	m->dismissed = true;
}

static void on_guard_waits(void *arg, uint64_t done UNUSED, uint64_t total UNUSED)
{
	struct member *m = arg;
	struct series *s = m->series;
	struct err err = { .text = "" };

	if (!m->guard || !shot_waits(m->guard))
		return;
	if (s->ending || series_is_over(s)) {
		dismiss(m);
		return;
	}
	if (m->armed)
		return;
	m->armed = true;
	s->changed = true;
	if (m->alone_ns)
		series_say(s, SERIES_NOTE, "process %d was without a look at its signals for %.0f ms: another dump",
			   m->subject.proc.pid, ns_to_ms(now_ns() - m->alone_ns));
	m->alone_ns = 0;
	if (s->hold.go_fd >= 0 && m->subject.proc.pid == s->command.pid) {
		int r = child_release(&s->hold, true, NULL);

		if (r < 0) {
			err_sys(&err, r, "cannot start '%s'", s->spec->command[0]);
			series_failed(s, EXIT_MISTAKE, err.text);
			return;
		}
		proc_name(s->command.pid, m->subject.process, sizeof(m->subject.process));
		process_read(m->subject.proc.dir_fd, &m->facts);
	}
	if (!s->running && !s->ending)
		series_tell_state(s);
}

void series_guard(struct member *m)
{
	struct series *s = m->series;
	struct shot_calls calls = { .ended = on_guard, .one = on_one, .under_way = on_guard_waits, .arg = m };
	struct shot_spec spec;
	struct err err = { .text = "" };
	int r;

	if (!series_has_events(s) || m->guard || m->running || m->ended || m->gone || s->ending || series_is_over(s))
		return;
	m->guard_kind = kind_of(s, s->turns);
	m->facts.pid = m->subject.proc.pid;
	process_read(m->subject.proc.dir_fd, &m->facts);
	m->cause = (struct series_cause){ .trigger = NULL };
	spec = series_shot_spec(s, m, m->guard_kind);
	spec.order.kinds = m->guard_kind;
	spec.order.on = s->spec->order.on;
	spec.order.on_count = alike(s, m->guard_kind);
	spec.give_up_ns = 0;
	r = shot_begin(s->loop, &spec, &calls, &m->guard, &err);
	if (r < 0)
		series_failed(s, exit_code_of(r), err.text);
}

bool series_unguard(struct member *m)
{
	if (!m->guard)
		return false;
	m->alone_ns = now_ns();
	dismiss(m);
	return true;
}

bool series_guards_end(struct series *s)
{
	bool none = true;

	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		if (!m->guard)
			continue;
		none = false;
		if (shot_waits(m->guard)) /* else it is asked when it does */
			dismiss(m);
	}
	return none;
}
