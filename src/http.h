/* SPDX-License-Identifier: MIT */
/* The head of an HTTP/1 request out of captured bytes: truncated anywhere, hostile.
 * Pure, no allocation: the results point into the bytes. */
#ifndef REQTRAP_HTTP_H
#define REQTRAP_HTTP_H

#include "util.h"

struct span {
	const char *data; /* NULL: not there */
	size_t len;
};

struct http_head {
	struct span method, target, host, user_agent;
	bool complete; /* the blank line was there */
};

/* -EINVAL when it does not start with a method and a blank. Cut bytes give what is
 * whole; a target without the blank behind it is taken as far as it goes. */
int http_head_parse(const uint8_t *bytes, size_t len, struct http_head *ret_head);

/* The value of the first header of that name, in any case; data NULL: it is not among the
 * bytes. */
struct span http_header_find(const uint8_t *bytes, size_t len, const char *name);

#endif
