// SPDX-License-Identifier: MIT
/* The options of both ProcDumps, as typed. Rejected: getopt_long_only (no '/x', no
 * dash of a web page, prefers abbreviations) and ignoring what is unknown: a trigger
 * that is left out silently would dump at the wrong moment. Traps: '/tmp' is a path and
 * '/ma' an option, so a slash opens an option only in front of the target, and only if
 * the rest is a name of this table; what '-s' and '-c' mean is known only when all words
 * have been read. */
#include "procdump.h"

#include "ktime.h"
#include "procdump_table.h"
#include "rule.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#define USES_MAX 64
#define MB_SHIFT 20
#define INTERVAL_MIN_MS 10

#define AT(field) offsetof(struct procdump, field)

/* An option as it was typed. */
struct used {
	const struct procdump_row *row;
	const char *word, *arg[2];
};

struct line {
	struct used use[USES_MAX];
	size_t count;
	const char *windows_word, *linux_word; /* that only one of them knows */
};
static const struct procdump_row *find_row(const char *name)
{
	for (size_t i = 0; i < procdump_row_count; i++) {
		if (!strcasecmp(procdump_rows[i].name, name))
			return &procdump_rows[i];
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

/* ---- what each option does ---- */

static int add_trigger(struct procdump *pd, enum trigger_kind kind, bool below, uint64_t value, struct err *err)
{
	if (pd->trigger_count == ARRAY_LEN(pd->trigger))
		return err_say(err, -EINVAL, "more than %zu conditions", ARRAY_LEN(pd->trigger));
	pd->trigger[pd->trigger_count++] =
		(struct trigger){ .kind = kind, .below = below, .or_equal = !below, .threshold = value };
	return 0;
}

/* '100,200': each fires once. */
static int add_sizes(struct procdump *pd, bool below, const struct used *use, struct err *err)
{
	const char *p = use->arg[0];
	bool list = p && strchr(p, ',');
	unsigned int n = 0;

	do {
		char text[24];
		size_t len = p ? strcspn(p, ",") : 0;
		uint64_t value;
		int r;

		snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text) - 1), p ? p : "");
		r = parse_number(use->word, p ? text : NULL, UINT32_MAX, &value, err);
		if (r == 0)
			r = add_trigger(pd, TRIGGER_MEMORY, below, value << MB_SHIFT, err);
		if (r < 0)
			return r;
		if (list)
			pd->trigger[pd->trigger_count - 1].step = 1ull << 62;
		n++;
		p += len;
	} while (*p++ == ',');
	pd->count = MAX(pd->count, n);
	return 0;
}

static int add_threshold(struct procdump *pd, const struct used *use, struct err *err)
{
	enum trigger_kind kind = (enum trigger_kind)use->row->at;
	bool below = use->row->use == USE_BELOW,
	     machine = kind == TRIGGER_CPU && pd->as == PROCDUMP_WINDOWS && !pd->core;
	uint64_t value;
	int r;

	if (kind == TRIGGER_MEMORY)
		return add_sizes(pd, below, use, err);
	r = parse_number(use->word, use->arg[0], machine ? 100 : 1000000, &value, err);
	if (r < 0)
		return r;
	return add_trigger(pd, machine ? TRIGGER_CPU_MACHINE : kind, below, kind == TRIGGER_CPU ? value * 10 : value,
			   err);
}

static const struct counter {
	const char *name;
	enum trigger_kind kind;
	unsigned int scale;
} counters[] = {
	{ "Thread Count", TRIGGER_THREADS, 1 },	 { "Handle Count", TRIGGER_FDS, 1 },
	{ "% Processor Time", TRIGGER_CPU, 10 }, { "Private Bytes", TRIGGER_MEMORY, 1 },
	{ "Working Set", TRIGGER_MEMORY, 1 },
};

/* '\Process(outlook#2)\Handle Count', and outlook is the target. */
static const struct counter *find_counter(const char *text, const char *target)
{
	static const char prefix[] = "\\Process(";
	const char *instance = text + sizeof(prefix) - 1, *end = strstr(text, ")\\");
	bool number = target && target[strspn(target, "0123456789")] == '\0';
	size_t len;

	if (strncasecmp(text, prefix, sizeof(prefix) - 1) != 0 || !end || end < instance || !target)
		return NULL;
	len = strcspn(instance, "#_)");
	if (len == 0 || *instance == '*')
		return NULL;
	if (!number && (strncasecmp(instance, target, len) != 0 ||
			(target[len] && strcasecmp(target + len, ".exe") != 0 && instance[len] != '_')))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		if (!strcasecmp(end + 2, counters[i].name))
			return &counters[i];
	}
	return NULL;
}

static int add_counter(struct procdump *pd, const struct used *use, struct buf *notes, struct err *err)
{
	const struct counter *counter = find_counter(use->arg[0], pd->target[0]);
	uint64_t value;
	int r;

	if (!counter)
		return err_say(err, -EOPNOTSUPP,
			       "'%s %s' cannot be done here, so nothing is dumped: of counters there are the target's "
			       "own Thread Count, Handle Count, %% Processor Time, Private Bytes and Working Set",
			       use->word, use->arg[0]);
	r = parse_number(use->word, use->arg[1], INT64_MAX / 16, &value, err);
	if (r == 0)
		r = add_trigger(pd, counter->kind, use->row->use == USE_COUNTER_BELOW, value * counter->scale, err);
	if (r == 0)
		buf_addf(notes, "'%s %s': of the process that is dumped, %s\n", use->word, use->arg[0],
			 counter->kind == TRIGGER_FDS	   ? "its open descriptors"
			 : counter->kind == TRIGGER_MEMORY ? "its resident and swapped memory"
			 : counter->kind == TRIGGER_CPU	   ? "of one core"
							   : "its threads");
	return r;
}

static int add_exception(struct procdump *pd, const struct used *use, struct err *err)
{
	if (pd->as == PROCDUMP_LINUX)
		return err_say(err, -EOPNOTSUPP,
			       "'%s' is a .NET exception to ProcDump for Linux, and the .NET runtime is not asked "
			       "here: --as windows makes it a signal that ends the process",
			       use->word);
	pd->on.fatal = 1;
	if (use->arg[0])
		pd->on.signals |= sentry_crashes() & ~(pd->breakpoints ? 0 : sentry_bit(SIGTRAP));
	return 0;
}

static int add_signals(struct procdump *pd, const struct used *use, struct err *err)
{
	uint64_t bits;
	int r = trigger_signals(use->arg[0], &bits, err);

	if (r < 0)
		return err_wrap(err, r, "'%s'", use->word);
	pd->on.signals |= bits;
	return 0;
}

static int add_target(struct procdump *pd, const char *word, struct err *err)
{
	if (pd->target_count == ARRAY_LEN(pd->target))
		return err_say(err, -EINVAL, "more than %zu processes are named", ARRAY_LEN(pd->target));
	pd->target[pd->target_count++] = (char *)(uintptr_t)word;
	return 0;
}

static int apply(struct procdump *pd, const struct used *use, struct buf *notes, struct err *err)
{
	const struct procdump_row *row = use->row;
	char *at = (char *)pd + row->at;
	const char *arg = use->arg[0];
	uint64_t value = 0;
	int r = 0;

	switch (row->use) {
	case USE_PLAIN:
	case USE_LAUNCH:
	case USE_AS:
		break;
	case USE_FLAG:
		*(bool *)at = true;
		break;
	case USE_COUNT:
		r = parse_number(use->word, arg, PROCDUMP_COUNT_MAX, &value, err);
		*(unsigned int *)at = MAX((unsigned int)value, *(unsigned int *)at);
		break;
	case USE_SECONDS:
		r = parse_number(use->word, arg, 86400 * 365, &value, err);
		*(uint64_t *)at = value * NSEC_PER_SEC;
		break;
	case USE_MS:
		r = parse_number(use->word, arg, 86400 * 1000, &value, err);
		if (r == 0 && value < INTERVAL_MIN_MS)
			r = err_say(err, -EINVAL, "'%s %s': the shortest is %d", use->word, arg, INTERVAL_MIN_MS);
		*(uint64_t *)at = value * NSEC_PER_MSEC;
		break;
	case USE_DURATION:
		r = parse_duration(arg, (uint64_t *)at, err);
		if (r < 0)
			err_wrap(err, r, "'%s'", use->word);
		break;
	case USE_NEAREST:
		*(bool *)at = true;
		buf_addf(notes, "'%s': %s\n", use->word, row->here);
		break;
	case USE_TEXT:
		*(const char **)at = arg;
		break;
	case USE_NOTE:
		buf_addf(notes, "'%s%s%s' is left out: %s\n", use->word, arg ? " " : "", arg ? arg : "", row->here);
		break;
	case USE_REFUSE:
		r = err_say(err, -EOPNOTSUPP, "'%s' cannot be done here, so nothing is dumped: %s", use->word,
			    row->here);
		break;
	case USE_CLONE:
		pd->concurrent = arg ? (unsigned int)(arg[0] - '0') : 1;
		break;
	case USE_ALSO:
		r = add_target(pd, arg, err);
		break;
	case USE_ABOVE:
	case USE_BELOW:
		r = add_threshold(pd, use, err);
		break;
	case USE_COUNTER_ABOVE:
	case USE_COUNTER_BELOW:
		r = add_counter(pd, use, notes, err);
		break;
	case USE_EXCEPTION:
		r = add_exception(pd, use, err);
		break;
	case USE_SIGNALS:
		r = add_signals(pd, use, err);
		break;
	}
	return r;
}

/* ---- the line ---- */

/* Is it what may follow, such as the 3 of '-r 3'? */
static bool is_optional(const char *arg, const char *next)
{
	if (!strcmp(arg, "[1..5]"))
		return next[0] >= '1' && next[0] <= '5' && !next[1];
	return strlen(next) == strlen(arg) - 2 && !strncasecmp(next, arg + 1, strlen(next));
}

static int read_args(struct used *use, int argc, char *const *argv, int i, struct err *err)
{
	const char *arg = use->row->arg;
	int n = !arg ? 0 : use->row->use == USE_LAUNCH || strchr(arg, ' ') ? 2 : 1;

	if (arg && *arg == '[' && (i + 1 >= argc || !is_optional(arg, argv[i + 1]))) {
		n = 0;
		/* '-r 7 4711': not the process 7, and a file called 4711 */
		if (i + 2 < argc && strlen(argv[i + 1]) <= 2 && !argv[i + 1][strspn(argv[i + 1], "0123456789")] &&
		    argv[i + 1][0] && argv[i + 2][0] && !argv[i + 2][strspn(argv[i + 2], "0123456789")])
			return err_say(err, -EINVAL, "'%s %s': what may follow it is %s", use->word, argv[i + 1], arg);
	}
	if (i + n >= argc)
		return err_say(err, -EINVAL, "'%s' needs %s after it (%s)", use->word,
			       use->row->use == USE_COUNT || use->row->use == USE_SECONDS ? "a number" : "a value",
			       arg);
	for (int k = 0; k < n; k++)
		use->arg[k] = argv[i + 1 + k];
	return n;
}

static int read_option(struct procdump *pd, struct line *line, const struct procdump_row *row, int argc,
		       char *const *argv, int i, struct err *err)
{
	struct used use = { .row = row, .word = argv[i] };
	bool list = row->use == USE_ABOVE || row->use == USE_BELOW;
	int n = read_args(&use, argc, argv, i, err);

	if (n < 0)
		return n;
	if (line->count == USES_MAX)
		return err_say(err, -EINVAL, "more than %d options", USES_MAX);
	line->use[line->count++] = use;
	if (row->on_windows && !row->on_linux)
		line->windows_word = use.word;
	if ((row->on_linux && !row->on_windows) || (list && strchr(use.arg[0], ',')))
		line->linux_word = use.word;
	if (row->use == USE_AS && !strcasecmp(use.arg[0], "windows"))
		pd->as = PROCDUMP_WINDOWS;
	else if (row->use == USE_AS && !strcasecmp(use.arg[0], "linux"))
		pd->as = PROCDUMP_LINUX;
	else if (row->use == USE_AS)
		return err_say(err, -EINVAL, "'%s %s': windows or linux", use.word, use.arg[0]);
	pd->core |= row->use == USE_FLAG && row->at == AT(core);
	pd->breakpoints |= row->use == USE_FLAG && row->at == AT(breakpoints);
	if (row->use != USE_LAUNCH)
		return n;
	pd->path = use.arg[0];
	pd->command = argv + i + 2;
	return argc - i - 1;
}

static int read_line(struct procdump *pd, struct line *line, int argc, char *const *argv, struct err *err)
{
	int r;

	for (int i = 1; i < argc; i++) {
		const char *name = option_name(argv[i], !pd->target_count);
		const struct procdump_row *row = name ? find_row(name) : NULL;

		if (name && !row)
			return err_say(err, -EINVAL, "'%s' is not an option of procdump (procdump -? lists them)",
				       argv[i]);
		if (row) {
			r = read_option(pd, line, row, argc, argv, i, err);
			if (r < 0)
				return r;
			i += r;
		} else if (!pd->target_count) {
			add_target(pd, argv[i], err);
		} else if (!pd->path) {
			pd->path = argv[i];
		} else {
			return err_say(err, -EINVAL,
				       "'%s' is one word too many: a process and a file or folder are all (--also "
				       "names one more process)",
				       argv[i]);
		}
	}
	return 0;
}

/* Of a line that is wrong somewhere: how is that to be told? */
static bool asks_json(int argc, char *const *argv)
{
	for (int i = 1; i < argc; i++) {
		const char *name = option_name(argv[i], true);
		const struct procdump_row *row = name ? find_row(name) : NULL;

		if (row && !strcmp(row->name, "json"))
			return true;
	}
	return false;
}

bool procdump_is_name(const char *base)
{
	static const char *const name[] = { "procdump", "procdump64", "procdump.exe", "procdump64.exe" };

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		if (!strcasecmp(base, name[i]))
			return true;
	}
	return false;
}

static bool named_for_windows(const char *program)
{
	const char *base = strrchr(program, '/');
	size_t len;

	base = base ? base + 1 : program;
	len = strlen(base);
	return !strcasecmp(base, "procdump64") || (len > 4 && !strcasecmp(base + len - 4, ".exe"));
}

static bool uses_at(const struct line *line, enum use first, enum use last, size_t at)
{
	for (size_t i = 0; i < line->count; i++) {
		const struct procdump_row *row = line->use[i].row;

		if (row->use >= first && row->use <= last && row->at == at)
			return true;
	}
	return false;
}

static bool uses_any(const struct line *line, enum use first, enum use last)
{
	for (size_t i = 0; i < line->count; i++) {
		if (line->use[i].row->use >= first && line->use[i].row->use <= last)
			return true;
	}
	return false;
}

/* Windows' words or Linux's? Undecided it is Linux's: they are typed there. */
static int decide(struct procdump *pd, const struct line *line, const char *program, struct buf *notes, struct err *err)
{
	bool polled = uses_any(line, USE_ABOVE, USE_COUNTER_BELOW),
	     matters = polled || uses_any(line, USE_EXCEPTION, USE_EXCEPTION),
	     cpu = uses_at(line, USE_ABOVE, USE_BELOW, TRIGGER_CPU),
	     every = polled && uses_at(line, USE_SECONDS, USE_SECONDS, AT(every_ns));

	if (pd->as)
		return 0;
	if (named_for_windows(program))
		pd->as = PROCDUMP_WINDOWS;
	else if (line->windows_word && line->linux_word && matters)
		return err_say(err, -EINVAL,
			       "'%s' is of ProcDump for Windows, '%s' of the one for Linux, and '-s', '-c', '-e' mean "
			       "different things there: add --as windows or --as linux",
			       line->windows_word, line->linux_word);
	else if (line->windows_word)
		pd->as = line->linux_word ? PROCDUMP_UNDECIDED : PROCDUMP_WINDOWS;
	else if (line->linux_word)
		pd->as = PROCDUMP_LINUX;
	else if (cpu || every)
		buf_addf(notes, "read as ProcDump for Linux does: %s%s%s; --as windows: %s%s%s\n",
			 cpu ? "'-c' is of one core" : "", cpu && every ? ", " : "",
			 every ? "'-s' the time between two dumps" : "", cpu ? "of the machine" : "",
			 cpu && every ? ", and " : "", every ? "so long without a break" : "");
	return 0;
}

static int check(struct procdump *pd, const struct line *line, struct buf *notes, struct err *err)
{
	bool waits = pd->trigger_count || pd->on.signals || pd->on.fatal || pd->exit;

	if (pd->help || (pd->cancel && !pd->target_count && !pd->command))
		return 0;
	if (pd->cancel)
		return err_say(err, -EINVAL, "'-cancel %s' goes alone", pd->cancel);
	if (pd->core && !uses_any(line, USE_ABOVE, USE_BELOW))
		return err_say(err, -EINVAL, "'-u' without -c would uninstall ProcDump, and nothing is installed here");
	if (!pd->target_count && !pd->command)
		return err_say(err, -EINVAL,
			       "no process is named: give a process id or a name (procdump -? shows how)");
	if (pd->target_count && pd->command)
		return err_say(err, -EINVAL, "'%s' and '-x %s': which of the two?", pd->target[0], pd->command[0]);
	for (size_t i = 0; i < pd->target_count; i++) {
		if (!strcmp(pd->target[i], "PID") || !strcmp(pd->target[i], "%1%"))
			return err_say(err, -EINVAL, "'%s' stands for a number: put the process id in its place",
				       pd->target[i]);
	}
	if (pd->every_ns && pd->count == 1 && !waits)
		buf_adds(notes, "'-s' has no effect on a single dump: give the number of dumps by -n\n");
	for (size_t i = 0; i < pd->target_count && pd->group; i++) {
		if (!pd->target[i][0] || pd->target[i][strspn(pd->target[i], "0123456789")])
			return err_say(err, -EINVAL, "'%s' is not the number of a process group, as -pgid wants it",
				       pd->target[i]);
	}
	return 0;
}

static void fill_in(struct procdump *pd, struct buf *notes)
{
	if (!pd->every_ns)
		pd->every_ns = PROCDUMP_EVERY_NS;
	for (size_t i = 0; i < pd->trigger_count && pd->as == PROCDUMP_WINDOWS; i++)
		pd->trigger[i].for_ns = pd->every_ns;
	pd->on.exit = pd->exit;
	if (pd->mini || pd->full || pd->help || pd->cancel)
		return;
	pd->mini = pd->as == PROCDUMP_WINDOWS;
	pd->full = !pd->mini;
	buf_adds(notes, pd->mini ? "no size is given: writing a mini (-mm), as on Windows; a full dump is -ma\n"
				 : "no size is given: writing a full dump (-ma); a mini is -mm\n");
}

/* All of the group, and those that come later. */
static void name_groups(struct procdump *pd)
{
	pd->all = true;
	for (size_t i = 0; i < pd->target_count; i++) {
		snprintf(pd->group_word[i], sizeof(pd->group_word[i]), "pgid:%.*s", PROCDUMP_GROUP_SIZE - 6,
			 pd->target[i]);
		pd->target[i] = pd->group_word[i];
	}
}

int procdump_parse(int argc, char *const *argv, struct procdump *ret_procdump, struct buf *notes, struct err *err)
{
	struct procdump pd = {
		.count = 1, .concurrent = 1, .pause_budget_ns = PROCDUMP_UNSET, .hold_ns = PROCDUMP_UNSET
	};
	struct line line = { .count = 0 };
	int r = read_line(&pd, &line, argc, argv, err);

	if (r == 0)
		r = decide(&pd, &line, argv[0], notes, err);
	for (size_t i = 0; r == 0 && i < line.count; i++)
		r = apply(&pd, &line.use[i], notes, err);
	if (r == 0)
		r = check(&pd, &line, notes, err);
	if (r < 0) {
		ret_procdump->json = asks_json(argc, argv);
		return r;
	}
	fill_in(&pd, notes);
	*ret_procdump = pd;
	if (pd.group)
		name_groups(ret_procdump);
	return 0;
}

/* ---- file names ---- */

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

/* A word of patterns at p, and what stands for it. */
static size_t replace(const struct dump_name *n, const char *p, struct buf *out)
{
	const struct tm *when = &n->when;
	char date[16], time[16], pid[16], signal[24];
	const struct {
		const char *word, *text;
	} words[] = {
		{ "PROCESSNAME", NULL },
		{ "PID", pid },
		{ "YYMMDD", date },
		{ "HHMMSS", time },
		{ "TRIGGER", n->trigger ? n->trigger : "manual" },
		{ "EXCEPTIONCODE", n->signal[0] ? signal : "none" },
	};

	snprintf(pid, sizeof(pid), "%d", n->pid);
	snprintf(date, sizeof(date), "%02u%02u%02u", (unsigned int)when->tm_year % 100,
		 (unsigned int)when->tm_mon % 12 + 1, (unsigned int)when->tm_mday % 100);
	snprintf(time, sizeof(time), "%02u%02u%02u", (unsigned int)when->tm_hour % 100,
		 (unsigned int)when->tm_min % 100, (unsigned int)when->tm_sec % 100);
	snprintf(signal, sizeof(signal), "SIG%s", n->signal);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t len = strlen(words[i].word);

		if (strncmp(p, words[i].word, len) != 0)
			continue;
		if (words[i].text)
			buf_adds(out, words[i].text);
		else
			add_process(out, n->process);
		return len;
	}
	return 0;
}

int dump_file_name(const struct dump_name *name, unsigned int number, char *ret_name, size_t size, struct err *err)
{
	const char *pattern = name->pattern, *end = extension_of(pattern);
	struct buf out;
	int r = 0;

	if (!pattern[0] || strchr(pattern, '/') || !strcmp(pattern, ".") || !strcmp(pattern, ".."))
		return err_say(err, -EINVAL, "'%s' is not a file name", pattern);
	buf_init(&out, MIN(size, (size_t)NAME_MAX + 1));
	for (const char *p = pattern;;) {
		size_t len;

		if (p == end && number)
			buf_addf(&out, "-%u", number);
		if (!*p)
			break;
		len = replace(name, p, &out);
		if (!len)
			buf_add(&out, p, 1);
		p += MAX(len, (size_t)1);
	}
	if (out.full || out.len + 1 > size || out.len > NAME_MAX)
		r = err_say(err, -ENAMETOOLONG, "the file name made from '%s' is too long", pattern);
	else if (!out.len || !strcmp(out.data, ".") || !strcmp(out.data, "..")) /* of a process without a name */
		r = err_say(err, -EINVAL, "'%s' makes no file name here", pattern);
	else
		memcpy(ret_name, out.data, out.len + 1);
	buf_done(&out);
	return r;
}
