// SPDX-License-Identifier: MIT
/* An index of frames, from the table at the end or by walking the headers of frames and
 * blocks (RFC 8878), and one decoder that goes forward in a frame. Rejected: trusting a
 * frame's size before it is decoded: a table may say anything, so what comes out of each
 * frame is counted. Trap: a frame may be the whole file (plain 'zstd'), so only small ones
 * are kept, and a read behind the last one goes on where that stopped. */
#include "seek.h"

#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define FRAMES_MAX (1u << 24) /* 16 TiB in frames of ours */
#define CACHE_MAX (4u << 20)
#define IN_BYTES (128u << 10)
#define PEEK_BYTES 4096u
#define BLOCK_MAX (128u << 10)
#define BLOCK_LEAST 4u /* bytes that such a block takes */
#define WINDOW_LOG_MAX 27

#define FRAME_MAGIC 0xfd2fb528u
#define SKIP_MAGIC 0x184d2a50u /* and 15 more */
#define TABLE_MAGIC 0x184d2a5eu
#define FOOTER_MAGIC 0x8f92eab1u
#define FOOTER_BYTES 9u
#define TABLE_CHECKSUMS 0x80u
#define TABLE_RESERVED 0x7cu

enum block_type { BLOCK_RAW, BLOCK_RUN, BLOCK_COMPRESSED, BLOCK_RESERVED };

struct frame {
	uint64_t at;	/* in the file */
	uint64_t start; /* in the content */
};

struct seek {
	int fd;
	bool zstd, table;
	uint64_t file_size, size;
	struct frame *frame; /* count of them, and one more that says where the last ends */
	size_t count, cap;
	struct err damage;

	/* the decoder */
	ZSTD_DCtx *dctx;
	uint8_t *in;
	ZSTD_inBuffer have;
	size_t current;	  /* frame that it is in */
	uint64_t in_at;	  /* next byte of the file to read */
	uint64_t out_at;  /* next byte of the content that comes out */
	bool ready, last; /* not to be started anew; the frame's end was seen */

	uint8_t *cache; /* one whole frame */
	size_t cache_cap, cached;
	bool is_cached;

	uint64_t zeros_size; /* of a frame of zeros that was checked, and its checksum */
	uint32_t zeros_sum;

	uint8_t peek[PEEK_BYTES];
	uint64_t peek_at;
	size_t peek_len;
};

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int damaged(struct err *err, uint64_t at, const char *what)
{
	return err_say(err, -EBADMSG, "the file is damaged at byte %llu: %s", (unsigned long long)at, what);
}

/* Up to len bytes; fewer at the end of the file. */
static ssize_t get(const struct seek *seek, uint64_t at, void *buf, size_t len, struct err *err)
{
	uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(seek->fd, p + done, len - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "cannot read the file at byte %llu",
				       (unsigned long long)(at + done));
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* --- the decoder --- */

static void start_frame(struct seek *seek, size_t i)
{
	ZSTD_DCtx_reset(seek->dctx, ZSTD_reset_session_only);
	seek->current = i;
	seek->in_at = seek->frame[i].at;
	seek->out_at = seek->frame[i].start;
	seek->have = (ZSTD_inBuffer){ .src = seek->in };
	seek->last = false;
	seek->ready = true;
}

static int open_decoder(struct seek *seek, struct err *err)
{
	if (!seek->dctx)
		seek->dctx = ZSTD_createDCtx();
	if (!seek->in)
		seek->in = malloc(IN_BYTES);
	if (!seek->dctx || !seek->in)
		return err_sys(err, -ENOMEM, "cannot decompress the file");
	ZSTD_DCtx_setParameter(seek->dctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return 0;
}

/* More of the current frame, to the end that its index tells. 0: it has no more. */
static ssize_t decode_some(struct seek *seek, void *buf, size_t len, struct err *err)
{
	uint64_t in_end = seek->frame[seek->current + 1].at;
	ZSTD_outBuffer out = { .dst = buf, .size = len };

	while (out.pos < out.size) {
		size_t left, before = seek->have.pos, out_before = out.pos;

		if (seek->have.pos == seek->have.size && seek->in_at < in_end) {
			ssize_t n = get(seek, seek->in_at, seek->in,
					(size_t)MIN(in_end - seek->in_at, (uint64_t)IN_BYTES), err);

			if (n <= 0)
				return n < 0 ? n : damaged(err, seek->in_at, "it has become shorter");
			seek->have = (ZSTD_inBuffer){ .src = seek->in, .size = (size_t)n };
			seek->in_at += (uint64_t)n;
			before = 0;
		} else if (seek->last && seek->have.pos == seek->have.size) {
			break;
		}
		left = ZSTD_decompressStream(seek->dctx, &out, &seek->have);
		if (ZSTD_isError(left))
			return damaged(err, seek->in_at - (seek->have.size - seek->have.pos), ZSTD_getErrorName(left));
		seek->last = left == 0;
		if (!seek->last && seek->have.pos == before && out.pos == out_before && seek->in_at >= in_end)
			return damaged(err, in_end, "a frame is cut off");
	}
	seek->out_at += out.pos;
	return (ssize_t)out.pos;
}

/* The frame must be as long as the index says, and end where it says. */
static int end_frame(struct seek *seek, struct err *err)
{
	uint8_t more;
	ssize_t n = decode_some(seek, &more, 1, err);

	if (n < 0)
		return (int)n;
	if (n > 0)
		return damaged(err, seek->frame[seek->current].at, "a frame holds more than is said");
	return 0;
}

/* Content [off, off+len), all of it in frame i. */
static int decode(struct seek *seek, size_t i, uint64_t off, uint8_t *buf, size_t len, struct err *err)
{
	uint8_t waste[4096];

	if (!seek->ready || seek->current != i || seek->out_at > off)
		start_frame(seek, i);
	while (len) {
		bool skip = seek->out_at < off;
		size_t want = skip ? (size_t)MIN(off - seek->out_at, (uint64_t)sizeof(waste)) : len;
		ssize_t n = decode_some(seek, skip ? waste : buf, want, err);

		if (n == 0)
			n = damaged(err, seek->frame[i].at, "a frame holds less than is said");
		if (n < 0) {
			seek->ready = false;
			return (int)n;
		}
		if (!skip) {
			buf += n;
			off += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	if (seek->out_at == seek->frame[i + 1].start) {
		int r = end_frame(seek, err);

		seek->ready = false;
		return r;
	}
	return 0;
}

/* --- the index --- */

/* Frame number 'count' begins here: the one before ends. */
static int add_frame(struct seek *seek, uint64_t at, uint64_t start, struct err *err)
{
	if (seek->count >= FRAMES_MAX)
		return err_say(err, -EFBIG, "the file has more than %u frames", FRAMES_MAX);
	if (seek->count + 2 > seek->cap) {
		size_t bigger = seek->cap ? seek->cap * 2 : 64;
		struct frame *more = realloc(seek->frame, bigger * sizeof(*more));

		if (!more)
			return err_sys(err, -ENOMEM, "cannot keep the index of the file");
		seek->frame = more;
		seek->cap = bigger;
	}
	seek->frame[seek->count++] = (struct frame){ at, start };
	return 0;
}

static void end_index(struct seek *seek, uint64_t at, uint64_t start)
{
	if (seek->count)
		seek->frame[seek->count] = (struct frame){ at, start };
	seek->size = start;
}

/* 1: at least len bytes are at *ret_p; 0: the file ends before. */
static int peek(struct seek *seek, uint64_t at, size_t len, const uint8_t **ret_p, struct err *err)
{
	if (at < seek->peek_at || at + len > seek->peek_at + seek->peek_len) {
		ssize_t n = at < seek->file_size ? get(seek, at, seek->peek, sizeof(seek->peek), err) : 0;

		if (n < 0)
			return (int)n;
		seek->peek_at = at;
		seek->peek_len = (size_t)n;
		if ((size_t)n < len)
			return 0;
	}
	*ret_p = seek->peek + (at - seek->peek_at);
	return 1;
}

struct head {
	size_t bytes;
	bool sized, checksum;
	uint64_t size;
};

/* The header of a zstd frame. 0: cut off. */
static int read_head(struct seek *seek, uint64_t at, struct head *ret_head, struct err *err)
{
	static const uint8_t id_bytes[] = { 0, 1, 2, 4 }, size_bytes[] = { 0, 2, 4, 8 };
	const uint8_t *p;
	uint64_t size = 0;
	size_t id, width;
	uint8_t flags;
	bool single;
	int r = peek(seek, at, 5, &p, err);

	if (r <= 0)
		return r;
	flags = p[4];
	if (flags & 0x08)
		return damaged(err, at + 4, "a frame's header is not of this format");
	single = flags & 0x20;
	id = id_bytes[flags & 3];
	width = flags >> 6 || !single ? size_bytes[flags >> 6] : 1;
	ret_head->bytes = 5 + !single + id + width;
	r = peek(seek, at, ret_head->bytes, &p, err);
	if (r <= 0)
		return r;
	for (size_t i = width; i > 0; i--)
		size = size << 8 | p[ret_head->bytes - width + i - 1];
	ret_head->size = size + (width == 2 ? 256 : 0);
	ret_head->sized = width > 0;
	ret_head->checksum = flags & 0x04;
	return 1;
}

struct blocks {
	uint64_t end;  /* behind the last */
	uint64_t most; /* that they hold; exactly that, unless some are compressed */
	bool exact;
	bool zeros; /* nothing else is in them */
};

/* Walks the blocks that begin at 'at'. 0: cut off. */
static int walk_blocks(struct seek *seek, uint64_t at, struct blocks *ret_blocks, struct err *err)
{
	struct blocks blocks = { .exact = true, .zeros = true };
	bool last = false;

	while (!last) {
		const uint8_t *p = NULL;
		uint32_t word, type, size;
		int r = peek(seek, at, 3, &p, err);

		if (r <= 0)
			return r;
		word = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
		last = word & 1;
		type = word >> 1 & 3;
		size = word >> 3;
		if (type == BLOCK_RESERVED || size > BLOCK_MAX)
			return damaged(err, at, "no block begins there");
		if (type == BLOCK_RUN && (r = peek(seek, at, BLOCK_LEAST, &p, err)) <= 0)
			return r;
		blocks.zeros &= type == BLOCK_RUN && !p[3];
		blocks.exact &= type != BLOCK_COMPRESSED;
		blocks.most += type == BLOCK_COMPRESSED ? BLOCK_MAX : size;
		at += 3 + (type == BLOCK_RUN ? 1 : size);
	}
	blocks.end = at;
	*ret_blocks = blocks;
	return 1;
}

/* A frame that does not tell its size, the last in the index: decoded to its end. */
static int measure_frame(struct seek *seek, uint64_t *ret_end, struct err *err)
{
	CLEAN(free) uint8_t *waste = malloc(BLOCK_MAX);
	ssize_t n;
	int r = open_decoder(seek, err);

	if (r == 0 && !waste)
		r = err_sys(err, -ENOMEM, "cannot decompress the file");
	if (r < 0)
		return r;
	start_frame(seek, seek->count - 1);
	while ((n = decode_some(seek, waste, BLOCK_MAX, err)) > 0)
		;
	seek->ready = false;
	*ret_end = seek->out_at;
	return (int)n;
}

/* One frame of any kind; 0: cut off. On 1, *at and *start are moved behind it. */
static int scan_frame(struct seek *seek, uint64_t *at, uint64_t *start, struct err *err)
{
	struct head head = { 0 };
	const uint8_t *p;
	struct blocks blocks = { 0 };
	uint64_t end;
	int r = peek(seek, *at, 8, &p, err);

	if (r <= 0)
		return r;
	if ((le32(p) & ~15u) == SKIP_MAGIC) {
		end = *at + 8 + le32(p + 4);
		if (end > seek->file_size)
			return 0;
		*at = end;
		return 1;
	}
	if (le32(p) != FRAME_MAGIC)
		return damaged(err, *at, "no frame begins there");
	r = read_head(seek, *at, &head, err);
	if (r > 0)
		r = walk_blocks(seek, *at + head.bytes, &blocks, err);
	if (r <= 0)
		return r;
	end = blocks.end + (head.checksum ? 4 : 0);
	if (end > seek->file_size)
		return 0;
	if (head.sized && (blocks.exact ? head.size != blocks.most : head.size > blocks.most))
		return damaged(err, *at, "a frame's size is not that of its blocks");
	r = add_frame(seek, *at, *start, err);
	if (r < 0)
		return r;
	seek->frame[seek->count] = (struct frame){ end, *start + (head.sized ? head.size : blocks.most) };
	if (!head.sized && !blocks.exact) {
		r = measure_frame(seek, &seek->frame[seek->count].start, err);
		if (r < 0)
			return r;
	}
	*at = end;
	*start = seek->frame[seek->count].start;
	return 1;
}

static int scan(struct seek *seek, struct err *err)
{
	struct err why = { "" };
	uint64_t at = 0, start = 0;
	int r = 1;

	seek->count = 0;
	while (r > 0 && at < seek->file_size) {
		size_t count = seek->count;

		r = scan_frame(seek, &at, &start, &why);
		if (r <= 0)
			seek->count = count;
	}
	if (r == 0 && !seek->damage.text[0])
		err_say(&seek->damage, 0,
			"the file is cut off: it ends at byte %llu in a frame that begins at byte %llu",
			(unsigned long long)seek->file_size, (unsigned long long)at);
	if (r == -EBADMSG && !seek->damage.text[0])
		seek->damage = why;
	if (r < 0 && r != -EBADMSG)
		return err_say(err, r, "%s", why.text);
	end_index(seek, at, start);
	return 0;
}

/* The table's rows. What does not add up is told in *why. */
static int read_rows(struct seek *seek, uint64_t table_at, uint32_t count, size_t row_bytes, const char **why,
		     struct err *err)
{
	uint64_t at = 0, start = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;
		uint32_t packed, content;
		int r = peek(seek, table_at + 8 + (uint64_t)i * row_bytes, row_bytes, &p, err);

		if (r == 0)
			r = damaged(err, table_at, "it has become shorter");
		if (r < 0)
			return r;
		packed = le32(p);
		content = le32(p + 4);
		*why = "the seek table's frames do not add up to the file";
		if (packed < 8 || packed > table_at - at || content > (uint64_t)packed / BLOCK_LEAST * BLOCK_MAX)
			return 0;
		r = add_frame(seek, at, start, err);
		if (r < 0)
			return r;
		at += packed;
		start += content;
	}
	if (at != table_at)
		return 0;
	*why = NULL;
	end_index(seek, at, start);
	return 0;
}

/* 1: the index is made from a table; 0: there is none, or none that can be believed. */
static int read_table(struct seek *seek, struct err *err)
{
	const char *why = "the seek table's size is not that of its frames";
	uint8_t footer[FOOTER_BYTES], head[8];
	uint64_t row_bytes, bytes, table_at;
	uint32_t count;
	int r;

	if (seek->file_size < sizeof(footer) + sizeof(head))
		return 0;
	r = (int)get(seek, seek->file_size - sizeof(footer), footer, sizeof(footer), err);
	if (r < 0)
		return r;
	if ((size_t)r < sizeof(footer) || le32(footer + 5) != FOOTER_MAGIC || footer[4] & TABLE_RESERVED)
		return 0;
	count = le32(footer);
	row_bytes = footer[4] & TABLE_CHECKSUMS ? 12 : 8;
	bytes = sizeof(head) + count * row_bytes + sizeof(footer);
	if (bytes <= seek->file_size) {
		table_at = seek->file_size - bytes;
		r = (int)get(seek, table_at, head, sizeof(head), err);
		if (r < 0)
			return r;
		if ((size_t)r == sizeof(head) && le32(head) == TABLE_MAGIC && le32(head + 4) == bytes - sizeof(head)) {
			r = read_rows(seek, table_at, count, row_bytes, &why, err);
			if (r < 0)
				return r;
			seek->table = !why;
		}
	}
	if (why)
		damaged(&seek->damage, seek->file_size - sizeof(footer), why);
	return seek->table;
}

int seek_open(int fd, struct seek **ret_seek, struct err *err)
{
	struct seek *seek;
	struct stat st;
	const uint8_t *p;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return err_say(err, -ESPIPE,
			       "it is not a regular file: only one that can be read at any place will do");
	seek = calloc(1, sizeof(*seek));
	if (!seek)
		return err_sys(err, -ENOMEM, "cannot read the file");
	seek->fd = fd;
	seek->file_size = seek->size = (uint64_t)st.st_size;
	r = peek(seek, 0, 4, &p, err);
	seek->zstd = r > 0 && (le32(p) == FRAME_MAGIC || (le32(p) & ~15u) == SKIP_MAGIC);
	if (r >= 0 && seek->zstd) {
		r = read_table(seek, err);
		if (r == 0)
			r = scan(seek, err);
		if (r >= 0)
			r = open_decoder(seek, err);
	}
	if (r < 0) {
		seek_close(seek);
		return r;
	}
	*ret_seek = seek;
	return 0;
}

void seek_close(struct seek *seek)
{
	if (!seek)
		return;
	ZSTD_freeDCtx(seek->dctx);
	free(seek->in);
	free(seek->cache);
	free(seek->frame);
	free(seek);
}

uint64_t seek_size(const struct seek *seek)
{
	return seek->size;
}

bool seek_is_zstd(const struct seek *seek)
{
	return seek->zstd;
}

bool seek_has_table(const struct seek *seek)
{
	return seek->table;
}

const char *seek_damage(const struct seek *seek)
{
	return seek->damage.text[0] ? seek->damage.text : NULL;
}

/* --- reading --- */

/* The frame that holds this byte of the content. Frames without content hold none. */
static size_t find_frame(const struct seek *seek, uint64_t off)
{
	size_t low = 0, high = seek->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (seek->frame[middle].start <= off)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int fill_cache(struct seek *seek, size_t i, struct err *err)
{
	size_t size = (size_t)(seek->frame[i + 1].start - seek->frame[i].start);
	int r;

	if (seek->is_cached && seek->cached == i)
		return 0;
	seek->is_cached = false;
	if (size > seek->cache_cap) {
		uint8_t *more = realloc(seek->cache, size);

		if (!more)
			return err_sys(err, -ENOMEM, "cannot decompress the file");
		seek->cache = more;
		seek->cache_cap = size;
	}
	seek->ready = false;
	r = decode(seek, i, seek->frame[i].start, seek->cache, size, err);
	seek->is_cached = r == 0;
	seek->cached = i;
	return r;
}

ssize_t seek_read(struct seek *seek, uint64_t off, void *buf, size_t len, struct err *err)
{
	uint8_t *p = buf;
	size_t done = 0;

	len = MIN(len, (size_t)SSIZE_MAX);
	if (!seek->zstd)
		return off < seek->size ? get(seek, off, buf, (size_t)MIN(seek->size - off, (uint64_t)len), err) : 0;
	while (done < len && off < seek->size) {
		size_t i = find_frame(seek, off), n;
		uint64_t start = seek->frame[i].start, end = seek->frame[i + 1].start;
		int r;

		n = (size_t)MIN(end - off, (uint64_t)(len - done));
		if (end - start > CACHE_MAX) {
			r = decode(seek, i, off, p + done, n, err);
		} else {
			r = fill_cache(seek, i, err);
			if (r == 0)
				memcpy(p + done, seek->cache + (off - start), n);
		}
		if (r < 0)
			return r;
		off += n;
		done += n;
	}
	if (done < len && seek->damage.text[0] && !seek->table)
		return err_say(err, -EBADMSG, "%s", seek->damage.text);
	return (ssize_t)done;
}

/* A frame of zeros as sinks write them by hand: its blocks tell all, a terabyte of them
 * need not be made. ret_sum: its checksum, 0 for none. */
static bool zero_frame(struct seek *seek, size_t i, uint32_t *ret_sum)
{
	const struct frame *frame = &seek->frame[i];
	struct blocks blocks;
	struct head head;
	const uint8_t *p = NULL;

	*ret_sum = 0;
	if (read_head(seek, frame->at, &head, NULL) != 1 || peek(seek, frame->at, 6, &p, NULL) != 1 || p[4] & 0x23 ||
	    p[5] != 0x38 || walk_blocks(seek, frame->at + head.bytes, &blocks, NULL) != 1 || !blocks.zeros ||
	    blocks.most != frame[1].start - frame->start || (head.sized && head.size != blocks.most) ||
	    blocks.end + 4 * head.checksum > frame[1].at)
		return false;
	if (head.checksum && peek(seek, blocks.end, 4, &p, NULL) != 1)
		return false;
	*ret_sum = head.checksum ? le32(p) : 0;
	return true;
}

uint64_t seek_data(struct seek *seek, uint64_t off)
{
	uint32_t sum;

	while (seek->zstd && off < seek->size) {
		size_t i = find_frame(seek, off);

		if (seek->frame[i + 1].start - seek->frame[i].start <= CACHE_MAX || !zero_frame(seek, i, &sum))
			break;
		off = seek->frame[i + 1].start;
	}
	return off;
}

static int check_frame(struct seek *seek, size_t i, uint8_t *waste, struct err *err)
{
	uint64_t at = seek->frame[i].start, end = seek->frame[i + 1].start;
	uint32_t sum;
	bool zeros;
	int r = 0;

	seek->ready = false;
	zeros = at < end && zero_frame(seek, i, &sum);
	if (zeros && sum && sum == seek->zeros_sum && end - at == seek->zeros_size)
		return 0; /* as one that was decompressed */
	if (at == end) {  /* a frame without content */
		start_frame(seek, i);
		r = end_frame(seek, err);
		seek->ready = false;
	}
	while (at < end && r == 0) {
		size_t n = (size_t)MIN(end - at, (uint64_t)BLOCK_MAX);

		r = decode(seek, i, at, waste, n, err);
		at += n;
	}
	if (zeros && r == 0) {
		seek->zeros_size = end - seek->frame[i].start;
		seek->zeros_sum = sum;
	}
	return r;
}

int seek_check(struct seek *seek, int (*go_on)(void *arg, uint64_t done_bytes, struct err *err), void *arg,
	       struct err *err)
{
	CLEAN(free) uint8_t *waste = malloc(BLOCK_MAX);
	int r = 0;

	if (!waste)
		return err_sys(err, -ENOMEM, "cannot check the file");
	for (size_t i = 0; i < seek->count && r == 0; i++) {
		r = check_frame(seek, i, waste, err);
		if (r == 0 && go_on)
			r = go_on(arg, seek->frame[i + 1].start, err);
	}
	for (uint64_t off = 0; !seek->zstd && off < seek->size && r == 0; off += BLOCK_MAX) {
		ssize_t n = get(seek, off, waste, BLOCK_MAX, err);

		r = n < 0 ? (int)n : 0;
		if (r == 0 && go_on)
			r = go_on(arg, MIN(off + BLOCK_MAX, seek->size), err);
	}
	if (r == 0 && seek->damage.text[0])
		r = err_say(err, -EBADMSG, "%s", seek->damage.text);
	return r;
}
