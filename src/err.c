// SPDX-License-Identifier: MIT
/* One line per failure. Rejected: error objects on the heap (they fail when it
 * matters). Trap: the subject may be a file name made by an attacker, so every
 * byte that a terminal would act on is spelled out. */
#include "err.h"

#include <stdarg.h>
#include <string.h>

static void put_clean(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; *src && n + 5 < size; src++) {
		unsigned char c = (unsigned char)*src;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(dst + n, size - n, "\\x%02x", c);
		else
			dst[n++] = (char)c;
	}
	dst[n] = '\0';
}

static int set(struct err *err, int code, bool cause, const char *fmt, va_list ap)
{
	char raw[sizeof(err->text)];
	size_t n;

	if (!err)
		return code;
	vsnprintf(raw, sizeof(raw), fmt, ap);
	n = strlen(raw);
	if (cause)
		snprintf(raw + n, sizeof(raw) - n, ": %s", strerror(-code));
	put_clean(err->text, sizeof(err->text), raw);
	return code;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, code, true, fmt, ap);
	va_end(ap);
	return code;
}

int err_say(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, code, false, fmt, ap);
	va_end(ap);
	return code;
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
	struct err inner;
	char raw[2 * sizeof(inner.text)];
	va_list ap;
	size_t n;

	if (!err)
		return code;
	inner = *err;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	n = strlen(raw);
	snprintf(raw + n, sizeof(raw) - n, ": %s", inner.text);
	put_clean(err->text, sizeof(err->text), raw);
	return code;
}
