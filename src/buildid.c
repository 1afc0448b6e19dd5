// SPDX-License-Identifier: MIT
/* By hand, not by libelf: a core often holds the first page of a file only, which is
 * enough for us. Trap: a header's addresses are the file's claim, so all sums wrap. */
#include "buildid.h"

#include <elf.h>
#include <string.h>

#define PHDRS_MAX 128
#define NOTES_MAX (64u << 10)

/* Of a name of three letters at most, as those that we look for have. */
struct note {
	uint32_t type;
	char name[4];
	bool cut; /* only what fits of a longer one is of interest */
};

static bool find_note(const struct memory *mem, uint64_t at, uint64_t size, const struct note *note,
		      struct buildid *ret)
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
		if (head.n_type == note->type && head.n_namesz == sizeof(name) && head.n_descsz &&
		    (head.n_descsz <= sizeof(ret->byte) || note->cut) && memory_get(mem, at, name, sizeof(name)) == 0 &&
		    !memcmp(name, note->name, sizeof(name)) &&
		    memory_get(mem, at + name_size, ret->byte, MIN(head.n_descsz, sizeof(ret->byte))) == 0) {
			ret->len = MIN(head.n_descsz, sizeof(ret->byte));
			return true;
		}
		at += name_size + desc_size;
	}
	return false;
}

static const struct note gnu = { NT_GNU_BUILD_ID, "GNU", false }, go = { 4, "Go", true };

static struct buildid look(const struct memory *mem, uint64_t base, bool mapped, const struct note *note)
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
			find_note(mem, mapped ? base + phdr.p_vaddr - first : phdr.p_offset, phdr.p_filesz, note,
				  &found);
	}
	return found;
}

struct buildid buildid_of_file(const struct memory *mem)
{
	return look(mem, 0, false, &gnu);
}

struct buildid buildid_of_image(const struct memory *mem, uint64_t base)
{
	return look(mem, base, true, &gnu);
}

bool buildid_is_go(const struct memory *mem)
{
	return look(mem, 0, false, &go).len;
}

bool buildid_same(const struct buildid *one, const struct buildid *two)
{
	return one->len && one->len == two->len && memcmp(one->byte, two->byte, one->len) == 0;
}
