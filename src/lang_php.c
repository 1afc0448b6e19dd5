// SPDX-License-Identifier: MIT
/* PHP 7.0 to 8.5, not thread-safe builds: executor_globals is exported, and from it
 * the chain of execute_data leads to function, file and line. Offsets differ by minor
 * version: one row each. Rejected: debug symbols (nobody has them installed).
 * Traps: while the VM runs, the line it is at is in a register and not in memory;
 * after a request the request's fields stay behind, so an idle worker is told by
 * current_execute_data being null. */
#include "lang_php.h"

#include "symbol.h"

#include <string.h>

#define MARK "X-Powered-By: PHP/"
#define STRING_SANE_MAX (1u << 20) /* a longer name means that the offsets are wrong */

/* of zend_execute_data, zend_function, zend_class_entry, zend_string, zend_op: the
 * same in all these versions */
enum {
	EX_OPLINE = 0,
	EX_FUNC = 24,
	EX_THIS = 32,
	EX_THIS_TYPE = 40,
	FUNC_TYPE = 0,
	FUNC_NAME = 8,
	FUNC_SCOPE = 16,
	CLASS_NAME = 8,
	OBJECT_CLASS = 16,
	NODE_PARENT = 0,
	STRING_LEN = 16,
	STRING_VAL = 24,
	OP_LINE = 24,
	OP_SIZE = 32
};
enum { TYPE_OBJECT = 8 };
enum { INTERNAL_FUNCTION = 1, USER_FUNCTION = 2, EVAL_CODE = 4 };
enum { REG_R15 = 0, REG_R14 = 1 }; /* of user_regs_struct */

/* Compared with PHP's headers by scripts/offsets-php. */
static const struct php_row php_rows[] = {
	{ 7, 0, 480, 56, 120, 128, 64, 160 }, { 7, 1, 480, 48, 120, 128, 64, 160 },
	{ 7, 2, 480, 48, 120, 128, 64, 160 }, { 7, 3, 488, 48, 128, 136, 64, 160 },
	{ 7, 4, 488, 48, 136, 144, 64, 160 }, { 8, 0, 488, 48, 144, 152, 0, 0 },
	{ 8, 1, 488, 48, 144, 152, 56, 152 }, { 8, 2, 488, 48, 152, 160, 56, 152 },
	{ 8, 3, 488, 48, 144, 152, 56, 152 }, { 8, 4, 488, 48, 168, 176, 56, 152 },
	{ 8, 5, 512, 48, 168, 176, 56, 152 },
};

static int php_find(const struct images *images, void **ret_state, char **ret_title, char **ret_why)
{
	for (size_t i = 0; i < images_count(images); i++) {
		const struct image *image = images_get(images, i);
		const char *at, *end = (const char *)image->file + image->file_len;
		bool threads = false;
		unsigned int major, minor, patch;
		struct php found = { 0 };
		char text[32];

		if (!image->file || (!symbol_address(image, "executor_globals", &found.executor_globals) &&
				     !(threads = symbol_address(image, "executor_globals_offset", &(uint64_t){ 0 }))))
			continue;
		symbol_address(image, "sapi_globals", &found.sapi_globals);
		symbol_address(image, "sapi_module", &found.sapi_module);
		at = memmem(image->file, image->file_len, MARK, sizeof(MARK) - 1);
		if (!at)
			continue;
		at += sizeof(MARK) - 1;
		snprintf(text, sizeof(text), "%.*s", (int)MIN((ptrdiff_t)24, end - at), at);
		if (sscanf(text, "%2u.%2u.%3u", &major, &minor, &patch) != 3)
			continue;
		text_setf(ret_title, "PHP %u.%u.%u", major, minor, patch);
		if (threads) {
			text_set(ret_why, "this PHP is a thread-safe build, which cannot be read yet");
			return 1;
		}
		for (size_t k = 0; k < ARRAY_LEN(php_rows); k++) {
			if (php_rows[k].major == major && php_rows[k].minor == minor)
				found.row = &php_rows[k];
		}
		if (!found.row) {
			text_setf(ret_why, "no offsets known for PHP %u.%u", major, minor);
			return 1;
		}
		*ret_state = malloc(sizeof(found));
		if (!*ret_state)
			return -ENOMEM;
		memcpy(*ret_state, &found, sizeof(found));
		return 1;
	}
	return 0;
}

char *php_string(const struct memory *mem, uint64_t addr, size_t max, uint64_t *ret_len)
{
	uint64_t len;
	char *text;

	if (!memory_u64(mem, addr + STRING_LEN, &len))
		return NULL;
	if (ret_len)
		*ret_len = len;
	if (len == 0 || len > STRING_SANE_MAX)
		return NULL;
	len = MIN(len, (uint64_t)max);
	text = malloc(len + 1);
	if (!text || memory_get(mem, addr + STRING_VAL, text, len) < 0) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* 'Class::function' */
static const char *read_name(const struct memory *mem, uint64_t func, uint8_t type, bool outermost, char **ret_name)
{
	CLEAN(free) char *name = NULL, *class = NULL;
	uint64_t name_at, scope, class_at;

	if (!memory_u64(mem, func + FUNC_NAME, &name_at) || !memory_u64(mem, func + FUNC_SCOPE, &scope))
		return "a function's header cannot be read";
	if (!name_at) {
		text_set(ret_name, type == EVAL_CODE ? "eval" : outermost ? "{main}" : "include");
		return NULL;
	}
	name = php_string(mem, name_at, LANG_NAME_MAX, NULL);
	if (!name)
		return "a function's name cannot be read";
	if (scope && memory_u64(mem, scope + CLASS_NAME, &class_at))
		class = php_string(mem, class_at, LANG_NAME_MAX, NULL);
	if (scope && !class)
		return "a class's name cannot be read";
	text_setf(ret_name, class ? "%2$s::%1$s" : "%s", name, class);
	return NULL;
}

/* The line being run, if it can be trusted: inside the function's own lines. */
static uint32_t read_line(const struct php_row *row, const struct memory *mem, uint64_t ex, uint64_t func,
			  const struct capture_thread *t)
{
	uint64_t opline;
	uint32_t line, start, end;

	if (!memory_u32(mem, func + row->line, &start) || !memory_u32(mem, func + row->line + 4, &end) ||
	    !memory_u64(mem, ex + EX_OPLINE, &opline))
		return 0;
	/* A VM that is running: r14 is its frame, r15 its place in the same code. */
	if (t->stopped && t->reg[REG_R14] == ex) {
		int64_t away = (int64_t)(t->reg[REG_R15] - opline);

		if (away % OP_SIZE == 0 && away > -(16 << 20) && away < (16 << 20) &&
		    memory_u32(mem, t->reg[REG_R15] + OP_LINE, &line) && line >= start && line <= end)
			return line;
	}
	if (!memory_u32(mem, opline + OP_LINE, &line) || line < start || line > end)
		return 0;
	return line;
}

/* What a walk carries along. */
struct chain {
	const struct php *php;
	const struct memory *mem;
	const struct capture_thread *thread;
	struct stack *script;
	bool arguments;
	size_t depth; /* places looked at */
};

static const char *read_frame(const struct chain *c, uint64_t ex, uint64_t func, bool outermost)
{
	const struct memory *mem = c->mem;
	const char *why;
	char *name = NULL;
	struct frame *f;
	uint64_t file_at;
	uint8_t type;

	if (!memory_u8(mem, func + FUNC_TYPE, &type))
		return "a function cannot be read";
	if (type != INTERNAL_FUNCTION && type != USER_FUNCTION && type != EVAL_CODE)
		return "a function's type makes no sense";
	why = read_name(mem, func, type, outermost, &name);
	if (why)
		return why;
	f = list_add(&c->script->frame, &c->script->count, sizeof(*f));
	if (!f) {
		free(name);
		return "out of memory";
	}
	f->function = name;
	f->script = true;
	text_set(&f->module, "php");
	if (c->arguments && strcmp(name, "{main}") && strcmp(name, "include") && strcmp(name, "eval"))
		f->arguments = php_arguments(c->php, mem, ex, func, type == INTERNAL_FUNCTION);
	if (type == INTERNAL_FUNCTION)
		return NULL;
	if (memory_u64(mem, func + c->php->row->file, &file_at))
		f->file = php_string(mem, file_at, LANG_PATH_MAX, NULL);
	if (!f->file)
		return "a file name cannot be read";
	f->line = read_line(c->php->row, mem, ex, func, c->thread);
	return NULL;
}

static const char *take_frame(struct chain *c, uint64_t ex, bool outermost)
{
	uint64_t func, name;
	uint8_t type;

	if (ex % 8)
		return "a frame's address makes no sense";
	if (!memory_u64(c->mem, ex + EX_FUNC, &func))
		return "a frame cannot be read";
	if (!func) /* a mark between two calls, no frame of the script */
		return NULL;
	/* nor is the function that a fiber begins with */
	if (memory_u8(c->mem, func + FUNC_TYPE, &type) && type == INTERNAL_FUNCTION &&
	    memory_u64(c->mem, func + FUNC_NAME, &name) && !name)
		return NULL;
	return read_frame(c, ex, func, outermost);
}

static bool is_generator(const struct memory *mem, uint64_t object)
{
	CLEAN(free) char *name = NULL;
	uint64_t class, name_at;

	if (memory_u64(mem, object + OBJECT_CLASS, &class) && memory_u64(mem, class + CLASS_NAME, &name_at))
		name = php_string(mem, name_at, LANG_NAME_MAX, NULL);
	return name && !strcmp(name, "Generator");
}

/* The place of a generator that waits in 'yield from' is kept by a mark: of the generators
 * from the one there to the one that runs, neither is in the chain's own order. */
static const char *take_delegates(struct chain *c, uint64_t mark)
{
	static const char *const bad = "a generator cannot be read";
	const struct php_row *row = c->php->row;
	uint64_t waiting[LANG_FRAMES_MAX], func, generator, parent, next;
	const char *why = NULL;
	size_t count = 0;
	uint8_t type;

	if (!memory_u64(c->mem, mark + EX_FUNC, &func) || func || !memory_u8(c->mem, mark + EX_THIS_TYPE, &type) ||
	    type != TYPE_OBJECT || !memory_u64(c->mem, mark + EX_THIS, &generator) || !is_generator(c->mem, generator))
		return NULL;
	if (!row->run)
		return "where a generator waits for another is not known for this version";
	if (!memory_u64(c->mem, generator + row->node + NODE_PARENT, &parent))
		return bad;
	while (parent) {
		if (!memory_u64(c->mem, parent + row->node + NODE_PARENT, &next) ||
		    !memory_u64(c->mem, generator + row->run, &waiting[count]))
			return bad;
		if (++count + c->depth >= LANG_FRAMES_MAX)
			return "there are more frames than are shown";
		generator = parent;
		parent = next;
	}
	c->depth += count;
	while (count > 0 && !why)
		why = take_frame(c, waiting[--count], false);
	return why;
}

static const char *walk_chain(struct chain *c)
{
	uint64_t seen[LANG_FRAMES_MAX], ex, prev;
	const char *why = NULL;
	size_t count = 0;

	if (!memory_u64(c->mem, c->php->executor_globals + c->php->row->current, &ex))
		return "executor_globals cannot be read";
	for (; ex && !why; ex = prev) {
		if (c->depth >= LANG_FRAMES_MAX)
			return "there are more frames than are shown";
		for (size_t i = 0; i < count; i++) {
			if (seen[i] == ex)
				return "the frames form a loop";
		}
		seen[count++] = ex;
		c->depth++;
		if (ex % 8)
			return "a frame's address makes no sense";
		if (!memory_u64(c->mem, ex + c->php->row->prev, &prev))
			return "a frame cannot be read";
		why = take_frame(c, ex, prev == 0);
		if (!why)
			why = take_delegates(c, ex);
	}
	return why;
}

static size_t php_walk(const void *state, const struct memory *mem, pid_t pid, const struct capture_thread *threads,
		       size_t count, bool arguments, struct stack *ret_scripts, struct lang_lock *ret_locks)
{
	(void)ret_locks;

	/* Without thread safety the script runs in the thread that began the process. */
	for (size_t i = 0; i < count; i++) {
		struct chain c = { .php = state,
				   .mem = mem,
				   .thread = &threads[i],
				   .script = &ret_scripts[i],
				   .arguments = arguments };
		const char *why;

		if (threads[i].tid != pid)
			continue;
		why = walk_chain(&c);
		if (why)
			text_setf(&ret_scripts[i].unavailable,
				  ret_scripts[i].count ? "PHP stack incomplete: %s" : "PHP stack unavailable: %s", why);
	}
	return 0;
}

const struct language lang_php = {
	.name = "php",
	.find = php_find,
	.walk = php_walk,
	.request = php_request,
	.free_state = free,
};
