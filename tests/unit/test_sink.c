// SPDX-License-Identifier: MIT
/* A sink's file is whole or absent, in every mode and after every failure. */
#include "sink.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zstd.h>

#include <cmocka.h>

static char dir[64];
static int dir_fd = -1;

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_sink.XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir_fd >= 0);
	return 0;
}

static unsigned int entries(bool remove)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned int n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n++;
		if (remove)
			unlinkat(dir_fd, e->d_name, 0);
	}
	closedir(d);
	return n;
}

static int tear_down(void **state)
{
	(void)state;
	entries(true);
	close(dir_fd);
	rmdir(dir);
	return 0;
}

/* The file's bytes: len of them starting at 'at', and its size. */
static uint64_t look(const char *name, uint64_t at, void *buf, size_t len)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	if (len)
		assert_int_equal(pread(fd, buf, len, (off_t)at), len);
	close(fd);
	return (uint64_t)st.st_size;
}

static void test_plain(void **state)
{
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk = 0;
	char buf[8];

	(void)state;
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core", .compress = SINK_PLAIN },
				   &sink, &err),
			 0);
	assert_int_equal(entries(false), 0); /* no name while it is written */
	assert_int_equal(sink_write(sink, "begin", 5, &err), 0);
	assert_int_equal(sink_zeros(sink, (1ull << 30) - 5, &err), 0);
	assert_int_equal(sink_write(sink, "middle", 6, &err), 0);
	assert_int_equal(sink_zeros(sink, 1000, &err), 0);
	assert_int_equal(sink_written(sink), (1ull << 30) + 1006);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	assert_int_equal(look("core", 0, buf, 5), (1ull << 30) + 1006);
	assert_memory_equal(buf, "begin", 5);
	look("core", 1ull << 30, buf, 6);
	assert_memory_equal(buf, "middle", 6);
	assert_true(on_disk < 1u << 20); /* holes take no room */
}

/* Decompresses as 'zstd -d' does, frame after frame, and compares with a generator. */
static void test_zstd(void **state)
{
	static uint8_t data[300000], in[1 << 16], out[1 << 20];
	const uint64_t hole = (3ull << 30) + 17, small = 4096;
	const uint64_t total = 2 * sizeof(data) + small + hole;
	ZSTD_DCtx *dctx = ZSTD_createDCtx();
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk = 0, at = 0;
	size_t left = 1;
	ssize_t n;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251 + 1) | 1;
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core.zst", .compress = SINK_ZSTD },
				   &sink, &err),
			 0);
	assert_int_equal(sink_write(sink, data, sizeof(data), &err), 0);
	assert_int_equal(sink_zeros(sink, small, &err), 0);
	assert_int_equal(sink_write(sink, data, sizeof(data), &err), 0);
	assert_int_equal(sink_zeros(sink, hole, &err), 0);
	assert_int_equal(sink_written(sink), total);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	assert_true(on_disk < 2u << 20);

	fd = openat(dir_fd, "core.zst", O_RDONLY | O_CLOEXEC);
	while ((n = read(fd, in, sizeof(in))) > 0) {
		ZSTD_inBuffer ib = { in, (size_t)n, 0 };
		bool full = false; /* output was cut: there may be more without more input */

		while (ib.pos < ib.size || full) {
			ZSTD_outBuffer ob = { out, sizeof(out), 0 };

			left = ZSTD_decompressStream(dctx, &ob, &ib);
			assert_false(ZSTD_isError(left));
			full = ob.pos == ob.size;
			if (at >= 2 * sizeof(data) + small) {
				assert_int_equal(out[0], 0);
				assert_true(ob.pos < 2 || !memcmp(out, out + 1, ob.pos - 1));
			} else {
				for (size_t i = 0; i < ob.pos; i++) {
					uint64_t p = at + i;
					uint8_t want = p < sizeof(data) ? data[p]
						       : p < sizeof(data) + small || p >= 2 * sizeof(data) + small
							       ? 0
							       : data[p - sizeof(data) - small];

					assert_int_equal(out[i], want);
				}
			}
			at += ob.pos;
		}
	}
	close(fd);
	ZSTD_freeDCtx(dctx);
	assert_int_equal(left, 0); /* the last frame is whole */
	assert_int_equal(at, total);
}

static void test_empty_zstd(void **state)
{
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk, size;
	uint8_t buf[64], out[8];

	(void)state;
	assert_int_equal(
		sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "c", .compress = SINK_ZSTD }, &sink, &err), 0);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	size = look("c", 0, NULL, 0);
	assert_in_range(size, 1, sizeof(buf));
	look("c", 0, buf, size);
	assert_int_equal(ZSTD_decompress(out, sizeof(out), buf, size), 0);
}

static void test_taken_name(void **state)
{
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk;
	char target[128];
	int fd;

	(void)state;
	snprintf(target, sizeof(target), "%s/elsewhere", dir);
	assert_int_equal(symlinkat(target, dir_fd, "link"), 0);
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "link", .compress = SINK_PLAIN },
				   &sink, &err),
			 -EEXIST);
	assert_non_null(strstr(err.text, "'link'"));

	/* taken while it is written: nothing is replaced, nothing is left */
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core", .compress = SINK_PLAIN },
				   &sink, &err),
			 0);
	assert_int_equal(sink_write(sink, "new", 3, &err), 0);
	fd = openat(dir_fd, "core", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	assert_int_equal(sink_commit(sink, &on_disk, &err), -EEXIST);
	assert_int_equal(look("core", 0, target, 3), 3);
	assert_memory_equal(target, "old", 3);
	assert_int_equal(entries(false), 2);
}

static void test_bad_names(void **state)
{
	const char *const bad[] = { "", ".", "..", "a/b", "/tmp/x", "../x" };
	struct err err = { "" };
	struct sink *sink;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(
			sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = bad[i], .compress = SINK_PLAIN },
				  &sink, &err),
			-EINVAL);
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = -1, .name = "x", .compress = SINK_PLAIN }, &sink,
				   &err),
			 -EBADF);
	assert_int_equal(entries(false), 0);
}

static void test_abort(void **state)
{
	struct err err = { "" };
	struct sink *sink;

	(void)state;
	sink_abort(NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd,
								.name = "core",
								.compress = i ? SINK_ZSTD : SINK_PLAIN },
					   &sink, &err),
				 0);
		assert_int_equal(sink_write(sink, "half", 4, &err), 0);
		sink_abort(sink);
		assert_int_equal(entries(false), 0);
	}
}

static void test_no_room(void **state)
{
	struct err err = { "" };
	struct sink *sink;

	(void)state;
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core", .expect_bytes = 1ull << 60 },
				   &sink, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.text, "are needed"));
	assert_int_equal(entries(false), 0);
}

/* A write that the system refuses half-way: short count first, then the error. */
static void test_refused_write(void **state)
{
	static uint8_t data[1 << 16];
	struct rlimit old, small;
	struct err err = { "" };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (int i = 0; i < 2; i++) {
		struct sink *sink;
		uint64_t on_disk;
		unsigned int x = 1;
		int r = 0;

		assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd,
								.name = "core",
								.compress = i ? SINK_ZSTD : SINK_PLAIN },
					   &sink, &err),
				 0);
		small = old;
		small.rlim_cur = 200000;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		for (int k = 0; k < 64 && r == 0; k++) {
			for (size_t j = 0; j < sizeof(data); j++)
				data[j] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
			r = sink_write(sink, data, sizeof(data), &err);
		}
		if (r == 0)
			r = sink_commit(sink, &on_disk, &err);
		else
			sink_abort(sink);
		setrlimit(RLIMIT_FSIZE, &old);
		assert_int_equal(r, -EFBIG);
		assert_non_null(strstr(err.text, "'core'"));
		assert_int_equal(entries(false), 0);
	}
	signal(SIGXFSZ, SIG_DFL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_zstd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty_zstd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_taken_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_abort, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused_write, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
