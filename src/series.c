// SPDX-License-Identifier: MIT
/* Each process of a series is a member: it is sampled, and asked for a turn when one of
 * its conditions is fulfilled, or by the timer. Turns wait in a queue while as many
 * shots as allowed are under way. Rejected: a thread per condition (samples of different
 * moments, and a read of /proc for each). Traps: a process may end and its number be
 * given to another, so each is held by its pidfd; a member under way stays until the
 * end of its shot, whatever becomes of the process. */
#include "series_state.h"

#include "ktime.h"
#include "process.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#define FULL_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.core"
#define MINI_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.mini.core"
#define FAILURES_MOST 3			      /* one after the other */
#define PAUSE_BUDGET_NS (250 * NSEC_PER_MSEC) /* of a full dump, where none is given */
#define HOLD_NS (300 * NSEC_PER_SEC)	      /* of a process at its end, where none is given */

void series_say(const struct series *s, enum series_word word, const char *fmt, ...)
{
	char text[640];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	s->calls->say(s->calls->arg, word, text);
}

unsigned int series_turns(const struct series_spec *spec)
{
	unsigned int turns = 0;

	for (size_t i = 0; i < spec->step_count; i++)
		turns += spec->step[i].turns;
	return turns;
}

void series_worse(struct series *s, int exit_code)
{
	s->worst = MAX(s->worst, exit_code);
}

/* ---- the end ---- */

bool series_is_over(const struct series *s)
{
	return (series_has_conditions(s) ? s->turns : s->rounds) >= s->wanted;
}

/* What --kill means: each process that was dumped, when all dumps are there. By its pidfd:
 * nobody else can be meant. */
static void end_processes(struct series *s)
{
	bool well = series_is_over(s) && !s->worst && !s->signal;

	for (size_t i = 0; i < s->count && s->dumps; i++) {
		struct member *m = s->member[i];
		pid_t pid = m->subject.proc.pid;

		if (!m->taken || m->ended || !proc_alive(&m->subject.proc))
			continue;
		if (!well) {
			series_say(s, SERIES_WARNING, "process %d '%s' was not ended: not all dumps are there", pid,
				   m->subject.process);
			continue;
		}
		series_member_out(m); /* its end is no news */
		if (syscall(SYS_pidfd_send_signal, m->subject.proc.pidfd, SIGKILL, NULL, 0) == 0)
			series_say(s, SERIES_NOTE, "process %d '%s' was ended (SIGKILL)", pid, m->subject.process);
		else
			series_say(s, SERIES_ERROR, "cannot end process %d '%s': %s", pid, m->subject.process,
				   strerror(errno)),
				series_worse(s, EXIT_REFUSED);
	}
}

static void check_end(struct series *s)
{
	if (s->running)
		return;
	for (size_t i = 0; i < s->count && !s->ending; i++) {
		if (s->member[i]->queued && !s->member[i]->ended)
			return;
	}
	if (s->awaited && !s->ending)
		return;
	if (!s->ending && !series_is_over(s) && series_any_left(s))
		return;
	if (!series_guards_end(s))
		return;
	if (s->spec->kill)
		end_processes(s);
	if (s->command.pid > 0 && !s->command_ended) {
		struct pollfd end = { .fd = s->command.pidfd, .events = POLLIN };

		if (!s->told_command && !s->ending && poll(&end, 1, 0) == 0)
			series_say(s, SERIES_NOTE, "waiting for '%s' to end", s->spec->command[0]);
		s->told_command = true;
		return;
	}
	loop_stop(s->loop, s->worst);
}

void series_failed(struct series *s, int exit_code, const char *text)
{
	series_say(s, SERIES_ERROR, "%s", text);
	series_worse(s, exit_code);
	s->ending = true;
	check_end(s);
}

/* ---- one dump ---- */

static void begin_shot(void *arg, uint32_t events);

static bool compressed(const struct series_spec *spec, uint32_t kind)
{
	return spec->compress == COMPRESS_ZSTD || (spec->compress == COMPRESS_BY_KIND && !(kind & DUMP_MINI));
}

static const char *pattern_of(const struct series *s, uint32_t kind)
{
	static const char *const names[2][2] = { { FULL_FILE_NAME, FULL_FILE_NAME ".zst" },
						 { MINI_FILE_NAME, MINI_FILE_NAME ".zst" } };

	if (s->place.pattern)
		return s->place.pattern;
	return s->spec->pattern ? s->spec->pattern : names[(kind & DUMP_MINI) != 0][compressed(s->spec, kind)];
}

static struct place_name name_of(const struct series *s, const struct member *m, uint32_t kind)
{
	/* overwriting: the second kind does not overwrite the first */
	return (struct place_name){ .of = { .pattern = pattern_of(s, kind),
					    .process = m->subject.process,
					    .pid = m->subject.proc.pid,
					    .when = m->started,
					    .trigger = m->cause.trigger },
				    .replace = s->spec->overwrite,
				    .number = s->spec->overwrite ? m->shot_no : 0 };
}

struct series_dump series_dump_of(const struct member *m, uint32_t kind)
{
	return (struct series_dump){ .subject = &m->subject, .facts = &m->facts, .cause = &m->cause, .kind = kind };
}

static void on_under_way(void *arg, uint64_t done, uint64_t total)
{
	struct member *m = arg;
	struct series_dump dump = series_dump_of(m, m->step->shot[m->shot_no]);

	dump.done = done;
	dump.total = total;
	m->series->calls->under_way(m->series->calls->arg, &dump);
}

static void turn_over(struct member *m, bool well)
{
	struct series *s = m->series;

	series_rests(m);
	s->taken += well;
	m->taken += well;
	s->changed = true;
	if (m->gone && !m->ended && !series_is_over(s)) {
		series_member_gone(m);
		return;
	}
	series_guard(m);
	series_begin_turns(s);
}

/* What was typed was right when the dump began: the system has failed since. */
int series_failed_code(int code)
{
	return code == -ESRCH ? EXIT_NOTHING : code == -EINVAL || code == -EEXIST ? EXIT_MISTAKE : EXIT_REFUSED;
}

/* With conditions there is a next time: for what a busy machine does, or if it is wished. */
static bool may_fail(struct member *m, const struct shot_result *result)
{
	const struct series_spec *spec = m->series->spec;
	int code = result->code;

	if (!series_has_conditions(m->series) || result->cancelled)
		return false;
	if (spec->avoid_outage && (result->given_up || code == -EBUSY))
		return true;
	return (code == -EBUSY || code == -EAGAIN || code == -ETIMEDOUT) && ++m->failures < FAILURES_MOST;
}

static void shot_failed(struct member *m, const struct shot_result *result)
{
	struct series *s = m->series;
	pid_t pid = m->subject.proc.pid;
	bool goes_on = may_fail(m, result);

	/* It went as the next one began. */
	if (m->taken && !m->ended && result->code == -ESRCH && !result->cancelled && !proc_alive(&m->subject.proc)) {
		series_member_gone(m);
		return;
	}
	if (result->given_up)
		series_say(s, SERIES_ERROR, "the dump of process %d was given up after %g s", pid,
			   (double)s->spec->give_up_ns / 1e9);
	else if (result->cancelled)
		series_say(s, SERIES_NOTE, "the dump of process %d was cancelled: no file is left", pid);
	else
		series_say(s, goes_on ? SERIES_WARNING : SERIES_ERROR, "%s", result->text);
	if (goes_on) {
		s->turns--; /* it did not count */
	} else {
		series_worse(s, result->given_up ? EXIT_NOTHING : series_failed_code(result->code));
		series_member_out(m); /* the next would fail, too */
	}
	turn_over(m, false);
}

static void on_shot(void *arg, const struct shot_result *result)
{
	struct member *m = arg;
	struct series *s = m->series;
	struct series_dump dump = series_dump_of(m, m->step->shot[m->shot_no]);
	uint64_t gap_ns = m->step->gap_ns;

	m->shot = NULL;
	if (result->code < 0) {
		shot_failed(m, result);
		return;
	}
	if (result->dump->error[0])
		series_say(s, SERIES_WARNING, "%s", result->dump->error);
	s->dumps++;
	m->failures = 0;
	if (m->compare && result->analysis) {
		compare_add(m->compare, &m->moment, result->analysis);
		growth_add(m->growth, &m->moment);
	}
	dump.result = result->dump;
	dump.path = result->path;
	s->calls->dumped(s->calls->arg, &dump);
	m->shot_no++;
	if (m->shot_no == m->step->shots || s->ending)
		turn_over(m, true);
	else if (m->gone)
		series_member_gone(m);
	else if (!gap_ns || now_ns() >= m->shot_ns + gap_ns)
		begin_shot(m, 0);
	else if (loop_add_timer(s->loop, m->shot_ns + gap_ns, 0, begin_shot, m, &m->gap_source) < 0)
		series_failed(s, EXIT_REFUSED, "cannot wait for the next dump");
}

static struct dump_order order_of(const struct series *s, const struct member *m, uint32_t kind)
{
	struct dump_order order = s->spec->order;
	size_t len = strlen(order.comment);

	order.on = (struct sentry_wish){ .signals = 0 };
	order.hold_ns = order.hold_ns ? order.hold_ns : HOLD_NS;
	order.kinds = kind | (m->compare ? (uint32_t)DUMP_STACKS : 0);
	order.compress = compressed(s->spec, kind);
	if (kind == DUMP_FULL && order.snapshot != SNAPSHOT_STOP && !s->spec->budget_given)
		order.pause_budget_ns = PAUSE_BUDGET_NS;
	if (m->cause.trigger)
		snprintf(order.comment + len, sizeof(order.comment) - len, "%s%s", len ? "; " : "", m->cause.words);
	return order;
}

struct shot_spec series_shot_spec(const struct series *s, const struct member *m, uint32_t kind)
{
	return (struct shot_spec){ .subject = &m->subject,
				   .place = &s->place,
				   .name = name_of(s, m, kind),
				   .order = order_of(s, m, kind),
				   .give_up_ns = s->spec->give_up_ns };
}

static void read_name(struct member *m)
{
	const char *name = m->subject.process;

	proc_name(m->subject.proc.pid, m->subject.process, sizeof(m->subject.process));
	if (m->dumped_as[0]) {
		bool same = proc_program_same(m->subject.proc.dir_fd, &m->program);

		if (!same || strcmp(name, m->dumped_as) != 0)
			series_say(m->series, SERIES_NOTE, "process %d '%s' is '%s' now: it %s", m->subject.proc.pid,
				   m->dumped_as, name, same ? "has a new name" : "called exec");
	}
	snprintf(m->dumped_as, sizeof(m->dumped_as), "%s", name);
	proc_program_read(m->subject.proc.dir_fd, &m->program);
}

static void begin_shot(void *arg, uint32_t events UNUSED)
{
	struct member *m = arg;
	struct series *s = m->series;
	uint32_t kind = m->step->shot[m->shot_no];
	struct shot_calls calls = { .ended = on_shot, .under_way = on_under_way, .arg = m };
	struct shot_spec spec;
	struct series_dump dump = series_dump_of(m, m->step->shot[m->shot_no]);
	time_t now = time(NULL);
	struct err err = { .text = "" };
	int r;

	loop_remove(s->loop, m->gap_source);
	m->gap_source = NULL;
	if (m->shot_no == 0 || m->step->gap_ns)
		localtime_r(&now, &m->started);
	spec = series_shot_spec(s, m, kind);
	m->shot_ns = now_ns();
	if (m->shot_no == 0) /* it may have called exec since */
		read_name(m);
	if (m->compare) {
		moment_done(&m->moment);
		moment_read(&m->subject.proc, MOMENT_CPU | MOMENT_MEMORY, &m->moment, NULL);
	}
	m->facts.pid = m->subject.proc.pid;
	process_read(m->subject.proc.dir_fd, &m->facts);
	s->calls->under_way(s->calls->arg, &dump); /* it begins */
	r = shot_begin(s->loop, &spec, &calls, &m->shot, &err);
	if (r < 0) {
		series_rests(m);
		series_failed(s, exit_code_of(r), err.text);
	}
}

void series_begin_shot(struct member *m)
{
	begin_shot(m, 0);
}

/* ---- turns ---- */

void series_ask_turn(struct member *m)
{
	m->queued = true;
	m->place_in_queue = m->series->queue_end++;
}

static struct member *next_in_queue(const struct series *s)
{
	struct member *next = NULL;

	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		if (m->queued && !m->running && !m->ended && (!next || m->place_in_queue < next->place_in_queue))
			next = m;
	}
	return next;
}

static void begin_round(void *arg, uint32_t events);

/* Without conditions: the next round begins when all of this one are done. */
static void schedule_round(struct series *s)
{
	if (s->next_source || s->rounds >= s->wanted || !series_any_left(s) || s->awaited)
		return;
	if (loop_add_timer(s->loop, MAX(s->first_ns + s->rounds * s->spec->every_ns, now_ns()), 0, begin_round, s,
			   &s->next_source) < 0)
		series_failed(s, EXIT_REFUSED, "cannot wait for the next dump");
}

void series_begin_turns(struct series *s)
{
	struct member *m;

	while (!s->ending && s->running < MAX(s->spec->concurrent, 1u) && (m = next_in_queue(s))) {
		m->queued = false;
		if (series_has_conditions(s) && s->turns >= s->wanted)
			continue;
		m->running = true;
		s->running++;
		m->begun_ns = now_ns();
		m->step = series_step_of(s->spec, series_has_conditions(s) ? s->turns++ : s->rounds - 1);
		m->shot_no = 0;
		if (!series_unguard(m))
			begin_shot(m, 0);
	}
	if (!series_has_conditions(s) && !s->running && !s->ending)
		schedule_round(s);
	check_end(s);
}

static void begin_round(void *arg, uint32_t events UNUSED)
{
	struct series *s = arg;

	loop_remove(s->loop, s->next_source);
	s->next_source = NULL;
	s->rounds++;
	for (size_t i = 0; i < s->count; i++) {
		if (!s->member[i]->ended)
			series_ask_turn(s->member[i]);
	}
	series_begin_turns(s);
}

/* ---- the whole ---- */

/* Once: what is under way is finished, the series ends. Twice: it is cancelled. */
static void on_signal(void *arg, uint32_t number)
{
	struct series *s = arg;
	bool again = s->signal != 0;

	s->ending = true;
	s->command_ended |= again;
	/* Ctrl-C of a terminal reaches what we started, too */
	if (s->command.pid > 0 && !again && (number != SIGINT || !isatty(STDIN_FILENO)))
		kill(s->command.pid, (int)number);
	if (!again && s->running)
		series_say(s, SERIES_NOTE, "finishing the dump under way; once more cancels it");
	s->signal = (int)number;
	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		if (m->guard && again)
			shot_cancel(m->guard);
		if (m->shot && again) {
			shot_cancel(m->shot);
		} else if (!m->shot && m->running) { /* between two shots */
			series_rests(m);
		}
	}
	check_end(s);
}

static void on_timeout(void *arg, uint32_t events UNUSED)
{
	struct series *s = arg;

	if (s->ending)
		return;
	if (!s->dumps && !s->running) {
		if (s->awaited)
			series_say(s, SERIES_ERROR, "no process '%s' came in time", s->awaited);
		else
			series_say(s, SERIES_ERROR, "no condition was fulfilled in time: no dump was taken");
		series_worse(s, EXIT_NOTHING);
	}
	s->ending = true;
	check_end(s);
}

static void on_command_end(void *arg, uint32_t events UNUSED)
{
	struct series *s = arg;

	loop_remove(s->loop, s->command_source);
	s->command_source = NULL;
	s->command_ended = true;
	check_end(s);
}

static int check_names(struct series *s, struct err *err)
{
	char name[NAME_MAX + 1];

	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];
		time_t now = time(NULL);
		struct place_name meant;
		int r;

		localtime_r(&now, &m->started);
		meant = name_of(s, m, s->spec->step[0].shot[0]);
		r = place_look(&s->place, &meant, name, sizeof(name), err); /* a bad pattern shows before the stop */
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_up(struct series *s, struct err *err)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	uint64_t interval_ns = s->spec->interval_ns ? s->spec->interval_ns : SERIES_INTERVAL_NS;
	bool ticks;
	int r = loop_new(&s->loop, err);

	for (size_t i = 0; i < s->spec->trigger_count; i++)
		s->parts |= trigger_parts(&s->spec->trigger[i]);
	s->cpus = (unsigned int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
	s->compares = !s->spec->no_compare && (s->wanted > 1 || s->spec->step[0].gap_ns);
	if (s->wanted > 1 || series_has_conditions(s) || s->spec->wait)
		roster_open(NULL, &s->roster); /* without one --cancel does not find us, that is all */
	if (r == 0)
		r = series_look(s, err);
	if (r == 0)
		r = place_open(s->spec->path, &s->place, err);
	s->place_open = r == 0;
	if (s->place_open && s->place.swept)
		series_say(s, SERIES_NOTE, "removed %u unfinished dump%s (.reqtrap-*.part) of runs that were killed",
			   s->place.swept, s->place.swept == 1 ? "" : "s");
	if (r == 0)
		r = check_names(s, err);
	if (r == 0)
		r = loop_add_signals(s->loop, ends, ARRAY_LEN(ends), on_signal, s, err);
	if (r < 0)
		return r;
	if (s->command.pid > 0)
		r = loop_add_fd(s->loop, s->command.pidfd, EPOLLIN, on_command_end, s, &s->command_source);
	s->first_ns = now_ns();
	ticks = series_has_conditions(s) || s->spec->wait || s->spec->all || s->wanted > 1;
	if (r == 0 && ticks)
		r = loop_add_timer(s->loop, s->first_ns, interval_ns, series_tick, s, NULL);
	if (r == 0 && s->spec->timeout_ns)
		r = loop_add_timer(s->loop, s->first_ns + s->spec->timeout_ns, 0, on_timeout, s, NULL);
	return r < 0 ? err_sys(err, r, "cannot wait") : 0;
}

static void tear_down(struct series *s)
{
	for (size_t i = 0; i < s->count; i++)
		series_member_free(s->member[i]);
	free(s->member);
	child_release(&s->hold, false, NULL);
	if (s->command.pid > 0)
		child_reap(&s->command, false);
	roster_close(&s->roster);
	if (s->place_open)
		place_close(&s->place);
	loop_free(s->loop);
}

static void tell_results(const struct series *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct member *m = s->member[i];
		struct series_result result = { .subject = &m->subject, .compare = m->compare, .growth = m->growth };

		if (m->compare && compare_count(m->compare) > 1)
			s->calls->compared(s->calls->arg, &result);
	}
}

int series_cancel(const char *word, struct err *err)
{
	struct targets targets = { 0 };
	unsigned int asked = 0, sum = 0;
	bool loosely;
	int r = subject_find(word, true, &targets, &loosely, err);

	for (size_t i = 0; i < targets.count && r == 0; i++) {
		struct proc proc;

		r = proc_open(&proc, targets.pid[i], err);
		if (r < 0)
			break;
		r = roster_cancel(NULL, &proc, &asked, err);
		sum += asked;
		proc_close(&proc);
	}
	targets_done(&targets);
	return r < 0 ? r : (int)sum;
}

int series_run(const struct series_spec *spec, const struct series_calls *calls, int *ret_signal)
{
	struct series s = { .spec = spec,
			    .calls = calls,
			    .command = { .pidfd = -1 },
			    .hold = { -1, -1 },
			    .roster = { .dir_fd = -1, .fd = -1 },
			    .wanted = series_turns(spec) };
	struct err err = { .text = "" };
	int r = set_up(&s, &err);

	if (r < 0) {
		if (s.command.pid > 0)
			kill(s.command.pid, SIGTERM); /* it was started for this */
		series_say(&s, SERIES_ERROR, "%s", err.text);
		tear_down(&s);
		*ret_signal = 0;
		return exit_code_of(r);
	}
	dump_reap();
	for (size_t i = 0; i < s.count; i++)
		series_guard(s.member[i]);
	series_begin_turns(&s);
	r = loop_run(s.loop);
	if (r == EXIT_DONE && !s.dumps && !s.signal) {
		series_say(&s, SERIES_ERROR, "every process ended before a dump was taken");
		r = EXIT_NOTHING;
	}
	tell_results(&s);
	if (s.signal && (s.wanted > 1 || series_has_conditions(&s)))
		series_say(&s, SERIES_NOTE, "ended by %s: %u of %u dumps taken",
			   s.signal == SIGINT	 ? "Ctrl-C"
			   : s.signal == SIGTERM ? "SIGTERM or --cancel"
						 : "a signal",
			   s.taken, series_wanted(&s));
	tear_down(&s);
	dump_settle();
	*ret_signal = s.signal;
	return r < 0 ? EXIT_REFUSED : r;
}
