// SPDX-License-Identifier: MIT
/* The incident as JSON, both ways, from one table of fields per struct: what is
 * written is what is read. Rejected: a hand-written pair of functions per struct
 * (they drift apart), and jansson for writing (a second copy of everything in
 * memory). Trap: the file may come from somebody else, by mail; nothing in it
 * may make us allocate, index or open more than the tables below allow. */
#include "facts.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

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
	uint64_t max;	 /* KIND_NUMBER: value; lists: elements; KIND_ENUM: how many names */
	const struct shape *shape;
	const char *(*name)(unsigned int value);
};

struct shape {
	const struct field *field;
	size_t count, size;
	bool row; /* element of a list: on one line, defaults left out */
};

#define AT(type, member) .at = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define TEXT(type, member) { .key = #member, .kind = KIND_TEXT, AT(type, member) }
#define TEXTS(type, member, most) { .key = #member, .kind = KIND_TEXTS, AT(type, member), .max = (most) }
#define NUMBER(type, member) { .key = #member, .kind = KIND_NUMBER, AT(type, member), .max = INT64_MAX }
#define NUMBER32(type, member) { .key = #member, .kind = KIND_NUMBER, AT(type, member), .max = UINT32_MAX }
#define PID(type, member) { .key = #member, .kind = KIND_NUMBER, AT(type, member), .max = INT32_MAX }
#define SIGNED(type, member) { .key = #member, .kind = KIND_SIGNED, AT(type, member) }
#define FLAG(type, member) { .key = #member, .kind = KIND_BOOL, AT(type, member) }
#define CHOICE(type, member, names, n) \
	{ .key = #member, .kind = KIND_ENUM, AT(type, member), .name = (names), .max = (n) }
#define OBJECT(type, member, of) { .key = #member, .kind = KIND_OBJECT, AT(type, member), .shape = &(of) }
#define LIST(type, member, count_member, of, most)                                              \
	{ .key = #member, .kind = KIND_LIST, AT(type, member), .count_at = offsetof(type, count_member), \
	  .shape = &(of), .max = (most) }
#define SHAPE(fields, type, is_row) { .field = (fields), .count = ARRAY_LEN(fields), .size = sizeof(type), .row = (is_row) }

static const char *reason_at(unsigned int n) { return reason_name((enum reason)n); }
static const char *protocol_at(unsigned int n) { return protocol_name((enum protocol)n); }
static const char *method_at(unsigned int n) { return capture_method_name((enum capture_method)n); }
static const char *action_at(unsigned int n) { return action_state_name((enum action_state)n); }

static const char *spend_at(unsigned int n)
{
	static const char *const name[] = { "cpu", "runnable", "wait", "unattributed" };

	return name[n];
}

static const struct field request_fields[] = {
	CHOICE(struct request_info, protocol, protocol_at, PROTOCOL_FASTCGI + 1),
	TEXT(struct request_info, method),
	TEXT(struct request_info, url),
	TEXT(struct request_info, host),
	TEXT(struct request_info, user_agent),
	TEXT(struct request_info, client),
	FLAG(struct request_info, head_cut),
	NUMBER(struct request_info, request_bytes),
	NUMBER(struct request_info, response_bytes),
};
static const struct shape request_shape = SHAPE(request_fields, struct request_info, false);

static const struct field hop_fields[] = {
	PID(struct hop, pid),
	PID(struct hop, tid),
	TEXT(struct hop, process),
	TEXT(struct hop, via),
};
static const struct shape hop_shape = SHAPE(hop_fields, struct hop, true);

static const struct field spending_fields[] = {
	CHOICE(struct spending, kind, spend_at, SPEND_UNATTRIBUTED + 1),
	TEXT(struct spending, call),
	TEXT(struct spending, object),
	NUMBER(struct spending, ns),
	NUMBER(struct spending, count),
	FLAG(struct spending, open),
};
static const struct shape spending_shape = SHAPE(spending_fields, struct spending, true);

static const struct field event_fields[] = {
	NUMBER(struct trace_event, at_ns),
	NUMBER(struct trace_event, dur_ns),
	PID(struct trace_event, pid),
	PID(struct trace_event, tid),
	TEXT(struct trace_event, kind),
	TEXT(struct trace_event, name),
	TEXT(struct trace_event, detail),
	NUMBER(struct trace_event, bytes),
	NUMBER(struct trace_event, count),
	PID(struct trace_event, waker),
};
static const struct shape event_shape = SHAPE(event_fields, struct trace_event, true);

static const struct field frame_fields[] = {
	TEXT(struct frame, function),
	TEXT(struct frame, file),
	NUMBER32(struct frame, line),
	TEXT(struct frame, module),
	{ .key = "pc", .kind = KIND_HEX, AT(struct frame, pc) },
	FLAG(struct frame, script),
};
static const struct shape frame_shape = SHAPE(frame_fields, struct frame, true);

static const struct field stack_fields[] = {
	LIST(struct stack, frame, count, frame_shape, 4096),
	TEXT(struct stack, unavailable),
};
static const struct shape stack_shape = SHAPE(stack_fields, struct stack, true);

static const struct field thread_fields[] = {
	PID(struct thread, tid),
	TEXT(struct thread, comm),
	{ .key = "state", .kind = KIND_LETTER, AT(struct thread, state) },
	TEXT(struct thread, call),
	TEXT(struct thread, waits_for),
	PID(struct thread, waits_for_tid),
	FLAG(struct thread, holder),
	OBJECT(struct thread, script, stack_shape),
	OBJECT(struct thread, stack, stack_shape),
};
static const struct shape thread_shape = SHAPE(thread_fields, struct thread, true);

static const struct field lock_fields[] = {
	TEXT(struct lock, name),
	PID(struct lock, owner),
	TEXT(struct lock, owner_name),
	{ .key = "waiter", .kind = KIND_PIDS, AT(struct lock, waiter), .count_at = offsetof(struct lock, waiter_count),
	  .max = 1u << 17 },
};
static const struct shape lock_shape = SHAPE(lock_fields, struct lock, true);

static const struct field analysis_fields[] = {
	TEXT(struct analysis, failed),
	TEXT(struct analysis, language),
	TEXTS(struct analysis, note, 4096),
	TEXTS(struct analysis, deadlock, 1024),
	LIST(struct analysis, lock, lock_count, lock_shape, 1u << 16),
	LIST(struct analysis, thread, thread_count, thread_shape, 1u << 17),
};
static const struct shape analysis_shape = SHAPE(analysis_fields, struct analysis, false);

static const struct field process_fields[] = {
	PID(struct process_facts, pid),
	TEXT(struct process_facts, comm),
	TEXT(struct process_facts, exe),
	TEXT(struct process_facts, cmdline),
	TEXT(struct process_facts, cgroup),
	TEXT(struct process_facts, language),
	NUMBER(struct process_facts, rss_bytes),
	NUMBER32(struct process_facts, thread_count),
	NUMBER32(struct process_facts, uid),
};
static const struct shape process_shape = SHAPE(process_fields, struct process_facts, false);

static const struct field omission_fields[] = {
	TEXT(struct omission, range),
	TEXT(struct omission, why),
};
static const struct shape omission_shape = SHAPE(omission_fields, struct omission, true);

static const struct field capture_fields[] = {
	CHOICE(struct capture_facts, method, method_at, METHOD_STOP + 1),
	TEXT(struct capture_facts, why_not_clone),
	TEXT(struct capture_facts, failed),
	NUMBER(struct capture_facts, started_after_ns),
	NUMBER(struct capture_facts, pause_ns),
	NUMBER(struct capture_facts, wall_ns),
	FLAG(struct capture_facts, running_at_snapshot),
	FLAG(struct capture_facts, core_complete),
	{ .key = "core_file", .kind = KIND_NAME, AT(struct capture_facts, core_file) },
	NUMBER(struct capture_facts, core_bytes),
	NUMBER(struct capture_facts, core_bytes_on_disk),
	LIST(struct capture_facts, omitted, omitted_count, omission_shape, 1u << 17),
};
static const struct shape capture_shape = SHAPE(capture_fields, struct capture_facts, false);

static const struct field action_fields[] = {
	CHOICE(struct action_facts, state, action_at, ACTION_DISABLED + 1),
	TEXTS(struct action_facts, argv, 4096),
	SIGNED(struct action_facts, exit_code),
	NUMBER(struct action_facts, took_ns),
	FLAG(struct action_facts, output_cut),
	TEXT(struct action_facts, why),
	TEXT(struct action_facts, output),
};
static const struct shape action_shape = SHAPE(action_fields, struct action_facts, false);

static const struct field losses_fields[] = {
	NUMBER(struct losses, events_overwritten),
	NUMBER(struct losses, ring_lost),
	NUMBER(struct losses, refused),
	NUMBER(struct losses, blind_io),
};
static const struct shape losses_shape = SHAPE(losses_fields, struct losses, false);

static const struct field incident_fields[] = {
	{ .key = "id", .kind = KIND_ID, AT(struct incident, id) },
	NUMBER(struct incident, started_wall_ns),
	NUMBER(struct incident, trapped_wall_ns),
	TEXT(struct incident, host_name),
	TEXT(struct incident, kernel),
	TEXT(struct incident, version),
	TEXT(struct incident, verdict),
	TEXT(struct incident, confidence),
	TEXT(struct incident, advice),
	TEXTS(struct incident, evidence, 1024),
	TEXT(struct incident, rule),
	CHOICE(struct incident, reason, reason_at, REASON_ABORTED + 1),
	TEXTS(struct incident, also_matched, 4096),
	NUMBER(struct incident, limit_ns),
	NUMBER(struct incident, elapsed_ns),
	NUMBER(struct incident, fired_after_ns),
	FLAG(struct incident, limit_reached),
	TEXT(struct incident, suppressed),
	OBJECT(struct incident, request, request_shape),
	LIST(struct incident, chain, chain_count, hop_shape, 256),
	PID(struct incident, holder_pid),
	PID(struct incident, holder_tid),
	OBJECT(struct incident, process, process_shape),
	FLAG(struct incident, ended),
	SIGNED(struct incident, status),
	NUMBER(struct incident, time_taken_ns),
	TEXT(struct incident, end_note),
	LIST(struct incident, spending, spending_count, spending_shape, 1u << 16),
	OBJECT(struct incident, capture, capture_shape),
	OBJECT(struct incident, action, action_shape),
	OBJECT(struct incident, losses, losses_shape),
	OBJECT(struct incident, analysis, analysis_shape),
	LIST(struct incident, trace, trace_count, event_shape, 1u << 20),
};
static const struct shape incident_shape = SHAPE(incident_fields, struct incident, false);

/* --- text --- */

/* Bytes of the well-formed UTF-8 sequence at p, 0 if there is none. NUL-terminated. */
static size_t sequence_len(const unsigned char *p)
{
	uint32_t cp;
	size_t n;

	if (p[0] < 0x80)
		return 1;
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
	return n;
}

char *facts_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	struct buf out;

	buf_init(&out, SIZE_MAX / 2);
	buf_adds(&out, "");
	while (*p) {
		size_t n = sequence_len(p);

		if (n)
			buf_add(&out, p, n);
		else
			buf_adds(&out, "\xef\xbf\xbd");
		p += n ? n : 1;
	}
	if (out.full) {
		buf_done(&out);
		return NULL;
	}
	return buf_take(&out);
}

void facts_add_string(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t room = FACTS_TEXT_MAX - 64; /* for the mark */

	if (!text) {
		buf_adds(out, "null");
		return;
	}
	buf_adds(out, "\"");
	for (size_t n = 1; *p; p += n ? n : 1) {
		size_t put;

		n = sequence_len(p);
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
		else if (*p < 0x20 || *p == 0x7f)
			buf_addf(out, "\\u%04x", *p);
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

static bool is_default(const void *base, const struct field *f)
{
	if (f->kind == KIND_LIST || f->kind == KIND_PIDS)
		return count_of(base, f) == 0;
	if (f->kind == KIND_ENUM)
		return false; /* reads better when it stands */
	for (size_t n = 0; n < f->size; n++) {
		if (((const char *)member(base, f))[n])
			return false;
	}
	return true;
}

/* --- writing --- */

static int write_shape(const struct shape *shape, const void *base, int indent, struct buf *out, struct err *err);

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
		r = write_shape(f->shape, row + n * f->shape->size, -1, out, err);
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
		facts_add_string(out, list[n]);
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

static uint64_t number_to_write(const void *base, const struct field *f)
{
	uint64_t n = number_of(base, f);

	if (f->max == INT32_MAX && n > INT32_MAX)
		return 0; /* a pid that was never known: -1 */
	return MIN(n, f->max);
}

static int write_value(const struct field *f, const void *base, int indent, struct buf *out, struct err *err)
{
	char letter[2] = "";

	switch (f->kind) {
	case KIND_TEXT:
	case KIND_NAME:
		facts_add_string(out, pointer_of(base, f));
		return 0;
	case KIND_ID:
		facts_add_string(out, member(base, f));
		return 0;
	case KIND_LETTER:
		letter[0] = *(const char *)member(base, f);
		facts_add_string(out, letter);
		return 0;
	case KIND_NUMBER:
		buf_addf(out, "%" PRIu64, number_to_write(base, f));
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
		facts_add_string(out, f->name((unsigned int)number_of(base, f)));
		return 0;
	case KIND_TEXTS:
		return write_texts(f, pointer_of(base, f), out, err);
	case KIND_PIDS:
		return write_pids(f, base, out, err);
	case KIND_LIST:
		return write_list(f, base, indent, out, err);
	case KIND_OBJECT:
		return write_shape(f->shape, member(base, f), indent, out, err);
	}
	return -EINVAL;
}

static int write_fields(const struct shape *shape, const void *base, int indent, bool first, struct buf *out,
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

static int write_shape(const struct shape *shape, const void *base, int indent, struct buf *out, struct err *err)
{
	int r;

	buf_adds(out, "{");
	r = write_fields(shape, base, indent, true, out, err);
	if (indent >= 0)
		new_line(out, indent);
	buf_adds(out, "}");
	return r;
}

static int written(const struct buf *out, struct err *err)
{
	if (out->full)
		return err_say(err, -E2BIG, "cannot write the facts: more than %zu bytes, or out of memory", out->max);
	return 0;
}

int facts_write(const struct incident *incident, struct buf *out, struct err *err)
{
	int r;

	buf_addf(out, "{\n \"schema\": %d", INCIDENT_SCHEMA);
	r = write_fields(&incident_shape, incident, 0, false, out, err);
	buf_adds(out, "\n}\n");
	return r < 0 ? r : written(out, err);
}

int analysis_write(const struct analysis *analysis, struct buf *out, struct err *err)
{
	int r = write_shape(&analysis_shape, analysis, -1, out, err);

	buf_adds(out, "\n");
	return r < 0 ? r : written(out, err);
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
	if (json_string_length(json) > FACTS_TEXT_MAX)
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

	if (!text || strlen(text) > 1 || (text[0] && (text[0] <= 0x20 || text[0] >= 0x7f)))
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

static int read_texts(const json_t *json, const struct field *f, void *base, const struct place *place,
		      struct err *err)
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

static int read_list(const json_t *json, const struct field *f, void *base, const struct place *place,
		     struct err *err)
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

static int read_pids(const json_t *json, const struct field *f, void *base, const struct place *place,
		     struct err *err)
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

static int read_value(const struct field *f, const json_t *json, void *base, const struct place *place,
		      struct err *err)
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

static void clean_json(json_t **json)
{
	json_decref(*json);
}

static int parse(const char *text, size_t len, size_t max, json_t **ret_json, struct err *err)
{
	json_error_t where;

	if (len > max)
		return err_say(err, -E2BIG, "cannot read the facts: %zu bytes, at most %zu are read", len, max);
	*ret_json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!*ret_json)
		return err_say(err, -EINVAL, "not well-formed JSON: line %d, column %d: %s", where.line, where.column,
			       where.text);
	return 0;
}

int facts_read(const char *text, size_t len, struct incident **ret_incident, struct err *err)
{
	CLEAN(json) json_t *json = NULL;
	struct incident *incident;
	const json_t *schema;
	int r = parse(text, len, FACTS_BYTES_MAX, &json, err);

	if (r < 0)
		return r;
	schema = json_object_get(json, "schema");
	if (!json_is_integer(schema) || json_integer_value(schema) < 1)
		return err_say(err, -EINVAL, "wrong value of 'schema': expected a whole number: is this an incident.json?");
	if (json_integer_value(schema) > INCIDENT_SCHEMA)
		return err_say(err, -EPROTO, "written by a newer reqtrap (schema %lld, this one reads up to %d)",
			       (long long)json_integer_value(schema), INCIDENT_SCHEMA);
	if (!json_object_get(json, "id"))
		return err_say(err, -EINVAL, "'id' is missing");
	incident = incident_new();
	if (!incident)
		return err_sys(err, -ENOMEM, "cannot read the facts");
	r = read_shape(&incident_shape, json, incident, NULL, err);
	if (r < 0) {
		incident_free(incident);
		return r;
	}
	*ret_incident = incident;
	return 0;
}

int analysis_read(const char *text, size_t len, struct analysis *ret_analysis, struct err *err)
{
	CLEAN(json) json_t *json = NULL;
	struct analysis analysis = { 0 };
	int r = parse(text, len, ANALYSIS_BYTES_MAX, &json, err);

	if (r < 0)
		return r;
	r = read_shape(&analysis_shape, json, &analysis, NULL, err);
	if (r < 0) {
		analysis_done(&analysis);
		return r;
	}
	*ret_analysis = analysis;
	return 0;
}
