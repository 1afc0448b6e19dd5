/* SPDX-License-Identifier: MIT */
/* What makes incidents one group: the verdict's cause, the place in the program where the
 * request stood, and what it waited for - without what differs from one request to the
 * next (addresses, ids, files of a folder, lines within a function). Pure. */
#ifndef REQTRAP_ALIKE_H
#define REQTRAP_ALIKE_H

#include "incident.h"

struct alike {
	char *cause; /* 'session-lock'; of an incident without one 'unknown' */
	char *place; /* 'load_session() in /srv/lib/session.php'; NULL: no stack of it */
	char *wait;  /* 'waiting in flock for a file in /var/lib/php/sessions', 'on CPU' ... */
};

void alike_of(const struct incident *incident, struct alike *ret); /* the caller's: alike_done */
bool alike_same(const struct alike *a, const struct alike *b);
void alike_done(struct alike *alike);

#endif
