// SPDX-License-Identifier: MIT
/* Its names, its owner, its size. All text is the process's own choice: hostile. */
#include "process.h"

#include "incident_mask.h"
#include "proc.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

#define CMDLINE_MAX 1024

static void read_status(int dir_fd, struct process_facts *facts)
{
	struct proc_status status;

	if (proc_status_read(dir_fd, "status", &status) < 0)
		return;
	text_set(&facts->comm, status.comm);
	facts->rss_bytes = status.rss_anon_bytes + status.rss_file_bytes + status.rss_shmem_bytes;
	facts->thread_count = status.threads;
	facts->uid = status.uid;
	facts->gid = status.gid;
}

void process_read(int dir_fd, struct process_facts *facts)
{
	CLEAN(free) char *cmdline = NULL;
	CLEAN(free) char *cgroup = NULL;
	char path[PATH_MAX];
	size_t len;
	ssize_t n;

	read_status(dir_fd, facts);
	n = readlinkat(dir_fd, "exe", path, sizeof(path) - 1);
	if (n > 0) {
		path[n] = '\0';
		text_set(&facts->exe, path);
	}
	if (proc_file(dir_fd, "cmdline", 1 << 20, &cmdline, &len) == 0) {
		CLEAN(free) char *told = mask_cmdline(cmdline, len);

		if (told && strlen(told) > CMDLINE_MAX)
			told[CMDLINE_MAX] = '\0';
		text_set(&facts->cmdline, told);
	}
	if (proc_file(dir_fd, "cgroup", 65536, &cgroup, NULL) == 0) {
		char *unified = strstr(cgroup, "0::");

		if (unified) {
			unified[strcspn(unified, "\n")] = '\0';
			text_set(&facts->cgroup, unified + 3);
		}
	}
}

void process_done(struct process_facts *facts)
{
	free(facts->comm);
	free(facts->exe);
	free(facts->cmdline);
	free(facts->cgroup);
	free(facts->language);
	*facts = (struct process_facts){ 0 };
}

bool process_has_ring(pid_t pid)
{
	char path[32], link[64];
	struct dirent *e;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	CLEAN(dir) DIR *dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		if (!strcmp(link, "anon_inode:[io_uring]"))
			return true;
	}
	return false;
}
