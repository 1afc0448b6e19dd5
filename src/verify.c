// SPDX-License-Identifier: MIT
/* A table of checks over what one walk of the notes and one of the headers tell. A fault
 * that many have is one finding with a count and the first of them. Trap: what has no
 * data in the core is not always missing: the kernel leaves out what was never touched,
 * and everybody what a file still holds. */
#include "verify.h"

#include "arch.h"
#include "buf.h"
#include "core.h"
#include "modules.h"

#include <stdarg.h>
#include <string.h>

#define FILES_TOLD 20	 /* names of files told one by one */
#define XSAVE_HEADER 512 /* offset in NT_X86_XSTATE */
#define XSAVE_LEAST 576

/* One fault of many threads or segments. */
struct tally {
	uint64_t count, first;
};

enum thread_fault { REGS_SIZE, NO_FPREGS, NO_XSTATE, BAD_XSTATE, NO_STACK, THREAD_FAULTS };
enum segment_fault { OUT_OF_ORDER, OVERLAP, OVERFLOW, UNALIGNED, INCONGRUENT, TOO_LONG, SEGMENT_FAULTS };

struct verify {
	struct corefile *core;
	struct verify_report *report;
	const char *check; /* the one that runs */
	bool quick, ours;

	/* from the notes */
	struct corefile_note process, auxv, files, text; /* .offset 0: not there */
	pid_t first_tid, tid;				 /* of the first thread, and of the one being read */
	bool main_seen, fpregs, xstate;
	struct tally thread[THREAD_FAULTS];

	/* from our own note */
	bool threads_told;
	uint64_t told_threads, not_stopped, rows;

	/* from the headers */
	struct tally segment[SEGMENT_FAULTS];
	uint64_t bare; /* bytes of memory without data */
	uint64_t cut;  /* bytes of data beyond the end of the file */

	/* from the list of files */
	uint64_t file_end, image, told;
	uint64_t outside, rows_outside; /* bytes and rows that are in no segment */
	struct module last;
	size_t gone, other, unknown;
};

static void PRINTF(3, 4) find(struct verify *v, enum verify_level level, const char *fmt, ...)
{
	struct verify_report *report = v->report;
	struct verify_finding *finding;
	struct buf text;
	char line[MODULE_NAME_MAX + 512];
	va_list ap;

	report->of_level[level]++;
	if (report->count == VERIFY_FINDINGS_MAX)
		return;
	if (!report->finding)
		report->finding = calloc(VERIFY_FINDINGS_MAX, sizeof(*report->finding));
	if (!report->finding)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_init(&text, 4 * sizeof(line));
	buf_add_escaped(&text, line, strlen(line));
	finding = &report->finding[report->count];
	*finding = (struct verify_finding){ .check = v->check, .level = level, .text = buf_take(&text) };
	report->count += finding->text != NULL;
}

static void count(struct tally *tally, uint64_t which)
{
	if (!tally->count++)
		tally->first = which;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static unsigned long long ull(uint64_t n)
{
	return n;
}

/* --- the file --- */

static int check_file(struct verify *v)
{
	struct seek *seek = corefile_seek(v->core);
	const char *damage = seek_damage(seek);
	struct err err = { "" };
	int r;

	v->report->zstd = seek_is_zstd(seek);
	v->report->table = seek_has_table(seek);
	if (damage)
		find(v, VERIFY_DAMAGED, "%s", damage);
	if (v->quick || !v->report->zstd || damage)
		return 0;
	r = seek_check(seek, NULL, NULL, &err);
	if (r == -EBADMSG)
		find(v, VERIFY_DAMAGED, "%s", err.text);
	return r == -EBADMSG ? 0 : r;
}

static int check_header(struct verify *v)
{
	const Elf64_Ehdr *h = corefile_header(v->core);
	uint64_t declared = corefile_declared(v->core), have = corefile_count(v->core);
	uint64_t size = corefile_size(v->core);

	if (h->e_phentsize != sizeof(Elf64_Phdr))
		find(v, VERIFY_DAMAGED, "program headers of %u bytes each, not %zu", h->e_phentsize,
		     sizeof(Elf64_Phdr));
	else if (!declared)
		find(v, VERIFY_DAMAGED, "there are no program headers: no memory, no registers");
	else if (declared > have && have == COREFILE_SEGMENTS_MAX)
		find(v, VERIFY_DAMAGED, "%llu program headers: more than the %u that are looked at", ull(declared),
		     COREFILE_SEGMENTS_MAX);
	else if (declared > have)
		find(v, VERIFY_MISSING, "the file ends within its headers: %llu of %llu are there", ull(have),
		     ull(declared));
	if (h->e_shoff > size || (uint64_t)h->e_shnum * h->e_shentsize > size - h->e_shoff)
		find(v, VERIFY_DAMAGED, "the file ends before its section headers do");
	if (h->e_machine != ARCH_ELF_MACHINE)
		find(v, VERIFY_NOTE, "of another kind of machine (ELF machine %u): registers are not looked at",
		     h->e_machine);
	return 0;
}

/* --- segments --- */

static void one_segment(struct verify *v, const Elf64_Phdr *p, uint64_t *end)
{
	uint64_t size = corefile_size(v->core), rest = p->p_offset < size ? size - p->p_offset : 0;

	if (p->p_filesz > rest)
		v->cut += p->p_filesz - rest;
	if (p->p_filesz > UINT64_MAX - p->p_offset)
		count(&v->segment[OVERFLOW], p->p_vaddr);
	if (p->p_type != PT_LOAD)
		return;
	v->report->segments++;
	v->report->memory += p->p_memsz;
	v->report->data += MIN(p->p_filesz, rest);
	if (p->p_memsz > UINT64_MAX - p->p_vaddr) {
		count(&v->segment[OVERFLOW], p->p_vaddr);
		return;
	}
	if (p->p_filesz > p->p_memsz)
		count(&v->segment[TOO_LONG], p->p_vaddr);
	else
		v->bare += p->p_memsz - p->p_filesz;
	if (p->p_vaddr < *end)
		count(&v->segment[p->p_vaddr + p->p_memsz <= *end && p->p_memsz ? OUT_OF_ORDER : OVERLAP], p->p_vaddr);
	*end = MAX(*end, p->p_vaddr + p->p_memsz);
	if (p->p_vaddr % PAGE_BYTES || p->p_memsz % PAGE_BYTES)
		count(&v->segment[UNALIGNED], p->p_vaddr);
	if (p->p_align > 1 && p->p_filesz && p->p_offset % p->p_align != p->p_vaddr % p->p_align)
		count(&v->segment[INCONGRUENT], p->p_vaddr);
}

static int check_segments(struct verify *v)
{
	static const char *const words[SEGMENT_FAULTS] = {
		[OUT_OF_ORDER] = "not in the order of their addresses, or twice",
		[OVERLAP] = "overlapping the one before",
		[OVERFLOW] = "beyond the end of all addresses",
		[UNALIGNED] = "not of whole pages",
		[INCONGRUENT] = "at a place in the file that does not fit their address",
		[TOO_LONG] = "with more data than memory",
	};
	uint64_t end = 0;
	Elf64_Phdr phdr;

	for (size_t i = 0; i < corefile_count(v->core); i++) {
		if (corefile_phdr(v->core, i, &phdr) == 0)
			one_segment(v, &phdr, &end);
	}
	if (corefile_count(v->core) && !v->report->segments)
		find(v, VERIFY_MISSING, "there is no memory in it");
	for (size_t i = 0; i < SEGMENT_FAULTS; i++) {
		const struct tally *t = &v->segment[i];

		if (t->count)
			find(v, VERIFY_DAMAGED, "%llu segment%s %s (first at 0x%llx)", ull(t->count), plural(t->count),
			     words[i], ull(t->first));
	}
	if (v->cut)
		find(v, VERIFY_MISSING, "the file is cut off: %llu bytes are missing at its end", ull(v->cut));
	return 0;
}

/* --- notes --- */

/* Of NT_X86_XSTATE: does it fit what its own header says is in it? The kernel puts the
 * mask of the features that are saved at byte 464. Least sizes are those of AMD, whose
 * layout is the denser one; where they are equal, of all. */
static bool xstate_fits(struct verify *v, const struct corefile_note *note)
{
	static const struct {
		uint64_t feature;
		uint32_t least;
	} row[] = { { 1u << 2, 832 }, { 1u << 7, 2432 }, { 1u << 18, 8192 + 832 } };
	struct {
		uint64_t xstate_bv, xcomp_bv, reserved[6];
	} head;
	uint64_t xcr0 = 0;

	if (note->size < XSAVE_LEAST || corefile_read(v->core, note->offset + 464, &xcr0, 8) != 8 ||
	    corefile_read(v->core, note->offset + XSAVE_HEADER, &head, sizeof(head)) != (ssize_t)sizeof(head))
		return false;
	if (head.xcomp_bv >> 63 || head.reserved[0] || head.reserved[5] || (xcr0 && head.xstate_bv & ~xcr0))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		if ((xcr0 | head.xstate_bv) & row[i].feature && note->size < row[i].least)
			return false;
	}
	return true;
}

static void end_thread(struct verify *v)
{
	if (!v->tid)
		return;
	if (!v->fpregs)
		count(&v->thread[NO_FPREGS], (uint64_t)v->tid);
	if (!v->xstate)
		count(&v->thread[NO_XSTATE], (uint64_t)v->tid);
}

static void begin_thread(struct verify *v, const struct corefile_note *note)
{
	struct elf_prstatus status = { .pr_pid = 0 };
	struct user_regs_struct regs;
	struct corefile_segment segment;
	uint64_t sp;

	end_thread(v);
	v->report->threads++;
	v->fpregs = v->xstate = false;
	v->tid = -1;
	if (corefile_read(v->core, note->offset, &status, MIN(note->size, sizeof(status))) >= 36)
		v->tid = status.pr_pid;
	if (!v->first_tid)
		v->first_tid = v->tid;
	if (corefile_header(v->core)->e_machine != ARCH_ELF_MACHINE)
		return;
	if (note->size != sizeof(status)) {
		count(&v->thread[REGS_SIZE], (uint64_t)v->tid);
		return;
	}
	memcpy(&regs, &status.pr_reg, sizeof(regs));
	sp = arch_sp(&regs);
	if (!corefile_find(v->core, sp, &segment) || sp >= segment.data_end)
		count(&v->thread[NO_STACK], (uint64_t)v->tid);
}

static int one_note(void *arg, const struct corefile_note *note)
{
	struct verify *v = arg;
	bool core = !strcmp(note->name, "CORE");

	if (core && note->type == NT_PRSTATUS) {
		begin_thread(v, note);
	} else if (core && note->type == NT_FPREGSET) {
		v->fpregs = true;
	} else if (!strcmp(note->name, "LINUX") && note->type == NT_X86_XSTATE) {
		v->xstate = true;
		if (!xstate_fits(v, note))
			count(&v->thread[BAD_XSTATE], (uint64_t)v->tid);
	} else if (core && note->type == NT_PRPSINFO) {
		v->process = *note;
	} else if (core && note->type == NT_AUXV) {
		v->auxv = *note;
	} else if (core && note->type == NT_FILE) {
		v->files = *note;
	} else if (!strcmp(note->name, "REQTRAP") && note->type == CORE_NOTE_TEXT) {
		v->text = *note;
	}
	return 0;
}

static int check_notes(struct verify *v)
{
	struct err err = { "" };
	int r = corefile_notes(v->core, one_note, v, &err);

	end_thread(v);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		find(v, r == -EBADMSG && v->cut ? VERIFY_MISSING : VERIFY_DAMAGED, "%s", err.text);
	return 0;
}

static int check_process(struct verify *v)
{
	struct elf_prpsinfo info = { .pr_pid = 0 };
	struct buf name;

	if (!v->process.offset) {
		find(v, VERIFY_MISSING, "it does not say which process it is of (no PRPSINFO)");
		return 0;
	}
	if (v->process.size != sizeof(info) ||
	    corefile_read(v->core, v->process.offset, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
		find(v, VERIFY_DAMAGED, "its PRPSINFO has %u bytes, not %zu", v->process.size, sizeof(info));
		return 0;
	}
	v->report->pid = info.pr_pid;
	buf_init(&name, sizeof(v->report->process));
	buf_add_escaped(&name, info.pr_fname, strnlen(info.pr_fname, sizeof(info.pr_fname)));
	snprintf(v->report->process, sizeof(v->report->process), "%s", name.data ? name.data : "");
	buf_done(&name);
	return 0;
}

/* --- what it says of itself --- */

/* A row of the ranges left out: 'START-END NAME\tWHY'. Some are in it all the same. */
static void one_range(struct verify *v, char *line)
{
	struct corefile_segment segment;
	char *end, *why = strchr(line, '\t');
	uint64_t from = strtoull(line, &end, 16), to;

	if (*end != '-')
		return;
	to = strtoull(end + 1, NULL, 16);
	if (why)
		*why++ = '\0';
	v->rows++;
	if (corefile_find(v->core, from, &segment) && segment.data_end > from)
		find(v, VERIFY_NOTE, "%s: %s", line, why ? why : "");
	else
		find(v, strcmp(v->report->kind, "mini") != 0 ? VERIFY_MISSING : VERIFY_NOTE,
		     "%llu KiB are not in it: %s: %s", ull((to - MIN(from, to)) >> 10), line, why ? why : "");
}

static void one_line(struct verify *v, char *line)
{
	struct verify_report *report = v->report;
	const struct {
		const char *key;
		uint64_t *number;
		char *text;
	} row[] = {
		{ "kind: ", NULL, report->kind },	    { "method: ", NULL, report->method },
		{ "pause_ns: ", &report->pause_ns, NULL },  { "threads: ", &v->told_threads, NULL },
		{ "not_stopped: ", &v->not_stopped, NULL }, { "omitted: ", &report->omitted, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		size_t n = strlen(row[i].key);

		if (strncmp(line, row[i].key, n) != 0)
			continue;
		if (row[i].number)
			*row[i].number = strtoull(line + n, NULL, 10);
		else
			snprintf(row[i].text, sizeof(report->kind), "%.15s", line + n);
		v->threads_told |= row[i].number == &v->told_threads;
		return;
	}
	if (strchr("0123456789abcdef", *line))
		one_range(v, line);
}

static int check_itself(struct verify *v)
{
	size_t size = MIN(v->text.size, COREFILE_TEXT_MAX);
	CLEAN(free) char *text = NULL;
	ssize_t n;

	if (!v->text.offset)
		return 0;
	text = calloc(1, size + 1);
	if (!text)
		return -ENOMEM;
	n = corefile_read(v->core, v->text.offset, text, size);
	for (char *line = text, *end; n > 0 && *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		if (*line)
			one_line(v, line);
	}
	if (v->report->omitted > v->rows)
		find(v, VERIFY_MISSING, "%llu more ranges are left out", ull(v->report->omitted - v->rows));
	if (v->not_stopped)
		find(v, VERIFY_MISSING, "%llu thread%s ran on: the registers are a guess", ull(v->not_stopped),
		     plural(v->not_stopped));
	if (v->threads_told && v->told_threads != v->report->threads)
		find(v, VERIFY_MISSING, "it says it has %llu threads, and has %llu", ull(v->told_threads),
		     ull(v->report->threads));
	return 0;
}

/* --- threads --- */

static int check_threads(struct verify *v)
{
	static const struct {
		enum verify_level level;
		const char *words;
	} row[THREAD_FAULTS] = {
		[REGS_SIZE] = { VERIFY_DAMAGED, "with registers of a size that is not this machine's" },
		[NO_FPREGS] = { VERIFY_MISSING, "without floating-point registers" },
		[NO_XSTATE] = { VERIFY_MISSING, "without vector registers" },
		[BAD_XSTATE] = { VERIFY_DAMAGED, "with vector registers that do not fit their own header" },
		[NO_STACK] = { VERIFY_MISSING, "whose stack is not in it" },
	};
	uint64_t threads = v->report->threads;

	if (!threads) {
		find(v, VERIFY_MISSING, "there are no threads in it (no PRSTATUS)");
		return 0;
	}
	if (corefile_header(v->core)->e_machine != ARCH_ELF_MACHINE || v->thread[NO_XSTATE].count == threads)
		v->thread[NO_XSTATE].count = 0; /* a CPU that has none */
	for (size_t i = 0; i < THREAD_FAULTS; i++) {
		const struct tally *t = &v->thread[i];

		if (t->count)
			find(v, row[i].level, "%llu of %llu thread%s %s (first: thread %d)", ull(t->count),
			     ull(threads), plural(threads), row[i].words, (int)t->first);
	}
	if (v->report->pid && v->first_tid != v->report->pid)
		find(v, VERIFY_NOTE, "thread %d comes first: debuggers show it before the main thread", v->first_tid);
	return 0;
}

/* --- the program --- */

static int check_auxv(struct verify *v)
{
	static const struct {
		uint64_t type;
		const char *words;
		bool data;
	} row[] = { { AT_PHDR, "the program's headers (AT_PHDR)", false },
		    { AT_ENTRY, "the program's entry (AT_ENTRY)", false },
		    { AT_SYSINFO_EHDR, "the vdso (AT_SYSINFO_EHDR)", true } };
	struct memory memory = corefile_memory(v->core);

	if (!v->auxv.offset || !v->auxv.size) {
		find(v, VERIFY_MISSING, "there is no auxiliary vector: debuggers do not find the program's place");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		uint64_t at = auxv_get(v->core, &v->auxv, row[i].type);
		struct corefile_segment segment;
		char magic[SELFMAG] = "";

		if (!at && row[i].type == AT_SYSINFO_EHDR)
			continue; /* a kernel may be told to have none */
		if (!at)
			find(v, VERIFY_MISSING, "the auxiliary vector lacks %s", row[i].words);
		else if (!corefile_find(v->core, at, &segment) &&
			 (!v->files.offset || module_at(v->core, &v->files, at, &v->last) < 0))
			find(v, VERIFY_MISSING, "%s, at 0x%llx, is in no segment", row[i].words, ull(at));
		else if (row[i].data && (memory_get(&memory, at, magic, SELFMAG) < 0 || memcmp(magic, ELFMAG, SELFMAG)))
			find(v, VERIFY_MISSING,
			     "%s is not in it: no stack can be walked through a signal or call of it", row[i].words);
	}
	return 0;
}

static int check_libraries(struct verify *v)
{
	const char *why;
	size_t n = 0;
	int r;

	if (!v->auxv.offset || !auxv_get(v->core, &v->auxv, AT_PHDR))
		return 0;
	r = modules_linked(v->core, &v->auxv, &n, &why);
	v->report->libraries = n;
	if (r < 0)
		find(v, VERIFY_MISSING, "debuggers will not find the libraries: %s is not in it", why);
	return 0;
}

/* --- files --- */

/* The row's memory that has no data in the core; of it, what lies in no segment even. */
static uint64_t bare_bytes(struct verify *v, const struct module *module, uint64_t *ret_outside)
{
	struct corefile_segment segment;
	uint64_t bare = 0;

	for (uint64_t at = module->start; at < module->end; at = segment.end) {
		if (!corefile_find(v->core, at, &segment)) {
			*ret_outside = module->end - at;
			return bare + module->end - at;
		}
		if (MIN(segment.end, module->end) > MAX(segment.data_end, at))
			bare += MIN(segment.end, module->end) - MAX(segment.data_end, at);
	}
	return bare;
}

/* What has no name any more nobody will find: shared memory, most often. */
static bool is_deleted(const char *name)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(name), n = sizeof(mark) - 1;

	return len >= n && !strcmp(name + len - n, mark);
}

/* All rows of one file are behind us: is it here? */
static void end_file(struct verify *v)
{
	const struct module *m = &v->last;
	enum module_here here;

	if (!m->name[0] || (!v->image && !v->told))
		return;
	here = module_here(v->core, m->name, v->image);
	if (here == MODULE_SAME)
		return;
	if (here == MODULE_GONE && !v->image && is_deleted(m->name)) {
		find(v, v->text.offset ? VERIFY_NOTE : VERIFY_MISSING, /* ours has told it */
		     "%llu KiB of '%s' are not in it: shared memory, or a file that is gone", ull(v->told >> 10),
		     m->name);
		return;
	}
	v->unknown += here == MODULE_UNKNOWN && v->told;
	v->gone += here == MODULE_GONE;
	v->other += here == MODULE_OTHER;
	if (here == MODULE_UNKNOWN || v->gone + v->other > FILES_TOLD)
		return;
	if (here == MODULE_OTHER)
		find(v, VERIFY_HERE, "'%s' is another build here: debuggers will show wrong symbols of it", m->name);
	else if (v->image)
		find(v, VERIFY_HERE, "'%s' is not here: debuggers will not find its symbols", m->name);
	else
		find(v, VERIFY_HERE, "'%s' is not here, and %llu KiB of memory were left to it", m->name,
		     ull(v->told >> 10));
}

static int one_file(void *arg, const struct module *module)
{
	struct memory memory = corefile_memory(((struct verify *)arg)->core);
	struct verify *v = arg;
	char magic[SELFMAG];
	uint64_t bare, outside = 0;

	if (module->start < v->file_end || module->end <= module->start)
		return -EBADMSG;
	v->file_end = module->end;
	bare = bare_bytes(v, module, &outside);
	v->report->in_files += bare;
	v->outside += outside;
	v->rows_outside += outside != 0;
	if (strcmp(module->name, v->last.name) != 0) {
		end_file(v);
		v->last = *module;
		v->image = v->told = 0;
	}
	v->told += bare;
	if (!v->image && module->offset == 0 && memory_get(&memory, module->start, magic, SELFMAG) == 0 &&
	    !memcmp(magic, ELFMAG, SELFMAG))
		v->image = module->start;
	return 0;
}

static int check_files(struct verify *v)
{
	struct err err = { "" };
	int r;

	if (!v->files.offset) {
		find(v, VERIFY_MISSING, "there is no list of its files: debuggers do not find its libraries by name");
		return 0;
	}
	r = modules_each(v->core, &v->files, one_file, v, &err);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		find(v, VERIFY_DAMAGED, "%s", err.text[0] ? err.text : "the list of files is not in order");
	end_file(v);
	if (v->rows_outside && !strcmp(v->report->kind, "full")) /* others have no segment for what is in a file */
		find(v, VERIFY_DAMAGED, "%llu row%s of its list of files lie in no segment", ull(v->rows_outside),
		     plural(v->rows_outside));
	if (v->gone + v->other > FILES_TOLD)
		find(v, VERIFY_HERE, "%zu more files are not here, or are other builds",
		     v->gone + v->other - FILES_TOLD);
	if (v->unknown)
		find(v, VERIFY_NOTE, "%zu file%s with memory left to them have no build-id to compare", v->unknown,
		     plural(v->unknown));
	return 0;
}

/* Ours tells each range that is left out. Of others, one can only say that much. */
static int check_bare(struct verify *v)
{
	uint64_t in_files = v->report->in_files - v->outside;

	if (!v->text.offset && v->bare > in_files)
		find(v, VERIFY_NOTE, "%llu KiB of memory have no data: never touched, or left out on a wish",
		     ull((v->bare - in_files) >> 10));
	return 0;
}

static const struct check {
	const char *name;
	int (*run)(struct verify *v); /* negative: it cannot go on */
} checks[] = {
	{ "file", check_file },		  { "header", check_header },	{ "segments", check_segments },
	{ "notes", check_notes },	  { "process", check_process }, { "left-out", check_itself },
	{ "threads", check_threads },	  { "files", check_files },	{ "auxv", check_auxv },
	{ "libraries", check_libraries }, { "memory", check_bare },
};

int verify_core(int fd, bool quick, struct verify_report *ret_report, struct err *err)
{
	CLEAN(free) struct verify *v = calloc(1, sizeof(*v));
	int r;

	*ret_report = (struct verify_report){ 0 };
	if (!v)
		return err_sys(err, -ENOMEM, "cannot read the file");
	v->report = ret_report;
	v->quick = quick;
	r = corefile_open(fd, &v->core, err);
	if (r == -EBADMSG) { /* not even its header can be read */
		v->check = "file";
		find(v, VERIFY_DAMAGED, "%s", err->text);
		return 0;
	}
	if (r < 0)
		return r;
	ret_report->bytes = corefile_size(v->core);
	for (size_t i = 0; i < ARRAY_LEN(checks) && r == 0; i++) {
		v->check = checks[i].name;
		r = checks[i].run(v);
	}
	corefile_close(v->core);
	if (r < 0) {
		verify_done(ret_report);
		return err_sys(err, r, "cannot read the file");
	}
	return 0;
}

void verify_done(struct verify_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		free(report->finding[i].text);
	free(report->finding);
	report->finding = NULL;
	report->count = 0;
}

const char *verify_level_name(enum verify_level level)
{
	static const char *const names[VERIFY_LEVELS] = { "note", "here", "missing", "damaged" };

	return names[level];
}
