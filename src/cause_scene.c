// SPDX-License-Identifier: MIT
/* Causes that show in what stands around the holder: a pool with no worker free, a statement
 * that a database works on, a cgroup that has used up its CPU or memory. Trap: what is known
 * of the host is of the whole time that the page tells, so it counts only where the request's
 * own times say the same. */
#include "cause.h"

#include <string.h>

#define MOST_PERCENT 50
#define THROTTLED_PERCENT 30 /* of the time looked at */
#define FULL_PERCENT 90	     /* of the memory that the cgroup may have */

/* What the request's thread waits for; NULL: not known, or several that may be it. */
static const struct open_end *waited(const struct view *v)
{
	const struct open_end *found = NULL;

	for (size_t n = 0; n < v->i->scene.end_count; n++) {
		const struct open_end *e = &v->i->scene.end[n];

		if (!e->waited || (!e->protocol && !e->unaccepted))
			continue;
		if (found)
			return NULL;
		found = e;
	}
	return found;
}

/* How long ago the last call to somebody else began, in per cent of the time taken. */
static unsigned int call_percent(const struct view *v)
{
	for (size_t n = v->i->trace_count; n-- > 0;) {
		const struct trace_event *e = &v->i->trace[n];

		if (e->kind && !strcmp(e->kind, "call") && e->at_ns < v->i->elapsed_ns)
			return (unsigned int)((v->i->elapsed_ns - e->at_ns) * 100 / v->i->elapsed_ns);
	}
	return 0;
}

/* ---- nobody accepts ---- */

bool test_pool(const struct view *v)
{
	const struct pool *p = &v->i->scene.pool;
	const struct open_end *e = waited(v);

	return e && e->unaccepted && p->called && p->workers && p->busy == p->workers && p->queue &&
	       v->i->capture.running_at_snapshot && call_percent(v) >= MOST_PERCENT;
}

void tell_pool(const struct view *v, struct buf *out)
{
	const struct pool *p = &v->i->scene.pool;

	put_request(out, v->i);
	buf_addf(out, " waited until its trap, %u %% of the time, for a worker of %s: ", call_percent(v),
		 p->name ? p->name : p->listen);
	if (p->workers == 1)
		buf_adds(out, "its only one is busy");
	else
		buf_addf(out, "all %u are busy", p->workers);
	buf_addf(out, ", %u connection%s not accepted yet at %s", p->queue, p->queue == 1 ? " is" : "s are", p->listen);
	if (p->group_count && p->group[0].what)
		buf_addf(out, "; %u of them %s", p->group[0].count, p->group[0].what);
}

/* ---- statements ---- */

static bool asked(const struct view *v, const char *protocol)
{
	const struct open_end *e = waited(v);

	return e && e->protocol && !e->unaccepted && !strcmp(e->protocol, protocol) && v->agrees &&
	       (v->kind == WAIT_FD || v->kind == WAIT_POLL);
}

bool test_sql(const struct view *v)
{
	return asked(v, "PostgreSQL") || asked(v, "MySQL");
}

bool test_redis(const struct view *v)
{
	return asked(v, "Redis");
}

bool test_lookup(const struct view *v)
{
	return asked(v, "DNS") && waited(v)->statement;
}

void tell_lookup(const struct view *v, struct buf *out)
{
	const struct open_end *e = waited(v);
	const char *to = strstr(e->what, " -> ");

	put_subject(out, v);
	buf_addf(out, " waited for the DNS server %s to look up %s", to ? to + 4 : e->what, e->statement);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

void tell_asked(const struct view *v, struct buf *out)
{
	const struct open_end *e = waited(v);
	const char *to = strstr(e->what, " -> ");

	put_subject(out, v);
	buf_addf(out, " waited for the answer of %s at %s", e->protocol, to ? to + 4 : e->what);
	if (e->peer)
		buf_addf(out, " (%s)", e->peer);
	if (e->statement)
		buf_addf(out, " to '%s'", e->statement);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* ---- CPU and memory of the cgroup ---- */

/* Was it throttled for so much of that time? */
static bool throttled(const struct view *v, uint64_t of_ns)
{
	const struct spending *queued = spent(v->i, SPEND_RUNNABLE);
	const struct host_facts *h = &v->i->scene.host;

	return queued && (v->top->kind == SPEND_RUNNABLE || v->top->kind == SPEND_CPU) &&
	       queued->ns * 100 >= v->i->elapsed_ns * THROTTLED_PERCENT && h->throttled_over_ns &&
	       h->cpu_limit_permille && h->throttled_ns >= queued->ns / 2 &&
	       h->throttled_ns * 100 >= of_ns * THROTTLED_PERCENT;
}

bool test_throttled(const struct view *v)
{
	return throttled(v, v->i->scene.host.throttled_over_ns);
}

/* The counters were noted up to a second before a short request: it may have been then. */
bool test_throttled_about_then(const struct view *v)
{
	return throttled(v, v->i->elapsed_ns);
}

void tell_throttled(const struct view *v, struct buf *out)
{
	const struct host_facts *h = &v->i->scene.host;

	put_subject(out, v);
	buf_addf(out, " was ready to run, but its cgroup had used up the %.2f CPUs that it may use",
		 h->cpu_limit_permille / 1000.0);
	put_part(out, v, spent(v->i, SPEND_RUNNABLE)->ns);
	buf_adds(out, " (throttled for ");
	put_ns(out, h->throttled_ns);
	buf_adds(out, " of the last ");
	put_ns(out, h->throttled_over_ns);
	buf_adds(out, ")");
	put_in_place(out, v, ", at the snapshot in ");
}

bool test_memory(const struct view *v)
{
	const struct host_facts *h = &v->i->scene.host;
	bool full = h->memory_limit_bytes && h->memory_bytes / FULL_PERCENT * 100 >= h->memory_limit_bytes;

	return v->top && v->top->kind == SPEND_WAIT && v->call && !strcmp(v->call, "page fault") && v->i->page_faults &&
	       (full || h->swap_bytes);
}

/* Beyond memory.high the kernel has who asks for a page sleep before it goes on. */
bool test_held_back(const struct view *v)
{
	const struct host_facts *h = &v->i->scene.host;

	return v->top && v->top->kind == SPEND_WAIT && v->call && !strcmp(v->call, "page fault") &&
	       h->memory_high_bytes && h->memory_over && h->memory_bytes / FULL_PERCENT * 100 >= h->memory_high_bytes;
}

void tell_held_back(const struct view *v, struct buf *out)
{
	const struct host_facts *h = &v->i->scene.host;

	put_subject(out, v);
	buf_addf(out,
		 " asked for memory and was held back, since its cgroup has %llu MiB and may have %llu (memory.high)",
		 (unsigned long long)(h->memory_bytes >> 20), (unsigned long long)(h->memory_high_bytes >> 20));
	put_for(out, v);
	put_in_place(out, v, ", in ");
}

void tell_memory(const struct view *v, struct buf *out)
{
	const struct host_facts *h = &v->i->scene.host;

	put_subject(out, v);
	buf_addf(out, " waited for %llu of its pages to be read back into memory",
		 (unsigned long long)v->i->page_faults);
	if (h->memory_limit_bytes)
		buf_addf(out, ", of which its cgroup has %llu of at most %llu MiB",
			 (unsigned long long)(h->memory_bytes >> 20),
			 (unsigned long long)(h->memory_limit_bytes >> 20));
	put_for(out, v);
	put_in_place(out, v, ", in ");
}
