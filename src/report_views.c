// SPDX-License-Identifier: MIT
/* The four views of Failed Request Tracing: a summary, every event, the events by
 * severity, and what took how long. A duration is from begin to end, never the gap to the
 * event before; 'self' is without what lies inside. */
#include "report_sections.h"

#include "report_spans.h"
#include "report_words.h"

#include <string.h>

#define SEVERITIES 6

static int section_events(const struct incident *i, struct pen *pen, unsigned int severity)
{
	static const char *const name[SEVERITIES] = { "WITHOUT SEVERITY", "CRITICAL",	 "ERRORS",
						      "WARNINGS",	  "INFORMATION", "VERBOSE" };
	struct event_rows rows = { 0 };
	size_t shown = 0;
	int r = event_rows_make(i, SIZE_MAX, &rows);

	for (size_t n = 0; r == 0 && n < rows.count; n++) {
		const struct event_row *row = &rows.row[n];

		if (!row->event || MIN(row->event->severity, SEVERITIES - 1u) != severity)
			continue;
		if (!shown++)
			pen->section(pen, name[severity], NULL);
		pen->event(pen, row);
	}
	event_rows_free(&rows);
	return r;
}

static int section_details(const struct incident *i, struct pen *pen)
{
	int r = 0;

	for (unsigned int n = 1; r == 0 && n <= SEVERITIES; n++)
		r = section_events(i, pen, n % SEVERITIES);
	return r;
}

static int section_performance(const struct incident *i, struct pen *pen)
{
	struct span *span = NULL;
	size_t count = 0;
	int r = spans_make(i, &span, &count);

	if (r < 0)
		return r;
	pen->section(pen, "PERFORMANCE", "began, duration, of that itself; in milliseconds");
	if (!count)
		pen->line(pen, "No event took time.");
	for (size_t n = 0; n < count; n++) {
		const struct trace_event *e = span[n].event;

		if (!n || span[n].tid != span[n - 1].tid)
			page_line(pen, "thread %d", span[n].tid);
		page_field(pen, word_ms(span[n].at_ns).s, "%12s %12s  %*s%s %s%s%s",
			   word_ms(span[n].end_ns - span[n].at_ns).s, word_ms(span[n].self_ns).s,
			   (int)(2 * MIN(span[n].depth, 8u)), "", e->kind ? e->kind : "", e->name ? e->name : "",
			   e->detail ? ": " : "", e->detail ? e->detail : "");
	}
	free(span);
	return 0;
}

static int (*const summary[])(const struct incident *, struct pen *) = { section_request, section_time, section_losses,
									 NULL };
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
