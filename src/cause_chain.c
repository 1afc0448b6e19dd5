// SPDX-License-Identifier: MIT
/* The half sentence that follows the wait out of the holder's process: who has what it waits
 * for, and what that one does. Rejected: a sentence for each kind of wait at each step (they
 * are the same few words). Trap: the rows are of the snapshot; a verdict about something
 * else must not be given them. */
#include "cause.h"

#include "locks.h"

#include <string.h>

bool has_chain(const struct view *v)
{
	return v->agrees && v->i->beyond_count;
}

static bool is_guess(const struct beyond *b)
{
	return b->how && strstr(b->how, BEYOND_GUESS);
}

const struct beyond *chain_cycle(const struct view *v)
{
	const struct beyond *last = has_chain(v) ? &v->i->beyond[v->i->beyond_count - 1] : NULL;

	for (size_t n = 0; last && n < v->i->beyond_count; n++) {
		if (is_guess(&v->i->beyond[n])) /* a circle through who may not be on it is none */
			return NULL;
	}
	return last && last->cycle ? last : NULL;
}

bool chain_of_locks(const struct view *v)
{
	for (size_t n = 0; n < v->i->beyond_count; n++) {
		if (!starts(v->i->beyond[n].how, "holds "))
			return false;
	}
	return v->i->beyond_count;
}

/* Of a lock without who has it, if that is told next; 'tcp 10.0.0.5:3306' of 'fd 9 (tcp 10.0.0.8:51234 -> 10.0.0.5:3306)' */
static void put_far_end(struct buf *out, const char *waits_for, bool more)
{
	const char *held = more ? strstr(waits_for, LOCKS_HELD_BY) : NULL;
	const char *by = held ? held : strstr(waits_for, WAITS_LOCKED_BY);
	CLEAN(free) char *object = strndup(waits_for, by ? (size_t)(by - waits_for) : strlen(waits_for));
	char *tcp = object ? strstr(object, "tcp ") : NULL, *to = tcp ? strstr(tcp, "-> ") : NULL;

	if (to)
		memmove(tcp + 4, to + 3, strlen(to + 3) + 1);
	put_object(out, object ? object : waits_for);
}

/* 'is itself reading from tcp 10.0.0.5:3306 in Report::yearly() at Report.php:88' */
static void put_itself(struct buf *out, const struct thread *t, bool more)
{
	bool sends = starts(t->call, "send") || starts(t->call, "write") || starts(t->call, "splice");
	const char *object = t->waits_for && t->waits_for[0] ? t->waits_for : NULL;
	enum wait_kind kind = wait_kind_of(t->call);
	struct buf place;

	if (t->state == 'T')
		buf_adds(out, "was stopped by a signal");
	else if (kind == WAIT_SLEEP)
		buf_addf(out, "is itself asleep (%s)", t->call);
	else if (kind == WAIT_FILE_LOCK)
		buf_adds(out, "is itself waiting for the lock on ");
	else if (kind == WAIT_FD && object)
		buf_adds(out, sends ? "is itself writing to " : "is itself reading from ");
	else if (t->call && object)
		buf_adds(out, "is itself waiting for ");
	else if (t->call)
		buf_addf(out, "is itself in %s", t->call);
	else
		buf_adds(out, t->state == 'R' ? "is computing" : "is in no system call");
	if (t->state != 'T' && (kind == WAIT_FILE_LOCK || (object && kind != WAIT_SLEEP && t->call)))
		put_far_end(out, object ? object : "a file", more);
	buf_init(&place, PIECE_MAX);
	if (put_place(&place, t))
		buf_addf(out, " in %s", place.data);
	buf_done(&place);
}

/* The owner is left out where the chain begins with it. */
void put_own_lock(struct buf *out, const struct view *v)
{
	const char *waits_for = v->t->waits_for ? v->t->waits_for : "a lock";
	bool told = has_chain(v) && v->i->beyond[0].pid != v->i->holder_pid;
	const char *by = strstr(waits_for, LOCKS_HELD_BY);

	if (!by)
		by = strstr(waits_for, WAITS_LOCKED_BY);
	if (v->kind == WAIT_FILE_LOCK)
		buf_addf(out, "the lock (%s) on ", v->call);
	if (by && (told || chain_cycle(v))) {
		CLEAN(free) char *object = strndup(waits_for, (size_t)(by - waits_for));

		put_object(out, object ? object : waits_for);
	} else {
		put_object(out, waits_for);
	}
}

static void put_who(struct buf *out, const struct beyond *b)
{
	buf_addf(out, "%s %d", b->process ? b->process : "process", b->pid);
	if (b->tid && b->tid != b->pid)
		buf_addf(out, is_guess(b) ? ", perhaps its thread %d" : " thread %d", b->tid);
	if (b->request) {
		buf_addf(out, " (%s, ", b->request);
		put_ns(out, b->request_age_ns);
		buf_adds(out, " old)");
	}
}

/* How a step follows from the one before; behind a whole sentence, or inside of one. */
static const char *link_of(const struct beyond *b, bool inside)
{
	static const struct {
		const char *how, *inside, *behind;
	} row[] = {
		{ "holds ", ", held by ", "; it is held by " },
		{ "is the child", ", that is ", "; that child is " },
		{ "is one of", ", one of them ", "; one of them is " },
		{ "reads from", ", whose reader is ", "; its reader is " },
		{ "writes to", ", whose writer is ", "; its writer is " },
		{ "is the thread", ", that is ", "; that is " },
	};

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		if (starts(b->how, row[n].how))
			return inside ? row[n].inside : row[n].behind;
	}
	return inside ? ", whose other end is " : "; its other end is ";
}

void put_chain(struct buf *out, const struct view *v, bool inside)
{
	bool followed = true; /* the step before was told of with what it does */

	for (size_t n = 0; n < v->i->beyond_count && has_chain(v); n++) {
		const struct beyond *b = &v->i->beyond[n];

		/* Inside the holder's process the sentence has followed it already. */
		if (b->pid == v->i->holder_pid && b->tid && !chain_cycle(v))
			continue;
		if (!followed)
			return;
		if (!b->pid) {
			buf_addf(out, "%s%s", inside ? ", where " : "; ",
				 b->failed ? b->failed : "its holder is not known");
			return;
		}
		buf_adds(out, link_of(b, inside));
		if (b->cycle && b->pid == v->i->holder_pid)
			buf_addf(out, "%s %d itself", b->process ? b->process : "process", b->pid);
		else
			put_who(out, b);
		inside = true;
		followed = b->thread.tid;
		if (followed) {
			buf_adds(out, ", which ");
			put_itself(out, &b->thread, n + 1 < v->i->beyond_count);
		} else if (b->failed) {
			buf_addf(out, " (not looked at: %s)", b->failed);
		}
	}
}
