// SPDX-License-Identifier: MIT
/* Headers, notes, then the segments in one pass, so that a compressed stream can be
 * written as well as a plain file. Rejected: seeking back to fill in sizes. Traps:
 * more than 65534 segments need section header 0 (PN_XNUM); pages that are zero are
 * not written; a page that cannot be read must not shift what follows. */
#include "core.h"

#include <elf.h>
#include <string.h>

#define CHUNK_BYTES (256u << 10)
#define PROGRESS_BYTES (4u << 20)

void core_init(struct core *core)
{
	*core = (struct core){ .segments.fd = -1 };
}

void core_done(struct core *core)
{
	spool_close(&core->segments);
	core->count = core->from = 0;
}

/* Small pieces on their way to the sink; without one they are only counted. */
struct core_notes {
	struct sink *sink;
	struct err *err;
	uint8_t *chunk;
	size_t used;
	uint64_t len;
	int code; /* the first failure */
};

static void flush(struct core_notes *out)
{
	if (out->code == 0 && out->used)
		out->code = sink_write(out->sink, out->chunk, out->used, out->err);
	out->used = 0;
}

static void put(struct core_notes *out, const void *data, size_t len)
{
	const uint8_t *p = data;

	out->len += len;
	while (out->sink && len && out->code == 0) {
		size_t n = MIN(len, CHUNK_BYTES - out->used);

		memcpy(out->chunk + out->used, p, n);
		out->used += n;
		p += n;
		len -= n;
		if (out->used == CHUNK_BYTES)
			flush(out);
	}
}

static void put_pad(struct core_notes *out, size_t len)
{
	static const char zeros[4];

	put(out, zeros, -len & 3);
}

static void begin_note(struct core_notes *out, const char *name, uint32_t type, size_t len)
{
	size_t name_len = strlen(name) + 1;
	Elf64_Nhdr nhdr = { .n_namesz = (uint32_t)name_len, .n_descsz = (uint32_t)len, .n_type = type };

	put(out, &nhdr, sizeof(nhdr));
	put(out, name, name_len);
	put_pad(out, name_len);
}

static void add_note(struct core_notes *out, const char *name, uint32_t type, const void *data, size_t len)
{
	begin_note(out, name, type, len);
	put(out, data, len);
	put_pad(out, len);
}

void core_add_thread(struct core_notes *notes, const struct core_process *process, const struct core_thread *thread)
{
	struct elf_prstatus status = {
		.pr_info.si_signo = thread->signal,
		.pr_cursig = (short)thread->signal,
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
	add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
	if (thread->xstate_len < 512)
		return;
	add_note(notes, "CORE", NT_FPREGSET, thread->xstate, 512);
	if (thread->xstate_len > 512)
		add_note(notes, "LINUX", NT_X86_XSTATE, thread->xstate, thread->xstate_len);
}

static void add_files(struct core_notes *notes, const struct proc_maps *maps)
{
	uint64_t head[2] = { 0, PAGE_BYTES };
	size_t len = sizeof(head);

	for (size_t i = 0; i < maps->count; i++) {
		if (!maps->map[i].path)
			continue;
		head[0]++;
		len += 3 * sizeof(uint64_t) + strlen(proc_map_name(maps, &maps->map[i])) + 1;
	}
	begin_note(notes, "CORE", NT_FILE, len);
	put(notes, head, sizeof(head));
	for (size_t i = 0; i < maps->count; i++) {
		const struct proc_map *map = &maps->map[i];
		uint64_t row[3] = { map->start, map->end, map->offset / PAGE_BYTES };

		if (map->path)
			put(notes, row, sizeof(row));
	}
	for (size_t i = 0; i < maps->count; i++) {
		if (maps->map[i].path) {
			const char *name = proc_map_name(maps, &maps->map[i]);

			put(notes, name, strlen(name) + 1);
		}
	}
	put_pad(notes, len);
}

void core_add_process(struct core_notes *notes, const struct core_process *process, const void *auxv, size_t auxv_len,
		      const struct proc_maps *maps)
{
	static const char states[] = "RSDTZW";
	const char *state = process->state ? strchr(states, process->state) : NULL;
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
	add_note(notes, "CORE", NT_PRPSINFO, &info, sizeof(info));
	add_note(notes, "CORE", NT_SIGINFO, &process->siginfo, sizeof(process->siginfo));
	add_note(notes, "CORE", NT_AUXV, auxv, auxv_len);
	add_files(notes, maps);
}

void core_add_text(struct core_notes *notes, const char *text, size_t len)
{
	add_note(notes, "REQTRAP", CORE_NOTE_TEXT, text, len);
}

/* All that does not fit into the block goes to the spool. */
static int spool_block(struct core *core)
{
	int r = core->segments.fd < 0 ? spool_open(&core->segments, -1) : 0;

	if (r == 0)
		r = spool_put(&core->segments, core->block, (core->count - core->from) * sizeof(core->block[0]), NULL);
	core->from = core->count;
	return r;
}

uint32_t core_flags(const struct proc_map *map)
{
	return (map->readable ? PF_R : 0u) | (map->writable ? PF_W : 0u) | (map->executable ? PF_X : 0u);
}

int core_add_segment(struct core *core, const struct core_segment *segment)
{
	if (core->count - core->from == CORE_BLOCK) {
		int r = spool_block(core);

		if (r < 0)
			return r;
	}
	core->block[core->count++ - core->from] = *segment;
	return 0;
}

static const struct core_segment *segment_at(struct core *core, size_t i)
{
	if (core->segments.fd >= 0 && (i < core->from || i >= core->from + CORE_BLOCK || core->from >= core->count)) {
		core->from = i / CORE_BLOCK * CORE_BLOCK;
		if (spool_get(&core->segments, core->from * sizeof(core->block[0]), core->block,
			      MIN((size_t)CORE_BLOCK, core->count - core->from) * sizeof(core->block[0])) < 0)
			return NULL;
	}
	return &core->block[i - core->from];
}

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static int give_notes(const struct core *core, struct core_notes *out)
{
	int r = core->notes ? core->notes(core->notes_arg, out) : 0;

	return r < 0 ? r : out->code;
}

static int write_headers(struct core *core, uint64_t notes_len, struct core_notes *out)
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
		.p_filesz = notes_len,
		.p_align = 4,
	};
	uint64_t offset = page_up(note.p_offset + note.p_filesz);

	put(out, &ehdr, sizeof(ehdr));
	if (many)
		put(out, &shdr, sizeof(shdr));
	put(out, &note, sizeof(note));
	for (size_t i = 0; i < core->count && out->code == 0; i++) {
		const struct core_segment *seg = segment_at(core, i);
		Elf64_Phdr load = { .p_type = PT_LOAD, .p_offset = offset, .p_align = PAGE_BYTES };

		if (!seg)
			return -EIO;
		load.p_flags = seg->flags;
		load.p_vaddr = seg->start;
		load.p_filesz = seg->data_end - seg->start;
		load.p_memsz = seg->end - seg->start;
		offset += load.p_filesz;
		put(out, &load, sizeof(load));
	}
	return out->code;
}

/* All that comes before the memory. */
static int write_front(struct core *core, struct sink *sink, uint8_t *chunk, struct err *err)
{
	struct core_notes count = { .err = err }, out = { .sink = sink, .err = err, .chunk = chunk };
	uint64_t before;
	int r = core->segments.fd >= 0 ? spool_block(core) : 0;

	if (r == 0)
		r = give_notes(core, &count);
	if (r == 0)
		r = write_headers(core, count.len, &out);
	before = out.len;
	if (r == 0)
		r = give_notes(core, &out);
	flush(&out);
	if (r == 0)
		r = out.code;
	if (r == 0 && out.len - before != count.len)
		r = -EIO;
	if (r < 0)
		return out.code < 0 ? out.code : err_sys(err, r, "cannot write the core's notes");
	return sink_zeros(sink, page_up(sink_written(sink)) - sink_written(sink), err);
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

int core_write(struct core *core, struct sink *sink, const struct core_watch *watch, struct err *err)
{
	struct writer w = { .sink = sink, .watch = watch, .err = err };
	int r;

	if (posix_memalign((void **)&w.chunk, PAGE_BYTES, CHUNK_BYTES))
		return err_sys(err, -ENOMEM, "cannot write the core");
	r = write_front(core, sink, w.chunk, err);
	for (size_t i = 0; i < core->count && r == 0; i++) {
		const struct core_segment *seg = segment_at(core, i);

		r = seg ? copy_segment(&w, seg) : err_sys(err, -EIO, "cannot write the core");
	}
	if (r == 0)
		r = watch->go_on(watch->arg, w.done, err);
	if (r == 0)
		r = put_zeros(&w);
	free(w.chunk);
	return r;
}
