/* SPDX-License-Identifier: MIT */
/* One line to stderr. Only commands, engine.c and child entries log; everything
 * else returns an error, so parsers fuzz in silence and no failure is told twice. */
#ifndef REQTRAP_LOG_H
#define REQTRAP_LOG_H

#include "util.h"

void log_error(const char *fmt, ...) PRINTF(1, 2); /* 'reqtrap: text' */
void log_warn(const char *fmt, ...) PRINTF(1, 2);  /* 'reqtrap: warning: text' */
void log_note(const char *fmt, ...) PRINTF(1, 2);  /* 'reqtrap: text', silent with --quiet */
void log_quiet(bool quiet);

/* From now on each line goes there, without its prefix and newline. 'priority' is syslog's:
 * 3 an error, 4 a warning, 6 a note. False: it could not be told, and stderr has it. */
typedef bool log_sink(int priority, const char *text);
void log_to(log_sink *to);

#endif
