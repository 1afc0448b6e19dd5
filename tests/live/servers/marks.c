// SPDX-License-Identifier: MIT
/* A small server with marks of its own: marks PORT. What a request does is its path:
 * /spans/MS  nested spans, the inner one of which sleeps; /marks  one mark of each
 * severity, a long one, one with bytes that want escaping; /many/N  N marks;
 * /deep  more spans than are kept; /severity/N/MS  a mark of that severity, then a nap; /dns  a look-up; /query  libpq, when it is linked;
 * /listened  whether somebody looks. A thread a connection, so that marks of one request
 * are told from another's. */
#include "../../../include/reqtrap.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef WITH_PQ
#include <libpq-fe.h>
#endif

static void nap(int ms)
{
	usleep((useconds_t)ms * 1000);
}

static void spans(int ms)
{
	REQTRAP_BEGIN("outer", ms);
	nap(20);
	REQTRAP_BEGIN("inner", 1);
	nap(ms);
	REQTRAP_END();
	REQTRAP_BEGIN("never ended before the trap", 2);
	nap(4 * ms);
	REQTRAP_END();
	REQTRAP_END();
}

static void marks(void)
{
	char text[400];

	REQTRAP_MARK(REQTRAP_CRITICAL, "disk is full", 1);
	REQTRAP_MARK(REQTRAP_ERROR, "cart is empty", -7);
	REQTRAP_MARK(REQTRAP_WARNING, "cache miss", 42);
	REQTRAP_MARK(REQTRAP_INFORMATION, "three <b>bold</b> \x1b[31m words", 0);
	REQTRAP_MARK(REQTRAP_VERBOSE, "step", 5);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	if (REQTRAP_LISTENED())
		REQTRAP_MARK(REQTRAP_INFORMATION, text, 6);
	nap(300);
}

static void deep(int n)
{
	if (!n) {
		nap(300);
		return;
	}
	REQTRAP_BEGIN("level", n);
	deep(n - 1);
	REQTRAP_END();
}

static void look_up(void)
{
	struct addrinfo *found = NULL;

	if (getaddrinfo("no-such-host.invalid", "80", NULL, &found) == 0)
		freeaddrinfo(found);
	nap(300);
}

static void query(void)
{
#ifdef WITH_PQ
	PGconn *conn = PQconnectdb(getenv("PQ_CONNINFO") ? getenv("PQ_CONNINFO") : "host=127.0.0.1 port=1");

	PQclear(PQexec(conn, "SELECT pg_sleep(0.2), 'secret' AS word, 4711"));
	PQfinish(conn);
#endif
	nap(300);
}

static void work(const char *path)
{
	if (!strncmp(path, "/spans/", 7))
		spans(atoi(path + 7));
	else if (!strncmp(path, "/marks", 6))
		marks();
	else if (!strncmp(path, "/severity/", 10)) {
		REQTRAP_MARK(atoi(path + 10), "cart is empty", 7);
		nap(atoi(path + 12));
	} else if (!strncmp(path, "/deep", 5))
		deep(12);
	else if (!strncmp(path, "/dns", 4))
		look_up();
	else if (!strncmp(path, "/query", 6))
		query();
	else if (!strncmp(path, "/many/", 6)) {
		for (int i = 0; i < atoi(path + 6); i++)
			REQTRAP_MARK(REQTRAP_INFORMATION, "one of many", i);
		nap(path[strlen(path) - 1] == '!' ? 0 : 200);
	}
}

static void *serve(void *arg)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
	int fd = (int)(long)arg;
	char head[2048], path[512], listened[128];
	ssize_t n;

	while ((n = read(fd, head, sizeof(head) - 1)) > 0) {
		head[n] = '\0';
		if (sscanf(head, "%*s %511s", path) != 1)
			break;
		if (!strcmp(path, "/listened")) {
			int len = snprintf(listened, sizeof(listened),
					   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%d\n", REQTRAP_LISTENED());

			if (write(fd, listened, (size_t)len) < 0)
				break;
			continue;
		}
		work(path);
		if (write(fd, reply, sizeof(reply) - 1) < 0)
			break;
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, to;
	pthread_t thread;

	at.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 8080));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
		return 1;
	/* 'marks PORT child': once asked to, a child serves and the parent waits */
	if (argc > 2) {
		sigset_t set;
		int got;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigprocmask(SIG_BLOCK, &set, NULL);
		sigwait(&set, &got);
		if (fork() > 0)
			return wait(NULL) < 0;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	while ((to = accept(fd, NULL, NULL)) >= 0) {
		if (pthread_create(&thread, NULL, serve, (void *)(long)to))
			return 1;
		pthread_detach(thread);
	}
	return 0;
}
