// SPDX-License-Identifier: MIT
/* A process whose threads each do one thing and say which: 'NAME TID' lines, 'leaks
 * START-END', then 'ready'. One sleeps with a mutex that two wait for, one spins, one is
 * deeper in a recursion every 20 ms, four accept, as many as the argument says wait for
 * a condition. The main thread fills a mapping, 1 MiB every 20 ms. */
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ACCEPTORS 4
#define LEAK_BYTES (1ul << 30)
#define STEP_BYTES (1ul << 20)
#define DEPTH 200

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER, idle_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t held;
static volatile unsigned long sink;
static int listener;

static void say(const char *name)
{
	printf("%s %ld\n", name, syscall(SYS_gettid));
	fflush(stdout);
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

__attribute__((noinline)) static void holder_work(void)
{
	while (sink < ~0ul)
		nap(1000000);
	sink++;
}

static void *holder(void *arg)
{
	pthread_mutex_lock(&contended);
	say("holder");
	pthread_barrier_wait(&held);
	holder_work();
	return arg;
}

__attribute__((noinline)) static void waiter_work(void)
{
	pthread_mutex_lock(&contended);
	sink++;
}

static void *waiter(void *arg)
{
	pthread_barrier_wait(&held);
	say("waiter");
	waiter_work();
	sink++;
	return arg;
}

__attribute__((noinline)) static unsigned long spin_a(unsigned long n)
{
	for (int i = 0; i < 1000; i++)
		n = n * 1103515245 + 12345;
	return n;
}

__attribute__((noinline)) static unsigned long spin_b(unsigned long n)
{
	for (int i = 0; i < 1000; i++)
		n = n * 69069 + 1;
	return n;
}

__attribute__((noinline)) static void spin(void)
{
	while (sink < ~0ul) {
		unsigned long n = spin_a(sink & 1);

		sink += n != spin_b(n) ? 1 : 2;
	}
}

static void *spinner(void *arg)
{
	say("spinner");
	spin();
	sink++;
	return arg;
}

__attribute__((noinline)) static unsigned long deeper(int depth)
{
	nap(20);
	return depth ? deeper(depth - 1) + sink : sink;
}

static void *mover(void *arg)
{
	say("mover");
	while (sink < ~0ul)
		sink += deeper(DEPTH) & 1;
	return arg;
}

static void *acceptor(void *arg)
{
	say("acceptor");
	accept4(listener, NULL, NULL, 0);
	return arg;
}

static void *idler(void *arg)
{
	pthread_mutex_lock(&idle_mutex);
	pthread_cond_wait(&idle, &idle_mutex);
	return arg;
}

/* Told by the kernel, not by a guess. */
static int threads_in(int call)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *d;
	int count = 0;

	while (dir && (d = readdir(dir))) {
		char path[300], text[8] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/syscall", d->d_name);
		f = fopen(path, "r");
		if (f && fgets(text, sizeof(text), f))
			count += text[0] >= '0' && text[0] <= '9' && atoi(text) == call;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int idlers = argc > 1 ? atoi(argv[1]) : 0;
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char *leak = mmap(NULL, LEAK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (leak == MAP_FAILED || bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, 1) < 0)
		return 1;
	madvise(leak, LEAK_BYTES, MADV_NOHUGEPAGE);
	pthread_barrier_init(&held, NULL, 3);
	say("main");
	printf("leaks %lx-%lx\n", (unsigned long)leak, (unsigned long)leak + LEAK_BYTES);
	pthread_create(&thread, NULL, holder, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	for (int i = 0; i < ACCEPTORS; i++)
		pthread_create(&thread, NULL, acceptor, NULL);
	for (int i = 0; i < idlers; i++)
		pthread_create(&thread, NULL, idler, NULL);
	pthread_create(&thread, NULL, mover, NULL);
	while (threads_in(SYS_futex) < idlers + 2 || threads_in(SYS_accept4) < ACCEPTORS)
		sched_yield();
	pthread_create(&thread, NULL, spinner, NULL);
	printf("ready\n");
	fflush(stdout);
	for (unsigned long at = 0; at < LEAK_BYTES; at += STEP_BYTES) {
		for (unsigned long k = 0; k < STEP_BYTES; k += 4096)
			leak[at + k] = 1;
		nap(20);
	}
	holder_work();
	return 0;
}
