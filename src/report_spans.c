// SPDX-License-Identifier: MIT
/* Spans from a flat trace. Trap: merged or lost events may overlap without one lying in
 * the other; the later one is cut at the end of what it began in, so that times inside a
 * span never add up to more than the span. */
#include "report_spans.h"

#include <string.h>

#define DEPTH_MOST 64 /* deeper ones stand beside each other */

uint64_t event_end_ns(const struct trace_event *e)
{
	return e->dur_ns > UINT64_MAX - e->at_ns ? UINT64_MAX : e->at_ns + e->dur_ns;
}

static int by_thread(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	if (x->end_ns != y->end_ns)
		return x->end_ns > y->end_ns ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

static void nest(struct span *span, size_t count)
{
	struct span *open[DEPTH_MOST];
	size_t depth = 0;

	for (size_t n = 0; n < count; n++) {
		struct span *s = &span[n];

		while (depth && (open[depth - 1]->tid != s->tid || open[depth - 1]->end_ns <= s->at_ns))
			depth--;
		if (depth)
			s->end_ns = MIN(s->end_ns, open[depth - 1]->end_ns);
		s->self_ns = s->end_ns - s->at_ns;
		s->depth = depth;
		if (depth)
			open[depth - 1]->self_ns -= s->self_ns;
		if (depth < DEPTH_MOST - 1)
			open[depth++] = s;
	}
}

int spans_make(const struct incident *i, struct span **ret_spans, size_t *ret_count)
{
	struct span *span = calloc(i->trace_count + 1, sizeof(*span));
	size_t count = 0;

	if (!span)
		return -ENOMEM;
	for (size_t n = 0; n < i->trace_count; n++) {
		const struct trace_event *e = &i->trace[n];

		if (e->dur_ns)
			span[count++] = (struct span){ .event = e,
						       .at_ns = e->at_ns,
						       .end_ns = event_end_ns(e),
						       .tid = e->tid ? e->tid : i->holder_tid };
	}
	qsort(span, count, sizeof(*span), by_thread);
	nest(span, count);
	*ret_spans = span;
	*ret_count = count;
	return 0;
}

/* --- events and calls --- */

static int by_time(const void *a, const void *b)
{
	const struct trace_event *const *x = a, *const *y = b;

	if ((*x)->at_ns != (*y)->at_ns)
		return (*x)->at_ns < (*y)->at_ns ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

int events_by_time(const struct incident *i, const struct trace_event ***ret_events)
{
	const struct trace_event **event = calloc(i->trace_count + 1, sizeof(*event));

	if (!event)
		return -ENOMEM;
	for (size_t n = 0; n < i->trace_count; n++)
		event[n] = &i->trace[n];
	qsort(event, i->trace_count, sizeof(*event), by_time);
	*ret_events = event;
	return 0;
}

#define ANSWER "the answer of "

/* Whom the event says it is about: of a wait 'the answer of tcp:B' or 'tcp A -> B', of a call
 * 'call to tcp:B'. Owned by the caller; NULL: nobody. */
static char *called_by(const struct trace_event *e, bool call)
{
	const char *arrow = e->detail ? strstr(e->detail, " -> ") : NULL;
	char *to = NULL;

	if (call && e->name && (!strncmp(e->name, "call to tcp:", 12) || !strncmp(e->name, "call to unix:", 13)))
		text_set(&to, e->name + strlen("call to "));
	else if (!call && e->detail && !strncmp(e->detail, ANSWER, strlen(ANSWER)))
		text_set(&to, e->detail + strlen(ANSWER));
	else if (!call && arrow && !strncmp(e->detail, "tcp ", 4))
		text_setf(&to, "tcp:%s", arrow + 4);
	return to;
}

static int add_call(const struct trace_event *e, char *to, struct call **calls, size_t *count)
{
	struct call *c = list_add(calls, count, sizeof(*c));

	if (!c) {
		free(to);
		return -ENOMEM;
	}
	*c = (struct call){ .to = to, .at_ns = e->at_ns, .end_ns = event_end_ns(e), .tid = e->tid };
	return 0;
}

/* The wait belongs to the thread's latest call, if that is to whom it waits for. */
static int add_wait(const struct trace_event *e, struct call **calls, size_t *count)
{
	bool answer = e->detail && !strncmp(e->detail, ANSWER, strlen(ANSWER));
	char *to = called_by(e, false);

	for (size_t n = *count; to && n-- > 0;) {
		struct call *c = &(*calls)[n];

		if (c->tid != e->tid || c->cut || (c->to && strcmp(c->to, to)))
			continue;
		c->end_ns = MAX(c->end_ns, event_end_ns(e));
		if (c->to)
			free(to);
		else
			c->to = to;
		return 0;
	}
	/* a connection of its own that was waited for may be the client's: only an answer is a call's */
	if (to && answer)
		return add_call(e, to, calls, count);
	free(to);
	return 0;
}

static int by_callee(const void *a, const void *b)
{
	const struct call *x = a, *y = b;
	int r = strcmp(x->to ? x->to : "", y->to ? y->to : "");

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	if (r || x->at_ns == y->at_ns)
		return r;
	return x->at_ns < y->at_ns ? -1 : 1;
}

bool call_same(const struct call *a, const struct call *b)
{
	return a->tid == b->tid && !strcmp(a->to ? a->to : "", b->to ? b->to : "");
}

int calls_make(const struct incident *i, struct call **ret_calls, size_t *ret_count)
{
	CLEAN(free) const struct trace_event **event = NULL;
	struct call *calls = NULL;
	size_t count = 0, kept = 0;
	int r = events_by_time(i, &event);

	for (size_t n = 0; r == 0 && n < i->trace_count; n++) {
		if (!event[n]->kind)
			continue;
		if (!strcmp(event[n]->kind, "call"))
			r = add_call(event[n], called_by(event[n], true), &calls, &count);
		else if (!strcmp(event[n]->kind, "wait"))
			r = add_wait(event[n], &calls, &count);
		for (size_t k = 0; k < count && !strcmp(event[n]->kind, "lost"); k++)
			calls[k].cut |= calls[k].tid == event[n]->tid;
	}
	if (r < 0) {
		calls_free(calls, count);
		return r;
	}
	for (size_t n = 0; n < count; n++) { /* bytes that nobody waited on say as much in the trace */
		if (!calls[n].to && calls[n].end_ns == calls[n].at_ns)
			continue;
		calls[kept++] = calls[n];
	}
	count = kept;
	if (count)
		qsort(calls, count, sizeof(*calls), by_callee);
	*ret_calls = calls;
	*ret_count = count;
	return 0;
}

void calls_free(struct call *calls, size_t count)
{
	for (size_t n = 0; n < count; n++)
		free((char *)calls[n].to);
	free(calls);
}

int stack_path(const struct thread *t, const struct frame ***ret_path, size_t *ret_count)
{
	const struct frame **path = calloc(t->script.count + t->stack.count + 1, sizeof(*path));
	size_t count = 0;

	if (!path)
		return -ENOMEM;
	for (size_t n = t->script.count; n > 0; n--)
		path[count++] = &t->script.frame[n - 1];
	for (size_t n = t->stack.count; n > 0; n--) {
		if (!t->script.count || (n == 1 && !t->stack.frame[0].script))
			path[count++] = &t->stack.frame[n - 1];
	}
	*ret_path = path;
	*ret_count = count;
	return 0;
}
