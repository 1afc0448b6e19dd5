/* SPDX-License-Identifier: MIT */
/* Names for an incident's native frames out of the debug files that a debuginfod server
 * has. Never while something is captured: servers are asked and gigabytes may come. The
 * asking is libdebuginfod's, opened when it is wanted (its own cache, DEBUGINFOD_URLS); the
 * files are read by a child of ours that has given up all it does not need, as the
 * analyst is: they come from outside. */
#ifndef REQTRAP_DEBUGFILE_H
#define REQTRAP_DEBUGFILE_H

#include "err.h"
#include "incident.h"

#define DEBUGFILE_BUDGET_NS (60 * 1000000000ull)

struct debugfile_result {
	size_t files, missing; /* that names came from, and that no server had in time */
	size_t frames;	       /* that have a better name now */
};

/* Blocks for budget_ns at most and a little; what has no name by then keeps what it had. A
 * note in the analysis says what came from where, and what did not. -ENOENT: no server is
 * named, or libdebuginfod is not here. */
int debugfile_name(struct incident *incident, uint64_t budget_ns, struct debugfile_result *ret, struct err *err);

/* Entry of the hidden verb '--names': fd 3 the debug file, fd 4 the answer, fd 5 the addresses. */
int debugfile_main(int argc, char **argv);

#endif
