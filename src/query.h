/* SPDX-License-Identifier: MIT */
/* What was asked on a connection, from the first bytes that were sent: SQL statements,
 * Redis commands, HTTP requests, names that DNS shall look up. Pure; the bytes are hostile
 * and may be cut anywhere. */
#ifndef REQTRAP_QUERY_H
#define REQTRAP_QUERY_H

#include "util.h"

struct query {
	const char *protocol; /* 'PostgreSQL' ...; static */
	char text[400];	      /* 'SELECT * FROM t WHERE id = ?'; '' nothing to say. Raw bytes without NUL */
	bool cut;	      /* it goes on */
};

/* port: of the other end, 0 unknown. values: show what may be a secret, too: literals of
 * statements, arguments of commands, the query of a URL. False: not one that is known. */
bool query_read(const uint8_t *bytes, size_t len, uint16_t port, bool values, struct query *ret_query);

/* The protocol that is usual there; NULL. */
const char *query_usual(uint16_t port);

#endif
