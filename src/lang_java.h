/* SPDX-License-Identifier: MIT */
/* Between lang_java.c, which reads what a JVM says, and lang_java_locks.c, which makes of
 * it who waits for whom. */
#ifndef REQTRAP_LANG_JAVA_H
#define REQTRAP_LANG_JAVA_H

#include "lang.h"

#define JAVA_OWNED_MAX 200000u

/* Bytes of the text; not terminated. */
struct piece {
	const char *at;
	size_t len;
};

enum java_want {
	WANT_NOTHING,
	WANT_MONITOR, /* to enter it */
	WANT_NOTIFY,  /* Object.wait: given back meanwhile */
	WANT_UNPARK,
};

enum java_state { JAVA_RUNNABLE, JAVA_SLEEPING, JAVA_PARKED, JAVA_OTHER };

/* One thread as it is told. */
struct java_thread {
	bool told, twice; /* twice: somebody's name looks like a thread */
	enum java_state state;
	enum java_want want;
	uint64_t addr;	    /* of that object, 0 not told */
	struct piece of;    /* ... and its class */
	struct piece frame; /* innermost */
};

struct java_owned {
	uint64_t addr;
	size_t thread;
	bool monitor;
};

struct java {
	const struct capture_thread *threads;
	size_t count;
	struct java_place {
		pid_t ns_tid;
		size_t index;
	} * place; /* by ns_tid */
	struct java_thread *thread;
	struct java_owned *owned;
	size_t owned_count;
	struct lang_said *said;
};

static inline bool piece_starts(struct piece p, const char *with)
{
	size_t len = strlen(with);

	return p.len >= len && !memcmp(p.at, with, len);
}

/* All is read: fills in what they wait for. */
void java_waits(struct java *java);

#endif
