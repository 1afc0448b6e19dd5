/* SPDX-License-Identifier: MIT */
/* What a live process would tell, out of a core file of anybody's: its threads and their
 * stacks by the analyst, who asks for memory as it needs it, and its memory by mapping.
 * Every byte is hostile. Opens the files that the core names, for reading, if they are of
 * the same build. Blocks; memory: 1 MiB, and some for each thread and mapping. */
#ifndef REQTRAP_AUTOPSY_H
#define REQTRAP_AUTOPSY_H

#include "err.h"
#include "incident.h"
#include "moment.h"

#define AUTOPSY_THREADS_MAX 100000u
#define AUTOPSY_ROWS_MAX (1u << 18) /* mappings */

struct autopsy_spec {
	const char *exe;     /* its program; NULL: where the core says */
	const char *sysroot; /* the files are below it; NULL: they are here */
	bool arguments;	     /* what functions of scripts were called with, too */
	bool memory;	     /* ret_moment is wanted: all of the core is read */
};

struct autopsy_facts {
	pid_t pid;
	char process[80];   /* escaped; '' not told */
	char program[4096]; /* its file, escaped; '' not told */
	pid_t tid;	    /* of the first thread: that of the signal */
	int signal;	    /* it died of that; 0: it did not */
	size_t threads;
};

/* The descriptor stays the caller's, as do the results: analysis_done, moment_done. Notes
 * in the analysis say what is missing. -EINVAL: not a core, in words ('the file'). */
int autopsy(int fd, const struct autopsy_spec *spec, struct autopsy_facts *ret_facts, struct analysis *ret_analysis,
	    struct moment *ret_moment, struct err *err);

#endif
