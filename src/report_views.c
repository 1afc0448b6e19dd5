// SPDX-License-Identifier: MIT
/* The four views of Failed Request Tracing: a summary, every event, the events by
 * severity, and what took how long. A duration is from begin to end, never the gap to the
 * event before; 'self' is without what lies inside. */
#include "report_sections.h"

#include "report_spans.h"
#include "report_words.h"

#include <string.h>

#define SEVERITIES 6
#define WARNING 3
#define GRAVE_MOST 20 /* of the errors and warnings of a summary */

/* Those that 'wanted' is true for; title NULL: no section of their own. */
static int section_events(const struct incident *i, struct pen *pen, const char *title, size_t most,
			  bool (*wanted)(unsigned int severity, unsigned int arg), unsigned int arg)
{
	struct event_rows rows = { 0 };
	size_t shown = 0, left = 0;
	int r = event_rows_make(i, SIZE_MAX, &rows);

	for (size_t n = 0; r == 0 && n < rows.count; n++) {
		const struct event_row *row = &rows.row[n];

		if (!row->event || !wanted(MIN(row->event->severity, SEVERITIES - 1u), arg))
			continue;
		if (!shown)
			pen->section(pen, title, NULL);
		if (shown++ < most)
			pen->event(pen, row);
		else
			left++;
	}
	if (left)
		page_line(pen, "... %zu more: see trace.json", left);
	event_rows_free(&rows);
	return r;
}

static bool is_severity(unsigned int severity, unsigned int wanted)
{
	return severity == wanted;
}

static bool is_grave(unsigned int severity, unsigned int least)
{
	return severity && severity <= least;
}

int section_grave(const struct incident *i, struct pen *pen)
{
	return section_events(i, pen, "ERRORS AND WARNINGS", GRAVE_MOST, is_grave, WARNING);
}

int section_details(const struct incident *i, struct pen *pen)
{
	static const char *const name[SEVERITIES] = { "WITHOUT SEVERITY", "CRITICAL",	 "ERRORS",
						      "WARNINGS",	  "INFORMATION", "VERBOSE" };
	int r = 0;

	if (pen->view)
		pen->view(pen, "DETAILS", "each event by itself, by severity");
	for (unsigned int n = 1; r == 0 && n <= SEVERITIES; n++)
		r = section_events(i, pen, name[n % SEVERITIES], pen->events_most, is_severity, n % SEVERITIES);
	return r;
}

static int longest_first(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x > *y ? -1 : *x < *y;
}

/* What is shorter than this is not among the 'most' longest; 0: all are. */
static int duration_floor(const struct span *span, size_t count, size_t most, uint64_t *ret_ns)
{
	CLEAN(free) uint64_t *ns = calloc(count + 1, sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	for (size_t n = 0; n < count; n++)
		ns[n] = span[n].end_ns - span[n].at_ns;
	qsort(ns, count, sizeof(*ns), longest_first);
	*ret_ns = count > most ? ns[most - 1] : 0;
	return 0;
}

static void draw_span(const struct incident *i, const struct span *s, bool first, struct pen *pen)
{
	const struct trace_event *e = s->event;
	CLEAN(free) char *who = first ? thread_name(i, s->tid) : NULL;
	CLEAN(free) char *words = event_words(e);
	CLEAN(free) char *text = NULL;

	text_setf(&text, "%s %s%s%s", e->kind ? e->kind : "", words ? words : "", e->count > 1 ? "  x" : "",
		  e->count > 1 ? word_count(e->count).s : "");
	pen->span(pen, &(struct span_row){ .event = e,
					   .at_ns = s->at_ns,
					   .dur_ns = s->end_ns - s->at_ns,
					   .self_ns = s->self_ns,
					   .depth = s->depth,
					   .who = who,
					   .text = text ? page_clip(text) : "" });
}

int section_performance(const struct incident *i, struct pen *pen)
{
	struct span *span = NULL;
	size_t count = 0, shown = 0;
	uint64_t floor_ns = 0;
	pid_t tid = 0;
	int r = spans_make(i, &span, &count);

	if (r == 0)
		r = duration_floor(span, count, pen->events_most, &floor_ns);
	if (r < 0) {
		free(span);
		return r;
	}
	if (pen->view)
		pen->view(pen, "PERFORMANCE", "what took how long, from begin to end, and of that itself");
	else
		pen->section(pen, "PERFORMANCE", "began, duration, of that itself; in milliseconds");
	if (!count)
		pen->line(pen, "No event took time.");
	for (size_t n = 0; n < count && shown < pen->events_most; n++) {
		if (span[n].end_ns - span[n].at_ns < floor_ns)
			continue;
		draw_span(i, &span[n], !shown++ || span[n].tid != tid, pen);
		tid = span[n].tid;
	}
	if (shown < count)
		page_line(pen, "... %zu shorter ones: see trace.json", count - shown);
	free(span);
	return 0;
}

static int (*const summary[])(const struct incident *, struct pen *) = { section_request, section_time, section_grave,
									 section_losses, NULL };
static int (*const compact[])(const struct incident *, struct pen *) = { section_trace, NULL };
static int (*const details[])(const struct incident *, struct pen *) = { section_details, NULL };
static int (*const performance[])(const struct incident *, struct pen *) = { section_time, section_performance, NULL };

int page_draw_view(const struct incident *i, const char *view, struct pen *pen)
{
	static const struct {
		const char *name;
		int (*const *section)(const struct incident *, struct pen *);
	} row[] = {
		{ "summary", summary }, { "compact", compact }, { "details", details }, { "performance", performance }
	};
	int r = 0;

	pen->head(pen, i);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		for (size_t k = 0; !strcmp(row[n].name, view) && r == 0 && row[n].section[k]; k++)
			r = row[n].section[k](i, pen);
	}
	return r;
}
