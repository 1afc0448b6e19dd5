/* SPDX-License-Identifier: MIT */
/* The calls of h_calls: what each waits on, how it is made, what ends its wait. */
#ifndef H_CALLS_H
#define H_CALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct job {
	const struct row *row;
	pthread_t thread;
	int fd[2]; /* what it waits on, and the other end */
	int more;
	uint32_t word;
	long long_word;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pid_t child;
	volatile pid_t tid;
	volatile bool done, early;
	bool absent;
	volatile bool fed;
	long result;
	int error;
	uint64_t since_ns, ns; /* since_ns: its time ran from then on; 0: from the call */
};

uint64_t now_ns(void);

enum kind { FED, TIMED, PARTIAL, SIGNALLED };

struct row {
	const char *name;
	void (*set_up)(struct job *);
	long (*call)(struct job *);
	void (*feed)(struct job *);
	enum kind kind;
	int expected; /* TIMED: the error that tells of it, 0: the result is 0; -N: it is N. Others: the result, 0: any */
};

extern const struct row rows[];
extern const size_t row_count;
extern int seconds;    /* how long those with a timeout wait */
extern char scratch[]; /* a folder of its own */

void rows_end(struct job *jobs); /* takes away what would outlive us */

#endif
