// SPDX-License-Identifier: MIT
/* Rules of IIS: what they become is what 'check' takes, and says what it does not. */
#include "config.h"
#include "import.h"
#include "ktime.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct rules rules;
static struct buf out, problems;
static struct err err;

/* Returns the number of rules, which the file that came out holds, too. */
static int import(const char *text, size_t len)
{
	struct iis iis = { 0 };
	int r = iis_parse("web.config", text, len, &iis, &err);

	rules_free(&rules);
	buf_done(&out);
	buf_done(&problems);
	buf_init(&out, CONFIG_BYTES_MAX);
	buf_init(&problems, CONFIG_BYTES_MAX);
	if (r == 0)
		r = import_write(&iis, &out, &err);
	iis_done(&iis);
	if (r > 0) {
		if (config_parse("out", out.data, out.len, &rules, &problems, &err) != 0)
			fail_msg("%s in:\n%s", err.text, out.data);
		assert_int_equal(rules.count, r);
	}
	return r;
}

static int done(void **state UNUSED)
{
	rules_free(&rules);
	buf_done(&out);
	buf_done(&problems);
	return 0;
}

/* Each line of the effective rules stands in the imported file, too. */
static void effective_is_the_same(const char *name)
{
	struct buf effective;
	char *save = NULL;

	buf_init(&effective, CONFIG_BYTES_MAX);
	config_write(&rules, &effective);
	for (char *line = strtok_r(effective.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(out.data, line))
			fail_msg("%s: '%s' is effective, and not in the file", name, line);
	}
	buf_done(&effective);
}

static void all_that_are_golden(void **state UNUSED)
{
	DIR *dir = opendir("golden/import");
	const struct dirent *entry;
	size_t files = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		CLEAN(free) char *path = NULL;
		CLEAN(free) char *text = NULL;
		size_t len;

		if (!strstr(entry->d_name, ".in"))
			continue;
		text_setf(&path, "golden/import/%s", entry->d_name);
		assert_int_equal(config_load(path, IIS_BYTES_MAX, &text, &len, &err), 0);
		if (import(text, len) <= 0)
			continue;
		effective_is_the_same(entry->d_name);
		files++;
	}
	closedir(dir);
	assert_true(files >= 7);
}

#define RULE(attributes, inside) \
	"<traceFailedRequests><add path=\"*\" " attributes ">" inside "</add></traceFailedRequests>"
#define FAILURE "<failureDefinitions timeTaken=\"00:00:02\"/>"

static void procdump_lines(void **state UNUSED)
{
	static const struct {
		const char *program, *params;
		uint32_t core; /* 0: refused */
		unsigned int samples;
		uint64_t every_ns;
	} row[] = {
		{ "procdump.exe", "-ma %1%", CAPTURE_FULL, 1, NSEC_PER_SEC },
		{ "C:\\x\\procdump", "-accepteula -ma %1", CAPTURE_FULL, 1, NSEC_PER_SEC },
		{ "procdump64.exe", "-mm %1% c:\\dumps\\PROCESSNAME.dmp", CAPTURE_MINI, 1, NSEC_PER_SEC },
		{ "C:\\procdump.exe", "-64 %1%", CAPTURE_MINI, 1, NSEC_PER_SEC },
		{ "/usr/bin/procdump", "%PID%", CAPTURE_FULL, 1, NSEC_PER_SEC },
		{ "procdump.exe", "-ma -s 4 -n 3 %1%", CAPTURE_FULL, 3, 4 * NSEC_PER_SEC },
		{ "procdump.exe", "-ma -n 3 %1%", CAPTURE_FULL, 3, 10 * NSEC_PER_SEC },
		{ "procdump.exe", "\xe2\x80\x93ma %1%", CAPTURE_FULL, 1, NSEC_PER_SEC },
		{ "procdump.exe", "-ma -e %1%", 0, 0, 0 },
		{ "procdump.exe", "-ma -t %1%", 0, 0, 0 },
		{ "procdump.exe", "-ma -m 500 %1%", 0, 0, 0 },
		{ "procdump.exe", "-ma 4711", 0, 0, 0 },
		{ "procdump.exe", "-ma %2%", 0, 0, 0 },
		{ "procdump.exe", "-ma", 0, 0, 0 },
		{ "procdump.exe", "", 0, 0, 0 },
		{ "procdump.exe", "-?", 0, 0, 0 },
		{ "procdump.exe", "-ma -w shop.exe", 0, 0, 0 },
		{ "procdump.exe", "-x c:\\dumps shop.exe", 0, 0, 0 },
		{ "procdump.exe", "-ma 'it is %1%", 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct rule *rule;
		struct buf notes;
		int r;

		rules_free(&rules);
		rule = rules_add(&rules, "x");
		buf_init(&notes, 65536);
		err.text[0] = '\0';
		r = import_procdump(row[i].program, row[i].params, rule, &notes, &err);
		buf_done(&notes);
		if (r != (row[i].core ? 0 : -EINVAL))
			fail_msg("'%s %s': %d %s", row[i].program, row[i].params, r, err.text);
		if (!row[i].core) {
			assert_true(err.text[0]);
			assert_false(rule->capture & CAPTURE_CORE);
			continue;
		}
		assert_int_equal(rule->capture, CAPTURE_TRACE | CAPTURE_STACKS | row[i].core);
		assert_int_equal(rule->samples, row[i].samples);
		assert_int_equal(rule->every_ns, row[i].every_ns);
	}
}

static void a_whole_rule(void **state UNUSED)
{
	static const char text[] = "<x><traceFailedRequestsLogging customActionsEnabled='true' maxLogFiles='70'/>" RULE(
		"customActionExe='/bin/tell' customActionParams='%1 %2% \"a b\"' customActionTriggerLimit='10000'",
		"<traceAreas><add provider='Mine' verbosity='Error'/></traceAreas>"
		"<failureDefinitions timeTaken='00:01:30.25' statusCodes='404.2, 500-599'/>") "</x>";
	const struct rule *r;

	assert_int_equal(import(text, strlen(text)), 1);
	r = &rules.rule[0];
	assert_true(rules.actions_enabled);
	assert_int_equal(r->time_taken_ns, 90250 * NSEC_PER_MSEC);
	assert_int_equal(r->status_count, 2);
	assert_int_equal(r->status[0].from, 404);
	assert_int_equal(r->status[1].to, 599);
	assert_int_equal(r->limit, 10000);
	assert_string_equal(r->action[0], "/bin/tell");
	assert_string_equal(r->action[1], "%1%");
	assert_string_equal(r->action[2], "%2%");
	assert_string_equal(r->action[3], "a b");
	assert_int_equal(r->areas.level[AREA_MARK], LEVEL_ERROR);
	assert_non_null(strstr(out.data, "files        = 70"));
	assert_non_null(strstr(out.data, "404.2"));
}

static void actions_that_are_off_stay_off(void **state UNUSED)
{
	static const char text[] = "<x><traceFailedRequestsLogging enabled='true'/>" RULE(
		"customActionExe='procdump.exe' customActionParams='-ma %1%'", FAILURE) "</x>";

	assert_int_equal(import(text, strlen(text)), 1);
	assert_false(rules.actions_enabled);
	assert_int_equal(rules.rule[0].capture, CAPTURE_TRACE | CAPTURE_STACKS);
	assert_non_null(strstr(out.data, "customActionsEnabled is off"));
}

static void bounded(void **state UNUSED)
{
	struct buf text;

	buf_init(&text, IIS_BYTES_MAX + 100);
	buf_adds(&text, "<traceFailedRequests><add path='");
	for (int i = 0; i < 40000; i++)
		buf_adds(&text, "x");
	buf_adds(&text, "'/></traceFailedRequests>");
	assert_int_equal(import(text.data, text.len), -E2BIG);
	buf_done(&text);
	buf_init(&text, IIS_BYTES_MAX + 100);
	buf_adds(&text, "<traceFailedRequests>");
	for (int i = 0; i < 20000; i++)
		buf_adds(&text, "<add/>");
	buf_adds(&text, "</traceFailedRequests>");
	assert_int_equal(import(text.data, text.len), -E2BIG);
	assert_non_null(strstr(err.text, "web.config:1:"));
	while (text.len <= IIS_BYTES_MAX)
		buf_add(&text, "                                                                ", 64);
	assert_int_equal(import(text.data, text.len), -E2BIG);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(all_that_are_golden, done),
		cmocka_unit_test_teardown(procdump_lines, done),
		cmocka_unit_test_teardown(a_whole_rule, done),
		cmocka_unit_test_teardown(actions_that_are_off_stay_off, done),
		cmocka_unit_test_teardown(bounded, done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
