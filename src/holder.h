/* SPDX-License-Identifier: MIT */
/* Who holds a trapped request: down the calls that it has made to other processes of
 * this host, then the one thread at work on it, or honestly several. Copies slots, looks
 * into /proc at no more threads than are in question. Stops nothing. */
#ifndef REQTRAP_HOLDER_H
#define REQTRAP_HOLDER_H

#include "trap.h"

/* Adds a request to the trap's hops; its slot is held already and from now on the trap's
 * to release. False: it is gone, or there are too many. */
bool holder_hop(struct trap *trap, uint32_t slot, uint64_t gen);

/* From the first hop and the trap's reason on: the other hops, the incident's chain and
 * holder. */
void holder_find(struct trap *trap, const struct record *record);

#endif
