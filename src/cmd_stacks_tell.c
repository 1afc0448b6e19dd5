// SPDX-License-Identifier: MIT
/* What 'stacks' prints. Equal stacks are printed once; what stands around the process is
 * drawn by the sections of an incident's page. */
#include "cmd_stacks.h"

#include "cmd.h"
#include "facts.h"
#include "ktime.h"
#include "log.h"
#include "report.h"
#include "report_sections.h"
#include "report_words.h"

#include <jansson.h>
#include <string.h>

#define PAGE_MAX (64u << 20)
#define TIDS_SHOWN 20

static void add_text(struct buf *out, const char *text)
{
	buf_add_escaped(out, text, strlen(text));
}

static void add_stack(struct buf *out, const struct stack *stack)
{
	for (size_t n = 0; n < stack->count; n++) {
		const struct frame *f = &stack->frame[n];
		CLEAN(free) char *called = frame_called(f);

		buf_addf(out, "    #%-3zu ", n);
		add_text(out, called ? called : "");
		if (f->file) {
			buf_adds(out, " ");
			add_text(out, f->file);
			if (f->line)
				buf_addf(out, ":%u", f->line);
		} else if (f->module && (!f->function || !strstr(f->function, "+0x"))) {
			buf_adds(out, " [");
			add_text(out, f->module);
			buf_adds(out, "]");
		}
		buf_adds(out, "\n");
	}
	if (stack->unavailable) {
		buf_adds(out, "    ! ");
		add_text(out, stack->unavailable);
		buf_adds(out, "\n");
	}
}

static void add_group(struct buf *out, const struct analysis *a, const struct thread_group *g)
{
	const struct thread *t = &a->thread[g->member[0]];

	buf_addf(out, "\n%zu thread%s, ", g->count, word_plural(g->count));
	if (t->call) {
		buf_adds(out, "in ");
		add_text(out, t->call);
	} else {
		buf_adds(out, t->state == 'R' ? "running" : "in user mode");
	}
	if (t->waits_for) {
		buf_adds(out, ": ");
		add_text(out, t->waits_for);
		if (g->apart)
			buf_adds(out, " (not all for the same)");
	}
	buf_adds(out, "\n   ");
	for (size_t n = 0; n < g->count && n < TIDS_SHOWN; n++) {
		const struct thread *each = &a->thread[g->member[n]];

		buf_addf(out, " %d", each->tid);
		if (each->comm &&
		    (n == 0 ||
		     strcmp(each->comm, a->thread[g->member[n - 1]].comm ? a->thread[g->member[n - 1]].comm : ""))) {
			buf_adds(out, " \"");
			add_text(out, each->comm);
			buf_adds(out, "\"");
		}
	}
	if (g->count > TIDS_SHOWN)
		buf_addf(out, " and %zu more", g->count - TIDS_SHOWN);
	buf_adds(out, "\n");
	if (t->script.count || t->script.unavailable) {
		buf_adds(out, "  script\n");
		add_stack(out, &t->script);
		buf_adds(out, "  native\n");
	}
	add_stack(out, &t->stack);
}

static void add_locks(struct buf *out, const struct analysis *a)
{
	for (size_t n = 0; n < a->lock_count; n++) {
		const struct lock *lock = &a->lock[n];

		buf_adds(out, n ? "  " : "\nlocks waited for\n  ");
		add_text(out, lock->name);
		if (lock->owner)
			buf_addf(out, "  held by %d", lock->owner);
		else
			buf_adds(out, "  holder not known");
		buf_adds(out, "  waiting:");
		for (size_t k = 0; k < lock->waiter_count && k < TIDS_SHOWN; k++)
			buf_addf(out, " %d", lock->waiter[k]);
		if (lock->waiter_count > TIDS_SHOWN)
			buf_addf(out, " and %zu more", lock->waiter_count - TIDS_SHOWN);
		buf_adds(out, "\n");
	}
	for (char **d = a->deadlock; d && *d; d++) {
		buf_adds(out, "  DEADLOCK ");
		add_text(out, *d);
		buf_adds(out, "\n");
	}
}

/* Work that waits without a thread: equal tasks once. */
static void add_tasks(struct buf *out, const struct analysis *a)
{
	for (size_t n = 0; n < a->task_count; n++) {
		size_t count = task_equals(a, n);

		if (!count)
			continue;
		buf_addf(out, "\n%zu %s%s", count, task_word(a), word_plural(count));
		if (a->task[n].waits_for) {
			buf_adds(out, ": ");
			add_text(out, a->task[n].waits_for);
		}
		buf_adds(out, "\n   ");
		for (size_t k = n, shown = 0; k < a->task_count && shown < MIN(count, (size_t)TIDS_SHOWN); k++) {
			if (k != n && !task_equal(&a->task[n], &a->task[k]))
				continue;
			buf_adds(out, shown++ ? ", " : " ");
			add_text(out, a->task[k].name ? a->task[k].name : "?");
		}
		if (count > TIDS_SHOWN)
			buf_addf(out, " and %zu more", count - TIDS_SHOWN);
		buf_adds(out, "\n");
		add_stack(out, &a->task[n].stack);
	}
}

/* Who the thread waits for in other processes, and what those do. */
static void add_beyond(struct buf *out, const struct incident *i)
{
	for (size_t n = 0; n < i->beyond_count; n++) {
		const struct beyond *b = &i->beyond[n];
		struct buf line;

		buf_init(&line, PAGE_MAX);
		beyond_words(b, &line);
		buf_adds(out, n ? "  " : "\nthread ");
		if (!n)
			buf_addf(out, "%d waits for another process\n  ", i->holder_tid);
		add_text(out, line.data ? line.data : "");
		buf_adds(out, "\n");
		buf_done(&line);
		if (b->thread.script.count) {
			add_stack(out, &b->thread.script);
			buf_adds(out, "    native\n");
		}
		add_stack(out, &b->thread.stack);
	}
}

/* Of many threads the verdict is about one. */
static void add_judged(struct buf *out, const struct subject *subject, const struct incident *i)
{
	const struct analysis *a = &i->analysis;

	if (i->advice) {
		add_text(out, i->advice);
		buf_adds(out, "\n");
	}
	if (a->thread_count < 2)
		return;
	buf_addf(out, "said of thread %d", i->holder_tid);
	if (subject->like > 1)
		buf_addf(out, "; %zu more are as much at work", subject->like - 1);
	buf_adds(out, "\n");
}

int stacks_print_text(const struct subject *subject, const struct incident *i, const struct dump_result *result)
{
	const struct analysis *a = &i->analysis;
	struct thread_group *group = NULL;
	size_t count = 0;
	struct buf out;
	int r = threads_group(i, &group, &count);

	if (r < 0)
		return r;
	buf_init(&out, PAGE_MAX);
	add_text(&out, i->process.comm);
	buf_addf(&out, " %d", i->holder_pid);
	if (a->language) {
		buf_adds(&out, ", ");
		add_text(&out, a->language);
	}
	buf_addf(&out, ", %zu thread%s", a->thread_count, word_plural(a->thread_count));
	if (result) {
		buf_addf(&out, ", stood still for %.1f ms\n", ns_to_ms(result->pause_ns));
	} else {
		buf_adds(&out, ", out of ");
		add_text(&out, subject->core);
		buf_adds(&out, "\n");
	}
	if (subject->signal)
		buf_addf(&out, "ended by signal %d (%s), which thread %d got\n", subject->signal,
			 sigabbrev_np(subject->signal) ? sigabbrev_np(subject->signal) : "?", subject->signal_tid);
	if (i->verdict) {
		add_text(&out, i->verdict);
		buf_addf(&out, " (confidence %s: one sample)\n", i->confidence);
		add_judged(&out, subject, i);
	}
	for (size_t n = 0; n < count; n++)
		add_group(&out, a, &group[n]);
	add_locks(&out, a);
	add_tasks(&out, a);
	add_beyond(&out, i);
	r = report_text_around(i, &out);
	for (char **n = a->note; n && *n; n++) {
		buf_adds(&out, n == a->note ? "\nnote: " : "note: ");
		add_text(&out, *n);
		buf_adds(&out, "\n");
	}
	fwrite(out.data, 1, out.len, stdout);
	if (out.full)
		log_warn("the list of stacks is too long and was cut; --json has all of them");
	buf_done(&out);
	thread_groups_free(group, count);
	return r;
}

int stacks_print_json(const struct subject *subject, const struct incident *i, const struct dump_result *result,
		      unsigned int sample)
{
	CLEAN(free) char *name = facts_utf8(i->process.comm);
	CLEAN(free) char *verdict = i->verdict ? facts_utf8(i->verdict) : NULL;
	CLEAN(free) char *path = subject->core ? facts_utf8(subject->core) : NULL;
	json_t *json, *analysis;
	struct buf text;
	struct err err;
	int r;

	buf_init(&text, PAGE_MAX);
	r = analysis_write(&i->analysis, &text, &err);
	analysis = r < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
	buf_done(&text);
	json = json_pack("{s:s, s:i, s:s, s:s?, s:s?, s:s?, s:I, s:o}", "event", "stacks", "pid", (int)i->holder_pid,
			 "process", name ? name : "", "verdict", verdict, "cause", verdict ? i->cause : NULL,
			 "confidence", verdict ? i->confidence : NULL, "threads", (json_int_t)i->analysis.thread_count,
			 "analysis", analysis);
	if (!json)
		return r < 0 ? r : -ENOMEM;
	buf_init(&text, PAGE_MAX);
	if (result && around_write(i, &text, &err) == 0) {
		json_t *around = json_loadb(text.data, text.len, 0, NULL);

		if (!i->beyond_count)
			json_object_del(around, "beyond");
		json_object_update(json, around);
		json_decref(around);
	}
	buf_done(&text);
	if (result) {
		json_object_set_new(json, "threads", json_integer(result->threads));
		json_object_set_new(json, "threads_not_stopped", json_integer(result->threads_not_stopped));
		json_object_set_new(json, "pause_ms", json_real(ns_to_ms(result->pause_ns)));
	} else {
		json_object_set_new(json, "core", json_string_nocheck(path ? path : ""));
	}
	if (subject->signal)
		json_object_set_new(json, "signal", json_integer(subject->signal));
	if (sample)
		json_object_set_new(json, "sample", json_integer(sample));
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(json);
	return 0;
}

/* What the samples have in common. */
int stacks_print_comparison(const struct subject *s, bool json)
{
	struct buf out;
	int r;

	buf_init(&out, PAGE_MAX);
	if (json) {
		buf_addf(&out, "{\"event\":\"compare\",\"pid\":%d,\"process\":", s->proc.pid);
		facts_add_string(&out, s->name);
		buf_adds(&out, ",\"stacks\":");
		r = compare_json(s->compare, &out);
		buf_adds(&out, ",\"memory\":");
		r = r < 0 ? r : growth_json(s->growth, &out);
		buf_adds(&out, "}\n");
	} else {
		buf_addf(&out, "\n--- %s %d compared\n", s->name, s->proc.pid);
		r = compare_text(s->compare, &out);
		if (r == 0)
			r = growth_text(s->growth, &out);
	}
	if (r == 0)
		fwrite(out.data, 1, out.len, stdout);
	buf_done(&out);
	return r;
}
