// SPDX-License-Identifier: MIT
/* A copied slot into words. Trap: the kernel may have gone on writing while the copy
 * was made and since the trigger, so every sum is cut to the asked moment, and every
 * index is checked although a kernel program of ours wrote it. */
#include "request.h"

#include "fastcgi.h"
#include "http.h"
#include "ktime.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void set_span(char **at, struct span span)
{
	char *copy = span.data ? strndup(span.data, span.len) : NULL;

	free(*at);
	*at = copy;
}

void request_describe(const struct slot *slot, struct request_info *ret_info)
{
	size_t len = MIN(slot->head_len, (uint32_t)SLOT_HEAD);

	ret_info->head_cut = slot->flags & SLOT_HEAD_CUT;
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
		set_span(&ret_info->url, head.uri.data ? head.uri : head.script);
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
		set_span(&ret_info->url, head.target);
		set_span(&ret_info->host, head.host);
		set_span(&ret_info->user_agent, head.user_agent);
	}
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

static const char *call_name(const struct wording *wording, long nr, char *buf, size_t size)
{
	const char *name = nr == NO_CALL_STOPPED ? "stopped for the capture"
			   : nr < 0		 ? "page fault"
						 : wording->call(nr);

	if (name)
		return name;
	snprintf(buf, size, "system call %ld", nr);
	return buf;
}

/* Indexes out of the slot are checked, whoever wrote them. */
static struct waited waited_of(const struct slot *s, long nr, uint64_t a, unsigned int state, unsigned int object,
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
	struct waited w = waited_of(slot, e->nr, e->a, e->state, e->object, e->waker);
	char buf[256], number[32];
	struct wait_words words;

	switch (e->kind) {
	case EVENT_RECV:
	case EVENT_SEND:
		text_set(&t->kind, e->kind == EVENT_RECV ? "recv" : "send");
		text_set(&t->name, call_name(wording, e->nr, number, sizeof(number)));
		t->bytes = e->a;
		break;
	case EVENT_WAIT:
		text_set(&t->kind, "wait");
		text_set(&t->name, call_name(wording, e->nr, number, sizeof(number)));
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

void request_trace(const struct slot *slot, uint64_t origin_ns, uint64_t copied_ns, const struct wording *wording,
		   struct incident *incident)
{
	uint32_t total = slot->event_count, kept = MIN(total, (uint32_t)SLOT_EVENTS);

	if (total > SLOT_EVENTS)
		incident->losses.events_overwritten += total - SLOT_EVENTS;
	for (uint32_t i = 0; i < kept; i++) {
		if (slot->event[i].kind != EVENT_NONE)
			trace_add(slot, &slot->event[i], origin_ns, wording, incident);
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
}

static struct spending *spend(struct incident *incident, enum spend kind, const char *call, const char *object,
			      uint64_t ns, uint64_t count)
{
	struct spending *s;

	for (size_t i = 0; i < incident->spending_count; i++) {
		s = &incident->spending[i];
		if (s->kind == kind && !strcmp(s->call ? s->call : "", call ? call : "") &&
		    !strcmp(s->object ? s->object : "", object ? object : "")) {
			s->ns += ns;
			s->count += count;
			return s;
		}
	}
	s = list_add(&incident->spending, &incident->spending_count, sizeof(*s));
	if (!s)
		return NULL;
	s->kind = kind;
	s->ns = ns;
	s->count = count;
	text_set(&s->call, call);
	text_set(&s->object, object && *object ? object : NULL);
	return s;
}

static int by_size(const void *a, const void *b)
{
	const struct spending *x = a, *y = b;

	return x->ns > y->ns ? -1 : x->ns < y->ns;
}

/* The segment that was going on when the copy was made, cut to 'until'. */
static void close_segment(struct slot *s, uint64_t until_ns, uint64_t copied_ns, uint64_t *ret_open_ns)
{
	uint64_t end = s->end_ns && s->end_ns < copied_ns ? s->end_ns : copied_ns, excess, open;
	uint32_t kind = s->seg_kind & (SEGMENTS - 1);

	open = end > s->seg_since_ns && !s->end_ns ? end - s->seg_since_ns : 0;
	s->acc[kind] += open;
	/* What happened between the trigger and the copy does not belong to it. */
	excess = end > until_ns ? end - until_ns : 0;
	for (int pass = 0; pass < 2 && excess; pass++) {
		for (uint32_t i = 0; i < SEGMENTS && excess; i++) {
			uint64_t cut = MIN(excess, s->acc[i]);

			if ((pass == 0) != (i == kind))
				continue;
			s->acc[i] -= cut;
			excess -= cut;
			if (i == kind)
				open = open > cut ? open - cut : 0;
		}
	}
	*ret_open_ns = open;
}

static void spend_wait(const struct slot *s, const struct waited *w, uint64_t ns, uint64_t count, bool open,
		       const struct wording *wording, struct incident *incident)
{
	struct wait_words words;
	struct spending *row;
	char number[32];

	if (!ns)
		return;
	wording->wait(wording->arg, s, w, &words);
	row = spend(incident, SPEND_WAIT, call_name(wording, w->nr, number, sizeof(number)), words.object, ns, count);
	if (!row)
		return;
	row->open |= open;
	text_set(&row->what, words.kind);
	if (words.peer[0])
		text_set(&row->peer, words.peer);
	if (words.waker[0])
		text_set(&row->waker, words.waker);
}

static void spend_waits(const struct slot *s, uint64_t open_ns, const struct wording *wording,
			struct incident *incident)
{
	uint64_t named = 0, total = s->acc[SEGMENT_WAIT];
	uint32_t kept = MIN(s->sum_count, (uint32_t)SLOT_SUMS - 1);

	if ((s->seg_kind & (SEGMENTS - 1)) == SEGMENT_WAIT && open_ns) {
		struct waited w = waited_of(s, s->wait_nr, s->wait_a, s->wait_state, s->wait_object, 0);

		named = MIN(open_ns, total);
		spend_wait(s, &w, named, 1, true, wording, incident);
	}
	for (uint32_t i = 0; i < kept; i++) {
		const struct slot_sum *sum = &s->sum[i];
		struct waited w = waited_of(s, sum->nr, sum->a, sum->state, sum->object, sum->waker);
		uint64_t ns = MIN(sum->ns, total - named);

		spend_wait(s, &w, ns, sum->count, false, wording, incident);
		named += ns;
	}
	/* More different waits than are added up one by one. */
	if (total > named)
		spend(incident, SPEND_WAIT, NULL, "in waits that are not listed one by one", total - named, 1);
}

/* The kernel's ticks give the proportion, the switches between threads the sum. */
#define TICKS_ENOUGH_NS (20 * NSEC_PER_MSEC)

static void split_cpu(const struct slot *s, struct spending *cpu)
{
	uint64_t user = s->user_ns, kernel = s->kernel_ns;

	if (s->task) {
		user += s->user_seen - s->user_from;
		kernel += s->kernel_seen - s->kernel_from;
	}
	if (user + kernel < TICKS_ENOUGH_NS || user + kernel < user)
		return;
	cpu->kernel_ns = (uint64_t)((double)cpu->ns * (double)kernel / (double)(user + kernel));
	cpu->user_ns = cpu->ns - MIN(cpu->kernel_ns, cpu->ns);
}

void request_spending(const struct slot *outer, const struct slot *holder, uint64_t until_ns, uint64_t copied_ns,
		      const struct wording *wording, struct incident *incident)
{
	struct slot s = *holder;
	struct spending *cpu;
	uint64_t whole = until_ns > outer->begin_ns ? until_ns - outer->begin_ns : 0, sum = 0, open_ns, before;

	if (outer != holder && s.begin_ns > outer->begin_ns) {
		before = MIN(s.begin_ns - outer->begin_ns, whole);
		spend(incident, SPEND_WAIT, NULL, "before the holder got the request", before, 1);
		sum += before;
	}
	close_segment(&s, until_ns, copied_ns, &open_ns);
	if (s.acc[SEGMENT_CPU])
		cpu = spend(incident, SPEND_CPU, NULL, NULL, s.acc[SEGMENT_CPU], 1);
	else
		cpu = NULL;
	if (cpu) {
		cpu->open = s.seg_kind == SEGMENT_CPU && open_ns;
		split_cpu(&s, cpu);
	}
	incident->page_faults = s.faults + (s.task ? s.faults_seen - s.faults_from : 0);
	if (s.acc[SEGMENT_RUNNABLE])
		spend(incident, SPEND_RUNNABLE, NULL, NULL, s.acc[SEGMENT_RUNNABLE], 1);
	spend_waits(&s, open_ns, wording, incident);
	sum += s.acc[SEGMENT_CPU] + s.acc[SEGMENT_RUNNABLE] + s.acc[SEGMENT_WAIT];
	if (whole > sum)
		spend(incident, SPEND_UNATTRIBUTED, NULL, NULL, whole - sum, 1);
	if (incident->spending_count)
		qsort(incident->spending, incident->spending_count, sizeof(*incident->spending), by_size);
}
