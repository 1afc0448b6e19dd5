/* SPDX-License-Identifier: MIT */
/* What went wrong, in one line for the user. Fixed text, no allocation, so that
 * it can be filled when memory is short.
 *
 * A function that can fail returns 0 or more, or negative errno. An operation
 * that a user might ask about also takes 'struct err *err' last (NULL allowed).
 * Text: what failed first, the subject in 'quotes', the cause last, the next
 * step if it is known. Control bytes are written as \xHH: subjects are hostile.
 */
#ifndef REQTRAP_ERR_H
#define REQTRAP_ERR_H

#include "util.h"

struct err {
	char text[512];
};

/* Formats and appends ': <text of the errno>'. Returns code (negative errno). */
int err_sys(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

/* Formats as it stands. Returns code (negative errno). */
int err_say(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

/* Puts context in front of the text that is there: 'context: text'. Returns code. */
int err_wrap(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

#endif
