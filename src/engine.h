/* SPDX-License-Identifier: MIT */
/* Introduces the rooms to each other: tracer -> rule -> dump, analyst -> verdict ->
 * store, action. One per watch. Runs on the caller's loop, never waits. */
#ifndef REQTRAP_ENGINE_H
#define REQTRAP_ENGINE_H

#include "err.h"
#include "incident.h"
#include "loop.h"
#include "rule.h"
#include "tracer.h"

struct engine_totals {
	uint64_t requests, trapped, ended, inner;		/* inner: requests between watched processes */
	uint64_t lost_ring, lost_map, refused, blind, head_cut; /* by cause */
	uint64_t lost_trigger;					/* of lost_ring: would have trapped a request */
	uint64_t cpu_ns_per_request;				/* of the BPF programs that run for requests */
	uint64_t sched_ns, sched_runs;				/* of those at the scheduler, for the whole host */
	uint64_t watched_ns;					/* in all that time */
	uint64_t suppressed, capture_failed, in_flight;
	unsigned int actions;				   /* that run */
	uint64_t older, older_in_flight;		   /* requests that had begun before the watch */
	struct area_total area[AREA_COUNT];		   /* detail that was asked for, and its cost */
	uint64_t complete, inferred, aborted, gap, unseen; /* verdicts; unseen: replies to what was not seen */
	uint64_t discarded;				   /* read when no reply could be sent any more */
	uint64_t refused_slot, refused_conn, refused_queue;
	uint64_t shed_ns[DETAIL_COUNT];	   /* for how long each detail was off, to stay in the budget */
	uint64_t latency[LATENCY_BUCKETS]; /* see event_counts.h */
	uint32_t spent_ppm;		   /* of the host's CPU time, at the latest look */
};

struct engine_config {
	const struct rules *rules; /* the caller's; must live until rules_done says so, or the engine's end */
	const char *store_dir;	   /* NULL: default */
	enum tracer_hooks hooks;
	unsigned int slots;	/* requests in flight at most, 0: default */
	unsigned int map_share; /* see tracer.h */
	uint64_t pause_budget_ns;
	uint32_t budget_ppm; /* of the host's CPU time that the watch may take, 0 any */
	bool compress, no_journal;
	bool books;	      /* what rules have used up of their limits outlives the engine, in the store */
	bool normal_priority; /* else a trap goes before all other work of the host */
	uint64_t core_max_bytes, core_free_bytes, core_rate; /* as in struct dump_order */
	uint32_t core_free_percent;
	/* Called from the loop. 'path' is where the incident lies (or will). */
	void (*trapped)(void *arg, const struct incident *incident, const char *path);
	void (*ended)(void *arg, const struct incident *incident, const char *path);
	/* A later look at it is over: incident->sample[index]. */
	void (*sampled)(void *arg, const struct incident *incident, size_t index, const char *path);
	void (*stored)(void *arg, const struct incident *incident, const char *path);
	void (*shed)(void *arg, enum budget_word word, enum detail detail, uint32_t spent_ppm); /* see tracer.h */
	void (*failed)(void *arg, const char *text); /* something to tell, the watch goes on */
	void (*pruned)(void *arg);	 /* incidents were removed from the store, see store_keep.h; NULL allowed */
	void (*targets_gone)(void *arg); /* the last watched process ended; not while the engine keeps on */
	void (*rules_done)(void *arg,
			   const struct rules *rules); /* engine_reload: nobody uses the old ones; NULL allowed */
	void *arg;
};

struct engine;

/* Loads and attaches the BPF programs (40-250 ms). Needs CAP_BPF + CAP_PERFMON. */
int engine_new(struct loop *loop, const struct engine_config *config, struct engine **ret_engine, struct err *err);
int engine_add_process(struct engine *engine, pid_t pid, struct err *err);
int engine_older(struct engine *engine, struct err *err); /* when all were added: tracer_older() */

/* Other rules from now on, for requests in flight, too; what a rule of the same name has used
 * up of its limit stays used up. Nothing has changed on failure. -EBUSY: their areas differ,
 * which takes another engine. */
int engine_reload(struct engine *engine, const struct rules *rules, struct err *err);

/* What a rule of those in force is like: armed, limited until ... (quota.h). */
struct quota_report;
void engine_rule_report(struct engine *engine, const struct rule *rule, struct quota_report *ret_report);

/* Stops trapping, finishes captures under way (or gives up at the deadline) and
 * calls done(arg) from the loop. */
void engine_finish(struct engine *engine, uint64_t deadline_ns, void (*done)(void *arg), void *arg);
void engine_totals(struct engine *engine, struct engine_totals *ret_totals);
struct tracer *engine_tracer(struct engine *engine);	    /* to look at what is in flight */
const char *engine_hooks_name(const struct engine *engine); /* 'sock' or 'syscalls' */
void engine_free(struct engine *engine);

#endif
