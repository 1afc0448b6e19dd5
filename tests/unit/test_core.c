// SPDX-License-Identifier: MIT
/* The core's layout, byte by byte, from a made-up memory; and the rules of contents.h. */
#include "core.h"

#include "contents.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BASE 0x10000000ull
#define PAGES 16

/* Page n holds n + 1 all over; 3 and 4 are present and zero, 6 to 9 absent, 12 unreadable. */
static ssize_t fake_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	(void)arg;
	while (done < len) {
		uint64_t page = (addr + done - BASE) / PAGE_BYTES;

		if (page == 12 || page >= PAGES)
			break;
		assert_false(page >= 6 && page <= 9); /* absent pages must not be touched */
		memset((char *)buf + done, page == 3 || page == 4 ? 0 : (int)page + 1, PAGE_BYTES);
		done += PAGE_BYTES;
	}
	return (ssize_t)done;
}

static int fake_pages(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	(void)arg;
	(void)kind;
	if (addr >= BASE + 6 * PAGE_BYTES && addr < BASE + 10 * PAGE_BYTES)
		addr = BASE + 10 * PAGE_BYTES;
	if (addr >= end)
		return 0;
	*ret_start = addr;
	*ret_end = addr < BASE + 6 * PAGE_BYTES ? MIN(end, BASE + 6 * PAGE_BYTES) : end;
	return 1;
}

static const struct core_source fake = { .memory = { .read = fake_read }, .pages = { .next = fake_pages } };

static unsigned int unread_count, asked;
static uint64_t unread_at;

static void count_unread(void *arg, uint64_t start, uint64_t end, const char *why)
{
	(void)arg;
	(void)why;
	assert_int_equal(end - start, PAGE_BYTES);
	unread_at = start;
	unread_count++;
}

static int go_on(void *arg, uint64_t done, struct err *err)
{
	(void)done;
	(void)err;
	asked++;
	return arg ? *(int *)arg : 0;
}

/* Writes the core into a folder of its own; maps the file. */
static const uint8_t *write_core(struct core *core, size_t *ret_len, int stop)
{
	struct core_watch watch = { .unread = count_unread, .go_on = go_on, .arg = stop ? &stop : NULL };
	char dir[] = "/tmp/test_core.XXXXXX";
	struct err err = { "" };
	struct sink *sink;
	uint64_t on_disk;
	struct stat st;
	const uint8_t *map;
	int dir_fd, fd, r;

	unread_count = asked = 0;
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core", .compress = SINK_PLAIN },
				   &sink, &err),
			 0);
	r = core_write(core, sink, &watch, &err);
	assert_int_equal(r, stop);
	if (stop) {
		sink_abort(sink);
		close(dir_fd);
		assert_int_equal(rmdir(dir), 0);
		return NULL;
	}
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	fd = openat(dir_fd, "core", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	*ret_len = (size_t)st.st_size;
	map = mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);
	unlinkat(dir_fd, "core", 0);
	close(dir_fd);
	rmdir(dir);
	return map;
}

struct note {
	char name[16];
	uint32_t type, len;
	const uint8_t *desc;
};

static size_t read_notes(const uint8_t *p, size_t len, struct note *note, size_t max)
{
	size_t n = 0;

	for (size_t at = 0; at < len; n++) {
		Elf64_Nhdr h;

		assert_true(n < max);
		memcpy(&h, p + at, sizeof(h));
		at += sizeof(h);
		assert_true(h.n_namesz <= sizeof(note[n].name));
		memcpy(note[n].name, p + at, h.n_namesz);
		at += (h.n_namesz + 3) & ~3u;
		note[n].type = h.n_type;
		note[n].len = h.n_descsz;
		note[n].desc = p + at;
		at += (h.n_descsz + 3) & ~3u;
		assert_true(at <= len);
	}
	return n;
}

/* What the notes of a core are made of. */
struct given {
	struct core_process process;
	struct core_thread thread[2];
	struct proc_maps maps;
	const uint64_t *auxv;
	size_t auxv_len;
	const char *text;
};

static int give(void *arg, struct core_notes *notes)
{
	const struct given *g = arg;

	core_add_thread(notes, &g->process, &g->thread[0]);
	core_add_process(notes, &g->process, g->auxv, g->auxv_len, &g->maps);
	core_add_text(notes, g->text, strlen(g->text) + 1);
	core_add_thread(notes, &g->process, &g->thread[1]);
	return 0;
}

static int give_text(void *arg, struct core_notes *notes)
{
	core_add_text(notes, arg, strlen(arg) + 1);
	return 0;
}

static void test_layout(void **state)
{
	static const char maps[] = "10000000-10010000 rw-p 00000000 00:00 0\n"
				   "7f0000000000-7f0000002000 r--p 00003000 08:01 5 /lib/x.so\n";
	struct given given = {
		.process = { .pid = 41, .ppid = 7, .uid = 33, .state = 'S', .comm = "nginx", .args = "nginx: worker" },
		.text = "rule: slow",
	};
	struct user_regs_struct first = { .rip = 0x1234, .rsp = 0x5678, .orig_rax = 232 }, second = { .rip = 1 };
	static uint8_t xstate[2688] = { 0xaa };
	struct core_segment segments[3] = {
		{ .start = BASE,
		  .end = BASE + PAGES * PAGE_BYTES,
		  .data_end = BASE + PAGES * PAGE_BYTES,
		  .flags = PF_R | PF_W,
		  .source = &fake },
		{ .start = 0x20000000, .end = 0x20010000, .data_end = 0x20000000, .source = &fake },
		{ .start = BASE + 0x10000000,
		  .end = BASE + 0x10002000,
		  .data_end = BASE + 0x10000000,
		  .flags = PF_X,
		  .source = &fake },
	};
	const uint64_t auxv[4] = { AT_ENTRY, 0x400000, AT_NULL, 0 };
	struct elf_prstatus status;
	struct elf_prpsinfo info;
	struct core core;
	struct note note[16];
	const Elf64_Phdr *ph;
	const uint8_t *file;
	Elf64_Ehdr eh;
	size_t len, n;
	uint64_t word;

	(void)state;
	core_init(&core);
	given.thread[0] =
		(struct core_thread){ .tid = 43, .regs = &first, .xstate = xstate, .xstate_len = sizeof(xstate) };
	given.thread[1] = (struct core_thread){ .tid = 41, .regs = &second };
	given.auxv = auxv;
	given.auxv_len = sizeof(auxv);
	assert_int_equal(proc_maps_parse(maps, strlen(maps), &given.maps), 0);
	core.notes = give;
	core.notes_arg = &given;
	for (size_t i = 0; i < ARRAY_LEN(segments); i++)
		assert_int_equal(core_add_segment(&core, &segments[i]), 0);
	file = write_core(&core, &len, 0);

	memcpy(&eh, file, sizeof(eh));
	assert_memory_equal(eh.e_ident, ELFMAG, SELFMAG);
	assert_int_equal(eh.e_type, ET_CORE);
	assert_int_equal(eh.e_machine, EM_X86_64);
	assert_int_equal(eh.e_phnum, 4);
	ph = (const Elf64_Phdr *)(file + eh.e_phoff);
	assert_int_equal(ph[0].p_type, PT_NOTE);
	n = read_notes(file + ph[0].p_offset, ph[0].p_filesz, note, ARRAY_LEN(note));
	assert_int_equal(n, 9);
	assert_int_equal(note[0].type, NT_PRSTATUS);
	memcpy(&status, note[0].desc, sizeof(status));
	assert_int_equal(status.pr_pid, 43); /* the holder comes first */
	assert_int_equal(status.pr_ppid, 7);
	assert_true(status.pr_fpvalid);
	assert_memory_equal(&status.pr_reg, &first, sizeof(first));
	assert_int_equal(note[1].type, NT_FPREGSET);
	assert_int_equal(note[1].len, 512);
	assert_int_equal(note[2].type, NT_X86_XSTATE);
	assert_string_equal(note[2].name, "LINUX");
	assert_int_equal(note[2].len, sizeof(xstate));
	assert_int_equal(note[3].type, NT_PRPSINFO);
	memcpy(&info, note[3].desc, sizeof(info));
	assert_int_equal(info.pr_pid, 41);
	assert_int_equal(info.pr_uid, 33);
	assert_string_equal(info.pr_fname, "nginx");
	assert_string_equal(info.pr_psargs, "nginx: worker");
	assert_int_equal(note[4].type, NT_SIGINFO);
	assert_int_equal(note[4].len, 128);
	assert_int_equal(note[5].type, NT_AUXV);
	assert_memory_equal(note[5].desc, auxv, sizeof(auxv));
	assert_int_equal(note[6].type, NT_FILE);
	memcpy(&word, note[6].desc, 8);
	assert_int_equal(word, 1); /* one mapping has a file */
	memcpy(&word, note[6].desc + 32, 8);
	assert_int_equal(word, 3); /* its offset, in pages */
	assert_string_equal((const char *)note[6].desc + 40, "/lib/x.so");
	assert_string_equal(note[7].name, "REQTRAP");
	assert_string_equal((const char *)note[7].desc, "rule: slow");
	assert_int_equal(note[8].type, NT_PRSTATUS);
	memcpy(&status, note[8].desc, sizeof(status));
	assert_int_equal(status.pr_pid, 41);
	assert_false(status.pr_fpvalid);

	assert_int_equal(ph[1].p_vaddr, BASE);
	assert_int_equal(ph[1].p_filesz, PAGES * PAGE_BYTES);
	assert_int_equal(ph[1].p_offset % PAGE_BYTES, 0);
	assert_int_equal(ph[1].p_flags, PF_R | PF_W);
	assert_int_equal(ph[2].p_filesz, 0);
	assert_int_equal(ph[2].p_memsz, 0x10000);
	assert_int_equal(len, ph[1].p_offset + ph[1].p_filesz);
	for (uint64_t page = 0; page < PAGES; page++) {
		const uint8_t *at = file + ph[1].p_offset + page * PAGE_BYTES;
		bool zero = page == 3 || page == 4 || (page >= 6 && page <= 9) || page == 12;

		assert_int_equal(at[0], zero ? 0 : page + 1);
		assert_memory_equal(at, at + 1, PAGE_BYTES - 1);
	}
	assert_int_equal(unread_count, 1);
	assert_int_equal(unread_at, BASE + 12 * PAGE_BYTES);
	assert_true(asked >= 1);
	munmap((void *)file, len);
	core_done(&core);
	proc_maps_free(&given.maps);
}

/* More segments than e_phnum can say: their number stands in section header 0. */
static void test_many_segments(void **state)
{
	const uint32_t many = 70000;
	const Elf64_Phdr *ph;
	const uint8_t *file;
	struct core core;
	Elf64_Ehdr eh;
	Elf64_Shdr sh;
	size_t len;

	(void)state;
	core_init(&core);
	core.notes = give_text;
	core.notes_arg = "x";
	for (uint32_t i = 0; i < many; i++) {
		struct core_segment seg = { .start = BASE + i * 2ull * PAGE_BYTES, .source = &fake };

		seg.end = seg.data_end = seg.start + PAGE_BYTES;
		if (i)
			seg.data_end = seg.start;
		assert_int_equal(core_add_segment(&core, &seg), 0);
	}
	file = write_core(&core, &len, 0);
	memcpy(&eh, file, sizeof(eh));
	assert_int_equal(eh.e_phnum, PN_XNUM);
	assert_int_equal(eh.e_shnum, 1);
	memcpy(&sh, file + eh.e_shoff, sizeof(sh));
	assert_int_equal(sh.sh_info, many + 1);
	ph = (const Elf64_Phdr *)(file + eh.e_phoff);
	assert_int_equal(ph[0].p_type, PT_NOTE);
	assert_int_equal(ph[many].p_vaddr, BASE + (many - 1) * 2ull * PAGE_BYTES);
	assert_int_equal(ph[1].p_offset % PAGE_BYTES, 0);
	assert_int_equal(file[ph[1].p_offset], 1);
	assert_int_equal(len, ph[1].p_offset + PAGE_BYTES);
	munmap((void *)file, len);
	core_done(&core);
}

static void test_told_to_end(void **state)
{
	struct core_segment seg = {
		.start = BASE, .end = BASE + PAGE_BYTES, .data_end = BASE + PAGE_BYTES, .source = &fake
	};
	struct core core;
	size_t len;

	(void)state;
	core_init(&core);
	core_add_segment(&core, &seg);
	write_core(&core, &len, -EBUSY);
	core_done(&core);
}

static void test_contents(void **state)
{
	static const struct {
		const char *perms, *name;
		uint64_t inode;
		bool dontdump, huge, changed, elf;
		unsigned int filter;
		enum contents want;
	} rows[] = {
		{ "rw-p", "[heap]", 0, false, false, true, false, FILTER_DEFAULT, CONTENTS_WHOLE },
		{ "rw-p", "", 0, false, false, true, false, FILTER_DEFAULT & ~FILTER_ANON_PRIVATE, CONTENTS_OMIT },
		{ "rw-p", "", 0, true, false, true, false, FILTER_DEFAULT, CONTENTS_OMIT },
		{ "r-xp", "/lib/x.so", 9, false, false, false, false, FILTER_DEFAULT, CONTENTS_FILE },
		{ "r--p", "/lib/x.so", 9, false, false, false, true, FILTER_DEFAULT, CONTENTS_HEADER },
		{ "r--p", "/lib/x.so", 9, false, false, false, true, FILTER_ANON_PRIVATE, CONTENTS_FILE },
		{ "rw-p", "/lib/x.so", 9, false, false, true, false, FILTER_DEFAULT, CONTENTS_WHOLE },
		{ "r-xp", "/lib/x.so (deleted)", 9, false, false, false, false, FILTER_DEFAULT, CONTENTS_WHOLE },
		{ "r-xp", "/lib/x.so", 9, false, false, false, false, 0x37, CONTENTS_WHOLE },
		{ "rw-s", "/dev/zero (deleted)", 9, false, false, false, false, FILTER_DEFAULT, CONTENTS_WHOLE },
		{ "rw-s", "/tmp/file", 9, false, false, false, false, FILTER_DEFAULT, CONTENTS_OMIT },
		{ "r--s", "/tmp/file", 9, false, false, false, false, FILTER_DEFAULT, CONTENTS_FILE },
		{ "rw-s", "/tmp/file", 9, false, false, false, false, 0x3b, CONTENTS_WHOLE },
		{ "rw-p", "/anon_hugepage (deleted)", 9, false, true, true, false, FILTER_DEFAULT, CONTENTS_WHOLE },
		{ "rw-s", "/anon_hugepage (deleted)", 9, false, true, true, false, FILTER_DEFAULT, CONTENTS_OMIT },
		{ "r-xp", "[vdso]", 0, true, false, false, false, 0, CONTENTS_WHOLE },
		{ "r--p", "[vvar]", 0, true, false, false, false, FILTER_DEFAULT, CONTENTS_SKIP },
		{ "--xp", "[vsyscall]", 0, false, false, false, false, FILTER_DEFAULT, CONTENTS_SKIP },
		{ "rw-p", "", 0, true, false, true, false, FILTER_EVERYTHING, CONTENTS_WHOLE },
		{ "r-xp", "/lib/x.so", 9, false, false, false, false, FILTER_EVERYTHING, CONTENTS_WHOLE },
		{ "rw-s", "/tmp/file", 9, false, false, false, false, FILTER_EVERYTHING, CONTENTS_WHOLE },
		{ "rw-s", "/anon_hugepage (deleted)", 9, false, true, true, false, FILTER_EVERYTHING, CONTENTS_WHOLE },
		{ "r--p", "[vvar]", 0, true, false, false, false, FILTER_EVERYTHING, CONTENTS_SKIP },
		{ "rw-s", "/dev/dri/card0 device", 9, true, false, false, false, FILTER_EVERYTHING, CONTENTS_OMIT },
		{ "rw-s", "/dev/dri/card0 device", 9, true, false, false, false, FILTER_DEFAULT, CONTENTS_OMIT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = NULL;
		struct proc_maps maps;
		enum contents got;
		char line[128];

		snprintf(line, sizeof(line), "1000-2000 %s 0 8:1 %llu %s\n", rows[i].perms,
			 (unsigned long long)rows[i].inode, rows[i].name);
		assert_int_equal(proc_maps_parse(line, strlen(line), &maps), 0);
		maps.map[0].dontdump = rows[i].dontdump;
		maps.map[0].huge = rows[i].huge;
		maps.map[0].device = strstr(rows[i].name, "device") != NULL;
		got = contents_of(&maps.map[0], rows[i].filter, rows[i].changed, rows[i].elf, &why);
		if (got != rows[i].want)
			print_error("row %zu: %s %s\n", i, rows[i].perms, rows[i].name);
		assert_int_equal(got, rows[i].want);
		assert_int_equal(why != NULL, got == CONTENTS_OMIT);
		proc_maps_free(&maps);
	}
}

/* The pages of this very process, by both ways. */
static void test_pages(void **state)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pages_cache cache;
	struct pages pages = pages_of_cache(&cache);
	uint8_t *p = mmap(NULL, 64 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t base = (uintptr_t)p, start, end;

	(void)state;
	assert_true(fd >= 0 && p != MAP_FAILED);
	pages_cache_init(&cache, fd);
	madvise(p, 64 * PAGE_BYTES, MADV_NOHUGEPAGE);
	assert_int_equal(pages_next(&pages, PAGES_ANY, base, base + 64 * PAGE_BYTES, &start, &end), 0);
	pages_cache_init(&cache, fd);
	p[5 * PAGE_BYTES] = p[6 * PAGE_BYTES] = p[60 * PAGE_BYTES] = 1;
	assert_int_equal(pages_next(&pages, PAGES_ANY, base, base + 64 * PAGE_BYTES, &start, &end), 1);
	assert_int_equal(start, base + 5 * PAGE_BYTES);
	assert_int_equal(end, base + 7 * PAGE_BYTES);
	assert_int_equal(pages_next(&pages, PAGES_PRIVATE, end, base + 64 * PAGE_BYTES, &start, &end), 1);
	assert_int_equal(start, base + 60 * PAGE_BYTES);
	assert_int_equal(end, base + 61 * PAGE_BYTES);
	assert_int_equal(pages_next(&pages, PAGES_ANY, end, base + 64 * PAGE_BYTES, &start, &end), 0);
	/* back to the beginning, from what was read ahead */
	assert_int_equal(pages_next(&pages, PAGES_ANY, base, base + 64 * PAGE_BYTES, &start, &end), 1);
	assert_int_equal(pages_next(&pages, PAGES_ANY, end, base + 64 * PAGE_BYTES, &start, &end), 1);
	assert_int_equal(start, base + 60 * PAGE_BYTES);
	assert_int_equal(pages_next(&pages, PAGES_ANY, base, base + 64 * PAGE_BYTES, &start, &end), 1);
	assert_int_equal(start, base + 5 * PAGE_BYTES);
	munmap(p, 64 * PAGE_BYTES);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),	    cmocka_unit_test(test_many_segments),
		cmocka_unit_test(test_told_to_end), cmocka_unit_test(test_contents),
		cmocka_unit_test(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
