// SPDX-License-Identifier: MIT
/* The chain of waits out of two places: inside the process the owners of locks in its
 * analysis, beyond it the rows of 'beyond', which begin at the holder themselves and name
 * the threads of its process without their stacks. Trap: owners come out of memory that
 * may be broken: a thread is never met twice. */
#include "report_steps.h"

#include "report_words.h"

#include <string.h>

#define STEPS_MOST 32

static const struct thread *thread_of(const struct incident *i, pid_t tid)
{
	for (size_t n = 0; n < i->analysis.thread_count; n++) {
		if (i->analysis.thread[n].tid == tid)
			return &i->analysis.thread[n];
	}
	return NULL;
}

/* 'holds mutex 0x7f..' of 'mutex 0x7f.. held by 4711 "x"' */
static char *how_of(const char *waits_for)
{
	const char *end = waits_for ? strstr(waits_for, " held by ") : NULL;
	char *how = NULL;

	if (!end && waits_for)
		end = strstr(waits_for, " locked by ");
	if (!end)
		return strdup("is the thread that is waited for");
	while (end > waits_for && end[-1] == ',')
		end--;
	text_setf(&how, "holds %.*s", (int)(end - waits_for), waits_for);
	return how;
}

/* Owners of locks, from thread to thread of the process. */
static int inside(const struct incident *i, struct steps *s)
{
	const struct thread *t = &s->row[0].thread;

	while (t && t->waits_for_tid && s->count < STEPS_MOST) {
		struct beyond next = { .pid = i->holder_pid, .tid = t->waits_for_tid, .how = how_of(t->waits_for) };
		struct beyond *row;

		t = thread_of(i, next.tid);
		for (size_t n = 0; n < s->count; n++)
			next.cycle |= s->row[n].tid == next.tid;
		next.process = i->process.comm;
		if (!t)
			next.failed = "it is not among the captured threads";
		else if (!next.cycle)
			next.thread = *t;
		row = list_add(&s->row, &s->count, sizeof(*row));
		if (!row || !next.how) {
			free(next.how);
			return -ENOMEM;
		}
		*row = next;
		if (next.cycle)
			break;
	}
	return 0;
}

int steps_make(const struct incident *i, struct steps *ret_steps)
{
	const struct thread *t = holder_thread(i);
	struct steps s = { 0 };
	struct beyond *row = list_add(&s.row, &s.count, sizeof(*row));
	int r = row ? 0 : -ENOMEM;

	if (row)
		*row = (struct beyond){ .pid = i->holder_pid, .tid = i->holder_tid, .process = i->process.comm };
	if (row && t)
		row->thread = *t;
	s.made_from = 1;
	if (r == 0 && !i->beyond_count)
		r = inside(i, &s);
	for (size_t n = 0; r == 0 && n < i->beyond_count; n++) {
		row = list_add(&s.row, &s.count, sizeof(*row));
		if (!row) {
			r = -ENOMEM;
			break;
		}
		*row = i->beyond[n];
		t = row->pid == i->holder_pid && !row->cycle ? thread_of(i, row->tid) : NULL;
		if (t && !row->thread.tid)
			row->thread = *t;
		s.made_from = s.count;
	}
	if (r < 0) {
		steps_free(&s);
		return r;
	}
	*ret_steps = s;
	return 0;
}

void steps_free(struct steps *s)
{
	for (size_t n = s->made_from; n < s->count; n++)
		free(s->row[n].how);
	free(s->row);
	*s = (struct steps){ 0 };
}

size_t step_back(const struct steps *s, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		if (s->row[k].pid == s->row[n].pid && s->row[k].tid == s->row[n].tid)
			return k;
	}
	return 0;
}
