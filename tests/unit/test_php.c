// SPDX-License-Identifier: MIT
/* The PHP reader on memory made by hand, for each row of its table, and then on memory
 * that lies: loops, wild pointers, lengths, types. Real PHP: tests/live/stacks_php.bats. */
#include "../../src/lang_php.c"
#include "../../src/lang_php_request.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "ram.h"

static uint64_t put_string(struct ram *ram, const char *text)
{
	uint64_t at = take(ram, STRING_VAL + strlen(text) + 1);

	put(ram, at + STRING_LEN, strlen(text), 8);
	memcpy(ram->data + (at + STRING_VAL - BASE), text, strlen(text) + 1);
	return at;
}

static uint64_t put_function(struct ram *ram, const struct php_row *row, uint8_t type, const char *class,
			     const char *name, const char *file, uint32_t first, uint32_t last)
{
	uint64_t at = take(ram, 256), scope;

	put(ram, at + FUNC_TYPE, type, 1);
	if (name)
		put(ram, at + FUNC_NAME, put_string(ram, name), 8);
	if (class) {
		scope = take(ram, 64);
		put(ram, scope + CLASS_NAME, put_string(ram, class), 8);
		put(ram, at + FUNC_SCOPE, scope, 8);
	}
	if (type != INTERNAL_FUNCTION) {
		put(ram, at + row->file, put_string(ram, file), 8);
		put(ram, at + row->line, first, 4);
		put(ram, at + row->line + 4, last, 4);
	}
	return at;
}

/* A frame whose code is on 'line'; returns its address. */
static uint64_t put_frame(struct ram *ram, const struct php_row *row, uint64_t func, uint32_t line, uint64_t prev)
{
	uint64_t ex = take(ram, 128), op = take(ram, 4 * OP_SIZE);

	for (uint64_t k = 0; k < 4; k++)
		put(ram, op + k * OP_SIZE + OP_LINE, line + k, 4);
	put(ram, ex + EX_OPLINE, op, 8);
	put(ram, ex + EX_FUNC, func, 8);
	put(ram, ex + row->prev, prev, 8);
	return ex;
}

struct world {
	struct ram ram;
	struct memory mem;
	struct php php;
	struct capture_thread thread;
	struct stack script;
	bool arguments;
	uint64_t main_ex, method_ex, slow_ex; /* {main} calls Shop::run calls usleep */
};

static void build(struct world *w, const struct php_row *row)
{
	uint64_t globals;

	*w = (struct world){ .thread = { .tid = 7, .stopped = 1 } };
	w->mem = (struct memory){ .read = read_ram, .arg = &w->ram };
	globals = take(&w->ram, 1024);
	w->php = (struct php){ .row = row, .executor_globals = globals };
	w->main_ex = put_frame(&w->ram, row,
			       put_function(&w->ram, row, USER_FUNCTION, NULL, NULL, "/srv/index.php", 1, 30), 9, 0);
	w->method_ex = put_frame(&w->ram, row,
				 put_function(&w->ram, row, USER_FUNCTION, "Shop", "run", "/srv/shop.php", 10, 20), 12,
				 w->main_ex);
	w->slow_ex = put_frame(&w->ram, row, put_function(&w->ram, row, INTERNAL_FUNCTION, NULL, "usleep", NULL, 0, 0),
			       0, w->method_ex);
	put(&w->ram, globals + row->current, w->slow_ex, 8);
}

static void walk(struct world *w)
{
	struct stack scripts[2] = { { 0 } };
	struct capture_thread threads[2] = { w->thread, { .tid = 8 } };

	stack_done(&w->script);
	w->ram.reads = 0;
	php_walk(&w->php, &w->mem, 7, threads, 2, w->arguments, scripts, NULL);
	assert_int_equal(scripts[1].count, 0); /* the script is the first thread's */
	assert_null(scripts[1].unavailable);
	w->script = scripts[0];
	assert_true(w->script.count <= LANG_FRAMES_MAX);
	assert_true(w->ram.reads < 40 * LANG_FRAMES_MAX);
}

static void check(const struct world *w, size_t i, const char *function, const char *file, uint32_t line)
{
	const struct frame *f = &w->script.frame[i];

	assert_true(i < w->script.count);
	assert_string_equal(f->function, function);
	if (file)
		assert_string_equal(f->file, file);
	else
		assert_null(f->file);
	assert_int_equal(f->line, line);
	assert_string_equal(f->module, "php");
	assert_true(f->script);
}

static const struct php_row *row_8_2(void)
{
	for (size_t i = 0; i < ARRAY_LEN(php_rows); i++) {
		if (php_rows[i].major == 8 && php_rows[i].minor == 2)
			return &php_rows[i];
	}
	return NULL;
}

static struct world *world_new(void)
{
	struct world *w = malloc(sizeof(*w));

	build(w, row_8_2());
	return w;
}

static void world_free(struct world *w)
{
	stack_done(&w->script);
	free(w);
}

static void test_every_version(void **state UNUSED)
{
	struct world *w = malloc(sizeof(*w));

	for (size_t i = 0; i < ARRAY_LEN(php_rows); i++) {
		build(w, &php_rows[i]);
		walk(w);
		assert_null(w->script.unavailable);
		assert_int_equal(w->script.count, 3);
		check(w, 0, "usleep", NULL, 0);
		check(w, 1, "Shop::run", "/srv/shop.php", 12);
		check(w, 2, "{main}", "/srv/index.php", 9);
		stack_done(&w->script);
	}
	free(w);
}

static void test_idle_worker(void **state UNUSED)
{
	struct world *w = world_new();

	put(&w->ram, w->php.executor_globals + w->php.row->current, 0, 8);
	walk(w);
	assert_int_equal(w->script.count, 0);
	assert_null(w->script.unavailable);
	world_free(w);
}

static void test_line_in_register(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t opline;

	/* the VM runs Shop::run itself: memory says line 12, r15 is two instructions on */
	put(&w->ram, w->php.executor_globals + w->php.row->current, w->method_ex, 8);
	assert_true(memory_u64(&w->mem, w->method_ex + EX_OPLINE, &opline));
	w->thread.reg[REG_R14] = w->method_ex;
	w->thread.reg[REG_R15] = opline + 2 * OP_SIZE;
	walk(w);
	check(w, 0, "Shop::run", "/srv/shop.php", 14);
	w->thread.reg[REG_R14] = w->main_ex; /* some other frame's */
	walk(w);
	check(w, 0, "Shop::run", "/srv/shop.php", 12);
	w->thread.reg[REG_R14] = w->method_ex;
	w->thread.reg[REG_R15] = opline + 7; /* no instruction begins there */
	walk(w);
	check(w, 0, "Shop::run", "/srv/shop.php", 12);
	w->thread.reg[REG_R15] = BASE + SIZE + 1; /* not memory */
	walk(w);
	check(w, 0, "Shop::run", "/srv/shop.php", 12);
	world_free(w);
}

static void test_includes_and_eval(void **state UNUSED)
{
	struct world *w = world_new();
	const struct php_row *row = w->php.row;
	uint64_t included =
		put_frame(&w->ram, row, put_function(&w->ram, row, USER_FUNCTION, NULL, NULL, "/srv/inc.php", 1, 5), 2,
			  w->main_ex);
	uint64_t mark = put_frame(&w->ram, row, 0, 0, included);
	uint64_t eval = put_frame(&w->ram, row,
				  put_function(&w->ram, row, EVAL_CODE, NULL, NULL, "eval()'d code", 1, 1), 1, mark);

	put(&w->ram, w->php.executor_globals + row->current, eval, 8);
	walk(w);
	assert_int_equal(w->script.count, 3);
	check(w, 0, "eval", "eval()'d code", 1);
	check(w, 1, "include", "/srv/inc.php", 2);
	check(w, 2, "{main}", "/srv/index.php", 9);
	world_free(w);
}

static uint64_t put_generator(struct ram *ram, const struct php_row *row, uint64_t class, uint64_t run, uint64_t parent)
{
	uint64_t at = take(ram, 256);

	put(ram, at + OBJECT_CLASS, class, 8);
	put(ram, at + row->run, run, 8);
	put(ram, at + row->node + NODE_PARENT, parent, 8);
	return at;
}

/* {main} -> outer, which waits for middle, which waits for inner, which runs. */
static void test_generators(void **state UNUSED)
{
	struct world *w = world_new();
	const struct php_row *row = w->php.row;
	uint64_t class = take(&w->ram, 64), run[3], at[3], mark, inner, fiber;
	static const char *const name[] = { "inner", "middle", "outer" };

	put(&w->ram, class + CLASS_NAME, put_string(&w->ram, "Generator"), 8);
	for (size_t i = 0; i < 3; i++) {
		run[i] =
			put_frame(&w->ram, row,
				  put_function(&w->ram, row, USER_FUNCTION, NULL, name[i], "/srv/generators.php", 1, 9),
				  (uint32_t)i + 4, 0);
		at[i] = put_generator(&w->ram, row, class, run[i], i ? at[i - 1] : 0);
	}
	fiber = put_frame(&w->ram, row, put_function(&w->ram, row, INTERNAL_FUNCTION, NULL, NULL, NULL, 0, 0), 0,
			  w->main_ex);
	mark = put_frame(&w->ram, row, 0, 0, fiber);
	put(&w->ram, mark + EX_THIS, at[2], 8);
	put(&w->ram, mark + EX_THIS_TYPE, TYPE_OBJECT, 1);
	inner = run[0];
	put(&w->ram, inner + row->prev, mark, 8);
	put(&w->ram, w->php.executor_globals + row->current, inner, 8);
	walk(w);
	assert_null(w->script.unavailable);
	assert_int_equal(w->script.count, 4);
	check(w, 0, "inner", "/srv/generators.php", 4);
	check(w, 1, "middle", "/srv/generators.php", 5);
	check(w, 2, "outer", "/srv/generators.php", 6);
	check(w, 3, "{main}", "/srv/index.php", 9);
	put(&w->ram, at[0] + row->node + NODE_PARENT, at[2], 8); /* they wait for each other */
	walk(w);
	assert_string_equal(w->script.unavailable, "PHP stack incomplete: there are more frames than are shown");
	put(&w->ram, at[1] + row->node + NODE_PARENT, 0x1234, 8);
	walk(w);
	assert_int_equal(w->script.count, 1);
	assert_string_equal(w->script.unavailable, "PHP stack incomplete: a generator cannot be read");
	put(&w->ram, class + CLASS_NAME, put_string(&w->ram, "Closure"), 8); /* no generator */
	walk(w);
	assert_null(w->script.unavailable);
	assert_int_equal(w->script.count, 2);
	world_free(w);
}

/* What is sure is kept, and the reason is told. */
static void expect_why(struct world *w, size_t frames, const char *why)
{
	walk(w);
	assert_int_equal(w->script.count, frames);
	assert_non_null(w->script.unavailable);
	assert_string_equal(w->script.unavailable, why);
}

static void test_loop(void **state UNUSED)
{
	struct world *w = world_new();

	put(&w->ram, w->main_ex + w->php.row->prev, w->slow_ex, 8);
	walk(w);
	assert_int_equal(w->script.count, 3);
	assert_string_equal(w->script.unavailable, "PHP stack incomplete: the frames form a loop");
	world_free(w);
}

static void test_wild_pointers(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t func;

	put(&w->ram, w->main_ex + EX_FUNC, 0x1234, 8);
	expect_why(w, 2, "PHP stack incomplete: a function cannot be read");
	put(&w->ram, w->slow_ex + w->php.row->prev, BASE + SIZE + 64, 8);
	expect_why(w, 1, "PHP stack incomplete: a frame cannot be read");
	put(&w->ram, w->slow_ex + w->php.row->prev, w->method_ex + 3, 8);
	expect_why(w, 1, "PHP stack incomplete: a frame's address makes no sense");
	assert_true(memory_u64(&w->mem, w->slow_ex + EX_FUNC, &func));
	put(&w->ram, func + FUNC_TYPE, 77, 1);
	expect_why(w, 0, "PHP stack unavailable: a function's type makes no sense");
	put(&w->ram, func + FUNC_TYPE, INTERNAL_FUNCTION, 1);
	put(&w->ram, func + FUNC_NAME, UINT64_MAX - 8, 8);
	expect_why(w, 0, "PHP stack unavailable: a function's name cannot be read");
	put(&w->ram, w->php.executor_globals + w->php.row->current, UINT64_MAX & ~7ull, 8);
	expect_why(w, 0, "PHP stack unavailable: a frame cannot be read");
	w->php.executor_globals = 16;
	expect_why(w, 0, "PHP stack unavailable: executor_globals cannot be read");
	world_free(w);
}

static void test_strings(void **state UNUSED)
{
	struct world *w = world_new();
	char longest[5000] = "";
	uint64_t func, name;

	assert_true(memory_u64(&w->mem, w->slow_ex + EX_FUNC, &func));
	assert_true(memory_u64(&w->mem, func + FUNC_NAME, &name));
	put(&w->ram, name + STRING_LEN, UINT64_MAX, 8);
	expect_why(w, 0, "PHP stack unavailable: a function's name cannot be read");
	put(&w->ram, name + STRING_LEN, 0, 8);
	expect_why(w, 0, "PHP stack unavailable: a function's name cannot be read");
	memset(longest, 'x', sizeof(longest) - 1); /* long but sane: cut */
	put(&w->ram, func + FUNC_NAME, put_string(&w->ram, longest), 8);
	walk(w);
	assert_true(w->script.count >= 1);
	assert_int_equal(strlen(w->script.frame[0].function), LANG_NAME_MAX);
	world_free(w);
}

static void test_lines_out_of_range(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t opline;

	assert_true(memory_u64(&w->mem, w->method_ex + EX_OPLINE, &opline));
	put(&w->ram, opline + OP_LINE, 21, 4); /* the function ends at 20 */
	walk(w);
	check(w, 1, "Shop::run", "/srv/shop.php", 0);
	world_free(w);
}

static void test_depth(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t func, ex = w->main_ex;

	assert_true(memory_u64(&w->mem, w->method_ex + EX_FUNC, &func));
	for (int i = 0; i < 600; i++)
		ex = put_frame(&w->ram, w->php.row, func, 11, ex);
	put(&w->ram, w->php.executor_globals + w->php.row->current, ex, 8);
	expect_why(w, LANG_FRAMES_MAX, "PHP stack incomplete: there are more frames than are shown");
	world_free(w);
}

static void put_argument(struct world *w, uint64_t ex, unsigned int n, uint64_t value, uint8_t type)
{
	uint64_t at = ex + (w->php.row->prev == 56 ? 96 : 80) + 16ull * n;

	put(&w->ram, at, value, 8);
	put(&w->ram, at + 8, type, 1);
}

static void test_arguments(void **state UNUSED)
{
	struct world *w = malloc(sizeof(*w));
	uint64_t class, object, array, reference, func;
	double half = 0.5;

	build(w, row_8_2());
	/* room for the arguments: the frame is made anew */
	assert_true(memory_u64(&w->mem, w->method_ex + EX_FUNC, &func));
	w->method_ex = put_frame(&w->ram, w->php.row, func, 12, w->main_ex);
	take(&w->ram, 512);
	put(&w->ram, w->php.executor_globals + w->php.row->current, w->method_ex, 8);
	class = take(&w->ram, 64);
	put(&w->ram, class + CLASS_NAME, put_string(&w->ram, "Cart"), 8);
	object = take(&w->ram, 64);
	put(&w->ram, object + OBJECT_CLASS, class, 8);
	array = take(&w->ram, 64);
	put(&w->ram, array + 28, 3, 4);
	reference = take(&w->ram, 64);
	put(&w->ram, reference + 8, 42, 8);
	put(&w->ram, reference + 16, 4, 1);
	walk(w);
	assert_null(w->script.frame[0].arguments); /* not asked for */
	w->arguments = true;
	put(&w->ram, w->method_ex + 44, 10, 4); /* given */
	put(&w->ram, func + 32, 7, 4);		/* declared */
	put_argument(w, w->method_ex, 0, (uint64_t)-7, 4);
	put_argument(w, w->method_ex, 1, put_string(&w->ram, "blue"), 6);
	put_argument(w, w->method_ex, 2, array, 7);
	put_argument(w, w->method_ex, 3, object, 8);
	put_argument(w, w->method_ex, 4, reference, 10);
	memcpy(&func, &half, 8);
	put_argument(w, w->method_ex, 5, func, 5);
	put_argument(w, w->method_ex, 6, 0, 3);
	walk(w);
	assert_string_equal(w->script.frame[0].arguments, "-7, \"blue\", array(3), Cart, 42, 0.5, true, ... 3 more");
	assert_null(w->script.frame[1].arguments); /* {main} has none */
	/* what lies is shown as such, and bounded */
	put_argument(w, w->method_ex, 1, 0x1234, 6);
	put_argument(w, w->method_ex, 2, 0x1234, 7);
	put_argument(w, w->method_ex, 3, 0x1234, 8);
	put_argument(w, w->method_ex, 4, 0x1234, 10);
	put_argument(w, w->method_ex, 5, 0, 77);
	put(&w->ram, w->method_ex + 44, UINT32_MAX, 4);
	walk(w);
	assert_string_equal(w->script.frame[0].arguments, "-7, \"\", ?, ?, ?, ?, true, ... 4294967288 more");
	stack_done(&w->script);
	free(w);
}

static uint64_t put_text(struct ram *ram, const char *text)
{
	uint64_t at = take(ram, strlen(text) + 1);

	memcpy(ram->data + (at - BASE), text, strlen(text) + 1);
	return at;
}

static uint64_t put_param(struct ram *ram, const char *name, const char *value, uint64_t next)
{
	uint64_t at = take(ram, 48);

	put(ram, at + 4, strlen(name), 4);
	put(ram, at + 8, put_text(ram, name), 8);
	put(ram, at + 16, strlen(value), 4);
	put(ram, at + 24, put_text(ram, value), 8);
	put(ram, at + 40, next, 8);
	return at;
}

static const char *request(struct world *w, char *ret_text, size_t size)
{
	struct variable *v = NULL;
	size_t count = 0, len = 0;
	const char *why = php_request(&w->php, &w->mem, &v, &count);

	ret_text[0] = '\0';
	assert_true(count <= PARAMS_MAX + 4);
	for (size_t i = 0; i < count; i++) {
		len += (size_t)snprintf(ret_text + len, size - MIN(len, size), "%s=%s\n", v[i].name, v[i].value);
		free(v[i].name);
		free(v[i].value);
	}
	free(v);
	return why;
}

static void test_request(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t globals = take(&w->ram, 512), module = take(&w->ram, 16), fcgi = take(&w->ram, 10240), list;
	double when = 1795410163.5;
	char text[1024];

	w->php.sapi_globals = globals;
	w->php.sapi_module = module;
	put(&w->ram, module, put_text(&w->ram, "fpm-fcgi"), 8);
	assert_null(request(w, text, sizeof(text))); /* before the first request */
	assert_string_equal(text, "");
	list = put_param(&w->ram, "REQUEST_URI", "/cart?id=7", 0);
	list = put_param(&w->ram, "HTTP_COOKIE", "secret", list);
	list = put_param(&w->ram, "REMOTE_ADDR", "10.1.2.3", list);
	put(&w->ram, globals, fcgi, 8);
	put(&w->ram, fcgi + 9320, list, 8);
	put(&w->ram, fcgi + 8, 5, 4);
	memcpy(&module, &when, 8);
	put(&w->ram, globals + 440, module, 8);
	assert_null(request(w, text, sizeof(text)));
	assert_string_equal(text, "REQUEST_URI=/cart?id=***\nHTTP_COOKIE=***\nREMOTE_ADDR=10.1.2.3\n"
				  "REQUEST_TIME_FLOAT=1795410163.500000\n");
	put(&w->ram, fcgi + 8, (uint32_t)-1, 4);
	assert_string_equal(request(w, text, sizeof(text)), "PHP has answered this request, its script goes on");
	put(&w->ram, w->php.executor_globals + w->php.row->current, 0, 8);
	assert_null(request(w, text, sizeof(text))); /* over: what is left of it is not shown */
	assert_string_equal(text, "");
	put(&w->ram, fcgi + 8, 5, 4);
	put(&w->ram, list + 40, list, 8); /* a list that does not end */
	assert_string_equal(request(w, text, sizeof(text)), "it has more FastCGI parameters than are shown");
	put(&w->ram, list + 4, 0x10000, 4);
	assert_string_equal(request(w, text, sizeof(text)), "a FastCGI parameter's name is longer than is read");
	put(&w->ram, list + 4, 3, 4);
	put(&w->ram, list + 8, put_text(&w->ram, "\1\2\3"), 8);
	assert_string_equal(request(w, text, sizeof(text)), "its FastCGI parameters cannot be read");
	put(&w->ram, fcgi + 9320, 0x1234, 8);
	assert_string_equal(request(w, text, sizeof(text)), "its FastCGI parameters cannot be read");
	put(&w->ram, globals, 0x1234, 8);
	assert_string_equal(request(w, text, sizeof(text)), "its FastCGI request cannot be read");
	world_free(w);
}

static void test_request_of_a_module(void **state UNUSED)
{
	struct world *w = world_new();
	uint64_t globals = take(&w->ram, 512), module = take(&w->ram, 16);
	char text[1024];

	w->php.sapi_globals = globals;
	w->php.sapi_module = module;
	put(&w->ram, module, put_text(&w->ram, "apache2handler"), 8);
	assert_null(request(w, text, sizeof(text)));
	assert_string_equal(text, "");
	put(&w->ram, globals + 8, put_text(&w->ram, "POST"), 8);
	put(&w->ram, globals + 16, put_text(&w->ram, "a=1"), 8);
	put(&w->ram, globals + 40, put_text(&w->ram, "/srv/cart.php"), 8);
	put(&w->ram, globals + 48, put_text(&w->ram, "/cart.php"), 8);
	assert_null(request(w, text, sizeof(text)));
	assert_string_equal(text, "REQUEST_METHOD=POST\nREQUEST_URI=/cart.php\nQUERY_STRING=a=***\n"
				  "SCRIPT_FILENAME=/srv/cart.php\n");
	put(&w->ram, w->php.executor_globals + w->php.row->current, 0, 8);
	assert_null(request(w, text, sizeof(text)));
	assert_string_equal(text, "");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version),	    cmocka_unit_test(test_idle_worker),
		cmocka_unit_test(test_line_in_register),    cmocka_unit_test(test_includes_and_eval),
		cmocka_unit_test(test_generators),	    cmocka_unit_test(test_loop),
		cmocka_unit_test(test_wild_pointers),	    cmocka_unit_test(test_strings),
		cmocka_unit_test(test_lines_out_of_range),  cmocka_unit_test(test_depth),
		cmocka_unit_test(test_arguments),	    cmocka_unit_test(test_request),
		cmocka_unit_test(test_request_of_a_module),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
