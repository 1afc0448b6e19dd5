/* SPDX-License-Identifier: MIT */
/* The build-id of an ELF file, as it lies on disk or as it is mapped: the same program
 * has the same. Opens nothing. Every byte is hostile. */
#ifndef REQTRAP_BUILDID_H
#define REQTRAP_BUILDID_H

#include "memory.h"

struct buildid {
	uint8_t byte[64];
	size_t len; /* 0: none is known */
};

/* Of a file: 'mem' is memory_of_fd of it. */
struct buildid buildid_of_file(const struct memory *mem);

/* Of one that is mapped from its first byte on at 'base'. */
struct buildid buildid_of_image(const struct memory *mem, uint64_t base);

/* Made by Go's own compiler: it leaves a note of its own. */
bool buildid_is_go(const struct memory *mem);

bool buildid_same(const struct buildid *one, const struct buildid *two);

#endif
