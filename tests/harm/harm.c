// SPDX-License-Identifier: MIT
/* Dumps that go wrong at every point there is, by the thousand:
 *   harm -p REQTRAP -v H_SERVER -a ALLOC.SO -d FOLDER [-n POINTS] [-s SEED] [-j LANES]
 *        [-r STATE] [-k VICTIM] [-m MODE] [-w WAY] [-i AT] [-e VARIANT] [-V]
 * A point is a victim, a mode of dump, a way to disturb it and a place in it; which ones
 * there are follows from SEED and POINTS alone. One line for each failure, with how to
 * repeat it; a table at the end; exit code 1 if there was one. With STATE, a file, what
 * was done already is not done again. */
#include "harm.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KILLS_BEFORE_REAP 12 /* dead children pile up; then a whole dump has them reaped */
#define POINTS_PER_VICTIM 400
#define FAILURES_MOST 200
#define POINTS_MOST 1000000

const struct victim_kind victim_kinds[] = {
	{ "epoll", "epoll", false }, { "spin", "spin", false },	  { "flood", "spin", true },
	{ "alt", "alt", false },     { "altflood", "alt", true }, { "threads", "threads", false },
};
const size_t victim_kind_count = LEN(victim_kinds);

const struct mode modes[] = {
	{ "clone", DUMP_FULL, SNAPSHOT_CLONE, 0, true, false },
	{ "zstd", DUMP_FULL, SNAPSHOT_CLONE, 1, true, false },
	{ "mini", DUMP_MINI, SNAPSHOT_AUTO, 0, false, false },
	{ "stop", DUMP_FULL, SNAPSHOT_STOP, 0, false, false },
	{ "stacks", DUMP_STACKS, SNAPSHOT_AUTO, 0, false, false },
	{ "both", DUMP_FULL | DUMP_STACKS, SNAPSHOT_CLONE, 0, true, false },
	{ "signal", DUMP_FULL, SNAPSHOT_AUTO, 0, true, true },
};
const size_t mode_count = LEN(modes);

/* How often of a thousand. */
static const unsigned int victim_weight[] = { 250, 250, 200, 100, 100, 100 };
static const unsigned int mode_weight[] = { 390, 70, 130, 130, 110, 130, 40 };
static const struct {
	const char *name, *what;
	unsigned int weight;
	bool kill; /* one of the kill points that are promised */
} ways[WAYS] = {
	[WAY_MAIN] = { "main", "killed at a stop of its main thread", 550, true },
	[WAY_ALL] = { "all", "killed at a stop of any of its threads", 120, true },
	[WAY_TIME] = { "time", "killed at a random instant", 200, true },
	[WAY_FAIL] = { "fail", "a system call fails", 66, false },
	[WAY_ALLOC] = { "alloc", "an allocation fails", 30, false },
	[WAY_HANG] = { "hang", "stopped", 2, false },
	[WAY_DELAY] = { "delay", "ptrace is slow", 2, false },
	[WAY_PARENT] = { "parent", "its parent is killed", 15, false },
	[WAY_BOTH] = { "orphan", "killed with its parent", 15, false },
};

const char *program, *victim_path, *alloc_path;
bool verbose;

static const char *folder, *state_path, *only_victim, *only_mode, *only_way;
static uint64_t seed = 1, only_at, only_variant = UINT64_MAX;
static unsigned int wanted = 300, lanes;

/* --- errors --- */

static const struct failing {
	long nr;
	const char *name;
	int code[4];
	bool for_ever; /* a disk stays full; a signal does not go on for ever */
} failing[] = {
	{ SYS_openat, "openat", { EMFILE, ENOMEM, EACCES, ENOENT }, true },
	{ SYS_read, "read", { EIO, ENOMEM, ESRCH, EINTR }, true },
	{ SYS_pread64, "pread64", { EIO, ENOMEM, EINTR, EIO }, true },
	{ SYS_preadv, "preadv", { EIO, ENOMEM, EINTR, EIO }, true },
	{ SYS_process_vm_readv, "process_vm_readv", { EPERM, ESRCH, ENOMEM, EFAULT }, true },
	{ SYS_write, "write", { ENOSPC, EIO, EINTR, EDQUOT }, true },
	{ SYS_writev, "writev", { ENOSPC, EIO, EINTR, EDQUOT }, true },
	{ SYS_pwrite64, "pwrite64", { ENOSPC, EIO, EINTR, EDQUOT }, true },
	{ SYS_pwritev, "pwritev", { ENOSPC, EIO, EINTR, EDQUOT }, true },
	{ SYS_ptrace, "ptrace", { EPERM, EIO, ESRCH, EPERM }, false },
	{ SYS_waitid, "waitid", { EINTR, ECHILD, EINTR, ECHILD }, false },
	{ SYS_wait4, "wait4", { EINTR, ECHILD, EINTR, ECHILD }, false },
	{ SYS_rt_sigtimedwait, "rt_sigtimedwait", { EINTR, EAGAIN, EINTR, EAGAIN }, false },
	{ SYS_mmap, "mmap", { ENOMEM, ENOMEM, EAGAIN, ENOMEM }, true },
	{ SYS_mremap, "mremap", { ENOMEM, ENOMEM, ENOMEM, ENOMEM }, true },
	{ SYS_munmap, "munmap", { ENOMEM, ENOMEM, ENOMEM, ENOMEM }, false },
	{ SYS_madvise, "madvise", { ENOMEM, EINVAL, EAGAIN, EIO }, true },
	{ SYS_mprotect, "mprotect", { ENOMEM, EACCES, ENOMEM, EACCES }, false },
	{ SYS_ioctl, "ioctl", { ENOTTY, EFAULT, ENOMEM, EINTR }, true },
	{ SYS_fcntl, "fcntl", { EMFILE, EBADF, EINVAL, EMFILE }, false },
	{ SYS_newfstatat, "newfstatat", { ENOENT, ENOMEM, EACCES, EIO }, true },
	{ SYS_fstat, "fstat", { EIO, ENOMEM, EIO, ENOMEM }, true },
	{ SYS_statx, "statx", { EIO, ENOMEM, EIO, ENOMEM }, true },
	{ SYS_fstatfs, "fstatfs", { EIO, ENOSYS, EINTR, ENOMEM }, true },
	{ SYS_lseek, "lseek", { EINVAL, ENXIO, EINVAL, ENXIO }, false },
	{ SYS_getdents64, "getdents64", { EIO, ENOENT, ENOMEM, EIO }, true },
	{ SYS_readlink, "readlink", { EACCES, ENOENT, ENOMEM, EIO }, true },
	{ SYS_readlinkat, "readlinkat", { EACCES, ENOENT, ENOMEM, EIO }, true },
	{ SYS_ftruncate, "ftruncate", { ENOSPC, EIO, EINTR, EFBIG }, true },
	{ SYS_fallocate, "fallocate", { ENOSPC, EOPNOTSUPP, EINTR, EIO }, true },
	{ SYS_fsync, "fsync", { EIO, ENOSPC, EIO, EDQUOT }, true },
	{ SYS_fdatasync, "fdatasync", { EIO, ENOSPC, EIO, EDQUOT }, true },
	{ SYS_sync_file_range, "sync_file_range", { EIO, ENOSPC, ENOMEM, EIO }, true },
	{ SYS_fadvise64, "fadvise64", { EINVAL, EBADF, EINVAL, EBADF }, true },
	{ SYS_linkat, "linkat", { EEXIST, ENOSPC, EIO, EXDEV }, true },
	{ SYS_renameat2, "renameat2", { EEXIST, ENOSPC, EIO, ENOSYS }, true },
	{ SYS_unlinkat, "unlinkat", { EIO, EACCES, EIO, EACCES }, false },
	{ SYS_memfd_create, "memfd_create", { EMFILE, ENOMEM, EMFILE, ENOMEM }, true },
	{ SYS_socketpair, "socketpair", { EMFILE, ENOMEM, EMFILE, ENOMEM }, true },
	{ SYS_pidfd_open, "pidfd_open", { EMFILE, ENOMEM, ESRCH, ENOSYS }, true },
	{ SYS_sendto, "sendto", { EPIPE, EAGAIN, EINTR, ENOBUFS }, false },
	{ SYS_sendmsg, "sendmsg", { EPIPE, EAGAIN, EINTR, ENOBUFS }, false },
	{ SYS_recvfrom, "recvfrom", { EIO, EAGAIN, EINTR, EAGAIN }, false },
	{ SYS_recvmsg, "recvmsg", { EIO, EAGAIN, EINTR, EAGAIN }, false },
	{ SYS_poll, "poll", { EINTR, ENOMEM, EINTR, ENOMEM }, false },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM, EINTR, ENOMEM }, false },
	{ SYS_pipe2, "pipe2", { EMFILE, ENFILE, EMFILE, ENFILE }, true },
	{ SYS_kill, "kill", { EPERM, ESRCH, EPERM, ESRCH }, false },
	{ SYS_timer_create, "timer_create", { EAGAIN, ENOMEM, EAGAIN, ENOMEM }, true },
	{ SYS_timer_settime, "timer_settime", { EINVAL, EINVAL, EINVAL, EINVAL }, false },
	{ SYS_sched_setscheduler, "sched_setscheduler", { EPERM, EINVAL, EPERM, ESRCH }, true },
	{ SYS_clone3, "clone3", { EAGAIN, ENOMEM, ENOSYS, EAGAIN }, true },
	{ SYS_clone, "clone", { EAGAIN, ENOMEM, EAGAIN, ENOMEM }, true },
	{ SYS_clock_nanosleep, "clock_nanosleep", { EINTR, EINTR, EINTR, EINTR }, false },
	{ SYS_rt_sigpending, "rt_sigpending", { EFAULT, EFAULT, EFAULT, EFAULT }, false },
	{ SYS_rt_sigprocmask, "rt_sigprocmask", { EINVAL, EFAULT, EINVAL, EFAULT }, false },
	{ SYS_close, "close", { EIO, EINTR, EIO, EINTR }, false },
	{ SYS_prctl, "prctl", { EPERM, EINVAL, EPERM, EINVAL }, false },
	{ SYS_dup, "dup", { EMFILE, EMFILE, EMFILE, EMFILE }, false },
};

int errors_of(long nr, uint32_t variant, const char **ret_name, bool *ret_for_ever)
{
	for (size_t i = 0; i < LEN(failing); i++) {
		if (failing[i].nr != nr)
			continue;
		*ret_name = failing[i].name;
		*ret_for_ever = variant >= 4 && failing[i].for_ever && failing[i].code[variant % 4] != EINTR;
		return failing[i].code[variant % 4];
	}
	return 0;
}

/* --- which points there are --- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint32_t pick(const unsigned int *weight, size_t count, size_t stride, uint64_t random)
{
	unsigned int at = (unsigned int)(random % 1000), sum = 0;

	for (size_t i = 0; i < count; i++) {
		sum += *(const unsigned int *)((const char *)weight + i * stride);
		if (at < sum)
			return (uint32_t)i;
	}
	return 0;
}

static bool is_asked(const char *only, const char *name)
{
	return !only || !strcmp(only, name);
}

struct planned {
	struct point point;
	uint32_t rank; /* among those of the same victim, mode and way */
	bool done;
};

static bool same_combination(const struct point *a, const struct point *b)
{
	return a->victim == b->victim && a->mode == b->mode && a->way == b->way;
}

static struct planned *plan_all(unsigned int count)
{
	static uint32_t ranks[LEN(victim_kinds)][LEN(modes)][WAYS];
	struct planned *all = calloc(count, sizeof(*all));
	unsigned int n = 0;

	if (!all)
		die("calloc");
	for (uint64_t i = 0; n < count && i < 1000ull * POINTS_MOST; i++) {
		uint64_t random = mix(seed * 0x9e3779b97f4a7c15u + i);
		struct point p = {
			.victim = pick(victim_weight, LEN(victim_weight), sizeof(victim_weight[0]), random),
			.mode = pick(mode_weight, LEN(mode_weight), sizeof(mode_weight[0]), random >> 16),
			.way = pick(&ways[0].weight, WAYS, sizeof(ways[0]), random >> 32),
		};

		if (modes[p.mode].waits && !victim_kinds[p.victim].flood)
			continue;
		if (!is_asked(only_victim, victim_kinds[p.victim].name) || !is_asked(only_mode, modes[p.mode].name) ||
		    !(only_way ? !strcmp(only_way, ways[p.way].name) || (!strcmp(only_way, "kill") && ways[p.way].kill)
			       : true))
			continue;
		p.variant = only_variant != UINT64_MAX ? (uint32_t)only_variant : (uint32_t)(random >> 48) % 8;
		all[n] = (struct planned){ .point = p, .rank = ranks[p.victim][p.mode][p.way]++ };
		n++;
	}
	if (n < count) {
		fprintf(stderr, "harm: there is no such victim, mode or way\n");
		exit(2);
	}
	return all;
}

/* --- a lane --- */

struct message {
	uint32_t index;
	struct point point;
	struct outcome out;
};

static struct victim victims[LEN(victim_kinds)];
static char lane_dir[160];
static int report_fd;
static struct {
	uint64_t count, window_start, window;
} known[LEN(victim_kinds)][LEN(modes)][WAYS];

static struct victim *victim_for(uint32_t kind)
{
	struct victim *v = &victims[kind];

	if (v->pid && v->points >= POINTS_PER_VICTIM)
		victim_end(v);
	if (!v->pid)
		victim_start(v, &victim_kinds[kind], lane_dir);
	return v;
}

static void report(uint32_t index, const struct point *p, const struct outcome *out)
{
	struct message m = { .index = index, .point = *p, .out = *out };

	if (write(report_fd, &m, sizeof(m)) != (ssize_t)sizeof(m))
		_exit(2);
	if (*out->harm && victims[p->victim].pid)
		victim_end(&victims[p->victim]);
}

/* Even over all there are: multiples of the golden ratio leave the smallest gaps. */
static uint64_t place(const struct planned *plan)
{
	const struct point *p = &plan->point;
	double x = (plan->rank + (double)(seed % 1000) / 1000) * 0.6180339887498949, part = x - floor(x);
	uint64_t count = known[p->victim][p->mode][p->way].count;

	if (only_at)
		return only_at;
	if (p->way == WAY_TIME || p->way == WAY_PARENT || p->way == WAY_BOTH) {
		/* Every second one near the stop. */
		if (plan->rank % 2 && known[p->victim][p->mode][p->way].window)
			return known[p->victim][p->mode][p->way].window_start +
			       (uint64_t)(part * (double)known[p->victim][p->mode][p->way].window);
		return (uint64_t)(part * (double)count);
	}
	return 1 + (uint64_t)(part * (double)count);
}

static void lane_point(uint32_t index, const struct planned *plan)
{
	struct point p = plan->point;
	struct victim *v = victim_for(p.victim);
	struct outcome out;

	if (!known[p.victim][p.mode][p.way].count) {
		uint64_t window[2] = { 0, 0 };

		known[p.victim][p.mode][p.way].count = steer_measure(v, &p, window, &out);
		known[p.victim][p.mode][p.way].window_start = window[0];
		known[p.victim][p.mode][p.way].window = window[1];
		if (*out.harm) {
			report(UINT32_MAX, &p, &out);
			v = victim_for(p.victim);
		}
	}
	p.at = place(plan);
	steer_point(v, &p, &out);
	out.of = known[p.victim][p.mode][p.way].count;
	report(index, &p, &out);
	if (v->pid && v->kills >= KILLS_BEFORE_REAP) {
		steer_whole(v, 0, &out);
		p.way = WAYS;
		report(UINT32_MAX, &p, &out);
	}
}

static void lane(unsigned int number, const struct planned *all, unsigned int count, uint32_t *next)
{
	uint32_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(lane_dir, sizeof(lane_dir), "%s/lane%u", folder, number);
	mkdir(lane_dir, 0700);
	steer_init(lane_dir);
	while ((i = __atomic_fetch_add(next, 1, __ATOMIC_SEQ_CST)) < count) {
		if (!all[i].done)
			lane_point(i, &all[i]);
	}
	for (uint32_t k = 0; k < LEN(victim_kinds); k++) {
		struct outcome out;
		struct point p = { .victim = k, .way = WAYS };

		if (!victims[k].pid)
			continue;
		steer_whole(&victims[k], 0, &out);
		report(UINT32_MAX, &p, &out);
		if (victims[k].pid)
			victim_end(&victims[k]);
	}
	_exit(0);
}

/* --- the sums --- */

struct sum {
	unsigned int n, ended, failures, zombies, eintr, watchdog;
	uint64_t of;
	uint8_t *hit; /* which stops were */
};
static struct sum sums[LEN(victim_kinds)][LEN(modes)][WAYS], whole;
static unsigned int failures;

#define HITS_MOST 65536

static void sum_up(const struct message *m)
{
	const struct point *p = &m->point;
	struct sum *sum = p->way == WAYS ? &whole : &sums[p->victim][p->mode][p->way];

	sum->n += !m->out.ended && m->index != UINT32_MAX;
	sum->n += p->way == WAYS;
	sum->ended += m->out.ended;
	sum->zombies += m->out.zombies;
	sum->eintr += m->out.eintr > 0;
	sum->watchdog += m->out.watchdog;
	if (p->way != WAY_TIME && p->way != WAY_PARENT && p->way != WAY_BOTH) /* nanoseconds */
		sum->of = m->out.of > sum->of ? m->out.of : sum->of;
	if (!sum->hit)
		sum->hit = calloc(1, HITS_MOST);
	if (sum->hit && p->at < HITS_MOST && !m->out.ended)
		sum->hit[p->at] = 1;
	if (!*m->out.harm)
		return;
	sum->failures++;
	if (failures++ < FAILURES_MOST) {
		printf("FAILED: %s: %s\n    -k %s -m %s", m->out.did, m->out.harm, victim_kinds[p->victim].name,
		       modes[p->mode].name);
		if (p->way < WAYS)
			printf(" -w %s -i %llu -e %u\n", ways[p->way].name, (unsigned long long)p->at, p->variant);
		else
			printf("\n");
	}
	fflush(stdout);
}

/* One-sided, 95 %, exact (Clopper and Pearson); about 3/n for no failure. */
static double upper_bound(unsigned int n, unsigned int k)
{
	double low = 0, high = 1;

	if (!n || k >= n)
		return 1;
	for (int i = 0; i < 60; i++) {
		double p = (low + high) / 2, sum = 0;

		for (unsigned int j = 0; j <= k; j++)
			sum += exp(lgamma(n + 1.0) - lgamma(j + 1.0) - lgamma(n - j + 1.0) + j * log(p) +
				   (n - j) * log1p(-p));
		*(sum > 0.05 ? &low : &high) = p;
	}
	return high;
}

static void print_row(const char *way, const char *mode, const char *victim, const struct sum *s)
{
	unsigned int hit = 0;

	if (!s->n && !s->failures)
		return;
	for (uint64_t i = 0; s->hit && i < HITS_MOST; i++)
		hit += s->hit[i];
	printf("%-8s %-8s %-9s %7u %6u %8u %8u %7u %9u %8.4f %%", way, mode, victim, s->n, s->ended, s->failures,
	       s->zombies, s->eintr, s->watchdog, 100 * upper_bound(s->n, s->failures));
	if (s->of && hit)
		printf("  %u of %llu", hit, (unsigned long long)s->of);
	printf("\n");
}

static void add(struct sum *to, const struct sum *s)
{
	to->n += s->n;
	to->ended += s->ended;
	to->failures += s->failures;
	to->zombies += s->zombies;
	to->eintr += s->eintr;
	to->watchdog += s->watchdog;
}

/* All sums that fit; UINT32_MAX: any. */
static struct sum sum_of(uint32_t victim, uint32_t mode, uint32_t way, bool kills)
{
	struct sum sum = { 0 };

	for (uint32_t w = 0; w < WAYS; w++) {
		if ((way != UINT32_MAX && w != way) || (way == UINT32_MAX && ways[w].kill != kills))
			continue;
		for (uint32_t m = 0; m < LEN(modes); m++) {
			for (uint32_t k = 0; k < LEN(victim_kinds); k++) {
				if ((mode == UINT32_MAX || m == mode) && (victim == UINT32_MAX || k == victim))
					add(&sum, &sums[k][m][w]);
			}
		}
	}
	return sum;
}

static void print_table(double seconds)
{
	struct sum kills = sum_of(UINT32_MAX, UINT32_MAX, UINT32_MAX, true);
	struct sum rest = sum_of(UINT32_MAX, UINT32_MAX, UINT32_MAX, false);

	printf("%-8s %-8s %-9s %7s %6s %8s %8s %7s %9s %10s  %s\n", "way", "mode", "victim", "n", "ended", "failures",
	       "zombies", "EINTR", "watchdog", "95% below", "stops met");
	for (uint32_t w = 0; w < WAYS; w++) {
		for (uint32_t m = 0; m < LEN(modes); m++) {
			struct sum sum = sum_of(UINT32_MAX, m, w, false);

			/* One row a victim where they are many, for the one way that is exhaustive. */
			for (uint32_t k = 0; w == WAY_MAIN && k < LEN(victim_kinds); k++)
				print_row(ways[w].name, modes[m].name, victim_kinds[k].name, &sums[k][m][w]);
			if (w != WAY_MAIN)
				print_row(ways[w].name, modes[m].name, "all", &sum);
		}
	}
	print_row("whole", "clone", "all", &whole);
	for (uint32_t k = 0; k < LEN(victim_kinds); k++) {
		struct sum sum = sum_of(k, UINT32_MAX, UINT32_MAX, true);

		print_row("KILLED", "all", victim_kinds[k].name, &sum);
	}
	print_row("KILLED", "all", "all", &kills);
	printf("n: disturbed; ended: the dump was over before. zombies: one a kill at most, none after the next whole\n"
	       "dump. EINTR: a kill between a stop and the repair of what it cut short. 95%% below: exact, one-sided.\n");
	printf("harm: %u failures; %u kill points, %u other faults, %u whole dumps; %.0f s, %.1f a second, seed %llu\n",
	       failures, kills.n, rest.n, whole.n, seconds, (kills.n + rest.n) / (seconds > 0 ? seconds : 1),
	       (unsigned long long)seed);
}

/* --- the state file: what is done --- */

static int state_open(struct planned *all, unsigned int count)
{
	struct message m;
	int fd = state_path ? open(state_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (state_path && fd < 0)
		die(state_path);
	while (fd >= 0 && read(fd, &m, sizeof(m)) == (ssize_t)sizeof(m)) {
		if (m.index < count && same_combination(&m.point, &all[m.index].point))
			all[m.index].done = true;
		else if (m.index != UINT32_MAX)
			continue; /* of another plan */
		sum_up(&m);
	}
	return fd;
}

static void run_lanes(struct planned *all, unsigned int count)
{
	uint32_t *next = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fds[2], state = state_open(all, count);
	unsigned int lost = 0;
	struct message m;

	if (next == MAP_FAILED || pipe2(fds, O_CLOEXEC) < 0)
		die("lanes");
	for (unsigned int i = 0; i < lanes; i++) {
		if (fork() == 0) {
			close(fds[0]);
			report_fd = fds[1];
			lane(i, all, count, next);
		}
	}
	close(fds[1]);
	while (read(fds[0], &m, sizeof(m)) == (ssize_t)sizeof(m)) {
		if (state >= 0 && write(state, &m, sizeof(m)) != (ssize_t)sizeof(m))
			die(state_path);
		sum_up(&m);
	}
	for (unsigned int i = 0; i < lanes; i++) {
		int status;

		if (wait(&status) > 0 && status != 0)
			lost++;
	}
	if (lost) {
		printf("FAILED: %u lanes ended early\n", lost);
		failures += lost;
	}
}

static void options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "p:v:a:d:n:s:j:r:k:m:w:i:e:V")) != -1) {
		switch (c) {
		case 'p':
			program = optarg;
			break;
		case 'v':
			victim_path = optarg;
			break;
		case 'a':
			alloc_path = optarg;
			break;
		case 'd':
			folder = optarg;
			break;
		case 'n':
			wanted = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			lanes = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			state_path = optarg;
			break;
		case 'k':
			only_victim = optarg;
			break;
		case 'm':
			only_mode = optarg;
			break;
		case 'w':
			only_way = optarg;
			break;
		case 'i':
			only_at = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			only_variant = strtoull(optarg, NULL, 10);
			break;
		case 'V':
			verbose = true;
			break;
		default:
			exit(2);
		}
	}
	if (!program || !victim_path || !alloc_path || !folder || !wanted || wanted > POINTS_MOST) {
		fprintf(stderr, "harm: see the head of tests/harm/harm.c\n");
		exit(2);
	}
	if (!lanes) /* more of them starve each other: a worker and who it waits for run before all */
		lanes = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	lanes = lanes < wanted ? lanes : wanted;
}

int main(int argc, char **argv)
{
	struct planned *all;
	uint64_t start = now_ns();

	options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	all = plan_all(wanted);
	run_lanes(all, wanted);
	print_table((double)(now_ns() - start) / 1e9);
	return failures != 0;
}
