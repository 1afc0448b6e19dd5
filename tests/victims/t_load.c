// SPDX-License-Identifier: MIT
/* A process that crosses a threshold at a moment it tells. Usage: t_load WHAT MS [FILE].
 * Prints 'ready', does nothing for MS milliseconds, prints 'crossed SECONDS' (of the wall
 * clock) and then does it: cpu, memory, threads, fds, still, signal, segv, exit, none;
 * crowd: more threads that compute than there are CPUs; file: reads all of FILE again and
 * again; queue: sends itself 200 signals with a number, 1 ms apart, and says which came.
 * 'still' moves until then, and stands still afterwards. 'twice' takes
 * memory for half of the time, gives it back, and takes it for good. 'grow' takes 32 MiB
 * again and again. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (64u << 20)
#define STEP (32u << 20)
#define MANY 40
#define QUEUED 200

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

static void *spinner(void *arg)
{
	for (volatile int i = 0;; i = i + 1)
		;
	return arg;
}

/* In the order in which they came. */
static int came[2 * QUEUED];
static volatile sig_atomic_t came_count;

static void got_number(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (came_count < 2 * QUEUED)
		came[came_count++] = info->si_value.sival_int;
}

static void send_numbers(void)
{
	bool order = true;

	for (int i = 0; i < QUEUED; i++) {
		sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i });
		usleep(1000);
	}
	for (int i = 0; i < came_count; i++)
		order &= came[i] == i;
	printf("came %d %s\n", came_count, order ? "in order" : "in another order");
	fflush(stdout);
}

static void read_again(const char *path)
{
	static char buf[1 << 20];
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		exit(1);
	for (off_t at = 0;; at += sizeof(buf)) {
		if (pread(fd, buf, sizeof(buf), at) <= 0)
			at = -(off_t)sizeof(buf);
	}
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

static void cross(const char *what, const char *file)
{
	static int number;
	pthread_t thread;

	if (!strcmp(what, "cpu")) {
		spinner(NULL);
	} else if (!strcmp(what, "crowd")) {
		for (long i = 0; i < 4 * sysconf(_SC_NPROCESSORS_ONLN); i++)
			pthread_create(&thread, NULL, spinner, NULL);
	} else if (!strcmp(what, "file")) {
		read_again(file);
	} else if (!strcmp(what, "queue")) {
		send_numbers();
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
	long ms = argc >= 3 ? strtol(argv[2], NULL, 10) : 0;
	const char *what = argc >= 3 ? argv[1] : "none";

	signal(SIGUSR1, got);
	sigaction(SIGRTMIN, &(struct sigaction){ .sa_sigaction = got_number, .sa_flags = SA_SIGINFO }, NULL);
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
	cross(what, argc > 3 ? argv[3] : "");
	for (;;)
		pause();
}
