/* SPDX-License-Identifier: MIT */
/* The few macros every file wants: scope cleanup, array length, bounds.
 * Knows nothing about reqtrap. */
#ifndef REQTRAP_UTIL_H
#define REQTRAP_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define UNUSED __attribute__((unused))
#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Cleanup by scope: 'CLEAN(fd) int fd = -1;' closes on every way out. */
#define CLEAN(kind) __attribute__((cleanup(clean_##kind)))

static inline void clean_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void clean_free(void *p)
{
	free(*(void **)p);
}

static inline void clean_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void clean_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline bool all_zeros(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* All of it, however often it takes; may block. 0, or what write(2) says. */
static inline int write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Hands an fd over to somebody else: the scope no longer closes it. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
