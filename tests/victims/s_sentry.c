// SPDX-License-Identifier: MIT
/* Plays the parent of a worker that stays attached:
 *   s_sentry REQTRAP PID FOLDER WISH... [mini] [clone]
 * WISH: a signal's number, 'crash', 'fatal', 'exit'. Says 'waiting', then a line for the dump or the end:
 * its code, what fired, the file; at the end each signal seen. A 'cancel' on standard input
 * cancels. The worker's id comes first, so that it can be killed. */
#include "../../src/dump.h"
#include "../../src/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(const char *program, const char *folder, int *ret_sock)
{
	int pair[2], dir = open(folder, O_RDONLY | O_DIRECTORY);
	pid_t pid;

	if (dir < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		exit(2);
	pid = fork();
	if (pid == 0) {
		int sock = fcntl(pair[1], F_DUPFD, 10), folder_fd = fcntl(dir, F_DUPFD, 10);

		close(pair[0]);
		dup2(sock, WORKER_FD_PARENT);
		dup2(folder_fd, WORKER_FD_DIR);
		close(WORKER_FD_ANALYST);
		close(sock);
		close(folder_fd);
		execl(program, "reqtrap", "--worker", NULL);
		_exit(127);
	}
	close(pair[1]);
	close(dir);
	*ret_sock = pair[0];
	return pid;
}

static void order_send(int sock, struct dump_order *order)
{
	strcpy(order->file, "core.1");
	if (send(sock, order, sizeof(*order), MSG_NOSIGNAL) < 0)
		perror("send");
}

static void tell(const struct dump_result *result, const struct dump_order *order)
{
	const struct sentry_report *s = &result->sentry;

	printf("result code %d cause %u signal %d sicode %d sender %d tid %d exit %d ended %u threads %u "
	       "method %u pause_us %llu wall_ms %llu peak_kb %llu bytes %llu file %s error '%s'\n",
	       result->code, s->cause, s->signal, s->code, s->sender, s->tid, s->exit_code, s->ended, result->threads,
	       result->method, (unsigned long long)result->pause_ns / 1000,
	       (unsigned long long)result->wall_ns / 1000000, (unsigned long long)result->peak_bytes / 1024,
	       (unsigned long long)result->core_bytes, result->core_bytes ? order->file : "-", result->error);
	for (unsigned int i = 0; i < SENTRY_SIGNALS; i++) {
		if (s->seen[i].count)
			printf("seen %u count %u sicode %d sender %d tid %d\n", i + 1, s->seen[i].count,
			       s->seen[i].code, s->seen[i].sender, s->seen[i].tid);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct dump_order order = { .kinds = DUMP_FULL };
	struct dump_result result;
	pid_t worker;
	int sock;

	if (argc < 5)
		return 2;
	order.pid = atoi(argv[2]);
	for (int i = 4; i < argc; i++) {
		if (!strcmp(argv[i], "fatal"))
			order.on.fatal = 1;
		else if (!strcmp(argv[i], "exit"))
			order.on.exit = 1;
		else if (!strcmp(argv[i], "mini"))
			order.kinds = DUMP_MINI;
		else if (!strcmp(argv[i], "clone"))
			order.snapshot = SNAPSHOT_CLONE;
		else if (!strcmp(argv[i], "crash"))
			order.on.signals |= sentry_crashes();
		else
			order.on.signals |= sentry_bit(atoi(argv[i]));
	}
	worker = start(argv[1], argv[3], &sock);
	printf("worker %d\n", worker);
	fflush(stdout);
	order_send(sock, &order);
	for (;;) {
		struct pollfd pfd[2] = { { .fd = sock, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
		char line[32];
		ssize_t len;

		poll(pfd, 2, -1);
		if (pfd[1].revents) {
			len = read(0, line, sizeof(line));
			if (len > 0)
				kill(worker, SIGTERM);
			else
				return 1; /* dies, and leaves the worker alone */
		}
		if (!pfd[0].revents)
			continue;
		len = recv(sock, &result, sizeof(result), 0);
		if (len <= 0)
			break;
		if (len == sizeof(struct worker_note) && ((struct worker_note *)&result)->stage == WORKER_WAITING)
			printf("waiting\n"), fflush(stdout);
		if (len != sizeof(result))
			continue;
		tell(&result, &order);
		break;
	}
	waitpid(worker, NULL, 0);
	return result.code ? 1 : 0;
}
