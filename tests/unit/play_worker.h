/* SPDX-License-Identifier: MIT */
/* For tests: plays the dump worker's part towards an analyst, on a process that the
 * test may trace: hands over its files, then the capture, then lets go. */
#ifndef PLAY_WORKER_H
#define PLAY_WORKER_H

#include "analyst.h"
#include "play_capture.h"

#include <fcntl.h>
#include <sys/socket.h>

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
		const struct proc_file *file = proc_map_file(&maps, m);
		int fd;

		if (!m->executable || !m->path)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", p->pid, m->start, m->end);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) /* no root: by name */
			fd = open(file->name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		msg.file[msg.file_count++] = (struct analyst_file){ .dev_major = file->dev_major,
								    .dev_minor = file->dev_minor,
								    .inode = file->inode };
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
