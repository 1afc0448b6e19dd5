/* SPDX-License-Identifier: MIT */
/* A server with one thread a connection; each path is a slow request with one cause.
 * Usage: slow PORT FOLDER. The request ends when its cause does, after some 700 ms, or
 * when the client closes. */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOLD_MS 700

static pthread_mutex_t stock_lock = PTHREAD_MUTEX_INITIALIZER, price_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER, right_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t catalogue_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t both;
static sem_t seats;
static char folder[200];
static volatile double sink;

static void nap(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t))
		;
}

/* --- the causes --- */

__attribute__((noinline)) static void *count_the_stock(void *ready)
{
	pthread_mutex_lock(&stock_lock);
	sem_post(ready);
	nap(HOLD_MS);
	pthread_mutex_unlock(&stock_lock);
	return NULL;
}

__attribute__((noinline)) static void *write_the_catalogue(void *ready)
{
	pthread_rwlock_wrlock(&catalogue_lock);
	sem_post(ready);
	nap(HOLD_MS);
	pthread_rwlock_unlock(&catalogue_lock);
	return NULL;
}

/* Runs 'holder' until it has its lock. */
static pthread_t start_holder(void *(*holder)(void *))
{
	pthread_t thread;
	sem_t ready;

	sem_init(&ready, 0, 0);
	if (pthread_create(&thread, NULL, holder, &ready))
		errx(1, "no thread");
	sem_wait(&ready);
	return thread;
}

__attribute__((noinline)) static void c_mutex(void)
{
	pthread_t holder = start_holder(count_the_stock);

	pthread_mutex_lock(&stock_lock);
	pthread_mutex_unlock(&stock_lock);
	pthread_join(holder, NULL);
}

__attribute__((noinline)) static void c_rwlock(void)
{
	pthread_t holder = start_holder(write_the_catalogue);

	pthread_rwlock_rdlock(&catalogue_lock);
	pthread_rwlock_unlock(&catalogue_lock);
	pthread_join(holder, NULL);
}

/* A chain: this waits for the price, whose holder waits for the stock, whose holder sleeps. */
__attribute__((noinline)) static void *price_the_stock(void *ready)
{
	pthread_mutex_lock(&price_lock);
	sem_post(ready);
	pthread_mutex_lock(&stock_lock);
	pthread_mutex_unlock(&stock_lock);
	pthread_mutex_unlock(&price_lock);
	return NULL;
}

__attribute__((noinline)) static void c_chain(void)
{
	pthread_t stock = start_holder(count_the_stock), price = start_holder(price_the_stock);

	pthread_mutex_lock(&price_lock);
	pthread_mutex_unlock(&price_lock);
	pthread_join(price, NULL);
	pthread_join(stock, NULL);
}

__attribute__((noinline)) static void *right_then_left(void *unused)
{
	pthread_mutex_lock(&right_lock);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&left_lock);
	return unused;
}

/* Never ends. */
__attribute__((noinline)) static void c_deadlock(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, right_then_left, NULL))
		errx(1, "no thread");
	pthread_mutex_lock(&left_lock);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&right_lock);
}

__attribute__((noinline)) static void *fill_slowly(void *unused)
{
	nap(HOLD_MS);
	pthread_mutex_lock(&price_lock);
	pthread_cond_signal(&filled);
	pthread_mutex_unlock(&price_lock);
	return unused;
}

__attribute__((noinline)) static void c_condition(void)
{
	pthread_t other;

	pthread_mutex_lock(&price_lock);
	if (pthread_create(&other, NULL, fill_slowly, NULL))
		errx(1, "no thread");
	pthread_cond_wait(&filled, &price_lock);
	pthread_mutex_unlock(&price_lock);
	pthread_join(other, NULL);
}

__attribute__((noinline)) static void *free_a_seat(void *unused)
{
	nap(HOLD_MS);
	sem_post(&seats);
	return unused;
}

__attribute__((noinline)) static void c_semaphore(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, free_a_seat, NULL))
		errx(1, "no thread");
	sem_wait(&seats);
	pthread_join(other, NULL);
}

__attribute__((noinline)) static void *print_the_labels(void *unused)
{
	nap(HOLD_MS);
	return unused;
}

__attribute__((noinline)) static void c_join(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, print_the_labels, NULL))
		errx(1, "no thread");
	pthread_join(other, NULL);
}

__attribute__((noinline)) static void c_cpu(void)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (int i = 1; i < 100000; i++)
			sink += 1.0 / i;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < HOLD_MS);
}

__attribute__((noinline)) static void c_sleep(void)
{
	nap(HOLD_MS);
}

__attribute__((noinline)) static void c_child(void)
{
	char *const argv[] = { "sleep", "0.7", NULL };
	pid_t child = vfork();

	if (!child) {
		execvp(argv[0], argv);
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

__attribute__((noinline)) static void c_fcntl(void)
{
	char path[300];
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd;

	snprintf(path, sizeof(path), "%s/ledger.db", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fcntl(fd, F_SETLKW, &lock);
	close(fd);
}

/* More than the buffers of both ends take, to a client that does not read. */
__attribute__((noinline)) static void c_client(int fd)
{
	static char page[1 << 16];
	ssize_t n = 0;

	dprintf(fd, "HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: %d\r\n\r\n", 256 << 16);
	for (int i = 0; i < 256 && n >= 0; i++)
		n = write(fd, page, sizeof(page));
}

/* A line of threads: each holds the lock for a moment. */
static sem_t in_line;

__attribute__((noinline)) static void log_a_line(void)
{
	sem_post(&in_line);
	pthread_mutex_lock(&log_lock);
	nap(50);
	pthread_mutex_unlock(&log_lock);
}

__attribute__((noinline)) static void *log_in_line(void *unused)
{
	log_a_line();
	return unused;
}

__attribute__((noinline)) static void c_convoy(void)
{
	pthread_t other[16];

	for (int i = 0; i < 16; i++) {
		if (pthread_create(&other[i], NULL, log_in_line, NULL))
			errx(1, "no thread");
		sem_wait(&in_line);
	}
	nap(10); /* the last one is asleep, too */
	log_a_line();
	sem_wait(&in_line);
	for (int i = 0; i < 16; i++)
		pthread_join(other[i], NULL);
}

/* --- what looks like a cause, and is none --- */

__attribute__((noinline)) static void *wait_for_the_stock(void *unused)
{
	pthread_mutex_lock(&stock_lock);
	pthread_mutex_unlock(&stock_lock);
	return unused;
}

/* Others have a lock, and wait for it; this one sleeps. */
__attribute__((noinline)) static void decoy_mutex(void)
{
	pthread_t holder = start_holder(count_the_stock), waiter[6];

	for (int i = 0; i < 6; i++) {
		if (pthread_create(&waiter[i], NULL, wait_for_the_stock, NULL))
			errx(1, "no thread");
	}
	nap(HOLD_MS);
	pthread_join(holder, NULL);
	for (int i = 0; i < 6; i++)
		pthread_join(waiter[i], NULL);
}

__attribute__((noinline)) static void *burn(void *unused)
{
	c_cpu();
	return unused;
}

/* Another thread computes. */
__attribute__((noinline)) static void decoy_hot(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, burn, NULL))
		errx(1, "no thread");
	nap(HOLD_MS);
	pthread_join(other, NULL);
}

static void burn_for(unsigned int ms)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (int i = 1; i < 10000; i++)
			sink += 1.0 / i;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < (long)ms);
}

/* Most of its time is gone when it comes to a lock. */
__attribute__((noinline)) static void decoy_late_lock(void)
{
	pthread_t holder;

	burn_for(230);
	holder = start_holder(count_the_stock);
	pthread_mutex_lock(&stock_lock);
	pthread_mutex_unlock(&stock_lock);
	pthread_join(holder, NULL);
}

/* It slept, and computes at the snapshot. */
__attribute__((noinline)) static void decoy_late_cpu(void)
{
	nap(250);
	burn_for(300);
}

static const struct {
	const char *path;
	void (*run)(void);
} causes[] = {
	{ "/c_mutex", c_mutex },
	{ "/c_rwlock", c_rwlock },
	{ "/c_chain", c_chain },
	{ "/c_deadlock", c_deadlock },
	{ "/c_condition", c_condition },
	{ "/c_semaphore", c_semaphore },
	{ "/c_join", c_join },
	{ "/c_cpu", c_cpu },
	{ "/c_sleep", c_sleep },
	{ "/c_child", c_child },
	{ "/c_fcntl", c_fcntl },
	{ "/c_convoy", c_convoy },
	{ "/decoy_mutex", decoy_mutex },
	{ "/decoy_hot", decoy_hot },
	{ "/decoy_late_lock", decoy_late_lock },
	{ "/decoy_late_cpu", decoy_late_cpu },
	{ "/decoy_deadlock", c_sleep },
	{ "/decoy_load", c_mutex },
};

/* --- the server --- */

static void answer(int fd)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

	if (write(fd, ok, sizeof(ok) - 1) < 0)
		return;
}

static void *serve(void *arg)
{
	int fd = *(int *)arg;
	char head[4096], *path, *end;
	ssize_t n;

	free(arg);
	while ((n = read(fd, head, sizeof(head) - 1)) > 0) {
		head[n] = '\0';
		path = strchr(head, ' ');
		end = path ? strpbrk(path + 1, " ?") : NULL;
		if (!end)
			break;
		path++;
		*end = '\0';
		if (!strcmp(path, "/c_client") || !strcmp(path, "/proxy_client"))
			c_client(fd);
		for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
			if (!strcmp(path, causes[i].path))
				causes[i].run();
		}
		answer(fd);
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	pthread_attr_t attr;
	int listener, on = 1;

	if (argc != 3)
		errx(2, "usage: slow PORT FOLDER");
	snprintf(folder, sizeof(folder), "%s", argv[2]);
	signal(SIGPIPE, SIG_IGN);
	addr.sin_port = htons((uint16_t)atoi(argv[1]));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 64))
		err(1, "cannot listen");
	pthread_barrier_init(&both, NULL, 2);
	sem_init(&seats, 0, 0);
	sem_init(&in_line, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int *fd = malloc(sizeof(*fd));
		pthread_t thread;

		*fd = accept(listener, NULL, NULL);
		if (*fd < 0 || pthread_create(&thread, &attr, serve, fd))
			err(1, "cannot serve");
	}
}
