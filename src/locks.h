/* SPDX-License-Identifier: MIT */
/* Who holds the lock that a thread waits for: glibc's pthread locks, told by the
 * futex call that a blocked thread is in, by the words around it and by the function
 * names on its stack. Works on what was read while memory stood still; pure after
 * that. Owner words hold tids of the process's own pid namespace. */
#ifndef REQTRAP_LOCKS_H
#define REQTRAP_LOCKS_H

#include "capture.h"
#include "incident.h"
#include "lang.h"
#include "memory.h"

#define LOCK_WORDS_BEFORE 12 /* 4-byte words kept below the futex, and from it on */
#define LOCK_WORDS_FROM 16

/* An owner of which no more is known than its id in the pid name space of the process. */
#define LOCKS_HELD_BY " held by "
#define LOCKS_FOREIGN "thread %u of another process"

struct lock_words {
	uint64_t uaddr;					    /* 0: the thread is in no futex wait */
	uint32_t have;					    /* bit i: word[i] could be read */
	uint32_t word[LOCK_WORDS_BEFORE + LOCK_WORDS_FROM]; /* word[LOCK_WORDS_BEFORE] is the futex */
};

/* Reads the words for one thread, while memory stands still. */
void locks_read(const struct memory *mem, const struct capture_thread *thread, struct lock_words *ret);

/* 'own': the locks of the script language itself, which no pthread lock explains; 'said':
 * what its threads say that they wait for, NULL if none does. Fills
 * lock, deadlock, and each thread's waits_for and waits_for_tid. The arrays are
 * parallel: threads[i], words[i] and analysis->thread[i] are the same thread, whose
 * stack has its names already. */
int locks_solve(const struct capture_thread *threads, const struct lock_words *words, size_t count,
		const struct lang_lock *own, size_t own_count, const struct lang_said *said, struct analysis *analysis);

#endif
