// SPDX-License-Identifier: MIT
/* Lines to stderr, or to whom is told instead, escaped. */
#include "log.h"

#include "buf.h"

#include <stdarg.h>
#include <string.h>

static bool silent;
static log_sink *sink;

static void line(int priority, const char *prefix, const char *fmt, va_list ap)
{
	char raw[2048];
	struct buf out;

	vsnprintf(raw, sizeof(raw), fmt, ap);
	buf_init(&out, 16384);
	buf_adds(&out, prefix);
	/* names in it are escaped already: their backslashes are not, once more */
	for (const char *p = raw; *p;) {
		size_t n = strcspn(p, "\\");

		buf_add_escaped(&out, p, n);
		p += n;
		if (*p)
			buf_add(&out, p++, 1);
	}
	if (!sink || !out.data || !sink(priority, out.data + strlen(prefix))) {
		buf_adds(&out, "\n");
		fputs(out.data ? out.data : "reqtrap: out of memory\n", stderr);
	}
	buf_done(&out);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(3, "reqtrap: ", fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(4, "reqtrap: warning: ", fmt, ap);
	va_end(ap);
}

void log_note(const char *fmt, ...)
{
	va_list ap;

	if (silent)
		return;
	va_start(ap, fmt);
	line(6, "reqtrap: ", fmt, ap);
	va_end(ap);
}

void log_quiet(bool quiet)
{
	silent = quiet;
}

void log_to(log_sink *to)
{
	sink = to;
}
