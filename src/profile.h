/* SPDX-License-Identifier: MIT */
/* Areas of detail, each with a verbosity, and which probes a server's or a library's
 * profile has. Words and tables only: knows nothing of BPF, attaches nothing. */
#ifndef REQTRAP_PROFILE_H
#define REQTRAP_PROFILE_H

#include "buf.h"
#include "err.h"
#include "note.h"

/* A verbosity: events of that severity and graver ones are noted. */
enum level { LEVEL_UNSAID, LEVEL_OFF, LEVEL_CRITICAL, LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_VERBOSE };

struct areas {
	uint8_t level[AREA_COUNT]; /* enum level */
};

const char *area_name(enum area area);

/* 'mark,query=verbose,php=off' onto 'areas'. 'app' is all that needs probes in the
 * target; a name alone means 'information'. -EINVAL with a text. */
int areas_parse(const char *text, struct areas *areas, struct err *err);
void areas_format(const struct areas *areas, struct buf *out);	 /* what was said; parses back */
void areas_mark(struct areas *areas, enum severity severity);	 /* marks so grave are noted; 0: nothing more */
void areas_join(struct areas *areas, const struct areas *other); /* the more detailed of both */

/* The gravest-but-least severity that is noted, with the defaults for what was not said:
 * SEVERITY_NONE when the area is off. */
enum severity areas_least(const struct areas *areas, enum area area);
enum severity severity_of(const char *name);	     /* by severity_name() of incident.h; SEVERITY_NONE: no such word */
bool areas_want_programs(const struct areas *areas); /* beyond those that always run */

struct profile_row {
	enum area area;
	enum severity severity; /* 'verbose' ones are hot: many a request */
	const char *object;	/* file name of the program or library, a glob */
	const char *provider;	/* of a USDT; NULL: 'symbol' is a function */
	const char *symbol;
	const char *label; /* for people */
	enum note_how how;
	uint8_t text, number, length; /* which argument, from 1; length bounds the text */
};

enum { PROFILE_ROW_FILE, PROFILE_ROW_FORK }; /* the first ones */
extern const struct profile_row profile_rows[];
extern const size_t profile_row_count;

/* An SQL text without the values in it: literals and numbers become '?'. Cut texts are
 * fine: an open literal ends with the text. */
void profile_mask(const char *sql, char *buf, size_t size);

#endif
