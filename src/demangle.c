// SPDX-License-Identifier: MIT
/* The part of the Itanium C++ ABI's grammar that function names are made of. Types are
 * only skipped, so substitutions need no table. Rejected: __cxa_demangle (a C++ runtime
 * in a process that parses hostile names; and parameters that fill the page). Trap:
 * digits are a length before a name, but a value inside a literal. */
#include "demangle.h"

#include <ctype.h>
#include <string.h>

#define NEST_MAX 64

struct state {
	const char *p;
	char out[512];
	size_t len;
	size_t last, last_len; /* the name before, which a constructor repeats */
};

static bool put(struct state *s, const char *text, size_t len)
{
	if (len >= sizeof(s->out) - s->len)
		return false;
	memcpy(s->out + s->len, text, len);
	s->len += len;
	return true;
}

static bool put_part(struct state *s, const char *text, size_t len)
{
	if (s->len && !put(s, "::", 2))
		return false;
	s->last = s->len;
	s->last_len = len;
	return put(s, text, len);
}

/* A length and as many bytes. */
static bool source_name(const char **p, const char **ret_text, size_t *ret_len)
{
	size_t len = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++) {
		len = len * 10 + (size_t)(**p - '0');
		if (len > 1000)
			return false;
	}
	if (strnlen(*p, len) < len)
		return false;
	*ret_text = *p;
	*ret_len = len;
	*p += len;
	return true;
}

/* 'S_', 'S1_', 'T_', 'St' ... with *p at what follows the letter. */
static bool skip_reference(const char **p)
{
	if (islower((unsigned char)**p)) {
		(*p)++;
		return true;
	}
	while (isdigit((unsigned char)**p) || isupper((unsigned char)**p))
		(*p)++;
	if (**p != '_')
		return false;
	(*p)++;
	return true;
}

/* 'I...E', with *p behind the 'I'. */
static bool skip_arguments(const char **p)
{
	for (int depth = 1; depth > 0;) {
		const char *text;
		size_t len;
		char c = **p;

		if (c == '\0' || depth > NEST_MAX)
			return false;
		if (isdigit((unsigned char)c)) {
			if (!source_name(p, &text, &len))
				return false;
			continue;
		}
		(*p)++;
		switch (c) {
		case 'I':
		case 'N':
		case 'F':
		case 'X':
		case 'J':
			depth++;
			break;
		case 'E':
			depth--;
			break;
		case 'S':
		case 'T':
			if (!skip_reference(p))
				return false;
			break;
		case 'L': /* a literal: all up to its 'E' */
			if (strncmp(*p, "_Z", 2) == 0)
				return false;
			while (**p && **p != 'E')
				(*p)++;
			if (**p)
				(*p)++;
			break;
		case 'D':
			if (**p)
				(*p)++;
			break;
		default:
			break;
		}
	}
	return true;
}

static const struct {
	char code[3];
	const char *name;
} operators[] = {
	{ "cl", "operator()" }, { "ix", "operator[]" }, { "eq", "operator==" },	  { "ne", "operator!=" },
	{ "lt", "operator<" },	{ "gt", "operator>" },	{ "ls", "operator<<" },	  { "rs", "operator>>" },
	{ "pl", "operator+" },	{ "mi", "operator-" },	{ "aS", "operator=" },	  { "pL", "operator+=" },
	{ "de", "operator*" },	{ "pt", "operator->" }, { "nw", "operator new" }, { "dl", "operator delete" },
	{ "le", "operator<=" }, { "ge", "operator>=" }, { "pp", "operator++" },	  { "mm", "operator--" },
};

/* One part of a name; false at what is not one. */
static bool part(struct state *s)
{
	static const char anonymous[] = "(anonymous namespace)";
	const char *text;
	size_t len;

	while (*s->p == 'L') /* seen from this file only */
		s->p++;
	if (isdigit((unsigned char)*s->p)) {
		if (!source_name(&s->p, &text, &len))
			return false;
		if (len >= 10 && !strncmp(text, "_GLOBAL__N", 10))
			return put_part(s, anonymous, sizeof(anonymous) - 1);
		return put_part(s, text, len);
	}
	if (s->p[0] == 'S' && s->p[1] == 't') {
		s->p += 2;
		return put_part(s, "std", 3);
	}
	if ((s->p[0] == 'C' || s->p[0] == 'D') && isdigit((unsigned char)s->p[1]) && s->last_len) {
		char name[sizeof(s->out)];
		size_t n = 0;

		if (s->p[0] == 'D')
			name[n++] = '~';
		len = MIN(s->last_len, sizeof(name) - 1);
		memcpy(name + n, s->out + s->last, len);
		s->p += 2;
		return put_part(s, name, n + len);
	}
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		if (strncmp(s->p, operators[i].code, 2))
			continue;
		s->p += 2;
		return put_part(s, operators[i].name, strlen(operators[i].name));
	}
	return false;
}

static bool part_with_tail(struct state *s)
{
	const char *text;
	size_t len;

	if (!part(s))
		return false;
	while (*s->p == 'B') { /* ABI tags */
		s->p++;
		if (!source_name(&s->p, &text, &len))
			return false;
	}
	if (*s->p != 'I')
		return true;
	s->p++;
	return skip_arguments(&s->p);
}

bool demangle(const char *name, char *buf, size_t size)
{
	struct state s = { 0 };

	if (strncmp(name, "_Z", 2))
		return false;
	s.p = name + 2;
	while (*s.p == 'L')
		s.p++;
	if (*s.p == 'N') {
		s.p += 1 + strspn(s.p + 1, "rVKRO");
		while (*s.p != 'E') {
			if (!part_with_tail(&s))
				return false;
		}
	} else {
		bool std = s.p[0] == 'S' && s.p[1] == 't';

		if (!part_with_tail(&s) || (std && !part_with_tail(&s)))
			return false;
	}
	if (s.len == 0 || s.len >= size)
		return false;
	memcpy(buf, s.out, s.len);
	buf[s.len] = '\0';
	return true;
}
