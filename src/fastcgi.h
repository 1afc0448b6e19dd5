/* SPDX-License-Identifier: MIT */
/* The parameters of a FastCGI request out of captured bytes: truncated anywhere,
 * hostile. Pure, no allocation beyond the caller's struct. */
#ifndef REQTRAP_FASTCGI_H
#define REQTRAP_FASTCGI_H

#include "http.h"

struct fastcgi_head {
	struct span method, uri, script, query, host, user_agent, remote_addr, remote_port;
	bool complete;	      /* the empty PARAMS record was there */
	uint8_t params[4096]; /* the PARAMS stream put together: the spans point here */
	size_t params_len;
};

/* -EINVAL when it does not start with BEGIN_REQUEST. */
int fastcgi_head_parse(const uint8_t *bytes, size_t len, struct fastcgi_head *ret_head);

/* The parameter of that name; data NULL: it is not there. Points into the head. */
struct span fastcgi_param_find(const struct fastcgi_head *head, const char *name);

#endif
