// SPDX-License-Identifier: MIT
/* PAGEMAP_SCAN where the kernel has it (6.7), else the 8 bytes a page of pagemap.
 * Rejected: reading everything and testing for zeros: that reads absent pages in, and
 * waits for ever where a userfaultfd handler does not answer. Trap: huge sparse
 * mappings: the old way reads 8 bytes for every 4 KiB of address space. */
#include "pages.h"

#include <sys/ioctl.h>

/* The kernel's struct pm_scan_arg; headers before 6.7 lack it. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan_arg)
#define IS_FILE (1u << 2)
#define IS_PRESENT (1u << 3)
#define IS_SWAPPED (1u << 4)
#define IS_PFNZERO (1u << 5)
#define IS_HUGE (1u << 6)

#define HUGE_STEP (1ull << 30) /* page tables walked at a time: the process may wait to map memory meanwhile */

#define MAP_FILE (1ull << 61)
#define MAP_SWAPPED (1ull << 62)
#define MAP_PRESENT (1ull << 63)

/* Fills the cache with the regions from addr on. */
static int scan(struct pages_cache *cache, enum pages_kind kind, uint64_t addr, uint64_t end)
{
	uint64_t without = IS_PFNZERO | (kind == PAGES_PRIVATE ? IS_FILE : 0);
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = addr,
		.end = end,
		.vec = (uintptr_t)cache->region,
		.vec_len = ARRAY_LEN(cache->region),
		.category_inverted = without,
		.category_mask = without,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
	};
	int n = ioctl(cache->fd, SCAN, &arg);

	if (n < 0)
		return -errno;
	cache->kind = kind;
	cache->from = addr;
	cache->to = arg.walk_end;
	cache->count = (size_t)n;
	cache->at = 0;
	return 0;
}

static int next_by_scan(struct pages_cache *cache, enum pages_kind kind, uint64_t addr, uint64_t end,
			uint64_t *ret_start, uint64_t *ret_end)
{
	while (addr < end) {
		if (kind != cache->kind || addr < cache->from || addr >= cache->to) {
			int r = scan(cache, kind, addr, end);

			if (r < 0)
				return r;
			if (cache->to <= addr)
				return -EIO;
		}
		if (addr < cache->asked)
			cache->at = 0; /* a walker began anew */
		cache->asked = addr;
		while (cache->at < cache->count && cache->region[cache->at].end <= addr)
			cache->at++;
		if (cache->at < cache->count) {
			*ret_start = MAX(cache->region[cache->at].start, addr);
			*ret_end = MIN(cache->region[cache->at].end, end);
			return *ret_start < end;
		}
		addr = cache->to;
	}
	return 0;
}

static int next_by_pagemap(int fd, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
			   uint64_t *ret_end)
{
	uint64_t entry[1024], start = 0;
	bool in_run = false;

	while (addr < end) {
		size_t want = MIN(ARRAY_LEN(entry), (size_t)((end - addr) / PAGE_BYTES));
		ssize_t n = pread(fd, entry, want * 8, (off_t)(addr / PAGE_BYTES * 8));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 8)
			return n < 0 ? -errno : -ESRCH;
		for (ssize_t i = 0; i < n / 8; i++, addr += PAGE_BYTES) {
			bool hit = (entry[i] & (MAP_PRESENT | MAP_SWAPPED)) &&
				   !(kind == PAGES_PRIVATE && (entry[i] & MAP_FILE));

			if (hit && !in_run)
				start = addr;
			if (!hit && in_run) {
				*ret_start = start;
				*ret_end = addr;
				return 1;
			}
			in_run = hit;
		}
	}
	if (!in_run)
		return 0;
	*ret_start = start;
	*ret_end = end;
	return 1;
}

static int next_page_run(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
			 uint64_t *ret_end)
{
	struct pages_cache *cache = arg;
	int r;

	if (addr >= end)
		return 0;
	r = next_by_scan(cache, kind, addr, end, ret_start, ret_end);
	if (r == -ENOTTY || r == -EINVAL)
		r = next_by_pagemap(cache->fd, kind, addr, end, ret_start, ret_end);
	return r;
}

int pages_huge(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *ret_bytes)
{
	struct {
		uint64_t start, end, categories;
	} region[32];
	uint64_t sum = 0;

	while (start < end) {
		struct scan_arg arg = { .size = sizeof(arg),
					.start = start,
					.end = MIN(end, start + HUGE_STEP),
					.vec = (uintptr_t)region,
					.vec_len = ARRAY_LEN(region),
					.category_mask = IS_PRESENT | IS_HUGE };
		int n = ioctl(pagemap_fd, SCAN, &arg);

		if (n < 0)
			return -errno;
		if (arg.walk_end <= start)
			return -EIO;
		for (int i = 0; i < n; i++)
			sum += region[i].end - region[i].start;
		start = arg.walk_end;
	}
	*ret_bytes = sum;
	return 0;
}

struct pages pages_of_cache(struct pages_cache *cache)
{
	return (struct pages){ .next = next_page_run, .arg = cache };
}

void pages_cache_init(struct pages_cache *cache, int pagemap_fd)
{
	*cache = (struct pages_cache){ .fd = pagemap_fd };
}
