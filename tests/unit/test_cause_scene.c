// SPDX-License-Identifier: MIT
/* Verdicts that come of what stands around the holder, and when they may not. */
#include "verdict.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS 1000000ull

static struct incident *incident_in(const char *comm, const char *call)
{
	struct incident *i = incident_new();
	struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));

	i->holder_pid = i->holder_tid = t->tid = 4711;
	t->holder = true;
	t->state = call ? 'S' : 'R';
	text_set(&t->call, call);
	text_set(&i->process.comm, comm);
	text_set(&i->request.method, "GET");
	text_set(&i->request.url, "/cart?item=7");
	i->elapsed_ns = 1000 * MS;
	i->capture.running_at_snapshot = true;
	i->capture.method = METHOD_STOP;
	return i;
}

static void spend(struct incident *i, enum spend kind, const char *call, const char *object, uint64_t ns)
{
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	*s = (struct spending){ .kind = kind, .ns = ns, .count = 1 };
	text_set(&s->call, call);
	text_set(&s->object, object);
}

static struct open_end *waited_end(struct incident *i, const char *what)
{
	struct open_end *e = list_add(&i->scene.end, &i->scene.end_count, sizeof(*e));

	*e = (struct open_end){ .fd = 7, .waited = true };
	text_set(&e->what, what);
	return e;
}

static void says(struct incident *i, const char *part, const char *confidence)
{
	verdict_make(i);
	if (!strstr(i->verdict, part))
		fail_msg("no '%s' in '%s'", part, i->verdict);
	assert_string_equal(i->confidence, confidence);
	incident_free(i);
}

static void says_not(struct incident *i, const char *part)
{
	verdict_make(i);
	if (strstr(i->verdict, part))
		fail_msg("'%s' is in '%s'", part, i->verdict);
	incident_free(i);
}

static struct incident *full_pool(uint64_t called_at_ns)
{
	struct incident *i = incident_in("nginx", "epoll_wait");
	struct trace_event *e = list_add(&i->trace, &i->trace_count, sizeof(*e));
	struct pool_group *g = list_add(&i->scene.pool.group, &i->scene.pool.group_count, sizeof(*g));

	e->at_ns = called_at_ns;
	text_set(&e->kind, "call");
	spend(i, SPEND_UNATTRIBUTED, NULL, NULL, 990 * MS);
	waited_end(i, "unix:/run/php.sock")->unaccepted = true;
	text_set(&i->scene.pool.name, "php-fpm: pool www");
	text_set(&i->scene.pool.listen, "unix:/run/php.sock");
	i->scene.pool.called = true;
	i->scene.pool.workers = i->scene.pool.busy = 5;
	i->scene.pool.queue = 12;
	i->scene.pool.backlog = 511;
	g->count = 4;
	text_set(&g->what, "in flock, waits for file /x");
	return i;
}

static void test_full_pool(void **state UNUSED)
{
	struct incident *i;

	says(full_pool(10 * MS),
	     "GET /cart waited until its trap, 99 % of the time, for a worker of php-fpm: pool www: all 5 are busy, "
	     "12 connections are not accepted yet at unix:/run/php.sock; 4 of them in flock, waits for file /x.",
	     "high");
	says_not(full_pool(800 * MS), "for a worker of");
	i = full_pool(10 * MS);
	i->scene.pool.busy = 4;
	says_not(i, "for a worker of");
	i = full_pool(10 * MS);
	i->scene.end[0].unaccepted = false;
	says_not(i, "for a worker of");
}

static void test_statement(void **state UNUSED)
{
	struct incident *i = incident_in("shop", "poll");
	struct open_end *e = waited_end(i, "tcp 127.0.0.1:5 -> 10.0.0.5:5432");

	spend(i, SPEND_WAIT, "poll", "tcp 127.0.0.1:5 -> 10.0.0.5:5432", 950 * MS);
	text_set(&e->protocol, "PostgreSQL");
	text_set(&e->statement, "SELECT ?");
	text_set(&e->peer, "postgres: shop UPDATE waiting 77");
	says(i,
	     "shop 4711 waited for the answer of PostgreSQL at 10.0.0.5:5432 (postgres: shop UPDATE waiting 77) to "
	     "'SELECT ?' for 0.95 of 1.00 s.",
	     "high");

	/* the port alone is no proof */
	i = incident_in("shop", "poll");
	e = waited_end(i, "tcp 127.0.0.1:5 -> 10.0.0.5:5432");
	spend(i, SPEND_WAIT, "poll", "tcp 127.0.0.1:5 -> 10.0.0.5:5432", 950 * MS);
	text_set(&e->protocol, "PostgreSQL, by its port");
	says_not(i, "PostgreSQL");
}

static struct incident *throttled(uint64_t throttled_ns)
{
	struct incident *i = incident_in("shop", NULL);

	spend(i, SPEND_RUNNABLE, NULL, NULL, 850 * MS);
	i->scene.host.cpu_limit_permille = 200;
	i->scene.host.throttled_ns = throttled_ns;
	i->scene.host.throttled_over_ns = 1500 * MS;
	return i;
}

static void test_throttled(void **state UNUSED)
{
	says(throttled(900 * MS),
	     "its cgroup had used up the 0.20 CPUs that it may use for 0.85 of 1.00 s (throttled for", "high");
	says_not(throttled(100 * MS), "used up");
}

static void test_memory(void **state UNUSED)
{
	struct incident *i = incident_in("shop", NULL);

	spend(i, SPEND_WAIT, "page fault", NULL, 700 * MS);
	i->page_faults = 4000;
	i->scene.host.memory_bytes = 63u << 20;
	i->scene.host.memory_limit_bytes = 64u << 20;
	says(i,
	     "waited for 4000 of its pages to be read back into memory, of which its cgroup has 63 of at most 64 MiB",
	     "medium");
	i = incident_in("shop", NULL);
	spend(i, SPEND_WAIT, "page fault", NULL, 700 * MS);
	i->page_faults = 4000;
	says(i, "waited for the disk", "medium");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_pool),
		cmocka_unit_test(test_statement),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
