// SPDX-License-Identifier: MIT
/* A list of words that names of secrets have in them, and one pass over what looks like a
 * URL. Rejected: guessing by the value (what looks random is as often an id that helps).
 * Trap: a path may hold a secret, too; that cannot be told from one that does not. */
#include "mask.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MASKED_MAX (1u << 20)

static bool contains(const char *text, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++) {
		if (!strncasecmp(text + i, word, n))
			return true;
	}
	return false;
}

bool mask_is_secret_part(const char *name, size_t len)
{
	static const char *const part[] = {
		"authorization", "cookie",    "passw",	 "passphrase", "token",	      "secret",	 "key",	   "pwd",
		"credential",	 "signature", "auth_pw", "auth-pw",    "auth_digest", "session", "sessid", "jwt",
	};

	/* where a process is, not a password */
	if ((len == 3 && !memcmp(name, "PWD", 3)) || (len == 6 && !memcmp(name, "OLDPWD", 6)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(part); i++) {
		if (contains(name, len, part[i]))
			return true;
	}
	return len == 3 && !strncasecmp(name, "sid", 3);
}

bool mask_is_secret(const char *name)
{
	return mask_is_secret_part(name, strlen(name));
}

size_t mask_query(struct buf *out, const char *query, char end)
{
	const char part_ends[] = { '&', ';', end, '\0' }, name_ends[] = { '=', '&', ';', end, '\0' };
	size_t at = 0;

	while (query[at] && query[at] != end) {
		size_t piece = strcspn(query + at, part_ends), name = strcspn(query + at, name_ends);

		if (name < piece)
			buf_add(out, query + at, name + 1);
		if (name < piece ? name + 1 < piece : piece > 0)
			buf_adds(out, MASK);
		at += piece;
		if (query[at] == '&' || query[at] == ';')
			buf_add(out, query + at++, 1);
	}
	return at;
}

/* ';jsessionid=4711' of a path: how far it went. */
static size_t add_parameter(struct buf *out, const char *at)
{
	size_t name = strcspn(at + 1, "=;/?# "), value;

	buf_add(out, at, name + 1);
	if (at[name + 1] != '=' || !mask_is_secret_part(at + 1, name))
		return name + 1;
	value = strcspn(at + name + 2, ";/?# ");
	buf_adds(out, value ? "=" MASK : "=");
	return name + 2 + value;
}

/* Up to the host of 'scheme://user:password@host'; 0: nobody is named there. */
static size_t user_length(const char *rest)
{
	size_t host = strcspn(rest, "/?# ");
	const char *at = memrchr(rest, '@', host);

	return at ? (size_t)(at - rest) : 0;
}

void mask_uri(struct buf *out, const char *uri, char query_end)
{
	for (const char *at = uri; *at;) {
		if (*at == '?' || (*at == '#' && !query_end)) {
			buf_add(out, at++, 1);
			at += mask_query(out, at, query_end);
		} else if (*at == ';') {
			at += add_parameter(out, at);
		} else if (!strncmp(at, "://", 3)) {
			buf_add(out, at, 3);
			at += 3;
			if (user_length(at)) {
				buf_adds(out, MASK);
				at += user_length(at);
			}
		} else {
			size_t plain = strcspn(at + 1, "?:;#") + 1;

			buf_add(out, at, plain);
			at += plain;
		}
	}
}

char *mask_value(const char *name, const char *value, bool *ret_masked)
{
	bool query = strcasestr(name, "query_string");
	struct buf out;
	char *text;

	buf_init(&out, MASKED_MAX);
	buf_adds(&out, "");
	if (mask_is_secret(name))
		buf_adds(&out, value[0] ? MASK : "");
	else if (query)
		buf_adds(&out, value + mask_query(&out, value, '#'));
	else
		mask_uri(&out, value, '#');
	if (out.full) {
		buf_done(&out);
		return NULL;
	}
	text = buf_take(&out);
	if (text)
		*ret_masked = strcmp(text, value) != 0;
	return text;
}
