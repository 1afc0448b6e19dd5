// SPDX-License-Identifier: MIT
/* FastCGI 1.0 records: header of 8 bytes {version, type, id, content length,
 * padding, reserved}, PARAMS as name-value pairs whose lengths are 1 byte, or 4 with
 * the top bit set. Trap: a pair may straddle records, so the stream is joined first. */
#include "fastcgi.h"

#include <string.h>

#define BEGIN_REQUEST 1
#define PARAMS 4

static void join_params(struct fastcgi_head *head, const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (len - at >= 8) {
		const uint8_t *h = bytes + at;
		size_t content = (size_t)h[4] << 8 | h[5], padding = h[6];
		size_t have = MIN(content, len - at - 8);

		if (h[0] != 1)
			return;
		if (h[1] == PARAMS) {
			size_t room = sizeof(head->params) - head->params_len;

			if (content == 0) {
				head->complete = true;
				return;
			}
			memcpy(head->params + head->params_len, h + 8, MIN(have, room));
			head->params_len += MIN(have, room);
		} else if (h[1] != BEGIN_REQUEST) {
			return;
		}
		if (have < content || len - at - 8 - have < padding)
			return;
		at += 8 + content + padding;
	}
}

static bool length(const uint8_t **p, const uint8_t *stop, size_t *ret)
{
	if (*p >= stop)
		return false;
	if (!(**p & 0x80)) {
		*ret = *(*p)++;
		return true;
	}
	if (stop - *p < 4)
		return false;
	*ret = (size_t)((*p)[0] & 0x7f) << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
	*p += 4;
	return true;
}

int fastcgi_head_parse(const uint8_t *bytes, size_t len, struct fastcgi_head *ret_head)
{
	static const struct {
		const char *name;
		size_t offset;
	} wanted[] = {
		{ "REQUEST_METHOD", offsetof(struct fastcgi_head, method) },
		{ "REQUEST_URI", offsetof(struct fastcgi_head, uri) },
		{ "SCRIPT_FILENAME", offsetof(struct fastcgi_head, script) },
		{ "QUERY_STRING", offsetof(struct fastcgi_head, query) },
		{ "HTTP_HOST", offsetof(struct fastcgi_head, host) },
		{ "HTTP_USER_AGENT", offsetof(struct fastcgi_head, user_agent) },
		{ "REMOTE_ADDR", offsetof(struct fastcgi_head, remote_addr) },
		{ "REMOTE_PORT", offsetof(struct fastcgi_head, remote_port) },
	};
	const uint8_t *p, *stop;
	size_t name_len, value_len;

	memset(ret_head, 0, sizeof(*ret_head));
	if (len < 8 || bytes[0] != 1 || bytes[1] != BEGIN_REQUEST)
		return -EINVAL;
	join_params(ret_head, bytes, len);
	p = ret_head->params;
	stop = p + ret_head->params_len;
	while (length(&p, stop, &name_len) && length(&p, stop, &value_len)) {
		if (name_len > (size_t)(stop - p) || value_len > (size_t)(stop - p) - name_len)
			break;
		for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
			if (strlen(wanted[i].name) == name_len && !memcmp(wanted[i].name, p, name_len))
				*(struct span *)((char *)ret_head + wanted[i].offset) =
					(struct span){ (const char *)p + name_len, value_len };
		}
		p += name_len + value_len;
	}
	return 0;
}

struct span fastcgi_param_find(const struct fastcgi_head *head, const char *name)
{
	const uint8_t *p = head->params, *stop = p + head->params_len;
	size_t name_len, value_len, wanted = strlen(name);

	while (length(&p, stop, &name_len) && length(&p, stop, &value_len)) {
		if (name_len > (size_t)(stop - p) || value_len > (size_t)(stop - p) - name_len)
			break;
		if (name_len == wanted && !memcmp(name, p, name_len))
			return (struct span){ (const char *)p + name_len, value_len };
		p += name_len + value_len;
	}
	return (struct span){ NULL, 0 };
}
