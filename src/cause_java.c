// SPDX-License-Identifier: MIT
/* What a JVM's threads wait for in a futex that is no lock: its own words for it
 * (lang_java_locks.c) tell them apart. Trap: a collection stops a thread that waits for nothing;
 * the stack says that the JVM stopped it, and who used the CPU meanwhile says for what. */
#include "cause.h"

#include <math.h>
#include <string.h>

#define FRAMES_LOOKED 16
#define GC_SHARE_STOPPED 0.3 /* of one CPU, while threads stood */
#define GC_STOPS 5	     /* ... so often at least */
#define GC_SHARE_BESIDE 0.8  /* ... while the request's own computed */

static bool waits(const struct view *v, const char *with)
{
	return v->kind == WAIT_FUTEX && v->agrees && v->t && starts(v->t->waits_for, with);
}

/* ---- sleep ---- */

bool test_parked_sleep(const struct view *v)
{
	return waits(v, "a sleep to end");
}

void tell_parked_sleep(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " slept");
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* ---- a pool of connections ---- */

/* 'com.zaxxer.hikari.HikariPool.getConnection', 'shop.ConnectionPool.borrow' */
static bool takes_from_pool(const struct frame *f)
{
	static const char *const verbs[] = { "getConnection", "borrow", "acquire", "checkout", "checkOut", "lease" };
	const char *verb = f->function ? strrchr(f->function, '.') : NULL, *pool;

	if (!verb || starts(f->function, "java.") || starts(f->function, "jdk."))
		return false;
	pool = strstr(f->function, "Pool");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (starts(verb + 1, verbs[i]))
			return pool && pool < verb;
	}
	return false;
}

/* Where a thread waits until somebody gives one back; a lock inside of the pool is a lock. */
static const struct frame *pool_frame(const struct thread *t)
{
	static const char *const words[] = { "condition 0x", "semaphore 0x", "queue 0x",      "latch 0x",
					     "future 0x",    "notify of ",   "another thread" };
	bool waits = false;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		waits |= starts(t->waits_for, words[i]);
	for (size_t n = 0; waits && n < MIN(t->script.count, (size_t)FRAMES_LOOKED); n++) {
		if (takes_from_pool(&t->script.frame[n]))
			return &t->script.frame[n];
	}
	return NULL;
}

bool test_connections(const struct view *v)
{
	return v->kind == WAIT_FUTEX && v->agrees && v->t && pool_frame(v->t);
}

void tell_connections(const struct view *v, struct buf *out)
{
	const struct frame *f = pool_frame(v->t);
	size_t others = 0;

	for (size_t i = 0; i < v->i->analysis.thread_count; i++) {
		const struct thread *t = &v->i->analysis.thread[i];
		const struct frame *same = t == v->t ? NULL : pool_frame(t);

		others += same && !strcmp(same->function, f->function);
	}
	put_subject(out, v);
	buf_adds(out, " waited");
	put_for(out, v);
	buf_adds(out, " in ");
	put_function(out, f);
	buf_adds(out, " until another thread gives one back");
	if (others)
		buf_addf(out, ", with %zu more", others);
	put_in_place(out, v, ": ");
}

/* ---- garbage ---- */

static bool collects(const char *comm)
{
	static const char *const names[] = { "GC Thread#",     "ParGC Thread", "VM Thread", "G1 ",
					     "Concurrent Mar", "ZWorker",      "XWorker",   "Shenandoah" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (starts(comm, names[i]))
			return true;
	}
	return false;
}

/* CPUs that its collector used, shortly before the snapshot. */
static double gc_share(const struct incident *i)
{
	double share = 0;

	if (!starts(i->analysis.language, "Java"))
		return 0;
	for (size_t n = 0; n < i->analysis.thread_count; n++) {
		const struct thread *t = &i->analysis.thread[n];

		if (t->cpu_over_ns && collects(t->comm))
			share += (double)t->cpu_ns / (double)t->cpu_over_ns;
	}
	return share;
}

/* The JVM has stopped it, or it has asked the JVM to. */
static bool is_stopped(const struct thread *t)
{
	static const char *const names[] = { "SafepointSynchronize::", "SafepointMechanism::",
					     "VMThread::execute",      "VMThread::wait_until_executed",
					     "CollectedHeap::",	       "CollectorPolicy::" };

	if (starts(t->waits_for, "a safepoint"))
		return true;
	for (size_t n = 0; n < MIN(t->stack.count, (size_t)FRAMES_LOOKED); n++) {
		const char *function = t->stack.frame[n].function;

		for (size_t i = 0; i < ARRAY_LEN(names) && function; i++) {
			if (strstr(function, names[i]))
				return true;
		}
	}
	return false;
}

bool test_stopped_for_gc(const struct view *v)
{
	/* in one futex or the other */
	return v->kind == WAIT_FUTEX && v->i->capture.running_at_snapshot && v->t && v->t->call &&
	       !strcmp(v->t->call, v->call) && is_stopped(v->t) && gc_share(v->i) >= GC_SHARE_STOPPED;
}

bool test_gc_beside(const struct view *v)
{
	bool runs = test_cpu(v) || (v->top && v->top->kind == SPEND_RUNNABLE);
	/* between two stops when it was looked at: a lock or a sleep would have been one wait */
	bool stood = v->kind == WAIT_FUTEX && v->t && (!v->agrees || is_stopped(v->t)) && v->top &&
		     v->top->count >= GC_STOPS;

	return gc_share(v->i) >= (runs ? GC_SHARE_BESIDE : stood ? GC_SHARE_STOPPED : INFINITY);
}

void tell_gc(const struct view *v, struct buf *out)
{
	bool stopped = v->kind == WAIT_FUTEX;

	put_subject(out, v);
	buf_adds(out, stopped ? " was stopped by the JVM again and again"
			      : " was computing while the JVM collected garbage");
	put_for(out, v);
	buf_addf(out, "%s: its collector used %.1f CPUs", stopped ? " for garbage collections" : "", gc_share(v->i));
	put_in_place(out, v, ", at the snapshot in ");
}
