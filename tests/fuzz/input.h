/* SPDX-License-Identifier: MIT */
/* Memory that is the fuzzer's input, repeated over the whole address space so that most
 * pointers lead somewhere. */
#ifndef REQTRAP_TESTS_INPUT_H
#define REQTRAP_TESTS_INPUT_H

#include "../../src/memory.h"

struct input {
	const uint8_t *data;
	size_t size;
	uint64_t reads, bytes; /* asked for so far */
};

static ssize_t read_input(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct input *in = arg;

	in->reads++;
	in->bytes += len;
	if (addr >> 47) /* not an address of a process */
		return 0;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = in->data[(addr + i) % in->size];
	return (ssize_t)len;
}

#endif
