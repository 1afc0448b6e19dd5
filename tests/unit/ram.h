/* SPDX-License-Identifier: MIT */
/* The memory of a process that is one array: what language readers walk in their tests. */
#ifndef REQTRAP_TESTS_RAM_H
#define REQTRAP_TESTS_RAM_H

#include "../../src/memory.h"

#include <string.h>

#define BASE 0x7f0000000000ull
#define SIZE (512u << 10)

struct ram {
	unsigned char data[SIZE];
	uint64_t used;
	unsigned int reads;
};

static ssize_t read_ram(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct ram *ram = arg;

	ram->reads++;
	if (addr < BASE || addr - BASE >= SIZE)
		return 0;
	len = MIN(len, (size_t)(SIZE - (addr - BASE)));
	memcpy(buf, ram->data + (addr - BASE), len);
	return (ssize_t)len;
}

static uint64_t take(struct ram *ram, size_t len)
{
	uint64_t at = BASE + ram->used;

	ram->used += (len + 15) & ~15ull;
	assert_true(ram->used <= SIZE);
	return at;
}

static void put(struct ram *ram, uint64_t addr, uint64_t value, size_t len)
{
	assert_in_range(addr, BASE, BASE + SIZE - len);
	memcpy(ram->data + (addr - BASE), &value, len);
}

#endif
