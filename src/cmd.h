/* SPDX-License-Identifier: MIT */
/* The verbs. Each takes its own argv (argv[0] is the verb's name), prints its own
 * failures and returns an enum exit_code. */
#ifndef REQTRAP_CMD_H
#define REQTRAP_CMD_H

#include "options.h"

int cmd_watch(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_procdump(int argc, char **argv); /* ProcDump's own grammar; also when called under that name */
int cmd_stacks(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_open(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_help(int argc, char **argv);

/* The table of verbs, verbs.c. */
extern const struct verb verbs[];
extern const size_t verb_count;

const struct verb *verb_find(const char *name); /* NULL: no such verb */

/* options_parse as a verb's first step. VERB_GO_ON, or the exit code to return at
 * once: '--help' was printed, or a mistake was told with the way to the help. */
#define VERB_GO_ON (-1)
int verb_begin(const char *name, int argc, char **argv, struct command_line *ret_line);

#endif
