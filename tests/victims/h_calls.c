// SPDX-License-Identifier: MIT
/* A thread in each call that blocks: h_calls SECONDS. Says 'ready N', waits for a line,
 * then feeds every call what it waits for, and prints what each returned:
 *   NAME VERDICT RESULT ERRNO MILLISECONDS
 * ok; EINTR; early (it ended before it was fed, or before its time); short (a part of
 * what was to be sent, which is legal once some of it was); late; failed; absent (not
 * on this kernel). Those with a timeout are not fed: SECONDS is how long they wait. */
#include "h_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 128

static struct job jobs[MOST];

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *run(void *arg)
{
	struct job *j = arg;
	uint64_t start;

	j->tid = (pid_t)syscall(SYS_gettid);
	start = j->since_ns ? j->since_ns : now_ns();
	j->result = j->row->call(j);
	j->error = j->result < 0 ? errno : 0;
	j->ns = now_ns() - start;
	j->early = !j->fed;
	j->done = true;
	return NULL;
}

static const char *timed_verdict(const struct job *j)
{
	int expected = j->row->expected;

	/* Sockets count in ticks of the kernel. */
	if (j->ns + 100000000u < (uint64_t)seconds * 1000000000u)
		return "early";
	return (expected > 0 ? j->result < 0 && j->error == expected : j->result == -expected) ? "ok" : "failed";
}

static const char *verdict(const struct job *j)
{
	enum kind kind = j->row->kind;

	if (j->absent)
		return "absent";
	if (!j->done)
		return "late";
	if (j->result < 0 && j->error == EINTR && (kind != SIGNALLED || j->early))
		return "EINTR";
	if (kind == TIMED)
		return timed_verdict(j);
	if (kind == PARTIAL && j->early && j->result > 0 && j->result < j->row->expected)
		return "short";
	if (j->early)
		return "early";
	if (kind == SIGNALLED)
		return j->error == EINTR ? "ok" : "failed";
	return j->result >= 0 && (!j->row->expected || j->result == j->row->expected) ? "ok" : "failed";
}

static void on_usr1(int sig)
{
	(void)sig;
}

static void begin(void)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	pthread_attr_t attr;
	sigset_t set;

	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	sigaddset(&set, SIGRTMIN + 6);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (size_t i = 0; i < row_count; i++) {
		jobs[i].row = &rows[i];
		rows[i].set_up(&jobs[i]);
	}
	for (size_t i = 0; i < row_count; i++) {
		if (!jobs[i].absent && pthread_create(&jobs[i].thread, &attr, run, &jobs[i]))
			abort();
	}
}

/* Until each sleeps in its call. */
static void settle(void)
{
	for (size_t i = 0; i < row_count; i++) {
		char path[64], text[512];
		char *state = NULL;

		while (!jobs[i].absent && !jobs[i].done && !(state && state[2] == 'S')) {
			ssize_t n;
			int fd;

			usleep(2000);
			snprintf(path, sizeof(path), "/proc/self/task/%d/stat", jobs[i].tid);
			fd = jobs[i].tid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
			n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
			text[n > 0 ? n : 0] = '\0';
			state = strrchr(text, ')');
			if (fd >= 0)
				close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t until_ns;
	char line[16];
	ssize_t n;

	seconds = argc > 1 ? atoi(argv[1]) : 0;
	if (seconds < 1 || row_count > MOST || !mkdtemp(scratch)) {
		fprintf(stderr, "usage: h_calls SECONDS\n");
		return 2;
	}
	begin();
	settle();
	printf("ready %zu\n", row_count);
	fflush(stdout);
	n = read(0, line, sizeof(line));
	printf("main:read %s %zd %d 0\n", n > 0 ? "ok" : "EINTR", n, n < 0 ? errno : 0);
	for (size_t i = 0; i < row_count; i++) {
		if (jobs[i].absent || !rows[i].feed || jobs[i].done)
			continue;
		jobs[i].fed = true;
		rows[i].feed(&jobs[i]);
	}
	until_ns = now_ns() + (uint64_t)(2 * seconds + 20) * 1000000000u;
	for (size_t i = 0; i < row_count; i++) {
		while (!jobs[i].absent && !jobs[i].done && now_ns() < until_ns)
			usleep(2000);
		printf("%s %s %ld %d %llu\n", rows[i].name, verdict(&jobs[i]), jobs[i].result, jobs[i].error,
		       (unsigned long long)jobs[i].ns / 1000000);
	}
	rows_end(jobs);
	return 0;
}
