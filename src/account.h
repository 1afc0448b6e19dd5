/* SPDX-License-Identifier: MIT */
/* What a dump says of itself: ranges that are not in the core and why, and the note in
 * it. Nothing is left out silently: what has no room is counted. */
#ifndef REQTRAP_ACCOUNT_H
#define REQTRAP_ACCOUNT_H

#include "buf.h"
#include "dump.h"
#include "proc.h"

struct account {
	struct dump_result *result;
	const struct proc_maps *maps;  /* for names */
	uint64_t lost_start, lost_end; /* unreadable pages not told yet */
	const char *lost_why;
};

/* arg: a struct account. With 'lost' the core is not complete. */
void account_omit(void *arg, uint64_t start, uint64_t end, const char *name, const char *why, bool lost);

/* Pages that could not be read; runs of them are told as one, the last by _flush. */
void account_unread(struct account *account, uint64_t start, uint64_t end, const char *why);
void account_flush(struct account *account);

/* The text of the core's own note. The caller frees it; without memory its data is NULL. */
void account_note(const struct account *account, const struct dump_order *order, struct buf *ret_note);

#endif
