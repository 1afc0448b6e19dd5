/* SPDX-License-Identifier: MIT */
/* When the kernel measures the run time of BPF programs, and what was seen of it. Private
 * to the tracer: one descriptor, and numbers. */
#ifndef REQTRAP_TRACER_GAUGE_H
#define REQTRAP_TRACER_GAUGE_H

#include "budget.h"

struct bpf_program;

struct gauge {
	int stats_fd; /* the kernel measures, every BPF program of the host, while somebody has such a descriptor */
	unsigned int tick;
	uint64_t attached_ns, metered_ns, metered_requests;	/* closed windows of measuring */
	uint64_t begin_ns, begin_requests;			/* of the open one */
	uint64_t look_ns, look_runs[DETAIL_COUNT], look_own_ns; /* 0: there was none in this window */
};

/* Run time and runs of a program so far, while it was measured. False: it is not loaded. */
bool gauge_program(const struct bpf_program *prog, uint64_t *add_ns, uint64_t *add_runs, uint64_t *add_missed);

void gauge_init(struct gauge *gauge);
void gauge_done(struct gauge *gauge);
void gauge_open(struct gauge *gauge, uint64_t requests); /* 'requests': seen so far */

/* Each second. True while the kernel measures; 'keep' has it go on. */
bool gauge_tick(struct gauge *gauge, uint64_t requests, bool keep);
void gauge_again(struct gauge *gauge, uint64_t requests); /* one more, if it was just closed */
void gauge_seen(const struct gauge *gauge, uint64_t requests, uint64_t *ret_ns, uint64_t *ret_requests);

/* What was spent since the last look in this window; 'part_ns' the run times so far. False:
 * there is nothing to compare with. */
bool gauge_look(struct gauge *gauge, const uint64_t part_ns[DETAIL_COUNT], struct budget_spent *ret_spent);

#endif
