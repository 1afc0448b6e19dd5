// SPDX-License-Identifier: MIT
/* Each process of a series is a member: it is sampled, and asked for a turn when one of
 * its conditions is fulfilled, or by the timer. Turns wait in a queue while as many
 * shots as allowed are under way. Rejected: a thread per condition (samples of different
 * moments, and a read of /proc for each). Traps: a process may end and its number be
 * given to another, so each is held by its pidfd; a member under way stays until the
 * end of its shot, whatever becomes of the process. */
#include "series.h"

#include "child.h"
#include "ktime.h"
#include "loop.h"
#include "options.h"
#include "place.h"
#include "process.h"
#include "shot.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>

#define FULL_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.core"
#define MINI_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.mini.core"
#define PAUSE_BUDGET_NS (250 * NSEC_PER_MSEC) /* of a full dump, where none is given */
#define LOOK_SHARE 200			      /* looks for new processes take 1/200 of the time */

struct series;

/* A process of the series. */
struct member {
	struct series *series;
	struct subject subject;
	struct process_facts facts; /* as it was when its dump began: it may end meanwhile */
	struct meter meter;
	struct usage before; /* parts 0: none yet */
	struct trigger trigger[SERIES_TRIGGERS_MAX];
	struct source *end_source, *gap_source;
	bool ended, gone; /* gone: during its shot */
	unsigned int taken;
	uint64_t begun_ns; /* its last turn; 0: none yet */
	bool queued, running;
	uint64_t place_in_queue;
	struct series_cause cause;
	const struct series_step *step; /* of the turn under way */
	unsigned int shot_no;		/* ... and how far that is */
	uint64_t shot_ns;		/* its begin */
	struct tm started;
	struct shot *shot;
};

struct series {
	const struct series_spec *spec;
	const struct series_calls *calls;
	struct loop *loop;
	struct place place;
	bool place_open;
	struct child command;
	struct member **member;
	size_t count;
	uint64_t looked_ns, look_took_ns; /* for new processes */
	const char *awaited;
	uint32_t parts; /* what the samples need */
	unsigned int cpus;
	struct source *next_source;
	uint64_t first_ns, queue_end;
	unsigned int rounds;  /* begun, without conditions */
	unsigned int turns;   /* begun, with conditions */
	unsigned int taken;   /* turns that ended well */
	unsigned int dumps;   /* files, or stacks */
	unsigned int running; /* members in a turn */
	unsigned int wanted;
	bool ending, changed;
	int worst; /* exit code so far */
	int signal;
};

static void say(const struct series *s, enum series_word word, const char *fmt, ...) PRINTF(3, 4);
static void begin_turns(struct series *s);
static void begin_shot(void *arg, uint32_t events);

static void say(const struct series *s, enum series_word word, const char *fmt, ...)
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

static bool has_conditions(const struct series *s)
{
	return s->spec->trigger_count > 0;
}

static void worse(struct series *s, int exit_code)
{
	s->worst = MAX(s->worst, exit_code);
}

/* ---- the end ---- */

static bool any_left(const struct series *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!s->member[i]->ended)
			return true;
	}
	return false;
}

static bool is_over(const struct series *s)
{
	return (has_conditions(s) ? s->turns : s->rounds) >= s->wanted;
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
	if (s->ending || is_over(s) || !any_left(s))
		loop_stop(s->loop, s->worst);
}

static void failed(struct series *s, int exit_code, const char *text)
{
	say(s, SERIES_ERROR, "%s", text);
	worse(s, exit_code);
	s->ending = true;
	check_end(s);
}

/* ---- members ---- */

static void tell_gone(struct series *s, const struct member *m)
{
	const struct subject *subject = &m->subject;

	if (!has_conditions(s))
		say(s, SERIES_ERROR, "process %d '%s' ended after %u of %u dumps", subject->proc.pid, subject->process,
		    m->taken, s->wanted);
	else
		say(s, SERIES_NOTE, "process %d '%s' ended", subject->proc.pid, subject->process);
}

static void member_gone(struct member *m)
{
	struct series *s = m->series;

	if (m->ended)
		return;
	m->ended = true;
	m->queued = false;
	s->changed = true;
	loop_remove(s->loop, m->end_source);
	m->end_source = NULL;
	if (m->running) {
		m->running = false;
		s->running--;
		loop_remove(s->loop, m->gap_source);
		m->gap_source = NULL;
	}
	tell_gone(s, m);
	if (!has_conditions(s))
		worse(s, EXIT_NOTHING);
	begin_turns(s);
}

static void on_end(void *arg, uint32_t events UNUSED)
{
	struct member *m = arg;

	loop_remove(m->series->loop, m->end_source);
	m->end_source = NULL;
	m->gone = true;
	if (!m->shot) /* else its own end will tell */
		member_gone(m);
}

static void member_free(struct member *m)
{
	shot_free(m->shot);
	process_done(&m->facts);
	subject_close(&m->subject);
	free(m);
}

static bool is_member(const struct series *s, pid_t pid)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->member[i]->subject.proc.pid == pid && !s->member[i]->ended)
			return true;
	}
	return false;
}

static int add_member(struct series *s, pid_t pid, struct err *err)
{
	struct member *m, **at;
	int r;

	if (is_member(s, pid))
		return 0;
	m = calloc(1, sizeof(*m));
	at = m ? list_add(&s->member, &s->count, sizeof(struct member *)) : NULL;
	if (!at) {
		free(m);
		return err_sys(err, -ENOMEM, "cannot take process %d in", pid);
	}
	s->count--; /* until it is one */
	m->series = s;
	r = subject_open(pid, &m->subject, err);
	if (r < 0) {
		free(m);
		return r;
	}
	memcpy(m->trigger, s->spec->trigger, sizeof(m->trigger));
	if (s->parts)
		r = meter_init(&m->meter, &m->subject.proc, s->parts, err);
	if (r == 0) {
		r = loop_add_fd(s->loop, m->subject.proc.pidfd, EPOLLIN, on_end, m, &m->end_source);
		if (r < 0)
			err_sys(err, r, "cannot wait for process %d", pid);
	}
	if (r < 0) {
		member_free(m);
		return r;
	}
	s->count++;
	*at = m;
	s->changed = true;
	return 0;
}

static int add_word(struct series *s, const char *word, struct err *err)
{
	struct targets targets = { 0 };
	bool loosely = false, later = s->looked_ns != 0;
	size_t added = 0;
	int r = subject_find(word, s->spec->any_case, &targets, &loosely, err);

	if (r == 0 && !s->spec->all)
		r = subject_only(word, &targets, err);
	for (size_t i = 0; r == 0 && i < targets.count; i++) {
		r = add_member(s, targets.pid[i], err);
		added += r == 0;
		if (targets.count > 1 && (r == -ESRCH || (later && r < 0)))
			r = 0;
	}
	if (r == 0 && !added)
		r = err_say(err, -ESRCH, "every process that '%s' names has ended", word);
	if (r == 0 && loosely && !later)
		say(s, SERIES_NOTE, "'%s' is taken for process %d '%s'", word,
		    s->member[s->count - 1]->subject.proc.pid, s->member[s->count - 1]->subject.process);
	targets_done(&targets);
	return r;
}

/* At the begin, and again for those that come later. */
static int look_for_members(struct series *s, struct err *err)
{
	uint64_t begun = now_ns();
	int r = 0;

	if (s->looked_ns && !(s->awaited || s->spec->all))
		return 0;
	if (s->looked_ns && begun - s->looked_ns < s->look_took_ns * LOOK_SHARE)
		return 0;
	s->awaited = NULL;
	for (size_t i = 0; i < s->spec->target_count && r == 0; i++) {
		const char *word = s->spec->target[i];

		if (s->looked_ns && word[strspn(word, "0123456789")] == '\0')
			continue; /* a number does not come again */
		r = add_word(s, word, err);
		if (r == -ESRCH && s->spec->wait && !any_left(s) && word[strspn(word, "0123456789")]) {
			s->awaited = word;
			r = 0;
		} else if (r == -ESRCH && s->looked_ns) {
			r = 0;
		}
	}
	s->looked_ns = now_ns();
	s->look_took_ns = s->looked_ns - begun;
	return r;
}

/* ---- one dump ---- */

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
	return (struct place_name){ .pattern = pattern_of(s, kind),
				    .process = m->subject.process,
				    .pid = m->subject.proc.pid,
				    .when = m->started,
				    .replace = s->spec->overwrite,
				    .number = s->spec->overwrite ? m->shot_no : 0 };
}

static struct series_dump dump_of(const struct member *m)
{
	return (struct series_dump){
		.subject = &m->subject, .facts = &m->facts, .cause = &m->cause, .kind = m->step->shot[m->shot_no]
	};
}

static void on_under_way(void *arg, uint64_t done, uint64_t total)
{
	struct member *m = arg;
	struct series_dump dump = dump_of(m);

	dump.done = done;
	dump.total = total;
	m->series->calls->under_way(m->series->calls->arg, &dump);
}

static void turn_over(struct member *m, bool well)
{
	struct series *s = m->series;

	m->running = false;
	s->running--;
	s->taken += well;
	m->taken += well;
	s->changed = true;
	if (m->gone && !m->ended && !is_over(s))
		member_gone(m);
	else
		begin_turns(s);
}

/* What was typed was right when the dump began: the system has failed since. */
static int failed_code(int r)
{
	return r == -ESRCH ? EXIT_NOTHING : r == -EINVAL || r == -EEXIST ? EXIT_MISTAKE : EXIT_REFUSED;
}

static void shot_failed(struct member *m, const struct shot_result *result)
{
	struct series *s = m->series;
	pid_t pid = m->subject.proc.pid;

	if (result->given_up)
		say(s, SERIES_ERROR, "the dump of process %d was given up after %llu s", pid,
		    (unsigned long long)(s->spec->give_up_ns / NSEC_PER_SEC));
	else if (result->cancelled)
		say(s, SERIES_NOTE, "the dump of process %d was cancelled: no file is left", pid);
	else if (s->spec->avoid_outage && result->code == -EBUSY)
		say(s, SERIES_NOTE, "left out: %s", result->text);
	else
		say(s, SERIES_ERROR, "%s", result->text);
	if (s->spec->avoid_outage && (result->given_up || result->code == -EBUSY) && has_conditions(s)) {
		s->turns--; /* it did not count */
		m->begun_ns = now_ns();
	} else {
		worse(s, result->given_up ? EXIT_NOTHING : failed_code(result->code));
		m->ended = true; /* the next would fail, too */
		loop_remove(s->loop, m->end_source);
		m->end_source = NULL;
	}
	turn_over(m, false);
}

static void on_shot(void *arg, const struct shot_result *result)
{
	struct member *m = arg;
	struct series *s = m->series;
	struct series_dump dump = dump_of(m);
	uint64_t gap_ns = m->step->gap_ns;

	m->shot = NULL;
	if (result->code < 0) {
		shot_failed(m, result);
		return;
	}
	if (result->dump->error[0])
		say(s, SERIES_WARNING, "%s", result->dump->error);
	s->dumps++;
	dump.result = result->dump;
	dump.path = result->path;
	s->calls->dumped(s->calls->arg, &dump);
	m->shot_no++;
	if (m->shot_no == m->step->shots || s->ending)
		turn_over(m, true);
	else if (m->gone)
		member_gone(m);
	else if (!gap_ns || now_ns() >= m->shot_ns + gap_ns)
		begin_shot(m, 0);
	else if (loop_add_timer(s->loop, m->shot_ns + gap_ns, 0, begin_shot, m, &m->gap_source) < 0)
		failed(s, EXIT_REFUSED, "cannot wait for the next dump");
}

static struct dump_order order_of(const struct series *s, const struct member *m, uint32_t kind)
{
	struct dump_order order = s->spec->order;
	size_t len = strlen(order.comment);

	order.kinds = kind;
	order.compress = compressed(s->spec, kind);
	if (kind == DUMP_FULL && order.snapshot != SNAPSHOT_STOP && !s->spec->budget_given)
		order.pause_budget_ns = PAUSE_BUDGET_NS;
	if (m->cause.trigger)
		snprintf(order.comment + len, sizeof(order.comment) - len, "%s%s", len ? "; " : "", m->cause.words);
	return order;
}

static void begin_shot(void *arg, uint32_t events UNUSED)
{
	struct member *m = arg;
	struct series *s = m->series;
	uint32_t kind = m->step->shot[m->shot_no];
	struct shot_calls calls = { .ended = on_shot, .under_way = on_under_way, .arg = m };
	struct shot_spec spec = { .subject = &m->subject,
				  .place = &s->place,
				  .order = order_of(s, m, kind),
				  .give_up_ns = s->spec->give_up_ns };
	struct series_dump dump = dump_of(m);
	time_t now = time(NULL);
	struct err err = { .text = "" };
	int r;

	loop_remove(s->loop, m->gap_source);
	m->gap_source = NULL;
	if (m->shot_no == 0 || m->step->gap_ns)
		localtime_r(&now, &m->started);
	spec.name = name_of(s, m, kind);
	m->shot_ns = now_ns();
	if (m->shot_no == 0) /* it may have called exec since */
		proc_name(m->subject.proc.pid, m->subject.process, sizeof(m->subject.process));
	m->facts.pid = m->subject.proc.pid;
	process_read(m->subject.proc.dir_fd, &m->facts);
	s->calls->under_way(s->calls->arg, &dump); /* it begins */
	r = shot_begin(s->loop, &spec, &calls, &m->shot, &err);
	if (r < 0) {
		m->running = false;
		s->running--;
		failed(s, exit_code_of(r), err.text);
	}
}

/* ---- turns ---- */

static const struct series_step *step_of(const struct series_spec *spec, unsigned int turn)
{
	size_t i = 0;

	while (i + 1 < spec->step_count && turn >= spec->step[i].turns)
		turn -= spec->step[i++].turns;
	return &spec->step[i];
}

static void ask_turn(struct member *m)
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
	if (s->next_source || s->rounds >= s->wanted || !any_left(s) || s->awaited)
		return;
	if (loop_add_timer(s->loop, MAX(s->first_ns + s->rounds * s->spec->every_ns, now_ns()), 0, begin_round, s,
			   &s->next_source) < 0)
		failed(s, EXIT_REFUSED, "cannot wait for the next dump");
}

static void begin_turns(struct series *s)
{
	struct member *m;

	while (!s->ending && s->running < MAX(s->spec->concurrent, 1u) && (m = next_in_queue(s))) {
		m->queued = false;
		if (has_conditions(s) && s->turns >= s->wanted)
			continue;
		m->running = true;
		s->running++;
		m->begun_ns = now_ns();
		m->step = step_of(s->spec, has_conditions(s) ? s->turns++ : s->rounds - 1);
		m->shot_no = 0;
		begin_shot(m, 0);
	}
	if (!has_conditions(s) && !s->running && !s->ending)
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
			ask_turn(s->member[i]);
	}
	begin_turns(s);
}

/* ---- conditions ---- */

static void fired(struct member *m, struct trigger *trigger)
{
	struct series *s = m->series;

	m->cause.trigger = trigger_name(trigger->kind);
	trigger_value(trigger, m->cause.value, sizeof(m->cause.value));
	trigger_words(trigger, m->before.at_ns, m->cause.words, sizeof(m->cause.words));
	if (s->spec->avoid_outage && s->running >= MAX(s->spec->concurrent, 1u)) {
		say(s, SERIES_NOTE, "%s of process %d is left out: another dump is under way", m->cause.words,
		    m->subject.proc.pid);
		m->begun_ns = now_ns();
	} else {
		ask_turn(m);
	}
	trigger_fired(trigger);
}

/* One read of /proc for all of its conditions. */
static void sample(struct member *m)
{
	struct series *s = m->series;
	struct usage now;
	struct trigger *first = NULL;
	bool ready;

	if (usage_read(&m->meter, &now) < 0) {
		member_gone(m);
		return;
	}
	for (size_t i = 0; i < s->spec->trigger_count; i++) {
		if (trigger_feed(&m->trigger[i], m->before.parts ? &m->before : NULL, &now, s->cpus) && !first)
			first = &m->trigger[i];
	}
	m->before = now;
	ready = !m->running && !m->queued && (!m->begun_ns || now.at_ns >= m->begun_ns + s->spec->every_ns);
	if (first && ready && s->turns < s->wanted)
		fired(m, first);
}

static void tell_state(struct series *s)
{
	struct series_state state = {
		.taken = s->taken, .wanted = s->wanted, .awaited = s->awaited, .changed = s->changed
	};
	unsigned int nearest = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		state.processes += !m->ended;
		for (size_t k = 0; k < s->spec->trigger_count && !m->ended; k++) {
			unsigned int near = trigger_nearness(&m->trigger[k], m->before.at_ns);

			if (state.trigger && near <= nearest)
				continue;
			nearest = near;
			state.trigger = &m->trigger[k];
			state.subject = &m->subject;
		}
	}
	s->changed = false;
	s->calls->waiting(s->calls->arg, &state);
}

static void on_tick(void *arg, uint32_t events UNUSED)
{
	struct series *s = arg;
	bool awaited = s->awaited;
	struct err err = { .text = "" };
	int r;

	if (s->ending)
		return;
	r = look_for_members(s, &err);
	if (r < 0) {
		failed(s, exit_code_of(r), err.text);
		return;
	}
	if (awaited && !s->awaited)
		s->first_ns = now_ns();
	for (size_t i = 0; i < s->count && has_conditions(s); i++) {
		if (!s->member[i]->ended)
			sample(s->member[i]);
	}
	begin_turns(s);
	if (!s->running && !s->ending)
		tell_state(s);
}

/* ---- the whole ---- */

/* Once: what is under way is finished, the series ends. Twice: it is cancelled. */
static void on_signal(void *arg, uint32_t number)
{
	struct series *s = arg;
	bool again = s->signal != 0;

	s->ending = true;
	if (!again && s->running)
		say(s, SERIES_NOTE, "finishing the dump under way; once more cancels it");
	s->signal = (int)number;
	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		if (m->shot && again) {
			shot_cancel(m->shot);
		} else if (!m->shot && m->running) { /* between two shots */
			m->running = false;
			s->running--;
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
			say(s, SERIES_ERROR, "no process '%s' came in time", s->awaited);
		else
			say(s, SERIES_ERROR, "no condition was fulfilled in time: no dump was taken");
		worse(s, EXIT_NOTHING);
	}
	s->ending = true;
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
	if (r == 0)
		r = look_for_members(s, err);
	if (r == 0)
		r = place_open(s->spec->path, &s->place, err);
	s->place_open = r == 0;
	if (r == 0)
		r = check_names(s, err);
	if (r == 0)
		r = loop_add_signals(s->loop, ends, ARRAY_LEN(ends), on_signal, s, err);
	if (r < 0)
		return r;
	s->first_ns = now_ns();
	ticks = has_conditions(s) || s->spec->wait || s->spec->all;
	if (ticks)
		r = loop_add_timer(s->loop, s->first_ns, interval_ns, on_tick, s, NULL);
	if (r == 0 && s->spec->timeout_ns)
		r = loop_add_timer(s->loop, s->first_ns + s->spec->timeout_ns, 0, on_timeout, s, NULL);
	return r < 0 ? err_sys(err, r, "cannot wait") : 0;
}

static void tear_down(struct series *s)
{
	for (size_t i = 0; i < s->count; i++)
		member_free(s->member[i]);
	free(s->member);
	if (s->place_open)
		place_close(&s->place);
	loop_free(s->loop);
}

int series_run(const struct series_spec *spec, const struct series_calls *calls, int *ret_signal)
{
	struct series s = { .spec = spec, .calls = calls, .command = { .pidfd = -1 }, .wanted = series_turns(spec) };
	struct err err = { .text = "" };
	int r = set_up(&s, &err);

	if (r < 0) {
		say(&s, SERIES_ERROR, "%s", err.text);
		tear_down(&s);
		*ret_signal = 0;
		return exit_code_of(r);
	}
	dump_reap();
	begin_turns(&s);
	r = loop_run(s.loop);
	if (r == EXIT_DONE && !s.dumps && !s.signal) {
		say(&s, SERIES_ERROR, "every process ended before a dump was taken");
		r = EXIT_NOTHING;
	}
	if (s.signal && (s.wanted > 1 || has_conditions(&s)))
		say(&s, SERIES_NOTE, "%u of %u dumps taken", s.taken, s.wanted);
	tear_down(&s);
	*ret_signal = s.signal;
	return r < 0 ? EXIT_REFUSED : r;
}
