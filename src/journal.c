// SPDX-License-Identifier: MIT
/* One datagram of fields, each 'NAME=value' or, where the value has line breaks, its
 * name, its length and its bytes. Rejected: sd_journal_send (a library for one datagram)
 * and a pipe into systemd-coredump (it copies the file, and cuts it at its own limits).
 * Trap: a datagram has a most size; what is larger goes as a sealed memory file. */
#include "journal.h"

#include "buf.h"
#include "parcel.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#define COREDUMP_MESSAGE "fc2e22bc6ee647b6b90729ab34a250b1" /* what coredumpctl looks for */
#define ENTRY_MAX (1u << 20)
#define PRIORITY "5" /* notice: the process is well */

static void field(struct buf *out, const char *name, const char *value)
{
	size_t len = value ? strlen(value) : 0;
	uint64_t wire = htole64(len);

	if (len == 0)
		return;
	buf_adds(out, name);
	if (strchr(value, '\n')) {
		buf_adds(out, "\n");
		buf_add(out, &wire, sizeof(wire));
	} else {
		buf_adds(out, "=");
	}
	buf_add(out, value, len);
	buf_adds(out, "\n");
}

static void number(struct buf *out, const char *name, uint64_t value)
{
	buf_addf(out, "%s=%llu\n", name, (unsigned long long)value);
}

bool journal_unit(const char *cgroup, char *ret_unit, size_t size)
{
	static const char *const kinds[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

	for (const char *at = cgroup; at && *at;) {
		size_t len;

		at += strspn(at, "/");
		len = strcspn(at, "/");
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			size_t n = strlen(kinds[i]);

			if (len <= n || len >= size || memcmp(at + len - n, kinds[i], n) != 0)
				continue;
			/* systemd puts '_' before a name that a controller would take for its own */
			snprintf(ret_unit, size, "%.*s", (int)(len - (*at == '_')), at + (*at == '_'));
			return true;
		}
		at += len;
	}
	return false;
}

/* The path of a request's target: queries hold secrets, and so may what is before '@'. */
static void add_path(struct buf *out, const char *url)
{
	const char *scheme = url[0] != '/' ? strstr(url, "://") : NULL;

	if (scheme)
		url = scheme + 3 + strcspn(scheme + 3, "/?#");
	buf_add(out, url, strcspn(url, "?#"));
}

static void add_message(struct buf *out, const struct journal_core *core)
{
	const struct process_facts *p = core->process;

	buf_addf(out, "Process %d (%s) ", p->pid, p->comm ? p->comm : "?");
	if (core->url) {
		buf_addf(out, "held request %s ", core->method ? core->method : "?");
		add_path(out, core->url);
		buf_addf(out, " for %.1f s", (double)core->elapsed_ns / 1e9);
	} else {
		buf_adds(out, "runs on");
	}
	buf_addf(out, "; reqtrap wrote a %s core of it, and stopped it for %.1f ms.", core->kind,
		 (double)core->pause_ns / 1e6);
}

static void add_core(struct buf *out, const struct journal_core *core)
{
	const struct process_facts *p = core->process;
	struct buf message;
	struct utsname host;
	char unit[256];

	buf_init(&message, ENTRY_MAX);
	add_message(&message, core);
	field(out, "MESSAGE", message.data);
	out->full |= message.full;
	buf_done(&message);
	field(out, "MESSAGE_ID", COREDUMP_MESSAGE);
	field(out, "PRIORITY", PRIORITY);
	field(out, "SYSLOG_IDENTIFIER", "reqtrap");
	number(out, "COREDUMP_PID", (uint64_t)p->pid);
	number(out, "COREDUMP_UID", p->uid);
	number(out, "COREDUMP_GID", p->gid);
	field(out, "COREDUMP_SIGNAL", "19");
	field(out, "COREDUMP_SIGNAL_NAME", "SIGSTOP");
	number(out, "COREDUMP_TIMESTAMP", core->wall_ns / 1000);
	field(out, "COREDUMP_COMM", p->comm);
	field(out, "COREDUMP_EXE", p->exe);
	field(out, "COREDUMP_CMDLINE", p->cmdline);
	field(out, "COREDUMP_CGROUP", p->cgroup);
	if (journal_unit(p->cgroup, unit, sizeof(unit)))
		field(out, "COREDUMP_UNIT", unit);
	if (uname(&host) == 0)
		field(out, "COREDUMP_HOSTNAME", host.nodename);
	field(out, "COREDUMP_FILENAME", core->path);
	field(out, "REQTRAP_KIND", core->kind);
	number(out, "REQTRAP_PAUSE_USEC", core->pause_ns / 1000);
	field(out, "REQTRAP_REQUEST_ID", core->request_id);
	field(out, "REQTRAP_RULE", core->rule);
	if (core->request_id)
		number(out, "REQTRAP_DURATION_USEC", core->elapsed_ns / 1000);
}

/* journald takes a memory file only if nobody can change it any more. */
static int send_file(int sock, const struct buf *entry)
{
	CLEAN(fd) int file = memfd_create("reqtrap-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (file < 0)
		return -errno;
	if (write(file, entry->data, entry->len) != (ssize_t)entry->len)
		return -EIO;
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return parcel_send(sock, NULL, 0, &file, 1, MSG_DONTWAIT);
}

static int send_entry(const char *socket_path, const struct buf *entry)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	CLEAN(fd) int fd = -1;

	if (strlen(socket_path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, socket_path, strlen(socket_path) + 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	if (send(fd, entry->data, entry->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	return errno == EMSGSIZE || errno == ENOBUFS ? send_file(fd, entry) : -errno;
}

int journal_core(const char *socket_path, const struct journal_core *core, struct err *err)
{
	struct buf entry;
	int r;

	buf_init(&entry, ENTRY_MAX);
	add_core(&entry, core);
	r = entry.full ? -E2BIG : send_entry(socket_path, &entry);
	buf_done(&entry);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0; /* nobody keeps one here */
	return r < 0 ? err_sys(err, r, "'%s' is not in the journal, so coredumpctl will not list it", core->path) : 0;
}

static void add_line(struct buf *out, const struct journal_line *line)
{
	struct buf path;

	field(out, "MESSAGE", line->text);
	number(out, "PRIORITY", (uint64_t)line->priority);
	field(out, "SYSLOG_IDENTIFIER", "reqtrap");
	field(out, "REQTRAP_REQUEST_ID", line->incident);
	field(out, "REQTRAP_RULE", line->rule);
	field(out, "REQTRAP_METHOD", line->method);
	if (line->url) {
		buf_init(&path, ENTRY_MAX);
		add_path(&path, line->url);
		field(out, "REQTRAP_PATH", path.data);
		buf_done(&path);
	}
	if (line->pid)
		number(out, "REQTRAP_PID", (uint64_t)line->pid);
	if (line->elapsed_ns)
		number(out, "REQTRAP_DURATION_USEC", line->elapsed_ns / 1000);
}

int journal_line(const char *socket_path, const struct journal_line *line)
{
	struct buf entry;
	int r;

	buf_init(&entry, ENTRY_MAX);
	add_line(&entry, line);
	r = entry.full ? -E2BIG : send_entry(socket_path, &entry);
	buf_done(&entry);
	return r;
}

bool journal_is_stderr(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return text && sscanf(text, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}
