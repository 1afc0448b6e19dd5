// SPDX-License-Identifier: MIT
/* What a sample says of a child that does known things, one after the other. */
#include "ktime.h"
#include "usage.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define GROW (64u << 20)
#define PARTS (USAGE_CPU | USAGE_MEMORY | USAGE_THREADS | USAGE_FDS | USAGE_PLACE)

struct child {
	pid_t pid;
	int ask, answer;
	struct proc proc;
	struct meter meter;
};

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Each byte it gets is a thing to do; it answers when that is done. */
static void play(int ask, int answer)
{
	char what;

	while (read(ask, &what, 1) == 1) {
		pthread_t thread;
		uint64_t until = now_ns() + 200 * NSEC_PER_MSEC;

		switch (what) {
		case 'c':
			while (now_ns() < until)
				;
			break;
		case 'm':
			memset(mmap(NULL, GROW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, GROW);
			break;
		case 't':
			pthread_create(&thread, NULL, idle, NULL);
			break;
		case 'f':
			if (open("/dev/null", O_RDONLY) < 0)
				_exit(1);
			break;
		default:
			_exit(1);
		}
		if (write(answer, "", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static int start(void **state)
{
	struct child *child = calloc(1, sizeof(*child));
	int ask[2], answer[2];
	struct err err;

	assert_int_equal(pipe(ask) | pipe(answer), 0);
	child->pid = fork();
	if (child->pid == 0) {
		close(ask[1]);
		play(ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	child->ask = ask[1];
	child->answer = answer[0];
	assert_int_equal(proc_open(&child->proc, child->pid, &err), 0);
	assert_int_equal(meter_init(&child->meter, &child->proc, PARTS, &err), 0);
	*state = child;
	return 0;
}

static void end(struct child *child)
{
	close(child->ask);
	assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
	child->pid = 0;
}

static int stop(void **state)
{
	struct child *child = *state;

	if (child->pid)
		end(child);
	close(child->answer);
	proc_close(&child->proc);
	free(child);
	return 0;
}

static struct usage after(struct child *child, const char *what)
{
	struct usage s;
	char done;

	for (; *what; what++) {
		assert_int_equal(write(child->ask, what, 1), 1);
		assert_int_equal(read(child->answer, &done, 1), 1);
	}
	assert_int_equal(usage_read(&child->meter, &s), 0);
	assert_int_equal(s.parts & PARTS, PARTS);
	return s;
}

static void all_parts(void **state)
{
	struct child *child = *state;
	struct usage before = after(child, "f"), now; /* it is past its own set-up */

	now = after(child, "fff");
	assert_int_equal(now.fds, before.fds + 3);
	now = after(child, "tt");
	assert_int_equal(now.threads, before.threads + 2);
	now = after(child, "m");
	assert_true(now.memory_bytes >= before.memory_bytes + GROW);
	assert_true(now.memory_bytes < before.memory_bytes + 2 * GROW);
	before = now;
	now = after(child, "c");
	/* how much of the 200 ms it got is the machine's affair, not more than passed */
	assert_true(now.cpu_ns > before.cpu_ns);
	assert_true(now.cpu_ns - before.cpu_ns <= now.at_ns - before.at_ns);
}

static bool asleep(const struct child *child)
{
	struct proc_stat stat;

	return proc_stat_read(child->proc.dir_fd, "stat", &stat) == 0 && stat.state == 'S';
}

static void same_place(void **state)
{
	struct child *child = *state;
	struct usage a, b;

	after(child, "t");
	do /* both threads in their waits */
		a = after(child, "");
	while (!asleep(child) || (b = after(child, ""), a.place != b.place));
	a = after(child, "t");
	assert_int_not_equal(a.place, b.place);
}

static void gone(void **state)
{
	struct child *child = *state;
	struct usage s;

	end(child);
	assert_int_equal(usage_read(&child->meter, &s), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_parts, start, stop),
		cmocka_unit_test_setup_teardown(same_place, start, stop),
		cmocka_unit_test_setup_teardown(gone, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
