// SPDX-License-Identifier: MIT
/* Processes that are hard to dump: d_odd KIND [N]. Says 'NAME VALUE' lines about
 * itself, then 'ready'. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u

static volatile int over; /* never set */

static void wait_for_ever(void)
{
	printf("ready\n");
	fflush(stdout);
	while (!over)
		pause();
}

static void say(const char *name, const void *value)
{
	printf("%s %lx\n", name, (unsigned long)(uintptr_t)value);
}

static uint8_t *map(size_t len, int prot, int flags)
{
	void *p = mmap(NULL, len, prot, flags, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

static void *asleep(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void threads(int n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < n; i++) {
		if (pthread_create(&thread, &attr, asleep, NULL)) {
			perror("pthread_create");
			exit(2);
		}
	}
	wait_for_ever();
}

static void *in_vfork(void *arg)
{
	if (vfork() == 0) {
		struct timespec ts = { .tv_sec = *(int *)arg };

		syscall(SYS_nanosleep, &ts, NULL);
		_exit(0);
	}
	for (;;)
		pause();
	return NULL;
}

static void with_vfork(int seconds)
{
	pthread_t thread;

	pthread_create(&thread, NULL, in_vfork, &seconds);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL); /* it is inside vfork when its child sleeps */
	wait_for_ever();
}

/* A filter that kills for a clone. */
static void with_seccomp(int n)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(*code), .filter = code };

	(void)n;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0) {
		perror("seccomp");
		exit(2);
	}
	wait_for_ever();
}

static void no_more_processes(int n)
{
	struct rlimit limit = { 0, 0 };

	(void)n;
	setrlimit(RLIMIT_NPROC, &limit);
	if (setuid(65534) < 0) { /* root is not bound by that limit */
		perror("setuid");
		exit(2);
	}
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	wait_for_ever();
}

static void maps(int n)
{
	uint8_t *p = map((size_t)n * 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	for (int i = 0; i < n; i++) {
		if (mprotect(p + (size_t)i * 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) < 0)
			break; /* vm.max_map_count: as many as there can be */
	}
	p[0] = 1;
	wait_for_ever();
}

/* N shared mappings of a page each, no two of them neighbours; the page's number in each. */
static void shared(int n)
{
	for (int i = 0; i < n; i++) {
		uint8_t *p = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);

		memset(p, i % 255 + 1, PAGE);
		munmap(p + PAGE, 2 * PAGE);
	}
	wait_for_ever();
}

/* Every kind of memory that a clone treats in its own way, each with its own bytes. */
static void ranges(int mib)
{
	uint8_t *p;

	if (mib)
		memset(map((size_t)mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), 0x5a,
		       (size_t)mib << 20);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memset(p, 0x11, 2 * PAGE);
	say("private", p);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	memset(p, 0x22, 2 * PAGE);
	say("shared", p);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memset(p, 0x33, 4 * PAGE);
	madvise(p, 4 * PAGE, MADV_DONTFORK);
	say("dontfork", p);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memset(p, 0x44, 4 * PAGE);
	madvise(p, 4 * PAGE, MADV_WIPEONFORK);
	say("wipeonfork", p);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memset(p, 0x55, 4 * PAGE);
	madvise(p, 4 * PAGE, MADV_DONTDUMP);
	say("dontdump", p);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memset(p, 0x66, 4 * PAGE);
	mprotect(p, 4 * PAGE, PROT_NONE);
	say("none", p);
	p = map(64u << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	memset(p, 0x77, 40u << 20); /* too large to be copied in the stop */
	say("big", p);
	wait_for_ever();
}

/* Terabytes of nothing with a page here and there. */
static void sparse(int n)
{
	uint8_t *p = map((size_t)n << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	p[0] = 0x11;
	p[(size_t)n << 39] = 0x22;
	p[((size_t)n << 40) - 1] = 0x33;
	say("sparse", p);
	wait_for_ever();
}

static void on_coroutine(void)
{
	wait_for_ever();
}

/* The main thread on a stack of its own making, as coroutines have it. */
static void coroutine(int n)
{
	static ucontext_t home, other;

	(void)n;
	getcontext(&other);
	other.uc_stack.ss_sp = map(1u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	other.uc_stack.ss_size = 1u << 20;
	makecontext(&other, on_coroutine, 0);
	swapcontext(&home, &other);
}

/* A long stop pushed deep down the main stack: little room is left below. */
static void deep(int n)
{
	volatile char room[512];

	memset((void *)room, 1, sizeof(room));
	if (n > 0)
		deep(n - 1);
	else
		wait_for_ever();
	room[0] = 0;
}

static void *spinning(void *arg)
{
	while (!over)
		;
	return arg;
}

static void spin(int n)
{
	pthread_t thread;

	while (n-- > 0)
		pthread_create(&thread, NULL, spinning, NULL);
	wait_for_ever();
}

static void strict_seccomp(int n)
{
	(void)n;
	printf("ready\n");
	fflush(stdout);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	while (!over)
		;
}

static void *short_life(void *arg)
{
	return arg;
}

/* Threads that come and go as fast as they can; and processes, with N. */
static void *storm_of(void *arg)
{
	while (!over) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, short_life, NULL) == 0)
			pthread_join(thread, NULL);
		if (*(int *)arg) {
			pid_t pid = fork();

			if (pid == 0)
				_exit(0);
			while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return NULL;
}

static void storm(int with_forks)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, storm_of, &with_forks);
	wait_for_ever();
}

static void leader_gone(int n)
{
	pthread_t thread;

	(void)n;
	pthread_create(&thread, NULL, asleep, NULL);
	printf("ready\n");
	fflush(stdout);
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(int n);
	} kinds[] = {
		{ "threads", threads },		{ "vfork", with_vfork },    { "seccomp", with_seccomp },
		{ "nproc", no_more_processes }, { "maps", maps },	    { "ranges", ranges },
		{ "sparse", sparse },		{ "coroutine", coroutine }, { "deep", deep },
		{ "leader", leader_gone },	{ "storm", storm },	    { "spin", spin },
		{ "strict", strict_seccomp },	{ "shared", shared },
	};

	for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!strcmp(argv[1], kinds[i].name))
			kinds[i].run(argc > 2 ? atoi(argv[2]) : 0);
	}
	fprintf(stderr, "usage: d_odd KIND [N]\n");
	return 2;
}
