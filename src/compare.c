// SPDX-License-Identifier: MIT
/* What is kept of a sample: where each thread stood. Places are kept once, since most
 * threads of a pool stand in one. Rejected: keeping all samples whole (a long series of
 * a large process would take gigabytes). Trap: 'same' is the call, what is waited for
 * and the whole stack by names and lines, but who holds the lock is not in it: a lock
 * that goes from hand to hand holds its waiter up all the same. */
#include "compare_rows.h"

#include "ktime.h"
#include "waits.h"

#include <string.h>

#define HELD_BY " held by "

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* ---- places ---- */

static bool nameless(const struct frame *f)
{
	return !f->function || !f->function[0];
}

/* lines: also the same line. An address counts only where there is nothing else. */
static bool same_frame(const struct frame *a, const struct frame *b, bool lines)
{
	if (a->script != b->script || !same_text(a->function, b->function) || !same_text(a->module, b->module))
		return false;
	if (nameless(a) && a->pc != b->pc)
		return false;
	return same_text(a->file, b->file) && (!lines || a->line == b->line);
}

static bool same_stack(const struct stack *a, const struct stack *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!same_frame(&a->frame[i], &b->frame[i], true))
			return false;
	}
	return true;
}

/* How many of a's outermost frames b has, too. */
static size_t common_frames(const struct stack *a, size_t most, const struct stack *b)
{
	size_t n = 0;

	while (n < most && n < b->count && same_frame(&a->frame[a->count - 1 - n], &b->frame[b->count - 1 - n], false))
		n++;
	return n;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)(text ? text : "\1"); *p; p++)
		h = (h ^ *p) * 0x100000001b3ull;
	return (h ^ 0xff) * 0x100000001b3ull;
}

static uint64_t hash_thread(const struct thread *t)
{
	const struct stack *stack[] = { &t->script, &t->stack };
	uint64_t h = hash_text(0xcbf29ce484222325ull, t->call);

	for (size_t k = 0; k < ARRAY_LEN(stack); k++) {
		for (size_t n = 0; n < stack[k]->count; n++)
			h = hash_text(h + stack[k]->frame[n].line, stack[k]->frame[n].function);
		h = hash_text(h, "");
	}
	return h;
}

static bool copy_text(char **to, const char *from)
{
	text_set(to, from);
	return !from || *to;
}

static bool copy_stack(struct stack *to, const struct stack *from)
{
	to->frame = calloc(from->count + 1, sizeof(*to->frame));
	for (size_t i = 0; to->frame && i < from->count; i++) {
		const struct frame *f = &from->frame[i];
		struct frame *copy = &to->frame[i];

		to->count++;
		copy->line = f->line;
		copy->pc = f->pc;
		copy->script = f->script;
		if (!copy_text(&copy->function, f->function) || !copy_text(&copy->file, f->file) ||
		    !copy_text(&copy->module, f->module))
			return false;
	}
	return to->frame != NULL;
}

static void place_free(struct place *p)
{
	if (!p)
		return;
	free(p->call);
	stack_done(&p->script);
	stack_done(&p->native);
	free(p);
}

static int more_buckets(struct compare *c)
{
	size_t count = c->bucket_count ? c->bucket_count * 2 : 64;
	struct place **bucket = calloc(count, sizeof(*bucket)); // NOLINT(bugprone-sizeof-expression): pointers

	if (!bucket)
		return -ENOMEM;
	for (size_t i = 0; i < c->bucket_count; i++) {
		for (struct place *p = c->bucket[i], *next; p; p = next) {
			next = p->next;
			p->next = bucket[p->hash % count];
			bucket[p->hash % count] = p;
		}
	}
	free(c->bucket);
	c->bucket = bucket;
	c->bucket_count = count;
	return 0;
}

/* Finds or makes it. NULL: no memory. */
static struct place *place_of(struct compare *c, const struct thread *t)
{
	uint64_t hash = hash_thread(t);
	struct place *p;

	if (c->place_count >= c->bucket_count && more_buckets(c) < 0)
		return NULL;
	for (p = c->bucket[hash % c->bucket_count]; p; p = p->next) {
		if (p->hash == hash && same_text(p->call, t->call) && same_stack(&p->script, &t->script) &&
		    same_stack(&p->native, &t->stack))
			return p;
	}
	p = calloc(1, sizeof(*p));
	if (!p || !copy_text(&p->call, t->call) || !copy_stack(&p->script, &t->script) ||
	    !copy_stack(&p->native, &t->stack)) {
		place_free(p);
		return NULL;
	}
	p->hash = hash;
	p->next = c->bucket[hash % c->bucket_count];
	c->bucket[hash % c->bucket_count] = p;
	c->place_count++;
	return p;
}

/* One that nobody stands in, and nobody stood in, is forgotten. */
static void sweep(struct compare *c)
{
	for (size_t i = 0; i < c->bucket_count; i++) {
		for (struct place **at = &c->bucket[i]; *at;) {
			struct place *p = *at;

			if (p->users) {
				at = &p->next;
				continue;
			}
			*at = p->next;
			place_free(p);
			c->place_count--;
		}
	}
}

/* ---- threads ---- */

static void tracked_done(struct tracked *t)
{
	for (size_t i = 0; i < t->stand_count; i++) {
		t->stand[i].place->users--;
		free(t->stand[i].object);
	}
	free(t->comm);
	free(t->holds);
	free(t->waits_for);
}

struct compare *compare_new(void)
{
	return calloc(1, sizeof(struct compare));
}

void compare_free(struct compare *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->thread_count; i++)
		tracked_done(&c->thread[i]);
	free(c->thread);
	sweep(c);
	free(c->bucket);
	for (size_t i = 0; i < ARRAY_LEN(c->gone); i++)
		free(c->gone[i].comm);
	strings_free(c->deadlock);
	free(c->why_failed);
	free(c);
}

size_t compare_count(const struct compare *c)
{
	return c->samples;
}

/* What is waited for, without who has it, and without how long. Caller frees. */
static char *object_of(const struct thread *t)
{
	const char *end;

	if (!t->waits_for || wait_kind_of(t->call) == WAIT_SLEEP)
		return strdup("");
	end = strstr(t->waits_for, HELD_BY);
	if (!end)
		end = strstr(t->waits_for, WAITS_LOCKED_BY);
	return end ? strndup(t->waits_for, (size_t)(end - t->waits_for)) : strdup(t->waits_for);
}

static int take_stand(struct compare *c, struct tracked *t, const struct thread *from)
{
	CLEAN(free) char *object = object_of(from);
	struct place *place = place_of(c, from);
	struct stand *s;

	if (!object || !place)
		return -ENOMEM;
	for (t->now = 0; t->now < t->stand_count; t->now++) {
		s = &t->stand[t->now];
		if (s->place == place && !strcmp(s->object, object))
			break;
	}
	if (t->now == COMPARE_STANDS) {
		t->elsewhere++;
		return 0;
	}
	s = &t->stand[t->now];
	if (t->now == t->stand_count) {
		*s = (struct stand){ .place = place, .object = object };
		object = NULL;
		place->users++;
		t->stand_count++;
	}
	s->count++;
	return 0;
}

/* A walk that failed says nothing about the outer frames. */
static void take_common(struct tracked *t, const struct thread *from)
{
	const struct place *first = t->stand[0].place;

	if (t->seen == 1) {
		t->script_common = first->script.count;
		t->native_common = first->native.count;
		return;
	}
	if (!from->script.unavailable)
		t->script_common = common_frames(&first->script, t->script_common, &from->script);
	if (!from->stack.unavailable)
		t->native_common = common_frames(&first->native, t->native_common, &from->stack);
}

static unsigned int permille(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned int)MIN((double)part * 1000 / (double)whole, 1e6) : 0;
}

static void take_cpu(struct tracked *t, const struct thread_cpu *cpu, uint64_t at_ns)
{
	if (!cpu)
		return;
	t->start_ticks = cpu->start_ticks;
	if (!t->cpu_known) {
		t->cpu_known = true;
		t->at_first_ns = at_ns;
		t->cpu_first_ns = cpu->cpu_ns;
		t->queued_first_ns = cpu->queued_ns;
	} else if (at_ns > t->at_ns && cpu->cpu_ns >= t->cpu_ns && cpu->queued_ns >= t->queued_ns) {
		uint64_t used = cpu->cpu_ns - t->cpu_ns, queued = cpu->queued_ns - t->queued_ns;
		unsigned int is = permille(used, at_ns - t->at_ns), wanted = permille(used + queued, at_ns - t->at_ns);

		t->least_permille = t->intervals ? MIN(t->least_permille, is) : is;
		t->least_wanted = t->intervals ? MIN(t->least_wanted, wanted) : wanted;
		t->intervals++;
	}
	t->at_ns = at_ns;
	t->cpu_ns = MAX(t->cpu_ns, cpu->cpu_ns);
	t->queued_ns = MAX(t->queued_ns, cpu->queued_ns);
}

static const struct thread_cpu *cpu_of(const struct moment *m, pid_t tid)
{
	size_t lo = 0, hi = m->parts & MOMENT_CPU ? m->cpu_count : 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->cpu[mid].tid == tid)
			return &m->cpu[mid];
		if (m->cpu[mid].tid < tid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int by_tid(const void *a, const void *b)
{
	const struct tracked *x = a, *y = b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static struct tracked *find(struct tracked *list, size_t count, pid_t tid)
{
	struct tracked key = { .tid = tid };

	return count ? bsearch(&key, list, count, sizeof(key), by_tid) : NULL;
}

static void forget(struct compare *c, struct tracked *t)
{
	if (c->went < ARRAY_LEN(c->gone)) {
		c->gone[c->went] = (struct went){ .tid = t->tid, .comm = t->comm };
		t->comm = NULL;
	}
	c->went++;
	tracked_done(t);
}

/* Those that are neither in the sample nor alive, and those whose number is another
 * thread's by now. */
static void drop_gone(struct compare *c, const struct moment *m, const struct analysis *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->thread_count; i++) {
		struct tracked *t = find(c->thread, c->thread_count, a->thread[i].tid);

		if (t)
			t->last = c->samples;
	}
	for (size_t i = 0; i < c->thread_count; i++) {
		struct tracked *t = &c->thread[i];
		const struct thread_cpu *cpu = cpu_of(m, t->tid);
		bool other = cpu && t->start_ticks && cpu->start_ticks != t->start_ticks;

		if (other || (t->last != c->samples && !cpu))
			forget(c, t);
		else
			c->thread[n++] = *t;
	}
	c->thread_count = n;
}

static int add_thread(struct compare *c, struct tracked *t, const struct moment *m, const struct thread *from)
{
	int r;

	t->last = c->samples;
	t->state = from->state;
	t->waits_for_tid = from->waits_for_tid;
	text_set(&t->waits_for, from->waits_for);
	text_set(&t->comm, from->comm);
	r = take_stand(c, t, from);
	if (r < 0)
		return r;
	t->seen++;
	t->computing += wait_kind_of(from->call) == WAIT_NONE;
	take_common(t, from);
	take_cpu(t, cpu_of(m, t->tid), m->at_ns);
	return 0;
}

static void add_locks(struct compare *c, const struct analysis *a)
{
	for (size_t i = 0; i < a->lock_count; i++) {
		const struct lock *lock = &a->lock[i];
		struct tracked *owner = find(c->thread, c->thread_count, lock->owner);

		for (size_t k = 0; k < lock->waiter_count; k++) {
			struct tracked *waiter = find(c->thread, c->thread_count, lock->waiter[k]);

			if (waiter)
				waiter->locked_out++;
		}
		if (!owner || !lock->waiter_count)
			continue;
		/* of several locks the one with the most waiters is named */
		if (!owner->marked || lock->waiter_count > owner->holds_for) {
			owner->holds_for = lock->waiter_count;
			text_set(&owner->holds, lock->name);
		}
		owner->holding += !owner->marked;
		owner->marked = true;
	}
	for (size_t i = 0; i < c->thread_count; i++)
		c->thread[i].marked = false;
}

int compare_add(struct compare *c, const struct moment *m, const struct analysis *a)
{
	size_t known;
	int r = 0;

	if (a->failed) {
		c->failed++;
		text_set(&c->why_failed, a->failed);
		return 0;
	}
	drop_gone(c, m, a);
	known = c->thread_count;
	for (size_t i = 0; i < a->thread_count && r == 0; i++) {
		struct tracked *t = find(c->thread, known, a->thread[i].tid);

		if (!t) {
			t = list_add(&c->thread, &c->thread_count, sizeof(*t));
			if (!t)
				return -ENOMEM;
			t->tid = a->thread[i].tid;
			t->first = c->samples;
			c->came += c->samples > 0;
		}
		if (t->taken != c->samples + 1) /* the list may name one twice */
			r = add_thread(c, t, m, &a->thread[i]);
		t->taken = c->samples + 1;
	}
	if (c->thread_count)
		qsort(c->thread, c->thread_count, sizeof(*c->thread), by_tid);
	add_locks(c, a);
	sweep(c);
	strings_free(c->deadlock);
	c->deadlock = NULL;
	for (char **d = a->deadlock; d && *d && r == 0; d++)
		r = strings_add(&c->deadlock, *d);
	if (c->samples == 0)
		c->first_ns = m->at_ns;
	c->last_ns = m->at_ns;
	c->samples++;
	return r;
}

/* ---- CPU ---- */

bool tracked_cpu(const struct tracked *t, struct cpu_use *ret)
{
	uint64_t span_ns = t->at_ns - t->at_first_ns;

	if (!t->intervals)
		return false;
	ret->ns = t->cpu_ns - t->cpu_first_ns;
	ret->permille = permille(ret->ns, span_ns);
	ret->queued_permille = permille(t->queued_ns - t->queued_first_ns, span_ns);
	return true;
}
