// SPDX-License-Identifier: MIT
/* Rejected: one long frame (nothing in it can be read but from its beginning), zstd's
 * seekable library (no header of it in Debian). Trap: zeros are most of a core: their
 * frames are written by hand, run-length blocks of 128 KiB, so that terabytes cost no time;
 * the checksum of each is the hash of zeros, of which the slow part is made once. */
#include "frames.h"

#include "spool.h"

#include <string.h>
#include <zstd.h>

#define ZERO_FRAME_MAX (16u << 20)
#define ZERO_STEP (64u << 10)
#define BLOCK_BYTES (128u << 10)
#define TABLE_ROWS 4096u /* kept here, the others in a spool */
#define ALIGN 4096u

struct row {
	uint32_t packed, content; /* bytes; little endian */
};

struct frames {
	int dir_fd;
	int (*put)(void *arg, const void *data, size_t len, struct err *err);
	void *arg;
	ZSTD_CCtx *zstd;
	uint8_t *out; /* not put yet */
	size_t out_cap, out_len;
	struct row row[TABLE_ROWS];
	size_t rows;
	struct spool spool; /* the rows before those */
	uint64_t count;
	uint64_t lane[ZERO_FRAME_MAX / ZERO_STEP + 1][4]; /* of XXH64 after so many steps of zeros */
	size_t lanes;
};

int frames_new(int dir_fd, size_t content_max, int (*put)(void *arg, const void *data, size_t len, struct err *err),
	       void *arg, struct frames **ret_frames)
{
	struct frames *frames = calloc(1, sizeof(*frames));

	if (!frames)
		return -ENOMEM;
	frames->dir_fd = dir_fd;
	frames->put = put;
	frames->arg = arg;
	frames->spool.fd = -1;
	frames->zstd = ZSTD_createCCtx();
	frames->out_cap = ZSTD_compressBound(content_max) + content_max / 8;
	frames->out = malloc(frames->out_cap);
	if (!frames->zstd || !frames->out) {
		frames_free(frames);
		return -ENOMEM;
	}
	/* What does not compress costs little at this level: 3.5 GB a second, with checksum. */
	ZSTD_CCtx_setParameter(frames->zstd, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(frames->zstd, ZSTD_c_checksumFlag, 1);
	*ret_frames = frames;
	return 0;
}

void frames_free(struct frames *frames)
{
	if (!frames)
		return;
	ZSTD_freeCCtx(frames->zstd);
	spool_close(&frames->spool);
	free(frames->out);
	free(frames);
}

/* Puts whole pages only: a page is then written once. */
static int make_room(struct frames *frames, size_t len, struct err *err)
{
	size_t n = frames->out_len & ~(size_t)(ALIGN - 1);
	int r;

	if (frames->out_cap - frames->out_len >= len)
		return 0;
	r = frames->put(frames->arg, frames->out, n, err);
	frames->out_len -= n;
	memmove(frames->out, frames->out + n, frames->out_len);
	return r;
}

static void put_le32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> (8 * i));
}

static int add_row(struct frames *frames, size_t packed, size_t content, struct err *err)
{
	struct row *row;

	if (frames->rows == TABLE_ROWS) {
		int r = frames->spool.len ? 0 : spool_open(&frames->spool, frames->dir_fd);

		if (r == 0)
			r = spool_put(&frames->spool, frames->row, sizeof(*row) * TABLE_ROWS, NULL);
		if (r < 0)
			return err_sys(err, r, "cannot keep the seek table");
		frames->rows = 0;
	}
	row = &frames->row[frames->rows++];
	put_le32((uint8_t *)&row->packed, (uint32_t)packed);
	put_le32((uint8_t *)&row->content, (uint32_t)content);
	frames->count++;
	return 0;
}

static int put_frame(struct frames *frames, const void *data, size_t len, struct err *err)
{
	int r = make_room(frames, ZSTD_compressBound(len), err);
	size_t n;

	if (r < 0)
		return r;
	n = ZSTD_compress2(frames->zstd, frames->out + frames->out_len, frames->out_cap - frames->out_len, data, len);
	if (ZSTD_isError(n))
		return err_say(err, -EIO, "cannot compress: %s", ZSTD_getErrorName(n));
	frames->out_len += n;
	return add_row(frames, n, len, err);
}

#define XXH_1 0x9e3779b185ebca87u
#define XXH_2 0xc2b2ae3d27d4eb4fu
#define XXH_3 0x165667b19e3779f9u
#define XXH_4 0x85ebca77c2b2ae63u

static uint64_t rotate(uint64_t n, int bits)
{
	return n << bits | n >> (64 - bits);
}

static void step_lanes(uint64_t lane[4], size_t bytes)
{
	for (size_t i = 0; i < bytes / 32; i++) {
		for (int k = 0; k < 4; k++)
			lane[k] = rotate(lane[k], 31) * XXH_1;
	}
}

/* XXH64 of len zeros (32 at least), which is a frame's checksum; what 64 KiB more make of
 * it is kept, for the hash of 16 MiB takes a millisecond. */
static uint64_t hash_zeros(struct frames *frames, size_t len)
{
	uint64_t lane[4], hash;

	if (!frames->lanes) {
		memcpy(frames->lane[0], (uint64_t[]){ XXH_1 + XXH_2, XXH_2, 0, -XXH_1 }, sizeof(lane));
		frames->lanes = 1;
	}
	for (; frames->lanes <= len / ZERO_STEP; frames->lanes++) {
		memcpy(frames->lane[frames->lanes], frames->lane[frames->lanes - 1], sizeof(lane));
		step_lanes(frames->lane[frames->lanes], ZERO_STEP);
	}
	memcpy(lane, frames->lane[len / ZERO_STEP], sizeof(lane));
	step_lanes(lane, len % ZERO_STEP);
	hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
	for (int k = 0; k < 4; k++)
		hash = (hash ^ rotate(lane[k] * XXH_2, 31) * XXH_1) * XXH_1 + XXH_4;
	hash += len;
	for (size_t i = 0; i < len % 32 / 8; i++)
		hash = rotate(hash, 27) * XXH_1 + XXH_4;
	for (size_t i = 0; i < len % 8 / 4; i++)
		hash = rotate(hash, 23) * XXH_2 + XXH_3;
	for (size_t i = 0; i < len % 4; i++)
		hash = rotate(hash, 11) * XXH_1;
	hash = (hash ^ hash >> 33) * XXH_2;
	hash = (hash ^ hash >> 29) * XXH_3;
	return hash ^ hash >> 32;
}

/* A zstd frame (RFC 8878) of run-length blocks, with size and checksum, 128 KiB window. */
static int put_zero_frame(struct frames *frames, size_t len, struct err *err)
{
	static const uint8_t head[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x84, 0x38 };
	size_t packed = sizeof(head) + 4 + (len + BLOCK_BYTES - 1) / BLOCK_BYTES * 4 + 4, left = len;
	int r = make_room(frames, packed, err);
	uint8_t *p = frames->out + frames->out_len;

	if (r < 0)
		return r;
	memcpy(p, head, sizeof(head));
	put_le32(p + sizeof(head), (uint32_t)len);
	p += sizeof(head) + 4;
	while (left) {
		uint32_t size = (uint32_t)MIN(left, (size_t)BLOCK_BYTES);

		left -= size;
		put_le32(p, size << 3 | 1u << 1 | !left); /* three bytes, and the byte that repeats */
		p += 4;
	}
	put_le32(p, (uint32_t)hash_zeros(frames, len));
	frames->out_len += packed;
	return add_row(frames, packed, len, err);
}

static int put_table(struct frames *frames, struct err *err)
{
	uint64_t bytes = frames->count * sizeof(struct row) + 9, off = 0;
	uint8_t head[8], foot[9] = { 0 };
	uint8_t chunk[4096];
	int r;

	if (bytes > UINT32_MAX)
		return 0; /* no table can be that long: readers go from frame to frame */
	put_le32(head, 0x184d2a5e);
	put_le32(head + 4, (uint32_t)bytes);
	put_le32(foot, (uint32_t)frames->count);
	put_le32(foot + 5, 0x8f92eab1);
	r = frames->put(frames->arg, head, sizeof(head), err);
	for (; off < frames->spool.len && r == 0; off += sizeof(chunk)) {
		r = spool_get(&frames->spool, off, chunk, sizeof(chunk));
		if (r < 0)
			err_sys(err, r, "cannot read the seek table back");
		else
			r = frames->put(frames->arg, chunk, sizeof(chunk), err);
	}
	if (r == 0)
		r = frames->put(frames->arg, frames->row, frames->rows * sizeof(*frames->row), err);
	return r == 0 ? frames->put(frames->arg, foot, sizeof(foot), err) : r;
}

int frames_add(struct frames *frames, const void *data, size_t len, struct err *err)
{
	return len ? put_frame(frames, data, len, err) : 0;
}

int frames_zeros(struct frames *frames, uint64_t len, struct err *err)
{
	int r = 0;

	while (len && r == 0) {
		/* no rest that is too short for a frame */
		uint64_t n = len > ZERO_FRAME_MAX + FRAMES_ZEROS_LEAST ? ZERO_FRAME_MAX
			     : len > ZERO_FRAME_MAX		       ? ZERO_FRAME_MAX / 2
								       : len;

		r = put_zero_frame(frames, (size_t)n, err);
		len -= n;
	}
	return r;
}

int frames_end(struct frames *frames, struct err *err)
{
	int r = frames->count ? 0 : put_frame(frames, NULL, 0, err);

	if (r == 0)
		r = frames->put(frames->arg, frames->out, frames->out_len, err);
	frames->out_len = 0;
	return r == 0 ? put_table(frames, err) : r;
}
