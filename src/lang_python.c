// SPDX-License-Identifier: MIT
/* CPython 3.8 to 3.14: _PyRuntime is exported, and from it interpreters, their threads,
 * the threads' frames and their code lead to function, file and line. Up to 3.12 the
 * offsets differ by minor version: one row each, compared by scripts/offsets-python.
 * From 3.13 on the interpreter says them itself at the begin of _PyRuntime. Rejected:
 * the native frames (one C frame runs many of Python's since 3.11).
 * Traps: a thread is found by its pthread_t, which is its fs base, because the kernel's
 * id that is noted beside it is the parent's after a fork; the line is not kept
 * anywhere, it is the instruction's place in a table that has had three formats. */
#include "lang_python.h"

#include "symbol.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define THREADS_MAX 65536
#define TEXT_SANE_MAX (1u << 20) /* a longer name means that the offsets are wrong */
#define TABLE_MAX (256u << 10)	 /* of lines; a longer one costs the line */
#define TABLES_MAX (16u << 20)	 /* ... of all frames together: time is short */
#define CODE_SIZE 208
#define STACK_WORDS 512
#define GUESSES_MAX 8192
enum { REG_RSP = 19, REG_FS_BASE = 21 }; /* of user_regs_struct */

struct python_row {
	uint8_t minor;
	struct layout at;
};

#define OLD(gil_at, lasti_at, unit, kind, modules_at, top_at, top_is)                                             \
	{                                                                                                         \
		.interpreters = 32, .gil = (gil_at), .interp_threads = 8, .next = 8, .pthread = 176, .frame = 24, \
		.back = 24, .code = 32, .instr = (lasti_at), .lasti = true, .lasti_unit = (unit), .name = 112,    \
		.file = 104, .first = 40, .table = 120, .ascii_size = 48, .compact_size = 72, .lines = (kind),    \
		.modules = (modules_at), .coro = 16, .values = 64, .top = (top_at), .top_kind = (top_is)          \
	}

static const struct python_row python_rows[] = {
	{ 8, OLD(1152, 104, 1, LINES_DELTAS, 56, 72, TOP_ADDRESS) },
	{ 9, OLD(352, 104, 1, LINES_DELTAS, 856, 72, TOP_ADDRESS) },
	{ 10, OLD(352, 96, 2, LINES_RANGES, 856, 80, TOP_COUNT) },
	{ 11,
	  { .interpreters = 40,
	    .interp_threads = 16,
	    .gil = 360,
	    .next = 8,
	    .pthread = 152,
	    .native = 160,
	    .frame = 56,
	    .cframe = true,
	    .cframe_frame = 8,
	    .back = 48,
	    .code = 32,
	    .instr = 56,
	    .name = 128,
	    .file = 112,
	    .first = 72,
	    .table = 136,
	    .bytecode = 184,
	    .ascii_size = 48,
	    .compact_size = 72,
	    .lines = LINES_LOCATIONS,
	    .modules = 888,
	    .coro = 80,
	    .values = 72,
	    .top = 64,
	    .top_kind = TOP_INSIDE } },
	{ 12,
	  { .interpreters = 40,
	    .interp_threads = 72,
	    .gil = 384,
	    .gil_of_interp = true,
	    .next = 8,
	    .pthread = 136,
	    .native = 144,
	    .frame = 56,
	    .cframe = true,
	    .back = 8,
	    .instr = 56,
	    .owner = 70,
	    .owner_shim = 3,
	    .name = 128,
	    .file = 112,
	    .first = 68,
	    .table = 136,
	    .bytecode = 192,
	    .ascii_size = 40,
	    .compact_size = 56,
	    .lines = LINES_LOCATIONS,
	    .modules = 944,
	    .coro = 72,
	    .values = 72,
	    .top = 64,
	    .top_kind = TOP_INSIDE } },
};

/* From 3.13 on: which word of the table at _PyRuntime says what. */
#define OFFSET_MAX (1u << 15)
#define COOKIE "xdebugpy"
enum { WORD_VERSION = 1, WORD_FREE_THREADED = 2, WORD_INTERPRETERS = 5, WORDS = 56 };

struct python_words { /* the order matters to read_layout */
	uint8_t minor;
	uint8_t interp_next, interp_threads, modules, gil, next, frame, pthread, native, back, code, instr, owner, file,
		qualname, table, first, bytecode;
};

static const struct python_words python_words[] = {
	{ 13, 8, 9, 11, 14, 21, 23, 24, 25, 29, 30, 31, 33, 35, 37, 38, 39, 43 },
	{ 14, 8, 9, 12, 15, 24, 26, 27, 28, 32, 33, 34, 36, 40, 42, 43, 44, 48 },
};

/* --- which Python --- */

static unsigned int minor_of(const char *text, const char *end)
{
	unsigned int minor = 0;

	for (int i = 0; i < 2 && text < end && *text >= '0' && *text <= '9'; i++)
		minor = minor * 10 + (unsigned int)(*text++ - '0');
	return minor;
}

/* The file's name says it: python3.11, libpython3.11.so.1.0; else the path of its
 * library does, which is in it. */
static unsigned int minor_of_image(const struct image *image)
{
	static const char mark[] = "lib/python3.";
	const char *name = strstr(image->name, "python3."), *at;
	const char *end = (const char *)image->file + image->file_len;

	if (name)
		return minor_of(name + 8, image->name + strlen(image->name));
	at = memmem(image->file, image->file_len, mark, sizeof(mark) - 1);
	return at ? minor_of(at + sizeof(mark) - 1, end) : 0;
}

static const struct layout *layout_of(unsigned int minor)
{
	for (size_t i = 0; i < ARRAY_LEN(python_rows); i++) {
		if (python_rows[i].minor == minor)
			return &python_rows[i].at;
	}
	return NULL;
}

static const struct python_words *words_of(unsigned int minor)
{
	for (size_t i = 0; i < ARRAY_LEN(python_words); i++) {
		if (python_words[i].minor == minor)
			return &python_words[i];
	}
	return NULL;
}

static int python_find(const struct images *images, void **ret_state, char **ret_title, char **ret_why)
{
	struct python found = { 0 };

	for (size_t i = 0; i < images_count(images) && !found.minor; i++) {
		const struct image *image = images_get(images, i);

		if (!image->file || !symbol_address(image, "_PyRuntime", &found.runtime))
			continue;
		found.minor = minor_of_image(image);
		if (!symbol_address(image, "Py_Version", &found.version))
			found.version = 0;
	}
	if (!found.minor)
		return 0;
	text_setf(ret_title, "Python 3.%u", found.minor);
	found.at = layout_of(found.minor);
	found.words = words_of(found.minor);
	if (!found.at && !found.words) {
		text_setf(ret_why, "no offsets known for Python 3.%u", found.minor);
		return 1;
	}
	*ret_state = malloc(sizeof(found));
	if (!*ret_state)
		return -ENOMEM;
	memcpy(*ret_state, &found, sizeof(found));
	return 1;
}

/* --- where its fields lie --- */

static bool is_final(uint64_t version, unsigned int minor)
{
	return version >> 24 == 3 && (version >> 16 & 0xff) == minor && (version >> 4 & 0xf) == 0xf;
}

/* Of the words that the row names from 'first' to 'last'. */
static bool all_below(const uint64_t *word, const uint8_t *first, const uint8_t *last, uint64_t most)
{
	for (; first <= last; first++) {
		if (word[*first] > most)
			return false;
	}
	return true;
}

/* As the interpreter itself says. */
static const char *read_layout(const struct memory *mem, const struct python *py, struct layout *ret)
{
	const struct python_words *w = py->words;
	uint64_t word[WORDS];

	if (!w || memory_get(mem, py->runtime, word, sizeof(word)) < 0)
		return "_PyRuntime cannot be read";
	if (memcmp(word, COOKIE, 8) != 0)
		return "_PyRuntime does not say its offsets";
	if (!is_final(word[WORD_VERSION], py->minor))
		return "it is another version, or no final one";
	if (word[WORD_FREE_THREADED])
		return "this Python is a free-threaded build, which cannot be read yet";
	if (word[WORD_INTERPRETERS] > OFFSET_MAX || !all_below(word, &w->interp_next, &w->gil, OFFSET_MAX) ||
	    !all_below(word, &w->next, &w->native, UINT16_MAX) ||
	    !all_below(word, &w->back, &w->owner, FRAME_SIZE - 8) ||
	    !all_below(word, &w->file, &w->first, CODE_SIZE - 8) || word[w->bytecode] > OFFSET_MAX)
		return "an offset that _PyRuntime says makes no sense";
	*ret = (struct layout){
		.interpreters = (uint32_t)word[WORD_INTERPRETERS],
		.interp_next = (uint32_t)word[w->interp_next],
		.interp_threads = (uint32_t)word[w->interp_threads],
		.gil = (uint32_t)word[w->gil],
		.gil_of_interp = true,
		.next = (uint16_t)word[w->next],
		.pthread = (uint16_t)word[w->pthread],
		.native = (uint16_t)word[w->native],
		.frame = (uint16_t)word[w->frame],
		.back = (uint16_t)word[w->back],
		.code = (uint16_t)word[w->code],
		.instr = (uint16_t)word[w->instr],
		.owner = (uint16_t)word[w->owner],
		.owner_shim = 3,
		.name = (uint16_t)word[w->qualname],
		.file = (uint16_t)word[w->file],
		.first = (uint16_t)word[w->first],
		.table = (uint16_t)word[w->table],
		.bytecode = (uint16_t)word[w->bytecode],
		.ascii_size = 40,
		.compact_size = 56,
		.lines = LINES_LOCATIONS,
		.modules = (uint32_t)word[w->modules],
		/* It does not say these. 3.14 keeps its tasks elsewhere. */
		.coro = py->minor == 13 ? 72 : 0,
		.values = 72,
		.top = 64,
		.top_kind = TOP_INSIDE,
	};
	return NULL;
}

static const char *find_layout(const struct memory *mem, const struct python *py, struct layout *ret)
{
	uint32_t version;

	if (!py->at)
		return read_layout(mem, py, ret);
	if (py->version && (!memory_u32(mem, py->version, &version) || !is_final(version, py->minor)))
		return "it is another version, or no final one";
	*ret = *py->at;
	return NULL;
}

/* --- its objects --- */

static size_t put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | (c >> 18 & 7));
	to[1] = (char)(0x80 | (c >> 12 & 0x3f));
	to[2] = (char)(0x80 | (c >> 6 & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

char *python_text(const struct reader *r, uint64_t addr, size_t max)
{
	enum { LENGTH = 16, STATE = 32, HEAD_MAX = 48 };
	CLEAN(free) uint8_t *units = NULL;
	uint8_t head[HEAD_MAX];
	uint64_t length;
	uint32_t state, kind;
	size_t len = 0;
	bool ascii;
	char *text;

	if (addr % 8 || memory_get(r->mem, addr, head, r->at.ascii_size) < 0)
		return NULL;
	memcpy(&length, head + LENGTH, 8);
	memcpy(&state, head + STATE, 4);
	kind = state >> 2 & 7;
	ascii = state >> 6 & 1;
	if (length > TEXT_SANE_MAX || !(state >> 5 & 1) || (kind != 1 && kind != 2 && kind != 4) ||
	    (ascii && kind != 1))
		return NULL;
	length = MIN(length, (uint64_t)max);
	units = malloc(length * kind + 1);
	text = malloc(length * 4 + 1);
	if (!units || !text ||
	    memory_get(r->mem, addr + (ascii ? r->at.ascii_size : r->at.compact_size), units, length * kind) < 0) {
		free(text);
		return NULL;
	}
	for (size_t i = 0; i < length; i++) {
		uint32_t c = 0;

		memcpy(&c, units + i * kind, kind);
		len += put_utf8(text + len, c && c < 0x110000 && c >> 11 != 0x1b ? c : 0xfffd);
	}
	text[len] = '\0';
	return text;
}

/* The bytes of a bytes object; NULL without them, or when it would take too long. */
static uint8_t *read_table(struct reader *r, uint64_t addr, size_t *ret_len)
{
	enum { SIZE = 16, DATA = 32 };
	uint64_t len;
	uint8_t *table;

	if (addr % 8 || !memory_u64(r->mem, addr + SIZE, &len) || len > TABLE_MAX || r->table_bytes + len > TABLES_MAX)
		return NULL;
	r->table_bytes += len;
	table = malloc(len + 1);
	if (table && memory_get(r->mem, addr + DATA, table, len) < 0) {
		free(table);
		return NULL;
	}
	*ret_len = len;
	return table;
}

/* --- lines --- */

/* Up to 3.9: pairs of steps, the second signed. The line of the last begin <= at. */
static int64_t line_by_deltas(const uint8_t *t, size_t len, int64_t at, int64_t line)
{
	int64_t addr = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		addr += t[i];
		if (addr > at)
			break;
		line += (int8_t)t[i + 1];
	}
	return line;
}

/* 3.10: pairs of a length and a step; -128 is a range without a line. */
static int64_t line_by_ranges(const uint8_t *t, size_t len, int64_t at, int64_t line)
{
	int64_t end = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		int8_t step = (int8_t)t[i + 1];

		end += t[i];
		line += step == -128 ? 0 : step;
		if (end > at)
			return step == -128 ? 0 : line;
	}
	return 0;
}

/* Six bits a byte, the lowest first; 0x40 says that there is more. */
static uint64_t read_varint(const uint8_t *t, size_t len, size_t *i)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; *i < len && shift < 36; shift += 6) {
		uint8_t b = t[(*i)++];

		value |= (uint64_t)(b & 0x3f) << shift;
		if (!(b & 0x40))
			break;
	}
	return value;
}

/* From 3.11 on: entries, each with a form, a length in code units and what the form
 * asks for. 'at' is in bytes. */
static int64_t line_by_locations(const uint8_t *t, size_t len, int64_t at, int64_t line)
{
	enum { ONE_LINE = 10, NO_COLUMNS = 13, LONG = 14, NO_LINE = 15 };
	int64_t end = 0;

	for (size_t i = 0; i < len;) {
		unsigned int form = t[i] >> 3 & 15;

		if (!(t[i] & 0x80))
			return 0;
		end += 2 * ((t[i++] & 7) + 1);
		if (form == LONG || form == NO_COLUMNS) {
			uint64_t step = read_varint(t, len, &i);

			line += step & 1 ? -(int64_t)(step >> 1) : (int64_t)(step >> 1);
		} else if (form >= ONE_LINE && form < NO_COLUMNS) {
			line += form - ONE_LINE;
		}
		if (end > at)
			return form == NO_LINE ? 0 : line;
		while (i < len && !(t[i] & 0x80)) /* columns; the next entry's first byte has the high bit */
			i++;
	}
	return 0;
}

static uint32_t line_of(const struct reader *r, const struct function *f, uint64_t instr)
{
	static int64_t (*const line_by[])(const uint8_t *, size_t, int64_t, int64_t) = {
		[LINES_DELTAS] = line_by_deltas,
		[LINES_RANGES] = line_by_ranges,
		[LINES_LOCATIONS] = line_by_locations,
	};
	int64_t at, line;

	if (r->at.lasti)
		at = (int64_t)(int32_t)instr * r->at.lasti_unit;
	else
		at = (int64_t)(instr - (f->code + r->at.bytecode));
	at = MAX(at, 0); /* it has not begun */
	line = f->table && at < 1 << 28 ? line_by[r->at.lines](f->table, f->table_len, at, f->first) : 0;
	return line > 0 && line < INT32_MAX ? (uint32_t)line : 0;
}

/* --- frames --- */

static void function_done(struct function *f)
{
	free(f->name);
	free(f->file);
	free(f->table);
	*f = (struct function){ 0 };
}

static const char *read_function(struct reader *r, uint64_t at, struct function *f)
{
	uint64_t name, file, table;
	uint8_t code[CODE_SIZE];

	if (!at || at % 8 || memory_get(r->mem, at, code, sizeof(code)) < 0)
		return "a function's code cannot be read";
	memcpy(&name, code + r->at.name, 8);
	memcpy(&file, code + r->at.file, 8);
	memcpy(&table, code + r->at.table, 8);
	memcpy(&f->first, code + r->at.first, 4);
	f->name = python_text(r, name, LANG_NAME_MAX);
	if (!f->name)
		return "a function's name cannot be read";
	f->file = python_text(r, file, LANG_PATH_MAX);
	if (!f->file)
		return "a file name cannot be read";
	f->table = read_table(r, table, &f->table_len);
	f->code = at;
	return NULL;
}

/* Threads of a pool run the same functions: each is read once, as memory stands still. */
const char *python_frame(struct reader *r, uint64_t code, uint64_t instr, struct stack *script)
{
	struct function *f = &r->functions[(code >> 4 ^ code >> 13) % FUNCTIONS];
	const char *why = NULL;
	struct frame *frame;

	if (!code || f->code != code) {
		function_done(f);
		why = read_function(r, code, f);
	}
	if (why) {
		function_done(f);
		return why;
	}
	frame = list_add(&script->frame, &script->count, sizeof(*frame));
	if (!frame)
		return "out of memory";
	text_set(&frame->function, f->name);
	text_set(&frame->file, f->file);
	text_set(&frame->module, "python");
	frame->script = true;
	frame->line = line_of(r, f, instr);
	return NULL;
}

static const char *walk_frames(struct reader *r, uint64_t at, struct stack *script)
{
	uint64_t mark = 0; /* one met before; a later one each time the depth doubles */
	const char *why = NULL;

	for (size_t depth = 0; at && !why; depth++) {
		uint8_t frame[FRAME_SIZE];
		uint64_t code_at, instr = 0;

		if (script->count == LANG_FRAMES_MAX)
			return "there are more frames than are shown";
		if (!(depth & (depth + 1)))
			mark = at;
		if (at % 8 || memory_get(r->mem, at, frame, sizeof(frame)) < 0)
			return "a frame cannot be read";
		memcpy(&code_at, frame + r->at.code, 8);
		memcpy(&instr, frame + r->at.instr, r->at.lasti ? 4 : 8);
		if (!r->at.owner || frame[r->at.owner] < r->at.owner_shim)
			why = python_frame(r, code_at & ~7ull, instr, script);
		memcpy(&at, frame + r->at.back, 8);
		if (at && at == mark)
			return "the frames form a loop";
	}
	return why;
}

/* --- threads --- */

static int by_pthread(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->pthread < y->pthread ? -1 : x->pthread > y->pthread;
}

static int sort_threads(struct reader *r)
{
	r->places = calloc(r->thread_count + 1, sizeof(*r->places));
	if (!r->places)
		return -ENOMEM;
	for (size_t i = 0; i < r->thread_count; i++) {
		if (r->threads[i].stopped)
			r->places[r->place_count++] = (struct place){ r->threads[i].reg[REG_FS_BASE], i };
	}
	qsort(r->places, r->place_count, sizeof(*r->places), by_pthread);
	return 0;
}

/* Which of the captured threads it is; thread_count: none of them. */
static size_t find_thread(const struct reader *r, uint64_t pthread, uint64_t native)
{
	const struct place key = { .pthread = pthread };
	const struct place *place = bsearch(&key, r->places, r->place_count, sizeof(key), by_pthread);

	if (place)
		return place->index;
	for (size_t i = 0; i < r->thread_count && native && r->place_count < r->thread_count; i++) {
		if (!r->threads[i].stopped && (uint64_t)r->threads[i].ns_tid == native)
			return i;
	}
	return r->thread_count;
}

static bool is_known(const struct reader *r, uint64_t addr)
{
	for (size_t i = 0; i < r->lock_count; i++) {
		if (addr - r->locks[i].addr < r->locks[i].len)
			return true;
	}
	return false;
}

/* A global lock; nobody has it while 'locked' is 0, whoever had it last. */
static void add_gil(struct reader *r, uint64_t addr)
{
	enum { LAST_HOLDER = 8, LOCKED = 16, SIZE = 208 };
	uint64_t holder;
	uint32_t locked;

	if (is_known(r, addr) || r->lock_count == INTERPRETERS_MAX ||
	    !memory_u64(r->mem, addr + LAST_HOLDER, &holder) || !memory_u32(r->mem, addr + LOCKED, &locked))
		return;
	r->holder[r->lock_count] = locked == 1 ? holder : 0;
	r->locks[r->lock_count++] = (struct lang_lock){ addr, SIZE, "the GIL", SIZE_MAX };
}

/* An RLock that waits with the semaphore at 'sem'? Then its owner is written in it. */
static bool add_rlock(struct reader *r, uint64_t object, uint64_t sem)
{
	enum { TYPE = 8, LOCK = 16, OWNER = 24, TYPE_NAME = 24 };
	uint64_t lock, type, name, owner;
	struct lang_lock *l;
	char text[16];

	if (!memory_u64(r->mem, object + LOCK, &lock) || lock != sem || !memory_u64(r->mem, object + TYPE, &type) ||
	    !memory_u64(r->mem, type + TYPE_NAME, &name) || memory_string(r->mem, name, text, sizeof(text)) < 0 ||
	    strcmp(text, "_thread.RLock") != 0 || !memory_u64(r->mem, object + OWNER, &owner))
		return false;
	l = &r->locks[r->lock_count++];
	*l = (struct lang_lock){ .addr = sem, .len = 4, .owner = owner ? find_thread(r, owner, 0) : SIZE_MAX };
	snprintf(l->name, sizeof(l->name), "threading.RLock 0x%llx", (unsigned long long)object);
	return true;
}

/* Whoever waits for one has a pointer to it on its stack. */
static void find_rlock(struct reader *r, const struct capture_thread *t)
{
	uint64_t word[STACK_WORDS], seen = 0;

	if (memory_get(r->mem, t->reg[REG_RSP], word, sizeof(word)) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(word) && r->guesses; i++) {
		if (word[i] % 8 || word[i] < 1u << 16 || word[i] >> 47 || word[i] == seen ||
		    word[i] - t->reg[REG_RSP] < 1u << 20) /* a place on the stack itself */
			continue;
		seen = word[i];
		r->guesses--;
		if (add_rlock(r, word[i], t->arg[0]))
			return;
	}
}

static void find_rlocks(struct reader *r, const struct stack *scripts)
{
	r->guesses = GUESSES_MAX;
	for (size_t i = 0; i < r->thread_count && r->lock_count < LANG_LOCKS_MAX; i++) {
		const struct capture_thread *t = &r->threads[i];

		if (t->stopped && t->syscall_nr == SYS_futex && scripts[i].count && !is_known(r, t->arg[0]))
			find_rlock(r, t);
	}
}

static void find_gil(struct reader *r, uint64_t runtime, uint64_t interp)
{
	uint64_t addr = runtime + r->at.gil;

	if (!r->at.gil_of_interp || memory_u64(r->mem, interp + r->at.gil, &addr))
		add_gil(r, addr);
}

static const char *walk_thread(struct reader *r, uint64_t at, struct stack *scripts)
{
	uint64_t pthread, native = 0, frame;
	const char *why;
	size_t i;

	if (!memory_u64(r->mem, at + r->at.pthread, &pthread) ||
	    (r->at.native && !memory_u64(r->mem, at + r->at.native, &native)) ||
	    !memory_u64(r->mem, at + r->at.frame, &frame) ||
	    (r->at.cframe && frame && !memory_u64(r->mem, frame + r->at.cframe_frame, &frame)))
		return "a thread's state cannot be read";
	i = find_thread(r, pthread, native);
	for (size_t k = 0; k < r->lock_count && i < r->thread_count; k++) {
		if (r->holder[k] == at)
			r->locks[k].owner = i;
	}
	if (i == r->thread_count || scripts[i].count || scripts[i].unavailable)
		return NULL; /* one that is gone, or a second state of the same thread */
	why = walk_frames(r, frame, &scripts[i]);
	if (why)
		text_setf(&scripts[i].unavailable,
			  scripts[i].count ? "Python stack incomplete: %s" : "Python stack unavailable: %s", why);
	return NULL;
}

static const char *walk_threads(struct reader *r, uint64_t runtime, struct stack *scripts)
{
	uint64_t interp, thread;
	const char *why = NULL;
	size_t seen = 0;

	if (!memory_u64(r->mem, runtime + r->at.interpreters, &interp))
		return "_PyRuntime cannot be read";
	if (!interp)
		return "it has not started yet, or has ended";
	for (size_t n = 0; interp && !why; n++) {
		if (n == INTERPRETERS_MAX)
			return "there are more interpreters than are looked at";
		if (interp % 8 || !memory_u64(r->mem, interp + r->at.interp_threads, &thread))
			return "an interpreter cannot be read";
		find_gil(r, runtime, interp);
		for (; thread && !why; seen++) {
			if (seen == THREADS_MAX)
				return "its list of threads does not end";
			if (thread % 8)
				return "a thread's address makes no sense";
			why = walk_thread(r, thread, scripts);
			if (!why && !memory_u64(r->mem, thread + r->at.next, &thread))
				why = "a thread's state cannot be read";
		}
		if (!why && !memory_u64(r->mem, interp + r->at.interp_next, &interp))
			why = "an interpreter cannot be read";
	}
	return why;
}

static size_t python_walk(const void *state, const struct memory *mem, pid_t pid, const struct capture_thread *threads,
			  size_t count, bool arguments UNUSED, struct stack *ret_scripts, struct lang_lock *ret_locks)
{
	const struct python *py = state;
	struct reader r = { .mem = mem, .threads = threads, .thread_count = count, .locks = ret_locks };
	const char *why = sort_threads(&r) < 0 ? "out of memory" : find_layout(mem, py, &r.at);

	if (!why)
		why = walk_threads(&r, py->runtime, ret_scripts);
	if (!why)
		find_rlocks(&r, ret_scripts);
	for (size_t i = 0; i < count && why; i++) {
		if (threads[i].tid == pid && !ret_scripts[i].unavailable)
			text_setf(&ret_scripts[i].unavailable, "Python stacks %s: %s",
				  ret_scripts[i].count ? "incomplete" : "unavailable", why);
	}
	for (size_t i = 0; i < FUNCTIONS; i++)
		function_done(&r.functions[i]);
	free(r.places);
	return r.lock_count;
}

static const char *python_all_tasks(const void *state, const struct memory *mem, struct task **ret_task,
				    size_t *ret_count, size_t *ret_more)
{
	const struct python *py = state;
	struct reader r = { .mem = mem };
	const char *why = find_layout(mem, py, &r.at);
	uint64_t interp = 0;

	if (!why && memory_u64(mem, py->runtime + r.at.interpreters, &interp)) {
		for (size_t n = 0; interp && interp % 8 == 0 && n < INTERPRETERS_MAX && !why; n++) {
			why = python_tasks(&r, interp, ret_task, ret_count, ret_more);
			if (!memory_u64(mem, interp + r.at.interp_next, &interp))
				break;
		}
	}
	for (size_t i = 0; i < FUNCTIONS; i++)
		function_done(&r.functions[i]);
	return why;
}

const struct language lang_python = {
	.name = "python",
	.find = python_find,
	.walk = python_walk,
	.tasks = python_all_tasks,
	.free_state = free,
};
