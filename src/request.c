// SPDX-License-Identifier: MIT
/* A copied slot into words. Trap: the kernel may have gone on writing while the copy
 * was made and since the trigger, so every sum is cut to the asked moment, and every
 * index is checked although a kernel program of ours wrote it. */
#include "request.h"

#include "buf.h"
#include "fastcgi.h"
#include "http.h"
#include "ktime.h"
#include "incident_mask.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NUL_SIGN "\xe2\x90\x80" /* U+2400: a NUL itself would end the text, and hide what is behind it */

static void set_span(char **at, struct span span)
{
	const char *end = span.data + span.len, *nul;
	struct buf copy;

	free(*at);
	*at = NULL;
	if (!span.data)
		return;
	buf_init(&copy, sizeof(NUL_SIGN) * (span.len + 1));
	for (const char *p = span.data; p < end; p = nul + 1) {
		nul = memchr(p, '\0', (size_t)(end - p));
		if (nul) {
			buf_add(&copy, p, (size_t)(nul - p));
			buf_adds(&copy, NUL_SIGN);
		} else {
			buf_add(&copy, p, (size_t)(end - p));
			nul = end;
		}
	}
	if (copy.full)
		buf_done(&copy);
	else
		*at = buf_take(&copy);
}

static void set_url(char **at, struct span span)
{
	set_span(at, span);
	if (*at) {
		char *told = mask_url(*at);

		free(*at);
		*at = told;
	}
}

void request_describe(const struct slot *slot, struct request_info *ret_info)
{
	size_t len = MIN(slot->head_len, (uint32_t)SLOT_HEAD);

	ret_info->head_cut = slot->flags & SLOT_HEAD_CUT;
	ret_info->unread_known = slot->unread_ns != UNREAD_UNKNOWN;
	ret_info->unread_ns = ret_info->unread_known ? slot->unread_ns : 0;
	ret_info->start_unknown = slot->flags & SLOT_START_UNKNOWN;
	ret_info->request_bytes = slot->request_bytes;
	ret_info->response_bytes = slot->reply_bytes;
	if (slot->flags & SLOT_FASTCGI) {
		struct fastcgi_head head;

		ret_info->protocol = PROTOCOL_FASTCGI;
		if (fastcgi_head_parse(slot->head, len, &head) < 0)
			return;
		if (!head.complete && len == SLOT_HEAD)
			ret_info->head_cut = true;
		set_span(&ret_info->method, head.method);
		set_url(&ret_info->url, head.uri.data ? head.uri : head.script);
		set_span(&ret_info->host, head.host);
		set_span(&ret_info->user_agent, head.user_agent);
		if (head.remote_addr.data)
			text_setf(&ret_info->client, "%.*s:%.*s", (int)head.remote_addr.len, head.remote_addr.data,
				  (int)head.remote_port.len, head.remote_port.data ? head.remote_port.data : "");
	} else {
		struct http_head head;

		ret_info->protocol = PROTOCOL_HTTP;
		if (http_head_parse(slot->head, len, &head) < 0)
			return;
		set_span(&ret_info->method, head.method);
		set_url(&ret_info->url, head.target);
		set_span(&ret_info->host, head.host);
		set_span(&ret_info->user_agent, head.user_agent);
	}
}

/* 'X-Real-Ip' is the parameter HTTP_X_REAL_IP. */
static struct span fastcgi_header(const uint8_t *bytes, size_t len, struct fastcgi_head *head, const char *name)
{
	char param[256] = "HTTP_";
	size_t n = 5;

	if (fastcgi_head_parse(bytes, len, head) < 0)
		return (struct span){ NULL, 0 };
	for (; *name && n + 1 < sizeof(param); name++)
		param[n++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
	param[n] = '\0';
	return fastcgi_param_find(head, strncmp(param, "HTTP_CONTENT_", 13) ? param : param + 5);
}

char *request_header(const struct slot *slot, const char *name)
{
	size_t len = MIN(slot->head_len, (uint32_t)SLOT_HEAD);
	struct fastcgi_head head;
	char *copy = NULL;

	set_span(&copy, slot->flags & SLOT_FASTCGI ? fastcgi_header(slot->head, len, &head, name)
						   : http_header_find(slot->head, len, name));
	return copy;
}

void request_endpoint(const struct endpoint *at, const uint8_t *path, char *buf, size_t size)
{
	char text[INET6_ADDRSTRLEN];
	size_t len;

	buf[0] = '\0';
	if (at->family == AF_INET || at->family == AF_INET6) {
		if (inet_ntop(at->family, at->addr, text, sizeof(text)))
			snprintf(buf, size, at->family == AF_INET ? "tcp:%s:%u" : "tcp:[%s]:%u", text, at->port);
	} else if (at->family == AF_UNIX && path) {
		bool abstract = path[0] == '\0' && path[1];

		len = strnlen((const char *)path + abstract, UNIX_PATH - abstract);
		snprintf(buf, size, "unix:%s%.*s", abstract ? "@" : "", (int)len, (const char *)path + abstract);
	} else if (at->family == AF_UNIX) {
		snprintf(buf, size, "unix");
	}
}

void request_address(const struct endpoint *at, char *buf, size_t size)
{
	char text[80];

	request_endpoint(at, NULL, text, sizeof(text));
	snprintf(buf, size, "%s", strncmp(text, "tcp:", 4) ? text : text + 4);
}

void request_client(const struct slot *slot, struct request_info *info)
{
	char text[80];

	if (info->client) /* FastCGI says whose request it is */
		return;
	request_address(&slot->client, text, sizeof(text));
	text_set(&info->client, text);
}

const char *request_call(const struct wording *wording, long nr, char *buf, size_t size)
{
	static const char *const stopped[8] = { [-NO_CALL_CAPTURED] = STOPPED "for the capture",
						[-NO_CALL_SIGNALLED] = STOPPED "by a signal",
						[-NO_CALL_TRACED] = STOPPED "by the tracer" };
	const char *name = nr >= 0 ? wording->call(nr) : stopped[-nr & 7] ? stopped[-nr & 7] : "page fault";

	if (name)
		return name;
	snprintf(buf, size, "system call %ld", nr);
	return buf;
}

struct waited request_waited(const struct slot *s, long nr, uint64_t a, unsigned int state, unsigned int object,
			     unsigned int waker)
{
	return (struct waited){
		.nr = nr,
		.a = a,
		.state = state,
		.object = object && object <= SLOT_OBJECTS ? &s->object[object - 1] : NULL,
		.waker = waker && waker <= SLOT_WAKERS ? &s->wakers[waker - 1] : NULL,
	};
}

static void event_words(const struct slot *slot, const struct slot_event *e, const struct wording *wording,
			struct trace_event *t)
{
	struct waited w = request_waited(slot, e->nr, e->a, e->state, e->object, e->waker);
	char buf[256], number[32];
	struct wait_words words;

	switch (e->kind) {
	case EVENT_RECV:
	case EVENT_SEND:
		text_set(&t->kind, e->kind == EVENT_RECV ? "recv" : "send");
		text_set(&t->name, request_call(wording, e->nr, number, sizeof(number)));
		t->bytes = e->a;
		break;
	case EVENT_WAIT:
		text_set(&t->kind, "wait");
		text_set(&t->name, request_call(wording, e->nr, number, sizeof(number)));
		wording->wait(wording->arg, slot, &w, &words);
		if (words.object[0])
			text_set(&t->detail, words.object);
		if (words.waker[0]) {
			t->waker = (pid_t)w.waker->tid;
			text_setf(&t->waker_name, "%.*s", (int)sizeof(w.waker->comm), (const char *)w.waker->comm);
		}
		break;
	case EVENT_HOLDER:
		text_set(&t->kind, "holder");
		text_setf(&t->name, "thread %u took over", e->tid);
		break;
	case EVENT_UPSTREAM:
		text_set(&t->kind, "call");
		buf[0] = '\0';
		if ((s32)e->a == slot->up_fd) /* the latest call: its other end is known */
			request_endpoint(&slot->up, slot->up_path, buf, sizeof(buf));
		text_setf(&t->name, "call to %s", buf[0] ? buf : "another service");
		break;
	case EVENT_REPLY:
		text_set(&t->kind, "head");
		text_setf(&t->name, "response head %u", (unsigned int)e->a);
		break;
	case EVENT_LIMIT:
		text_set(&t->kind, "limit");
		text_setf(&t->name, "limit of %.0f ms passed", (double)e->a / 1e6);
		break;
	default:
		text_set(&t->kind, "event");
		text_setf(&t->name, "event %u", e->kind);
	}
}

static void trace_add(const struct slot *slot, const struct slot_event *e, uint64_t origin_ns,
		      const struct wording *wording, struct incident *incident)
{
	struct trace_event *t = list_add(&incident->trace, &incident->trace_count, sizeof(*t));

	if (!t)
		return;
	t->at_ns = e->at_ns > origin_ns ? e->at_ns - origin_ns : 0;
	t->dur_ns = e->dur_ns;
	t->pid = (pid_t)slot->pid;
	t->tid = (pid_t)e->tid;
	t->count = e->count ? e->count : 1;
	event_words(slot, e, wording, t);
}

/* What stands in a slot's ring of its events, counted from the first that was written. */
static uint32_t ring_from(const struct slot *slot)
{
	return slot->event_count > SLOT_EVENTS ? slot->event_count - (SLOT_EVENTS - SLOT_EVENTS_KEPT)
					       : SLOT_EVENTS_KEPT;
}

static const struct slot_event *event_at(const struct slot *slot, uint32_t n)
{
	if (n >= SLOT_EVENTS_KEPT)
		n = SLOT_EVENTS_KEPT + (n - SLOT_EVENTS_KEPT) % (SLOT_EVENTS - SLOT_EVENTS_KEPT);
	return &slot->event[n];
}

/* A stretch of the trace that nobody has: where it lies, and of how many. */
static void trace_gap(const struct slot *slot, uint32_t count, const struct slot_event *before, uint64_t to_ns,
		      uint64_t origin_ns, struct incident *incident)
{
	uint64_t from_ns = MAX(before->at_ns + (before->count < 2 ? before->dur_ns : 0), origin_ns);
	char name[80];

	incident->losses.events_overwritten += count;
	snprintf(name, sizeof(name), "%u event%s overwritten by later ones", count, count == 1 ? "" : "s");
	request_trace_mark(incident, from_ns - origin_ns, "lost", name, NULL, (pid_t)slot->pid, (pid_t)before->tid);
	if (incident->trace_count && to_ns > from_ns)
		incident->trace[incident->trace_count - 1].dur_ns = to_ns - from_ns;
}

void request_trace(const struct slot *slot, const struct slot *then, uint64_t origin_ns, uint64_t copied_ns,
		   const struct wording *wording, struct incident *incident)
{
	const struct {
		const struct slot *slot;
		uint32_t from, to;
	} part[] = {
		{ slot, 0, MIN(slot->event_count, (uint32_t)SLOT_EVENTS_KEPT) },
		{ then ? then : slot, ring_from(then ? then : slot),
		  then ? MIN(then->event_count, ring_from(slot)) : 0 },
		{ slot, ring_from(slot), slot->event_count },
	};
	const struct slot_event *last = &slot->event[0];
	uint32_t next = 0;

	for (size_t i = 0; i < ARRAY_LEN(part); i++) {
		for (uint32_t n = MAX(part[i].from, next); n < part[i].to; n++) {
			const struct slot_event *e = event_at(part[i].slot, n);

			if (n > next)
				trace_gap(slot, n - next, last, e->at_ns, origin_ns, incident);
			if (e->kind != EVENT_NONE)
				trace_add(part[i].slot, e, origin_ns, wording, incident);
			last = e;
			next = n + 1;
		}
	}
	if ((slot->seg_kind & (SEGMENTS - 1)) == SEGMENT_WAIT && !slot->end_ns && copied_ns > slot->seg_since_ns) {
		struct slot_event going_on = { .at_ns = slot->seg_since_ns,
					       .dur_ns = copied_ns - slot->seg_since_ns,
					       .a = slot->wait_a,
					       .tid = slot->tid,
					       .count = 1,
					       .nr = slot->wait_nr,
					       .kind = EVENT_WAIT,
					       .object = slot->wait_object,
					       .state = slot->wait_state };

		trace_add(slot, &going_on, origin_ns, wording, incident);
	}
}

void request_trace_mark(struct incident *incident, uint64_t at_ns, const char *kind, const char *name,
			const char *detail, pid_t pid, pid_t tid)
{
	struct trace_event *t = list_add(&incident->trace, &incident->trace_count, sizeof(*t));

	if (!t)
		return;
	t->at_ns = at_ns;
	t->count = 1;
	t->pid = pid;
	t->tid = tid;
	text_set(&t->kind, kind);
	text_set(&t->name, name);
	text_set(&t->detail, detail);
}

static int by_time(const void *a, const void *b)
{
	const struct trace_event *x = a, *y = b;

	return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

void request_trace_sort(struct incident *incident)
{
	if (incident->trace_count)
		qsort(incident->trace, incident->trace_count, sizeof(*incident->trace), by_time);
}

void request_trace_clear(struct incident *incident)
{
	for (size_t i = 0; i < incident->trace_count; i++) {
		free(incident->trace[i].kind);
		free(incident->trace[i].name);
		free(incident->trace[i].detail);
		free(incident->trace[i].waker_name);
	}
	free(incident->trace);
	incident->trace = NULL;
	incident->trace_count = 0;
	incident->losses.events_overwritten = 0;
	incident->losses.texts_cut = incident->losses.spans_lost = 0;
}
