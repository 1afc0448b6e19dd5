// SPDX-License-Identifier: MIT
/* Rules files: every mistake with its line, and what is written reads back. */
#include "config.h"

#include "ktime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct rules rules;
static struct buf problems;
static struct err err;

static int parse_bytes(const char *text, size_t len)
{
	rules_free(&rules);
	buf_done(&problems);
	buf_init(&problems, 1 << 20);
	return config_parse("f", text, len, &rules, &problems, &err);
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static int done(void **state UNUSED)
{
	rules_free(&rules);
	buf_done(&problems);
	return 0;
}

static void a_whole_file(void **state UNUSED)
{
	const struct rule *r;

	assert_int_equal(parse("# a comment\n"
			       "store = \"/var/lib/reqtrap\"\n"
			       "actions-enabled = true\n"
			       "rule \"slow checkout\" {\n"
			       "    path = \"/checkout*\" // another\n"
			       "    time-taken = 2s  status = \"500-599,404\"\n"
			       "    all = true\n"
			       "    capture = {\"trace\", \"stacks\", \"full\"}\n"
			       "    samples = 1 /* and\n one more */\n"
			       "    limit = 50  limit-window = 1h  cool-down = 30s\n"
			       "    method = GET  host = \"*.example\"\n"
			       "    action = {\"/bin/true\", \"%1%\", \"a b\"}\n"
			       "}\n"
			       "rule second { status = 500 }\n"),
			 0);
	assert_int_equal(problems.len, 0);
	assert_string_equal(rules.store, "/var/lib/reqtrap");
	assert_true(rules.actions_enabled);
	assert_int_equal(rules.count, 2);
	r = &rules.rule[0];
	assert_string_equal(r->name, "slow checkout");
	assert_string_equal(r->path, "/checkout*");
	assert_string_equal(r->method, "GET");
	assert_string_equal(r->host, "*.example");
	assert_int_equal(r->time_taken_ns, 2 * NSEC_PER_SEC);
	assert_int_equal(r->status_count, 2);
	assert_true(r->all);
	assert_int_equal(r->capture, CAPTURE_TRACE | CAPTURE_STACKS | CAPTURE_FULL);
	assert_int_equal(r->samples, 1);
	assert_int_equal(r->limit, 50);
	assert_int_equal(r->limit_window_ns, 3600 * NSEC_PER_SEC);
	assert_int_equal(r->cool_down_ns, 30 * NSEC_PER_SEC);
	assert_string_equal(r->action[0], "/bin/true");
	assert_string_equal(r->action[2], "a b");
	assert_null(r->action[3]);
	r = &rules.rule[1];
	assert_string_equal(r->name, "second");
	assert_int_equal(r->limit, RULE_LIMIT_DEFAULT);
	assert_int_equal(r->capture, CAPTURE_TRACE | CAPTURE_STACKS);
	assert_null(r->action);
}

static void defaults_are_safe(void **state UNUSED)
{
	assert_int_equal(parse("rule a { time-taken = 1s }"), 0);
	assert_false(rules.actions_enabled);
	assert_null(rules.store);
	assert_int_equal(parse("rule a { time-taken = 1s action = {\"/bin/true\"} }"), 0);
	assert_string_equal(
		problems.data,
		"f:1: warning: the action of this rule will not run: 'actions-enabled = true' is missing at the top\n");
}

/* Each mistake alone: its whole line. */
static void mistakes(void **state UNUSED)
{
	static const struct {
		const char *text, *problem;
	} row[] = {
		{ "\n\nrule a {\n time-taken = 1s\n tme-taken = 2s\n}",
		  "f:5: no such option 'tme-taken' (did you mean 'time-taken'?)\n" },
		{ "rule a { timeTaken = 2s time-taken=1s }",
		  "f:1: no such option 'timeTaken' (did you mean 'time-taken'?)\n" },
		{ "rule a { zebra = 2s time-taken=1s }", "f:1: no such option 'zebra' in 'rule'\n" },
		{ "rulee a { x = 1 }\nrule a{time-taken=1s}", "f:1: no such section 'rulee' (did you mean 'rule'?)\n" },
		{ "time-taken = 2s\nrule a{time-taken=1s}", "f:1: 'time-taken' belongs into a 'rule' section\n" },
		{ "rule a{time-taken=1s\nstore = \"/x\"}",
		  "f:2: 'store' belongs to the top of the file, outside of 'rule'\n" },
		{ "rule a { time-taken = 2 }",
		  "f:1: time-taken: '2' is not a duration: it needs a unit (try 2s or 2ms)\n" },
		{ "rule a { time-taken = 2s\n time-taken = 3s }",
		  "f:2: 'time-taken' is given twice (first in line 1)\n" },
		{ "rule a { time-taken = 2s }\nrule a { time-taken = 3s }",
		  "f:2: 'rule \"a\"' is given twice (first in line 1)\n" },
		{ "rule { time-taken = 2s }", "f:1: a 'rule' needs a name: rule \"name\" {\n" },
		{ "rule a { time-taken = 2s path = /a* }",
		  "f:1: '*' needs quotes around the whole text: \"...*...\"\n" },
		{ "rule a { time-taken = 2s\n path = \"/a\n}\n\n",
		  "f:2: a quote is opened here and not closed in this line\n" },
		{ "\nrule a { time-taken = 2s\n", "f:2: a section begins here and is never closed: '}' is missing\n" },
		{ "rule a { time-taken = 2s\n path = /*\n}",
		  "f:2: a comment begins here and never ends (a path with '*' needs quotes: \"/*\")\n" },
		{ "rule a { time-taken = 2s path = \"/${HOME}\" }",
		  "f:1: '${' is not replaced by anything here: put a backslash before it\n" },
		{ "rule a { time-taken = 2s path = \"/\\x00b\" }", "f:1: a text cannot hold a NUL byte\n" },
		{ "rule a { time-taken = 2s path = \"/\\0b\" }", "f:1: a text cannot hold a NUL byte\n" },
		{ "rule a { time-taken = 2s } }", "f:1: unexpected closing brace\n" },
		{ "rule a { status = {500} }", "f:1: unexpected token '{'\n" },
		{ "rule a { time-taken 2s }", "f:1: missing equal sign after option 'time-taken'\n" },
		{ "rule a {\n\n path = \"/x\"\n}",
		  "f:1: rule 'a' can never fire: give it time-taken (2s) or status (500-599)\n" },
		{ "rule a {\n time-taken = 2s all = true\n}",
		  "f:1: rule 'a': 'all' joins conditions, but only time-taken is given\n" },
		{ "rule a { time-taken = 2s action = {\"/bin/true %1%\"} }",
		  "f:1: action: each word stands apart: {\"/bin/program\", \"%1%\"}\n" },
		{ "rule a { time-taken = 2s action = {} }", "f:1: action: the list is empty\n" },
		{ "rule a { time-taken = 2s action-user = nobody }",
		  "f:1: rule 'a': 'action-user' is about an action, but it has none\n" },
		{ "rule a { time-taken = 2s action = {\"/bin/true\"} action-timeout = 61m }",
		  "f:1: action-timeout: '61m' is too long for an action (100ms to 1h; try 30s)\n" },
		{ "rule a { time-taken = 2s capture = { } }", "f:1: capture: the list is empty\n" },
		{ "rule a { time-taken = 2s watch = {\"shop\"} }",
		  "f:1: watch: there is no watch \"shop\" { ... } in this file\n" },
		{ "rule b { time-taken = 2s }\nwatch shop { }", "f:2: watch 'shop' names no process (try process = "
								"{\"nginx\"})\n" },
		{ "watch shop { process = {\"a:b\"} }\nrule b { time-taken = 2s }",
		  "f:1: process: 'a:b' is no process name (port, unit, cgroup and user are keys of their own)\n" },
		{ "rule b { time-taken = 2s occurrences = 5 }",
		  "f:1: occurrences: '5' is not 'so many in such a time' (try 5/1m; 2 to 10000)\n" },
		{ "rule b { time-taken = 2s exclude = {\"/a\", \"b\"} }",
		  "f:1: exclude: 'b' can match no path: a path begins with '/' (try '/b' or '*b')\n" },
		{ "rule b { time-taken = 2s header = {\"a b\"} }",
		  "f:1: header: 'a b' is no header (try 'User-Agent: curl*', or a name alone)\n" },
		{ "rule b { time-taken = {2s, 3s} }\nrule \"b, 3s\" { status = 500 }",
		  "f:2: there are two rules 'b, 3s'\n" },
		{ "rule a { time-taken = 2s\n samples = 101 }", "f:2: samples: '101' is not a number from 1 to 100\n" },
		{ "actions-enabled = yes\nrule a { time-taken = 2s }",
		  "f:1: actions-enabled: it is either true or false\n" },
		{ "store = \"var\"\nrule a { time-taken = 2s }",
		  "f:1: store: it must be an absolute path (try \"/var/lib/reqtrap\")\n" },
		{ "", "f:1: there is no rule in it (try rule \"slow\" { time-taken = 2s })\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		assert_int_equal(parse(row[i].text), -EINVAL);
		assert_string_equal(problems.data, row[i].problem);
		assert_int_equal(rules.count, 0);
		problems.data[strlen(problems.data) - 1] = '\0';
		assert_string_equal(err.text, problems.data);
	}
}

static void all_mistakes_in_one_run(void **state UNUSED)
{
	assert_int_equal(parse("stor = \"/x\"\n"
			       "keep { fils = 5  max-size = 5 }\n"
			       "rule a {\n"
			       "  tme-taken = 2s\n"
			       "  status = \"5xx\"\n"
			       "  capture = {\"trace\",\n\"nothing\"}\n"
			       "}\n"
			       "rule b { all = maybe time-taken = 1s\n"),
			 -EINVAL);
	assert_string_equal(problems.data,
			    "f:1: no such option 'stor' (did you mean 'store'?)\n"
			    "f:2: no such option 'fils' (did you mean 'files'?)\n"
			    "f:2: max-size: '5' is not a size (try 64K, 512M or 5G; K = 1024 bytes)\n"
			    "f:4: no such option 'tme-taken' (did you mean 'time-taken'?)\n"
			    "f:5: status: '5xx' is not a list of statuses (try 500-599 or 404,500-599; 100 to 999)\n"
			    "f:7: capture: 'nothing' is nothing to capture (try trace,stacks, or also mini or full)\n"
			    "f:9: a section begins here and is never closed: '}' is missing\n"
			    "f:9: all: 'maybe' is neither true nor false\n");
	assert_string_equal(err.text, "f:1: no such option 'stor' (did you mean 'store'?)");
}

static void keep_and_watch(void **state UNUSED)
{
	assert_int_equal(parse("keep { files = 50  max-size = 5G  free-space = 10%  max-age = 14d }\n"
			       "watch \"shop\" { process = {\"nginx\", \"php-fpm\"}  port = {80} user = www-data\n"
			       " unit = nginx cgroup = \"/shop\" }\n"
			       "rule a { time-taken = 1s watch = {shop} }\n"),
			 0);
	assert_int_equal(rules.keep.files, 50);
	assert_int_equal(rules.keep.max_bytes, 5ull << 30);
	assert_int_equal(rules.keep.free_percent, 10);
	assert_int_equal(rules.keep.free_bytes, 0);
	assert_int_equal(rules.keep.max_age_ns, 14 * 86400 * NSEC_PER_SEC);
	assert_int_equal(rules.watch_count, 1);
	assert_string_equal(rules.rule[0].watch[0], "shop");
	assert_string_equal(rules.watch[0].word[0], "nginx");
	assert_string_equal(rules.watch[0].word[1], "php-fpm");
	assert_string_equal(rules.watch[0].word[2], ":80");
	assert_string_equal(rules.watch[0].word[3], "unit:nginx");
	assert_string_equal(rules.watch[0].word[4], "cgroup:/shop");
	assert_string_equal(rules.watch[0].word[5], "user:www-data");
	assert_null(rules.watch[0].word[6]);
	assert_ptr_equal(rules_watch(&rules, "shop"), &rules.watch[0]);
	assert_null(rules_watch(&rules, "blog"));
	assert_int_equal(parse("keep { free-space = 0% }\nwatch x { port = {0} }\nrule a { time-taken = 1s }\n"),
			 -EINVAL);
	assert_non_null(strstr(problems.data, "f:1: free-space: '0%' is not a part of a disk"));
	assert_non_null(strstr(problems.data, "f:2: port: '0' is not a number from 1 to 65535"));
}

/* Each time is a rule; what comes once, at the end, belongs to the first. */
static void several_times(void **state UNUSED)
{
	assert_int_equal(parse("rule a { time-taken = {1s, 5s} status = 500 aborted = true method = GET }\n"
			       "rule b { time-taken = {1s, 5s} status = 500 all = true }\n"),
			 0);
	assert_int_equal(rules.count, 4);
	assert_string_equal(rules.rule[1].name, "a, 5s");
	assert_int_equal(rules.rule[0].time_taken_ns, NSEC_PER_SEC);
	assert_int_equal(rules.rule[1].time_taken_ns, 5 * NSEC_PER_SEC);
	assert_string_equal(rules.rule[1].method, "GET");
	assert_true(rules.rule[0].aborted);
	assert_false(rules.rule[1].aborted);
	assert_int_equal(rules.rule[0].status_count, 1);
	assert_int_equal(rules.rule[1].status_count, 0);
	assert_int_equal(rules.rule[3].status_count, 1);
	assert_int_equal(parse("rule a { time-taken = {1s, 5} }\n"), -EINVAL);
	assert_non_null(strstr(problems.data, "f:1: time-taken: '5' is not a duration"));
}

/* write(read(x)) is a fixed point: what is written reads as the same, and is then
 * written as the same bytes. */
static void comes_back(const char *text)
{
	struct buf first, second;

	if (parse(text) != 0)
		fail_msg("%s", problems.data);
	buf_init(&first, 1 << 20);
	config_write(&rules, &first);
	if (parse(first.data) != 0)
		fail_msg("%s\n%s", first.data, problems.data);
	buf_init(&second, 1 << 20);
	config_write(&rules, &second);
	assert_string_equal(first.data, second.data);
	buf_done(&first);
	buf_done(&second);
}

static void what_is_written_reads_back(void **state UNUSED)
{
	comes_back(
		"keep { files = 7 free-space = 3M }\nwatch x { port = {80, 443} process = \"a\\\"b\" user = {0} }\n"
		"rule a { watch = x time-taken = {1s, 00:01:00} exclude = {\"/x\", \"/y/**\"} response-size = 10M\n"
		"client = {unix, \"::1\", \"10.9.8.7/9\"} header = {\"X: a\\tb\", Y} occurrences = \"3/90s\" aborted = true }\n");
	comes_back("rule a { time-taken = 1500ms }");
	comes_back(
		"store=\"/s p/\\\"q\\\\\" actions-enabled = true\n"
		"rule \"n \\$ \\\"x\\\" \\x01 \\n \xc3\xa9\" { path = '/$HOME/\\*\"' time-taken = 90s status = \"500-599,404\" all = true\n"
		"method = GET host = \"[::1]\" capture = {full} samples = 3 every = 250ms limit = 10/1h cool-down = 00:00:30\n"
		"action = {\"/bin/true\", \"\\${x}\", \"%%\", \"\"} }\n"
		"rule b { status = 200 limit = 0 capture = {trace, stacks} }");
	assert_int_equal(parse("rule a { time-taken = 1s path = \"/\\$a\\x2a\" }"), 0);
	assert_string_equal(rules.rule[0].path, "/$a*");
}

static void bytes_that_are_no_text(void **state UNUSED)
{
	static const char zero[] = "rule a {\n time\0-taken = 1s }";

	assert_int_equal(parse_bytes(zero, sizeof(zero) - 1), -EINVAL);
	assert_string_equal(problems.data, "f:2: this is not a text file: it holds a NUL byte\n");
	assert_int_equal(parse("rule a { time-taken = 1s \x1b[31m = 2 }"), -EINVAL);
	assert_null(strchr(problems.data, '\x1b'));
	assert_int_equal(parse("rule a { rule b { rule c { rule d { rule e { rule f { } } } } } }"), -EINVAL);
}

static void more_mistakes_than_anyone_reads(void **state UNUSED)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	buf_adds(&text, "rule a { time-taken = 1s }\n");
	for (int i = 0; i < 500; i++)
		buf_addf(&text, "key%d = 1\n", i);
	assert_int_equal(parse(text.data), -EINVAL);
	assert_non_null(strstr(problems.data, "f: 300 more problems\n"));
	buf_done(&text);
}

static void files(void **state UNUSED)
{
	char path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	buf_done(&problems);
	buf_init(&problems, 1 << 20);
	assert_true(write(fd, "rule a { time-taken = 1s }\n", 27) == 27);
	assert_int_equal(config_read(path, &rules, &problems, &err), 0);
	assert_int_equal(rules.count, 1);
	rules_free(&rules);
	assert_int_equal(ftruncate(fd, CONFIG_BYTES_MAX + 1), 0);
	assert_int_equal(config_read(path, &rules, &problems, &err), -E2BIG);
	close(fd);
	unlink(path);
	assert_int_equal(config_read(path, &rules, &problems, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(config_read("/tmp", &rules, &problems, &err), -EISDIR);
	assert_int_equal(config_read("/dev/zero", &rules, &problems, &err), -E2BIG);
	assert_int_equal(problems.len, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_whole_file, done),
		cmocka_unit_test_teardown(defaults_are_safe, done),
		cmocka_unit_test_teardown(mistakes, done),
		cmocka_unit_test_teardown(all_mistakes_in_one_run, done),
		cmocka_unit_test_teardown(keep_and_watch, done),
		cmocka_unit_test_teardown(several_times, done),
		cmocka_unit_test_teardown(what_is_written_reads_back, done),
		cmocka_unit_test_teardown(bytes_that_are_no_text, done),
		cmocka_unit_test_teardown(more_mistakes_than_anyone_reads, done),
		cmocka_unit_test_teardown(files, done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
