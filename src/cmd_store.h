/* SPDX-License-Identifier: MIT */
/* Which store a verb means: --store, $REQTRAP_STORE, that of a daemon that runs, or the
 * default. */
#ifndef REQTRAP_CMD_STORE_H
#define REQTRAP_CMD_STORE_H

#include "options.h"
#include "store.h"

/* For reading and removing. -EACCES, with what to do: a daemon has it, and is not ours to ask. */
int store_open_meant(const struct command_line *line, struct store **ret_store, struct err *err);

#endif
