// SPDX-License-Identifier: MIT
/* Names to processes. Trap: comm is cut at 15 bytes and a process can choose it, so
 * the executable's own name counts too. Never matches the asking process. */
#include "target.h"

#include "incident.h"
#include "proc.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>

static int add(struct targets *targets, pid_t pid)
{
	pid_t *at;

	for (size_t i = 0; i < targets->count; i++) {
		if (targets->pid[i] == pid)
			return 0;
	}
	at = list_add(&targets->pid, &targets->count, sizeof(*at));
	if (!at)
		return -ENOMEM;
	*at = pid;
	return 0;
}

void targets_done(struct targets *targets)
{
	free(targets->pid);
	*targets = (struct targets){ 0 };
}

struct search {
	struct targets *targets;
	const char *name;
	const uint64_t *inodes;
	size_t inode_count;
	size_t found, unreadable;
	bool any_case;
	pid_t group;
	uid_t uid;
};

/* b is what was typed: a name, or a pattern if it has a '*' or '?'. */
static bool same(const struct search *search, const char *a, const char *b, size_t len)
{
	if (strpbrk(b, "*?"))
		return fnmatch(b, a, search->any_case ? FNM_CASEFOLD | FNM_NOESCAPE : FNM_NOESCAPE) == 0;
	return (search->any_case ? strncasecmp : strncmp)(a, b, len) == 0;
}

static bool exe_named(pid_t pid, const struct search *search)
{
	char path[64], exe[PATH_MAX];
	const char *base;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	base = base ? base + 1 : exe;
	if (!strncmp(base + strlen(base) - MIN(strlen(base), (size_t)10), " (deleted)", 10))
		exe[n - 10] = '\0';
	return same(search, base, search->name, SIZE_MAX);
}

static int match_name(pid_t pid, void *arg)
{
	struct search *search = arg;
	char path[64];
	CLEAN(free) char *comm = NULL;

	if (pid == getpid())
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (proc_file(AT_FDCWD, path, 256, &comm, NULL) < 0)
		return 0;
	comm[strcspn(comm, "\n")] = '\0';
	/* php-fpm8.2 calls itself 'php-fpm8.2', its users call it 'php-fpm'. */
	if (!same(search, comm, search->name, SIZE_MAX) && !exe_named(pid, search)) {
		size_t n = strlen(search->name);

		if (!same(search, comm, search->name, n) || !comm[n] ||
		    strspn(comm + n, "0123456789.") != strlen(comm + n))
			return 0;
	}
	search->found++;
	return add(search->targets, pid);
}

static int find_name(struct targets *targets, const char *name, bool any_case, struct err *err)
{
	struct search search = { .targets = targets, .name = name, .any_case = any_case };
	int r = proc_each(match_name, &search);

	if (r < 0)
		return err_sys(err, r, "cannot look for '%s'", name);
	if (!search.found)
		return err_say(err, -ESRCH, "no process is called '%s'", name);
	return 0;
}

/* Inodes of the listening sockets of a port, out of /proc/net/tcp and tcp6. */
static int listening(unsigned int port, uint64_t **ret_inodes, size_t *ret_count)
{
	static const char *const files[] = { "/proc/net/tcp", "/proc/net/tcp6" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		CLEAN(free) char *text = NULL;
		int r = proc_file(AT_FDCWD, files[i], 64u << 20, &text, NULL);

		if (r < 0)
			continue;
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			unsigned int local, state;
			unsigned long long inode;
			uint64_t *at;

			if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*d %*d %llu", &local,
				   &state, &inode) != 3)
				continue;
			if (local != port || state != 0x0a)
				continue;
			at = list_add(ret_inodes, ret_count, sizeof(*at));
			if (!at)
				return -ENOMEM;
			*at = inode;
		}
	}
	return 0;
}

static int match_socket(pid_t pid, void *arg)
{
	struct search *search = arg;
	char path[64], link[64];
	CLEAN(dir) DIR *dir = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir) {
		search->unreadable += errno == EACCES;
		return 0;
	}
	while ((e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		unsigned long long inode;

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (sscanf(link, "socket:[%llu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < search->inode_count; i++) {
			if (search->inodes[i] == inode) {
				search->found++;
				return add(search->targets, pid);
			}
		}
	}
	return 0;
}

static int find_port(struct targets *targets, const char *word, struct err *err)
{
	CLEAN(free) uint64_t *inodes = NULL;
	struct search search = { .targets = targets };
	char *end;
	unsigned long port = strtoul(word + 1, &end, 10);
	int r;

	if (end == word + 1 || *end || port == 0 || port > 65535)
		return err_say(err, -EINVAL, "'%s' is not a port (try ':8080')", word);
	r = listening((unsigned int)port, &inodes, &search.inode_count);
	search.inodes = inodes;
	if (r == 0 && search.inode_count)
		r = proc_each(match_socket, &search);
	if (r < 0)
		return err_sys(err, r, "cannot look for who listens on port %lu", port);
	if (!search.inode_count)
		return err_say(err, -ESRCH, "nobody listens on port %lu", port);
	if (!search.found)
		return err_say(err, search.unreadable ? -EPERM : -ESRCH, "cannot see who listens on port %lu%s", port,
			       search.unreadable ? ": other users' processes need CAP_SYS_PTRACE (run as root)" : "");
	return 0;
}

static int read_procs(struct targets *targets, int dir_fd, int depth, size_t *found)
{
	CLEAN(free) char *text = NULL;
	CLEAN(dir) DIR *dir = NULL;
	struct dirent *e;
	int fd, r = proc_file(dir_fd, "cgroup.procs", 16u << 20, &text, NULL);

	for (char *line = r == 0 ? strtok(text, "\n") : NULL; line && r == 0; line = strtok(NULL, "\n")) {
		if (atoi(line) > 0) {
			(*found)++;
			r = add(targets, atoi(line));
		}
	}
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	while (dir && depth < 16 && (e = readdir(dir))) {
		CLEAN(fd) int sub = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0)
			read_procs(targets, sub, depth + 1, found);
	}
	return r;
}

static int find_cgroup(struct targets *targets, const char *word, const char *path, struct err *err)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd" };
	size_t found = 0;
	bool exists = false;

	for (size_t i = 0; i < ARRAY_LEN(roots) && !found; i++) {
		char full[PATH_MAX];
		CLEAN(fd) int fd = -1;

		if (!strncmp(path, "/sys/fs/cgroup", 14))
			snprintf(full, sizeof(full), "%s", path);
		else
			snprintf(full, sizeof(full), "%s/%s", roots[i], path + (*path == '/'));
		fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		exists = true;
		read_procs(targets, fd, 0, &found);
	}
	if (!exists)
		return err_say(err, -ESRCH, "there is no cgroup '%s'", word);
	if (!found)
		return err_say(err, -ESRCH, "no process is in cgroup '%s'", word);
	return 0;
}

static int match_group(pid_t pid, void *arg)
{
	struct search *search = arg;

	if (pid == getpid() || getpgid(pid) != search->group)
		return 0;
	search->found++;
	return add(search->targets, pid);
}

static int find_group(struct targets *targets, const char *word, const char *number, struct err *err)
{
	struct search search = { .targets = targets };
	char *end;
	long group = strtol(number, &end, 10);
	int r;

	if (end == number || *end || group <= 0 || group > INT_MAX)
		return err_say(err, -EINVAL, "'%s' is not a process group (try 'pgid:4711')", word);
	search.group = (pid_t)group;
	r = proc_each(match_group, &search);
	if (r < 0)
		return err_sys(err, r, "cannot look for '%s'", word);
	return search.found ? 0 : err_say(err, -ESRCH, "no process is in group %ld", group);
}

static int match_user(pid_t pid, void *arg)
{
	struct search *search = arg;
	CLEAN(free) char *text = NULL;
	unsigned int uid;
	char path[64];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (pid == getpid() || proc_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nUid:"); /* of /proc/PID the owner may be root's, this is not */
	if (!line || sscanf(line, "\nUid: %*u %u", &uid) != 1 || uid != search->uid)
		return 0;
	search->found++;
	return add(search->targets, pid);
}

static int find_user(struct targets *targets, const char *word, const char *name, struct err *err)
{
	struct search search = { .targets = targets };
	char *end;
	unsigned long uid = strtoul(name, &end, 10);
	const struct passwd *user = end == name || *end ? getpwnam(name) : NULL;
	int r;

	if (!user && (end == name || *end || uid >= UINT_MAX))
		return err_say(err, -EINVAL, "'%s': there is no such user", word);
	search.uid = user ? user->pw_uid : (uid_t)uid;
	r = proc_each(match_user, &search);
	if (r < 0)
		return err_sys(err, r, "cannot look for '%s'", word);
	return search.found ? 0 : err_say(err, -ESRCH, "no process runs as '%s'", name);
}

int target_find(struct targets *targets, const char *word, struct err *err)
{
	char *end;
	long pid = strtol(word, &end, 10);

	if (!*word)
		return err_say(err, -EINVAL, "an empty word names no process");
	if (end != word && !*end) {
		struct proc proc;
		char link[8];
		int r = pid > 0 && pid <= INT_MAX ? proc_open(&proc, (pid_t)pid, err)
						  : err_say(err, -EINVAL, "'%s' is not a process id", word);

		if (r < 0)
			return r;
		if (readlinkat(proc.dir_fd, "exe", link, sizeof(link)) < 0 && errno == ENOENT) {
			proc_close(&proc);
			return err_say(err, -EINVAL, "process %ld is a kernel thread, not a program", pid);
		}
		proc_close(&proc);
		return add(targets, (pid_t)pid) < 0 ? err_sys(err, -ENOMEM, "cannot list the targets") : 0;
	}
	if (*word == ':')
		return find_port(targets, word, err);
	if (!strncmp(word, "cgroup:", 7))
		return find_cgroup(targets, word, word + 7, err);
	if (!strncmp(word, "user:", 5))
		return find_user(targets, word, word + 5, err);
	if (!strncmp(word, "pgid:", 5))
		return find_group(targets, word, word + 5, err);
	if (!strncmp(word, "unit:", 5)) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "system.slice/%s%s", word + 5, strchr(word + 5, '.') ? "" : ".service");
		return find_cgroup(targets, word, path, err);
	}
	return find_name(targets, word, false, err);
}

int target_find_any_case(struct targets *targets, const char *name, struct err *err)
{
	size_t len = strlen(name);
	char bare[256];

	if (len > 4 && len < sizeof(bare) && !strcasecmp(name + len - 4, ".exe")) {
		snprintf(bare, sizeof(bare), "%.*s", (int)(len - 4), name);
		return find_name(targets, bare, true, err);
	}
	return find_name(targets, name, true, err);
}
