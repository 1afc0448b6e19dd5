// SPDX-License-Identifier: MIT
/* Trap: a name in maps is the target's own text; one that ends in ' (deleted)' only
 * makes us dump more. Pages of a deleted file are dumped: nobody can look them up. */
#include "contents.h"

#include <string.h>

bool contents_shared(const struct proc_map *map)
{
	return map->perms[3] == 's';
}

bool contents_deleted(const struct proc_map *map)
{
	static const char mark[] = " (deleted)";
	size_t n = strlen(map->name);

	return n >= sizeof(mark) - 1 && !strcmp(map->name + n - (sizeof(mark) - 1), mark);
}

enum contents contents_of(const struct proc_map *map, unsigned int filter, bool changed, bool elf, const char **ret_why)
{
	static const char *const kernels[] = { "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]" };
	bool shared = contents_shared(map), file = map->inode && !contents_deleted(map);
	unsigned int bit;

	for (size_t i = 0; i < ARRAY_LEN(kernels); i++) {
		if (!strcmp(map->name, kernels[i]))
			return CONTENTS_SKIP;
	}
	if (!strcmp(map->name, "[vdso]"))
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
	if (bit == FILTER_FILE_PRIVATE || (bit == FILTER_FILE_SHARED && map->perms[1] != 'w'))
		return elf && (filter & FILTER_ELF_HEADERS) ? CONTENTS_HEADER : CONTENTS_FILE;
	*ret_why = bit == FILTER_FILE_SHARED ? "shared mapping of a file (coredump_filter)" : "coredump_filter";
	return CONTENTS_OMIT;
}
