// SPDX-License-Identifier: MIT
/* What it means that a thread stands where it stood. That an idle worker and a stuck one
 * look alike is said, not guessed: only what waits for a lock, a disk or a peer is told
 * without an 'or'. Threads with the same meaning, words and place are one group. */
#include "compare_rows.h"

#include "cause.h"
#include "report_words.h"
#include "waits.h"

#include <string.h>

#define COMPUTES_PERMILLE 50 /* of a core, in each interval, for a loop */
#define WANTED_PERMILLE 500  /* or so much with the time in which it waited for one */
#define WORKS_PERMILLE 10    /* of a core: the dumps themselves cost a thread less */

const char *meaning_name(enum meaning meaning)
{
	static const char *const name[] = {
		"deadlock",	 "loop", "holder", "stuck", "waits", "computes",
		"idle or stuck", "idle", "works",  "moves", "new",
	};

	return name[meaning];
}

static const struct stand *last_stand(const struct tracked *t)
{
	return t->now < t->stand_count ? &t->stand[t->now] : NULL;
}

/* In how many samples it stood where it stood most. */
static size_t most_often(const struct tracked *t)
{
	size_t most = 0;

	for (size_t i = 0; i < t->stand_count; i++)
		most = MAX(most, t->stand[i].count);
	return most;
}

static size_t places(const struct tracked *t)
{
	return t->stand_count + t->elsewhere;
}

/* ---- the function of a loop ---- */

static bool is_library(const struct frame *f)
{
	return f->module && (starts(f->module, "libc.so") || starts(f->module, "libc-") || starts(f->module, "ld-") ||
			     starts(f->module, "libpthread"));
}

/* The innermost frame that is in all samples and says something. NULL: none. */
static const struct frame *common_frame(const struct tracked *t)
{
	const struct place *p = t->stand[0].place;
	size_t script_skip = p->script.count - t->script_common, skip = p->native.count - t->native_common;
	struct thread inner = { .stack = { .frame = p->native.frame + skip, .count = t->native_common } };
	const struct frame *f;

	if (t->script_common)
		return &p->script.frame[script_skip];
	f = native_frame(&inner);
	for (size_t i = skip; !f && i < p->native.count; i++) {
		if (!is_library(&p->native.frame[i]) && p->native.frame[i].function)
			f = &p->native.frame[i];
	}
	return f;
}

/* ---- what it means ---- */

static bool in_deadlock(const struct compare *c, pid_t tid)
{
	for (char **d = c->deadlock; d && *d; d++) {
		for (const char *p = *d; p; p = strstr(p, " -> "), p = p ? p + 4 : NULL) {
			if (atoi(p) == tid)
				return true;
		}
	}
	return false;
}

static bool computes(const struct tracked *t)
{
	return t->computing == t->seen && t->intervals &&
	       (t->least_permille >= COMPUTES_PERMILLE || t->least_wanted >= WANTED_PERMILLE);
}

/* Does it wait for somebody at the other end? */
static bool for_a_peer(const struct stand *s, enum wait_kind kind)
{
	static const char *const peer[] = { " -> ", "(unix:", "pipe to child" };

	if (kind == WAIT_CHILD || (s->place->call && !strcmp(s->place->call, "connect")))
		return true;
	if (kind != WAIT_FD && kind != WAIT_POLL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(peer); i++) {
		if (strstr(s->object, peer[i]))
			return !strstr(s->object, "(listening)");
	}
	return false;
}

static enum meaning meaning_of_same(const struct tracked *t)
{
	const struct stand *s = last_stand(t);
	enum wait_kind kind = wait_kind_of(s->place->call);
	struct cpu_use use;

	if (t->locked_out == t->seen || kind == WAIT_FILE_LOCK || kind == WAIT_DISK || t->state == 'D')
		return MEANS_STUCK;
	if (tracked_cpu(t, &use) && use.permille >= WORKS_PERMILLE)
		return MEANS_WORKS;
	/* woken just before each look, or never scheduled: the CPU tells */
	if (kind == WAIT_NONE)
		return !s->place->call && tracked_cpu(t, &use) && use.ns ? MEANS_WORKS : MEANS_STUCK;
	if (for_a_peer(s, kind))
		return MEANS_WAITS;
	return starts(s->place->call, "accept") ? MEANS_IDLE : MEANS_MAYBE;
}

static enum meaning meaning_of(const struct compare *c, const struct tracked *t)
{
	if (t->seen < 2)
		return MEANS_NEW;
	if (in_deadlock(c, t->tid))
		return MEANS_DEADLOCK;
	if (computes(t))
		return common_frame(t) ? MEANS_LOOP : MEANS_COMPUTES;
	if (t->holding == t->seen)
		return MEANS_HOLDER;
	return most_often(t) == t->seen ? meaning_of_same(t) : MEANS_MOVES;
}

/* ---- the words ---- */

static void put_call(struct buf *out, const struct tracked *t, enum meaning meaning)
{
	const struct stand *s = last_stand(t);
	const char *call = s ? s->place->call : NULL;

	if (call)
		buf_addf(out, wait_kind_of(call) == WAIT_NONE ? ", in %s" : ", waiting in %s", call);
	else if (s && t->state == 'D')
		buf_adds(out, ", in the kernel");
	else if (s && (t->state == 'T' || t->state == 't'))
		buf_adds(out, ", stopped");
	else if (s)
		buf_addf(out, ", in no system call%s", meaning == MEANS_STUCK ? ", and no CPU used" : "");
}

static void put_words(const struct compare *c, const struct tracked *t, enum meaning meaning, struct buf *out)
{
	size_t most = most_often(t);

	switch (meaning) {
	case MEANS_LOOP:
		buf_addf(out, "cpu loop in %s: %zu/%zu", frame_function(common_frame(t)), t->computing, t->seen);
		break;
	case MEANS_COMPUTES:
		buf_adds(out, "computes, in other functions each time");
		break;
	case MEANS_NEW:
		buf_addf(out, "seen in 1 of %zu samples only", c->samples);
		break;
	case MEANS_MOVES:
		if (most > 1)
			buf_addf(out, "same in %zu/%zu, then elsewhere", most, t->seen);
		else
			buf_addf(out, "moves: %zu places in %zu samples", places(t), t->seen);
		break;
	default:
		if (meaning == MEANS_DEADLOCK || meaning == MEANS_STUCK || meaning == MEANS_MAYBE ||
		    meaning == MEANS_IDLE)
			buf_addf(out, "%s: ", meaning_name(meaning));
		buf_addf(out, "same in %zu/%zu", most, t->seen);
		put_call(out, t, meaning);
	}
	if (meaning == MEANS_WORKS)
		buf_adds(out, ", and works in between");
	if (t->holds)
		buf_addf(out, ", %s %s that %zu thread%s", t->holding == t->seen ? "holds" : "held", t->holds,
			 t->holds_for, t->holds_for == 1 ? " waits for" : "s wait for");
	if (t->first)
		buf_addf(out, ", came after sample %zu", t->first);
}

/* ---- groups ---- */

struct told {
	const struct tracked *thread;
	enum meaning meaning;
	const struct place *place; /* NULL: does not matter */
	char *words;
};

static int by_group(const void *a, const void *b)
{
	const struct told *x = a, *y = b;
	int r;

	if (x->meaning != y->meaning)
		return x->meaning < y->meaning ? -1 : 1;
	r = strcmp(x->words, y->words);
	if (r)
		return r;
	if (x->place != y->place)
		return (uintptr_t)x->place < (uintptr_t)y->place ? -1 : 1;
	return x->thread->tid < y->thread->tid ? -1 : x->thread->tid > y->thread->tid;
}

/* A holder that waits itself is not where it begins. */
static bool waits_too(const struct group *g)
{
	return g->meaning == MEANS_HOLDER && g->member[0]->locked_out == g->member[0]->seen;
}

/* By meaning; then what holds the most threads up, the largest, the first. */
static int by_weight(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->meaning != y->meaning)
		return x->meaning < y->meaning ? -1 : 1;
	if (waits_too(x) != waits_too(y))
		return waits_too(x) ? 1 : -1;
	if (x->member[0]->holds_for != y->member[0]->holds_for)
		return x->member[0]->holds_for > y->member[0]->holds_for ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->member[0]->tid < y->member[0]->tid ? -1 : 1;
}

static int tell(const struct compare *c, const struct tracked *t, struct told *ret)
{
	const struct stand *s = last_stand(t);
	struct buf words;

	buf_init(&words, 65536);
	ret->thread = t;
	ret->meaning = meaning_of(c, t);
	put_words(c, t, ret->meaning, &words);
	ret->words = buf_take(&words);
	if (ret->meaning == MEANS_LOOP)
		ret->place = t->stand[0].place;
	else if (s && ret->meaning != MEANS_COMPUTES)
		ret->place = s->place;
	return ret->words ? 0 : -ENOMEM;
}

static int group_add(struct group **groups, size_t *count, struct told *told)
{
	struct group *g = *count ? &(*groups)[*count - 1] : NULL;
	const struct tracked *t = told->thread;
	const struct tracked **member;
	bool anywhere = told->meaning == MEANS_LOOP || (told->meaning == MEANS_MOVES && most_often(t) < 2);

	if (!g || g->meaning != told->meaning || strcmp(g->words, told->words) != 0 ||
	    (!anywhere && g->place != told->place)) {
		g = list_add(groups, count, sizeof(*g));
		if (!g)
			return -ENOMEM;
		*g = (struct group){ .meaning = told->meaning, .words = told->words, .place = told->place };
		told->words = NULL;
		if (g->meaning == MEANS_LOOP) {
			g->script_skip = g->place->script.count - t->script_common;
			g->native_skip = g->place->native.count - t->native_common;
		}
	}
	if (g->meaning == MEANS_MOVES && g->place != told->place)
		g->place = NULL;
	member = list_add(&g->member, &g->count, sizeof(*member)); // NOLINT(bugprone-sizeof-expression): pointers
	if (!member)
		return -ENOMEM;
	*member = t;
	return 0;
}

int compare_groups(const struct compare *c, struct group **ret_groups, size_t *ret_count)
{
	struct told *told = calloc(c->thread_count + 1, sizeof(*told));
	struct group *groups = NULL;
	size_t count = 0, n = 0;
	int r = told ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->thread_count && r == 0; i++) {
		if (c->thread[i].seen)
			r = tell(c, &c->thread[i], &told[n++]);
	}
	if (r == 0)
		qsort(told, n, sizeof(*told), by_group);
	for (size_t i = 0; i < n && r == 0; i++)
		r = group_add(&groups, &count, &told[i]);
	for (size_t i = 0; i < n; i++)
		free(told[i].words);
	free(told);
	if (r < 0) {
		groups_free(groups, count);
		return r;
	}
	if (count)
		qsort(groups, count, sizeof(*groups), by_weight);
	*ret_groups = groups;
	*ret_count = count;
	return 0;
}

void groups_free(struct group *groups, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(groups[i].words);
		free(groups[i].member);
	}
	free(groups);
}
