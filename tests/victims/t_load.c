// SPDX-License-Identifier: MIT
/* A process that crosses a threshold at a moment it tells. Usage: t_load WHAT MS.
 * Prints 'ready', does nothing for MS milliseconds, prints 'crossed SECONDS' (of the wall
 * clock) and then does it: cpu, memory, threads, fds, still, signal, segv, exit, none.
 * 'still' moves until then, and stands still afterwards. 'twice' takes
 * memory for half of the time, gives it back, and takes it for good. 'grow' takes 32 MiB
 * again and again. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (64u << 20)
#define STEP (32u << 20)
#define MANY 40

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *raiser(void *arg)
{
	raise(*(const int *)arg);
	return idle(NULL);
}

static void say(const char *what)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	printf("%s %lld.%09ld\n", what, (long long)ts.tv_sec, ts.tv_nsec);
	fflush(stdout);
}

static void got(int number)
{
	static const char text[] = "got it\n";

	(void)number;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
}

static void rest(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* Sleeps of three kinds: its place is another one each time. */
static void move_for(long ms)
{
	for (long t = 0; t < ms; t += 15) {
		rest(5);
		usleep(5000);
		poll(NULL, 0, 5);
	}
}

static void *take(size_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(1);
	memset(at, 1, bytes);
	return at;
}

static void cross(const char *what)
{
	static int number;
	pthread_t thread;

	if (!strcmp(what, "cpu")) {
		for (volatile int i = 0;; i = i + 1)
			;
	} else if (!strcmp(what, "memory") || !strcmp(what, "twice")) {
		take(MEMORY);
	} else if (!strcmp(what, "grow")) {
		for (;;) {
			take(STEP);
			say("grown");
			rest(1500);
		}
	} else if (!strcmp(what, "threads")) {
		for (int i = 0; i < MANY; i++)
			pthread_create(&thread, NULL, idle, NULL);
	} else if (!strcmp(what, "fds")) {
		for (int i = 0; i < MANY; i++)
			if (open("/dev/null", O_RDONLY) < 0)
				exit(1);
	} else if (!strcmp(what, "signal") || !strcmp(what, "segv")) {
		number = !strcmp(what, "signal") ? SIGUSR1 : SIGSEGV;
		pthread_create(&thread, NULL, raiser, &number);
	} else if (!strcmp(what, "exit")) {
		exit(7);
	}
}

int main(int argc, char **argv)
{
	long ms = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	const char *what = argc == 3 ? argv[1] : "none";

	signal(SIGUSR1, got);
	puts("ready");
	fflush(stdout);
	if (!strcmp(what, "twice")) {
		rest(ms / 4);
		void *at = take(MEMORY);
		rest(ms / 4);
		munmap(at, MEMORY);
		rest(ms / 2);
	} else if (!strcmp(what, "still")) {
		move_for(ms);
	} else {
		rest(ms);
	}
	say("crossed");
	cross(what);
	for (;;)
		pause();
}
