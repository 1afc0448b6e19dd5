// SPDX-License-Identifier: MIT
/* The Python reader: line tables that real interpreters made, memory made by hand for
 * each version, and memory that lies. Real Python: tests/live/stacks_python.bats. */
#include "../../src/lang_python.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "ram.h"

#define PTHREAD 0x7f55aa00ull

struct world {
	struct ram ram;
	struct memory mem;
	struct python py;
	struct layout at;
	struct capture_thread thread[2];
	struct stack script[2];
	struct lang_lock lock[LANG_LOCKS_MAX];
	size_t lock_count;
	uint64_t interp, state, top, main, name, gil;
};

/* A str of units of 'kind' bytes. */
static uint64_t put_str(struct world *w, const void *units, size_t count, unsigned int kind, bool ascii)
{
	size_t head = ascii ? w->at.ascii_size : w->at.compact_size;
	uint64_t at = take(&w->ram, head + count * kind + kind);

	put(&w->ram, at + 16, count, 8);
	put(&w->ram, at + 32, kind << 2 | 1u << 5 | (unsigned int)ascii << 6, 4);
	memcpy(w->ram.data + (at + head - BASE), units, count * kind);
	return at;
}

static uint64_t put_ascii(struct world *w, const char *text)
{
	return put_str(w, text, strlen(text), 1, true);
}

static uint64_t put_bytes(struct world *w, const uint8_t *data, size_t len)
{
	uint64_t at = take(&w->ram, 32 + len);

	put(&w->ram, at + 16, len, 8);
	memcpy(w->ram.data + (at + 32 - BASE), data, len);
	return at;
}

/* The first entry is for byte 0 and 1 (with 3.8: from byte 0 on), one line below 'first'. */
static uint64_t put_table(struct world *w)
{
	static const uint8_t deltas[] = { 0, 1, 200, 1 }, ranges[] = { 200, 1 };
	static const uint8_t locations[] = { 0x80 | 13 << 3 | 7, 2, 0x80 | 13 << 3 | 7, 2 };

	return w->at.lines == LINES_DELTAS   ? put_bytes(w, deltas, sizeof(deltas))
	       : w->at.lines == LINES_RANGES ? put_bytes(w, ranges, sizeof(ranges))
					     : put_bytes(w, locations, sizeof(locations));
}

static uint64_t put_code(struct world *w, uint64_t name, const char *file, uint32_t first)
{
	uint64_t at = take(&w->ram, 512);

	put(&w->ram, at + w->at.name, name, 8);
	put(&w->ram, at + w->at.file, put_ascii(w, file), 8);
	put(&w->ram, at + w->at.first, first, 4);
	put(&w->ram, at + w->at.table, put_table(w), 8);
	return at;
}

static uint64_t put_frame(struct world *w, uint64_t code, uint64_t back)
{
	uint64_t at = take(&w->ram, FRAME_SIZE);

	put(&w->ram, at + w->at.code, code, 8);
	put(&w->ram, at + w->at.back, back, 8);
	if (w->at.lasti)
		put(&w->ram, at + w->at.instr, 2, 4);
	else
		put(&w->ram, at + w->at.instr, code + w->at.bytecode + 2, 8);
	return at;
}

static void put_thread(struct world *w, uint64_t at, uint64_t pthread, uint64_t native, uint64_t frame)
{
	uint64_t holder = frame;

	if (w->at.cframe) {
		holder = take(&w->ram, 32);
		put(&w->ram, holder + w->at.cframe_frame, frame, 8);
	}
	put(&w->ram, at + w->at.pthread, pthread, 8);
	if (w->at.native)
		put(&w->ram, at + w->at.native, native, 8);
	put(&w->ram, at + w->at.frame, holder, 8);
}

/* What a 3.13 or 3.14 says of itself. */
static void put_words(struct world *w, const struct python_words *row)
{
	const struct {
		uint8_t word;
		uint32_t value;
	} said[] = {
		{ WORD_VERSION, 3u << 24 | (uint32_t)row->minor << 16 | 0xf0 },
		{ WORD_INTERPRETERS, 632 },
		{ row->interp_next, 7264 },
		{ row->interp_threads, 7344 },
		{ row->gil, 16 },
		{ row->next, 8 },
		{ row->frame, 72 },
		{ row->pthread, 152 },
		{ row->native, 160 },
		{ row->back, 8 },
		{ row->code, 0 },
		{ row->instr, 56 },
		{ row->owner, 70 },
		{ row->file, 112 },
		{ row->qualname, 128 },
		{ row->table, 136 },
		{ row->first, 68 },
		{ row->bytecode, 200 },
	};

	memcpy(w->ram.data + (w->py.runtime - BASE), COOKIE, 8);
	for (size_t i = 0; i < ARRAY_LEN(said); i++)
		put(&w->ram, w->py.runtime + 8 * said[i].word, said[i].value, 8);
	assert_null(read_layout(&w->mem, &w->py, &w->at));
}

static struct world *world_new(unsigned int minor)
{
	struct world *w = calloc(1, sizeof(*w));

	w->mem = (struct memory){ .read = read_ram, .arg = &w->ram };
	w->py.minor = minor;
	w->py.runtime = take(&w->ram, 2048);
	w->py.at = layout_of(minor);
	w->py.words = words_of(minor);
	if (w->py.at)
		w->at = *w->py.at;
	else
		put_words(w, w->py.words);
	w->py.version = take(&w->ram, 4);
	put(&w->ram, w->py.version, 3u << 24 | minor << 16 | 0xf0, 4);
	w->interp = take(&w->ram, 8192);
	w->state = take(&w->ram, 256);
	w->name = put_ascii(w, "Shop.checkout");
	w->main = put_frame(w, put_code(w, put_ascii(w, "<module>"), "/srv/app.py", 1), 0);
	w->top = put_frame(w, put_code(w, w->name, "/srv/shop.py", 41), w->main);
	put_thread(w, w->state, PTHREAD, 7, w->top);
	put(&w->ram, w->py.runtime + w->at.interpreters, w->interp, 8);
	put(&w->ram, w->interp + w->at.interp_threads, w->state, 8);
	w->gil = w->at.gil_of_interp ? take(&w->ram, 256) : w->py.runtime + w->at.gil;
	if (w->at.gil_of_interp)
		put(&w->ram, w->interp + w->at.gil, w->gil, 8);
	put(&w->ram, w->gil + 8, w->state, 8);
	put(&w->ram, w->gil + 16, 1, 4);
	w->thread[0] = (struct capture_thread){ .tid = 100, .ns_tid = 7, .stopped = 1 };
	w->thread[0].reg[REG_FS_BASE] = PTHREAD;
	w->thread[1] = (struct capture_thread){ .tid = 101, .ns_tid = 8, .stopped = 1 };
	w->thread[1].reg[REG_FS_BASE] = PTHREAD + 4096;
	return w;
}

static void walk(struct world *w)
{
	for (size_t i = 0; i < 2; i++) {
		stack_done(&w->script[i]);
		w->script[i] = (struct stack){ 0 };
	}
	w->ram.reads = 0;
	w->lock_count = python_walk(&w->py, &w->mem, 100, w->thread, 2, false, w->script, w->lock);
	assert_true(w->ram.reads < 500000);
}

static void world_free(struct world *w)
{
	stack_done(&w->script[0]);
	stack_done(&w->script[1]);
	free(w);
}

static void check(const struct world *w, size_t i, const char *function, const char *file, uint32_t line)
{
	assert_true(i < w->script[0].count);
	assert_string_equal(w->script[0].frame[i].function, function);
	assert_string_equal(w->script[0].frame[i].file, file);
	assert_int_equal(w->script[0].frame[i].line, line);
	assert_true(w->script[0].frame[i].script);
}

static void test_every_version(void **state UNUSED)
{
	for (unsigned int minor = 8; minor <= 14; minor++) {
		struct world *w = world_new(minor);

		walk(w);
		assert_null(w->script[0].unavailable);
		assert_int_equal(w->script[0].count, 2);
		check(w, 0, "Shop.checkout", "/srv/shop.py", 42);
		check(w, 1, "<module>", "/srv/app.py", 2);
		assert_int_equal(w->script[1].count, 0);
		assert_int_equal(w->lock_count, 1);
		assert_int_equal(w->lock[0].addr, w->gil);
		assert_int_equal(w->lock[0].owner, 0);
		put(&w->ram, w->gil + 16, 0, 4); /* free: whoever had it last */
		walk(w);
		assert_int_equal(w->lock_count, 1);
		assert_int_equal(w->lock[0].owner, SIZE_MAX);
		world_free(w);
	}
}

static void test_versions_that_lie(void **state UNUSED)
{
	static const uint32_t odd[] = { 3u << 24 | 10u << 16 | 0xf0, 3u << 24 | 11u << 16 | 0xa1, 0 };
	struct world *w = world_new(11);

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		put(&w->ram, w->py.version, odd[i], 4);
		walk(w);
		assert_string_equal(w->script[0].unavailable,
				    "Python stacks unavailable: it is another version, or no final one");
	}
	world_free(w);
	w = world_new(13);
	put(&w->ram, w->py.runtime + 8 * WORD_FREE_THREADED, 1, 8);
	walk(w);
	assert_non_null(strstr(w->script[0].unavailable, "free-threaded"));
	put(&w->ram, w->py.runtime + 8 * WORD_FREE_THREADED, 0, 8);
	put(&w->ram, w->py.runtime + 8 * python_words[0].owner, FRAME_SIZE, 8);
	walk(w);
	assert_non_null(strstr(w->script[0].unavailable, "makes no sense"));
	put(&w->ram, w->py.runtime, 0, 8);
	walk(w);
	assert_non_null(strstr(w->script[0].unavailable, "does not say"));
	world_free(w);
}

struct vector {
	enum lines lines;
	const uint8_t *table;
	size_t len;
	const int16_t *want; /* begin in bytes, line; -1 ends */
};

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })
#define WANT(...)               \
	(const int16_t[])       \
	{                       \
		__VA_ARGS__, -1 \
	}

/* One function of several lines, a loop and a handler, compiled by each of them. */
static const struct vector vectors[] = {
	{ LINES_DELTAS, BYTES(0, 2, 6, 1, 2, 255, 6, 2, 2, 1, 4, 1, 2, 255, 8, 3, 6, 4, 4, 1, 10, 1, 2, 1, 2, 255),
	  WANT(0, 3, 6, 4, 8, 3, 14, 5, 16, 6, 20, 7, 22, 6, 30, 9, 36, 13, 40, 14, 50, 15, 52, 16, 54, 15) },
	{ LINES_RANGES, BYTES(6, 2, 2, 1, 6, 255, 2, 2, 4, 1, 2, 1, 4, 255, 12, 3),
	  WANT(0, 3, 6, 4, 8, 3, 14, 5, 16, 6, 20, 7, 22, 6, 26, 9) },
	{ LINES_RANGES, BYTES(2, 1, 4, 0x80, 2, 1), WANT(0, 2, 2, 0, 4, 0, 6, 3) },
	{ LINES_LOCATIONS,
	  BYTES(128, 0, 240, 6, 0, 19, 20, 246, 3, 1, 9, 21, 216, 13, 14, 242, 3, 0, 10, 11, 240, 0, 1, 9, 21, 128, 65,
		240, 0, 1, 9, 21, 240, 4, 4, 5, 14, 220, 15, 16, 144, 17, 216, 17, 18, 243, 3, 1, 16, 20, 240, 6, 0, 13,
		14, 137, 1, 249, 242, 13, 1, 9, 21, 248, 240, 12, 0, 13, 14, 137, 1, 250),
	  WANT(0, 1, 2, 4, 4, 3, 18, 4, 20, 3, 32, 5, 34, 6, 46, 7, 48, 6, 56, 9, 62, 0, 66, 3, 72, 0, 74, 9, 80, 0) },
	{ LINES_LOCATIONS,
	  BYTES(128, 0, 241, 6, 0, 19, 20, 243, 3, 1, 9, 21, 217, 18, 19, 136, 81, 243, 3, 0, 10, 11, 217, 18, 19, 240,
		3, 0, 5, 6, 240, 0, 1, 9, 21, 240, 4, 4, 5, 14, 220, 15, 16, 144, 17, 216, 17, 18, 243, 3, 1, 16, 20,
		240, 6, 0, 13, 14, 137, 1, 249, 242, 13, 1, 9, 21, 248, 240, 12, 0, 13, 14, 137, 1, 250),
	  WANT(0, 1, 2, 4, 6, 3, 14, 4, 20, 3, 28, 4, 32, 3, 36, 5, 38, 6, 50, 7, 52, 6, 60, 9, 66, 0, 70, 3, 76, 0, 78,
	       9, 84, 0) },
};

static void test_lines(void **state UNUSED)
{
	static int64_t (*const line_by[])(const uint8_t *, size_t, int64_t, int64_t) = { line_by_deltas, line_by_ranges,
											 line_by_locations };

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];

		for (const int16_t *want = v->want; *want >= 0; want += 2)
			assert_int_equal(line_by[v->lines](v->table, v->len, want[0], 1), want[1]);
		/* cut anywhere: an answer, or none */
		for (size_t len = 0; len < v->len; len++)
			line_by[v->lines](v->table, len, 60, 1);
	}
	assert_int_equal(line_by_locations(BYTES(1, 2, 3), 0, 1), 0);
	assert_int_equal(line_by_locations(BYTES(0xff, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f), 40, 1), 0);
}

static void test_names_of_all_kinds(void **state UNUSED)
{
	static const uint8_t latin[] = { 0xfc, 'b', 'e', 'r' };
	static const uint16_t two[] = { 0x20ac, 'x', 0xd800, 0 };
	static const uint32_t four[] = { 0x1f600, 0x110000 };
	const struct {
		const void *units;
		size_t count;
		unsigned int kind;
		const char *want;
	} names[] = {
		{ latin, 4, 1,
		  "\xc3\xbc"
		  "ber" },
		{ two, 4, 2, "\xe2\x82\xacx\xef\xbf\xbd\xef\xbf\xbd" },
		{ four, 2, 4, "\xf0\x9f\x98\x80\xef\xbf\xbd" },
	};
	struct world *w = world_new(12);
	uint64_t code;

	assert_true(memory_u64(&w->mem, w->top + w->at.code, &code));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		put(&w->ram, code + w->at.name, put_str(w, names[i].units, names[i].count, names[i].kind, false), 8);
		walk(w);
		check(w, 0, names[i].want, "/srv/shop.py", 42);
	}
	world_free(w);
}

static void expect(struct world *w, size_t frames, const char *why)
{
	walk(w);
	assert_int_equal(w->script[0].count, frames);
	assert_non_null(w->script[0].unavailable);
	assert_string_equal(w->script[0].unavailable, why);
}

static void test_frames_that_lie(void **state UNUSED)
{
	struct world *w = world_new(11);
	uint64_t code;

	assert_true(memory_u64(&w->mem, w->main + w->at.code, &code));
	put(&w->ram, w->main + w->at.back, w->main, 8);
	walk(w);
	assert_string_equal(w->script[0].unavailable, "Python stack incomplete: the frames form a loop");
	assert_in_range(w->script[0].count, 2, 8);
	put(&w->ram, w->main + w->at.back, w->top, 8);
	walk(w);
	assert_string_equal(w->script[0].unavailable, "Python stack incomplete: the frames form a loop");
	put(&w->ram, w->main + w->at.back, 0x1234568, 8);
	expect(w, 2, "Python stack incomplete: a frame cannot be read");
	put(&w->ram, w->main + w->at.back, w->top + 4, 8);
	expect(w, 2, "Python stack incomplete: a frame cannot be read");
	put(&w->ram, w->main + w->at.back, 0, 8);
	put(&w->ram, w->name + 16, TEXT_SANE_MAX + 1, 8);
	expect(w, 0, "Python stack unavailable: a function's name cannot be read");
	put(&w->ram, w->name + 16, 4, 8);
	put(&w->ram, w->name + 32, 3 << 2 | 1 << 5, 4);
	expect(w, 0, "Python stack unavailable: a function's name cannot be read");
	put(&w->ram, w->name + 32, 1 << 2 | 3 << 5, 4);
	put(&w->ram, code + w->at.file, 8, 8);
	expect(w, 1, "Python stack incomplete: a file name cannot be read");
	world_free(w);
}

static void test_deeper_than_is_shown(void **state UNUSED)
{
	struct world *w = world_new(12);
	uint64_t code, at = w->main;

	assert_true(memory_u64(&w->mem, w->main + w->at.code, &code));
	for (int i = 0; i < 2 * LANG_FRAMES_MAX; i++)
		at = put_frame(w, code, at);
	put_thread(w, w->state, PTHREAD, 7, at);
	expect(w, LANG_FRAMES_MAX, "Python stack incomplete: there are more frames than are shown");
	world_free(w);
}

static void test_lists_that_do_not_end(void **state UNUSED)
{
	struct world *w = world_new(11);

	put(&w->ram, w->state + w->at.next, w->state, 8);
	walk(w);
	assert_int_equal(w->script[0].count, 2); /* once, not again and again */
	assert_string_equal(w->script[0].unavailable, "Python stacks incomplete: its list of threads does not end");
	put(&w->ram, w->state + w->at.next, 0, 8);
	put(&w->ram, w->interp + w->at.interp_next, w->interp, 8);
	walk(w);
	assert_string_equal(w->script[0].unavailable,
			    "Python stacks incomplete: there are more interpreters than are looked at");
	put(&w->ram, w->py.runtime + w->at.interpreters, 0, 8);
	expect(w, 0, "Python stacks unavailable: it has not started yet, or has ended");
	world_free(w);
}

static void test_which_thread(void **state UNUSED)
{
	struct world *w = world_new(11);

	/* a fork leaves the parent's id behind: the pthread_t counts */
	put_thread(w, w->state, PTHREAD + 4096, 7, w->top);
	walk(w);
	assert_int_equal(w->script[0].count, 0);
	assert_int_equal(w->script[1].count, 2);
	/* one that could not be stopped has no registers */
	w->thread[0].stopped = 0;
	put_thread(w, w->state, PTHREAD, 7, w->top);
	walk(w);
	assert_int_equal(w->script[0].count, 2);
	put_thread(w, w->state, 99, 99, w->top); /* gone */
	walk(w);
	assert_int_equal(w->script[0].count + w->script[1].count, 0);
	world_free(w);
}

static void test_shims_are_no_frames(void **state UNUSED)
{
	struct world *w = world_new(12);

	put(&w->ram, w->main + w->at.owner, 3, 1);
	walk(w);
	assert_int_equal(w->script[0].count, 1);
	assert_null(w->script[0].unavailable);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version),
		cmocka_unit_test(test_versions_that_lie),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_names_of_all_kinds),
		cmocka_unit_test(test_frames_that_lie),
		cmocka_unit_test(test_deeper_than_is_shown),
		cmocka_unit_test(test_lists_that_do_not_end),
		cmocka_unit_test(test_which_thread),
		cmocka_unit_test(test_shims_are_no_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
