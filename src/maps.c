// SPDX-License-Identifier: MIT
/* /proc/PID/maps and smaps, as proc.h gives them out. Small records, since there may be
 * 100,000; the names of files lie beside them, in a spool if they are many. Trap: a name
 * may hold anything. */
#include "proc.h"

#include "buf.h"

#include <fcntl.h>
#include <string.h>

#define PIECE_BYTES (64u << 10) /* of a file read in pieces */
#define NAME_MAX_BYTES 16384u	/* of a mapping: PATH_MAX, each byte escaped */

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
