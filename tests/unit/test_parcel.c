// SPDX-License-Identifier: MIT
/* Descriptors that come over, and those of messages that are refused: none may be left. */
#include "parcel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util.h"

static int pair[2];

static int begin(void **state UNUSED)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int end(void **state UNUSED)
{
	close(pair[0]);
	return pair[1] < 0 ? 0 : close(pair[1]);
}

static size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void comes_whole(void **state UNUSED)
{
	int ends[2], fds[3];
	struct stat a, b;
	char text[8];
	size_t count;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(parcel_send(pair[0], "hello", 5, ends, 2, 0), 0);
	assert_int_equal(parcel_receive(pair[1], text, sizeof(text), fds, 3, &count), 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(fstat(ends[i], &a) | fstat(fds[i], &b), 0);
		assert_int_equal(a.st_ino, b.st_ino);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
		close(ends[i]);
	}
}

static void without_descriptors(void **state UNUSED)
{
	size_t count = 9;
	char text[8];

	assert_int_equal(parcel_send(pair[0], "x", 1, NULL, 0, 0), 0);
	assert_int_equal(parcel_receive(pair[1], text, sizeof(text), NULL, 0, &count), 1);
	assert_int_equal(count, 0);
}

static void too_much_is_refused_and_closed(void **state UNUSED)
{
	size_t before = open_fds(), count;
	int ends[2], fds[2];
	char text[4];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(parcel_send(pair[0], "abc", 3, (int[3]){ ends[0], ends[1], ends[0] }, 3, 0), 0);
	assert_int_equal(parcel_receive(pair[1], text, sizeof(text), fds, 2, &count), -EPROTO);
	assert_int_equal(parcel_send(pair[0], "abcdefgh", 8, ends, 2, 0), 0);
	assert_int_equal(parcel_receive(pair[1], text, sizeof(text), fds, 2, &count), -EPROTO);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(open_fds(), before);
	assert_int_equal(parcel_send(pair[0], "x", 1, ends, PARCEL_FDS_MAX + 1, 0), -E2BIG);
}

static void other_side_gone(void **state UNUSED)
{
	size_t count;
	char text[4];
	int fd;

	close(pair[1]);
	pair[1] = -1;
	assert_int_equal(parcel_receive(pair[0], text, sizeof(text), &fd, 1, &count), 0);
	assert_int_equal(parcel_send(pair[0], "x", 1, NULL, 0, 0), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_whole, begin, end),
		cmocka_unit_test_setup_teardown(without_descriptors, begin, end),
		cmocka_unit_test_setup_teardown(too_much_is_refused_and_closed, begin, end),
		cmocka_unit_test_setup_teardown(other_side_gone, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
