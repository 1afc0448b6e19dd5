// SPDX-License-Identifier: MIT
/* A rule: path, method and host say whose requests it is about; time-taken and
 * status say which of them failed. Pure functions, so that 'reqtrap test' asks the
 * very code that traps. Rejected: an expression language (nobody needs it at 3 am).
 * Trap: 'all' and a time limit make a rule that waits for its other condition. */
#include "rule.h"

#include "action.h"
#include "ktime.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define PASSING_MAX 64 /* different limits that are looked at one by one */

#define TIME_TAKEN_MIN_NS NSEC_PER_MSEC
#define EVERY_MIN_NS (50 * NSEC_PER_MSEC) /* each is a stop of the process */

/* The path inside a request target: no query, no 'http://host' as proxies are sent. */
static const char *url_path(const char *url, size_t *ret_len)
{
	const char *scheme_end = strstr(url, "://");

	if (url[0] != '/' && scheme_end && scheme_end < url + strcspn(url, "/?")) {
		const char *path = scheme_end + 3 + strcspn(scheme_end + 3, "/?#");

		url = *path == '/' ? path : "/";
	}
	*ret_len = strcspn(url, "?#");
	return url;
}

/* The host without its port; '[::1]:80' keeps its brackets. */
static size_t host_len(const char *host)
{
	const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;

	return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

static void say(char *why, size_t size, const char *fmt, ...) PRINTF(3, 4);
static void say(char *why, size_t size, const char *fmt, ...)
{
	struct buf out;
	char raw[1024];
	va_list ap;

	if (!why || !size)
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	buf_init(&out, 8192);
	buf_add_escaped(&out, raw, strlen(raw));
	snprintf(why, size, "%s", out.data ? out.data : "");
	buf_done(&out);
}

/* Is the rule about this request at all? */
static bool scope_matches(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	size_t len;

	if (rule->path) {
		const char *path;

		if (!input->url) {
			say(why, size, "its URL is not known, the rule asks for path '%s'", rule->path);
			return false;
		}
		path = url_path(input->url, &len);
		if (!glob_run(rule->path, path, len, false)) {
			say(why, size, "path '%.*s' does not match '%s'", (int)MIN(len, 300u), path, rule->path);
			return false;
		}
	}
	if (rule->method && (!input->method || strcmp(rule->method, input->method) != 0)) {
		say(why, size, "method '%s' is not '%s'", input->method ? input->method : "unknown", rule->method);
		return false;
	}
	if (rule->host) {
		if (!input->host) {
			say(why, size, "its host is not known, the rule asks for '%s'", rule->host);
			return false;
		}
		len = host_len(input->host);
		if (!glob_run(rule->host, input->host, len, true)) {
			say(why, size, "host '%.*s' does not match '%s'", (int)MIN(len, 300u), input->host, rule->host);
			return false;
		}
	}
	return true;
}

static bool status_in(const struct rule *rule, int status)
{
	for (size_t i = 0; i < rule->status_count; i++) {
		if (status >= rule->status[i].from && status <= rule->status[i].to)
			return true;
	}
	return false;
}

/* The two conditions in words, as far as the rule has them. */
static void say_conditions(const struct rule *rule, const struct rule_input *input, bool time, bool status, char *why,
			   size_t size)
{
	char time_text[160] = "", status_text[640] = "", elapsed[32], limit[32];

	if (!why)
		return;
	if (rule->time_taken_ns) {
		format_duration(input->elapsed_ns, elapsed, sizeof(elapsed));
		format_duration(rule->time_taken_ns, limit, sizeof(limit));
		snprintf(time_text, sizeof(time_text),
			 time ? "%s reached the limit of %s" : "%s is below the limit of %s", elapsed, limit);
	}
	if (rule->status_count) {
		struct buf list;

		buf_init(&list, 512);
		format_status(rule->status, rule->status_count, &list);
		if (input->status)
			snprintf(status_text, sizeof(status_text), "status %d is %sin %s", input->status,
				 status ? "" : "not ", list.data ? list.data : "");
		else
			snprintf(status_text, sizeof(status_text), "no status was sent yet");
		buf_done(&list);
	}
	say(why, size, "%s%s%s", time_text, *time_text && *status_text ? "; " : "", status_text);
}

enum rule_verdict rule_match(const struct rule *rule, const struct rule_input *input, char *why, size_t why_size)
{
	bool time = rule->time_taken_ns && input->elapsed_ns >= rule->time_taken_ns;
	bool status = input->status && status_in(rule, input->status);

	if (!scope_matches(rule, input, why, why_size))
		return RULE_NO;
	say_conditions(rule, input, time, status, why, why_size);
	if (!rule->time_taken_ns && !rule->status_count)
		say(why, why_size, "the rule has neither time-taken nor status");
	if (rule->all && rule->time_taken_ns && rule->status_count)
		return time && status ? RULE_STATUS : RULE_NO;
	/* the time limit comes first: it was reached before any status that is sent now */
	return time ? RULE_TIME : status ? RULE_STATUS : RULE_NO;
}

const struct rule *rules_match(const struct rules *rules, const struct rule_input *input,
			       enum rule_verdict *ret_verdict)
{
	for (size_t i = 0; i < rules->count; i++) {
		enum rule_verdict verdict = rule_match(&rules->rule[i], input, NULL, 0);

		if (verdict == RULE_NO)
			continue;
		*ret_verdict = verdict;
		return &rules->rule[i];
	}
	return NULL;
}

const struct rule *rules_match_passing(const struct rules *rules, const struct rule_input *input,
				       enum rule_verdict *ret_verdict)
{
	uint64_t limits[PASSING_MAX];
	int count = rules_limits(rules, limits, PASSING_MAX);

	for (int i = 0; i < count && limits[i] <= input->elapsed_ns; i++) {
		struct rule_input then = *input;
		const struct rule *rule;

		then.elapsed_ns = limits[i];
		then.status = 0; /* not sent yet */
		rule = rules_match(rules, &then, ret_verdict);
		if (rule)
			return rule;
	}
	return rules_match(rules, input, ret_verdict);
}

int rules_limits(const struct rules *rules, uint64_t *ret_limits, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < rules->count; i++) {
		uint64_t limit = rules->rule[i].time_taken_ns;
		size_t at = 0;

		if (!limit)
			continue;
		while (at < count && ret_limits[at] < limit)
			at++;
		if (at < count && ret_limits[at] == limit)
			continue;
		if (count == max)
			return -E2BIG;
		memmove(&ret_limits[at + 1], &ret_limits[at], (count - at) * sizeof(*ret_limits));
		ret_limits[at] = limit;
		count++;
	}
	return (int)count;
}

bool rules_want_status(const struct rules *rules, int status)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (status_in(&rules->rule[i], status))
			return true;
	}
	return false;
}

static int set_text(char **at, const char *value, struct err *err)
{
	char *copy = strdup(value);

	if (!copy)
		return err_say(err, -ENOMEM, "out of memory");
	free(*at);
	*at = copy;
	return 0;
}

static int set_path(struct rule *rule, const char *value, struct err *err)
{
	if (value[0] != '/' && value[0] != '*' && value[0] != '?')
		return err_say(err, -EINVAL, "'%s' can match no path: a path begins with '/' (try '/%s' or '*%s')",
			       value, value, value);
	if (strpbrk(value, "?#") && strchr(value, '='))
		return err_say(err, -EINVAL, "'%s' can match no path: the query is not part of it (try '%.*s')", value,
			       (int)strcspn(value, "?#"), value);
	return set_text(&rule->path, value, err);
}

static int set_method(struct rule *rule, const char *value, struct err *err)
{
	for (const char *p = value; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
			return err_say(err, -EINVAL, "'%s' is not a method (try GET or POST)", value);
	}
	if (!*value)
		return err_say(err, -EINVAL, "a method cannot be empty (try GET or POST)");
	if (islower((unsigned char)*value))
		return err_say(err, -EINVAL, "'%s' is not a method: methods are in capitals (try GET or POST)", value);
	return set_text(&rule->method, value, err);
}

static int set_host(struct rule *rule, const char *value, struct err *err)
{
	if (!*value || strpbrk(value, "/ "))
		return err_say(err, -EINVAL, "'%s' is not a host (try shop.example or *.example, without a port)",
			       value);
	if (host_len(value) != strlen(value))
		return err_say(err, -EINVAL, "'%s': the host is compared without its port (try '%.*s')", value,
			       (int)host_len(value), value);
	return set_text(&rule->host, value, err);
}

static int set_time_taken(struct rule *rule, const char *value, struct err *err)
{
	uint64_t ns = 0;
	int code = parse_duration(value, &ns, err);

	if (code < 0)
		return code;
	if (ns < TIME_TAKEN_MIN_NS)
		return err_say(err, -EINVAL, "'%s' is too short for a time limit (at least 1ms; try 500ms or 2s)",
			       value);
	rule->time_taken_ns = ns;
	return 0;
}

static int set_status(struct rule *rule, const char *value, struct err *err)
{
	return parse_status(value, rule->status, RULE_STATUS_MAX, &rule->status_count, err);
}

static int set_flag(bool *flag, const char *value, struct err *err)
{
	if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return err_say(err, -EINVAL, "'%s' is neither true nor false", value);
	*flag = !value || strcmp(value, "true") == 0;
	return 0;
}

static int set_all(struct rule *rule, const char *value, struct err *err)
{
	return set_flag(&rule->all, value, err);
}

static int set_arguments(struct rule *rule, const char *value, struct err *err)
{
	return set_flag(&rule->arguments, value, err);
}

static int set_statements(struct rule *rule, const char *value, struct err *err)
{
	return set_flag(&rule->statements, value, err);
}

static int set_capture(struct rule *rule, const char *value, struct err *err)
{
	return parse_capture(value, &rule->capture, err);
}

static int set_areas(struct rule *rule, const char *value, struct err *err)
{
	return areas_parse(value, &rule->areas, err);
}

static int set_samples(struct rule *rule, const char *value, struct err *err)
{
	uint64_t n = 0;
	int code = parse_count(value, 1, RULE_SAMPLES_MAX, &n, err);

	if (code < 0)
		return code;
	rule->samples = (unsigned int)n;
	return 0;
}

static int set_every(struct rule *rule, const char *value, struct err *err)
{
	uint64_t ns = 0;
	int code = parse_duration(value, &ns, err);

	if (code < 0)
		return code;
	if (ns < EVERY_MIN_NS)
		return err_say(err, -EINVAL, "'%s' is too short between two samples (at least 50ms; try 1s)", value);
	rule->every_ns = ns;
	return 0;
}

static int set_limit(struct rule *rule, const char *value, struct err *err)
{
	uint64_t window = 0;
	uint32_t limit = 0;
	int code = parse_limit(value, &limit, &window, err);

	if (code < 0)
		return code;
	rule->limit = limit;
	if (window)
		rule->limit_window_ns = window;
	return 0;
}

static int set_limit_window(struct rule *rule, const char *value, struct err *err)
{
	return parse_duration(value, &rule->limit_window_ns, err);
}

static int set_cool_down(struct rule *rule, const char *value, struct err *err)
{
	return parse_duration(value, &rule->cool_down_ns, err);
}

static int set_action(struct rule *rule, const char *value, struct err *err)
{
	char **argv;
	int code = action_split(value, &argv, err);

	if (code < 0)
		return code;
	code = action_check(argv, err);
	if (code < 0) {
		strings_free(argv);
		return code;
	}
	strings_free(rule->action);
	rule->action = argv;
	return 0;
}

static const struct rule_key {
	const char *name;
	int (*set)(struct rule *rule, const char *value, struct err *err);
} keys[] = {
	{ "path", set_path },		{ "method", set_method },
	{ "host", set_host },		{ "time-taken", set_time_taken },
	{ "status", set_status },	{ "all", set_all },
	{ "capture", set_capture },	{ "areas", set_areas },
	{ "samples", set_samples },	{ "every", set_every },
	{ "limit", set_limit },		{ "limit-window", set_limit_window },
	{ "cool-down", set_cool_down }, { "action", set_action },
	{ "arguments", set_arguments }, { "statements", set_statements },
};

int rule_set(struct rule *rule, const char *key, const char *value, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (!value && keys[i].set != set_all && keys[i].set != set_arguments && keys[i].set != set_statements)
			return err_say(err, -EINVAL, "'%s' needs a value", key);
		return keys[i].set(rule, value, err);
	}
	return err_say(err, -EINVAL, "no such option '%s'", key);
}

int rule_check(const struct rule *rule, struct err *err)
{
	if (!rule->time_taken_ns && !rule->status_count)
		return err_say(err, -EINVAL, "rule '%s' can never fire: give it time-taken (2s) or status (500-599)",
			       rule->name);
	if (rule->all && (!rule->time_taken_ns || !rule->status_count))
		return err_say(err, -EINVAL, "rule '%s': 'all' joins time-taken and status, but only %s is given",
			       rule->name, rule->time_taken_ns ? "time-taken" : "status");
	if (rule->samples > 1 && !(rule->capture & CAPTURE_STOPS))
		return err_say(err, -EINVAL, "rule '%s': samples are of stacks, but capture leaves them out",
			       rule->name);
	return 0;
}

void rules_areas(const struct rules *rules, struct areas *ret_areas)
{
	struct areas areas = { { 0 } };

	for (size_t i = 0; i < rules->count; i++) {
		if (i == 0)
			areas = rules->rule[i].areas;
		else
			areas_join(&areas, &rules->rule[i].areas);
	}
	*ret_areas = areas;
}

struct rule *rules_add(struct rules *rules, const char *name)
{
	char *copy = strdup(name);
	struct rule *rule = copy ? list_add(&rules->rule, &rules->count, sizeof(*rule)) : NULL;

	if (!rule) {
		free(copy);
		return NULL;
	}
	rule->name = copy;
	rule->capture = CAPTURE_TRACE | CAPTURE_STACKS;
	rule->limit = RULE_LIMIT_DEFAULT;
	rule->samples = 1;
	rule->every_ns = NSEC_PER_SEC;
	return rule;
}

void rule_done(struct rule *rule)
{
	free(rule->name);
	free(rule->path);
	free(rule->method);
	free(rule->host);
	strings_free(rule->action);
	*rule = (struct rule){ 0 };
}

void rules_free(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		rule_done(&rules->rule[i]);
	free(rules->rule);
	free(rules->store);
	*rules = (struct rules){ 0 };
}
