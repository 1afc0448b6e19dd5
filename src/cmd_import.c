// SPDX-License-Identifier: MIT
/* 'import': rules of IIS into ours. What is printed is parsed again first: a file that
 * 'check' would refuse is never handed out. */
#include "cmd.h"
#include "config.h"
#include "import.h"
#include "log.h"

#include <jansson.h>
#include <string.h>

static int read_files(const struct command_line *line, struct iis *iis)
{
	for (int i = 0; i < line->rest_count; i++) {
		CLEAN(free) char *text = NULL;
		size_t len = 0;
		struct err err;
		int code = config_load(line->rest[i], IIS_BYTES_MAX, &text, &len, &err);

		if (code == 0)
			code = iis_parse(line->rest[i], text, len, iis, &err);
		if (code < 0) {
			log_error("%s", err.text);
			return exit_code_of(code);
		}
	}
	return EXIT_DONE;
}

static int check_again(const struct buf *out)
{
	struct rules rules = { 0 };
	struct buf problems;
	struct err err;
	int code;

	buf_init(&problems, CONFIG_BYTES_MAX);
	code = config_parse("imported rules", out->data, out->len, &rules, &problems, &err);
	rules_free(&rules);
	buf_done(&problems);
	if (code == 0)
		return EXIT_DONE;
	log_error("the imported rules would not be accepted, which is a mistake of ours: %s", err.text);
	return EXIT_REFUSED;
}

/* The comments that name a file are the notes. */
static json_t *notes_json(char *text)
{
	json_t *list = json_array();
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "# ", 2) == 0)
			json_array_append_new(list, json_string(line + 2));
	}
	return list;
}

static int print(const struct buf *out, int rules, bool json)
{
	CLEAN(free) char *copy = strdup(out->data);
	json_t *object;
	int code;

	if (!json)
		return fputs(out->data, stdout) < 0 ? EXIT_REFUSED : EXIT_DONE;
	if (!copy)
		return EXIT_REFUSED;
	object = json_pack("{s:i, s:o, s:s}", "rules", rules, "notes", notes_json(copy), "file", out->data);
	code = object && json_dumpf(object, stdout, JSON_COMPACT) == 0 && puts("") != EOF ? EXIT_DONE : EXIT_REFUSED;
	json_decref(object);
	return code;
}

int cmd_import(int argc, char **argv)
{
	struct command_line line;
	struct iis iis = { 0 };
	struct buf out;
	struct err err;
	int rules, code = verb_begin("import", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (!line.rest_count) {
		log_error("import: name a web.config or an applicationHost.config");
		return EXIT_MISTAKE;
	}
	code = read_files(&line, &iis);
	if (code != EXIT_DONE) {
		iis_done(&iis);
		return code;
	}
	buf_init(&out, CONFIG_BYTES_MAX);
	rules = import_write(&iis, &out, &err);
	if (rules < 0) {
		log_error("%s", err.text);
		code = exit_code_of(rules);
	} else {
		if (rules > 0)
			code = check_again(&out);
		if (code == EXIT_DONE)
			code = print(&out, rules, option_given(&line, "json"));
		if (code == EXIT_DONE && rules == 0) {
			log_error("there is no rule in it: 'check' wants at least one");
			code = EXIT_NOTHING;
		}
	}
	buf_done(&out);
	iis_done(&iis);
	return code;
}
