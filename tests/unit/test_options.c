// SPDX-License-Identifier: MIT
/* The command line of a verb, and the table that feeds it. */
#include "options.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct verb watch = { .name = "watch", .args = "TARGET...", .summary = "s", .bit = VERB_WATCH };
static const struct verb test = { .name = "test", .args = "FILE", .summary = "s", .bit = VERB_TEST };

static char *words[32];
static struct command_line line;
static struct err err;

/* argv is changed by parsing, so each call has its own copy. */
static int parse(const struct verb *verb, const char *text)
{
	static char copy[512];
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s %s", verb->name, text);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		words[argc++] = word;
	words[argc] = NULL;
	return options_parse(verb, argc, words, &line, &err);
}

static void order_does_not_matter(void **state UNUSED)
{
	assert_int_equal(parse(&watch, "nginx --time-taken 2s php-fpm -n 3 :80 --all -o /tmp/x"), 0);
	assert_int_equal(line.rest_count, 3);
	assert_string_equal(line.rest[0], "nginx");
	assert_string_equal(line.rest[1], "php-fpm");
	assert_string_equal(line.rest[2], ":80");
	assert_string_equal(option_value(&line, "time-taken"), "2s");
	assert_string_equal(option_value(&line, "count"), "3");
	assert_string_equal(option_value(&line, "store"), "/tmp/x");
	assert_true(option_given(&line, "all"));
	assert_null(option_value(&line, "all"));
	assert_false(option_given(&line, "json"));
	assert_null(option_value(&line, "path"));
	assert_null(line.command);
}

static void a_command_after_two_dashes(void **state UNUSED)
{
	assert_int_equal(parse(&watch, "x --time-taken=1s -- python3 -m --status server"), 0);
	assert_int_equal(line.rest_count, 1);
	assert_string_equal(line.rest[0], "x");
	assert_string_equal(line.command[0], "python3");
	assert_string_equal(line.command[2], "--status");
	assert_null(line.command[4]);
	assert_int_equal(parse(&watch, "x --"), 0);
	assert_null(line.command);
	assert_int_equal(parse(&watch, ""), 0);
	assert_int_equal(line.rest_count, 0);
}

static void the_last_one_counts(void **state UNUSED)
{
	assert_int_equal(parse(&watch, "--time-taken 2s --time-taken 3s"), 0);
	assert_string_equal(option_value(&line, "time-taken"), "3s");
	assert_int_equal(line.use_count, 2);
}

static void mistakes(void **state UNUSED)
{
	static const struct {
		const char *text, *part;
	} row[] = {
		{ "--tme-taken 2s", "watch: no such option '--tme-taken' (did you mean '--time-taken'?)" },
		{ "--timetaken=2s", "did you mean '--time-taken'?" },
		{ "--snapshot stop", "'--snapshot' belongs to another verb" },
		{ "--frobnicate", "no such option '--frobnicate'" },
		{ "-x", "no such option '-x'" },
		{ "--time-taken", "--time-taken needs a value: D" },
		{ "-n", "--count needs a value: N" },
		{ "--all=yes", "--all takes no value" },
		{ "--time-taken 2", "watch: --time-taken: '2' is not a duration: it needs a unit" },
		{ "--status 5xx", "--status: '5xx' is not a list of statuses" },
		{ "-n 0", "--count: '0' is not a number" },
		{ "--hooks kprobe", "--hooks: 'kprobe' is not one of auto|sock|syscalls" },
		{ "--hooks so", "'so' is not one of" },
		{ "--capture mini,full", "mini or full" },
		{ "--capture stack", "nothing to capture" },
		{ "--free-space 10", "neither a size nor a part" },
		{ "--max-size 10", "is not a size" },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct command_line before = line;

		if (parse(&watch, row[i].text) != -EINVAL)
			fail_msg("'%s' passed", row[i].text);
		if (!strstr(err.text, row[i].part))
			fail_msg("'%s' says: %s", row[i].text, err.text);
		assert_memory_equal(&before, &line, sizeof(line));
	}
}

static void the_same_word_for_another_verb(void **state UNUSED)
{
	assert_int_equal(parse(&test, "f GET / --status 503"), 0);
	assert_string_equal(option_value(&line, "status"), "503");
	assert_int_equal(parse(&test, "f GET / --status 500-599"), -EINVAL);
}

static void too_many(void **state UNUSED)
{
	static char name[] = "watch", json[] = "--json";
	char *argv[80];
	int argc = 0;

	argv[argc++] = name;
	while (argc < 70)
		argv[argc++] = json;
	argv[argc] = NULL;
	assert_int_equal(options_parse(&watch, argc, argv, &line, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than 64 options"));
}

/* A verb never has two rows of one name or letter, and every row is of use. */
static void the_table(void **state UNUSED)
{
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *a = &option_rows[i];

		assert_true(a->verbs != 0);
		assert_true((a->type == TYPE_FLAG) == (a->arg == NULL));
		assert_true((a->type == TYPE_CHOICE) == (a->choices != NULL));
		assert_true(a->help[0] && !isupper((unsigned char)a->help[0]) && a->help[strlen(a->help) - 1] != '.');
		for (size_t k = i + 1; k < option_row_count; k++) {
			const struct option_row *b = &option_rows[k];

			if (!(a->verbs & b->verbs))
				continue;
			assert_string_not_equal(a->name, b->name);
			assert_true(!a->letter || a->letter != b->letter);
		}
	}
}

static void help_fits(void **state UNUSED)
{
	for (uint32_t bit = 1; bit <= VERB_HELP; bit <<= 1) {
		struct verb verb = { .name = "verb", .args = "", .summary = "Summary.", .bit = bit };
		struct buf out;

		buf_init(&out, 65536);
		options_help(&verb, &out);
		assert_false(out.full);
		for (char *at = strtok(out.data, "\n"); at; at = strtok(NULL, "\n")) {
			if (strlen(at) > 80)
				fail_msg("wider than 80: %s", at);
		}
		for (size_t i = 0; i < option_row_count; i++)
			assert_true(strlen(option_rows[i].name) < 17);
		buf_done(&out);
	}
}

static void nearest_word(void **state UNUSED)
{
	static const char *const names[] = { "watch", "stacks", "status", "time-taken", "rm" };

	assert_string_equal(did_you_mean("wacth", names, ARRAY_LEN(names)), "watch");
	assert_string_equal(did_you_mean("wach", names, ARRAY_LEN(names)), "watch");
	assert_string_equal(did_you_mean("stat", names, ARRAY_LEN(names)), "status");
	assert_string_equal(did_you_mean("time-tken", names, ARRAY_LEN(names)), "time-taken");
	assert_string_equal(did_you_mean("status-codes", names, ARRAY_LEN(names)), "status");
	assert_null(did_you_mean("zzz", names, ARRAY_LEN(names)));
	assert_null(did_you_mean("", names, ARRAY_LEN(names)));
	assert_null(did_you_mean("this-word-is-longer-than-any-name-that-a-table-of-options-would-ever-hold", names,
				 ARRAY_LEN(names)));
}

static void exit_codes(void **state UNUSED)
{
	assert_int_equal(exit_code_of(0), EXIT_DONE);
	assert_int_equal(exit_code_of(-EINVAL), EXIT_MISTAKE);
	assert_int_equal(exit_code_of(-ENOENT), EXIT_MISTAKE);
	assert_int_equal(exit_code_of(-ESRCH), EXIT_MISTAKE);
	assert_int_equal(exit_code_of(-EPERM), EXIT_REFUSED);
	assert_int_equal(exit_code_of(-ENOSPC), EXIT_REFUSED);
	assert_int_equal(exit_code_of(-EIO), EXIT_REFUSED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(a_command_after_two_dashes),
		cmocka_unit_test(the_last_one_counts),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(the_same_word_for_another_verb),
		cmocka_unit_test(too_many),
		cmocka_unit_test(the_table),
		cmocka_unit_test(help_fits),
		cmocka_unit_test(nearest_word),
		cmocka_unit_test(exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
