/* SPDX-License-Identifier: MIT */
/* The part of incident.h that says what stood around the holder when it was captured:
 * whom it waits for beyond its own process, what its descriptors lead to, its pool, its
 * host. Words and ownership as in incident.h. */
#ifndef REQTRAP_INCIDENT_SCENE_H
#define REQTRAP_INCIDENT_SCENE_H

#include "analysis.h"

/* One step further along the chain of waits, in another process: who holds the file lock,
 * answers the socket, is the child ... that the step before waits for. The last one is the
 * end of the chain. */
#define BEYOND_GUESS "is a guess" /* in 'how': another thread of that process may be meant */

struct beyond {
	pid_t pid, tid;
	char *process;
	char *how;     /* why it comes next: 'holds flock /var/lib/php/sessions/sess_x' */
	char *request; /* what it works on, if it is watched: 'GET /report'; NULL */
	uint64_t request_age_ns;
	uint64_t pause_ns;    /* how long it stood still for this look */
	struct thread thread; /* tid 0: not looked at, 'failed' says why */
	char *failed;
	bool cycle; /* the chain comes round to the holder or to an earlier step here */
};

/* An open descriptor of the holder that tells something. */
struct open_end {
	int fd;
	char *what;			 /* as fd_describe() says it: 'tcp A -> B', 'file /path' ... */
	char *peer;			 /* the process at its other end: 'php-fpm 4711' */
	char *peer_request;		 /* what that one works on, if it is watched */
	char *protocol;			 /* 'PostgreSQL' 'MySQL' 'Redis' 'HTTP' 'DNS'; NULL not recognised */
	char *statement;		 /* what was asked last, if it was seen and may be shown */
	uint64_t recv_queue, send_queue; /* bytes */
	bool waited;			 /* the request's thread waits for it */
	bool mine;			 /* the request came by it */
	bool unaccepted;		 /* a connection of its own that nobody at the other end has taken yet */
};

/* Workers of one pool that do the same. */
struct pool_group {
	uint32_t count;
	char *what;  /* 'in flock, waits for file /x', 'idle', 'on CPU' */
	char *place; /* what these answer: 'GET /cart', of the first one; NULL not known */
};

/* The processes that share a listening socket: the one that the request came by or, where
 * the holder waits for a connection to be accepted, that of the service called. */
struct pool {
	char *name;   /* 'php-fpm: pool www', 'gunicorn'; NULL: no pool */
	char *listen; /* 'unix:/run/php.sock', 'tcp:0.0.0.0:80' */
	bool called;  /* it is the service's */
	uint32_t workers, busy;
	uint32_t queue, backlog; /* connections not yet accepted, and how many may be */
	struct pool_group *group;
	size_t group_count;
};

#define HOST_UNKNOWN UINT32_MAX

struct host_facts {
	uint32_t cpus;
	uint32_t load_permille;			   /* load average of a minute x 1000 */
	uint32_t cpu_some, memory_some, io_some;   /* pressure: % x 100 over 10 s; HOST_UNKNOWN */
	uint32_t cpu_limit_permille;		   /* CPUs x 1000 that its cgroup may use; 0: no limit */
	uint64_t throttled_ns;			   /* its cgroup had used up its CPU limit for so long ... */
	uint64_t throttled_over_ns;		   /* ... in this time, which begins before the request; 0: not known */
	uint64_t memory_bytes, memory_limit_bytes; /* of its cgroup; limit 0: none */
	uint64_t memory_high_bytes;		   /* beyond it the kernel holds its cgroup back; 0: no such limit */
	uint64_t memory_over;			   /* so often it was beyond it in 'throttled_over_ns' ... */
	uint64_t memory_stalled_ns;		   /* ... and some task of it waited for memory so long */
	uint64_t swap_bytes;			   /* of the process */
	uint64_t oom_kills;			   /* in its cgroup, since the watch began */
};

struct scene {
	bool looked; /* false: nobody looked, all else is empty */
	struct open_end *end;
	size_t end_count;
	struct pool pool;
	struct host_facts host;
	char **note; /* what could not be found out, and why; NULL-terminated */
};

void beyond_done(struct beyond *beyond);
void scene_done(struct scene *scene);

#endif
