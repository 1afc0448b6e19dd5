// SPDX-License-Identifier: MIT
/* 100,000 mappings and 10,000 threads, made up: more than this machine may let a process
 * have. Through the functions that a dump uses; their memory is measured, and that their
 * time grows with the number and not with its square. */
#include "assemble.h"
#include "contents.h"
#include "ktime.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MAPS 100000u
#define THREADS 10000u
#define BASE 0x10000000000ull /* nothing of our own lies there */
#define STEP 0x10000ull

/* Our peak from here on. */
static uint64_t begin_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0 && write(fd, "5", 1) == 1);
	close(fd);
	return proc_peak_bytes();
}

static void peak_below(uint64_t begun, uint64_t most)
{
#ifndef __SANITIZE_ADDRESS__
	uint64_t peak = proc_peak_bytes();

	if (peak > begun + most)
		fail_msg("%llu KiB of memory, %llu allowed", (unsigned long long)(peak - begun) >> 10,
			 (unsigned long long)most >> 10);
#else
	(void)begun;
	(void)most;
#endif
}

/* Every third one is of a file, and each file is another; 'flags': as in smaps. */
static void make_text(struct spool *text, unsigned int count, bool flags)
{
	char lines[512];

	assert_int_equal(spool_open(text, -1), 0);
	for (unsigned int i = 0; i < count; i++) {
		unsigned long long start = BASE + i * STEP;
		int n = snprintf(lines, sizeof(lines), "%llx-%llx rw-p 00000000 %s", start, start + 0x2000,
				 i % 3 ? "00:00 0 \n" : "08:01 ");

		if (i % 3 == 0)
			n += snprintf(lines + n, sizeof(lines) - (size_t)n,
				      "%u                    /srv/a/rather/long/name/of/a/file/number/%u\n", i + 1, i);
		if (flags)
			n += snprintf(lines + n, sizeof(lines) - (size_t)n,
				      "Size:                  8 kB\nRss:                   8 kB\nVmFlags: rd wr %s\n",
				      i % 5 ? "mr" : "dd");
		assert_int_equal(spool_put(text, lines, (size_t)n, NULL), 0);
	}
}

static void load(unsigned int count, bool flags, struct proc_maps *ret_maps)
{
	struct spool text;

	make_text(&text, count, flags);
	assert_int_equal(proc_maps_load(text.fd, NULL, NULL, ret_maps), 0);
	assert_int_equal(ret_maps->count, count);
	spool_close(&text);
}

static void test_maps(void **state UNUSED)
{
	uint64_t peak = begin_peak();
	struct proc_maps maps;
	char name[80];

	for (int flags = 0; flags < 2; flags++) {
		load(MAPS, flags, &maps);
		for (unsigned int i = 0; i < MAPS; i++) {
			const struct proc_map *map = proc_maps_find(&maps, BASE + i * STEP + 0x1fff);

			assert_ptr_equal(map, &maps.map[i]);
			snprintf(name, sizeof(name), "/srv/a/rather/long/name/of/a/file/number/%u", i);
			assert_string_equal(proc_map_name(&maps, map), i % 3 ? "" : name);
			assert_int_equal(proc_map_file(&maps, map)->inode, i % 3 ? 0 : i + 1);
			assert_int_equal(map->dontdump, flags && i % 5 == 0);
		}
		proc_maps_free(&maps);
	}
	peak_below(peak, 5u << 20);
}

static bool is_dontdump(void *arg UNUSED, const struct proc_map *map)
{
	return map->dontdump;
}

/* What is not wanted takes no memory; flags come after the line they belong to. */
static void test_some_maps(void **state UNUSED)
{
	struct proc_maps maps, all;
	struct spool text;

	make_text(&text, 1000, true);
	assert_int_equal(proc_maps_load(text.fd, is_dontdump, NULL, &maps), 0);
	assert_int_equal(maps.count, 200);
	assert_int_equal(maps.map[199].start, BASE + 995 * STEP);
	assert_int_equal(proc_maps_load(text.fd, NULL, NULL, &all), 0);
	proc_maps_keep(&all, is_dontdump, NULL);
	assert_int_equal(all.count, 200);
	assert_memory_equal(&all.map[7].start, &maps.map[7].start, sizeof(uint64_t));
	assert_string_equal(proc_map_name(&all, &all.map[3]), proc_map_name(&maps, &maps.map[3]));
	proc_maps_free(&all);
	proc_maps_free(&maps);
	spool_close(&text);
}

/* A name without an end is cut, and its file counts as one that is gone. */
static void test_endless_name(void **state UNUSED)
{
	CLEAN(free) char *name = malloc(200000);
	struct proc_maps maps;
	struct spool text;

	memset(name, 'x', 200000);
	assert_int_equal(spool_open(&text, -1), 0);
	for (int i = 0; i < 2; i++) {
		const char *head = i ? "\n3000-4000 rw-p 0 0:0 0 [stack]\n" : "1000-2000 rw-p 0 8:1 7 /";

		assert_int_equal(spool_put(&text, head, strlen(head), NULL), 0);
		if (!i)
			assert_int_equal(spool_put(&text, name, 200000, NULL), 0);
	}
	assert_int_equal(proc_maps_load(text.fd, NULL, NULL, &maps), 0);
	assert_int_equal(maps.count, 2);
	assert_true(maps.map[0].deleted && maps.map[0].path);
	assert_int_equal(strlen(proc_map_name(&maps, &maps.map[0])), 16383);
	assert_int_equal(maps.map[1].kind, PROC_MAP_STACK);
	assert_string_equal(proc_map_name(&maps, &maps.map[1]), "[stack]");
	proc_maps_free(&maps);
	spool_close(&text);
}

/* Registers of threads that never were: thread i has i in rip, and the first byte of its
 * extended registers. */
static void make_threads(struct freeze *freeze, const struct proc *proc)
{
	size_t row = sizeof(struct arch_state) + arch_xstate_size();

	freeze_init(freeze, proc);
	freeze->state = calloc(1, row);
	freeze->thread = calloc(THREADS, sizeof(*freeze->thread));
	freeze->count = freeze->cap = THREADS;
	assert_int_equal(spool_open(&freeze->states, -1), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		freeze->state->regs.rip = i;
		freeze->state->xstate_len = arch_xstate_size();
		memset(freeze->state + 1, (int)i & 0xff, 1);
		freeze->thread[i] = (struct freeze_thread){ .tid = (pid_t)(i + 1), .taken = true, .row = i };
		assert_int_equal(spool_put(&freeze->states, freeze->state, row, NULL), 0);
	}
}

static unsigned int omitted;

static void omit(void *arg UNUSED, uint64_t start UNUSED, uint64_t end UNUSED, const char *name UNUSED,
		 const char *why UNUSED, bool lost UNUSED)
{
	omitted++;
}

static void unread(void *arg UNUSED, uint64_t start UNUSED, uint64_t end UNUSED, const char *why UNUSED)
{
	omitted++;
}

static int go_on(void *arg UNUSED, uint64_t done UNUSED, struct err *err UNUSED)
{
	return 0;
}

/* The core of a process of 'count' mappings, none of which holds a page. Returns the
 * file, and how long it took. */
static int write_core(unsigned int count, struct freeze *freeze, const struct proc *proc, uint64_t *ret_ns)
{
	struct core_watch watch = { .unread = unread, .go_on = go_on };
	struct assembly_about about;
	struct assembly a = { .proc = proc,
			      .about = &about,
			      .freeze = freeze,
			      .filter = FILTER_DEFAULT,
			      .holder_tid = 7777,
			      .omit = omit };
	struct proc_maps before = { 0 }, frozen;
	char dir[] = "/tmp/test_large.XXXXXX";
	struct err err = { "" };
	struct side side;
	struct sink *sink;
	uint64_t on_disk, begun;
	int dir_fd, fd;

	assemble_look(proc, &about);
	load(count, false, &frozen);
	/* One that the copy lacks, in the middle, as after MADV_DONTFORK. */
	assert_int_equal(proc_maps_add(&before, &frozen, &frozen.map[count / 2]), 0);
	before.map[0].start += STEP / 2;
	before.map[0].end += STEP / 2;
	before.map[0].dontfork = true;
	a.before = &before;
	a.frozen = &frozen;
	a.cloned = true;
	assert_int_equal(side_open(&side, proc->dir_fd), 0);
	a.side = &side;
	a.mem_fd = side.mem_fd;
	a.pagemap_fd = side.pagemap_fd;
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sink_open(&(struct sink_spec){ .dir_fd = dir_fd, .name = "core", .compress = SINK_PLAIN },
				   &sink, &err),
			 0);
	begun = time_of(CLOCK_PROCESS_CPUTIME_ID); /* a busy machine has no part in it */
	assert_int_equal(assemble(&a, &err), 0);
	assemble_notes(&a, "text", 5);
	assert_int_equal(core_write(&a.core, sink, &watch, &err), 0);
	*ret_ns = time_of(CLOCK_PROCESS_CPUTIME_ID) - begun;
	assert_int_equal(frozen.count, count + 1);
	assert_int_equal(frozen.map[count / 2 + 1].dontfork, true);
	assembly_done(&a);
	assembly_about_done(&about);
	assert_int_equal(sink_commit(sink, &on_disk, &err), 0);
	fd = openat(dir_fd, "core", O_RDONLY | O_CLOEXEC);
	unlinkat(dir_fd, "core", 0);
	close(dir_fd);
	rmdir(dir);
	side_close(&side);
	proc_maps_free(&before);
	proc_maps_free(&frozen);
	return fd;
}

/* Every thread's notes, the holder's first, and every mapping's header. */
static void check_core(int fd, unsigned int count)
{
	static uint8_t seen[THREADS + 1];
	struct stat st;
	const uint8_t *file, *p, *end;
	const Elf64_Phdr *ph;
	Elf64_Ehdr eh;
	Elf64_Shdr sh;
	struct elf_prstatus status = { 0 };
	unsigned int threads = 0;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(file != MAP_FAILED);
	memcpy(&eh, file, sizeof(eh));
	memcpy(&sh, file + eh.e_shoff, sizeof(sh));
	assert_int_equal(count + 2, eh.e_phnum == PN_XNUM ? sh.sh_info : eh.e_phnum);
	ph = (const Elf64_Phdr *)(file + eh.e_phoff);
	for (unsigned int i = 0, row = 1; i < count; i++, row++) {
		if (i == count / 2 + 1) /* what 'before' alone knew */
			assert_int_equal(ph[row++].p_vaddr, BASE + (i - 1) * STEP + STEP / 2);
		assert_int_equal(ph[row].p_vaddr, BASE + i * STEP);
		assert_int_equal(ph[row].p_memsz, 0x2000);
	}
	p = file + ph[0].p_offset;
	end = p + ph[0].p_filesz;
	while (p < end) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)p;
		const uint8_t *desc = p + sizeof(*note) + ((note->n_namesz + 3) & ~3u);

		if (note->n_type == NT_PRSTATUS) {
			memcpy(&status, desc, sizeof(status));
			assert_in_range(status.pr_pid, 1, THREADS);
			assert_int_equal(seen[status.pr_pid]++, 0);
			assert_int_equal(status.pr_reg[16], status.pr_pid - 1);
			if (!threads++)
				assert_int_equal(status.pr_pid, 7777);
		}
		if (note->n_type == NT_FPREGSET) /* follows its thread */
			assert_int_equal(desc[0], (status.pr_pid - 1) & 0xff);
		p = desc + ((note->n_descsz + 3) & ~3u);
	}
	assert_ptr_equal(p, end);
	assert_int_equal(threads, THREADS);
	munmap((void *)file, (size_t)st.st_size);
	close(fd);
}

static void test_core(void **state UNUSED)
{
	uint64_t peak = begin_peak(), half_ns, whole_ns;
	struct freeze freeze;
	struct proc proc;
	int half, whole;

	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	make_threads(&freeze, &proc);
	half = write_core(MAPS / 2, &freeze, &proc, &half_ns);
	whole = write_core(MAPS, &freeze, &proc, &whole_ns);
	peak_below(peak, 8u << 20);
	if (whole_ns > 6 * half_ns + NSEC_PER_SEC)
		fail_msg("%.0f ms for half of them, %.0f ms for all", ns_to_ms(half_ns), ns_to_ms(whole_ns));
	check_core(half, MAPS / 2);
	check_core(whole, MAPS);
	freeze_done(&freeze);
	proc_close(&proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_some_maps),
		cmocka_unit_test(test_endless_name),
		cmocka_unit_test(test_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
