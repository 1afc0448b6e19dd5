/* SPDX-License-Identifier: MIT */
/* incident.json: the single source of every page. Writes the incident as JSON and
 * reads it back: facts_write(facts_read(x)) == x, and report_X(facts_read(x)) gives
 * the same bytes everywhere. Reading trusts nothing: types, ranges, counts and
 * sizes are checked, and an error names the field. No I/O, no clock.
 *
 * Conventions of the file: numbers are whole and carry their unit in the key
 * ('elapsed_ns'); addresses are '0x..' text; text is well-formed UTF-8, bytes that
 * were not stand as U+FFFD. In rows of lists (trace, threads, frames ...) a key that
 * is 0, false or unknown is left out; elsewhere it stands, with null for unknown.
 * Keys that a reader does not know are passed over; 'schema' grows when a key
 * changes its meaning. */
#ifndef REQTRAP_FACTS_H
#define REQTRAP_FACTS_H

#include "buf.h"
#include "err.h"
#include "incident.h"

#define FACTS_BYTES_MAX (256u << 20)   /* of incident.json */
#define ANALYSIS_BYTES_MAX (64u << 20) /* of the analyst's answer */
#define FACTS_TEXT_MAX (256u << 10)    /* of one string; a longer one is cut with a mark */

/* -E2BIG when the incident does not fit 'out' or a list is longer than may be read
 * back; -ENOMEM. */
int facts_write(const struct incident *incident, struct buf *out, struct err *err);
int facts_read(const char *text, size_t len, struct incident **ret_incident, struct err *err);

/* The analyst's half alone: what travels over its pipe. */
int analysis_write(const struct analysis *analysis, struct buf *out, struct err *err);
int analysis_read(const char *text, size_t len, struct analysis *ret_analysis, struct err *err);

/* {"beyond":[...],"scene":{...}} alone, as they stand in incident.json. */
int around_write(const struct incident *incident, struct buf *out, struct err *err);

/* Text from outside as well-formed UTF-8: other bytes become U+FFFD. Caller frees;
 * NULL: no memory. */
char *facts_utf8(const char *text);

/* Adds text from outside as a JSON string with its quotes; NULL becomes null. */
void facts_add_string(struct buf *out, const char *text);

#endif
