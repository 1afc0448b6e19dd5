// SPDX-License-Identifier: MIT
/* The sections about what stood around the holder: its descriptors, its pool, its host, and
 * which threads use CPU. */
#include "report_sections.h"

#include "report_words.h"

#include <string.h>

#define TOP_THREADS 5
#define TOP_LEAST 10 /* permille of a CPU */

int section_ends(const struct incident *i, struct pen *pen)
{
	const struct scene *s = &i->scene;
	char note[128];

	if (!s->end_count)
		return 0;
	snprintf(note, sizeof(note), "of process %d, when its stacks had been read", i->holder_pid);
	pen->section(pen, "SOCKETS AND PIPES", note);
	for (size_t n = 0; n < s->end_count; n++) {
		const struct open_end *e = &s->end[n];
		struct buf out;

		buf_init(&out, PAGE_PARTS_MAX);
		buf_addf(&out, "%s", page_known(e->what));
		if (e->protocol)
			buf_addf(&out, " (%s)", e->protocol);
		if (e->peer)
			buf_addf(&out, ", %s", e->peer);
		if (e->peer_request)
			buf_addf(&out, " at %s", e->peer_request);
		if (e->unaccepted)
			buf_adds(&out, ", not accepted yet");
		if (e->recv_queue)
			buf_addf(&out, ", %s unread", word_bytes(e->recv_queue).s);
		if (e->send_queue)
			buf_addf(&out, ", %s not taken", word_bytes(e->send_queue).s);
		buf_adds(&out, e->mine ? "  <- this request" : "");
		buf_adds(&out, e->waited ? "  <- waited for" : "");
		page_field(pen, word_fd(e->fd).s, "%s", out.data ? out.data : "");
		buf_done(&out);
		if (e->statement)
			page_field(pen, "", "%s", e->statement);
	}
	return 0;
}

int section_pool(const struct incident *i, struct pen *pen)
{
	const struct pool *p = &i->scene.pool;

	if (!p->listen)
		return 0;
	pen->section(pen, p->called ? "THE SERVICE CALLED" : "POOL", p->name);
	page_field(pen, "listens", "%s", p->listen);
	if (p->backlog)
		page_field(pen, "queue", "%s connection%s not accepted yet, %s may be", word_count(p->queue).s,
			   word_plural(p->queue), word_count(p->backlog).s);
	if (p->workers)
		page_field(pen, "workers", "%s, %s at a request that is known", word_count(p->workers).s,
			   p->busy == p->workers ? "all" : word_count(p->busy).s);
	for (size_t n = 0; n < MIN(p->group_count, pen->groups_most); n++) {
		const struct pool_group *g = &p->group[n];

		page_field(pen, word_count(g->count).s, "%s%s%s%s", page_known(g->what), g->place ? " (" : "",
			   g->place ? g->place : "", g->place ? ")" : "");
	}
	if (p->group_count > pen->groups_most)
		page_line(pen, "... %zu more groups: see incident.json", p->group_count - pen->groups_most);
	return 0;
}

static void add_pressure(struct buf *out, const char *what, uint32_t some)
{
	if (some != HOST_UNKNOWN)
		buf_addf(out, "%s%s %.2f %%", out->len ? ", " : "", what, some / 100.0);
}

int section_host(const struct incident *i, struct pen *pen)
{
	const struct host_facts *h = &i->scene.host;
	struct buf out;

	if (!h->cpus)
		return 0;
	pen->section(pen, "HOST", NULL);
	page_field(pen, "load", "%.2f on %s CPU%s", h->load_permille / 1000.0, word_count(h->cpus).s,
		   word_plural(h->cpus));
	buf_init(&out, PAGE_PARTS_MAX);
	add_pressure(&out, "CPU", h->cpu_some);
	add_pressure(&out, "memory", h->memory_some);
	add_pressure(&out, "I/O", h->io_some);
	if (out.len)
		page_field(pen, "pressure", "%s of 10 s: some task waited for it", out.data);
	buf_done(&out);
	if (h->cpu_limit_permille && h->throttled_over_ns)
		page_field(pen, "CPU limit", "%.2f CPUs for its cgroup; throttled for %s of the last %s",
			   h->cpu_limit_permille / 1000.0, word_duration(h->throttled_ns).s,
			   word_duration(h->throttled_over_ns).s);
	else if (h->cpu_limit_permille)
		page_field(pen, "CPU limit", "%.2f CPUs for its cgroup", h->cpu_limit_permille / 1000.0);
	if (h->memory_limit_bytes)
		page_field(pen, "memory", "%s of %s that its cgroup may have", word_bytes(h->memory_bytes).s,
			   word_bytes(h->memory_limit_bytes).s);
	if (h->swap_bytes)
		page_field(pen, "swapped", "%s of the process", word_bytes(h->swap_bytes).s);
	if (h->oom_kills)
		page_warn(pen, "processes of its cgroup killed for want of memory since the watch began: %s",
			  word_count(h->oom_kills).s);
	for (char *const *note = i->scene.note; note && *note; note++)
		page_warn(pen, "%s", *note);
	return 0;
}

static unsigned int share(const struct thread *t)
{
	return t->cpu_over_ns ? (unsigned int)(t->cpu_ns * 1000 / t->cpu_over_ns) : 0;
}

static int most_first(const void *a, const void *b)
{
	const struct thread *const *x = a, *const *y = b;

	return (*x)->cpu_ns < (*y)->cpu_ns ? 1 : (*x)->cpu_ns > (*y)->cpu_ns ? -1 : (*x)->tid - (*y)->tid;
}

int section_cpu(const struct incident *i, struct pen *pen)
{
	size_t count = i->analysis.thread_count, shown = 0;
	CLEAN(free) const struct thread **top = calloc(count + 1, sizeof(const struct thread *));
	char note[128];

	if (!top)
		return -ENOMEM;
	for (size_t n = 0; n < count; n++)
		top[n] = &i->analysis.thread[n];
	qsort(top, count, sizeof(*top), most_first);
	for (; shown < MIN(count, (size_t)TOP_THREADS) && share(top[shown]) >= TOP_LEAST; shown++) {
		const struct thread *t = top[shown];
		struct buf out;

		if (!shown) {
			snprintf(note, sizeof(note), "in %s around the capture; per cent of one CPU",
				 word_duration(t->cpu_over_ns).s);
			pen->section(pen, "TOP CPU", note);
		}
		buf_init(&out, PAGE_PARTS_MAX);
		page_doing(t, &out);
		page_field(pen, word_percent(share(t)).s, "%s %d%s, %s", page_known(t->comm), t->tid,
			   t->holder ? " (this request)" : "", out.data ? out.data : "");
		buf_done(&out);
	}
	return 0;
}
