/* SPDX-License-Identifier: MIT */
/* Native stacks: the ELF images mapped into a target, and walks over its threads'
 * stacks by their unwind tables. Opens nothing and stops nothing: files come as fds,
 * memory by callback, registers in a capture; so a live process, a frozen copy and a
 * core are the same to it. Walks give addresses only; symbol.h names them afterwards.
 * Every input is hostile: counts, depths and sizes are bounded. */
#ifndef REQTRAP_STACK_H
#define REQTRAP_STACK_H

#include "capture.h"
#include "err.h"
#include "memory.h"
#include "proc.h"

#define STACK_FRAMES_MAX 256 /* of one thread; a longer walk says that it was cut */
#define IMAGES_MAX 2048	     /* ELF files of one process */

/* One ELF file at one place in the target. */
struct image {
	char name[64];	  /* base name of the file, or '[vdso]' */
	uint64_t bias;	  /* address in the target = address in the file + bias */
	const void *file; /* the file, mapped read-only; NULL for the vdso */
	size_t file_len;
	void *module; /* libdwfl's handle, for symbol.c */
};

struct images;

int images_new(struct images **ret_images);
void images_free(struct images *images);

/* Hands over one ELF file of the target (fd is ours from now on, also on failure). */
int images_add_file(struct images *images, uint64_t dev_major, uint64_t dev_minor, uint64_t inode, int fd);

/* Finds where each file lies. 'maps' must outlive images. Called again (a later
 * mmap changed the map) it starts over. */
int images_place(struct images *images, const struct proc_maps *maps);

size_t images_count(const struct images *images);
const struct image *images_get(const struct images *images, size_t index);

/* The image that has an address (NULL: JIT code, anonymous, or a file not given). */
const struct image *images_find(const struct images *images, uint64_t addr);
const struct proc_maps *images_maps(const struct images *images);

/* The address that code has in its image, for code that is mapped a second time. */
uint64_t images_home(const struct images *images, uint64_t addr);

/* Files that were handed over and are no usable ELF: a count for the notes. */
size_t images_bad(const struct images *images);

struct walk_frame {
	uint64_t pc;
	bool exact; /* the instruction itself, not the one after a call */
};

struct walk {
	struct walk_frame *frame; /* innermost first */
	size_t count;
	char *why; /* why it ended early, NULL if whole */
};

/* Walks 'count' threads into as many walks. 'mem' is asked for stack bytes. */
int images_walk(struct images *images, const struct memory *mem, const struct capture_thread *threads, size_t count,
		struct walk *ret_walks);
void walk_done(struct walk *walk);

/* The address that a frame's name and line are looked up by. */
static inline uint64_t walk_lookup(const struct walk_frame *f)
{
	return f->exact || f->pc == 0 ? f->pc : f->pc - 1;
}

#endif
