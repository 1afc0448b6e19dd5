// SPDX-License-Identifier: MIT
/* Rejected: dwarf_getscopes alone, which behind an inlined function goes on with what
 * surrounds its source text; the second question, for the parents of its innermost, gives
 * what surrounds its machine code. Trap: names and places of calls are attributes of two
 * different entries. */
#include "inline.h"

#include "demangle.h"
#include "incident.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <string.h>

#define NAME_MAX_BYTES 400
#define FILE_MAX_BYTES 4096

static char *name_of(Dwarf_Die *die)
{
	char readable[NAME_MAX_BYTES];
	Dwarf_Attribute attr;
	const char *linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attr));
	const char *name = dwarf_diename(die);

	if (linkage && demangle(linkage, readable, sizeof(readable)))
		return strdup(readable);
	return name ? strndup(name, NAME_MAX_BYTES) : NULL;
}

static void put_call(Dwarf_Files *files, Dwarf_Die *die, struct inlined *ret)
{
	Dwarf_Attribute attr;
	Dwarf_Word file, line;
	const char *name;

	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attr), &line) != 0 || !line || line > UINT32_MAX)
		return;
	if (!files || dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attr), &file) != 0)
		return;
	name = dwarf_filesrc(files, file, NULL, NULL);
	if (!name)
		return;
	ret->file = strndup(name, FILE_MAX_BYTES);
	ret->line = (uint32_t)line;
}

size_t inline_find(const struct image *image, uint64_t addr, struct inlined ret[INLINE_MAX], char **ret_outer)
{
	Dwarf_Addr bias = 0;
	Dwarf_Die *unit = image->module ? dwfl_module_addrdie(image->module, addr, &bias) : NULL, *near = NULL,
		  *scope = NULL;
	Dwarf_Files *files = NULL;
	size_t count = 0, none;
	int n = unit ? dwarf_getscopes(unit, addr - bias, &near) : 0;

	*ret_outer = NULL;
	n = n > 0 ? dwarf_getscopes_die(near, &scope) : 0;
	if (n > 0 && dwarf_getsrcfiles(unit, &files, &none) != 0)
		files = NULL;
	for (int i = 0; i < n; i++) {
		int tag = dwarf_tag(&scope[i]);

		if (tag == DW_TAG_subprogram) {
			*ret_outer = name_of(&scope[i]);
			break;
		}
		if (tag != DW_TAG_inlined_subroutine || count == INLINE_MAX)
			continue;
		ret[count] = (struct inlined){ .function = name_of(&scope[i]) };
		put_call(files, &scope[i], &ret[count++]);
	}
	free(near);
	free(scope);
	return count;
}

void inlined_done(struct inlined *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].function);
		free(list[i].file);
	}
}
