/* SPDX-License-Identifier: MIT */
/* The part of incident.h that says how sure it is who holds the request. */
#ifndef REQTRAP_INCIDENT_HOLDER_H
#define REQTRAP_INCIDENT_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct candidate { /* who may be at work on the request */
	pid_t pid, tid;
	char *why;
};

/* How sure it is that the chain's last thread is the one at work on the request. */
struct holder_facts {
	bool certain;
	char *why; /* why not; or what there is to know all the same. NULL: nothing */
	struct candidate *candidate;
	size_t candidate_count; /* not certain: the one that is named comes first */
	char *call;		/* it waits for the answer of 'tcp:10.0.0.5:3306'; NULL: for none */
	pid_t call_pid;		/* who has read that call, 0 not known */
	bool call_outside;	/* not on this host, or in another network name space */
};

#endif
