// SPDX-License-Identifier: MIT
/* PAGEMAP_SCAN where the kernel has it (6.7), else the 8 bytes a page of pagemap.
 * Rejected: reading everything and testing for zeros: that reads absent pages in, and
 * waits for ever where a userfaultfd handler does not answer. Trap: huge sparse
 * mappings: the old way reads 8 bytes for every 4 KiB of address space. */
#include "pages.h"

#include <sys/ioctl.h>

/* The kernel's struct pm_scan_arg and friends; headers before 6.7 lack them. */
struct page_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan_arg)
#define IS_FILE (1u << 2)
#define IS_PRESENT (1u << 3)
#define IS_SWAPPED (1u << 4)
#define IS_PFNZERO (1u << 5)

#define MAP_FILE (1ull << 61)
#define MAP_SWAPPED (1ull << 62)
#define MAP_PRESENT (1ull << 63)

static int next_by_scan(int fd, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
			uint64_t *ret_end)
{
	uint64_t without = IS_PFNZERO | (kind == PAGES_PRIVATE ? IS_FILE : 0);
	struct page_region region;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = addr,
		.end = end,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_inverted = without,
		.category_mask = without,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
	};
	int n = ioctl(fd, SCAN, &arg);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	*ret_start = region.start;
	*ret_end = region.end;
	return 1;
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
	int fd = *(const int *)arg, r;

	if (addr >= end)
		return 0;
	r = next_by_scan(fd, kind, addr, end, ret_start, ret_end);
	if (r == -ENOTTY || r == -EINVAL)
		r = next_by_pagemap(fd, kind, addr, end, ret_start, ret_end);
	return r;
}

struct pages pages_of_fd(const int *pagemap_fd)
{
	return (struct pages){ .next = next_page_run, .arg = (void *)pagemap_fd };
}
