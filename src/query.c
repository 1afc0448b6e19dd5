// SPDX-License-Identifier: MIT
/* A row for each protocol: its port, and a reader that says no when the bytes do not fit.
 * Rejected: the port alone (anything may listen there) and bytes alone where they are too
 * few to be sure (one letter and a length). Trap: a statement's literals are somebody's
 * data, so they are masked before the text is cut. */
#include "query.h"

#include "profile.h"

#include <ctype.h>
#include <string.h>

#define LABELS_MAX 40 /* of a name */

struct bytes {
	const uint8_t *at;
	size_t len;
	bool values;
};

static uint32_t be(const uint8_t *p, int n)
{
	uint32_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* A statement up to its NUL, or as far as there are bytes. */
static void put_sql(const uint8_t *p, size_t len, bool values, struct query *q)
{
	size_t n = strnlen((const char *)p, len);
	char sql[1024];

	snprintf(sql, sizeof(sql), "%.*s", (int)n, (const char *)p);
	q->cut = n >= sizeof(sql);
	if (values)
		snprintf(q->text, sizeof(q->text), "%.*s", (int)sizeof(q->text) - 1, sql);
	else
		profile_mask(sql, q->text, sizeof(q->text));
}

/* ---- one function a protocol ---- */

#define PG_SSL 80877103u
#define PG_GSS 80877104u
#define PG_VERSION3 196608u

/* The statement of a Parse: behind its name. */
static bool pg_parse(const uint8_t *p, size_t len, bool values, struct query *q)
{
	size_t name = strnlen((const char *)p, len);

	if (name >= len)
		return false;
	put_sql(p + name + 1, len - name - 1, values, q);
	return true;
}

static bool postgres(const struct bytes *b, bool usual, struct query *q)
{
	uint32_t len = b->len >= 5 ? be(b->at + 1, 4) : 0;

	if (b->len >= 8 &&
	    (be(b->at + 4, 4) == PG_SSL || be(b->at + 4, 4) == PG_GSS || be(b->at + 4, 4) == PG_VERSION3) &&
	    be(b->at, 4) >= 8 && be(b->at, 4) < 10000) {
		snprintf(q->text, sizeof(q->text), "(connecting)");
		return true;
	}
	if (len < 4 || len > 1u << 30)
		return false;
	/* without the port, a whole message, or more of it than there is, that is text */
	if (!usual && (len + 1 < MIN(b->len, (size_t)16) || b->len < 8 || !isalpha(b->at[5] | b->at[6])))
		return false;
	switch (b->at[0]) {
	case 'Q':
		put_sql(b->at + 5, MIN(b->len - 5, (size_t)len - 4), b->values, q);
		return true;
	case 'P':
		return pg_parse(b->at + 5, MIN(b->len - 5, (size_t)len - 4), b->values, q);
	case 'B':
	case 'E':
		if (usual)
			snprintf(q->text, sizeof(q->text), "(a prepared statement)");
		return usual;
	case 'p':
		if (usual)
			snprintf(q->text, sizeof(q->text), "(logging in)");
		return usual;
	default:
		return usual && strchr("CDFHSXcdf", b->at[0]);
	}
}

static bool mysql(const struct bytes *b, bool usual, struct query *q)
{
	uint32_t len = b->len >= 5 ? (uint32_t)(b->at[0] | b->at[1] << 8 | b->at[2] << 16) : 0;
	const uint8_t *text = b->at + 5;
	size_t left = b->len > 5 ? b->len - 5 : 0;

	/* the length is that of this packet; a client's first of an exchange has number 0 */
	if (!len || (usual ? 0 : len + 4 < b->len))
		return false;
	if (b->at[3] && usual && b->at[3] < 8) {
		snprintf(q->text, sizeof(q->text), "(logging in)");
		return true;
	}
	if (b->at[3])
		return false;
	left = MIN(left, (size_t)len - 1);
	switch (b->at[4]) {
	case 3: /* COM_QUERY; with attributes, their counts come first */
		if (left > 2 && text[0] == 0 && text[1] == 1) {
			text += 2;
			left -= 2;
		}
		/* fall through */
	case 22: /* COM_STMT_PREPARE */
		if (!left || (!usual && (left < 6 || !isalpha(text[0]) || !isalpha(text[1]))))
			return false;
		put_sql(text, left, b->values, q);
		return true;
	case 23:
		snprintf(q->text, sizeof(q->text), "(a prepared statement)");
		return usual && left >= 4;
	case 14:
		snprintf(q->text, sizeof(q->text), "(ping)");
		return usual && len == 1;
	default:
		return usual && b->at[4] < 32;
	}
}

/* '$3\r\nGET\r\n' */
static bool redis_word(const uint8_t **at, const uint8_t *end, const uint8_t **ret_word, size_t *ret_len)
{
	const uint8_t *p = *at;
	size_t len = 0;

	if (p >= end || *p++ != '$')
		return false;
	for (; p < end && isdigit(*p) && len < 1u << 24; p++)
		len = len * 10 + (size_t)(*p - '0');
	if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
		return false;
	p += 2;
	*ret_word = p;
	*ret_len = MIN(len, (size_t)(end - p));
	*at = len + 2 <= (size_t)(end - p) ? p + len + 2 : end;
	return true;
}

static bool redis(const struct bytes *b, bool usual UNUSED, struct query *q)
{
	const uint8_t *at = b->at, *end = b->at + b->len, *word;
	size_t len, used = 0;
	unsigned int count = 0;

	if (at == end || *at++ != '*')
		return false;
	for (; at < end && isdigit(*at) && count < 100000; at++)
		count = count * 10 + (unsigned int)(*at - '0');
	if (!count || end - at < 2 || at[0] != '\r' || at[1] != '\n')
		return false;
	at += 2;
	if (!redis_word(&at, end, &word, &len) || !len || !isalpha(word[0]))
		return false;
	used = (size_t)snprintf(q->text, sizeof(q->text), "%.*s", (int)MIN(len, (size_t)100), (const char *)word);
	while (--count && used + 2 < sizeof(q->text)) {
		if (!b->values)
			used += (size_t)snprintf(q->text + used, sizeof(q->text) - used, " ?");
		else if (redis_word(&at, end, &word, &len))
			used += (size_t)snprintf(q->text + used, sizeof(q->text) - used, " %.*s", (int)len,
						 (const char *)word);
		else
			break;
	}
	q->cut = count > 0;
	return true;
}

static bool http(const struct bytes *b, bool usual UNUSED, struct query *q)
{
	const char *p = (const char *)b->at, *space = memchr(p, ' ', MIN(b->len, (size_t)20)), *end;
	size_t method = space ? (size_t)(space - p) : 0, left;

	if (method < 3 || method > 16)
		return false;
	for (size_t i = 0; i < method; i++) {
		if (!isupper((unsigned char)p[i]) && p[i] != '-')
			return false;
	}
	left = b->len - method - 1;
	if (!left || (space[1] != '/' && space[1] != '*' && !(left > 4 && !memcmp(space + 1, "http", 4))))
		return false;
	for (end = space + 1; left && (unsigned char)*end > ' ' && (b->values || *end != '?'); left--)
		end++;
	q->cut = !left;
	snprintf(q->text, sizeof(q->text), "%.*s%s", (int)(end - p), p, left && *end == '?' ? "?..." : "");
	return true;
}

static bool dns(const struct bytes *b, bool usual, struct query *q)
{
	static const struct {
		uint16_t type;
		const char *name;
	} types[] = { { 1, "A" },   { 28, "AAAA" }, { 12, "PTR" }, { 33, "SRV" },
		      { 15, "MX" }, { 16, "TXT" },  { 5, "CNAME" } };
	size_t at = 12, used = 0;
	const char *type = "";
	char name[256] = "";

	/* one question, no answer, and an option at most */
	if (!usual || b->len < 17 || b->at[2] & 0xf8 || be(b->at + 4, 2) != 1 || be(b->at + 6, 4) != 0)
		return false;
	for (int n = 0; n < LABELS_MAX && at < b->len && b->at[at]; n++) {
		size_t len = b->at[at];

		if (len > 63 || at + 1 + len >= b->len || used + len + 2 > sizeof(name))
			return false;
		used += (size_t)snprintf(name + used, sizeof(name) - used, "%s%.*s", used ? "." : "", (int)len,
					 (const char *)b->at + at + 1);
		at += len + 1;
	}
	if (at + 5 > b->len || b->at[at] || be(b->at + at + 3, 2) != 1)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (types[i].type == be(b->at + at + 1, 2))
			type = types[i].name;
	}
	snprintf(q->text, sizeof(q->text), "%s%s%s", type, type[0] ? " " : "", used ? name : ".");
	return true;
}

static bool tls(const struct bytes *b, bool usual UNUSED, struct query *q UNUSED)
{
	return b->len >= 5 && b->at[0] >= 20 && b->at[0] <= 23 && b->at[1] == 3 && b->at[2] <= 4;
}

static const struct protocol_row {
	const char *name;
	uint16_t port; /* the usual one */
	bool (*read)(const struct bytes *b, bool usual, struct query *q);
} rows[] = {
	{ "DNS", 53, dns },	  { "PostgreSQL", 5432, postgres },
	{ "MySQL", 3306, mysql }, { "Redis", 6379, redis },
	{ "HTTP", 80, http },	  { "TLS", 443, tls },
};

const char *query_usual(uint16_t port)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].port == port)
			return rows[i].name;
	}
	return NULL;
}

/* What is usual at that port is asked first. */
bool query_read(const uint8_t *bytes, size_t len, uint16_t port, bool values, struct query *ret_query)
{
	const struct bytes b = { bytes, len, values };

	for (int usual = 1; usual >= 0; usual--) {
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct query q = { .protocol = rows[i].name };

			if ((rows[i].port == port) != usual || !rows[i].read(&b, usual, &q))
				continue;
			*ret_query = q;
			return true;
		}
	}
	return false;
}
