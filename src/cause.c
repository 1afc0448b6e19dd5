// SPDX-License-Identifier: MIT
/* A table: cause -> test -> sentence, first that fits. Rejected: scores (nobody can
 * say why one won). Trap: the order matters, a special cause stands before the general
 * one that it is a case of. */
#include "cause.h"

#include "verdict.h"

#include <string.h>

#define CHAIN_MAX 8 /* lock holders followed */
#define MANY_CALLS 10
#define LEAST_PERCENT 30 /* below, there is no single cause */

static const struct thread *next_in_chain(const struct view *v, const struct thread *t)
{
	return t ? thread_by_tid(v->i, t->waits_for_tid) : NULL;
}

static bool in_lock_wait(const struct view *v)
{
	/* no lock, and nobody's to hold */
	static const char *const other[] = { "futex ",	       "semaphore ", "condition ", "latch ",
					     "future ",	       "queue ",     "notify of ", "unpark of ",
					     "another thread", "a sleep",    "a safepoint" };

	if (!v->t || !v->t->waits_for || v->kind != WAIT_FUTEX || !v->agrees)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		if (starts(v->t->waits_for, other[i]))
			return false;
	}
	return true;
}

/* Does the chain of holders from this thread come round again? */
static bool test_deadlock(const struct view *v)
{
	const struct thread *slow = v->t, *fast = v->t;

	if (!in_lock_wait(v))
		return false;
	while ((fast = next_in_chain(v, next_in_chain(v, fast)))) {
		slow = next_in_chain(v, slow);
		if (slow == fast)
			return true;
	}
	return false;
}

static void tell_deadlock(const struct view *v, struct buf *out)
{
	const struct thread *t = v->t;

	put_subject(out, v);
	buf_addf(out, " is in a deadlock: it waits for %s", t->waits_for);
	for (int n = 0; n < CHAIN_MAX && (t = next_in_chain(v, t)) && t != v->t; n++)
		buf_addf(out, ", which waits for %s", t->waits_for ? t->waits_for : "it");
	put_for(out, v);
}

/* ... or, through other processes, to it? */
static bool test_cycle(const struct view *v)
{
	return chain_cycle(v) && chain_of_locks(v);
}

static bool test_both_wait(const struct view *v)
{
	return chain_cycle(v);
}

static void tell_cycle(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " is in a %s: it waited", chain_of_locks(v) ? "deadlock" : "circle of waits");
	put_for(out, v);
	put_in_place(out, v, " in ");
	buf_adds(out, " for ");
	put_own_lock(out, v);
	put_chain(out, v, true);
}

bool test_lock(const struct view *v)
{
	return in_lock_wait(v);
}

static void tell_lock(const struct view *v, struct buf *out)
{
	const struct thread *t = v->t, *next;

	put_subject(out, v);
	buf_adds(out, " waited");
	put_for(out, v);
	buf_adds(out, " for ");
	put_own_lock(out, v);
	for (int n = 0; n < CHAIN_MAX && (next = next_in_chain(v, t)); n++, t = next) {
		buf_adds(out, ", which ");
		put_doing(out, next);
	}
	if (t == v->t) /* no holder known: at least where it waits */
		put_in_place(out, v, " in ");
	put_chain(out, v, true);
}

/* The interpreter's lock: it comes and goes within milliseconds, so the snapshot may
 * well show the thread between two waits for it. */
static const struct own_lock *own_lock(const struct view *v)
{
	for (size_t i = 0; i < v->i->analysis.own_count; i++) {
		if (v->kind == WAIT_FUTEX && starts(v->object, v->i->analysis.own[i].name))
			return &v->i->analysis.own[i];
	}
	return NULL;
}

static bool test_own_lock(const struct view *v)
{
	return own_lock(v) != NULL;
}

static bool test_gil(const struct view *v)
{
	return own_lock(v) && starts(own_lock(v)->name, "the GIL");
}

static void tell_own_lock(const struct view *v, struct buf *out)
{
	const struct own_lock *lock = own_lock(v);
	const struct thread *owner = v->t && lock->owner == v->t->tid ? NULL : thread_by_tid(v->i, lock->owner);

	put_subject(out, v);
	buf_adds(out, " waited");
	put_for(out, v);
	buf_addf(out, " for %s", lock->name);
	if (!owner) {
		buf_adds(out, ", which other threads kept taking");
		return;
	}
	buf_addf(out, " held by %d%s%s%s, which ", owner->tid, owner->comm ? " \"" : "", owner->comm ? owner->comm : "",
		 owner->comm ? "\"" : "");
	put_doing(out, owner);
}

static bool test_futex(const struct view *v)
{
	return v->kind == WAIT_FUTEX;
}

static void tell_futex(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for another thread to wake it (%s)",
		 v->agrees && v->t->waits_for ? v->t->waits_for : "in futex: a lock or condition, not known which");
	put_in_place(out, v, " in ");
	put_for(out, v);
}

static bool test_sleep(const struct view *v)
{
	return v->kind == WAIT_SLEEP;
}

static void tell_sleep(const struct view *v, struct buf *out)
{
	bool script = v->t && v->t->script.count;
	bool native = !script && v->agrees && native_frame(v->t), many = v->top && v->top->count > 1;

	put_subject(out, v);
	buf_adds(out, " slept in ");
	if (!script || !v->agrees)
		buf_adds(out, v->call);
	put_in_place(out, v, script ? "" : ", called by ");
	if (native || many)
		buf_adds(out, ",");
	if (many)
		buf_addf(out, " %llu times,", (unsigned long long)v->top->count);
	put_for(out, v);
}

/* 'child 4712 "sh"', where its output comes through a pipe; NULL. */
static const char *piped_child(const struct view *v)
{
	const char *at = v->object ? strstr(v->object, "pipe to child ") : NULL;

	return at ? at + strlen("pipe to ") : NULL;
}

static bool test_child(const struct view *v)
{
	return v->kind == WAIT_CHILD || ((v->kind == WAIT_FD || v->kind == WAIT_POLL) && piped_child(v));
}

static void tell_child(const struct view *v, struct buf *out)
{
	const char *child = v->kind == WAIT_CHILD ? NULL : piped_child(v);

	put_subject(out, v);
	if (child)
		buf_addf(out, " waited for the output of %.*s (%s)", (int)strcspn(child, ")"), child, v->call);
	else
		buf_addf(out, " waited for %s%s (%s)", v->top && v->top->peer ? "its child process " : "",
			 v->top && v->top->peer ? v->top->peer
			 : v->object		? v->object
						: "a child process",
			 v->call);
	put_in_place(out, v, " in ");
	put_for(out, v);
	put_chain(out, v, false);
}

static bool test_file_lock(const struct view *v)
{
	return v->kind == WAIT_FILE_LOCK;
}

/* PHP's own session handler: one file a session, locked from session_start() on. */
static bool is_session(const struct view *v)
{
	const char *object = v->object ? v->object : v->agrees ? v->t->waits_for : NULL;
	const struct stack *script = v->agrees ? &v->t->script : NULL;

	return object && strstr(object, "/sess_") && starts(v->i->analysis.language, "PHP ") &&
	       (!script || !script->count || starts(script->frame[0].function, "session_"));
}

static bool test_session(const struct view *v)
{
	return test_file_lock(v) && is_session(v);
}

static void tell_file_lock(const struct view *v, struct buf *out)
{
	const char *waits_for = v->agrees ? v->t->waits_for : NULL;
	const char *by = waits_for ? strstr(waits_for, WAITS_LOCKED_BY) : NULL;
	CLEAN(free) char *object = NULL;

	/* The trace has the file, the snapshot its holder as well. */
	if (v->object == waits_for && by)
		object = strndup(waits_for, (size_t)(by - waits_for));
	put_subject(out, v);
	buf_adds(out, " waited");
	if (has_chain(v)) {
		put_for(out, v);
		put_in_place(out, v, " in ");
	}
	if (is_session(v))
		buf_adds(out, " for the PHP session lock on ");
	else
		buf_addf(out, " for the lock (%s) on ", v->call);
	put_object(out, object ? object : v->object ? v->object : "a file");
	if (has_chain(v)) {
		put_chain(out, v, true);
		return;
	}
	if (by)
		buf_addf(out, ", which process %s holds,", by + strlen(WAITS_LOCKED_BY));
	else if (v->top && v->top->peer)
		buf_addf(out, ", which %s held,", v->top->peer);
	else
		buf_adds(out, ", which another process holds,");
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* The tracer saw it call somebody else and no answer come. */
static bool test_called(const struct view *v)
{
	return starts(v->object, CALLED);
}

static void tell_called(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for %s", v->object);
	if (v->kind == WAIT_EVENTS)
		buf_addf(out, ", idle in its event loop (%s),", v->call);
	else
		put_in_place(out, v, " in ");
	put_for(out, v);
	put_chain(out, v, false);
}

static bool test_event_loop(const struct view *v)
{
	/* Without a request (a look at a process) there is nothing that could be parked. */
	return v->i->request.method && (v->kind == WAIT_EVENTS || starts(v->call, "accept"));
}

static void tell_event_loop(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_adds(out, " is parked: ");
	put_subject(out, v);
	buf_addf(out, v->kind == WAIT_EVENTS ? " sits idle in its event loop (%s)" : " waits for a new connection (%s)",
		 v->call);
	put_for(out, v);
	buf_adds(out, ", and what the request waits for is on no stack");
}

static bool is_socket(const char *object)
{
	static const char *const prefix[] = { "tcp", "udp", "unix", "socket" };

	for (size_t i = 0; i < ARRAY_LEN(prefix) && object; i++) {
		if (!strncmp(object, prefix[i], strlen(prefix[i])))
			return true;
	}
	return object && strstr(object, "(tcp ") != NULL;
}

/* The peer of the socket is the request's own client. */
bool test_client(const struct view *v)
{
	const char *peer = v->object ? strstr(v->object, "-> ") : NULL;
	size_t len = v->i->request.client ? strlen(v->i->request.client) : 0;

	if (!peer || !len || (v->kind != WAIT_FD && v->kind != WAIT_POLL) ||
	    strncmp(peer + 3, v->i->request.client, len))
		return false;
	return !peer[3 + len] || peer[3 + len] == ')';
}

/* Calls that each take next to nothing, and all together the time. */
static bool test_many(const struct view *v)
{
	return v->top && v->top->kind == SPEND_WAIT && v->top->count >= MANY_CALLS && v->percent >= LEAST_PERCENT &&
	       v->top->ns / v->top->count < v->i->elapsed_ns / MANY_CALLS &&
	       (starts(v->object, CALLED) || is_socket(v->object)) && !test_client(v) && !test_passed_on(v);
}

static void tell_many(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " asked %s", starts(v->object, CALLED) ? v->object + strlen(CALLED) : v->object);
	if (v->top->peer)
		buf_addf(out, ", that is %s,", v->top->peer);
	buf_addf(out, " %llu times, one after the other, and waited", (unsigned long long)v->top->count);
	put_for(out, v);
	buf_adds(out, " for the answers, ");
	put_ns(out, v->top->ns / v->top->count);
	buf_adds(out, " each");
	put_in_place(out, v, ", in ");
}

static bool test_disk(const struct view *v)
{
	if (v->call && (!strcmp(v->call, "page fault") || (v->object && !strcmp(v->object, "disk"))))
		return true;
	return v->kind == WAIT_DISK ||
	       ((v->kind == WAIT_FD || v->kind == WAIT_NONE) && v->call && !is_socket(v->object) &&
		((v->object && strstr(v->object, "file ")) || (v->agrees && v->t->state == 'D')));
}

static void tell_disk(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for the disk: %s", v->call);
	if (v->object && strcmp(v->object, "disk")) {
		buf_adds(out, " on ");
		put_object(out, v->object);
	}
	put_in_place(out, v, " in ");
	put_for(out, v);
}

static void tell_client(const struct view *v, struct buf *out)
{
	bool sends = starts(v->call, "send") || starts(v->call, "write") || starts(v->call, "splice");

	put_subject(out, v);
	buf_addf(out, " waited for the client %s %s (%s)", v->i->request.client,
		 v->kind == WAIT_POLL ? "on the network"
		 : sends	      ? "to take the response"
				      : "to send its request",
		 v->call);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* The server's port tells: 53 is nobody else's. */
static bool test_dns(const struct view *v)
{
	const char *to = v->object ? strstr(v->object, "-> ") : NULL;
	const char *port = to ? strstr(to, ":53") : NULL;

	if (starts(v->object, CALLED)) {
		port = strrchr(v->object, ':');
		port = port && !strcmp(port, ":53") ? port : NULL;
	}
	return port && (!port[3] || port[3] == ')') && (v->kind == WAIT_FD || v->kind == WAIT_POLL);
}

static void tell_dns(const struct view *v, struct buf *out)
{
	const char *to = strstr(v->object, "-> ");

	put_subject(out, v);
	to = to ? to + strlen("-> ") : v->object + strlen(CALLED);
	buf_addf(out, " waited for the DNS server %.*s to answer (%s)", (int)strcspn(to, ")"), to, v->call);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

static bool test_other_end(const struct view *v)
{
	return v->kind == WAIT_FD || v->kind == WAIT_POLL;
}

static void tell_other_end(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " waited for ");
	put_object(out, v->object ? v->object : "an answer");
	if (v->top && v->top->peer)
		buf_addf(out, ", that is %s", v->top->peer);
	buf_addf(out, " (%s", v->call);
	if (v->top && v->top->count > 1)
		buf_addf(out, ", %llu times", (unsigned long long)v->top->count);
	buf_adds(out, ")");
	put_in_place(out, v, " in ");
	put_for(out, v);
	put_chain(out, v, false);
}

/* Nobody had taken the request yet. */
static bool test_queue(const struct view *v)
{
	return v->top && v->top->kind == SPEND_WAIT && !v->call && starts(v->object, QUEUED);
}

static void tell_queue(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_adds(out, " waited");
	put_for(out, v);
	buf_adds(out, " in the queue, until ");
	put_subject(out, v);
	buf_adds(out, " took it");
}

static bool test_other_wait(const struct view *v)
{
	return v->call || (v->top && v->top->kind == SPEND_WAIT);
}

static void tell_other_wait(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " waited");
	if (v->call)
		buf_addf(out, " in %s", v->call);
	if (v->object)
		buf_addf(out, v->call ? " for %s" : " %s", v->object);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

static bool test_stopped(const struct view *v)
{
	return starts(v->call, STOPPED "by a signal");
}

static bool test_traced(const struct view *v)
{
	return starts(v->call, STOPPED "by the tracer");
}

static bool test_captured(const struct view *v)
{
	return starts(v->call, STOPPED);
}

/* What the thread was in when it was stopped has not made it wait. */
static void tell_stopped(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " stood still, %s", v->call);
	if (test_stopped(v))
		buf_adds(out, " (SIGSTOP or its like)");
	if (v->top && v->top->object)
		buf_addf(out, " %s", v->top->object);
	buf_adds(out, ",");
	put_for(out, v);
}

bool test_cpu(const struct view *v)
{
	return v->top ? v->top->kind == SPEND_CPU : v->t && !v->t->call && v->t->state == 'R';
}

void put_computing(struct buf *out, const struct view *v)
{
	const struct spending *queued = spent(v->i, SPEND_RUNNABLE);

	put_for(out, v);
	if (v->top && queued && queued->ns >= v->top->ns / 4) {
		buf_adds(out, " (and for ");
		put_ns(out, queued->ns);
		buf_adds(out, " ready to, without a CPU)");
	}
	put_in_place(out, v, ", at the snapshot in ");
}

static void tell_cpu(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " was computing");
	put_computing(out, v);
}

static bool test_runnable(const struct view *v)
{
	return v->top && v->top->kind == SPEND_RUNNABLE;
}

static void tell_runnable(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " was ready to run but got no CPU");
	put_for(out, v);
	put_in_place(out, v, ", at the snapshot in ");
}

/* Its thread is the event loop of others, too, or has read them before it. */
static bool test_behind(const struct view *v)
{
	return v->top && v->top->kind == SPEND_BEHIND;
}

static void tell_behind(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_addf(out, " waited behind %s", v->top->object ? v->top->object : "another request");
	put_for(out, v);
	buf_adds(out, ": ");
	put_subject(out, v);
	buf_adds(out, ", whose one thread serves both, worked on that");
	if (v->top->open)
		put_in_place(out, v, ", at the snapshot in ");
}

static bool test_loop(const struct view *v)
{
	return v->top && v->top->kind == SPEND_LOOP;
}

static void tell_loop(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_adds(out, " waited while the event loop of ");
	put_subject(out, v);
	buf_adds(out, " was at work without a byte of any request moved");
	put_for(out, v);
	if (v->top->open)
		put_in_place(out, v, ", at the snapshot in ");
}

static bool test_status(const struct view *v)
{
	return v->i->reason == REASON_STATUS_CODE && v->i->status;
}

static void tell_status(const struct view *v, struct buf *out)
{
	struct buf place;

	put_request(out, v->i);
	buf_addf(out, " was answered %d after ", v->i->status);
	put_ns(out, v->i->elapsed_ns);
	buf_adds(out, " by ");
	put_subject(out, v);
	buf_init(&place, PIECE_MAX);
	if (v->i->capture.running_at_snapshot && put_place(&place, v->t))
		buf_addf(out, " in %s", place.data);
	buf_done(&place);
}

static bool snapshot_taken(const struct incident *i)
{
	return i->analysis.thread_count || i->capture.method != METHOD_NONE;
}

static bool test_ended(const struct view *v)
{
	return snapshot_taken(v->i) && !v->i->capture.running_at_snapshot;
}

static void tell_ended(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_adds(out, " had ended before the snapshot, so no stack shows it");
	if (v->top && v->top->kind == SPEND_WAIT) {
		buf_addf(out, "; by its trace it waited in %s", v->top->call ? v->top->call : "a call");
		if (v->top->object)
			buf_addf(out, " for %s", v->top->object);
		put_for(out, v);
	} else if (v->top && v->top->kind != SPEND_UNATTRIBUTED) {
		buf_addf(out, "; by its trace it was %s", v->top->kind == SPEND_CPU ? "on the CPU" : "ready to run");
		put_for(out, v);
	}
}

static bool test_spread(const struct view *v)
{
	return v->top && v->percent < LEAST_PERCENT;
}

static void tell_spread(const struct view *v, struct buf *out)
{
	put_request(out, v->i);
	buf_adds(out, " has no single cause: the largest part, ");
	if (v->top->kind == SPEND_WAIT)
		buf_addf(out, "waiting in %s", v->top->call ? v->top->call : "a call");
	else
		buf_adds(out, v->top->kind == SPEND_CPU	       ? "computing"
			      : v->top->kind == SPEND_RUNNABLE ? "ready to run without a CPU"
							       : "time that nothing explains");
	buf_addf(out, ", is %u %% of ", v->percent);
	put_ns(out, v->i->elapsed_ns);
}

static bool test_always(const struct view *v UNUSED)
{
	return true;
}

static void tell_unknown(const struct view *v, struct buf *out)
{
	buf_adds(out, "The cause is not known: ");
	if (v->i->capture.failed)
		buf_addf(out, "the process could not be captured (%s)", v->i->capture.failed);
	else if (v->i->analysis.failed)
		buf_addf(out, "the capture could not be analysed (%s)", v->i->analysis.failed);
	else if (v->top && v->top->kind == SPEND_UNATTRIBUTED)
		buf_addf(out, "nothing explains %u %% of the time taken", v->percent);
	else
		buf_adds(out, "there is neither a trace nor a snapshot that shows what the request did");
}

/* clang-format off */
const struct cause causes[] = {
	{ "status", test_status, tell_status, "high", PROOF_SNAPSHOT,
	  "Look at the server's own log for this moment, and at the script place named here." },
	{ "app-mark", test_mark, tell_mark, "high", PROOF_SNAPSHOT,
	  "Look at what the application says of this mark, and at the trace before it." },
	{ "ended-before-snapshot", test_ended, tell_ended, "low", PROOF_BOTH,
	  "Lower the rule's time-taken, so that the request is still running when it is trapped." },
	{ "many-parts", test_spread, tell_spread, "low", PROOF_BOTH,
	  "Read the trace from the top: many small parts add up." },
	{ "stopped", test_stopped, tell_stopped, "high", PROOF_TRACE,
	  "Find who stops the process: job control, a supervisor, a script with 'kill -STOP'; SIGCONT lets it run on." },
	{ "traced", test_traced, tell_stopped, "high", PROOF_TRACE,
	  "Detach that debugger or tracer: the server stands still at each of its stops." },
	{ "captured", test_captured, tell_stopped, "high", PROOF_TRACE,
	  "Ask for less to be captured (no core), or for fewer captures (--limit)." },
	{ "deadlock", test_deadlock, tell_deadlock, "high", PROOF_BOTH,
	  "Take these locks in the same order everywhere; only a restart ends this one." },
	{ "deadlock", test_cycle, tell_cycle, "high", PROOF_BOTH,
	  "Take these locks in the same order in every process; only the end of one of them ends this." },
	{ "circular-wait", test_both_wait, tell_cycle, "medium", PROOF_BOTH,
	  "Each waits for the next: look at who should have written, unlocked or ended first." },
	{ "interpreter-lock", test_gil, tell_own_lock, "high", PROOF_TRACE,
	  "One thread at a time runs the script: move the work that computes to a process of its own." },
	{ "lock", test_own_lock, tell_own_lock, "high", PROOF_TRACE,
	  "Hold the lock for less: do slow work and waits before taking it or after giving it back." },
	{ "thread-end", test_join, tell_lock, "high", PROOF_BOTH,
	  "Look at what that thread does; a pool of threads that are there already answers sooner." },
	{ "lock-convoy", test_convoy, tell_convoy, "high", PROOF_BOTH,
	  "Each holds it for a short time, all together for long: split the lock, or do less under it." },
	{ "lock", test_lock, tell_lock, "high", PROOF_BOTH,
	  "Hold the lock for less: do slow work and waits before taking it or after giving it back." },
	{ "sleep", test_ruby_sleep, tell_sleep, "high", PROOF_BOTH,
	  "Take the sleep out of the request, or wait for the event that it stands for." },
	{ "thread-wakeup", test_ruby_signals, tell_ruby_signals, "medium", PROOF_BOTH,
	  "Look at the other threads' stacks: one of them was to wake this one." },
	{ "sleep", test_parked_sleep, tell_parked_sleep, "high", PROOF_BOTH,
	  "Take the sleep out of the request, or wait for the event that it stands for." },
	{ "connection-pool", test_connections, tell_connections, "high", PROOF_BOTH,
	  "Look at who has the connections and what for: give them back sooner, or have as many as threads need." },
	{ "garbage-collection", test_stopped_for_gc, tell_gc, "high", PROOF_TRACE,
	  "Give the JVM more heap (-Xmx), or keep fewer objects alive; jstat -gcutil and a heap histogram say of what." },
	{ "garbage-collection", test_gc_beside, tell_gc, "medium", PROOF_TRACE,
	  "Give the JVM more heap (-Xmx), or keep fewer objects alive; jstat -gcutil and a heap histogram say of what." },
	{ "thread-wakeup", test_futex, tell_futex, "medium", PROOF_BOTH,
	  "Look at the other threads' stacks: one of them was to wake this one." },
	{ "sqlite-busy", test_sqlite, tell_sqlite, "high", PROOF_BOTH,
	  "Keep transactions that write short, and look for one that was left open; with PRAGMA journal_mode=WAL "
	  "readers wait for no writer." },
	{ "sleep", test_sleep, tell_sleep, "high", PROOF_BOTH,
	  "Take the sleep out of the request, or wait for the event that it stands for." },
	{ "pipe-full", test_pipe_full, tell_pipe_full, "high", PROOF_BOTH,
	  "Look at why the reader of that pipe does not read; a logger must not be able to stop its server." },
	{ "child-process", test_child, tell_child, "high", PROOF_BOTH,
	  "Look at what the child process does; run it outside the request if it may be slow." },
	{ "session-lock", test_session, tell_file_lock, "high", PROOF_BOTH,
	  "Call session_write_close() in the script that holds it before its slow work: a session is locked from "
	  "session_start() to the script's end." },
	{ "file-lock", test_file_lock, tell_file_lock, "high", PROOF_BOTH,
	  "Let the holder give the lock back before slow work." },
	{ "pool-exhausted", test_pool, tell_pool, "high", PROOF_SNAPSHOT,
	  "Look at what its workers are doing; more of them help only if the machine has room for their work." },
	{ "sql", test_sql, tell_asked, "high", PROOF_BOTH,
	  "EXPLAIN that statement, and see in pg_stat_activity or SHOW PROCESSLIST whether it waits for a lock." },
	{ "redis", test_redis, tell_asked, "high", PROOF_BOTH,
	  "See SLOWLOG and whether the command blocks until there is something, as BLPOP does." },
	{ "dns", test_lookup, tell_lookup, "high", PROOF_BOTH,
	  "Look at the DNS servers of /etc/resolv.conf, or keep the names' addresses (nscd, a local resolver)." },
	{ "memory", test_memory, tell_memory, "high", PROOF_BOTH,
	  "Give the cgroup or the machine more memory, or run fewer workers." },
	{ "memory", test_held_back, tell_held_back, "high", PROOF_TRACE,
	  "Raise memory.high of its cgroup (MemoryHigh=), or run fewer workers in it." },
	{ "cpu-throttled", test_throttled, tell_throttled, "high", PROOF_TRACE,
	  "Raise cpu.max of its cgroup (CPUQuota=, limits.cpu), or run fewer workers in it." },
	{ "cpu-throttled", test_throttled_about_then, tell_throttled, "medium", PROOF_TRACE,
	  "Raise cpu.max of its cgroup (CPUQuota=, limits.cpu), or run fewer workers in it." },
	{ "queue", test_queue, tell_queue, "high", PROOF_TRACE,
	  "Every worker was busy: more workers, or look at what the others were doing." },
	{ "dns", test_dns, tell_dns, "high", PROOF_BOTH,
	  "Look at the DNS servers of /etc/resolv.conf, or keep the names' addresses (nscd, a local resolver)." },
	{ "many-calls", test_many, tell_many, "high", PROOF_TRACE,
	  "Ask once for all of them (a batch, a join), or keep the answers." },
	{ "upstream", test_called, tell_called, "high", PROOF_BOTH,
	  "Look at that service: it had not answered. A time-out of its own would turn the wait into an error." },
	{ "event-loop-idle", test_event_loop, tell_event_loop, "low", PROOF_BOTH,
	  "Look at the connections and timers that this process has open: the answer to one of them is late." },
	{ "disk", test_disk, tell_disk, "high", PROOF_BOTH,
	  "Look at the disk's load, or keep what is read in memory." },
	{ "slow-client", test_client, tell_client, "high", PROOF_BOTH,
	  "The client or its network is slow; a proxy in front that buffers frees the worker." },
	{ "slow-client", test_passed_on, tell_passed_on, "medium", PROOF_BOTH,
	  "The client or its network is slow, or the proxy is; one that buffers whole answers frees the worker." },
	{ "other-end", test_other_end, tell_other_end, "high", PROOF_BOTH,
	  "Look at the other end: it had not answered. A time-out of its own would turn the wait into an error." },
	{ "other-wait", test_other_wait, tell_other_wait, "medium", PROOF_BOTH,
	  "Look at the holder's stack for why it makes this call." },
	{ "no-cpu", test_runnable, tell_runnable, "high", PROOF_TRACE,
	  "The machine, or its cgroup's cpu.max, is short of CPU: fewer workers or more CPUs." },
	{ "behind-another", test_behind, tell_behind, "high", PROOF_TRACE,
	  "Move the long work of that request off that thread: a worker thread, a process, or smaller steps." },
	{ "event-loop-busy", test_loop, tell_loop, "medium", PROOF_TRACE,
	  "Look for timers and callbacks that compute for long: move their work off the event loop." },
	{ "regex", test_regex, tell_regex, "high", PROOF_BOTH,
	  "Nested repeats try each way to divide the text: rewrite the pattern, or limit the text (and "
	  "pcre.backtrack_limit)." },
	{ "garbage-collection", test_collection, tell_collection, "high", PROOF_BOTH,
	  "Keep fewer objects alive, or collect less often and outside of requests." },
	{ "cpu", test_cpu, tell_cpu, "high", PROOF_BOTH,
	  "Profile the function named here, or take more samples to see if it is always the same." },
	{ "unknown", test_always, tell_unknown, "low", PROOF_BOTH,
	  "Trap it again with more samples, or with a full dump." },
};
/* clang-format on */
const size_t cause_count = ARRAY_LEN(causes);

const char *verdict_cause(size_t n, const char **ret_advice)
{
	size_t k = 0;

	for (; k < cause_count; k++) {
		bool again = false; /* a name that an earlier row has */

		for (size_t e = 0; e < k && !again; e++)
			again = !strcmp(causes[e].name, causes[k].name);
		if (!again && n-- == 0)
			break;
	}
	if (k == cause_count)
		return NULL;
	*ret_advice = causes[k].advice;
	return causes[k].name;
}
