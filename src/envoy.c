// SPDX-License-Identifier: MIT
/* Three of us: the worker's side, the envoy, and its guard, which takes away the envoy's file
 * from the target's /tmp if the envoy is killed, or if a slow JVM may still look for it when
 * the envoy's time is over. Rejected: to ask from the worker (it is root, and may have a core
 * to write), to let go of the file at the time limit (the JVM would take the signal for the
 * wish of a person, and print all its stacks to its log). Trap: nobody waits for the guard. */
#include "envoy.h"

#include "analyst.h"
#include "jvm.h"
#include "ktime.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define ASK_NS (2 * NSEC_PER_SEC) /* all of it */
#define END_NS (4 * NSEC_PER_SEC)
#define ALARM_SECONDS 10 /* an analyst that does not read */
#define ANALYST_WAIT_S 5

enum { FD_ANALYST = 3, FD_STEPS = 3 }; /* of the envoy; of its guard */

/* --- the worker's side --- */

void envoy_prepare(struct envoy *envoy, const struct proc_maps *maps)
{
	const struct timeval most = { .tv_sec = ANALYST_WAIT_S };
	int pair[2];

	if (!jvm_is_mapped(maps) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	/* The analyst can neither poll nor set it. */
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	envoy->theirs = pair[0];
	envoy->ours = pair[1];
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void envoy_start(struct envoy *envoy, const struct proc *proc)
{
	char pid[16], start[24], *argv[] = { "reqtrap", ENVOY_VERB, pid, start, NULL };

	if (envoy->ours < 0)
		return;
	snprintf(pid, sizeof(pid), "%d", proc->pid);
	snprintf(start, sizeof(start), "%llu", (unsigned long long)proc->start_ticks);
	child_start(&(struct child_spec){ .argv = argv,
					  .no_wait = true,
					  .fd_count = 1,
					  .fds = (struct child_fd[]){ { envoy->ours, FD_ANALYST } } },
		    &envoy->child, NULL);
	close_end(&envoy->ours); /* so that its end is seen */
}

void envoy_end(struct envoy *envoy)
{
	close_end(&envoy->ours);
	close_end(&envoy->theirs);
	if (envoy->child.pid <= 0 || child_reap_until(&envoy->child, now_ns() + END_NS) != -ETIMEDOUT)
		return;
	child_kill(&envoy->child);
	child_reap(&envoy->child, true);
}

/* --- both others --- */

/* The target's user, and nothing else. */
static int become(const struct jvm *jvm)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	if (setresgid(jvm->gid, jvm->gid, jvm->gid) < 0 || setresuid(jvm->uid, jvm->uid, jvm->uid) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &head, none) < 0)
		return -errno;
	return 0;
}

static int find_target(char **argv, struct proc *proc, struct jvm *jvm, char *why)
{
	struct err err;

	if (proc_open(proc, atoi(argv[1]), &err) < 0 || proc->start_ticks != strtoull(argv[2], NULL, 10)) {
		snprintf(why, JVM_WHY_MAX, "it has ended");
		return -ESRCH;
	}
	return jvm_open(jvm, proc, why);
}

/* --- the guard --- */

/* Steps come as bytes; their end is the envoy's. */
static int guard_main(char **argv)
{
	enum jvm_step step = JVM_NOTHING;
	char why[JVM_WHY_MAX];
	struct proc proc;
	struct jvm jvm;
	uint8_t told = 1;

	if (find_target(argv, &proc, &jvm, why) < 0 || become(&jvm) < 0)
		return 1;
	/* Now there is a guard. */
	if (write(FD_STEPS, &told, 1) != 1)
		return 1;
	while (read(FD_STEPS, &told, 1) == 1)
		step = told;
	jvm_settle(&jvm, step);
	return 0;
}

static int guard_start(char **argv, int *ret_fd)
{
	char *guard[] = { "reqtrap", ENVOY_VERB, argv[1], argv[2], "guard", NULL };
	const struct timeval most = { .tv_sec = 1 };
	struct child child;
	uint8_t ready;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = child_start(&(struct child_spec){ .argv = guard,
					      .own_session = true, /* what ends us may end our group */
					      .fd_count = 1,
					      .fds = (struct child_fd[]){ { pair[1], FD_STEPS } } },
			&child, NULL);
	close(pair[1]);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	if (r == 0 && read(pair[0], &ready, 1) != 1)
		r = -ECHILD;
	*ret_fd = pair[0];
	return r;
}

/* --- the envoy --- */

static void tell_guard(void *arg, enum jvm_step step)
{
	uint8_t byte = (uint8_t)step;

	while (write(*(const int *)arg, &byte, 1) < 0 && errno == EINTR)
		;
}

/* The socket on which it is asked, or negative with a reason. */
static int reach(char **argv, struct jvm *jvm, uint64_t until_ns, char *why)
{
	const char *deaf = jvm_deaf(jvm); /* while it may be looked at */
	CLEAN(fd) int guard = -1;
	int fd;

	/* A guard is needed only where there will be a signal, but has to be there before. */
	if (!deaf && faccessat(jvm->tmp_fd, jvm->socket, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	    guard_start(argv, &guard) < 0)
		deaf = "its guard does not start";
	if (become(jvm) < 0) {
		snprintf(why, JVM_WHY_MAX, "we cannot become its user");
		return -EPERM;
	}
	fd = jvm_connect(jvm, why);
	if (fd == -ENOENT && !deaf && guard < 0)
		deaf = "it has just stopped to listen";
	if (fd == -ENOENT && deaf)
		snprintf(why, JVM_WHY_MAX, "%s", deaf);
	else if (fd == -ENOENT)
		fd = jvm_wake(jvm, until_ns, tell_guard, &guard, why);
	return fd;
}

static void ask(char **argv, struct analyst_told *told, struct buf *text)
{
	uint64_t until_ns = now_ns() + ASK_NS;
	struct proc proc;
	struct jvm jvm;
	int fd = find_target(argv, &proc, &jvm, told->why);

	if (fd == 0)
		fd = reach(argv, &jvm, until_ns, told->why);
	if (fd < 0)
		return;
	told->why[0] = '\0';
	told->asked_ns = now_ns();
	jvm_threads(fd, until_ns, text, &told->first_ns, told->why);
	told->cut = text->full;
	close(fd);
}

int envoy_main(int argc, char **argv)
{
	struct analyst_told told = { .size = sizeof(told) };
	struct buf text;

	_Static_assert(sizeof(told.why) >= JVM_WHY_MAX, "a reason fits");
	if (argc < 3)
		return 2;
	if (argc > 3)
		return guard_main(argv);
	alarm(ALARM_SECONDS);
	buf_init(&text, ANALYST_TOLD_MAX);
	ask(argv, &told, &text);
	write_all(FD_ANALYST, &told, sizeof(told));
	if (!told.why[0])
		write_all(FD_ANALYST, text.data, text.len);
	return 0;
}
