// SPDX-License-Identifier: MIT
/* A table: futex operation, value and function on the stack -> which lock, where it
 * begins, where its owner is written. The op and val columns are glibc's habits (2.28
 * to 2.36 and later), the struct offsets are its ABI; an owner is believed only if it
 * is a thread of this process. Rejected: debug symbols. Trap: musl differs (its lock
 * word holds the tid): there nothing matches, and the wait stays a plain futex. */
#include "locks.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#define NAMES_DEEP 8 /* frames searched for the function that waits */
#define TID_MASK 0x3fffffffu
#define FS_BASE 21 /* in user_regs_struct */

enum owner_type {
	OWNER_NONE,
	OWNER_MUTEX,
	OWNER_WORD,
	OWNER_VALUE,
	OWNER_RWLOCK,
	OWNER_STDIO,
	OWNER_SEMAPHORE,
	OWNER_THREAD_ID,
	OWNER_INSIDE, /* no word says: the one thread that is inside of the allocator */
};

enum value_test { ANY, IS_0, IS_2, IS_2_OR_3, ROBUST, EVEN };

struct lock_row {
	const char *what;
	const char *function; /* prefix, leading '_' left out; NULL: whatever is on the stack */
	uint32_t commands;    /* bits: 1 << FUTEX_... */
	enum value_test value;
	enum owner_type owner;
	bool is_lock; /* has a holder: goes into the list of locks */
};

#define CMD(name) (1u << (name))
#define CMD_WAITS (CMD(FUTEX_WAIT) | CMD(FUTEX_WAIT_BITSET))
#define CMD_PI (CMD(FUTEX_LOCK_PI) | CMD(13) | CMD(FUTEX_WAIT_REQUEUE_PI)) /* 13: FUTEX_LOCK_PI2 */

static const struct lock_row lock_rows[] = {
	{ "mutex", NULL, CMD_PI, ANY, OWNER_WORD, true },
	{ "mutex", "pthread_mutex_", CMD_WAITS, ROBUST, OWNER_VALUE, true },
	{ "mutex", "pthread_mutex_", CMD_WAITS, IS_2, OWNER_MUTEX, true },
	{ "rwlock", "pthread_rwlock_", CMD_WAITS, IS_2_OR_3, OWNER_RWLOCK, true },
	{ "condition variable", "pthread_cond_", CMD(FUTEX_WAIT_BITSET), EVEN, OWNER_NONE, false },
	{ "condition variable", "cnd_", CMD(FUTEX_WAIT_BITSET), EVEN, OWNER_NONE, false },
	{ "semaphore", "sem_", CMD_WAITS, ANY, OWNER_NONE, false },
	{ "semaphore", "new_sem_", CMD_WAITS, ANY, OWNER_NONE, false },
	{ "thread", "pthread_join", CMD_WAITS, ANY, OWNER_VALUE, false },
	{ "thread", "pthread_timedjoin", CMD_WAITS, ANY, OWNER_VALUE, false },
	{ "thread", "pthread_clockjoin", CMD_WAITS, ANY, OWNER_VALUE, false },
	{ "malloc lock", "malloc", CMD(FUTEX_WAIT), IS_2, OWNER_INSIDE, true },
	{ "malloc lock", "free", CMD(FUTEX_WAIT), IS_2, OWNER_INSIDE, true },
	{ "malloc lock", "calloc", CMD(FUTEX_WAIT), IS_2, OWNER_INSIDE, true },
	{ "malloc lock", "realloc", CMD(FUTEX_WAIT), IS_2, OWNER_INSIDE, true },
	/* The rest is told by the words alone, so they must fit: a thread that is the owner,
	 * or waiters counted. (sem_wait and pthread_join jump into nameless functions: they
	 * are on no stack.) */
	{ "mutex", NULL, CMD_WAITS, ROBUST, OWNER_VALUE, true },
	{ "stdio lock", NULL, CMD(FUTEX_WAIT), IS_2, OWNER_STDIO, true },
	{ "mutex", NULL, CMD_WAITS, IS_2, OWNER_MUTEX, true },
	{ "thread", NULL, CMD_WAITS, ANY, OWNER_THREAD_ID, false },
	{ "semaphore", NULL, CMD(FUTEX_WAIT_BITSET), IS_0, OWNER_SEMAPHORE, false },
};

/* A lock of the language. */
static const struct lock_row own_row = { .is_lock = true };
static const struct lock_row wait_row = { .is_lock = false }; /* something else of the language's */

/* One blocked thread, solved. */
struct found {
	const struct lock_row *row;
	const char *name; /* of a language's lock; else NULL */
	uint64_t base;
	size_t owner;	  /* index of the thread, or NOBODY */
	uint32_t foreign; /* then: its id, in another process that shares the lock; 0 none */
	uint32_t readers; /* of a rwlock */
	size_t guess;	  /* index of the thread that may be the owner, or NOBODY */
	bool owner_died;
	bool words_fit; /* though they name no owner */
};

#define NOBODY SIZE_MAX

struct solver {
	const struct capture_thread *threads;
	const struct lock_words *words;
	size_t count;
	const struct lang_lock *own;
	size_t own_count;
	const struct lang_said *said;
	struct analysis *analysis;
};

void locks_read(const struct memory *mem, const struct capture_thread *t, struct lock_words *ret)
{
	uint64_t from = t->arg[0] - LOCK_WORDS_BEFORE * sizeof(uint32_t);

	*ret = (struct lock_words){ 0 };
	if (t->syscall_nr != SYS_futex || !(CMD(t->arg[1] & FUTEX_CMD_MASK & 31) & (CMD_WAITS | CMD_PI)) || !t->arg[0])
		return;
	ret->uaddr = t->arg[0];
	if (memory_get(mem, from, ret->word, sizeof(ret->word)) == 0) {
		ret->have = (1u << ARRAY_LEN(ret->word)) - 1;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(ret->word); i++) {
		if (memory_u32(mem, from + i * sizeof(uint32_t), &ret->word[i]))
			ret->have |= 1u << i;
	}
}

/* The 4 bytes at uaddr + offset. */
static bool word_at(const struct lock_words *w, int offset, uint32_t *ret)
{
	int i = LOCK_WORDS_BEFORE + offset / 4;

	if (offset % 4 || i < 0 || (size_t)i >= ARRAY_LEN(w->word) || !(w->have >> i & 1))
		return false;
	*ret = w->word[i];
	return true;
}

static size_t thread_of(const struct solver *s, uint32_t ns_tid)
{
	for (size_t i = 0; i < s->count && ns_tid; i++) {
		if ((uint32_t)s->threads[i].ns_tid == ns_tid)
			return i;
	}
	return NOBODY;
}

static bool value_fits(enum value_test test, uint32_t value)
{
	switch (test) {
	case IS_0:
		return value == 0;
	case IS_2:
		return value == 2;
	case IS_2_OR_3:
		return value == 2 || value == 3;
	case ROBUST:
		return (value & FUTEX_WAITERS) && (value & TID_MASK);
	case EVEN:
		return value % 2 == 0;
	default:
		return true;
	}
}

static bool on_stack(const struct stack *stack, const char *prefix)
{
	for (size_t i = 0; i < stack->count && i < NAMES_DEEP; i++) {
		const char *name = stack->frame[i].function;

		if (name && !strncmp(name + strspn(name, "_"), prefix, strlen(prefix)))
			return true;
	}
	return false;
}

#define PIDS_MOST (1u << 22) /* the kernel has no larger ones */

/* A futex that processes share is never a private one, and its lock says so, too. */
static void set_owner(const struct solver *s, size_t i, uint32_t ns_tid, bool shared, struct found *f)
{
	f->owner = thread_of(s, ns_tid);
	if (f->owner == NOBODY && shared && ns_tid <= PIDS_MOST && !(s->threads[i].arg[1] & FUTEX_PRIVATE_FLAG))
		f->foreign = ns_tid;
}

/* struct __pthread_mutex_s: lock 0, count 4, owner 8, nusers 12, kind 16 */
static bool mutex_shared(const struct lock_words *w)
{
	uint32_t kind;

	return word_at(w, 16, &kind) && kind < 0x400 && kind & 0x80;
}

static void mutex_owner(const struct solver *s, size_t i, struct found *f)
{
	const struct lock_words *w = &s->words[i];
	uint32_t owner, users, kind;

	if (word_at(w, 8, &owner) && word_at(w, 12, &users) && word_at(w, 16, &kind) && users && kind < 0x400)
		set_owner(s, i, owner, mutex_shared(w), f);
}

static size_t stdio_owner(const struct solver *s, const struct lock_words *w)
{
	uint32_t low, high;
	uint64_t self;

	if (!word_at(w, 8, &low) || !word_at(w, 12, &high))
		return NOBODY;
	self = (uint64_t)high << 32 | low;
	for (size_t i = 0; i < s->count && self; i++) {
		if (s->threads[i].stopped && s->threads[i].reg[FS_BASE] == self)
			return i;
	}
	return NOBODY;
}

/* readers 0, writers 4, wrphase futex 8, writers futex 12, current writer 24, shared 28: the
 * lock begins on a multiple of 8, which tells the two futexes apart. */
static void rwlock_owner(const struct solver *s, size_t i, struct found *f)
{
	const struct lock_words *w = &s->words[i];
	int base = w->uaddr % 8 ? -12 : -8;
	uint32_t writer, readers, shared;

	f->base = w->uaddr + (uint64_t)(int64_t)base;
	if (word_at(w, base + 24, &writer))
		set_owner(s, i, writer, word_at(w, base + 28, &shared) && shared == 1, f);
	if (f->owner == NOBODY && !f->foreign && word_at(w, base, &readers))
		f->readers = readers >> 3;
}

static bool in_allocator(const struct stack *stack)
{
	static const char *const name[] = { "malloc", "free", "calloc", "realloc" };

	for (size_t n = 0; n < stack->count; n++) {
		const char *function = stack->frame[n].function;

		for (size_t k = 0; k < ARRAY_LEN(name) && function; k++) {
			if (!strcmp(function, name[k]))
				return true;
		}
	}
	return false;
}

/* Several might be: then nobody is named. */
static size_t inside(const struct solver *s, size_t waiter)
{
	size_t found = NOBODY;

	for (size_t i = 0; i < s->count; i++) {
		if (s->words[i].uaddr == s->words[waiter].uaddr || !in_allocator(&s->analysis->thread[i].stack))
			continue;
		if (found != NOBODY)
			return NOBODY;
		found = i;
	}
	return found;
}

static void find_owner(const struct solver *s, size_t i, struct found *f)
{
	const struct lock_words *w = &s->words[i];
	uint32_t value = (uint32_t)s->threads[i].arg[2], word;

	switch (f->row->owner) {
	case OWNER_MUTEX:
		mutex_owner(s, i, f);
		break;
	case OWNER_WORD:
		if (word_at(w, 0, &word)) {
			set_owner(s, i, word & TID_MASK, mutex_shared(w), f);
			f->owner_died = word & FUTEX_OWNER_DIED;
		}
		break;
	case OWNER_VALUE:
		set_owner(s, i, value & TID_MASK, f->row->value == ROBUST && mutex_shared(w), f);
		f->owner_died = f->row->value == ROBUST && (value & FUTEX_OWNER_DIED);
		break;
	case OWNER_RWLOCK:
		rwlock_owner(s, i, f);
		break;
	case OWNER_STDIO:
		f->owner = stdio_owner(s, w);
		break;
	case OWNER_THREAD_ID: /* the kernel clears it and wakes: never a private futex */
		if (!(s->threads[i].arg[1] & FUTEX_PRIVATE_FLAG) && word_at(w, 0, &word) && word == value)
			f->owner = thread_of(s, value);
		break;
	case OWNER_SEMAPHORE: /* value 0, number of waiters 4 */
		f->words_fit =
			word_at(w, 0, &word) && word == 0 && word_at(w, 4, &word) && word > 0 && word <= s->count;
		break;
	case OWNER_INSIDE:
		f->guess = inside(s, i);
		break;
	case OWNER_NONE:
		break;
	}
	/* Two futexes of a condition variable, at 40 and 44 of a struct aligned to 8. */
	if (!strcmp(f->row->what, "condition variable"))
		f->base = w->uaddr - (w->uaddr % 8 ? 44 : 40);
}

static bool solve_one(const struct solver *s, size_t i, struct found *ret)
{
	const struct capture_thread *t = &s->threads[i];
	uint32_t command = CMD(t->arg[1] & FUTEX_CMD_MASK & 31);

	if (!s->words[i].uaddr)
		return false;
	if (s->said && s->said[i].wait) {
		const struct lang_said *said = &s->said[i];

		*ret = (struct found){ .row = said->is_lock ? &own_row : &wait_row,
				       .name = said->wait,
				       .owner = said->owner < s->count ? said->owner : NOBODY,
				       .guess = NOBODY };
		return true;
	}
	for (size_t k = 0; k < s->own_count; k++) {
		const struct lang_lock *own = &s->own[k];

		if (s->words[i].uaddr - own->addr >= own->len)
			continue;
		*ret = (struct found){ .row = &own_row,
				       .name = own->name,
				       .owner = own->owner < s->count ? own->owner : NOBODY,
				       .guess = NOBODY };
		return true;
	}
	for (size_t k = 0; k < ARRAY_LEN(lock_rows); k++) {
		const struct lock_row *row = &lock_rows[k];
		struct found f = { .row = row, .base = s->words[i].uaddr, .owner = NOBODY, .guess = NOBODY };

		if (!(row->commands & command) || !value_fits(row->value, (uint32_t)t->arg[2]))
			continue;
		if (row->function && !on_stack(&s->analysis->thread[i].stack, row->function))
			continue;
		find_owner(s, i, &f);
		if (!row->function && f.owner == NOBODY && !f.foreign && !f.words_fit && !(row->commands & CMD_PI))
			continue;
		*ret = f;
		return true;
	}
	return false;
}

static void put_owner_name(const struct thread *t, char **at)
{
	if (t->comm && t->comm[0])
		text_setf(at, "%d \"%s\"", t->tid, t->comm);
	else
		text_setf(at, "%d", t->tid);
}

static int put_lock(struct solver *s, const struct found *f, size_t waiter, const char *name)
{
	struct analysis *a = s->analysis;
	struct lock *lock = NULL;
	pid_t *at;

	for (size_t i = 0; i < a->lock_count && !lock; i++) {
		if (!strcmp(a->lock[i].name, name))
			lock = &a->lock[i];
	}
	if (!lock) {
		lock = list_add(&a->lock, &a->lock_count, sizeof(*lock));
		if (!lock)
			return -ENOMEM;
		text_set(&lock->name, name);
		if (!lock->name) {
			a->lock_count--;
			return -ENOMEM;
		}
	}
	if (f->owner != NOBODY && !lock->owner) {
		lock->owner = a->thread[f->owner].tid;
		text_set(&lock->owner_name, a->thread[f->owner].comm);
	}
	if (f->foreign && !lock->owner)
		lock->owner = (pid_t)f->foreign;
	at = list_add(&lock->waiter, &lock->waiter_count, sizeof(*at));
	if (!at)
		return -ENOMEM;
	*at = a->thread[waiter].tid;
	return 0;
}

static int put_wait(struct solver *s, size_t i, const struct found *f)
{
	struct thread *t = &s->analysis->thread[i];
	CLEAN(free) char *owner = NULL;
	char name[LANG_NAME_MAX + 64];

	if (f->owner != NOBODY) {
		t->waits_for_tid = s->analysis->thread[f->owner].tid;
		put_owner_name(&s->analysis->thread[f->owner], &owner);
	} else if (f->foreign) {
		t->waits_for_tid = (pid_t)f->foreign;
		text_setf(&owner, LOCKS_FOREIGN, f->foreign);
	}
	if (!f->name && !strcmp(f->row->what, "thread")) {
		text_setf(&t->waits_for, "thread %s to end", owner ? owner : "(gone)");
		return 0;
	}
	if (f->name)
		snprintf(name, sizeof(name), "%s", f->name);
	else
		snprintf(name, sizeof(name), "%s 0x%llx", f->row->what, (unsigned long long)f->base);
	if (owner)
		text_setf(&t->waits_for, "%s" LOCKS_HELD_BY "%s%s", name, owner, f->owner_died ? " (which died)" : "");
	else if (f->readers)
		text_setf(&t->waits_for, "%s" LOCKS_HELD_BY "%u reader%s", name, f->readers,
			  f->readers == 1 ? "" : "s");
	else if (f->owner_died)
		text_setf(&t->waits_for, "%s whose owner died", name);
	else if (f->guess != NOBODY) {
		put_owner_name(&s->analysis->thread[f->guess], &owner);
		text_setf(&t->waits_for, "%s, owner unknown: a guess is %s, which is inside of the allocator", name,
			  owner ? owner : "?");
	} else if (f->row->is_lock)
		text_setf(&t->waits_for, "%s, owner unknown", name);
	else
		text_set(&t->waits_for, name);
	return f->row->is_lock ? put_lock(s, f, i, name) : 0;
}

/* Each thread waits for one other at most, so cycles are found by walking on: a
 * thread met twice in one walk begins a cycle, one met in an earlier walk ends it. */
static int find_cycles(struct solver *s, const size_t *next)
{
	size_t *walk = calloc(s->count + 1, sizeof(*walk)); /* in which walk it was met */
	int r = walk ? 0 : -ENOMEM;

	for (size_t i = 0; i < s->count && r == 0; i++) {
		size_t at = i;
		char text[512];
		int n;

		while (at != NOBODY && !walk[at]) {
			walk[at] = i + 1;
			at = next[at];
		}
		if (at == NOBODY || walk[at] != i + 1)
			continue;
		n = snprintf(text, sizeof(text), "%d", s->threads[at].tid);
		for (size_t k = next[at]; n < (int)sizeof(text) - 32; k = next[k]) {
			n += snprintf(text + n, sizeof(text) - (size_t)n, " -> %d", s->threads[k].tid);
			if (k == at)
				break;
		}
		if (n >= (int)sizeof(text) - 32)
			snprintf(text + n, sizeof(text) - (size_t)n, " -> ...");
		r = strings_add(&s->analysis->deadlock, text);
	}
	free(walk);
	return r;
}

static int put_own(struct solver *s)
{
	for (size_t i = 0; i < s->own_count; i++) {
		const struct lang_lock *from = &s->own[i];
		struct own_lock *own = list_add(&s->analysis->own, &s->analysis->own_count, sizeof(*own));

		if (!own)
			return -ENOMEM;
		text_set(&own->name, from->name);
		own->addr = from->addr;
		own->len = from->len;
		own->owner = from->owner < s->count ? s->analysis->thread[from->owner].tid : 0;
	}
	return 0;
}

int locks_solve(const struct capture_thread *threads, const struct lock_words *words, size_t count,
		const struct lang_lock *own, size_t own_count, const struct lang_said *said, struct analysis *analysis)
{
	struct solver s = { threads, words, count, own, own_count, said, analysis };
	size_t *next = calloc(count + 1, sizeof(*next));
	int r = next ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && r == 0; i++) {
		struct found f;

		next[i] = NOBODY;
		if (!solve_one(&s, i, &f))
			continue;
		next[i] = f.owner;
		r = put_wait(&s, i, &f);
	}
	if (r == 0)
		r = find_cycles(&s, next);
	if (r == 0)
		r = put_own(&s);
	free(next);
	return r;
}
