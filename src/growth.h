/* SPDX-License-Identifier: MIT */
/* Memory from dump to dump, by mapping: which ones grew, by how much, and whether at
 * each step, as a leak does. Pure. Memory: by mappings, not by dumps. */
#ifndef REQTRAP_GROWTH_H
#define REQTRAP_GROWTH_H

#include "buf.h"
#include "moment.h"

struct growth; /* of one process */

struct growth *growth_new(void);	 /* NULL: no memory */
void growth_free(struct growth *growth); /* NULL is fine */

/* The next moment, in the order of time, with MOMENT_MEMORY (without, it is passed
 * over). What is needed of it is copied. -ENOMEM. */
int growth_add(struct growth *growth, const struct moment *moment);

size_t growth_count(const struct growth *growth); /* moments */

/* From the first moment to the last: the total, then what grew most, within 80 columns,
 * escaped; of fewer than two moments one line that says so. -ENOMEM. */
int growth_text(const struct growth *growth, struct buf *out);

/* The same, all of it, as one JSON object without a newline. -ENOMEM. */
int growth_json(const struct growth *growth, struct buf *out);

#endif
