// SPDX-License-Identifier: MIT
/* Values as people write them, and which rule fires for which request. */
#include "ktime.h"
#include "rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static void durations(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "1ns", 1 },
		{ "7us", 7000 },
		{ "500ms", 500 * NSEC_PER_MSEC },
		{ "2s", 2 * NSEC_PER_SEC },
		{ "1.5s", 1500 * NSEC_PER_MSEC },
		{ "0.25m", 15 * NSEC_PER_SEC },
		{ "1m", 60 * NSEC_PER_SEC },
		{ "3h", 10800 * NSEC_PER_SEC },
		{ "14d", 14 * 86400 * NSEC_PER_SEC },
		{ "00:01:30", 90 * NSEC_PER_SEC },
		{ "1:00:00", 3600 * NSEC_PER_SEC },
		{ "0s", 0 },
		{ "366d", 366 * 86400 * NSEC_PER_SEC },
	};
	static const char *const bad[] = { "",
					   "2",
					   "s",
					   "2 s",
					   "2S",
					   "-1s",
					   "+1s",
					   "1s1",
					   "1..5s",
					   "1.s",
					   ".5s",
					   "1.5ns",
					   "367d",
					   "1:2",
					   "0:60:0",
					   "0:0:60",
					   "1:2:3:4",
					   "2sec",
					   "0x10s",
					   "99999999999999999999s",
					   "18446744073709551616ns",
					   "1e3s" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t ns = ~0ull;
		struct err err;

		assert_int_equal(parse_duration(good[i].text, &ns, &err), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint64_t ns = 4711;
		struct err err;

		if (parse_duration(bad[i], &ns, &err) != -EINVAL)
			fail_msg("'%s' passed", bad[i]);
		assert_int_equal(ns, 4711);
		assert_non_null(strstr(err.text, "try"));
	}
}

static void durations_come_back(void **state UNUSED)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} row[] = { { 0, "0s" },
		    { 1, "1ns" },
		    { 1500, "1500ns" },
		    { 2 * NSEC_PER_SEC, "2s" },
		    { 90 * NSEC_PER_SEC, "90s" },
		    { 120 * NSEC_PER_SEC, "2m" },
		    { 86400 * NSEC_PER_SEC, "1d" },
		    { 1500 * NSEC_PER_MSEC, "1500ms" } };

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char text[32];
		uint64_t ns;

		format_duration(row[i].ns, text, sizeof(text));
		assert_string_equal(text, row[i].text);
		assert_int_equal(parse_duration(text, &ns, NULL), 0);
		assert_int_equal(ns, row[i].ns);
	}
}

static void sizes(void **state UNUSED)
{
	static const char *const bad[] = { "", "5", "G", "5 G", "5GB", "-5G", "5P", "9999999999T", "5%" };
	uint64_t bytes;

	assert_int_equal(parse_size("64K", &bytes, NULL), 0);
	assert_int_equal(bytes, 65536);
	assert_int_equal(parse_size("5g", &bytes, NULL), 0);
	assert_int_equal(bytes, 5ull << 30);
	assert_int_equal(parse_size("1T", &bytes, NULL), 0);
	assert_int_equal(bytes, 1ull << 40);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_size(bad[i], &bytes, NULL), -EINVAL);
}

static void spaces(void **state UNUSED)
{
	static const char *const bad[] = {
		"", "5", "%", "0%", "100%", "-1%", "5.5%", "10 %", "10%%", "5X", "99999999999999999999%"
	};
	uint64_t bytes = 7;
	uint32_t percent = 7;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_space(bad[i], &bytes, &percent, NULL), -EINVAL);
	assert_int_equal(bytes, 7);
	assert_int_equal(percent, 7);
	assert_int_equal(parse_space("10%", &bytes, &percent, NULL), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(percent, 10);
	assert_int_equal(parse_space("2G", &bytes, &percent, NULL), 0);
	assert_int_equal(bytes, 2ull << 30);
	assert_int_equal(percent, 0);
}

static void statuses(void **state UNUSED)
{
	static const char *const bad[] = { "",	   ",",	   "5xx",      "404.2",	      "99",	 "1000", "599-500",
					   "500-", "-599", "500,,404", "500-599-600", "500 404", "404," };
	struct status_range range[3];
	size_t count = 99;
	struct err err;

	assert_int_equal(parse_status("500-599,404", range, 3, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(range[0].from, 500);
	assert_int_equal(range[0].to, 599);
	assert_int_equal(range[1].from, 404);
	assert_int_equal(range[1].to, 404);
	assert_int_equal(parse_status(" 200 , 300 - 399 ", range, 3, &count, &err), -EINVAL);
	assert_int_equal(parse_status("200 , 300-399 ", range, 3, &count, &err), 0);
	count = 99;
	assert_int_equal(parse_status("1,2", range, 3, &count, &err), -EINVAL);
	assert_int_equal(parse_status("100,200,300,400", range, 3, &count, &err), -EINVAL);
	assert_int_equal(count, 99);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (parse_status(bad[i], range, 3, &count, &err) != -EINVAL)
			fail_msg("'%s' passed", bad[i]);
	}
	assert_int_equal(parse_status("404.2", range, 3, &count, &err), -EINVAL);
	assert_non_null(strstr(err.text, "try 404"));
}

static void captures_and_limits(void **state UNUSED)
{
	uint64_t window = 1;
	uint32_t bits, limit;
	struct err err;

	assert_int_equal(parse_capture("trace,stacks,full", &bits, &err), 0);
	assert_int_equal(bits, CAPTURE_TRACE | CAPTURE_STACKS | CAPTURE_FULL);
	assert_int_equal(parse_capture("stacks", &bits, &err), 0);
	assert_int_equal(bits, CAPTURE_STACKS);
	assert_int_equal(parse_capture("", &bits, &err), -EINVAL);
	assert_int_equal(parse_capture("trace,", &bits, &err), -EINVAL);
	assert_int_equal(parse_capture("trace stacks", &bits, &err), -EINVAL);
	assert_int_equal(parse_capture("trace,mini", &bits, &err), 0);
	assert_int_equal(bits, CAPTURE_TRACE | CAPTURE_MINI);
	assert_int_equal(parse_capture("mini,full", &bits, &err), -EINVAL);
	assert_non_null(strstr(err.text, "mini or full"));
	assert_int_equal(parse_limit("50", &limit, &window, &err), 0);
	assert_int_equal(limit, 50);
	assert_int_equal(window, 0);
	assert_int_equal(parse_limit("10/1h", &limit, &window, &err), 0);
	assert_int_equal(limit, 10);
	assert_int_equal(window, 3600 * NSEC_PER_SEC);
	assert_int_equal(parse_limit("0", &limit, &window, &err), 0);
	assert_int_equal(parse_limit("10/", &limit, &window, &err), -EINVAL);
	assert_int_equal(parse_limit("10/0s", &limit, &window, &err), -EINVAL);
	assert_int_equal(parse_limit("x", &limit, &window, &err), -EINVAL);
	assert_int_equal(parse_limit("99999999", &limit, &window, &err), -EINVAL);
}

static void globs(void **state UNUSED)
{
	static const struct {
		const char *pattern, *text;
		bool fold, match;
	} row[] = {
		{ "", "", false, true },
		{ "", "a", false, false },
		{ "*", "", false, true },
		{ "*", "/any/thing", false, true },
		{ "/a", "/a", false, true },
		{ "/a", "/A", false, false },
		{ "/a", "/A", true, true },
		{ "/a", "/ab", false, false },
		{ "/a*", "/ab", false, true },
		{ "*b", "/ab", false, true },
		{ "/a*c", "/abcbc", false, true },
		{ "/a*c*d", "/axcycxd", false, true },
		{ "/a?c", "/abc", false, true },
		{ "/a?c", "/ac", false, false },
		{ "?", "", false, false },
		{ "**a**", "bab", false, true },
		{ "*.EXAMPLE", "shop.example", true, true },
		{ "[a]", "a", false, false }, /* no classes: '[' is itself */
		{ "/a/**", "/a/b/c", false, true },
		{ "/a/**", "/a/", false, true },
		{ "/a/**", "/a", false, false },
		{ "/**/x", "/x", false, true },
		{ "/**/x", "/a/b/x", false, true },
		{ "/**/x", "/ax", false, false },
		{ "/**/*.php", "/a/b.php", false, true },
		{ "/**/r*.php", "/r/b.php", false, false },
		{ "/a/*/**", "/a/b", false, false },
		{ "/a/*/c/**", "/a/b/c/d/e", false, true },
		{ "/a/?/**", "/a///", false, false },
		{ "**.php", "/a/b.php", false, true },
		{ "/**/", "/", false, true },
	};
	char text[4096], pattern[64] = "";

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		if (glob_match(row[i].pattern, row[i].text, row[i].fold) != row[i].match)
			fail_msg("'%s' on '%s'", row[i].pattern, row[i].text);
	}
	/* the worst for a matcher that goes back to every star: it ends at once */
	for (int i = 0; i < 20; i++)
		strcat(pattern, "a*");
	strcat(pattern, "b");
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(glob_match(pattern, text, false));
}

/* What the words say, in the plainest and slowest way. */
static bool glob_slow(const char *begin, const char *p, const char *t, bool parts)
{
	if (!*p)
		return !*t;
	if (p[0] == '*' && p[1] == '*') {
		bool at_slash = p == begin || p[-1] == '/';

		p += strspn(p, "*");
		if (at_slash && *p == '/') {
			for (;; t++) {
				if (glob_slow(begin, p + 1, t, parts))
					return true;
				t = strchr(t, '/');
				if (!t)
					return false;
			}
		}
		for (; !glob_slow(begin, p, t, parts); t++) {
			if (!*t)
				return false;
		}
		return true;
	}
	if (*p == '*') {
		for (; !glob_slow(begin, p + 1, t, parts); t++) {
			if (!*t || (parts && *t == '/'))
				return false;
		}
		return true;
	}
	if (!*t || (*p == '?' ? parts && *t == '/' : *p != *t))
		return false;
	return glob_slow(begin, p + 1, t + 1, parts);
}

static void globs_against_the_slow_way(void **state UNUSED)
{
	static const char *const pieces[] = { "a", "b", "/", "*", "**", "?", "/**/" };
	uint32_t seed = 4711;

	for (int i = 0; i < 200000; i++) {
		char pattern[40] = "", text[16] = "";

		for (int n = 0; n < 6; n++) {
			seed = seed * 1664525u + 1013904223u;
			strcat(pattern, (seed >> 16) % 4 ? pieces[(seed >> 20) % ARRAY_LEN(pieces)] : "");
			strcat(text, (const char *[]){ "a", "b", "/", "", "a", "/" }[(seed >> 24) % 6]);
		}
		if (glob_match(pattern, text, false) != glob_slow(pattern, pattern, text, strstr(pattern, "**")))
			fail_msg("'%s' on '%s'", pattern, text);
	}
}

/* One rule from key, value pairs. */
static struct rule *make(struct rules *rules, const char *const *pairs)
{
	struct rule *rule = rules_add(rules, "r");
	struct err err;

	assert_non_null(rule);
	for (; *pairs; pairs += 2) {
		if (rule_set(rule, pairs[0], pairs[1], &err) != 0)
			fail_msg("%s", err.text);
	}
	return rule;
}

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL, NULL })

static void scope(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *rule =
		make(&rules, PAIRS("path", "/checkout*", "method", "POST", "host", "*.example", "time-taken", "1s"));
	struct rule_input in = {
		.method = "POST", .url = "/checkout/1?x=/y", .host = "shop.EXAMPLE:8080", .elapsed_ns = NSEC_PER_SEC
	};
	char why[300];

	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_TIME);
	in.url = "http://shop.example/checkout";
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_TIME);
	in.url = "/cart?next=/checkout";
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "path '/cart' does not match '/checkout*'");
	in.url = NULL;
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	in.url = "/checkout";
	in.method = "GET";
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "method 'GET' is not 'POST'");
	in.method = "POST";
	in.host = "example";
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	in.host = NULL;
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	rules_free(&rules);
}

static char *headers(void *arg, const char *name)
{
	const char *const *pairs = arg;

	for (; *pairs; pairs += 2) {
		if (!strcasecmp(pairs[0], name))
			return strdup(pairs[1]);
	}
	return NULL;
}

static bool in_shop(void *arg UNUSED, const char *name)
{
	return !strcmp(name, "shop");
}

/* Each pair alone: does a rule with it fit the one request? */
static void filters(void **state UNUSED)
{
	static const struct {
		const char *key, *value;
		bool fits;
		const char *why; /* why not */
	} row[] = {
		{ "exclude", "/shop/static/**", true, NULL },
		{ "exclude", "/shop/*", false, "left out by '/shop/*'" },
		{ "client", "192.0.2.0/24", true, NULL },
		{ "client", "192.0.2.8", false, "client 192.0.2.7:4711" },
		{ "client", "0.0.0.0/0", true, NULL },
		{ "client", "::/0", false, "client" },
		{ "client", "::ffff:192.0.2.7", true, NULL },
		{ "client", "unix", false, "client" },
		{ "header", "user-agent: curl*", true, NULL },
		{ "header", "User-Agent:curl/7", true, NULL },
		{ "header", "User-Agent: wget*", false, "header 'User-Agent' is not 'wget*'" },
		{ "header", "X-Debug", true, NULL },
		{ "header", "X-Debug: ", true, NULL },
		{ "header", "X-Other", false, "no header 'X-Other'" },
		{ "watch", "shop", true, NULL },
		{ "watch", "blog", false, "watch set 'blog'" },
	};
	static const char *const sent[] = { "User-Agent", "curl/7", "X-Debug", "", NULL };
	struct rule_input in = { .method = "GET",
				 .url = "/shop/a.php?x=1",
				 .client = "192.0.2.7:4711",
				 .elapsed_ns = 5 * NSEC_PER_SEC,
				 .header = headers,
				 .in_watch = in_shop,
				 .arg = (void *)(uintptr_t)sent };
	char why[300];

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct rules rules = { 0 };
		struct rule *rule = make(&rules, PAIRS("time-taken", "2s", row[i].key, row[i].value));
		enum rule_verdict verdict = rule_match(rule, &in, why, sizeof(why));

		if (verdict != (row[i].fits ? RULE_TIME : RULE_NO) || (row[i].why && !strstr(why, row[i].why)))
			fail_msg("%s = %s: %d, %s", row[i].key, row[i].value, (int)verdict, why);
		rules_free(&rules);
	}
}

static void lists_of_filters(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *rule = make(&rules, PAIRS("time-taken", "1s", "client", "10.0.0.0/8", "client", "unix", "header",
					       "X-Debug", "header", "User-Agent: curl*"));
	static const char *sent[] = { "User-Agent", "curl/7", NULL, "", NULL };
	struct rule_input in = {
		.url = "/", .client = "unix", .elapsed_ns = NSEC_PER_SEC, .header = headers, .arg = (void *)sent
	};

	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO); /* all headers */
	sent[2] = "x-debug";
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_TIME); /* one of the clients */
	in.client = "10.1.2.3:80";
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_TIME);
	in.client = "11.1.2.3:80";
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO);
	in.client = NULL;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO);
	rules_free(&rules);
}

static void networks(void **state UNUSED)
{
	static const char *const bad[] = { "",	      "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/x",   "10.0.0",
					   "::1/129", "unix/1",	     "10.0.0.0/8x", "host.example", "1.2.3.4:80" };
	static const struct {
		const char *text, *back, *client;
		bool has;
	} row[] = {
		{ "10.1.2.3/8", "10.0.0.0/8", "10.255.0.1:1", true },
		{ "10.1.2.3/8", "10.0.0.0/8", "11.0.0.0:1", false },
		{ "192.0.2.128/25", "192.0.2.128/25", "192.0.2.127:5", false },
		{ "192.0.2.7", "192.0.2.7", "192.0.2.7:65535", true },
		{ "2001:db8::/33", "2001:db8::/33", "[2001:db8:7fff::1]:80", true },
		{ "2001:db8::/33", "2001:db8::/33", "[2001:db8:8000::1]:80", false },
		{ "::1", "::1", "[::1]:80", true },
		{ "10.0.0.0/8", "10.0.0.0/8", "[::ffff:10.1.1.1]:80", true },
		{ "unix", "unix", "unix", true },
		{ "unix", "unix", "10.0.0.1:1", false },
		{ "0.0.0.0/0", "0.0.0.0/0", "unix", false },
		{ "0.0.0.0/0", "0.0.0.0/0", "nonsense", false },
		{ "0.0.0.0/0", "0.0.0.0/0", "", false },
		{ "::/0", "::/0", "[", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct network network;

		if (parse_network(bad[i], &network, NULL) != -EINVAL)
			fail_msg("'%s' passed", bad[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct network network;
		struct buf back;

		assert_int_equal(parse_network(row[i].text, &network, NULL), 0);
		buf_init(&back, 100);
		format_network(&network, &back);
		assert_string_equal(back.data, row[i].back);
		buf_done(&back);
		if (network_has(&network, row[i].client) != row[i].has)
			fail_msg("%s and %s", row[i].text, row[i].client);
	}
}

/* A mark comes before the end: it is the reason, and of 'all' with a time the time is. */
static void marks(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *rule = make(&rules, PAIRS("severity", "error"));
	struct rule_input in = { .url = "/", .elapsed_ns = NSEC_PER_SEC, .status = 200 };
	enum rule_verdict verdict;
	struct areas areas;
	char why[200];

	assert_int_equal(rules_want_mark(&rules), SEVERITY_ERROR);
	rules_areas(&rules, &areas);
	assert_int_equal(areas_least(&areas, AREA_MARK), SEVERITY_ERROR);
	assert_int_equal(rule_check(rule, NULL), 0);
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "no mark was made in it");
	in.severity = SEVERITY_WARNING;
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "its gravest mark, warning, is below error");
	in.severity = SEVERITY_ERROR;
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_MARK);
	assert_string_equal(why, "its gravest mark, error, is what the rule asks for");
	in.severity = SEVERITY_CRITICAL;
	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_MARK);
	assert_string_equal(why, "its gravest mark, critical, is graver than error");
	assert_ptr_equal(rules_match_passing(&rules, &in, &verdict), rule);
	assert_int_equal(rule_reason(RULE_MARK), REASON_APP_MARK);
	assert_int_equal(rule_set(rule, "time-taken", "2s", NULL), 0);
	assert_int_equal(rule_set(rule, "all", NULL, NULL), 0);
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO);
	in.elapsed_ns = 2 * NSEC_PER_SEC;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_TIME);
	for (size_t n = 0; n < 3; n++)
		assert_int_equal(rule_set(rule, "severity", (const char *[]){ "", "off", "Error" }[n], NULL), -EINVAL);
	assert_int_equal(rule_set(rule, "areas", "mark=verbose", NULL), 0);
	rules_areas(&rules, &areas);
	assert_int_equal(areas_least(&areas, AREA_MARK), SEVERITY_VERBOSE);
	rules_free(&rules);
	assert_int_equal(rules_want_mark(&rules), SEVERITY_NONE);
}

static void ends(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *rule = make(&rules, PAIRS("aborted", "true", "response-size", "1M"));
	struct rule_input in = { .url = "/", .elapsed_ns = NSEC_PER_SEC, .status = 200 };
	enum rule_verdict verdict;

	assert_true(rules_want_aborted(&rules));
	assert_int_equal(rules_want_size(&rules), 1 << 20);
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO);
	in.response_bytes = (1 << 20) - 1;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO);
	in.response_bytes++;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_SIZE);
	in.aborted = true;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_ABORTED);
	assert_int_equal(rule_reason(RULE_ABORTED), REASON_ABORTED);
	assert_int_equal(rule_reason(RULE_SIZE), REASON_RESPONSE_SIZE);
	assert_int_equal(rule_set(rule, "all", NULL, NULL), 0);
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_SIZE);
	assert_int_equal(rule_set(rule, "time-taken", "2s", NULL), 0);
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_NO); /* all three, now */
	in.elapsed_ns = 2 * NSEC_PER_SEC;
	assert_int_equal(rule_match(rule, &in, NULL, 0), RULE_SIZE);
	assert_ptr_equal(rules_match_passing(&rules, &in, &verdict), rule);
	rules_free(&rules);
	assert_false(rules_want_aborted(&rules));
	assert_int_equal(rules_want_size(&rules), 0);
}

static void hostile_words_are_escaped(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *rule = make(&rules, PAIRS("path", "/a", "time-taken", "1s"));
	struct rule_input in = { .method = "GET", .url = "/\x1b[31m\n", .elapsed_ns = NSEC_PER_SEC };
	char why[300];

	assert_int_equal(rule_match(rule, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "path '/\\x1b[31m\\x0a' does not match '/a'");
	rules_free(&rules);
}

static void conditions(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule *any = make(&rules, PAIRS("time-taken", "2s", "status", "500-599"));
	struct rule_input in = { .method = "GET", .url = "/", .elapsed_ns = 2 * NSEC_PER_SEC - 1 };
	char why[300];

	assert_int_equal(rule_match(any, &in, why, sizeof(why)), RULE_NO);
	assert_string_equal(why, "1999999999ns is below the limit of 2s; no status was sent yet");
	in.elapsed_ns++;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_TIME);
	in.elapsed_ns = 1;
	in.status = 503;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_STATUS);
	in.status = 499;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_NO);

	assert_int_equal(rule_set(any, "all", NULL, NULL), 0);
	in.status = 503;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_NO);
	in.elapsed_ns = 2 * NSEC_PER_SEC;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_STATUS);
	in.status = 200;
	assert_int_equal(rule_match(any, &in, NULL, 0), RULE_NO);
	rules_free(&rules);
}

static void the_first_rule_wins(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct rule_input in = { .method = "GET", .url = "/a", .status = 500, .elapsed_ns = 5 * NSEC_PER_SEC };
	enum rule_verdict verdict = RULE_NO;
	uint64_t limits[4];

	make(&rules, PAIRS("path", "/b", "time-taken", "1s"));
	make(&rules, PAIRS("status", "500", "path", "/a"));
	make(&rules, PAIRS("time-taken", "3s"));
	make(&rules, PAIRS("time-taken", "500ms"));
	make(&rules, PAIRS("time-taken", "1s"));
	assert_ptr_equal(rules_match(&rules, &in, &verdict), &rules.rule[1]);
	assert_int_equal(verdict, RULE_STATUS);
	in.status = 200;
	assert_ptr_equal(rules_match(&rules, &in, &verdict), &rules.rule[2]);
	assert_int_equal(verdict, RULE_TIME);
	in.elapsed_ns = 1;
	assert_null(rules_match(&rules, &in, &verdict));
	assert_int_equal(rules_limits(&rules, limits, ARRAY_LEN(limits)), 3);
	assert_int_equal(limits[0], 500 * NSEC_PER_MSEC);
	assert_int_equal(limits[1], NSEC_PER_SEC);
	assert_int_equal(limits[2], 3 * NSEC_PER_SEC);
	assert_int_equal(rules_limits(&rules, limits, 2), -E2BIG);
	assert_true(rules_want_status(&rules, 500));
	assert_false(rules_want_status(&rules, 501));
	rules_free(&rules);
}

static void refusals_keep_the_old_value(void **state UNUSED)
{
	static const char *const bad[][2] = {
		{ "path", "checkout" },	  { "path", "/a?b=c" },	   { "method", "get" },	  { "method", "" },
		{ "method", "GET /" },	  { "host", "a:80" },	   { "host", "" },	  { "time-taken", "0s" },
		{ "time-taken", "10us" }, { "status", "x" },	   { "all", "yes" },	  { "capture", "everything" },
		{ "samples", "0" },	  { "samples", "101" },	   { "every", "1ms" },	  { "limit", "many" },
		{ "cool-down", "5" },	  { "limit-window", "1" }, { "tme-taken", "2s" }, { "path", NULL },
	};
	struct rules rules = { 0 };
	struct rule *rule =
		make(&rules, PAIRS("path", "/p", "method", "GET", "host", "h", "time-taken", "2s", "status", "500"));
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (rule_set(rule, bad[i][0], bad[i][1], &err) != -EINVAL)
			fail_msg("%s = %s passed", bad[i][0], bad[i][1]);
	}
	assert_string_equal(rule->path, "/p");
	assert_string_equal(rule->method, "GET");
	assert_string_equal(rule->host, "h");
	assert_int_equal(rule->time_taken_ns, 2 * NSEC_PER_SEC);
	assert_int_equal(rule->status_count, 1);
	assert_int_equal(rule->limit, RULE_LIMIT_DEFAULT);
	assert_int_equal(rule->samples, 1);
	assert_false(rule->all);
	rules_free(&rules);
}

static void rules_that_make_no_sense(void **state UNUSED)
{
	struct rules rules = { 0 };
	struct err err;

	assert_int_equal(rule_check(make(&rules, PAIRS("path", "/p")), &err), -EINVAL);
	assert_int_equal(rule_check(make(&rules, PAIRS("time-taken", "2s", "all", "true")), &err), -EINVAL);
	assert_int_equal(rule_check(make(&rules, PAIRS("time-taken", "2s", "status", "500", "all", "true")), &err), 0);
	assert_int_equal(rule_check(make(&rules, PAIRS("status", "500")), &err), 0);
	rules_free(&rules);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(durations_come_back),
		cmocka_unit_test(sizes),
		cmocka_unit_test(spaces),
		cmocka_unit_test(statuses),
		cmocka_unit_test(captures_and_limits),
		cmocka_unit_test(globs),
		cmocka_unit_test(globs_against_the_slow_way),
		cmocka_unit_test(scope),
		cmocka_unit_test(filters),
		cmocka_unit_test(lists_of_filters),
		cmocka_unit_test(networks),
		cmocka_unit_test(marks),
		cmocka_unit_test(ends),
		cmocka_unit_test(hostile_words_are_escaped),
		cmocka_unit_test(conditions),
		cmocka_unit_test(the_first_rule_wins),
		cmocka_unit_test(refusals_keep_the_old_value),
		cmocka_unit_test(rules_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
