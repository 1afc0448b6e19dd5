/* SPDX-License-Identifier: MIT */
/* How often a rule may capture, and what became of it. Pure: no clock, no disk; the time
 * comes in (CLOCK_MONOTONIC), the state goes out and in as text. Rules are known by name,
 * so that a reload keeps what a rule has used up. */
#ifndef REQTRAP_QUOTA_H
#define REQTRAP_QUOTA_H

#include "buf.h"
#include "rule.h"

#include <sys/types.h>

/* One life of a process. */
struct life {
	pid_t pid;
	uint64_t start_ticks;
};

enum quota_state {
	STATE_ARMED,
	STATE_LIMITED,	 /* its window is used up, or it cools down: 'until_ns' */
	STATE_SPENT,	 /* every process that it trapped in has used up its limit */
	STATE_THROTTLED, /* a limit of all rules together, or the disk: 'until_ns', 0 not known */
	STATE_FAILED,	 /* armed, but its last capture failed: 'error' */
};
const char *quota_state_name(enum quota_state state); /* 'armed' ... */

struct quota_report {
	enum quota_state state;
	uint64_t until_ns;		      /* 0: no such moment */
	uint64_t captured, held_back, failed; /* over restarts */
	const char *error;		      /* of the last capture; NULL: it went well, or there was none */
	const char *held_why;		      /* of the last one held back; NULL none */
};

struct quota;

struct quota *quota_new(void); /* NULL: no memory */
void quota_free(struct quota *quota);

/* One more failed request of this rule: true when 'occurrences' of them are together (the
 * counting then begins anew). A rule without that: always. */
bool quota_occur(struct quota *quota, const struct rule *rule, uint64_t now_ns);

/* May it capture (and is that counted)? 0, or -EDQUOT: its limit, -EAGAIN: a window, a
 * cool-down or what all rules together may; ret_why in words then. */
int quota_take(struct quota *quota, const struct rules *rules, const struct rule *rule, const struct life *life,
	       uint64_t now_ns, char *ret_why, size_t size);
/* What was taken at this moment was not used after all. */
void quota_refund(struct quota *quota, const struct rule *rule, const struct life *life, uint64_t taken_ns);

/* So long a process stood still for the capture taken then (or, is it not there, the latest). */
void quota_paused(struct quota *quota, uint64_t taken_ns, uint64_t pause_ns);
void quota_went(struct quota *quota, const char *rule, const char *error); /* NULL: well */

/* Captures stop, but not the watching: NULL, on again. */
void quota_throttle(struct quota *quota, const char *why);
const char *quota_throttled(const struct quota *quota); /* NULL: not */

/* Lives that are over are forgotten: those that 'alive' is false of; those of a process that has ended. */
void quota_forget(struct quota *quota, bool (*alive)(const struct life *life, void *arg), void *arg);
void quota_gone(struct quota *quota, pid_t pid);

void quota_report(struct quota *quota, const struct rules *rules, const struct rule *rule, uint64_t now_ns,
		  struct quota_report *ret_report);

bool quota_changed(struct quota *quota);   /* since it was asked last */
void quota_unwritten(struct quota *quota); /* what was to be written was not: changed, still */

/* As text, and back. 'boot' names the boot: another one means other processes and another
 * clock, bridged by the wall clock. A text that is none of ours changes nothing: -EINVAL. */
void quota_write(const struct quota *quota, const char *boot, uint64_t now_ns, uint64_t wall_ns, struct buf *out);
int quota_read(struct quota *quota, const char *text, size_t len, const char *boot, uint64_t now_ns, uint64_t wall_ns);

#endif
