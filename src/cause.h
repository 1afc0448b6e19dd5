/* SPDX-License-Identifier: MIT */
/* Inside the verdict: the incident as its rules want it, the table of causes, and the
 * words that sentences are made of. A new cause is a row of the table in cause.c with
 * its test and its sentence. Pure. */
#ifndef REQTRAP_CAUSE_H
#define REQTRAP_CAUSE_H

#include "buf.h"
#include "incident.h"
#include "waits.h"

#define PIECE_MAX 1000 /* bytes of one line of evidence, or of a place */

/* How the trace words what it knows of a wait. */
#define CALLED "the answer of "
#define QUEUED "before the holder got the request"

struct view {
	const struct incident *i;
	const struct thread *t;	    /* the holder's thread at the snapshot, NULL none */
	const struct spending *top; /* the largest part, NULL if there is no trace */
	const char *call;	    /* the main wait's, NULL */
	enum wait_kind kind;
	const char *object;   /* what the main wait is for, NULL unknown */
	unsigned int percent; /* of the time taken that 'top' is */
	bool agrees;	      /* the snapshot shows the thread doing just that */
};

const struct spending *spent(const struct incident *i, enum spend kind); /* the first of that kind; NULL */
struct view view_of(const struct incident *incident);

/* What it takes to be sure of a cause. */
enum proof {
	PROOF_BOTH,	/* trace and snapshot agree */
	PROOF_TRACE,	/* the trace alone: nothing on a stack would show it */
	PROOF_SNAPSHOT, /* the moment alone: the status was just sent */
};

struct cause {
	const char *name; /* for machines: of incident.json, never changed once it is out */
	bool (*test)(const struct view *v);
	void (*tell)(const struct view *v, struct buf *out); /* a sentence without its full stop */
	const char *most;				     /* the confidence it can have at most */
	enum proof proof;
	const char *advice;
};

/* In the order they are asked; the last one fits always. */
extern const struct cause causes[];
extern const size_t cause_count;

static inline bool starts(const char *text, const char *with)
{
	size_t n = 0;

	while (text && with[n] && text[n] == with[n])
		n++;
	return text && !with[n];
}

void put_ns(struct buf *out, uint64_t ns);
void put_for(struct buf *out, const struct view *v);		   /* ' for 0.50 of 0.50 s' */
void put_part(struct buf *out, const struct view *v, uint64_t ns); /* ... of a part that is not the largest */
void put_request(struct buf *out, const struct incident *i);	   /* 'GET /path' */
void put_subject(struct buf *out, const struct view *v);	   /* 'PHP worker 4711' */

/* What a thread does, as the end of 'held by thread 815, which ...'. */
void put_doing(struct buf *out, const struct thread *t);

/* 'usleep() called by slow_part() at /srv/slow.php:3', 'holder_work at victim.c:7';
 * false if nothing is known. */
bool put_place(struct buf *out, const struct thread *t);
void put_function(struct buf *out, const struct frame *f); /* 'slow_part()', '{main}' */

/* What a wait is for: of 'fd 7 (tcp A -> B)' what people know it by. */
void put_object(struct buf *out, const char *object);

/* The place after 'before', or nothing: it counts only if the thread stood in the wait
 * that the sentence is about. */
void put_in_place(struct buf *out, const struct view *v, const char *before);

/* The chain beyond the holder's process counts only if the thread stood in the wait that the
 * sentence is about. Inside a sentence: ', held by php-fpm 20214 (GET /report, 41.00 s old),
 * which is itself reading from ...'; else behind it, after a semicolon. */
bool has_chain(const struct view *v);
void put_chain(struct buf *out, const struct view *v, bool inside);
void put_own_lock(struct buf *out, const struct view *v); /* what the thread waits for */
const struct beyond *chain_cycle(const struct view *v);	  /* it comes round at this step; NULL */
bool chain_of_locks(const struct view *v);		  /* each step holds a lock */

const struct frame *own_frame(const struct stack *script); /* of a script with frames: the program's own, innermost */
const struct frame *native_frame(const struct thread *t);  /* the innermost that is the program's own; NULL */
const struct thread *thread_by_tid(const struct incident *i, pid_t tid); /* NULL */

bool test_client(const struct view *v); /* it waits for who asked for the request */

bool test_lock(const struct view *v);
bool test_cpu(const struct view *v);
void put_computing(struct buf *out, const struct view *v); /* how long, and where */

/* Rows of cause_known.c. */
bool test_passed_on(const struct view *v);
void tell_passed_on(const struct view *v, struct buf *out);
bool test_pipe_full(const struct view *v);
void tell_pipe_full(const struct view *v, struct buf *out);
bool test_mark(const struct view *v);
void tell_mark(const struct view *v, struct buf *out);
bool test_join(const struct view *v);
bool test_convoy(const struct view *v);
void tell_convoy(const struct view *v, struct buf *out);
bool test_ruby_sleep(const struct view *v); /* told by tell_sleep() */
bool test_ruby_signals(const struct view *v);
void tell_ruby_signals(const struct view *v, struct buf *out);
bool test_sqlite(const struct view *v);
void tell_sqlite(const struct view *v, struct buf *out);
bool test_regex(const struct view *v);
void tell_regex(const struct view *v, struct buf *out);
bool test_collection(const struct view *v);
void tell_collection(const struct view *v, struct buf *out);

/* Rows of cause_java.c. */
bool test_parked_sleep(const struct view *v);
void tell_parked_sleep(const struct view *v, struct buf *out);
bool test_connections(const struct view *v);
void tell_connections(const struct view *v, struct buf *out);
bool test_stopped_for_gc(const struct view *v);
bool test_gc_beside(const struct view *v);
void tell_gc(const struct view *v, struct buf *out);

/* Rows of cause_scene.c. */
bool test_pool(const struct view *v);
void tell_pool(const struct view *v, struct buf *out);
bool test_sql(const struct view *v);
bool test_redis(const struct view *v);
void tell_asked(const struct view *v, struct buf *out);
bool test_lookup(const struct view *v);
void tell_lookup(const struct view *v, struct buf *out);
bool test_throttled(const struct view *v);
bool test_throttled_about_then(const struct view *v);
void tell_throttled(const struct view *v, struct buf *out);
bool test_memory(const struct view *v);
void tell_memory(const struct view *v, struct buf *out);
bool test_held_back(const struct view *v);
void tell_held_back(const struct view *v, struct buf *out);

#endif
