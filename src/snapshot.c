// SPDX-License-Identifier: MIT
/* clone(CLONE_FILES, exit signal 0): the copy shares the descriptor table, so that a
 * connection the server closes is closed; its end sends no SIGCHLD, so that the server
 * never learns of it, and therefore never reaps it: that is done with an injected
 * wait4. Rejected: fork (holds every socket), CLONE_PARENT (tells the server's parent). */
#include "snapshot.h"

#include "ktime.h"
#include "leftover.h"
#include "pages.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CHILD_WAIT_NS (2 * NSEC_PER_SEC)
#define CHILD_EXIT_NS (30 * NSEC_PER_SEC) /* freeing its memory takes about 13 ms a GiB */
#define RESERVE_BYTES (16ull << 20)	  /* some 20 ms of a process that writes to all its memory */
#define REAP_TRIES 20
#define LEFTOVERS_MOST 64		 /* dead copies of killed workers that one dump has reaped */
#define CLONE_LATE_NS (1 * NSEC_PER_SEC) /* the call of a killed worker may still run for so long */
#define CHILD_LATE_NS (5 * NSEC_PER_SEC) /* a copy without a worker gets this long to be gone */
#define REAP_WAIT_NS (500 * NSEC_PER_MSEC)

static int refuse(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return -EOPNOTSUPP;
}

static uint64_t field_kb(const char *text, const char *key)
{
	const char *p = text ? strstr(text, key) : NULL;

	return p ? strtoull(p + strlen(key), NULL, 10) << 10 : 0;
}

static uint64_t number_file(int dir_fd, const char *path)
{
	CLEAN(free) char *text = NULL;

	if (proc_file(dir_fd, path, 4096, &text, NULL) < 0 || text[0] < '0' || text[0] > '9')
		return UINT64_MAX; /* 'max', or no such limit */
	return strtoull(text, NULL, 10);
}

/* Where memory control groups say what they allow, in both versions of them. */
static const struct cgroup_kind {
	const char *line; /* begins the path in /proc/PID/cgroup, at or after the line's begin */
	const char *root, *max, *current, *reclaimable;
} cgroup_kinds[] = {
	{ "0::", "/sys/fs/cgroup", "memory.max", "memory.current", "\ninactive_file " },
	{ ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	  "\ntotal_inactive_file " },
};

static uint64_t group_file(const struct cgroup_kind *kind, const char *group, const char *file)
{
	char path[4096 + 128];

	snprintf(path, sizeof(path), "%s%s/%s", kind->root, group, file);
	return number_file(AT_FDCWD, path);
}

/* One group: its limit less what is in use and cannot be had back at once. */
static uint64_t group_headroom(const struct cgroup_kind *kind, const char *group)
{
	uint64_t max = group_file(kind, group, kind->max), current = group_file(kind, group, kind->current);
	CLEAN(free) char *stat = NULL;
	char path[4096 + 128];
	const char *p;

	if (max == UINT64_MAX || current == UINT64_MAX)
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s%s/memory.stat", kind->root, group);
	if (proc_file(AT_FDCWD, path, 65536, &stat, NULL) == 0 && (p = strstr(stat, kind->reclaimable)))
		current -= MIN(current, strtoull(p + strlen(kind->reclaimable), NULL, 10));
	return max > current ? max - current : 0;
}

/* The least that the target's group and those above it still allow. */
static uint64_t cgroup_headroom(int dir_fd)
{
	CLEAN(free) char *text = NULL;
	uint64_t least = UINT64_MAX;
	char *line, *save = NULL;

	if (proc_file(dir_fd, "cgroup", 65536, &text, NULL) < 0)
		return least;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		for (size_t i = 0; i < ARRAY_LEN(cgroup_kinds); i++) {
			char *group = strstr(line, cgroup_kinds[i].line), *slash;

			if (!group || (i == 0 && group != line))
				continue;
			group += strlen(cgroup_kinds[i].line);
			if (strstr(group, "..") || strlen(group) > 4096)
				continue;
			while ((slash = strrchr(group, '/')) && slash[1]) {
				least = MIN(least, group_headroom(&cgroup_kinds[i], group));
				*(slash == group ? slash + 1 : slash) = '\0';
			}
		}
	}
	return least;
}

/* The copy costs page tables now, and a page for each page the server writes to while
 * the core is being written: a quarter of its memory is taken as the most. */
static int check_memory(const struct proc *proc, const struct proc_status *status, char *why, size_t size)
{
	CLEAN(free) char *meminfo = NULL;
	uint64_t need = status->pte_bytes + status->rss_anon_bytes / 4 + (16ull << 20);
	uint64_t headroom = cgroup_headroom(proc->dir_fd), avail = UINT64_MAX;

	if (proc_file(AT_FDCWD, "/proc/meminfo", 65536, &meminfo, NULL) == 0)
		avail = field_kb(meminfo, "MemAvailable:");
	if (MIN(headroom, avail) >= need)
		return 0;
	snprintf(why, size, "too little memory for a copy: %llu MiB %s, about %llu MiB may be needed",
		 (unsigned long long)(MIN(headroom, avail) >> 20),
		 headroom < avail ? "left in its control group" : "available", (unsigned long long)(need >> 20));
	return -EOPNOTSUPP;
}

int snapshot_room(const struct snapshot *snapshot, uint64_t most_bytes, struct err *err)
{
	uint64_t left = cgroup_headroom(snapshot->proc->dir_fd);

	if (left >= MIN(most_bytes, RESERVE_BYTES))
		return 0;
	return err_say(err, -ECANCELED,
		       "the copy of process %d was given up: only %llu MiB are left in its control group",
		       snapshot->proc->pid, (unsigned long long)(left >> 20));
}

static int check_status(const struct snapshot *snapshot, char *why, size_t size)
{
	static char text[16384];
	const char *seccomp, *state;
	ssize_t n = pread(snapshot->status_fd, text, sizeof(text) - 1, 0);

	/* Read once: this is done in the stop, too. A name cannot fake a line of its own. */
	text[MAX(n, 0)] = '\0';
	if (!(state = strstr(text, "\nState:\t")) || strchr("ZX", state[8]))
		return refuse(why, size, "its main thread has ended");
	seccomp = strstr(text, "\nSeccomp:\t");
	if (seccomp && seccomp[10] == '1')
		return refuse(why, size, "it runs in strict seccomp mode, where a clone would kill it");
	if (seccomp && seccomp[10] != '0')
		return refuse(why, size, "it has a seccomp filter, which might kill it for a clone");
	if (strstr(text, "\nx86_Thread_features:") && strstr(text, "shstk"))
		return refuse(why, size, "it uses a shadow stack");
	return 0;
}

static void snapshot_init(struct snapshot *snapshot, const struct proc *proc)
{
	char path[64];

	*snapshot = (struct snapshot){
		.proc = proc, .tid = proc->pid, .target_mem_fd = -1, .dir_fd = -1, .mem_fd = -1, .pagemap_fd = -1
	};
	snprintf(path, sizeof(path), "task/%d/status", snapshot->tid);
	snapshot->status_fd = openat(proc->dir_fd, path, O_RDONLY | O_CLOEXEC);
}

/* An open one shows the memory of before an exec for ever, if another process shares it. */
static void reopen_mem(struct snapshot *snapshot)
{
	if (snapshot->target_mem_fd >= 0)
		close(snapshot->target_mem_fd);
	snapshot->target_mem_fd = openat(snapshot->proc->dir_fd, "mem", O_RDWR | O_CLOEXEC);
}

static int find_site(struct snapshot *snapshot, const struct proc_maps *maps, char *why, size_t why_size)
{
	const char *missing;
	struct memory mem;
	int r;

	proc_program_read(snapshot->proc->dir_fd, &snapshot->program);
	reopen_mem(snapshot);
	if (snapshot->target_mem_fd < 0)
		return refuse(why, why_size, "its memory cannot be written to");
	mem = memory_of_fd(&snapshot->target_mem_fd);
	r = arch_site_find(maps, &mem, &snapshot->site, &missing);
	if (r < 0) {
		snprintf(why, why_size, "no place to make the call from: %s was not found",
			 r == -ENOENT ? missing : "memory to look for one");
		return -EOPNOTSUPP;
	}
	if (snapshot->site.stack_high - snapshot->site.stack_low < 2 * ARCH_SITE_BYTES)
		return refuse(why, why_size, "its main stack is too small");
	return 0;
}

int snapshot_prepare(struct snapshot *snapshot, const struct proc *proc, const struct proc_maps *maps, char *why,
		     size_t why_size)
{
	struct proc_status status;
	int r;

	snapshot_init(snapshot, proc);
	r = check_status(snapshot, why, why_size);
	if (r < 0)
		return r;
	if (proc_status_read(proc->dir_fd, "status", &status) < 0)
		return refuse(why, why_size, "it has ended");
	r = check_memory(proc, &status, why, why_size);
	if (r < 0)
		return r;
	return find_site(snapshot, maps, why, why_size);
}

/* Is the low end of the main stack unused? Below the stack pointer of a thread that
 * runs on it, it is. A thread that runs elsewhere (a coroutine) may come back to
 * frames anywhere on it: then only memory that nobody but us ever wrote to will do. */
static int check_stack(const struct snapshot *snapshot, const struct arch_state *state, char *why, size_t size)
{
	static uint8_t site[ARCH_SITE_BYTES];
	const struct arch_site *s = &snapshot->site;
	uint64_t sp = arch_sp(&state->regs);

	if (sp >= s->stack_low && sp < s->stack_high) {
		if (sp - s->stack_low < ARCH_STACK_FREE)
			return refuse(why, size, "too little room is left on its main stack");
		return 0;
	}
	if (pread(snapshot->target_mem_fd, site, sizeof(site), (off_t)s->stack_low) != (ssize_t)sizeof(site))
		return refuse(why, size, "its main stack cannot be read");
	if (!arch_site_unused(s, site))
		return refuse(why, size, "its main thread runs on another stack, and the main stack is in use");
	return 0;
}

static int check_stopped(const struct snapshot *snapshot, struct freeze *freeze, char *why, size_t size)
{
	bool taken = freeze_take(freeze, snapshot->tid, NULL) == 0;
	const struct freeze_thread *thread = freeze_find(freeze, snapshot->tid);
	const struct arch_state *state = thread && taken ? freeze_state(freeze, thread) : NULL;
	struct memory mem = memory_of_fd(&snapshot->target_mem_fd);

	if (freeze->running)
		return refuse(why, size, "a thread could not be stopped (uninterruptible wait, or vfork)");
	if (!state || !thread->stopped)
		return refuse(why, size, "its main thread could not be stopped");
	if (thread->group_stop)
		return refuse(why, size, "it is stopped by a signal, so that nothing is gained by a copy");
	if (!arch_site_holds(&snapshot->site, &mem))
		return refuse(why, size, "its code has changed meanwhile");
	if (arch_in_rseq(thread->tid, &state->regs, &mem))
		return refuse(why, size, "its main thread is inside a restartable sequence");
	return check_stack(snapshot, state, why, size);
}

int snapshot_take(struct snapshot *snapshot, struct freeze *freeze, uint64_t wait_ns, char *why, size_t why_size)
{
	const uint64_t arg[6] = { CLONE_FILES };
	int64_t value = 0;
	pid_t child = 0;
	int r;

	reopen_mem(snapshot);
	r = check_stopped(snapshot, freeze, why, why_size);
	if (r == 0)
		r = check_status(snapshot, why, why_size);
	if (r < 0)
		return r;
	r = freeze_call(freeze, freeze_find(freeze, snapshot->tid), &snapshot->site, snapshot->target_mem_fd, SYS_clone,
			arg, wait_ns, &snapshot->frames, &value, &child);
	snapshot->child = child;
	snapshot->child_inside = value;
	if (r == -ETIMEDOUT) {
		snprintf(why, why_size, "the clone did not end in time");
		return r;
	}
	if (r < 0 || !child || value <= 0) {
		snprintf(why, why_size, "the clone failed: %s",
			 strerror(r < 0	      ? -r
				  : value < 0 ? (int)-value
					      : EAGAIN));
		return child ? -ETIMEDOUT : -EOPNOTSUPP;
	}
	return 0;
}

int snapshot_hold(struct snapshot *snapshot, struct err *err)
{
	int fd, r = freeze_child_hold(snapshot->child, CHILD_WAIT_NS);

	if (r < 0)
		return err_sys(err, r, "cannot hold the copy of process %d", snapshot->proc->pid);
	snapshot->dir_fd = proc_dir_open(snapshot->child);
	fd = openat(snapshot->dir_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1000", 4) != 4)
		r = -errno;
	if (fd >= 0)
		close(fd);
	/* The copy was made with our frames in it. It dies with us now: they can go. */
	fd = openat(snapshot->dir_fd, "mem", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		arch_frames_erase(&snapshot->frames, fd);
		close(fd);
	}
	snapshot->mem_fd = openat(snapshot->dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	snapshot->pagemap_fd = openat(snapshot->dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (snapshot->mem_fd < 0 || snapshot->pagemap_fd < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "cannot open the copy of process %d", snapshot->proc->pid) : 0;
}

bool snapshot_alive(const struct snapshot *snapshot)
{
	struct proc_stat stat;

	return proc_stat_read(snapshot->dir_fd, "stat", &stat) == 0 && stat.state != 'Z' && stat.state != 'X';
}

/* After an exec the places of the program before are no more. */
static void find_site_anew(struct snapshot *snapshot)
{
	struct proc_maps maps = { 0 };
	char why[128];

	if (proc_program_same(snapshot->proc->dir_fd, &snapshot->program) ||
	    proc_maps_read(snapshot->proc->dir_fd, false, &maps, NULL) < 0)
		return;
	if (find_site(snapshot, &maps, why, sizeof(why)) < 0)
		snapshot->program = (struct proc_program){ .addr = 1 }; /* of nobody: not to be used */
	proc_maps_free(&maps);
}

/* One try to have the target wait for its dead child. 1: try again. */
static int reap_once(struct snapshot *snapshot, uint64_t *pause_ns, char *why, size_t size)
{
	const uint64_t arg[6] = { (uint64_t)snapshot->child_inside, 0, __WALL | WNOHANG };
	struct memory mem = memory_of_fd(&snapshot->target_mem_fd);
	const struct arch_state *state = NULL;
	struct freeze freeze;
	struct err err = { "" };
	int64_t value = 0;
	pid_t none;
	int r, again = 1;

	find_site_anew(snapshot);
	freeze_init(&freeze, snapshot->proc);
	if (snapshot->host)
		freeze_share(&freeze, snapshot->host);
	freeze.longest_ns = 2 * REAP_WAIT_NS;
	r = freeze_seize(&freeze, snapshot->tid, &err);
	if (r == 0)
		r = freeze_stop(&freeze, snapshot->tid, REAP_WAIT_NS, &err);
	reopen_mem(snapshot);
	if (r < 0) {
		snprintf(why, size, "%s", err.text);
		/* Only our exit lets go of a thread that does not stop. */
		again = 0;
	} else if (!proc_program_same(snapshot->proc->dir_fd, &snapshot->program)) {
		snprintf(why, size, "it becomes another program again and again");
	} else if (!arch_site_holds(&snapshot->site, &mem)) {
		snprintf(why, size, "its code has changed meanwhile");
	} else if (check_status(snapshot, why, size) == 0 && (state = freeze_state(&freeze, &freeze.thread[0])) &&
		   !arch_in_rseq(snapshot->tid, &state->regs, &mem) && check_stack(snapshot, state, why, size) == 0) {
		r = freeze_call(&freeze, &freeze.thread[0], &snapshot->site, snapshot->target_mem_fd, SYS_wait4, arg,
				REAP_WAIT_NS, &snapshot->frames, &value, &none);
		again = r < 0 ? 0 : value == 0;
		if (r < 0 || (value < 0 && value != -ECHILD))
			snprintf(why, size, "the wait failed: %s", strerror(r < 0 ? -r : (int)-value));
		else if (!again)
			*why = '\0';
	}
	freeze_thaw(&freeze);
	if (freeze.stop_ns)
		*pause_ns += freeze.thaw_ns - freeze.stop_ns;
	freeze_done(&freeze);
	return again;
}

/* Of workers that were killed. With 'wait' for one that is on its way out, or that the
 * call of such a worker still makes. */
static void reap_leftovers(struct snapshot *snapshot, bool wait, uint64_t *pause_ns, char *why, size_t size)
{
	uint64_t start_ns = now_ns(), coming_ns = start_ns; /* the call was last seen */
	pid_t inside, last = 0;
	bool dead;

	for (int i = 0; i < LEFTOVERS_MOST && proc_alive(snapshot->proc);) {
		bool coming = leftover_coming(snapshot->proc); /* before the look for what came of it */
		pid_t pid = leftover_find(snapshot->proc, &inside, &dead);

		if (coming)
			coming_ns = now_ns();
		if (!pid || !dead) {
			uint64_t now = now_ns();
			bool may_come = pid || coming || (!last && now - coming_ns < CLONE_LATE_NS);

			if (!wait || !may_come || now - start_ns >= CHILD_LATE_NS)
				return;
			nanosleep(&(struct timespec){ .tv_nsec = 10 * NSEC_PER_MSEC }, NULL);
			continue;
		}
		if (pid == last) /* it does not go */
			return;
		snapshot->child_inside = inside;
		if (reap_once(snapshot, pause_ns, why, size) < 0)
			return;
		last = pid;
		i++;
	}
}

int snapshot_reap(struct snapshot *snapshot, const struct proc *proc, const struct proc_maps *maps,
		  uint64_t *ret_pause_ns, struct err *err)
{
	char why[sizeof(err->text)] = "it is not dead yet";
	pid_t inside, left;
	bool dead;
	int r;

	snapshot_init(snapshot, proc);
	r = check_status(snapshot, why, sizeof(why));
	if (r == 0)
		r = find_site(snapshot, maps, why, sizeof(why));
	if (r == 0)
		reap_leftovers(snapshot, true, ret_pause_ns, why, sizeof(why));
	left = leftover_find(proc, &inside, &dead);
	if ((!left && !leftover_coming(proc)) || !proc_alive(proc))
		return 0;
	if (!left)
		return err_say(err, -ECHILD, "process %d is still being copied for a worker that is gone", proc->pid);
	return err_say(err, -ECHILD, "process %d keeps a dead child, process %d, until it ends: %s", proc->pid, left,
		       why);
}

int snapshot_drop(struct snapshot *snapshot, uint64_t *ret_pause_ns, struct err *err)
{
	char why[sizeof(err->text)] = "it is not dead yet", late[sizeof(err->text)];
	pid_t child = snapshot->child;
	int again = 1;

	if (!child)
		return 0;
	if (freeze_child_end(child, CHILD_EXIT_NS) < 0)
		return err_say(err, -ETIMEDOUT, "the copy (process %d) of process %d does not end", child,
			       snapshot->proc->pid);
	snapshot->child = 0;
	for (int i = 0; i < REAP_TRIES && again > 0 && proc_alive(snapshot->proc); i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = 10 * NSEC_PER_MSEC }, NULL);
		again = reap_once(snapshot, ret_pause_ns, why, sizeof(why));
	}
	if (!*why && proc_alive(snapshot->proc) && leftover_noted(snapshot->proc, false))
		reap_leftovers(snapshot, false, ret_pause_ns, late, sizeof(late));
	if (!*why || !proc_alive(snapshot->proc))
		return 0;
	return err_say(err, -ECHILD, "process %d keeps a dead child, process %d, until it ends: %s",
		       snapshot->proc->pid, child, why);
}

void snapshot_close(struct snapshot *snapshot)
{
	int *fds[] = { &snapshot->status_fd, &snapshot->target_mem_fd, &snapshot->dir_fd, &snapshot->mem_fd,
		       &snapshot->pagemap_fd };

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
