// SPDX-License-Identifier: MIT
/* Written beside it, synced, renamed, the folder synced: whoever reads the file, or falls
 * over at any moment, has the old one or the new one. Rejected: writing into the file (a full
 * disk leaves half of it). Trap: rename would put a file in the place of a symbolic link. */
#include "config_save.h"

#include "child.h"
#include "config.h"
#include "ktime.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SUFFIX ".new"

/* Of the child: two texts, and what became of it. */
enum { WAS_FD = 3, TEXT_FD, DONE_FD };

struct outcome {
	int code; /* config_save's; never written: it died */
	bool told;
	struct err err;
};

/* Owner and mode of the old one. Who may not give a file away keeps it, in the group if
 * possible. */
static int dress(int fd, const struct stat *as)
{
	if (fchown(fd, as->st_uid, as->st_gid) < 0) {
		if (errno != EPERM)
			return -errno;
		if (fchown(fd, (uid_t)-1, as->st_gid) < 0 && errno != EPERM)
			return -errno;
	}
	return fchmod(fd, as->st_mode & 07777) < 0 ? -errno : 0;
}

static int is_still(int dir_fd, const char *name, const char *path, const char *was, struct stat *ret_st,
		    struct err *err)
{
	CLEAN(fd) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	CLEAN(free) char *text = NULL;
	size_t len;
	int r;

	if (fd < 0 || fstat(fd, ret_st) < 0)
		return err_sys(err, -errno, "cannot read '%s'", path);
	if (!S_ISREG(ret_st->st_mode))
		return err_say(err, -EINVAL, "'%s' is no regular file", path);
	r = config_load_fd(fd, path, CONFIG_BYTES_MAX, &text, &len, err);
	if (r < 0)
		return r;
	if (len != strlen(was) || memcmp(text, was, len) != 0)
		return err_say(err, -EBUSY, "'%s' has changed meanwhile", path);
	return 0;
}

static int replace(int dir_fd, const char *name, const char *path, const char *was, const char *text, struct err *err)
{
	char temp[NAME_MAX + 1];
	CLEAN(fd) int fd = -1;
	struct stat st;
	int r = is_still(dir_fd, name, path, was, &st, err);

	if (r < 0)
		return r;
	if (snprintf(temp, sizeof(temp), "%s" SUFFIX, name) >= (int)sizeof(temp))
		return err_sys(err, -ENAMETOOLONG, "cannot write beside '%s'", path);
	unlinkat(dir_fd, temp, 0); /* of somebody who died */
	fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, -errno, "cannot write beside '%s'", path);
	r = write_all(fd, text, strlen(text));
	if (r == 0)
		r = dress(fd, &st);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		err_sys(err, r, "cannot write '%s" SUFFIX "'", path);
	else
		r = is_still(dir_fd, name, path, was, &st, err); /* the disk may have taken its time */
	if (r == 0 && renameat(dir_fd, temp, dir_fd, name) < 0)
		r = err_sys(err, -errno, "cannot replace '%s'", path);
	if (r < 0)
		unlinkat(dir_fd, temp, 0);
	return r;
}

int config_save(const char *path, const char *was, const char *text, struct err *err)
{
	CLEAN(free) char *target = realpath(path, NULL);
	CLEAN(fd) int dir_fd = -1;
	char *slash;
	int r;

	if (!target)
		return err_sys(err, -errno, "cannot find '%s'", path);
	slash = strrchr(target, '/');
	*slash = '\0';
	dir_fd = open(slash == target ? "/" : target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_sys(err, -errno, "cannot open the folder '%s'", target);
	r = replace(dir_fd, slash + 1, path, was, text, err);
	if (r == 0 && fsync(dir_fd) < 0 && errno != EINVAL) {
		err_sys(err, -errno, "it is saved, but the folder of '%s' cannot be synced", path);
		return 1;
	}
	return r;
}

/* ---- by a child ---- */

static char *text_of(int fd)
{
	CLEAN(free) char *text = NULL;
	struct err err;
	size_t len;

	if (config_load_fd(fd, "", CONFIG_BYTES_MAX, &text, &len, &err) < 0)
		return NULL;
	text[len] = '\0';
	return strdup(text);
}

int config_save_main(int argc, char **argv)
{
	struct outcome outcome = { .code = -EINVAL, .told = true };
	CLEAN(free) char *was = text_of(WAS_FD);
	CLEAN(free) char *text = text_of(TEXT_FD);

	if (argc == 2 && was && text)
		outcome.code = config_save(argv[1], was, text, &outcome.err);
	return pwrite(DONE_FD, &outcome, sizeof(outcome), 0) == (ssize_t)sizeof(outcome) ? 0 : 1;
}

/* A text of which the child reads from the begin. */
static int memory_of(const char *text)
{
	CLEAN(fd) int fd = memfd_create("reqtrap-rules", MFD_CLOEXEC);

	if (fd < 0 || write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return take_fd(&fd);
}

int config_save_apart(const char *path, const char *was, const char *text, uint64_t wait_ns, struct err *err)
{
	CLEAN(fd) int was_fd = memory_of(was);
	CLEAN(fd) int text_fd = memory_of(text);
	CLEAN(fd) int done_fd = memory_of("");
	const struct child_fd fds[] = { { was_fd, WAS_FD }, { text_fd, TEXT_FD }, { done_fd, DONE_FD } };
	char name[] = "reqtrap", verb[] = CONFIG_SAVE_VERB, *argv[] = { name, verb, strdupa(path), NULL };
	const struct child_spec spec = { .argv = argv, .fds = fds, .fd_count = ARRAY_LEN(fds), .own_session = true };
	struct outcome outcome = { .told = false };
	struct child child;
	int r;

	if (was_fd < 0 || text_fd < 0 || done_fd < 0)
		return err_sys(err, -errno, "cannot save '%s'", path);
	r = child_start(&spec, &child, err);
	if (r < 0)
		return r;
	if (child_reap_until(&child, now_ns() + wait_ns) == -ETIMEDOUT) {
		child_leave(&child);
		return err_say(err, -EINPROGRESS,
			       "the disk of '%s' takes long: see in a few seconds whether it is saved", path);
	}
	if (pread(done_fd, &outcome, sizeof(outcome), 0) != (ssize_t)sizeof(outcome) || !outcome.told)
		return err_say(err, -EIO, "cannot save '%s': the one who was to do it died", path);
	*err = outcome.err;
	return outcome.code;
}
