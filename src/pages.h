/* SPDX-License-Identifier: MIT */
/* Which pages of a process hold something. Reads page tables only: touches no page,
 * stops nothing, wakes no userfaultfd handler. */
#ifndef REQTRAP_PAGES_H
#define REQTRAP_PAGES_H

#include "util.h"

#define PAGE_BYTES 4096u

enum pages_kind {
	PAGES_ANY,     /* present or swapped, and not the shared zero page */
	PAGES_PRIVATE, /* of those: the process's own, not a page of a file */
};

struct pages {
	int (*next)(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		    uint64_t *ret_end);
	void *arg;
};

/* Page tables read ahead: what walkers ask for next is there already. So the answers
 * are those of a moment ago: for memory that stands still, or need not. */
struct pages_cache {
	int fd; /* /proc/PID/pagemap, the caller's */
	enum pages_kind kind;
	uint64_t from, to; /* what the regions tell of */
	uint64_t asked;	   /* last */
	size_t count, at;
	struct {
		uint64_t start, end, categories;
	} region[256]; /* the kernel's struct page_region */
};

/* Bytes in [start, end) that huge pages hold, of a pagemap file. -ENOTTY or -EINVAL: a
 * kernel that cannot tell (before 6.7). */
int pages_huge(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *ret_bytes);

struct pages pages_of_cache(struct pages_cache *cache);
void pages_cache_init(struct pages_cache *cache, int pagemap_fd);

/* The next run of such pages in [addr, end): 1 with it, 0 none is left, or negative errno. */
static inline int pages_next(const struct pages *pages, enum pages_kind kind, uint64_t addr, uint64_t end,
			     uint64_t *ret_start, uint64_t *ret_end)
{
	return pages->next(pages->arg, kind, addr, end, ret_start, ret_end);
}

#endif
