// SPDX-License-Identifier: MIT
/* Who is told what, and when. Rejected: a thread or a process per trap (one loop
 * keeps the order of events). Trap: a rule's limit counts per life of the process
 * that held the request, so it is keyed by pid and start time. */
#include "engine_inside.h"

#include "action.h"
#include "child.h"
#include "ktime.h"
#include "process.h"
#include "request.h"
#include "sample.h"
#include "trap.h"
#include "watched.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define SWEEP_NS (10 * NSEC_PER_SEC)
#define STATUS_LATE_NS NSEC_PER_SEC /* later than this a status's capture says nothing */

static void settle(void *arg);

/* ---- limits ---- */

static void capture_forgo(struct engine *engine, struct trap *trap, const char *why)
{
	quota_refund(engine->quota, trap->rule,
		     &(struct life){ .pid = trap->incident->holder_pid, .start_ticks = trap->holder_ticks },
		     trap->taken_ns);
	trap->taken_ns = 0;
	trap->repeats_left = 0;
	engine->totals.suppressed++;
	if (trap->wants_action && !trap->acted) {
		trap->wants_action = false;
		trap->incident->action.state = ACTION_LIMIT;
		text_set(&trap->incident->action.why, why);
	}
	trap_capture_skip(trap, why);
}

/* ---- traps ---- */

static void warm_up(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;
	struct err err;

	loop_remove(engine->loop, engine->warm_source);
	engine->warm_source = NULL;
	if (!engine->warm.job && !engine->finishing && pair_start(&engine->warm, &err) < 0)
		engine->config.failed(engine->config.arg, err.text);
}

/* Not at once: the processes just used are still at work. */
void engine_warm_up(struct engine *engine)
{
	if (!engine->warm_source && !engine->warm.job)
		loop_add_timer(engine->loop, now_ns() + 50 * NSEC_PER_MSEC, 0, warm_up, engine, &engine->warm_source);
}

/* Later looks come after what has just been trapped. */
static void capture_next(struct engine *engine)
{
	struct trap *next = NULL, *again = NULL;

	for (struct trap *t = engine->traps; t; t = t->next) {
		if (t->stage == TRAP_CAPTURING || sample_taking(t))
			return; /* one at a time on a host */
		if (t->stage == TRAP_CAPTURED && !t->writing)
			engine_dumped(engine, t);
		if (t->stage == TRAP_QUEUED && !next && !trap_waits_to_act(t))
			next = t;
		if (t->stage == TRAP_STORED && sample_due(t) && !again)
			again = t;
	}
	if (!next) {
		if (again) {
			sample_take(again);
			engine_warm_up(engine);
		}
		return;
	}
	/* A failing status is sent at the end anyway: what the process looks like just
	 * behind it is worth having. A slow request must still be running. */
	if (trap_request_over(next) && !next->acted &&
	    (next->incident->reason == REASON_TIME_TAKEN || now_ns() - next->trigger_ns > STATUS_LATE_NS)) {
		capture_forgo(engine, next, "the request ended before its turn to be captured came");
		return;
	}
	if (engine_overlaps_dump(engine, next,
				 &(struct life){ .pid = next->incident->holder_pid,
						 .start_ticks = next->holder_ticks })) {
		capture_forgo(engine, next, ENGINE_OVERLAPS);
		return;
	}
	if (trap_acts_first(next)) {
		capture_next(engine);
		return;
	}
	trap_capture(next);
	engine_warm_up(engine);
}

static void trap_tell(struct engine *engine, struct trap *trap)
{
	char path[4096];

	trap->told = true;
	engine->totals.trapped++;
	if (trap->incident->capture.failed)
		engine->totals.capture_failed++;
	if (!trap->incident->suppressed)
		quota_went(engine->quota, trap->rule->name, trap->incident->capture.failed);
	quota_paused(engine->quota, trap->taken_ns, trap->incident->capture.pause_ns);
	snprintf(path, sizeof(path), "%s", trap->entry ? store_entry_path(trap->entry) : "");
	engine->config.trapped(engine->config.arg, trap->incident, path);
}

static void samples_tell(struct engine *engine, struct trap *trap)
{
	for (size_t i = 0; i < trap->later_count; i++) {
		struct later *later = &trap->later[i];

		if (later->told || later->stage == LATER_DUE || later->stage == LATER_TAKING)
			continue;
		later->told = true;
		quota_paused(engine->quota, trap->taken_ns, trap->incident->sample[i].pause_ns);
		if (engine->config.sampled)
			engine->config.sampled(engine->config.arg, trap->incident, i, store_entry_path(trap->entry));
	}
}

/* The page that the caller names must be there: so first to disk, then told. */
static void trap_advance(struct engine *engine, struct trap *trap)
{
	if (trap->stage == TRAP_CAPTURED || (trap->stage == TRAP_STORED && trap->dirty))
		trap_store(trap);
	if (!trap->told && (trap->stage == TRAP_STORED || trap->stage == TRAP_GONE))
		trap_tell(engine, trap);
	if (trap->told && trap->stage == TRAP_STORED && !trap->dirty && !trap->writing)
		samples_tell(engine, trap);
	trap_act_due(trap);
	if (trap->stage == TRAP_STORED)
		sample_settle(trap);
}

static void traps_sweep(struct engine *engine)
{
	for (struct trap **at = &engine->traps; *at;) {
		struct trap *trap = *at;

		if (!trap_done(trap)) {
			at = &trap->next;
			continue;
		}
		if (trap->incident->ended && engine->config.ended) {
			engine->totals.ended++;
			engine->config.ended(engine->config.arg, trap->incident,
					     trap->entry ? store_entry_path(trap->entry) : "");
		}
		*at = trap->next;
		engine->trap_count--;
		trap_free(trap);
	}
	engine_retire(engine);
}

static bool captures_under_way(const struct engine *engine)
{
	for (const struct trap *t = engine->traps; t; t = t->next) {
		if (t->stage == TRAP_GONE
			    ? t->writing
			    : t->stage != TRAP_STORED || !t->action_over || t->dirty || t->writing || sample_busy(t))
			return true;
	}
	return false;
}

/* Looks at all traps; runs from the loop, never from inside one of their callbacks. */
static void settle(void *arg)
{
	struct engine *engine = arg;
	void (*done)(void *done_arg);

	capture_next(engine);
	for (struct trap *t = engine->traps; t; t = t->next)
		trap_advance(engine, t);
	traps_sweep(engine);
	capture_next(engine);
	if (engine->finishing && engine->done && !captures_under_way(engine)) {
		done = engine->done;
		engine->done = NULL;
		done(engine->done_arg);
	}
}

static void on_settle(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;

	loop_remove(engine->loop, engine->settle_source);
	engine->settle_source = NULL;
	settle(engine);
}

static void settle_soon(void *arg)
{
	struct engine *engine = arg;

	if (!engine->settle_source)
		loop_add_timer(engine->loop, 1, 0, on_settle, engine, &engine->settle_source);
}

void engine_settle_soon(struct engine *engine)
{
	settle_soon(engine);
}

/* ---- records ---- */

static void other_rules(struct engine *engine, struct trap *trap, const struct rule_input *input)
{
	for (size_t i = 0; i < engine->config.rules->count; i++) {
		const struct rule *rule = &engine->config.rules->rule[i];

		if (rule != trap->rule && rule_match(rule, input, NULL, 0) != RULE_NO)
			strings_add(&trap->incident->also_matched, rule->name);
	}
}

static void losses(struct engine *engine, struct incident *incident)
{
	struct tracer_totals totals;

	tracer_totals(engine->tracer, &totals);
	incident->losses.ring_lost = totals.counters.lost_ring;
	incident->losses.refused =
		totals.counters.refused + totals.counters.refused_conn + totals.counters.refused_queue;
	incident->losses.blind_io = totals.counters.blind;
}

static void on_shed(void *arg, enum budget_word word, enum detail detail, uint32_t spent_ppm)
{
	const struct engine *engine = arg;

	if (engine->config.shed)
		engine->config.shed(engine->config.arg, word, detail, spent_ppm);
}

/* What of the detail was off at any time since the request began. */
static void shed_words(struct engine *engine, struct trap *trap)
{
	unsigned int bits = tracer_shed(engine->tracer, trap->hop[0].copy.begin_ns);
	char text[64];

	details_format(bits, text, sizeof(text));
	text_set(&trap->incident->losses.shed, bits ? text : NULL);
}

static struct trap *trap_begin(struct engine *engine, const struct rule *rule, enum rule_verdict why,
			       const struct record *record, const struct rule_input *input)
{
	struct trap *trap = trap_new(&engine->world, rule, why, record);
	struct trap **at;
	const char *not_now;
	bool capture;
	char text[160];

	if (!trap) {
		tracer_release(engine->tracer, record->slot, record->gen);
		return NULL;
	}
	for (at = &engine->traps; *at; at = &(*at)->next)
		;
	*at = trap; /* oldest first */
	trap->number = engine->traps_made++;
	engine->trap_count++;
	not_now = engine_limit_check(engine, trap, rule, text, sizeof(text));
	capture = !not_now && rule->capture & CAPTURE_STOPS;
	trap->wants_action = !not_now && rule->action && engine->config.rules->actions_enabled;
	if (rule->action && !trap->wants_action) {
		struct action_facts *action = &trap->incident->action;

		action->state = not_now ? ACTION_LIMIT : ACTION_DISABLED;
		text_set(&action->why, not_now ? not_now : "'actions-enabled' is not set in the rules file");
	}
	if (capture) {
		trap->stage = TRAP_QUEUED;
		sample_repeat(trap, rule, record->at_ns);
		capture_next(engine);
	} else {
		if (not_now)
			engine->totals.suppressed++;
		trap_capture_skip(trap, not_now);
	}
	other_rules(engine, trap, input);
	losses(engine, trap->incident);
	shed_words(engine, trap);
	settle_soon(engine);
	return trap;
}

static struct trap *trap_of(struct engine *engine, const struct record *record)
{
	for (struct trap *t = engine->traps; t; t = t->next) {
		if (trap_has(t, record->slot, record->gen))
			return t;
	}
	return NULL;
}

static bool slot_owned(void *arg, uint32_t slot, uint64_t gen)
{
	struct engine *engine = arg;

	for (struct trap *t = engine->traps; t; t = t->next) {
		if (trap_owns(t, slot, gen))
			return true;
	}
	return false;
}

/* The inner slot of a status that led to nothing. */
static void inner_release(struct engine *engine, const struct record *record)
{
	if (record->inner_gen && !slot_owned(engine, record->inner_slot, record->inner_gen))
		tracer_release(engine->tracer, record->inner_slot, record->inner_gen);
}

_Static_assert(RULE_LIMIT_SERVER == LIMIT_CLOCK, "limits mean the same to both sides");

/* The first rule whose own moment this is and that has not looked at the request yet: a
 * rule that another one came before at its limit is not asked at a later one again. */
static const struct rule *rule_again(const struct engine *engine, const struct trap *trap, const struct record *record,
				     const struct rule_input *input, enum rule_verdict *ret_why)
{
	for (size_t i = 0; i < engine->config.rules->count; i++) {
		const struct rule *rule = &engine->config.rules->rule[i];
		struct rule_input at = *input;

		if (sample_has_rule(trap, rule))
			continue;
		if (record->kind == RECORD_LIMIT && rule_limit(rule) != record->value)
			continue;
		if (record->kind == RECORD_ENDED && !rule->aborted && !rule->response_bytes)
			continue;
		if (record->kind != RECORD_LIMIT && !rule->all)
			at.elapsed_ns = at.server_ns = 0;
		if (record->kind == RECORD_ENDED && !rule->all)
			at.status = 0;
		*ret_why = rule_match(rule, &at, NULL, 0);
		if (*ret_why != RULE_NO)
			return rule;
	}
	return NULL;
}

/* Trapped already: another rule may want to look at it, too. */
static void fire_again(struct engine *engine, struct trap *trap, const struct record *record)
{
	struct engine_asking asking = { .engine = engine, .slot = &trap->hop[0].copy };
	struct rule_input input;
	const struct rule *rule;
	enum rule_verdict why;
	struct slot slot;
	char text[160];

	if (engine->finishing)
		return;
	if (tracer_slot(engine->tracer, record->slot, record->gen, &slot))
		asking.slot = &slot; /* the copy is of the trigger, or of its end */
	engine_input(&asking, &trap->incident->request, record, &input);
	if (record->kind == RECORD_LIMIT)
		input.status = 0;
	rule = rule_again(engine, trap, record, &input, &why);
	if (rule)
		sample_add(trap, rule, why, record->at_ns, engine_limit_check(engine, trap, rule, text, sizeof(text)));
}

/* A limit passed, a status was sent, it ended: is it a failed request by some rule? */
static void on_fired(struct engine *engine, const struct record *record)
{
	struct request_info info = { 0 };
	enum rule_verdict why = RULE_NO;
	const struct rule *rule = NULL;
	struct trap *trap = trap_of(engine, record);
	struct slot slot;

	if (trap) {
		fire_again(engine, trap, record);
		inner_release(engine, record);
		return;
	}
	if (!engine->finishing &&
	    (record->kind != RECORD_LIMIT || tracer_alive(engine->tracer, record->slot, record->gen)) &&
	    tracer_slot(engine->tracer, record->slot, record->gen, &slot)) {
		struct engine_asking asking = { .engine = engine, .slot = &slot };
		struct rule_input input;

		request_describe(&slot, &info);
		request_client(&slot, &info);
		engine_input(&asking, &info, record, &input);
		rule = engine_match(engine, &input, &why);
		if (rule && !engine_has_room(engine))
			rule = NULL;
		if (rule)
			trap = trap_begin(engine, rule, why, record, &input);
	}
	if (!rule)
		tracer_release(engine->tracer, record->slot, record->gen);
	else if (trap && record->kind == RECORD_OVER)
		trap_ended(trap, record); /* no other record says so */
	inner_release(engine, record);
	request_info_done(&info);
}

static void on_record(void *arg, const struct record *record)
{
	struct engine *engine = arg;

	switch (record->kind) {
	case RECORD_LIMIT:
	case RECORD_STATUS:
	case RECORD_MARK:
	case RECORD_OVER:
		on_fired(engine, record);
		break;
	case RECORD_ENDED:
		for (struct trap *t = engine->traps; t; t = t->next) {
			if (trap_ended(t, record)) {
				if (trap_has(t, record->slot, record->gen))
					fire_again(engine, t, record);
				shed_words(engine, t);
				settle_soon(engine);
				return;
			}
		}
		tracer_release(engine->tracer, record->slot, record->gen);
		break;
	default:
		watched_record(engine->watched, record);
		break;
	}
}

static void on_process_come(void *arg, pid_t pid)
{
	struct engine *engine = arg;

	if (engine->host_log)
		host_log_note(engine->host_log, pid);
}

static void on_tick(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;

	tracer_tick(engine->tracer);
	engine_tell_crowded(engine);
	engine_books_write(engine);
	child_sweep();
	if (engine->host_log)
		host_log_tick(engine->host_log);
}

static void on_sweep(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;

	tracer_sweep(engine->tracer, slot_owned, engine);
	if (quota_throttled(engine->quota))
		engine_keep(engine); /* has the disk room again? */
	watched_probe(engine->watched);
	for (struct trap *t = engine->traps; t; t = t->next)
		trap_check(t);
}

static void on_ring(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;

	tracer_poll(engine->tracer);
}

/* ---- processes ---- */

static void on_process_end(void *arg, pid_t pid)
{
	struct engine *engine = arg;

	quota_gone(engine->quota, pid);
}

static void on_all_gone(void *arg)
{
	struct engine *engine = arg;

	if (engine->config.targets_gone)
		engine->config.targets_gone(engine->config.arg);
}

/* A blind spot is told when it is there, not only counted when something is in it. */
static void ring_words(struct engine *engine, pid_t pid)
{
	bool counted = !strcmp(tracer_hooks_name(engine->tracer), "sock");
	char text[192];

	if (engine->ring_told || !process_has_ring(pid))
		return;
	engine->ring_told = true;
	snprintf(text, sizeof(text), "process %d has an io_uring: requests that it receives by that are not seen%s",
		 pid, counted ? ", but counted as 'blind'" : "");
	engine->config.failed(engine->config.arg, text);
}

int engine_add_process(struct engine *engine, pid_t pid, struct err *err)
{
	int r = watched_add(engine->watched, pid, err);

	if (r == 0)
		ring_words(engine, pid);
	return r;
}

int engine_older(struct engine *engine, struct err *err)
{
	return tracer_older(engine->tracer, err);
}

/* ---- life ---- */

static bool want_status(void *arg, int status)
{
	struct engine *engine = arg;

	return rules_want_status(engine->config.rules, status);
}

static void want_over(void *arg, bool *ret_aborted, uint64_t *ret_bytes)
{
	struct engine *engine = arg;

	*ret_aborted = rules_want_aborted(engine->config.rules);
	*ret_bytes = rules_want_size(engine->config.rules);
}

static enum severity want_mark(void *arg)
{
	struct engine *engine = arg;

	return rules_want_mark(engine->config.rules);
}

static void on_tell(void *arg, const char *text)
{
	struct engine *engine = arg;

	engine->config.failed(engine->config.arg, text);
}

static int engine_open(struct engine *engine, struct err *err)
{
	struct tracer_config tc = { .hooks = engine->config.hooks,
				    .slots = engine->config.slots,
				    .map_share = engine->config.map_share,
				    .want_status = want_status,
				    .want_over = want_over,
				    .want_mark = want_mark,
				    .record = on_record,
				    .budget_ppm = engine->config.budget_ppm,
				    .shed = on_shed,
				    .tell = on_tell,
				    .arg = engine };
	uint64_t limits[LIMITS_MAX];
	struct rlimit files;
	int r;

	/* A pidfd per watched process. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	r = rules_limits(engine->config.rules, limits, LIMITS_MAX);
	if (r < 0)
		return err_say(err, r, "more than %d different 'time-taken' limits", LIMITS_MAX);
	tc.limits = limits;
	rules_areas(engine->config.rules, &tc.areas);
	tc.limit_count = (size_t)r;
	r = store_open(engine->config.store_dir, true, &engine->store, err);
	if (r < 0)
		return r;
	r = scribe_start(engine->loop, store_path(engine->store), &engine->scribe, err);
	if (r < 0)
		return r;
	engine_books_open(engine);
	r = tracer_open(&tc, &engine->tracer, err);
	if (engine_captures(engine->config.rules))
		engine->host_log = host_log_new();
	if (r == 0)
		r = watched_new(&(struct watched_config){ .loop = engine->loop,
							  .tracer = engine->tracer,
							  .came = on_process_come,
							  .gone = on_process_end,
							  .all_gone = on_all_gone,
							  .arg = engine },
				&engine->watched, err);
	if (r < 0)
		return r;
	r = loop_add_fd(engine->loop, tracer_fd(engine->tracer), EPOLLIN, on_ring, engine, &engine->ring_source);
	if (r < 0)
		return err_sys(err, r, "cannot watch the ring buffer");
	/* Not allowed: then a trap on a busy host is a few milliseconds late, no more. */
	if (!engine->config.normal_priority)
		loop_urgent(engine->loop, engine->ring_source);
	r = loop_add_timer(engine->loop, now_ns() + SWEEP_NS, SWEEP_NS, on_sweep, engine, &engine->sweep_source);
	if (r == 0)
		r = loop_add_timer(engine->loop, now_ns() + NSEC_PER_SEC, NSEC_PER_SEC, on_tick, engine,
				   &engine->tick_source);
	if (r < 0)
		return err_sys(err, r, "cannot set a timer");
	engine->world = (struct trap_world){ .loop = engine->loop,
					     .tracer = engine->tracer,
					     .store = engine->store,
					     .scribe = engine->scribe,
					     .config = &engine->config,
					     .warm = &engine->warm,
					     .actions = &engine->actions,
					     .recent = engine->recent,
					     .host_log = engine->host_log,
					     .changed = settle_soon,
					     .arg = engine };
	if (engine_captures(engine->config.rules))
		return pair_start(&engine->warm, err);
	return 0;
}

int engine_new(struct loop *loop, const struct engine_config *config, struct engine **ret_engine, struct err *err)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int r;

	if (!engine)
		return err_sys(err, -ENOMEM, "cannot start");
	engine->loop = loop;
	engine->config = *config;
	engine->quota = quota_new();
	r = engine->quota ? engine_open(engine, err) : err_sys(err, -ENOMEM, "cannot start");
	if (r < 0) {
		engine_free(engine);
		return r;
	}
	*ret_engine = engine;
	return 0;
}

static void give_up(void *arg, uint32_t events UNUSED)
{
	struct engine *engine = arg;
	void (*done)(void *done_arg) = engine->done;
	bool waiting = false;

	/* Actions are killed first: their end is still written down. */
	for (struct trap *t = engine->traps; t && !engine->given_up; t = t->next) {
		if (t->action) {
			action_kill(t->action);
			waiting = true;
		}
	}
	engine->given_up = true;
	if (waiting)
		return; /* the timer comes again */
	engine->done = NULL;
	if (done)
		done(engine->done_arg);
}

void engine_finish(struct engine *engine, uint64_t deadline_ns, void (*done)(void *arg), void *arg)
{
	engine->finishing = true;
	engine->done = done;
	engine->done_arg = arg;
	for (struct trap *t = engine->traps; t; t = t->next) {
		if (!t->incident->ended) {
			text_set(&t->incident->end_note, "still running when the watch ended");
			t->dirty = true;
		}
		/* What waits for its turn is not begun any more. */
		if (t->stage == TRAP_QUEUED)
			capture_forgo(engine, t, "the watch ended before its turn");
		sample_forgo(t, "the watch ended before its turn");
	}
	loop_add_timer(engine->loop, deadline_ns, 2 * NSEC_PER_SEC, give_up, engine, &engine->deadline_source);
	settle_soon(engine);
}

void engine_totals(struct engine *engine, struct engine_totals *ret_totals)
{
	struct tracer_totals t;

	tracer_totals(engine->tracer, &t);
	*ret_totals = engine->totals;
	ret_totals->requests = t.counters.requests;
	ret_totals->inner = t.counters.inner;
	ret_totals->lost_ring = t.counters.lost_ring;
	ret_totals->lost_trigger = t.counters.lost_trigger;
	ret_totals->lost_map = t.counters.slot_lost + t.counters.lost_link + t.missed;
	ret_totals->refused = t.counters.refused + t.counters.refused_conn + t.counters.refused_queue;
	ret_totals->blind = t.counters.blind + t.counters.bad_read;
	ret_totals->head_cut = t.counters.head_cut;
	ret_totals->in_flight = t.in_flight;
	ret_totals->older = t.counters.older;
	ret_totals->older_in_flight = t.older_in_flight;
	ret_totals->complete = t.counters.complete;
	ret_totals->inferred = t.counters.inferred;
	ret_totals->actions = engine->actions;
	ret_totals->aborted = t.counters.aborted;
	ret_totals->gap = t.counters.gap;
	ret_totals->unseen = t.counters.unseen;
	ret_totals->discarded = t.counters.discarded;
	ret_totals->refused_slot = t.counters.refused;
	ret_totals->refused_conn = t.counters.refused_conn;
	ret_totals->refused_queue = t.counters.refused_queue;
	ret_totals->cpu_ns_per_request = t.metered_requests ? t.request_ns / t.metered_requests : 0;
	ret_totals->sched_ns = t.sched_ns;
	ret_totals->sched_runs = t.sched_runs;
	ret_totals->watched_ns = t.watched_ns;
	memcpy(ret_totals->area, t.area, sizeof(t.area));
	memcpy(ret_totals->latency, t.counters.latency, sizeof(ret_totals->latency));
	memcpy(ret_totals->shed_ns, t.shed_ns, sizeof(t.shed_ns));
	ret_totals->spent_ppm = t.spent_ppm;
}

struct tracer *engine_tracer(struct engine *engine)
{
	return engine->tracer;
}

const char *engine_hooks_name(const struct engine *engine)
{
	return tracer_hooks_name(engine->tracer);
}

void engine_free(struct engine *engine)
{
	struct trap *next_trap;

	if (!engine)
		return;
	for (struct trap *t = engine->traps; t; t = next_trap) {
		next_trap = t->next;
		trap_free(t);
	}
	engine->traps = NULL;
	engine_input_done(engine);
	watched_free(engine->watched);
	pair_drop(&engine->warm);
	beyond_recent_done(engine->recent);
	loop_remove(engine->loop, engine->ring_source);
	loop_remove(engine->loop, engine->warm_source);
	loop_remove(engine->loop, engine->settle_source);
	loop_remove(engine->loop, engine->deadline_source);
	loop_remove(engine->loop, engine->sweep_source);
	loop_remove(engine->loop, engine->tick_source);
	tracer_close(engine->tracer);
	engine_books_write(engine);
	if (scribe_end(engine->scribe) < 0)
		engine->config.failed(engine->config.arg,
				      "the disk is so slow that what is left to write is not waited for");
	store_free(engine->store);
	host_log_free(engine->host_log);
	quota_free(engine->quota);
	engine_retire(engine);
	free(engine->retired);
	free(engine);
}
