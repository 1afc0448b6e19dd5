// SPDX-License-Identifier: MIT
/* What a full dump costs, tool beside tool, in one run on one process. The pause is what
 * a ticker thread inside the process sees (its longest gap); the measure for it is that
 * process's own fork(), called a moment before by a thread that nothing else keeps from
 * running, the strictest measure. Before each fork() and each dump every page is written
 * again, so that both find the same page tables. The tools take turns, and who is first
 * changes, so that what else the machine does falls on all of them.
 * The pause is over when nobody traces the target any more. What the ticker sees after that
 * is told apart ('later'): a kernel that does not preempt itself holds up any thread while
 * a disk is written to at full speed. The last row shows that: a program writes as many
 * bytes as the largest core has, and has nothing to do with the target.
 *
 *   dump -r REQTRAP -d DIR [-n ROUNDS] [-o ROUNDS] [-p small|huge] [-t quiet|busy] [MIB...] */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 16 /* of the target, with its main thread */
#define SPINNERS 6 /* of them, where it is busy */
#define PAGE 4096u
#define ROUNDS_MAX 99
#define TOOL_MS (20 * 60 * 1000) /* a tool that takes longer is ended */
#define PAUSE_FACTOR 1.1
#define PAUSE_MORE_MS 0.3
#define WALL_FACTOR 0.6
#define WALL_MIB 4096 /* the size that the wall time is judged at */

extern char **environ;

/* What the target tells about itself. */
static struct target {
	volatile uint64_t gap_ns, ticks, eintr, fork_ns;
} * target;

static int to_target[2], from_target[2]; /* a command and its answer are one byte each */

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

static void nap(long us)
{
	nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
}

/* ---- the target ---- */

static void set_fifo(int priority, int flags)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, priority ? SCHED_FIFO | flags : SCHED_OTHER, &param) < 0 && errno != EPERM)
		die("sched_setscheduler");
}

static void *ticker(void *arg)
{
	uint64_t last;

	set_fifo(1, 0);
	for (last = now_ns();;) {
		uint64_t now;

		nap(50);
		now = now_ns();
		if (now - last > target->gap_ns)
			target->gap_ns = now - last;
		last = now;
		target->ticks++;
	}
	return arg;
}

static void *spinner(void *arg)
{
	for (volatile uint64_t n = 0;; n++)
		;
	return arg;
}

/* Calls that a stop cuts short, where nothing mends them. */
static void *waiter(void *arg)
{
	int pair[2], ep = epoll_create1(EPOLL_CLOEXEC);
	struct timeval tv = { .tv_usec = 500000 };
	struct epoll_event event;
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	for (;;) {
		if ((arg ? recv(pair[0], &c, 1, 0) : epoll_wait(ep, &event, 1, 500)) < 0 && errno == EINTR)
			__atomic_add_fetch(&target->eintr, 1, __ATOMIC_SEQ_CST);
	}
	return arg;
}

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Half of it random, a quarter zero, a quarter the same bytes. */
static uint64_t *fill(size_t bytes, bool huge)
{
	uint64_t x = 88172645463325252u, *p;
	uint8_t *room = mmap(NULL, bytes + (2u << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		die("mmap");
	room += -(uintptr_t)room & ((2u << 20) - 1);
	madvise(room, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	p = (void *)room;
	for (size_t i = 0; i < bytes / sizeof(*p); i++) {
		size_t kind = i * sizeof(*p) / PAGE % 4;

		if (kind % 2 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		p[i] = kind == 1 ? 0 : kind == 3 ? 0x5a5a5a5a5a5a5a5au : x;
	}
	return p;
}

static void write_again(volatile uint64_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(*p); i += PAGE / sizeof(*p))
		p[i] = p[i];
}

static void own_fork(void)
{
	uint64_t start;
	pid_t pid;

	set_fifo(2, SCHED_RESET_ON_FORK);
	start = now_ns();
	pid = fork();
	if (pid == 0)
		_exit(0);
	target->fork_ns = now_ns() - start;
	set_fifo(0, 0);
	if (pid < 0)
		die("fork");
	waitpid(pid, NULL, 0);
}

static void be_target(size_t bytes, bool huge, bool busy)
{
	uint64_t *p = fill(bytes, huge);
	pthread_t thread;
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 1; i < THREADS; i++) {
		void *(*run)(void *) = i == 1 ? ticker : i < 6 ? waiter : i < 6 + SPINNERS && busy ? spinner : sleeper;

		if (pthread_create(&thread, NULL, run, i % 2 ? NULL : &thread))
			die("pthread_create");
	}
	c = 'r';
	do {
		if (c == 'w')
			write_again(p, bytes);
		if (c == 'f')
			own_fork();
	} while (write(from_target[1], &c, 1) == 1 && read(to_target[0], &c, 1) == 1);
	_exit(0);
}

static void ask(char what)
{
	char c = 0;

	if ((what != 'r' && write(to_target[1], &what, 1) != 1) || read(from_target[0], &c, 1) != 1 || c != what)
		die("the target");
}

static pid_t target_start(size_t bytes, bool huge, bool busy)
{
	pid_t pid;

	memset(target, 0, sizeof(*target));
	if (pipe2(to_target, O_CLOEXEC) < 0 || pipe2(from_target, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(to_target[1]);
		close(from_target[0]);
		be_target(bytes, huge, busy);
	}
	close(to_target[0]);
	close(from_target[1]);
	ask('r');
	return pid;
}

static void target_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(to_target[1]);
	close(from_target[0]);
}

static unsigned long huge_mib(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "AnonHugePages: %lu", &kib);
	if (f)
		fclose(f);
	return kib >> 10;
}

/* ---- the tools ---- */

struct samples {
	double value[ROUNDS_MAX];
	int count;
};

static const struct tool {
	const char *name, *program; /* NULL: ours */
	const char *argv[12];	    /* after it; 'F' the file, 'P' the process, 'O', 'B' as dd has them */
	const char *suffix;	    /* of the file it writes; '%d' the process */
	bool ours;
} tools[] = {
	{ "reqtrap zstd",
	  NULL,
	  { "dump", "-q", "--pause-budget", "1h", "--compress", "zstd", "-o", "F", "P" },
	  "",
	  true },
	{ "reqtrap none",
	  NULL,
	  { "dump", "-q", "--pause-budget", "1h", "--compress", "none", "-o", "F", "P" },
	  "",
	  true },
	{ "gcore", "gcore", { "-o", "F", "P" }, ".%d", false },
	{ "procdump", "procdump", { "-n", "1", "-o", "F", "-p", "P" }, "_0.%d", false },
	{ "a writer", "dd", { "if=/dev/zero", "O", "B", "bs=1M", "iflag=count_bytes", "conv=fsync" }, "", false },
};
#define TOOLS (sizeof(tools) / sizeof(*tools))
enum { ZSTD, PLAIN, GCORE, PROCDUMP, WRITER };

/* What was measured of one tool. */
struct cost {
	struct samples pause_ms, later_ms, wall_s, disk_mb, peak_mb, eintr;
};

static const char *reqtrap, *dir;
static bool absent[TOOLS];
static double most_mb; /* on disk, of all cores */

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static void add(struct samples *s, double value)
{
	s->value[s->count++] = value;
	qsort(s->value, (size_t)s->count, sizeof(*s->value), by_value);
}

static double median(const struct samples *s)
{
	return s->count ? (s->value[(s->count - 1) / 2] + s->value[s->count / 2]) / 2 : 0;
}

static double most(const struct samples *s)
{
	return s->count ? s->value[s->count - 1] : 0;
}

static bool installed(const char *program)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (const char *p = path ? path : ""; *p;) {
		size_t n = strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int)n, p, program);
		if (access(file, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static bool traced(pid_t pid)
{
	char path[64], text[1024] = "";
	const char *tracer;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		die(path);
	close(fd);
	tracer = strstr(text, "TracerPid:");
	return tracer && atoi(tracer + 10);
}

/* Waits until the tool ends. Returns the longest gap while it traced the target, in ns. */
static uint64_t await(pid_t pid, pid_t target_pid)
{
	struct pollfd pfd = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	bool before = false, now = false;
	uint64_t gap_ns;
	int ended = 0;

	for (; !ended && (now || !before); now = traced(target_pid)) {
		before |= now;
		ended = ppoll(&pfd, 1, &(struct timespec){ .tv_nsec = before ? 1000000 : 200000 }, NULL);
	}
	gap_ns = target->gap_ns;
	target->gap_ns = 0;
	if (!ended && poll(&pfd, 1, TOOL_MS) == 0)
		kill(-pid, SIGKILL);
	close(pfd.fd);
	return gap_ns;
}

/* Runs the tool in a group of its own, its words in DIR/said. Returns its exit code. */
static int run(const struct tool *tool, pid_t target_pid, const char *file, uint64_t *ret_gap_ns,
	       struct rusage *ret_usage)
{
	char *argv[14] = { (char *)(tool->program ? tool->program : reqtrap) }, number[16], said[4096], of[4096],
	     count[32];
	const char *words[][2] = { { "F", file }, { "P", number }, { "O", of }, { "B", count } };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int status, n = 1;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", target_pid);
	snprintf(said, sizeof(said), "%s/said", dir);
	snprintf(of, sizeof(of), "of=%s", file);
	snprintf(count, sizeof(count), "count=%.0f", most_mb * 1e6);
	for (const char *const *a = tool->argv; *a; a++) {
		argv[n] = (char *)*a;
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
			if (!strcmp(*a, words[i][0]))
				argv[n] = (char *)words[i][1];
		}
		n++;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	errno = posix_spawnp(&pid, argv[0], &actions, &attr, argv, environ);
	if (errno)
		die(argv[0]);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	*ret_gap_ns = await(pid, target_pid);
	if (wait4(pid, &status, 0, ret_usage) < 0)
		die("wait4");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The file may lie at any of its bytes: what is missing on disk is missing in it. */
static int take(const char *file, double *ret_mb)
{
	struct stat st;
	int fd;

	if (stat(file, &st) < 0 || st.st_size == 0)
		return -1;
	unlink(file);
	*ret_mb = (double)st.st_blocks * 512 / 1e6;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* its last writes are not the next one's trouble */
	if (fd < 0 || syncfs(fd) < 0)
		die(dir);
	close(fd);
	return 0;
}

static void measure(size_t which, pid_t pid, struct cost *cost)
{
	const struct tool *tool = &tools[which];
	char file[4000], suffix[16], path[4096];
	struct rusage usage;
	uint64_t eintr, start, ticks, gap_ns, later_ns;
	double mb = 0;
	int code;

	snprintf(file, sizeof(file), "%s/core", dir);
	snprintf(suffix, sizeof(suffix), tool->suffix, pid);
	snprintf(path, sizeof(path), "%s%s", file, suffix);
	ask('w');
	nap(100000);
	eintr = target->eintr;
	target->gap_ns = 0;
	start = now_ns();
	code = run(tool, pid, file, &gap_ns, &usage);
	for (ticks = target->ticks; target->ticks < ticks + 3;) /* procdump ends before its gdb does */
		nap(200);
	add(&cost->wall_s, (double)(now_ns() - start) / 1e9);
	later_ns = target->gap_ns;
	if (!tool->ours) { /* it stops more than once, or traces nobody */
		later_ns = gap_ns > later_ns ? gap_ns : later_ns;
		gap_ns = which == WRITER ? 0 : later_ns;
	}
	add(&cost->pause_ms, (double)gap_ns / 1e6);
	add(&cost->later_ms, (double)later_ns / 1e6);
	add(&cost->eintr, (double)(target->eintr - eintr));
	add(&cost->peak_mb, (double)usage.ru_maxrss * 1024 / 1e6);
	if (take(path, &mb) < 0) {
		fprintf(stderr, "%s wrote no '%s' (exit code %d), it is left out; its words:\n", tool->name, path,
			code);
		snprintf(path, sizeof(path), "cat '%s/said' >&2", dir);
		if (system(path) != 0 || tool->ours)
			exit(1);
		absent[which] = true;
		memset(cost, 0, sizeof(*cost));
		return;
	}
	add(&cost->disk_mb, mb);
	most_mb = mb > most_mb ? mb : most_mb;
}

/* ---- one target, all tools ---- */

static int over, judged;

static const char *verdict(bool fits)
{
	judged++;
	over += !fits;
	return fits ? "ok  " : "OVER";
}

static void row(size_t which, size_t mib, const struct cost *costs, double fork_ms)
{
	const struct cost *c = &costs[which];
	double pause = median(&c->pause_ms), wall = median(&c->wall_s), gcore = median(&costs[GCORE].wall_s);

	if (!c->pause_ms.count)
		return;
	printf("%-12s %7.2f %s", tools[which].name, pause / fork_ms,
	       tools[which].ours ? verdict(pause <= PAUSE_FACTOR * fork_ms + PAUSE_MORE_MS) : "    ");
	if (gcore > 0)
		printf(" %6.2f %s", wall / gcore,
		       which == ZSTD && mib == WALL_MIB ? verdict(wall <= WALL_FACTOR * gcore) : "    ");
	else
		printf("           -");
	printf(" %8.2f (%7.2f - %7.2f) %7.2f %6.2f %5.0f %5.1f\n", pause, c->pause_ms.value[0], most(&c->pause_ms),
	       most(&c->later_ms), wall, median(&c->disk_mb), most(&c->peak_mb));
}

static void compare(size_t mib, bool huge, bool busy, int rounds, int other_rounds)
{
	struct samples fork_ms = { 0 }, idle_ms = { 0 };
	static struct cost costs[TOOLS];
	pid_t pid = target_start(mib << 20, huge, busy);

	memset(costs, 0, sizeof(costs));
	printf("%zu MiB, %s pages, %s", mib, huge ? "huge" : "small", busy ? "6 threads spin" : "quiet");
	if (huge && huge_mib(pid) < mib / 10 * 9)
		printf(" (only %lu MiB of it are huge)", huge_mib(pid));
	fflush(stdout);
	for (int i = 0; i < rounds; i++) {
		target->gap_ns = 0;
		nap(300000);
		add(&idle_ms, (double)target->gap_ns / 1e6);
		ask('w');
		nap(100000);
		ask('f');
		add(&fork_ms, (double)target->fork_ns / 1e6);
		for (size_t t = 0; t < TOOLS; t++) {
			size_t which = (t + (size_t)i) % TOOLS;

			if (!absent[which] && (tools[which].ours || i < other_rounds))
				measure(which, pid, &costs[which]);
		}
	}
	printf("\n  its own fork() %.2f ms (%.2f - %.2f); longest gap without a dump %.2f ms (most %.2f)\n",
	       median(&fork_ms), fork_ms.value[0], most(&fork_ms), median(&idle_ms), most(&idle_ms));
	printf("tool         pause/fork wall/gcore  pause ms (  least -    most) later ms wall s    MB  peak\n");
	for (size_t t = 0; t < TOOLS; t++)
		row(t, mib, costs, median(&fork_ms));
	printf("  EINTR in the target a dump, most:");
	for (size_t t = 0; t < TOOLS; t++) {
		if (costs[t].eintr.count)
			printf(" %s %.0f", tools[t].name, most(&costs[t].eintr));
	}
	printf("\n\n");
	fflush(stdout);
	target_end(pid);
}

static int usage(void)
{
	fprintf(stderr, "usage: dump [-n ROUNDS] [-o ROUNDS OF OTHER TOOLS] [-p small|huge] [-t quiet|busy] [MIB...]\n"
			"       5 rounds, 3 of other tools; both kinds of pages; quiet and busy; 256 1024 4096 MiB\n");
	return 2;
}

int main(int argc, char **argv)
{
	static char *defaults[] = { "256", "1024", "4096", NULL };
	int rounds = 5, others = 3, c;
	const char *pages = NULL, *threads = NULL;

	while ((c = getopt(argc, argv, "r:d:n:o:p:t:h")) != -1) {
		switch (c) {
		case 'r':
			reqtrap = optarg;
			break;
		case 'd':
			dir = optarg;
			break;
		case 'n':
			rounds = atoi(optarg);
			break;
		case 'o':
			others = atoi(optarg);
			break;
		case 'p':
			pages = optarg;
			break;
		case 't':
			threads = optarg;
			break;
		default:
			return usage();
		}
	}
	if (!reqtrap || !dir || rounds < 1 || rounds > ROUNDS_MAX)
		return usage();
	target = mmap(NULL, sizeof(*target), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (target == MAP_FAILED)
		die("mmap");
	for (size_t t = 0; t < TOOLS; t++) {
		absent[t] = tools[t].program && !installed(tools[t].program);
		if (absent[t])
			printf("%s is not installed: left out\n", tools[t].name);
	}
	printf("full dumps of a process of %d threads; medians of %d (other tools: %d); MB on disk; peak memory in MB\n"
	       "bounds: pause <= %.1f x fork() + %.1f ms; wall, compressed as is the default, <= %.1f x gcore at %d MiB\n\n",
	       THREADS, rounds, others < rounds ? others : rounds, PAUSE_FACTOR, PAUSE_MORE_MS, WALL_FACTOR, WALL_MIB);
	for (char **mib = optind < argc ? argv + optind : defaults; *mib; mib++) {
		for (int kind = 0; kind < 4; kind++) {
			bool huge = kind / 2, busy = kind % 2;

			if ((pages && huge != !strcmp(pages, "huge")) || (threads && busy != !strcmp(threads, "busy")))
				continue;
			compare(strtoul(*mib, NULL, 10), huge, busy, rounds, others);
		}
	}
	printf("%d of %d bounds kept\n", judged - over, judged);
	return over ? 1 : 0;
}
