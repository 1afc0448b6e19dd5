// SPDX-License-Identifier: MIT
/* Two looks: a short one at every slot, whose cost is all that 10,000 requests cost,
 * and a long one at those that somebody is going to read. Rejected: copying all slots
 * (80 MB a second) and a record of the kernel at each change (that is a wake-up per
 * request). Trap: an event loop's thread is in epoll for all of its requests, so what
 * one of them waits for is its own open call, not the thread's. */
#include "flight.h"

#include "incident.h"
#include "ktime.h"
#include "proc.h"
#include "request.h"
#include "waits.h"

#include <string.h>

static int by_age(const void *a, const void *b)
{
	const struct flight_request *x = a, *y = b;

	return x->outer.begin_ns < y->outer.begin_ns ? -1 : x->outer.begin_ns > y->outer.begin_ns;
}

/* Of the calls that a request makes, the oldest that is still being answered. */
static void note_child(const struct tracer_brief *brief, const struct tracer_brief *child, uint32_t *child_of)
{
	uint32_t parent = child->parent_slot, old = child_of[parent];

	if (old == SLOT_NONE || brief[old].begin_ns > child->begin_ns)
		child_of[parent] = child->slot;
}

static bool has_parent(const struct tracer_brief *brief, size_t slots, const struct tracer_brief *b)
{
	return b->parent_gen && b->parent_slot < slots && brief[b->parent_slot].gen == b->parent_gen;
}

static int sort_out(const struct tracer_brief *brief, size_t slots, struct flight *flight)
{
	CLEAN(free) uint32_t *child_of = malloc(slots * sizeof(*child_of));

	if (!child_of)
		return -ENOMEM;
	memset(child_of, 0xff, slots * sizeof(*child_of));
	for (size_t i = 0; i < slots; i++) {
		if (brief[i].gen && has_parent(brief, slots, &brief[i])) {
			note_child(brief, &brief[i], child_of);
			flight->inner++;
		}
	}
	for (size_t i = 0; i < slots; i++) {
		struct flight_request *r;
		uint32_t at = (uint32_t)i;

		if (!brief[i].gen || has_parent(brief, slots, &brief[i]))
			continue;
		r = &flight->request[flight->count++];
		r->outer = brief[i];
		for (r->hops = 0; child_of[at] != SLOT_NONE && r->hops < FLIGHT_HOPS; r->hops++)
			at = child_of[at];
		r->holder = brief[at];
	}
	return 0;
}

int flight_take(struct tracer *tracer, struct flight *ret_flight)
{
	size_t slots = tracer_slots(tracer), taken = 0;
	CLEAN(free) struct tracer_brief *brief = calloc(slots, sizeof(*brief));
	struct flight flight = { .when_ns = now_ns() };
	int r;

	if (!brief)
		return -ENOMEM;
	for (uint32_t i = 0; i < slots; i++) {
		struct tracer_brief b;
		enum tracer_look look = tracer_brief(tracer, i, &b);

		if (look == LOOK_TAKEN) {
			brief[i] = b;
			taken++;
		}
		flight.torn += look == LOOK_TORN;
	}
	flight.request = calloc(taken ? taken : 1, sizeof(*flight.request));
	r = flight.request ? sort_out(brief, slots, &flight) : -ENOMEM;
	if (r < 0) {
		flight_done(&flight);
		return r;
	}
	qsort(flight.request, flight.count, sizeof(*flight.request), by_age);
	*ret_flight = flight;
	return 0;
}

void flight_done(struct flight *flight)
{
	free(flight->request);
	*flight = (struct flight){ 0 };
}

/* ---- what the thread does ---- */

/* 'tcp A -> B' is told as the endpoint B, as in 'socket to tcp:B'. */
static void name_fd(const struct slot *slot, int fd, struct flight_state *state)
{
	static const struct {
		const char *begins, *word;
	} kinds[] = {
		{ "tcp", "socket" },	{ "unix", "socket" }, { "udp", "socket" },
		{ "socket", "socket" }, { "pipe", "pipe" },   { "file", "file" },
	};
	const char *arrow;
	char text[sizeof(state->on) - 4];
	CLEAN(fd) int dir_fd = -1;

	if (fd == slot->fd) {
		state->word = "client";
		request_endpoint(&slot->client, NULL, state->on, sizeof(state->on));
		return;
	}
	if (fd == slot->up_fd && slot->up.family) {
		state->word = "socket";
		request_endpoint(&slot->up, slot->up_path, state->on, sizeof(state->on));
		return;
	}
	dir_fd = proc_dir_open((pid_t)slot->pid);
	if (dir_fd < 0 || fd_describe(dir_fd, fd, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "fd %d", fd);
	state->word = "wait";
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!strncmp(text, kinds[i].begins, strlen(kinds[i].begins)))
			state->word = kinds[i].word;
	}
	arrow = strncmp(text, "tcp ", 4) ? NULL : strstr(text, " -> ");
	snprintf(state->on, sizeof(state->on), "%s%s", arrow ? "tcp:" : "", arrow ? arrow + 4 : text);
}

/* An event loop that has called somebody else waits for the answer. */
static bool waits_for_call(const struct slot *slot, struct flight_state *state)
{
	if (!slot->up_waiting)
		return false;
	state->word = "socket";
	request_endpoint(&slot->up, slot->up_path, state->on, sizeof(state->on));
	return true;
}

static void name_wait(const struct slot *slot, struct flight_state *state)
{
	static const char *const words[] = {
		[WAIT_NONE] = "wait",	   [WAIT_SLEEP] = "sleep", [WAIT_FUTEX] = "lock",  [WAIT_FD] = "wait",
		[WAIT_POLL] = "poll",	   [WAIT_EVENTS] = "poll", [WAIT_CHILD] = "child", [WAIT_SIGNAL] = "signal",
		[WAIT_FILE_LOCK] = "lock", [WAIT_DISK] = "disk",   [WAIT_IPC] = "ipc",
	};
	static const char *const on[8] = { [-NO_CALL_FAULT] = "a page of memory",
					   [-NO_CALL_SIGNALLED] = "by a signal",
					   [-NO_CALL_TRACED] = "by a tracer" };
	uint64_t args[6] = { slot->wait_a, 0, 0, 0, 0, 0 };
	struct wait wait;

	if (slot->wait_nr < 0) {
		state->word = slot->wait_nr == NO_CALL_FAULT ? "fault" : "stopped";
		snprintf(state->on, sizeof(state->on), "%s", on[-slot->wait_nr & 7] ? on[-slot->wait_nr & 7] : "");
	} else {
		state->call = syscall_name(slot->wait_nr);
		wait_describe(NULL, slot->wait_nr, args, &wait);
		state->word = words[wait.kind];
		if ((wait.kind == WAIT_POLL || wait.kind == WAIT_EVENTS) && waits_for_call(slot, state))
			return;
		if (wait.kind == WAIT_FUTEX)
			snprintf(state->on, sizeof(state->on), "futex 0x%llx", (unsigned long long)slot->wait_a);
		if (wait.kind == WAIT_FD || wait.kind == WAIT_FILE_LOCK || (wait.kind == WAIT_DISK && wait.fd >= 0)) {
			const char *word = state->word;

			name_fd(slot, (int)slot->wait_a, state);
			if (wait.kind != WAIT_FD)
				state->word = word;
		}
	}
	if (slot->wait_state & WAIT_DEEP &&
	    (!strcmp(state->word, "wait") || !strcmp(state->word, "file") || !strcmp(state->word, "fault")))
		state->word = "disk";
}

/* Its thread has turned away. An event loop is in its poll, at another request, or back from
 * its poll without a byte of any moved. */
static void name_away(struct tracer *tracer, const struct slot *slot, struct flight_state *state)
{
	bool parked = slot->seg_kind == SEGMENT_PARKED;
	struct loop loop;

	if (tracer_loop(tracer, slot->loop, &loop) && loop.tid == slot->tid) {
		parked = loop.idle_since_ns;
		state->word = loop.gen ? "behind" : "loop";
	} else {
		state->word = "behind";
	}
	if (parked)
		name_wait(slot, state);
	else
		waits_for_call(slot, state);
}

/* What a thread does that is in this slot, at 'now'. */
static void state_of(struct tracer *tracer, const struct slot *slot, uint64_t now, struct flight_state *ret_state)
{
	*ret_state = (struct flight_state){ .word = "?" };
	if (now > slot->seg_since_ns)
		ret_state->since_ns = now - slot->seg_since_ns;
	switch (slot->seg_kind & (SEGMENTS - 1)) {
	case SEGMENT_CPU:
		ret_state->word = "cpu";
		break;
	case SEGMENT_RUNNABLE:
		ret_state->word = "runnable";
		break;
	case SEGMENT_WAIT:
		name_wait(slot, ret_state);
		break;
	case SEGMENT_UNSEEN:
		break;
	default:
		name_away(tracer, slot, ret_state);
	}
}

bool flight_describe(struct tracer *tracer, const struct flight_request *request, struct flight_row *ret_row,
		     bool *ret_torn)
{
	struct slot outer, holder;
	struct request_info info = { 0 };
	struct flight_row row = { 0 };
	enum tracer_look look = tracer_look(tracer, request->outer.slot, request->outer.gen, &outer);

	*ret_torn = look == LOOK_TORN;
	if (look != LOOK_TAKEN)
		return false;
	/* The call may be over while the request is not: then who got it holds it again. */
	if (!request->hops || tracer_look(tracer, request->holder.slot, request->holder.gen, &holder) != LOOK_TAKEN)
		holder = outer;
	request_describe(&outer, &info);
	request_client(&outer, &info);
	row.method = info.method;
	row.url = info.url;
	row.host = info.host;
	row.client = info.client;
	free(info.user_agent);
	row.pid = (pid_t)holder.pid;
	row.tid = (pid_t)holder.tid;
	row.first_pid = (pid_t)outer.pid;
	row.status = outer.status;
	row.start_unknown = outer.flags & SLOT_START_UNKNOWN;
	if (row.pid != row.first_pid)
		request_endpoint(&outer.up, outer.up_path, row.via, sizeof(row.via));
	proc_name(row.pid, row.process, sizeof(row.process));
	state_of(tracer, &holder, now_ns(), &row.state);
	row.elapsed_ns = now_ns() - outer.begin_ns;
	*ret_row = row;
	return true;
}

void flight_row_done(struct flight_row *row)
{
	free(row->method);
	free(row->url);
	free(row->host);
	free(row->client);
	*row = (struct flight_row){ 0 };
}
