/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies going out: status, framing, the last byte. */
#ifndef REQTRAP_BPF_REPLIES_H
#define REQTRAP_BPF_REPLIES_H

#include "incoming.h"

/* Tells user space of a status that some rule asks for. What a FastCGI worker sends is
 * what its proxy passes on, so it fires for the outer request, while the worker still
 * holds it. What another HTTP server answers may be changed or not be passed on at all:
 * there the outer request's own status counts. */
static __always_inline void status_check(struct slot *s, const struct ref *self, u64 now)
{
	struct ref outer = *self, up;
	struct slot *o = s;
	u32 status = s->status;

	event(s, EVENT_REPLY, -1, status, now, 0);
	if (!(status_wanted[status >> 6 & 15] >> (status & 63) & 1))
		return;
	for (int i = 0; i < 4; i++) {
		struct slot *p;

		up.slot = o->parent_slot;
		up.gen = o->parent_gen;
		p = slot_of(&up);
		if (!p)
			break;
		if (!(o->flags & SLOT_FASTCGI))
			return;
		outer = up;
		o = p;
	}
	if (o->fired_status == status)
		return;
	o->fired_status = status;
	if (o != s)
		__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD);
	__sync_val_compare_and_swap(&o->state, SLOT_OPEN, SLOT_HELD);
	send_record(RECORD_STATUS, &outer, status, o != s ? self : NULL, s->pid);
}

static __always_inline u32 three_digits(const u8 *p)
{
	u32 a = p[0] - '0', b = p[1] - '0', c = p[2] - '0';

	return a < 10 && b < 10 && c < 10 ? a * 100 + b * 10 + c : 0;
}

/* The reply's head is complete: how does its body end? Returns 1 if it is over. */
static __always_inline u32 reply_framed(struct conn *conn, struct slot *s, const struct scanned *sc)
{
	u32 status = s->status;

	if (status == 101 || (s->method == METHOD_CONNECT && status < 300)) {
		conn->role = ROLE_OPAQUE; /* what follows is not HTTP/1 any more */
		return 1;
	}
	if (s->method == METHOD_HEAD || status == 204 || status == 304)
		return 1;
	if (sc->chunked) {
		s->out_phase = OUT_CHUNKED;
		s->tail = 0;
	} else if (sc->length) {
		s->out_left = read_number(s, 1, sc->length);
		s->out_phase = OUT_LENGTH;
		return s->out_left == 0;
	} else {
		s->out_phase = OUT_CLOSE;
	}
	return 0;
}

/* FastCGI: the reply is over with an END_REQUEST record at the very end: 01 03 id id
 * 00 08 pad 00 + 8 bytes of body. The tail holds the body only, so the record's
 * header is looked at one word before. */
static __always_inline bool fastcgi_ended(const struct source *src)
{
	u64 w = 0, addr = src->base, len = src->len;

	if (!src->readable)
		return false;
	if (src->iov_count) {
		struct user_iovec v;
		u32 last = src->iov_count - 1;

		if (bpf_probe_read_user(&v, sizeof(v), (void *)(src->base + (u64)last * sizeof(v))))
			return false;
		addr = v.base;
		len = v.len;
	}
	if (len < 16 || bpf_probe_read_user(&w, sizeof(w), (void *)(addr + len - 16)))
		return false;
	return (w & 0xffff) == 0x0301 && (w >> 32 & 0xffff) == 0x0800;
}

#define FASTCGI_STDERR 7

__noinline u32 fastcgi_reply(struct slot *s, const struct source *src, const struct ref *self)
{
	u32 at = 0;

	if (!s || !src || !self)
		return 0;
	if (!s->status && take_head(s, src, 0, 1)) {
		/* What PHP logs (STDERR records) may come before the reply itself. */
		for (int i = 0; i < 8; i++) {
			asm volatile("%0 &= 0x7ff" : "+r"(at));
			if (at + 24 > s->reply_len || s->reply[at + 1] != FASTCGI_STDERR)
				break;
			at += 8 + (s->reply[at + 4] << 8 | s->reply[at + 5]) + s->reply[at + 6];
		}
		asm volatile("%0 &= 0x7ff" : "+r"(at));
		if (at + 24 <= s->reply_len) {
			/* record header of 8 bytes, then 'Status: NNN', else it is a 200 */
			s->status = 200;
			if ((*(u64 *)(s->reply + at + 8) | 0x0000202020202020ull) ==
			    (WORD('s', 't', 'a', 't', 'u', 's', ':', ' ') | 0x0000202020202020ull)) {
				u32 code = three_digits(s->reply + at + 16);

				if (code >= 100 && code < 1000)
					s->status = code;
			}
			status_check(s, self, src->now);
		}
	}
	return fastcgi_ended(src);
}

/* The reply's head, or more of it. Returns how many of the bytes belong to this reply;
 * ret_over: the reply is over. */
static __always_inline u64 feed_reply_head(struct conn *conn, struct slot *s, const struct ref *self,
					   const struct source *src, u64 skip, u32 *ret_over)
{
	u64 avail = src->len - skip, used;
	u32 before = s->reply_len;
	struct scanned sc = {};

	s->out_phase = OUT_HEAD;
	take_head(s, src, skip, 1);
	if (!s->status && s->reply_len >= 12) {
		u32 code = three_digits(s->reply + 9);

		s->status = code < 1000 ? code : 0;
		if (code >= 200 || code == 101)
			status_check(s, self, src->now);
	}
	scan_head(s, 1, &sc);
	if (!sc.end) {
		if (!src->readable || s->reply_len >= SLOT_HEAD || s->reply_len == before) {
			s->flags |= SLOT_REPLY_CUT;
			s->out_phase = OUT_UNKNOWN;
			COUNT(head_cut);
		}
		return avail;
	}
	used = sc.end > before ? sc.end - before : 0;
	if (s->status >= 100 && s->status < 200 && s->status != 101) {
		/* An interim reply: the real one follows. */
		s->status = 0;
		s->reply_len = s->reply_scan = 0;
		s->out_phase = OUT_NONE;
		return used;
	}
	*ret_over = reply_framed(conn, s, &sc);
	if (*ret_over)
		return used;
	avail -= used;
	if (s->out_phase == OUT_LENGTH) {
		if (avail > s->out_left)
			avail = s->out_left;
		s->out_left -= avail;
		*ret_over = s->out_left == 0;
	} else if (s->out_phase == OUT_CHUNKED && avail) {
		s->tail = take_tail(src, 0);
		*ret_over = chunks_ended(src, s->tail);
	}
	return used + avail;
}

/* Feeds what a write took, from 'skip' on, to the oldest request that waits for its
 * reply. Returns how many bytes belonged to it. */
__noinline u64 feed_reply(struct conn *conn, const struct source *src, u64 skip)
{
	struct ref self;
	struct slot *s;
	u32 over = 0;
	u64 used;

	if (!conn || !src || skip >= src->len || !conn->queue_len)
		return 0;
	used = src->len - skip;
	self = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&self);
	if (!s) {
		conn->queue_head = (conn->queue_head + 1) & (QUEUE_MAX - 1);
		conn->queue_len--;
		return 0;
	}
	s->last_ns = src->now;
	if (!s->reply_ns)
		s->reply_ns = src->now;
	if (s->flags & SLOT_FASTCGI) {
		over = fastcgi_reply(s, src, &self);
		if (over)
			conn->in_phase = IN_IDLE;
	} else if (s->out_phase == OUT_NONE || s->out_phase == OUT_HEAD) {
		used = feed_reply_head(conn, s, &self, src, skip, &over);
	} else if (s->out_phase == OUT_LENGTH) {
		if (used > s->out_left)
			used = s->out_left;
		s->out_left -= used;
		over = s->out_left == 0;
	} else if (s->out_phase == OUT_CHUNKED) {
		s->tail = take_tail(src, s->tail);
		over = chunks_ended(src, s->tail);
	}
	s->reply_bytes += used;
	event(s, EVENT_SEND, src->nr, used, src->now, 0);
	if (over)
		conn_pop(conn, 0, src->now);
	return used;
}

#endif
