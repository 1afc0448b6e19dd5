/* SPDX-License-Identifier: MIT */
/* Which process has the other end of what a thread waits for: the file lock, the pipe, the
 * socket. Asks the kernel's tables, then looks through the descriptors of all processes,
 * a little at a time. Stops nothing and opens no file of anybody's; /proc as root sees it.
 * What cannot be told is said in words. For privileged callers, never the analyst. */
#ifndef REQTRAP_PEERS_H
#define REQTRAP_PEERS_H

#include "util.h"

#include <sys/types.h>

/* The process that holds the file lock (flock, fcntl) that another waits for; 0: it waits
 * for none, or the holder is not known (open file description locks). */
pid_t file_lock_holder(pid_t waiter);

enum quarry_kind {
	QUARRY_NONE,
	QUARRY_LOCK,
	QUARRY_PIPE,
	QUARRY_SOCKET,
};

/* What is looked for. */
struct quarry {
	enum quarry_kind kind;
	char what[400]; /* for people: 'flock /path', 'the pipe', 'tcp A -> B' */
	char link[300]; /* of the other end's descriptor: 'pipe:[12]', 'socket:[34]', the path of a FIFO */
	uint64_t ino;	/* of the socket, or of the locked file */
	char lock[112]; /* the lock as the kernel tells it, without its process; '': any on that file */
	bool record;	/* of fcntl: not a flock */
	bool to_read;	/* of a pipe: the end that is read from, else the one that is written to */
	pid_t taker;	/* who took the lock; 0 not known */
};

/* What the thread does to the descriptor. */
enum quarry_call { QUARRY_BYTES, QUARRY_FLOCK, QUARRY_RECORD_LOCK };

/* What 'fd', in which the process waits, is a case of. False: nothing that a process of this
 * host can be found by; 'ret_why' is then the reason if there is one to tell, else ''. */
bool quarry_find(int proc_dir_fd, pid_t pid, int fd, enum quarry_call call, struct quarry *ret_quarry, char *ret_why,
		 size_t size);

struct peer {
	pid_t pid;
	int fd; /* there; -1 not known */
};

#define PEERS_MAX 8

struct hunt;

/* 'not_pid' is passed over: the one that waits, unless it has the other end itself. */
struct hunt *hunt_new(const struct quarry *quarry, pid_t not_pid); /* NULL: no memory */
bool hunt_go_on(struct hunt *hunt, uint64_t budget_ns);		   /* true: it is through */
size_t hunt_peers(const struct hunt *hunt, const struct peer **ret_peers);
size_t hunt_count(const struct hunt *hunt); /* also of those that are more than PEERS_MAX */
bool hunt_own(const struct hunt *hunt);	    /* the process that waits has the other end, too */
void hunt_free(struct hunt *hunt);	    /* NULL is fine */

/* The thread with this id in the pid name space of the process. 0: none is seen. */
pid_t thread_in_namespace(pid_t pid, pid_t ns_tid, pid_t *ret_pid);

/* Has the other process the same shared memory mapped that the first has at this address? */
bool memory_shared(int proc_dir_fd, uint64_t addr, pid_t other);

/* The children of all its threads; with 'ns_pid' not 0 only the one that they call so, in
 * their own name space. How many there are. */
size_t children_of(int proc_dir_fd, pid_t ns_pid, pid_t *ret_first);

#endif
