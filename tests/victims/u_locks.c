// SPDX-License-Identifier: MIT
/* A process that stands still in locks and says the truth about it: 'NAME TID' lines,
 * then 'ready'. The holder sleeps with a mutex that two others wait for; two more are
 * in a deadlock; as many idle threads as the argument says wait for a condition. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER, first = PTHREAD_MUTEX_INITIALIZER,
		       second = PTHREAD_MUTEX_INITIALIZER, idle_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t held, both;
static volatile int sink;

static void say(const char *name)
{
	printf("%s %ld\n", name, syscall(SYS_gettid));
	fflush(stdout);
}

__attribute__((noinline)) static void holder_work(void)
{
	while (sink >= 0)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
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

static void *waiter(void *arg)
{
	pthread_barrier_wait(&held);
	say("waiter");
	pthread_mutex_lock(&contended);
	return arg;
}

static void *dead_a(void *arg)
{
	pthread_mutex_lock(&first);
	say("dead_a");
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&second);
	return arg;
}

static void *dead_b(void *arg)
{
	pthread_mutex_lock(&second);
	say("dead_b");
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&first);
	return arg;
}

static void *idler(void *arg)
{
	pthread_mutex_lock(&idle_mutex);
	pthread_cond_wait(&idle, &idle_mutex);
	return arg;
}

/* Told by the kernel, not by a guess. */
static int threads_in_futex(void)
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
			count += atoi(text) == SYS_futex;
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
	pthread_t thread;

	pthread_barrier_init(&held, NULL, 3);
	pthread_barrier_init(&both, NULL, 2);
	say("main");
	pthread_create(&thread, NULL, holder, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	if (argc > 2) {
		pthread_create(&thread, NULL, dead_a, NULL);
		pthread_create(&thread, NULL, dead_b, NULL);
	}
	for (int i = 0; i < idlers; i++)
		pthread_create(&thread, NULL, idler, NULL);
	while (threads_in_futex() < idlers + (argc > 2 ? 4 : 2))
		sched_yield();
	printf("ready\n");
	fflush(stdout);
	holder_work();
	return 0;
}
