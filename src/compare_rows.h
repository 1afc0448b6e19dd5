/* SPDX-License-Identifier: MIT */
/* Inside compare.h: what is kept of the threads of a series, what it means, and groups of
 * those with the same meaning. Pure. */
#ifndef REQTRAP_COMPARE_ROWS_H
#define REQTRAP_COMPARE_ROWS_H

#include "compare.h"

#define COMPARE_STANDS 8      /* places of one thread that are told apart */
#define COMPARE_WENT_NAMED 20 /* threads that went, and are named; the others are counted */

/* A system call and the stack below it, once for all threads that ever stood there. */
struct place {
	struct place *next; /* with the same bucket */
	uint64_t hash;
	size_t users;
	char *call;
	struct stack script, native; /* in .unavailable: nothing */
};

/* A place, and what is waited for there without who holds it. */
struct stand {
	struct place *place;
	char *object;
	size_t count; /* samples */
};

struct tracked {
	pid_t tid;
	uint64_t start_ticks; /* 0 unknown */
	char *comm;
	size_t first, last; /* samples, from 0 */
	size_t seen;	    /* in so many of them */
	struct stand stand[COMPARE_STANDS];
	size_t stand_count, elsewhere;	     /* samples in yet other places */
	size_t now;			     /* the stand of the last sample; COMPARE_STANDS: elsewhere */
	size_t script_common, native_common; /* outermost frames of stand[0] that all samples have */
	size_t computing;		     /* samples in which it did not wait */
	size_t locked_out;		     /* ... in which it waited for a lock */
	size_t holding;			     /* ... in which others waited for a lock of its */
	size_t holds_for;		     /* threads, in the last of them */
	char *holds;			     /* that lock */
	char *waits_for;		     /* whole, in the last sample */
	pid_t waits_for_tid;
	char state;
	bool cpu_known;
	uint64_t cpu_ns, cpu_first_ns, queued_ns, queued_first_ns, at_ns, at_first_ns;
	unsigned int least_permille; /* of a core, of the interval with the least */
	unsigned int least_wanted;   /* the same, with the time in which it waited for a CPU */
	size_t intervals;
	size_t taken; /* of use while a sample is added */
	bool marked;
};

struct compare {
	struct tracked *thread; /* of the last sample, by tid and start */
	size_t thread_count;
	struct place **bucket;
	size_t bucket_count, place_count;
	size_t samples, failed;
	char *why_failed; /* the last one */
	uint64_t first_ns, last_ns;
	size_t came, went;
	struct went {
		pid_t tid;
		char *comm;
	} gone[COMPARE_WENT_NAMED];
	char **deadlock; /* of the last sample */
};

enum meaning {
	MEANS_DEADLOCK,
	MEANS_LOOP,
	MEANS_HOLDER,
	MEANS_STUCK,
	MEANS_WAITS, /* for another: an answer, a child */
	MEANS_COMPUTES,
	MEANS_MAYBE, /* idle or stuck: a condition, an event loop */
	MEANS_IDLE,
	MEANS_WORKS, /* always seen in the same wait, but it used CPU */
	MEANS_MOVES,
	MEANS_NEW, /* seen once */
};

struct group {
	enum meaning meaning;
	char *words;		       /* 'same in 3/3, waiting in accept4': one line, raw bytes */
	const struct tracked **member; /* by tid */
	size_t count;
	const struct place *place;	 /* of all; NULL: of each its own */
	size_t script_skip, native_skip; /* inner frames that are not in all samples */
};

const char *meaning_name(enum meaning meaning); /* 'deadlock' 'loop' ... */

/* In the order to be told. -ENOMEM. The groups are the caller's: groups_free. */
int compare_groups(const struct compare *compare, struct group **ret_groups, size_t *ret_count);
void groups_free(struct group *groups, size_t count);

/* How much of a core it used between its samples, and for how much of the time it waited
 * for one. False: not known. */
struct cpu_use {
	uint64_t ns;
	unsigned int permille, queued_permille;
};

bool tracked_cpu(const struct tracked *thread, struct cpu_use *ret_use);

#endif
