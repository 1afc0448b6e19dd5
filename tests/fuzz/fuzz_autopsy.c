// SPDX-License-Identifier: MIT
/* Cores of any bytes to autopsy.c, as far as the analyst: what it makes of headers and
 * notes must be a memory map in order, and what it reads must lie in it. Inputs as those
 * of fuzz_corefile.c. */
#include "../../src/autopsy.c"

#include "core_input.h"

static void look_through(struct body *b)
{
	uint8_t page[ANALYST_PAGE_BYTES];
	uint64_t end = 0;
	uint32_t cut = 0;
	CLEAN(fd) int fd = memory_file("capture", "", 0);

	for (size_t i = 0; i < b->row_count; i++) {
		const struct row *row = &b->row[i];

		if (row->start < end || row->end <= row->start || row->file > b->file_count)
			abort();
		end = row->end;
		if (find_row(b, row->start) != row || find_row(b, row->end - 1) != row)
			abort();
		if (i < 50 && read_all(b, row->start, page, sizeof(page)) > (ssize_t)sizeof(page))
			abort();
	}
	for (size_t i = 0; i < b->thread_count && i < 20; i++) {
		struct capture_thread row;

		fill_thread(b, i, fd, 0, &cut, &row);
	}
	if (b->maps.count > b->row_count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(fd) int fd = core_of(data, size);
	const struct autopsy_spec spec = { .memory = true };
	struct autopsy_facts facts = { .pid = 0 };
	struct body b = { .spec = &spec, .facts = &facts };
	struct moment moment = { 0 };
	struct err err = { "" };

	if (corefile_open(fd, &b.core, &err) < 0)
		return 0;
	b.memory = corefile_memory(b.core);
	buf_init(&b.gone, 4096);
	if (look(&b, &err) == 0) {
		look_through(&b);
		if (read_moment(&b, 1, &moment, &err) == 0)
			moment_done(&moment);
	} else if (!err.text[0]) {
		abort();
	}
	done(&b);
	return 0;
}
