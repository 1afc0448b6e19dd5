// SPDX-License-Identifier: MIT
/* A sink's file is whole or absent, in every mode and after every failure; compressed it
 * is what zstd and seek.h read, frame by frame. */
#include "ktime.h"
#include "seek.h"
#include "sink.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <zstd.h>

#include <cmocka.h>

#define MIB (1u << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static char dir[64];
static int dir_fd = -1;

/* What the system is made to answer. */
static struct {
	bool no_thread;
	unsigned int odd_writes; /* every so many-th is interrupted, the next one is short */
	uint64_t disk_bytes;	 /* size of the disk that is played; 0: the real one */
	uint64_t disk_free;
	unsigned int writes, looks;
	uint64_t put;
} fake;

/* The next one of this name, past the ones below. */
static void *real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	assert_non_null(found);
	return found;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = real("pthread_create");

	return fake.no_thread ? EAGAIN : next(thread, attr, start, arg);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	ssize_t (*next)(int, const void *, size_t, off_t) = real("pwrite64");
	ssize_t n;

	fake.writes++;
	if (fake.odd_writes && fake.writes % fake.odd_writes == 0) {
		errno = EINTR;
		return -1;
	}
	n = next(fd, buf, fake.odd_writes && fake.writes % fake.odd_writes == 1 ? (len + 2) / 3 : len, off);
	fake.put += n > 0 ? (uint64_t)n : 0;
	return n;
}

int fstatvfs(int fd, struct statvfs *st)
{
	int (*next)(int, struct statvfs *) = real("fstatvfs64");
	int r = next(fd, st);

	fake.looks++;
	if (r == 0 && fake.disk_bytes) {
		st->f_frsize = 4096;
		st->f_blocks = fake.disk_bytes / 4096;
		st->f_bavail = (fake.disk_free - MIN(fake.put, fake.disk_free)) / 4096;
	}
	return r;
}

static int set_up(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
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

static uint32_t random32(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*x >> 32);
}

/* Data of all kinds and holes of all lengths, always the same. */
static void feed(struct sink *sink, unsigned int pieces)
{
	static uint8_t data[3 * MIB];
	struct err err = { "" };
	uint64_t x = 1;

	for (unsigned int i = 0; i < pieces; i++) {
		uint32_t kind = random32(&x) % 4, len = random32(&x) % (i % 5 ? 9000 : sizeof(data));
		uint32_t hole = random32(&x) % (i % 7 ? 12000 : 40 * MIB);

		for (uint32_t k = 0; k < len; k++)
			data[k] = kind == 0 ? 0x5a : kind == 1 ? (uint8_t)(k / 50) : (uint8_t)random32(&x);
		assert_int_equal(sink_write(sink, data, len, &err), 0);
		assert_int_equal(sink_zeros(sink, i % 11 ? hole & ~4095u : hole, &err), 0);
	}
}

static uint64_t make(const char *name, enum sink_compress compress, unsigned int pieces)
{
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk, written;

	assert_int_equal(
		sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = name, .compress = compress }, &sink, &err), 0);
	feed(sink, pieces);
	written = sink_written(sink);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	return written;
}

static void same_content(const char *name, const char *as_name)
{
	static uint8_t a[MIB], b[MIB];
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), as_fd = openat(dir_fd, as_name, O_RDONLY | O_CLOEXEC);
	struct err err = { "" };
	struct seek *seek;
	uint64_t size = look(as_name, 0, NULL, 0);

	assert_int_equal(seek_open(fd, &seek, &err), 0);
	assert_int_equal(seek_size(seek), size);
	for (uint64_t at = 0; at < size; at += sizeof(a)) {
		ssize_t n = pread(as_fd, a, sizeof(a), (off_t)at);

		assert_int_equal(seek_read(seek, at, b, sizeof(b), &err), n);
		assert_memory_equal(a, b, (size_t)n);
	}
	if (seek_is_zstd(seek))
		assert_true(seek_has_table(seek));
	assert_int_equal(seek_check(seek, NULL, NULL, &err), 0);
	seek_close(seek);
	close(fd);
	close(as_fd);
}

static void test_same_content(void **state)
{
	(void)state;
	make("core", SINK_PLAIN, 60);
	make("core.zst", SINK_ZSTD, 60);
	same_content("core.zst", "core");
	/* no thread can be made; writes are interrupted and short */
	for (int i = 0; i < 4; i++) {
		fake.no_thread = i & 1;
		fake.odd_writes = i & 2 ? 5 : 0;
		make("again", SINK_PLAIN, 60);
		make("again.zst", SINK_ZSTD, 60);
		fake.odd_writes = 0;
		same_content("again", "core");
		same_content("again.zst", "core");
		assert_int_equal(unlinkat(dir_fd, "again", 0), 0);
		assert_int_equal(unlinkat(dir_fd, "again.zst", 0), 0);
	}
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Each frame alone, the last first, as its row of the table says. 5000 small ones: more
 * rows than are kept in memory. */
static void test_frames(void **state)
{
	static uint8_t out[16 * MIB];
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk, size, at, total = 0;
	const uint8_t *map, *table;
	uint32_t rows;
	int fd;

	(void)state;
	assert_int_equal(
		sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "c", .compress = SINK_ZSTD }, &sink, &err), 0);
	feed(sink, 20);
	for (uint32_t i = 0; i < 2500; i++) {
		assert_int_equal(sink_write(sink, &i, sizeof(i), &err), 0);
		assert_int_equal(sink_zeros(sink, 300000 + i * 37, &err), 0);
	}
	at = sink_written(sink);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	size = look("c", 0, NULL, 0);
	fd = openat(dir_fd, "c", O_RDONLY | O_CLOEXEC);
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);

	assert_int_equal(le32(map + size - 4), 0x8f92eab1);
	assert_int_equal(map[size - 5], 0);
	rows = le32(map + size - 9);
	assert_true(rows > 5000);
	table = map + size - 9 - rows * 8;
	assert_int_equal(le32(table - 8), 0x184d2a5e);
	assert_int_equal(le32(table - 4), rows * 8 + 9);
	size = (uint64_t)(table - 8 - map);
	for (uint32_t i = rows; i-- > 0;) {
		uint32_t packed = le32(table + i * 8), content = le32(table + i * 8 + 4);

		assert_true(packed <= size);
		size -= packed;
		assert_int_equal(ZSTD_getFrameContentSize(map + size, packed), content);
		assert_int_equal(ZSTD_findFrameCompressedSize(map + size, packed), packed);
		assert_true(map[size + 4] & 4); /* a checksum, which is compared */
		assert_int_equal(ZSTD_decompress(out, sizeof(out), map + size, packed), content);
		assert_true(content <= MIB || (out[0] == 0 && !memcmp(out, out + 1, content - 1)));
		total += content;
	}
	assert_int_equal(size, 0);
	assert_int_equal(total, at);
}

/* The program that users have reads it as we do. */
static void test_zstd_program(void **state)
{
	char command[256];

	(void)state;
	if (system("zstd --version >/dev/null 2>&1") != 0)
		skip();
	make("core", SINK_PLAIN, 30);
	make("core.zst", SINK_ZSTD, 30);
	snprintf(command, sizeof(command), "cd %s && zstd -tq core.zst && zstd -dcq core.zst | cmp - core", dir);
	assert_int_equal(system(command), 0);
}

/* Writes what does not compress until it is refused, or 'most' is reached. */
static int write_much(struct sink *sink, uint64_t most, struct err *err)
{
	static uint8_t data[MIB];
	uint64_t x = 5, on_disk;
	int r = 0;

	for (uint64_t done = 0; done < most && r == 0; done += sizeof(data)) {
		for (size_t k = 0; k < sizeof(data); k += 4) {
			uint32_t n = random32(&x);

			memcpy(data + k, &n, sizeof(n));
		}
		r = sink_write(sink, data, sizeof(data), err);
	}
	if (r == 0)
		return sink_commit(sink, &on_disk, err);
	sink_abort(sink);
	return r;
}

static void test_max_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct sink_spec spec = { .dir_fd = dir_fd,
					  .name = "core",
					  .compress = i & 1 ? SINK_ZSTD : SINK_PLAIN,
					  .max_bytes = 5 * MIB + MIB / 2 };
		struct err err = { "" };
		struct sink *sink;

		fake.no_thread = i & 2;
		assert_int_equal(sink_open(&spec, &sink, &err), 0);
		assert_int_equal(sink_zeros(sink, 100 * MIB, &err), 0); /* holes do not count */
		fake.put = 0;
		assert_int_equal(write_much(sink, 64 * MIB, &err), -EFBIG);
		assert_true(fake.put <= spec.max_bytes);
		assert_true(fake.put > 4 * MIB);
		assert_non_null(strstr(err.text, "'core'"));
		assert_non_null(strstr(err.text, "5.5 MiB"));
		assert_non_null(strstr(err.text, "--max-size"));
		assert_int_equal(entries(false), 0);
		/* what just fits is written */
		spec.max_bytes = i & 1 ? 5 * MIB + 8192 : 5 * MIB;
		assert_int_equal(sink_open(&spec, &sink, &err), 0);
		assert_int_equal(write_much(sink, 5 * MIB, &err), 0);
		assert_int_equal(entries(true), 1);
	}
}

static void test_floor(void **state)
{
	struct sink_spec spec = { .dir_fd = dir_fd, .name = "core", .free_percent = 100 };
	struct err err = { "" };
	struct sink *sink;

	(void)state;
	assert_int_equal(sink_open(&spec, &sink, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "stay free"));
	fake.disk_bytes = 1000 * (uint64_t)MIB;
	for (int i = 0; i < 4; i++) {
		/* 60 MiB may be taken: by each of the limits, and it never is less than they say */
		spec.compress = i & 1 ? SINK_ZSTD : SINK_PLAIN;
		spec.free_percent = i & 2 ? 10 : 3;
		spec.free_bytes = i & 2 ? 0 : 100 * MIB;
		fake.put = 0;
		fake.disk_free = 160 * MIB;
		assert_int_equal(sink_open(&spec, &sink, &err), 0);
		fake.looks = 0;
		assert_int_equal(write_much(sink, 200 * MIB, &err), -ENOSPC);
		assert_true(fake.put <= 60 * MIB);
		assert_true(fake.put > 50 * MIB);
		assert_true(fake.looks >= 4 && fake.looks < 30);
		assert_int_equal(entries(false), 0);
		spec.expect_bytes = 61 * MIB;
		fake.put = 0;
		assert_int_equal(sink_open(&spec, &sink, &err), -ENOSPC);
		spec.expect_bytes = 0;
	}
}

static void test_rate(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct sink_spec spec = {
			.dir_fd = dir_fd, .name = "core", .compress = i & 1 ? SINK_ZSTD : SINK_PLAIN, .rate = 20 * MIB
		};
		struct err err = { "" };
		struct sink *sink;
		uint64_t start;

		fake.no_thread = i & 2;
		assert_int_equal(sink_open(&spec, &sink, &err), 0);
		start = now_ns();
		assert_int_equal(write_much(sink, 6 * MIB, &err), 0);
		assert_true(now_ns() - start > 200 * NSEC_PER_MSEC); /* 300, less what may come at once */
		assert_int_equal(entries(true), 1);
	}
}

static bool asked;
static unsigned int asks;

static bool cancel(void *arg UNUSED)
{
	return asked || (asks && --asks == 0);
}

/* While the caller waits for a disk that takes a byte a second, at the next write, at the
 * end; and an abort does not wait for it. */
static void test_cancel(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct sink_spec spec = {
			.dir_fd = dir_fd, .name = "core", .compress = i & 1 ? SINK_ZSTD : SINK_PLAIN, .rate = 1
		};
		struct err err = { "" };
		struct sink *sink;

		fake.no_thread = i & 2;
		asked = false;
		asks = 0;
		assert_int_equal(sink_open(&spec, &sink, &err), 0);
		sink_cancel_when(sink, cancel, NULL);
		if (i & 4) { /* it has been asked a few times before */
			asks = 8;
			assert_int_equal(write_much(sink, 64 * MIB, &err), -ECANCELED);
		} else {
			asked = true;
			assert_int_equal(sink_write(sink, "x", 1, &err), -ECANCELED);
			assert_non_null(strstr(err.text, "cancelled"));
			asked = false;
			sink_abort(sink);
			assert_int_equal(sink_open(&spec, &sink, &err), 0);
			assert_int_equal(sink_write(sink, "x", 1, &err), 0);
			asks = 3;
			sink_cancel_when(sink, cancel, NULL);
			assert_int_equal(write_much(sink, MIB, &err), -ECANCELED);
		}
		assert_int_equal(entries(false), 0);
	}
}

static long rss_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)))
			kib = strtol(line + strlen(key) + 1, NULL, 10);
	}
	fclose(f);
	return kib;
}

static void test_memory(void **state)
{
	static uint8_t warm[MIB];
	struct err err = { "" };
	struct sink *sink;
	FILE *f;
	long before;

	(void)state;
	if (SANITIZED) /* takes memory of its own */
		skip();
	memset(warm, 1, sizeof(warm));
	assert_int_equal(make("warm.zst", SINK_ZSTD, 20), make("warm", SINK_PLAIN, 20));
	assert_int_equal(
		sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "c", .compress = SINK_ZSTD }, &sink, &err), 0);
	f = fopen("/proc/self/clear_refs", "we");
	if (!f || fputs("5", f) < 0 || fclose(f) != 0)
		skip();
	before = rss_kib("VmRSS:");
	assert_int_equal(write_much(sink, 64 * MIB, &err), 0);
	assert_true(rss_kib("VmHWM:") - before < 5 * 1024);
	assert_true(rss_kib("VmHWM:") > before); /* that is what grew */
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
		cmocka_unit_test_setup_teardown(test_same_content, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_frames, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_zstd_program, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_max_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_floor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rate, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
