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
		page_field(pen, "workers", "%s, %s %s", word_count(p->workers).s,
			   p->busy < p->workers ? word_count(p->busy).s
			   : p->workers > 1	? "all"
						: "it is",
			   i->rule ? "at a request that is known" : "not waiting for work");
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
	if (h->memory_high_bytes)
		page_field(pen, "held back",
			   "beyond %s of memory, its cgroup has %s; %s time%s over, %s of the last %s stalled",
			   word_bytes(h->memory_high_bytes).s, word_bytes(h->memory_bytes).s,
			   word_count(h->memory_over).s, word_plural(h->memory_over),
			   word_duration(h->memory_stalled_ns).s, word_duration(h->throttled_over_ns).s);
	if (h->swap_bytes)
		page_field(pen, "swapped", "%s of the process", word_bytes(h->swap_bytes).s);
	if (h->oom_kills)
		page_warn(pen, "processes of its cgroup killed for want of memory since the watch began: %s",
			  word_count(h->oom_kills).s);
	for (char *const *note = i->scene.note; note && *note; note++)
		page_warn(pen, "%s", *note);
	return 0;
}

struct top {
	pid_t tid;
	const char *comm;
	const struct thread *thread; /* NULL: not of the first look */
	uint64_t cpu_ns, over_ns;
};

static unsigned int share(const struct top *t)
{
	return t->over_ns ? (unsigned int)(t->cpu_ns * 1000 / t->over_ns) : 0;
}

static int most_first(const void *a, const void *b)
{
	const struct top *x = a, *y = b;

	return x->cpu_ns < y->cpu_ns ? 1 : x->cpu_ns > y->cpu_ns ? -1 : x->tid - y->tid;
}

/* Where there were later looks: until the last of them. */
static struct top *top_make(const struct incident *i, size_t *ret_count, bool *ret_looks)
{
	const struct analysis *a = &i->analysis;
	struct top *top = calloc(a->thread_count + i->thread_use_count + 1, sizeof(*top));
	bool over = false;
	size_t count = 0;

	for (size_t n = 0; top && n < i->thread_use_count; n++) {
		const struct thread_use *u = &i->thread_use[n];

		over |= u->over_ns != 0;
		top[count++] = (struct top){ u->tid, u->comm, NULL, u->cpu_ns, u->over_ns };
	}
	if (!over)
		count = 0;
	for (size_t n = 0; top && !over && n < a->thread_count; n++) {
		const struct thread *t = &a->thread[n];

		top[count++] = (struct top){ t->tid, t->comm, NULL, t->cpu_ns, t->cpu_over_ns };
	}
	if (top)
		qsort(top, count, sizeof(*top), most_first);
	for (size_t n = 0; top && n < a->thread_count; n++) {
		for (size_t k = 0; k < MIN(count, (size_t)TOP_THREADS); k++) {
			if (top[k].tid == a->thread[n].tid)
				top[k].thread = &a->thread[n];
		}
	}
	*ret_count = count;
	*ret_looks = over;
	return top;
}

int section_cpu(const struct incident *i, struct pen *pen)
{
	size_t count = 0;
	bool looks;
	CLEAN(free) struct top *top = top_make(i, &count, &looks);
	char note[128];

	if (!top)
		return -ENOMEM;
	for (size_t n = 0; n < MIN(count, (size_t)TOP_THREADS) && share(&top[n]) >= TOP_LEAST; n++) {
		const struct top *t = &top[n];
		struct buf out;

		if (!n) {
			snprintf(note, sizeof(note), "in %s %s; per cent of one CPU", word_duration(t->over_ns).s,
				 looks ? "from the first look to the last" : "around the capture");
			pen->section(pen, "TOP CPU", note);
		}
		buf_init(&out, PAGE_PARTS_MAX);
		if (t->thread)
			page_doing(t->thread, &out);
		page_field(pen, word_percent(share(t)).s, "%s %d%s%s%s", page_known(t->comm), t->tid,
			   t->thread && t->thread->holder ? " (this request)" : "", out.len ? ", " : "",
			   out.len ? out.data : "");
		buf_done(&out);
	}
	return 0;
}
