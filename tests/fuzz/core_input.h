/* SPDX-License-Identifier: MIT */
/* A core out of the fuzzer's input: a whole one with some bytes changed (three bytes of
 * input each: a place and a value; a place behind its end cuts it off), or, behind an 'R',
 * the input as it stands. */
#ifndef REQTRAP_TESTS_CORE_INPUT_H
#define REQTRAP_TESTS_CORE_INPUT_H

#include "../unit/play_core.h"

#include <sys/mman.h>

static int core_of(const uint8_t *data, size_t size)
{
	static struct play_core core;
	size_t len = sizeof(core.byte);
	int fd = memfd_create("core", MFD_CLOEXEC);

	if (size && data[0] == 'R') {
		if (write(fd, data + 1, size - 1) != (ssize_t)(size - 1))
			abort();
		return fd;
	}
	play_core(&core, "/bin/true");
	for (size_t i = 1; i + 3 <= size; i += 3) {
		size_t at = data[i] | (size_t)data[i + 1] << 8;

		if (at < sizeof(core.byte))
			core.byte[at] = data[i + 2];
		else
			len = at - sizeof(core.byte); /* cut off */
	}
	if (write(fd, core.byte, len) != (ssize_t)len)
		abort();
	return fd;
}

#endif
