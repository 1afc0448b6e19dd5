// SPDX-License-Identifier: MIT
/* The trace says where the time went, the snapshot says where the thread stood; where
 * both agree the verdict is sure of itself. Rejected: judging by the stack alone (one
 * sample may be the exception). Trap: the longest wait is not the cause when it is only
 * a small part. */
#include "verdict.h"

#include "cause.h"
#include "ktime.h"

#include <string.h>

#define SENTENCE_MAX 2000
#define SURE_PERCENT 80 /* of the time taken, for 'high' */
#define MAIN_PERCENT 50 /* for 'medium' */

/* A name too long to be shown whole is left out, and that is said. */
static char *finish(struct buf *buf)
{
	bool cut = buf->full;
	char *text = buf_take(buf);

	if (cut && text)
		text_setf(&text, "%s ... (cut)", text);
	return text;
}

/* --- evidence --- */

static void add_line(struct incident *i, struct buf *line)
{
	char *text = finish(line);

	if (text && text[0])
		strings_add(&i->evidence, text);
	free(text);
}

static void add_spending(struct incident *i)
{
	static const char *const word[] = { "on CPU",	      "ready to run", "waiting",
					    "not attributed", "behind",	      "in its event loop" };
	struct buf line;

	buf_init(&line, PIECE_MAX);
	for (size_t k = 0; k < i->spending_count; k++) {
		const struct spending *s = &i->spending[k];
		unsigned int percent = i->elapsed_ns ? (unsigned int)(s->ns * 100 / i->elapsed_ns) : 0;

		if (percent == 0 && s->kind != SPEND_UNATTRIBUTED)
			continue;
		buf_adds(&line, line.len ? ", " : "Where the time went: ");
		buf_adds(&line, starts(s->call, STOPPED) ? s->call : word[s->kind]);
		if (s->call && !starts(s->call, STOPPED))
			buf_addf(&line, " in %s", s->call);
		if (s->object)
			buf_addf(&line, s->kind == SPEND_BEHIND || starts(s->call, STOPPED) ? " %s" : " on %s",
				 s->object);
		buf_adds(&line, " ");
		put_ns(&line, s->ns);
		buf_addf(&line, " (%u %%)", percent);
	}
	add_line(i, &line);
}

static void add_snapshot(struct incident *i, const struct view *v)
{
	struct buf line;

	buf_init(&line, PIECE_MAX);
	if (v->t) {
		buf_addf(&line, "At the snapshot thread %d ", v->t->tid);
		put_doing(&line, v->t);
		add_line(i, &line);
		buf_addf(&line, "The request was %s when the threads stood still",
			 i->capture.running_at_snapshot ? "still running" : "over");
		if (i->capture.started_after_ns)
			buf_addf(&line, ", %.1f ms after the trigger", ns_to_ms(i->capture.started_after_ns));
	} else if (i->analysis.failed) {
		buf_addf(&line, "No stacks: %s", i->analysis.failed);
	} else if (i->capture.failed) {
		buf_addf(&line, "No capture: %s", i->capture.failed);
	} else if (i->suppressed) {
		buf_addf(&line, "Not captured: %s", i->suppressed);
	}
	add_line(i, &line);
	if (v->t && v->t->script.unavailable)
		strings_add(&i->evidence, v->t->script.unavailable);
}

static void add_locks(struct incident *i, const struct view *v)
{
	struct buf line;

	for (char **d = i->analysis.deadlock; d && *d; d++) {
		buf_init(&line, PIECE_MAX);
		buf_addf(&line, "Deadlock among the threads: %s", *d);
		add_line(i, &line);
	}
	for (size_t k = 0; k < i->analysis.lock_count && v->t; k++) {
		const struct lock *lock = &i->analysis.lock[k];
		bool mine = false;

		for (size_t n = 0; n < lock->waiter_count; n++)
			mine |= lock->waiter[n] == v->t->tid;
		if (!mine)
			continue;
		buf_init(&line, PIECE_MAX);
		buf_addf(&line, "%zu thread%s wait%s for %s", lock->waiter_count, lock->waiter_count == 1 ? "" : "s",
			 lock->waiter_count == 1 ? "s" : "", lock->name);
		if (lock->owner)
			buf_addf(&line, ", whose owner word names %d%s%s%s", lock->owner, lock->owner_name ? " \"" : "",
				 lock->owner_name ? lock->owner_name : "", lock->owner_name ? "\"" : "");
		add_line(i, &line);
	}
}

/* What an idle event loop's request last did is the best hint at what it waits for. */
static void add_last_event(struct incident *i, const struct view *v)
{
	struct buf line;

	if (v->kind != WAIT_EVENTS)
		return;
	for (size_t k = i->trace_count; k-- > 0;) {
		const struct trace_event *e = &i->trace[k];

		if (!e->kind || e->at_ns > i->elapsed_ns ||
		    (strcmp(e->kind, "send") && strcmp(e->kind, "recv") && strcmp(e->kind, "call")))
			continue;
		buf_init(&line, PIECE_MAX);
		buf_addf(&line, "The last thing done for it, after %.1f ms: %s %s%s%s", ns_to_ms(e->at_ns), e->kind,
			 e->name ? e->name : "", e->detail ? " " : "", e->detail ? e->detail : "");
		add_line(i, &line);
		return;
	}
}

static void add_evidence(struct incident *i, const struct view *v)
{
	struct buf line;

	if (i->reason == REASON_ABORTED)
		strings_add(&i->evidence, "The connection ended before the answer did");
	add_spending(i);
	add_snapshot(i, v);
	add_locks(i, v);
	add_last_event(i, v);
	if (i->losses.events_overwritten || i->losses.ring_lost) {
		buf_init(&line, PIECE_MAX);
		buf_addf(&line, "%llu events of the trace were lost",
			 (unsigned long long)(i->losses.events_overwritten + i->losses.ring_lost));
		add_line(i, &line);
	}
}

/* --- the verdict --- */

/* Who computes on a busy machine waits for a CPU about as long: both is computing, unless
 * there was far more of the other. */
static void share_of_cpu(struct view *v)
{
	const struct spending *cpu = spent(v->i, SPEND_CPU), *queued = spent(v->i, SPEND_RUNNABLE);
	double ns;

	if (v->top == queued && cpu && cpu->ns + cpu->ns / 2 >= queued->ns)
		v->top = cpu;
	ns = (double)v->top->ns;
	if (v->top == cpu && queued && queued->ns <= cpu->ns)
		ns += (double)queued->ns;
	v->percent = v->i->elapsed_ns ? (unsigned int)MIN(ns * 100.0 / (double)v->i->elapsed_ns, 100.0) : 0;
}

/* No call shows a wait for a page. And a write that had got rid of some of its bytes ends with
 * those when its thread is stopped: it slept until then, and is in no call any more. */
static bool waited_outside_calls(const struct view *v)
{
	if (v->t->call || !v->top || !v->top->open)
		return false;
	return v->t->state == (strcmp(v->call, "page fault") ? 'S' : 'D') &&
	       (v->kind == WAIT_FD || !strcmp(v->call, "page fault"));
}

/* On its way out of one of many such calls: its number is gone, the frame that made it is not. Of
 * futexes there would be others. */
static bool leaves_call(const struct view *v)
{
	const char *function = v->t->stack.count ? v->t->stack.frame[0].function : NULL;

	while (function && *function == '_')
		function++;
	return function && v->t->state == 'R' && !v->t->call && v->kind != WAIT_FUTEX && !strcmp(function, v->call);
}

/* The largest wait is over, and the one that the snapshot shows is another in the same call. */
static bool waits_elsewhere(const struct view *v)
{
	for (size_t k = 0; k < v->i->spending_count && v->top && !v->top->open; k++) {
		const struct spending *s = &v->i->spending[k];

		if (s->open && s->kind == SPEND_WAIT && s->call && !strcmp(s->call, "futex"))
			return true;
	}
	return false;
}

struct view view_of(const struct incident *i)
{
	struct view v = { .i = i };

	for (size_t k = 0; k < i->analysis.thread_count && !v.t; k++) {
		if (i->analysis.thread[k].holder)
			v.t = &i->analysis.thread[k];
	}
	if (!v.t)
		v.t = thread_by_tid(i, i->holder_tid);
	for (size_t k = 0; k < i->spending_count; k++) {
		if (!v.top || i->spending[k].ns > v.top->ns)
			v.top = &i->spending[k];
	}
	if (v.top)
		share_of_cpu(&v);
	if (v.top && v.top->kind == SPEND_WAIT) {
		v.call = v.top->call;
		v.object = v.top->object;
	} else if (!v.top && v.t) {
		v.call = v.t->call;
	}
	v.kind = wait_kind_of(v.call);
	if (v.t && (i->capture.running_at_snapshot || !v.top)) {
		if (v.call)
			v.agrees = v.t->call ? !strcmp(v.t->call, v.call) : waited_outside_calls(&v) || leaves_call(&v);
		else if (v.top && v.top->kind == SPEND_WAIT)
			v.agrees = false;
		else
			v.agrees = !v.top || v.top->kind != SPEND_CPU || !v.t->call || v.t->state == 'R';
	}
	if (v.kind == WAIT_FUTEX && v.agrees)
		v.agrees = !waits_elsewhere(&v);
	if (!v.object && v.agrees && v.kind != WAIT_SLEEP)
		v.object = v.t->waits_for;
	return v;
}

static const char *confidence_of(const struct view *v, const struct cause *cause)
{
	static const char *const level[] = { "low", "medium", "high" };
	size_t most = 0, is = 0;

	while (strcmp(level[most], cause->most))
		most++;
	if (cause->proof == PROOF_SNAPSHOT)
		is = v->i->capture.running_at_snapshot && v->t ? 2 : 1;
	else if (!v->top)
		is = v->agrees ? 1 : 0; /* a snapshot without a trace: one sample */
	else if (v->percent >= SURE_PERCENT && (v->agrees || cause->proof == PROOF_TRACE))
		is = 2;
	else if (v->percent >= MAIN_PERCENT)
		is = 1;
	/* A JVM sleeps and locks with the same call, and a thread waits for all its monitors in the
	 * same place: it may have been two. */
	if (v->kind == WAIT_FUTEX && v->top && starts(v->i->analysis.language, "Java") &&
	    strcmp(cause->name, "deadlock"))
		is = !v->agrees && cause->proof == PROOF_BOTH ? 0 : MIN(is, v->top->count > 1 ? (size_t)1 : (size_t)2);
	/* what was lost might have been the cause */
	if (is == 2 && v->i->losses.events_overwritten)
		is = 1;
	return level[MIN(is, most)];
}

void verdict_make(struct incident *incident)
{
	struct view v = view_of(incident);
	struct buf out;

	for (char **e = incident->evidence; e && *e; e++)
		free(*e);
	free(incident->evidence);
	incident->evidence = NULL;
	buf_init(&out, SENTENCE_MAX);
	for (size_t k = 0; k < cause_count; k++) {
		const struct cause *c = &causes[k];

		if (!c->test(&v))
			continue;
		c->tell(&v, &out);
		buf_adds(&out, ".");
		free(incident->verdict);
		incident->verdict = finish(&out);
		text_set(&incident->cause, c->name);
		text_set(&incident->confidence, confidence_of(&v, c));
		text_set(&incident->advice, c->advice);
		break;
	}
	add_evidence(incident, &v);
}
