// SPDX-License-Identifier: MIT
/* The entry's name holds our id and start time; the lock goes with our end, whatever
 * ends us. Rejected: a pid file (the number may be another's by now), a socket (a series
 * that is busy would have to answer). Trap: between a look at the entry and the signal
 * its process may end: the signal goes by a pidfd that was opened before the last look. */
#include "roster.h"

#include "folder.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FOLDER "series"
#define LIST_MAX (4u << 20)

static uint64_t our_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

int roster_open(const char *runtime_dir, struct roster *ret_roster)
{
	struct roster roster = { .fd = -1 };
	CLEAN(fd) int dir_fd = folder_runtime(runtime_dir, FOLDER, true);
	struct proc_stat stat;
	int r = dir_fd < 0 ? dir_fd : proc_stat_read(AT_FDCWD, "/proc/self/stat", &stat);

	*ret_roster = (struct roster){ .dir_fd = -1, .fd = -1 };
	if (r < 0)
		return r;
	snprintf(roster.name, sizeof(roster.name), "%d.%llu-%llu", getpid(), (unsigned long long)stat.start_ticks,
		 (unsigned long long)our_namespace());
	roster.fd = openat(dir_fd, roster.name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (roster.fd < 0)
		return -errno;
	roster.dir_fd = take_fd(&dir_fd);
	if (flock(roster.fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		roster_close(&roster);
		return r;
	}
	*ret_roster = roster;
	return 0;
}

/* A line in one write: a reader sees all of it or, for a moment, no line end. */
int roster_add(struct roster *roster, const struct proc *proc)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%d %llu\n", proc->pid, (unsigned long long)proc->start_ticks);

	if (roster->fd < 0)
		return 0;
	return write(roster->fd, line, (size_t)n) == n ? 0 : -EIO;
}

void roster_close(struct roster *roster)
{
	if (roster->dir_fd >= 0) {
		unlinkat(roster->dir_fd, roster->name, 0);
		close(roster->dir_fd);
	}
	if (roster->fd >= 0)
		close(roster->fd);
	*roster = (struct roster){ .dir_fd = -1, .fd = -1 };
}

static bool lists(int dir_fd, const char *name, const struct proc *proc)
{
	CLEAN(free) char *text = NULL;
	char line[64];
	size_t len;

	if (proc_file(dir_fd, name, LIST_MAX, &text, NULL) < 0)
		return false;
	len = (size_t)snprintf(line, sizeof(line), "%d %llu\n", proc->pid, (unsigned long long)proc->start_ticks);
	for (const char *at = text; (at = strstr(at, line)); at++) {
		if (at == text || at[-1] == '\n')
			return len > 0;
	}
	return false;
}

/* Locked: its series runs. */
static bool is_locked(int dir_fd, const char *name)
{
	CLEAN(fd) int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* True: it was asked. */
static bool ask_to_end(int dir_fd, const char *name, const struct proc *proc)
{
	unsigned long long start, space;
	struct proc series = { .pidfd = -1, .dir_fd = -1 };
	bool asked = false;
	char again[64];
	int pid;

	if (sscanf(name, "%d.%llu-%llu", &pid, &start, &space) != 3 || space != our_namespace())
		return false;
	snprintf(again, sizeof(again), "%d.%llu-%llu", pid, start, space);
	if (strcmp(again, name) != 0)
		return false;
	if (proc_open(&series, pid, NULL) < 0 || series.start_ticks != start)
		unlinkat(dir_fd, name, 0); /* it was killed */
	else if (lists(dir_fd, name, proc) && is_locked(dir_fd, name))
		asked = syscall(SYS_pidfd_send_signal, series.pidfd, SIGTERM, NULL, 0) == 0;
	proc_close(&series);
	return asked;
}

int roster_cancel(const char *runtime_dir, const struct proc *proc, unsigned int *ret_asked, struct err *err)
{
	int fd = folder_runtime(runtime_dir, FOLDER, false);
	CLEAN(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	*ret_asked = 0;
	if (fd == -ENOENT)
		return 0;
	if (!dir)
		return err_sys(err, fd < 0 ? fd : -errno, "cannot look for series of dumps");
	while ((entry = readdir(dir)))
		*ret_asked += ask_to_end(dirfd(dir), entry->d_name, proc);
	return 0;
}
