// SPDX-License-Identifier: MIT
/* Growing bytes with a ceiling. Rejected: open_memstream (no ceiling). */
#include "buf.h"

#include <stdarg.h>
#include <string.h>

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){ .max = max };
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ .max = buf->max };
}

static bool reserve(struct buf *buf, size_t extra)
{
	size_t need = buf->len + extra + 1, cap = buf->cap ? buf->cap : 256;
	char *data;

	if (buf->full)
		return false;
	if (extra > buf->max || buf->len > buf->max - extra) {
		buf->full = true;
		return false;
	}
	if (need <= buf->cap)
		return true;
	while (cap < need)
		cap *= 2;
	data = realloc(buf->data, cap);
	if (!data) {
		buf->full = true;
		return false;
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	if (!reserve(buf, len))
		return;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_adds(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_addf(struct buf *buf, const char *fmt, ...)
{
	char small[256];
	char *text = small;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(small)) {
		va_start(ap, fmt);
		n = vasprintf(&text, fmt, ap);
		va_end(ap);
		if (n < 0) {
			buf->full = true;
			return;
		}
	}
	buf_add(buf, text, (size_t)n);
	if (text != small)
		free(text);
}

/* Unicode's Default_Ignorable_Code_Point, which show nothing and so hide what they stand in (a
 * name that looks like another), and what turns or ends a line: direction, separators. */
bool char_hides(uint32_t cp)
{
	static const struct {
		uint32_t from, to;
	} row[] = {
		{ 0xad, 0xad },	      { 0x34f, 0x34f },	  { 0x61c, 0x61c },	{ 0x115f, 0x1160 },
		{ 0x17b4, 0x17b5 },   { 0x180b, 0x180f }, { 0x200b, 0x200f },	{ 0x2028, 0x202e },
		{ 0x2060, 0x206f },   { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f },	{ 0xfeff, 0xfeff },
		{ 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
		{ 0xe0000, 0xe0fff },
	};

	for (size_t n = 0; n < ARRAY_LEN(row) && cp >= row[n].from; n++) {
		if (cp <= row[n].to)
			return true;
	}
	return (cp & 0xfffe) == 0xfffe;
}

/* Length of the well-formed, harmless UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} row[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		size_t n = i + 2;
		uint32_t cp = p[0] & (unsigned char)~row[i].mask;

		if ((p[0] & row[i].mask) != row[i].lead)
			continue;
		if (left < n)
			return 0;
		for (size_t k = 1; k < n; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
			cp = cp << 6 | (p[k] & 0x3f);
		}
		if (cp < row[i].least || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
			return 0;
		if (cp < 0xa0 /* C1 controls */ || char_hides(cp))
			return 0;
		return n;
	}
	return 0;
}

void buf_add_escaped(struct buf *buf, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len) {
		size_t n = 1;

		if (p[0] >= 0x20 && p[0] < 0x7f && p[0] != '\\') {
			buf_add(buf, p, 1);
		} else if (p[0] >= 0x80 && (n = utf8_len(p, len)) > 0) {
			buf_add(buf, p, n);
		} else {
			n = 1;
			buf_addf(buf, "\\x%02x", p[0]);
		}
		p += n;
		len -= n;
	}
}

char *buf_take(struct buf *buf)
{
	char *data = buf->data ? buf->data : strdup("");

	*buf = (struct buf){ .max = buf->max };
	return data;
}
