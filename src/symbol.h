/* SPDX-License-Identifier: MIT */
/* Names for addresses: function, file and line, from the target's own ELF files and
 * nothing else (no debug packages, never the network). Works on many walks at once:
 * each different address is named once, each file's symbols are read once. */
#ifndef REQTRAP_SYMBOL_H
#define REQTRAP_SYMBOL_H

#include "incident.h"
#include "stack.h"

#define LINES_NS 2000000000ull /* debug information can be gigabytes */

/* Fills ret_stacks[i] from walks[i]: 'execute_ex', 'fn_21a4f0' (start of an unnamed
 * function, from the unwind table), 'libfoo.so+0x1234' (offset in the file),
 * '[jit]', '[anon]'. Lines are looked for LINES_NS long; ret_late counts the addresses
 * that were not looked up by then. */
int symbols_name(struct images *images, const struct walk *walks, size_t count, struct stack *ret_stacks,
		 size_t *ret_late);

/* 'php-fpm8.2 (build-id 4f1c...), libx.so (no build-id)': the files of which functions were
 * named by their address alone, in the order of the images. On the heap; NULL: none. */
char *symbols_missing(const struct images *images, const struct stack *stacks, size_t count);

/* Adds the files of which some frame has no source line, of threads whose stacks are named. */
int symbols_modules(const struct images *images, pid_t pid, struct analysis *analysis);

/* Names in one file that is mapped nowhere, as a debug file is: addresses are the file's.
 * ret_stacks[i] has the frames of addr[i], none if it has no name there. Takes long with large
 * files. */
int symbols_name_file(int fd, const uint64_t *addr, size_t count, struct stack *ret_stacks);

/* Address in the target of an exported object or function; false if it has none.
 * The value is the file's claim: hostile. */
bool symbol_address(const struct image *image, const char *name, uint64_t *ret_addr);

#endif
