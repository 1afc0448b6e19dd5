// SPDX-License-Identifier: MIT
/* The journal of dead copies, in a folder of the test's; and copies told from children. */
#include "leftover.h"

#include "arch.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

static char base[] = "/tmp/leftover.XXXXXX";

static int make_base(void **state UNUSED)
{
	memcpy(base + strlen(base) - 6, "XXXXXX", 6);
	return mkdtemp(base) ? 0 : -1;
}

static void in_base(const char *path, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", base, path);
}

static int remove_base(void **state UNUSED)
{
	char command[128];

	in_base("reqtrap/leftovers", command, sizeof(command));
	rmdir(command);
	unlink(command);
	in_base("reqtrap", command, sizeof(command));
	rmdir(command);
	return rmdir(base);
}

static void count(void *arg, int dir_fd UNUSED, struct leftover *left UNUSED)
{
	++*(int *)arg;
}

static void forget(void *arg, int dir_fd, struct leftover *left)
{
	*(struct leftover *)arg = *left;
	leftover_forget(dir_fd, left);
}

static int entries(int dir_fd)
{
	int n = 0;

	leftover_each(dir_fd, count, &n);
	return n;
}

/* The entry of a worker that is dead by now. */
static void note_and_die(int dir_fd, const struct proc *target)
{
	struct leftover left;
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(leftover_note(dir_fd, target, &left) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void entries_of_the_dead(void **state UNUSED)
{
	CLEAN(fd) int dir_fd = -1;
	struct leftover ours, seen;
	struct proc self;

	assert_int_equal(proc_open(&self, getpid(), NULL), 0);
	assert_int_equal(leftover_open(base, false), -ENOENT);
	dir_fd = leftover_open(base, true);
	assert_true(dir_fd >= 0);
	assert_int_equal(leftover_note(dir_fd, &self, &ours), 0);
	assert_int_equal(entries(dir_fd), 0); /* its worker, we, is alive */
	assert_int_equal(leftover_note(dir_fd, &self, &seen), -EEXIST);
	note_and_die(dir_fd, &self);
	assert_int_equal(entries(dir_fd), 1);
	leftover_each(dir_fd, forget, &seen);
	assert_int_equal(seen.target, getpid());
	assert_int_equal(seen.target_start, self.start_ticks);
	assert_int_not_equal(seen.worker, getpid());
	assert_int_equal(entries(dir_fd), 0);
	leftover_forget(dir_fd, &ours);
	leftover_forget(dir_fd, &ours); /* none: no harm */
	proc_close(&self);
}

static void names_that_are_no_entries(void **state UNUSED)
{
	static const char *const names[] = { "x",  "1.2-3.4",	  "1.2-3.4-5 ",		 "01.2-3.4-5",
					     "..", "-1.2-3.4-5x", "99999999999.2-3.4-5", "1.2-3.4-5" };
	CLEAN(fd) int dir_fd = leftover_open(base, true);

	assert_true(dir_fd >= 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		close(openat(dir_fd, names[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(entries(dir_fd), 0); /* the last one: of another pid namespace */
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(dir_fd, names[i], 0);
}

static void unsafe_folders(void **state UNUSED)
{
	char path[128];
	int fd;

	in_base("reqtrap", path, sizeof(path));
	fd = leftover_open(base, true);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(leftover_open(base, true), -EPERM);
	assert_int_equal(chmod(path, 0700), 0);
	in_base("reqtrap/leftovers", path, sizeof(path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(leftover_open(base, true) < 0);
	assert_int_equal(leftover_open("tmp", true), -ENOENT);
}

static int ran[2]; /* a pipe: it did */

/* By bare calls: what a sanitizer does around them costs page faults. */
__attribute__((no_sanitize_address, no_sanitize_undefined)) static int end(void *code)
{
	if (!code && syscall(SYS_write, ran[1], "", 1) == 1)
		syscall(SYS_pause);
	syscall(SYS_exit_group, (int)(intptr_t)code);
	return 0;
}

/* A child with that exit signal, and that code (0: SIGKILL); it is dead when this returns.
 * One that shares our memory has no page faults, as a copy has none. */
static pid_t dead_child(int flags, int code)
{
	static char stack[65536] __attribute__((aligned(16)));
	volatile char *touch = memset(malloc(1 << 20), 1, 1 << 20);
	siginfo_t si;
	pid_t pid;

	if (flags & CLONE_VM) {
		memset(stack, 1, sizeof(stack));
		pid = clone(end, stack + sizeof(stack), flags, (void *)(intptr_t)code);
	} else if ((pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0)) == 0) {
		for (size_t i = 0; i < 1 << 20; i += 4096)
			touch[i] = 2;
		end((void *)(intptr_t)code);
	}
	assert_true(pid > 0);
	if (!code) {
		assert_int_equal(read(ran[0], stack, 1), 1);
		assert_int_equal(kill(pid, SIGKILL), 0);
	}
	free((void *)touch);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | __WALL | WNOWAIT), 0);
	return pid;
}

static void copies_and_children(void **state UNUSED)
{
	struct proc self;
	pid_t inside, copy, child;
	bool dead;

	if (access("/proc/thread-self/children", F_OK) < 0)
		skip();
	assert_int_equal(pipe(ran), 0);
	assert_int_equal(proc_open(&self, getpid(), NULL), 0);
	child = dead_child(SIGCHLD, ARCH_CHILD_EXIT);
	assert_int_equal(leftover_find(&self, &inside, &dead), 0);
	waitpid(child, NULL, __WALL);
	child = dead_child(0, 1); /* of a program that makes such children itself */
	assert_int_equal(leftover_find(&self, &inside, &dead), 0);
	waitpid(child, NULL, __WALL);
	child = dead_child(0, 0); /* killed before it used a tick of time */
	assert_int_equal(leftover_find(&self, &inside, &dead), 0);
	waitpid(child, NULL, __WALL);
	child = dead_child(0, ARCH_CHILD_EXIT); /* it ran */
	assert_int_equal(leftover_find(&self, &inside, &dead), 0);
	copy = dead_child(CLONE_VM, 0);
	assert_int_equal(leftover_find(&self, &inside, &dead), copy);
	waitpid(copy, NULL, __WALL);
	copy = dead_child(CLONE_VM, ARCH_CHILD_EXIT);
	assert_int_equal(leftover_find(&self, &inside, &dead), copy);
	assert_true(dead);
	assert_int_equal(inside, copy);
	waitpid(copy, NULL, __WALL);
	waitpid(child, NULL, __WALL);
	proc_close(&self);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_of_the_dead, make_base, remove_base),
		cmocka_unit_test_setup_teardown(names_that_are_no_entries, make_base, remove_base),
		cmocka_unit_test_setup_teardown(unsafe_folders, make_base, remove_base),
		cmocka_unit_test(copies_and_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
