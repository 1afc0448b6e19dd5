// SPDX-License-Identifier: MIT
/* By hand, not by libelf: a core often holds the first page of a file only, which is
 * enough for us. Trap: a header's addresses are the file's claim, so all sums wrap. */
#include "buildid.h"

#include <elf.h>
#include <string.h>

#define PHDRS_MAX 128
#define NOTES_MAX (64u << 10)

static bool find_note(const struct memory *mem, uint64_t at, uint64_t size, struct buildid *ret)
{
	uint64_t end = at + MIN(size, (uint64_t)NOTES_MAX);
	char name[4];
	Elf64_Nhdr head;

	while (end - at >= sizeof(head) && memory_get(mem, at, &head, sizeof(head)) == 0) {
		uint64_t name_size = ((uint64_t)head.n_namesz + 3) & ~3ull;
		uint64_t desc_size = ((uint64_t)head.n_descsz + 3) & ~3ull;
		uint64_t left = end - at - sizeof(head);

		if (name_size > left || desc_size > left - name_size)
			break;
		at += sizeof(head);
		if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == sizeof(name) && head.n_descsz &&
		    head.n_descsz <= sizeof(ret->byte) && memory_get(mem, at, name, sizeof(name)) == 0 &&
		    !memcmp(name, "GNU", 4) && memory_get(mem, at + name_size, ret->byte, head.n_descsz) == 0) {
			ret->len = head.n_descsz;
			return true;
		}
		at += name_size + desc_size;
	}
	return false;
}

static struct buildid look(const struct memory *mem, uint64_t base, bool mapped)
{
	struct buildid found = { .len = 0 };
	uint64_t first = UINT64_MAX;
	Elf64_Phdr phdr;
	Elf64_Ehdr ehdr;
	int count;

	if (memory_get(mem, base, &ehdr, sizeof(ehdr)) < 0 || memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 ||
	    ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_phentsize != sizeof(phdr))
		return found;
	count = MIN(ehdr.e_phnum, PHDRS_MAX);
	for (int i = 0; i < count; i++) {
		if (memory_get(mem, base + ehdr.e_phoff + (uint64_t)i * sizeof(phdr), &phdr, sizeof(phdr)) < 0)
			return found;
		/* Headers of segments come in the order of their addresses. */
		if (phdr.p_type == PT_LOAD && first == UINT64_MAX)
			first = phdr.p_vaddr - phdr.p_offset;
	}
	for (int i = 0; i < count && !found.len; i++) {
		if (memory_get(mem, base + ehdr.e_phoff + (uint64_t)i * sizeof(phdr), &phdr, sizeof(phdr)) < 0)
			break;
		if (phdr.p_type == PT_NOTE)
			find_note(mem, mapped ? base + phdr.p_vaddr - first : phdr.p_offset, phdr.p_filesz, &found);
	}
	return found;
}

struct buildid buildid_of_file(const struct memory *mem)
{
	return look(mem, 0, false);
}

struct buildid buildid_of_image(const struct memory *mem, uint64_t base)
{
	return look(mem, base, true);
}

bool buildid_same(const struct buildid *one, const struct buildid *two)
{
	return one->len && one->len == two->len && memcmp(one->byte, two->byte, one->len) == 0;
}
