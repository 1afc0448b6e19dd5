// SPDX-License-Identifier: MIT
/* Incidents on disk: whole or absent, in safe hands only, found by any prefix. */
#include "store.h"

#include "facts.h"
#include "report.h"
#include "sample.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char base[64]; /* a folder of this test's own */

static int make_base(void **state UNUSED)
{
	strcpy(base, "/tmp/reqtrap-store-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[512];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) < 0)
			remove_tree(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int remove_base(void **state UNUSED)
{
	remove_tree(base);
	return 0;
}

static const char *in_base(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static struct store *open_new(void)
{
	struct store *store = NULL;
	struct err err;

	if (store_open(in_base("store"), true, &store, &err) != 0)
		fail_msg("%s", err.text);
	return store;
}

static size_t names_in(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static char *commit_one(struct store *store, const char *id, const char *method, const char *url, uint64_t later_ns)
{
	struct incident *i = sample_incident();
	struct store_entry *entry;
	struct err err;
	char *path;

	memcpy(i->id, id, sizeof(i->id));
	text_set(&i->request.method, method);
	text_set(&i->request.url, url);
	i->trapped_wall_ns += later_ns;
	assert_int_equal(store_begin(store, i, &entry, &err), 0);
	path = strdup(store_entry_path(entry));
	if (store_write_pages(entry, i, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(access(path, F_OK), -1); /* not before the commit */
	if (store_commit(entry, &err) != 0)
		fail_msg("%s", err.text);
	incident_free(i);
	return path;
}

static void test_whole(void **state UNUSED)
{
	struct store *store = open_new();
	char *path = commit_one(store, "00112233aabb", "GET", "/Cart/check out?x=1", 0), *found;
	struct incident *i;
	struct err err;
	struct stat st;
	int files = 0;

	assert_string_equal(strrchr(path, '/') + 1, "20261122T151547.100Z-00112233aabb-GET-cart-check-out");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t n = 0; n < report_format_count; n++) {
		char name[256];

		if (!report_formats[n].file)
			continue;
		files++;
		snprintf(name, sizeof(name), "%s/%s", path, report_formats[n].file);
		assert_int_equal(stat(name, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_true(st.st_size > 0);
	}
	assert_int_equal(names_in(path), files);
	assert_int_equal(names_in(store_path(store)), 1);
	assert_int_equal(store_load(store, "0011", &i, &found, &err), 0);
	assert_string_equal(found, path);
	assert_string_equal(i->verdict, "Blocked 12.4 s waiting for the PHP session lock.");
	incident_free(i);
	assert_int_equal(store_remove(store, "last", &err), 0);
	assert_int_equal(names_in(store_path(store)), 0);
	free(found);
	free(path);
	store_free(store);
}

/* Whatever a client sends, the folder's name stays of the same form. */
static void test_names(void **state UNUSED)
{
	static const struct {
		const char *method, *url, *tail;
	} row[] = {
		{ "POST", "/", "POST-root" },
		{ "get", "/a/b/c#d", "GET-a-b-c" },
		{ "../..", "/../../etc/passwd", "NONE-etc-passwd" },
		{ "G\nT", "/%2e%2e\x1b[31m\xff\xc3\xa4", "G-T-2e-2e-31m" },
		{ "", "", "NONE-root" },
		{ "DELETE",
		  "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
		  "DELETE-0123456789012345678901234567890123456789" },
	};
	struct store *store = open_new();

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		char id[16], *path;

		snprintf(id, sizeof(id), "%012zx", n);
		path = commit_one(store, id, row[n].method, row[n].url, 0);
		assert_string_equal(strrchr(path, '/') + 1 + 34, row[n].tail);
		free(path);
	}
	store_free(store);
}

static void test_list_and_prefixes(void **state UNUSED)
{
	struct store *store = open_new();
	struct incident *i = NULL;
	struct store_row *rows;
	size_t count;
	struct err err;

	assert_int_equal(store_load(store, "last", &i, NULL, &err), -ENOENT);
	free(commit_one(store, "aa0000000001", "GET", "/1", 2 * SAMPLE_MS));
	free(commit_one(store, "aa0000000002", "GET", "/2", 1 * SAMPLE_MS));
	free(commit_one(store, "bb0000000003", "GET", "/3", 3 * SAMPLE_MS));
	mkdir(in_base("store/not-ours"), 0700);
	assert_int_equal(store_list(store, &rows, &count, &err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(rows[0].id, "bb0000000003");
	assert_string_equal(rows[1].id, "aa0000000001");
	assert_string_equal(rows[2].id, "aa0000000002");
	store_rows_free(rows, count);
	assert_int_equal(store_load(store, "aa", &i, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "aa0000000001, aa0000000002"));
	assert_int_equal(store_load(store, "c", &i, NULL, &err), -ENOENT);
	assert_int_equal(store_load(store, "../x", &i, NULL, &err), -EINVAL);
	assert_int_equal(store_load(store, "", &i, NULL, &err), -EINVAL);
	assert_null(i);
	assert_int_equal(store_load(store, "last", &i, NULL, &err), 0);
	assert_string_equal(i->id, "bb0000000003");
	incident_free(i);
	assert_int_equal(store_remove(store, "aa", &err), -EINVAL);
	assert_int_equal(names_in(store_path(store)), 4);
	store_free(store);
}

static void test_abort_leaves_nothing(void **state UNUSED)
{
	struct store *store = open_new();
	struct incident *i = sample_incident();
	struct store_entry *entry;
	struct err err;

	assert_int_equal(store_begin(store, i, &entry, &err), 0);
	assert_int_equal(store_write(entry, "a.txt", "x", 1, &err), 0);
	assert_int_equal(store_write(entry, "../a.txt", "x", 1, &err), -EINVAL);
	assert_int_equal(store_write(entry, ".hidden", "x", 1, &err), -EINVAL);
	assert_int_equal(names_in(store_path(store)), 1);
	store_abort(entry);
	assert_int_equal(names_in(store_path(store)), 0);
	incident_free(i);
	store_free(store);
}

/* The folder of a name that is taken is not replaced, and nothing is left of ours. */
static void test_name_taken(void **state UNUSED)
{
	struct store *store = open_new();
	struct incident *i = sample_incident();
	struct store_entry *entry;
	struct err err;

	assert_int_equal(store_begin(store, i, &entry, &err), 0);
	assert_int_equal(mkdir(store_entry_path(entry), 0700), 0);
	assert_int_equal(store_commit(entry, &err), -EEXIST);
	assert_int_equal(names_in(store_path(store)), 1);
	incident_free(i);
	store_free(store);
}

/* A process that is killed in the middle: its leftovers go at the next opening, those
 * of a living one stay. */
static void test_leftovers(void **state UNUSED)
{
	struct store *store = open_new(), *second;
	struct incident *i = sample_incident();
	struct store_entry *mine;
	struct err err;
	int status;
	pid_t pid;

	assert_int_equal(store_begin(store, i, &mine, &err), 0);
	pid = fork();
	if (pid == 0) {
		struct store_entry *entry;
		struct store *own;

		memcpy(i->id, "dead00000001", sizeof(i->id));
		if (store_open(in_base("store"), true, &own, &err) != 0 || store_begin(own, i, &entry, &err) != 0 ||
		    store_write(entry, "incident.json", "{", 1, &err) != 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(names_in(store_path(store)), 2);
	assert_int_equal(store_open(in_base("store"), false, &second, &err), 0); /* for reading: touches nothing */
	store_free(second);
	assert_int_equal(names_in(store_path(store)), 2);
	assert_int_equal(store_open(in_base("store"), true, &second, &err), 0);
	store_free(second);
	assert_int_equal(names_in(store_path(store)), 1);
	assert_int_equal(store_write_pages(mine, i, &err), 0);
	assert_int_equal(store_commit(mine, &err), 0);
	assert_int_equal(names_in(store_path(store)), 1);
	incident_free(i);
	store_free(store);
}

static void refused(const char *path, bool create, int code, const char *text)
{
	struct store *store = NULL;
	struct err err = { "" };
	int r = store_open(path, create, &store, &err);

	if (r != code || !strstr(err.text, text) || store)
		fail_msg("'%s': %d '%s', expected %d '%s'", path, r, err.text, code, text);
}

static void test_unsafe_places(void **state UNUSED)
{
	struct store *store;
	struct err err;

	mkdir(in_base("wide"), 0700);
	chmod(in_base("wide"), 0777);
	refused(in_base("wide"), true, -EPERM, "others may write");
	refused(in_base("wide/below"), true, -EPERM, "could swap");
	chmod(in_base("wide"), 01777); /* like /tmp */
	assert_int_equal(store_open(in_base("wide/below"), true, &store, &err), 0);
	store_free(store);
	assert_int_equal(symlink("wide/below", in_base("link")), 0);
	refused(in_base("link"), true, -EPERM, "symbolic link");
	refused(in_base("link"), false, -EPERM, "symbolic link");
	refused(in_base("link/"), true, -EPERM, "symbolic link");
	refused(in_base("none"), false, -ENOENT, "nothing has been trapped");
	refused(in_base("none/none"), true, -ENOENT, "/none': No such file");
	assert_int_equal(access(in_base("none"), F_OK), -1);
	close(open(in_base("file"), O_CREAT | O_WRONLY, 0600));
	refused(in_base("file"), true, -ENOTDIR, "Not a directory");
	refused("/", true, -EINVAL, "folder of its own");
	if (geteuid() == 0) {
		mkdir(in_base("theirs"), 0700);
		assert_int_equal(chown(in_base("theirs"), 65534, 65534), 0);
		refused(in_base("theirs"), true, -EPERM, "belongs to uid 65534");
		refused(in_base("theirs/below"), true, -EPERM, "belongs to uid 65534");
	}
}

static void test_reading_only(void **state UNUSED)
{
	struct store *store = open_new();
	struct incident *i = sample_incident();
	struct store_entry *entry = NULL;
	struct err err;

	store_free(store);
	assert_int_equal(store_open(in_base("store"), false, &store, &err), 0);
	assert_int_equal(store_begin(store, i, &entry, &err), -EROFS);
	incident_free(i);
	store_free(store);
}

static void write_facts(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* What lies in the folder is no more trusted than any file. */
static void test_spoilt_facts(void **state UNUSED)
{
	struct store *store = open_new();
	char *path = commit_one(store, "00112233aabb", "GET", "/", 0), name[256];
	struct incident *i = NULL;
	struct err err;

	snprintf(name, sizeof(name), "%s/incident.json", path);
	write_facts(name, "{\"schema\":1,\"id\":\"00112233aabb\",\"status\":\"x\"}");
	assert_int_equal(store_load(store, "last", &i, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, name));
	assert_non_null(strstr(err.text, "'status'"));
	unlink(name);
	assert_int_equal(store_load(store, "last", &i, NULL, &err), -ENOENT);
	assert_int_equal(symlink("/etc/passwd", name), 0);
	assert_int_equal(store_load(store, "last", &i, NULL, &err), -ELOOP);
	unlink(name);
	assert_int_equal(mkfifo(name, 0600), 0); /* must not block */
	assert_int_equal(store_load(store, "last", &i, NULL, &err), -EINVAL);
	assert_null(i);
	unlink(name);
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(store_remove(store, "last", &err), -EINVAL);
	assert_non_null(strstr(err.text, "did not make"));
	free(path);
	store_free(store);
}

/* Rendering later, from what was read back, gives the same bytes. */
static void test_pages_are_the_same_later(void **state UNUSED)
{
	struct store *store = open_new();
	struct incident *i = sample_incident(), *back;
	struct store_entry *entry;
	struct err err;
	char *path;

	text_set(&i->request.url, "/\xff\xfe\x1b[2J?\xc3");
	assert_int_equal(store_begin(store, i, &entry, &err), 0);
	assert_int_equal(store_write_pages(entry, i, &err), 0);
	assert_int_equal(store_commit(entry, &err), 0);
	assert_int_equal(store_load(store, "last", &back, &path, &err), 0);
	for (size_t n = 0; n < report_format_count; n++) {
		char name[256], *disk;
		struct buf page;
		size_t len;
		FILE *f;

		if (!report_formats[n].file)
			continue;
		buf_init(&page, REPORT_BYTES_MAX);
		assert_int_equal(report_formats[n].render(back, &page, &err), 0);
		snprintf(name, sizeof(name), "%s/%s", path, report_formats[n].file);
		f = fopen(name, "r");
		assert_non_null(f);
		disk = calloc(1, page.len + 2);
		len = fread(disk, 1, page.len + 1, f);
		fclose(f);
		assert_int_equal(len, page.len);
		assert_memory_equal(disk, page.data, len);
		free(disk);
		buf_done(&page);
	}
	free(path);
	incident_free(back);
	incident_free(i);
	store_free(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_base, remove_base)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole),
		TEST(test_names),
		TEST(test_list_and_prefixes),
		TEST(test_abort_leaves_nothing),
		TEST(test_name_taken),
		TEST(test_leftovers),
		TEST(test_unsafe_places),
		TEST(test_reading_only),
		TEST(test_spoilt_facts),
		TEST(test_pages_are_the_same_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
