/* SPDX-License-Identifier: MIT */
/* What the files of the tracer share. Private to them. */
#ifndef REQTRAP_TRACER_INSIDE_H
#define REQTRAP_TRACER_INSIDE_H

#include "tracer.h"
#include "tracer_gauge.h"

#include "requests.skel.h" /* in the types of event.h */

struct tracer {
	struct requests_bpf *skel;
	struct ring_buffer *ring;
	union slot_value *slots;
	struct loop *loops;
	uint64_t aborted; /* by us: what the kernel gives no sign of */
	unsigned int slot_count;
	bool sock_hooks, has_clocks;
	struct tracer_app *app; /* NULL: no area wants more than what always runs */
	struct tracer_config config;
	struct gauge gauge;
	struct budget budget;
	uint64_t off_since[DETAIL_COUNT];
	uint64_t off_until[DETAIL_COUNT]; /* 0: it always was on; the end of time: it is off */
	uint64_t off_ns[DETAIL_COUNT];	  /* of periods that are over */
};

static inline bool slot_in_flight(uint32_t state)
{
	return state == SLOT_OPEN || state == SLOT_HELD;
}

/* A request that was seen to begin: not a few bytes that may become one. */
static inline bool slot_begun(const struct slot *s)
{
	return (s->method || s->flags & SLOT_FASTCGI) && !(s->flags & SLOT_START_UNKNOWN);
}

struct counters tracer_count(const struct tracer *tracer); /* summed over the CPUs */

#endif
