// SPDX-License-Identifier: MIT
/* Rejected: letting the worker write under the final name (a name is taken only by a
 * whole dump: written under a hidden one, renamed without replacing). Trap: the worker
 * and the analyst end in any order; only both together are the end. */
#include "shot.h"

#include "analyst.h"
#include "ktime.h"
#include "trigger.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#define CANCEL_NS (3 * NSEC_PER_SEC) /* for a worker that was asked to end */

struct shot {
	struct shot_spec spec;
	struct shot_calls calls;
	struct loop *loop;
	struct dump_job *job; /* NULL: it has ended */
	struct analyst *analyst;
	struct source *job_source, *analyst_source, *give_up_source, *cancel_source;
	char part[48];	     /* the hidden name that dumps are written under: dump_part */
	unsigned int number; /* of the next dump of an order that waits */
	struct dump_result result;
	struct analysis analysis;
	bool given_up, cancelled;
};

static void remove_source(struct shot *shot, struct source **source)
{
	loop_remove(shot->loop, *source);
	*source = NULL;
}

static bool wants_core(const struct shot *shot)
{
	return shot->spec.order.kinds & DUMP_CORE;
}

static bool is_mini(const struct shot *shot)
{
	return shot->spec.order.kinds & DUMP_MINI;
}

/* The worker knows the hidden name only; the user is told the one that was meant. */
static void name_in_error(const struct shot *shot, const char *part, const char *text, int code, struct err *err)
{
	const char *at = part[0] ? strstr(text, part) : NULL;
	char name[NAME_MAX + 1];

	if (at && place_look(shot->spec.place, &shot->spec.name, name, sizeof(name), NULL) == 0)
		err_say(err, code, "%.*s%s%s", (int)(at - text), text, name, at + strlen(part));
	else if (code == -EBUSY) /* over the pause budget */
		err_say(err, code, "%s (%s)", text,
			is_mini(shot) ? "--stacks, --pause-budget D"
				      : "--mini, --stacks, --pause-budget D, --snapshot stop");
	else
		err_say(err, code, "%s", text);
}

static int name_core(struct shot *shot, const char *part, char *path, size_t size, struct err *err)
{
	const struct place *place = shot->spec.place;
	char name[NAME_MAX + 1];
	int r;

	if (shot->result.sentry.cause) { /* it waited for that */
		time_t when = (time_t)(shot->result.sentry.wall_ns / NSEC_PER_SEC);

		localtime_r(&when, &shot->spec.name.of.when);
		shot->spec.name.of.trigger = trigger_event(shot->result.sentry.cause);
		if (shot->result.sentry.signal)
			trigger_signal_name(shot->result.sentry.signal, shot->spec.name.of.signal,
					    sizeof(shot->spec.name.of.signal));
	}
	if (!shot->result.core_bytes)
		return err_say(err, -EOPNOTSUPP, "this version writes no %s dumps", is_mini(shot) ? "mini" : "full");
	r = place_take(place, part, &shot->spec.name, name, sizeof(name), err);
	if (r == 0)
		snprintf(path, size, "%s/%s", strcmp(place->dir, "/") ? place->dir : "", name);
	return r;
}

/* Only if it is there: a disk that hangs holds who would remove it. */
static void remove_part(const struct shot *shot, const char *part)
{
	int fd = shot->spec.place->dir_fd;

	if (faccessat(fd, part, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		unlinkat(fd, part, 0);
}

static void conclude(struct shot *shot, void (*tell)(void *arg, const struct shot_result *result))
{
	const struct subject *subject = shot->spec.subject;
	char path[PATH_MAX + NAME_MAX + 2] = "", part[64] = "";
	struct err err = { .text = "" };
	struct shot_result result = { .given_up = shot->given_up, .cancelled = shot->cancelled };

	if (shot->part[0])
		dump_part(part, sizeof(part), shot->part, shot->number);
	result.code = MIN(shot->result.code, 0);
	if (result.code == -ENODATA)
		err_sys(&err, result.code, "cannot take a dump of process %d '%s'", subject->proc.pid,
			subject->process);
	else if (result.code < 0)
		name_in_error(shot, part, shot->result.error, result.code, &err);
	else if (wants_core(shot))
		result.code = name_core(shot, part, path, sizeof(path), &err);
	if (result.code < 0 && part[0])
		remove_part(shot, part);
	result.text = err.text;
	result.dump = &shot->result;
	result.path = path[0] ? path : NULL;
	result.analysis = shot->spec.order.kinds & DUMP_STACKS ? &shot->analysis : NULL;
	tell(shot->calls.arg, &result);
}

static void end(struct shot *shot)
{
	conclude(shot, shot->calls.ended);
	shot_free(shot);
}

static void on_job(void *arg, uint32_t events UNUSED)
{
	struct shot *shot = arg;
	uint64_t done, total;
	int r = dump_finish(shot->job, false, &shot->result);

	if (r == 1) {
		conclude(shot, shot->calls.one);
		shot->number++;
		return;
	}
	if (r == -EAGAIN) {
		dump_progress(shot->job, &done, &total);
		shot->calls.under_way(shot->calls.arg, done, total);
		return;
	}
	remove_source(shot, &shot->job_source);
	remove_source(shot, &shot->give_up_source);
	remove_source(shot, &shot->cancel_source);
	shot->job = NULL;
	if (r < 0)
		shot->result = (struct dump_result){ .code = -ENODATA };
	if (!shot->analyst)
		end(shot);
	else if (shot->cancelled || shot->given_up)
		analyst_cancel(shot->analyst, "the dump was cancelled");
}

static void on_analyst(void *arg, uint32_t events UNUSED)
{
	struct shot *shot = arg;

	if (analyst_read(shot->analyst, false, &shot->analysis) == -EAGAIN)
		return;
	remove_source(shot, &shot->analyst_source);
	shot->analyst = NULL;
	if (!shot->job)
		end(shot);
}

static void on_cancel_late(void *arg, uint32_t events UNUSED)
{
	struct shot *shot = arg;

	if (shot->job)
		dump_cancel(shot->job); /* asked again: it is killed */
}

static void ask_to_end(struct shot *shot)
{
	if (!shot->job)
		return;
	dump_cancel(shot->job);
	if (!shot->cancel_source)
		loop_add_timer(shot->loop, now_ns() + CANCEL_NS, 0, on_cancel_late, shot, &shot->cancel_source);
}

void shot_cancel(struct shot *shot)
{
	shot->cancelled = true;
	ask_to_end(shot);
}

bool shot_waits(const struct shot *shot)
{
	return shot->job && dump_waits(shot->job);
}

static void on_give_up(void *arg, uint32_t events UNUSED)
{
	struct shot *shot = arg;

	shot->given_up = true;
	ask_to_end(shot);
}

static void name_part(struct shot *shot)
{
	unsigned int random = 0;

	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (unsigned int)now_ns();
	snprintf(shot->part, sizeof(shot->part), ".reqtrap-%d-%08x.part", getpid(), random);
}

static int begin(struct shot *shot, int worker_fd, struct err *err)
{
	struct dump_order order = shot->spec.order;
	int r;

	order.pid = shot->spec.subject->proc.pid;
	order.start_ticks = shot->spec.subject->proc.start_ticks;
	snprintf(order.file, sizeof(order.file), "%s", shot->part);
	r = dump_start(wants_core(shot) ? shot->spec.place->dir_fd : -1, worker_fd, &shot->job, err);
	if (r == 0)
		r = dump_order_send(shot->job, &order, err);
	if (r < 0)
		return r;
	r = loop_add_fd(shot->loop, dump_fd(shot->job), EPOLLIN, on_job, shot, &shot->job_source);
	if (r == 0 && shot->analyst)
		r = loop_add_fd(shot->loop, analyst_fd(shot->analyst), EPOLLIN, on_analyst, shot,
				&shot->analyst_source);
	if (r == 0 && shot->spec.give_up_ns)
		r = loop_add_timer(shot->loop, now_ns() + shot->spec.give_up_ns, 0, on_give_up, shot,
				   &shot->give_up_source);
	return r < 0 ? err_sys(err, r, "cannot wait for the dump") : 0;
}

int shot_begin(struct loop *loop, const struct shot_spec *spec, const struct shot_calls *calls, struct shot **ret_shot,
	       struct err *err)
{
	struct shot *shot = calloc(1, sizeof(*shot));
	CLEAN(fd) int fd = -1;
	int r = 0;

	if (!shot)
		return err_sys(err, -ENOMEM, "cannot begin the dump");
	*shot = (struct shot){ .spec = *spec, .calls = *calls, .loop = loop };
	if (wants_core(shot))
		name_part(shot);
	if (spec->order.kinds & DUMP_STACKS)
		r = analyst_start(&fd, &shot->analyst, err);
	if (r == 0)
		r = begin(shot, fd, err);
	if (r < 0)
		shot_free(shot);
	else
		*ret_shot = shot;
	return r;
}

void shot_free(struct shot *shot)
{
	if (!shot)
		return;
	remove_source(shot, &shot->job_source);
	remove_source(shot, &shot->analyst_source);
	remove_source(shot, &shot->give_up_source);
	remove_source(shot, &shot->cancel_source);
	if (shot->job) { /* something of ours failed while it ran */
		char part[64];

		dump_cancel(shot->job);
		while (dump_finish(shot->job, true, &shot->result) == 1)
			shot->number++;
		dump_part(part, sizeof(part), shot->part, shot->number);
		if (shot->part[0])
			remove_part(shot, part);
	}
	if (shot->analyst) {
		analyst_cancel(shot->analyst, "the dump was cancelled");
		analyst_read(shot->analyst, true, &shot->analysis);
	}
	analysis_done(&shot->analysis);
	free(shot);
}
