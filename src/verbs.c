// SPDX-License-Identifier: MIT
/* The table of verbs: a verb is a row here and a cmd_*.c. It stands above
 * options.c, so that the option table needs no verb's code. */
#include "cmd.h"

#include "log.h"

#include <string.h>

#define ID_DETAILS                                                                        \
	"ID is any unique beginning of an incident's id, or 'last', of the daemon that\n" \
	"runs unless --store or $REQTRAP_STORE says otherwise.\n"

#define PROCESS_DETAILS                                                                  \
	"TARGET is a PID, a process NAME, ':PORT' (whoever listens there), unit:NAME,\n" \
	"cgroup:PATH, or '-- CMD ARGS' (start it). Workers that it forks later belong\n" \
	"to it.\n"

const struct verb verbs[] = {
	{ "watch", "TARGET...", "Trap slow or failing requests while they run, until Ctrl-C.", VERB_WATCH, cmd_watch,
	  PROCESS_DETAILS "A rule needs --time-taken, --status, --aborted, --response-size or --severity\n"
			  "(or --config FILE, whose watch sets are the targets if none is named). Each\n"
			  "trapped request is one line; its page, trace and core lie in a folder of their\n"
			  "own.\n"
			  "With several --time-taken it is looked at again at each further limit; the\n"
			  "incident stays one. Time counts from the first byte that the server reads: what\n"
			  "waits unread in its socket has not begun. Of a pipeline the first 8 are\n"
			  "followed, the others counted as refused.\n"
			  "--max-overhead is a share of all CPUs together, since what the watch takes is\n"
			  "taken from whatever runs on the host: of the run time of its BPF programs and\n"
			  "the time of its own main process, not of captures. When two seconds in a row\n"
			  "are over it, detail goes: first --areas, then what threads wait for, then the\n"
			  "lines for reads and writes; what would not help stays. Begin, end, status,\n"
			  "holder by its bytes and limits are never shed. It comes back when there is\n"
			  "room for it, not within a minute, each time twice as long. The kernel measures\n"
			  "one second in 32, so a peak between may pass.\n"
			  "Exit code: 0 something was trapped, 1 nothing was, 2 a mistake, 3 no rights.\n",
	  "  reqtrap watch nginx php-fpm --time-taken 2s\n"
	  "  reqtrap watch nginx --time-taken 2s --time-taken 30s --samples 5 --every 2s\n"
	  "  reqtrap watch :8080 --status 500-599 --capture trace,stacks,mini -n 1\n"
	  "  reqtrap watch 4711 --time-taken 500ms --path '/checkout*' --json\n"
	  "  reqtrap watch --time-taken 1s -- python3 server.py\n" },
	{ "serve", "[TARGET...]", "The daemon: a file of rules, captures, web pages, metrics.", VERB_SERVE, cmd_serve,
	  PROCESS_DETAILS "Beside them the file's 'watch' sections name processes. All are looked for every\n"
			  "two seconds: what is started later is watched, too.\n"
			  "The rules file is read again at SIGHUP and when it changes: as a whole, or the\n"
			  "old rules stay and the log says why. Requests in flight are not lost by that.\n"
			  "Files rules.d/*.conf beside it add rules, which may be a site owner's: they know\n"
			  "the main file's 'watch' sections, keep to its 'limits', and have no actions.\n"
			  "Such a file is taken whole, or left out and told, as is one that others may\n"
			  "write to.\n"
			  "The pages: 'ssh -L 8080:/run/reqtrap/control.sock HOST' as root, then\n"
			  "http://localhost:8080/. Or --web-port 8642, on the host itself or through\n"
			  "'ssh -L 8080:127.0.0.1:8642 HOST': 'http://localhost:8080/?token=TOKEN' with the\n"
			  "TOKEN of the file 'web-url'. They show requests in flight, incidents with page,\n"
			  "trace and core, and the rules, which can be checked, compared, tried and\n"
			  "changed there. /metrics is for Prometheus; /api/live, /api/incidents and\n"
			  "/api/rules are JSON. Nobody but root, and who runs the daemon, gets an answer\n"
			  "on the socket.\n"
			  "SIGTERM ends it when captures under way are finished, 30 seconds at most.\n"
			  "Exit code: 0 done, 2 a mistake, 3 no rights.\n",
	  "  reqtrap serve nginx php-fpm\n"
	  "  reqtrap serve -c shop.conf :80 --web-port 8642\n"
	  "  curl --unix-socket /run/reqtrap/control.sock http://localhost/metrics\n" },
	{ "rules", "", "Show the daemon's rules, and what they did.", VERB_RULES, cmd_rules, NULL,
	  "  reqtrap rules\n  reqtrap rules --json\n" },
	{ "top", "[TARGET...]", "Show the requests in flight now, oldest first.", VERB_TOP, cmd_top,
	  PROCESS_DETAILS "Without a TARGET the daemon is asked for those it watches; only root, and who\n"
			  "runs it, may.\n"
			  "A request is named by the thread that holds it; behind a proxy on this host\n"
			  "that is the one that works on it. STATE is what that thread does: cpu, runnable,\n"
			  "lock, socket to X, client (it reads from, or writes to, whoever asked), file,\n"
			  "disk, pipe, sleep, poll, child, fault; 'behind': it is at another request;\n"
			  "'loop': its event loop is at work, for which of them is not known.\n"
			  "A request that was running before 'top' came is not seen; the next is.\n"
			  "On a terminal 'q' ends it; else a table is printed per round, and with --json a\n"
			  "line: {\"event\":\"round\",\"in_flight\":N,\"requests\":[{\"elapsed_ms\":N,\"pid\":N,\n"
			  "\"tid\":N,\"method\":\"GET\",\"url\":\"/x\",\"state\":\"socket\",\"on\":\"tcp:...\"}]}.\n"
			  "Exit code: 0 done, 1 there was no request, 2 a mistake, 3 no rights.\n",
	  "  reqtrap top\n"
	  "  reqtrap top nginx php-fpm\n"
	  "  reqtrap top :8080 --every 200ms\n"
	  "  reqtrap top unit:nginx --json -n 1 | jq '.requests[] | select(.tid == 12)'\n" },
	{ "dump", "PID|NAME [PATH]", "Write a core dump of a running process; it stops for milliseconds.", VERB_DUMP,
	  cmd_dump,
	  "PATH is a file or a folder; none but you and root may be able to write there,\n"
	  "or it has the sticky bit, as /tmp has. What has the name already stays: the\n"
	  "dump gets a number. A full core holds all memory that is the process's own;\n"
	  "pages that nobody changed stay in the files they come from. A mini holds what a\n"
	  "debugger needs for every thread's stack. gdb, lldb and eu-stack read both, and\n"
	  "'open' unpacks what ends in .zst for them. coredumpctl lists them.\n"
	  "With a condition it waits until that is fulfilled, and then until it is again:\n"
	  "-n says how often. Any of several conditions will do, on any of several\n"
	  "processes (--all, or several words with -o PATH), or of a command that it starts\n"
	  "('-- CMD', whose end it awaits). Of two dumps or more it says what they have in\n"
	  "common: the stacks, thread by thread, and the memory that grew.\n"
	  "Signals, crashes and ends (--signal, --crash, --exit) are waited for attached,\n"
	  "as debuggers do it: no gdb or strace can attach meanwhile. Each is dumped,\n"
	  "whatever --every says; what comes while a dump is written is counted and told.\n"
	  "The process gets every signal. One at its end is held until its dump is\n"
	  "written: see --hold.\n"
	  "--crash waits for what a debugger sees as fatal; of SIGKILL, as the OOM killer\n"
	  "sends it, only the end is told: --signal KILL or --exit dump that too.\n"
	  "Exit code: 0 done, 1 the process ended meanwhile, 2 a mistake, 3 the system said\n"
	  "no: no rights, no room, the pause would be longer than allowed. Ctrl-C, SIGTERM\n"
	  "and --cancel end it after what is under way, as that signal (128 + number).\n",
	  "  reqtrap dump 4711\n"
	  "  reqtrap dump --mini 4711\n"
	  "  reqtrap dump nginx /var/tmp -n 3 --every 4s\n"
	  "  reqtrap dump 4711 /var/tmp --max-size 20G --free-space 10% --max-rate 100M\n"
	  "  reqtrap dump 4711 --cpu '>80%' --for 5s --mini -n 3\n"
	  "  reqtrap dump 4711 --hang\n"
	  "  reqtrap dump 4711 --series 10xmini,1xfull --every 2s\n"
	  "  reqtrap dump --cpu '>90%' /var/tmp -- ./batch --all\n"
	  "  reqtrap dump 4711 --crash\n"
	  "  reqtrap dump --cancel 4711\n"
	  "  reqtrap dump 4711 --signal USR1 -n 20 --mini /var/tmp\n"
	  "  reqtrap dump 4711 --memory '>2G+500M' -n 4\n"
	  "  reqtrap dump --wait --all php-fpm --cpu '>90%' --timeout 1h\n"
	  "  reqtrap dump 4711 -o PROCESSNAME-PID-HHMMSS.core --compress none\n" },
	{ "procdump", "...", "A dump, spelled as ProcDump's options are typed.", VERB_PROCDUMP, cmd_procdump,
	  "'reqtrap procdump -?' lists the options of ProcDump for Windows and for Linux.\n"
	  "Where -s, -c and -e differ, words that only one of them knows decide, or\n"
	  "--as windows|linux. What cannot be waited for here is refused in one line.\n",
	  "  reqtrap procdump -ma 4711\n"
	  "  reqtrap procdump -mm -ma 4711\n"
	  "  reqtrap procdump -accepteula -64 -ma -s 4 -n 3 4711 /var/tmp\n"
	  "  reqtrap procdump -ma -u -c 80 -s 5 -n 3 nginx /var/tmp\n"
	  "  reqtrap procdump -ma -e -w shop.exe\n" },
	{ "stacks", "PID|NAME|CORE", "Print every thread's stack, who holds which lock, and a verdict.", VERB_STACKS,
	  cmd_stacks,
	  "With -n the samples are compared: which threads are the same in 3/3, what they\n"
	  "wait for, and who holds it; which compute, and where; what CPU each used, and\n"
	  "where memory grew. Threads that do the same are one line. A worker that waits\n"
	  "for work looks like a stuck one: both are 'idle or stuck'. Ctrl-C ends the\n"
	  "series.\n"
	  "A thread that waits for another process (a lock on a file or in shared memory,\n"
	  "a pipe, a child, a socket of this host) is followed there, and on, eight steps\n"
	  "at most; each process on the way is stopped for a look like the first.\n"
	  "What stands around the process is told as for a trapped request: its sockets and\n"
	  "pipes with who has their other ends, the pool of workers that listens where it\n"
	  "does, CPU by thread, its host. Of a core none of that is known, and it says so.\n"
	  "The verdict is about the thread that most wait for, or that is most at work.\n"
	  "CORE is the path of a core file of anybody's, plain or zstd. Programs and\n"
	  "libraries come from this machine, if they are those very builds; what is not\n"
	  "here is named. Several cores are compared as samples are, in their order.\n"
	  "Exit code: 0 done, 1 the process ended meanwhile, 2 a mistake, 3 no rights.\n",
	  "  reqtrap stacks 4711\n"
	  "  reqtrap stacks 4711 -n 3 --every 4s\n"
	  "  reqtrap stacks php-fpm --json\n"
	  "  reqtrap stacks /var/crash/shop.core.zst --sysroot /srv/shop-image\n"
	  "  reqtrap stacks ./leak-1.core ./leak-2.core\n" },
	{ "list", "", "List the captured incidents, newest first.", VERB_LIST, cmd_list,
	  "They are those of the daemon that runs, unless --store or $REQTRAP_STORE says\n"
	  "otherwise; only root, and who runs it, may read them.\n"
	  "With --group incidents are one entry if they have the cause of the verdict, the\n"
	  "place in the program and what they waited for in common: how many, the first\n"
	  "and the last, and why they are one. Lines within a function, addresses and the\n"
	  "files of a folder may differ. The largest group comes first.\n",
	  "  reqtrap list\n  reqtrap list --group\n  reqtrap list --json | jq -r .cause | sort | uniq -c\n" },
	{ "show", "ID", "Show one incident in the terminal.", VERB_SHOW, cmd_show, ID_DETAILS,
	  "  reqtrap show last\n  reqtrap show 7f3a --json\n  reqtrap show last --view performance\n" },
	{ "report", "ID", "Render an incident's page anew.", VERB_REPORT, cmd_report,
	  ID_DETAILS "--debuginfod asks the servers that DEBUGINFOD_URLS names for the debug files of\n"
		     "what the capture had no names or lines for, and shows them: as text, or as the\n"
		     "format says. Nothing but build-ids is sent; the incident in the store stays as\n"
		     "it is. Needs libdebuginfod1, which keeps what it has got in ~/.cache.\n",
	  "  reqtrap report last\n  reqtrap report 7f3a --format html -o page.html\n"
	  "  DEBUGINFOD_URLS=https://debuginfod.debian.net reqtrap report last --debuginfod\n" },
	{ "export", "ID", "Write an incident in the format of another program.", VERB_EXPORT, cmd_export,
	  ID_DETAILS "chrome and perfetto: the trace for Perfetto and chrome://tracing. speedscope:\n"
		     "the trace and all stacks. folded: stacks for flame graphs, one a line.\n"
		     "freb: XML in the shape of an IIS Failed Request Tracing log. json, text, html\n"
		     "and stacks are what lies in the incident's folder.\n",
	  "  reqtrap export last --format speedscope -o slow.speedscope.json\n"
	  "  reqtrap export 7f3a --format folded | flamegraph.pl > stacks.svg\n"
	  "  reqtrap export 7f3a --format freb -o fr000001.xml\n" },
	{ "open", "ID|CORE", "Open an incident's core, or any, in a debugger.", VERB_OPEN, cmd_open,
	  ID_DETAILS "CORE is the path of a core file. A compressed one is unpacked beside itself\n"
		     "(else in $TMPDIR or /var/tmp) into a file without a name: it is gone when the\n"
		     "debugger ends. The program is handed over if that very build of it is here.\n",
	  "  reqtrap open last\n  reqtrap open /var/tmp/nginx.core.zst --debugger lldb\n" },
	{ "verify", "CORE...", "Check a core: is it sound, and what is missing in it.", VERB_VERIFY, cmd_verify,
	  "CORE is a core file of anybody's, plain or zstd. Pages that a file still holds\n"
	  "are not missing. 'here' is a file that this machine lacks, or has another build\n"
	  "of: told, but no fault of the core.\n"
	  "Exit code: 0 whole and sound, 1 something is missing or damaged, 2 not a core.\n",
	  "  reqtrap verify core.zst\n"
	  "  reqtrap verify --quick --json /var/tmp/*.core\n" },
	{ "rm", "ID...", "Remove incidents with all their files.", VERB_RM, cmd_rm, ID_DETAILS, "  reqtrap rm 7f3a\n" },
	{ "check", "FILE", "Check a rules file: every mistake, or the effective rules.", VERB_CHECK, cmd_check,
	  "With those of rules.d beside it.\n"
	  "Exit code: 0 the files are right, 2 they are not.\n",
	  "  reqtrap check /etc/reqtrap/reqtrap.conf\n" },
	{ "test", "FILE METHOD URL", "Say which rule would fire for a request, and why not the others.", VERB_TEST,
	  cmd_test,
	  "Rules are asked as the request goes by: at each limit that passes, at its\n"
	  "status, then at its end. The first that matches then fires; 'occurrences' and\n"
	  "limits are not looked at.\n"
	  "Exit code: 0 a rule would fire, 1 none.\n",
	  "  reqtrap test shop.conf GET /checkout --time-taken 3s\n"
	  "  reqtrap test shop.conf POST /pay --status 503\n" },
	{ "import", "FILE...", "Turn Failed Request Tracing of IIS into a rules file.", VERB_IMPORT, cmd_import,
	  "FILE is a web.config, an applicationHost.config, or a part of one that holds\n"
	  "<traceFailedRequests> or <traceFailedRequestsLogging>. The rules go to standard\n"
	  "output; a comment says what has no meaning here, or not the same. A command line\n"
	  "of procdump for %1% becomes a capture of our own. Files with a DTD are refused.\n"
	  "Exit code: 0 done, 1 there is no rule in it, 2 it is not XML.\n",
	  "  reqtrap import web.config > shop.conf && reqtrap check shop.conf\n"
	  "  reqtrap import applicationHost.config web.config > /etc/reqtrap/reqtrap.conf\n" },
	{ "doctor", "", "Say what this kernel, user and disk allow; each 'no' with the fix.", VERB_DOCTOR, cmd_doctor,
	  NULL, "  reqtrap doctor\n" },
	{ "demo", "", "Trap a slow request in a small server of its own, under load.", VERB_DEMO, cmd_demo, NULL,
	  "  reqtrap demo\n" },
	{ "completion", "bash", "Print the shell's completion script.", VERB_COMPLETION, cmd_completion, NULL,
	  "  reqtrap completion bash > /etc/bash_completion.d/reqtrap\n" },
	{ "help", "[VERB]", "Explain a verb, or list them.", VERB_HELP, cmd_help, NULL,
	  "  reqtrap help watch\n  reqtrap help --man | man -l -\n" },
};
const size_t verb_count = ARRAY_LEN(verbs);

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < verb_count; i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

int verb_begin(const char *name, int argc, char **argv, struct command_line *ret_line)
{
	struct err err;
	int code = options_parse(verb_find(name), argc, argv, ret_line, &err);

	if (code == 0)
		return VERB_GO_ON;
	if (code > 0)
		return EXIT_DONE;
	log_error("%s; see 'reqtrap help %s'", err.text, name);
	return EXIT_MISTAKE;
}
