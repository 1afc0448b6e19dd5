// SPDX-License-Identifier: MIT
/* The base: error texts, growing buffers, escaping, scope cleanup, lists. */
#include "buf.h"
#include "err.h"
#include "incident.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void errors_name_subject_and_cause(void **state UNUSED)
{
	struct err err;

	assert_int_equal(err_sys(&err, -ENOENT, "cannot open '%s'", "/x"), -ENOENT);
	assert_string_equal(err.text, "cannot open '/x': No such file or directory");
	assert_int_equal(err_wrap(&err, -EIO, "store '%s'", "s"), -EIO);
	assert_string_equal(err.text, "store 's': cannot open '/x': No such file or directory");
	assert_int_equal(err_say(&err, -EINVAL, "100%% %s", "wrong"), -EINVAL);
	assert_string_equal(err.text, "100% wrong");
	assert_int_equal(err_say(NULL, -EINVAL, "nobody asks"), -EINVAL);
}

static void errors_are_harmless_to_terminals(void **state UNUSED)
{
	char name[2000];
	struct err err;

	err_say(&err, -EINVAL, "no '%s'", "a\x1b[2J\n\x7f");
	assert_string_equal(err.text, "no 'a\\x1b[2J\\x0a\\x7f'");
	memset(name, '\x01', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	err_say(&err, -EINVAL, "%s", name);
	assert_true(strlen(err.text) < sizeof(err.text));
	err_wrap(&err, -EINVAL, "%s", name);
	assert_true(strlen(err.text) < sizeof(err.text));
}

static void buffers_grow_to_their_maximum(void **state UNUSED)
{
	struct buf buf;
	char *taken;

	buf_init(&buf, 1000);
	for (int i = 0; i < 100; i++)
		buf_adds(&buf, "0123456789");
	assert_int_equal(buf.len, 1000);
	assert_false(buf.full);
	buf_add(&buf, "x", 1);
	assert_true(buf.full);
	assert_int_equal(buf.len, 1000);
	buf_add(&buf, "", 0); /* nothing more goes in, not even what would fit */
	assert_int_equal(strlen(buf.data), 1000);
	taken = buf_take(&buf);
	assert_int_equal(strlen(taken), 1000);
	free(taken);
	taken = buf_take(&buf);
	assert_string_equal(taken, "");
	free(taken);
	buf_done(&buf);

	buf_init(&buf, SIZE_MAX);
	buf_addf(&buf, "%0300d", 7);
	assert_int_equal(buf.len, 300);
	assert_int_equal(buf.data[299], '7');
	buf_done(&buf);
}

static void hostile_bytes_are_spelled(void **state UNUSED)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} row[] = {
		{ "plain ~", 7, "plain ~" },
		{ "a\0b", 3, "a\\x00b" },
		{ "\\x41", 4, "\\x5cx41" },
		{ "\x1b[0m\r\n\t", 7, "\\x1b[0m\\x0d\\x0a\\x09" },
		{ "\xc3\xa9", 2, "\xc3\xa9" },			   /* é */
		{ "\xe2\x82\xac", 3, "\xe2\x82\xac" },		   /* euro */
		{ "\xf0\x9f\x90\x9b", 4, "\xf0\x9f\x90\x9b" },	   /* four bytes */
		{ "\xc2\x9b", 2, "\\xc2\\x9b" },		   /* CSI as a C1 control */
		{ "a\xe2\x80\x8b", 4, "a\\xe2\\x80\\x8b" },	   /* a space without width */
		{ "\xc2\xad", 2, "\\xc2\\xad" },		   /* a hyphen that is not shown */
		{ "\xf3\xa0\x81\x81", 4, "\\xf3\\xa0\\x81\\x81" }, /* a tag */
		{ "\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80" },	   /* a face */
		{ "\xe2\x80\xae", 3, "\\xe2\\x80\\xae" },	   /* right-to-left override */
		{ "\xef\xbb\xbf", 3, "\\xef\\xbb\\xbf" },	   /* byte order mark */
		{ "\xc0\xaf", 2, "\\xc0\\xaf" },		   /* '/' the long way */
		{ "\xed\xa0\x80", 3, "\\xed\\xa0\\x80" },	   /* surrogate */
		{ "\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80" }, /* beyond Unicode */
		{ "\xe2\x82", 2, "\\xe2\\x82" },		   /* cut */
		{ "\x80", 1, "\\x80" },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct buf buf;

		buf_init(&buf, 4096);
		buf_add_escaped(&buf, row[i].in, row[i].len);
		assert_string_equal(buf.data, row[i].out);
		buf_done(&buf);
	}
}

static void descriptors_close_with_their_scope(void **state UNUSED)
{
	int kept = -1, closed;

	{
		CLEAN(fd) int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
		CLEAN(fd) int b = open("/dev/null", O_RDONLY | O_CLOEXEC);
		CLEAN(fd) int none UNUSED = -1;

		assert_true(a >= 0 && b >= 0);
		closed = a;
		kept = take_fd(&b);
		assert_int_equal(b, -1);
	}
	assert_int_equal(fcntl(closed, F_GETFD), -1);
	assert_true(fcntl(kept, F_GETFD) >= 0);
	close(kept);
}

static void lists_grow_zeroed(void **state UNUSED)
{
	char **strings = NULL, *text = NULL;
	uint64_t *numbers = NULL;
	size_t count = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t *n = list_add(&numbers, &count, sizeof(*n));

		assert_non_null(n);
		assert_int_equal(*n, 0);
		*n = i;
	}
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbers[i], i);
	free(numbers);
	assert_int_equal(strings_count(strings), 0);
	for (int i = 0; i < 9; i++)
		assert_true(strings_add(&strings, "word") >= 0);
	assert_int_equal(strings_count(strings), 9);
	assert_null(strings[9]);
	for (int i = 0; i < 9; i++)
		free(strings[i]);
	free(strings);
	text_set(&text, "one");
	text_setf(&text, "%s two", text);
	assert_string_equal(text, "one two");
	text_set(&text, NULL);
	assert_null(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_name_subject_and_cause),
		cmocka_unit_test(errors_are_harmless_to_terminals),
		cmocka_unit_test(buffers_grow_to_their_maximum),
		cmocka_unit_test(hostile_bytes_are_spelled),
		cmocka_unit_test(descriptors_close_with_their_scope),
		cmocka_unit_test(lists_grow_zeroed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
