// SPDX-License-Identifier: MIT
/* The order of things: the target first (the order to the warm worker goes out before
 * anything is written), then the facts, then the disk. Rejected: waiting for the
 * request's end before the page is written (it may take minutes). */
#include "trap.h"

#include "action.h"
#include "holder.h"
#include "journal.h"
#include "ktime.h"
#include "naming.h"
#include "notes.h"
#include "proc.h"
#include "process.h"
#include "request.h"
#include "sample.h"
#include "verdict.h"
#include "waits.h"

#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

/* ---- making ---- */

void trap_surroundings(struct incident *in)
{
	CLEAN(fd) int dir_fd = proc_dir_open(in->holder_pid);
	struct utsname un;

	in->process.pid = in->holder_pid;
	if (dir_fd >= 0)
		process_read(dir_fd, &in->process);
	if (uname(&un) == 0) {
		text_set(&in->host_name, un.nodename);
		text_setf(&in->kernel, "%s %s", un.release, un.machine);
	}
	text_set(&in->version, REQTRAP_VERSION);
}

static void trigger_words(struct trap *trap, enum rule_verdict why, const struct record *record)
{
	const struct slot *outer = &trap->hop[0].copy;
	struct incident *in = trap->incident;
	uint64_t now = now_ns(), wall = wall_ns();

	text_set(&in->rule, trap->rule->name);
	in->reason = rule_reason(why);
	in->limit_ns = trap->rule->time_taken_ns;
	in->limit_server = trap->rule->server_time;
	in->server_ns = outer->server_ns;
	in->severity = outer->severity;
	in->status = record->kind == RECORD_STATUS ? (int)record->value : outer->status;
	in->elapsed_ns = record->at_ns > outer->begin_ns ? record->at_ns - outer->begin_ns : 0;
	in->fired_after_ns = now > outer->begin_ns ? now - outer->begin_ns : 0;
	in->trapped_wall_ns = wall - (now - record->at_ns);
	in->started_wall_ns = in->trapped_wall_ns - in->elapsed_ns;
}

/* Has the thread no other request? Then all it does is done for this one. */
static bool loop_alone(struct trap *trap, const struct hop_ref *hop)
{
	const struct slot *s;

	for (uint32_t i = 0; (s = tracer_next(trap->world->tracer, &i)); i++) {
		if (s->tid == hop->copy.tid && i != hop->slot)
			return false;
	}
	return true;
}

static struct holding holding_of(struct trap *trap, const struct hop_ref *hop)
{
	return (struct holding){ .slot = &hop->copy,
				 .index = hop->slot,
				 .loop = hop->loop.tid && hop->loop.tid == hop->copy.tid ? &hop->loop : NULL,
				 .alone = loop_alone(trap, hop),
				 .copied_ns = hop->copied_ns };
}

static void trace_words(struct trap *trap)
{
	struct wording wording = naming_words(trap->naming);
	uint64_t origin = trap->hop[0].copy.begin_ns;
	struct incident *in = trap->incident;
	char text[160], process[64];

	request_trace_clear(in);
	for (size_t i = 0; i < trap->hop_count; i++) {
		const struct hop_ref *hop = &trap->hop[i];

		request_trace(&hop->copy, hop->then, origin, hop->copied_ns, &wording, in);
		if (hop->notes)
			notes_trace(hop->notes, (pid_t)hop->copy.pid, origin, hop->copied_ns, &trap->rule->areas, in);
		if (i + 1 == trap->hop_count) {
			struct holding holding = holding_of(trap, hop);

			request_trace_turns(&holding, origin, in);
		}
		if (i) {
			snprintf(process, sizeof(process), "%s", in->chain[i].process ? in->chain[i].process : "?");
			snprintf(text, sizeof(text), "%s %d got the request", process, in->chain[i].pid);
			request_trace_mark(in, hop->copy.begin_ns - origin, "hop", text, in->chain[i - 1].via,
					   in->chain[i].pid, in->chain[i].tid);
		}
	}
	snprintf(text, sizeof(text), "rule '%s' fired: %s", in->rule, reason_name(in->reason));
	request_trace_mark(in, in->elapsed_ns, "trigger", text, NULL, in->holder_pid, in->holder_tid);
	for (size_t i = 0; i < in->sample_count; i++) {
		const struct later_look *s = &in->sample[i];

		snprintf(text, sizeof(text), s->repeat ? "rule '%s' looks again" : "rule '%s' fired too", s->rule);
		request_trace_mark(in, s->at_ns, "sample", text, s->repeat ? NULL : reason_name(s->reason), s->pid,
				   s->tid);
	}
	if (in->ended) {
		snprintf(text, sizeof(text), "the reply was complete");
		request_trace_mark(in, in->time_taken_ns, "end", in->end_note ? in->end_note : text, NULL,
				   in->chain[0].pid, in->chain[0].tid);
	}
	notes_hide(&trap->rule->areas, in);
	request_name_trace(in);
	request_trace_sort(in);
}

/* The slot as it is now. False: it is another request's. */
static bool hop_copy(struct trap *trap, struct hop_ref *hop)
{
	struct slot *then = hop->then ? NULL : malloc(sizeof(*then));

	if (then) {
		*then = hop->copy;
		hop->then = then;
	}
	if (!tracer_slot(trap->world->tracer, hop->slot, hop->gen, &hop->copy))
		return false;
	hop->copied_ns = now_ns();
	return true;
}

void trap_refresh(struct trap *trap)
{
	for (size_t i = 0; i < trap->hop_count; i++) {
		struct hop_ref *hop = &trap->hop[i];

		if (!hop->ended)
			hop_copy(trap, hop);
	}
	trace_words(trap);
}

struct trap *trap_new(const struct trap_world *world, const struct rule *rule, enum rule_verdict why,
		      const struct record *record)
{
	struct trap *trap = calloc(1, sizeof(*trap));
	struct holding holding[TRAP_HOPS];
	struct wording wording;

	if (!trap)
		return NULL;
	trap->world = world;
	trap->rule = rule;
	trap->trigger_ns = record->at_ns;
	trap->incident = incident_new();
	trap->naming = naming_new();
	if (!trap->incident || !trap->naming || !holder_hop(trap, record->slot, record->gen)) {
		trap_free(trap);
		return NULL;
	}
	trigger_words(trap, why, record);
	request_describe(&trap->hop[0].copy, &trap->incident->request);
	request_client(&trap->hop[0].copy, &trap->incident->request);
	holder_find(trap, record);
	wording = naming_words(trap->naming);
	for (size_t i = 0; i < trap->hop_count; i++)
		holding[i] = holding_of(trap, &trap->hop[i]);
	request_spending(holding, trap->hop_count, record->at_ns, &wording, trap->incident);
	trace_words(trap);
	return trap;
}

void trap_free(struct trap *trap)
{
	if (!trap)
		return;
	for (size_t i = 0; i < trap->hop_count; i++) {
		if (trap->hop[i].held)
			tracer_release(trap->world->tracer, trap->hop[i].slot, trap->hop[i].gen);
		free(trap->hop[i].notes);
		free(trap->hop[i].then);
	}
	if (trap->action) {
		action_abort(trap->action);
		--*trap->world->actions;
		sample_acted(trap);
		if (trap->stage == TRAP_STORED)
			scribe_write(trap->world->scribe, trap->entry, trap->incident, NULL, NULL, NULL);
	}
	if (trap->stage == TRAP_STORED && !trap->action && !trap->action_over) {
		trap->incident->action.state = ACTION_LIMIT;
		text_set(&trap->incident->action.why, "the watch ended before its turn");
		scribe_write(trap->world->scribe, trap->entry, trap->incident, NULL, NULL, NULL);
	}
	loop_remove(trap->world->loop, trap->repeat_source);
	free(trap->later);
	moment_done(&trap->from);
	if (trap->world->scribe)
		scribe_forget(trap->world->scribe, trap);
	loop_remove(trap->world->loop, trap->job_source);
	loop_remove(trap->world->loop, trap->analyst_source);
	pair_drop(&trap->pair);
	beyond_free(trap->walk);
	/* What the scribe is at becomes whole without us; the rest is removed. */
	if (trap->entry && (trap->writing || trap->stage == TRAP_STORED))
		store_entry_drop(trap->entry);
	else if (trap->entry)
		store_abort(trap->entry);
	trap_scene_free(trap->scene);
	naming_free(trap->naming);
	incident_free(trap->incident);
	free(trap);
}

/* ---- the request's end ---- */

bool trap_has(const struct trap *trap, uint32_t slot, uint64_t gen)
{
	return trap->hop[0].slot == slot && trap->hop[0].gen == gen;
}

static struct hop_ref *held_hop(struct trap *trap, uint32_t slot, uint64_t gen)
{
	for (size_t i = 0; i < trap->hop_count; i++) {
		if (trap->hop[i].slot == slot && trap->hop[i].gen == gen)
			return trap->hop[i].held ? &trap->hop[i] : NULL;
	}
	return NULL;
}

bool trap_owns(struct trap *trap, uint32_t slot, uint64_t gen)
{
	return held_hop(trap, slot, gen) != NULL;
}

bool trap_request_over(const struct trap *trap)
{
	return trap->hop[0].ended;
}

bool trap_ended(struct trap *trap, const struct record *record)
{
	struct incident *in = trap->incident;
	struct hop_ref *hop = held_hop(trap, record->slot, record->gen);

	if (!hop)
		return false;
	if (!hop_copy(trap, hop))
		hop->copied_ns = now_ns();
	free(hop->notes);
	hop->notes = tracer_notes(trap->world->tracer, hop->slot, hop->gen);
	hop->ended = true;
	hop->held = false;
	tracer_release(trap->world->tracer, hop->slot, hop->gen);
	if (hop == &trap->hop[0]) {
		in->ended = true;
		in->status = hop->copy.status;
		in->time_taken_ns = hop->copy.end_ns > hop->copy.begin_ns ? hop->copy.end_ns - hop->copy.begin_ns : 0;
		in->request.request_bytes = hop->copy.request_bytes;
		in->request.response_bytes = hop->copy.reply_bytes;
		if (hop->copy.flags & SLOT_GAP)
			text_set(&in->end_note, "not sure: bytes were not seen, or can be read in two ways");
		else if (hop->copy.flags & SLOT_ABORTED)
			text_set(&in->end_note, "the connection was closed before the reply was complete");
		else if (hop->copy.flags & SLOT_END_INFERRED)
			text_set(&in->end_note, "the end is inferred: the reply's length is not known");
	}
	trace_words(trap);
	trap->dirty = true;
	return true;
}

/* ---- pages and action ---- */

int trap_entry_begin(struct trap *trap)
{
	struct err err;

	if (store_begin(trap->world->store, trap->incident, &trap->entry, &err) == 0)
		return 0;
	trap->stage = TRAP_GONE;
	trap->world->config->failed(trap->world->config->arg, err.text);
	return -EIO;
}

static void on_action(void *arg)
{
	struct trap *trap = arg;

	trap->action = NULL;
	--*trap->world->actions;
	trap->action_over = true;
	if (trap->stage == TRAP_ACTING) {
		trap->stage = TRAP_QUEUED;
	} else {
		trap->dirty = true;
		sample_acted(trap);
	}
	trap->world->changed(trap->world->arg);
}

void trap_act(struct trap *trap, const struct rule *rule, struct action_facts *facts)
{
	struct incident *in = trap->incident;
	char core[PATH_MAX] = "", report[PATH_MAX];
	const char *path = trap->entry ? store_entry_path(trap->entry) : "";
	bool first = trap->stage == TRAP_ACTING;
	char **argv = NULL;
	struct err err;
	int r;

	if (in->capture.core_file)
		snprintf(core, sizeof(core), "%s/%s", path, in->capture.core_file);
	snprintf(report, sizeof(report), "%s/report.html", path);
	r = action_expand(rule->action,
			  &(struct action_values){ .pid = in->holder_pid,
						   .tid = in->holder_tid,
						   .dump = core,
						   .id = in->id,
						   .rule = rule->name,
						   .reason = reason_name(in->reason),
						   .method = in->request.method,
						   .url = in->request.url,
						   .incident = path,
						   .report = report,
						   .status = in->status,
						   .elapsed_ms = ns_to_ms(in->elapsed_ns) },
			  &argv, &err);
	if (r == 0)
		r = action_start(trap->world->loop,
				 &(struct action_spec){ .argv = argv,
							.user = rule->action_user,
							.limit_ns = rule_action_limit(rule),
							.grace_ns = first ? 0 : ACTION_GRACE_NS },
				 facts, on_action, trap, &trap->action, &err);
	strings_free(argv);
	*trap->world->actions += r == 0;
	if (r < 0) {
		if (facts->state == ACTION_NONE) {
			facts->state = ACTION_FAILED;
			text_set(&facts->why, err.text);
		}
		trap->action_over = true;
		trap->dirty = !first;
		if (!first)
			sample_acted(trap);
	}
}

bool trap_actions_full(const struct trap *trap)
{
	return *trap->world->actions >= ACTIONS_MOST;
}

void trap_act_due(struct trap *trap)
{
	if (trap->stage == TRAP_STORED && !trap->action && !trap->action_over && !trap_actions_full(trap))
		trap_act(trap, trap->rule, &trap->incident->action);
	else
		return;
	if (!trap->action) /* it could not be started, which the pages are to say */
		trap->world->changed(trap->world->arg);
}

static bool to_act_first(const struct trap *trap)
{
	return trap->wants_action && trap->rule->action_first && !trap->acted;
}

bool trap_waits_to_act(const struct trap *trap)
{
	return to_act_first(trap) && trap_actions_full(trap);
}

bool trap_acts_first(struct trap *trap)
{
	if (!to_act_first(trap))
		return false;
	trap->acted = true;
	trap->stage = TRAP_ACTING;
	trap_act(trap, trap->rule, &trap->incident->action);
	if (trap->action)
		return true;
	trap->stage = TRAP_QUEUED; /* it could not be started: no reason to capture nothing */
	return false;
}

static void store_failed(struct trap *trap, const char *text)
{
	trap->world->config->failed(trap->world->config->arg, text);
	if (trap->stage == TRAP_STORED)
		return; /* the older pages are whole */
	if (trap->entry)
		store_abort(trap->entry);
	trap->entry = NULL;
	trap->stage = TRAP_GONE;
}

static void tell_journal(const struct trap *trap)
{
	const struct incident *in = trap->incident;
	const struct engine_config *config = trap->world->config;
	CLEAN(free) char *path = NULL;
	struct err err;

	if (!in->capture.core_file || config->no_journal)
		return;
	text_setf(&path, "%s/%s", store_entry_path(trap->entry), in->capture.core_file);
	if (path && journal_core(JOURNAL_SOCKET,
				 &(struct journal_core){ .process = &in->process,
							 .path = path,
							 .kind = core_kind_name(in->capture.core_kind),
							 .wall_ns = in->trapped_wall_ns + in->capture.started_after_ns,
							 .pause_ns = in->capture.pause_ns,
							 .request_id = in->id,
							 .rule = in->rule,
							 .method = in->request.method,
							 .url = in->request.url,
							 .elapsed_ns = in->elapsed_ns },
				 &err) < 0)
		config->failed(config->arg, err.text);
}

static void on_written(void *arg, int code, const char *text)
{
	struct trap *trap = arg;
	const struct engine_config *config = trap->world->config;

	trap->writing = false;
	if (code < 0) {
		store_failed(trap, text);
	} else if (trap->stage == TRAP_CAPTURED) {
		store_entry_published(trap->entry);
		trap->stage = TRAP_STORED;
		tell_journal(trap);
		if (config->stored)
			config->stored(config->arg, trap->incident, store_entry_path(trap->entry));
		trap->action_over = !trap->wants_action || trap->acted;
	}
	trap->world->changed(trap->world->arg);
}

void trap_store(struct trap *trap)
{
	struct err err;
	int r;

	if (trap->writing || (!trap->entry && trap_entry_begin(trap) < 0))
		return;
	request_name_locks(trap->incident);
	request_name_trace(trap->incident);
	verdict_make(trap->incident);
	trap->writing = true;
	r = scribe_write(trap->world->scribe, trap->entry, trap->incident, on_written, trap, &err);
	trap->writing = r == 0;
	/* -EAGAIN: the scribe has its hands full; it is asked again when it has answered. */
	trap->dirty = r == -EAGAIN;
	if (r < 0 && r != -EAGAIN)
		store_failed(trap, err.text);
}

bool trap_done(const struct trap *trap)
{
	if (trap->stage == TRAP_GONE)
		return !trap->writing && trap->hop[0].ended;
	return trap->stage == TRAP_STORED && trap->action_over && trap->hop[0].ended && !trap->dirty &&
	       !trap->writing && !sample_busy(trap);
}
