// SPDX-License-Identifier: MIT
/* One dump, and what is done to it: its worker is killed, stopped, delayed, orphaned, or
 * a call of it fails. Rejected: strace, which cannot kill at a stop. A worker is attached
 * to when it waits for its order: its start is not what is tested. */
#include "harm.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENDS_NS 60000000000u /* a dump, whatever is done to it, on a busy machine */
#define TRIES 10
#define STOP_MARGIN_NS 300000u

static char dir[128];

struct dump {
	pid_t worker, analyst;
	int sock, answer;
	uint64_t order_ns, end_ns;
	bool have; /* a result */
	struct dump_result result;
	int status;
};

void steer_init(const char *path)
{
	sigset_t chld;

	snprintf(dir, sizeof(dir), "%s", path);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void wait_chld(uint64_t ns)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigtimedwait(&chld, NULL, &(struct timespec){ .tv_nsec = (long)ns });
}

/* --- starting one --- */

static pid_t start_self(const char *verb, const int fds[3], const char *alloc)
{
	int exec_pipe[2], from[3];
	pid_t pid;
	char c;

	if (pipe2(exec_pipe, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (alloc) {
			setenv("LD_PRELOAD", alloc_path, 1);
			setenv("HARM_ALLOC", alloc, 1);
		}
		fcntl(exec_pipe[1], F_DUPFD_CLOEXEC, 20);
		for (int i = 0; i < 3; i++)
			from[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 20);
		for (int i = 0; i < 3; i++) {
			close(3 + i);
			if (from[i] >= 0)
				dup2(from[i], 3 + i);
		}
		execl(program, program, verb, NULL);
		_exit(127);
	}
	close(exec_pipe[1]);
	while (read(exec_pipe[0], &c, 1) < 0 && errno == EINTR)
		;
	close(exec_pipe[0]);
	return pid;
}

static void start(struct dump *d, const struct mode *mode, const char *alloc)
{
	int pair[2], brief[2] = { -1, -1 }, answer[2] = { -1, -1 };
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*d = (struct dump){ .sock = -1, .answer = -1 };
	if (dir_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	if (mode->kinds & DUMP_STACKS) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, brief) < 0 || pipe2(answer, O_CLOEXEC) < 0)
			die("an analyst's socket");
		d->analyst = start_self("--analyst", (int[]){ brief[0], answer[1], -1 }, NULL);
		close(brief[0]);
		close(answer[1]);
		d->answer = answer[0];
	}
	d->worker = start_self("--worker", (int[]){ pair[1], dir_fd, brief[1] }, alloc);
	close(pair[1]);
	close(dir_fd);
	if (brief[1] >= 0)
		close(brief[1]);
	d->sock = pair[0];
}

static void order(struct dump *d, const struct mode *mode, const struct victim *v)
{
	struct dump_order order = { .pid = v->pid,
				    .kinds = mode->kinds,
				    .snapshot = mode->snapshot,
				    .compress = mode->compress,
				    .free_bytes = 1,
				    .pause_budget_ns = BUDGET_NS };

	if (mode->waits)
		order.on.signals = sentry_bit(SIGRTMIN + 1);
	strcpy(order.file, "core");
	d->order_ns = now_ns();
	if (send(d->sock, &order, sizeof(order), MSG_NOSIGNAL) != (ssize_t)sizeof(order))
		die("an order");
}

/* --- its end --- */

static bool worker_ended(struct dump *d)
{
	int status;

	if (!d->worker)
		return true;
	while (waitpid(d->worker, &status, __WALL | WNOHANG) == d->worker) {
		if (!WIFEXITED(status) && !WIFSIGNALED(status))
			continue;
		d->status = status;
		d->worker = 0;
		return true;
	}
	return false;
}

static bool wait_end(struct dump *d, uint64_t most_ns)
{
	uint64_t end = now_ns() + most_ns;

	while (!worker_ended(d) && now_ns() < end)
		wait_chld(20000000);
	d->end_ns = now_ns();
	return !d->worker;
}

/* Where each thread of a worker hangs that does not end. */
static void does_not_end(const struct dump *d, struct outcome *out)
{
	char path[64], name[300], state, wchan[64];
	size_t at = (size_t)snprintf(out->harm, sizeof(out->harm),
				     "the worker does not end within %u s:", (unsigned int)(ENDS_NS / 1000000000u));
	struct dirent *e;
	DIR *list;

	snprintf(path, sizeof(path), "/proc/%d/task", d->worker);
	list = opendir(path);
	while (list && (e = readdir(list))) {
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%.20s/stat", path, e->d_name);
		f = fopen(name, "re");
		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = '?';
		if (f)
			fclose(f);
		snprintf(name, sizeof(name), "%s/%.20s/wchan", path, e->d_name);
		f = fopen(name, "re");
		if (!f || fscanf(f, "%63s", wchan) != 1)
			wchan[0] = '\0';
		if (f)
			fclose(f);
		if (at < sizeof(out->harm))
			at += (size_t)snprintf(out->harm + at, sizeof(out->harm) - at, " %c %s,", state, wchan);
	}
	if (list)
		closedir(list);
}

static void kill_worker(struct dump *d)
{
	if (d->worker)
		kill(d->worker, SIGKILL);
}

/* Of every thread of the worker: we may be the tracer of each. */
static void take_dead(struct dump *d)
{
	uint64_t end = now_ns() + ENDS_NS;

	while (d->worker && now_ns() < end) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL | WNOHANG | __WNOTHREAD);

		if (pid == d->worker && (WIFEXITED(status) || WIFSIGNALED(status))) {
			d->status = status;
			d->worker = 0;
		} else if (pid <= 0) {
			wait_chld(20000000);
		}
	}
}

static void finish(struct dump *d)
{
	ssize_t n = 0;

	if (d->worker) {
		kill_worker(d);
		take_dead(d);
	}
	do
		n = d->sock < 0 ? 0 : recv(d->sock, &d->result, sizeof(d->result), MSG_DONTWAIT);
	while (n > 0 && n < (ssize_t)sizeof(d->result));
	d->have = n == (ssize_t)sizeof(d->result);
	if (d->sock >= 0)
		close(d->sock);
	if (d->answer >= 0)
		close(d->answer);
	if (d->analyst > 0) {
		kill(d->analyst, SIGKILL);
		waitpid(d->analyst, NULL, __WALL);
	}
	d->sock = d->answer = -1;
	d->analyst = 0;
}

/* Whole: every segment it names lies in it. */
static bool core_whole(int fd)
{
	Elf64_Ehdr head;
	Elf64_Phdr seg;
	struct stat st;
	uint64_t end = 0, count;
	Elf64_Shdr first;

	if (fstat(fd, &st) < 0 || pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	count = head.e_phnum;
	if (count == PN_XNUM && pread(fd, &first, sizeof(first), (off_t)head.e_shoff) == (ssize_t)sizeof(first))
		count = first.sh_info;
	for (uint64_t i = 0; i < count; i++) {
		if (pread(fd, &seg, sizeof(seg), (off_t)(head.e_phoff + i * sizeof(seg))) != (ssize_t)sizeof(seg))
			return false;
		end = seg.p_offset + seg.p_filesz > end ? seg.p_offset + seg.p_filesz : end;
	}
	return count && end <= (uint64_t)st.st_size;
}

/* The folder holds a whole core, or nothing. Takes the core away. */
static void check_files(const struct dump *d, const struct mode *mode, struct outcome *out)
{
	bool core = false;
	struct dirent *e;
	DIR *list = opendir(dir);
	int fd = dirfd(list);

	while (!*out->harm && (e = readdir(list))) {
		if (!strcmp(e->d_name, "core"))
			core = true;
		else if (e->d_name[0] == '.' && strstr(e->d_name, ".part") && !d->have)
			unlinkat(fd, e->d_name, 0); /* the parent removes it */
		else if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			snprintf(out->harm, sizeof(out->harm), "a file is left: '%s'", e->d_name);
	}
	if (core) {
		int file = openat(fd, "core", O_RDONLY | O_CLOEXEC);

		if (!mode->compress && !*out->harm && !core_whole(file))
			snprintf(out->harm, sizeof(out->harm), "the core has its name and is not whole");
		if (d->have && d->result.code && !*out->harm)
			snprintf(out->harm, sizeof(out->harm), "there is a core although the dump failed: %.200s",
				 d->result.error);
		close(file);
		unlinkat(fd, "core", 0);
	}
	if (!core && d->have && !d->result.code && (mode->kinds & ~(uint32_t)DUMP_STACKS) && !*out->harm)
		snprintf(out->harm, sizeof(out->harm), "the dump says that it succeeded, and there is no core");
	closedir(list);
}

/* What the worker itself owes: an end in time, no crash, words for a failure. */
static void check_worker(const struct dump *d, struct outcome *out)
{
	if (*out->harm)
		return;
	if (WIFSIGNALED(d->status) && WTERMSIG(d->status) == SIGKILL)
		out->watchdog++;
	else if (WIFSIGNALED(d->status))
		snprintf(out->harm, sizeof(out->harm), "the worker crashed: signal %d (%s)", WTERMSIG(d->status),
			 strsignal(WTERMSIG(d->status)));
	else if (d->have && d->result.code && !d->result.error[0])
		snprintf(out->harm, sizeof(out->harm), "the dump failed with %d and says nothing", d->result.code);
	if (verbose && d->have)
		fprintf(stderr, "# %s: code %d %s %s\n", out->did, d->result.code, d->result.error,
			d->result.why_not_clone);
}

/* --- at a stop --- */

/* What is done at the 'at'-th stop; NULL: only counted. Returns false if all is done. */
struct plan {
	uint64_t at;
	bool threads; /* stops of the worker's other threads count, too */
	bool entries; /* count only entries of calls that can be made to fail */
	bool delays;  /* count only entries of ptrace */
	uint32_t variant;
	struct outcome *out;
	bool (*act)(struct victim *v, struct dump *d, pid_t tid, struct plan *plan);
	/* of the call that fails */
	pid_t failing;
	long fail_nr;
	int fail_code;
	bool for_ever;
};

static bool act_kill(struct victim *v, struct dump *d, pid_t tid, struct plan *plan)
{
	struct __ptrace_syscall_info info = { 0 };

	ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
	snprintf(plan->out->did, sizeof(plan->out->did), "killed at the %s of system call %lld",
		 info.op == PTRACE_SYSCALL_INFO_ENTRY ? "entry" : "exit",
		 info.op == PTRACE_SYSCALL_INFO_ENTRY ? (long long)info.entry.nr : -1);
	victim_release(v);
	kill_worker(d);
	take_dead(d);
	return false;
}

/* Left stopped until the victim goes on; if it stands still, for its budget and a second. */
static bool act_hang(struct victim *v, struct dump *d, pid_t tid, struct plan *plan)
{
	uint64_t start = now_ns(), end = start + BUDGET_NS + 3000000000u, tick = v->counts->tick[0];

	kill(tid, SIGSTOP);
	ptrace(PTRACE_DETACH, tid, NULL, (long)SIGSTOP);
	while (now_ns() < end && v->counts->tick[0] <= tick + 1)
		nap(1000000);
	if (v->counts->tick[0] <= tick + 1)
		snprintf(plan->out->harm, sizeof(plan->out->harm), "the victim hangs with its worker");
	plan->out->watchdog = worker_ended(d);
	snprintf(plan->out->did, sizeof(plan->out->did), "stopped for %llu ms",
		 (unsigned long long)(now_ns() - start) / 1000000);
	victim_release(v);
	kill_worker(d);
	take_dead(d);
	return false;
}

static bool act_delay(struct victim *v, struct dump *d, pid_t tid, struct plan *plan)
{
	(void)v;
	(void)d;
	(void)tid;
	snprintf(plan->out->did, sizeof(plan->out->did), "each ptrace delayed by 100 ms from the %llu-th on",
		 (unsigned long long)plan->at);
	nap(100000000);
	plan->at++;
	return true;
}

static bool act_fail(struct victim *v, struct dump *d, pid_t tid, struct plan *plan)
{
	struct __ptrace_syscall_info info = { 0 };
	const char *name = "";

	(void)v;
	(void)d;
	ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
	plan->fail_nr = (long)info.entry.nr;
	plan->fail_code = errors_of(plan->fail_nr, plan->variant, &name, &plan->for_ever);
	snprintf(plan->out->did, sizeof(plan->out->did), "%s fails: %s%s", name, strerrorname_np(plan->fail_code),
		 plan->for_ever ? ", also later" : "");
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1L);
	plan->failing = tid;
	return true;
}

/* Is this stop one that counts? */
static bool counts(pid_t tid, const struct plan *plan)
{
	struct __ptrace_syscall_info info = { 0 };
	const char *name;
	bool for_ever;

	if (!plan->entries && !plan->delays)
		return true;
	ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	return plan->delays ? info.entry.nr == SYS_ptrace : errors_of((long)info.entry.nr, 0, &name, &for_ever) > 0;
}

/* The exit of a call that was not made: its error. And once more, for those that go on. */
static bool fail_on(pid_t tid, struct plan *plan)
{
	struct __ptrace_syscall_info info = { 0 };

	if (!plan->fail_code)
		return false;
	if (tid == plan->failing) {
		ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), -(long)plan->fail_code);
		plan->failing = 0;
		return true;
	}
	if (!plan->for_ever || plan->failing)
		return false;
	ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY || (long)info.entry.nr != plan->fail_nr)
		return false;
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1L);
	plan->failing = tid;
	return true;
}

static void attach(struct dump *d, const struct plan *plan)
{
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | (plan->threads ? PTRACE_O_TRACECLONE : 0);
	int status;

	if (ptrace(PTRACE_SEIZE, d->worker, NULL, options) < 0 || ptrace(PTRACE_INTERRUPT, d->worker, NULL, NULL) < 0)
		die("the worker cannot be traced");
	do
		if (waitpid(d->worker, &status, __WALL) < 0)
			die("waitpid");
	while (WIFSTOPPED(status) && status >> 16 != PTRACE_EVENT_STOP);
}

/* Has it begun on its order? */
static bool takes_order(pid_t tid)
{
	struct __ptrace_syscall_info info = { 0 };

	ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
	return info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_recvmsg;
}

static bool system_call_stop(struct victim *v, struct dump *d, pid_t tid, struct plan *plan, uint64_t *seen)
{
	if (fail_on(tid, plan))
		return true;
	if (!counts(tid, plan))
		return true;
	++*seen;
	if (v->kind->flood && *seen % 3 == 0)
		victim_queue(v);
	return *seen != plan->at || !plan->act || plan->act(v, d, tid, plan);
}

/* Runs the worker from stop to stop. Returns how many there were; false in *ret_ended: it
 * was done with before its end. */
static uint64_t step(struct victim *v, struct dump *d, const struct mode *mode, struct plan *plan, bool *ret_ended)
{
	uint64_t seen = 0, end;
	bool ordered = false;

	*ret_ended = false;
	attach(d, plan);
	order(d, mode, v);
	end = now_ns() + ENDS_NS;
	ptrace(PTRACE_SYSCALL, d->worker, NULL, 0);
	while (now_ns() < end) {
		int status, event, sig;
		pid_t tid = waitpid(-1, &status, __WALL | WNOHANG | __WNOTHREAD);

		if (tid <= 0) {
			wait_chld(100000000);
			continue;
		}
		if (tid == d->analyst)
			d->analyst = -1;
		if (tid == v->pid || tid == d->analyst)
			continue; /* its death is told later */
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (tid != d->worker)
				continue;
			d->worker = 0;
			d->status = status;
			d->end_ns = now_ns();
			*ret_ended = true;
			return seen;
		}
		event = status >> 16;
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			if (!ordered)
				ordered = takes_order(tid);
			else if (!system_call_stop(v, d, tid, plan, &seen))
				return seen;
		} else if (event) {
			sig = 0;
		}
		ptrace(PTRACE_SYSCALL, tid, NULL, (long)sig);
	}
	does_not_end(d, plan->out);
	return seen;
}

/* --- the ways --- */

static struct plan plan_of(const struct point *p, struct outcome *out)
{
	struct plan plan = { .at = p->at, .variant = p->variant, .out = out, .threads = p->way == WAY_ALL };

	plan.entries = p->way == WAY_FAIL;
	plan.delays = p->way == WAY_DELAY;
	plan.act = p->way == WAY_FAIL	 ? act_fail
		   : p->way == WAY_HANG	 ? act_hang
		   : p->way == WAY_DELAY ? act_delay
					 : act_kill;
	return plan;
}

static void spin_until(uint64_t ns)
{
	while (now_ns() + 200000 < ns)
		nap(50000);
	while (now_ns() < ns)
		;
}

static void by_time(struct victim *v, struct dump *d, const struct mode *mode, const struct point *p,
		    struct outcome *out)
{
	nap(3000000); /* it waits for its order by then, or its start is killed */
	order(d, mode, v);
	if (v->kind->flood)
		victim_queue(v);
	while (mode->waits && now_ns() + 400000 < d->order_ns + p->at) {
		victim_queue(v);
		nap(200000);
	}
	spin_until(d->order_ns + p->at);
	out->ended = worker_ended(d);
	victim_release(v);
	kill_worker(d);
	take_dead(d);
	snprintf(out->did, sizeof(out->did), "killed %llu us after its order", (unsigned long long)p->at / 1000);
}

/* The worker's parent dies: a process between us and the worker. */
static void by_parent(struct victim *v, struct dump *d, const struct mode *mode, const struct point *p,
		      struct outcome *out)
{
	int told[2];
	pid_t parent;

	if (pipe2(told, O_CLOEXEC) < 0)
		die("pipe");
	parent = fork();
	if (parent == 0) {
		start(d, mode, NULL);
		nap(3000000);
		order(d, mode, v);
		if (write(told[1], d, sizeof(*d)) != (ssize_t)sizeof(*d))
			_exit(1);
		for (;;)
			pause();
	}
	close(told[1]);
	if (read(told[0], d, sizeof(*d)) != (ssize_t)sizeof(*d))
		die("a worker's parent");
	close(told[0]);
	d->sock = d->answer = -1;
	spin_until(d->order_ns + p->at);
	kill(parent, SIGKILL);
	if (p->way == WAY_BOTH)
		kill_worker(d);
	waitpid(parent, NULL, 0);
	victim_release(v);
	snprintf(out->did, sizeof(out->did), "its parent killed%s %llu us after its order",
		 p->way == WAY_BOTH ? " with it" : "", (unsigned long long)p->at / 1000);
	if (!wait_end(d, ENDS_NS))
		snprintf(out->harm, sizeof(out->harm), "the worker outlives its parent");
}

static void undisturbed(struct victim *v, struct dump *d, const struct mode *mode, struct outcome *out)
{
	uint64_t end = now_ns() + ENDS_NS;

	order(d, mode, v);
	while (mode->waits && now_ns() < end && !wait_end(d, 2000000))
		victim_queue(v);
	if (!wait_end(d, ENDS_NS))
		does_not_end(d, out);
}

/* As many dead children as such an end may leave. */
static uint32_t zombies_may(const struct dump *d, const struct point *p)
{
	if (p->way == WAY_PARENT)
		return WIFSIGNALED(d->status);
	return !(d->have && !d->result.code && !d->result.error[0]);
}

void steer_point(struct victim *v, const struct point *p, struct outcome *out)
{
	const struct mode *mode = &modes[p->mode];
	struct plan plan = plan_of(p, out);
	char alloc[32];
	struct dump d;

	*out = (struct outcome){ .ended = false };
	victim_wake(v);
	snprintf(alloc, sizeof(alloc), "%llu%s", (unsigned long long)p->at, p->variant % 2 ? "+" : "");
	if (p->way != WAY_PARENT && p->way != WAY_BOTH)
		start(&d, mode, p->way == WAY_ALLOC ? alloc : NULL);
	if (p->way == WAY_TIME) {
		by_time(v, &d, mode, p, out);
	} else if (p->way == WAY_PARENT || p->way == WAY_BOTH) {
		by_parent(v, &d, mode, p, out);
	} else if (p->way == WAY_ALLOC) {
		snprintf(out->did, sizeof(out->did), "allocation %s fails", alloc);
		undisturbed(v, &d, mode, out);
	} else {
		step(v, &d, mode, &plan, &out->ended);
	}
	finish(&d);
	if (p->way == WAY_FAIL || p->way == WAY_ALLOC || p->way == WAY_DELAY || p->way == WAY_PARENT) {
		out->ended = !out->did[0];
		check_worker(&d, out);
	}
	if (p->way == WAY_DELAY && v->counts->gap_ns > BUDGET_NS + 2500000000u && !*out->harm)
		snprintf(out->harm, sizeof(out->harm), "it stood still for %llu ms",
			 (unsigned long long)v->counts->gap_ns / 1000000);
	check_files(&d, mode, out);
	if (!*out->harm)
		victim_check(v, zombies_may(&d, p), out);
	if (p->way != WAY_FAIL && d.have && !d.result.code && out->eintr && !*out->harm) /* waitid may have lied */
		snprintf(out->harm, sizeof(out->harm), "EINTR although the dump was not cut short");
	if (*out->harm && d.have)
		snprintf(out->harm + strlen(out->harm), sizeof(out->harm) - strlen(out->harm),
			 "; the worker: %d %.200s", d.result.code, d.result.error);
	if (!*out->did)
		snprintf(out->did, sizeof(out->did), "nothing: it was over before");
	v->points++;
	v->kills += !out->ended;
}

/* Given up in words, because the machine was too busy for its pause or another reqtrap
 * was reaping there: no harm, once more. */
static bool too_busy(const struct dump *d, const struct outcome *out)
{
	return !*out->harm && d->have &&
	       (d->result.code == -ETIMEDOUT || d->result.code == -EBUSY ||
		(d->result.code == -EPERM && strstr(d->result.error, "traced already")));
}

static void whole_once(struct victim *v, uint32_t mode, struct outcome *out, bool *ret_again)
{
	struct dump d;

	*out = (struct outcome){ .did = "nothing: a whole dump" };
	victim_wake(v);
	start(&d, &modes[mode], NULL);
	undisturbed(v, &d, &modes[mode], out);
	finish(&d);
	if (*ret_again && too_busy(&d, out)) {
		victim_check(v, 1, out);
		return;
	}
	*ret_again = false;
	/* In the flood a handler may be running on the alternate stack: then what an
	 * earlier kill left at the end of the main one is a reason not to clone. */
	if (!*out->harm &&
	    (!d.have || d.result.code || (d.result.method != METHOD_CLONE && modes[mode].clones && !v->kind->flood)))
		snprintf(out->harm, sizeof(out->harm), "a dump that nobody disturbed failed: code %d '%.200s' %.100s",
			 d.result.code, d.result.error, d.result.why_not_clone);
	check_files(&d, &modes[mode], out);
	if (!*out->harm)
		victim_check(v, 0, out);
	if (!*out->harm && out->eintr)
		snprintf(out->harm, sizeof(out->harm), "EINTR although nobody cut the dump short");
	if (!*out->harm && v->zombies && modes[mode].clones && d.result.method == METHOD_CLONE)
		snprintf(out->harm, sizeof(out->harm), "%u dead children stay after the next dump", v->zombies);
	v->kills = 0;
}

void steer_whole(struct victim *v, uint32_t mode, struct outcome *out)
{
	for (int i = 0, again = true; again; i++) {
		bool more = i < TRIES;

		whole_once(v, mode, out, &more);
		again = more && !*out->harm;
	}
}

static uint64_t measure_once(struct victim *v, const struct point *p, uint64_t ret_window[2], struct outcome *out,
			     bool *ret_again)
{
	struct plan plan = plan_of(p, out);
	const struct mode *mode = &modes[p->mode];
	uint64_t n = 0;
	struct dump d;

	*out = (struct outcome){ .did = "nothing: counted" };
	plan.at = 0;
	victim_wake(v);
	if (p->way == WAY_TIME || p->way == WAY_PARENT || p->way == WAY_BOTH) {
		start(&d, mode, NULL);
		nap(3000000);
		undisturbed(v, &d, mode, out);
		n = d.end_ns - d.order_ns;
	} else if (p->way == WAY_ALLOC) {
		char path[160], alloc[200];
		FILE *f;

		snprintf(path, sizeof(path), "%s/allocs", dir);
		snprintf(alloc, sizeof(alloc), "=%s", path);
		start(&d, mode, alloc);
		undisturbed(v, &d, mode, out);
		f = fopen(path, "re");
		if (!f || fscanf(f, "%lu", &n) != 1)
			die("allocations are not counted");
		fclose(f);
		unlink(path);
	} else {
		start(&d, mode, NULL);
		n = step(v, &d, mode, &plan, &out->ended);
	}
	finish(&d);
	if (d.have && d.result.stop_ns > d.order_ns + STOP_MARGIN_NS) {
		ret_window[0] = d.result.stop_ns - d.order_ns - STOP_MARGIN_NS;
		ret_window[1] = 2 * d.result.pause_ns + 2 * STOP_MARGIN_NS;
	}
	*ret_again = *ret_again && too_busy(&d, out);
	if (!*out->harm && !*ret_again && (!d.have || d.result.code))
		snprintf(out->harm, sizeof(out->harm), "a dump that is only counted failed: code %d '%.200s'",
			 d.result.code, d.result.error);
	check_files(&d, mode, out);
	if (!*out->harm)
		victim_check(v, *ret_again, out);
	return n ? n : 1;
}

uint64_t steer_measure(struct victim *v, const struct point *p, uint64_t ret_window[2], struct outcome *out)
{
	uint64_t n = 0;

	for (int i = 0, again = true; again; i++) {
		bool more = i < TRIES;

		n = measure_once(v, p, ret_window, out, &more);
		again = more && !*out->harm;
	}
	return n;
}
