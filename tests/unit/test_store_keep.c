// SPDX-License-Identifier: MIT
/* What goes when there is too much, and the file that outlives a watch. */
#include "store_keep.h"

#include "ktime.h"
#include "store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[64];
static struct store *store;
static struct err err;

static int begin(void **state UNUSED)
{
	snprintf(dir, sizeof(dir), "/tmp/test_store_keep.XXXXXX");
	return mkdtemp(dir) ? store_open(dir, true, &store, &err) : -1;
}

static void remove_all(void)
{
	char command[128];
	struct store_row *rows;
	size_t count;

	assert_int_equal(store_list(store, &rows, &count, &err), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(store_remove(store, rows[i].id, &err), 0);
	store_rows_free(rows, count);
	snprintf(command, sizeof(command), "%s/limits.json", dir);
	unlink(command);
}

static int end(void **state UNUSED)
{
	remove_all();
	store_free(store);
	return rmdir(dir);
}

/* An incident of the given second of the day, with so many KiB in it. */
static void make(unsigned int second, const char *kind, size_t kib)
{
	char path[200], block[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/20261122T1200%02u.000Z-%012x-%s", dir, second, second + 0x1000, kind);
	assert_int_equal(mkdir(path, 0700), 0);
	strcat(path, "/core");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	memset(block, 'x', sizeof(block));
	for (size_t i = 0; i < kib; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	close(fd);
}

/* The seconds that are left, newest first. */
static void left_are(const char *expected)
{
	struct store_row *rows;
	char text[200] = "";
	size_t count;

	assert_int_equal(store_list(store, &rows, &count, &err), 0);
	for (size_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.2s", i ? " " : "", rows[i].name + 13);
	store_rows_free(rows, count);
	assert_string_equal(text, expected);
}

static struct store_pruned prune(struct store_keep keep, uint64_t wall_ns)
{
	struct store_pruned pruned;

	assert_int_equal(store_prune(store, &keep, wall_ns, &pruned, &err), 0);
	return pruned;
}

static void the_oldest_of_the_most_frequent(void **state UNUSED)
{
	make(1, "GET-rare", 4);
	for (unsigned int i = 2; i < 8; i++)
		make(i, "GET-noisy", 4);
	make(8, "GET-other", 4);
	assert_int_equal(prune((struct store_keep){ .files = 4 }, 0).removed, 4);
	left_are("08 07 06 01");
	assert_int_equal(prune((struct store_keep){ .files = 4 }, 0).removed, 0);
	assert_int_equal(prune((struct store_keep){ .files = 1 }, 0).removed, 3);
	left_are("08");
}

static void the_oldest_of_the_largest(void **state UNUSED)
{
	struct store_pruned pruned;

	make(1, "GET-small", 4);
	make(2, "GET-large", 400);
	make(3, "GET-large", 400);
	make(4, "GET-small", 4);
	make(5, "GET-small", 4);
	pruned = prune((struct store_keep){ .max_bytes = 600 << 10 }, 0);
	assert_int_equal(pruned.removed, 1);
	assert_true(pruned.bytes >= 400 << 10);
	left_are("05 04 03 01");
	assert_int_equal(prune((struct store_keep){ .max_bytes = 1 }, 0).removed, 3);
	left_are("05"); /* the newest is what somebody waits for */
}

static void too_old(void **state UNUSED)
{
	const uint64_t noon = 1795348800ull * NSEC_PER_SEC; /* 2026-11-22 12:00:00 UTC */

	make(1, "GET-a", 4);
	make(30, "GET-a", 4);
	make(59, "GET-a", 4);
	assert_int_equal(
		prune((struct store_keep){ .max_age_ns = 60 * NSEC_PER_SEC }, noon + 80 * NSEC_PER_SEC).removed, 1);
	left_are("59 30");
}

/* What was set wrong while it ran makes nothing older: not what is there, not what comes then. */
static void the_clock_steps(void **state UNUSED)
{
	const uint64_t s = NSEC_PER_SEC, year = 365 * 86400 * s, noon = 1795348800 * s;
	struct store_clock clock = { 0 };

	assert_int_equal(store_clock_now(&clock, noon, 5 * s), noon);
	assert_int_equal(store_clock_now(&clock, noon + 10 * s, 15 * s), noon + 10 * s);
	assert_int_equal(store_clock_now(&clock, noon + year, 20 * s), noon + 15 * s);
	assert_int_equal(store_clock_now(&clock, noon - year, 25 * s), noon - year);
	assert_int_equal(store_clock_now(&clock, noon + 30 * s, 35 * s), noon + 30 * s);
}

static void a_disk_that_others_fill(void **state UNUSED)
{
	struct store_pruned pruned;

	make(1, "GET-a", 4);
	make(2, "GET-b", 4);
	pruned = prune((struct store_keep){ .free_bytes = INT64_MAX }, 0);
	assert_true(pruned.short_of_space);
	left_are("02");
	assert_false(prune((struct store_keep){ .free_bytes = 1 }, 0).short_of_space);
}

static void what_somebody_writes_at_stays(void **state UNUSED)
{
	char path[200];
	int fd;

	make(1, "GET-a", 4);
	make(2, "GET-a", 4);
	make(3, "GET-a", 4);
	snprintf(path, sizeof(path), "%s/20261122T120001.000Z-%012x-GET-a", dir, 0x1001);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	prune((struct store_keep){ .files = 1 }, 0);
	left_are("03 01");
	close(fd);
}

/* Somebody asks for another path each time: each is a kind of its own. */
static void two_thousand(void **state UNUSED)
{
	struct store_row *rows;
	size_t count, noisy = 0;
	char path[200];

	for (unsigned int i = 0; i < 2000; i++) {
		snprintf(path, sizeof(path), "%s/20261122T12%02u%02u.%03uZ-%012x-GET-%s%u", dir, i / 600, i / 10 % 60,
			 i % 10, i + 0x1000, i % 5 ? "path" : "noisy-", i % 5 ? i : 0);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(prune((struct store_keep){ .files = 1800, .max_bytes = 1 << 20 }, 0).removed, 200);
	assert_int_equal(store_list(store, &rows, &count, &err), 0);
	assert_int_equal(count, 1800);
	for (size_t i = 0; i < count; i++)
		noisy += strstr(rows[i].name, "-GET-noisy-") != NULL;
	assert_int_equal(noisy, 200);
	assert_non_null(strstr(rows[count - 1].name, "path1"));
	store_rows_free(rows, count);
}

static void the_state(void **state UNUSED)
{
	char *text;
	size_t len;

	assert_int_equal(store_state_read(store, "limits.json", &text, &len, &err), -ENOENT);
	assert_int_equal(store_state_write(store, "limits.json", "one", 3, &err), 0);
	assert_int_equal(store_state_write(store, "limits.json", "three", 5, &err), 0);
	assert_int_equal(store_state_read(store, "limits.json", &text, &len, &err), 0);
	assert_int_equal(len, 5);
	assert_string_equal(text, "three");
	free(text);
	left_are(""); /* it is no incident */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(the_oldest_of_the_most_frequent),
		TEST(the_oldest_of_the_largest),
		TEST(too_old),
		TEST(a_disk_that_others_fill),
		TEST(what_somebody_writes_at_stays),
		TEST(two_thousand),
		TEST(the_clock_steps),
		TEST(the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
