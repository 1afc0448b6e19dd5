/* SPDX-License-Identifier: MIT */
/* The BPF side from user space: load, attach, watch processes, take records, look
 * at slots. The only file that knows libbpf. Refuses to know what a rule or an
 * incident is. Nothing here stops a target. Needs CAP_BPF and CAP_PERFMON.
 * All probes hang on our file descriptors: they go when we go, whatever happens. */
#ifndef REQTRAP_TRACER_H
#define REQTRAP_TRACER_H

#include "budget.h"
#include "err.h"
#include "event.h"
#include "tracer_app.h"

#include <sys/types.h>

enum tracer_hooks { TRACER_AUTO, TRACER_SOCK, TRACER_SYSCALLS };

struct tracer_config {
	enum tracer_hooks hooks;
	unsigned int slots;	/* requests in flight at most; 0: 2048 */
	unsigned int map_share; /* per cent of the usual size for all tables; 0: 100 */
	const uint64_t *limits; /* ascending, ns */
	size_t limit_count;
	bool (*want_status)(void *arg, int status); /* asked once per code when loading */
	/* RECORD_OVER for requests that were cut off, for replies so long (0: none); NULL: neither. */
	void (*want_over)(void *arg, bool *ret_aborted, uint64_t *ret_bytes);
	enum severity (*want_mark)(void *arg);			/* RECORD_MARK for marks so grave; NULL: for none */
	void (*record)(void *arg, const struct record *record); /* from tracer_poll */
	struct areas areas;
	uint32_t budget_ppm; /* of the host's CPU time; over it detail is shed; 0: never */
	/* 'detail' was shed (share: what was spent, ppm), or came back; DETAIL_COUNT: nothing is left
	 * to shed that would help. From tracer_tick. */
	void (*shed)(void *arg, enum budget_word word, enum detail detail, uint32_t spent_ppm);
	void (*tell)(void *arg, const char *text); /* what could not be looked at; the watch goes on */
	void *arg;
};

struct tracer;

/* Loads and attaches: 40-250 ms. -EPERM names the capability that is missing, -ENOTSUP
 * what the kernel lacks. */
int tracer_open(const struct tracer_config *config, struct tracer **ret_tracer, struct err *err);
void tracer_close(struct tracer *tracer);

/* Other limits, and want_status is asked anew: for requests in flight, too. Before anything
 * is changed -ENOMEM (timers), -E2BIG. */
int tracer_retrigger(struct tracer *tracer, const uint64_t *limits, size_t count, struct err *err);

int tracer_watch(struct tracer *tracer, pid_t pid, struct err *err);
/* What those that are watched are at now: requests that had begun before, and connections that
 * were made before. Once, when all targets are named; milliseconds, reads only. */
int tracer_older(struct tracer *tracer, struct err *err);
void tracer_forget(struct tracer *tracer, pid_t pid); /* ends the requests it still held */

int tracer_fd(const struct tracer *tracer); /* readable when there are records */
void tracer_poll(struct tracer *tracer);    /* calls record() for each; does not block */

/* Probes of the areas asked for, in a process that is watched; again for libraries that it
 * loaded since. Milliseconds a probe; none when no area wants any. */
void tracer_probe(struct tracer *tracer, pid_t pid);

/* A copy of what was noted beside a slot, the caller's to free. NULL: nothing, or no memory. */
struct notes *tracer_notes(struct tracer *tracer, uint32_t index, uint64_t gen);

/* Copies a slot as it is now. False when it is no longer this request. */
bool tracer_slot(struct tracer *tracer, uint32_t index, uint64_t gen, struct slot *ret_slot);

/* What of a slot says who it is; read by thousands. */
struct tracer_brief {
	uint32_t slot, parent_slot;
	uint64_t gen, parent_gen, begin_ns;
};

enum tracer_look { LOOK_FREE, LOOK_TAKEN, LOOK_TORN };

/* Whether a request is in flight there: one whose first bytes only may become a request
 * is none yet. LOOK_TORN: the slot changed hands while it was read. */
enum tracer_look tracer_brief(struct tracer *tracer, uint32_t index, struct tracer_brief *ret_brief);

/* Copies a slot without its reply and its events, all of one moment: the thread that
 * works on it may change its state at any time. LOOK_FREE: it is over. */
enum tracer_look tracer_look(struct tracer *tracer, uint32_t index, uint64_t gen, struct slot *ret_slot);
unsigned int tracer_slots(const struct tracer *tracer);

/* Copies what the thread with this number (slot.loop) did, with the head of the request it is
 * at now. False: it has none. */
bool tracer_loop(struct tracer *tracer, uint32_t number, struct loop *ret_loop);

/* Has the slot say how much CPU its holder has used until now: before it is copied. */
void tracer_usage(struct tracer *tracer, uint32_t index, uint64_t gen);

/* The next request in flight from slot '*index' on; moves '*index' to it. NULL: no more.
 * What it points to is written meanwhile. */
const struct slot *tracer_next(struct tracer *tracer, uint32_t *index);

/* Threads that the one at work on this request has woken or made. False: none. */
bool tracer_hands(struct tracer *tracer, uint32_t index, uint64_t gen, struct hands *ret_hands);
/* What the request asked of somebody else last. False: nothing that could be read. */
bool tracer_asked(struct tracer *tracer, uint32_t index, uint64_t gen, struct asked *ret_asked);
bool tracer_handing(struct tracer *tracer, pid_t pid);	  /* requests go from thread to thread there */
bool tracer_socket_open(pid_t pid, int fd, uint64_t ino); /* looks into /proc */

/* False when the request came on a unix socket that its process has closed meanwhile,
 * which nothing tells: it is ended then. Looks into /proc. */
bool tracer_alive(struct tracer *tracer, uint32_t index, uint64_t gen);

/* Keeps an open slot past its end (RECORD_ENDED will follow). False: it is over. */
bool tracer_hold(struct tracer *tracer, uint32_t index, uint64_t gen);
/* The opposite; gives the slot back if the request ended meanwhile. */
void tracer_release(struct tracer *tracer, uint32_t index, uint64_t gen);

/* Ends requests whose socket is gone without a sign (unix sockets have none), forgets
 * idle connections, gives back ended slots that nobody owns (their record was lost).
 * To be called now and then; reads /proc for the doubtful ones only. */
void tracer_sweep(struct tracer *tracer, bool (*owned)(void *arg, uint32_t slot, uint64_t gen), void *arg);

/* To be called each second. Now and then it has the kernel measure for a second what the
 * programs take, at first for as long as it takes to know: for every BPF program of the
 * host, which is why it does not for longer. What is over the budget has detail shed. */
void tracer_tick(struct tracer *tracer);

/* Detail that was off at any time since then: a bit per enum detail. */
unsigned int tracer_shed(const struct tracer *tracer, uint64_t since_ns);

struct tracer_totals {
	struct counters counters;  /* summed over the CPUs */
	uint64_t request_ns;	   /* run time of the programs for bytes and connections, while it was measured */
	uint64_t metered_requests; /* what came in that time, inner ones too */
	uint64_t sched_ns,
		sched_runs;  /* of the scheduler's, every switch and wake-up of the host: for the whole time */
	uint64_t watched_ns; /* the whole time */
	uint64_t missed;     /* runs the kernel left out (recursion) */
	unsigned int in_flight, older_in_flight; /* the second: of them, those that began before the watch */
	uint64_t shed_ns[DETAIL_COUNT];		 /* for how long each was off */
	uint32_t spent_ppm;			 /* of the host's CPU time, at the latest look */
	struct area_total area[AREA_COUNT];	 /* of those beyond the usual detail */
};

void tracer_totals(struct tracer *tracer, struct tracer_totals *ret_totals);
const char *tracer_hooks_name(const struct tracer *tracer); /* 'sock' or 'syscalls' */

#endif
