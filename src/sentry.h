/* SPDX-License-Identifier: MIT */
/* What a worker that stays attached is told to wait for, and what it has seen. Given to
 * and from dump.h's worker as it stands. While it is attached no other tracer (gdb,
 * strace) can be; each signal of the process costs it 20 to 50 us, each new thread 0.2 to
 * 0.6 ms. */
#ifndef REQTRAP_SENTRY_H
#define REQTRAP_SENTRY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SENTRY_SIGNALS 64

static inline uint64_t sentry_bit(int signal)
{
	return signal < 1 || signal > SENTRY_SIGNALS ? 0 : 1ull << (signal - 1);
}

/* SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP: crashes, handled or not. */
static inline uint64_t sentry_crashes(void)
{
	return sentry_bit(SIGSEGV) | sentry_bit(SIGBUS) | sentry_bit(SIGFPE) | sentry_bit(SIGILL) |
	       sentry_bit(SIGABRT) | sentry_bit(SIGTRAP);
}

/* What a dump is to be taken on; all zero: at once, nothing is waited for. */
struct sentry_wish {
	uint64_t signals; /* sentry_bit of each, on any thread, whatever becomes of it; SIGKILL: as it ends */
	uint32_t fatal;	  /* 1: a signal that ends the process, before it does */
	uint32_t exit;	  /* 1: the end of the process, by exit or by a signal; memory is still there */
};

/* One row for each signal number (row: number - 1), of all signals that came. */
struct sentry_seen {
	uint32_t count;
	int32_t code; /* si_code of the last */
	pid_t sender; /* ... who sent it, 0: the kernel */
	pid_t tid;    /* ... the thread that got it */
	uint64_t wall_ns;
};

enum sentry_cause { SENTRY_NONE, SENTRY_SIGNAL, SENTRY_FATAL, SENTRY_EXIT };

struct sentry_report {
	uint32_t cause;	      /* enum sentry_cause of the dump */
	int32_t signal, code; /* it, and its si_code; also of an end by a signal */
	pid_t sender, tid;    /* the thread is the first one in the core */
	int32_t exit_code;    /* of an exit, -1: none is known */
	uint64_t wall_ns;
	uint32_t ended;	 /* 1: the process has ended (or is about to) */
	uint32_t missed; /* others that were asked for, and came while the dump was taken */
	struct sentry_seen seen[SENTRY_SIGNALS];
};

/* --- inside the worker --- */

struct follow;
struct follow_event;

struct sentry {
	const struct sentry_wish *wish;
	struct sentry_report *report;
	struct follow *follow;
	int sock;  /* to the parent */
	bool init; /* it is the first process of a pid namespace */
};

enum sentry_end { SENTRY_FIRED, SENTRY_OVER, SENTRY_ASKED };

/* Until what is wished for comes: SENTRY_FIRED, with it in the report, and ret_event's
 * thread stands and waits. SENTRY_OVER: the process is gone. SENTRY_ASKED: the parent is
 * gone, or has sent a message or SIGTERM. */
enum sentry_end sentry_wait(struct sentry *sentry, struct follow_event *ret_event);

/* While a dump of a process that goes on is written: what comes is passed on, and counted
 * as missed where it was asked for. Until *done, or the process is gone, or it is at its
 * end and that was asked for: true, and ret_event's thread stands and waits. */
bool sentry_attend(struct sentry *sentry, const bool *done, struct follow_event *ret_event);

/* The report of an event that sentry_attend gave. */
void sentry_take(struct sentry *sentry, const struct follow_event *event);

/* A signal that is passed on elsewhere; arg: its siginfo_t. */
void sentry_saw(struct sentry *s, pid_t tid, const void *arg);

#endif
