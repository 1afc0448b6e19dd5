// SPDX-License-Identifier: MIT
/* Time from left to right, how long requests took from bottom to top, how many as depth of
 * colour; what was trapped is a ring, so that it is not told by colour alone. Trap: a cell
 * of one request must be seen beside one of a million: the depth is by logarithm. */
#include "ktime.h"
#include "report_words.h"
#include "serve.h"

#include <math.h>

#define LEFT 70.0
#define TOP 10.0
#define COLUMN 2.5
#define ROW 9.0
#define WIDTH (LEFT + HEAT_COLUMNS * COLUMN + 10)
#define BOTTOM (TOP + LATENCY_BUCKETS * ROW)

void heat_tick(struct serve *serve)
{
	struct heat *heat = &serve->heat;
	uint32_t *cell = heat->cell[heat->columns % HEAT_COLUMNS];
	struct engine_totals t;

	engine_totals(serve->engine, &t);
	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		cell[i] = (uint32_t)MIN(t.latency[i] - heat->seen[i], UINT32_MAX);
		heat->seen[i] = t.latency[i];
	}
	heat->columns++;
	heat->end_wall_ns = wall_ns();
}

/* The end of a bucket. */
static uint64_t bucket_ns(int bucket)
{
	return 1ull << (LATENCY_SHIFT + bucket);
}

static double y_of(uint64_t ns)
{
	double at = ns > bucket_ns(0) ? log2((double)ns) - LATENCY_SHIFT + 1 : (double)ns / (double)bucket_ns(0);

	return BOTTOM - MIN(at, (double)LATENCY_BUCKETS) * ROW;
}

static void add_axes(struct buf *out)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} marks[] = { { NSEC_PER_MSEC, "1 ms" }, { 10 * NSEC_PER_MSEC, "10 ms" }, { 100 * NSEC_PER_MSEC, "100 ms" },
		      { NSEC_PER_SEC, "1 s" },	 { 10 * NSEC_PER_SEC, "10 s" },	  { 100 * NSEC_PER_SEC, "100 s" } };

	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		buf_addf(out,
			 "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>"
			 "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			 LEFT, WIDTH - 10, y_of(marks[i].ns), y_of(marks[i].ns), LEFT - 8, y_of(marks[i].ns) + 4,
			 marks[i].text);
	for (int minutes = 60; minutes >= 0; minutes -= 15)
		buf_addf(out, "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">%s%.0d%s</text>\n",
			 LEFT + (60 - minutes) * 6 * COLUMN, BOTTOM + 16, minutes ? "start" : "end",
			 minutes ? "-" : "now", minutes, minutes ? " min" : "");
}

static void add_cells(const struct heat *heat, struct buf *out)
{
	uint64_t have = MIN(heat->columns, (uint64_t)HEAT_COLUMNS);

	for (uint64_t back = 1; back <= have; back++) {
		const uint32_t *cell = heat->cell[(heat->columns - back) % HEAT_COLUMNS];

		for (int i = 0; i < LATENCY_BUCKETS; i++) {
			if (cell[i])
				buf_addf(
					out,
					"<rect class=\"cell\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill-opacity=\"%.2f\"/>\n",
					LEFT + (double)(HEAT_COLUMNS - back) * COLUMN, BOTTOM - (i + 1) * ROW, COLUMN,
					ROW, MIN(1.0, 0.25 + log10(cell[i]) * 0.17));
		}
	}
}

static void add_trapped(const struct serve *serve, struct buf *out)
{
	uint64_t end = wall_ns(), begin = end - HEAT_COLUMNS * HEAT_NS;

	for (size_t i = 0; i < serve->row_count; i++) {
		const struct serve_row *row = &serve->row[i];

		if (row->wall_ns < begin || row->wall_ns > end)
			continue;
		if (row->folder)
			buf_addf(out, "<a href=\"/incident/%s/report.html\">", row->id);
		buf_addf(out, "<circle class=\"trap\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>",
			 LEFT + (double)(row->wall_ns - begin) / (double)HEAT_NS * COLUMN, y_of(row->elapsed_ns));
		page_text(out, row->url);
		buf_addf(out, ", %s</title></circle>%s\n", word_duration(row->elapsed_ns).s, row->folder ? "</a>" : "");
	}
}

static uint64_t share_ns(const uint64_t sum[LATENCY_BUCKETS], uint64_t all, unsigned int permille)
{
	uint64_t seen = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		seen += sum[i];
		if (seen * 1000 >= all * permille)
			return bucket_ns(i);
	}
	return bucket_ns(LATENCY_BUCKETS - 1);
}

static void add_words(const struct serve *serve, struct buf *out)
{
	const struct heat *heat = &serve->heat;
	uint64_t sum[LATENCY_BUCKETS] = { 0 }, all = 0, have = MIN(heat->columns, (uint64_t)HEAT_COLUMNS);

	for (uint64_t back = 1; back <= have; back++) {
		for (int i = 0; i < LATENCY_BUCKETS; i++)
			sum[i] += heat->cell[(heat->columns - back) % HEAT_COLUMNS][i];
	}
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		all += sum[i];
	buf_addf(out, "<p class=\"soft\">The last hour%s: %s request%s that ended",
		 have < HEAT_COLUMNS ? ", as far as there is one" : "", word_count(all).s, word_plural(all));
	if (all)
		buf_addf(out, "; half of them took less than %s, 99 of 100 less than %s, 999 of 1000 less than %s",
			 word_duration(share_ns(sum, all, 500)).s, word_duration(share_ns(sum, all, 990)).s,
			 word_duration(share_ns(sum, all, 999)).s);
	buf_adds(out, ". A ring is a trapped one.</p>\n");
}

void heat_draw(const struct serve *serve, struct buf *out)
{
	buf_addf(
		out,
		"<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"How long requests took\">\n<svg viewBox=\"0 0 %g "
		"%g\" role=\"group\" aria-label=\"How long requests took in the last hour; the text below says it in words\">\n",
		WIDTH, BOTTOM + 24);
	add_axes(out);
	add_cells(&serve->heat, out);
	add_trapped(serve, out);
	buf_adds(out, "</svg></div>\n");
	add_words(serve, out);
}
