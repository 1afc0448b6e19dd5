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
#include "proc.h"
#include "process.h"
#include "request.h"
#include "verdict.h"
#include "waits.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

#define ANALYST_LATE_NS (20 * NSEC_PER_SEC) /* after the worker is through */

static int process_dir(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- making ---- */

static void client_words(struct trap *trap)
{
	char text[64];

	if (trap->incident->request.client) /* FastCGI says whose request it is */
		return;
	request_endpoint(&trap->hop[0].copy.client, NULL, text, sizeof(text));
	text_set(&trap->incident->request.client, strncmp(text, "tcp:", 4) ? text : text + 4);
}

static void process_words(struct process_facts *facts, pid_t pid)
{
	CLEAN(fd) int dir_fd = process_dir(pid);

	facts->pid = pid;
	if (dir_fd >= 0)
		process_read(dir_fd, facts);
}

static void host_words(struct incident *in)
{
	struct utsname un;

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
	in->reason = why == RULE_STATUS ? REASON_STATUS_CODE : REASON_TIME_TAKEN;
	in->limit_ns = trap->rule->time_taken_ns;
	in->status = record->kind == RECORD_STATUS ? (int)record->value : outer->status;
	in->elapsed_ns = record->at_ns > outer->begin_ns ? record->at_ns - outer->begin_ns : 0;
	in->fired_after_ns = now > outer->begin_ns ? now - outer->begin_ns : 0;
	in->trapped_wall_ns = wall - (now - record->at_ns);
	in->started_wall_ns = in->trapped_wall_ns - in->elapsed_ns;
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

		request_trace(&hop->copy, origin, hop->copied_ns, &wording, in);
		if (i) {
			snprintf(process, sizeof(process), "%s", in->chain[i].process ? in->chain[i].process : "?");
			snprintf(text, sizeof(text), "%s %d got the request", process, in->chain[i].pid);
			request_trace_mark(in, hop->copy.begin_ns - origin, "hop", text, in->chain[i - 1].via,
					   in->chain[i].pid, in->chain[i].tid);
		}
	}
	snprintf(text, sizeof(text), "rule '%s' fired: %s", in->rule, reason_name(in->reason));
	request_trace_mark(in, in->elapsed_ns, "trigger", text, NULL, in->holder_pid, in->holder_tid);
	if (in->ended) {
		snprintf(text, sizeof(text), "the reply was complete");
		request_trace_mark(in, in->time_taken_ns, "end", in->end_note ? in->end_note : text, NULL,
				   in->chain[0].pid, in->chain[0].tid);
	}
	request_trace_sort(in);
}

struct trap *trap_new(const struct trap_world *world, const struct rule *rule, enum rule_verdict why,
		      const struct record *record)
{
	struct trap *trap = calloc(1, sizeof(*trap));
	const struct hop_ref *holder;
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
	holder_find(trap, record);
	holder = &trap->hop[trap->hop_count - 1];
	wording = naming_words(trap->naming);
	client_words(trap);
	request_spending(&trap->hop[0].copy, &holder->copy, record->at_ns, holder->copied_ns, &wording, trap->incident);
	trace_words(trap);
	return trap;
}

void pair_drop(struct pair *pair)
{
	struct dump_result result;
	struct analysis none = { 0 };

	if (pair->job) {
		dump_cancel(pair->job);
		dump_finish(pair->job, true, &result);
	}
	if (pair->analyst) {
		analyst_cancel(pair->analyst, "not needed");
		analyst_read(pair->analyst, true, &none);
		analysis_done(&none);
	}
	*pair = (struct pair){ 0 };
}

int pair_start(struct pair *ret_pair, struct err *err)
{
	struct pair pair = { 0 };
	CLEAN(fd) int worker_fd = -1;
	int r = analyst_start(&worker_fd, &pair.analyst, err);

	if (r == 0)
		r = dump_start(-1, worker_fd, &pair.job, err);
	if (r < 0) {
		pair_drop(&pair);
		return r;
	}
	*ret_pair = pair;
	return 0;
}

void trap_free(struct trap *trap)
{
	if (!trap)
		return;
	for (size_t i = 0; i < trap->hop_count; i++) {
		if (trap->hop[i].held)
			tracer_release(trap->world->tracer, trap->hop[i].slot, trap->hop[i].gen);
	}
	if (trap->action) {
		action_abort(trap->action);
		scribe_write(trap->world->scribe, trap->entry, trap->incident, NULL, NULL, NULL);
	}
	if (trap->world->scribe)
		scribe_forget(trap->world->scribe, trap);
	loop_remove(trap->world->loop, trap->job_source);
	loop_remove(trap->world->loop, trap->analyst_source);
	pair_drop(&trap->pair);
	/* What the scribe is at becomes whole without us; the rest is removed. */
	if (trap->entry && (trap->writing || trap->stage == TRAP_STORED))
		store_entry_drop(trap->entry);
	else if (trap->entry)
		store_abort(trap->entry);
	naming_free(trap->naming);
	incident_free(trap->incident);
	free(trap);
}

/* ---- capture ---- */

/* Both the worker and the analyst are through, or were never there. */
static void capture_settle(struct trap *trap)
{
	if (trap->stage == TRAP_CAPTURING && !trap->pair.job && !trap->pair.analyst)
		trap->stage = TRAP_CAPTURED;
	trap->world->changed(trap->world->arg);
}

static void capture_failed(struct trap *trap, const char *why)
{
	text_set(&trap->incident->capture.failed, why);
	capture_settle(trap);
}

static void omissions(struct capture_facts *capture, const struct dump_result *result)
{
	const char *p = result->omitted, *stop = p + strnlen(p, sizeof(result->omitted));

	while (p < stop) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		const char *tab = memchr(p, '\t', (size_t)((nl ? nl : stop) - p));
		struct omission *o = tab ? list_add(&capture->omitted, &capture->omitted_count, sizeof(*o)) : NULL;

		if (o) {
			text_setf(&o->range, "%.*s", (int)(tab - p), p);
			text_setf(&o->why, "%.*s", (int)((nl ? nl : stop) - tab - 1), tab + 1);
		}
		p = nl ? nl + 1 : stop;
	}
	if (result->omitted_more) {
		struct omission *o = list_add(&capture->omitted, &capture->omitted_count, sizeof(*o));

		if (o) {
			text_setf(&o->range, "%u more", result->omitted_more);
			text_set(&o->why, "not listed one by one");
		}
	}
}

/* Was the request still being answered when the threads stood still? */
static bool still_running(struct trap *trap, uint64_t taken_ns)
{
	for (size_t i = 0; i < trap->hop_count; i += MAX(trap->hop_count - 1, (size_t)1)) {
		struct hop_ref *hop = &trap->hop[i];
		struct slot now;

		if (hop->ended) {
			if (hop->copy.end_ns <= taken_ns)
				return false;
		} else if (!tracer_slot(trap->world->tracer, hop->slot, hop->gen, &now) ||
			   (now.end_ns && now.end_ns <= taken_ns)) {
			return false;
		}
	}
	return true;
}

static void on_dump(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct capture_facts *capture = &trap->incident->capture;
	struct dump_result result;

	if (dump_finish(trap->pair.job, false, &result) == -EAGAIN)
		return;
	trap->pair.job = NULL;
	trap->job_done_ns = now_ns();
	loop_remove(trap->world->loop, trap->job_source);
	trap->job_source = NULL;
	capture->method = result.method;
	capture->pause_ns = result.pause_ns;
	capture->wall_ns = result.wall_ns;
	if (result.why_not_clone[0])
		text_set(&capture->why_not_clone, result.why_not_clone);
	if (result.code < 0)
		text_set(&capture->failed, result.error);
	if (result.stop_ns > trap->trigger_ns)
		capture->started_after_ns = result.stop_ns - trap->trigger_ns;
	if (result.taken_ns)
		capture->running_at_snapshot = still_running(trap, result.taken_ns);
	if (result.core_bytes && result.code == 0) {
		capture->core_bytes = result.core_bytes;
		capture->core_bytes_on_disk = result.core_bytes_on_disk;
		capture->core_complete = result.complete;
		omissions(capture, &result);
	} else {
		text_set(&capture->core_file, NULL);
		capture->core_kind = CORE_NONE;
	}
	if (!result.taken_ns && trap->pair.analyst)
		analyst_cancel(trap->pair.analyst, result.error[0] ? result.error : "nothing was captured");
	capture_settle(trap);
}

static void on_analysis(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct incident *in = trap->incident;
	CLEAN(fd) int dir_fd = -1;

	if (analyst_read(trap->pair.analyst, false, &in->analysis) == -EAGAIN)
		return;
	trap->pair.analyst = NULL;
	loop_remove(trap->world->loop, trap->analyst_source);
	trap->analyst_source = NULL;
	if (in->analysis.failed && in->capture.failed && !strcmp(in->capture.failed, strerror(EPIPE)))
		text_set(&in->capture.failed, in->analysis.failed);
	if (in->analysis.language)
		text_set(&in->process.language, in->analysis.language);
	dir_fd = process_dir(in->holder_pid);
	if (dir_fd >= 0)
		waits_name_fds(&in->analysis, dir_fd);
	capture_settle(trap);
}

void trap_check(struct trap *trap)
{
	if (trap->pair.analyst && !trap->pair.job && now_ns() - trap->job_done_ns > ANALYST_LATE_NS)
		analyst_cancel(trap->pair.analyst, "it took too long");
}

static int entry_begin(struct trap *trap)
{
	struct err err;

	if (store_begin(trap->world->store, trap->incident, &trap->entry, &err) == 0)
		return 0;
	trap->stage = TRAP_GONE;
	trap->world->config->failed(trap->world->config->arg, err.text);
	return -EIO;
}

static int order_capture(struct trap *trap, struct err *err)
{
	struct incident *in = trap->incident;
	const struct engine_config *config = trap->world->config;
	uint32_t core = trap->rule->capture & CAPTURE_CORE;
	struct dump_order order = {
		.pid = in->holder_pid,
		.holder_tid = in->holder_tid,
		.kinds = DUMP_STACKS | (core == CAPTURE_MINI ? DUMP_MINI
					: core		     ? DUMP_FULL
							     : 0),
		.snapshot = SNAPSHOT_AUTO,
		.pause_budget_ns = config->pause_budget_ns,
		.compress = config->compress,
		.max_bytes = config->core_max_bytes,
		.free_bytes = config->core_free_bytes,
		.free_percent = config->core_free_percent,
		.rate = config->core_rate,
	};
	CLEAN(fd) int dir_fd = process_dir(in->holder_pid);
	struct proc_stat stat;

	if (dir_fd < 0 || proc_stat_read(dir_fd, "stat", &stat) < 0)
		return err_say(err, -ESRCH, "process %d has ended", in->holder_pid);
	order.start_ticks = stat.start_ticks;
	snprintf(order.comment, sizeof(order.comment), "rule=%s id=%s reason=%s elapsed_ms=%.1f %s %s", in->rule,
		 in->id, reason_name(in->reason), ns_to_ms(in->elapsed_ns),
		 in->request.method ? in->request.method : "?", in->request.url ? in->request.url : "?");
	if (core) {
		snprintf(order.file, sizeof(order.file), "%s", config->compress ? "core.zst" : "core");
		text_set(&in->capture.core_file, order.file);
		in->capture.core_kind = core == CAPTURE_MINI ? CORE_MINI : CORE_FULL;
		return dump_order_send_dir(trap->pair.job, &order, store_entry_fd(trap->entry), err);
	}
	return dump_order_send(trap->pair.job, &order, err);
}

static int start_capture(struct trap *trap, struct err *err)
{
	const struct trap_world *world = trap->world;
	int r = trap->pair.job ? order_capture(trap, err) : -EPIPE;

	if (r == -EPIPE || r == -ECONNRESET) {
		/* None was kept warm, or it has died meanwhile. */
		pair_drop(&trap->pair);
		r = pair_start(&trap->pair, err);
		if (r == 0)
			r = order_capture(trap, err);
	}
	if (r == 0)
		r = loop_add_fd(world->loop, dump_fd(trap->pair.job), EPOLLIN, on_dump, trap, &trap->job_source);
	if (r == 0)
		r = loop_add_fd(world->loop, analyst_fd(trap->pair.analyst), EPOLLIN, on_analysis, trap,
				&trap->analyst_source);
	return r;
}

void trap_capture(struct trap *trap)
{
	const struct trap_world *world = trap->world;
	struct err err = { "" };
	int r;

	trap->pair = *world->warm;
	*world->warm = (struct pair){ 0 };
	trap->stage = TRAP_CAPTURING;
	/* Only a core needs the folder before the stop; the mkdir takes microseconds. */
	if (trap->rule->capture & CAPTURE_CORE && entry_begin(trap) < 0) {
		pair_drop(&trap->pair);
		world->changed(world->arg);
		return;
	}
	r = start_capture(trap, &err);
	process_words(&trap->incident->process, trap->incident->holder_pid);
	host_words(trap->incident);
	if (r == 0)
		return;
	loop_remove(world->loop, trap->job_source);
	loop_remove(world->loop, trap->analyst_source);
	trap->job_source = trap->analyst_source = NULL;
	pair_drop(&trap->pair);
	text_set(&trap->incident->capture.core_file, NULL);
	trap->incident->capture.core_kind = CORE_NONE;
	capture_failed(trap, err.text[0] ? err.text : strerror(-r));
}

void trap_capture_skip(struct trap *trap, const char *why)
{
	if (why)
		text_set(&trap->incident->suppressed, why);
	process_words(&trap->incident->process, trap->incident->holder_pid);
	host_words(trap->incident);
	trap->stage = TRAP_CAPTURED;
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
	tracer_slot(trap->world->tracer, hop->slot, hop->gen, &hop->copy);
	hop->copied_ns = now_ns();
	hop->ended = true;
	hop->held = false;
	tracer_release(trap->world->tracer, hop->slot, hop->gen);
	if (hop == &trap->hop[0]) {
		in->ended = true;
		in->status = hop->copy.status;
		in->time_taken_ns = hop->copy.end_ns > hop->copy.begin_ns ? hop->copy.end_ns - hop->copy.begin_ns : 0;
		in->request.request_bytes = hop->copy.request_bytes;
		in->request.response_bytes = hop->copy.reply_bytes;
		if (hop->copy.flags & SLOT_ABORTED)
			text_set(&in->end_note, "the connection was closed before the reply was complete");
		else if (hop->copy.flags & SLOT_END_INFERRED)
			text_set(&in->end_note, "the end is inferred: the reply's length is not known");
	}
	trace_words(trap);
	trap->dirty = true;
	return true;
}

/* ---- pages and action ---- */

static void on_action(void *arg)
{
	struct trap *trap = arg;

	trap->action = NULL;
	trap->action_over = true;
	trap->dirty = true;
	trap->world->changed(trap->world->arg);
}

static void start_action(struct trap *trap)
{
	struct incident *in = trap->incident;
	char core[PATH_MAX] = "", report[PATH_MAX];
	const char *path = store_entry_path(trap->entry);
	char **argv = NULL;
	struct err err;
	int r;

	if (in->capture.core_file)
		snprintf(core, sizeof(core), "%s/%s", path, in->capture.core_file);
	snprintf(report, sizeof(report), "%s/report.html", path);
	r = action_expand(trap->rule->action,
			  &(struct action_values){ .pid = in->holder_pid,
						   .tid = in->holder_tid,
						   .dump = core,
						   .id = in->id,
						   .rule = in->rule,
						   .reason = reason_name(in->reason),
						   .method = in->request.method,
						   .url = in->request.url,
						   .incident = path,
						   .report = report,
						   .status = in->status,
						   .elapsed_ms = ns_to_ms(in->elapsed_ns) },
			  &argv, &err);
	if (r == 0)
		r = action_start(trap->world->loop, argv, ACTION_TIME_LIMIT_NS, &in->action, on_action, trap,
				 &trap->action, &err);
	strings_free(argv);
	if (r < 0) {
		if (in->action.state == ACTION_NONE) {
			in->action.state = ACTION_FAILED;
			text_set(&in->action.why, err.text);
		}
		trap->action_over = true;
		trap->dirty = true;
	}
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
		if (trap->wants_action)
			start_action(trap);
		else
			trap->action_over = true;
	}
	trap->world->changed(trap->world->arg);
}

void trap_store(struct trap *trap)
{
	struct err err;
	int r;

	if (trap->writing || (!trap->entry && entry_begin(trap) < 0))
		return;
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
	return trap->stage == TRAP_STORED && trap->action_over && trap->hop[0].ended && !trap->dirty && !trap->writing;
}
