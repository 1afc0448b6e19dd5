// SPDX-License-Identifier: MIT
/* What mini.c copied, as segments of a core. Trap: the copies are of the maps of then,
 * the segments of the maps of later: a run may lie across two, or between them. */
#include "mini.h"

#include "contents.h"

#include <elf.h>

#define ADDRESS_END (1ull << 47)

static int add_segment(struct mini *m, struct core *core, uint64_t start, uint64_t data_end, uint64_t end,
		       uint32_t flags)
{
	struct core_segment seg = {
		.start = start, .end = end, .data_end = data_end, .flags = flags, .source = &m->source
	};

	return end > start ? core_add_segment(core, &seg) : 0;
}

static void tell_left(struct mini *m)
{
	char why[128];

	for (size_t i = 0; i < m->maps->count; i++) {
		const struct proc_map *map = &m->maps->map[i];

		if (!m->left[i])
			continue;
		snprintf(why, sizeof(why), "%u pages that stacks point to: no room left in a mini core", m->left[i]);
		m->omit(m->omit_arg, map->start, map->end, proc_map_name(m->maps, map), why, false);
	}
	if (m->late_threads) {
		snprintf(why, sizeof(why), "what the stacks of %zu threads point to: no time left in the pause",
			 m->late_threads);
		m->omit(m->omit_arg, 0, ADDRESS_END, "", why, false);
	}
	if (m->cut_threads) {
		snprintf(why, sizeof(why),
			 "all but the nearest 8 KiB of the stacks of %zu threads: no time or memory left",
			 m->cut_threads);
		m->omit(m->omit_arg, 0, ADDRESS_END, "", why, true);
	}
}

/* Is this run to be left out after all? */
static bool unwanted(const struct mini *m, const struct mini_run *run, const struct proc_map *map, bool flags_known)
{
	if (m->everything)
		return false;
	if (map && map->dontdump && map->kind != PROC_MAP_VDSO)
		return true;
	return !flags_known && (run->off & MINI_OFF_REF);
}

static int add_map(struct mini *m, const struct proc_maps *maps, const struct proc_map *map, size_t *i,
		   bool flags_known, struct core *core)
{
	uint32_t flags = core_flags(map);
	uint64_t start = map->start, data_end = map->start, dropped = 0;
	char why[96];
	int r = 0;

	for (; *i < m->count && m->run[*i].start < map->end && r == 0; ++*i) {
		struct mini_run *run = &m->run[*i];
		uint64_t from = MAX(run->start, map->start), to = MIN(run->end, map->end);

		if (unwanted(m, run, map, flags_known)) {
			dropped += to - from;
		} else if (from == data_end && from > map->start) {
			data_end = to; /* goes on where the last one ended */
		} else {
			r = add_segment(m, core, start, data_end, from, flags);
			start = from;
			data_end = to;
		}
		if (run->end > map->end)
			break; /* its rest lies in the next mapping */
	}
	if (dropped) {
		snprintf(why, sizeof(why), "%llu bytes that stacks point to: %s", (unsigned long long)dropped,
			 map->dontdump ? "MADV_DONTDUMP" : "the process ended before its flags were read");
		m->omit(m->omit_arg, map->start, map->end, proc_map_name(maps, map), why, !map->dontdump);
	}
	return r < 0 ? r : add_segment(m, core, start, data_end, map->end, flags);
}

/* Copied bytes between the mappings: of one that came after the list and went before
 * the other was read. */
static int add_between(struct mini *m, uint64_t from, uint64_t to, size_t *i, bool flags_known, struct core *core)
{
	int r = 0;

	for (; *i < m->count && m->run[*i].start < to && r == 0; ++*i) {
		const struct mini_run *run = &m->run[*i];
		uint64_t start = MAX(run->start, from), end = MIN(run->end, to);

		if (end > start && !unwanted(m, run, NULL, flags_known))
			r = add_segment(m, core, start, end, end, PF_R | PF_W);
		if (run->end > to)
			break;
	}
	return r;
}

int mini_segments(struct mini *m, const struct proc_maps *maps, bool flags_known, struct core *core)
{
	uint64_t done = 0;
	size_t run = 0;
	int r = 0;

	m->source = (struct core_source){ .memory = mini_memory(m) };
	for (size_t i = 0; i < maps->count && r == 0; i++) {
		const struct proc_map *map = &maps->map[i];
		const char *why;

		r = add_between(m, done, map->start, &run, flags_known, core);
		if (r == 0 && contents_of(map, FILTER_DEFAULT, true, false, &why) != CONTENTS_SKIP)
			r = add_map(m, maps, map, &run, flags_known, core);
		done = map->end;
	}
	if (r == 0)
		r = add_between(m, done, UINT64_MAX, &run, flags_known, core);
	tell_left(m);
	return r;
}
