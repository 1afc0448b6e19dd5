/* SPDX-License-Identifier: MIT */
/* An entry in systemd's journal for a core that was written, such that 'coredumpctl
 * list', 'info' and 'debug' know it. By journald's native protocol, without its library.
 * Refuses to know how a core is made; query values and bodies never get here. */
#ifndef REQTRAP_JOURNAL_H
#define REQTRAP_JOURNAL_H

#include "err.h"
#include "incident.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct journal_core {
	const struct process_facts *process;
	const char *path; /* of the core; absolute */
	const char *kind; /* 'full' 'mini' */
	uint64_t wall_ns; /* when the process stood still */
	uint64_t pause_ns;
	/* the request that it was taken for; NULL and 0: none */
	const char *request_id, *rule, *method, *url;
	uint64_t elapsed_ns;
};

/* Sends it; never blocks. 0 also where there is no journal. All text may be hostile. */
int journal_core(const char *socket_path, const struct journal_core *core, struct err *err);

/* One line of ours with what it is about. NULL: no such field. Never blocks. */
struct journal_line {
	int priority; /* syslog's */
	const char *text;
	const char *incident, *rule, *method, *url; /* the path of url alone is told */
	int pid;				    /* of the process that held it; 0 none */
	uint64_t elapsed_ns;
};
int journal_line(const char *socket_path, const struct journal_line *line);

/* Is stderr the journal, as systemd says in $JOURNAL_STREAM? */
bool journal_is_stderr(void);

/* The systemd unit in a cgroup's path: 'x.service' of '/system.slice/x.service/y'.
 * False: there is none. */
bool journal_unit(const char *cgroup, char *ret_unit, size_t size);

#endif
