// SPDX-License-Identifier: MIT
/* Rejected: to guess which of several processes is meant. Traps: a zombie has a name,
 * too; root in a container may lack the one capability that counts. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>

#define PIDS_NAMED 12 /* of several processes with one name, in the error */

/* ---- by a word ---- */

static bool is_pid(const char *word)
{
	return word[0] && strspn(word, "0123456789") == strlen(word);
}

static int only_pid(const char *word, struct targets *targets, struct err *err)
{
	long pid;

	errno = 0;
	pid = strtol(word, NULL, 10);
	if (errno || pid > INT_MAX || pid <= 0)
		return err_say(err, -EINVAL, "'%s' is not a process id", word);
	targets->pid = malloc(sizeof(pid_t));
	if (!targets->pid)
		return err_sys(err, -ENOMEM, "cannot open process %ld", pid);
	targets->pid[targets->count++] = (pid_t)pid;
	return 0;
}

int subject_find(const char *word, bool any_case, struct targets *ret_targets, bool *ret_loosely, struct err *err)
{
	struct targets targets = { 0 };
	size_t left = 0;
	int r;

	*ret_loosely = false;
	if (is_pid(word)) {
		r = only_pid(word, &targets, err);
		*ret_targets = targets;
		return r;
	}
	r = target_find(&targets, word, err);
	if (r == -ESRCH && any_case && target_find_any_case(&targets, word, NULL) == 0) {
		*ret_loosely = true;
		r = 0;
	}
	for (size_t i = 0; r == 0 && i < targets.count; i++) {
		struct proc proc;

		if (targets.pid[i] == getpid() || proc_open(&proc, targets.pid[i], NULL) < 0)
			continue;
		proc_close(&proc);
		targets.pid[left++] = targets.pid[i];
	}
	if (r == 0 && left == 0)
		r = err_say(err, -ESRCH, "every process that '%s' names has ended", word);
	targets.count = left;
	if (r < 0)
		targets_done(&targets);
	*ret_targets = targets;
	return r;
}

int subject_only(const char *word, const struct targets *targets, struct err *err)
{
	char list[256] = "";
	size_t len = 0;

	if (targets->count == 1)
		return 0;
	for (size_t i = 0; i < MIN(targets->count, (size_t)PIDS_NAMED); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%d", i ? ", " : "", targets->pid[i]);
	return err_say(err, -EINVAL, "'%s' names %zu processes (%s%s): give the id of one of them, or --all", word,
		       targets->count, list, targets->count > PIDS_NAMED ? " ..." : "");
}

/* ---- may it be dumped ---- */

static bool is_kernel_thread(int dir_fd)
{
	struct proc_stat stat;

	return proc_stat_read(dir_fd, "stat", &stat) == 0 && stat.flags & PROC_STAT_KERNEL;
}

static bool is_zombie(pid_t pid)
{
	struct proc_stat stat;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return proc_stat_read(AT_FDCWD, path, &stat) == 0 && stat.state == 'Z';
}

static bool may_trace(void)
{
	CLEAN(free) char *text = NULL;
	const char *caps =
		proc_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) == 0 ? strstr(text, "\nCapEff:") : NULL;

	return caps && strtoull(caps + 8, NULL, 16) >> CAP_SYS_PTRACE & 1;
}

/* The same question the kernel asks at PTRACE_SEIZE, without stopping anything. */
static int check_rights(const struct proc *proc, const char *process, struct err *err)
{
	CLEAN(fd) int fd = openat(proc->dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	struct proc_status status;
	char path[PATH_MAX], user[64] = "another user";
	ssize_t n;

	if (fd >= 0)
		return 0;
	if (errno != EACCES && errno != EPERM)
		return err_sys(err, -errno, "cannot read process %d '%s'", proc->pid, process);
	if (proc_status_read(proc->dir_fd, "status", &status) == 0) {
		const struct passwd *pw = getpwuid(status.euid);

		snprintf(user, sizeof(user), status.euid == geteuid() ? "yours, but protected" : "user '%.50s'",
			 pw ? pw->pw_name : "?");
	}
	if (may_trace())
		return err_say(err, -EPERM,
			       "process %d '%s' cannot be dumped: CAP_SYS_PTRACE is there, but a security module "
			       "(AppArmor, SELinux, Yama, Landlock) or another user name space forbids it",
			       proc->pid, process);
	if (geteuid() == 0)
		return err_say(err, -EPERM,
			       "process %d '%s' needs CAP_SYS_PTRACE, which root lacks here: start the container "
			       "with '--cap-add SYS_PTRACE' (Kubernetes: capabilities: add: [SYS_PTRACE])",
			       proc->pid, process);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[MAX(n, 0)] = '\0';
	return err_say(err, -EPERM,
		       "process %d '%s' (%s) needs CAP_SYS_PTRACE: run as root, or once 'setcap cap_sys_ptrace+ep %s'",
		       proc->pid, process, user, path);
}

int subject_open(pid_t pid, struct subject *ret_subject, struct err *err)
{
	struct subject subject;
	int r;

	if (pid == getpid())
		return err_say(err, -EINVAL, "%d is this reqtrap itself: it cannot stop itself to take a dump", pid);
	r = proc_open(&subject.proc, pid, err);
	if (r == -ESRCH && is_zombie(pid))
		err_say(err, r, "process %d is a zombie: it has ended, and its parent has not collected it", pid);
	if (r < 0)
		return r;
	proc_name(pid, subject.process, sizeof(subject.process));
	if (is_kernel_thread(subject.proc.dir_fd))
		r = err_say(err, -EINVAL, "%d '%s' is a thread of the kernel: it has no memory of its own to dump", pid,
			    subject.process);
	else
		r = check_rights(&subject.proc, subject.process, err);
	if (r < 0)
		proc_close(&subject.proc);
	else
		*ret_subject = subject;
	return r;
}

void subject_close(struct subject *subject)
{
	proc_close(&subject->proc);
}
