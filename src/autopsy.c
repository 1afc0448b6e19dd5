// SPDX-License-Identifier: MIT
/* A core plays the stopped process: its notes are the registers, its headers and its list
 * of files the memory map, its segments the memory. Rejected: a memory file laid out by
 * address (all of the core in our memory), an analyst that reads the core itself (it would
 * need zstd and the disk in its sandbox). Traps: a core has no map: what of it is a file's
 * is told by another note, whose rows may lie across the segments or outside of them; the
 * build of a file here is often another one, and its symbols would lie. */
#include "autopsy.h"

#include "analyst.h"
#include "arch.h"
#include "buf.h"
#include "ktime.h"
#include "modules.h"
#include "parcel.h"
#include "triage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>

#define MAPS_TEXT_MAX (64u << 20)
#define FILES_NAMED 8 /* that are missing, in the notes */
#define CHUNK_BYTES (1u << 20)
#define UNTOLD (1u << 31) /* flags of a mapping that no segment tells of */

struct row {
	uint64_t start, end, offset;
	uint32_t flags;
	uint32_t file; /* 1 + index; 0: none */
};

struct file {
	char *name;
	uint64_t image; /* where its first page lies; 0: not known */
	bool code;	/* some of it is executable */
	int fd;		/* -1: it is not open */
};

struct body {
	struct corefile *core;
	struct memory memory; /* of the core alone */
	const struct autopsy_spec *spec;
	struct autopsy_facts *facts;
	struct corefile_note files, auxv, process;
	struct corefile_note *thread;
	size_t thread_count, threads_more;
	struct row *segment, *mapped; /* by the headers; by the list of files */
	size_t segment_count, mapped_count, rows_more;
	struct file *file;
	size_t file_count;
	struct row *row; /* the two together, by address */
	size_t row_count;
	uint64_t entry, vdso;
	struct buf text; /* as /proc/PID/maps */
	struct proc_maps maps;
	size_t stacks_bare; /* threads whose stack is not in the core */
	struct buf gone;    /* names of files */
	size_t gone_count;
};

/* --- what the core says --- */

static int keep_note(void *arg, const struct corefile_note *note)
{
	struct body *b = arg;
	struct corefile_note *at;

	if (strcmp(note->name, "CORE") != 0)
		return 0;
	if (note->type == NT_AUXV)
		b->auxv = *note;
	else if (note->type == NT_FILE)
		b->files = *note;
	else if (note->type == NT_PRPSINFO)
		b->process = *note;
	if (note->type != NT_PRSTATUS || note->size < sizeof(struct elf_prstatus))
		return 0;
	if (b->thread_count == AUTOPSY_THREADS_MAX) {
		b->threads_more++;
		return 0;
	}
	at = list_add(&b->thread, &b->thread_count, sizeof(*at));
	if (!at)
		return -ENOMEM;
	*at = *note;
	return 0;
}

static struct row *add_row(struct body *b, struct row **list, size_t *count)
{
	if (*count < AUTOPSY_ROWS_MAX)
		return list_add(list, count, sizeof(struct row));
	b->rows_more++;
	return NULL;
}

static int read_segments(struct body *b)
{
	for (size_t i = 0; i < corefile_count(b->core); i++) {
		struct row *row;
		Elf64_Phdr p;

		if (corefile_phdr(b->core, i, &p) < 0 || p.p_type != PT_LOAD || !p.p_memsz ||
		    p.p_memsz > UINT64_MAX - p.p_vaddr)
			continue;
		row = add_row(b, &b->segment, &b->segment_count);
		if (!row && b->rows_more)
			break;
		if (!row)
			return -ENOMEM;
		*row = (struct row){ .start = p.p_vaddr, .end = p.p_vaddr + p.p_memsz, .flags = p.p_flags };
	}
	return 0;
}

static uint32_t file_of(struct body *b, const char *name)
{
	struct file *file;

	/* the rows of a file lie together, but need not */
	for (size_t i = b->file_count; i > 0; i--) {
		if (!strcmp(b->file[i - 1].name, name))
			return (uint32_t)i;
		if (b->file_count - i > 256) /* a list that is made to be slow */
			break;
	}
	file = list_add(&b->file, &b->file_count, sizeof(*file));
	if (!file)
		return 0;
	*file = (struct file){ .name = strdup(name), .fd = -1 };
	if (!file->name)
		b->file_count--;
	return file->name ? (uint32_t)b->file_count : 0;
}

static int keep_module(void *arg, const struct module *module)
{
	struct body *b = arg;
	struct row *row;

	if (module->end <= module->start)
		return 0;
	row = add_row(b, &b->mapped, &b->mapped_count);
	if (!row)
		return b->rows_more ? 0 : -ENOMEM;
	*row = (struct row){ .start = module->start, .end = module->end, .offset = module->offset };
	row->file = file_of(b, module->name);
	if (row->file && !module->offset && !b->file[row->file - 1].image)
		b->file[row->file - 1].image = module->start;
	return row->file ? 0 : -ENOMEM;
}

static int by_start(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int put_row(struct body *b, uint64_t start, uint64_t end, const struct row *segment, const struct row *mapped)
{
	struct row *row = start < end ? list_add(&b->row, &b->row_count, sizeof(*row)) : NULL;

	if (start >= end)
		return 0;
	if (!row)
		return -ENOMEM;
	*row = (struct row){ .start = start, .end = end, .flags = segment ? segment->flags : UNTOLD };
	if (mapped) {
		row->file = mapped->file;
		row->offset = mapped->offset + (start - mapped->start);
		b->file[row->file - 1].code |= (row->flags & PF_X) != 0;
	}
	return 0;
}

/* Two lists of ranges into one, that has no overlaps. */
static int merge_rows(struct body *b)
{
	uint64_t at = 0;
	size_t s = 0, m = 0;
	int r = 0;

	if (b->segment_count)
		qsort(b->segment, b->segment_count, sizeof(*b->segment), by_start);
	if (b->mapped_count)
		qsort(b->mapped, b->mapped_count, sizeof(*b->mapped), by_start);
	while (r == 0 && (s < b->segment_count || m < b->mapped_count)) {
		const struct row *seg = s < b->segment_count ? &b->segment[s] : NULL;
		const struct row *map = m < b->mapped_count ? &b->mapped[m] : NULL;
		uint64_t seg_start = seg ? MAX(seg->start, at) : UINT64_MAX, seg_end = seg ? seg->end : UINT64_MAX;
		uint64_t map_start = map ? MAX(map->start, at) : UINT64_MAX, map_end = map ? map->end : UINT64_MAX;
		uint64_t from = MIN(seg_start, map_start), to;

		if ((seg && seg_end <= at) || (map && map_end <= at)) {
			s += seg && seg_end <= at;
			m += map && map_end <= at;
			continue;
		}
		to = MIN(seg_start == from ? seg_end : seg_start, map_start == from ? map_end : map_start);
		r = put_row(b, from, to, seg_start == from ? seg : NULL, map_start == from ? map : NULL);
		at = to;
	}
	return r;
}

/* What was left out by who wrote the core is code, if the file has none elsewhere. */
static void guess_code(struct body *b)
{
	for (size_t i = 0; i < b->row_count; i++) {
		struct row *row = &b->row[i];

		if (row->flags == UNTOLD)
			row->flags = PF_R | (row->file && b->file[row->file - 1].code ? 0 : PF_X);
	}
	for (size_t i = 0; i < b->row_count; i++) {
		if (b->row[i].file && b->row[i].flags & PF_X)
			b->file[b->row[i].file - 1].code = true;
	}
}

static void read_process(struct body *b)
{
	struct elf_prpsinfo info = { .pr_pid = 0 };
	struct buf name;

	if (!b->process.offset || corefile_read(b->core, b->process.offset, &info, sizeof(info)) != sizeof(info))
		return;
	b->facts->pid = info.pr_pid;
	buf_init(&name, sizeof(b->facts->process));
	buf_add_escaped(&name, info.pr_fname, strnlen(info.pr_fname, sizeof(info.pr_fname)));
	if (name.data)
		snprintf(b->facts->process, sizeof(b->facts->process), "%s", name.data);
	buf_done(&name);
}

/* Our own kernel's is the one that can be read. */
static bool same_vdso(const struct body *b)
{
	const Elf64_Ehdr *ours = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	size_t len = ours ? ours->e_shoff + (size_t)ours->e_shnum * ours->e_shentsize : 0;
	CLEAN(free) uint8_t *theirs = b->vdso && len && len < 65536 ? malloc(len) : NULL;

	return theirs && memory_get(&b->memory, b->vdso, theirs, len) == 0 && !memcmp(theirs, ours, len);
}

static int write_maps(struct body *b)
{
	bool vdso = same_vdso(b);

	buf_init(&b->text, MAPS_TEXT_MAX);
	for (size_t i = 0; i < b->row_count; i++) {
		const struct row *row = &b->row[i];
		const char *name = row->file ? b->file[row->file - 1].name : "";

		if (vdso && b->vdso == row->start)
			name = "[vdso]";
		buf_addf(&b->text, "%llx-%llx %c%c%cp %08llx 00:%02x %u ", (unsigned long long)row->start,
			 (unsigned long long)row->end, row->flags & PF_R ? 'r' : '-', row->flags & PF_W ? 'w' : '-',
			 row->flags & PF_X ? 'x' : '-', (unsigned long long)row->offset, row->file ? 1 : 0, row->file);
		for (; *name; name++)
			buf_addf(&b->text, *name == '\n' ? "\\012" : "%c", *name);
		buf_adds(&b->text, "\n");
	}
	return b->text.full ? -ENOMEM : proc_maps_parse(b->text.data ? b->text.data : "", b->text.len, &b->maps);
}

static int look(struct body *b, struct err *err)
{
	int r = corefile_notes(b->core, keep_note, b, NULL); /* damage: what there is */

	if (r == -ENOMEM)
		return err_sys(err, r, "cannot read the file");
	if (!b->thread_count)
		return err_say(err, -EINVAL, "the file has no thread's registers");
	read_process(b);
	b->entry = b->auxv.offset ? auxv_get(b->core, &b->auxv, AT_ENTRY) : 0;
	b->vdso = b->auxv.offset ? auxv_get(b->core, &b->auxv, AT_SYSINFO_EHDR) : 0;
	r = read_segments(b);
	if (r == 0 && b->files.offset && modules_each(b->core, &b->files, keep_module, b, NULL) == -ENOMEM)
		r = -ENOMEM;
	if (r == 0)
		r = merge_rows(b);
	if (r == 0) {
		guess_code(b);
		r = write_maps(b);
	}
	return r < 0 ? err_sys(err, r, "cannot read the file") : 0;
}

/* --- to the analyst --- */

static bool is_program(const struct body *b, uint32_t index)
{
	for (size_t i = 0; i < b->mapped_count; i++) {
		const struct row *row = &b->mapped[i];

		if (row->file == index && b->entry >= row->start && b->entry < row->end)
			return true;
	}
	return false;
}

static const struct row *find_row(const struct body *b, uint64_t addr)
{
	size_t low = 0, high = b->row_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (b->row[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < b->row_count && b->row[low].start <= addr ? &b->row[low] : NULL;
}

/* What nobody changed of a file is in that file, not in the core. */
static ssize_t read_all(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct body *b = arg;
	ssize_t n = b->memory.read(b->memory.arg, addr, buf, len);
	const struct row *row = n > 0 ? NULL : find_row(b, addr);
	int fd = row && row->file ? b->file[row->file - 1].fd : -1;

	if (fd < 0)
		return n;
	n = pread(fd, buf, (size_t)MIN((uint64_t)len, row->end - addr), (off_t)(row->offset + (addr - row->start)));
	return MAX(n, (ssize_t)0);
}

/* -1: it is not here, or is another build. */
static int open_file(struct body *b, uint32_t index)
{
	const struct file *file = &b->file[index - 1];
	const char *exe = b->spec->exe && is_program(b, index) ? b->spec->exe : NULL;
	const char *root = b->spec->sysroot && !exe ? b->spec->sysroot : "";
	char path[PATH_MAX], *full = NULL;
	enum module_here here;
	int fd = -1;

	if (snprintf(path, sizeof(path), "%s%s", root, exe ? exe : file->name) < (int)sizeof(path))
		full = *path == '/' ? strdup(path) : realpath(path, NULL);
	here = full ? module_here(b->core, full, file->image) : MODULE_GONE;
	if (here == MODULE_SAME || here == MODULE_UNKNOWN)
		fd = open(full, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	free(full);
	if (fd >= 0)
		return fd;
	if (b->gone_count++ < FILES_NAMED) {
		buf_addf(&b->gone, "%s", b->gone.len ? ", " : "");
		buf_add_escaped(&b->gone, file->name, strlen(file->name));
		buf_adds(&b->gone, here == MODULE_OTHER ? " (another build)" : "");
	}
	return -1;
}

static int memory_file(const char *name, const void *data, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && len && write(fd, data, len) != (ssize_t)len) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int send_prepare(struct body *b, int sock)
{
	struct analyst_message msg = { .type = ANALYST_PREPARE, .pid = b->facts->pid };
	int fds[ANALYST_FILES_MAX + 2], r = 0;
	size_t count = 0;

	fds[count++] = memory_file("nothing", "", 0);
	fds[count++] = memory_file("maps", b->text.data, b->text.len);
	if (fds[0] < 0 || fds[1] < 0)
		r = -ENOMEM;
	for (uint32_t i = 0; i <= b->file_count && r == 0; i++) {
		bool last = i == b->file_count;
		int fd = !last && b->file[i].code ? open_file(b, i + 1) : -1;

		if (fd >= 0) {
			msg.file[msg.file_count++] = (struct analyst_file){ .dev_minor = 1, .inode = i + 1 };
			fds[count++] = fd;
			b->file[i].fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		}
		if (!last && msg.file_count < ANALYST_FILES_MAX)
			continue;
		msg.more = !last;
		r = parcel_send(sock, &msg, sizeof(msg), fds, count, 0);
		while (count)
			close(fds[--count]);
		msg.file_count = 0;
	}
	while (count)
		close(fds[--count]);
	return r;
}

static int fill_thread(struct body *b, size_t n, int fd, uint64_t off, uint32_t *cut, struct capture_thread *row)
{
	struct memory all = { .read = read_all, .arg = b };
	struct user_regs_struct regs;
	struct elf_prstatus status;
	int r;

	if (corefile_read(b->core, b->thread[n].offset, &status, sizeof(status)) != (ssize_t)sizeof(status))
		return -EBADMSG;
	_Static_assert(sizeof(status.pr_reg) == sizeof(regs) && sizeof(row->reg) == sizeof(regs), "registers");
	memcpy(&regs, &status.pr_reg, sizeof(regs));
	*row = (struct capture_thread){ .tid = status.pr_pid, .ns_tid = status.pr_pid, .state = '?', .stopped = 1 };
	memcpy(row->reg, &regs, sizeof(regs));
	if (status.pr_pid == b->facts->pid)
		snprintf(row->comm, sizeof(row->comm), "%.15s", b->facts->process);
	row->syscall_nr = arch_syscall(&regs, &all, "", row->arg);
	/* In no call, and no signal ended it: it was on a CPU, or about to be. */
	if (row->syscall_nr < 0 && !status.pr_cursig)
		row->state = 'R';
	if (n == 0) {
		b->facts->tid = status.pr_pid;
		b->facts->signal = status.pr_cursig;
	}
	r = triage_stack(fd, &b->maps, &b->memory, &regs, off, row, cut);
	b->stacks_bare += r == 0 && !row->stack_len;
	return r;
}

static int put(int fd, const void *data, size_t len, uint64_t off)
{
	return pwrite(fd, data, len, (off_t)off) == (ssize_t)len ? 0 : -EIO;
}

static int write_capture(struct body *b, int fd)
{
	struct capture_head head = {
		.magic = CAPTURE_MAGIC,
		.size = sizeof(head),
		.pid = b->facts->pid,
		.thread_count = (uint32_t)b->thread_count,
	};
	uint64_t off = sizeof(head) + b->thread_count * sizeof(struct capture_thread);
	int r = 0;

	for (size_t i = 0; i < b->thread_count && r == 0; i++) {
		struct capture_thread row;

		r = fill_thread(b, i, fd, off, &head.stack_bytes_cut, &row);
		if (r == 0)
			r = put(fd, &row, sizeof(row), sizeof(head) + i * sizeof(row));
		off += r == 0 ? row.stack_len : 0;
	}
	head.maps_off = head.total_len = off;
	if (r == 0 && ftruncate(fd, (off_t)off) < 0)
		r = -errno;
	return r < 0 ? r : put(fd, &head, sizeof(head), 0);
}

/* Until it has what it needs, or is gone. */
static void serve(struct body *b, int sock)
{
	struct analyst_message msg;
	struct analyst_page page;
	size_t none;

	while (parcel_receive(sock, &msg, sizeof(msg), NULL, 0, &none) == (ssize_t)sizeof(msg) &&
	       msg.type != ANALYST_MEMORY_DONE) {
		ssize_t n;

		if (msg.type != ANALYST_READ)
			continue; /* it is prepared */
		memset(&page, 0, sizeof(page));
		page.addr = msg.addr;
		n = read_all(b, msg.addr, page.data, sizeof(page.data));
		page.len = n > 0 ? (uint64_t)n : 0;
		if (parcel_send(sock, &page, sizeof(page), NULL, 0, 0) < 0)
			break;
	}
}

static int brief(struct body *b, int sock)
{
	struct analyst_message go = {
		.type = ANALYST_GO, .pid = b->facts->pid, .served = 1, .arguments = b->spec->arguments
	};
	CLEAN(fd) int capture = memory_file("capture", "", 0);
	int r = capture < 0 ? -ENOMEM : send_prepare(b, sock);

	if (r == 0)
		r = write_capture(b, capture);
	if (r == 0)
		r = parcel_send(sock, &go, sizeof(go), &capture, 1, 0);
	if (r == 0)
		serve(b, sock);
	return r;
}

static void name_program(struct body *b)
{
	for (uint32_t i = 0; i < b->file_count; i++) {
		struct buf name;

		if (!is_program(b, i + 1))
			continue;
		buf_init(&name, sizeof(b->facts->program));
		buf_add_escaped(&name, b->file[i].name, strlen(b->file[i].name));
		snprintf(b->facts->program, sizeof(b->facts->program), "%s", name.data ? name.data : "");
		buf_done(&name);
	}
}

static void PRINTF(2, 3) note(struct analysis *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strings_add(&a->note, text);
}

static void add_notes(const struct body *b, struct analysis *a)
{
	note(a, "a core says nothing of what stood around the process: what its descriptors are and who has their "
		"other ends, locks on files, its pool of workers, its host, the CPU of each thread");
	if (b->gone_count)
		note(a, "%zu of the files it had mapped are not here, so their frames have no names: %s%s",
		     b->gone_count, b->gone.data ? b->gone.data : "", b->gone_count > FILES_NAMED ? ", ..." : "");
	if (!b->files.offset)
		note(a, "the core does not say which files it had mapped");
	if (b->stacks_bare)
		note(a, "the stacks of %zu threads are not in the core", b->stacks_bare);
	if (b->threads_more)
		note(a, "%zu more threads are not looked at", b->threads_more);
	if (b->rows_more)
		note(a, "%zu more mappings are not looked at", b->rows_more);
}

static int analyse(struct body *b, struct analysis *ret, struct err *err)
{
	struct analyst *analyst;
	int sock, r = analyst_start(&sock, &analyst, err);

	if (r < 0)
		return r;
	r = brief(b, sock);
	close(sock);
	if (r < 0)
		analyst_cancel(analyst, "the core cannot be handed over");
	analyst_read(analyst, true, ret);
	if (r < 0)
		return err_sys(err, r, "cannot read the stacks in the file");
	if (ret->failed)
		return err_say(err, -EIO, "cannot read the stacks in the file: %s", ret->failed);
	name_program(b);
	add_notes(b, ret);
	return 0;
}

/* --- memory --- */

/* Pages that hold something: what an absent page and one of zeros are is told by no core. */
static uint64_t count_bytes(const struct body *b, const struct row *row, uint8_t *chunk)
{
	uint64_t bytes = 0;

	for (uint64_t at = row->start; at < row->end;) {
		size_t want = (size_t)MIN(row->end - at, (uint64_t)CHUNK_BYTES);
		ssize_t n = b->memory.read(b->memory.arg, at, chunk, want);

		if (n <= 0)
			break;
		for (size_t i = 0; i < (size_t)n; i += ANALYST_PAGE_BYTES) {
			size_t len = MIN((size_t)n - i, (size_t)ANALYST_PAGE_BYTES);

			bytes += all_zeros(chunk + i, len) ? 0 : len;
		}
		at += (uint64_t)n;
	}
	return bytes;
}

static int by_name(const void *a, const void *b)
{
	const struct moment_name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Rows of one name to one row. */
static void join_names(struct moment *m)
{
	size_t n = 0;

	if (m->named_count)
		qsort(m->named, m->named_count, sizeof(*m->named), by_name);
	for (size_t i = 0; i < m->named_count; i++) {
		if (n && !strcmp(m->named[n - 1].name, m->named[i].name)) {
			m->named[n - 1].bytes += m->named[i].bytes;
			m->named[n - 1].mappings += m->named[i].mappings;
			free(m->named[i].name);
		} else {
			m->named[n++] = m->named[i];
		}
	}
	m->named_count = n;
}

static int add_mapping(struct body *b, struct moment *m, const struct row *row, uint64_t bytes)
{
	struct moment_mapping *map;
	struct moment_name *name;

	m->bytes += bytes;
	if (!row->file) {
		map = list_add(&m->anon, &m->anon_count, sizeof(*map));
		if (map)
			*map = (struct moment_mapping){ .start = row->start, .end = row->end, .bytes = bytes };
		return map ? 0 : -ENOMEM;
	}
	name = list_add(&m->named, &m->named_count, sizeof(*name));
	if (!name)
		return -ENOMEM;
	*name = (struct moment_name){ .name = strdup(b->file[row->file - 1].name), .bytes = bytes, .mappings = 1 };
	if (!name->name)
		m->named_count--;
	return name->name ? 0 : -ENOMEM;
}

static int read_moment(struct body *b, uint64_t at_ns, struct moment *ret, struct err *err)
{
	CLEAN(free) uint8_t *chunk = malloc(CHUNK_BYTES);
	struct moment m = { .at_ns = at_ns, .parts = MOMENT_MEMORY };
	int r = chunk ? 0 : -ENOMEM;

	for (size_t i = 0; i < b->row_count && r == 0; i++) {
		uint64_t bytes = b->row[i].flags & PF_W ? count_bytes(b, &b->row[i], chunk) : 0;

		r = bytes ? add_mapping(b, &m, &b->row[i], bytes) : 0;
	}
	join_names(&m);
	if (r < 0) {
		moment_done(&m);
		return err_sys(err, r, "cannot read the memory in the file");
	}
	*ret = m;
	return 0;
}

/* --- */

static void done(struct body *b)
{
	for (size_t i = 0; i < b->file_count; i++) {
		free(b->file[i].name);
		if (b->file[i].fd >= 0)
			close(b->file[i].fd);
	}
	free(b->file);
	free(b->thread);
	free(b->segment);
	free(b->mapped);
	free(b->row);
	buf_done(&b->text);
	buf_done(&b->gone);
	proc_maps_free(&b->maps);
	corefile_close(b->core);
}

int autopsy(int fd, const struct autopsy_spec *spec, struct autopsy_facts *ret_facts, struct analysis *ret_analysis,
	    struct moment *ret_moment, struct err *err)
{
	struct body b = { .spec = spec, .facts = ret_facts };
	struct stat st = { .st_size = 0 };
	int r = corefile_open(fd, &b.core, err);

	*ret_facts = (struct autopsy_facts){ .pid = 0 };
	if (r < 0)
		return r;
	b.memory = corefile_memory(b.core);
	buf_init(&b.gone, 4096);
	r = look(&b, err);
	ret_facts->threads = b.thread_count;
	if (r == 0)
		r = analyse(&b, ret_analysis, err);
	fstat(fd, &st);
	if (r == 0 && spec->memory)
		r = read_moment(&b, (uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec,
				ret_moment, err);
	done(&b);
	return r;
}
