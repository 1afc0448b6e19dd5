// SPDX-License-Identifier: MIT
/* The verbs that read the store: list, show, report, rm. Rejected: a pager and colours
 * (pipes do that). */
#include "cmd.h"
#include "cmd_list_groups.h"
#include "cmd_store.h"
#include "debugfile.h"
#include "facts.h"
#include "log.h"
#include "report.h"
#include "report_words.h"
#include "rule.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define REQUEST_COLUMNS 22
#define RULE_COLUMNS 12
#define LIST_COLUMNS 80
#define GROUPS_BYTES_MAX (64u << 20)

static int fail(int code, const struct err *err)
{
	log_error("%s", err->text);
	return exit_code_of(code);
}

/* The verb's command line with 'least' to 'most' IDs. */
static int begin(const char *name, int argc, char **argv, int least, int most, struct command_line *line)
{
	int code = verb_begin(name, argc, argv, line);

	if (code != VERB_GO_ON)
		return code;
	if (line->rest_count < least) {
		log_error("which incident? Give an ID or 'last'; 'reqtrap list' shows what there is");
		return EXIT_MISTAKE;
	}
	if (line->rest_count > most) {
		log_error("'%s' is one too many; see 'reqtrap help %s'", line->rest[most], name);
		return EXIT_MISTAKE;
	}
	return VERB_GO_ON;
}

static int open_store(const struct command_line *line, struct store **ret_store)
{
	struct err err;
	int r = store_open_meant(line, ret_store, &err);

	return r < 0 ? fail(r, &err) : VERB_GO_ON;
}

/* By ID, or from a folder or file that lies anywhere: with a '/' it is a path. */
static int load(const struct command_line *line, const char *id, struct incident **ret_incident)
{
	struct store *store;
	struct err err;
	int r, code;

	if (strchr(id, '/')) {
		r = store_load_path(id, ret_incident, &err);
		return r < 0 ? fail(r, &err) : VERB_GO_ON;
	}
	code = open_store(line, &store);
	if (code != VERB_GO_ON)
		return code;
	r = store_load(store, id, ret_incident, NULL, &err);
	store_free(store);
	return r < 0 ? fail(r, &err) : VERB_GO_ON;
}

static int put(const struct buf *out)
{
	if (out->len && fwrite(out->data, 1, out->len, stdout) != out->len && errno != EPIPE) {
		log_error("cannot write to standard output: %s", strerror(errno));
		return EXIT_REFUSED;
	}
	return EXIT_DONE;
}

/* --- list --- */

/* Escaped, and cut to so many columns with a mark. Returns the columns used. */
static size_t add_cut(struct buf *out, const char *text, size_t columns)
{
	size_t n = 0, used = 0, keep = 0, keep_used = 0;
	struct buf clean;

	buf_init(&clean, 1u << 20);
	add_clean(&clean, text, strnlen(text, 4096));
	while (n < clean.len) {
		size_t one, bytes = char_columns(clean.data + n, clean.len - n, &one);

		if (used + one > columns)
			break;
		used += one;
		n += bytes;
		if (used < columns) {
			keep = n;
			keep_used = used;
		}
	}
	buf_add(out, clean.data ? clean.data : "", n < clean.len ? keep : n);
	if (n < clean.len) {
		buf_adds(out, "\u2026");
		used = keep_used + 1;
	}
	buf_done(&clean);
	return used;
}

static void add_padded(struct buf *out, const char *text, size_t columns)
{
	size_t used = add_cut(out, text, columns);

	buf_addf(out, "%*s", (int)(columns - used), "");
}

static void add_line(struct buf *out, const struct incident *i)
{
	struct word when = word_wall(i->trapped_wall_ns ? i->trapped_wall_ns : i->started_wall_ns);
	char status[16] = "-", *request = NULL;
	size_t url_len = i->request.url ? strcspn(i->request.url, "?") : 0;

	if (i->status)
		snprintf(status, sizeof(status), "%d", i->status);
	text_setf(&request, "%s %.*s", i->request.method ? i->request.method : "?", (int)MIN(url_len, 1000u),
		  i->request.url ? i->request.url : "?");
	buf_addf(out, "%s  %.19s %4s %8s  ", i->id, when.s, status,
		 word_duration(i->ended ? i->time_taken_ns : i->elapsed_ns).s);
	add_padded(out, request ? request : "?", REQUEST_COLUMNS);
	buf_adds(out, " ");
	add_cut(out, i->rule ? i->rule : "-", LIST_COLUMNS - 14 - 19 - 1 - 4 - 1 - 8 - 2 - REQUEST_COLUMNS - 1);
	free(request);
	buf_adds(out, "\n              ");
	if (i->limit_reached || i->suppressed)
		buf_adds(out, "[not captured] ");
	add_cut(out, i->verdict ? i->verdict : "no verdict",
		LIST_COLUMNS - 14 - (i->limit_reached || i->suppressed ? 15 : 0));
	buf_adds(out, "\n");
}

static void add_json(struct buf *out, const struct incident *i, const char *path)
{
	const struct {
		const char *key, *text;
	} row[] = {
		{ "rule", i->rule },
		{ "reason", reason_name(i->reason) },
		{ "method", i->request.method },
		{ "url", i->request.url },
		{ "host", i->request.host },
		{ "verdict", i->verdict },
		{ "cause", i->cause },
		{ "confidence", i->confidence },
		{ "process", i->process.comm },
		{ "core", i->capture.core_file },
		{ "suppressed", i->suppressed },
		{ "incident", path },
	};

	buf_addf(out, "{\"event\":\"incident\",\"id\":\"%s\"", i->id);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		buf_addf(out, ",\"%s\":", row[n].key);
		facts_add_string(out, row[n].text);
	}
	buf_addf(out, ",\"started_wall_ns\":%llu,\"trapped_wall_ns\":%llu", (unsigned long long)i->started_wall_ns,
		 (unsigned long long)i->trapped_wall_ns);
	buf_addf(out,
		 ",\"pid\":%d,\"tid\":%d,\"status\":%d,\"ended\":%s,\"elapsed_ms\":%s,\"time_taken_ms\":%s,"
		 "\"pause_ms\":%s,\"limit_reached\":%s}\n",
		 i->holder_pid, i->holder_tid, i->status, i->ended ? "true" : "false", word_ms(i->elapsed_ns).s,
		 i->ended ? word_ms(i->time_taken_ns).s : "null", word_ms(i->capture.pause_ns).s,
		 i->limit_reached ? "true" : "false");
}

static int list_in_groups(struct store *store, const struct store_row *row, size_t count, bool json)
{
	struct list_groups *groups = list_groups_new();
	int r, code = groups ? EXIT_DONE : EXIT_REFUSED;
	struct buf out;

	for (size_t n = 0; groups && n < count; n++) {
		struct incident *incident;
		struct err err;
		r = store_load(store, row[n].id, &incident, NULL, &err);
		if (r == -ENOENT)
			continue; /* removed meanwhile */
		if (r == 0) {
			r = list_groups_add(groups, incident);
			err_sys(&err, r, "cannot group '%s'", row[n].id);
			incident_free(incident);
		}
		r = r < 0 ? fail(r, &err) : EXIT_DONE;
		code = MAX(code, r);
	}
	buf_init(&out, GROUPS_BYTES_MAX);
	if (groups)
		list_groups_tell(groups, json, &out);
	if (out.full)
		log_warn("the groups are more than can be printed; the smallest are left out");
	r = put(&out);
	code = MAX(code, r);
	buf_done(&out);
	list_groups_free(groups);
	return code;
}

/* One row; a folder that cannot be read is told and does not hide the others. */
static int list_row(struct store *store, const struct store_row *row, bool json)
{
	CLEAN(free) char *path = NULL;
	struct incident *incident;
	struct buf out;
	struct err err;
	int r = store_load(store, row->id, &incident, &path, &err);

	if (r == -ENOENT)
		return EXIT_DONE; /* removed meanwhile */
	if (r < 0)
		return fail(r, &err);
	buf_init(&out, 8u << 20);
	if (json)
		add_json(&out, incident, path);
	else
		add_line(&out, incident);
	r = put(&out);
	buf_done(&out);
	incident_free(incident);
	return r;
}

static int list_rows(struct store *store, const struct store_row *row, size_t count, bool json)
{
	int code = EXIT_DONE;

	if (!json)
		printf("%-12s  %-19s %4s %8s  %-*s %s\n", "ID", "TRAPPED (UTC)", "STAT", "TOOK", REQUEST_COLUMNS,
		       "REQUEST", "RULE");
	for (size_t n = 0; n < count; n++) {
		int r = list_row(store, &row[n], json);

		code = MAX(code, r);
	}
	return code;
}

int cmd_list(int argc, char **argv)
{
	struct command_line line;
	struct store_row *rows;
	struct store *store;
	int r, code = begin("list", argc, argv, 0, 0, &line);
	struct err err;
	size_t count;
	bool json;

	if (code != VERB_GO_ON)
		return code;
	code = open_store(&line, &store);
	if (code != VERB_GO_ON)
		return code;
	json = option_given(&line, "json");
	code = EXIT_DONE;
	r = store_list(store, &rows, &count, &err);
	if (r < 0) {
		store_free(store);
		return fail(r, &err);
	}
	if (!count)
		log_note("no incident in '%s' yet", store_path(store));
	else if (option_given(&line, "group"))
		code = list_in_groups(store, rows, count, json);
	else
		code = list_rows(store, rows, count, json);
	store_rows_free(rows, count);
	store_free(store);
	return code;
}

/* --- show, report --- */

static int render(const struct incident *incident, const struct report_format *format, struct buf *out, int *ret_code)
{
	struct err err;
	int r;

	buf_init(out, REPORT_BYTES_MAX);
	r = format->render(incident, out, &err);
	if (r < 0)
		*ret_code = fail(r, &err);
	return r;
}

int cmd_show(int argc, char **argv)
{
	struct command_line line;
	struct incident *incident;
	int code = begin("show", argc, argv, 1, 1, &line);
	const char *view;
	struct buf out;
	struct err err;

	if (code == VERB_GO_ON)
		code = load(&line, line.rest[0], &incident);
	if (code != VERB_GO_ON)
		return code;
	view = option_given(&line, "json") ? NULL : option_value(&line, "view");
	if (view) {
		buf_init(&out, REPORT_BYTES_MAX);
		code = report_text_view(incident, view, &out, &err);
		code = code < 0 ? fail(code, &err) : put(&out);
	} else if (render(incident, report_format_find(option_given(&line, "json") ? "json" : "text"), &out, &code) ==
		   0) {
		code = put(&out);
	}
	buf_done(&out);
	incident_free(incident);
	return code;
}

static int put_file(const char *path, const struct buf *out)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int code = fd < 0 ? -errno : write_all(fd, out->data, out->len);

	if (fd >= 0 && close(fd) < 0 && code == 0)
		code = -errno;
	if (code == 0)
		return EXIT_DONE;
	log_error("cannot write '%s': %s", path, strerror(-code));
	return exit_code_of(code);
}

/* What 'report' without a format or a file says: where the page lies. */
static int print_path(const struct command_line *line, const char *id)
{
	CLEAN(free) char *path = NULL;
	CLEAN(fd) int fd = -1;
	struct store *store;
	struct buf out;
	struct stat st;
	struct err err;
	int r, code = open_store(line, &store);

	if (code != VERB_GO_ON)
		return code;
	r = store_find(store, id, &fd, &path, &err);
	store_free(store);
	if (r < 0)
		return fail(r, &err);
	if (fstatat(fd, "report.html", &st, AT_SYMLINK_NOFOLLOW) < 0) {
		log_error("'%s' has no report.html: 'reqtrap report %s --format html -o report.html' makes one", path,
			  id);
		return EXIT_NOTHING;
	}
	text_setf(&path, "%s/report.html", path);
	buf_init(&out, 1u << 20);
	if (option_given(line, "json")) {
		buf_adds(&out, "{\"event\":\"report\",\"path\":");
		facts_add_string(&out, path);
		buf_adds(&out, "}");
	} else {
		buf_adds(&out, path ? path : "");
	}
	buf_adds(&out, "\n");
	code = put(&out);
	buf_done(&out);
	return code;
}

/* With --debuginfod: what the capture had no names for. The incident in the store stays as it is. */
static int name_frames(const struct command_line *line, struct incident *incident)
{
	const char *budget = option_value(line, "budget");
	struct debugfile_result got = { .files = 0 };
	uint64_t budget_ns = DEBUGFILE_BUDGET_NS;
	struct err err = { "" };
	int r = 0;

	if (!option_given(line, "debuginfod")) {
		if (!budget)
			return VERB_GO_ON;
		log_error("--budget is of --debuginfod, which is not given");
		incident_free(incident);
		return EXIT_MISTAKE;
	}
	if (budget)
		r = parse_duration(budget, &budget_ns, &err);
	if (r == 0)
		r = debugfile_name(incident, budget_ns, &got, &err);
	if (r < 0) {
		incident_free(incident);
		return r == -ENOENT ? (fail(r, &err), EXIT_REFUSED) : fail(r, &err);
	}
	if (!incident->analysis.module_count)
		log_note("no frame of this incident is without a line and in a file that is known");
	else
		log_note("debug files: %zu found, %zu not; %zu frames have better names", got.files, got.missing,
			 got.frames);
	return VERB_GO_ON;
}

/* The incident in that format, to 'output' or the terminal. */
static int render_to(const struct command_line *line, const char *format, const char *output)
{
	struct incident *incident;
	int code = load(line, line->rest[0], &incident);
	struct buf out;

	if (code == VERB_GO_ON)
		code = name_frames(line, incident);
	if (code != VERB_GO_ON)
		return code;
	if (render(incident, report_format_find(format), &out, &code) == 0)
		code = output && strcmp(output, "-") != 0 ? put_file(output, &out) : put(&out);
	buf_done(&out);
	incident_free(incident);
	return code;
}

int cmd_report(int argc, char **argv)
{
	struct command_line line;
	int code = begin("report", argc, argv, 1, 1, &line);
	const char *format, *output;

	if (code != VERB_GO_ON)
		return code;
	format = option_value(&line, "format");
	output = option_value(&line, "output");
	if (option_given(&line, "debuginfod"))
		return render_to(&line, format ? format : output && strcmp(output, "-") != 0 ? "html" : "text", output);
	if (!format && !output && !strchr(line.rest[0], '/'))
		return print_path(&line, line.rest[0]);
	return render_to(&line, format ? format : "html", output);
}

int cmd_export(int argc, char **argv)
{
	struct command_line line;
	int code = begin("export", argc, argv, 1, 1, &line);
	const char *format;

	if (code != VERB_GO_ON)
		return code;
	format = option_value(&line, "format") ? option_value(&line, "format") : "json";
	if (!report_format_find(format)) {
		log_error("--format: '%s' is none; see 'reqtrap help export'", format);
		return EXIT_MISTAKE;
	}
	return render_to(&line, format, option_value(&line, "output"));
}

/* --- rm --- */

int cmd_rm(int argc, char **argv)
{
	struct command_line line;
	struct store *store;
	int code = begin("rm", argc, argv, 1, INT32_MAX, &line);
	struct err err;

	if (code == VERB_GO_ON)
		code = open_store(&line, &store);
	if (code != VERB_GO_ON)
		return code;
	code = EXIT_DONE;
	for (int n = 0; n < line.rest_count; n++) {
		int r = store_remove(store, line.rest[n], &err);

		r = r < 0 ? fail(r, &err) : EXIT_DONE;
		code = MAX(code, r);
	}
	store_free(store);
	return code;
}
