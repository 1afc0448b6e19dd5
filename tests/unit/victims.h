/* SPDX-License-Identifier: MIT */
/* For tests: forks a child that sets itself up and then stands still, with a page of
 * truth shared with the test. It ends with the test. */
#ifndef VICTIMS_H
#define VICTIMS_H

#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct truth {
	pid_t tid[128]; /* of the threads, by their part */
	uint64_t address[128];
	volatile int ready;
};

static inline struct truth *truth_new(void)
{
	return mmap(NULL, sizeof(struct truth), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* 'play' makes its threads, fills in the truth, sets ready and never returns. */
static inline pid_t victim_start(struct truth *truth, void (*play)(struct truth *truth))
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			play(truth);
		_exit(1);
	}
	while (pid > 0 && !truth->ready)
		sched_yield();
	return pid;
}

/* Is this thread inside the system call? So a test can wait for it to block. */
static inline bool thread_in_call(pid_t pid, pid_t tid, long nr)
{
	char path[64], text[64] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 && text[0] >= '0' && text[0] <= '9' && atol(text) == nr;
}

static inline void wait_for_call(pid_t pid, pid_t tid, long nr)
{
	while (!thread_in_call(pid, tid, nr))
		sched_yield();
}

static inline void victim_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
