/* SPDX-License-Identifier: MIT */
/* A core file, ours or anybody's (the kernel's, gcore's, gdb's), plain or zstd: its
 * segments, its notes one by one, its memory. 64-bit little-endian. Judges nothing:
 * what is damaged reads as far as it goes, verify.h says what is wrong with it. Every
 * byte is hostile. Blocks on the disk. Memory: 1 MiB at most, and what seek.h needs. */
#ifndef REQTRAP_COREFILE_H
#define REQTRAP_COREFILE_H

#include "memory.h"
#include "seek.h"

#include <elf.h>

#define COREFILE_SEGMENTS_MAX (1u << 22) /* program headers; those of a table that is longer are not read */
#define COREFILE_NOTES_MAX (1ull << 30)	 /* bytes of notes that are walked */
#define COREFILE_NAME_MAX 16		 /* of a note's owner, with its NUL; a longer one is cut */
#define COREFILE_TEXT_MAX (256u << 10)	 /* bytes of our own note that are looked at */

struct corefile;

struct corefile_segment {
	uint64_t start, end;
	uint64_t data_end; /* [start, data_end) is in the file */
	uint64_t offset;   /* there */
};

struct corefile_note {
	char name[COREFILE_NAME_MAX];
	uint32_t type, size;
	uint64_t offset; /* of its content, in the file */
};

/* The descriptor stays the caller's. -EINVAL: not a core, or not one that is read here;
 * the text speaks of 'the file'. -ENOMEM, or what seek_open says. */
int corefile_open(int fd, struct corefile **ret_core, struct err *err);
void corefile_close(struct corefile *core); /* NULL is fine */

const Elf64_Ehdr *corefile_header(const struct corefile *core);
struct seek *corefile_seek(const struct corefile *core);
uint64_t corefile_size(const struct corefile *core); /* of its content, not compressed */

uint64_t corefile_declared(const struct corefile *core); /* program headers that it says it has */
size_t corefile_count(const struct corefile *core);	 /* of them, those that can be read */

/* Program header n < count, as it stands in the file. -EBADMSG. In order they are cheap. */
int corefile_phdr(struct corefile *core, size_t n, Elf64_Phdr *ret_phdr);

/* The segment with memory at addr: false, there is none. */
bool corefile_find(struct corefile *core, uint64_t addr, struct corefile_segment *ret_segment);

/* As seek_read: a short count is the file's end, -EBADMSG damage. */
ssize_t corefile_read(struct corefile *core, uint64_t offset, void *buf, size_t len);

/* Calls 'each' for every note in the order of the file, until it returns less than 0,
 * which is passed on. -EBADMSG: a note's sizes do not fit, or the notes are cut off; all
 * before were told. -E2BIG: more than COREFILE_NOTES_MAX. */
int corefile_notes(struct corefile *core, int (*each)(void *arg, const struct corefile_note *note), void *arg,
		   struct err *err);

/* What the core holds of the process's memory. What it does not hold is not there. */
struct memory corefile_memory(struct corefile *core);

#endif
