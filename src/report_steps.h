/* SPDX-License-Identifier: MIT */
/* Whom the request's thread waits for, step by step to the end: other threads of its process
 * by the locks they hold, then what was found beyond it. For the chain in words and as a
 * picture. Pure. */
#ifndef REQTRAP_REPORT_STEPS_H
#define REQTRAP_REPORT_STEPS_H

#include "incident.h"

/* Rows of the incident's 'beyond', and such as were made like them. All but the 'how' of
 * those that were made belongs to the incident. The first is the request's thread. */
struct steps {
	struct beyond *row;
	size_t count, made_from;
};

/* Fewer than two: it waits for nobody that is known. -ENOMEM. */
int steps_make(const struct incident *incident, struct steps *ret_steps);
void steps_free(struct steps *steps);

/* A step where the chain comes round: at which earlier one. */
size_t step_back(const struct steps *steps, size_t n);

#endif
