// SPDX-License-Identifier: MIT
/* The order to the worker and what comes back from it and from the analyst: for the
 * capture at the trigger, and for the later ones. Trap: a worker that was kept warm may
 * have died meanwhile, which shows only when it is given its order. */
#include "trap.h"

#include "ktime.h"
#include "proc.h"
#include "request.h"
#include "sample.h"
#include "waits.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>

#define ANALYST_LATE_NS (20 * NSEC_PER_SEC) /* after the worker is through */

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

/* ---- capture ---- */

/* Worker, analyst, the walk behind the holder and the look around are through, or were never there. */
static void capture_settle(struct trap *trap)
{
	if (trap->stage == TRAP_CAPTURING && !trap->pair.job && !trap->pair.analyst && !trap->walk && !trap->scene)
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

/* The worker is through: what it says of the core, too. */
bool trap_dump_take(struct trap *trap, struct dump_result *ret_result)
{
	struct capture_facts *capture = &trap->incident->capture;
	struct dump_result *result = ret_result;

	if (dump_finish(trap->pair.job, false, result) == -EAGAIN)
		return false;
	trap->pair.job = NULL;
	trap->job_done_ns = now_ns();
	loop_remove(trap->world->loop, trap->job_source);
	trap->job_source = NULL;
	if (trap->core_asked && result->core_bytes && result->code == 0) {
		capture->core_bytes = result->core_bytes;
		capture->core_bytes_on_disk = result->core_bytes_on_disk;
		capture->core_complete = result->complete;
		omissions(capture, result);
	} else if (trap->core_asked) {
		text_set(&capture->core_file, NULL);
		capture->core_kind = CORE_NONE;
	}
	if (!result->taken_ns && trap->pair.analyst)
		analyst_cancel(trap->pair.analyst, result->error[0] ? result->error : "nothing was captured");
	return true;
}

bool trap_analysis_take(struct trap *trap, pid_t pid, struct analysis *ret_analysis)
{
	CLEAN(fd) int dir_fd = -1;

	if (analyst_read(trap->pair.analyst, false, ret_analysis) == -EAGAIN)
		return false;
	trap->pair.analyst = NULL;
	loop_remove(trap->world->loop, trap->analyst_source);
	trap->analyst_source = NULL;
	dir_fd = proc_dir_open(pid);
	if (dir_fd >= 0)
		waits_name_fds(ret_analysis, dir_fd);
	return true;
}

static void on_dump(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct capture_facts *capture = &trap->incident->capture;
	struct dump_result result;

	if (!trap_dump_take(trap, &result))
		return;
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
	capture_settle(trap);
}

/* ---- beyond the holder ---- */

static void put_request(const struct slot *slot, struct beyond *row)
{
	struct request_info info = { 0 };

	request_describe(slot, &info);
	/* what comes behind the path may be a secret */
	if (info.method && info.url)
		text_setf(&row->request, "%s %.*s", info.method, (int)MIN(strcspn(info.url, "?"), (size_t)200),
			  info.url);
	row->request_age_ns = now_ns() - MIN(slot->begin_ns, now_ns());
	request_info_done(&info);
}

/* What a process further on works on: the request that came on that socket; else the only one
 * that it has, or that thread. */
static void work_of(void *arg, struct beyond *row, uint64_t socket)
{
	struct trap *trap = arg;
	uint32_t found = 0, count = 0;
	const struct slot *s;
	uint64_t gen = 0;
	struct slot *copy;

	for (uint32_t i = 0; (s = tracer_next(trap->world->tracer, &i)); i++) {
		bool exact = socket && s->ino == socket;

		if ((pid_t)s->pid != row->pid || (row->tid && (pid_t)s->tid != row->tid))
			continue;
		found = i;
		gen = s->gen;
		count = exact ? 1 : count + 1;
		if (exact)
			break;
	}
	copy = count == 1 ? malloc(sizeof(*copy)) : NULL;
	if (copy && tracer_slot(trap->world->tracer, found, gen, copy) && (pid_t)copy->pid == row->pid) {
		row->tid = (pid_t)copy->tid;
		put_request(copy, row);
	}
	free(copy);
}

static void on_walked(void *arg)
{
	struct trap *trap = arg;

	beyond_free(trap->walk);
	trap->walk = NULL;
	capture_settle(trap);
}

/* Before anything else: who is waited for may let go any moment. */
static void walk_begin(struct trap *trap)
{
	struct incident *in = trap->incident;

	if (!(trap->rule->capture & CAPTURE_STACKS) || !in->holder.certain || trap_request_over(trap))
		return;
	trap->walk = beyond_begin(&(struct beyond_spec){ .loop = trap->world->loop,
							 .incident = in,
							 .tid = in->holder_tid,
							 .pause_budget_ns = trap->world->config->pause_budget_ns,
							 .recent = trap->world->recent,
							 .work = work_of,
							 .done = on_walked,
							 .arg = trap });
}

static void on_scene(void *arg)
{
	capture_settle(arg);
}

static void on_analysis(void *arg, uint32_t events UNUSED)
{
	struct trap *trap = arg;
	struct incident *in = trap->incident;

	if (!trap_analysis_take(trap, in->holder_pid, &in->analysis))
		return;
	if (in->analysis.language)
		text_set(&in->process.language, in->analysis.language);
	walk_begin(trap);
	trap_scene_look(trap, on_scene);
	capture_settle(trap);
}

void trap_check(struct trap *trap)
{
	if (trap->pair.analyst && !trap->pair.job && now_ns() - trap->job_done_ns > ANALYST_LATE_NS)
		analyst_cancel(trap->pair.analyst, "it took too long");
}

static int order_capture(struct trap *trap, const struct capture_wish *wish, struct err *err)
{
	struct incident *in = trap->incident;
	const struct engine_config *config = trap->world->config;
	uint32_t core = trap->core_asked ? wish->bits & CAPTURE_CORE : 0;
	struct dump_order order = {
		.pid = wish->pid,
		.holder_tid = wish->tid,
		.kinds = DUMP_STACKS | (core == CAPTURE_MINI ? DUMP_MINI
					: core		     ? DUMP_FULL
							     : 0),
		.snapshot = SNAPSHOT_AUTO,
		.pause_budget_ns = config->pause_budget_ns,
		.arguments = wish->arguments,
		.compress = config->compress,
		.max_bytes = config->core_max_bytes,
		.free_bytes = config->core_free_bytes,
		.free_percent = config->core_free_percent,
		.rate = config->core_rate,
	};
	CLEAN(fd) int dir_fd = proc_dir_open(wish->pid);
	struct proc_stat stat;

	if (dir_fd < 0 || proc_stat_read(dir_fd, "stat", &stat) < 0)
		return err_say(err, -ESRCH, "process %d has ended", wish->pid);
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

static int start_capture(struct trap *trap, const struct capture_wish *wish, struct err *err)
{
	const struct trap_world *world = trap->world;
	int r = trap->pair.job ? order_capture(trap, wish, err) : -EPIPE;

	if (r == -EPIPE || r == -ECONNRESET) {
		/* None was kept warm, or it has died meanwhile. */
		pair_drop(&trap->pair);
		r = pair_start(&trap->pair, err);
		if (r == 0)
			r = order_capture(trap, wish, err);
	}
	if (r == 0)
		r = loop_add_fd(world->loop, dump_fd(trap->pair.job), EPOLLIN, wish->on_dump, trap, &trap->job_source);
	if (r == 0)
		r = loop_add_fd(world->loop, analyst_fd(trap->pair.analyst), EPOLLIN, wish->on_analysis, trap,
				&trap->analyst_source);
	return r;
}

int trap_capture_start(struct trap *trap, const struct capture_wish *wish, struct err *err)
{
	const struct trap_world *world = trap->world;
	int r;

	trap->pair = *world->warm;
	*world->warm = (struct pair){ 0 };
	/* One core is kept of an incident. */
	trap->core_asked = wish->bits & CAPTURE_CORE && !trap->incident->capture.core_file;
	r = start_capture(trap, wish, err);
	if (r == 0)
		return 0;
	loop_remove(world->loop, trap->job_source);
	loop_remove(world->loop, trap->analyst_source);
	trap->job_source = trap->analyst_source = NULL;
	pair_drop(&trap->pair);
	if (trap->core_asked) {
		text_set(&trap->incident->capture.core_file, NULL);
		trap->incident->capture.core_kind = CORE_NONE;
	}
	return r;
}

void trap_capture(struct trap *trap)
{
	const struct trap_world *world = trap->world;
	struct err err = { "" };
	int r;

	trap->stage = TRAP_CAPTURING;
	/* Only a core needs the folder before the stop; the mkdir takes microseconds. */
	if (trap->rule->capture & CAPTURE_CORE && trap_entry_begin(trap) < 0) {
		world->changed(world->arg);
		return;
	}
	r = trap_capture_start(trap,
			       &(struct capture_wish){ .pid = trap->incident->holder_pid,
						       .tid = trap->incident->holder_tid,
						       .bits = trap->rule->capture,
						       .arguments = trap->rule->arguments,
						       .on_dump = on_dump,
						       .on_analysis = on_analysis },
			       &err);
	trap_surroundings(trap->incident);
	if (r == 0) {
		trap_scene_prepare(trap);
		sample_begin(trap);
	}
	if (r < 0)
		capture_failed(trap, err.text[0] ? err.text : strerror(-r));
}

void trap_capture_skip(struct trap *trap, const char *why)
{
	if (why)
		text_set(&trap->incident->suppressed, why);
	trap_surroundings(trap->incident);
	trap->stage = TRAP_CAPTURED;
}
