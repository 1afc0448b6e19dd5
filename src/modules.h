/* SPDX-License-Identifier: MIT */
/* The files that a core speaks of (NT_FILE), which of them is its program, and whether
 * they are on this machine. Opens regular files only, for reading, and no file of the
 * kernel's own. Names are hostile. */
#ifndef REQTRAP_MODULES_H
#define REQTRAP_MODULES_H

#include "buildid.h"
#include "corefile.h"

#define MODULE_NAME_MAX 4096 /* with its NUL */

struct module {
	uint64_t start, end;
	uint64_t offset; /* of the mapping in the file, in bytes */
	char name[MODULE_NAME_MAX];
};

/* Each row of the note, in its order, until 'each' returns less than 0, which is passed
 * on. -EBADMSG: the note contradicts itself; the rows before were told. -ENOMEM. */
int modules_each(struct corefile *core, const struct corefile_note *note,
		 int (*each)(void *arg, const struct module *module), void *arg, struct err *err);

/* The row that holds an address: 0, or -ENOENT, or as above. */
int module_at(struct corefile *core, const struct corefile_note *note, uint64_t addr, struct module *ret_module);

enum module_here {
	MODULE_SAME,	/* the build-id is that of the core */
	MODULE_UNKNOWN, /* a file of that name is here; its build-id cannot be compared */
	MODULE_OTHER,	/* the build-id differs */
	MODULE_GONE,	/* not here, or no regular file */
};

/* image: where the file's first page lies in the core; 0: it is not known. */
enum module_here module_here(struct corefile *core, const char *name, uint64_t image);

/* The auxiliary vector: what type stands for, 0 if it is not there. */
uint64_t auxv_get(struct corefile *core, const struct corefile_note *auxv, uint64_t type);

/* What the dynamic linker has loaded, by its own list: 1 with the count, 0 a static
 * program, or -EFAULT: ret_why is not in the core. */
int modules_linked(struct corefile *core, const struct corefile_note *auxv, size_t *ret_count, const char **ret_why);

#endif
