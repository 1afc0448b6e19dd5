// SPDX-License-Identifier: MIT
/* The attach protocol. Rejected: HotSpot's structures out of memory (the interpreter, two
 * compilers and their stubs, each with frames of their own; locks besides), and a signal
 * without a look at the JVM first. Traps: SIGQUIT without a handler ends the process, and
 * with one but without the file prints to its standard output; so a file that a JVM may
 * still look for stays until it has. */
#include "jvm.h"

#include "ktime.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define OPTIONS_MAX (1u << 20)
#define LOOK_NS (2 * NSEC_PER_MSEC)	       /* between two looks whether it listens */
#define STALE_SECONDS 60		       /* a file so old is nobody's any more: jstack waits for ten */
#define SETTLE_NS (10 * NSEC_PER_SEC)	       /* for a JVM that has the signal to look */
#define SETTLE_STOPPED_NS (600 * NSEC_PER_SEC) /* ... and for one that has not */
#define SETTLE_LOOK_NS (20 * NSEC_PER_MSEC)

static void nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
}

static int say(char *why, int code, const char *fmt, ...) PRINTF(3, 4);
static int say(char *why, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, JVM_WHY_MAX, fmt, ap);
	va_end(ap);
	return code;
}

bool jvm_is_mapped(const struct proc_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		const char *name;
		size_t len;

		if (!maps->map[i].executable || !maps->map[i].inode)
			continue;
		name = proc_map_name(maps, &maps->map[i]);
		len = name ? strlen(name) : 0;
		if (len >= 10 && !strcmp(name + len - 10, "/libjvm.so"))
			return true;
	}
	return false;
}

static int open_tmp(const struct proc *proc)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	CLEAN(fd) int root = openat(proc->dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? -1 : (int)syscall(SYS_openat2, root, "tmp", &how, sizeof(how));
}

int jvm_open(struct jvm *jvm, const struct proc *proc, char *why)
{
	*jvm = (struct jvm){ .proc = proc, .tmp_fd = -1 };
	if (proc_status_read(proc->dir_fd, "status", &jvm->status) < 0)
		return say(why, -ESRCH, "it has ended");
	jvm->uid = jvm->status.euid;
	jvm->gid = jvm->status.egid;
	jvm->tmp_fd = open_tmp(proc);
	if (jvm->tmp_fd < 0)
		return say(why, -errno, "its /tmp cannot be opened");
	snprintf(jvm->socket, sizeof(jvm->socket), ".java_pid%d", jvm->status.ns_tid);
	snprintf(jvm->wish, sizeof(jvm->wish), ".attach_pid%d", jvm->status.ns_tid);
	return 0;
}

void jvm_close(struct jvm *jvm)
{
	if (jvm->tmp_fd >= 0)
		close(jvm->tmp_fd);
	jvm->tmp_fd = -1;
}

/* --- may it be signalled? --- */

/* Where else its options are, nobody can see from outside. */
static const char *why_option(const char *text)
{
	if (strstr(text, "+DisableAttachMechanism"))
		return "attach is off (-XX:+DisableAttachMechanism)";
	if (strstr(text, "-Xrs") || strstr(text, "+ReduceSignalUsage"))
		return "it takes no signals (-Xrs)";
	if (strstr(text, "-XX:Flags=") || strstr(text, "-XX:VMOptionsFile="))
		return "its options are in a file, which may turn attach off";
	return NULL;
}

static const char *why_command(const struct proc *proc)
{
	CLEAN(free) char *text = NULL;
	char exe[4096];
	ssize_t n = readlinkat(proc->dir_fd, "exe", exe, sizeof(exe) - 1);
	const char *name, *why = NULL;
	size_t len;

	exe[MAX(n, 0)] = '\0';
	name = strrchr(exe, '/');
	if (!name || (strcmp(name, "/java") != 0 && strcmp(name, "/java (deleted)") != 0))
		return "it is inside of another program, whose options for it are not known";
	if (proc_file(proc->dir_fd, "cmdline", OPTIONS_MAX, &text, &len) < 0)
		return "its command line cannot be read";
	if (len >= OPTIONS_MAX)
		return "its command line is too long to look for options that turn attach off";
	for (size_t at = 0; at < len && !why; at += strlen(text + at) + 1)
		why = at && text[at] == '@' ? "its options are in a file, which may turn attach off"
					    : why_option(text + at);
	return why;
}

static const char *why_environment(const struct proc *proc)
{
	static const char *const names[] = { "JAVA_TOOL_OPTIONS=", "_JAVA_OPTIONS=", "JDK_JAVA_OPTIONS=" };
	CLEAN(free) char *text = NULL;
	const char *why = NULL;
	size_t len;

	if (proc_file(proc->dir_fd, "environ", OPTIONS_MAX, &text, &len) < 0 || len >= OPTIONS_MAX)
		return "its environment cannot be read";
	for (size_t at = 0; at < len && !why; at += strlen(text + at) + 1) {
		for (size_t i = 0; i < ARRAY_LEN(names) && !why; i++) {
			if (strncmp(text + at, names[i], strlen(names[i])) != 0)
				continue;
			why = strchr(text + at, '@') ? "its options are in a file, which may turn attach off"
						     : why_option(text + at);
		}
	}
	return why;
}

/* The thread that takes it. One that is still starting, or that was told to take no
 * signals, has none. */
static bool has_dispatcher(const struct proc *proc)
{
	CLEAN(free) pid_t *tids = NULL;
	bool found = false;
	size_t count = 0;

	if (proc_threads(proc->dir_fd, &tids, &count) < 0)
		return false;
	for (size_t i = 0; i < count && !found; i++) {
		CLEAN(free) char *comm = NULL;
		char path[64];
		size_t len;

		snprintf(path, sizeof(path), "task/%d/comm", tids[i]);
		found = proc_file(proc->dir_fd, path, 64, &comm, &len) == 0 && !strncmp(comm, "Signal Dispatch", 15);
	}
	return found;
}

static const char *why_state(const struct proc *proc)
{
	const uint64_t quit = 1ull << (SIGQUIT - 1);
	struct proc_status s;

	if (proc_status_read(proc->dir_fd, "status", &s) < 0 || s.state == 'Z' || s.state == 'X')
		return "it has ended";
	if (s.state == 'T' || s.state == 't')
		return "it is stopped";
	if (s.tracer)
		return "it is being traced";
	if (!(s.sig_caught & quit))
		return "it does not take SIGQUIT: it is still starting, or was told to take no signals (-Xrs)";
	if (s.shd_pending & quit)
		return "it has not taken the last SIGQUIT yet";
	return NULL;
}

const char *jvm_deaf(const struct jvm *jvm)
{
	const char *why = why_state(jvm->proc);

	if (!why)
		why = why_command(jvm->proc);
	if (!why)
		why = why_environment(jvm->proc);
	if (!why && !has_dispatcher(jvm->proc))
		why = "it is still starting: nothing in it takes signals";
	return why;
}

/* --- as its user --- */

/* Others may write there: what is no socket of the JVM's user is not gone near. */
static bool is_there(const struct jvm *jvm)
{
	struct stat st;

	return fstatat(jvm->tmp_fd, jvm->socket, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
	       (st.st_uid == jvm->uid || st.st_uid == 0);
}

int jvm_connect(const struct jvm *jvm, char *why)
{
	CLEAN(fd) int fd = -1;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct proc_status s;

	if (proc_status_read(jvm->proc->dir_fd, "status", &s) == 0 && (s.state == 'T' || s.state == 't'))
		return say(why, -EBUSY, "it is stopped");
	if (!is_there(jvm))
		return say(why, -ENOENT, "it does not listen");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return say(why, -errno, "no socket");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", jvm->tmp_fd, jvm->socket);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return say(why, errno == ECONNREFUSED ? -ENOENT : -errno, "its socket cannot be connected");
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid != jvm->proc->pid)
		return say(why, -EPERM, "its socket is another process's");
	return take_fd(&fd);
}

/* 1: it is ours. 0: somebody else attaches just now, so the JVM will listen anyway. */
static int leave_wish(const struct jvm *jvm, char *why)
{
	CLEAN(fd) int fd = -1;
	struct timespec now;
	struct stat st;

	for (int n = 0; n < 2; n++) {
		fd = openat(jvm->tmp_fd, jvm->wish, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0)
			return 1;
		if (errno != EEXIST)
			return say(why, -errno, "nothing can be written to its /tmp");
		clock_gettime(CLOCK_REALTIME, &now);
		if (fstatat(jvm->tmp_fd, jvm->wish, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    now.tv_sec - st.st_mtim.tv_sec < STALE_SECONDS)
			return 0;
		unlinkat(jvm->tmp_fd, jvm->wish, 0); /* of somebody who died */
	}
	return say(why, -EEXIST, "a file in its /tmp is in the way");
}

static int wait_for_socket(const struct jvm *jvm, uint64_t until_ns, char *why)
{
	int fd;

	while ((fd = jvm_connect(jvm, why)) == -ENOENT) {
		if (!proc_alive(jvm->proc))
			return say(why, -ESRCH, "it has ended");
		if (now_ns() > until_ns)
			return say(why, -ETIMEDOUT, "it did not answer in time");
		nap(LOOK_NS);
	}
	return fd;
}

static int signal_it(const struct jvm *jvm, jvm_step_fn *tell, void *arg, char *why)
{
	const char *not_now = why_state(jvm->proc); /* as late as can be */

	if (not_now)
		return say(why, -EAGAIN, "%s", not_now);
	tell(arg, JVM_SIGNAL);
	if (syscall(SYS_pidfd_send_signal, jvm->proc->pidfd, SIGQUIT, NULL, 0) < 0)
		return say(why, -errno, "it cannot be signalled");
	return 0;
}

int jvm_wake(const struct jvm *jvm, uint64_t until_ns, jvm_step_fn *tell, void *arg, char *why)
{
	int fd, r, ours;

	tell(arg, JVM_WISH);
	ours = leave_wish(jvm, why);
	r = ours > 0 ? signal_it(jvm, tell, arg, why) : MIN(ours, 0);
	fd = r < 0 ? r : wait_for_socket(jvm, until_ns, why);
	if (ours > 0 && fd == -ETIMEDOUT)
		return fd;
	if (ours > 0)
		unlinkat(jvm->tmp_fd, jvm->wish, 0);
	tell(arg, JVM_NOTHING);
	return fd;
}

void jvm_settle(const struct jvm *jvm, enum jvm_step step)
{
	const uint64_t quit = 1ull << (SIGQUIT - 1), begin = now_ns();
	uint64_t taken_ns = begin;
	struct proc_status s;

	while (step == JVM_SIGNAL && !is_there(jvm) && proc_alive(jvm->proc)) {
		if (proc_status_read(jvm->proc->dir_fd, "status", &s) < 0)
			break;
		if (s.shd_pending & quit || s.state == 'T' || s.state == 't')
			taken_ns = now_ns();
		if (now_ns() > taken_ns + SETTLE_NS || now_ns() > begin + SETTLE_STOPPED_NS)
			break;
		nap(SETTLE_LOOK_NS);
	}
	if (step != JVM_NOTHING)
		unlinkat(jvm->tmp_fd, jvm->wish, 0);
}

/* --- the question --- */

static int wait_fd(int fd, short events, uint64_t until_ns)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	uint64_t now = now_ns();

	return now < until_ns ? poll(&pfd, 1, (int)((until_ns - now) / NSEC_PER_MSEC) + 1) : 0;
}

int jvm_threads(int sock, uint64_t until_ns, struct buf *text, uint64_t *ret_first_ns, char *why)
{
	/* version, command, three arguments */
	static const char question[] = "1\0threaddump\0-l\0\0";
	uint64_t asked_ns = now_ns(), first_ns = 0;
	char chunk[65536];

	if (send(sock, question, sizeof(question), MSG_NOSIGNAL) != (ssize_t)sizeof(question))
		return say(why, -EIO, "it took no question");
	for (;;) {
		ssize_t n = recv(sock, chunk, sizeof(chunk), 0);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return say(why, -errno, "it broke off");
		if (n < 0 && wait_fd(sock, POLLIN, until_ns) <= 0)
			return say(why, -ETIMEDOUT, "it did not answer in time");
		if (n > 0 && !first_ns)
			first_ns = now_ns() - asked_ns;
		if (n > 0)
			buf_add(text, chunk, (size_t)n);
		if (text->full)
			break;
	}
	if (text->len < 2 || memcmp(text->data, "0\n", 2) != 0)
		return say(why, -EPROTO, "it refused");
	*ret_first_ns = first_ns;
	return 0;
}
