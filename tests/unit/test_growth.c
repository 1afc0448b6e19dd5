// SPDX-License-Identifier: MIT
/* Made-up moments of a process's memory, and what is told of them, word for word; and
 * moments of this very process. */
#include "growth.h"

#include "incident.h"

#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#define KIB 1024ull
#define MIB (1024 * KIB)
#define SEC 1000000000ull
#define BASE 0x7f0000000000ull

static void anon(struct moment *m, uint64_t start, uint64_t size, uint64_t bytes)
{
	struct moment_mapping *row = list_add(&m->anon, &m->anon_count, sizeof(*row));

	*row = (struct moment_mapping){ .start = start, .end = start + size, .bytes = bytes };
	m->bytes += bytes;
}

/* By name, as moment.h says. */
static void named(struct moment *m, const char *name, uint64_t bytes, uint64_t mappings)
{
	struct moment_name *row = list_add(&m->named, &m->named_count, sizeof(*row));

	*row = (struct moment_name){ .name = strdup(name), .bytes = bytes, .mappings = mappings };
	m->bytes += bytes;
}

static void take(struct growth *g, struct moment *m, uint64_t at_s)
{
	m->at_ns = at_s * SEC;
	m->parts = MOMENT_MEMORY;
	assert_int_equal(growth_add(g, m), 0);
	moment_done(m);
}

static char *text_of(const struct growth *g)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	assert_int_equal(growth_text(g, &out), 0);
	for (const char *p = out.data; *p; p += strcspn(p, "\n") + 1)
		assert_in_range(strcspn(p, "\n"), 0, 80);
	return buf_take(&out);
}

static void tells(struct growth *g, const char *expected)
{
	char *text = text_of(g);

	assert_string_equal(text, expected);
	free(text);
	growth_free(g);
}

static void test_one_mapping_leaks(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 4; k++) {
		named(&m, "/usr/lib/libc.so.6", 16 * KIB, 2);
		named(&m, "[heap]", (k == 2 ? 12 : 10) * MIB, 1);
		named(&m, "[stack]", 128 * KIB, 1);
		anon(&m, BASE, 512 * MIB, (1 + 20 * k) * MIB);
		anon(&m, BASE + 1024 * MIB, 4 * MIB, 4 * MIB);
		take(g, &m, 10 * k);
	}
	assert_int_equal(growth_count(g), 4);
	tells(g, "memory in 30.0 s: 15.1 MiB -> 75.1 MiB (+60.0 MiB)\n"
		 "    +60.0 MiB  no name, 7f0000000000-7f0020000000 (512.0 MiB): 1.0 MiB -> 61.0\n"
		 "               MiB, at each of 3 steps\n");
}

/* The allocator's mappings: they grow at their low end, merge, are cut in two. */
static void test_a_mapping_stays_itself(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	anon(&m, BASE + 100 * MIB, 10 * MIB, 10 * MIB);
	anon(&m, BASE + 200 * MIB, 10 * MIB, 10 * MIB);
	anon(&m, BASE + 300 * MIB, 30 * MIB, 30 * MIB);
	take(g, &m, 0);
	anon(&m, BASE + 90 * MIB, 20 * MIB, 20 * MIB);	/* grew downwards */
	anon(&m, BASE + 200 * MIB, 40 * MIB, 40 * MIB); /* grew upwards */
	anon(&m, BASE + 300 * MIB, 10 * MIB, 10 * MIB); /* a hole in it */
	anon(&m, BASE + 320 * MIB, 10 * MIB, 10 * MIB);
	take(g, &m, 1);
	anon(&m, BASE + 90 * MIB, 150 * MIB, 150 * MIB); /* both are one */
	anon(&m, BASE + 300 * MIB, 10 * MIB, 10 * MIB);
	anon(&m, BASE + 320 * MIB, 10 * MIB, 10 * MIB);
	take(g, &m, 2);
	tells(g, "memory in 2.00 s: 50.0 MiB -> 170.0 MiB (+120.0 MiB)\n"
		 "   +130.0 MiB  no name, 7f0005a00000-7f000f000000 (150.0 MiB): 20.0 MiB -> 150.0\n"
		 "               MiB, at each of 2 steps\n"
		 "    -10.0 MiB  1 other together\n");
}

static void test_new_ones_alike_are_one_line(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 3; k++) {
		anon(&m, BASE, MIB, MIB);
		for (uint64_t n = 0; n < 20 * k; n++)
			anon(&m, BASE + (n + 1) * 10 * MIB, MIB + n * KIB, MIB);
		if (k == 1) /* came and went */
			anon(&m, BASE + 9000 * MIB, 64 * MIB, 64 * MIB);
		if (k == 2)
			anon(&m, BASE + 10000 * MIB, 256 * MIB, 200 * MIB);
		take(g, &m, k);
	}
	tells(g, "memory in 2.00 s: 1.0 MiB -> 241.0 MiB (+240.0 MiB)\n"
		 "   +200.0 MiB  new, no name, 7f0271000000-7f0281000000 (256.0 MiB)\n"
		 "    +40.0 MiB  40 new mappings without a name, of 1.0 MiB\n");
}

static void test_neighbours_are_one_line(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 2; k++) {
		for (uint64_t n = 0; n < 5; n++)
			anon(&m, BASE + n * MIB, MIB, (100 + 100 * k) * KIB);
		named(&m, "/memfd:cache (deleted)", (k + 1) * MIB, k + 1);
		take(g, &m, k);
	}
	tells(g, "memory in 1.00 s: 1.5 MiB -> 3.0 MiB (+1.5 MiB)\n"
		 "     +1.0 MiB  /memfd:cache (deleted) (2 mappings, were 1): 1.0 MiB -> 2.0 MiB\n"
		 "   +500.0 KiB  no name, 7f0000000000-7f0000500000 (5.0 MiB, 5 mappings): 500.0\n"
		 "               KiB -> 1000.0 KiB\n");
}

/* A thread that runs does not tell its stack: what was one once stays one. */
static void test_stacks(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 3; k++) {
		for (uint64_t n = 0; n < 10 + 5 * k; n++) {
			anon(&m, BASE + n * 9 * MIB, 8 * MIB, 16 * KIB);
			m.anon[n].stack = (n + k) % 2 == 0;
		}
		anon(&m, BASE + 9000 * MIB, 64 * MIB, (k + 1) * 8 * KIB);
		m.anon[m.anon_count - 1].stack = true; /* far too large for one: a heap with coroutines */
		for (size_t n = 0; k == 2 && n < m.anon_count; n++)
			m.anon[n].stack |= n >= 10;
		take(g, &m, k);
	}
	tells(g, "memory in 2.00 s: 168.0 KiB -> 344.0 KiB (+176.0 KiB)\n"
		 "   +160.0 KiB  stacks of threads (20 mappings, were 10): 160.0 KiB -> 320.0 KiB,\n"
		 "               at 1 of 2 steps\n"
		 "    +16.0 KiB  no name, 7f0232800000-7f0236800000 (64.0 MiB): 8.0 KiB -> 24.0\n"
		 "               KiB, at each of 2 steps\n");
}

static void test_many_rows_and_what_is_left_out(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };
	char *text;
	size_t lines = 0;
	struct buf out;
	json_t *json;

	(void)state;
	for (uint64_t k = 0; k < 2; k++) {
		for (uint64_t n = 0; n < 40; n++) {
			char name[32];

			snprintf(name, sizeof(name), "/tmp/\033%02d", (int)n);
			named(&m, name, MIB + k * (n + 1) * MIB, 1);
		}
		m.not_counted = 2;
		take(g, &m, k);
	}
	text = text_of(g);
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 1 + 12 + 1 + 1);
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "   +406.0 MiB  28 others together\n"));
	assert_non_null(strstr(text, "not counted: 2 mappings too large to be looked through\n"));
	free(text);
	buf_init(&out, 1 << 20);
	assert_int_equal(growth_json(g, &out), 0);
	json = json_loadb(out.data, out.len, 0, NULL);
	assert_non_null(json);
	assert_int_equal(json_array_size(json_object_get(json, "mappings")), 40);
	assert_int_equal(json_integer_value(json_object_get(json, "grew_bytes")), 820 * MIB);
	json_decref(json);
	buf_done(&out);
	growth_free(g);
}

static void test_one_moment_is_nothing_to_compare(void **state)
{
	struct growth *g = growth_new();
	struct moment m = { 0 };

	(void)state;
	assert_int_equal(growth_add(g, &m), 0); /* without memory: passed over */
	take(g, &m, 0);
	assert_int_equal(growth_count(g), 1);
	tells(g, "memory: nothing to compare, there are not two moments\n");
}

/* ---- of this process ---- */

static pthread_barrier_t begun, ends;

static void *sleeper(void *arg)
{
	*(long *)arg = syscall(SYS_gettid);
	pthread_barrier_wait(&begun);
	pthread_barrier_wait(&ends);
	return NULL;
}

static const struct moment_mapping *at_place(const struct moment *m, const void *p)
{
	for (size_t i = 0; i < m->anon_count; i++) {
		if (m->anon[i].start <= (uintptr_t)p && (uintptr_t)p < m->anon[i].end)
			return &m->anon[i];
	}
	return NULL;
}

static uint64_t bytes_of(const struct moment *m, const char *name)
{
	for (size_t i = 0; i < m->named_count; i++) {
		if (i)
			assert_true(strcmp(m->named[i - 1].name, m->named[i].name) < 0);
		if (!strcmp(m->named[i].name, name))
			return m->named[i].bytes;
	}
	return 0;
}

static uint64_t cpu_of(const struct moment *m, pid_t tid)
{
	for (size_t i = 0; i < m->cpu_count; i++) {
		if (m->cpu[i].tid == tid)
			return m->cpu[i].cpu_ns;
	}
	fail_msg("thread %d is not there", tid);
	return 0;
}

static void test_a_moment_of_this_process(void **state)
{
	struct proc proc;
	struct moment before, after;
	size_t size = 64 * MIB;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("growing", MFD_CLOEXEC);
	char *shared;
	const struct moment_mapping *map;
	pthread_t thread;
	struct timespec begin, now;
	long tid = 0;

	(void)state;
	assert_true(p != MAP_FAILED && fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(shared != MAP_FAILED);
	/* guards, so that neighbours do not become one with it */
	assert_int_equal(mprotect(p, 4096, PROT_NONE), 0);
	assert_int_equal(mprotect(p + size - 4096, 4096, PROT_NONE), 0);
	madvise(p, size, MADV_NOHUGEPAGE);
	pthread_barrier_init(&begun, NULL, 2);
	pthread_barrier_init(&ends, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, sleeper, &tid), 0);
	pthread_barrier_wait(&begun);
	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	assert_int_equal(moment_read(&proc, MOMENT_CPU | MOMENT_MEMORY, &before, NULL), 0);
	for (size_t n = 0; n < 8 * MIB; n += 4096)
		p[4096 + n] = 1;
	for (size_t n = 0; n < 4 * MIB; n += 4096)
		shared[n] = 1;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 50);
	assert_int_equal(moment_read(&proc, MOMENT_CPU | MOMENT_MEMORY, &after, NULL), 0);

	map = at_place(&after, p + 4096);
	assert_non_null(map);
	assert_int_equal(map->bytes - (at_place(&before, p + 4096) ? at_place(&before, p + 4096)->bytes : 0), 8 * MIB);
	assert_int_equal(bytes_of(&after, "/memfd:growing (deleted)") - bytes_of(&before, "/memfd:growing (deleted)"),
			 4 * MIB);
	assert_in_range(after.bytes - before.bytes, 12 * MIB, 16 * MIB);
	assert_true(bytes_of(&after, "[stack]") > 0);
	assert_int_equal(after.cpu_count, 2);
	assert_in_range(cpu_of(&after, getpid()) - cpu_of(&before, getpid()), 50000000, 5 * SEC);
	assert_in_range(cpu_of(&after, (pid_t)tid) - cpu_of(&before, (pid_t)tid), 0, 10000000);

	pthread_barrier_wait(&ends);
	pthread_join(thread, NULL);
	moment_done(&before);
	moment_done(&after);
	proc_close(&proc);
	munmap(p, size);
	munmap(shared, size);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_mapping_leaks),
		cmocka_unit_test(test_a_mapping_stays_itself),
		cmocka_unit_test(test_new_ones_alike_are_one_line),
		cmocka_unit_test(test_neighbours_are_one_line),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_many_rows_and_what_is_left_out),
		cmocka_unit_test(test_one_moment_is_nothing_to_compare),
		cmocka_unit_test(test_a_moment_of_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
