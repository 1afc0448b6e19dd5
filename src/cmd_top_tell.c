// SPDX-License-Identifier: MIT
/* One round of 'top'. Whatever a client sent is escaped before it is measured, so that
 * no URL can move the cursor or break the columns. What is cut ends in '..'. */
#include "cmd_top.h"

#include "facts.h"
#include "ktime.h"

#include <jansson.h>
#include <string.h>

#define WIDE 100 /* columns from which the process's name has one of its own */
#define LEAST 60

/* Characters of UTF-8 that were escaped before: none of them is invalid. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static void add_cell(struct buf *out, const char *text, size_t width, bool last)
{
	size_t have = width_of(text), show = have > width ? width - 2 : have, n = 0, seen = 0;

	for (; text[n] && (seen < show || (text[n] & 0xc0) == 0x80); n++)
		seen += (text[n] & 0xc0) != 0x80;
	while (n && seen > show) /* the first byte of the next character */
		seen -= (text[--n] & 0xc0) != 0x80;
	buf_add(out, text, n);
	if (have > width)
		buf_adds(out, "..");
	if (!last)
		buf_addf(out, "%*s", (int)(width - (have > width ? width : have)) + 1, "");
}

static char *escaped(const char *text)
{
	struct buf buf;

	buf_init(&buf, 65536);
	buf_add_escaped(&buf, text ? text : "?", strlen(text ? text : "?"));
	return buf_take(&buf);
}

static void elapsed_words(uint64_t ns, char *buf, size_t size)
{
	uint64_t s = ns / NSEC_PER_SEC;

	if (s < 1)
		snprintf(buf, size, "%.1f ms", ns_to_ms(ns));
	else if (s < 600)
		snprintf(buf, size, "%.2f s", (double)ns / 1e9);
	else
		snprintf(buf, size, "%llu:%02llu:%02llu", (unsigned long long)(s / 3600),
			 (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
}

static void state_words(const struct flight_state *state, struct buf *out)
{
	buf_adds(out, state->word);
	if (!state->on[0])
		return;
	buf_adds(out, !strcmp(state->word, "socket") || !strcmp(state->word, "client") ? " to " : " ");
	buf_add_escaped(out, state->on, strlen(state->on));
}

static void add_row(const struct flight_row *row, unsigned int columns, struct buf *out)
{
	bool wide = columns >= WIDE;
	size_t left = columns - 9 - 1 - 15 - 1 - 7 - 1 - (wide ? 16 : 0), url_width = left * 11 / 20;
	CLEAN(free) char *method = escaped(row->method);
	CLEAN(free) char *url = escaped(row->url);
	char elapsed[32], who[32];
	struct buf state;

	elapsed[0] = '>'; /* so long at least */
	elapsed_words(row->elapsed_ns, elapsed + 1, sizeof(elapsed) - 1);
	snprintf(who, sizeof(who), row->tid == row->pid || !row->tid ? "%d" : "%d/%d", row->pid, row->tid);
	buf_init(&state, 4096);
	state_words(&row->state, &state);
	buf_addf(out, "%9s ", elapsed + !row->start_unknown);
	add_cell(out, who, 15, false);
	if (wide)
		add_cell(out, row->process, 15, false);
	add_cell(out, method ? method : "?", 7, false);
	add_cell(out, row->start_unknown ? "(start unknown)" : url ? url : "?", url_width, false);
	add_cell(out, state.data ? state.data : "?", left - url_width - 1, true);
	buf_adds(out, "\n");
	buf_done(&state);
}

static void add_heading(unsigned int columns, struct buf *out)
{
	bool wide = columns >= WIDE;
	size_t left = columns - 9 - 1 - 15 - 1 - 7 - 1 - (wide ? 16 : 0);

	buf_addf(out, "%9s ", "ELAPSED");
	add_cell(out, "PID/TID", 15, false);
	if (wide)
		add_cell(out, "PROCESS", 15, false);
	add_cell(out, "METHOD", 7, false);
	add_cell(out, "URL", left * 11 / 20, false);
	buf_adds(out, "STATE\n");
}

struct summary {
	size_t count, inner, torn;
	uint64_t refused;
	double per_second;
};

static void add_summary(const struct summary *all, struct buf *out)
{
	time_t now = (time_t)(wall_ns() / NSEC_PER_SEC);
	struct tm tm;

	localtime_r(&now, &tm);
	buf_addf(out, "%02d:%02d:%02d  %zu in flight", tm.tm_hour, tm.tm_min, tm.tm_sec, all->count);
	if (all->inner)
		buf_addf(out, " (and %zu calls between them)", all->inner);
	buf_addf(out, ", %.0f requests/s", all->per_second);
	if (all->refused)
		buf_addf(out, ", %llu refused (--slots)", (unsigned long long)all->refused);
	if (all->torn)
		buf_addf(out, ", %zu torn", all->torn);
	buf_adds(out, "\n");
}

static uint64_t refused_of(const struct top_round *round)
{
	const struct counters *c = &round->totals.counters;

	return c->refused + c->refused_conn + c->refused_queue;
}

/* Below the two lines of the head, and with one more for what is left out. */
static size_t room_of(unsigned int lines)
{
	return lines > 4 ? lines - 3 : lines ? 1 : SIZE_MAX;
}

static void add_more(size_t more, struct buf *out)
{
	buf_addf(out, "%9s %zu more, all younger\n", "", more);
}

void top_table(struct tracer *tracer, const struct top_round *round, unsigned int columns, unsigned int lines,
	       struct buf *out)
{
	const struct flight *flight = &round->flight;
	const struct summary all = { flight->count, flight->inner, flight->torn, refused_of(round), round->per_second };
	size_t shown = 0, torn = 0, room = room_of(lines);
	bool is_torn;

	columns = MAX(columns, LEAST);
	add_summary(&all, out);
	add_heading(columns, out);
	for (size_t i = 0; i < flight->count && shown < room; i++) {
		struct flight_row row;

		if (flight_describe(tracer, &flight->request[i], &row, &is_torn)) {
			add_row(&row, columns, out);
			flight_row_done(&row);
			shown++;
		} else {
			torn += is_torn;
		}
	}
	if (lines && shown == room && flight->count > shown)
		add_more(flight->count - shown, out);
	if (torn)
		buf_addf(out, "%9s %zu changed while they were read: left out\n", "", torn);
}

/* ---- JSON ---- */

static uint64_t count_of(const json_t *json, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(json, key));

	return n > 0 ? (uint64_t)n : 0;
}

static char *text_of(const json_t *json, const char *key)
{
	return (char *)(uintptr_t)json_string_value(json_object_get(json, key)); /* only read */
}

static void row_told(const json_t *json, struct flight_row *ret_row)
{
	const char *process = text_of(json, "process"), *word = text_of(json, "state"), *on = text_of(json, "on");
	double ms = json_number_value(json_object_get(json, "elapsed_ms"));

	*ret_row = (struct flight_row){
		.method = text_of(json, "method"),
		.url = text_of(json, "url"),
		.pid = (pid_t)count_of(json, "pid"),
		.tid = (pid_t)count_of(json, "tid"),
		.elapsed_ns = ms > 0 && ms < 1e12 ? (uint64_t)(ms * 1e6) : 0,
		.start_unknown = json_is_true(json_object_get(json, "start_unknown")),
		.state.word = word ? word : "?",
	};
	snprintf(ret_row->process, sizeof(ret_row->process), "%s", process ? process : "?");
	snprintf(ret_row->state.on, sizeof(ret_row->state.on), "%s", on ? on : "");
}

void top_table_told(const json_t *round, double per_second, unsigned int columns, unsigned int lines, struct buf *out)
{
	const json_t *requests = json_object_get(round, "requests");
	size_t count = json_array_size(requests), room = room_of(lines);
	const struct summary all = { count, count_of(round, "inner"), count_of(round, "torn"),
				     count_of(round, "refused"), per_second };

	columns = MAX(columns, LEAST);
	add_summary(&all, out);
	add_heading(columns, out);
	for (size_t i = 0; i < count && i < room; i++) {
		struct flight_row row;

		row_told(json_array_get(requests, i), &row);
		add_row(&row, columns, out);
	}
	if (count > room)
		add_more(count - room, out);
}

static void set_text(json_t *json, const char *key, const char *text)
{
	CLEAN(free) char *clean = text && *text ? facts_utf8(text) : NULL;

	json_object_set_new(json, key, clean ? json_string(clean) : json_null());
}

static void set_count(json_t *json, const char *key, uint64_t n)
{
	json_object_set_new(json, key, json_integer((json_int_t)n));
}

static void set_ms(json_t *json, const char *key, uint64_t ns)
{
	const uint64_t us = ns / NSEC_PER_USEC;

	json_object_set_new(json, key, json_real((double)us / 1e3));
}

static json_t *row_json(const struct flight_row *row)
{
	json_t *json = json_object();

	set_ms(json, "elapsed_ms", row->elapsed_ns);
	json_object_set_new(json, "start_unknown", json_boolean(row->start_unknown));
	set_count(json, "pid", (uint64_t)row->pid);
	set_count(json, "tid", (uint64_t)row->tid);
	set_text(json, "process", row->process);
	set_text(json, "method", row->method);
	set_text(json, "url", row->url);
	set_text(json, "host", row->host);
	set_text(json, "client", row->client);
	set_count(json, "status", (uint64_t)row->status);
	set_text(json, "state", row->state.word);
	set_text(json, "on", row->state.on);
	set_text(json, "call", row->state.call);
	set_ms(json, "state_ms", row->state.since_ns);
	set_count(json, "first_pid", (uint64_t)row->first_pid);
	set_text(json, "via", row->via);
	return json;
}

json_t *top_round_json(struct tracer *tracer, const struct top_round *round)
{
	const struct flight *flight = &round->flight;
	const struct counters *c = &round->totals.counters;
	json_t *json = json_object(), *requests = json_array();
	const uint64_t wall_ms = wall_ns() / NSEC_PER_MSEC;
	size_t torn = flight->torn;

	for (size_t i = 0; i < flight->count; i++) {
		struct flight_row row;
		bool is_torn;

		if (flight_describe(tracer, &flight->request[i], &row, &is_torn)) {
			json_array_append_new(requests, row_json(&row));
			flight_row_done(&row);
		} else {
			torn += is_torn;
		}
	}
	json_object_set_new(json, "event", json_string("round"));
	set_count(json, "round", round->number);
	json_object_set_new(json, "time", json_real((double)wall_ms / 1e3));
	set_count(json, "in_flight", json_array_size(requests));
	set_count(json, "inner", flight->inner);
	set_count(json, "torn", torn);
	set_count(json, "refused", refused_of(round));
	set_count(json, "seen", c->requests);
	set_count(json, "start_unknown", c->older);
	json_object_set_new(json, "requests", requests);
	return json;
}

void top_json(struct tracer *tracer, const struct top_round *round)
{
	json_t *json = top_round_json(tracer, round);

	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}
