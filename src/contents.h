/* SPDX-License-Identifier: MIT */
/* Which mappings go into a core, and from where: the rules alone, as the kernel's own
 * dumper has them, with coredump_filter and MADV_DONTDUMP honoured. Pure. */
#ifndef REQTRAP_CONTENTS_H
#define REQTRAP_CONTENTS_H

#include "proc.h"

/* Bits of /proc/PID/coredump_filter. */
enum filter {
	FILTER_ANON_PRIVATE = 1 << 0,
	FILTER_ANON_SHARED = 1 << 1,
	FILTER_FILE_PRIVATE = 1 << 2,
	FILTER_FILE_SHARED = 1 << 3,
	FILTER_ELF_HEADERS = 1 << 4,
	FILTER_HUGE_PRIVATE = 1 << 5,
	FILTER_HUGE_SHARED = 1 << 6,
	FILTER_DEFAULT = 0x33,
	FILTER_EVERYTHING = 1 << 16, /* ours: all that is memory, pages of files and MADV_DONTDUMP too */
};

enum contents {
	CONTENTS_SKIP,	 /* belongs to the kernel: no part of the process's memory */
	CONTENTS_FILE,	 /* unchanged pages of a file that exists: they are in the file */
	CONTENTS_HEADER, /* the same, but its first page is an ELF header: that goes in */
	CONTENTS_WHOLE,
	CONTENTS_OMIT, /* left out on somebody's wish: ret_why says whose */
};

/* changed: the process has private pages in it. elf: it begins with an ELF header. */
enum contents contents_of(const struct proc_map *map, unsigned int filter, bool changed, bool elf,
			  const char **ret_why);

bool contents_shared(const struct proc_map *map);  /* a fork does not copy it */
bool contents_deleted(const struct proc_map *map); /* its file has no name any more */

#endif
