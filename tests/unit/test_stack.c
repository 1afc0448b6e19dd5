// SPDX-License-Identifier: MIT
/* The analyst as a whole on a child of this test: stacks, names, bounds, the sandbox,
 * and what it does with messages and captures that make no sense. */
#include "play_worker.h"
#include "sandbox.h"
#include "victims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#define THREADS 100
#define DEEP 1000

static volatile int sink;

__attribute__((noinline, noclone)) static void innermost_part(struct truth *truth, int i)
{
	truth->tid[i] = (pid_t)syscall(SYS_gettid);
	while (sink >= 0)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
	sink++;
}

__attribute__((noinline, noclone)) static void middle_part(struct truth *truth, int i)
{
	innermost_part(truth, i);
	sink++;
}

__attribute__((noinline, noclone)) static void deep_part(struct truth *truth, int i, int depth)
{
	if (depth == 0)
		middle_part(truth, i);
	else
		deep_part(truth, i, depth - 1);
	sink++;
}

static struct truth *shared;

static void *thread_main(void *arg)
{
	middle_part(shared, (int)(intptr_t)arg);
	return NULL;
}

static void play_threads(struct truth *truth)
{
	pthread_t thread;

	shared = truth;
	for (intptr_t i = 1; i <= THREADS; i++)
		pthread_create(&thread, NULL, thread_main, (void *)i);
	truth->ready = 1;
	innermost_part(truth, 0);
}

static void play_deep(struct truth *truth)
{
	truth->ready = 1;
	deep_part(truth, 0, DEEP);
}

static const struct thread *find_thread(const struct analysis *a, pid_t tid)
{
	for (size_t i = 0; i < a->thread_count; i++) {
		if (a->thread[i].tid == tid)
			return &a->thread[i];
	}
	return NULL;
}

static int find_frame(const struct stack *stack, const char *function)
{
	for (size_t i = 0; i < stack->count; i++) {
		if (!strcmp(stack->frame[i].function, function))
			return (int)i;
	}
	return -1;
}

static void test_threads(void **state UNUSED)
{
	struct truth *truth = truth_new();
	pid_t pid = victim_start(truth, play_threads);
	struct analysis a;

	for (int i = 0; i <= THREADS; i++) {
		while (!((volatile pid_t *)truth->tid)[i])
			sched_yield();
		wait_for_call(pid, truth->tid[i], SYS_clock_nanosleep);
	}
	assert_true(play_analyse(pid, &a));
	assert_null(a.failed);
	assert_int_equal(a.thread_count, THREADS + 1);
	assert_true(a.thread[0].holder);
	assert_int_equal(a.thread[0].tid, pid);
	for (int i = 1; i <= THREADS; i++) {
		const struct thread *t = find_thread(&a, truth->tid[i]);
		int inner, middle, outer;

		assert_non_null(t);
		assert_string_equal(t->call, "clock_nanosleep");
		assert_string_equal(t->waits_for, "1000 s to pass");
		inner = find_frame(&t->stack, "innermost_part");
		middle = find_frame(&t->stack, "middle_part");
		outer = find_frame(&t->stack, "thread_main");
		assert_true(inner > 0);
		assert_int_equal(middle, inner + 1);
		assert_int_equal(outer, inner + 2);
		assert_null(t->stack.unavailable);
		assert_string_equal(t->stack.frame[inner].module, "test_stack");
	}
	analysis_done(&a);
	victim_end(pid);
	munmap(truth, sizeof(*truth));
}

static void test_deep_stack_is_cut_and_says_so(void **state UNUSED)
{
	struct truth *truth = truth_new();
	pid_t pid = victim_start(truth, play_deep);
	struct analysis a;

	wait_for_call(pid, pid, SYS_clock_nanosleep);
	assert_true(play_analyse(pid, &a));
	assert_int_equal(a.thread_count, 1);
	assert_int_equal(a.thread[0].stack.count, 256);
	assert_string_equal(a.thread[0].stack.unavailable, "cut after 256 frames");
	assert_true(find_frame(&a.thread[0].stack, "deep_part") > 0);
	analysis_done(&a);
	victim_end(pid);
	munmap(truth, sizeof(*truth));
}

/* --- the sandbox --- */

struct tries {
	int entered, open, openat_proc, socket, exec, fork, kill, map_exec;
};

static void try_everything(int out, int in)
{
	struct tries t = { 0 };
	struct err err;
	char go;

	t.entered = sandbox_enter(&err);
	t.open = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
	t.openat_proc = open("/proc/self/maps", O_RDONLY) < 0 ? errno : 0;
	t.socket = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
	t.exec = execl("/bin/true", "true", NULL) < 0 ? errno : 0;
	t.fork = (int)syscall(SYS_fork) < 0 ? errno : 0;
	t.kill = kill(getppid(), 0) < 0 ? errno : 0;
	t.map_exec =
		mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
	/* stays until the test has looked at it */
	if (write(out, &t, sizeof(t)) == sizeof(t) && read(in, &go, 1) < 0)
		_exit(1);
	_exit(0);
}

static void expect_line(pid_t pid, const char *file, const char *line)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	assert_int_equal(proc_file(AT_FDCWD, path, 1 << 16, &text, NULL), 0);
	if (!strstr(text, line))
		fail_msg("no '%s' in %s:\n%s", line, path, text);
	free(text);
}

static void test_sandbox(void **state UNUSED)
{
	struct tries t = { 0 };
	int out[2], in[2];
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(in), 0);
	pid = fork();
	if (pid == 0) {
		close(in[1]);
		try_everything(out[1], in[0]);
	}
	close(out[1]);
	assert_int_equal(read(out[0], &t, sizeof(t)), sizeof(t));
	assert_int_equal(t.entered, 0);
	assert_int_equal(t.open, EPERM);
	assert_int_equal(t.openat_proc, EPERM);
	assert_int_equal(t.socket, EPERM);
	assert_int_equal(t.exec, EPERM);
	assert_int_equal(t.fork, EPERM);
	assert_int_equal(t.kill, EPERM);
	assert_int_equal(t.map_exec, EPERM);
	expect_line(pid, "status", "CapEff:\t0000000000000000\n");
	expect_line(pid, "status", "CapPrm:\t0000000000000000\n");
	expect_line(pid, "status", "NoNewPrivs:\t1\n");
	expect_line(pid, "status", "Seccomp:\t2\n");
	if (geteuid() == 0) {
		expect_line(pid, "status", "Uid:\t65534\t65534\t65534\t65534\n");
		expect_line(pid, "status", "Gid:\t65534\t65534\t65534\t65534\n");
		expect_line(pid, "status", "Groups:\t \n");
		expect_line(pid, "limits", "Max core file size        0                    0 ");
		expect_line(pid, "limits", "Max file size             0                    0 ");
		expect_line(pid, "limits", "Max cpu time              10                   10 ");
	}
	close(in[1]);
	waitpid(pid, NULL, 0);
	close(out[0]);
	close(in[0]);
}

/* --- nonsense --- */

static void test_worker_dies(void **state UNUSED)
{
	struct analyst *analyst;
	struct analysis a;
	int sock;

	assert_int_equal(analyst_start(&sock, &analyst, NULL), 0);
	close(sock);
	assert_int_equal(analyst_read(analyst, true, &a), 0);
	assert_non_null(a.failed);
	assert_int_equal(a.thread_count, 0);
	analysis_done(&a);
}

static void test_worker_says_why(void **state UNUSED)
{
	struct analyst_message msg = { .type = ANALYST_FAILED, .text = "no such process" };
	struct analyst *analyst;
	struct analysis a;
	int sock;

	assert_int_equal(analyst_start(&sock, &analyst, NULL), 0);
	assert_int_equal(play_send(sock, &msg, NULL, 0), 0);
	assert_int_equal(analyst_read(analyst, true, &a), 0);
	assert_string_equal(a.failed, "no such process");
	close(sock);
	analysis_done(&a);
}

static void test_cancel(void **state UNUSED)
{
	struct analyst *analyst;
	struct analysis a;
	int sock;

	assert_int_equal(analyst_start(&sock, &analyst, NULL), 0);
	assert_int_equal(analyst_read(analyst, false, &a), -EAGAIN);
	analyst_cancel(analyst, "out of time");
	assert_int_equal(analyst_read(analyst, true, &a), 0);
	assert_string_equal(a.failed, "the analyst was stopped: out of time");
	close(sock);
	analysis_done(&a);
}

/* A capture with any 8 bytes of its head or thread table overwritten may lose the
 * analysis, but never hang it, and the answer is always well-formed. */
static void test_broken_captures(void **state UNUSED)
{
	static const uint64_t bad[] = { 0, 1, UINT32_MAX, UINT64_MAX, 1ull << 63, 0x7fffffffffffffff };
	struct truth *truth = truth_new();
	pid_t pid = victim_start(truth, play_deep);
	struct play p;
	unsigned int answered = 0;

	wait_for_call(pid, pid, SYS_clock_nanosleep);
	assert_true(play_open(&p, pid));
	assert_true(play_stop(&p));
	for (size_t at = 0; at < sizeof(struct capture_head) + sizeof(struct capture_thread); at += 24) {
		struct analyst_message msg = { .type = ANALYST_GO, .pid = pid, .live = 1 };
		struct analyst *analyst;
		struct analysis a;
		uint64_t was;
		int sock;

		assert_int_equal(pread(p.capture_fd, &was, 8, (off_t)at), 8);
		assert_int_equal(pwrite(p.capture_fd, &bad[at / 24 % ARRAY_LEN(bad)], 8, (off_t)at), 8);
		assert_int_equal(analyst_start(&sock, &analyst, NULL), 0);
		assert_true(play_prepare(&p, sock));
		assert_int_equal(play_send(sock, &msg, &p.capture_fd, 1), 0);
		assert_int_equal(analyst_read(analyst, true, &a), 0);
		answered += !a.failed;
		analysis_done(&a);
		close(sock);
		assert_int_equal(pwrite(p.capture_fd, &was, 8, (off_t)at), 8);
	}
	assert_true(answered > 0);
	play_release(&p);
	victim_end(pid);
	munmap(truth, sizeof(*truth));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),		cmocka_unit_test(test_deep_stack_is_cut_and_says_so),
		cmocka_unit_test(test_sandbox),		cmocka_unit_test(test_worker_dies),
		cmocka_unit_test(test_worker_says_why), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_broken_captures),
	};

	if (argc > 1 && !strcmp(argv[1], "--analyst"))
		return analyst_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
