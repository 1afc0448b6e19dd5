// SPDX-License-Identifier: MIT
/* Looks like a JVM from outside, and behaves as no JVM does: prints how many SIGQUITs it got.
 * usage: java HOW LIBRARY   (LIBRARY: a file named libjvm.so)
 *   late     listens only when a line comes on stdin, as one in a long pause
 *   never    takes the signal and does nothing
 *   endless  answers without an end
 *   slow     answers a byte, and then no more
 *   refuses  answers that it will not
 *   hangs_up ends the connection without an answer
 *   noise    answers bytes that are no list of threads
 *   forged   answers with threads of others, locks without end and names in many lines */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static sem_t asked;
static const char *how;
static char path[64];

static void on_quit(int sig)
{
	(void)sig;
	sem_post(&asked);
}

static void answer(int fd)
{
	static char text[65536];
	char question[64];

	if (read(fd, question, sizeof(question)) <= 0)
		return;
	memset(text, 'x', sizeof(text));
	if (!strcmp(how, "endless")) {
		memcpy(text, "0\nFull thread dump ", 19);
		while (write(fd, text, sizeof(text)) > 0)
			;
	} else if (!strcmp(how, "slow")) {
		if (write(fd, "0", 1) == 1)
			pause();
	} else if (!strcmp(how, "refuses")) {
		dprintf(fd, "1\nno such command\n");
	} else if (!strcmp(how, "noise")) {
		dprintf(fd, "0\n");
		for (int i = 0; i < 64; i++)
			text[i * 1000] = (char)i;
		if (write(fd, text, sizeof(text)) < 0)
			return;
	} else if (!strcmp(how, "forged")) {
		dprintf(fd, "0\nFull thread dump \n\n");
		for (int i = 0; i < 20000; i++)
			dprintf(fd, "\"a\n\" b\" nid=%d x\n\tat a.b(c:%d)\n\t- locked <0x%x> (a b)\n\n", i, i, i % 7);
	}
}

static void listen_now(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 5) < 0)
		exit(1);
	puts("listens");
	for (;;) {
		int client = accept(fd, NULL, NULL);

		answer(client);
		close(client);
	}
}

static void *dispatch(void *arg)
{
	char line[16];

	(void)arg;
	prctl(PR_SET_NAME, "Signal Dispatch");
	puts("ready");
	while (sem_wait(&asked) < 0 && errno == EINTR)
		;
	puts("signalled");
	if (!strcmp(how, "never"))
		return NULL;
	if (!strcmp(how, "late") && !fgets(line, sizeof(line), stdin))
		return NULL;
	listen_now();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 3 || !dlopen(argv[2], RTLD_NOW))
		return 2;
	how = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	snprintf(path, sizeof(path), "/tmp/.java_pid%d", getpid());
	sem_init(&asked, 0, 0);
	signal(SIGQUIT, on_quit);
	if (pthread_create(&thread, NULL, dispatch, NULL) != 0)
		return 2;
	for (;;)
		pause();
}
