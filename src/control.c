// SPDX-License-Identifier: MIT
/* HTTP/1.0: one question, the answer is all until the end. Rejected: libcurl (a library
 * with forty others behind it, for a socket of ours). */
#include "control.h"

#include "ktime.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define SOCKET_PATH "/run/reqtrap/control.sock"
#define WAIT_S 10
#define ANSWER_MAX (64u << 20)

const char *control_path(void)
{
	const char *path = getenv("REQTRAP_SOCKET");

	return path && *path ? path : SOCKET_PATH;
}

static int ask(int fd, const char *path, struct buf *out)
{
	const uint64_t end_ns = now_ns() + WAIT_S * NSEC_PER_SEC;
	char text[16384];
	ssize_t n;

	n = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
	if ((size_t)n >= sizeof(text))
		return -EIO;
	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		return errno == EPIPE ? -EACCES : -EIO; /* it hung up on us */
	for (;;) {					/* to its end, and not for as long as it says something */
		struct pollfd readable = { .fd = fd, .events = POLLIN };
		uint64_t now = now_ns();

		if (now >= end_ns || poll(&readable, 1, (int)((end_ns - now) / NSEC_PER_MSEC) + 1) == 0)
			return -ETIMEDOUT;
		n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return errno == ECONNRESET ? -EACCES : -errno;
		if (n == 0)
			return 0;
		buf_add(out, text, n > 0 ? (size_t)n : 0);
		if (out->full)
			return -E2BIG;
	}
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
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	r = -errno;
	close(fd);
	if (r == -EACCES)
		return err_say(err, r, "only root may ask the daemon at '%s'", path);
	return err_say(err, -ECONNREFUSED, "no daemon is there to ask ('%s'): start one with 'reqtrap serve'", path);
}

int control_json(const char *path, json_t **ret_json, struct err *err)
{
	json_error_t why;
	struct buf text;
	json_t *json;
	int r;

	buf_init(&text, ANSWER_MAX);
	r = control_get(path, &text, err);
	json = r == 0 ? json_loads(text.data ? text.data : "", 0, &why) : NULL;
	buf_done(&text);
	if (r < 0)
		return r;
	if (!json_is_object(json)) {
		r = err_say(err, -EPROTO, "what answers at '%s' is no daemon of this reqtrap: %s", control_path(),
			    json ? "its JSON is of another kind" : why.text);
		json_decref(json);
		return r;
	}
	*ret_json = json;
	return 0;
}

int control_get(const char *path, struct buf *out, struct err *err)
{
	CLEAN(fd) int fd = connect_to(control_path(), err);
	struct buf whole;
	const char *body;
	int status = 0, r;

	if (fd < 0)
		return fd;
	buf_init(&whole, ANSWER_MAX);
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
