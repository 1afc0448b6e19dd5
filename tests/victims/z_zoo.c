// SPDX-License-Identifier: MIT
/* Targets of many kinds, each of which counts in a shared file what is done to it:
 * z_zoo COUNTS KIND [ARGUMENT]. It goes on counting for ever; what it counts is in
 * 'struct counts'. Builds with any libc, static or not; kinds that need one thing more
 * say so and exit with 77. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define SKIPPED 77

struct counts {
	volatile uint64_t ready;
	volatile uint64_t main_ticks, other_ticks; /* they advance */
	volatile uint64_t eintr, wrong;		   /* must stay 0 */
	volatile uint64_t caught;		   /* calls a seccomp filter stopped: must stay 0 */
	volatile uint64_t lives;		   /* how often the program was started */
	volatile uint64_t sigchld;
};

static struct counts *counts;
static char **args;

static void add(volatile uint64_t *count)
{
	__atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static void nap(long us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	while (syscall(SYS_nanosleep, &ts, &ts) < 0)
		add(&counts->eintr);
}

static void skip(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(SKIPPED);
}

static void start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, run, arg);
	if (errno)
		skip("pthread_create");
}

static void *tick(void *arg)
{
	for (;;) {
		nap(1000);
		add(&counts->other_ticks);
	}
	return arg;
}

/* What every server does: waits in a call that any stop cuts short, and goes on. */
static void serve(void)
{
	struct epoll_event event;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	counts->ready = 1;
	for (;;) {
		if (epoll_wait(ep, &event, 1, 2) < 0 && errno == EINTR)
			add(&counts->eintr);
		add(&counts->main_ticks);
	}
}

static void plain(int threads)
{
	for (int i = 0; i < threads; i++)
		start_thread(tick, NULL);
	serve();
}

/* ---- seccomp ---- */

static void on_sigsys(int sig)
{
	(void)sig;
	add(&counts->caught);
}

static void *listener(void *arg)
{
	struct seccomp_notif note;

	for (;;) {
		memset(&note, 0, sizeof(note));
		if (ioctl(*(int *)arg, SECCOMP_IOCTL_NOTIF_RECV, &note) == 0)
			add(&counts->caught);
	}
	return arg;
}

/* A filter that does ACTION to clone, wait4 and rt_sigreturn's neighbours that an
 * injected call may use; everything else is allowed. */
static int filter(uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, action),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(*code), .filter = code };
	unsigned int flags = action == SECCOMP_RET_USER_NOTIF ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
	int r;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	r = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (r < 0)
		skip("seccomp");
	return r;
}

static void *filtered(void *arg)
{
	filter(SECCOMP_RET_KILL_PROCESS);
	return tick(arg);
}

static void seccomp(const char *how)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{ "errno", SECCOMP_RET_ERRNO | EPERM }, { "kill_process", SECCOMP_RET_KILL_PROCESS },
		{ "kill_thread", SECCOMP_RET_KILL },	{ "trap", SECCOMP_RET_TRAP },
		{ "notif", SECCOMP_RET_USER_NOTIF },	{ "log", SECCOMP_RET_LOG },
	};
	static int fd;
	char c;

	start_thread(tick, NULL);
	if (!strcmp(how, "thread")) {
		start_thread(filtered, NULL);
		serve();
	}
	if (!strcmp(how, "strict")) {
		counts->ready = 1;
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
			skip("prctl");
		while (read(0, &c, 1) == 1)
			add(&counts->main_ticks);
		syscall(SYS_exit, 0);
	}
	signal(SIGSYS, on_sigsys);
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		if (!strcmp(how, actions[i].name))
			fd = filter(actions[i].action);
	}
	if (!strcmp(how, "notif"))
		start_thread(listener, &fd); /* made by clone3 */
	serve();
}

/* ---- programs that do not stay ---- */

static void again(void)
{
	char file[64];
	ssize_t n = readlink("/proc/self/exe", file, sizeof(file) - 1);

	(void)n;
	execv("/proc/self/exe", args);
	add(&counts->wrong);
	exit(1);
}

static void *again_in(void *arg)
{
	nap((long)(intptr_t)arg);
	again();
	return NULL;
}

/* It starts its program again and again; 'thread': not its main thread does. */
static void exec(const char *how)
{
	long us = 2000 + (long)(counts->lives * 7919 % 15000);

	for (int i = 0; i < 4; i++)
		start_thread(tick, NULL);
	counts->ready = 1;
	if (!strcmp(how, "thread"))
		start_thread(again_in, (void *)(intptr_t)us);
	else
		again_in((void *)(intptr_t)us);
	serve();
}

/* It ends by itself after that many microseconds, with threads running. */
static void ends(int us)
{
	for (int i = 0; i < 8; i++)
		start_thread(tick, NULL);
	counts->ready = 1;
	nap(us);
	_exit(0);
}

/* ---- memory ---- */

static uint8_t *map(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		skip("mmap");
	return p;
}

/* All of its memory is written again and again: a copy of it grows as fast. */
static void rewrites(int mib)
{
	size_t len = (size_t)mib << 20;
	uint8_t *p = map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(p, len, MADV_NOHUGEPAGE);
	memset(p, 1, len);
	start_thread(tick, NULL);
	counts->ready = 1;
	for (size_t at = 0;; at = (at + PAGE) % len) {
		p[at]++;
		if (at % (400 * PAGE) == 0)
			nap(1000);
		add(&counts->main_ticks);
	}
}

static void huge(int mib)
{
	size_t len = (size_t)mib << 20, two = 2u << 20;
	uint8_t *p = map(len + two, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	p += -(uintptr_t)p & (two - 1);
	madvise(p, len, MADV_HUGEPAGE);
	for (size_t at = 0; at < len; at += PAGE)
		p[at] = (uint8_t)(at / PAGE % 251);
	plain(1);
}

/* The second half of a mapped file is no more: to touch it is SIGBUS. */
static void truncated(void)
{
	int fd = (int)syscall(SYS_memfd_create, "cut", 0);
	uint8_t *shared, *own;

	if (fd < 0 || ftruncate(fd, 64 * PAGE) < 0)
		skip("memfd_create");
	shared = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	own = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	memset(shared, 0x21, 64 * PAGE);
	memset(own, 0x22, PAGE);
	if (ftruncate(fd, 32 * PAGE) < 0)
		skip("ftruncate");
	printf("shared %lx\nown %lx\n", (unsigned long)shared, (unsigned long)own);
	fflush(stdout);
	plain(2);
}

/* Pages that only a handler could fill in, and it never does. */
static void faults(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint8_t *p = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	p[0] = 0x31;
	area.range.start = (uintptr_t)p;
	area.range.len = 64 * PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &area) < 0)
		skip("userfaultfd");
	printf("faults %lx\n", (unsigned long)p);
	fflush(stdout);
	plain(2);
}

/* Its copying takes until a thread of its own has heard of it, which stands still while we
 * wait for the copy; and some milliseconds more. */
static void *hear(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	for (;;) {
		if (poll(&pfd, 1, -1) < 1)
			continue;
		nap(1000L * atoi(args[3]));
		if (read(fd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg) && msg.event == UFFD_EVENT_FORK)
			close((int)msg.arg.fork.ufd);
	}
	return NULL;
}

static void told(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	area.range.start = (uintptr_t)map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area.range.len = PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &area) < 0)
		skip("userfaultfd that hears of forks");
	start_thread(hear, (void *)(intptr_t)fd);
	plain(1);
}

/* Memory that not even the kernel reads, and memory behind a protection key. */
static void secret(void)
{
	int fd = (int)syscall(447, 0); /* memfd_secret */
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, 4 * PAGE) < 0)
		skip("memfd_secret");
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	memset(p, 0x41, 4 * PAGE);
	printf("secret %lx\n", (unsigned long)p);
	fflush(stdout);
	plain(2);
}

static void key(void)
{
	uint8_t *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	long pkey = syscall(SYS_pkey_alloc, 0, 3); /* neither read nor written */

	memset(p, 0x51, 4 * PAGE);
	if (pkey < 0 || syscall(SYS_pkey_mprotect, p, 4 * PAGE, PROT_READ | PROT_WRITE, pkey) < 0)
		skip("pkey");
	printf("key %lx\n", (unsigned long)p);
	fflush(stdout);
	plain(2);
}

/* ---- the odd ---- */

static void on_alarm(int sig)
{
	(void)sig;
	for (;;) { /* for ever inside the handler */
		nap(1000);
		add(&counts->main_ticks);
	}
}

static void in_handler(void)
{
	static char stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };

	sigaltstack(&ss, NULL);
	sigaction(SIGALRM, &act, NULL);
	start_thread(tick, NULL);
	counts->ready = 1;
	raise(SIGALRM);
}

static void leader(void)
{
	for (int i = 0; i < 4; i++)
		start_thread(tick, NULL);
	counts->ready = 1;
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1, n = argc > 3 ? atoi(argv[3]) : 4;
	const char *kind = argc > 2 ? argv[2] : "", *how = argc > 3 ? argv[3] : "";

	args = argv;
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED) {
		fprintf(stderr, "usage: z_zoo COUNTS KIND [ARGUMENT]\n");
		return 2;
	}
	add(&counts->lives);
	if (!strcmp(kind, "plain"))
		plain(n);
	if (!strcmp(kind, "seccomp"))
		seccomp(how);
	if (!strcmp(kind, "exec"))
		exec(how);
	if (!strcmp(kind, "ends"))
		ends(n);
	if (!strcmp(kind, "rewrites"))
		rewrites(n);
	if (!strcmp(kind, "huge"))
		huge(n);
	if (!strcmp(kind, "truncated"))
		truncated();
	if (!strcmp(kind, "faults"))
		faults();
	if (!strcmp(kind, "told"))
		told();
	if (!strcmp(kind, "secret"))
		secret();
	if (!strcmp(kind, "key"))
		key();
	if (!strcmp(kind, "handler"))
		in_handler();
	if (!strcmp(kind, "leader"))
		leader();
	fprintf(stderr, "z_zoo: there is no kind '%s'\n", kind);
	return 2;
}
