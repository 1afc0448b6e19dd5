/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies going out: status, framing, the last byte. */
#ifndef REQTRAP_BPF_REPLIES_H
#define REQTRAP_BPF_REPLIES_H

#include "calls.h"
#include "incoming.h"

/* Tells user space of a status that some rule asks for. What a FastCGI worker sends is
 * what its proxy passes on, so it fires for the outer request, while the worker still
 * holds it. What another HTTP server answers may be changed or not be passed on at all:
 * there the outer request's own status counts. */
__noinline int status_check(struct slot *s, const struct ref *self, u64 now)
{
	struct ref outer, up;
	struct slot *o = s;
	u32 status;

	if (!s || !self)
		return 0;
	status = s->status;
	event(s, EVENT_REPLY, -1, status, now, 0);
	if (!(status_wanted[status >> 6 & 15] >> (status & 63) & 1))
		return 0;
	outer = *self;
	for (int i = 0; i < 4; i++) {
		struct slot *p;

		up.slot = o->parent_slot;
		up.gen = o->parent_gen;
		p = slot_of(&up);
		if (!p)
			break;
		if (!(o->flags & SLOT_FASTCGI))
			return 0;
		outer = up;
		o = p;
	}
	if (o->fired_status == status)
		return 0;
	o->fired_status = status;
	unread_note(o, now);
	if (o != s)
		__sync_val_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD);
	__sync_val_compare_and_swap(&o->state, SLOT_OPEN, SLOT_HELD);
	send_record(RECORD_STATUS, &outer, status, o != s ? self : NULL, s->pid);
	return 0;
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

	if (status == 101 || (s->method == METHOD_CONNECT && status / 100 == 2)) {
		conn->role = ROLE_OPAQUE; /* what follows is not HTTP/1 any more */
		return 1;
	}
	if (s->method == METHOD_HEAD || status == 204 || status == 304)
		return 1;
	if (sc->chunked) {
		s->out_phase = OUT_WALK;
		walk_begin(&conn->out_walk, WALK_SIZE, WALK_REPLY);
		conn->out_walk.status = status;
	} else if (sc->length) {
		s->out_left = sc->number;
		s->out_phase = OUT_LENGTH;
		return s->out_left == 0;
	} else {
		s->out_phase = OUT_CLOSE;
	}
	return 0;
}

#define FASTCGI_STDERR 7

/* The status is in the first record that is none of STDERR. Returns the first bytes that
 * were looked at. */
__noinline u64 fastcgi_status(struct slot *s, const struct source *src, u64 skip, const struct ref *self)
{
	u32 at = 0, before, taken;
	u64 first = 0;

	if (!s || !src || !self)
		return 0;
	before = s->reply_len;
	taken = take_head(s, src, skip, 1);
	first = taken_word(s, before, taken, 1);
	if (taken) {
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
	return first;
}

/* The walk has come to a stop, or to the end of what was written. Returns 1 when the
 * reply is over. */
static __always_inline u32 reply_walked(struct conn *conn, struct slot *s, const struct ref *self, u64 now)
{
	struct walk *w = &conn->out_walk;

	/* Behind the head, whose status may not have been the first in it. */
	if (w->phase >= WALK_SIZE && !(s->flags & SLOT_FASTCGI) && w->status != s->status) {
		s->status = w->status;
		status_check(s, self, now);
	}
	if (w->flags & WALK_BAD || w->phase == WALK_LOST)
		s->flags |= SLOT_GAP;
	if (w->flags & WALK_TUNNEL)
		conn->role = ROLE_OPAQUE;
	if (w->phase == WALK_LOST)
		s->out_phase = OUT_UNKNOWN;
	else if (w->phase == WALK_CLOSE)
		s->out_phase = OUT_CLOSE;
	return w->phase == WALK_OVER;
}

static __always_inline u64 feed_walk(struct conn *conn, struct slot *s, const struct ref *self,
				     const struct source *src, u64 skip, u64 first, u32 *ret_over)
{
	u64 used = walk(&conn->out_walk, src, skip, first);

	*ret_over = reply_walked(conn, s, self, src->now);
	return used;
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
	if (s->reply_len == before || (s->reply_len >= 8 && !is_reply(*(u64 *)s->reply))) {
		s->flags |= SLOT_GAP; /* not to be read, or no HTTP/1 */
		s->out_phase = OUT_UNKNOWN;
		return avail;
	}
	scan_head(s, 1, &sc);
	if (sc.end ? sc.odd : s->reply_len - before < avail || s->reply_len >= SLOT_HEAD || sc.given_up) {
		if (!sc.end) {
			s->flags |= SLOT_REPLY_CUT;
			COUNT(head_cut);
		}
		s->out_phase = OUT_WALK;
		walk_begin(&conn->out_walk, WALK_FIRST,
			   WALK_REPLY | (s->method == METHOD_HEAD      ? WALK_HEAD
					 : s->method == METHOD_CONNECT ? WALK_CONNECT
								       : 0));
		used = walk_kept(&conn->out_walk, s, 1) - before;
		*ret_over = reply_walked(conn, s, self, src->now);
		return used;
	}
	if (!sc.end)
		return avail;
	used = sc.end > before ? sc.end - before : 0;
	if (s->status >= 100 && s->status < 200 && s->status != 101) {
		/* An interim reply: the real one follows. */
		s->status = 0;
		s->reply_len = 0;
		s->reply_ns = 0;
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
	} else if (s->out_phase == OUT_WALK && avail) {
		avail = feed_walk(conn, s, self, src, skip + used, 0, ret_over);
	}
	return used + avail;
}

/* To a request that has no slot: where the reply ends, so that the next is not mistaken. */
static __always_inline u64 feed_skipped(struct conn *conn, const struct source *src, u64 skip)
{
	struct walk *w = &conn->out_walk;
	u64 used;

	if (!conn->skipping) {
		walk_begin(w, conn->fastcgi ? WALK_RECORD : WALK_FIRST,
			   WALK_REPLY | (conn->skipped_head & 1 ? WALK_HEAD : 0));
		conn->skipping = 1;
	}
	used = walk(w, src, skip, 0);
	if (w->phase != WALK_OVER && w->phase != WALK_LOST)
		return used;
	if (w->flags & WALK_TUNNEL)
		conn->role = ROLE_OPAQUE;
	conn->skipping = 0;
	conn->skipped--;
	conn->skipped_head >>= 1;
	return used;
}

/* Feeds what a write took, from 'skip' on, to the oldest request that waits for its
 * reply. Returns how many bytes belonged to it. */
__noinline u64 feed_reply(struct conn *conn, const struct source *src, u64 skip)
{
	struct ref self;
	struct slot *s;
	u32 over = 0;
	u64 used, first;

	if (!conn || !src || skip >= src->len)
		return 0;
	if (!conn->queue_len)
		return conn->skipped ? feed_skipped(conn, src, skip) : 0;
	used = src->len - skip;
	self = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&self);
	if (!s) {
		conn->queue_head = (conn->queue_head + 1) & (QUEUE_MAX - 1);
		conn->queue_len--;
		return 0;
	}
	if (!s->reply_ns) {
		s->reply_ns = src->now;
		s->server_ns = src->now - s->last_ns;
		if (!(s->flags & SLOT_INNER) && may_have_parent(src->port))
			find_late_parent(self.slot);
	}
	s->last_ns = src->now;
	if (s->flags & SLOT_FASTCGI) {
		if (s->out_phase == OUT_NONE) {
			s->out_phase = OUT_WALK;
			walk_begin(&conn->out_walk, WALK_RECORD, WALK_REPLY);
		}
		first = s->status ? 0 : fastcgi_status(s, src, skip, &self);
		if (s->out_phase == OUT_WALK)
			used = feed_walk(conn, s, &self, src, skip, first, &over);
	} else if (s->out_phase == OUT_NONE || s->out_phase == OUT_HEAD) {
		used = feed_reply_head(conn, s, &self, src, skip, &over);
	} else if (s->out_phase == OUT_LENGTH) {
		if (used > s->out_left)
			used = s->out_left;
		s->out_left -= used;
		over = s->out_left == 0;
	} else if (s->out_phase == OUT_WALK) {
		used = feed_walk(conn, s, &self, src, skip, 0, &over);
	}
	s->reply_bytes += used;
	event(s, EVENT_SEND, src->nr, used, src->now, 0);
	if (over)
		conn_pop(conn, 0, src->now);
	return used;
}

/* A reply to a request that was not seen: counted. Returns how many bytes it has. */
__noinline u64 feed_unseen(struct conn *conn, const struct source *src, u64 skip)
{
	u64 first;
	u32 n;

	if (!conn || !src || conn->queue_len || conn->skipped || conn->role != ROLE_SERVER || conn->fastcgi)
		return 0;
	first = peek(src, skip, &n);
	if (n != 8 || !is_reply(first))
		return 0;
	COUNT(unseen);
	if (conn->blind)
		COUNT(blind);
	walk_begin(&conn->out_walk, WALK_FIRST, WALK_REPLY);
	return walk(&conn->out_walk, src, skip, 0);
}

/* What a write took, from 'at' on. Returns how far it came. */
__noinline u64 feed_some_replies(struct conn *conn, const struct source *src, u64 at)
{
	if (!conn || !src)
		return at;
	for (int i = 0; i < FEEDS; i++) {
		u64 used = feed_reply(conn, src, at);

		if (!used)
			used = feed_unseen(conn, src, at);
		at += used;
		if (!used || at >= src->len)
			return at;
	}
	return at | FED_NOT_ALL;
}

/* Feeds all that a write took. */
static __always_inline void feed_replies(struct conn *conn, const struct source *src)
{
	u64 at = feed_reply(conn, src, 0);

	if (unlikely(!at))
		at = feed_unseen(conn, src, 0);
	if (likely(!at || at >= src->len))
		return;
	for (int i = 0; i < FEEDS; i++) {
		at = feed_some_replies(conn, src, at);
		if (!(at & FED_NOT_ALL))
			break;
		at &= ~FED_NOT_ALL;
	}
}

#endif
