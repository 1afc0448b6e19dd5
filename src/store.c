// SPDX-License-Identifier: MIT
/* Folders that are whole or absent. Everything goes by directory fd, so nobody can
 * lead us elsewhere by swapping a name. Rejected: an index file (it and the folders
 * would come to disagree): the names say it all. Trap: a leftover's owner may commit
 * while we look at it, so its lock and then its name are asked again. */
#include "store.h"

#include "facts.h"
#include "ktime.h"
#include "report.h"
#include "store_dir.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define SLUG_MAX 40
#define PREFIX ".new-"
#define TIME_LEN 20 /* 20261122T151547.600Z */

struct store {
	int dir_fd;
	char *path; /* absolute, its parent without symlinks */
	bool writable;
};

struct store_entry {
	struct store *store;
	int dir_fd;    /* holds the flock that says that somebody lives here */
	char temp[32]; /* as in struct store_ticket */
	char name[200];
	char *path;
	bool published; /* has its final name: abort no longer removes it */
};

/* --- opening --- */

char *store_default_dir(void)
{
	const char *env = getenv("REQTRAP_STORE"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *dir = NULL;

	if (env && env[0])
		return strdup(env);
	if (geteuid() == 0)
		return strdup("/var/lib/reqtrap");
	if (state && state[0] == '/')
		text_setf(&dir, "%s/reqtrap", state);
	else if (home && home[0] == '/')
		text_setf(&dir, "%s/.local/state/reqtrap", home);
	return dir;
}

/* --- folders --- */

/* Calls fn for each name; stops at the first result that is not 0. */
static int each_name(int dir_fd, int (*fn)(int dir_fd, const char *name, void *arg), void *arg)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;

	if (!dir) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = fn(dir_fd, entry->d_name, arg);
	}
	closedir(dir);
	return r;
}

static int remove_file(int dir_fd, const char *name, void *arg UNUSED)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR ? -ENOTEMPTY : -errno;
}

/* The folder and the files in it. A folder inside is not ours: -ENOTEMPTY. */
static int remove_dir(int parent_fd, const char *name, int dir_fd)
{
	int r = each_name(dir_fd, remove_file, NULL);

	if (r == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int sweep_one(int dir_fd, const char *name, void *arg UNUSED)
{
	struct stat by_name, by_fd;
	CLEAN(fd) int fd = -1;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0; /* somebody lives here, or it has gone */
	if (fstat(fd, &by_fd) < 0 || fstatat(dir_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev && by_fd.st_uid == geteuid())
		remove_dir(dir_fd, name, fd);
	return 0;
}

int store_open(const char *dir, bool create, struct store **ret_store, struct err *err)
{
	CLEAN(free) char *standard = dir ? NULL : store_default_dir();
	struct store *store;
	int r;

	if (!dir && !standard)
		return err_say(err, -ENOENT, "no store is named and there is no home folder: use -o DIR");
	if (!dir && create)
		store_dir_make_parents(standard);
	store = calloc(1, sizeof(*store));
	if (!store)
		return err_sys(err, -ENOMEM, "cannot open the store");
	store->dir_fd = -1;
	store->writable = create;
	r = store_dir_open(dir ? dir : standard, create, &store->dir_fd, &store->path, err);
	if (r < 0) {
		store_free(store);
		return r;
	}
	if (create)
		each_name(store->dir_fd, sweep_one, NULL);
	*ret_store = store;
	return 0;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	if (store->dir_fd >= 0)
		close(store->dir_fd);
	free(store->path);
	free(store);
}

const char *store_path(const struct store *store)
{
	return store->path;
}

/* Somebody may have removed the folder, or moved it away, since it was opened: what has its path
 * now is taken, or made, by the same rules. */
static int store_follow(struct store *store, struct err *err)
{
	CLEAN(free) char *path = NULL;
	struct stat ours, named;
	int fd, r;

	if (fstat(store->dir_fd, &ours) == 0 && lstat(store->path, &named) == 0 && ours.st_dev == named.st_dev &&
	    ours.st_ino == named.st_ino)
		return 0;
	r = store_dir_open(store->path, true, &fd, &path, err);
	if (r < 0)
		return r;
	close(store->dir_fd);
	store->dir_fd = fd;
	return 0;
}

/* --- filling one --- */

/* Letters and digits; every run of anything else is one '-'. */
static void slug(const char *text, size_t len, int (*fold)(int c), const char *none, char *out)
{
	size_t n = 0;

	for (size_t k = 0; k < len && n < SLUG_MAX; k++) {
		unsigned char c = (unsigned char)text[k];

		if (c < 0x80 && isalnum(c))
			out[n++] = (char)fold(c);
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	out[n] = '\0';
	if (!n)
		snprintf(out, SLUG_MAX + 1, "%s", none);
}

static void name_make(const struct incident *incident, char *out, size_t size)
{
	const char *url = incident->request.url ? incident->request.url : "";
	const char *method = incident->request.method ? incident->request.method : "";
	uint64_t wall = incident->trapped_wall_ns ? incident->trapped_wall_ns : wall_ns();
	time_t seconds = (time_t)(wall / NSEC_PER_SEC);
	char when[32], verb[SLUG_MAX + 1], path[SLUG_MAX + 1];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%S", &tm);
	slug(method, strlen(method), toupper, "NONE", verb);
	slug(url, strcspn(url, "?#"), tolower, "root", path);
	snprintf(out, size, "%s.%03uZ-%s-%s-%s", when, (unsigned int)(wall / NSEC_PER_MSEC % 1000), incident->id, verb,
		 path);
}

/* Made, opened, locked, and still there: a sweeper may come between. */
static int make_locked(const struct store *store, const char *name, int *ret_fd)
{
	for (int tries = 0; tries < 8; tries++) {
		CLEAN(fd) int fd = -1;
		struct stat st;

		if (mkdirat(store->dir_fd, name, 0700) < 0)
			return -errno;
		fd = openat(store->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX) < 0)
			return -errno;
		if (fstat(fd, &st) == 0 && st.st_nlink > 0) {
			*ret_fd = take_fd(&fd);
			return 0;
		}
	}
	return -EBUSY;
}

static void entry_free(struct store_entry *entry)
{
	if (entry->dir_fd >= 0)
		close(entry->dir_fd);
	free(entry->path);
	free(entry);
}

int store_begin(struct store *store, const struct incident *incident, struct store_entry **ret_entry, struct err *err)
{
	struct store_entry *entry;
	int r;

	if (!store->writable)
		return err_say(err, -EROFS, "store '%s' is open for reading", store->path);
	r = store_follow(store, err);
	if (r < 0)
		return r;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return err_sys(err, -ENOMEM, "cannot begin an incident in '%s'", store->path);
	entry->store = store;
	entry->dir_fd = -1;
	snprintf(entry->temp, sizeof(entry->temp), PREFIX "%s", incident->id);
	name_make(incident, entry->name, sizeof(entry->name));
	text_setf(&entry->path, "%s/%s", store->path, entry->name);
	r = entry->path ? make_locked(store, entry->temp, &entry->dir_fd) : -ENOMEM;
	if (r < 0) {
		err_sys(err, r, "cannot begin an incident in '%s'", store->path);
		entry_free(entry);
		return r;
	}
	*ret_entry = entry;
	return 0;
}

void store_entry_ticket(const struct store_entry *entry, struct store_ticket *ret_ticket)
{
	memset(ret_ticket, 0, sizeof(*ret_ticket));
	snprintf(ret_ticket->temp, sizeof(ret_ticket->temp), "%s", entry->temp);
	snprintf(ret_ticket->name, sizeof(ret_ticket->name), "%s", entry->name);
	ret_ticket->published = entry->published;
}

int store_entry_adopt(struct store *store, const struct store_ticket *ticket, int dir_fd,
		      struct store_entry **ret_entry, struct err *err)
{
	int r = ticket->published ? 0 : store_follow(store, err);
	struct store_entry *entry;

	if (r < 0)
		return r;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return err_sys(err, -ENOMEM, "cannot write an incident in '%s'", store->path);
	entry->store = store;
	snprintf(entry->temp, sizeof(entry->temp), "%s", ticket->temp);
	snprintf(entry->name, sizeof(entry->name), "%s", ticket->name);
	entry->published = ticket->published;
	text_setf(&entry->path, "%s/%s", store->path, entry->name);
	entry->dir_fd = entry->path ? fcntl(dir_fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (entry->dir_fd < 0) {
		entry_free(entry);
		return err_sys(err, -ENOMEM, "cannot write an incident in '%s'", store->path);
	}
	*ret_entry = entry;
	return 0;
}

void store_entry_published(struct store_entry *entry)
{
	entry->published = true;
}

void store_entry_drop(struct store_entry *entry)
{
	if (entry)
		entry_free(entry);
}

int store_entry_fd(const struct store_entry *entry)
{
	return entry->dir_fd;
}

const char *store_entry_path(const struct store_entry *entry)
{
	return entry->path;
}

int store_write(struct store_entry *entry, const char *name, const void *data, size_t len, struct err *err)
{
	char temp[NAME_MAX + 1];
	int r, fd;

	if (!name[0] || name[0] == '.' || strchr(name, '/') || strlen(name) > NAME_MAX - 8)
		return err_say(err, -EINVAL, "'%s' is no name for a file of an incident", name);
	snprintf(temp, sizeof(temp), ".tmp-%s", name);
	unlinkat(entry->dir_fd, temp, 0);
	fd = openat(entry->dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(entry->dir_fd, temp, entry->dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(entry->dir_fd, temp, 0);
		return err_sys(err, r, "cannot write '%s/%s'", entry->path, name);
	}
	return 0;
}

static int rename_new(int dir_fd, const char *from, const char *to)
{
	struct stat st;

	if (syscall(SYS_renameat2, dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* a file system that cannot do it at once; nobody else writes here */
	if (fstatat(dir_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

int store_publish(struct store_entry *entry, struct err *err)
{
	int dir_fd = entry->store->dir_fd, r = 0;

	if (fsync(entry->dir_fd) < 0)
		r = -errno;
	if (r == 0)
		r = rename_new(dir_fd, entry->temp, entry->name);
	if (r < 0)
		return err_sys(err, r, "cannot keep incident '%s'", entry->path);
	entry->published = true;
	if (fsync(dir_fd) < 0)
		return err_sys(err, -errno, "incident '%s' is there, but may not outlive a power cut", entry->path);
	return 0;
}

int store_commit(struct store_entry *entry, struct err *err)
{
	int r = entry->published ? 0 : store_publish(entry, err);

	if (entry->published)
		entry_free(entry);
	else
		store_abort(entry);
	return r;
}

void store_abort(struct store_entry *entry)
{
	if (!entry)
		return;
	if (!entry->published)
		remove_dir(entry->store->dir_fd, entry->temp, entry->dir_fd);
	entry_free(entry);
}

/* --- finding --- */

/* '20261122T151547.600Z-0123456789ab-GET-cart': anything else is not ours. */
static bool name_parse(const char *name, char *ret_id)
{
	static const char form[] = "00000000T000000.000Z-";
	const char *id = name + TIME_LEN + 1;

	for (size_t n = 0; form[n]; n++) {
		if (form[n] == '0' ? !isdigit((unsigned char)name[n]) : name[n] != form[n])
			return false;
	}
	if (strspn(id, "0123456789abcdef") != INCIDENT_ID_LEN || id[INCIDENT_ID_LEN] != '-')
		return false;
	memcpy(ret_id, id, INCIDENT_ID_LEN);
	ret_id[INCIDENT_ID_LEN] = '\0';
	return true;
}

struct row_list {
	struct store_row *row;
	size_t count;
};

static int list_one(int dir_fd UNUSED, const char *name, void *arg)
{
	struct row_list *list = arg;
	char id[INCIDENT_ID_LEN + 1];
	struct store_row *row;

	if (!name_parse(name, id))
		return 0;
	row = list_add(&list->row, &list->count, sizeof(*row));
	if (!row)
		return -ENOMEM;
	memcpy(row->id, id, sizeof(id));
	row->name = strdup(name);
	return row->name ? 0 : -ENOMEM;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(((const struct store_row *)b)->name, ((const struct store_row *)a)->name);
}

int store_list(struct store *store, struct store_row **ret_rows, size_t *ret_count, struct err *err)
{
	struct row_list list = { 0 };
	int r = each_name(store->dir_fd, list_one, &list);

	if (r < 0) {
		store_rows_free(list.row, list.count);
		return err_sys(err, r, "cannot list store '%s'", store->path);
	}
	if (list.count)
		qsort(list.row, list.count, sizeof(*list.row), newest_first);
	*ret_rows = list.row;
	*ret_count = list.count;
	return 0;
}

void store_rows_free(struct store_row *rows, size_t count)
{
	for (size_t n = 0; n < count; n++)
		free(rows[n].name);
	free(rows);
}

static int ambiguous(const struct row_list *list, const char *id, size_t matches, struct err *err)
{
	char names[256] = "";
	size_t len = 0, shown = 0;

	for (size_t n = 0; n < list->count && shown < 8; n++) {
		if (strncmp(list->row[n].id, id, strlen(id)))
			continue;
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", shown ? ", " : "", list->row[n].id);
		shown++;
	}
	return err_say(err, -EINVAL, "ID '%s' is not unique: %s%s", id, names, matches > shown ? ", ..." : "");
}

static int pick(const struct store *store, const struct row_list *list, const char *id,
		const struct store_row **ret_row, struct err *err)
{
	size_t matches = 0;

	if (!strcmp(id, "last")) {
		if (!list->count)
			return err_say(err, -ENOENT, "store '%s' has no incident yet", store->path);
		*ret_row = &list->row[0];
		return 0;
	}
	if (!id[0] || id[strspn(id, "0123456789abcdef")] || strlen(id) > INCIDENT_ID_LEN)
		return err_say(err, -EINVAL, "'%s' is not an ID: up to %d hex digits, or 'last'", id, INCIDENT_ID_LEN);
	for (size_t n = 0; n < list->count; n++) {
		if (strncmp(list->row[n].id, id, strlen(id)))
			continue;
		*ret_row = &list->row[n];
		matches++;
	}
	if (matches == 0)
		return err_say(err, -ENOENT, "no incident '%s' in '%s': 'reqtrap list' shows what there is", id,
			       store->path);
	return matches == 1 ? 0 : ambiguous(list, id, matches, err);
}

/* Picks by id; ret_name is the folder's name, the caller frees it. */
static int find_name(struct store *store, const char *id, char **ret_name, struct err *err)
{
	const struct store_row *row = NULL;
	struct row_list list = { 0 };
	int r = store_list(store, &list.row, &list.count, err);

	if (r < 0)
		return r;
	r = pick(store, &list, id, &row, err);
	if (r == 0) {
		*ret_name = strdup(row->name);
		if (!*ret_name)
			r = err_sys(err, -ENOMEM, "cannot open incident '%s'", id);
	}
	store_rows_free(list.row, list.count);
	return r;
}

int store_find(struct store *store, const char *id, int *ret_dir_fd, char **ret_path, struct err *err)
{
	CLEAN(free) char *name = NULL;
	char *path = NULL;
	int fd, r = find_name(store, id, &name, err);

	if (r < 0)
		return r;
	text_setf(&path, "%s/%s", store->path, name);
	if (!path)
		return err_sys(err, -ENOMEM, "cannot open incident '%s'", id);
	fd = openat(store->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = err_sys(err, -errno, "cannot open incident '%s'", path);
		free(path);
		return r;
	}
	*ret_dir_fd = fd;
	*ret_path = path;
	return 0;
}

/* A plain file, whole, NUL-terminated. Caller frees. flags: O_NOFOLLOW where the name
 * is not the user's own. */
static int read_file(int dir_fd, const char *name, int flags, size_t max, char **ret_data, size_t *ret_len)
{
	CLEAN(fd) int fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | flags);
	CLEAN(free) char *data = NULL;
	size_t len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, data + len, (size_t)st.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	data[len] = '\0';
	*ret_data = data;
	*ret_len = len;
	data = NULL;
	return 0;
}

int store_load(struct store *store, const char *id, struct incident **ret_incident, char **ret_path, struct err *err)
{
	CLEAN(free) char *data = NULL;
	CLEAN(free) char *path = NULL;
	CLEAN(fd) int fd = -1;
	size_t len = 0;
	int r = store_find(store, id, &fd, &path, err);

	if (r < 0)
		return r;
	r = read_file(fd, "incident.json", O_NOFOLLOW, FACTS_BYTES_MAX, &data, &len);
	if (r < 0)
		return err_sys(err, r, "cannot read '%s/incident.json'", path);
	r = facts_read(data, len, ret_incident, err);
	if (r < 0)
		return err_wrap(err, r, "cannot read '%s/incident.json'", path);
	if (ret_path) {
		*ret_path = path;
		path = NULL;
	}
	return 0;
}

int store_load_path(const char *path, struct incident **ret_incident, struct err *err)
{
	CLEAN(free) char *data = NULL;
	CLEAN(free) char *inside = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		text_setf(&inside, "%s/incident.json", path);
	r = read_file(AT_FDCWD, inside ? inside : path, 0, FACTS_BYTES_MAX, &data, &len);
	if (r < 0)
		return err_sys(err, r, "cannot read '%s'", inside ? inside : path);
	r = facts_read(data, len, ret_incident, err);
	return r < 0 ? err_wrap(err, r, "cannot read '%s'", inside ? inside : path) : 0;
}

int store_remove(struct store *store, const char *id, struct err *err)
{
	CLEAN(free) char *path = NULL;
	CLEAN(fd) int fd = -1;
	int r = store_find(store, id, &fd, &path, err);

	if (r < 0)
		return r;
	r = remove_dir(store->dir_fd, strrchr(path, '/') + 1, fd);
	if (r == -ENOTEMPTY)
		return err_say(err, -EINVAL, "cannot remove '%s': there is a folder in it that reqtrap did not make",
			       path);
	return r < 0 ? err_sys(err, r, "cannot remove '%s'", path) : 0;
}

/* --- pages --- */

static int write_page(struct store_entry *entry, const struct report_format *format, const struct incident *incident,
		      struct err *err)
{
	struct buf page;
	int r;

	buf_init(&page, REPORT_BYTES_MAX);
	r = format->render(incident, &page, err);
	if (r == 0)
		r = store_write(entry, format->file, page.data ? page.data : "", page.len, err);
	buf_done(&page);
	return r;
}

int store_write_pages(struct store_entry *entry, const struct incident *incident, struct err *err)
{
	struct incident *back = NULL;
	struct buf json;
	int r;

	buf_init(&json, FACTS_BYTES_MAX);
	r = facts_write(incident, &json, err);
	if (r == 0)
		r = facts_read(json.data, json.len, &back, err);
	buf_done(&json);
	for (size_t n = 0; r == 0 && n < report_format_count; n++)
		r = report_formats[n].file ? write_page(entry, &report_formats[n], back, err) : 0;
	incident_free(back);
	return r;
}
