// SPDX-License-Identifier: MIT
/* Rejected: the oldest first, whatever it is (one noisy path would push out the only trace
 * of a rare failure), and reading each incident to learn its rule: the folder's name says
 * enough. Trap: a disk that others fill must not cost the newest incident, which is the
 * one that somebody waits for. */
#include "store_keep.h"

#include "ktime.h"
#include "store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

/* All incidents of one METHOD-path. */
struct kind {
	uint64_t count, bytes;
};

struct kept {
	const struct store_row *row;
	const char *name; /* of its kind, the end of the folder's name */
	struct kind *kind;
	uint64_t bytes, wall_ns;
	bool gone, busy, measured;
};

struct shelf {
	struct store *store;
	int fd;
	struct kept *kept; /* newest first */
	struct kind *kind;
	size_t count, left;
	uint64_t bytes;
	struct store_pruned *pruned;
};

static int open_dir(struct store *store)
{
	return open(store_path(store), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* '20261122T151547.600Z-ID-METHOD-path' */
static uint64_t name_time(const char *name)
{
	struct tm tm = { 0 };
	unsigned int ms;
	time_t seconds;

	if (sscanf(name, "%4d%2d%2dT%2d%2d%2d.%3uZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
		   &tm.tm_sec, &ms) != 7)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	seconds = timegm(&tm);
	return seconds > 0 ? (uint64_t)seconds * NSEC_PER_SEC + ms * NSEC_PER_MSEC : 0;
}

/* Opens and looks at each file in it: for those only of which it matters. */
static void measure(struct shelf *shelf, struct kept *kept)
{
	CLEAN(fd)
	int fd = kept->measured ? -1
				: openat(shelf->fd, kept->row->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEAN(dir) DIR *dir = NULL;
	const struct dirent *e;
	struct stat st;

	if (kept->measured)
		return;
	kept->measured = true;
	kept->busy = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0; /* somebody writes at it */
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		return;
	take_fd(&fd);
	while ((e = readdir(dir))) {
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			kept->bytes += (uint64_t)st.st_blocks * 512;
	}
	kept->kind->bytes += kept->bytes;
	shelf->bytes += kept->bytes;
}

static void take_off(struct shelf *shelf, struct kept *kept)
{
	measure(shelf, kept);
	if (kept->busy)
		return;
	if (store_remove(shelf->store, kept->row->id, NULL) < 0) {
		kept->busy = true; /* a folder of somebody else's in it, say */
		return;
	}
	kept->gone = true;
	kept->kind->count--;
	kept->kind->bytes -= kept->bytes;
	shelf->left--;
	shelf->bytes -= kept->bytes;
	shelf->pruned->removed++;
	shelf->pruned->bytes += kept->bytes;
}

static bool may_go(const struct shelf *shelf, size_t i)
{
	return i > 0 && !shelf->kept[i].gone && !shelf->kept[i].busy;
}

/* The oldest of the greediest kind; NULL: nothing may go. */
static struct kept *greediest(const struct shelf *shelf, bool by_count)
{
	struct kept *found = NULL;
	uint64_t most = 0;

	for (size_t i = shelf->count; i-- > 0;) { /* oldest first: of equals the older stays found */
		const struct kind *kind = shelf->kept[i].kind;
		uint64_t weight = by_count ? kind->count : kind->bytes;

		if (may_go(shelf, i) && (!found || weight > most)) {
			found = &shelf->kept[i];
			most = weight;
		}
	}
	return found;
}

static bool disk_short(const struct shelf *shelf, const struct store_keep *keep)
{
	struct statvfs st;
	uint64_t wanted;

	if ((!keep->free_bytes && !keep->free_percent) || statvfs(store_path(shelf->store), &st) < 0)
		return false;
	wanted = keep->free_percent ? (uint64_t)st.f_blocks / 100 * keep->free_percent * st.f_frsize : keep->free_bytes;
	return (uint64_t)st.f_bavail * st.f_frsize < wanted;
}

static void prune(struct shelf *shelf, const struct store_keep *keep, uint64_t wall_ns)
{
	struct kept *next;

	for (size_t i = 0; keep->max_age_ns && i < shelf->count; i++) {
		if (may_go(shelf, i) && shelf->kept[i].wall_ns && shelf->kept[i].wall_ns + keep->max_age_ns < wall_ns)
			take_off(shelf, &shelf->kept[i]);
	}
	for (;;) {
		bool many = keep->files && shelf->left > keep->files, full = disk_short(shelf, keep), large;

		for (size_t i = 0; (keep->max_bytes || full) && i < shelf->count; i++)
			measure(shelf, &shelf->kept[i]);
		large = keep->max_bytes && shelf->bytes > keep->max_bytes;
		next = many || large || full ? greediest(shelf, many) : NULL;
		if (!next) {
			shelf->pruned->short_of_space = full;
			return;
		}
		take_off(shelf, next);
	}
}

static int by_kind(const void *a, const void *b)
{
	return strcmp((*(struct kept *const *)a)->name, (*(struct kept *const *)b)->name);
}

/* Each gets its place, its age and its kind. */
static int shelve(struct shelf *shelf, const struct store_row *rows)
{
	CLEAN(free) struct kept **sorted = calloc(shelf->count + 1, sizeof(*sorted));
	struct kind *kind = shelf->kind;

	if (!sorted || !shelf->kept || !shelf->kind)
		return -ENOMEM;
	for (size_t i = 0; i < shelf->count; i++) {
		const char *id = strchr(rows[i].name, '-'), *name = id ? strchr(id + 1, '-') : NULL;

		shelf->kept[i] =
			(struct kept){ .row = &rows[i], .name = name ? name : "", .wall_ns = name_time(rows[i].name) };
		sorted[i] = &shelf->kept[i];
	}
	qsort(sorted, shelf->count, sizeof(*sorted), by_kind);
	for (size_t i = 0; i < shelf->count; i++) {
		if (i && strcmp(sorted[i]->name, sorted[i - 1]->name) != 0)
			kind++;
		sorted[i]->kind = kind;
		kind->count++;
	}
	return 0;
}

uint64_t store_clock_now(struct store_clock *clock, uint64_t wall_ns, uint64_t boot_ns)
{
	if (!clock->wall)
		*clock = (struct store_clock){ wall_ns, boot_ns };
	return MIN(wall_ns, clock->wall + (boot_ns - clock->boot));
}

int store_prune(struct store *store, const struct store_keep *keep, uint64_t wall_ns, struct store_pruned *ret_pruned,
		struct err *err)
{
	CLEAN(fd) int fd = open_dir(store);
	struct shelf shelf = { .store = store, .fd = fd, .pruned = ret_pruned };
	struct store_row *rows = NULL;
	int r = fd < 0 ? err_sys(err, -errno, "cannot look into '%s'", store_path(store))
		       : store_list(store, &rows, &shelf.count, err);

	*ret_pruned = (struct store_pruned){ 0 };
	if (r < 0)
		return r;
	shelf.left = shelf.count;
	shelf.kept = calloc(shelf.count + 1, sizeof(*shelf.kept));
	shelf.kind = calloc(shelf.count + 1, sizeof(*shelf.kind));
	r = shelve(&shelf, rows);
	if (r == 0)
		prune(&shelf, keep, wall_ns);
	else
		err_sys(err, r, "cannot look into '%s'", store_path(store));
	free(shelf.kept);
	free(shelf.kind);
	store_rows_free(rows, shelf.count);
	return r;
}

/* ---- the state ---- */

int store_state_write(struct store *store, const char *name, const void *data, size_t len, struct err *err)
{
	CLEAN(fd) int dir_fd = open_dir(store);
	CLEAN(fd) int fd = -1;
	char temp[64];
	int r;

	snprintf(temp, sizeof(temp), ".%s.new", name);
	if (dir_fd >= 0) {
		unlinkat(dir_fd, temp, 0);
		fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	r = fd < 0 ? -errno : write_all(fd, data, len);
	if (r == 0 && renameat(dir_fd, temp, dir_fd, name) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "cannot write '%s/%s'", store_path(store), name) : 0;
}

int store_state_read(struct store *store, const char *name, char **ret_text, size_t *ret_len, struct err *err)
{
	CLEAN(fd) int dir_fd = open_dir(store);
	CLEAN(fd) int fd = dir_fd < 0 ? -1 : openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	CLEAN(free) char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot read '%s/%s'", store_path(store), name);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)STORE_STATE_MAX)
		return err_say(err, -EINVAL, "'%s/%s' is no file of ours", store_path(store), name);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_sys(err, -ENOMEM, "cannot read '%s/%s'", store_path(store), name);
	n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return err_sys(err, -errno, "cannot read '%s/%s'", store_path(store), name);
	text[n] = '\0';
	*ret_len = (size_t)n;
	*ret_text = text;
	text = NULL;
	return 0;
}
