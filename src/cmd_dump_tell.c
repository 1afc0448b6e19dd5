// SPDX-License-Identifier: MIT
/* Rejected: a progress bar (the figures say more in the same room). Trap: what is told
 * between two updates of the line would stand in the middle of it: clear it first. */
#include "cmd_dump_tell.h"

#include "buf.h"
#include "facts.h"
#include "ktime.h"
#include "log.h"

#include <jansson.h>
#include <string.h>
#include <sys/ioctl.h>

#define QUIET_START_NS NSEC_PER_SEC /* shorter dumps show nothing */
#define LINE_NS (10 * NSEC_PER_SEC) /* between two lines where there is no terminal */
#define WIDTH 80
#define COMPARED_MAX (16u << 20)

/* A part of text from outside; names of mappings are hostile. */
static char *utf8_part(const char *text, size_t len)
{
	CLEAN(free) char *part = strndup(text, len);

	return part ? facts_utf8(part) : NULL;
}

static json_t *omissions(const struct dump_result *result)
{
	json_t *list = json_array();

	for (const char *line = result->omitted; *line;) {
		size_t len = strcspn(line, "\n"), tab = MIN(strcspn(line, "\t"), len);
		CLEAN(free) char *range = utf8_part(line, tab);
		CLEAN(free) char *why = utf8_part(line + MIN(tab + 1, len), len - MIN(tab + 1, len));

		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "range", range ? range : "", "why", why ? why : ""));
		line += len + (line[len] == '\n');
	}
	return list;
}

const char *dump_kind_name(uint32_t kind)
{
	return kind & DUMP_MINI ? "mini" : kind & DUMP_FULL ? "full" : "stacks";
}

static void tell_json(const struct series_dump *dump)
{
	const struct dump_result *result = dump->result;
	CLEAN(free) char *clean_path = dump->path ? facts_utf8(dump->path) : NULL;
	const char *event = dump->path ? "dump" : "stacks"; /* a dump is a file */
	json_t *json = json_pack("{s:s, s:s?, s:s, s:i, s:I, s:s, s:f, s:f, s:I, s:I, s:I, s:b, s:o}", "event", event,
				 "path", clean_path, "kind", dump_kind_name(dump->kind), "pid",
				 (int)dump->subject->proc.pid, "threads", (json_int_t)result->threads, "method",
				 capture_method_name(result->method), "pause_ms", ns_to_ms(result->pause_ns), "wall_ms",
				 ns_to_ms(result->wall_ns), "bytes", (json_int_t)result->core_bytes, "bytes_on_disk",
				 (json_int_t)result->core_bytes_on_disk, "peak_bytes", (json_int_t)result->peak_bytes,
				 "complete", (int)result->complete, "omitted", omissions(result));

	if (json && dump->cause->trigger) {
		json_object_set_new(json, "trigger", json_string(dump->cause->trigger));
		json_object_set_new(json, "value", json_string(dump->cause->value));
		json_object_set_new(json, "why", json_string(dump->cause->words));
		json_object_set_new(json, "fired_wall_ns", json_integer((json_int_t)dump->cause->wall_ns));
	}
	if (json && result->sentry.missed)
		json_object_set_new(json, "missed", json_integer(result->sentry.missed));
	if (json && result->estimate_ns)
		json_object_set_new(json, "estimate_ms", json_real(ns_to_ms(result->estimate_ns)));
	if (json && result->omitted_more)
		json_object_set_new(json, "omitted_more", json_integer(result->omitted_more));
	if (json && result->threads_not_stopped)
		json_object_set_new(json, "threads_not_stopped", json_integer(result->threads_not_stopped));
	if (json && result->in_files_bytes)
		json_object_set_new(json, "in_files_bytes", json_integer((json_int_t)result->in_files_bytes));
	if (json && result->why_not_clone[0])
		json_object_set_new(json, "why_not_clone", json_string_nocheck(result->why_not_clone));
	if (json)
		json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(json);
}

static void put_bytes(struct buf *out, uint64_t bytes)
{
	if (bytes < 1u << 20)
		buf_addf(out, "%.1f KiB", (double)bytes / 1024.0);
	else
		buf_addf(out, "%.1f MiB", (double)bytes / 1048576.0);
}

static void tell_text(const struct series_dump *dump)
{
	const struct dump_result *result = dump->result;
	struct buf out;

	buf_init(&out, 65536);
	if (dump->path) {
		buf_add_escaped(&out, dump->path, strlen(dump->path));
		buf_addf(&out, "\n  a %s core of process %d '%s', %u thread%s: ", dump_kind_name(dump->kind),
			 dump->subject->proc.pid, dump->subject->process, result->threads,
			 result->threads == 1 ? "" : "s");
		put_bytes(&out, result->core_bytes);
		buf_adds(&out, ", ");
		put_bytes(&out, result->core_bytes_on_disk);
		buf_adds(&out, " on disk\n");
	} else {
		buf_addf(&out, "stacks of process %d '%s', %u thread%s\n", dump->subject->proc.pid,
			 dump->subject->process, result->threads, result->threads == 1 ? "" : "s");
	}
	if (dump->cause->trigger)
		buf_addf(&out, "  because: %s\n", dump->cause->words);
	buf_addf(&out, "  paused %.1f ms (%s), took %.0f ms\n", ns_to_ms(result->pause_ns),
		 capture_method_name(result->method), ns_to_ms(result->wall_ns));
	if (result->why_not_clone[0])
		buf_addf(&out, "  no clone: %s\n", result->why_not_clone);
	if (result->in_files_bytes)
		buf_addf(&out, "  left in their files: %.1f MiB of pages that nobody changed\n",
			 (double)result->in_files_bytes / 1048576.0);
	if (result->threads_not_stopped)
		buf_addf(&out, "  %u threads could not be stopped\n", result->threads_not_stopped);
	for (const char *line = result->omitted; *line;) {
		size_t len = strcspn(line, "\n"), tab = MIN(strcspn(line, "\t"), len);

		buf_adds(&out, "  left out: ");
		buf_add_escaped(&out, line, tab);
		if (tab < len) {
			buf_adds(&out, " (");
			buf_add_escaped(&out, line + tab + 1, len - tab - 1);
			buf_adds(&out, ")");
		}
		buf_adds(&out, "\n");
		line += len + (line[len] == '\n');
	}
	if (result->omitted_more)
		buf_addf(&out, "  and %u more ranges left out\n", result->omitted_more);
	fputs(out.data ? out.data : "", stdout);
	buf_done(&out);
}

bool tell_dump(const struct series_dump *dump, bool json)
{
	errno = 0;
	(json ? tell_json : tell_text)(dump);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	clearerr(stdout);
	return false;
}

void tell_said(enum series_word word, const char *text)
{
	CLEAN(free) char *clean = facts_utf8(text);
	json_t *json = word == SERIES_NOTE
			       ? NULL
			       : json_pack("{s:s, s:s}", "event", word == SERIES_ERROR ? "error" : "warning", "text",
					   clean ? clean : "");

	if (!json)
		return;
	json_dumpf(json, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

void tell_compared(const struct series_result *result, bool json)
{
	const struct subject *subject = result->subject;
	struct buf stacks, memory;

	buf_init(&stacks, COMPARED_MAX);
	buf_init(&memory, COMPARED_MAX);
	if (json ? compare_json(result->compare, &stacks) < 0 || growth_json(result->growth, &memory) < 0
		 : compare_text(result->compare, &stacks) < 0 || growth_text(result->growth, &memory) < 0)
		log_warn("cannot compare the dumps of process %d: %s", subject->proc.pid, strerror(ENOMEM));
	else if (json)
		printf("{\"event\":\"compared\",\"pid\":%d,\"stacks\":%s,\"memory\":%s}\n", subject->proc.pid,
		       stacks.data, memory.data);
	else
		printf("\nprocess %d '%s'\n%s\n%s", subject->proc.pid, subject->process, stacks.data, memory.data);
	if (stacks.full || memory.full)
		log_warn("the comparison of process %d is too long and was cut", subject->proc.pid);
	fflush(stdout);
	buf_done(&stacks);
	buf_done(&memory);
}

/* ---- how far it is ---- */

static int terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return WIDTH;
	return MIN((int)size.ws_col, WIDTH);
}

static void figures(const struct progress *p, uint64_t done, uint64_t total, uint64_t now, char *buf, size_t size)
{
	double mib = 1048576.0, seconds = (double)(now - p->begun_ns) / 1e9, rate = (double)done / seconds;
	size_t n = (size_t)snprintf(buf, size, "%.0f of %.0f MiB read", (double)done / mib, (double)total / mib);

	if (done && n < size)
		n += (size_t)snprintf(buf + n, size - n, ", %.0f MiB/s", rate / mib);
	if (done && done < total && n < size)
		snprintf(buf + n, size - n, ", %.0f s left", (double)(total - done) / rate + 0.5);
	else if (done && n < size)
		snprintf(buf + n, size - n, ", writing the rest");
}

static void show_line(struct progress *p, const char *text)
{
	p->shown = true;
	int width = terminal_width() - 1; /* one column is left free: a full line would wrap */
	bool cut = (int)strlen(text) > width;

	fprintf(stderr, "\r\033[K%.*s%s", cut ? width - 3 : width, text, cut ? "..." : "");
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (!p->shown)
		return;
	p->shown = false;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}

void progress_show(struct progress *p, const struct series_dump *dump)
{
	bool terminal = isatty(STDERR_FILENO);
	uint64_t now = now_ns();
	char text[160];

	if (!dump->total && !dump->done) { /* it begins */
		progress_clear(p);
		p->begun_ns = p->told_ns = now;
	}
	if (p->off || !dump->total || now < p->begun_ns + QUIET_START_NS || (!terminal && now < p->told_ns + LINE_NS))
		return;
	p->told_ns = now;
	figures(p, MIN(dump->done, dump->total), dump->total, now, text, sizeof(text));
	if (terminal)
		show_line(p, text);
	else
		log_note("dump of process %d '%s': %s", dump->subject->proc.pid, dump->subject->process, text);
}

/* ---- while nothing is to be done ---- */

static void waiting_words(const struct series_state *state, char *buf, size_t size)
{
	char condition[96] = "";
	size_t n;

	if (state->awaited) {
		struct buf word;

		buf_init(&word, 256);
		buf_add_escaped(&word, state->awaited, strlen(state->awaited));
		snprintf(buf, size, "waiting for a process '%s'", word.data ? word.data : "");
		buf_done(&word);
		return;
	}
	if (state->next_ns)
		snprintf(condition, sizeof(condition), "next dump in %.0f s",
			 state->next_ns > now_ns() ? (double)(state->next_ns - now_ns()) / 1e9 : 0);
	if (state->attached)
		snprintf(condition, sizeof(condition), "attached to %zu process%s", state->attached,
			 state->attached == 1 ? "" : "es");
	if (state->trigger)
		trigger_words(state->trigger, now_ns(), condition, sizeof(condition));
	n = (size_t)snprintf(buf, size, "%s%s%u of %u dumps taken", condition, *condition ? "; " : "", state->taken,
			     state->wanted);
	if (state->processes > 1 && state->subject && n < size)
		snprintf(buf + n, size - n, "; process %d '%s', of %zu", state->subject->proc.pid,
			 state->subject->process, state->processes);
	else if (state->subject && n < size)
		snprintf(buf + n, size - n, "; process %d '%s'", state->subject->proc.pid, state->subject->process);
}

/* Now and then, and when something other than a value has changed. */
static bool due(struct progress *p, const struct series_state *state)
{
	uint64_t now = now_ns();

	if (!p->told_ns && state->next_ns && !state->trigger) /* it just began: the first dump is news enough */
		p->told_ns = now;
	if (!state->changed && now < p->told_ns + LINE_NS)
		return false;
	p->told_ns = now;
	return true;
}

void progress_wait(struct progress *p, const struct series_state *state)
{
	char text[400];

	if (p->off)
		return;
	if (isatty(STDERR_FILENO)) {
		waiting_words(state, text, sizeof(text));
		show_line(p, text);
	} else if (due(p, state)) {
		waiting_words(state, text, sizeof(text));
		log_note("%s", text);
	}
}

static json_t *signal_names(uint64_t bits)
{
	json_t *list = json_array();
	char name[16];

	for (int i = 1; i <= SENTRY_SIGNALS; i++) {
		if (!(bits & sentry_bit(i)))
			continue;
		trigger_signal_name(i, name, sizeof(name));
		json_array_append_new(list, json_string(name));
	}
	return list;
}

void tell_waiting(struct progress *p, const struct series_state *state)
{
	char value[32] = "", words[96] = "";
	json_t *json;

	if (!due(p, state))
		return;
	json = json_pack("{s:s, s:I, s:I, s:I, s:s?}", "event", "waiting", "processes", (json_int_t)state->processes,
			 "taken", (json_int_t)state->taken, "wanted", (json_int_t)state->wanted, "for", state->awaited);
	if (json && state->attached)
		json_object_set_new(json, "attached", json_integer((json_int_t)state->attached));
	if (json && state->subject)
		json_object_set_new(json, "pid", json_integer(state->subject->proc.pid));
	if (json && state->on) {
		json_object_set_new(json, "signals", signal_names(state->on->signals));
		json_object_set_new(json, "crash", json_boolean(state->on->fatal));
		json_object_set_new(json, "exit", json_boolean(state->on->exit));
	}
	if (json && state->trigger) {
		trigger_value(state->trigger, value, sizeof(value));
		trigger_words(state->trigger, now_ns(), words, sizeof(words));
		json_object_set_new(json, "trigger", json_string(trigger_name(state->trigger->kind)));
		json_object_set_new(json, "value", json_string(value));
		json_object_set_new(json, "why", json_string(words));
	}
	json_dumpf(json, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}
