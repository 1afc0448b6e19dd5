// SPDX-License-Identifier: MIT
/* Verb to function; the hidden verbs are our own children. Trap: our children are
 * this binary too, so nothing here may read the environment or open a file before
 * the verb is known (they have their three standard descriptors, which are held). */
#include "procdump.h"
#include "analyst.h"
#include "cmd.h"
#include "config_save.h"
#include "debugfile.h"
#include "demo_server.h"
#include "dump.h"
#include "envoy.h"
#include "log.h"
#include "scribe.h"
#include "warden.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

static const struct hidden {
	const char *name;
	int (*run)(int argc, char **argv);
} hidden[] = {
	{ "--worker", dump_worker_main },   { "--analyst", analyst_main },
	{ "--scribe", scribe_main },	    { "--names", debugfile_main },
	{ WARDEN_VERB, warden_main },	    { DEMO_SERVER_VERB, demo_server_main },
	{ DEMO_LOAD_VERB, demo_load_main }, { CONFIG_SAVE_VERB, config_save_main },
	{ ENVOY_VERB, envoy_main },
};

static int run_verb(int argc, char **argv)
{
	const struct verb *verb;
	char help_name[] = "help", *help_argv[] = { help_name, argv[0], NULL };

	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		if (strcmp(argv[0], hidden[i].name) == 0)
			return hidden[i].run(argc, argv);
	}
	if (strcmp(argv[0], "--version") == 0) {
		puts("reqtrap " REQTRAP_VERSION);
		return EXIT_DONE;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
		argv[0] = help_name;
	verb = verb_find(argv[0]);
	if (verb)
		return verb->run(argc, argv);
	if (argv[0][0] == '-') {
		log_error("no such option '%s' before a verb; 'reqtrap help' lists the verbs", argv[0]);
		return EXIT_MISTAKE;
	}
	return cmd_help(2, help_argv); /* says so, with 'did you mean' */
}

/* A closed stdout must not become the number of the next file or socket that is opened.
 * Opened for reading only, so that a write to it still fails and is told. */
static void hold_stdio(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY | O_NOCTTY) != fd)
			_exit(EXIT_REFUSED);
	}
}

/* A reader that went away wants no more; a full disk is told. */
static bool output_lost(void)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO };
	bool failed = fflush(stdout) == EOF;

	if (!failed && ferror(stdout))
		errno = 0; /* what it was is long gone */
	return (failed || ferror(stdout)) && errno != EPIPE &&
	       !(poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLERR | POLLHUP));
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "";
	int code;

	hold_stdio();
	/* a reader that goes away is a failed write, not our death in mid-capture */
	signal(SIGPIPE, SIG_IGN);
	if (procdump_is_name(name))
		return cmd_procdump(argc, argv);
	if (argc < 2) {
		char help_name[] = "help", *help_argv[] = { help_name, NULL };

		cmd_help(1, help_argv);
		return EXIT_MISTAKE;
	}
	code = run_verb(argc - 1, argv + 1);
	if ((code == EXIT_DONE || code == EXIT_NOTHING) && output_lost()) {
		log_error("cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
		return EXIT_REFUSED;
	}
	return code;
}
