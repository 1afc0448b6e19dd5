// SPDX-License-Identifier: MIT
/* The note is addresses first, names behind: two places are read in step, in blocks.
 * Trap: a name may be that of a device or a pipe, where opening alone does something:
 * it is looked at by O_PATH before. */
#include "modules.h"

#include <fcntl.h>
#include <link.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define AHEAD_BYTES (32u << 10)
#define LINKED_MAX 65536
#define PHDRS_MAX 128
#define DYNAMIC_MAX 1024

struct cursor {
	uint64_t at, end; /* in the file */
	size_t used, len;
	char ahead[AHEAD_BYTES];
};

struct rows {
	struct cursor row, name;
};

static int next_byte(struct corefile *core, struct cursor *c, char *ret)
{
	if (c->used == c->len) {
		ssize_t n = corefile_read(core, c->at, c->ahead, (size_t)MIN(c->end - c->at, sizeof(c->ahead)));

		if (n <= 0)
			return -EBADMSG;
		c->at += (uint64_t)n;
		c->len = (size_t)n;
		c->used = 0;
	}
	*ret = c->ahead[c->used++];
	return 0;
}

static int next_words(struct corefile *core, struct cursor *c, uint64_t *ret, size_t count)
{
	char *to = (char *)ret;

	for (size_t i = 0; i < count * sizeof(*ret); i++) {
		if (next_byte(core, c, &to[i]) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int next_name(struct corefile *core, struct cursor *c, char *name)
{
	for (size_t i = 0; i < MODULE_NAME_MAX; i++) {
		if (next_byte(core, c, &name[i]) < 0)
			return -EBADMSG;
		if (!name[i])
			return 0;
	}
	return -EBADMSG;
}

int modules_each(struct corefile *core, const struct corefile_note *note,
		 int (*each)(void *arg, const struct module *module), void *arg, struct err *err)
{
	CLEAN(free) struct rows *rows = calloc(1, sizeof(*rows));
	CLEAN(free) struct module *module = calloc(1, sizeof(*module));
	uint64_t head[2], word[3];
	int r = 0;

	if (!rows || !module)
		return err_sys(err, -ENOMEM, "cannot read the list of files");
	rows->row.at = note->offset;
	rows->row.end = note->offset + note->size;
	if (next_words(core, &rows->row, head, 2) < 0)
		return err_say(err, -EBADMSG, "the list of files is cut off");
	if (head[0] > (note->size - sizeof(head)) / sizeof(word))
		return err_say(err, -EBADMSG, "the list of files says it has %llu rows, and has no room for them",
			       (unsigned long long)head[0]);
	rows->name.at = note->offset + sizeof(head) + head[0] * sizeof(word);
	rows->name.end = rows->row.end;
	for (uint64_t i = 0; i < head[0] && r == 0; i++) {
		if (next_words(core, &rows->row, word, 3) < 0 || next_name(core, &rows->name, module->name) < 0)
			return err_say(err, -EBADMSG, "the list of files ends within its row %llu of %llu",
				       (unsigned long long)i + 1, (unsigned long long)head[0]);
		module->start = word[0];
		module->end = word[1];
		module->offset = word[2] * head[1];
		r = each(arg, module);
	}
	return r;
}

struct wanted {
	uint64_t addr;
	struct module *module;
};

static int is_wanted(void *arg, const struct module *module)
{
	struct wanted *w = arg;

	if (w->addr < module->start || w->addr >= module->end)
		return 0;
	*w->module = *module;
	return -EEXIST;
}

int module_at(struct corefile *core, const struct corefile_note *note, uint64_t addr, struct module *ret_module)
{
	struct wanted w = { .addr = addr, .module = ret_module };
	int r = modules_each(core, note, is_wanted, &w, NULL);

	return r == -EEXIST ? 0 : r < 0 ? r : -ENOENT;
}

/* The kernel's own files are made as they are read, some only once. */
static bool of_the_kernel(int fd)
{
	static const unsigned long kinds[] = { PROC_SUPER_MAGIC,    SYSFS_MAGIC,	DEBUGFS_MAGIC,
					       TRACEFS_MAGIC,	    SECURITYFS_MAGIC,	CGROUP_SUPER_MAGIC,
					       CGROUP2_SUPER_MAGIC, AUTOFS_SUPER_MAGIC, PSTOREFS_MAGIC };
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if ((unsigned long)st.f_type == kinds[i])
			return true;
	}
	return false;
}

enum module_here module_here(struct corefile *core, const char *name, uint64_t image)
{
	struct memory memory = corefile_memory(core);
	struct buildid ours, theirs;
	CLEAN(fd) int path = -1;
	CLEAN(fd) int fd = -1;
	struct stat st;
	char self[64];

	if (name[0] != '/')
		return MODULE_GONE;
	path = open(name, O_PATH | O_CLOEXEC);
	if (path < 0 || fstat(path, &st) < 0 || !S_ISREG(st.st_mode) || of_the_kernel(path))
		return MODULE_GONE;
	ours = image ? buildid_of_image(&memory, image) : (struct buildid){ .len = 0 };
	if (!ours.len)
		return MODULE_UNKNOWN;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return MODULE_UNKNOWN;
	memory = memory_of_fd(&fd);
	theirs = buildid_of_file(&memory);
	return buildid_same(&ours, &theirs) ? MODULE_SAME : MODULE_OTHER;
}

uint64_t auxv_get(struct corefile *core, const struct corefile_note *auxv, uint64_t type)
{
	Elf64_auxv_t row[128];
	ssize_t n = corefile_read(core, auxv->offset, row, MIN(auxv->size, sizeof(row)));

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(*row); i++) {
		if (row[i].a_type == AT_NULL)
			break;
		if (row[i].a_type == type)
			return row[i].a_un.a_val;
	}
	return 0;
}

/* Where the program's PT_DYNAMIC lies: 0, it has none. */
static int find_dynamic(const struct memory *mem, uint64_t at, uint64_t count, uint64_t *ret_dynamic)
{
	uint64_t dynamic = 0, bias = 0;
	bool any = false;
	Elf64_Phdr phdr;

	for (uint64_t i = 0; i < MIN(count, (uint64_t)PHDRS_MAX); i++) {
		if (memory_get(mem, at + i * sizeof(phdr), &phdr, sizeof(phdr)) < 0)
			return -EFAULT;
		if (phdr.p_type == PT_PHDR)
			bias = at - phdr.p_vaddr;
		if (phdr.p_type == PT_DYNAMIC) {
			dynamic = phdr.p_vaddr;
			any = true;
		}
	}
	*ret_dynamic = any ? dynamic + bias : 0;
	return 0;
}

static int find_debug(const struct memory *mem, uint64_t dynamic, uint64_t *ret_debug)
{
	Elf64_Dyn dyn;

	for (size_t i = 0; i < DYNAMIC_MAX; i++) {
		if (memory_get(mem, dynamic + i * sizeof(dyn), &dyn, sizeof(dyn)) < 0)
			return -EFAULT;
		if (dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_DEBUG) {
			*ret_debug = dyn.d_un.d_ptr;
			return 0;
		}
	}
	*ret_debug = 0;
	return 0;
}

int modules_linked(struct corefile *core, const struct corefile_note *auxv, size_t *ret_count, const char **ret_why)
{
	struct memory mem = corefile_memory(core);
	uint64_t dynamic, debug = 0, at, name;
	struct r_debug head;
	size_t count = 0;
	char text[2];

	*ret_why = "the program's header";
	if (find_dynamic(&mem, auxv_get(core, auxv, AT_PHDR), auxv_get(core, auxv, AT_PHNUM), &dynamic) < 0)
		return -EFAULT;
	*ret_why = "the program's dynamic section";
	if (dynamic && find_debug(&mem, dynamic, &debug) < 0)
		return -EFAULT;
	if (!debug)
		return 0;
	*ret_why = "the list of loaded libraries";
	if (memory_get(&mem, debug, &head, sizeof(head)) < 0)
		return -EFAULT;
	for (at = (uint64_t)head.r_map; at && count < LINKED_MAX; count++) {
		struct link_map map;

		if (memory_get(&mem, at, &map, offsetof(struct link_map, l_prev) + sizeof(map.l_prev)) < 0)
			return -EFAULT;
		name = (uint64_t)map.l_name;
		if (name && memory_string(&mem, name, text, sizeof(text)) < 0) {
			*ret_why = "the name of a loaded library";
			return -EFAULT;
		}
		at = (uint64_t)map.l_next;
	}
	*ret_count = count;
	return 1;
}
