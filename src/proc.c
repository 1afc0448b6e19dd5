// SPDX-License-Identifier: MIT
/* /proc parsed once, for all rooms. Trap: maps can change between two reads, so
 * nothing here promises that two calls agree; freeze first where that matters. */
#include "proc.h"

#include "buf.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#define PIECE_BYTES (64u << 10) /* of a file read in pieces */
#define NAME_MAX_BYTES 16384u	/* of a mapping: PATH_MAX, each byte escaped */

int proc_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	CLEAN(fd) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct buf buf;
	char chunk[16384];
	ssize_t n;

	if (fd < 0)
		return -errno;
	buf_init(&buf, max);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = -errno;

			buf_done(&buf);
			return code;
		}
		buf_add(&buf, chunk, (size_t)n);
	}
	if (buf.full) {
		buf_done(&buf);
		return -EFBIG;
	}
	if (ret_len)
		*ret_len = buf.len;
	*ret_text = buf_take(&buf);
	return *ret_text ? 0 : -ENOMEM;
}

int proc_start(const struct proc *proc, struct proc_stat *ret_stat)
{
	char path[32];

	/* not 'stat': dir_fd may be another thread's */
	snprintf(path, sizeof(path), "task/%d/stat", proc->pid);
	return proc_stat_read(proc->dir_fd, path, ret_stat);
}

/* A main thread that has ended has no memory any more; another thread's folder shows the
 * same process with it. */
static void look_through_another(struct proc *proc)
{
	CLEAN(free) pid_t *tids = NULL;
	struct proc_stat stat;
	size_t count = 0;
	char path[32];

	if (proc_threads(proc->dir_fd, &tids, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct proc other = *proc;

		snprintf(path, sizeof(path), "/proc/%d", tids[i]);
		other.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (other.dir_fd < 0)
			continue;
		if (proc_stat_read(other.dir_fd, "stat", &stat) == 0 && !strchr("ZX", stat.state) &&
		    proc_start(&other, &stat) == 0 && stat.start_ticks == proc->start_ticks) {
			close(proc->dir_fd);
			*proc = other;
			return;
		}
		close(other.dir_fd);
	}
}

/* It has an id, but leads no process. */
static int say_thread(pid_t tid, struct err *err)
{
	struct proc_status status;
	char path[32], name[64];

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (proc_status_read(AT_FDCWD, path, &status) < 0)
		return err_say(err, -ESRCH, "no process has the id %d", tid);
	proc_name(status.tgid, name, sizeof(name));
	return err_say(err, -ESRCH, "%d is a thread of process %d '%s': give that id", tid, status.tgid, name);
}

int proc_open(struct proc *ret_proc, pid_t pid, struct err *err)
{
	struct proc proc = { .pid = pid, .pidfd = -1, .dir_fd = -1 };
	struct proc_stat stat;
	char path[32];
	int r;

	if (pid <= 0)
		return err_say(err, -EINVAL, "'%d' is not a process id", pid);
	proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (proc.pidfd < 0) {
		int code = -errno;

		return code == -EINVAL || code == -ENOENT ? say_thread(pid, err)
		       : code == -ESRCH			  ? err_say(err, code, "no process has the id %d", pid)
							  : err_sys(err, code, "cannot open process %d", pid);
	}
	fcntl(proc.pidfd, F_SETFD, FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = proc.dir_fd < 0 ? -errno : proc_start(&proc, &stat);
	if (r < 0 || !proc_alive(&proc)) {
		proc_close(&proc);
		return r == 0 || r == -ENOENT || r == -ESRCH ? err_say(err, -ESRCH, "process %d has ended", pid)
							     : err_sys(err, r, "cannot open process %d", pid);
	}
	proc.start_ticks = stat.start_ticks;
	if (stat.state == 'Z')
		look_through_another(&proc);
	*ret_proc = proc;
	return 0;
}

void proc_close(struct proc *proc)
{
	if (proc->pidfd >= 0)
		close(proc->pidfd);
	if (proc->dir_fd >= 0)
		close(proc->dir_fd);
	proc->pidfd = proc->dir_fd = -1;
}

/* Opened anew each time: an open 'mem' is that of the program that ran then. */
static bool program_random(int dir_fd, uint64_t addr, uint8_t random[16])
{
	CLEAN(fd) int fd = openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && pread(fd, random, 16, (off_t)addr) == 16;
}

void proc_program_read(int dir_fd, struct proc_program *ret_program)
{
	CLEAN(free) char *auxv = NULL;
	size_t len = 0;
	uint64_t pair[2];

	*ret_program = (struct proc_program){ 0 };
	if (proc_file(dir_fd, "auxv", 65536, &auxv, &len) < 0)
		return;
	for (size_t at = 0; at + sizeof(pair) <= len; at += sizeof(pair)) {
		memcpy(pair, auxv + at, sizeof(pair));
		if (pair[0] == AT_RANDOM && program_random(dir_fd, pair[1], ret_program->random))
			ret_program->addr = pair[1];
	}
}

bool proc_program_same(int dir_fd, const struct proc_program *program)
{
	uint8_t random[sizeof(program->random)];

	return !program->addr ||
	       (program_random(dir_fd, program->addr, random) && !memcmp(random, program->random, sizeof(random)));
}

bool proc_alive(const struct proc *proc)
{
	struct pollfd pfd = { .fd = proc->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

int proc_spool(int dir_fd, const char *path, struct spool *spool)
{
	CLEAN(fd) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char piece[16384];
	ssize_t n;
	int r = fd < 0 ? -errno : 0;

	while (r == 0 && (n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : spool_put(spool, piece, (size_t)n, NULL);
	}
	return r;
}

/* --- mappings --- */

/* Records of struct proc_file, 8-aligned, the first one empty; each is there once for
 * a row of mappings of that file. */
struct proc_names {
	struct spool spool; /* .fd -1: in 'data' */
	char *data;
	size_t len, cap;
	uint64_t last; /* the record in 'record', in units of 8 bytes */
	size_t last_len;
	_Alignas(8) char record[sizeof(struct proc_file) + NAME_MAX_BYTES + 8];
};

static struct proc_names *names_new(bool spooled)
{
	struct proc_names *names = malloc(sizeof(*names));

	if (!names)
		return NULL;
	names->spool.fd = -1;
	names->data = NULL;
	names->len = names->cap = 0;
	names->last = 0;
	names->last_len = sizeof(struct proc_file) + 8;
	memset(names->record, 0, names->last_len);
	if (spooled && spool_open(&names->spool, -1) < 0) {
		free(names);
		return NULL;
	}
	return names;
}

static void names_free(struct proc_names *names)
{
	if (!names)
		return;
	spool_close(&names->spool);
	free(names->data);
	free(names);
}

static int names_put(struct proc_names *names, const void *record, size_t len)
{
	if (names->spool.fd >= 0) {
		int r = spool_put(&names->spool, record, len, NULL);

		if (r < 0)
			return r;
		names->len += len;
		return 0;
	}
	if (names->cap - names->len < len) {
		size_t bigger = MAX(2 * names->cap, names->len + len + 4096);
		char *data = realloc(names->data, bigger);

		if (!data)
			return -ENOMEM;
		names->data = data;
		names->cap = bigger;
	}
	memcpy(names->data + names->len, record, len);
	names->len += len;
	return 0;
}

/* Where the record of this file is; made if it is not that of the last one. */
static int names_add(struct proc_names *names, const struct proc_file *head, const char *name, size_t name_len,
		     uint64_t *ret_file)
{
	struct proc_file *last = (struct proc_file *)names->record;
	size_t len = (sizeof(*head) + name_len + 8) & ~(size_t)7;
	int r = names->len ? 0 : names_put(names, names->record, names->last_len);

	if (r < 0)
		return r;
	if (!name_len && !head->inode) {
		*ret_file = 0;
		return 0;
	}
	if (names->last && len == names->last_len && last->inode == head->inode && last->dev_major == head->dev_major &&
	    last->dev_minor == head->dev_minor && !memcmp(last->name, name, name_len) && !last->name[name_len]) {
		*ret_file = names->last;
		return 0;
	}
	memset(names->record, 0, len);
	*last = *head;
	memcpy(last->name, name, name_len);
	names->last = names->len / 8;
	names->last_len = len;
	*ret_file = names->last;
	return names_put(names, names->record, len);
}

const struct proc_file *proc_map_file(const struct proc_maps *maps, const struct proc_map *map)
{
	static const union {
		struct proc_file file;
		char room[sizeof(struct proc_file) + 1];
	} nothing;
	struct proc_names *names = maps->names;
	uint64_t off = map->file * 8;
	size_t len;

	if (!names || !off || off >= names->len)
		return &nothing.file;
	if (names->spool.fd < 0)
		return (const struct proc_file *)(names->data + off);
	if (names->last != map->file) {
		len = (size_t)MIN((uint64_t)sizeof(names->record), names->len - off);
		names->last = 0; /* no names are added to maps that are being read */
		if (spool_get(&names->spool, off, names->record, len) < 0)
			return &nothing.file;
		names->record[sizeof(names->record) - 1] = '\0';
		names->last = map->file;
		names->last_len = 0;
	}
	return (const struct proc_file *)names->record;
}

const char *proc_map_name(const struct proc_maps *maps, const struct proc_map *map)
{
	return proc_map_file(maps, map)->name;
}

static void parse_vmflags(struct proc_map *map, const char *line, size_t len)
{
	for (const char *p = line + 8, *end = line + len; end - p >= 2; p++) {
		if (p[-1] != ' ' && p[-1] != ':')
			continue;
		if (!strncmp(p, "dd", 2))
			map->dontdump = true;
		else if (!strncmp(p, "dc", 2))
			map->dontfork = true;
		else if (!strncmp(p, "wf", 2))
			map->wipeonfork = true;
		else if (!strncmp(p, "ht", 2))
			map->huge = true;
		else if (!strncmp(p, "io", 2) || !strncmp(p, "pf", 2))
			map->device = true;
	}
}

static bool begins(const char *name, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && !memcmp(name, with, n);
}

static uint64_t parse_kind(const char *name, size_t len)
{
	static const struct {
		const char *name;
		enum proc_map_kind kind;
	} kinds[] = {
		{ "[stack]", PROC_MAP_STACK },	   { "[vdso]", PROC_MAP_VDSO },
		{ "[vvar]", PROC_MAP_KERNEL },	   { "[vvar_vclock]", PROC_MAP_KERNEL },
		{ "[vsyscall]", PROC_MAP_KERNEL }, { "[uprobes]", PROC_MAP_KERNEL },
	};

	for (size_t i = 0; len && name[0] == '[' && i < ARRAY_LEN(kinds); i++) {
		if (strlen(kinds[i].name) == len && !memcmp(kinds[i].name, name, len))
			return kinds[i].kind;
	}
	return PROC_MAP_PLAIN;
}

/* A number and the one byte behind it. sscanf would take a tenth of a second for as
 * many lines as there can be, in which the process may stand still. */
static bool parse_number(const char **p, const char *end, unsigned int base, char behind, uint64_t *ret)
{
	uint64_t value = 0;
	const char *from = *p;

	for (; *p < end; ++*p) {
		unsigned int c = (unsigned char)**p, digit = c - '0';

		if (digit > 9)
			digit = c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
		if (digit >= base)
			break;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	if (*p == from || (*p < end ? **p != behind : behind != ' '))
		return false;
	*p += *p < end;
	*ret = value;
	return true;
}

/* "start-end perms offset major:minor inode     name" */
static int parse_map_line(struct proc_names *names, const char *line, size_t len, struct proc_map *ret)
{
	static const char gone[] = " (deleted)";
	const char *p = line, *end = line + len;
	struct proc_file head = { 0 };
	uint64_t start, stop, offset, major, minor, file;
	struct proc_map map;
	size_t name_len;
	bool cut;
	int r;

	if (!parse_number(&p, end, 16, '-', &start) || !parse_number(&p, end, 16, ' ', &stop) || start >= stop ||
	    end - p < 5 || p[4] != ' ')
		return -EINVAL;
	map = (struct proc_map){ .start = start,
				 .end = stop,
				 .readable = p[0] == 'r',
				 .writable = p[1] == 'w',
				 .executable = p[2] == 'x',
				 .shared = p[3] == 's' };
	p += 5;
	if (!parse_number(&p, end, 16, ' ', &offset) || !parse_number(&p, end, 16, ':', &major) ||
	    !parse_number(&p, end, 16, ' ', &minor) || !parse_number(&p, end, 10, ' ', &head.inode))
		return -EINVAL;
	while (p < end && *p == ' ')
		p++;
	head.dev_major = (uint32_t)major;
	head.dev_minor = (uint32_t)minor;
	name_len = (size_t)(end - p);
	cut = name_len >= NAME_MAX_BYTES;
	r = names_add(names, &head, p, cut ? NAME_MAX_BYTES - 1 : name_len, &file);
	map.offset = offset;
	map.file = file;
	map.kind = parse_kind(p, name_len);
	map.inode = head.inode != 0;
	map.path = name_len && *p == '/';
	map.memory = begins(p, name_len, "/dev/zero") || begins(p, name_len, "/dev/shm/") ||
		     begins(p, name_len, "/memfd:") || begins(p, name_len, "/SYSV");
	map.devices = begins(p, name_len, "/dev/") || begins(p, name_len, "/sys/");
	map.deleted =
		cut || (name_len >= sizeof(gone) - 1 && !memcmp(end - (sizeof(gone) - 1), gone, sizeof(gone) - 1));
	*ret = map;
	return r;
}

static int room_for_one(struct proc_maps *maps)
{
	size_t bigger = maps->cap ? maps->cap * 2 : 64;
	struct proc_map *map;

	if (maps->count < maps->cap)
		return 0;
	map = realloc(maps->map, bigger * sizeof(*map));
	if (!map)
		return -ENOMEM;
	maps->map = map;
	maps->cap = bigger;
	return 0;
}

struct maps_reader {
	struct proc_maps maps;
	proc_maps_keep_fn *keep;
	void *arg;
	bool undecided; /* about the last one: its flags may follow */
};

static void decide(struct maps_reader *reader)
{
	if (reader->undecided && reader->keep && !reader->keep(reader->arg, &reader->maps.map[reader->maps.count - 1]))
		reader->maps.count--;
	reader->undecided = false;
}

static int take_line(struct maps_reader *reader, const char *line, size_t len)
{
	struct proc_maps *maps = &reader->maps;
	int r;

	/* An attribute line of smaps starts with a capital letter. */
	if (len > 8 && *line >= 'A' && *line <= 'Z') {
		if (reader->undecided && !memcmp(line, "VmFlags:", 8))
			parse_vmflags(&maps->map[maps->count - 1], line, len);
		return 0;
	}
	if (!len)
		return 0;
	decide(reader);
	r = room_for_one(maps);
	if (r == 0)
		r = parse_map_line(maps->names, line, len, &maps->map[maps->count]);
	if (r < 0)
		return r;
	maps->count++;
	reader->undecided = true;
	return 0;
}

static int finish(struct maps_reader *reader, int r, struct proc_maps *ret_maps)
{
	decide(reader);
	if (r < 0)
		proc_maps_free(&reader->maps);
	else
		*ret_maps = reader->maps;
	return r;
}

int proc_maps_parse(const char *text, size_t len, struct proc_maps *ret_maps)
{
	struct maps_reader reader = { .maps.names = names_new(false) };
	const char *p = text, *stop = text + len;
	int r = reader.maps.names ? 0 : -ENOMEM;

	while (p < stop && r == 0) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		size_t n = (size_t)((nl ? nl : stop) - p);

		r = take_line(&reader, p, n);
		p += n + 1;
	}
	return finish(&reader, r, ret_maps);
}

int proc_maps_load(int fd, proc_maps_keep_fn *keep, void *arg, struct proc_maps *ret_maps)
{
	struct maps_reader reader = { .maps.names = names_new(true), .keep = keep, .arg = arg };
	CLEAN(free) char *piece = malloc(PIECE_BYTES);
	size_t have = 0;
	off_t off = 0;
	bool rest = false; /* of a line that was too long */
	int r = reader.maps.names && piece ? 0 : -ENOMEM;

	while (r == 0) {
		ssize_t n = pread(fd, piece + have, PIECE_BYTES - have, off);
		size_t at = 0;
		const char *nl;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
		off += n;
		have += (size_t)n;
		while (r == 0 && (nl = memchr(piece + at, '\n', have - at))) {
			if (!rest)
				r = take_line(&reader, piece + at, (size_t)(nl - piece) - at);
			rest = false;
			at = (size_t)(nl - piece) + 1;
		}
		if (at == 0 && have == PIECE_BYTES) {
			if (!rest && r == 0)
				r = take_line(&reader, piece, have);
			rest = true;
			at = have;
		}
		have -= at;
		memmove(piece, piece + at, have);
	}
	if (r == 0 && have && !rest)
		r = take_line(&reader, piece, have);
	return finish(&reader, r, ret_maps);
}

int proc_maps_read(int dir_fd, bool flags, struct proc_maps *ret_maps, struct err *err)
{
	CLEAN(fd) int fd = openat(dir_fd, flags ? "smaps" : "maps", O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : proc_maps_load(fd, NULL, NULL, ret_maps);

	return r < 0 ? err_sys(err, r, "cannot read the memory map of the process") : 0;
}

void proc_maps_free(struct proc_maps *maps)
{
	names_free(maps->names);
	free(maps->map);
	*maps = (struct proc_maps){ 0 };
}

void proc_maps_keep(struct proc_maps *maps, proc_maps_keep_fn *keep, void *arg)
{
	struct proc_map *map;
	size_t n = 0;

	for (size_t i = 0; i < maps->count; i++) {
		if (keep(arg, &maps->map[i]))
			maps->map[n++] = maps->map[i];
	}
	maps->count = n;
	map = realloc(maps->map, MAX(n, (size_t)1) * sizeof(*map));
	if (map) {
		maps->map = map;
		maps->cap = MAX(n, (size_t)1);
	}
}

int proc_maps_add(struct proc_maps *maps, const struct proc_maps *from, const struct proc_map *map)
{
	const struct proc_file *file = proc_map_file(from, map);
	uint64_t at;
	int r = room_for_one(maps);

	if (r == 0 && !maps->names && !(maps->names = names_new(true)))
		r = -ENOMEM;
	if (r == 0) {
		maps->names->last = 0; /* what it holds may be cut */
		r = names_add(maps->names, file, file->name, strlen(file->name), &at);
	}
	if (r < 0)
		return r;
	maps->map[maps->count] = *map;
	maps->map[maps->count++].file = at;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct proc_map *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void proc_maps_sort(struct proc_maps *maps)
{
	qsort(maps->map, maps->count, sizeof(*maps->map), by_start);
}

const struct proc_map *proc_maps_find(const struct proc_maps *maps, uint64_t addr)
{
	size_t lo = 0, hi = maps->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (addr < maps->map[mid].start)
			hi = mid;
		else if (addr >= maps->map[mid].end)
			lo = mid + 1;
		else
			return &maps->map[mid];
	}
	return NULL;
}

static const char *status_field(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		if (!strncmp(p, key, n) && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, "\t ");
	}
	return "";
}

int proc_status_read(int dir_fd, const char *path, struct proc_status *ret_status)
{
	CLEAN(free) char *text = NULL;
	struct proc_status st = { 0 };
	unsigned int uid = 0, euid = 0;
	const char *p;
	int r = proc_file(dir_fd, path, 65536, &text, NULL);

	if (r < 0)
		return r;
	p = status_field(text, "Name");
	snprintf(st.comm, sizeof(st.comm), "%.*s", (int)strcspn(p, "\n"), p);
	st.state = *status_field(text, "State");
	st.tgid = atoi(status_field(text, "Tgid"));
	st.ppid = atoi(status_field(text, "PPid"));
	st.tracer = atoi(status_field(text, "TracerPid"));
	if (sscanf(status_field(text, "Uid"), "%u %u", &uid, &euid) == 2) {
		st.uid = uid;
		st.euid = euid;
	}
	st.seccomp = atoi(status_field(text, "Seccomp"));
	st.threads = (unsigned int)atoi(status_field(text, "Threads"));
	st.rss_anon_bytes = strtoull(status_field(text, "RssAnon"), NULL, 10) * 1024;
	st.rss_file_bytes = strtoull(status_field(text, "RssFile"), NULL, 10) * 1024;
	st.rss_shmem_bytes = strtoull(status_field(text, "RssShmem"), NULL, 10) * 1024;
	st.swap_bytes = strtoull(status_field(text, "VmSwap"), NULL, 10) * 1024;
	st.pte_bytes = strtoull(status_field(text, "VmPTE"), NULL, 10) * 1024;
	st.sig_pending = strtoull(status_field(text, "SigPnd"), NULL, 16);
	st.shd_pending = strtoull(status_field(text, "ShdPnd"), NULL, 16);
	st.sig_blocked = strtoull(status_field(text, "SigBlk"), NULL, 16);
	st.sig_ignored = strtoull(status_field(text, "SigIgn"), NULL, 16);
	st.sig_caught = strtoull(status_field(text, "SigCgt"), NULL, 16);
	p = status_field(text, "NSpid");
	for (size_t n = strcspn(p, "\n"), i = 0; i < n; i += strspn(p + i, "\t ")) {
		st.ns_tid = atoi(p + i);
		i += strcspn(p + i, "\t \n");
	}
	*ret_status = st;
	return 0;
}

int proc_stat_read(int dir_fd, const char *path, struct proc_stat *ret_stat)
{
	CLEAN(free) char *text = NULL;
	struct proc_stat st = { 0 };
	unsigned long long minflt, majflt, utime, stime, start;
	int r = proc_file(dir_fd, path, 4096, &text, NULL);
	const char *p;

	if (r < 0)
		return r;
	p = strrchr(text, ')'); /* comm may hold anything, ')' too */
	if (!p || sscanf(p + 1,
			 " %c %d %*d %*d %*d %*d %*u %llu %*u %llu %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu"
			 " %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %d",
			 &st.state, &st.ppid, &minflt, &majflt, &utime, &stime, &start, &st.processor) < 7)
		return -EINVAL;
	st.minflt = minflt;
	st.majflt = majflt;
	st.utime_ticks = utime;
	st.stime_ticks = stime;
	st.start_ticks = start;
	*ret_stat = st;
	return 0;
}

int proc_syscall_read(int dir_fd, const char *path, struct proc_syscall *ret_syscall)
{
	CLEAN(free) char *text = NULL;
	struct proc_syscall sc = { .nr = -2 };
	unsigned long long a[6], sp, pc;
	int r = proc_file(dir_fd, path, 4096, &text, NULL);

	if (r < 0)
		return r;
	if (sscanf(text, "%ld", &sc.nr) != 1) {
		*ret_syscall = sc; /* 'running' */
		return 0;
	}
	if (sc.nr == -1) {
		if (sscanf(text, "%*d %llx %llx", &sp, &pc) != 2)
			return -EINVAL;
	} else {
		if (sscanf(text, "%*d %llx %llx %llx %llx %llx %llx %llx %llx", &a[0], &a[1], &a[2], &a[3], &a[4],
			   &a[5], &sp, &pc) != 8)
			return -EINVAL;
		for (size_t i = 0; i < 6; i++)
			sc.arg[i] = a[i];
	}
	sc.sp = sp;
	sc.pc = pc;
	*ret_syscall = sc;
	return 0;
}

uint64_t proc_peak_bytes(void)
{
	CLEAN(free) char *text = NULL;

	if (proc_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) < 0)
		return 0;
	return strtoull(status_field(text, "VmHWM"), NULL, 10) * 1024;
}

static int by_value(const void *a, const void *b)
{
	return *(const pid_t *)a < *(const pid_t *)b ? -1 : *(const pid_t *)a > *(const pid_t *)b;
}

int proc_threads(int dir_fd, pid_t **ret_tids, size_t *ret_count)
{
	int fd = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	size_t count = 0, cap = 0;
	pid_t *tids = NULL;
	struct dirent *e;

	if (!dir) {
		int code = -errno;

		if (fd >= 0)
			close(fd);
		return code;
	}
	while ((e = readdir(dir))) {
		pid_t tid = atoi(e->d_name);

		if (tid <= 0)
			continue;
		if (count == cap) {
			size_t bigger = cap ? cap * 2 : 64;
			pid_t *more = realloc(tids, bigger * sizeof(*tids));

			if (!more) {
				free(tids);
				return -ENOMEM;
			}
			tids = more;
			cap = bigger;
		}
		tids[count++] = tid;
	}
	if (count == 0) {
		free(tids);
		return -ESRCH;
	}
	qsort(tids, count, sizeof(*tids), by_value);
	*ret_tids = tids;
	*ret_count = count;
	return 0;
}

void proc_name(pid_t pid, char *buf, size_t size)
{
	CLEAN(free) char *text = NULL;
	struct buf out;
	char path[32];
	size_t len;

	snprintf(buf, size, "?");
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (proc_file(AT_FDCWD, path, 256, &text, &len) < 0)
		return;
	if (len && text[len - 1] == '\n')
		len--;
	buf_init(&out, 1024);
	buf_add_escaped(&out, text, len);
	if (out.len)
		snprintf(buf, size, "%s", out.data);
	buf_done(&out);
}

int proc_each(int (*fn)(pid_t pid, void *arg), void *arg)
{
	CLEAN(dir) DIR *dir = opendir("/proc");
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		pid_t pid = atoi(e->d_name);
		int r = pid > 0 ? fn(pid, arg) : 0;

		if (r)
			return r;
	}
	return 0;
}
