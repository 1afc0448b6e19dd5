// SPDX-License-Identifier: MIT
/* Go 1.19 on x86-64: the table of functions and lines (pclntab) is in every
 * executable, also a stripped one; the list of goroutines (runtime.allgs) is found by its
 * symbol, which a stripped one lacks: then only those that run on a thread are found, by
 * the g that the thread's local storage holds. Frames are walked by the table's own sizes
 * (pcsp). Rejected: DWARF (often left out), frame pointers (a leaf has none).
 * Traps: a goroutine in a system call says where it entered it, in fields of its own; one
 * whose thread is on the scheduler's stack says it in g.sched; return addresses are looked
 * up one byte before, but for what a signal has interrupted. */
#include "lang.h"

#include "symbol.h"

#include <elf.h>
#include <string.h>

#define GOROUTINES_MAX 65536u /* memory stands still meanwhile */
#define TASKS_KEPT 512u
#define VALUES_MAX 65536u /* steps in one table */
#define INLINED_MAX 32
enum { RIP = 16, RSP = 19, FS_BASE = 21 };				  /* of user_regs_struct */
enum { G_STACK = 0, G_M = 48, G_SP = 56, G_PC = 64, G_SYSCALL_SP = 112 }; /* the same in all */
enum { M_PROCID = 72, M_CURG = 192 };
enum { RUNNABLE = 1, RUNNING = 2, SYSCALL = 3, WAITING = 4, PREEMPTED = 9, SCAN = 0x1000 };
#define MAGIC_18 0xfffffff0u
#define MAGIC_20 0xfffffff1u

struct go_row {
	uint8_t first, last; /* minor versions */
	uint16_t status, goid, reason;
	uint8_t wrapper; /* the kind of functions that the compiler has made; 0: not known */
};

/* Compared with the sources of 1.19 and run on it. The table of functions of 1.20 and later is
 * read too, but no row is here that was not tried. */
static const struct go_row go_rows[] = { { 19, 19, 144, 152, 176, 21 } };

struct go {
	const struct go_row *row;
	const uint8_t *table; /* pclntab, in the file */
	size_t len;
	uint64_t table_addr;		/* in the target, as what follows */
	uint64_t allgs, reasons, funcs; /* 0: no symbol */
	uint64_t names, units, files, values, functions;
	uint32_t count;
	bool since_20;
};

struct goroutine {
	uint64_t addr, id, m, sp, pc, lo, hi;
	uint32_t status;
	uint8_t reason;
};

/* --- the executable --- */

static bool bytes(const void *file, size_t len, uint64_t at, void *to, size_t want)
{
	if (at > len || want > len - at)
		return false;
	memcpy(to, (const uint8_t *)file + at, want);
	return true;
}

/* The section of that name, or of that type without one. */
static bool find_section(const struct image *image, const char *name, Elf64_Shdr *ret)
{
	Elf64_Ehdr head;
	Elf64_Shdr names;

	if (!image->file || !bytes(image->file, image->file_len, 0, &head, sizeof(head)) ||
	    !bytes(image->file, image->file_len, head.e_shoff + head.e_shstrndx * sizeof(names), &names, sizeof(names)))
		return false;
	for (unsigned int i = 0; i < head.e_shnum; i++) {
		char text[32] = "";
		size_t want = strlen(name) + 1;

		if (!bytes(image->file, image->file_len, head.e_shoff + i * sizeof(*ret), ret, sizeof(*ret)))
			return false;
		if (bytes(image->file, image->file_len, names.sh_offset + ret->sh_name, text, want) &&
		    !memcmp(text, name, want))
			return ret->sh_type != SHT_NOBITS && ret->sh_offset <= image->file_len &&
			       ret->sh_size <= image->file_len - ret->sh_offset;
	}
	return false;
}

/* A Go executable exports nothing: these are in its own table of symbols. */
static void find_symbols(const struct image *image, struct go *go)
{
	const struct {
		const char *name;
		uint64_t *to;
	} wanted[] = { { "runtime.allgs", &go->allgs },
		       { "runtime.waitReasonStrings", &go->reasons },
		       { "go.func.*", &go->funcs },
		       { "go:func.*", &go->funcs } };
	Elf64_Shdr table, text;
	Elf64_Sym sym;

	if (!find_section(image, ".symtab", &table) || !find_section(image, ".strtab", &text))
		return;
	for (uint64_t at = 0; at + sizeof(sym) <= table.sh_size; at += sizeof(sym)) {
		if (!bytes(image->file, image->file_len, table.sh_offset + at, &sym, sizeof(sym)))
			return;
		for (size_t k = 0; k < ARRAY_LEN(wanted); k++) {
			size_t len = strlen(wanted[k].name) + 1;

			if (sym.st_name < text.sh_size && len <= text.sh_size - sym.st_name &&
			    !memcmp((const char *)image->file + text.sh_offset + sym.st_name, wanted[k].name, len))
				*wanted[k].to = sym.st_value + image->bias;
		}
	}
}

static uint64_t word(const struct go *go, uint64_t at, size_t size)
{
	uint64_t value = 0;

	return bytes(go->table, go->len, at, &value, size) ? value : 0;
}

static const char *find_table(const struct image *image, struct go *go)
{
	Elf64_Shdr section;
	uint32_t magic;

	if (!find_section(image, ".gopclntab", &section) && !find_section(image, ".data.rel.ro.gopclntab", &section))
		return "it has no table of functions (.gopclntab)";
	go->table = (const uint8_t *)image->file + section.sh_offset;
	go->len = section.sh_size;
	go->table_addr = section.sh_addr + image->bias;
	magic = (uint32_t)word(go, 0, 4);
	if ((magic != MAGIC_18 && magic != MAGIC_20) || word(go, 6, 1) != 1 || word(go, 7, 1) != 8)
		return "its table of functions is of another form";
	go->since_20 = magic == MAGIC_20;
	go->count = (uint32_t)MIN(word(go, 8, 8), (uint64_t)go->len / 8);
	go->names = word(go, 32, 8);
	go->units = word(go, 40, 8);
	go->files = word(go, 48, 8);
	go->values = word(go, 56, 8);
	go->functions = word(go, 64, 8);
	return NULL;
}

static int go_find(const struct images *images, void **ret_state, char **ret_title, char **ret_why)
{
	enum { FLAGS = 15, LENGTH = 32, INLINE_STRINGS = 2 };
	struct go go = { 0 };
	const char *why;

	for (size_t i = 0; i < images_count(images); i++) {
		const struct image *image = images_get(images, i);
		unsigned int minor = 0;
		Elf64_Shdr info;
		const char *at;
		char text[64] = "";

		if (!find_section(image, ".go.buildinfo", &info) || info.sh_size < 64)
			continue;
		at = (const char *)image->file + info.sh_offset;
		if (memcmp(at, "\xff Go buildinf:", 14) != 0)
			continue;
		if (at[FLAGS] & INLINE_STRINGS)
			snprintf(text, sizeof(text), "%.*s", MIN(at[LENGTH] & 0x1f, 31), at + LENGTH + 1);
		if (sscanf(text, "go1.%3u", &minor) == 1)
			text_setf(ret_title, "Go %s", text + 2);
		else
			text_set(ret_title, "Go before 1.18");
		for (size_t k = 0; k < ARRAY_LEN(go_rows); k++) {
			if (minor >= go_rows[k].first && minor <= go_rows[k].last)
				go.row = &go_rows[k];
		}
		why = go.row ? find_table(image, &go) : "no offsets known for this version of Go";
		if (why) {
			text_set(ret_why, why);
			return 1;
		}
		find_symbols(image, &go);
		*ret_state = malloc(sizeof(go));
		if (!*ret_state)
			return -ENOMEM;
		memcpy(*ret_state, &go, sizeof(go));
		return 1;
	}
	return 0;
}

/* --- functions and lines --- */

/* Seven bits a byte, the lowest first. */
static bool varint(const struct go *go, uint64_t *at, uint32_t *ret)
{
	*ret = 0;
	for (unsigned int shift = 0; shift < 32; shift += 7) {
		uint8_t b;

		if (!bytes(go->table, go->len, (*at)++, &b, 1))
			return false;
		*ret |= (uint32_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

/* What the table at 'off' says for the instruction so many bytes after the function's begin. */
static int32_t value_at(const struct go *go, uint32_t off, uint64_t pc)
{
	uint64_t at = go->values + off, end = 0;
	uint32_t value = UINT32_MAX, step, length;

	for (size_t n = 0; off && n < VALUES_MAX; n++) {
		if (!varint(go, &at, &step) || (!step && n) || !varint(go, &at, &length))
			break;
		value += step & 1 ? ~(step >> 1) : step >> 1;
		end += length;
		if (pc < end)
			return (int32_t)value;
	}
	return -1;
}

struct function {
	uint64_t at, entry; /* in the table; an address, from the text's begin */
};

static bool find_function(const struct go *go, uint64_t pc, struct function *ret)
{
	uint64_t low = 0, high = go->count;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (word(go, go->functions + mid * 8, 4) <= pc)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || pc >= word(go, go->functions + low * 8, 4))
		return false;
	ret->at = go->functions + word(go, go->functions + (low - 1) * 8 + 4, 4);
	ret->entry = word(go, ret->at, 4);
	return pc >= ret->entry;
}

static void table_text(const struct go *go, uint64_t at, size_t most, char **to)
{
	if (at < go->len)
		text_setf(to, "%.*s", (int)MIN(most, go->len - at), (const char *)go->table + at);
}

static const char *add_frame(const struct go *go, const struct function *f, uint64_t name, uint64_t pc,
			     struct stack *script)
{
	uint64_t unit = word(go, f->at + 32, 4);
	int32_t file = value_at(go, (uint32_t)word(go, f->at + 20, 4), pc - f->entry);
	int32_t line = value_at(go, (uint32_t)word(go, f->at + 24, 4), pc - f->entry);
	struct frame *frame;

	if (script->count == LANG_FRAMES_MAX)
		return "there are more frames than are shown";
	frame = list_add(&script->frame, &script->count, sizeof(*frame));
	if (!frame)
		return "out of memory";
	table_text(go, go->names + name, LANG_NAME_MAX, &frame->function);
	if (!frame->function)
		text_set(&frame->function, "?");
	text_set(&frame->module, "go");
	frame->script = true;
	if (file >= 0) {
		uint64_t off = word(go, go->units + 4 * (unit + (uint64_t)file), 4);

		table_text(go, go->files + off, LANG_PATH_MAX, &frame->file);
		frame->line = line > 0 ? (uint32_t)line : 0;
	}
	return NULL;
}

/* The function, before it those that the compiler has put into it there. */
static const char *add_frames(const struct go *go, const struct memory *mem, const struct function *f, uint64_t pc,
			      struct stack *script)
{
	enum { INDEX = 2, TREE = 3 };
	uint64_t size = go->since_20 ? 44 : 40, tables = word(go, f->at + 28, 4);
	uint32_t index = tables > INDEX ? (uint32_t)word(go, f->at + size + 4ul * INDEX, 4) : 0;
	uint32_t tree = (uint32_t)word(go, f->at + size + 4 * (tables + TREE), 4);
	const char *why = NULL;

	if (!go->funcs || word(go, f->at + size - 1, 1) <= TREE || tree == UINT32_MAX)
		index = 0;
	for (int n = 0; n < INLINED_MAX && index && !why; n++) {
		int32_t i = value_at(go, index, pc - f->entry);
		uint64_t call = go->funcs + tree + (uint64_t)i * (go->since_20 ? 16 : 20);
		uint32_t name, back;

		if (i < 0 || !memory_u32(mem, call + (go->since_20 ? 4 : 12), &name) ||
		    !memory_u32(mem, call + (go->since_20 ? 8 : 16), &back))
			break;
		why = add_frame(go, f, name, pc, script);
		if (!why)
			script->frame[script->count - 1].inlined = true;
		pc = f->entry + back;
	}
	return why ? why : add_frame(go, f, word(go, f->at + 4, 4), pc, script);
}

/* 'go f(x)' runs in one; Go's own traceback leaves it out. */
static bool is_wrapper(const struct go *go, const struct function *f)
{
	return go->row->wrapper && word(go, f->at + 36, 1) == go->row->wrapper;
}

/* Go's own traceback leaves out what its runtime does within itself. */
static bool is_runtime(const char *name)
{
	return !strncmp(name, "runtime.", 8) && !(name[8] >= 'A' && name[8] <= 'Z');
}

static void hide_runtime(struct stack *script)
{
	size_t kept = 0;

	for (size_t i = 0; i < script->count; i++) {
		struct frame *f = &script->frame[i];

		if (is_runtime(f->function)) {
			free(f->function);
			free(f->file);
			free(f->module);
		} else {
			script->frame[kept++] = *f;
		}
	}
	script->count = kept;
}

static const char *walk_frames(const struct go *go, const struct memory *mem, const struct goroutine *g, bool exact,
			       struct stack *script)
{
	uint64_t text, pc = g->pc, sp = g->sp;
	const char *why = NULL;

	if (!memory_u64(mem, go->table_addr + 24, &text))
		return "its table of functions is not in memory";
	while (!why) {
		struct function f;
		int32_t size;
		const char *name;
		size_t before = script->count;

		if (sp < g->lo || sp >= g->hi)
			return "a frame lies outside of its stack";
		if (!find_function(go, pc - text, &f))
			return script->count ? "a return address is not in Go's code" : "it runs code that is not Go's";
		why = add_frames(go, mem, &f, pc - text - (!exact && pc - text > f.entry), script);
		size = value_at(go, (uint32_t)word(go, f.at + 16, 4), pc - text - f.entry);
		if (why || script->count == before)
			break;
		name = script->frame[script->count - 1].function;
		if (!strcmp(name, "runtime.goexit") || !strcmp(name, "runtime.mstart"))
			break;
		if (is_wrapper(go, &f) && before)
			text_setf(&script->frame[script->count - 1].function, "runtime.wrapper");
		exact = !strcmp(name, "runtime.asyncPreempt") || !strcmp(name, "runtime.sigpanic");
		if (size < 0 || !memory_u64(mem, sp + (uint64_t)size, &pc))
			return "a return address cannot be read";
		sp += (uint64_t)size + 8;
	}
	return why;
}

/* --- goroutines --- */

static bool read_g(const struct go *go, const struct memory *mem, uint64_t addr, struct goroutine *ret)
{
	uint8_t raw[192];
	uint64_t at;

	if (!addr || addr % 8 || memory_get(mem, addr, raw, sizeof(raw)) < 0)
		return false;
	*ret = (struct goroutine){ .addr = addr, .reason = raw[go->row->reason] };
	memcpy(&ret->lo, raw + G_STACK, 8);
	memcpy(&ret->hi, raw + G_STACK + 8, 8);
	memcpy(&ret->m, raw + G_M, 8);
	memcpy(&ret->status, raw + go->row->status, 4);
	memcpy(&ret->id, raw + go->row->goid, 8);
	ret->status &= ~(uint32_t)SCAN;
	memcpy(&ret->sp, raw + G_SP, 8);
	memcpy(&ret->pc, raw + G_PC, 8);
	memcpy(&at, raw + G_SYSCALL_SP, 8);
	if (ret->status == SYSCALL && at) {
		ret->sp = at;
		memcpy(&ret->pc, raw + G_SYSCALL_SP + 8, 8);
	}
	return true;
}

static void walk_thread(const struct go *go, const struct memory *mem, const struct capture_thread *t,
			struct stack *script)
{
	uint64_t addr, m, procid, current;
	struct goroutine g;
	bool exact = false;
	const char *why;

	/* the g of a thread that Go has not made, or in a library of its own storage, is not there */
	if (!t->stopped || !memory_u64(mem, t->reg[FS_BASE] - 8, &addr) || !memory_u64(mem, addr + G_M, &m) ||
	    !memory_u64(mem, m + M_PROCID, &procid) || procid != (uint64_t)t->ns_tid) {
		text_set(&script->unavailable, "Go stack unavailable: the thread's goroutine was not found");
		return;
	}
	if (!memory_u64(mem, m + M_CURG, &current) || !current)
		return; /* it looks for work */
	if (!read_g(go, mem, current, &g) || g.m != m) {
		text_set(&script->unavailable, "Go stack unavailable: the thread's goroutine cannot be read");
		return;
	}
	if (g.status == RUNNING && t->reg[RSP] >= g.lo && t->reg[RSP] < g.hi) {
		g.sp = t->reg[RSP];
		g.pc = t->reg[RIP];
		exact = true;
	}
	why = walk_frames(go, mem, &g, exact, script);
	hide_runtime(script);
	if (why)
		text_setf(&script->unavailable, "Go stack %s: %s", script->count ? "incomplete" : "unavailable", why);
}

static size_t go_walk(const void *state, const struct memory *mem, pid_t pid UNUSED,
		      const struct capture_thread *threads, size_t count, bool arguments UNUSED,
		      struct stack *ret_scripts, struct lang_lock *ret_locks UNUSED)
{
	for (size_t i = 0; i < count; i++)
		walk_thread(state, mem, &threads[i], &ret_scripts[i]);
	return 0; /* sync.Mutex has no owner: who waits is told by the goroutines' frames */
}

static void tell_wait(const struct go *go, const struct memory *mem, const struct goroutine *g, struct task *task)
{
	uint64_t at, len;
	char text[64];

	if (g->status == RUNNABLE || g->status == PREEMPTED)
		text_set(&task->waits_for, "a thread to run on");
	else if (go->reasons && g->reason < 64 && memory_u64(mem, go->reasons + g->reason * 16ull, &at) &&
		 memory_u64(mem, go->reasons + g->reason * 16ull + 8, &len) && len && len < sizeof(text) &&
		 memory_get(mem, at, text, len) == 0)
		text_setf(&task->waits_for, "%.*s", (int)len, text);
}

/* One that waits without a thread; the runtime's own are left out. */
static bool add_task(const struct go *go, const struct memory *mem, const struct goroutine *g, struct task **list,
		     size_t *count)
{
	struct stack script = { 0 };
	const char *why = walk_frames(go, mem, g, false, &script);
	struct task *task;

	hide_runtime(&script);
	task = script.count || why ? list_add(list, count, sizeof(*task)) : NULL;
	if (!task) {
		stack_done(&script);
		return !script.count && !why;
	}
	if (why)
		text_setf(&script.unavailable, "Go stack %s: %s", script.count ? "incomplete" : "unavailable", why);
	task->stack = script;
	text_setf(&task->name, "goroutine %llu", (unsigned long long)g->id);
	tell_wait(go, mem, g, task);
	return true;
}

static const char *go_tasks(const void *state, const struct memory *mem, struct task **ret_task, size_t *ret_count,
			    size_t *ret_more)
{
	const struct go *go = state;
	uint64_t list, len;

	if (!go->allgs)
		return "the executable is stripped: only goroutines that are on a thread are found";
	if (!memory_u64(mem, go->allgs, &list) || !memory_u64(mem, go->allgs + 8, &len))
		return "the list of goroutines cannot be read";
	for (uint64_t i = 0; i < len; i++) {
		struct goroutine g;
		uint64_t addr;

		if (i == GOROUTINES_MAX)
			return "there are more goroutines than are looked at";
		if (!memory_u64(mem, list + i * 8, &addr) || !read_g(go, mem, addr, &g))
			return "a goroutine cannot be read";
		if (g.status != WAITING && g.status != RUNNABLE && g.status != PREEMPTED)
			continue;
		if (*ret_count == TASKS_KEPT)
			(*ret_more)++;
		else if (!add_task(go, mem, &g, ret_task, ret_count))
			return "out of memory";
	}
	return NULL;
}

const struct language lang_go = {
	.name = "go",
	.find = go_find,
	.walk = go_walk,
	.tasks = go_tasks,
	.free_state = free,
};
