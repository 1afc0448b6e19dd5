/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests coming in: where one begins, its head is complete, its body ends. */
#ifndef REQTRAP_BPF_INCOMING_H
#define REQTRAP_BPF_INCOMING_H

#include "bytes.h"
#include "recorder.h"

/* The last chunk, with or without trailers. These come in the write that begins with
 * it: '0\r\nName: value\r\n\r\n'. */
static __always_inline bool chunks_ended(const struct source *src, u64 tail)
{
	u32 n;

	if (tail_is_last_chunk(tail))
		return true;
	return (tail & 0xffffffffull) == 0x0d0a0d0aull &&
	       (peek(src, 0, &n) & 0xffffff) == ('0' | '\r' << 8 | '\n' << 16);
}

/* The head is complete at scanned.end: what body follows? */
static __always_inline void request_framed(struct conn *conn, struct slot *s, const struct scanned *sc, u64 now)
{
	s->head_ns = now;
	conn->in_left = 0;
	conn->in_phase = IN_IDLE;
	if (sc->chunked) {
		conn->in_phase = IN_CHUNKED;
		conn->in_tail = 0;
	} else if (sc->length) {
		conn->in_left = read_number(s, 0, sc->length);
		if (conn->in_left)
			conn->in_phase = IN_LENGTH;
	}
}

/* A new request comes while the end of the last reply has not been seen (a head too
 * long to look through, trailers): the client knows that it was over. */
static __always_inline void reply_given_up(struct conn *conn, u64 now)
{
	struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;

	if (s && s->reply_ns && (s->out_phase == OUT_UNKNOWN || s->out_phase == OUT_CHUNKED))
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
	} else if (conn->in_phase == IN_CHUNKED) {
		conn->in_tail = take_tail(src, conn->in_tail);
		if (chunks_ended(src, conn->in_tail))
			conn->in_phase = IN_IDLE;
	} else if (conn->in_phase == IN_FASTCGI && s) {
		take_head(s, src, skip, 0);
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
	reply_given_up(conn, src->now);
	if (!s) {
		COUNT(refused);
		return NULL;
	}
	if (conn->queue_len >= QUEUE_MAX) {
		COUNT(refused_queue);
		slot_give_back(index);
		return NULL;
	}
	slot_begin(conn, s, index, fastcgi ? SLOT_FASTCGI : 0, src, parent);
	if (s->flags & SLOT_INNER)
		COUNT(inner);
	clock_arm(index, src->now);
	conn->in_phase = fastcgi ? IN_FASTCGI : IN_HEAD;
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
			s->request_bytes = avail;
			event(s, EVENT_RECV, src->nr, avail, src->now, 0);
			return avail;
		}
	} else {
		s = slot_of(&conn->in);
		if (!s) {
			conn->in_phase = IN_IDLE;
			return avail;
		}
		before = s->head_len;
		if (!take_head(s, src, skip, 0) && before < SLOT_HEAD)
			return avail; /* unreadable */
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
	if (sc.end) {
		used = sc.end > before ? sc.end - before : 0;
		request_framed(conn, s, &sc, src->now);
	} else if (s->head_len >= SLOT_HEAD && !(s->flags & SLOT_HEAD_CUT)) {
		/* Too long to look through: its body's length is not known. */
		s->flags |= SLOT_HEAD_CUT;
		s->head_ns = src->now;
		COUNT(head_cut);
		conn->in_phase = IN_UNKNOWN;
	}
	s->request_bytes += used;
	event(s, EVENT_RECV, src->nr, used, src->now, 0);
	return used ? used : avail;
}

#endif
