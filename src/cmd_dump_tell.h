/* SPDX-License-Identifier: MIT */
/* What the user sees of a dump: its result, as text or JSON on stdout, and how far it
 * is, on stderr. Everything about the process is hostile and printed escaped. */
#ifndef REQTRAP_CMD_DUMP_TELL_H
#define REQTRAP_CMD_DUMP_TELL_H

#include "dump.h"

struct dump_subject {
	pid_t pid;
	const char *process, *path;
	bool mini;
};

/* False: stdout did not take it (errno says why). */
bool tell_dump(const struct dump_subject *subject, const struct dump_result *result, bool json);

/* One line that refreshes itself, if stderr is a terminal; else a plain one now and
 * then. */
struct progress {
	uint64_t begun_ns, told_ns; /* set both when a dump begins */
	bool off, shown;
};

void progress_show(struct progress *progress, const struct dump_subject *subject, uint64_t done, uint64_t total);
void progress_clear(struct progress *progress); /* before anything else is printed */

#endif
