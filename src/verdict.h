/* SPDX-License-Identifier: MIT */
/* From facts to one sentence. Pure: reads the incident (trace, spending, analysis,
 * locks) and fills verdict, cause, evidence, confidence, advice. No I/O. When in doubt it
 * says so: never confidently wrong. */
#ifndef REQTRAP_VERDICT_H
#define REQTRAP_VERDICT_H

#include "incident.h"

void verdict_make(struct incident *incident);

/* The n-th cause there may be, by its name, in the order they are asked; NULL: no more. */
const char *verdict_cause(size_t n, const char **ret_advice);

#endif
