// SPDX-License-Identifier: MIT
/* Headers, notes, then the segments in one pass, so that a compressed stream can be
 * written as well as a plain file. Rejected: seeking back to fill in sizes. Traps:
 * more than 65534 segments need section header 0 (PN_XNUM); pages that are zero are
 * not written; a page that cannot be read must not shift what follows. */
#include "core.h"

#include <elf.h>
#include <string.h>

#define CHUNK_BYTES (1u << 20)
#define NOTES_MAX (1u << 30)
#define PROGRESS_BYTES (4u << 20)

void core_init(struct core *core)
{
	*core = (struct core){ 0 };
	buf_init(&core->notes, NOTES_MAX);
}

void core_done(struct core *core)
{
	buf_done(&core->notes);
	free(core->segment);
	core->segment = NULL;
	core->count = core->cap = 0;
}

static void add_note(struct core *core, const char *name, uint32_t type, const void *data, size_t len)
{
	static const char pad[4];
	size_t name_len = strlen(name) + 1;
	Elf64_Nhdr nhdr = { .n_namesz = (uint32_t)name_len, .n_descsz = (uint32_t)len, .n_type = type };

	buf_add(&core->notes, &nhdr, sizeof(nhdr));
	buf_add(&core->notes, name, name_len);
	buf_add(&core->notes, pad, -name_len & 3);
	buf_add(&core->notes, data, len);
	buf_add(&core->notes, pad, -len & 3);
}

void core_add_thread(struct core *core, const struct core_process *process, const struct core_thread *thread)
{
	struct elf_prstatus status = {
		.pr_pid = thread->tid,
		.pr_ppid = process->ppid,
		.pr_pgrp = process->pgrp,
		.pr_sid = process->session,
		.pr_sigpend = thread->sigpend,
		.pr_sighold = thread->sighold,
		.pr_fpvalid = thread->xstate_len >= 512,
	};

	_Static_assert(sizeof(status.pr_reg) == sizeof(*thread->regs), "registers as ptrace gives them");
	memcpy(&status.pr_reg, thread->regs, sizeof(status.pr_reg));
	add_note(core, "CORE", NT_PRSTATUS, &status, sizeof(status));
	if (thread->xstate_len < 512)
		return;
	add_note(core, "CORE", NT_FPREGSET, thread->xstate, 512);
	if (thread->xstate_len > 512)
		add_note(core, "LINUX", NT_X86_XSTATE, thread->xstate, thread->xstate_len);
}

static void add_files(struct core *core, const struct proc_maps *maps)
{
	uint64_t head[2] = { 0, PAGE_BYTES };
	struct buf desc;

	buf_init(&desc, NOTES_MAX);
	for (size_t i = 0; i < maps->count; i++)
		head[0] += maps->map[i].name[0] == '/';
	buf_add(&desc, head, sizeof(head));
	for (size_t i = 0; i < maps->count; i++) {
		const struct proc_map *map = &maps->map[i];
		uint64_t row[3] = { map->start, map->end, map->offset / PAGE_BYTES };

		if (map->name[0] == '/')
			buf_add(&desc, row, sizeof(row));
	}
	for (size_t i = 0; i < maps->count; i++) {
		if (maps->map[i].name[0] == '/')
			buf_add(&desc, maps->map[i].name, strlen(maps->map[i].name) + 1);
	}
	core->notes.full |= desc.full;
	add_note(core, "CORE", NT_FILE, desc.data, desc.len);
	buf_done(&desc);
}

void core_add_process(struct core *core, const struct core_process *process, const void *auxv, size_t auxv_len,
		      const struct proc_maps *maps)
{
	static const char states[] = "RSDTZW";
	const char *state = process->state ? strchr(states, process->state) : NULL;
	uint8_t siginfo[128] = { 0 };
	struct elf_prpsinfo info = {
		.pr_state = (char)(state ? state - states : 0),
		.pr_sname = process->state,
		.pr_zomb = process->state == 'Z',
		.pr_nice = (char)process->nice,
		.pr_flag = process->flags,
		.pr_uid = process->uid,
		.pr_gid = process->gid,
		.pr_pid = process->pid,
		.pr_ppid = process->ppid,
		.pr_pgrp = process->pgrp,
		.pr_sid = process->session,
	};

	memcpy(info.pr_fname, process->comm, strnlen(process->comm, sizeof(info.pr_fname)));
	memcpy(info.pr_psargs, process->args, strnlen(process->args, sizeof(info.pr_psargs) - 1));
	add_note(core, "CORE", NT_PRPSINFO, &info, sizeof(info));
	add_note(core, "CORE", NT_SIGINFO, siginfo, sizeof(siginfo));
	add_note(core, "CORE", NT_AUXV, auxv, auxv_len);
	add_files(core, maps);
}

void core_add_text(struct core *core, const char *text, size_t len)
{
	add_note(core, "REQTRAP", CORE_NOTE_TEXT, text, len);
}

int core_add_segment(struct core *core, const struct core_segment *segment)
{
	if (core->count == core->cap) {
		size_t bigger = core->cap ? core->cap * 2 : 256;
		struct core_segment *more = realloc(core->segment, bigger * sizeof(*more));

		if (!more)
			return -ENOMEM;
		core->segment = more;
		core->cap = bigger;
	}
	core->segment[core->count++] = *segment;
	return 0;
}

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static int write_headers(const struct core *core, struct sink *sink, struct err *err)
{
	bool many = core->count + 1 >= PN_XNUM;
	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE },
		.e_type = ET_CORE,
		.e_machine = ARCH_ELF_MACHINE,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr) + (many ? sizeof(Elf64_Shdr) : 0),
		.e_shoff = many ? sizeof(ehdr) : 0,
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)(many ? PN_XNUM : core->count + 1),
		.e_shentsize = many ? sizeof(Elf64_Shdr) : 0,
		.e_shnum = many,
	};
	Elf64_Shdr shdr = { .sh_info = (uint32_t)(core->count + 1), .sh_size = 1 };
	Elf64_Phdr note = {
		.p_type = PT_NOTE,
		.p_offset = ehdr.e_phoff + (core->count + 1) * sizeof(note),
		.p_filesz = core->notes.len,
		.p_align = 4,
	};
	uint64_t offset = page_up(note.p_offset + note.p_filesz);
	int r = sink_write(sink, &ehdr, sizeof(ehdr), err);

	if (r == 0 && many)
		r = sink_write(sink, &shdr, sizeof(shdr), err);
	if (r == 0)
		r = sink_write(sink, &note, sizeof(note), err);
	for (size_t i = 0; i < core->count && r == 0; i++) {
		const struct core_segment *seg = &core->segment[i];
		Elf64_Phdr load = {
			.p_type = PT_LOAD,
			.p_flags = seg->flags,
			.p_offset = offset,
			.p_vaddr = seg->start,
			.p_filesz = seg->data_end - seg->start,
			.p_memsz = seg->end - seg->start,
			.p_align = PAGE_BYTES,
		};

		offset += load.p_filesz;
		r = sink_write(sink, &load, sizeof(load), err);
	}
	if (r == 0)
		r = sink_write(sink, core->notes.data, core->notes.len, err);
	if (r == 0)
		r = sink_zeros(sink, page_up(sink_written(sink)) - sink_written(sink), err);
	return r;
}

static bool page_is_zero(const uint8_t *page)
{
	const uint64_t *word = (const uint64_t *)page;
	uint64_t any = 0;

	for (size_t i = 0; i < PAGE_BYTES / sizeof(*word); i += 8) {
		any = word[i] | word[i + 1] | word[i + 2] | word[i + 3] | word[i + 4] | word[i + 5] | word[i + 6] |
		      word[i + 7];
		if (any)
			return false;
	}
	return true;
}

struct writer {
	struct sink *sink;
	const struct core_watch *watch;
	struct err *err;
	uint8_t *chunk;
	uint64_t zeros; /* not yet told the sink */
	uint64_t done, told;
};

static int put_zeros(struct writer *w)
{
	uint64_t len = w->zeros;

	w->zeros = 0;
	return len ? sink_zeros(w->sink, len, w->err) : 0;
}

static int put_pages(struct writer *w, const uint8_t *data, size_t len)
{
	size_t at = 0;
	int r = 0;

	while (at < len && r == 0) {
		size_t run = at;

		while (at < len && page_is_zero(data + at))
			at += PAGE_BYTES;
		w->zeros += at - run;
		run = at;
		while (at < len && !page_is_zero(data + at))
			at += PAGE_BYTES;
		if (at == run)
			break;
		r = put_zeros(w);
		if (r == 0)
			r = sink_write(w->sink, data + run, at - run, w->err);
	}
	return r;
}

/* [start, end): pages that hold something. */
static int copy_run(struct writer *w, const struct core_source *source, uint64_t start, uint64_t end)
{
	int r = 0;

	while (start < end && r == 0) {
		size_t want = (size_t)MIN(end - start, (uint64_t)CHUNK_BYTES);
		ssize_t n = source->memory.read(source->memory.arg, start, w->chunk, want);

		/* That all of it is gone is for go_on to notice. */
		n = n < 0 ? 0 : n & ~(ssize_t)(PAGE_BYTES - 1);
		if (n == 0) { /* this page cannot be read: zeros stand for it, and it is told */
			w->watch->unread(w->watch->arg, start, start + PAGE_BYTES,
					 source->unreadable ? source->unreadable : "unreadable");
			w->zeros += PAGE_BYTES;
			n = PAGE_BYTES;
		} else {
			r = put_pages(w, w->chunk, (size_t)n);
		}
		start += (uint64_t)n;
		w->done += (uint64_t)n;
		if (r == 0 && w->done - w->told >= PROGRESS_BYTES) {
			w->told = w->done;
			r = w->watch->go_on(w->watch->arg, w->done, w->err);
		}
	}
	return r;
}

static int copy_segment(struct writer *w, const struct core_segment *seg)
{
	uint64_t at = seg->start;

	while (at < seg->data_end) {
		uint64_t start = at, end = seg->data_end;
		int r = seg->source->pages.next
				? pages_next(&seg->source->pages, PAGES_ANY, at, seg->data_end, &start, &end)
				: 1;

		if (r < 0 && !seg->source->unreadable)
			return err_sys(w->err, r, "cannot read the page tables of the process");
		if (r < 0)
			w->watch->unread(w->watch->arg, at, seg->data_end, seg->source->unreadable);
		if (r <= 0)
			start = end = seg->data_end;
		w->zeros += start - at;
		r = copy_run(w, seg->source, start, end);
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

int core_write(const struct core *core, struct sink *sink, const struct core_watch *watch, struct err *err)
{
	struct writer w = { .sink = sink, .watch = watch, .err = err };
	int r;

	if (core->notes.full)
		return err_sys(err, -ENOMEM, "cannot write the core's notes");
	if (posix_memalign((void **)&w.chunk, PAGE_BYTES, CHUNK_BYTES))
		return err_sys(err, -ENOMEM, "cannot write the core");
	r = write_headers(core, sink, err);
	for (size_t i = 0; i < core->count && r == 0; i++)
		r = copy_segment(&w, &core->segment[i]);
	if (r == 0)
		r = watch->go_on(watch->arg, w.done, err);
	if (r == 0)
		r = put_zeros(&w);
	free(w.chunk);
	return r;
}
