// SPDX-License-Identifier: MIT
/* A waterfall without scripts. Rejected: a bar per event (ten thousand of them bring
 * a browser to its knees): what is less than half a pixel behind its like is left
 * out of the picture, never of the trace. Trap: colour alone tells nothing to some
 * readers, so kinds also differ by pattern, and by words where there is room. */
#include "report_svg.h"

#include "report_spans.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

#define LEFT 168.0 /* of the axis, in units of the view box */
#define RIGHT 988.0
#define LANE_COLUMNS 22 /* of its name */
#define LANES_MOST 16
#define CALL_LANES 5 /* of one thread */
#define LANE_H 26
#define BAR_H 18
#define TOP 34
#define LEGEND_H 18

enum paint {
	PAINT_WAIT,
	PAINT_BREAKS,
	PAINT_RUNNABLE,
	PAINT_CPU,
	PAINT_IO,
	PAINT_CALL,
	PAINT_LOST,
	PAINT_OTHER,
	PAINT_KINDS
};

static const struct {
	const char *class, *words;
} paints[] = {
	[PAINT_WAIT] = { "wait", "waiting" },
	[PAINT_RUNNABLE] = { "runnable", "runnable, no CPU free" },
	[PAINT_BREAKS] = { "breaks", "waiting, with breaks" },
	[PAINT_CPU] = { "cpu", "on CPU, ready, or not known" },
	[PAINT_IO] = { "io", "receive, send" },
	[PAINT_CALL] = { "call", "call to another" },
	[PAINT_LOST] = { "lost", "not kept" },
	[PAINT_OTHER] = { "other", "other" },
};

struct lane {
	pid_t tid;
	char *name;
	const struct call *call;   /* the first of its calls: the lane of these; NULL: of its events */
	double drawn[PAINT_KINDS]; /* x up to which this kind is painted */
	double moment;		   /* ... of the last mark */
	uint64_t next_ns;	   /* of its next event, while they are gone through from the last */
};

struct timeline {
	const struct incident *incident;
	struct buf *out;
	const struct trace_event **event; /* by time */
	uint64_t *end;			  /* of each of them */
	struct call *call;
	size_t calls;
	struct lane lane[LANES_MOST];
	size_t lanes, crowded; /* events and calls that have no lane */
	uint64_t end_ns;
	bool used[PAINT_KINDS], moments;
};

static enum paint paint_of(const struct timeline *t, size_t k)
{
	const struct trace_event *e = t->event[k];
	static const struct {
		const char *kind;
		enum paint paint;
	} row[] = {
		{ "wait", PAINT_WAIT }, { "runnable", PAINT_RUNNABLE }, { "cpu", PAINT_CPU },	{ "recv", PAINT_IO },
		{ "send", PAINT_IO },	{ "head", PAINT_IO },		{ "lost", PAINT_LOST },
	};

	for (size_t n = 0; e->kind && n < ARRAY_LEN(row); n++) {
		if (!strcmp(e->kind, row[n].kind))
			return row[n].paint == PAINT_WAIT && t->end[k] > event_end_ns(e) ? PAINT_BREAKS : row[n].paint;
	}
	return PAINT_OTHER;
}

static double x_of(const struct timeline *t, uint64_t at_ns)
{
	return LEFT + (RIGHT - LEFT) * (double)MIN(at_ns, t->end_ns) / (double)t->end_ns;
}

/* --- lanes --- */

static struct lane *lane_of(struct timeline *t, pid_t tid)
{
	for (size_t n = 0; n < t->lanes; n++) {
		if (t->lane[n].tid == tid && !t->lane[n].call)
			return &t->lane[n];
	}
	return NULL;
}

/* '> 10.0.0.5:5432', of a long one its end. */
static char *callee_name(const char *to)
{
	const char *colon = to ? strchr(to, ':') : NULL;
	const char *name = !to ? "another service" : colon ? colon + 1 : to;
	size_t len = strlen(name), columns = text_columns(name, len), one;
	char *text = NULL;

	if (columns <= LANE_COLUMNS - 2) {
		text_setf(&text, "> %s", name);
		return text;
	}
	while (columns > LANE_COLUMNS - 3) {
		name += char_columns(name, len, &one);
		len = strlen(name);
		columns -= one;
	}
	text_setf(&text, "> \u2026%s", name);
	return text;
}

static void call_lanes_add(struct timeline *t, pid_t tid)
{
	size_t shown = 0;

	for (size_t n = 0; n < t->calls; n++) {
		const struct call *c = &t->call[n];

		if (c->tid != tid || (n && call_same(c, c - 1)))
			continue;
		if (t->lanes == LANES_MOST || shown++ == CALL_LANES)
			return;
		t->lane[t->lanes++] = (struct lane){ .tid = tid, .name = callee_name(c->to), .call = c };
	}
}

/* A thread's lane, and below it one for each that it calls. */
static void lane_add(struct timeline *t, pid_t tid)
{
	struct lane *lane = &t->lane[t->lanes];

	if (t->lanes == LANES_MOST || lane_of(t, tid))
		return;
	*lane = (struct lane){ .tid = tid, .name = thread_name(t->incident, tid) };
	t->lanes++;
	call_lanes_add(t, tid);
}

static void lanes_make(struct timeline *t)
{
	const struct incident *i = t->incident;

	for (size_t n = 0; n + 1 < i->chain_count && n < LANES_MOST / 2; n++)
		lane_add(t, i->chain[n].tid ? i->chain[n].tid : i->chain[n].pid);
	lane_add(t, i->holder_tid);
	for (size_t n = 0; n < i->trace_count; n++) {
		if (i->trace[n].tid)
			lane_add(t, i->trace[n].tid);
	}
}

/* Equal waits that are one event, the sum of them, lie anywhere before what its thread does next. */
static void ends_make(struct timeline *t)
{
	for (size_t n = 0; n < t->lanes; n++)
		t->lane[n].next_ns = t->end_ns;
	for (size_t k = t->incident->trace_count; k-- > 0;) {
		const struct trace_event *e = t->event[k];
		struct lane *lane = lane_of(t, e->tid ? e->tid : t->incident->holder_tid);

		t->end[k] = event_end_ns(e);
		if (!lane)
			continue;
		if (e->count > 1 && e->dur_ns)
			t->end[k] = MAX(t->end[k], lane->next_ns);
		lane->next_ns = e->at_ns;
	}
}

/* --- drawing --- */

void svg_label(struct buf *out, double x, double y, const char *class, const char *text, size_t columns)
{
	size_t n = 0, used = 0, one, len = strlen(text);

	while (n < len) {
		size_t bytes = char_columns(text + n, len - n, &one);

		if (used + one > columns)
			break;
		used += one;
		n += bytes;
	}
	buf_addf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	add_html(out, text, n);
	buf_adds(out, n < len ? "\u2026</text>" : "</text>");
}

static void add_tip(struct buf *out, const struct trace_event *e)
{
	buf_adds(out, "<title>");
	if (e->kind)
		add_html(out, e->kind, MIN(strlen(e->kind), 100u));
	buf_adds(out, " ");
	if (e->name)
		add_html(out, e->name, MIN(strlen(e->name), 200u));
	buf_addf(out, ", at %s ms", word_ms(e->at_ns).s);
	if (e->dur_ns)
		buf_addf(out, ", %s", word_duration(e->dur_ns).s);
	if (e->count > 1)
		buf_addf(out, " together, x%s", word_count(e->count).s);
	buf_adds(out, "</title>");
}

/* A word on a bar, on a ground of its own: patterns make text hard to read. */
static void draw_name(struct timeline *t, double x, double y, const char *name, size_t most)
{
	size_t columns = MIN(text_columns(name, strlen(name)), most + 1);

	buf_addf(t->out, "<rect class=\"chip\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"3\"/>", x, y + 2,
		 7.3 * (double)columns + 9, BAR_H - 4);
	svg_label(t->out, x + 4, y + BAR_H - 5, "in", name, most);
}

/* False: its like is painted there already. */
static bool draw_bar(struct timeline *t, double *drawn, enum paint paint, double from, double to, double y)
{
	if (to - *drawn < 0.5 && *drawn > 0)
		return false;
	*drawn = to;
	t->used[paint] = true;
	buf_addf(t->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"%s>",
		 paints[paint].class, from, y, MAX(to - from, 1.0), BAR_H, to - from > 6 ? " rx=\"2\"" : "");
	return true;
}

static void draw_event(struct timeline *t, struct lane *lane, double y, size_t k)
{
	const struct trace_event *e = t->event[k];
	enum paint paint = paint_of(t, k);
	double from = x_of(t, e->at_ns), to = x_of(t, t->end[k]);
	CLEAN(free) char *name = NULL;

	if (!e->dur_ns) {
		if (to - lane->moment < 0.5 && lane->moment > 0)
			return;
		lane->moment = to;
		/* a moment: a mark below the bars, so that neither hides the other */
		buf_addf(t->out, "<path class=\"mark %s\" d=\"M%.1f %.1fl-4.5 8h9z\">", paints[paint].class, from,
			 y + BAR_H - 5);
		t->moments = true;
		add_tip(t->out, e);
		buf_adds(t->out, "</path>");
		return;
	}
	if (!draw_bar(t, &lane->drawn[paint], paint, from, to, y))
		return;
	add_tip(t->out, e);
	buf_adds(t->out, "</rect>\n");
	if (to - from <= 64 || !e->name)
		return;
	name = event_words(e);
	if (name)
		draw_name(t, from + 5, y, name, (size_t)((to - from - 24) / 7.3));
}

static void draw_calls(struct timeline *t, struct lane *lane, double y)
{
	const struct call *end = t->call + t->calls;

	for (const struct call *c = lane->call; c < end && call_same(c, lane->call); c++) {
		double from = x_of(t, c->at_ns), to = x_of(t, c->end_ns);

		if (!draw_bar(t, &lane->drawn[PAINT_CALL], PAINT_CALL, from, to, y))
			continue;
		buf_adds(t->out, "<title>call to ");
		add_html(t->out, c->to ? c->to : "another service", c->to ? MIN(strlen(c->to), 200u) : 15);
		buf_addf(t->out, ", at %s ms, %s</title></rect>\n", word_ms(c->at_ns).s,
			 word_duration(c->end_ns - c->at_ns).s);
	}
}

static void draw_lanes(struct timeline *t)
{
	for (size_t n = 0; n < t->lanes; n++) {
		struct lane *lane = &t->lane[n];
		double y = TOP + 8 + (double)n * LANE_H;

		svg_label(t->out, 0, y + BAR_H - 5, "lane", lane->name, LANE_COLUMNS);
		buf_addf(t->out, "<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/>\n", LEFT, y + LANE_H - 3.5, RIGHT);
		if (lane->call) {
			draw_calls(t, lane, y);
			continue;
		}
		for (size_t k = 0; k < t->incident->trace_count; k++) {
			const struct trace_event *e = t->event[k];

			if ((e->tid ? e->tid : t->incident->holder_tid) == lane->tid &&
			    !(e->kind && !strcmp(e->kind, "trigger")))
				draw_event(t, lane, y, k);
		}
	}
}

/* What the request's thread did, up to the trap: it waits, it is runnable, or
 * neither, and then it is on a CPU or nothing is known. */
static void draw_doing(struct timeline *t, double y)
{
	const struct incident *i = t->incident;
	double to = x_of(t, i->elapsed_ns), drawn[PAINT_KINDS] = { 0 };
	bool any = false;

	svg_label(t->out, 0, y + BAR_H - 5, "lane", "on/off CPU", LANE_COLUMNS);
	buf_addf(t->out,
		 "<rect class=\"cpu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\">"
		 "<title>%s</title></rect>\n",
		 LEFT, y, MAX(to - LEFT, 1.0), BAR_H, paints[PAINT_CPU].words);
	t->used[PAINT_CPU] = true;
	for (size_t k = 0; k < i->trace_count; k++) {
		const struct trace_event *e = t->event[k];
		enum paint paint = paint_of(t, k);
		double x = x_of(t, e->at_ns), end = MIN(x_of(t, t->end[k]), to);

		if ((e->tid && e->tid != i->holder_tid) || end <= x ||
		    (paint > PAINT_RUNNABLE && paint != PAINT_LOST) || !draw_bar(t, &drawn[paint], paint, x, end, y))
			continue;
		any = true;
		add_tip(t->out, e);
		buf_adds(t->out, "</rect>\n");
	}
	if (!any && to - LEFT > 180)
		draw_name(t, LEFT + 5, y, paints[PAINT_CPU].words, 40);
}

static void draw_axis(const struct timeline *t, double bottom)
{
	uint64_t step = 1, factor[] = { 2, 5, 10 };
	size_t k = 0;
	uint64_t base = 1;

	while (t->end_ns / step > 7 && step < UINT64_MAX / 16) {
		step = base * factor[k % 3];
		if (k % 3 == 2)
			base *= 10;
		k++;
	}
	for (uint64_t at = 0; at <= t->end_ns; at += step) {
		double x = x_of(t, at);

		buf_addf(t->out, "<path class=\"grid\" d=\"M%.1f %dV%.0f\"/>", x, TOP - 4, bottom);
		buf_addf(t->out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x, TOP - 10,
			 x > RIGHT - 30 ? "end" : "middle", at ? word_duration(at).s : "0");
		if (at > UINT64_MAX - step)
			break;
	}
}

static void draw_trap(const struct timeline *t, double bottom)
{
	double x = x_of(t, t->incident->elapsed_ns);
	bool left = x > (LEFT + RIGHT) / 2;

	if (t->end_ns > t->incident->elapsed_ns)
		buf_addf(t->out, "<rect class=\"after\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%.0f\"/>\n", x,
			 TOP - 4, RIGHT - x, bottom - TOP + 4);
	buf_addf(t->out, "<path class=\"trap\" d=\"M%.1f %dV%.0f\"/>", x, TOP - 6, bottom + 14);
	buf_addf(t->out, "<text class=\"trap\" x=\"%.1f\" y=\"%.0f\" text-anchor=\"%s\">trap at %s</text>\n",
		 left ? x - 6 : x + 6, bottom + 13, left ? "end" : "start", word_duration(t->incident->elapsed_ns).s);
}

/* Where the next entry of the legend goes: on a line of its own when this one is full. */
static void legend_step(double *x, double *y, double width)
{
	if (*x + width <= RIGHT || *x <= LEFT)
		return;
	*x = LEFT;
	*y += LEGEND_H;
}

static void draw_legend(const struct timeline *t, double y)
{
	double x = LEFT;

	for (size_t n = 0; n < PAINT_KINDS; n++) {
		double width = 28 + 7.3 * (double)strlen(paints[n].words) + 16;

		if (!t->used[n])
			continue;
		legend_step(&x, &y, width);
		buf_addf(t->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"22\" height=\"12\" rx=\"2\"/>",
			 paints[n].class, x, y);
		buf_addf(t->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 28, y + 10,
			 paints[n].words);
		x += width;
	}
	if (t->moments) {
		legend_step(&x, &y, 100);
		buf_addf(t->out, "<path class=\"mark io\" d=\"M%.1f %.1fl-4.5 8h9z\"/>", x + 8, y + 2);
		buf_addf(t->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">a moment</text>\n", x + 20, y + 10);
		x += 100;
	}
	if (t->crowded) {
		legend_step(&x, &y, 360);
		buf_addf(
			t->out,
			"<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">%s events and calls have no row: see the trace</text>\n",
			x, y + 10, word_count(t->crowded).s);
	}
}

static void draw(struct timeline *t)
{
	double lanes = TOP + 8 + (double)t->lanes * LANE_H + 4, bottom = lanes + LANE_H;

	buf_addf(
		t->out,
		"<svg viewBox=\"0 0 1000 %.0f\" role=\"img\" aria-labelledby=\"svg-title svg-desc\">\n"
		"<title id=\"svg-title\">Timeline of the request</title>\n"
		"<desc id=\"svg-desc\">The same as the table of times above and the trace below.</desc>\n"
		"<defs><pattern id=\"p-wait\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
		"patternTransform=\"rotate(45)\"><rect class=\"base-wait\" width=\"7\" height=\"7\"/>"
		"<rect class=\"line-wait\" width=\"2\" height=\"7\"/></pattern>\n"
		"<pattern id=\"p-breaks\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
		"patternTransform=\"rotate(45)\"><rect class=\"base-breaks\" width=\"7\" height=\"7\"/>"
		"<rect class=\"line-wait\" width=\"1.2\" height=\"7\"/></pattern>\n"
		"<pattern id=\"p-runnable\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
		"<rect class=\"base-runnable\" width=\"6\" height=\"6\"/><circle class=\"line-runnable\" cx=\"3\" cy=\"3\" "
		"r=\"1.3\"/></pattern></defs>\n",
		bottom + 44 + LEGEND_H);
	draw_axis(t, bottom);
	draw_lanes(t);
	draw_doing(t, lanes);
	draw_trap(t, bottom);
	draw_legend(t, bottom + 24);
	buf_adds(t->out, "</svg>\n");
}

static bool has_lane(const struct timeline *t, const struct call *call)
{
	for (size_t n = 0; n < t->lanes; n++) {
		if (t->lane[n].call && call_same(t->lane[n].call, call))
			return true;
	}
	return false;
}

int svg_timeline(const struct incident *incident, struct buf *out)
{
	struct timeline t = { .incident = incident, .out = out };
	int r;

	if (!incident->trace_count)
		return 0;
	r = events_by_time(incident, &t.event);
	if (r == 0)
		r = calls_make(incident, &t.call, &t.calls);
	t.end = calloc(incident->trace_count, sizeof(*t.end));
	if (r < 0 || !t.end) {
		calls_free(t.call, t.calls);
		free(t.event);
		free(t.end);
		return r < 0 ? r : -ENOMEM;
	}
	t.end_ns = MAX(incident->elapsed_ns, incident->ended ? incident->time_taken_ns : 0);
	for (size_t n = 0; n < incident->trace_count; n++)
		t.end_ns = MAX(t.end_ns, event_end_ns(t.event[n]));
	t.end_ns = MAX(t.end_ns, 1u);
	lanes_make(&t);
	ends_make(&t);
	for (size_t n = 0; n < incident->trace_count; n++)
		t.crowded += incident->trace[n].tid && !lane_of(&t, incident->trace[n].tid);
	for (size_t n = 0; n < t.calls; n++)
		t.crowded += !has_lane(&t, &t.call[n]);
	draw(&t);
	for (size_t n = 0; n < t.lanes; n++)
		free(t.lane[n].name);
	calls_free(t.call, t.calls);
	free(t.event);
	free(t.end);
	return 0;
}
