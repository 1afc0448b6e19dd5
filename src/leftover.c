// SPDX-License-Identifier: MIT
/* A worker cannot clean up after its own SIGKILL: so it says beforehand where it may
 * leave something. Rejected: entries with contents (read while being written), looking
 * at every process of the host. Trap: ids are used again; an id counts with its start
 * time only, and in its own pid namespace only. */
#include "leftover.h"

#include "arch.h"
#include "folder.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define STAT_FIELDS 52
#define NO_EXEC 0x40  /* the kernel's PF_FORKNOEXEC: it is its parent's program still */
#define EXIT_FAULTS 8 /* its own exit costs a copy 3: no program gets far with so few */

static uint64_t our_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static void name_of(const struct leftover *left, char *buf, size_t size)
{
	snprintf(buf, size, "%d.%llu-%d.%llu-%llu", left->target, (unsigned long long)left->target_start, left->worker,
		 (unsigned long long)left->worker_start, (unsigned long long)left->pid_namespace);
}

static bool parse(const char *name, struct leftover *ret_left)
{
	struct leftover left = { .name = "" };
	unsigned long long target_start, worker_start, space;
	char again[LEFTOVER_NAME_MAX];

	if (sscanf(name, "%d.%llu-%d.%llu-%llu", &left.target, &target_start, &left.worker, &worker_start, &space) != 5)
		return false;
	left.target_start = target_start;
	left.worker_start = worker_start;
	left.pid_namespace = space;
	name_of(&left, again, sizeof(again));
	if (strcmp(name, again) != 0)
		return false;
	memcpy(left.name, again, sizeof(left.name));
	*ret_left = left;
	return true;
}

int leftover_open(const char *runtime_dir, bool make)
{
	return folder_runtime(runtime_dir, "leftovers", make);
}

int leftover_note(int dir_fd, const struct proc *target, struct leftover *ret_left)
{
	struct leftover left = { .target = target->pid,
				 .target_start = target->start_ticks,
				 .worker = getpid(),
				 .pid_namespace = our_namespace() };
	struct proc_stat stat;
	int fd, r = proc_stat_read(AT_FDCWD, "/proc/self/stat", &stat);

	if (r < 0)
		return r;
	left.worker_start = stat.start_ticks;
	name_of(&left, left.name, sizeof(left.name));
	fd = openat(dir_fd, left.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	*ret_left = left;
	return 0;
}

void leftover_forget(int dir_fd, struct leftover *left)
{
	if (left->name[0])
		unlinkat(dir_fd, left->name, 0);
	left->name[0] = '\0';
}

static bool worker_lives(const struct leftover *left)
{
	struct proc_stat stat;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", left->worker);
	return proc_stat_read(AT_FDCWD, path, &stat) == 0 && stat.start_ticks == left->worker_start &&
	       stat.state != 'Z' && stat.state != 'X';
}

/* Calls fn for each entry made in our pid namespace; 'alive': those of workers that live. */
static void each(int dir_fd, bool alive, void (*fn)(void *arg, int dir_fd, struct leftover *left), void *arg)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	uint64_t space = our_namespace();
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct leftover left;

		if (parse(entry->d_name, &left) && left.pid_namespace == space && worker_lives(&left) == alive)
			fn(arg, dir_fd, &left);
	}
}

void leftover_each(int dir_fd, void (*fn)(void *arg, int dir_fd, struct leftover *left), void *arg)
{
	each(dir_fd, false, fn, arg);
}

/* Without an exit signal, and it never ran the program: a child of the target's own that
 * did has had page faults (its user time tells nothing: that is counted in 10 ms). It ends
 * by SIGKILL, or by the exit that its frame held ready. */
static bool is_copy(pid_t pid, pid_t parent, bool *ret_dead)
{
	CLEAN(free) char *text = NULL;
	unsigned long long field[STAT_FIELDS + 1] = { 0 };
	struct proc_status status;
	char path[32], state = 0;
	int n = 3;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (proc_file(AT_FDCWD, path, 4096, &text, NULL) < 0 || !strrchr(text, ')'))
		return false;
	for (char *save, *word = strtok_r(strrchr(text, ')') + 1, " \n", &save); word && n <= STAT_FIELDS;
	     word = strtok_r(NULL, " \n", &save), n++) {
		if (n == 3)
			state = *word;
		field[n] = strtoull(word, NULL, 10);
	}
	if (n != STAT_FIELDS + 1 || field[4] != (unsigned long long)parent || field[14] != 0 || field[38] != 0 ||
	    !(field[9] & NO_EXEC) || field[10] + field[12] > EXIT_FAULTS)
		return false;
	*ret_dead = state == 'Z';
	if (*ret_dead)
		return field[52] == ARCH_CHILD_EXIT << 8 || (field[52] == SIGKILL && !(field[10] + field[12]));
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return proc_status_read(AT_FDCWD, path, &status) == 0 && !status.tracer;
}

struct search {
	const struct proc *target;
	bool found;
};

static void compare(void *arg, int dir_fd UNUSED, struct leftover *left)
{
	struct search *s = arg;

	s->found |= left->target == s->target->pid && left->target_start == s->target->start_ticks;
}

bool leftover_noted(const struct proc *target, bool alive)
{
	CLEAN(fd) int dir_fd = leftover_open(NULL, false);
	struct search s = { .target = target };

	if (dir_fd >= 0)
		each(dir_fd, alive, compare, &s);
	return s.found;
}

pid_t leftover_find(const struct proc *target, pid_t *ret_inside, bool *ret_dead)
{
	CLEAN(free) pid_t *tids = NULL;
	pid_t dying = 0;
	size_t count;

	if (proc_threads(target->dir_fd, &tids, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		CLEAN(free) char *text = NULL;
		char path[48], *save;

		snprintf(path, sizeof(path), "task/%d/children", tids[i]);
		if (proc_file(target->dir_fd, path, 1 << 20, &text, NULL) < 0)
			continue;
		for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
			pid_t pid = atoi(word);
			struct proc_status status;
			bool dead;

			snprintf(path, sizeof(path), "/proc/%d/status", pid);
			if (!is_copy(pid, target->pid, &dead) || proc_status_read(AT_FDCWD, path, &status) < 0)
				continue;
			if (!dead) {
				dying = pid;
				continue;
			}
			*ret_inside = status.ns_tid;
			*ret_dead = true;
			return pid;
		}
	}
	*ret_dead = false;
	return dying;
}

bool leftover_coming(const struct proc *target)
{
	CLEAN(free) char *text = NULL;
	char path[48];
	unsigned long long flags;
	long nr;

	snprintf(path, sizeof(path), "task/%d/syscall", target->pid);
	return proc_file(target->dir_fd, path, 4096, &text, NULL) == 0 && sscanf(text, "%ld %llx", &nr, &flags) == 2 &&
	       nr == SYS_clone && flags == CLONE_FILES; /* what no program asks for by itself */
}
