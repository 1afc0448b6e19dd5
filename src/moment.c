// SPDX-License-Identifier: MIT
/* Rejected: smaps (as slow, 25 to 35 ms a GiB, but the target's own mmap waits for all of
 * a mapping's walk, however large; here for a GiB at most); two cores side by side (they may be gone, cut or
 * mini, and pages that nobody changed are in none); ticks of 10 ms where the scheduler's
 * own nanoseconds are there. Trap: a mapping without a name may be a thread's stack: that
 * shows by the stack pointer alone, which a thread that runs does not tell. */
#include "moment.h"

#include "incident.h"
#include "ktime.h"
#include "pages.h"

#include <fcntl.h>
#include <string.h>

#define STEP (1ull << 30)	/* page tables walked at a time: the process may wait to map memory meanwhile */
#define BLIND_MAX (64ull << 30) /* of one mapping, where every page has to be asked for (before Linux 6.7) */

/* ---- CPU ---- */

bool thread_cpu_read(int dir_fd, pid_t tid, struct thread_cpu *ret)
{
	CLEAN(free) char *text = NULL;
	unsigned long long cpu_ns, queued_ns;
	struct proc_stat stat;
	char path[48];

	snprintf(path, sizeof(path), "task/%d/stat", tid);
	if (proc_stat_read(dir_fd, path, &stat) < 0)
		return false;
	*ret = (struct thread_cpu){ .tid = tid,
				    .start_ticks = stat.start_ticks,
				    .cpu_ns = (stat.utime_ticks + stat.stime_ticks) *
					      (NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK)) };
	/* of a kernel without it, and of a thread that never ran, the ticks are as good */
	snprintf(path, sizeof(path), "task/%d/schedstat", tid);
	if (proc_file(dir_fd, path, 4096, &text, NULL) == 0 && sscanf(text, "%llu %llu", &cpu_ns, &queued_ns) == 2 &&
	    cpu_ns) {
		ret->cpu_ns = cpu_ns;
		ret->queued_ns = queued_ns;
	}
	return true;
}

static int read_cpu(int dir_fd, struct moment *moment)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t count;
	int r = proc_threads(dir_fd, &tids, &count);

	if (r < 0)
		return r;
	moment->cpu = calloc(count, sizeof(*moment->cpu));
	if (!moment->cpu)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		moment->cpu_count += thread_cpu_read(dir_fd, tids[i], &moment->cpu[moment->cpu_count]);
	return 0;
}

/* ---- memory ---- */

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The stack pointers of all threads that tell, ascending. */
static int read_pointers(int dir_fd, uint64_t **ret_sp, size_t *ret_count)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t count, told = 0;
	uint64_t *sp;
	int r = proc_threads(dir_fd, &tids, &count);

	if (r < 0)
		return r;
	sp = calloc(count, sizeof(*sp));
	if (!sp)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct proc_syscall sc = { 0 };
		char path[48];

		snprintf(path, sizeof(path), "task/%d/syscall", tids[i]);
		if (proc_syscall_read(dir_fd, path, &sc) == 0 && sc.sp)
			sp[told++] = sc.sp;
	}
	qsort(sp, told, sizeof(*sp), by_number);
	*ret_sp = sp;
	*ret_count = told;
	return 0;
}

static bool holds_pointer(const struct proc_map *map, const uint64_t *sp, size_t count)
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (sp[mid] < map->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && sp[lo] < map->end;
}

static bool counts(const struct proc_map *map)
{
	return map->kind != PROC_MAP_KERNEL && map->kind != PROC_MAP_VDSO && (!map->shared || map->memory) &&
	       (!map->devices || map->memory);
}

static int count_bytes(const struct pages *pages, const struct proc_map *map, uint64_t *ret_bytes)
{
	enum pages_kind kind = map->shared ? PAGES_ANY : PAGES_PRIVATE;
	uint64_t sum = 0;

	for (uint64_t at = map->start; at < map->end;) {
		uint64_t step_end = MIN(map->end, at + STEP), start, end;
		int r;

		while ((r = pages_next(pages, kind, at, step_end, &start, &end)) > 0) {
			sum += end - start;
			at = end;
		}
		if (r < 0)
			return r;
		at = step_end;
	}
	*ret_bytes = sum;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct moment_name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* One row a name. */
static void merge_names(struct moment *moment)
{
	struct moment_name *row = moment->named;
	size_t n = 0;

	if (moment->named_count)
		qsort(row, moment->named_count, sizeof(*row), by_name);
	for (size_t i = 0; i < moment->named_count; i++) {
		if (n && !strcmp(row[n - 1].name, row[i].name)) {
			row[n - 1].bytes += row[i].bytes;
			row[n - 1].mappings += row[i].mappings;
			free(row[i].name);
		} else {
			row[n++] = row[i];
		}
	}
	moment->named_count = n;
}

static int add_named(struct moment *moment, const char *name, uint64_t bytes)
{
	struct moment_name *row = moment->named_count ? &moment->named[moment->named_count - 1] : NULL;

	if (!row || strcmp(row->name, name) != 0) {
		row = list_add(&moment->named, &moment->named_count, sizeof(*row));
		if (row && !(row->name = strdup(name)))
			moment->named_count--;
		if (!row || !row->name)
			return -ENOMEM;
	}
	row->bytes += bytes;
	row->mappings++;
	return 0;
}

struct look {
	const struct proc_maps *maps;
	struct pages pages;
	bool blind; /* the kernel cannot pass over what is empty */
	uint64_t *sp;
	size_t sp_count;
};

static int look_at(struct moment *moment, const struct look *look, const struct proc_map *map)
{
	const char *name = proc_map_name(look->maps, map);
	struct moment_mapping *row;
	uint64_t bytes;
	int r;

	if (!counts(map))
		return 0;
	if (look->blind && map->end - map->start > BLIND_MAX) {
		moment->not_counted++;
		return 0;
	}
	r = count_bytes(&look->pages, map, &bytes);
	if (r < 0 || !bytes)
		return r;
	moment->bytes += bytes;
	if (name[0])
		return add_named(moment, name, bytes);
	row = list_add(&moment->anon, &moment->anon_count, sizeof(*row));
	if (!row)
		return -ENOMEM;
	*row = (struct moment_mapping){ .start = map->start,
					.end = map->end,
					.bytes = bytes,
					.stack = holds_pointer(map, look->sp, look->sp_count) };
	return 0;
}

static int read_memory(int dir_fd, struct moment *moment, struct err *err)
{
	CLEAN(fd) int pagemap_fd = openat(dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	CLEAN(free) struct pages_cache *cache = malloc(sizeof(*cache));
	CLEAN(free) uint64_t *sp = NULL;
	struct proc_maps maps = { 0 };
	struct look look = { .maps = &maps };
	uint64_t bytes;
	int r;

	if (pagemap_fd < 0 || !cache)
		return err_sys(err, pagemap_fd < 0 ? -errno : -ENOMEM, "cannot read the page tables of the process");
	r = proc_maps_read(dir_fd, false, &maps, err);
	if (r < 0)
		return r;
	pages_cache_init(cache, pagemap_fd);
	look.pages = pages_of_cache(cache);
	r = read_pointers(dir_fd, &sp, &look.sp_count);
	look.sp = sp;
	if (r == 0 && maps.count) {
		r = pages_huge(pagemap_fd, maps.map[0].start, maps.map[0].start + PAGE_BYTES, &bytes);
		look.blind = r == -ENOTTY || r == -EINVAL;
		r = 0;
	}
	for (size_t i = 0; i < maps.count && r == 0; i++)
		r = look_at(moment, &look, &maps.map[i]);
	merge_names(moment);
	proc_maps_free(&maps);
	return r < 0 ? err_sys(err, r, "cannot read how much memory the process has") : 0;
}

int moment_read(const struct proc *proc, uint32_t parts, struct moment *ret_moment, struct err *err)
{
	struct moment m = { .at_ns = now_ns(), .parts = parts };
	int r = 0;

	if (parts & MOMENT_CPU && (r = read_cpu(proc->dir_fd, &m)) < 0)
		err_sys(err, r, "cannot read what CPU time the threads used");
	if (r == 0 && parts & MOMENT_MEMORY)
		r = read_memory(proc->dir_fd, &m, err);
	if (!proc_alive(proc)) /* and what was read may be of nobody */
		r = err_say(err, -ESRCH, "process %d has ended", proc->pid);
	if (r < 0)
		moment_done(&m);
	else
		*ret_moment = m;
	return r;
}

void moment_done(struct moment *moment)
{
	for (size_t i = 0; i < moment->named_count; i++)
		free(moment->named[i].name);
	free(moment->named);
	free(moment->anon);
	free(moment->cpu);
	*moment = (struct moment){ 0 };
}
