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

__noinline u32 take_vector(struct slot *s, const struct source *src, u64 skip, u32 reply)
{
	u32 at, room, got = 0;
	u64 left;

	if (!s || !src)
		return 0;
	at = reply ? s->reply_len : s->head_len;
	if (at >= SLOT_HEAD || !src->readable || skip >= src->len)
		return 0;
	room = SLOT_HEAD - at;
	left = src->len - skip;
	for (int i = 0; i < 8; i++) {
		struct user_iovec v = { src->base, src->len };
		u32 n, to = at + got;
		u8 *dst = reply ? s->reply : s->head;

		if (src->iov_count) {
			if ((u32)i >= src->iov_count)
				break;
			if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + i * sizeof(v)))) {
				COUNT(bad_read);
				break;
			}
		} else if (i) {
			break;
		}
		if (skip >= v.len) {
			skip -= v.len;
			continue;
		}
		v.base += skip;
		v.len -= skip;
		skip = 0;
		if (v.len > left)
			v.len = left;
		if (v.len > room)
			v.len = room;
		n = v.len;
		/* The verifier wants to see the bound on the very register it uses. */
		asm volatile("%0 &= 0xfff" : "+r"(n));
		asm volatile("%0 &= 0x7ff" : "+r"(to));
		if (n > SLOT_HEAD || n == 0)
			break;
		if (bpf_probe_read_user(dst + to, n, (void *)v.base)) {
			COUNT(bad_read);
			s->flags |= SLOT_UNREADABLE;
			break;
		}
		got += n;
		room -= n;
		left -= n;
		if (!room || !left)
			break;
	}
	if (reply)
		s->reply_len = at + got;
	else
		s->head_len = at + got;
	return got;
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
	return 0;
}

/* 'HTTP/1.' and a digit */
static __always_inline bool is_reply(u64 w)
{
	return !((w ^ WORD('H', 'T', 'T', 'P', '/', '1', '.', 0)) << 8);
}

#define METHOD_HEAD 2
#define METHOD_CONNECT 8

static __always_inline bool is_fastcgi_begin(u64 w, u32 n)
{
	/* version 1, type BEGIN_REQUEST, any id, length 8 */
	return n >= 8 && (w & 0xffff) == 0x0101 && (w >> 32 & 0xffff) == 0x0800;
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
