// SPDX-License-Identifier: MIT
/* One thread that waits for each kind of lock that the C library has, and one that holds it.
 * Tells the truth about them: 'KIND WAITER OWNER WHAT' lines (OWNER 0: nobody can know), in
 * ids of its own pid name space, then 'ready'. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int sink;
static const struct timespec never = { .tv_sec = 4102444800 };

static pid_t self(void)
{
	return (pid_t)syscall(SYS_gettid);
}

__attribute__((noinline)) static void holder_work(void)
{
	while (sink >= 0)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
	sink++;
}

/* ---- mutexes ---- */

static pthread_mutex_t mutex[16];

static void mutex_make(int n, int type, int protocol, int robust)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, type);
	pthread_mutexattr_setprotocol(&a, protocol);
	pthread_mutexattr_setrobust(&a, robust);
	pthread_mutex_init(&mutex[n], &a);
}

static void mutexes_make(void)
{
	mutex_make(0, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(1, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(2, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(3, PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(4, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(5, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
	mutex_make(6, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
	mutex_make(7, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
	mutex_make(8, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
	mutex_make(9, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	for (int n = 10; n < 16; n++)
		mutex_make(n, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
}

static void lock(int n)
{
	pthread_mutex_lock(&mutex[n]);
}

static void lock_timed(int n)
{
	pthread_mutex_timedlock(&mutex[n], &never);
}

static void lock_twice(int n)
{
	lock(n);
	lock(n);
}

static void *lock_and_die(void *arg)
{
	lock((int)(long)arg);
	return NULL;
}

/* Takes over what a dead thread held. */
static void lock_inherited(int n)
{
	pthread_t thread;

	pthread_create(&thread, NULL, lock_and_die, (void *)(long)n);
	pthread_join(thread, NULL);
	if (pthread_mutex_lock(&mutex[n]) != EOWNERDEAD)
		abort();
}

/* ---- others ---- */

static pthread_rwlock_t rwlock[5] = { PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER,
				      PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER,
				      PTHREAD_RWLOCK_INITIALIZER };
static pthread_cond_t cond[2] = { PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER };
static sem_t sem[2];
static FILE *stream;
static pthread_t joined;
static char *chunk; /* a free piece of the heap that must not be touched */

static void read_lock(int n)
{
	pthread_rwlock_rdlock(&rwlock[n]);
}

static void read_lock_timed(int n)
{
	pthread_rwlock_timedrdlock(&rwlock[n], &never);
}

static void write_lock(int n)
{
	pthread_rwlock_wrlock(&rwlock[n]);
}

static void *read_and_stay(void *arg)
{
	read_lock((int)(long)arg);
	holder_work();
	return NULL;
}

static void two_readers(int n)
{
	pthread_t thread;

	pthread_create(&thread, NULL, read_and_stay, (void *)(long)n);
	read_lock(n);
	while (*(volatile unsigned int *)&rwlock[n] >> 3 != 2)
		sched_yield();
}

static void wait_cond(int n)
{
	lock(10 + n);
	if (n)
		pthread_cond_timedwait(&cond[n], &mutex[10 + n], &never);
	else
		pthread_cond_wait(&cond[n], &mutex[10 + n]);
}

static void wait_sem(int n)
{
	if (n)
		sem_timedwait(&sem[n], &never);
	else
		sem_wait(&sem[n]);
}

static void be_joined(int n)
{
	(void)n;
	joined = pthread_self();
}

static void join(int n)
{
	(void)n;
	pthread_join(joined, NULL);
}

static void hold_stream(int n)
{
	(void)n;
	flockfile(stream);
}

static void write_stream(int n)
{
	(void)n;
	fputs("x", stream);
}

static void nothing(int n)
{
	(void)n;
}

/* ---- the heap ---- */

static void held_by_me(void);

/* The thread is inside of malloc, with the heap's lock. */
static void on_fault(int sig)
{
	(void)sig;
	held_by_me();
}

static void heap_make(void)
{
	struct sigaction act = { .sa_handler = on_fault };
	char *before, *behind;

	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 25);
	sigaction(SIGSEGV, &act, NULL);
	before = malloc(8192); /* so that nothing else is in its first page */
	chunk = malloc(1 << 20);
	behind = malloc(64); /* so that it does not join the top */
	if (!before || !chunk || !behind)
		abort();
}

static void heap_hold(int n)
{
	long page = sysconf(_SC_PAGESIZE);

	unsigned long header = (unsigned long)chunk - 16;

	(void)n;
	free(chunk);
	mprotect((void *)(header & ~(unsigned long)(page - 1)), (size_t)page, PROT_NONE);
	chunk = malloc(1 << 19);
}

static void heap_wait(int n)
{
	(void)n;
	chunk = malloc(1 << 18);
}

/* ---- the table ---- */

struct row {
	const char *kind, *what; /* as it begins when it is told */
	void (*hold)(int n);
	void (*wait)(int n);
	int n;
	int nobody; /* can know who has it */
	volatile pid_t owner, waiter;
	pthread_barrier_t ready;
};

static struct row rows[] = {
	{ "normal", "mutex ", lock, lock, 0 },
	{ "recursive", "mutex ", lock_twice, lock, 1 },
	{ "errorcheck", "mutex ", lock, lock, 2 },
	{ "adaptive", "mutex ", lock, lock, 3 },
	{ "timed", "mutex ", lock, lock_timed, 4 },
	{ "inheriting", "mutex ", lock, lock, 5 },
	{ "inheriting_timed", "mutex ", lock, lock_timed, 6 },
	{ "robust", "mutex ", lock, lock, 7 },
	{ "robust_inherited", "mutex ", lock_inherited, lock_timed, 8 },
	{ "recursive_timed", "mutex ", lock_twice, lock_timed, 9 },
	{ "reader_behind_writer", "rwlock ", write_lock, read_lock, 0 },
	{ "reader_behind_writer_timed", "rwlock ", write_lock, read_lock_timed, 1 },
	{ "writer_behind_writer", "rwlock ", write_lock, write_lock, 2 },
	{ "writer_behind_reader", "rwlock ", read_lock, write_lock, 3, .nobody = 1 },
	{ "writer_behind_readers", "rwlock ", two_readers, write_lock, 4, .nobody = 1 },
	{ "condition", "condition variable ", nothing, wait_cond, 0, .nobody = 1 },
	{ "condition_timed", "condition variable ", nothing, wait_cond, 1, .nobody = 1 },
	{ "semaphore", "semaphore ", nothing, wait_sem, 0, .nobody = 1 },
	{ "semaphore_timed", "semaphore ", nothing, wait_sem, 1, .nobody = 1 },
	{ "join", "thread ", be_joined, join, 0 },
	{ "stdio", "stdio lock ", hold_stream, write_stream, 0 },
	/* the last: from there on nobody here may use the heap */
	{ "malloc", "malloc lock ", heap_hold, heap_wait, 0, .nobody = 1 },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static pthread_barrier_t held;

static void held_by_me(void)
{
	pthread_barrier_wait(&held);
	holder_work();
}

static void *holder(void *arg)
{
	struct row *row = arg;

	row->owner = self();
	row->hold(row->n);
	held_by_me();
	return NULL;
}

static void *waiter(void *arg)
{
	struct row *row = arg;

	row->waiter = self();
	row->wait(row->n);
	return NULL;
}

/* Told by the kernel, not by a guess, and without the heap. */
static int blocked(pid_t tid)
{
	char path[64], text[8] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 4)
		text[0] = 'r';
	if (fd >= 0)
		close(fd);
	return !strncmp(text, "202 ", 4);
}

static void *waiter_of(void *arg)
{
	struct row *row = arg;

	pthread_barrier_wait(&row->ready);
	return waiter(row);
}

int main(void)
{
	static char out[8192];
	pthread_t thread;

	setvbuf(stdout, out, _IOFBF, sizeof(out));
	mutexes_make();
	sem_init(&sem[0], 0, 0);
	sem_init(&sem[1], 0, 0);
	stream = fopen("/dev/null", "w");
	setvbuf(stream, NULL, _IONBF, 0);
	heap_make();
	pthread_barrier_init(&held, NULL, 2);
	for (size_t i = 0; i < ROWS; i++) {
		pthread_barrier_init(&rows[i].ready, NULL, 2);
		pthread_create(&thread, NULL, waiter_of, &rows[i]);
	}
	/* one after the other, the heap's last */
	for (size_t i = 0; i < ROWS; i++) {
		pthread_create(&thread, NULL, holder, &rows[i]);
		pthread_barrier_wait(&held);
	}
	for (size_t i = 0; i < ROWS; i++)
		pthread_barrier_wait(&rows[i].ready);
	for (size_t i = 0; i < ROWS; i++) {
		while (!rows[i].waiter || !blocked(rows[i].waiter))
			sched_yield();
		printf("%s %d %d %s\n", rows[i].kind, rows[i].waiter, rows[i].nobody ? 0 : rows[i].owner, rows[i].what);
	}
	printf("malloc_owner %d 0 -\nready\n", rows[ROWS - 1].owner);
	fflush(stdout);
	holder_work();
	return 0;
}
