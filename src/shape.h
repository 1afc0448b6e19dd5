/* SPDX-License-Identifier: MIT */
/* A plain C struct as JSON and back, by a table of its fields: what is written is
 * what is read. Knows no struct of ours. Reading trusts nothing: types, ranges,
 * counts and sizes are checked against the table, and an error names the field.
 * No I/O. The tables say who owns what: texts and lists are on the heap and
 * belong to the struct, also those of a reading that failed half-way. */
#ifndef REQTRAP_SHAPE_H
#define REQTRAP_SHAPE_H

#include "buf.h"
#include "err.h"

#include <jansson.h>

#define SHAPE_TEXT_MAX (256u << 10) /* of one string; a longer one is written cut, with a mark */

enum kind {
	KIND_TEXT,   /* char * */
	KIND_NAME,   /* char *, a file name without a folder */
	KIND_TEXTS,  /* char **, NULL-terminated */
	KIND_NUMBER, /* whole, 'size' bytes, 0 ... max */
	KIND_SIGNED, /* int */
	KIND_HEX,    /* uint64_t as '0x..' */
	KIND_BOOL,
	KIND_LETTER, /* char */
	KIND_ENUM,
	KIND_ID,
	KIND_OBJECT, /* a struct inside */
	KIND_LIST,   /* of structs: pointer and count */
	KIND_PIDS,   /* pid_t list: pointer and count */
};

struct field {
	const char *key;
	enum kind kind;
	size_t at, size; /* of the member */
	size_t count_at;
	uint64_t max; /* KIND_NUMBER: value; lists: elements; KIND_ENUM: how many names */
	const struct shape *shape;
	const char *(*name)(unsigned int value);
};

struct shape {
	const struct field *field;
	size_t count, size;
	bool row; /* element of a list: on one line, defaults left out */
};

#define AT(type, member) .at = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define TEXT(type, member)                                          \
	{                                                           \
		.key = #member, .kind = KIND_TEXT, AT(type, member) \
	}
#define TEXTS(type, member, most)                                                   \
	{                                                                           \
		.key = #member, .kind = KIND_TEXTS, AT(type, member), .max = (most) \
	}
#define NUMBER(type, member)                                                            \
	{                                                                               \
		.key = #member, .kind = KIND_NUMBER, AT(type, member), .max = INT64_MAX \
	}
#define NUMBER32(type, member)                                                           \
	{                                                                                \
		.key = #member, .kind = KIND_NUMBER, AT(type, member), .max = UINT32_MAX \
	}
#define PID(type, member)                                                               \
	{                                                                               \
		.key = #member, .kind = KIND_NUMBER, AT(type, member), .max = INT32_MAX \
	}
#define SIGNED(type, member)                                          \
	{                                                             \
		.key = #member, .kind = KIND_SIGNED, AT(type, member) \
	}
#define FLAG(type, member)                                          \
	{                                                           \
		.key = #member, .kind = KIND_BOOL, AT(type, member) \
	}
#define CHOICE(type, member, names, n)                                                           \
	{                                                                                        \
		.key = #member, .kind = KIND_ENUM, AT(type, member), .name = (names), .max = (n) \
	}
#define OBJECT(type, member, of)                                                      \
	{                                                                             \
		.key = #member, .kind = KIND_OBJECT, AT(type, member), .shape = &(of) \
	}
#define LIST(type, member, count_member, of, most)                                                             \
	{                                                                                                      \
		.key = #member, .kind = KIND_LIST, AT(type, member), .count_at = offsetof(type, count_member), \
		.shape = &(of), .max = (most)                                                                  \
	}
#define SHAPE(fields, type, is_row)                                                                  \
	{                                                                                            \
		.field = (fields), .count = ARRAY_LEN(fields), .size = sizeof(type), .row = (is_row) \
	}

/* indent < 0: all on one line. -E2BIG when a list is longer than its table lets it
 * be read back. The caller checks out->full. */
int shape_write(const struct shape *shape, const void *base, int indent, struct buf *out, struct err *err);

/* The fields without the braces; 'first': nothing stands before them. */
int shape_write_fields(const struct shape *shape, const void *base, int indent, bool first, struct buf *out,
		       struct err *err);

/* base must be zeroed; on failure it may be partly filled, the caller frees it. */
int shape_read(const struct shape *shape, const json_t *json, void *base, struct err *err);

/* Adds text from outside as a JSON string with its quotes, NULL as null: well-formed
 * UTF-8, bytes that were not become U+FFFD; what a terminal acts on is \uXXXX. */
void shape_add_string(struct buf *out, const char *text);

/* Bytes of the well-formed UTF-8 sequence at the NUL-terminated p and its character;
 * 0 if there is none. */
size_t utf8_sequence(const unsigned char *p, uint32_t *ret_cp);

#endif
