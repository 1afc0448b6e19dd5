/* SPDX-License-Identifier: MIT */
/* What a request waited on, in words: of the slot's record of it, and of the live process
 * where that is still the same object. Each thing is asked for once, at the trigger, and
 * its name kept: later it may be gone. Reads /proc, borrows descriptors for
 * microseconds, stops nothing. */
#ifndef REQTRAP_NAMING_H
#define REQTRAP_NAMING_H

#include "request.h"

struct naming;

struct naming *naming_new(void);
void naming_free(struct naming *naming);

/* For the request's rooms; 'naming' must live as long. */
struct wording naming_words(struct naming *naming);

#endif
