/* SPDX-License-Identifier: MIT */
/* Gives up, for good, everything that a process which only computes does not need.
 * What stays: the fds that are open, memory, the clock. Needs no privilege. */
#ifndef REQTRAP_SANDBOX_H
#define REQTRAP_SANDBOX_H

#include "err.h"

/* No new privileges, nobody's ids and no capabilities, limits on memory, CPU time and
 * files, then a filter of system calls: afterwards nothing can be opened, connected,
 * executed or mapped executable; such calls fail with EPERM. */
int sandbox_enter(struct err *err);

#endif
