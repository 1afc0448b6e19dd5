// SPDX-License-Identifier: MIT
/* HTTP/1 and FastCGI framing (src/bpf/walk.h): whole, cut anywhere, and by another parser. */
#include "../unit/play_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!framing_check(data, size))
		abort();
	return 0;
}
