/* SPDX-License-Identifier: MIT */
/* One dump of a series: the order, the worker, the analyst if stacks are wanted, a file
 * that has a hidden name until it is whole. Runs on the loop, prints nothing. */
#ifndef REQTRAP_SHOT_H
#define REQTRAP_SHOT_H

#include "dump.h"
#include "loop.h"
#include "place.h"
#include "subject.h"

struct shot;

/* How it came out. Valid during the call. */
struct shot_result {
	int code; /* 0, or negative errno with text */
	const char *text;
	const struct dump_result *dump; /* with code 0; else what is known */
	const char *path;		/* of the core; NULL: none was asked for */
	struct analysis *analysis;	/* NULL: no stacks were asked for. May be taken: zeroed then */
	bool given_up, cancelled;	/* why it failed */
};

struct shot_calls {
	void (*ended)(void *arg, const struct shot_result *result); /* the shot is freed after it */
	void (*one)(void *arg, const struct shot_result *result);   /* of several (order.on_count): it waits on */
	void (*under_way)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* What is to be taken. Pointers stay valid until the end. */
struct shot_spec {
	const struct subject *subject;
	const struct place *place; /* NULL: no core */
	struct place_name name;
	struct dump_order order; /* without process and file; kinds with DUMP_STACKS: an analysis, too */
	uint64_t give_up_ns;	 /* after so long; 0: never */
};

int shot_begin(struct loop *loop, const struct shot_spec *spec, const struct shot_calls *calls, struct shot **ret_shot,
	       struct err *err);

/* The worker is asked to end and to clean up; after a while, or asked again, it is made
 * to. 'ended' follows. */
void shot_cancel(struct shot *shot);

/* A worker that is attached and waits for what the order says. */
bool shot_waits(const struct shot *shot);

void shot_free(struct shot *shot); /* at once, without 'ended'; NULL is fine */

#endif
