// SPDX-License-Identifier: MIT
/* A cgroup's counters are noted when the watch begins and each second; the last note before
 * the request began is what its time is counted from. Rejected: the counters' totals (a
 * server that was throttled last week is not slow for it now). Traps: in a container's own
 * view the cgroup is '/', and the root has no limits; cgroup v1 counts in nanoseconds where
 * v2 counts in microseconds. */
#include "host.h"

#include "ktime.h"
#include "proc.h"
#include "usage.h"

#include <fcntl.h>
#include <string.h>

#define NOTES_MAX 64   /* of one cgroup; then every second one is forgotten */
#define GROUPS_MAX 256 /* cgroups; of more, nothing is known over time */
#define NOTE_LEAST_NS (NSEC_PER_SEC / 2)

struct counts {
	uint64_t at_ns;
	uint64_t throttled_ns, oom_kills;
	uint64_t memory_over, memory_stalled_ns;
};

struct group {
	char cpu[512], memory[512]; /* folders */
	struct counts note[NOTES_MAX];
	size_t count;
};

struct host_log {
	struct group **group;
	size_t count;
};

/* ---- files of a cgroup ---- */

static bool group_text(const char *folder, const char *file, char **ret_text)
{
	char path[640];

	if (!folder[0])
		return false;
	snprintf(path, sizeof(path), "%s/%s", folder, file);
	return proc_file(AT_FDCWD, path, 4096, ret_text, NULL) == 0;
}

/* 'key 17' at the beginning of a line. */
static bool value_of(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		if (!strncmp(p, key, len) && p[len] == ' ') {
			*ret = strtoull(p + len, NULL, 10);
			return true;
		}
	}
	return false;
}

/* The folder of cgroup v2 if it has such a file, else the controller's of v1. */
static void folder_with(int dir_fd, const char *file, const char *controller, char *ret, size_t size)
{
	CLEAN(free) char *text = NULL;

	cgroup_folder(dir_fd, NULL, ret, size);
	if (group_text(ret, file, &text))
		return;
	cgroup_folder(dir_fd, controller, ret, size);
}

/* 'some avg10=0.00 avg60=0.00 avg300=0.00 total=12345', in microseconds */
static uint64_t stalled_ns(const char *text)
{
	const char *at = text ? strstr(text, "total=") : NULL;

	return at ? strtoull(at + strlen("total="), NULL, 10) * NSEC_PER_USEC : 0;
}

static void counts_read(const struct group *group, struct counts *ret)
{
	CLEAN(free) char *cpu = NULL;
	CLEAN(free) char *events = NULL;
	CLEAN(free) char *stalls = NULL;
	struct counts c = { .at_ns = now_ns() };

	if (group_text(group->cpu, "cpu.stat", &cpu) && value_of(cpu, "throttled_usec", &c.throttled_ns))
		c.throttled_ns *= NSEC_PER_USEC;
	else
		value_of(cpu, "throttled_time", &c.throttled_ns);
	if (group_text(group->memory, "memory.events", &events) ||
	    group_text(group->memory, "memory.oom_control", &events))
		value_of(events, "oom_kill", &c.oom_kills);
	value_of(events, "high", &c.memory_over);
	if (group_text(group->memory, "memory.pressure", &stalls))
		c.memory_stalled_ns = stalled_ns(stalls);
	*ret = c;
}

static void group_find(int dir_fd, struct group *group)
{
	folder_with(dir_fd, "cpu.max", "cpu", group->cpu, sizeof(group->cpu));
	folder_with(dir_fd, "memory.current", "memory", group->memory, sizeof(group->memory));
}

/* ---- over time ---- */

struct host_log *host_log_new(void)
{
	return calloc(1, sizeof(struct host_log));
}

void host_log_free(struct host_log *log)
{
	for (size_t i = 0; log && i < log->count; i++)
		free(log->group[i]);
	if (log)
		free(log->group);
	free(log);
}

static struct group *log_group(const struct host_log *log, const struct group *like)
{
	for (size_t i = 0; i < log->count; i++) {
		if (!strcmp(log->group[i]->cpu, like->cpu) && !strcmp(log->group[i]->memory, like->memory))
			return log->group[i];
	}
	return NULL;
}

static void note(struct group *g)
{
	if (g->count && now_ns() - g->note[g->count - 1].at_ns < NOTE_LEAST_NS)
		return;
	if (g->count == NOTES_MAX) { /* long requests need old notes, not many */
		for (size_t i = 0; i < NOTES_MAX / 2; i++)
			g->note[i] = g->note[2 * i];
		g->count = NOTES_MAX / 2;
	}
	counts_read(g, &g->note[g->count++]);
}

void host_log_note(struct host_log *log, pid_t pid)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	struct group *found, **at, *mine = dir_fd >= 0 ? calloc(1, sizeof(*mine)) : NULL;

	if (!mine)
		return;
	group_find(dir_fd, mine);
	found = log_group(log, mine);
	if (found || log->count >= GROUPS_MAX) {
		free(mine);
	} else {
		at = list_add(&log->group, &log->count, sizeof(struct group *));
		if (!at)
			free(mine);
		else
			*at = found = mine;
	}
	if (found)
		note(found);
}

void host_log_tick(struct host_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		note(log->group[i]);
}

/* What was there at or before that moment; the oldest that is known if all are later. */
static const struct counts *noted_at(const struct group *g, uint64_t at_ns)
{
	size_t n = g->count;

	while (n > 1 && g->note[n - 1].at_ns > at_ns)
		n--;
	return n ? &g->note[n - 1] : NULL;
}

/* ---- one look ---- */

/* 'some avg10=1.23 avg60=...' */
static uint32_t pressure(const char *path)
{
	CLEAN(free) char *text = NULL;
	const char *at;

	if (proc_file(AT_FDCWD, path, 4096, &text, NULL) < 0 || !(at = strstr(text, "some avg10=")))
		return HOST_UNKNOWN;
	return (uint32_t)(strtod(at + strlen("some avg10="), NULL) * 100 + 0.5);
}

/* CPUs x 1000 that the cgroup may use at most; 0: no limit. */
static uint32_t cpu_limit(const struct group *g)
{
	CLEAN(free) char *quota = NULL;
	CLEAN(free) char *period = NULL;
	double of = 0, per = 0;

	if (group_text(g->cpu, "cpu.max", &quota)) {
		if (sscanf(quota, "%lf %lf", &of, &per) != 2)
			return 0;
	} else if (group_text(g->cpu, "cpu.cfs_quota_us", &quota) && group_text(g->cpu, "cpu.cfs_period_us", &period)) {
		of = strtod(quota, NULL);
		per = strtod(period, NULL);
	}
	return of > 0 && per > 0 && of / per < 1e6 ? (uint32_t)(of / per * 1000) : 0;
}

static uint64_t number_in(const struct group *g, const char *v2, const char *v1)
{
	CLEAN(free) char *text = NULL;

	if (!group_text(g->memory, v2, &text) && !group_text(g->memory, v1, &text))
		return 0;
	return strtoull(text, NULL, 10); /* 'max' is 0 */
}

void host_read(struct host_log *log, int dir_fd, uint64_t since_ns, struct host_facts *ret_facts)
{
	struct host_facts f = { .cpus = (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 0L) };
	CLEAN(free) char *load = NULL;
	const struct counts *then;
	struct proc_status status;
	struct group mine = { .count = 0 };
	struct group *logged;
	struct counts now;

	if (proc_file(AT_FDCWD, "/proc/loadavg", 256, &load, NULL) == 0)
		f.load_permille = (uint32_t)(strtod(load, NULL) * 1000);
	f.cpu_some = pressure("/proc/pressure/cpu");
	f.memory_some = pressure("/proc/pressure/memory");
	f.io_some = pressure("/proc/pressure/io");
	if (proc_status_read(dir_fd, "status", &status) == 0)
		f.swap_bytes = status.swap_bytes;
	group_find(dir_fd, &mine);
	f.cpu_limit_permille = cpu_limit(&mine);
	f.memory_bytes = number_in(&mine, "memory.current", "memory.usage_in_bytes");
	f.memory_limit_bytes = number_in(&mine, "memory.max", "memory.limit_in_bytes");
	f.memory_high_bytes = number_in(&mine, "memory.high", "memory.high");
	if (f.memory_limit_bytes >= 1ull << 60) /* how cgroup v1 says that there is none */
		f.memory_limit_bytes = 0;
	logged = log ? log_group(log, &mine) : NULL;
	then = logged ? noted_at(logged, since_ns) : NULL;
	if (then) {
		counts_read(&mine, &now);
		f.throttled_ns = now.throttled_ns - MIN(then->throttled_ns, now.throttled_ns);
		f.throttled_over_ns = now.at_ns - then->at_ns;
		f.memory_over = now.memory_over - MIN(then->memory_over, now.memory_over);
		f.memory_stalled_ns = now.memory_stalled_ns - MIN(then->memory_stalled_ns, now.memory_stalled_ns);
		f.oom_kills = now.oom_kills - MIN(logged->note[0].oom_kills, now.oom_kills);
	}
	*ret_facts = f;
}
