// SPDX-License-Identifier: MIT
/* Headers are read again whenever they are asked for, in blocks; what is kept of them is
 * the address of every n-th, so that a look-up needs one block. Rejected: a table of all
 * (a million mappings are 32 MiB), mapping the file (it may be compressed, and one cut
 * off while we read is a SIGBUS). Trap: sums of hostile numbers overflow. */
#include "corefile.h"

#include <string.h>

#define STARTS_KEPT (1u << 16)
#define BLOCK_HEADERS 512
#define NOTES_AHEAD (64u << 10)

struct corefile {
	struct seek *seek;
	uint64_t size;
	Elf64_Ehdr header;
	uint64_t declared;
	size_t count;
	Elf64_Phdr block[BLOCK_HEADERS];
	size_t first, held; /* of the block */
	uint64_t *starts;   /* of the first segment at or after each stride-th header */
	size_t stride;
	struct corefile_segment last; /* found */
};

static int read_header(struct corefile *core, struct err *err)
{
	Elf64_Ehdr *h = &core->header;
	ssize_t n = seek_read(core->seek, 0, h, sizeof(*h), err);

	if (n < 0)
		return (int)n;
	if (n < EI_NIDENT || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
		return err_say(err, -EINVAL, "the file is not a core: it does not begin as ELF files do");
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_say(err, -EINVAL, "the file is of a 32-bit or big-endian program, which is not supported");
	if (n < (ssize_t)sizeof(*h))
		return err_say(err, -EINVAL, "the file is not a core: it ends within its header");
	if (h->e_type != ET_CORE)
		return err_say(err, -EINVAL, "the file is not a core but %s",
			       h->e_type == ET_REL ? "an object file" : "a program or library");
	return 0;
}

/* How many headers there should be, and how many there are. */
static void count_headers(struct corefile *core)
{
	const Elf64_Ehdr *h = &core->header;
	Elf64_Shdr many = { 0 };

	core->declared = h->e_phnum;
	if (h->e_phnum == PN_XNUM) {
		core->declared = 0;
		if (seek_read(core->seek, h->e_shoff, &many, sizeof(many), NULL) == (ssize_t)sizeof(many))
			core->declared = many.sh_info;
	}
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff >= core->size)
		return;
	core->count = (size_t)MIN(core->declared, (core->size - h->e_phoff) / sizeof(Elf64_Phdr));
	core->count = MIN(core->count, (size_t)COREFILE_SEGMENTS_MAX);
}

int corefile_phdr(struct corefile *core, size_t n, Elf64_Phdr *ret_phdr)
{
	ssize_t got;

	if (n >= core->count)
		return -EBADMSG;
	if (n < core->first || n - core->first >= core->held) {
		size_t first = n - n % BLOCK_HEADERS, want = MIN(core->count - first, (size_t)BLOCK_HEADERS);

		core->held = 0;
		got = seek_read(core->seek, core->header.e_phoff + first * sizeof(Elf64_Phdr), core->block,
				want * sizeof(Elf64_Phdr), NULL);
		if (got < 0 || (size_t)got / sizeof(Elf64_Phdr) <= n - first)
			return -EBADMSG;
		core->first = first;
		core->held = (size_t)got / sizeof(Elf64_Phdr);
	}
	*ret_phdr = core->block[n - core->first];
	return 0;
}

static bool segment_of(const struct corefile *core, const Elf64_Phdr *phdr, struct corefile_segment *ret)
{
	uint64_t size = MIN(phdr->p_memsz, UINT64_MAX - phdr->p_vaddr);
	uint64_t data = phdr->p_offset < core->size ? MIN(phdr->p_filesz, core->size - phdr->p_offset) : 0;

	if (phdr->p_type != PT_LOAD || !size)
		return false;
	*ret = (struct corefile_segment){ .start = phdr->p_vaddr,
					  .end = phdr->p_vaddr + size,
					  .data_end = phdr->p_vaddr + MIN(data, size),
					  .offset = phdr->p_offset };
	return true;
}

static int keep_starts(struct corefile *core)
{
	size_t n = 0, count;
	Elf64_Phdr phdr;

	core->stride = core->count / STARTS_KEPT + 1;
	count = core->count / core->stride + 1;
	core->starts = calloc(count, sizeof(*core->starts));
	if (!core->starts)
		return -ENOMEM;
	for (size_t i = 0; i < core->count; i++) {
		struct corefile_segment segment;

		if (corefile_phdr(core, i, &phdr) < 0) {
			core->count = i;
			break;
		}
		for (; segment_of(core, &phdr, &segment) && n <= i / core->stride; n++)
			core->starts[n] = segment.start;
	}
	while (n < count)
		core->starts[n++] = UINT64_MAX;
	return 0;
}

int corefile_open(int fd, struct corefile **ret_core, struct err *err)
{
	struct corefile *core = calloc(1, sizeof(*core));
	int r;

	if (!core)
		return err_sys(err, -ENOMEM, "cannot read the file");
	r = seek_open(fd, &core->seek, err);
	if (r == 0) {
		core->size = seek_size(core->seek);
		r = read_header(core, err);
	}
	if (r == 0) {
		count_headers(core);
		r = keep_starts(core);
		if (r < 0)
			err_sys(err, r, "cannot read the file");
	}
	if (r < 0) {
		corefile_close(core);
		return r;
	}
	*ret_core = core;
	return 0;
}

void corefile_close(struct corefile *core)
{
	if (!core)
		return;
	seek_close(core->seek);
	free(core->starts);
	free(core);
}

const Elf64_Ehdr *corefile_header(const struct corefile *core)
{
	return &core->header;
}

struct seek *corefile_seek(const struct corefile *core)
{
	return core->seek;
}

uint64_t corefile_size(const struct corefile *core)
{
	return core->size;
}

uint64_t corefile_declared(const struct corefile *core)
{
	return core->declared;
}

size_t corefile_count(const struct corefile *core)
{
	return core->count;
}

bool corefile_find(struct corefile *core, uint64_t addr, struct corefile_segment *ret_segment)
{
	size_t low = 0, high = core->count / core->stride + 1;
	Elf64_Phdr phdr;

	if (addr >= core->last.start && addr < core->last.end) {
		*ret_segment = core->last;
		return true;
	}
	while (high - low > 1) { /* the last row that begins at or below addr */
		size_t middle = low + (high - low) / 2;

		if (core->starts[middle] <= addr)
			low = middle;
		else
			high = middle;
	}
	for (size_t i = low * core->stride; i < MIN((low + 1) * core->stride, core->count); i++) {
		struct corefile_segment segment;

		if (corefile_phdr(core, i, &phdr) < 0)
			return false;
		if (segment_of(core, &phdr, &segment) && addr >= segment.start && addr < segment.end) {
			*ret_segment = core->last = segment;
			return true;
		}
	}
	return false;
}

ssize_t corefile_read(struct corefile *core, uint64_t offset, void *buf, size_t len)
{
	return offset < core->size ? seek_read(core->seek, offset, buf, len, NULL) : 0;
}

/* --- notes --- */

/* The bytes of one PT_NOTE, read ahead. */
struct walk {
	struct corefile *core;
	uint64_t at, end; /* in the file */
	uint64_t ahead_at;
	size_t ahead_len;
	uint8_t ahead[NOTES_AHEAD];
};

/* Short where the file ends. */
static size_t peek(struct walk *w, uint64_t offset, void *buf, size_t len)
{
	ssize_t n;

	len = (size_t)MIN(len, w->end > offset ? w->end - offset : 0);
	if (offset < w->ahead_at || offset + len > w->ahead_at + w->ahead_len) {
		n = corefile_read(w->core, offset, w->ahead, (size_t)MIN(w->end - offset, sizeof(w->ahead)));
		w->ahead_at = offset;
		w->ahead_len = n > 0 ? (size_t)n : 0;
	}
	len = MIN(len, w->ahead_len);
	memcpy(buf, w->ahead + (offset - w->ahead_at), len);
	return len;
}

static int one_note(struct walk *w, struct corefile_note *ret, struct err *err)
{
	struct corefile_note note = { .type = 0 };
	uint64_t left = w->end - w->at, name, size;
	Elf64_Nhdr head;
	size_t n = peek(w, w->at, &head, sizeof(head));

	if (n < sizeof(head) && w->at + n == w->end)
		return err_say(err, -EBADMSG, "%zu bytes are left over behind the last note", n);
	if (n < sizeof(head))
		return err_say(err, -EBADMSG, "the notes cannot be read at byte %llu", (unsigned long long)w->at);
	name = ((uint64_t)head.n_namesz + 3) & ~3ull;
	size = head.n_descsz;
	if (sizeof(head) + name + size > left)
		return err_say(err, -EBADMSG, "the note at byte %llu says it has %llu bytes, %llu are left",
			       (unsigned long long)w->at, (unsigned long long)(sizeof(head) + name + size),
			       (unsigned long long)left);
	n = (size_t)MIN(head.n_namesz, sizeof(note.name) - 1);
	if (peek(w, w->at + sizeof(head), note.name, n) < n)
		return err_say(err, -EBADMSG, "the notes cannot be read at byte %llu", (unsigned long long)w->at);
	note.type = head.n_type;
	note.size = head.n_descsz;
	note.offset = w->at + sizeof(head) + name;
	*ret = note;
	w->at = note.offset + MIN((size + 3) & ~3ull, w->end - note.offset);
	return 0;
}

static int walk_notes(struct walk *w, int (*each)(void *arg, const struct corefile_note *note), void *arg,
		      struct err *err)
{
	struct corefile_note note;

	w->ahead_len = 0;
	while (w->at < w->end) {
		int r = one_note(w, &note, err);

		if (r == 0)
			r = each(arg, &note);
		if (r < 0)
			return r;
	}
	return 0;
}

int corefile_notes(struct corefile *core, int (*each)(void *arg, const struct corefile_note *note), void *arg,
		   struct err *err)
{
	CLEAN(free) struct walk *w = malloc(sizeof(*w));
	uint64_t total = 0;
	Elf64_Phdr phdr;
	int r = 0;

	if (!w)
		return err_sys(err, -ENOMEM, "cannot read the notes");
	w->core = core;
	for (size_t i = 0; i < core->count && r == 0; i++) {
		if (corefile_phdr(core, i, &phdr) < 0 || phdr.p_type != PT_NOTE)
			continue;
		if (phdr.p_filesz > COREFILE_NOTES_MAX - total)
			return err_say(err, -E2BIG, "there is more than 1 GiB of notes: they are not looked at");
		total += phdr.p_filesz;
		if (phdr.p_offset > core->size || phdr.p_filesz > core->size - phdr.p_offset)
			r = err_say(err, -EBADMSG, "the notes are cut off");
		w->at = MIN(phdr.p_offset, core->size);
		w->end = w->at + MIN(phdr.p_filesz, core->size - w->at);
		if (r < 0) /* what there is of them is told all the same */
			walk_notes(w, each, arg, NULL);
		else
			r = walk_notes(w, each, arg, err);
	}
	return r;
}

/* --- memory --- */

static ssize_t read_memory(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct corefile *core = arg;
	struct corefile_segment segment;
	size_t done = 0;

	while (done < len && addr + done >= addr && corefile_find(core, addr + done, &segment)) {
		uint64_t at = addr + done, want;
		ssize_t n;

		want = at < segment.data_end ? MIN(segment.data_end - at, len - done) : 0;
		if (!want || segment.offset > UINT64_MAX - (at - segment.start))
			break;
		n = corefile_read(core, segment.offset + (at - segment.start), (char *)buf + done, (size_t)want);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

struct memory corefile_memory(struct corefile *core)
{
	return (struct memory){ .read = read_memory, .arg = core };
}
