/* SPDX-License-Identifier: MIT */
/* What a socket of another process is, without a packet sent or a byte read: its queues, the
 * socket at its other end if that is on this host. Asks the kernel through a borrowed
 * duplicate of the descriptor and through sock_diag in the process's network name space.
 * For privileged callers, never the analyst; stops nothing. */
#ifndef REQTRAP_SOCKETS_H
#define REQTRAP_SOCKETS_H

#include "util.h"

struct socket_facts {
	uint64_t ino;
	uint64_t peer_ino; /* 0: not on this host, not accepted yet, or not known */
	int family, type;
	bool listening, connected;
	bool unaccepted;    /* connected, and the other end is still in the queue of a listening socket of this host */
	uint16_t port;	    /* its own; 0: a unix socket */
	uint16_t peer_port; /* of the other end */
	uint32_t peer_addr[4];		/* ... as IPv6; 4 in 6 for IPv4 */
	char path[112], peer_path[112]; /* of a unix socket: '@x' abstract; '' nameless */
	bool queues_known;
	uint32_t recv_queue; /* bytes that came and are not read; of a listening one connections not accepted */
	uint32_t send_queue; /* bytes that the other end has not taken; of a listening one the backlog */
};

/* One for all sockets of a process; or negative errno. */
int socket_diag_open(int proc_dir_fd);
int socket_read(int proc_dir_fd, int fd, int diag, struct socket_facts *ret_facts);

/* The listening socket that such an unaccepted one waits in. False: not found. */
bool socket_listener(int diag, const struct socket_facts *facts, struct socket_facts *ret_listener);

#endif
