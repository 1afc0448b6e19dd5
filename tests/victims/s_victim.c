// SPDX-License-Identifier: MIT
/* Does what its standard input says, one word a line, and says on standard output what
 * came of it: for tests of a worker that stays attached. Its main thread reads, 'getter'
 * alone gets SIGUSR1 and SIGRTMIN, 'doer' does what is asked for. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic unsigned int usr1, rt, caught, eintr, timeouts;
static pid_t getter_tid, doer_tid;
static sigjmp_buf again;
static char task[64];
static sem_t asked, done;
static char **arguments;

static void on_usr1(int sig)
{
	(void)sig;
	atomic_fetch_add(&usr1, 1);
}

static void on_rt(int sig)
{
	(void)sig;
	atomic_fetch_add(&rt, 1);
}

static void on_segv(int sig)
{
	(void)sig;
	atomic_fetch_add(&caught, 1);
	siglongjmp(again, 1);
}

/* Waits in epoll_wait, which returns EINTR for each signal that has a handler. */
static void *get(void *arg)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;
	sigset_t set;

	(void)arg;
	getter_tid = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	sem_post(&done);
	for (;;) {
		int n = epoll_wait(ep, &event, 1, -1);

		if (n < 0 && errno == EINTR)
			atomic_fetch_add(&eintr, 1);
		else
			atomic_fetch_add(&timeouts, 1);
	}
	return NULL;
}

static void *nothing(void *arg)
{
	return arg;
}

static volatile int *volatile nowhere = (int *)0x10;

__attribute__((noinline)) static void fault_here(void)
{
	*nowhere = 1;
}

static void do_task(void)
{
	char *end = strchr(task, ' ');
	long n = end ? strtol(end, NULL, 10) : 0;
	pthread_t thread;

	if (!strncmp(task, "segv", 4)) {
		fault_here();
	} else if (!strncmp(task, "blocked", 7)) { /* fatal, though blocked and ignored */
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGSEGV);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		signal(SIGSEGV, SIG_IGN);
		fault_here();
	} else if (!strncmp(task, "handled", 7)) {
		struct sigaction action = { .sa_handler = on_segv };

		sigaction(SIGSEGV, &action, NULL);
		for (long i = 0; i < n; i++) {
			if (!sigsetjmp(again, 1))
				fault_here();
		}
		signal(SIGSEGV, SIG_DFL);
	} else if (!strncmp(task, "abort", 5)) {
		abort();
	} else if (!strncmp(task, "exit", 4)) {
		exit((int)n);
	} else if (!strncmp(task, "threads", 7)) {
		for (long i = 0; i < n; i++) {
			if (pthread_create(&thread, NULL, nothing, NULL))
				abort();
			pthread_join(thread, NULL);
		}
	} else if (!strncmp(task, "fork", 4)) {
		for (long i = 0; i < n; i++) {
			pid_t pid = fork();

			if (pid == 0)
				_exit(3);
			if (waitpid(pid, NULL, 0) != pid)
				abort();
		}
	} else if (!strncmp(task, "bare", 4)) { /* a child that TRACECLONE takes for a thread */
		for (long i = 0; i < n; i++) {
			pid_t pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);

			if (pid == 0)
				_exit(3);
			if (waitpid(pid, NULL, __WALL) != pid)
				abort();
		}
	} else if (!strncmp(task, "exec", 4)) {
		execv("/proc/self/exe", arguments);
		abort();
	}
}

static void *act(void *arg)
{
	sigset_t set;

	(void)arg;
	doer_tid = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigaddset(&set, SIGABRT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	sem_post(&done);
	for (;;) {
		while (sem_wait(&asked) < 0)
			;
		if (!strncmp(task, "last", 4)) {
			usleep(50000); /* the main thread goes first */
			return NULL;
		}
		do_task();
		sem_post(&done);
	}
}

static void say(void)
{
	printf("pid %d getter %d doer %d usr1 %u rt %u caught %u eintr %u timeouts %u\n", getpid(), getter_tid,
	       doer_tid, usr1, rt, caught, eintr, timeouts);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	bool alone = argc > 1 && !strcmp(argv[1], "alone");
	pthread_t getter, doer;
	sigset_t all;

	arguments = argv;
	sigaction(SIGUSR1, &action, NULL);
	action.sa_handler = on_rt;
	sigaction(SIGRTMIN, &action, NULL);
	sem_init(&asked, 0, 0);
	sem_init(&done, 0, 0);
	sigfillset(&all);
	sigdelset(&all, SIGTSTP);
	sigdelset(&all, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	if (!alone && pthread_create(&getter, NULL, get, NULL) == 0)
		sem_wait(&done);
	if (!alone && pthread_create(&doer, NULL, act, NULL) == 0)
		sem_wait(&done);
	if (alone) {
		sigemptyset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	}
	say();
	while (fgets(task, sizeof(task), stdin)) {
		task[strcspn(task, "\n")] = '\0';
		if (alone) {
			do_task();
		} else if (!strcmp(task, "last")) {
			pthread_cancel(getter);
			pthread_join(getter, NULL);
			sem_post(&asked);
			pthread_exit(NULL);
		} else {
			sem_post(&asked);
			while (sem_wait(&done) < 0)
				;
		}
		say();
	}
	return 0;
}
