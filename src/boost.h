/* SPDX-License-Identifier: MIT */
/* Threads of another process run before all others for a moment, and nothing is left
 * of it whatever becomes of us. Does not know why; stops nothing.
 * Needs CAP_SYS_NICE (or RLIMIT_RTPRIO) and Linux 5.14; without them nothing happens. */
#ifndef REQTRAP_BOOST_H
#define REQTRAP_BOOST_H

#include "util.h"

#include <sys/types.h>

/* Starts the helper threads, once; they sleep until asked. All signals of theirs are
 * blocked, but for one. Blocks for some 100 us: to be called before a stop. */
void boost_prepare(void);

/* Our own calling thread from now until boost_close: before all ordinary work of the
 * host. For what somebody waits for; without the right to, nothing happens. */
void boost_ahead(void);

/* Our own calling thread: a little before those that are boosted. And others may be, if
 * no other reqtrap of this host boosts just now. */
void boost_open(void);
void boost_close(void); /* takes back what is lent (boost_return); then as all others again */

/* The thread 'tid' of any process, until boost_end or until_ns (CLOCK_MONOTONIC). Only
 * one that will stop as soon as it runs: on its CPU nobody else does. False: no helper
 * is free, or there is none. Does not block. */
bool boost_begin(pid_t tid, uint64_t until_ns);
void boost_end(pid_t tid); /* soon; one that is not boosted is no mistake */

/* Waits until nothing is lent any more, but to the thread 'but' (0: to none): to be called
 * before a boosted thread may run on as it likes. Some 10 us, or a millisecond where the
 * helpers get no CPU. */
void boost_return(pid_t but);

#endif
