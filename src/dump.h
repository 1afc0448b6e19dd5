/* SPDX-License-Identifier: MIT */
/* One dump = one short-lived worker process (this binary, re-executed with the
 * hidden verb '--worker'). It alone uses ptrace; when it dies, at any instant,
 * the kernel lets the target go. This header is the parent's side.
 *
 * The worker stops all threads of the target (pause: milliseconds), copies their
 * registers and stacks, clones the target's memory where that is allowed, lets the
 * target go, and writes the core from the clone. Needs CAP_SYS_PTRACE, or the same
 * uid where Yama allows. */
#ifndef REQTRAP_DUMP_H
#define REQTRAP_DUMP_H

#include "err.h"
#include "incident.h"
#include "sentry.h"

/* Bits. At most one of FULL and MINI: both are the core. */
enum dump_kind {
	DUMP_STACKS = 1, /* registers and stacks for the analyst */
	DUMP_FULL = 2,
	DUMP_MINI = 4, /* a core of registers, stacks and what they point to */
	DUMP_CORE = DUMP_FULL | DUMP_MINI,
	DUMP_REAP = 8, /* alone: has the target wait for dead copies of killed workers */
};
enum dump_snapshot { SNAPSHOT_AUTO, SNAPSHOT_CLONE, SNAPSHOT_STOP };

/* What to do; sent to the worker over its socket as it stands.
 * A core whose estimated pause is above pause_budget_ns (0: no limit), or that cannot be
 * made in the way asked for, is refused in words before any stop: -EBUSY, -EOPNOTSUPP.
 * With DUMP_STACKS the stacks are taken even then. */
struct dump_order {
	pid_t pid;
	uint64_t start_ticks; /* of the process meant; 0: whatever has the pid */
	pid_t holder_tid;     /* its notes come first in the core; 0: the main thread */
	uint32_t kinds;	      /* enum dump_kind bits */
	uint32_t snapshot;    /* enum dump_snapshot */
	uint64_t pause_budget_ns;
	uint32_t everything;   /* also what MADV_DONTDUMP and coredump_filter leave out */
	uint32_t arguments;    /* what functions of scripts were called with, too */
	uint32_t compress;     /* 1: zstd, 0: none */
	uint64_t max_bytes;    /* of the file on disk; 0: no limit. A core that gets larger is given up */
	uint64_t free_bytes;   /* left free on that disk at least; 0: a small default */
	uint32_t free_percent; /* the same, of its size */
	uint64_t rate;	       /* bytes a second to the disk at most; 0: no limit */
	struct sentry_wish on; /* what to wait for, attached; all zero: nothing. The process may not end
				* before a dump for its end is written: no pause budget holds then ... */
	uint64_t hold_ns;      /* ... but it is held no longer than this (0: no limit), and no longer than
				* DUMP_STALL_NS while nothing moves */
	uint32_t on_count;     /* so many dumps at most for what is waited for, attached all the time; 0: 1 */
	char file[256];	       /* name of the core inside dir_fd, '' none */
	char comment[1024];    /* goes into our own note section: rule, URL ... */
};

#define DUMP_STALL_NS 10000000000ull

/* The name of a worker's n-th file, from 0. */
static inline void dump_part(char *buf, size_t size, const char *file, unsigned int n)
{
	snprintf(buf, size, n ? "%s.%u" : "%s", file, n);
}

/* What came of it; the worker's last message, but for goes_on. Every field is true also on
 * failure. */
struct dump_result {
	uint32_t goes_on; /* it waits on, attached: for as many as on_count says */
	int32_t code;	  /* 0, or negative errno with 'error' set. The stacks may have been
				 * taken even so: threads is not 0 then */
	char error[512];  /* with code 0: a warning, such as a leftover in the target */
	uint32_t method;  /* enum capture_method */
	char why_not_clone[256];
	uint32_t threads, threads_not_stopped;
	uint64_t stop_ns;  /* CLOCK_MONOTONIC: first INTERRUPT */
	uint64_t taken_ns; /* all threads stopped */
	uint64_t pause_ns; /* first INTERRUPT to last DETACH, plus the stop of the reap */
	uint64_t wall_ns;
	uint64_t estimate_ns; /* of the pause, made before the stop; 0: none was made */
	uint64_t peak_bytes;  /* most memory the worker ever had resident */
	uint64_t core_bytes, core_bytes_on_disk;
	uint64_t in_files_bytes;     /* unchanged pages of mapped files: left in those files */
	uint32_t complete;	     /* the core holds everything that was asked for */
	uint32_t omitted_count;	     /* as many (range, why) pairs as 'omitted' holds text for */
	uint32_t omitted_more;	     /* that did not fit into the text below */
	struct sentry_report sentry; /* of an order that waits; -ESRCH: it ended, and nothing of what
				      * was asked for came */
	char omitted[4096];	     /* 'range\twhy\n' lines */
};

struct dump_job; /* a running worker */

/* Starts a worker. It waits on its socket for the order, so it can be started ahead
 * of time: dump_order_send is then a fraction of a millisecond away from the stop.
 *   dir_fd      directory for the core, -1 if none is asked for (kept by the caller)
 *   analyst_fd  socket to the analyst, -1 if none (kept by the caller)
 * Blocks for the exec only. */
int dump_start(int dir_fd, int analyst_fd, struct dump_job **ret_job, struct err *err);
int dump_order_send(struct dump_job *job, const struct dump_order *order, struct err *err);

/* As dump_order_send, and hands the directory over now (a worker kept warm was
 * started before the incident's folder was made). */
int dump_order_send_dir(struct dump_job *job, const struct dump_order *order, int dir_fd, struct err *err);

/* Readable when the result is there, or the worker is gone. For an epoll loop. */
int dump_fd(const struct dump_job *job);

/* How far the core is, as of the last dump_finish that gave -EAGAIN: bytes of memory
 * read, of how many. 0 of 0 before its writing began. The worker tells it now and then. */
void dump_progress(const struct dump_job *job, uint64_t *ret_done, uint64_t *ret_total);

/* Attached and waiting for what order->on says; as of the last dump_finish that gave
 * -EAGAIN. */
bool dump_waits(const struct dump_job *job);

/* Takes the result. -EAGAIN while it runs (with block false). A worker that died
 * gives a result with its code and a text; leftovers in the target (a zombie child)
 * are named there. Frees the job. 1: the result of one dump, the job goes on. */
int dump_finish(struct dump_job *job, bool block, struct dump_result *ret_result);

/* Asks the worker to end: it lets the target go, has its copy reaped, leaves no file.
 * Called again, or for one that has no order yet: SIGKILL, and the target goes on by
 * itself. dump_finish must follow. */
void dump_cancel(struct dump_job *job);

/* What workers that were killed have left dead in their targets (any process that the
 * journal of leftover.h names) is reaped, each by a worker that stops one thread there
 * for a moment. For the start of a verb that dumps. Blocks for milliseconds a leftover;
 * some seconds at worst. What cannot be reaped stays in the journal. */
void dump_reap(void);

/* Waits, some seconds at most, for what was begun aside: copies whose worker gave them up,
 * or was killed, are reaped. For the end of such a verb. */
void dump_settle(void);

/* Entry of the hidden verb '--worker'. fd 3 is the socket to the parent, fd 4 the
 * directory (if given), fd 5 the analyst's socket (if given). */
int dump_worker_main(int argc, char **argv);

#endif
