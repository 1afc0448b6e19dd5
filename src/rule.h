/* SPDX-License-Identifier: MIT */
/* Which request is a failed one. Pure: no I/O, no clock, no state. First rule that
 * matches wins. Limits per process life live in engine.c, which has the clock. */
#ifndef REQTRAP_RULE_H
#define REQTRAP_RULE_H

#include "buf.h"
#include "err.h"
#include "incident.h"
#include "profile.h"
#include "store_keep.h"
#include "value.h"

#define RULE_LIMIT_DEFAULT 1 /* FREB's customActionTriggerLimit */

#define RULE_SAMPLES_MAX 100
#define RULE_ACTION_LIMIT_MIN_NS 100000000ull /* 100 ms */
#define RULE_ACTION_LIMIT_MAX_NS (3600 * 1000000000ull)
#define RULE_ACTION_FIRST_MAX_NS (10 * 1000000000ull) /* of one that the capture waits for */

struct rule {
	char *name;
	char *file;		/* of rules.d, that it is from; NULL: the main one */
	char **watch;		/* names of watch sets: one of them has the process; NULL: any */
	char *path;		/* glob (value.h) on the URL's path without its query; NULL: any */
	char **exclude;		/* the same: requests that the rule is not about; NULL none */
	char *method;		/* compared as it stands; NULL: any */
	char *host;		/* glob, case folded, without the port; NULL: any */
	char **header;		/* 'Name: GLOB', or 'Name': it is there; all must fit; NULL: any */
	struct network *client; /* one of them; NULL: any */
	size_t client_count;
	uint64_t time_taken_ns; /* 0: no such condition */
	bool server_time;	/* ... of the server's own time: from the last byte of the request to the
				 * first of the reply, so that no client makes it long; else of all of it */
	struct status_range status[RULE_STATUS_MAX];
	size_t status_count;
	uint64_t response_bytes; /* the reply is so long, or longer; 0: no such condition */
	bool aborted;		 /* the connection ended before the reply did */
	bool all;		 /* conditions AND; default OR, as in FREB */
	enum severity severity;	 /* the application marked it, so gravely or more; 0: no such condition */
	uint32_t occurrences;	 /* so many in the window make one failed request; 0, 1: each */
	uint64_t occurrences_window_ns;
	uint32_t capture;	  /* enum capture_bits */
	uint32_t limit;		  /* captures and actions per life of the process */
	uint64_t limit_window_ns; /* 0: none */
	uint64_t cool_down_ns;
	unsigned int samples; /* stack samples, the first included: 1 */
	uint64_t every_ns;
	bool arguments;		  /* of the functions of scripts, too */
	bool statements;	  /* what was asked of databases is shown with its values */
	struct areas areas;	  /* what is recorded, in which detail */
	char **action;		  /* argv with tokens, NULL none */
	uint64_t action_limit_ns; /* 0: rule_action_limit() has a default */
	bool action_first;	  /* before the capture, which waits for its end */
	char *action_user;	  /* NULL: whose the service is */
};

/* Processes that belong together, by words of target.h: one of them is enough, and what
 * such a process has forked is of the set, too. */
struct watch_set {
	char *name;
	char **word;
};

struct rules {
	struct rule *rule;
	size_t count;
	struct watch_set *watch;
	size_t watch_count;
	struct store_keep keep;
	uint32_t all_captures; /* of all rules together in all_window_ns; 0 any */
	uint64_t all_window_ns;
	uint64_t all_pause_ns; /* that processes may stand still within an hour; 0 any */
	bool actions_enabled;
	bool show_values; /* incident_mask.h */
	char *store;	  /* NULL: default */
	size_t refused;	  /* files of rules.d that were left out */
};

/* What is known of a request at the moment of asking. NULL: unknown, which fits only
 * rules that do not ask. */
struct rule_input {
	const char *method, *url, *host;
	const char *client; /* 'ADDRESS:PORT' or 'unix' */
	int status;	    /* 0: none yet */
	uint64_t elapsed_ns, server_ns;
	bool aborted;
	enum severity severity;	 /* of its gravest mark so far; 0: none */
	uint64_t response_bytes; /* of a reply that is over, else 0 */
	/* The value of a header: on the heap, the caller's; NULL: there is none. */
	char *(*header)(void *arg, const char *name);
	bool (*in_watch)(void *arg, const char *name); /* is its process of that watch set? */
	void *arg;
};

/* Which condition made it a failed request. */
enum rule_verdict { RULE_NO, RULE_MARK, RULE_TIME, RULE_STATUS, RULE_ABORTED, RULE_SIZE };
enum reason rule_reason(enum rule_verdict verdict); /* not of RULE_NO */

/* Sets one field by its name in the option table ('time-taken', 'status' ...) from
 * text; the same words on the command line and in a file. A flag takes NULL, 'true'
 * or 'false'; a list ('exclude', 'header' ...) gets one more. The old value stays on
 * failure. -EINVAL with a text; -ENOMEM. */
size_t rule_host_len(const char *host); /* without its port */

bool rule_key_is_list(const char *key);
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

#define RULE_LIMIT_SERVER 1ull /* event.h's LIMIT_CLOCK */

/* A rule's limit as the kernel's timers have it: in ns, the lowest bit set if it is of the
 * server's own time. 0: none. */
uint64_t rule_limit(const struct rule *rule);

/* All distinct ones, ascending. Returns the count, -E2BIG above max. */
int rules_limits(const struct rules *rules, uint64_t *ret_limits, size_t max);
/* What must be recorded so that each rule has its detail: of all, the most detailed. */
void rules_areas(const struct rules *rules, struct areas *ret_areas);
bool rules_want_status(const struct rules *rules, int status); /* any rule could fire at this status */
bool rules_want_aborted(const struct rules *rules);
uint64_t rules_want_size(const struct rules *rules);	  /* the shortest reply that any rule asks for; 0 none */
enum severity rules_want_mark(const struct rules *rules); /* the least grave mark that any rule asks for; 0 none */

const struct watch_set *rules_watch(const struct rules *rules, const char *name); /* NULL: none */

uint64_t rule_action_limit(const struct rule *rule); /* how long its action may run */

void rules_free(struct rules *rules);
void rule_done(struct rule *rule);			       /* frees what it holds */
struct rule *rules_add(struct rules *rules, const char *name); /* with the defaults; NULL: no memory */

#endif
