// SPDX-License-Identifier: MIT
/* epoll with owned sources. Rejected: libuv, sd-event (they would only wrap this).
 * Traps: a callback may remove a source whose event is already in the batch we
 * hold, so removed sources are only marked and swept after the batch. Who closes a
 * descriptor before it removes its source leaves it in epoll for as long as a child that
 * was forked has it, too, and nobody can take it out: so each source has a descriptor of
 * its own. */
#include "loop.h"

#include "ktime.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#define RUN_MOST_US 100000 /* of a loop that is urgent, without a wait */

struct source {
	struct source *next;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
	int fd;
	enum { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNALS } kind; /* of the first it is a copy of the caller's */
	bool removed;
};

struct loop {
	int epoll_fd;
	struct source *sources, *urgent;
	bool stopped;
	int result;
};

int loop_new(struct loop **ret_loop, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return err_sys(err, -ENOMEM, "cannot make the event loop");
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int code = -errno;

		free(loop);
		return err_sys(err, code, "cannot make the event loop");
	}
	*ret_loop = loop;
	return 0;
}

static void source_free(struct source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

void loop_free(struct loop *loop)
{
	struct source *next;

	if (!loop)
		return;
	for (struct source *s = loop->sources; s; s = next) {
		next = s->next;
		source_free(s);
	}
	close(loop->epoll_fd);
	free(loop);
}

static int add(struct loop *loop, int fd, int kind, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
	       struct source **ret_source)
{
	struct source *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (!s)
		return -ENOMEM;
	*s = (struct source){ .next = loop->sources, .fn = fn, .arg = arg, .fd = fd, .kind = kind };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int code = -errno;

		free(s);
		return code;
	}
	loop->sources = s;
	if (ret_source)
		*ret_source = s;
	return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
		struct source **ret_source)
{
	CLEAN(fd) int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r = own < 0 ? -errno : add(loop, own, SOURCE_FD, events, fn, arg, ret_source);

	if (r < 0)
		return r;
	take_fd(&own);
	return 0;
}

int loop_add_timer(struct loop *loop, uint64_t when_ns, uint64_t every_ns, void (*fn)(void *arg, uint32_t events),
		   void *arg, struct source **ret_source)
{
	CLEAN(fd) int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec it = {
		.it_value = { (time_t)(when_ns / NSEC_PER_SEC), (long)(when_ns % NSEC_PER_SEC) },
		.it_interval = { (time_t)(every_ns / NSEC_PER_SEC), (long)(every_ns % NSEC_PER_SEC) },
	};
	int r;

	if (fd < 0)
		return -errno;
	if (when_ns == 0) /* a zero value would disarm */
		it.it_value.tv_nsec = 1;
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &it, NULL) < 0)
		return -errno;
	r = add(loop, fd, SOURCE_TIMER, EPOLLIN, fn, arg, ret_source);
	if (r < 0)
		return r;
	take_fd(&fd);
	return 0;
}

/* A SIGHUP that is ignored stays so: that is nohup. A SIGINT is ignored in every job
 * that a script starts in the background, by the shell's custom and nobody's wish:
 * 'kill -INT' must end those too. */
int loop_add_signals(struct loop *loop, const int *signals, size_t count, void (*fn)(void *arg, uint32_t signal),
		     void *arg, struct err *err)
{
	CLEAN(fd) int fd = -1;
	sigset_t set;
	int r;

	sigemptyset(&set);
	for (size_t i = 0; i < count; i++) {
		struct sigaction now;

		if (signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			continue;
		sigaddset(&set, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno, "cannot wait for signals");
	r = add(loop, fd, SOURCE_SIGNALS, EPOLLIN, fn, arg, NULL);
	if (r < 0)
		return err_sys(err, r, "cannot wait for signals");
	take_fd(&fd);
	return 0;
}

/* A loop that ran wild would take a CPU from its host: then it is one of many again. */
static void on_too_long(int signal UNUSED)
{
	const struct sched_param param = { 0 };

	sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param);
}

int loop_urgent(struct loop *loop, struct source *source)
{
	const struct sched_param param = { .sched_priority = 1 };
	const struct sigaction action = { .sa_handler = on_too_long };
	struct rlimit limit;

	if (getrlimit(RLIMIT_RTTIME, &limit) < 0)
		return -errno;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)RUN_MOST_US);
	if (sigaction(SIGXCPU, &action, NULL) < 0 || setrlimit(RLIMIT_RTTIME, &limit) < 0 ||
	    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) < 0)
		return -errno;
	loop->urgent = source;
	return 0;
}

void loop_remove(struct loop *loop, struct source *source)
{
	if (!source || source->removed)
		return;
	if (loop->urgent == source)
		loop->urgent = NULL;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	close(source->fd);
	source->fd = -1;
	source->removed = true;
}

static void sweep(struct loop *loop)
{
	for (struct source **at = &loop->sources; *at;) {
		struct source *s = *at;

		if (!s->removed) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		source_free(s);
	}
}

static void call(const struct source *s, uint32_t events)
{
	struct signalfd_siginfo info;
	uint64_t ticks;

	if (s->removed)
		return;
	if (s->kind == SOURCE_TIMER && read(s->fd, &ticks, sizeof(ticks)) < 0)
		return;
	if (s->kind == SOURCE_SIGNALS && read(s->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	s->fn(s->arg, s->kind == SOURCE_FD ? events : s->kind == SOURCE_SIGNALS ? info.ssi_signo : 0);
}

int loop_run(struct loop *loop)
{
	struct epoll_event ev[32];

	while (!loop->stopped) { /* it may be before the first turn */
		int n = epoll_wait(loop->epoll_fd, ev, ARRAY_LEN(ev), -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 1; i < n; i++) {
			struct epoll_event first = ev[i];

			if (first.data.ptr != loop->urgent)
				continue;
			ev[i] = ev[0];
			ev[0] = first;
		}
		for (int i = 0; i < n && !loop->stopped; i++) {
			call(ev[i].data.ptr, ev[i].events);
		}
		sweep(loop);
	}
	loop->stopped = false;
	return loop->result;
}

void loop_stop(struct loop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}
