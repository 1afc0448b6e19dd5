// SPDX-License-Identifier: MIT
/* The tables. Only entries of functions and USDT, never returns: a return probe is a
 * system call since 6.11, which a seccomp filter may answer by killing the server.
 *
 * Of libpq the asynchronous functions alone: the synchronous ones call them, so each
 * statement is there once. Rejected: php's function__entry below 'verbose' (as
 * compile__file and error it is there only when PHP started with USE_ZEND_DTRACE=1,
 * and hot then), Python's (3.11 has returns
 * without entries). Trap: nginx and Apache are
 * stripped; what can be probed is what they export for their modules. */
#include "profile.h"

#include "incident.h"

#include <ctype.h>
#include <string.h>

static const struct {
	const char *name;
	enum level usual, most;
} area_rows[AREA_COUNT] = {
	[AREA_SOCKET] = { "socket", LEVEL_INFO, LEVEL_INFO },
	[AREA_UPSTREAM] = { "upstream", LEVEL_INFO, LEVEL_INFO },
	[AREA_LOCK] = { "lock", LEVEL_WARNING, LEVEL_WARNING }, /* waits alone */
	[AREA_FILE] = { "file", LEVEL_WARNING, LEVEL_INFO },
	[AREA_PROCESS] = { "process", LEVEL_WARNING, LEVEL_INFO },
	[AREA_FAULT] = { "fault", LEVEL_WARNING, LEVEL_WARNING },
	[AREA_MARK] = { "mark", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_PHP] = { "php", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_PYTHON] = { "python", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_QUERY] = { "query", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_DNS] = { "dns", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_NGINX] = { "nginx", LEVEL_OFF, LEVEL_VERBOSE },
	[AREA_APACHE] = { "apache", LEVEL_OFF, LEVEL_VERBOSE },
};

static const char *level_name(enum level level)
{
	return level == LEVEL_OFF ? "off" : severity_name(level - LEVEL_OFF);
}

#define INFO SEVERITY_INFO
#define HOT SEVERITY_VERBOSE
#define FUNCTION(area, severity, object, symbol, label, ...)                         \
	{                                                                            \
		area, severity, object, NULL, symbol, label, HOW_MOMENT, __VA_ARGS__ \
	}
#define USDT(area, severity, object, provider, symbol, label, ...)           \
	{                                                                    \
		area, severity, object, provider, symbol, label, __VA_ARGS__ \
	}
#define NGINX(severity, symbol, label, ...) \
	FUNCTION(AREA_NGINX, severity, "nginx*", "ngx_http_" symbol, label, __VA_ARGS__)
#define APACHE(severity, symbol, label) FUNCTION(AREA_APACHE, severity, "apache2*", "ap_" symbol, label, 0, 0, 0)
#define PHP(severity, symbol, label, ...) USDT(AREA_PHP, severity, "*php*", "php", symbol, label, __VA_ARGS__)
#define PYTHON(severity, symbol, label, ...) \
	USDT(AREA_PYTHON, severity, "*python3*", "python", symbol, label, __VA_ARGS__)

const struct profile_row profile_rows[] = {
	/* of tracepoints, for their words: in no file */
	[PROFILE_ROW_FILE] = FUNCTION(AREA_FILE, INFO, "", "", "open, rename or unlink of", 1, 1, 0),
	[PROFILE_ROW_FORK] = FUNCTION(AREA_PROCESS, INFO, "", "", "forked", 0, 1, 0),

	USDT(AREA_MARK, SEVERITY_CRITICAL, "*", "reqtrap", "mark", "mark", HOW_MOMENT, 2, 3, 0),
	USDT(AREA_MARK, INFO, "*", "reqtrap", "begin", "span", HOW_BEGIN, 2, 3, 0),
	USDT(AREA_MARK, INFO, "*", "reqtrap", "end", "span", HOW_END, 0, 0, 0),

	PHP(INFO, "request__startup", "script", HOW_BEGIN, 1, 0, 0),
	PHP(INFO, "request__shutdown", "script", HOW_END, 0, 0, 0),
	PHP(SEVERITY_ERROR, "error", "error", HOW_MOMENT, 1, 3, 0),
	PHP(SEVERITY_WARNING, "exception__thrown", "exception thrown", HOW_MOMENT, 1, 0, 0),
	PHP(INFO, "exception__caught", "exception caught", HOW_MOMENT, 0, 0, 0), /* its text is garbage */
	PHP(INFO, "compile__file__entry", "compile", HOW_BEGIN, 1, 0, 0),
	PHP(INFO, "compile__file__return", "compile", HOW_END, 0, 0, 0),
	PHP(HOT, "function__entry", "function", HOW_BEGIN, 1, 3, 0),
	PHP(HOT, "function__return", "function", HOW_END, 0, 0, 0),

	PYTHON(INFO, "gc__start", "garbage collection, generation", HOW_BEGIN, 0, 1, 0),
	PYTHON(INFO, "gc__done", "garbage collection", HOW_END, 0, 0, 0),
	PYTHON(INFO, "import__find__load__start", "import", HOW_BEGIN, 1, 0, 0),
	PYTHON(INFO, "import__find__load__done", "import", HOW_END, 0, 0, 0),

	FUNCTION(AREA_QUERY, INFO, "libpq.so*", "PQsendQuery", "query", 2, 0, 0),
	FUNCTION(AREA_QUERY, INFO, "libpq.so*", "PQsendQueryParams", "query", 2, 0, 0),
	FUNCTION(AREA_QUERY, INFO, "libpq.so*", "PQsendPrepare", "prepare", 3, 0, 0),
	FUNCTION(AREA_QUERY, INFO, "libpq.so*", "PQsendQueryPrepared", "prepared query", 2, 0, 0),
	FUNCTION(AREA_QUERY, INFO, "libmariadb.so*", "mysql_real_query", "query", 2, 0, 3),
	FUNCTION(AREA_QUERY, INFO, "libmariadb.so*", "mysql_send_query", "query", 2, 0, 3),
	FUNCTION(AREA_QUERY, INFO, "libmariadb.so*", "mysql_stmt_prepare", "prepare", 2, 0, 3),

	FUNCTION(AREA_DNS, INFO, "libc.so.6", "getaddrinfo", "look-up of", 1, 0, 0),
	FUNCTION(AREA_DNS, INFO, "libc.so.6", "gethostbyname_r", "look-up of", 1, 0, 0),
	FUNCTION(AREA_DNS, INFO, "libc.so.6", "gethostbyname", "look-up of", 1, 0, 0),

	NGINX(INFO, "process_request", "request processing begins", 0, 0, 0),
	NGINX(INFO, "upstream_init", "upstream begins", 0, 0, 0),
	NGINX(INFO, "send_header", "response head", 0, 0, 0),
	NGINX(INFO, "finalize_request", "finalize, result", 0, 2, 0),
	NGINX(HOT, "core_rewrite_phase", "rewrite phase", 0, 0, 0),
	NGINX(HOT, "core_generic_phase", "next phase", 0, 0, 0),
	NGINX(HOT, "core_access_phase", "access phase", 0, 0, 0),
	NGINX(HOT, "core_content_phase", "content phase", 0, 0, 0),
	NGINX(HOT, "output_filter", "output filters", 0, 0, 0),

	APACHE(INFO, "run_post_read_request", "request read"),
	APACHE(INFO, "run_handler", "content handler"),
	APACHE(INFO, "run_log_transaction", "logging"),
	APACHE(HOT, "run_quick_handler", "quick handler"),
	APACHE(HOT, "run_translate_name", "URL to file name"),
	APACHE(HOT, "run_map_to_storage", "map to storage"),
	APACHE(HOT, "run_access_checker", "access check"),
	APACHE(HOT, "run_check_user_id", "authentication"),
	APACHE(HOT, "run_type_checker", "type check"),
	APACHE(HOT, "run_fixups", "fixups"),
	APACHE(HOT, "run_insert_filter", "filters"),
};
const size_t profile_row_count = ARRAY_LEN(profile_rows);
_Static_assert(ARRAY_LEN(profile_rows) < 64, "a bit of a word for each");

const char *area_name(enum area area)
{
	return area_rows[area].name;
}

static int find(const char *const *names, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i]) == len && strncmp(names[i], word, len) == 0)
			return (int)i;
	}
	return -1;
}

static int parse_one(const char *word, size_t len, struct areas *areas, struct err *err)
{
	const char *names[AREA_COUNT + 1], *levels[LEVEL_VERBOSE];
	size_t stem = strcspn(word, "=, \t");
	int area, level = LEVEL_INFO;

	for (size_t i = 0; i < AREA_COUNT; i++)
		names[i] = area_rows[i].name;
	names[AREA_COUNT] = "app";
	for (enum level l = LEVEL_OFF; l <= LEVEL_VERBOSE; l++)
		levels[l - LEVEL_OFF] = level_name(l);
	area = find(names, ARRAY_LEN(names), word, stem);
	if (area < 0)
		return err_say(err, -EINVAL,
			       "'%.*s' is not an area (socket, upstream, lock, file, process, fault; in the target: "
			       "mark, php, python, query, dns, nginx, apache, or app for all of these)",
			       (int)stem, word);
	if (stem < len)
		level = find(levels, ARRAY_LEN(levels), word + stem + 1, len - stem - 1) + LEVEL_OFF;
	if (level < LEVEL_OFF)
		return err_say(err, -EINVAL,
			       "'%.*s': after '=' stands off, critical, error, warning, information or verbose",
			       (int)len, word);
	if (area < AREA_APP && stem == len)
		level = area_rows[area].most;
	if (area < AREA_APP && level > (int)area_rows[area].most)
		return err_say(err, -EINVAL, "'%.*s': area '%s' has no more detail than '%s'", (int)len, word,
			       area_rows[area].name, level_name(area_rows[area].most));
	for (int i = area == AREA_COUNT ? AREA_APP : area; i <= (area == AREA_COUNT ? AREA_COUNT - 1 : area); i++)
		areas->level[i] = (uint8_t)level;
	return 0;
}

int areas_parse(const char *text, struct areas *areas, struct err *err)
{
	struct areas parsed = *areas;
	const char *p = text;
	int r;

	for (;;) {
		size_t len;

		p += strspn(p, " \t");
		len = strcspn(p, ", \t");
		r = parse_one(p, len, &parsed, err);
		if (r < 0)
			return r;
		p += len;
		p += strspn(p, " \t");
		if (!*p)
			break;
		if (*p++ != ',')
			return err_say(err, -EINVAL, "'%s': a comma must stand between two areas", text);
	}
	*areas = parsed;
	return 0;
}

void areas_format(const struct areas *areas, struct buf *out)
{
	const char *comma = "";

	for (size_t i = 0; i < AREA_COUNT; i++) {
		if (areas->level[i] == LEVEL_UNSAID)
			continue;
		buf_addf(out, "%s%s=%s", comma, area_rows[i].name, level_name(areas->level[i]));
		comma = ",";
	}
}

enum severity severity_of(const char *name)
{
	for (enum severity s = SEVERITY_CRITICAL; s <= SEVERITY_VERBOSE; s++) {
		if (!strcmp(name, severity_name(s)))
			return s;
	}
	return SEVERITY_NONE;
}

static enum level level_of(const struct areas *areas, enum area area)
{
	enum level level = areas->level[area];

	return level == LEVEL_UNSAID ? area_rows[area].usual : level;
}

void areas_join(struct areas *areas, const struct areas *other)
{
	for (enum area i = 0; i < AREA_COUNT; i++)
		areas->level[i] = (uint8_t)MAX(level_of(areas, i), level_of(other, i));
}

void areas_mark(struct areas *areas, enum severity severity)
{
	if (severity)
		areas->level[AREA_MARK] = (uint8_t)MAX((int)level_of(areas, AREA_MARK), (int)severity + LEVEL_OFF);
}

enum severity areas_least(const struct areas *areas, enum area area)
{
	return (enum severity)(level_of(areas, area) - LEVEL_OFF);
}

bool areas_want_programs(const struct areas *areas)
{
	for (enum area i = 0; i < AREA_COUNT; i++) {
		enum severity least = areas_least(areas, i);

		if (i >= AREA_APP ? least != SEVERITY_NONE
				  : (i == AREA_FILE || i == AREA_PROCESS) && least >= SEVERITY_INFO)
			return true;
	}
	return false;
}

/* ---- statements ---- */

static const char *skip_quoted(const char *p)
{
	char quote = *p++;

	while (*p) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
		p++;
	}
	return p;
}

/* $tag$ ... $tag$ of PostgreSQL; NULL: not one. */
static const char *skip_dollars(const char *p)
{
	size_t tag = 1;
	const char *end;

	while (isalnum((unsigned char)p[tag]) || p[tag] == '_')
		tag++;
	if (p[tag] != '$' || isdigit((unsigned char)p[1]))
		return NULL;
	tag++;
	for (end = p + tag; *end; end++) {
		if (strncmp(end, p, tag) == 0)
			return end + tag;
	}
	return end;
}

void profile_mask(const char *sql, char *buf, size_t size)
{
	size_t len = 0;
	bool word = false; /* inside a name: its digits stay */

	for (const char *p = sql; *p && len + 1 < size;) {
		const char *after = *p == '\'' || *p == '"' ? skip_quoted(p)
				    : *p == '$' && !word    ? skip_dollars(p)
							    : NULL;

		if (!after && isdigit((unsigned char)*p) && !word) {
			after = p + strspn(p, "0123456789abcdefABCDEFxX.");
		}
		if (after) {
			buf[len++] = '?';
			p = after;
			word = false;
			continue;
		}
		word = isalnum((unsigned char)*p) || *p == '_' || *p == '$' || (unsigned char)*p >= 0x80;
		buf[len++] = *p++;
	}
	buf[len] = '\0';
}
