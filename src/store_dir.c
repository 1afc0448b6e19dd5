// SPDX-License-Identifier: MIT
/* Is this folder in safe hands? Rejected: checking only the last folder (who owns a
 * parent swaps it), and openat2 RESOLVE_NO_SYMLINKS on the whole path (a /home or
 * /var that root moved by symlink is ordinary): the parent is resolved once, then
 * walked part by part without following, and each part must be ours or root's. */
#include "store_dir.h"

#include "incident.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static bool ours_or_roots(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* May somebody else put another folder in the place of one below this? */
static int check_parent(int fd, const char *path, size_t len, struct err *err)
{
	int show = len ? (int)len : 1;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot look at '%.*s'", show, path);
	if (!ours_or_roots(st.st_uid))
		return err_say(err, -EPERM,
			       "store '%s' is refused: '%.*s' belongs to uid %u, who could swap it; use a folder "
			       "under your own or root's",
			       path, show, path, st.st_uid);
	if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))
		return err_say(err, -EPERM,
			       "store '%s' is refused: others may write to '%.*s' (mode %04o) and could swap it; "
			       "'chmod go-w' it or use another",
			       path, show, path, st.st_mode & 07777);
	return 0;
}

/* The folder that 'path' (absolute, no symlinks expected) ends in, its parent being
 * walked part by part. */
static int walk(const char *path, bool strict, int *ret_parent_fd, struct err *err)
{
	CLEAN(fd) int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *at = path;

	while (fd >= 0) {
		const char *end;
		char part[NAME_MAX + 1];
		int r = strict ? check_parent(fd, path, (size_t)(at - path), err) : 0, next;

		if (r < 0)
			return r;
		at += strspn(at, "/");
		end = strchrnul(at, '/');
		if (!*end)
			break; /* the last part is the caller's */
		snprintf(part, sizeof(part), "%.*s", (int)(end - at), at);
		next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(err, -errno, "cannot enter '%.*s'", (int)(end - path), path);
		close(fd);
		fd = next;
		at = end;
	}
	if (fd < 0)
		return err_sys(err, -errno, "cannot open '/'");
	*ret_parent_fd = take_fd(&fd);
	return 0;
}

/* 'dir' as an absolute path whose parent has no symlinks. */
static int resolve(const char *dir, char **ret_path, struct err *err)
{
	CLEAN(free) char *copy = strdup(dir);
	CLEAN(free) char *parent = NULL;
	char *slash, *path = NULL;
	size_t len = copy ? strlen(copy) : 0;

	if (!copy)
		return err_sys(err, -ENOMEM, "cannot open store '%s'", dir);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (!strcmp(slash ? slash + 1 : copy, "") || !strcmp(slash ? slash + 1 : copy, ".") ||
	    !strcmp(slash ? slash + 1 : copy, "..")) {
		parent = realpath(copy, NULL);
		if (!parent)
			return err_sys(err, -errno, "cannot open store '%s'", dir);
		if (!strcmp(parent, "/"))
			return err_say(err, -EINVAL, "store '%s' is refused: name a folder of its own", dir);
		*ret_path = parent;
		parent = NULL;
		return 0;
	}
	if (slash)
		*slash = '\0';
	parent = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!parent)
		return err_sys(err, -errno, "cannot open store '%s': the folder above it", dir);
	text_setf(&path, "%s/%s", strcmp(parent, "/") ? parent : "", slash ? slash + 1 : copy);
	if (!path)
		return err_sys(err, -ENOMEM, "cannot open store '%s'", dir);
	*ret_path = path;
	return 0;
}

/* Missing folders above the default one ('~/.local/state'). */
void store_dir_make_parents(const char *path)
{
	CLEAN(free) char *copy = strdup(path);

	for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return; /* told when it is opened */
		*slash = '/';
	}
}

static int check_own(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot look at store '%s'", path);
	if (st.st_uid != geteuid())
		return err_say(err, -EPERM, "store '%s' is refused: it belongs to uid %u, not to you", path, st.st_uid);
	if (st.st_mode & 022)
		return err_say(err, -EPERM,
			       "store '%s' is refused: others may write to it (mode %04o); 'chmod 0700' it", path,
			       st.st_mode & 07777);
	return 0;
}

static int open_last(const char *path, bool create, int *ret_fd, struct err *err)
{
	const char *last = strrchr(path, '/') + 1;
	CLEAN(fd) int parent = -1;
	CLEAN(fd) int fd = -1;
	int r = walk(path, create, &parent, err);

	if (r < 0)
		return r;
	if (create && mkdirat(parent, last, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "cannot make store '%s'", path);
	fd = openat(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		struct stat st;
		int code = -errno;

		if (fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
			return err_say(err, -EPERM,
				       "store '%s' is refused: it is a symbolic link; name the folder itself", path);
		if (code == -ENOENT)
			return err_say(err, code,
				       "no store at '%s': nothing has been trapped there yet (another one: -o DIR)",
				       path);
		return err_sys(err, code, "cannot open store '%s'", path);
	}
	r = create ? check_own(fd, path, err) : 0;
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

int store_dir_open(const char *dir, bool create, int *ret_fd, char **ret_path, struct err *err)
{
	CLEAN(free) char *path = NULL;
	int r = resolve(dir, &path, err);

	if (r == 0)
		r = open_last(path, create, ret_fd, err);
	if (r == 0) {
		*ret_path = path;
		path = NULL;
	}
	return r;
}
