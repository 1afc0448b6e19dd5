/* SPDX-License-Identifier: MIT */
/* What a slot (event.h) keeps of its holder's waits: in which call, on what, who ended
 * it. Part of the contract between the BPF programs and user space. */
#ifndef REQTRAP_EVENT_WAITS_H
#define REQTRAP_EVENT_WAITS_H

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t s16;
typedef int32_t s32;
#endif

#define SLOT_SUMS 24	/* different waits that are added up one by one; the last takes the rest */
#define SLOT_OBJECTS 12 /* different things waited on that are remembered */
#define SLOT_WAKERS 12	/* different threads that ended a wait */
#define OBJECT_NAME 160 /* bytes of a file's path, the last component first, each ended by NUL */
#define OBJECT_PART 48	/* bytes of one component at most */
#define OBJECT_PARTS 8	/* components at most */

/* A wait that is in no system call. */
enum no_call {
	NO_CALL_FAULT = -1,
	NO_CALL_CAPTURED = -2,	/* stopped by our own capture */
	NO_CALL_SIGNALLED = -3, /* stopped by a signal: SIGSTOP, or the terminal's */
	NO_CALL_TRACED = -4,	/* stopped by another tracer, whose process is 'a' */
};

/* How a thread waits: bits. */
enum wait_state {
	WAIT_SLEEPS = 1, /* a signal would end it */
	WAIT_DEEP = 2,	 /* none would: the scheduler's state D */
	WAIT_IO = 4,	 /* ... and the kernel counts it as waiting for I/O */
	WAIT_ANSWER = 8, /* a poll for the answer of its latest call to somebody else */
	WAIT_MORE = 16,	 /* a poll of several: 'object' is the first */
};

/* The other end of a socket. family 0: not known. */
struct endpoint {
	u16 family; /* 1 unix, 2 IPv4 (addr[0]), 10 IPv6; addr in network order */
	u16 port;   /* host order */
	u32 addr[4];
};

/* Waits in the same call, on the same thing, added up. */
struct slot_sum {
	u64 ns;
	u64 a;
	u32 count;
	s16 nr;
	u8 object, state;
	u8 waker; /* of the last */
	u8 pad[7];
};

/* Who ended a wait, as it was then: it may be gone when somebody asks. */
struct slot_waker {
	u32 tid, pid;
	u8 comm[16];
};

/* A file, pipe or socket that was waited on, as it was then: closed ones have no name
 * in /proc any more, and their number may be another file's. */
struct slot_object {
	u64 ino;
	u32 dev; /* major << 20 | minor, as the kernel has it */
	s32 fd;
	u16 mode;		    /* type bits of its inode; 0: none (eventfd and the like) */
	u8 parts;		    /* components in 'name' */
	u8 rooted;		    /* and they begin at the root of the file system */
	u16 name_len;		    /* bytes of 'name' in use */
	u16 type;		    /* of a socket: SOCK_STREAM ... */
	struct endpoint here, peer; /* of a socket */
	u8 name[OBJECT_NAME];	    /* of a unix socket: the path, its peer's or its own */
};

#endif
