// SPDX-License-Identifier: MIT
/* fork + exec with nothing inherited that was not named. Rejected: posix_spawn
 * (cannot close by range and report errno at once on this libc). Trap: between
 * fork and exec only async-signal-safe calls. */
#include "child.h"

#include "ktime.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FD_MAX 16 /* fds a child can be given */

static char *const clean_env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
				   NULL };

static int place_fds(const struct child_spec *spec, int *error_fd)
{
	int staged[FD_MAX], null_fd;
	bool named[3] = { false, false, false };
	int keep_below = 3, stage = 3, fd;

	if (spec->fd_count > FD_MAX)
		return -E2BIG;
	for (size_t i = 0; i < spec->fd_count; i++)
		stage = MAX(stage, spec->fds[i].to + 1);
	fd = fcntl(*error_fd, F_DUPFD_CLOEXEC, stage); /* what is named is first moved above all targets */
	if (fd < 0)
		return -errno; /* told by the one that was given */
	*error_fd = fd;
	for (size_t i = 0; i < spec->fd_count; i++) {
		staged[i] = fcntl(spec->fds[i].from, F_DUPFD, stage);
		if (staged[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < spec->fd_count; i++) {
		int to = spec->fds[i].to;

		if (dup2(staged[i], to) < 0)
			return -errno;
		if (to < 3)
			named[to] = true;
		if (to >= keep_below)
			keep_below = to + 1;
	}
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (fd = 0; fd < 3 && !spec->keep_stdio; fd++) {
		if (!named[fd] && null_fd >= 0)
			dup2(null_fd, fd);
	}
	for (fd = 3; fd < keep_below; fd++) {
		bool keep = false;

		for (size_t i = 0; i < spec->fd_count; i++)
			keep |= spec->fds[i].to == fd;
		if (!keep)
			close(fd);
	}
	if (keep_below < *error_fd)
		syscall(SYS_close_range, keep_below, *error_fd - 1, 0);
	syscall(SYS_close_range, *error_fd + 1, ~0u, 0);
	return 0;
}

/* The C library's would tell threads that fork has not taken along. */
static int become(const struct child_user *user)
{
	if (syscall(SYS_setgroups, user->group_count, user->groups) < 0 ||
	    syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
	    syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0)
		return -errno;
	return 0;
}

static void child_side(const struct child_spec *spec, int error_fd, int go_fd) __attribute__((noreturn));
static void child_side(const struct child_spec *spec, int error_fd, int go_fd)
{
	struct rlimit run;
	sigset_t none;
	int code;

	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getrlimit(RLIMIT_RTTIME, &run) == 0 && run.rlim_cur != run.rlim_max) { /* loop_urgent's own */
		run.rlim_cur = run.rlim_max;
		setrlimit(RLIMIT_RTTIME, &run);
	}
	if (spec->own_session)
		setsid();
	if (spec->no_privileges)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (go_fd >= 0 && read(go_fd, &code, 1) != 1)
		_exit(126);
	code = place_fds(spec, &error_fd);
	if (code == 0 && spec->user)
		code = become(spec->user);
	if (spec->dies_with_us)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (code == 0) {
		char *const *envp = spec->inherit_env ? environ : spec->envp ? spec->envp : clean_env;

		execve(spec->path ? spec->path : "/proc/self/exe", spec->argv, envp);
		code = -errno;
	}
	if (!spec->no_wait && write(error_fd, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

static int own_child(pid_t pid, const char *name, struct child *ret_child, struct err *err)
{
	int code;

	*ret_child = (struct child){ .pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0) };
	if (ret_child->pidfd < 0) {
		code = -errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_sys(err, code, "cannot watch '%s'", name);
	}
	fcntl(ret_child->pidfd, F_SETFD, FD_CLOEXEC);
	return 0;
}

int child_start(const struct child_spec *spec, struct child *ret_child, struct err *err)
{
	const char *name = spec->path ? spec->path : "reqtrap";
	int pipe_fd[2], go_fd[2] = { -1, -1 }, code = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot start '%s'", name);
	if (spec->hold && pipe2(go_fd, O_CLOEXEC) < 0) {
		code = -errno;
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		return err_sys(err, code, "cannot start '%s'", name);
	}
	pid = fork();
	if (pid == 0) {
		if (go_fd[1] >= 0)
			close(go_fd[1]);
		child_side(spec, pipe_fd[1], go_fd[0]);
	}
	if (pid < 0)
		code = -errno;
	close(pipe_fd[1]);
	if (go_fd[0] >= 0)
		close(go_fd[0]);
	if (pid > 0 && spec->hold) {
		*spec->hold = (struct child_hold){ go_fd[1], pipe_fd[0] };
		return own_child(pid, name, ret_child, err);
	}
	if (go_fd[1] >= 0)
		close(go_fd[1]);
	if (pid > 0 && !spec->no_wait) {
		do
			n = read(pipe_fd[0], &code, sizeof(code));
		while (n < 0 && errno == EINTR);
		if (n != (ssize_t)sizeof(code))
			code = 0;
	}
	close(pipe_fd[0]);
	if (pid > 0 && code < 0)
		waitpid(pid, NULL, 0);
	if (code < 0)
		return err_sys(err, code, "cannot start '%s'", name);
	return own_child(pid, name, ret_child, err);
}

int child_release(struct child_hold *hold, bool go, struct err *err)
{
	int code = 0;
	ssize_t n;

	if (hold->go_fd < 0)
		return 0;
	if (go && write(hold->go_fd, "", 1) != 1)
		code = -errno;
	close(hold->go_fd);
	do
		n = go ? read(hold->error_fd, &code, sizeof(code)) : 0;
	while (n < 0 && errno == EINTR);
	close(hold->error_fd);
	*hold = (struct child_hold){ -1, -1 };
	return code < 0 ? err_sys(err, code, "cannot start it") : 0;
}

int child_reap(struct child *child, bool block)
{
	int status;
	pid_t r;

	do
		r = waitpid(child->pid, &status, block ? 0 : WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return -EAGAIN;
	if (r < 0)
		return -errno;
	if (child->pidfd >= 0)
		close(child->pidfd);
	*child = (struct child){ .pid = 0, .pidfd = -1 };
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int child_reap_until(struct child *child, uint64_t until_ns)
{
	struct pollfd pfd = { .fd = child->pidfd, .events = POLLIN };
	uint64_t now;
	int code;

	while ((now = now_ns()) < until_ns) {
		if (poll(&pfd, 1, (int)MIN((until_ns - now) / NSEC_PER_MSEC + 1, 1000000u)) == 1)
			return child_reap(child, true);
	}
	code = child_reap(child, false);
	return code == -EAGAIN ? -ETIMEDOUT : code;
}

#define LEAVING_MOST 64
#define LEAVING_NS (5 * NSEC_PER_SEC)

static struct {
	struct child child;
	uint64_t since_ns;
} leaving[LEAVING_MOST];
static size_t leaving_count;

void child_sweep(void)
{
	for (size_t i = leaving_count; i-- > 0;) {
		if (now_ns() - leaving[i].since_ns > LEAVING_NS)
			child_kill(&leaving[i].child);
		if (child_reap(&leaving[i].child, false) == -EAGAIN)
			continue;
		leaving[i] = leaving[--leaving_count];
	}
}

void child_leave(struct child *child)
{
	child_sweep();
	if (leaving_count < LEAVING_MOST) {
		leaving[leaving_count].child = *child;
		leaving[leaving_count++].since_ns = now_ns();
		*child = (struct child){ .pid = 0, .pidfd = -1 };
		return;
	}
	child_kill(child);
	child_reap(child, true);
}

int child_find(const char *word, char *ret_path, size_t size)
{
	const char *dirs = getenv("PATH");

	if (!word[0])
		return -ENOENT;
	if (strchr(word, '/'))
		return snprintf(ret_path, size, "%s", word) < (int)size ? 0 : -ENAMETOOLONG;
	for (const char *p = dirs ? dirs : "/usr/bin:/bin"; *p;) {
		int n = (int)strcspn(p, ":");

		if (n > 0 && snprintf(ret_path, size, "%.*s/%s", n, p, word) < (int)size && access(ret_path, X_OK) == 0)
			return 0;
		p += n + (p[n] == ':');
	}
	return -ENOENT;
}

void child_kill(struct child *child)
{
	if (child->pid <= 0)
		return;
	/* Only if the child leads a session: else its group may be ours. */
	if (getsid(child->pid) == child->pid)
		kill(-child->pid, SIGKILL);
	kill(child->pid, SIGKILL);
}
