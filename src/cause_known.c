// SPDX-License-Identifier: MIT
/* Patterns that have a name: a pipe that nobody reads, threads that hand one lock round, a
 * database in a file that is locked, a search that goes back and back, a heap that is swept. Each is a case of a plainer cause, whose
 * words it shares; what makes it this one must be on the stack, for the advice differs. */
#include "cause.h"

#include <string.h>

#define CONVOY_LEAST 4 /* threads that wait for one lock */

/* ---- a pipe is full ---- */

static bool writes(const char *call)
{
	return starts(call, "write") || starts(call, "splice") || starts(call, "vmsplice") || starts(call, "tee");
}

bool test_pipe_full(const struct view *v)
{
	return v->kind == WAIT_FD && writes(v->call) && v->object && strstr(v->object, "pipe");
}

/* Who should read: 'child 4712 "sh"' of the pipe's own words, or who was found to have its end. */
static void put_reader(struct buf *out, const struct view *v)
{
	const char *child = strstr(v->object, "pipe to child ");
	const char *peer = v->top ? v->top->peer : NULL;

	for (size_t n = 0; n < v->i->scene.end_count && !peer; n++) {
		const struct open_end *e = &v->i->scene.end[n];

		if (e->waited && e->peer && starts(e->what, "pipe"))
			peer = e->peer;
	}
	if (child)
		buf_addf(out, "%.*s does not read", (int)strcspn(child + strlen("pipe to "), ")"),
			 child + strlen("pipe to "));
	else
		buf_addf(out, peer ? "%s does not read" : "nobody reads", peer ? peer : "");
}

void tell_pipe_full(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_addf(out, " waited for room in a full pipe (%s) that ", v->call);
	put_reader(out, v);
	put_in_place(out, v, ", in ");
	put_for(out, v);
	put_chain(out, v, false);
}

/* ---- a client behind a proxy ---- */

/* The connection that the request came by leads to the process before: whom that one waits for
 * is not looked at, but it reads no faster than its own client does. */
bool test_passed_on(const struct view *v)
{
	if (v->i->chain_count < 2 || !v->object || (v->kind != WAIT_FD && v->kind != WAIT_POLL))
		return false;
	for (size_t n = 0; n < v->i->scene.end_count; n++) {
		const struct open_end *e = &v->i->scene.end[n];

		if (e->mine && e->what && strstr(v->object, e->what))
			return true;
	}
	return false;
}

void tell_passed_on(const struct view *v, struct buf *out)
{
	const struct hop *before = &v->i->chain[v->i->chain_count - 2];
	bool sends = writes(v->call) || starts(v->call, "send");

	put_subject(out, v);
	buf_addf(out, " waited for %s %d to %s (%s)", before->process ? before->process : "process", before->pid,
		 sends ? "take its answer" : "send the rest of the request", v->call);
	buf_addf(out, sends ? ", which that has to pass on to the client %s," : ", which that gets from the client %s,",
		 v->i->request.client ? v->i->request.client : "");
	put_in_place(out, v, " in ");
	put_for(out, v);
}

/* ---- what the application says itself ---- */

bool test_mark(const struct view *v)
{
	return v->i->reason == REASON_APP_MARK && v->i->severity;
}

/* Its words: of the first mark so grave. */
static const struct trace_event *grave_mark(const struct incident *i)
{
	for (size_t k = 0; k < i->trace_count; k++) {
		if (i->trace[k].severity == i->severity && i->trace[k].name && starts(i->trace[k].kind, "mark"))
			return &i->trace[k];
	}
	return NULL;
}

void tell_mark(const struct view *v, struct buf *out)
{
	const struct trace_event *mark = grave_mark(v->i);
	struct buf place;

	put_request(out, v->i);
	buf_addf(out, " was marked %s", severity_name(v->i->severity));
	if (mark)
		buf_addf(out, " ('%.200s')", mark->name);
	buf_adds(out, " after ");
	put_ns(out, mark ? mark->at_ns : v->i->elapsed_ns);
	buf_adds(out, " by ");
	put_subject(out, v);
	buf_init(&place, PIECE_MAX);
	if (v->i->capture.running_at_snapshot && put_place(&place, v->t))
		buf_addf(out, ", which was in %s when it stood still", place.data);
	buf_done(&place);
}

/* ---- locks ---- */

bool test_join(const struct view *v)
{
	return test_lock(v) && starts(v->t->waits_for, "thread ");
}

static const struct lock *lock_of(const struct view *v)
{
	for (size_t k = 0; k < v->i->analysis.lock_count; k++) {
		const struct lock *lock = &v->i->analysis.lock[k];

		for (size_t n = 0; n < lock->waiter_count; n++) {
			if (lock->waiter[n] == v->t->tid)
				return lock;
		}
	}
	return NULL;
}

/* The function that takes the lock is on the holder's stack, too: it came the same way. */
static bool came_the_same_way(const struct view *v, const struct thread *holder)
{
	const struct stack *script = &v->t->script;
	const struct frame *mine = script->count ? own_frame(script) : native_frame(v->t);
	const struct stack *theirs = script->count ? &holder->script : &holder->stack;

	for (size_t n = 0; mine && n < theirs->count; n++) {
		const struct frame *f = &theirs->frame[n];

		if (f->function && mine->function && !strcmp(f->function, mine->function))
			return true;
	}
	return false;
}

/* One holder that is slow is a lock; many that are quick, one after the other, a convoy. */
bool test_convoy(const struct view *v)
{
	const struct lock *lock = test_lock(v) ? lock_of(v) : NULL;
	const struct thread *holder = lock ? thread_by_tid(v->i, lock->owner) : NULL;

	return holder && lock->waiter_count >= CONVOY_LEAST && came_the_same_way(v, holder);
}

void tell_convoy(const struct view *v, struct buf *out)
{
	const struct lock *lock = lock_of(v);
	const struct thread *holder = thread_by_tid(v->i, lock->owner);

	put_subject(out, v);
	buf_addf(out, " waited in line with %zu other threads for %s", lock->waiter_count - 1, v->t->waits_for);
	put_in_place(out, v, ", in ");
	put_for(out, v);
	buf_adds(out, "; the holder came the same way, and ");
	put_doing(out, holder);
}

/* ---- Ruby's own waits ---- */

static bool waits_in_ruby(const struct view *v)
{
	return v->agrees && v->t && v->t->script.count && starts(v->i->analysis.language, "Ruby ") &&
	       (v->kind == WAIT_FUTEX || (v->kind == WAIT_POLL && v->object && strstr(v->object, "eventfd")));
}

/* The innermost method is written in C and called one of these, of a list that ends in NULL. */
static bool in_method(const struct view *v, const char *const *names)
{
	const struct frame *f = waits_in_ruby(v) ? &v->t->script.frame[0] : NULL;

	while (f && !f->file && f->function && *names && strcmp(f->function, *names) != 0)
		names++;
	return f && !f->file && f->function && *names;
}

/* On a condition of its own, which has a time limit: Kernel#sleep. */
bool test_ruby_sleep(const struct view *v)
{
	return in_method(v, (const char *const[]){ "sleep", NULL });
}

/* One thread at a time waits where signals are told of, and not at its condition. */
bool test_ruby_signals(const struct view *v)
{
	static const char *const names[] = { "pop",   "push",	"lock",	   "synchronize", "wait", "join",
					     "value", "system", "waitpid", "wait2",	  "`",	  NULL };

	return v->kind == WAIT_POLL && in_method(v, names);
}

void tell_ruby_signals(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " waited for another thread or a child process to wake it");
	put_in_place(out, v, ", in ");
	put_for(out, v);
}

/* ---- a database in a file ---- */

#define SQLITE_FRAMES 6 /* from the sleep to the busy handler and its caller */

/* SQLite waits for a lock of another process or thread by trying again after a sleep. */
bool test_sqlite(const struct view *v)
{
	const struct stack *stack = v->kind == WAIT_SLEEP && v->agrees && v->t ? &v->t->stack : NULL;

	for (size_t n = 0; stack && n < MIN(stack->count, (size_t)SQLITE_FRAMES); n++) {
		const struct frame *f = &stack->frame[n];

		if (starts(f->module, "libsqlite3.so") || starts(f->function, "sqlite"))
			return true;
	}
	return false;
}

void tell_sqlite(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " waited for somebody else's lock on an SQLite database, asleep between its tries");
	put_in_place(out, v, ", in ");
	put_for(out, v);
}

/* ---- what a thread computes ---- */

static bool computes(const struct view *v)
{
	return test_cpu(v) && v->agrees && v->t;
}

/* Innermost in the script, or in the language's own library for it. */
bool test_regex(const struct view *v)
{
	const struct frame *f = computes(v) && v->t->script.count ? &v->t->script.frame[0] : NULL;
	const char *file = f ? f->file : NULL;

	if (!f)
		return false;
	if (!file)
		return starts(f->function, "preg_") || starts(f->function, "mb_ereg");
	return strstr(file, "/lib/python3.") && (strstr(file, "/re/") || strstr(file, "/re.py"));
}

void tell_regex(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " was matching a regular expression");
	put_computing(out, v);
}

bool test_collection(const struct view *v)
{
	static const char *const sweeps[] = { "zend_gc_collect_cycles", "gc_collect_", "PyGC_Collect",
					      "v8::internal::Heap::CollectGarbage", "runtime.gcDrain" };
	const struct stack *stack = computes(v) ? &v->t->stack : NULL;

	for (size_t n = 0; stack && n < stack->count; n++) {
		const char *function = stack->frame[n].function;

		/* further out it is the script that computes */
		if (!function || starts(function, "execute_ex") || starts(function, "_PyEval_EvalFrame") ||
		    starts(function, "rb_vm_exec"))
			return false;
		for (size_t k = 0; k < ARRAY_LEN(sweeps); k++) {
			if (starts(function, sweeps[k]))
				return true;
		}
	}
	return false;
}

void tell_collection(const struct view *v, struct buf *out)
{
	put_subject(out, v);
	buf_adds(out, " was collecting garbage");
	put_computing(out, v);
}
