// SPDX-License-Identifier: MIT
/* Incidents as they come, and the sentence that each must get, word for word: the
 * verdict is what people read. */
#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ull

static struct incident *incident_of(const char *comm, pid_t pid, pid_t tid, uint64_t elapsed_ns)
{
	struct incident *i = incident_new();

	text_set(&i->process.comm, comm);
	text_set(&i->request.method, "GET");
	text_set(&i->request.url, "/slow?token=secret");
	i->holder_pid = pid;
	i->holder_tid = tid;
	i->elapsed_ns = elapsed_ns;
	i->capture.method = METHOD_CLONE;
	i->capture.running_at_snapshot = true;
	return i;
}

static struct spending *spend(struct incident *i, enum spend kind, const char *call, const char *object, uint64_t ns)
{
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	s->kind = kind;
	text_set(&s->call, call);
	text_set(&s->object, object);
	s->ns = ns;
	s->count = 1;
	return s;
}

static struct thread *thread_add(struct incident *i, pid_t tid, const char *call, const char *waits_for)
{
	struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));

	t->tid = tid;
	t->state = call ? 'S' : 'R';
	t->holder = tid == i->holder_tid;
	text_set(&t->comm, "worker");
	text_set(&t->call, call);
	text_set(&t->waits_for, waits_for);
	return t;
}

static void frame_add(struct stack *stack, const char *function, const char *file, uint32_t line, const char *module)
{
	struct frame *f = list_add(&stack->frame, &stack->count, sizeof(*f));

	text_set(&f->function, function);
	text_set(&f->file, file);
	text_set(&f->module, module);
	f->line = line;
}

/* Names are for machines: none has a blank, and each is there once. */
static void test_names(void **state UNUSED)
{
	const char *name, *advice, *other;
	size_t n = 0;

	for (; (name = verdict_cause(n, &advice)); n++) {
		assert_true(name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name));
		assert_non_null(advice);
		for (size_t k = 0; k < n; k++) {
			other = verdict_cause(k, &advice);
			assert_string_not_equal(other, name);
		}
	}
	assert_in_range(n, 25, 100);
}

static void check(struct incident *i, const char *verdict, const char *confidence)
{
	verdict_make(i);
	assert_string_equal(i->verdict, verdict);
	assert_string_equal(i->confidence, confidence);
	assert_non_null(i->advice);
	incident_free(i);
}

static struct incident *php_incident(const char *call, const char *internal)
{
	struct incident *i = incident_of("php-fpm8.2", 4711, 4711, 500 * MS);
	struct thread *t = thread_add(i, 4711, call, NULL);

	text_set(&i->analysis.language, "PHP 8.2.30");
	if (internal)
		frame_add(&t->script, internal, NULL, 0, "php");
	frame_add(&t->script, "slow_part", "/srv/slow.php", 3, "php");
	frame_add(&t->script, "{main}", "/srv/slow.php", 9, "php");
	return i;
}

static void test_php_sleep(void **state UNUSED)
{
	struct incident *i = php_incident("clock_nanosleep", "usleep");

	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 497 * MS)->open = true;
	spend(i, SPEND_CPU, NULL, NULL, 3 * MS);
	check(i, "PHP worker 4711 slept in usleep() called by slow_part() at /srv/slow.php:3 for 0.50 of 0.50 s.",
	      "high");
}

/* 'cause' says the same in one word. */
static void test_cause_of(void **state UNUSED)
{
	struct incident *i = php_incident("flock", "session_start");

	spend(i, SPEND_WAIT, "flock", "file /tmp/sess_x", 490 * MS);
	verdict_make(i);
	assert_string_equal(i->cause, "session-lock");
	i->spending[0].kind = SPEND_CPU;
	text_set(&i->analysis.thread[0].call, NULL);
	verdict_make(i);
	assert_string_equal(i->cause, "cpu");
	incident_free(i);
}

static void test_native_sleep(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 2000 * MS);
	struct thread *t = thread_add(i, 812, "clock_nanosleep", "3 s to pass");

	frame_add(&t->stack, "clock_nanosleep", NULL, 0, "libc.so.6");
	frame_add(&t->stack, "fn_4c0", NULL, 0, "shop");
	frame_add(&t->stack, "serve_slow", NULL, 0, "shop");
	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 1900 * MS);
	check(i, "Thread 812 of shop 811 slept in clock_nanosleep, called by serve_slow, for 1.90 of 2.00 s.", "high");
}

static void test_lock_chain(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 2000 * MS);
	struct thread *t = thread_add(i, 812, "futex", "mutex 0x55 held by 815 \"worker\"");
	struct lock *lock = list_add(&i->analysis.lock, &i->analysis.lock_count, sizeof(*lock));

	t->waits_for_tid = 815;
	t = thread_add(i, 815, "futex", "mutex 0x66 held by 816 \"worker\"");
	t->waits_for_tid = 816;
	t = thread_add(i, 816, "clock_nanosleep", "9 s to pass");
	frame_add(&t->stack, "holder_work", "shop.c", 77, "shop");
	text_set(&lock->name, "mutex 0x55");
	lock->owner = 815;
	*(pid_t *)list_add(&lock->waiter, &lock->waiter_count, sizeof(pid_t)) = 812;
	spend(i, SPEND_WAIT, "futex", NULL, 1900 * MS);
	verdict_make(i);
	assert_string_equal(i->evidence[3], "1 thread waits for mutex 0x55, whose owner word names 815");
	check(i,
	      "Thread 812 of shop 811 waited for 1.90 of 2.00 s for mutex 0x55 held by 815 \"worker\", which waits in futex "
	      "for mutex 0x66 held by 816 \"worker\", which sleeps in clock_nanosleep (holder_work at shop.c:77).",
	      "high");
}

static void test_deadlock(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 2000 * MS);

	thread_add(i, 812, "futex", "mutex 0x55 held by 815 \"b\"")->waits_for_tid = 815;
	thread_add(i, 815, "futex", "mutex 0x44 held by 812 \"a\"")->waits_for_tid = 812;
	spend(i, SPEND_WAIT, "futex", NULL, 2000 * MS);
	strings_add(&i->analysis.deadlock, "812 -> 815 -> 812");
	check(i,
	      "Thread 812 of shop 811 is in a deadlock: it waits for mutex 0x55 held by 815 \"b\", which waits for mutex 0x44 "
	      "held by 812 \"a\" for 2.00 of 2.00 s.",
	      "high");
	/* waiting for one who is in a deadlock with others is one too, and ends */
	i = incident_of("shop", 811, 810, 2000 * MS);
	thread_add(i, 810, "futex", "mutex 0x33 held by 812 \"a\"")->waits_for_tid = 812;
	thread_add(i, 812, "futex", "mutex 0x55 held by 815 \"b\"")->waits_for_tid = 815;
	thread_add(i, 815, "futex", "mutex 0x44 held by 812 \"a\"")->waits_for_tid = 812;
	verdict_make(i);
	assert_non_null(strstr(i->verdict, "deadlock"));
	incident_free(i);
}

static void test_upstream(void **state UNUSED)
{
	struct incident *i = php_incident("poll", "mysqli_query");
	struct spending *s = spend(i, SPEND_WAIT, "poll", "tcp 127.0.0.1:4242 -> 127.0.0.1:3306", 480 * MS);

	s->count = 6;
	check(i,
	      "PHP worker 4711 waited for tcp 127.0.0.1:4242 -> 127.0.0.1:3306 (poll, 6 times) in mysqli_query() called by "
	      "slow_part() at /srv/slow.php:3 for 0.48 of 0.50 s.",
	      "high");
}

static void test_many_small_calls(void **state UNUSED)
{
	struct incident *i = php_incident("poll", "mysqli_query");
	struct spending *s = spend(i, SPEND_WAIT, "poll", "the answer of tcp:127.0.0.1:3306", 480 * MS);

	s->count = 120;
	text_set(&s->peer, "mariadbd 77");
	check(i,
	      "PHP worker 4711 asked tcp:127.0.0.1:3306, that is mariadbd 77, 120 times, one after the other, and waited "
	      "for 0.48 of 0.50 s for the answers, 4.0 ms each, in mysqli_query() called by slow_part() at "
	      "/srv/slow.php:3.",
	      "high");
}

static void test_dns(void **state UNUSED)
{
	struct incident *i = php_incident("poll", "gethostbyname");

	spend(i, SPEND_WAIT, "poll", "udp 10.0.0.8:41000 -> 10.0.0.2:53", 490 * MS);
	check(i,
	      "PHP worker 4711 waited for the DNS server 10.0.0.2:53 to answer (poll) in gethostbyname() called by "
	      "slow_part() at /srv/slow.php:3 for 0.49 of 0.50 s.",
	      "high");
	i = php_incident("poll", "fread"); /* port 5353 is not port 53 */
	spend(i, SPEND_WAIT, "poll", "tcp 10.0.0.8:41000 -> 10.0.0.2:5353", 490 * MS);
	check(i,
	      "PHP worker 4711 waited for tcp 10.0.0.8:41000 -> 10.0.0.2:5353 (poll) in fread() called by slow_part() at "
	      "/srv/slow.php:3 for 0.49 of 0.50 s.",
	      "high");
}

/* The thread stands between two waits for it. */
static void test_interpreter_lock(void **state UNUSED)
{
	struct incident *i = incident_of("python3", 811, 812, 500 * MS);
	struct own_lock *own = list_add(&i->analysis.own, &i->analysis.own_count, sizeof(*own));
	struct thread *t;

	thread_add(i, 812, NULL, NULL);
	t = thread_add(i, 815, NULL, NULL);
	frame_add(&t->script, "crunch", "/srv/app.py", 7, "python");
	text_set(&own->name, "the GIL");
	own->owner = 815;
	spend(i, SPEND_WAIT, "futex", "the GIL", 450 * MS);
	check(i,
	      "Thread 812 of python3 811 waited for 0.45 of 0.50 s for the GIL held by 815 \"worker\", which is computing "
	      "(crunch() at /srv/app.py:7).",
	      "high");
}

static void test_wrapper_has_a_caller(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 2000 * MS);
	struct thread *t = thread_add(i, 812, "clock_nanosleep", "3 s to pass");

	frame_add(&t->stack, "clock_nanosleep", NULL, 0, "libc.so.6");
	frame_add(&t->stack, "nap", "shop.c", 12, "shop");
	frame_add(&t->stack, "serve_slow", "shop.c", 40, "shop");
	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 1900 * MS);
	check(i,
	      "Thread 812 of shop 811 slept in clock_nanosleep, called by nap at shop.c:12 called by serve_slow, for 1.90 of "
	      "2.00 s.",
	      "high");
}

/* poll's fds are known from memory only: the snapshot names them. */
static void test_object_of_the_snapshot(void **state UNUSED)
{
	struct incident *i = php_incident("poll", "fread");

	text_set(&i->analysis.thread[0].waits_for, "fd 7 (tcp 127.0.0.1:4 -> 127.0.0.1:80)");
	spend(i, SPEND_WAIT, "poll", NULL, 480 * MS);
	check(i,
	      "PHP worker 4711 waited for tcp 127.0.0.1:4 -> 127.0.0.1:80 (poll) in fread() called by slow_part() at "
	      "/srv/slow.php:3 for 0.48 of 0.50 s.",
	      "high");
	i = php_incident("poll", "fread");
	text_set(&i->analysis.thread[0].waits_for, "fds 7 8 (pipe, eventfd)");
	spend(i, SPEND_WAIT, "poll", NULL, 480 * MS);
	check(i,
	      "PHP worker 4711 waited for fds 7 8 (pipe, eventfd) (poll) in fread() called by slow_part() at "
	      "/srv/slow.php:3 for 0.48 of 0.50 s.",
	      "high");
}

static void test_cpu(void **state UNUSED)
{
	struct incident *i = php_incident(NULL, NULL);

	spend(i, SPEND_CPU, NULL, NULL, 490 * MS);
	check(i, "PHP worker 4711 was computing for 0.49 of 0.50 s, at the snapshot in slow_part() at /srv/slow.php:3.",
	      "high");
}

static void test_no_cpu(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 811, 1000 * MS);

	thread_add(i, 811, NULL, NULL);
	spend(i, SPEND_CPU, NULL, NULL, 300 * MS);
	spend(i, SPEND_RUNNABLE, NULL, NULL, 650 * MS);
	check(i, "shop 811 was ready to run but got no CPU for 0.65 of 1.00 s.", "medium");
}

static void test_disk_child_and_file_lock(void **state UNUSED)
{
	struct incident *i = php_incident("fsync", "fsync");

	spend(i, SPEND_WAIT, "fsync", "file /var/data", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the disk: fsync on file /var/data in fsync() called by slow_part() at "
	      "/srv/slow.php:3 for 0.45 of 0.50 s.",
	      "high");
	i = php_incident("read", "fread");
	spend(i, SPEND_WAIT, "read", "disk", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the disk: read in fread() called by slow_part() at /srv/slow.php:3 for 0.45 of "
	      "0.50 s.",
	      "high");
	i = php_incident("wait4", "shell_exec");
	text_set(&i->analysis.thread[0].waits_for, "child process 99");
	spend(i, SPEND_WAIT, "wait4", NULL, 450 * MS);
	check(i,
	      "PHP worker 4711 waited for child process 99 (wait4) in shell_exec() called by slow_part() at /srv/slow.php:3 "
	      "for 0.45 of 0.50 s.",
	      "high");
	i = php_incident("read", "shell_exec");
	spend(i, SPEND_WAIT, "read", "pipe to child 99 \"sh\"", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the output of child 99 \"sh\" (read) in shell_exec() called by slow_part() at "
	      "/srv/slow.php:3 for 0.45 of 0.50 s.",
	      "high");
	i = php_incident("flock", "session_start");
	spend(i, SPEND_WAIT, "flock", "file /var/lib/php/sessions/sess_1", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the PHP session lock on file /var/lib/php/sessions/sess_1, which another "
	      "process holds, in session_start() called by slow_part() at /srv/slow.php:3 for 0.45 of 0.50 s.",
	      "high");
	i = php_incident("flock", "session_start");
	text_set(&i->analysis.thread[0].waits_for, "fd 7 (file /s/sess_1) locked by 20214 \"php-fpm8.2\"");
	spend(i, SPEND_WAIT, "flock", NULL, 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the PHP session lock on file /s/sess_1, which process 20214 \"php-fpm8.2\" holds, in "
	      "session_start() called by slow_part() at /srv/slow.php:3 for 0.45 of 0.50 s.",
	      "high");
}

static struct beyond *beyond_add(struct incident *i, const char *process, pid_t pid, const char *how, const char *call,
				 const char *waits_for)
{
	struct beyond *b = list_add(&i->beyond, &i->beyond_count, sizeof(*b));

	b->pid = b->tid = pid;
	text_set(&b->process, process);
	text_set(&b->how, how);
	if (call) {
		b->thread.tid = pid;
		b->thread.state = 'S';
		text_set(&b->thread.call, call);
		text_set(&b->thread.waits_for, waits_for);
	}
	return b;
}

static void test_beyond(void **state UNUSED)
{
	struct incident *i = php_incident("flock", "session_start");
	struct beyond *b = beyond_add(i, "php-fpm8.2", 20214, "holds flock /s/sess_1", "recvfrom",
				      "fd 9 (tcp 10.0.0.8:51234 -> 10.0.0.5:3306)");

	text_set(&i->analysis.thread[0].waits_for, "fd 7 (file /s/sess_1) locked by 20214 \"php-fpm8.2\"");
	text_set(&b->request, "GET /report");
	b->request_age_ns = 41000 * MS;
	frame_add(&b->thread.script, "Report::yearly", "/srv/Report.php", 88, "php");
	spend(i, SPEND_WAIT, "flock", "file /s/sess_1", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for 0.45 of 0.50 s in session_start() called by slow_part() at /srv/slow.php:3 for "
	      "the PHP session lock on file /s/sess_1, held by php-fpm8.2 20214 (GET /report, 41.00 s old), which is "
	      "itself reading from tcp 10.0.0.5:3306 in Report::yearly() at /srv/Report.php:88.",
	      "high");
	/* the snapshot shows something else: the chain is not of this wait */
	i = php_incident("recvfrom", "fgets");
	beyond_add(i, "php-fpm8.2", 20214, "has the other end of tcp", "clock_nanosleep", NULL);
	spend(i, SPEND_WAIT, "flock", "file /s/sess_1", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the PHP session lock on file /s/sess_1, which another process holds, for "
	      "0.45 of 0.50 s.",
	      "medium");
	i = php_incident("read", "fgets");
	beyond_add(i, "stock", 99, "has the other end of tcp 1 -> 2", "wait4", "child process 100");
	beyond_add(i, "sh", 100, "is the child that is waited for", "clock_nanosleep", "3 s to pass");
	spend(i, SPEND_WAIT, "read", "tcp 1 -> 2", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for tcp 1 -> 2 (read) in fgets() called by slow_part() at /srv/slow.php:3 for 0.45 "
	      "of 0.50 s; its other end is stock 99, which is itself waiting for child process 100, that is sh 100, "
	      "which is itself asleep (clock_nanosleep).",
	      "high");
	i = php_incident("wait4", "exec");
	b = beyond_add(i, "sh", 100, "is the child that is waited for", NULL, NULL);
	text_set(&b->failed, "process 7 \"gdb\" traces it already");
	spend(i, SPEND_WAIT, "wait4", "child process 100", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for child process 100 (wait4) in exec() called by slow_part() at /srv/slow.php:3 for "
	      "0.45 of 0.50 s; that child is sh 100 (not looked at: process 7 \"gdb\" traces it already).",
	      "high");
}

static void test_cycle(void **state UNUSED)
{
	struct incident *i = php_incident("flock", "flock");

	text_set(&i->analysis.thread[0].waits_for, "fd 7 (file /b) locked by 20214 \"php-fpm8.2\"");
	beyond_add(i, "php-fpm8.2", 20214, "holds flock /b", "flock", "fd 3 (file /a) locked by 4711 \"php-fpm8.2\"");
	beyond_add(i, "php-fpm8.2", 4711, "holds flock /a", NULL, NULL)->cycle = true;
	spend(i, SPEND_WAIT, "flock", "file /b", 450 * MS);
	check(i,
	      "PHP worker 4711 is in a deadlock: it waited for 0.45 of 0.50 s in flock() called by slow_part() at "
	      "/srv/slow.php:3 for the lock (flock) on file /b, held by php-fpm8.2 20214, which is itself waiting for the lock on file /a, held by "
	      "php-fpm8.2 4711 itself.",
	      "high");
}

/* ... but not through a thread that may not be the one that answers. */
static void test_guessed_cycle(void **state UNUSED)
{
	struct incident *i = php_incident("poll", "query");

	beyond_add(i, "mariadbd", 99, "has the other end (" BEYOND_GUESS ")", "poll",
		   "tcp 127.0.0.1:3306 -> 127.0.0.1:5")
		->tid = 101;
	beyond_add(i, "php-fpm8.2", 4711, "has the other end of tcp", NULL, NULL)->cycle = true;
	spend(i, SPEND_WAIT, "poll", "tcp 127.0.0.1:6 -> 127.0.0.1:3306", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for tcp 127.0.0.1:6 -> 127.0.0.1:3306 (poll) in query() called by slow_part() at "
	      "/srv/slow.php:3 for 0.45 of 0.50 s; its other end is mariadbd 99, perhaps its thread 101, which is itself "
	      "waiting for tcp 127.0.0.1:5.",
	      "high");
}

static void test_status(void **state UNUSED)
{
	struct incident *i = php_incident("write", "echo");

	i->reason = REASON_STATUS_CODE;
	i->status = 503;
	i->elapsed_ns = 12 * MS;
	check(i,
	      "GET /slow was answered 503 after 12.0 ms by PHP worker 4711 in echo() called by slow_part() at "
	      "/srv/slow.php:3.",
	      "high");
	i = incident_of("nginx", 5, 5, 3 * MS);
	i->reason = REASON_STATUS_CODE;
	i->status = 404;
	i->capture.running_at_snapshot = false;
	check(i, "GET /slow was answered 404 after 3.0 ms by nginx 5.", "medium");
}

static void test_ended_before(void **state UNUSED)
{
	struct incident *i = php_incident("epoll_wait", NULL);

	i->capture.running_at_snapshot = false;
	spend(i, SPEND_WAIT, "recvfrom", "unix:/run/db.sock", 480 * MS);
	check(i,
	      "GET /slow had ended before the snapshot, so no stack shows it; by its trace it waited in recvfrom for "
	      "unix:/run/db.sock for 0.48 of 0.50 s.",
	      "low");
}

static void test_event_loop(void **state UNUSED)
{
	struct incident *i = incident_of("node", 9, 9, 1000 * MS);
	struct trace_event *e = list_add(&i->trace, &i->trace_count, sizeof(*e));

	thread_add(i, 9, "epoll_wait", "fd 13");
	spend(i, SPEND_WAIT, "epoll_wait", NULL, 990 * MS);
	text_set(&e->kind, "send");
	text_set(&e->name, "to 127.0.0.1:9000");
	e->at_ns = 5 * MS;
	verdict_make(i);
	assert_string_equal(i->evidence[strings_count(i->evidence) - 1],
			    "The last thing done for it, after 5.0 ms: send to 127.0.0.1:9000");
	check(i,
	      "GET /slow is parked: node 9 sits idle in its event loop (epoll_wait) for 0.99 of 1.00 s, and what the request "
	      "waits for is on no stack.",
	      "low");
}

static void test_called_and_queue(void **state UNUSED)
{
	struct incident *i = incident_of("nginx", 9, 9, 1000 * MS);

	thread_add(i, 9, "epoll_wait", "fd 13");
	spend(i, SPEND_WAIT, "epoll_wait", "the answer of tcp:10.0.0.5:9000", 990 * MS);
	check(i,
	      "nginx 9 waited for the answer of tcp:10.0.0.5:9000, idle in its event loop (epoll_wait), for 0.99 of 1.00 s.",
	      "high");
	i = php_incident("poll", "curl_exec");
	spend(i, SPEND_WAIT, "poll", "the answer of tcp:10.0.0.5:80", 450 * MS);
	check(i,
	      "PHP worker 4711 waited for the answer of tcp:10.0.0.5:80 in curl_exec() called by slow_part() at "
	      "/srv/slow.php:3 for 0.45 of 0.50 s.",
	      "high");
	i = php_incident("clock_nanosleep", "usleep");
	spend(i, SPEND_WAIT, NULL, "before the holder got the request", 450 * MS);
	check(i, "GET /slow waited for 0.45 of 0.50 s in the queue, until PHP worker 4711 took it.", "high");
	i = php_incident("clock_nanosleep", "usleep");
	spend(i, SPEND_WAIT, NULL, "in waits no longer listed one by one", 450 * MS);
	check(i, "PHP worker 4711 waited in waits no longer listed one by one for 0.45 of 0.50 s.", "medium");
}

static void test_client(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 1000 * MS);

	text_set(&i->request.client, "10.1.2.3:4444");
	thread_add(i, 812, "recvfrom", NULL);
	spend(i, SPEND_WAIT, "recvfrom", "tcp 10.0.0.8:80 -> 10.1.2.3:4444", 990 * MS);
	check(i,
	      "Thread 812 of shop 811 waited for the client 10.1.2.3:4444 to send its request (recvfrom) for 0.99 of 1.00 s.",
	      "high");
	i = incident_of("shop", 811, 812, 1000 * MS);
	text_set(&i->request.client, "10.1.2.3:444");
	thread_add(i, 812, "sendto", NULL);
	spend(i, SPEND_WAIT, "sendto", "tcp 10.0.0.8:80 -> 10.1.2.3:4444", 990 * MS); /* another one */
	check(i, "Thread 812 of shop 811 waited for tcp 10.0.0.8:80 -> 10.1.2.3:4444 (sendto) for 0.99 of 1.00 s.",
	      "high");
}

/* A semaphore has no holder to blame. */
static void test_wake_up(void **state UNUSED)
{
	struct incident *i = incident_of("python3", 811, 812, 1000 * MS);

	thread_add(i, 812, "futex", "semaphore 0x7f00");
	spend(i, SPEND_WAIT, "futex", NULL, 990 * MS);
	check(i,
	      "Thread 812 of python3 811 waited for another thread to wake it (semaphore 0x7f00) for 0.99 of 1.00 s.",
	      "medium");
	i = incident_of("python3", 811, 812, 1000 * MS);
	thread_add(i, 812, "futex", "thread 815 \"pool\" to end")->waits_for_tid = 815;
	thread_add(i, 815, NULL, NULL);
	spend(i, SPEND_WAIT, "futex", NULL, 990 * MS);
	check(i,
	      "Thread 812 of python3 811 waited for 0.99 of 1.00 s for thread 815 \"pool\" to end, which is computing.",
	      "high");
}

static void test_spread_and_unknown(void **state UNUSED)
{
	struct incident *i = php_incident("poll", NULL);

	for (int n = 0; n < 5; n++)
		spend(i, SPEND_WAIT, "poll", NULL, 100 * MS);
	check(i, "GET /slow has no single cause: the largest part, waiting in poll, is 20 % of 0.50 s.", "low");
	i = incident_of("x", 1, 1, 500 * MS);
	spend(i, SPEND_UNATTRIBUTED, NULL, NULL, 500 * MS);
	check(i, "The cause is not known: nothing explains 100 % of the time taken.", "low");
	i = incident_of("x", 1, 1, 500 * MS);
	i->capture = (struct capture_facts){ 0 };
	text_set(&i->capture.failed, "the process ended");
	check(i, "The cause is not known: the process could not be captured (the process ended).", "low");
	i = incident_new();
	check(i, "The cause is not known: there is neither a trace nor a snapshot that shows what the request did.",
	      "low");
}

/* Stopped on its way out of one of many naps: that is where it takes them. */
static void test_naps(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 811, 812, 1000 * MS);
	struct thread *t = thread_add(i, 812, NULL, NULL);

	t->state = 'R';
	frame_add(&t->stack, "clock_nanosleep", NULL, 0, "libc.so.6");
	frame_add(&t->stack, "poll_file", "shop.c", 12, "shop");
	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 990 * MS)->count = 20;
	check(i,
	      "Thread 812 of shop 811 slept in clock_nanosleep, called by poll_file at shop.c:12, 20 times, for "
	      "0.99 of 1.00 s.",
	      "high");
	i = incident_of("shop", 811, 812, 1000 * MS);
	t = thread_add(i, 812, NULL, NULL);
	t->state = 'R';
	frame_add(&t->stack, "poll_file", "shop.c", 12, "shop");
	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 990 * MS)->count = 20;
	check(i, "Thread 812 of shop 811 slept in clock_nanosleep, 20 times, for 0.99 of 1.00 s.", "medium");
}

/* The snapshot shows something else than what took the time: less sure, no place. */
static void test_disagreement(void **state UNUSED)
{
	struct incident *i = php_incident("write", "fwrite");

	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 450 * MS);
	check(i, "PHP worker 4711 slept in clock_nanosleep for 0.45 of 0.50 s.", "medium");
	i = php_incident("clock_nanosleep", "usleep");
	spend(i, SPEND_WAIT, "clock_nanosleep", NULL, 450 * MS);
	i->losses.events_overwritten = 3;
	verdict_make(i);
	assert_string_equal(i->confidence, "medium");
	assert_string_equal(i->evidence[strings_count(i->evidence) - 1], "3 events of the trace were lost");
	incident_free(i);
}

/* Names of any length and no name at all. */
static void test_hostile_names(void **state UNUSED)
{
	struct incident *i = php_incident("poll", NULL);
	char *longest = malloc(100001);

	memset(longest, 'y', 100000);
	longest[100000] = '\0';
	text_set(&i->analysis.thread[0].script.frame[0].file, longest);
	text_set(&i->analysis.thread[0].waits_for, longest);
	spend(i, SPEND_WAIT, "poll", longest, 450 * MS);
	verdict_make(i);
	assert_true(strlen(i->verdict) < 3000);
	assert_non_null(strstr(i->verdict, "(cut)"));
	for (char **e = i->evidence; *e; e++)
		assert_true(strlen(*e) < 3000);
	incident_free(i);
	free(longest);
	i = incident_new();
	i->holder_tid = 5;
	spend(i, SPEND_WAIT, NULL, NULL, 450 * MS);
	thread_add(i, 5, NULL, NULL);
	text_set(&i->analysis.thread[0].comm, NULL);
	list_add(&i->analysis.thread[0].stack.frame, &i->analysis.thread[0].stack.count, sizeof(struct frame));
	list_add(&i->analysis.thread[0].script.frame, &i->analysis.thread[0].script.count, sizeof(struct frame));
	verdict_make(i);
	assert_non_null(i->verdict);
	verdict_make(i); /* twice gives the same */
	assert_non_null(i->verdict);
	incident_free(i);
}

/* Page faults of a cgroup beyond its memory.high are the kernel's brake; of one within it they are not. */
static void test_memory_high(void **state UNUSED)
{
	struct incident *i = incident_of("shop", 10, 11, 2000 * MS);
	struct host_facts h = { .cpus = 2, .memory_high_bytes = 12u << 20, .memory_bytes = 13u << 20, .memory_over = 9 };

	spend(i, SPEND_WAIT, "page fault", NULL, 1900 * MS);
	i->scene.looked = true;
	i->scene.host = h;
	check(i,
	      "Thread 11 of shop 10 asked for memory and was held back, since its cgroup has 13 MiB and may have 12 "
	      "(memory.high) for 1.90 of 2.00 s.",
	      "high");
	i = incident_of("shop", 10, 11, 2000 * MS);
	spend(i, SPEND_WAIT, "page fault", NULL, 1900 * MS);
	h.memory_over = 0;
	i->scene.host = h;
	verdict_make(i);
	assert_string_not_equal(i->cause, "memory");
	incident_free(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_php_sleep),
		cmocka_unit_test(test_cause_of),
		cmocka_unit_test(test_native_sleep),
		cmocka_unit_test(test_lock_chain),
		cmocka_unit_test(test_deadlock),
		cmocka_unit_test(test_upstream),
		cmocka_unit_test(test_many_small_calls),
		cmocka_unit_test(test_dns),
		cmocka_unit_test(test_interpreter_lock),
		cmocka_unit_test(test_wrapper_has_a_caller),
		cmocka_unit_test(test_cpu),
		cmocka_unit_test(test_no_cpu),
		cmocka_unit_test(test_disk_child_and_file_lock),
		cmocka_unit_test(test_beyond),
		cmocka_unit_test(test_cycle),
		cmocka_unit_test(test_guessed_cycle),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_ended_before),
		cmocka_unit_test(test_event_loop),
		cmocka_unit_test(test_called_and_queue),
		cmocka_unit_test(test_object_of_the_snapshot),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_wake_up),
		cmocka_unit_test(test_spread_and_unknown),
		cmocka_unit_test(test_naps),
		cmocka_unit_test(test_disagreement),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_memory_high),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
