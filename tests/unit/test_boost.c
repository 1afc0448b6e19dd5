// SPDX-License-Identifier: MIT
/* A priority that is lent, and is gone when it should be. Each booster is a process of
 * its own: one of them is killed. Needs root, and two CPUs. */
#include "boost.h"

#include "ktime.h"
#include "proc.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LENT (-11)
#define OWN 20
#define PATIENCE_NS (20 * NSEC_PER_SEC)

/* Fields 18 (priority) and 41 (policy) of its stat. */
static int field(pid_t pid, int number)
{
	CLEAN(free) char *text = NULL;
	char path[32], *save, *word;
	int n = 3;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (proc_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 999;
	word = strtok_r(strrchr(text, ')') + 1, " ", &save);
	for (; word && n < number; n++)
		word = strtok_r(NULL, " ", &save);
	return word ? atoi(word) : 999;
}

static bool becomes(pid_t pid, int priority)
{
	uint64_t end = now_ns() + PATIENCE_NS;

	while (field(pid, 18) != priority) {
		if (now_ns() > end)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = NSEC_PER_MSEC }, NULL);
	}
	assert_int_equal(field(pid, 41), SCHED_OTHER); /* never touched */
	return true;
}

/* A process that spins; or sleeps, so that its boost costs nobody a CPU. */
static pid_t victim(bool spins, int clone_flags)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | clone_flags, NULL, NULL, NULL, 0);

	while (pid == 0)
		if (!spins)
			pause();
	return pid;
}

/* Another reqtrap of this host may lend just now: it does so for milliseconds. */
static bool begin(pid_t tid, uint64_t for_ns)
{
	uint64_t end = now_ns() + PATIENCE_NS;

	boost_prepare();
	do {
		boost_open();
		if (boost_begin(tid, now_ns() + for_ns))
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = NSEC_PER_MSEC }, NULL);
	} while (now_ns() < end);
	return false;
}

/* Boosts the victim, and says so by a byte; ends it when it gets one, and says so. */
static pid_t booster(pid_t tid, uint64_t for_ns, int *ret_fd)
{
	int to[2], from[2];
	char byte = 0;
	pid_t pid;

	assert_true(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		byte = begin(tid, for_ns);
		if (write(from[1], &byte, 1) == 1 && read(to[0], &byte, 1) == 1)
			boost_end(tid);
		for (;;)
			pause();
	}
	assert_int_equal(read(from[0], &byte, 1), 1);
	close(from[0]);
	close(from[1]);
	close(to[0]);
	*ret_fd = to[1];
	if (!byte) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(to[1]);
		return 0;
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

enum ending { BY_KILL, BY_END, BY_TIME };

static void lent_and_back(bool spins, int clone_flags, enum ending ending)
{
	pid_t pid = victim(spins, clone_flags), boosts;
	int fd;

	assert_true(pid > 0);
	boosts = booster(pid, ending == BY_TIME ? 50 * NSEC_PER_MSEC : 100 * NSEC_PER_SEC, &fd);
	if (!boosts) {
		end(pid);
		skip(); /* not root, one CPU, or before Linux 5.14 */
	}
	if (ending != BY_TIME)
		assert_true(becomes(pid, LENT));
	if (ending == BY_KILL)
		end(boosts);
	if (ending == BY_END)
		assert_int_equal(write(fd, "", 1), 1);
	assert_true(becomes(pid, OWN));
	if (ending != BY_KILL)
		end(boosts);
	close(fd);
	end(pid);
}

static void a_killed_booster_leaves_nothing(void **state UNUSED)
{
	lent_and_back(false, 0, BY_KILL);
	lent_and_back(true, 0, BY_KILL);
}

static void it_ends_when_told(void **state UNUSED)
{
	lent_and_back(false, 0, BY_END);
	lent_and_back(true, 0, BY_END);
}

static void it_ends_by_itself(void **state UNUSED)
{
	lent_and_back(true, 0, BY_TIME);
}

static void another_pid_namespace(void **state UNUSED)
{
	if (geteuid() != 0)
		skip();
	lent_and_back(false, CLONE_NEWPID, BY_KILL);
}

/* The lock falls to the helper then: it must be free for the next one. */
static void one_that_dies_boosted(void **state UNUSED)
{
	pid_t first = victim(false, 0), second = victim(false, 0), boosts = fork();
	int status;

	if (boosts == 0) {
		uint64_t stop = now_ns() + PATIENCE_NS;

		if (!begin(first, 100 * NSEC_PER_SEC))
			_exit(2);
		while (field(first, 18) != LENT && now_ns() < stop)
			;
		kill(first, SIGKILL);
		while (!boost_begin(second, now_ns() + 100 * NSEC_PER_SEC) && now_ns() < stop)
			;
		while (field(second, 18) != LENT && now_ns() < stop)
			;
		_exit(field(second, 18) == LENT ? 0 : 1);
	}
	waitpid(boosts, &status, 0);
	assert_true(becomes(second, OWN));
	end(first);
	end(second);
	if (status == 2 << 8)
		skip();
	assert_int_equal(status, 0);
}

/* More boosted threads than CPUs would run on for ever, with no helper to end it. */
static void one_lender_at_a_time(void **state UNUSED)
{
	pid_t first = victim(true, 0), boosts, other;
	int fd, status = 0;

	boosts = booster(first, 100 * NSEC_PER_SEC, &fd);
	if (!boosts) {
		end(first);
		skip();
	}
	other = fork();
	if (other == 0) {
		boost_prepare();
		boost_open();
		_exit(boost_begin(first, now_ns() + NSEC_PER_SEC));
	}
	waitpid(other, &status, 0);
	end(boosts);
	assert_int_equal(status, 0);
	boosts = booster(first, 100 * NSEC_PER_SEC, &fd); /* the dead one's claim is gone */
	assert_true(boosts);
	end(boosts);
	assert_true(becomes(first, OWN));
	end(first);
}

static void what_is_lent_comes_back(void **state UNUSED)
{
	pid_t first = victim(true, 0), boosts = fork();
	int status = 0;

	if (boosts == 0) {
		if (!begin(first, 100 * NSEC_PER_SEC))
			_exit(2);
		while (field(first, 18) != LENT)
			;
		boost_return(0); /* at once, not after a while */
		_exit(field(first, 18) == OWN ? 0 : 1);
	}
	waitpid(boosts, &status, 0);
	end(first);
	if (status == 2 << 8)
		skip();
	assert_int_equal(status, 0);
}

static void nobody(void **state UNUSED)
{
	boost_end(1);
	assert_false(boost_begin(1, 0)); /* without boost_prepare there is no helper */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody),
		cmocka_unit_test(a_killed_booster_leaves_nothing),
		cmocka_unit_test(it_ends_when_told),
		cmocka_unit_test(it_ends_by_itself),
		cmocka_unit_test(another_pid_namespace),
		cmocka_unit_test(one_that_dies_boosted),
		cmocka_unit_test(one_lender_at_a_time),
		cmocka_unit_test(what_is_lent_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
