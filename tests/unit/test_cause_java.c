// SPDX-License-Identifier: MIT
/* What a thread of a JVM stands in a futex for: by its words, or by its stack and the CPU of
 * the collector; and that what is not known is not said for certain. */
#include "play_cause.h"

static void java_frame(struct stack *stack, const char *function, const char *file)
{
	struct frame *f = frame_add(stack, function, file);

	text_set(&f->module, "java");
	f->script = true;
}

static struct incident *java(const char *waits_for, uint64_t ns)
{
	struct incident *i = incident_of(SPEND_WAIT, "futex", waits_for, ns);

	text_set(&i->analysis.language, "Java 17.0.9");
	thread_add(i, 812, 'S', "futex", waits_for);
	return i;
}

static struct stack *script(struct incident *i, size_t n)
{
	return &i->analysis.thread[n].script;
}

static void test_sleep(void **state UNUSED)
{
	struct incident *i = java("a sleep to end", 490 * MS);

	java_frame(script(i, 0), "java.lang.Thread.sleep", NULL);
	java_frame(script(i, 0), "shop.Cart.add", "Cart.java");
	check(i, "sleep",
	      "slept in java.lang.Thread.sleep() called by shop.Cart.add() at Cart.java:7 for 0.49 of 0.50 s", "high");
}

static struct incident *pooled(const char *waits_for, const char *function)
{
	struct incident *i = java(waits_for, 490 * MS);

	java_frame(script(i, 0), "jdk.internal.misc.Unsafe.park", NULL);
	java_frame(script(i, 0), function, "Pool.java");
	java_frame(script(i, 0), "shop.Cart.add", "Cart.java");
	thread_add(i, 900, 'S', "futex", waits_for);
	java_frame(script(i, 1), function, "Pool.java");
	return i;
}

static void test_pool_of_connections(void **state UNUSED)
{
	check(pooled("queue 0x77 (java.util.concurrent.SynchronousQueue$TransferStack)",
		     "com.zaxxer.hikari.pool.HikariPool.getConnection"),
	      "connection-pool", "HikariPool.getConnection() until another thread gives one back, with 1 more", "high");
	check(pooled("condition 0x77 (x)", "org.apache.commons.pool2.impl.GenericObjectPool.borrowObject"),
	      "connection-pool", "borrowObject()", "high");
	/* the pool's own lock, a pool of threads, and what only sounds like it */
	check(pooled("monitor 0x77 (shop.Pool)", "shop.Pool.getConnection"), "lock", "monitor 0x77", "high");
	check(pooled("condition 0x77 (x)", "java.util.concurrent.ForkJoinPool.awaitWork"), "thread-wakeup", "condition",
	      "medium");
	check(pooled("condition 0x77 (x)", "shop.Connection.acquire"), "thread-wakeup", "condition", "medium");
}

/* The collector's threads used so much of the last 100 ms. */
static void collect(struct incident *i, uint64_t cpu_ns)
{
	struct thread *t = thread_add(i, 900, 'R', NULL, NULL);

	text_set(&t->comm, "GC Thread#0");
	t->cpu_ns = cpu_ns;
	t->cpu_over_ns = 100 * MS;
}

static void test_garbage(void **state UNUSED)
{
	struct incident *i = java("a safepoint to end, which GC Thread#0 works in", 490 * MS);

	collect(i, 60 * MS);
	check(i, "garbage-collection", "was stopped by the JVM again and again for 0.49 of 0.50 s", "high");

	/* without the words: by its stack */
	i = java("condition variable 0x55", 490 * MS);
	java_frame(&i->analysis.thread[0].stack, "SafepointSynchronize::block", NULL);
	collect(i, 60 * MS);
	check(i, "garbage-collection", "its collector used 0.6 CPUs", "high");

	/* it works on the side, and this one waits for something else */
	i = java("a sleep to end", 490 * MS);
	collect(i, 90 * MS);
	check(i, "sleep", "slept", "high");
	i = java("condition variable 0x55", 490 * MS);
	java_frame(&i->analysis.thread[0].stack, "SafepointSynchronize::block", NULL);
	collect(i, 10 * MS);
	check(i, "thread-wakeup", "to wake it", "medium");

	/* between two stops */
	i = java("x", 490 * MS);
	text_set(&i->analysis.thread[0].call, NULL);
	collect(i, 60 * MS);
	i->spending[0].count = 40;
	check(i, "garbage-collection", "again and again", "medium");
	i = java("x", 490 * MS);
	text_set(&i->analysis.thread[0].call, NULL);
	collect(i, 60 * MS);
	check(i, "thread-wakeup", "to wake it", "low"); /* one wait */

	i = incident_of(SPEND_CPU, NULL, NULL, 490 * MS);
	text_set(&i->analysis.language, "Java 17.0.9");
	thread_add(i, 812, 'R', NULL, NULL);
	collect(i, 95 * MS);
	check(i, "garbage-collection", "was computing while the JVM collected garbage", "medium");
}

/* Sleeping and locking are the same system call. */
static void test_two_waits(void **state UNUSED)
{
	struct incident *i = java("monitor 0x77 (shop.Cart) held by 900", 60 * MS);
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	*s = (struct spending){ .kind = SPEND_WAIT, .ns = 430 * MS, .count = 1 };
	text_set(&s->call, "futex");
	text_set(&s->object, "futex 0x7f00");
	check(i, "thread-wakeup", "not known which", "low");

	i = java("monitor 0x77 (shop.Cart) held by 900", 490 * MS);
	check(i, "lock", "for monitor 0x77 (shop.Cart) held by 900", "high");
	i = java("monitor 0x77 (shop.Cart) held by 900", 490 * MS);
	i->spending[0].count = 2; /* perhaps of two monitors */
	check(i, "lock", "for monitor 0x77 (shop.Cart) held by 900", "medium");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_pool_of_connections),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_two_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
