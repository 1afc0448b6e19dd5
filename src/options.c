// SPDX-License-Identifier: MIT
/* The table, and what is made of it. Rejected: argp (no verbs, not on every libc).
 * Trap: getopt_long knows nothing of our verbs, so its table is made per verb, and
 * its return codes are row numbers, not letters. */
#include "options.h"

#include "budget.h"
#include "ktime.h"
#include "rule.h"

#include <getopt.h>
#include <string.h>

#define WIDTH 80
#define HELP_COLUMN 26
#define ROW_CODE 256 /* getopt_long's return value for row 0; below are its own and letters */
#define HELP_CODE 255

#define STORE_VERBS (VERB_WATCH | VERB_SERVE | VERB_LIST | VERB_SHOW | VERB_REPORT | VERB_EXPORT | VERB_OPEN | VERB_RM)
#define JSON_VERBS                                                                                            \
	(VERB_WATCH | VERB_DUMP | VERB_STACKS | VERB_LIST | VERB_SHOW | VERB_REPORT | VERB_EXPORT | VERB_RM | \
	 VERB_CHECK | VERB_TEST | VERB_IMPORT | VERB_RULES | VERB_DOCTOR | VERB_DEMO | VERB_VERIFY | VERB_TOP)

const struct option_row option_rows[] = {
	{ "time-taken", 0, TYPE_DURATION, "D", NULL, VERB_WATCH, true,
	  "trap a request that takes D or longer, while it runs; given again with a longer D: look at it then, too" },
	{ "time-counts", 0, TYPE_CHOICE, "WHAT", "whole|server", VERB_WATCH, true,
	  "what --time-taken is of: all from the request's first byte on (the default here), or the server's own time, "
	  "from the request's last byte to the response's first (the default in a file): no slow client makes that long" },
	{ "status", 0, TYPE_STATUS, "LIST", NULL, VERB_WATCH, true,
	  "trap a response with one of these statuses: 500-599,404" },
	{ "path", 0, TYPE_TEXT, "GLOB", NULL, VERB_WATCH, true,
	  "only requests whose path matches: '*' is any run of bytes, '?' is one; with '**' in it, which crosses "
	  "slashes, these two end at them: '/shop/**/*.php'" },
	{ "exclude", 0, TYPE_TEXT, "GLOB", NULL, VERB_WATCH, true, "not those whose path matches; may be given again" },
	{ "method", 0, TYPE_TEXT, "M", NULL, VERB_WATCH, true, "only requests with this method" },
	{ "host", 0, TYPE_TEXT, "H", NULL, VERB_WATCH, true, "only requests for this host; '*' and '?' as in --path" },
	{ "client", 0, TYPE_TEXT, "NETWORK", NULL, VERB_WATCH, true,
	  "only requests from there: 10.0.0.0/8, an address, or unix; may be given again" },
	{ "header", 0, TYPE_TEXT, "'NAME: GLOB'", NULL, VERB_WATCH, true,
	  "only requests with such a header, or with NAME at all; may be given again: all must fit" },
	{ "aborted", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH, true,
	  "trap a request whose connection ends before its reply does" },
	{ "response-size", 0, TYPE_SIZE, "SIZE", NULL, VERB_WATCH, true,
	  "trap a request whose response is so long, or longer" },
	{ "severity", 0, TYPE_CHOICE, "NAME", "critical|error|warning|information|verbose", VERB_WATCH, true,
	  "trap a request that the application marks so gravely, or more (include/reqtrap.h)" },
	{ "all", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH, true,
	  "all conditions of time-taken, status ... must hold (default: one of them is enough)" },
	{ "occurrences", 0, TYPE_LIMIT, "N/D", NULL, VERB_WATCH, true,
	  "only when it is the Nth such request within D; what comes before is not trapped" },
	{ "capture", 0, TYPE_CAPTURE, "LIST", NULL, VERB_WATCH, true,
	  "what to take: trace,stacks, and mini or full for a core (default trace,stacks)" },
	{ "areas", 0, TYPE_AREAS, "LIST", NULL, VERB_WATCH, true,
	  "more detail, or less: file,query=verbose,socket=off; app is all that probes the target" },
	{ "statements", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH, true,
	  "show what was asked of databases and other services with its values (default: '?' in their place)" },
	{ "samples", 0, TYPE_COUNT, "N", NULL, VERB_WATCH, true,
	  "take the stacks N times from each limit on while the request runs, the first one included (default 1)" },
	{ "every", 0, TYPE_DURATION, "D", NULL, VERB_WATCH, true, "time between two samples (default 1s)" },
	{ "arguments", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH, true,
	  "show what PHP's functions were called with, too: price_lookup(1, \"x\"); they may hold secrets" },
	{ "arguments", 0, TYPE_FLAG, NULL, NULL, VERB_STACKS, false,
	  "show what PHP's functions were called with, too; they may hold secrets" },
	{ "limit", 0, TYPE_LIMIT, "N[/D]", NULL, VERB_WATCH, true,
	  "captures at most per life of a process, or per window D (default 1); what is over is logged" },
	{ "cool-down", 0, TYPE_DURATION, "D", NULL, VERB_WATCH, true, "no new capture within D of the last one" },
	{ "action", 0, TYPE_TEXT, "CMD", NULL, VERB_WATCH, true,
	  "run CMD at a trap, without a shell: '/bin/tell-us %1% %DUMP%'; %1% is the PID" },
	{ "when", 0, TYPE_CHOICE, "WHEN", "after-capture|before-capture", VERB_WATCH, true,
	  "run CMD after the capture (default), or before it, which waits for CMD then" },
	{ "action-timeout", 0, TYPE_DURATION, "D", NULL, VERB_WATCH, true,
	  "how long CMD may run (default 1m; 2s before a capture): then SIGTERM, and after 5s SIGKILL to all of it" },
	{ "action-user", 0, TYPE_TEXT, "NAME", NULL, VERB_WATCH, true,
	  "run CMD as this user, with its groups (default: as reqtrap itself)" },
	{ "count", 'n', TYPE_COUNT, "N", NULL, VERB_WATCH, false, "stop after N captures" },
	{ "config", 'c', TYPE_TEXT, "FILE", NULL, VERB_WATCH, false, "take the rules from FILE" },
	{ "config", 'c', TYPE_TEXT, "FILE", NULL, VERB_SERVE, false, "rules file (default /etc/reqtrap/reqtrap.conf)" },
	{ "socket", 0, TYPE_TEXT, "PATH", NULL, VERB_SERVE, false,
	  "the control socket (default $REQTRAP_SOCKET, else /run/reqtrap/control.sock); its folder must be there" },
	{ "web-port", 0, TYPE_COUNT, "PORT", NULL, VERB_SERVE, false,
	  "serve the pages on 127.0.0.1:PORT, too, for who knows the token (the file 'web-url' beside the socket)" },
	{ "web-edit", 0, TYPE_FLAG, NULL, NULL, VERB_SERVE, false,
	  "let the rules be changed over the port, too, not over the socket alone" },
	{ "hooks", 0, TYPE_CHOICE, "HOW", "auto|sock|syscalls", VERB_WATCH | VERB_TOP | VERB_SERVE, false,
	  "where in the kernel to listen (default auto)" },
	{ "priority", 0, TYPE_CHOICE, "HOW", "high|normal", VERB_WATCH, false,
	  "of the steps from a limit to the stop of the process: before all other work of the host (default high), "
	  "or as any other" },
	{ "show-values", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH | VERB_TOP, false,
	  "keep the values in URLs' queries, and what looks like a password in a command line (default: ***)" },
	{ "max-overhead", 0, TYPE_PERCENT, "PERCENT", NULL, VERB_WATCH | VERB_SERVE, false,
	  "of the CPU time of all CPUs of the host that the watch may take (default 2; 100: any); over it detail is shed" },
	{ "slots", 0, TYPE_COUNT, "N", NULL, VERB_WATCH | VERB_TOP | VERB_SERVE, false,
	  "requests in flight that are traced at most (default 2048); each takes 8 KiB" },
	{ "map-share", 0, TYPE_COUNT, "PERCENT", NULL, VERB_WATCH, false,
	  "all tables in the kernel at so much of their size (1 to 100), for tests: what is lost is counted" },
	{ "count", 'n', TYPE_COUNT, "N", NULL, VERB_TOP, false, "stop after N rounds" },
	{ "every", 0, TYPE_DURATION, "D", NULL, VERB_TOP, false, "time between two rounds (default 1s)" },

	{ "full", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false, "write all memory (the default)" },
	{ "mini", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "write registers, stacks and what they point to; with --full both, the mini first" },
	{ "stacks", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false, "print the stacks instead, as 'stacks' does" },
	{ "count", 'n', TYPE_COUNT, "N", NULL, VERB_DUMP, false,
	  "take N dumps (default 1): of each process, or with a condition in all" },
	{ "every", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false,
	  "time between two dumps of a process, at least (default 10s)" },
	{ "count", 'n', TYPE_COUNT, "N", NULL, VERB_STACKS, false, "take N samples (default 1) and compare them" },
	{ "every", 0, TYPE_DURATION, "D", NULL, VERB_STACKS, false, "time between two samples (default 1s)" },
	{ "exe", 0, TYPE_TEXT, "FILE", NULL, VERB_STACKS, false, "of a core: its program, if it lies elsewhere now" },
	{ "sysroot", 0, TYPE_TEXT, "DIR", NULL, VERB_STACKS, false,
	  "of a core: the files that it names are below DIR" },
	{ "cpu", 0, TYPE_TEXT, "'>N%'", NULL, VERB_DUMP, false,
	  "dump when it uses more CPU than that (or '<N%': less), in an interval; several conditions: any of them" },
	{ "cpu-of", 0, TYPE_CHOICE, "WHAT", "core|machine", VERB_DUMP, false, "100% of --cpu is this (default core)" },
	{ "memory", 0, TYPE_TEXT, "'>SIZE'", NULL, VERB_DUMP, false,
	  "... more memory, resident or swapped ('<2G': less; '>2G+500M': and at each further 500M)" },
	{ "threads", 0, TYPE_TEXT, "'>N'", NULL, VERB_DUMP, false, "... more threads, or fewer" },
	{ "fds", 0, TYPE_TEXT, "'>N'", NULL, VERB_DUMP, false, "... more open files, or fewer" },
	{ "cpu-pressure", 0, TYPE_TEXT, "'>N%'", NULL, VERB_DUMP, false,
	  "... tasks of its cgroup waited for a CPU for so much of the interval" },
	{ "memory-pressure", 0, TYPE_TEXT, "'>N%'", NULL, VERB_DUMP, false, "... for memory" },
	{ "io-pressure", 0, TYPE_TEXT, "'>N%'", NULL, VERB_DUMP, false, "... for a disk" },
	{ "memory-events", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false, "... its cgroup hit a memory limit" },
	{ "hung", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false,
	  "... no thread of it moved and no CPU was used for D" },
	{ "signal", 0, TYPE_TEXT, "LIST", NULL, VERB_DUMP, false,
	  "... any thread of it gets one of these signals: SEGV,ABRT; it still gets it" },
	{ "crash", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "... a signal is about to end it: the dump shows the thread at fault" },
	{ "exit", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false, "... it is about to end, in whatever way" },
	{ "hang", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "take the stacks three times, 1s apart, then a dump, and compare" },
	{ "series", 0, TYPE_TEXT, "PLAN", NULL, VERB_DUMP, false,
	  "what to take, in this order: '10xmini,1xfull' (mini, full, stacks); instead of -n" },
	{ "concurrent", 0, TYPE_COUNT, "N", NULL, VERB_DUMP, false,
	  "dumps of several processes at once, 1 to 5 (default 1)" },
	{ "at", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false, "give a dump up that takes longer" },
	{ "avoid-outage", 'a', TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "leave a dump out that would have to wait for another, or is over the pause budget" },
	{ "hold", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false,
	  "a process at its end waits no longer than D for its dump (default 5m, 0ms: no limit; 10s while the disk takes nothing)" },
	{ "kill", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "when the last dump is there, SIGKILL to each process that was dumped; to none if one failed" },
	{ "cancel", 0, TYPE_TEXT, "PID|NAME", NULL, VERB_DUMP, false,
	  "no dump: ask each series of dumps that waits on that process to end" },
	{ "for", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false, "a condition must hold for D without a break" },
	{ "interval", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false, "between two looks at the process (default 1s)" },
	{ "wait", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "wait for a process of that name, or pattern: 'php-fpm*'" },
	{ "all", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false, "every process of that name, and those that come later" },
	{ "timeout", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false, "stop waiting after D (exit code 1: no dump)" },
	{ "snapshot", 0, TYPE_CHOICE, "HOW", "auto|clone|stop", VERB_DUMP, false,
	  "write from a frozen copy, or while the process stands still (default auto)" },
	{ "output", 'o', TYPE_TEXT, "PATH", NULL, VERB_DUMP, false,
	  "file or directory; PROCESSNAME PID YYMMDD HHMMSS TRIGGER EXCEPTIONCODE are replaced in the name" },

	{ "everything", 0, TYPE_FLAG, NULL, NULL, VERB_DUMP, false,
	  "also what MADV_DONTDUMP and coredump_filter leave out" },
	{ "compress", 0, TYPE_CHOICE, "HOW", "zstd|none", VERB_WATCH, false, "of cores (default zstd)" },
	{ "compress", 0, TYPE_CHOICE, "HOW", "zstd|none", VERB_DUMP, false,
	  "default as PATH's name ends; without one zstd, and none for a mini" },
	{ "pause-budget", 0, TYPE_DURATION, "D", NULL, VERB_WATCH, false,
	  "take no core that would stop the process for longer (default 250ms)" },
	{ "pause-budget", 0, TYPE_DURATION, "D", NULL, VERB_DUMP, false,
	  "take no core that would stop the process for longer (default 250ms; none for a mini, or with --snapshot "
	  "stop; 0ms: no limit; of a process at its end see --hold)" },
	{ "max-size", 0, TYPE_SIZE, "SIZE", NULL, VERB_WATCH | VERB_DUMP, false,
	  "give a core up that gets larger on disk" },
	{ "free-space", 0, TYPE_SPACE, "SIZE", NULL, VERB_WATCH | VERB_DUMP, false,
	  "leave so much free on the disk: 5G, or 10% of it (default 64M, or 1% of a smaller disk)" },
	{ "no-journal", 0, TYPE_FLAG, NULL, NULL, VERB_WATCH | VERB_DUMP, false,
	  "no entry for a core in systemd's journal, which makes coredumpctl list it" },
	{ "max-rate", 0, TYPE_SIZE, "SIZE", NULL, VERB_WATCH | VERB_DUMP, false, "write SIZE a second at most" },

	{ "status", 0, TYPE_COUNT, "N", NULL, VERB_TEST, false, "the response's status" },
	{ "time-taken", 0, TYPE_DURATION, "D", NULL, VERB_TEST, false, "how long the request took" },
	{ "host", 0, TYPE_TEXT, "H", NULL, VERB_TEST, false, "the request's Host header" },
	{ "client", 0, TYPE_TEXT, "ADDRESS", NULL, VERB_TEST, false, "who sent it: an address, or unix" },
	{ "header", 0, TYPE_TEXT, "'NAME: VALUE'", NULL, VERB_TEST, false, "a header of it; may be given again" },
	{ "watch", 0, TYPE_TEXT, "NAME", NULL, VERB_TEST, false, "the watch set that its process is of" },
	{ "aborted", 0, TYPE_FLAG, NULL, NULL, VERB_TEST, false, "its connection ended before its reply did" },
	{ "response-size", 0, TYPE_SIZE, "SIZE", NULL, VERB_TEST, false, "how long the response was" },
	{ "severity", 0, TYPE_CHOICE, "NAME", "critical|error|warning|information|verbose", VERB_TEST, false,
	  "how grave its gravest mark is" },

	{ "group", 0, TYPE_FLAG, NULL, NULL, VERB_LIST, false,
	  "those that are alike as one: same cause, place and wait" },
	{ "view", 0, TYPE_CHOICE, "NAME", "summary|compact|details|performance", VERB_SHOW, false,
	  "as Failed Request Tracing has them: compact is every event, details by severity, performance what took how long" },
	{ "format", 'f', TYPE_CHOICE, "NAME", "text|html|json|chrome|stacks", VERB_REPORT, false,
	  "of the page (default html)" },
	{ "format", 'f', TYPE_TEXT, "NAME", NULL, VERB_EXPORT, false,
	  "chrome, perfetto, speedscope, folded, freb, text, html, stacks or json (the default)" },
	{ "debuginfod", 0, TYPE_FLAG, NULL, NULL, VERB_REPORT, false,
	  "name functions and lines by the debug files that the servers in DEBUGINFOD_URLS have" },
	{ "budget", 0, TYPE_DURATION, "D", NULL, VERB_REPORT, false, "no longer than this for them (default 1m)" },
	{ "output", 'o', TYPE_TEXT, "FILE", NULL, VERB_REPORT | VERB_EXPORT, false,
	  "write to FILE, not to the terminal ('-')" },

	{ "store", 'o', TYPE_TEXT, "DIR", NULL, VERB_DEMO, false,
	  "where incidents lie (default a new folder in /tmp)" },
	{ "store", 'o', TYPE_TEXT, "DIR", NULL, STORE_VERBS & ~(uint32_t)(VERB_REPORT | VERB_EXPORT), false,
	  "where incidents lie (default $REQTRAP_STORE, or the store of the daemon that runs, or /var/lib/reqtrap)" },
	{ "store", 0, TYPE_TEXT, "DIR", NULL, VERB_REPORT | VERB_EXPORT, false,
	  "where incidents lie (default $REQTRAP_STORE, or the store of the daemon that runs, or /var/lib/reqtrap)" },
	{ "seconds", 0, TYPE_COUNT, "N", NULL, VERB_DEMO, false,
	  "stop waiting for slow requests after N seconds (default 20)" },
	{ "quiet", 'q', TYPE_FLAG, NULL, NULL, VERB_WATCH | VERB_TOP | VERB_DUMP | VERB_DEMO, false,
	  "no notes on stderr" },
	{ "debugger", 0, TYPE_CHOICE, "NAME", "gdb|lldb|eu-stack", VERB_OPEN, false, "to use (default gdb)" },
	{ "quick", 0, TYPE_FLAG, NULL, NULL, VERB_VERIFY, false,
	  "do not decompress all of it: checksums of its data are not compared" },
	{ "json", 0, TYPE_FLAG, NULL, NULL, JSON_VERBS, false, "print JSON" },
	{ "man", 0, TYPE_FLAG, NULL, NULL, VERB_HELP, false, "print the manual page (mdoc)" },
	{ "procdump", 0, TYPE_FLAG, NULL, NULL, VERB_HELP, false,
	  "compare the options of procdump with both ProcDumps (markdown)" },
};
const size_t option_row_count = ARRAY_LEN(option_rows);

/* Errors that the user can mend in what was typed. */
static const int mistakes[] = { EINVAL, ENOENT, ESRCH, ENOTDIR, EISDIR, EEXIST, ENAMETOOLONG, ELOOP, ERANGE, E2BIG };

int exit_code_of(int code)
{
	if (code >= 0)
		return EXIT_DONE;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		if (code == -mistakes[i])
			return EXIT_MISTAKE;
	}
	return EXIT_REFUSED;
}

/* Edits from a to b; two neighbours that changed places are one. */
static size_t distance(const char *a, const char *b)
{
	size_t row[3][64], la = strlen(a), lb = strlen(b);
	size_t *before = row[0], *above = row[1], *at = row[2];

	if (la >= ARRAY_LEN(row[0]) || lb >= ARRAY_LEN(row[0]))
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		at[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *spare = before;

		before = above;
		above = at;
		at = spare;
		at[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, above[j] + 1);
			best = MIN(best, at[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			at[j] = best;
		}
	}
	return at[lb];
}

const char *did_you_mean(const char *word, const char *const *candidates, size_t count)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX, len = strlen(word);

	for (size_t i = 0; i < count; i++) {
		size_t d = distance(word, candidates[i]), common;

		/* a beginning of the other is as good as one slip */
		common = MIN(len, strlen(candidates[i]));
		if (common >= 2 && strncmp(word, candidates[i], common) == 0)
			d = MIN(d, 1u);
		if (d < best_distance) {
			best_distance = d;
			best = candidates[i];
		}
	}
	return best_distance <= MAX(1u, len / 3) ? best : NULL;
}

static int check_choice(const struct option_row *row, const char *value, struct err *err)
{
	size_t len = strlen(value);

	for (const char *p = row->choices;; p++) {
		size_t n = strcspn(p, "|");

		if (n == len && strncmp(p, value, n) == 0)
			return 0;
		p += n;
		if (!*p)
			break;
	}
	return err_say(err, -EINVAL, "'%s' is not one of %s", value, row->choices);
}

static int option_check(const struct option_row *row, const char *value, struct err *err)
{
	struct rule scratch = { .name = NULL };
	struct status_range status[RULE_STATUS_MAX];
	uint64_t number;
	uint32_t bits;
	size_t count;

	/* a key of a rule is checked by the rule, and so the same in a file */
	if (row->config_key && row->type != TYPE_FLAG && row->type != TYPE_TEXT)
		return rule_set(&scratch, row->name, value, err);
	switch (row->type) {
	case TYPE_FLAG:
		return 0;
	case TYPE_TEXT:
		return *value ? 0 : err_say(err, -EINVAL, "it cannot be empty");
	case TYPE_DURATION:
		return parse_duration(value, &number, err);
	case TYPE_SIZE:
		return parse_size(value, &number, err);
	case TYPE_SPACE:
		return parse_space(value, &number, &bits, err);
	case TYPE_COUNT:
		return parse_count(value, 1, 1000000, &number, err);
	case TYPE_STATUS:
		return parse_status(value, status, RULE_STATUS_MAX, &count, err);
	case TYPE_PERCENT:
		return budget_parse(value, &bits, err);
	case TYPE_CAPTURE:
		return parse_capture(value, &bits, err);
	case TYPE_AREAS:
		return areas_parse(value, &scratch.areas, err);
	case TYPE_LIMIT:
		return parse_limit(value, &bits, &number, err);
	case TYPE_CHOICE:
		return check_choice(row, value, err);
	}
	return -EINVAL;
}

static int unknown_option(const struct verb *verb, const char *word, struct err *err)
{
	const char *names[64], *near;
	char bare[64];
	size_t count = 0, len;

	if (word[0] != '-' || word[1] != '-')
		return err_say(err, -EINVAL, "%s: no such option '%s'", verb->name, word);
	len = strcspn(word + 2, "=");
	snprintf(bare, sizeof(bare), "%.*s", (int)MIN(len, 60u), word + 2);
	for (size_t i = 0; i < option_row_count && count < ARRAY_LEN(names); i++) {
		if (option_rows[i].verbs & verb->bit)
			names[count++] = option_rows[i].name;
	}
	near = did_you_mean(bare, names, count);
	if (near)
		return err_say(err, -EINVAL, "%s: no such option '--%s' (did you mean '--%s'?)", verb->name, bare,
			       near);
	for (size_t i = 0; i < option_row_count; i++) {
		if (strcmp(option_rows[i].name, bare) == 0)
			return err_say(err, -EINVAL, "%s: '--%s' belongs to another verb", verb->name, bare);
	}
	return err_say(err, -EINVAL, "%s: no such option '--%s'", verb->name, bare);
}

/* getopt's two tables for one verb. */
struct getopt_tables {
	struct option longs[64];
	char letters[160];
};

static void make_tables(const struct verb *verb, struct getopt_tables *t)
{
	size_t count = 0, len = 0;

	/* '-': what is no option comes in order, so that '--' can be seen; ':': a
	 * missing value is told apart */
	memcpy(t->letters, "-:h", 4);
	len = 3;
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (!(row->verbs & verb->bit) || count + 2 >= ARRAY_LEN(t->longs))
			continue;
		t->longs[count++] = (struct option){ row->name, row->arg ? required_argument : no_argument, NULL,
						     ROW_CODE + (int)i };
		if (row->letter && len + 3 < sizeof(t->letters)) {
			t->letters[len++] = row->letter;
			if (row->arg)
				t->letters[len++] = ':';
		}
	}
	t->letters[len] = '\0';
	t->longs[count++] = (struct option){ "help", no_argument, NULL, HELP_CODE };
	t->longs[count] = (struct option){ 0 };
}

static const struct option_row *row_of(const struct verb *verb, int c)
{
	if (c >= ROW_CODE)
		return &option_rows[c - ROW_CODE];
	for (size_t i = 0; i < option_row_count; i++) {
		if ((option_rows[i].verbs & verb->bit) && option_rows[i].letter == c)
			return &option_rows[i];
	}
	return NULL;
}

static int use_option(const struct verb *verb, const struct option_row *row, char *value, struct command_line *line,
		      struct err *err)
{
	int code;

	if (value) {
		code = option_check(row, value, err);
		if (code < 0)
			return err_wrap(err, code, "%s: --%s", verb->name, row->name);
	}
	if (line->use_count == ARRAY_LEN(line->use))
		return err_say(err, -EINVAL, "%s: more than %zu options", verb->name, ARRAY_LEN(line->use));
	line->use[line->use_count++] = (struct option_use){ .row = row, .value = row->arg ? value : NULL };
	return 0;
}

static void print_help(const struct verb *verb)
{
	struct buf out;

	buf_init(&out, 65536);
	options_help(verb, &out);
	fputs(out.data ? out.data : "", stdout);
	buf_done(&out);
}

int options_parse(const struct verb *verb, int argc, char **argv, struct command_line *ret, struct err *err)
{
	struct command_line line = { .rest = argv + 1 };
	struct getopt_tables tables;
	char letter[3] = "-";
	int c, code;

	make_tables(verb, &tables);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while ((c = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
		const struct option_row *row;

		if (c == 1) { /* not an option; its place in argv is free, getopt is past it */
			line.rest[line.rest_count++] = optarg;
			continue;
		}
		if (c == 'h' || c == HELP_CODE) {
			print_help(verb);
			return 1;
		}
		letter[1] = (char)optopt;
		if (c == ':') {
			row = row_of(verb, optopt);
			return err_say(err, -EINVAL, "%s: --%s needs a value: %s", verb->name, row ? row->name : letter,
				       row ? row->arg : "");
		}
		if (c == '?' && optopt >= ROW_CODE)
			return err_say(err, -EINVAL, "%s: --%s takes no value", verb->name, row_of(verb, optopt)->name);
		if (c == '?')
			return unknown_option(verb, optopt ? letter : argv[optind - 1], err);
		row = row_of(verb, c);
		if (!row)
			return unknown_option(verb, letter, err);
		/* what cannot be taken back is asked for by its whole name */
		if (!strcmp(row->name, "kill") && strcmp(argv[optind - 1], "--kill"))
			return unknown_option(verb, argv[optind - 1], err);
		code = use_option(verb, row, optarg, &line, err);
		if (code < 0)
			return code;
	}
	if (optind < argc)
		line.command = argv + optind;
	*ret = line;
	return 0;
}

bool option_given(const struct command_line *line, const char *name)
{
	for (size_t i = 0; i < line->use_count; i++) {
		if (strcmp(line->use[i].row->name, name) == 0)
			return true;
	}
	return false;
}

const char *option_value(const struct command_line *line, const char *name)
{
	for (size_t i = line->use_count; i-- > 0;) {
		if (strcmp(line->use[i].row->name, name) == 0)
			return line->use[i].value;
	}
	return NULL;
}

/* Words after 'column', wrapped before WIDTH; the cursor stands at 'at'. */
static void add_wrapped(struct buf *out, const char *text, size_t at, size_t column)
{
	bool first = true;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (!first && at + 1 + len >= WIDTH) {
			buf_addf(out, "\n%*s", (int)column, "");
			at = column;
		} else if (!first) {
			buf_adds(out, " ");
			at++;
		}
		buf_add(out, text, len);
		at += len;
		text += len + (text[len] == ' ');
		first = false;
	}
	buf_adds(out, "\n");
}

static void add_option(struct buf *out, const struct option_row *row)
{
	char left[64], help[256];
	int n;

	if (row->letter)
		n = snprintf(left, sizeof(left), "  -%c, --%s", row->letter, row->name);
	else
		n = snprintf(left, sizeof(left), "      --%s", row->name);
	if (row->arg)
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s", row->arg);
	snprintf(help, sizeof(help), "%s%s%s", row->choices ? row->choices : "", row->choices ? ": " : "", row->help);
	buf_adds(out, left);
	if (n + 2 > HELP_COLUMN)
		buf_addf(out, "\n%*s", HELP_COLUMN, "");
	else
		buf_addf(out, "%*s", HELP_COLUMN - n, "");
	add_wrapped(out, help, HELP_COLUMN, HELP_COLUMN);
}

void options_help(const struct verb *verb, struct buf *out)
{
	bool any = false;

	for (size_t i = 0; i < option_row_count; i++)
		any |= (option_rows[i].verbs & verb->bit) != 0;
	buf_addf(out, "Usage: reqtrap %s%s%s%s\n\n", verb->name, *verb->args ? " " : "", verb->args,
		 any ? " [OPTIONS]" : "");
	add_wrapped(out, verb->summary, 0, 0);
	if (verb->details)
		buf_addf(out, "\n%s", verb->details);
	if (any)
		buf_adds(out, "\nOptions\n");
	for (size_t i = 0; i < option_row_count; i++) {
		if (option_rows[i].verbs & verb->bit)
			add_option(out, &option_rows[i]);
	}
	if (verb->examples)
		buf_addf(out, "\nExamples\n%s", verb->examples);
}
