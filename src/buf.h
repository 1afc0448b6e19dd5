/* SPDX-License-Identifier: MIT */
/* A byte buffer that grows up to a stated maximum. What does not fit is not
 * written and 'full' is set: the caller says so to the user, nothing is cut
 * silently. Always NUL-terminated after the first add; 'len' leaves the NUL out. */
#ifndef REQTRAP_BUF_H
#define REQTRAP_BUF_H

#include "util.h"

struct buf {
	char *data;
	size_t len, cap, max;
	bool full; /* the maximum was reached, or memory ran out */
};

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf);
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_adds(struct buf *buf, const char *text);
void buf_addf(struct buf *buf, const char *fmt, ...) PRINTF(2, 3);

/* Adds hostile bytes for a terminal or a log: control bytes, DEL, C1 controls,
 * invalid UTF-8, characters that hide and '\' become \xHH. */
void buf_add_escaped(struct buf *buf, const void *data, size_t len);

/* Does this character show nothing, or turn or end the line that it stands in? */
bool char_hides(uint32_t cp);

/* The data as a heap string the caller frees; the buffer is empty afterwards. */
char *buf_take(struct buf *buf);

#endif
