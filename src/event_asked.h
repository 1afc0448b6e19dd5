/* SPDX-License-Identifier: MIT */
/* The part of event.h that keeps the first bytes of what a request asked of somebody else
 * last. Included by it alone. */
#ifndef REQTRAP_EVENT_ASKED_H
#define REQTRAP_EVENT_ASKED_H

#define ASKED_BYTES 256

struct asked { /* of a slot, by its number */
	u64 gen;
	u64 at_ns;
	u64 total; /* bytes of that write; more than 'len': the rest is not kept */
	s32 fd;
	u32 len;
	struct endpoint to;
	u32 pad;
	u8 bytes[ASKED_BYTES];
};

#endif
