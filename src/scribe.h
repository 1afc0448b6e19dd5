/* SPDX-License-Identifier: MIT */
/* Writes pages to the disk so that the main loop never waits for it: one process,
 * this binary re-executed with the hidden verb '--scribe', takes incidents as JSON
 * and renders, syncs and publishes them, in the order given. If it dies, what it was
 * at is told as failed and a new one is started for the next. */
#ifndef REQTRAP_SCRIBE_H
#define REQTRAP_SCRIBE_H

#include "buf.h"
#include "err.h"
#include "incident.h"
#include "loop.h"
#include "store.h"
#include "store_keep.h"

struct scribe;

/* store_dir: absolute, open in this process too. Blocks for the exec only. */
int scribe_start(struct loop *loop, const char *store_dir, struct scribe **ret_scribe, struct err *err);

/* Asks for all pages of the entry (and its final name, if it has none yet). Does not
 * block; 'done' is called from the loop with 0 or negative errno and a text. The
 * entry stays the caller's and must not be written by it until then. */
int scribe_write(struct scribe *scribe, struct store_entry *entry, const struct incident *incident,
		 void (*done)(void *arg, int code, const char *text), void *arg, struct err *err);

/* What stays in the store, from now on: looked at whenever an incident was published, and
 * now. 'pruned' is called from the loop with each look's result. Nothing to keep: no look. */
int scribe_keep(struct scribe *scribe, const struct store_keep *keep,
		void (*pruned)(void *arg, const struct store_pruned *pruned), void *arg, struct err *err);

/* A small file beside the incidents, replaced as one; 'done' as above. */
int scribe_state(struct scribe *scribe, const char *name, const struct buf *text,
		 void (*done)(void *arg, int code, const char *text), void *arg, struct err *err);

/* The answer to what this 'arg' asked for is not wanted any more; it is written all the same. */
void scribe_forget(struct scribe *scribe, void *arg);

/* Waits until everything asked for is written (blocks on the disk), then ends it. No
 * 'done' is called any more. -ETIMEDOUT: after 20 s it was left to finish by itself. */
int scribe_end(struct scribe *scribe);

/* Entry of the hidden verb: fd 3 is the socket. */
int scribe_main(int argc, char **argv);

#endif
