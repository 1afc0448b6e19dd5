/* SPDX-License-Identifier: MIT */
/* A small core that is whole, made by hand and not by core.c: five segments, two threads,
 * a program with two libraries, our own note. Tests and the fuzzer damage it. */
#ifndef REQTRAP_PLAY_CORE_H
#define REQTRAP_PLAY_CORE_H

#include "core.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/user.h>

#define PLAY_PROGRAM 0x400000ull /* its first page */
#define PLAY_DATA 0x401000ull	 /* dynamic section, link map */
#define PLAY_TEXT 0x402000ull	 /* left to the file */
#define PLAY_VDSO 0x700000ull
#define PLAY_STACK 0x7ff000ull
#define PLAY_SEGMENTS 5
#define PLAY_NOTE_ROOM 0x3000u
#define PLAY_DATA_AT (0x1000u + PLAY_NOTE_ROOM) /* of the first segment */
#define PLAY_SIZE (PLAY_DATA_AT + 4 * 0x1000u)
#define PLAY_XSTATE 832u
#define PLAY_ID_AT 0x300 /* of the build-id's note in the program */

struct play_core {
	uint8_t byte[PLAY_SIZE];
	size_t notes;				/* bytes of notes */
	size_t prstatus[2], xstate[2], process; /* where their contents are */
	size_t auxv, files, text;
};

/* A program's first page, as file and as memory. */
static inline void play_program(uint8_t *page)
{
	static const uint8_t id[20] = { 1, 2, 3, 4 };
	Elf64_Ehdr ehdr = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			    .e_type = ET_EXEC,
			    .e_machine = EM_X86_64,
			    .e_phoff = sizeof(ehdr),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = 4 };
	Elf64_Phdr phdr[4] = {
		{ .p_type = PT_PHDR, .p_offset = 64, .p_vaddr = PLAY_PROGRAM + 64 },
		{ .p_type = PT_LOAD, .p_vaddr = PLAY_PROGRAM, .p_filesz = 0x3000, .p_memsz = 0x3000 },
		{ .p_type = PT_DYNAMIC, .p_offset = 0x1000, .p_vaddr = PLAY_DATA },
		{ .p_type = PT_NOTE, .p_offset = PLAY_ID_AT, .p_vaddr = PLAY_PROGRAM + PLAY_ID_AT, .p_filesz = 36 },
	};
	Elf64_Nhdr note = { .n_namesz = 4, .n_descsz = sizeof(id), .n_type = NT_GNU_BUILD_ID };

	memset(page, 0, 0x1000);
	memcpy(page, &ehdr, sizeof(ehdr));
	memcpy(page + 64, phdr, sizeof(phdr));
	memcpy(page + PLAY_ID_AT, &note, sizeof(note));
	memcpy(page + PLAY_ID_AT + 12, "GNU", 4);
	memcpy(page + PLAY_ID_AT + 16, id, sizeof(id));
}

static inline void play_data(uint8_t *page)
{
	Elf64_Dyn dyn[2] = { { .d_tag = DT_DEBUG, .d_un.d_ptr = PLAY_DATA + 0x100 }, { .d_tag = DT_NULL } };
	struct r_debug debug = { .r_version = 1 };
	struct link_map map = { .l_addr = 0 };

	memcpy(page, dyn, sizeof(dyn));
	debug.r_map = (struct link_map *)(PLAY_DATA + 0x200);
	memcpy(page + 0x100, &debug, sizeof(debug));
	map.l_name = (char *)(PLAY_DATA + 0x400);
	map.l_next = (struct link_map *)(PLAY_DATA + 0x300);
	memcpy(page + 0x200, &map, sizeof(map));
	map.l_next = NULL;
	memcpy(page + 0x300, &map, sizeof(map));
	strcpy((char *)page + 0x400, "libplay.so");
}

static inline size_t play_note(struct play_core *c, const char *name, uint32_t type, const void *data, size_t len)
{
	Elf64_Nhdr head = { .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)len, .n_type = type };
	uint8_t *at = c->byte + 0x1000 + c->notes;
	size_t desc = sizeof(head) + ((head.n_namesz + 3) & ~3u);

	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), name, head.n_namesz);
	memcpy(at + desc, data, len);
	c->notes += desc + ((len + 3) & ~(size_t)3);
	return (size_t)(at - c->byte) + desc;
}

static inline void play_thread(struct play_core *c, int n)
{
	struct elf_prstatus status = { .pr_pid = 100 + n };
	struct user_regs_struct regs = { .rip = PLAY_TEXT, .rsp = PLAY_STACK + 0x800 };
	uint8_t xstate[PLAY_XSTATE] = { 0 };

	memcpy(&status.pr_reg, &regs, sizeof(regs));
	xstate[464] = 7; /* x87, SSE, AVX */
	xstate[512] = 3;
	c->prstatus[n] = play_note(c, "CORE", NT_PRSTATUS, &status, sizeof(status));
	play_note(c, "CORE", NT_FPREGSET, xstate, 512);
	c->xstate[n] = play_note(c, "LINUX", NT_X86_XSTATE, xstate, sizeof(xstate));
}

static inline void play_process(struct play_core *c, const char *path)
{
	static const char text[] = "comment: a play\nkind: full\nmethod: clone\npause_ns: 1500000\nthreads: 2\n"
				   "not_stopped: 0\nleft_in_files_bytes: 4096\nomitted: 0\n";
	struct elf_prpsinfo info = { .pr_pid = 100, .pr_fname = "play" };
	Elf64_auxv_t auxv[] = { { AT_PHDR, { PLAY_PROGRAM + 64 } },
				{ AT_PHNUM, { 4 } },
				{ AT_ENTRY, { PLAY_TEXT } },
				{ AT_SYSINFO_EHDR, { PLAY_VDSO } },
				{ AT_NULL, { 0 } } };
	uint8_t files[4096] = { 0 };
	uint64_t word[] = { 2, 0x1000, PLAY_PROGRAM, PLAY_DATA, 0, PLAY_TEXT, PLAY_TEXT + 0x1000, 2 };
	size_t len = sizeof(word), name = strlen(path) + 1;

	memcpy(files, word, sizeof(word));
	memcpy(files + len, path, name);
	memcpy(files + len + name, path, name);
	c->process = play_note(c, "CORE", NT_PRPSINFO, &info, sizeof(info));
	c->auxv = play_note(c, "CORE", NT_AUXV, auxv, sizeof(auxv));
	c->files = play_note(c, "CORE", NT_FILE, files, len + 2 * name);
	c->text = play_note(c, "REQTRAP", CORE_NOTE_TEXT, text, sizeof(text));
}

static inline Elf64_Phdr *play_phdr(struct play_core *c, size_t n)
{
	return (Elf64_Phdr *)(void *)(c->byte + sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr));
}

/* path: of a file with the program's page in it. */
static inline void play_core(struct play_core *c, const char *path)
{
	static const uint64_t start[PLAY_SEGMENTS] = { PLAY_PROGRAM, PLAY_DATA, PLAY_TEXT, PLAY_VDSO, PLAY_STACK };
	Elf64_Ehdr ehdr = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			    .e_type = ET_CORE,
			    .e_machine = EM_X86_64,
			    .e_phoff = sizeof(ehdr),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = PLAY_SEGMENTS + 1 };
	uint64_t at = PLAY_DATA_AT;

	memset(c, 0, sizeof(*c));
	memcpy(c->byte, &ehdr, sizeof(ehdr));
	play_thread(c, 0);
	play_process(c, path);
	play_thread(c, 1);
	*play_phdr(c, 0) = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 0x1000, .p_filesz = c->notes, .p_align = 4 };
	for (size_t i = 0; i < PLAY_SEGMENTS; i++) {
		uint64_t size = start[i] == PLAY_TEXT ? 0 : 0x1000;

		*play_phdr(c, i + 1) = (Elf64_Phdr){ .p_type = PT_LOAD,
						     .p_flags = PF_R,
						     .p_offset = at,
						     .p_vaddr = start[i],
						     .p_filesz = size,
						     .p_memsz = 0x1000,
						     .p_align = 0x1000 };
		at += size;
	}
	play_program(c->byte + PLAY_DATA_AT);
	play_data(c->byte + PLAY_DATA_AT + 0x1000);
	memcpy(c->byte + PLAY_DATA_AT + 0x2000, ELFMAG, SELFMAG);
}

#endif
