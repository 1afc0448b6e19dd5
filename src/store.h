/* SPDX-License-Identifier: MIT */
/* Incidents on disk: one folder each, whole or absent. A folder is made as
 * '.new-ID' (0700), filled, synced and renamed to
 * '<UTC time>-<id>-<METHOD>-<path slug>'. Whatever a killed process left behind as
 * '.new-*' is removed at the next store_open by its owner's death (flock). */
#ifndef REQTRAP_STORE_H
#define REQTRAP_STORE_H

#include "err.h"
#include "incident.h"

struct store;

/* dir NULL: the default ($REQTRAP_STORE, /var/lib/reqtrap for root, else
 * $XDG_STATE_HOME/reqtrap). Refuses a symlink as the last part. With 'create', which
 * filling it needs, it is made (0700) if absent, leftovers of the dead are removed,
 * and it must be safe: ours, not writable by others, and no folder above it may be
 * somebody's who could swap it (a sticky one like /tmp is fine): else -EPERM, the
 * text says which rule. Without, it is for reading and removing only. A folder that is removed
 * or moved away later is made anew by the next incident. Blocks on the disk. */
int store_open(const char *dir, bool create, struct store **ret_store, struct err *err);
char *store_default_dir(void); /* what NULL means; the caller frees; NULL: none is known */
void store_free(struct store *store);
const char *store_path(const struct store *store); /* absolute */

/* Begins a folder (-EROFS when opened without 'create'). The fd (O_DIRECTORY) stays open until commit or abort. */
struct store_entry;
int store_begin(struct store *store, const struct incident *incident, struct store_entry **ret_entry, struct err *err);
int store_entry_fd(const struct store_entry *entry);

/* The same entry for another process of ours that has the store open (scribe.h): the
 * ticket and the entry's fd go there, 'adopt' duplicates the fd. Only one of the two
 * writes; 'drop' forgets an entry and leaves the disk as it is; 'published' notes
 * that the other one gave it its final name. */
struct store_ticket {
	char temp[32];
	char name[200];
	bool published;
};

void store_entry_ticket(const struct store_entry *entry, struct store_ticket *ret_ticket);
int store_entry_adopt(struct store *store, const struct store_ticket *ticket, int dir_fd,
		      struct store_entry **ret_entry, struct err *err);
void store_entry_published(struct store_entry *entry);
void store_entry_drop(struct store_entry *entry);

/* The final path, known from the start: what pages and the JSON stream name. */
const char *store_entry_path(const struct store_entry *entry);

/* Writes one file whole (temporary name, fsync, rename), 0600. */
int store_write(struct store_entry *entry, const char *name, const void *data, size_t len, struct err *err);

/* Gives the folder its final name: from now on it is there for others, whole. It can
 * still be written (the request's end, the action's output): each file is replaced as
 * one. On failure the entry stays as it was. */
int store_publish(struct store_entry *entry, struct err *err);
int store_commit(struct store_entry *entry, struct err *err); /* publishes if need be; frees entry, also on failure */
void store_abort(struct store_entry *entry);		      /* removes the folder unless published, frees entry */

/* Newest first. Rows are owned by the list. */
struct store_row {
	char id[INCIDENT_ID_LEN + 1];
	char *name; /* of the folder */
};

int store_list(struct store *store, struct store_row **ret_rows, size_t *ret_count, struct err *err);
void store_rows_free(struct store_row *rows, size_t count);

/* id: any unique prefix, or 'last'. -ENOENT, or -EINVAL when ambiguous (the text
 * lists the candidates). Reads and parses incident.json. */
int store_load(struct store *store, const char *id, struct incident **ret_incident, char **ret_path, struct err *err);

/* From anywhere: an incident's folder or its JSON file, with no store around it. */
int store_load_path(const char *path, struct incident **ret_incident, struct err *err);

/* The folder itself: an fd of it, the caller's, and its path, which the caller frees. */
int store_find(struct store *store, const char *id, int *ret_dir_fd, char **ret_path, struct err *err);

/* Removes one incident. -EINVAL when its folder holds something that is not ours. */
int store_remove(struct store *store, const char *id, struct err *err);

/* Rewrites the pages of an entry that is being filled: incident.json, report.txt,
 * report.html, trace.json, stacks.txt. They are rendered from what incident.json
 * reads back as, so that rendering later gives the same bytes. */
int store_write_pages(struct store_entry *entry, const struct incident *incident, struct err *err);

#endif
