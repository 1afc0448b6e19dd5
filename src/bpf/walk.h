/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HTTP/1 framing byte by byte, with little state: for what the quick look at a head
 * (scan_head) leaves over. These are chunked bodies, heads longer than what is kept,
 * odd ones, and messages for which there is no slot. FastCGI records too. Bodies are
 * counted, not looked at. Rejected: to look at the end of a write for the last chunk
 * (a body may hold the same bytes, and the next request may follow). */
#ifndef REQTRAP_BPF_WALK_H
#define REQTRAP_BPF_WALK_H

#include "maps.h"
#include "bytes.h"

enum walk_phase {
	WALK_FIRST,  /* the first line */
	WALK_NAME,   /* a header's name, or the blank line */
	WALK_LENGTH, /* the value of Content-Length */
	WALK_CODING, /* the value of Transfer-Encoding */
	WALK_VALUE,  /* any other value */
	WALK_SIZE,   /* of a chunk */
	WALK_EXTENSION,
	WALK_DATA, /* of a chunk: 'left' bytes */
	WALK_DATA_END,
	WALK_TRAILER, /* the begin of a line of them; an empty one is the last */
	WALK_TRAILER_LINE,
	WALK_BODY,    /* 'left' bytes */
	WALK_RECORD,  /* the header of a FastCGI record */
	WALK_CONTENT, /* its content: 'left' bytes */
	WALK_CLOSE,   /* all that comes until the connection ends */
	WALK_OVER,
	WALK_LOST, /* where it ends cannot be known */
};

enum walk_flag {
	WALK_REPLY = 1,
	WALK_HEAD = 2,	  /* of, or to, a HEAD */
	WALK_CONNECT = 4, /* the like */
	WALK_TUNNEL = 8,  /* what follows the head is another protocol */
	WALK_HAS_LENGTH = 16,
	WALK_CHUNKED = 32,
	WALK_CODED = 64,    /* a transfer coding other than chunked is the last */
	WALK_BAD = 128,	    /* two readers of this head may differ about its body */
	WALK_BLANK = 256,   /* a blank within the name, or behind the number */
	WALK_FRAMING = 512, /* the header before this line was one of the two */
	WALK_END = 1024,    /* this record is the last */
	WALK_WORD = 2048,   /* the first word of the first line is over */
};

#define NAME_LENGTH_A 0x0000636f6e74656eull /* 'content-length', last byte lowest */
#define NAME_LENGTH_B 0x742d6c656e677468ull
#define NAME_CODING_A 0x72616e736665722dull /* '(t)ransfer-encoding' */
#define NAME_CODING_B 0x656e636f64696e67ull
#define CODING_CHUNKED 0x006368756e6b6564ull
#define FIRST_HEAD 0x48454144ull
#define FIRST_CONNECT 0x00434f4e4e454354ull

#define FASTCGI_END 3
#define FASTCGI_ABORT 2
#define FASTCGI_BEGIN 1
#define FASTCGI_STDIN 5

static __always_inline void walk_word(struct walk *w)
{
	w->a = w->b = 0;
	w->len = 0;
}

static __always_inline void walk_begin(struct walk *w, u32 phase, u32 flags)
{
	walk_word(w);
	w->left = w->number = 0;
	w->status = 0;
	w->flags = flags;
	w->phase = phase;
}

static __always_inline void walk_append(struct walk *w, u8 c)
{
	w->a = w->a << 8 | w->b >> 56;
	w->b = w->b << 8 | c;
	if (!w->len)
		w->first = c;
	if (w->len < 255)
		w->len++;
}

/* The blank line behind the head: what follows? */
static __always_inline void walk_framed(struct walk *w)
{
	bool reply = w->flags & WALK_REPLY;

	if (reply && w->status >= 100 && w->status < 200 && w->status != 101) {
		walk_begin(w, WALK_FIRST, w->flags & (WALK_REPLY | WALK_HEAD | WALK_CONNECT));
		return; /* the real one follows */
	}
	if (reply && (w->status == 101 || (w->flags & WALK_CONNECT && w->status >= 200 && w->status < 300))) {
		w->flags |= WALK_TUNNEL;
		w->phase = WALK_OVER;
	} else if (reply && (w->flags & WALK_HEAD || w->status == 204 || w->status == 304)) {
		w->phase = WALK_OVER;
	} else if (w->flags & WALK_CHUNKED) {
		if (w->flags & WALK_HAS_LENGTH)
			w->flags |= WALK_BAD; /* the coding wins, but not everywhere */
		w->phase = WALK_SIZE;
		w->left = w->len = 0;
	} else if (w->flags & WALK_BAD || (w->flags & WALK_CODED && !reply)) {
		w->phase = WALK_LOST;
	} else if (w->flags & WALK_HAS_LENGTH && !(w->flags & WALK_CODED)) {
		w->phase = w->left ? WALK_BODY : WALK_OVER;
	} else {
		w->phase = reply ? WALK_CLOSE : WALK_OVER;
	}
}

/* The first line: the method of a request, the status of a reply. */
static __always_inline void walk_first(struct walk *w, u8 c)
{
	if (c == '\n') {
		/* Empty lines before a request are none. */
		if (w->flags & WALK_WORD || w->len || w->flags & WALK_REPLY)
			w->phase = WALK_NAME;
		walk_word(w);
	} else if (w->flags & WALK_REPLY) {
		if (w->len >= 9 && w->len < 12)
			w->status = c >= '0' && c <= '9' ? w->status * 10 + (c - '0') : 0;
		if (w->len < 255)
			w->len++;
		if (w->len == 12)
			w->flags |= WALK_WORD;
	} else if (c == ' ' && !(w->flags & WALK_WORD)) {
		w->flags |= WALK_WORD;
		if (w->len == 4 && w->b == FIRST_HEAD)
			w->flags |= WALK_HEAD;
		else if (w->len == 7 && w->b == FIRST_CONNECT)
			w->flags |= WALK_CONNECT;
	} else if (!(w->flags & WALK_WORD) && c != '\r') {
		walk_append(w, c);
	}
}

static __always_inline u8 lower(u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static __always_inline void walk_name(struct walk *w, u8 c)
{
	if (c == '\n') {
		if (w->len == 0 && !(w->flags & WALK_BLANK))
			walk_framed(w);
		w->flags &= ~(WALK_BLANK | WALK_FRAMING);
		walk_word(w);
	} else if (c == ' ' || c == '\t') {
		if (w->len == 0) { /* the line before goes on in this one */
			if (w->flags & WALK_FRAMING)
				w->flags |= WALK_BAD;
			w->phase = WALK_VALUE;
		}
		w->flags |= WALK_BLANK;
	} else if (c == ':') {
		bool length = w->len == 14 && w->a == NAME_LENGTH_A && w->b == NAME_LENGTH_B;
		bool coding = w->len == 17 && w->first == 't' && w->a == NAME_CODING_A && w->b == NAME_CODING_B;

		w->phase = length ? WALK_LENGTH : coding ? WALK_CODING : WALK_VALUE;
		if (length || coding) {
			if (w->flags & WALK_BLANK)
				w->flags |= WALK_BAD;
			w->flags |= WALK_FRAMING;
		} else {
			w->flags &= ~WALK_FRAMING;
		}
		w->flags &= ~WALK_BLANK;
		w->number = 0;
		walk_word(w);
	} else if (c != '\r') {
		walk_append(w, lower(c));
	}
}

/* 'len' counts the digits here. */
static __always_inline void walk_length(struct walk *w, u8 c)
{
	if (c == '\n') {
		if (!w->len || (w->flags & WALK_HAS_LENGTH && w->left != w->number))
			w->flags |= WALK_BAD;
		w->left = w->number;
		w->flags |= WALK_HAS_LENGTH;
		w->flags &= ~WALK_BLANK;
		w->phase = WALK_NAME;
		walk_word(w);
	} else if (c == ' ' || c == '\t' || c == '\r') {
		if (w->len)
			w->flags |= WALK_BLANK;
	} else if (c >= '0' && c <= '9' && !(w->flags & WALK_BLANK)) {
		if (w->number > 0xffffffffffffffull)
			w->flags |= WALK_BAD;
		w->number = w->number * 10 + (c - '0');
		w->len = 1;
	} else {
		w->flags |= WALK_BAD;
	}
}

static __always_inline void walk_coding(struct walk *w, u8 c)
{
	bool chunked;

	if (c == ' ' || c == '\t' || c == '\r') {
		if (w->len)
			w->flags |= WALK_BLANK;
		return;
	}
	if (c != '\n' && c != ',') {
		if (w->flags & WALK_BLANK) /* no coding has a blank in its name */
			walk_append(w, ' ');
		walk_append(w, lower(c));
		return;
	}
	w->flags &= ~WALK_BLANK;
	chunked = w->len == 7 && w->b == CODING_CHUNKED;
	if (w->flags & WALK_CHUNKED) /* something behind 'chunked' */
		w->flags |= WALK_BAD;
	if (w->len) {
		w->flags &= ~(WALK_CHUNKED | WALK_CODED);
		w->flags |= chunked ? WALK_CHUNKED : WALK_CODED;
	} else if (c == '\n' && !(w->flags & WALK_CODED)) {
		w->flags |= WALK_BAD;
	}
	if (c == '\n')
		w->phase = WALK_NAME;
	walk_word(w);
}

static __always_inline void walk_size(struct walk *w, u8 c)
{
	u8 digit = c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : 16;

	if (w->phase == WALK_SIZE && digit < 16) {
		if (w->left >> 56)
			w->phase = WALK_LOST;
		w->left = w->left << 4 | digit;
		w->len = 1;
	} else if (!w->len) {
		w->phase = WALK_LOST;
	} else if (c == '\n') {
		w->phase = w->left ? WALK_DATA : WALK_TRAILER;
	} else if (c == ';' || c == ' ' || c == '\t') {
		w->phase = WALK_EXTENSION;
	} else if (w->phase == WALK_SIZE && c != '\r') {
		w->phase = WALK_LOST;
	}
}

/* A record's header, first byte highest: version, type, id (2), content length (2), padding
 * length, reserved */
static __always_inline void walk_header(struct walk *w, u64 header)
{
	u32 type = header >> 48 & 0xff, content = header >> 16 & 0xffff;

	if (header >> 56 != 1) {
		w->phase = WALK_LOST;
		return;
	}
	w->left = content + (header >> 8 & 0xff);
	if (w->flags & WALK_REPLY) {
		if (type == FASTCGI_END)
			w->flags |= WALK_END;
	} else {
		/* Another id before the first is through: several at once. */
		if (type == FASTCGI_BEGIN && w->flags & WALK_WORD)
			w->flags |= WALK_BAD;
		w->flags |= WALK_WORD;
		if ((type == FASTCGI_STDIN && !content) || type == FASTCGI_ABORT)
			w->flags |= WALK_END;
	}
	w->phase = w->left ? WALK_CONTENT : w->flags & WALK_END ? WALK_OVER : WALK_RECORD;
}

static __always_inline void walk_record(struct walk *w, u8 c)
{
	walk_append(w, c);
	if (w->len < 8)
		return;
	walk_header(w, w->b);
	walk_word(w);
}

static __always_inline void walk_byte(struct walk *w, u8 c)
{
	switch (w->phase) {
	case WALK_FIRST:
		walk_first(w, c);
		break;
	case WALK_NAME:
		walk_name(w, c);
		break;
	case WALK_LENGTH:
		walk_length(w, c);
		break;
	case WALK_CODING:
		walk_coding(w, c);
		break;
	case WALK_VALUE:
		if (c == '\n') {
			w->phase = WALK_NAME;
			w->flags &= ~WALK_BLANK;
			walk_word(w);
		}
		break;
	case WALK_SIZE:
	case WALK_EXTENSION:
		walk_size(w, c);
		break;
	case WALK_DATA_END:
		if (c == '\n')
			w->left = w->len = 0;
		if (c != '\r')
			w->phase = c == '\n' ? WALK_SIZE : WALK_LOST;
		break;
	case WALK_TRAILER:
		if (c != '\r')
			w->phase = c == '\n' ? WALK_OVER : WALK_TRAILER_LINE;
		break;
	case WALK_TRAILER_LINE:
		if (c == '\n')
			w->phase = WALK_TRAILER;
		break;
	case WALK_RECORD:
		walk_record(w, c);
		break;
	}
}

/* 'left' bytes went by. */
static __always_inline void walk_counted(struct walk *w)
{
	if (w->phase == WALK_DATA)
		w->phase = WALK_DATA_END;
	else if (w->phase == WALK_CONTENT && !(w->flags & WALK_END))
		w->phase = WALK_RECORD;
	else
		w->phase = WALK_OVER;
}

static __always_inline bool walk_counts(const struct walk *w)
{
	return w->phase == WALK_DATA || w->phase == WALK_BODY || w->phase == WALK_CONTENT;
}

/* Up to the end of the line. */
static __always_inline bool walk_skips(const struct walk *w)
{
	return w->phase == WALK_VALUE || (w->phase == WALK_FIRST && w->flags & WALK_WORD);
}

#define WALK_STEPS 400

/* Bytes that nobody can look at (sendfile): as long as they are only counted, all is well. */
static __always_inline u64 walk_blind(struct walk *w, u64 bytes)
{
	if (walk_counts(w) && bytes <= w->left) {
		w->left -= bytes;
		if (!w->left)
			walk_counted(w);
	} else if (w->phase != WALK_CLOSE) {
		w->phase = WALK_LOST;
	}
	return bytes;
}

static __always_inline long walk_read(const struct source *src, void *to, u32 bytes, u64 from)
{
	if (src->readable == SOURCE_KEPT)
		return bpf_probe_read_kernel(to, bytes, (void *)from);
	return bpf_probe_read_user(to, bytes, (void *)from);
}

struct cursor {
	u64 base, len; /* what is left of the buffer */
	u64 at, skip;  /* bytes gone over; how many of them are none of ours */
	u64 word;      /* 'have' bytes at 'base' */
	u32 have, next;
};

/* The next buffer, or as many bytes of this one as nobody looks at, or one byte. A
 * function of its own so that the verifier looks at it once, not once per step. Returns
 * 0 when there is no more to do. */
__noinline int walk_step(struct walk *w, const struct source *src, struct cursor *c)
{
	u64 step, word;
	u32 have;

	if (!w || !src || !c || c->at >= src->len || w->phase == WALK_OVER || w->phase == WALK_LOST)
		return 0;
	if (!c->len) {
		struct user_iovec v;

		if (c->next >= src->iov_count ||
		    bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + c->next * sizeof(v)))) {
			w->phase = WALK_LOST;
			return 0;
		}
		c->base = v.base;
		c->len = v.len;
		c->next++;
		c->have = 0;
		return 1;
	}
	step = src->len - c->at;
	if (step > c->len)
		step = c->len;
	if (c->at < c->skip) {
		if (step > c->skip - c->at)
			step = c->skip - c->at;
	} else if (walk_counts(w)) {
		if (step > w->left)
			step = w->left;
		w->left -= step;
		if (!w->left)
			walk_counted(w);
		c->have = 0;
	} else if (w->phase != WALK_CLOSE) {
		if (!c->have) {
			have = step < 8 ? step : 8;
			asm volatile("%0 &= 0xf" : "+r"(have));
			word = 0;
			if (have == 0 || have > 8 || walk_read(src, &word, have, c->base)) {
				COUNT(bad_read);
				w->phase = WALK_LOST;
				return 0;
			}
			c->have = have;
			c->word = word;
		}
		step = 1;
		if (c->have == 8 && walk_skips(w) && !newline_in(c->word)) {
			step = 8;
			c->have = 0;
		} else {
			walk_byte(w, c->word & 0xff);
			c->word >>= 8;
			c->have--;
		}
	}
	c->base += step;
	c->len -= step;
	c->at += step;
	return 1;
}

#define SKIP_BUFFERS 64 /* in a call, and a quarter as many calls: all that the kernel takes */

/* Buffers of which no byte is ours. Returns 1 if there may be more of them. */
__noinline int walk_skip(const struct source *src, struct cursor *c)
{
	struct user_iovec v;

	if (!src || !c)
		return 0;
	for (int n = 0; n < SKIP_BUFFERS; n++) {
		if (c->next >= src->iov_count ||
		    bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + c->next * sizeof(v))) ||
		    v.len > c->skip - c->at)
			return 0;
		c->at += v.len;
		c->next++;
	}
	return 1;
}

#define WALK_RECORDS 8

/* FastCGI in one buffer, headers whole: the way they mostly come. 'word': the bytes at 'at', 0:
 * they are not known. Returns how far it came. */
__noinline u64 walk_records(struct walk *w, const struct source *src, u64 at, u64 word)
{
	if (!w || !src)
		return at;
	for (int n = 0; n < WALK_RECORDS && at < src->len; n++) {
		u64 left = src->len - at;

		if (w->phase == WALK_CONTENT) {
			if (left > w->left)
				left = w->left;
			at += left;
			w->left -= left;
			if (!w->left)
				walk_counted(w);
			word = 0;
			continue;
		}
		if (w->phase != WALK_RECORD || w->len || left < 8)
			break;
		if (!word && walk_read(src, &word, 8, src->base + at))
			break;
		walk_header(w, __builtin_bswap64(word));
		word = 0;
		at += 8;
	}
	return at;
}

/* Goes over what a call moved, from 'skip' on, where the bytes 'first' lie (0: they are not
 * known). Returns how many bytes it used: less than all when the message is over, or after
 * WALK_STEPS steps; then call it again. */
__noinline u64 walk(struct walk *w, const struct source *src, u64 skip, u64 first)
{
	struct cursor c = { .skip = skip }; /* from here on only there: the stack is short */

	if (!w || !src || skip >= src->len)
		return 0;
	if (!src->readable)
		return walk_blind(w, src->len - skip);
	if (!src->iov_count) {
		c.at = skip;
		if (w->phase == WALK_RECORD || w->phase == WALK_CONTENT)
			c.at = walk_records(w, src, skip, first);
		c.base = src->base + c.at;
		c.len = src->len - c.at;
	} else if (skip) {
		for (int n = 0; n < SKIP_BUFFERS / 4; n++) {
			if (!walk_skip(src, &c))
				break;
		}
	}
	for (int n = 0; n < WALK_STEPS && c.at < src->len; n++) {
		if (!walk_step(w, src, &c))
			break;
	}
	if (c.at < c.skip) /* too many buffers before it */
		w->phase = WALK_LOST;
	if (w->phase == WALK_LOST)
		return src->len - c.skip;
	return c.at - c.skip;
}

#endif
