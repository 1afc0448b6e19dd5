/* SPDX-License-Identifier: MIT */
/* What /proc says about a process. Reads only, never stops anything. All text in
 * /proc that a process can choose (comm, cmdline, map names) is hostile.
 * Another user's process needs CAP_SYS_PTRACE for maps, mem, syscall, fd. */
#ifndef REQTRAP_PROC_H
#define REQTRAP_PROC_H

#include "err.h"
#include "spool.h"

#include <sys/types.h>

/* A process that cannot be mistaken for a later one with the same number. */
struct proc {
	pid_t pid;
	int pidfd;	      /* owned */
	int dir_fd;	      /* /proc/PID, owned: openat on it reaches this process or nothing. If the main
			       * thread has ended, that of another thread, which shows the same process */
	uint64_t start_ticks; /* stat field 22 */
};

/* -ESRCH with a clear text when there is no such process. */
int proc_open(struct proc *ret_proc, pid_t pid, struct err *err);
int proc_dir_open(pid_t pid); /* /proc/PID alone, of whoever has the id now; an fd, or negative */
void proc_close(struct proc *proc);
bool proc_alive(const struct proc *proc); /* false for a zombie too */

/* What is mapped. */
struct proc_file {
	uint64_t inode; /* 0: none */
	uint32_t dev_major, dev_minor;
	char name[]; /* '' for anonymous memory */
};

enum proc_map_kind {
	PROC_MAP_PLAIN,
	PROC_MAP_STACK, /* [stack]: of the main thread */
	PROC_MAP_VDSO,
	PROC_MAP_KERNEL, /* [vvar] and the like: no part of the process's memory */
};

/* The program it runs: another one after an exec, also of the same file. */
struct proc_program {
	uint64_t addr;	    /* of 'random'; 0: it cannot be told */
	uint8_t random[16]; /* what the kernel gave it at its start */
};

void proc_program_read(int dir_fd, struct proc_program *ret_program);
bool proc_program_same(int dir_fd, const struct proc_program *program);

/* Small, for there may be 100,000 of them. */
struct proc_map {
	uint64_t start, end, offset;
	uint64_t file : 40; /* equal: the same file; for proc_map_file */
	uint64_t kind : 4;  /* enum proc_map_kind */
	bool readable : 1, writable : 1, executable : 1, shared : 1;
	bool inode : 1;	  /* it has one */
	bool path : 1;	  /* its name begins with '/' */
	bool deleted : 1; /* ... and its file has no name any more, or one too long to be told */
	bool memory : 1;  /* named, but memory all the same: /dev/zero, /dev/shm, memfd, SysV */
	bool devices : 1; /* below /dev or /sys */
	bool dontdump : 1, dontfork : 1, wipeonfork : 1, huge : 1; /* VmFlags dd, dc, wf, ht: of smaps only */
	bool device : 1;					   /* io or pf: not memory, and not to be read */
};

_Static_assert(sizeof(struct proc_map) == 32, "bit-fields in one word");

struct proc_maps {
	struct proc_map *map; /* owned */
	size_t count, cap;
	struct proc_names *names;
};

/* dir_fd: an open /proc/PID. With flags smaps is read (slower: milliseconds per GiB).
 * Names are not kept in our memory. */
int proc_maps_read(int dir_fd, bool flags, struct proc_maps *ret_maps, struct err *err);

/* The same from an open file or spool of such text, from its begin. keep: which are
 * wanted; NULL: all. */
typedef bool proc_maps_keep_fn(void *arg, const struct proc_map *map);
int proc_maps_load(int fd, proc_maps_keep_fn *keep, void *arg, struct proc_maps *ret_maps);
int proc_maps_parse(const char *text, size_t len, struct proc_maps *ret_maps); /* maps or smaps text */
void proc_maps_free(struct proc_maps *maps);
void proc_maps_keep(struct proc_maps *maps, proc_maps_keep_fn *keep, void *arg); /* forgets the others */
const struct proc_map *proc_maps_find(const struct proc_maps *maps, uint64_t addr);

/* Adds a row of other maps, in its place once proc_maps_sort was called. */
int proc_maps_add(struct proc_maps *maps, const struct proc_maps *from, const struct proc_map *map);
void proc_maps_sort(struct proc_maps *maps);

/* Of maps that were parsed: valid as long as they are. Else until the next call. */
const struct proc_file *proc_map_file(const struct proc_maps *maps, const struct proc_map *map);
const char *proc_map_name(const struct proc_maps *maps, const struct proc_map *map);

struct proc_status {
	char comm[64]; /* as the kernel escapes it */
	char state;
	pid_t tgid, ppid, tracer;
	uid_t uid, euid;
	gid_t gid, egid;
	int seccomp; /* 0 none, 1 strict, 2 filter */
	unsigned int threads;
	uint64_t rss_anon_bytes, rss_file_bytes, rss_shmem_bytes, swap_bytes, pte_bytes;
	uint64_t sig_blocked, sig_pending, shd_pending, sig_ignored, sig_caught;
	pid_t ns_tid, ns_tids[33]; /* in the innermost pid namespace; in each from ours inwards, 0 ends them */
};

/* path: 'status' or 'task/TID/status', under dir_fd. */
int proc_status_read(int dir_fd, const char *path, struct proc_status *ret_status);

#define PROC_STAT_EXITING 0x4u	   /* the kernel's PF_EXITING */
#define PROC_STAT_KERNEL 0x200000u /* ... and PF_KTHREAD */

struct proc_stat {
	char state;
	pid_t ppid;
	uint32_t flags; /* PROC_STAT_* */
	uint64_t utime_ticks, stime_ticks, start_ticks, minflt, majflt;
	int processor;
};

int proc_stat_read(int dir_fd, const char *path, struct proc_stat *ret_stat);
int proc_start(const struct proc *proc, struct proc_stat *ret_stat); /* of its main thread */

/* task/TID/syscall: nr (-1: not in a call, -2: running, nothing known), args, sp, pc. */
struct proc_syscall {
	long nr;
	uint64_t arg[6], sp, pc;
};

int proc_syscall_read(int dir_fd, const char *path, struct proc_syscall *ret_syscall);

/* All tids of /proc/PID/task, ascending. Caller frees *ret_tids. */
int proc_threads(int dir_fd, pid_t **ret_tids, size_t *ret_count);

/* Adds a /proc file of any size to a spool. */
int proc_spool(int dir_fd, const char *path, struct spool *spool);

/* Reads a small /proc file whole (NUL-terminated, at most max bytes). Caller frees. */
int proc_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len);

/* Name for people: comm of the process, escaped, never empty. */
void proc_name(pid_t pid, char *buf, size_t size);

uint64_t proc_peak_bytes(void); /* most memory we ever had resident ourselves; 0: not known */

/* Calls fn for each process; stops at the first that returns nonzero and returns it. */
int proc_each(int (*fn)(pid_t pid, void *arg), void *arg);

#endif
