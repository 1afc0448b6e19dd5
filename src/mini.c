// SPDX-License-Identifier: MIT
/* Stacks first, then what debuggers need, then references for as long as there is room
 * and time. Rejected: a clone (its pause grows with the process, a mini's does not);
 * choosing references after the stop (the pages are others by then). Traps: a page
 * that is absent must not be read (a userfaultfd handler that stands still would have
 * to answer); nothing of the stop may wait for a disk, from which no signal frees us;
 * what is a device, or named like one, must not be read at all. */
#include "mini.h"

#include "capture.h"
#include "contents.h"
#include "ktime.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#define QUICK_BYTES (8u << 20)	  /* of memory that is there before the stop */
#define MORE_BYTES (256ull << 20) /* and of memory that is not; less where there is not four times as much */
#define CHUNK_BYTES (64u << 10)
#define PAGE_START (~(uint64_t)(PAGE_BYTES - 1))
#define OFF_MORE (1ull << 63) /* in the second spool */
#define OFF_REF MINI_OFF_REF
#define OFF_BITS (~(OFF_MORE | OFF_REF))

#define SEEN_SLOTS 16384u /* of the hash table; a power of two */
#define SEEN_MAX (SEEN_SLOTS / 4 * 3)
#define ADDRESS_END (1ull << 47)
#define OBJECT_BYTES 256u	    /* what a word points to goes on for so long, perhaps into the next page */
#define LATE_STACK_BYTES 8192u	    /* of each, when time is up */
#define DATA_BYTES (64u << 10)	    /* the largest data segment of a module that goes in, ... */
#define DATA_ALL_BYTES (768u << 10) /* ... and all of them */
#define GONE_BYTES (8u << 20)	    /* of modules whose files are gone */
#define NOTES_THREAD_BYTES 3700u    /* what a thread's registers take in the core */
#define BLOCK_BYTES 2304u	    /* of a thread control block: glibc's struct pthread */
#define BLOCK_WORDS 8u		    /* that are pointers worth following: the dtv and the like */
#define LINK_BYTES 1200u	    /* glibc's private part of a link map included */
#define PHDRS_MAX 64u

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE_BYTES - 1) & PAGE_START;
}

/* --- what was copied --- */

static size_t run_after(const struct mini *m, size_t count, uint64_t addr) /* the first that ends after addr */
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->run[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* From the first 'count' runs, which are in order. */
static size_t read_runs(const struct mini *m, size_t count, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	for (size_t i = run_after(m, count, addr); i < count && done < len; i++) {
		const struct mini_run *run = &m->run[i];
		uint64_t at = addr + done, off;
		size_t n;

		if (run->start > at)
			break;
		n = (size_t)MIN((uint64_t)(len - done), run->end - at);
		off = (run->off & OFF_BITS) + (at - run->start);
		if (spool_get(run->off & OFF_MORE ? &m->more : &m->quick, off, (char *)buf + done, n) < 0)
			break;
		done += n;
	}
	return done;
}

static ssize_t mini_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct mini *m = arg;

	return (ssize_t)read_runs(m, m->count, addr, buf, len);
}

struct memory mini_memory(const struct mini *mini)
{
	return (struct memory){ .read = mini_read, .arg = (void *)mini };
}

static int add_run(struct mini *m, uint64_t start, uint64_t end, uint64_t off)
{
	struct mini_run *last = m->count ? &m->run[m->count - 1] : NULL;

	if (last && last->end == start && last->off + (last->end - last->start) == off) {
		last->end = end;
		return 0;
	}
	if (m->count == m->cap) {
		size_t bigger = m->cap * 2 + 64;
		struct mini_run *more = realloc(m->run, bigger * sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->run = more;
		m->cap = bigger;
	}
	m->run[m->count++] = (struct mini_run){ start, end, off };
	return 0;
}

static int keep(struct mini *m, uint64_t addr, const void *data, size_t len, uint64_t tag)
{
	bool quick = m->quick.len + len <= QUICK_BYTES;
	uint64_t off;
	int r;

	if (!quick && m->more.fd < 0 && (r = spool_open(&m->more, -1)) < 0)
		return r;
	r = spool_put(quick ? &m->quick : &m->more, data, len, &off);
	return r < 0 ? r : add_run(m, addr, addr + len, off | tag | (quick ? 0 : OFF_MORE));
}

static int by_start(const void *a, const void *b)
{
	const struct mini_run *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/* Ascending and disjoint: bytes taken twice are the same bytes. */
static void settle(struct mini *m)
{
	uint64_t end = 0;
	size_t n = 0;

	qsort(m->run, m->count, sizeof(*m->run), by_start);
	for (size_t i = 0; i < m->count; i++) {
		struct mini_run run = m->run[i];

		if (run.end <= end)
			continue;
		if (run.start < end) {
			run.off += end - run.start;
			run.start = end;
		}
		end = run.end;
		m->run[n++] = run;
	}
	m->count = n;
}

/* --- copying --- */

/* What can be read of [start, end), whether its pages are there or not. Returns the bytes. */
static int64_t copy_all(struct mini *m, uint64_t start, uint64_t end, uint64_t tag)
{
	uint64_t at = start & PAGE_START, done = 0;

	end = page_up(end);
	while (at < end) {
		ssize_t n = m->memory.read(m->memory.arg, at, m->chunk, (size_t)MIN(end - at, (uint64_t)CHUNK_BYTES));
		int r;

		n &= n > 0 ? ~(ssize_t)(PAGE_BYTES - 1) : 0;
		if (n <= 0)
			break;
		r = keep(m, at, m->chunk, (size_t)n, tag);
		if (r < 0)
			return r;
		at += (uint64_t)n;
		done += (uint64_t)n;
	}
	return (int64_t)done;
}

/* The pages of [start, end) that are there. */
static int64_t copy(struct mini *m, uint64_t start, uint64_t end, uint64_t tag)
{
	uint64_t at = start & PAGE_START, from, to, done = 0;
	int r;

	end = MIN(page_up(end), ADDRESS_END - PAGE_BYTES);
	while ((r = pages_next(&m->pages, PAGES_ANY, at, end, &from, &to)) == 1) {
		int64_t n = copy_all(m, from, to, tag);

		if (n < 0)
			return n;
		done += (uint64_t)n;
		at = to;
	}
	return r < 0 ? r : (int64_t)done;
}

/* False: it was looked at before, or the table is full (ret_full). */
static bool first_sight(struct mini *m, uint64_t page, bool *ret_full)
{
	uint64_t key = page | 1; /* no page is 0 then */
	size_t slot = (size_t)((page / PAGE_BYTES * 0x9e3779b97f4a7c15ull) >> 40) & (SEEN_SLOTS - 1);

	for (; m->seen[slot]; slot = (slot + 1) & (SEEN_SLOTS - 1)) {
		if (m->seen[slot] == key)
			return false;
	}
	*ret_full = m->seen_count >= SEEN_MAX;
	if (*ret_full)
		return false;
	m->seen[slot] = key;
	m->seen_count++;
	return true;
}

/* The pages around some bytes, once. */
static int copy_near(struct mini *m, uint64_t addr, uint64_t len)
{
	bool full = false;

	for (uint64_t page = addr & PAGE_START; page < addr + len && addr < ADDRESS_END && !full; page += PAGE_BYTES) {
		int64_t n = first_sight(m, page, &full) ? copy(m, page, page + PAGE_BYTES, 0) : 0;

		if (n < 0)
			return (int)n;
	}
	return 0;
}

/* --- stacks --- */

static bool regs_of(const struct mini *m, struct freeze *freeze, const struct freeze_thread *thread,
		    struct user_regs_struct *ret)
{
	const struct arch_state *state = freeze_state(freeze, thread);
	struct proc_syscall sc;
	char path[64];

	if (state) {
		*ret = state->regs;
		return true;
	}
	snprintf(path, sizeof(path), "task/%d/syscall", thread->tid);
	if (thread->gone || m->proc_dir_fd < 0 || proc_syscall_read(m->proc_dir_fd, path, &sc) < 0 || sc.nr == -2)
		return false;
	arch_regs_guess(&sc, ret);
	return true;
}

/* From the red zone to where the stack may end at most. Without a mapping (it is newer
 * than our list) the page tables alone say what is there. */
static void stack_of(struct mini *m, const struct user_regs_struct *regs, uint64_t *ret_at, uint64_t *ret_end)
{
	uint64_t sp = arch_sp(regs), block = arch_thread_block(regs);
	const struct proc_map *map = proc_maps_find(m->maps, sp);
	uint64_t end = map ? map->end : sp + CAPTURE_STACK_MAX, most = CAPTURE_STACK_MAX;

	if (sp >= ADDRESS_END) {
		*ret_at = *ret_end = 0;
		return;
	}
	*ret_at = sp - MIN(sp, (uint64_t)ARCH_RED_ZONE);
	if (map)
		*ret_at = MAX(*ret_at, map->start);
	*ret_at &= PAGE_START;
	if (block > sp && block < end) { /* other memory may lie right behind */
		end = MIN(end, page_up(block + ARCH_THREAD_BLOCK_BYTES));
		most = MINI_STACK_MAX;
	} else if (map && map->kind == PROC_MAP_STACK) {
		most = MINI_STACK_MAX;
	}
	*ret_end = end - *ret_at > most ? *ret_at + most : end;
}

static int take_stack(struct mini *m, struct freeze *freeze, const struct freeze_thread *thread, bool late)
{
	struct user_regs_struct regs;
	const struct proc_map *map;
	uint64_t at, end, block;
	char why[128];
	int64_t n;

	if (!regs_of(m, freeze, thread, &regs))
		return 0;
	stack_of(m, &regs, &at, &end);
	if (late && end - at > LATE_STACK_BYTES) {
		end = at + LATE_STACK_BYTES;
		m->cut_threads++;
	}
	n = copy(m, at, end, 0);
	if (n < 0)
		return (int)n;
	map = proc_maps_find(m->maps, arch_sp(&regs));
	if (n == 0) {
		snprintf(why, sizeof(why), "thread %d: its stack pointer points nowhere", thread->tid);
		m->omit(m->omit_arg, arch_sp(&regs), arch_sp(&regs), "", why, false);
	} else if (map && !late && (end - at == MINI_STACK_MAX || end - at == CAPTURE_STACK_MAX) && end < map->end) {
		/* In a heap nobody knows where a stack ends: that the rest is left out is no loss then. */
		snprintf(why, sizeof(why), "thread %d: its stack may go on here", thread->tid);
		m->omit(m->omit_arg, end, map->end, proc_map_name(m->maps, map), why, end - at == MINI_STACK_MAX);
	}
	block = arch_thread_block(&regs);
	if (block && (block < at || block + BLOCK_BYTES > end)) {
		n = copy(m, block - MIN(block, (uint64_t)OBJECT_BYTES), block + BLOCK_BYTES, 0);
		if (n < 0)
			return (int)n;
	}
	return 0;
}

/* --- modules --- */

/* The first page of each ELF file, and its build id where that lies elsewhere. */
static int take_header(struct mini *m, const struct proc_map *map)
{
	union {
		uint8_t bytes[PAGE_BYTES];
		Elf64_Ehdr ehdr;
	} page;
	int64_t n;

	if (memory_get(&m->memory, map->start, &page, sizeof(page)) < 0 ||
	    memcmp(page.ehdr.e_ident, ELFMAG, SELFMAG) != 0 || page.ehdr.e_ident[EI_CLASS] != ELFCLASS64)
		return 0;
	n = copy_all(m, map->start, map->start + PAGE_BYTES, 0);
	for (size_t i = 0; i < MIN(page.ehdr.e_phnum, PHDRS_MAX) && n >= 0; i++) {
		uint64_t at = page.ehdr.e_phoff + i * sizeof(Elf64_Phdr), len = map->end - map->start;
		Elf64_Phdr phdr;

		if (at > len - sizeof(phdr) || memory_get(&m->memory, map->start + at, &phdr, sizeof(phdr)) < 0)
			break;
		if (phdr.p_type == PT_NOTE && phdr.p_filesz <= PAGE_BYTES && phdr.p_offset < len &&
		    phdr.p_offset + phdr.p_filesz > PAGE_BYTES)
			n = copy_all(m, map->start + phdr.p_offset, map->start + phdr.p_offset + phdr.p_filesz, 0);
	}
	return n < 0 ? (int)n : 0;
}

static bool readable_file(const struct proc_map *map)
{
	return map->inode && map->path && map->readable && !map->shared && !map->devices;
}

/* What no debugger finds elsewhere, and does not change: taken while the process runs. */
static int take_files(struct mini *m)
{
	uint64_t gone = 0, data = 0;
	size_t headers = 0;
	int r = 0;

	for (size_t i = 0; i < m->maps->count && r == 0; i++) {
		const struct proc_map *map = &m->maps->map[i];
		uint64_t len = map->end - map->start;

		if (map->kind == PROC_MAP_VDSO)
			r = (int)MIN(copy_all(m, map->start, map->end, 0), 0);
		if (!readable_file(map))
			continue;
		if (contents_deleted(map) && !map->writable) {
			if (gone + len <= GONE_BYTES) {
				gone += len;
				r = (int)MIN(copy_all(m, map->start, map->end, 0), 0);
				continue;
			}
			m->omit(m->omit_arg, map->start, map->end, proc_map_name(m->maps, map),
				"code of a file that is gone: more than 8 MiB of them", true);
		}
		if (map->offset == 0 && headers == MINI_LINKS_MAX)
			m->omit(m->omit_arg, map->start, map->end, proc_map_name(m->maps, map),
				"the header of this file and of later ones: more than 4096", true);
		if (map->offset == 0 && headers++ < MINI_LINKS_MAX)
			r = take_header(m, map);
	}
	/* From the highest down: there the dynamic loader lies, and the libraries loaded first. */
	m->data = calloc(DATA_ALL_BYTES / PAGE_BYTES, sizeof(const struct proc_map *));
	for (size_t i = m->maps->count; m->data && i-- && m->data_count < DATA_ALL_BYTES / PAGE_BYTES;) {
		const struct proc_map *map = &m->maps->map[i], *before = i ? &m->maps->map[i - 1] : map;
		uint64_t len = map->end - map->start;
		bool bss = !map->file && before->end == map->start && readable_file(before);

		if ((readable_file(map) || bss) && map->readable &&
		    (map->writable || (!bss && before->file == map->file && map->offset)) && !map->executable &&
		    len <= DATA_BYTES && data + len <= DATA_ALL_BYTES) {
			data += len;
			m->data[m->data_count++] = map;
		}
	}
	return m->data ? r : -ENOMEM;
}

/* The value of an entry of the auxiliary vector, 0: none. */
static uint64_t auxv_value(const struct mini *m, uint64_t type)
{
	Elf64_auxv_t entry;

	for (size_t at = 0; at + sizeof(entry) <= m->auxv_len; at += sizeof(entry)) {
		memcpy(&entry, m->auxv + at, sizeof(entry));
		if (entry.a_type == type)
			return entry.a_un.a_val;
	}
	return 0;
}

/* Where the dynamic section of the program lies; static programs have none. */
static void find_dynamic(struct mini *m)
{
	uint64_t at = auxv_value(m, AT_PHDR), count = MIN(auxv_value(m, AT_PHNUM), (uint64_t)PHDRS_MAX), bias = 0;
	Elf64_Phdr phdr;

	for (uint64_t i = 0; at && i < count; i++) {
		if (memory_get(&m->memory, at + i * sizeof(phdr), &phdr, sizeof(phdr)) < 0)
			break;
		if (phdr.p_type == PT_PHDR)
			bias = at - phdr.p_vaddr;
		if (phdr.p_type == PT_DYNAMIC) {
			m->dynamic = phdr.p_vaddr + bias;
			m->dynamic_len = MIN(phdr.p_memsz, (uint64_t)PAGE_BYTES * 4);
		}
	}
}

/* In the stop: only what is there. */
static bool peek(struct mini *m, uint64_t addr, void *buf, size_t len)
{
	uint64_t start, end, page = addr & PAGE_START, last = page_up(addr + len);

	return addr < ADDRESS_END - 2 * PAGE_BYTES && pages_next(&m->pages, PAGES_ANY, page, last, &start, &end) == 1 &&
	       start == page && end >= last && memory_get(&m->memory, addr, buf, len) == 0;
}

/* The address of r_debug; 0: none, or not yet known. */
static uint64_t find_debug(struct mini *m)
{
	Elf64_Dyn dyn;

	if (!m->dynamic || copy_near(m, m->dynamic, m->dynamic_len) < 0)
		return 0;
	for (uint64_t i = 0; i < m->dynamic_len / sizeof(dyn); i++) {
		if (!peek(m, m->dynamic + i * sizeof(dyn), &dyn, sizeof(dyn)) || dyn.d_tag == DT_NULL)
			return 0;
		if (dyn.d_tag == DT_DEBUG)
			return dyn.d_un.d_ptr;
	}
	return 0;
}

/* The list of modules as the dynamic loader keeps it for debuggers. */
static int take_links(struct mini *m)
{
	uint64_t debug = find_debug(m), at;
	struct r_debug head;
	struct link_map link;
	unsigned int count = 0;
	int r;

	if (!debug || !peek(m, debug, &head, sizeof(head)))
		return 0;
	r = copy_near(m, debug, 2 * sizeof(head));
	for (at = (uintptr_t)head.r_map; at && r == 0; at = (uintptr_t)link.l_next) {
		if (count++ == MINI_LINKS_MAX || m->seen_count >= SEEN_MAX) {
			m->omit(m->omit_arg, at, at, "", "the list of modules goes on, and is not followed further",
				true);
			break;
		}
		if (!peek(m, at, &link, sizeof(link)))
			break;
		r = copy_near(m, at, LINK_BYTES);
		if (r == 0)
			r = copy_near(m, (uintptr_t)link.l_name, OBJECT_BYTES);
		if (r == 0)
			r = copy_near(m, (uintptr_t)link.l_ld, 64 * sizeof(Elf64_Dyn));
	}
	return r;
}

static int take_modules(struct mini *m)
{
	int r = take_links(m);

	for (size_t i = 0; i < m->data_count && r == 0; i++)
		r = (int)MIN(copy(m, m->data[i]->start, m->data[i]->end, 0), 0);
	return r;
}

/* --- references --- */

/* Memory that a pointer may be followed into: not the text and constants of files, which
 * are on disk; nothing that may be a device. */
static bool followed(const struct mini *m, const struct proc_map *map)
{
	const char *why;

	if (!map->readable || map->device || (map->dontdump && !m->everything) ||
	    contents_of(map, FILTER_DEFAULT, true, false, &why) == CONTENTS_SKIP)
		return false;
	return !map->inode || map->memory || (map->path && map->writable && !map->devices);
}

struct follow {
	size_t sure;	  /* runs that are settled */
	uint64_t at, end; /* the thread's own stack */
};

static int follow_page(struct mini *m, const struct follow *f, uint64_t page)
{
	const struct proc_map *map = m->last;
	bool full = false;
	size_t i;
	int64_t n;

	if (!map || page < map->start || page >= map->end)
		map = proc_maps_find(m->maps, page);
	if (!map)
		return 0;
	m->last = map;
	if (!followed(m, map) || (!first_sight(m, page, &full) && !full))
		return 0;
	i = run_after(m, f->sure, page);
	if (i < f->sure && m->run[i].start <= page)
		return 0;
	if (full || m->refs_bytes >= m->refs_max) {
		m->left[map - m->maps->map]++;
		return 0;
	}
	n = copy(m, page, page + PAGE_BYTES, OFF_REF);
	m->refs_bytes += (uint64_t)MAX(n, 0);
	return (int)MIN(n, 0);
}

static int follow_words(struct mini *m, const struct follow *f, const uint64_t *word, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		uint64_t addr = word[i], page = addr & PAGE_START;

		if (addr < 16 * PAGE_BYTES || addr >= ADDRESS_END || (addr >= f->at && addr < f->end))
			continue;
		r = follow_page(m, f, page);
		if (r == 0 && addr + OBJECT_BYTES > page + PAGE_BYTES)
			r = follow_page(m, f, page + PAGE_BYTES);
	}
	return r;
}

static int follow_thread(struct mini *m, struct freeze *freeze, const struct freeze_thread *thread, size_t sure)
{
	struct follow f = { .sure = sure };
	struct user_regs_struct regs;
	uint64_t block[BLOCK_WORDS], at;
	int r;

	if (!regs_of(m, freeze, thread, &regs))
		return 0;
	if (now_ns() >= m->refs_until_ns) {
		m->late_threads++;
		return 0;
	}
	stack_of(m, &regs, &f.at, &f.end);
	r = follow_words(m, &f, (const uint64_t *)&regs, sizeof(regs) / sizeof(uint64_t));
	if (r == 0 && arch_thread_block(&regs) && peek(m, arch_thread_block(&regs), block, sizeof(block)))
		r = follow_words(m, &f, block, BLOCK_WORDS);
	at = (arch_sp(&regs) - MIN(arch_sp(&regs), (uint64_t)ARCH_RED_ZONE)) & ~7ull;
	for (at = MAX(at, f.at); at < f.end && r == 0;) {
		size_t n = read_runs(m, sure, at, m->words, (size_t)MIN(f.end - at, (uint64_t)CHUNK_BYTES));

		if (n < sizeof(*m->words)) { /* absent: the next page may be there */
			at = (at & PAGE_START) + PAGE_BYTES;
			continue;
		}
		r = follow_words(m, &f, m->words, n / sizeof(*m->words));
		at += n & ~7ull;
	}
	return r;
}

/* The thread of the request may use half of the room; what one thread leaves, the
 * later ones share. */
static int take_references(struct mini *m, struct freeze *freeze)
{
	uint64_t taken = m->quick.len + m->more.len + freeze->count * NOTES_THREAD_BYTES;
	uint64_t room = MAX(MINI_AIM_BYTES - MIN(taken, (uint64_t)MINI_AIM_BYTES), (uint64_t)MINI_LEAST_BYTES);
	const struct freeze_thread *holder = freeze_find(freeze, m->holder_tid);
	size_t sure = m->count, left = freeze->count - (holder != NULL);
	int r = 0;

	if (holder) {
		m->refs_max = room / 2;
		r = follow_thread(m, freeze, holder, sure);
	}
	for (size_t i = 0; i < freeze->count && r == 0; i++) {
		if (&freeze->thread[i] == holder)
			continue;
		m->refs_max = m->refs_bytes + (room - MIN(room, m->refs_bytes)) / left--;
		r = follow_thread(m, freeze, &freeze->thread[i], sure);
	}
	return r;
}

/* --- from outside --- */

static uint64_t memory_for_more(void)
{
	CLEAN(free) char *text = NULL;
	const char *p;

	if (proc_file(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0 || !(p = strstr(text, "\nMemAvailable:")))
		return MORE_BYTES;
	return MIN(MORE_BYTES, (strtoull(p + strlen("\nMemAvailable:"), NULL, 10) << 10) / 4);
}

int mini_open(struct mini *m, size_t threads, struct err *err)
{
	int r;

	m->more.fd = -1;
	m->more_max = memory_for_more();
	r = spool_open(&m->quick, -1);
	m->cap = 4096 + 4 * threads;
	m->run = calloc(m->cap, sizeof(*m->run));
	m->seen = calloc(SEEN_SLOTS, sizeof(*m->seen));
	m->left = calloc(m->maps->count + 1, sizeof(*m->left));
	m->chunk = calloc(1, CHUNK_BYTES);
	m->words = calloc(1, CHUNK_BYTES);
	if (r == 0 && (!m->run || !m->seen || !m->left || !m->chunk || !m->words))
		r = -ENOMEM;
	if (r == 0 && m->proc_dir_fd >= 0 && proc_file(m->proc_dir_fd, "auxv", 65536, &m->auxv, &m->auxv_len) < 0)
		m->auxv_len = 0;
	if (r == 0) { /* now, not in the stop */
		memset(m->run, 0xff, m->cap * sizeof(*m->run));
		memset(m->chunk, 0xff, CHUNK_BYTES);
		memset(m->words, 0xff, CHUNK_BYTES);
		memset(m->seen, 0, SEEN_SLOTS * sizeof(*m->seen));
		spool_reserve(&m->quick, QUICK_BYTES);
	}
	if (r == 0) {
		find_dynamic(m);
		r = take_files(m);
	}
	return r < 0 ? err_sys(err, r, "cannot prepare a mini core") : 0;
}

void mini_close(struct mini *m)
{
	spool_close(&m->quick);
	spool_close(&m->more);
	free(m->run);
	free(m->seen);
	free(m->left);
	free(m->chunk);
	free(m->words);
	free(m->auxv);
	free(m->data);
	m->run = NULL;
	m->seen = NULL;
	m->left = NULL;
	m->chunk = NULL;
	m->words = NULL;
	m->auxv = NULL;
	m->data = NULL;
	m->count = m->seen_count = m->data_count = 0;
}

int mini_take(struct mini *m, struct freeze *freeze, uint64_t refs_until_ns, uint64_t stacks_until_ns, struct err *err)
{
	const struct freeze_thread *holder = freeze_find(freeze, m->holder_tid);
	int r = holder ? take_stack(m, freeze, holder, false) : 0;

	m->refs_until_ns = refs_until_ns;
	for (size_t i = 0; i < freeze->count && r == 0; i++) {
		bool late = m->more.len >= m->more_max || (stacks_until_ns && now_ns() >= stacks_until_ns);

		if (&freeze->thread[i] != holder)
			r = take_stack(m, freeze, &freeze->thread[i], late);
	}
	if (r == 0)
		r = take_modules(m);
	if (r == 0) {
		settle(m);
		r = take_references(m, freeze);
	}
	settle(m);
	return r < 0 ? err_sys(err, r, "cannot copy the stacks of process %d", freeze->proc->pid) : 0;
}
