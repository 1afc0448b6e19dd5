// SPDX-License-Identifier: MIT
/* What asyncio waits for has no thread: sys.modules leads to asyncio.tasks, that one to the
 * weak set of all tasks, each task to its coroutine, and each coroutine, by the top of its
 * frame's values, to the one it awaits. Rejected: offsets of the task's struct (private to
 * its extension, in no header), a walk over all objects that the garbage collector knows
 * (millions, while the process stands still). So the fields of a task, and where a weak set
 * keeps its set, are found by the types of what they point to: an object is what the name of
 * its type says. Traps: the top of the values of a coroutine that has not begun is one of
 * its arguments; a plain generator may have another one there that it loops over. */
#include "lang_python.h"

#include "ktime.h"

#include <string.h>

#define MODULES_MOST 8192 /* and other entries of a dict */
#define SLOTS_MOST 65536  /* of the set of tasks */
#define SLOTS_TRIED 2048  /* of a set that may be that one; it is never full of gaps */
#define DEPTH_MAX 64
#define TASKS_LEAST 16	    /* looked at however long it takes ... */
#define TASKS_NS 2000000ull /* ... and others for so long: the process may be standing still */
#define TYPES 64
#define TASK_WORDS 32
#define NEAR_WORDS 16
#define READS_MAX 100000u /* of single words: a target's lists can be made to be slow */

enum kind {
	KIND_OTHER,
	KIND_DICT,
	KIND_MODULE,
	KIND_STR,
	KIND_INT,
	KIND_WEAK_SET,
	KIND_SET,
	KIND_WEAK,
	KIND_TASK,
	KIND_FUTURE_ITER,
	KIND_COROUTINE,
	KIND_GENERATOR,
	KIND_ASYNC_GENERATOR,
	KIND_WRAPPER, /* leads to what is awaited */
};

static const struct {
	const char *name;
	enum kind kind;
} kinds[] = {
	{ "dict", KIND_DICT },
	{ "module", KIND_MODULE },
	{ "str", KIND_STR },
	{ "int", KIND_INT },
	{ "WeakSet", KIND_WEAK_SET },
	{ "set", KIND_SET },
	{ "weakref", KIND_WEAK },
	{ "weakref.ReferenceType", KIND_WEAK },
	{ "_asyncio.Task", KIND_TASK },
	{ "_asyncio.FutureIter", KIND_FUTURE_ITER },
	{ "coroutine", KIND_COROUTINE },
	{ "generator", KIND_GENERATOR },
	{ "async_generator", KIND_ASYNC_GENERATOR },
	{ "coroutine_wrapper", KIND_WRAPPER },
	{ "async_generator_asend", KIND_WRAPPER },
	{ "async_generator_athrow", KIND_WRAPPER },
};

/* Of one interpreter. */
struct seeker {
	struct reader *r;
	unsigned int reads;
	struct type {
		uint64_t addr;
		enum kind kind;
		char name[40];
	} types[TYPES];
};

struct coroutines {
	uint64_t code[DEPTH_MAX], instr[DEPTH_MAX]; /* outermost first */
	size_t count;
};

static bool word_at(struct seeker *s, uint64_t addr, uint64_t *ret)
{
	return addr % 8 == 0 && s->reads && s->reads-- && memory_u64(s->r->mem, addr, ret);
}

static const struct type *type_of(struct seeker *s, uint64_t object)
{
	enum { TYPE = 8, NAME = 24 };
	uint64_t addr, name;
	struct type *t;

	if (object < 1u << 16 || object >> 47 || !word_at(s, object + TYPE, &addr) || !addr)
		return NULL;
	t = &s->types[(addr >> 4 ^ addr >> 10) % TYPES];
	if (t->addr == addr)
		return t;
	*t = (struct type){ .addr = 0 };
	if (!word_at(s, addr + NAME, &name) || !name || memory_string(s->r->mem, name, t->name, sizeof(t->name)) < 0)
		return NULL;
	t->addr = addr;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!strcmp(t->name, kinds[i].name))
			t->kind = kinds[i].kind;
	}
	return t;
}

static enum kind kind_of(struct seeker *s, uint64_t object)
{
	const struct type *t = type_of(s, object);

	return t ? t->kind : KIND_OTHER;
}

/* ---- dicts ---- */

/* Where the entries of a dict of keys and values lie, and how. False: it is not such a one. */
static bool dict_entries(struct seeker *s, uint64_t dict, uint64_t *ret_at, size_t *ret_count, size_t *ret_size)
{
	enum { KEYS = 32, VALUES = 40, OLD_SIZE = 8, OLD_COUNT = 32, OLD_HEAD = 40, NEW_COUNT = 24, NEW_HEAD = 32 };
	uint64_t keys, values, size, count;
	uint8_t head[16];

	if (!word_at(s, dict + KEYS, &keys) || !word_at(s, dict + VALUES, &values) || values || keys % 8 ||
	    memory_get(s->r->mem, keys, head, sizeof(head)) < 0)
		return false;
	if (s->r->at.lines == LINES_LOCATIONS) { /* from 3.11 on: logarithms, and the sort of keys */
		if (head[9] > 24 || head[10] > 1 || !word_at(s, keys + NEW_COUNT, &count))
			return false;
		*ret_at = keys + NEW_HEAD + (1ull << head[9]);
		*ret_size = head[10] == 0 ? 24 : 16;
	} else {
		if (!word_at(s, keys + OLD_SIZE, &size) || size > 1u << 24 || !word_at(s, keys + OLD_COUNT, &count))
			return false;
		*ret_at = keys + OLD_HEAD + size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
		*ret_size = 24;
	}
	*ret_count = (size_t)MIN(count, (uint64_t)MODULES_MOST);
	return count <= 1u << 24;
}

static bool is_text(struct seeker *s, uint64_t str, const char *text)
{
	CLEAN(free) char *is = NULL;
	uint64_t length;

	if (!word_at(s, str + 16, &length) || length != strlen(text))
		return false;
	is = python_text(s->r, str, length);
	return is && !strcmp(is, text);
}

/* 0: it is not there. */
static uint64_t dict_get(struct seeker *s, uint64_t dict, const char *name)
{
	size_t count, size;
	CLEAN(free) uint8_t *entries = NULL;
	uint64_t at;

	if (kind_of(s, dict) != KIND_DICT || !dict_entries(s, dict, &at, &count, &size))
		return 0;
	entries = malloc(count * size + 1);
	if (!entries || memory_get(s->r->mem, at, entries, count * size) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t key, value; /* behind a hash where there is one */

		memcpy(&key, entries + i * size + size - 16, 8);
		memcpy(&value, entries + i * size + size - 8, 8);
		if (key && value && is_text(s, key, name))
			return value;
	}
	return 0;
}

/* ---- the set ---- */

enum { SET_MASK = 32, SET_TABLE = 40, SLOT = 16, WEAK_OBJECT = 16 };

/* The task that a slot leads to; 0: none. */
static uint64_t task_of_slot(struct seeker *s, uint64_t slot)
{
	uint64_t key, object;

	if (!word_at(s, slot, &key) || !key || kind_of(s, key) != KIND_WEAK || !word_at(s, key + WEAK_OBJECT, &object))
		return 0;
	return kind_of(s, object) == KIND_TASK ? object : 0;
}

static bool is_set_of_tasks(struct seeker *s, uint64_t object, uint64_t *ret_table, size_t *ret_slots)
{
	uint64_t mask;

	if (kind_of(s, object) != KIND_SET || !word_at(s, object + SET_MASK, &mask) || mask >= 1u << 24 ||
	    !word_at(s, object + SET_TABLE, ret_table))
		return false;
	*ret_slots = (size_t)MIN(mask + 1, (uint64_t)SLOTS_MOST);
	for (size_t i = 0; i < MIN(*ret_slots, (size_t)SLOTS_TRIED); i++) {
		if (task_of_slot(s, *ret_table + i * SLOT))
			return true;
	}
	return false;
}

static bool set_among(struct seeker *s, uint64_t at, uint64_t *ret_table, size_t *ret_slots)
{
	uint64_t word;

	for (size_t i = 0; i < NEAR_WORDS; i++) {
		if (word_at(s, at + i * 8, &word) && is_set_of_tasks(s, word, ret_table, ret_slots))
			return true;
	}
	return false;
}

/* An attribute of the weak set: beside the object or before it, in a dict of its own or in
 * values that share their keys with others; each version has its way. */
static bool find_set(struct seeker *s, uint64_t weak_set, uint64_t *ret_table, size_t *ret_slots)
{
	enum { BEFORE = 32, KEYS = 32, VALUES = 40 };
	uint64_t word, inner;

	if (set_among(s, weak_set - BEFORE, ret_table, ret_slots))
		return true;
	for (size_t i = 0; i < NEAR_WORDS; i++) {
		if (!word_at(s, weak_set - BEFORE + i * 8, &word) || !word)
			continue;
		if (kind_of(s, word) != KIND_DICT) { /* 3.12 marks an array of values by its lowest bit */
			if (set_among(s, word + (word & 1), ret_table, ret_slots))
				return true;
			continue;
		}
		if (word_at(s, word + VALUES, &inner) && inner && set_among(s, inner, ret_table, ret_slots))
			return true;
		if (word_at(s, word + KEYS, &inner) &&
		    (set_among(s, inner + 32, ret_table, ret_slots) ||
		     set_among(s, inner + 32 + 8 * (uint64_t)NEAR_WORDS, ret_table, ret_slots)))
			return true;
	}
	return false;
}

/* ---- coroutines ---- */

enum { STATE_EXECUTING = 0, STATE_SUSPENDED = -1, STATE_BEFORE_FRAME = 5 };

/* The object on top of a suspended frame's values: what it awaits; 0 none. */
static uint64_t top_of(struct seeker *s, uint64_t frame_at, const uint8_t frame[FRAME_SIZE])
{
	const struct layout *at = &s->r->at;
	uint64_t base, top = 0, object;
	int32_t count;

	memcpy(&top, frame + at->top, 8);
	memcpy(&count, frame + at->top, 4);
	memcpy(&base, frame + at->values, 8);
	if (at->top_kind == TOP_INSIDE)
		base = frame_at + at->values;
	if (at->top_kind != TOP_ADDRESS)
		top = count > 0 && count < 1 << 16 ? base + (uint64_t)count * 8 : 0;
	return top > base && word_at(s, top - 8, &object) ? object : 0;
}

/* One frame of the chain; returns what it awaits. False: it is over. */
static bool add_coroutine(struct seeker *s, uint64_t object, enum kind kind, struct coroutines *list,
			  uint64_t *ret_next)
{
	const struct layout *at = &s->r->at;
	uint64_t frame_at = object + at->coro;
	uint8_t frame[FRAME_SIZE];
	int8_t state = STATE_SUSPENDED;

	*ret_next = 0;
	if (at->top_kind == TOP_INSIDE) {
		if (!memory_u8(s->r->mem, frame_at - STATE_BEFORE_FRAME, (uint8_t *)&state) || state > STATE_EXECUTING)
			return false;
	} else if (!word_at(s, frame_at, &frame_at) || !frame_at) {
		return false;
	}
	if (frame_at % 8 || memory_get(s->r->mem, frame_at, frame, sizeof(frame)) < 0)
		return false;
	memcpy(&list->code[list->count], frame + at->code, 8);
	list->instr[list->count] = 0;
	memcpy(&list->instr[list->count++], frame + at->instr, at->lasti ? 4 : 8);
	if (state == STATE_SUSPENDED && kind != KIND_GENERATOR)
		*ret_next = top_of(s, frame_at, frame);
	return true;
}

static void walk_coroutines(struct seeker *s, uint64_t object, struct coroutines *list)
{
	uint64_t next;

	for (size_t depth = 0; object && depth < 2 * DEPTH_MAX && list->count < DEPTH_MAX; depth++, object = next) {
		enum kind kind = kind_of(s, object);

		if (kind == KIND_WRAPPER) {
			if (!word_at(s, object + 16, &next))
				return;
		} else if ((kind != KIND_COROUTINE && kind != KIND_GENERATOR && kind != KIND_ASYNC_GENERATOR) ||
			   !add_coroutine(s, object, kind, list, &next)) {
			return;
		}
	}
}

/* ---- tasks ---- */

/* From 3.12 on a number, until somebody asks for the name. */
static char *task_name(struct seeker *s, uint64_t word)
{
	enum { INT_TAG = 16, INT_DIGIT = 24 };
	enum kind kind = kind_of(s, word);
	char *name = NULL;
	uint32_t digit;
	uint64_t tag;

	if (kind == KIND_STR)
		return python_text(s->r, word, LANG_NAME_MAX);
	if (kind == KIND_INT && word_at(s, word + INT_TAG, &tag) && tag >> 3 == 1 &&
	    memory_u32(s->r->mem, word + INT_DIGIT, &digit))
		text_setf(&name, "Task-%u", digit);
	return name;
}

/* Its fields in their order: what it waits for, its coroutine, its name. ret_at: of the
 * coroutine; 0: it has none any more. */
static size_t task_fields(struct seeker *s, uint64_t task, uint64_t word[TASK_WORDS])
{
	if (memory_get(s->r->mem, task, word, TASK_WORDS * 8) < 0)
		return 0;
	for (size_t i = 3; i + 1 < TASK_WORDS; i++) {
		enum kind kind = kind_of(s, word[i]);

		if (kind == KIND_COROUTINE || kind == KIND_GENERATOR)
			return i;
	}
	return 0;
}

static void put_waits_for(struct seeker *s, uint64_t object, struct task *task)
{
	const struct type *type = object ? type_of(s, object) : NULL;
	char name[sizeof(type->name)];

	if (!type)
		return;
	snprintf(name, sizeof(name), "%s", type->name);
	if (type->kind == KIND_TASK) {
		uint64_t word[TASK_WORDS];
		size_t at = task_fields(s, object, word);
		CLEAN(free) char *other = at ? task_name(s, word[at + 1]) : NULL;

		text_setf(&task->waits_for, "task %s", other ? other : "");
	} else if (strcmp(name, "NoneType") != 0) {
		text_set(&task->waits_for, name);
	}
}

static const char *add_task(struct seeker *s, uint64_t object, struct task **list, size_t *count)
{
	struct coroutines chain = { .count = 0 };
	uint64_t word[TASK_WORDS];
	size_t at = task_fields(s, object, word);
	const char *why = NULL;
	struct task *task;

	if (at)
		walk_coroutines(s, word[at], &chain);
	if (!chain.count)
		return NULL; /* it is done */
	task = list_add(list, count, sizeof(*task));
	if (!task)
		return "out of memory";
	task->name = task_name(s, word[at + 1]);
	put_waits_for(s, word[at - 1], task);
	for (size_t i = chain.count; i-- > 0 && !why;)
		why = python_frame(s->r, chain.code[i] & ~7ull, chain.instr[i], &task->stack);
	if (why)
		text_set(&task->stack.unavailable, why);
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct task *x = a, *y = b;

	return strverscmp(x->name ? x->name : "", y->name ? y->name : "");
}

static const char *walk_set(struct seeker *s, uint64_t table, size_t slots, struct task **list, size_t *count,
			    size_t *more)
{
	uint64_t until_ns = now_ns() + TASKS_NS;
	const char *why = NULL;

	for (size_t i = 0; i < slots && !why; i++) {
		uint64_t key, hash;

		/* too late to ask what it is: a set of weak references has nothing else */
		if (*count >= TASKS_MAX || (*count >= TASKS_LEAST && now_ns() > until_ns)) {
			*more += word_at(s, table + i * SLOT, &key) && key && word_at(s, table + i * SLOT + 8, &hash) &&
				 hash != UINT64_MAX; /* taken out */
			continue;
		}
		key = task_of_slot(s, table + i * SLOT);
		why = key ? add_task(s, key, list, count) : NULL;
	}
	if (*count)
		qsort(*list, *count, sizeof(**list), by_name);
	return why;
}

const char *python_tasks(struct reader *r, uint64_t interp, struct task **list, size_t *count, size_t *ret_more)
{
	static const char *const names[] = { "_scheduled_tasks", "_all_tasks" }; /* from 3.12 on; before */
	struct seeker s = { .r = r, .reads = READS_MAX };
	uint64_t modules, module, dict, set = 0, table = 0;
	size_t slots = 0;
	const char *why;

	if (!word_at(&s, interp + r->at.modules, &modules) || kind_of(&s, modules) != KIND_DICT)
		return "sys.modules cannot be read";
	module = dict_get(&s, modules, "asyncio.tasks");
	if (!module)
		return s.reads ? NULL : "sys.modules is too long";
	if (!r->at.coro)
		return "where this version keeps them is not known yet";
	if (kind_of(&s, module) != KIND_MODULE || !word_at(&s, module + 16, &dict))
		return "the module cannot be read";
	for (size_t i = 0; i < ARRAY_LEN(names) && !set; i++)
		set = dict_get(&s, dict, names[i]);
	if (kind_of(&s, set) != KIND_WEAK_SET)
		return "the set of all tasks is not there";
	if (!find_set(&s, set, &table, &slots))
		return s.reads ? NULL : "memory makes no sense"; /* there is no task */
	why = walk_set(&s, table, slots, list, count, ret_more);
	return why || s.reads ? why : "there is more of them than is read";
}
