// SPDX-License-Identifier: MIT
/* A rules file is replaced as a whole, with what it was besides its text, or stays. */
#include "../../src/config_save.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/test-config-save.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][300];
	static unsigned int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(in_dir(name), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(in_dir(name), mode), 0);
}

static void holds(const char *name, const char *text)
{
	char now[4096] = "";
	FILE *f = fopen(in_dir(name), "r");

	assert_non_null(f);
	now[fread(now, 1, sizeof(now) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(now, text);
}

static void none_beside(void)
{
	assert_int_equal(access(in_dir("conf.new"), F_OK), -1);
}

static void saved(void **state)
{
	struct err err = { "" };
	struct stat st;

	(void)state;
	put("conf", "old\n", 0640);
	put("conf.new", "of somebody who died", 0600);
	assert_int_equal(config_save(in_dir("conf"), "old\n", "new\n", &err), 0);
	holds("conf", "new\n");
	none_beside();
	assert_int_equal(stat(in_dir("conf"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(config_save(in_dir("conf"), "new\n", "", &err), 0); /* empty, and not as it was */
	holds("conf", "");
}

static void owner_stays(void **state)
{
	struct err err = { "" };
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	put("conf", "old", 0604);
	assert_int_equal(chown(in_dir("conf"), 4711, 4712), 0);
	assert_int_equal(config_save(in_dir("conf"), "old", "new", &err), 0);
	assert_int_equal(stat(in_dir("conf"), &st), 0);
	assert_int_equal(st.st_uid, 4711);
	assert_int_equal(st.st_gid, 4712);
	assert_int_equal(st.st_mode & 07777, 0604);
}

static void links_stay(void **state)
{
	struct err err = { "" };
	struct stat st;

	(void)state;
	put("conf", "old", 0600);
	assert_int_equal(mkdir(in_dir("etc"), 0700), 0);
	assert_int_equal(symlink("../conf", in_dir("etc/one")), 0);
	assert_int_equal(symlink(in_dir("etc/one"), in_dir("two")), 0);
	assert_int_equal(config_save(in_dir("two"), "old", "new", &err), 0);
	holds("conf", "new");
	assert_int_equal(lstat(in_dir("two"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(lstat(in_dir("etc/one"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(symlink("nowhere", in_dir("loose")), 0);
	assert_int_equal(config_save(in_dir("loose"), "", "new", &err), -ENOENT);
}

static void refused(void **state)
{
	struct err err = { "" };

	(void)state;
	put("conf", "theirs", 0600);
	assert_int_equal(config_save(in_dir("conf"), "old", "new", &err), -EBUSY);
	assert_non_null(strstr(err.text, "has changed"));
	assert_int_equal(config_save(in_dir("conf"), "their", "new", &err), -EBUSY);
	assert_int_equal(config_save(in_dir("conf"), "theirs2", "new", &err), -EBUSY);
	holds("conf", "theirs");
	none_beside();
	assert_int_equal(config_save(in_dir("not-there"), "", "new", &err), -ENOENT);
	assert_int_equal(config_save(dir, "", "new", &err), -EINVAL);
}

/* A disk that takes the first 4 bytes and no more. */
static void full(void **state)
{
	struct rlimit before, four;
	struct err err = { "" };
	int r;

	(void)state;
	put("conf", "old", 0600);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	four = before;
	four.rlim_cur = 4;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &four), 0);
	r = config_save(in_dir("conf"), "old", "new and longer", &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err.text, "cannot write"));
	holds("conf", "old");
	none_beside();
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "two", "loose", "etc/one", "etc", "conf.new", "conf", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		remove(in_dir(names[i]));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(saved), cmocka_unit_test(owner_stays),
					    cmocka_unit_test(links_stay), cmocka_unit_test(refused),
					    cmocka_unit_test(full) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
