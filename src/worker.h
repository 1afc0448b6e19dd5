/* SPDX-License-Identifier: MIT */
/* Between dump.c and worker.c: fd numbers, and what the worker says on its way, so
 * that its death can be told truthfully. */
#ifndef REQTRAP_WORKER_H
#define REQTRAP_WORKER_H

#include "sentry.h"

enum { WORKER_FD_PARENT = 3, WORKER_FD_DIR = 4, WORKER_FD_ANALYST = 5 };

enum worker_stage { WORKER_NONE, WORKER_CLONING, WORKER_CLONED, WORKER_REAPED, WORKER_WAITING };

struct worker_note {
	uint32_t stage;
	int32_t child;	      /* the copy's process id, 0 none */
	uint64_t done, total; /* bytes of memory read for the core */
};

#endif
