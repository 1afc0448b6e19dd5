// SPDX-License-Identifier: MIT
/* The parent's side: start, order, result. Rejected: a fork without exec (the worker
 * would hold our BPF, sockets and memory). Trap: a worker can die at any instant, also
 * between two messages: what it said last tells what it may have left behind. */
#include "dump.h"

#include "child.h"
#include "ktime.h"
#include "leftover.h"
#include "parcel.h"
#include "proc.h"
#include "sink.h"
#include "worker.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define CANCEL_WAIT_MS 3000 /* for a worker to have its copy reaped */
#define EXIT_WAIT_MS 2000   /* for one that is done to be gone: a disk may hold it */
#define REAPERS_MOST 8
#define SETTLE_NS (6 * NSEC_PER_SEC) /* more than one reaper waits for a copy on its way out */
#define SETTLE_NAP_NS (100 * NSEC_PER_MSEC)

struct dump_job {
	struct child child;
	int fd;
	int dir_fd; /* ours, for a hidden file that a killed worker may leave */
	pid_t worker, target;
	uint64_t target_start;	 /* 0: not known */
	struct worker_note note; /* the last one */
	bool cancelled;		 /* it was asked to end */
};

static void job_free(struct dump_job *job)
{
	if (job->fd >= 0)
		close(job->fd);
	if (job->dir_fd >= 0)
		close(job->dir_fd);
	if (job->child.pidfd >= 0)
		close(job->child.pidfd);
	free(job);
}

int dump_start(int dir_fd, int analyst_fd, struct dump_job **ret_job, struct err *err)
{
	char *argv[] = { "reqtrap", "--worker", NULL };
	struct dump_job *job = calloc(1, sizeof(*job));
	struct child_fd fds[3];
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR"); /* for the journal of leftovers */
	char runtime[PATH_MAX + 32];
	char *envp[] = { "PATH=/usr/bin:/bin", "LANG=C.UTF-8", runtime, NULL };
	struct child_spec spec = {
		.argv = argv, .envp = runtime_dir ? envp : NULL, .fds = fds, .own_session = true, .no_wait = true
	};
	int pair[2], r;

	if (!job)
		return err_sys(err, -ENOMEM, "cannot start the dump worker");
	*job = (struct dump_job){ .child.pidfd = -1, .fd = -1, .dir_fd = -1 };
	snprintf(runtime, sizeof(runtime), "XDG_RUNTIME_DIR=%s", runtime_dir ? runtime_dir : "");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		r = err_sys(err, -errno, "cannot start the dump worker");
		job_free(job);
		return r;
	}
	job->fd = pair[0];
	fds[spec.fd_count++] = (struct child_fd){ pair[1], WORKER_FD_PARENT };
	if (dir_fd >= 0) {
		job->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
		fds[spec.fd_count++] = (struct child_fd){ dir_fd, WORKER_FD_DIR };
	}
	if (analyst_fd >= 0)
		fds[spec.fd_count++] = (struct child_fd){ analyst_fd, WORKER_FD_ANALYST };
	r = child_start(&spec, &job->child, err);
	close(pair[1]);
	if (r < 0) {
		job_free(job);
		return r;
	}
	job->worker = job->child.pid;
	*ret_job = job;
	return 0;
}

int dump_order_send_dir(struct dump_job *job, const struct dump_order *order, int dir_fd, struct err *err)
{
	int r;

	if (dir_fd >= 0) {
		if (job->dir_fd >= 0)
			close(job->dir_fd);
		job->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	}
	job->target = order->pid;
	job->target_start = order->start_ticks;
	r = parcel_send(job->fd, order, sizeof(*order), &dir_fd, dir_fd >= 0, 0);
	return r < 0 ? err_sys(err, r, "cannot tell the dump worker what to do") : 0;
}

int dump_order_send(struct dump_job *job, const struct dump_order *order, struct err *err)
{
	return dump_order_send_dir(job, order, -1, err);
}

int dump_fd(const struct dump_job *job)
{
	return job->fd;
}

void dump_progress(const struct dump_job *job, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = job->note.done;
	*ret_total = job->note.total;
}

bool dump_waits(const struct dump_job *job)
{
	return job->note.stage == WORKER_WAITING;
}

/* --- what a killed worker leaves --- */

static int reaper_start(pid_t pid, uint64_t start_ticks, struct dump_job **ret_job)
{
	struct dump_order order = { .pid = pid, .start_ticks = start_ticks, .kinds = DUMP_REAP };
	struct dump_job *job;
	int r = dump_start(-1, -1, &job, NULL);

	if (r < 0)
		return r;
	r = dump_order_send(job, &order, NULL);
	*ret_job = job;
	return r;
}

/* Nobody waits for these but dump_settle: else what becomes of them is seen when the next
 * one is started. */
static struct dump_job *reapers[REAPERS_MOST];

static bool reap_aside(pid_t pid, uint64_t start_ticks)
{
	struct dump_result result;

	for (size_t i = 0; i < ARRAY_LEN(reapers); i++) {
		if (reapers[i] && dump_finish(reapers[i], false, &result) == 0)
			reapers[i] = NULL;
		if (!reapers[i])
			return reaper_start(pid, start_ticks, &reapers[i]) == 0;
	}
	return false;
}

/* A reaper that could not stop the thread in time has ended, since only its end lets that
 * thread go; or another reqtrap was at it. Another one tries again. */
static void settle(struct dump_job **reaper, uint64_t end_ns)
{
	struct dump_result result;
	uint64_t now, start_ticks;
	pid_t pid;

	while (*reaper && (now = now_ns()) < end_ns) {
		struct pollfd pfd = { .fd = (*reaper)->fd, .events = POLLIN };

		pid = (*reaper)->target;
		start_ticks = (*reaper)->target_start;
		if (poll(&pfd, 1, (int)((end_ns - now) / NSEC_PER_MSEC) + 1) <= 0 ||
		    dump_finish(*reaper, false, &result) == -EAGAIN)
			continue;
		*reaper = NULL;
		if (result.code == 0 || result.code == -ESRCH)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NAP_NS }, NULL);
		if (reaper_start(pid, start_ticks, reaper) < 0)
			return;
	}
}

void dump_settle(void)
{
	uint64_t end_ns = now_ns() + SETTLE_NS;

	for (size_t i = 0; i < ARRAY_LEN(reapers); i++)
		settle(&reapers[i], end_ns);
}

static void reap_left(void *arg, int dir_fd, struct leftover *left)
{
	struct dump_result result;
	struct dump_job *job;
	struct proc proc;
	pid_t inside;
	bool dead, here = proc_open(&proc, left->target, NULL) == 0 && proc.start_ticks == left->target_start;

	(void)arg;
	if (!here || (!leftover_find(&proc, &inside, &dead) && !leftover_coming(&proc)))
		leftover_forget(dir_fd, left);
	else if (!leftover_noted(&proc, true) && /* else who dumps it now does this at the end */
		 reaper_start(left->target, left->target_start, &job) == 0)
		dump_finish(job, true, &result);
	proc_close(&proc);
}

void dump_reap(void)
{
	CLEAN(fd) int dir_fd = leftover_open(NULL, false);

	if (dir_fd >= 0)
		leftover_each(dir_fd, reap_left, NULL);
}

/* The worker died: what did it leave? */
static void tell_death(const struct dump_job *job, int status, struct dump_result *result)
{
	char part[64], leftover[200] = "";
	struct proc_stat stat;
	char path[64];
	bool copy = false, reaped;

	*result = (struct dump_result){ .code = -EIO };
	if (job->dir_fd >= 0) {
		sink_part_name(job->worker, part, sizeof(part));
		if (faccessat(job->dir_fd, part, F_OK, AT_SYMLINK_NOFOLLOW) == 0) /* else a disk that hangs holds us */
			unlinkat(job->dir_fd, part, 0);
	}
	if (job->note.child) {
		snprintf(path, sizeof(path), "/proc/%d/stat", job->note.child);
		copy = proc_stat_read(AT_FDCWD, path, &stat) == 0 && stat.ppid == job->target;
	}
	reaped = (copy || job->note.stage == WORKER_CLONING) && reap_aside(job->target, job->target_start);
	if (copy)
		snprintf(leftover, sizeof(leftover), "; process %d keeps a dead child, process %d, until %s",
			 job->target, job->note.child, reaped ? "it is reaped, which is under way" : "it ends");
	else if (job->note.stage == WORKER_CLONING)
		snprintf(leftover, sizeof(leftover), "; process %d may keep a dead child until %s", job->target,
			 reaped ? "it is reaped, which is under way" : "it ends");
	if (status >= 128)
		snprintf(result->error, sizeof(result->error), "the dump worker was killed (signal %d)%s", status - 128,
			 leftover);
	else
		snprintf(result->error, sizeof(result->error), "the dump worker ended early (code %d)%s", status,
			 leftover);
}

/* Of the messages on the way to the result. */
static bool take_note(struct dump_job *job, const void *message, ssize_t len)
{
	if (len != (ssize_t)sizeof(job->note))
		return false;
	memcpy(&job->note, message, sizeof(job->note));
	return true;
}

static void reap_soon(struct child *child)
{
	struct pollfd pfd = { .fd = child->pidfd, .events = POLLIN };

	poll(&pfd, 1, EXIT_WAIT_MS);
	child_reap(child, false); /* else whoever reaps what we leave reaps it */
}

int dump_finish(struct dump_job *job, bool block, struct dump_result *ret_result)
{
	struct dump_result result;
	bool have = false;
	int status;

	for (;;) {
		struct pollfd pfd = { .fd = job->fd, .events = POLLIN };
		ssize_t n;

		/* One that was asked to end and does not is made to. */
		if (block && job->cancelled && poll(&pfd, 1, CANCEL_WAIT_MS) == 0)
			child_kill(&job->child);
		n = recv(job->fd, &result, sizeof(result), block ? 0 : MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (take_note(job, &result, n))
			continue;
		have = n == (ssize_t)sizeof(result);
		if (have && result.goes_on) {
			*ret_result = result;
			return 1;
		}
		break;
	}
	/* Its last message sent, or its socket closed: it is at its end. */
	status = 0;
	if (!have)
		status = child_reap(&job->child, true);
	else if (block)
		reap_soon(&job->child);
	else
		child_leave(&job->child);
	if (!have)
		tell_death(job, status, &result);
	else if (job->note.stage == WORKER_CLONING || job->note.stage == WORKER_CLONED)
		reap_aside(job->target, job->target_start); /* the clone, or its reaping, was given up */
	*ret_result = result;
	job_free(job);
	return 0;
}

void dump_cancel(struct dump_job *job)
{
	/* One that has no order yet has nothing to clean up. Asked twice: at once. */
	if (!job->target || job->cancelled)
		child_kill(&job->child);
	else
		kill(job->child.pid, SIGTERM);
	if (job->target)
		kill(job->child.pid, SIGCONT); /* it may be stopped itself */
	job->cancelled = true;
}
