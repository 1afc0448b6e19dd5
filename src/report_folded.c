// SPDX-License-Identifier: MIT
/* Folded stacks: 'process;outermost;...;innermost COUNT' a line, as flame graph programs
 * read them: every thread of the snapshot once, and the later looks at the request's. */
#include "report.h"

#include "report_spans.h"
#include "report_words.h"

#include <string.h>

/* ';' parts frames and the last blank the count. */
static void add_part(struct buf *out, const char *text)
{
	size_t at = out->len;

	add_clean(out, text, strlen(text));
	for (; !out->full && at < out->len; at++) {
		if (out->data[at] == ';')
			out->data[at] = ':';
	}
}

static int add_line(char ***lines, const struct incident *i, const struct thread *t)
{
	CLEAN(free) const struct frame **path = NULL;
	struct buf line;
	size_t count;
	int r = stack_path(t, &path, &count);

	if (r < 0 || !count)
		return r;
	buf_init(&line, REPORT_BYTES_MAX);
	add_part(&line, i->process.comm ? i->process.comm : "process");
	for (size_t n = 0; n < count; n++) {
		buf_adds(&line, ";");
		add_part(&line, frame_function(path[n]));
		if (path[n]->script && path[n]->file) {
			buf_adds(&line, " ");
			add_part(&line, path[n]->file);
			buf_addf(&line, ":%u", path[n]->line);
		}
	}
	r = line.full ? -ENOMEM : strings_add(lines, line.data);
	buf_done(&line);
	return r;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int report_folded(const struct incident *incident, struct buf *out, struct err *err)
{
	char **lines = NULL;
	size_t count;
	int r = 0;

	for (size_t n = 0; r == 0 && n < incident->analysis.thread_count; n++)
		r = add_line(&lines, incident, &incident->analysis.thread[n]);
	for (size_t n = 0; r == 0 && n < incident->sample_count; n++)
		r = add_line(&lines, incident, &incident->sample[n].thread);
	count = strings_count(lines);
	if (count)
		qsort(lines, count, sizeof(*lines), by_text);
	for (size_t n = 0, same; n < count; n += same) {
		for (same = 1; n + same < count && !strcmp(lines[n], lines[n + same]);)
			same++;
		buf_addf(out, "%s %zu\n", lines[n], same);
	}
	strings_free(lines);
	return r < 0 ? err_sys(err, r, "cannot fold the stacks") : report_done(out, "folded", err);
}
