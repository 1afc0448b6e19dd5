/* SPDX-License-Identifier: MIT */
/* A folder in safe hands: nobody but root, ourselves and, if wished, who called sudo
 * could have led us elsewhere on the way to it, or could swap what we put into it.
 * Knows nothing of what is put there. Blocks on the disk. */
#ifndef REQTRAP_FOLDER_H
#define REQTRAP_FOLDER_H

#include "err.h"

struct folder_wish {
	const char *subject; /* in the texts: "store '/x'" */
	bool safe;	     /* refuse what is not in safe hands: -EPERM */
	bool sudoer;	     /* who called sudo is as good as ourselves */
};

/* Opens the folder (O_PATH, the caller's). Symlinks are followed, if safe only those
 * of the trusted. ret_path: absolute, without symlinks; the caller frees. */
int folder_open(const char *path, const struct folder_wish *wish, int *ret_fd, char **ret_path, struct err *err);

/* Opens our folder of that name for what counts only while processes run: below /run, or
 * the user's own runtime folder, or below runtime_dir if that is not NULL. -ENOENT: there
 * is none, -EPERM: others could put something into it. */
int folder_runtime(const char *runtime_dir, const char *name, bool make);

#endif
