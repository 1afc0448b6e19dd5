/* SPDX-License-Identifier: MIT */
/* A host may have two speeds, and change between them within a second (a neighbour on the
 * same core, the hypervisor). So each batch of work stands between two looks at a fixed piece
 * of other work that nothing is ever attached to, and what it took is told in units of
 * that. A batch between two looks that differ is thrown away, and counted. */
#ifndef REQTRAP_BENCH_GAUGE_H
#define REQTRAP_BENCH_GAUGE_H

#include <error.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GAUGE_ROUNDS 100  /* some 100 us */
#define GAUGE_DIFFER 1.06 /* two looks that differ by so much are two speeds */

struct batches {
	double *units; /* of those that count: in gauges a piece of work */
	double *ns;
	double *gauge;
	size_t count, thrown, most;
};

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A byte through a pipe and a plain call: what a server does mostly, but for its sockets. */
static inline double gauge_ns(void)
{
	static int ends[2];
	uint64_t start;
	char c = 'x';

	if (!ends[1] && pipe(ends) < 0)
		error(1, errno, "pipe");
	start = now_ns();
	for (int i = 0; i < GAUGE_ROUNDS; i++) {
		if (write(ends[1], &c, 1) != 1 || read(ends[0], &c, 1) != 1)
			error(1, errno, "pipe");
		syscall(SYS_getppid);
	}
	return (double)(now_ns() - start) / GAUGE_ROUNDS;
}

static inline void batches_init(struct batches *b, size_t most)
{
	*b = (struct batches){ .most = most };
	b->units = calloc(most, sizeof(double));
	b->ns = calloc(most, sizeof(double));
	b->gauge = calloc(most, sizeof(double));
	if (!b->units || !b->ns || !b->gauge)
		error(1, ENOMEM, "batches");
}

static inline void batch_add(struct batches *b, double ns, double before, double after)
{
	if (before > after * GAUGE_DIFFER || after > before * GAUGE_DIFFER || b->count == b->most) {
		b->thrown++;
		return;
	}
	b->units[b->count] = ns / ((before + after) / 2);
	b->gauge[b->count] = (before + after) / 2;
	b->ns[b->count++] = ns;
}

static inline int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Sorted by this; 'part' of 1 from the least. */
static inline double quantile(double *values, size_t count, double part)
{
	qsort(values, count, sizeof(*values), by_size);
	return count ? values[(size_t)(part * (double)(count - 1))] : 0;
}

/* In gauges: low quartile, median, high quartile; then the medians in nanoseconds, of the work
 * and of the gauge; then how many batches count and how many were thrown away. */
static inline void batches_print(struct batches *b)
{
	if (b->count < 4)
		error(3, 0, "the host changes its speed all the time: only %zu of %zu batches can be used", b->count,
		      b->count + b->thrown);
	printf("%.4f %.4f %.4f %.1f %.1f %zu %zu", quantile(b->units, b->count, 0.25),
	       quantile(b->units, b->count, 0.5), quantile(b->units, b->count, 0.75), quantile(b->ns, b->count, 0.5),
	       quantile(b->gauge, b->count, 0.5), b->count, b->thrown);
}

#endif
