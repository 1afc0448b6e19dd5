// SPDX-License-Identifier: MIT
/* A target's ELF file of any bytes, below the walk over stacks and the names of functions: the
 * whole file of seed.c with some bytes changed (three bytes of input each: a place and a value),
 * or, behind an 'R', the input as it stands. Walks and names must end, within their bounds; what
 * is named is text of bounded length. */
#include "stack.h"
#include "symbol.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "input.h"

#define BASE 0x7f0000000000ull
#define SEED_MOST 65536 /* what a place of two bytes reaches */
#define WALKS 24

static size_t seed_read(uint8_t *bytes)
{
	static uint8_t seed[SEED_MOST];
	static size_t len;
	FILE *file;

	if (!len) {
		file = fopen(SEED_FILE, "re");
		if (!file)
			abort();
		len = fread(seed, 1, sizeof(seed), file);
		fclose(file);
	}
	memcpy(bytes, seed, len);
	return len;
}

static int elf_of(const uint8_t *data, size_t size)
{
	static uint8_t bytes[SEED_MOST];
	int fd = memfd_create("elf", MFD_CLOEXEC);
	size_t len;

	if (size && data[0] == 'R') {
		data++;
		size--;
	} else {
		len = seed_read(bytes);
		for (size_t i = 1; i + 3 <= size; i += 3) {
			size_t at = data[i] | (size_t)data[i + 1] << 8;

			if (at < len)
				bytes[at] = data[i + 2];
		}
		data = bytes;
		size = len;
	}
	if (write(fd, data, size) != (ssize_t)size)
		abort();
	return fd;
}

static void look(struct images *images, struct input *in)
{
	struct memory mem = { .read = read_input, .arg = in };
	struct capture_thread threads[2] = { { .tid = 1, .stopped = 1 }, { .tid = 2, .stopped = 1 } };
	struct walk walks[WALKS] = { 0 };
	struct walk_frame frames[WALKS];
	struct stack stacks[WALKS] = { 0 };
	uint64_t addr;
	size_t late;

	for (size_t i = 0; i < 2; i++) {
		/* rip and rsp of struct user_regs_struct */
		threads[i].reg[16] = BASE + 0x1000 + in->data[i % in->size];
		threads[i].reg[19] = BASE + 0x100000;
	}
	if (images_walk(images, &mem, threads, 2, walks) == 0) {
		for (size_t i = 0; i < 2; i++)
			assert(walks[i].count <= STACK_FRAMES_MAX);
	}
	for (size_t i = 2; i < WALKS; i++) {
		frames[i] = (struct walk_frame){ .pc = BASE + i * 0x104, .exact = i % 2 };
		walks[i] = (struct walk){ .frame = &frames[i], .count = 1 };
	}
	if (symbols_name(images, walks, WALKS, stacks, &late) == 0) {
		free(symbols_missing(images, stacks, WALKS));
		for (size_t i = 0; i < WALKS; i++) {
			for (size_t k = 0; k < stacks[i].count; k++)
				assert(stacks[i].frame[k].function && strlen(stacks[i].frame[k].function) < 8192);
		}
	}
	for (size_t i = 0; i < WALKS; i++)
		stack_done(&stacks[i]);
	walk_done(&walks[0]);
	walk_done(&walks[1]);
	for (size_t i = 0; i < images_count(images); i++)
		symbol_address(images_get(images, i), "seed_outer", &addr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "7f0000000000-7f0000001000 r--p 00000000 08:01 77 /seed.so\n"
				   "7f0000001000-7f0000002000 r-xp 00001000 08:01 77 /seed.so\n"
				   "7f0000002000-7f0000006000 r--p 00002000 08:01 77 /seed.so\n"
				   "7f0000100000-7f0000140000 rw-p 00000000 00:00 0 [stack]\n";
	struct input in = { .data = data, .size = size };
	struct stack stacks[8] = { 0 };
	struct proc_maps maps = { 0 };
	struct images *images;
	uint64_t addr[8];
	bool named = false;
	int fd;

	if (!size)
		return 0;
	if (proc_maps_parse(text, sizeof(text) - 1, &maps) < 0 || images_new(&images) < 0)
		abort();
	fd = elf_of(data, size);
	for (size_t i = 0; i < 8; i++)
		addr[i] = 0x1000 + i * 0x30;
	if (symbols_name_file(fd, addr, 8, stacks) == 0) {
		for (size_t i = 0; i < 8; i++) {
			named |= stacks[i].count && !strcmp(stacks[i].frame[stacks[i].count - 1].function, "middle");
			stack_done(&stacks[i]);
		}
	}
	if (size == 1 && data[0] != 'R')
		assert(named); /* the file as it was built */
	if (images_add_file(images, 8, 1, 77, fd) == 0 && images_place(images, &maps) == 0)
		look(images, &in);
	images_free(images);
	proc_maps_free(&maps);
	return 0;
}
