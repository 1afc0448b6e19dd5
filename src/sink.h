/* SPDX-License-Identifier: MIT */
/* A file that is whole or absent: streamed under no name (or a hidden one), checked,
 * fsynced, then given its name. Never opens, follows or replaces what is there.
 * Does not know what it writes. Blocks on the disk. */
#ifndef REQTRAP_SINK_H
#define REQTRAP_SINK_H

#include "err.h"

#include <sys/types.h>

enum sink_compress { SINK_PLAIN, SINK_ZSTD };

struct sink;

/* name: in dir_fd (kept by the caller), no '/'. expect_bytes: -ENOSPC at once if that
 * many are not free; later also when the disk comes near its end. Mode 0600. */
int sink_open(int dir_fd, const char *name, enum sink_compress compress, uint64_t expect_bytes, struct sink **ret_sink,
	      struct err *err);

/* Asked at each write: true ends it with -ECANCELED. */
void sink_cancel_when(struct sink *sink, bool (*asked)(void));

int sink_write(struct sink *sink, const void *data, size_t len, struct err *err);
int sink_zeros(struct sink *sink, uint64_t len, struct err *err); /* a hole, or next to nothing when compressed */
uint64_t sink_written(const struct sink *sink);			  /* bytes so far, before compression, holes included */

/* Flushes, syncs and names the file; frees the sink. On failure nothing is left.
 * -EEXIST: the name is taken. */
int sink_commit(struct sink *sink, uint64_t *ret_bytes_on_disk, struct err *err);
void sink_abort(struct sink *sink); /* NULL is fine: leaves nothing */

/* The hidden name used by process 'pid' where the file system has no unnamed files:
 * what a killed writer may leave. */
void sink_part_name(pid_t pid, char *buf, size_t size);

#endif
