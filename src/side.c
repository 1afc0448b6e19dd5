// SPDX-License-Identifier: MIT
/* Shared memory is read as a file through map_files, so that pages this process never
 * touched are seen and none is allocated by looking. Trap: there may be more shared
 * mappings than descriptors. */
#include "side.h"

#include "contents.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define HELD_MOST 4096		/* files held open from before the stop; others are opened when they are read */
#define CHUNK_BYTES (64u << 10) /* copied at a time */
#define GONE "gone from the live process"

static void map_file_path(uint64_t start, uint64_t end, char *buf, size_t size)
{
	snprintf(buf, size, "map_files/%llx-%llx", (unsigned long long)start, (unsigned long long)end);
}

/* Looked at as a path first: the opening of a device is an act. */
static int open_memory_file(int dir_fd, uint64_t start, uint64_t end)
{
	CLEAN(fd) int path_fd = -1;
	CLEAN(fd) int fd = -1;
	char path[64];
	struct stat st;

	map_file_path(start, end, path, sizeof(path));
	path_fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
	if (path_fd < 0 || fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && lseek(fd, 0, SEEK_DATA) < 0 && errno != ENXIO)
		return -1;
	return take_fd(&fd);
}

/* The range that addr lies in. */
static const struct side_range *range_at(struct side_ranges *list, uint64_t addr)
{
	size_t lo = 0, hi = list->count;

	if (list->last < hi && addr >= list->range[list->last].start && addr < list->range[list->last].end)
		return &list->range[list->last];
	while (lo < hi) { /* the first range that ends after addr */
		size_t mid = (lo + hi) / 2;

		if (list->range[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == list->count || list->range[lo].start > addr)
		return NULL;
	list->last = lo;
	return &list->range[lo];
}

static int file_of(struct side_ranges *list, const struct side_range *range)
{
	size_t at = (size_t)(range - list->range);

	if (range->file_fd >= 0)
		return range->file_fd;
	if (list->file_fd < 0 || list->file_at != at) {
		if (list->file_fd >= 0)
			close(list->file_fd);
		list->file_fd = open_memory_file(list->side->dir_fd, range->start, range->end);
		list->file_at = at;
	}
	return list->file_fd;
}

static int file_pages(int fd, const struct side_range *range, uint64_t addr, uint64_t end, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	off_t base = (off_t)range->file_off, data, hole;

	if (addr >= end)
		return 0;
	data = lseek(fd, base + (off_t)(addr - range->start), SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*ret_start = range->start + (uint64_t)(data - base);
	*ret_end = MIN(range->start + (uint64_t)(hole - base), end);
	/* A file that ends inside a page: the rest of that page is mapped, and zero. */
	*ret_end = MIN((*ret_end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1), end);
	return *ret_start < end;
}

static ssize_t file_read(int fd, const struct side_range *range, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(range->file_off + (addr - range->start) + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !done)
			return -errno;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done & (PAGE_BYTES - 1)) { /* past the end of the file */
		size_t page = (done + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);

		memset((char *)buf + done, 0, MIN(page, len) - done);
		done = MIN(page, len);
	}
	return (ssize_t)done;
}

/* The first run of the range that ends after addr. */
static const struct side_run *run_at(const struct side *side, const struct side_range *range, uint64_t addr)
{
	size_t lo = range->run, stop = (size_t)range->run + range->runs, hi = stop;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (side->run[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < stop ? &side->run[lo] : NULL;
}

static int any_pages(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		     uint64_t *ret_end)
{
	struct side_ranges *list = arg;
	const struct side_range *range = range_at(list, addr);
	struct pages pages = pages_of_cache(&list->side->pages);
	const struct side_run *run;
	int fd;

	if (!range)
		return addr < end ? -EIO : 0;
	if (range->copied) {
		run = run_at(list->side, range, addr);
		if (!run || run->start >= end)
			return 0;
		*ret_start = MAX(run->start, addr);
		*ret_end = MIN(run->end, end);
		return 1;
	}
	if (!range->file)
		return pages_next(&pages, kind, addr, end, ret_start, ret_end);
	fd = file_of(list, range);
	return fd < 0 ? -ENOENT : file_pages(fd, range, addr, end, ret_start, ret_end);
}

static ssize_t any_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct side_ranges *list = arg;
	const struct side_range *range = range_at(list, addr);
	struct memory mem = memory_of_fd(&list->side->mem_fd);
	const struct side_run *run;
	int fd;

	if (!range)
		return 0;
	if (range->copied) {
		run = run_at(list->side, range, addr);
		if (!run || run->start > addr)
			return 0;
		len = (size_t)MIN((uint64_t)len, run->end - addr);
		return spool_get(&list->side->copy, run->off + (addr - run->start), buf, len) < 0 ? -EIO : (ssize_t)len;
	}
	if (!range->file)
		return mem.read(mem.arg, addr, buf, len);
	fd = file_of(list, range);
	return fd < 0 ? -ENOENT : file_read(fd, range, addr, buf, len);
}

static void list_init(struct side_ranges *list, struct side *side)
{
	*list = (struct side_ranges){ .side = side, .file_fd = -1 };
	list->source = (struct core_source){ .memory = { .read = any_read, .arg = list },
					     .pages = { .next = any_pages, .arg = list },
					     .unreadable = GONE };
}

/* As many as we may have, and some for others. */
static size_t most_held(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return (size_t)MIN((uint64_t)limit.rlim_cur / 2, (uint64_t)HELD_MOST);
}

int side_open(struct side *side, int dir_fd)
{
	*side = (struct side){ .dir_fd = dir_fd, .held_most = most_held(), .copy.fd = -1, .copy_most = SIDE_COPY_BYTES };
	list_init(&side->planned, side);
	list_init(&side->late, side);
	side->mem_fd = openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	side->pagemap_fd = openat(dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	pages_cache_init(&side->pages, side->pagemap_fd);
	return side->mem_fd < 0 || side->pagemap_fd < 0 ? -errno : 0;
}

static void list_done(struct side_ranges *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->range[i].file_fd >= 0)
			close(list->range[i].file_fd);
	}
	if (list->side && list->file_fd >= 0)
		close(list->file_fd);
	free(list->range);
}

void side_close(struct side *side)
{
	list_done(&side->planned);
	list_done(&side->late);
	free(side->run);
	free(side->chunk);
	spool_close(&side->copy);
	if (side->mem_fd >= 0)
		close(side->mem_fd);
	if (side->pagemap_fd >= 0)
		close(side->pagemap_fd);
	*side = (struct side){ .mem_fd = -1, .pagemap_fd = -1, .copy.fd = -1 };
}

static struct side_range *add(struct side_ranges *list, const struct proc_map *map, bool file)
{
	struct side *side = list->side;
	int fd = file ? open_memory_file(side->dir_fd, map->start, map->end) : -1;
	bool hold = fd >= 0 && side->held < side->held_most;

	if (list->count == list->cap) {
		size_t bigger = list->cap ? list->cap * 2 : 16;
		struct side_range *more = realloc(list->range, bigger * sizeof(*more));

		if (!more) {
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		list->range = more;
		list->cap = bigger;
	}
	list->range[list->count] = (struct side_range){ .start = map->start,
							.end = map->end,
							.file_off = map->offset,
							.file_fd = hold ? fd : -1,
							.file = fd >= 0 };
	side->held += hold;
	if (fd >= 0 && !hold)
		close(fd);
	return &list->range[list->count++];
}

static uint64_t resident(const struct side_ranges *list, const struct side_range *range, uint64_t most)
{
	uint64_t sum = 0, start, end, stop = range->end;

	for (uint64_t at = range->start; sum <= most; at = end) {
		if (pages_next(&list->source.pages, PAGES_ANY, at, stop, &start, &end) != 1)
			break;
		sum += end - start;
	}
	return sum;
}

int side_add(struct side *side, const struct proc_map *map)
{
	struct side_range *range = add(&side->planned, map, contents_shared(map));
	uint64_t bytes;

	if (!range)
		return -ENOMEM;
	if (range->file && range->file_fd < 0)
		return 0; /* to open it in the stop takes longer than to copy it */
	bytes = resident(&side->planned, range, side->copy_most);
	if (side->copy_cap + bytes <= side->copy_most) {
		range->wanted = true;
		side->copy_cap += bytes;
	}
	return 0;
}

int side_reserve(struct side *side)
{
	if (!side->copy_cap)
		return 0;
	side->copy_cap += side->copy_cap / 8 + 64ull * PAGE_BYTES; /* it may grow until the stop */
	side->chunk = calloc(1, CHUNK_BYTES);
	if (!side->chunk || spool_open(&side->copy, -1) < 0)
		return -ENOMEM;
	spool_reserve(&side->copy, side->copy_cap);
	return 0;
}

static bool copy_run(struct side_ranges *list, uint64_t start, uint64_t end)
{
	struct side *side = list->side;
	uint64_t off = side->copy.len;

	if (side->run_count == side->run_cap) {
		size_t bigger = side->run_cap ? side->run_cap * 2 : 64;
		struct side_run *more = realloc(side->run, bigger * sizeof(*more));

		if (!more)
			return false;
		side->run = more;
		side->run_cap = bigger;
	}
	if (end - start > side->copy_cap - side->copy.len)
		return false;
	for (uint64_t at = start; at < end; at += CHUNK_BYTES) {
		size_t n = (size_t)MIN(end - at, (uint64_t)CHUNK_BYTES);

		if (memory_get(&list->source.memory, at, side->chunk, n) < 0 ||
		    spool_put(&side->copy, side->chunk, n, NULL) < 0)
			return false;
	}
	side->run[side->run_count++] = (struct side_run){ start, end, off };
	return true;
}

void side_copy(struct side *side)
{
	struct side_ranges *list = &side->planned;

	pages_cache_init(&side->pages, side->pagemap_fd); /* as they are now */
	for (size_t i = 0; i < list->count; i++) {
		struct side_range *range = &list->range[i];
		uint64_t at = range->start, start, end;
		int r;

		if (!range->wanted)
			continue;
		range->run = (uint32_t)side->run_count;
		while ((r = pages_next(&list->source.pages, PAGES_ANY, at, range->end, &start, &end)) == 1) {
			if (!copy_run(list, start, end)) {
				r = -EIO;
				break;
			}
			at = end;
		}
		range->runs = (uint32_t)side->run_count - range->run;
		range->copied = r == 0;
	}
}

const struct core_source *side_source(struct side *side, const struct proc_map *map, bool *ret_live)
{
	const struct side_range *range = range_at(&side->planned, map->start);

	*ret_live = true;
	if (range && range->start == map->start && range->end == map->end) {
		*ret_live = !range->copied;
		return &side->planned.source;
	}
	return add(&side->late, map, contents_shared(map)) ? &side->late.source : NULL;
}

const struct core_source *side_file(struct side *side, const struct proc_map *map)
{
	const struct side_range *range = add(&side->late, map, true);

	return range && range->file ? &side->late.source : NULL;
}

static bool stat_file(int dir_fd, const struct proc_map *map, struct stat *ret_stat)
{
	char path[64];

	map_file_path(map->start, map->end, path, sizeof(path));
	return map->inode && fstatat(dir_fd, path, ret_stat, 0) == 0 && S_ISREG(ret_stat->st_mode);
}

uint64_t side_file_bytes(int dir_fd, const struct proc_map *map)
{
	struct stat st;

	return stat_file(dir_fd, map, &st) ? MIN((uint64_t)st.st_blocks * 512, map->end - map->start) : 0;
}

uint64_t side_file_end(int dir_fd, const struct proc_map *map)
{
	struct stat st;
	uint64_t size;

	if (!stat_file(dir_fd, map, &st))
		return map->end;
	size = ((uint64_t)st.st_size + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	return size > map->offset ? MIN(map->end, map->start + (size - map->offset)) : map->start;
}
