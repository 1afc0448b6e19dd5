/* SPDX-License-Identifier: MIT */
/* What the files of the harness share. One lane is one process with one victim of each
 * kind; it makes one dump after another go wrong and looks what became of the victim. */
#ifndef HARM_H
#define HARM_H

#include "../../src/dump.h"
#include "../victims/h_server.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define BUDGET_NS 1000000000u /* of the pause: many lanes share few CPUs */

struct victim_kind {
	const char *name, *arg;
	bool flood; /* real-time signals are queued to it all the time */
};

struct mode {
	const char *name;
	uint32_t kinds, snapshot, compress;
	bool clones;
	bool waits; /* for the signal of a flood, attached */
};

enum way { WAY_MAIN, WAY_ALL, WAY_TIME, WAY_FAIL, WAY_ALLOC, WAY_HANG, WAY_DELAY, WAY_PARENT, WAY_BOTH, WAYS };

extern const struct victim_kind victim_kinds[];
extern const struct mode modes[];
extern const size_t victim_kind_count, mode_count;
extern const char *program, *victim_path, *alloc_path; /* as given on the command line */
extern bool verbose;

struct point {
	uint32_t victim, mode, way;
	uint64_t at;	  /* the stop, the call, the allocation; WAY_TIME: nanoseconds after the order */
	uint32_t variant; /* which error, once or for ever */
};

struct outcome {
	bool ended;  /* the dump was over before: nothing was done to it */
	uint64_t of; /* how many places there are */
	uint32_t zombies, eintr, watchdog;
	char did[96];	/* what was done, in words */
	char harm[400]; /* '' none */
};

/* --- victim.c --- */

struct victim {
	pid_t pid;
	const struct victim_kind *kind;
	struct h_counts *counts;
	int client; /* the other end of its connection */
	char *portrait;
	uint64_t sent, tick[H_THREADS_MAX], eintr;
	uint32_t replies, zombies, points, kills;
	bool asked;
};

uint64_t now_ns(void);
void nap(uint64_t ns);
void die(const char *what) __attribute__((noreturn));

void victim_start(struct victim *v, const struct victim_kind *kind, const char *dir);
void victim_end(struct victim *v);
void victim_wake(struct victim *v); /* its threads run; a request is answered, another is held */
void victim_queue(struct victim *v);
void victim_release(struct victim *v); /* asks for the held request's reply, once */

/* '' or what harm was done since victim_wake; its threads rest then. zombies_may: as
 * many more dead children are no harm. */
void victim_check(struct victim *v, uint32_t zombies_may, struct outcome *out);

/* --- steer.c --- */

void steer_init(const char *dir);
void steer_point(struct victim *v, const struct point *point, struct outcome *out);

/* A dump that nobody disturbs: it must succeed, and leave no dead child of earlier ones. */
void steer_whole(struct victim *v, uint32_t mode, struct outcome *out);

/* How many stops, calls or allocations, or nanoseconds, such a dump has. ret_window: where
 * its stop begins, and how long it is with some room around it (nanoseconds only). */
uint64_t steer_measure(struct victim *v, const struct point *point, uint64_t ret_window[2], struct outcome *out);

/* --- tables --- */

int errors_of(long nr, uint32_t variant, const char **ret_name, bool *ret_for_ever); /* 0: never made to fail */

#endif
