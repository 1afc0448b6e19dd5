// SPDX-License-Identifier: MIT
/* What each option means, there and here. Rejected: a page written by hand, which
 * drifts. Trap: a note says why nothing happens, a refusal why no dump is taken; what
 * changes the moment of a dump and cannot be done is never a note. */
#include "procdump_table.h"

#include "procdump.h"

#include <string.h>

#define AT(field) offsetof(struct procdump, field)
#define NET "the .NET runtime is not asked here"

const struct procdump_row procdump_rows[] = {
	{ "mm", NULL, USE_FLAG, AT(mini), "mini dump (default)", NULL, "registers, stacks and what they point to" },
	{ "ma", NULL, USE_FLAG, AT(full), "full dump", NULL, "a core of the whole process; with -mm both" },
	{ "mp", NULL, USE_NEAREST, AT(full), "MiniPlus: all private memory", NULL,
	  "a full dump is written, which holds all that a MiniPlus has" },
	{ "mt", NULL, USE_NEAREST, AT(mini), "triage: stacks, secrets taken out", NULL,
	  "a mini is written; what is secret in its stacks is not taken out" },
	{ "mc", "MASK", USE_NEAREST, AT(full), "minidump mask", "coredump_filter mask",
	  "a full dump is written; a mask cannot leave parts of it out" },
	{ "md", "DLL", USE_NOTE, 0, "a callback DLL chooses the memory", NULL, "a callback DLL cannot be loaded here" },
	{ "mk", NULL, USE_NOTE, 0, "also a kernel dump", NULL, "kernel stacks are not part of a Linux core" },
	{ "n", "COUNT", USE_COUNT, AT(count), "so many dumps (1)", "so many dumps (1), at most 100",
	  "so many dumps (1), at most 10000" },
	{ "s", "SECONDS", USE_SECONDS, AT(every_ns), "a condition must hold so long; of a plain series, its gap (10)",
	  "so long between two dumps (10)", "the one or the other: see above" },
	{ "c", "PERCENT", USE_ABOVE, TRIGGER_CPU, "CPU at or above, of the machine",
	  "CPU at or above, of one core, over the whole life of the process",
	  "of the machine or of one core: see above; of each second" },
	{ "cl", "PERCENT", USE_BELOW, TRIGGER_CPU, "CPU below, of the machine", "CPU below, of one core",
	  "the same, below" },
	{ "u", NULL, USE_FLAG, AT(core), "-c is of one core; alone: uninstall", NULL, "-c is of one core" },
	{ "m", "MB[,MB...]", USE_ABOVE, TRIGGER_MEMORY, "commit at or above (one value)",
	  "memory at or above; a list: a dump at each", "resident and swapped memory; a list: a dump at each" },
	{ "ml", "MB[,MB...]", USE_BELOW, TRIGGER_MEMORY, "commit below (one value)",
	  "memory below; a list: a dump at each", "the same, below" },
	{ "p", "COUNTER THRESHOLD", USE_COUNTER_ABOVE, 0, "performance counter at or above", NULL,
	  "counters of the process: Thread Count, Handle Count (descriptors), % Processor Time (of one core), "
	  "Private Bytes and Working Set (resident and swapped); others are refused" },
	{ "pl", "COUNTER THRESHOLD", USE_COUNTER_BELOW, 0, "performance counter below", NULL, "the same, below" },
	{ "tc", "COUNT", USE_ABOVE, TRIGGER_THREADS, NULL, "threads at or above", "threads at or above" },
	{ "fc", "COUNT", USE_ABOVE, TRIGGER_FDS, NULL, "descriptors at or above", "descriptors at or above" },
	{ "e", "[1]", USE_EXCEPTION, 0, "unhandled exception; 1: also handled ones", "any .NET exception",
	  "a signal that ends the process; 1: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT on any thread, handled or not" },
	{ "b", NULL, USE_FLAG, AT(breakpoints), "breakpoints are exceptions, too", NULL, "with -e 1: SIGTRAP, too" },
	{ "g", NULL, USE_NOTE, 0, "no managed debugging", NULL, "there is no managed debugger to leave out here" },
	{ "f", "FILTER", USE_REFUSE, 0, "only exceptions, texts, DLLs like this", "only .NET exceptions like this",
	  "signals have no text to filter: -sig names the ones that count" },
	{ "fx", "FILTER", USE_REFUSE, 0, "not those like this", "not in -restrack's stacks",
	  "signals have no text to filter: -sig names the ones that count" },
	{ "ld", NULL, USE_REFUSE, 0, "a DLL is loaded", NULL, "loads of libraries are not waited for here" },
	{ "ud", NULL, USE_REFUSE, 0, "a DLL is unloaded", NULL, "unloads of libraries are not waited for here" },
	{ "ct", NULL, USE_REFUSE, 0, "a thread is created", NULL,
	  "new threads are not waited for here; -tc counts them" },
	{ "et", NULL, USE_REFUSE, 0, "a thread exits", NULL, "ends of threads are not waited for here" },
	{ "sig", "N[,N...]", USE_SIGNALS, 0, NULL, "one of these signals, on the main thread",
	  "one of these signals, by number or name, on any thread" },
	{ "t", NULL, USE_FLAG, AT(exit), "the process ends", NULL, "its end, by exit or by a signal" },
	{ "h", NULL, USE_REFUSE, 0, "a window hangs", NULL,
	  "there are no windows; 'reqtrap dump --hung 5s' waits for a process that does nothing" },
	{ "l", NULL, USE_REFUSE, 0, "a debug string is written", NULL, "Linux has no debug output strings" },
	{ "gcm", "MB", USE_REFUSE, 0, NULL, ".NET heap at or above", NET ": -m is of the whole process" },
	{ "gcgen", "GENERATION", USE_REFUSE, 0, NULL, "a .NET collection begins and ends", NET },
	{ "pc", "COUNTER THRESHOLD", USE_REFUSE, 0, NULL, ".NET counter at or above", NET },
	{ "pcl", "COUNTER THRESHOLD", USE_REFUSE, 0, NULL, ".NET counter below", NET },
	{ "restrack", "[nodump]", USE_REFUSE, 0, NULL, "allocations that were not freed",
	  "allocations are not traced here; dumps at '-m A,B' are compared by mapping" },
	{ "sr", "RATE", USE_REFUSE, 0, NULL, "-restrack counts each Nth", "allocations are not traced here" },
	{ "w", NULL, USE_FLAG, AT(wait), "wait for the process to start", "wait for the process to start",
	  "wait for a process of that name" },
	{ "x", "FOLDER IMAGE [ARGS]", USE_LAUNCH, 0, "start the program", NULL,
	  "start the program; attached before it begins where -e, -sig or -t is given" },
	{ "pgid", NULL, USE_FLAG, AT(group), NULL, "the number is a process group",
	  "every process of that group, and those that come later" },
	{ "r", "[1..5]", USE_CLONE, 0, "dump a clone; so many at once (1)", NULL,
	  "a clone is used anyway; so many dumps at once (1)" },
	{ "a", NULL, USE_FLAG, AT(avoid_outage), "leave out what would stop it for long", NULL,
	  "leave out what would have to wait, or stop it for longer than the pause budget" },
	{ "at", "SECONDS", USE_SECONDS, AT(timeout_ns), "give a dump up after so long", NULL,
	  "give a dump up after so long" },
	{ "k", NULL, USE_FLAG, AT(kill), "kill the process after the dump", NULL,
	  "when the last dump is there, SIGKILL to each process that was dumped; to none if one failed" },
	{ "cancel", "PID", USE_TEXT, AT(cancel), "end all ProcDumps on that process", NULL,
	  "ends all series of this user on that process" },
	{ "o", NULL, USE_FLAG, AT(overwrite), "overwrite the file", "overwrite the file",
	  "overwrite the file; else the name gets a number" },
	{ "dc", "TEXT", USE_TEXT, AT(comment), "comment in the dump", NULL, "comment in a note of the core" },
	{ "wer", NULL, USE_NOTE, 0, "queue for Windows Error Reporting", NULL,
	  "there is no Windows Error Reporting here" },
	{ "64", NULL, USE_PLAIN, 0, "a 64-bit dump of a 32-bit process", NULL, "a core is of its process's own size" },
	{ "pf", "MS", USE_MS, AT(interval_ns), NULL, "time between two looks (1000)", "time between two looks (1000)" },
	{ "log", "WHERE", USE_NOTE, 0, NULL, "messages to syslog or stdout", "messages go to standard error" },
	{ "usegcore", NULL, USE_NOTE, 0, NULL, "let gcore write the dump", "gcore is not needed" },
	{ "i", NULL, USE_REFUSE, 0, "install for all crashes", NULL,
	  "no kernel setting is changed; crashes of all processes are systemd-coredump's" },
	{ "v", NULL, USE_NOTE, 0, "say more", NULL, "everything is said anyway" },
	{ "y", NULL, USE_NOTE, 0, "start of a store app", NULL, "there are no store apps here" },
	{ "accepteula", NULL, USE_PLAIN, 0, "accept the licence", NULL, "nothing to accept" },
	{ "?", NULL, USE_FLAG, AT(help), "help", "help", "help" },
	{ "help", NULL, USE_FLAG, AT(help), NULL, NULL, "help" },
	{ "as", "windows|linux", USE_AS, 0, NULL, NULL, "whose meaning '-s', '-c' and '-e' have" },
	{ "all", NULL, USE_FLAG, AT(all), NULL, NULL, "every process of the name, and those that come later" },
	{ "also", "PID|NAME", USE_ALSO, 0, NULL, NULL, "one more process" },
	{ "json", NULL, USE_FLAG, AT(json), NULL, NULL, "one JSON object for each dump" },
	{ "no-journal", NULL, USE_FLAG, AT(no_journal), NULL, NULL, "no entry in the journal" },
	{ "pause-budget", "D", USE_DURATION, AT(pause_budget_ns), NULL, NULL,
	  "no full dump that would stop the process for longer (250ms; 0ms: no limit)" },
	{ "hold", "D", USE_DURATION, AT(hold_ns), NULL, NULL,
	  "a process at its end waits no longer for its dump (5m, 0ms: no limit; 10s while the disk takes nothing)" },
};
const size_t procdump_row_count = ARRAY_LEN(procdump_rows);

static void help_list(struct buf *out, enum use use)
{
	size_t column = 0;

	for (size_t i = 0; i < procdump_row_count; i++) {
		size_t len = strlen(procdump_rows[i].name) + 2;

		if (procdump_rows[i].use != use)
			continue;
		if (column == 0 || column + len > 76) {
			buf_adds(out, column ? "\n   " : "   ");
			column = 3;
		}
		buf_addf(out, " -%s", procdump_rows[i].name);
		column += len;
	}
	buf_adds(out, "\n");
}

void procdump_help(struct buf *out)
{
	buf_adds(out, "usage: procdump [OPTIONS] PID|NAME [FILE|FOLDER]\n"
		      "       procdump [OPTIONS] -x FOLDER PROGRAM [ARGUMENTS]\n"
		      "       procdump -cancel PID\n"
		      "\n"
		      "  -ma, -mm     a full dump: an ELF core of the whole process; a mini: registers,\n"
		      "               stacks, and what they point to. Both: the mini first\n"
		      "  -mp, -mt     the nearest of the two, with a note\n"
		      "  -n COUNT     so many dumps (1)\n"
		      "  -s SECONDS   so long from one dump to the next (10); with Windows' words: so\n"
		      "               long a condition must hold\n"
		      "  -c, -cl N    CPU at or above, below N %: of one core; with Windows' words of\n"
		      "               the machine, and with -u of one core\n"
		      "  -m, -ml MB   memory at or above, below; MB,MB: a dump at each\n"
		      "  -tc, -fc N   threads, descriptors at or above\n"
		      "  -p, -pl COUNTER N   '\\Process(NAME)\\Handle Count' and the like\n"
		      "  -e [1]       a signal that ends it; 1: crashes that are handled, too (-b: traps)\n"
		      "  -sig LIST    one of these signals\n"
		      "  -t           the process ends\n"
		      "  -w, -x       wait for the process; start it\n"
		      "  -r [1..5]    so many dumps at once; -a leaves out what would have to wait\n"
		      "  -pf MS       time between two looks (1000)\n"
		      "  -o           overwrite the file if it is there; else the name gets a number\n"
		      "  -k           end the process when its last dump is there\n"
		      "  -pgid        the number is a process group: all of its processes\n"
		      "  -at SECONDS  give a dump up after this time\n"
		      "  -dc TEXT     put a comment into the dump\n"
		      "  --as windows|linux   whose words these are\n"
		      "  --also PID|NAME, --all   one more process; every one of the name\n"
		      "  --json, --no-journal, --pause-budget D, --hold D   as 'reqtrap dump' has them\n"
		      "\n"
		      "The name is " PROCDUMP_FILE_NAME " in the current folder, or as given;\n"
		      "in it PROCESSNAME, PID, YYMMDD, HHMMSS, TRIGGER (cpu, signal, ..., manual) and\n"
		      "EXCEPTIONCODE (SIGSEGV) are replaced. With Linux's words it is\n" PROCDUMP_FILE_NAME_LINUX ".\n"
		      "'-', '/' and the dashes of web pages open an option; case does not matter.\n"
		      "\n"
		      "Accepted, with a note, because they mean nothing here:\n");
	help_list(out, USE_NOTE);
	buf_adds(out, "Refused, because the dump would be taken at another moment than meant:\n");
	help_list(out, USE_REFUSE);
	buf_adds(out, "\nexamples:\n"
		      "  procdump -ma 4711                                  one dump, now\n"
		      "  procdump -64 -ma -s 4 -n 3 4711 shop-PID-perf.dmp  three dumps, 4 seconds apart\n"
		      "  procdump -accepteula -ma 4711 /var/dumps           as an action of a rule\n"
		      "  procdump -ma -e -x /var/dumps ./server --port 80   when it crashes\n");
}

static void page_cell(struct buf *out, const char *text)
{
	buf_adds(out, " ");
	for (const char *p = text ? text : "-"; *p; p++)
		buf_addf(out, *p == '|' ? "\\%c" : "%c", *p);
	buf_adds(out, " |");
}

void procdump_page(struct buf *out)
{
	buf_adds(out, "<!-- SPDX-License-Identifier: MIT; made by 'reqtrap help --procdump' -->\n"
		      "# ProcDump's options\n\n"
		      "`reqtrap procdump`, or the program called by the name `procdump`, takes the options of\n"
		      "ProcDump for Windows (12.0) and for Linux (3.5). A note: accepted, one line says why it\n"
		      "does nothing. Refused: the dump would be another one, or at another moment, than meant.\n\n"
		      "Where the two differ (`-s`, `-c`, `-e`, the size that is written by default), these decide, in\n"
		      "this order: `--as windows|linux`; a program name `procdump64` or `*.exe`; words that only\n"
		      "one of them knows (both kinds: refused where it matters); else Linux.\n\n"
		      "| | Windows | Linux, or undecided |\n|---|---|---|\n"
		      "| `-s` with a condition | it must hold so long without a break | between two dumps |\n"
		      "| `-s` without one | between two dumps | between two dumps |\n"
		      "| `-c`, `-cl` | of the machine; `-u`: of one core | of one core |\n"
		      "| `-e` | a signal that ends the process | the same if undecided; refused with Linux's words |\n"
		      "| no size | a mini | a full dump |\n"
		      "| no name | " PROCDUMP_FILE_NAME " | with Linux's words " PROCDUMP_FILE_NAME_LINUX
		      "; undecided as on Windows |\n\n"
		      "| option | Windows 12 | Linux 3.5 | here |\n|---|---|---|---|\n");
	for (size_t i = 0; i < procdump_row_count; i++) {
		const struct procdump_row *row = &procdump_rows[i];
		bool ours = !row->on_windows && !row->on_linux;

		buf_addf(out, "| `%s%s%s", ours ? "--" : "-", row->name, row->arg ? " " : "");
		for (const char *p = row->arg ? row->arg : ""; *p; p++)
			buf_addf(out, *p == '|' ? "\\%c" : "%c", *p);
		buf_adds(out, "` |");
		page_cell(out, row->on_windows);
		page_cell(out, row->on_linux);
		buf_adds(out, row->use == USE_NOTE ? " a note:" : row->use == USE_REFUSE ? " refused:" : "");
		page_cell(out, row->here);
		buf_adds(out, "\n");
	}
}
