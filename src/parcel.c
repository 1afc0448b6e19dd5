// SPDX-License-Identifier: MIT
/* Descriptors travel in a control message. Trap: those of a message that is refused are
 * ours all the same, and have to be closed. Only sendmsg and recvmsg are called: whoever
 * is confined (the analyst) may do no other. */
#include "parcel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PARCEL_FDS_MAX * sizeof(int))];
};

int parcel_send(int sock, const void *data, size_t len, const int *fds, size_t fd_count, int flags)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = len ? 1 : 0 };
	ssize_t n;

	if (fd_count > PARCEL_FDS_MAX)
		return -E2BIG;
	if (fd_count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* All of them are taken over; what is too many is closed. */
static size_t take_fds(struct msghdr *msg, int *fds, size_t fd_max, bool *ret_over)
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		bool rights = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
		size_t n = rights ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (count < fd_max) {
				fds[count++] = fd;
			} else {
				*ret_over = true;
				close(fd);
			}
		}
	}
	return count;
}

ssize_t parcel_receive(int sock, void *data, size_t len, int *fds, size_t fd_max, size_t *ret_fd_count)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	bool over = false;
	size_t count;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	count = take_fds(&msg, fds, fd_max, &over);
	if (over || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (count)
			close(fds[--count]);
		return -EPROTO;
	}
	*ret_fd_count = count;
	return n;
}
