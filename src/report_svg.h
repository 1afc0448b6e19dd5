/* SPDX-License-Identifier: MIT */
/* The pictures of one request. The timeline: a lane per thread, and below it what the request's
 * thread did, on one time axis. Its text twins are the table of times and the trace.
 * Inline SVG for report_html.c, whose style sheet it uses. Pure. */
#ifndef REQTRAP_REPORT_SVG_H
#define REQTRAP_REPORT_SVG_H

#include "buf.h"
#include "incident.h"

/* Adds nothing when there are no events. -ENOMEM. */
int svg_timeline(const struct incident *incident, struct buf *out);

/* Whom it waits for, as boxes; its twin is the section CHAIN. Nothing when there is nobody. */
int svg_chain(const struct incident *incident, struct buf *out);

/* A text of at most so many columns; of a longer one its begin, with a mark. */
void svg_label(struct buf *out, double x, double y, const char *class, const char *text, size_t columns);

#endif
