// SPDX-License-Identifier: MIT
/* HTTP/1.0: one question, the answer is all until the end. Rejected: libcurl (a library
 * with forty others behind it, for a socket of ours). */
#include "control.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define SOCKET_PATH "/run/reqtrap/control.sock"
#define WAIT_S 10

const char *control_path(void)
{
	const char *path = getenv("REQTRAP_SOCKET");

	return path && *path ? path : SOCKET_PATH;
}

static int ask(int fd, const char *path, struct buf *out)
{
	char text[512];
	ssize_t n;

	n = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
	if ((size_t)n >= sizeof(text) || send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		return -EIO;
	while ((n = recv(fd, text, sizeof(text), 0)) > 0 || (n < 0 && errno == EINTR))
		buf_add(out, text, n > 0 ? (size_t)n : 0);
	return n < 0 ? -errno : out->full ? -E2BIG : 0;
}

static int connect_to(const char *path, struct err *err)
{
	const struct timeval wait = { .tv_sec = WAIT_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_say(err, -EINVAL, "'%s' is too long for the path of a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, -errno, "cannot ask the daemon");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	r = -errno;
	close(fd);
	if (r == -EACCES)
		return err_say(err, r, "only root may ask the daemon at '%s'", path);
	return err_say(err, -ECONNREFUSED, "no daemon is there to ask ('%s'): start one with 'reqtrap serve'", path);
}

int control_get(const char *path, struct buf *out, struct err *err)
{
	CLEAN(fd) int fd = connect_to(control_path(), err);
	struct buf whole;
	const char *body;
	int status = 0, r;

	if (fd < 0)
		return fd;
	buf_init(&whole, 64u << 20);
	r = ask(fd, path, &whole);
	body = whole.data ? strstr(whole.data, "\r\n\r\n") : NULL;
	if (r == 0 && (!body || sscanf(whole.data, "HTTP/%*u.%*u %3d", &status) != 1))
		r = -EACCES; /* it hung up on us */
	if (r < 0)
		err_sys(err, r, "the daemon at '%s' does not answer", control_path());
	else if (status != 200)
		r = err_say(err, -EPROTO, "the daemon says: %.*s", (int)strcspn(body + 4, "\n"), body + 4);
	else
		buf_add(out, body + 4, whole.len - (size_t)(body + 4 - whole.data));
	buf_done(&whole);
	return r;
}
