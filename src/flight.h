/* SPDX-License-Identifier: MIT */
/* The requests in flight, read out of the tracer's slots while the kernel writes them:
 * who is there, oldest first; and, for those that are shown, who holds one now and what
 * that thread does. Nothing here stops or slows a target. Reads /proc for the name of an
 * fd. */
#ifndef REQTRAP_FLIGHT_H
#define REQTRAP_FLIGHT_H

#include "tracer.h"

#define FLIGHT_HOPS 8 /* calls between processes that are followed */

struct flight_request {
	struct tracer_brief outer, holder; /* the same when no call is being answered here */
	unsigned int hops;		   /* calls from the one to the other */
};

struct flight {
	struct flight_request *request; /* oldest first */
	size_t count;
	size_t inner;	  /* requests that others wait for: no rows of their own */
	size_t torn;	  /* changed hands while they were read: left out */
	uint64_t when_ns; /* CLOCK_MONOTONIC */
};

/* What the holder's thread does. */
struct flight_state {
	const char *word; /* 'cpu' 'runnable' 'lock' 'socket' 'disk' 'sleep' 'poll' ...; static */
	const char *call; /* system call it is in, NULL none; static */
	char on[256];	  /* 'tcp:10.0.0.5:3306', 'file /x', a futex's address; '' nothing known. Hostile. */
	uint64_t since_ns;
};

struct flight_row {
	char *method, *url, *host, *client; /* hostile; NULL unknown */
	char process[64];		    /* of the holder, escaped */
	pid_t pid, tid;
	pid_t first_pid; /* who got it from its client */
	char via[160];	 /* how it came to the holder, '' if that is who got it. Hostile. */
	uint64_t elapsed_ns;
	bool start_unknown; /* it began before we looked: has run that long at least */
	int status;	    /* of a reply that has begun, else 0 */
	struct flight_state state;
};

/* Takes all that is in flight now. -ENOMEM. 10,000 of them take a few milliseconds. */
int flight_take(struct tracer *tracer, struct flight *ret_flight);
void flight_done(struct flight *flight);

/* One of them in words. False: it has ended meanwhile, or *ret_torn. */
bool flight_describe(struct tracer *tracer, const struct flight_request *request, struct flight_row *ret_row,
		     bool *ret_torn);
void flight_row_done(struct flight_row *row);

#endif
