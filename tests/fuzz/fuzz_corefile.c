// SPDX-License-Identifier: MIT
/* Cores of any bytes: a whole one with some bytes changed (three bytes of input each: a
 * place and a value), or the input as it stands. Nothing may be read out of bounds, what
 * is told must be printable, and memory must come out as it lies in the file. */
#include "core_input.h"
#include "corefile.h"
#include "verify.h"

static void read_memory(int fd)
{
	struct corefile *core;
	struct memory memory;
	struct err err;
	uint8_t buf[600];

	if (corefile_open(fd, &core, &err) < 0)
		return;
	memory = corefile_memory(core);
	for (size_t i = 0; i < corefile_count(core) && i < 100; i++) {
		struct corefile_segment segment;
		Elf64_Phdr phdr;

		if (corefile_phdr(core, i, &phdr) < 0)
			abort();
		if (corefile_find(core, phdr.p_vaddr, &segment) &&
		    (phdr.p_vaddr < segment.start || phdr.p_vaddr >= segment.end || segment.data_end > segment.end))
			abort();
		if (memory.read(memory.arg, phdr.p_vaddr + phdr.p_memsz / 2, buf, sizeof(buf)) < 0)
			abort();
	}
	corefile_close(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verify_report report;
	struct err err = { "" };
	int fd, r;

	if (size > 65536)
		return 0;
	fd = core_of(data, size);
	r = verify_core(fd, false, &report, &err);
	if (r < 0 && !err.text[0])
		abort();
	for (size_t i = 0; r == 0 && i < report.count; i++) {
		for (const char *p = report.finding[i].text; *p; p++) {
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				abort();
		}
	}
	if (r == 0)
		verify_done(&report);
	read_memory(fd);
	close(fd);
	return 0;
}
