// SPDX-License-Identifier: MIT
/* What a function was called with, as 'price_lookup(1, "x")' shows it: its first parameters
 * as they are now, which is what PHP's own backtrace shows, too. Rejected: what is inside
 * arrays and objects (unbounded, and rarely what is looked for).
 * Trap: arguments beyond those that a function declares lie elsewhere, behind its
 * variables; they are counted, not shown. */
#include "lang_php.h"

#include "buf.h"

#include <inttypes.h>
#include <string.h>

#define ARGUMENTS_SHOWN 8
#define STRING_SHOWN 64 /* bytes */
#define TEXT_MAX 2048

enum { EX_THIS_COUNT = 44, FUNC_COUNT = 32, ZVAL_SIZE = 16, ZVAL_TYPE = 8, REFERENCE_VALUE = 8, ARRAY_COUNT = 28 };
enum { OBJECT_CLASS = 16, CLASS_NAME = 8 };
enum zval_type {
	IS_UNDEF,
	IS_NULL,
	IS_FALSE,
	IS_TRUE,
	IS_LONG,
	IS_DOUBLE,
	IS_STRING,
	IS_ARRAY,
	IS_OBJECT,
	IS_RESOURCE,
	IS_REFERENCE,
};

static void add_string(const struct memory *mem, uint64_t addr, struct buf *out)
{
	uint64_t len = 0;
	CLEAN(free) char *text = php_string(mem, addr, STRING_SHOWN, &len);

	if (!text) {
		buf_adds(out, len == 0 ? "\"\"" : "?");
		return;
	}
	buf_addf(out, "\"%s\"", text);
	if (len > STRING_SHOWN)
		buf_addf(out, "... (%" PRIu64 " bytes)", len);
}

static void add_object(const struct memory *mem, uint64_t object, struct buf *out)
{
	CLEAN(free) char *name = NULL;
	uint64_t class, name_at;

	if (memory_u64(mem, object + OBJECT_CLASS, &class) && memory_u64(mem, class + CLASS_NAME, &name_at))
		name = php_string(mem, name_at, LANG_NAME_MAX, NULL);
	buf_adds(out, name ? name : "?");
}

static void add_value(const struct memory *mem, uint64_t at, struct buf *out)
{
	uint64_t value;
	uint32_t count;
	uint8_t type;
	double number;

	if (memory_u8(mem, at + ZVAL_TYPE, &type) && type == IS_REFERENCE && memory_u64(mem, at, &at))
		at += REFERENCE_VALUE;
	if (!memory_u64(mem, at, &value) || !memory_u8(mem, at + ZVAL_TYPE, &type)) {
		buf_adds(out, "?");
		return;
	}
	memcpy(&number, &value, sizeof(number));
	if (type == IS_NULL)
		buf_adds(out, "null");
	else if (type == IS_FALSE || type == IS_TRUE)
		buf_adds(out, type == IS_TRUE ? "true" : "false");
	else if (type == IS_LONG)
		buf_addf(out, "%" PRId64, (int64_t)value);
	else if (type == IS_DOUBLE)
		buf_addf(out, "%.15g", number);
	else if (type == IS_STRING)
		add_string(mem, value, out);
	else if (type == IS_ARRAY && memory_u32(mem, value + ARRAY_COUNT, &count))
		buf_addf(out, "array(%" PRIu32 ")", count);
	else if (type == IS_OBJECT)
		add_object(mem, value, out);
	else
		buf_adds(out, type == IS_RESOURCE ? "resource" : "?");
}

char *php_arguments(const struct php *php, const struct memory *mem, uint64_t ex, uint64_t func, bool internal)
{
	uint64_t first = ex + (php->row->prev == 56 ? 96 : 80); /* 7.0 has a longer execute_data */
	uint32_t given, declared;
	struct buf out;

	if (!memory_u32(mem, ex + EX_THIS_COUNT, &given) || !memory_u32(mem, func + FUNC_COUNT, &declared))
		return NULL;
	buf_init(&out, TEXT_MAX);
	buf_adds(&out, "");
	for (uint32_t i = 0; i < given; i++) {
		if (i)
			buf_adds(&out, ", ");
		if (i == ARGUMENTS_SHOWN || (!internal && i == declared)) {
			buf_addf(&out, "... %" PRIu32 " more", given - i);
			break;
		}
		add_value(mem, first + (uint64_t)i * ZVAL_SIZE, &out);
	}
	if (out.full) {
		buf_done(&out);
		return NULL;
	}
	return buf_take(&out);
}
