/* SPDX-License-Identifier: MIT */
/* Bytes that would be too many for our own memory: kept in a file without a name,
 * which goes when we do. Written at its end, read anywhere. */
#ifndef REQTRAP_SPOOL_H
#define REQTRAP_SPOOL_H

#include "util.h"

struct spool {
	int fd; /* owned; -1: none */
	uint64_t len;
};

/* dir_fd: where the file lies (kept by the caller); -1, or a file system that has no
 * unnamed files: in memory that is not counted as ours (memfd). */
int spool_open(struct spool *spool, int dir_fd);
void spool_close(struct spool *spool);

/* Has room ready, as far as there is any: writing then costs no more than the copying. */
void spool_reserve(struct spool *spool, uint64_t bytes);

/* Adds bytes at the end; ret_off: where. Retries EINTR; may block on the disk. */
int spool_put(struct spool *spool, const void *data, size_t len, uint64_t *ret_off);
int spool_get(const struct spool *spool, uint64_t off, void *buf, size_t len); /* all of it, or -EIO */

#endif
