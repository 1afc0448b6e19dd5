// SPDX-License-Identifier: MIT
/* All addresses first, sorted; then one pass over each file's symbols, asking for
 * each symbol whether one of them lies in it. Rejected: dwfl_module_addrinfo, which
 * walks the whole table for each address (half a second for one stack of node).
 * Trap: sizeless symbols (assembler) cover what follows them, so nearest wins. */
#include "symbol.h"

#include "buf.h"
#include "demangle.h"
#include "inline.h"
#include "ktime.h"

#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

#define SIZELESS_MAX (64u << 10) /* how far a symbol without a size may reach */
#define MISSING_TEXT_MAX 600
#define INLINED_MOST 20000 /* frames of functions without one, in all stacks */
#define NAME_SHOWN_MAX 400 /* C++ names can be very long */

struct place {
	uint64_t addr;		   /* as looked up */
	const struct image *image; /* NULL: none */
	char *function, *file;
	uint32_t line;
	struct inlined *inlined; /* innermost first */
	size_t inlined_count;
	uint64_t sym_start; /* best so far */
	int sym_rank;
};

static int by_addr(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static struct place *first_from(struct place *places, size_t count, uint64_t addr)
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (places[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return places + lo;
}

/* Which of several names at one address people know: sized before sizeless, public
 * before local, 'read' before '__read'. */
static int rank_of(const GElf_Sym *sym, const char *name)
{
	int bind = GELF_ST_BIND(sym->st_info);
	int underscores = name[0] == '_' ? (name[1] == '_' ? 2 : 1) : 0;

	return (sym->st_size ? 100 : 0) + (bind == STB_GLOBAL ? 20 : bind == STB_WEAK ? 18 : 0) - underscores * 4;
}

static void offer(struct place *p, uint64_t start, int rank, const char *name)
{
	char readable[NAME_SHOWN_MAX];

	/* The innermost symbol, unless a sized one is there already. */
	if (p->function && (p->sym_rank / 100 > rank / 100 ||
			    (p->sym_rank / 100 == rank / 100 &&
			     (p->sym_start > start || (p->sym_start == start && p->sym_rank >= rank)))))
		return;
	free(p->function);
	p->function = strndup(demangle(name, readable, sizeof(readable)) ? readable : name, NAME_SHOWN_MAX);
	p->sym_start = start;
	p->sym_rank = rank;
}

static void name_by_symbols(const struct image *image, struct place *places, size_t count)
{
	int total = dwfl_module_getsymtab(image->module);

	for (int i = 1; i < total; i++) {
		GElf_Sym sym;
		GElf_Addr addr;
		const char *name = dwfl_module_getsym_info(image->module, i, &sym, &addr, NULL, NULL, NULL);
		int type = name ? GELF_ST_TYPE(sym.st_info) : 0;
		uint64_t size;

		if (!name || !name[0] || sym.st_shndx == SHN_UNDEF ||
		    (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
			continue;
		size = sym.st_size ? sym.st_size : SIZELESS_MAX;
		for (struct place *p = first_from(places, count, addr); p < places + count && p->addr - addr < size;
		     p++) {
			if (p->image == image)
				offer(p, addr, rank_of(&sym, name), name);
		}
	}
}

/* The start of the function that has file address 'vaddr', by the sorted table that
 * the unwinder of the target itself uses. */
static bool function_start(const struct image *image, uint64_t vaddr, uint64_t *ret_start)
{
	struct entry {
		int32_t start, fde;
	} entry;
	GElf_Addr bias;
	Elf *elf = dwfl_module_getelf(image->module, &bias);
	size_t phdrs = 0;
	GElf_Phdr ph;
	bool found = false;
	uint32_t lo = 0, hi;
	const unsigned char *table;
	Elf_Data *data;

	if (!elf || elf_getphdrnum(elf, &phdrs) < 0)
		return false;
	for (size_t i = 0; i < phdrs && !found; i++)
		found = gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_GNU_EH_FRAME;
	data = found && ph.p_filesz > 12 ? elf_getdata_rawchunk(elf, (int64_t)ph.p_offset, ph.p_filesz, ELF_T_BYTE)
					 : NULL;
	/* version 1; a count in 4 bytes; pairs of 4 bytes relative to the table */
	if (!data || data->d_size < ph.p_filesz)
		return false;
	table = data->d_buf;
	if (table[0] != 1 || table[2] != 0x03 || table[3] != 0x3b)
		return false;
	memcpy(&hi, table + 8, sizeof(hi));
	hi = MIN(hi, (uint32_t)((ph.p_filesz - 12) / sizeof(entry)));
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		memcpy(&entry, table + 12 + (size_t)mid * sizeof(entry), sizeof(entry));
		if (ph.p_vaddr + (uint64_t)(int64_t)entry.start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	memcpy(&entry, table + 12 + (size_t)(lo - 1) * sizeof(entry), sizeof(entry));
	*ret_start = ph.p_vaddr + (uint64_t)(int64_t)entry.start;
	return vaddr - *ret_start < (16u << 20);
}

static void name_by_line(const struct image *image, struct place *p)
{
	Dwfl_Line *line = dwfl_module_getsrc(image->module, p->addr);
	int number = 0;
	const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;

	if (!file || number <= 0)
		return;
	p->file = strndup(file, 4096);
	p->line = (uint32_t)number;
}

/* 'fn_21a4f0' */
static bool is_unnamed(const char *function)
{
	return function && !strncmp(function, "fn_", 3) && function[3] &&
	       !function[3 + strspn(function + 3, "0123456789abcdef")];
}

/* The function of the machine is the one that they lie in; a symbol's name is kept. */
static void name_inlined(const struct image *image, struct place *p)
{
	struct inlined list[INLINE_MAX];
	CLEAN(free) char *outer = NULL;
	size_t count = inline_find(image, p->addr, list, &outer);

	if (outer && is_unnamed(p->function))
		text_set(&p->function, outer);
	p->inlined = count ? malloc(count * sizeof(*list)) : NULL;
	if (!p->inlined) {
		inlined_done(list, count);
		return;
	}
	memcpy(p->inlined, list, count * sizeof(*list));
	p->inlined_count = count;
}

static void name_without_symbol(const struct images *images, struct place *p)
{
	const struct proc_map *map = proc_maps_find(images_maps(images), p->addr);
	const char *name = map ? proc_map_name(images_maps(images), map) : "";
	uint64_t start;

	if (p->image) {
		if (function_start(p->image, p->addr - p->image->bias, &start))
			text_setf(&p->function, "fn_%llx", (unsigned long long)start);
		else
			text_setf(&p->function, "%s+0x%llx", p->image->name,
				  (unsigned long long)(p->addr - p->image->bias));
	} else if (map && map->inode && map->path && strncmp(name, "/dev/zero", 9)) {
		text_setf(&p->function, "%s+0x%llx", strrchr(name, '/') + 1,
			  (unsigned long long)(p->addr - map->start + map->offset));
	} else {
		text_set(&p->function, map && map->executable ? "[jit]" : map ? "[anon]" : "[unmapped]");
	}
}

static const char *module_of(const struct images *images, const struct place *p)
{
	const struct proc_map *map;
	const char *name, *slash;

	if (p->image)
		return p->image->name;
	map = proc_maps_find(images_maps(images), p->addr);
	name = map ? proc_map_name(images_maps(images), map) : "";
	slash = strrchr(name, '/');
	return slash ? slash + 1 : name[0] ? name : NULL;
}

static size_t unique_places(struct images *images, const struct walk *walks, size_t count, struct place *places)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < walks[i].count; k++)
			places[n++].addr = images_home(images, walk_lookup(&walks[i].frame[k]));
	}
	qsort(places, n, sizeof(*places), by_addr);
	for (size_t i = 0; i < n; i++) {
		if (kept && places[kept - 1].addr == places[i].addr)
			continue;
		places[kept].addr = places[i].addr;
		places[kept].image = images_find(images, places[i].addr);
		kept++;
	}
	return kept;
}

static struct frame *add_frame(const struct images *images, const struct place *p, uint64_t pc, const char *function,
			       struct stack *ret)
{
	struct frame *f = list_add(&ret->frame, &ret->count, sizeof(*f));

	if (!f)
		return NULL;
	text_set(&f->function, function);
	text_set(&f->module, module_of(images, p));
	f->pc = pc;
	return f;
}

/* The line of the innermost is that of the address; each outer one stands where it called. */
static int put_place(const struct images *images, const struct place *p, uint64_t pc, size_t *left, struct stack *ret)
{
	const char *file = p->file;
	uint32_t line = p->line;

	/* so many that nobody reads them: the answer has a limit, too */
	size_t inlined = p->inlined_count <= *left && ret->count < STACK_FRAMES_MAX ? p->inlined_count : 0;

	*left -= inlined;
	for (size_t n = 0; n <= inlined; n++) {
		const struct inlined *in = n < inlined ? &p->inlined[n] : NULL;
		struct frame *f = add_frame(images, p, pc, in ? in->function : p->function, ret);

		if (!f)
			return -ENOMEM;
		f->inlined = in;
		text_set(&f->file, file);
		f->line = line;
		file = in ? in->file : NULL;
		line = in ? in->line : 0;
	}
	return 0;
}

static int put_names(const struct images *images, const struct walk *walk, struct place *places, size_t place_count,
		     size_t *left, struct stack *ret)
{
	int r = 0;

	for (size_t k = 0; k < walk->count && r == 0; k++)
		r = put_place(images,
			      first_from(places, place_count, images_home(images, walk_lookup(&walk->frame[k]))),
			      walk->frame[k].pc, left, ret);
	text_set(&ret->unavailable, walk->why);
	return r;
}

static void place_done(struct place *p)
{
	free(p->function);
	free(p->file);
	inlined_done(p->inlined, p->inlined_count);
	free(p->inlined);
}

int symbols_name(struct images *images, const struct walk *walks, size_t count, struct stack *ret_stacks,
		 size_t *ret_late)
{
	size_t total = 0, n, late = 0, left = INLINED_MOST;
	uint64_t until_ns;
	struct place *places;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		total += walks[i].count;
	places = calloc(total + 1, sizeof(*places));
	if (!places)
		return -ENOMEM;
	n = unique_places(images, walks, count, places);
	for (size_t i = 0; i < images_count(images); i++) {
		const struct image *image = images_get(images, i);
		bool used = false;

		for (size_t k = 0; k < n && !used; k++)
			used = places[k].image == image;
		if (used)
			name_by_symbols(image, places, n);
	}
	until_ns = now_ns() + LINES_NS;
	for (size_t k = 0; k < n; k++) {
		struct place *p = &places[k];

		if (!p->function)
			name_without_symbol(images, p);
		if (p->image && now_ns() < until_ns) {
			name_by_line(p->image, p);
			if (p->file)
				name_inlined(p->image, p);
		} else if (p->image) {
			late++;
		}
	}
	for (size_t i = 0; i < count && r == 0; i++) {
		ret_stacks[i] = (struct stack){ 0 };
		r = put_names(images, &walks[i], places, n, &left, &ret_stacks[i]);
	}
	for (size_t k = 0; k < n; k++)
		place_done(&places[k]);
	free(places);
	if (r == 0)
		*ret_late = late;
	return r;
}

#define ID_BYTES 64

/* In hex; '': it has none. */
static void build_id_of(const struct image *image, char ret[2 * ID_BYTES + 1])
{
	const unsigned char *id = NULL;
	GElf_Addr at;
	int len = image->module ? dwfl_module_build_id(image->module, &id, &at) : 0;

	ret[0] = '\0';
	for (int i = 0; i < MIN(len, ID_BYTES); i++)
		snprintf(ret + 2 * i, 3, "%02x", id[i]);
}

static void add_file(const struct image *image, struct buf *out)
{
	char id[2 * ID_BYTES + 1];

	build_id_of(image, id);
	buf_addf(out, "%s%s (%s%.40s)", out->len ? ", " : "", image->name, id[0] ? "build-id " : "no build-id", id);
}

int symbols_modules(const struct images *images, pid_t pid, struct analysis *a)
{
	CLEAN(free) bool *wanted = calloc(images_count(images) + 1, sizeof(*wanted));
	char id[2 * ID_BYTES + 1];
	int r = wanted ? 0 : -ENOMEM;

	for (size_t i = 0; i < a->thread_count && wanted; i++) {
		for (size_t k = 0; k < a->thread[i].stack.count; k++) {
			const struct frame *f = &a->thread[i].stack.frame[k];
			const struct image *image = f->file ? NULL : images_find(images, f->pc);

			if (image)
				wanted[image - images_get(images, 0)] = true;
		}
	}
	for (size_t i = 0; i < images_count(images) && r == 0; i++) {
		const struct image *image = images_get(images, i);

		if (!wanted[i])
			continue;
		build_id_of(image, id);
		r = module_add(a, &(struct module_id){ .pid = pid,
						       .name = (char *)image->name,
						       .build_id = id[0] ? id : NULL,
						       .bias = image->bias });
	}
	return r;
}

char *symbols_missing(const struct images *images, const struct stack *stacks, size_t count)
{
	CLEAN(free) bool *missing = calloc(images_count(images) + 1, sizeof(*missing));
	const struct image *first = images_count(images) ? images_get(images, 0) : NULL;
	struct buf out;
	size_t left = 0;

	for (size_t i = 0; i < count && missing && first; i++) {
		for (size_t k = 0; k < stacks[i].count; k++) {
			const struct frame *f = &stacks[i].frame[k];
			const struct image *image = is_unnamed(f->function) ? images_find(images, f->pc) : NULL;

			if (image)
				missing[image - first] = true;
		}
	}
	buf_init(&out, 4096);
	for (size_t i = 0; i < images_count(images) && missing; i++) {
		if (missing[i] && out.len < MISSING_TEXT_MAX)
			add_file(images_get(images, i), &out);
		else
			left += missing[i];
	}
	if (left)
		buf_addf(&out, " and %zu more", left);
	if (!out.len || out.full) {
		buf_done(&out);
		return NULL;
	}
	return buf_take(&out);
}

/* --- one file alone --- */

static int no_debuginfo(Dwfl_Module *m UNUSED, void **data UNUSED, const char *name UNUSED, Dwarf_Addr base UNUSED,
			const char *file UNUSED, const char *link UNUSED, GElf_Word crc UNUSED, char **ret UNUSED)
{
	return -1;
}

static const Dwfl_Callbacks file_callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = no_debuginfo,
	.section_address = dwfl_offline_section_address,
};

static int name_in(const struct image *image, const uint64_t *addr, size_t count, struct place *places,
		   struct stack *ret_stacks)
{
	size_t left = INLINED_MOST;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		places[i] = (struct place){ .addr = addr[i], .image = image };
	qsort(places, count, sizeof(*places), by_addr);
	name_by_symbols(image, places, count);
	for (size_t i = 0; i < count; i++) {
		name_by_line(image, &places[i]);
		name_inlined(image, &places[i]);
	}
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct place *p = first_from(places, count, addr[i]);

		ret_stacks[i] = (struct stack){ 0 };
		if (p->function)
			r = put_place(NULL, p, addr[i], &left, &ret_stacks[i]);
	}
	return r;
}

int symbols_name_file(int fd, const uint64_t *addr, size_t count, struct stack *ret_stacks)
{
	Dwfl *dwfl = dwfl_begin(&file_callbacks);
	struct place *places = calloc(count + 1, sizeof(*places));
	struct image image = { .name = "" };
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0), r = dwfl && places ? 0 : -ENOMEM;

	if (r == 0 && own < 0)
		r = -errno;
	if (r == 0) {
		dwfl_report_begin(dwfl);
		image.module = dwfl_report_elf(dwfl, "file", "file", own, 0, true);
		dwfl_report_end(dwfl, NULL, NULL);
		if (image.module)
			own = -1; /* libdwfl closes it */
		r = image.module ? name_in(&image, addr, count, places, ret_stacks) : -ENOEXEC;
	}
	for (size_t i = 0; i < count && places; i++)
		place_done(&places[i]);
	free(places);
	if (own >= 0)
		close(own);
	if (dwfl)
		dwfl_end(dwfl);
	return r;
}

/* --- exported symbols --- */

static bool find_in_section(Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh, const char *name, GElf_Sym *ret)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t count = data && sh->sh_entsize == sizeof(Elf64_Sym) ? data->d_size / sizeof(Elf64_Sym) : 0;

	for (size_t i = 1; i < count; i++) {
		const char *text;

		if (!gelf_getsym(data, (int)i, ret) || ret->st_shndx == SHN_UNDEF)
			continue;
		text = elf_strptr(elf, sh->sh_link, ret->st_name);
		if (text && !strcmp(text, name))
			return true;
	}
	return false;
}

bool symbol_address(const struct image *image, const char *name, uint64_t *ret_addr)
{
	GElf_Addr bias;
	Elf *elf = image->module ? dwfl_module_getelf(image->module, &bias) : NULL;
	Elf_Scn *scn = NULL;

	while (elf && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		GElf_Sym sym;

		if (gelf_getshdr(scn, &sh) && sh.sh_type == SHT_DYNSYM && find_in_section(elf, scn, &sh, name, &sym)) {
			*ret_addr = sym.st_value + image->bias;
			return true;
		}
	}
	return false;
}
