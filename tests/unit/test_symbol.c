// SPDX-License-Identifier: MIT
/* Names for addresses of this very program, and files and maps that lie. */
#include "symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Global, so that it is in .dynsym or at least .symtab by this name. */
__attribute__((noinline)) int known_function(int x);
int known_function(int x)
{
	return x * 2;
}

struct world {
	struct images *images;
	struct proc_maps maps;
	char *text;
};

static void add_files(struct world *w)
{
	for (size_t i = 0; i < w->maps.count; i++) {
		const struct proc_map *m = &w->maps.map[i];
		const struct proc_file *f = proc_map_file(&w->maps, m);
		int fd = m->executable && m->path ? open(f->name, O_RDONLY | O_CLOEXEC) : -1;

		if (fd >= 0)
			assert_int_equal(images_add_file(w->images, f->dev_major, f->dev_minor, f->inode, fd), 0);
	}
}

static void parse(struct world *w, const char *text)
{
	assert_int_equal(proc_maps_parse(text, strlen(text), &w->maps), 0);
}

static void begin(struct world *w)
{
	size_t len;

	*w = (struct world){ 0 };
	assert_int_equal(proc_file(AT_FDCWD, "/proc/self/maps", 1 << 20, &w->text, &len), 0);
	assert_int_equal(proc_maps_parse(w->text, len, &w->maps), 0);
	assert_int_equal(images_new(&w->images), 0);
	add_files(w);
}

static void end(struct world *w)
{
	images_free(w->images);
	proc_maps_free(&w->maps);
	free(w->text);
}

/* The frame that one address becomes. */
static void name_one(struct world *w, uint64_t addr, struct stack *ret)
{
	struct walk_frame frame = { .pc = addr, .exact = true };
	struct walk walk = { .frame = &frame, .count = 1 };
	size_t late;

	assert_int_equal(symbols_name(w->images, &walk, 1, ret, &late), 0);
	assert_true(ret->count >= 1); /* more where functions were put into others */
	assert_non_null(ret->frame[0].function);
}

static void expect_name(struct world *w, const void *addr, const char *name)
{
	struct stack stack;

	name_one(w, (uint64_t)(uintptr_t)addr, &stack);
	assert_string_equal(stack.frame[0].function, name);
	stack_done(&stack);
}

static void test_names(void **state UNUSED)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *data = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct stack stack;
	struct world w;
	uint64_t addr;

	begin(&w);
	assert_int_equal(images_place(w.images, &w.maps), 0);
	assert_int_equal(images_bad(w.images), 0);
	expect_name(&w, (void *)known_function, "known_function");
	expect_name(&w, (char *)known_function + 1, "known_function");
	expect_name(&w, code, "[jit]");
	expect_name(&w, data, "[anon]");
	expect_name(&w, (void *)16, "[unmapped]");
	expect_name(&w, (void *)UINT64_MAX, "[unmapped]");
	name_one(&w, (uint64_t)(uintptr_t)known_function, &stack);
	assert_string_equal(stack.frame[0].module, "test_symbol");
	stack_done(&stack);
	/* exported symbols, by name */
	for (size_t i = 0; i < images_count(w.images); i++) {
		if (!symbol_address(images_get(w.images, i), "getppid", &addr))
			continue;
		assert_memory_equal(images_get(w.images, i)->name, "libc", 4);
		assert_false(symbol_address(images_get(w.images, i), "no_such_symbol", &addr));
	}
	end(&w);
	munmap(code, 4096);
	munmap(data, 4096);
}

/* Each file that has an unnamed function, and no other. */
static void check_missing(const struct images *images, const struct stack *stacks, size_t count)
{
	char *missing = symbols_missing(images, stacks, count);
	size_t unnamed = 0;
	bool own = false;				/* what is built with sanitizers has unnamed functions, too, */
	bool cut = missing && strstr(missing, " more"); /* and more files than are listed */

	for (size_t i = 0; i < count; i++) {
		const struct frame *f = &stacks[i].frame[0];

		if (strncmp(f->function, "fn_", 3))
			continue;
		unnamed++;
		own |= !strcmp(f->module, "test_symbol");
		assert_non_null(missing);
		assert_true(cut || strstr(missing, f->module));
	}
	assert_true(unnamed > 0);
	assert_non_null(strstr(missing, "(build-id "));
	assert_true(cut || own == (strstr(missing, "test_symbol ") != NULL));
	free(missing);
	assert_null(symbols_missing(images, stacks, 0));
}

/* Many walks at once give what one at a time does. */
static void test_many(void **state UNUSED)
{
	struct walk_frame frames[64];
	struct walk walks[64];
	struct stack stacks[64], one;
	size_t late;
	struct world w;

	begin(&w);
	assert_int_equal(images_place(w.images, &w.maps), 0);
	for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
		const struct proc_map *m = &w.maps.map[i * 7 % w.maps.count];

		frames[i] = (struct walk_frame){ .pc = m->start + (m->end - m->start) / 64 * i, .exact = i % 2 };
		walks[i] = (struct walk){ .frame = &frames[i], .count = 1 };
	}
	assert_int_equal(symbols_name(w.images, walks, ARRAY_LEN(walks), stacks, &late), 0);
	assert_int_equal(late, 0);
	check_missing(w.images, stacks, ARRAY_LEN(stacks));
	for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
		name_one(&w, walk_lookup(&frames[i]), &one);
		assert_string_equal(stacks[i].frame[0].function, one.frame[0].function);
		stack_done(&stacks[i]);
		stack_done(&one);
	}
	end(&w);
}

/* A map in which everything lies twice, and a file over another. */
static void test_maps_that_lie(void **state UNUSED)
{
	struct world w;
	struct proc_maps lies = { 0 };
	size_t len;
	char *twice;

	begin(&w);
	len = strlen(w.text);
	twice = malloc(2 * len + 1);
	memcpy(twice, w.text, len);
	memcpy(twice + len, w.text, len + 1);
	assert_int_equal(proc_maps_parse(twice, 2 * len, &lies), 0);
	/* and each file once more where its neighbour is */
	for (size_t i = 1; i < lies.count; i++) {
		if (i % 3 == 0 && lies.map[i].executable)
			lies.map[i].start = lies.map[i - 1].start;
		if (i % 5 == 0)
			lies.map[i].offset += 4096;
	}
	assert_int_equal(images_place(w.images, &lies), 0);
	for (size_t i = 0; i < images_count(w.images); i++) {
		uint64_t addr;

		symbol_address(images_get(w.images, i), "main", &addr);
	}
	for (size_t i = 0; i < lies.count; i++) {
		struct stack stack;

		name_one(&w, lies.map[i].start, &stack);
		stack_done(&stack);
	}
	/* and back to the truth, as after a second maps text */
	assert_int_equal(images_place(w.images, &w.maps), 0);
	expect_name(&w, (void *)known_function, "known_function");
	end(&w);
	proc_maps_free(&lies);
	free(twice);
}

/* Our own file with bytes of its headers overwritten: no name is fine, a crash is not. */
static void test_broken_headers(void **state UNUSED)
{
	static const uint8_t bad[] = { 0x00, 0xff, 0x7f, 0x80 };
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *file;

	assert_int_equal(fstat(self, &st), 0);
	file = malloc((size_t)st.st_size);
	assert_int_equal(read(self, file, (size_t)st.st_size), st.st_size);
	for (size_t at = 4; at < 64 + 13 * 56; at += 11) {
		struct world w = { 0 };
		struct stack stack;
		int fd = memfd_create("broken", MFD_CLOEXEC);
		char was = file[at];

		file[at] = (char)bad[at % ARRAY_LEN(bad)];
		assert_int_equal(write(fd, file, (size_t)st.st_size), st.st_size);
		file[at] = was;
		parse(&w, "1000000-2000000 r-xp 00000000 00:01 77 /broken\n");
		assert_int_equal(images_new(&w.images), 0);
		assert_int_equal(images_add_file(w.images, 0, 1, 77, fd), 0);
		assert_int_equal(images_place(w.images, &w.maps), 0);
		name_one(&w, 0x1001234, &stack);
		stack_done(&stack);
		end(&w);
	}
	free(file);
	close(self);
}

static void test_files_that_are_none(void **state UNUSED)
{
	struct world w = { 0 };
	struct stack stack;

	parse(&w, "1000000-2000000 r-xp 00000000 00:01 77 /none\n"
		  "3000000-4000000 r-xp 00000000 00:01 78 /null\n");
	assert_int_equal(images_new(&w.images), 0);
	assert_int_equal(images_add_file(w.images, 0, 1, 77, memfd_create("empty", MFD_CLOEXEC)), 0);
	assert_int_equal(images_add_file(w.images, 0, 1, 78, open("/dev/null", O_RDONLY | O_CLOEXEC)), 0);
	assert_int_equal(images_place(w.images, &w.maps), 0);
	assert_int_equal(images_count(w.images), 0);
	assert_int_equal(images_bad(w.images), 2);
	name_one(&w, 0x1000010, &stack);
	assert_string_equal(stack.frame[0].function, "none+0x10");
	stack_done(&stack);
	end(&w);
}

/* A file that is mapped nowhere: this one, by the addresses that it has in itself. */
static void test_one_file_alone(void **state)
{
	CLEAN(fd) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), none = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct stack stack[2] = { { 0 } };
	struct analysis a = { 0 };
	struct world w;
	uint64_t addr[2];

	(void)state;
	begin(&w);
	assert_int_equal(images_place(w.images, &w.maps), 0);
	addr[0] = (uint64_t)(uintptr_t)known_function;
	addr[0] -= images_find(w.images, addr[0])->bias;
	addr[1] = 1; /* nothing is there */
	assert_int_equal(symbols_name_file(fd, addr, 2, stack), 0);
	assert_int_equal(stack[0].count, 1);
	assert_string_equal(stack[0].frame[0].function, "known_function");
	assert_int_equal(stack[1].count, 0);
	assert_int_equal(symbols_name_file(none, addr, 2, stack + 1), -ENOEXEC);
	stack_done(&stack[0]);

	/* two files of one name */
	assert_int_equal(module_add(&a, &(struct module_id){ 1, "libx.so", "aa", 4096 }), 0);
	assert_int_equal(module_add(&a, &(struct module_id){ 2, "libx.so", "bb", 8192 }), 0);
	assert_int_equal(module_add(&a, &(struct module_id){ 1, "libx.so", "aa", 4096 }), 0);
	assert_int_equal(a.module_count, 2);
	assert_string_equal(a.module[0].build_id, "aa");
	assert_int_equal(module_add(&a, &(struct module_id){ 1, "libx.so", "cc", 0 }), 0);
	assert_null(a.module[0].build_id);
	assert_string_equal(a.module[1].build_id, "bb");
	analysis_done(&a);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_maps_that_lie),
		cmocka_unit_test(test_broken_headers),
		cmocka_unit_test(test_files_that_are_none),
		cmocka_unit_test(test_one_file_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
