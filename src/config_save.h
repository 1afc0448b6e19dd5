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

/* The same by a child, for who must not wait for a disk: -EINPROGRESS when it is not done
 * after wait_ns. Then it goes on for a while, and the file is the old or the new one. */
int config_save_apart(const char *path, const char *was, const char *text, uint64_t wait_ns, struct err *err);

#define CONFIG_SAVE_VERB "--save"
int config_save_main(int argc, char **argv); /* the child */

#endif
