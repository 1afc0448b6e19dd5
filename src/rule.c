// SPDX-License-Identifier: MIT
/* A rule: path, method, host and their like say whose requests it is about; time-taken,
 * status and their like say which of them failed. Pure functions, so that 'reqtrap test' asks the
 * very code that traps. Rejected: an expression language (nobody needs it at 3 am).
 * Trap: 'all' and a time limit make a rule that waits for its other condition. */
#include "rule.h"

#include "action.h"
#include "ktime.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define PASSING_MAX 64 /* different limits that are looked at one by one */

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
size_t rule_host_len(const char *host)
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

/* ---- is the rule about this request at all? ---- */

static bool watch_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	for (size_t i = 0; rule->watch && rule->watch[i]; i++) {
		if (input->in_watch && input->in_watch(input->arg, rule->watch[i]))
			return true;
	}
	if (rule->watch)
		say(why, size, "its process is not of the watch set '%s'%s", rule->watch[0],
		    rule->watch[1] ? " or another of the rule's" : "");
	return !rule->watch;
}

static bool path_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	const char *path;
	size_t len;

	if (!rule->path && !rule->exclude)
		return true;
	if (!input->url) {
		say(why, size, "its URL is not known, the rule asks for path '%s'", rule->path ? rule->path : "*");
		return false;
	}
	path = url_path(input->url, &len);
	if (rule->path && !glob_run(rule->path, path, len, false)) {
		say(why, size, "path '%.*s' does not match '%s'", (int)MIN(len, 300u), path, rule->path);
		return false;
	}
	for (size_t i = 0; rule->exclude && rule->exclude[i]; i++) {
		if (!glob_run(rule->exclude[i], path, len, false))
			continue;
		say(why, size, "path '%.*s' is left out by '%s'", (int)MIN(len, 300u), path, rule->exclude[i]);
		return false;
	}
	return true;
}

static bool method_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	if (!rule->method || (input->method && strcmp(rule->method, input->method) == 0))
		return true;
	say(why, size, "method '%s' is not '%s'", input->method ? input->method : "unknown", rule->method);
	return false;
}

static bool host_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	size_t len;

	if (!rule->host)
		return true;
	if (!input->host) {
		say(why, size, "its host is not known, the rule asks for '%s'", rule->host);
		return false;
	}
	len = rule_host_len(input->host);
	if (glob_run(rule->host, input->host, len, true))
		return true;
	say(why, size, "host '%.*s' does not match '%s'", (int)MIN(len, 300u), input->host, rule->host);
	return false;
}

static bool headers_fit(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	for (size_t i = 0; rule->header && rule->header[i]; i++) {
		const char *wanted = rule->header[i], *glob = strchr(wanted, ':');
		CLEAN(free) char *name = strndup(wanted, strcspn(wanted, ":"));
		CLEAN(free) char *value = name && input->header ? input->header(input->arg, name) : NULL;

		if (!value) {
			say(why, size, "it has no header '%s', or not within what is kept of its head", name);
			return false;
		}
		if (glob && !glob_match(glob + 1 + strspn(glob + 1, " "), value, false)) {
			say(why, size, "header '%s' is not '%s'", name, glob + 1 + strspn(glob + 1, " "));
			return false;
		}
	}
	return true;
}

static bool client_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	for (size_t i = 0; i < rule->client_count; i++) {
		if (input->client && network_has(&rule->client[i], input->client))
			return true;
	}
	if (rule->client_count)
		say(why, size, "client %s is none that the rule asks for", input->client ? input->client : "unknown");
	return !rule->client_count;
}

static bool scope_fits(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	static bool (*const scopes[])(const struct rule *, const struct rule_input *, char *, size_t) = {
		watch_fits, path_fits, method_fits, host_fits, client_fits, headers_fit,
	};

	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		if (!scopes[i](rule, input, why, size))
			return false;
	}
	return true;
}

/* ---- conditions: what makes it a failed one ---- */

static bool status_in(const struct rule *rule, int status)
{
	for (size_t i = 0; i < rule->status_count; i++) {
		if (status >= rule->status[i].from && status <= rule->status[i].to)
			return true;
	}
	return false;
}

static uint64_t taken(const struct rule *rule, const struct rule_input *input)
{
	return rule->server_time ? input->server_ns : input->elapsed_ns;
}

static void time_words(const struct rule *rule, const struct rule_input *input, bool holds, struct buf *out)
{
	char elapsed[32], limit[32];

	format_duration(taken(rule, input), elapsed, sizeof(elapsed));
	format_duration(rule->time_taken_ns, limit, sizeof(limit));
	buf_addf(out, holds ? "%s%s reached the limit of %s" : "%s%s is below the limit of %s", elapsed,
		 rule->server_time ? " of the server's time" : "", limit);
}

static void mark_words(const struct rule *rule, const struct rule_input *input, bool holds, struct buf *out)
{
	if (!input->severity)
		buf_adds(out, "no mark was made in it");
	else
		buf_addf(out, "its gravest mark, %s, is %s", severity_name(input->severity),
			 holds && input->severity < rule->severity ? "graver than "
			 : holds				   ? ""
								   : "below ");
	if (input->severity && (!holds || input->severity < rule->severity))
		buf_adds(out, severity_name(rule->severity));
	else if (input->severity)
		buf_adds(out, "what the rule asks for");
}

static void status_words(const struct rule *rule, const struct rule_input *input, bool holds, struct buf *out)
{
	if (!input->status) {
		buf_adds(out, "no status was sent yet");
		return;
	}
	buf_addf(out, "status %d is %sin ", input->status, holds ? "" : "not ");
	format_status(rule->status, rule->status_count, out);
}

static void aborted_words(const struct rule *rule UNUSED, const struct rule_input *input UNUSED, bool holds,
			  struct buf *out)
{
	buf_adds(out, holds ? "it was aborted" : "it was not aborted");
}

static void size_words(const struct rule *rule, const struct rule_input *input, bool holds, struct buf *out)
{
	if (!input->response_bytes)
		buf_adds(out, "the size of its response is not known yet");
	else
		buf_addf(out, "its response of %llu bytes is %s %llu", (unsigned long long)input->response_bytes,
			 holds ? "not below" : "below", (unsigned long long)rule->response_bytes);
}

/* In the order in which they can come true: the first that holds is the reason, of 'all'
 * the last, which they waited for. */
static const struct condition {
	enum rule_verdict verdict;
	enum reason reason;
	void (*words)(const struct rule *rule, const struct rule_input *input, bool holds, struct buf *out);
} conditions[] = {
	{ RULE_MARK, REASON_APP_MARK, mark_words },	   { RULE_TIME, REASON_TIME_TAKEN, time_words },
	{ RULE_STATUS, REASON_STATUS_CODE, status_words }, { RULE_ABORTED, REASON_ABORTED, aborted_words },
	{ RULE_SIZE, REASON_RESPONSE_SIZE, size_words },
};

static bool has_condition(const struct rule *rule, enum rule_verdict verdict)
{
	switch (verdict) {
	case RULE_TIME:
		return rule->time_taken_ns;
	case RULE_MARK:
		return rule->severity;
	case RULE_STATUS:
		return rule->status_count;
	case RULE_ABORTED:
		return rule->aborted;
	case RULE_SIZE:
		return rule->response_bytes;
	case RULE_NO:
		break;
	}
	return false;
}

static bool condition_holds(const struct rule *rule, enum rule_verdict verdict, const struct rule_input *input)
{
	switch (verdict) {
	case RULE_TIME:
		return rule->time_taken_ns && taken(rule, input) >= rule->time_taken_ns;
	case RULE_MARK:
		return rule->severity && input->severity && input->severity <= rule->severity;
	case RULE_STATUS:
		return input->status && status_in(rule, input->status);
	case RULE_ABORTED:
		return rule->aborted && input->aborted;
	case RULE_SIZE:
		return rule->response_bytes && input->response_bytes >= rule->response_bytes;
	case RULE_NO:
		break;
	}
	return false;
}

static size_t condition_count(const struct rule *rule)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(conditions); i++)
		count += has_condition(rule, conditions[i].verdict);
	return count;
}

enum reason rule_reason(enum rule_verdict verdict)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(conditions) && conditions[i].verdict != verdict)
		i++;
	return conditions[i].reason;
}

/* All of them in words, as far as the rule has them. */
static void say_conditions(const struct rule *rule, const struct rule_input *input, char *why, size_t size)
{
	struct buf text;

	if (!why)
		return;
	buf_init(&text, 2048);
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
		const struct condition *c = &conditions[i];

		if (!has_condition(rule, c->verdict))
			continue;
		buf_adds(&text, text.len ? "; " : "");
		c->words(rule, input, condition_holds(rule, c->verdict, input), &text);
	}
	say(why, size, "%s", text.len ? text.data : "the rule has no condition");
	buf_done(&text);
}

enum rule_verdict rule_match(const struct rule *rule, const struct rule_input *input, char *why, size_t why_size)
{
	enum rule_verdict first = RULE_NO, last = RULE_NO;
	bool all = true;

	if (!scope_fits(rule, input, why, why_size))
		return RULE_NO;
	say_conditions(rule, input, why, why_size);
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
		enum rule_verdict verdict = conditions[i].verdict;

		if (!has_condition(rule, verdict))
			continue;
		if (!condition_holds(rule, verdict, input)) {
			all = false;
			continue;
		}
		first = first == RULE_NO ? verdict : first;
		last = verdict;
	}
	if (rule->all && condition_count(rule) > 1)
		return all ? last : RULE_NO;
	return first;
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

		then.elapsed_ns = MIN(input->elapsed_ns, limits[i] & ~RULE_LIMIT_SERVER);
		then.server_ns = MIN(input->server_ns, then.elapsed_ns);
		then.status = 0; /* not sent yet, and so on; a mark may have been made before */
		then.aborted = false;
		then.response_bytes = 0;
		rule = rules_match(rules, &then, ret_verdict);
		if (rule)
			return rule;
	}
	return rules_match(rules, input, ret_verdict);
}

uint64_t rule_limit(const struct rule *rule)
{
	uint64_t even = rule->time_taken_ns & ~RULE_LIMIT_SERVER;

	return even && rule->server_time ? even | RULE_LIMIT_SERVER : even;
}

int rules_limits(const struct rules *rules, uint64_t *ret_limits, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < rules->count; i++) {
		uint64_t limit = rule_limit(&rules->rule[i]);
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

bool rules_want_aborted(const struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (rules->rule[i].aborted)
			return true;
	}
	return false;
}

uint64_t rules_want_size(const struct rules *rules)
{
	uint64_t least = 0;

	for (size_t i = 0; i < rules->count; i++) {
		uint64_t bytes = rules->rule[i].response_bytes;

		if (bytes && (!least || bytes < least))
			least = bytes;
	}
	return least;
}

enum severity rules_want_mark(const struct rules *rules)
{
	enum severity least = SEVERITY_NONE;

	for (size_t i = 0; i < rules->count; i++)
		least = MAX(least, rules->rule[i].severity);
	return least;
}

/* The capture waits for it, and what it would be told of is not there yet. */
static int check_action_first(const struct rule *rule, struct err *err)
{
	const char *later = rule->action ? action_later_token(rule->action) : NULL;

	if (!rule->action)
		return err_say(err, -EINVAL, "rule '%s': 'when' is about an action, but it has none", rule->name);
	if (rule->action_limit_ns > RULE_ACTION_FIRST_MAX_NS)
		return err_say(err, -EINVAL,
			       "rule '%s': the capture waits for the action: action-timeout is 10s at most before it",
			       rule->name);
	if (later)
		return err_say(err, -EINVAL, "rule '%s': there is no %%%s%% yet before the capture", rule->name, later);
	return 0;
}

int rule_check(const struct rule *rule, struct err *err)
{
	if (condition_count(rule) == 0)
		return err_say(err, -EINVAL, "rule '%s' can never fire: give it time-taken (2s) or status (500-599)",
			       rule->name);
	if (rule->all && condition_count(rule) < 2)
		return err_say(err, -EINVAL, "rule '%s': 'all' joins conditions, but only %s is given", rule->name,
			       rule->time_taken_ns  ? "time-taken"
			       : rule->severity	    ? "severity"
			       : rule->status_count ? "status"
			       : rule->aborted	    ? "aborted"
						    : "response-size");
	if (rule->samples > 1 && !(rule->capture & CAPTURE_STOPS))
		return err_say(err, -EINVAL, "rule '%s': samples are of stacks, but capture leaves them out",
			       rule->name);
	if (!rule->action && (rule->action_limit_ns || rule->action_user))
		return err_say(err, -EINVAL, "rule '%s': '%s' is about an action, but it has none", rule->name,
			       rule->action_limit_ns ? "action-timeout" : "action-user");
	return rule->action_first ? check_action_first(rule, err) : 0;
}

uint64_t rule_action_limit(const struct rule *rule)
{
	if (rule->action_limit_ns)
		return rule->action_limit_ns;
	return rule->action_first ? ACTION_FIRST_LIMIT_NS : ACTION_TIME_LIMIT_NS;
}

void rules_areas(const struct rules *rules, struct areas *ret_areas)
{
	struct areas areas = { { 0 } };

	for (size_t i = 0; i < rules->count; i++) {
		if (i == 0)
			areas = rules->rule[i].areas;
		areas_join(&areas, &rules->rule[i].areas); /* the first, too: what was not said gets its default */
		areas_mark(&areas, rules->rule[i].severity);
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

const struct watch_set *rules_watch(const struct rules *rules, const char *name)
{
	for (size_t i = 0; i < rules->watch_count; i++) {
		if (strcmp(rules->watch[i].name, name) == 0)
			return &rules->watch[i];
	}
	return NULL;
}

void rule_done(struct rule *rule)
{
	free(rule->name);
	free(rule->file);
	free(rule->path);
	free(rule->method);
	free(rule->host);
	free(rule->client);
	strings_free(rule->watch);
	strings_free(rule->exclude);
	strings_free(rule->header);
	strings_free(rule->action);
	free(rule->action_user);
	*rule = (struct rule){ 0 };
}

void rules_free(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		rule_done(&rules->rule[i]);
	for (size_t i = 0; i < rules->watch_count; i++) {
		free(rules->watch[i].name);
		strings_free(rules->watch[i].word);
	}
	free(rules->watch);
	free(rules->rule);
	free(rules->store);
	*rules = (struct rules){ 0 };
}
