/* SPDX-License-Identifier: MIT */
/* The user's own command. argv only, never a shell; own session, /dev/null as
 * input, a clean environment, output bounded, time limit: SIGTERM to its process group,
 * after a grace SIGKILL to all that descends from it. What a command leaves behind when it
 * ends by itself is killed, too, in whatever session it is: run a supervisor's client for
 * what is to stay. */
#ifndef REQTRAP_ACTION_H
#define REQTRAP_ACTION_H

#include "err.h"
#include "incident.h"
#include "loop.h"

#define ACTION_OUTPUT_MAX (64u << 10)
#define ACTION_TIME_LIMIT_NS (60ull * 1000000000ull)
#define ACTION_FIRST_LIMIT_NS (2ull * 1000000000ull) /* before the capture, which waits */
#define ACTIONS_MOST 4				     /* of one watch that run at once; the others wait for their turn */
#define ACTION_GRACE_NS (5ull * 1000000000ull)

/* Values for the tokens; a NULL is ''. %ELAPSED_MS% is a whole number. */
struct action_values {
	pid_t pid, tid;
	const char *dump, *id, *rule, *reason, *method, *url, *incident, *report;
	int status;
	double elapsed_ms;
};

/* 'PROGRAM ARG "two words" %1%' into words: blanks separate, '' and "" quote, no
 * escapes, no expansion. Caller frees with strings_free. -EINVAL: unclosed quote,
 * empty. */
int action_split(const char *line, char ***ret_argv, struct err *err);

/* Checks argv at load time: known tokens only, program absolute and without tokens.
 * -EINVAL, the text names the token or says what is known. Does not look at the disk. */
int action_check(char *const *argv, struct err *err);

/* The first token in argv (checked) that only a capture gives a value, 'DUMP'; NULL: none. */
const char *action_later_token(char *const *argv);

/* Expands each argument: it stays one argument, whatever bytes a value holds
 * (a NUL ends it). Caller frees. */
int action_expand(char *const *argv, const struct action_values *values, char ***ret_argv, struct err *err);

struct action; /* a running one */

struct action_spec {
	char *const *argv;
	const char *user;  /* NULL: ours */
	uint64_t limit_ns; /* 0: none */
	uint64_t grace_ns; /* from SIGTERM to SIGKILL; 0: at once */
};

/* Starts it; calls done(arg) from the loop when it and all it has left behind have ended,
 * with 'facts' filled (argv, state, exit_code, output ...); the action is freed then.
 * 'facts' must live until then. When it cannot be started, or its program is one
 * that others may change (-EPERM), the result is negative, 'facts' say ACTION_FAILED
 * and why, and done is not called; what only shows later is told in the facts alone.
 * Blocks for the exec of our own binary only. */
int action_start(struct loop *loop, const struct action_spec *spec, struct action_facts *facts, void (*done)(void *arg),
		 void *arg, struct action **ret_action, struct err *err);

/* Kills it before its time; done is still called, from the loop. */
void action_kill(struct action *action);

/* Kills it, reaps it, frees it, within seconds; 'facts' are filled, done is not called. */
void action_abort(struct action *action);

#endif
