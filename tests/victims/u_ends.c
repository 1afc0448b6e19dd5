// SPDX-License-Identifier: MIT
/* Processes that wait for one another, and say who they are: 'NAME PID [TID]' lines, 'port N'.
 *   flock|fcntl|ofd FILE      takes the lock, says 'held', sleeps with it
 *   swap KIND FILE FILE       takes the first, says 'held', waits for a line, takes the second
 *   mutex FILE NUMBER...      the same with robust or plain process-shared mutexes in the
 *                             file: 'mutex FILE make' first
 *   forge FILE PID            waits for a shared mutex whose owner word names that process
 *   pipe                      fills a pipe to its child, which has stopped itself
 *   child                     waits for its child, which sleeps
 *   serve                     answers nobody: its thread waits for a mutex of another */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	pthread_mutex_t mutex[4]; /* the last two are robust */
	pthread_rwlock_t rwlock;
};

static volatile int sink;

static void say(const char *name)
{
	printf("%s %d %ld\n", name, getpid(), syscall(SYS_gettid));
	fflush(stdout);
}

__attribute__((noinline)) static void work_with_it(void)
{
	while (sink >= 0)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
	sink++;
}

__attribute__((noinline)) static void take_file(const char *kind, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5 };

	if (!strcmp(kind, "flock"))
		flock(fd, LOCK_EX);
	else
		fcntl(fd, !strcmp(kind, "ofd") ? F_OFD_SETLKW : F_SETLKW, &lock);
}

static void swap_files(char **argv)
{
	take_file(argv[2], argv[3]);
	say("held");
	getchar();
	take_file(argv[2], argv[4]);
}

static struct shared *map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (ftruncate(fd, sizeof(struct shared)) < 0)
		exit(1);
	return mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void make_shared(struct shared *s)
{
	pthread_mutexattr_t attr;
	pthread_rwlockattr_t rw;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
		if (i == 3)
			pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
		pthread_mutex_init(&s->mutex[i], &attr);
	}
	pthread_rwlockattr_init(&rw);
	pthread_rwlockattr_setpshared(&rw, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&s->rwlock, &rw);
}

/* 4 is the rwlock, to be written to. */
static void take_shared(struct shared *s, int number)
{
	if (number == 4)
		pthread_rwlock_wrlock(&s->rwlock);
	else
		pthread_mutex_lock(&s->mutex[number]);
}

static void share(int argc, char **argv)
{
	struct shared *s = map(argv[2]);

	if (!strcmp(argv[3], "make")) {
		make_shared(s);
		return;
	}
	take_shared(s, atoi(argv[3]));
	say("held");
	if (argc == 4)
		work_with_it();
	getchar();
	take_shared(s, atoi(argv[4]));
}

static void forge(const char *path, int pid)
{
	struct shared *s = map(path);

	make_shared(s);
	s->mutex[0].__data.__lock = 2;
	s->mutex[0].__data.__owner = pid;
	s->mutex[0].__data.__nusers = 1;
	take_shared(s, 0);
}

static void fill_pipe(void)
{
	static const char zeros[65536];
	int fd[2];

	if (pipe(fd) < 0)
		exit(1);
	if (fork() == 0) {
		close(fd[1]);
		say("reader");
		raise(SIGSTOP);
		while (read(fd[0], (char[512]){ 0 }, 512) > 0)
			;
		_exit(0);
	}
	close(fd[0]);
	say("writer");
	while (write(fd[1], zeros, sizeof(zeros)) > 0)
		;
}

static void wait_for_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		say("child");
		work_with_it();
	}
	say("parent");
	waitpid(pid, NULL, 0);
}

static pthread_mutex_t stock = PTHREAD_MUTEX_INITIALIZER;

static void *stock_taker(void *arg)
{
	pthread_mutex_lock(&stock);
	say("taker");
	pthread_barrier_wait(arg);
	work_with_it();
	return NULL;
}

static void *server(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);
	char c;

	say("server");
	if (read(fd, &c, 1) == 1)
		pthread_mutex_lock(&stock);
	return NULL;
}

static void serve(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_barrier_t taken;
	pthread_t thread;

	pthread_barrier_init(&taken, NULL, 2);
	pthread_create(&thread, NULL, stock_taker, &taken);
	pthread_barrier_wait(&taken);
	bind(fd, (struct sockaddr *)&at, sizeof(at));
	listen(fd, 5);
	getsockname(fd, (struct sockaddr *)&at, &len);
	pthread_create(&thread, NULL, server, &fd);
	printf("port %d\n", ntohs(at.sin_port));
	fflush(stdout);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "swap")) {
		swap_files(argv);
	} else if (!strcmp(argv[1], "mutex")) {
		share(argc, argv);
	} else if (!strcmp(argv[1], "forge")) {
		forge(argv[2], atoi(argv[3]));
	} else if (!strcmp(argv[1], "pipe")) {
		fill_pipe();
	} else if (!strcmp(argv[1], "child")) {
		wait_for_child();
	} else if (!strcmp(argv[1], "serve")) {
		serve();
	} else {
		take_file(argv[1], argv[2]);
		say("held");
		work_with_it();
	}
	return 0;
}
