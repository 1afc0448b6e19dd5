// SPDX-License-Identifier: MIT
/* A core that is whole, and what is said of it when one thing is wrong with it. */
#include "corefile.h"
#include "play_core.h"
#include "verify.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static char program[] = "/tmp/test_verify.XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(program);
	uint8_t page[0x1000];

	(void)state;
	play_program(page);
	assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(program);
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("core", MFD_CLOEXEC);

	assert_int_equal(write(fd, data, len), len);
	return fd;
}

static void dump_findings(const struct verify_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		print_message("%s %s: %s\n", verify_level_name(report->finding[i].level), report->finding[i].check,
			      report->finding[i].text);
}

static bool told(const struct verify_report *report, enum verify_level level, const char *text)
{
	for (size_t i = 0; i < report->count; i++) {
		if (report->finding[i].level == level && strstr(report->finding[i].text, text))
			return true;
	}
	return false;
}

static void test_whole(void **state)
{
	struct verify_report report;
	struct play_core c;
	struct err err;
	int fd;

	(void)state;
	play_core(&c, program);
	fd = file_of(c.byte, sizeof(c.byte));
	assert_int_equal(verify_core(fd, false, &report, &err), 0);
	close(fd);
	dump_findings(&report);
	assert_int_equal(report.count, 0);
	assert_int_equal(report.pid, 100);
	assert_string_equal(report.process, "play");
	assert_string_equal(report.kind, "full");
	assert_string_equal(report.method, "clone");
	assert_int_equal(report.pause_ns, 1500000);
	assert_int_equal(report.threads, 2);
	assert_int_equal(report.segments, PLAY_SEGMENTS);
	assert_int_equal(report.memory, 5 * 0x1000);
	assert_int_equal(report.data, 4 * 0x1000);
	assert_int_equal(report.in_files, 0x1000);
	assert_int_equal(report.libraries, 2);
	verify_done(&report);
}

/* --- one thing wrong --- */

static void set32(struct play_core *c, size_t at, uint32_t value)
{
	memcpy(c->byte + at, &value, sizeof(value));
}

static void set64(struct play_core *c, size_t at, uint64_t value)
{
	memcpy(c->byte + at, &value, sizeof(value));
}

static void many_headers(struct play_core *c)
{
	((Elf64_Ehdr *)(void *)c->byte)->e_phnum = 60000;
}

static void header_size(struct play_core *c)
{
	((Elf64_Ehdr *)(void *)c->byte)->e_phentsize = 32;
}

static void no_headers(struct play_core *c)
{
	((Elf64_Ehdr *)(void *)c->byte)->e_phnum = 0;
}

static void lost_extra_header(struct play_core *c)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)c->byte;

	h->e_phnum = PN_XNUM;
	h->e_shoff = UINT64_MAX - 8;
}

static void sections_lost(struct play_core *c)
{
	((Elf64_Ehdr *)(void *)c->byte)->e_shoff = PLAY_SIZE - 63;
	((Elf64_Ehdr *)(void *)c->byte)->e_shnum = 1;
	((Elf64_Ehdr *)(void *)c->byte)->e_shentsize = 64;
}

static void swapped(struct play_core *c)
{
	Elf64_Phdr one = *play_phdr(c, 4);

	*play_phdr(c, 4) = *play_phdr(c, 5);
	*play_phdr(c, 5) = one;
}

static void overlap(struct play_core *c)
{
	play_phdr(c, 1)->p_memsz = 0x1800;
	play_phdr(c, 1)->p_filesz = 0;
}

static void twice(struct play_core *c)
{
	play_phdr(c, 5)->p_vaddr = PLAY_VDSO;
}

static void beyond(struct play_core *c)
{
	play_phdr(c, 5)->p_vaddr = UINT64_MAX - 0xfff;
	play_phdr(c, 5)->p_memsz = 0x2000;
}

static void file_overflow(struct play_core *c)
{
	play_phdr(c, 5)->p_offset = UINT64_MAX - 0xfff;
	play_phdr(c, 5)->p_filesz = 0x2000;
	play_phdr(c, 5)->p_memsz = 0x2000;
}

static void unaligned(struct play_core *c)
{
	play_phdr(c, 2)->p_vaddr += 8;
}

static void incongruent(struct play_core *c)
{
	play_phdr(c, 2)->p_offset += 8;
}

static void too_long(struct play_core *c)
{
	play_phdr(c, 2)->p_filesz = 0x1800;
}

static void out_of_file(struct play_core *c)
{
	play_phdr(c, 5)->p_offset = 0x100000;
}

static void no_memory(struct play_core *c)
{
	for (size_t i = 1; i <= PLAY_SEGMENTS; i++)
		play_phdr(c, i)->p_type = PT_NULL;
}

static void note_too_long(struct play_core *c)
{
	set32(c, c->text - 20 + 4, 0x7fffffff);
}

static void name_too_long(struct play_core *c)
{
	set32(c, c->auxv - 20, 0xffffffff);
}

static void notes_cut(struct play_core *c)
{
	play_phdr(c, 0)->p_filesz -= 8;
}

static void notes_endless(struct play_core *c)
{
	play_phdr(c, 0)->p_filesz = COREFILE_NOTES_MAX + 1;
}

static void no_process(struct play_core *c)
{
	set32(c, c->process - 20 + 8, 77);
}

static void process_size(struct play_core *c)
{
	set32(c, c->process - 20 + 4, 132);
}

static void no_threads(struct play_core *c)
{
	set32(c, c->prstatus[0] - 20 + 8, 77);
	set32(c, c->prstatus[1] - 20 + 8, 77);
}

static void thread_lost(struct play_core *c)
{
	set32(c, c->prstatus[1] - 20 + 8, 77);
}

static void regs_size(struct play_core *c)
{
	set32(c, c->prstatus[1] - 20 + 4, 332);
}

static void no_vectors(struct play_core *c)
{
	set32(c, c->xstate[1] - 20 + 8, 77);
}

static void small_vectors(struct play_core *c)
{
	c->byte[c->xstate[1] + 464] = 0xe7; /* AVX-512 too: does not fit */
}

static void odd_vectors(struct play_core *c)
{
	set64(c, c->xstate[1] + 520, 1ull << 63); /* compacted, which no core has */
}

static void stack_elsewhere(struct play_core *c)
{
	set64(c, c->prstatus[1] + offsetof(struct elf_prstatus, pr_reg) + offsetof(struct user_regs_struct, rsp),
	      0x1234);
}

static void stack_bare(struct play_core *c)
{
	play_phdr(c, 5)->p_filesz = 0;
}

static void holder_first(struct play_core *c)
{
	set32(c, c->process + offsetof(struct elf_prpsinfo, pr_pid), 101);
}

static void no_auxv(struct play_core *c)
{
	set32(c, c->auxv - 20 + 8, 77);
}

static void no_phdr(struct play_core *c)
{
	set64(c, c->auxv, 77);
}

static void phdr_nowhere(struct play_core *c)
{
	set64(c, c->auxv + 8, 0x123456000);
}

static void no_vdso(struct play_core *c)
{
	c->byte[PLAY_DATA_AT + 0x2000] = 0;
}

static void no_files(struct play_core *c)
{
	set32(c, c->files - 20 + 8, 77);
}

static void files_many(struct play_core *c)
{
	set64(c, c->files, UINT64_MAX / 8);
}

static void files_short(struct play_core *c)
{
	set64(c, c->files, 3);
}

static void files_disorder(struct play_core *c)
{
	set64(c, c->files + 16, PLAY_STACK);
	set64(c, c->files + 24, PLAY_STACK + 0x1000);
}

static void files_outside(struct play_core *c)
{
	set64(c, c->files + 16 + 24 + 8, PLAY_TEXT + 0x3000);
}

static void file_gone(struct play_core *c)
{
	memcpy(c->byte + c->files + 64, "/nowh", 5);
	memcpy(c->byte + c->files + 64 + strlen(program) + 1, "/nowh", 5);
}

static void file_other(struct play_core *c)
{
	c->byte[PLAY_DATA_AT + PLAY_ID_AT + 16] ^= 1;
}

static void dynamic_lost(struct play_core *c)
{
	set64(c, PLAY_DATA_AT + 64 + 2 * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_vaddr), 0x99000);
}

static void list_lost(struct play_core *c)
{
	set64(c, PLAY_DATA_AT + 0x1000 + 0x200 + offsetof(struct link_map, l_next), 0x99000);
}

static void name_lost(struct play_core *c)
{
	set64(c, PLAY_DATA_AT + 0x1000 + 0x300 + offsetof(struct link_map, l_name), 0x99000);
}

static void says(struct play_core *c, const char *old, const char *new)
{
	char *at = strstr((char *)c->byte + c->text, old);

	assert_non_null(at);
	memcpy(at, new, strlen(new));
}

static void says_threads(struct play_core *c)
{
	says(c, "threads: 2", "threads: 9");
}

static void says_running(struct play_core *c)
{
	says(c, "not_stopped: 0", "not_stopped: 1");
}

static void says_omitted(struct play_core *c)
{
	says(c, "omitted: 0", "omitted: 4");
}

static void says_range(struct play_core *c)
{
	says(c, "comment: a play\nkind", "402000-403000 x\ty\nki");
}

static void says_later(struct play_core *c)
{
	says(c, "comment: a play\nkind", "700000-701000 x\ty\nki");
}

static void hostile_name(struct play_core *c)
{
	memcpy(c->byte + c->files + 64, "/\033[2J", 5);
	memcpy(c->byte + c->files + 64 + strlen(program) + 1, "/\033[2J", 5);
}

static const struct row {
	const char *name;
	void (*damage)(struct play_core *c);
	enum verify_level level;
	const char *text;
} rows[] = {
	{ "headers beyond the file", many_headers, VERIFY_MISSING, "of 60000 are there" },
	{ "size of headers", header_size, VERIFY_DAMAGED, "of 32 bytes each" },
	{ "no headers", no_headers, VERIFY_DAMAGED, "no program headers" },
	{ "PN_XNUM without its section", lost_extra_header, VERIFY_DAMAGED, "no program headers" },
	{ "section headers", sections_lost, VERIFY_DAMAGED, "ends before its section headers" },
	{ "swapped", swapped, VERIFY_DAMAGED,
	  "1 segment not in the order of their addresses, or twice (first at 0x700000)" },
	{ "overlap", overlap, VERIFY_DAMAGED, "1 segment overlapping the one before (first at 0x401000)" },
	{ "twice", twice, VERIFY_DAMAGED, "or twice (first at 0x700000)" },
	{ "end of addresses", beyond, VERIFY_DAMAGED, "beyond the end of all addresses" },
	{ "end of offsets", file_overflow, VERIFY_DAMAGED, "beyond the end of all addresses" },
	{ "unaligned", unaligned, VERIFY_DAMAGED, "not of whole pages (first at 0x401008)" },
	{ "incongruent", incongruent, VERIFY_DAMAGED, "does not fit their address (first at 0x401000)" },
	{ "too long", too_long, VERIFY_DAMAGED, "more data than memory (first at 0x401000)" },
	{ "out of the file", out_of_file, VERIFY_MISSING, "4096 bytes are missing" },
	{ "out of the file, stack", out_of_file, VERIFY_MISSING, "2 of 2 threads whose stack is not in it" },
	{ "no memory", no_memory, VERIFY_MISSING, "no memory in it" },
	{ "note's size", note_too_long, VERIFY_DAMAGED, "says it has 2147483" },
	{ "note's name", name_too_long, VERIFY_DAMAGED, "says it has 42949" },
	{ "notes cut", notes_cut, VERIFY_DAMAGED, "says it has 852 bytes, 844 are left" },
	{ "notes endless", notes_endless, VERIFY_DAMAGED, "more than 1 GiB of notes" },
	{ "no PRPSINFO", no_process, VERIFY_MISSING, "which process it is of" },
	{ "PRPSINFO's size", process_size, VERIFY_DAMAGED, "has 132 bytes, not 136" },
	{ "no threads", no_threads, VERIFY_MISSING, "no threads in it" },
	{ "a thread less", thread_lost, VERIFY_MISSING, "says it has 2 threads, and has 1" },
	{ "PRSTATUS's size", regs_size, VERIFY_DAMAGED, "1 of 2 threads with registers of a size" },
	{ "no XSTATE", no_vectors, VERIFY_MISSING, "1 of 2 threads without vector registers (first: thread 101)" },
	{ "XSTATE too small", small_vectors, VERIFY_DAMAGED, "do not fit their own header (first: thread 101)" },
	{ "XSTATE compacted", odd_vectors, VERIFY_DAMAGED, "do not fit their own header (first: thread 101)" },
	{ "stack nowhere", stack_elsewhere, VERIFY_MISSING,
	  "1 of 2 threads whose stack is not in it (first: thread 101)" },
	{ "stack without data", stack_bare, VERIFY_MISSING, "2 of 2 threads whose stack" },
	{ "the holder first", holder_first, VERIFY_NOTE, "thread 100 comes first" },
	{ "no auxv", no_auxv, VERIFY_MISSING, "no auxiliary vector" },
	{ "no AT_PHDR", no_phdr, VERIFY_MISSING, "lacks the program's headers" },
	{ "AT_PHDR nowhere", phdr_nowhere, VERIFY_MISSING, "at 0x123456000, is in no segment" },
	{ "no vdso", no_vdso, VERIFY_MISSING, "the vdso (AT_SYSINFO_EHDR) is not in it" },
	{ "no NT_FILE", no_files, VERIFY_MISSING, "no list of its files" },
	{ "NT_FILE's count", files_many, VERIFY_DAMAGED, "has no room for them" },
	{ "NT_FILE's rows", files_short, VERIFY_DAMAGED, "list of files" },
	{ "NT_FILE's order", files_disorder, VERIFY_DAMAGED, "not in order" },
	{ "NT_FILE and segments", files_outside, VERIFY_DAMAGED, "1 row of its list of files lie in no segment" },
	{ "a file gone", file_gone, VERIFY_HERE, "is not here" },
	{ "another build", file_other, VERIFY_HERE, "is another build here" },
	{ "a hostile name", hostile_name, VERIFY_HERE, "'/\\x1b[2J" },
	{ "dynamic section", dynamic_lost, VERIFY_MISSING, "the program's dynamic section is not in it" },
	{ "link map", list_lost, VERIFY_MISSING, "the list of loaded libraries is not in it" },
	{ "a library's name", name_lost, VERIFY_MISSING, "the name of a loaded library is not in it" },
	{ "says more threads", says_threads, VERIFY_MISSING, "says it has 9 threads, and has 2" },
	{ "says one ran on", says_running, VERIFY_MISSING, "1 thread ran on" },
	{ "says ranges are left out", says_omitted, VERIFY_MISSING, "4 more ranges are left out" },
	{ "names one", says_range, VERIFY_MISSING, "4 KiB are not in it: 402000-403000 x: y" },
	{ "names one that is in it", says_later, VERIFY_NOTE, "700000-701000 x: y" },
};

static void test_damaged(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verify_report report;
		struct play_core c;
		struct err err;
		int fd;

		play_core(&c, program);
		rows[i].damage(&c);
		fd = file_of(c.byte, sizeof(c.byte));
		assert_int_equal(verify_core(fd, false, &report, &err), 0);
		close(fd);
		if (!told(&report, rows[i].level, rows[i].text)) {
			dump_findings(&report);
			fail_msg("'%s' is not told", rows[i].name);
		}
		verify_done(&report);
	}
}

/* Cut off anywhere behind its header it is never whole. */
static void test_cut(void **state)
{
	struct play_core c;

	(void)state;
	play_core(&c, program);
	for (size_t len = 0; len < sizeof(c.byte); len += len < 0x1100 ? 7 : 97) {
		struct verify_report report;
		struct err err = { "" };
		int fd = file_of(c.byte, len), r = verify_core(fd, false, &report, &err);

		close(fd);
		if (len < sizeof(Elf64_Ehdr)) {
			assert_int_equal(r, -EINVAL);
			assert_true(err.text[0]);
			continue;
		}
		assert_int_equal(r, 0);
		assert_true(report.of_level[VERIFY_MISSING] > 0);
		verify_done(&report);
	}
}

static void test_no_core(void **state)
{
	struct verify_report report;
	struct play_core c;
	struct err err;
	int fd;

	(void)state;
	play_core(&c, program);
	for (size_t i = 0; i < 4; i++) {
		static const struct {
			size_t at;
			uint8_t value;
			const char *text;
		} row[] = { { 0, 0, "does not begin as ELF" },
			    { EI_CLASS, ELFCLASS32, "32-bit" },
			    { EI_DATA, ELFDATA2MSB, "big-endian" },
			    { 16, ET_DYN, "but a program or library" } };
		uint8_t old = c.byte[row[i].at];

		c.byte[row[i].at] = row[i].value;
		fd = file_of(c.byte, sizeof(c.byte));
		assert_int_equal(verify_core(fd, false, &report, &err), -EINVAL);
		assert_non_null(strstr(err.text, row[i].text));
		close(fd);
		c.byte[row[i].at] = old;
	}
}

/* A million segments, each found; and in little memory. */
static void test_million(void **state)
{
	enum { COUNT = 1000000 };
	Elf64_Shdr shdr = { .sh_info = COUNT };
	struct corefile_segment segment;
	struct corefile *core;
	struct play_core c;
	Elf64_Ehdr *h;
	struct err err;
	FILE *f;
	int fd = memfd_create("core", MFD_CLOEXEC);

	(void)state;
	play_core(&c, program);
	h = (Elf64_Ehdr *)(void *)c.byte;
	h->e_phnum = PN_XNUM;
	h->e_shoff = sizeof(*h);
	h->e_phoff = sizeof(*h) + sizeof(shdr);
	f = fdopen(dup(fd), "w");
	fwrite(h, sizeof(*h), 1, f);
	fwrite(&shdr, sizeof(shdr), 1, f);
	for (uint64_t i = 0; i < COUNT; i++) {
		Elf64_Phdr phdr = { .p_type = i % 7 ? PT_LOAD : PT_NULL, .p_vaddr = i << 13, .p_memsz = 0x1000 };

		fwrite(&phdr, sizeof(phdr), 1, f);
	}
	fclose(f);
	assert_int_equal(corefile_open(fd, &core, &err), 0);
	assert_int_equal(corefile_count(core), COUNT);
	for (uint64_t i = 0; i < COUNT; i += 997) {
		assert_int_equal(corefile_find(core, (i << 13) + 0xfff, &segment), i % 7 != 0);
		assert_false(corefile_find(core, (i << 13) + 0x1000, &segment));
	}
	corefile_close(core);
	close(fd);
}

static void test_memory(void **state)
{
	struct corefile *core;
	struct memory memory;
	struct play_core c;
	struct err err;
	uint8_t buf[0x3000];
	int fd;

	(void)state;
	play_core(&c, program);
	fd = file_of(c.byte, sizeof(c.byte));
	assert_int_equal(corefile_open(fd, &core, &err), 0);
	memory = corefile_memory(core);
	/* over the seam of two segments, up to the one without data */
	assert_int_equal(memory.read(memory.arg, PLAY_PROGRAM + 0x10, buf, sizeof(buf)), 0x1ff0);
	assert_memory_equal(buf, c.byte + PLAY_DATA_AT + 0x10, 0x1ff0);
	assert_int_equal(memory.read(memory.arg, PLAY_TEXT, buf, 1), 0);
	assert_int_equal(memory.read(memory.arg, PLAY_PROGRAM - 1, buf, 2), 0);
	assert_int_equal(memory.read(memory.arg, UINT64_MAX, buf, 2), 0);
	corefile_close(core);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	cmocka_unit_test(test_damaged), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_no_core), cmocka_unit_test(test_million), cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
