/* SPDX-License-Identifier: MIT */
/* A file that is whole or absent: streamed under no name (or a hidden one), checked,
 * fsynced, then given its name. Never opens, follows or replaces what is there.
 * Does not know what it writes. A thread of its own (all signals blocked, below the
 * caller's priority) compresses and writes; the caller fills buffers, and blocks when
 * they are full. At most 5 MiB of memory.
 *
 * Compressed: zstd frames of at most 1 MiB of content each (of zeros: 16 MiB), each with
 * its size and checksum and readable alone, then a seek table that decoders skip: see
 * seek.h. The page cache never holds more than 16 MiB of the file. */
#ifndef REQTRAP_SINK_H
#define REQTRAP_SINK_H

#include "err.h"

#include <sys/types.h>

enum sink_compress { SINK_PLAIN, SINK_ZSTD };

struct sink;

struct sink_spec {
	int dir_fd;	  /* kept by the caller */
	const char *name; /* in it, no '/' */
	enum sink_compress compress;
	uint64_t expect_bytes; /* that it will take on disk, about: -ENOSPC at once if they are not free */
	uint64_t max_bytes;    /* on disk; 0: no limit. More: -EFBIG */
	uint64_t free_bytes;   /* to be left free on that disk at all times; 0: 64 MiB, or 1 % of a smaller disk */
	uint32_t free_percent; /* the same, of the disk's size; the larger of the two counts */
	uint64_t rate;	       /* bytes a second to the disk at most; 0: no limit. The thread waits, and
				* with it, its buffers full, the caller: a stop would last that long */
	bool urgent;	       /* somebody stands still meanwhile: the caller's priority for the thread too */
};

/* The file has mode 0600. -EEXIST: the name is taken. */
int sink_open(const struct sink_spec *spec, struct sink **ret_sink, struct err *err);

/* Asked at each write, and while one waits, in the caller's thread: true ends it with
 * -ECANCELED. */
void sink_cancel_when(struct sink *sink, bool (*asked)(void *arg), void *arg);

/* What fails in the thread is told by a later call. */
int sink_write(struct sink *sink, const void *data, size_t len, struct err *err);
int sink_zeros(struct sink *sink, uint64_t len, struct err *err); /* a hole, or next to nothing when compressed */
uint64_t sink_written(const struct sink *sink);			  /* bytes so far, before compression, holes included */
uint64_t sink_put(const struct sink *sink);			  /* ... and those that the file system has taken */

/* Flushes, syncs and names the file; frees the sink. On failure nothing is left.
 * -EEXIST: the name is taken. */
int sink_commit(struct sink *sink, uint64_t *ret_bytes_on_disk, struct err *err);
void sink_abort(struct sink *sink); /* NULL is fine: leaves nothing */

/* The hidden name used by process 'pid' where the file system has no unnamed files:
 * what a killed writer may leave. */
void sink_part_name(pid_t pid, char *buf, size_t size);

#endif
