// SPDX-License-Identifier: MIT
/* The slot says which object it was (inode, addresses, names of the path); the live process is
 * asked only if its descriptor is still that very object. Rejected: asking /proc for the
 * descriptor's number alone (by the trigger it may be another file's). Trap: a
 * timer, a disk or a network card ends waits too, and then the waker is whoever happened to be
 * interrupted: it counts only where nothing but a program can end the wait. */
#include "naming.h"

#include "peers.h"
#include "proc.h"
#include "waits.h"

#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS_MAX (1u << 20) /* bytes of a process's table of mounts */

struct name_row {
	pid_t pid;
	struct slot_object object;
	char *text;
};

struct naming {
	struct name_row *row;
	size_t count;
};

/* ---- files ---- */

/* Where the file system that is 'dev' has its root; '' for '/', NULL not known. */
static char *mount_point(int dir_fd, uint32_t dev)
{
	CLEAN(free) char *text = NULL;
	char want[32], at[PATH_MAX];

	if (proc_file(dir_fd, "mountinfo", MOUNTS_MAX, &text, NULL) < 0)
		return NULL;
	snprintf(want, sizeof(want), "%u:%u", dev >> 20, dev & 0xfffff);
	for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		char which[32], root[8];

		if (sscanf(p, "%*d %*d %31s %7s %4095s", which, root, at) == 3 && !strcmp(which, want) &&
		    !strcmp(root, "/"))
			return strdup(strcmp(at, "/") ? at : "");
	}
	return NULL;
}

/* The components, the last one first, as a path. */
static void put_path(const struct slot_object *o, const char *mount, char *buf, size_t size)
{
	const char *part[OBJECT_PARTS];
	size_t count = 0, at = 0, used, end = MIN((size_t)o->name_len, (size_t)OBJECT_NAME);

	while (count < MIN(o->parts, OBJECT_PARTS) && at < end) {
		part[count++] = (const char *)o->name + at;
		at += strnlen((const char *)o->name + at, end - at) + 1;
	}
	used = (size_t)snprintf(buf, size, "file %s", o->rooted && mount ? mount : "...");
	while (count-- && used < size)
		used += (size_t)snprintf(buf + used, size - used, "/%.*s", OBJECT_PART, part[count]);
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is the process's descriptor still this object? What it links to, then. */
static bool still_there(int dir_fd, const struct slot_object *o, char *link, size_t size)
{
	char path[32];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%d", o->fd);
	if (dir_fd < 0 || fstatat(dir_fd, path, &st, 0) < 0 || st.st_ino != o->ino)
		return false;
	n = readlinkat(dir_fd, path, link, size - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	/* File systems may show another device than the kernel's own; the name tells. */
	return !o->parts || S_ISSOCK(o->mode) ||
	       !strncmp(last_part(link), (const char *)o->name, strnlen((const char *)o->name, OBJECT_PART - 1));
}

/* ---- sockets ---- */

static bool is_mapped(const struct endpoint *e)
{
	return e->family == AF_INET6 && !e->addr[0] && !e->addr[1] && e->addr[2] == 0xffff0000u;
}

static void put_endpoint(const struct endpoint *e, char *buf, size_t size)
{
	struct endpoint plain = *e;

	if (is_mapped(e))
		plain = (struct endpoint){ .family = AF_INET, .port = e->port, .addr = { e->addr[3] } };
	request_address(&plain, buf, size);
}

static void put_socket(const struct slot_object *o, char *buf, size_t size)
{
	char here[128], peer[128];

	if (o->here.family == AF_UNIX) {
		request_endpoint(&o->here, o->name, buf, size);
		return;
	}
	put_endpoint(&o->here, here, sizeof(here));
	put_endpoint(&o->peer, peer, sizeof(peer));
	snprintf(buf, size, "%s %s%s%s", o->type == SOCK_DGRAM ? "udp" : "tcp", here, o->peer.port ? " -> " : "",
		 o->peer.port ? peer : "");
}

/* Both ends on this host: who wakes has written to it. */
static bool is_local(const struct slot_object *o)
{
	const struct endpoint *a = &o->here, *b = &o->peer;

	return a->family == AF_UNIX ||
	       (a->family == b->family && !memcmp(a->addr, b->addr, sizeof(a->addr)) && b->port);
}

/* ---- any object ---- */

static void put_object(const struct slot_object *o, pid_t pid, char *buf, size_t size)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	CLEAN(free) char *mount = NULL;
	char link[PATH_MAX];
	bool live;

	if (S_ISSOCK(o->mode) && (o->here.family == AF_INET || o->here.family == AF_INET6)) {
		put_socket(o, buf, size);
		return;
	}
	live = still_there(dir_fd, o, link, sizeof(link));
	if (live && fd_describe(dir_fd, o->fd, buf, size) == 0)
		return;
	if (S_ISSOCK(o->mode)) {
		put_socket(o, buf, size);
	} else if (S_ISFIFO(o->mode) && !o->parts) {
		snprintf(buf, size, "pipe");
	} else if (!o->mode) { /* '[eventfd]' */
		size_t len = strnlen((const char *)o->name, OBJECT_PART);

		snprintf(buf, size, "%.*s", (int)(len > 2 ? len - 2 : 0), (const char *)o->name + (len > 2));
	} else {
		if (dir_fd >= 0)
			mount = mount_point(dir_fd, o->dev);
		put_path(o, mount, buf, size);
	}
}

static const char *name_of(struct naming *naming, pid_t pid, const struct slot_object *o)
{
	struct name_row *row;
	char text[PATH_MAX + 64];

	for (size_t i = 0; i < naming->count; i++) {
		row = &naming->row[i];
		if (row->pid == pid && !memcmp(&row->object, o, sizeof(*o)))
			return row->text ? row->text : "";
	}
	row = list_add(&naming->row, &naming->count, sizeof(*row));
	if (!row)
		return "";
	put_object(o, pid, text, sizeof(text));
	row->pid = pid;
	row->object = *o;
	text_set(&row->text, text);
	return row->text ? row->text : "";
}

/* ---- waits ---- */

static const char *kind_of(const struct waited *w, enum wait_kind call)
{
	static const char *const by_call[] = {
		[WAIT_SLEEP] = "sleep",	  [WAIT_FUTEX] = "futex",	  [WAIT_FD] = NULL,
		[WAIT_POLL] = "poll",	  [WAIT_EVENTS] = "events",	  [WAIT_CHILD] = "child",
		[WAIT_SIGNAL] = "signal", [WAIT_FILE_LOCK] = "file lock", [WAIT_DISK] = "block",
		[WAIT_IPC] = "ipc",
	};

	if (w->nr == NO_CALL_FAULT)
		return "page fault";
	if (w->nr < 0)
		return "stopped";
	if (call == WAIT_FILE_LOCK)
		return by_call[call];
	if (w->object && S_ISSOCK(w->object->mode))
		return "socket";
	if (w->object && S_ISFIFO(w->object->mode))
		return "pipe";
	if (w->state & WAIT_IO)
		return "block";
	if (w->object && w->object->mode)
		return "file";
	return w->object ? "events" : by_call[call];
}

static void put_process(const struct slot_waker *w, uint32_t id, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s %u", (int)sizeof(w->comm), (const char *)w->comm, id);
}

static void put_pid(pid_t pid, char *buf, size_t size)
{
	char name[64];

	proc_name(pid, name, sizeof(name));
	snprintf(buf, size, "%s %d", name, pid);
}

/* The child that is waited for; 'id' is its number in the parent's pid name space. */
static void put_child(pid_t parent, pid_t id, char *buf, size_t size)
{
	CLEAN(fd) int dir = proc_dir_open(parent);
	pid_t child = 0;

	if (dir >= 0 && children_of(dir, id, &child) > 0)
		put_pid(child, buf, size);
}

/* NULL unless the waker is one for certain. */
static const struct slot_waker *true_waker(const struct slot *s, const struct waited *w, enum wait_kind call)
{
	const struct slot_object *o = w->object;

	if (!w->waker || !strncmp((const char *)w->waker->comm, "ksoftirqd", 9))
		return NULL;
	if (call == WAIT_FUTEX) /* it may have timed out: no other process shares these, as a rule */
		return w->waker->pid == s->pid ? w->waker : NULL;
	if (w->nr == NO_CALL_SIGNALLED) /* who sent SIGCONT */
		return w->waker;
	if (call == WAIT_CHILD || call == WAIT_FILE_LOCK || call == WAIT_IPC)
		return w->waker;
	if (o && (S_ISFIFO(o->mode) || (S_ISSOCK(o->mode) && is_local(o))))
		return w->waker;
	return NULL;
}

/* The process that has the object's other end, or by which it was locked. */
static void put_peer(const struct slot *s, const struct waited *w, enum wait_kind call, char *buf, size_t size)
{
	const struct slot_waker *by = true_waker(s, w, call);
	pid_t holder;

	if (by && by->pid != s->pid) {
		put_process(by, by->pid, buf, size);
	} else if (w->object && s->up_pid && w->object->fd == s->up_fd && s->up_waiting) {
		put_pid((pid_t)s->up_pid, buf, size);
	} else if (call == WAIT_FILE_LOCK && !by) {
		holder = file_lock_holder((pid_t)s->pid);
		if (holder)
			put_pid(holder, buf, size);
	} else if (call == WAIT_CHILD && !by && (int32_t)w->a > 0) {
		put_child((pid_t)s->pid, (pid_t)w->a, buf, size);
	}
}

static void put_words(const struct slot *s, const struct waited *w, enum wait_kind call, const char *name, char *buf,
		      size_t size)
{
	char peer[256];

	if (w->nr == NO_CALL_TRACED) {
		put_pid((pid_t)w->a, buf, size);
	} else if (w->state & WAIT_ANSWER && (call == WAIT_EVENTS || call == WAIT_POLL)) {
		if (w->object && S_ISSOCK(w->object->mode) && w->object->peer.family)
			request_endpoint(&w->object->peer, w->object->name, peer, sizeof(peer));
		else
			request_endpoint(&s->up, s->up_path, peer, sizeof(peer));
		snprintf(buf, size, "the answer of %s", peer[0] ? peer : "another service");
	} else if (call == WAIT_FUTEX) {
		snprintf(buf, size, "futex 0x%llx", (unsigned long long)w->a);
	} else if (call == WAIT_CHILD) {
		snprintf(buf, size, (int32_t)w->a > 0 ? "child process %d" : "a child process", (int32_t)w->a);
	} else if (name[0]) {
		snprintf(buf, size, "%s%s", name, w->state & WAIT_MORE ? " and others" : "");
	} else if (w->state & WAIT_IO) {
		snprintf(buf, size, "disk");
	} else if (call == WAIT_FD || call == WAIT_FILE_LOCK || call == WAIT_DISK) {
		snprintf(buf, size, "fd %d", (int)w->a);
	}
}

static void describe(void *arg, const struct slot *s, const struct waited *w, struct wait_words *ret)
{
	enum wait_kind call = wait_kind_of(syscall_name(w->nr));
	const struct slot_waker *by;
	struct naming *naming = arg;

	*ret = (struct wait_words){ .kind = kind_of(w, call) };
	put_words(s, w, call, w->object ? name_of(naming, (pid_t)s->pid, w->object) : "", ret->object,
		  sizeof(ret->object));
	put_peer(s, w, call, ret->peer, sizeof(ret->peer));
	by = true_waker(s, w, call);
	if (by)
		put_process(by, by->tid, ret->waker, sizeof(ret->waker));
}

struct wording naming_words(struct naming *naming)
{
	return (struct wording){ .call = syscall_name, .wait = describe, .arg = naming };
}

struct naming *naming_new(void)
{
	return calloc(1, sizeof(struct naming));
}

void naming_free(struct naming *naming)
{
	if (!naming)
		return;
	for (size_t i = 0; i < naming->count; i++)
		free(naming->row[i].text);
	free(naming->row);
	free(naming);
}
