/* SPDX-License-Identifier: MIT */
/* Which request is a failed one. Pure: no I/O, no clock, no state. First rule that
 * matches wins. Limits per process life live in engine.c, which has the clock. */
#ifndef REQTRAP_RULE_H
#define REQTRAP_RULE_H

#include "buf.h"
#include "err.h"
#include "incident.h"
#include "profile.h"
#include "value.h"

#define RULE_LIMIT_DEFAULT 1 /* FREB's customActionTriggerLimit */

#define RULE_SAMPLES_MAX 100

struct rule {
	char *name;
	char *path;		/* glob: '*' any run of bytes, '?' one; NULL: any. On the URL's path
			 * without its query */
	char *method;		/* compared as it stands; NULL: any */
	char *host;		/* glob, case folded, without the port; NULL: any */
	uint64_t time_taken_ns; /* 0: no such condition */
	struct status_range status[RULE_STATUS_MAX];
	size_t status_count;
	bool all;		  /* conditions AND; default OR, as in FREB */
	uint32_t capture;	  /* enum capture_bits */
	uint32_t limit;		  /* captures and actions per life of the process */
	uint64_t limit_window_ns; /* 0: none */
	uint64_t cool_down_ns;
	unsigned int samples; /* stack samples, the first included: 1 */
	uint64_t every_ns;
	bool arguments;	    /* of the functions of scripts, too */
	bool statements;    /* what was asked of databases is shown with its values */
	struct areas areas; /* what is recorded, in which detail */
	char **action;	    /* argv with tokens, NULL none */
};

struct rules {
	struct rule *rule;
	size_t count;
	bool actions_enabled;
	bool show_values; /* incident_mask.h */
	char *store;	  /* NULL: default */
};

/* What is known of a request at the moment of asking. */
struct rule_input {
	const char *method, *url, *host; /* NULL: unknown, matches only rules that do not ask */
	int status;			 /* 0: none yet */
	uint64_t elapsed_ns;
};

enum rule_verdict { RULE_NO, RULE_TIME, RULE_STATUS };

/* Sets one field by its name in the option table ('time-taken', 'status' ...) from
 * text; the same words on the command line and in a file. A flag takes NULL, 'true'
 * or 'false'. The old value stays on failure. -EINVAL with a text; -ENOMEM. */
int rule_set(struct rule *rule, const char *key, const char *value, struct err *err);

/* What is wrong with a rule as a whole: it can never fire, 'all' with one condition
 * only ... -EINVAL with a text. */
int rule_check(const struct rule *rule, struct err *err);

/* One rule. With 'why' (NULL allowed) the reason in words, also for RULE_NO. */
enum rule_verdict rule_match(const struct rule *rule, const struct rule_input *input, char *why, size_t why_size);

/* The first that matches; NULL none. ret_verdict says by which condition. */
const struct rule *rules_match(const struct rules *rules, const struct rule_input *input,
			       enum rule_verdict *ret_verdict);

/* The rule that traps such a request as it goes by: asked at each limit that passes
 * while it runs, in their order, and at its status. So of two rules that match in the
 * end, the one with the shorter limit comes first, wherever it stands. */
const struct rule *rules_match_passing(const struct rules *rules, const struct rule_input *input,
				       enum rule_verdict *ret_verdict);

/* All distinct time-taken limits, ascending: what the kernel's timers are set to.
 * Returns the count, -E2BIG above max. */
int rules_limits(const struct rules *rules, uint64_t *ret_limits, size_t max);
/* What must be recorded so that each rule has its detail: of all, the most detailed. */
void rules_areas(const struct rules *rules, struct areas *ret_areas);
bool rules_want_status(const struct rules *rules, int status); /* any rule could fire at this status */

void rules_free(struct rules *rules);
void rule_done(struct rule *rule);			       /* frees what it holds */
struct rule *rules_add(struct rules *rules, const char *name); /* with the defaults; NULL: no memory */

#endif
