// SPDX-License-Identifier: MIT
/* Targets for mini cores. Prints where things are, then 'ready', and waits for ever. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

struct local {
	int number;
	char text[32];
	struct local *next;
};

static __thread volatile int thread_local_number;
static volatile int sink;
static pthread_barrier_t all_there;

static volatile int wanted = 1;

static void wait_for_ever(void)
{
	while (wanted)
		pause();
}

static void say(const char *name, const void *value)
{
	printf("%s %lx\n", name, (unsigned long)value);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void *map(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void start(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256u << 10);
	if (pthread_create(&thread, &attr, fn, arg) != 0) {
		puts("no thread");
		exit(1);
	}
}

static __attribute__((noinline)) void go_deeper(int levels, struct local *local)
{
	volatile char room[300];

	room[0] = (char)levels;
	if (levels > 0) {
		go_deeper(levels - 1, local);
	} else {
		errno = 42;
		thread_local_number = local->number;
		pthread_barrier_wait(&all_there);
		wait_for_ever();
	}
	sink = room[0];
}

static void *deep_or_shallow(void *arg)
{
	int i = (int)(long)arg;
	struct local *local = calloc(1, sizeof(*local)), *next = malloc(3 * PAGE);

	local->number = 1000 + i;
	snprintf(local->text, sizeof(local->text), "thread %d", i);
	local->next = next;
	next->number = -i;
	go_deeper(i % 2 ? 40 : 2, local);
	return NULL;
}

static void threads(int n)
{
	pthread_barrier_init(&all_there, NULL, (unsigned int)n + 1);
	memset(map(32u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1, 32u << 20);
	for (int i = 0; i < n; i++)
		start(deep_or_shallow, (void *)(long)i);
	pthread_barrier_wait(&all_there);
}

/* More pages pointed to than a mini core has room for. */
static void *points_far(void *arg)
{
	struct local *pointer[2048];
	char *heap = arg;

	for (size_t i = 0; i < 2048; i++)
		pointer[i] = (struct local *)(void *)(heap + i * PAGE);
	__asm__ volatile("" : : "r"(pointer) : "memory");
	pthread_barrier_wait(&all_there);
	wait_for_ever();
	return NULL;
}

static void crowd(int n)
{
	pthread_barrier_init(&all_there, NULL, (unsigned int)n + 1);
	for (int i = 0; i < n; i++) {
		char *heap = map(2048ul * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		memset(heap, i + 1, 2048ul * PAGE);
		start(points_far, heap);
	}
	pthread_barrier_wait(&all_there);
}

static void on_alternate_stack(int sig)
{
	(void)sig;
	pthread_barrier_wait(&all_there);
	wait_for_ever();
}

static void *signalled(void *arg)
{
	stack_t stack = { .ss_sp = map(64u << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1),
			  .ss_size = 64u << 10 };
	struct sigaction sa = { .sa_handler = on_alternate_stack, .sa_flags = SA_ONSTACK };

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	return arg;
}

static void *nowhere(void *arg)
{
	pthread_barrier_wait(&all_there);
	__asm__ volatile("mov $0x100, %%rsp\n1: mov $34, %%eax\nsyscall\njmp 1b" : : : "memory", "rax", "rcx", "r11");
	return arg;
}

/* Its stack goes on to its very end: a guard page comes next; it points to what must not be dumped. */
static void *secretive(void *arg)
{
	volatile uintptr_t secret = (uintptr_t)arg;

	pthread_barrier_wait(&all_there);
	while (wanted) {
		pause();
		sink = (int)secret;
	}
	return NULL;
}

static void odd(int mib)
{
	uint8_t *secret = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint8_t *plain;

	if (mib)
		memset(map((size_t)mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), 0x5a,
		       (size_t)mib << 20);
	pthread_barrier_init(&all_there, NULL, 5);
	memset(secret, 0x55, 2 * PAGE);
	madvise(secret, 2 * PAGE, MADV_DONTDUMP);
	plain = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	memset(plain, 0x22, 2 * PAGE);
	say("secret", secret);
	say("plain", plain);
	start(signalled, NULL);
	start(nowhere, NULL);
	start(secretive, secret);
	start(secretive, plain);
	pthread_barrier_wait(&all_there);
}

/* A file of 2 GiB, all but three pages of it a hole, in the working directory. */
static void files(int n)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t page[PAGE], *p;

	(void)n;
	if (fd < 0 || ftruncate(fd, 2l << 30) < 0) {
		perror("file");
		exit(1);
	}
	for (int i = 0; i < 3; i++) {
		memset(page, 0x71 + i, sizeof(page));
		if (pwrite(fd, page, PAGE, ((2l << 30) - PAGE) / 2 * i & ~(PAGE - 1l)) != PAGE)
			exit(1);
	}
	say("private", map(2ul << 30, PROT_READ, MAP_PRIVATE, fd));
	say("shared", map(2ul << 30, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
	p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	p[PAGE] = 0x61;
	say("changed", p);
	fd = open("short", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || pwrite(fd, page, 100, 0) != 100)
		exit(1);
	say("short", map(4 * PAGE, PROT_READ, MAP_PRIVATE, fd));
	p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(p, 0x55, 2 * PAGE);
	madvise(p, 2 * PAGE, MADV_DONTDUMP);
	say("secret", p);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(int n);
	} kinds[] = { { "threads", threads }, { "crowd", crowd }, { "odd", odd }, { "files", files } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && argc > 1; i++) {
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		kinds[i].fn(argc > 2 ? atoi(argv[2]) : 0);
		ready();
		wait_for_ever();
	}
	return 2;
}
