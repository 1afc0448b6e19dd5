// SPDX-License-Identifier: MIT
/* What goes into a mini core, from a made-up process: its stacks, what they point to,
 * its modules; where bounds are; and a process that lies about all of it. */
#include "mini.h"

#include "capture.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PROGRAM 0x400000ull
#define DYNAMIC 0x402000ull
#define SECRET 0x480000ull
#define DEVICE 0x490000ull
#define HEAP 0x500000ull
#define BIG 0x10000000ull
#define STACK_A 0x7f0000000000ull
#define STACK_B 0x7f0001000000ull
#define STACK_BYTES 0x200000ull
#define BLOCK (STACK_BYTES - 0x1000) /* the control block, from the begin of its stack */
#define VDSO 0x7fff00000000ull

static const char maps_text[] = "00400000-00402000 r--p 00000000 08:01 5 /bin/prog\n"
				"00402000-00403000 rw-p 00002000 08:01 5 /bin/prog\n"
				"00480000-00482000 rw-p 00000000 00:00 0 \n"
				"00490000-00491000 rw-p 00000000 00:00 0 \n"
				"00500000-00580000 rw-p 00000000 00:00 0 [heap]\n"
				"10000000-12000000 rw-p 00000000 00:00 0 \n"
				"7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
				"7f0001000000-7f0001200000 rw-p 00000000 00:00 0 \n"
				"7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]\n";

/* The pages of the process that are there. */
static struct region {
	uint64_t start, len;
	uint8_t *data, *there;
} region[16];

static struct proc_maps maps;
static struct proc proc = { .pid = 100, .pidfd = -1, .dir_fd = -1 };
static struct freeze freeze;
static struct mini mini;
static uint64_t told_pages;
static unsigned int told, told_lost;
static char told_why[4096];

static struct region *region_of(uint64_t addr)
{
	for (size_t i = 0; i < ARRAY_LEN(region); i++) {
		if (addr >= region[i].start && addr < region[i].start + region[i].len)
			return &region[i];
	}
	return NULL;
}

static ssize_t fake_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	(void)arg;
	while (done < len) {
		const struct region *r = region_of(addr + done);
		size_t n = MIN(len - done, (size_t)(PAGE_BYTES - (addr + done) % PAGE_BYTES));

		if (!r)
			break;
		assert_true(r->there[(addr + done - r->start) / PAGE_BYTES]); /* absent pages must not be touched */
		memcpy((char *)buf + done, r->data + (addr + done - r->start), n);
		done += n;
	}
	return (ssize_t)done;
}

static int fake_pages(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	(void)arg;
	(void)kind;
	assert_int_equal(addr % PAGE_BYTES, 0);
	assert_true(end <= 0x7ffffffff000ull); /* the kernel refuses more */
	for (; addr < end; addr += PAGE_BYTES) {
		const struct region *r = region_of(addr);

		if (!r || !r->there[(addr - r->start) / PAGE_BYTES])
			continue;
		*ret_start = addr;
		while (addr < end && addr < r->start + r->len && r->there[(addr - r->start) / PAGE_BYTES])
			addr += PAGE_BYTES;
		*ret_end = addr;
		return 1;
	}
	return 0;
}

static void put(uint64_t addr, const void *data, size_t len)
{
	struct region *r = region_of(addr);

	assert_non_null(r);
	assert_true(addr + len <= r->start + r->len);
	memcpy(r->data + (addr - r->start), data, len);
	for (uint64_t at = addr / PAGE_BYTES; at <= (addr + len - 1) / PAGE_BYTES; at++)
		r->there[at - r->start / PAGE_BYTES] = 1;
}

static void put_word(uint64_t addr, uint64_t word)
{
	put(addr, &word, sizeof(word));
}

static void omit(void *arg, uint64_t start, uint64_t end, const char *name, const char *why, bool lost)
{
	(void)arg;
	(void)name;
	assert_true(start <= end);
	told++;
	told_lost += lost;
	if (strstr(why, " pages that stacks point to"))
		told_pages += strtoull(why, NULL, 10);
	snprintf(told_why + strlen(told_why), sizeof(told_why) - strlen(told_why), "%s\n", why);
}

static void thread(size_t i, pid_t tid, uint64_t sp, uint64_t block)
{
	freeze.thread[i] = (struct freeze_thread){ .tid = tid, .stopped = true, .taken = true, .row = freeze.rows };
	memset(freeze.state, 0, sizeof(*freeze.state) + arch_xstate_size());
	freeze.state->regs.rsp = sp;
	freeze.state->regs.fs_base = block;
	assert_int_equal(spool_put(&freeze.states, freeze.state, sizeof(*freeze.state) + arch_xstate_size(), NULL), 0);
	freeze.rows++;
	freeze.count = MAX(freeze.count, i + 1);
}

static int set_up(void **state)
{
	static const Elf64_auxv_t auxv[] = { { AT_PHDR, { PROGRAM + 64 } }, { AT_PHNUM, { 2 } }, { AT_NULL, { 0 } } };
	Elf64_Ehdr ehdr = { .e_phoff = 64, .e_phnum = 2 };
	Elf64_Phdr phdr[2] = { { .p_type = PT_PHDR, .p_vaddr = 64 },
			       { .p_type = PT_DYNAMIC, .p_vaddr = DYNAMIC - PROGRAM, .p_memsz = 64 } };
	char dir[] = "/tmp/test_mini.XXXXXX";
	int fd;

	(void)state;
	assert_int_equal(proc_maps_parse(maps_text, strlen(maps_text), &maps), 0);
	for (size_t i = 0; i < maps.count; i++) {
		struct region *r = &region[i];

		r->start = maps.map[i].start;
		r->len = maps.map[i].end - r->start;
		r->data = calloc(1, r->len);
		r->there = calloc(1, r->len / PAGE_BYTES);
		maps.map[i].dontdump = r->start == SECRET;
		maps.map[i].device = r->start == DEVICE;
	}
	memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
	ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	put(PROGRAM, &ehdr, sizeof(ehdr));
	put(PROGRAM + 64, phdr, sizeof(phdr));
	put_word(VDSO, 0x1111);
	put_word(SECRET, 1);

	assert_non_null(mkdtemp(dir));
	proc.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(proc.dir_fd, "auxv", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, auxv, sizeof(auxv)), sizeof(auxv));
	close(fd);

	freeze_init(&freeze, &proc);
	freeze.thread = calloc(64, sizeof(*freeze.thread));
	freeze.state = calloc(1, sizeof(*freeze.state) + arch_xstate_size());
	assert_int_equal(spool_open(&freeze.states, -1), 0);
	mini = (struct mini){ .memory = { .read = fake_read },
			      .pages = { .next = fake_pages },
			      .maps = &maps,
			      .proc_dir_fd = proc.dir_fd,
			      .holder_tid = 101,
			      .omit = omit };
	told = told_lost = 0;
	told_pages = 0;
	told_why[0] = '\0';
	*state = strdup(dir);
	return 0;
}

static int tear_down(void **state)
{
	mini_close(&mini);
	freeze_done(&freeze);
	unlinkat(proc.dir_fd, "auxv", 0);
	close(proc.dir_fd);
	rmdir(*state);
	free(*state);
	for (size_t i = 0; i < ARRAY_LEN(region); i++) {
		free(region[i].data);
		free(region[i].there);
		region[i] = (struct region){ 0 };
	}
	proc_maps_free(&maps);
	return 0;
}

static void take(uint64_t refs_until_ns, uint64_t stacks_until_ns)
{
	struct err err = { "" };

	assert_int_equal(mini_open(&mini, freeze.count, &err), 0);
	assert_int_equal(mini_take(&mini, &freeze, refs_until_ns, stacks_until_ns, &err), 0);
	for (size_t i = 0; i < mini.count; i++) {
		assert_true(mini.run[i].start < mini.run[i].end);
		assert_true(i == 0 || mini.run[i - 1].end <= mini.run[i].start);
	}
}

/* The page is in, and its bytes are the process's. */
static bool has(uint64_t addr)
{
	struct memory mem = mini_memory(&mini);
	uint8_t page[PAGE_BYTES];
	const struct region *r = region_of(addr);

	if (memory_get(&mem, addr & ~(PAGE_BYTES - 1ull), page, sizeof(page)) < 0)
		return false;
	assert_memory_equal(page, r->data + ((addr - r->start) & ~(PAGE_BYTES - 1ull)), sizeof(page));
	return true;
}

static size_t pages_in(uint64_t start, uint64_t end)
{
	size_t n = 0;

	for (; start < end; start += PAGE_BYTES)
		n += has(start);
	return n;
}

static void fill_stack(uint64_t from, uint64_t to)
{
	for (uint64_t at = from & ~(PAGE_BYTES - 1ull); at < to; at += PAGE_BYTES)
		put_word(at + 8, at);
}

static void test_choice(void **state)
{
	const uint64_t sp = STACK_A + BLOCK - 0x5010;

	(void)state;
	fill_stack(STACK_A + 0x1000, STACK_A + STACK_BYTES);
	put_word(sp - 120, HEAP + 0x1000); /* red zone */
	put_word(sp + 16, HEAP + 0x3ff8);  /* an object that goes on in the next page */
	put_word(sp + 24, HEAP + 0x10000); /* absent */
	put_word(sp + 32, SECRET);
	put_word(sp + 40, DEVICE);		       /* absent: a read of it fails the test */
	put_word(sp + 48, PROGRAM + 0x1000);	       /* text: it is on disk */
	put_word(sp + 56, 0xffff800000000000);	       /* no address at all */
	put_word(sp - 0x2000, HEAP + 0x20000);	       /* below the stack */
	put_word(STACK_A + BLOCK + 8, HEAP + 0x30000); /* of the control block */
	put_word(HEAP + 0x1000, 1);
	put(HEAP + 0x3000, (uint8_t[0x2000]){ 3 }, 0x2000);
	put_word(HEAP + 0x20000, 1);
	put_word(HEAP + 0x30000, 1);
	put_word(DEVICE, 1);
	thread(0, 101, sp, STACK_A + BLOCK);
	take(UINT64_MAX, 0);
	assert_true(has(PROGRAM)); /* its header */
	assert_false(has(PROGRAM + 0x1000));
	assert_true(has(VDSO));
	assert_int_equal(pages_in(STACK_A, STACK_A + STACK_BYTES), 7);
	assert_true(has(sp - ARCH_RED_ZONE) && has(STACK_A + BLOCK));
	assert_true(has(HEAP + 0x1000) && has(HEAP + 0x3000) && has(HEAP + 0x4000) && has(HEAP + 0x30000));
	assert_int_equal(pages_in(HEAP, HEAP + 0x80000), 4);
	assert_false(has(SECRET));
	assert_false(has(DEVICE));
	assert_int_equal(told, 0);
}

static void test_everything(void **state)
{
	const uint64_t sp = STACK_A + BLOCK - 0x1000;

	(void)state;
	put_word(sp, SECRET);
	put_word(sp + 8, DEVICE);
	put_word(DEVICE, 1);
	thread(0, 101, sp, STACK_A + BLOCK);
	mini.everything = true;
	take(UINT64_MAX, 0);
	assert_true(has(SECRET));
	assert_false(has(DEVICE));
}

/* Two threads point to 4,096 pages each: the holder's may take half of the room. */
static void test_bound(void **state)
{
	const uint64_t stack[2] = { STACK_A, STACK_B }, half = 16u << 20;
	size_t pages[2], bytes = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint64_t sp = stack[i] + BLOCK - 4096 * 8;

		for (uint64_t n = 0; n < 4096; n++) {
			put_word(sp + n * 8, BIG + i * half + n * PAGE_BYTES);
			put_word(BIG + i * half + n * PAGE_BYTES, n);
		}
		thread(i, (pid_t)(100 + i), sp, stack[i] + BLOCK);
	}
	take(UINT64_MAX, 0);
	for (size_t i = 0; i < mini.count; i++)
		bytes += mini.run[i].end - mini.run[i].start;
	assert_true(bytes <= MINI_AIM_BYTES && bytes > MINI_AIM_BYTES - (64u << 10));
	pages[0] = pages_in(BIG, BIG + half);
	pages[1] = pages_in(BIG + half, BIG + 2 * half);
	assert_in_range(pages[0], 1, pages[1] + 1);
	assert_in_range(pages[1], 600, 640);
	for (uint64_t n = 0; n < pages[1]; n++) /* the nearest to the stack pointer */
		assert_true(has(BIG + half + n * PAGE_BYTES));
	told = 0;
	assert_int_equal(mini_segments(&mini, &maps, true, &(struct core){ .segments.fd = -1 }), 0);
	assert_int_equal(told, 1);
	assert_int_equal(told_lost, 0);
	assert_int_equal(told_pages, 8192 - pages[0] - pages[1]);
}

static void test_no_time(void **state)
{
	struct core core;

	(void)state;
	fill_stack(STACK_A, STACK_A + STACK_BYTES);
	fill_stack(STACK_B, STACK_B + STACK_BYTES);
	thread(0, 100, STACK_A + 0x180000, STACK_A + BLOCK);
	thread(1, 101, STACK_B + 0x180000, STACK_B + BLOCK);
	put_word(STACK_A + 0x180000, HEAP);
	put_word(HEAP, 1);
	take(0, 1);
	assert_false(has(HEAP));
	assert_int_equal(pages_in(STACK_A, STACK_A + STACK_BYTES), 2 + 2);    /* and the control block */
	assert_int_equal(pages_in(STACK_B, STACK_B + STACK_BYTES), 0x80 + 1); /* the holder's is whole */
	core_init(&core);
	assert_int_equal(mini_segments(&mini, &maps, true, &core), 0);
	core_done(&core);
	assert_non_null(strstr(told_why, "what the stacks of 2 threads point to"));
	assert_non_null(strstr(told_why, "the nearest 8 KiB of the stacks of 1 threads"));
	assert_int_equal(told_lost, 1);
}

static void test_long_stacks(void **state)
{
	(void)state;
	fill_stack(STACK_A, STACK_A + STACK_BYTES);
	fill_stack(STACK_B, STACK_B + STACK_BYTES);
	thread(0, 100, STACK_A + 0x1000, STACK_A + BLOCK);
	thread(1, 101, STACK_B + 0x1000, 0); /* nobody knows where it ends */
	take(UINT64_MAX, 0);
	assert_int_equal(pages_in(STACK_A, STACK_A + BLOCK - PAGE_BYTES), MINI_STACK_MAX / PAGE_BYTES);
	assert_in_range(pages_in(STACK_B, STACK_B + STACK_BYTES), CAPTURE_STACK_MAX / PAGE_BYTES,
			CAPTURE_STACK_MAX / PAGE_BYTES + 1);
	assert_int_equal(told, 2);
	assert_int_equal(told_lost, 1);
}

static void test_wild_stacks(void **state)
{
	const uint64_t wild[] = { 0,
				  8,
				  ~0ull,
				  ~0ull - 64,
				  1ull << 47,
				  (1ull << 47) - 8,
				  0x7ffffffff000ull,
				  0x600000,
				  HEAP - 8,
				  BIG + (32u << 20) - 8 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wild); i++)
		thread(i, (pid_t)(101 + i), wild[i], wild[ARRAY_LEN(wild) - 1 - i]);
	take(UINT64_MAX, 0);
	assert_int_equal(told, ARRAY_LEN(wild));
	assert_non_null(strstr(told_why, "thread 101: its stack pointer points nowhere"));
}

static void put_link(uint64_t addr, uint64_t name, uint64_t ld, uint64_t next)
{
	struct link_map link = { .l_name = (void *)name, .l_ld = (void *)ld, .l_next = (void *)next };

	put(addr, &link, sizeof(link));
}

static void put_debug(uint64_t first)
{
	const Elf64_Dyn dyn[] = { { DT_NEEDED, { 1 } }, { DT_DEBUG, { HEAP + 0x40 } }, { DT_NULL, { 0 } } };
	struct r_debug debug = { .r_version = 1, .r_map = (void *)first };

	put(DYNAMIC, dyn, sizeof(dyn));
	put(HEAP + 0x40, &debug, sizeof(debug));
}

static void test_modules(void **state)
{
	(void)state;
	put_debug(HEAP + 0x1000);
	put_link(HEAP + 0x1000, HEAP + 0x3ffe, DYNAMIC, HEAP + 0x5000);
	put_link(HEAP + 0x5000, HEAP + 0x7000, BIG, 0);
	put(HEAP + 0x3ffe, "/lib", 5);
	put_word(HEAP + 0x7000, 1);
	put_word(BIG, DT_NULL);
	thread(0, 101, 0, 0);
	take(0, 0);
	assert_true(has(DYNAMIC) && has(HEAP) && has(BIG));
	for (uint64_t page = 1; page < 8; page++)
		assert_int_equal(has(HEAP + page * PAGE_BYTES), page != 2 && page != 6);
}

static void test_module_lies(void **state)
{
	const uint64_t next[] = { HEAP + 0x1000, ~0ull, ~0ull - 32, 1, (1ull << 47) - 8, BIG, HEAP - 8 };
	struct err err = { "" };

	(void)state;
	thread(0, 101, 0, 0);
	for (size_t i = 0; i < ARRAY_LEN(next); i++) { /* the first: a cycle */
		put_debug(HEAP + 0x1000);
		put_link(HEAP + 0x1000, ~0ull - i, 0x7ffffffffffful - i, next[i]);
		take(0, 0);
		assert_true(has(HEAP + 0x1000));
		mini_close(&mini);
	}
	assert_non_null(strstr(told_why, "the list of modules goes on"));
	/* more than there can be */
	for (uint64_t i = 0; i < 400000; i++)
		put_link(BIG + i * 64, BIG + i * 32, BIG, BIG + (i + 1) * 64);
	put_debug(BIG);
	told_why[0] = '\0';
	take(0, 0);
	assert_non_null(strstr(told_why, "the list of modules goes on"));
	mini_close(&mini);
	/* no list at all, and one whose head is nowhere */
	put_debug(0);
	take(0, 0);
	mini_close(&mini);
	put_word(DYNAMIC + 24, 0x123456789);
	assert_int_equal(mini_open(&mini, 1, &err), 0);
	assert_int_equal(mini_take(&mini, &freeze, 0, 0, &err), 0);
}

/* All mappings are in the core, in order; memory of which nobody knows if it may be is not. */
static void test_flags(void **state)
{
	const uint64_t sp = STACK_A + BLOCK - 0x1000;
	struct core core;

	(void)state;
	put_word(sp, HEAP);
	put_word(HEAP, 1);
	put_word(sp + 8, SECRET);
	maps.map[2].dontdump = false; /* not known before the stop */
	thread(0, 101, sp, STACK_A + BLOCK);
	take(UINT64_MAX, 0);
	assert_true(has(SECRET) && has(HEAP));
	maps.map[2].dontdump = true;
	core_init(&core);
	assert_int_equal(mini_segments(&mini, &maps, true, &core), 0);
	assert_int_equal(told, 1);
	assert_non_null(strstr(told_why, "4096 bytes that stacks point to: MADV_DONTDUMP"));
	/* 9 mappings; in one data comes after a gap */
	assert_int_equal(core.count, 9 + 1);
	core_done(&core);
	core_init(&core);
	told = 0;
	assert_int_equal(mini_segments(&mini, &maps, false, &core), 0);
	assert_int_equal(told, 2);
	assert_int_equal(told_lost, 1);
	core_done(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_choice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_everything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_stacks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wild_stacks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_modules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_module_lies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flags, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
