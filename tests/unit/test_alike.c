// SPDX-License-Identifier: MIT
/* What is one group, and what is not. */
#include "alike.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A request that stood in a function on that line, in that call for that object. */
static struct incident *stood(const char *cause, const char *function, uint32_t line, const char *call,
			      const char *object)
{
	struct incident *i = incident_new();
	struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));
	struct frame *f = list_add(&t->script.frame, &t->script.count, sizeof(*f));
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	i->holder_pid = i->holder_tid = t->tid = 4711;
	i->elapsed_ns = 500;
	i->capture.running_at_snapshot = true;
	text_set(&i->cause, cause);
	text_set(&i->request.client, "10.1.2.3:40226");
	text_set(&f->function, function);
	text_set(&f->file, "/srv/shop.php");
	f->line = line;
	text_set(&t->call, call);
	s->kind = call ? SPEND_WAIT : SPEND_CPU;
	s->ns = 490;
	text_set(&s->call, call);
	text_set(&s->object, object);
	return i;
}

static void check(struct incident *a, struct incident *b, bool one, const char *wait)
{
	struct alike x, y;

	alike_of(a, &x);
	alike_of(b, &y);
	assert_string_equal(x.wait, wait);
	assert_int_equal(alike_same(&x, &y), one);
	assert_true(alike_same(&x, &x));
	alike_done(&x);
	alike_done(&y);
	incident_free(a);
	incident_free(b);
}

static void test_one(void **state UNUSED)
{
	check(stood("session-lock", "load", 12, "flock", "file /var/lib/php/sess_a"),
	      stood("session-lock", "load", 14, "flock", "file /var/lib/php/sess_b"), true,
	      "waiting in flock for a file in /var/lib/php");
	check(stood("lock", "load", 12, "futex", "mutex 0x5653552ff420 held by 12"),
	      stood("lock", "load", 12, "futex", "mutex 0x7f53552ff420"), true, "waiting in futex for mutex");
	check(stood("other-end", "load", 12, "read", "fd 7 (tcp 10.0.0.8:51234 -> 10.0.0.5:3306)"),
	      stood("other-end", "load", 12, "read", "tcp 10.0.0.8:51299 -> 10.0.0.5:3306"), true,
	      "waiting in read for tcp 10.0.0.5:3306");
	check(stood("slow-client", "load", 12, "write", "tcp 10.0.0.8:80 -> 10.1.2.3:40226"),
	      stood("slow-client", "load", 12, "write", "tcp 10.0.0.9:80 -> 10.1.2.3:40226"), true,
	      "waiting in write for its client");
	check(stood("cpu", "load", 12, NULL, NULL), stood("cpu", "load", 19, NULL, NULL), true, "on CPU");
	check(stood("child-process", "load", 1, "read", "pipe to child 4712 \"sh\""),
	      stood("child-process", "load", 1, "read", "pipe to child 4713 \"sh\""), true,
	      "waiting in read for a pipe to child");
}

static void test_several(void **state UNUSED)
{
	check(stood("cpu", "load", 12, NULL, NULL), stood("cpu", "save", 12, NULL, NULL), false, "on CPU");
	check(stood("cpu", "load", 12, NULL, NULL), stood(NULL, "load", 12, NULL, NULL), false, "on CPU");
	check(stood("other-end", "load", 12, "read", "tcp 10.0.0.8:51234 -> 10.0.0.5:3306"),
	      stood("other-end", "load", 12, "read", "tcp 10.0.0.8:51234 -> 10.0.0.6:3306"), false,
	      "waiting in read for tcp 10.0.0.5:3306");
	check(stood("file-lock", "load", 12, "flock", "file /srv/a/lock"),
	      stood("file-lock", "load", 12, "flock", "file /srv/b/lock"), false,
	      "waiting in flock for a file in /srv/a");
	check(stood("file-lock", "load", 12, "flock", "file /lock"),
	      stood("file-lock", "load", 12, "fcntl", "file /lock"), false, "waiting in flock for a file in /");
}

/* An incident that nobody could look into is one all the same. */
static void test_nothing_known(void **state UNUSED)
{
	check(incident_new(), incident_new(), true, "not known");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_nothing_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
