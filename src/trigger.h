/* SPDX-License-Identifier: MIT */
/* When a dump is to be taken: conditions on what a process uses. One row per kind.
 * Pure: samples in, 'now' out; reads nothing, waits for nothing. */
#ifndef REQTRAP_TRIGGER_H
#define REQTRAP_TRIGGER_H

#include "err.h"
#include "usage.h"

enum trigger_kind {
	TRIGGER_CPU,	     /* 1/1000 of one core: '>80%' is 800 */
	TRIGGER_CPU_MACHINE, /* the same, of all cores together */
	TRIGGER_MEMORY,	     /* bytes */
	TRIGGER_THREADS,
	TRIGGER_FDS,
	TRIGGER_CPU_PRESSURE, /* 1/1000 of the time */
	TRIGGER_MEMORY_PRESSURE,
	TRIGGER_IO_PRESSURE,
	TRIGGER_MEMORY_EVENTS, /* new ones since the last sample */
	TRIGGER_HUNG,	       /* no value: neither CPU used nor a thread moved */
	TRIGGER_KINDS,
};

struct trigger {
	enum trigger_kind kind;
	bool below;
	bool or_equal; /* 'at or above' */
	uint64_t threshold;
	uint64_t step;	 /* after it fired the threshold moves by so much; 0: stays */
	uint64_t for_ns; /* it must have held for so long without a break */

	/* what it has seen */
	uint64_t since_ns; /* it has held since then; 0: it does not hold */
	uint64_t value;	   /* at the last sample */
	bool known;	   /* ... there was one */
};

const char *trigger_name(enum trigger_kind kind);      /* 'cpu' */
uint32_t trigger_parts(const struct trigger *trigger); /* what its samples need: enum usage_part bits */

/* '>80%' '<10%' '>2G' '>2G+500M' (and again at each further 500M) '>100'. With no sign
 * it is '>'. TRIGGER_HUNG takes a duration: for how long; TRIGGER_MEMORY_EVENTS
 * nothing (NULL). -EINVAL with words. */
int trigger_parse(enum trigger_kind kind, const char *text, struct trigger *ret_trigger, struct err *err);

/* Tells it a sample and the one before (NULL: none). True: the condition is fulfilled,
 * and stays so until it does not hold or trigger_fired. cpus: of the machine. */
bool trigger_feed(struct trigger *trigger, const struct usage *before, const struct usage *now, unsigned int cpus);
void trigger_fired(struct trigger *trigger); /* a dump is taken for it: it begins anew */

/* How near it is, in thousandths of being fulfilled; 0: far, or not known. */
unsigned int trigger_nearness(const struct trigger *trigger, uint64_t now_ns);

void trigger_value(const struct trigger *trigger, char *buf, size_t size); /* '93.1%'; '?' not known */

/* 'cpu 93.1% > 80% for 3.0 of 5.0 s', as far as it is known. */
void trigger_words(const struct trigger *trigger, uint64_t now_ns, char *buf, size_t size);

/* 'SEGV,ABRT', 'SIGUSR1', '10', 'RTMIN+1', 'RTMAX-1' into sentry_bit's bits. -EINVAL with words. */
int trigger_signals(const char *text, uint64_t *ret_bits, struct err *err);
void trigger_signal_name(int number, char *buf, size_t size); /* 'SEGV', 'RTMIN+1' */
const char *trigger_event(uint32_t cause);		      /* enum sentry_cause: 'signal', 'crash', 'exit' */

#endif
