// SPDX-License-Identifier: MIT
/* Trap: a name in maps is the target's own text; one that ends in ' (deleted)' only
 * makes us dump more. Pages of a deleted file are dumped: nobody can look them up. */
#include "contents.h"

bool contents_shared(const struct proc_map *map)
{
	return map->shared;
}

bool contents_deleted(const struct proc_map *map)
{
	return map->deleted;
}

enum contents contents_of(const struct proc_map *map, unsigned int filter, bool changed, bool elf, const char **ret_why)
{
	bool shared = contents_shared(map), file = map->inode && !contents_deleted(map);
	unsigned int bit;

	if (map->kind == PROC_MAP_KERNEL)
		return CONTENTS_SKIP;
	if (map->kind == PROC_MAP_VDSO)
		return CONTENTS_WHOLE;
	if (map->device) {
		*ret_why = "device memory, which cannot be read";
		return CONTENTS_OMIT;
	}
	if (filter & FILTER_EVERYTHING)
		return CONTENTS_WHOLE;
	if (map->dontdump) {
		*ret_why = "MADV_DONTDUMP or device memory";
		return CONTENTS_OMIT;
	}
	if (map->huge)
		bit = shared ? FILTER_HUGE_SHARED : FILTER_HUGE_PRIVATE;
	else if (shared)
		bit = file ? FILTER_FILE_SHARED : FILTER_ANON_SHARED;
	else if (changed || !map->inode || !file)
		bit = FILTER_ANON_PRIVATE;
	else
		bit = FILTER_FILE_PRIVATE;
	if (filter & bit)
		return CONTENTS_WHOLE;
	if (bit == FILTER_FILE_PRIVATE || (bit == FILTER_FILE_SHARED && !map->writable))
		return elf && (filter & FILTER_ELF_HEADERS) ? CONTENTS_HEADER : CONTENTS_FILE;
	*ret_why = bit == FILTER_FILE_SHARED ? "shared mapping of a file (coredump_filter)" : "coredump_filter";
	return CONTENTS_OMIT;
}
