// SPDX-License-Identifier: MIT
/* A process to be dumped that notices everything done to it, and says so in a shared
 * file: d_server COUNTS MODE [MIB]. MODE 'epoll': the main thread sits in epoll_wait;
 * 'spin': it spins with known registers and checks them; 'alt': as epoll, with an
 * alternate signal stack that must stay. MIB of memory are touched first. */
#include "d_server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct d_counts *counts;
static pid_t self;
static volatile sig_atomic_t fork_asked;

/* rdi: how often to go round. All other registers get known values, and are compared
 * after the loop; so is the red zone. Returns 0 if all are as they were. */
uint64_t spin_check(uint64_t rounds);
__asm__(".text\n"
	".globl spin_check\n"
	"spin_check:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rdi, %rcx\n"
	"	movabs $0x1111111111111101, %rbx\n	movabs $0x1111111111111102, %rbp\n"
	"	movabs $0x1111111111111103, %rsi\n	movabs $0x1111111111111104, %rdi\n"
	"	movabs $0x1111111111111105, %rdx\n	movabs $0x1111111111111108, %r8\n"
	"	movabs $0x1111111111111109, %r9\n	movabs $0x1111111111111110, %r10\n"
	"	movabs $0x1111111111111111, %r11\n	movabs $0x1111111111111112, %r12\n"
	"	movabs $0x1111111111111113, %r13\n	movabs $0x1111111111111114, %r14\n"
	"	movabs $0x1111111111111115, %r15\n"
	"	movq %rbx, %xmm0\n	movq %r8, %xmm7\n	movq %r15, %xmm15\n"
	"	mov %rbx, -8(%rsp)\n	mov %r8, -64(%rsp)\n	mov %r9, -128(%rsp)\n"
	"1:	pause\n	dec %rcx\n	jnz 1b\n"
	"	cmp %rbx, -8(%rsp)\n	jne 2f\n	cmp %r8, -64(%rsp)\n	jne 2f\n	cmp %r9, -128(%rsp)\n	jne 2f\n"
	"	movq %xmm0, %rax\n	cmp %rax, %rbx\n	jne 2f\n"
	"	movq %xmm7, %rax\n	cmp %rax, %r8\n	jne 2f\n"
	"	movq %xmm15, %rax\n	cmp %rax, %r15\n	jne 2f\n"
	"	movabs $0x1111111111111101, %rax\n	cmp %rax, %rbx\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %rbp\n	jne 2f\n	inc %rax\n	cmp %rax, %rsi\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %rdi\n	jne 2f\n	inc %rax\n	cmp %rax, %rdx\n	jne 2f\n"
	"	movabs $0x1111111111111108, %rax\n	cmp %rax, %r8\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %r9\n	jne 2f\n"
	"	movabs $0x1111111111111110, %rax\n	cmp %rax, %r10\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %r11\n	jne 2f\n	inc %rax\n	cmp %rax, %r12\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %r13\n	jne 2f\n	inc %rax\n	cmp %rax, %r14\n	jne 2f\n"
	"	inc %rax\n	cmp %rax, %r15\n	jne 2f\n"
	"	xor %eax, %eax\n	jmp 3f\n"
	"2:	mov $1, %eax\n"
	"3:	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n");

/* The upper halves of the vector registers, which a careless restore drops. */
__attribute__((target("avx"))) static int vector_check(uint64_t rounds)
{
	static const uint64_t pattern[4] = { 0xa1, 0xa2, 0xa3, 0xa4 };
	uint64_t out[4];

	__asm__ volatile("vmovups %2, %%ymm3\n1: pause\n dec %1\n jnz 1b\n vmovups %%ymm3, %0\n"
			 : "=m"(out), "+r"(rounds)
			 : "m"(pattern)
			 : "xmm3", "cc");
	return memcmp(out, pattern, sizeof(out)) != 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

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

static void on_fork(int sig)
{
	(void)sig;
	fork_asked = 1;
}

static void own_fork(void)
{
	uint64_t start = now_ns();
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	counts->fork_ns = now_ns() - start;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	fork_asked = 0;
	__atomic_add_fetch(&counts->forks, 1, __ATOMIC_SEQ_CST);
}

static void *ticker(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	uint64_t last = now_ns();

	(void)arg;
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &param); /* else: a noisier figure */
	for (;;) {
		uint64_t now;

		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		now = now_ns();
		if (now - last > counts->gap_ns)
			counts->gap_ns = now - last;
		last = now;
		counts->tick[1]++;
	}
	return NULL;
}

static void *sleeper(void *arg)
{
	volatile uint64_t *tick = arg;

	for (;;) {
		if (nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL) < 0 && errno == EINTR && !counts->handled)
			counts->eintr++;
		++*tick;
	}
	return NULL;
}

/* Sits in a read that times out: one of the calls that any stop cuts short. */
static void *receiver(void *arg)
{
	struct timeval tv = { .tv_usec = 3000 };
	int pair[2];
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	for (;;) {
		if (recv(pair[0], &c, 1, 0) < 0 && errno == EINTR && !counts->handled)
			counts->eintr++;
		++*(volatile uint64_t *)arg;
	}
	return NULL;
}

static void touch(size_t bytes)
{
	uint64_t *p, x = 88172645463325252u;

	if (!bytes)
		return;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		abort();
	madvise(p, bytes, MADV_NOHUGEPAGE); /* the harder case: small pages */
	for (size_t i = 0; i < bytes / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (i / 512) % 2 ? x : 0x5a5a5a5a5a5a5a5au;
	}
}

static void on(int sig, void (*fn)(int), int flags)
{
	struct sigaction act = { .sa_handler = fn, .sa_flags = SA_RESTART | flags };

	sigaction(sig, &act, NULL);
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1, ep = epoll_create1(EPOLL_CLOEXEC);
	int spin = argc > 2 && !strcmp(argv[2], "spin"), alt = argc > 2 && !strcmp(argv[2], "alt");
	static char alt_stack[65536];
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) }, found;
	pthread_t thread;

	counts = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED) {
		fprintf(stderr, "usage: d_server COUNTS epoll|spin|alt [MIB]\n");
		return 2;
	}
	self = getpid();
	if (alt)
		sigaltstack(&ss, NULL);
	on(SIGCHLD, on_chld, SA_NOCLDSTOP);
	on(SIGRTMIN + 1, on_queued, alt ? SA_ONSTACK : 0);
	on(SIGUSR2, on_fork, 0);
	touch(argc > 3 ? (size_t)atoi(argv[3]) << 20 : 0);
	pthread_create(&thread, NULL, ticker, NULL);
	pthread_create(&thread, NULL, sleeper, (void *)&counts->tick[2]);
	pthread_create(&thread, NULL, sleeper, (void *)&counts->tick[3]);
	pthread_create(&thread, NULL, receiver, (void *)&counts->tick[4]);
	pthread_create(&thread, NULL, receiver, (void *)&counts->tick[5]);
	counts->ready = 1;
	for (;;) {
		struct epoll_event event;

		if (spin) {
			counts->wrong += spin_check(20000);
			if (__builtin_cpu_supports("avx"))
				counts->wrong += (uint64_t)vector_check(20000);
		} else if (epoll_wait(ep, &event, 1, 3) < 0 && errno == EINTR && !counts->handled && !fork_asked) {
			counts->eintr++;
		}
		if (alt && (sigaltstack(NULL, &found) < 0 || found.ss_sp != ss.ss_sp || found.ss_flags))
			counts->wrong++;
		counts->wrong += syscall(SYS_getpid) != self;
		counts->tick[0]++;
		if (fork_asked)
			own_fork();
	}
}
