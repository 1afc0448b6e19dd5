/* SPDX-License-Identifier: MIT */
/* Reads what a sink has written, compressed or not, at any place: a zstd file of
 * independent frames with a seek table at its end, any other zstd file (its frames are
 * found one by one), any plain file. Does not know what the bytes mean. Every byte is
 * hostile. Blocks on the disk. Memory: 16 bytes a frame, one frame of at most 4 MiB, and
 * the window that a frame asks for, at most 128 MiB (1 MiB in files of ours). */
#ifndef REQTRAP_SEEK_H
#define REQTRAP_SEEK_H

#include "err.h"

struct seek;

/* The descriptor stays the caller's, its position is not used. Texts speak of 'the file'
 * and of bytes in it: err_wrap puts its name in front. A damaged file can be opened: see
 * seek_damage. Without a table, and only where frames do not tell their size, this
 * decompresses them once. -ESPIPE: not a file. -EFBIG: too many frames. */
int seek_open(int fd, struct seek **ret_seek, struct err *err);
void seek_close(struct seek *seek); /* NULL is fine */

uint64_t seek_size(const struct seek *seek); /* of the content; of a damaged file, as far as it is whole */
bool seek_is_zstd(const struct seek *seek);
bool seek_has_table(const struct seek *seek);

/* What is wrong with the file's own structure (cut off, a table that does not fit), and at
 * which byte; NULL: nothing that can be seen without decompressing it. */
const char *seek_damage(const struct seek *seek);

/* Returns how many bytes were read: len, or less at the end of the content; a short count
 * means nothing else. -EBADMSG: the file is damaged there. */
ssize_t seek_read(struct seek *seek, uint64_t off, void *buf, size_t len, struct err *err);

/* The first place from off on that is not in a long frame of nothing but zeros. Cheap
 * where it moves; a plain file's holes are not looked for. */
uint64_t seek_data(struct seek *seek, uint64_t off);

/* Decompresses everything, but of frames of zeros that are alike only the first. This
 * compares every frame's size and checksum; then -EBADMSG for what seek_damage tells. 'go_on' (NULL: none) is told now and then how many
 * bytes of content are done; a negative return ends the check with that code. Of a plain
 * file, only reads it. */
int seek_check(struct seek *seek, int (*go_on)(void *arg, uint64_t done_bytes, struct err *err), void *arg,
	       struct err *err);

#endif
