// SPDX-License-Identifier: MIT
/* Configuration files of IIS of any bytes: refused with a text, or turned into a file
 * that is accepted and holds as many rules as were told. */
#include "config.h"
#include "import.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rules rules = { 0 };
	struct buf out, problems;
	struct iis iis = { 0 };
	struct err err = { "" };
	int count;

	if (size > 65536)
		return 0;
	if (iis_parse("f", (const char *)data, size, &iis, &err) < 0) {
		if (!err.text[0])
			abort();
		iis_done(&iis);
		return 0;
	}
	buf_init(&out, CONFIG_BYTES_MAX);
	buf_init(&problems, 16u << 20);
	count = import_write(&iis, &out, &err);
	if (count > 0 &&
	    (config_parse("g", out.data, out.len, &rules, &problems, &err) != 0 || rules.count != (size_t)count))
		abort();
	rules_free(&rules);
	iis_done(&iis);
	buf_done(&out);
	buf_done(&problems);
	return 0;
}
