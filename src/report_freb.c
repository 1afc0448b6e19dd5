// SPDX-License-Identifier: MIT
/* The trace in the shape of a Failed Request Tracing log, for programs that read those:
 * one failedRequest with an Event each. What has no meaning here (siteId, user names) is
 * there and empty or 0. Rejected: naming a style sheet (there is none beside the file).
 * Trap: XML 1.0 forbids most control characters even as references; add_html leaves
 * none. */
#include "report.h"

#include "ktime.h"
#include "report_words.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define NS_EVENT "http://schemas.microsoft.com/win/2004/08/events/event"
#define NS_FREB "http://schemas.microsoft.com/win/2006/06/iis/freb"
#define LEVEL_INFORMATION 4

static void add_text(struct buf *out, const char *text)
{
	if (text)
		add_html(out, text, strlen(text));
}

static void add_attribute(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "\n  %s=\"", name);
	add_text(out, value);
	buf_adds(out, "\"");
}

static void add_data(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(out, "  <Data Name=\"%s\">", name);
	add_text(out, value);
	buf_adds(out, "</Data>\n");
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
	buf_addf(out, "  <Data Name=\"%s\">%" PRIu64 "</Data>\n", name, value);
}

static void add_activity(struct buf *out, const struct incident *i)
{
	buf_addf(out, "{00000000-0000-0000-0000-%s}", i->id);
}

struct event {
	const char *name;
	uint64_t at_ns;
	uint32_t level;
	pid_t pid, tid;
};

static void begin_event(struct buf *out, const struct incident *i, const struct event *e)
{
	uint64_t wall = i->started_wall_ns + e->at_ns;
	time_t seconds = (time_t)(wall / NSEC_PER_SEC);
	char when[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(out,
		 " <Event xmlns=\"" NS_EVENT "\">\n  <System><Provider Name=\"reqtrap\"/><EventID>0</EventID>"
		 "<Version>0</Version><Level>%u</Level><Opcode>0</Opcode><Keywords>0x0</Keywords>\n"
		 "   <TimeCreated SystemTime=\"%s.%09" PRIu64 "Z\"/><Correlation ActivityID=\"",
		 e->level, when, (uint64_t)(wall % NSEC_PER_SEC));
	add_activity(out, i);
	buf_addf(out, "\"/><Execution ProcessID=\"%d\" ThreadID=\"%d\"/><Computer>", e->pid ? e->pid : i->holder_pid,
		 e->tid ? e->tid : i->holder_tid);
	add_text(out, i->host_name);
	buf_adds(out, "</Computer></System>\n  <EventData>\n");
}

/* 'socket read' as 'SOCKET_READ': an opcode is one word. */
static void end_event(struct buf *out, const struct event *e)
{
	buf_adds(out, "  </EventData>\n  <RenderingInfo Culture=\"en-US\"><Opcode>");
	for (const char *p = e->name; *p; p++) {
		char c =
			isalnum((unsigned char)*p) && (unsigned char)*p < 0x80 ? (char)toupper((unsigned char)*p) : '_';

		buf_add(out, &c, 1);
	}
	buf_adds(out, "</Opcode></RenderingInfo>\n </Event>\n");
}

static const char *pool_of(const struct incident *i)
{
	return i->scene.pool.name ? i->scene.pool.name : i->process.comm;
}

static void add_start(struct buf *out, const struct incident *i)
{
	struct event e = { .name = "GENERAL_REQUEST_START" };

	if (i->chain_count) {
		e.pid = i->chain[0].pid;
		e.tid = i->chain[0].tid ? i->chain[0].tid : i->chain[0].pid;
	}
	begin_event(out, i, &e);
	add_data(out, "SiteId", "0");
	add_data(out, "AppPoolId", pool_of(i));
	add_data(out, "RequestURL", i->request.url);
	add_data(out, "RequestVerb", i->request.method);
	end_event(out, &e);
}

static void add_end(struct buf *out, const struct incident *i)
{
	struct event e = { .name = "GENERAL_REQUEST_END", .at_ns = i->time_taken_ns };

	if (!i->ended)
		return;
	begin_event(out, i, &e);
	add_number(out, "BytesSent", i->request.response_bytes);
	add_number(out, "BytesReceived", i->request.request_bytes);
	buf_addf(out, "  <Data Name=\"HttpStatus\">%d</Data>\n", i->status);
	add_data(out, "HttpSubStatus", "0");
	end_event(out, &e);
}

static void add_event(struct buf *out, const struct incident *i, const struct trace_event *t)
{
	struct event e = { .name = t->kind && t->kind[0] ? t->kind : "EVENT",
			   .at_ns = t->at_ns,
			   .level = t->severity ? t->severity : LEVEL_INFORMATION,
			   .pid = t->pid,
			   .tid = t->tid };

	begin_event(out, i, &e);
	add_data(out, "Name", t->name);
	add_data(out, "Detail", t->detail);
	if (t->dur_ns)
		add_data(out, "DurationMs", word_ms(t->dur_ns).s);
	if (t->bytes)
		add_number(out, "Bytes", t->bytes);
	if (t->count > 1)
		add_number(out, "Count", t->count);
	if (t->waker) {
		add_number(out, "WokenBy", (uint64_t)t->waker);
		add_data(out, "WokenByName", t->waker_name);
	}
	end_event(out, &e);
}

static void add_verdict(struct buf *out, const struct incident *i)
{
	struct event e = { .name = "VERDICT", .at_ns = i->elapsed_ns, .level = 2 };

	if (!i->verdict)
		return;
	begin_event(out, i, &e);
	add_data(out, "Verdict", i->verdict);
	add_data(out, "Confidence", i->confidence);
	for (size_t n = 0; i->evidence && i->evidence[n]; n++)
		add_data(out, "Evidence", i->evidence[n]);
	add_data(out, "Advice", i->advice);
	end_event(out, &e);
}

static void add_root(struct buf *out, const struct incident *i)
{
	CLEAN(free) char *url = NULL, *user = NULL;

	text_setf(&url, "%s%s%s", i->request.host ? "http://" : "", i->request.host ? i->request.host : "",
		  i->request.url ? i->request.url : "");
	text_setf(&user, "uid %u", i->process.uid);
	buf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<failedRequest");
	add_attribute(out, "url", url);
	add_attribute(out, "siteId", "0");
	add_attribute(out, "appPoolId", pool_of(i));
	buf_addf(out, "\n  processId=\"%d\"", i->holder_pid);
	add_attribute(out, "verb", i->request.method);
	add_attribute(out, "remoteUserName", "");
	add_attribute(out, "userName", "");
	add_attribute(out, "tokenUserName", user);
	add_attribute(out, "authenticationType", "");
	buf_adds(out, "\n  activityId=\"");
	add_activity(out, i);
	buf_addf(out,
		 "\"\n  failureReason=\"%s\"\n  statusCode=\"%d\"\n  triggerStatusCode=\"%d\"\n  timeTaken=\"%" PRIu64
		 "\"\n"
		 "  xmlns:freb=\"" NS_FREB "\">\n",
		 reason_name(i->reason), i->status, i->reason == REASON_STATUS_CODE ? i->status : 0,
		 (uint64_t)((i->ended ? i->time_taken_ns : i->elapsed_ns) / NSEC_PER_MSEC));
}

int report_freb(const struct incident *incident, struct buf *out, struct err *err)
{
	add_root(out, incident);
	add_start(out, incident);
	for (size_t n = 0; n < incident->trace_count; n++)
		add_event(out, incident, &incident->trace[n]);
	add_verdict(out, incident);
	add_end(out, incident);
	buf_adds(out, "</failedRequest>\n");
	return report_done(out, "freb", err);
}
