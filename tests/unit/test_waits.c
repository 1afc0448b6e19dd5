// SPDX-License-Identifier: MIT
/* The table of system calls against this system's header; what a call waits on, from
 * arguments and our own memory; what real fds are called. */
#include "peers.h"
#include "waits.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

/* Some of each region of the table, and all that wait_describe knows. */
static void test_numbers(void **state UNUSED)
{
	static const struct {
		long nr;
		const char *name;
	} row[] = {
#define ROW(name) { SYS_##name, #name }
		ROW(read),	  ROW(write),		ROW(open),	  ROW(close),		ROW(poll),
		ROW(select),	  ROW(nanosleep),	ROW(connect),	  ROW(accept),		ROW(sendto),
		ROW(recvfrom),	  ROW(sendmsg),		ROW(recvmsg),	  ROW(wait4),		ROW(fcntl),
		ROW(flock),	  ROW(fsync),		ROW(futex),	  ROW(epoll_wait),	ROW(clock_nanosleep),
		ROW(waitid),	  ROW(openat),		ROW(pselect6),	  ROW(ppoll),		ROW(splice),
		ROW(fallocate),	  ROW(accept4),		ROW(epoll_pwait), ROW(preadv),		ROW(recvmmsg),
		ROW(sendmmsg),	  ROW(getrandom),	ROW(statx),	  ROW(io_uring_enter),	ROW(clone3),
		ROW(pidfd_getfd), ROW(restart_syscall), ROW(exit_group),  ROW(rt_sigtimedwait), ROW(semtimedop),
#undef ROW
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		assert_string_equal(syscall_name(row[i].nr), row[i].name);
	assert_null(syscall_name(-1));
	assert_null(syscall_name(-2));
	assert_null(syscall_name(1000000));
	assert_null(syscall_name(400)); /* a hole */
}

/* Every number of the header that is in the table has the header's name: the compiler
 * would refuse two names for one number, so reading the header is enough. */
static void test_header(void **state UNUSED)
{
	FILE *f = fopen("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "r");
	char line[256], name[128];
	unsigned int checked = 0;
	long nr;

	if (!f)
		skip();
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "#define __NR_%127s %ld", name, &nr) != 2)
			continue;
		if (!syscall_name(nr)) /* a newer header */
			continue;
		assert_string_equal(syscall_name(nr), name);
		checked++;
	}
	fclose(f);
	assert_true(checked > 300);
}

static ssize_t read_own(void *arg UNUSED, uint64_t addr, void *buf, size_t len)
{
	if (addr < 65536 || addr > 1ull << 47)
		return 0;
	memcpy(buf, (const void *)addr, len);
	return (ssize_t)len;
}

static const struct memory own = { .read = read_own };

static void check(long nr, const uint64_t arg[6], enum wait_kind kind, int fd, uint64_t timeout_ns, const char *text)
{
	struct wait w;

	wait_describe(&own, nr, arg, &w);
	assert_int_equal(w.kind, kind);
	assert_int_equal(w.fd, fd);
	assert_int_equal(w.timeout_ns, timeout_ns);
	assert_string_equal(w.text, text);
}

#define ADDR(x) ((uint64_t)(uintptr_t)(x))
#define ARGS(...) ((const uint64_t[6]){ __VA_ARGS__ })

static void test_sleeps(void **state UNUSED)
{
	struct timespec half = { .tv_nsec = 500000000 }, broken = { .tv_sec = -1, .tv_nsec = 5 };

	check(SYS_nanosleep, ARGS(ADDR(&half)), WAIT_SLEEP, -1, 500000000, "0.5 s to pass");
	check(SYS_clock_nanosleep, ARGS(0, 0, ADDR(&half)), WAIT_SLEEP, -1, 500000000, "0.5 s to pass");
	check(SYS_clock_nanosleep, ARGS(0, TIMER_ABSTIME, ADDR(&half)), WAIT_SLEEP, -1, 0, "a set time");
	check(SYS_nanosleep, ARGS(ADDR(&broken)), WAIT_SLEEP, -1, 0, "time to pass");
	check(SYS_nanosleep, ARGS(16), WAIT_SLEEP, -1, 0, "time to pass"); /* unreadable */
	check(SYS_poll, ARGS(0, 0, 1500), WAIT_SLEEP, -1, 1500000000, "1.5 s to pass");
	check(SYS_select, ARGS(0, 0, 0, 0, ADDR(&(struct timeval){ .tv_usec = 250000 })), WAIT_SLEEP, -1, 250000000,
	      "0.25 s to pass");
}

static void test_fds(void **state UNUSED)
{
	struct pollfd one[1] = { { .fd = 7 } }, three[3] = { { .fd = 3 }, { .fd = -1 }, { .fd = 9 } }, many[70];
	fd_set read_set, write_set;
	struct wait w;

	check(SYS_recvfrom, ARGS(5), WAIT_FD, 5, 0, "fd 5");
	check(SYS_poll, ARGS(ADDR(one), 1, (uint64_t)-1), WAIT_POLL, 7, WAIT_FOREVER, "fd 7");
	check(SYS_poll, ARGS(ADDR(three), 3, 1000), WAIT_POLL, -1, 1000000000, "fds 3 9");
	check(SYS_ppoll, ARGS(ADDR(one), 1, 0), WAIT_POLL, 7, WAIT_FOREVER, "fd 7");
	check(SYS_epoll_wait, ARGS(4, 0, 0, (uint64_t)-1), WAIT_EVENTS, 4, WAIT_FOREVER, "fd 4");
	FD_ZERO(&read_set);
	FD_ZERO(&write_set);
	FD_SET(3, &read_set);
	FD_SET(100, &write_set);
	check(SYS_select, ARGS(101, ADDR(&read_set), ADDR(&write_set)), WAIT_POLL, -1, WAIT_FOREVER, "fds 3 100");
	/* hostile counts and addresses */
	check(SYS_poll, ARGS(8, 1, 0), WAIT_POLL, -1, 0, "");
	check(SYS_poll, ARGS(8, UINT64_MAX, 0), WAIT_POLL, -1, 0, "");
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct pollfd){ .fd = 1000000 + (int)i };
	wait_describe(&own, SYS_poll, ARGS(ADDR(many), 70, 0), &w);
	assert_int_equal(w.fd, -1);
	assert_true(strlen(w.text) < sizeof(w.text));
	assert_memory_equal(w.text, "fds 1000000 1000001 ", 20);
}

static void test_others(void **state UNUSED)
{
	check(SYS_futex, ARGS(0x1000, FUTEX_WAIT_PRIVATE, 2), WAIT_FUTEX, -1, WAIT_FOREVER, "futex 0x1000");
	check(SYS_futex, ARGS(0x1000, FUTEX_WAKE_PRIVATE, 1), WAIT_NONE, -1, 0, "");
	check(SYS_wait4, ARGS(4711), WAIT_CHILD, -1, 0, "child process 4711");
	check(SYS_wait4, ARGS((uint64_t)-1), WAIT_CHILD, -1, 0, "any child process");
	check(SYS_waitid, ARGS(P_PID, 12), WAIT_CHILD, -1, 0, "child process 12");
	check(SYS_flock, ARGS(6, 2), WAIT_FILE_LOCK, 6, 0, "fd 6");
	check(SYS_fcntl, ARGS(6, F_SETLKW), WAIT_FILE_LOCK, 6, 0, "fd 6");
	check(SYS_fcntl, ARGS(6, F_GETFL), WAIT_NONE, -1, 0, "");
	check(SYS_getpid, ARGS(0), WAIT_NONE, -1, 0, "");
	check(-1, ARGS(0), WAIT_NONE, -1, 0, "");
	assert_int_equal(wait_kind_of("poll"), WAIT_POLL);
	assert_int_equal(wait_kind_of("page fault"), WAIT_NONE);
	assert_int_equal(wait_kind_of("fcntl"), WAIT_FILE_LOCK);
	assert_int_equal(wait_kind_of(NULL), WAIT_NONE);
}

static void test_restarted(void **state UNUSED)
{
	/* other code; mov $230,%eax; xor; syscall */
	uint8_t code[64] = { 0xb8, 35, 0, 0, 0 };
	uint64_t pc = ADDR(code) + 60;

	memcpy(code + 48, "\xb8\xe6\x00\x00\x00\x31\xc0\x90\x90\x90\x0f\x05", 12);
	assert_int_equal(wait_restarted(&own, SYS_restart_syscall, pc), SYS_clock_nanosleep);
	assert_int_equal(wait_restarted(&own, SYS_read, pc), SYS_read);
	code[59] = 0x90; /* no system call instruction before pc */
	assert_int_equal(wait_restarted(&own, SYS_restart_syscall, pc), SYS_restart_syscall);
	assert_int_equal(wait_restarted(&own, SYS_restart_syscall, 100), SYS_restart_syscall);
	assert_int_equal(wait_restarted(NULL, SYS_restart_syscall, pc), SYS_restart_syscall);
}

static void check_fd(int dir_fd, int fd, const char *want)
{
	char text[300];

	assert_int_equal(fd_describe(dir_fd, fd, text, sizeof(text)), 0);
	assert_string_equal(text, want);
}

static void check_files(int dir_fd)
{
	char path[] = "/tmp/test_waits.XXXXXX", want[64];
	int fd = mkstemp(path), pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	snprintf(want, sizeof(want), "file %s", path);
	check_fd(dir_fd, fd, want);
	unlink(path);
	check_fd(dir_fd, pipe_fd[0], "pipe");
	close(fd);
	fd = epoll_create1(0);
	check_fd(dir_fd, fd, "epoll");
	close(fd);
	fd = eventfd(0, 0);
	check_fd(dir_fd, fd, "eventfd");
	close(fd);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_true(fd_describe(dir_fd, 987, want, sizeof(want)) < 0);
	assert_string_equal(want, "fd 987");
}

/* A command that was started with its output in a pipe. */
static void check_pipe_to_child(int dir_fd)
{
	int ours[2], hold[2];
	char want[64], byte;
	pid_t pid;

	assert_int_equal(pipe(ours), 0);
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ours[1], 1);
		close(hold[1]);
		_exit(write(1, "x", 1) == 1 && read(hold[0], &byte, 1) >= 0 ? 0 : 1);
	}
	assert_int_equal(read(ours[0], &byte, 1), 1);
	snprintf(want, sizeof(want), "pipe to child %d \"test_waits\"", pid);
	check_fd(dir_fd, ours[0], want);
	close(hold[1]);
	waitpid(pid, NULL, 0);
	check_fd(dir_fd, ours[0], "pipe");
	close(hold[0]);
	close(ours[0]);
	close(ours[1]);
}

static void check_tcp(int dir_fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, b;
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	char want[128];

	assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&a, &len);
	assert_int_equal(connect(client, (struct sockaddr *)&a, len), 0);
	getsockname(client, (struct sockaddr *)&b, &len);
	snprintf(want, sizeof(want), "tcp 127.0.0.1:%u (listening)", ntohs(a.sin_port));
	check_fd(dir_fd, listener, want);
	snprintf(want, sizeof(want), "tcp 127.0.0.1:%u -> 127.0.0.1:%u", ntohs(b.sin_port), ntohs(a.sin_port));
	check_fd(dir_fd, client, want);
	close(client);
	close(listener);
}

static void check_unix(int dir_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), served, pair[2];
	char want[200];

	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/test_waits.%d.sock", getpid());
	unlink(a.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
	served = accept(listener, NULL, NULL);
	snprintf(want, sizeof(want), "unix:%s", a.sun_path);
	check_fd(dir_fd, client, want);
	snprintf(want, sizeof(want), "unix:%s <- pid %d", a.sun_path, getpid());
	check_fd(dir_fd, served, want);
	snprintf(want, sizeof(want), "unix:%s (listening)", a.sun_path);
	check_fd(dir_fd, listener, want);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(want, sizeof(want), "unix socket <-> pid %d", getpid());
	check_fd(dir_fd, pair[0], want);
	unlink(a.sun_path);
	close(pair[0]);
	close(pair[1]);
	close(client);
	close(served);
	close(listener);
}

static void test_live_fds(void **state UNUSED)
{
	int dir_fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	check_files(dir_fd);
	check_pipe_to_child(dir_fd);
	check_tcp(dir_fd);
	check_unix(dir_fd);
	close(dir_fd);
}

static void test_naming_fds_of_threads(void **state UNUSED)
{
	int dir_fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = eventfd(0, 0);
	struct analysis a = { 0 };
	char want[64];

	for (int i = 0; i < 6; i++)
		list_add(&a.thread, &a.thread_count, sizeof(*a.thread));
	text_setf(&a.thread[0].waits_for, "fd %d", fd);
	text_set(&a.thread[1].waits_for, "mutex 0x10 held by 3");
	text_setf(&a.thread[3].waits_for, "fds %d 987", fd);
	text_setf(&a.thread[4].waits_for, "fd %d; rm -rf", fd);
	text_set(&a.thread[5].waits_for, "fds 1 2 3 4 5 6 7 8 9");
	waits_name_fds(&a, dir_fd);
	snprintf(want, sizeof(want), "fds %d 987 (eventfd, gone)", fd);
	assert_string_equal(a.thread[3].waits_for, want);
	assert_null(strchr(a.thread[4].waits_for, '('));
	assert_string_equal(a.thread[5].waits_for, "fds 1 2 3 4 5 6 7 8 9");
	snprintf(want, sizeof(want), "fd %d (eventfd)", fd);
	assert_string_equal(a.thread[0].waits_for, want);
	assert_string_equal(a.thread[1].waits_for, "mutex 0x10 held by 3");
	assert_null(a.thread[2].waits_for);
	waits_name_fds(&a, dir_fd); /* twice is once */
	assert_string_equal(a.thread[0].waits_for, want);
	analysis_done(&a);
	close(fd);
	close(dir_fd);
}

static bool in_flock(pid_t pid)
{
	char path[64], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	f = fopen(path, "r");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	return atoi(text) == SYS_flock;
}

/* A child of ours waits for a lock that this test holds. */
static void test_file_lock_holder(void **state UNUSED)
{
	char path[] = "/tmp/test_waits.XXXXXX", dir[64], want[128];
	int fd = mkstemp(path), dir_fd;
	struct analysis a = { 0 };
	pid_t pid;

	assert_int_equal(flock(fd, LOCK_EX), 0);
	pid = fork();
	if (pid == 0) {
		int own = open(path, O_RDWR);

		dup2(own, 50);
		_exit(flock(50, LOCK_EX));
	}
	while (!in_flock(pid))
		sched_yield();
	assert_int_equal(file_lock_holder(pid), getpid());
	assert_int_equal(file_lock_holder(getpid()), 0);
	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	list_add(&a.thread, &a.thread_count, sizeof(*a.thread));
	text_set(&a.thread[0].call, "flock");
	text_set(&a.thread[0].waits_for, "fd 50");
	waits_name_fds(&a, dir_fd);
	snprintf(want, sizeof(want), "fd 50 (file %s) locked by %d \"test_waits\"", path, getpid());
	assert_string_equal(a.thread[0].waits_for, want);
	waits_name_fds(&a, dir_fd);
	assert_string_equal(a.thread[0].waits_for, want);
	analysis_done(&a);
	close(dir_fd);
	flock(fd, LOCK_UN);
	waitpid(pid, NULL, 0);
	unlink(path);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),		 cmocka_unit_test(test_header),
		cmocka_unit_test(test_sleeps),		 cmocka_unit_test(test_fds),
		cmocka_unit_test(test_others),		 cmocka_unit_test(test_restarted),
		cmocka_unit_test(test_live_fds),	 cmocka_unit_test(test_naming_fds_of_threads),
		cmocka_unit_test(test_file_lock_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
