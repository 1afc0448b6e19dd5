// SPDX-License-Identifier: MIT
/* Spans from a flat trace. Trap: merged or lost events may overlap without one lying in
 * the other; the later one is cut at the end of what it began in, so that times inside a
 * span never add up to more than the span. */
#include "report_spans.h"

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
