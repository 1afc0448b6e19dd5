// SPDX-License-Identifier: MIT
/* What stands around a trapped request's holder is looked at when the threads go on: the
 * stacks say which descriptors they wait for. Trap: the requests in flight are noted once,
 * for a look at each slot for each process of a large pool would take a tenth of a second. */
#include "trap.h"

#include "ktime.h"
#include "moment.h"
#include "proc.h"
#include "query.h"
#include "request.h"
#include "scene.h"

#include <string.h>

struct busy {
	pid_t pid;
	uint32_t slot;
	uint64_t gen, ino;
};

struct trap_scene {
	struct trap *trap;
	struct scene_look *look;
	struct moment before;
	struct busy *busy;
	size_t busy_count;
	void (*done)(void *arg);
};

static bool put_request(const struct trap_scene *ts, const struct busy *b, char *buf, size_t size)
{
	CLEAN(free) struct slot *slot = malloc(sizeof(*slot));
	struct request_info info = { 0 };
	bool known;

	if (!slot || !tracer_slot(ts->trap->world->tracer, b->slot, b->gen, slot))
		return false;
	request_describe(slot, &info);
	known = info.method && info.url;
	/* what comes behind the path may be a secret */
	if (known)
		snprintf(buf, size, "%s %.*s", info.method, (int)MIN(strcspn(info.url, "?"), (size_t)200), info.url);
	request_info_done(&info);
	return known;
}

static bool work_of(void *arg, pid_t pid, uint64_t ino, char *buf, size_t size)
{
	const struct trap_scene *ts = arg;

	for (size_t i = 0; i < ts->busy_count; i++) {
		const struct busy *b = &ts->busy[i];

		if (b->pid == pid && (!ino || b->ino == ino) && put_request(ts, b, buf, size))
			return true;
	}
	return false;
}

static void busy_read(struct trap_scene *ts)
{
	const struct slot *s;

	for (uint32_t i = 0; (s = tracer_next(ts->trap->world->tracer, &i)); i++) {
		struct busy *b = list_add(&ts->busy, &ts->busy_count, sizeof(*b));

		if (!b)
			return;
		*b = (struct busy){ .pid = (pid_t)s->pid, .slot = i, .gen = s->gen, .ino = s->ino };
	}
}

/* ---- what was asked ---- */

static void asked_words(const struct trap_scene *ts)
{
	const struct trap *trap = ts->trap;
	const struct hop_ref *hop = &trap->hop[trap->hop_count - 1];
	struct scene *scene = &trap->incident->scene;
	struct asked asked = { .fd = -1 };
	struct query query;

	if (!tracer_asked(trap->world->tracer, hop->slot, hop->gen, &asked) ||
	    (pid_t)hop->copy.pid != trap->incident->holder_pid)
		asked.fd = -1;
	for (size_t i = 0; i < scene->end_count; i++) {
		struct open_end *end = &scene->end[i];
		uint16_t port = scene_port(end->what);

		if (end->mine)
			continue;
		if (end->fd != asked.fd || !query_read(asked.bytes, asked.len, port, trap->rule->statements, &query))
			continue;
		text_set(&end->protocol, query.protocol);
		if (query.text[0])
			text_setf(&end->statement, "%s%s", query.text,
				  query.cut || asked.total > asked.len ? " ..." : "");
	}
}

static void on_done(void *arg)
{
	struct trap_scene *ts = arg;
	struct trap *trap = ts->trap;
	void (*done)(void *arg) = ts->done;

	asked_words(ts);
	trap_scene_free(ts);
	trap->scene = NULL;
	done(trap);
}

/* The order is out: while the threads are being stopped, how much CPU they had until now. */
void trap_scene_prepare(struct trap *trap)
{
	struct trap_scene *ts = calloc(1, sizeof(*ts));
	struct proc proc;

	trap_scene_free(trap->scene);
	trap->scene = ts;
	if (!ts)
		return;
	ts->trap = trap;
	if (proc_open(&proc, trap->incident->holder_pid, NULL) < 0)
		return;
	moment_read(&proc, MOMENT_CPU, &ts->before, NULL);
	proc_close(&proc);
}

void trap_scene_look(struct trap *trap, void (*done)(void *arg))
{
	const struct hop_ref *hop = &trap->hop[trap->hop_count - 1];
	bool mine = (pid_t)hop->copy.pid == trap->incident->holder_pid;
	struct trap_scene *ts = trap->scene;

	if (!ts)
		return;
	ts->done = done;
	busy_read(ts);
	ts->look = scene_begin(&(struct scene_spec){ .loop = trap->world->loop,
						     .incident = trap->incident,
						     .fd = mine ? hop->copy.fd : -1,
						     .ino = mine ? hop->copy.ino : 0,
						     .waited_fd = mine && hop->copy.up_waiting ? hop->copy.up_fd : -1,
						     .since_ns = trap->hop[0].copy.begin_ns,
						     .log = trap->world->host_log,
						     .before = ts->before.parts ? &ts->before : NULL,
						     .work = work_of,
						     .done = on_done,
						     .arg = ts });
	if (!ts->look) {
		trap_scene_free(ts);
		trap->scene = NULL;
	}
}

void trap_scene_free(struct trap_scene *ts)
{
	if (!ts)
		return;
	scene_free(ts->look);
	moment_done(&ts->before);
	free(ts->busy);
	free(ts);
}
