// SPDX-License-Identifier: MIT
/* A shop of threads, one a connection, for a machine that has nothing but a kernel:
 *   server PORT               /fast, /slow?ms=N sleeps, /locked?ms=N sleeps with the
 *                             lock of the stock in its hand, /hog?ms=N fills so many MiB
 *                             of memory, /marked?ms=N marks itself and sleeps, /fail says 503
 *   server PORT PATH...       its client: one connection, one request after the other;
 *                             prints the statuses
 * Trap: nap() and sell() are looked for in the stacks, so they are not inlined. */
#include "../../include/reqtrap.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t stock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noinline)) static void nap(long ms)
{
	usleep((useconds_t)ms * 1000);
	__asm__ volatile("");
}

__attribute__((noinline)) static void sell(long ms)
{
	pthread_mutex_lock(&stock);
	nap(ms);
	pthread_mutex_unlock(&stock);
}

__attribute__((noinline)) static void hog(long mib)
{
	char *all = malloc((size_t)mib << 20);

	for (size_t at = 0; all && at < (size_t)mib << 20; at += 4096)
		*(volatile char *)(all + at) = 1;
	free(all);
	__asm__ volatile("");
}

/* Reads up to the blank line. The length, 0 at the end of the connection. */
static size_t read_head(int fd, char *text, size_t size)
{
	size_t len = 0;

	do {
		ssize_t n = len < size - 1 ? read(fd, text + len, size - 1 - len) : 0;

		if (n <= 0)
			return 0;
		len += (size_t)n;
		text[len] = '\0';
	} while (!strstr(text, "\r\n\r\n"));
	return len;
}

static int answer(int fd, const char *head)
{
	const char *at = strstr(head, "?ms=");
	long ms = at ? strtol(at + 4, NULL, 10) : 0;
	char reply[128];
	int len;

	if (!strncmp(head, "GET /marked", 11)) {
		REQTRAP_MARK(REQTRAP_ERROR, "cart is empty", 7);
		nap(ms);
	} else if (!strncmp(head, "GET /slow", 9))
		nap(ms);
	else if (!strncmp(head, "GET /locked", 11))
		sell(ms);
	else if (!strncmp(head, "GET /hog", 8))
		hog(ms);
	len = snprintf(reply, sizeof(reply), "HTTP/1.1 %s\r\nContent-Length: 3\r\n\r\nok\n",
		       strncmp(head, "GET /fail", 9) ? "200 OK" : "503 Service Unavailable");
	return write(fd, reply, (size_t)len) == len;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char head[4096];

	while (read_head(fd, head, sizeof(head)) && answer(fd, head))
		;
	close(fd);
	return NULL;
}

static int ask(int fd, char **paths)
{
	char text[4096];

	for (; *paths; paths++) {
		int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: shop\r\n\r\n", *paths);

		if (write(fd, text, (size_t)len) != len || !read_head(fd, text, sizeof(text)))
			return 1;
		printf("%.3s\n", text + 9);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	pthread_t thread;

	at.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
	if (argc > 2)
		return connect(fd, (void *)&at, sizeof(at)) < 0 || ask(fd, argv + 2);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
		return 1;
	puts("listening");
	fflush(stdout);
	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn >= 0 &&
		    (pthread_create(&thread, NULL, serve, (void *)(intptr_t)conn) || pthread_detach(thread)))
			close(conn);
	}
}
