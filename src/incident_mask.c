// SPDX-License-Identifier: MIT
/* Rejected: masking while printing (one printer of many forgets it) and a list of secret
 * names for queries (nobody knows all of them: every value goes). Trap: rules are asked
 * about the path, so nothing of it may change but a session's name. */
#include "incident_mask.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MASKED_MAX (4u << 20)

static bool show_values;

void mask_show_values(bool show)
{
	show_values = show;
}

static char *taken(struct buf *out)
{
	buf_adds(out, "");
	if (out->full) {
		buf_done(out);
		return NULL;
	}
	return buf_take(out);
}

char *mask_url(const char *url)
{
	struct buf out;

	if (show_values)
		return strdup(url);
	buf_init(&out, MASKED_MAX);
	mask_uri(&out, url, '\0');
	return taken(&out);
}

/* --- command lines --- */

/* 'user:password' in front of a host. */
static size_t add_userinfo(struct buf *out, const char *authority, size_t len)
{
	const char *at = memrchr(authority, '@', len);

	if (!at)
		return 0;
	buf_adds(out, MASK "@");
	return (size_t)(at - authority) + 1;
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       c == '.';
}

/* One argument. True when it is an option whose secret is the next one. */
static bool add_argument(struct buf *out, const char *arg, size_t len)
{
	for (size_t n = 0, name = 0; n < len; n++) {
		if (is_name(arg[n])) {
			name++;
			continue;
		}
		if ((arg[n] == '=' || arg[n] == ':') && mask_is_secret_part(arg + n - name, name)) {
			buf_add(out, arg, n + 1);
			buf_adds(out, MASK);
			return false;
		}
		if (len - n > 3 && !memcmp(arg + n, "://", 3)) {
			size_t host = n + 3, end = host;

			while (end < len && !strchr("/?# ", arg[end]))
				end++;
			if (memchr(arg + host, '@', end - host)) {
				buf_add(out, arg, host);
				host += add_userinfo(out, arg + host, end - host);
				return add_argument(out, arg + host, len - host);
			}
		}
		name = 0;
	}
	buf_add(out, arg, len);
	return len > 2 && arg[0] == '-' && mask_is_secret_part(arg, len);
}

char *mask_cmdline(const char *args, size_t len)
{
	bool next = false;
	struct buf out;

	buf_init(&out, MASKED_MAX);
	for (size_t n = 0; n < len;) {
		size_t one = strnlen(args + n, len - n);

		buf_adds(&out, n ? " " : "");
		if (show_values) {
			buf_add(&out, args + n, one);
		} else if (next && args[n] != '-') {
			buf_adds(&out, MASK);
			next = false;
		} else {
			next = add_argument(&out, args + n, one);
		}
		n += one + 1;
	}
	while (out.len && out.data[out.len - 1] == ' ') /* a title that is shorter than the arguments were */
		out.data[--out.len] = '\0';
	return taken(&out);
}
