// SPDX-License-Identifier: MIT
/* One row per option name. Rejected: getopt_long_only (no '/x', no dash of a web
 * page, prefers abbreviations) and ignoring what is unknown: a trigger that is left
 * out silently would dump at the wrong moment. Trap: '/tmp' is a path and '/ma' an
 * option, so a slash opens an option only in front of the target, and only if the
 * rest is a name of this table. */
#include "procdump.h"

#include "rule.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

enum use {
	USE_PLAIN,    /* what happens anyway: nothing to say */
	USE_FLAG,     /* sets the bool at 'at' */
	USE_COUNT,    /* the number at 'at' */
	USE_SECONDS,  /* the nanoseconds at 'at' */
	USE_TEXT,     /* the string at 'at' */
	USE_DURATION, /* the nanoseconds at 'at', with their unit */
	USE_NEAREST,  /* sets the bool at 'at', which is another one: says so */
	USE_NOTE,     /* means nothing on Linux, or not to this program */
	USE_NOTE_ARG, /* the same, and takes an argument */
	USE_CLONE,    /* -r, with its optional number */
	USE_LATER,    /* not in this version */
};

struct row {
	const char *name;
	enum use use;
	size_t at;
	const char *text; /* after the name: why a note, or what is not there */
};

#define AT(field) offsetof(struct procdump, field)

static const struct row rows[] = {
	{ "mm", USE_FLAG, AT(mini), NULL },
	{ "ma", USE_FLAG, AT(full), NULL },
	{ "mp", USE_NEAREST, AT(full), "a full dump is written, which holds all that a MiniPlus has" },
	{ "mt", USE_NEAREST, AT(mini), "a mini is written; what is secret in its stacks is not taken out" },
	{ "64", USE_PLAIN, 0, NULL },
	{ "accepteula", USE_PLAIN, 0, NULL },
	{ "n", USE_COUNT, AT(count), NULL },
	{ "s", USE_SECONDS, AT(every_ns), NULL },
	{ "at", USE_SECONDS, AT(timeout_ns), NULL },
	{ "o", USE_FLAG, AT(overwrite), NULL },
	{ "dc", USE_TEXT, AT(comment), NULL },
	{ "?", USE_FLAG, AT(help), NULL },
	{ "help", USE_FLAG, AT(help), NULL },
	{ "json", USE_FLAG, AT(json), NULL },
	{ "no-journal", USE_FLAG, AT(no_journal), NULL },
	{ "pause-budget", USE_DURATION, AT(pause_budget_ns), NULL },
	{ "r", USE_CLONE, 0, "every dump is taken from a clone here" },
	{ "a", USE_NOTE, 0, "dumps never wait for each other here" },
	{ "wer", USE_NOTE, 0, "there is no Windows Error Reporting here" },
	{ "mk", USE_NOTE, 0, "kernel stacks are not part of a Linux core" },
	{ "md", USE_NOTE_ARG, 0, "a callback DLL cannot be loaded here" },
	{ "h", USE_NOTE, 0, "there are no windows that could hang here, so this waits for nothing" },
	{ "l", USE_NOTE, 0, "Linux has no debug output strings, so this waits for nothing" },
	{ "g", USE_NOTE, 0, "there is no managed debugger to leave out here" },
	{ "b", USE_NOTE, 0, "breakpoints are no exceptions here" },
	{ "ld", USE_NOTE, 0, "loads of libraries are not reported here" },
	{ "ud", USE_NOTE, 0, "unloads of libraries are not reported here" },
	{ "ct", USE_NOTE, 0, "new threads are not reported here" },
	{ "et", USE_NOTE, 0, "ends of threads are not reported here" },
	{ "v", USE_NOTE, 0, "everything is said anyway" },
	{ "y", USE_NOTE, 0, "there are no store apps here" },
	{ "pf", USE_NOTE_ARG, 0, "nothing is polled for a dump at once" },
	{ "log", USE_NOTE_ARG, 0, "messages go to standard error" },
	{ "usegcore", USE_NOTE, 0, "gcore is not needed" },
	{ "mc", USE_LATER, 0, "(custom dump mask)" },
	{ "c", USE_LATER, 0, "(CPU above)" },
	{ "cl", USE_LATER, 0, "(CPU below)" },
	{ "u", USE_LATER, 0, "(CPU of one core, or uninstall)" },
	{ "m", USE_LATER, 0, "(memory above)" },
	{ "ml", USE_LATER, 0, "(memory below)" },
	{ "tc", USE_LATER, 0, "(thread count)" },
	{ "fc", USE_LATER, 0, "(open files)" },
	{ "p", USE_LATER, 0, "(performance counter above)" },
	{ "pl", USE_LATER, 0, "(performance counter below)" },
	{ "pc", USE_LATER, 0, "(.NET counter above)" },
	{ "pcl", USE_LATER, 0, "(.NET counter below)" },
	{ "e", USE_LATER, 0, "(exception)" },
	{ "f", USE_LATER, 0, "(filter)" },
	{ "fx", USE_LATER, 0, "(excluding filter)" },
	{ "t", USE_LATER, 0, "(at the end of the process)" },
	{ "sig", USE_LATER, 0, "(signal)" },
	{ "w", USE_LATER, 0, "(wait for the process)" },
	{ "x", USE_LATER, 0, "(start the program)" },
	{ "pgid", USE_LATER, 0, "(process group)" },
	{ "k", USE_LATER, 0, "(kill after the dump)" },
	{ "i", USE_LATER, 0, "(install for crashes)" },
	{ "cancel", USE_LATER, 0, "(end another procdump)" },
	{ "gcm", USE_LATER, 0, "(.NET heap size)" },
	{ "gcgen", USE_LATER, 0, "(.NET garbage collection)" },
	{ "restrack", USE_LATER, 0, "(resource tracking)" },
	{ "sr", USE_LATER, 0, "(resource tracking rate)" },
};

static const struct row *find_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!strcasecmp(rows[i].name, name))
			return &rows[i];
	}
	return NULL;
}

/* Bytes of the dash that 'word' begins with; 0 if it begins with none. */
static size_t dash_len(const char *word)
{
	/* hyphen, non-breaking, figure, en, em, bar, minus, small, fullwidth; then
	 * the en and em dash of Windows-1252 */
	static const char *const dashes[] = {
		"-",	  "\u2010", "\u2011", "\u2012", "\u2013", "\u2014",
		"\u2015", "\u2212", "\ufe63", "\uff0d", "\x96",	  "\x97",
	};

	for (size_t i = 0; i < ARRAY_LEN(dashes); i++) {
		size_t n = strlen(dashes[i]);

		if (!strncmp(word, dashes[i], n))
			return n;
	}
	return 0;
}

/* The option's name inside 'word'; NULL: not an option. */
static const char *option_name(const char *word, bool slash)
{
	size_t n = dash_len(word);

	if (n)
		return word + n + dash_len(word + n);
	if (slash && word[0] == '/' && find_row(word + 1))
		return word + 1;
	return NULL;
}

static int parse_number(const char *word, const char *text, uint64_t max, uint64_t *ret, struct err *err)
{
	uint64_t value = 0;

	if (!text)
		return err_say(err, -EINVAL, "'%s' needs a number after it", word);
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || value > max)
			return err_say(err, -EINVAL, "'%s %s': a whole number from 1 to %llu is expected", word, text,
				       (unsigned long long)max);
		value = value * 10 + (uint64_t)(*p - '0');
	}
	if (value < 1 || value > max)
		return err_say(err, -EINVAL, "'%s %s': a whole number from 1 to %llu is expected", word, text,
			       (unsigned long long)max);
	*ret = value;
	return 0;
}

/* One option. Returns how many words after it belong to it. */
static int apply(struct procdump *pd, const struct row *row, const char *word, const char *next, struct buf *notes,
		 struct err *err)
{
	char *at = (char *)pd + row->at;
	uint64_t value = 0;
	int r;

	switch (row->use) {
	case USE_PLAIN:
		return 0;
	case USE_FLAG:
		*(bool *)at = true;
		return 0;
	case USE_COUNT:
		r = parse_number(word, next, PROCDUMP_COUNT_MAX, &value, err);
		if (r < 0)
			return r;
		*(unsigned int *)at = (unsigned int)value;
		return 1;
	case USE_SECONDS:
		r = parse_number(word, next, 86400 * 365, &value, err);
		if (r < 0)
			return r;
		*(uint64_t *)at = value * 1000000000ull;
		return 1;
	case USE_DURATION:
		if (!next)
			return err_say(err, -EINVAL, "'%s' needs a time after it, such as 500ms", word);
		r = parse_duration(next, (uint64_t *)at, err);
		return r < 0 ? err_wrap(err, r, "'%s'", word) : 1;
	case USE_NEAREST:
		*(bool *)at = true;
		buf_addf(notes, "'%s': %s\n", word, row->text);
		return 0;
	case USE_TEXT:
	case USE_NOTE_ARG:
		if (!next)
			return err_say(err, -EINVAL, "'%s' needs a value after it", word);
		if (row->use == USE_TEXT)
			*(const char **)at = next;
		else
			buf_addf(notes, "'%s %s' is left out: %s\n", word, next, row->text);
		return 1;
	case USE_CLONE:
		buf_addf(notes, "'%s' is not needed: %s\n", word, row->text);
		return next && next[0] >= '1' && next[0] <= '5' && !next[1];
	case USE_NOTE:
		buf_addf(notes, "'%s' is left out: %s\n", word, row->text);
		return 0;
	case USE_LATER:
		break;
	}
	return err_say(err, -EOPNOTSUPP,
		       "'%s' %s is not in this version: it dumps at once, or in a series by -s and -n", word,
		       row->text);
}

static int check(struct procdump *pd, bool every_given, struct buf *notes, struct err *err)
{
	if (pd->help)
		return 0;
	if (!pd->target)
		return err_say(err, -EINVAL,
			       "no process is named: give a process id or a name (procdump -? shows how)");
	if (!strcmp(pd->target, "PID") || !strcmp(pd->target, "%1%"))
		return err_say(err, -EINVAL, "'%s' stands for a number: put the process id in its place", pd->target);
	if (every_given && pd->count == 1)
		buf_adds(notes, "'-s' has no effect on a single dump: give the number of dumps by -n\n");
	return 0;
}

int procdump_parse(int argc, char *const *argv, struct procdump *ret_procdump, struct buf *notes, struct err *err)
{
	struct procdump pd = { .count = 1, .every_ns = 0 };
	bool every_given;
	int r;

	for (int i = 1; i < argc; i++) {
		const char *name = option_name(argv[i], !pd.target);
		const struct row *row = name ? find_row(name) : NULL;

		if (name && !row)
			return err_say(err, -EINVAL, "'%s' is not an option of procdump (procdump -? lists them)",
				       argv[i]);
		if (row) {
			r = apply(&pd, row, argv[i], i + 1 < argc ? argv[i + 1] : NULL, notes, err);
			if (r < 0)
				return r;
			i += r;
		} else if (!pd.target) {
			pd.target = argv[i];
		} else if (!pd.path) {
			pd.path = argv[i];
		} else {
			return err_say(err, -EINVAL,
				       "'%s' is one word too many: a process and a file or folder are all", argv[i]);
		}
	}
	every_given = pd.every_ns != 0;
	if (!every_given)
		pd.every_ns = PROCDUMP_EVERY_NS;
	r = check(&pd, every_given, notes, err);
	if (r < 0)
		return r;
	if (!pd.mini && !pd.full && !pd.help) {
		buf_adds(notes, "no size is given: writing a full dump (-ma); a mini is -mm\n");
		pd.full = true;
	}
	*ret_procdump = pd;
	return 0;
}

static void help_list(struct buf *out, enum use use, enum use also)
{
	size_t column = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = strlen(rows[i].name) + 2;

		if (rows[i].use != use && rows[i].use != also)
			continue;
		if (column == 0 || column + len > 76) {
			buf_adds(out, column ? "\n   " : "   ");
			column = 3;
		}
		buf_addf(out, " -%s", rows[i].name);
		column += len;
	}
	buf_adds(out, "\n");
}

void procdump_help(struct buf *out)
{
	buf_adds(out, "usage: procdump [-ma] [-mm] [-n COUNT] [-s SECONDS] [-o] [-at SECONDS]\n"
		      "                [-dc TEXT] PID|NAME [FILE|FOLDER]\n"
		      "\n"
		      "  -ma          a full dump: an ELF core of the whole process\n"
		      "  -mm          a mini: registers, stacks, and what they point to; with -ma both,\n"
		      "               the mini first\n"
		      "  -mp, -mt     the nearest of the two, with a note\n"
		      "  -n COUNT     so many dumps (1)\n"
		      "  -s SECONDS   so long from one dump to the next (10)\n"
		      "  -o           overwrite the file if it is there; else the name gets a number\n"
		      "  -at SECONDS  give a dump up after this time\n"
		      "  -dc TEXT     put a comment into the dump\n"
		      "  --json       one JSON object for each dump\n"
		      "  --no-journal no entry in the journal, so that coredumpctl does not list it\n"
		      "  --pause-budget D   take no full dump that would stop the process for longer\n"
		      "               (250ms)\n"
		      "\n"
		      "The name is " PROCDUMP_FILE_NAME " in the current folder, or as given;\n"
		      "in it PROCESSNAME, PID, YYMMDD and HHMMSS are replaced.\n"
		      "'-', '/' and the dashes of web pages open an option; case does not matter.\n"
		      "\n"
		      "Accepted, with a note, because they mean nothing here:\n");
	help_list(out, USE_NOTE, USE_NOTE_ARG);
	buf_adds(out, "Refused, because this version does not have them yet:\n");
	help_list(out, USE_LATER, USE_LATER);
	buf_adds(out, "\nexamples:\n"
		      "  procdump -ma 4711                                  one dump, now\n"
		      "  procdump -64 -ma -s 4 -n 3 4711 shop-PID-perf.dmp  three dumps, 4 seconds apart\n"
		      "  procdump -accepteula -ma 4711 /var/dumps           as an action of a rule\n");
}

static void add_process(struct buf *out, const char *process)
{
	for (const char *p = process; *p; p++) {
		bool plain = isalnum((unsigned char)*p) || strchr("-_.+:@", *p);

		if (*p == '.' && out->len == 0)
			plain = false; /* would hide the file */
		buf_add(out, plain ? p : "_", 1);
	}
}

/* Where the extension of a file name begins: '.core.zst' and '.dmp.zst' are one. */
static const char *extension_of(const char *name)
{
	const char *dot = strrchr(name, '.'), *before;

	if (!dot || dot == name)
		return name + strlen(name);
	if (strcmp(dot, ".zst"))
		return dot;
	before = memrchr(name, '.', (size_t)(dot - name));
	return before && before != name ? before : dot;
}

int dump_file_name(const char *pattern, const char *process, pid_t pid, const struct tm *when, unsigned int number,
		   char *ret_name, size_t size, struct err *err)
{
	const char *end = extension_of(pattern);
	struct buf out;
	int r = 0;

	if (!pattern[0] || strchr(pattern, '/') || !strcmp(pattern, ".") || !strcmp(pattern, ".."))
		return err_say(err, -EINVAL, "'%s' is not a file name", pattern);
	buf_init(&out, MIN(size, (size_t)NAME_MAX + 1));
	for (const char *p = pattern;;) {
		if (p == end && number)
			buf_addf(&out, "-%u", number);
		if (!*p)
			break;
		if (!strncmp(p, "PROCESSNAME", 11)) {
			add_process(&out, process);
			p += 11;
		} else if (!strncmp(p, "YYMMDD", 6)) {
			buf_addf(&out, "%02d%02d%02d", when->tm_year % 100, when->tm_mon + 1, when->tm_mday);
			p += 6;
		} else if (!strncmp(p, "HHMMSS", 6)) {
			buf_addf(&out, "%02d%02d%02d", when->tm_hour, when->tm_min, when->tm_sec);
			p += 6;
		} else if (!strncmp(p, "PID", 3)) {
			buf_addf(&out, "%d", pid);
			p += 3;
		} else {
			buf_add(&out, p, 1);
			p++;
		}
	}
	if (out.full || out.len + 1 > size || out.len > NAME_MAX)
		r = err_say(err, -ENAMETOOLONG, "the file name made from '%s' is too long", pattern);
	else
		memcpy(ret_name, out.data, out.len + 1);
	buf_done(&out);
	return r;
}
