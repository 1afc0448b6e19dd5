/* SPDX-License-Identifier: MIT */
/* What stays in a store, and the one file beside the incidents that outlives a watch. For
 * the scribe's process: all of it blocks on the disk. */
#ifndef REQTRAP_STORE_KEEP_H
#define REQTRAP_STORE_KEEP_H

#include "err.h"

struct store;

/* 0: as much as there is. */
struct store_keep {
	uint64_t files, max_bytes, max_age_ns;
	uint64_t free_bytes;   /* of the disk; or: */
	uint32_t free_percent; /* of it, for others than root */
};

struct store_pruned {
	size_t removed;
	uint64_t bytes;	     /* of these */
	bool short_of_space; /* the disk has less free than is wished, and nothing more may go */
};

/* By which clock incidents are too old: a step of the wall clock, in either direction, must not make
 * them so. Zeroed at first; asked again and again by one process. Both in ns, 'boot' never steps. */
struct store_clock {
	uint64_t wall, boot;
};
uint64_t store_clock_now(struct store_clock *clock, uint64_t wall_ns, uint64_t boot_ns);

/* Removes what is too old, then the oldest of the greediest kind until the rest fits: a
 * kind is a method and path, the greediest has most incidents when there are too many,
 * else most bytes. The newest of all stays, and what somebody writes at. */
int store_prune(struct store *store, const struct store_keep *keep, uint64_t wall_ns, struct store_pruned *ret_pruned,
		struct err *err);

#define STORE_STATE_MAX (64u << 20)

/* A file of that name, whole, 0600, replaced as one. -ENOENT: there is none. The text is
 * the caller's. */
int store_state_write(struct store *store, const char *name, const void *data, size_t len, struct err *err);
int store_state_read(struct store *store, const char *name, char **ret_text, size_t *ret_len, struct err *err);

#endif
