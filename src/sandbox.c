// SPDX-License-Identifier: MIT
/* An allow-list. Calls outside it fail with EPERM instead of killing: a libc that
 * wants some harmless call more than this one must not cost the analysis. Rejected:
 * namespaces and chroot (need privileges, and add nothing once nothing can be
 * opened). Trap: fstat is newfstatat in today's libc, so a name's metadata can still
 * be asked for, as nobody; its contents cannot. */
#include "sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NOBODY 65534
#define ADDRESS_SPACE_MAX (4ull << 30) /* the target's files are mapped: large, but shared and clean */
#define CPU_SECONDS_MAX 10
#define FDS_MAX 4096

static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(getrandom),
	SCMP_SYS(sysinfo),
	SCMP_SYS(setpriority),
	SCMP_SYS(alarm),
	SCMP_SYS(restart_syscall),
};

static int filter(struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_LEN(allowed) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				     SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0));
	/* abort() */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	if (r == 0)
		r = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return r < 0 ? err_sys(err, r, "cannot load the analyst's system call filter") : 0;
}

static int drop_ids(struct err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	/* A user namespace may have no nobody (EINVAL): then dropping capabilities must do. */
	if (geteuid() == 0 &&
	    ((setgroups(0, NULL) < 0 && errno != EPERM) || (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL) ||
	     (setresuid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)))
		return err_sys(err, -errno, "cannot make the analyst nobody");
	if (syscall(SYS_capset, &head, none) < 0)
		return err_sys(err, -errno, "cannot drop the analyst's capabilities");
	return 0;
}

static int limit(int what, uint64_t most)
{
	struct rlimit lim;

	if (getrlimit(what, &lim) < 0)
		return -errno;
	lim.rlim_cur = lim.rlim_max = MIN((rlim_t)most, lim.rlim_max);
	return setrlimit(what, &lim) < 0 ? -errno : 0;
}

int sandbox_enter(struct err *err)
{
	CLEAN(fd) int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int r;

	/* Whoever runs short of memory, it is the analyst that goes first: a wish only. */
	if (oom >= 0)
		(void)!write(oom, "1000", 4);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot forbid new privileges to the analyst");
	r = drop_ids(err);
	if (r < 0)
		return r;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if ((r = limit(RLIMIT_CPU, CPU_SECONDS_MAX)) < 0 || (r = limit(RLIMIT_NOFILE, FDS_MAX)) < 0 ||
	    (r = limit(RLIMIT_FSIZE, 0)) < 0 || (r = limit(RLIMIT_CORE, 0)) < 0)
		return err_sys(err, r, "cannot limit the analyst");
#ifndef __SANITIZE_ADDRESS__ /* whose shadow alone is terabytes of address space */
	r = limit(RLIMIT_AS, ADDRESS_SPACE_MAX);
	if (r < 0)
		return err_sys(err, r, "cannot limit the analyst's memory");
#endif
	return filter(err);
}
