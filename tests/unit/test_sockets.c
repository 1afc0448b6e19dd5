// SPDX-License-Identifier: MIT
/* Sockets of our own, looked at as those of another process are. */
#include "proc.h"
#include "sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int dir_fd = -1, diag = -1;

static int begin(void **state UNUSED)
{
	dir_fd = proc_dir_open(getpid());
	diag = socket_diag_open(dir_fd);
	return 0;
}

static int end(void **state UNUSED)
{
	if (diag >= 0)
		close(diag);
	close(dir_fd);
	return 0;
}

static bool unfit(int fd, struct socket_facts *f)
{
	return diag < 0 || socket_read(dir_fd, fd, diag, f) < 0; /* a kernel without sock_diag, a sandbox */
}

static uint64_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

/* A connection in the queue, then an accepted one with bytes that nobody reads. */
static void queue_and_peer(const struct sockaddr *at, socklen_t len)
{
	int listener = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), client, server;
	struct sockaddr_storage addr = { 0 };
	socklen_t size = sizeof(addr);
	struct socket_facts f, of;

	assert_int_equal(bind(listener, at, len), 0);
	assert_int_equal(listen(listener, 7), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
	client = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, size), 0);
	if (unfit(client, &f)) {
		close(client);
		close(listener);
		skip();
	}
	assert_true(f.connected);
	assert_true(f.unaccepted);
	assert_int_equal(f.ino, inode(client));
	assert_int_equal(f.peer_ino, 0);
	assert_true(socket_listener(diag, &f, &of));
	assert_int_equal(of.ino, inode(listener));
	assert_int_equal(of.recv_queue, 1);
	assert_int_equal(of.send_queue, 7);
	assert_int_equal(socket_read(dir_fd, listener, diag, &of), 0);
	assert_true(of.listening);
	assert_int_equal(of.recv_queue, 1);
	assert_int_equal(of.send_queue, 7);

	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(send(client, "twelve bytes", 12, 0), 12);
	assert_int_equal(socket_read(dir_fd, client, diag, &f), 0);
	assert_false(f.unaccepted);
	assert_int_equal(f.peer_ino, inode(server));
	assert_int_equal(socket_read(dir_fd, server, diag, &f), 0);
	assert_int_equal(f.peer_ino, inode(client));
	assert_true(f.queues_known);
	assert_int_equal(f.recv_queue, 12);
	close(client);
	close(server);
	close(listener);
}

static void test_ipv4(void **state UNUSED)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	queue_and_peer((struct sockaddr *)&at, sizeof(at));
}

static void test_any_address(void **state UNUSED)
{
	struct sockaddr_in at = { .sin_family = AF_INET };

	queue_and_peer((struct sockaddr *)&at, sizeof(at));
}

static void test_ipv6(void **state UNUSED)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool there = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	if (fd >= 0)
		close(fd);
	if (!there)
		skip();
	queue_and_peer((struct sockaddr *)&at, sizeof(at));
}

static void test_unix(void **state UNUSED)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "reqtrap-test-%d", getpid());

	queue_and_peer((struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
}

static void test_none(void **state UNUSED)
{
	struct socket_facts f;

	assert_true(socket_read(dir_fd, 1023, diag, &f) < 0);
	assert_true(socket_read(dir_fd, dir_fd, diag, &f) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4), cmocka_unit_test(test_any_address), cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_unix), cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
