// SPDX-License-Identifier: MIT
/* Structs to JSON and back, driven by tables. Rejected: a hand-written pair of
 * functions per struct (they drift apart), and jansson for writing (a second copy
 * of everything in memory). Trap: the file may come from somebody else, by mail;
 * nothing in it may make us allocate, index or open more than the tables allow. */
#include "shape.h"

#include "incident.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

/* --- text --- */

size_t utf8_sequence(const unsigned char *p, uint32_t *ret_cp)
{
	uint32_t cp;
	size_t n;

	if (p[0] < 0x80) {
		*ret_cp = p[0];
		return 1;
	}
	n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (!n)
		return 0;
	cp = p[0] & (0xffu >> (n + 1));
	for (size_t k = 1; k < n; k++) {
		if ((p[k] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[k] & 0x3f);
	}
	if ((n == 3 && cp < 0x800) || (n == 4 && (cp < 0x10000 || cp > 0x10ffff)) || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	*ret_cp = cp;
	return n;
}

/* Bytes of the text once what is not UTF-8 became U+FFFD. */
static size_t clean_len(const unsigned char *p)
{
	size_t len = 0;
	uint32_t cp;

	while (*p) {
		size_t n = utf8_sequence(p, &cp);

		len += n ? n : 3;
		p += n ? n : 1;
	}
	return len;
}

/* Characters that a terminal or an editor would act on, or that nobody would see in one. */
static bool acts(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || char_hides(cp);
}

void shape_add_string(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t room;

	if (!text) {
		buf_adds(out, "null");
		return;
	}
	room = clean_len(p) > SHAPE_TEXT_MAX ? SHAPE_TEXT_MAX - 64 /* for the mark */ : SHAPE_TEXT_MAX;
	buf_adds(out, "\"");
	for (size_t n = 1; *p; p += n ? n : 1) {
		uint32_t cp = 0;
		size_t put;

		n = utf8_sequence(p, &cp);
		put = n ? n : 3;
		if (put > room) {
			buf_addf(out, " [%zu bytes cut]", strlen((const char *)p));
			break;
		}
		room -= put;
		if (!n)
			buf_adds(out, "\xef\xbf\xbd");
		else if (*p == '"' || *p == '\\')
			buf_addf(out, "\\%c", *p);
		else if (*p == '\n')
			buf_adds(out, "\\n");
		else if (acts(cp) && cp > 0xffff)
			buf_addf(out, "\\u%04x\\u%04x", 0xd7c0 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
		else if (acts(cp))
			buf_addf(out, "\\u%04x", cp);
		else
			buf_add(out, p, n);
	}
	buf_adds(out, "\"");
}

/* --- members by offset --- */

static const void *member(const void *base, const struct field *f)
{
	return (const char *)base + f->at;
}

static void *pointer_of(const void *base, const struct field *f)
{
	void *pointer;

	memcpy(&pointer, member(base, f), sizeof(pointer));
	return pointer;
}

static size_t count_of(const void *base, const struct field *f)
{
	size_t count;

	memcpy(&count, (const char *)base + f->count_at, sizeof(count));
	return count;
}

static uint64_t number_of(const void *base, const struct field *f)
{
	uint64_t n = 0; /* little-endian: the low bytes come first */

	memcpy(&n, member(base, f), f->size);
	return n;
}

static uint64_t number_kept(const void *base, const struct field *f)
{
	uint64_t n = number_of(base, f);

	if (f->max == INT32_MAX && n > INT32_MAX)
		return 0; /* a pid that was never known: -1 */
	return MIN(n, f->max);
}

static bool is_letter(char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool is_default(const void *base, const struct field *f)
{
	if (f->kind == KIND_LIST || f->kind == KIND_PIDS)
		return count_of(base, f) == 0;
	if (f->kind == KIND_ENUM)
		return false; /* reads better when it stands */
	if (f->kind == KIND_NUMBER)
		return number_kept(base, f) == 0;
	if (f->kind == KIND_LETTER)
		return !is_letter(*(const char *)member(base, f));
	if (f->kind == KIND_TEXTS)
		return strings_count(pointer_of(base, f)) == 0;
	if (f->kind == KIND_OBJECT) {
		for (size_t n = 0; n < f->shape->count; n++) {
			if (!is_default(member(base, f), &f->shape->field[n]))
				return false;
		}
		return true;
	}
	for (size_t n = 0; n < f->size; n++) {
		if (((const char *)member(base, f))[n])
			return false;
	}
	return true;
}

/* --- writing --- */

static void new_line(struct buf *out, int indent)
{
	buf_addf(out, "\n%*s", indent, "");
}

/* indent < 0: everything on one line */
static int write_list(const struct field *f, const void *base, int indent, struct buf *out, struct err *err)
{
	const char *row = pointer_of(base, f);
	size_t count = count_of(base, f);

	if (count > f->max)
		return err_say(err, -E2BIG, "cannot write '%s': %zu entries, at most %" PRIu64 " can be kept", f->key,
			       count, f->max);
	buf_adds(out, "[");
	for (size_t n = 0; n < count; n++) {
		int r;

		if (n)
			buf_adds(out, ",");
		if (indent >= 0)
			new_line(out, indent + 1);
		r = shape_write(f->shape, row + n * f->shape->size, -1, out, err);
		if (r < 0)
			return r;
	}
	if (indent >= 0 && count)
		new_line(out, indent);
	buf_adds(out, "]");
	return 0;
}

static int write_texts(const struct field *f, char *const *list, struct buf *out, struct err *err)
{
	if (strings_count(list) > f->max)
		return err_say(err, -E2BIG, "cannot write '%s': more than %" PRIu64 " lines", f->key, f->max);
	buf_adds(out, "[");
	for (size_t n = 0; list && list[n]; n++) {
		if (n)
			buf_adds(out, ",");
		shape_add_string(out, list[n]);
	}
	buf_adds(out, "]");
	return 0;
}

static int write_pids(const struct field *f, const void *base, struct buf *out, struct err *err)
{
	const pid_t *pid = pointer_of(base, f);
	size_t count = count_of(base, f);

	if (count > f->max)
		return err_say(err, -E2BIG, "cannot write '%s': %zu entries", f->key, count);
	buf_adds(out, "[");
	for (size_t n = 0; n < count; n++)
		buf_addf(out, "%s%d", n ? "," : "", MAX(pid[n], 0));
	buf_adds(out, "]");
	return 0;
}

static int write_value(const struct field *f, const void *base, int indent, struct buf *out, struct err *err)
{
	char letter[2] = "";

	switch (f->kind) {
	case KIND_TEXT:
	case KIND_NAME:
		shape_add_string(out, pointer_of(base, f));
		return 0;
	case KIND_ID:
		shape_add_string(out, member(base, f));
		return 0;
	case KIND_LETTER:
		letter[0] = *(const char *)member(base, f);
		if (!is_letter(letter[0]))
			letter[0] = '\0';
		shape_add_string(out, letter);
		return 0;
	case KIND_NUMBER:
		buf_addf(out, "%" PRIu64, number_kept(base, f));
		return 0;
	case KIND_SIGNED:
		buf_addf(out, "%d", (int)(int32_t)number_of(base, f));
		return 0;
	case KIND_HEX:
		buf_addf(out, "\"0x%" PRIx64 "\"", number_of(base, f));
		return 0;
	case KIND_BOOL:
		buf_adds(out, number_of(base, f) ? "true" : "false");
		return 0;
	case KIND_ENUM:
		if (number_of(base, f) >= f->max)
			return err_say(err, -EINVAL, "cannot write '%s': no such value", f->key);
		shape_add_string(out, f->name((unsigned int)number_of(base, f)));
		return 0;
	case KIND_TEXTS:
		return write_texts(f, pointer_of(base, f), out, err);
	case KIND_PIDS:
		return write_pids(f, base, out, err);
	case KIND_LIST:
		return write_list(f, base, indent, out, err);
	case KIND_OBJECT:
		return shape_write(f->shape, member(base, f), indent, out, err);
	}
	return -EINVAL;
}

int shape_write_fields(const struct shape *shape, const void *base, int indent, bool first, struct buf *out,
		       struct err *err)
{
	for (size_t n = 0; n < shape->count; n++) {
		const struct field *f = &shape->field[n];
		int r;

		if (shape->row && is_default(base, f))
			continue;
		if (!first)
			buf_adds(out, ",");
		if (indent >= 0)
			new_line(out, indent + 1);
		buf_addf(out, "\"%s\":%s", f->key, indent >= 0 ? " " : "");
		r = write_value(f, base, indent < 0 ? -1 : indent + 1, out, err);
		if (r < 0)
			return r;
		first = false;
	}
	return 0;
}

int shape_write(const struct shape *shape, const void *base, int indent, struct buf *out, struct err *err)
{
	int r;

	buf_adds(out, "{");
	r = shape_write_fields(shape, base, indent, true, out, err);
	if (indent >= 0)
		new_line(out, indent);
	buf_adds(out, "}");
	return r;
}

/* --- reading --- */

/* Where we are, for the error text: 'trace[17].at_ns'. Lives on the stack. */
struct place {
	const struct place *in;
	const char *key; /* NULL: an element */
	size_t index;
};

static void place_text(const struct place *place, struct buf *out)
{
	if (!place)
		return;
	place_text(place->in, out);
	if (place->key)
		buf_addf(out, "%s%s", out->len ? "." : "", place->key);
	else
		buf_addf(out, "[%zu]", place->index);
}

static int wrong(const struct place *place, struct err *err, const char *expected)
{
	struct buf where;

	buf_init(&where, 256);
	place_text(place, &where);
	err_say(err, -EINVAL, "wrong value of '%s': expected %s", where.data ? where.data : "?", expected);
	buf_done(&where);
	return -EINVAL;
}

static int read_shape(const struct shape *shape, const json_t *json, void *base, const struct place *place,
		      struct err *err);

static int read_text(const json_t *json, const struct place *place, char **ret_text, struct err *err)
{
	char *copy;

	if (json_is_null(json))
		return 0;
	if (!json_is_string(json))
		return wrong(place, err, "text");
	if (json_string_length(json) > SHAPE_TEXT_MAX)
		return wrong(place, err, "a text of at most 256 KiB");
	copy = strdup(json_string_value(json));
	if (!copy)
		return err_sys(err, -ENOMEM, "cannot read the facts");
	free(*ret_text);
	*ret_text = copy;
	return 0;
}

static bool is_file_name(const char *name)
{
	return name[0] && name[0] != '.' && !strchr(name, '/');
}

static int read_name(const json_t *json, const struct place *place, char **ret_text, struct err *err)
{
	const char *name = json_string_value(json);

	if (name && (!is_file_name(name) || strlen(name) > NAME_MAX))
		return wrong(place, err, "a file name without a folder");
	return read_text(json, place, ret_text, err);
}

static int read_number(const json_t *json, const struct field *f, void *base, const struct place *place,
		       struct err *err)
{
	json_int_t n = json_integer_value(json);
	bool sign = f->kind == KIND_SIGNED;

	if (!json_is_integer(json) || (!sign && n < 0))
		return wrong(place, err, sign ? "a whole number" : "a whole number, not negative");
	if (sign ? n < INT32_MIN || n > INT32_MAX : (uint64_t)n > f->max)
		return wrong(place, err, "a smaller number");
	memcpy((char *)base + f->at, &n, f->size); /* little-endian */
	return 0;
}

static int read_hex(const json_t *json, void *at, const struct place *place, struct err *err)
{
	const char *text = json_string_value(json);
	uint64_t n;

	if (!text || strncmp(text, "0x", 2) || strlen(text) > 18 || !text[2] ||
	    text[2 + strspn(text + 2, "0123456789abcdef")])
		return wrong(place, err, "an address like '0x7f00'");
	n = strtoull(text + 2, NULL, 16);
	memcpy(at, &n, sizeof(n));
	return 0;
}

static int read_enum(const json_t *json, const struct field *f, void *at, const struct place *place, struct err *err)
{
	const char *text = json_string_value(json);

	for (unsigned int n = 0; text && n < f->max; n++) {
		if (strcmp(text, f->name(n)))
			continue;
		memcpy(at, &n, sizeof(n));
		return 0;
	}
	return wrong(place, err, "one of the known words");
}

static int read_letter(const json_t *json, char *at, const struct place *place, struct err *err)
{
	const char *text = json_string_value(json);

	if (!text || (text[0] && (!is_letter(text[0]) || text[1])))
		return wrong(place, err, "one letter");
	*at = text[0];
	return 0;
}

static int read_id(const json_t *json, char *at, const struct place *place, struct err *err)
{
	const char *text = json_string_value(json);

	if (!text || strlen(text) != INCIDENT_ID_LEN || text[strspn(text, "0123456789abcdef")])
		return wrong(place, err, "12 hex digits");
	memcpy(at, text, INCIDENT_ID_LEN + 1);
	return 0;
}

static int read_array_size(const json_t *json, const struct field *f, const struct place *place, size_t *ret_count,
			   struct err *err)
{
	if (!json_is_array(json))
		return wrong(place, err, "a list");
	if (json_array_size(json) > f->max)
		return wrong(place, err, "a shorter list");
	*ret_count = json_array_size(json);
	return 0;
}

static int read_texts(const json_t *json, const struct field *f, void *base, const struct place *place, struct err *err)
{
	size_t count;
	char **list;
	int r;

	if (json_is_null(json))
		return 0;
	r = read_array_size(json, f, place, &count, err);
	if (r < 0 || !count)
		return r;
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		return err_sys(err, -ENOMEM, "cannot read the facts");
	memcpy((char *)base + f->at, &list, sizeof(list)); /* the struct owns it from here */
	for (size_t n = 0; n < count; n++) {
		struct place here = { .in = place, .index = n };
		const json_t *one = json_array_get(json, n);

		r = json_is_null(one) ? wrong(&here, err, "text") : read_text(one, &here, &list[n], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_list(const json_t *json, const struct field *f, void *base, const struct place *place, struct err *err)
{
	size_t count, have = 0;
	int r = read_array_size(json, f, place, &count, err);

	for (size_t n = 0; r == 0 && n < count; n++) {
		struct place here = { .in = place, .index = n };
		void *row = list_add((char *)base + f->at, &have, f->shape->size);

		if (!row)
			return err_sys(err, -ENOMEM, "cannot read the facts");
		memcpy((char *)base + f->count_at, &have, sizeof(have));
		r = read_shape(f->shape, json_array_get(json, n), row, &here, err);
	}
	return r;
}

static int read_pids(const json_t *json, const struct field *f, void *base, const struct place *place, struct err *err)
{
	size_t count, have = 0;
	int r = read_array_size(json, f, place, &count, err);

	for (size_t n = 0; r == 0 && n < count; n++) {
		struct place here = { .in = place, .index = n };
		const struct field one = { .kind = KIND_NUMBER, .size = sizeof(pid_t), .max = INT32_MAX };
		pid_t *pid = list_add((char *)base + f->at, &have, sizeof(*pid));

		if (!pid)
			return err_sys(err, -ENOMEM, "cannot read the facts");
		memcpy((char *)base + f->count_at, &have, sizeof(have));
		r = read_number(json_array_get(json, n), &one, pid, &here, err);
	}
	return r;
}

static int read_value(const struct field *f, const json_t *json, void *base, const struct place *place, struct err *err)
{
	void *at = (char *)base + f->at;

	switch (f->kind) {
	case KIND_TEXT:
		return read_text(json, place, at, err);
	case KIND_NAME:
		return read_name(json, place, at, err);
	case KIND_TEXTS:
		return read_texts(json, f, base, place, err);
	case KIND_NUMBER:
	case KIND_SIGNED:
		return read_number(json, f, base, place, err);
	case KIND_HEX:
		return read_hex(json, at, place, err);
	case KIND_BOOL:
		if (!json_is_boolean(json))
			return wrong(place, err, "true or false");
		*(bool *)at = json_is_true(json);
		return 0;
	case KIND_LETTER:
		return read_letter(json, at, place, err);
	case KIND_ENUM:
		return read_enum(json, f, at, place, err);
	case KIND_ID:
		return read_id(json, at, place, err);
	case KIND_OBJECT:
		return read_shape(f->shape, json, at, place, err);
	case KIND_LIST:
		return read_list(json, f, base, place, err);
	case KIND_PIDS:
		return read_pids(json, f, base, place, err);
	}
	return -EINVAL;
}

static int read_shape(const struct shape *shape, const json_t *json, void *base, const struct place *place,
		      struct err *err)
{
	if (!json_is_object(json))
		return wrong(place, err, "an object");
	for (size_t n = 0; n < shape->count; n++) {
		const struct field *f = &shape->field[n];
		struct place here = { .in = place, .key = f->key };
		const json_t *value = json_object_get(json, f->key);
		int r = value ? read_value(f, value, base, &here, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int shape_read(const struct shape *shape, const json_t *json, void *base, struct err *err)
{
	return read_shape(shape, json, base, NULL, err);
}
