/* SPDX-License-Identifier: MIT */
/* The stacks of a series of dumps, laid side by side: which threads stand where they
 * stood, what holds them up, which ones compute. Pure. Memory: by threads and places,
 * not by dumps. */
#ifndef REQTRAP_COMPARE_H
#define REQTRAP_COMPARE_H

#include "buf.h"
#include "incident.h"
#include "moment.h"

struct compare; /* of one process */

struct compare *compare_new(void);	    /* NULL: no memory */
void compare_free(struct compare *compare); /* NULL is fine */

/* The next sample, in the order of time. What is needed of it is copied. moment: with
 * MOMENT_CPU, read close to the stop, each time on the same side of it. An analysis
 * that failed is counted and told, and not compared. -ENOMEM. */
int compare_add(struct compare *compare, const struct moment *moment, const struct analysis *analysis);

size_t compare_count(const struct compare *compare); /* samples that can be compared */

/* What there is to say of two samples or more, within 80 columns, escaped; of fewer,
 * one line that says so. -ENOMEM. */
int compare_text(const struct compare *compare, struct buf *out);

/* The same, all of it, as one JSON object without a newline. -ENOMEM. */
int compare_json(const struct compare *compare, struct buf *out);

#endif
