// SPDX-License-Identifier: MIT
/* A lock with priority inheritance: a helper thread of ours writes the other thread's
 * id into a futex as its owner and waits for it, so the kernel lends that thread the
 * helper's priority. When the wait ends, by its timeout, by boost_end, by our death, so
 * does the loan: there is nothing to restore. Rejected: sched_setscheduler on the other
 * thread, which would keep it if we died. Traps: at its end the helper itself needs a
 * CPU, and it does not come before a thread that has its own priority: if as many
 * threads as there are CPUs ran on with what we lent them, no helper could ever take it
 * back. So fewer are boosted than there are CPUs, by all reqtraps of a host together
 * (one at a time: whoever holds the name of a socket), and what is lent comes back
 * before a thread is let go. What is not futex memory of ours is never waited on. */
#include "boost.h"

#include "ktime.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

#define PRIORITY 10 /* SCHED_FIFO, of the boosted; ours is one more */
#define HELPERS_MOST 8
#define STACK_BYTES (64u << 10)
#define END_SIGNAL SIGUSR1
#define RETURN_NS (5 * NSEC_PER_MSEC)
#define LOOK_NS (10 * NSEC_PER_USEC)
#define SPIN_NS (20 * NSEC_PER_USEC) /* a helper that has a CPU is done by then: sooner than we would be awake again */
#define SPIN_US (2 * 1000 * 1000)    /* of CPU time without a wait: then the kernel ends us */

struct helper {
	pthread_t thread;
	_Atomic pid_t target; /* 0: sleeps; also the futex that it sleeps on */
	_Atomic bool busy;    /* it may hold a loan */
	_Atomic uint64_t until_ns;
	_Atomic uint32_t *word; /* the lock */
};

static struct helper helpers[HELPERS_MOST];
static unsigned int helper_count;
static int claim = -1; /* while this host's only lender is us */
static _Thread_local struct helper *self;

static long futex(void *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0) < 0 ? -errno : 0;
}

/* boost_end: the kernel tries for the lock again after this, and now gets it. */
static void on_end(int sig)
{
	(void)sig;
	if (self)
		atomic_store(self->word, 0);
}

/* Lends our priority. The owner is written before the last look at 'target': if that
 * has changed by then we do not wait, if later the signal ends the wait. */
static void lend(struct helper *h, pid_t tid)
{
	uint64_t until_ns = atomic_load(&h->until_ns);
	struct timespec until = { .tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
				  .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };
	long r;

	do { /* an old signal may end a wait that it was not meant for */
		atomic_store(h->word, (uint32_t)tid);
		if (atomic_load(&h->target) != tid)
			return;
		r = futex(h->word, FUTEX_LOCK_PI2, 0, &until);
	} while (r == 0 && now_ns() < until_ns);
}

static void *help(void *arg)
{
	struct helper *h = arg;
	sigset_t end;

	self = h;
	sigemptyset(&end);
	sigaddset(&end, END_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &end, NULL);
	for (;;) {
		pid_t tid = atomic_load(&h->target);

		if (tid) {
			atomic_store(&h->busy, true);
			lend(h, tid);
			atomic_compare_exchange_strong(&h->target, &tid, 0);
		} else {
			atomic_store(&h->busy, false);
			futex(&h->target, FUTEX_WAIT_PRIVATE, 0, NULL);
		}
	}
	return NULL;
}

static bool is_ahead;

static void set_self(bool on)
{
	struct sched_param param = { .sched_priority = on ? PRIORITY + 1 : is_ahead };
	int policy = on ? SCHED_FIFO : is_ahead ? SCHED_RR : SCHED_OTHER;

	sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param);
}

void boost_ahead(void)
{
	is_ahead = true;
	set_self(false);
}

/* Is there such a lock, and such a priority for us? */
static bool possible(_Atomic uint32_t *word)
{
	struct sched_param param = { .sched_priority = PRIORITY };
	bool yes = futex(word, FUTEX_LOCK_PI2, 0, NULL) == 0 && futex(word, FUTEX_UNLOCK_PI, 0, NULL) == 0;

	if (!yes || sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) < 0)
		return false;
	set_self(false);
	return true;
}

static bool start(struct helper *h)
{
	struct sched_param param = { .sched_priority = PRIORITY };
	pthread_attr_t attr;
	bool ok;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	ok = pthread_create(&h->thread, &attr, help, h) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

void boost_prepare(void)
{
	const struct rlimit spin = { .rlim_cur = SPIN_US, .rlim_max = SPIN_US };
	struct sigaction action = { .sa_handler = on_end };
	_Atomic uint32_t *words;
	cpu_set_t cpus;
	int count;

	if (helper_count || sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return;
	setrlimit(RLIMIT_RTTIME, &spin);
	count = MIN(CPU_COUNT(&cpus) - 1, HELPERS_MOST);
	if (count <= 0)
		return;
	/* Of the shared kind: a private lock has owners in our own process only. */
	words = mmap(NULL, HELPERS_MOST * sizeof(*words), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (words == MAP_FAILED)
		return;
	if (!possible(&words[0]) || sigaction(END_SIGNAL, &action, NULL) < 0) {
		munmap(words, HELPERS_MOST * sizeof(*words));
		return;
	}
	for (int i = 0; i < count; i++) {
		helpers[helper_count].word = &words[i];
		if (!start(&helpers[helper_count]))
			break;
		helper_count++;
	}
}

/* A name without a file: it goes with us, after our threads and what they lend. */
static void take_claim(void)
{
	static const char name[] = "\0reqtrap-boost";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, name, sizeof(name) - 1);
	claim = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (claim >= 0 && bind(claim, (struct sockaddr *)&addr,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1)) < 0) {
		close(claim);
		claim = -1;
	}
}

void boost_open(void)
{
	set_self(true);
	if (helper_count && claim < 0)
		take_claim();
}

static bool is_lending(struct helper *h, pid_t but)
{
	return atomic_load(&h->busy) && (!but || atomic_load(&h->target) != but);
}

void boost_return(pid_t but)
{
	uint64_t now = now_ns(), spin_ns = now + SPIN_NS, deadline_ns = now + RETURN_NS;

	for (unsigned int i = 0; i < helper_count; i++) {
		pid_t target = atomic_load(&helpers[i].target);

		if (target && target != but)
			boost_end(target);
	}
	for (unsigned int i = 0; i < helper_count; i++) {
		while (is_lending(&helpers[i], but) && now_ns() < spin_ns)
			;
		while (is_lending(&helpers[i], but) && now_ns() < deadline_ns)
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
	}
}

void boost_close(void)
{
	is_ahead = false;
	boost_return(0);
	if (claim >= 0)
		close(claim);
	claim = -1;
	set_self(false);
}

bool boost_begin(pid_t tid, uint64_t until_ns)
{
	struct helper *free_one = NULL;

	for (unsigned int i = 0; claim >= 0 && i < helper_count; i++) {
		pid_t target = atomic_load(&helpers[i].target);

		if (target == tid)
			return true;
		if (!target)
			free_one = &helpers[i];
	}
	if (!free_one)
		return false;
	atomic_store(&free_one->until_ns, until_ns);
	atomic_store(&free_one->target, tid);
	futex(&free_one->target, FUTEX_WAKE_PRIVATE, 1, NULL);
	return true;
}

void boost_end(pid_t tid)
{
	for (unsigned int i = 0; i < helper_count; i++) {
		pid_t expected = tid;

		if (atomic_compare_exchange_strong(&helpers[i].target, &expected, 0))
			pthread_kill(helpers[i].thread, END_SIGNAL);
	}
}
