/* SPDX-License-Identifier: MIT */
/* For tests: plays the dump worker's part towards an analyst, on a process that the
 * test may trace. Simple and slow: stops all threads by ptrace, copies registers and
 * stacks, hands everything over, lets go. */
#ifndef PLAY_WORKER_H
#define PLAY_WORKER_H

#include "analyst.h"
#include "capture.h"
#include "proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>

struct play {
	pid_t pid, holder_tid;
	struct proc proc;
	pid_t *tids;
	size_t count;
	int mem_fd, capture_fd;
};

static inline int play_text_fd(const void *data, size_t len)
{
	int fd = memfd_create("play", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		return -1;
	return fd;
}

static inline int play_send(int sock, const struct analyst_message *msg, const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * (ANALYST_FILES_MAX + 2))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { .iov_base = (void *)msg, .iov_len = sizeof(*msg) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd_count) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	return sendmsg(sock, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static inline int play_wait(int sock, enum analyst_message_type type)
{
	struct analyst_message msg;

	return recv(sock, &msg, sizeof(msg), 0) == sizeof(msg) && msg.type == type ? 0 : -1;
}

static inline bool play_open(struct play *p, pid_t pid)
{
	char path[64];

	*p = (struct play){ .pid = pid, .holder_tid = pid };
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	p->mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	return p->mem_fd >= 0 && proc_open(&p->proc, pid, NULL) == 0;
}

static inline bool play_prepare(struct play *p, int sock)
{
	struct analyst_message msg = { .type = ANALYST_PREPARE, .pid = p->pid };
	struct proc_maps maps;
	int fds[ANALYST_FILES_MAX + 2];
	size_t n = 0;
	char *text, path[512];
	size_t len;

	if (proc_file(p->proc.dir_fd, "maps", 1 << 20, &text, &len) < 0 || proc_maps_parse(text, len, &maps) < 0)
		return false;
	fds[n++] = p->mem_fd;
	fds[n++] = play_text_fd(text, len);
	for (size_t i = 0; i < maps.count && msg.file_count < ANALYST_FILES_MAX; i++) {
		const struct proc_map *m = &maps.map[i];
		int fd;

		if (m->perms[2] != 'x' || m->name[0] != '/')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", p->pid, m->start, m->end);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) /* no root: by name */
			fd = open(m->name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		msg.file[msg.file_count++] =
			(struct analyst_file){ .dev_major = m->dev_major, .dev_minor = m->dev_minor, .inode = m->inode };
		fds[n++] = fd;
	}
	if (play_send(sock, &msg, fds, n) < 0)
		return false;
	for (size_t i = 1; i < n; i++)
		close(fds[i]);
	proc_maps_free(&maps);
	free(text);
	return play_wait(sock, ANALYST_PREPARED) == 0;
}

static inline void play_thread(struct play *p, pid_t tid, struct capture_thread *t, char *stack)
{
	struct user_regs_struct regs;
	struct proc_status status;
	struct proc_syscall call;
	char path[64];
	struct proc_maps maps;
	const struct proc_map *m;
	ssize_t n;

	*t = (struct capture_thread){ .tid = tid, .syscall_nr = -1 };
	snprintf(path, sizeof(path), "task/%d/status", tid);
	if (proc_status_read(p->proc.dir_fd, path, &status) == 0) {
		snprintf(t->comm, sizeof(t->comm), "%.15s", status.comm);
		t->ns_tid = status.ns_tid;
	}
	snprintf(path, sizeof(path), "task/%d/syscall", tid);
	t->state = proc_syscall_read(p->proc.dir_fd, path, &call) == 0 && call.nr >= 0 ? 'S' : 'R';
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
	    waitpid(tid, NULL, __WALL) != tid || ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		return;
	t->stopped = 1;
	memcpy(t->reg, &regs, sizeof(t->reg));
	t->syscall_nr = (int64_t)regs.orig_rax;
	t->arg[0] = regs.rdi;
	t->arg[1] = regs.rsi;
	t->arg[2] = regs.rdx;
	t->arg[3] = regs.r10;
	t->arg[4] = regs.r8;
	t->arg[5] = regs.r9;
	if (proc_maps_read(p->proc.dir_fd, false, &maps, NULL) < 0)
		return;
	m = proc_maps_find(&maps, regs.rsp);
	if (m) {
		t->stack_addr = MAX(regs.rsp - 128, m->start);
		n = pread(p->mem_fd, stack, MIN(m->end - t->stack_addr, (uint64_t)CAPTURE_STACK_MAX),
			  (off_t)t->stack_addr);
		t->stack_len = n > 0 ? (uint64_t)n : 0;
	}
	proc_maps_free(&maps);
}

/* Stops everything and makes the capture's memfd. */
static inline bool play_stop(struct play *p)
{
	struct capture_head head = { .magic = CAPTURE_MAGIC, .size = sizeof(head), .pid = p->pid,
				     .holder_tid = p->holder_tid };
	struct capture_thread *threads;
	char *stack = malloc(CAPTURE_STACK_MAX), *text;
	size_t len;
	uint64_t at;

	if (proc_threads(p->proc.dir_fd, &p->tids, &p->count) < 0)
		return false;
	threads = calloc(p->count, sizeof(*threads));
	p->capture_fd = memfd_create("capture", MFD_CLOEXEC);
	at = sizeof(head) + p->count * sizeof(*threads);
	for (size_t i = 0; i < p->count; i++) {
		play_thread(p, p->tids[i], &threads[i], stack);
		threads[i].stack_off = at;
		if (pwrite(p->capture_fd, stack, threads[i].stack_len, (off_t)at) < 0)
			return false;
		at += threads[i].stack_len;
	}
	if (proc_file(p->proc.dir_fd, "maps", 1 << 20, &text, &len) < 0)
		return false;
	head.thread_count = (uint32_t)p->count;
	head.maps_off = at;
	head.maps_len = len;
	head.total_len = at + len;
	if (pwrite(p->capture_fd, text, len, (off_t)at) < 0 || pwrite(p->capture_fd, &head, sizeof(head), 0) < 0 ||
	    pwrite(p->capture_fd, threads, p->count * sizeof(*threads), sizeof(head)) < 0)
		return false;
	free(text);
	free(threads);
	free(stack);
	return true;
}

static inline bool play_go(struct play *p, int sock)
{
	struct analyst_message msg = { .type = ANALYST_GO, .pid = p->pid, .live = 1 };

	return play_send(sock, &msg, &p->capture_fd, 1) == 0 && play_wait(sock, ANALYST_MEMORY_DONE) == 0;
}

static inline void play_release(struct play *p)
{
	for (size_t i = 0; i < p->count; i++)
		ptrace(PTRACE_DETACH, p->tids[i], 0, 0);
	free(p->tids);
	close(p->mem_fd);
	close(p->capture_fd);
	proc_close(&p->proc);
}

/* All of it, for one process. */
static inline bool play_analyse(pid_t pid, struct analysis *ret_analysis)
{
	struct analyst *analyst;
	struct play p;
	int sock;
	bool ok;

	if (analyst_start(&sock, &analyst, NULL) < 0)
		return false;
	ok = play_open(&p, pid) && play_prepare(&p, sock) && play_stop(&p) && play_go(&p, sock);
	play_release(&p);
	close(sock);
	return analyst_read(analyst, true, ret_analysis) == 0 && ok;
}

#endif
