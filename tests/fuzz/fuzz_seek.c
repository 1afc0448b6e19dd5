// SPDX-License-Identifier: MIT
/* A file with or without a seek table, whatever its bytes say: what is read in pieces is
 * what is read at once, never past the size, and what was checked can be read. */
#include "seek.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#define MOST (8u << 20)

/* All of it in pieces, from the end to the beginning. */
static ssize_t read_backward(struct seek *seek, uint8_t *buf, size_t size)
{
	size_t piece = size / 7 + 1;

	for (size_t end = size; end > 0;) {
		size_t at = end > piece ? end - piece : 0;
		struct err err = { "" };
		ssize_t n = seek_read(seek, at, buf + at, end - at, &err);

		if (n < 0) {
			assert(n == -EBADMSG && err.text[0]);
			return n;
		}
		assert((size_t)n == end - at);
		end = at;
	}
	return (ssize_t)size;
}

static void look(struct seek *seek)
{
	uint64_t size = seek_size(seek);
	struct err err = { "" };
	int checked = seek_check(seek, NULL, NULL, &err);
	uint8_t *a, *b, more;
	ssize_t whole, pieces;

	assert(checked == 0 || (checked == -EBADMSG && err.text[0]));
	assert(checked < 0 || !seek_damage(seek));
	assert(seek_read(seek, size, &more, 1, &err) <= 0);
	if (size > MOST)
		return;
	a = malloc(size + 1);
	b = malloc(size + 1);
	assert(a && b);
	pieces = read_backward(seek, b, size);
	whole = seek_read(seek, 0, a, size, &err);
	assert(whole == pieces);
	assert(whole < 0 || ((uint64_t)whole == size && !memcmp(a, b, size)));
	assert(checked < 0 || whole >= 0);
	free(a);
	free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(fd) int fd = memfd_create("fuzz_seek", MFD_CLOEXEC);
	struct err err = { "" };
	struct seek *seek;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	if (seek_open(fd, &seek, &err) == 0) {
		look(seek);
		seek_close(seek);
	} else {
		assert(err.text[0]);
	}
	return 0;
}
