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

static void add_thread(struct assembly *a, const struct core_process *process, const struct freeze_thread *thread)
{
	const struct arch_state *state = freeze_state(a->freeze, thread);
	struct core_thread row = { .tid = thread->tid };
	uint8_t xstate[ARCH_XSTATE_CORE_BYTES];
	struct user_regs_struct guess;
	struct proc_syscall sc;
	size_t len = state ? arch_xstate_core(state, xstate) : 0;
	char path[64];

	if (state) {
		row.regs = &state->regs;
		row.xstate = len ? xstate : state->xstate;
		row.xstate_len = len ? len : state->xstate_len;
	} else {
		snprintf(path, sizeof(path), "task/%d/syscall", thread->tid);
		if (proc_syscall_read(a->proc->dir_fd, path, &sc) < 0)
			return;
		arch_regs_guess(&sc, &guess);
		row = (struct core_thread){ .tid = thread->tid, .regs = &guess };
	}
	core_add_thread(&a->core, process, &row);
}

/* The request's thread, else the main one, else any. */
static const struct freeze_thread *first_thread(const struct assembly *a)
{
	const struct freeze_thread *first = NULL;

	for (size_t i = 0; i < a->freeze->count; i++) {
		const struct freeze_thread *thread = &a->freeze->thread[i];

		if (thread->gone && !thread->taken)
			continue;
		if (thread->tid == a->holder_tid)
			return thread;
		if (!first || thread->tid == a->proc->pid)
			first = thread;
	}
	return first;
}

void assemble_notes(struct assembly *a, const char *text, size_t len)
{
	CLEAN(free) char *auxv = NULL;
	struct core_process process;
	const struct freeze_thread *first;
	size_t auxv_len = 0;

	read_process(a->proc, &process);
	if (proc_file(a->proc->dir_fd, "auxv", 65536, &auxv, &auxv_len) < 0)
		auxv_len = 0;
	first = first_thread(a);
	if (first)
		add_thread(a, &process, first);
	core_add_process(&a->core, &process, auxv, auxv_len, &a->all);
	core_add_text(&a->core, text, len);
	for (size_t i = 0; i < a->freeze->count; i++) {
		const struct freeze_thread *thread = &a->freeze->thread[i];

		if (thread != first && (!thread->gone || thread->taken))
			add_thread(a, &process, thread);
	}
}

/* The frozen maps with the flags seen before the stop, and the ranges that
 * MADV_DONTFORK keeps out of a clone. */
static int join_maps(struct assembly *a)
{
	size_t most = a->frozen->count + a->before->count, n = 0, lost = 0;
	struct proc_map *map = calloc(most ? most : 1, sizeof(*map));

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; i < a->frozen->count; i++) {
		const struct proc_map *old = proc_maps_find(a->before, a->frozen->map[i].start);
		const struct proc_map *next = &a->frozen->map[i];

		for (; a->cloned && lost < a->before->count && a->before->map[lost].end <= next->start; lost++) {
			if (a->before->map[lost].dontfork && !proc_maps_find(a->frozen, a->before->map[lost].start))
				map[n++] = a->before->map[lost];
		}
		map[n] = *next;
		if (old) {
			map[n].dontdump |= old->dontdump;
			map[n].wipeonfork |= old->wipeonfork;
			map[n].huge |= old->huge;
			map[n].device |= old->device;
		}
		n++;
	}
	a->all = (struct proc_maps){ .map = map, .count = n };
	return 0;
}

static uint32_t segment_flags(const struct proc_map *map)
{
	return (map->perms[0] == 'r' ? PF_R : 0u) | (map->perms[1] == 'w' ? PF_W : 0u) |
	       (map->perms[2] == 'x' ? PF_X : 0u);
}

/* Segments for a mapping whose present pages are all that counts. */
static int add_sparse(struct assembly *a, const struct proc_map *map, const struct core_source *source)
{
	struct core_segment seg = { .flags = segment_flags(map), .source = source, .start = map->start };
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
				    .flags = segment_flags(map),
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
		a->omit(a->omit_arg, map->start, map->end, map->name,
			map->wipeonfork || map->dontfork
				? "not in the snapshot (MADV_DONTFORK or MADV_WIPEONFORK): read from the live process later"
				: "shared memory: read from the live process later",
			false);
	if (pages_next(&source->pages, PAGES_ANY, map->start, map->end, &start, &end) < 0) {
		a->omit(a->omit_arg, map->start, map->end, map->name, "gone from the live process", true);
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
		elf = !changed && map->offset == 0 && map->perms[0] == 'r' &&
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
		a->omit(a->omit_arg, map->start, map->end, map->name, why, false);
		return add_dense(a, map, map->start);
	case CONTENTS_WHOLE:
		break;
	}
	if (contents_shared(map) || (a->cloned && (map->dontfork || map->wipeonfork)))
		return add_elsewhere(a, map);
	if ((a->filter & FILTER_EVERYTHING) && private_file)
		return add_file(a, map, changed);
	/* Pages of a file that are not mapped yet are absent and yet not zero. */
	if (private_file || !strcmp(map->name, "[vdso]"))
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
		r = mini_segments(a->mini, &a->all, a->flags_known, &a->core);
	for (size_t i = 0; i < a->all.count && r == 0 && !a->mini; i++)
		r = add_map(a, &a->all.map[i]);
	return r < 0 ? err_sys(err, r, "cannot put the core of process %d together", a->proc->pid) : 0;
}

void assembly_done(struct assembly *a)
{
	core_done(&a->core);
	free(a->all.map);
	a->all = (struct proc_maps){ 0 };
}
