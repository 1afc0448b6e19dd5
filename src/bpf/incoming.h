/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests coming in: where one begins, its head is complete, its body ends. */
#ifndef REQTRAP_BPF_INCOMING_H
#define REQTRAP_BPF_INCOMING_H

#include "bytes.h"
#include "recorder.h"
#include "walk.h"

/* Messages, or parts of them, of one call: a read of 16 KiB holds no more than the square of
 * this. Two loops, since the verifier goes over each step. */
#define FEEDS 32
#define FED_NOT_ALL (1ull << 63) /* beside how far it came: there may be more */

/* How far the program has read, whatever it read with. */
static __always_inline u32 read_so_far(const struct conn *conn, const struct source *src)
{
	struct tcp_sock *tp = (struct tcp_sock *)src->sk;

	return conn->family == AF_UNIX ? 0 : BPF_CORE_READ(tp, copied_seq);
}

__noinline int body_begins(struct conn *conn, const struct source *src)
{
	if (conn && src)
		conn->in_seq = read_so_far(conn, src);
	return 0;
}

/* Of a body some may have been read in a way that nobody sees (splice, io_uring): TCP counts it. */
__noinline int body_unseen(struct conn *conn, const struct source *src)
{
	struct slot *s;
	u64 unseen;
	u32 at;

	if (!conn || !src || conn->family == AF_UNIX)
		return 0;
	at = read_so_far(conn, src);
	unseen = (u32)(at - conn->in_seq - (u32)src->len);
	conn->in_seq = at;
	if (unseen > conn->in_left)
		return 0; /* also what is less than nothing: it is none of ours */
	s = slot_of(&conn->in);
	if (s)
		s->request_bytes += unseen;
	conn->in_left -= unseen;
	if (!conn->in_left)
		conn->in_phase = IN_IDLE;
	return 1;
}

/* The head is complete at scanned.end: what body follows? */
static __always_inline void request_framed(struct conn *conn, struct slot *s, const struct scanned *sc,
					   const struct source *src)
{
	s->head_ns = src->now;
	conn->in_phase = IN_IDLE;
	if (sc->chunked) {
		conn->in_phase = IN_WALK;
		walk_begin(&conn->in_walk, WALK_SIZE, 0);
	} else if (sc->number) {
		conn->in_left = sc->number;
		conn->in_phase = IN_LENGTH;
		body_begins(conn, src);
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
	if (!s && conn->skipped && conn->skipped <= 64 && w->flags & WALK_HEAD)
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
		used = walk(w, &kept, at, 0);
		at += used;
		if (!used || at >= kept.len)
			break;
	}
	return at;
}

/* These bytes begin no request: what they are we do not know. Returns how many need no further
 * look, given what the others would be. */
__noinline u64 request_none(const struct source *src, u64 all, u64 w, u32 n, u32 index)
{
	if (!src)
		return 0;
	if (index != SLOT_NONE)
		slot_give_back(index);
	if (n == 0 && !src->readable)
		COUNT(blind);
	return n && ((w & 0xff) == '\r' || (w & 0xff) == '\n') ? 1 : all; /* an empty line before a request is none */
}

/* There is no slot for it, or no place in the queue: it is counted, and followed so that what
 * comes behind it is not mistaken. */
__noinline u64 request_skip(struct conn *conn, const struct source *src, u64 skip, u32 index)
{
	u64 used;

	if (!conn || !src)
		return 0;
	if (index == SLOT_NONE) {
		COUNT(refused);
	} else {
		COUNT(refused_queue);
		slot_give_back(index);
	}
	if (!conn->skipped)
		conn->skipped_head = 0;
	conn->skipped++;
	conn->in.gen = 0;
	conn->in_phase = IN_WALK;
	walk_begin(&conn->in_walk, conn->fastcgi ? WALK_RECORD : WALK_FIRST, 0);
	used = walk(&conn->in_walk, src, skip, 0);
	request_walked(conn, NULL, src->now);
	return used;
}

/* A new request comes while the end of the last reply cannot be seen: the client knows
 * that it was over. */
__noinline int reply_given_up(struct conn *conn, u64 now)
{
	struct ref oldest;
	struct slot *s;

	if (!conn || !conn->queue_len)
		return 0;
	oldest = conn->queue[conn->queue_head & (QUEUE_MAX - 1)];
	s = slot_of(&oldest);
	/* An older one may have been a HEAD: its reply had no body. */
	if (s && s->reply_ns && (s->out_phase == OUT_UNKNOWN || s->flags & SLOT_START_UNKNOWN))
		conn_pop(conn, SLOT_END_INFERRED, now);
	return 0;
}

/* What follows a head: returns how many bytes of it these are. */
__noinline u64 feed_body(struct conn *conn, const struct source *src, u64 skip)
{
	u64 used, first = 0;
	struct slot *s;

	if (!conn || !src || skip >= src->len)
		return 0;
	used = src->len - skip;
	s = slot_of(&conn->in);
	if (conn->in_phase == IN_LENGTH) {
		if (used > conn->in_left)
			used = conn->in_left;
		conn->in_left -= used;
		if (!conn->in_left)
			conn->in_phase = IN_IDLE;
	} else if (conn->in_phase == IN_WALK) {
		if (s && s->flags & SLOT_FASTCGI) {
			u32 at = s->head_len;

			if (unlikely(used > SLOT_HEAD - at && at >= FASTCGI_HEADER && at < SLOT_HEAD) &&
			    conn->in_walk.phase == WALK_CONTENT && params_take(s, src, skip))
				first = 0;
			else
				first = taken_word(s, at, take_head(s, src, skip, 0), 0);
		}
		/* Records in one buffer are all that most reads of FastCGI bring. */
		if (likely(conn->fastcgi && src->readable && !src->iov_count))
			used = walk_records(&conn->in_walk, src, skip, first) - skip;
		else
			used = 0;
		if (unlikely(skip + used < src->len))
			used += walk(&conn->in_walk, src, skip + used, used ? 0 : first);
		request_walked(conn, s, src->now);
	}
	if (s) {
		s->request_bytes += used;
		s->last_ns = src->now;
	}
	return used;
}

/* The head in the slot is not plain, or only the begin of one. Returns how many of the new
 * bytes were looked at. */
__noinline u64 head_walk(struct conn *conn, struct slot *s, u32 before, u64 now)
{
	u64 used;

	if (!conn || !s)
		return 0;
	conn->in_phase = IN_WALK;
	walk_begin(&conn->in_walk, WALK_FIRST, 0);
	used = walk_kept(&conn->in_walk, s, 0) - before;
	request_walked(conn, s, now);
	if (!s->head_ns) {
		s->flags |= SLOT_HEAD_CUT;
		COUNT(head_cut);
	}
	return used;
}

/* What has begun is a request. Counted before its slot says so: who finds its caller meanwhile
 * (find_late_parent) moves only what was counted. */
static __always_inline void request_counted(struct slot *s)
{
	if (unlikely(s->flags & SLOT_INNER))
		COUNT(inner);
	else
		COUNT(requests);
}

/* What is known of the request's head after 'before' bytes of it. Returns how many of the new
 * ones belong to it. */
static __always_inline u64 feed_head(struct conn *conn, struct slot *s, const struct source *src, u64 avail, u32 before)
{
	struct scanned sc = {};
	u64 used = avail;

	s->last_ns = src->now;
	scan_head(s, 0, &sc);
	if (likely(sc.end && !sc.odd)) {
		used = sc.end > before ? sc.end - before : 0;
		request_framed(conn, s, &sc, src);
	} else if (sc.end || s->head_len - before < avail || s->head_len >= SLOT_HEAD || sc.given_up) {
		used = head_walk(conn, s, before, src->now);
	}
	s->request_bytes += used;
	event(s, EVENT_RECV, src->nr, used, src->now, 0);
	return used ? used : avail;
}

/* More of a head. Returns how many of the bytes belong to it. */
static __always_inline u64 head_goes_on(struct conn *conn, const struct source *src, u64 skip)
{
	u32 n, before, fits = 1;
	struct slot *s;
	u64 avail;

	if (!conn || !src || skip >= src->len)
		return 0;
	avail = src->len - skip;
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
	if (s->method == 0) {
		n = s->head_len < 8 ? s->head_len : 8;
		fits = method_of(*(u64 *)s->head, n);
		if (fits == METHOD_OTHER || (!fits && n == 8))
			fits = other_method_kept(s);
		if (n == 8) {
			if (fits)
				request_counted(s);
			s->method = fits;
		}
	}
	if (!fits) { /* the first bytes only looked like one */
		s->last_ns = src->now;
		conn->in_phase = IN_IDLE;
		conn->queue_len--;
		slot_end(conn->in.slot, conn->in.gen, 0, 0, src->now);
		conn->in.gen = 0;
		return avail;
	}
	return feed_head(conn, s, src, avail, before);
}

/* Feeds what a read brought, from 'skip' on. Returns how many bytes it used. A request's first
 * bytes go right into a free slot. */
__noinline u64 feed_request(struct conn *conn, const struct source *src, u64 skip, const struct ref *parent)
{
	struct slot *s = NULL;
	u32 n, index, method;
	bool fastcgi;
	u64 avail, w;

	if (!conn || !src || !parent || skip >= src->len)
		return 0;
	avail = src->len - skip;
	if (unlikely(conn->in_phase == IN_HEAD))
		return head_goes_on(conn, src, skip);
	if (conn->in_phase != IN_IDLE)
		return feed_body(conn, src, skip);
	index = slot_take(&s);
	if (likely(s)) {
		take_head(s, src, skip, 0);
		n = s->head_len < 8 ? s->head_len : 8;
		w = *(u64 *)s->head;
	} else {
		w = peek(src, skip, &n);
	}
	method = method_of(w, n);
	fastcgi = is_fastcgi_begin(w, n);
	if (unlikely(s && (method == METHOD_OTHER || (!method && !fastcgi && n == 8))))
		method = other_method_kept(s);
	if (unlikely(n == 0 || (!fastcgi && !method)))
		return request_none(src, avail, w, n, index);
	conn->role = ROLE_SERVER;
	conn->fastcgi = fastcgi;
	if (unlikely(conn->queue_len))
		reply_given_up(conn, src->now);
	if (unlikely(!s || conn->skipped || conn->queue_len >= QUEUE_MAX))
		return request_skip(conn, src, skip, index);
	slot_begin(conn, s, index, src, parent);
	clock_arm(index, src->now);
	if (!fastcgi) {
		conn->in_phase = IN_HEAD;
		if (likely(n == 8)) {
			request_counted(s);
			s->method = method;
		}
		return feed_head(conn, s, src, avail, 0);
	}
	request_counted(s);
	s->flags |= SLOT_FASTCGI;
	s->head_ns = src->now;
	conn->in_phase = IN_WALK;
	if (unlikely(s->head_len == SLOT_HEAD)) { /* a record that begins it, and that of its parameters */
		s->head_len = 3 * FASTCGI_HEADER;
		if (!params_take(s, src, skip + s->head_len))
			s->head_len = SLOT_HEAD;
	}
	walk_begin(&conn->in_walk, WALK_RECORD, 0);
	avail = walk(&conn->in_walk, src, skip, taken_word(s, 0, s->head_len, 0));
	request_walked(conn, s, src->now);
	s->request_bytes = avail;
	event(s, EVENT_RECV, src->nr, avail, src->now, 0);
	return avail;
}

/* From 'at' on. Returns how far it came. */
__noinline u64 feed_some(struct conn *conn, const struct source *src, u64 at, const struct ref *parent)
{
	if (!conn || !src || !parent)
		return at;
	for (int i = 0; i < FEEDS; i++) {
		u64 used = feed_request(conn, src, at, parent);

		at += used;
		if (!used || at >= src->len)
			return at;
	}
	return at | FED_NOT_ALL;
}

/* Feeds all that a read brought. */
static __always_inline void feed_requests(struct conn *conn, const struct source *src, const struct ref *parent)
{
	struct slot *s;
	u64 at;

	/* What comes behind a body of unknown length ends where the next request begins. */
	if (conn->in_phase == IN_UNKNOWN && conn->queue_len == 0)
		conn->in_phase = IN_IDLE;
	if (unlikely(conn->in_phase == IN_LENGTH))
		body_unseen(conn, src);
	at = conn->in_phase == IN_WALK ? feed_body(conn, src, 0) : feed_request(conn, src, 0, parent);
	if (likely(at >= src->len))
		return;
	for (int i = 0; i < FEEDS && at; i++) {
		at = feed_some(conn, src, at, parent);
		if (!(at & FED_NOT_ALL))
			break;
		at &= ~FED_NOT_ALL;
	}
	if (at >= src->len)
		return;
	/* More in one read than is looked at: the replies to the others will count as unseen. */
	s = slot_of(&conn->in);
	if (s)
		s->flags |= SLOT_GAP;
	conn->in_phase = IN_UNKNOWN;
}

#endif
