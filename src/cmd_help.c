// SPDX-License-Identifier: MIT
/* What is printed about all verbs at once, out of the two tables: help, completion,
 * the manual page. Rejected: files written by hand, which drift. */
#include "cmd.h"

#include "log.h"
#include "procdump.h"
#include "report_words.h"
#include "verdict.h"

#include <string.h>

#define TEXT_MAX (256u << 10)

static void help_all(struct buf *out)
{
	buf_adds(out, "reqtrap traps a slow or failing HTTP request while it runs and names the culprit\n\n"
		      "Usage: reqtrap VERB [ARGUMENTS] [OPTIONS]\n\n");
	for (size_t i = 0; i < verb_count; i++)
		buf_addf(out, "  %-11s %s\n", verbs[i].name, verbs[i].summary);
	buf_adds(out, "\n'reqtrap help VERB' explains a verb, 'reqtrap help causes' lists what may slow\n"
		      "a request down. 'reqtrap --version' prints the version.\n"
		      "Exit codes: 0 done, 1 nothing matched or the trigger never fired, 2 a mistake\n"
		      "in what was typed, 3 the system said no.\n"
		      "\nExamples\n"
		      "  reqtrap demo\n"
		      "  reqtrap watch nginx php-fpm --time-taken 2s\n"
		      "  reqtrap show last\n");
}

/* The words of 'cause', for those who count incidents by them. */
static void help_causes(struct buf *out)
{
	const char *name, *advice;

	buf_adds(out, "What 'cause' of incident.json and of --json may be, in the order in which they\n"
		      "are looked for, and the advice that the page gives:\n");
	for (size_t i = 0; (name = verdict_cause(i, &advice)); i++) {
		buf_addf(out, "\n%s\n", name);
		add_wrapped(out, "    ", advice, 4);
	}
}

/* Words of a list that are there for a verb: 'watch) words="--all ..."'. */
static void completion(struct buf *out)
{
	buf_adds(out, "# bash completion for reqtrap, made by 'reqtrap completion bash'\n"
		      "_reqtrap()\n{\n"
		      "\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\"\"\n\n"
		      "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	for (size_t i = 0; i < verb_count; i++)
		buf_addf(out, "%s ", verbs[i].name);
	buf_adds(out, "--help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase \"${COMP_WORDS[1]} $prev\" in\n");
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->type != TYPE_CHOICE)
			continue;
		for (size_t v = 0; v < verb_count; v++) {
			if (!(row->verbs & verbs[v].bit))
				continue;
			buf_addf(out, "\t\"%s --%s\") words=\"", verbs[v].name, row->name);
			for (const char *p = row->choices; *p; p++)
				buf_add(out, *p == '|' ? " " : p, 1);
			buf_adds(out, "\" ;;\n");
		}
	}
	buf_adds(out, "\tesac\n\t[ -n \"$words\" ] || case \"${COMP_WORDS[1]}\" in\n");
	for (size_t v = 0; v < verb_count; v++) {
		buf_addf(out, "\t%s) words=\"", verbs[v].name);
		for (size_t i = 0; i < option_row_count; i++) {
			if (option_rows[i].verbs & verbs[v].bit)
				buf_addf(out, "--%s ", option_rows[i].name);
		}
		buf_adds(out, "--help\" ;;\n");
	}
	buf_adds(out, "\tesac\n\tcase \"$cur\" in\n"
		      "\t-*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
		      "\t*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\")) ;;\n"
		      "\tesac\n}\ncomplete -F _reqtrap reqtrap\n");
}

/* Text for mdoc: a backslash is spelled, no line begins with a control character, an
 * empty line begins a paragraph. */
static void man_text(struct buf *out, const char *text)
{
	bool line_start = true;

	for (; *text; text++) {
		if (line_start && *text == '\n')
			buf_adds(out, ".Pp");
		if (line_start && (*text == '.' || *text == '\''))
			buf_adds(out, "\\&");
		if (*text == '\\')
			buf_adds(out, "\\e");
		else if (*text == '-')
			buf_adds(out, "\\-");
		else
			buf_add(out, text, 1);
		line_start = *text == '\n';
	}
}

static void man_option(struct buf *out, const struct option_row *row)
{
	buf_adds(out, ".It ");
	if (row->letter)
		buf_addf(out, "Fl %c , ", row->letter);
	buf_addf(out, "Fl \\-%s", row->name);
	if (row->arg)
		buf_addf(out, " Ar %s", row->arg);
	buf_adds(out, "\n");
	if (row->choices)
		buf_addf(out, ".Li \"%s\" :\n", row->choices);
	man_text(out, row->help);
	buf_adds(out, ".\n");
}

static void man_verb(struct buf *out, const struct verb *verb)
{
	bool any = false;

	buf_addf(out, ".Ss reqtrap %s %s\n", verb->name, verb->args);
	man_text(out, verb->summary);
	buf_adds(out, "\n");
	if (verb->details) {
		buf_adds(out, ".Pp\n");
		man_text(out, verb->details);
	}
	for (size_t i = 0; i < option_row_count; i++) {
		if (!(option_rows[i].verbs & verb->bit))
			continue;
		if (!any)
			buf_adds(out, ".Bl -tag -width Ds\n");
		any = true;
		man_option(out, &option_rows[i]);
	}
	if (any)
		buf_adds(out, ".El\n");
	if (verb->examples) {
		buf_adds(out, ".Bd -literal\n");
		man_text(out, verb->examples);
		buf_adds(out, ".Ed\n");
	}
}

static void man_causes(struct buf *out)
{
	const char *name, *advice;

	buf_adds(out, ".Sh CAUSES\nWhat\n.Li cause\nof\n.Pa incident.json\nand of\n.Fl \\-json\n"
		      "may be, in the order in which they are looked for, and the advice that the\n"
		      "page gives:\n.Bl -tag -width Ds\n");
	for (size_t i = 0; (name = verdict_cause(i, &advice)); i++) {
		buf_adds(out, ".It ");
		man_text(out, name);
		buf_adds(out, "\n");
		man_text(out, advice);
		buf_adds(out, "\n");
	}
	buf_adds(out, ".El\n");
}

static void man(struct buf *out)
{
	buf_adds(out, ".\\\" SPDX-License-Identifier: MIT\n"
		      ".\\\" Made by 'reqtrap help --man' from the tables of verbs and options.\n"
		      ".Dd $Mdocdate$\n.Dt REQTRAP 1\n.Os\n"
		      ".Sh NAME\n.Nm reqtrap\n.Nd trap a slow or failing HTTP request while it runs\n"
		      ".Sh SYNOPSIS\n.Nm\n.Ar verb\n.Op Ar arguments\n.Op Ar options\n"
		      ".Sh DESCRIPTION\n.Nm\n"
		      "watches running servers without changing or restarting them.\n"
		      "A request that reaches a rule's time limit, or is answered with one of its\n"
		      "statuses, is trapped: the process that holds it is captured while the request\n"
		      "is still running, and one page names what the request waited for.\n"
		      "The page, the trace and the core lie in one folder.\n"
		      ".Pp\nDurations need a unit: 500ms, 2s, 1m, or hh:mm:ss.\n"
		      "Sizes are 64K, 512M, 5G; K is 1024 bytes.\n"
		      ".Sh VERBS\n");
	for (size_t i = 0; i < verb_count; i++)
		man_verb(out, &verbs[i]);
	man_causes(out);
	buf_adds(out, ".Sh RULES FILE\n.Bd -literal\n"
		      "store           = \"/var/lib/reqtrap\"\n"
		      "actions\\-enabled = true\n\n"
		      "rule \"slow checkout\" {\n"
		      "    path       = \"/checkout*\"\n"
		      "    time\\-taken = 2s\n"
		      "    status     = \"500\\-599\"\n"
		      "    capture    = {\"trace\", \"stacks\", \"full\"}\n"
		      "    limit      = 50\n"
		      "    action     = {\"/usr/local/bin/tell\\-us\", \"%1%\", \"%DUMP%\"}\n"
		      "}\n.Ed\n.Pp\n"
		      "The keys of a rule are the options of\n.Nm\n.Cm watch .\n"
		      "The first rule that matches wins.\n"
		      "No action runs without\n.Li actions\\-enabled = true .\n"
		      "Tokens in an action:\n");
	buf_adds(out,
		 "%1% or %PID%, %2% or %DUMP%, %TID%, %ID%, %RULE%, %REASON%, %METHOD%, %URL%,\n"
		 "%STATUS%, %ELAPSED_MS%, %INCIDENT%, %REPORT%; %% is a percent sign.\n"
		 "Each stays one argument, whatever bytes it holds.\n"
		 ".Pp\nAn action runs without capabilities, in a clean environment, as\n.Li action\\-user .\n"
		 "Incidents are for the service's user alone: another one that is to read the core needs a way to it.\n"
		 "It becomes root only if the service is root.\n"
		 "At its\n.Li action\\-timeout\n"
		 "its process group gets SIGTERM, and five seconds later all that descends from it SIGKILL;\n"
		 "what it leaves behind when it ends is killed, too, in whatever session it is.\n"
		 "Four run at once, the others wait for their turn.\n"
		 "Before the capture\n.Pq Li when = before\\-capture\n"
		 "it has two seconds, ten at most, then SIGKILL; %DUMP%, %INCIDENT% and %REPORT% are not there yet.\n"
		 ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n.It Ev REQTRAP_STORE\nWhere incidents lie.\n.El\n"
		 ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /var/lib/reqtrap\nIncidents, one folder each.\n.El\n"
		 ".Sh EXIT STATUS\n"
		 "0 done; 1 nothing matched, or the trigger never fired; 2 the user's mistake;\n"
		 "3 the system said no.\n"
		 ".Sh SEE ALSO\n.Xr gdb 1 ,\n.Xr zstd 1\n");
}

static int print(void (*render)(struct buf *out))
{
	struct buf out;
	int code = EXIT_DONE;

	buf_init(&out, TEXT_MAX);
	render(&out);
	if (out.full || fputs(out.data, stdout) == EOF || fflush(stdout) == EOF) {
		log_error("cannot print it all");
		code = EXIT_REFUSED;
	}
	buf_done(&out);
	return code;
}

int cmd_completion(int argc, char **argv)
{
	struct command_line line;
	int code = verb_begin("completion", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count != 1 || strcmp(line.rest[0], "bash") != 0) {
		log_error("completion: the one shell it knows is 'bash'");
		return EXIT_MISTAKE;
	}
	return print(completion);
}

int cmd_help(int argc, char **argv)
{
	const char *names[64], *near;
	const struct verb *verb;
	struct command_line line;
	struct buf out;
	int code = verb_begin("help", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (option_given(&line, "man"))
		return print(man);
	if (option_given(&line, "procdump"))
		return print(procdump_page);
	if (line.rest_count == 0)
		return print(help_all);
	if (!strcmp(line.rest[0], "causes"))
		return print(help_causes);
	verb = verb_find(line.rest[0]);
	if (verb) {
		buf_init(&out, TEXT_MAX);
		options_help(verb, &out);
		fputs(out.data ? out.data : "", stdout);
		buf_done(&out);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < MIN(verb_count, ARRAY_LEN(names)); i++)
		names[i] = verbs[i].name;
	near = did_you_mean(line.rest[0], names, MIN(verb_count, ARRAY_LEN(names)));
	if (near)
		log_error("no such verb '%s' (did you mean '%s'?)", line.rest[0], near);
	else
		log_error("no such verb '%s'; 'reqtrap help' lists them", line.rest[0]);
	return EXIT_MISTAKE;
}
