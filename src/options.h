/* SPDX-License-Identifier: MIT */
/* One table of options. It feeds getopt_long, the config keys that are the same
 * words, --help, shell completion and the man page. What a verb is stands here too;
 * the table of verbs is in verbs.c, with the functions. */
#ifndef REQTRAP_OPTIONS_H
#define REQTRAP_OPTIONS_H

#include "buf.h"
#include "err.h"

enum exit_code { EXIT_DONE = 0, EXIT_NOTHING = 1, EXIT_MISTAKE = 2, EXIT_REFUSED = 3 };

/* Exit code for a negative errno: EXIT_MISTAKE for what the user can mend in the
 * command line (EINVAL, ENOENT, ESRCH ...), else EXIT_REFUSED: the system said no. */
int exit_code_of(int code);

enum verb_bits {
	VERB_WATCH = 1 << 0,
	VERB_DUMP = 1 << 1,
	VERB_PROCDUMP = 1 << 2, /* has its own grammar: no rows of the option table */
	VERB_STACKS = 1 << 3,
	VERB_LIST = 1 << 4,
	VERB_SHOW = 1 << 5,
	VERB_REPORT = 1 << 6,
	VERB_OPEN = 1 << 7,
	VERB_RM = 1 << 8,
	VERB_CHECK = 1 << 9,
	VERB_TEST = 1 << 10,
	VERB_DOCTOR = 1 << 11,
	VERB_DEMO = 1 << 12,
	VERB_COMPLETION = 1 << 13,
	VERB_HELP = 1 << 14,
	VERB_VERIFY = 1 << 15,
	VERB_TOP = 1 << 16,
	VERB_EXPORT = 1 << 17,
	VERB_IMPORT = 1 << 18,
	VERB_SERVE = 1 << 19,
	VERB_RULES = 1 << 20,
};

struct verb {
	const char *name;
	const char *args;		   /* for the usage line: 'TARGET...' */
	const char *summary;		   /* one line */
	uint32_t bit;			   /* which options it takes: struct option_row.verbs */
	int (*run)(int argc, char **argv); /* argv[0] is the verb */
	const char *details;		   /* paragraphs for '--help', lines ended by \n; NULL none */
	const char *examples;		   /* worked examples for '--help', lines ended by \n */
};

enum option_type {
	TYPE_FLAG,
	TYPE_TEXT,
	TYPE_DURATION,
	TYPE_SIZE,
	TYPE_SPACE, /* a size, or a part of the disk: 10% */
	TYPE_COUNT,
	TYPE_PERCENT,
	TYPE_STATUS,
	TYPE_CAPTURE,
	TYPE_AREAS,
	TYPE_LIMIT,
	TYPE_CHOICE,
};

struct option_row {
	const char *name; /* long option, and the key in the rules file */
	char letter;	  /* 0 none */
	enum option_type type;
	const char *arg;     /* 'D', 'FILE' ...; NULL for flags */
	const char *choices; /* TYPE_CHOICE: 'a|b' */
	uint32_t verbs;	     /* bits of the verbs that take it */
	bool config_key;     /* also a key of a 'rule' section */
	const char *help;
};

/* A name may have several rows, for different verbs. */
extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* Parsed command line: options in the order given, then what is not an option. */
struct option_use {
	const struct option_row *row;
	const char *value; /* points into argv; NULL for flags */
};

struct command_line {
	struct option_use use[64];
	size_t use_count;
	char **rest; /* into argv, whose order is changed */
	int rest_count;
	char **command; /* after '--', into argv, NULL-terminated; NULL none */
};

/* Parses for one verb; unknown options get 'did you mean'. Values are checked by
 * their type. -EINVAL with a text. '--help' prints and returns 1: the caller exits 0. */
int options_parse(const struct verb *verb, int argc, char **argv, struct command_line *ret, struct err *err);

bool option_given(const struct command_line *line, const char *name);
const char *option_value(const struct command_line *line, const char *name); /* the last one; NULL */

/* '--help' of one verb, within 80 columns. */
void options_help(const struct verb *verb, struct buf *out);

/* The nearest of a list by edit distance, if near enough to mean; NULL otherwise. */
const char *did_you_mean(const char *word, const char *const *candidates, size_t count);

#endif
