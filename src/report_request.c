// SPDX-License-Identifier: MIT
/* The sections about the request itself: what was asked, by which way it came to the
 * process that holds it, where its time went, its trace. */
#include "report_sections.h"

#include "mask.h"
#include "report_spans.h"
#include "report_svg.h"
#include "report_words.h"

#include <string.h>

#define CALLEES_MOST 12
#define UNREAD_LEAST_NS 10000000u

static void draw_outcome(const struct incident *i, struct pen *pen)
{
	struct word took = word_duration(i->time_taken_ns);
	const char *note = i->end_note ? i->end_note : "";

	if (!i->ended)
		page_field(pen, "outcome", "%s", note[0] ? note : "still running when this was written");
	else if (i->status)
		page_field(pen, "outcome", "status %d after %s%s%s", i->status, took.s, note[0] ? "; " : "", note);
	else
		page_field(pen, "outcome", "no status, over after %s%s%s", took.s, note[0] ? "; " : "", note);
}

static void draw_trap(const struct incident *i, struct pen *pen)
{
	struct word at = word_duration(i->elapsed_ns), limit = word_duration(i->limit_ns);
	char told[128] = "";

	if (i->fired_after_ns)
		snprintf(told, sizeof(told), "; reqtrap knew at %s ms", word_ms(i->fired_after_ns).s);
	if (i->reason == REASON_TIME_TAKEN && i->limit_ns && i->limit_server)
		page_field(pen, "trapped",
			   "after %s, while running: the server has had all of it for %s, limit %s (TIME_TAKEN)%s",
			   at.s, word_duration(i->server_ns).s, limit.s, told);
	else if (i->reason == REASON_TIME_TAKEN && i->limit_ns)
		page_field(pen, "trapped", "after %s, while running: limit %s (TIME_TAKEN)%s", at.s, limit.s, told);
	else if (i->reason == REASON_STATUS_CODE && i->status)
		page_field(pen, "trapped", "after %s, at the response's status %d (STATUS_CODE)%s", at.s, i->status,
			   told);
	else if (i->reason == REASON_APP_MARK && i->severity)
		page_field(pen, "trapped", "after %s, at a mark of the application, %s (APP_MARK)%s", at.s,
			   severity_name(i->severity), told);
	else
		page_field(pen, "trapped", "after %s (%s)%s", at.s, reason_name(i->reason), told);
}

/* Ticks of the kernel's clock are no waiting. */
static void draw_unread(const struct incident *i, struct pen *pen)
{
	if (i->request.unread_ns >= UNREAD_LEAST_NS)
		page_field(pen, "before", "waited unread %s: it lay at the socket that long, which is none of its time",
			   word_duration(i->request.unread_ns).s);
}

static void add_list(struct buf *out, char *const *list, const char *between)
{
	for (size_t n = 0; list && list[n]; n++)
		buf_addf(out, "%s%s", n ? between : "", list[n]);
}

static void draw_chain(const struct incident *i, struct pen *pen)
{
	struct buf way;

	if (!i->chain_count)
		return;
	buf_init(&way, PAGE_PARTS_MAX);
	for (size_t n = 0; n < i->chain_count; n++) {
		const struct hop *h = &i->chain[n];

		buf_addf(&way, "%s %d", page_known(h->process), h->pid);
		if (h->tid && h->tid != h->pid)
			buf_addf(&way, " thread %d", h->tid);
		if (n + 1 < i->chain_count)
			buf_addf(&way, " -> %s -> ", h->via ? h->via : "?");
	}
	page_field(pen, "chain", "%s", way.data);
	buf_done(&way);
}

/* Said only where there is more to say than who it is. */
static void draw_doubt(const struct incident *i, struct pen *pen)
{
	const struct holder_facts *h = &i->holder;

	if (h->why)
		page_field(pen, "holder", "%s%s", h->certain ? "" : "not certain: ", h->why);
	for (size_t n = 0; n < h->candidate_count; n++) {
		const struct candidate *c = &h->candidate[n];

		page_field(pen,
			   n		? "or"
			   : h->certain ? "besides"
					: "perhaps",
			   "process %d thread %d, %s", c->pid, c->tid, page_known(c->why));
	}
	if (h->call && h->call_outside)
		page_field(pen, "waits for", "%s, outside: not on this host, or in another network name space",
			   h->call);
	else if (h->call && h->call_pid)
		page_field(pen, "waits for", "%s, process %d", h->call, h->call_pid);
	else if (h->call)
		page_field(pen, "waits for", "%s, on this host: who reads it is not known", h->call);
}

static void draw_process(const struct incident *i, struct pen *pen)
{
	const struct process_facts *p = &i->process;
	const char *language = p->language ? p->language : i->analysis.language;
	struct buf more;

	if (!p->pid)
		return;
	buf_init(&more, PAGE_PARTS_MAX);
	buf_addf(&more, "%s %d", page_known(p->comm), p->pid);
	if (language)
		buf_addf(&more, ", %s", language);
	if (p->thread_count)
		buf_addf(&more, ", %s thread%s", word_count(p->thread_count).s, word_plural(p->thread_count));
	if (p->rss_bytes)
		buf_addf(&more, ", %s in memory", word_bytes(p->rss_bytes).s);
	buf_addf(&more, ", uid %u", p->uid);
	page_field(pen, "process", "%s", more.data);
	buf_done(&more);
	if (p->exe)
		page_field(pen, "program", "%s", p->exe);
	if (p->cmdline && (!p->exe || strcmp(p->cmdline, p->exe)))
		page_field(pen, "command", "%s", p->cmdline);
	if (p->cgroup)
		page_field(pen, "cgroup", "%s", p->cgroup);
}

int section_request(const struct incident *i, struct pen *pen)
{
	const struct request_info *r = &i->request;
	struct buf others;

	pen->section(pen, "REQUEST", NULL);
	page_field(pen, "request", "%s %s", page_known(r->method), page_known(r->url));
	page_field(pen, "host", "%s (%s)", r->host ? r->host : "not named", protocol_name(r->protocol));
	page_field(pen, "client", "%s%s%s", page_known(r->client), r->user_agent ? ", " : "",
		   r->user_agent ? r->user_agent : "");
	page_field(pen, "started", "%s%s%s", word_wall(i->started_wall_ns).s, i->host_name ? " on " : "",
		   i->host_name ? i->host_name : "");
	draw_trap(i, pen);
	draw_unread(i, pen);
	draw_outcome(i, pen);
	page_field(pen, "bytes", "%s in, %s out", word_bytes(r->request_bytes).s, word_bytes(r->response_bytes).s);
	buf_init(&others, PAGE_PARTS_MAX);
	add_list(&others, i->also_matched, ", ");
	page_field(pen, "rule", "%s%s%s", page_known(i->rule), others.len ? "; these would have fired too: " : "",
		   others.len ? others.data : "");
	buf_done(&others);
	draw_chain(i, pen);
	draw_doubt(i, pen);
	draw_process(i, pen);
	return 0;
}

/* Whether the stack can be that of the request. */
static void draw_uri(const struct incident *i, const char *uri, struct pen *pen)
{
	bool masked;
	CLEAN(free) char *url = i->request.url ? mask_value("REQUEST_URI", i->request.url, &masked) : NULL;

	if (!url)
		return;
	if (!strchr(uri, '?')) /* as a module of Apache PHP is not given the query here */
		url[strcspn(url, "?")] = '\0';
	if (!strcmp(url, uri))
		pen->line(pen, "PHP works on the request that was trapped: the URI is the same.");
	else
		pen->warn(pen, "PHP works on another URI than that of the request that was trapped: the stack may be "
			       "another's");
}

int section_variables(const struct incident *i, struct pen *pen)
{
	const struct analysis *a = &i->analysis;
	bool masked = false;
	struct buf empty;

	if (!a->variable_count)
		return 0;
	pen->section(pen, "REQUEST AS PHP SEES IT", NULL); /* no other reader knows it */
	buf_init(&empty, PAGE_PARTS_MAX);
	for (size_t n = 0; n < a->variable_count; n++) {
		const char *name = page_known(a->variable[n].name), *value = a->variable[n].value;
		char *text = NULL;

		masked |= a->variable[n].masked;
		if (!value || !value[0]) {
			buf_addf(&empty, "%s%s", empty.len ? ", " : "", name);
			continue;
		}
		text_setf(&text, "%s = %s", name, value);
		if (text)
			pen->output(pen, page_clip(text), strlen(text));
		free(text);
	}
	if (empty.len)
		page_line(pen, "Empty: %s", empty.data);
	buf_done(&empty);
	if (masked)
		pen->line(pen, "What may be a secret is shown as " MASK ".");
	for (size_t n = 0; n < a->variable_count; n++) {
		if (a->variable[n].name && a->variable[n].value && !strcmp(a->variable[n].name, "REQUEST_URI"))
			draw_uri(i, a->variable[n].value, pen);
	}
	return 0;
}

int section_time(const struct incident *i, struct pen *pen)
{
	struct time_row *rows = NULL;
	bool open = false;
	char note[256];
	size_t count = 0;
	int r = time_rows_make(i, &rows, &count);

	if (r < 0)
		return r;
	snprintf(note, sizeof(note), "%s, from the first byte to the trap", word_duration(i->elapsed_ns).s);
	pen->section(pen, "WHERE THE TIME WENT", note);
	if (!count)
		pen->line(pen, "Not known: the trace has no times of the thread that holds the request.");
	for (size_t n = 0; n < count; n++) {
		pen->time_row(pen, &rows[n]);
		open |= rows[n].open && !rows[n].total;
	}
	if (open)
		pen->line(pen, "* still going on at the trap");
	if (count && rows[count - 1].ns > i->elapsed_ns)
		page_warn(pen, "the parts overlap: they are %s more than the time that passed",
			  word_duration(rows[count - 1].ns - i->elapsed_ns).s);
	if (pen->picture)
		pen->picture(pen, i, svg_timeline, "Timeline");
	time_rows_free(rows, count);
	return 0;
}

/* How many of them are one thread's to one other, and how long they took. */
static void draw_callee(const struct incident *i, const struct call *call, size_t count, struct pen *pen)
{
	CLEAN(free) char *who = thread_name(i, call->tid);
	const struct call *longest = call;
	uint64_t sum_ns = 0;
	char label[80];
	size_t n = 0;

	for (; n < count && call_same(&call[n], call); n++) {
		sum_ns += call[n].end_ns - call[n].at_ns;
		if (call[n].end_ns - call[n].at_ns > longest->end_ns - longest->at_ns)
			longest = &call[n];
	}
	snprintf(label, sizeof(label), "%s call%s", word_count(n).s, word_plural(n));
	if (!sum_ns)
		page_field(pen, label, "%s -> %s: not waited for, from %s ms on", who,
			   call->to ? call->to : "another service", word_ms(call->at_ns).s);
	else if (n == 1)
		page_field(pen, label, "%s -> %s: %s, from %s ms on", who, call->to ? call->to : "another service",
			   word_duration(sum_ns).s, word_ms(call->at_ns).s);
	else
		page_field(pen, label, "%s -> %s: %s together; the longest %s, from %s ms on", who,
			   call->to ? call->to : "another service", word_duration(sum_ns).s,
			   word_duration(longest->end_ns - longest->at_ns).s, word_ms(longest->at_ns).s);
}

/* The twin of the picture's lanes of calls. Nothing where the chain says as much. */
int section_calls(const struct incident *i, struct pen *pen)
{
	struct call *calls = NULL;
	size_t count = 0, shown = 0, left = 0;
	int r = calls_make(i, &calls, &count);

	if (r < 0)
		return r;
	if (count >= MAX(i->chain_count, (size_t)1)) {
		pen->section(pen, "CALLS TO OTHERS", "from the first byte sent to the end of the wait");
		for (size_t n = 0; n < count;) {
			size_t k = n + 1;

			while (k < count && call_same(&calls[k], &calls[n]))
				k++;
			if (shown++ < CALLEES_MOST)
				draw_callee(i, &calls[n], count - n, pen);
			else
				left += k - n;
			n = k;
		}
		if (left)
			page_line(pen, "... %zu more calls: see trace.json", left);
		if (i->losses.events_overwritten)
			pen->line(pen, "Only calls that the trace holds: some of its events were overwritten.");
	}
	calls_free(calls, count);
	return 0;
}

int section_trace(const struct incident *i, struct pen *pen)
{
	struct event_rows rows = { 0 };
	char note[256];
	int r = event_rows_make(i, pen->events_most, &rows);

	if (r < 0)
		return r;
	snprintf(note, sizeof(note), "%s event%s; milliseconds after the first byte", word_count(i->trace_count).s,
		 word_plural(i->trace_count));
	pen->section(pen, "TRACE", note);
	if (!rows.count)
		pen->line(pen, "No events.");
	for (size_t n = 0; n < rows.count; n++)
		pen->event(pen, &rows.row[n]);
	event_rows_free(&rows);
	return 0;
}
