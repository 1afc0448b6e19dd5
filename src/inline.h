/* SPDX-License-Identifier: MIT */
/* The functions that a compiler has put into another one, at one address: they have frames
 * in the program's text and none on its stack. Out of the DWARF of the target's own files,
 * which is hostile; without it there are none. */
#ifndef REQTRAP_INLINE_H
#define REQTRAP_INLINE_H

#include "stack.h"

#define INLINE_MAX 16 /* nested at one address; the outer ones are left out */

struct inlined {
	char *function; /* NULL: without a name */
	char *file;	/* where it was called, in the next outer one; NULL unknown */
	uint32_t line;
};

/* Innermost first; returns how many. The texts are the caller's: inlined_done. ret_outer:
 * the name of the function that they all lie in; NULL unknown. */
size_t inline_find(const struct image *image, uint64_t addr, struct inlined ret[INLINE_MAX], char **ret_outer);
void inlined_done(struct inlined *list, size_t count);

#endif
