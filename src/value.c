// SPDX-License-Identifier: MIT
/* Values as people write them. Rejected: strtoul and its kin (blanks, signs and half a
 * number pass). Trap: globs meet a request's text, which is hostile: they must stay
 * linear in memory and never recurse. */
#include "value.h"

#include "ktime.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

#define DURATION_MAX_NS (366ull * 86400 * NSEC_PER_SEC)
#define STATUS_MIN 100
#define STATUS_MAX 999

static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "ns", 1 },
	{ "us", NSEC_PER_USEC },
	{ "ms", NSEC_PER_MSEC },
	{ "s", NSEC_PER_SEC },
	{ "m", 60 * NSEC_PER_SEC },
	{ "h", 3600 * NSEC_PER_SEC },
	{ "d", 86400 * NSEC_PER_SEC },
};

static const struct capture_name {
	const char *name;
	uint32_t bit;
} capture_names[] = {
	{ "trace", CAPTURE_TRACE },
	{ "stacks", CAPTURE_STACKS },
	{ "mini", CAPTURE_MINI },
	{ "full", CAPTURE_FULL },
};

/* Decimal digits; false on none, or on overflow. */
static bool take_number(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t n = 0;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++) {
		if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	*at = p;
	*ret = n;
	return true;
}

static bool parse_clock(const char *text, uint64_t *ret_ns)
{
	uint64_t h, m, s;

	if (!take_number(&text, &h) || *text++ != ':' || !take_number(&text, &m) || *text++ != ':' ||
	    !take_number(&text, &s) || *text)
		return false;
	if (h > 24 * 366 || m > 59 || s > 59)
		return false;
	*ret_ns = (h * 3600 + m * 60 + s) * NSEC_PER_SEC;
	return true;
}

static bool parse_with_unit(const char *text, uint64_t *ret_ns)
{
	uint64_t whole, fraction = 0, scale = 1, ns;
	unsigned __int128 part;

	if (!take_number(&text, &whole))
		return false;
	if (*text == '.') {
		const char *start = ++text;

		if (!take_number(&text, &fraction) || text - start > 9)
			return false;
		for (const char *p = start; p < text; p++)
			scale *= 10;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		if (whole > DURATION_MAX_NS / units[i].ns)
			return false;
		part = (unsigned __int128)fraction * units[i].ns;
		ns = whole * units[i].ns + (uint64_t)(part / scale);
		if (part % scale || ns > DURATION_MAX_NS) /* '1.5ns' */
			return false;
		*ret_ns = ns;
		return true;
	}
	return false;
}

int parse_duration(const char *text, uint64_t *ret_ns, struct err *err)
{
	const char *p = text;
	uint64_t n;

	if (parse_clock(text, ret_ns) || parse_with_unit(text, ret_ns))
		return 0;
	if (take_number(&p, &n) && !*p)
		return err_say(err, -EINVAL, "'%s' is not a duration: it needs a unit (try %ss or %sms)", text, text,
			       text);
	return err_say(err, -EINVAL, "'%s' is not a duration (try 500ms, 2s, 1m or 00:01:30; at most 366d)", text);
}

int parse_size(const char *text, uint64_t *ret_bytes, struct err *err)
{
	static const char letters[] = "KMGT";
	const char *p = text, *letter;
	uint64_t n;

	if (take_number(&p, &n) && *p && !p[1]) {
		letter = strchr(letters, toupper((unsigned char)*p));
		if (letter) {
			unsigned int shift = 10 * (unsigned int)(letter - letters + 1);

			if (n <= (uint64_t)INT64_MAX >> shift) {
				*ret_bytes = n << shift;
				return 0;
			}
		}
	}
	return err_say(err, -EINVAL, "'%s' is not a size (try 64K, 512M or 5G; K = 1024 bytes)", text);
}

int parse_space(const char *text, uint64_t *ret_bytes, uint32_t *ret_percent, struct err *err)
{
	uint64_t bytes = 0, percent = 0;
	const char *p = text;

	if (take_number(&p, &percent) && !strcmp(p, "%")) {
		if (percent < 1 || percent > 99)
			return err_say(err, -EINVAL, "'%s' is not a part of a disk (try 10%%; 1%% to 99%%)", text);
	} else if (percent = 0, parse_size(text, &bytes, err) < 0) {
		return err_say(err, -EINVAL, "'%s' is neither a size nor a part of the disk (try 5G or 10%%)", text);
	}
	*ret_bytes = bytes;
	*ret_percent = (uint32_t)percent;
	return 0;
}

int parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	const char *p = text;
	uint64_t n;

	if (!take_number(&p, &n) || *p || n < min || n > max)
		return err_say(err, -EINVAL, "'%s' is not a number from %llu to %llu", text, (unsigned long long)min,
			       (unsigned long long)max);
	*ret = n;
	return 0;
}

static int bad_status(const char *text, const char *item, size_t len, struct err *err)
{
	if (memchr(item, '.', len))
		return err_say(err, -EINVAL, "'%.*s' is not a status: sub-statuses are IIS's own (try %.*s)", (int)len,
			       item, (int)((const char *)memchr(item, '.', len) - item), item);
	return err_say(err, -EINVAL, "'%s' is not a list of statuses (try 500-599 or 404,500-599; 100 to 999)", text);
}

int parse_status(const char *text, struct status_range *ret, size_t max, size_t *ret_count, struct err *err)
{
	struct status_range range[RULE_STATUS_MAX];
	const char *p = text;
	size_t count = 0;

	for (;;) {
		const char *item;
		uint64_t from, to;

		p += strspn(p, " \t");
		item = p;
		if (!take_number(&p, &from))
			return bad_status(text, item, strcspn(item, ", \t"), err);
		to = from;
		if (*p == '-') {
			p++;
			if (!take_number(&p, &to))
				return bad_status(text, item, strcspn(item, ", \t"), err);
		}
		p += strspn(p, " \t");
		if ((*p && *p != ',') || from < STATUS_MIN || to > STATUS_MAX)
			return bad_status(text, item, strcspn(item, ", \t"), err);
		if (from > to)
			return err_say(err, -EINVAL, "'%s': the range %llu-%llu runs backwards (try %llu-%llu)", text,
				       (unsigned long long)from, (unsigned long long)to, (unsigned long long)to,
				       (unsigned long long)from);
		if (count == MIN(max, ARRAY_LEN(range)))
			return err_say(err, -EINVAL, "'%s' has more than %zu statuses and ranges", text, count);
		range[count++] = (struct status_range){ .from = (uint16_t)from, .to = (uint16_t)to };
		if (!*p)
			break;
		p++;
	}
	memcpy(ret, range, count * sizeof(*range));
	*ret_count = count;
	return 0;
}

int parse_capture(const char *text, uint32_t *ret_bits, struct err *err)
{
	const char *p = text;
	uint32_t bits = 0;

	for (;;) {
		size_t len, i;

		p += strspn(p, " \t");
		len = strcspn(p, ", \t");
		for (i = 0; i < ARRAY_LEN(capture_names); i++) {
			if (strlen(capture_names[i].name) == len && strncmp(capture_names[i].name, p, len) == 0)
				break;
		}
		if (i == ARRAY_LEN(capture_names)) {
			return err_say(err, -EINVAL,
				       "'%.*s' is nothing to capture (try trace,stacks, or also mini or full)",
				       (int)len, p);
		}
		bits |= capture_names[i].bit;
		p += len;
		p += strspn(p, " \t");
		if (!*p)
			break;
		if (*p++ != ',')
			return err_say(err, -EINVAL, "'%s': a comma must stand between two captures", text);
	}
	if ((bits & CAPTURE_CORE) == CAPTURE_CORE)
		return err_say(err, -EINVAL, "'%s': mini or full, since one core is kept and full holds all of mini",
			       text);
	*ret_bits = bits;
	return 0;
}

int parse_limit(const char *text, uint32_t *ret_limit, uint64_t *ret_window_ns, struct err *err)
{
	const char *p = text;
	uint64_t n, window = 0;
	int code;

	if (!take_number(&p, &n) || (*p && *p != '/') || n > RULE_LIMIT_MAX)
		return err_say(err, -EINVAL, "'%s' is not a limit (try 50, or 10/1h for ten in an hour; at most %u)",
			       text, RULE_LIMIT_MAX);
	if (*p == '/') {
		code = parse_duration(p + 1, &window, err);
		if (code < 0)
			return code;
		if (window == 0)
			return err_say(err, -EINVAL, "'%s': a window must be longer than 0 (try 10/1h)", text);
	}
	*ret_limit = (uint32_t)n;
	*ret_window_ns = window;
	return 0;
}

void format_duration(uint64_t ns, char *buf, size_t size)
{
	size_t i = ARRAY_LEN(units);

	while (--i > 0 && (ns == 0 || ns % units[i].ns != 0))
		;
	if (ns == 0)
		snprintf(buf, size, "0s");
	else
		snprintf(buf, size, "%llu%s", (unsigned long long)(ns / units[i].ns), units[i].name);
}

void format_size(uint64_t bytes, char *buf, size_t size)
{
	static const char letters[] = "KMGT";
	unsigned int i = 0;

	bytes >>= 10;
	while (i < 3 && bytes && !(bytes & 1023)) {
		bytes >>= 10;
		i++;
	}
	snprintf(buf, size, "%llu%c", (unsigned long long)bytes, letters[i]);
}

void format_status(const struct status_range *status, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct status_range *r = &status[i];

		buf_addf(out, "%s%u", i ? "," : "", r->from);
		if (r->to != r->from)
			buf_addf(out, "-%u", r->to);
	}
}

void format_capture(uint32_t bits, struct buf *out)
{
	const char *comma = "";

	for (size_t i = 0; i < ARRAY_LEN(capture_names); i++) {
		if (!(bits & capture_names[i].bit))
			continue;
		buf_addf(out, "%s%s", comma, capture_names[i].name);
		comma = ",";
	}
}

/* Where a match goes on when the bytes at hand do not fit: at the last '*', and when that
 * may not take more, at the last '**'. Earlier ones need not take more: what came after
 * them has matched. So it is bounded by the square of the text, without recursion. */
struct glob_stars {
	const char *one, *one_at;   /* pattern behind it, text it has taken; NULL none */
	const char *deep, *deep_at; /* of the last '**' */
	bool folders;		    /* that is a slash, two stars, a slash: takes whole folders, or none */
};

static const char *glob_deep(struct glob_stars *stars, const char *begin, const char *pattern, const char *text)
{
	bool at_slash = pattern == begin || pattern[-1] == '/';

	pattern += strspn(pattern, "*");
	stars->folders = at_slash && *pattern == '/';
	pattern += stars->folders;
	stars->one = NULL;
	stars->deep = pattern;
	stars->deep_at = text;
	return pattern;
}

/* Has a star take more; false when none can. */
static bool glob_again(struct glob_stars *stars, bool parts, const char *end, const char **pattern, const char **text)
{
	if (stars->one && !(parts && *stars->one_at == '/')) {
		*pattern = stars->one;
		*text = ++stars->one_at;
		return true;
	}
	if (!stars->deep)
		return false;
	if (stars->folders) {
		const char *slash = memchr(stars->deep_at, '/', (size_t)(end - stars->deep_at));

		if (!slash)
			return false;
		stars->deep_at = slash;
	}
	stars->one = NULL;
	*pattern = stars->deep;
	*text = ++stars->deep_at;
	return true;
}

bool glob_run(const char *pattern, const char *text, size_t len, bool fold_case)
{
	const char *begin = pattern, *end = text + len;
	bool parts = strstr(pattern, "**"); /* then '*' and '?' stop at a slash */
	struct glob_stars stars = { .one = NULL };

	while (text < end) {
		unsigned char p = (unsigned char)*pattern, t = (unsigned char)*text;

		if (p == '*' && pattern[1] == '*') {
			pattern = glob_deep(&stars, begin, pattern, text);
			continue;
		}
		if (p == '*') {
			stars.one = ++pattern;
			stars.one_at = text;
			continue;
		}
		if ((p == '?' && !(parts && t == '/')) || (p && (p == t || (fold_case && tolower(p) == tolower(t))))) {
			pattern++;
			text++;
			continue;
		}
		if (!glob_again(&stars, parts, end, &pattern, &text))
			return false;
	}
	while (*pattern == '*')
		pattern = pattern[1] == '*' ? glob_deep(&stars, begin, pattern, text) : pattern + 1;
	return !*pattern;
}

bool glob_match(const char *pattern, const char *text, bool fold_case)
{
	return glob_run(pattern, text, strlen(text), fold_case);
}

/* ---- networks ---- */

/* IPv4 inside of IPv6 is IPv4: that is how a socket for both tells of it. */
static bool read_address(const char *text, struct network *ret)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct network n = { .family = AF_INET, .bits = 32 };

	if (inet_pton(AF_INET, text, n.addr) != 1) {
		if (inet_pton(AF_INET6, text, n.addr) != 1)
			return false;
		n.family = AF_INET6;
		n.bits = 128;
	}
	if (n.family == AF_INET6 && memcmp(n.addr, mapped, sizeof(mapped)) == 0) {
		n.family = AF_INET;
		n.bits = 32;
		memmove(n.addr, n.addr + 12, 4);
		memset(n.addr + 4, 0, 12);
	}
	*ret = n;
	return true;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int rest = bits % 8;

	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return !rest || !((a[bits / 8] ^ b[bits / 8]) >> (8 - rest));
}

int parse_network(const char *text, struct network *ret, struct err *err)
{
	size_t len = strcspn(text, "/");
	struct network n = { .family = AF_UNIX };
	char address[64], *end;
	unsigned long bits;

	memcpy(address, text, MIN(len, 63u));
	address[MIN(len, 63u)] = '\0';
	if (strcmp(text, "unix") != 0 && (len > 63 || !read_address(address, &n)))
		return err_say(err, -EINVAL, "'%s' is no address (try 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or unix)",
			       text);
	if (text[len] == '/') {
		bits = isdigit((unsigned char)text[len + 1]) ? strtoul(text + len + 1, &end, 10) : 999;
		if (bits > n.bits || *end)
			return err_say(err, -EINVAL, "'%s': behind the slash goes a number from 0 to %u", text, n.bits);
		n.bits = (uint8_t)bits;
	}
	/* what does not count is nothing: then equal networks are equal bytes */
	for (unsigned int i = n.bits; i < 128; i++)
		n.addr[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
	*ret = n;
	return 0;
}

bool network_has(const struct network *network, const char *client)
{
	const char *end = client[0] == '[' ? strchr(client, ']') : strrchr(client, ':');
	struct network at;
	char address[64];

	if (strcmp(client, "unix") == 0 || network->family == AF_UNIX)
		return strcmp(client, "unix") == 0 && network->family == AF_UNIX;
	client += client[0] == '[';
	if (!end || end < client || end - client > 63)
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)(end - client), client);
	return read_address(address, &at) && at.family == network->family &&
	       same_bits(at.addr, network->addr, network->bits);
}

void format_network(const struct network *network, struct buf *out)
{
	char text[INET6_ADDRSTRLEN] = "unix";

	if (network->family != AF_UNIX)
		inet_ntop(network->family, network->addr, text, sizeof(text));
	buf_adds(out, text);
	if (network->family != AF_UNIX && network->bits < (network->family == AF_INET ? 32 : 128))
		buf_addf(out, "/%u", network->bits);
}
