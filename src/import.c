// SPDX-License-Identifier: MIT
/* A rule of IIS into one of ours, by the very functions that read our own files, so that
 * what is written is what 'check' takes. Rejected: guessing what a Windows program might
 * be here. Trap: a rule that nothing is left of must not become one that fires always or
 * never: it is told as a comment. */
#include "import.h"

#include "action.h"
#include "config.h"
#include "ktime.h"
#include "procdump.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define OUT_MAX (4u << 20)
#define SERVER_CONFIG "applicationHost.config"

struct import {
	const struct iis *iis;
	struct buf *out;
	struct rules rules; /* those written so far, for their names */
	bool *dropped;	    /* per item: a <remove> or <clear> took the rule away */
};

/* ---- comments ---- */

static void add_comment(struct buf *out, const char *text)
{
	buf_adds(out, "# ");
	for (;;) {
		size_t plain = strcspn(text, "\\"); /* Windows' paths stay legible */

		buf_add_escaped(out, text, plain);
		text += plain;
		if (!*text)
			break;
		buf_adds(out, "\\");
		text++;
	}
	buf_adds(out, "\n");
}

static void note(struct buf *out, const struct iis_item *item, const char *fmt, ...) PRINTF(3, 4);
static void note(struct buf *out, const struct iis_item *item, const char *fmt, ...)
{
	struct buf text;
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_init(&text, OUT_MAX);
	buf_addf(&text, "%s:%u: %s", item->file, item->line, line);
	add_comment(out, text.data ? text.data : "");
	buf_done(&text);
}

/* ---- whose rule it is ---- */

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcasecmp(a, b) == 0);
}

static bool is_true(const char *value)
{
	return value && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

static bool is_site(const struct iis *iis, const char *name, size_t len)
{
	for (size_t i = 0; i < iis->count; i++) {
		const struct iis_item *item = &iis->item[i];

		if (item->kind == IIS_SITE && item->value[0] && strlen(item->value[0]) == len &&
		    strncasecmp(item->value[0], name, len) == 0)
			return true;
	}
	return false;
}

static bool is_server_config(const char *file)
{
	const char *slash = strrchr(file, '/');

	return strcasecmp(slash ? slash + 1 : file, SERVER_CONFIG) == 0;
}

struct scope {
	char *site;   /* NULL: not said */
	char *folder; /* '/shop', '' for all of the site */
};

/* A location's path begins with the site's name in the server's file, not in a site's. */
static void scope_of(const struct iis *iis, const struct iis_item *item, struct scope *ret_scope)
{
	const char *path = item->location ? item->location : "";
	struct scope scope = { .site = NULL };
	size_t len;

	path += strspn(path, "/");
	len = strcspn(path, "/");
	text_set(&scope.site, item->site);
	if (!item->site && len && (is_site(iis, path, len) || is_server_config(item->file))) {
		text_setf(&scope.site, "%.*s", (int)len, path);
		path += len + (path[len] == '/');
	}
	len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	if (!len || strcmp(path, ".") == 0)
		text_set(&scope.folder, "");
	else
		text_setf(&scope.folder, "/%.*s", (int)len, path);
	*ret_scope = scope;
}

static void scope_done(struct scope *scope)
{
	free(scope->site);
	free(scope->folder);
}

/* The nearest that was said of logging: of the site, else of all sites; NULL nothing. */
static const struct iis_item *logging_of(const struct iis *iis, const char *site)
{
	const struct iis_item *found = NULL;

	for (size_t i = 0; i < iis->count; i++) {
		const struct iis_item *item = &iis->item[i];

		if (item->kind == IIS_LOGGING && (!item->site ? !found : site && same(item->site, site)))
			found = item;
	}
	return found;
}

/* The one host name that all bindings of a site have; NULL: none, or several. */
static char *host_of(const struct iis *iis, const char *site)
{
	const char *host = NULL;
	bool inside = false;

	for (size_t i = 0; site && i < iis->count; i++) {
		const struct iis_item *item = &iis->item[i];
		const char *colon;

		if (item->kind == IIS_SITE)
			inside = same(item->value[0], site);
		if (item->kind != IIS_BINDING || !inside || !item->value[0])
			continue;
		colon = strrchr(item->value[0], ':'); /* ADDRESS:PORT:HOST */
		if (!colon || !colon[1] || (host && strcasecmp(host, colon + 1) != 0))
			return NULL;
		host = colon + 1;
	}
	return host ? strdup(host) : NULL;
}

/* ---- conditions ---- */

static bool digits_until(const char **at, char end, uint64_t *ret)
{
	char *stop;

	if (!isdigit((unsigned char)**at))
		return false;
	*ret = strtoull(*at, &stop, 10);
	if (*stop != end || *ret > UINT32_MAX)
		return false;
	*at = stop + (end != '\0');
	return true;
}

/* [DAYS.]hh:mm:ss[.fraction], as .NET writes a span of time. */
static bool parse_span(const char *text, uint64_t *ret_ns)
{
	static const uint64_t scale = NSEC_PER_SEC;
	const char *dot = strchr(text, '.'), *colon = strchr(text, ':');
	uint64_t days = 0, h, m, s, ns = 0, part = scale;

	if (dot && colon && dot < colon && !digits_until(&text, '.', &days))
		return false;
	dot = strchr(text, '.');
	if (!digits_until(&text, ':', &h) || !digits_until(&text, ':', &m) ||
	    !digits_until(&text, dot ? '.' : '\0', &s))
		return false;
	for (; dot && isdigit((unsigned char)*text) && part > 1; text++) {
		part /= 10;
		ns += (uint64_t)(*text - '0') * part;
	}
	if ((dot && *text) || days > 366 || h > 23 || m > 59 || s > 59)
		return false;
	*ret_ns = ((days * 24 + h) * 3600 + m * 60 + s) * NSEC_PER_SEC + ns;
	return true;
}

static void take_time(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	const char *text = item->value[FAILURE_TIME];
	char duration[32];
	struct err err;
	uint64_t ns;

	if (!text || !*text)
		return;
	if (!parse_span(text, &ns)) {
		note(notes, item, "timeTaken=\"%s\" is no time (hh:mm:ss): left out", text);
		return;
	}
	format_duration(ns, duration, sizeof(duration));
	if (ns && rule_set(rule, "time-taken", duration, &err) < 0)
		note(notes, item, "timeTaken=\"%s\": %s: left out", text, err.text);
	rule->server_time = false; /* there it is all of the time, too */
}

/* '404.2' is 404: what IIS tells apart by it, no server here sends. */
static void take_status(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	const char *text = item->value[FAILURE_STATUS];
	CLEAN(free) char *copy = text ? strdup(text) : NULL;
	struct buf list;
	char *save = NULL;
	struct err err;

	buf_init(&list, 65536);
	for (char *one = copy ? strtok_r(copy, ", \t\r\n", &save) : NULL; one;
	     one = strtok_r(NULL, ", \t\r\n", &save)) {
		char plain[32];
		struct status_range range;
		size_t len = strcspn(one, "."), count;
		bool sub = one[len] && strspn(one + len + 1, "0123456789") == strlen(one + len + 1) && one[len + 1];

		snprintf(plain, sizeof(plain), "%.*s", (int)MIN(len, 31u), one);
		if ((one[len] && !sub) || (sub && len != 3) || len > 20 ||
		    parse_status(plain, &range, 1, &count, NULL) < 0) {
			note(notes, item, "statusCodes: '%s' is no status from 100 to 999: left out", one);
			continue;
		}
		if (sub)
			note(notes, item, "statusCodes: '%s' becomes %s: sub-statuses are IIS's own", one, plain);
		if (list.len && strstr(list.data, plain))
			continue; /* 404.2,404.3 */
		buf_addf(&list, "%s%s", list.len ? "," : "", plain);
	}
	if (list.len && rule_set(rule, "status", list.data, &err) < 0)
		note(notes, item, "statusCodes: %s: left out", err.text);
	buf_done(&list);
}

static void take_severity(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	static const char *const level[][3] = { { "CriticalError", "1", "critical" },
						{ "Error", "2", "error" },
						{ "Warning", "3", "warning" } };
	const char *verbosity = item->value[FAILURE_VERBOSITY];

	if (!verbosity || strcasecmp(verbosity, "Ignore") == 0 || strcmp(verbosity, "0") == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(level); i++) {
		if (strcasecmp(verbosity, level[i][0]) != 0 && strcmp(verbosity, level[i][1]) != 0)
			continue;
		rule_set(rule, "severity", level[i][2], NULL);
		note(notes, item,
		     "failureDefinitions verbosity=\"%s\": no event of IIS exists here; what counts are the marks that "
		     "an application makes by reqtrap.h",
		     verbosity);
		return;
	}
	note(notes, item, "failureDefinitions verbosity=\"%s\": not CriticalError, Error or Warning: left out",
	     verbosity);
}

static void take_failure(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	take_time(item, rule, notes);
	take_status(item, rule, notes);
	take_severity(item, rule, notes);
	if (item->value[FAILURE_TRACE_ALL] && !is_true(item->value[FAILURE_TRACE_ALL]))
		note(notes, item, "traceAllAfterTimeout=\"%s\": here the trace always goes on to the request's end",
		     item->value[FAILURE_TRACE_ALL]);
}

/* ---- what is recorded ---- */

static const struct {
	const char *provider, *here;
} providers[] = {
	{ "WWW Server", "sockets, calls to other services, locks and waits are recorded in any case; more by "
			"areas = {\"file\", \"nginx\", \"apache\"}, at some cost" },
	{ "ISAPI Extension", "there are none here" },
	{ "ASP", "left out; PHP and Python have areas = {\"php\", \"python\"}, at some cost" },
	{ "ASPNET", "left out; PHP and Python have areas = {\"php\", \"python\"}, at some cost" },
};

static void take_area(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	static const char *const verbosity[] = { "CriticalError", "critical",	 "Error",	"error",   "Warning",
						 "warning",	  "Information", "information", "Verbose", "verbose" };
	const char *provider = item->value[TRACE_PROVIDER], *level = item->value[TRACE_VERBOSITY];
	char area[64] = "mark=warning"; /* the schema's own default */

	if (!provider || !*provider) {
		note(notes, item, "traceAreas: no provider is named: left out");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
		if (strcasecmp(providers[i].provider, provider) != 0)
			continue;
		note(notes, item, "provider \"%s\", areas \"%s\" (%s): %s", provider,
		     item->value[TRACE_AREAS] ? item->value[TRACE_AREAS] : "", level ? level : "Warning",
		     providers[i].here);
		return;
	}
	for (size_t i = 0; level && i + 1 < ARRAY_LEN(verbosity); i += 2) {
		if (strcasecmp(verbosity[i], level) == 0)
			snprintf(area, sizeof(area), "mark=%s", verbosity[i + 1]);
	}
	if (rule_set(rule, "areas", area, NULL) == 0)
		note(notes, item,
		     "provider \"%s\" is an application's own: here it marks its requests by reqtrap.h (area 'mark')",
		     provider);
}

/* ---- actions ---- */

/* '%1' of the documents is '%1%' here. */
static char *tokens_whole(const char *params)
{
	struct buf out;

	buf_init(&out, OUT_MAX);
	buf_adds(&out, "");
	for (const char *p = params; *p; p++) {
		buf_add(&out, p, 1);
		if (*p == '%' && (p[1] == '1' || p[1] == '2') && p[2] != '%' && !isdigit((unsigned char)p[2])) {
			buf_addf(&out, "%c%%", p[1]);
			p++;
		} else if (*p == '%' && p[1] == '%') {
			buf_adds(&out, "%");
			p++;
		} else if (*p == '%' && strchr(p + 1, '%')) {
			size_t len = strcspn(p + 1, "%") + 1;

			buf_add(&out, p + 1, len);
			p += len;
		}
	}
	return buf_take(&out);
}

static int procdump_rule(const struct procdump *pd, struct rule *rule, struct buf *notes, struct err *err)
{
	if (pd->help || pd->cancel || pd->command || pd->core)
		return err_say(err, -EINVAL, "it dumps nothing by itself");
	if (pd->target_count != 1 || strcmp(pd->target[0], "1") != 0 || pd->group)
		return err_say(err, -EINVAL, "it is not about %%1%%, the request's process");
	if (pd->trigger_count || pd->on.signals || pd->on.fatal || pd->exit || pd->wait || pd->breakpoints)
		return err_say(err, -EINVAL, "it waits for something else than the failed request");
	if (pd->kill)
		return err_say(err, -EINVAL, "it ends the process, which is never done here");
	rule->capture = CAPTURE_TRACE | CAPTURE_STACKS | (pd->full ? CAPTURE_FULL : CAPTURE_MINI);
	if (pd->full && pd->mini)
		buf_adds(notes, "of its two dumps the full one is taken, which holds the other\n");
	if (pd->path)
		buf_addf(notes, "the core lies in the incident's folder, not in '%s'\n", pd->path);
	if (pd->count > 1 && pd->count <= RULE_SAMPLES_MAX && pd->every_ns >= NSEC_PER_SEC / 20) {
		rule->samples = pd->count;
		rule->every_ns = pd->every_ns;
		buf_addf(notes,
			 "instead of %u dumps: one core at once, then stacks each %.0f s while the request runs; for "
			 "%u cores name the program itself as the action, see 'reqtrap help procdump'\n",
			 pd->count, (double)pd->every_ns / 1e9, pd->count);
	} else if (pd->count > 1) {
		buf_addf(notes, "of its %u dumps the first is taken\n", pd->count);
	}
	return 0;
}

static const char *base_name(const char *program)
{
	const char *base = program;

	for (const char *p = program; *p; p++) {
		if (*p == '/' || *p == '\\')
			base = p + 1;
	}
	return base;
}

/* '%1%' is a number to procdump's grammar. */
static void number_tokens(char **argv)
{
	for (size_t i = 0; argv[i]; i++) {
		if (strcmp(argv[i], "%1%") == 0 || strcasecmp(argv[i], "%PID%") == 0)
			text_set(&argv[i], "1");
	}
}

int import_procdump(const char *program, const char *params, struct rule *rule, struct buf *notes, struct err *err)
{
	CLEAN(free) char *whole = tokens_whole(params);
	struct procdump pd;
	char **argv = NULL, **words = NULL;
	struct buf said;
	int r = whole && *whole ? action_split(whole, &words, err) : 0;

	if (r < 0)
		return r;
	buf_init(&said, OUT_MAX);
	r = strings_add(&argv, strchr(program, '\\') ? "procdump.exe" : base_name(program));
	for (size_t i = 0; r >= 0 && words && words[i]; i++)
		r = strings_add(&argv, words[i]);
	strings_free(words);
	if (r < 0) {
		strings_free(argv);
		return err_say(err, -ENOMEM, "out of memory");
	}
	number_tokens(argv);
	r = procdump_parse((int)strings_count(argv), argv, &pd, &said, err);
	if (r >= 0)
		r = procdump_rule(&pd, rule, notes, err);
	buf_done(&said); /* of a terminal, not of a file */
	strings_free(argv);
	return r < 0 ? -EINVAL : 0;
}

/* An absolute path of this system: an action as it stands. */
static int native_action(const char *program, const char *params, struct rule *rule, struct err *err)
{
	CLEAN(free) char *whole = tokens_whole(params);
	CLEAN(free) char *line = NULL;

	/* a rules file takes one word with a blank for words that somebody forgot to part */
	if (strchr(program, ' ') && !(whole && whole[strspn(whole, " \t\r\n")]))
		return err_say(err, -EINVAL, "the program's path has a blank in it, and there is no parameter");
	text_setf(&line, "'%s' %s", program, whole ? whole : "");
	return line ? rule_set(rule, "action", line, err) : err_say(err, -ENOMEM, "out of memory");
}

static void take_trigger_limit(const struct iis_item *item, struct rule *rule, struct buf *notes)
{
	const char *text = item->value[ADD_TRIGGER_LIMIT];
	uint64_t limit;
	struct err err;

	if (!text)
		return;
	if (parse_count(text, 0, 10000, &limit, &err) < 0)
		note(notes, item, "customActionTriggerLimit: %s: it is 1", err.text);
	else
		rule->limit = (uint32_t)limit;
}

static void take_action(const struct import *import, const struct iis_item *item, const struct scope *scope,
			struct rule *rule, struct buf *notes)
{
	const struct iis_item *logging = logging_of(import->iis, scope->site);
	const char *exe = item->value[ADD_EXE], *params = item->value[ADD_PARAMS] ? item->value[ADD_PARAMS] : "";
	CLEAN(free) char *program = strdup(exe ? exe : "");
	struct buf said;
	struct err err;
	char *save = NULL;

	take_trigger_limit(item, rule, notes);
	if (!program || !exe || !*exe)
		return;
	if (program[0] == '"' && program[1] && program[strlen(program) - 1] == '"') {
		memmove(program, program + 1, strlen(program));
		program[strlen(program) - 1] = '\0';
	}
	if (logging && !is_true(logging->value[LOGGING_ACTIONS])) {
		note(notes, item, "'%s %s' is left out: customActionsEnabled is off in line %u of %s", exe, params,
		     logging->line, logging->file);
		return;
	}
	buf_init(&said, OUT_MAX);
	if (procdump_is_name(base_name(program))) {
		if (import_procdump(program, params, rule, &said, &err) == 0)
			note(notes, item, "'%s %s' becomes a capture of our own", exe, params);
		else
			note(notes, item, "'%s %s' is left out: %s", exe, params, err.text);
		for (char *line = said.data ? strtok_r(said.data, "\n", &save) : NULL; line;
		     line = strtok_r(NULL, "\n", &save))
			note(notes, item, "%s", line);
	} else if (program[0] == '/') {
		if (native_action(program, params, rule, &err) < 0)
			note(notes, item, "'%s %s' is left out: %s", exe, params, err.text);
	} else {
		note(notes, item,
		     "'%s %s' is left out: a program of Windows; one of this system goes into action = "
		     "{\"/usr/local/bin/NAME\", \"%%1%%\"}",
		     exe, params);
	}
	buf_done(&said);
}

/* ---- paths ---- */

/* Relative to the folder whose file it is, at any depth below; '/' is that folder itself. */
static void take_path(const struct iis_item *item, const struct scope *scope, struct rule *rule, struct buf *notes)
{
	const char *path = item->value[ADD_PATH] ? item->value[ADD_PATH] : "";
	CLEAN(free) char *glob = NULL;
	struct err err;

	if (!*path) {
		note(notes, item, "a rule without a path holds for all");
		path = "*";
	}
	if (strcmp(path, "/") == 0)
		text_setf(&glob, "%s/", scope->folder);
	else if (strcmp(path, "*") == 0 && *scope->folder)
		text_setf(&glob, "%s/**", scope->folder);
	else if (path[0] == '*' && !*scope->folder)
		text_set(&glob, path);
	else
		text_setf(&glob, "%s/**/%s", scope->folder, path + strspn(path, "/"));
	if (glob && strcmp(glob, "*") != 0 && rule_set(rule, "path", glob, &err) < 0)
		note(notes, item, "path=\"%s\": %s: the rule holds for all", path, err.text);
}

/* A name that no rule has yet. */
static void take_name(struct import *import, const struct iis_item *item, const struct scope *scope, struct rule *rule)
{
	const char *path = item->value[ADD_PATH] && *item->value[ADD_PATH] ? item->value[ADD_PATH] : "*";
	CLEAN(free) char *plain = NULL;

	if (scope->site || *scope->folder)
		text_setf(&plain, "%s%s: %s", scope->site ? scope->site : "", scope->folder, path);
	else
		text_set(&plain, path);
	text_set(&rule->name, plain);
	for (unsigned int number = 2;; number++) {
		bool taken = false;

		for (size_t i = 0; i + 1 < import->rules.count; i++)
			taken |= same(import->rules.rule[i].name, rule->name);
		if (!taken)
			break;
		text_setf(&rule->name, "%s (%u)", plain, number);
	}
}

/* ---- a whole rule ---- */

static void take_host(const struct import *import, const struct iis_item *item, const struct scope *scope,
		      struct rule *rule, struct buf *notes)
{
	CLEAN(free) char *host = host_of(import->iis, scope->site);
	const struct iis_item *logging = logging_of(import->iis, scope->site);
	struct err err;

	if (host && rule_set(rule, "host", host, &err) < 0)
		note(notes, item, "host: %s: the rule holds for all", err.text);
	else if (!host && scope->site)
		note(notes, item,
		     "it is of the site '%s', which has no one host name: it holds for all that is watched",
		     scope->site);
	if (logging && !is_true(logging->value[LOGGING_ENABLED]))
		note(notes, item,
		     "tracing is switched off there (enabled, line %u of %s): take the rule out if it is to stay so",
		     logging->line, logging->file);
}

static void import_rule(struct import *import, size_t index)
{
	const struct iis *iis = import->iis;
	const struct iis_item *item = &iis->item[index];
	struct rule *rule = rules_add(&import->rules, "");
	struct scope scope;
	struct buf notes;
	struct err err;

	if (!rule)
		return;
	buf_init(&notes, OUT_MAX);
	scope_of(iis, item, &scope);
	take_name(import, item, &scope, rule);
	take_path(item, &scope, rule, &notes);
	take_host(import, item, &scope, rule, &notes);
	take_action(import, item, &scope, rule, &notes);
	for (size_t i = index + 1; i < iis->count && iis->item[i].kind >= IIS_AREA; i++) {
		if (iis->item[i].kind == IIS_AREA)
			take_area(&iis->item[i], rule, &notes);
		else if (iis->item[i].kind == IIS_FAILURE)
			take_failure(&iis->item[i], rule, &notes);
		else if (iis->item[i].kind != IIS_UNKNOWN)
			break;
	}
	scope_done(&scope);
	buf_adds(import->out, "\n");
	buf_adds(import->out, notes.data ? notes.data : "");
	buf_done(&notes);
	if (rule_check(rule, &err) < 0) {
		note(import->out, item, "%s: left out", err.text);
		import->rules.count--;
		rule_done(rule);
		return;
	}
	config_write_rule(rule, import->out);
}

/* ---- what is taken away again ---- */

/* In the same place a rule that was added before is gone. What it takes from a place
 * above holds there, and there is no such place here. */
static void drop_before(struct import *import, size_t index)
{
	const struct iis_item *item = &import->iis->item[index];

	for (size_t i = 0; i < index; i++) {
		const struct iis_item *rule = &import->iis->item[i];

		if (rule->kind == IIS_RULE && strcmp(rule->file, item->file) == 0 && same(rule->site, item->site) &&
		    same(rule->location, item->location) &&
		    (item->kind == IIS_CLEAR || same(rule->value[ADD_PATH], item->value[0])))
			import->dropped[i] = true;
	}
}

/* ---- the file ---- */

static void write_logging(struct import *import)
{
	uint64_t files = 0, number;
	bool actions = false, known = false;

	for (size_t i = 0; i < import->iis->count; i++) {
		const struct iis_item *item = &import->iis->item[i];
		const char *directory = item->value[LOGGING_DIRECTORY], *count = item->value[LOGGING_FILES];

		if (item->kind != IIS_LOGGING)
			continue;
		known = true;
		actions |= is_true(item->value[LOGGING_ACTIONS]);
		if (directory)
			note(import->out, item, "directory=\"%s\": incidents lie in the store (/var/lib/reqtrap)",
			     directory);
		if (item->value[LOGGING_FILE_KB])
			note(import->out, item,
			     "maxLogFileSizeKB=\"%s\": a trace is bounded by itself, and says what it left out",
			     item->value[LOGGING_FILE_KB]);
		if (count && parse_count(count, 1, 10000, &number, NULL) == 0)
			files = MAX(files, number); /* IIS keeps so many per site, here it is all together */
		else if (count)
			note(import->out, item, "maxLogFiles=\"%s\" is no number from 1 to 10000: left out", count);
	}
	if (!known)
		add_comment(import->out, "nothing is said of customActionsEnabled: with 'true' below, actions run");
	buf_addf(import->out, "actions-enabled = %s\n", actions ? "true" : "false");
	if (files)
		buf_addf(import->out, "keep {\n    files        = %llu\n}\n", (unsigned long long)files);
}

static void write_odd(struct import *import, const struct iis_item *item)
{
	if (item->kind == IIS_UNKNOWN)
		note(import->out, item, "'%s=\"%s\"' is known to no version of IIS: left out", item->value[0],
		     item->value[1]);
	if (item->kind == IIS_RULES && item->value[0])
		note(import->out, item, "the rules are in another file: 'reqtrap import %s'", item->value[0]);
	if (item->kind == IIS_REMOVE && item->location)
		note(import->out, item,
		     "for '%s' alone the rule '%s' is taken away, if there is one above: here it holds there, too",
		     item->location, item->value[0] ? item->value[0] : "");
	if (item->kind == IIS_CLEAR && item->location)
		note(import->out, item, "for '%s' alone the rules above are taken away: here they hold there, too",
		     item->location);
}

int import_write(const struct iis *iis, struct buf *out, struct err *err)
{
	struct import import = { .iis = iis, .out = out, .dropped = calloc(iis->count + 1, sizeof(bool)) };
	int count;

	if (!import.dropped)
		return err_say(err, -ENOMEM, "out of memory");
	add_comment(out, "Failed Request Tracing of IIS as rules of reqtrap. A comment says what has no meaning here,");
	add_comment(out, "or another one. Paths: IIS takes no notice of case, here 'A' is not 'a'.");
	write_logging(&import);
	for (size_t i = 0; i < iis->count; i++) {
		if (iis->item[i].kind == IIS_REMOVE || iis->item[i].kind == IIS_CLEAR)
			drop_before(&import, i);
		write_odd(&import, &iis->item[i]);
	}
	for (size_t i = 0; i < iis->count; i++) {
		if (iis->item[i].kind == IIS_RULE && !import.dropped[i])
			import_rule(&import, i);
	}
	count = (int)import.rules.count;
	rules_free(&import.rules);
	free(import.dropped);
	return out->full ? err_say(err, -E2BIG, "the rules are longer than the file may be") : count;
}
