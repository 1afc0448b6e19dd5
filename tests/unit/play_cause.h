/* SPDX-License-Identifier: MIT */
/* Incidents of a holder, thread 812 of process 811, whose 500 ms are one wait, and what the
 * verdict says of them: for the tests of causes. */
#ifndef REQTRAP_TESTS_PLAY_CAUSE_H
#define REQTRAP_TESTS_PLAY_CAUSE_H

#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ull

static struct incident *incident_of(enum spend kind, const char *call, const char *object, uint64_t ns)
{
	struct incident *i = incident_new();
	struct spending *s = list_add(&i->spending, &i->spending_count, sizeof(*s));

	text_set(&i->process.comm, "shop");
	text_set(&i->request.method, "GET");
	text_set(&i->request.url, "/slow");
	i->holder_pid = 811;
	i->holder_tid = 812;
	i->elapsed_ns = 500 * MS;
	i->capture.method = METHOD_CLONE;
	i->capture.running_at_snapshot = true;
	s->kind = kind;
	s->ns = ns;
	s->count = 1;
	s->open = true;
	text_set(&s->call, call);
	text_set(&s->object, object);
	return i;
}

static struct thread *thread_add(struct incident *i, pid_t tid, char state, const char *call, const char *waits_for)
{
	struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));

	t->tid = tid;
	t->state = state;
	t->holder = tid == i->holder_tid;
	text_set(&t->call, call);
	text_set(&t->waits_for, waits_for);
	return t;
}

static struct frame *frame_add(struct stack *stack, const char *function, const char *file)
{
	struct frame *f = list_add(&stack->frame, &stack->count, sizeof(*f));

	text_set(&f->function, function);
	text_set(&f->file, file);
	text_set(&f->module, "shop");
	f->line = 7;
	return f;
}

static void check(struct incident *i, const char *cause, const char *part, const char *confidence)
{
	verdict_make(i);
	assert_string_equal(i->cause, cause);
	if (!strstr(i->verdict, part))
		fail_msg("no '%s' in '%s'", part, i->verdict);
	assert_string_equal(i->confidence, confidence);
	incident_free(i);
}

#endif
