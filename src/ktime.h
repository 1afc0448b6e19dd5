/* SPDX-License-Identifier: MIT */
/* Time. Intervals are CLOCK_MONOTONIC nanoseconds, the clock of bpf_ktime_get_ns;
 * moments shown to people are CLOCK_REALTIME nanoseconds and say so (wall_ns). */
#ifndef REQTRAP_KTIME_H
#define REQTRAP_KTIME_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

static inline uint64_t time_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return time_of(CLOCK_MONOTONIC);
}

static inline uint64_t wall_ns(void)
{
	return time_of(CLOCK_REALTIME);
}

static inline double ns_to_ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

#endif
