/* SPDX-License-Identifier: MIT */
/* 'list --group': incidents that are alike as one entry. */
#ifndef REQTRAP_CMD_LIST_GROUPS_H
#define REQTRAP_CMD_LIST_GROUPS_H

#include "buf.h"
#include "incident.h"

struct list_groups;

struct list_groups *list_groups_new(void);				     /* NULL: no memory */
int list_groups_add(struct list_groups *g, const struct incident *incident); /* newest first; -ENOMEM */
void list_groups_tell(struct list_groups *g, bool json, struct buf *out);    /* sorts; the largest first */
void list_groups_free(struct list_groups *g);

#endif
