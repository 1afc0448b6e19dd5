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

static bool contains(const char *text, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++) {
		if (!strncasecmp(text + i, word, n))
			return true;
	}
	return false;
}

static bool is_session(const char *name, size_t len)
{
	return contains(name, len, "sess") || contains(name, len, "token") ||
	       (len == 3 && !strncasecmp(name, "sid", 3));
}

/* 'user:password' in front of a host. */
static size_t add_userinfo(struct buf *out, const char *authority, size_t len)
{
	const char *at = memrchr(authority, '@', len);

	if (!at)
		return 0;
	buf_adds(out, MASK "@");
	return (size_t)(at - authority) + 1;
}

static void add_path(struct buf *out, const char *path, size_t len)
{
	for (size_t n = 0; n < len;) {
		size_t plain = strcspn(path + n, ";"), name;

		plain = MIN(plain, len - n);
		buf_add(out, path + n, plain);
		n += plain;
		if (n == len)
			break;
		name = MIN(strcspn(path + n + 1, "=;/"), len - n - 1);
		buf_add(out, path + n, name + 1);
		n += name + 1;
		if (n < len && path[n] == '=' && is_session(path + n - name, name)) {
			buf_adds(out, "=" MASK);
			n += MIN(strcspn(path + n, ";/"), len - n);
		}
	}
}

char *mask_url(const char *url)
{
	size_t path = strcspn(url, "?#");
	const char *scheme = strstr(url, "://");
	struct buf out;

	if (show_values)
		return strdup(url);
	buf_init(&out, MASKED_MAX);
	if (scheme && scheme < url + path && url[0] != '/') {
		size_t begin = (size_t)(scheme - url) + 3;

		buf_add(&out, url, begin);
		begin += add_userinfo(&out, url + begin, strcspn(url + begin, "/?#"));
		add_path(&out, url + begin, path - begin);
	} else {
		add_path(&out, url, path);
	}
	if (url[path])
		buf_add(&out, url + path, 1);
	if (url[path])
		mask_query(&out, url + path + 1, '\0');
	return taken(&out);
}

/* --- command lines --- */

static bool is_secret(const char *name, size_t len)
{
	static const char *const word[] = { "passw",	   "pwd",	  "secret",	"token",
					    "apikey",	   "api-key",	  "api_key",	"credential",
					    "private-key", "private_key", "access-key", "access_key" };

	for (size_t n = 0; n < ARRAY_LEN(word); n++) {
		if (contains(name, len, word[n]))
			return true;
	}
	return false;
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
		if ((arg[n] == '=' || arg[n] == ':') && is_secret(arg + n - name, name)) {
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
	return len > 2 && arg[0] == '-' && is_secret(arg, len);
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
