/* SPDX-License-Identifier: MIT */
/* What a thread waits for, from the system call it is in: the call's name, and the
 * object in words. The first half is pure (numbers and memory); the second half
 * looks at a live process's fds and is for privileged callers, never the analyst.
 * Knows nothing of locks (locks.h) or stacks. Memory is hostile. */
#ifndef REQTRAP_WAITS_H
#define REQTRAP_WAITS_H

#include "incident.h"
#include "memory.h"

#define WAIT_FOREVER UINT64_MAX
#define WAIT_FDS_MAX 64 /* fds of a poll or select that are looked at */

/* 'read', 'futex' ...; NULL for a number that this build does not know. Static text. */
const char *syscall_name(long nr);

enum wait_kind {
	WAIT_NONE,   /* not a call that waits */
	WAIT_SLEEP,  /* for time to pass */
	WAIT_FUTEX,  /* locks.h says which lock */
	WAIT_FD,     /* for one fd */
	WAIT_POLL,   /* for any of several fds */
	WAIT_EVENTS, /* epoll: an event loop */
	WAIT_CHILD,
	WAIT_SIGNAL,
	WAIT_FILE_LOCK, /* flock, fcntl F_SETLKW */
	WAIT_DISK,	/* fsync and friends */
	WAIT_IPC,	/* System V semaphores, messages; POSIX queues */
};

struct wait {
	enum wait_kind kind;
	int fd;		     /* -1 none, or more than one */
	uint64_t object;     /* address (futex), pid (child), 0 none */
	uint64_t timeout_ns; /* of the sleep, or until the call gives up; WAIT_FOREVER; 0 unknown */
	char text[160];	     /* '0.5 s to pass', 'fd 7', 'fds 3 4 9'; '' if nothing is known */
};

/* The kind of wait that a call of this name is; WAIT_NONE for NULL and all others. */
enum wait_kind wait_kind_of(const char *call);

/* How much it looks like a thread at work: 0 (it waits for work) to 3. */
unsigned int wait_at_work(const struct thread *thread);

/* Pure but for reads of 'mem' (NULL allowed: less is known then). */
void wait_describe(const struct memory *mem, long nr, const uint64_t arg[6], struct wait *ret);

/* The kernel shows restart_syscall for a timed wait that was interrupted: the real
 * number, found in the code before pc. 'nr' itself when it cannot be told. */
long wait_restarted(const struct memory *mem, long nr, uint64_t pc);

/* What an open fd of a live process is: 'tcp 10.0.0.8:51234 -> 10.0.0.5:3306',
 * 'unix:/run/x.sock', 'file /path', 'pipe to child 4712 "sh"', 'epoll'. Raw bytes: whoever prints,
 * escapes. Negative errno when the fd or the process is gone ('buf' is then 'fd N').
 * proc_dir_fd: an open /proc/PID. Needs ptrace rights over the process, stops
 * nothing, costs microseconds. An fd number can be reused: the answer is about now. */
int fd_describe(int proc_dir_fd, int fd, char *buf, size_t size);

/* A duplicate of the process's socket, for questions only: the caller closes it at once. */
int fd_borrow(int proc_dir_fd, int fd);

#define WAITS_LOCKED_BY " locked by "

/* Adds what each fd is to the 'fd N' in the threads' waits_for: 'fd 7 (tcp ...)',
 * 'fds 3 4 (pipe, eventfd)',
 * 'fd 9 (file /x) locked by 4712 "php-fpm"'.
 * For privileged callers, while the process still stands where the analysis saw it. */
void waits_name_fds(struct analysis *analysis, int proc_dir_fd);

#endif
