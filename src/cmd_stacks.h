/* SPDX-License-Identifier: MIT */
/* What 'stacks' looks at, and its words for people and for programs. For the files of that
 * verb alone. */
#ifndef REQTRAP_CMD_STACKS_H
#define REQTRAP_CMD_STACKS_H

#include "compare.h"
#include "dump.h"
#include "growth.h"
#include "incident.h"
#include "proc.h"

/* A process, and what its samples have in common; or several cores, as if they were that. */
struct subject {
	struct proc proc;
	char name[80];
	const char *core; /* that was read last; NULL: a process */
	int signal;	  /* it died of */
	pid_t signal_tid;
	size_t like;		 /* threads that the verdict might be about as well */
	struct compare *compare; /* NULL: one sample is all */
	struct growth *growth;
	unsigned int turn, taken; /* samples begun, and those that came to something */
	bool over;		  /* it ended, or its first sample failed */
};

/* Both of one sample; result NULL: of a core. sample: its number, 0 the only one. */
int stacks_print_text(const struct subject *subject, const struct incident *i, const struct dump_result *result);
int stacks_print_json(const struct subject *subject, const struct incident *i, const struct dump_result *result,
		      unsigned int sample);
/* What the samples have in common. */
int stacks_print_comparison(const struct subject *s, bool json);

#endif
