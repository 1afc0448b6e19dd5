// SPDX-License-Identifier: MIT
/* The sections about our own work: how it was captured, the user's command, what is
 * missing. */
#include "report_sections.h"

#include "report_words.h"

#include <string.h>

/* Something to paste into a shell: only if no byte of it could do more. */
static bool is_harmless(const char *text)
{
	return text && text[0] &&
	       !text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-")];
}

static void draw_core(const struct incident *i, struct pen *pen)
{
	const struct capture_facts *c = &i->capture;
	const char *program = is_harmless(i->process.exe) ? i->process.exe : "PROGRAM";
	size_t len = c->core_file ? strlen(c->core_file) : 0;

	if (!c->core_file) {
		page_field(pen, "core", "none");
		return;
	}
	page_field(pen, "core", "%s, %s%s%s%s%s, %s", c->core_file, c->core_kind == CORE_MINI ? "mini, " : "",
		   word_bytes(c->core_bytes).s, c->core_bytes_on_disk != c->core_bytes ? " (" : "",
		   c->core_bytes_on_disk != c->core_bytes ? word_bytes(c->core_bytes_on_disk).s : "",
		   c->core_bytes_on_disk != c->core_bytes ? " on disk)" : "",
		   c->core_complete ? "complete" : "NOT COMPLETE");
	page_field(pen, "open it", "reqtrap open %s", i->id);
	if (!is_harmless(c->core_file))
		return;
	if (len > 4 && !strcmp(c->core_file + len - 4, ".zst"))
		page_field(pen, "or", "zstd -d %s && gdb %s %.*s", c->core_file, program, (int)len - 4, c->core_file);
	else
		page_field(pen, "or", "gdb %s %s", program, c->core_file);
}

int section_capture(const struct incident *i, struct pen *pen)
{
	static const char *const how[] = { "none", "clone: a frozen copy of its memory was read, the process went on",
					   "stop: the process stood still while it was read" };
	const struct capture_facts *c = &i->capture;

	pen->section(pen, "CAPTURE", NULL);
	if (c->method == METHOD_NONE) {
		page_line(pen, "None: %s.", page_why_no_stacks(i));
		if (c->core_file) /* of a later look */
			draw_core(i, pen);
		return 0;
	}
	page_field(pen, "method", "%s", how[c->method]);
	if (c->why_not_clone)
		page_field(pen, "no clone", "%s", c->why_not_clone);
	page_field(pen, "pause", "%s; it began %s after the trap, the whole capture took %s",
		   word_duration(c->pause_ns).s, word_duration(c->started_after_ns).s, word_duration(c->wall_ns).s);
	if (c->running_at_snapshot)
		page_field(pen, "in time", "yes: the request was still running when the threads stood still");
	else
		page_field(pen, "in time", "%s: the request was over before the threads stood still%s",
			   i->reason == REASON_TIME_TAKEN ? "NO" : "no",
			   i->reason == REASON_STATUS_CODE  ? " (a status is known when it is sent)"
			   : i->reason == REASON_APP_MARK   ? " (a mark is seen when it is made)"
			   : i->reason == REASON_TIME_TAKEN ? ""
							    : " (that is known at its end)");
	draw_core(i, pen);
	for (size_t n = 0; n < MIN(c->omitted_count, 8u); n++)
		page_field(pen, n ? "" : "left out", "%s: %s", page_known(c->omitted[n].range),
			   page_known(c->omitted[n].why));
	if (c->omitted_count > 8)
		page_field(pen, "", "and %zu more: see incident.json", c->omitted_count - 8);
	if (c->failed)
		page_warn(pen, "capture: %s", c->failed);
	return 0;
}

static void draw_output(const struct action_facts *a, struct pen *pen)
{
	size_t len = a->output ? strlen(a->output) : 0, at = 0, lines = 0, rest = 0;

	while (at < len && lines < pen->output_lines_most && at < 16384) {
		const char *end = memchr(a->output + at, '\n', len - at);
		size_t n = end ? (size_t)(end - a->output) - at : len - at;

		pen->output(pen, a->output + at, MIN(n, (size_t)PAGE_TEXT_MAX));
		rest += n > PAGE_TEXT_MAX ? n - PAGE_TEXT_MAX : 0;
		at += n + 1;
		lines++;
	}
	if (at < len)
		rest += len - at;
	if (rest)
		page_line(pen, "... %zu more bytes of output: see incident.json", rest);
	if (a->output_cut)
		pen->warn(pen, "the command wrote more than is kept");
}

void page_action(const struct action_facts *a, struct pen *pen)
{
	struct buf argv;

	if (a->state == ACTION_NONE)
		return;
	pen->section(pen, "ACTION", NULL);
	buf_init(&argv, PAGE_PARTS_MAX);
	for (size_t n = 0; a->argv && a->argv[n]; n++) {
		bool quote = !a->argv[n][0] || strpbrk(a->argv[n], " \t\n\"'");

		buf_addf(&argv, "%s%s%s%s", n ? " " : "", quote ? "'" : "", a->argv[n], quote ? "'" : "");
	}
	if (argv.len)
		page_field(pen, "command", "%s", argv.data);
	buf_done(&argv);
	if (a->state == ACTION_RAN)
		page_field(pen, "result", "exit code %d after %s%s%s", a->exit_code, word_duration(a->took_ns).s,
			   a->why ? "; " : "", a->why ? a->why : "");
	else if (a->state == ACTION_TIMED_OUT)
		page_field(pen, "result", "killed at its time limit, after %s%s%s", word_duration(a->took_ns).s,
			   a->why ? ": " : "", a->why ? a->why : "");
	else
		page_field(pen, "result", "%s%s%s",
			   a->state == ACTION_FAILED  ? "could not be run"
			   : a->state == ACTION_LIMIT ? "not run: limit reached"
						      : "not run: actions are disabled",
			   a->why ? ": " : "", a->why ? a->why : "");
	draw_output(a, pen);
}

int section_action(const struct incident *i, struct pen *pen)
{
	page_action(&i->action, pen);
	return 0;
}

/* --- what is missing --- */

int section_losses(const struct incident *i, struct pen *pen)
{
	const struct losses *l = &i->losses;
	const struct {
		uint64_t count;
		const char *what;
	} row[] = {
		{ l->events_overwritten,
		  "events of the trace overwritten by later ones; the times above are counted apart" },
		{ l->texts_cut, "texts of marks or statements cut" },
		{ l->spans_lost, "spans nested deeper than what is kept" },
		{ l->ring_lost, "records lost between kernel and reqtrap during the watch" },
		{ l->refused, "requests not traced for want of a free slot during the watch" },
		{ l->blind_io, "socket calls whose bytes could not be read (io_uring, splice)" },
	};
	char *const *note = i->analysis.note;
	size_t shown = 0;

	pen->section(pen, "LOST OR LEFT OUT", NULL);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		if (row[n].count)
			page_warn(pen, "%s: %s", row[n].what, word_count(row[n].count).s);
		shown += row[n].count != 0;
	}
	if (l->shed && ++shown)
		page_warn(pen, "shed for some of its time, to stay within --max-overhead: %s", l->shed);
	if (i->limit_reached && ++shown)
		page_warn(pen, "the rule's limit was reached: logged only, capture and action not run%s%s",
			  i->suppressed ? ": " : "", i->suppressed ? i->suppressed : "");
	else if (i->suppressed && ++shown)
		page_warn(pen, "not captured: %s", i->suppressed);
	if (i->capture.core_file && !i->capture.core_complete && ++shown)
		pen->warn(pen, "the core does not hold everything that was asked for");
	if (i->request.start_unknown && ++shown)
		pen->warn(pen, "the request had begun before the watch: its head was not seen, and all times are the "
			       "least that they can be");
	if (i->request.head_cut && ++shown)
		pen->warn(pen, "the request's head was longer than what is kept");
	if (i->analysis.failed && ++shown)
		page_warn(pen, "analysis: %s", i->analysis.failed);
	for (size_t n = 0; note && note[n]; n++, shown++)
		page_warn(pen, "%s", note[n]);
	if (!shown)
		pen->line(pen, "Nothing that is known of.");
	return 0;
}
