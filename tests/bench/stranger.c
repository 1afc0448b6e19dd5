// SPDX-License-Identifier: MIT
/* What a process that is not watched pays: nanoseconds for a context switch, a socket
 * call, a system call, each the median of many short batches. Two threads on one CPU
 * hand a byte to and fro through pipes; TCP over loopback; getppid. */
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 401
#define BATCH 200

static int to[2], fro[2], near, far;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *echo(void *arg)
{
	char c;

	while (read(to[0], &c, 1) == 1) {
		if (write(fro[1], &c, 1) != 1)
			break;
	}
	return arg;
}

static void switch_twice(void)
{
	char c = 'x';

	if (write(to[1], &c, 1) != 1 || read(fro[0], &c, 1) != 1)
		error(1, errno, "pipe");
}

static void socket_twice(void)
{
	char text[64] = "not a request";

	if (send(near, text, sizeof(text), 0) != sizeof(text) ||
	    recv(far, text, sizeof(text), MSG_WAITALL) != sizeof(text))
		error(1, errno, "socket");
}

static void call_twice(void)
{
	syscall(SYS_getppid);
	syscall(SYS_getppid);
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double each(void (*two)(void))
{
	static uint64_t took[BATCHES];

	for (int i = 0; i < BATCHES; i++) {
		uint64_t start = now_ns();

		for (int k = 0; k < BATCH; k++)
			two();
		took[i] = now_ns() - start;
	}
	qsort(took, BATCHES, sizeof(*took), by_size);
	return (double)took[BATCHES / 2] / (2 * BATCH);
}

static void connect_both(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	near = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) < 0 || connect(near, (struct sockaddr *)&at, size) < 0)
		error(1, errno, "socket");
	far = accept(listener, NULL, NULL);
	if (far < 0)
		error(1, errno, "accept");
}

int main(void)
{
	pthread_t thread;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0 || pipe(to) < 0 || pipe(fro) < 0 ||
	    pthread_create(&thread, NULL, echo, NULL) != 0)
		error(1, errno, "cannot set up");
	connect_both();
	printf("%.1f %.1f %.1f\n", each(switch_twice), each(socket_twice), each(call_twice));
	return 0;
}
