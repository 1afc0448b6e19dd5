// SPDX-License-Identifier: MIT
/* Tokens and statements, nothing else. Rejected: asking libconfuse to skip unknown
 * keys (it cannot skip a titled section, and would say nothing). Trap: libconfuse
 * drops a bare '*' or '+', cuts a string at \0 and takes ${NAME} from the
 * environment; each of them is a problem here. */
#include "config_scan.h"

#include "options.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#define DEPTH_MAX 4
#define KEYS_MAX 64 /* statements of one section that are remembered for doubles */

enum token_type { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_SIGN, TOKEN_BROKEN };

struct token {
	enum token_type type;
	char sign;   /* '=' also for '+=' */
	bool append; /* '+=' */
	size_t start, end;
	unsigned int line;
};

struct scan {
	char *text;
	size_t len, at;
	unsigned int line;
	bool broken;
	const struct config_scan_calls *calls;
};

static void complain(struct scan *s, unsigned int line, const char *fmt, ...) PRINTF(3, 4);
static void complain(struct scan *s, unsigned int line, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->calls->problem(s->calls->arg, line, text);
}

static void blank(struct scan *s, size_t start, size_t end)
{
	for (size_t i = start; i < end; i++) {
		if (s->text[i] != '\n')
			s->text[i] = ' ';
	}
}

/* Nothing makes sense from 'at' on: libconfuse, which would print pieces of it to
 * standard output, does not get to see it. */
static void complain_broken(struct scan *s, unsigned int line, size_t at, const char *text)
{
	s->broken = true;
	complain(s, line, "%s", text);
	blank(s, at, s->len);
}

/* Blanks and comments. False: a comment that never ends. */
static bool skip_space(struct scan *s)
{
	while (s->at < s->len) {
		const char *p = s->text + s->at;
		size_t left = s->len - s->at;
		unsigned int opened = s->line;

		if (isspace((unsigned char)*p)) {
			s->line += *p == '\n';
			s->at++;
		} else if (*p == '#' || (left > 1 && p[0] == '/' && p[1] == '/')) {
			while (s->at < s->len && s->text[s->at] != '\n')
				s->at++;
		} else if (left > 1 && p[0] == '/' && p[1] == '*') {
			const char *end = memmem(p + 2, left - 2, "*/", 2);

			if (!end) {
				complain_broken(s, opened, s->at,
						"a comment begins here and never ends (a path with '*' needs "
						"quotes: \"/*\")");
				return false;
			}
			for (; p < end + 2; p++, s->at++)
				s->line += *p == '\n';
		} else {
			break;
		}
	}
	return true;
}

/* What libconfuse would make of a backslash or '$' in a double-quoted string. */
static void check_escape(struct scan *s)
{
	const char *p = s->text + s->at;
	size_t left = s->len - s->at;

	if (left > 1 && p[0] == '$' && p[1] == '{') {
		complain(s, s->line, "'${' is not replaced by anything here: put a backslash before it");
		s->text[s->at] = ' ';
	}
	if (left > 2 && p[0] == '\\' && p[1] == 'x' && p[2] == '0' &&
	    !(left > 3 && isxdigit((unsigned char)p[3]) && p[3] != '0')) {
		complain(s, s->line, "a text cannot hold a NUL byte");
		s->text[s->at + 2] = '1';
	} else if (left > 1 && p[0] == '\\' && p[1] == '0') {
		size_t digits = strspn(p + 1, "01234567"), zeros = strspn(p + 1, "0");

		if (MIN(digits, 3u) == MIN(zeros, 3u)) {
			complain(s, s->line, "a text cannot hold a NUL byte");
			s->text[s->at + 1] = '1';
		}
	}
}

/* Over the end of a line a quote is always a forgotten one, and only so its own line
 * is told: libconfuse would go on to the next quote, somewhere. */
static struct token take_string(struct scan *s)
{
	struct token t = { .type = TOKEN_STRING, .start = s->at, .line = s->line };
	char quote = s->text[s->at++];

	for (; s->at < s->len && s->text[s->at] != '\n'; s->at++) {
		if (s->text[s->at] == quote) {
			t.end = ++s->at;
			return t;
		}
		if (quote == '"')
			check_escape(s);
		if (s->text[s->at] == '\\' && s->at + 1 < s->len && s->text[s->at + 1] != '\n')
			s->at++;
	}
	complain_broken(s, s->line, t.start, "a quote is opened here and not closed in this line");
	t.type = TOKEN_BROKEN;
	return t;
}

static struct token take_word(struct scan *s)
{
	struct token t = { .type = TOKEN_WORD, .start = s->at, .line = s->line };
	bool told = false;

	while (s->at < s->len) {
		char c = s->text[s->at];

		if (isspace((unsigned char)c) || strchr("\"'#(){}=,", c))
			break;
		if (c == '+' && s->at + 1 < s->len && s->text[s->at + 1] == '=')
			break;
		s->at++;
		if (c != '*' && c != '+')
			continue;
		if (!told)
			complain(s, s->line, "'%c' needs quotes around the whole text: \"...%c...\"", c, c);
		told = true;
		s->text[s->at - 1] = 'x'; /* libconfuse would drop it */
	}
	t.end = s->at;
	return t;
}

static struct token take(struct scan *s)
{
	struct token t = { .type = TOKEN_BROKEN };
	char c;

	if (s->broken || !skip_space(s))
		return t;
	t = (struct token){ .type = TOKEN_END, .start = s->at, .end = s->at, .line = s->line };
	if (s->at >= s->len)
		return t;
	c = s->text[s->at];
	if (c == '"' || c == '\'')
		return take_string(s);
	if (c == '+' && s->at + 1 < s->len && s->text[s->at + 1] == '=') {
		t.append = true;
		s->at++;
		c = '=';
	}
	if (!strchr("(){}=,", c))
		return take_word(s);
	t.type = TOKEN_SIGN;
	t.sign = c;
	t.end = ++s->at;
	return t;
}

static bool is_text(const struct token *t)
{
	return t->type == TOKEN_WORD || t->type == TOKEN_STRING;
}

static bool is_sign(const struct token *t, char sign)
{
	return t->type == TOKEN_SIGN && t->sign == sign;
}

/* The token's text without its quotes. */
static void token_text(const struct scan *s, const struct token *t, char *buf, size_t size)
{
	size_t quote = t->type == TOKEN_STRING;

	snprintf(buf, size, "%.*s", (int)MIN(t->end - t->start - 2 * quote, size - 1), s->text + t->start + quote);
}

/* 'timeTaken' and 'time_taken' are 'time-taken' to people who come from elsewhere. */
static void plain_spelling(const char *name, char *buf, size_t size)
{
	size_t n = 0;

	for (; *name && n + 3 < size; name++) {
		if (isupper((unsigned char)*name) && n > 0 && islower((unsigned char)name[-1]))
			buf[n++] = '-';
		buf[n++] = *name == '_' ? '-' : (char)tolower((unsigned char)*name);
	}
	buf[n] = '\0';
}

static bool knows_key(const struct config_section *section, const char *name)
{
	for (const char *const *key = section->keys; *key; key++) {
		if (strcmp(*key, name) == 0)
			return true;
	}
	return false;
}

static const struct config_section *find_section(const struct config_section *in, const char *name)
{
	for (size_t i = 0; in && in->sections && in->sections[i]; i++) {
		if (strcmp(in->sections[i]->name, name) == 0)
			return in->sections[i];
	}
	return NULL;
}

static void complain_unknown(struct scan *s, const struct config_section *top, const struct config_section *in,
			     const struct token *t, const char *name, bool is_section)
{
	const char *names[64], *near;
	char plain[128];
	size_t count = 0;

	plain_spelling(name, plain, sizeof(plain));
	for (const char *const *key = in->keys; !is_section && *key && count < ARRAY_LEN(names); key++)
		names[count++] = *key;
	for (size_t i = 0; in->sections && in->sections[i] && count < ARRAY_LEN(names); i++)
		names[count++] = in->sections[i]->name;
	near = did_you_mean(plain, names, count);
	if (near) {
		complain(s, t->line, "no such %s '%s' (did you mean '%s'?)", is_section ? "section" : "option", name,
			 near);
		return;
	}
	for (size_t i = 0; !is_section && top->sections[i]; i++) {
		if (in != top->sections[i] && knows_key(top->sections[i], plain)) {
			complain(s, t->line, "'%s' belongs into a '%s' section", name, top->sections[i]->name);
			return;
		}
	}
	if (!is_section && in != top && knows_key(top, plain)) {
		complain(s, t->line, "'%s' belongs to the top of the file, outside of '%s'", name, in->name);
		return;
	}
	complain(s, t->line, "no such %s '%s'%s%s%s", is_section ? "section" : "option", name, in->name ? " in '" : "",
		 in->name ? in->name : "", in->name ? "'" : "");
}

/* A single value or a '{list}'. False: neither, libconfuse will say what. */
static bool skip_value(struct scan *s, const char *name)
{
	struct token t = take(s);
	bool empty = true;

	if (is_text(&t))
		return true;
	if (!is_sign(&t, '{'))
		return false;
	for (;;) {
		t = take(s);
		if (is_sign(&t, '}') && empty)
			complain(s, t.line, "%s: the list is empty", name);
		if (is_sign(&t, '}'))
			return true;
		if (!is_text(&t) && !is_sign(&t, ','))
			return false;
		empty = false;
	}
}

struct seen {
	char name[80];
	size_t title_at, title_len; /* in the text */
	unsigned int line;
};

/* Remembers it; complains when it is there already. 'title' NULL: a key. */
static bool is_double(struct scan *s, struct seen *seen, size_t *count, const char *name, const struct token *title,
		      unsigned int line)
{
	size_t quote = title && title->type == TOKEN_STRING;
	size_t at = title ? title->start + quote : 0, len = title ? title->end - title->start - 2 * quote : 0;

	for (size_t i = 0; i < *count; i++) {
		if (strcmp(seen[i].name, name) != 0 || seen[i].title_len != len ||
		    memcmp(s->text + seen[i].title_at, s->text + at, len) != 0)
			continue;
		complain(s, line,
			 title ? "'%s \"%.*s\"' is given twice (first in line %u)"
			       : "'%s%.*s' is given twice (first in line %u)",
			 name, (int)MIN(len, 100u), s->text + at, seen[i].line);
		return true;
	}
	if (*count < KEYS_MAX) {
		struct seen *one = &seen[(*count)++];

		snprintf(one->name, sizeof(one->name), "%s", name);
		one->title_at = at;
		one->title_len = len;
		one->line = line;
	}
	return false;
}

static bool scan_section(struct scan *s, const struct config_section *top, const struct config_section *in,
			 unsigned int opened, int depth);

/* NAME ['TITLE'] '{' ... '}'; 'next' is what came after the name. */
static bool scan_subsection(struct scan *s, const struct config_section *top, const struct config_section *in,
			    const struct token *name_token, const char *name, struct token next, struct seen *seen,
			    size_t *seen_count, int depth)
{
	const struct config_section *section = find_section(in, name);
	bool titled = is_text(&next), told = false;
	struct token title = next;

	if (titled)
		next = take(s);
	if (!is_sign(&next, '{') || depth == DEPTH_MAX)
		return false;
	if (in && !section) {
		complain_unknown(s, top, in, name_token, name, true);
		told = true;
	} else if (section && section->titled != titled) {
		complain(s, name_token->line,
			 section->titled ? "a '%s' needs a name: %s \"name\" {" : "'%s' takes no name: %s {", name,
			 name);
		told = true;
	} else if (section) {
		told = is_double(s, seen, seen_count, name, titled ? &title : NULL, name_token->line);
	}
	if (section && !told)
		s->calls->section(s->calls->arg, name_token->line, section);
	if (!scan_section(s, top, section, name_token->line, depth + 1))
		return false;
	if (told)
		blank(s, name_token->start, s->at);
	return true;
}

/* Statements up to '}' or the end. 'in' NULL: an unknown section, only its extent
 * counts. False: stopped at something that libconfuse will complain about. */
static bool scan_section(struct scan *s, const struct config_section *top, const struct config_section *in,
			 unsigned int opened, int depth)
{
	struct seen seen[KEYS_MAX];
	size_t seen_count = 0;

	for (;;) {
		struct token t = take(s), next;
		char name[80];
		bool told = false;

		if (t.type == TOKEN_END && depth > 0) {
			complain_broken(s, opened, s->len, "a section begins here and is never closed: '}' is missing");
			return false;
		}
		if (t.type == TOKEN_END || (is_sign(&t, '}') && depth > 0))
			return true;
		if (!is_text(&t))
			return false;
		token_text(s, &t, name, sizeof(name));
		next = take(s);
		if (!is_sign(&next, '=')) {
			if (!scan_subsection(s, top, in, &t, name, next, seen, &seen_count, depth))
				return false;
			continue;
		}
		if (!skip_value(s, name))
			return false;
		if (in && !knows_key(in, name)) {
			complain_unknown(s, top, in, &t, name, false);
			told = true;
		} else if (in && !next.append) {
			told = is_double(s, seen, &seen_count, name, NULL, t.line);
		}
		if (told)
			blank(s, t.start, s->at);
	}
}

bool config_scan(const struct config_section *top, char *text, size_t len, const struct config_scan_calls *calls)
{
	struct scan s = { .text = text, .len = len, .line = 1, .calls = calls };

	scan_section(&s, top, top, 1, 0);
	return !s.broken;
}
