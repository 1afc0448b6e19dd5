// SPDX-License-Identifier: MIT
/* A row per name, and per mapping without one. The latter has nothing but its place: it
 * is the same as before where it overlaps what was there, however it has moved its ends
 * or been cut in pieces. Rejected: classes of sizes alone (one mapping that grows gets
 * lost among others); they are for what is new, where there may be thousands alike. */
#include "growth.h"

#include "facts.h"
#include "ktime.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

#define ROWS_MOST 12 /* of the text, and none below 1 % of the first; JSON has all */
#define NAME_COLUMNS 60
#define STACKS "stacks of threads"
#define STACK_MAX (16ull << 20) /* where coroutines run on the heap, a stack pointer proves nothing */

struct row {
	char *name; /* raw; NULL: no name, a place */
	uint64_t start, end;
	uint64_t mappings, first_mappings;
	uint64_t first_bytes, bytes;
	uint64_t before;	     /* bytes at the moment before this one */
	size_t grew;		     /* at how many steps */
	bool is_new;		     /* it was not there at the first moment */
	bool stack;		     /* of a thread, at one moment at least */
	uint64_t new_start, new_end; /* while a moment is added */
};

struct growth {
	struct row *named, *anon; /* by name; by place */
	size_t named_count, anon_count;
	uint64_t first_ns, last_ns, first_bytes, last_bytes, not_counted;
	size_t count;
};

struct growth *growth_new(void)
{
	return calloc(1, sizeof(struct growth));
}

void growth_free(struct growth *g)
{
	for (size_t i = 0; g && i < g->named_count; i++)
		free(g->named[i].name);
	if (g) {
		free(g->named);
		free(g->anon);
	}
	free(g);
}

size_t growth_count(const struct growth *growth)
{
	return growth->count;
}

/* ---- a moment more ---- */

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int by_place(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static struct row *row_add(struct growth *g, struct row **list, size_t *count)
{
	struct row *row = list_add(list, count, sizeof(*row));

	if (row)
		row->is_new = g->count > 0;
	return row;
}

static int add_named(struct growth *g, const struct moment *m)
{
	size_t known = g->named_count;

	for (size_t i = 0; i < m->named_count; i++) {
		struct row key = { .name = m->named[i].name };
		struct row *row = known ? bsearch(&key, g->named, known, sizeof(key), by_name) : NULL;

		if (!row) {
			char *name = strdup(key.name);

			row = name ? row_add(g, &g->named, &g->named_count) : NULL;
			if (!row) {
				free(name);
				return -ENOMEM;
			}
			row->name = name;
		}
		row->bytes = m->named[i].bytes;
		row->mappings = m->named[i].mappings;
	}
	if (g->named_count > known)
		qsort(g->named, g->named_count, sizeof(*g->named), by_name);
	return 0;
}

/* What two rows were is one from now on. */
static void row_join(struct row *to, struct row *from)
{
	to->first_bytes += from->first_bytes;
	to->before += from->before;
	to->first_mappings += from->first_mappings;
	to->grew = MAX(to->grew, from->grew);
	to->is_new &= from->is_new;
	to->stack |= from->stack;
	*from = (struct row){ 0 };
}

/* Both lists are in order of place, and no two of one overlap. */
static int add_anon(struct growth *g, const struct moment *m)
{
	size_t known = g->anon_count, from = 0;

	for (size_t i = 0; i < m->anon_count; i++) {
		const struct moment_mapping *map = &m->anon[i];
		struct row *row = NULL;

		while (from < known && g->anon[from].end <= map->start)
			from++;
		for (size_t k = from; k < known && g->anon[k].start < map->end; k++) {
			if (g->anon[k].end <= map->start) /* joined to another */
				continue;
			if (row)
				row_join(row, &g->anon[k]);
			else
				row = &g->anon[k];
		}
		if (!row)
			row = row_add(g, &g->anon, &g->anon_count);
		if (!row)
			return -ENOMEM;
		/* its place is the old one until all are placed: pieces of it come in a row */
		row->new_start = row->mappings ? row->new_start : map->start;
		row->new_end = map->end;
		row->bytes += map->bytes;
		row->mappings++;
		row->stack |= map->stack;
	}
	return 0;
}

/* Takes stock of the moment. A row that came and went is forgotten. */
static size_t settle(struct growth *g, struct row *list, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct row *row = &list[i];

		if (g->count == 0) {
			row->first_bytes = row->bytes;
			row->first_mappings = row->mappings;
		}
		row->grew += g->count > 0 && row->bytes > row->before;
		if (row->mappings && !row->name) {
			row->start = row->new_start;
			row->end = row->new_end;
		}
		if (row->bytes || row->first_bytes)
			list[n++] = *row;
		else
			free(row->name);
	}
	return n;
}

static void begin(struct row *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		list[i].before = list[i].bytes;
		list[i].bytes = list[i].mappings = 0;
	}
}

int growth_add(struct growth *g, const struct moment *moment)
{
	int r;

	if (!(moment->parts & MOMENT_MEMORY))
		return 0;
	begin(g->named, g->named_count);
	begin(g->anon, g->anon_count);
	r = add_named(g, moment);
	if (r == 0)
		r = add_anon(g, moment);
	g->named_count = settle(g, g->named, g->named_count);
	g->anon_count = settle(g, g->anon, g->anon_count);
	if (g->named_count)
		qsort(g->named, g->named_count, sizeof(*g->named), by_name);
	if (g->anon_count)
		qsort(g->anon, g->anon_count, sizeof(*g->anon), by_place);
	if (g->count == 0) {
		g->first_ns = moment->at_ns;
		g->first_bytes = moment->bytes;
	}
	g->last_ns = moment->at_ns;
	g->last_bytes = moment->bytes;
	g->not_counted = MAX(g->not_counted, moment->not_counted);
	g->count++;
	return r;
}

/* ---- what is told ---- */

/* A row, or several that are alike: neighbours, or new ones of one size. */
struct line {
	const char *name;
	uint64_t start, end; /* of neighbours */
	uint64_t mappings, first_mappings;
	uint64_t first_bytes, bytes;
	uint64_t least, most; /* sizes of new ones */
	size_t grew;
	bool is_new;
};

static int64_t delta(const struct line *line)
{
	return (int64_t)line->bytes - (int64_t)line->first_bytes;
}

static int by_delta(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (delta(x) != delta(y))
		return delta(x) > delta(y) ? -1 : 1;
	if (x->name && y->name)
		return strcmp(x->name, y->name);
	if (x->name || y->name)
		return x->name ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

static void line_take(struct line *line, const struct row *row)
{
	uint64_t size = row->end - row->start;

	if (!line->mappings && !line->first_mappings) {
		line->start = row->start;
		line->least = line->most = size;
	}
	line->name = row->name;
	line->is_new = row->is_new;
	line->end = row->end;
	line->least = MIN(line->least, size);
	line->most = MAX(line->most, size);
	line->mappings += row->mappings;
	line->first_mappings += row->first_mappings;
	line->first_bytes += row->first_bytes;
	line->bytes += row->bytes;
	line->grew = MAX(line->grew, row->grew);
}

static bool is_stack(const struct row *row)
{
	return row->stack && row->end - row->start <= STACK_MAX;
}

/* New ones without a name go by their size's power of two, old ones by neighbourhood. */
static int anon_lines(const struct growth *g, struct line **lines, size_t *count)
{
	struct line class[64] = { { 0 } };
	struct line *line = NULL;
	const struct row *last = NULL;

	for (size_t i = 0; i < g->anon_count; i++) {
		const struct row *row = &g->anon[i];

		if (row->bytes == row->first_bytes || is_stack(row))
			continue;
		if (row->is_new) {
			line_take(&class[63 - __builtin_clzll((row->end - row->start) | 1)], row);
			continue;
		}
		if (!last || last->end != row->start ||
		    (last->bytes > last->first_bytes) != (row->bytes > row->first_bytes))
			line = list_add(lines, count, sizeof(*line));
		if (!line)
			return -ENOMEM;
		line_take(line, row);
		last = row;
	}
	for (size_t i = 0; i < ARRAY_LEN(class); i++) {
		if (!class[i].mappings)
			continue;
		line = list_add(lines, count, sizeof(*line));
		if (!line)
			return -ENOMEM;
		*line = class[i];
	}
	return 0;
}

/* All of them are one line, which tells how many there are. */
static int stacks_line(const struct growth *g, struct line **lines, size_t *count)
{
	struct line stacks = { 0 }, *line;

	for (size_t i = 0; i < g->anon_count; i++) {
		if (is_stack(&g->anon[i]))
			line_take(&stacks, &g->anon[i]);
	}
	if (stacks.bytes == stacks.first_bytes)
		return 0;
	line = list_add(lines, count, sizeof(*line));
	if (!line)
		return -ENOMEM;
	stacks.name = STACKS;
	stacks.is_new = stacks.first_mappings == 0;
	*line = stacks;
	return 0;
}

static int make_lines(const struct growth *g, struct line **ret_lines, size_t *ret_count)
{
	struct line *lines = NULL;
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; i < g->named_count && r == 0; i++) {
		struct line *line;

		if (g->named[i].bytes == g->named[i].first_bytes)
			continue;
		line = list_add(&lines, &count, sizeof(*line));
		if (line)
			line_take(line, &g->named[i]);
		else
			r = -ENOMEM;
	}
	if (r == 0)
		r = anon_lines(g, &lines, &count);
	if (r == 0)
		r = stacks_line(g, &lines, &count);
	if (r < 0) {
		free(lines);
		return r;
	}
	if (count)
		qsort(lines, count, sizeof(*lines), by_delta);
	*ret_lines = lines;
	*ret_count = count;
	return 0;
}

/* '+64.0 MiB' */
static struct word word_delta(int64_t bytes)
{
	struct word w = word_bytes((uint64_t)(bytes < 0 ? -bytes : bytes)), signed_w;

	snprintf(signed_w.s, sizeof(signed_w.s), "%s%.60s", bytes < 0 ? "-" : bytes ? "+" : "", w.s);
	return signed_w;
}

/* What is known of it without a name. */
static void add_place(struct buf *out, const struct line *line)
{
	if (line->is_new && line->mappings > 1) {
		buf_addf(out, "%" PRIu64 " new mappings without a name, of %s", line->mappings,
			 word_bytes(line->least).s);
		if (strcmp(word_bytes(line->least).s, word_bytes(line->most).s) != 0)
			buf_addf(out, " to %s", word_bytes(line->most).s);
		return;
	}
	buf_addf(out, "%sno name, %" PRIx64 "-%" PRIx64 " (%s", line->is_new ? "new, " : "", line->start, line->end,
		 word_bytes(line->end - line->start).s);
	if (line->mappings > 1)
		buf_addf(out, ", %" PRIu64 " mappings", line->mappings);
	buf_adds(out, ")");
}

static void add_line(struct buf *out, const struct growth *g, const struct line *line)
{
	char lead[96];
	struct buf text;

	buf_init(&text, 65536);
	if (line->name) {
		add_tail(&text, line->name, NAME_COLUMNS);
		if (line->mappings != line->first_mappings)
			buf_addf(&text, " (%" PRIu64 " mappings, were %" PRIu64 ")", line->mappings,
				 line->first_mappings);
	} else {
		add_place(&text, line);
	}
	if (line->first_bytes)
		buf_addf(&text, ": %s -> %s", word_bytes(line->first_bytes).s, word_bytes(line->bytes).s);
	if (g->count > 2 && !line->is_new && line->grew + 1 == g->count)
		buf_addf(&text, ", at each of %zu steps", g->count - 1);
	else if (g->count > 2 && !line->is_new)
		buf_addf(&text, ", at %zu of %zu steps", line->grew, g->count - 1);
	snprintf(lead, sizeof(lead), "  %11s  ", word_delta(delta(line)).s);
	add_wrapped(out, lead, text.data ? text.data : "", strlen(lead));
	buf_done(&text);
}

int growth_text(const struct growth *g, struct buf *out)
{
	struct line *lines;
	size_t count, shown = 0;
	int64_t rest;
	int r;

	if (g->count < 2) {
		buf_adds(out, "memory: nothing to compare, there are not two moments\n");
		return 0;
	}
	r = make_lines(g, &lines, &count);
	if (r < 0)
		return r;
	rest = (int64_t)g->last_bytes - (int64_t)g->first_bytes;
	buf_addf(out, "memory in %s: %s -> %s (%s)\n", word_duration(g->last_ns - g->first_ns).s,
		 word_bytes(g->first_bytes).s, word_bytes(g->last_bytes).s, word_delta(rest).s);
	for (; shown < MIN(count, (size_t)ROWS_MOST) && delta(&lines[shown]) > delta(&lines[0]) / 100; shown++) {
		add_line(out, g, &lines[shown]);
		rest -= delta(&lines[shown]);
	}
	if (count > shown)
		buf_addf(out, "  %11s  %zu other%s together\n", word_delta(rest).s, count - shown,
			 word_plural(count - shown));
	if (g->not_counted)
		buf_addf(out, "  not counted: %" PRIu64 " mapping%s too large to be looked through\n", g->not_counted,
			 word_plural(g->not_counted));
	free(lines);
	return out->full ? -ENOMEM : 0;
}

static void add_json_line(struct buf *out, const struct line *line)
{
	buf_adds(out, "{\"name\":");
	facts_add_string(out, line->name);
	if (!line->name && !(line->is_new && line->mappings > 1))
		buf_addf(out, ",\"start\":\"0x%" PRIx64 "\",\"end\":\"0x%" PRIx64 "\"", line->start, line->end);
	if (!line->name)
		buf_addf(out, ",\"size_least\":%" PRIu64 ",\"size_most\":%" PRIu64, line->least, line->most);
	buf_addf(out,
		 ",\"new\":%s,\"first_bytes\":%" PRIu64 ",\"last_bytes\":%" PRIu64
		 ",\"grew_bytes\":%lld,\"steps_grown\":%zu,\"first_mappings\":%" PRIu64 ",\"mappings\":%" PRIu64 "}",
		 line->is_new ? "true" : "false", line->first_bytes, line->bytes, (long long)delta(line), line->grew,
		 line->first_mappings, line->mappings);
}

int growth_json(const struct growth *g, struct buf *out)
{
	struct line *lines = NULL;
	size_t count = 0;
	int r = make_lines(g, &lines, &count);

	if (r < 0)
		return r;
	buf_addf(out,
		 "{\"moments\":%zu,\"over_ms\":%s,\"first_bytes\":%" PRIu64 ",\"last_bytes\":%" PRIu64
		 ",\"grew_bytes\":%lld,\"not_counted\":%" PRIu64 ",\"mappings\":[",
		 g->count, word_ms(g->last_ns - g->first_ns).s, g->first_bytes, g->last_bytes,
		 (long long)g->last_bytes - (long long)g->first_bytes, g->not_counted);
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_adds(out, ",");
		add_json_line(out, &lines[i]);
	}
	buf_adds(out, "]}");
	free(lines);
	return out->full ? -ENOMEM : 0;
}
