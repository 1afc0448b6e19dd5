/* SPDX-License-Identifier: MIT */
/* What a page says, and in which order. A pen knows how that looks: 80 columns of
 * text, HTML ... Both say the same because they are told the same. Texts are given
 * to the pen raw: it escapes for its medium. */
#ifndef REQTRAP_REPORT_PAGE_H
#define REQTRAP_REPORT_PAGE_H

#include "buf.h"
#include "incident.h"
#include "err.h"

#define PAGE_TEXT_MAX 2000 /* bytes of one value shown; a longer one is cut with a mark */

/* A line of 'where the time went'. */
struct time_row {
	const char *label;
	enum spend kind;
	uint64_t ns, count;
	unsigned int permille; /* all rows together 1000 */
	bool open, total;
};

/* A line of the trace: one event, equal ones merged, or a fold. */
struct event_row {
	const struct trace_event *event; /* the first; NULL for a fold and for a trap without event */
	uint64_t at_ns, dur_ns, bytes, count;
	size_t folded;	     /* so many events are not shown here */
	const char *who;     /* not the holder: 'nginx 20211'; else NULL */
	const char *text;    /* name, detail, who woke it */
	bool trigger, after; /* the trap itself; after it */
};

/* A line of the performance view: what took time, below what it lies in. */
struct span_row {
	const struct trace_event *event; /* it is of its thread, its kind ... */
	uint64_t at_ns, dur_ns, self_ns; /* self: without what lies inside it */
	size_t depth;
	const char *who;  /* 'nginx 20211', of the first of its thread; else NULL */
	const char *text; /* kind, name, detail */
};

/* A line of a stack. */
struct frame_row {
	size_t index;
	const char *function, *place;
	bool script;	 /* of the script language, not of the machine */
	size_t seen, of; /* it stood there in so many of that many looks; of 0: there was one */
};

struct pen {
	size_t events_most, groups_most, frames_most, output_lines_most;
	void (*head)(struct pen *pen, const struct incident *incident);
	void (*section)(struct pen *pen, const char *title, const char *note); /* note may be NULL */
	void (*field)(struct pen *pen, const char *label, const char *value);
	void (*line)(struct pen *pen, const char *text);
	void (*warn)(struct pen *pen, const char *text);
	void (*time_row)(struct pen *pen, const struct time_row *row);
	void (*frame)(struct pen *pen, const struct frame_row *row);
	void (*group)(struct pen *pen, size_t count, const char *what, const char *tids);
	void (*event)(struct pen *pen, const struct event_row *row);
	void (*span)(struct pen *pen, const struct span_row *row);
	void (*output)(struct pen *pen, const char *text, size_t len); /* lines of a program */
	/* What follows is folded away below a title until somebody opens it; NULL: the medium
	 * cannot, and views are pages of their own. */
	void (*view)(struct pen *pen, const char *title, const char *note);
	/* What 'draw' makes of it, one of report_svg.h; NULL: the medium has no pictures. */
	void (*picture)(struct pen *pen, const struct incident *incident,
			int (*draw)(const struct incident *incident, struct buf *out), const char *label);
};

int page_draw(const struct incident *incident, struct pen *pen, struct err *err);

/* The events as rows, at most about 'most' of them; for pages and pictures. The
 * texts belong to the rows. -ENOMEM. */
struct event_rows {
	struct event_row *row;
	size_t count;
};

int event_rows_make(const struct incident *incident, size_t most, struct event_rows *ret_rows);
void event_rows_free(struct event_rows *rows);

/* The table of times, ending with the total. The labels belong to the rows. */
int time_rows_make(const struct incident *incident, struct time_row **ret_rows, size_t *ret_count);
void time_rows_free(struct time_row *rows, size_t count);

#endif
