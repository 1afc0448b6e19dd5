/* SPDX-License-Identifier: MIT */
/* A target's memory as ranges plus a read callback: the same unwinder, language
 * readers and core writer serve a live process, a frozen copy and a core file.
 * Does not know what the bytes mean. Every byte read is hostile. */
#ifndef REQTRAP_MEMORY_H
#define REQTRAP_MEMORY_H

#include "util.h"

struct memory {
	/* Reads up to len bytes at addr; returns the count (0 = nothing there) or
	 * negative errno. Never reads past an unmapped page, so a short count is normal. */
	ssize_t (*read)(void *arg, uint64_t addr, void *buf, size_t len);
	void *arg;
};

/* Over an open /proc/PID/mem (the fd stays the caller's). Does not stop anything. */
struct memory memory_of_fd(const int *mem_fd);

/* All of it, or -EFAULT. */
int memory_get(const struct memory *mem, uint64_t addr, void *buf, size_t len);

/* Little helpers for walkers: false when the memory is not there. */
bool memory_u8(const struct memory *mem, uint64_t addr, uint8_t *ret);
bool memory_u32(const struct memory *mem, uint64_t addr, uint32_t *ret);
bool memory_u64(const struct memory *mem, uint64_t addr, uint64_t *ret);

/* Reads at most size-1 bytes of a NUL-terminated string. Returns its length, or -EFAULT. */
int memory_string(const struct memory *mem, uint64_t addr, char *buf, size_t size);

#endif
