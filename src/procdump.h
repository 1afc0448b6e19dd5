/* SPDX-License-Identifier: MIT */
/* ProcDump's command line, as it is typed on Windows and on Linux and as it stands
 * on web pages: '-', '/', or the dash that an editor put there; any case. Knows all
 * option names of both programs; does nothing itself: argv in, a struct out.
 * Also the file name patterns, which the native 'dump' shares. */
#ifndef REQTRAP_PROCDUMP_H
#define REQTRAP_PROCDUMP_H

#include "buf.h"
#include "err.h"
#include "sentry.h"
#include "trigger.h"

#include <sys/types.h>
#include <time.h>

#define PROCDUMP_EVERY_NS 10000000000ull /* its default for -s */
#define PROCDUMP_COUNT_MAX 10000
#define PROCDUMP_TARGETS_MAX 32
#define PROCDUMP_TRIGGERS_MAX 32
#define PROCDUMP_FILE_NAME "PROCESSNAME_YYMMDD_HHMMSS.dmp"
#define PROCDUMP_FILE_NAME_LINUX "PROCESSNAME_TRIGGER_YYMMDD_HHMMSS.PID" /* where the words are its own */
#define PROCDUMP_UNSET UINT64_MAX

enum procdump_as { PROCDUMP_UNDECIDED, PROCDUMP_WINDOWS, PROCDUMP_LINUX };

#define PROCDUMP_GROUP_SIZE 24

/* All pointers go into argv, or with 'group' into itself. */
struct procdump {
	bool help;
	enum procdump_as as;	  /* whose meaning '-s', '-c' and '-e' have */
	bool core, breakpoints;	  /* -u, -b: done already */
	bool mini, full;	  /* the sizes; by 'as' if none is named */
	unsigned int count;	  /* -n */
	uint64_t every_ns;	  /* -s: between the starts of two dumps */
	uint64_t timeout_ns;	  /* -at: give a dump up after this long; 0 never */
	uint64_t interval_ns;	  /* -pf: between two samples; 0: not given */
	uint64_t pause_budget_ns; /* ours: '--pause-budget D'; PROCDUMP_UNSET, 0: no limit */
	uint64_t hold_ns;	  /* ours: '--hold D'; the same */
	unsigned int concurrent;  /* -r */
	bool avoid_outage;	  /* -a */
	bool overwrite;		  /* -o */
	bool kill;		  /* -k */
	bool group;		  /* -pgid: the targets are process groups */
	bool wait, all;		  /* -w; ours: '--all' */
	bool exit;		  /* -t: in 'on', too */
	bool json, no_journal;	  /* ours */
	const char *comment;	  /* -dc; NULL none */
	const char *cancel;	  /* -cancel: goes alone; NULL none */
	const char *path;	  /* file or folder; NULL: the current folder */

	char *target[PROCDUMP_TARGETS_MAX]; /* PIDs or names */
	char group_word[PROCDUMP_TARGETS_MAX][PROCDUMP_GROUP_SIZE];
	size_t target_count;
	char *const *command; /* -x: instead; NULL none */

	struct trigger trigger[PROCDUMP_TRIGGERS_MAX];
	size_t trigger_count;
	struct sentry_wish on;
};

/* argv[0] is the program. 'notes' gets one line for each option that is accepted but
 * means nothing here. -EINVAL for what is wrong, -EOPNOTSUPP for what ProcDump knows
 * and that cannot be done here: err has one line for either, and of ret_procdump only
 * 'json' is set. */
int procdump_parse(int argc, char *const *argv, struct procdump *ret_procdump, struct buf *notes, struct err *err);

void procdump_help(struct buf *out);
void procdump_page(struct buf *out); /* doc/procdump.md */

/* What a file name is made of. */
struct dump_name {
	const char *pattern, *process;
	pid_t pid;
	struct tm when;
	const char *trigger; /* 'cpu'; NULL: there was none */
	char signal[16];     /* 'SEGV'; '': there was none */
};

/* A file name: PROCESSNAME PID YYMMDD HHMMSS TRIGGER EXCEPTIONCODE are replaced in the
 * pattern, in one pass. 'process' is hostile: what is no part of a plain file name becomes
 * '_'. number > 0 puts '-number' in front of the extension ('.core.zst' is one).
 * -EINVAL when the pattern is no file name, -ENAMETOOLONG. */
int dump_file_name(const struct dump_name *name, unsigned int number, char *ret_name, size_t size, struct err *err);

/* Is a program of this name (without its folder) called in ProcDump's grammar? */
bool procdump_is_name(const char *base);

#endif
