// SPDX-License-Identifier: MIT
/* Rules are in contents.c, bytes in core.c; here they meet. Trap: a mapping can be
 * terabytes of nothing: long absent stretches become segments of their own without
 * data, and a mapping without any page has none. */
#include "assemble.h"

#include "contents.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>

#define LARGE_FILE_BYTES (64u << 20)
#define HOLE_BYTES (1ull << 30) /* a longer absent stretch is not written, not even as a hole */

unsigned int assemble_filter(int proc_dir_fd)
{
	CLEAN(free) char *text = NULL;

	if (proc_file(proc_dir_fd, "coredump_filter", 64, &text, NULL) < 0 || !*text)
		return FILTER_DEFAULT;
	return (unsigned int)strtoul(text, NULL, 16);
}

static void read_process(const struct proc *proc, struct core_process *ret)
{
	CLEAN(free) char *stat = NULL;
	CLEAN(free) char *args = NULL;
	struct proc_status status = { 0 };
	struct core_process p = { .pid = proc->pid };
	char *open, *close;
	size_t len;

	proc_status_read(proc->dir_fd, "status", &status);
	p.uid = status.uid;
	p.gid = status.gid;
	if (proc_file(proc->dir_fd, "stat", 4096, &stat, NULL) == 0 && (open = strchr(stat, '(')) &&
	    (close = strrchr(stat, ')'))) {
		long nice = 0;

		*close = '\0';
		snprintf(p.comm, sizeof(p.comm), "%s", open + 1);
		sscanf(close + 1, " %c %d %d %d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %ld", &p.state, &p.ppid,
		       &p.pgrp, &p.session, &p.flags, &nice);
		p.nice = (int)nice;
	}
	if (proc_file(proc->dir_fd, "cmdline", 1u << 20, &args, &len) == 0) {
		for (size_t i = 0; i + 1 < len; i++)
			args[i] = args[i] ? args[i] : ' ';
		snprintf(p.args, sizeof(p.args), "%s", args);
	}
	*ret = p;
}

/* Registers of a thread that could not be stopped. Asked for twice: that it is gone
 * is found out the first time only. */
static bool guess_regs(const struct assembly *a, struct freeze_thread *thread, bool first,
		       struct user_regs_struct *ret_regs)
{
	struct proc_syscall sc = { .nr = -1 };
	char path[64];

	if (thread->gone)
		return false;
	snprintf(path, sizeof(path), "task/%d/syscall", thread->tid);
	if (proc_syscall_read(a->proc->dir_fd, path, &sc) < 0 && first) {
		thread->gone = true;
		return false;
	}
	arch_regs_guess(&sc, ret_regs);
	return true;
}

static int add_thread(struct assembly *a, struct core_notes *notes, struct freeze_thread *thread, bool first)
{
	const struct arch_state *state = NULL;
	struct core_thread row = { .tid = thread->tid };
	uint8_t xstate[ARCH_XSTATE_CORE_BYTES];
	struct user_regs_struct guess;
	size_t len;

	if (a->siginfo) /* in every thread's note, as the kernel has it: debuggers take the last */
		row.signal = a->siginfo->si_signo;
	if (thread->taken) {
		state = freeze_state(a->freeze, thread);
		if (!state)
			return -EIO;
		len = arch_xstate_core(state, xstate);
		row.regs = &state->regs;
		row.xstate = len ? xstate : state->xstate;
		row.xstate_len = len ? len : state->xstate_len;
	} else if (guess_regs(a, thread, first, &guess)) {
		row.regs = &guess;
	}
	if (row.regs)
		core_add_thread(notes, &a->process, &row);
	return 0;
}

/* The request's thread, else the main one, else any. */
static struct freeze_thread *first_thread(const struct assembly *a)
{
	struct freeze_thread *first = NULL;

	for (size_t i = 0; i < a->freeze->count; i++) {
		struct freeze_thread *thread = &a->freeze->thread[i];

		if (thread->gone && !thread->taken)
			continue;
		if (thread->tid == a->holder_tid)
			return thread;
		if (!first || thread->tid == a->proc->pid)
			first = thread;
	}
	return first;
}

static int give_notes(void *arg, struct core_notes *notes)
{
	struct assembly *a = arg;
	bool count_only = !a->counted;
	struct freeze_thread *first;
	int r = 0;

	if (count_only)
		a->first = first_thread(a);
	a->counted = true;
	first = a->first;
	if (first)
		r = add_thread(a, notes, first, count_only);
	core_add_process(notes, &a->process, a->about->auxv, a->about->auxv_len, a->frozen);
	core_add_text(notes, a->text, a->text_len);
	for (size_t i = 0; i < a->freeze->count && r == 0; i++) {
		if (&a->freeze->thread[i] != first)
			r = add_thread(a, notes, &a->freeze->thread[i], count_only);
	}
	return r;
}

void assemble_look(const struct proc *proc, struct assembly_about *ret_about)
{
	*ret_about = (struct assembly_about){ 0 };
	read_process(proc, &ret_about->process);
	if (proc_file(proc->dir_fd, "auxv", 65536, &ret_about->auxv, &ret_about->auxv_len) < 0)
		ret_about->auxv_len = 0;
}

void assembly_about_done(struct assembly_about *about)
{
	free(about->auxv);
	*about = (struct assembly_about){ 0 };
}

void assemble_notes(struct assembly *a, const char *text, size_t len)
{
	a->process = a->about->process;
	if (a->siginfo)
		a->process.siginfo = *a->siginfo;
	a->text = text;
	a->text_len = len;
	a->core.notes = give_notes;
	a->core.notes_arg = a;
}

/* The frozen maps get the flags seen before the stop, and the ranges that
 * MADV_DONTFORK keeps out of a clone. */
static int join_maps(struct assembly *a)
{
	size_t count = a->frozen->count, at = 0;
	int r = 0;

	for (size_t i = 0; i < a->before->count && r == 0; i++) {
		const struct proc_map *old = &a->before->map[i];

		for (; at < count && a->frozen->map[at].end <= old->start; at++)
			;
		if (a->cloned && old->dontfork && (at == count || a->frozen->map[at].start > old->start))
			r = proc_maps_add(a->frozen, a->before, old);
		for (; at < count && a->frozen->map[at].start < old->end; at++) {
			struct proc_map *map = &a->frozen->map[at];

			if (map->start >= old->start) {
				map->dontdump |= old->dontdump;
				map->wipeonfork |= old->wipeonfork;
				map->huge |= old->huge;
				map->device |= old->device;
			}
			if (map->end > old->end)
				break;
		}
	}
	if (a->frozen->count > count)
		proc_maps_sort(a->frozen);
	return r;
}

/* Segments for a mapping whose present pages are all that counts. */
static int add_sparse(struct assembly *a, const struct proc_map *map, const struct core_source *source)
{
	struct core_segment seg = { .flags = core_flags(map), .source = source, .start = map->start };
	uint64_t at = map->start, start, end;
	int r = pages_next(&source->pages, PAGES_ANY, at, map->end, &start, &end);

	if (r == 1 && map->end - map->start <= HOLE_BYTES) {
		seg.end = seg.data_end = map->end;
		return core_add_segment(&a->core, &seg);
	}
	for (; r == 1; r = pages_next(&source->pages, PAGES_ANY, at, map->end, &start, &end)) {
		if (start - at > HOLE_BYTES) {
			/* What lies before ends with data; the hole is a segment of its own. */
			seg.end = seg.data_end = at;
			if (seg.end > seg.start && core_add_segment(&a->core, &seg) < 0)
				return -ENOMEM;
			seg.start = seg.data_end = at;
			seg.end = start;
			if (core_add_segment(&a->core, &seg) < 0)
				return -ENOMEM;
			seg.start = start;
		}
		at = end;
	}
	if (r < 0)
		return r;
	seg.data_end = map->end - at > HOLE_BYTES || at == map->start ? at : map->end;
	if (seg.data_end > seg.start && seg.data_end < map->end) {
		seg.end = seg.data_end;
		if (core_add_segment(&a->core, &seg) < 0)
			return -ENOMEM;
		seg.start = seg.data_end;
	}
	seg.end = map->end;
	return core_add_segment(&a->core, &seg);
}

static int add_dense(struct assembly *a, const struct proc_map *map, uint64_t data_end)
{
	struct core_segment seg = { .start = map->start,
				    .end = map->end,
				    .data_end = data_end,
				    .flags = core_flags(map),
				    .source = &a->every };

	return core_add_segment(&a->core, &seg);
}

static int add_elsewhere(struct assembly *a, const struct proc_map *map)
{
	const struct core_source *source;
	uint64_t start, end;
	bool live = true;

	source = side_source(a->side, map, &live);
	if (!source)
		return -ENOMEM;
	if (live && a->cloned)
		a->omit(a->omit_arg, map->start, map->end, proc_map_name(a->frozen, map),
			map->wipeonfork || map->dontfork
				? "not in the snapshot (MADV_DONTFORK or MADV_WIPEONFORK): read from the live process later"
				: "shared memory: read from the live process later",
			false);
	if (pages_next(&source->pages, PAGES_ANY, map->start, map->end, &start, &end) < 0) {
		a->omit(a->omit_arg, map->start, map->end, proc_map_name(a->frozen, map), "gone from the live process",
			true);
		return add_dense(a, map, map->start);
	}
	return add_sparse(a, map, source);
}

/* All of a private mapping of a file. Large ones are read as files: they may be sparse. */
static int add_file(struct assembly *a, const struct proc_map *map, bool changed)
{
	const struct core_source *source;

	if (!changed && map->end - map->start >= LARGE_FILE_BYTES && (source = side_file(a->side, map)))
		return add_sparse(a, map, source);
	return add_dense(a, map, side_file_end(a->proc->dir_fd, map));
}

static int add_map(struct assembly *a, const struct proc_map *map)
{
	struct memory mem = memory_of_fd(&a->mem_fd);
	bool private_file = map->inode && !contents_shared(map) && !map->huge, changed = false, elf = false;
	const char *why = NULL;
	uint64_t start, end;
	char magic[4];

	if (private_file) {
		changed = pages_next(&a->present.pages, PAGES_PRIVATE, map->start, map->end, &start, &end) == 1;
		elf = !changed && map->offset == 0 && map->readable &&
		      memory_get(&mem, map->start, magic, sizeof(magic)) == 0 && !memcmp(magic, ELFMAG, SELFMAG);
	}
	switch (contents_of(map, a->filter, changed, elf, &why)) {
	case CONTENTS_SKIP:
		return 0;
	case CONTENTS_FILE:
		a->in_files_bytes += map->end - map->start;
		return add_dense(a, map, map->start);
	case CONTENTS_HEADER:
		a->in_files_bytes += map->end - map->start - PAGE_BYTES;
		return add_dense(a, map, map->start + PAGE_BYTES);
	case CONTENTS_OMIT:
		a->omit(a->omit_arg, map->start, map->end, proc_map_name(a->frozen, map), why, false);
		return add_dense(a, map, map->start);
	case CONTENTS_WHOLE:
		break;
	}
	if (contents_shared(map) || (a->cloned && (map->dontfork || map->wipeonfork)))
		return add_elsewhere(a, map);
	if ((a->filter & FILTER_EVERYTHING) && private_file)
		return add_file(a, map, changed);
	/* Pages of a file that are not mapped yet are absent and yet not zero. */
	if (private_file || map->kind == PROC_MAP_VDSO)
		return add_dense(a, map, map->end);
	return add_sparse(a, map, &a->present);
}

int assemble(struct assembly *a, struct err *err)
{
	int r;

	core_init(&a->core);
	pages_cache_init(&a->pages, a->pagemap_fd);
	a->every = (struct core_source){ .memory = memory_of_fd(&a->mem_fd) };
	a->present = (struct core_source){ .memory = a->every.memory, .pages = pages_of_cache(&a->pages) };
	r = join_maps(a);
	if (r == 0 && a->mini)
		r = mini_segments(a->mini, a->frozen, a->flags_known, &a->core);
	for (size_t i = 0; i < a->frozen->count && r == 0 && !a->mini; i++)
		r = add_map(a, &a->frozen->map[i]);
	return r < 0 ? err_sys(err, r, "cannot put the core of process %d together", a->proc->pid) : 0;
}

void assembly_done(struct assembly *a)
{
	core_done(&a->core);
}
