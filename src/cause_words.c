// SPDX-License-Identifier: MIT
/* The pieces of a verdict's sentence. Rejected: sentences by one format string each
 * (half of what they would print is not known half of the time). */
#include "cause.h"

#include "ktime.h"

#include <string.h>

void put_ns(struct buf *out, uint64_t ns)
{
	if (ns >= 100 * NSEC_PER_MSEC)
		buf_addf(out, "%.2f s", (double)ns / 1e9);
	else if (ns >= 100 * NSEC_PER_USEC)
		buf_addf(out, "%.1f ms", ns_to_ms(ns));
	else
		buf_addf(out, "%.0f us", (double)ns / 1e3);
}

const struct spending *spent(const struct incident *i, enum spend kind)
{
	for (size_t n = 0; n < i->spending_count; n++) {
		if (i->spending[n].kind == kind)
			return &i->spending[n];
	}
	return NULL;
}

void put_part(struct buf *out, const struct view *v, uint64_t ns)
{
	if (v->i->elapsed_ns >= 100 * NSEC_PER_MSEC && ns >= 10 * NSEC_PER_MSEC) {
		buf_addf(out, " for %.2f of %.2f s", (double)ns / 1e9, (double)v->i->elapsed_ns / 1e9);
		return;
	}
	buf_adds(out, " for ");
	put_ns(out, ns);
	buf_adds(out, " of ");
	put_ns(out, v->i->elapsed_ns);
}

/* 'for 0.50 of 0.50 s' */
void put_for(struct buf *out, const struct view *v)
{
	if (v->top)
		put_part(out, v, v->top->ns);
}

/* Functions that say nothing about the program: the machinery around it. */
static bool is_plumbing(const struct frame *f)
{
	static const char *const module[] = { "libc.so", "libc-", "ld-", "libpthread", "libstdc++", "[vdso]" };
	static const char *const function[] = { "fn_",	      "[",	   "_Py",  "Py",     "zend_",
						"execute_ex", "php_",	   "v8::", "node::", "uv_",
						"_start",     "Builtins_", "rb_",  "ruby_",  "vm_exec" };

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

static const struct frame *native_frame_from(const struct thread *t, size_t i)
{
	for (; t && i < t->stack.count; i++) {
		if (!is_plumbing(&t->stack.frame[i]))
			return &t->stack.frame[i];
	}
	return NULL;
}

const struct frame *native_frame(const struct thread *t)
{
	return native_frame_from(t, 0);
}

static void put_at(struct buf *out, const struct frame *f)
{
	if (f->file && f->line)
		buf_addf(out, " at %s:%u", f->file, f->line);
	else if (f->file)
		buf_addf(out, " in %s", f->file);
}

/* Of Java's own classes, none of which lies in a package of others. */
static bool is_java_library(const struct frame *f)
{
	static const char *const package[] = { "java.", "javax.", "jdk.", "sun.", "com.sun." };

	for (size_t i = 0; i < ARRAY_LEN(package); i++) {
		if (starts(f->function, package[i]))
			return true;
	}
	return false;
}

/* Of the language, not of the program. */
static bool is_library(const struct frame *f)
{
	if (f->module && !strcmp(f->module, "java"))
		return is_java_library(f);
	return !f->file || !strncmp(f->file, "<frozen ", 8) ||
	       (strstr(f->file, "/lib/python3.") && !strstr(f->file, "-packages/"));
}

/* The innermost frame that is the program's own; if there is none, the innermost. */
const struct frame *own_frame(const struct stack *script)
{
	for (size_t i = 0; i < script->count; i++) {
		if (!is_library(&script->frame[i]))
			return &script->frame[i];
	}
	return &script->frame[0];
}

/* 'slow_part()', '{main}', '<module>' */
void put_function(struct buf *out, const struct frame *f)
{
	const char *name = f->function ? f->function : "?";

	buf_addf(out, strchr("{<", name[0]) ? "%s" : "%s()", name);
}

/* 'usleep() called by slow_part() at /srv/slow.php:3', 'holder_work at victim.c:7';
 * false if nothing is known. */
bool put_place(struct buf *out, const struct thread *t)
{
	const struct stack *script = t ? &t->script : NULL;
	const struct frame *f;

	if (script && script->count) {
		f = own_frame(script);
		put_function(out, &script->frame[0]);
		if (f != &script->frame[0]) {
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
	/* It may be a wrapper that everybody calls. */
	f = native_frame_from(t, (size_t)(f - t->stack.frame) + 1);
	if (f && strcmp(f->function, "main"))
		buf_addf(out, " called by %s", f->function);
	return true;
}

/* ' in PLACE', or nothing. The place counts only if the thread stood in the wait
 * that the sentence is about. */
void put_in_place(struct buf *out, const struct view *v, const char *before)
{
	struct buf place;

	buf_init(&place, PIECE_MAX);
	if (v->agrees && put_place(&place, v->t))
		buf_addf(out, "%s%s", before, place.data);
	buf_done(&place);
}

void put_subject(struct buf *out, const struct view *v)
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

void put_request(struct buf *out, const struct incident *i)
{
	size_t path = i->request.url ? strcspn(i->request.url, "?") : 0;

	if (i->request.method && i->request.url)
		buf_addf(out, "%s %.*s", i->request.method, (int)MIN(path, (size_t)200), i->request.url);
	else
		buf_adds(out, "The request");
}

const struct thread *thread_by_tid(const struct incident *i, pid_t tid)
{
	for (size_t k = 0; k < i->analysis.thread_count && tid; k++) {
		if (i->analysis.thread[k].tid == tid)
			return &i->analysis.thread[k];
	}
	return NULL;
}

/* What another thread does, as the end of 'held by thread 815, which ...'. */
void put_doing(struct buf *out, const struct thread *t)
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
		buf_adds(out, t->state == 'S'	? "slept in a call that has just ended"
			      : t->state == 'D' ? "waits for a page or a disk"
						: "is computing");
	buf_init(&place, PIECE_MAX);
	if (put_place(&place, t))
		buf_addf(out, " (%s)", place.data);
	buf_done(&place);
}

void put_object(struct buf *out, const char *object)
{
	const char *inside = starts(object, "fd ") ? strstr(object, " (") : NULL;
	size_t len = inside ? strlen(inside + 2) : 0;

	if (len > 1 && inside[2 + len - 1] == ')')
		buf_addf(out, starts(inside + 2, "pipe") ? "a %.*s" : "%.*s", (int)len - 1, inside + 2);
	else
		buf_addf(out, starts(object, "pipe") ? "a %s" : "%s", object);
}
