// SPDX-License-Identifier: MIT
/* Shared memory is read as a file through map_files, so that pages this process never
 * touched are seen and none is allocated by looking. Trap: sources point at their
 * range, so ranges never move once made. */
#include "side.h"

#include "contents.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int side_open(struct side *side, int dir_fd)
{
	*side = (struct side){ .dir_fd = dir_fd };
	side->mem_fd = openat(dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	side->pagemap_fd = openat(dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	pages_cache_init(&side->pages, side->pagemap_fd);
	return side->mem_fd < 0 || side->pagemap_fd < 0 ? -errno : 0;
}

void side_close(struct side *side)
{
	for (size_t i = 0; i < side->count; i++) {
		if (side->range[i]->file_fd >= 0)
			close(side->range[i]->file_fd);
		free(side->range[i]->run);
		free(side->range[i]);
	}
	free(side->range);
	free(side->copy);
	if (side->mem_fd >= 0)
		close(side->mem_fd);
	if (side->pagemap_fd >= 0)
		close(side->pagemap_fd);
	*side = (struct side){ .mem_fd = -1, .pagemap_fd = -1 };
}

static int file_pages(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	const struct side_range *range = arg;
	off_t base = (off_t)range->file_off, data, hole;

	(void)kind;
	if (addr >= end)
		return 0;
	data = lseek(range->file_fd, base + (off_t)(addr - range->start), SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	hole = lseek(range->file_fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*ret_start = range->start + (uint64_t)(data - base);
	*ret_end = MIN(range->start + (uint64_t)(hole - base), end);
	/* A file that ends inside a page: the rest of that page is mapped, and zero. */
	*ret_end = MIN((*ret_end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1), end);
	return *ret_start < end;
}

static ssize_t file_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct side_range *range = arg;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(range->file_fd, (char *)buf + done, len - done,
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

static const struct side_run *run_at(const struct side_range *range, uint64_t addr)
{
	size_t lo = 0, hi = range->run_count;

	while (lo < hi) { /* the first run that ends after addr */
		size_t mid = (lo + hi) / 2;

		if (range->run[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < range->run_count ? &range->run[lo] : NULL;
}

static int copy_pages(void *arg, enum pages_kind kind, uint64_t addr, uint64_t end, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	const struct side_run *run = run_at(arg, addr);

	(void)kind;
	if (!run || run->start >= end)
		return 0;
	*ret_start = MAX(run->start, addr);
	*ret_end = MIN(run->end, end);
	return 1;
}

static ssize_t copy_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct side_range *range = arg;
	const struct side_run *run = run_at(range, addr);
	size_t n;

	if (!run || run->start > addr)
		return 0;
	n = (size_t)MIN((uint64_t)len, run->end - addr);
	memcpy(buf, range->side->copy + run->off + (addr - run->start), n);
	return (ssize_t)n;
}

static struct side_range *find(const struct side *side, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < side->count; i++) {
		if (side->range[i]->start == start && side->range[i]->end == end)
			return side->range[i];
	}
	return NULL;
}

/* Looked at as a path first: the opening of a device is an act. */
static int open_memory_file(int dir_fd, const char *path)
{
	CLEAN(fd) int path_fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
	CLEAN(fd) int fd = -1;
	char self[64];
	struct stat st;

	if (path_fd < 0 || fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path_fd);
	fd = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && lseek(fd, 0, SEEK_DATA) < 0 && errno != ENXIO)
		return -1;
	return take_fd(&fd);
}

static void map_file_path(const struct proc_map *map, char *buf, size_t size)
{
	snprintf(buf, size, "map_files/%llx-%llx", (unsigned long long)map->start, (unsigned long long)map->end);
}

static struct side_range *add(struct side *side, const struct proc_map *map, bool file)
{
	struct side_range *range = calloc(1, sizeof(*range));
	char path[64];

	if (range && side->count == side->cap) {
		size_t bigger = side->cap ? side->cap * 2 : 16;
		struct side_range **more = realloc(side->range, bigger * sizeof(*more));

		if (more) {
			side->range = more;
			side->cap = bigger;
		}
	}
	if (!range || side->count == side->cap) {
		free(range);
		return NULL;
	}
	*range = (struct side_range){
		.start = map->start, .end = map->end, .file_fd = -1, .file_off = map->offset, .side = side
	};
	if (file) {
		map_file_path(map, path, sizeof(path));
		range->file_fd = open_memory_file(side->dir_fd, path);
	}
	if (range->file_fd >= 0) {
		range->source.memory = (struct memory){ .read = file_read, .arg = range };
		range->source.pages = (struct pages){ .next = file_pages, .arg = range };
	} else {
		range->source.memory = memory_of_fd(&side->mem_fd);
		range->source.pages = pages_of_cache(&side->pages);
	}
	range->source.unreadable = "gone from the live process";
	side->range[side->count++] = range;
	return range;
}

static uint64_t resident(const struct side_range *range, uint64_t most)
{
	uint64_t sum = 0, start, end;

	for (uint64_t at = range->start; sum <= most; at = end) {
		if (pages_next(&range->source.pages, PAGES_ANY, at, range->end, &start, &end) != 1)
			break;
		sum += end - start;
	}
	return sum;
}

int side_add(struct side *side, const struct proc_map *map)
{
	struct side_range *range = add(side, map, contents_shared(map));
	uint64_t bytes;

	if (!range)
		return -ENOMEM;
	bytes = resident(range, SIDE_COPY_BYTES);
	if (side->copy_cap + bytes <= SIDE_COPY_BYTES) {
		range->wanted = true;
		side->copy_cap += (size_t)bytes;
	}
	return 0;
}

int side_reserve(struct side *side)
{
	if (!side->copy_cap)
		return 0;
	side->copy_cap += side->copy_cap / 8 + 64 * PAGE_BYTES; /* it may grow until the stop */
	side->copy = malloc(side->copy_cap);
	if (!side->copy)
		return -ENOMEM;
	memset(side->copy, 0, side->copy_cap);
	return 0;
}

static bool copy_run(struct side *side, struct side_range *range, uint64_t start, uint64_t end)
{
	if (range->run_count == range->run_cap) {
		size_t bigger = range->run_cap ? range->run_cap * 2 : 16;
		struct side_run *more = realloc(range->run, bigger * sizeof(*more));

		if (!more)
			return false;
		range->run = more;
		range->run_cap = bigger;
	}
	if (end - start > side->copy_cap - side->copy_len ||
	    memory_get(&range->source.memory, start, side->copy + side->copy_len, (size_t)(end - start)) < 0)
		return false;
	range->run[range->run_count++] = (struct side_run){ start, end, side->copy_len };
	side->copy_len += (size_t)(end - start);
	return true;
}

void side_copy(struct side *side)
{
	pages_cache_init(&side->pages, side->pagemap_fd); /* as they are now */
	for (size_t i = 0; i < side->count; i++) {
		struct side_range *range = side->range[i];
		uint64_t at = range->start, start, end;
		int r = 1;

		if (!range->wanted)
			continue;
		while ((r = pages_next(&range->source.pages, PAGES_ANY, at, range->end, &start, &end)) == 1) {
			if (!copy_run(side, range, start, end)) {
				r = -EIO;
				break;
			}
			at = end;
		}
		if (r < 0)
			continue;
		range->copied = true;
		range->source.memory = (struct memory){ .read = copy_read, .arg = range };
		range->source.pages = (struct pages){ .next = copy_pages, .arg = range };
	}
}

const struct core_source *side_source(struct side *side, const struct proc_map *map, bool *ret_live)
{
	struct side_range *range = find(side, map->start, map->end);

	if (!range)
		range = add(side, map, contents_shared(map));
	if (!range)
		return NULL;
	*ret_live = !range->copied;
	return &range->source;
}

const struct core_source *side_file(struct side *side, const struct proc_map *map)
{
	struct side_range *range = add(side, map, true);

	return range && range->file_fd >= 0 ? &range->source : NULL;
}

static bool stat_file(int dir_fd, const struct proc_map *map, struct stat *ret_stat)
{
	char path[64];

	map_file_path(map, path, sizeof(path));
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
