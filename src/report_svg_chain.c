// SPDX-License-Identifier: MIT
/* The chain of waits as boxes from top to bottom: the processes that passed the request on,
 * the thread that has it, whom that one waits for, and so on. Rejected: from left to
 * right (paths and calls are long, screens narrow). Trap: a chain that comes round is no
 * longer box but an arrow back, in words too: it is the one thing to be seen at once. */
#include "report_svg.h"

#include "report_sections.h"
#include "report_steps.h"
#include "report_words.h"

#include <string.h>

#define WIDTH 760.0
#define BOX_X 16.0
#define BOX_RIGHT 690.0
#define LINE_H 18
#define GAP 40 /* between two boxes: an arrow and its words */
#define COLUMNS 88
#define LINES 3

struct box {
	char *line[LINES]; /* who; where in the program; what it does */
	const char *class, *note;
	double y, height;
};

/* 'usleep() called by report() at /srv/report.php:19'; where that is too long, without the
 * folders. Of the machine's frames the first that has a line says it alone. */
static char *place_of(const struct thread *t)
{
	const struct stack *stack = t->script.count ? &t->script : &t->stack;
	const struct frame *top = stack->count ? &stack->frame[0] : NULL, *f = top;
	const char *file;
	char *text = NULL;

	for (size_t n = 0; n < stack->count && !(f->file && f->line); n++)
		f = &stack->frame[n];
	if (!top)
		return NULL;
	if (!f->file || !f->line) {
		text_setf(&text, "%s()", frame_function(top));
		return text;
	}
	file = f->file;
	for (int k = 0; k < 2; k++) {
		text_setf(&text, "%s%s%s() at %s:%u", t->script.count && f != top ? frame_function(top) : "",
			  t->script.count && f != top ? "() called by " : "", frame_function(f), file, f->line);
		if (!text || text_columns(text, strlen(text)) <= COLUMNS || !strrchr(file, '/'))
			break;
		file = strrchr(file, '/') + 1;
	}
	return text;
}

static void box_of(const struct beyond *b, struct box *box)
{
	struct buf doing;

	buf_init(&doing, PAGE_PARTS_MAX);
	if (b->pid)
		text_setf(&box->line[0], "%s %d", page_known(b->process), b->pid);
	else
		text_set(&box->line[0], "not known who");
	if (b->tid && b->tid != b->pid)
		text_setf(&box->line[0], "%s %d thread %d", page_known(b->process), b->pid, b->tid);
	if (b->request) {
		CLEAN(free) char *who = box->line[0];

		box->line[0] = NULL;
		text_setf(&box->line[0], "%s, at %s for %s", who ? who : "", b->request,
			  word_duration(b->request_age_ns).s);
	}
	box->line[1] = place_of(&b->thread);
	if (b->thread.tid)
		page_doing(&b->thread, &doing);
	else if (b->failed)
		buf_addf(&doing, "not looked at: %s", b->failed);
	box->line[2] = buf_take(&doing);
	box->class = "box";
}

static void draw_box(const struct box *box, struct buf *out)
{
	double y = box->y + LINE_H;

	buf_addf(out, "<rect class=\"%s\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" rx=\"6\"/>\n",
		 box->class, BOX_X, box->y, BOX_RIGHT - BOX_X, box->height);
	for (size_t n = 0; n < LINES; n++) {
		if (!box->line[n] || !box->line[n][0])
			continue;
		svg_label(out, BOX_X + 12, y, n ? "lane" : "who", box->line[n], COLUMNS);
		y += LINE_H;
	}
	if (box->note)
		buf_addf(out, "<text class=\"note\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n",
			 BOX_RIGHT - 10, box->y + LINE_H, box->note);
}

static void draw_arrow(double from, double to, const char *words, bool hop, struct buf *out)
{
	CLEAN(free) char *text = NULL;

	buf_addf(out,
		 "<path class=\"arrow\" d=\"M%.0f %.0fV%.0f\"/><path class=\"head\" d=\"M%.0f %.0fl-5 -9h10z\"/>\n",
		 BOX_X + 30, from, to - 8, BOX_X + 30, to);
	text_setf(&text, "%s%s", hop ? "asks by " : "waits for this one, which ", words ? words : "is not known");
	if (text)
		svg_label(out, BOX_X + 48, (from + to) / 2 + 4, "edge", text, COLUMNS - 6);
}

/* From the last box on the right side up to where the chain was before. */
static void draw_round(const struct box *from, const struct box *to, const char *how, struct buf *out)
{
	double a = from->y + from->height - 14, b = to->y + 16;
	CLEAN(free) char *words = NULL;

	buf_addf(out,
		 "<path class=\"round\" d=\"M%.0f %.0fh30q12 0 12 -12V%.0fq0 -12 -12 -12h-22\"/>"
		 "<path class=\"round-head\" d=\"M%.0f %.0fl10 -5v10z\"/>\n",
		 BOX_RIGHT, a, b + 12, BOX_RIGHT, b);
	text_setf(&words, "comes round: %s %s", to->line[0] ? to->line[0] : "?", how ? how : "is waited for");
	if (words)
		svg_label(out, BOX_X + 48, from->y + from->height + 20, "round", words, COLUMNS - 6);
}

static double box_height(const struct box *box)
{
	size_t lines = 0;

	for (size_t n = 0; n < LINES; n++)
		lines += box->line[n] && box->line[n][0];
	return (double)(lines * LINE_H) + 10;
}

/* The hops before the holder, then the steps; the words of the arrow into each. */
static size_t boxes_make(const struct incident *i, const struct steps *s, struct box *box, const char **into)
{
	size_t count = 0, hops = i->chain_count ? i->chain_count - 1 : 0;
	double y = 6;

	for (size_t n = 0; n < hops; n++) {
		const struct hop *h = &i->chain[n];
		const struct beyond b = { .pid = h->pid, .tid = h->tid, .process = h->process };

		into[count] = n ? i->chain[n - 1].via : NULL;
		box_of(&b, &box[count]);
		box[count++].class = "box hop";
	}
	for (size_t n = 0; n < s->count; n++) {
		if (s->row[n].cycle)
			continue;
		into[count] = n ? s->row[n].how : hops ? i->chain[hops - 1].via : NULL;
		box_of(&s->row[n], &box[count]);
		if (!n)
			box[count].note = "this request";
		count++;
	}
	if (!s->row[s->count - 1].cycle) {
		box[count - 1].class = "box end";
		box[count - 1].note = "the end of the chain";
	}
	for (size_t n = 0; n < count; n++) {
		box[n].y = y;
		box[n].height = box_height(&box[n]);
		y += box[n].height + GAP;
	}
	return count;
}

int svg_chain(const struct incident *i, struct buf *out)
{
	struct steps s = { 0 };
	struct box *box = NULL;
	const char **into = NULL;
	size_t count = 0, hops = i->chain_count ? i->chain_count - 1 : 0;
	int r = steps_make(i, &s);

	if (r == 0 && s.count > 1) {
		box = calloc(hops + s.count, sizeof(*box));
		into = calloc(hops + s.count, sizeof(*into));
		r = box && into ? 0 : -ENOMEM;
	}
	if (r == 0 && box) {
		count = boxes_make(i, &s, box, into);
		buf_addf(
			out,
			"<svg class=\"chain\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"chain-title chain-desc\">\n"
			"<title id=\"chain-title\">Whom it waits for</title>\n"
			"<desc id=\"chain-desc\">The same in words stands below.</desc>\n",
			WIDTH, box[count - 1].y + box[count - 1].height + 32);
		for (size_t n = 0; n < count; n++) {
			if (n)
				draw_arrow(box[n - 1].y + box[n - 1].height, box[n].y, into[n], n <= hops, out);
			draw_box(&box[n], out);
		}
		if (s.row[s.count - 1].cycle)
			draw_round(&box[count - 1], &box[hops + step_back(&s, s.count - 1)], s.row[s.count - 1].how,
				   out);
		buf_adds(out, "</svg>\n");
	}
	for (size_t n = 0; box && n < hops + s.count; n++) {
		for (size_t k = 0; k < LINES; k++)
			free(box[n].line[k]);
	}
	free(box);
	free(into);
	steps_free(&s);
	return r;
}
