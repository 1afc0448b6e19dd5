// SPDX-License-Identifier: MIT
/* A later look is a capture of stacks like the first; of its threads the holder's is
 * kept. Rejected: an incident for each (the page that says 'hung' must show what 'slow'
 * saw), and all threads of all looks (megabytes that nobody compares). Trap: the holder
 * may be another by now: who has the request is asked anew each time. */
#include "sample.h"

#include "ktime.h"

#include <string.h>

#define SAMPLES_MOST 1000

static struct later_look *sample_of(struct trap *trap, const struct later *later)
{
	return &trap->incident->sample[later - trap->later];
}

bool sample_has_rule(const struct trap *trap, const struct rule *rule)
{
	for (size_t i = 0; i < trap->later_count; i++) {
		if (trap->later[i].rule == rule)
			return true;
	}
	return trap->rule == rule;
}

/* The oldest call of a request that is still being answered on this host. */
static bool oldest_call(struct tracer *tracer, uint32_t *slot, uint64_t *gen)
{
	uint64_t oldest_ns = UINT64_MAX, found_gen = 0;
	const struct slot *s;
	uint32_t found = 0;

	for (uint32_t i = 0; (s = tracer_next(tracer, &i)); i++) {
		if (s->parent_slot != *slot || s->parent_gen != *gen || s->begin_ns >= oldest_ns)
			continue;
		oldest_ns = s->begin_ns;
		found = i;
		found_gen = s->gen;
	}
	if (found_gen) {
		*slot = found;
		*gen = found_gen;
	}
	return found_gen != 0;
}

/* As long as nobody else has moved bytes for it, it is who was found at the trap: that
 * took a longer look than this. */
static void holder_now(struct trap *trap, struct later_look *sample)
{
	const struct hop_ref *last = &trap->hop[trap->hop_count - 1];
	uint32_t slot = trap->hop[0].slot;
	uint64_t gen = trap->hop[0].gen;
	struct slot copy;

	for (int i = 1; i < TRAP_HOPS && oldest_call(trap->world->tracer, &slot, &gen); i++)
		;
	if (!tracer_slot(trap->world->tracer, slot, gen, &copy))
		copy = trap->hop[0].copy;
	if (slot == last->slot && gen == last->gen && copy.tid == last->copy.tid) {
		sample->pid = trap->incident->holder_pid;
		sample->tid = trap->incident->holder_tid;
		return;
	}
	sample->pid = (pid_t)copy.pid;
	sample->tid = (pid_t)copy.tid;
}

static struct later *later_add(struct trap *trap, const struct rule *rule, uint64_t at_ns)
{
	struct incident *in = trap->incident;
	uint64_t begin_ns = trap->hop[0].copy.begin_ns;
	struct later *later;
	struct later_look *sample;

	if (in->sample_count >= SAMPLES_MOST)
		return NULL;
	later = list_add(&trap->later, &trap->later_count, sizeof(*later));
	if (!later)
		return NULL;
	sample = list_add(&in->sample, &in->sample_count, sizeof(*sample));
	if (!sample) {
		trap->later_count--;
		return NULL;
	}
	later->rule = rule;
	sample->at_ns = at_ns > begin_ns ? at_ns - begin_ns : 0;
	text_set(&sample->rule, rule->name);
	holder_now(trap, sample);
	return later;
}

static void later_done(struct trap *trap, struct later *later, const char *failed)
{
	if (failed)
		text_set(&sample_of(trap, later)->failed, failed);
	later->stage = later->wants_action ? LATER_ACTS : LATER_DONE;
	trap_refresh(trap);
	trap->dirty = true;
	trap->world->changed(trap->world->arg);
}

void sample_add(struct trap *trap, const struct rule *rule, enum rule_verdict why, uint64_t at_ns, const char *not_now)
{
	struct later *later = later_add(trap, rule, at_ns);
	struct later_look *sample;

	if (!later)
		return;
	sample = sample_of(trap, later);
	sample->reason = rule_reason(why);
	sample->limit_ns = rule->time_taken_ns;
	later->wants_action = !not_now && rule->action && trap->world->config->rules->actions_enabled;
	if (not_now || !(rule->capture & CAPTURE_STOPS)) {
		later_done(trap, later, not_now);
		return;
	}
	later->stage = LATER_DUE;
	sample_repeat(trap, rule, at_ns);
	trap->world->changed(trap->world->arg);
}

/* ---- again and again ---- */

static void on_repeat(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct later *later;

	if (trap->repeats_left && !trap_request_over(trap) && !sample_due(trap)) {
		later = later_add(trap, trap->repeat_rule, now_ns());
		if (later) {
			sample_of(trap, later)->repeat = true;
			sample_of(trap, later)->limit_ns = trap->repeat_rule->time_taken_ns;
			later->stage = LATER_DUE;
			trap->repeats_left--;
		}
	}
	if (!trap->repeats_left || trap_request_over(trap)) {
		loop_remove(trap->world->loop, trap->repeat_source);
		trap->repeat_source = NULL;
	}
	trap->world->changed(trap->world->arg);
}

void sample_repeat(struct trap *trap, const struct rule *rule, uint64_t from_ns)
{
	if (rule->samples < 2)
		return;
	loop_remove(trap->world->loop, trap->repeat_source);
	trap->repeat_source = NULL;
	trap->repeat_rule = rule;
	trap->repeats_left = rule->samples - 1;
	if (loop_add_timer(trap->world->loop, from_ns + rule->every_ns, rule->every_ns, on_repeat, trap,
			   &trap->repeat_source) < 0)
		trap->repeats_left = 0;
}

/* ---- one look ---- */

static struct later *later_in(const struct trap *trap, enum later_stage stage)
{
	for (size_t i = 0; i < trap->later_count; i++) {
		if (trap->later[i].stage == stage)
			return &trap->later[i];
	}
	return NULL;
}

bool sample_due(const struct trap *trap)
{
	return later_in(trap, LATER_DUE);
}

bool sample_taking(const struct trap *trap)
{
	return later_in(trap, LATER_TAKING);
}

bool sample_busy(const struct trap *trap)
{
	return sample_due(trap) || sample_taking(trap) || later_in(trap, LATER_ACTS);
}

/* Both the worker and the analyst are through. */
static void look_settle(struct trap *trap)
{
	struct later *later = later_in(trap, LATER_TAKING);

	if (later && !trap->pair.job && !trap->pair.analyst)
		later_done(trap, later, NULL);
}

static void on_dump(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct later *later = later_in(trap, LATER_TAKING);
	struct dump_result result;
	struct later_look *sample;

	if (!trap_dump_take(trap, &result))
		return;
	sample = sample_of(trap, later);
	sample->pause_ns = result.pause_ns;
	trap->incident->capture.pause_ns += result.pause_ns;
	if (result.code < 0)
		text_set(&sample->failed, result.error);
	look_settle(trap);
}

/* ---- all threads over the looks ---- */

void sample_begin(struct trap *trap)
{
	struct proc proc;

	if ((trap->rule->samples < 2 && trap->world->config->rules->count < 2) ||
	    proc_open(&proc, trap->incident->holder_pid, NULL) < 0)
		return;
	moment_done(&trap->from);
	moment_read(&proc, MOMENT_CPU, &trap->from, NULL);
	proc_close(&proc);
}

/* Most are where they were the last time: asked from there on. */
static struct thread_use *use_find(struct incident *in, pid_t tid, size_t *hint)
{
	for (size_t n = 0; n < in->thread_use_count; n++) {
		size_t at = (*hint + n) % in->thread_use_count;

		if (in->thread_use[at].tid != tid)
			continue;
		*hint = at + 1;
		return &in->thread_use[at];
	}
	return NULL;
}

static struct thread_use *use_of(struct incident *in, const struct thread *t, size_t *hint)
{
	struct thread_use *use = use_find(in, t->tid, hint);

	if (!use)
		use = list_add(&in->thread_use, &in->thread_use_count, sizeof(*use));
	if (use && !use->tid) {
		use->tid = t->tid;
		text_set(&use->comm, t->comm);
	}
	return use;
}

static void use_look(struct incident *in, const struct analysis *a)
{
	size_t hint = 0, first = 0;

	for (size_t n = 0; n < a->thread_count; n++) {
		const struct thread *t = &a->thread[n], *then = NULL;
		struct thread_use *use = use_of(in, t, &hint);

		for (size_t k = 0; k < in->analysis.thread_count && !then; k++) {
			size_t at = (first + k) % in->analysis.thread_count;

			then = in->analysis.thread[at].tid == t->tid ? &in->analysis.thread[at] : NULL;
			first = then ? at + 1 : first;
		}
		if (!use)
			continue;
		use->looks++;
		use->same += then && (then == t || thread_same_place(then, t));
	}
}

/* Both are in the order of the tids. */
static void use_cpu(struct incident *in, const struct moment *from, const struct proc *proc)
{
	struct moment now = { 0 };
	size_t hint = 0;

	if (!from->parts || moment_read(proc, MOMENT_CPU, &now, NULL) < 0)
		return;
	for (size_t a = 0, b = 0; a < from->cpu_count && b < now.cpu_count;) {
		const struct thread_cpu *x = &from->cpu[a], *y = &now.cpu[b];
		bool same = x->tid == y->tid && x->start_ticks == y->start_ticks;
		struct thread_use *use = same ? use_find(in, x->tid, &hint) : NULL;

		if (use) {
			use->cpu_ns = y->cpu_ns - MIN(x->cpu_ns, y->cpu_ns);
			use->over_ns = now.at_ns - from->at_ns;
		}
		a += x->tid <= y->tid;
		b += y->tid <= x->tid;
	}
	moment_done(&now);
}

static void use_add(struct trap *trap, pid_t pid, const struct analysis *a)
{
	struct incident *in = trap->incident;
	struct proc proc;

	if (pid != in->holder_pid || !in->analysis.thread_count || !a->thread_count)
		return;
	if (!in->thread_use_count)
		use_look(in, &in->analysis);
	use_look(in, a);
	if (proc_open(&proc, pid, NULL) == 0) {
		use_cpu(in, &trap->from, &proc);
		proc_close(&proc);
	}
}

static void on_analysis(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct later_look *sample = sample_of(trap, later_in(trap, LATER_TAKING));
	struct analysis analysis = { 0 };

	if (!trap_analysis_take(trap, sample->pid, &analysis))
		return;
	if (analysis.failed && !sample->failed)
		text_set(&sample->failed, analysis.failed);
	use_add(trap, sample->pid, &analysis);
	for (size_t i = 0; i < analysis.thread_count; i++) {
		struct thread *thread = &analysis.thread[i];

		if (thread->tid != sample->tid || sample->thread.tid)
			continue;
		sample->thread = *thread;
		*thread = (struct thread){ 0 };
	}
	if (!sample->thread.tid && !sample->failed)
		text_set(&sample->failed, "the request's thread was not among those that stood still");
	analysis_done(&analysis);
	look_settle(trap);
}

void sample_take(struct trap *trap)
{
	struct later *later = later_in(trap, LATER_DUE);
	struct later_look *sample = sample_of(trap, later);
	struct err err = { "" };
	int r;

	/* All but a time limit comes at the end: what the thread does just behind it is worth having. */
	if (trap_request_over(trap) && sample->reason == REASON_TIME_TAKEN) {
		later_done(trap, later, "the request ended before its turn to be looked at came");
		return;
	}
	holder_now(trap, sample);
	later->stage = LATER_TAKING;
	r = trap_capture_start(trap,
			       &(struct capture_wish){ .pid = sample->pid,
						       .tid = sample->tid,
						       .bits = sample->repeat ? CAPTURE_STACKS : later->rule->capture,
						       .arguments = later->rule->arguments,
						       .on_dump = on_dump,
						       .on_analysis = on_analysis },
			       &err);
	if (r < 0)
		later_done(trap, later, err.text[0] ? err.text : strerror(-r));
}

void sample_forgo(struct trap *trap, const char *why)
{
	struct later *later;

	trap->repeats_left = 0;
	while ((later = later_in(trap, LATER_DUE))) {
		later->wants_action = false;
		later_done(trap, later, why);
	}
}

/* ---- actions ---- */

void sample_settle(struct trap *trap)
{
	struct later *later = later_in(trap, LATER_ACTS);

	if (!later || trap->action || !trap->action_over || trap_actions_full(trap))
		return;
	trap->action_over = false;
	trap->later_acts = later - trap->later + 1;
	trap_act(trap, later->rule, &trap->later_action);
}

void sample_acted(struct trap *trap)
{
	if (!trap->later_acts)
		return;
	trap->incident->sample[trap->later_acts - 1].action = trap->later_action;
	trap->later[trap->later_acts - 1].stage = LATER_DONE;
	trap->later_action = (struct action_facts){ 0 };
	trap->later_acts = 0;
}
