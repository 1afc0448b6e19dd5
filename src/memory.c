// SPDX-License-Identifier: MIT
/* Rejected: process_vm_readv. On a copy-on-write snapshot it pins and so copies
 * every page it reads; pread of /proc/PID/mem does not, and reads PROT_NONE too. */
#include "memory.h"

#include <string.h>

static ssize_t read_fd(void *arg, uint64_t addr, void *buf, size_t len)
{
	const int *fd = arg;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(*fd, (char *)buf + done, len - done, (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done == 0 && errno != EIO && errno != EFAULT)
			return -errno;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

struct memory memory_of_fd(const int *mem_fd)
{
	return (struct memory){ .read = read_fd, .arg = (void *)mem_fd };
}

int memory_get(const struct memory *mem, uint64_t addr, void *buf, size_t len)
{
	ssize_t n = mem->read(mem->arg, addr, buf, len);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EFAULT;
}

bool memory_u8(const struct memory *mem, uint64_t addr, uint8_t *ret)
{
	return memory_get(mem, addr, ret, sizeof(*ret)) == 0;
}

bool memory_u32(const struct memory *mem, uint64_t addr, uint32_t *ret)
{
	return memory_get(mem, addr, ret, sizeof(*ret)) == 0;
}

bool memory_u64(const struct memory *mem, uint64_t addr, uint64_t *ret)
{
	return memory_get(mem, addr, ret, sizeof(*ret)) == 0;
}

int memory_string(const struct memory *mem, uint64_t addr, char *buf, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		size_t want = MIN(size - 1 - len, (size_t)64);
		ssize_t n = mem->read(mem->arg, addr + len, buf + len, want);
		char *end;

		if (n <= 0) {
			if (len == 0)
				return -EFAULT;
			break;
		}
		end = memchr(buf + len, '\0', (size_t)n);
		if (end)
			return (int)(end - buf);
		len += (size_t)n;
	}
	buf[len] = '\0';
	return (int)len;
}
