// SPDX-License-Identifier: MIT
/* ProcDump's command lines as the field types them, and the file name patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "procdump.h"

#include <signal.h>
#include <string.h>

struct parsed {
	struct procdump pd;
	struct buf notes;
	struct err err;
	int code;
};

static int words(const char *const *argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static struct parsed parse(const char *const *argv)
{
	struct parsed p = { 0 };

	buf_init(&p.notes, 4096);
	p.code = procdump_parse(words(argv), (char *const *)(uintptr_t)argv, &p.pd, &p.notes, &p.err);
	return p;
}

#define PARSE(...) parse((const char *const[]){ "procdump", __VA_ARGS__, NULL })

static void article_line(void **state)
{
	struct parsed p = PARSE("–64", "–ma", "–s", "4", "–n", "3", "4711", "w3wp-PID-perf.dmp");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.count, 3);
	assert_int_equal(p.pd.every_ns, 4000000000ull);
	assert_string_equal(p.pd.target[0], "4711");
	assert_string_equal(p.pd.path, "w3wp-PID-perf.dmp");
	assert_int_equal(p.notes.len, 0);
	assert_false(p.pd.overwrite);
	buf_done(&p.notes);
}

static void action_line(void **state)
{
	struct parsed p = PARSE("-accepteula", "–ma", "4711", "/var/dumps");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.count, 1);
	assert_string_equal(p.pd.path, "/var/dumps");
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);
}

static void every_dash_and_case(void **state)
{
	static const char *const spelling[] = { "-MA", "/ma", "–Ma", "—mA", "−ma", "--ma", "\x96ma", "\x97MA", "‐ma" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spelling); i++) {
		struct parsed p = PARSE(spelling[i], "/n", "2", "—S", "7", "nginx");

		if (p.code)
			fail_msg("%s: %s", spelling[i], p.err.text);
		assert_int_equal(p.pd.count, 2);
		assert_int_equal(p.pd.every_ns, 7000000000ull);
		assert_string_equal(p.pd.target[0], "nginx");
		assert_int_equal(p.notes.len, 0);
		buf_done(&p.notes);
	}
}

static void slash_is_a_path_after_the_target(void **state)
{
	struct parsed p = PARSE("-ma", "4711", "/o");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.path, "/o");
	assert_false(p.pd.overwrite);
	buf_done(&p.notes);

	p = PARSE("4711", "-ma", "-o", "/tmp");
	assert_int_equal(p.code, 0);
	assert_true(p.pd.overwrite);
	assert_string_equal(p.pd.path, "/tmp");
	buf_done(&p.notes);
}

static void options_after_the_target(void **state)
{
	struct parsed p =
		PARSE("4711", "-s", "1", "-n", "2", "-dc", "why it is", "out.dmp", "-at", "9", "-ma", "--json");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.comment, "why it is");
	assert_string_equal(p.pd.path, "out.dmp");
	assert_int_equal(p.pd.timeout_ns, 9000000000ull);
	assert_true(p.pd.json);
	buf_done(&p.notes);
}

/* Only what was typed is explained. */
static void reading(void **state)
{
	struct parsed p = PARSE("-m", "1", "4711");

	(void)state;
	assert_true(p.code == 0 && !strstr(p.notes.data, "'-c'"));
	buf_done(&p.notes);
	p = PARSE("-c", "20", "4711");
	assert_non_null(strstr(p.notes.data, "'-c' is of one core; --as"));
	assert_true(p.pd.trigger[0].or_equal && p.pd.trigger[0].threshold == 200);
	buf_done(&p.notes);
	p = PARSE("-m", "1", "-s", "5", "4711");
	assert_non_null(strstr(p.notes.data, "'-s' the time between two dumps; --as"));
	assert_null(strstr(p.notes.data, "'-c'"));
	buf_done(&p.notes);
}

static void defaults(void **state)
{
	struct parsed p = PARSE("-ma", "-n", "2", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.every_ns, PROCDUMP_EVERY_NS);
	assert_null(p.pd.path);
	assert_null(p.pd.comment);
	assert_int_equal(p.pd.timeout_ns, 0);
	buf_done(&p.notes);
}

static void notes(void **state)
{
	struct parsed p = PARSE("-ma", "-g", "-wer", "-mk", "-md", "x.dll", "-log", "syslog", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.target[0], "4711");
	assert_non_null(strstr(p.notes.data, "'-g'"));
	assert_non_null(strstr(p.notes.data, "'-wer'"));
	assert_non_null(strstr(p.notes.data, "'-mk'"));
	assert_non_null(strstr(p.notes.data, "'-md x.dll'"));
	assert_non_null(strstr(p.notes.data, "'-log syslog'"));
	buf_done(&p.notes);

	/* The number after -r is its own only from 1 to 5. */
	p = PARSE("-ma", "-r", "4711");
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.target[0], "4711");
	assert_int_equal(p.pd.concurrent, 1);
	buf_done(&p.notes);

	p = PARSE("-ma", "-r", "3", "-a", "4711");
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.concurrent, 3);
	assert_true(p.pd.avoid_outage);
	buf_done(&p.notes);

	p = PARSE("4711");
	assert_int_equal(p.code, 0);
	assert_non_null(strstr(p.notes.data, "full dump"));
	buf_done(&p.notes);

	p = PARSE("-ma", "-s", "4", "4711");
	assert_int_equal(p.code, 0);
	assert_non_null(strstr(p.notes.data, "'-s'"));
	buf_done(&p.notes);
}

static void sizes(void **state)
{
	struct parsed p = PARSE("-mm", "-ma", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_true(p.pd.mini && p.pd.full);
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);

	p = PARSE("/MM", "4711");
	assert_true(p.pd.mini && !p.pd.full);
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);

	p = PARSE("-mp", "4711");
	assert_true(!p.pd.mini && p.pd.full);
	assert_non_null(strstr(p.notes.data, "'-mp': a full dump"));
	buf_done(&p.notes);

	p = PARSE("–mt", "4711");
	assert_true(p.pd.mini && !p.pd.full);
	assert_non_null(strstr(p.notes.data, "'–mt': a mini"));
	buf_done(&p.notes);

	p = PARSE("4711");
	assert_true(!p.pd.mini && p.pd.full);
	buf_done(&p.notes);
}

static void ours(void **state)
{
	struct parsed p = PARSE("-ma", "--pause-budget", "1500us", "--no-journal", "4711");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.pause_budget_ns, 1500000);
	assert_true(p.pd.no_journal);
	buf_done(&p.notes);

	p = PARSE("-ma", "--pause-budget", "5", "4711");
	assert_int_equal(p.code, -EINVAL);
	assert_non_null(strstr(p.err.text, "needs a unit"));
	buf_done(&p.notes);
}

/* Every option of both, with what follows it there. */
static const char *const windows_options[] = {
	"mm",
	"ma",
	"mt",
	"mp",
	"mc 1f",
	"md x.dll",
	"mk",
	"n 2",
	"s 5",
	"c 20",
	"cl 5",
	"u",
	"m 100",
	"ml 9",
	"p \\Process(x)\\Thread_Count 5",
	"pl \\Process(x)\\Handle_Count 5",
	"h",
	"e",
	"e 1",
	"g",
	"b",
	"ld",
	"ud",
	"ct",
	"et",
	"l",
	"t",
	"f x",
	"fx x",
	"dc x",
	"o",
	"r",
	"r 5",
	"a",
	"at 9",
	"wer",
	"64",
	"w",
	"x /tmp prog",
	"i",
	"k",
	"v",
	"y",
	"accepteula",
	"cancel 4711",
	"?",
};
static const char *const linux_options[] = {
	"n 2",	    "s 5",	 "c 65",     "cl 10",	  "m 100,200",
	"ml 9",	    "gcm LOH:1", "gcgen 1",  "restrack",  "sr 10",
	"tc 9",	    "fc 9",	 "sig 11",   "e",	  "f x",
	"fx x",	    "mc 1",	 "pf 500",   "o",	  "log syslog",
	"w",	    "pgid",	 "pc a:b 5", "pcl a:b 5", "restrack nodump",
	"usegcore",
};

/* Words at blanks; '_' stands for a blank inside one. Never copied twice at once. */
static struct parsed parse_text(const char *text, const char *target)
{
	static char copy[256];
	const char *argv[24] = { "procdump" };
	size_t n = 1;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok(copy, " "); word && n < 20; word = strtok(NULL, " ")) {
		for (char *p = *word == '\\' ? word : ""; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		argv[n++] = word;
	}
	if (target)
		argv[n++] = target;
	return parse(argv);
}

/* Known: done, or one line that says why not; never 'not an option'. */
static void known(const char *option)
{
	char text[128];
	struct parsed p;

	snprintf(text, sizeof(text), "–%s", option);
	p = parse_text(text, !strncmp(option, "x ", 2) || !strncmp(option, "cancel", 6) || !strcmp(option, "?") ? NULL
			     : !strcmp(option, "pgid")								? "4711"
														: "x");
	if (p.code == 0 && p.err.text[0])
		fail_msg("%s: %s", option, p.err.text);
	if (p.code && (p.code != -EOPNOTSUPP || strchr(p.err.text, '\n') || !strstr(p.err.text, "nothing is dumped")))
		fail_msg("%s: %d %s", option, p.code, p.err.text);
	buf_done(&p.notes);
}

static void every_option_of_both(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(windows_options); i++) {
		if (strcmp(windows_options[i], "u") != 0)
			known(windows_options[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(linux_options); i++)
		known(linux_options[i]);
}

/* What would change the moment of a dump is refused. */
static void refused(void **state)
{
	static const char *const option[] = { "h",
					      "l",
					      "f x",
					      "fx x",
					      "ld",
					      "ud",
					      "ct",
					      "et",
					      "i",
					      "gcm 5",
					      "gcgen 1",
					      "pc a 5",
					      "pcl a 5",
					      "restrack",
					      "sr 5",
					      "p \\Processor(_Total)\\%_Processor_Time 20",
					      "p \\Process(other)\\Handle_Count 20",
					      "p \\Process(*)\\Handle_Count 20" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(option); i++) {
		char text[128];
		struct parsed p;

		snprintf(text, sizeof(text), "–%s", option[i]);
		p = parse_text(text, "nginx");
		if (p.code != -EOPNOTSUPP)
			fail_msg("%s: %d", option[i], p.code);
		buf_done(&p.notes);
	}
}

/* The example lines of both helps that have a meaning here. */
static const struct example {
	const char *line;
	enum procdump_as as;
	bool mini, full;
	unsigned int count, every_s;
	enum trigger_kind kind; /* TRIGGER_KINDS: none */
	uint64_t threshold;
	unsigned int for_s;
	bool fatal, segv, wait;
	const char *target;
} examples[] = {
#define W PROCDUMP_WINDOWS
#define L PROCDUMP_LINUX
#define U PROCDUMP_UNDECIDED
#define NONE TRIGGER_KINDS, 0, 0
	/* Windows */
	{ "-ma 4572", W, false, true, 1, 10, NONE, false, false, false, "4572" },
	{ "-mm -ma 4572", W, true, true, 1, 10, NONE, false, false, false, "4572" },
	{ "notepad", U, false, true, 1, 10, NONE, false, false, false, "notepad" },
	{ "--as windows notepad", W, true, false, 1, 10, NONE, false, false, false, "notepad" },
	{ "-ma -mk 4572", W, false, true, 1, 10, NONE, false, false, false, "4572" },
	{ "-ma -k 4572", W, false, true, 1, 10, NONE, false, false, false, "4572" },
	{ "-n 3 -s 5 notepad", U, false, true, 3, 5, NONE, false, false, false, "notepad" },
	{ "--as windows -n 3 -s 5 notepad", W, true, false, 3, 5, NONE, false, false, false, "notepad" },
	{ "--as windows -n 3 -s 5 -c 20 consume", W, true, false, 3, 5, TRIGGER_CPU_MACHINE, 200, 5, false, false,
	  false, "consume" },
	{ "-ma outlook -p \\Process(Outlook)\\Handle_Count 10000", W, false, true, 1, 10, TRIGGER_FDS, 10000, 10, false,
	  false, false, "outlook" },
	{ "-ma 1234 -p \\Process(svchost#87)\\Handle_Count 10000", W, false, true, 1, 10, TRIGGER_FDS, 10000, 10, false,
	  false, false, "1234" },
	{ "-ma -e w3wp.exe", W, false, true, 1, 10, NONE, true, false, false, "w3wp.exe" },
	{ "-ma -e 1 w3wp.exe", W, false, true, 1, 10, NONE, true, true, false, "w3wp.exe" },
	{ "-ma -n 10 -e 1 w3wp.exe", W, false, true, 10, 10, NONE, true, true, false, "w3wp.exe" },
	{ "-e -w notepad", U, false, true, 1, 10, NONE, true, false, true, "notepad" },
	{ "-mp -e store.exe", W, false, true, 1, 10, NONE, true, false, false, "store.exe" },
	{ "-r -ma -n 5 -s 15 wmplayer.exe", W, false, true, 5, 15, NONE, false, false, false, "wmplayer.exe" },
	{ "-r 5 -ma -n 5 -s 15 wmplayer.exe", W, false, true, 5, 15, NONE, false, false, false, "wmplayer.exe" },
	/* Linux */
	{ "1234", U, false, true, 1, 10, NONE, false, false, false, "1234" },
	{ "-n 3 -s 5 1234", U, false, true, 3, 5, NONE, false, false, false, "1234" },
	{ "-cl 10 -c 65 1234", U, false, true, 1, 10, TRIGGER_CPU, 100, 0, false, false, false, "1234" },
	{ "-c 65 -m 100 1234", U, false, true, 1, 10, TRIGGER_CPU, 650, 0, false, false, false, "1234" },
	{ "-m 100 1234", U, false, true, 1, 10, TRIGGER_MEMORY, 100ull << 20, 0, false, false, false, "1234" },
	{ "-pgid 1234", L, false, true, 1, 10, NONE, false, false, false, "pgid:1234" },
	{ "-n 3 1234", U, false, true, 3, 10, NONE, false, false, false, "1234" },
	{ "-c 65 -n 3 1234", U, false, true, 3, 10, TRIGGER_CPU, 650, 0, false, false, false, "1234" },
	{ "-c 65 -n 3 -s 5 1234", U, false, true, 3, 5, TRIGGER_CPU, 650, 0, false, false, false, "1234" },
	{ "-m 100,200 1234", L, false, true, 2, 10, TRIGGER_MEMORY, 100ull << 20, 0, false, false, false, "1234" },
	{ "1234 /tmp", U, false, true, 1, 10, NONE, false, false, false, "1234" },
	{ "-sig 11 1234", L, false, true, 1, 10, NONE, false, true, false, "1234" },
	{ "-mc 1 -sig 11 1234", L, false, true, 1, 10, NONE, false, true, false, "1234" },
	{ "-w my_application", U, false, true, 1, 10, NONE, false, false, true, "my_application" },
	{ "-tc 50 1234", L, false, true, 1, 10, TRIGGER_THREADS, 50, 0, false, false, false, "1234" },
	{ "-fc 50 1234", L, false, true, 1, 10, TRIGGER_FDS, 50, 0, false, false, false, "1234" },
};

/* The line with another dash, and capitals: '-ma 4572' as '/MA 4572'. A slash opens an option
 * only in front of the target: NULL where one follows it. */
static const char *spelled(const struct example *e, const char *dash, bool capitals)
{
	static char line[300];
	const char *last = strrchr(e->line, ' ');
	size_t len = 0;

	if (*dash == '/' && strcmp(last ? last + 1 : e->line, e->target) != 0)
		return NULL;
	for (const char *p = e->line; *p; p++) {
		bool option = *p == '-' && (p == e->line || p[-1] == ' ') && p[1] != '-';

		if (!option) {
			line[len++] = *p;
			continue;
		}
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s", dash);
		for (; p[1] && p[1] != ' '; p++)
			line[len++] = capitals && p[1] >= 'a' && p[1] <= 'z' ? (char)(p[1] - 32) : p[1];
	}
	line[len] = '\0';
	return line;
}

static void one_example(const struct example *e, const char *line)
{
	struct parsed p = parse_text(line, NULL);

	if (p.code)
		fail_msg("%s: %s", line, p.err.text);
	print_message("%s\n", line);
	assert_int_equal(p.pd.as, e->as);
	assert_true(p.pd.mini == e->mini && p.pd.full == e->full);
	assert_int_equal(p.pd.count, e->count);
	assert_int_equal(p.pd.every_ns, e->every_s * 1000000000ull);
	assert_int_equal(p.pd.trigger_count != 0, e->kind != TRIGGER_KINDS);
	if (p.pd.trigger_count) {
		assert_int_equal(p.pd.trigger[0].kind, e->kind);
		assert_int_equal(p.pd.trigger[0].threshold, e->threshold);
		assert_int_equal(p.pd.trigger[0].for_ns, e->for_s * 1000000000ull);
	}
	assert_int_equal(p.pd.on.fatal, e->fatal);
	assert_int_equal((p.pd.on.signals & sentry_bit(SIGSEGV)) != 0, e->segv);
	assert_int_equal(p.pd.on.signals & sentry_bit(SIGTRAP), 0);
	assert_true(p.pd.wait == e->wait);
	if (!p.pd.group)
		assert_string_equal(p.pd.target[0], e->target);
	else
		assert_string_equal(p.pd.group_word[0], e->target);
	buf_done(&p.notes);
}

static void every_example(void **state)
{
	static const struct {
		const char *dash;
		bool capitals;
	} spelling[] = { { "-", false }, { "-", true }, { "–", false }, { "–", true }, { "/", false }, { "/", true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		for (size_t k = 0; k < ARRAY_LEN(spelling); k++) {
			const char *line = spelled(&examples[i], spelling[k].dash, spelling[k].capitals);

			if (line)
				one_example(&examples[i], line);
		}
	}
}

static void groups_and_ends(void **state)
{
	struct parsed p = PARSE("-pgid", "-k", "-ma", "4711", "--also", "4712");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_true(p.pd.kill && p.pd.group && p.pd.all);
	assert_string_equal(p.pd.group_word[0], "pgid:4711");
	assert_string_equal(p.pd.group_word[1], "pgid:4712");
	buf_done(&p.notes);

	p = PARSE("-pgid", "-ma", "nginx");
	assert_int_equal(p.code, -EINVAL);
	assert_non_null(strstr(p.err.text, "'nginx'"));
	buf_done(&p.notes);

	p = PARSE("-ma", "--pause-budget", "0ms", "--hold", "3s", "4711");
	assert_int_equal(p.pd.pause_budget_ns, 0);
	assert_int_equal(p.pd.hold_ns, 3000000000ull);
	buf_done(&p.notes);
}

static void two_conditions(void **state)
{
	struct parsed p = PARSE("-cl", "10", "-c", "65", "1234");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.trigger_count, 2);
	assert_true(p.pd.trigger[0].below && !p.pd.trigger[1].below);
	assert_int_equal(p.pd.trigger[0].threshold, 100);
	buf_done(&p.notes);

	p = PARSE("-m", "100,200", "1234"); /* each once */
	assert_int_equal(p.pd.trigger_count, 2);
	assert_int_equal(p.pd.trigger[1].threshold, 200ull << 20);
	assert_true(p.pd.trigger[0].step > 1ull << 60);
	buf_done(&p.notes);
}

static void whose_words(void **state)
{
	struct parsed p = PARSE("-ma", "-c", "80", "-tc", "9", "4711");

	(void)state;
	assert_int_equal(p.code, -EINVAL);
	assert_non_null(strstr(p.err.text, "--as windows or --as linux"));
	buf_done(&p.notes);

	p = PARSE("-ma", "-c", "80", "-u", "4711");
	assert_int_equal(p.pd.as, PROCDUMP_WINDOWS);
	assert_int_equal(p.pd.trigger[0].kind, TRIGGER_CPU);
	assert_int_equal(p.pd.trigger[0].for_ns, PROCDUMP_EVERY_NS);
	buf_done(&p.notes);

	p = parse((const char *const[]){ "/opt/ProcDump64.EXE", "-c", "80", "4711", NULL });
	assert_int_equal(p.pd.as, PROCDUMP_WINDOWS);
	assert_int_equal(p.pd.trigger[0].kind, TRIGGER_CPU_MACHINE);
	buf_done(&p.notes);

	p = PARSE("-c", "80", "4711");
	assert_non_null(strstr(p.notes.data, "read as ProcDump for Linux"));
	buf_done(&p.notes);

	p = PARSE("-e", "-sig", "USR1", "4711");
	assert_int_equal(p.code, -EOPNOTSUPP);
	buf_done(&p.notes);

	p = PARSE("-ma", "-e", "1", "-b", "-t", "4711");
	assert_true(p.pd.on.signals & sentry_bit(SIGTRAP));
	assert_int_equal(p.pd.on.exit, 1);
	buf_done(&p.notes);
}

static void launch(void **state)
{
	struct parsed p = PARSE("-e", "-x", "/var/dumps", "./server", "-n", "99", "/ma");

	(void)state;
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.path, "/var/dumps");
	assert_string_equal(p.pd.command[0], "./server");
	assert_string_equal(p.pd.command[3], "/ma");
	assert_null(p.pd.command[4]);
	assert_int_equal(p.pd.count, 1);
	assert_int_equal(p.pd.target_count, 0);
	buf_done(&p.notes);

	p = PARSE("-cancel", "4711");
	assert_int_equal(p.code, 0);
	assert_string_equal(p.pd.cancel, "4711");
	assert_int_equal(p.notes.len, 0);
	buf_done(&p.notes);

	p = PARSE("-ma", "nginx", "--also", "php-fpm", "--all", "/var/dumps");
	assert_int_equal(p.code, 0);
	assert_int_equal(p.pd.target_count, 2);
	assert_string_equal(p.pd.target[1], "php-fpm");
	assert_true(p.pd.all);
	buf_done(&p.notes);
}

static void mistakes(void **state)
{
	static const struct {
		const char *word[5];
		const char *say;
	} row[] = {
		{ { "-ma" }, "no process" },
		{ { "-r", "7", "4711" }, "[1..5]" },
		{ { "-e", "2", "4711" }, "[1]" },
		{ { "-ma", "PID" }, "stands for a number" },
		{ { "-ma", "%1%" }, "stands for a number" },
		{ { "-maa", "4711" }, "'-maa'" },
		{ { "-n", "0", "4711" }, "'-n 0'" },
		{ { "-n", "10001", "4711" }, "'-n 10001'" },
		{ { "-n", "99999999999999999999999", "4711" }, "whole number" },
		{ { "-n", "3x", "4711" }, "'-n 3x'" },
		{ { "-n", "-3", "4711" }, "'-n -3'" },
		{ { "-s", "", "4711" }, "whole number" },
		{ { "4711", "-n" }, "needs a number" },
		{ { "4711", "-dc" }, "needs a value" },
		{ { "4711", "a", "b" }, "'b' is one word too many" },
		{ { "-", "4711" }, "'-'" },
		{ { "-c", "101", "-ma", "4711" }, "'-c 101'" },
		{ { "-m", "100,", "4711" }, "whole number" },
		{ { "-m", "", "4711" }, "whole number" },
		{ { "-sig", "NONE", "4711" }, "'-sig'" },
		{ { "-x", "/tmp" }, "'-x' needs" },
		{ { "-pf", "1", "4711" }, "shortest" },
		{ { "--as", "mac", "4711" }, "windows or linux" },
		{ { "-cancel", "1", "4711" }, "goes alone" },
		{ { "-u" }, "nothing is installed" },
		{ { "–", "4711" }, "not an option" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *argv[7] = { "procdump" };
		struct parsed p;

		for (size_t k = 0; k < 5; k++)
			argv[k + 1] = row[i].word[k];
		p = parse(argv);
		assert_int_equal(p.code, -EINVAL);
		if (!strstr(p.err.text, row[i].say))
			fail_msg("row %zu: '%s' is not in '%s'", i, row[i].say, p.err.text);
		buf_done(&p.notes);
	}
}

static void program_names(void **state UNUSED)
{
	static const char *const yes[] = { "procdump", "procdump64", "ProcDump.exe", "PROCDUMP64.EXE" };
	static const char *const no[] = { "reqtrap", "procdump65", "xprocdump", "procdump.ex", "" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		assert_true(procdump_is_name(yes[i]));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		assert_false(procdump_is_name(no[i]));
}

static void failure_writes_nothing(void **state)
{
	struct procdump pd = { .count = 77 };
	struct buf notes;
	struct err err;
	char *argv[] = { "procdump", "-n", "2", "-l", "-o", "4711", NULL };

	(void)state;
	buf_init(&notes, 64);
	assert_int_equal(procdump_parse(6, argv, &pd, &notes, &err), -EOPNOTSUPP);
	assert_int_equal(pd.count, 77);
	buf_done(&notes);
}

static void help(void **state)
{
	static const char *const word[] = { "-?", "/?", "–?", "--help" };
	struct buf out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(word); i++) {
		struct parsed p = PARSE(word[i]);

		assert_int_equal(p.code, 0);
		assert_true(p.pd.help);
		assert_int_equal(p.notes.len, 0);
		buf_done(&p.notes);
	}
	buf_init(&out, 65536);
	procdump_page(&out);
	assert_false(out.full);
	assert_non_null(strstr(out.data, "\n| `-tc COUNT` | - |"));
	assert_non_null(strstr(out.data, "\n| `-l` |"));
	buf_done(&out);
	procdump_help(&out);
	assert_false(out.full);
	for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 100);
	buf_done(&out);
}

static void names(void **state)
{
	static const struct {
		const char *pattern, *process, *want;
		unsigned int number;
	} row[] = {
		{ "PROCESSNAME_YYMMDD_HHMMSS.dmp", "nginx", "nginx_261122_080905.dmp", 0 },
		{ "PROCESSNAME_YYMMDD_HHMMSS.core.zst", "nginx", "nginx_261122_080905-2.core.zst", 2 },
		{ "w3wp-PID-perf.dmp", "x", "w3wp-4711-perf.dmp", 0 },
		{ "w3wp-PID-perf.dmp", "x", "w3wp-4711-perf-1.dmp", 1 },
		{ "PIDPID", "x", "47114711", 0 },
		{ "plain", "x", "plain-3", 3 },
		{ ".hidden", "x", ".hidden-3", 3 },
		{ ".zst", "x", ".zst-1", 1 },
		{ "a.zst", "x", "a-1.zst", 1 },
		{ ".core.zst", "x", ".core-1.zst", 1 },
		{ "x.PID", "x", "x-1.4711", 1 },
		{ "PROCESSNAME", "../../etc/passwd", "_._.._etc_passwd", 0 },
		{ "PROCESSNAME", "a PID\n\033[2J", "a_PID___2J", 0 },
		{ "PROCESSNAME", "YYMMDD", "YYMMDD", 0 },
		{ "YYMMDDHHMMSSPID", "x", "2611220809054711", 0 },
		{ "PROCESSNAME_TRIGGER_YYMMDD_HHMMSS.PID", "x", "x_manual_261122_080905.4711", 0 },
		{ "PROCESSNAME_TRIGGER_YYMMDD_HHMMSS.PID", "x", "x_manual_261122_080905-1.4711", 1 },
		{ "a-EXCEPTIONCODE-TRIGGER", "x", "a-none-manual", 0 },
	};
	struct tm tm = { .tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 8, .tm_min = 9, .tm_sec = 5 };
	char name[300];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct dump_name of = { .pattern = row[i].pattern, .process = row[i].process, .pid = 4711, .when = tm };

		assert_int_equal(dump_file_name(&of, row[i].number, name, sizeof(name), &err), 0);
		assert_string_equal(name, row[i].want);
	}
}

static void bad_names(void **state)
{
	static const char *const pattern[] = { "", ".", "..", "a/b", "/" };
	struct dump_name of = { .process = "x", .pid = 1 };
	char name[300], many[400];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pattern); i++) {
		of.pattern = pattern[i];
		assert_int_equal(dump_file_name(&of, 0, name, sizeof(name), &err), -EINVAL);
	}
	of.process = ""; /* it may have no name */
	of.pattern = "PROCESSNAME.";
	assert_int_equal(dump_file_name(&of, 0, name, sizeof(name), &err), -EINVAL);
	of.process = "x";
	memset(many, 'a', sizeof(many));
	many[255] = '\0';
	of.pattern = many;
	assert_int_equal(dump_file_name(&of, 0, name, sizeof(name), &err), 0);
	assert_int_equal(dump_file_name(&of, 1, name, sizeof(name), &err), -ENAMETOOLONG);
	assert_int_equal(dump_file_name(&of, 0, name, 255, &err), -ENAMETOOLONG);
	many[255] = 'a';
	many[256] = '\0';
	assert_int_equal(dump_file_name(&of, 0, name, sizeof(name), &err), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(article_line),
		cmocka_unit_test(action_line),
		cmocka_unit_test(every_dash_and_case),
		cmocka_unit_test(slash_is_a_path_after_the_target),
		cmocka_unit_test(options_after_the_target),
		cmocka_unit_test(defaults),
		cmocka_unit_test(reading),
		cmocka_unit_test(notes),
		cmocka_unit_test(sizes),
		cmocka_unit_test(ours),
		cmocka_unit_test(every_option_of_both),
		cmocka_unit_test(refused),
		cmocka_unit_test(every_example),
		cmocka_unit_test(groups_and_ends),
		cmocka_unit_test(two_conditions),
		cmocka_unit_test(whose_words),
		cmocka_unit_test(launch),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(program_names),
		cmocka_unit_test(failure_writes_nothing),
		cmocka_unit_test(help),
		cmocka_unit_test(names),
		cmocka_unit_test(bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
