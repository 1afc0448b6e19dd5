/* SPDX-License-Identifier: MIT */
/* Looks at a trapped request after the first: at another rule's condition, and, with
 * 'samples' and 'every', again and again while it runs. All of them go into the one
 * incident: how a request came from slow to hung is read in one place, and stacks that
 * stay the same stand side by side. Private to engine.c and trap.c. */
#ifndef REQTRAP_SAMPLE_H
#define REQTRAP_SAMPLE_H

#include "trap.h"

/* Has this rule looked at it already? */
bool sample_has_rule(const struct trap *trap, const struct rule *rule);

/* At 'at_ns' (CLOCK_MONOTONIC) another rule matched. not_now: why it takes nothing; NULL. */
void sample_add(struct trap *trap, const struct rule *rule, enum rule_verdict why, uint64_t at_ns, const char *not_now);

/* The rule just took its stacks: look again every now and then, if it says so. */
void sample_repeat(struct trap *trap, const struct rule *rule, uint64_t from_ns);

/* The order of the first look is out: CPU of its threads is counted from here on, if others may follow. */
void sample_begin(struct trap *trap);

bool sample_due(const struct trap *trap);  /* one waits for its turn */
bool sample_busy(const struct trap *trap); /* ... or is under way */
bool sample_taking(const struct trap *trap);
void sample_take(struct trap *trap); /* its turn has come */
void sample_forgo(struct trap *trap, const char *why);

void sample_settle(struct trap *trap); /* starts the next action that waits */
void sample_acted(struct trap *trap);  /* an action is over: if it was a later one's, keep its facts */

#endif
