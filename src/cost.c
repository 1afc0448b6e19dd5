// SPDX-License-Identifier: MIT
/* A line through measured points: so much for each thread, mapping, page table, page and
 * huge page. Rejected: a fork() of our own to measure this machine (another memory,
 * another answer), smaps_rollup for all (35 ms a GiB of small pages). */
#include "cost.h"

#include "ktime.h"
#include "pages.h"

#include <fcntl.h>
#include <string.h>

/* Measured on a 2.5 GHz Xeon's guest, Linux 6.18; upper half of the spread. */
#define STOP_NS 400000ull
#define THREAD_NS 25000ull
#define MAP_NS 1000ull
#define TABLE_NS 1000ull      /* a page table with little in it */
#define PAGE_NS 70ull	      /* 18 ms a GiB */
#define HUGE_NS 1600ull	      /* 0.8 ms a GiB */
#define WRITE_PAGE_NS 2700ull /* 0.7 s a GiB */
#define HUGE_BYTES (2ull << 20)
#define HUGE_WORTH (32ull << 20) /* less memory costs next to nothing, whatever its pages are */

static uint64_t field_kb(const char *text, const char *key)
{
	const char *p = text ? strstr(text, key) : NULL;

	return p ? strtoull(p + strlen(key), NULL, 10) << 10 : 0;
}

static int count_huge(int dir_fd, const struct proc_maps *maps, uint64_t *ret_bytes)
{
	CLEAN(fd) int pagemap_fd = openat(dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t sum = 0;

	for (size_t i = 0; i < maps->count; i++) {
		const struct proc_map *map = &maps->map[i];
		uint64_t bytes = 0;
		int r;

		if (map->shared || map->end - map->start < HUGE_BYTES)
			continue;
		r = pages_huge(pagemap_fd, map->start, map->end, &bytes);
		if (r < 0)
			return r;
		sum += bytes;
	}
	*ret_bytes = sum;
	return 0;
}

int cost_estimate(const struct proc *proc, const struct proc_maps *maps, bool clone, uint64_t enough_ns,
		  struct cost *ret_cost, struct err *err)
{
	struct proc_status status;
	uint64_t base_ns, small, huge = 0, tables;
	int r = proc_status_read(proc->dir_fd, "status", &status);

	if (r < 0)
		return err_say(err, -ESRCH, "process %d has ended", proc->pid);
	small = status.rss_anon_bytes + status.swap_bytes;
	tables = status.pte_bytes / PAGE_BYTES;
	ret_cost->look_ns = STOP_NS + status.threads * THREAD_NS;
	base_ns = ret_cost->look_ns + maps->count * MAP_NS + tables * TABLE_NS;
	ret_cost->bytes = small;
	ret_cost->stop_ns = base_ns + (small + status.rss_shmem_bytes) / PAGE_BYTES * WRITE_PAGE_NS;
	ret_cost->clone_ns = base_ns + small / PAGE_BYTES * PAGE_NS;
	if (clone && small >= HUGE_WORTH && count_huge(proc->dir_fd, maps, &huge) < 0 && enough_ns &&
	    ret_cost->clone_ns > enough_ns) {
		CLEAN(free) char *rollup = NULL;

		if (proc_file(proc->dir_fd, "smaps_rollup", 65536, &rollup, NULL) == 0)
			huge = field_kb(rollup, "AnonHugePages:");
	}
	huge = MIN(huge, small);
	/* A huge page keeps a page table in reserve, which is counted, and not copied. */
	tables -= MIN(tables, huge / HUGE_BYTES);
	ret_cost->clone_ns = ret_cost->look_ns + maps->count * MAP_NS + tables * TABLE_NS +
			     (small - huge) / PAGE_BYTES * PAGE_NS + huge / HUGE_BYTES * HUGE_NS;
	return 0;
}

uint64_t cost_of_copy(uint64_t bytes)
{
	return bytes / PAGE_BYTES * WRITE_PAGE_NS;
}

uint64_t cost_copy_bytes(uint64_t ns)
{
	return ns / WRITE_PAGE_NS * PAGE_BYTES;
}

int cost_check(uint64_t cost_ns, uint64_t budget_ns, pid_t pid, const char *what, const char *choice, struct err *err)
{
	if (!budget_ns || cost_ns <= budget_ns)
		return 0;
	return err_say(err, -EBUSY, "%s would stop process %d for about %.3g ms, more than the %.3g ms allowed: %s",
		       what, pid, ns_to_ms(cost_ns), ns_to_ms(budget_ns), choice);
}
