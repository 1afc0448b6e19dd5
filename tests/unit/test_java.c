// SPDX-License-Identifier: MIT
/* What JVMs of several versions say of their threads, and what others may have them say. */
#include "../../src/lang_java.c"

#include "../../src/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEAD "2026-01-02 03:04:05\nFull thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):\n\n"
#define THREADS 4

struct heard {
	struct capture_thread thread[THREADS];
	struct lang_said said[THREADS];
	const char *why;
};

static int tidy(void **state)
{
	struct heard *h = *state;

	for (size_t i = 0; i < THREADS; i++)
		said_done(&h->said[i]);
	free(h);
	return 0;
}

/* Threads with the ids 100, 101 ... inside, and others outside. */
static int begin(void **state)
{
	struct heard *h = calloc(1, sizeof(*h));

	for (int i = 0; i < THREADS && h; i++)
		h->thread[i] = (struct capture_thread){ .tid = 9000 - i, .ns_tid = 100 + i, .state = 'S' };
	*state = h;
	return h ? 0 : -1;
}

static void hear(struct heard *h, const char *text)
{
	h->why = java_told(text, strlen(text), h->thread, THREADS, h->said);
}

static void is_frame(const struct heard *h, size_t i, size_t n, const char *function, const char *file, uint32_t line)
{
	const struct frame *f;

	assert_true(n < h->said[i].script.count);
	f = &h->said[i].script.frame[n];
	assert_string_equal(f->function, function);
	if (file)
		assert_string_equal(f->file, file);
	else
		assert_null(f->file);
	assert_int_equal(f->line, line);
	assert_string_equal(f->module, "java");
	assert_true(f->script);
}

static void version_17(void **state)
{
	struct heard *h = *state;

	hear(h, HEAD
	     "\"keeper\" #12 prio=5 os_prio=0 cpu=0.40ms elapsed=2.26s tid=0x00007f2c nid=0x64 waiting on condition  [0x0]\n"
	     "   java.lang.Thread.State: TIMED_WAITING (sleeping)\n"
	     "\tat java.lang.Thread.sleep(java.base@17.0.9/Native Method)\n"
	     "\tat shop.Cart.keep(Cart.java:12)\n"
	     "\t- locked <0x00000000ffd19578> (a shop.Cart)\n"
	     "\tat shop.Cart$$Lambda$1/0x00007f2bd0000a08.run(Unknown Source)\n"
	     "\n   Locked ownable synchronizers:\n"
	     "\t- <0x00000000ffd196e0> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)\n\n"
	     "\"wants\" #13 prio=5 os_prio=0 cpu=1500.25ms elapsed=10.50s tid=0x7f nid=0x65 waiting for monitor entry  [0x0]\n"
	     "   java.lang.Thread.State: BLOCKED (on object monitor)\n"
	     "\tat shop.Cart.want(Cart.java:20)\n"
	     "\t- waiting to lock <0x00000000ffd19578> (a shop.Cart)\n"
	     "\n   Locked ownable synchronizers:\n\t- None\n\n"
	     "\"parks\" #14 prio=5 os_prio=0 cpu=0.25ms elapsed=1.96s tid=0x7f nid=0x66 waiting on condition  [0x0]\n"
	     "   java.lang.Thread.State: WAITING (parking)\n"
	     "\tat jdk.internal.misc.Unsafe.park(java.base@17.0.9/Native Method)\n"
	     "\t- parking to wait for  <0x00000000ffd196e0> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)\n"
	     "\tat java.util.concurrent.locks.LockSupport.park(java.base@17.0.9/LockSupport.java:211)\n"
	     "\n   Locked ownable synchronizers:\n\t- None\n\n"
	     "JNI global refs: 4, weak refs: 0\n\n");
	assert_null(h->why);
	assert_int_equal(h->said[0].script.count, 3);
	is_frame(h, 0, 0, "java.lang.Thread.sleep", NULL, 0);
	is_frame(h, 0, 1, "shop.Cart.keep", "Cart.java", 12);
	is_frame(h, 0, 2, "shop.Cart$$Lambda$1/0x00007f2bd0000a08.run", NULL, 0);
	assert_string_equal(h->said[0].wait, "a sleep to end");
	assert_string_equal(h->said[1].wait, "monitor 0xffd19578 (shop.Cart)");
	assert_true(h->said[1].is_lock);
	assert_int_equal(h->said[1].owner, 0);
	assert_true(h->said[1].cpu_ns == 1500250000 && h->said[1].over_ns == 10500000000);
	is_frame(h, 2, 1, "java.util.concurrent.locks.LockSupport.park", "LockSupport.java", 211);
	assert_string_equal(h->said[2].wait,
			    "ReentrantLock 0xffd196e0 (java.util.concurrent.locks.ReentrantLock$NonfairSync)");
	assert_int_equal(h->said[2].owner, 0);
	assert_int_equal(h->said[3].script.count, 0);
}

/* No cpu=, no module, no file of the JDK's sources elsewhere. */
static void version_8(void **state)
{
	struct heard *h = *state;

	hear(h, "2026-01-02 03:04:05\nFull thread dump OpenJDK 64-Bit Server VM (25.342-b07 mixed mode):\n\n"
		"\"a\" #12 prio=5 os_prio=0 tid=0x00007f2c nid=0x64 in Object.wait() [0x00007f]\n"
		"   java.lang.Thread.State: WAITING (on object monitor)\n"
		"\tat java.lang.Object.wait(Native Method)\n"
		"\t- waiting on <0x00000000d5d8> (a shop.Queue)\n"
		"\tat java.lang.Object.wait(Object.java:502)\n"
		"\tat shop.Queue.take(Queue.java:7)\n"
		"\t- locked <0x00000000d5d8> (a shop.Queue)\n\n"
		"\"b\" #13 daemon prio=5 os_prio=0 tid=0x00007f2c nid=0x65 waiting for monitor entry [0x00007f]\n"
		"   java.lang.Thread.State: BLOCKED (on object monitor)\n"
		"\tat shop.Queue.put(Queue.java:9)\n"
		"\t- waiting to lock <0x00000000d5d8> (a shop.Queue)\n\n"
		"\"c\" #14 prio=5 os_prio=0 tid=0x00007f2c nid=0x66 runnable [0x00007f]\n"
		"   java.lang.Thread.State: RUNNABLE\n"
		"\tat shop.Queue.put(Queue.java:10)\n"
		"\t- locked <0x00000000d5d8> (a shop.Queue)\n\n"
		"\"VM Thread\" os_prio=0 tid=0x00007f2c nid=0x67 runnable \n\n");
	assert_null(h->why);
	is_frame(h, 0, 2, "shop.Queue.take", "Queue.java", 7);
	assert_string_equal(h->said[0].wait, "notify of 0xd5d8 (shop.Queue)");
	assert_false(h->said[0].is_lock);
	/* who waits in wait() has given it back */
	assert_int_equal(h->said[1].owner, 2);
	assert_true(h->said[1].over_ns == 0);
}

static void version_11(void **state)
{
	struct heard *h = *state;

	hear(h,
	     "Full thread dump OpenJDK 64-Bit Server VM (11.0.20+8 mixed mode, sharing):\n\n"
	     "\"a\" #12 prio=5 os_prio=0 cpu=5.00ms elapsed=1.00s tid=0x7f nid=0x64 in Object.wait()  [0x7f]\n"
	     "   java.lang.Thread.State: BLOCKED (on object monitor)\n"
	     "\tat java.lang.Object.wait(java.base@11.0.20/Native Method)\n"
	     "\t- waiting on <0xd5d8> (a shop.Queue)\n"
	     "\tat shop.Queue.take(Queue.java:7)\n"
	     "\t- waiting to re-lock in wait() <0xd5d8> (a shop.Queue)\n\n"
	     "\"b\" #13 prio=5 os_prio=0 cpu=5.00ms elapsed=1.00s tid=0x7f nid=0x65 in Object.wait()  [0x7f]\n"
	     "   java.lang.Thread.State: WAITING (on object monitor)\n"
	     "\tat java.lang.Object.wait(java.base@11.0.20/Native Method)\n"
	     "\t- waiting on <no object reference available>\n"
	     "\tat shop.Other.take(Other.java:7)\n"
	     "\t- locked <0xe000> (a shop.Other)\n\n"
	     "\"c\" #14 prio=5 os_prio=0 cpu=5.00ms elapsed=1.00s tid=0x7f nid=0x66 waiting for monitor entry  [0x7f]\n"
	     "   java.lang.Thread.State: BLOCKED (on object monitor)\n"
	     "\tat shop.Other.put(Other.java:9)\n"
	     "\t- waiting to lock <0xe000> (a shop.Other)\n\n");
	assert_string_equal(h->said[0].wait, "notify of 0xd5d8 (shop.Queue)");
	assert_string_equal(h->said[1].wait, "another thread to notify it");
	/* whether b has it, it does not say */
	assert_string_equal(h->said[2].wait, "monitor 0xe000 (shop.Other)");
	assert_true(h->said[2].owner == SIZE_MAX);
}

/* nid is decimal, and there is one more number. */
static void version_21(void **state)
{
	struct heard *h = *state;

	hear(h,
	     "Full thread dump OpenJDK 64-Bit Server VM (21.0.2+13 mixed mode, sharing):\n\n"
	     "\"main\" #1 [100] prio=5 os_prio=0 cpu=34.06ms elapsed=3.01s tid=0x7f nid=100 waiting on condition  [0x7f]\n"
	     "   java.lang.Thread.State: WAITING (parking)\n"
	     "\tat jdk.internal.misc.Unsafe.park(java.base@21.0.2/Native Method)\n"
	     "\t- parking to wait for  <0x6c> (a java.util.concurrent.CountDownLatch$Sync)\n"
	     "\tat shop.Main.main(Main.java:3)\n\n"
	     "\"work\" #31 [101] prio=5 os_prio=0 cpu=0.06ms elapsed=3.01s tid=0x7f nid=101 runnable  [0x7f]\n"
	     "   java.lang.Thread.State: RUNNABLE\n"
	     "\tat shop.Main.work(Main.java:9)\n\n");
	is_frame(h, 0, 1, "shop.Main.main", "Main.java", 3);
	assert_string_equal(h->said[0].wait, "latch 0x6c (java.util.concurrent.CountDownLatch$Sync)");
	is_frame(h, 1, 0, "shop.Main.work", "Main.java", 9);
	assert_null(h->said[1].wait);
}

static void own_synchronizer(void **state)
{
	struct heard *h = *state;

	hear(h,
	     HEAD "\"a\" #1 nid=0x64 runnable\n\tat shop.A.a(A.java:1)\n\n   Locked ownable synchronizers:\n"
		  "\t- <0x77> (a shop.Gate$Sync)\n\n"
		  "\"b\" #2 nid=0x65 waiting\n   java.lang.Thread.State: WAITING (parking)\n\tat shop.B.b(B.java:1)\n"
		  "\t- parking to wait for  <0x77> (a shop.Gate$Sync)\n\n"
		  "\"c\" #3 nid=0x66 waiting\n   java.lang.Thread.State: WAITING (parking)\n\tat shop.B.b(B.java:1)\n"
		  "\t- parking to wait for  <0x78> (a shop.Gate$Sync)\n\n");
	assert_string_equal(h->said[1].wait, "synchronizer 0x77 (shop.Gate$Sync)");
	assert_int_equal(h->said[1].owner, 0);
	assert_string_equal(h->said[2].wait, "unpark of 0x78 (shop.Gate$Sync)");
	assert_false(h->said[2].is_lock);
}

/* The dump is of after the stop: who ran in it may have stood in the snapshot. */
static void at_a_safepoint(void **state)
{
	struct heard *h = *state;
	const char *text =
		HEAD "\"a\" #1 nid=0x64 runnable\n   java.lang.Thread.State: RUNNABLE\n\tat shop.A.a(A.java:1)\n\n";

	hear(h, text);
	assert_null(h->said[0].wait);
	tidy(&(void *){ h });
	begin(state);
	h = *state;
	h->thread[3].state = 'R';
	strcpy(h->thread[3].comm, "GC Thread#1");
	hear(h, text);
	assert_string_equal(h->said[0].wait, "a safepoint to end, which GC Thread#1 works in");
}

static void a_name_that_looks_like_a_thread(void **state)
{
	struct heard *h = *state;

	hear(h, HEAD
	     "\"x\n\"main\" #1 prio=5 nid=0x65 runnable\n   java.lang.Thread.State: RUNNABLE\n\tat Evil.run(Evil.java:1)\n"
	     "\t- locked <0x5> (a Evil)\n\" #9 prio=5 nid=0x64 runnable\n"
	     "   java.lang.Thread.State: RUNNABLE\n\tat shop.A.a(A.java:1)\n\n"
	     "\"main\" #1 prio=5 nid=0x65 waiting\n\tat shop.Main.main(Main.java:3)\n\n"
	     "\"c\" #3 nid=0x66 waiting\n   java.lang.Thread.State: BLOCKED (on object monitor)\n"
	     "\tat shop.B.b(B.java:1)\n\t- waiting to lock <0x5> (a Evil)\n\n"
	     "\"quo\"te\" #4 nid=0x67 waiting\n\tat shop.C.c(C.java:1)\n\n");
	assert_int_equal(h->said[1].script.count, 0);
	assert_non_null(strstr(h->said[1].script.unavailable, "twice"));
	assert_true(h->said[2].owner == SIZE_MAX);
	is_frame(h, 3, 0, "shop.C.c", "C.java", 1);
}

static void two_owners_are_none(void **state)
{
	struct heard *h = *state;

	hear(h, HEAD "\"a\" nid=0x64 x\n\tat A.a(A.java:1)\n\t- locked <0x5> (a B)\n\n"
		     "\"b\" nid=0x65 x\n\tat A.a(A.java:1)\n\t- locked <0x5> (a B)\n\n"
		     "\"c\" nid=0x66 x\n\tat A.a(A.java:1)\n\t- waiting to lock <0x5> (a B)\n\n");
	assert_true(h->said[2].owner == SIZE_MAX);
	assert_true(h->said[2].is_lock);
}

/* Each is looked at to its end, and none further. */
static void nonsense(void **state)
{
	static const char *const texts[] = {
		HEAD "\"",
		HEAD "\"\" nid=",
		HEAD "\"\" nid=0x",
		HEAD "\"\" nid=99999999999999999999999",
		HEAD "\"\" nid=0x64\n\tat ",
		HEAD "\"\" nid=0x64\n\tat (",
		HEAD "\"\" nid=0x64\n\tat )(:/)",
		HEAD "\"\" nid=0x64\n\tat a(b:99999999999)",
		HEAD "\"\" nid=0x64\n\t- ",
		HEAD "\"\" nid=0x64\n\t- locked <0x",
		HEAD "\"\" nid=0x64 cpu=1.s elapsed=9999999999999999999s\n\t- parking to wait for  <0x1> (a ",
		HEAD "\"\" nid=0x64 cpu=.ms elapsed=1\r\n\r\n\t- waiting on  ",
		HEAD "\r",
		HEAD "\n\n\n",
	};
	struct heard *h = *state;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t len = strlen(texts[i]);
		char *exact = malloc(len);

		memcpy(exact, texts[i], len);
		assert_null(java_told(exact, len, h->thread, THREADS, h->said));
		for (size_t n = 0; n < THREADS; n++)
			said_done(&h->said[n]);
		free(exact);
	}
	hear(h, "1\nno such command\n");
	assert_non_null(h->why);
	hear(h, "");
	assert_non_null(h->why);
}

static void a_deep_stack_is_cut(void **state)
{
	struct heard *h = *state;
	struct buf text;

	buf_init(&text, 1u << 20);
	buf_adds(&text, HEAD "\"deep\" nid=0x64 runnable\n");
	for (int i = 0; i < 1000; i++)
		buf_addf(&text, "\tat A.a(A.java:%d)\n", i + 1);
	hear(h, text.data);
	assert_int_equal(h->said[0].script.count, LANG_FRAMES_MAX);
	assert_non_null(strstr(h->said[0].script.unavailable, "more frames"));
	is_frame(h, 0, LANG_FRAMES_MAX - 1, "A.a", "A.java", LANG_FRAMES_MAX);
	buf_done(&text);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, tidy)
	const struct CMUnitTest tests[] = {
		CASE(version_17),
		CASE(version_8),
		CASE(version_11),
		CASE(version_21),
		CASE(own_synchronizer),
		CASE(at_a_safepoint),
		CASE(a_name_that_looks_like_a_thread),
		CASE(two_owners_are_none),
		CASE(nonsense),
		CASE(a_deep_stack_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
