// SPDX-License-Identifier: MIT
/* A server to be dumped by a worker that is killed: h_server COUNTS epoll|spin|alt|threads.
 * Each thread counts its rounds, checks what it gets back, and has settings of its own
 * to lose. 'spin': the main thread never leaves user mode; 'alt': it has an alternate
 * signal stack; 'threads': there are 64. All is set up before 'ready': from then on
 * nothing of the process may change that /proc shows. */
#include "h_server.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#define MANY 64

static struct h_counts *counts;
static pid_t self;

/* --- registers --- */

struct image { /* the offsets are known to spin_check */
	uint8_t vector[32][64];
	uint64_t mask[8];
	uint8_t x87[512], x87_after[512];
	uint8_t vector_after[32][64];
	uint64_t mask_after[8];
	uint64_t after[15]; /* r15 r14 r13 r12 r11 r10 r9 r8 rbp rdi rsi rdx rcx rbx rax */
	uint64_t flags;
	uint8_t red_zone[256];
	uint32_t level; /* 0 SSE, 1 AVX, 2 AVX-512 */
	uint32_t mxcsr, fcw, old_mxcsr, old_fcw;
};
_Static_assert(offsetof(struct image, x87) == 2112 && offsetof(struct image, x87_after) == 2624 &&
		       offsetof(struct image, vector_after) == 3136 && offsetof(struct image, mask_after) == 5184 &&
		       offsetof(struct image, after) == 5248 && offsetof(struct image, level) == 5632 &&
		       offsetof(struct image, old_fcw) == 5648,
	       "spin_check knows them");

/* Fills every register, goes round so often, and stores what they are then. */
void spin_check(uint64_t rounds, struct image *image);
__asm__(".text\n"
	".globl spin_check\n"
	"spin_check:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n	push %rsi\n"
	"	mov %rdi, %rcx\n"
	"	stmxcsr 5644(%rsi)\n	ldmxcsr 5636(%rsi)\n	fnstcw 5648(%rsi)\n	fninit\n	fldcw 5640(%rsi)\n"
	"	fldpi\n	fld1\n	fldl2e\n	fldl2t\n	fldlg2\n	fldln2\n	fldz\n	fldpi\n"
	"	cmpl $1, 5632(%rsi)\n	ja 12f\n	je 11f\n"
	"	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n	movdqu 64*\\i(%rsi), %xmm\\i\n	.endr\n	jmp 13f\n"
	"11:	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n	vmovdqu 64*\\i(%rsi), %ymm\\i\n	.endr\n	jmp 13f\n"
	"12:	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	"	vmovdqu64 64*\\i(%rsi), %zmm\\i\n	.endr\n"
	"	.irp i,0,1,2,3,4,5,6,7\n	kmovw 2048+8*\\i(%rsi), %k\\i\n	.endr\n"
	"13:	fxsave 2112(%rsi)\n"
	"	movabs $0x1111111111111100, %rax\n	movabs $0x1111111111111101, %rbx\n"
	"	movabs $0x1111111111111102, %rbp\n	movabs $0x1111111111111103, %rsi\n"
	"	movabs $0x1111111111111104, %rdi\n	movabs $0x1111111111111105, %rdx\n"
	"	movabs $0x1111111111111108, %r8\n	movabs $0x1111111111111109, %r9\n"
	"	movabs $0x1111111111111110, %r10\n	movabs $0x1111111111111111, %r11\n"
	"	movabs $0x1111111111111112, %r12\n	movabs $0x1111111111111113, %r13\n"
	"	movabs $0x1111111111111114, %r14\n	movabs $0x1111111111111115, %r15\n"
	"	mov %rbx, -8(%rsp)\n	mov %r8, -64(%rsp)\n	mov %r9, -128(%rsp)\n"
	"	std\n	stc\n"
	"1:	pause\n	dec %rcx\n	jnz 1b\n"
	"	lea -256(%rsp), %rsp\n	pushfq\n"
	"	push %rax\n	push %rbx\n	push %rcx\n	push %rdx\n	push %rsi\n	push %rdi\n	push %rbp\n"
	"	push %r8\n	push %r9\n	push %r10\n	push %r11\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	cld\n	mov 384(%rsp), %rbx\n	lea 5248(%rbx), %rdi\n	mov %rsp, %rsi\n	mov $384, %ecx\n"
	"	rep movsb\n	add $384, %rsp\n	mov %rbx, %rsi\n"
	"	fxsave 2624(%rsi)\n"
	"	cmpl $1, 5632(%rsi)\n	ja 12f\n	je 11f\n"
	"	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n	movdqu %xmm\\i, 3136+64*\\i(%rsi)\n	.endr\n	jmp 13f\n"
	"11:	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n	vmovdqu %ymm\\i, 3136+64*\\i(%rsi)\n	.endr\n"
	"	vzeroupper\n	jmp 13f\n"
	"12:	.irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	"	vmovdqu64 %zmm\\i, 3136+64*\\i(%rsi)\n	.endr\n"
	"	.irp i,0,1,2,3,4,5,6,7\n	kmovw %k\\i, 5184+8*\\i(%rsi)\n	.endr\n	vzeroupper\n"
	"13:	fninit\n	fldcw 5648(%rsi)\n	ldmxcsr 5644(%rsi)\n"
	"	pop %rsi\n	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n");

static void image_fill(struct image *image)
{
	uint64_t x = 88172645463325252u;
	size_t width;

	memset(image, 0, sizeof(*image));
	image->level = __builtin_cpu_supports("avx512f") ? 2 : __builtin_cpu_supports("avx") ? 1 : 0;
	width = (size_t)16 << image->level;
	for (int i = 0; i < (image->level == 2 ? 32 : 16); i++) {
		for (size_t n = 0; n < width; n++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			image->vector[i][n] = (uint8_t)(x >> 56);
		}
	}
	for (int i = 0; image->level == 2 && i < 8; i++)
		image->mask[i] = 0xa501u + (unsigned int)i;
	image->mxcsr = 0x7f80; /* rounds towards zero */
	image->fcw = 0x0f7f;
}

static uint32_t image_check(const struct image *image)
{
	static const uint64_t expected[15] = { 0x15, 0x14, 0x13, 0x12, 0x11, 0x10, 0x09, 0x08,
					       0x02, 0x04, 0x03, 0x05, 0,    0x01, 0 };
	uint64_t red[3];
	uint32_t wrong = 0;

	for (int i = 0; i < 15; i++) {
		if (i != 12 && image->after[i] != (0x1111111111111100u | expected[i]))
			wrong |= H_GENERAL;
	}
	if (image->after[12]) /* the count is down to 0 */
		wrong |= H_GENERAL;
	if ((image->flags & 0x401) != 0x401)
		wrong |= H_FLAGS;
	memcpy(&red[0], image->red_zone + 248, 8);
	memcpy(&red[1], image->red_zone + 192, 8);
	memcpy(&red[2], image->red_zone + 128, 8);
	if (red[0] != 0x1111111111111101u || red[1] != 0x1111111111111108u || red[2] != 0x1111111111111109u)
		wrong |= H_RED_ZONE;
	/* Control, status and tags; MXCSR; the eight registers, ten bytes of each. */
	if (memcmp(image->x87, image->x87_after, 5) != 0 || memcmp(image->x87 + 24, image->x87_after + 24, 4) != 0)
		wrong |= H_X87;
	for (size_t i = 32; i < 160; i += 16)
		wrong |= memcmp(image->x87 + i, image->x87_after + i, 10) ? H_X87 : 0;
	if (memcmp(image->vector, image->vector_after, sizeof(image->vector)) != 0)
		wrong |= H_VECTOR;
	for (int i = 0; i < 8; i++)
		wrong |= (image->mask[i] & 0xffff) != (image->mask_after[i] & 0xffff) ? H_MASK_REGS : 0;
	return wrong;
}

struct bases {
	uint64_t fs, gs;
};

static struct bases bases(void)
{
	struct bases b = { 0, 0 };

	syscall(SYS_arch_prctl, ARCH_GET_FS, &b.fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &b.gs);
	return b;
}

static void wrong(uint32_t bits)
{
	if (bits)
		__atomic_or_fetch(&counts->wrong, bits, __ATOMIC_SEQ_CST);
}

/* --- threads --- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void told(long result)
{
	if (result < 0 && errno == EINTR)
		__atomic_add_fetch(&counts->eintr, 1, __ATOMIC_SEQ_CST);
}

static void up(void)
{
	__atomic_add_fetch(&counts->up, 1, __ATOMIC_SEQ_CST);
}

static void rest(void)
{
	while (!counts->go)
		syscall(SYS_futex, &counts->go, FUTEX_WAIT, 0, NULL, NULL, 0);
}

#define WAIT_NS 1500000

static void wait_once(int kind, int fd, pthread_mutex_t *mutex, pthread_cond_t *cond)
{
	struct timespec ts = { .tv_nsec = WAIT_NS };
	uint64_t start = now_ns(), expirations;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct itimerspec when = { .it_value.tv_nsec = WAIT_NS };
	char c;

	switch (kind) {
	case 0:
		told(nanosleep(&ts, NULL));
		break;
	case 1:
		told(recv(fd, &c, 1, 0));
		return; /* counts in ticks of the kernel */
	case 2:
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += WAIT_NS;
		ts.tv_sec += ts.tv_nsec / 1000000000;
		ts.tv_nsec %= 1000000000;
		pthread_mutex_lock(mutex);
		pthread_cond_timedwait(cond, mutex, &ts);
		pthread_mutex_unlock(mutex);
		return; /* may wake early, and its clock is another */
	case 3:
		told(ppoll(&pfd, 1, &ts, NULL));
		break;
	default:
		timerfd_settime(fd, 0, &when, NULL);
		told(read(fd, &expirations, sizeof(expirations)));
		break;
	}
	if (now_ns() - start < WAIT_NS && !counts->handled)
		wrong(H_SHORT);
}

/* Something of its own for each of the first threads: nice, policy, signal mask. */
static void own_settings(long n)
{
	struct sched_param param = { 0 };
	sigset_t set;

	if (n == 1)
		setpriority(PRIO_PROCESS, 0, 3);
	if (n == 2)
		sched_setscheduler(0, SCHED_BATCH, &param);
	sigemptyset(&set);
	sigaddset(&set, n % 2 ? SIGUSR1 : SIGURG);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *waiter(void *arg)
{
	long n = (long)arg;
	int kind = (int)(n - 1) % 5, pair[2] = { -1, -1 }, fd = -1;
	struct timeval tv = { .tv_usec = WAIT_NS / 1000 };
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
	uint64_t last = 0;

	own_settings(n);
	if (kind == 1 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
		setsockopt(fd = pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	else if (kind == 3)
		fd = eventfd(0, EFD_CLOEXEC);
	else if (kind == 4)
		fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	up();
	for (;;) {
		uint64_t now;

		rest();
		wait_once(kind, fd, &mutex, &cond);
		counts->tick[n]++;
		if (n != 1)
			continue;
		now = now_ns();
		if (last && counts->gap_ns && now - last > counts->gap_ns)
			counts->gap_ns = now - last;
		last = counts->gap_ns ? now : 0;
	}
	return NULL;
}

static void *spinner(void *arg)
{
	long n = (long)arg;
	struct image *image = aligned_alloc(64, (sizeof(*image) + 63) / 64 * 64);
	struct bases mine;

	own_settings(n);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0x7654321000u + (uint64_t)n);
	mine = bases();
	image_fill(image);
	up();
	for (;;) {
		struct bases now;

		rest();
		spin_check(n ? 2000 : 8000, image);
		wrong(image_check(image));
		now = bases();
		if (now.fs != mine.fs || now.gs != mine.gs)
			wrong(H_BASES);
		if (syscall(SYS_getpid) != self)
			wrong(H_IDENTITY);
		counts->tick[n]++;
		if (n)
			nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
	return NULL;
}

/* --- the main thread --- */

static void on_chld(int sig)
{
	(void)sig;
	counts->sigchld++;
}

static void on_queued(int sig)
{
	(void)sig;
	__atomic_add_fetch(&counts->handled, 1, __ATOMIC_SEQ_CST);
}

static void serve(unsigned int *held)
{
	char in[64], out[128];
	ssize_t n = recv(H_FD_CLIENT, in, sizeof(in), MSG_DONTWAIT), len = 0;

	if (n == 0)
		exit(0);
	for (ssize_t i = 0; i < n; i++) {
		if (in[i] == 'q')
			out[len++] = 'Q';
		else if (in[i] == 'h')
			++*held;
		else if (in[i] == 'g')
			for (out[len++] = 'G'; *held; --*held)
				out[len++] = 'H';
	}
	if (len)
		send(H_FD_CLIENT, out, (size_t)len, MSG_NOSIGNAL);
}

static void serve_forever(long n, const stack_t *alt)
{
	struct epoll_event event = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct itimerval left;
	unsigned int held = 0;

	epoll_ctl(ep, EPOLL_CTL_ADD, H_FD_CLIENT, &event);
	up();
	for (;;) {
		stack_t found;
		int events;

		rest();
		events = epoll_wait(ep, &event, 1, 3);
		told(events);
		if (events > 0)
			serve(&held);
		if (alt && (sigaltstack(NULL, &found) < 0 || found.ss_sp != alt->ss_sp || found.ss_flags))
			wrong(H_ALT_STACK);
		if (syscall(SYS_getpid) != self || getitimer(ITIMER_REAL, &left) < 0 || !left.it_value.tv_sec)
			wrong(H_IDENTITY);
		counts->tick[n]++;
	}
}

static void on(int sig, void (*fn)(int), int flags)
{
	struct sigaction act = { .sa_handler = fn, .sa_flags = SA_RESTART | flags };

	sigaction(sig, &act, NULL);
}

static void *server_thread(void *arg)
{
	serve_forever((long)arg, NULL);
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	bool spin = argc > 2 && !strcmp(argv[2], "spin"), alt = argc > 2 && !strcmp(argv[2], "alt");
	long threads = argc > 2 && !strcmp(argv[2], "threads") ? MANY : 7;
	struct itimerspec hour = { .it_value.tv_sec = 7200 };
	struct itimerval alarm = { .it_value.tv_sec = 7200 };
	static char alt_stack[65536];
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) };
	pthread_attr_t attr;
	pthread_t thread;
	timer_t timer;

	counts = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED) {
		fprintf(stderr, "usage: h_server COUNTS epoll|spin|alt|threads\n");
		return 2;
	}
	close(fd);
	self = getpid();
	if (alt)
		sigaltstack(&ss, NULL);
	on(SIGCHLD, on_chld, SA_NOCLDSTOP);
	on(SIGRTMIN + 1, on_queued, alt ? SA_ONSTACK : 0);
	signal(SIGPIPE, SIG_IGN);
	timer_create(CLOCK_MONOTONIC, &(struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG },
		     &timer);
	timer_settime(timer, 0, &hour, NULL);
	setitimer(ITIMER_REAL, &alarm, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	counts->threads = (uint32_t)threads;
	for (long i = 1; i < threads; i++)
		pthread_create(&thread, &attr, i != 6 ? waiter : spin ? server_thread : spinner, (void *)i);
	if (spin)
		spinner(NULL);
	serve_forever(0, alt ? &ss : NULL);
}
