/* SPDX-License-Identifier: MIT */
/* Which values of a request are secrets, and what is shown in their place. Names and
 * values are hostile bytes. Knows nothing of where they come from. */
#ifndef REQTRAP_MASK_H
#define REQTRAP_MASK_H

#include "buf.h"

#define MASK "***"

/* Of a header or variable in any spelling: 'Authorization', 'HTTP_COOKIE', 'DB_PASSWORD',
 * 'X-Api-Key' ...: all of its value is a secret. */
bool mask_is_secret(const char *name);

bool mask_is_secret_part(const char *name, size_t len); /* the same, of a name that goes on */

/* Adds 'a=1&b' as 'a=***&***', up to its end or the character 'end' ('#': a fragment; NUL:
 * none). Returns how far it went. */
size_t mask_query(struct buf *out, const char *query, char end);

/* Adds a URI without the user and password of 'scheme://user:password@host', the session of
 * a path (';jsessionid=...') and the values of its query, up to 'query_end' as above. */
void mask_uri(struct buf *out, const char *uri, char query_end);

/* The value on the heap, with a secret's bytes replaced: all of it, or the values of a
 * query, or the user of a URL. NULL: no memory. ret_masked: it is not what it was. */
char *mask_value(const char *name, const char *value, bool *ret_masked);

#endif
