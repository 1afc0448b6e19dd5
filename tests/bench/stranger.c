// SPDX-License-Identifier: MIT
/* What a process that is not watched pays: nanoseconds for a context switch, a socket
 * call, a system call, each many short batches beside the gauge, a line each. Two threads
 * on one CPU hand a byte to and fro through pipes; TCP over loopback; getppid. */
#include "gauge.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

#define BATCHES 401
#define BATCH 200

static int to[2], fro[2], near, far;

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

static void each(void (*two)(void))
{
	struct batches b;
	double before = gauge_ns();

	batches_init(&b, BATCHES);
	for (int i = 0; i < BATCHES; i++) {
		uint64_t start = now_ns(), end;
		double after;

		for (int k = 0; k < BATCH; k++)
			two();
		end = now_ns();
		after = gauge_ns();
		batch_add(&b, (double)(end - start) / (2 * BATCH), before, after);
		before = after;
	}
	batches_print(&b);
	putchar('\n');
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
	each(switch_twice);
	each(socket_twice);
	each(call_twice);
	return 0;
}
