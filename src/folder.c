// SPDX-License-Identifier: MIT
/* The path is walked part by part by descriptors, and symlinks by hand. Rejected:
 * realpath and a look afterwards (somebody's link would be followed, and swapped in
 * between), openat2 with RESOLVE_NO_SYMLINKS (a /home or /var that root moved by
 * symlink is ordinary). Trap: a link in /proc is more than its text: /proc/1/root
 * reads '/', and leads into a container. */
#include "folder.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define LINKS_MAX 40 /* as the kernel has it */

struct walk {
	const struct folder_wish *wish;
	int fd;			 /* where it is */
	char at[PATH_MAX];	 /* the same as text; "" is the root */
	char rest[2 * PATH_MAX]; /* still to go */
	unsigned int links;
};

static bool trusted(const struct folder_wish *wish, uid_t uid)
{
	const char *sudoer = wish->sudoer && geteuid() == 0 ? getenv("SUDO_UID") : NULL;
	char *end;

	if (uid == 0 || uid == geteuid())
		return true;
	return sudoer && *sudoer && strtoul(sudoer, &end, 10) == uid && !*end;
}

/* Writable by its group, but that is its owner alone, as where each user has a group
 * of the same name. An access list would show as group rights. */
static bool private_group(int fd, const struct stat *st)
{
	const struct passwd *pw = getpwuid(st->st_uid);
	const struct group *gr = pw && pw->pw_gid == st->st_gid ? getgrgid(st->st_gid) : NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return gr && !gr->gr_mem[0] && !strcmp(gr->gr_name, pw->pw_name) &&
	       getxattr(path, "system.posix_acl_access", NULL, 0) < 0;
}

static int check(const struct walk *w, struct err *err)
{
	const char *at = w->at[0] ? w->at : "/", *subject = w->wish->subject;
	struct stat st;

	if (!w->wish->safe)
		return 0;
	if (fstat(w->fd, &st) < 0)
		return err_sys(err, -errno, "cannot look at '%s'", at);
	if (!trusted(w->wish, st.st_uid))
		return err_say(err, -EPERM,
			       "%s is refused: '%s' belongs to uid %u, who could swap it; use a folder under your own "
			       "or root's",
			       subject, at, st.st_uid);
	if (st.st_mode & S_ISVTX || !(st.st_mode & 022))
		return 0;
	if (!(st.st_mode & 002) && private_group(w->fd, &st))
		return 0;
	return err_say(err, -EPERM,
		       "%s is refused: others may write to '%s' (mode %04o) and could swap what is in it; 'chmod go-w' "
		       "it or use another",
		       subject, at, st.st_mode & 07777);
}

static int too_long(const struct walk *w, struct err *err)
{
	return err_say(err, -ENAMETOOLONG, "cannot open %s: its path is too long", w->wish->subject);
}

static void go_to(struct walk *w, int fd)
{
	close(w->fd);
	w->fd = fd;
}

/* Puts a link's text in front of the rest. */
static int follow(struct walk *w, const char *text, struct err *err)
{
	char rest[sizeof(w->rest)];

	if (++w->links > LINKS_MAX)
		return err_sys(err, -ELOOP, "cannot open %s", w->wish->subject);
	if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", text, w->rest) >= sizeof(rest))
		return too_long(w, err);
	memcpy(w->rest, rest, sizeof(rest));
	if (text[0] == '/') {
		int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (root < 0)
			return err_sys(err, -errno, "cannot open '/'");
		go_to(w, root);
		w->at[0] = '\0';
	}
	return 0;
}

/* Where a folder that a link in /proc led to lies, if there is a way from here. */
static bool path_of(int fd, const struct stat *st, char *buf, size_t size)
{
	struct stat there;
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	buf[MAX(n, 0)] = '\0';
	return buf[0] == '/' && stat(buf, &there) == 0 && there.st_dev == st->st_dev && there.st_ino == st->st_ino;
}

static int enter(struct walk *w, int fd, const char *name, struct err *err)
{
	size_t len = strlen(w->at);

	if ((size_t)snprintf(w->at + len, sizeof(w->at) - len, "/%s", name) >= sizeof(w->at) - len) {
		close(fd);
		return too_long(w, err);
	}
	go_to(w, fd);
	return 0;
}

static int cannot_enter(const struct walk *w, const char *name, int code, struct err *err)
{
	return err_sys(err, code, "cannot open %s: '%s/%s'", w->wish->subject, w->at, name);
}

/* One part of the path. */
static int step(struct walk *w, const char *name, struct err *err)
{
	CLEAN(fd) int fd = -1;
	char text[PATH_MAX];
	struct statfs fs;
	struct stat st;
	ssize_t n;

	if (!strcmp(name, ".."))
		*(strrchr(w->at, '/') ?: w->at) = '\0';
	fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cannot_enter(w, name, -errno, err);
	if (!strcmp(name, "..")) {
		go_to(w, take_fd(&fd));
		return 0;
	}
	if (S_ISLNK(st.st_mode)) {
		if (w->wish->safe && !trusted(w->wish, st.st_uid))
			return err_say(err, -EPERM,
				       "%s is refused: '%s/%s' is a symbolic link of uid %u; name the folder itself",
				       w->wish->subject, w->at, name, st.st_uid);
		if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
			n = readlinkat(fd, "", text, sizeof(text) - 1);
			text[MAX(n, 0)] = '\0';
			return n > 0 ? follow(w, text, err) : cannot_enter(w, name, n < 0 ? -errno : -ENOENT, err);
		}
		close(fd);
		fd = openat(w->fd, name, O_PATH | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return cannot_enter(w, name, -errno, err);
		if (S_ISDIR(st.st_mode) && path_of(fd, &st, text, sizeof(text)))
			return follow(w, text, err);
	}
	if (!S_ISDIR(st.st_mode))
		return cannot_enter(w, name, -ENOTDIR, err);
	return enter(w, take_fd(&fd), name, err);
}

static int begin(struct walk *w, const char *path, struct err *err)
{
	char here[PATH_MAX] = "";

	if (path[0] != '/' && !getcwd(here, sizeof(here)))
		return err_sys(err, -errno, "cannot open %s: the current folder", w->wish->subject);
	if (path[0] != '/' && here[0] != '/')
		return err_say(err, -ENOENT, "cannot open %s: the current folder cannot be reached by a path",
			       w->wish->subject);
	if ((size_t)snprintf(w->rest, sizeof(w->rest), "%s/%s", here, path) >= sizeof(w->rest))
		return too_long(w, err);
	w->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return w->fd < 0 ? err_sys(err, -errno, "cannot open '/'") : 0;
}

int folder_open(const char *path, const struct folder_wish *wish, int *ret_fd, char **ret_path, struct err *err)
{
	struct walk w = { .wish = wish, .fd = -1 };
	int r = begin(&w, path, err);

	while (r == 0 && (r = check(&w, err)) == 0) {
		size_t skip = strspn(w.rest, "/"), len = strcspn(w.rest + skip, "/");
		char name[NAME_MAX + 1];

		if (len == 0)
			break;
		if (len > NAME_MAX) {
			r = too_long(&w, err);
			break;
		}
		memcpy(name, w.rest + skip, len);
		name[len] = '\0';
		memmove(w.rest, w.rest + skip + len, strlen(w.rest + skip + len) + 1);
		if (strcmp(name, ".") != 0)
			r = step(&w, name, err);
	}
	if (r == 0) {
		*ret_path = strdup(w.at[0] ? w.at : "/");
		if (*ret_path)
			*ret_fd = take_fd(&w.fd);
		else
			r = err_sys(err, -ENOMEM, "cannot open %s", wish->subject);
	}
	if (w.fd >= 0)
		close(w.fd);
	return r;
}

/* ---- while processes run ---- */

/* One that nobody but us (or root, for the first one) can put something into. */
static int enter_ours(int at_fd, const char *path, bool root_may)
{
	CLEAN(fd) int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != geteuid() && !(root_may && st.st_uid == 0)) || st.st_mode & 022)
		return -EPERM;
	return take_fd(&fd);
}

int folder_runtime(const char *runtime_dir, const char *name, bool make)
{
	const char *const parts[] = { "reqtrap", name };
	const char *base = runtime_dir ? runtime_dir : geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	int fd;

	if (!base || base[0] != '/')
		return -ENOENT;
	fd = enter_ours(AT_FDCWD, base, true);
	for (size_t i = 0; i < ARRAY_LEN(parts) && fd >= 0; i++) {
		int next = make && mkdirat(fd, parts[i], 0700) < 0 && errno != EEXIST ? -errno
										      : enter_ours(fd, parts[i], false);

		close(fd);
		fd = next;
	}
	return fd;
}
