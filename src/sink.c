// SPDX-License-Identifier: MIT
/* O_TMPFILE + linkat. Rejected: the final name while writing (a reader takes half a
 * core for a whole one), rename over an existing file. Traps: a core is mostly zeros
 * and may span terabytes: holes cost nothing in a plain file, and compressed they are
 * written by hand as frames of run-length blocks, not fed through the compressor; a
 * gigabyte left dirty in the page cache slows the very server we serve: write-back is
 * started as we go and the pages are dropped. */
#include "sink.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <zstd.h>

#define WINDOW_BYTES (16u << 20)    /* written between two looks at the disk */
#define FREE_FLOOR (64u << 20)	    /* left free, or 1 % of a smaller disk */
#define ZERO_FRAME_MIN (256u << 10) /* shorter runs go through the compressor */
#define ZSTD_BLOCK (128u << 10)
#define ZSTD_WORKERS 2

struct sink {
	int fd, dir_fd;
	bool named; /* under the hidden name, which must be removed */
	char name[256];
	uint64_t written; /* by the caller */
	uint64_t offset;  /* in the file */
	uint64_t window;  /* where the current write-back window begins */
	ZSTD_CCtx *zstd;
	bool in_frame;
	uint8_t *out;
	size_t out_cap, out_len;
	bool (*cancel_asked)(void); /* NULL: nobody can */
};

static const uint8_t zeros[64 << 10];

void sink_part_name(pid_t pid, char *buf, size_t size)
{
	snprintf(buf, size, ".reqtrap-%d.part", (int)pid);
}

static int free_bytes(int fd, uint64_t *ret_free, uint64_t *ret_floor)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) < 0)
		return -errno;
	*ret_free = (uint64_t)st.f_bavail * st.f_frsize;
	*ret_floor = MIN((uint64_t)FREE_FLOOR, (uint64_t)st.f_blocks * st.f_frsize / 100);
	return 0;
}

static int open_file(struct sink *sink)
{
	char part[64];

	sink->fd = openat(sink->dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (sink->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return -errno;
	sink_part_name(getpid(), part, sizeof(part));
	sink->fd = openat(sink->dir_fd, part, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
	if (sink->fd < 0)
		return -errno;
	sink->named = true;
	return 0;
}

static int open_zstd(struct sink *sink)
{
	sink->zstd = ZSTD_createCCtx();
	sink->out_cap = ZSTD_CStreamOutSize();
	sink->out = malloc(sink->out_cap);
	if (!sink->zstd || !sink->out)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(sink->zstd, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(sink->zstd, ZSTD_c_checksumFlag, 1);
	/* A library built without threads refuses this, and then works without. */
	ZSTD_CCtx_setParameter(sink->zstd, ZSTD_c_nbWorkers, ZSTD_WORKERS);
	return 0;
}

int sink_open(const struct sink_spec *spec, struct sink **ret_sink, struct err *err)
{
	const char *name = spec->name;
	uint64_t expect_bytes = spec->expect_bytes;
	int dir_fd = spec->dir_fd;
	struct sink *sink;
	uint64_t avail = 0, floor = 0;
	int r;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255)
		return err_say(err, -EINVAL, "'%s' is not a file name", name);
	r = free_bytes(dir_fd, &avail, &floor);
	if (r < 0)
		return err_sys(err, r, "cannot write '%s'", name);
	if (avail < expect_bytes + floor)
		return err_say(err, -ENOSPC,
			       "cannot write '%s': about %llu MiB are needed, %llu MiB are free on that disk", name,
			       (unsigned long long)((expect_bytes + floor) >> 20), (unsigned long long)(avail >> 20));
	if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_sys(err, -EEXIST, "cannot write '%s'", name);
	sink = calloc(1, sizeof(*sink));
	if (!sink)
		return err_sys(err, -ENOMEM, "cannot write '%s'", name);
	sink->fd = -1;
	sink->dir_fd = dir_fd;
	snprintf(sink->name, sizeof(sink->name), "%s", name);
	r = open_file(sink);
	if (r == 0 && spec->compress == SINK_ZSTD)
		r = open_zstd(sink);
	if (r < 0) {
		sink_abort(sink);
		return err_sys(err, r, "cannot write '%s'", name);
	}
	*ret_sink = sink;
	return 0;
}

void sink_abort(struct sink *sink)
{
	char part[64];

	if (!sink)
		return;
	if (sink->named) {
		sink_part_name(getpid(), part, sizeof(part));
		unlinkat(sink->dir_fd, part, 0);
	}
	if (sink->fd >= 0)
		close(sink->fd);
	ZSTD_freeCCtx(sink->zstd);
	free(sink->out);
	free(sink);
}

/* Every window: is the disk still far from full; start write-back of this window,
 * wait for the one before and drop it. */
static int turn_window(struct sink *sink, struct err *err)
{
	uint64_t avail = 0, floor = 0;

	if (sink->offset - sink->window < WINDOW_BYTES)
		return 0;
	if (free_bytes(sink->fd, &avail, &floor) == 0 && avail < floor)
		return err_say(err, -ENOSPC, "cannot write '%s': less than %llu MiB are left free on the disk",
			       sink->name, (unsigned long long)(floor >> 20));
	sync_file_range(sink->fd, (off_t)sink->window, (off_t)(sink->offset - sink->window), SYNC_FILE_RANGE_WRITE);
	if (sink->window) {
		/* To the beginning of the file: short, for all before is clean. */
		sync_file_range(sink->fd, 0, (off_t)sink->window,
				SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		posix_fadvise(sink->fd, 0, (off_t)sink->window, POSIX_FADV_DONTNEED);
	}
	sink->window = sink->offset;
	return 0;
}

static int put_file(struct sink *sink, const void *data, size_t len, struct err *err)
{
	const char *p = data;

	while (len) {
		ssize_t n = pwrite(sink->fd, p, len, (off_t)sink->offset);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, n < 0 ? -errno : -EIO, "cannot write '%s'", sink->name);
		p += n;
		len -= (size_t)n;
		sink->offset += (uint64_t)n;
		r = turn_window(sink, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int flush_out(struct sink *sink, struct err *err)
{
	size_t len = sink->out_len;

	sink->out_len = 0;
	return put_file(sink, sink->out, len, err);
}

static int put_zstd(struct sink *sink, const void *data, size_t len, ZSTD_EndDirective how, struct err *err)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	size_t left;

	sink->in_frame = how != ZSTD_e_end;
	do {
		ZSTD_outBuffer out = { .dst = sink->out, .size = sink->out_cap, .pos = sink->out_len };
		int r;

		left = ZSTD_compressStream2(sink->zstd, &out, &in, how);
		if (ZSTD_isError(left))
			return err_say(err, -EIO, "cannot compress '%s': %s", sink->name, ZSTD_getErrorName(left));
		sink->out_len = out.pos;
		r = out.pos == out.size || how == ZSTD_e_end ? flush_out(sink, err) : 0;
		if (r < 0)
			return r;
	} while (how == ZSTD_e_end ? left != 0 : in.pos < in.size);
	return 0;
}

void sink_cancel_when(struct sink *sink, bool (*asked)(void))
{
	sink->cancel_asked = asked;
}

int sink_write(struct sink *sink, const void *data, size_t len, struct err *err)
{
	if (sink->cancel_asked && sink->cancel_asked())
		return err_say(err, -ECANCELED, "writing '%s' was cancelled", sink->name);
	sink->written += len;
	return sink->zstd ? put_zstd(sink, data, len, ZSTD_e_continue, err) : put_file(sink, data, len, err);
}

/* A zstd frame (RFC 8878) of run-length blocks: no size, no checksum, 128 KiB window. */
static int put_zero_frame(struct sink *sink, uint64_t len, struct err *err)
{
	static const uint8_t head[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38 };
	int r = sink->in_frame ? put_zstd(sink, NULL, 0, ZSTD_e_end, err) : 0;
	size_t used = sizeof(head);

	if (r < 0)
		return r;
	memcpy(sink->out, head, sizeof(head));
	while (len && r == 0) {
		uint32_t size = (uint32_t)MIN(len, (uint64_t)ZSTD_BLOCK);
		uint32_t block = size << 3 | 1u << 1 | (len == size);

		sink->out[used++] = (uint8_t)block;
		sink->out[used++] = (uint8_t)(block >> 8);
		sink->out[used++] = (uint8_t)(block >> 16);
		sink->out[used++] = 0;
		len -= size;
		if (used + 4 > sink->out_cap || !len) {
			sink->out_len = used;
			used = 0;
			r = flush_out(sink, err);
		}
	}
	return r;
}

int sink_zeros(struct sink *sink, uint64_t len, struct err *err)
{
	int r = 0;

	if (!sink->zstd) {
		sink->written += len;
		sink->offset += len;
		return 0;
	}
	if (len >= ZERO_FRAME_MIN) {
		sink->written += len;
		return put_zero_frame(sink, len, err);
	}
	while (len && r == 0) {
		size_t n = MIN(len, sizeof(zeros));

		r = sink_write(sink, zeros, n, err);
		len -= n;
	}
	return r;
}

uint64_t sink_written(const struct sink *sink)
{
	return sink->written;
}

static int give_name(struct sink *sink)
{
	char path[64], part[64];

	if (!sink->named) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", sink->fd);
		return linkat(AT_FDCWD, path, sink->dir_fd, sink->name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	}
	sink_part_name(getpid(), part, sizeof(part));
	if (renameat2(sink->dir_fd, part, sink->dir_fd, sink->name, RENAME_NOREPLACE) == 0) {
		sink->named = false;
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* File systems without that: a link never replaces; the hidden name goes in sink_abort. */
	return linkat(sink->dir_fd, part, sink->dir_fd, sink->name, 0) < 0 ? -errno : 0;
}

int sink_commit(struct sink *sink, uint64_t *ret_bytes_on_disk, struct err *err)
{
	struct stat st = { 0 };
	int r = 0;

	if (sink->zstd && (sink->in_frame || !sink->written))
		r = put_zstd(sink, NULL, 0, ZSTD_e_end, err);
	if (r == 0) {
		/* A hole at the end makes the file longer only this way. */
		if (ftruncate(sink->fd, (off_t)sink->offset) < 0 || fsync(sink->fd) < 0 || fstat(sink->fd, &st) < 0)
			r = -errno;
		if (r == 0)
			r = give_name(sink);
		if (r == 0 && fsync(sink->dir_fd) < 0 && errno != EINVAL) {
			r = -errno;
			unlinkat(sink->dir_fd, sink->name, 0);
		}
		if (r < 0)
			err_sys(err, r, "cannot write '%s'", sink->name);
	}
	if (r == 0)
		*ret_bytes_on_disk = (uint64_t)st.st_blocks * 512;
	sink_abort(sink);
	return r;
}
