/* SPDX-License-Identifier: MIT */
/* The contract between the opt-in programs (bpf/app.bpf.c) and user space: what they
 * note of a request, beside its slot. One page per slot, of the same index; it is of
 * that slot's request only while 'gen' is the same. Texts are the application's:
 * hostile, bounded, cut with a flag. */
#ifndef REQTRAP_NOTE_H
#define REQTRAP_NOTE_H

#include "event.h"

#define NOTES 40
#define NOTES_KEPT 10 /* the first ones stay, the rest is a ring */
#define NOTE_TEXT 168 /* with its NUL */
#define NOTE_SPANS 8  /* open at one time */

/* What can be looked at. The first ones need no probe in the target. */
enum area {
	AREA_SOCKET,
	AREA_UPSTREAM,
	AREA_LOCK,
	AREA_FILE,
	AREA_PROCESS,
	AREA_FAULT,
	AREA_MARK, /* from here on: probes in the target */
	AREA_PHP,
	AREA_PYTHON,
	AREA_QUERY,
	AREA_DNS,
	AREA_NGINX,
	AREA_APACHE,
	AREA_COUNT
};
#define AREA_APP AREA_MARK /* 'app': this one and all behind it */

/* As in Failed Request Tracing. */
enum severity { SEVERITY_NONE, SEVERITY_CRITICAL, SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_INFO, SEVERITY_VERBOSE };

enum note_flag {
	NOTE_SPAN = 1,	 /* has an end */
	NOTE_OPEN = 2,	 /* which has not come yet */
	NOTE_CUT = 4,	 /* the text was longer */
	NOTE_UNREAD = 8, /* the text could not be read: not in memory */
	NOTE_NUMBER = 16,
	NOTE_COUNTED = 32, /* 'number' says how many it stands for */
};

struct note {
	u64 at_ns, dur_ns;
	u64 number;
	u32 tid;
	u8 row; /* which probe: of profile.c's table */
	u8 severity;
	u8 flags;
	u8 pad;
	char text[NOTE_TEXT];
};

struct open_span {
	u64 at_ns; /* 0: free */
	u32 tid;
	u16 place;
	u8 area;
	u8 pad;
};

struct notes {
	u64 gen;
	u32 count; /* all that were noted; more than NOTES: a ring */
	u32 cut;   /* texts */
	u32 deep;  /* spans open now that found no room, the innermost */
	u32 lost;  /* all that found none: they have no end */
	u32 pad[10];
	struct open_span open[NOTE_SPANS];
	struct note note[NOTES];
};

/* What a probe does with a hit, packed into its cookie: arguments are numbered from 1,
 * 0 is none. */
enum note_how { HOW_MOMENT, HOW_BEGIN, HOW_END };
#define COOKIE(row, area, severity, how, text, number, length)                                          \
	((u64)(row) | (u64)(area) << 8 | (u64)(severity) << 16 | (u64)(how) << 24 | (u64)(text) << 32 | \
	 (u64)(number) << 40 | (u64)(length) << 48)
#define COOKIE_FIELD(cookie, shift) ((u32)((cookie) >> (shift)) & 0xff)
enum {
	COOKIE_ROW = 0,
	COOKIE_AREA = 8,
	COOKIE_SEVERITY = 16,
	COOKIE_HOW = 24,
	COOKIE_TEXT = 32,
	COOKIE_NUMBER = 40,
	COOKIE_LENGTH = 48
};

/* Per area, for the whole watch. */
struct area_count {
	u64 hits;  /* noted */
	u64 stray; /* by a thread that worked on no request */
	u64 cut;
	u64 unread;
};

#ifndef __cplusplus
_Static_assert(sizeof(struct note) == 200, "note layout");
_Static_assert(sizeof(struct notes) == 8192, "notes: a whole number of pages for the mapping");
#endif

#endif
