// SPDX-License-Identifier: MIT
/* The user's command: words stay words, whatever a request says; limits hold. */
#include "action.h"

#include "ktime.h"
#include "warden.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void split_gives(const char *line, const char *expected)
{
	struct err err = { "" };
	char **argv, all[1024] = "";

	if (action_split(line, &argv, &err) != 0)
		fail_msg("'%s': %s", line, err.text);
	for (size_t n = 0; argv[n]; n++) {
		strcat(all, "[");
		strcat(all, argv[n]);
		strcat(all, "]");
	}
	assert_string_equal(all, expected);
	strings_free(argv);
}

static void test_split(void **state UNUSED)
{
	struct err err;
	char **argv;

	split_gives("/bin/a b  c", "[/bin/a][b][c]");
	split_gives(" \t/bin/a 'two words' \"three 'of' them\" ''\n", "[/bin/a][two words][three 'of' them][]");
	split_gives("/bin/a $(x) `y` ; | > * \\n ~", "[/bin/a][$(x)][`y`][;][|][>][*][\\n][~]");
	split_gives("/bin/a x'y z'w", "[/bin/a][xy zw]");
	assert_int_equal(action_split("/bin/a 'b", &argv, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not closed"));
	assert_int_equal(action_split("  ", &argv, &err), -EINVAL);
	assert_non_null(strstr(err.text, "empty"));
}

static int check(const char *line, struct err *err)
{
	char **argv;
	int r = action_split(line, &argv, err);

	if (r == 0) {
		r = action_check(argv, err);
		strings_free(argv);
	}
	return r;
}

static void test_check(void **state UNUSED)
{
	static const struct {
		const char *line, *text;
	} row[] = {
		{ "tell %1%", "absolute" },
		{ "./tell", "absolute" },
		{ "/bin/%URL%", "must not depend" },
		{ "/bin/a %FOO%", "'%FOO%'" },
		{ "/bin/a 50%", "'50%'" },
		{ "/bin/a %pid%", "'%pid%'" },
		{ "/bin/a %1%%", "unknown token" },
		{ "/bin/a %", "unknown token" },
		{ "''", "empty" },
	};
	struct err err;

	assert_int_equal(check("/bin/a %1% %2% %PID% %DUMP% %TID% %ID% %RULE% %REASON% %METHOD% %URL% %STATUS% "
			       "%ELAPSED_MS% %INCIDENT% %REPORT% 100%% %1%%2%",
			       &err),
			 0);
	assert_int_equal(check("/bin/50%%", &err), 0);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		err.text[0] = '\0';
		if (check(row[n].line, &err) != -EINVAL || !strstr(err.text, row[n].text))
			fail_msg("'%s': '%s'", row[n].line, err.text);
	}
}

static void test_expand(void **state UNUSED)
{
	static const char nasty[] = "/x?a=b; rm -rf / \"' $(id) %1% %PID% \n\x1b[31m\xff";
	char *argv[] = { (char *)"/bin/a",
			 (char *)"%1%",
			 (char *)"%PID%=%TID%",
			 (char *)"--url=%URL%",
			 (char *)"%DUMP%",
			 (char *)"100%%%STATUS%",
			 (char *)"%ELAPSED_MS%",
			 (char *)"%REASON%%RULE%",
			 NULL };
	const struct action_values values = { .pid = 42,
					      .tid = 43,
					      .url = nasty,
					      .status = 503,
					      .elapsed_ms = 501.6,
					      .reason = "TIME_TAKEN",
					      .rule = "a b" };
	char expected[128], **out;
	struct err err;

	assert_int_equal(action_expand(argv, &values, &out, &err), 0);
	assert_int_equal(strings_count(out), 8);
	assert_string_equal(out[1], "42");
	assert_string_equal(out[2], "42=43");
	snprintf(expected, sizeof(expected), "--url=%s", nasty);
	assert_string_equal(out[3], expected); /* one argument, its tokens not expanded again */
	assert_string_equal(out[4], "");
	assert_string_equal(out[5], "100%503");
	assert_string_equal(out[6], "502");
	assert_string_equal(out[7], "TIME_TAKENa b");
	strings_free(out);
}

/* --- running --- */

static char script[64]; /* a program of this test's own */

static void make_script(const char *body)
{
	int fd;
	FILE *f;

	strcpy(script, "/tmp/reqtrap-action-XXXXXX");
	fd = mkstemp(script);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	fprintf(f, "#!/bin/sh\n%s\n", body);
	fclose(f);
	chmod(script, 0700);
}

struct run {
	struct loop *loop;
	struct action_facts facts;
	struct action *action;
	bool done;
};

static void run_done(void *arg)
{
	struct run *run = arg;

	run->done = true;
	loop_stop(run->loop, 0);
}

static const char *user; /* that it is to run as */
static uint64_t grace_ns = 300 * NSEC_PER_MSEC;

static int run_args(struct run *run, char *const *argv, uint64_t limit_ns)
{
	const struct action_spec spec = { .argv = argv, .user = user, .limit_ns = limit_ns, .grace_ns = grace_ns };
	struct err err;
	int r;

	*run = (struct run){ 0 };
	assert_int_equal(loop_new(&run->loop, &err), 0);
	r = action_start(run->loop, &spec, &run->facts, run_done, run, &run->action, &err);
	if (r == 0)
		loop_run(run->loop);
	assert_true(run->done == (r == 0));
	return r;
}

static void run_over(struct run *run)
{
	strings_free(run->facts.argv);
	free(run->facts.output);
	free(run->facts.why);
	loop_free(run->loop);
	unlink(script);
}

static void run_script(struct run *run, const char *body, uint64_t limit_ns)
{
	char *argv[] = { script, (char *)"two words", (char *)"a;b\n$c", NULL };

	make_script(body);
	assert_int_equal(run_args(run, argv, limit_ns), 0);
}

static void test_runs(void **state UNUSED)
{
	struct run run;

	setenv("REQTRAP_SECRET", "x", 1);
	run_script(&run, "printf '<%s>' \"$@\"; echo err >&2; printf 'a\\0b'; cat; echo $REQTRAP_SECRET$PATH; exit 3",
		   ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_RAN);
	assert_int_equal(run.facts.exit_code, 3);
	assert_string_equal(run.facts.output, "<two words><a;b\n$c>err\na\xef\xbf\xbd"
					      "b"
					      "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
	assert_false(run.facts.output_cut);
	assert_int_equal(strings_count(run.facts.argv), 3);
	assert_string_equal(run.facts.argv[0], script);
	assert_true(run.facts.took_ns > 0);
	run_over(&run);
}

static void test_killed_by_signal(void **state UNUSED)
{
	struct run run;

	run_script(&run, "kill -TERM $$", ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_RAN);
	assert_int_equal(run.facts.exit_code, 128 + SIGTERM);
	assert_null(run.facts.output);
	run_over(&run);
}

static void test_output_is_bounded(void **state UNUSED)
{
	struct run run;

	run_script(&run, "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2; exit 0", ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_RAN);
	assert_int_equal(run.facts.exit_code, 0);
	assert_int_equal(strlen(run.facts.output), ACTION_OUTPUT_MAX);
	assert_true(run.facts.output_cut);
	run_over(&run);
}

static bool is_gone(pid_t pid)
{
	char path[64], text[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return !text[0] || strstr(text, ") Z ") || strstr(text, ") X ");
}

/* Dead by SIGKILL, but the last instructions may still run: waits for the end itself. */
static void assert_gone(pid_t pid)
{
	const struct timespec moment = { 0, 1000000 };

	for (int n = 0; n < 5000 && !is_gone(pid); n++)
		nanosleep(&moment, NULL);
	assert_true(is_gone(pid));
}

static void test_time_limit(void **state UNUSED)
{
	struct run run;
	int child = 0, self = 0;

	/* the child ignores SIGTERM and has a process group of its own */
	run_script(&run, "exec bash -c 'set -m; (trap \"\" TERM HUP; exec sleep 600) & echo $! $$; wait'",
		   300 * NSEC_PER_MSEC);
	assert_int_equal(run.facts.state, ACTION_TIMED_OUT);
	assert_int_equal(run.facts.exit_code, 128 + SIGTERM);
	assert_true(run.facts.took_ns >= 300 * NSEC_PER_MSEC && run.facts.took_ns < 60 * NSEC_PER_SEC);
	assert_int_equal(sscanf(run.facts.output, "%d %d", &child, &self), 2);
	assert_gone(self);
	assert_gone(child);
	run_over(&run);
}

/* Asked first, and all of its group: it may tidy up. */
static void test_term_before_kill(void **state UNUSED)
{
	struct run run;

	grace_ns = 60 * NSEC_PER_SEC;
	run_script(&run, "trap 'echo tidy; exit 9' TERM; sleep 600 & wait; echo never", 300 * NSEC_PER_MSEC);
	assert_int_equal(run.facts.state, ACTION_TIMED_OUT);
	assert_int_equal(run.facts.exit_code, 9);
	assert_string_equal(run.facts.output, "tidy\n");
	assert_true(run.facts.took_ns < 50 * NSEC_PER_SEC);
	run_over(&run);

	grace_ns = 300 * NSEC_PER_MSEC;
	run_script(&run, "trap 'echo deaf' TERM; while :; do sleep 600 & wait; done", 300 * NSEC_PER_MSEC);
	assert_int_equal(run.facts.state, ACTION_TIMED_OUT);
	assert_int_equal(run.facts.exit_code, 128 + SIGKILL);
	assert_string_equal(run.facts.output, "deaf\n");
	assert_true(run.facts.took_ns >= 600 * NSEC_PER_MSEC);
	run_over(&run);
}

/* A session of its own, and no parent any more: it is ended all the same. */
static void test_daemons_are_killed(void **state UNUSED)
{
	static const char body[] = "(setsid sh -c 'setsid sh -c \"echo \\$\\$ >>$0; exec sleep 600\" $0 & "
				   "echo $$ >>$0; exec sleep 600' $0.pids &)\n"
				   "until [ \"$(cat $0.pids 2>/dev/null | wc -l)\" = 2 ]; do sleep 0.02; done\n"
				   "cat $0.pids; rm $0.pids; ";
	char text[512];
	struct run run;
	int a, b;

	for (int hangs = 0; hangs < 2; hangs++) {
		snprintf(text, sizeof(text), "%s%s", body, hangs ? "exec sleep 600" : "exit 4");
		a = b = 0;
		run_script(&run, text, hangs ? 2 * NSEC_PER_SEC : ACTION_TIME_LIMIT_NS);
		assert_int_equal(run.facts.state, hangs ? ACTION_TIMED_OUT : ACTION_RAN);
		assert_int_equal(run.facts.exit_code, hangs ? 128 + SIGTERM : 4);
		assert_int_equal(sscanf(run.facts.output, "%d %d", &a, &b), 2);
		assert_gone(a);
		assert_gone(b);
		assert_null(run.facts.why);
		run_over(&run);
	}
}

static void test_user(void **state UNUSED)
{
	struct run run;

	user = "no-such-user";
	run_script(&run, "id", ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_FAILED);
	assert_non_null(strstr(run.facts.why, "there is no user 'no-such-user'"));
	run_over(&run);

	user = "nobody";
	if (geteuid() == 0) {
		make_script(
			"echo $(id -un) $(id -Gn); grep -E '^(Cap(Prm|Eff|Amb)|Uid)' /proc/self/status | tr -d '\\n\\t'");
		chmod(script, 0755);
		assert_int_equal(run_args(&run, (char *[]){ script, NULL }, ACTION_TIME_LIMIT_NS), 0);
		assert_int_equal(run.facts.state, ACTION_RAN);
		assert_string_equal(run.facts.output,
				    "nobody nogroup\n"
				    "Uid:65534655346553465534"
				    "CapPrm:0000000000000000CapEff:0000000000000000CapAmb:0000000000000000");
		run_over(&run);
	}
	user = NULL;
}

/* The end is the command's end, though a child of it holds the output open. */
static void test_leftovers_are_killed(void **state UNUSED)
{
	struct run run;
	int child = 0;

	run_script(&run, "sleep 600 & echo $!; exit 0", ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_RAN);
	assert_int_equal(run.facts.exit_code, 0);
	assert_true(run.facts.took_ns < 60 * NSEC_PER_SEC);
	assert_int_equal(sscanf(run.facts.output, "%d", &child), 1);
	assert_gone(child);
	run_over(&run);
}

static void test_closes_its_output(void **state UNUSED)
{
	struct run run;

	run_script(&run, "exec >&- 2>&-; exit 7", ACTION_TIME_LIMIT_NS);
	assert_int_equal(run.facts.state, ACTION_RAN);
	assert_int_equal(run.facts.exit_code, 7);
	run_over(&run);
}

static void test_no_descriptor_leaks(void **state UNUSED)
{
	int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC: must not go along */
	struct run run;

	run_script(&run, "ls /proc/self/fd | tr '\\n' ' '", ACTION_TIME_LIMIT_NS);
	assert_string_equal(run.facts.output, "0 1 2 3 "); /* 3 is ls reading the folder */
	close(fd);
	run_over(&run);
}

static void test_cannot_start(void **state UNUSED)
{
	char *missing[] = { (char *)"/nonexistent/tell-us", NULL }, *folder[] = { (char *)"/tmp", NULL };
	char *own[] = { script, NULL };
	struct run run;

	make_script("exit 0");
	assert_int_equal(run_args(&run, missing, 0), -ENOENT);
	assert_int_equal(run.facts.state, ACTION_FAILED);
	assert_non_null(strstr(run.facts.why, "'/nonexistent/tell-us'"));
	run_over(&run);

	assert_int_equal(run_args(&run, folder, 0), -EACCES);
	run_over(&run);

	make_script("exit 0");
	chmod(script, 0600);
	assert_int_equal(run_args(&run, own, 0), -EACCES);
	assert_int_equal(run.facts.state, ACTION_FAILED);
	assert_non_null(strstr(run.facts.why, "Permission denied"));
	run_over(&run);

	make_script("exit 0");
	chmod(script, 0777); /* anybody could put something else there */
	assert_int_equal(run_args(&run, own, 0), -EPERM);
	assert_non_null(strstr(run.facts.why, "others may change it"));
	run_over(&run);
}

static void kill_now(void *arg, uint32_t events UNUSED)
{
	struct run *run = arg;

	action_kill(run->action);
}

static void test_kill(void **state UNUSED)
{
	char *argv[] = { (char *)"/bin/sleep", (char *)"600", NULL };
	struct source *timer;
	struct run run = { 0 };
	struct err err;

	assert_int_equal(loop_new(&run.loop, &err), 0);
	assert_int_equal(action_start(run.loop, &(struct action_spec){ .argv = argv }, &run.facts, run_done, &run,
				      &run.action, &err),
			 0);
	assert_int_equal(loop_add_timer(run.loop, now_ns(), 0, kill_now, &run, &timer), 0);
	loop_run(run.loop);
	assert_true(run.done);
	assert_int_equal(run.facts.state, ACTION_FAILED);
	assert_non_null(strstr(run.facts.why, "killed"));
	run_over(&run);
}

static void test_abort(void **state UNUSED)
{
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)"trap '' TERM; while :; do sleep 600; done", NULL };
	uint64_t from = now_ns();
	struct run run = { 0 };
	struct err err;

	assert_int_equal(loop_new(&run.loop, &err), 0);
	assert_int_equal(action_start(run.loop, &(struct action_spec){ .argv = argv }, &run.facts, run_done, &run,
				      &run.action, &err),
			 0);
	action_abort(run.action);
	assert_false(run.done);
	assert_int_equal(run.facts.state, ACTION_FAILED);
	assert_true(now_ns() - from < 20 * NSEC_PER_SEC);
	run_over(&run);
}

/* The kernel takes no longer argument: told, nothing is run. */
static void test_one_mebibyte(void **state UNUSED)
{
	char *argv[] = { (char *)"/bin/echo", (char *)"%URL%", NULL }, **out = NULL;
	struct action_values values = { 0 };
	char *url = malloc((1 << 20) + 1);
	struct err err;

	memset(url, 'x', 1 << 20);
	url[1 << 20] = '\0';
	values.url = url;
	assert_int_equal(action_expand(argv, &values, &out, &err), -E2BIG);
	assert_null(out);
	assert_non_null(strstr(err.text, "longer than"));
	free(url);
}

static int all_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_killed_by_signal),
		cmocka_unit_test(test_output_is_bounded),
		cmocka_unit_test(test_time_limit),
		cmocka_unit_test(test_leftovers_are_killed),
		cmocka_unit_test(test_closes_its_output),
		cmocka_unit_test(test_no_descriptor_leaks),
		cmocka_unit_test(test_cannot_start),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_term_before_kill),
		cmocka_unit_test(test_daemons_are_killed),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_one_mebibyte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], WARDEN_VERB) == 0)
		return warden_main(argc - 1, argv + 1);
	return all_tests();
}
