// SPDX-License-Identifier: MIT
/* The tick of a series: each process is read once, for all of its conditions. Trap: a
 * condition that is fulfilled too early after a dump is not forgotten, it still holds. */
#include "series_state.h"

#include "ktime.h"

#include <string.h>

const struct series_step *series_step_of(const struct series_spec *spec, unsigned int turn)
{
	size_t i = 0;

	while (i + 1 < spec->step_count && turn >= spec->step[i].turns)
		turn -= spec->step[i++].turns;
	return &spec->step[i];
}

/* ---- what is taken ---- */

static int shot_kind(const char *word, size_t len, uint32_t *ret_kind)
{
	static const struct {
		const char *word;
		uint32_t kind;
	} kinds[] = { { "mini", DUMP_MINI }, { "full", DUMP_FULL }, { "stacks", DUMP_STACKS } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strlen(kinds[i].word) == len && !strncmp(word, kinds[i].word, len))
			return *ret_kind = kinds[i].kind, 0;
	}
	return -EINVAL;
}

int series_plan(struct series_spec *s, const char *text, struct err *err)
{
	const char *p = text;

	for (;; p++) {
		struct series_step step = { .turns = 1, .shots = 1 };
		size_t len = strcspn(p, ","), digits = strspn(p, "0123456789");

		if (digits && digits < 6 && p[digits] == 'x') {
			step.turns = (unsigned int)strtoul(p, NULL, 10);
			p += digits + 1;
			len -= digits + 1;
		}
		if (shot_kind(p, len, &step.shot[0]) < 0 || step.turns < 1 || step.turns > SERIES_TURNS_MAX)
			return err_say(err, -EINVAL, "--series '%s': try '10xmini,1xfull' (mini, full, stacks)", text);
		if (s->step_count == ARRAY_LEN(s->step))
			return err_say(err, -EINVAL, "--series '%s': more than %zu parts", text, ARRAY_LEN(s->step));
		s->step[s->step_count++] = step;
		p += len;
		if (!*p)
			return 0;
	}
}

/* ---- the tick ---- */

/* Another one would have to wait: as many as may be are under way, or will be in a moment. */
static bool would_wait(const struct series *s)
{
	size_t n = s->running;

	for (size_t i = 0; i < s->count; i++)
		n += s->member[i]->queued && !s->member[i]->ended;
	return n >= MAX(s->spec->concurrent, 1u);
}

static void fired(struct member *m, struct trigger *trigger)
{
	struct series *s = m->series;

	m->cause.trigger = trigger_name(trigger->kind);
	m->cause.wall_ns = wall_ns();
	trigger_value(trigger, m->cause.value, sizeof(m->cause.value));
	trigger_words(trigger, m->before.at_ns, m->cause.words, sizeof(m->cause.words));
	if (s->spec->avoid_outage && would_wait(s)) {
		series_say(s, SERIES_NOTE, "%s of process %d is left out: another dump is under way", m->cause.words,
			   m->subject.proc.pid);
		m->begun_ns = now_ns();
	} else {
		series_ask_turn(m);
	}
	trigger_fired(trigger);
}

static uint64_t interval_ns(const struct series *s)
{
	return s->spec->interval_ns ? s->spec->interval_ns : SERIES_INTERVAL_NS;
}

/* One read of /proc for all of its conditions. */
static void sample(struct member *m)
{
	struct series *s = m->series;
	struct usage now;
	struct trigger *first = NULL;
	bool ready;

	if (usage_read(&m->meter, &now) < 0) {
		series_member_gone(m);
		return;
	}
	for (size_t i = 0; i < s->spec->trigger_count; i++) {
		if (trigger_feed(&m->trigger[i], m->before.parts ? &m->before : NULL, &now, s->cpus) && !first)
			first = &m->trigger[i];
	}
	m->before = now;
	/* A dump begins a moment after the tick that asked for it, and ticks are not equally long:
	 * a quarter of one early is the tick that was meant. */
	ready = !m->running && !m->queued &&
		(!m->begun_ns || now.at_ns + interval_ns(s) / 4 >= m->begun_ns + s->spec->every_ns);
	if (first && ready && s->turns < s->wanted)
		fired(m, first);
}

void series_tell_state(struct series *s)
{
	struct member *at = NULL;
	struct series_state state = { .taken = s->taken,
				      .wanted = series_wanted(s),
				      .on = series_has_events(s) ? &s->spec->order.on : NULL,
				      .next_ns = s->next_source ? s->first_ns + s->rounds * s->spec->every_ns : 0,
				      .awaited = s->awaited,
				      .changed = s->changed };
	unsigned int nearest = 0;

	if (!series_has_conditions(s) && !s->next_source && !s->awaited)
		return; /* the first dump begins in a moment */
	for (size_t i = 0; i < s->count; i++) {
		struct member *m = s->member[i];

		state.processes += !m->ended;
		state.attached += m->armed;
		for (size_t k = 0; k < s->spec->trigger_count && !m->ended; k++) {
			unsigned int near = trigger_nearness(&m->trigger[k], m->before.at_ns);

			if (state.trigger && near <= nearest)
				continue;
			nearest = near;
			state.trigger = &m->trigger[k];
			at = m;
		}
	}
	for (size_t i = 0; i < s->count && !at; i++)
		at = s->member[i]->ended ? NULL : s->member[i];
	if (at) {
		proc_name(at->subject.proc.pid, at->subject.process, sizeof(at->subject.process)); /* exec changes it */
		state.subject = &at->subject;
	}
	if (s->next_source)
		state.changed = false; /* each dump was told */
	s->changed = false;
	s->calls->waiting(s->calls->arg, &state);
}

void series_tick(void *arg, uint32_t events UNUSED)
{
	struct series *s = arg;
	bool awaited = s->awaited;
	struct err err = { .text = "" };
	int r;

	if (s->ending)
		return;
	r = series_look(s, &err);
	if (r < 0) {
		series_failed(s, exit_code_of(r), err.text);
		return;
	}
	if (awaited && !s->awaited)
		s->first_ns = now_ns();
	for (size_t i = 0; i < s->count; i++)
		series_guard(s->member[i]);
	for (size_t i = 0; i < s->count && s->spec->trigger_count; i++) {
		if (!s->member[i]->ended)
			sample(s->member[i]);
	}
	series_begin_turns(s);
	if (!s->running && !s->ending)
		series_tell_state(s);
}
