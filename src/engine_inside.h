/* SPDX-License-Identifier: MIT */
/* What the files of the engine share. Private to them. */
#ifndef REQTRAP_ENGINE_INSIDE_H
#define REQTRAP_ENGINE_INSIDE_H

#include "engine.h"
#include "trap.h"

/* How often a rule was used up by one life of a process. */
struct use {
	const struct rule *rule;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t window_ns; /* when the counting began */
	uint64_t last_ns;
	uint32_t count;
};

/* Rules that were replaced, while a request that they trapped is under way. */
struct retired {
	const struct rules *rules;
	uint64_t until; /* traps that were made since do not know them */
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
	struct beyond_recent recent[BEYOND_RECENT];
	struct trap *traps;
	size_t trap_count;
	uint64_t traps_made;
	struct retired *retired;
	size_t retired_count;
	struct use *uses;
	size_t use_count;
	struct watched *watched;
	struct host_log *host_log; /* NULL: nothing is captured */
	struct engine_totals totals;
	void (*done)(void *arg);
	void *done_arg;
	bool finishing, given_up;
};

bool engine_captures(const struct rules *rules); /* any rule has a process stand still */
void engine_warm_up(struct engine *engine);	 /* a worker and an analyst, soon */
void engine_settle_soon(struct engine *engine);
void engine_retire(struct engine *engine); /* rules that no trap knows any more */

#endif
