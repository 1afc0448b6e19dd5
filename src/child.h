/* SPDX-License-Identifier: MIT */
/* Other programs and our own re-executed self: the only place that forks or
 * execs. Never a shell: argv only. Children get an empty signal mask, default
 * handlers, no fd beyond those named. */
#ifndef REQTRAP_CHILD_H
#define REQTRAP_CHILD_H

#include "err.h"

#include <sys/types.h>

struct child_fd {
	int from; /* fd of ours, kept by the caller */
	int to;	  /* its number in the child, 0 or more */
};

/* A child that waits before its exec until child_release. */
struct child_hold {
	int go_fd, error_fd; /* -1: it is not held */
};

/* Somebody else than we are. */
struct child_user {
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
};

struct child_spec {
	const char *path;	    /* program; NULL: this very binary (/proc/self/exe) */
	char *const *argv;	    /* NULL-terminated */
	char *const *envp;	    /* NULL: a clean one: PATH and LANG=C.UTF-8 only */
	const struct child_fd *fds; /* 0, 1, 2 not named here become /dev/null */
	size_t fd_count;
	bool own_session;	       /* setsid, so that the whole group can be killed */
	bool inherit_env;	       /* the caller's environment, as for '-- CMD' */
	struct child_hold *hold;       /* filled in; NULL: it is not to wait */
	bool no_privileges;	       /* the capabilities that our own children get from us are not for it */
	bool dies_with_us;	       /* SIGKILL when its parent dies */
	const struct child_user *user; /* NULL: as we are. Needs CAP_SETUID and CAP_SETGID */
	bool keep_stdio;	       /* 0, 1, 2 as ours, as for '-- CMD' */
	bool no_wait; /* return before the exec, which may take long on a busy host: if it fails, code 127 */
};

struct child {
	pid_t pid;
	int pidfd;
};

/* May block for as long as exec takes (the child reports exec's errno before this
 * returns), so it is milliseconds. On success the caller owns child->pidfd. */
int child_start(const struct child_spec *spec, struct child *ret_child, struct err *err);

/* Lets it go on; exec's errno as child_start has it. With 'go' false it ends instead. */
int child_release(struct child_hold *hold, bool go, struct err *err);

/* Takes the exit status: 0-255, or 128 + signal. -EAGAIN if it still runs (with
 * block false). Closes pidfd and clears the struct. */
int child_reap(struct child *child, bool block);

/* The same, waiting until that moment (CLOCK_MONOTONIC) at most: then -ETIMEDOUT, and it is
 * still there. */
int child_reap_until(struct child *child, uint64_t until_ns);

/* Takes a child over that is about to end by itself, so that nobody waits for it: it is reaped
 * by child_sweep, and killed when it takes longer than seconds. Clears the struct. */
void child_leave(struct child *child);
void child_sweep(void); /* to be called now and then; does not block */

/* The program a command word means: as it stands if it has a '/', else the first
 * executable file of that name on PATH. -ENOENT. */
int child_find(const char *word, char *ret_path, size_t size);

/* SIGKILL to the child, and to its session where it has one of its own. Does not reap. */
void child_kill(struct child *child);

#endif
