// SPDX-License-Identifier: MIT
/* The small words that every page shares. Rejected: wcwidth (depends on the locale
 * of who happens to render). Trap: the same incident must give the same bytes on
 * any machine, so nothing here asks for time zone, locale or terminal. */
#include "report_words.h"

#include "ktime.h"

#include <inttypes.h>
#include <string.h>

#define COLUMNS 80

struct word word_duration(uint64_t ns)
{
	double ms = ns_to_ms(ns);
	uint64_t s = ns / NSEC_PER_SEC + (ns % NSEC_PER_SEC >= NSEC_PER_SEC / 2);
	struct word w;

	if (ns < 1000)
		snprintf(w.s, sizeof(w.s), "%u ns", (unsigned int)ns);
	else if (ms < 0.9995)
		snprintf(w.s, sizeof(w.s), "%.0f us", ms * 1000);
	else if (ms < 9.995)
		snprintf(w.s, sizeof(w.s), "%.2f ms", ms);
	else if (ms < 99.95)
		snprintf(w.s, sizeof(w.s), "%.1f ms", ms);
	else if (ms < 999.5)
		snprintf(w.s, sizeof(w.s), "%.0f ms", ms);
	else if (ms < 9995)
		snprintf(w.s, sizeof(w.s), "%.2f s", ms / 1000);
	else if (ms < 59950)
		snprintf(w.s, sizeof(w.s), "%.1f s", ms / 1000);
	else if (s < 3600)
		snprintf(w.s, sizeof(w.s), "%um %02us", (unsigned int)(s / 60), (unsigned int)(s % 60));
	else if (s < 100 * 3600)
		snprintf(w.s, sizeof(w.s), "%uh %02um", (unsigned int)(s / 3600), (unsigned int)(s / 60 % 60));
	else
		snprintf(w.s, sizeof(w.s), "%" PRIu64 " d", s / 86400);
	return w;
}

struct word word_ms(uint64_t ns)
{
	struct word w;

	snprintf(w.s, sizeof(w.s), "%" PRIu64 ".%03u", (uint64_t)(ns / NSEC_PER_MSEC),
		 (unsigned int)(ns / 1000 % 1000));
	return w;
}

struct word word_bytes(uint64_t bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes / 1024;
	size_t k = 0;
	struct word w;

	if (bytes < 1024) {
		snprintf(w.s, sizeof(w.s), "%u B", (unsigned int)bytes);
		return w;
	}
	for (; n >= 1023.95 && k + 1 < ARRAY_LEN(unit); k++)
		n /= 1024;
	snprintf(w.s, sizeof(w.s), "%.1f %s", n, unit[k]);
	return w;
}

struct word word_count(uint64_t count)
{
	char digits[32];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, count), n = 0;
	struct word w;

	for (size_t k = 0; k < len; k++) {
		if (k && (len - k) % 3 == 0)
			w.s[n++] = ',';
		w.s[n++] = digits[k];
	}
	w.s[n] = '\0';
	return w;
}

struct word word_fd(int fd)
{
	struct word w;

	snprintf(w.s, sizeof(w.s), "fd %d", fd);
	return w;
}

struct word word_percent(unsigned int permille)
{
	struct word w;

	snprintf(w.s, sizeof(w.s), "%u.%u %%", permille / 10, permille % 10);
	return w;
}

struct word word_wall(uint64_t wall)
{
	time_t seconds = (time_t)(wall / NSEC_PER_SEC);
	struct word w;
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(w.s, sizeof(w.s), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(w.s + n, sizeof(w.s) - n, ".%03u UTC", (unsigned int)(wall / NSEC_PER_MSEC % 1000));
	return w;
}

const char *word_plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

struct word word_title(const struct incident *incident)
{
	struct word w;

	switch (incident->reason) {
	case REASON_STATUS_CODE:
		if (incident->status)
			snprintf(w.s, sizeof(w.s), "FAILED REQUEST %d", incident->status);
		else
			snprintf(w.s, sizeof(w.s), "FAILED REQUEST");
		return w;
	case REASON_ABORTED:
		snprintf(w.s, sizeof(w.s), "ABORTED REQUEST");
		return w;
	case REASON_RESPONSE_SIZE:
		snprintf(w.s, sizeof(w.s), "LARGE RESPONSE");
		return w;
	case REASON_APP_MARK:
		snprintf(w.s, sizeof(w.s), "MARKED REQUEST");
		return w;
	case REASON_TIME_TAKEN:
		break;
	}
	snprintf(w.s, sizeof(w.s), "SLOW REQUEST");
	return w;
}

/* --- threads --- */

const struct thread *holder_thread(const struct incident *incident)
{
	for (size_t n = 0; n < incident->analysis.thread_count; n++) {
		if (incident->analysis.thread[n].holder)
			return &incident->analysis.thread[n];
	}
	return NULL;
}

char *event_words(const struct trace_event *e)
{
	const char *name = e->name ? e->name : "", *detail = e->detail ? e->detail : "";
	size_t len = strlen(name);
	char *text = NULL;

	/* 'futex 0x7f..' says its call itself */
	if (!*detail || (!strncmp(detail, name, len) && detail[len] == ' '))
		text_set(&text, *detail ? detail : name);
	else
		text_setf(&text, "%s%s%s", name, *name ? ": " : "", detail);
	return text;
}

char *thread_name(const struct incident *i, pid_t tid)
{
	const char *process = tid == i->holder_tid ? i->process.comm : NULL;
	char *name = NULL;

	for (size_t n = 0; n < i->chain_count && !process; n++) {
		const struct hop *h = &i->chain[n];

		process = (h->tid ? h->tid : h->pid) == tid ? h->process : NULL;
	}
	for (size_t n = 0; n < i->analysis.thread_count && !process; n++)
		process = i->analysis.thread[n].tid == tid ? i->analysis.thread[n].comm : NULL;
	text_setf(&name, "%s %d", process && process[0] ? process : "thread", tid);
	return name;
}

const char *frame_function(const struct frame *frame)
{
	return frame->function && frame->function[0] ? frame->function : "??";
}

char *frame_called(const struct frame *frame)
{
	char *text = NULL;

	if (frame->arguments)
		text_setf(&text, "%s(%s)", frame_function(frame), frame->arguments);
	else
		text_set(&text, frame_function(frame));
	if (frame->inlined)
		text_setf(&text, "%s (inlined)", text ? text : "");
	return text;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_stack(const struct stack *a, const struct stack *b)
{
	if (a->count != b->count || !same_text(a->unavailable, b->unavailable))
		return false;
	for (size_t n = 0; n < a->count; n++) {
		const struct frame *x = &a->frame[n], *y = &b->frame[n];

		if (x->line != y->line || !same_text(x->function, y->function) || !same_text(x->file, y->file) ||
		    !same_text(x->module, y->module))
			return false;
	}
	return true;
}

#define PORT_OWN 32768 /* from here on the kernel gives ports to who asks for none (ip_local_port_range) */

/* The address in front of a port that is nobody's but that connection's. */
static size_t address_before(const char *text, size_t at)
{
	size_t n = at;

	while (n && strchr("0123456789abcdef.:[]", text[n - 1]))
		n--;
	return at - n;
}

/* What a thread waits for without what differs among threads that do the same: the address of a
 * lock, the number of a descriptor, an inode, a client. On the heap; NULL for NULL. */
static char *wait_kind(const char *text)
{
	struct buf out;

	if (!text)
		return NULL;
	buf_init(&out, SIZE_MAX / 2);
	buf_adds(&out, "");
	for (size_t n = 0; text[n];) {
		size_t digits = strspn(text + n, "0123456789");
		char before = n ? text[n - 1] : ' ';

		if (before == 'x' && n > 1 && text[n - 2] == '0') {
			digits = strspn(text + n, "0123456789abcdef");
		} else if (digits && before == ':' && strtoul(text + n, NULL, 10) >= PORT_OWN) {
			out.len -= MIN(address_before(text, n), out.len);
		} else if (digits && before != '[' && !(n > 2 && !strncmp(text + n - 3, "fd ", 3))) {
			buf_add(&out, text + n, digits);
		}
		n += digits;
		if (text[n])
			buf_add(&out, text + n++, 1);
	}
	return buf_take(&out);
}

static bool same_doing(const struct thread *a, const struct thread *b)
{
	return a->state == b->state && same_text(a->call, b->call) && same_stack(&a->script, &b->script) &&
	       same_stack(&a->stack, &b->stack);
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)(text ? text : "\1"); *p; p++)
		h = (h ^ *p) * 0x100000001b3ull;
	return (h ^ 0xff) * 0x100000001b3ull;
}

static uint64_t hash_thread(const struct thread *t, const char *kind)
{
	const struct stack *stack[] = { &t->script, &t->stack };
	uint64_t h = hash_text(hash_text(0xcbf29ce484222325ull + (unsigned char)t->state, t->call), kind);

	for (size_t k = 0; k < ARRAY_LEN(stack); k++) {
		for (size_t n = 0; n < stack[k]->count; n++)
			h = hash_text(h + stack[k]->frame[n].line, stack[k]->frame[n].function);
	}
	return h;
}

struct keyed {
	uint64_t hash;
	size_t index;
	char *kind; /* of what it waits for */
	bool taken;
};

static int by_hash(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static int by_size(const void *a, const void *b)
{
	const struct thread_group *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->member[0] < y->member[0] ? -1 : 1;
}

/* One group from the run of equal hashes that begins at 'first'. */
static int group_from(const struct thread *thread, struct keyed *key, size_t first, size_t count,
		      struct thread_group *group)
{
	for (size_t n = first; n < count && key[n].hash == key[first].hash; n++) {
		size_t *at;

		if (key[n].taken || !same_text(key[first].kind, key[n].kind) ||
		    !same_doing(&thread[key[first].index], &thread[key[n].index]))
			continue;
		key[n].taken = true;
		if (!same_text(thread[key[first].index].waits_for, thread[key[n].index].waits_for))
			group->apart = true;
		at = list_add(&group->member, &group->count, sizeof(*at));
		if (!at)
			return -ENOMEM;
		*at = key[n].index;
	}
	return 0;
}

int threads_group(const struct incident *incident, struct thread_group **ret_groups, size_t *ret_count)
{
	const struct analysis *a = &incident->analysis;
	const struct thread *holder = holder_thread(incident);
	CLEAN(free) struct keyed *key = calloc(a->thread_count + 1, sizeof(*key));
	struct thread_group *groups = NULL;
	size_t keys = 0, count = 0;
	int r = 0;

	if (!key)
		return -ENOMEM;
	for (size_t n = 0; n < a->thread_count; n++) {
		char *kind = &a->thread[n] != holder ? wait_kind(a->thread[n].waits_for) : NULL;

		if (&a->thread[n] != holder)
			key[keys++] = (struct keyed){ hash_thread(&a->thread[n], kind), n, kind, false };
	}
	qsort(key, keys, sizeof(*key), by_hash);
	for (size_t n = 0; r == 0 && n < keys; n++) {
		struct thread_group *group = key[n].taken ? NULL : list_add(&groups, &count, sizeof(*group));

		if (group)
			r = group_from(a->thread, key, n, keys, group);
		else if (!key[n].taken)
			r = -ENOMEM;
	}
	for (size_t n = 0; n < keys; n++)
		free(key[n].kind);
	if (r < 0) {
		thread_groups_free(groups, count);
		return r;
	}
	if (count)
		qsort(groups, count, sizeof(*groups), by_size);
	*ret_groups = groups;
	*ret_count = count;
	return 0;
}

void thread_groups_free(struct thread_group *groups, size_t count)
{
	for (size_t n = 0; n < count; n++)
		free(groups[n].member);
	free(groups);
}

/* --- escaping --- */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

void add_clean(struct buf *out, const char *text, size_t len)
{
	while (len) {
		const char *slash = memchr(text, '\\', len);
		size_t n = slash ? (size_t)(slash - text) : len;

		buf_add_escaped(out, text, n);
		text += n;
		len -= n;
		if (!len)
			break;
		if (len >= 4 && text[1] == 'x' && is_hex(text[2]) && is_hex(text[3]))
			buf_add_escaped(out, text, 1);
		else
			buf_add(out, text, 1);
		text++;
		len--;
	}
}

void add_html(struct buf *out, const char *text, size_t len)
{
	static const struct {
		char c;
		const char *entity;
	} row[] = { { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&quot;" }, { '\'', "&#39;" } };
	struct buf clean;

	buf_init(&clean, out->max);
	add_clean(&clean, text, len);
	for (size_t n = 0; n < clean.len; n++) {
		const char *entity = NULL;

		for (size_t k = 0; k < ARRAY_LEN(row); k++) {
			if (clean.data[n] == row[k].c)
				entity = row[k].entity;
		}
		if (entity)
			buf_adds(out, entity);
		else
			buf_add(out, clean.data + n, 1);
	}
	if (clean.full)
		out->full = true;
	buf_done(&clean);
}

/* --- columns --- */

static size_t columns_of(uint32_t cp)
{
	static const struct {
		uint32_t from, to, columns;
	} row[] = {
		{ 0x300, 0x36f, 0 },	 { 0x483, 0x489, 0 },	  { 0x591, 0x5bd, 0 },	   { 0x610, 0x61a, 0 },
		{ 0x64b, 0x65f, 0 },	 { 0x1100, 0x115f, 2 },	  { 0x1ab0, 0x1aff, 0 },   { 0x1dc0, 0x1dff, 0 },
		{ 0x20d0, 0x20ff, 0 },	 { 0x231a, 0x231b, 2 },	  { 0x23e9, 0x23f3, 2 },   { 0x25fd, 0x25fe, 2 },
		{ 0x2614, 0x2615, 2 },	 { 0x2648, 0x2653, 2 },	  { 0x267f, 0x267f, 2 },   { 0x2693, 0x2693, 2 },
		{ 0x26a1, 0x26a1, 2 },	 { 0x26aa, 0x26ab, 2 },	  { 0x26bd, 0x26be, 2 },   { 0x26c4, 0x26c5, 2 },
		{ 0x26ce, 0x26fd, 2 },	 { 0x2705, 0x2705, 2 },	  { 0x270a, 0x270b, 2 },   { 0x2728, 0x2728, 2 },
		{ 0x274c, 0x274e, 2 },	 { 0x2753, 0x2757, 2 },	  { 0x2795, 0x2797, 2 },   { 0x27b0, 0x27bf, 2 },
		{ 0x2b1b, 0x2b1c, 2 },	 { 0x2b50, 0x2b55, 2 },	  { 0x2e80, 0x303e, 2 },   { 0x3041, 0xa4cf, 2 },
		{ 0xa960, 0xa97f, 2 },	 { 0xac00, 0xd7a3, 2 },	  { 0xf900, 0xfaff, 2 },   { 0xfe10, 0xfe19, 2 },
		{ 0xfe20, 0xfe2f, 0 },	 { 0xfe30, 0xfe6f, 2 },	  { 0xff00, 0xff60, 2 },   { 0xffe0, 0xffe6, 2 },
		{ 0x16fe0, 0x18cff, 2 }, { 0x1b000, 0x1b2ff, 2 }, { 0x1f004, 0x1f004, 2 }, { 0x1f0cf, 0x1f0cf, 2 },
		{ 0x1f18e, 0x1f19a, 2 }, { 0x1f1e6, 0x1f64f, 2 }, { 0x1f680, 0x1f6ff, 2 }, { 0x1f7e0, 0x1f7eb, 2 },
		{ 0x1f90c, 0x1f9ff, 2 }, { 0x1fa70, 0x1faff, 2 }, { 0x20000, 0x3fffd, 2 },
	};

	for (size_t n = 0; n < ARRAY_LEN(row) && cp >= row[n].from; n++) {
		if (cp <= row[n].to)
			return row[n].columns;
	}
	return 1;
}

size_t char_columns(const char *p, size_t left, size_t *ret_columns)
{
	unsigned char lead = (unsigned char)p[0];
	size_t n = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	uint32_t cp = n == 1 ? lead : lead & (0xffu >> (n + 1));

	if (n > left)
		n = 1;
	for (size_t k = 1; k < n; k++)
		cp = cp << 6 | ((unsigned char)p[k] & 0x3f);
	*ret_columns = columns_of(cp);
	return n;
}

size_t text_columns(const char *text, size_t len)
{
	size_t columns = 0, one;

	for (size_t n = 0; n < len; columns += one)
		n += char_columns(text + n, len - n, &one);
	return columns;
}

void add_wrapped(struct buf *out, const char *lead, const char *text, size_t indent)
{
	size_t begin = strlen(lead), at = begin;

	buf_adds(out, lead);
	while (*text) {
		size_t len = strcspn(text, " "), columns = text_columns(text, len);

		if (at > begin && at + 1 + columns > COLUMNS) {
			buf_addf(out, "\n%*s", (int)indent, "");
			begin = at = indent; /* which may be less than the lead */
		} else if (at > begin) {
			buf_adds(out, " ");
			at++;
		}
		buf_add(out, text, len);
		at += columns;
		text += len + (text[len] == ' ');
	}
	buf_adds(out, "\n");
}

void add_tail(struct buf *out, const char *text, size_t columns_most)
{
	struct buf clean;
	size_t len, one, at = 0, columns;

	buf_init(&clean, 65536);
	add_clean(&clean, text, strlen(text));
	columns = text_columns(clean.data ? clean.data : "", len = clean.len);
	if (columns > columns_most) {
		buf_adds(out, "...");
		for (columns += 3; at < len && columns > columns_most; columns -= one)
			at += char_columns(clean.data + at, len - at, &one);
	}
	if (len)
		buf_add(out, clean.data + at, len - at);
	buf_done(&clean);
}

void add_head(struct buf *out, const char *text, size_t columns_most)
{
	struct buf clean;
	size_t at = 0, one, columns = 0;

	buf_init(&clean, 65536);
	add_clean(&clean, text, strlen(text));
	if (text_columns(clean.data ? clean.data : "", clean.len) <= columns_most) {
		buf_adds(out, clean.data ? clean.data : "");
	} else {
		while (at < clean.len) {
			size_t n = char_columns(clean.data + at, clean.len - at, &one);

			if (columns + one + 3 > columns_most)
				break;
			at += n;
			columns += one;
		}
		buf_add(out, clean.data, at);
		buf_adds(out, "...");
	}
	buf_done(&clean);
}

bool task_equal(const struct task *a, const struct task *b)
{
	return same_text(a->waits_for, b->waits_for) && same_stack(&a->stack, &b->stack);
}

size_t task_equals(const struct analysis *a, size_t index)
{
	size_t count = 1;

	for (size_t n = 0; n < index; n++) {
		if (task_equal(&a->task[n], &a->task[index]))
			return 0;
	}
	for (size_t n = index + 1; n < a->task_count; n++)
		count += task_equal(&a->task[index], &a->task[n]);
	return count;
}
