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

#endif
