/* SPDX-License-Identifier: MIT */
/* Memory that a clone does not copy: shared mappings, MADV_DONTFORK and
 * MADV_WIPEONFORK ranges. The small ones are copied while the process stands still,
 * the others are read from the live process afterwards. */
#ifndef REQTRAP_SIDE_H
#define REQTRAP_SIDE_H

#include "core.h"

#define SIDE_COPY_BYTES (16u << 20) /* copied in the stop at most: about 10 ms */

struct side_run {
	uint64_t start, end;
	uint64_t off; /* in the copy */
};

struct side_range {
	uint64_t start, end;
	uint64_t file_off;
	int file_fd;	 /* of those that are held open */
	bool file : 1;	 /* a file, or shared memory as one; else read through the page tables */
	bool wanted : 1; /* to be copied in the stop */
	bool copied : 1; /* ... and it was, whole: 'runs' from 'run' on */
	uint32_t run, runs;
};

/* One source for all: there may be as many ranges as mappings. */
struct side_ranges {
	struct side *side;
	struct side_range *range; /* owned; ascending */
	size_t count, cap;
	size_t last;	/* found */
	int file_fd;	/* of a range whose file is not held open, opened when it was read */
	size_t file_at; /* that range */
	struct core_source source;
};

struct side {
	int mem_fd, pagemap_fd; /* of the live process; owned */
	int dir_fd;		/* /proc/PID, the caller's */
	struct pages_cache pages;
	struct side_ranges planned, late; /* what was known before the stop, and what came after it */
	size_t held, held_most;		  /* files */
	struct side_run *run;		  /* of the copy; owned */
	size_t run_count, run_cap;
	struct spool copy; /* not in our memory */
	uint64_t copy_cap, copy_most;
	uint8_t *chunk; /* owned */
};

/* Opens the process's memory. Copies nothing, stops nothing. */
int side_open(struct side *side, int dir_fd);
void side_close(struct side *side);

/* Before the stop: a range of 'map' that will be needed; decides if it will be copied:
 * no more than copy_most bytes are, SIDE_COPY_BYTES if the caller sets no less. */
int side_add(struct side *side, const struct proc_map *map);
int side_reserve(struct side *side); /* room for the copies */
void side_copy(struct side *side);   /* in the stop; what does not fit stays live */

/* The source of exactly this range; made live if it was not planned. To be asked for in
 * ascending order. NULL: no memory. */
const struct core_source *side_source(struct side *side, const struct proc_map *map, bool *ret_live);

/* A private mapping of a file that the process has not changed: its data is read from
 * the file, whose holes stay holes. NULL: it cannot be opened, or no memory. */
const struct core_source *side_file(struct side *side, const struct proc_map *map);

/* What the file behind a mapping can fill of it: in bytes on disk, and up to where in
 * addresses. 0 and map->end: no file, or nothing is known of it. */
uint64_t side_file_bytes(int dir_fd, const struct proc_map *map);
uint64_t side_file_end(int dir_fd, const struct proc_map *map);

#endif
