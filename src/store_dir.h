/* SPDX-License-Identifier: MIT */
/* The store's own folder: where it is, and whether somebody else could lead us
 * elsewhere. Knows nothing of incidents. Blocks on the disk. */
#ifndef REQTRAP_STORE_DIR_H
#define REQTRAP_STORE_DIR_H

#include "err.h"

void store_dir_make_parents(const char *path); /* those missing, 0700; a failure shows at the opening */

/* Opens it (O_DIRECTORY, the caller's). With 'create' it is made if absent, and must be
 * ours and in safe hands: -EPERM. ret_path: absolute, its parent without symlinks. */
int store_dir_open(const char *dir, bool create, int *ret_fd, char **ret_path, struct err *err);

#endif
