// SPDX-License-Identifier: MIT
/* Rejected: utime and stime of /proc/PID/stat (10 ms steps, which is 10 % of a tick of
 * 100 ms): the process's CPU clock is exact, and one call. Traps: the clock goes by the
 * number, which another process may have by now, so the pidfd is asked afterwards;
 * a process may change its cgroup, the old one is then still the one that is read; where
 * both kinds of cgroup are mounted, pressure is the new one's and memory the old one's. */
#include "usage.h"

#include "ktime.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static const char *const unified_roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

static const struct pressure {
	uint32_t part;
	const char *file, *what;
} pressures[] = {
	{ USAGE_CPU_PRESSURE, "cpu.pressure", "CPU pressure" },
	{ USAGE_MEMORY_PRESSURE, "memory.pressure", "memory pressure" },
	{ USAGE_IO_PRESSURE, "io.pressure", "I/O pressure" },
};

static uint64_t number_after(const char *text, const char *key)
{
	const char *p = text ? strstr(text, key) : NULL;

	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static int group_file(const char *group, const char *file, char **ret_text)
{
	char path[640];

	if (!group[0])
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/%s", group, file);
	return proc_file(AT_FDCWD, path, 4096, ret_text, NULL);
}

/* The folder that a row of /proc/PID/cgroup stands for; '' none, or out of our sight. */
static void find_folder(const char *root, const char *row, char *ret, size_t size)
{
	int len = row ? (int)strcspn(row, "\n") : 0, n = 0;

	if (len && root && !memmem(row, (size_t)len, "/..", 3))
		n = snprintf(ret, size, "%s%.*s", root, len, row);
	if (n <= 0 || (size_t)n >= size)
		ret[0] = '\0';
}

static const char *unified_root(void)
{
	for (size_t i = 0; i < ARRAY_LEN(unified_roots); i++) {
		struct statfs st;

		if (statfs(unified_roots[i], &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC)
			return unified_roots[i];
	}
	return NULL;
}

/* Is 'name' one of 'cpu,cpuacct'? */
static bool in_list(const char *list, size_t len, const char *name)
{
	for (const char *stop = list + len; list < stop; list += strcspn(list, ",:") + 1) {
		if (strcspn(list, ",:") == strlen(name) && !strncmp(list, name, strlen(name)))
			return true;
	}
	return false;
}

void cgroup_folder(int dir_fd, const char *controller, char *ret, size_t size)
{
	CLEAN(free) char *text = NULL;
	char root[64];

	ret[0] = '\0';
	snprintf(root, sizeof(root), "/sys/fs/cgroup/%s", controller ? controller : "");
	if (proc_file(dir_fd, "cgroup", 65536, &text, NULL) < 0)
		return;
	/* 'ID:CONTROLLERS:/PATH'; the unified hierarchy's row has none */
	for (const char *row = text; row && *row; row = strchr(row, '\n'), row = row ? row + 1 : NULL) {
		const char *list = row + strcspn(row, ":\n") + 1;
		size_t len = list[-1] == ':' ? strcspn(list, ":\n") : 0;

		if (list[-1] == ':' && (controller ? in_list(list, len, controller) : !len)) {
			find_folder(controller ? root : unified_root(), list + len + 1, ret, size);
			return;
		}
	}
}

/* How often a limit was hit, and kills. */
static bool count_memory_events(const struct meter *meter, uint64_t *ret_count)
{
	CLEAN(free) char *events = NULL;
	CLEAN(free) char *hits = NULL;
	CLEAN(free) char *kills = NULL;

	if (group_file(meter->cgroup, "memory.events", &events) == 0) {
		*ret_count = number_after(events, "high ") + number_after(events, "\nmax ") +
			     number_after(events, "oom_kill ");
		return true;
	}
	if (group_file(meter->memory, "memory.failcnt", &hits) < 0)
		return false;
	group_file(meter->memory, "memory.oom_control", &kills);
	*ret_count = strtoull(hits, NULL, 10) + number_after(kills, "oom_kill ");
	return true;
}

int meter_init(struct meter *meter, const struct proc *proc, uint32_t parts, struct err *err)
{
	uint64_t count;

	*meter = (struct meter){ .proc = proc, .parts = parts };
	cgroup_folder(proc->dir_fd, NULL, meter->cgroup, sizeof(meter->cgroup));
	cgroup_folder(proc->dir_fd, "memory", meter->memory, sizeof(meter->memory));
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++) {
		CLEAN(free) char *text = NULL;

		if (parts & pressures[i].part && group_file(meter->cgroup, pressures[i].file, &text) < 0)
			return err_say(err, -EOPNOTSUPP, "the %s of process %d cannot be read: there is no '%s/%s'",
				       pressures[i].what, proc->pid, meter->cgroup[0] ? meter->cgroup : "its cgroup",
				       pressures[i].file);
	}
	if (parts & USAGE_MEMORY_EVENTS && !count_memory_events(meter, &count))
		return err_say(
			err, -EOPNOTSUPP,
			"the memory events of process %d cannot be read: there is no '%s/memory.events', nor cgroup "
			"v1's 'memory.failcnt'",
			proc->pid, meter->cgroup[0] ? meter->cgroup : "its cgroup");
	return 0;
}

static bool read_cpu(const struct proc *proc, uint64_t *ret_ns)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(proc->pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
		return false;
	*ret_ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	return true;
}

/* The size of the folder is the count since Linux 6.2; before that it is 0. */
static bool count_fds(int dir_fd, uint64_t *ret_count)
{
	CLEAN(dir) DIR *dir = NULL;
	struct stat st;
	int fd;

	if (fstatat(dir_fd, "fd", &st, 0) < 0)
		return false;
	*ret_count = (uint64_t)st.st_size;
	if (st.st_size)
		return true;
	fd = openat(dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		return fd >= 0 ? close(fd), false : false;
	for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
		*ret_count += e->d_name[0] != '.';
	return true;
}

/* FNV-1a over what each thread stands in. A thread that runs makes it a new place. */
static bool read_place(int dir_fd, uint64_t at_ns, uint64_t *ret_place)
{
	CLEAN(free) pid_t *tids = NULL;
	uint64_t hash = 0xcbf29ce484222325ull;
	size_t count;

	if (proc_threads(dir_fd, &tids, &count) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct proc_syscall sc = { 0 };
		uint64_t word[4];
		char path[48];
		int r;

		snprintf(path, sizeof(path), "task/%d/syscall", tids[i]);
		r = proc_syscall_read(dir_fd, path, &sc);
		if (r == -EACCES || r == -EPERM)
			return false;
		memcpy(word, (uint64_t[]){ (uint64_t)tids[i], (uint64_t)sc.nr, sc.sp, sc.pc }, sizeof(word));
		if (r < 0 || sc.nr == -2)
			word[1] = at_ns;
		for (size_t k = 0; k < ARRAY_LEN(word); k++)
			hash = (hash ^ word[k]) * 0x100000001b3ull;
	}
	*ret_place = hash;
	return true;
}

static void read_group(const struct meter *meter, struct usage *usage)
{
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++) {
		CLEAN(free) char *text = NULL;

		if (!(meter->parts & pressures[i].part) || group_file(meter->cgroup, pressures[i].file, &text) < 0)
			continue;
		usage->pressure_ns[i] = number_after(text, "total=") * NSEC_PER_USEC; /* 'some' comes first */
		usage->parts |= pressures[i].part;
	}
	if (meter->parts & USAGE_MEMORY_EVENTS && count_memory_events(meter, &usage->memory_events))
		usage->parts |= USAGE_MEMORY_EVENTS;
}

int usage_read(const struct meter *meter, struct usage *ret_usage)
{
	struct usage s = { .at_ns = now_ns() };
	int dir_fd = meter->proc->dir_fd;
	struct proc_status status;

	if (meter->parts & USAGE_CPU && read_cpu(meter->proc, &s.cpu_ns))
		s.parts |= USAGE_CPU;
	if (meter->parts & (USAGE_MEMORY | USAGE_THREADS) && proc_status_read(dir_fd, "status", &status) == 0) {
		s.memory_bytes =
			status.rss_anon_bytes + status.rss_file_bytes + status.rss_shmem_bytes + status.swap_bytes;
		s.threads = status.threads;
		s.parts |= USAGE_MEMORY | USAGE_THREADS;
	}
	if (meter->parts & USAGE_FDS && count_fds(dir_fd, &s.fds))
		s.parts |= USAGE_FDS;
	if (meter->parts & USAGE_PLACE && read_place(dir_fd, s.at_ns, &s.place))
		s.parts |= USAGE_PLACE;
	read_group(meter, &s);
	if (!proc_alive(meter->proc))
		return -ESRCH;
	*ret_usage = s;
	return 0;
}
