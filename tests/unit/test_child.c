// SPDX-License-Identifier: MIT
/* What a child inherits: what was named, and nothing else. */
#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include <cmocka.h>

/* Runs 'sh -c script' with its output on a pipe; returns its exit code. */
static int run(const char *script, const struct child_spec *with, char *out, size_t size)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };
	struct child_fd fds[8] = { { .to = 1 } };
	struct child_spec spec = *with;
	struct child child;
	struct err err;
	int fd[2], code;
	size_t len = 0;
	ssize_t n;

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	fds[0].from = fd[1];
	for (size_t i = 0; i < with->fd_count; i++)
		fds[i + 1] = with->fds[i];
	spec.path = "/bin/sh";
	spec.argv = argv;
	spec.fds = fds;
	spec.fd_count = with->fd_count + 1;
	if (child_start(&spec, &child, &err) != 0)
		fail_msg("%s", err.text);
	close(fd[1]);
	while ((n = read(fd[0], out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fd[0]);
	code = child_reap(&child, true);
	assert_int_equal(child.pid, 0);
	assert_int_equal(child.pidfd, -1);
	return code;
}

static void exit_codes(void **state UNUSED)
{
	struct child_spec spec = { .path = NULL };
	char out[64];

	assert_int_equal(run("exit 0", &spec, out, sizeof(out)), 0);
	assert_int_equal(run("exit 77", &spec, out, sizeof(out)), 77);
	assert_int_equal(run("kill -TERM $$", &spec, out, sizeof(out)), 128 + SIGTERM);
}

static void nothing_is_inherited(void **state UNUSED)
{
	struct child_spec spec = { .path = NULL };
	int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, on purpose */
	char out[1024];

	assert_true(leak >= 0);
	setenv("SECRET", "x", 1);
	/* 'ls' itself holds one more, on /proc/self/fd */
	assert_int_equal(run("ls /proc/self/fd | tr '\\n' ' '", &spec, out, sizeof(out)), 0);
	assert_string_equal(out, "0 1 2 3 ");
	assert_int_equal(run("readlink /proc/self/fd/0 /proc/$$/fd/2", &spec, out, sizeof(out)), 0);
	assert_string_equal(out, "/dev/null\n/dev/null\n");
	assert_int_equal(run("echo \"$SECRET|$LANG\"", &spec, out, sizeof(out)), 0);
	assert_string_equal(out, "|C.UTF-8\n");
	spec.inherit_env = true;
	assert_int_equal(run("echo \"$SECRET\"", &spec, out, sizeof(out)), 0);
	assert_string_equal(out, "x\n");
	unsetenv("SECRET");
	close(leak);
}

/* As the service's manager gives them to it. */
static bool make_ambient(unsigned int cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	data[cap / 32].inheritable |= 1u << cap % 32;
	return syscall(SYS_capset, &head, data) == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) == 0;
}

static void privileges_are_not_for_all(void **state UNUSED)
{
	struct child_spec own = { .path = NULL }, other = { .no_privileges = true };
	const char script[] = "while read -r a b; do [ \"$a\" = CapAmb: ] && echo $b; done </proc/self/status";
	char out[64];

	if (!make_ambient(CAP_CHOWN))
		skip();
	run(script, &own, out, sizeof(out));
	assert_string_equal(out, "0000000000000001\n");
	run(script, &other, out, sizeof(out));
	assert_string_equal(out, "0000000000000000\n");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static void named_descriptors_change_places(void **state UNUSED)
{
	int a[2], b[2];
	char out[64];

	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	assert_int_equal(write(a[1], "A\n", 2), 2);
	assert_int_equal(write(b[1], "B\n", 2), 2);
	close(a[1]);
	close(b[1]);
	{
		/* each wants the other's number, and 0 is named too */
		struct child_fd fds[] = { { a[0], b[0] }, { b[0], a[0] }, { a[0], 0 } };
		struct child_spec spec = { .fds = fds, .fd_count = ARRAY_LEN(fds) };
		char script[128];

		snprintf(script, sizeof(script), "head -n 1 <&%d; head -n 1 <&%d", a[0], b[0]);
		assert_int_equal(run(script, &spec, out, sizeof(out)), 0);
		assert_string_equal(out, "B\nA\n");
	}
	assert_true(fcntl(a[0], F_GETFD) >= 0);
	close(a[0]);
	close(b[0]);
}

static void signals_are_as_new(void **state UNUSED)
{
	struct child_spec spec = { .path = NULL };
	sigset_t block, old;
	char out[256];

	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, &old);
	signal(SIGUSR2, SIG_IGN);
	assert_int_equal(
		run("grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f 2 | tr '\\n' ' '", &spec, out, sizeof(out)), 0);
	assert_string_equal(out, "0000000000000000 0000000000000000 ");
	signal(SIGUSR2, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void what_cannot_start_says_why(void **state UNUSED)
{
	char *argv[] = { "x", NULL };
	struct child_spec spec = { .path = "/nonexistent/program", .argv = argv };
	struct child child = { .pid = 4711, .pidfd = 4712 };
	struct err err;

	assert_int_equal(child_start(&spec, &child, &err), -ENOENT);
	assert_string_equal(err.text, "cannot start '/nonexistent/program': No such file or directory");
	assert_int_equal(child.pid, 4711);
	spec.path = "/etc/passwd";
	assert_int_equal(child_start(&spec, &child, &err), -EACCES);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
	assert_int_equal(errno, ECHILD);
}

static void a_session_dies_whole(void **state UNUSED)
{
	char *argv[] = { "sh", "-c", "sleep 1000 & echo $! && wait", NULL };
	struct child child;
	struct child_fd fd = { .to = 1 };
	struct child_spec spec = { .path = "/bin/sh", .argv = argv, .own_session = true, .fds = &fd, .fd_count = 1 };
	struct pollfd end;
	int pipe_fd[2];
	char text[32] = "";

	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	fd.from = pipe_fd[1];
	assert_int_equal(child_start(&spec, &child, NULL), 0);
	close(pipe_fd[1]);
	assert_true(read(pipe_fd[0], text, sizeof(text) - 1) > 1);
	assert_int_equal(child_reap(&child, false), -EAGAIN);
	child_kill(&child);
	assert_int_equal(child_reap(&child, true), 128 + SIGKILL);
	/* the pipe ends when the grandchild, its last writer, is gone too */
	end = (struct pollfd){ .fd = pipe_fd[0], .events = POLLIN };
	assert_int_equal(poll(&end, 1, 10000), 1);
	assert_true(end.revents & POLLHUP);
	assert_int_equal(read(pipe_fd[0], text, sizeof(text)), 0);
	close(pipe_fd[0]);
	child_kill(&child); /* of nobody: does nothing */
}

/* Its exec's failure is told by its exit code, and nobody was waited for. */
static void one_that_nobody_waits_for(void **state UNUSED)
{
	char *argv[] = { "x", NULL };
	struct child child;
	int code;

	assert_int_equal(child_start(&(struct child_spec){ .path = "/no/such/program", .argv = argv, .no_wait = true },
				     &child, NULL),
			 0);
	code = child_reap(&child, true);
	assert_int_equal(code, 127);
}

static void one_that_is_left_is_reaped(void **state UNUSED)
{
	char *argv[] = { "sh", "-c", "read x", NULL };
	int pipe_fd[2], state_of;
	struct child_fd fds[] = { { -1, 0 } };
	struct child child;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	fds[0].from = pipe_fd[0];
	assert_int_equal(child_start(&(struct child_spec){ .path = "/bin/sh", .argv = argv, .fds = fds, .fd_count = 1 },
				     &child, NULL),
			 0);
	pid = child.pid;
	child_leave(&child);
	assert_int_equal(child.pid, 0);
	child_sweep();
	assert_int_equal(kill(pid, 0), 0); /* it has not ended */
	close(pipe_fd[1]);
	close(pipe_fd[0]);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	child_sweep();
	assert_int_equal(waitpid(pid, &state_of, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(nothing_is_inherited),
		cmocka_unit_test(privileges_are_not_for_all),
		cmocka_unit_test(named_descriptors_change_places),
		cmocka_unit_test(signals_are_as_new),
		cmocka_unit_test(what_cannot_start_says_why),
		cmocka_unit_test(a_session_dies_whole),
		cmocka_unit_test(one_that_nobody_waits_for),
		cmocka_unit_test(one_that_is_left_is_reaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
