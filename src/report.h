/* SPDX-License-Identifier: MIT */
/* One incident as a page. Rendering is pure: the same incident gives the same
 * bytes, on any machine, at any time. Everything from outside is escaped for its
 * medium. A format is one file and one row of the table in report.c. */
#ifndef REQTRAP_REPORT_H
#define REQTRAP_REPORT_H

#include "buf.h"
#include "err.h"
#include "incident.h"

#define REPORT_BYTES_MAX (256u << 20) /* of one page */

struct report_format {
	const char *name; /* 'text' 'html' 'json' 'chrome' ... */
	const char *file; /* inside the incident's folder: 'report.txt' ...; NULL: made when asked for */
	int (*render)(const struct incident *incident, struct buf *out, struct err *err);
};

extern const struct report_format report_formats[];
extern const size_t report_format_count;

const struct report_format *report_format_find(const char *name); /* NULL: none */

int report_text(const struct incident *incident, struct buf *out, struct err *err); /* 80 columns */
/* 'summary' 'compact' (every event) 'details' (by severity) or 'performance', as text. */
int report_text_view(const struct incident *incident, const char *view, struct buf *out, struct err *err);
/* Without stacks and request: what stands around a process, as sections of its page. */
int report_text_around(const struct incident *incident, struct buf *out);
int report_html(const struct incident *incident, struct buf *out, struct err *err);
int report_chrome(const struct incident *incident, struct buf *out, struct err *err);
int report_stacks(const struct incident *incident, struct buf *out, struct err *err);
int report_speedscope(const struct incident *incident, struct buf *out, struct err *err);
int report_folded(const struct incident *incident, struct buf *out, struct err *err);
int report_freb(const struct incident *incident, struct buf *out, struct err *err); /* XML */

/* -E2BIG when the page did not fit; for the end of a render function. */
int report_done(const struct buf *out, const char *name, struct err *err);

#endif
