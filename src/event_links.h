/* SPDX-License-Identifier: MIT */
/* The part of event.h that says whose call is whose, and which threads may be at work
 * on a request. Included by it alone. */
#ifndef REQTRAP_EVENT_LINKS_H
#define REQTRAP_EVENT_LINKS_H

#define HANDS 8 /* threads that a request may have been handed to: the latest ones */

struct ref {	 /* a slot, and which of its lives */
	u64 gen; /* 0: none */
	u32 slot;
	u32 how; /* SLOT_LINK_* */
};

struct tuple {	 /* a TCP connection between two sockets of this host, as its caller sees it */
	u64 net; /* their network name space: the same addresses are elsewhere in each */
	u32 src[4], dst[4];
	u16 sport, dport; /* host order */
	u32 pad;
};

/* What is known of a thread: its request, and where it stood when it was handed one. */
struct work {
	struct ref ref;	  /* the request whose bytes it moved last; first: held_by() reads it alone */
	struct ref maybe; /* the one that another thread seems to have handed to it */
	u64 home_a;	  /* the call that it waited in then: where a thread of a pool waits for work */
	s16 home_nr;
	s16 pad;
	u32 loop; /* of the thread, counted from 1; 0: it has none */
};

/* HAND_PASSED: woken by one that was woken itself, which may be for the next request. */
enum hand_how { HAND_WOKEN, HAND_MADE, HAND_FORKED, HAND_PASSED };

/* A thread that the one at work on a request has woken, or made: it may work on it now. */
struct hand {
	u64 at_ns;
	u64 a; /* first argument of the call that it was woken from */
	u32 pid, tid;
	s16 nr;
	u8 how;	 /* enum hand_how */
	u8 busy; /* it seems to have been in the midst of another request */
	u32 pad;
};

struct hands { /* of a slot, by its number */
	u64 gen;
	u32 count; /* all that there were; more than HANDS: the latest */
	u32 pad;
	struct hand hand[HANDS];
};

#endif
