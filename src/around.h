/* SPDX-License-Identifier: MIT */
/* What an incident knows of its holder, for a process that nobody watches: which thread
 * says most, who that one waits for in other processes, and what stands around them. Runs
 * a loop of its own and blocks, BEYOND_NS and a moment at most; stops those on the way as
 * beyond.h has it. */
#ifndef REQTRAP_AROUND_H
#define REQTRAP_AROUND_H

#include "beyond.h"
#include "moment.h"

/* The thread that a verdict over the whole process is about. Nobody's request names it: it
 * is the one of a deadlock, the first of those that wait for the lock most threads wait
 * for, the one that waits for another process's lock, or the first of those that are most
 * at work. ret_like: as many as that are, 0 where a lock has named it. 0: no threads. */
pid_t around_judge(const struct analysis *analysis, size_t *ret_like);

/* The incident has its analysis, holder_pid and holder_tid; its chain and scene are filled
 * in. before: the CPU of its threads, earlier; NULL. What fails is left out. */
void around_look(struct incident *incident, const struct moment *before, struct beyond_recent *recent);

#endif
