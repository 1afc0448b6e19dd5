/* SPDX-License-Identifier: MIT */
/* What the user sees of a dump: its result, as text or JSON on stdout, and how far it
 * is, on stderr. Everything about the process is hostile and printed escaped. */
#ifndef REQTRAP_CMD_DUMP_TELL_H
#define REQTRAP_CMD_DUMP_TELL_H

#include "series.h"

const char *dump_kind_name(uint32_t kind); /* 'full' 'mini' 'stacks' */

/* How the dumps of a process differ. */
/* What went wrong, as JSON on stdout beside the line on stderr; notes are no event. */
void tell_said(enum series_word word, const char *text);

void tell_compared(const struct series_result *result, bool json);

/* False: stdout did not take it (errno says why). */
bool tell_dump(const struct series_dump *dump, bool json);

/* One line that refreshes itself, if stderr is a terminal; else a plain one now and
 * then. */
struct progress {
	uint64_t begun_ns, told_ns;
	bool off, shown;
};

void progress_show(struct progress *progress, const struct series_dump *dump);
void progress_wait(struct progress *progress, const struct series_state *state);
void tell_waiting(struct progress *progress, const struct series_state *state); /* the same as JSON on stdout */
void progress_clear(struct progress *progress);					/* before anything else is printed */

#endif
