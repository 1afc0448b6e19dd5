// SPDX-License-Identifier: MIT
/* Made-up samples of a process, and what is told of them, word for word. */
#include "compare.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ull

/* One sample; threads are added, then 'take' hands it over. */
struct sample {
	struct analysis analysis;
	struct thread_cpu cpu[128];
	size_t cpu_count;
};

static struct thread *thread_add(struct sample *s, pid_t tid, const char *comm, const char *call, uint64_t cpu_ns)
{
	struct thread *t = list_add(&s->analysis.thread, &s->analysis.thread_count, sizeof(*t));

	t->tid = tid;
	t->state = call ? 'S' : 'R';
	text_set(&t->comm, comm);
	text_set(&t->call, call);
	s->cpu[s->cpu_count++] = (struct thread_cpu){ .tid = tid, .start_ticks = 7, .cpu_ns = cpu_ns };
	return t;
}

static void native(struct thread *t, const char *function, const char *file, uint32_t line, const char *module)
{
	struct frame *f = list_add(&t->stack.frame, &t->stack.count, sizeof(*f));

	text_set(&f->function, function);
	text_set(&f->file, file);
	text_set(&f->module, module);
	f->line = line;
	f->pc = 0x1000 + t->stack.count;
}

static void script(struct thread *t, const char *function, const char *file, uint32_t line)
{
	struct frame *f = list_add(&t->script.frame, &t->script.count, sizeof(*f));

	text_set(&f->function, function);
	text_set(&f->file, file);
	text_set(&f->module, "php");
	f->line = line;
	f->script = true;
}

static void lock_add(struct sample *s, const char *name, pid_t owner, pid_t waiter)
{
	struct lock *lock = NULL;
	pid_t *at;

	for (size_t i = 0; i < s->analysis.lock_count && !lock; i++) {
		if (!strcmp(s->analysis.lock[i].name, name))
			lock = &s->analysis.lock[i];
	}
	if (!lock) {
		lock = list_add(&s->analysis.lock, &s->analysis.lock_count, sizeof(*lock));
		text_set(&lock->name, name);
	}
	lock->owner = owner;
	at = list_add(&lock->waiter, &lock->waiter_count, sizeof(*at));
	*at = waiter;
}

static int by_tid(const void *a, const void *b)
{
	const struct thread_cpu *x = a, *y = b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static void take(struct compare *c, struct sample *s, uint64_t at_ms)
{
	struct moment m = { .at_ns = at_ms * MS, .parts = MOMENT_CPU, .cpu = s->cpu, .cpu_count = s->cpu_count };

	qsort(s->cpu, s->cpu_count, sizeof(*s->cpu), by_tid);
	assert_int_equal(compare_add(c, &m, &s->analysis), 0);
	analysis_done(&s->analysis);
	*s = (struct sample){ 0 };
}

static char *text_of(const struct compare *c)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	assert_int_equal(compare_text(c, &out), 0);
	for (const char *p = out.data; *p; p += strcspn(p, "\n") + 1)
		assert_in_range(strcspn(p, "\n"), 0, 80);
	return buf_take(&out);
}

static void tells(struct compare *c, const char *expected)
{
	char *text = text_of(c);

	assert_string_equal(text, expected);
	free(text);
	compare_free(c);
}

static json_t *json_of(const struct compare *c)
{
	struct buf out;
	json_t *json;

	buf_init(&out, 1 << 20);
	assert_int_equal(compare_json(c, &out), 0);
	json = json_loadb(out.data, out.len, 0, NULL);
	assert_non_null(json);
	buf_done(&out);
	return json;
}

static void waits_for(struct thread *t, const char *text, pid_t owner)
{
	text_set(&t->waits_for, text);
	t->waits_for_tid = owner;
}

static void test_the_whole_of_it(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 3; k++) {
		struct thread *t = thread_add(&s, 11, "holder", "clock_nanosleep", k * MS / 10);

		waits_for(t, "9.5 s to pass", 0);
		native(t, "clock_nanosleep", NULL, 0, "libc.so.6");
		native(t, "flush_all", "cache.c", 44, "app");
		t = thread_add(&s, 12, "spin", NULL, k * 3900 * MS);
		native(t, k == 1 ? "hash" : "next", "table.c", 7 + (uint32_t)k, "app");
		native(t, "rehash", "table.c", 80 + (uint32_t)k, "app");
		native(t, "start_thread", NULL, 0, "libc.so.6");
		for (pid_t tid = 21; tid <= 22; tid++) {
			t = thread_add(&s, tid, "worker", "futex", 0);
			waits_for(t, "mutex 0x55d0 held by 11 \"holder\"", 11);
			native(t, "put", "cache.c", 12, "app");
			lock_add(&s, "mutex 0x55d0", 11, tid);
		}
		for (pid_t tid = 30; tid < 80; tid++) {
			t = thread_add(&s, tid, "pool", "accept4", 0);
			waits_for(t, "fd 3 (tcp 0.0.0.0:80 (listening))", 0);
			native(t, "serve", "main.c", 5, "app");
		}
		t = thread_add(&s, 90, "events", "epoll_wait", 0);
		native(t, "run_loop", NULL, 0, "app");
		t = thread_add(&s, 91, "db", "recvfrom", 0);
		waits_for(t, "fd 7 (tcp 10.0.0.8:51234 -> 10.0.0.5:3306)", 0);
		native(t, "query", NULL, 0, "app");
		t = thread_add(&s, 92, "mover", "read", k * 40 * MS);
		native(t, k == 0 ? "step_one" : k == 1 ? "step_two" : "step_three", NULL, 0, "app");
		take(c, &s, 1000 + k * 4000);
	}
	tells(c, "3 samples in 8.00 s, 57 threads\n"
		 "thread 12 \"spin\": cpu loop in rehash: 3/3, 98 % of a core\n"
		 "    rehash table.c:80\n"
		 "    7.80 s of CPU in between\n"
		 "thread 11 \"holder\": same in 3/3, waiting in clock_nanosleep, holds mutex 0x55d0\n"
		 "    that 2 threads wait for\n"
		 "    for 9.5 s to pass\n"
		 "    flush_all cache.c:44\n"
		 "2 threads: stuck: same in 3/3, waiting in futex\n"
		 "    21 22 \"worker\"\n"
		 "    for mutex 0x55d0 held by 11 \"holder\"\n"
		 "    put cache.c:12\n"
		 "thread 91 \"db\": same in 3/3, waiting in recvfrom\n"
		 "    for fd 7 (tcp 10.0.0.8:51234 -> 10.0.0.5:3306)\n"
		 "    query\n"
		 "thread 90 \"events\": idle or stuck: same in 3/3, waiting in epoll_wait\n"
		 "    run_loop\n"
		 "50 threads: idle: same in 3/3, waiting in accept4\n"
		 "    30 31 32 33 34 35 36 37 and 42 more \"pool\"\n"
		 "    for fd 3 (tcp 0.0.0.0:80 (listening))\n"
		 "    serve main.c:5\n"
		 "thread 92 \"mover\": moves: 3 places in 3 samples, 1 % of a core\n"
		 "    step_three\n"
		 "    80.0 ms of CPU in between\n");
}

/* A lock that goes from hand to hand holds its waiter up all the same; another lock, or
 * another line, is another place. */
static void test_what_is_the_same(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 3; k++) {
		struct thread *t = thread_add(&s, 1, "a", "futex", 0);
		char text[64];

		snprintf(text, sizeof(text), "mutex 0x10 held by %d \"x\"", (int)k + 5);
		waits_for(t, text, (pid_t)k + 5);
		native(t, "f", NULL, 0, "app");
		lock_add(&s, "mutex 0x10", (pid_t)k + 5, 1);
		t = thread_add(&s, 2, "b", "futex", 0);
		snprintf(text, sizeof(text), "mutex 0x%d held by 5 \"x\"", k < 2 ? 20 : 30);
		waits_for(t, text, 5);
		native(t, "f", NULL, 0, "app");
		lock_add(&s, k < 2 ? "mutex 0x20" : "mutex 0x30", 5, 2);
		t = thread_add(&s, 3, "c", "read", 0);
		native(t, "f", "f.c", 10 + (uint32_t)k, "app");
		t = thread_add(&s, 4, "d", "read", 0);
		native(t, NULL, NULL, 0, "app"); /* nameless: the address tells */
		t->stack.frame[0].pc = k < 2 ? 0x1111 : 0x2222;
		take(c, &s, k * 1000);
	}
	tells(c, "3 samples in 2.00 s, 4 threads\n"
		 "thread 1 \"a\": stuck: same in 3/3, waiting in futex\n"
		 "    for mutex 0x10 held by 7 \"x\"\n"
		 "    f\n"
		 "thread 2 \"b\": same in 2/3, then elsewhere\n"
		 "    for mutex 0x30 held by 5 \"x\"\n"
		 "    f\n"
		 "thread 3 \"c\": moves: 3 places in 3 samples\n"
		 "    f f.c:12\n"
		 "thread 4 \"d\": same in 2/3, then elsewhere\n"
		 "    ??\n");
}

static void test_script_frames_go_before(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 3; k++) {
		struct thread *t = thread_add(&s, 1, "php", NULL, k * 1000 * MS);

		script(t, k == 2 ? "strlen" : "md5", NULL, 0);
		script(t, "App\\Cart->total", "/srv/shop/Cart.php", 40 + (uint32_t)k);
		script(t, "{main}", "/srv/shop/index.php", 3);
		native(t, "execute_ex", NULL, 0, "php");
		take(c, &s, k * 1000);
	}
	tells(c, "3 samples in 2.00 s, 1 thread\n"
		 "thread 1 \"php\": cpu loop in App\\Cart->total: 3/3, 100 % of a core\n"
		 "    App\\Cart->total Cart.php:40 < {main} index.php:3\n"
		 "    2.00 s of CPU in between\n");
}

static void test_threads_come_and_go(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 4; k++) {
		thread_add(&s, 1, "main", "epoll_wait", 0);
		if (k < 2)
			thread_add(&s, 2, "old", "futex", 0);
		if (k == 2) /* alive, but not stopped in time: neither gone nor new */
			s.cpu[s.cpu_count++] = (struct thread_cpu){ .tid = 3, .start_ticks = 7 };
		else
			thread_add(&s, 3, "shy", "epoll_wait", 0);
		if (k > 0) { /* its number is another thread's from the third on */
			thread_add(&s, 4, k < 2 ? "first" : "second", "read", 0);
			s.cpu[s.cpu_count - 1].start_ticks = k < 2 ? 100 : 200;
		}
		if (k == 3)
			thread_add(&s, 5, "late", "read", 0);
		take(c, &s, k * 1000);
	}
	tells(c, "4 samples in 3.00 s, 4 threads, 3 came, 2 went: 2 \"old\" 4 \"first\"\n"
		 "thread 1 \"main\": idle or stuck: same in 4/4, waiting in epoll_wait\n"
		 "thread 3 \"shy\": idle or stuck: same in 3/3, waiting in epoll_wait\n"
		 "thread 4 \"second\": idle or stuck: same in 2/2, waiting in read, came after\n"
		 "    sample 2\n"
		 "thread 5 \"late\": seen in 1 of 4 samples only, came after sample 3\n");
}

/* Woken just before each look; between them it used little, but not nothing. */
static void test_little_is_not_nothing(void **state UNUSED)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	for (uint64_t k = 0; k < 2; k++) {
		struct thread *t = thread_add(&s, 1, "naps", NULL, k * MS);

		native(t, "work", NULL, 0, "app");
		take(c, &s, k * 1000);
	}
	tells(c, "2 samples in 1.00 s, 1 thread\n"
		 "thread 1 \"naps\": same in 2/2, in no system call, and works in between\n"
		 "    work\n"
		 "    1.00 ms of CPU in between\n");
}

static void test_a_deadlock_and_a_worker_that_works(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 2; k++) {
		struct thread *t = thread_add(&s, 1, "a", "futex", 0);

		waits_for(t, "mutex 0x2 held by 2 \"b\"", 2);
		t = thread_add(&s, 2, "b", "futex", 0);
		waits_for(t, "mutex 0x1 held by 1 \"a\"", 1);
		lock_add(&s, "mutex 0x2", 2, 1);
		lock_add(&s, "mutex 0x1", 1, 2);
		strings_add(&s.analysis.deadlock, "1 -> 2 -> 1");
		thread_add(&s, 10, "busy", "epoll_wait", k * 300 * MS);
		t = thread_add(&s, 11, "starved", NULL, 0);
		native(t, "work", NULL, 0, "app");
		t = thread_add(&s, 13, "disk", "fsync", 0);
		t->state = 'D';
		/* many libraries, and nothing in common */
		t = thread_add(&s, 12, "jit", NULL, k * 900 * MS);
		native(t, k ? "one" : "two", NULL, 0, "app");
		/* it would compute, if only there were a CPU */
		t = thread_add(&s, 14, "poor", NULL, k * 20 * MS);
		s.cpu[s.cpu_count - 1].queued_ns = k * 970 * MS;
		native(t, "sums", NULL, 0, "app");
		take(c, &s, k * 1000);
	}
	tells(c, "2 samples in 1.00 s, 7 threads\n"
		 "DEADLOCK 1 -> 2 -> 1\n"
		 "thread 1 \"a\": deadlock: same in 2/2, waiting in futex, holds mutex 0x1 that 1\n"
		 "    thread waits for\n"
		 "    for mutex 0x2 held by 2 \"b\"\n"
		 "thread 2 \"b\": deadlock: same in 2/2, waiting in futex, holds mutex 0x2 that 1\n"
		 "    thread waits for\n"
		 "    for mutex 0x1 held by 1 \"a\"\n"
		 "thread 14 \"poor\": cpu loop in sums: 2/2, 2 % of a core (waits for a free one 97\n"
		 "    % of the time)\n"
		 "    sums\n"
		 "    20.0 ms of CPU in between\n"
		 "thread 11 \"starved\": stuck: same in 2/2, in no system call, and no CPU used\n"
		 "    work\n"
		 "thread 13 \"disk\": stuck: same in 2/2, waiting in fsync\n"
		 "thread 12 \"jit\": computes, in other functions each time, 90 % of a core\n"
		 "    900 ms of CPU in between\n"
		 "thread 10 \"busy\": same in 2/2, waiting in epoll_wait, and works in between, 30 %\n"
		 "    of a core\n"
		 "    300 ms of CPU in between\n");
}

static void test_a_failed_sample_is_told(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	thread_add(&s, 1, "main", "read", 0);
	take(c, &s, 0);
	text_set(&s.analysis.failed, "the analyst died");
	take(c, &s, 1000);
	assert_int_equal(compare_count(c), 1);
	tells(c, "nothing to compare: 1 sample of the stacks\n");

	c = compare_new();
	for (uint64_t k = 0; k < 3; k++) {
		if (k == 1)
			text_set(&s.analysis.failed, "the analyst died");
		else
			thread_add(&s, 1, "main", "read", 0);
		take(c, &s, k * 1000);
	}
	tells(c, "2 samples in 2.00 s, 1 thread\n"
		 "1 sample could not be read: the analyst died\n"
		 "thread 1 \"main\": idle or stuck: same in 2/2, waiting in read\n");
}

static void test_hostile_text_and_long_names(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };
	char name[4001], *text;
	json_t *json;

	(void)state;
	memset(name, 'T', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (uint64_t k = 0; k < 2; k++) {
		struct thread *t = thread_add(&s, 1, "e\033[31m\n\xff", "read", 0);

		native(t, name, "/a\nb/\033x.c", 1, "app");
		waits_for(t, "fd 3 (file /tmp/\033]0;x\007)", 0);
		take(c, &s, k * 1000);
	}
	text = text_of(c);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\xff'));
	assert_non_null(strstr(text, "thread 1 \"e\\x1b[31m\\x0a\\xff\": idle or stuck"));
	assert_non_null(strstr(text, "TTT..."));
	free(text);
	json = json_of(c);
	assert_int_equal(
		strlen(json_string_value(json_object_get(
			json_array_get(json_object_get(json_array_get(json_object_get(json, "groups"), 0), "native"), 0),
			"function"))),
		4000);
	json_decref(json);
	compare_free(c);
}

static void test_json(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };
	json_t *json, *group, *thread;

	(void)state;
	for (uint64_t k = 0; k < 2; k++) {
		struct thread *t = thread_add(&s, 12, "spin", NULL, k * 980 * MS);

		native(t, k ? "hash" : "next", "table.c", 7, "app");
		native(t, "rehash", "table.c", 80, "app");
		take(c, &s, k * 1000);
	}
	json = json_of(c);
	assert_int_equal(json_integer_value(json_object_get(json, "samples")), 2);
	group = json_array_get(json_object_get(json, "groups"), 0);
	assert_string_equal(json_string_value(json_object_get(group, "means")), "loop");
	assert_int_equal(json_integer_value(json_object_get(group, "same")), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(json_object_get(group, "native"), 0), "function")),
		"rehash");
	thread = json_array_get(json_object_get(group, "threads"), 0);
	assert_int_equal(json_integer_value(json_object_get(thread, "tid")), 12);
	assert_true(json_real_value(json_object_get(thread, "cpu_ms")) == 980);
	assert_true(json_real_value(json_object_get(thread, "core_percent")) == 98);
	json_decref(json);
	compare_free(c);
}

/* Places that nobody stands in any more are forgotten: a long series stays small. */
static void test_a_long_series_of_a_thread_that_moves(void **state)
{
	struct compare *c = compare_new();
	struct sample s = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 5000; k++) {
		struct thread *t = thread_add(&s, 1, "mover", "read", 0);
		char name[32];

		snprintf(name, sizeof(name), "f%d", (int)k);
		native(t, name, NULL, 0, "app");
		thread_add(&s, (pid_t)k + 2, "short", "read", 0);
		take(c, &s, k * 1000);
	}
	tells(c, "5000 samples in 1h 23m, 2 threads, 4999 came, 4999 went: 2 \"short\" 3 \"short\" 4\n"
		 "    \"short\" 5 \"short\" 6 \"short\" 7 \"short\" 8 \"short\" 9 \"short\" and 4991 more\n"
		 "thread 1 \"mover\": moves: 5000 places in 5000 samples\n"
		 "thread 5001 \"short\": seen in 1 of 5000 samples only, came after sample 4999\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_whole_of_it),
		cmocka_unit_test(test_what_is_the_same),
		cmocka_unit_test(test_script_frames_go_before),
		cmocka_unit_test(test_threads_come_and_go),
		cmocka_unit_test(test_little_is_not_nothing),
		cmocka_unit_test(test_a_deadlock_and_a_worker_that_works),
		cmocka_unit_test(test_a_failed_sample_is_told),
		cmocka_unit_test(test_hostile_text_and_long_names),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_a_long_series_of_a_thread_that_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
