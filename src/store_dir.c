// SPDX-License-Identifier: MIT
/* The store's parent in safe hands (folder.c), and the last part ours alone. Rejected:
 * checking only the last folder: who owns a parent swaps it. */
#include "store_dir.h"

#include "folder.h"
#include "incident.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The folder above the last part of 'dir', and that part; one that ends in '.' or '..'
 * is entered to learn its name. */
static int open_parent(const char *dir, const struct folder_wish *wish, int *ret_fd, char **ret_path, struct err *err)
{
	CLEAN(free) char *copy = NULL;
	CLEAN(free) char *parent = NULL;
	CLEAN(fd) int fd = -1;
	const char *last;
	char *slash;
	size_t len;
	int r;

	text_set(&copy, dir);
	if (!copy)
		return err_sys(err, -ENOMEM, "cannot open store '%s'", dir);
	for (len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	slash = strrchr(copy, '/');
	last = slash ? slash + 1 : copy;
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) {
		r = folder_open(copy, wish, &fd, &parent, err);
		if (r == 0 && !strcmp(parent, "/"))
			r = err_say(err, -EINVAL, "store '%s' is refused: name a folder of its own", dir);
		return r < 0 ? r : open_parent(parent, wish, ret_fd, ret_path, err);
	}
	if (slash)
		*slash = '\0';
	r = folder_open(!slash ? "." : *copy ? copy : "/", wish, &fd, &parent, err);
	if (r < 0)
		return r;
	text_setf(ret_path, "%s/%s", strcmp(parent, "/") ? parent : "", last);
	if (!*ret_path)
		return err_sys(err, -ENOMEM, "cannot open store '%s'", dir);
	*ret_fd = take_fd(&fd);
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

static int open_last(int parent, const char *path, bool create, int *ret_fd, struct err *err)
{
	const char *last = strrchr(path, '/') + 1;
	CLEAN(fd) int fd = -1;
	int r;

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
	CLEAN(free) char *subject = NULL;
	CLEAN(fd) int parent = -1;
	int r;

	text_setf(&subject, "store '%s'", dir);
	r = !subject ? err_sys(err, -ENOMEM, "cannot open store '%s'", dir)
		     : open_parent(dir, &(struct folder_wish){ .subject = subject, .safe = create }, &parent, &path,
				   err);
	if (r == 0)
		r = open_last(parent, path, create, ret_fd, err);
	if (r == 0) {
		*ret_path = path;
		path = NULL;
	}
	return r;
}
