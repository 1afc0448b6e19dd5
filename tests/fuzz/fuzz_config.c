// SPDX-License-Identifier: MIT
/* Rules files of any bytes. What is accepted must come back from what is written,
 * as the same rules; nothing may crash, leak or take for ever. */
#include "config.h"

#include <string.h>

static void write_out(const struct rules *rules, struct buf *out)
{
	buf_init(out, 16u << 20);
	config_write(rules, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rules rules = { 0 }, again = { 0 };
	struct buf problems, first, second;
	struct err err;

	if (size > 65536)
		return 0;
	buf_init(&problems, 16u << 20);
	if (config_parse("f", (const char *)data, size, &rules, &problems, &err) == 0) {
		write_out(&rules, &first);
		if (config_parse("g", first.data, first.len, &again, &problems, &err) != 0)
			abort();
		write_out(&again, &second);
		if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
			abort();
		buf_done(&first);
		buf_done(&second);
	} else if (problems.len == 0) {
		abort(); /* refused without a word */
	}
	rules_free(&rules);
	rules_free(&again);
	buf_done(&problems);
	return 0;
}
