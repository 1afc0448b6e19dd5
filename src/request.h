/* SPDX-License-Identifier: MIT */
/* From a slot's bytes (event.h) to the incident's words: the request, its trace,
 * where its time went. Pure: what needs the live process (what an fd is, the name of
 * a system call) comes through 'struct wording', from the caller. Slot bytes are
 * hostile only where they are the client's: head and reply. */
#ifndef REQTRAP_REQUEST_H
#define REQTRAP_REQUEST_H

#include "event.h"
#include "incident.h"

/* A wait, as the slot has it. */
struct waited {
	long nr; /* call, or enum no_call */
	uint64_t a;
	unsigned int state;		  /* enum wait_state */
	const struct slot_object *object; /* NULL unknown */
	const struct slot_waker *waker;	  /* NULL unknown, or it still waits */
};

struct wait_words {
	const char *kind; /* 'socket' 'file' 'pipe' 'futex' 'sleep' ...; static; NULL unknown */
	char object[320]; /* '' when there is nothing to say */
	char peer[96];	  /* who is at the other end, or holds the lock: 'php-fpm 4711'; '' */
	char waker[96];	  /* who ended it */
};

struct wording {
	const char *(*call)(long nr); /* 'futex'; NULL for a number nobody knows */
	void (*wait)(void *arg, const struct slot *slot, const struct waited *waited, struct wait_words *ret_words);
	void *arg;
};

/* Method, URL (masked, incident_mask.h), host ... of the head that was kept. Replaces what is
 * there. */
void request_describe(const struct slot *slot, struct request_info *ret_info);

/* The value of a header as its sender wrote it, on the heap, the caller's. NULL: there is
 * none, it is not within what is kept of the head, or no memory. */
char *request_header(const struct slot *slot, const char *name);

/* 'tcp:10.0.0.5:3306', 'unix:/run/x.sock', 'unix:@abstract'; '' when not known. path: of
 * UNIX_PATH bytes, NULL for a client. */
void request_endpoint(const struct endpoint *at, const uint8_t *path, char *buf, size_t size);

/* The same without 'tcp:'. */
void request_address(const struct endpoint *at, char *buf, size_t size);

/* After request_describe: who sent it, if the head does not say. */
void request_client(const struct slot *slot, struct request_info *info);

/* The slot's events onto the incident's trace, at_ns counted from origin_ns (events
 * before it are at 0). copied_ns: when the copy of the slot was made; a wait that was
 * going on then is shown up to it. then: an older copy of it, whose ring holds what the
 * younger one may have overwritten; NULL. Call for each slot of the chain, then
 * request_trace_sort. What neither has is counted into losses, and a 'lost' event. */
void request_trace(const struct slot *slot, const struct slot *then, uint64_t origin_ns, uint64_t copied_ns,
		   const struct wording *wording, struct incident *incident);
void request_trace_mark(struct incident *incident, uint64_t at_ns, const char *kind, const char *name,
			const char *detail, pid_t pid, pid_t tid);
void request_trace_sort(struct incident *incident);
void request_trace_clear(struct incident *incident);

/* The holder's slot as it was copied. */
struct holding {
	const struct slot *slot;
	const struct loop *loop; /* of its thread, copied with it; NULL none */
	uint64_t copied_ns;
	uint32_t index; /* its number */
	bool alone;	/* its thread has no other request now */
};

/* Where the time went, from the first byte of hops[0], the outer request, to 'until_ns'
 * (CLOCK_MONOTONIC). Adds up to exactly that. The last hop is the holder's; what those
 * before it did is told if it is more than a fraction of the whole. */
void request_spending(const struct holding *hops, size_t hop_count, uint64_t until_ns, const struct wording *wording,
		      struct incident *incident);

/* Where the analyst has found out which lock a futex is, its waits are for that lock: by the
 * futex's address, or by what the holder's thread was seen in. */
void request_name_locks(struct incident *incident);
void request_name_trace(struct incident *incident); /* the same for the trace, each time it is made */

/* The loop's turns for others, onto the trace, as far as they were remembered. */
void request_trace_turns(const struct holding *holding, uint64_t origin_ns, struct incident *incident);

/* The call's name, or what a wait is called that is in none: the words of incident.h for a stop. */
const char *request_call(const struct wording *wording, long nr, char *buf, size_t size);

/* Indexes out of the slot are checked, whoever wrote them. */
struct waited request_waited(const struct slot *slot, long nr, uint64_t a, unsigned int state, unsigned int object,
			     unsigned int waker);

#endif
