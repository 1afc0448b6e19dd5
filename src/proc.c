// SPDX-License-Identifier: MIT
/* /proc parsed once, for all rooms. Trap: maps can change between two reads, so
 * nothing here promises that two calls agree; freeze first where that matters. */
#include "proc.h"

#include "buf.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

int proc_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	CLEAN(fd) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct buf buf;
	char chunk[16384];
	ssize_t n;

	if (fd < 0)
		return -errno;
	buf_init(&buf, max);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = -errno;

			buf_done(&buf);
			return code;
		}
		buf_add(&buf, chunk, (size_t)n);
	}
	if (buf.full) {
		buf_done(&buf);
		return -EFBIG;
	}
	if (ret_len)
		*ret_len = buf.len;
	*ret_text = buf_take(&buf);
	return *ret_text ? 0 : -ENOMEM;
}

int proc_start(const struct proc *proc, struct proc_stat *ret_stat)
{
	char path[32];

	/* not 'stat': dir_fd may be another thread's */
	snprintf(path, sizeof(path), "task/%d/stat", proc->pid);
	return proc_stat_read(proc->dir_fd, path, ret_stat);
}

int proc_dir_open(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A main thread that has ended has no memory any more; another thread's folder shows the
 * same process with it. */
static void look_through_another(struct proc *proc)
{
	CLEAN(free) pid_t *tids = NULL;
	struct proc_stat stat;
	size_t count = 0;

	if (proc_threads(proc->dir_fd, &tids, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct proc other = *proc;

		other.dir_fd = proc_dir_open(tids[i]);
		if (other.dir_fd < 0)
			continue;
		if (proc_stat_read(other.dir_fd, "stat", &stat) == 0 && !strchr("ZX", stat.state) &&
		    proc_start(&other, &stat) == 0 && stat.start_ticks == proc->start_ticks) {
			close(proc->dir_fd);
			*proc = other;
			return;
		}
		close(other.dir_fd);
	}
}

/* It has an id, but leads no process. */
static int say_thread(pid_t tid, struct err *err)
{
	struct proc_status status;
	char path[32], name[64];

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (proc_status_read(AT_FDCWD, path, &status) < 0)
		return err_say(err, -ESRCH, "no process has the id %d", tid);
	proc_name(status.tgid, name, sizeof(name));
	return err_say(err, -ESRCH, "%d is a thread of process %d '%s': give that id", tid, status.tgid, name);
}

int proc_open(struct proc *ret_proc, pid_t pid, struct err *err)
{
	struct proc proc = { .pid = pid, .pidfd = -1, .dir_fd = -1 };
	struct proc_stat stat;
	int r;

	if (pid <= 0)
		return err_say(err, -EINVAL, "'%d' is not a process id", pid);
	proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (proc.pidfd < 0) {
		int code = -errno;

		return code == -EINVAL || code == -ENOENT ? say_thread(pid, err)
		       : code == -ESRCH			  ? err_say(err, code, "no process has the id %d", pid)
							  : err_sys(err, code, "cannot open process %d", pid);
	}
	fcntl(proc.pidfd, F_SETFD, FD_CLOEXEC);
	proc.dir_fd = proc_dir_open(pid);
	r = proc.dir_fd < 0 ? -errno : proc_start(&proc, &stat);
	if (r < 0 || !proc_alive(&proc)) {
		proc_close(&proc);
		return r == 0 || r == -ENOENT || r == -ESRCH ? err_say(err, -ESRCH, "process %d has ended", pid)
							     : err_sys(err, r, "cannot open process %d", pid);
	}
	proc.start_ticks = stat.start_ticks;
	if (stat.state == 'Z')
		look_through_another(&proc);
	*ret_proc = proc;
	return 0;
}

void proc_close(struct proc *proc)
{
	if (proc->pidfd >= 0)
		close(proc->pidfd);
	if (proc->dir_fd >= 0)
		close(proc->dir_fd);
	proc->pidfd = proc->dir_fd = -1;
}

/* Opened anew each time: an open 'mem' is that of the program that ran then. */
static bool program_random(int dir_fd, uint64_t addr, uint8_t random[16])
{
	CLEAN(fd) int fd = openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && pread(fd, random, 16, (off_t)addr) == 16;
}

void proc_program_read(int dir_fd, struct proc_program *ret_program)
{
	CLEAN(free) char *auxv = NULL;
	size_t len = 0;
	uint64_t pair[2];

	*ret_program = (struct proc_program){ 0 };
	if (proc_file(dir_fd, "auxv", 65536, &auxv, &len) < 0)
		return;
	for (size_t at = 0; at + sizeof(pair) <= len; at += sizeof(pair)) {
		memcpy(pair, auxv + at, sizeof(pair));
		if (pair[0] == AT_RANDOM && program_random(dir_fd, pair[1], ret_program->random))
			ret_program->addr = pair[1];
	}
}

bool proc_program_same(int dir_fd, const struct proc_program *program)
{
	uint8_t random[sizeof(program->random)];

	return !program->addr ||
	       (program_random(dir_fd, program->addr, random) && !memcmp(random, program->random, sizeof(random)));
}

bool proc_alive(const struct proc *proc)
{
	struct pollfd pfd = { .fd = proc->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

int proc_spool(int dir_fd, const char *path, struct spool *spool)
{
	CLEAN(fd) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char piece[16384];
	ssize_t n;
	int r = fd < 0 ? -errno : 0;

	while (r == 0 && (n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : spool_put(spool, piece, (size_t)n, NULL);
	}
	return r;
}

static const char *status_field(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		if (!strncmp(p, key, n) && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, "\t ");
	}
	return "";
}

int proc_status_read(int dir_fd, const char *path, struct proc_status *ret_status)
{
	CLEAN(free) char *text = NULL;
	struct proc_status st = { 0 };
	unsigned int uid = 0, euid = 0;
	const char *p;
	int r = proc_file(dir_fd, path, 65536, &text, NULL);

	if (r < 0)
		return r;
	p = status_field(text, "Name");
	snprintf(st.comm, sizeof(st.comm), "%.*s", (int)strcspn(p, "\n"), p);
	st.state = *status_field(text, "State");
	st.tgid = atoi(status_field(text, "Tgid"));
	st.ppid = atoi(status_field(text, "PPid"));
	st.tracer = atoi(status_field(text, "TracerPid"));
	if (sscanf(status_field(text, "Uid"), "%u %u", &uid, &euid) == 2) {
		st.uid = uid;
		st.euid = euid;
	}
	sscanf(status_field(text, "Gid"), "%u %u", &st.gid, &st.egid);
	st.seccomp = atoi(status_field(text, "Seccomp"));
	st.threads = (unsigned int)atoi(status_field(text, "Threads"));
	st.rss_anon_bytes = strtoull(status_field(text, "RssAnon"), NULL, 10) * 1024;
	st.rss_file_bytes = strtoull(status_field(text, "RssFile"), NULL, 10) * 1024;
	st.rss_shmem_bytes = strtoull(status_field(text, "RssShmem"), NULL, 10) * 1024;
	st.swap_bytes = strtoull(status_field(text, "VmSwap"), NULL, 10) * 1024;
	st.pte_bytes = strtoull(status_field(text, "VmPTE"), NULL, 10) * 1024;
	st.sig_pending = strtoull(status_field(text, "SigPnd"), NULL, 16);
	st.shd_pending = strtoull(status_field(text, "ShdPnd"), NULL, 16);
	st.sig_blocked = strtoull(status_field(text, "SigBlk"), NULL, 16);
	st.sig_ignored = strtoull(status_field(text, "SigIgn"), NULL, 16);
	st.sig_caught = strtoull(status_field(text, "SigCgt"), NULL, 16);
	p = status_field(text, "NSpid");
	for (size_t n = strcspn(p, "\n"), i = 0, level = 0; i < n; i += strspn(p + i, "\t ")) {
		st.ns_tid = atoi(p + i);
		if (level < ARRAY_LEN(st.ns_tids) - 1)
			st.ns_tids[level++] = st.ns_tid;
		i += strcspn(p + i, "\t \n");
	}
	*ret_status = st;
	return 0;
}

int proc_stat_read(int dir_fd, const char *path, struct proc_stat *ret_stat)
{
	CLEAN(free) char *text = NULL;
	struct proc_stat st = { 0 };
	unsigned long long minflt, majflt, utime, stime, start;
	int r = proc_file(dir_fd, path, 4096, &text, NULL);
	const char *p;

	if (r < 0)
		return r;
	p = strrchr(text, ')'); /* comm may hold anything, ')' too */
	if (!p || sscanf(p + 1,
			 " %c %d %*d %*d %*d %*d %u %llu %*u %llu %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu"
			 " %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %d",
			 &st.state, &st.ppid, &st.flags, &minflt, &majflt, &utime, &stime, &start, &st.processor) < 8)
		return -EINVAL;
	st.minflt = minflt;
	st.majflt = majflt;
	st.utime_ticks = utime;
	st.stime_ticks = stime;
	st.start_ticks = start;
	*ret_stat = st;
	return 0;
}

int proc_syscall_read(int dir_fd, const char *path, struct proc_syscall *ret_syscall)
{
	CLEAN(free) char *text = NULL;
	struct proc_syscall sc = { .nr = -2 };
	unsigned long long a[6], sp, pc;
	int r = proc_file(dir_fd, path, 4096, &text, NULL);

	if (r < 0)
		return r;
	if (sscanf(text, "%ld", &sc.nr) != 1) {
		*ret_syscall = sc; /* 'running' */
		return 0;
	}
	if (sc.nr == -1) {
		if (sscanf(text, "%*d %llx %llx", &sp, &pc) != 2)
			return -EINVAL;
	} else {
		if (sscanf(text, "%*d %llx %llx %llx %llx %llx %llx %llx %llx", &a[0], &a[1], &a[2], &a[3], &a[4],
			   &a[5], &sp, &pc) != 8)
			return -EINVAL;
		for (size_t i = 0; i < 6; i++)
			sc.arg[i] = a[i];
	}
	sc.sp = sp;
	sc.pc = pc;
	*ret_syscall = sc;
	return 0;
}

uint64_t proc_peak_bytes(void)
{
	CLEAN(free) char *text = NULL;

	if (proc_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) < 0)
		return 0;
	return strtoull(status_field(text, "VmHWM"), NULL, 10) * 1024;
}

static int by_value(const void *a, const void *b)
{
	return *(const pid_t *)a < *(const pid_t *)b ? -1 : *(const pid_t *)a > *(const pid_t *)b;
}

int proc_threads(int dir_fd, pid_t **ret_tids, size_t *ret_count)
{
	int fd = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	size_t count = 0, cap = 0;
	pid_t *tids = NULL;
	struct dirent *e;

	if (!dir) {
		int code = -errno;

		if (fd >= 0)
			close(fd);
		return code;
	}
	while ((e = readdir(dir))) {
		pid_t tid = atoi(e->d_name);

		if (tid <= 0)
			continue;
		if (count == cap) {
			size_t bigger = cap ? cap * 2 : 64;
			pid_t *more = realloc(tids, bigger * sizeof(*tids));

			if (!more) {
				free(tids);
				return -ENOMEM;
			}
			tids = more;
			cap = bigger;
		}
		tids[count++] = tid;
	}
	if (count == 0) {
		free(tids);
		return -ESRCH;
	}
	qsort(tids, count, sizeof(*tids), by_value);
	*ret_tids = tids;
	*ret_count = count;
	return 0;
}

void proc_name(pid_t pid, char *buf, size_t size)
{
	CLEAN(free) char *text = NULL;
	struct buf out;
	char path[32];
	size_t len;

	snprintf(buf, size, "?");
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (proc_file(AT_FDCWD, path, 256, &text, &len) < 0)
		return;
	if (len && text[len - 1] == '\n')
		len--;
	buf_init(&out, 1024);
	buf_add_escaped(&out, text, len);
	if (out.len)
		snprintf(buf, size, "%s", out.data);
	buf_done(&out);
}

int proc_each(int (*fn)(pid_t pid, void *arg), void *arg)
{
	CLEAN(dir) DIR *dir = opendir("/proc");
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		pid_t pid = atoi(e->d_name);
		int r = pid > 0 ? fn(pid, arg) : 0;

		if (r)
			return r;
	}
	return 0;
}
