/* SPDX-License-Identifier: MIT */
/* Makes a zstd file of independent frames and the seek table at its end (zstd's 'seekable
 * format'), which decoders skip. Each frame has its size and checksum. Does not know where
 * the bytes go: 'put' takes them, in order. Memory: about 1.7 MiB for frames of 1 MiB. */
#ifndef REQTRAP_FRAMES_H
#define REQTRAP_FRAMES_H

#include "err.h"

#define FRAMES_ZEROS_LEAST (256u << 10) /* shorter runs are better left in the data */

struct frames;

/* A frame's content is at most content_max bytes. The table's rows that do not fit into
 * memory are kept in dir_fd, under no name (the caller's, as arg is). -ENOMEM. */
int frames_new(int dir_fd, size_t content_max, int (*put)(void *arg, const void *data, size_t len, struct err *err),
	       void *arg, struct frames **ret_frames);
void frames_free(struct frames *frames); /* NULL is fine */

/* One frame of len bytes; none of 0. What 'put' returns is passed on. */
int frames_add(struct frames *frames, const void *data, size_t len, struct err *err);

/* Frames made without looking at a zero. 0, or FRAMES_ZEROS_LEAST and more. */
int frames_zeros(struct frames *frames, uint64_t len, struct err *err);

/* The rest, and the table. */
int frames_end(struct frames *frames, struct err *err);

#endif
