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

#define CONFIG_SITES "rules.d" /* beside the main file: its *.conf are read after it, by name */
#define CONFIG_SITES_MAX 1000

/* -EINVAL when anything is wrong in the main file: 'problems' (never NULL) then holds one
 * line each, 'FILE:LINE: text\n', and *ret_rules is untouched. err has the first. -EPERM:
 * others may write to it, or it enables actions and is somebody else's. With 0 'problems'
 * may still hold lines 'FILE:LINE: warning: text\n': show them; and those of files of
 * rules.d, each of which is taken whole or left out (rules.refused). Reading may block as
 * the disk does. rules_free frees the rules. */
int config_read(const char *path, struct rules *ret_rules, struct buf *problems, struct err *err);

/* The same as it would be with 'text' in the main file, which is there: a text that is being
 * edited, with the rules.d of now. */
int config_read_as(const char *path, const char *text, struct rules *ret_rules, struct buf *problems, struct err *err);

/* Another number when one of these files may have changed. May block as the disk does. */
uint64_t config_stamp(const char *path);

/* The main file's text alone; 'name' stands for the file. No I/O. */
int config_parse(const char *name, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		 struct err *err);

/* The same where rules of rules.d may follow: there need be none in it. */
int config_parse_main(const char *name, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		      struct err *err);

/* Text of rules.d: rules alone, about the main file's watch sets, without actions. They are
 * added to 'rules', all of them or none. */
int config_parse_site(const char *name, const char *text, size_t len, struct rules *rules, struct buf *problems,
		      struct err *err);

/* The effective rules as a file that config_read takes. */
void config_write(const struct rules *rules, struct buf *out);

/* Parts of one: a rule's section; a text in its quotes. */
void config_write_rule(const struct rule *rule, struct buf *out);
void config_write_text(const char *text, struct buf *out);

/* A whole text file into memory, which the caller frees. -E2BIG: longer than max. The
 * second reads from a file that is open. */
int config_load(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err);
int config_load_fd(int fd, const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err);

#endif
