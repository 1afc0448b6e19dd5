/* SPDX-License-Identifier: MIT */
/* A rules file under an editor: replaced as a whole, or left as it is. Refuses to know what
 * is in it. */
#ifndef REQTRAP_CONFIG_SAVE_H
#define REQTRAP_CONFIG_SAVE_H

#include "err.h"

/* 'text' in place of 'was'. A symbolic link stays and the file that it leads to is replaced;
 * owner (if we may give files away) and mode stay. -EBUSY: the file is no longer 'was'. On
 * any failure the old file is there, whole. 1: it is saved, but may not outlive a crash of
 * the host, err says why. Waits for the disk. */
int config_save(const char *path, const char *was, const char *text, struct err *err);

#endif
