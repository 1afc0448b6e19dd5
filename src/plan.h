/* SPDX-License-Identifier: MIT */
/* One dump, as its worker knows it, and what is decided before the stop: may it be done,
 * how, what will it cost, where does it go. Reads /proc and the target's memory; stops
 * nothing. Only worker*.c and plan.c look into the state. */
#ifndef REQTRAP_PLAN_H
#define REQTRAP_PLAN_H

#include "account.h"
#include "assemble.h"
#include "cost.h"
#include "envoy.h"
#include "follow.h"
#include "leftover.h"
#include "mini.h"
#include "side.h"
#include "sink.h"
#include "snapshot.h"
#include "spool.h"
#include "triage.h"

struct worker {
	struct dump_order order;
	struct dump_result result;
	int dir_fd, analyst_fd;
	struct proc proc;
	struct proc_status status;
	struct proc_program program; /* that the maps are of */
	struct proc_maps before, frozen;
	struct spool before_text, frozen_text;
	bool flags_known; /* MADV_DONTFORK and the like are known of 'before' */
	struct freeze freeze;
	struct follow follow; /* of an order that waits */
	struct sentry sentry;
	struct follow_event event; /* that ended the waiting */
	struct follow_event next;  /* an end that has come while a dump was written: its thread stands; kind
				    * FOLLOW_NOTHING: none */
	uint64_t next_ns;
	uint64_t fired_ns;	/* one thread stands since then; 0: nothing was waited for */
	bool fired_passed;	/* its signal is */
	bool stays;		/* the process goes on, and we stay attached */
	unsigned int number;	/* of the dump, from 0 */
	uint64_t hold_until_ns; /* of a process at its end; 0: there is no limit */
	uint64_t moved_ns, moved_bytes;
	bool held; /* it is at its end, and stands until the core is written */
	struct snapshot snapshot;
	struct envoy envoy;
	struct cost cost;
	struct leftover left; /* our entry in the journal, while we may leave something */
	int journal_fd;
	struct side side;
	struct mini mini;
	struct triage triage;
	struct sink *sink;
	struct err core_err; /* why there will be no core although one was asked for */
	int core_code;
	bool clone;		      /* the plan: a clone; else the process stands still while we write */
	uint64_t start_ns, write_ns;  /* the order came; the writing began */
	uint64_t done_bytes, told_ns; /* how far it is, and when the parent was last told */
	uint32_t stage;		      /* told last */
	struct account account;
	struct assembly_about about;
};

/* Is it the process meant, and one that can be dumped? -ESRCH, -EPERM, -ENOTSUP in words. */
int plan_target(struct worker *w, struct err *err);

/* The name of a worker that stays attached; the others keep the one that exec gave them. */
#define WORKER_STAYS "reqtrap"

/* Waits a little for another dump (or reap) of the same process. False: it is traced by
 * something else, or for longer. */
bool plan_other_dump_ends(struct worker *w);
int plan_maps(struct worker *w, struct err *err);
int plan_text(int dir_fd, struct spool *text); /* a memory map, as text */
unsigned int plan_filter(const struct worker *w);

/* The stop will take so long: -EBUSY in words if that is more than the budget. */
int plan_allowed(struct worker *w, uint64_t cost_ns, const char *what, const char *choice, struct err *err);
int plan_allowed_stop(struct worker *w, struct err *err); /* ... with the core written in it */

/* The core: the way it is made, what will be copied in the stop, its file. */
int plan_core(struct worker *w, struct err *err);

/* --- worker.c --- */
int worker_dump(struct worker *w, struct err *err);
void worker_tell(struct worker *w, uint32_t stage, pid_t child);
void worker_answer(struct worker *w); /* sends the result */
void worker_forget_file(const struct worker *w, unsigned int number);

/* --- worker_wait.c --- */
int worker_wait(struct worker *w, struct err *err); /* attached, until what the order says has come, and dumps it */

/* Does 'work', which a disk may hold up, while the process is seen to: what it gets is
 * passed on, and who stops late is let go. No ptrace in it. */
int worker_beside(struct worker *w, int (*work)(struct worker *w, struct err *err), struct err *err);

/* --- plan.c --- */
/* A process at its end has been held for long enough. */
bool plan_held_out(struct worker *w);
int plan_say_held_out(const struct worker *w, struct err *err);

#endif
