/* SPDX-License-Identifier: MIT */
/* One trapped request on its way: capture, analysis, verdict, pages, action, end.
 * Driven by the engine's loop; every step is an event. Private to engine.c. */
#ifndef REQTRAP_TRAP_H
#define REQTRAP_TRAP_H

#include "analyst.h"
#include "beyond.h"
#include "dump.h"
#include "engine.h"
#include "host.h"
#include "moment.h"
#include "scribe.h"
#include "store.h"
#include "tracer.h"

#define TRAP_HOPS 16
/* A worker and an analyst, started ahead of time, waiting for their order. */
struct pair {
	struct dump_job *job;
	struct analyst *analyst;
};

int pair_start(struct pair *ret_pair, struct err *err);
void pair_drop(struct pair *pair);

/* What a trap needs of the engine. */
struct trap_world {
	struct loop *loop;
	struct tracer *tracer;
	struct store *store;
	struct scribe *scribe;
	const struct engine_config *config;
	struct pair *warm;     /* taken by trap_capture when there */
	unsigned int *actions; /* that run */
	struct beyond_recent *recent;
	struct host_log *host_log;
	void (*changed)(void *arg); /* a trap moved on: the engine looks at all of them */
	void *arg;
};

struct hop_ref {
	uint32_t slot;
	uint64_t gen;
	bool held, ended; /* held: the slot is ours to release */
	uint64_t copied_ns;
	struct notes *notes; /* what the areas noted of it; NULL nothing */
	struct slot copy;    /* as of the trigger, later as of the end */
	struct slot *then;   /* as of the trigger, once 'copy' is younger: what led to it stays */
	struct loop loop;    /* of its thread, as of the trigger; tid 0: it has none */
};

/* A look at the request after the first: by another rule, or again after a while. */
enum later_stage { LATER_DUE, LATER_TAKING, LATER_ACTS, LATER_DONE };

struct later {
	const struct rule *rule;
	enum later_stage stage;
	bool wants_action, told;
};

enum trap_stage {
	TRAP_QUEUED,	/* waits for its turn to be captured */
	TRAP_ACTING,	/* its action runs first, then it is queued again */
	TRAP_CAPTURING, /* worker and analyst are at it */
	TRAP_CAPTURED,	/* pages can be written */
	TRAP_STORED,	/* whole on disk */
	TRAP_GONE,	/* could not be stored: told, dropped */
};

struct trap {
	struct trap *next;
	uint64_t number; /* in the order they were made */
	const struct trap_world *world;
	const struct rule *rule;
	struct incident *incident;
	enum trap_stage stage;
	struct hop_ref hop[TRAP_HOPS]; /* outer request first, holder last */
	size_t hop_count;
	uint64_t trigger_ns, taken_ns, holder_ticks; /* when its limit was used, and that life began */
	bool core_asked;			     /* of the capture under way */
	bool told, wants_action;		     /* told: config.trapped was called */

	struct store_entry *entry;
	struct pair pair; /* at work on it, or on a later look */
	struct source *job_source, *analyst_source;
	uint64_t job_done_ns; /* when the worker was through */
	struct action *action;
	bool action_over, acted;  /* acted: before the capture */
	struct beyond_walk *walk; /* behind the holder's wait, while it is under way */
	struct trap_scene *scene; /* what stands around the holder, while it is looked at; NULL */
	bool writing;		  /* the scribe is at its pages */
	bool dirty;		  /* the pages on disk are older than the facts */
	struct naming *naming;	  /* what things were when first asked */
	struct later *later;	  /* of the same index as incident->sample */
	size_t later_count;
	const struct rule *repeat_rule; /* whose 'every' the timer follows */
	unsigned int repeats_left;
	struct source *repeat_source;
	struct moment from;		  /* CPU of the holder's threads at the first look, if others may follow */
	struct action_facts later_action; /* of the one that acts: the list may move meanwhile */
	size_t later_acts;		  /* its index + 1 */
};

/* Makes the incident out of the slot (held by the kernel) and its inner ones. Copies
 * slots, reads /proc. NULL: the request is gone, or no memory. */
struct trap *trap_new(const struct trap_world *world, const struct rule *rule, enum rule_verdict why,
		      const struct record *record);
void trap_free(struct trap *trap); /* releases its slots, drops what is under way */

bool trap_actions_full(const struct trap *trap); /* as many run as may: it is not its turn */
bool trap_waits_to_act(const struct trap *trap); /* before its capture: as many actions run as may */
bool trap_acts_first(struct trap *trap);	 /* true: its action runs first, it is queued again then */
/* Starts worker and analyst. What fails is told in the facts, and the stage goes on. */
void trap_capture(struct trap *trap);
void trap_capture_skip(struct trap *trap, const char *why); /* NULL: nothing was asked for */

/* What trap.c, trap_capture.c and sample.c share. */
struct capture_wish {
	pid_t pid, tid;
	uint32_t bits; /* enum capture_bits */
	bool arguments;
	void (*on_dump)(void *arg, uint32_t events);
	void (*on_analysis)(void *arg, uint32_t events);
};

/* Gives the order to the warm pair, or to a new one. -EIO: the store failed (told). */
int trap_capture_start(struct trap *trap, const struct capture_wish *wish, struct err *err);
bool trap_dump_take(struct trap *trap, struct dump_result *ret_result); /* false: not finished */
bool trap_analysis_take(struct trap *trap, pid_t pid, struct analysis *ret_analysis);
int trap_entry_begin(struct trap *trap);
void trap_surroundings(struct incident *incident);
void trap_refresh(struct trap *trap); /* slots copied anew, and the trace out of them */
void trap_act(struct trap *trap, const struct rule *rule, struct action_facts *facts);
/* Prepare: the order is out. Look: its stacks are there; done(trap) unless trap->scene is NULL then. */
void trap_scene_prepare(struct trap *trap);
void trap_scene_look(struct trap *trap, void (*done)(void *arg));
void trap_scene_free(struct trap_scene *ts);
void trap_check(struct trap *trap); /* gives up an analyst that takes too long; now and then */

/* A RECORD_ENDED for one of its slots: true if it was. */
bool trap_ended(struct trap *trap, const struct record *record);
bool trap_has(const struct trap *trap, uint32_t slot, uint64_t gen); /* as its outer request */
bool trap_owns(struct trap *trap, uint32_t slot, uint64_t gen);	     /* as any of them */
bool trap_request_over(const struct trap *trap);
void trap_store(struct trap *trap);	 /* has the pages written or rewritten, and published */
void trap_act_due(struct trap *trap);	 /* starts its action when they are, and it is its turn */
bool trap_done(const struct trap *trap); /* all is done and written: may be freed */

#endif
