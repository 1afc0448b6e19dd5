// SPDX-License-Identifier: MIT
/* The trace for Perfetto and chrome://tracing: 'X' slices, instants, and the names of
 * processes and threads. Times are microseconds from the first byte. Rejected: async
 * events (viewers nest them badly). Trap: a viewer trusts names, so they are cleaned
 * like every JSON string of ours. */
#include "report.h"

#include "facts.h"

#include <inttypes.h>
#include <string.h>

static void add_us(struct buf *out, const char *key, uint64_t ns)
{
	buf_addf(out, ",\"%s\":%" PRIu64 ".%03u", key, ns / 1000, (unsigned int)(ns % 1000));
}

static void begin(struct buf *out, const char *phase, const char *name, pid_t pid, pid_t tid)
{
	buf_addf(out, ",\n{\"ph\":\"%s\",\"pid\":%d,\"tid\":%d,\"name\":", phase, pid, tid);
	facts_add_string(out, name);
}

static void name_process(struct buf *out, pid_t pid, pid_t tid, const char *name)
{
	begin(out, "M", "process_name", pid, tid);
	buf_adds(out, ",\"args\":{\"name\":");
	facts_add_string(out, name ? name : "unknown");
	buf_adds(out, "}}");
	begin(out, "M", "thread_name", pid, tid);
	buf_adds(out, ",\"args\":{\"name\":");
	facts_add_string(out, name ? name : "unknown");
	buf_adds(out, "}}");
}

static void add_event(struct buf *out, const struct incident *i, const struct trace_event *e)
{
	bool trigger = e->kind && !strcmp(e->kind, "trigger");
	pid_t pid = e->pid ? e->pid : i->holder_pid, tid = e->tid ? e->tid : i->holder_tid;

	begin(out, e->dur_ns ? "X" : "i", e->name ? e->name : e->kind ? e->kind : "?", pid, tid);
	buf_adds(out, ",\"cat\":");
	facts_add_string(out, e->kind ? e->kind : "?");
	add_us(out, "ts", e->at_ns);
	if (e->dur_ns)
		add_us(out, "dur", e->dur_ns);
	else
		buf_addf(out, ",\"s\":\"%s\"", trigger ? "g" : "t");
	buf_addf(out, ",\"args\":{\"count\":%" PRIu64, e->count ? MIN(e->count, (uint64_t)INT64_MAX) : 1);
	if (e->bytes)
		buf_addf(out, ",\"bytes\":%" PRIu64, MIN(e->bytes, (uint64_t)INT64_MAX));
	if (e->waker)
		buf_addf(out, ",\"woken_by\":%d", e->waker);
	if (e->severity)
		buf_addf(out, ",\"severity\":%u", e->severity);
	if (e->detail) {
		buf_adds(out, ",\"detail\":");
		facts_add_string(out, e->detail);
	}
	buf_adds(out, "}}");
}

static void add_request(struct buf *out, const struct incident *i)
{
	char *name = NULL;

	text_setf(&name, "%s %s", i->request.method ? i->request.method : "?", i->request.url ? i->request.url : "?");
	begin(out, "X", name ? name : "request", i->holder_pid, i->holder_tid);
	free(name);
	buf_adds(out, ",\"cat\":\"request\"");
	add_us(out, "ts", 0);
	add_us(out, "dur", i->ended ? i->time_taken_ns : i->elapsed_ns);
	buf_addf(out, ",\"args\":{\"id\":\"%s\",\"status\":%d,\"verdict\":", i->id, i->status);
	facts_add_string(out, i->verdict);
	buf_adds(out, "}}");
}

int report_chrome(const struct incident *incident, struct buf *out, struct err *err)
{
	bool holder_named = false, triggered = false;

	buf_addf(out,
		 "[\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"process_sort_index\",\"args\":{\"sort_index\":0}}",
		 incident->holder_pid, incident->holder_tid);
	for (size_t n = 0; n < incident->chain_count; n++) {
		const struct hop *h = &incident->chain[n];

		name_process(out, h->pid, h->tid ? h->tid : h->pid, h->process);
		holder_named |= h->pid == incident->holder_pid;
	}
	if (!holder_named)
		name_process(out, incident->holder_pid, incident->holder_tid, incident->process.comm);
	add_request(out, incident);
	for (size_t n = 0; n < incident->trace_count; n++) {
		const struct trace_event *e = &incident->trace[n];

		triggered |= e->kind && !strcmp(e->kind, "trigger");
		add_event(out, incident, e);
	}
	if (!triggered) {
		const struct trace_event trigger = { .at_ns = incident->elapsed_ns,
						     .kind = (char *)"trigger",
						     .name = incident->rule };

		add_event(out, incident, &trigger);
	}
	buf_adds(out, "\n]\n");
	return report_done(out, "chrome", err);
}
