/* SPDX-License-Identifier: MIT */
/* The contract between the BPF programs and user space: fixed-width fields, no
 * pointers, size asserts, a layout version. One 'struct slot' is the flight
 * recorder of one request: written in place by whichever thread works on it, read
 * by user space through a shared mapping only after it fired. A healthy request's
 * slot is given back by the kernel and user space never hears of it.
 *
 * Life of a slot (field 'state', changed by compare-and-swap only):
 *   FREE -> OPEN          the kernel, at the request's first byte
 *   OPEN -> FREE          the kernel, at its end
 *   OPEN -> ENDED         the kernel, at an end that some rule asks for; it sends RECORD_OVER
 *   OPEN -> HELD          the kernel when a limit or a status fires; user space for
 *                         the inner requests of one that fired
 *   HELD -> ENDED         the kernel at the end; it sends RECORD_ENDED
 *   HELD -> OPEN          user space: no rule matched after all
 *   ENDED -> FREE         user space, which then puts the index back on the stack */
#ifndef REQTRAP_EVENT_H
#define REQTRAP_EVENT_H

#include "event_waits.h"

#define EVENT_LAYOUT 5

#define SLOT_BYTES 12288
#define SLOT_HEAD 2048 /* bytes kept of a request's head, and of its reply's */
#define SLOT_MARGIN 32 /* so that a header's name can be compared at the very end */
#define SLOT_EVENTS 86
#define SLOT_EVENTS_KEPT 22 /* the first ones stay, the rest is a ring */
#define SLOT_NONE 0xffffffffu
#define UNREAD_UNKNOWN (~0ull)
#define UNIX_PATH 108 /* of a sockaddr_un; an abstract name begins with a NUL */
#define LIMITS_MAX 8  /* distinct time-taken limits of all rules */
#define LIMIT_CLOCK 1 /* bit of a limit in ns: it counts the server's own time, see rule.h */
#define SLOTS_MOST 65536
#define CLOCKS 256   /* timers; slot i hangs on timer i % CLOCKS */
#define QUEUE_MAX 8  /* pipelined requests of one connection */
#define WATCHED 8192 /* entries of the filter in front of the targets */

enum slot_state { SLOT_FREE, SLOT_OPEN, SLOT_HELD, SLOT_ENDED };

enum slot_flag {
	SLOT_FASTCGI = 1,  /* else HTTP/1 */
	SLOT_HEAD_CUT = 2, /* head longer than SLOT_HEAD: its framing is not known */
	SLOT_REPLY_CUT = 4,
	SLOT_UNREADABLE = 8,	/* bytes went by that could not be read */
	SLOT_GAP = 16,		/* where it, or its reply, ends is not known for sure */
	SLOT_END_INFERRED = 32, /* ended by the next request or by closing */
	SLOT_ABORTED = 64,	/* the connection ended before the reply did */
	SLOT_INNER = 128,	/* made by another request that is watched */
	SLOT_GUESSED = 256,	/* 'tid' was handed the request as far as one can tell */
	/* How sure it is whose call it was (also in 'how' of struct ref). */
	SLOT_LINK_GUESSED = 512, /* made by a thread that was handed the request, it seems */
	SLOT_LINK_LATE = 1024,	 /* that thread has waited for events since it moved bytes for it */
	/* It had begun before we looked: 'begin_ns' is the latest that it can have, its head is not known. */
	SLOT_START_UNKNOWN = 2048,
};

/* What the holder is doing now; 'acc' adds up what it did. */
enum segment {
	SEGMENT_CPU,
	SEGMENT_WAIT,
	SEGMENT_RUNNABLE,
	SEGMENT_AWAY,	/* its thread has turned to another request */
	SEGMENT_PARKED, /* its thread was in its poll since, and has turned to no other */
	SEGMENT_LOOP,	/* only as a sum: it came from its poll, for whom is not known */
	SEGMENT_UNSEEN, /* the scheduler is not listened to */
	SEGMENTS = 8
};

enum event_kind {
	EVENT_NONE,
	EVENT_RECV, /* a = bytes, nr = call, dur 0 */
	EVENT_SEND,
	EVENT_WAIT,	/* nr = call, or one of enum no_call; a = first argument */
	EVENT_HOLDER,	/* another thread took over: tid */
	EVENT_UPSTREAM, /* first send of a call to somebody else: a = fd */
	EVENT_REPLY,	/* status line: a = status */
	EVENT_LIMIT,	/* a limit passed: a = limit in ns */
};

struct slot_event {
	u64 at_ns;  /* CLOCK_MONOTONIC, begin */
	u64 dur_ns; /* sum over count */
	u64 a;
	u32 tid;
	u32 count;
	u8 waker;  /* who ended the (last) wait: index + 1 into 'waker' of the slot */
	u8 object; /* what it waited on: index + 1 into 'object' */
	u16 pad;
	s16 nr;
	u8 kind;
	u8 state; /* of a wait: enum wait_state */
};

struct slot {
	u64 gen; /* grows with each request that uses the slot */
	u32 state;
	u32 flags;
	u64 conn;      /* the connection it came on, as an opaque number */
	u64 begin_ns;  /* first byte read by the server */
	u64 unread_ns; /* so long it lay at the socket before, to a tick; UNREAD_UNKNOWN: nobody knows */
	u64 head_ns;   /* request head complete */
	u64 reply_ns;  /* first byte of the reply handed to the kernel */
	u64 last_ns;   /* last byte moved on its connection */
	u64 end_ns;
	u64 request_bytes, reply_bytes;
	u64 parent_gen;
	u64 ino;		  /* of its connection's socket */
	u32 parent_slot;	  /* SLOT_NONE: none */
	u32 child_pid, child_tid; /* who answered its latest call, once that is over */
	u16 child_status;
	u16 fired_status; /* user space was asked about this one already */
	u32 pid, tid;	  /* who holds it: last thread that moved bytes for it */
	s32 fd;		  /* of its connection in pid, -1 unknown */
	u32 up_pid;	  /* who received the latest call to somebody else, 0 unknown */
	s32 up_fd;	  /* of that call, in pid; -1 none */
	u16 status;
	u8 severity;   /* of the gravest mark that the application made in it; 0 none */
	u8 up_waiting; /* that call is not answered yet */
	u32 head_len, reply_len;
	u64 out_left; /* reply body still to come, by its framing */
	u8 out_phase;
	u8 method; /* index into the tracer's table; 'HEAD' and 'CONNECT' matter */
	u8 seg_kind;
	u8 turn_over;	 /* 'tid' waited for events of any kind since it moved bytes for it */
	u32 event_count; /* all that were written; more than SLOT_EVENTS: a ring */
	u64 seg_since_ns;
	u64 passed_whole;  /* the longest limit that fired, 0 none ... */
	u64 passed_server; /* ... by the server's clock, with LIMIT_CLOCK */
	u64 server_ns;	   /* the server had the whole request so long, at its first byte or when a limit fired */
	u64 acc[SEGMENTS]; /* ns by enum segment */
	u64 wait_a;	   /* the wait that is going on, if seg_kind is SEGMENT_WAIT */
	s16 wait_nr;
	u8 wait_state;
	u8 wait_object; /* index + 1 into 'object' */
	u8 waker;	/* of the wait that was last */
	u8 object_count, sum_count, waker_count;
	u64 last_a; /* of the last wait of the program's own, for one that is restarted */
	s16 last_nr;
	u8 last_object;
	u8 pad3;
	u32 loop;			      /* of 'tid', counted from 1; 0: it has none */
	u64 idle_from;			      /* while the loop is elsewhere: its 'idle_ns' when it left */
	u64 task;			      /* of the holder in the kernel, while it works on this */
	u64 user_ns, kernel_ns;		      /* its CPU time, as the kernel's ticks have it */
	u64 user_from, kernel_from;	      /* ... what it stood at when the thread came here last */
	u64 user_seen, kernel_seen;	      /* ... when somebody looked last (slot_look) */
	u64 faults, faults_from, faults_seen; /* page faults that had to be read from somewhere */
	struct endpoint client;		      /* who sent the request */
	struct endpoint up;		      /* whom the latest call to somebody else went to */
	u8 up_path[UNIX_PATH];
	u8 head[SLOT_HEAD + SLOT_MARGIN];
	u8 reply[SLOT_HEAD + SLOT_MARGIN];
	struct slot_event event[SLOT_EVENTS];
	struct slot_sum sum[SLOT_SUMS];
	struct slot_waker wakers[SLOT_WAKERS];
	struct slot_object object[SLOT_OBJECTS];
};

#ifndef __cplusplus
_Static_assert(sizeof(struct slot_event) == 40, "slot_event layout");
_Static_assert(sizeof(struct slot) <= SLOT_BYTES, "slot fits its map value");
#endif

#include "event_asked.h"
#include "event_counts.h"
#include "event_links.h"
#include "event_loops.h"

/* ROLE_OLDER: of a server, made before we looked; nothing was understood on it since.
 * ROLE_OPAQUE: what goes over it is of no interest, or no HTTP/1 any more. */
enum role { ROLE_NONE, ROLE_SERVER, ROLE_CLIENT, ROLE_OPAQUE, ROLE_OLDER };

struct walk {	  /* how far the framing of a message is known: bpf/walk.h */
	u64 a, b; /* the last sixteen bytes of a word, newest lowest */
	u64 left; /* bytes of the body, of the chunk, of the record still to come */
	u64 number;
	u16 status;
	u16 flags;
	u8 phase;
	u8 len;	  /* of the word */
	u8 first; /* byte of it */
	u8 pad;
};

/* A connection of a watched process, keyed by its socket's address in the kernel.
 * User space only looks for those whose socket is gone (tracer_sweep). First what
 * every call touches. */
struct conn {
	u64 ino; /* of the socket: its address is used again, this is not */
	u64 last_ns;
	struct ref in; /* the request being received */
	u8 queue_head, queue_len;
	u8 role, in_phase;
	u8 answered; /* ROLE_CLIENT: bytes came back since the last send */
	u8 family;
	u8 owner_pending;	     /* ROLE_CLIENT: owner was taken at connect, not used yet */
	u8 linked;		     /* ROLE_CLIENT: 'tuple' is in the map of tuples */
	struct ref queue[QUEUE_MAX]; /* requests waiting for their reply, oldest at queue_head */
	u64 in_left;		     /* request body bytes still to come */
	u64 skipped_head;	     /* bit per skipped request, lowest the oldest: it is a HEAD */
	u32 skipped;		     /* requests behind the queue's that have no slot and no reply yet */
	u8 skipping;		     /* the oldest one's reply has begun */
	u8 fastcgi, blind;	     /* blind: what its requests are read with is not seen */
	u8 closed;		     /* as seen from this side: a write under way may still be told of */
	u32 in_seq;		     /* TCP: where the reading stood when 'in_left' was right */
	struct walk in_walk, out_walk;
	struct ref owner; /* ROLE_CLIENT: the request this call is made for */
	struct endpoint peer;
	struct tuple tuple;
};

union slot_value { /* the map's value: a whole number of pages for the mapping */
	struct slot slot;
	u8 bytes[SLOT_BYTES];
};

enum record_kind {
	RECORD_LIMIT = 1, /* slot, gen; value = limit in ns */
	RECORD_STATUS,	  /* slot, gen; value = status; inner = the slot that sent it */
	RECORD_ENDED,	  /* slot, gen: a held slot ended */
	RECORD_FORK,	  /* pid: it now belongs to the watched ones; value = parent */
	RECORD_ADOPTED,	  /* pid: it answers calls of watched requests */
	RECORD_MARK,	  /* slot, gen; value = severity of a mark that is graver than those before */
	RECORD_OVER,	  /* slot, gen: it ended in a way that some rule asks for; is its slot's to give back */
};

struct record {
	u32 kind;
	u32 slot;
	u64 gen;
	u64 at_ns;
	u64 value;
	u32 inner_slot;
	u32 pid;
	u64 inner_gen;
};

/* Why a process is looked at. */
enum target_kind { TARGET_NAMED = 1, TARGET_FORKED = 2, TARGET_ADOPTED = 3 };

/* Entry 'tgid % WATCHED' of the filter is the sum of this over its processes, so that
 * both sides change it by one atomic addition, in any order. Where the count, the
 * lowest 16 bits, is 1, the rest is that process: the map need not be asked. */
static inline __attribute__((always_inline)) u64 watched_as(u32 tgid, u32 kind)
{
	return (u64)tgid << 32 | kind << 16 | 1;
}

#endif
