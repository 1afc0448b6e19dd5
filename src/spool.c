// SPDX-License-Identifier: MIT
/* Rejected: a mapping of the file (its pages would count as ours, and a full disk
 * would be a SIGBUS). */
#include "spool.h"

#include <fcntl.h>
#include <sys/mman.h>

int spool_open(struct spool *spool, int dir_fd)
{
	*spool = (struct spool){ .fd = -1 };
	if (dir_fd >= 0)
		spool->fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (spool->fd < 0)
		spool->fd = memfd_create("reqtrap-spool", MFD_CLOEXEC);
	return spool->fd < 0 ? -errno : 0;
}

void spool_close(struct spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
	*spool = (struct spool){ .fd = -1 };
}

void spool_reserve(struct spool *spool, uint64_t bytes)
{
	while (fallocate(spool->fd, FALLOC_FL_KEEP_SIZE, (off_t)spool->len, (off_t)bytes) < 0 && errno == EINTR)
		;
}

int spool_put(struct spool *spool, const void *data, size_t len, uint64_t *ret_off)
{
	const char *p = data;
	uint64_t off = spool->len;

	while (len) {
		ssize_t n = pwrite(spool->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	if (ret_off)
		*ret_off = spool->len;
	spool->len = off;
	return 0;
}

int spool_get(const struct spool *spool, uint64_t off, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = pread(spool->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
