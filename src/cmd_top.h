/* SPDX-License-Identifier: MIT */
/* How 'top' prints one round: a table of the terminal's width, or JSON. */
#ifndef REQTRAP_CMD_TOP_H
#define REQTRAP_CMD_TOP_H

#include "buf.h"
#include "flight.h"

#include <jansson.h>

struct top_round {
	struct flight flight;
	uint64_t number;   /* of the round, from 1 */
	double per_second; /* requests begun since the last round */
	struct tracer_totals totals;
};

/* The rows that fit into 'lines' (0: all), each of 'columns' characters at most. */
void top_table(struct tracer *tracer, const struct top_round *round, unsigned int columns, unsigned int lines,
	       struct buf *out);
/* The same of a round that the daemon told as JSON. */
void top_table_told(const json_t *round, double per_second, unsigned int columns, unsigned int lines, struct buf *out);
json_t *top_round_json(struct tracer *tracer, const struct top_round *round); /* NULL: no memory */
void top_json(struct tracer *tracer, const struct top_round *round);	      /* one line on stdout */

#endif
