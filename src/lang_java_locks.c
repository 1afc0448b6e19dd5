// SPDX-License-Identifier: MIT
/* Who waits for whom, of what the threads of a JVM say. An owner is named only if exactly
 * one thread has the lock by its own words. Trap: a thread in Object.wait() has given its
 * monitor back, and if it cannot say which one that is, none of its monitors counts. */
#include "lang_java.h"

#define CLASS_MAX 160

/* What a thread is parked for, by the beginning of its class. */
static const struct park_row {
	const char *class;
	const char *what;
	bool is_lock;
} park_rows[] = {
	{ "java.util.concurrent.locks.ReentrantLock$", "ReentrantLock", true },
	{ "java.util.concurrent.locks.ReentrantReadWriteLock$", "ReentrantReadWriteLock", true },
	{ "java.util.concurrent.locks.StampedLock", "StampedLock", true },
	{ "java.util.concurrent.locks.AbstractQueued", "condition", false },
	{ "java.util.concurrent.Semaphore$", "semaphore", false },
	{ "java.util.concurrent.CountDownLatch$", "latch", false },
	{ "java.util.concurrent.CompletableFuture$", "future", false },
	{ "java.util.concurrent.FutureTask", "future", false },
	{ "java.util.concurrent.", "queue", false },
};

static int by_addr(const void *a, const void *b)
{
	const struct java_owned *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool has_it(const struct java *java, const struct java_owned *owned)
{
	const struct java_thread *t = &java->thread[owned->thread];

	if (owned->addr == t->addr && t->want != WANT_NOTHING)
		return false;
	return !owned->monitor || t->want != WANT_NOTIFY || t->addr;
}

static size_t owner_of(const struct java *java, uint64_t addr)
{
	size_t lo = 0, hi = java->owned_count, owner = SIZE_MAX;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (java->owned[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < java->owned_count && java->owned[lo].addr == addr; lo++) {
		if (!has_it(java, &java->owned[lo]) || java->owned[lo].thread == owner)
			continue;
		if (owner != SIZE_MAX)
			return SIZE_MAX; /* two say so */
		owner = java->owned[lo].thread;
	}
	return owner;
}

static void name_wait(struct lang_said *said, const struct java_thread *t, const char *what)
{
	text_setf(&said->wait, "%s 0x%llx (%.*s)", what, (unsigned long long)t->addr,
		  (int)MIN(t->of.len, (size_t)CLASS_MAX), t->of.len ? t->of.at : "");
}

static void parked(const struct java *java, size_t i)
{
	struct java_thread *t = &java->thread[i];
	struct lang_said *said = &java->said[i];

	said->owner = owner_of(java, t->addr);
	for (size_t k = 0; k < ARRAY_LEN(park_rows); k++) {
		if (!piece_starts(t->of, park_rows[k].class))
			continue;
		said->is_lock = park_rows[k].is_lock;
		name_wait(said, t, park_rows[k].what);
		break;
	}
	/* A class of the program's own that is held by somebody is a lock, whatever its name. */
	if (!said->wait) {
		said->is_lock = said->owner != SIZE_MAX;
		name_wait(said, t, said->is_lock ? "synchronizer" : "unpark of");
	}
	if (!said->is_lock)
		said->owner = SIZE_MAX;
}

/* The JVM stops all its threads for one of these to work: at the snapshot it was on a CPU. */
static const char *stopper(const struct java *java)
{
	static const char *const names[] = { "GC Thread#", "ParGC Thread", "VM Thread", "XWorker", "ZWorker" };

	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		for (size_t i = 0; i < java->count; i++) {
			if (java->threads[i].state == 'R' &&
			    !strncmp(java->threads[i].comm, names[k], strlen(names[k])))
				return java->threads[i].comm;
		}
	}
	return NULL;
}

void java_waits(struct java *java)
{
	const char *by = stopper(java);

	if (java->owned_count)
		qsort(java->owned, java->owned_count, sizeof(*java->owned), by_addr);
	for (size_t i = 0; i < java->count; i++) {
		struct java_thread *t = &java->thread[i];
		struct lang_said *said = &java->said[i];

		if (!t->told || t->twice)
			continue;
		if (t->want == WANT_MONITOR && t->addr) {
			said->is_lock = true;
			said->owner = owner_of(java, t->addr);
			name_wait(said, t, "monitor");
		} else if (t->want == WANT_UNPARK && t->addr) {
			parked(java, i);
		} else if (t->want == WANT_NOTIFY && !t->addr) {
			text_set(&said->wait, "another thread to notify it");
		} else if (t->want == WANT_NOTIFY) {
			name_wait(said, t, "notify of");
		} else if (t->state == JAVA_SLEEPING) {
			text_set(&said->wait, "a sleep to end");
		} else if (t->state == JAVA_PARKED) {
			text_set(&said->wait, "another thread to unpark it");
		} else if (t->state == JAVA_RUNNABLE && by && said->script.count) {
			text_setf(&said->wait, "a safepoint to end, which %s works in", by);
		}
	}
}
