// SPDX-License-Identifier: MIT
/* Who is to be traced, from the command line. Trap: workers that a named process has
 * forked already belong to it as later ones do; a helper of another program does not. */
#include "cmd_targets.h"

#include "incident.h"
#include "ktime.h"
#include "proc.h"
#include "rule.h"
#include "target.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define COMMAND_END_NS (5 * NSEC_PER_SEC) /* for '-- CMD' to end after SIGTERM */

int targets_named(const struct command_line *line, struct err *err)
{
	if (line->rest_count || line->command)
		return 0;
	return err_say(err, -EINVAL, "which process? Give a PID, a NAME, ':PORT', unit:NAME, cgroup:PATH or '-- CMD'");
}

int targets_how(const struct command_line *line, enum tracer_hooks *ret_hooks, unsigned int *ret_slots, struct err *err)
{
	static const char *const words[] = {
		[TRACER_AUTO] = "auto", [TRACER_SOCK] = "sock", [TRACER_SYSCALLS] = "syscalls"
	};
	const char *hooks = option_value(line, "hooks");
	uint64_t slots;
	int r;

	for (size_t i = 0; hooks && i < ARRAY_LEN(words); i++) {
		if (!strcmp(hooks, words[i]))
			*ret_hooks = (enum tracer_hooks)i;
	}
	if (!option_given(line, "slots"))
		return 0;
	r = parse_count(option_value(line, "slots"), 1, SLOTS_MOST, &slots, err);
	if (r < 0)
		return err_wrap(err, r, "--slots");
	*ret_slots = (unsigned int)slots;
	return 0;
}

static bool same_exe(pid_t a, pid_t b)
{
	char path[2][32];
	struct stat st[2];

	snprintf(path[0], sizeof(path[0]), "/proc/%d/exe", a);
	snprintf(path[1], sizeof(path[1]), "/proc/%d/exe", b);
	return stat(path[0], &st[0]) == 0 && stat(path[1], &st[1]) == 0 && st[0].st_dev == st[1].st_dev &&
	       st[0].st_ino == st[1].st_ino;
}

struct workers {
	struct targets *targets;
	pid_t parent;
};

static int add_worker(pid_t pid, void *arg)
{
	struct workers *workers = arg;
	struct err err;
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	struct proc_stat stat;
	char word[16];

	if (dir_fd < 0 || proc_stat_read(dir_fd, "stat", &stat) < 0 || stat.ppid != workers->parent ||
	    !same_exe(pid, workers->parent))
		return 0;
	snprintf(word, sizeof(word), "%d", pid);
	target_find(workers->targets, word, &err);
	return 0;
}

void targets_workers(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++) { /* it grows meanwhile */
		struct workers workers = { targets, targets->pid[i] };

		proc_each(add_worker, &workers);
	}
}

static int start_command(const struct command_line *line, struct child *command, struct targets *targets,
			 struct err *err)
{
	struct child_spec spec = { .argv = line->command, .inherit_env = true, .keep_stdio = true };
	char path[PATH_MAX];
	pid_t *at;
	int r;

	if (child_find(line->command[0], path, sizeof(path)) < 0)
		return err_say(err, -ENOENT, "cannot start '%s': no such program", line->command[0]);
	spec.path = path;
	r = child_start(&spec, command, err);
	if (r < 0)
		return r;
	at = list_add(&targets->pid, &targets->count, sizeof(*at));
	if (!at)
		return err_sys(err, -ENOMEM, "cannot list the targets");
	*at = command->pid;
	return 0;
}

int targets_add(const struct command_line *line, struct child *command,
		int (*add)(void *arg, pid_t pid, struct err *err), void *arg, size_t *ret_added, struct err *err)
{
	struct targets targets = { 0 };
	size_t added = 0;
	int r = 0;

	for (int i = 0; i < line->rest_count && r == 0; i++)
		r = target_find(&targets, line->rest[i], err);
	if (r == 0 && line->command)
		r = start_command(line, command, &targets, err);
	for (size_t i = 0; i < targets.count && r == 0; i++) { /* it grows meanwhile */
		struct workers workers = { &targets, targets.pid[i] };

		if (targets.pid[i] == getpid())
			r = err_say(err, -EINVAL, "reqtrap cannot watch itself (process %d)", getpid());
		else
			r = add(arg, targets.pid[i], err);
		added += r == 0;
		/* Of many, some may end while they are listed, and we may be among them. */
		if (targets.count > 1 && (r == -ESRCH || targets.pid[i] == getpid()))
			r = 0;
		/* What it forks from now on is seen: so what is there now is all that is not. */
		proc_each(add_worker, &workers);
	}
	if (r == 0 && !added)
		r = -ESRCH;
	targets_done(&targets);
	*ret_added = added;
	return r;
}

static void on_over(void *arg, uint32_t events UNUSED)
{
	loop_stop(arg, 0);
}

void command_end(struct child *command, struct loop *loop)
{
	if (command->pid <= 0)
		return;
	kill(command->pid, SIGTERM);
	if (loop_add_fd(loop, command->pidfd, EPOLLIN, on_over, loop, NULL) == 0 &&
	    loop_add_timer(loop, now_ns() + COMMAND_END_NS, 0, on_over, loop, NULL) == 0)
		loop_run(loop);
	if (child_reap(command, false) == -EAGAIN) {
		child_kill(command);
		child_reap(command, true);
	}
}
