/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The bytes of one socket call in the caller's memory: heads are copied and looked
 * through for their framing; what is not plain in them, and bodies, is walk.h's. Knows
 * nothing of connections. */
#ifndef REQTRAP_BPF_BYTES_H
#define REQTRAP_BPF_BYTES_H

#include "maps.h"

#define SOURCE_KEPT 2 /* 'readable': they lie in a slot */

/* The bytes of one socket call in the caller's memory. */
struct source {
	u64 base;		   /* the buffer, or the iovec array */
	u64 first_base, first_len; /* the array's first buffer, 0: not known */
	u16 iov_count;		   /* 0: one buffer */
	u16 readable;		   /* 0: only the length is known (sendfile, io_uring) */
	u32 port;		   /* the socket's own; 0: a unix socket */
	u64 len;		   /* bytes that were moved */
	s32 fd;
	s32 nr;
	u64 sk;
	u64 now;      /* of the call: one look at the clock for all that follows from it */
	u64 task;     /* that makes it */
	u64 id;	      /* tgid and thread */
	u64 unix_ino; /* of a unix socket's file */
};

#define TAKE_PARTS 64 /* buffers of one call that are looked at for a head */

struct taking {
	u64 skip, left; /* bytes of the call that are none of ours; those that are */
	u32 to, room;
};

/* What one buffer has of it. A function of its own, so that the verifier looks at it once.
 * Returns 0 when there is no more to take. */
__noinline int take_part(struct slot *s, const struct source *src, struct taking *t, u32 reply, u32 i)
{
	struct user_iovec v;
	u32 n, to;
	u8 *dst;

	if (!s || !src || !t || i >= src->iov_count)
		return 0;
	if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + i * sizeof(v)))) {
		COUNT(bad_read);
		return 0;
	}
	if (t->skip >= v.len) {
		t->skip -= v.len;
		return 1;
	}
	v.base += t->skip;
	v.len -= t->skip;
	t->skip = 0;
	if (v.len > t->left)
		v.len = t->left;
	if (v.len > t->room)
		v.len = t->room;
	n = v.len;
	to = t->to;
	/* The verifier wants to see the bound on the very register it uses. */
	asm volatile("%0 &= 0xfff" : "+r"(n));
	asm volatile("%0 &= 0x7ff" : "+r"(to));
	if (n > SLOT_HEAD || n == 0)
		return 0;
	dst = reply ? s->reply : s->head;
	if (bpf_probe_read_user(dst + to, n, (void *)v.base)) {
		COUNT(bad_read);
		s->flags |= SLOT_UNREADABLE;
		return 0;
	}
	t->to += n;
	t->room -= n;
	t->left -= n;
	return t->room && t->left;
}

__noinline u32 take_vector(struct slot *s, const struct source *src, u64 skip, u32 reply)
{
	struct taking t = { .skip = skip };
	u32 at;

	if (!s || !src)
		return 0;
	at = reply ? s->reply_len : s->head_len;
	if (at >= SLOT_HEAD || !src->readable || skip >= src->len)
		return 0;
	t.to = at;
	t.room = SLOT_HEAD - at;
	t.left = src->len - skip;
	for (u32 i = 0; i < TAKE_PARTS; i++) {
		if (!take_part(s, src, &t, reply, i))
			break;
	}
	if (reply)
		s->reply_len = t.to;
	else
		s->head_len = t.to;
	return t.to - at;
}

/* Appends what the call moved, from 'skip' on, to the head (or reply) kept in the
 * slot. Returns how many bytes were taken. */
static __always_inline u32 take_head(struct slot *s, const struct source *src, u64 skip, u32 reply)
{
	u32 at = reply ? s->reply_len : s->head_len, n, to = at;
	u64 left = src->len - skip, base = src->base;
	u8 *kept = reply ? s->reply : s->head;

	if (unlikely(at >= SLOT_HEAD || !src->readable || skip >= src->len))
		return 0;
	if (src->iov_count) {
		if (skip >= src->first_len)
			return take_vector(s, src, skip, reply);
		base = src->first_base;
		if (left > src->first_len - skip)
			left = src->first_len - skip;
	}
	n = left < SLOT_HEAD - at ? left : SLOT_HEAD - at;
	/* The verifier wants to see the bound on the very register it uses. */
	asm volatile("%0 &= 0xfff" : "+r"(n));
	asm volatile("%0 &= 0x7ff" : "+r"(to));
	if (unlikely(n > SLOT_HEAD || n == 0))
		return 0;
	if (unlikely(bpf_probe_read_user(kept + to, n, (void *)(base + skip)))) {
		COUNT(bad_read);
		s->flags |= SLOT_UNREADABLE;
		return 0;
	}
	if (src->iov_count) {
		/* A head mostly is a buffer of its own: then that was all of it. */
		to += n - 4;
		asm volatile("%0 &= 0x7ff" : "+r"(to));
		if (n < 4 || *(u32 *)(kept + to) != ('\r' | '\n' << 8 | '\r' << 16 | '\n' << 24))
			return take_vector(s, src, skip, reply);
	}
	if (reply)
		s->reply_len = at + n;
	else
		s->head_len = at + n;
	return n;
}

/* The first eight of the bytes that were taken to 'at', 0: there are not so many. */
static __always_inline u64 taken_word(const struct slot *s, u32 at, u32 taken, u32 reply)
{
	if (taken < 8)
		return 0;
	asm volatile("%0 &= 0x7ff" : "+r"(at));
	return *(const u64 *)((reply ? s->reply : s->head) + at);
}

/* ---- heads ---- */

struct scanned {
	u32 at;	     /* so far it was looked at */
	u32 end;     /* just behind the blank line, 0: not there yet */
	u32 length;  /* where the value of Content-Length starts, 0 none */
	u8 chunked;  /* 'Transfer-Encoding: chunked' was there */
	u8 odd;	     /* the framing is written in some other way: walk.h tells */
	u8 given_up; /* so many lines that the end was not come to */
	u64 number;  /* the value of Content-Length */
};

#define SCAN_STEPS 16 /* at first, and in a call ... */
#define SCAN_CALLS 26 /* ... and so many of those */
#define LOWER 0x2020202020202020ull
#define WORD(a, b, c, d, e, f, g, h)                                                                    \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 | \
	 (u64)(g) << 48 | (u64)(h) << 56)

static __always_inline u64 newline_in(u64 w)
{
	w ^= 0x0a0a0a0a0a0a0a0aull;
	return (w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull;
}

#define NOT_PLAIN (~0ull)

/* The value of a Content-Length, if it is plainly digits and the end of the line. */
static __always_inline u64 read_number(const struct slot *s, u32 from_reply, u32 at)
{
	u64 value = 0, some = 0; /* not how many: the verifier would tell them apart */
	const u8 *data = from_reply ? s->reply : s->head;

	for (int i = 0; i < 20; i++) {
		u8 c;

		asm volatile("%0 &= 0xfff" : "+r"(at));
		if (at >= SLOT_HEAD)
			break;
		c = data[at];
		at++;
		if (c == ' ' && !some)
			continue;
		if (c < '0' || c > '9')
			return some && (c == '\r' || c == '\n') ? value : NOT_PLAIN;
		value = value * 10 + (c - '0');
		some = 1;
	}
	return NOT_PLAIN;
}

#define CONTENT WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-')
#define TRANSFER WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r')

/* A line that may say how long the body is. */
__noinline int scan_line(struct slot *s, u32 reply, u32 at, struct scanned *out)
{
	const u8 *line;
	u64 w;

	asm volatile("%0 &= 0xfff" : "+r"(at));
	if (!s || !out || at > SLOT_HEAD)
		return 0;
	line = (reply ? s->reply : s->head) + at;
	w = *(const u64 *)(line + 8) | LOWER;
	switch (*(const u64 *)line | LOWER) {
	case CONTENT:
		if ((w ^ WORD('l', 'e', 'n', 'g', 't', 'h', 0, 0)) << 16)
			break;
		if (out->length || (w >> 48 & 0xff) != ':')
			out->odd = 1;
		out->length = at + 15;
		break;
	case TRANSFER:
		if (w != WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'))
			break;
		if (out->chunked ||
		    (*(const u64 *)(line + 16) | LOWER) != WORD('g', ':', ' ', 'c', 'h', 'u', 'n', 'k') ||
		    (*(const u32 *)(line + 24) | 0x2020) != ('e' | 'd' << 8 | '\r' << 16 | '\n' << 24))
			out->odd = 1;
		out->chunked = 1;
		break;
	default:
		out->odd = 1; /* it begins with a blank: the line before goes on */
	}
	return 0;
}

/* Finds line starts eight bytes at a time. One loop whose every step goes to the
 * next newline or the next word: nested loops are too much for the verifier. */
static __always_inline void scan_lines(struct slot *s, u32 reply, struct scanned *out)
{
	const u8 *data;
	u32 len, i;

	data = reply ? s->reply : s->head;
	len = reply ? s->reply_len : s->head_len;
	i = out->at;
	for (int n = 0; n < SCAN_STEPS; n++) {
		u64 w, m;

		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i >= SLOT_HEAD)
			break;
		m = newline_in(*(const u64 *)(data + i));
		if (!m) {
			m = newline_in(*(const u64 *)(data + i + 8));
			i += 8;
			if (!m) {
				i += 8;
				continue;
			}
		}
		/* Bytes up to and with the first newline: no count-trailing-zeros here. */
		i += (((m & -m) - 1) & 0x0101010101010101ull) * 0x0101010101010101ull >> 56;
		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i > SLOT_HEAD)
			break;
		w = *(const u64 *)(data + i);
		if ((w & 0xff) == '\n') {
			out->end = i + 1;
			break;
		}
		if ((w & 0xffff) == ('\r' | '\n' << 8)) {
			out->end = i + 2;
			break;
		}
		w |= LOWER;
		if (w == CONTENT || w == TRANSFER || (w & 0xff) == ' ' || (w & 0xff) == ('\t' | ' '))
			scan_line(s, reply, i, out);
	}
	out->at = i;
}

/* A call, since the verifier goes over each step of a loop. */
__noinline int scan_more(struct slot *s, u32 reply, struct scanned *out)
{
	if (s && out)
		scan_lines(s, reply, out);
	return 0;
}

/* Always from the start: a head mostly comes in one piece. */
__noinline int scan_head(struct slot *s, u32 reply, struct scanned *out)
{
	u32 len;

	if (!s || !out)
		return 0;
	len = reply ? s->reply_len : s->head_len;
	scan_lines(s, reply, out);
	for (int n = 0; n < SCAN_CALLS; n++) {
		if (likely(out->end || out->at >= len || out->at >= SLOT_HEAD))
			break;
		scan_more(s, reply, out);
	}
	out->given_up = !out->end && out->at < len && out->at < SLOT_HEAD;
	out->odd |= out->length && out->chunked;
	if (out->end > len)
		out->end = 0;
	if (out->end && out->length) {
		out->number = read_number(s, reply, out->length);
		out->odd |= out->number == NOT_PLAIN;
	}
	return 0;
}

#define METHOD_HEAD 2
#define METHOD_CONNECT 8
#define METHOD_OTHER 255

static __always_inline bool in_method(u8 c)
{
	return (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* Of a token, which is what a method may be made of. */
static __always_inline bool in_token(u8 c)
{
	/* 0-9 ! # $ % & ' * + - .   A-Z a-z ^ _ ` | ~ */
	return c < 128 && ((c < 64 ? 0x03ff6cfa00000000ull : 0x57ffffffc7fffffeull) >> (c & 63) & 1);
}

/* Behind the blank: '/x', '*', 'http://...' */
static __always_inline bool begins_target(u8 c)
{
	return c == '/' || c == '*' || (c | 0x20) == 'h';
}

/* A method that is not in the table below, by the same bytes: anybody may make one. Of other
 * bytes than large letters only where what it is for is seen, too: many a protocol begins with
 * a word. */
__noinline u32 other_method(u64 w, u32 n)
{
	u32 small = 0;

	if ((u32)w == (u32)WORD('P', 'R', 'I', ' ', 0, 0, 0, 0))
		return 0; /* HTTP/2 */
	for (u32 i = 0; i < 8; i++) {
		u8 c = w & 0xff;

		if (i >= n)
			break;
		w >>= 8;
		if (c == ' ')
			return i && (i + 1 < n ? begins_target(w & 0xff) : !small) ? METHOD_OTHER : 0;
		if (!in_method(c)) {
			if (!in_token(c))
				return 0;
			small = 1;
		}
	}
	return n && !small ? METHOD_OTHER : 0;
}

/* Eight bytes that are none of the methods so far: may a longer word begin so? */
__noinline u32 may_be_method(u64 w)
{
	for (u32 i = 0; i < 8; i++) {
		if (!in_token(w & 0xff))
			return 0;
		w >>= 8;
	}
	return 1;
}

/* The same of a word longer than that, by what is kept of the head. */
__noinline u32 other_method_kept(const struct slot *s)
{
	u32 small = 0;

	if (!s || *(const u32 *)s->head == (u32)WORD('P', 'R', 'I', ' ', 0, 0, 0, 0))
		return 0;
	for (u32 i = 0; i < 40; i++) {
		u8 c = s->head[i];

		if (i >= s->head_len)
			return small ? 0 : METHOD_OTHER; /* so far */
		if (c == ' ')
			return i && (i + 1 < s->head_len ? begins_target(s->head[i + 1]) : !small) ? METHOD_OTHER : 0;
		if (!in_method(c)) {
			if (!in_token(c))
				return 0;
			small = 1;
		}
	}
	return 0;
}

/* The request method by its first eight bytes; n of them are known. Returns 0 when
 * none fits, else 1 + its index. */
static __always_inline u32 method_of(u64 w, u32 n)
{
	u64 known = n >= 8 ? ~0ull : (1ull << (n * 8)) - 1;

#define METHOD(index, word, bytes)                                                               \
	if (((w ^ (word)) & known & (bytes >= 8 ? ~0ull : (1ull << (bytes * 8 & 63)) - 1)) == 0) \
	return 1 + (index)
	METHOD(0, WORD('G', 'E', 'T', ' ', 0, 0, 0, 0), 4);
	METHOD(1, WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0), 5);
	METHOD(2, WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0), 5);
	METHOD(3, WORD('P', 'U', 'T', ' ', 0, 0, 0, 0), 4);
	METHOD(4, WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0), 7);
	METHOD(5, WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '), 8);
	METHOD(6, WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0), 6);
	METHOD(7, WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '), 8);
	METHOD(8, WORD('T', 'R', 'A', 'C', 'E', ' ', 0, 0), 6);
	METHOD(9, WORD('P', 'R', 'O', 'P', 'F', 'I', 'N', 'D'), 8);
	METHOD(10, WORD('P', 'R', 'O', 'P', 'P', 'A', 'T', 'C'), 8);
	METHOD(11, WORD('R', 'E', 'P', 'O', 'R', 'T', ' ', 0), 7);
	METHOD(12, WORD('M', 'K', 'C', 'O', 'L', ' ', 0, 0), 6);
	METHOD(13, WORD('C', 'O', 'P', 'Y', ' ', 0, 0, 0), 5);
	METHOD(14, WORD('M', 'O', 'V', 'E', ' ', 0, 0, 0), 5);
	METHOD(15, WORD('L', 'O', 'C', 'K', ' ', 0, 0, 0), 5);
	METHOD(16, WORD('U', 'N', 'L', 'O', 'C', 'K', ' ', 0), 7);
	METHOD(17, WORD('S', 'E', 'A', 'R', 'C', 'H', ' ', 0), 7);
	METHOD(18, WORD('P', 'U', 'R', 'G', 'E', ' ', 0, 0), 6);
#undef METHOD
	return other_method(w, n);
}

/* 'HTTP/1.' and a digit */
static __always_inline bool is_reply(u64 w)
{
	return !((w ^ WORD('H', 'T', 'T', 'P', '/', '1', '.', 0)) << 8);
}

static __always_inline bool is_fastcgi_begin(u64 w, u32 n)
{
	/* version 1, type BEGIN_REQUEST, any id, length 8 */
	return n >= 8 && (w & 0xffff) == 0x0101 && (w >> 32 & 0xffff) == 0x0800;
}

#define FASTCGI_PARAMS 4
#define FASTCGI_HEADER 8
#define PARAMS_MOST 128 /* of one request */
#define PARAM_NAME 127
#define PARAM_KEPT 384 /* bytes of a value, where not all of them have room */

struct params {
	u64 at, end; /* of the bytes of the call */
	u32 to, cut;
};

/* One name with its value, the begin of a long one. A function of its own, so that the verifier
 * looks at it once. Returns 0 when there is no more, or it is not to be read. */
__noinline int param_take(struct slot *s, const struct source *src, struct params *p)
{
	u32 name, kept, front, n, to;
	u64 value, size;
	u8 l[8] = {};

	if (!s || !src || !p || p->at + 2 > p->end || p->at + sizeof(l) > src->len)
		return 0;
	if (bpf_probe_read_user(l, sizeof(l), (void *)(src->base + p->at)))
		return 0;
	front = l[1] & 0x80 ? 5 : 2;
	name = l[0];
	value = l[1] & 0x80 ? (u32)(l[1] & 0x7f) << 24 | l[2] << 16 | l[3] << 8 | l[4] : l[1];
	size = front + name + value;
	if (name > PARAM_NAME || size > p->end - p->at)
		return 0;
	kept = value < PARAM_KEPT ? value : PARAM_KEPT;
	n = name + kept;
	to = p->to;
	if (kept < value || to + 5 + n > SLOT_HEAD)
		p->cut = 1;
	if (to + 5 + n <= SLOT_HEAD) {
		asm volatile("%0 &= 0x7ff" : "+r"(to));
		s->head[to] = name;
		s->head[to + 1] = 0x80;
		s->head[to + 2] = 0;
		s->head[to + 3] = kept >> 8;
		s->head[to + 4] = kept;
		asm volatile("%0 &= 0x1ff" : "+r"(n));
		if (bpf_probe_read_user(s->head + to + 5, n, (void *)(src->base + p->at + front)))
			return 0;
		p->to = to + 5 + n;
	}
	p->at += size;
	return 1;
}

/* More parameters than are kept, as a long query makes them: the begin of each value instead of
 * all of the first ones. The header of their record, before the byte at 'skip', ends the head. */
__noinline int params_take(struct slot *s, const struct source *src, u64 skip)
{
	struct params p = { .at = skip };
	u32 header, content;

	if (!s || !src || !src->readable || src->iov_count)
		return 0;
	header = s->head_len - FASTCGI_HEADER;
	asm volatile("%0 &= 0x7ff" : "+r"(header));
	content = s->head[header + 4] << 8 | s->head[header + 5];
	p.end = skip + content;
	p.to = s->head_len;
	if (s->head[header] != 1 || s->head[header + 1] != FASTCGI_PARAMS || p.end > src->len)
		return 0;
	for (int i = 0; i < PARAMS_MOST; i++) {
		if (!param_take(s, src, &p))
			break;
	}
	if (p.cut || p.at < p.end) {
		s->flags |= SLOT_HEAD_CUT;
		COUNT(head_cut);
	}
	content = p.to - s->head_len;
	s->head[header + 4] = content >> 8;
	s->head[header + 5] = content;
	s->head[header + 6] = 0; /* nothing is padded */
	s->head_len = p.to;
	return 1;
}

/* The first bytes may lie in several buffers. */
__noinline u64 peek_vector(const struct source *src, u64 skip, u32 *ret_n)
{
	u64 w = 0, left;
	u32 n, got = 0;

	if (!src || !ret_n)
		return 0;
	left = src->len > skip ? src->len - skip : 0;
	for (u32 i = 0; i < 16 && got < 8 && left; i++) {
		struct user_iovec v;
		u64 part = 0;

		if (i >= src->iov_count || bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + i * sizeof(v))))
			break;
		if (skip >= v.len) {
			skip -= v.len;
			continue;
		}
		v.base += skip;
		v.len -= skip;
		skip = 0;
		n = 8 - got;
		if (n > v.len)
			n = v.len;
		if (n > left)
			n = left;
		asm volatile("%0 &= 0xf" : "+r"(n));
		if (n == 0 || n > 8 || bpf_probe_read_user(&part, n, (void *)v.base))
			break;
		w |= part << (got * 8 & 63);
		got += n;
		left -= n;
	}
	*ret_n = got;
	return w;
}

static __always_inline u64 peek(const struct source *src, u64 skip, u32 *ret_n)
{
	u64 w = 0;
	u32 n;

	*ret_n = 0;
	if (!src->readable || skip >= src->len)
		return 0;
	if (src->iov_count)
		return peek_vector(src, skip, ret_n);
	n = src->len - skip < 8 ? src->len - skip : 8;
	asm volatile("%0 &= 0xf" : "+r"(n));
	if (n == 0 || n > 8 || bpf_probe_read_user(&w, n, (void *)(src->base + skip)))
		return 0;
	*ret_n = n;
	return w;
}

#endif
