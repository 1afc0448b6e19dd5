// SPDX-License-Identifier: MIT
/* The main file and those of rules.d beside it. Two levels: the main one is the
 * administrator's; one in rules.d may be a site owner's, who is not trusted with more
 * than rules. Rejected: one bad file that makes all of them count for nothing, for then
 * each site owner decides about the administrator's rules. Trap: a file is judged by its
 * descriptor, never by its name, which may be another file by then. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int config_load_fd(int fd, const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err)
{
	CLEAN(free) char *text = malloc(max + 1);
	size_t len = 0;

	if (!text)
		return err_sys(err, -ENOMEM, "cannot read '%s'", path);
	for (;;) {
		ssize_t n = read(fd, text + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "cannot read '%s'", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return err_say(err, -E2BIG, "cannot read '%s': longer than %zu KiB", path, max >> 10);
	}
	*ret_text = text;
	*ret_len = len;
	text = NULL;
	return 0;
}

static int open_at(int dir_fd, const char *name, int flags)
{
	return openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
}

int config_load(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err)
{
	CLEAN(fd) int fd = open_at(AT_FDCWD, path, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot read '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_sys(err, -EISDIR, "cannot read '%s'", path);
	return config_load_fd(fd, path, max, ret_text, ret_len, err);
}

static bool others_write(const struct stat *st)
{
	return !S_ISCHR(st->st_mode) && !S_ISFIFO(st->st_mode) && st->st_mode & (S_IWGRP | S_IWOTH);
}

static bool is_somebody_elses(const struct stat *st)
{
	return st->st_uid != 0 && st->st_uid != geteuid();
}

/* 'text' is, or may become, what is in the file of 'st'. */
static int judge_main(const char *path, const struct stat *st, const char *text, size_t len, struct rules *ret_rules,
		      struct buf *problems, struct err *err)
{
	int code;

	if (others_write(st))
		return err_say(err, -EPERM, "'%s' is not to be trusted: others may write to it (try 'chmod go-w')",
			       path);
	code = config_parse_main(path, text, len, ret_rules, problems, err);
	if (code == 0 && ret_rules->actions_enabled && is_somebody_elses(st)) {
		rules_free(ret_rules);
		code = err_say(err, -EPERM,
			       "'%s' is not to be trusted with actions: it is user %u's, neither root's nor ours", path,
			       st->st_uid);
	}
	return code;
}

/* ---- rules.d ---- */

/* Where it is; -1 in *ret_fd where there is none. 'problems' gets why it is not read. */
static void open_sites(const char *path, int *ret_fd, struct rules *rules, struct buf *problems)
{
	CLEAN(free) char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	CLEAN(fd) int parent = -1;
	struct stat st = { 0 };
	const char *why = NULL;
	int fd;

	if (slash)
		slash[slash == dir] = '\0';
	parent = open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = parent < 0 ? -1 : open_at(parent, CONFIG_SITES, O_DIRECTORY | O_NOFOLLOW);
	*ret_fd = -1;
	if (fd < 0 && (errno == ENOENT || parent < 0))
		return;
	if (fd < 0)
		why = errno == ENOTDIR || errno == ELOOP ? "it is no folder" : strerror(errno);
	else if (fstat(fd, &st) < 0)
		why = strerror(errno);
	else if (others_write(&st))
		why = "others may write to it (try 'chmod go-w')";
	else if (is_somebody_elses(&st))
		why = "it is neither root's nor ours";
	if (!why) {
		*ret_fd = fd;
		return;
	}
	if (fd >= 0)
		close(fd);
	rules->refused++;
	buf_addf(problems, CONFIG_SITES ":0: this folder is left out: %s\n", why);
}

static int is_site(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && !strcmp(entry->d_name + len - 5, ".conf");
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
}

/* As run-parts has it; and what is told of a file needs no quotes. */
static bool is_plain(const char *name)
{
	return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

static void show_name(const char *name, struct buf *out)
{
	buf_adds(out, CONFIG_SITES "/");
	for (const char *p = name; *p; p++)
		buf_add(out, *p == ':' ? "?" : p, 1);
}

static int read_site(int dir_fd, const char *name, const char *shown, struct rules *rules, struct buf *problems,
		     struct err *err)
{
	CLEAN(fd) int fd = open_at(dir_fd, name, O_NOFOLLOW);
	CLEAN(free) char *text = NULL;
	struct stat st;
	size_t len = 0;
	int code;

	if (!is_plain(name))
		return err_say(err, -EINVAL, "its name has other signs than letters, digits, '.', '_' and '-'");
	if (fd < 0 && errno == ELOOP)
		return err_say(err, -EPERM, "it is a symbolic link");
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot read it");
	if (!S_ISREG(st.st_mode))
		return err_say(err, -EPERM, "it is no regular file");
	if (others_write(&st))
		return err_say(err, -EPERM, "others than its owner may write to it (try 'chmod go-w')");
	code = config_load_fd(fd, shown, CONFIG_BYTES_MAX, &text, &len, err);
	return code < 0 ? code : config_parse_site(shown, text, len, rules, problems, err);
}

static void read_sites(int dir_fd, struct rules *rules, struct buf *problems)
{
	struct dirent **entry = NULL;
	int count = scandirat(dir_fd, ".", &entry, is_site, NULL);

	if (count < 0) {
		rules->refused++;
		buf_addf(problems, CONFIG_SITES ":0: this folder is left out: %s\n", strerror(errno));
		return;
	}
	if (count)
		qsort(entry, (size_t)count, sizeof(*entry), by_name);
	for (int i = 0; i < count; i++) {
		struct err err = { .text = "" };
		size_t before = problems->len;
		struct buf raw, shown;

		buf_init(&raw, 1024);
		buf_init(&shown, 4096);
		show_name(entry[i]->d_name, &raw);
		buf_add_escaped(&shown, raw.data ? raw.data : "", raw.len);
		buf_done(&raw);
		if (i >= CONFIG_SITES_MAX)
			err_say(&err, -E2BIG, "there are more than %d files", CONFIG_SITES_MAX);
		if (i >= CONFIG_SITES_MAX || !shown.data ||
		    read_site(dir_fd, entry[i]->d_name, shown.data, rules, problems, &err) < 0) {
			rules->refused++;
			if (problems->len == before)
				buf_addf(problems, "%s:0: %s\n", shown.data ? shown.data : CONFIG_SITES, err.text);
			buf_addf(problems, "%s:0: this file is left out\n", shown.data ? shown.data : CONFIG_SITES);
		}
		buf_done(&shown);
		free(entry[i]);
	}
	free(entry);
}

static int read_all(const char *path, const struct stat *st, const char *text, size_t len, struct rules *ret_rules,
		    struct buf *problems, struct err *err)
{
	struct rules rules = { 0 };
	int fd, code = judge_main(path, st, text, len, &rules, problems, err);

	if (code < 0)
		return code;
	open_sites(path, &fd, &rules, problems);
	if (fd >= 0) {
		read_sites(fd, &rules, problems);
		close(fd);
	}
	if (rules.count == 0) {
		rules_free(&rules);
		buf_addf(problems, "%s:1: there is no rule in it (try rule \"slow\" { time-taken = 2s })\n", path);
		return err_say(err, -EINVAL, "%s:1: there is no rule in it", path);
	}
	*ret_rules = rules;
	return 0;
}

int config_read(const char *path, struct rules *ret_rules, struct buf *problems, struct err *err)
{
	CLEAN(fd) int fd = open_at(AT_FDCWD, path, 0);
	CLEAN(free) char *text = NULL;
	struct stat st;
	size_t len = 0;
	int code;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot read '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_sys(err, -EISDIR, "cannot read '%s'", path);
	code = config_load_fd(fd, path, CONFIG_BYTES_MAX, &text, &len, err);
	return code < 0 ? code : read_all(path, &st, text, len, ret_rules, problems, err);
}

int config_read_as(const char *path, const char *text, struct rules *ret_rules, struct buf *problems, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, -errno, "cannot read '%s'", path);
	return read_all(path, &st, text, strlen(text), ret_rules, problems, err);
}

/* ---- changes ---- */

static void stamp_add(uint64_t *stamp, uint64_t value)
{
	*stamp = (*stamp ^ value) * 0x100000001b3u; /* FNV-1a's prime */
}

static void stamp_file(uint64_t *stamp, int dir_fd, const char *name)
{
	struct stat st = { 0 };

	if (fstatat(dir_fd, name, &st, dir_fd == AT_FDCWD ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		st.st_size = -1;
	for (const char *p = name; *p; p++)
		stamp_add(stamp, (uint8_t)*p);
	stamp_add(stamp, (uint64_t)st.st_ino);
	stamp_add(stamp, (uint64_t)st.st_size);
	stamp_add(stamp, (uint64_t)st.st_mode << 32 | st.st_uid);
	stamp_add(stamp, (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec);
}

uint64_t config_stamp(const char *path)
{
	struct dirent **entry = NULL;
	struct rules unused = { 0 };
	uint64_t stamp = 0xcbf29ce484222325u, all = 0;
	struct buf problems;
	int fd, count;

	stamp_file(&stamp, AT_FDCWD, path);
	buf_init(&problems, 1024);
	open_sites(path, &fd, &unused, &problems);
	stamp_add(&stamp, unused.refused);
	buf_done(&problems);
	count = fd < 0 ? 0 : scandirat(fd, ".", &entry, is_site, NULL);
	for (int i = 0; i < count; i++) {
		uint64_t one = 0;

		stamp_file(&one, fd, entry[i]->d_name);
		all += one; /* in whatever order they come */
		free(entry[i]);
	}
	free(entry);
	if (fd >= 0)
		close(fd);
	stamp_add(&stamp, all);
	return stamp;
}
