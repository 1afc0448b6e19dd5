/* SPDX-License-Identifier: MIT */
/* The rules file (libconfuse): text to struct rules and back. Reports every wrong
 * key and value as FILE:LINE with 'did you mean', not only the first; a syntax
 * error may end it. */
#ifndef REQTRAP_CONFIG_H
#define REQTRAP_CONFIG_H

#include "buf.h"
#include "err.h"
#include "rule.h"

#define CONFIG_BYTES_MAX (1u << 20)

/* -EINVAL when anything is wrong: 'problems' (never NULL) then holds one line each,
 * 'FILE:LINE: text\n', and *ret_rules is untouched. err has the first. With 0
 * 'problems' may still hold lines 'FILE:LINE: warning: text\n': show them. Reading
 * the file may block as the disk does. rules_free frees the rules. */
int config_read(const char *path, struct rules *ret_rules, struct buf *problems, struct err *err);

/* The same on text that is there already; 'name' stands for the file. No I/O. */
int config_parse(const char *name, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		 struct err *err);

/* The effective rules as a file that config_read takes. */
void config_write(const struct rules *rules, struct buf *out);

/* Parts of one: a rule's section; a text in its quotes. */
void config_write_rule(const struct rule *rule, struct buf *out);
void config_write_text(const char *text, struct buf *out);

/* A whole text file into memory, which the caller frees. -E2BIG: longer than max. */
int config_load(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err);

#endif
