// SPDX-License-Identifier: MIT
/* Arguments of system calls and the memory behind them, all of it the input: texts stay
 * within their bounds, lock owners are threads of the process, or of one that shares the lock, or
 * nobody. */
#include "locks.h"
#include "waits.h"

#include <assert.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "input.h"

#define THREADS 4

static void fuzz_locks(const struct memory *mem, const uint8_t *data, size_t size)
{
	static const char *const names[] = { "pthread_mutex_lock",
					     "__pthread_rwlock_rdlock",
					     "sem_wait",
					     "pthread_join",
					     "malloc",
					     "pthread_cond_wait",
					     "main",
					     "fputs" };
	struct capture_thread thread[THREADS] = { 0 };
	struct lock_words words[THREADS];
	struct lang_lock own = { .len = 64, .name = "its own" };
	struct analysis a = { 0 };

	for (size_t i = 0; i < THREADS; i++) {
		struct thread *t = list_add(&a.thread, &a.thread_count, sizeof(*t));
		struct frame *f = list_add(&t->stack.frame, &t->stack.count, sizeof(*f));

		text_set(&f->function, names[data[i] % ARRAY_LEN(names)]);
		thread[i].tid = t->tid = 100 + (int)i;
		thread[i].ns_tid = data[i + 4];
		thread[i].syscall_nr = SYS_futex;
		memcpy(thread[i].arg, data + (i * 8) % (size - 24), 24);
		thread[i].arg[0] &= (1ull << 47) - 1;
		locks_read(mem, &thread[i], &words[i]);
	}
	own.addr = thread[0].arg[0];
	own.owner = data[0];
	if (locks_solve(thread, words, THREADS, &own, 1, NULL, &a) == 0) {
		for (size_t i = 0; i < THREADS; i++) {
			pid_t tid = a.thread[i].waits_for_tid;
			bool shared =
				!(thread[i].arg[1] & FUTEX_PRIVATE_FLAG); /* by processes, whose threads they may be */

			assert(!tid || (tid >= 100 && tid < 100 + THREADS) || (shared && tid > 0 && tid <= 1 << 22));
		}
		assert(strings_count(a.deadlock) <= THREADS);
	}
	analysis_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data, .size = size };
	struct memory mem = { .read = read_input, .arg = &in };
	uint64_t arg[6];
	struct wait w;

	if (size < 64)
		return 0;
	memcpy(arg, data + 2, sizeof(arg));
	memset(&w, 0xff, sizeof(w));
	wait_describe(&mem, data[0] | (data[1] & 1) << 8, arg, &w);
	assert(memchr(w.text, '\0', sizeof(w.text)));
	wait_restarted(&mem, SYS_restart_syscall, arg[0]);
	fuzz_locks(&mem, data, size);
	return 0;
}
