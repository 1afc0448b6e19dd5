// SPDX-License-Identifier: MIT
/* 'check' and 'test': a rules file judged before anything depends on it. Trap: what
 * 'check' prints must parse again, so its notes go to stderr. */
#include "cmd.h"
#include "config.h"
#include "control.h"
#include "log.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX (4u << 20)

/* Reads the file and tells its problems. EXIT_DONE or what to return. */
static int read_rules(const char *path, bool json, struct rules *ret_rules)
{
	struct buf problems;
	struct err err;
	int code;

	buf_init(&problems, TEXT_MAX);
	code = config_read(path, ret_rules, &problems, &err);
	if (problems.len && !json)
		fputs(problems.data, stderr);
	if (code < 0 && !problems.len)
		log_error("%s", err.text);
	buf_done(&problems);
	return exit_code_of(code);
}

/* 'FILE:LINE: [warning: ]text' lines as JSON objects. The names of rules.d's files have no
 * ':' of their own that a number and another one follow. */
static json_t *problems_json(const struct buf *problems, const char *path)
{
	size_t path_len = strlen(path);

	json_t *list = json_array();
	char *save = NULL;

	if (!problems->data)
		return list;
	for (char *line = strtok_r(problems->data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		static const char mark[] = " warning: ";
		bool main = !strncmp(line, path, path_len) && line[path_len] == ':';
		size_t name_len = main ? path_len : strcspn(line, ":");
		char *text = line + MIN(strlen(line), name_len + 1);
		long number = strtol(text, &text, 10);
		json_t *problem;
		bool warning;

		text += *text == ':';
		warning = strncmp(text, mark, sizeof(mark) - 1) == 0;
		text += warning ? sizeof(mark) - 1 : *text == ' ';
		problem = json_pack("{s:i, s:b, s:s+}", "line", (int)number, "warning", warning, "text", text, "");
		if (problem && !main)
			json_object_set_new(problem, "file", json_stringn(line, name_len));
		json_array_append_new(list, problem);
	}
	return list;
}

static int print_json(json_t *object)
{
	int code =
		object && json_dumpf(object, stdout, JSON_COMPACT) == 0 && puts("") != EOF ? EXIT_DONE : EXIT_REFUSED;

	if (code != EXIT_DONE)
		log_error("cannot print JSON: out of memory, or the output is closed");
	json_decref(object);
	return code;
}

static int check_json(const char *path)
{
	struct rules rules = { 0 };
	struct buf problems, text;
	struct err err;
	int code, printed;

	buf_init(&problems, TEXT_MAX);
	buf_init(&text, TEXT_MAX);
	code = config_read(path, &rules, &problems, &err);
	if (code < 0 && !problems.len) { /* nothing about a line: it could not be read */
		log_error("%s", err.text);
		buf_done(&problems);
		return exit_code_of(code);
	}
	if (code == 0)
		config_write(&rules, &text);
	printed = print_json(json_pack("{s:b, s:o, s:s}", "ok", code == 0 && !rules.refused, "problems",
				       problems_json(&problems, path), "effective", text.data ? text.data : ""));
	if (code == 0 && rules.refused)
		code = -EINVAL;
	rules_free(&rules);
	buf_done(&problems);
	buf_done(&text);
	return code < 0 ? exit_code_of(code) : printed;
}

int cmd_check(int argc, char **argv)
{
	struct command_line line;
	struct rules rules = { 0 };
	struct buf text;
	int code = verb_begin("check", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count != 1) {
		log_error("check: name one rules file");
		return EXIT_MISTAKE;
	}
	if (option_given(&line, "json"))
		return check_json(line.rest[0]);
	code = read_rules(line.rest[0], false, &rules);
	if (code != EXIT_DONE)
		return code;
	buf_init(&text, TEXT_MAX);
	config_write(&rules, &text);
	if (text.full) {
		log_error("the effective rules are longer than %u MiB", TEXT_MAX >> 20);
		code = EXIT_REFUSED;
	} else {
		fputs(text.data, stdout);
		code = rules.refused ? EXIT_MISTAKE : EXIT_DONE;
	}
	buf_done(&text);
	rules_free(&rules);
	return code;
}

static const char *verdict_word(enum rule_verdict verdict, bool fired)
{
	if (verdict == RULE_NO)
		return "no";
	return fired ? "fires" : "would";
}

static void test_text(const struct rules *rules, const struct rule_input *input, const struct rule *first)
{
	char why[900];

	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->rule[i];
		enum rule_verdict verdict = rule_match(rule, input, why, sizeof(why));
		struct buf name;

		buf_init(&name, 4096);
		buf_add_escaped(&name, rule->name, strlen(rule->name));
		printf("%-5s  %s%s%s%s\n       %s%s\n", verdict_word(verdict, rule == first),
		       name.data ? name.data : "", rule->file ? " (" : "", rule->file ? rule->file : "",
		       rule->file ? ")" : "", why,
		       verdict != RULE_NO && rule != first ? "; another one fires before it" : "");
		buf_done(&name);
	}
	if (!first)
		puts("no rule fires");
}

static int test_json(const struct rules *rules, const struct rule_input *input, const struct rule *first)
{
	json_t *list = json_array();
	char why[900];

	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->rule[i];
		enum rule_verdict verdict = rule_match(rule, input, why, sizeof(why));
		json_t *name = json_string(rule->name), *text = json_string(why);

		/* bytes that are no UTF-8 have no place in JSON: '?' says that there was something */
		json_array_append_new(list,
				      json_pack("{s:o, s:b, s:b, s:s?, s:o}", "rule", name ? name : json_string("?"),
						"matches", verdict != RULE_NO, "fires", rule == first, "reason",
						verdict == RULE_NO ? NULL : reason_name(rule_reason(verdict)), "why",
						text ? text : json_string("?")));
		if (rule->file)
			json_object_set_new(json_array_get(list, i), "file", json_string(rule->file));
	}
	return print_json(list);
}

/* The made-up request's headers and watch set are in the command line. */
static char *line_header(void *arg, const char *name)
{
	const struct command_line *line = arg;

	for (size_t i = 0; i < line->use_count; i++) {
		const char *value = line->use[i].value;
		size_t len = strlen(name);

		if (!strcmp(line->use[i].row->name, "header") && !strncasecmp(value, name, len) && value[len] == ':')
			return strdup(value + len + 1 + strspn(value + len + 1, " "));
	}
	return NULL;
}

static bool line_watch(void *arg, const char *name)
{
	const char *watch = option_value(arg, "watch");

	return watch && !strcmp(watch, name);
}

static void make_input(struct command_line *line, char *client, size_t size, struct rule_input *ret_input)
{
	const char *status = option_value(line, "status"), *taken = option_value(line, "time-taken"),
		   *bytes = option_value(line, "response-size"), *from = option_value(line, "client");
	uint64_t number;

	*ret_input = (struct rule_input){ .method = line->rest[1],
					  .url = line->rest[2],
					  .host = option_value(line, "host"),
					  .aborted = option_given(line, "aborted"),
					  .header = line_header,
					  .in_watch = line_watch,
					  .arg = line };
	if (status && parse_count(status, 1, 999, &number, NULL) == 0)
		ret_input->status = (int)number;
	if (taken)
		parse_duration(taken, &ret_input->elapsed_ns, NULL);
	if (option_given(line, "severity"))
		ret_input->severity = severity_of(option_value(line, "severity"));
	ret_input->server_ns = ret_input->elapsed_ns; /* of no client it is said that it was slow */
	if (bytes)
		parse_size(bytes, &ret_input->response_bytes, NULL);
	if (from) { /* as sockets tell of it, with some port */
		snprintf(client, size, !strcmp(from, "unix") ? "%s" : strchr(from, ':') ? "[%s]:1" : "%s:1", from);
		ret_input->client = client;
	}
}

int cmd_test(int argc, char **argv)
{
	struct rule_input input = { 0 };
	struct command_line line;
	struct rules rules = { 0 };
	enum rule_verdict verdict;
	const struct rule *first;
	char client[128];
	bool json;
	int code = verb_begin("test", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count != 3) {
		log_error("test: name a rules file, a method and a URL; see 'reqtrap help test'");
		return EXIT_MISTAKE;
	}
	json = option_given(&line, "json");
	code = read_rules(line.rest[0], json, &rules);
	if (code != EXIT_DONE)
		return code;
	make_input(&line, client, sizeof(client), &input);
	first = rules_match_passing(&rules, &input, &verdict);
	if (json)
		code = test_json(&rules, &input, first);
	else
		test_text(&rules, &input, first);
	rules_free(&rules);
	return code != EXIT_DONE ? code : first ? EXIT_DONE : EXIT_NOTHING;
}

/* ---- of the daemon ---- */

static void rules_text(const json_t *all)
{
	const char *file = NULL, *error = NULL;
	json_t *list = json_object_get(all, "rules"), *one;
	size_t i;

	file = json_string_value(json_object_get(all, "file"));
	error = json_string_value(json_object_get(all, "reload_error"));
	printf("%-32s %8s %8s %9s %7s  %s\n", "RULE", "TRAPPED", "CAPTURED", "HELD BACK", "FAILED", "STATE");
	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "rule"));
		const char *why = json_string_value(json_object_get(one, "last_error"));
		const char *state = json_string_value(json_object_get(one, "state"));
		struct buf clean;

		buf_init(&clean, 4096);
		buf_add_escaped(&clean, name ? name : "?", strlen(name ? name : "?"));
		printf("%-32s %8lld %8lld %9lld %7lld  %s\n", clean.data ? clean.data : "?",
		       (long long)json_integer_value(json_object_get(one, "trapped")),
		       (long long)json_integer_value(json_object_get(one, "captured")),
		       (long long)json_integer_value(json_object_get(one, "suppressed")),
		       (long long)json_integer_value(json_object_get(one, "failed")), state ? state : "?");
		buf_done(&clean);
		if (why)
			printf("  last failure: %s\n", why);
	}
	printf("from %s\n", file ? file : "?");
	if (error)
		printf("the file was not taken at the last reload: %s\n", error);
}

int cmd_rules(int argc, char **argv)
{
	struct command_line line;
	struct err err = { "" };
	json_t *all;
	int code = verb_begin("rules", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count) {
		log_error("rules: '%s' is too much: it takes options only", line.rest[0]);
		return EXIT_MISTAKE;
	}
	code = control_json("/api/rules", &all, &err);
	if (code == 0 && !json_is_array(json_object_get(all, "rules"))) {
		json_decref(all);
		code = err_say(&err, -EPROTO, "the daemon at '%s' does not tell its rules", control_path());
	}
	if (code < 0) {
		log_error("%s", err.text);
		return code == -ECONNREFUSED ? EXIT_NOTHING : EXIT_REFUSED;
	}
	if (option_given(&line, "json"))
		return print_json(all);
	rules_text(all);
	json_decref(all);
	return EXIT_DONE;
}
