// SPDX-License-Identifier: MIT
/* Which series runs where: entries that are found by their process, and only by it. */
#include "roster.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char base[64];

static int begin(void **state UNUSED)
{
	snprintf(base, sizeof(base), "/tmp/reqtrap-roster.XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

/* Its files, and then itself. */
static void clear(const char *path)
{
	CLEAN(dir) DIR *dir = opendir(path);
	const struct dirent *e;
	char name[512];

	while (dir && (e = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.' && unlink(name) < 0)
			clear(name);
	}
	rmdir(path);
}

static int end(void **state UNUSED)
{
	clear(base);
	return access(base, F_OK) == 0 ? -1 : 0;
}

static size_t entries(void)
{
	char path[128];
	CLEAN(dir) DIR *dir = NULL;
	const struct dirent *e;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/reqtrap/series", base);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.';
	return n;
}

/* Plays a series on some processes; ends by a signal. */
static pid_t series_on(const pid_t *pid, size_t count)
{
	int ready[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct roster roster;

		if (roster_open(base, &roster) < 0)
			_exit(1);
		for (size_t i = 0; i < count; i++) {
			struct proc proc;

			if (proc_open(&proc, pid[i], NULL) < 0 || roster_add(&roster, &proc) < 0)
				_exit(2);
			proc_close(&proc);
		}
		if (write(ready[1], "", 1) != 1)
			_exit(3);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return child;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static unsigned int cancel(pid_t pid)
{
	unsigned int asked = 77;
	struct proc proc;
	struct err err = { "" };

	assert_int_equal(proc_open(&proc, pid, &err), 0);
	assert_int_equal(roster_cancel(base, &proc, &asked, &err), 0);
	proc_close(&proc);
	return asked;
}

static void finds_its_series(void **state UNUSED)
{
	pid_t a = sleeper(), b = sleeper(), other = sleeper();
	pid_t one = series_on((pid_t[]){ a }, 1), two = series_on((pid_t[]){ b, a }, 2), three = series_on(&b, 1);
	int status;

	assert_int_equal(entries(), 3);
	assert_int_equal(cancel(other), 0);
	assert_int_equal(cancel(a), 2);
	assert_int_equal(waitpid(one, &status, 0), one);
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(waitpid(two, &status, 0), two);
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(waitpid(three, &status, WNOHANG), 0); /* it is of another one */
	assert_int_equal(cancel(a), 0);
	assert_int_equal(entries(), 1); /* those of the dead were removed */
	assert_int_equal(cancel(b), 1);
	assert_int_equal(waitpid(three, NULL, 0), three);
	end_child(a);
	end_child(b);
	end_child(other);
}

/* An entry that a killed series left, and files that are none. */
static void strangers(void **state UNUSED)
{
	pid_t a = sleeper(), series = series_on(&a, 1);
	static const char *const names[] = { "readme", "1.1-1", "x.1-2", "1.2", "-5.1-1", "1.2-3.4" };
	char path[256];

	end_child(series);
	assert_int_equal(entries(), 1);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/reqtrap/series/%s", base, names[i]);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		dprintf(fd, "%d 1\n", a);
		close(fd);
	}
	assert_int_equal(cancel(a), 0);
	assert_int_equal(entries(), ARRAY_LEN(names)); /* not ours to remove */
	end_child(a);
}

static void leaves_nothing(void **state UNUSED)
{
	struct roster roster;
	struct proc proc;

	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	assert_int_equal(roster_open(base, &roster), 0);
	assert_int_equal(roster_add(&roster, &proc), 0);
	assert_int_equal(entries(), 1);
	roster_close(&roster);
	assert_int_equal(entries(), 0);
	roster_close(&roster);				 /* again */
	assert_int_equal(roster_add(&roster, &proc), 0); /* without an entry: nothing */
	proc_close(&proc);
}

static void no_folder(void **state UNUSED)
{
	struct roster roster;
	unsigned int asked = 1;
	struct proc proc;
	struct err err = { "" };

	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	assert_int_equal(roster_cancel(base, &proc, &asked, &err), 0); /* nobody was ever there */
	assert_int_equal(asked, 0);
	assert_int_equal(chmod(base, 0777), 0);
	assert_true(roster_open(base, &roster) < 0); /* others could put entries there */
	assert_int_equal(roster.fd, -1);
	proc_close(&proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_its_series, begin, end),
		cmocka_unit_test_setup_teardown(strangers, begin, end),
		cmocka_unit_test_setup_teardown(leaves_nothing, begin, end),
		cmocka_unit_test_setup_teardown(no_folder, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
