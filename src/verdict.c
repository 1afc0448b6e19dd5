// SPDX-License-Identifier: MIT
/* A table: cause -> test -> sentence, first that fits. The trace says where the time
 * went, the snapshot says where the thread stood; where both agree the verdict is
 * sure of itself. Rejected: judging by the stack alone (one sample may be the
 * exception). Trap: the longest wait is not the cause when it is only a small part. */
#include "verdict.h"

#include "buf.h"
#include "ktime.h"
#include "waits.h"

#include <string.h>

#define SENTENCE_MAX 2000
#define EVIDENCE_MAX 1000
#define CHAIN_MAX 8	 /* lock holders followed */
#define SURE_PERCENT 80	 /* of the time taken, for 'high' */
#define MAIN_PERCENT 50	 /* for 'medium' */
#define LEAST_PERCENT 30 /* below, there is no single cause */

/* How the trace words what it knows of a wait. */
#define CALLED "the answer of "
#define QUEUED "before the holder got the request"

/* The incident as the rules want it. */
struct view {
	const struct incident *i;
	const struct thread *t;	    /* the holder's thread at the snapshot, NULL none */
	const struct spending *top; /* the largest part, NULL if there is no trace */
	const char *call;	    /* the main wait's, NULL */
	enum wait_kind kind;
	const char *object;   /* what the main wait is for, NULL unknown */
	unsigned int percent; /* of the time taken that 'top' is */
	bool agrees;	      /* the snapshot shows the thread doing just that */
};

static bool starts(const char *text, const char *with)
{
	return text && !strncmp(text, with, strlen(with));
}

/* --- words --- */

static void put_ns(struct buf *out, uint64_t ns)
{
	if (ns >= 100 * NSEC_PER_MSEC)
		buf_addf(out, "%.2f s", (double)ns / 1e9);
	else if (ns >= 100 * NSEC_PER_USEC)
		buf_addf(out, "%.1f ms", ns_to_ms(ns));
	else
		buf_addf(out, "%.0f us", (double)ns / 1e3);
}

/* 'for 0.50 of 0.50 s' */
static void put_for(struct buf *out, const struct view *v)
{
	if (!v->top)
		return;
	if (v->i->elapsed_ns >= 100 * NSEC_PER_MSEC && v->top->ns >= 10 * NSEC_PER_MSEC) {
		buf_addf(out, " for %.2f of %.2f s", (double)v->top->ns / 1e9, (double)v->i->elapsed_ns / 1e9);
		return;
	}
	buf_adds(out, " for ");
	put_ns(out, v->top->ns);
	buf_adds(out, " of ");
	put_ns(out, v->i->elapsed_ns);
}

/* Functions that say nothing about the program: the machinery around it. */
static bool is_plumbing(const struct frame *f)
{
	static const char *const module[] = { "libc.so", "libc-", "ld-", "libpthread", "libstdc++", "[vdso]" };
	static const char *const function[] = { "fn_",	"[",	"_Py",	  "Py",	 "zend_",  "execute_ex",
						"php_", "v8::", "node::", "uv_", "_start", "Builtins_" };

	if (!f->function || strstr(f->function, "+0x"))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(module) && f->module; i++) {
		if (!strncmp(f->module, module[i], strlen(module[i])))
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(function); i++) {
		if (!strncmp(f->function, function[i], strlen(function[i])))
			return true;
	}
	return false;
}

static const struct frame *native_frame(const struct thread *t)
{
	for (size_t i = 0; t && i < t->stack.count; i++) {
		if (!is_plumbing(&t->stack.frame[i]))
			return &t->stack.frame[i];
	}
	return NULL;
}

static void put_at(struct buf *out, const struct frame *f)
{
	if (f->file && f->line)
		buf_addf(out, " at %s:%u", f->file, f->line);
	else if (f->file)
		buf_addf(out, " in %s", f->file);
}

/* 'slow_part()', '{main}' */
static void put_function(struct buf *out, const struct frame *f)
{
	const char *name = f->function ? f->function : "?";

	buf_addf(out, name[0] == '{' ? "%s" : "%s()", name);
}

/* 'usleep() called by slow_part() at /srv/slow.php:3', 'holder_work at victim.c:7';
 * false if nothing is known. */
static bool put_place(struct buf *out, const struct thread *t)
{
	const struct stack *script = t ? &t->script : NULL;
	const struct frame *f;

	if (script && script->count) {
		f = &script->frame[0];
		put_function(out, f);
		for (size_t i = 1; !f->file && i < script->count; i++) {
			f = &script->frame[i];
			if (!f->file)
				continue;
			buf_adds(out, " called by ");
			put_function(out, f);
		}
		put_at(out, f);
		return true;
	}
	f = native_frame(t);
	if (!f)
		return false;
	buf_adds(out, f->function);
	put_at(out, f);
	return true;
}

/* ' in PLACE', or nothing. The place counts only if the thread stood in the wait
 * that the sentence is about. */
static void put_in_place(struct buf *out, const struct view *v, const char *before)
{
	struct buf place;

	buf_init(&place, EVIDENCE_MAX);
	if (v->agrees && put_place(&place, v->t))
		buf_addf(out, "%s%s", before, place.data);
	buf_done(&place);
}

static void put_subject(struct buf *out, const struct view *v)
{
	const char *name = v->i->process.comm ? v->i->process.comm : "process";
	const char *language = v->i->analysis.language ? v->i->analysis.language : v->i->process.language;

	if (language && !strncmp(language, "PHP ", 4))
		buf_addf(out, "PHP worker %d", v->i->holder_pid);
	else if (v->i->holder_tid && v->i->holder_tid != v->i->holder_pid)
		buf_addf(out, "Thread %d of %s %d", v->i->holder_tid, name, v->i->holder_pid);
	else
		buf_addf(out, "%s %d", name, v->i->holder_pid);
}

static void put_request(struct buf *out, const struct incident *i)
{
	size_t path = i->request.url ? strcspn(i->request.url, "?") : 0;

	if (i->request.method && i->request.url)
		buf_addf(out, "%s %.*s", i->request.method, (int)MIN(path, (size_t)200), i->request.url);
	else
		buf_adds(out, "The request");
}

static const struct thread *thread_by_tid(const struct incident *i, pid_t tid)
{
	for (size_t k = 0; k < i->analysis.thread_count && tid; k++) {
		if (i->analysis.thread[k].tid == tid)
			return &i->analysis.thread[k];
	}
	return NULL;
}

/* What another thread does, as the end of 'held by thread 815, which ...'. */
static void put_doing(struct buf *out, const struct thread *t)
{
	enum wait_kind kind = wait_kind_of(t->call);
	struct buf place;

	if (kind == WAIT_SLEEP)
		buf_addf(out, "sleeps in %s", t->call);
	else if (t->call && t->waits_for)
		buf_addf(out, "waits in %s for %s", t->call, t->waits_for);
	else if (t->call)
		buf_addf(out, "is in %s", t->call);
	else
		buf_adds(out, "is computing");
	buf_init(&place, EVIDENCE_MAX);
	if (put_place(&place, t))
		buf_addf(out, " (%s)", place.data);
	buf_done(&place);
}

/* --- the tests and sentences --- */

static const struct thread *next_in_chain(const struct view *v, const struct thread *t)
{
	return t ? thread_by_tid(v->i, t->waits_for_tid) : NULL;
}

static bool in_lock_wait(const struct view *v)
{
	/* no lock, and nobody's to hold */
	static const char *const other[] = { "futex ", "semaphore ", "condition variable " };

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

static bool test_lock(const struct view *v)
{
	return in_lock_wait(v);
}

static void tell_lock(const struct view *v, struct buf *out)
{
	const struct thread *t = v->t, *next;

	put_subject(out, v);
	buf_adds(out, " waited");
	put_for(out, v);
	buf_addf(out, " for %s", t->waits_for);
	for (int n = 0; n < CHAIN_MAX && (next = next_in_chain(v, t)); n++, t = next) {
		buf_adds(out, ", which ");
		put_doing(out, next);
	}
	if (t == v->t) /* no holder known: at least where it waits */
		put_in_place(out, v, " in ");
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

	put_subject(out, v);
	buf_adds(out, " slept in ");
	if (!script || !v->agrees)
		buf_adds(out, v->call);
	put_in_place(out, v, script ? "" : ", called by ");
	if (!script && v->agrees && native_frame(v->t))
		buf_adds(out, ",");
	put_for(out, v);
}

static bool test_child(const struct view *v)
{
	return v->kind == WAIT_CHILD;
}

static void tell_child(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for %s (%s)", v->object ? v->object : "a child process", v->call);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

static bool test_file_lock(const struct view *v)
{
	return v->kind == WAIT_FILE_LOCK;
}

static void tell_file_lock(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for the lock (%s) on %s, which another process holds", v->call,
		 v->object ? v->object : "a file");
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
}

static bool test_event_loop(const struct view *v)
{
	return v->kind == WAIT_EVENTS || starts(v->call, "accept");
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
	if (v->object && strcmp(v->object, "disk"))
		buf_addf(out, " on %s", v->object);
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* The peer of the socket is the request's own client. */
static bool test_client(const struct view *v)
{
	const char *peer = v->object ? strstr(v->object, "-> ") : NULL;
	size_t len = v->i->request.client ? strlen(v->i->request.client) : 0;

	if (!peer || !len || (v->kind != WAIT_FD && v->kind != WAIT_POLL) ||
	    strncmp(peer + 3, v->i->request.client, len))
		return false;
	return !peer[3 + len] || peer[3 + len] == ')';
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

static bool test_other_end(const struct view *v)
{
	return v->kind == WAIT_FD || v->kind == WAIT_POLL;
}

static void tell_other_end(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for %s (%s", v->object ? v->object : "an answer", v->call);
	if (v->top && v->top->count > 1)
		buf_addf(out, ", %llu times", (unsigned long long)v->top->count);
	buf_adds(out, ")");
	put_in_place(out, v, " in ");
	put_for(out, v);
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

static bool test_cpu(const struct view *v)
{
	return v->top ? v->top->kind == SPEND_CPU : v->t && !v->t->call && v->t->state == 'R';
}

static void tell_cpu(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " was computing");
	put_for(out, v);
	put_in_place(out, v, ", at the snapshot in ");
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
	buf_init(&place, EVIDENCE_MAX);
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

struct cause {
	bool (*test)(const struct view *v);
	void (*tell)(const struct view *v, struct buf *out);
	const char *advice;
	const char *most; /* the confidence it can have at most */
};

static const struct cause causes[] = {
	{ test_status, tell_status, "Look at the server's own log for this moment, and at the script place named here.",
	  "high" },
	{ test_ended, tell_ended,
	  "Lower the rule's time-taken, so that the request is still running when it is trapped.", "low" },
	{ test_spread, tell_spread, "Read the trace from the top: many small parts add up.", "low" },
	{ test_deadlock, tell_deadlock, "Take these locks in the same order everywhere; only a restart ends this one.",
	  "high" },
	{ test_lock, tell_lock,
	  "Hold the lock for less: do slow work and waits before taking it or after giving it back.", "high" },
	{ test_futex, tell_futex, "Look at the other threads' stacks: one of them was to wake this one.", "medium" },
	{ test_sleep, tell_sleep, "Take the sleep out of the request, or wait for the event that it stands for.",
	  "high" },
	{ test_child, tell_child, "Look at what the child process does; run it outside the request if it may be slow.",
	  "high" },
	{ test_file_lock, tell_file_lock, "Find the holder in /proc/locks; let it give the lock back before slow work.",
	  "high" },
	{ test_queue, tell_queue, "Every worker was busy: more workers, or look at what the others were doing.",
	  "high" },
	{ test_called, tell_called,
	  "Look at that service: it had not answered. A time-out of its own would turn the wait into an error.",
	  "high" },
	{ test_event_loop, tell_event_loop,
	  "Look at the connections and timers that this process has open: the answer to one of them is late.", "low" },
	{ test_disk, tell_disk, "Look at the disk's load, or keep what is read in memory.", "high" },
	{ test_client, tell_client,
	  "The client or its network is slow; a proxy in front that buffers frees the worker.", "high" },
	{ test_other_end, tell_other_end,
	  "Look at the other end: it had not answered. A time-out of its own would turn the wait into an error.",
	  "high" },
	{ test_other_wait, tell_other_wait, "Look at the holder's stack for why it makes this call.", "medium" },
	{ test_runnable, tell_runnable,
	  "The machine, or its cgroup's cpu.max, is short of CPU: fewer workers or more CPUs.", "high" },
	{ test_cpu, tell_cpu, "Profile the function named here, or take more samples to see if it is always the same.",
	  "high" },
	{ test_always, tell_unknown, "Trap it again with more samples, or with a full dump.", "low" },
};

/* A name too long to be shown whole is left out, and that is said. */
static char *finish(struct buf *buf)
{
	bool cut = buf->full;
	char *text = buf_take(buf);

	if (cut && text)
		text_setf(&text, "%s ... (cut)", text);
	return text;
}

/* --- evidence --- */

static void add_line(struct incident *i, struct buf *line)
{
	char *text = finish(line);

	if (text && text[0])
		strings_add(&i->evidence, text);
	free(text);
}

static void add_spending(struct incident *i)
{
	static const char *const word[] = { "on CPU", "ready to run", "waiting", "not attributed" };
	struct buf line;

	buf_init(&line, EVIDENCE_MAX);
	for (size_t k = 0; k < i->spending_count; k++) {
		const struct spending *s = &i->spending[k];
		unsigned int percent = i->elapsed_ns ? (unsigned int)(s->ns * 100 / i->elapsed_ns) : 0;

		if (percent == 0 && s->kind != SPEND_UNATTRIBUTED)
			continue;
		buf_adds(&line, line.len ? ", " : "Where the time went: ");
		buf_adds(&line, word[s->kind]);
		if (s->call)
			buf_addf(&line, " in %s", s->call);
		if (s->object)
			buf_addf(&line, " on %s", s->object);
		buf_adds(&line, " ");
		put_ns(&line, s->ns);
		buf_addf(&line, " (%u %%)", percent);
	}
	add_line(i, &line);
}

static void add_snapshot(struct incident *i, const struct view *v)
{
	struct buf line;

	buf_init(&line, EVIDENCE_MAX);
	if (v->t) {
		buf_addf(&line, "At the snapshot thread %d ", v->t->tid);
		put_doing(&line, v->t);
		add_line(i, &line);
		buf_addf(&line, "The request was %s when the threads stood still",
			 i->capture.running_at_snapshot ? "still running" : "over");
		if (i->capture.started_after_ns)
			buf_addf(&line, ", %.1f ms after the trigger", ns_to_ms(i->capture.started_after_ns));
	} else if (i->analysis.failed) {
		buf_addf(&line, "No stacks: %s", i->analysis.failed);
	} else if (i->capture.failed) {
		buf_addf(&line, "No capture: %s", i->capture.failed);
	} else if (i->suppressed) {
		buf_addf(&line, "Not captured: %s", i->suppressed);
	}
	add_line(i, &line);
	if (v->t && v->t->script.unavailable)
		strings_add(&i->evidence, v->t->script.unavailable);
}

static void add_locks(struct incident *i, const struct view *v)
{
	struct buf line;

	for (char **d = i->analysis.deadlock; d && *d; d++) {
		buf_init(&line, EVIDENCE_MAX);
		buf_addf(&line, "Deadlock among the threads: %s", *d);
		add_line(i, &line);
	}
	for (size_t k = 0; k < i->analysis.lock_count && v->t; k++) {
		const struct lock *lock = &i->analysis.lock[k];
		bool mine = false;

		for (size_t n = 0; n < lock->waiter_count; n++)
			mine |= lock->waiter[n] == v->t->tid;
		if (!mine)
			continue;
		buf_init(&line, EVIDENCE_MAX);
		buf_addf(&line, "%zu thread%s wait%s for %s", lock->waiter_count, lock->waiter_count == 1 ? "" : "s",
			 lock->waiter_count == 1 ? "s" : "", lock->name);
		if (lock->owner)
			buf_addf(&line, ", whose owner word names %d%s%s%s", lock->owner, lock->owner_name ? " \"" : "",
				 lock->owner_name ? lock->owner_name : "", lock->owner_name ? "\"" : "");
		add_line(i, &line);
	}
}

/* What an idle event loop's request last did is the best hint at what it waits for. */
static void add_last_event(struct incident *i, const struct view *v)
{
	struct buf line;

	if (v->kind != WAIT_EVENTS)
		return;
	for (size_t k = i->trace_count; k-- > 0;) {
		const struct trace_event *e = &i->trace[k];

		if (!e->kind || (strcmp(e->kind, "send") && strcmp(e->kind, "recv") && strcmp(e->kind, "call")))
			continue;
		buf_init(&line, EVIDENCE_MAX);
		buf_addf(&line, "The last thing done for it, after %.1f ms: %s %s%s%s", ns_to_ms(e->at_ns), e->kind,
			 e->name ? e->name : "", e->detail ? " " : "", e->detail ? e->detail : "");
		add_line(i, &line);
		return;
	}
}

static void add_evidence(struct incident *i, const struct view *v)
{
	struct buf line;

	if (i->reason == REASON_ABORTED)
		strings_add(&i->evidence, "The client went away before the answer");
	add_spending(i);
	add_snapshot(i, v);
	add_locks(i, v);
	add_last_event(i, v);
	if (i->losses.events_overwritten || i->losses.ring_lost) {
		buf_init(&line, EVIDENCE_MAX);
		buf_addf(&line, "%llu events of the trace were lost",
			 (unsigned long long)(i->losses.events_overwritten + i->losses.ring_lost));
		add_line(i, &line);
	}
}

/* --- the verdict --- */

static struct view look(const struct incident *i)
{
	struct view v = { .i = i };

	for (size_t k = 0; k < i->analysis.thread_count && !v.t; k++) {
		if (i->analysis.thread[k].holder)
			v.t = &i->analysis.thread[k];
	}
	if (!v.t)
		v.t = thread_by_tid(i, i->holder_tid);
	for (size_t k = 0; k < i->spending_count; k++) {
		if (!v.top || i->spending[k].ns > v.top->ns)
			v.top = &i->spending[k];
	}
	if (v.top)
		v.percent = i->elapsed_ns ? (unsigned int)MIN(v.top->ns * 100.0 / (double)i->elapsed_ns, 100.0) : 0;
	if (v.top && v.top->kind == SPEND_WAIT) {
		v.call = v.top->call;
		v.object = v.top->object;
	} else if (!v.top && v.t) {
		v.call = v.t->call;
	}
	v.kind = wait_kind_of(v.call);
	if (v.t && (i->capture.running_at_snapshot || !v.top)) {
		if (v.call)
			v.agrees = v.t->call && !strcmp(v.t->call, v.call);
		else if (v.top && v.top->kind == SPEND_WAIT)
			v.agrees = false;
		else
			v.agrees = !v.top || v.top->kind != SPEND_CPU || !v.t->call || v.t->state == 'R';
	}
	if (!v.object && v.agrees && v.kind != WAIT_SLEEP)
		v.object = v.t->waits_for;
	return v;
}

static const char *confidence_of(const struct view *v, const struct cause *cause)
{
	static const char *const level[] = { "low", "medium", "high" };
	size_t most = 0, is = 0;

	while (strcmp(level[most], cause->most))
		most++;
	if (cause->test == test_status)
		is = v->i->capture.running_at_snapshot && v->t ? 2 : 1;
	else if (!v->top)
		is = v->agrees ? 1 : 0; /* a snapshot without a trace: one sample */
	else if (v->percent >= SURE_PERCENT && (v->agrees || cause->test == test_runnable || cause->test == test_queue))
		is = 2;
	else if (v->percent >= MAIN_PERCENT)
		is = 1;
	/* what was lost might have been the cause */
	if (is == 2 && v->i->losses.events_overwritten)
		is = 1;
	return level[MIN(is, most)];
}

void verdict_make(struct incident *incident)
{
	struct view v = look(incident);
	struct buf out;

	for (char **e = incident->evidence; e && *e; e++)
		free(*e);
	free(incident->evidence);
	incident->evidence = NULL;
	buf_init(&out, SENTENCE_MAX);
	for (size_t k = 0; k < ARRAY_LEN(causes); k++) {
		const struct cause *c = &causes[k];

		if (!c->test(&v))
			continue;
		c->tell(&v, &out);
		buf_adds(&out, ".");
		free(incident->verdict);
		incident->verdict = finish(&out);
		text_set(&incident->confidence, confidence_of(&v, c));
		text_set(&incident->advice, c->advice);
		break;
	}
	add_evidence(incident, &v);
}
