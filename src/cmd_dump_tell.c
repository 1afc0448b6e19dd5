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

static void tell_json(const struct dump_subject *subject, const struct dump_result *result)
{
	CLEAN(free) char *clean_path = facts_utf8(subject->path);
	json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:I, s:s, s:f, s:f, s:I, s:I, s:I, s:b, s:o}", "event", "dump",
				 "path", clean_path ? clean_path : "", "kind", subject->mini ? "mini" : "full", "pid",
				 (int)subject->pid, "threads", (json_int_t)result->threads, "method",
				 capture_method_name(result->method), "pause_ms", ns_to_ms(result->pause_ns), "wall_ms",
				 ns_to_ms(result->wall_ns), "bytes", (json_int_t)result->core_bytes, "bytes_on_disk",
				 (json_int_t)result->core_bytes_on_disk, "peak_bytes", (json_int_t)result->peak_bytes,
				 "complete", (int)result->complete, "omitted", omissions(result));

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

static void tell_text(const struct dump_subject *subject, const struct dump_result *result)
{
	struct buf out;

	buf_init(&out, 65536);
	buf_add_escaped(&out, subject->path, strlen(subject->path));
	buf_addf(&out, "\n  a %s core of process %d '%s', %u thread%s: %.1f MiB, %.1f MiB on disk\n",
		 subject->mini ? "mini" : "full", subject->pid, subject->process, result->threads,
		 result->threads == 1 ? "" : "s", (double)result->core_bytes / 1048576.0,
		 (double)result->core_bytes_on_disk / 1048576.0);
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

bool tell_dump(const struct dump_subject *subject, const struct dump_result *result, bool json)
{
	errno = 0;
	(json ? tell_json : tell_text)(subject, result);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	clearerr(stdout);
	return false;
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

void progress_show(struct progress *p, const struct dump_subject *subject, uint64_t done, uint64_t total)
{
	bool terminal = isatty(STDERR_FILENO);
	uint64_t now = now_ns();
	char text[160];

	if (p->off || !total || now < p->begun_ns + QUIET_START_NS || (!terminal && now < p->told_ns + LINE_NS))
		return;
	p->told_ns = now;
	figures(p, MIN(done, total), total, now, text, sizeof(text));
	if (!terminal) {
		log_note("dump of process %d '%s': %s", subject->pid, subject->process, text);
		return;
	}
	p->shown = true;
	/* one column is left free: a full line would wrap */
	fprintf(stderr, "\r\033[K%.*s", terminal_width() - 1, text);
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
