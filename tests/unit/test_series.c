// SPDX-License-Identifier: MIT
/* Series of dumps, with workers that are played: this program, started again. What a
 * worker does is in the comment of its order; nothing is stopped. */
#include "dump.h"
#include "ktime.h"
#include "options.h"
#include "series.h"
#include "worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- the worker ---- */

static void answer(struct dump_result *result)
{
	if (send(WORKER_FD_PARENT, result, sizeof(*result), MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void write_file(const struct dump_order *order, unsigned int number, struct dump_result *result)
{
	char name[300];
	int fd;

	dump_part(name, sizeof(name), order->file, number);
	fd = openat(WORKER_FD_DIR, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || dprintf(fd, "kinds %u", order->kinds) < 0)
		_exit(1);
	close(fd);
	result->core_bytes = 1;
	result->threads = 1;
}

/* A guard that is fired as often as its order allows, and once misses two. */
static void guard(const struct dump_order *order)
{
	struct worker_note note = { .stage = WORKER_WAITING };
	sigset_t set;

	for (unsigned int i = 0; i < order->on_count; i++) {
		struct dump_result result = { .sentry = { .cause = SENTRY_SIGNAL, .signal = SIGUSR1, .tid = 1 } };

		send(WORKER_FD_PARENT, &note, sizeof(note), MSG_NOSIGNAL);
		if (!strcmp(order->comment, "never"))
			break;
		write_file(order, i, &result);
		result.sentry.missed = i == 1 ? 2 : 0;
		result.goes_on = i + 1 < order->on_count;
		answer(&result);
		if (!result.goes_on)
			return;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigwaitinfo(&set, NULL);
	answer(&(struct dump_result){ .code = -ECANCELED });
}

static int play_worker(void)
{
	struct dump_order order;
	struct dump_result result = { .code = 0 };
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (recv(WORKER_FD_PARENT, &order, sizeof(order), 0) != (ssize_t)sizeof(order))
		return 0;
	if (order.on.signals) {
		guard(&order);
		return 0;
	}
	if (!strncmp(order.comment, "hang", 4)) {
		sigemptyset(&all);
		sigaddset(&all, SIGTERM);
		sigwaitinfo(&all, NULL);
		result.code = -ECANCELED;
	} else if (!strncmp(order.comment, "refuse", 6)) {
		result.code = -EPERM;
		snprintf(result.error, sizeof(result.error), "it is not allowed");
	} else if (!strncmp(order.comment, "busy", 4) &&
		   openat(WORKER_FD_DIR, "tried", O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0) {
		result.code = -EBUSY;
		snprintf(result.error, sizeof(result.error), "it takes too long");
	} else if (!strncmp(order.comment, "die", 3)) {
		return 5;
	} else {
		write_file(&order, 0, &result);
	}
	answer(&result);
	return 0;
}

/* ---- the series ---- */

#define DUMPS_MOST 64

static struct told {
	size_t dumps;
	uint32_t kind[DUMPS_MOST];
	uint64_t at_ns[DUMPS_MOST];
	char path[DUMPS_MOST][200];
	char said[4096];
	pid_t target;
} told;

static char folder[64];

static void on_dumped(void *arg UNUSED, const struct series_dump *dump)
{
	assert_true(told.dumps < DUMPS_MOST);
	told.kind[told.dumps] = dump->kind;
	told.at_ns[told.dumps] = now_ns();
	snprintf(told.path[told.dumps], sizeof(told.path[0]), "%s", dump->path);
	assert_int_equal(access(dump->path, F_OK), 0);
	told.dumps++;
}

static void on_say(void *arg UNUSED, enum series_word word UNUSED, const char *text)
{
	size_t len = strlen(told.said);

	snprintf(told.said + len, sizeof(told.said) - len, "%s\n", text);
}

static void on_under_way(void *arg UNUSED, const struct series_dump *dump UNUSED)
{
}

static void on_waiting(void *arg UNUSED, const struct series_state *state UNUSED)
{
}

static void on_compared(void *arg UNUSED, const struct series_result *result UNUSED)
{
}

static int run(const struct series_spec *spec)
{
	const struct series_calls calls = { .dumped = on_dumped,
					    .under_way = on_under_way,
					    .compared = on_compared,
					    .waiting = on_waiting,
					    .say = on_say };
	int number = 0;

	return series_run(spec, &calls, &number);
}

static pid_t start_target(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static int begin(void **state UNUSED)
{
	told = (struct told){ .dumps = 0 };
	snprintf(folder, sizeof(folder), "/tmp/reqtrap-series.XXXXXX");
	told.target = start_target();
	return mkdtemp(folder) ? 0 : -1;
}

static size_t files(bool remove)
{
	CLEAN(dir) DIR *dir = opendir(folder);
	const struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n += strcmp(e->d_name, "tried") != 0;
		if (remove)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	return n;
}

static int end(void **state UNUSED)
{
	kill(told.target, SIGKILL);
	waitpid(told.target, NULL, 0);
	files(true);
	return rmdir(folder);
}

static struct series_spec spec_of(const char *comment, unsigned int turns)
{
	static char word[16];
	static char *words[] = { word };
	struct series_spec spec = { .target = words,
				    .target_count = 1,
				    .every_ns = 20 * NSEC_PER_MSEC,
				    .interval_ns = 10 * NSEC_PER_MSEC,
				    .step = { { .turns = turns, .shot = { DUMP_MINI }, .shots = 1 } },
				    .step_count = 1,
				    .no_compare = true,
				    .path = folder,
				    .pattern = "PID-TRIGGER-EXCEPTIONCODE.x" };

	snprintf(word, sizeof(word), "%d", told.target);
	snprintf(spec.order.comment, sizeof(spec.order.comment), "%s", comment);
	return spec;
}

static bool target_lives(void)
{
	return waitpid(told.target, NULL, WNOHANG) == 0;
}

static void so_many(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 3);
	uint64_t begin_ns = now_ns();
	char want[200];

	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 3);
	assert_int_equal(files(false), 3);
	snprintf(want, sizeof(want), "%s/%d-manual-none-2.x", folder, told.target);
	assert_string_equal(told.path[2], want);
	assert_true(told.at_ns[2] >= begin_ns + 20 * NSEC_PER_MSEC); /* two gaps */
	assert_string_equal(told.said, "");
}

static void kinds_in_order(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 2);
	struct err err;

	spec.step[0].shot[1] = DUMP_FULL;
	spec.step[0].shots = 2;
	assert_int_equal(series_plan(&spec, "1xfull", &err), 0);
	assert_int_equal(series_turns(&spec), 3);
	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(told.kind[i], i == 1 || i >= 3 ? DUMP_FULL : DUMP_MINI);
}

static void refused(void **state UNUSED)
{
	struct series_spec spec = spec_of("refuse", 3);

	spec.kill = true;
	assert_int_equal(run(&spec), EXIT_REFUSED);
	assert_int_equal(told.dumps, 0);
	assert_non_null(strstr(told.said, "it is not allowed"));
	assert_int_equal(files(false), 0);
	assert_true(target_lives());
}

static void worker_dies(void **state UNUSED)
{
	struct series_spec spec = spec_of("die", 1);

	assert_int_equal(run(&spec), EXIT_REFUSED);
	assert_non_null(strstr(told.said, "ended early (code 5)"));
}

static void add_trigger(struct series_spec *spec, uint64_t threads)
{
	spec->trigger[spec->trigger_count++] = (struct trigger){ .kind = TRIGGER_THREADS, .threshold = threads };
}

/* What a busy machine refuses is tried again where there is a condition, and does not count. */
static void busy_once(void **state UNUSED)
{
	struct series_spec spec = spec_of("busy", 1);

	add_trigger(&spec, 0);
	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 1);
	assert_non_null(strstr(told.said, "it takes too long"));
	assert_non_null(strstr(told.path[0], "-threads-none.x"));
}

static void never(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 1);

	add_trigger(&spec, 1000);
	spec.timeout_ns = 100 * NSEC_PER_MSEC;
	spec.kill = true;
	assert_int_equal(run(&spec), EXIT_NOTHING);
	assert_int_equal(told.dumps, 0);
	assert_non_null(strstr(told.said, "no condition was fulfilled"));
	assert_true(target_lives());
}

static void given_up(void **state UNUSED)
{
	struct series_spec spec = spec_of("hang", 1);

	spec.give_up_ns = 50 * NSEC_PER_MSEC;
	assert_int_equal(run(&spec), EXIT_NOTHING);
	assert_non_null(strstr(told.said, "given up"));
	assert_int_equal(files(false), 0);
}

/* One worker that stays gives one dump after the other, and what it missed is told. */
static void one_guard_for_all(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 4);

	spec.order.on.signals = sentry_bit(SIGUSR1);
	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 4);
	assert_int_equal(files(false), 4);
	assert_non_null(strstr(told.path[0], "-signal-SIGUSR1.x"));
	assert_non_null(strstr(told.said, "2 more came to process"));
}

/* Where what is to be taken changes, another one takes over. */
static void guards_for_kinds(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 2);
	struct err err;

	assert_int_equal(series_plan(&spec, "2xfull", &err), 0);
	spec.order.on.signals = sentry_bit(SIGUSR1);
	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 4);
	assert_int_equal(told.kind[1], DUMP_MINI);
	assert_int_equal(told.kind[2], DUMP_FULL);
}

/* Its guard is asked to end with the series. */
static void guard_in_vain(void **state UNUSED)
{
	struct series_spec spec = spec_of("never", 1);

	spec.order.on.signals = sentry_bit(SIGUSR1);
	spec.timeout_ns = 200 * NSEC_PER_MSEC;
	assert_int_equal(run(&spec), EXIT_NOTHING);
	assert_int_equal(told.dumps, 0);
}

static void killed_after_the_last(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 2);
	int status = 0;

	spec.kill = true;
	assert_int_equal(run(&spec), EXIT_DONE);
	assert_int_equal(told.dumps, 2);
	assert_int_equal(waitpid(told.target, &status, 0), told.target);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_non_null(strstr(told.said, "was ended (SIGKILL)"));
	told.target = start_target(); /* one for the end */
}

static void ended_before(void **state UNUSED)
{
	struct series_spec spec = spec_of("ok", 1);

	kill(told.target, SIGKILL);
	waitpid(told.target, NULL, 0);
	assert_int_equal(run(&spec), EXIT_MISTAKE);
	assert_int_equal(told.dumps, 0);
	told.target = start_target();
}

static void plans(void **state UNUSED)
{
	static const struct {
		const char *text;
		unsigned int turns; /* 0: it is none */
	} row[] = {
		{ "mini", 1 },
		{ "10xmini,1xfull", 11 },
		{ "stacks,mini,full", 3 },
		{ "10000xfull", 10000 },
		{ "", 0 },
		{ "0xmini", 0 },
		{ "10001xmini", 0 },
		{ "mini,", 0 },
		{ ",mini", 0 },
		{ "3xhuge", 0 },
		{ "xmini", 0 },
		{ "3x", 0 },
		{ "99999999xmini", 0 },
		{ "3 xmini", 0 },
		{ "-1xmini", 0 },
		{ "MINI", 0 },
		{ "mini full", 0 },
		{ "1xmini;1xfull", 0 },
		{ "mini,mini,mini,mini,mini,mini,mini,mini,mini,mini,"
		  "mini,mini,mini,mini,mini,mini,mini",
		  0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct series_spec spec = { .step_count = 0 };
		struct err err = { "" };
		int r = series_plan(&spec, row[i].text, &err);

		if ((r == 0) != (row[i].turns > 0) || (r == 0 && series_turns(&spec) != row[i].turns))
			fail_msg("'%s': %d, %u", row[i].text, r, series_turns(&spec));
		if (r < 0)
			assert_true(err.text[0]);
	}
}

int main(int argc, char **argv)
{
#define OF_ONE(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		OF_ONE(so_many),
		OF_ONE(kinds_in_order),
		OF_ONE(refused),
		OF_ONE(worker_dies),
		OF_ONE(busy_once),
		OF_ONE(never),
		OF_ONE(given_up),
		OF_ONE(one_guard_for_all),
		OF_ONE(guards_for_kinds),
		OF_ONE(guard_in_vain),
		OF_ONE(killed_after_the_last),
		OF_ONE(ended_before),
		cmocka_unit_test(plans),
	};

	if (argc > 1 && !strcmp(argv[1], "--worker"))
		return play_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
