/* SPDX-License-Identifier: MIT */
/* The state of a series, for series.c and series_*.c only. */
#ifndef REQTRAP_SERIES_STATE_H
#define REQTRAP_SERIES_STATE_H

#include "child.h"
#include "loop.h"
#include "options.h"
#include "place.h"
#include "roster.h"
#include "series.h"
#include "shot.h"

#include <time.h>

struct series;

/* A process of the series. */
struct member {
	struct series *series;
	struct subject subject;
	struct process_facts facts; /* as it was when its dump began: it may end meanwhile */
	struct meter meter;
	struct usage before; /* parts 0: none yet */
	struct trigger trigger[SERIES_TRIGGERS_MAX];
	struct source *end_source, *gap_source;
	bool ended, gone;   /* gone: during its shot */
	char how[40];	    /* it ended: ' (signal KILL)'; '' not known */
	char dumped_as[64]; /* its name at its last turn, and what it ran */
	struct proc_program program;
	unsigned int taken, failures;
	uint64_t begun_ns; /* its last turn; 0: none yet */
	bool queued, running;
	uint64_t place_in_queue;
	struct series_cause cause;
	const struct series_step *step; /* of the turn under way */
	unsigned int shot_no;		/* ... and how far that is */
	uint64_t shot_ns;		/* its begin */
	struct tm started;
	struct shot *shot;
	struct shot *guard;	 /* attached, waits for an event */
	uint32_t guard_kind;	 /* ... and then takes this */
	bool armed;		 /* ... it does by now */
	bool dismissed;		 /* ... it was asked to end */
	uint64_t alone_ns;	 /* nobody is attached since then, for a dump of another cause; 0 */
	struct compare *compare; /* NULL: nothing is compared */
	struct growth *growth;
	struct moment moment; /* at the begin of the shot */
};

struct series {
	const struct series_spec *spec;
	const struct series_calls *calls;
	struct loop *loop;
	struct place place;
	bool place_open;
	struct child command; /* pid 0: none */
	struct source *command_source;
	struct child_hold hold; /* it is let go when its guard is attached */
	bool command_ended, told_command;
	struct roster roster;
	struct member **member;
	size_t count;
	uint64_t looked_ns, look_took_ns; /* for new processes */
	const char *awaited;
	uint32_t parts; /* what the samples need */
	unsigned int cpus;
	struct source *next_source;
	uint64_t first_ns, queue_end;
	unsigned int rounds; /* begun, without conditions */
	unsigned int turns;  /* begun, with conditions */
	unsigned int taken;  /* turns that ended well */
	unsigned int dumps;  /* files, or stacks */
	bool compares;
	unsigned int running; /* members in a turn */
	unsigned int wanted;
	bool ending, changed;
	int worst; /* exit code so far */
	int signal;
};

/* ---- series.c ---- */
void series_say(const struct series *s, enum series_word word, const char *fmt, ...) PRINTF(3, 4);
void series_failed(struct series *s, int exit_code, const char *text); /* it ends */
void series_worse(struct series *s, int exit_code);		       /* the exit code is at least this */
void series_ask_turn(struct member *m);
void series_begin_turns(struct series *s); /* those that wait in the queue, as many as may; or ends it */

bool series_is_over(const struct series *s); /* all turns are begun */
struct shot_spec series_shot_spec(const struct series *s, const struct member *m, uint32_t kind);
struct series_dump series_dump_of(const struct member *m, uint32_t kind);
int series_failed_code(int code); /* exit code of a dump that failed */
void series_begin_shot(struct member *m);

/* Its turn is over, whatever came of it. */
static inline void series_rests(struct member *m)
{
	m->running = false;
	m->series->running--;
}

static inline bool series_has_events(const struct series *s)
{
	return s->spec->order.on.signals || s->spec->order.on.fatal || s->spec->order.on.exit;
}

static inline bool series_has_conditions(const struct series *s)
{
	return s->spec->trigger_count > 0 || series_has_events(s);
}

/* By the timer the turns are of each process. */
static inline unsigned int series_wanted(const struct series *s)
{
	return series_has_conditions(s) ? s->wanted : s->wanted * (unsigned int)MAX(s->count, (size_t)1);
}

/* ---- series_members.c: who belongs to it ---- */
bool series_any_left(const struct series *s);
int series_look(struct series *s, struct err *err); /* at the begin, and again for those that come later */
void series_member_gone(struct member *m);
void series_member_out(struct member *m); /* it is not asked for anything any more */
void series_member_free(struct member *m);

/* ---- series_when.c: when it is a member's turn ---- */
void series_tick(void *arg, uint32_t events);
void series_tell_state(struct series *s);
const struct series_step *series_step_of(const struct series_spec *spec, unsigned int turn);

/* ---- series_guard.c: events of members ---- */
void series_guard(struct member *m);	  /* a worker is attached to it, if events are wanted */
bool series_unguard(struct member *m);	  /* true: it will be, and then series_begin_shot is called */
bool series_guards_end(struct series *s); /* asks them all to; false: some are there still */

#endif
