// SPDX-License-Identifier: MIT
/* The kernel knows each socket's other end (sock_diag), each lock's taker (/proc/locks) and
 * which descriptors are the same pipe; who has that descriptor is found by looking at those
 * of all processes. Rejected: SO_PEERCRED (it names who called listen, not who accepted),
 * stat of a descriptor (it hangs where its file system does). Traps: a flock belongs to the
 * open file: its taker may have ended, while a child has it still; the tables are those of
 * one network name space. */
#include "peers.h"

#include "ktime.h"
#include "proc.h"
#include "sockets.h"
#include "waits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOCKS_MAX (16u << 20) /* bytes of /proc/locks */
#define CHILDREN_MAX 65536    /* bytes of a thread's list of them */

/* ---- file locks ---- */

/* One line: '4: FLOCK  ADVISORY  WRITE 20214 fe:00:12 0 EOF'; '4: -> FLOCK ...' of those who
 * wait for it, below; in fdinfo with 'lock:' before it. */
struct lock_line {
	long id;
	bool waits;
	char type[8], mode[12];
	int pid;
	char file[40]; /* 'fe:00:12' */
	char range[48];
};

static bool lock_line_read(const char *p, struct lock_line *ret)
{
	struct lock_line l = { 0 };
	char mark[4], from[24], to[24];

	l.waits = sscanf(p, "%ld: %3s", &l.id, mark) == 2 && !strcmp(mark, "->");
	if (sscanf(p, l.waits ? "%ld: -> %7s %*s %11s %d %39s %23s %23s" : "%ld: %7s %*s %11s %d %39s %23s %23s", &l.id,
		   l.type, l.mode, &l.pid, l.file, from, to) != 7)
		return false;
	snprintf(l.range, sizeof(l.range), "%s %s", from, to);
	*ret = l;
	return true;
}

static void lock_line_put(const struct lock_line *l, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s %s", l->type, strrchr(l->file, ':') ? strrchr(l->file, ':') + 1 : l->file, l->range);
}

static uint64_t lock_line_ino(const struct lock_line *l)
{
	const char *ino = strrchr(l->file, ':');

	return ino ? strtoull(ino + 1, NULL, 10) : 0;
}

static const char *next_line(const char *p)
{
	p = strchr(p, '\n');
	return p ? p + 1 : NULL;
}

/* The lock that is in the way of this process's wait; ino 0: for any file. */
static bool lock_in_the_way(pid_t waiter, uint64_t ino, struct lock_line *ret)
{
	CLEAN(free) char *text = NULL;
	struct lock_line l;
	long id = -1;

	if (proc_file(AT_FDCWD, "/proc/locks", LOCKS_MAX, &text, NULL) < 0)
		return false;
	for (const char *p = text; p && id < 0; p = next_line(p)) {
		if (lock_line_read(p, &l) && l.waits && l.pid == waiter && (!ino || lock_line_ino(&l) == ino))
			id = l.id;
	}
	for (const char *p = text; p && id >= 0; p = next_line(p)) {
		if (lock_line_read(p, &l) && !l.waits && l.id == id) {
			*ret = l;
			return true;
		}
	}
	return false;
}

pid_t file_lock_holder(pid_t waiter)
{
	struct lock_line l;

	return lock_in_the_way(waiter, 0, &l) ? MAX(l.pid, 0) : 0;
}

/* ---- sockets ---- */

static bool find_socket(int proc_dir_fd, int fd, struct quarry *q, char *why, size_t size)
{
	CLEAN(fd) int diag = socket_diag_open(proc_dir_fd);
	struct socket_facts facts;

	if (diag < 0 || socket_read(proc_dir_fd, fd, diag, &facts) < 0 || !facts.connected)
		return false;
	if (facts.unaccepted) {
		snprintf(why, size, "nobody has accepted the connection yet");
		return false;
	}
	if (!facts.peer_ino) /* its other end is on another host, or in another name space */
		return false;
	q->ino = facts.peer_ino;
	snprintf(q->link, sizeof(q->link), "socket:[%llu]", (unsigned long long)q->ino);
	return true;
}

/* ---- what to look for ---- */

/* The line of an fdinfo file that begins with 'key:'. */
static const char *info_line(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = next_line(p)) {
		if (!strncmp(p, key, len) && p[len] == ':')
			return p + len + 1;
	}
	return NULL;
}

static char *info_read(int proc_dir_fd, int fd)
{
	char path[40];
	char *text = NULL;

	snprintf(path, sizeof(path), "fdinfo/%d", fd);
	return proc_file(proc_dir_fd, path, 1u << 20, &text, NULL) < 0 ? NULL : text;
}

static bool find_lock(int proc_dir_fd, pid_t pid, int fd, const char *link, struct quarry *q)
{
	CLEAN(free) char *info = info_read(proc_dir_fd, fd);
	const char *ino = info ? info_line(info, "ino") : NULL;
	struct lock_line l;

	q->ino = ino ? strtoull(ino, NULL, 10) : 0; /* since Linux 5.14 */
	if (lock_in_the_way(pid, q->ino, &l)) {
		q->ino = lock_line_ino(&l);
		q->record = strcmp(l.type, "FLOCK") != 0;
		q->taker = MAX(l.pid, 0);
		lock_line_put(&l, q->lock, sizeof(q->lock));
	}
	snprintf(q->what, sizeof(q->what), "%s %s", q->record ? "the record lock on" : "flock", link);
	return q->ino != 0;
}

bool quarry_find(int proc_dir_fd, pid_t pid, int fd, enum quarry_call call, struct quarry *ret_quarry, char *ret_why,
		 size_t size)
{
	struct quarry q = { .kind = QUARRY_NONE };
	char path[32], link[300];
	struct stat st;
	ssize_t n;

	ret_why[0] = '\0';
	snprintf(path, sizeof(path), "fd/%d", fd);
	n = readlinkat(proc_dir_fd, path, link, sizeof(link) - 1);
	/* the link's own mode says what its descriptor may do */
	if (n <= 0 || fstatat(proc_dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	link[n] = '\0';
	fd_describe(proc_dir_fd, fd, q.what, sizeof(q.what));
	if (call != QUARRY_BYTES) {
		q.kind = QUARRY_LOCK;
		q.record = call == QUARRY_RECORD_LOCK;
		if (!find_lock(proc_dir_fd, pid, fd, link, &q))
			return false;
	} else if (!strncmp(link, "socket:", 7)) {
		q.kind = QUARRY_SOCKET;
		if (!find_socket(proc_dir_fd, fd, &q, ret_why, size))
			return false;
	} else if (!strncmp(link, "pipe:", 5) || link[0] == '/') {
		struct statx sx;
		/* of a FIFO; the answer is not asked of a file server */
		if (link[0] == '/' &&
		    (statx(proc_dir_fd, path, AT_STATX_DONT_SYNC, STATX_TYPE, &sx) < 0 || !S_ISFIFO(sx.stx_mode)))
			return false;
		q.kind = QUARRY_PIPE;
		q.to_read = !(st.st_mode & S_IRUSR);
		snprintf(q.link, sizeof(q.link), "%s", link);
		snprintf(q.what, sizeof(q.what), link[0] == '/' ? "the pipe %s" : "the pipe", link);
	} else {
		return false;
	}
	*ret_quarry = q;
	return true;
}

/* ---- the hunt ---- */

struct hunt {
	struct quarry quarry;
	pid_t not_pid;
	DIR *proc, *fds; /* fds: of the process that it is at */
	int dir_fd;	 /* /proc/PID of that */
	pid_t pid;
	bool through, own, took; /* took: it was found with who took the lock */
	struct peer peer[PEERS_MAX];
	size_t count;
};

static bool has_lock(const struct hunt *h, int fd)
{
	CLEAN(free) char *info = info_read(h->dir_fd, fd);
	const struct quarry *q = &h->quarry;

	for (const char *p = info; p && *p; p = next_line(p)) {
		struct lock_line l;
		char text[112];

		if (strncmp(p, "lock:", 5) || !lock_line_read(p + 5, &l) || l.waits || lock_line_ino(&l) != q->ino)
			continue;
		lock_line_put(&l, text, sizeof(text));
		if (q->lock[0] ? !strcmp(q->lock, text) : q->record == (strcmp(l.type, "FLOCK") != 0))
			return true;
	}
	return false;
}

static bool is_it(const struct hunt *h, const char *name)
{
	char link[300];
	struct stat st;
	ssize_t n = readlinkat(dirfd(h->fds), name, link, sizeof(link) - 1);

	if (n <= 0)
		return false;
	link[n] = '\0';
	if (h->quarry.kind == QUARRY_LOCK)
		return !strchr(link, '[') && has_lock(h, atoi(name));
	if (strcmp(link, h->quarry.link) != 0)
		return false;
	return h->quarry.kind != QUARRY_PIPE || (fstatat(dirfd(h->fds), name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
						 st.st_mode & (h->quarry.to_read ? S_IRUSR : S_IWUSR));
}

static void leave(struct hunt *h)
{
	if (h->fds)
		closedir(h->fds);
	if (h->dir_fd >= 0)
		close(h->dir_fd);
	h->fds = NULL;
	h->dir_fd = -1;
}

static bool enter(struct hunt *h, pid_t pid)
{
	int fd;

	leave(h);
	h->pid = pid;
	h->dir_fd = proc_dir_open(pid);
	fd = h->dir_fd < 0 ? -1 : openat(h->dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->fds = fd >= 0 ? fdopendir(fd) : NULL;
	if (!h->fds && fd >= 0)
		close(fd);
	return h->fds;
}

static void found(struct hunt *h, int fd)
{
	if (h->pid == h->not_pid) {
		h->own = true;
		return;
	}
	if (h->pid == h->quarry.taker) {
		h->peer[0] = (struct peer){ h->pid, fd };
		h->count = 1;
		h->took = h->through = true; /* of those who share it, it is the one */
	} else if (h->count < PEERS_MAX) {
		h->peer[h->count++] = (struct peer){ h->pid, fd };
	} else {
		h->count++;
	}
}

struct hunt *hunt_new(const struct quarry *quarry, pid_t not_pid)
{
	struct hunt *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	*h = (struct hunt){ .quarry = *quarry, .not_pid = not_pid, .dir_fd = -1 };
	h->proc = opendir("/proc");
	h->through = !h->proc;
	if (quarry->taker && quarry->record) { /* a record lock is its process's and nobody else's */
		h->pid = quarry->taker;
		found(h, -1);
		h->through = true;
	} else if (quarry->taker) {
		enter(h, quarry->taker); /* the likeliest first */
	}
	return h;
}

/* The next process; false: there is none. */
static bool next_process(struct hunt *h)
{
	const struct dirent *d;

	while ((d = readdir(h->proc))) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		if (enter(h, atoi(d->d_name)))
			return true;
	}
	return false;
}

bool hunt_go_on(struct hunt *h, uint64_t budget_ns)
{
	uint64_t until_ns = now_ns() + budget_ns;

	while (!h->through) {
		const struct dirent *d = h->fds ? readdir(h->fds) : NULL;

		if (d && d->d_name[0] != '.' && is_it(h, d->d_name)) {
			found(h, atoi(d->d_name));
			d = NULL; /* once is enough */
		}
		if (!d && !h->through && !next_process(h))
			h->through = true;
		if (now_ns() > until_ns)
			break;
	}
	return h->through;
}

size_t hunt_peers(const struct hunt *h, const struct peer **ret_peers)
{
	*ret_peers = h->peer;
	return MIN(h->count, (size_t)PEERS_MAX);
}

size_t hunt_count(const struct hunt *h)
{
	return h->count;
}

bool hunt_own(const struct hunt *h)
{
	return h->own;
}

void hunt_free(struct hunt *h)
{
	if (!h)
		return;
	leave(h);
	if (h->proc)
		closedir(h->proc);
	free(h);
}

/* ---- threads and children ---- */

struct space {
	uint64_t ino; /* of the pid name space */
	pid_t ns_tid, pid, tid;
};

static uint64_t pid_space(int proc_dir_fd)
{
	char link[64];
	ssize_t n = readlinkat(proc_dir_fd, "ns/pid", link, sizeof(link) - 1);
	unsigned long long ino = 0;

	link[MAX(n, 0)] = '\0';
	return sscanf(link, "pid:[%llu]", &ino) == 1 ? ino : 0;
}

static int look_in(pid_t pid, void *arg)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	CLEAN(free) pid_t *tids = NULL;
	struct space *s = arg;
	size_t count = 0;

	if (dir_fd < 0 || pid_space(dir_fd) != s->ino || proc_threads(dir_fd, &tids, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct proc_status st;
		char path[48];

		snprintf(path, sizeof(path), "task/%d/status", tids[i]);
		if (proc_status_read(dir_fd, path, &st) < 0 || st.ns_tid != s->ns_tid)
			continue;
		s->pid = pid;
		s->tid = tids[i];
		return 1;
	}
	return 0;
}

pid_t thread_in_namespace(pid_t pid, pid_t ns_tid, pid_t *ret_pid)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	CLEAN(fd) int self_fd = proc_dir_open(getpid());
	CLEAN(fd) int thread_fd = -1;
	struct space s = { .ns_tid = ns_tid };
	struct proc_status st;

	if (dir_fd < 0 || ns_tid <= 0)
		return 0;
	s.ino = pid_space(dir_fd);
	if (!s.ino || s.ino != pid_space(self_fd)) {
		if (s.ino)
			proc_each(look_in, &s);
	} else {
		/* /proc/TID is there for each thread, though it is not listed */
		thread_fd = proc_dir_open(ns_tid);
		if (thread_fd >= 0 && proc_status_read(thread_fd, "status", &st) == 0) {
			s.tid = ns_tid;
			s.pid = st.tgid;
		}
	}
	*ret_pid = s.pid;
	return s.tid;
}

bool memory_shared(int proc_dir_fd, uint64_t addr, pid_t other)
{
	CLEAN(fd) int other_fd = proc_dir_open(other);
	struct proc_maps maps = { 0 };
	const struct proc_map *map;
	struct proc_file file = { 0 };
	bool found = false;

	if (other_fd < 0 || proc_maps_read(proc_dir_fd, false, &maps, NULL) < 0)
		return false;
	map = proc_maps_find(&maps, addr);
	if (map && map->shared)
		file = *proc_map_file(&maps, map);
	proc_maps_free(&maps);
	if (!file.inode || proc_maps_read(other_fd, false, &maps, NULL) < 0)
		return false;
	for (size_t i = 0; i < maps.count && !found; i++) {
		const struct proc_file *f = maps.map[i].shared ? proc_map_file(&maps, &maps.map[i]) : NULL;

		found = f && f->inode == file.inode && f->dev_major == file.dev_major && f->dev_minor == file.dev_minor;
	}
	proc_maps_free(&maps);
	return found;
}

size_t children_of(int proc_dir_fd, pid_t ns_pid, pid_t *ret_first)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t threads = 0, count = 0, level = 0;
	struct proc_status st;

	*ret_first = 0;
	if (proc_threads(proc_dir_fd, &tids, &threads) < 0 || proc_status_read(proc_dir_fd, "status", &st) < 0)
		return 0;
	while (st.ns_tids[level + 1])
		level++;
	for (size_t i = 0; i < threads; i++) {
		CLEAN(free) char *text = NULL;
		char path[48];
		int used;
		pid_t pid;

		snprintf(path, sizeof(path), "task/%d/children", tids[i]);
		if (proc_file(proc_dir_fd, path, CHILDREN_MAX, &text, NULL) < 0)
			continue;
		for (const char *p = text; sscanf(p, " %d%n", &pid, &used) == 1; p += used) {
			CLEAN(fd) int fd = ns_pid ? proc_dir_open(pid) : -1;

			if (ns_pid &&
			    (fd < 0 || proc_status_read(fd, "status", &st) < 0 || st.ns_tids[level] != ns_pid))
				continue;
			if (!count++)
				*ret_first = pid;
		}
	}
	return count;
}
