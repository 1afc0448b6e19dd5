// SPDX-License-Identifier: MIT
/* Areas by their words, statements without their values, pages that were torn. */
#include "profile.h"

#include "notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void test_parse(void **state)
{
	struct areas areas = { { 0 } };
	struct err err;

	(void)state;
	assert_int_equal(areas_parse("mark, query=verbose,socket=off", &areas, &err), 0);
	assert_int_equal(areas_least(&areas, AREA_MARK), SEVERITY_INFO);
	assert_int_equal(areas_least(&areas, AREA_QUERY), SEVERITY_VERBOSE);
	assert_int_equal(areas_least(&areas, AREA_SOCKET), SEVERITY_NONE);
	assert_int_equal(areas_least(&areas, AREA_UPSTREAM), SEVERITY_INFO); /* was not said */
	assert_int_equal(areas_least(&areas, AREA_PHP), SEVERITY_NONE);
	assert_int_equal(areas_parse("app=warning,mark=verbose", &areas, &err), 0);
	assert_int_equal(areas_least(&areas, AREA_APACHE), SEVERITY_WARNING);
	assert_int_equal(areas_least(&areas, AREA_MARK), SEVERITY_VERBOSE);
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "",		 "marks", "mark,",     "mark=loud",    "mark=",
					   "mark query", "=off",  "mark==off", "lock=verbose", "socket=verbose" };
	struct areas areas = { { 0 } };

	(void)state;
	areas.level[AREA_DNS] = LEVEL_ERROR;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { "" };

		assert_int_equal(areas_parse(bad[i], &areas, &err), -EINVAL);
		assert_int_not_equal(err.text[0], '\0');
	}
	assert_int_equal(areas.level[AREA_DNS], LEVEL_ERROR);
	assert_int_equal(areas.level[AREA_MARK], LEVEL_UNSAID);
}

static void test_format(void **state)
{
	struct areas areas = { { 0 } }, again = { { 0 } };
	struct err err;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	areas_parse("file=information,app", &areas, &err);
	areas_format(&areas, &out);
	assert_int_equal(areas_parse(out.data, &again, &err), 0);
	assert_memory_equal(&areas, &again, sizeof(areas));
	buf_done(&out);
}

static void test_join(void **state)
{
	struct areas a = { { 0 } }, b = { { 0 } };
	struct err err;

	(void)state;
	areas_parse("socket=off,mark=error", &a, &err);
	areas_parse("mark=verbose", &b, &err);
	areas_join(&a, &b);
	/* the other rule did not say 'socket', so it wants the usual */
	assert_int_equal(areas_least(&a, AREA_SOCKET), SEVERITY_INFO);
	assert_int_equal(areas_least(&a, AREA_MARK), SEVERITY_VERBOSE);
}

static void test_programs(void **state)
{
	struct areas areas = { { 0 } };
	struct err err;

	(void)state;
	assert_false(areas_want_programs(&areas));
	areas_parse("socket=information,file=warning,lock,fault,mark=off", &areas, &err);
	assert_false(areas_want_programs(&areas));
	areas_parse("file", &areas, &err);
	assert_true(areas_want_programs(&areas));
	areas_parse("file=off,dns", &areas, &err);
	assert_true(areas_want_programs(&areas));
}

static void masked(const char *sql, const char *expected)
{
	char text[256];

	profile_mask(sql, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void test_mask(void **state)
{
	char small[8];

	(void)state;
	masked("SELECT a1, t2.b FROM t2 WHERE id = 42 AND name = 'O''Neil'",
	       "SELECT a1, t2.b FROM t2 WHERE id = ? AND name = ?");
	masked("INSERT INTO t VALUES (-1.5e3, 0xff, \"x\\\"y\", $1)", "INSERT INTO t VALUES (-?, ?, ?, $1)");
	masked("SELECT $tag$it's$tag$, $$a$$", "SELECT ?, ?");
	masked("WHERE word = 'cut in the mid", "WHERE word = ?"); /* a text that was cut */
	masked("WHERE w = '", "WHERE w = ?");
	masked("'a\\", "?");
	masked("$", "$");
	masked("$x", "$x");
	masked("", "");
	profile_mask("SELECT 1 FROM t", small, sizeof(small));
	assert_string_equal(small, "SELECT ");
}

static void test_notes(void **state)
{
	struct incident *incident = incident_new();
	struct notes *notes = calloc(1, sizeof(*notes));
	struct areas areas = { { 0 } };

	(void)state;
	notes->count = NOTES + 3;
	notes->cut = 1;
	notes->lost = 2;
	for (size_t i = 0; i < NOTES; i++) {
		notes->note[i].at_ns = 1000 + i;
		notes->note[i].row = 255; /* of no table */
	}
	notes->note[0] = (struct note){
		.at_ns = 1500, .number = (uint64_t)-7, .tid = 5, .row = 2, .severity = 2, .flags = NOTE_NUMBER | NOTE_CUT
	};
	memset(notes->note[0].text, 'x', NOTE_TEXT); /* no NUL */
	notes->note[1] = (struct note){ .at_ns = 1600, .tid = 5, .row = 3, .flags = NOTE_SPAN | NOTE_OPEN };
	strcpy(notes->note[1].text, "render");
	notes_trace(notes, 4, 1000, 2600, &areas, incident);
	assert_int_equal(incident->losses.events_overwritten, 3);
	assert_int_equal(incident->losses.texts_cut, 1);
	assert_int_equal(incident->losses.spans_lost, 2);
	assert_int_equal(incident->trace_count, 2);
	assert_string_equal(incident->trace[0].kind, "mark");
	assert_string_equal(incident->trace[0].detail, "-7");
	assert_int_equal(incident->trace[0].severity, SEVERITY_ERROR);
	assert_int_equal(incident->trace[0].at_ns, 500);
	assert_int_equal(strlen(incident->trace[0].name), NOTE_TEXT - 1 + strlen("... (cut)"));
	assert_string_equal(incident->trace[1].kind, "span");
	assert_int_equal(incident->trace[1].dur_ns, 1000);
	assert_string_equal(incident->trace[1].detail, "still open");
	free(notes);
	incident_free(incident);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse), cmocka_unit_test(test_refused),  cmocka_unit_test(test_format),
		cmocka_unit_test(test_join),  cmocka_unit_test(test_programs), cmocka_unit_test(test_mask),
		cmocka_unit_test(test_notes),
	};

	return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
