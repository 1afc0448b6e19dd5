/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The bytes of one socket call in the caller's memory: heads are copied and looked
 * through for their framing, bodies are only counted, of chunked ones the tail is
 * kept. Knows nothing of connections. */
#ifndef REQTRAP_BPF_BYTES_H
#define REQTRAP_BPF_BYTES_H

#include "maps.h"

/* The bytes of one socket call in the caller's memory. */
struct source {
	u64 base;      /* the buffer, or the iovec array */
	u32 iov_count; /* 0: one buffer */
	u32 readable;  /* 0: only the length is known (sendfile, io_uring) */
	u64 len;       /* bytes that were moved */
	s32 fd;
	s32 nr;
	u64 sk;
	u64 now;      /* of the call: one look at the clock for all that follows from it */
	u64 id;	      /* tgid and thread */
	u64 unix_ino; /* of a unix socket's file */
	u32 port;     /* the socket's own; 0: a unix socket */
	u32 pad;
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
	u64 left = src->len - skip;

	if (src->iov_count)
		return take_vector(s, src, skip, reply);
	if (at >= SLOT_HEAD || !src->readable || skip >= src->len)
		return 0;
	n = left < SLOT_HEAD - at ? left : SLOT_HEAD - at;
	/* The verifier wants to see the bound on the very register it uses. */
	asm volatile("%0 &= 0xfff" : "+r"(n));
	asm volatile("%0 &= 0x7ff" : "+r"(to));
	if (n > SLOT_HEAD || n == 0)
		return 0;
	if (bpf_probe_read_user((reply ? s->reply : s->head) + to, n, (void *)(src->base + skip))) {
		COUNT(bad_read);
		s->flags |= SLOT_UNREADABLE;
		return 0;
	}
	if (reply)
		s->reply_len = at + n;
	else
		s->head_len = at + n;
	return n;
}

#define TAIL_IOVECS 24

/* The last eight bytes that the call moved, shifted into a tail kept so far: the
 * newest byte is the lowest. Only for chunked bodies and FastCGI. */
__noinline u64 take_tail(const struct source *src, u64 tail)
{
	struct user_iovec whole;
	u32 first = 0;
	u64 left;

	if (!src || !src->readable)
		return 0;
	whole.base = src->base;
	left = whole.len = src->len;
	if (src->iov_count > TAIL_IOVECS) {
		/* Too many to add up: the last ones are taken as if all were moved. */
		first = src->iov_count - TAIL_IOVECS;
		left = ~0ull;
	}
	/* Not a loop for the verifier: the compiler likes to let the end of this one fall
	 * through to its head, and older kernels (6.1) take only a jump for the way back. */
#pragma clang loop unroll(full)
	for (int i = 0; i < TAIL_IOVECS; i++) {
		struct user_iovec v = whole;
		u64 raw = 0, at = first + i;
		u32 n;

		if (src->iov_count) {
			if (at >= src->iov_count)
				break;
			if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + at * sizeof(v))))
				return 0;
		} else if (i) {
			break;
		}
		if (v.len > left)
			v.len = left;
		left -= v.len;
		n = v.len < 8 ? v.len : 8;
		if (n == 0)
			continue;
		asm volatile("%0 &= 0xf" : "+r"(n));
		if (n > 8)
			return 0;
		if (bpf_probe_read_user(&raw, n, (void *)(v.base + v.len - n)))
			return 0;
		/* raw holds the bytes in memory order: lowest byte first. */
		raw = __builtin_bswap64(raw);
		tail = n == 8 ? raw : tail << (n * 8) | raw >> (64 - n * 8);
		if (!left)
			break;
	}
	return tail;
}

/* '\r\n0\r\n\r\n' at the end of what went by, or only '0\r\n\r\n' and nothing before it. */
static __always_inline bool tail_is_last_chunk(u64 tail)
{
	return (tail & 0xffffffffffffffull) == 0x0d0a300d0a0d0aull || tail == 0x300d0a0d0aull;
}

/* ---- heads ---- */

struct scanned {
	u32 line;    /* where to go on: the newline before the last line seen */
	u32 end;     /* just behind the blank line, 0: not there yet */
	u32 length;  /* where the value of Content-Length starts, 0 none */
	u32 chunked; /* a Transfer-Encoding was there */
	u32 upgrade;
	u32 pad;
};

#define SCAN_STEPS 420
#define LOWER 0x2020202020202020ull
#define WORD(a, b, c, d, e, f, g, h)                                                                    \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 | \
	 (u64)(g) << 48 | (u64)(h) << 56)

/* Finds line starts eight bytes at a time. One loop whose every step goes to the
 * next newline or the next word: nested loops are too much for the verifier. */
__noinline int scan_head(struct slot *s, u32 reply, struct scanned *out)
{
	const u8 *data;
	u32 len, i;

	if (!s || !out)
		return 0;
	data = reply ? s->reply : s->head;
	len = reply ? s->reply_len : s->head_len;
	i = reply ? s->reply_scan : s->head_scan;
	out->line = i;
	for (int n = 0; n < SCAN_STEPS; n++) {
		u64 w, m;

		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i >= SLOT_HEAD)
			break;
		w = *(const u64 *)(data + i) ^ 0x0a0a0a0a0a0a0a0aull;
		m = (w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull;
		if (!m) {
			i += 8;
			continue;
		}
		/* Bytes up to and with the first newline: no count-trailing-zeros here. */
		i += (((m & -m) - 1) & 0x0101010101010101ull) * 0x0101010101010101ull >> 56;
		asm volatile("%0 &= 0xfff" : "+r"(i));
		if (i >= len || i > SLOT_HEAD)
			break;
		out->line = i - 1;
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
		if (w == WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-')) {
			if (((*(const u64 *)(data + i + 8) | LOWER) & 0xffffffffffffffull) ==
			    (WORD('l', 'e', 'n', 'g', 't', 'h', ':', 0) | (LOWER & 0xffffffffffffffull)))
				out->length = i + 15;
		} else if (w == WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r')) {
			out->chunked = 1;
		} else if (w == WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':')) {
			out->upgrade = 1;
		}
	}
	if (out->end > len)
		out->end = 0;
	if (reply)
		s->reply_scan = out->line;
	else
		s->head_scan = out->line;
	return 0;
}

/* Decimal digits of a Content-Length. */
__noinline u64 read_number(struct slot *s, u32 from_reply, u32 at)
{
	u64 value = 0;
	const u8 *data;

	if (!s)
		return 0;
	data = from_reply ? s->reply : s->head;
	for (int i = 0; i < 24; i++) {
		u8 c;

		asm volatile("%0 &= 0xfff" : "+r"(at));
		if (at >= SLOT_HEAD)
			break;
		c = data[at];
		at++;
		if (c == ' ' || c == '\t')
			continue;
		if (c < '0' || c > '9')
			break;
		value = value * 10 + (c - '0');
	}
	return value;
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

#define METHOD_HEAD 2
#define METHOD_CONNECT 8

static __always_inline bool is_fastcgi_begin(u64 w, u32 n)
{
	/* version 1, type BEGIN_REQUEST, any id, length 8 */
	return n >= 8 && (w & 0xffff) == 0x0101 && (w >> 32 & 0xffff) == 0x0800;
}

static __always_inline u64 peek(const struct source *src, u64 skip, u32 *ret_n)
{
	u64 w = 0, addr = src->base;
	u32 n;

	*ret_n = 0;
	if (!src->readable || skip >= src->len)
		return 0;
	n = src->len - skip < 8 ? src->len - skip : 8;
	if (src->iov_count) {
		struct user_iovec v;

		if (bpf_probe_read_user(&v, sizeof(v), (void *)src->base))
			return 0;
		addr = v.base;
		if (skip >= v.len)
			return 0;
		if (n > v.len - skip)
			n = v.len - skip;
	}
	asm volatile("%0 &= 0xf" : "+r"(n));
	if (n == 0 || n > 8 || bpf_probe_read_user(&w, n, (void *)(addr + skip)))
		return 0;
	*ret_n = n;
	return w;
}

#endif
