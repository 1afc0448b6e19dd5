// SPDX-License-Identifier: MIT
/* All that can be known before the stop is looked at before the stop. Rejected: to stop
 * first and refuse then. Trap: nothing seen here is sure to hold in the stop; what must
 * hold there is looked at again. */
#include "plan.h"

#include "assemble.h"
#include "contents.h"
#include "ktime.h"
#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* smaps costs 35 ms a GiB: above this it is not read before the stop, but afterwards. */
#define FLAGS_FIRST_BYTES (128ull << 20)
#define OTHER_DUMP_NS (2 * NSEC_PER_SEC)
#define MINI_THREAD_NS (15 * NSEC_PER_USEC) /* its stack copied */

bool plan_other_dump_ends(struct worker *w)
{
	uint64_t deadline_ns = now_ns() + OTHER_DUMP_NS;
	struct stat ours, theirs;
	char path[32], name[64];

	if (stat("/proc/self/exe", &ours) < 0)
		return false;
	while (proc_status_read(w->proc.dir_fd, "status", &w->status) == 0 && now_ns() < deadline_ns) {
		if (!w->status.tracer || w->status.tracer == getpid())
			return true;
		snprintf(path, sizeof(path), "/proc/%d/exe", w->status.tracer);
		if (stat(path, &theirs) == 0 && (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev))
			return false;
		proc_name(w->status.tracer, name, sizeof(name));
		if (!strcmp(name, WORKER_STAYS)) /* for good, not for a dump */
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = 5 * NSEC_PER_MSEC }, NULL);
	}
	return false;
}

int plan_target(struct worker *w, struct err *err)
{
	CLEAN(fd) int exe = -1;
	char name[64];
	unsigned char ident[5];
	pid_t pid = w->order.pid;

	if (w->order.start_ticks && w->order.start_ticks != w->proc.start_ticks)
		return err_say(err, -ESRCH, "process %d has ended, and its number belongs to another one now", pid);
	if (pid == getpid())
		return err_say(err, -EINVAL, "a dump worker cannot dump itself");
	if (proc_status_read(w->proc.dir_fd, "status", &w->status) < 0)
		return err_say(err, -ESRCH, "process %d has ended", pid);
	if (w->status.tracer && w->status.tracer != getpid() && !plan_other_dump_ends(w)) {
		proc_name(w->status.tracer, name, sizeof(name));
		return err_say(err, -EPERM, "cannot dump process %d: it is traced already, by process %d ('%s')", pid,
			       w->status.tracer, name);
	}
	if (w->status.state == 'Z')
		return err_say(err, -ESRCH, "process %d has ended", pid);
	exe = openat(w->proc.dir_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (exe < 0 && errno == ENOENT)
		return err_say(err, -EINVAL, "process %d is a part of the kernel: it has no memory to dump", pid);
	if (exe < 0 && (errno == EACCES || errno == EPERM))
		return err_say(err, -EPERM,
			       "cannot dump process %d: not permitted; run as root, or with CAP_SYS_PTRACE", pid);
	if (exe >= 0 && read(exe, ident, sizeof(ident)) == (ssize_t)sizeof(ident) && ident[4] == 1)
		return err_say(err, -ENOTSUP, "process %d is a 32-bit program, which is not supported", pid);
	return 0;
}

int plan_text(int dir_fd, struct spool *text)
{
	int r = spool_open(text, -1);

	return r < 0 ? r : proc_spool(dir_fd, "maps", text);
}

int plan_maps(struct worker *w, struct err *err)
{
	bool core = w->order.kinds & DUMP_CORE;
	int r;

	proc_program_read(w->proc.dir_fd, &w->program);
	w->flags_known = core && w->status.rss_anon_bytes + w->status.rss_file_bytes + w->status.rss_shmem_bytes <=
					 FLAGS_FIRST_BYTES;
	r = w->analyst_fd >= 0 || !w->flags_known ? plan_text(w->proc.dir_fd, &w->before_text) : 0;
	if (r == 0 && w->flags_known)
		r = proc_maps_read(w->proc.dir_fd, true, &w->before, NULL);
	else if (r == 0)
		r = proc_maps_load(w->before_text.fd, NULL, NULL, &w->before);
	if (r == 0 && w->before.count == 0)
		return err_say(err, -ESRCH, "process %d has ended", w->order.pid);
	return r < 0 ? err_sys(err, r, "cannot read the memory map of process %d", w->order.pid) : 0;
}

/* It will take so long; may it? One that is stopped already has no pause to spare. */
int plan_allowed(struct worker *w, uint64_t cost_ns, const char *what, const char *choice, struct err *err)
{
	if (w->status.state == 'T')
		return 0;
	w->result.estimate_ns = cost_ns;
	return cost_check(cost_ns, w->order.pause_budget_ns, w->order.pid, what, choice, err);
}

int plan_allowed_stop(struct worker *w, struct err *err)
{
	return plan_allowed(w, w->cost.stop_ns, "writing the core with the process stopped",
			    "take a mini core or the stacks only, or allow a longer pause", err);
}

static uint64_t file_bytes(const struct worker *w)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < w->before.count && w->order.everything; i++)
		sum += side_file_bytes(w->proc.dir_fd, &w->before.map[i]);
	return sum;
}

/* Clone, or stop while the core is written, or no core at all. */
static int choose_method(struct worker *w, struct err *err)
{
	struct dump_result *result = &w->result;
	int r;

	w->cost.stop_ns += cost_of_copy(file_bytes(w));
	if (w->order.snapshot == SNAPSHOT_STOP)
		return plan_allowed_stop(w, err);
	r = snapshot_prepare(&w->snapshot, &w->proc, &w->before, result->why_not_clone, sizeof(result->why_not_clone));
	w->clone = r == 0;
	if (r < 0 && w->order.snapshot == SNAPSHOT_CLONE)
		return err_say(
			err, -EOPNOTSUPP,
			"process %d cannot be copied while it runs: %s; it can be stopped while the core is written",
			w->order.pid, result->why_not_clone);
	if (!w->clone)
		return plan_allowed_stop(w, err);
	return plan_allowed(
		w, w->cost.clone_ns, "a copy of its memory",
		"take a mini core or the stacks only, allow a longer pause, or let it stand still while the "
		"core is written",
		err);
}

unsigned int plan_filter(const struct worker *w)
{
	return w->order.everything ? FILTER_EVERYTHING : assemble_filter(w->proc.dir_fd);
}

/* What a clone lacks is copied in the stop as far as the budget allows: it is better read
 * late than the core refused. */
static int plan_side(struct worker *w)
{
	uint64_t budget = w->order.pause_budget_ns, clone_ns = w->cost.clone_ns;
	unsigned int filter = plan_filter(w);
	int r = side_open(&w->side, w->proc.dir_fd);
	const char *why;

	if (budget)
		w->side.copy_most = MIN(w->side.copy_most, cost_copy_bytes(budget - MIN(budget, clone_ns)));
	for (size_t i = 0; i < w->before.count && r == 0 && w->clone; i++) {
		const struct proc_map *map = &w->before.map[i];

		if ((contents_shared(map) || map->dontfork || map->wipeonfork) &&
		    contents_of(map, filter, true, false, &why) == CONTENTS_WHOLE)
			r = side_add(&w->side, map);
	}
	if (w->clone)
		w->result.estimate_ns = w->cost.clone_ns += cost_of_copy(w->side.copy_cap);
	return r == 0 ? side_reserve(&w->side) : r;
}

bool plan_held_out(struct worker *w)
{
	uint64_t now = now_ns(), bytes = w->done_bytes + (w->sink ? sink_put(w->sink) : 0);

	if (!w->held || w->freeze.thaw_ns)
		return false;
	if (bytes != w->moved_bytes || !w->moved_ns) {
		w->moved_bytes = bytes;
		w->moved_ns = now;
	}
	return (w->hold_until_ns && now > w->hold_until_ns) || now > w->moved_ns + DUMP_STALL_NS;
}

int plan_say_held_out(const struct worker *w, struct err *err)
{
	uint64_t now = now_ns();
	bool over = w->hold_until_ns && now > w->hold_until_ns;

	return err_say(err, -ETIMEDOUT, "process %d was let go after %.1f s, before its core was written: %s",
		       w->order.pid, ns_to_ms(now - w->fired_ns) / 1000,
		       over ? "it may be held no longer (--hold D)" : "the disk takes nothing any more");
}

/* Our parent has sent SIGTERM (which is blocked: we look when it does no harm), or is
 * gone: nobody would name the file any more. */
static bool cancel_asked(void *arg)
{
	struct worker *w = arg;
	struct pollfd pfd = { .fd = WORKER_FD_PARENT };
	sigset_t pending;

	return plan_held_out(w) || (sigpending(&pending) == 0 && sigismember(&pending, SIGTERM)) ||
	       (poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR));
}

/* Its memory is copied in the stop, however a full core would be made: that is shorter. */
static int plan_mini(struct worker *w, struct err *err)
{
	int r = plan_allowed(w, w->cost.look_ns + w->status.threads * MINI_THREAD_NS + cost_of_copy(MINI_LEAST_BYTES),
			     "a mini core", "take the stacks only, or allow a longer pause", err);

	if (r < 0)
		return r;
	if (side_open(&w->side, w->proc.dir_fd) < 0)
		return err_say(err, -EPERM, "cannot read the memory of process %d", w->order.pid);
	w->mini = (struct mini){
		.memory = memory_of_fd(&w->side.mem_fd),
		.pages = pages_of_cache(&w->side.pages),
		.maps = &w->before,
		.proc_dir_fd = w->proc.dir_fd,
		.holder_tid = w->order.holder_tid ? w->order.holder_tid : w->order.pid,
		.everything = w->order.everything,
		.omit = account_omit,
		.omit_arg = &w->account,
	};
	w->cost.bytes = MINI_AIM_BYTES + w->status.threads * 4ull * PAGE_BYTES;
	return mini_open(&w->mini, w->status.threads, err);
}

/* About what a full core takes, holes left out. */
static uint64_t full_bytes(const struct worker *w)
{
	return w->cost.bytes + w->status.rss_shmem_bytes + file_bytes(w);
}

static struct opening {
	struct sink_spec spec;
	char name[sizeof(((struct dump_order *)NULL)->file) + 16];
	struct sink *sink;
	struct err err;
	int r;
} opening;

static void *open_file(void *arg UNUSED)
{
	opening.r = sink_open(&opening.spec, &opening.sink, &opening.err);
	return NULL;
}

/* A disk that hangs holds whoever asks it for a file: not us while a thread of the process
 * waits. The one that asks is left behind then, and our exit lets the process go. */
static int open_aside(struct worker *w, struct err *err)
{
	uint64_t until_ns = now_ns() + (w->held ? DUMP_STALL_NS : FOLLOW_DEAF_NS / 2);
	struct timespec until;
	pthread_t thread;

	until_ns = w->hold_until_ns ? MIN(until_ns, w->hold_until_ns) : until_ns;
	until = (struct timespec){ .tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
				   .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };
	if (!w->fired_ns || pthread_create(&thread, NULL, open_file, NULL) != 0)
		open_file(NULL);
	else if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0)
		return w->held ? plan_say_held_out(w, err)
			       : err_say(err, -ETIMEDOUT, "cannot write '%s': the disk does not answer", opening.name);
	w->sink = opening.sink;
	return opening.r < 0 ? err_say(err, opening.r, "%s", opening.err.text) : 0;
}

int plan_core(struct worker *w, struct err *err)
{
	bool mini = w->order.kinds & DUMP_MINI;
	uint64_t expect;
	int r = mini ? plan_mini(w, err) : choose_method(w, err);

	if (r == 0 && !mini && plan_side(w) < 0)
		r = err_say(err, -ENOMEM, "cannot prepare the dump of process %d", w->order.pid);
	if (r < 0)
		return r;
	assemble_look(&w->proc, &w->about);
	if (!mini)
		w->cost.bytes = full_bytes(w);
	expect = w->cost.bytes;
	dump_part(opening.name, sizeof(opening.name), w->order.file, w->number);
	opening.sink = NULL;
	opening.spec = (struct sink_spec){ .dir_fd = w->dir_fd,
					   .name = opening.name,
					   .compress = w->order.compress ? SINK_ZSTD : SINK_PLAIN,
					   .expect_bytes = w->order.compress ? expect / 4 : expect,
					   .max_bytes = w->order.max_bytes,
					   .free_bytes = w->order.free_bytes,
					   .free_percent = w->order.free_percent,
					   .rate = w->order.rate,
					   .urgent = !w->clone };
	r = open_aside(w, err);
	if (r == 0)
		sink_cancel_when(w->sink, cancel_asked, w);
	return r;
}
