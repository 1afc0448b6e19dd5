/* SPDX-License-Identifier: MIT */
/* One message over a unix socket that keeps messages apart, with file descriptors. It
 * refuses to know what is in it. */
#ifndef REQTRAP_PARCEL_H
#define REQTRAP_PARCEL_H

#include <stddef.h>
#include <sys/types.h>

#define PARCEL_FDS_MAX 80 /* of one message */

/* Sends 'len' bytes and 'fd_count' descriptors, which stay the caller's. 'flags' as for
 * send(2); no SIGPIPE comes. May block without MSG_DONTWAIT. Returns 0 or -errno. */
int parcel_send(int sock, const void *data, size_t len, const int *fds, size_t fd_count, int flags);

/* Receives a message of at most 'len' bytes; its descriptors (close-on-exec) are the
 * caller's from then on. Those that are more than 'fd_max' are closed. May block.
 * Returns the number of bytes, 0 when the other side has gone, -EPROTO for a message
 * that is longer or brings more than it may, or -errno. */
ssize_t parcel_receive(int sock, void *data, size_t len, int *fds, size_t fd_max, size_t *ret_fd_count);

#endif
