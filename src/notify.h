/* SPDX-License-Identifier: MIT */
/* What a service says to its manager (sd_notify's protocol, without its library). Does
 * nothing where nobody listens. Never waits. */
#ifndef REQTRAP_NOTIFY_H
#define REQTRAP_NOTIFY_H

#include "util.h"

/* 'READY=1', 'STATUS=...', several with line breaks. */
void notify(const char *fmt, ...) PRINTF(1, 2);

/* RELOADING=1 with the moment that the manager wants beside it. */
void notify_reloading(void);

uint64_t notify_watchdog_ns(void); /* WATCHDOG=1 is due that often; 0: never */

#endif
