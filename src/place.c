// SPDX-License-Identifier: MIT
/* Folder and name of a dump. Rejected: a look whether the name is free, and then the
 * rename (another could take it in between): the rename itself refuses. Trap: not every
 * file system has a rename that does; there a link does, which replaces nothing either. */
#include "place.h"

#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define STALE_S 600	  /* a file without its name for so long is nobody's any more */
#define CLASHES_MAX 10000 /* numbers tried for a name that is taken */

bool place_is_file(const char *path)
{
	struct stat st;

	return path && path[0] && path[strlen(path) - 1] != '/' && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode));
}

/* A dump has its hidden name for the moment before its own one, unless we were killed just
 * then; where files cannot be without a name, while it is written. */
static unsigned int sweep(int dir_fd)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	unsigned int count = 0;
	time_t now = time(NULL);
	struct stat st;

	if (!dir && copy >= 0)
		close(copy);
	while (dir && (entry = readdir(dir))) {
		if (fnmatch(".reqtrap-[0-9]*.part*", entry->d_name, FNM_PERIOD) == 0 &&
		    fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    st.st_uid == geteuid() && now - st.st_mtime > STALE_S && unlinkat(dir_fd, entry->d_name, 0) == 0)
			count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

int place_open(const char *path, struct place *ret_place, struct err *err)
{
	CLEAN(free) char *dir = NULL;
	CLEAN(free) char *absolute = NULL;
	CLEAN(fd) int folder = -1;
	CLEAN(fd) int fd = -1;
	char subject[256];
	const char *slash, *pattern = NULL;
	int r;

	if (place_is_file(path)) {
		slash = strrchr(path, '/');
		pattern = slash ? slash + 1 : path;
		dir = slash ? strndup(path, MAX((size_t)(slash - path), (size_t)1)) : strdup(".");
	} else {
		dir = strdup(path && *path ? path : ".");
	}
	if (!dir)
		return err_sys(err, -ENOMEM, "cannot open '%s'", path ? path : ".");
	snprintf(subject, sizeof(subject), strcmp(dir, ".") ? "the folder '%s'" : "the current folder", dir);
	r = folder_open(dir, &(struct folder_wish){ .subject = subject, .safe = true, .sudoer = true }, &folder,
			&absolute, err);
	if (r < 0)
		return r;
	if (!strcmp(absolute, "/dev") || !strncmp(absolute, "/proc/", 6))
		return err_say(err, -EINVAL, "'%s' is not a place for files: a dump cannot be put there",
			       path ? path : absolute);
	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "cannot open %s", subject);
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return err_sys(err, -errno, "cannot write into the folder '%s'", absolute);
	*ret_place = (struct place){ .dir_fd = -1, .dir = absolute, .pattern = pattern, .swept = sweep(fd) };
	ret_place->dir_fd = take_fd(&fd);
	absolute = NULL;
	return 0;
}

void place_close(struct place *place)
{
	if (place->dir_fd >= 0)
		close(place->dir_fd);
	free(place->dir);
	*place = (struct place){ .dir_fd = -1 };
}

static int make_name(const struct place_name *name, unsigned int number, char *buf, size_t size, struct err *err)
{
	return dump_file_name(&name->of, number, buf, size, err);
}

/* A device, a pipe or a socket of that name is nothing to be replaced or numbered. */
static int check_name(const struct place *place, const char *name, bool replace, struct err *err)
{
	struct stat st;

	if (fstatat(place->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISREG(st.st_mode))
		return 0;
	if (!replace && (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)))
		return 0; /* it keeps its name, the dump gets a number */
	return err_say(err, -EINVAL, "'%s/%s' is %s: a dump cannot be put there", place->dir, name,
		       S_ISLNK(st.st_mode)   ? "a symbolic link"
		       : S_ISDIR(st.st_mode) ? "a folder"
					     : "not a file");
}

int place_look(const struct place *place, const struct place_name *name, char *ret_name, size_t size, struct err *err)
{
	int r = make_name(name, name->number, ret_name, size, err);

	return r < 0 ? r : check_name(place, ret_name, name->replace, err);
}

/* 0, or -EEXIST and the like. */
static int move(const struct place *place, const char *part, const char *name, bool replace)
{
	int fd = place->dir_fd;

	if (renameat2(fd, part, fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL && linkat(fd, part, fd, name, 0) == 0) {
		unlinkat(fd, part, 0);
		return 0;
	}
	if (errno == EEXIST && replace && renameat(fd, part, fd, name) == 0)
		return 0;
	return -errno;
}

int place_take(const struct place *place, const char *part, const struct place_name *name, char *ret_name, size_t size,
	       struct err *err)
{
	for (unsigned int number = name->number; number < CLASHES_MAX; number++) {
		int r = make_name(name, number, ret_name, size, err);

		if (r == 0)
			r = check_name(place, ret_name, name->replace, err);
		if (r < 0)
			return r;
		r = move(place, part, ret_name, name->replace);
		if (r == 0)
			return 0;
		if (r != -EEXIST)
			return err_sys(err, r, "cannot name the dump '%s/%s'", place->dir, ret_name);
	}
	return err_say(err, -EEXIST, "'%s' and %d numbered names after it are taken in '%s'", name->of.pattern,
		       CLASHES_MAX - 1, place->dir);
}
