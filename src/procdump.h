/* SPDX-License-Identifier: MIT */
/* ProcDump's command line, as it is typed on Windows and on Linux and as it stands
 * on web pages: '-', '/', or the dash that an editor put there; any case. Knows all
 * option names of both programs; does nothing itself: argv in, a struct out.
 * Also the file name patterns, which the native 'dump' shares. */
#ifndef REQTRAP_PROCDUMP_H
#define REQTRAP_PROCDUMP_H

#include "buf.h"
#include "err.h"

#include <sys/types.h>
#include <time.h>

#define PROCDUMP_EVERY_NS 10000000000ull /* its default for -s */
#define PROCDUMP_COUNT_MAX 10000
#define PROCDUMP_FILE_NAME "PROCESSNAME_YYMMDD_HHMMSS.dmp"

struct procdump {
	bool help;
	bool json;		  /* ours: '--json' */
	bool overwrite;		  /* -o */
	bool mini, full;	  /* the sizes; a full one if none is named */
	bool no_journal;	  /* ours: '--no-journal' */
	unsigned int count;	  /* -n */
	uint64_t every_ns;	  /* -s: between the starts of two dumps */
	uint64_t timeout_ns;	  /* -at: give a dump up after this long; 0 never */
	uint64_t pause_budget_ns; /* ours: '--pause-budget D'; 0: not given */
	const char *comment;	  /* -dc; into argv; NULL none */
	const char *target;	  /* PID or name; into argv */
	const char *path;	  /* file or folder; into argv; NULL: the current folder */
};

/* argv[0] is the program. 'notes' gets one line for each option that is accepted but
 * means nothing here. -EINVAL for what is wrong, -EOPNOTSUPP for what ProcDump knows
 * and this version does not: err has one line for either. */
int procdump_parse(int argc, char *const *argv, struct procdump *ret_procdump, struct buf *notes, struct err *err);

void procdump_help(struct buf *out);

/* A file name from a pattern: PROCESSNAME PID YYMMDD HHMMSS are replaced, in one
 * pass. 'process' is hostile: what is no part of a plain file name becomes '_'.
 * number > 0 puts '-number' in front of the extension ('.core.zst' is one).
 * -EINVAL when the pattern is no file name, -ENAMETOOLONG. */
int dump_file_name(const char *pattern, const char *process, pid_t pid, const struct tm *when, unsigned int number,
		   char *ret_name, size_t size, struct err *err);

#endif
