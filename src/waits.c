// SPDX-License-Identifier: MIT
/* A table: call -> what kind of wait, which argument tells more. Sockets are asked
 * through a borrowed duplicate of the fd (pidfd_getfd), held for microseconds.
 * Rejected: searching /proc/PID/net/tcp (milliseconds in the kernel per 10,000
 * sockets, and unix peers are not there). Trap: a timed wait that ptrace
 * interrupted calls itself restart_syscall. */
#include "waits.h"

#include "buf.h"
#include "ktime.h"
#include "locks.h"
#include "peers.h"
#include "proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

const char *syscall_name(long nr)
{
	static const char *const name[] = {
#define ROW(number, text) [number] = #text,
#include "syscall_x86_64.h"
#undef ROW
	};

	return nr >= 0 && (size_t)nr < ARRAY_LEN(name) ? name[nr] : NULL;
}

#define FDS_NAMED 8 /* of those that one thread waits for; more stay numbers */

#define PARENTS_ASKED 64 /* threads whose children are looked at for the end of a pipe */
#define CHILDREN_ASKED 64

enum timeout_type { NO_TIMEOUT, TIMESPEC, TIMESPEC_UNTIL, TIMEVAL, MILLISECONDS };

struct wait_row {
	long nr;
	enum wait_kind kind;
	int8_t fd_arg; /* -1 none */
	int8_t timeout_arg;
	enum timeout_type timeout;
};

static const struct wait_row wait_rows[] = {
	{ SYS_nanosleep, WAIT_SLEEP, -1, 0, TIMESPEC },
	{ SYS_clock_nanosleep, WAIT_SLEEP, -1, 2, TIMESPEC },
	{ SYS_pause, WAIT_SIGNAL, -1, -1, NO_TIMEOUT },
	{ SYS_rt_sigsuspend, WAIT_SIGNAL, -1, -1, NO_TIMEOUT },
	{ SYS_rt_sigtimedwait, WAIT_SIGNAL, -1, 2, TIMESPEC },
	{ SYS_futex, WAIT_FUTEX, -1, 3, TIMESPEC },
	{ SYS_wait4, WAIT_CHILD, -1, -1, NO_TIMEOUT },
	{ SYS_waitid, WAIT_CHILD, -1, -1, NO_TIMEOUT },
	{ SYS_poll, WAIT_POLL, -1, 2, MILLISECONDS },
	{ SYS_ppoll, WAIT_POLL, -1, 2, TIMESPEC },
	{ SYS_select, WAIT_POLL, -1, 4, TIMEVAL },
	{ SYS_pselect6, WAIT_POLL, -1, 4, TIMESPEC },
	{ SYS_epoll_wait, WAIT_EVENTS, 0, 3, MILLISECONDS },
	{ SYS_epoll_pwait, WAIT_EVENTS, 0, 3, MILLISECONDS },
	{ SYS_epoll_pwait2, WAIT_EVENTS, 0, 3, TIMESPEC },
	{ SYS_io_uring_enter, WAIT_EVENTS, 0, -1, NO_TIMEOUT },
	{ SYS_io_getevents, WAIT_EVENTS, -1, 4, TIMESPEC },
	{ SYS_read, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_readv, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_pread64, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_preadv, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_preadv2, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_write, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_writev, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_pwrite64, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_pwritev, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_recvfrom, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_recvmsg, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_recvmmsg, WAIT_FD, 0, 4, TIMESPEC },
	{ SYS_sendto, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_sendmsg, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_sendmmsg, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_sendfile, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_splice, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_accept, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_accept4, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_connect, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_close, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_ioctl, WAIT_FD, 0, -1, NO_TIMEOUT },
	{ SYS_flock, WAIT_FILE_LOCK, 0, -1, NO_TIMEOUT },
	{ SYS_fsync, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_fdatasync, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_sync_file_range, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_fallocate, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_ftruncate, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_getdents64, WAIT_DISK, 0, -1, NO_TIMEOUT },
	{ SYS_sync, WAIT_DISK, -1, -1, NO_TIMEOUT },
	{ SYS_msync, WAIT_DISK, -1, -1, NO_TIMEOUT },
	{ SYS_semop, WAIT_IPC, -1, -1, NO_TIMEOUT },
	{ SYS_semtimedop, WAIT_IPC, -1, 3, TIMESPEC },
	{ SYS_msgrcv, WAIT_IPC, -1, -1, NO_TIMEOUT },
	{ SYS_msgsnd, WAIT_IPC, -1, -1, NO_TIMEOUT },
	{ SYS_mq_timedreceive, WAIT_IPC, 0, 4, TIMESPEC_UNTIL },
};

enum wait_kind wait_kind_of(const char *call)
{
	for (size_t i = 0; i < ARRAY_LEN(wait_rows) && call; i++) {
		if (!strcmp(syscall_name(wait_rows[i].nr), call))
			return wait_rows[i].kind;
	}
	/* the one wait that fcntl has is for a lock */
	return call && !strcmp(call, "fcntl") ? WAIT_FILE_LOCK : WAIT_NONE;
}

/* A struct timespec or timeval is two signed 64-bit words here. */
static uint64_t read_time(const struct memory *mem, uint64_t addr, uint64_t ns_per_unit)
{
	int64_t word[2];

	if (!addr)
		return WAIT_FOREVER;
	if (!mem || memory_get(mem, addr, word, sizeof(word)) < 0)
		return 0;
	if (word[0] < 0 || word[0] > (int64_t)(UINT64_MAX / NSEC_PER_SEC / 2) || word[1] < 0 ||
	    (uint64_t)word[1] * ns_per_unit >= NSEC_PER_SEC)
		return 0;
	return (uint64_t)word[0] * NSEC_PER_SEC + (uint64_t)word[1] * ns_per_unit;
}

static uint64_t timeout_of(const struct memory *mem, const struct wait_row *row, const uint64_t arg[6])
{
	uint64_t a = row->timeout_arg >= 0 ? arg[row->timeout_arg] : 0;

	switch (row->timeout) {
	case TIMESPEC:
		return read_time(mem, a, 1);
	case TIMEVAL:
		return read_time(mem, a, NSEC_PER_USEC);
	case MILLISECONDS:
		return (int32_t)a < 0 ? WAIT_FOREVER : (uint64_t)(uint32_t)a * NSEC_PER_MSEC;
	default:
		return 0;
	}
}

static void add_fd(struct wait *w, unsigned int *count, int fd)
{
	size_t n = strlen(w->text);

	w->fd = (*count)++ ? -1 : fd;
	if (*count == 2) { /* 'fd 3' becomes 'fds 3 4' */
		memmove(w->text + 3, w->text + 2, n - 1);
		w->text[2] = 's';
		n++;
	}
	if (n + 16 < sizeof(w->text))
		snprintf(w->text + n, sizeof(w->text) - n, *count == 1 ? "fd %d" : " %d", fd);
}

static void poll_fds(const struct memory *mem, const uint64_t arg[6], struct wait *w)
{
	uint64_t total = arg[1], shown = MIN(total, (uint64_t)WAIT_FDS_MAX);
	struct pollfd pfd[WAIT_FDS_MAX];
	unsigned int count = 0;

	if (shown == 0 || memory_get(mem, arg[0], pfd, shown * sizeof(pfd[0])) < 0)
		return;
	for (uint64_t i = 0; i < shown; i++) {
		if (pfd[i].fd >= 0)
			add_fd(w, &count, pfd[i].fd);
	}
	if (total > shown) {
		size_t n = strlen(w->text);

		w->fd = -1;
		snprintf(w->text + n, sizeof(w->text) - n, " and %llu more", (unsigned long long)(total - shown));
	}
}

/* select's sets are words of 64 bits, read, write and exceptions. */
static void select_fds(const struct memory *mem, const uint64_t arg[6], struct wait *w)
{
	uint64_t limit = MIN(arg[0], (uint64_t)1024);
	unsigned int count = 0;

	for (uint64_t base = 0; base < limit; base += 64) {
		uint64_t all = 0;

		for (int set = 1; set <= 3; set++) {
			uint64_t word;

			if (arg[set] && memory_u64(mem, arg[set] + base / 8, &word))
				all |= word;
		}
		for (unsigned int bit = 0; bit < 64 && base + bit < limit; bit++) {
			if (all >> bit & 1 && count < WAIT_FDS_MAX)
				add_fd(w, &count, (int)(base + bit));
		}
	}
}

static void sleep_text(long nr, const uint64_t arg[6], struct wait *w)
{
	bool until = nr == SYS_clock_nanosleep && (arg[1] & TIMER_ABSTIME);

	if (until) /* a moment on some clock: not a duration */
		w->timeout_ns = 0;
	if (w->timeout_ns && w->timeout_ns != WAIT_FOREVER)
		snprintf(w->text, sizeof(w->text), "%.6g s to pass", (double)w->timeout_ns / 1e9);
	else
		snprintf(w->text, sizeof(w->text), until ? "a set time" : "time to pass");
}

static bool futex_waits(uint64_t op)
{
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
	case FUTEX_LOCK_PI:
	case 13: /* FUTEX_LOCK_PI2 */
	case FUTEX_WAIT_REQUEUE_PI:
		return true;
	default:
		return false;
	}
}

void wait_describe(const struct memory *mem, long nr, const uint64_t arg[6], struct wait *ret)
{
	const struct wait_row *row = NULL;
	struct wait w = { .fd = -1 };

	for (size_t i = 0; i < ARRAY_LEN(wait_rows) && !row; i++) {
		if (wait_rows[i].nr == nr)
			row = &wait_rows[i];
	}
	if (!row && nr == SYS_fcntl && (arg[1] == F_SETLKW || arg[1] == F_OFD_SETLKW)) {
		static const struct wait_row lock = { SYS_fcntl, WAIT_FILE_LOCK, 0, -1, NO_TIMEOUT };

		row = &lock;
	}
	if (!row || (nr == SYS_futex && !futex_waits(arg[1]))) {
		*ret = w;
		return;
	}
	w.kind = row->kind;
	w.timeout_ns = timeout_of(mem, row, arg);
	if (row->fd_arg >= 0) {
		w.fd = (int)arg[row->fd_arg];
		snprintf(w.text, sizeof(w.text), "fd %d", w.fd);
	}
	if (w.kind == WAIT_SLEEP) {
		sleep_text(nr, arg, &w);
	} else if (w.kind == WAIT_FUTEX) {
		/* Only FUTEX_WAIT takes a duration, the others a moment. */
		if ((arg[1] & FUTEX_CMD_MASK) != FUTEX_WAIT && w.timeout_ns != WAIT_FOREVER)
			w.timeout_ns = 0;
		w.object = arg[0];
		snprintf(w.text, sizeof(w.text), "futex 0x%llx", (unsigned long long)arg[0]);
	} else if (w.kind == WAIT_CHILD) {
		long pid = nr == SYS_waitid ? (arg[0] == 1 ? (int)arg[1] : -1) : (int)arg[0];

		if (pid > 0) {
			w.object = (uint64_t)pid;
			snprintf(w.text, sizeof(w.text), "child process %ld", pid);
		} else {
			snprintf(w.text, sizeof(w.text), "any child process");
		}
	} else if (w.kind == WAIT_SIGNAL) {
		snprintf(w.text, sizeof(w.text), "a signal");
	} else if (w.kind == WAIT_POLL && mem) {
		if (nr == SYS_poll || nr == SYS_ppoll)
			poll_fds(mem, arg, &w);
		else
			select_fds(mem, arg, &w);
		/* A poll of nothing is a sleep. */
		if (!w.text[0] && (nr == SYS_poll || nr == SYS_ppoll ? arg[1] == 0 : !arg[1] && !arg[2] && !arg[3])) {
			w.kind = WAIT_SLEEP;
			sleep_text(nr, arg, &w);
		}
	}
	*ret = w;
}

long wait_restarted(const struct memory *mem, long nr, uint64_t pc)
{
	/* The calls that the kernel restarts in this way. */
	static const long timed[] = { SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_futex };
	uint8_t code[48];

	if (nr != SYS_restart_syscall || !mem || pc < sizeof(code) ||
	    memory_get(mem, pc - sizeof(code), code, sizeof(code)) < 0)
		return nr;
	if (code[sizeof(code) - 2] != 0x0f || code[sizeof(code) - 1] != 0x05)
		return nr;
	/* The nearest 'mov $number,%eax' before the system call instruction. */
	for (size_t i = sizeof(code) - 7; i > 0; i--) {
		uint32_t number;

		if (code[i] != 0xb8)
			continue;
		memcpy(&number, code + i + 1, sizeof(number));
		for (size_t k = 0; k < ARRAY_LEN(timed); k++) {
			if (timed[k] == (long)number)
				return timed[k];
		}
	}
	return nr;
}

/* --- live processes: privileged callers only --- */

/* The pid is taken from the directory after the pidfd: an open /proc/PID of a process
 * that is gone has no stat, so both are the same process. */
int fd_borrow(int proc_dir_fd, int fd)
{
	CLEAN(fd) int pidfd = -1;
	CLEAN(free) char *text = NULL;
	struct proc_stat stat;
	int dup, r = proc_file(proc_dir_fd, "stat", 4096, &text, NULL);

	if (r < 0)
		return r;
	pidfd = (int)syscall(SYS_pidfd_open, atoi(text), 0);
	if (pidfd < 0)
		return -errno;
	if (proc_stat_read(proc_dir_fd, "stat", &stat) < 0)
		return -ESRCH;
	dup = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	return dup < 0 ? -errno : dup;
}

union any_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage all;
};

static void put_inet(const union any_address *a, char *buf, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(buf, size, "%s:%u", host, ntohs(a->in.sin_port));
	} else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], host, sizeof(host));
		snprintf(buf, size, "%s:%u", host, ntohs(a->in6.sin6_port));
	} else {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		snprintf(buf, size, "[%s]:%u", host, ntohs(a->in6.sin6_port));
	}
}

/* Path, '@abstract' (a NUL inside ends it), or '' for a nameless one. */
static void put_unix(const union any_address *a, socklen_t len, char *buf, size_t size)
{
	size_t at = offsetof(struct sockaddr_un, sun_path);

	buf[0] = '\0';
	if (len <= at)
		return;
	len = (socklen_t)MIN(len - at, sizeof(a->un.sun_path));
	if (a->un.sun_path[0])
		snprintf(buf, size, "%.*s", (int)len, a->un.sun_path);
	else
		snprintf(buf, size, "@%.*s", (int)len - 1, a->un.sun_path + 1);
}

static void describe_unix(int sock, const union any_address *here, socklen_t here_len, bool connected,
			  const union any_address *peer, socklen_t peer_len, char *buf, size_t size)
{
	char ours[120], theirs[120] = "";
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	put_unix(here, here_len, ours, sizeof(ours));
	if (connected)
		put_unix(peer, peer_len, theirs, sizeof(theirs));
	if (theirs[0]) {
		snprintf(buf, size, "unix:%s", theirs);
		return;
	}
	/* The accepted end has the listener's name; a pair has none at all. */
	if (connected && getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid > 0)
		snprintf(buf, size, ours[0] ? "unix:%s <- pid %d" : "unix socket%.0s <-> pid %d", ours, cred.pid);
	else
		snprintf(buf, size, "unix:%s", ours[0] ? ours : "(no name)");
}

static int describe_socket(int sock, char *buf, size_t size)
{
	union any_address here = { 0 }, peer = { 0 };
	socklen_t here_len = sizeof(here), peer_len = sizeof(peer), len = sizeof(int);
	int type = 0, listening = 0;
	bool connected;
	char a[80], b[80];

	if (getsockname(sock, &here.sa, &here_len) < 0)
		return -errno;
	connected = getpeername(sock, &peer.sa, &peer_len) == 0;
	getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len);
	len = sizeof(listening);
	getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	switch (here.sa.sa_family) {
	case AF_UNIX:
		describe_unix(sock, &here, here_len, connected, &peer, peer_len, buf, size);
		break;
	case AF_INET:
	case AF_INET6:
		put_inet(&here, a, sizeof(a));
		if (connected)
			put_inet(&peer, b, sizeof(b));
		snprintf(buf, size, connected ? "%s %s -> %s" : "%s %s",
			 type == SOCK_STREAM  ? "tcp"
			 : type == SOCK_DGRAM ? "udp"
					      : "raw",
			 a, b);
		break;
	default:
		snprintf(buf, size, "socket of family %d", here.sa.sa_family);
	}
	if (listening) {
		size_t n = strlen(buf);

		snprintf(buf + n, size - n, " (listening)");
	}
	return 0;
}

/* Does this child have the pipe as one of its standard streams? */
static bool child_has(pid_t pid, const char *pipe_link)
{
	for (int fd = 0; fd < 3; fd++) {
		char path[48], link[64];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[MAX(n, 0)] = '\0';
		if (n > 0 && !strcmp(link, pipe_link))
			return true;
	}
	return false;
}

/* 'pipe to child 4712 "sh"' where the other end is easily found: a command that the
 * process has started. */
static void describe_pipe(int proc_dir_fd, const char *link, char *buf, size_t size)
{
	CLEAN(free) pid_t *tids = NULL;
	size_t count = 0, looked = 0;

	snprintf(buf, size, "pipe");
	if (proc_threads(proc_dir_fd, &tids, &count) < 0)
		return;
	for (size_t i = 0; i < count && i < PARENTS_ASKED; i++) {
		CLEAN(free) char *text = NULL;
		char path[48], name[64];
		int used;
		pid_t pid;

		snprintf(path, sizeof(path), "task/%d/children", tids[i]);
		if (proc_file(proc_dir_fd, path, 65536, &text, NULL) < 0)
			continue;
		for (const char *p = text; sscanf(p, " %d%n", &pid, &used) == 1; p += used) {
			if (looked++ == CHILDREN_ASKED)
				return;
			if (!child_has(pid, link))
				continue;
			proc_name(pid, name, sizeof(name));
			snprintf(buf, size, "pipe to child %d \"%s\"", pid, name);
			return;
		}
	}
}

int fd_describe(int proc_dir_fd, int fd, char *buf, size_t size)
{
	static const struct {
		const char *link, *name;
	} kind[] = {
		{ "anon_inode:[eventpoll]", "epoll" },	 { "anon_inode:[eventfd", "eventfd" },
		{ "anon_inode:[timerfd]", "timerfd" },	 { "anon_inode:[signalfd]", "signalfd" },
		{ "anon_inode:inotify", "inotify" },	 { "anon_inode:[pidfd]", "pidfd" },
		{ "anon_inode:[io_uring]", "io_uring" },
	};
	char path[32], link[512];
	ssize_t n;

	snprintf(buf, size, "fd %d", fd);
	snprintf(path, sizeof(path), "fd/%d", fd);
	n = readlinkat(proc_dir_fd, path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	if (!strncmp(link, "socket:", 7)) {
		CLEAN(fd) int sock = fd_borrow(proc_dir_fd, fd);

		/* The number may be another file's by now. */
		if (sock < 0 || describe_socket(sock, buf, size) < 0)
			snprintf(buf, size, "socket");
		return 0;
	}
	if (!strncmp(link, "pipe:", 5)) {
		describe_pipe(proc_dir_fd, link, buf, size);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		if (!strncmp(link, kind[i].link, strlen(kind[i].link))) {
			snprintf(buf, size, "%s", kind[i].name);
			return 0;
		}
	}
	snprintf(buf, size, link[0] == '/' ? "file %s" : "%s", link);
	return 0;
}

static void add_lock_holder(struct thread *t, int proc_dir_fd)
{
	CLEAN(free) char *text = NULL;
	char name[64];
	pid_t holder;

	if (wait_kind_of(t->call) != WAIT_FILE_LOCK)
		return;
	if (proc_file(proc_dir_fd, "stat", 4096, &text, NULL) < 0)
		return;
	holder = file_lock_holder(atoi(text));
	if (!holder)
		return;
	proc_name(holder, name, sizeof(name));
	text_setf(&t->waits_for, "%s" WAITS_LOCKED_BY "%d \"%s\"", t->waits_for, holder, name);
}

/* 'fd 7' or 'fds 3 9', and nothing after it: what wait_describe wrote, or an analyst
 * that is not to be trusted. */
static size_t listed_fds(const char *text, int *fds, size_t max)
{
	size_t count = 0;
	int fd, used;

	if (strncmp(text, "fd ", 3) && strncmp(text, "fds ", 4))
		return 0;
	for (text += strcspn(text, " "); *text; text += used) {
		if (count == max || sscanf(text, " %d%n", &fd, &used) != 1 || fd < 0)
			return 0;
		fds[count++] = fd;
	}
	return count;
}

/* Owner words of shared locks hold ids of the process's own pid name space. Anybody could
 * write any id there: it is believed only of a process that has that memory, too. */
static void name_foreign_owner(struct analysis *a, struct thread *t, int proc_dir_fd)
{
	const char *by = t->waits_for ? strstr(t->waits_for, LOCKS_HELD_BY) : NULL;
	CLEAN(free) char *text = NULL, *name = by ? strndup(t->waits_for, (size_t)(by - t->waits_for)) : NULL;
	pid_t pid = 0, tid, ns_tid = t->waits_for_tid;
	unsigned long long addr;
	unsigned int told;
	char comm[64];

	if (!name || sscanf(by, LOCKS_HELD_BY LOCKS_FOREIGN, &told) != 1 || (pid_t)told != ns_tid ||
	    proc_file(proc_dir_fd, "stat", 4096, &text, NULL) < 0)
		return;
	tid = thread_in_namespace(atoi(text), ns_tid, &pid);
	if (sscanf(name, "%*s 0x%llx", &addr) != 1 || !memory_shared(proc_dir_fd, addr, pid))
		tid = 0;
	t->waits_for_tid = tid;
	if (!tid) {
		text_setf(&t->waits_for, "%s whose owner, thread %d of another process, is not to be found", name,
			  ns_tid);
		return;
	}
	proc_name(tid, comm, sizeof(comm));
	text_setf(&t->waits_for, "%s" LOCKS_HELD_BY "%d \"%s\"", name, tid, comm);
	if (tid != pid)
		text_setf(&t->waits_for, "%s of process %d", t->waits_for, pid);
	for (size_t i = 0; i < a->lock_count; i++) {
		if (strcmp(a->lock[i].name, name) != 0)
			continue;
		a->lock[i].owner = tid;
		text_set(&a->lock[i].owner_name, comm);
	}
}

void waits_name_fds(struct analysis *analysis, int proc_dir_fd)
{
	for (size_t i = 0; i < analysis->thread_count; i++) {
		struct thread *t = &analysis->thread[i];
		int fds[FDS_NAMED];
		size_t count = t->waits_for ? listed_fds(t->waits_for, fds, ARRAY_LEN(fds)) : 0;
		struct buf names;

		if (t->waits_for_tid)
			name_foreign_owner(analysis, t, proc_dir_fd);
		buf_init(&names, 2048);
		for (size_t k = 0; k < count; k++) {
			char object[300];

			if (fd_describe(proc_dir_fd, fds[k], object, sizeof(object)) < 0)
				snprintf(object, sizeof(object), "gone");
			buf_addf(&names, k ? ", %s" : "%s", object);
		}
		if (count)
			text_setf(&t->waits_for, "%s (%s)", t->waits_for, names.data);
		if (count == 1)
			add_lock_holder(t, proc_dir_fd);
		buf_done(&names);
	}
}

unsigned int wait_at_work(const struct thread *t)
{
	static const unsigned int level[] = {
		[WAIT_NONE] = 3,      [WAIT_SLEEP] = 2,	 [WAIT_FUTEX] = 1, [WAIT_FD] = 2,
		[WAIT_POLL] = 2,      [WAIT_EVENTS] = 0, [WAIT_CHILD] = 3, [WAIT_SIGNAL] = 0,
		[WAIT_FILE_LOCK] = 3, [WAIT_DISK] = 3,	 [WAIT_IPC] = 1,
	};
	const char *object = t->waits_for ? t->waits_for : "";

	if (!strncmp(object, "thread ", 7)) /* to end: it has given its work away */
		return 0;
	if (t->waits_for_tid || !strncmp(object, "mutex ", 6) || !strncmp(object, "rwlock ", 7))
		return 3;
	if (t->call && (!strncmp(t->call, "accept", 6) || strstr(object, "(listening)")))
		return 0;
	return strncmp(object, "condition ", 10) ? level[wait_kind_of(t->call)] : 0;
}
