// SPDX-License-Identifier: MIT
/* Descriptors first, they change at any moment; then one walk over the descriptors of all
 * processes finds the other ends and those who share the listening socket, in slices between
 * the loop's other work. Rejected: the process that SO_PEERCRED names (who called listen, not
 * who accepted). Trap: a worker of a pool is who has the listening socket, and so has the
 * parent that opened it. */
#include "scene.h"

#include "ktime.h"
#include "proc.h"
#include "query.h"
#include "sockets.h"
#include "waits.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#define ENDS_MAX 64  /* descriptors shown */
#define FDS_MAX 4096 /* ... and looked at */
#define WORKERS_MAX 512
#define SLICE_NS NSEC_PER_MSEC
#define CPU_LEAST_NS (60 * NSEC_PER_MSEC) /* between two readings of the threads' CPU */

/* Whose other end is looked for. */
struct wanted {
	uint64_t ino;
	bool pipe;   /* the same inode in another process is the other end */
	ssize_t end; /* index into the scene's; -1: the listening socket, whose sharers are workers */
	pid_t found;
	size_t more;
};

struct worker {
	pid_t pid, ppid;
};

struct scene_look {
	struct scene_spec spec;
	struct source *soon;
	struct proc proc;
	struct wanted *wanted;
	size_t wanted_count;
	struct worker *worker;
	size_t worker_count, workers_left;
	DIR *processes, *fds;
	pid_t at; /* whose descriptors are being looked at */
	bool scanned;
};

static struct scene *scene_of(const struct scene_look *look)
{
	return &look->spec.incident->scene;
}

static void PRINTF(2, 3) note(const struct scene_look *look, const char *fmt, ...)
{
	CLEAN(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		strings_add(&scene_of(look)->note, text);
}

/* ---- names ---- */

/* 'postgres: shop shop [local] SELECT 4711' where the program says so itself, else its
 * command's name. */
static void put_title(pid_t pid, char *buf, size_t size)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	CLEAN(free) char *title = NULL;
	char name[64];
	size_t len;

	proc_name(pid, name, sizeof(name));
	if (dir_fd >= 0 && proc_file(dir_fd, "cmdline", 200, &title, NULL) == 0) {
		len = strlen(title);
		while (len && title[len - 1] == ' ')
			title[--len] = '\0';
		if (strstr(title, ": ") && title[0] != '/' && title[0] != '-') {
			snprintf(buf, size, "%s", title);
			return;
		}
	}
	snprintf(buf, size, "%s", name);
}

/* ---- descriptors ---- */

/* Is it among those that 'fd 7 (...)', 'fds 3 4 (...)' names? */
static bool is_listed(const char *text, int fd)
{
	int one, used;

	if (!text || (strncmp(text, "fd ", 3) && strncmp(text, "fds ", 4)))
		return false;
	for (text += strcspn(text, " "); sscanf(text, " %d%n", &one, &used) == 1; text += used) {
		if (one == fd)
			return true;
	}
	return false;
}

static bool is_waited(const struct scene_look *look, int fd)
{
	const struct analysis *a = &look->spec.incident->analysis;

	for (size_t i = 0; i < a->thread_count; i++) {
		if (a->thread[i].holder || a->thread[i].tid == look->spec.incident->holder_tid)
			return is_listed(a->thread[i].waits_for, fd) || fd == look->spec.waited_fd;
	}
	return fd == look->spec.waited_fd;
}

static void want(struct scene_look *look, uint64_t ino, bool pipe, ssize_t end)
{
	struct wanted *w = list_add(&look->wanted, &look->wanted_count, sizeof(*w));

	if (w)
		*w = (struct wanted){ .ino = ino, .pipe = pipe, .end = end };
}

uint16_t scene_port(const char *what)
{
	static const struct {
		const char *part;
		uint16_t port;
	} names[] = { { "/.s.PGSQL.", 5432 }, { "mysql", 3306 }, { "mariadb", 3306 }, { "redis", 6379 } };
	const char *to = what ? strstr(what, " -> ") : NULL;

	if (to)
		return (uint16_t)atoi(strrchr(to, ':') ? strrchr(to, ':') + 1 : "");
	for (size_t i = 0; what && !strncmp(what, "unix:", 5) && i < ARRAY_LEN(names); i++) {
		if (strstr(what, names[i].part))
			return names[i].port;
	}
	return 0;
}

/* Worth a line? Other files are only so while they are waited for. */
static bool tells(int dir_fd, int fd, char *link, size_t size)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%d", fd);
	n = readlinkat(dir_fd, path, link, size - 1);
	link[MAX(n, 0)] = '\0';
	return n > 0 && (!strncmp(link, "socket:[", 8) || !strncmp(link, "pipe:[", 6));
}

/* The listening socket that the request's connection was accepted from? */
static bool accepted_from(const struct socket_facts *mine, const struct socket_facts *f)
{
	if (!f->listening || !mine->ino)
		return false;
	if (mine->family == AF_UNIX)
		return f->family == AF_UNIX && mine->path[0] && !strcmp(mine->path, f->path);
	return f->family != AF_UNIX && f->port == mine->port;
}

static void listens(struct scene_look *look, const struct socket_facts *f, const char *what)
{
	struct pool *pool = &scene_of(look)->pool;
	size_t end = strcspn(what, "(");

	while (end && what[end - 1] == ' ')
		end--;
	text_setf(&pool->listen, "%.*s", (int)end, what);
	if (f->queues_known) {
		pool->queue = f->recv_queue;
		pool->backlog = f->send_queue;
	}
	want(look, f->ino, false, -1);
}

/* The holder waits for somebody to accept its connection: whoever might. */
static void called(struct scene_look *look, int diag, const struct socket_facts *f, const char *what)
{
	struct pool *pool = &scene_of(look)->pool;
	const char *to = strstr(what, " -> ");
	struct socket_facts listener;
	char name[420];

	if (pool->listen || !socket_listener(diag, f, &listener))
		return;
	snprintf(name, sizeof(name), "%s%s", to ? "tcp " : "", to ? to + 4 : what);
	listens(look, &listener, name);
	pool->called = true;
}

static struct open_end *end_add(struct scene_look *look, int fd, size_t *left)
{
	struct scene *scene = scene_of(look);
	struct open_end *end;

	if (scene->end_count >= ENDS_MAX) {
		++*left;
		return NULL;
	}
	end = list_add(&scene->end, &scene->end_count, sizeof(*end));
	if (!end)
		return NULL;
	end->fd = fd;
	end->waited = is_waited(look, fd);
	return end;
}

static void socket_end(struct scene_look *look, int fd, int diag, const struct socket_facts *mine, size_t *left)
{
	struct socket_facts f;
	char what[400];
	struct open_end *end;
	const char *usual;

	if (socket_read(look->proc.dir_fd, fd, diag, &f) < 0 ||
	    fd_describe(look->proc.dir_fd, fd, what, sizeof(what)) < 0)
		return;
	if ((look->spec.work ? accepted_from(mine, &f) : f.listening) && !scene_of(look)->pool.listen)
		listens(look, &f, what);
	end = end_add(look, fd, left);
	if (!end)
		return;
	text_set(&end->what, what);
	end->unaccepted = f.unaccepted;
	if (end->waited && f.unaccepted)
		called(look, diag, &f, what);
	end->mine = mine->ino && f.ino == mine->ino;
	usual = end->mine || f.listening ? NULL : query_usual(scene_port(what));
	if (usual)
		text_setf(&end->protocol, "%s, by its port", usual);
	if (f.queues_known && !f.listening) {
		end->recv_queue = f.recv_queue;
		end->send_queue = f.send_queue;
	}
	if (f.peer_ino)
		want(look, f.peer_ino, false, end - scene_of(look)->end);
}

static void other_end(struct scene_look *look, int fd, const char *link, size_t *left)
{
	char what[PATH_MAX + 16];
	struct open_end *end;

	if (fd_describe(look->proc.dir_fd, fd, what, sizeof(what)) < 0)
		return;
	end = end_add(look, fd, left);
	if (!end)
		return;
	text_set(&end->what, what);
	if (!strncmp(link, "pipe:[", 6))
		want(look, strtoull(link + 6, NULL, 10), true, end - scene_of(look)->end);
}

/* What is waited for and the request's own first: more than ENDS_MAX are only counted. */
static int by_weight(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return x[1] != y[1] ? y[1] - x[1] : x[0] - y[0];
}

/* Pairs of a descriptor and its weight. */
static size_t fds_list(struct scene_look *look, int (*ret)[2], size_t most)
{
	int fd = openat(look->proc.dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	size_t count = 0, left = 0;
	const struct dirent *d;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (d = readdir(dir))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		if (count == most) {
			left++;
			continue;
		}
		ret[count][0] = atoi(d->d_name);
		ret[count][1] = 2 * is_waited(look, ret[count][0]) + (ret[count][0] == look->spec.fd);
		count++;
	}
	if (left)
		note(look, "%zu of its descriptors were not looked at", left);
	qsort(ret, count, sizeof(ret[0]), by_weight);
	return count;
}

static void ends_read(struct scene_look *look)
{
	CLEAN(fd) int diag = socket_diag_open(look->proc.dir_fd);
	int(*fd)[2] = calloc(FDS_MAX, sizeof(fd[0]));
	size_t count = fd ? fds_list(look, fd, FDS_MAX) : 0, left = 0;
	struct socket_facts mine = { 0 };

	if (diag < 0)
		note(look, "the other ends of its sockets cannot be asked for: %s", strerror(-diag));
	if (look->spec.fd >= 0 && (socket_read(look->proc.dir_fd, look->spec.fd, diag, &mine) < 0 ||
				   (look->spec.ino && mine.ino != look->spec.ino)))
		mine = (struct socket_facts){ 0 };
	for (size_t i = 0; i < count; i++) {
		char link[300];
		bool told = tells(look->proc.dir_fd, fd[i][0], link, sizeof(link));

		if (told && link[0] == 's')
			socket_end(look, fd[i][0], diag, &mine, &left);
		else if (told || (link[0] && fd[i][1] >= 2))
			other_end(look, fd[i][0], link, &left);
	}
	free(fd);
	if (left)
		note(look, "%zu more sockets and pipes are open", left);
}

/* ---- who has the other ends ---- */

/* A child of the holder that was made since the request began: our frozen copy of it, or what it
 * started itself. Either has the socket, neither is a worker. */
static bool is_offspring(const struct scene_look *look, const struct proc_stat *stat)
{
	uint64_t tick_ns = NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK), age_ns = now_ns() - look->spec.since_ns;
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	return stat->ppid == look->proc.pid &&
	       (stat->start_ticks + 1) * tick_ns + age_ns >= (uint64_t)up.tv_sec * NSEC_PER_SEC + (uint64_t)up.tv_nsec;
}

static void worker_add(struct scene_look *look, pid_t pid)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	struct proc_stat stat = { 0 };
	struct worker *w;

	if (look->worker_count && look->worker[look->worker_count - 1].pid == pid)
		return; /* it has it twice */
	if (look->worker_count == WORKERS_MAX) {
		look->workers_left++;
		return;
	}
	if (dir_fd >= 0)
		proc_stat_read(dir_fd, "stat", &stat);
	if (is_offspring(look, &stat))
		return;
	w = list_add(&look->worker, &look->worker_count, sizeof(*w));
	if (!w)
		return;
	*w = (struct worker){ .pid = pid, .ppid = stat.ppid };
}

static void seen(struct scene_look *look, const char *link)
{
	bool pipe = !strncmp(link, "pipe:[", 6), socket = !strncmp(link, "socket:[", 8);
	uint64_t ino = pipe || socket ? strtoull(link + (pipe ? 6 : 8), NULL, 10) : 0;

	for (size_t i = 0; ino && i < look->wanted_count; i++) {
		struct wanted *w = &look->wanted[i];

		if (w->ino != ino || w->pipe != pipe)
			continue;
		if (w->end < 0)
			worker_add(look, look->at);
		else if (w->pipe && look->at == look->proc.pid)
			continue;
		else if (!w->found)
			w->found = look->at;
		else if (w->found != look->at)
			w->more++;
	}
}

static bool next_process(struct scene_look *look)
{
	const struct dirent *d;
	char path[48];
	int fd;

	if (look->fds)
		closedir(look->fds);
	look->fds = NULL;
	while ((d = readdir(look->processes))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		look->at = atoi(d->d_name);
		snprintf(path, sizeof(path), "%d/fd", look->at);
		fd = openat(dirfd(look->processes), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		look->fds = fd >= 0 ? fdopendir(fd) : NULL;
		if (look->fds)
			return true;
		if (fd >= 0)
			close(fd);
	}
	return false;
}

/* True: through. */
static bool scan(struct scene_look *look)
{
	uint64_t until_ns = now_ns() + SLICE_NS;
	const struct dirent *d;
	char link[300];
	ssize_t n;

	if (!look->processes)
		look->processes = look->wanted_count ? opendir("/proc") : NULL;
	if (!look->processes || (!look->fds && !next_process(look)))
		return true;
	do {
		for (int i = 0; i < 32; i++) {
			d = readdir(look->fds);
			if (!d)
				break;
			n = readlinkat(dirfd(look->fds), d->d_name, link, sizeof(link) - 1);
			link[MAX(n, 0)] = '\0';
			seen(look, link);
		}
		if (!d && !next_process(look))
			return true;
	} while (now_ns() < until_ns);
	return false;
}

static void peers_name(struct scene_look *look)
{
	struct scene *scene = scene_of(look);
	char title[200], request[300];

	for (size_t i = 0; i < look->wanted_count; i++) {
		const struct wanted *w = &look->wanted[i];
		struct open_end *end = w->end >= 0 ? &scene->end[w->end] : NULL;

		if (!end || !w->found)
			continue;
		put_title(w->found, title, sizeof(title));
		text_setf(&end->peer, "%s %d", title, w->found);
		if (w->more)
			text_setf(&end->peer, "%s and %zu more", end->peer, w->more);
		if (!end->mine && !w->pipe && look->spec.work &&
		    look->spec.work(look->spec.arg, w->found, w->ino, request, sizeof(request)))
			text_set(&end->peer_request, request);
	}
}

/* ---- the pool ---- */

/* Who is the parent of another one only hands the socket down. */
static bool is_master(const struct scene_look *look, const struct worker *w)
{
	for (size_t i = 0; i < look->worker_count; i++) {
		if (look->worker[i].ppid == w->pid)
			return true;
	}
	return false;
}

static bool waits_for_work(const char *call)
{
	return call && (!strncmp(call, "accept", 6) || wait_kind_of(call) == WAIT_EVENTS);
}

static const char *call_of_holder(const struct scene_look *look)
{
	const struct analysis *a = &look->spec.incident->analysis;

	for (size_t i = 0; i < a->thread_count; i++) {
		if (a->thread[i].tid == look->spec.incident->holder_tid)
			return a->thread[i].call;
	}
	return NULL;
}

/* What its main thread does, or the request's, without a stop: 'in flock, waits for file /x'.
 * False: it waits for work, or is gone. */
static bool put_doing(const struct scene_look *look, pid_t pid, bool busy, char *buf, size_t size)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	struct proc_stat stat = { 0 };
	CLEAN(fd) int mem_fd = dir_fd < 0 ? -1 : openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	struct memory mem = memory_of_fd(&mem_fd);
	struct proc_syscall now = { .nr = -2 };
	const char *call;
	char what[400] = "", stat_path[48], call_path[48];
	pid_t tid = pid == look->proc.pid ? look->spec.incident->holder_tid : pid;
	struct wait wait;

	snprintf(stat_path, sizeof(stat_path), "task/%d/stat", tid);
	snprintf(call_path, sizeof(call_path), "task/%d/syscall", tid);
	if (dir_fd < 0 || proc_stat_read(dir_fd, stat_path, &stat) < 0 ||
	    proc_syscall_read(dir_fd, call_path, &now) < 0) {
		snprintf(buf, size, "it has ended");
		return false;
	}
	/* one that was stopped meanwhile goes on with its call under another name */
	now.nr = wait_restarted(&mem, now.nr, now.pc);
	call = syscall_name(now.nr);
	if (!call && pid == look->proc.pid) /* only now does it go on, where it stood */
		call = call_of_holder(look);
	if (!busy && waits_for_work(call)) {
		snprintf(buf, size, "idle (%s)", call);
		return false;
	}
	if (!call) {
		snprintf(buf, size, stat.state == 'R' ? "on CPU" : "in no system call (%c)", stat.state);
		return true;
	}
	if (now.nr < 0) {
		snprintf(buf, size, "in %s", call);
		return true;
	}
	wait_describe(&mem, now.nr, now.arg, &wait);
	if (wait.fd >= 0 && wait.kind != WAIT_EVENTS && fd_describe(dir_fd, wait.fd, what, sizeof(what)) < 0)
		what[0] = '\0';
	/* a connection is each one's own: what they have in common is whom it leads to */
	if (strstr(what, " -> "))
		memmove(what, strstr(what, " -> ") + 4, strlen(strstr(what, " -> ") + 4) + 1);
	snprintf(buf, size, "%sin %s%s%s", busy || !look->spec.work ? "" : "no request that is known; ", call,
		 what[0] ? ", waits for " : "", what);
	return true;
}

static void group_add(struct pool *pool, const char *what, const char *request)
{
	struct pool_group *g;

	for (size_t i = 0; i < pool->group_count; i++) {
		g = &pool->group[i];
		if (!strcmp(g->what, what)) {
			g->count++;
			if (!g->place && request[0])
				text_set(&g->place, request);
			return;
		}
	}
	g = list_add(&pool->group, &pool->group_count, sizeof(*g));
	if (!g)
		return;
	g->count = 1;
	text_set(&g->what, what);
	if (request[0])
		text_set(&g->place, request);
	if (!g->what)
		pool->group_count--;
}

static int larger_first(const void *a, const void *b)
{
	const struct pool_group *x = a, *y = b;

	return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->what, y->what);
}

static void pool_read(struct scene_look *look)
{
	struct pool *pool = &scene_of(look)->pool;
	char name[200], what[600];

	for (size_t i = 0; i < look->worker_count; i++) {
		const struct worker *w = &look->worker[i];
		char request[300] = "";
		bool watched = look->spec.work, works;
		bool busy = watched && look->spec.work(look->spec.arg, w->pid, 0, request, sizeof(request));

		busy |= watched && w->pid == look->proc.pid;
		if (!busy && is_master(look, w))
			continue;
		if (!pool->workers++)
			put_title(w->pid, name, sizeof(name));
		works = put_doing(look, w->pid, busy, what, sizeof(what));
		pool->busy += watched ? busy : works;
		group_add(pool, what, request);
	}
	if (!pool->workers)
		return;
	qsort(pool->group, pool->group_count, sizeof(pool->group[0]), larger_first);
	text_set(&pool->name, name);
	if (look->workers_left)
		note(look, "%zu more workers of the pool were not looked at", look->workers_left);
}

/* ---- CPU of its threads ---- */

static void cpu_read(struct scene_look *look)
{
	struct analysis *a = &look->spec.incident->analysis;
	const struct moment *before = look->spec.before;
	uint64_t over_ns = before ? now_ns() - before->at_ns : 0;

	for (size_t i = 0; before && i < before->cpu_count; i++) {
		const struct thread_cpu *then = &before->cpu[i];
		struct thread_cpu now;

		for (size_t n = 0; n < a->thread_count; n++) {
			struct thread *t = &a->thread[n];

			if (t->tid != then->tid || !thread_cpu_read(look->proc.dir_fd, t->tid, &now) ||
			    now.start_ticks != then->start_ticks)
				continue;
			t->cpu_ns = now.cpu_ns - MIN(then->cpu_ns, now.cpu_ns);
			t->cpu_over_ns = over_ns;
		}
	}
}

/* ---- one step after the other ---- */

static void on_soon(void *arg, uint32_t events UNUSED)
{
	struct scene_look *look = arg;
	const struct moment *before = look->spec.before;
	/* what a single thread used, its request's times say already */
	uint64_t due_ns = before && before->cpu_count > 1 ? before->at_ns + CPU_LEAST_NS : 0;

	loop_remove(look->spec.loop, look->soon);
	look->soon = NULL;
	look->scanned = look->scanned || scan(look);
	if (!look->scanned || now_ns() < due_ns) {
		loop_add_timer(look->spec.loop, look->scanned ? due_ns : 1, 0, on_soon, look, &look->soon);
		return;
	}
	peers_name(look);
	pool_read(look);
	if (due_ns)
		cpu_read(look);
	scene_of(look)->looked = true;
	look->spec.done(look->spec.arg);
}

struct scene_look *scene_begin(const struct scene_spec *spec)
{
	struct scene_look *look = calloc(1, sizeof(*look));

	if (!look)
		return NULL;
	look->spec = *spec;
	scene_done(&spec->incident->scene);
	if (proc_open(&look->proc, spec->incident->holder_pid, NULL) < 0) {
		free(look);
		return NULL;
	}
	ends_read(look);
	host_read(spec->log, look->proc.dir_fd, spec->since_ns, &scene_of(look)->host);
	if (loop_add_timer(spec->loop, 1, 0, on_soon, look, &look->soon) < 0) {
		scene_free(look);
		return NULL;
	}
	return look;
}

void scene_free(struct scene_look *look)
{
	if (!look)
		return;
	loop_remove(look->spec.loop, look->soon);
	if (look->fds)
		closedir(look->fds);
	if (look->processes)
		closedir(look->processes);
	proc_close(&look->proc);
	free(look->wanted);
	free(look->worker);
	free(look);
}
