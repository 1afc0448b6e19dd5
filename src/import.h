/* SPDX-License-Identifier: MIT */
/* What IIS was told (iis.h) as a rules file of ours. What has no meaning here, or not
 * quite the same, becomes a comment that names file and line. Pure. */
#ifndef REQTRAP_IMPORT_H
#define REQTRAP_IMPORT_H

#include "buf.h"
#include "iis.h"

/* Writes the file; config_parse takes it. Returns the number of rules: with 0 there is
 * nothing to take, only comments. -ENOMEM, -E2BIG. */
int import_write(const struct iis *iis, struct buf *out, struct err *err);

/* The same of a command line for procdump that runs at a failed request: what is captured
 * instead is set in 'rule', what differs is added to 'notes', a line each. -EINVAL: that
 * line does something else than to dump this process at once; err says what. */
struct rule;
int import_procdump(const char *program, const char *params, struct rule *rule, struct buf *notes, struct err *err);

#endif
