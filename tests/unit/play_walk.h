/* SPDX-License-Identifier: MIT */
/* The parser of src/bpf/walk.h in user space: the same source, compiled for this machine,
 * and a second one to compare it with, written plainly over the whole stream. What only
 * the verifier wants ('asm') is nothing here. framing_check() is what the unit test and
 * the fuzzer share. */
#ifndef PLAY_WALK_H
#define PLAY_WALK_H

#include "event.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-value"

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name
#undef __always_inline
#define __always_inline inline
#define __noinline static
#define asm
#define volatile(...)
enum {
	BPF_MAP_TYPE_ARRAY = 1,
	BPF_MAP_TYPE_STACK,
	BPF_MAP_TYPE_HASH,
	BPF_MAP_TYPE_TASK_STORAGE,
	BPF_MAP_TYPE_RINGBUF,
	BPF_MAP_TYPE_PERCPU_ARRAY,
	BPF_MAP_TYPE_LRU_HASH,
	BPF_F_MMAPABLE = 1,
	BPF_F_NO_PREALLOC = 1,
};
struct bpf_timer {
	u64 opaque[2];
};
struct user_iovec {
	u64 base, len;
};
#define bpf_map_lookup_elem(map, key) ((void)(key), (void *)NULL)
#define bpf_probe_read_user(to, n, from) (memcpy(to, from, n), 0)
#define bpf_probe_read_kernel(to, n, from) (memcpy(to, from, n), 0)

#include "bpf/walk.h"

#undef asm
#undef volatile

struct verdict {
	u32 phase; /* WALK_OVER, WALK_LOST, WALK_CLOSE; any other: WALK_FIRST, not over */
	size_t end;
	bool bad;
	u32 status;
};

/* Feeds the stream in pieces, each as one buffer or as a vector of small ones. */
static struct verdict walked(const u8 *p, size_t n, u32 flags, u32 seed, bool fastcgi)
{
	struct walk w;
	size_t at = 0;

	walk_begin(&w, fastcgi ? WALK_RECORD : WALK_FIRST, flags);
	while (at < n && w.phase != WALK_OVER && w.phase != WALK_LOST) {
		size_t piece = n - at, skip = 0, used;
		struct user_iovec v[8];
		struct source src = { .readable = 1 };

		if (seed) {
			seed = seed * 1103515245 + 12345;
			piece = MIN(piece, (size_t)(seed >> 16) % 23 + 1);
		}
		src.base = (u64)(uintptr_t)(p + at);
		src.len = piece;
		if (seed & 0x8000) {
			size_t cut = 0;

			src.iov_count = 8;
			for (u32 i = 0; i < 8; i++) {
				v[i].base = (u64)(uintptr_t)(p + at + cut);
				v[i].len = i < 7 ? MIN((size_t)(seed >> i & 3), piece - cut) : piece - cut;
				cut += v[i].len;
			}
			src.base = (u64)(uintptr_t)v;
		}
		while (skip < piece && w.phase != WALK_OVER && w.phase != WALK_LOST) {
			used = walk(&w, &src, skip, 0);
			if (!used)
				abort();
			skip += used;
		}
		at += skip;
	}
	return (struct verdict){ .phase = w.phase >= WALK_CLOSE ? w.phase : WALK_FIRST,
				 .end = w.phase == WALK_OVER ? at : 0,
				 .bad = w.flags & WALK_BAD,
				 .status = w.status };
}

/* ---- the second one ---- */

struct plain {
	const u8 *p;
	size_t n, at;
	bool reply, head, has_length, chunked, coded, bad;
	u64 length;
	u32 status;
};

/* The next line without its newline. False: it is not whole. */
static bool plain_line(struct plain *s, char **ret_line)
{
	const u8 *nl = s->at < s->n ? memchr(s->p + s->at, '\n', s->n - s->at) : NULL;
	size_t len = 0;

	if (!nl)
		return false;
	*ret_line = calloc(1, (size_t)(nl - s->p) - s->at + 1);
	for (const u8 *c = s->p + s->at; c < nl; c++) {
		if (*c != '\r' || len) /* those before it, and blank lines of them alone, are none */
			(*ret_line)[len++] = *c ? (char)*c : '\1'; /* a NUL is only a wrong character */
	}
	s->at = (size_t)(nl - s->p) + 1;
	return true;
}

static void plain_length(struct plain *s, const char *value)
{
	u64 number = 0;
	char *end;

	value += strspn(value, " \t\r");
	end = (char *)value + strspn(value, "0123456789");
	if (end == value || end[strspn(end, " \t\r")])
		s->bad = true;
	for (; value < end; value++) {
		if (number > 0xffffffffffffffull)
			s->bad = true;
		number = number * 10 + (u64)(*value - '0');
	}
	if (s->has_length && number != s->length)
		s->bad = true;
	s->has_length = true;
	s->length = number;
}

static void plain_coding(struct plain *s, const char *value)
{
	bool last = false;

	while (!last) {
		size_t len = strcspn(value, ",");
		const char *word = value + strspn(value, " \t\r"), *stop = value + len;

		last = !value[len];
		while (stop > word && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
			stop--;
		if (s->chunked)
			s->bad = true;
		if (stop > word) {
			s->chunked = stop - word == 7 && !strncasecmp(word, "chunked", 7);
			s->coded = !s->chunked;
		} else if (last && !s->coded) {
			s->bad = true;
		}
		value += len + 1;
	}
}

/* Returns false at the blank line. */
static bool plain_header(struct plain *s, const char *line, bool *framing)
{
	static const struct {
		const char *name;
		void (*take)(struct plain *, const char *);
	} rows[] = { { "content-length", plain_length }, { "transfer-encoding", plain_coding } };
	const char *colon = strchr(line, ':');
	size_t len = 0;
	char name[64];
	bool blank = false;

	if (!*line)
		return false;
	if (*line == ' ' || *line == '\t') {
		s->bad |= *framing;
		return true;
	}
	*framing = false;
	for (const char *c = line; colon && c < colon; c++) {
		if (*c == ' ' || *c == '\t')
			blank = true;
		else if (*c != '\r' && len < sizeof(name) - 1)
			name[len++] = *c;
	}
	name[len] = '\0';
	for (size_t i = 0; colon && i < ARRAY_LEN(rows); i++) {
		if (strcasecmp(name, rows[i].name) != 0)
			continue;
		s->bad |= blank;
		*framing = true;
		rows[i].take(s, colon + 1);
	}
	return true;
}

static u32 plain_chunks(struct plain *s)
{
	char *line;
	bool more;

	for (;;) {
		u64 size = 0;
		char *c;

		/* What is wrong in a line is wrong before the line is whole. */
		for (size_t i = s->at, digits = 0; i < s->n && s->p[i] != '\n'; i++) {
			int x = s->p[i];

			if (strchr("0123456789abcdefABCDEF", x) && x) {
				if (size >> 56)
					return WALK_LOST;
				size = size << 4 | (u64)(x <= '9' ? x - '0' : (x | 32) - 'a' + 10);
				digits++;
			} else if (!digits || !(x == ';' || x == ' ' || x == '\t' || x == '\r')) {
				return WALK_LOST;
			} else if (x != '\r') {
				break;
			}
		}
		if (s->at < s->n && s->p[s->at] == '\n')
			return WALK_LOST;
		if (!plain_line(s, &c))
			return WALK_FIRST;
		free(c);
		if (!size)
			break;
		if (size > s->n - s->at)
			return WALK_FIRST;
		s->at += size;
		while (s->at < s->n && s->p[s->at] == '\r')
			s->at++;
		if (s->at == s->n)
			return WALK_FIRST;
		if (s->p[s->at++] != '\n')
			return WALK_LOST;
	}
	do {
		if (!plain_line(s, &line))
			return WALK_FIRST;
		more = *line;
		free(line);
	} while (more);
	return WALK_OVER;
}

static u32 plain_message(struct plain *s)
{
	bool more = true, framing = false;
	char *line;

	if (!s->reply) {
		do {
			if (!plain_line(s, &line))
				return WALK_FIRST;
			more = !*line;
			free(line);
		} while (more);
	} else {
		const u8 *first = s->p + s->at, *nl = s->at < s->n ? memchr(first, '\n', s->n - s->at) : NULL;

		s->status = 0;
		for (const u8 *c = first + 9; c < first + 12 && c < (nl ? nl : s->p + s->n); c++)
			s->status = *c >= '0' && *c <= '9' ? s->status * 10 + (u32)(*c - '0') : 0;
		if (!nl)
			return WALK_FIRST;
		s->at = (size_t)(nl - s->p) + 1;
	}
	do {
		if (!plain_line(s, &line))
			return WALK_FIRST;
		more = plain_header(s, line, &framing);
		free(line);
	} while (more);
	if (s->reply && s->status >= 100 && s->status < 200 && s->status != 101) {
		s->has_length = s->chunked = s->coded = s->bad = false;
		return plain_message(s);
	}
	if (s->reply && (s->status == 101 || s->head || s->status == 204 || s->status == 304))
		return WALK_OVER;
	if (s->chunked) {
		s->bad |= s->has_length;
		return plain_chunks(s);
	}
	if (s->bad || (s->coded && !s->reply))
		return WALK_LOST;
	if (!s->has_length || s->coded)
		return s->reply ? WALK_CLOSE : WALK_OVER;
	if (s->length > s->n - s->at)
		return WALK_FIRST;
	s->at += s->length;
	return WALK_OVER;
}

static struct verdict plainly(const u8 *p, size_t n, u32 flags)
{
	struct plain s = { .p = p, .n = n, .reply = flags & WALK_REPLY, .head = flags & WALK_HEAD };
	struct verdict v = { .phase = plain_message(&s) };

	v.end = v.phase == WALK_OVER ? s.at : 0;
	v.bad = s.bad;
	v.status = s.status;
	return v;
}

static bool same(const struct verdict *a, const struct verdict *b)
{
	/* A head that is not whole may be found bad a line earlier or later. */
	return a->phase == b->phase && a->end == b->end && (a->phase == WALK_FIRST || a->bad == b->bad) &&
	       (a->phase == WALK_FIRST || a->status == b->status);
}

/* The first two bytes say what it is and how it is cut. False: two of the three differ. */
static bool framing_check(const u8 *data, size_t size)
{
	static const u32 kinds[] = { 0, WALK_REPLY, WALK_REPLY | WALK_HEAD, 0 };
	bool fastcgi;
	struct verdict whole, cut, plain;
	u32 flags;

	if (size < 3)
		return true;
	flags = kinds[data[0] & 3];
	fastcgi = (data[0] & 3) == 3;
	if (fastcgi && data[0] & 4)
		flags = WALK_REPLY;
	whole = walked(data + 2, size - 2, flags, 0, fastcgi);
	cut = walked(data + 2, size - 2, flags, data[1] + 1u, fastcgi);
	if (!same(&whole, &cut))
		return false;
	if (fastcgi)
		return true;
	plain = plainly(data + 2, size - 2, flags);
	return same(&whole, &plain);
}

#endif
