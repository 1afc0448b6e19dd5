/* SPDX-License-Identifier: MIT */
/* incident.json: the single source of every page. Writes the incident as JSON and
 * reads it back: report_X(facts_read(facts_write(i))) gives the same bytes.
 * Reading trusts nothing: types, ranges, counts and sizes are checked. No I/O. */
#ifndef REQTRAP_FACTS_H
#define REQTRAP_FACTS_H

#include "buf.h"
#include "err.h"
#include "incident.h"

int facts_write(const struct incident *incident, struct buf *out, struct err *err);
int facts_read(const char *json, size_t len, struct incident **ret_incident, struct err *err);

/* The analyst's half alone: what travels over its pipe. */
int analysis_write(const struct analysis *analysis, struct buf *out, struct err *err);
int analysis_read(const char *json, size_t len, struct analysis *ret_analysis, struct err *err);

/* Text from outside as a JSON string that jansson accepts: well-formed UTF-8; other
 * bytes become U+FFFD. Caller frees. */
char *facts_utf8(const char *text);

#endif
