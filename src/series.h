/* SPDX-License-Identifier: MIT */
/* A series of dumps: which processes, when, what and where. One loop; each tick reads
 * each process once and feeds all its conditions. Any that is fulfilled makes the next
 * turn. Prints nothing: whoever runs it is told. The grammars fill in the spec. */
#ifndef REQTRAP_SERIES_H
#define REQTRAP_SERIES_H

#include "compare.h"
#include "dump.h"
#include "growth.h"
#include "subject.h"
#include "trigger.h"

#define SERIES_TRIGGERS_MAX 32
#define SERIES_STEPS_MAX 16
#define SERIES_TURNS_MAX 10000 /* of a step */
#define SERIES_SHOTS_MAX 8
#define SERIES_CONCURRENT_MAX 5
#define SERIES_INTERVAL_NS 1000000000ull
#define SERIES_HOLD_FOREVER_NS (UINT64_MAX / 4) /* for order.hold_ns; 0 there: some minutes */

/* What is taken at a turn, one after the other: enum dump_kind, one bit each. */
struct series_step {
	unsigned int turns; /* so many in a row */
	uint32_t shot[SERIES_SHOTS_MAX];
	unsigned int shots;
	uint64_t gap_ns; /* between the begins of two shots */
};

/* All pointers are the caller's and stay valid. Zero: not wanted, unless said. */
struct series_spec {
	/* which processes */
	char *const *target; /* words: subject.h */
	size_t target_count;
	char *const *command; /* or: start this one, and end with it */
	bool any_case;	      /* names as typed on Windows */
	bool all;	      /* every process of a name, and those that come later */
	bool wait;	      /* until one of that name is there */

	/* when: without a condition at once, and again every every_ns. The turns are then
	 * of each process, with a condition of all together. */
	struct trigger trigger[SERIES_TRIGGERS_MAX];
	size_t trigger_count;
	uint64_t interval_ns; /* of the samples; 0: SERIES_INTERVAL_NS */
	uint64_t every_ns;    /* between the begins of two turns of a process, at least */
	uint64_t timeout_ns;  /* waits no longer than this */

	/* what */
	struct series_step step[SERIES_STEPS_MAX];
	size_t step_count;
	struct dump_order order; /* as far as all dumps have it in common; order.on: events that are
				  * conditions, too */
	bool budget_given;	 /* order.pause_budget_ns is; else a full dump gets a default */
	enum series_compress { COMPRESS_BY_KIND, COMPRESS_ZSTD, COMPRESS_NONE } compress;
	bool no_compare;	 /* of several dumps of a process the stacks are not compared */
	unsigned int concurrent; /* dumps at once, 1 to SERIES_CONCURRENT_MAX; 0: 1 */
	uint64_t give_up_ns;	 /* on a dump that takes longer */
	bool kill;		 /* in the end, each process that was dumped */
	bool avoid_outage;	 /* leave a turn out that would have to wait or be over the budget */

	/* where */
	const char *path;    /* file or folder; NULL: the current one */
	const char *pattern; /* of the name in a folder; NULL: by kind */
	bool overwrite;
};

/* Why a turn is. */
struct series_cause {
	const char *trigger; /* 'cpu'; NULL: no condition was asked for */
	uint64_t wall_ns;    /* when it was seen */
	char value[32];	     /* '97.2%' */
	char words[96];	     /* 'cpu 97.2% > 80%' */
};

/* A dump, begun or done. Valid during the call. */
struct series_dump {
	const struct subject *subject;
	const struct process_facts *facts; /* when it began */
	const struct series_cause *cause;
	const struct dump_result *result; /* NULL: under way */
	const char *path;		  /* NULL: no core was asked for */
	uint32_t kind;			  /* enum dump_kind */
	uint64_t done, total;		  /* bytes read, under way only */
};

/* While nothing is to be done. */
struct series_state {
	size_t processes;
	size_t attached;	       /* ... whose events are awaited */
	unsigned int taken, wanted;    /* turns */
	const struct subject *subject; /* that is nearest to its condition; NULL: none is known */
	const struct trigger *trigger; /* ... and its nearest */
	const struct sentry_wish *on;  /* what events; NULL: none */
	uint64_t next_ns;	       /* the next turn by the timer; 0: conditions decide */
	const char *awaited;	       /* the word that names no process yet; NULL */
	bool changed;		       /* other than a value */
};

enum series_word { SERIES_NOTE, SERIES_WARNING, SERIES_ERROR };

/* What a series says of one process, at its end. */
struct series_result {
	const struct subject *subject;
	const struct compare *compare; /* two samples or more; NULL: there are none */
	const struct growth *growth;   /* the same */
};

struct series_calls {
	void (*dumped)(void *arg, const struct series_dump *dump);
	void (*under_way)(void *arg, const struct series_dump *dump);
	void (*compared)(void *arg, const struct series_result *result);
	void (*waiting)(void *arg, const struct series_state *state); /* at each tick */
	void (*say)(void *arg, enum series_word word, const char *text);
	void *arg;
};

/* Runs it to its end: all turns taken, all processes gone, the timeout, a signal (once:
 * finishes what is under way, twice: cancels it). Returns an enum exit_code;
 * ret_signal: the signal that ended it, 0 none. Blocks. */
int series_run(const struct series_spec *spec, const struct series_calls *calls, int *ret_signal);

/* Asks all series on what the word names to end. Returns how many; -ESRCH, -EINVAL. */
int series_cancel(const char *word, struct err *err);

unsigned int series_turns(const struct series_spec *spec); /* of all steps */

/* '10xmini,1xfull' into steps, behind those that are there. -EINVAL in words. */
int series_plan(struct series_spec *spec, const char *text, struct err *err);

#endif
