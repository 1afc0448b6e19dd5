/* SPDX-License-Identifier: MIT */
/* The picture of one request: a lane per thread, and below it what the request's
 * thread did, on one time axis. Its text twins are the table of times and the trace.
 * Inline SVG for report_html.c, whose style sheet it uses. Pure. */
#ifndef REQTRAP_REPORT_SVG_H
#define REQTRAP_REPORT_SVG_H

#include "buf.h"
#include "incident.h"

/* Adds nothing when there are no events. -ENOMEM. */
int svg_timeline(const struct incident *incident, struct buf *out);

#endif
