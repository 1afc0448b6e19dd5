// SPDX-License-Identifier: MIT
/* The page as 80 columns of text, for terminals, mails and tickets. Rejected: colours
 * (the file is mailed) and asking the terminal for its width (other bytes elsewhere).
 * Trap: what is escaped or wide takes more columns than bytes, so texts are escaped
 * first and measured then. */
#include "report.h"

#include "report_sections.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

#define WIDTH 80
#define LABEL_AT 2
#define VALUE_AT 12 /* column of a field's value */
#define TIME_AT 46  /* column of the figures */
#define BAR 13
#define FRAME_PLACE_AT 45
#define EVENT_TEXT_AT 25

struct text_pen {
	struct pen pen; /* first: the pen is this */
	struct buf *out;
	size_t indent; /* of frames and lines inside a group */
};

static struct buf *out_of(struct pen *pen)
{
	return ((struct text_pen *)pen)->out;
}

static size_t indent_of(struct pen *pen)
{
	return ((struct text_pen *)pen)->indent;
}

static void pad(struct buf *out, size_t columns)
{
	buf_addf(out, "%*s", (int)columns, "");
}

static void repeat(struct buf *out, const char *text, size_t count)
{
	while (count--)
		buf_adds(out, text);
}

/* A number stays with its unit: '212 ms', '95.8 %'. */
static bool may_break(const char *text, size_t len, size_t n)
{
	char before = n ? text[n - 1] : ' ', after = n + 1 < len ? text[n + 1] : ' ';

	return text[n] == ' ' && n &&
	       !(before >= '0' && before <= '9' &&
		 (after == '%' || (after >= 'a' && after <= 'z') || after == 'K' || after == 'M' || after == 'G'));
}

/* How many bytes of the text fit into 'room' columns, broken at a blank if there is
 * one, else behind a '/'; never 0 unless the text is empty. */
static size_t line_fit(const char *text, size_t len, size_t room)
{
	size_t n = 0, used = 0, blank = 0, slash = 0;

	while (n < len) {
		size_t columns, one = char_columns(text + n, len - n, &columns);

		if (used + columns > room && n)
			break;
		if (may_break(text, len, n))
			blank = n;
		used += columns;
		n += one;
		if (text[n - 1] == '/')
			slash = n;
	}
	if (n == len || may_break(text, len, n))
		return n;
	return blank > n / 3 ? blank : slash > n / 3 ? slash : n;
}

/* Escaped and wrapped at 'width'; the first line goes on at column 'at', the others
 * begin at 'hang'. Returns the column after the last character; no newline there. */
static size_t wrap_at(struct buf *out, const char *raw, size_t raw_len, size_t at, size_t hang, size_t width)
{
	struct buf clean;
	size_t column = at;
	const char *p;

	buf_init(&clean, REPORT_BYTES_MAX);
	add_clean(&clean, raw, raw_len);
	p = clean.data ? clean.data : "";
	if (at >= width && clean.len) {
		buf_adds(out, "\n");
		pad(out, hang);
		at = hang;
	}
	for (size_t left = clean.len; left;) {
		size_t n = line_fit(p, left, width - at);

		size_t shown = n;

		while (shown && p[shown - 1] == ' ')
			shown--;
		buf_add(out, p, shown);
		column = at + text_columns(p, shown);
		p += n;
		left -= n;
		while (left && *p == ' ')
			p++, left--;
		if (!left)
			break;
		buf_adds(out, "\n");
		pad(out, hang);
		at = hang;
	}
	if (clean.full)
		out->full = true;
	buf_done(&clean);
	return column;
}

static size_t wrap(struct buf *out, const char *raw, size_t at, size_t hang)
{
	return wrap_at(out, raw, strlen(raw), at, hang, WIDTH);
}

/* 'lead' as it stands, then the text from column 'hang' on. */
static void wrapped(struct buf *out, const char *lead, const char *text, size_t hang)
{
	buf_adds(out, lead);
	wrap(out, text, hang, hang);
	buf_adds(out, "\n");
}

static void paragraph(struct buf *out, const char *lead, const char *text)
{
	wrapped(out, lead, text, text_columns(lead, strlen(lead)));
}

static void head(struct pen *pen, const struct incident *i)
{
	struct buf *out = out_of(pen);
	struct word title = word_title(i);
	const char *url = i->request.url ? i->request.url : "unknown";
	char line[WIDTH * 4], right[WIDTH];
	size_t used;

	snprintf(line, sizeof(line), "%s  %.20s %.*s", title.s, i->request.method ? i->request.method : "",
		 (int)strcspn(url, "?"), url);
	used = wrap(out, line, 0, strlen(title.s) + 2);
	snprintf(right, sizeof(right), "#%s", i->id);
	if (used + 1 + strlen(right) > WIDTH) {
		buf_adds(out, "\n");
		used = 0;
	}
	pad(out, WIDTH - used - strlen(right));
	buf_addf(out, "%s\n", right);
	repeat(out, "=", WIDTH);
	buf_adds(out, "\n");
	paragraph(out, "VERDICT   ", i->verdict ? i->verdict : "none: nothing was found out.");
	if (i->confidence)
		paragraph(out, "          confidence: ", i->confidence);
	for (size_t n = 0; i->evidence && i->evidence[n]; n++) {
		if (i->evidence[n][0])
			paragraph(out, "          - ", i->evidence[n]);
	}
	if (i->advice)
		paragraph(out, "ADVICE    ", i->advice);
}

static void section(struct pen *pen, const char *title, const char *note)
{
	((struct text_pen *)pen)->indent = 0;
	buf_addf(out_of(pen), "\n%s%s%s\n", title, note ? "   " : "", note ? note : "");
}

static void field(struct pen *pen, const char *label, const char *value)
{
	struct buf *out = out_of(pen);

	buf_addf(out, "%*s%-*s", LABEL_AT, "", VALUE_AT - LABEL_AT, label);
	wrap(out, value, VALUE_AT, VALUE_AT);
	buf_adds(out, "\n");
}

static void line(struct pen *pen, const char *text)
{
	pad(out_of(pen), indent_of(pen));
	wrapped(out_of(pen), "  ", text, indent_of(pen) + 2);
}

static void warn(struct pen *pen, const char *text)
{
	pad(out_of(pen), indent_of(pen));
	wrapped(out_of(pen), "  ! ", text, indent_of(pen) + 4);
}

/* A bar of eighths of a character; anything at all shows as something. */
static void bar(struct buf *out, unsigned int permille)
{
	static const char *const part[] = { "", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589" };
	unsigned int eighths = (permille * BAR * 8 + 500) / 1000;

	if (!eighths)
		eighths = 1;
	repeat(out, "\u2588", eighths / 8);
	buf_adds(out, part[eighths % 8]);
}

static void time_row(struct pen *pen, const struct time_row *row)
{
	struct buf *out = out_of(pen);
	char *label = NULL;
	size_t at;

	if (row->count > 1)
		text_setf(&label, "%s  x%s%s", row->label, word_count(row->count).s, row->open ? " *" : "");
	else
		text_setf(&label, "%s%s", row->label, row->open ? " *" : "");
	buf_adds(out, "  ");
	/* the figures stand beside the last line of a long label */
	at = wrap_at(out, label ? label : "", label ? strlen(label) : 0, 2, 4, TIME_AT);
	free(label);
	pad(out, TIME_AT - at);
	buf_addf(out, "%10s %8s", word_duration(row->ns).s, word_percent(row->permille).s);
	if (!row->total && row->permille) {
		buf_adds(out, "  ");
		bar(out, row->permille);
	}
	buf_adds(out, "\n");
}

static void frame(struct pen *pen, const struct frame_row *row)
{
	struct buf *out = out_of(pen);
	struct buf clean;
	size_t at = indent_of(pen) + 8, need;
	const char *place = row->place;
	char seen[48], all[48];

	pad(out, indent_of(pen));
	buf_addf(out, "   #%-3zu ", row->index);
	if (row->of) {
		snprintf(seen, sizeof(seen), "%zu/%zu", row->seen, row->of);
		snprintf(all, sizeof(all), "%zu/%zu  ", row->of, row->of);
		buf_addf(out, "%-*s", (int)strlen(all), seen);
		at += strlen(all);
	}
	at = wrap(out, row->function, at, at + 2);
	buf_init(&clean, 64u << 10);
	add_clean(&clean, place, strlen(place));
	need = text_columns(clean.data ? clean.data : "", clean.len);
	buf_done(&clean);
	if (need && at + 2 <= FRAME_PLACE_AT && FRAME_PLACE_AT + need <= WIDTH) {
		pad(out, FRAME_PLACE_AT - at);
		wrap(out, place, FRAME_PLACE_AT, FRAME_PLACE_AT);
	} else if (need && at + 2 + need <= WIDTH) {
		pad(out, WIDTH - need - at);
		wrap(out, place, WIDTH - need, 12);
	} else if (need) {
		at = indent_of(pen) + 12;
		buf_adds(out, "\n");
		pad(out, at);
		wrap(out, place, at, at);
	}
	buf_adds(out, "\n");
}

static void group(struct pen *pen, size_t count, const char *what, const char *tids)
{
	char lead[48];

	if (indent_of(pen))
		buf_adds(out_of(pen), "\n");
	((struct text_pen *)pen)->indent = 6;
	snprintf(lead, sizeof(lead), "%5zu x  ", count);
	paragraph(out_of(pen), lead, what);
	paragraph(out_of(pen), "         tid ", tids);
}

static void event_end(struct buf *out, size_t at, uint64_t dur_ns)
{
	struct word dur = word_duration(dur_ns);

	if (!dur_ns) {
		buf_adds(out, "\n");
		return;
	}
	if (at + 2 + strlen(dur.s) > WIDTH) {
		buf_adds(out, "\n");
		at = 0;
	}
	pad(out, WIDTH - at - strlen(dur.s));
	buf_addf(out, "%s\n", dur.s);
}

static void event(struct pen *pen, const struct event_row *row)
{
	struct buf *out = out_of(pen);
	size_t at = EVENT_TEXT_AT;
	char fold[128];

	if (row->trigger) {
		buf_addf(out, ">>%11s  ", word_ms(row->at_ns).s);
		wrap(out, row->text, 15, 15);
		buf_adds(out, "\n");
		return;
	}
	if (row->folded) {
		snprintf(fold, sizeof(fold), "... %s event%s not shown here: see trace.json", word_count(row->folded).s,
			 word_plural(row->folded));
		pad(out, 15);
		buf_adds(out, fold);
		event_end(out, 15 + strlen(fold), row->dur_ns);
		return;
	}
	buf_addf(out, "%13s  ", word_ms(row->at_ns).s);
	at = wrap(out, row->event->kind ? row->event->kind : "?", 15, 15);
	if (at >= EVENT_TEXT_AT) {
		buf_adds(out, "\n");
		at = 0;
	}
	pad(out, EVENT_TEXT_AT - at);
	at = EVENT_TEXT_AT;
	if (row->who) {
		buf_adds(out, "[");
		at = wrap(out, row->who, at + 1, EVENT_TEXT_AT);
		buf_adds(out, "] ");
		at += 2;
	}
	at = wrap(out, row->text, at, EVENT_TEXT_AT);
	event_end(out, at, row->dur_ns);
}

static void span(struct pen *pen, const struct span_row *row)
{
	char lead[80];

	if (row->who)
		page_line(pen, "%s", row->who);
	snprintf(lead, sizeof(lead), "%s", word_ms(row->at_ns).s);
	page_field(pen, lead, "%12s %12s  %*s%s", word_ms(row->dur_ns).s, word_ms(row->self_ns).s,
		   (int)(2 * MIN(row->depth, 8u)), "", row->text);
}

static void output(struct pen *pen, const char *text, size_t len)
{
	struct buf *out = out_of(pen);

	buf_adds(out, len ? "  | " : "  |");
	wrap_at(out, text, len, 4, 4, WIDTH);
	buf_adds(out, "\n");
}

static struct text_pen text_pen(struct buf *out)
{
	return (struct text_pen){
		.pen = { .events_most = 72,
			 .groups_most = 20,
			 .frames_most = 24,
			 .output_lines_most = 40,
			 .head = head,
			 .section = section,
			 .field = field,
			 .line = line,
			 .warn = warn,
			 .time_row = time_row,
			 .frame = frame,
			 .group = group,
			 .event = event,
			 .span = span,
			 .output = output },
		.out = out,
	};
}

int report_text_around(const struct incident *incident, struct buf *out)
{
	struct text_pen pen = text_pen(out);
	int r = section_ends(incident, &pen.pen);

	if (r == 0)
		r = section_pool(incident, &pen.pen);
	if (r == 0)
		r = section_cpu(incident, &pen.pen);
	return r < 0 ? r : section_host(incident, &pen.pen);
}

static int draw(const struct incident *incident, const char *view, struct buf *out, struct err *err)
{
	struct text_pen pen = text_pen(out);
	char *foot = NULL;
	int r;

	if (view)
		pen.pen.events_most = SIZE_MAX;
	r = view ? page_draw_view(incident, view, &pen.pen) : page_draw(incident, &pen.pen, err);

	buf_adds(out, "\n");
	text_setf(&foot, "reqtrap%s%s%s%s", incident->version ? " " : "", incident->version ? incident->version : "",
		  incident->kernel ? ", Linux " : "", incident->kernel ? incident->kernel : "");
	paragraph(out, "", foot ? foot : "");
	free(foot);
	if (r < 0 && view)
		err_sys(err, r, "cannot draw the view '%s'", view);
	return r < 0 ? r : report_done(out, "text", err);
}

int report_text(const struct incident *incident, struct buf *out, struct err *err)
{
	return draw(incident, NULL, out, err);
}

int report_text_view(const struct incident *incident, const char *view, struct buf *out, struct err *err)
{
	return draw(incident, view, out, err);
}
