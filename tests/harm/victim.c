// SPDX-License-Identifier: MIT
/* A victim and its health: its portrait (all that /proc tells of settings, signals,
 * descriptors and mappings) before and after, and what it counted itself. */
#include "harm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#define HEALTHY_NS 12000000000u /* at most, until all goes on again: the machine may be busy */
#define PORTRAIT_BYTES (1u << 20)

void die(const char *what)
{
	fprintf(stderr, "harm: %s: %s\n", what, strerror(errno));
	exit(2);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) },
		  NULL);
}

/* --- the portrait --- */

static char *text_of(const char *path)
{
	static char text[256 << 10];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void add_status(FILE *out, pid_t tid)
{
	static const char *keys[] = {
		"Name",	  "Umask",  "TracerPid", "Uid",	   "Gid",    "Groups", "SigPnd",     "ShdPnd",	     "SigBlk",
		"SigIgn", "SigCgt", "CapInh",	 "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Cpus_allowed",
	};
	char path[64], *save = NULL;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	for (char *line = strtok_r(text_of(path), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t len = strcspn(line, ":");

		if (!strncmp(line, "State:", 6) && strpbrk(line + 7, "tTZX") == line + 7)
			fprintf(out, "thread %d %s\n", tid, line);
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			if (len == strlen(keys[i]) && !strncmp(line, keys[i], len))
				fprintf(out, "thread %d %s\n", tid, line);
		}
	}
}

/* The field 'n' of a stat file's text (3 is the state). */
static const char *stat_field(char *text, int n)
{
	char *p = strrchr(text, ')');

	for (int i = 2; p && i < n; i++)
		p = strchr(p + 1, ' ');
	return p ? p + 1 : "";
}

static void add_scheduling(FILE *out, pid_t tid)
{
	static const struct {
		int n;
		const char *name;
	} fields[] = { { 18, "priority" }, { 19, "nice" }, { 40, "rt_priority" }, { 41, "policy" } };
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	text = text_of(path);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *field = stat_field(text, fields[i].n);

		fprintf(out, "thread %d %s %.*s\n", tid, fields[i].name, (int)strcspn(field, " \n"), field);
	}
}

/* Neighbours that are alike are one: the kernel splits and merges them as it likes. */
static void add_maps(FILE *out, pid_t pid)
{
	unsigned long long start = 0, end = 0, from, to, offset;
	char path[64], *save = NULL, rest[512] = "", perms[8];
	int at;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	for (char *line = strtok_r(text_of(path), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char now[512];

		if (sscanf(line, "%llx-%llx %7s %llx %n", &from, &to, perms, &offset, &at) < 4)
			continue;
		snprintf(now, sizeof(now), "%s %s", perms, line + at);
		if (from == end && !strcmp(now, rest) && strstr(line + at, "00:00 0")) {
			end = to;
			continue;
		}
		if (end)
			fprintf(out, "map %llx-%llx %s\n", start, end, rest);
		start = from;
		end = to;
		strcpy(rest, now);
	}
	fprintf(out, "map %llx-%llx %s\n", start, end, rest);
}

static void add_link(FILE *out, pid_t pid, const char *what)
{
	char path[300], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	n = readlink(path, target, sizeof(target));
	fprintf(out, "%s -> %.*s\n", what, n < 0 ? 0 : (int)n, target);
}

static void each_of(pid_t pid, const char *what, void (*fn)(FILE *, pid_t, const char *), FILE *out)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			fn(out, pid, e->d_name);
	}
	if (d)
		closedir(d);
}

static void add_thread(FILE *out, pid_t pid, const char *name)
{
	pid_t tid = atoi(name);
	char path[64];

	(void)pid;
	add_status(out, tid);
	add_scheduling(out, tid);
	snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
	fprintf(out, "thread %d timer slack %s", tid, text_of(path));
}

static void add_fd(FILE *out, pid_t pid, const char *name)
{
	char what[300], *flags;

	snprintf(what, sizeof(what), "fd/%.20s", name);
	add_link(out, pid, what);
	snprintf(what, sizeof(what), "/proc/%d/fdinfo/%.20s", pid, name);
	flags = strstr(text_of(what), "flags:");
	fprintf(out, "fd %.20s %.*s\n", name, flags ? (int)strcspn(flags, "\n") : 0, flags ? flags : "");
}

static char *portrait(pid_t pid)
{
	static const char *files[] = { "limits", "oom_score_adj", "coredump_filter", "personality", "timers" };
	static const char *links[] = { "cwd", "root", "exe" };
	char *text = calloc(1, PORTRAIT_BYTES), path[64];
	FILE *out = text ? fmemopen(text, PORTRAIT_BYTES - 1, "w") : NULL;

	if (!out)
		die("fmemopen");
	each_of(pid, "task", add_thread, out);
	each_of(pid, "fd", add_fd, out);
	add_maps(out, pid);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		add_link(out, pid, links[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		fprintf(out, "%s: %s", files[i], text_of(path));
	}
	fclose(out);
	return text;
}

/* The first line that differs. */
static void difference(const char *before, const char *after, char *buf, size_t size)
{
	while (*before && *after && strcspn(before, "\n") == strcspn(after, "\n") &&
	       !strncmp(before, after, strcspn(before, "\n"))) {
		before += strcspn(before, "\n") + 1;
		after += strcspn(after, "\n") + 1;
	}
	snprintf(buf, size, "it was '%.*s' and is '%.*s'", (int)strcspn(before, "\n"), before,
		 (int)strcspn(after, "\n"), after);
}

/* --- its life --- */

static bool all_advanced(const struct victim *v)
{
	for (uint32_t i = 0; i < v->counts->threads; i++) {
		if (v->counts->tick[i] < v->tick[i] + 2)
			return false;
	}
	return true;
}

void victim_start(struct victim *v, const struct victim_kind *kind, const char *dir)
{
	uint64_t end = now_ns() + 20000000000u;
	struct outcome out = { .harm = "" };
	int fd, pair[2];
	char path[128];

	*v = (struct victim){ .kind = kind };
	snprintf(path, sizeof(path), "%s/counts", dir);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct h_counts)) < 0)
		die(path);
	v->counts = mmap(NULL, sizeof(struct h_counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (v->counts == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("a victim's connection");
	v->pid = fork();
	if (v->pid == 0) {
		int to = fcntl(pair[1], F_DUPFD, 10);
		sigset_t none;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(to, H_FD_CLIENT);
		syscall(SYS_close_range, 4, ~0u, 0);
		execl(victim_path, victim_path, path, kind->arg, NULL);
		_exit(127);
	}
	close(pair[1]);
	v->client = pair[0];
	while (!v->counts->threads || v->counts->up < v->counts->threads) {
		if (waitpid(v->pid, NULL, WNOHANG) == v->pid || now_ns() > end)
			die("the victim did not start");
		nap(1000000);
	}
	unlink(path);
	/* Once round, so that what happens the first time only has happened. */
	victim_wake(v);
	victim_check(v, 0, &out);
	if (*out.harm) {
		fprintf(stderr, "harm: a victim is not well from the start: %s\n", out.harm);
		exit(2);
	}
	v->portrait = portrait(v->pid);
}

void victim_end(struct victim *v)
{
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	munmap(v->counts, sizeof(struct h_counts));
	close(v->client);
	free(v->portrait);
	*v = (struct victim){ 0 };
}

static void replies_take(struct victim *v)
{
	char in[64];
	ssize_t n = recv(v->client, in, sizeof(in), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		v->replies = v->replies << 8 | (uint8_t)in[i];
}

void victim_wake(struct victim *v)
{
	uint64_t end = now_ns() + HEALTHY_NS;

	v->replies = 0;
	v->asked = false;
	v->eintr = v->counts->eintr;
	for (uint32_t i = 0; i < v->counts->threads; i++)
		v->tick[i] = v->counts->tick[i];
	v->counts->gap_ns = 1;
	v->counts->go = 1;
	syscall(SYS_futex, &v->counts->go, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	send(v->client, "qh", 2, MSG_NOSIGNAL);
	while (v->replies != 'Q' && now_ns() < end) {
		nap(200000);
		replies_take(v);
	}
}

void victim_queue(struct victim *v)
{
	if (sigqueue(v->pid, SIGRTMIN + 1, (union sigval){ 0 }) == 0)
		v->sent++;
}

void victim_release(struct victim *v)
{
	if (!v->asked)
		send(v->client, "g", 1, MSG_NOSIGNAL);
	v->asked = true;
}

/* Children by state: dead ones may stay, living ones must not. */
static void children(pid_t pid, unsigned int *dead, unsigned int *living)
{
	char path[64], list[65536], *save = NULL;
	struct dirent *e;
	DIR *d;

	*dead = *living = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, e->d_name);
		snprintf(list, sizeof(list), "%s", text_of(path));
		for (char *word = strtok_r(list, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
			snprintf(path, sizeof(path), "/proc/%.20s/stat", word);
			switch (*stat_field(text_of(path), 3)) {
			case 'Z':
			case 'X':
				++*dead;
				break;
			case '\0':
				break; /* gone */
			default:
				++*living;
			}
		}
	}
	if (d)
		closedir(d);
}

static bool wait_all(struct victim *v, uint64_t end)
{
	const uint32_t answered = 'Q' << 16 | 'G' << 8 | 'H';
	uint64_t pause = 300000;
	bool all = false;

	while (!all && now_ns() < end && waitpid(v->pid, NULL, WNOHANG) != v->pid) {
		nap(pause);
		pause = pause < 5000000 ? pause * 3 / 2 : pause;
		replies_take(v);
		all = all_advanced(v) && v->replies == answered && v->counts->handled >= v->sent;
	}
	return all;
}

static const char *not_all(const struct victim *v)
{
	if (kill(v->pid, 0) < 0)
		return "it has died";
	if (v->counts->handled < v->sent)
		return "a signal is lost";
	return all_advanced(v) ? "a request in flight is not answered" : "a thread does not go on";
}

static void check_children(struct victim *v, uint32_t zombies_may, uint64_t end, struct outcome *out)
{
	unsigned int dead, living;

	do { /* a copy on its way out may take a moment */
		children(v->pid, &dead, &living);
		if (living)
			nap(1000000);
	} while (living && now_ns() < end);
	if (living)
		snprintf(out->harm, sizeof(out->harm), "a copy of it runs, or hangs");
	else if (dead > v->zombies + zombies_may)
		snprintf(out->harm, sizeof(out->harm), "%u dead children are left, %u were there", dead, v->zombies);
	out->zombies = dead > v->zombies ? dead - v->zombies : 0;
	v->zombies = dead;
}

static void check_portrait(const struct victim *v, uint64_t end, struct outcome *out)
{
	for (;;) {
		char *now = portrait(v->pid);
		bool same = !v->portrait || !strcmp(now, v->portrait);

		if (!same && now_ns() > end)
			difference(v->portrait, now, out->harm, sizeof(out->harm));
		free(now);
		if (same || *out->harm)
			return;
		nap(2000000);
	}
}

void victim_check(struct victim *v, uint32_t zombies_may, struct outcome *out)
{
	uint64_t end = now_ns() + HEALTHY_NS, eintr;

	victim_release(v);
	for (uint32_t i = 0; i < v->counts->threads; i++)
		v->tick[i] = v->counts->tick[i];
	if (!wait_all(v, end)) {
		snprintf(out->harm, sizeof(out->harm), "%s", not_all(v));
		return;
	}
	/* All have been round since: what was cut short has been told by now. */
	eintr = v->counts->eintr;
	if (eintr > v->eintr && !v->kind->flood)
		nap(10000000);
	if (v->counts->wrong)
		snprintf(out->harm, sizeof(out->harm), "registers or identity are wrong: bits %x", v->counts->wrong);
	else if (v->counts->sigchld)
		snprintf(out->harm, sizeof(out->harm), "it got a SIGCHLD");
	else if (v->counts->handled != v->sent)
		snprintf(out->harm, sizeof(out->harm), "it got %ld signals too many",
			 (long)(v->counts->handled - v->sent));
	else if (eintr != v->counts->eintr && !v->kind->flood)
		snprintf(out->harm, sizeof(out->harm), "calls go on to return EINTR");
	out->eintr = v->kind->flood ? 0 : (uint32_t)(eintr - v->eintr);
	v->counts->go = 0;
	if (!*out->harm)
		check_children(v, zombies_may, end, out);
	if (!*out->harm)
		check_portrait(v, end, out);
}
