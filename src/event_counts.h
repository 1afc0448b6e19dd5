/* SPDX-License-Identifier: MIT */
/* The part of event.h that is added up. Whoever counts the requests that were sent finds
 *   sent = requests + inner + older + refused + refused_conn + refused_queue + unseen, and
 *   requests + inner = complete + inferred + aborted + gap + those in flight.
 * Included by it alone. */
#ifndef REQTRAP_EVENT_COUNTS_H
#define REQTRAP_EVENT_COUNTS_H

/* Counters, one set per CPU, summed by user space. */
/* How long requests took: bucket 0 is below 65.536 us (2^16 ns), each other one ends at the
 * double; the last has all that took longer. */
#define LATENCY_SHIFT 16
#define LATENCY_BUCKETS 24

struct counters {
	u64 requests; /* outer ones whose method was recognised */
	u64 inner;    /* those made for another one */
	u64 older;    /* outer ones that had begun before we looked: start unknown */
	/* Of both, those that are over, by their verdict. */
	u64 complete;
	u64 inferred; /* the end is: by the next request or by closing */
	u64 aborted;
	u64 gap;	   /* bytes were not seen, or can be read in two ways */
	u64 unseen;	   /* replies to requests that were not seen */
	u64 discarded;	   /* requests that were read when no reply could be sent any more: no requests */
	u64 refused;	   /* no slot free */
	u64 refused_conn;  /* connection table full */
	u64 refused_queue; /* more than QUEUE_MAX pipelined */
	u64 lost_ring;	   /* records that found the ring full */
	u64 lost_trigger;  /* of them, those that would have trapped a request */
	u64 blind;	   /* socket calls whose bytes cannot be read */
	u64 head_cut;
	u64 bad_read;		      /* user memory that could not be read */
	u64 lost_link;		      /* calls between processes that could not be noted */
	u64 slot_lost;		      /* a free slot that would not go back */
	u64 latency[LATENCY_BUCKETS]; /* of outer requests whose begin and end are known */
};

struct per_cpu {
	struct counters counters;
	u32 spare; /* 1 + a free slot that this CPU gave back last, 0: none */
	u32 pad;
};

#endif
