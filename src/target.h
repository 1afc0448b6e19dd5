/* SPDX-License-Identifier: MIT */
/* TARGET words of the command line into process ids: PID, NAME (comm, or the file
 * name of the executable; '*' and '?' make a pattern), ':PORT' (who listens there), 'cgroup:PATH', 'unit:NAME',
 * 'pgid:NUMBER' (a process group), 'user:NAME'.
 * Reads /proc only. Other users' fds need CAP_SYS_PTRACE to find a port's owner. */
#ifndef REQTRAP_TARGET_H
#define REQTRAP_TARGET_H

#include "err.h"

#include <sys/types.h>

struct targets {
	pid_t *pid; /* ascending, each once */
	size_t count;
};

/* Adds what the word names. -ESRCH with words when it is nothing that runs, -EINVAL
 * when the word is none. */
int target_find(struct targets *targets, const char *word, struct err *err);

/* A process name as Windows users type it: any case, '.exe' may follow. */
int target_find_any_case(struct targets *targets, const char *name, struct err *err);

void targets_done(struct targets *targets);

#endif
