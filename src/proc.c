// SPDX-License-Identifier: MIT
/* /proc parsed once, for all rooms. Trap: maps can change between two reads, so
 * nothing here promises that two calls agree; freeze first where that matters. */
#include "proc.h"

#include "buf.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#define PROC_FILE_MAX (256u << 20) /* smaps of 100,000 mappings is about 80 MB */

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

int proc_open(struct proc *ret_proc, pid_t pid, struct err *err)
{
	struct proc proc = { .pid = pid, .pidfd = -1, .dir_fd = -1 };
	struct proc_stat stat;
	char path[32];

	if (pid <= 0)
		return err_say(err, -EINVAL, "'%d' is not a process id", pid);
	proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (proc.pidfd < 0) {
		int code = -errno;

		if (code == -EINVAL || code == -ENOENT) /* a thread that leads no process */
			return err_say(err, -ESRCH, "%d is a thread, not a process", pid);
		if (code == -ESRCH)
			return err_say(err, code, "no process has the id %d", pid);
		return err_sys(err, code, "cannot open process %d", pid);
	}
	fcntl(proc.pidfd, F_SETFD, FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc.dir_fd < 0 || proc_stat_read(proc.dir_fd, "stat", &stat) < 0 || !proc_alive(&proc)) {
		proc_close(&proc);
		return err_say(err, -ESRCH, "process %d has ended", pid);
	}
	proc.start_ticks = stat.start_ticks;
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

bool proc_alive(const struct proc *proc)
{
	struct pollfd pfd = { .fd = proc->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

static void parse_vmflags(struct proc_map *map, const char *line, size_t len)
{
	for (const char *p = line + 8, *end = line + len; end - p >= 2; p++) {
		if (p[-1] != ' ' && p[-1] != ':')
			continue;
		if (!strncmp(p, "dd", 2))
			map->dontdump = true;
		else if (!strncmp(p, "dc", 2))
			map->dontfork = true;
		else if (!strncmp(p, "wf", 2))
			map->wipeonfork = true;
		else if (!strncmp(p, "ht", 2))
			map->huge = true;
		else if (!strncmp(p, "io", 2) || !strncmp(p, "pf", 2))
			map->device = true;
	}
}

static int parse_map_line(const char *line, size_t len, struct proc_map *ret)
{
	unsigned long long start, end, offset, inode;
	unsigned int major, minor;
	char perms[5] = "", head[128]; /* of the line: all but the name, and no byte past it */
	int name_at = 0;

	snprintf(head, sizeof(head), "%.*s", (int)MIN(len, sizeof(head) - 1), line);
	if (sscanf(head, "%llx-%llx %4s %llx %x:%x %llu%n", &start, &end, perms, &offset, &major, &minor, &inode,
		   &name_at) != 7 ||
	    start >= end)
		return -EINVAL;
	while ((size_t)name_at < len && line[name_at] == ' ')
		name_at++;
	*ret = (struct proc_map){
		.start = start, .end = end, .offset = offset, .inode = inode, .dev_major = major, .dev_minor = minor
	};
	memcpy(ret->perms, perms, sizeof(perms));
	ret->name = strndup(line + name_at, len - (size_t)name_at);
	return ret->name ? 0 : -ENOMEM;
}

int proc_maps_parse(const char *text, size_t len, struct proc_maps *ret_maps)
{
	struct proc_maps maps = { 0 };
	size_t cap = 0;
	const char *p = text, *stop = text + len;
	int r = 0;

	while (p < stop && r == 0) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		size_t n = (size_t)((nl ? nl : stop) - p);

		/* An attribute line of smaps starts with a capital letter. */
		if (n > 8 && *p >= 'A' && *p <= 'Z') {
			if (maps.count && !strncmp(p, "VmFlags:", 8))
				parse_vmflags(&maps.map[maps.count - 1], p, n);
		} else if (n) {
			if (maps.count == cap) {
				size_t bigger = cap ? cap * 2 : 64;
				struct proc_map *map = realloc(maps.map, bigger * sizeof(*map));

				if (!map) {
					r = -ENOMEM;
					break;
				}
				maps.map = map;
				cap = bigger;
			}
			r = parse_map_line(p, n, &maps.map[maps.count]);
			if (r == 0)
				maps.count++;
		}
		p += n + 1;
	}
	if (r < 0) {
		proc_maps_free(&maps);
		return r;
	}
	*ret_maps = maps;
	return 0;
}

int proc_maps_read(int dir_fd, bool flags, struct proc_maps *ret_maps, struct err *err)
{
	CLEAN(free) char *text = NULL;
	size_t len;
	int r = proc_file(dir_fd, flags ? "smaps" : "maps", PROC_FILE_MAX, &text, &len);

	if (r == 0)
		r = proc_maps_parse(text, len, ret_maps);
	if (r < 0)
		return err_sys(err, r, "cannot read the memory map of the process");
	return 0;
}

void proc_maps_free(struct proc_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		free(maps->map[i].name);
	free(maps->map);
	*maps = (struct proc_maps){ 0 };
}

const struct proc_map *proc_maps_find(const struct proc_maps *maps, uint64_t addr)
{
	size_t lo = 0, hi = maps->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (addr < maps->map[mid].start)
			hi = mid;
		else if (addr >= maps->map[mid].end)
			lo = mid + 1;
		else
			return &maps->map[mid];
	}
	return NULL;
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
	for (size_t n = strcspn(p, "\n"), i = 0; i < n; i += strspn(p + i, "\t ")) {
		st.ns_tid = atoi(p + i);
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
			 " %c %d %*d %*d %*d %*d %*u %llu %*u %llu %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu"
			 " %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %d",
			 &st.state, &st.ppid, &minflt, &majflt, &utime, &stime, &start, &st.processor) < 7)
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
