// SPDX-License-Identifier: MIT
/* Whoever loses its parent below us becomes our child, so that "no child is left" means
 * that nothing is left. Rejected: looking for the session (a daemon makes one of its own),
 * a cgroup (who runs 'watch' by hand may make none), and the main process as that parent
 * (of two commands at once nobody could say whose the orphan is). Trap: only children that
 * were not reaped yet are signalled: their numbers cannot pass to others. */
#include "warden.h"

#include "child.h"
#include "ktime.h"
#include "proc.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define GROUPS_MAX 1024
#define PAUSE_MAX_MS 20

struct ward {
	struct child command;
	pid_t pid; /* also when it was reaped */
	uint64_t limit_ns, grace_ns;
	struct warden_word word;
};

/* ---- who it is to be ---- */

static int find_user(const char *name, gid_t *groups, struct child_user *ret_user, struct err *err)
{
	const struct passwd *user;
	int count = GROUPS_MAX;

	errno = 0;
	user = getpwnam(name);
	if (!user)
		return err_say(err, -ENOENT, "there is no user '%s'%s%s", name, errno ? ": " : "",
			       errno ? strerror(errno) : "");
	/* a rules file that the service may write must not make it root */
	if (user->pw_uid == 0 && geteuid() != 0)
		return err_say(err, -EPERM, "it is not run as '%s': the service is not root itself", name);
	if (getgrouplist(name, user->pw_gid, groups, &count) < 0)
		return err_say(err, -E2BIG, "user '%s' has more than %d groups", name, GROUPS_MAX);
	*ret_user = (struct child_user){
		.uid = user->pw_uid, .gid = user->pw_gid, .groups = groups, .group_count = (size_t)count
	};
	return 0;
}

static int start(struct ward *ward, const char *name, char *const *argv, struct err *err)
{
	const struct child_fd fds[] = { { WARDEN_OUTPUT_FD, 1 }, { WARDEN_OUTPUT_FD, 2 } };
	struct child_spec spec = { .path = argv[0],
				   .argv = argv,
				   .fds = fds,
				   .fd_count = ARRAY_LEN(fds),
				   .no_privileges = true,
				   .dies_with_us = true,
				   .own_session = true };
	static gid_t groups[GROUPS_MAX];
	struct child_user user;
	int r = *name ? find_user(name, groups, &user, err) : 0;

	if (r < 0)
		return r;
	spec.user = *name && user.uid != geteuid() ? &user : NULL;
	r = child_start(&spec, &ward->command, err);
	ward->pid = ward->command.pid;
	return r;
}

/* ---- until it ends ---- */

static int until_ms(uint64_t at)
{
	uint64_t now = now_ns();

	if (!at)
		return -1;
	return at > now ? (int)MIN((at - now) / NSEC_PER_MSEC + 1, 1000000u) : 0;
}

/* Returns when the command has ended, or is to be ended now. */
static void watch_over(struct ward *ward)
{
	uint64_t at = ward->limit_ns ? now_ns() + ward->limit_ns : 0;

	for (;;) {
		struct pollfd fds[] = { { .fd = ward->command.pidfd, .events = POLLIN },
					{ .fd = WARDEN_CONTROL_FD, .events = POLLIN } };
		int n = poll(fds, ARRAY_LEN(fds), until_ms(at));

		if (n > 0 || (n < 0 && errno != EINTR))
			return;
		if (!at || now_ns() < at)
			continue;
		if (ward->word.timed_out)
			return;
		ward->word.timed_out = true;
		kill(-ward->pid, SIGTERM);
		at = now_ns() + ward->grace_ns;
	}
}

/* ---- the end of all of it ---- */

/* True: somebody is still there. */
static bool reap(struct ward *ward)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
		if (pid == ward->pid)
			ward->word.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	return pid == 0;
}

static int kill_child(pid_t pid, void *arg)
{
	uint32_t *count = arg;
	struct proc_stat stat;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (proc_stat_read(AT_FDCWD, path, &stat) < 0 || stat.ppid != getpid() || stat.state == 'Z')
		return 0;
	kill(pid, SIGKILL);
	++*count;
	return 0;
}

/* Children of what is killed come to us: layer by layer. */
static void end_all(struct ward *ward)
{
	uint64_t until = now_ns() + WARDEN_END_NS;

	for (int pause_ms = 1; reap(ward); pause_ms = MIN(2 * pause_ms, PAUSE_MAX_MS)) {
		ward->word.left = 0;
		proc_each(kill_child, &ward->word.left);
		if (now_ns() >= until)
			return;
		poll(NULL, 0, pause_ms);
	}
	ward->word.left = 0;
}

int warden_main(int argc, char **argv)
{
	struct ward ward = { .word.exit_code = 255 };
	struct err err = { "" };

	if (argc < 5)
		return 3;
	ward.limit_ns = strtoull(argv[1], NULL, 10);
	ward.grace_ns = strtoull(argv[2], NULL, 10);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (start(&ward, argv[3], argv + 4, &err) < 0) {
		snprintf(ward.word.failed, sizeof(ward.word.failed), "%s", err.text);
	} else {
		watch_over(&ward);
		end_all(&ward);
	}
	return send(WARDEN_CONTROL_FD, &ward.word, sizeof(ward.word), MSG_NOSIGNAL) < 0 ? 3 : 0;
}
