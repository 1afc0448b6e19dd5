/* SPDX-License-Identifier: MIT */
/* The envoy asks a process for what only it can say of its threads, after the dump has let
 * it go: a JVM for its stacks. A process of its own (hidden verb '--envoy'), for it becomes
 * the target's user; it never stops the target, and has nothing but a stream to the analyst.
 * This header is the worker's side. Blocks for an exec, and in envoy_end. */
#ifndef REQTRAP_ENVOY_H
#define REQTRAP_ENVOY_H

#include "child.h"
#include "proc.h"

#define ENVOY_VERB "--envoy"

struct envoy {
	int theirs, ours; /* the analyst's end, the envoy's; -1 none */
	struct child child;
};

#define ENVOY_NONE                                                \
	{                                                         \
		.theirs = -1, .ours = -1, .child = {.pidfd = -1 } \
	}

/* Before the stop. Without anything to ask for 'theirs' stays -1. */
void envoy_prepare(struct envoy *envoy, const struct proc_maps *maps);

/* The target runs again: sends it on its way. Does nothing if it was not prepared. */
void envoy_start(struct envoy *envoy, const struct proc *proc);

/* Waits until it is back, some seconds at most. */
void envoy_end(struct envoy *envoy);

int envoy_main(int argc, char **argv);

#endif
