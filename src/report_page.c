// SPDX-License-Identifier: MIT
/* The order of a page: verdict, request, time, calls, stack, locks, the chain beyond, the others, how it was
 * captured, the user's command, what is missing, the trace. Rejected: one renderer
 * per medium (they come to say different things). Trap: every part may be absent,
 * and an absent part says why it is. */
#include "report_sections.h"

#include "buf.h"

#include <stdarg.h>
#include <string.h>

static int (*const sections[])(const struct incident *incident, struct pen *pen) = {
	section_request,   section_time,    section_calls,  section_holder,  section_locks,  section_chain,
	section_variables, section_tasks,   section_others, section_ends,    section_pool,   section_cpu,
	section_host,	   section_capture, section_action, section_samples, section_losses, section_trace,
};

const char *page_known(const char *text)
{
	return text && text[0] ? text : "unknown";
}

/* Cut at a character, with a mark that says how much. */
char *page_clip(char *text)
{
	size_t len = text ? strlen(text) : 0, at = PAGE_TEXT_MAX;
	char mark[64];

	if (len <= PAGE_TEXT_MAX + sizeof(mark))
		return text;
	while (at > PAGE_TEXT_MAX - 4 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	snprintf(mark, sizeof(mark), " [%zu more bytes: see incident.json]", len - at);
	memcpy(text + at, mark, strlen(mark) + 1);
	return text;
}

static char *formatted(const char *fmt, va_list ap)
{
	char *text = NULL;

	return vasprintf(&text, fmt, ap) < 0 ? NULL : page_clip(text);
}

void page_field(struct pen *pen, const char *label, const char *fmt, ...)
{
	CLEAN(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = formatted(fmt, ap);
	va_end(ap);
	pen->field(pen, label, text ? text : "out of memory");
}

void page_line(struct pen *pen, const char *fmt, ...)
{
	CLEAN(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = formatted(fmt, ap);
	va_end(ap);
	pen->line(pen, text ? text : "out of memory");
}

void page_warn(struct pen *pen, const char *fmt, ...)
{
	CLEAN(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = formatted(fmt, ap);
	va_end(ap);
	pen->warn(pen, text ? text : "out of memory");
}

int page_draw(const struct incident *incident, struct pen *pen, struct err *err)
{
	int r = 0;

	pen->head(pen, incident);
	for (size_t n = 0; r == 0 && n < ARRAY_LEN(sections); n++)
		r = sections[n](incident, pen);
	if (pen->view && r == 0)
		r = section_performance(incident, pen);
	if (pen->view && r == 0)
		r = section_details(incident, pen);
	return r < 0 ? err_sys(err, r, "cannot draw the page of incident '%s'", incident->id) : 0;
}
