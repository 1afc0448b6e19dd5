/* SPDX-License-Identifier: MIT */
/* One row per option name of both ProcDumps; the grammar, its help and its page in doc/
 * are made of it. */
#ifndef REQTRAP_PROCDUMP_TABLE_H
#define REQTRAP_PROCDUMP_TABLE_H

#include <stddef.h>

enum use {
	USE_PLAIN,	   /* what happens anyway: nothing to say */
	USE_FLAG,	   /* sets the bool at 'at' */
	USE_COUNT,	   /* the number at 'at' */
	USE_SECONDS,	   /* the nanoseconds at 'at' */
	USE_MS,		   /* the same, from milliseconds */
	USE_TEXT,	   /* the string at 'at' */
	USE_DURATION,	   /* the nanoseconds at 'at', with their unit */
	USE_NEAREST,	   /* sets the bool at 'at', which is another one: says so */
	USE_NOTE,	   /* means nothing on Linux, or not to this program */
	USE_REFUSE,	   /* would be a dump at another moment than meant, or none */
	USE_ABOVE,	   /* a condition: 'at' is its enum trigger_kind */
	USE_BELOW,	   /* the same */
	USE_COUNTER_ABOVE, /* the same, by the name of a performance counter */
	USE_COUNTER_BELOW,
	USE_CLONE,     /* -r, with its optional number */
	USE_EXCEPTION, /* -e, with its optional 1 */
	USE_SIGNALS,
	USE_LAUNCH, /* the rest of the line is a command */
	USE_ALSO,   /* one more target */
	USE_AS,	    /* whose words these are */
};

/* on_windows, on_linux: what it means there, NULL: it is no option there; neither: it is ours.
 * here: what it does, or why it does nothing; told with a note or a refusal. arg: '['
 * begins one that may be left out. */
struct procdump_row {
	const char *name, *arg;
	enum use use;
	size_t at;
	const char *on_windows, *on_linux, *here;
};

extern const struct procdump_row procdump_rows[];
extern const size_t procdump_row_count;

#endif
