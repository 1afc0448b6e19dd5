/* SPDX-License-Identifier: MIT */
/* Asks the daemon of this host. HTTP over its unix socket, so that curl can do the same. */
#ifndef REQTRAP_CONTROL_H
#define REQTRAP_CONTROL_H

#include "buf.h"
#include "err.h"

#include <jansson.h>

/* $REQTRAP_SOCKET, else where the daemon's socket is by default. */
const char *control_path(void);

/* The body of the answer into 'out'. -ECONNREFUSED, with words: no daemon is there; -EACCES:
 * it is not ours to ask; -EPROTO: it says no, and why. Waits 10 s at most. */
int control_get(const char *path, struct buf *out, struct err *err);

/* The same, an object of JSON: the caller's. -EPROTO, too, when it is none. */
int control_json(const char *path, json_t **ret_json, struct err *err);

#endif
