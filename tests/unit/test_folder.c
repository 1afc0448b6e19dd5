// SPDX-License-Identifier: MIT
/* Folders in safe hands, and those that are not. The owners' tests need root. */
#include "folder.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOBODY 65534

static char base[PATH_MAX];

static const char *in_base(const char *name)
{
	static char path[4][2 * PATH_MAX];
	static unsigned int at;

	at = (at + 1) % 4;
	snprintf(path[at], sizeof(path[at]), "%s/%s", base, name);
	return path[at];
}

static int begin(void **state UNUSED)
{
	char name[] = "/tmp/reqtrap-folder.XXXXXX";

	umask(022);
	return mkdtemp(name) && realpath(name, base) ? 0 : -1;
}

static int remove_one(const char *name)
{
	return unlink(in_base(name)) == 0 || rmdir(in_base(name)) == 0 || errno == ENOENT ? 0 : -1;
}

static int end(void **state UNUSED)
{
	/* deepest first */
	static const char *const all[] = { "a/b/up", "a/b",  "a",	   "wide/in", "wide",	"theirs/in", "theirs",
					   "group",  "link", "their-link", "loop",    "sticky", "file" };

	unsetenv("SUDO_UID");
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		remove_one(all[i]);
	return rmdir(base);
}

static void make(const char *name, mode_t mode)
{
	assert_int_equal(mkdir(in_base(name), 0755), 0);
	assert_int_equal(chmod(in_base(name), mode), 0);
}

static struct folder_wish wish = { .subject = "the folder", .safe = true };

static void opens(const char *path, const char *want)
{
	CLEAN(free) char *absolute = NULL;
	CLEAN(fd) int fd = -1;
	struct stat by_fd, by_name;
	struct err err = { "" };

	if (folder_open(path, &wish, &fd, &absolute, &err) < 0)
		fail_msg("'%s': %s", path, err.text);
	assert_string_equal(absolute, want);
	assert_int_equal(fstat(fd, &by_fd), 0);
	assert_int_equal(stat(want, &by_name), 0);
	assert_int_equal(by_fd.st_ino, by_name.st_ino);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void refused(const char *path, int code, const char *text)
{
	char *absolute = NULL;
	struct err err = { "" };
	int fd = -7;

	assert_int_equal(folder_open(path, &wish, &fd, &absolute, &err), code);
	if (!strstr(err.text, text))
		fail_msg("'%s' says: %s", path, err.text);
	assert_int_equal(fd, -7);
	assert_null(absolute);
}

static void paths(void **state UNUSED)
{
	char before[PATH_MAX], text[2 * PATH_MAX + 64];
	CLEAN(fd) int fd = -1;

	make("a", 0755);
	make("a/b", 0700);
	opens(in_base("a"), in_base("a"));
	opens(in_base("a//./b/"), in_base("a/b"));
	opens(in_base("a/b/.."), in_base("a"));
	opens("/", "/");
	opens("/..", "/");
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(in_base("a")), 0);
	opens(".", in_base("a"));
	opens("b", in_base("a/b"));
	opens("../a/b", in_base("a/b"));
	opens("/proc/self/cwd/b", in_base("a/b"));
	assert_int_equal(chdir(before), 0);
	refused(in_base("none"), -ENOENT, "/none': No such file");
	fd = open(in_base("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	refused(in_base("file"), -ENOTDIR, "/file': Not a directory");
	refused(in_base("file/x"), -ENOTDIR, "Not a directory");
	memset(text, 'x', sizeof(text));
	text[0] = '/';
	text[300] = '\0';
	refused(text, -ENAMETOOLONG, "too long");
	text[300] = 'x';
	for (size_t i = 0; i < sizeof(text); i += 2)
		text[i] = '/';
	text[sizeof(text) - 1] = '\0';
	refused(text, -ENAMETOOLONG, "too long");
}

static void links(void **state UNUSED)
{
	make("a", 0755);
	make("a/b", 0755);
	assert_int_equal(symlink("a/b", in_base("link")), 0);
	opens(in_base("link"), in_base("a/b"));
	opens(in_base("link/.."), in_base("a")); /* where it leads, not where it stands */
	assert_int_equal(symlink(base, in_base("a/b/up")), 0);
	opens(in_base("link/up/a"), in_base("a"));
	assert_int_equal(symlink("loop", in_base("loop")), 0);
	refused(in_base("loop"), -ELOOP, "symbolic links");
	if (geteuid() != 0)
		skip();
	assert_int_equal(symlink("a", in_base("their-link")), 0);
	assert_int_equal(lchown(in_base("their-link"), NOBODY, NOBODY), 0);
	refused(in_base("their-link"), -EPERM, "symbolic link of uid 65534");
	refused(in_base("their-link/b"), -EPERM, "symbolic link of uid 65534");
	wish.safe = false;
	opens(in_base("their-link/b"), in_base("a/b"));
	wish.safe = true;
}

static void modes(void **state UNUSED)
{
	make("wide", 0777);
	make("wide/in", 0700);
	refused(in_base("wide"), -EPERM, "others may write to");
	refused(in_base("wide/in"), -EPERM, "mode 0777");
	make("sticky", 01777);
	opens(in_base("sticky"), in_base("sticky"));
	wish.safe = false;
	opens(in_base("wide/in"), in_base("wide/in"));
	wish.safe = true;
}

static void owners(void **state UNUSED)
{
	if (geteuid() != 0)
		skip();
	make("group", 0775);
	opens(in_base("group"), in_base("group")); /* root's own group */
	assert_int_equal(chown(in_base("group"), 0, 50), 0);
	refused(in_base("group"), -EPERM, "mode 0775");
	make("theirs", 0755);
	make("theirs/in", 0700);
	assert_int_equal(chown(in_base("theirs"), NOBODY, NOBODY), 0);
	refused(in_base("theirs"), -EPERM, "belongs to uid 65534");
	refused(in_base("theirs/in"), -EPERM, "belongs to uid 65534");
	assert_int_equal(setenv("SUDO_UID", "65534", 1), 0);
	refused(in_base("theirs"), -EPERM, "belongs to uid 65534");
	wish.sudoer = true;
	opens(in_base("theirs/in"), in_base("theirs/in"));
	assert_int_equal(setenv("SUDO_UID", "65534x", 1), 0);
	refused(in_base("theirs"), -EPERM, "belongs to uid 65534");
	wish.sudoer = false;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(paths, begin, end),
		cmocka_unit_test_setup_teardown(links, begin, end),
		cmocka_unit_test_setup_teardown(modes, begin, end),
		cmocka_unit_test_setup_teardown(owners, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
