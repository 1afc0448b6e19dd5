// SPDX-License-Identifier: MIT
/* Patterns with a name: what makes each the one it is, and what does not. */
#include "play_cause.h"

static void test_pipe(void **state UNUSED)
{
	struct incident *i = incident_of(SPEND_WAIT, "write", "pipe to child 900 \"logger\"", 490 * MS);

	thread_add(i, 812, 'S', "write", "fd 3 (pipe to child 900 \"logger\")");
	check(i, "pipe-full", "for room in a full pipe (write) that child 900 \"logger\" does not read", "high");

	/* stopped in the middle of a long write: it slept until then */
	i = incident_of(SPEND_WAIT, "write", "pipe", 490 * MS);
	thread_add(i, 812, 'S', NULL, NULL);
	check(i, "pipe-full", "that nobody reads", "high");
	i = incident_of(SPEND_WAIT, "write", "pipe", 490 * MS);
	thread_add(i, 812, 'R', NULL, NULL);
	check(i, "pipe-full", "that nobody reads", "medium");

	i = incident_of(SPEND_WAIT, "read", "pipe to child 900 \"sh\"", 490 * MS);
	thread_add(i, 812, 'S', "read", "fd 3 (pipe to child 900 \"sh\")");
	check(i, "child-process", "for the output of child 900 \"sh\"", "high");
}

static void test_passed_on_client(void **state UNUSED)
{
	struct incident *i = incident_of(SPEND_WAIT, "write", "tcp 127.0.0.1:81 -> 127.0.0.1:54868", 490 * MS);
	struct hop *hop = list_add(&i->chain, &i->chain_count, sizeof(*hop));
	struct open_end *end = list_add(&i->scene.end, &i->scene.end_count, sizeof(*end));

	thread_add(i, 812, 'S', "write", "fd 3 (tcp 127.0.0.1:81 -> 127.0.0.1:54868)");
	text_set(&i->request.client, "10.1.2.3:40226");
	hop->pid = 700;
	text_set(&hop->process, "nginx");
	list_add(&i->chain, &i->chain_count, sizeof(*hop));
	text_set(&end->what, "tcp 127.0.0.1:81 -> 127.0.0.1:54868");
	verdict_make(i);
	assert_string_equal(i->cause, "other-end"); /* a connection of its own */
	end->mine = true;
	check(i, "slow-client",
	      "waited for nginx 700 to take its answer (write), which that has to pass on to the client 10.1.2.3:40226,",
	      "medium");
}

/* Six threads and their lock; the holder's stack has that function. */
static struct incident *waiting_line(size_t waiters, const char *function)
{
	struct incident *i = incident_of(SPEND_WAIT, "futex", "mutex 0x55 held by 900", 490 * MS);
	struct lock *lock = list_add(&i->analysis.lock, &i->analysis.lock_count, sizeof(*lock));
	struct thread *t;

	text_set(&lock->name, "mutex 0x55");
	lock->owner = 900;
	lock->waiter = calloc(waiters, sizeof(lock->waiter[0]));
	assert_non_null(lock->waiter);
	lock->waiter_count = waiters;
	for (size_t n = 0; n < waiters; n++) {
		lock->waiter[n] = 812 + (pid_t)n;
		t = thread_add(i, lock->waiter[n], 'S', "futex", "mutex 0x55 held by 900");
		t->waits_for_tid = 900;
		frame_add(&t->stack, "log_it", "log.c");
	}
	t = thread_add(i, 900, 'S', "clock_nanosleep", NULL);
	frame_add(&t->stack, "nap", "log.c");
	frame_add(&t->stack, function, "log.c");
	return i;
}

static void test_line(void **state UNUSED)
{
	check(waiting_line(5, "log_it"), "lock-convoy", "in line with 4 other threads for mutex 0x55", "high");
	check(waiting_line(2, "log_it"), "lock", "for mutex 0x55", "high");
	check(waiting_line(5, "rebuild_all"), "lock", "for mutex 0x55", "high"); /* one slow holder */
}

static void test_thread_end(void **state UNUSED)
{
	struct incident *i = incident_of(SPEND_WAIT, "futex", "thread 900 to end", 490 * MS);

	thread_add(i, 812, 'S', "futex", "thread 900 to end")->waits_for_tid = 900;
	thread_add(i, 900, 'S', "clock_nanosleep", NULL);
	check(i, "thread-end", "for thread 900 to end, which sleeps in clock_nanosleep", "high");
}

static struct incident *computing(const char *inner, const char *file, const char *native)
{
	struct incident *i = incident_of(SPEND_CPU, NULL, NULL, 490 * MS);
	struct thread *t = thread_add(i, 812, 'R', NULL, NULL);

	frame_add(&t->script, inner, file);
	frame_add(&t->script, "find", "/srv/shop.py");
	frame_add(&t->stack, native, NULL);
	frame_add(&t->stack, "execute_ex", NULL);
	frame_add(&t->stack, "zend_gc_collect_cycles", NULL); /* further out: it is in a destructor */
	return i;
}

static void test_computing(void **state UNUSED)
{
	check(computing("preg_match", NULL, "fn_1"), "regex", "in preg_match() called by find() at /srv/shop.py:7",
	      "high");
	check(computing("match", "/usr/lib/python3.11/re/__init__.py", "fn_1"), "regex", "a regular expression",
	      "high");
	check(computing("match", "/srv/app/re/match.py", "fn_1"), "cpu", "was computing", "high");
	check(computing("strlen", NULL, "fn_1"), "cpu", "was computing", "high");
	check(computing("new_order", "/srv/shop.php", "zend_gc_collect_cycles"), "garbage-collection",
	      "was collecting garbage", "high");
}

/* It computed and waited for a CPU in turns. */
static struct incident *shared(uint64_t cpu_ns, uint64_t queued_ns)
{
	struct incident *i = incident_of(SPEND_CPU, NULL, NULL, cpu_ns);
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	s->kind = SPEND_RUNNABLE;
	s->ns = queued_ns;
	thread_add(i, 812, 'R', NULL, NULL);
	return i;
}

static void test_shared_cpu(void **state UNUSED)
{
	struct incident *i = shared(300 * MS, 200 * MS);

	check(i, "cpu", "was computing for 0.30 of 0.50 s (and for 0.20 s ready to, without a CPU)", "high");
	check(shared(220 * MS, 280 * MS), "cpu", "(and for 0.28 s ready to, without a CPU)", "low");
	check(shared(100 * MS, 400 * MS), "no-cpu", "got no CPU for 0.40 of 0.50 s", "high");

	i = shared(300 * MS, 200 * MS);
	i->scene.host.cpu_limit_permille = 600;
	i->scene.host.throttled_ns = 190 * MS;
	i->scene.host.throttled_over_ns = 600 * MS;
	check(i, "cpu-throttled", "the 0.60 CPUs that it may use for 0.20 of 0.50 s", "high");
	i = shared(300 * MS, 200 * MS); /* counted from long before it began */
	i->scene.host.cpu_limit_permille = 600;
	i->scene.host.throttled_ns = 190 * MS;
	i->scene.host.throttled_over_ns = 1500 * MS;
	check(i, "cpu-throttled", "throttled for 0.19 s of the last 1.50 s", "medium");
}

static struct incident *in_ruby(const char *call, const char *object, const char *method)
{
	struct incident *i = incident_of(SPEND_WAIT, call, !strcmp(call, "ppoll") ? object : NULL, 490 * MS);
	struct thread *t = thread_add(i, 812, 'S', call, object);

	text_set(&i->analysis.language, "Ruby 3.1.2");
	frame_add(&t->script, method, NULL);
	frame_add(&t->script, "find", "/srv/shop.rb");
	return i;
}

/* Its threads sleep on conditions, one of them where signals are told of. */
static void test_ruby(void **state UNUSED)
{
	check(in_ruby("futex", "condition variable 0x7f10", "sleep"), "sleep",
	      "slept in sleep() called by find() at /srv/shop.rb:7 for", "high");
	check(in_ruby("ppoll", "eventfd", "sleep"), "sleep", "slept in sleep() called by find()", "high");
	check(in_ruby("ppoll", "eventfd", "pop"), "thread-wakeup",
	      "waited for another thread or a child process to wake it, in pop() called by find()", "medium");
	check(in_ruby("ppoll", "eventfd", "select"), "other-end", "waited for eventfd", "high");
	check(in_ruby("futex", "condition variable 0x7f10", "pop"), "thread-wakeup", "condition variable 0x7f10",
	      "medium");
}

/* Asleep between its tries to get the lock of a file. */
static void test_sqlite_busy(void **state UNUSED)
{
	struct incident *i = incident_of(SPEND_WAIT, "clock_nanosleep", NULL, 490 * MS);
	struct thread *t = thread_add(i, 812, 'S', "clock_nanosleep", NULL);

	frame_add(&t->stack, "clock_nanosleep", NULL);
	frame_add(&t->stack, "usleep", NULL);
	text_set(&frame_add(&t->stack, "fn_4c0", NULL)->module, "libsqlite3.so.0");
	frame_add(&t->stack, "save_order", "shop.c");
	check(i, "sqlite-busy", "somebody else's lock on an SQLite database, asleep between its tries", "high");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ruby),	  cmocka_unit_test(test_sqlite_busy),
		cmocka_unit_test(test_pipe),	  cmocka_unit_test(test_passed_on_client),
		cmocka_unit_test(test_line),	  cmocka_unit_test(test_thread_end),
		cmocka_unit_test(test_computing), cmocka_unit_test(test_shared_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
