// SPDX-License-Identifier: MIT
/* Trap: the files a process has mapped are its own choice: a path may by now be a
 * FIFO or a device. Each is looked at as a path only (O_PATH) before it is opened. */
#include "briefing.h"

#include "analyst.h"
#include "ktime.h"
#include "parcel.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* A full socket: an analyst that does not read gets a moment, no more. */
static int send_message(int fd, const struct analyst_message *msg, const int *fds, size_t fd_count)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int r;

	do
		r = parcel_send(fd, msg, sizeof(*msg), fds, fd_count, MSG_DONTWAIT);
	while (r == -EAGAIN && poll(&pfd, 1, 10) != 0);
	return r;
}

static int open_regular(int path_fd)
{
	struct stat st;
	char path[64];

	if (fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static int open_mapped(const struct proc *proc, const struct proc_map *map, const struct proc_file *file)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	CLEAN(fd) int root = -1;
	CLEAN(fd) int path_fd = -1;
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "map_files/%llx-%llx", (unsigned long long)map->start,
		 (unsigned long long)map->end);
	path_fd = openat(proc->dir_fd, path, O_PATH | O_CLOEXEC);
	if (path_fd >= 0)
		return open_regular(path_fd);
	/* Without the capability for map_files: by its path, if it still is that file. */
	root = openat(proc->dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || !map->path)
		return -1;
	path_fd = (int)syscall(SYS_openat2, root, file->name, &how, sizeof(how));
	if (path_fd < 0 || fstat(path_fd, &st) < 0 || st.st_ino != file->inode)
		return -1;
	return open_regular(path_fd);
}

/* The files handed over. */
struct given {
	struct analyst_file *file; /* owned */
	size_t count;
	uint64_t last; /* proc_map.file: the mappings of a file lie together, but need not */
};

static bool is_new(struct given *given, const struct proc_map *map, const struct proc_file *file)
{
	struct analyst_file *more;

	if (given->count && given->last == map->file)
		return false;
	given->last = map->file;
	for (size_t i = 0; i < given->count; i++) {
		const struct analyst_file *old = &given->file[i];

		if (old->inode == file->inode && old->dev_major == file->dev_major && old->dev_minor == file->dev_minor)
			return false;
	}
	if (!(given->count & (given->count - 1))) {
		more = realloc(given->file, MAX(2 * given->count, (size_t)1) * sizeof(*more));
		if (!more)
			return false;
		given->file = more;
	}
	given->file[given->count++] = (struct analyst_file){ .dev_major = file->dev_major,
							     .dev_minor = file->dev_minor,
							     .inode = file->inode };
	return true;
}

int briefing_prepare(int fd, const struct proc *proc, const struct proc_maps *maps, int maps_fd, uint64_t wait_ns)
{
	struct analyst_message msg = { .type = ANALYST_PREPARE, .pid = proc->pid };
	struct analyst_message answer;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct given given = { 0 };
	int fds[ANALYST_FILES_MAX + 2];
	size_t fd_count = 0, kept;
	int r = 0;

	if (fd < 0)
		return 0;
	fds[fd_count++] = openat(proc->dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	fds[fd_count++] = fcntl(maps_fd, F_DUPFD_CLOEXEC, 0);
	if (fds[0] < 0 || fds[1] < 0)
		r = -EIO;
	for (size_t i = 0; i <= maps->count && r == 0; i++) {
		const struct proc_map *map = &maps->map[i];
		bool last = i == maps->count;

		if (!last && map->executable && map->inode) {
			const struct proc_file *file = proc_map_file(maps, map);
			int file_fd = is_new(&given, map, file) ? open_mapped(proc, map, file) : -1;

			if (file_fd >= 0) {
				msg.file[msg.file_count++] = given.file[given.count - 1];
				fds[fd_count++] = file_fd;
			}
		}
		if (last || msg.file_count == ANALYST_FILES_MAX) {
			msg.more = !last;
			r = send_message(fd, &msg, fds, fd_count);
			for (kept = 0; kept < fd_count; kept++)
				close(fds[kept]);
			fd_count = msg.file_count = 0;
		}
	}
	for (kept = 0; kept < fd_count; kept++) {
		if (fds[kept] >= 0)
			close(fds[kept]);
	}
	free(given.file);
	if (r < 0)
		return r;
	if (poll(&pfd, 1, (int)(wait_ns / NSEC_PER_MSEC)) == 1)
		return recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) > 0 ? 0 : -EPIPE;
	return -ETIMEDOUT;
}

int briefing_go(int fd, pid_t pid, int capture_fd, int copy_mem_fd, int envoy_fd, bool arguments)
{
	struct analyst_message msg = {
		.type = ANALYST_GO,
		.pid = pid,
		.live = copy_mem_fd < 0,
		.has_copy = copy_mem_fd >= 0,
		.has_envoy = envoy_fd >= 0,
		.arguments = arguments,
	};
	int fds[3] = { capture_fd };
	size_t count = 1;

	if (copy_mem_fd >= 0)
		fds[count++] = copy_mem_fd;
	if (envoy_fd >= 0)
		fds[count++] = envoy_fd;
	return fd < 0 ? 0 : send_message(fd, &msg, fds, count);
}

void briefing_failed(int fd, pid_t pid, const char *why)
{
	struct analyst_message msg = { .type = ANALYST_FAILED, .pid = pid };

	if (fd < 0)
		return;
	snprintf(msg.text, sizeof(msg.text), "%s", why);
	send_message(fd, &msg, NULL, 0);
}

bool briefing_wait(int fd, uint64_t until_ns)
{
	struct analyst_message answer;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	while (fd >= 0) {
		uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
		struct timespec ts = { .tv_sec = (time_t)(left / NSEC_PER_SEC),
				       .tv_nsec = (long)(left % NSEC_PER_SEC) };

		if (ppoll(&pfd, 1, &ts, NULL) <= 0 && now >= until_ns)
			return false;
		if (!pfd.revents)
			continue;
		/* A late PREPARED may come first; the end of the analyst is an end too. */
		if (recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) <= 0 || answer.type == ANALYST_MEMORY_DONE)
			return true;
	}
	return true;
}
