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
static __always_inline void reply_given_up(struct conn *conn)
{
	struct ref oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	struct slot *s = conn->queue_len ? slot_of(&oldest) : NULL;

	if (s && s->reply_ns && (s->out_phase == OUT_UNKNOWN || s->out_phase == OUT_CHUNKED))
		conn_pop(conn, SLOT_END_INFERRED);
}

/* Feeds what a read brought, from 'skip' on. Returns how many bytes it used. */
__noinline u64 feed_request(struct conn *conn, const struct source *src, u64 skip, const struct ref *parent)
{
	u64 now = bpf_ktime_get_ns(), avail, used;
	struct scanned sc = {};
	struct slot *s;
	u32 index, n, before, got, fits = 1;

	if (!conn || !src || !parent || skip >= src->len)
		return 0;
	avail = src->len - skip;
	if (conn->in_phase == IN_LENGTH) {
		used = avail < conn->in_left ? avail : conn->in_left;
		conn->in_left -= used;
		s = slot_of(&conn->in);
		if (s) {
			s->request_bytes += used;
			s->last_ns = now;
		}
		if (!conn->in_left)
			conn->in_phase = IN_IDLE;
		return used;
	}
	if (conn->in_phase == IN_CHUNKED || conn->in_phase == IN_FASTCGI || conn->in_phase == IN_UNKNOWN) {
		s = slot_of(&conn->in);
		if (s) {
			s->request_bytes += avail;
			s->last_ns = now;
			if (conn->in_phase == IN_FASTCGI)
				take_head(s, src, skip, 0);
		}
		if (conn->in_phase == IN_CHUNKED) {
			conn->in_tail = take_tail(src, conn->in_tail);
			if (chunks_ended(src, conn->in_tail))
				conn->in_phase = IN_IDLE;
		}
		return avail;
	}
	if (conn->in_phase == IN_IDLE) {
		u64 w = peek(src, skip, &n);
		bool fastcgi = is_fastcgi_begin(w, n);

		if (n && ((w & 0xff) == '\r' || (w & 0xff) == '\n'))
			return 1; /* an empty line before a request is none */
		if (!fastcgi && (n == 0 || !method_of(w, n)))
			return avail; /* not a request: what it is we do not know */
		conn->role = ROLE_SERVER;
		reply_given_up(conn);
		index = slot_begin(conn, src->sk, fastcgi ? SLOT_FASTCGI : 0, parent);
		if (index == SLOT_NONE)
			return avail;
		conn->in_phase = fastcgi ? IN_FASTCGI : IN_HEAD;
		s = slot_at(index);
		if (!s)
			return avail;
		s->fd = src->fd;
		bind_thread(s, index, now);
		if (s->flags & SLOT_INNER)
			COUNT(inner);
		clock_arm(index, now);
		if (fastcgi) {
			if (!(s->flags & SLOT_INNER))
				COUNT(requests);
			s->head_ns = now;
			s->request_bytes = avail;
			take_head(s, src, skip, 0);
			event(s, EVENT_RECV, src->nr, avail, now, 0);
			return avail;
		}
	} else {
		s = slot_of(&conn->in);
		if (!s) {
			conn->in_phase = IN_IDLE;
			return avail;
		}
	}
	/* IN_HEAD */
	before = s->head_len;
	got = take_head(s, src, skip, 0);
	if (s->method == 0) {
		n = s->head_len < 8 ? s->head_len : 8;
		fits = method_of(*(u64 *)s->head, n);
		if (n == 8) {
			s->method = fits;
			if (fits && !(s->flags & SLOT_INNER))
				COUNT(requests);
		}
	}
	if (!got && before < SLOT_HEAD)
		return avail; /* unreadable */
	s->last_ns = now;
	if (!fits) { /* the first bytes only looked like one */
		conn->in_phase = IN_IDLE;
		conn->queue_len--;
		slot_end(conn->in.slot, conn->in.gen, 0, 0);
		conn->in.gen = 0;
		return avail;
	}
	sc.line = 0;
	scan_head(s, 0, &sc);
	if (sc.end) {
		used = sc.end > before ? sc.end - before : 0;
		s->request_bytes += used;
		request_framed(conn, s, &sc, now);
	} else {
		used = avail;
		s->request_bytes += used;
		if (s->head_len >= SLOT_HEAD && !(s->flags & SLOT_HEAD_CUT)) {
			/* Too long to look through: its body's length is not known. */
			s->flags |= SLOT_HEAD_CUT;
			s->head_ns = now;
			COUNT(head_cut);
			conn->in_phase = IN_UNKNOWN;
		}
	}
	event(s, EVENT_RECV, src->nr, used, now, 0);
	return used ? used : avail;
}

#endif
