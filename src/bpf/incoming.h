/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests coming in: where one begins, its head is complete, its body ends. */
#ifndef REQTRAP_BPF_INCOMING_H
#define REQTRAP_BPF_INCOMING_H

#include "bytes.h"
#include "recorder.h"
#include "walk.h"

#define FEEDS 24 /* messages, or parts of them, of one call at most */

/* The head is complete at scanned.end: what body follows? */
static __always_inline void request_framed(struct conn *conn, struct slot *s, const struct scanned *sc, u64 now)
{
	s->head_ns = now;
	conn->in_phase = IN_IDLE;
	if (sc->chunked) {
		conn->in_phase = IN_WALK;
		walk_begin(&conn->in_walk, WALK_SIZE, 0);
	} else if (sc->number) {
		conn->in_left = sc->number;
		conn->in_phase = IN_LENGTH;
	}
}

/* The walk has come to a stop, or to the end of what was read. */
static __always_inline void request_walked(struct conn *conn, struct slot *s, u64 now)
{
	struct walk *w = &conn->in_walk;

	if (s && !s->head_ns && w->phase >= WALK_SIZE)
		s->head_ns = now;
	if (s && (w->flags & WALK_BAD || w->phase == WALK_LOST))
		s->flags |= SLOT_GAP;
	if (!s && conn->skipped && w->flags & WALK_HEAD)
		conn->skipped_head |= 1ull << ((conn->skipped - 1) & 63);
	if (w->phase == WALK_OVER)
		conn->in_phase = IN_IDLE;
	else if (w->phase == WALK_LOST)
		conn->in_phase = IN_UNKNOWN;
}

/* The head in the slot is odd, or not all of it is there: from its start, and on. */
static __always_inline u64 walk_kept(struct walk *w, struct slot *s, u32 reply)
{
	struct source kept = { .readable = SOURCE_KEPT };
	u64 at = 0, used;

	kept.base = reply ? (u64)s->reply : (u64)s->head;
	kept.len = reply ? s->reply_len : s->head_len;
	for (int i = 0; i < 2 + 2 * SLOT_HEAD / WALK_STEPS; i++) {
		used = walk(w, &kept, at);
		at += used;
		if (!used || at >= kept.len)
			break;
	}
	return at;
}

/* There is no slot for it: it is counted, and followed so that what comes behind it is
 * not mistaken. */
static __always_inline u64 request_skip(struct conn *conn, const struct source *src, u64 skip, bool fastcgi)
{
	u64 used;

	if (!conn->skipped)
		conn->skipped_head = 0;
	conn->skipped++;
	conn->in.gen = 0;
	conn->in_phase = IN_WALK;
	walk_begin(&conn->in_walk, fastcgi ? WALK_RECORD : WALK_FIRST, 0);
	used = walk(&conn->in_walk, src, skip);
	request_walked(conn, NULL, src->now);
	return used;
}

/* A new request comes while the end of the last reply cannot be seen: the client knows
 * that it was over. */
static __always_inline void reply_given_up(struct conn *conn, u64 now)
{
	struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;

	if (s && s->reply_ns && s->out_phase == OUT_UNKNOWN)
		conn_pop(conn, SLOT_END_INFERRED, now);
}

/* What follows a head: returns how many bytes of it these are. */
static __always_inline u64 feed_body(struct conn *conn, const struct source *src, u64 skip)
{
	u64 used = src->len - skip;
	struct slot *s = slot_of(&conn->in);

	if (conn->in_phase == IN_LENGTH) {
		if (used > conn->in_left)
			used = conn->in_left;
		conn->in_left -= used;
		if (!conn->in_left)
			conn->in_phase = IN_IDLE;
	} else if (conn->in_phase == IN_WALK) {
		if (s && s->flags & SLOT_FASTCGI)
			take_head(s, src, skip, 0);
		used = walk(&conn->in_walk, src, skip);
		request_walked(conn, s, src->now);
	}
	if (s) {
		s->request_bytes += used;
		s->last_ns = src->now;
	}
	return used;
}

/* Does a request begin with these bytes? They go right into a free slot. Returns it,
 * NULL if not; ret_used says how many bytes need no further look then. */
static __always_inline struct slot *request_begin(struct conn *conn, const struct source *src, u64 skip,
						  const struct ref *parent, u64 *ret_used)
{
	struct slot *s = NULL;
	u32 index = slot_take(&s), n;
	bool fastcgi;
	u64 w;

	if (s) {
		take_head(s, src, skip, 0);
		n = s->head_len < 8 ? s->head_len : 8;
		w = *(u64 *)s->head;
	} else {
		w = peek(src, skip, &n);
	}
	fastcgi = is_fastcgi_begin(w, n);
	if (n == 0 || (!fastcgi && !method_of(w, n))) {
		if (n == 0 && !src->readable)
			COUNT(blind);
		if (n && ((w & 0xff) == '\r' || (w & 0xff) == '\n'))
			*ret_used = 1; /* an empty line before a request is none */
		if (s)
			slot_give_back(index);
		return NULL; /* not a request: what it is we do not know */
	}
	conn->role = ROLE_SERVER;
	conn->fastcgi = fastcgi;
	reply_given_up(conn, src->now);
	if (!s || conn->skipped || conn->queue_len >= QUEUE_MAX) {
		if (!s)
			COUNT(refused);
		else
			COUNT(refused_queue);
		if (s)
			slot_give_back(index);
		*ret_used = request_skip(conn, src, skip, fastcgi);
		return NULL;
	}
	slot_begin(conn, s, index, fastcgi ? SLOT_FASTCGI : 0, src, parent);
	if (s->flags & SLOT_INNER)
		COUNT(inner);
	clock_arm(index, src->now);
	conn->in_phase = fastcgi ? IN_WALK : IN_HEAD;
	return s;
}

/* Feeds what a read brought, from 'skip' on. Returns how many bytes it used. */
__noinline u64 feed_request(struct conn *conn, const struct source *src, u64 skip, const struct ref *parent)
{
	u64 avail, used;
	struct scanned sc = {};
	struct slot *s;
	u32 n, before = 0, fits = 1;

	if (!conn || !src || !parent || skip >= src->len)
		return 0;
	avail = used = src->len - skip;
	if (conn->in_phase != IN_IDLE && conn->in_phase != IN_HEAD)
		return feed_body(conn, src, skip);
	if (conn->in_phase == IN_IDLE) {
		s = request_begin(conn, src, skip, parent, &used);
		if (!s)
			return used;
		if (s->flags & SLOT_FASTCGI) {
			if (!(s->flags & SLOT_INNER))
				COUNT(requests);
			s->head_ns = src->now;
			walk_begin(&conn->in_walk, WALK_RECORD, 0);
			used = walk(&conn->in_walk, src, skip);
			request_walked(conn, s, src->now);
			s->request_bytes = used;
			event(s, EVENT_RECV, src->nr, used, src->now, 0);
			return used;
		}
	} else {
		s = slot_of(&conn->in);
		if (!s) {
			conn->in_phase = IN_IDLE;
			return avail;
		}
		before = s->head_len;
		if (!take_head(s, src, skip, 0)) {
			s->flags |= SLOT_GAP; /* bytes of a head that nobody can read */
			COUNT(blind);
			return avail;
		}
	}
	if (s->method == 0) {
		n = s->head_len < 8 ? s->head_len : 8;
		fits = method_of(*(u64 *)s->head, n);
		if (n == 8) {
			s->method = fits;
			if (fits && !(s->flags & SLOT_INNER))
				COUNT(requests);
		}
	}
	s->last_ns = src->now;
	if (!fits) { /* the first bytes only looked like one */
		conn->in_phase = IN_IDLE;
		conn->queue_len--;
		slot_end(conn->in.slot, conn->in.gen, 0, 0, src->now);
		conn->in.gen = 0;
		return avail;
	}
	scan_head(s, 0, &sc);
	if (sc.end && !sc.odd) {
		used = sc.end > before ? sc.end - before : 0;
		request_framed(conn, s, &sc, src->now);
	} else if (sc.end || s->head_len >= SLOT_HEAD || sc.given_up) {
		conn->in_phase = IN_WALK;
		walk_begin(&conn->in_walk, WALK_FIRST, 0);
		used = walk_kept(&conn->in_walk, s, 0) - before;
		request_walked(conn, s, src->now);
		if (!s->head_ns) {
			s->flags |= SLOT_HEAD_CUT;
			COUNT(head_cut);
		}
	}
	s->request_bytes += used;
	event(s, EVENT_RECV, src->nr, used, src->now, 0);
	return used ? used : avail;
}

/* Feeds all that a read brought. */
static __always_inline void feed_requests(struct conn *conn, const struct source *src, const struct ref *parent)
{
	struct slot *s;
	u64 skip = 0;

	/* What comes behind a body of unknown length ends where the next request begins. */
	if (conn->in_phase == IN_UNKNOWN && conn->queue_len == 0)
		conn->in_phase = IN_IDLE;
	for (int i = 0; i < FEEDS; i++) {
		u64 used = feed_request(conn, src, skip, parent);

		skip += used;
		if (!used || skip >= src->len)
			break;
	}
	if (skip >= src->len)
		return;
	/* More in one read than is looked at. */
	COUNT(refused_queue);
	s = slot_of(&conn->in);
	if (s)
		s->flags |= SLOT_GAP;
	conn->in_phase = IN_UNKNOWN;
}

#endif
