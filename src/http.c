// SPDX-License-Identifier: MIT
/* A bounded head parser. Rejected: a stream parser library (captured bytes are cut
 * and start over). The BPF side finds the framing; this finds the words. */
#include "http.h"

#include <string.h>
#include <strings.h>

static struct span trim(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
		to--;
	return (struct span){ from, (size_t)(to - from) };
}

static void header(struct http_head *head, const char *line, const char *end)
{
	static const struct {
		const char *name;
		size_t offset;
	} wanted[] = {
		{ "host", offsetof(struct http_head, host) },
		{ "user-agent", offsetof(struct http_head, user_agent) },
	};
	const char *colon = memchr(line, ':', (size_t)(end - line));

	for (size_t i = 0; colon && i < ARRAY_LEN(wanted); i++) {
		struct span *at = (struct span *)((char *)head + wanted[i].offset);

		if ((size_t)(colon - line) == strlen(wanted[i].name) && !at->data &&
		    !strncasecmp(line, wanted[i].name, strlen(wanted[i].name)))
			*at = trim(colon + 1, end);
	}
}

int http_head_parse(const uint8_t *bytes, size_t len, struct http_head *ret_head)
{
	const char *p = (const char *)bytes, *stop = p + len, *end, *blank;
	struct http_head head = { 0 };

	if (!len)
		return -EINVAL;
	end = memchr(p, '\n', len);
	blank = memchr(p, ' ', (size_t)((end ? end : stop) - p));
	if (!blank || blank == p)
		return -EINVAL;
	for (const char *c = p; c < blank; c++) {
		if (*c < '!' || *c > '~')
			return -EINVAL;
	}
	head.method = (struct span){ p, (size_t)(blank - p) };
	p = blank + 1;
	blank = memchr(p, ' ', (size_t)((end ? end : stop) - p));
	head.target = trim(p, blank ? blank : end ? end : stop);
	while (end && end + 1 < stop) {
		p = end + 1;
		end = memchr(p, '\n', (size_t)(stop - p));
		if (!end)
			break; /* a line that is not whole says nothing */
		if (end == p || (end == p + 1 && *p == '\r')) {
			head.complete = true;
			break;
		}
		header(&head, p, end);
	}
	*ret_head = head;
	return 0;
}

struct span http_header_find(const uint8_t *bytes, size_t len, const char *name)
{
	const char *p = (const char *)bytes, *stop = p + len, *end = len ? memchr(p, '\n', len) : NULL;
	size_t name_len = strlen(name);

	while (end && end + 1 < stop) {
		const char *colon;

		p = end + 1;
		end = memchr(p, '\n', (size_t)(stop - p));
		if (!end || end == p || (end == p + 1 && *p == '\r'))
			break;
		colon = memchr(p, ':', (size_t)(end - p));
		if (colon && (size_t)(colon - p) == name_len && !strncasecmp(p, name, name_len))
			return trim(colon + 1, end);
	}
	return (struct span){ NULL, 0 };
}
