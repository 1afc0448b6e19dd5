// SPDX-License-Identifier: MIT
/* Descriptors and timers, and sources that remove one another. */
#include "ktime.h"
#include "loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <cmocka.h>

struct scene {
	struct loop *loop;
	struct source *source[2];
	int calls[2];
	uint64_t at_ns;
};

static struct scene scene;

static int begin(void **state UNUSED)
{
	memset(&scene, 0, sizeof(scene));
	return loop_new(&scene.loop, NULL);
}

static int end(void **state UNUSED)
{
	loop_free(scene.loop);
	return 0;
}

static void on_stale(void *arg UNUSED, uint32_t events UNUSED)
{
	fail_msg("a source that was removed is called");
}

static void on_over(void *arg UNUSED, uint32_t events UNUSED)
{
	loop_stop(scene.loop, 7);
}

static void on_byte(void *arg, uint32_t events)
{
	int *fd = arg;
	char c;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(*fd, &c, 1), 1);
	scene.calls[0]++;
	if (c == 'x')
		loop_stop(scene.loop, 42);
}

static void descriptors(void **state UNUSED)
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(loop_add_fd(scene.loop, fd[0], EPOLLIN, on_byte, &fd[0], NULL), 0);
	assert_int_equal(write(fd[1], "abx", 3), 3);
	assert_int_equal(loop_run(scene.loop), 42);
	assert_int_equal(scene.calls[0], 3);
	assert_true(loop_add_fd(scene.loop, -1, EPOLLIN, on_byte, NULL, NULL) < 0);
	close(fd[0]);
	close(fd[1]);
}

static void on_timer(void *arg UNUSED, uint32_t events)
{
	assert_int_equal(events, 0);
	scene.at_ns = now_ns();
	if (++scene.calls[0] == 3)
		loop_stop(scene.loop, 1);
}

static void on_late(void *arg UNUSED, uint32_t events UNUSED)
{
	loop_stop(scene.loop, 7);
}

static void timers(void **state UNUSED)
{
	uint64_t start = now_ns(), due = start + 5 * NSEC_PER_MSEC;

	assert_int_equal(loop_add_timer(scene.loop, due, 2 * NSEC_PER_MSEC, on_timer, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 1);
	assert_true(scene.at_ns >= due + 4 * NSEC_PER_MSEC);
	/* one that is long over, or at no time at all, fires at once */
	scene.calls[0] = 2;
	assert_int_equal(loop_add_timer(scene.loop, 0, 0, on_timer, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 1);
}

static void a_single_timer_fires_once(void **state UNUSED)
{
	struct source *source;

	assert_int_equal(loop_add_timer(scene.loop, now_ns() + NSEC_PER_MSEC, 0, on_timer, NULL, &source), 0);
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 20 * NSEC_PER_MSEC, 0, on_late, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 7);
	assert_int_equal(scene.calls[0], 1);
	loop_remove(scene.loop, source);
	loop_remove(scene.loop, NULL);
}

/* Two sources are ready at once; the first to be called removes both. */
static void on_removal(void *arg, uint32_t events UNUSED)
{
	int me = *(int *)arg;

	scene.calls[me]++;
	loop_remove(scene.loop, scene.source[0]);
	loop_remove(scene.loop, scene.source[1]);
	loop_remove(scene.loop, scene.source[me]); /* twice is fine */
}

static void removal_inside_a_callback(void **state UNUSED)
{
	static int number[2] = { 0, 1 };
	int fd[2];

	for (int i = 0; i < 2; i++) {
		int pair[2];

		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
		assert_int_equal(write(pair[1], "x", 1), 1);
		close(pair[1]);
		fd[i] = pair[0];
		assert_int_equal(loop_add_fd(scene.loop, fd[i], EPOLLIN, on_removal, &number[i], &scene.source[i]), 0);
	}
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 5 * NSEC_PER_MSEC, 0, on_late, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 7);
	assert_int_equal(scene.calls[0] + scene.calls[1], 1);
	for (int i = 0; i < 2; i++) {
		assert_true(fcntl(fd[i], F_GETFD) >= 0); /* the caller's, still open */
		close(fd[i]);
	}
}

static void on_signal(void *arg, uint32_t signal)
{
	assert_ptr_equal(arg, &scene);
	scene.calls[0]++;
	loop_stop(scene.loop, (int)signal);
}

/* A SIGHUP that was ignored when we came (nohup) is still ignored; a SIGINT is not: the
 * shell ignores it in each job that a script starts in the background. */
static void signals(void **state UNUSED)
{
	static const int wanted[] = { SIGINT, SIGHUP };
	sigset_t set;

	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	assert_int_equal(loop_add_signals(scene.loop, wanted, ARRAY_LEN(wanted), on_signal, &scene, NULL), 0);
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 5000 * NSEC_PER_MSEC, 0, on_late, NULL, NULL), 0);
	raise(SIGHUP);
	raise(SIGINT);
	assert_int_equal(loop_run(scene.loop), SIGINT);
	assert_int_equal(scene.calls[0], 1);
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void stopped_before_it_runs(void **state UNUSED)
{
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 5000 * NSEC_PER_MSEC, 0, on_late, NULL, NULL), 0);
	loop_stop(scene.loop, 7);
	assert_int_equal(loop_run(scene.loop), 7);
}

/* The descriptor is closed first, and a child that was just forked has it, too: what the
 * kernel still tells of it went to memory that was free (the sanitizers see it). */
static void closed_before_it_is_removed(void **state UNUSED)
{
	struct source *source;
	int fd[2], go[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(loop_add_fd(scene.loop, fd[0], EPOLLIN, on_stale, NULL, &source), 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0);
	}
	close(fd[0]);
	loop_remove(scene.loop, source);
	assert_int_equal(write(fd[1], "a", 1), 1);
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 20 * NSEC_PER_MSEC, 0, on_over, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 7);
	/* whoever is where it was must not get its events */
	assert_int_equal(loop_add_fd(scene.loop, go[0], EPOLLIN, on_stale, NULL, NULL), 0);
	assert_int_equal(loop_add_timer(scene.loop, now_ns() + 20 * NSEC_PER_MSEC, 0, on_over, NULL, NULL), 0);
	assert_int_equal(loop_run(scene.loop), 7);
	close(go[0]);
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(closed_before_it_is_removed, begin, end),
		cmocka_unit_test_setup_teardown(descriptors, begin, end),
		cmocka_unit_test_setup_teardown(timers, begin, end),
		cmocka_unit_test_setup_teardown(a_single_timer_fires_once, begin, end),
		cmocka_unit_test_setup_teardown(removal_inside_a_callback, begin, end),
		cmocka_unit_test_setup_teardown(signals, begin, end),
		cmocka_unit_test_setup_teardown(stopped_before_it_runs, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
