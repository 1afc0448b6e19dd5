/* SPDX-License-Identifier: MIT */
/* The part of event.h that says what a thread with an event loop did: its own time line,
 * which is that of many requests. Included by it alone. */
#ifndef REQTRAP_EVENT_LOOPS_H
#define REQTRAP_EVENT_LOOPS_H

#define LOOPS 256	  /* threads with an event loop that are followed */
#define LOOP_TURNS 24	  /* the latest turns that are remembered; a ring */
#define LOOP_HEAD 96	  /* bytes kept of the head of the request that a turn was for */
#define LOOP_LONG 1000000 /* ns: a shorter turn is not remembered */

/* The thread worked on one request, from its poll or another one's turn on, until its poll or
 * another one's. */
struct loop_turn {
	u64 at_ns, dur_ns;
	u64 gen; /* 0: no byte of any request was moved */
	u32 slot;
	s32 stopped;	    /* enum no_call of what stopped the thread all that time; 0: it was at work */
	u8 head[LOOP_HEAD]; /* the first bytes; 0: not known any more */
};

struct loop {
	u32 tid, pid;
	u64 idle_ns;	   /* all that it spent in its poll */
	u64 idle_since_ns; /* 0: it is not there */
	u64 turn_since_ns;
	u64 gen; /* of the turn that is going on */
	u32 slot;
	u32 turn_count;		  /* all that were remembered */
	u64 blocked_ns, ready_ns; /* in the turn of nobody that is known: not on a CPU */
	u64 off_since_ns;	  /* ... and since when it is not now, 0: it is */
	u32 off_blocked;
	s32 stopped;	    /* as in a turn: of the one that is going on */
	u8 head[LOOP_HEAD]; /* of the turn that is going on: in user space's copies only */
	struct loop_turn turn[LOOP_TURNS];
};

#endif
