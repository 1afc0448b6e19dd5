// SPDX-License-Identifier: MIT
/* What is sent for a core, to a socket of our own in journald's place. */
#include "buf.h"
#include "journal.h"

#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define ENTRY_MAX (2u << 20)

static char dir[64], path[108];
static int fd;
static char entry[ENTRY_MAX];
static size_t entry_len;
static int seals; /* of the memory file that the entry came in; -1: it came as it is */

static struct process_facts process = {
	.pid = 4711,
	.comm = (char *)"nginx",
	.exe = (char *)"/usr/sbin/nginx",
	.cmdline = (char *)"nginx: worker process",
	.cgroup = (char *)"/system.slice/nginx.service",
	.uid = 33,
	.gid = 34,
};
static struct journal_core core;

static int begin(void **state UNUSED)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(dir, sizeof(dir), "/tmp/reqtrap-journal.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", dir);
	memcpy(at.sun_path, path, sizeof(at.sun_path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	core = (struct journal_core){ .process = &process,
				      .path = "/var/dumps/nginx.core.zst",
				      .kind = "full",
				      .wall_ns = 1790000000123456789ull,
				      .pause_ns = 5250000 };
	return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&at, sizeof(at));
}

static int end(void **state UNUSED)
{
	close(fd);
	unlink(path);
	return rmdir(dir);
}

static void receive(void)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { entry, sizeof(entry) - 1 };
	struct msghdr hdr = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)
	};
	ssize_t n = recvmsg(fd, &hdr, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg;

	assert_true(n >= 0);
	seals = -1;
	cmsg = CMSG_FIRSTHDR(&hdr);
	if (cmsg) {
		int file;

		assert_int_equal(n, 0);
		memcpy(&file, CMSG_DATA(cmsg), sizeof(file));
		seals = fcntl(file, F_GET_SEALS);
		n = pread(file, entry, sizeof(entry) - 1, 0);
		assert_true(n > 0);
		close(file);
	}
	entry_len = (size_t)n;
	entry[n] = '\0';
}

/* Walks the entry as journald does; NULL: no such field. -1 in *ret_len: not well formed. */
static const char *field(const char *name, size_t *ret_len)
{
	for (const char *at = entry, *stop = entry + entry_len; at < stop;) {
		size_t n = strcspn(at, "=\n"), len;
		const char *value = at + n + 1;
		uint64_t wire;

		if (at[n] == '=') {
			len = strcspn(value, "\n");
		} else {
			assert_true(value + sizeof(wire) < stop);
			memcpy(&wire, value, sizeof(wire));
			len = (size_t)le64toh(wire);
			value += sizeof(wire);
		}
		assert_true(value + len < stop && value[len] == '\n');
		if (strlen(name) == n && !memcmp(at, name, n)) {
			*ret_len = len;
			return value;
		}
		at = value + len + 1;
	}
	return NULL;
}

static void has(const char *name, const char *want)
{
	size_t len;
	const char *value = field(name, &len);

	if (!value)
		fail_msg("there is no %s", name);
	if (len != strlen(want) || memcmp(value, want, len) != 0)
		fail_msg("%s is '%.*s', not '%s'", name, (int)len, value, want);
}

static void lacks(const char *name)
{
	size_t len;

	if (field(name, &len))
		fail_msg("there is a %s", name);
}

static void plain(void **state UNUSED)
{
	assert_int_equal(journal_core(path, &core, NULL), 0);
	receive();
	assert_int_equal(seals, -1);
	has("MESSAGE_ID", "fc2e22bc6ee647b6b90729ab34a250b1");
	has("MESSAGE", "Process 4711 (nginx) runs on; reqtrap wrote a full core of it, and stopped it for 5.2 ms.");
	has("COREDUMP_PID", "4711");
	has("COREDUMP_UID", "33");
	has("COREDUMP_GID", "34");
	has("COREDUMP_SIGNAL", "19");
	has("COREDUMP_SIGNAL_NAME", "SIGSTOP");
	has("COREDUMP_TIMESTAMP", "1790000000123456");
	has("COREDUMP_COMM", "nginx");
	has("COREDUMP_EXE", "/usr/sbin/nginx");
	has("COREDUMP_CMDLINE", "nginx: worker process");
	has("COREDUMP_CGROUP", "/system.slice/nginx.service");
	has("COREDUMP_UNIT", "nginx.service");
	has("COREDUMP_FILENAME", "/var/dumps/nginx.core.zst");
	has("REQTRAP_KIND", "full");
	has("REQTRAP_PAUSE_USEC", "5250");
	lacks("REQTRAP_REQUEST_ID");
	lacks("REQTRAP_RULE");
	lacks("REQTRAP_DURATION_USEC");
}

static void of_a_request(void **state UNUSED)
{
	static const struct {
		const char *url, *path;
	} row[] = {
		{ "/checkout?card=4111#x", "/checkout" },
		{ "/plain", "/plain" },
		{ "http://user:secret@shop.example/a/b?q=secret", "/a/b" },
		{ "http://user:secret@shop.example?q=secret", "" },
		{ "/a?u=http://b/secret", "/a" },
		{ "*", "*" },
	};

	core.request_id = "7f3a";
	core.rule = "slow checkout";
	core.method = "GET";
	core.elapsed_ns = 5210000000ull;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char want[256];

		core.url = row[i].url;
		assert_int_equal(journal_core(path, &core, NULL), 0);
		receive();
		snprintf(want, sizeof(want),
			 "Process 4711 (nginx) held request GET %s for 5.2 s; reqtrap wrote a full core of it, and "
			 "stopped it for 5.2 ms.",
			 row[i].path);
		has("MESSAGE", want);
		assert_null(memmem(entry, entry_len, "secret", 6));
		assert_null(memmem(entry, entry_len, "4111", 4));
	}
	has("REQTRAP_REQUEST_ID", "7f3a");
	has("REQTRAP_RULE", "slow checkout");
	has("REQTRAP_DURATION_USEC", "5210000");
}

/* A name cannot make up fields of its own. */
static void hostile(void **state UNUSED)
{
	struct process_facts bad = process;

	bad.comm = (char *)"a\nCOREDUMP_UID=0";
	bad.cmdline = (char *)"x\n\n\xff=\n";
	bad.exe = (char *)"";
	bad.cgroup = NULL;
	core.process = &bad;
	core.path = "/tmp/two\nlines";
	assert_int_equal(journal_core(path, &core, NULL), 0);
	receive();
	has("COREDUMP_COMM", bad.comm);
	has("COREDUMP_UID", "33");
	has("COREDUMP_CMDLINE", bad.cmdline);
	has("COREDUMP_FILENAME", core.path);
	lacks("COREDUMP_EXE");
	lacks("COREDUMP_CGROUP");
	lacks("COREDUMP_UNIT");
}

static void larger_than_a_datagram(void **state UNUSED)
{
	static char url[1200000];
	struct err err = { "" };

	memset(url, 'u', sizeof(url) - 1);
	url[0] = '/';
	url[600000] = '\0';
	core.url = url;
	assert_int_equal(journal_core(path, &core, NULL), 0);
	receive();
	assert_int_equal(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	assert_true(entry_len > 600000);
	has("COREDUMP_PID", "4711");
	has("COREDUMP_FILENAME", "/var/dumps/nginx.core.zst");
	url[600000] = 'u';
	assert_int_equal(journal_core(path, &core, &err), -E2BIG);
	assert_non_null(strstr(err.text, "coredumpctl will not list it"));
}

static void nobody_there(void **state UNUSED)
{
	struct err err = { "" };

	assert_int_equal(journal_core("/nowhere/at/all", &core, &err), 0);
	close(fd); /* a socket file that nobody listens at */
	assert_int_equal(journal_core(path, &core, &err), 0);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_string_equal(err.text, "");
}

/* One who does not read holds nobody up. */
static void full_queue(void **state UNUSED)
{
	struct err err = { "" };
	int r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = journal_core(path, &core, &err);
	assert_int_equal(r, -EAGAIN);
	assert_non_null(strstr(err.text, "'/var/dumps/nginx.core.zst' is not in the journal"));
}

static void units(void **state UNUSED)
{
	static const struct {
		const char *cgroup, *unit;
	} row[] = {
		{ "/system.slice/nginx.service", "nginx.service" },
		{ "/system.slice/nginx.service/worker", "nginx.service" },
		{ "/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service" },
		{ "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "user@1000.service" },
		{ "/user.slice/user-1000.slice/session-2.scope", "session-2.scope" },
		{ "/system.slice/_cpu.service", "cpu.service" },
		{ "/system.slice/docker-0123.scope", "docker-0123.scope" },
		{ "/", NULL },
		{ "", NULL },
		{ NULL, NULL },
		{ "/.service", NULL },
		{ "/docker/0123", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char unit[64] = "?";

		assert_int_equal(journal_unit(row[i].cgroup, unit, sizeof(unit)), row[i].unit != NULL);
		assert_string_equal(unit, row[i].unit ? row[i].unit : "?");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain, begin, end),
		cmocka_unit_test_setup_teardown(of_a_request, begin, end),
		cmocka_unit_test_setup_teardown(hostile, begin, end),
		cmocka_unit_test_setup_teardown(larger_than_a_datagram, begin, end),
		cmocka_unit_test_setup_teardown(nobody_there, begin, end),
		cmocka_unit_test_setup_teardown(full_queue, begin, end),
		cmocka_unit_test(units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
