// SPDX-License-Identifier: MIT
/* What must hold of any page, of any incident: 80 columns, no byte that a terminal or
 * a browser acts on, parts that add up, nothing cut without a word. How pages look is
 * in tests/golden. */
#include "report.h"

#include "facts.h"
#include "report_page.h"
#include "report_spans.h"
#include "report_words.h"
#include "sample.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char nasty[] = "\x1b]52;c;aGk=\x07\x1b[2J\x9b"
			    "31m<script>alert(1)</script>\xe2\x80\xae-->]]>&amp;\"'\\x1b\\y"
			    "\xc2\x9b\xf0\x9f\x98\x80\xe6\xbc\xa2\xff\xc0\xaf\r\n\t";

static char *render(const char *format, const struct incident *incident)
{
	struct err err;
	struct buf out;

	buf_init(&out, REPORT_BYTES_MAX);
	if (report_format_find(format)->render(incident, &out, &err) != 0)
		fail_msg("%s: %s", format, err.text);
	return buf_take(&out);
}

static struct incident *golden(const char *name)
{
	char path[256], *json = calloc(1, 1u << 20);
	struct incident *incident = NULL;
	struct err err;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "golden/report/%s.in", name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("run me in tests/: no %s", path);
	len = fread(json, 1, (1u << 20) - 1, f);
	fclose(f);
	if (facts_read(json, len, &incident, &err) != 0)
		fail_msg("%s: %s", path, err.text);
	free(json);
	return incident;
}

/* Everything that a stranger may have chosen. */
static struct incident *hostile(void)
{
	struct incident *i = sample_incident();
	char **text[] = { &i->host_name,
			  &i->kernel,
			  &i->version,
			  &i->rule,
			  &i->suppressed,
			  &i->request.method,
			  &i->request.url,
			  &i->request.host,
			  &i->request.user_agent,
			  &i->request.client,
			  &i->chain[0].process,
			  &i->chain[0].via,
			  &i->process.comm,
			  &i->process.exe,
			  &i->process.cmdline,
			  &i->process.cgroup,
			  &i->process.language,
			  &i->end_note,
			  &i->spending[0].call,
			  &i->spending[0].object,
			  &i->trace[0].kind,
			  &i->trace[0].name,
			  &i->trace[0].detail,
			  &i->trace[1].name,
			  &i->capture.why_not_clone,
			  &i->capture.failed,
			  &i->capture.core_file,
			  &i->capture.omitted[0].range,
			  &i->capture.omitted[0].why,
			  &i->action.output,
			  &i->action.why,
			  &i->analysis.thread[0].comm,
			  &i->analysis.thread[0].call,
			  &i->analysis.thread[0].waits_for,
			  &i->analysis.thread[0].script.frame[0].function,
			  &i->analysis.thread[0].script.frame[0].file,
			  &i->analysis.thread[0].stack.frame[0].function,
			  &i->analysis.thread[0].stack.frame[0].module,
			  &i->analysis.thread[0].stack.unavailable,
			  &i->analysis.thread[1].comm,
			  &i->analysis.lock[0].name,
			  &i->analysis.lock[0].owner_name,
			  &i->analysis.language,
			  &i->analysis.failed,
			  &i->verdict,
			  &i->cause,
			  &i->confidence,
			  &i->advice,
			  &i->evidence[0],
			  &i->also_matched[0],
			  &i->action.argv[1],
			  &i->analysis.deadlock[0],
			  &i->analysis.note[0] };

	for (size_t n = 0; n < ARRAY_LEN(text); n++)
		text_set(text[n], nasty);
	i->analysis.thread[0].state = '\x1b';
	i->action.state = ACTION_TIMED_OUT;
	return i;
}

static struct incident *huge(void)
{
	struct incident *i = sample_incident();

	for (size_t n = 0; n < 10000; n++) {
		char name[32];

		snprintf(name, sizeof(name), "call %zu", n % 97);
		sample_event(i, n * 250000, n % 3 ? 0 : n % 5000 * 1000, n % 2 ? "wait" : "recv", name, NULL);
	}
	for (size_t n = 0; n < 1000; n++) {
		struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));
		char name[32];

		t->tid = (pid_t)(30000 + n);
		text_set(&t->comm, "worker");
		snprintf(name, sizeof(name), "f%zu", n % 2 ? n : 7);
		for (size_t k = 0; k < 40; k++)
			sample_frame(&t->stack, name, "a.c", (uint32_t)k, "shop", 0x1000 + k, false);
	}
	for (size_t n = 0; n < 200; n++)
		sample_spending(i, SPEND_WAIT, 100 + n, n, "read", n % 2 ? "tcp:10.0.0.5:3306" : NULL);
	return i;
}

static void check_text(const char *what, const char *page)
{
	const char *line = page;

	for (; *line; line = strchr(line, '\n') + 1) {
		const char *end = strchr(line, '\n');

		assert_non_null(end); /* the last line is whole */
		if (text_columns(line, (size_t)(end - line)) > 80)
			fail_msg("%s: wider than 80: %.*s", what, (int)(end - line), line);
		if (end > line && end[-1] == ' ')
			fail_msg("%s: blank at the end: '%.*s'", what, (int)(end - line), line);
	}
}

/* No control byte, no C1 control, no direction mark, well-formed UTF-8. */
static void check_quiet(const char *what, const char *page)
{
	struct buf clean;
	char *copy = strdup(page);

	for (char *p = copy; *p; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	buf_init(&clean, REPORT_BYTES_MAX);
	add_clean(&clean, copy, strlen(copy));
	/* what has nothing to escape comes out as it went in, but for '\xHH' itself */
	for (size_t n = 0, m = 0; copy[n]; n++, m++) {
		if (copy[n] == '\\' && !strncmp(clean.data + m, "\\x5c", 4))
			m += 3;
		else if (copy[n] != clean.data[m])
			fail_msg("%s: a byte that acts, at %zu: %.40s", what, n, clean.data + m);
	}
	buf_done(&clean);
	free(copy);
}

/* Only elements of ours, every one closed, and what a page must not have at all. */
static void check_html(const char *what, const char *page)
{
	static const char *const never[] = { "<script", "<img",	       "<iframe",  "<object",  "<link",
					     "<base",	"javascript:", "http://",  "https://", "src=",
					     "href=",	"onerror=\"",  "onload=\"" };
	static const char *const empty[] = { "!doctype", "meta", "wbr" };
	char *open[64];
	size_t depth = 0;

	for (size_t n = 0; n < ARRAY_LEN(never); n++) {
		const char *at = strstr(page, never[n]);

		/* as text it may stand there: then its '<' is an entity */
		if (at && never[n][0] == '<')
			fail_msg("%s: has %s", what, never[n]);
	}
	for (const char *at = strstr(page, "<a "); at; at = strstr(at + 1, "<a "))
		assert_int_equal(strncmp(at, "<a href=\"#", 10), 0); /* only within the page */
	assert_non_null(strstr(page, "default-src 'none'"));
	for (const char *p = strchr(page, '<'); p; p = strchr(p + 1, '<')) {
		const char *end = strchr(p, '>');
		size_t len = strcspn(p + 1, " >");
		bool single = end && end[-1] == '/';

		assert_non_null(end);
		assert_null(memchr(p + 1, '<', (size_t)(end - p - 1)));
		for (size_t n = 0; n < ARRAY_LEN(empty); n++)
			single |= !strncmp(p + 1, empty[n], strlen(empty[n]));
		if (p[1] == '/') {
			assert_true(depth > 0);
			depth--;
			if (strlen(open[depth]) != len - 1 || strncmp(open[depth], p + 2, len - 1))
				fail_msg("%s: %.*s closes <%s>", what, (int)len + 2, p, open[depth]);
			free(open[depth]);
		} else if (!single) {
			assert_true(depth < ARRAY_LEN(open));
			open[depth++] = strndup(p + 1, len);
		}
	}
	assert_int_equal(depth, 0);
}

static void check_json(const char *what, const char *page)
{
	json_error_t where;
	json_t *json = json_loads(page, JSON_REJECT_DUPLICATES, &where);
	size_t n;
	json_t *event;

	if (!json)
		fail_msg("%s: %s at %d", what, where.text, where.line);
	json_array_foreach(json, n, event)
	{
		const char *phase = json_string_value(json_object_get(event, "ph"));

		assert_non_null(phase);
		assert_true(json_is_string(json_object_get(event, "name")));
		assert_true(json_is_integer(json_object_get(event, "pid")));
		assert_true(*phase == 'M' || json_is_number(json_object_get(event, "ts")));
		assert_true(*phase != 'X' || json_is_number(json_object_get(event, "dur")));
	}
	json_decref(json);
}

static void check_all(const char *what, struct incident *incident)
{
	char *page = render("text", incident);

	check_text(what, page);
	check_quiet(what, page);
	assert_true(strlen(page) < 200000);
	free(page);
	page = render("html", incident);
	check_quiet(what, page);
	check_html(what, page);
	assert_true(strlen(page) < 4000000);
	free(page);
	page = render("chrome", incident);
	check_quiet(what, page);
	check_json(what, page);
	free(page);
	page = render("stacks", incident);
	check_quiet(what, page);
	free(page);
	page = render("json", incident);
	check_quiet(what, page);
	free(page);
	incident_free(incident);
}

static void test_any_incident(void **state UNUSED)
{
	static const char *const names[] = { "aborted", "analysis-failed", "deadlock",	  "empty",
					     "hostile", "limit-reached",   "php-session", "status-503" };

	check_all("sample", sample_incident());
	check_all("new", incident_new());
	check_all("hostile strings", hostile());
	check_all("huge", huge());
	for (size_t n = 0; n < ARRAY_LEN(names); n++)
		check_all(names[n], golden(names[n]));
}

/* Numbers at their limits must not overflow, loop or divide by zero. */
static void test_odd_numbers(void **state UNUSED)
{
	static const uint64_t value[] = { 0, 1, 999, 1000000, INT64_MAX, UINT64_MAX };

	for (size_t a = 0; a < ARRAY_LEN(value); a++) {
		for (size_t b = 0; b < ARRAY_LEN(value); b++) {
			struct incident *i = sample_incident();

			i->elapsed_ns = i->limit_ns = value[a];
			i->fired_after_ns = i->time_taken_ns = value[b];
			i->started_wall_ns = i->trapped_wall_ns = value[b];
			i->trace[0].at_ns = value[b];
			i->trace[1].dur_ns = value[b];
			i->trace[1].count = i->trace[0].bytes = value[b];
			i->spending[0].ns = i->spending[1].ns = value[b];
			i->spending[2].ns = value[a];
			i->capture.pause_ns = i->capture.core_bytes = value[b];
			i->losses.refused = value[b];
			check_all("numbers", i);
		}
	}
}

static void parts_add_up(const struct incident *incident)
{
	struct time_row *rows;
	unsigned int permille = 0;
	uint64_t ns = 0;
	size_t count;

	assert_int_equal(time_rows_make(incident, &rows, &count), 0);
	assert_true(count > 0);
	for (size_t n = 0; n + 1 < count; n++) {
		permille += rows[n].permille;
		ns += rows[n].ns;
		assert_false(rows[n].total);
	}
	assert_true(rows[count - 1].total);
	assert_int_equal(rows[count - 1].ns, ns);
	assert_int_equal(permille, 1000);
	time_rows_free(rows, count);
}

static void test_times_add_up(void **state UNUSED)
{
	struct incident *i = sample_incident();

	parts_add_up(i);
	for (size_t n = 0; n < 37; n++) /* thirds and sevenths of a percent, and rows that are merged */
		sample_spending(i, SPEND_WAIT, 3333333 + n * 7, n, "read", NULL);
	parts_add_up(i);
	i->elapsed_ns = 3600000000000ull; /* most of it is in no row: that is a row of its own */
	parts_add_up(i);
	incident_free(i);
}

static uint64_t events_in(const struct incident *incident, size_t most, size_t *ret_rows)
{
	struct event_rows rows;
	uint64_t events = 0;
	size_t traps = 0;

	assert_int_equal(event_rows_make(incident, most, &rows), 0);
	for (size_t n = 0; n < rows.count; n++) {
		traps += rows.row[n].trigger;
		events += rows.row[n].folded ? rows.row[n].folded : rows.row[n].count;
	}
	assert_int_equal(traps, incident->trace_count ? 1 : 0);
	*ret_rows = rows.count;
	event_rows_free(&rows);
	return events;
}

/* Folded or not, each event is shown or counted, and the trap is there once. */
static void test_no_event_is_lost(void **state UNUSED)
{
	struct incident *i = huge();
	size_t rows;

	i->trace[1].count = 1;
	for (size_t most = 6; most < 400; most += 37) {
		assert_int_equal(events_in(i, most, &rows), i->trace_count);
		assert_true(rows <= 2 * most + 2);
	}
	incident_free(i);
	i = sample_incident();
	i->trace_count--; /* the trap is no event of the trace: it is put in */
	assert_int_equal(events_in(i, 100, &rows), 4);
	text_set(&i->trace[0].kind, NULL);
	i->trace_count++;
	incident_free(i);
}

static void test_the_longest_event_stays(void **state UNUSED)
{
	struct incident *i = huge();
	char *page;

	sample_event(i, 777000000, 65432 * SAMPLE_MS, "wait", "the culprit", NULL);
	page = render("text", i);
	assert_non_null(strstr(page, "the culprit"));
	free(page);
	incident_free(i);
}

/* The JSON is the single source: what is rendered from it later is the same to the byte. */
static void test_a_page_can_be_made_again(void **state UNUSED)
{
	static const char *const formats[] = { "text", "html", "chrome", "stacks", "json" };
	struct incident *made[] = { sample_incident(), golden("hostile"), golden("many-calls"), golden("php-session") };

	for (size_t n = 0; n < ARRAY_LEN(made); n++) {
		char *json = render("json", made[n]);
		struct incident *read = NULL;
		struct err err;

		if (facts_read(json, strlen(json), &read, &err) != 0)
			fail_msg("%zu: %s", n, err.text);
		for (size_t k = 0; k < ARRAY_LEN(formats); k++) {
			char *first = render(formats[k], made[n]), *again = render(formats[k], made[n]);
			char *later = render(formats[k], read);

			assert_string_equal(first, again);
			assert_string_equal(first, later);
			free(first);
			free(again);
			free(later);
		}
		incident_free(read);
		incident_free(made[n]);
		free(json);
	}
}

/* Ten thousand events and a thousand threads: a page that a mail takes, and that says what it left out. */
static void test_a_huge_request_has_a_page(void **state UNUSED)
{
	struct incident *i = huge();
	char *page = render("html", i);

	assert_true(strlen(page) < 2u << 20);
	assert_non_null(strstr(page, "not shown here: see trace.json"));
	assert_non_null(strstr(page, "shorter ones: see trace.json"));
	free(page);
	incident_free(i);
}

static void test_groups(void **state UNUSED)
{
	struct incident *i = huge();
	struct thread_group *groups;
	size_t count, threads = 0;

	assert_int_equal(threads_group(i, &groups, &count), 0);
	assert_int_equal(count, 501); /* f7, the 499 others, and the sample's second thread */
	assert_int_equal(groups[0].count, 501);
	for (size_t n = 0; n < count; n++)
		threads += groups[n].count;
	assert_int_equal(threads, i->analysis.thread_count - 1);
	thread_groups_free(groups, count);
	incident_free(i);
}

/* Threads of one pool wait each for an object of its own; two databases are not one. */
static void test_groups_by_kind(void **state UNUSED)
{
	static const struct {
		const char *a, *b;
		bool same;
	} row[] = {
		{ "semaphore 0x7efe74000df0", "semaphore 0x7efe6c000df0", true },
		{ "mutex 0x10, held by 31 \"w\"", "mutex 0x18, held by 31 \"w\"", true },
		{ "mutex 0x10, held by 31 \"w\"", "mutex 0x10, held by 32 \"w\"", false },
		{ "mutex 0x10", "rwlock 0x10", false },
		{ "fd 8 (tcp 10.0.0.1:80 -> 10.9.9.9:40001)", "fd 31 (tcp 10.0.0.1:80 -> [fe80::1]:50002)", true },
		{ "fd 8 (tcp 10.0.0.1:40000 -> 10.0.0.5:5432)", "fd 9 (tcp 10.0.0.1:40007 -> 10.0.0.6:5432)", false },
		{ "fd 8 (pipe:[123])", "fd 9 (pipe:[77])", true },
		{ "fd 8 (file /a/1)", "fd 8 (file /a/2)", false },
		{ "x", NULL, false },
		{ ":40000", "0x:40001", false },
	};

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		struct incident *i = incident_new();
		struct thread_group *groups;
		size_t count;

		for (size_t k = 0; k < 2; k++) {
			struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));

			t->tid = (pid_t)(10 + k);
			text_set(&t->waits_for, k ? row[n].b : row[n].a);
		}
		assert_int_equal(threads_group(i, &groups, &count), 0);
		assert_int_equal(count, row[n].same ? 1 : 2);
		assert_int_equal(groups[0].apart, row[n].same);
		thread_groups_free(groups, count);
		incident_free(i);
	}
}

static void test_words(void **state UNUSED)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} row[] = {
		{ 0, "0 ns" },
		{ 999, "999 ns" },
		{ 1000, "1 us" },
		{ 340000, "340 us" },
		{ 999600, "1.00 ms" },
		{ 3200000, "3.20 ms" },
		{ 15000000, "15.0 ms" },
		{ 501000000, "501 ms" },
		{ 999600000, "1.00 s" },
		{ 2502000000, "2.50 s" },
		{ 12400000000, "12.4 s" },
		{ 59990000000, "1m 00s" },
		{ 3661000000000, "1h 01m" },
	};
	struct buf out;

	for (size_t n = 0; n < ARRAY_LEN(row); n++)
		assert_string_equal(word_duration(row[n].ns).s, row[n].text);
	assert_string_equal(word_bytes(1023).s, "1023 B");
	assert_string_equal(word_bytes(1024).s, "1.0 KiB");
	assert_string_equal(word_bytes(1048575).s, "1.0 MiB");
	assert_string_equal(word_bytes(UINT64_MAX).s, "16.0 EiB");
	assert_string_equal(word_count(1234567).s, "1,234,567");
	assert_string_equal(word_wall(1795360546600000000ull).s, "2026-11-22 15:15:46.600 UTC");
	assert_int_equal(text_columns("a\xe6\xbc\xa2\xcc\x81", 6), 3);
	buf_init(&out, 1000);
	add_clean(&out, "App\\Cart\\x1b\\", 13);
	assert_string_equal(out.data, "App\\Cart\\x5cx1b\\");
	buf_done(&out);
}

/* Tags that open and close each other, and no byte that XML 1.0 forbids. */
static void check_xml(const char *xml)
{
	const char *open[8];
	size_t depth = 0;

	assert_int_equal(strncmp(xml, "<?xml ", 6), 0);
	for (const char *p = strchr(xml, '\n'); *p; p++) {
		const char *name = p + 1 + (p[1] == '/'), *end;
		size_t len;

		if ((unsigned char)*p < 0x20 && *p != '\n')
			fail_msg("byte %02x", *p);
		if (*p == '&')
			assert_true(!strncmp(p, "&amp;", 5) || !strncmp(p, "&lt;", 4) || !strncmp(p, "&gt;", 4) ||
				    !strncmp(p, "&quot;", 6) || !strncmp(p, "&#39;", 5));
		if (*p != '<')
			continue;
		end = strchr(p, '>');
		assert_non_null(end);
		len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
		assert_true(len > 0);
		if (p[1] == '/') {
			assert_true(depth > 0);
			assert_memory_equal(open[--depth], name, len);
		} else if (end[-1] != '/') {
			assert_true(depth < ARRAY_LEN(open));
			open[depth++] = name;
		}
		for (p++; p < end; p++)
			assert_int_not_equal(*p, '<');
	}
	assert_int_equal(depth, 0);
}

static void test_freb_is_well_formed(void **state UNUSED)
{
	struct incident *made[] = { hostile(), huge(), golden("hostile"), golden("empty") };

	for (size_t n = 0; n < ARRAY_LEN(made); n++) {
		char *xml = render("freb", made[n]);

		check_xml(xml);
		assert_null(strstr(xml, "\xef\xbf\xbe"));
		free(xml);
		incident_free(made[n]);
	}
}

/* Each profile's events nest and never go back; each frame is one of the list. */
static void check_profile(const json_t *profile, size_t frames)
{
	json_t *events = json_object_get(profile, "events"), *event;
	json_int_t open[128], at = 0;
	size_t depth = 0, n;

	json_array_foreach(events, n, event)
	{
		json_int_t frame = json_integer_value(json_object_get(event, "frame"));
		json_int_t now = json_integer_value(json_object_get(event, "at"));

		assert_true(now >= at && frame >= 0 && (size_t)frame < frames);
		at = now;
		if (!strcmp(json_string_value(json_object_get(event, "type")), "O")) {
			assert_true(depth < ARRAY_LEN(open));
			open[depth++] = frame;
		} else {
			assert_true(depth > 0);
			assert_int_equal(open[--depth], frame);
		}
	}
	assert_int_equal(depth, 0);
	assert_true(at <= json_integer_value(json_object_get(profile, "endValue")));
}

static void test_speedscope_nests(void **state UNUSED)
{
	struct incident *made[] = { hostile(), huge(), golden("hostile"), golden("deadlock") };

	for (size_t n = 0; n < ARRAY_LEN(made); n++) {
		char *text = render("speedscope", made[n]);
		json_t *json = json_loads(text, 0, NULL), *profile;
		size_t k;

		assert_non_null(json);
		assert_true(json_array_size(json_object_get(json, "profiles")) > 0);
		json_array_foreach(json_object_get(json, "profiles"), k, profile) check_profile(
			profile, json_array_size(json_object_get(json_object_get(json, "shared"), "frames")));
		json_decref(json);
		free(text);
		incident_free(made[n]);
	}
}

static void test_folded_counts_every_stack(void **state UNUSED)
{
	struct incident *i = huge();
	char *text = render("folded", i);
	unsigned long stacks = 0;

	for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
		const char *end = strchr(p, '\n');

		stacks += strtoul((const char *)memrchr(p, ' ', (size_t)(end - p)), NULL, 10);
	}
	assert_int_equal(stacks, 1001); /* a thread of the sample has no stack */
	free(text);
	incident_free(i);
}

static void test_spans(void **state UNUSED)
{
	struct incident *i = incident_new();
	struct span *span;
	size_t count;

	sample_event(i, 0, 100, "call", "outer", NULL);
	sample_event(i, 10, 20, "wait", "first", NULL);
	sample_event(i, 15, 5, "wait", "inner", NULL);
	sample_event(i, 60, 100, "wait", "overlaps", NULL);
	sample_event(i, 50, 0, "mark", "no time", NULL);
	assert_int_equal(spans_make(i, &span, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(span[0].self_ns, 40);
	assert_int_equal(span[1].self_ns, 15);
	assert_int_equal(span[2].self_ns, 5);
	assert_int_equal(span[2].depth, 2);
	assert_int_equal(span[3].depth, 1);
	assert_int_equal(span[3].end_ns, 100);
	free(span);
	incident_free(i);
}

static void test_a_page_too_long_is_an_error(void **state UNUSED)
{
	struct incident *i = huge();
	struct err err;

	for (size_t n = 0; n < report_format_count; n++) {
		struct buf out;

		buf_init(&out, 2000);
		assert_int_equal(report_formats[n].render(i, &out, &err), -E2BIG);
		assert_non_null(strstr(err.text, "2000 bytes"));
		buf_done(&out);
	}
	incident_free(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_incident),
		cmocka_unit_test(test_odd_numbers),
		cmocka_unit_test(test_times_add_up),
		cmocka_unit_test(test_no_event_is_lost),
		cmocka_unit_test(test_the_longest_event_stays),
		cmocka_unit_test(test_a_page_can_be_made_again),
		cmocka_unit_test(test_a_huge_request_has_a_page),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_groups_by_kind),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_freb_is_well_formed),
		cmocka_unit_test(test_speedscope_nests),
		cmocka_unit_test(test_folded_counts_every_stack),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_a_page_too_long_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
