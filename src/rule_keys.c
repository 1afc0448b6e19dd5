// SPDX-License-Identifier: MIT
/* The keys of a rule, each with what it takes: the same words in a file and on the
 * command line. Trap: a value that is refused must leave the old one as it was. */
#include "rule.h"

#include "action.h"
#include "ktime.h"

#include <ctype.h>
#include <string.h>

#define TIME_TAKEN_MIN_NS NSEC_PER_MSEC
#define EVERY_MIN_NS (50 * NSEC_PER_MSEC) /* each is a stop of the process */
#define OCCURRENCES_MAX 10000
#define USER_NAME_MAX 255
#define USER_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@$\\"
#define TOKEN_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

static int set_text(char **at, const char *value, struct err *err)
{
	char *copy = strdup(value);

	if (!copy)
		return err_say(err, -ENOMEM, "out of memory");
	free(*at);
	*at = copy;
	return 0;
}

static int check_path(const char *value, struct err *err)
{
	if (value[0] != '/' && value[0] != '*' && value[0] != '?')
		return err_say(err, -EINVAL, "'%s' can match no path: a path begins with '/' (try '/%s' or '*%s')",
			       value, value, value);
	if (strpbrk(value, "?#") && strchr(value, '='))
		return err_say(err, -EINVAL, "'%s' can match no path: the query is not part of it (try '%.*s')", value,
			       (int)strcspn(value, "?#"), value);
	return 0;
}

static int set_path(struct rule *rule, const char *value, struct err *err)
{
	int code = check_path(value, err);

	return code < 0 ? code : set_text(&rule->path, value, err);
}

static int set_method(struct rule *rule, const char *value, struct err *err)
{
	if (value[strspn(value, TOKEN_LETTERS)])
		return err_say(err, -EINVAL, "'%s' is not a method (try GET or POST)", value);
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
	if (rule_host_len(value) != strlen(value))
		return err_say(err, -EINVAL, "'%s': the host is compared without its port (try '%.*s')", value,
			       (int)rule_host_len(value), value);
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

static int set_time_counts(struct rule *rule, const char *value, struct err *err)
{
	bool server = strcmp(value, "server") == 0;

	if (!server && strcmp(value, "whole") != 0)
		return err_say(err, -EINVAL, "'%s' is neither server nor whole", value);
	rule->server_time = server;
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

static int set_exclude(struct rule *rule, const char *value, struct err *err)
{
	int code = check_path(value, err);

	if (code == 0 && strings_add(&rule->exclude, value) < 0)
		code = err_say(err, -ENOMEM, "out of memory");
	return code;
}

static int set_header(struct rule *rule, const char *value, struct err *err)
{
	size_t len = strspn(value, TOKEN_LETTERS);

	if (!len || (value[len] && value[len] != ':'))
		return err_say(err, -EINVAL, "'%s' is no header (try 'User-Agent: curl*', or a name alone)", value);
	return strings_add(&rule->header, value) < 0 ? err_say(err, -ENOMEM, "out of memory") : 0;
}

static int set_client(struct rule *rule, const char *value, struct err *err)
{
	struct network network, *at;
	int code = parse_network(value, &network, err);

	if (code < 0)
		return code;
	at = list_add(&rule->client, &rule->client_count, sizeof(*at));
	if (!at)
		return err_say(err, -ENOMEM, "out of memory");
	*at = network;
	return 0;
}

static int set_watch(struct rule *rule, const char *value, struct err *err)
{
	if (!*value)
		return err_say(err, -EINVAL, "a watch set has a name");
	return strings_add(&rule->watch, value) < 0 ? err_say(err, -ENOMEM, "out of memory") : 0;
}

static int set_aborted(struct rule *rule, const char *value, struct err *err)
{
	return set_flag(&rule->aborted, value, err);
}

static int set_response_size(struct rule *rule, const char *value, struct err *err)
{
	uint64_t bytes = 0;
	int code = parse_size(value, &bytes, err);

	if (code < 0)
		return code;
	if (!bytes)
		return err_say(err, -EINVAL, "'%s': each response is longer (try 10M)", value);
	rule->response_bytes = bytes;
	return 0;
}

static int set_severity(struct rule *rule, const char *value, struct err *err)
{
	enum severity severity = severity_of(value);

	if (!severity)
		return err_say(err, -EINVAL, "'%s' is not one of critical, error, warning, information, verbose",
			       value);
	rule->severity = severity;
	return 0;
}

static int set_occurrences(struct rule *rule, const char *value, struct err *err)
{
	uint64_t window = 0;
	uint32_t count = 0;

	if (parse_limit(value, &count, &window, NULL) < 0 || !window || count < 2 || count > OCCURRENCES_MAX)
		return err_say(err, -EINVAL, "'%s' is not 'so many in such a time' (try 5/1m; 2 to %u)", value,
			       OCCURRENCES_MAX);
	rule->occurrences = count;
	rule->occurrences_window_ns = window;
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

static int set_action_timeout(struct rule *rule, const char *value, struct err *err)
{
	uint64_t ns = 0;
	int code = parse_duration(value, &ns, err);

	if (code < 0)
		return code;
	if (ns < RULE_ACTION_LIMIT_MIN_NS || ns > RULE_ACTION_LIMIT_MAX_NS)
		return err_say(err, -EINVAL, "'%s' is too %s for an action (100ms to 1h; try 30s)", value,
			       ns < RULE_ACTION_LIMIT_MIN_NS ? "short" : "long");
	rule->action_limit_ns = ns;
	return 0;
}

static int set_when(struct rule *rule, const char *value, struct err *err)
{
	rule->action_first = strcmp(value, "before-capture") == 0;
	if (!rule->action_first && strcmp(value, "after-capture") != 0)
		return err_say(err, -EINVAL, "'%s' is neither before-capture nor after-capture", value);
	return 0;
}

/* Whether there is such a user is asked when the action runs: that may take a network. */
static int set_action_user(struct rule *rule, const char *value, struct err *err)
{
	if (!*value || strlen(value) > USER_NAME_MAX || value[strspn(value, USER_LETTERS)] || *value == '-')
		return err_say(err, -EINVAL, "'%s' is no name of a user (try www-data)", value);
	return set_text(&rule->action_user, value, err);
}

enum key_kind { KEY_VALUE, KEY_FLAG, KEY_LIST };

static const struct rule_key {
	const char *name;
	int (*set)(struct rule *rule, const char *value, struct err *err);
	enum key_kind kind;
} keys[] = {
	{ "watch", set_watch, KEY_LIST },
	{ "path", set_path, KEY_VALUE },
	{ "exclude", set_exclude, KEY_LIST },
	{ "method", set_method, KEY_VALUE },
	{ "host", set_host, KEY_VALUE },
	{ "client", set_client, KEY_LIST },
	{ "header", set_header, KEY_LIST },
	{ "time-taken", set_time_taken, KEY_VALUE },
	{ "time-counts", set_time_counts, KEY_VALUE },
	{ "status", set_status, KEY_VALUE },
	{ "aborted", set_aborted, KEY_FLAG },
	{ "response-size", set_response_size, KEY_VALUE },
	{ "severity", set_severity, KEY_VALUE },
	{ "all", set_all, KEY_FLAG },
	{ "occurrences", set_occurrences, KEY_VALUE },
	{ "capture", set_capture, KEY_VALUE },
	{ "areas", set_areas, KEY_VALUE },
	{ "samples", set_samples, KEY_VALUE },
	{ "every", set_every, KEY_VALUE },
	{ "limit", set_limit, KEY_VALUE },
	{ "limit-window", set_limit_window, KEY_VALUE },
	{ "cool-down", set_cool_down, KEY_VALUE },
	{ "action", set_action, KEY_VALUE },
	{ "when", set_when, KEY_VALUE },
	{ "action-timeout", set_action_timeout, KEY_VALUE },
	{ "action-user", set_action_user, KEY_VALUE },
	{ "arguments", set_arguments, KEY_FLAG },
	{ "statements", set_statements, KEY_FLAG },
};

static const struct rule_key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

bool rule_key_is_list(const char *key)
{
	const struct rule_key *row = find_key(key);

	return row && row->kind == KEY_LIST;
}

int rule_set(struct rule *rule, const char *key, const char *value, struct err *err)
{
	const struct rule_key *row = find_key(key);

	if (!row)
		return err_say(err, -EINVAL, "no such option '%s'", key);
	if (!value && row->kind != KEY_FLAG)
		return err_say(err, -EINVAL, "'%s' needs a value", key);
	return row->set(rule, value, err);
}
