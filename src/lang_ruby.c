// SPDX-License-Identifier: MIT
/* Ruby (MRI) 3.1: ruby_current_vm_ptr is exported, and from it the ractors, their threads and
 * the threads' control frames lead to method, file and line. The offsets differ by minor
 * version: one row each, printed by offsetof() from the header that ruby3.1-dev has for its
 * JIT. Rejected: ruby_current_ec, which is
 * one thread's alone and not exported by later versions.
 * Traps: a method written in C has no name of its own but a number, and the table of those is
 * not exported: it is found in the writable data by its shape. Who waits for the GVL or a Mutex
 * waits on a condition of its own, so each waiter is a lock with one name. The line is the
 * instruction's rank in a bit vector, an index into a table of lines. */
#include "lang.h"

#include "symbol.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define RACTORS_MAX 32
#define THREADS_MAX 4096
#define MUTEXES_MAX 64 /* that one thread holds */
#define DATA_MAX (1u << 20)
#define TEXT_SANE_MAX (1u << 20)
#define STEPS_MAX (1u << 16) /* control frames and Mutexes that are looked at in all: time is short */
enum { REG_FS_BASE = 21 };   /* of user_regs_struct */
enum { TYPE_MASK = 0x1f, TYPE_STRING = 5, TYPE_ARRAY = 7, TYPE_HASH = 8, TYPE_DATA = 12 };

/* Offsets. */
struct ruby_row {
	uint8_t major, minor;
	uint16_t vm_ractors; /* a list */
	uint16_t ractor_node, ractor_threads, gvl_owner, gvl_queue;
	uint16_t thread_ec, thread_pthread, thread_mutex, thread_mutexes, thread_queue, thread_cond;
	uint16_t frame_size;
	uint16_t path, label, lines, lines_size, lines_index; /* of an iseq's body */
	uint16_t line_size;
	uint16_t operator_last; /* of the numbers of names */
};

static const struct ruby_row ruby_rows[] = {
	{ 3, 1, 8, 568, 304, 336, 384, 40, 80, 264, 272, 104, 120, 64, 64, 80, 120, 136, 144, 12, 169 },
};

/* What the files tell. */
struct ruby {
	const struct ruby_row *row;
	uint64_t vm, data, data_len; /* the pointer to the machine; the writable data of its file */
};

struct ruby_thread {
	uint64_t at;
	size_t index; /* of the captured threads; SIZE_MAX: none of them */
};

/* What a walk carries along. */
struct ruby_reader {
	const struct memory *mem;
	const struct ruby_row *row;
	const struct capture_thread *threads;
	size_t thread_count;
	uint64_t names; /* the array of names; 0: not found */
	struct ruby_thread *known;
	size_t known_count;
	struct lang_lock *locks;
	size_t lock_count;
	unsigned int steps; /* that may still be done */
};

/* --- which Ruby --- */

static bool version_of(const struct image *image, unsigned int *major, unsigned int *minor)
{
	static const char mark[] = "ruby ";
	const char *at = image->file, *end = at + image->file_len;

	while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) && end - at > 10) {
		at += sizeof(mark) - 1;
		if (at[0] < '1' || at[0] > '9' || at[1] != '.' || at[2] < '0' || at[2] > '9' || at[3] != '.')
			continue;
		*major = (unsigned int)(at[0] - '0');
		*minor = (unsigned int)(at[2] - '0');
		return true;
	}
	return false;
}

/* The writable segment: what its headers claim, bounded by DATA_MAX. */
static void data_of(const struct image *image, struct ruby *ruby)
{
	Elf64_Ehdr head;

	if (image->file_len < sizeof(head))
		return;
	memcpy(&head, image->file, sizeof(head));
	for (size_t i = 0; i < head.e_phnum; i++) {
		Elf64_Phdr part;

		if (head.e_phoff > image->file_len || (i + 1) * sizeof(part) > image->file_len - head.e_phoff)
			return;
		memcpy(&part, (const char *)image->file + head.e_phoff + i * sizeof(part), sizeof(part));
		if (part.p_type != PT_LOAD || !(part.p_flags & PF_W))
			continue;
		ruby->data = (image->bias + part.p_vaddr + 7) & ~7ull;
		ruby->data_len = MIN(part.p_filesz, (uint64_t)DATA_MAX) & ~7ull;
		return;
	}
}

static int ruby_find(const struct images *images, void **ret_state, char **ret_title, char **ret_why)
{
	unsigned int major = 0, minor = 0;
	struct ruby found = { 0 };

	for (size_t i = 0; i < images_count(images) && !major; i++) {
		const struct image *image = images_get(images, i);

		if (!image->file || !symbol_address(image, "ruby_current_vm_ptr", &found.vm) ||
		    !version_of(image, &major, &minor))
			continue;
		data_of(image, &found);
	}
	if (!major)
		return 0;
	text_setf(ret_title, "Ruby %u.%u", major, minor);
	for (size_t i = 0; i < ARRAY_LEN(ruby_rows); i++) {
		if (ruby_rows[i].major == major && ruby_rows[i].minor == minor)
			found.row = &ruby_rows[i];
	}
	if (!found.row) {
		text_setf(ret_why, "no offsets known for Ruby %u.%u", major, minor);
		return 1;
	}
	*ret_state = malloc(sizeof(found));
	if (!*ret_state)
		return -ENOMEM;
	memcpy(*ret_state, &found, sizeof(found));
	return 1;
}

/* --- values --- */

/* A String as a heap string of at most max bytes. NULL: it is none. */
static char *ruby_text(const struct ruby_reader *r, uint64_t at, size_t max)
{
	enum { NOT_EMBEDDED = 1 << 13, EMBEDDED_SHIFT = 14, LENGTH = 16, POINTER = 24 };
	uint64_t flags, len, from = at + LENGTH;
	char *text;

	if (!at || at % 8 || !memory_u64(r->mem, at, &flags) || (flags & TYPE_MASK) != TYPE_STRING)
		return NULL;
	len = flags >> EMBEDDED_SHIFT & 0x1f;
	if ((flags & NOT_EMBEDDED) &&
	    (!memory_u64(r->mem, at + LENGTH, &len) || !memory_u64(r->mem, at + POINTER, &from)))
		return NULL;
	if (len > TEXT_SANE_MAX)
		return NULL;
	len = MIN(len, (uint64_t)max);
	text = malloc(len + 1);
	if (text && memory_get(r->mem, from, text, len) < 0) {
		free(text);
		return NULL;
	}
	if (text)
		text[len] = '\0';
	return text;
}

/* An Array's element; 0: there is none. */
static uint64_t ruby_element(const struct ruby_reader *r, uint64_t at, uint64_t index)
{
	enum { EMBEDDED = 1 << 13, EMBEDDED_SHIFT = 15, LENGTH = 16, POINTER = 32 };
	uint64_t flags, len, from = at + LENGTH, value;

	if (!at || at % 8 || !memory_u64(r->mem, at, &flags) || (flags & TYPE_MASK) != TYPE_ARRAY)
		return 0;
	len = flags >> EMBEDDED_SHIFT & 3;
	if (!(flags & EMBEDDED) && (!memory_u64(r->mem, at + LENGTH, &len) || !memory_u64(r->mem, at + POINTER, &from)))
		return 0;
	return index < len && memory_u64(r->mem, from + 8 * index, &value) ? value : 0;
}

static bool is_of_type(const struct ruby_reader *r, uint64_t at, uint64_t type)
{
	uint64_t flags;

	return at && at % 8 == 0 && memory_u64(r->mem, at, &flags) && (flags & TYPE_MASK) == type;
}

/* The table of names: its last number, a hash table, the Array of names, a Hash. */
static void find_names(struct ruby_reader *r, const struct ruby *ruby)
{
	enum { NAMES_MAX = 1 << 26 };
	CLEAN(free) uint64_t *word = malloc(ruby->data_len + 8);
	size_t count = ruby->data_len / 8;

	if (!word || memory_get(r->mem, ruby->data, word, count * 8) < 0)
		return;
	for (size_t i = 0; i + 3 < count; i++) {
		const uint64_t *w = word + i;

		if (w[0] <= r->row->operator_last || w[0] > NAMES_MAX || w[1] < 4096 || w[1] % 8 || w[2] < 4096 ||
		    w[2] % 8 || w[3] < 4096 || w[3] % 8)
			continue;
		if (!is_of_type(r, w[2], TYPE_ARRAY) || !is_of_type(r, w[3], TYPE_HASH))
			continue;
		r->names = w[2];
		return;
	}
}

static char *name_of(const struct ruby_reader *r, uint64_t id)
{
	enum { SCOPE_BITS = 4, UNIT = 512, PER_NAME = 2 };
	uint64_t serial = id > r->row->operator_last ? id >> SCOPE_BITS : id;
	uint64_t part = ruby_element(r, r->names, serial / UNIT);

	return ruby_text(r, ruby_element(r, part, serial % UNIT * PER_NAME), LANG_NAME_MAX);
}

/* --- lines --- */

/* How many entries begin at or before instruction word 'at': seven bits each of the first, then
 * blocks of 512 bits with the count before them and before each of their words. */
static bool rank_of(const struct memory *mem, uint64_t index, uint64_t at, uint64_t *ret)
{
	enum { DIRECT = 54, PER_WORD = 9, BLOCK_BITS = 512, BLOCK = 80, RANKS = 8, BITS = 16 };
	uint64_t word, ranks, block, bit;
	uint32_t before;

	if (at < DIRECT) {
		if (!memory_u64(mem, index + at / PER_WORD * 8, &word))
			return false;
		*ret = word >> at % PER_WORD * 7 & 0x7f;
		return true;
	}
	at -= DIRECT;
	block = index + DIRECT / PER_WORD * 8 + at / BLOCK_BITS * BLOCK;
	bit = at % BLOCK_BITS;
	if (!memory_u32(mem, block, &before) || !memory_u64(mem, block + RANKS, &ranks) ||
	    !memory_u64(mem, block + BITS + bit / 64 * 8, &word))
		return false;
	*ret = before + (uint64_t)__builtin_popcountll(word << (63 - bit % 64));
	if (bit >= 64)
		*ret += ranks >> (bit / 64 - 1) * 9 & 0x1ff;
	return true;
}

/* 'at' is the word that the machine goes on at; 0: no line. */
static uint32_t ruby_line(const struct ruby_reader *r, uint64_t body, uint64_t at)
{
	uint64_t lines, index, rank = 1;
	uint32_t size, line;

	if (!memory_u64(r->mem, body + r->row->lines, &lines) ||
	    !memory_u32(r->mem, body + r->row->lines_size, &size) ||
	    !memory_u64(r->mem, body + r->row->lines_index, &index) || !size)
		return 0;
	if (size > 1 && !rank_of(r->mem, index, at ? at - 1 : 0, &rank))
		return 0;
	if (!rank || rank > size || !memory_u32(r->mem, lines + (rank - 1) * r->row->line_size, &line))
		return 0;
	return line < INT32_MAX ? line : 0;
}

/* --- frames --- */

static struct frame *add_frame(struct stack *script, char *function)
{
	struct frame *frame = list_add(&script->frame, &script->count, sizeof(*frame));

	if (!frame) {
		free(function);
		return NULL;
	}
	frame->function = function;
	text_set(&frame->module, "ruby");
	frame->script = true;
	return frame;
}

/* A method written in C: its name alone. */
static const char *native_frame(const struct ruby_reader *r, uint64_t ep, struct stack *script)
{
	enum { ENTRY = 16, KIND_SHIFT = 12, KIND_SVAR = 2, KIND_METHOD = 6, DEFINITION = 16, NAME = 32 };
	uint64_t entry, flags, definition, id;
	char *name;

	if (!memory_u64(r->mem, ep - ENTRY, &entry) || entry % 8 || !memory_u64(r->mem, entry, &flags))
		return "a method cannot be read";
	if ((flags >> KIND_SHIFT & 0xf) == KIND_SVAR &&
	    (!memory_u64(r->mem, entry + 8, &entry) || entry % 8 || !memory_u64(r->mem, entry, &flags)))
		return "a method cannot be read";
	if ((flags >> KIND_SHIFT & 0xf) != KIND_METHOD || !memory_u64(r->mem, entry + DEFINITION, &definition) ||
	    !memory_u64(r->mem, definition + NAME, &id))
		return "a method cannot be read";
	name = name_of(r, id);
	if (!name)
		text_setf(&name, "method %llu", (unsigned long long)id);
	return add_frame(script, name) ? NULL : "out of memory";
}

static const char *ruby_frame(const struct ruby_reader *r, uint64_t iseq, uint64_t pc, struct stack *script)
{
	enum { BODY = 16, SIZE = 4, CODE = 8 };
	uint64_t body, code, path, label;
	uint32_t size;
	struct frame *frame;
	char *name, *file;

	if (iseq % 8 || !memory_u64(r->mem, iseq + BODY, &body) || body % 8 ||
	    !memory_u32(r->mem, body + SIZE, &size) || !memory_u64(r->mem, body + CODE, &code) ||
	    !memory_u64(r->mem, body + r->row->path, &path) || !memory_u64(r->mem, body + r->row->label, &label))
		return "a method's code cannot be read";
	if (pc < code || (pc - code) / 8 > size)
		return "a frame is at no instruction of its method";
	name = ruby_text(r, label, LANG_NAME_MAX);
	if (!name)
		return "a method's name cannot be read";
	file = ruby_text(r, is_of_type(r, path, TYPE_ARRAY) ? ruby_element(r, path, 0) : path, LANG_PATH_MAX);
	if (!file) {
		free(name);
		return "a file name cannot be read";
	}
	frame = add_frame(script, name);
	if (!frame) {
		free(file);
		return "out of memory";
	}
	frame->file = file;
	frame->line = ruby_line(r, body, (pc - code) / 8);
	return NULL;
}

static const char *walk_frames(struct ruby_reader *r, uint64_t ec, struct stack *script)
{
	enum { STACK = 0, STACK_SIZE = 8, TOP = 16, PC = 0, ISEQ = 2, EP = 4, WORDS = 7 };
	enum { FRAME_MASK = 0x7fff0001, FRAME_NATIVE = 0x55550001 };
	uint64_t stack, size, at, end;
	const char *why = NULL;

	if (ec % 8 || !memory_u64(r->mem, ec + STACK, &stack) || !memory_u64(r->mem, ec + STACK_SIZE, &size) ||
	    !memory_u64(r->mem, ec + TOP, &at))
		return "a thread's state cannot be read";
	if (!stack)
		return NULL; /* it has not begun, or has ended */
	end = stack + size * 8;
	if (size > 1u << 28 || at % 8 || at < stack || at > end)
		return "a thread's stack makes no sense";
	for (; at + r->row->frame_size < end && !why; at += r->row->frame_size) {
		uint64_t word[WORDS], flags;

		if (script->count == LANG_FRAMES_MAX || !r->steps)
			return "there are more frames than are shown";
		r->steps--;
		if (memory_get(r->mem, at, word, sizeof(word)) < 0)
			return "a frame cannot be read";
		if (word[ISEQ] && word[PC])
			why = ruby_frame(r, word[ISEQ], word[PC], script);
		else if (word[EP] && memory_u64(r->mem, word[EP], &flags) && (flags & FRAME_MASK) == FRAME_NATIVE)
			why = native_frame(r, word[EP], script);
	}
	return why;
}

/* --- threads and locks --- */

static size_t thread_by_pthread(const struct ruby_reader *r, uint64_t pthread)
{
	for (size_t i = 0; i < r->thread_count; i++) {
		if (r->threads[i].stopped && r->threads[i].reg[REG_FS_BASE] == pthread)
			return i;
	}
	return SIZE_MAX;
}

static size_t thread_at(const struct ruby_reader *r, uint64_t at)
{
	for (size_t i = 0; i < r->known_count && at; i++) {
		if (r->known[i].at == at)
			return r->known[i].index;
	}
	return SIZE_MAX;
}

static const char *walk_thread(struct ruby_reader *r, uint64_t at, struct stack *scripts)
{
	uint64_t pthread, ec;
	struct ruby_thread *known;
	const char *why;
	size_t i;

	if (at % 8 || !memory_u64(r->mem, at + r->row->thread_pthread, &pthread) ||
	    !memory_u64(r->mem, at + r->row->thread_ec, &ec))
		return "a thread's state cannot be read";
	known = list_add(&r->known, &r->known_count, sizeof(*known));
	if (!known)
		return "out of memory";
	i = thread_by_pthread(r, pthread);
	*known = (struct ruby_thread){ at, i };
	if (i == SIZE_MAX || scripts[i].count || scripts[i].unavailable)
		return NULL;
	why = walk_frames(r, ec, &scripts[i]);
	if (why)
		text_setf(&scripts[i].unavailable,
			  scripts[i].count ? "Ruby stack incomplete: %s" : "Ruby stack unavailable: %s", why);
	return NULL;
}

/* A thread's own condition, on which it waits for what 'name' says. */
static void add_lock(struct ruby_reader *r, uint64_t thread, const char *name, size_t owner)
{
	enum { COND = 48 };
	uint64_t addr = thread + r->row->thread_cond;

	for (size_t i = 0; i < r->lock_count; i++) {
		if (r->locks[i].addr == addr)
			return;
	}
	if (r->lock_count == LANG_LOCKS_MAX)
		return;
	r->locks[r->lock_count] = (struct lang_lock){ .addr = addr, .len = COND, .owner = owner };
	snprintf(r->locks[r->lock_count++].name, sizeof(r->locks[0].name), "%s", name);
}

static void find_gvl(struct ruby_reader *r, uint64_t ractor)
{
	uint64_t head = ractor + r->row->gvl_queue, at, owner;

	if (!memory_u64(r->mem, ractor + r->row->gvl_owner, &owner) || !memory_u64(r->mem, head, &at))
		return;
	for (size_t n = 0; at != head && n < LANG_LOCKS_MAX; n++) {
		add_lock(r, at - r->row->thread_queue, "the GVL", thread_at(r, owner));
		if (at % 8 || !memory_u64(r->mem, at, &at))
			return;
	}
}

static size_t mutex_owner(struct ruby_reader *r, uint64_t mutex)
{
	enum { NEXT = 8 };

	for (size_t i = 0; i < r->known_count && r->steps; i++) {
		uint64_t at;

		if (!memory_u64(r->mem, r->known[i].at + r->row->thread_mutexes, &at))
			continue;
		r->steps--;
		for (size_t n = 0; at && n < MUTEXES_MAX && r->steps; n++, r->steps--) {
			if (at == mutex)
				return r->known[i].index;
			if (at % 8 || !memory_u64(r->mem, at + NEXT, &at))
				break;
		}
	}
	return SIZE_MAX;
}

/* After the GVL: who was woken from a Mutex's queue and has no GVL yet waits for that. */
static void find_mutexes(struct ruby_reader *r)
{
	enum { DATA = 32 };

	for (size_t i = 0; i < r->known_count && r->lock_count < LANG_LOCKS_MAX; i++) {
		uint64_t object, mutex;
		char name[48];

		if (!memory_u64(r->mem, r->known[i].at + r->row->thread_mutex, &object) ||
		    !is_of_type(r, object, TYPE_DATA) || !memory_u64(r->mem, object + DATA, &mutex))
			continue;
		snprintf(name, sizeof(name), "Mutex 0x%llx", (unsigned long long)object);
		add_lock(r, r->known[i].at, name, mutex_owner(r, mutex));
	}
}

static const char *walk_ractor(struct ruby_reader *r, uint64_t ractor, struct stack *scripts)
{
	uint64_t head = ractor + r->row->ractor_threads, at;
	const char *why = NULL;

	if (!memory_u64(r->mem, head, &at))
		return "a ractor cannot be read";
	while (at != head && !why) {
		if (r->known_count == THREADS_MAX)
			return "its list of threads does not end";
		why = walk_thread(r, at, scripts);
		if (!why && !memory_u64(r->mem, at, &at))
			why = "a thread's state cannot be read";
	}
	find_gvl(r, ractor);
	return why;
}

static const char *walk_ractors(struct ruby_reader *r, uint64_t vm_pointer, struct stack *scripts)
{
	const char *why = NULL;
	uint64_t vm, head, at;

	if (!memory_u64(r->mem, vm_pointer, &vm))
		return "ruby_current_vm_ptr cannot be read";
	if (!vm)
		return "it has not started yet, or has ended";
	head = vm + r->row->vm_ractors;
	if (vm % 8 || !memory_u64(r->mem, head, &at))
		return "the virtual machine cannot be read";
	for (size_t n = 0; at != head && !why; n++) {
		if (n == RACTORS_MAX)
			return "there are more ractors than are looked at";
		if (at % 8)
			return "a ractor's address makes no sense";
		why = walk_ractor(r, at - r->row->ractor_node, scripts);
		if (!why && !memory_u64(r->mem, at, &at))
			why = "a ractor cannot be read";
	}
	return why;
}

static size_t ruby_walk(const void *state, const struct memory *mem, pid_t pid, const struct capture_thread *threads,
			size_t count, bool arguments UNUSED, struct stack *ret_scripts, struct lang_lock *ret_locks)
{
	const struct ruby *ruby = state;
	struct ruby_reader r = { .mem = mem,
				 .row = ruby->row,
				 .threads = threads,
				 .thread_count = count,
				 .locks = ret_locks,
				 .steps = STEPS_MAX };
	const char *why;

	find_names(&r, ruby);
	why = walk_ractors(&r, ruby->vm, ret_scripts);
	find_mutexes(&r);
	for (size_t i = 0; i < count && why; i++) {
		if (threads[i].tid == pid && !ret_scripts[i].unavailable)
			text_setf(&ret_scripts[i].unavailable, "Ruby stacks %s: %s",
				  ret_scripts[i].count ? "incomplete" : "unavailable", why);
	}
	free(r.known);
	return r.lock_count;
}

const struct language lang_ruby = {
	.name = "ruby",
	.find = ruby_find,
	.walk = ruby_walk,
	.free_state = free,
};
