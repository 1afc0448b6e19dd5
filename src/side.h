/* SPDX-License-Identifier: MIT */
/* Memory that a clone does not copy: shared mappings, MADV_DONTFORK and
 * MADV_WIPEONFORK ranges. The small ones are copied while the process stands still,
 * the others are read from the live process afterwards. */
#ifndef REQTRAP_SIDE_H
#define REQTRAP_SIDE_H

#include "core.h"

#define SIDE_COPY_BYTES (16u << 20) /* copied in the stop at most: about 4 ms */

struct side_run {
	uint64_t start, end;
	size_t off; /* in the copy */
};

struct side_range {
	uint64_t start, end;
	bool wanted; /* to be copied in the stop */
	bool copied; /* ... and it was, whole */
	int file_fd; /* shared memory as a file; -1: read through the page tables */
	uint64_t file_off;
	struct side *side;
	struct side_run *run; /* of the copy */
	size_t run_count, run_cap;
	struct core_source source;
};

struct side {
	int mem_fd, pagemap_fd; /* of the live process; owned */
	int dir_fd;		/* /proc/PID, the caller's */
	struct pages_cache pages;
	struct side_range **range;
	size_t count, cap;
	uint8_t *copy;
	size_t copy_len, copy_cap;
};

/* Opens the process's memory. Copies nothing, stops nothing. */
int side_open(struct side *side, int dir_fd);
void side_close(struct side *side);

/* Before the stop: a range of 'map' that will be needed; decides if it will be copied. */
int side_add(struct side *side, const struct proc_map *map);
int side_reserve(struct side *side); /* memory for the copies, touched */
void side_copy(struct side *side);   /* in the stop; what does not fit stays live */

/* The source of exactly this range; made live if it was not planned. NULL: no memory. */
const struct core_source *side_source(struct side *side, const struct proc_map *map, bool *ret_live);

/* A private mapping of a file that the process has not changed: its data is read from
 * the file, whose holes stay holes. NULL: it cannot be opened, or no memory. */
const struct core_source *side_file(struct side *side, const struct proc_map *map);

/* What the file behind a mapping can fill of it: in bytes on disk, and up to where in
 * addresses. 0 and map->end: no file, or nothing is known of it. */
uint64_t side_file_bytes(int dir_fd, const struct proc_map *map);
uint64_t side_file_end(int dir_fd, const struct proc_map *map);

#endif
