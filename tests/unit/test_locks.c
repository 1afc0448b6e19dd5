// SPDX-License-Identifier: MIT
/* Every kind of lock that glibc has, blocked for real in a child of this test, and
 * the owners that the words tell; then words that make no sense. */
#include "locks.h"

#include "play_worker.h"
#include "victims.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

enum part {
	MAIN,
	HOLDER, /* of every lock that a waiter waits for */
	NORMAL,
	NORMAL_TOO,
	RECURSIVE_TIMED,
	PI,
	ROBUST_WAITER,
	RW_READER, /* behind a writer */
	RW_WRITER, /* behind a writer */
	RW_BEHIND_READER,
	CONDITION,
	SEMAPHORE,
	JOINER,
	STDIO,
	DEADLOCK_A,
	DEADLOCK_B,
	CHAINED,      /* holds 'chain_lock', waits for 'normal' */
	END_OF_CHAIN, /* waits for 'chain_lock' */
	PARTS,
};

static struct truth *shared;
static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER, lock_a = PTHREAD_MUTEX_INITIALIZER,
		       lock_b = PTHREAD_MUTEX_INITIALIZER, chain_lock = PTHREAD_MUTEX_INITIALIZER,
		       condition_mutex = PTHREAD_MUTEX_INITIALIZER, recursive, pi, robust;
static pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER, read_held = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static pthread_t threads[PARTS];
static pthread_barrier_t held, both_held;

static void mutex_make(pthread_mutex_t *m, int type, int protocol, int robustness)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, type);
	pthread_mutexattr_setprotocol(&attr, protocol);
	pthread_mutexattr_setrobust(&attr, robustness);
	pthread_mutex_init(m, &attr);
}

static void sleep_on(void)
{
	for (;;)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
}

static struct timespec far_away(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 1000;
	return ts;
}

static void hold_all(void)
{
	pthread_mutex_lock(&normal);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&pi);
	pthread_mutex_lock(&robust);
	pthread_rwlock_wrlock(&written);
	pthread_rwlock_rdlock(&read_held);
	flockfile(stderr);
	pthread_barrier_wait(&held);
	sleep_on();
}

static void deadlock(pthread_mutex_t *first, pthread_mutex_t *second)
{
	pthread_mutex_lock(first);
	pthread_barrier_wait(&both_held);
	pthread_mutex_lock(second);
}

static void *part_main(void *arg)
{
	enum part part = (enum part)(intptr_t)arg;
	struct timespec far = far_away();

	__atomic_store_n(&shared->tid[part], (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	if (part == HOLDER)
		hold_all();
	pthread_barrier_wait(&held);
	switch (part) {
	case NORMAL:
	case NORMAL_TOO:
		pthread_mutex_lock(&normal);
		break;
	case RECURSIVE_TIMED:
		pthread_mutex_timedlock(&recursive, &far);
		break;
	case PI:
		pthread_mutex_lock(&pi);
		break;
	case ROBUST_WAITER:
		pthread_mutex_lock(&robust);
		break;
	case RW_READER:
		pthread_rwlock_rdlock(&written);
		break;
	case RW_WRITER:
		pthread_rwlock_wrlock(&written);
		break;
	case RW_BEHIND_READER:
		pthread_rwlock_wrlock(&read_held);
		break;
	case CONDITION:
		pthread_mutex_lock(&condition_mutex);
		pthread_cond_wait(&condition, &condition_mutex);
		break;
	case SEMAPHORE:
		sem_wait(&semaphore);
		break;
	case JOINER:
		pthread_join(threads[HOLDER], NULL);
		break;
	case STDIO:
		fputs("never written\n", stderr);
		break;
	case DEADLOCK_A:
		deadlock(&lock_a, &lock_b);
		break;
	case DEADLOCK_B:
		deadlock(&lock_b, &lock_a);
		break;
	case CHAINED:
		pthread_mutex_lock(&chain_lock);
		pthread_mutex_lock(&normal);
		break;
	case END_OF_CHAIN:
		/* after CHAINED has it */
		while (pthread_mutex_trylock(&chain_lock) == 0) {
			pthread_mutex_unlock(&chain_lock);
			sched_yield();
		}
		pthread_mutex_lock(&chain_lock);
		break;
	default:
		break;
	}
	sleep_on();
	return NULL;
}

static void play_locks(struct truth *truth)
{
	shared = truth;
	mutex_make(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	mutex_make(&pi, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
	mutex_make(&robust, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
	sem_init(&semaphore, 0, 0);
	pthread_barrier_init(&held, NULL, PARTS - 1);
	pthread_barrier_init(&both_held, NULL, 2);
	truth->tid[MAIN] = (pid_t)syscall(SYS_gettid);
	truth->address[NORMAL] = (uint64_t)&normal;
	truth->address[RECURSIVE_TIMED] = (uint64_t)&recursive;
	truth->address[PI] = (uint64_t)&pi;
	truth->address[ROBUST_WAITER] = (uint64_t)&robust;
	truth->address[RW_READER] = (uint64_t)&written;
	truth->address[RW_BEHIND_READER] = (uint64_t)&read_held;
	truth->address[CONDITION] = (uint64_t)&condition;
	truth->address[SEMAPHORE] = (uint64_t)&semaphore;
	truth->address[DEADLOCK_A] = (uint64_t)&lock_b;
	truth->address[DEADLOCK_B] = (uint64_t)&lock_a;
	truth->address[END_OF_CHAIN] = (uint64_t)&chain_lock;
	for (intptr_t i = HOLDER; i < PARTS; i++)
		pthread_create(&threads[i], NULL, part_main, (void *)i);
	truth->ready = 1;
	sleep_on();
}

struct world {
	struct truth *truth;
	pid_t pid;
	struct analysis a;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->truth = truth_new();
	w->pid = victim_start(w->truth, play_locks);
	for (int i = HOLDER; i < PARTS; i++) {
		while (!__atomic_load_n(&w->truth->tid[i], __ATOMIC_SEQ_CST))
			sched_yield();
	}
	wait_for_call(w->pid, w->truth->tid[HOLDER], SYS_clock_nanosleep);
	for (int i = NORMAL; i < PARTS; i++)
		wait_for_call(w->pid, w->truth->tid[i], SYS_futex);
	*state = w;
	return play_analyse(w->pid, &w->a) && !w->a.failed ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	analysis_done(&w->a);
	victim_end(w->pid);
	munmap(w->truth, sizeof(*w->truth));
	free(w);
	return 0;
}

static const struct thread *thread_of(const struct world *w, enum part part)
{
	for (size_t i = 0; i < w->a.thread_count; i++) {
		if (w->a.thread[i].tid == w->truth->tid[part])
			return &w->a.thread[i];
	}
	fail_msg("no thread of part %d", part);
	return NULL;
}

static void check(const struct world *w, enum part part, const char *what, enum part object, enum part owner)
{
	const struct thread *t = thread_of(w, part), *o = owner ? thread_of(w, owner) : NULL;
	char want[128];

	if (o)
		snprintf(want, sizeof(want), "%s 0x%lx held by %d \"%s\"", what, w->truth->address[object], o->tid,
			 o->comm);
	else
		snprintf(want, sizeof(want), "%s 0x%lx", what, w->truth->address[object]);
	assert_string_equal(t->call, "futex");
	assert_string_equal(t->waits_for, want);
	assert_int_equal(t->waits_for_tid, o ? o->tid : 0);
}

static void test_mutexes(void **state)
{
	const struct world *w = *state;

	check(w, NORMAL, "mutex", NORMAL, HOLDER);
	check(w, NORMAL_TOO, "mutex", NORMAL, HOLDER);
	check(w, RECURSIVE_TIMED, "mutex", RECURSIVE_TIMED, HOLDER);
	check(w, PI, "mutex", PI, HOLDER);
	check(w, ROBUST_WAITER, "mutex", ROBUST_WAITER, HOLDER);
}

static void test_rwlocks(void **state)
{
	const struct world *w = *state;
	const struct thread *t = thread_of(w, RW_BEHIND_READER);
	char want[128];

	check(w, RW_READER, "rwlock", RW_READER, HOLDER);
	check(w, RW_WRITER, "rwlock", RW_READER, HOLDER);
	snprintf(want, sizeof(want), "rwlock 0x%lx held by 1 reader", w->truth->address[RW_BEHIND_READER]);
	assert_string_equal(t->waits_for, want);
	assert_int_equal(t->waits_for_tid, 0);
}

static void test_others(void **state)
{
	const struct world *w = *state;
	const struct thread *joiner = thread_of(w, JOINER), *stdio = thread_of(w, STDIO);

	check(w, CONDITION, "condition variable", CONDITION, MAIN);
	check(w, SEMAPHORE, "semaphore", SEMAPHORE, MAIN);
	assert_int_equal(joiner->waits_for_tid, w->truth->tid[HOLDER]);
	assert_memory_equal(joiner->waits_for, "thread ", 7);
	assert_memory_equal(stdio->waits_for, "stdio lock 0x", 13);
	assert_int_equal(stdio->waits_for_tid, w->truth->tid[HOLDER]);
}

static void test_chain_and_deadlock(void **state)
{
	const struct world *w = *state;
	int a = w->truth->tid[DEADLOCK_A], b = w->truth->tid[DEADLOCK_B];
	char either[64], other[64];

	check(w, CHAINED, "mutex", NORMAL, HOLDER);
	check(w, END_OF_CHAIN, "mutex", END_OF_CHAIN, CHAINED);
	check(w, DEADLOCK_A, "mutex", DEADLOCK_A, DEADLOCK_B);
	check(w, DEADLOCK_B, "mutex", DEADLOCK_B, DEADLOCK_A);
	snprintf(either, sizeof(either), "%d -> %d -> %d", a, b, a);
	snprintf(other, sizeof(other), "%d -> %d -> %d", b, a, b);
	assert_int_equal(strings_count(w->a.deadlock), 1);
	assert_true(!strcmp(w->a.deadlock[0], either) || !strcmp(w->a.deadlock[0], other));
}

static void test_lock_list(void **state)
{
	const struct world *w = *state;
	char name[64];
	bool found = false;

	snprintf(name, sizeof(name), "mutex 0x%lx", w->truth->address[NORMAL]);
	for (size_t i = 0; i < w->a.lock_count; i++) {
		const struct lock *lock = &w->a.lock[i];

		/* no holder by nature: not in the list */
		assert_null(strstr(lock->name, "semaphore"));
		assert_null(strstr(lock->name, "condition"));
		if (strcmp(lock->name, name))
			continue;
		found = true;
		assert_int_equal(lock->owner, w->truth->tid[HOLDER]);
		assert_int_equal(lock->waiter_count, 3);
	}
	assert_true(found);
	assert_int_equal(w->a.lock_count, 10);
}

/* --- words that make no sense --- */

static ssize_t no_memory(void *arg UNUSED, uint64_t addr UNUSED, void *buf UNUSED, size_t len UNUSED)
{
	return 0;
}

static void solve_two(const struct capture_thread *threads, const struct lock_words *words, const char *function,
		      struct analysis *ret)
{
	*ret = (struct analysis){ 0 };
	for (int i = 0; i < 2; i++) {
		struct thread *t = list_add(&ret->thread, &ret->thread_count, sizeof(*t));
		struct frame *f = list_add(&t->stack.frame, &t->stack.count, sizeof(*f));

		t->tid = threads[i].tid;
		text_set(&f->function, function);
	}
	assert_int_equal(locks_solve(threads, words, 2, NULL, 0, NULL, ret), 0);
}

static void test_locks_of_the_language(void **state UNUSED)
{
	struct capture_thread threads[2] = {
		{ .tid = 100, .ns_tid = 1, .syscall_nr = SYS_futex, .arg = { 0x1010, 0x80, 0 } },
		{ .tid = 101, .ns_tid = 2, .syscall_nr = -1 },
	};
	struct lock_words words[2] = { { .uaddr = 0x1010 }, { 0 } };
	struct lang_lock own = { .addr = 0x1000, .len = 64, .name = "the GIL", .owner = 1 };
	struct analysis a = { 0 };

	for (int i = 0; i < 2; i++) {
		struct thread *t = list_add(&a.thread, &a.thread_count, sizeof(*t));

		t->tid = threads[i].tid;
		text_set(&t->comm, "python3");
	}
	assert_int_equal(locks_solve(threads, words, 2, &own, 1, NULL, &a), 0);
	assert_string_equal(a.thread[0].waits_for, "the GIL held by 101 \"python3\"");
	assert_int_equal(a.thread[0].waits_for_tid, 101);
	assert_int_equal(a.lock_count, 1);
	assert_string_equal(a.lock[0].name, "the GIL");
	own.owner = SIZE_MAX; /* free, and about to be taken */
	a.thread[0].waits_for_tid = 0;
	assert_int_equal(locks_solve(threads, words, 2, &own, 1, NULL, &a), 0);
	assert_string_equal(a.thread[0].waits_for, "the GIL, owner unknown");
	assert_int_equal(a.thread[0].waits_for_tid, 0);
	own.addr = 0x1011; /* somewhere else */
	assert_int_equal(locks_solve(threads, words, 2, &own, 1, NULL, &a), 0);
	assert_int_equal(a.thread[0].waits_for_tid, 0);
	analysis_done(&a);
}

static void test_owner_must_be_a_thread(void **state UNUSED)
{
	struct capture_thread threads[2] = {
		{ .tid = 100, .ns_tid = 1, .syscall_nr = SYS_futex, .arg = { 0x1000, 0x80, 2 } },
		{ .tid = 101, .ns_tid = 2, .syscall_nr = -1 },
	};
	struct lock_words words[2] = { { .uaddr = 0x1000, .have = ~0u }, { 0 } };
	uint32_t *mutex = words[0].word + LOCK_WORDS_BEFORE;
	struct analysis a;

	mutex[2] = 2; /* an owner by its number in the process's namespace */
	mutex[3] = 1;
	solve_two(threads, words, "pthread_mutex_lock", &a);
	assert_int_equal(a.thread[0].waits_for_tid, 101);
	analysis_done(&a);

	mutex[2] = 101; /* the number outside is nobody's inside */
	solve_two(threads, words, "pthread_mutex_lock", &a);
	assert_int_equal(a.thread[0].waits_for_tid, 0);
	assert_string_equal(a.thread[0].waits_for, "mutex 0x1000, owner unknown");
	analysis_done(&a);

	mutex[2] = 2;
	mutex[4] = 0x12345678; /* no kind of mutex */
	solve_two(threads, words, "pthread_mutex_lock", &a);
	assert_int_equal(a.thread[0].waits_for_tid, 0);
	analysis_done(&a);

	/* nothing on the stack says mutex, and the words do not either */
	solve_two(threads, words, "wait_for_it", &a);
	assert_null(a.thread[0].waits_for);
	assert_int_equal(a.lock_count, 0);
	analysis_done(&a);
}

static void test_unreadable_words(void **state UNUSED)
{
	struct memory none = { .read = no_memory };
	struct capture_thread threads[2] = {
		{ .tid = 100, .ns_tid = 100, .syscall_nr = SYS_futex, .arg = { 8, 0x189, 3 } },
		{ .tid = 101, .ns_tid = 101, .syscall_nr = SYS_futex, .arg = { UINT64_MAX - 7, 0x86, 0 } },
	};
	struct lock_words words[2];
	struct analysis a;

	locks_read(&none, &threads[0], &words[0]);
	locks_read(&none, &threads[1], &words[1]);
	assert_int_equal(words[0].have, 0);
	solve_two(threads, words, "pthread_rwlock_rdlock", &a);
	assert_int_equal(a.thread[0].waits_for_tid, 0);
	assert_int_equal(a.thread[1].waits_for_tid, 0);
	analysis_done(&a);
}

/* A thread that waits for itself, and long rings that end in a cycle. */
static void test_cycles(void **state UNUSED)
{
	struct capture_thread threads[2] = {
		{ .tid = 100, .ns_tid = 100, .syscall_nr = SYS_futex, .arg = { 0x1000, 0x80, 2 } },
		{ .tid = 101, .ns_tid = 101, .syscall_nr = SYS_futex, .arg = { 0x1000, 0x80, 2 } },
	};
	struct lock_words words[2] = { { .uaddr = 0x1000, .have = ~0u }, { .uaddr = 0x1000, .have = ~0u } };
	struct analysis a;

	for (int i = 0; i < 2; i++) {
		words[i].word[LOCK_WORDS_BEFORE + 2] = 100;
		words[i].word[LOCK_WORDS_BEFORE + 3] = 1;
	}
	solve_two(threads, words, "pthread_mutex_lock", &a);
	assert_int_equal(strings_count(a.deadlock), 1);
	assert_string_equal(a.deadlock[0], "100 -> 100");
	assert_int_equal(a.lock_count, 1);
	assert_int_equal(a.lock[0].waiter_count, 2);
	analysis_done(&a);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest real[] = {
		cmocka_unit_test(test_mutexes),	  cmocka_unit_test(test_rwlocks),
		cmocka_unit_test(test_others),	  cmocka_unit_test(test_chain_and_deadlock),
		cmocka_unit_test(test_lock_list),
	};
	const struct CMUnitTest nonsense[] = {
		cmocka_unit_test(test_locks_of_the_language),
		cmocka_unit_test(test_owner_must_be_a_thread),
		cmocka_unit_test(test_unreadable_words),
		cmocka_unit_test(test_cycles),
	};

	if (argc > 1 && !strcmp(argv[1], "--analyst"))
		return analyst_main(argc, argv);
	return cmocka_run_group_tests(real, set_up, tear_down) + cmocka_run_group_tests(nonsense, NULL, NULL);
}
