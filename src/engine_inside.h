/* SPDX-License-Identifier: MIT */
/* What the files of the engine share. Private to them. */
#ifndef REQTRAP_ENGINE_INSIDE_H
#define REQTRAP_ENGINE_INSIDE_H

#include "engine.h"
#include "quota.h"
#include "target.h"
#include "trap.h"

/* Rules that were replaced, while a request that they trapped is under way. */
struct retired {
	const struct rules *rules;
	uint64_t until; /* traps that were made since do not know them */
};

/* A process stood still for a core. */
struct dumped {
	struct life life;
	uint64_t trap, until_ns; /* whose it is; when it went on */
};

struct engine {
	struct loop *loop;
	struct engine_config config;
	struct tracer *tracer;
	struct store *store;
	struct scribe *scribe;
	struct source *ring_source, *warm_source, *settle_source, *deadline_source, *sweep_source, *tick_source;
	struct trap_world world;
	struct pair warm;
	unsigned int actions; /* that run */
	struct beyond_recent recent[BEYOND_RECENT];
	struct trap *traps;
	size_t trap_count;
	uint64_t traps_made;
	struct retired *retired;
	size_t retired_count;
	struct quota *quota;
	struct dumped dumped[64]; /* the latest */
	size_t dumped_count;
	uint64_t pruned, pruned_bytes, pruned_told_ns; /* since it was told, and when that was; 0: never */
	uint64_t crowded, crowded_told_ns;	       /* requests that found no room; the same */
	struct watched *watched;
	struct host_log *host_log; /* NULL: nothing is captured */
	struct engine_totals totals;
	void (*done)(void *arg);
	void *done_arg;
	bool finishing, given_up, ring_told, books_unwritten;
	struct targets *set; /* processes of each watch set, as of set_ns */
	size_t set_count;
	const struct rules *set_rules;
	uint64_t set_ns;
};

/* A request that rules are asked about: must live as long as the input. */
struct engine_asking {
	struct engine *engine;
	const struct slot *slot;
};

void engine_input(struct engine_asking *asking, const struct request_info *info, const struct record *record,
		  struct rule_input *ret_input);
/* The first rule that matches and has had its 'occurrences' together; NULL none. */
const struct rule *engine_match(struct engine *engine, const struct rule_input *input, enum rule_verdict *ret_why);
void engine_input_done(struct engine *engine);

bool engine_has_room(struct engine *engine);	 /* for one trapped request more; it counts those it has none for ... */
void engine_tell_crowded(struct engine *engine); /* ... and this tells them now and then */

void engine_books_open(struct engine *engine);	/* what earlier engines have used up */
void engine_books_write(struct engine *engine); /* if anything has changed */
void engine_keep(struct engine *engine);	/* what stays in the store, by the rules in force */

/* A request that was in flight while its own process stood still for another one's core
 * tells of that, not of itself. */
void engine_dumped(struct engine *engine, const struct trap *trap);
bool engine_overlaps_dump(const struct engine *engine, const struct trap *trap, const struct life *life);
#define ENGINE_OVERLAPS "it was in flight when its process stood still for the core of another request"

/* May this trap's process be captured? NULL: go ahead (and it is counted). Otherwise why not. */
const char *engine_limit_check(struct engine *engine, struct trap *trap, const struct rule *rule, char *buf,
			       size_t size);

bool engine_captures(const struct rules *rules); /* any rule has a process stand still */
void engine_warm_up(struct engine *engine);	 /* a worker and an analyst, soon */
void engine_settle_soon(struct engine *engine);
void engine_retire(struct engine *engine); /* rules that no trap knows any more */

#endif
