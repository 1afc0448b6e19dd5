// SPDX-License-Identifier: MIT
/* 'verify': a line with the verdict for each core, then what was found. Files that are
 * not on this machine are told and cost nothing: a core is often read where it was not
 * made. */
#include "cmd.h"
#include "facts.h"
#include "ktime.h"
#include "log.h"
#include "report_words.h"
#include "verify.h"

#include <fcntl.h>
#include <string.h>

#define OUT_MAX (8u << 20)

static bool whole(const struct verify_report *report)
{
	return !report->of_level[VERIFY_MISSING] && !report->of_level[VERIFY_DAMAGED];
}

static size_t findings(const struct verify_report *report)
{
	size_t n = 0;

	for (size_t i = 0; i < VERIFY_LEVELS; i++)
		n += report->of_level[i];
	return n;
}

static void add_verdict(struct buf *out, const char *path, const struct verify_report *r)
{
	size_t here = r->of_level[VERIFY_HERE];
	struct buf line;

	buf_init(&line, 65536);
	buf_add_escaped(&line, path, strlen(path));
	buf_addf(&line, ": a %s%score", r->kind, r->kind[0] ? " " : "");
	if (r->pid)
		buf_addf(&line, " of process %d '%s'", r->pid, r->process);
	buf_addf(&line, ", %llu thread%s, %s of memory: ", (unsigned long long)r->threads, word_plural(r->threads),
		 word_bytes(r->data).s);
	buf_adds(&line, r->of_level[VERIFY_DAMAGED] ? "damaged" : whole(r) ? "whole" : "not whole");
	if (here)
		buf_addf(&line, "; %zu of the files it needs %s not here", here, here == 1 ? "is" : "are");
	add_wrapped(out, "", line.data ? line.data : "", 2);
	buf_done(&line);
}

/* How it was made and how it is packed. */
static void add_making(struct buf *out, const struct verify_report *r)
{
	struct buf line;

	buf_init(&line, 65536);
	if (!strcmp(r->method, "clone"))
		buf_addf(&line, "from a copy, the process stood still for %.1f ms; ", ns_to_ms(r->pause_ns));
	else if (!strcmp(r->method, "stop") && r->pause_ns)
		buf_addf(&line, "copied in a stop of %.1f ms; ", ns_to_ms(r->pause_ns));
	else if (!strcmp(r->method, "stop"))
		buf_adds(&line, "the process stood still while it was written; ");
	buf_addf(&line, "%llu segment%s, %s left in files, %llu librar%s; %s", (unsigned long long)r->segments,
		 word_plural(r->segments), word_bytes(r->in_files).s, (unsigned long long)r->libraries,
		 r->libraries == 1 ? "y" : "ies",
		 !r->zstd   ? "not compressed"
		 : r->table ? "zstd with a seek table"
			    : "zstd without a seek table");
	add_wrapped(out, "  ", line.data ? line.data : "", 2);
	buf_done(&line);
}

static void add_text(struct buf *out, const char *path, const struct verify_report *r)
{
	size_t all = findings(r);

	add_verdict(out, path, r);
	add_making(out, r);
	for (size_t i = 0; i < r->count; i++) {
		const struct verify_finding *f = &r->finding[i];
		char lead[16];

		snprintf(lead, sizeof(lead), "  %-8s ", verify_level_name(f->level));
		add_wrapped(out, lead, f->text, strlen(lead));
	}
	if (all > r->count)
		buf_addf(out, "  and %zu more\n", all - r->count);
}

static void add_json(struct buf *out, const char *path, const struct verify_report *r)
{
	const struct {
		const char *key;
		uint64_t value;
	} number[] = {
		{ "pid", (uint64_t)r->pid },
		{ "threads", r->threads },
		{ "segments", r->segments },
		{ "bytes", r->bytes },
		{ "memory_bytes", r->memory },
		{ "data_bytes", r->data },
		{ "in_files_bytes", r->in_files },
		{ "libraries", r->libraries },
		{ "omitted", r->omitted },
		{ "notes", r->of_level[VERIFY_NOTE] },
		{ "not_here", r->of_level[VERIFY_HERE] },
		{ "missing", r->of_level[VERIFY_MISSING] },
		{ "damaged", r->of_level[VERIFY_DAMAGED] },
	};

	buf_adds(out, "{\"event\":\"verify\",\"path\":");
	facts_add_string(out, path);
	buf_addf(out, ",\"whole\":%s,\"kind\":", whole(r) ? "true" : "false");
	facts_add_string(out, r->kind[0] ? r->kind : NULL);
	buf_adds(out, ",\"method\":");
	facts_add_string(out, r->method[0] ? r->method : NULL);
	buf_adds(out, ",\"process\":");
	facts_add_string(out, r->process);
	buf_addf(out, ",\"pause_ms\":%s,\"compress\":\"%s\",\"seek_table\":%s",
		 r->pause_ns ? word_ms(r->pause_ns).s : "null", r->zstd ? "zstd" : "none", r->table ? "true" : "false");
	for (size_t i = 0; i < ARRAY_LEN(number); i++)
		buf_addf(out, ",\"%s\":%llu", number[i].key, (unsigned long long)number[i].value);
	buf_adds(out, ",\"findings\":[");
	for (size_t i = 0; i < r->count; i++) {
		buf_addf(out, "%s{\"check\":\"%s\",\"level\":\"%s\",\"text\":", i ? "," : "", r->finding[i].check,
			 verify_level_name(r->finding[i].level));
		facts_add_string(out, r->finding[i].text);
		buf_adds(out, "}");
	}
	buf_addf(out, "],\"findings_more\":%zu}\n", findings(r) - r->count);
}

static int fail(const char *path, int code, struct err *err)
{
	bool mistake = code == -ESPIPE; /* no file at all */

	err_wrap(err, code, "'%s'", path);
	log_error("%s", err->text);
	return mistake ? EXIT_MISTAKE : exit_code_of(code);
}

static int verify_one(const char *path, bool quick, bool json)
{
	/* O_NONBLOCK: a pipe must not hold us up */
	CLEAN(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct verify_report report;
	struct err err = { "" };
	struct buf out;
	int r;

	if (fd < 0) {
		r = -errno;
		return fail(path, r, (err_sys(&err, r, "cannot open the file"), &err));
	}
	r = verify_core(fd, quick, &report, &err);
	if (r < 0)
		return fail(path, r, &err);
	buf_init(&out, OUT_MAX);
	if (json)
		add_json(&out, path, &report);
	else
		add_text(&out, path, &report);
	if (out.data)
		fwrite(out.data, 1, out.len, stdout);
	fflush(stdout);
	buf_done(&out);
	r = whole(&report) ? EXIT_DONE : EXIT_NOTHING;
	verify_done(&report);
	return r;
}

int cmd_verify(int argc, char **argv)
{
	struct command_line line;
	int worst = EXIT_DONE, code = verb_begin("verify", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (!line.rest_count) {
		log_error("which core? Give its path: 'reqtrap verify core.zst'");
		return EXIT_MISTAKE;
	}
	for (int n = 0; n < line.rest_count; n++) {
		code = verify_one(line.rest[n], option_given(&line, "quick"), option_given(&line, "json"));
		worst = MAX(worst, code);
	}
	return worst;
}
