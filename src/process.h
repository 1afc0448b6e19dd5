/* SPDX-License-Identifier: MIT */
/* What is told of a process on pages and in the journal, out of /proc. Stops nothing. */
#ifndef REQTRAP_PROCESS_H
#define REQTRAP_PROCESS_H

#include "incident.h"

/* dir_fd: its open /proc/PID. What cannot be read stays as it is; pid is the caller's. */
void process_read(int dir_fd, struct process_facts *facts);
void process_done(struct process_facts *facts);

/* Has it an io_uring open? What is moved by that shows in no system call. Reads each of its fds. */
bool process_has_ring(pid_t pid);

#endif
