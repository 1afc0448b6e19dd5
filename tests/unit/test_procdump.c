// SPDX-License-Identifier: MIT
/* ProcDump's command lines as the field types them, and the file name patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "procdump.h"

#include <string.h>

struct parsed {
	struct procdump pd;
	struct buf notes;
	struct err err;
	int code;
};

static int words(const char *const *argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static struct parsed parse(const char *const *argv)
{
	struct parsed p = { 0 };

	buf_init(&p.notes, 4096);
	p.code = procdump_parse(words(argv), (char *const *)(uintptr_t)argv, &p.pd, &p.notes, &p.err);
	return p;
}

#define PARSE(...) parse((const char *const[]){ "procdump", __VA_ARGS__, NULL })

static void article_line(void **state)
{
	struct parsed p = PARSE("–64", "–ma", "–s", "4", "–n", "3", "4711", "w3wp-PID-perf.dmp");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.count, 3);
	assert_int_equal(p.pd.every_ns, 4000000000ull);
	assert_string_equal(p.pd.target, "4711");
	assert_string_equal(p.pd.path, "w3wp-PID-perf.dmp");
	assert_int_equal(p.notes.len, 0);
	assert_false(p.pd.overwrite);
	buf_done(&p.notes);
}

static void action_line(void **state)
{
	struct parsed p = PARSE("-accepteula", "–ma", "4711", "/var/dumps");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.count, 1);
	assert_string_equal(p.pd.path, "/var/dumps");
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);
}

static void every_dash_and_case(void **state)
{
	static const char *const spelling[] = { "-MA", "/ma", "–Ma", "—mA", "−ma", "--ma", "\x96ma", "\x97MA", "‐ma" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spelling); i++) {
		struct parsed p = PARSE(spelling[i], "/n", "2", "—S", "7", "nginx");

		if (p.code)
			fail_msg("%s: %s", spelling[i], p.err.text);
		assert_int_equal(p.pd.count, 2);
		assert_int_equal(p.pd.every_ns, 7000000000ull);
		assert_string_equal(p.pd.target, "nginx");
		assert_int_equal(p.notes.len, 0);
		buf_done(&p.notes);
	}
}

static void slash_is_a_path_after_the_target(void **state)
{
	struct parsed p = PARSE("-ma", "4711", "/o");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.path, "/o");
	assert_false(p.pd.overwrite);
	buf_done(&p.notes);

	p = PARSE("4711", "-ma", "-o", "/tmp");
	assert_int_equal(p.code, 0);
	assert_true(p.pd.overwrite);
	assert_string_equal(p.pd.path, "/tmp");
	buf_done(&p.notes);
}

static void options_after_the_target(void **state)
{
	struct parsed p =
		PARSE("4711", "-s", "1", "-n", "2", "-dc", "why it is", "out.dmp", "-at", "9", "-ma", "--json");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.comment, "why it is");
	assert_string_equal(p.pd.path, "out.dmp");
	assert_int_equal(p.pd.timeout_ns, 9000000000ull);
	assert_true(p.pd.json);
	buf_done(&p.notes);
}

static void defaults(void **state)
{
	struct parsed p = PARSE("-ma", "-n", "2", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.every_ns, PROCDUMP_EVERY_NS);
	assert_null(p.pd.path);
	assert_null(p.pd.comment);
	assert_int_equal(p.pd.timeout_ns, 0);
	buf_done(&p.notes);
}

static void notes(void **state)
{
	struct parsed p = PARSE("-ma", "-r", "3", "-wer", "-h", "-md", "x.dll", "-pf", "500", "-log", "syslog", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.target, "4711");
	assert_non_null(strstr(p.notes.data, "'-r'"));
	assert_non_null(strstr(p.notes.data, "'-wer'"));
	assert_non_null(strstr(p.notes.data, "'-h'"));
	assert_non_null(strstr(p.notes.data, "'-md x.dll'"));
	assert_non_null(strstr(p.notes.data, "'-pf 500'"));
	assert_non_null(strstr(p.notes.data, "'-log syslog'"));
	buf_done(&p.notes);

	/* The number after -r is its own only from 1 to 5. */
	p = PARSE("-ma", "-r", "4711");
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.target, "4711");
	buf_done(&p.notes);

	p = PARSE("4711");
	assert_int_equal(p.code, 0);
	assert_non_null(strstr(p.notes.data, "full dump"));
	buf_done(&p.notes);

	p = PARSE("-ma", "-s", "4", "4711");
	assert_int_equal(p.code, 0);
	assert_non_null(strstr(p.notes.data, "'-s'"));
	buf_done(&p.notes);
}

static void sizes(void **state)
{
	struct parsed p = PARSE("-mm", "-ma", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_true(p.pd.mini && p.pd.full);
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);

	p = PARSE("/MM", "4711");
	assert_true(p.pd.mini && !p.pd.full);
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);

	p = PARSE("-mp", "4711");
	assert_true(!p.pd.mini && p.pd.full);
	assert_non_null(strstr(p.notes.data, "'-mp': a full dump"));
	buf_done(&p.notes);

	p = PARSE("–mt", "4711");
	assert_true(p.pd.mini && !p.pd.full);
	assert_non_null(strstr(p.notes.data, "'–mt': a mini"));
	buf_done(&p.notes);

	p = PARSE("4711");
	assert_true(!p.pd.mini && p.pd.full);
	buf_done(&p.notes);
}

static void ours(void **state)
{
	struct parsed p = PARSE("-ma", "--pause-budget", "1500us", "--no-journal", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.pause_budget_ns, 1500000);
	assert_true(p.pd.no_journal);
	buf_done(&p.notes);

	p = PARSE("-ma", "--pause-budget", "5", "4711");
	assert_int_equal(p.code, -EINVAL);
	assert_non_null(strstr(p.err.text, "needs a unit"));
	buf_done(&p.notes);
}

static void later(void **state)
{
	static const char *const name[] = { "mc", "c",	"cl",  "u",   "m",    "ml", "tc",    "fc",     "p",
					    "pl", "pc", "pcl", "e",   "f",    "fx", "t",     "w",      "sig",
					    "x",  "k",	"i",   "gcm", "pgid", "sr", "gcgen", "cancel", "restrack" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		char word[32];
		struct parsed p;

		snprintf(word, sizeof(word), "–%s", name[i]);
		p = PARSE("-ma", word, "80", "4711");
		assert_int_equal(p.code, -EOPNOTSUPP);
		assert_non_null(strstr(p.err.text, word));
		assert_null(strchr(p.err.text, '\n'));
		buf_done(&p.notes);
	}
}

static void mistakes(void **state)
{
	static const struct {
		const char *word[5];
		const char *say;
	} row[] = {
		{ { "-ma" }, "no process" },
		{ { "-ma", "PID" }, "stands for a number" },
		{ { "-ma", "%1%" }, "stands for a number" },
		{ { "-maa", "4711" }, "'-maa'" },
		{ { "-n", "0", "4711" }, "'-n 0'" },
		{ { "-n", "10001", "4711" }, "'-n 10001'" },
		{ { "-n", "99999999999999999999999", "4711" }, "whole number" },
		{ { "-n", "3x", "4711" }, "'-n 3x'" },
		{ { "-n", "-3", "4711" }, "'-n -3'" },
		{ { "-s", "", "4711" }, "whole number" },
		{ { "4711", "-n" }, "needs a number" },
		{ { "4711", "-dc" }, "needs a value" },
		{ { "4711", "a", "b" }, "'b' is one word too many" },
		{ { "-", "4711" }, "'-'" },
		{ { "–", "4711" }, "not an option" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *argv[7] = { "procdump" };
		struct parsed p;

		for (size_t k = 0; k < 5; k++)
			argv[k + 1] = row[i].word[k];
		p = parse(argv);
		assert_int_equal(p.code, -EINVAL);
		if (!strstr(p.err.text, row[i].say))
			fail_msg("row %zu: '%s' is not in '%s'", i, row[i].say, p.err.text);
		buf_done(&p.notes);
	}
}

static void failure_writes_nothing(void **state)
{
	struct procdump pd = { .count = 77 };
	struct buf notes;
	struct err err;
	char *argv[] = { "procdump", "-n", "2", "-c", "80", "4711", NULL };

	(void)state;
	buf_init(&notes, 64);
	assert_int_equal(procdump_parse(6, argv, &pd, &notes, &err), -EOPNOTSUPP);
	assert_int_equal(pd.count, 77);
	buf_done(&notes);
}

static void help(void **state)
{
	static const char *const word[] = { "-?", "/?", "–?", "--help" };
	struct buf out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(word); i++) {
		struct parsed p = PARSE(word[i]);

		assert_int_equal(p.code, 0);
		assert_true(p.pd.help);
		assert_int_equal(p.notes.len, 0);
		buf_done(&p.notes);
	}
	buf_init(&out, 65536);
	procdump_help(&out);
	assert_false(out.full);
	for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 100);
	buf_done(&out);
}

static void names(void **state)
{
	static const struct {
		const char *pattern, *process, *want;
		unsigned int number;
	} row[] = {
		{ "PROCESSNAME_YYMMDD_HHMMSS.dmp", "nginx", "nginx_261122_080905.dmp", 0 },
		{ "PROCESSNAME_YYMMDD_HHMMSS.core.zst", "nginx", "nginx_261122_080905-2.core.zst", 2 },
		{ "w3wp-PID-perf.dmp", "x", "w3wp-4711-perf.dmp", 0 },
		{ "w3wp-PID-perf.dmp", "x", "w3wp-4711-perf-1.dmp", 1 },
		{ "PIDPID", "x", "47114711", 0 },
		{ "plain", "x", "plain-3", 3 },
		{ ".hidden", "x", ".hidden-3", 3 },
		{ ".zst", "x", ".zst-1", 1 },
		{ "a.zst", "x", "a-1.zst", 1 },
		{ ".core.zst", "x", ".core-1.zst", 1 },
		{ "x.PID", "x", "x-1.4711", 1 },
		{ "PROCESSNAME", "../../etc/passwd", "_._.._etc_passwd", 0 },
		{ "PROCESSNAME", "a PID\n\033[2J", "a_PID___2J", 0 },
		{ "PROCESSNAME", "YYMMDD", "YYMMDD", 0 },
		{ "YYMMDDHHMMSSPID", "x", "2611220809054711", 0 },
	};
	struct tm tm = { .tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 8, .tm_min = 9, .tm_sec = 5 };
	char name[300];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		assert_int_equal(dump_file_name(row[i].pattern, row[i].process, 4711, &tm, row[i].number, name,
						sizeof(name), &err),
				 0);
		assert_string_equal(name, row[i].want);
	}
}

static void bad_names(void **state)
{
	static const char *const pattern[] = { "", ".", "..", "a/b", "/" };
	struct tm tm = { 0 };
	char name[300], many[400];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pattern); i++)
		assert_int_equal(dump_file_name(pattern[i], "x", 1, &tm, 0, name, sizeof(name), &err), -EINVAL);
	memset(many, 'a', sizeof(many));
	many[255] = '\0';
	assert_int_equal(dump_file_name(many, "x", 1, &tm, 0, name, sizeof(name), &err), 0);
	assert_int_equal(dump_file_name(many, "x", 1, &tm, 1, name, sizeof(name), &err), -ENAMETOOLONG);
	assert_int_equal(dump_file_name(many, "x", 1, &tm, 0, name, 255, &err), -ENAMETOOLONG);
	many[255] = 'a';
	many[256] = '\0';
	assert_int_equal(dump_file_name(many, "x", 1, &tm, 0, name, sizeof(name), &err), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(article_line),
		cmocka_unit_test(action_line),
		cmocka_unit_test(every_dash_and_case),
		cmocka_unit_test(slash_is_a_path_after_the_target),
		cmocka_unit_test(options_after_the_target),
		cmocka_unit_test(defaults),
		cmocka_unit_test(notes),
		cmocka_unit_test(sizes),
		cmocka_unit_test(ours),
		cmocka_unit_test(later),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(failure_writes_nothing),
		cmocka_unit_test(help),
		cmocka_unit_test(names),
		cmocka_unit_test(bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
