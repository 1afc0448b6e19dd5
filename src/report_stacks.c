// SPDX-License-Identifier: MIT
/* Every thread's stack in full: what the pages fold. One thread a block, the
 * request's first; easy for grep and for scripts that cut at empty lines. */
#include "report.h"

#include "report_words.h"

#include <inttypes.h>
#include <string.h>

static void add_text(struct buf *out, const char *text)
{
	add_clean(out, text, strlen(text));
}

static void add_frame(struct buf *out, size_t index, const struct frame *f)
{
	CLEAN(free) char *called = frame_called(f);

	buf_addf(out, "  #%-3zu ", index);
	if (f->pc)
		buf_addf(out, "0x%016" PRIx64 "  ", f->pc);
	add_text(out, called ? called : "");
	if (f->file) {
		buf_adds(out, "  ");
		add_text(out, f->file);
		if (f->line)
			buf_addf(out, ":%u", f->line);
	}
	if (f->module) {
		buf_adds(out, "  [");
		add_text(out, f->module);
		buf_adds(out, "]");
	}
	buf_adds(out, "\n");
}

static void add_stack(struct buf *out, const char *title, const struct stack *stack)
{
	if (!stack->count && !stack->unavailable)
		return;
	buf_addf(out, " %s\n", title);
	for (size_t n = 0; n < stack->count; n++)
		add_frame(out, n, &stack->frame[n]);
	if (stack->unavailable) {
		buf_adds(out, "  ! ");
		add_text(out, stack->unavailable);
		buf_adds(out, "\n");
	}
}

static void add_thread(struct buf *out, const struct thread *t)
{
	buf_addf(out, "\nthread %d \"", t->tid);
	add_text(out, t->comm ? t->comm : "");
	buf_addf(out, "\"%s%s", t->holder ? "  HOLDS THE REQUEST" : "", t->state ? "  state " : "");
	if (t->state)
		add_clean(out, &t->state, 1);
	if (t->call) {
		buf_adds(out, "  in ");
		add_text(out, t->call);
	}
	if (t->waits_for) {
		buf_adds(out, "  waits for ");
		add_text(out, t->waits_for);
	}
	buf_adds(out, "\n");
	add_stack(out, "script", &t->script);
	add_stack(out, "native", &t->stack);
}

int report_stacks(const struct incident *incident, struct buf *out, struct err *err)
{
	const struct analysis *a = &incident->analysis;

	buf_addf(out, "incident %s  process %d \"", incident->id, incident->holder_pid);
	add_text(out, incident->process.comm ? incident->process.comm : "");
	buf_addf(out, "\"  %zu thread%s\n", a->thread_count, word_plural(a->thread_count));
	if (a->failed) {
		buf_adds(out, "analysis failed: ");
		add_text(out, a->failed);
		buf_adds(out, "\n");
	}
	for (size_t n = 0; n < a->thread_count; n++) {
		if (a->thread[n].holder)
			add_thread(out, &a->thread[n]);
	}
	for (size_t n = 0; n < a->thread_count; n++) {
		if (!a->thread[n].holder)
			add_thread(out, &a->thread[n]);
	}
	for (size_t n = 0; n < incident->beyond_count; n++) {
		const struct beyond *b = &incident->beyond[n];

		if (!b->thread.tid)
			continue;
		buf_addf(out, "\nbeyond: process %d \"", b->pid);
		add_text(out, b->process ? b->process : "");
		buf_adds(out, "\" ");
		add_text(out, b->how ? b->how : "");
		buf_adds(out, "\n");
		add_thread(out, &b->thread);
	}
	for (size_t n = 0; n < incident->sample_count; n++) {
		const struct later_look *s = &incident->sample[n];

		buf_addf(out, "\nafter %s ms%s%s", word_ms(s->at_ns).s, s->failed ? ": " : "",
			 s->thread.tid ? ":" : "");
		add_text(out, s->failed ? s->failed : "");
		buf_adds(out, "\n");
		if (s->thread.tid)
			add_thread(out, &s->thread);
	}
	return report_done(out, "stacks", err);
}
