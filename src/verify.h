/* SPDX-License-Identifier: MIT */
/* Is a core whole and sound: its structure, what it should hold, and what it says itself
 * that it leaves out. Reads the core and, for build-ids, the files that it names; stops
 * nothing, repairs nothing, prints nothing. Memory is bounded whatever the core says. */
#ifndef REQTRAP_VERIFY_H
#define REQTRAP_VERIFY_H

#include "err.h"

#include <sys/types.h>

#define VERIFY_FINDINGS_MAX 256

enum verify_level {
	VERIFY_NOTE,	/* worth knowing, no fault */
	VERIFY_HERE,	/* not on this machine: the core itself is fine */
	VERIFY_MISSING, /* something that the process had is not in the core */
	VERIFY_DAMAGED, /* the file contradicts itself */
	VERIFY_LEVELS
};

struct verify_finding {
	const char *check; /* its name in the table */
	enum verify_level level;
	char *text; /* one line, escaped */
};

struct verify_report {
	pid_t pid;	    /* 0: it does not say */
	char process[32];   /* escaped */
	char kind[16];	    /* 'full', 'mini'; '': not a core of ours */
	char method[16];    /* 'clone', 'stop'; '' not told */
	uint64_t pause_ns;  /* of the process; 0: not told */
	uint64_t threads;   /* with registers */
	uint64_t segments;  /* with memory */
	uint64_t bytes;	    /* of the core, not compressed */
	uint64_t memory;    /* bytes of memory that it speaks of */
	uint64_t data;	    /* bytes of them that it has, zeros counted */
	uint64_t in_files;  /* of them, left to the files they came from */
	uint64_t libraries; /* that the program had loaded */
	uint64_t omitted;   /* ranges that it says it leaves out */
	bool zstd, table;   /* compressed; with a seek table */
	struct verify_finding *finding;
	size_t count;
	size_t of_level[VERIFY_LEVELS]; /* how many, with those that have no row */
};

/* quick: what would take the decompression of the whole file is left out. The descriptor
 * stays the caller's. -EINVAL: not a core. The report is the caller's: verify_done.
 * err must not be NULL. */
int verify_core(int fd, bool quick, struct verify_report *ret_report, struct err *err);
void verify_done(struct verify_report *report);

const char *verify_level_name(enum verify_level level);

#endif
