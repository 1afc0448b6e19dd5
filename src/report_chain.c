// SPDX-License-Identifier: MIT
/* The chain of waits: a line a step, its stack below it. The first line is the holder's own
 * wait, so that the section can be read by itself. */
#include "report_sections.h"

#include "report_steps.h"
#include "report_svg.h"
#include "report_words.h"

void beyond_words(const struct beyond *b, struct buf *out)
{
	if (b->pid)
		buf_addf(out, "%s %d", page_known(b->process), b->pid);
	else
		buf_adds(out, "not known who");
	if (b->tid && b->tid != b->pid)
		buf_addf(out, " thread %d", b->tid);
	if (b->request)
		buf_addf(out, " (%s, %s old)", b->request, word_duration(b->request_age_ns).s);
	buf_addf(out, " %s", b->how ? b->how : "comes next");
	if (b->cycle)
		buf_adds(out, "; here the chain comes round: none of these can go on before another one does");
	if (b->failed)
		buf_addf(out, "%s: %s", !b->pid ? "" : b->thread.tid ? "; no further" : "; not looked at", b->failed);
	if (b->thread.tid) {
		buf_adds(out, "; ");
		page_doing(&b->thread, out);
	}
}

int section_chain(const struct incident *i, struct pen *pen)
{
	struct steps s = { 0 };
	struct buf what;
	int r = steps_make(i, &s);

	if (r < 0 || s.count < 2) {
		steps_free(&s);
		return r;
	}
	pen->section(pen, "CHAIN", "whom it waits for, and what that one does, to the end");
	if (pen->picture)
		pen->picture(pen, i, svg_chain, "Chain of waits");
	buf_init(&what, PAGE_PARTS_MAX);
	buf_addf(&what, "%s %d", page_known(i->process.comm), i->holder_pid);
	if (i->holder_tid != i->holder_pid)
		buf_addf(&what, " thread %d", i->holder_tid);
	if (s.row[0].thread.tid) {
		buf_adds(&what, "; ");
		page_doing(&s.row[0].thread, &what);
	}
	page_field(pen, "holder", "%s", what.data ? what.data : "");
	buf_done(&what);
	for (size_t n = 1; n < s.count; n++) {
		const struct beyond *b = &s.row[n];
		char label[32];

		buf_init(&what, PAGE_PARTS_MAX);
		beyond_words(b, &what);
		snprintf(label, sizeof(label), "-> %zu", n);
		page_field(pen, label, "%s", what.data ? what.data : "");
		buf_done(&what);
		if (b->pause_ns)
			page_field(pen, "pause", "%s, for this look", word_duration(b->pause_ns).s);
		if (b->thread.tid)
			page_stack(pen, &b->thread, MAX(pen->frames_most / 4, 4u));
	}
	steps_free(&s);
	return 0;
}
