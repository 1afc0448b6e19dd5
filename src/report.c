// SPDX-License-Identifier: MIT
/* The table of formats: a new one is a file and a row. */
#include "report.h"

#include "facts.h"

#include <string.h>

const struct report_format report_formats[] = {
	{ "json", "incident.json", facts_write },
	{ "text", "report.txt", report_text },
	{ "html", "report.html", report_html },
	{ "chrome", "trace.json", report_chrome },
	{ "stacks", "stacks.txt", report_stacks },
	{ "perfetto", NULL, report_chrome }, /* it reads the same */
	{ "speedscope", NULL, report_speedscope },
	{ "folded", NULL, report_folded },
	{ "freb", NULL, report_freb },
};
const size_t report_format_count = ARRAY_LEN(report_formats);

const struct report_format *report_format_find(const char *name)
{
	for (size_t n = 0; n < report_format_count; n++) {
		if (!strcmp(report_formats[n].name, name))
			return &report_formats[n];
	}
	return NULL;
}

int report_done(const struct buf *out, const char *name, struct err *err)
{
	if (out->full)
		return err_say(err, -E2BIG, "the %s page needs more than %zu bytes, or memory ran out", name, out->max);
	return 0;
}
