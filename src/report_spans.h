/* SPDX-License-Identifier: MIT */
/* The events that took time as a tree per thread: what lies inside what, and how much of
 * its time each kept for itself. Pure. */
#ifndef REQTRAP_REPORT_SPANS_H
#define REQTRAP_REPORT_SPANS_H

#include "incident.h"

struct span {
	const struct trace_event *event;
	uint64_t at_ns, end_ns; /* one that ends after what it lies in is cut there */
	uint64_t self_ns;	/* without what lies inside it */
	size_t depth;
	pid_t tid;
};

/* By thread, in the order in which they begin; a span stands before those inside it.
 * The caller frees. -ENOMEM. */
int spans_make(const struct incident *incident, struct span **ret_spans, size_t *ret_count);

/* A call to somebody else: from its first byte to the end of the last wait for the answer. */
struct call {
	const char *to; /* 'tcp:127.0.0.1:5432'; NULL: not known. Belongs to the call */
	uint64_t at_ns, end_ns;
	pid_t tid;
	bool cut; /* events of its thread are lost from there on: it may have taken longer */
};

/* By thread and by whom is called, then in the order in which they begin. -ENOMEM. */
int calls_make(const struct incident *incident, struct call **ret_calls, size_t *ret_count);
void calls_free(struct call *calls, size_t count);
bool call_same(const struct call *a, const struct call *b); /* the same thread calls the same */

/* The events by time, as pointers; the caller frees the array. -ENOMEM. */
int events_by_time(const struct incident *incident, const struct trace_event ***ret_events);

uint64_t event_end_ns(const struct trace_event *event); /* saturates */

/* A thread's frames, outermost first: the script's, and the machine's innermost one below
 * them; of a thread without script all of the machine's. The caller frees the array. */
int stack_path(const struct thread *thread, const struct frame ***ret_path, size_t *ret_count);

#endif
