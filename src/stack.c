// SPDX-License-Identifier: MIT
/* libdwfl with every callback of our own, so that it can run where nothing can be
 * opened. Rejected: dwfl_linux_proc_report (opens files by the names in a hostile
 * map, and debug files elsewhere); libunwind (loses the frame after the first in
 * most dumps). Trap: libdwfl gives JIT pages to the neighbouring module; ask the
 * map first. */
#include "stack.h"

#include "incident.h"

#include <elf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/user.h>

#define PAGE 4096ull
#define VDSO_MAX (64u << 10)
#define PHDRS_MAX 128

struct elf_file {
	uint64_t dev_major, dev_minor, inode;
	int fd;
	const void *data; /* whole file, NULL if it could not be mapped */
	size_t len;
};

struct images {
	struct elf_file *file;
	size_t file_count;
	struct image *image;
	size_t image_count;
	struct alias {
		uint64_t start, end, away; /* address here - address in the image */
	} * alias;
	size_t alias_count;
	size_t bad;
	const struct proc_maps *maps;
	Dwfl *dwfl;
	bool attached;
	/* of the walk under way */
	const struct memory *mem;
	const struct capture_thread *threads;
	size_t thread_count;
};

/* --- the callbacks: nothing is ever looked for on disk --- */

static int no_debuginfo(Dwfl_Module *m UNUSED, void **data UNUSED, const char *name UNUSED, Dwarf_Addr base UNUSED,
			const char *file UNUSED, const char *link UNUSED, GElf_Word crc UNUSED, char **ret UNUSED)
{
	return -1;
}

/* The vdso is the same bytes in every process of this kernel: ours will do. */
static int find_vdso(Dwfl_Module *m UNUSED, void **data UNUSED, const char *name, Dwarf_Addr base UNUSED,
		     char **ret_file UNUSED, Elf **ret_elf)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	size_t len;

	if (strcmp(name, "[vdso]") || !eh)
		return -1;
	len = eh->e_shoff + (size_t)eh->e_shnum * eh->e_shentsize;
	if (len > VDSO_MAX)
		return -1;
	*ret_elf = elf_memory((char *)eh, len);
	return -1; /* no fd; the Elf is what counts */
}

static const Dwfl_Callbacks callbacks = {
	.find_elf = find_vdso,
	.find_debuginfo = no_debuginfo,
	.section_address = dwfl_offline_section_address,
};

static pid_t next_thread(Dwfl *dwfl UNUSED, void *arg UNUSED, void **thread_arg UNUSED)
{
	return 0; /* walks are asked for by tid */
}

static bool get_thread(Dwfl *dwfl UNUSED, pid_t tid, void *arg, void **thread_arg)
{
	struct images *im = arg;

	/* libdwfl's tid is our index + 1: a capture's tids may repeat if hostile. */
	if (tid < 1 || (size_t)tid > im->thread_count)
		return false;
	*thread_arg = (void *)&im->threads[tid - 1];
	return true;
}

static bool read_word(Dwfl *dwfl UNUSED, Dwarf_Addr addr, Dwarf_Word *ret, void *arg)
{
	const struct images *im = arg;
	uint64_t word;

	if (!memory_u64(im->mem, addr, &word))
		return false;
	*ret = word;
	return true;
}

/* DWARF numbers of the x86-64 registers, by their place in user_regs_struct. */
static const uint8_t reg_place[17] = {
	10 /* rax */, 12 /* rdx */, 11 /* rcx */, 5 /* rbx */, 13 /* rsi */, 14 /* rdi */,
	4 /* rbp */,  19 /* rsp */, 9 /* r8 */,	  8 /* r9 */,  7 /* r10 */,  6 /* r11 */,
	3 /* r12 */,  2 /* r13 */,  1 /* r14 */,  0 /* r15 */, 16 /* rip */,
};

static bool set_registers(Dwfl_Thread *thread, void *thread_arg)
{
	const struct capture_thread *t = thread_arg;
	Dwarf_Word reg[17];

	for (size_t i = 0; i < ARRAY_LEN(reg); i++)
		reg[i] = t->reg[reg_place[i]];
	return dwfl_thread_state_registers(thread, 0, ARRAY_LEN(reg), reg);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

/* --- images --- */

int images_new(struct images **ret_images)
{
	struct images *im = calloc(1, sizeof(*im));

	if (!im)
		return -ENOMEM;
	*ret_images = im;
	return 0;
}

static void forget_places(struct images *im)
{
	if (im->dwfl)
		dwfl_end(im->dwfl);
	im->dwfl = NULL;
	im->attached = false;
	free(im->image);
	im->image = NULL;
	im->image_count = 0;
	free(im->alias);
	im->alias = NULL;
	im->alias_count = 0;
	im->bad = 0;
}

void images_free(struct images *im)
{
	if (!im)
		return;
	forget_places(im);
	for (size_t i = 0; i < im->file_count; i++) {
		close(im->file[i].fd);
		if (im->file[i].data)
			munmap((void *)im->file[i].data, im->file[i].len);
	}
	free(im->file);
	free(im);
}

int images_add_file(struct images *im, uint64_t dev_major, uint64_t dev_minor, uint64_t inode, int fd)
{
	struct elf_file *f = im->file_count < IMAGES_MAX ? list_add(&im->file, &im->file_count, sizeof(*f)) : NULL;
	struct stat st;
	void *data;

	if (!f) {
		close(fd);
		return im->file_count < IMAGES_MAX ? -ENOMEM : -E2BIG;
	}
	*f = (struct elf_file){ .dev_major = dev_major, .dev_minor = dev_minor, .inode = inode, .fd = fd };
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr))
		return 0; /* counted as bad when it is placed */
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data != MAP_FAILED) {
		f->data = data;
		f->len = (size_t)st.st_size;
	}
	return 0;
}

static const struct elf_file *file_of(const struct images *im, const struct proc_maps *maps, const struct proc_map *map)
{
	const struct proc_file *file = proc_map_file(maps, map);

	for (size_t i = 0; i < im->file_count && map->inode; i++) {
		const struct elf_file *f = &im->file[i];

		if (f->inode == file->inode && f->dev_major == file->dev_major && f->dev_minor == file->dev_minor)
			return f;
	}
	return NULL;
}

/* Where the file lies, told by the one mapping: the loaded segment that it shows. */
static bool bias_of(const struct elf_file *f, const struct proc_map *map, uint64_t *ret_bias, bool *ret_fixed)
{
	Elf64_Ehdr eh;

	if (!f->data)
		return false;
	memcpy(&eh, f->data, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64 ||
	    eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phnum > PHDRS_MAX || eh.e_phoff > f->len ||
	    eh.e_phnum * sizeof(Elf64_Phdr) > f->len - eh.e_phoff)
		return false;
	for (unsigned int i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;
		uint64_t from;

		memcpy(&ph, (const char *)f->data + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		from = ph.p_offset & ~(PAGE - 1);
		if (ph.p_type != PT_LOAD || !(ph.p_flags & PF_X) || map->offset < from ||
		    map->offset >= ph.p_offset + ph.p_filesz)
			continue;
		*ret_bias = map->start - (ph.p_vaddr - ph.p_offset + map->offset);
		*ret_fixed = eh.e_type == ET_EXEC;
		return true;
	}
	return false;
}

static struct image *image_new(struct images *im, const char *path, uint64_t bias)
{
	const char *slash = strrchr(path, '/');
	struct image *image = list_add(&im->image, &im->image_count, sizeof(*image));

	if (!image)
		return NULL;
	image->bias = bias;
	snprintf(image->name, sizeof(image->name), "%s", slash ? slash + 1 : path);
	return image;
}

static int alias_new(struct images *im, const struct proc_map *map, uint64_t away)
{
	struct alias *alias = list_add(&im->alias, &im->alias_count, sizeof(*alias));

	if (!alias)
		return -ENOMEM;
	*alias = (struct alias){ .start = map->start, .end = map->end, .away = away };
	return 0;
}

static int place(struct images *im, const struct proc_map *map, const struct elf_file *f)
{
	struct image *image;
	uint64_t bias;
	char name[80];
	bool fixed;
	int fd;

	if (!bias_of(f, map, &bias, &fixed)) {
		im->bad++;
		return 0;
	}
	if (fixed && bias != 0) /* V8 maps its built-in functions a second time, near its JIT code */
		return alias_new(im, map, bias);
	for (size_t i = 0; i < im->image_count; i++) {
		if (im->image[i].file == f->data && im->image[i].bias == bias)
			return 0;
	}
	image = image_new(im, proc_map_name(im->maps, map), bias);
	if (!image)
		return -ENOMEM;
	image->file = f->data;
	image->file_len = f->len;
	/* libdwfl closes the fd it is given, but not when it fails. A module reported twice
	 * would be freed while we still have it: so no two names are the same. */
	snprintf(name, sizeof(name), "%zu:%s", im->image_count, image->name);
	fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	image->module = dwfl_report_elf(im->dwfl, name, name, fd, bias, true);
	if (!image->module) {
		close(fd);
		im->bad++;
		im->image_count--;
	}
	return 0;
}

int images_place(struct images *im, const struct proc_maps *maps)
{
	forget_places(im);
	im->maps = maps;
	im->dwfl = dwfl_begin(&callbacks);
	if (!im->dwfl)
		return -ENOMEM;
	dwfl_report_begin(im->dwfl);
	for (size_t i = 0; i < maps->count; i++) {
		const struct proc_map *map = &maps->map[i];
		const struct elf_file *f = map->executable ? file_of(im, maps, map) : NULL;
		struct image *vdso;
		int r;

		if (map->kind == PROC_MAP_VDSO) {
			vdso = image_new(im, "[vdso]", map->start);
			if (!vdso)
				return -ENOMEM;
			vdso->module = dwfl_report_module(im->dwfl, "[vdso]", map->start, map->end);
		}
		r = f ? place(im, map, f) : 0;
		if (r < 0)
			return r;
	}
	return dwfl_report_end(im->dwfl, NULL, NULL) == 0 ? 0 : -EINVAL;
}

size_t images_count(const struct images *im)
{
	return im->image_count;
}

const struct image *images_get(const struct images *im, size_t index)
{
	return &im->image[index];
}

const struct proc_maps *images_maps(const struct images *im)
{
	return im->maps;
}

uint64_t images_home(const struct images *im, uint64_t addr)
{
	for (size_t i = 0; i < im->alias_count; i++) {
		if (addr >= im->alias[i].start && addr < im->alias[i].end)
			return addr - im->alias[i].away;
	}
	return addr;
}

size_t images_bad(const struct images *im)
{
	return im->bad;
}

const struct image *images_find(const struct images *im, uint64_t addr)
{
	const struct proc_map *map = im->maps ? proc_maps_find(im->maps, addr) : NULL;
	Dwfl_Module *module;

	if (!map || !im->dwfl || (map->kind != PROC_MAP_VDSO && !file_of(im, im->maps, map)))
		return NULL;
	module = dwfl_addrmodule(im->dwfl, addr);
	for (size_t i = 0; i < im->image_count && module; i++) {
		if (im->image[i].module == module)
			return &im->image[i];
	}
	return NULL;
}

/* --- walks --- */

struct walk_state {
	struct images *im;
	struct walk_frame frame[STACK_FRAMES_MAX];
	size_t count;
	bool cut, left_map;
};

static int take_frame(Dwfl_Frame *frame, void *arg)
{
	struct walk_state *s = arg;
	Dwarf_Addr pc;
	bool activation;

	if (!dwfl_frame_pc(frame, &pc, &activation))
		return DWARF_CB_ABORT;
	if (s->count == STACK_FRAMES_MAX) {
		s->cut = true;
		return DWARF_CB_ABORT;
	}
	/* A return address into nothing mapped is the end, or a broken stack. */
	if (s->count && s->im->maps && !proc_maps_find(s->im->maps, pc)) {
		s->left_map = pc != 0;
		return DWARF_CB_ABORT;
	}
	s->frame[s->count++] = (struct walk_frame){ .pc = pc, .exact = activation };
	return DWARF_CB_OK;
}

static int walk_one(struct images *im, size_t index, struct walk_state *s, struct walk *walk)
{
	const struct capture_thread *t = &im->threads[index];
	int r;

	s->count = 0;
	s->cut = s->left_map = false;
	r = dwfl_getthread_frames(im->dwfl, (pid_t)index + 1, take_frame, s);
	if (s->count == 0 && t->reg[16]) /* the one thing that is known */
		s->frame[s->count++] = (struct walk_frame){ .pc = t->reg[16], .exact = true };
	if (s->cut)
		text_setf(&walk->why, "cut after %d frames", STACK_FRAMES_MAX);
	else if (s->left_map)
		text_setf(&walk->why, "the next return address lies outside the memory map");
	else if (!t->stopped)
		text_setf(&walk->why, "the thread could not be stopped: walked from its pc and sp alone");
	else if (r < 0)
		text_setf(&walk->why, "%s", dwfl_errmsg(-1));
	walk->frame = malloc(s->count * sizeof(*s->frame) + 1);
	if (!walk->frame)
		return -ENOMEM;
	memcpy(walk->frame, s->frame, s->count * sizeof(*s->frame));
	walk->count = s->count;
	return 0;
}

int images_walk(struct images *im, const struct memory *mem, const struct capture_thread *threads, size_t count,
		struct walk *ret_walks)
{
	struct walk_state *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->im = im;
	im->mem = mem;
	im->threads = threads;
	im->thread_count = count;
	if (!im->attached) {
		/* The pid only serves as a mark that something is attached. */
		im->attached = im->dwfl && dwfl_attach_state(im->dwfl, NULL, 1, &thread_callbacks, im);
	}
	for (size_t i = 0; i < count && r == 0; i++) {
		ret_walks[i] = (struct walk){ 0 };
		r = walk_one(im, i, s, &ret_walks[i]);
	}
	free(s);
	return r;
}

void walk_done(struct walk *walk)
{
	free(walk->frame);
	free(walk->why);
	*walk = (struct walk){ 0 };
}
