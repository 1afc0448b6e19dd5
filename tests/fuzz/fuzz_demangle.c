// SPDX-License-Identifier: MIT
/* Symbol names of any bytes: it ends, and writes within its buffer. */
#include "demangle.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = malloc(size + 3), buf[200];

	if (!name)
		return 0;
	memcpy(name, "_Z", 2);
	memcpy(name + 2, data, size);
	name[size + 2] = '\0';
	if (demangle(name, buf, sizeof(buf)))
		assert(buf[0] && strlen(buf) < sizeof(buf));
	free(name);
	return 0;
}
