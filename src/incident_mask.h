/* SPDX-License-Identifier: MIT */
/* Secrets in what is told: the values of a URL's query, what looks like a password in a
 * command line. Where such a text enters the program it goes through here, so that no
 * page, line or token can hold what the facts do not. Pure but for the one switch. */
#ifndef REQTRAP_MASK_TOLD_H
#define REQTRAP_MASK_TOLD_H

#include "mask.h"

#include <stdbool.h>
#include <stddef.h>

/* Nothing is masked from now on: --show-values. Before the first request is seen. */
void mask_show_values(bool show);

/* '/cart?order=77&x' as '/cart?order=***&***'; in front of a host 'user:password@' as
 * '***@', and ';jsessionid=..' in the path. The path itself stays, so rules match it. The
 * caller frees; NULL: no memory. */
char *mask_url(const char *url);

/* A command line as /proc has it (a NUL behind each argument) as one line with blanks;
 * '--password=x', '--token x', 'PGPASSWORD=x' and 'db://user:x@host' lose their x. */
char *mask_cmdline(const char *args, size_t len);

#endif
