/* SPDX-License-Identifier: MIT */
/* What the watch may cost, and which detail is shed when it costs more. Numbers in, one
 * word out: measures nothing, switches nothing off. */
#ifndef REQTRAP_BUDGET_H
#define REQTRAP_BUDGET_H

#include "util.h"

/* In the order in which it is shed. Never shed: where a request begins and ends, its
 * status, whose call it is, its limits. */
enum detail {
	DETAIL_AREAS, /* what --areas asked for beyond what always runs */
	DETAIL_SCHED, /* what the holding thread waits for, on what, woken by whom */
	DETAIL_TRACE, /* the trace's lines for reads and writes */
	DETAIL_COUNT
};

const char *detail_name(enum detail detail);
void details_format(unsigned int bits, char *buf, size_t size); /* 'areas, scheduler'; bit per enum detail */

struct budget_spent {			/* of one interval, CPU time */
	uint64_t whole_ns;		/* what the host's CPUs had together */
	uint64_t own_ns;		/* the main process */
	uint64_t part_ns[DETAIL_COUNT]; /* BPF programs by the detail that they are for; TRACE: at the sockets */
};

struct budget {
	uint32_t ppm;		    /* of the CPU time of the host; 0: no budget */
	uint32_t spent_ppm;	    /* at the latest look */
	unsigned int over;	    /* looks in a row that were over it */
	bool offered[DETAIL_COUNT]; /* there is such detail */
	bool off[DETAIL_COUNT];
	uint32_t saved_ppm[DETAIL_COUNT]; /* what it took when it was shed */
	uint64_t shed_at_ns[DETAIL_COUNT];
	unsigned int times[DETAIL_COUNT];
	bool stuck;
};

enum budget_word {
	BUDGET_FINE,
	BUDGET_OVER,  /* once: it is looked at again soon */
	BUDGET_SHED,  /* ret_detail is to go */
	BUDGET_BACK,  /* ret_detail may come back */
	BUDGET_STUCK, /* over it, and nothing is left that would help: said once, until something came back */
};

enum budget_word budget_look(struct budget *budget, const struct budget_spent *spent, uint64_t now_ns,
			     enum detail *ret_detail);

/* '2', '0.5%'; 100: no budget. -EINVAL with a text. */
struct err;
int budget_parse(const char *text, uint32_t *ret_ppm, struct err *err);

#endif
