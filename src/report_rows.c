// SPDX-License-Identifier: MIT
/* Where the time went and the trace, as rows for pages and pictures. Rejected:
 * showing every event (ten thousand lines hide the one that matters) and sampling
 * (it drops that one by chance): kept are the ends, the surroundings of the trap and
 * the longest; the rest becomes counted folds. Trap: percents are rounded so that
 * they still add up to 100.0. */
#include "report_page.h"

#include "buf.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

#define TIME_ROWS_MOST 12

/* --- where the time went --- */

#define GRAVE 3 /* a warning: what is milder is not called anything */

static int add_time(struct time_row **rows, size_t *count, const struct spending *s, const char *label)
{
	struct time_row *row = list_add(rows, count, sizeof(*row));

	if (!row)
		return -ENOMEM;
	*row = (struct time_row){ .kind = s->kind, .ns = s->ns, .count = s->count, .open = s->open };
	row->label = strdup(label);
	return row->label ? 0 : -ENOMEM;
}

static char *wait_label(const struct spending *s)
{
	char *label = NULL, *peer = NULL, *waker = NULL;
	const char *call = s->call;

	if (s->peer)
		text_setf(&peer, " (%s)", s->peer);
	/* The peer, where there is one, is who woke it. */
	else if (s->waker)
		text_setf(&waker, ", woken by %s", s->waker);
	/* 'futex 0x7f..' says its call itself */
	if (s->call && s->object && !strncmp(s->object, s->call, strlen(s->call)) && s->object[strlen(s->call)] == ' ')
		call = "";
	text_setf(&label, "waiting%s%s%s%s%s%s", call || s->object ? ": " : "", call ? call : "",
		  call && call[0] && s->object ? "  " : "", s->object ? s->object : "", peer ? peer : "",
		  waker ? waker : "");
	free(peer);
	free(waker);
	return label;
}

static char *label_of(const struct spending *s)
{
	static const char *const plain[] = { "on CPU",	"runnable, no CPU free",
					     "waiting", "unattributed",
					     "behind",	"in its event loop, for none that is known" };
	char *label = NULL;

	if (s->kind == SPEND_WAIT)
		return wait_label(s);
	if (s->kind == SPEND_CPU && (s->user_ns || s->kernel_ns))
		text_setf(&label, "on CPU: %s user, %s kernel", word_duration(s->user_ns).s,
			  word_duration(s->kernel_ns).s);
	else
		text_setf(&label, "%s%s%s", plain[s->kind], s->object ? " " : "", s->object ? s->object : "");
	return label;
}

static int add_spending(struct time_row **rows, size_t *count, const struct spending *s)
{
	char *label = label_of(s);
	int r = label ? add_time(rows, count, s, label) : -ENOMEM;

	free(label);
	return r;
}

static int longest_first(const void *a, const void *b)
{
	const struct time_row *x = a, *y = b;
	bool rest_x = x->kind == SPEND_UNATTRIBUTED, rest_y = y->kind == SPEND_UNATTRIBUTED;

	if (rest_x != rest_y)
		return rest_x ? 1 : -1;
	if (x->ns != y->ns)
		return x->ns > y->ns ? -1 : 1;
	return strcmp(x->label, y->label);
}

/* Rows beyond the most become one. The row of what nothing explains stays last. */
static int merge_small(struct time_row *rows, size_t *count)
{
	size_t rest = *count && rows[*count - 1].kind == SPEND_UNATTRIBUTED, last = *count - rest, merged = 0;
	struct spending sum = { .kind = SPEND_WAIT };
	char *label = NULL;

	if (last <= TIME_ROWS_MOST)
		return 0;
	for (size_t n = TIME_ROWS_MOST - 1; n < last; n++) {
		sum.ns += rows[n].ns;
		sum.count += rows[n].count;
		sum.open |= rows[n].open;
		merged++;
		free((char *)rows[n].label);
	}
	text_setf(&label, "%zu shorter ones together", merged);
	rows[TIME_ROWS_MOST - 1] = (struct time_row){
		.label = label, .kind = sum.kind, .ns = sum.ns, .count = sum.count, .open = sum.open
	};
	if (rest)
		rows[TIME_ROWS_MOST] = rows[*count - 1];
	*count = TIME_ROWS_MOST + rest;
	return label ? 0 : -ENOMEM;
}

/* Largest remainders get the tenths of a percent that rounding down left over. */
static void share_out(struct time_row *rows, size_t count, uint64_t whole)
{
	unsigned int given = 0;

	if (!whole)
		return;
	for (size_t n = 0; n < count; n++) {
		rows[n].permille = (unsigned int)((double)rows[n].ns * 1000.0 / (double)whole);
		given += rows[n].permille;
	}
	while (given < 1000) {
		double best = -1;
		size_t at = 0;

		for (size_t n = 0; n < count; n++) {
			double left = (double)rows[n].ns * 1000.0 / (double)whole - rows[n].permille;

			if (left > best) {
				best = left;
				at = n;
			}
		}
		rows[at].permille++;
		given++;
	}
}

int time_rows_make(const struct incident *incident, struct time_row **ret_rows, size_t *ret_count)
{
	struct time_row *rows = NULL;
	size_t count = 0;
	uint64_t whole = 0;
	int r = 0;

	for (size_t n = 0; r == 0 && n < incident->spending_count; n++) {
		const struct spending *s = &incident->spending[n];

		if (s->ns == 0 && s->kind != SPEND_UNATTRIBUTED)
			continue;
		if (__builtin_add_overflow(whole, s->ns, &whole))
			whole = UINT64_MAX;
		r = add_spending(&rows, &count, s);
	}
	if (r == 0 && count && whole < incident->elapsed_ns) {
		const struct spending rest = { .kind = SPEND_UNATTRIBUTED, .ns = incident->elapsed_ns - whole };

		whole = incident->elapsed_ns;
		r = add_time(&rows, &count, &rest, "not in any of these");
	}
	if (r == 0 && count) {
		qsort(rows, count, sizeof(*rows), longest_first);
		r = merge_small(rows, &count);
	}
	if (r == 0 && count) {
		const struct spending sum = { .kind = SPEND_UNATTRIBUTED, .ns = whole };

		share_out(rows, count, whole);
		r = add_time(&rows, &count, &sum, "together");
	}
	if (r < 0) {
		time_rows_free(rows, count);
		return r;
	}
	if (count) {
		rows[count - 1].total = true;
		rows[count - 1].permille = whole ? 1000 : 0;
	}
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

void time_rows_free(struct time_row *rows, size_t count)
{
	for (size_t n = 0; n < count; n++)
		free((char *)rows[n].label);
	free(rows);
}

/* --- the trace --- */

struct order {
	uint64_t at_ns;
	size_t index;
};

static int by_time(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool is_kind(const struct trace_event *e, const char *kind)
{
	return e && e->kind && !strcmp(e->kind, kind);
}

static bool is_trigger(const struct trace_event *e)
{
	return is_kind(e, "trigger");
}

static bool merges(const struct event_row *row, const struct trace_event *e)
{
	const struct trace_event *x = row->event;

	return x && !is_trigger(e) && x->tid == e->tid && x->waker == e->waker && same_text(x->kind, e->kind) &&
	       same_text(x->name, e->name) && same_text(x->detail, e->detail);
}

static void row_text(const struct incident *incident, struct event_row *row)
{
	const struct trace_event *e = row->event;
	CLEAN(free) char *words = event_words(e);
	struct buf text;

	buf_init(&text, 1u << 20);
	buf_adds(&text, words ? words : "");
	if (row->count > 1)
		buf_addf(&text, "  x%s", word_count(row->count).s);
	if (row->bytes)
		buf_addf(&text, "  %s", word_bytes(row->bytes).s);
	if (e->waker)
		buf_addf(&text, "  woken by %s%s%d", e->waker_name ? e->waker_name : "", e->waker_name ? " " : "",
			 e->waker);
	if (e->severity && e->severity <= GRAVE)
		buf_addf(&text, "  (%s)", severity_name(e->severity));
	row->text = buf_take(&text);
	if (e->tid && e->tid != incident->holder_tid)
		row->who = thread_name(incident, e->tid);
}

static int add_trap(const struct incident *incident, struct event_rows *rows)
{
	struct event_row *row = list_add(&rows->row, &rows->count, sizeof(*row));
	char *text = NULL;

	if (!row)
		return -ENOMEM;
	text_setf(&text, "rule \"%s\" fires: %s after %s", incident->rule ? incident->rule : "?",
		  reason_name(incident->reason), word_duration(incident->elapsed_ns).s);
	*row = (struct event_row){ .at_ns = incident->elapsed_ns, .count = 1, .trigger = true, .text = text };
	return text ? 0 : -ENOMEM;
}

static int add_event(const struct trace_event *e, bool after, struct event_rows *rows)
{
	struct event_row *row = rows->count ? &rows->row[rows->count - 1] : NULL;

	if (!row || row->after != after || !merges(row, e)) {
		row = list_add(&rows->row, &rows->count, sizeof(*row));
		if (!row)
			return -ENOMEM;
		*row = (struct event_row){ .event = e, .at_ns = e->at_ns, .after = after };
	}
	row->count += e->count ? e->count : 1;
	row->dur_ns += e->dur_ns;
	row->bytes += e->bytes;
	return 0;
}

/* In order of time, equal neighbours as one, the trap in its place. */
static int rows_collect(const struct incident *incident, struct event_rows *rows)
{
	CLEAN(free) struct order *order = calloc(incident->trace_count + 1, sizeof(*order));
	bool trapped = false;
	int r = 0;

	if (!order)
		return -ENOMEM;
	for (size_t n = 0; n < incident->trace_count; n++)
		order[n] = (struct order){ incident->trace[n].at_ns, n };
	qsort(order, incident->trace_count, sizeof(*order), by_time);
	for (size_t n = 0; r == 0 && n < incident->trace_count; n++) {
		const struct trace_event *e = &incident->trace[order[n].index];
		bool trigger = is_trigger(e);

		if (!trapped && (trigger || e->at_ns > incident->elapsed_ns)) {
			trapped = true;
			r = add_trap(incident, rows);
		}
		if (!trigger && r == 0)
			r = add_event(e, trapped, rows);
	}
	return r == 0 && !trapped && incident->trace_count ? add_trap(incident, rows) : r;
}

static int longest(const void *a, const void *b)
{
	const struct order *x = a, *y = b; /* at_ns holds the duration */

	if (x->at_ns != y->at_ns)
		return x->at_ns > y->at_ns ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Marks what stays: the ends, around the trap, the longest. */
static int choose(const struct event_rows *rows, size_t most, bool *keep)
{
	CLEAN(free) struct order *order = calloc(rows->count, sizeof(*order));
	size_t end = most / 6 ? most / 6 : 1;

	if (!order)
		return -ENOMEM;
	for (size_t n = 0; n < rows->count; n++) {
		order[n] = (struct order){ rows->row[n].dur_ns, n };
		if (n < end || n + end >= rows->count || is_kind(rows->row[n].event, "sample"))
			keep[n] = true;
		if (!rows->row[n].trigger)
			continue;
		for (size_t k = n > end ? n - end : 0; k < MIN(n + end, rows->count); k++)
			keep[k] = true;
	}
	qsort(order, rows->count, sizeof(*order), longest);
	for (size_t n = 0; n < MIN(most / 4, rows->count) && order[n].at_ns; n++)
		keep[order[n].index] = true;
	/* a fold of one takes as much room as what it hides */
	for (size_t n = 1; n + 1 < rows->count; n++)
		keep[n] |= keep[n - 1] && keep[n + 1];
	return 0;
}

static void row_done(struct event_row *row)
{
	free((char *)row->who);
	free((char *)row->text);
}

/* Runs of rows that do not stay become one. */
static void fold(struct event_rows *rows, const bool *keep)
{
	size_t out = 0;

	for (size_t n = 0; n < rows->count; n++) {
		struct event_row *row = &rows->row[n], *last = out ? &rows->row[out - 1] : NULL;

		if (keep[n]) {
			rows->row[out++] = *row;
			continue;
		}
		row_done(row);
		if (!last || !last->folded || last->after != row->after) {
			rows->row[out++] = (struct event_row){
				.at_ns = row->at_ns, .dur_ns = row->dur_ns, .folded = row->count, .after = row->after
			};
			continue;
		}
		last->folded += row->count;
		last->dur_ns += row->dur_ns;
	}
	rows->count = out;
}

int event_rows_make(const struct incident *incident, size_t most, struct event_rows *ret_rows)
{
	struct event_rows rows = { 0 };
	int r = rows_collect(incident, &rows);

	if (r == 0 && rows.count > most) {
		CLEAN(free) bool *keep = calloc(rows.count, sizeof(*keep));

		r = keep ? choose(&rows, most, keep) : -ENOMEM;
		if (r == 0)
			fold(&rows, keep);
	}
	for (size_t n = 0; r == 0 && n < rows.count; n++) {
		if (rows.row[n].event)
			row_text(incident, &rows.row[n]);
	}
	if (r < 0) {
		event_rows_free(&rows);
		return r;
	}
	*ret_rows = rows;
	return 0;
}

void event_rows_free(struct event_rows *rows)
{
	for (size_t n = 0; n < rows->count; n++)
		row_done(&rows->row[n]);
	free(rows->row);
	*rows = (struct event_rows){ 0 };
}
