// SPDX-License-Identifier: MIT
/* How long a process stands still while it is dumped: by its own fork(), by our worker,
 * by gcore, in one run on one process, as a ticker thread inside it sees it (its
 * longest gap). Ratios count; the times are this machine's.
 *
 *   pause REQTRAP VICTIM MIB...                                                      */
#include "../../src/dump.h"
#include "../victims/d_server.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define ROUNDS 7
#define GCORE_ROUNDS 3

static char dir[] = "/tmp/pause.XXXXXX";
static struct d_counts *counts;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static pid_t victim_start(const char *path, const char *mib)
{
	char file[64];
	pid_t pid;
	int fd;

	snprintf(file, sizeof(file), "%s/counts", dir);
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*counts)) < 0)
		die(file);
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	pid = fork();
	if (pid == 0) {
		execl(path, path, file, "epoll", mib, NULL);
		_exit(127);
	}
	while (!counts->ready) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			die("the victim did not start");
		nap(5);
	}
	return pid;
}

/* Runs fn and gives the longest gap that the ticker saw during it, in ms. */
static double gap_of(void (*fn)(pid_t pid, const char *program), pid_t pid, const char *program)
{
	uint64_t tick;

	nap(100);
	counts->gap_ns = 0;
	fn(pid, program);
	tick = counts->tick[1];
	while (counts->tick[1] < tick + 3)
		nap(1);
	return (double)counts->gap_ns / 1e6;
}

static void nothing(pid_t pid, const char *program)
{
	(void)pid;
	(void)program;
	nap(200);
}

static void own_fork(pid_t pid, const char *program)
{
	/* The time fork() took the thread that called it. */
	uint64_t forks = counts->forks;

	(void)program;
	kill(pid, SIGUSR2);
	while (counts->forks == forks)
		nap(1);
}

static double said_ms, wall_ms;

static void our_dump(pid_t pid, const char *program)
{
	struct dump_order order = { .pid = pid, .kinds = DUMP_FULL, .pause_budget_ns = 0 };
	int pair[2], dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
	struct dump_result result;
	pid_t worker;
	ssize_t n;

	strcpy(order.file, "core");
	if (dir_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	worker = fork();
	if (worker == 0) {
		int from = fcntl(pair[1], F_DUPFD, 10), to = fcntl(dir_fd, F_DUPFD, 10);

		dup2(from, 3);
		dup2(to, 4);
		syscall(SYS_close_range, 5, ~0u, 0);
		execl(program, program, "--worker", NULL);
		_exit(127);
	}
	close(pair[1]);
	send(pair[0], &order, sizeof(order), 0);
	memset(&result, 0, sizeof(result));
	do
		n = recv(pair[0], &result, sizeof(result), 0);
	while (n > 0 && n < (ssize_t)sizeof(result));
	waitpid(worker, &status, 0);
	if (n != (ssize_t)sizeof(result) || result.code || result.method != METHOD_CLONE) {
		fprintf(stderr, "the dump failed: %s %s\n", result.error, result.why_not_clone);
		exit(1);
	}
	said_ms = (double)result.pause_ns / 1e6;
	wall_ms = (double)result.wall_ns / 1e6;
	unlinkat(dir_fd, "core", 0);
	close(pair[0]);
	close(dir_fd);
}

static void gcore(pid_t pid, const char *program)
{
	char path[64], number[16], file[96];
	pid_t child;
	int null;

	(void)program;
	snprintf(path, sizeof(path), "%s/gcore", dir);
	snprintf(number, sizeof(number), "%d", pid);
	child = fork();
	if (child == 0) {
		null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execlp("gcore", "gcore", "-o", path, number, NULL);
		_exit(127);
	}
	waitpid(child, NULL, 0);
	snprintf(file, sizeof(file), "%s.%d", path, pid);
	if (unlink(file) < 0) {
		fprintf(stderr, "gcore wrote no core\n");
		exit(1);
	}
}

static void bench(const char *program, const char *victim, const char *mib)
{
	double idle, fork_ms[ROUNDS], ours[ROUNDS], said[ROUNDS], wall[ROUNDS], theirs[GCORE_ROUNDS], f, o, g;
	pid_t pid = victim_start(victim, mib);
	uint64_t eintr;

	idle = gap_of(nothing, pid, NULL);
	eintr = counts->eintr;
	for (int i = 0; i < ROUNDS; i++) { /* in turns: the machine's moods hit both */
		own_fork(pid, NULL);
		fork_ms[i] = (double)counts->fork_ns / 1e6; /* its ticker runs on meanwhile */
		ours[i] = gap_of(our_dump, pid, program);
		said[i] = said_ms;
		wall[i] = wall_ms;
	}
	eintr = counts->eintr - eintr;
	for (int i = 0; i < GCORE_ROUNDS; i++)
		theirs[i] = gap_of(gcore, pid, NULL);
	f = median(fork_ms, ROUNDS);
	o = median(ours, ROUNDS);
	g = median(theirs, GCORE_ROUNDS);
	printf("%6s MiB  idle %.2f ms  own fork %.2f ms (%.2f-%.2f)  reqtrap %.2f ms (%.2f-%.2f), says %.2f ms, wall %.0f ms  "
	       "gcore %.0f ms   reqtrap/fork %.2f   gcore/reqtrap %.0f   EINTR %llu\n",
	       mib, idle, f, fork_ms[0], fork_ms[ROUNDS - 1], o, ours[0], ours[ROUNDS - 1], median(said, ROUNDS),
	       median(wall, ROUNDS), g, o / f, g / o, (unsigned long long)eintr);
	fflush(stdout);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	char file[64];

	if (argc < 4) {
		fprintf(stderr, "usage: pause REQTRAP VICTIM MIB...\n");
		return 2;
	}
	if (!mkdtemp(dir))
		die(dir);
	for (int i = 3; i < argc; i++)
		bench(argv[1], argv[2], argv[i]);
	snprintf(file, sizeof(file), "%s/counts", dir);
	unlink(file);
	rmdir(dir);
	return 0;
}
