/* SPDX-License-Identifier: MIT */
/* What /proc says about a process. Reads only, never stops anything. All text in
 * /proc that a process can choose (comm, cmdline, map names) is hostile.
 * Another user's process needs CAP_SYS_PTRACE for maps, mem, syscall, fd. */
#ifndef REQTRAP_PROC_H
#define REQTRAP_PROC_H

#include "err.h"

#include <sys/types.h>

/* A process that cannot be mistaken for a later one with the same number. */
struct proc {
	pid_t pid;
	int pidfd;	      /* owned */
	int dir_fd;	      /* /proc/PID, owned: openat on it reaches this process or nothing */
	uint64_t start_ticks; /* stat field 22 */
};

/* -ESRCH with a clear text when there is no such process. */
int proc_open(struct proc *ret_proc, pid_t pid, struct err *err);
void proc_close(struct proc *proc);
bool proc_alive(const struct proc *proc); /* false for a zombie too */

struct proc_map {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	char perms[5];
	char *name;				   /* '' for anonymous; owned */
	bool dontdump, dontfork, wipeonfork, huge; /* VmFlags dd, dc, wf, ht; by proc_maps_flags only */
	bool device;				   /* io or pf: not memory, and not to be read */
};

struct proc_maps {
	struct proc_map *map;
	size_t count;
};

/* dir_fd: an open /proc/PID. With flags smaps is read (slower: milliseconds per GiB). */
int proc_maps_read(int dir_fd, bool flags, struct proc_maps *ret_maps, struct err *err);
int proc_maps_parse(const char *text, size_t len, struct proc_maps *ret_maps); /* maps or smaps text */
void proc_maps_free(struct proc_maps *maps);
const struct proc_map *proc_maps_find(const struct proc_maps *maps, uint64_t addr);

struct proc_status {
	char comm[64]; /* as the kernel escapes it */
	char state;
	pid_t tgid, ppid, tracer;
	uid_t uid, euid;
	int seccomp; /* 0 none, 1 strict, 2 filter */
	unsigned int threads;
	uint64_t rss_anon_bytes, rss_file_bytes, rss_shmem_bytes, swap_bytes, pte_bytes;
	uint64_t sig_blocked, sig_pending, shd_pending, sig_ignored, sig_caught;
	pid_t ns_tid; /* in the innermost pid namespace */
};

/* path: 'status' or 'task/TID/status', under dir_fd. */
int proc_status_read(int dir_fd, const char *path, struct proc_status *ret_status);

struct proc_stat {
	char state;
	pid_t ppid;
	uint64_t utime_ticks, stime_ticks, start_ticks, minflt, majflt;
	int processor;
};

int proc_stat_read(int dir_fd, const char *path, struct proc_stat *ret_stat);

/* task/TID/syscall: nr (-1: not in a call, -2: running, nothing known), args, sp, pc. */
struct proc_syscall {
	long nr;
	uint64_t arg[6], sp, pc;
};

int proc_syscall_read(int dir_fd, const char *path, struct proc_syscall *ret_syscall);

/* All tids of /proc/PID/task, ascending. Caller frees *ret_tids. */
int proc_threads(int dir_fd, pid_t **ret_tids, size_t *ret_count);

/* Reads a small /proc file whole (NUL-terminated, at most max bytes). Caller frees. */
int proc_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len);

/* Name for people: comm of the process, escaped, never empty. */
void proc_name(pid_t pid, char *buf, size_t size);

uint64_t proc_peak_bytes(void); /* most memory we ever had resident ourselves; 0: not known */

/* Calls fn for each process; stops at the first that returns nonzero and returns it. */
int proc_each(int (*fn)(pid_t pid, void *arg), void *arg);

#endif
