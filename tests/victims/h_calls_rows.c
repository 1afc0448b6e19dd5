// SPDX-License-Identifier: MIT
/* A row for each call that blocks: set-up, call, feed. One that is missing here is not
 * tested; what it is expected to return is in the row. */
#include "h_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>

#define BIG (1u << 20)

int seconds;
char scratch[] = "/tmp/h_calls.XXXXXX";
static char block[BIG];
static const char one[8] = { 1 };

static struct timespec span(void)
{
	return (struct timespec){ .tv_sec = seconds };
}

static struct timespec later(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += seconds;
	return ts;
}

/* --- what they wait on --- */

static void on_pipe(struct job *j)
{
	if (pipe2(j->fd, O_CLOEXEC) < 0)
		abort();
}

static void on_pair(struct job *j)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, j->fd) < 0)
		abort();
}

static void on_pair_timed(struct job *j)
{
	struct timeval tv = { .tv_sec = seconds };

	on_pair(j);
	setsockopt(j->fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(j->fd[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static void on_epoll(struct job *j)
{
	struct epoll_event event = { .events = EPOLLIN };

	on_pipe(j);
	j->more = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(j->more, EPOLL_CTL_ADD, j->fd[0], &event);
}

static void on_eventfd(struct job *j)
{
	j->fd[0] = j->fd[1] = eventfd(0, EFD_CLOEXEC);
}

static void fill(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, block, 4096) > 0)
		;
	while (write(fd, block, 1) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void on_pipe_to(struct job *j)
{
	int to;

	on_pipe(j);
	to = j->fd[0];
	j->fd[0] = j->fd[1];
	j->fd[1] = to;
}

static void on_full_pipe(struct job *j)
{
	on_pipe_to(j);
	fill(j->fd[0]);
}

static void on_full_pair(struct job *j)
{
	on_pair(j);
	fill(j->fd[0]);
}

static void on_full_pair_timed(struct job *j)
{
	on_pair_timed(j);
	fill(j->fd[0]);
}

static void on_listener(struct job *j)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	j->fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(j->fd[0], (struct sockaddr *)&in, sizeof(in)) < 0 || listen(j->fd[0], 1) < 0)
		abort();
}

static void on_listener_timed(struct job *j)
{
	struct timeval tv = { .tv_sec = seconds };

	on_listener(j);
	setsockopt(j->fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static int connect_to(int listener, int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	getsockname(listener, (struct sockaddr *)&in, &len);
	return connect(fd, (struct sockaddr *)&in, len);
}

/* A listener whose queue is full does not answer. */
static void on_full_listener(struct job *j)
{
	on_listener(j);
	listen(j->fd[0], 0);
	for (int i = 0; i < 3; i++)
		connect_to(j->fd[0], socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	j->more = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void on_timerfd(struct job *j)
{
	j->fd[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	j->since_ns = now_ns();
	timerfd_settime(j->fd[0], 0, &(struct itimerspec){ .it_value = span() }, NULL);
}

static void on_inotify(struct job *j)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/watched", scratch);
	mkdir(path, 0700);
	j->fd[0] = inotify_init1(IN_CLOEXEC);
	inotify_add_watch(j->fd[0], path, IN_CREATE);
}

static void on_signalfd(struct job *j)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 6);
	j->fd[0] = signalfd(-1, &set, SFD_CLOEXEC);
}

static void on_queue(struct job *j)
{
	j->fd[0] = msgget(IPC_PRIVATE, 0600);
	j->absent = j->fd[0] < 0;
}

static void on_full_queue(struct job *j)
{
	struct {
		long type;
		char text[4096];
	} message = { .type = 1 };

	on_queue(j);
	while (!j->absent && msgsnd(j->fd[0], &message, sizeof(message.text), IPC_NOWAIT) == 0)
		;
}

static void on_semaphore(struct job *j)
{
	j->fd[0] = semget(IPC_PRIVATE, 1, 0600);
	j->absent = j->fd[0] < 0;
}

static void on_mq(struct job *j)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	char name[32];

	snprintf(name, sizeof(name), "/h_calls.%d.%p", getpid(), (void *)j);
	j->fd[0] = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
	j->absent = j->fd[0] < 0;
	mq_unlink(name);
}

static void on_full_mq(struct job *j)
{
	on_mq(j);
	if (!j->absent)
		mq_send(j->fd[0], one, 8, 0);
}

static int scratch_file(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void on_flock(struct job *j)
{
	j->fd[0] = scratch_file("flock");
	j->fd[1] = scratch_file("flock");
	flock(j->fd[1], LOCK_EX);
}

static const struct flock whole_file = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
static const struct flock no_lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

static void on_ofd_lock(struct job *j)
{
	j->fd[0] = scratch_file("ofd");
	j->fd[1] = scratch_file("ofd");
	fcntl(j->fd[1], F_OFD_SETLK, &whole_file);
}

/* A child that ends when its pipe is closed; with a lock of its own. */
static void on_child(struct job *j)
{
	int up[2];
	char c;

	on_pipe(j);
	if (pipe2(up, O_CLOEXEC) < 0)
		abort();
	j->more = scratch_file("posix");
	j->child = fork();
	if (j->child == 0) {
		close(j->fd[1]);
		fcntl(j->more, F_SETLK, &whole_file);
		if (write(up[1], "u", 1) == 1 && read(j->fd[0], &c, 1) >= 0)
			_exit(7);
		_exit(1);
	}
	close(j->fd[0]);
	if (read(up[0], &c, 1) != 1)
		abort();
	close(up[0]);
	close(up[1]);
}

static void on_mutex(struct job *j)
{
	pthread_mutex_init(&j->mutex, NULL);
	pthread_cond_init(&j->cond, NULL);
}

static void on_held_mutex(struct job *j)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&j->mutex, &attr);
	pthread_mutex_lock(&j->mutex);
}

static void on_nothing(struct job *j)
{
	(void)j;
}

static void on_aio(struct job *j)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = POLLIN }, *list[] = { &cb };
	aio_context_t ctx = 0;

	on_eventfd(j);
	cb.aio_fildes = (uint32_t)j->fd[0];
	j->absent = syscall(SYS_io_setup, 4, &ctx) < 0 || syscall(SYS_io_submit, ctx, 1, list) != 1;
	j->long_word = (long)ctx;
}

static void on_uring(struct job *j)
{
	struct io_uring_params params = { 0 };
	struct io_uring_sqe *sqe;
	uint8_t *ring;

	on_eventfd(j);
	j->more = (int)syscall(SYS_io_uring_setup, 4, &params);
	j->absent = j->more < 0 || !(params.features & IORING_FEAT_SINGLE_MMAP);
	if (j->absent)
		return;
	ring = mmap(NULL, params.sq_off.array + params.sq_entries * 4 + 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		    j->more, IORING_OFF_SQ_RING);
	sqe = mmap(NULL, params.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, j->more,
		   IORING_OFF_SQES);
	if ((void *)ring == MAP_FAILED || (void *)sqe == MAP_FAILED)
		abort();
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_POLL_ADD, .fd = j->fd[0], .poll32_events = POLLIN };
	((uint32_t *)(ring + params.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(ring + params.sq_off.tail), 1, __ATOMIC_SEQ_CST);
	if (syscall(SYS_io_uring_enter, j->more, 1, 0, 0, NULL, 0) != 1)
		abort();
}

static void on_fifo(struct job *j)
{
	char path[64];

	(void)j;
	snprintf(path, sizeof(path), "%s/fifo", scratch);
	mkfifo(path, 0600);
}

/* --- what ends their wait --- */

static void feed_write(struct job *j)
{
	if (write(j->fd[1], one, 8) != 8)
		abort();
}

static void feed_drain(struct job *j)
{
	fcntl(j->fd[1], F_SETFL, O_NONBLOCK);
	while (!j->done) {
		char buf[65536];

		if (read(j->fd[1], buf, sizeof(buf)) < 0)
			usleep(1000);
	}
}

static void feed_connect(struct job *j)
{
	connect_to(j->fd[0], socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void feed_accept(struct job *j)
{
	fcntl(j->fd[0], F_SETFL, O_NONBLOCK);
	while (!j->done) {
		accept(j->fd[0], NULL, NULL);
		usleep(1000);
	}
}

static void feed_file(struct job *j)
{
	(void)j;
	close(scratch_file("watched/new"));
}

static void feed_fifo(struct job *j)
{
	char path[64];

	(void)j;
	snprintf(path, sizeof(path), "%s/fifo", scratch);
	open(path, O_WRONLY | O_CLOEXEC);
}

static void feed_message(struct job *j)
{
	const struct {
		long type;
		char text[8];
	} message = { .type = 1 };

	msgsnd(j->fd[0], &message, 8, 0);
}

static void feed_receive(struct job *j)
{
	struct {
		long type;
		char text[4096];
	} message;

	msgrcv(j->fd[0], &message, 4096, 0, 0);
}

static void feed_up(struct job *j)
{
	struct sembuf up = { 0, 1, 0 };

	semop(j->fd[0], &up, 1);
}

static void feed_mq(struct job *j)
{
	mq_send(j->fd[0], one, 8, 0);
}

static void feed_from_mq(struct job *j)
{
	char buf[8];

	mq_receive(j->fd[0], buf, 8, NULL);
}

static void feed_unflock(struct job *j)
{
	flock(j->fd[1], LOCK_UN);
}

static void feed_unlock_ofd(struct job *j)
{
	fcntl(j->fd[1], F_OFD_SETLK, &no_lock);
}

static void feed_close(struct job *j)
{
	close(j->fd[1]);
}

static void feed_word(struct job *j)
{
	__atomic_store_n(&j->word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &j->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void feed_condition(struct job *j)
{
	pthread_mutex_lock(&j->mutex);
	j->word = 1;
	pthread_cond_broadcast(&j->cond);
	pthread_mutex_unlock(&j->mutex);
}

static void feed_mutex(struct job *j)
{
	pthread_mutex_unlock(&j->mutex);
}

static void feed_queued(struct job *j)
{
	pthread_sigqueue(j->thread, SIGRTMIN + 5, (union sigval){ .sival_int = 1 });
}

static void feed_signalfd(struct job *j)
{
	pthread_sigqueue(j->thread, SIGRTMIN + 6, (union sigval){ .sival_int = 1 });
}

static void feed_signal(struct job *j)
{
	pthread_kill(j->thread, SIGUSR1);
}

/* --- the calls --- */

static long posix(int error)
{
	errno = error;
	return error ? -1 : 0;
}

#define CALL(name, expression)                 \
	static long call_##name(struct job *j) \
	{                                      \
		(void)j;                       \
		return (long)(expression);     \
	}

static struct pollfd *poll_of(struct job *j)
{
	static __thread struct pollfd pfd;

	pfd = (struct pollfd){ .fd = j->fd[0], .events = POLLIN };
	return &pfd;
}

static fd_set *set_of(struct job *j)
{
	static __thread fd_set set;

	FD_ZERO(&set);
	FD_SET(j->fd[0], &set);
	return &set;
}

static __thread struct epoll_event event;
static __thread char buf[8192];
static __thread siginfo_t si;
static __thread struct timespec ts;
static __thread struct timeval tv;
static __thread sigset_t set;

static const sigset_t *no_signals(void)
{
	sigemptyset(&set);
	return &set;
}

static const sigset_t *queued_signal(void)
{
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	return &set;
}

static const sigset_t *all_but_usr1(void)
{
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	sigdelset(&set, SIGUSR1);
	return &set;
}

static struct timespec *spanned(void)
{
	ts = span();
	return &ts;
}

static struct timespec *until(clockid_t clock)
{
	ts = later(clock);
	return &ts;
}

static struct iovec *iov(size_t len)
{
	static __thread struct iovec v;

	v = (struct iovec){ .iov_base = len > sizeof(buf) ? block : buf, .iov_len = len };
	return &v;
}

static struct msghdr *header(size_t len)
{
	static __thread struct msghdr h;

	h = (struct msghdr){ .msg_iov = iov(len), .msg_iovlen = 1 };
	return &h;
}

static struct mmsghdr *headers(void)
{
	static __thread struct mmsghdr h;

	h = (struct mmsghdr){ .msg_hdr = *header(8) };
	return &h;
}

static struct sembuf *down(void)
{
	static __thread struct sembuf s;

	s = (struct sembuf){ 0, -1, 0 };
	return &s;
}

static int pipe_end(int which)
{
	static __thread int fds[2];

	return !fds[1] && pipe2(fds, O_CLOEXEC) < 0 ? -1 : fds[which];
}

static long open_fifo(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/fifo", scratch);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static struct futex_waitv *waitv(struct job *j)
{
	static __thread struct futex_waitv v;

	v = (struct futex_waitv){ .uaddr = (uintptr_t)&j->word, .flags = FUTEX_32 };
	return &v;
}

static long condition(struct job *j, const struct timespec *abs)
{
	int error = 0;

	pthread_mutex_lock(&j->mutex);
	while (!j->word && !error)
		error = abs ? pthread_cond_timedwait(&j->cond, &j->mutex, abs) : pthread_cond_wait(&j->cond, &j->mutex);
	pthread_mutex_unlock(&j->mutex);
	return posix(error);
}

static int timeout_ms(void)
{
	return seconds * 1000;
}

static struct timeval *spanned_tv(void)
{
	tv = (struct timeval){ .tv_sec = seconds };
	return &tv;
}

CALL(epoll_wait, epoll_wait(j->more, &event, 1, -1))
CALL(epoll_wait_timed, epoll_wait(j->more, &event, 1, timeout_ms()))
CALL(epoll_pwait, epoll_pwait(j->more, &event, 1, -1, no_signals()))
CALL(epoll_pwait2, syscall(SYS_epoll_pwait2, j->more, &event, 1, NULL, NULL, 8))
CALL(epoll_pwait2_timed, syscall(SYS_epoll_pwait2, j->more, &event, 1, spanned(), NULL, 8))
CALL(poll, poll(poll_of(j), 1, -1))
CALL(poll_timed, poll(poll_of(j), 1, timeout_ms()))
CALL(ppoll, ppoll(poll_of(j), 1, NULL, no_signals()))
CALL(ppoll_timed, ppoll(poll_of(j), 1, spanned(), NULL))
CALL(select, select(j->fd[0] + 1, set_of(j), NULL, NULL, NULL))
CALL(select_timed, select(j->fd[0] + 1, set_of(j), NULL, NULL, spanned_tv()))
CALL(pselect6, pselect(j->fd[0] + 1, set_of(j), NULL, NULL, NULL, no_signals()))
CALL(pselect6_timed, pselect(j->fd[0] + 1, set_of(j), NULL, NULL, spanned(), NULL))
CALL(futex, syscall(SYS_futex, &j->word, FUTEX_WAIT, 0, NULL, NULL, 0))
CALL(futex_timed, syscall(SYS_futex, &j->word, FUTEX_WAIT, 0, spanned(), NULL, 0))
CALL(futex_abs, syscall(SYS_futex, &j->word, FUTEX_WAIT_BITSET, 0, until(CLOCK_MONOTONIC), NULL, ~0u))
CALL(futex_waitv, syscall(449, waitv(j), 1, 0, NULL, 0))
CALL(condition, condition(j, NULL))
CALL(condition_timed, condition(j, until(CLOCK_REALTIME)))
CALL(mutex, posix(pthread_mutex_lock(&j->mutex)))
CALL(nanosleep, nanosleep(spanned(), NULL))
CALL(clock_nanosleep, posix(clock_nanosleep(CLOCK_MONOTONIC, 0, spanned(), NULL)))
CALL(clock_nanosleep_abs, posix(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until(CLOCK_MONOTONIC), NULL)))
CALL(read, read(j->fd[0], buf, sizeof(buf)))
CALL(readv, readv(j->fd[0], iov(8), 1))
CALL(recv, recv(j->fd[0], buf, 8, 0))
CALL(recv_all, recv(j->fd[0], buf, 8, MSG_WAITALL))
CALL(recvmsg, recvmsg(j->fd[0], header(8), 0))
CALL(recvmmsg, recvmmsg(j->fd[0], headers(), 1, 0, NULL))
CALL(accept, accept(j->fd[0], NULL, NULL))
CALL(accept4, accept4(j->fd[0], NULL, NULL, SOCK_CLOEXEC))
CALL(connect, connect_to(j->fd[0], j->more))
CALL(send, send(j->fd[0], block, BIG, 0))
CALL(sendmsg, sendmsg(j->fd[0], header(BIG), 0))
CALL(write_some, write(j->fd[0], buf, 4096))
CALL(write_big, write(j->fd[0], block, BIG))
CALL(writev, writev(j->fd[0], iov(4096), 1))
CALL(msgrcv, msgrcv(j->fd[0], buf, 4096, 0, 0))
CALL(msgsnd, msgsnd(j->fd[0], memcpy(buf, one, 8), 4000, 0))
CALL(semop, semop(j->fd[0], down(), 1))
CALL(semtimedop, semtimedop(j->fd[0], down(), 1, spanned()))
CALL(sigwaitinfo, sigwaitinfo(queued_signal(), &si))
CALL(sigtimedwait, sigtimedwait(queued_signal(), &si, spanned()))
CALL(sigsuspend, sigsuspend(all_but_usr1()))
CALL(pause, pause())
CALL(wait4, wait4(j->child, NULL, 0, NULL))
CALL(waitid, waitid(P_PID, (id_t)j->child, &si, WEXITED))
CALL(flock, flock(j->fd[0], LOCK_EX))
CALL(setlkw, fcntl(j->more, F_SETLKW, &whole_file))
CALL(ofd_setlkw, fcntl(j->fd[0], F_OFD_SETLKW, &whole_file))
CALL(io_getevents, syscall(SYS_io_getevents, j->long_word, 1, 1, buf, NULL))
CALL(io_pgetevents, syscall(SYS_io_pgetevents, j->long_word, 1, 1, buf, NULL, NULL))
CALL(io_uring_enter, syscall(SYS_io_uring_enter, j->more, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0))
CALL(mq_receive, mq_receive(j->fd[0], buf, 8, NULL))
CALL(mq_timedreceive, mq_timedreceive(j->fd[0], buf, 8, NULL, until(CLOCK_REALTIME)))
CALL(mq_send, mq_send(j->fd[0], one, 8, 0))
CALL(recv_socket_to_pipe, splice(j->fd[0], NULL, pipe_end(1), NULL, 8, 0))
CALL(sendmmsg, sendmmsg(j->fd[0], headers(), 1, 0))
CALL(splice, splice(j->fd[0], NULL, pipe_end(1), NULL, 8, 0))
CALL(tee, tee(j->fd[0], pipe_end(1), 8, 0))
CALL(vmsplice, vmsplice(j->fd[0], iov(4096), 1, 0))
CALL(open_fifo, open_fifo())

const struct row rows[] = {
	{ "epoll_wait", on_epoll, call_epoll_wait, feed_write, FED, 0 },
	{ "epoll_wait(timeout)", on_epoll, call_epoll_wait_timed, NULL, TIMED, 0 },
	{ "epoll_pwait", on_epoll, call_epoll_pwait, feed_write, FED, 0 },
	{ "epoll_pwait2", on_epoll, call_epoll_pwait2, feed_write, FED, 0 },
	{ "epoll_pwait2(timeout)", on_epoll, call_epoll_pwait2_timed, NULL, TIMED, 0 },
	{ "poll", on_pipe, call_poll, feed_write, FED, 0 },
	{ "poll(timeout)", on_pipe, call_poll_timed, NULL, TIMED, 0 },
	{ "ppoll", on_pipe, call_ppoll, feed_write, FED, 0 },
	{ "ppoll(timeout)", on_pipe, call_ppoll_timed, NULL, TIMED, 0 },
	{ "select", on_pipe, call_select, feed_write, FED, 0 },
	{ "select(timeout)", on_pipe, call_select_timed, NULL, TIMED, 0 },
	{ "pselect6", on_pipe, call_pselect6, feed_write, FED, 0 },
	{ "pselect6(timeout)", on_pipe, call_pselect6_timed, NULL, TIMED, 0 },
	{ "futex", on_nothing, call_futex, feed_word, FED, 0 },
	{ "futex(timeout)", on_nothing, call_futex_timed, NULL, TIMED, ETIMEDOUT },
	{ "futex(until)", on_nothing, call_futex_abs, NULL, TIMED, ETIMEDOUT },
	{ "futex_waitv", on_nothing, call_futex_waitv, feed_word, FED, 0 },
	{ "pthread_cond_wait", on_mutex, call_condition, feed_condition, FED, 0 },
	{ "pthread_cond_timedwait", on_mutex, call_condition_timed, NULL, TIMED, ETIMEDOUT },
	{ "pthread_mutex_lock(PI)", on_held_mutex, call_mutex, feed_mutex, FED, 0 },
	{ "nanosleep", on_nothing, call_nanosleep, NULL, TIMED, 0 },
	{ "clock_nanosleep", on_nothing, call_clock_nanosleep, NULL, TIMED, 0 },
	{ "clock_nanosleep(until)", on_nothing, call_clock_nanosleep_abs, NULL, TIMED, 0 },
	{ "read(pipe)", on_pipe, call_read, feed_write, FED, 0 },
	{ "read(socket)", on_pair, call_read, feed_write, FED, 0 },
	{ "read(timerfd)", on_timerfd, call_read, NULL, TIMED, -8 },
	{ "read(eventfd)", on_eventfd, call_read, feed_write, FED, 0 },
	{ "read(inotify)", on_inotify, call_read, feed_file, FED, 0 },
	{ "read(signalfd)", on_signalfd, call_read, feed_signalfd, FED, 0 },
	{ "readv", on_pipe, call_readv, feed_write, FED, 0 },
	{ "recv", on_pair, call_recv, feed_write, FED, 0 },
	{ "recv(SO_RCVTIMEO)", on_pair_timed, call_recv, NULL, TIMED, EAGAIN },
	{ "recv(MSG_WAITALL)", on_pair, call_recv_all, feed_write, FED, 0 },
	{ "recvmsg", on_pair, call_recvmsg, feed_write, FED, 0 },
	{ "recvmsg(SO_RCVTIMEO)", on_pair_timed, call_recvmsg, NULL, TIMED, EAGAIN },
	{ "recvmmsg", on_pair, call_recvmmsg, feed_write, FED, 0 },
	{ "recvmmsg(SO_RCVTIMEO)", on_pair_timed, call_recvmmsg, NULL, TIMED, EAGAIN },
	{ "accept", on_listener, call_accept, feed_connect, FED, 0 },
	{ "accept(SO_RCVTIMEO)", on_listener_timed, call_accept, NULL, TIMED, EAGAIN },
	{ "accept4(SO_RCVTIMEO)", on_listener_timed, call_accept4, NULL, TIMED, EAGAIN },
	{ "connect", on_full_listener, call_connect, feed_accept, FED, 0 },
	{ "send(some-sent)", on_pair, call_send, feed_drain, PARTIAL, BIG },
	{ "send(full-socket)", on_full_pair, call_send, feed_drain, FED, BIG },
	{ "send(SO_SNDTIMEO)", on_full_pair_timed, call_send, NULL, TIMED, EAGAIN },
	{ "sendmsg(some-sent)", on_pair, call_sendmsg, feed_drain, PARTIAL, BIG },
	{ "sendmsg(full-socket)", on_full_pair, call_sendmsg, feed_drain, FED, BIG },
	{ "sendmmsg(SO_SNDTIMEO)", on_full_pair_timed, call_sendmmsg, NULL, TIMED, EAGAIN },
	{ "write(full-pipe)", on_full_pipe, call_write_some, feed_drain, FED, 4096 },
	{ "write(some-written)", on_pipe_to, call_write_big, feed_drain, PARTIAL, BIG },
	{ "writev(full-pipe)", on_full_pipe, call_writev, feed_drain, FED, 4096 },
	{ "msgrcv", on_queue, call_msgrcv, feed_message, FED, 0 },
	{ "msgsnd", on_full_queue, call_msgsnd, feed_receive, FED, 0 },
	{ "semop", on_semaphore, call_semop, feed_up, FED, 0 },
	{ "semtimedop", on_semaphore, call_semtimedop, NULL, TIMED, EAGAIN },
	{ "sigwaitinfo", on_nothing, call_sigwaitinfo, feed_queued, FED, 0 },
	{ "sigtimedwait", on_nothing, call_sigtimedwait, NULL, TIMED, EAGAIN },
	{ "sigsuspend", on_nothing, call_sigsuspend, feed_signal, SIGNALLED, 0 },
	{ "pause", on_nothing, call_pause, feed_signal, SIGNALLED, 0 },
	{ "wait4", on_child, call_wait4, feed_close, FED, 0 },
	{ "waitid", on_child, call_waitid, feed_close, FED, 0 },
	{ "flock", on_flock, call_flock, feed_unflock, FED, 0 },
	{ "fcntl(F_SETLKW)", on_child, call_setlkw, feed_close, FED, 0 },
	{ "fcntl(F_OFD_SETLKW)", on_ofd_lock, call_ofd_setlkw, feed_unlock_ofd, FED, 0 },
	{ "io_getevents", on_aio, call_io_getevents, feed_write, FED, 0 },
	{ "io_pgetevents", on_aio, call_io_pgetevents, feed_write, FED, 0 },
	{ "io_uring_enter", on_uring, call_io_uring_enter, feed_write, FED, 0 },
	{ "mq_receive", on_mq, call_mq_receive, feed_mq, FED, 0 },
	{ "mq_timedreceive", on_mq, call_mq_timedreceive, NULL, TIMED, ETIMEDOUT },
	{ "mq_send", on_full_mq, call_mq_send, feed_from_mq, FED, 0 },
	{ "splice", on_pipe, call_splice, feed_write, FED, 0 },
	{ "splice(SO_RCVTIMEO)", on_pair_timed, call_recv_socket_to_pipe, NULL, TIMED, EAGAIN },
	{ "tee", on_pipe, call_tee, feed_write, FED, 0 },
	{ "vmsplice", on_full_pipe, call_vmsplice, feed_drain, FED, 4096 },
	{ "open(fifo)", on_fifo, call_open_fifo, feed_fifo, FED, 0 },
};

const size_t row_count = sizeof(rows) / sizeof(rows[0]);

void rows_end(struct job *jobs)
{
	static const char *names[] = { "flock", "ofd", "posix", "fifo", "watched/new", "watched" };

	for (size_t i = 0; i < row_count; i++) {
		if (rows[i].set_up == on_queue || rows[i].set_up == on_full_queue)
			msgctl(jobs[i].fd[0], IPC_RMID, NULL);
		if (rows[i].set_up == on_semaphore)
			semctl(jobs[i].fd[0], 0, IPC_RMID);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", scratch, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	rmdir(scratch);
}
