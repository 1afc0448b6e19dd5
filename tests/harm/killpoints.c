// SPDX-License-Identifier: MIT
/* Kills a dump worker at every Nth of its system-call stops and looks what became of
 * the process it was dumping:
 *
 *   killpoints REQTRAP VICTIM MODE STEP [flood|hang]
 *
 * The worker is traced by us; between two stops of it nothing is simulated: SIGKILL is
 * what it gets. Prints one line per failure and one of totals; exits 1 on any harm.
 * 'hang': the worker is not killed but stopped (SIGSTOP), until its victim goes on.
 * Not harm, but counted: a dead child left in the victim (at most one a kill), and a
 * call ended by EINTR when the kill fell between INTERRUPT and the repair. */
#include "../../src/dump.h"
#include "../victims/d_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#define BUDGET_NS 1000000000u
#define VICTIM_REUSE 40 /* kills, then a new one: its dead children pile up */

static struct {
	unsigned int points, harmed, zombies, eintr, finished, hangs;
} totals;

struct victim {
	pid_t pid;
	struct d_counts *counts;
	uint64_t sent;
	uint64_t blocked;
	unsigned int kills;
};

static char dir[] = "/tmp/killpoints.XXXXXX";
static const char *program, *victim_path, *mode;
static bool flood, hang;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* A field of a status file: '' if there is none. */
static void status_field(const char *path, const char *key, char *buf, size_t size)
{
	char line[512];
	FILE *f = fopen(path, "re");

	buf[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			snprintf(buf, size, "%s", line + strlen(key) + 1 + strspn(line + strlen(key) + 1, "\t "));
	}
	if (f)
		fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
}

static void victim_start(struct victim *v)
{
	char path[64], value[64];
	int fd;

	snprintf(path, sizeof(path), "%s/counts", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct d_counts)) < 0)
		die(path);
	v->counts = mmap(NULL, sizeof(struct d_counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	v->pid = fork();
	if (v->pid == 0) {
		execl(victim_path, victim_path, path, mode, "2", NULL);
		_exit(127);
	}
	while (!v->counts->ready) {
		if (waitpid(v->pid, NULL, WNOHANG) == v->pid)
			die("the victim did not start");
		nap();
	}
	snprintf(path, sizeof(path), "/proc/%d/status", v->pid);
	status_field(path, "SigBlk", value, sizeof(value));
	v->blocked = strtoull(value, NULL, 16);
	v->sent = v->kills = 0;
}

static void victim_end(struct victim *v)
{
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	munmap(v->counts, sizeof(struct d_counts));
}

/* Children of the victim by state: dead ones may stay, living ones must not. */
static void children(pid_t pid, unsigned int *dead, unsigned int *living)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	*dead = *living = 0;
	while (d && (e = readdir(d))) {
		char path[300], text[512], *p;
		FILE *f;
		int ppid;
		char state;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(text, sizeof(text), f) && (p = strrchr(text, ')')) &&
		    sscanf(p + 1, " %c %d", &state, &ppid) == 2 && ppid == pid)
			++*(state == 'Z' ? dead : living);
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
}

static const char *check_threads(const struct victim *v)
{
	char path[300], value[64];
	struct dirent *e;
	const char *harm = NULL;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", v->pid);
	d = opendir(path);
	while (d && !harm && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", v->pid, e->d_name);
		status_field(path, "State", value, sizeof(value));
		if (value[0] == 't' || value[0] == 'T')
			harm = "a thread is left stopped";
		status_field(path, "TracerPid", value, sizeof(value));
		if (strcmp(value, "0") != 0)
			harm = "a thread is left traced";
		status_field(path, "SigBlk", value, sizeof(value));
		if (strtoull(value, NULL, 16) != v->blocked)
			harm = "a signal mask is changed";
	}
	if (d)
		closedir(d);
	return d ? harm : "it has died";
}

/* NULL: it lives as before. */
static const char *health(struct victim *v, unsigned int dead_before)
{
	uint64_t tick[D_THREADS], eintr, end = now_ns() + 600000000u;
	unsigned int dead, living;
	const char *harm;
	bool all = false;

	for (int i = 0; i < D_THREADS; i++)
		tick[i] = v->counts->tick[i];
	while (!all && now_ns() < end) {
		nap();
		all = !flood || v->counts->handled >= v->sent;
		for (int i = 0; i < D_THREADS; i++)
			all &= v->counts->tick[i] > tick[i] + 1;
	}
	if (waitpid(v->pid, NULL, WNOHANG) == v->pid) {
		victim_start(v);
		return "it has died";
	}
	if (flood && v->counts->handled != v->sent)
		return "a signal is lost";
	if (!all)
		return "a thread does not go on";
	/* Another reqtrap of this host may be reaping what the kill left: a moment, then none may be seen. */
	while ((harm = check_threads(v)) && now_ns() < end)
		nap();
	if (harm)
		return harm;
	/* All have been round since: what the kill cut short has been told by now. */
	eintr = v->counts->eintr;
	for (int i = 0; i < 10; i++)
		nap();
	if (v->counts->wrong)
		return "registers, stack or identity are wrong";
	if (v->counts->sigchld)
		return "it got a SIGCHLD";
	if (eintr != v->counts->eintr)
		return "calls go on to return EINTR";
	do { /* a copy on its way out may take a moment */
		children(v->pid, &dead, &living);
		if (living)
			nap();
	} while (living && now_ns() < end);
	if (living)
		return "a copy of it runs, or hangs";
	if (dead > dead_before + 1)
		return "more than one dead child is left by one kill";
	totals.zombies += dead - dead_before;
	return NULL;
}

static pid_t worker_start(const struct victim *v, int *ret_fd)
{
	struct dump_order order = { .pid = v->pid,
				    .kinds = DUMP_FULL, /* under load a stop takes longer */
				    .pause_budget_ns = BUDGET_NS };
	int pair[2], dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid;

	strcpy(order.file, "core");
	if (dir_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	if (send(pair[0], &order, sizeof(order), 0) != (ssize_t)sizeof(order))
		die("send");
	pid = fork();
	if (pid == 0) {
		int from = fcntl(pair[1], F_DUPFD, 10), to = fcntl(dir_fd, F_DUPFD, 10);

		dup2(from, 3);
		dup2(to, 4);
		syscall(SYS_close_range, 5, ~0u, 0);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execl(program, program, "--worker", NULL);
		_exit(127);
	}
	close(pair[1]);
	close(dir_fd);
	*ret_fd = pair[0];
	waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD);
	return pid;
}

/* Leaves the worker stopped until the victim goes on; its budget and a second is given. */
static void hang_worker(struct victim *v, pid_t worker)
{
	uint64_t start, tick, end;

	kill(worker, SIGSTOP);
	ptrace(PTRACE_DETACH, worker, NULL, (long)SIGSTOP);
	start = now_ns();
	tick = v->counts->tick[0];
	end = start + BUDGET_NS + 1500000000u;
	while (now_ns() < end && v->counts->tick[0] <= tick + 1)
		nap();
	if (v->counts->tick[0] <= tick + 1) {
		printf("the victim hangs with its worker\n");
		totals.harmed++;
	}
	if (now_ns() - start > 300000000u)
		totals.hangs++;
}

/* Runs a worker up to its 'stop'-th system-call stop after it has its order, and kills
 * it there. 0: it was killed; 1: it ended before. */
static int run_worker(struct victim *v, unsigned int stop, unsigned int *ret_stops)
{
	struct user_regs_struct regs;
	struct dump_result result;
	unsigned int seen = 0;
	bool ordered = false;
	int fd, status, sig = 0;
	pid_t pid = worker_start(v, &fd);

	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, (long)sig);
		if (waitpid(pid, &status, __WALL) < 0)
			die("waitpid");
		if (WIFEXITED(status) || WIFSIGNALED(status))
			break;
		sig = WSTOPSIG(status);
		if (sig != (SIGTRAP | 0x80)) {
			sig = sig == SIGTRAP ? 0 : sig; /* the exec */
			continue;
		}
		sig = 0;
		if (!ordered) {
			ptrace(PTRACE_GETREGS, pid, NULL, &regs);
			ordered = regs.orig_rax == SYS_recvmsg;
			continue;
		}
		if (++seen == stop) {
			if (hang)
				hang_worker(v, pid);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, __WALL);
			close(fd);
			return 0;
		}
		if (flood && seen % 3 == 0 && sigqueue(v->pid, SIGRTMIN + 1, (union sigval){ 0 }) == 0)
			v->sent++;
	}
	*ret_stops = seen;
	memset(&result, 0, sizeof(result));
	do
		status = (int)recv(fd, &result, sizeof(result), 0);
	while (status > 0 && status < (int)sizeof(result));
	close(fd);
	/* In the flood a handler may be running on the alternate stack: then what an
	 * earlier kill left at the end of the main one is a reason not to clone. */
	if (status != (int)sizeof(result) || result.code || (result.method != METHOD_CLONE && !flood)) {
		printf("a dump that nobody killed failed: code %d '%s' %s\n", result.code, result.error,
		       result.why_not_clone);
		totals.harmed++;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct victim v = { 0 };
	unsigned int step = argc > 4 ? (unsigned int)atoi(argv[4]) : 0, stops = 0;
	char core[64];

	if (!step) {
		fprintf(stderr, "usage: killpoints REQTRAP VICTIM epoll|spin|alt STEP [flood|hang]\n");
		return 2;
	}
	program = argv[1];
	victim_path = argv[2];
	mode = argv[3];
	flood = argc > 5 && !strcmp(argv[5], "flood");
	hang = argc > 5 && !strcmp(argv[5], "hang");
	if (!mkdtemp(dir))
		die(dir);
	snprintf(core, sizeof(core), "%s/core", dir);
	victim_start(&v);
	for (unsigned int stop = 1;; stop += step) {
		unsigned int dead, living, harmed = totals.harmed;
		uint64_t eintr = v.counts->eintr;
		const char *harm;
		int ended;

		children(v.pid, &dead, &living);
		ended = run_worker(&v, stop, &stops);
		harm = health(&v, dead);
		totals.points++;
		totals.finished += (unsigned int)ended;
		if (harm) {
			printf("harm at stop %u (%s%s): %s\n", stop, mode, flood ? ", flood" : "", harm);
			totals.harmed++;
		}
		totals.eintr += !harm && v.counts->eintr > eintr;
		if (ended && v.counts->eintr > eintr) {
			printf("EINTR after a dump that nobody killed\n");
			totals.harmed++;
		}
		/* Whole or absent: a file is there only at the very end of the worker's life. */
		if (access(core, F_OK) == 0)
			unlink(core);
		if (totals.harmed > harmed || ++v.kills == VICTIM_REUSE) {
			victim_end(&v);
			victim_start(&v);
		}
		if (ended)
			break;
	}
	victim_end(&v);
	printf("mode %s%s: %u kill points of %u stops, harm %u, zombies %u, EINTR %u, ended by the watchdog %u\n", mode,
	       flood  ? " flood"
	       : hang ? " hang"
		      : "",
	       totals.points, stops, totals.harmed, totals.zombies, totals.eintr, totals.hangs);
	snprintf(core, sizeof(core), "%s/counts", dir);
	unlink(core);
	if (rmdir(dir) < 0)
		printf("left over in %s\n", dir);
	return totals.harmed || !totals.finished;
}
