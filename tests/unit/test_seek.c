// SPDX-License-Identifier: MIT
/* Any range of any zstd file, with or without a seek table; what is cut off, altered or
 * a lie of the table is said and never believed. */
#include "seek.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>

#include <cmocka.h>

#define FRAME_BYTES 65536u
#define FRAMES 9u
#define CONTENT (FRAMES * FRAME_BYTES - 100)
#define FILE_MAX (2u << 20)

static uint8_t content[CONTENT];

struct file {
	uint8_t data[FILE_MAX];
	size_t len;
};

static struct file file;

static void put32(struct file *f, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		f->data[f->len++] = (uint8_t)(n >> (8 * i));
}

static size_t put_frame(struct file *f, const uint8_t *data, size_t len, bool sized)
{
	ZSTD_CCtx *cctx = ZSTD_createCCtx();
	ZSTD_inBuffer in = { data, len, 0 };
	ZSTD_outBuffer out = { f->data + f->len, FILE_MAX - f->len, 0 };

	ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
	if (sized)
		ZSTD_CCtx_setPledgedSrcSize(cctx, len);
	else
		assert_int_equal(ZSTD_compressStream2(cctx, &out, &(ZSTD_inBuffer){ data, 0, 0 }, ZSTD_e_flush), 0);
	assert_int_equal(ZSTD_compressStream2(cctx, &out, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(cctx);
	f->len += out.pos;
	return out.pos;
}

static size_t frame_len(size_t i)
{
	return MIN(FRAME_BYTES, CONTENT - i * FRAME_BYTES);
}

/* Frames and their table, where row 'lie' says 'by' bytes of content more than there are. */
static void make_table_file(size_t lie, uint32_t by)
{
	uint32_t packed[FRAMES];

	file.len = 0;
	for (size_t i = 0; i < FRAMES; i++)
		packed[i] = (uint32_t)put_frame(&file, content + i * FRAME_BYTES, frame_len(i), true);
	put32(&file, 0x184d2a5e);
	put32(&file, FRAMES * 8 + 9);
	for (size_t i = 0; i < FRAMES; i++) {
		put32(&file, packed[i]);
		put32(&file, (uint32_t)frame_len(i) + (i == lie ? by : 0));
	}
	put32(&file, FRAMES);
	file.data[file.len++] = 0;
	put32(&file, 0x8f92eab1);
}

static struct seek *open_file(int *fd)
{
	struct err err = { "" };
	struct seek *seek = NULL;

	*fd = memfd_create("test_seek", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(write(*fd, file.data, file.len), file.len);
	if (seek_open(*fd, &seek, &err) < 0)
		fail_msg("%s", err.text);
	return seek;
}

static void done(struct seek *seek, int fd)
{
	seek_close(seek);
	close(fd);
}

static int set_up(void **state)
{
	unsigned int x = 7;

	(void)state;
	for (size_t i = 0; i < CONTENT; i++) {
		x = x * 1103515245 + 12345;
		content[i] = i / 50000 % 2 ? (uint8_t)(x >> 24) : (uint8_t)(i / 300);
	}
	return 0;
}

static void reads_right(struct seek *seek)
{
	static uint8_t buf[CONTENT + 10];
	struct err err = { "" };
	unsigned int x = 99;

	assert_int_equal(seek_size(seek), CONTENT);
	assert_null(seek_damage(seek));
	for (int i = 0; i < 300; i++) {
		size_t off = (x = x * 1103515245 + 12345) / 7 % (CONTENT + 5);
		size_t len = (x = x * 1103515245 + 12345) / 7 % (i % 3 ? 5000 : CONTENT);
		size_t want = off < CONTENT ? MIN(len, CONTENT - off) : 0;

		assert_int_equal(seek_read(seek, off, buf, len, &err), want);
		assert_memory_equal(buf, content + MIN(off, CONTENT), want);
	}
	assert_int_equal(seek_read(seek, 0, buf, sizeof(buf), &err), CONTENT);
	assert_memory_equal(buf, content, CONTENT);
	assert_int_equal(seek_read(seek, UINT64_MAX, buf, 1, &err), 0);
	assert_int_equal(seek_check(seek, NULL, NULL, &err), 0);
}

static void test_table(void **state)
{
	struct seek *seek;
	int fd;

	(void)state;
	make_table_file(FRAMES, 0);
	seek = open_file(&fd);
	assert_true(seek_is_zstd(seek));
	assert_true(seek_has_table(seek));
	reads_right(seek);
	done(seek, fd);
}

/* The same frames without a table, frames of unknown size, one frame for everything. */
static void test_no_table(void **state)
{
	struct seek *seek;
	int fd;

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		file.len = 0;
		if (kind == 1) { /* something that readers skip */
			put32(&file, 0x184d2a53);
			put32(&file, 3);
			file.len += 3;
		}
		for (size_t i = 0; i < FRAMES && kind < 3; i++)
			put_frame(&file, content + i * FRAME_BYTES, frame_len(i), kind != 2);
		if (kind == 3)
			put_frame(&file, content, CONTENT, false);
		seek = open_file(&fd);
		assert_true(seek_is_zstd(seek));
		assert_false(seek_has_table(seek));
		reads_right(seek);
		done(seek, fd);
	}
}

static void test_plain(void **state)
{
	struct seek *seek;
	int fd;

	(void)state;
	memcpy(file.data, content, CONTENT);
	file.len = CONTENT;
	seek = open_file(&fd);
	assert_false(seek_is_zstd(seek));
	reads_right(seek);
	done(seek, fd);
}

/* A frame larger than what is kept: forward and backward, in pieces. */
static void test_large_frame(void **state)
{
	const size_t large = 6u << 20;
	uint8_t *data = malloc(large), buf[1000];
	struct err err = { "" };
	struct seek *seek;
	int fd;

	(void)state;
	for (size_t i = 0; i < large; i++)
		data[i] = (uint8_t)(i >> 12) ^ (uint8_t)(i >> 5);
	file.len = 0;
	put_frame(&file, data, large, true);
	seek = open_file(&fd);
	assert_int_equal(seek_size(seek), large);
	for (size_t i = 0; i < 40; i++) {
		size_t off = i * 2654435761u % (large - sizeof(buf));

		assert_int_equal(seek_read(seek, off, buf, sizeof(buf), &err), sizeof(buf));
		assert_memory_equal(buf, data + off, sizeof(buf));
	}
	assert_int_equal(seek_read(seek, large - 7, buf, sizeof(buf), &err), 7);
	assert_int_equal(seek_check(seek, NULL, NULL, &err), 0);
	done(seek, fd);
	free(data);
}

/* Cut anywhere: what is whole can be read, and the place is told. */
static void test_cut(void **state)
{
	static uint8_t buf[CONTENT];
	struct err err = { "" };
	size_t whole;

	(void)state;
	make_table_file(FRAMES, 0);
	whole = file.len;
	for (size_t len = 12; len < whole; len += 6007) {
		struct seek *seek;
		uint64_t size;
		int fd;

		file.len = len;
		seek = open_file(&fd);
		size = seek_size(seek);
		assert_true(size < CONTENT);
		assert_int_equal(size % FRAME_BYTES, 0);
		assert_non_null(seek_damage(seek));
		assert_non_null(strstr(seek_damage(seek), "cut off"));
		assert_int_equal(seek_read(seek, 0, buf, size, &err), size);
		assert_memory_equal(buf, content, size);
		assert_int_equal(seek_read(seek, size, buf, 1, &err), -EBADMSG);
		assert_int_equal(seek_check(seek, NULL, NULL, &err), -EBADMSG);
		done(seek, fd);
	}
}

/* One byte altered: in the frames, every one of them; or in the table. Never wrong content. */
static void test_altered(void **state)
{
	static uint8_t buf[CONTENT];
	struct err err = { "" };

	(void)state;
	make_table_file(FRAMES, 0);
	for (size_t at = 0; at < file.len; at += at + 60 < file.len ? 997 : 1) {
		struct seek *seek;
		int fd, checked;

		file.data[at] ^= 0x21;
		seek = open_file(&fd);
		err.text[0] = '\0';
		checked = seek_check(seek, NULL, NULL, &err);
		if (!seek_is_zstd(seek)) {
			assert_true(at < 4);
		} else if (checked == 0) { /* the name of the skippable frame, or the footer's: then it is no table */
			assert_true(at > file.len - 100);
			assert_int_equal(seek_read(seek, 0, buf, CONTENT, &err), CONTENT);
			assert_memory_equal(buf, content, CONTENT);
		} else {
			assert_int_equal(checked, -EBADMSG);
			assert_non_null(strstr(err.text, "byte"));
		}
		done(seek, fd);
		file.data[at] ^= 0x21;
	}
}

static void test_lying_table(void **state)
{
	static uint8_t buf[CONTENT + 100];
	const uint32_t lies[] = { 1, (uint32_t)-1, 100000, 1u << 31 };
	struct err err = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct seek *seek;
		int fd;

		make_table_file(3, lies[i]);
		seek = open_file(&fd);
		assert_int_equal(seek_check(seek, NULL, NULL, &err), -EBADMSG);
		assert_int_equal(seek_read(seek, 0, buf, 3u * FRAME_BYTES, &err), 3 * FRAME_BYTES);
		if (seek_has_table(seek))
			assert_int_equal(seek_read(seek, 3 * FRAME_BYTES, buf, FRAME_BYTES + 1, &err), -EBADMSG);
		done(seek, fd);
	}
}

static void test_not_a_file(void **state)
{
	struct err err = { "" };
	struct seek *seek;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(seek_open(fd[0], &seek, &err), -ESPIPE);
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(seek_open(-1, &seek, &err), -EBADF);
	seek_close(NULL);
}

static int stop_at(void *arg, uint64_t done_bytes, struct err *err)
{
	return done_bytes >= *(uint64_t *)arg ? err_say(err, -ECANCELED, "enough") : 0;
}

static void test_check_ends(void **state)
{
	uint64_t enough = 3 * FRAME_BYTES;
	struct err err = { "" };
	struct seek *seek;
	int fd;

	(void)state;
	make_table_file(FRAMES, 0);
	seek = open_file(&fd);
	assert_int_equal(seek_check(seek, stop_at, &enough, &err), -ECANCELED);
	assert_string_equal(err.text, "enough");
	done(seek, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	    cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_plain),	    cmocka_unit_test(test_large_frame),
		cmocka_unit_test(test_cut),	    cmocka_unit_test(test_altered),
		cmocka_unit_test(test_lying_table), cmocka_unit_test(test_not_a_file),
		cmocka_unit_test(test_check_ends),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
