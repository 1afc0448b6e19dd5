// SPDX-License-Identifier: MIT
/* Rules back into a file. Trap: what libconfuse would act on in a text is spelled out,
 * or the file would say something else than the rules do. */
#include "config.h"

#include <string.h>

/* Double quotes, and everything spelled out that libconfuse would act on. */
void config_write_text(const char *text, struct buf *out)
{
	buf_adds(out, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\' || c == '$')
			buf_addf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_addf(out, "\\x%02x", c);
		else
			buf_add(out, text, 1);
	}
	buf_adds(out, "\"");
}

static void write_key(struct buf *out, const char *key)
{
	buf_addf(out, "    %-12s = ", key);
}

static void write_text_key(struct buf *out, const char *key, const char *text)
{
	if (!text)
		return;
	write_key(out, key);
	config_write_text(text, out);
	buf_adds(out, "\n");
}

static void write_duration_key(struct buf *out, const char *key, uint64_t ns)
{
	char text[32];

	if (!ns)
		return;
	format_duration(ns, text, sizeof(text));
	write_key(out, key);
	buf_addf(out, "%s\n", text);
}

static void write_list(struct buf *out, const char *key, char *const *list)
{
	write_key(out, key);
	buf_adds(out, "{");
	for (size_t i = 0; list[i]; i++) {
		buf_adds(out, i ? ", " : "");
		config_write_text(list[i], out);
	}
	buf_adds(out, "}\n");
}

/* What the buffer has, comma-separated, as a list; it is empty afterwards. */
static void write_words(struct buf *out, const char *key, struct buf *words)
{
	if (words->len) {
		write_key(out, key);
		buf_adds(out, "{");
		for (char *save = NULL, *word = strtok_r(words->data, ",", &save), *comma = ""; word;
		     word = strtok_r(NULL, ",", &save), comma = ", ")
			buf_addf(out, "%s\"%s\"", comma, word);
		buf_adds(out, "}\n");
	}
	buf_done(words);
}

void config_write_rule(const struct rule *rule, struct buf *out)
{
	struct buf words;
	char text[64];

	buf_adds(out, "rule ");
	config_write_text(rule->name, out);
	buf_adds(out, " {\n");
	if (rule->watch)
		write_list(out, "watch", rule->watch);
	write_text_key(out, "path", rule->path);
	if (rule->exclude)
		write_list(out, "exclude", rule->exclude);
	write_text_key(out, "method", rule->method);
	write_text_key(out, "host", rule->host);
	buf_init(&words, 65536);
	for (size_t i = 0; i < rule->client_count; i++) {
		buf_adds(&words, i ? "," : "");
		format_network(&rule->client[i], &words);
	}
	write_words(out, "client", &words);
	if (rule->header)
		write_list(out, "header", rule->header);
	write_duration_key(out, "time-taken", rule->time_taken_ns);
	if (rule->time_taken_ns)
		buf_addf(out, "    time-counts  = %s\n", rule->server_time ? "server" : "whole");
	buf_init(&words, 1024);
	if (rule->status_count) {
		format_status(rule->status, rule->status_count, &words);
		write_text_key(out, "status", words.data);
	}
	buf_done(&words);
	if (rule->aborted)
		buf_adds(out, "    aborted      = true\n");
	if (rule->response_bytes) {
		format_size(rule->response_bytes, text, sizeof(text));
		buf_addf(out, "    response-size = %s\n", text);
	}
	if (rule->severity)
		buf_addf(out, "    severity     = %s\n", severity_name(rule->severity));
	if (rule->all)
		buf_adds(out, "    all          = true\n");
	if (rule->occurrences > 1) {
		format_duration(rule->occurrences_window_ns, text, sizeof(text));
		buf_addf(out, "    occurrences  = \"%u/%s\"\n", rule->occurrences, text);
	}
	if (rule->samples > 1) {
		buf_addf(out, "    samples      = %u\n", rule->samples);
		write_duration_key(out, "every", rule->every_ns);
	}
	if (rule->arguments)
		buf_adds(out, "    arguments    = true\n");
	format_capture(rule->capture, &words);
	write_words(out, "capture", &words);
	areas_format(&rule->areas, &words);
	write_words(out, "areas", &words);
	if (rule->statements)
		buf_adds(out, "    statements   = true\n");
	buf_addf(out, "    limit        = %u\n", rule->limit);
	write_duration_key(out, "limit-window", rule->limit_window_ns);
	write_duration_key(out, "cool-down", rule->cool_down_ns);
	if (rule->action) {
		write_list(out, "action", rule->action);
		if (rule->action_first)
			buf_adds(out, "    when         = before-capture\n");
		write_duration_key(out, "action-timeout", rule_action_limit(rule));
		write_text_key(out, "action-user", rule->action_user);
	}
	buf_adds(out, "}\n");
}

static void write_keep(const struct store_keep *keep, struct buf *out)
{
	char text[64];

	if (!keep->files && !keep->max_bytes && !keep->max_age_ns && !keep->free_bytes && !keep->free_percent)
		return;
	buf_adds(out, "\nkeep {\n");
	if (keep->files)
		buf_addf(out, "    files        = %llu\n", (unsigned long long)keep->files);
	if (keep->max_bytes) {
		format_size(keep->max_bytes, text, sizeof(text));
		buf_addf(out, "    max-size     = %s\n", text);
	}
	if (keep->free_percent) {
		buf_addf(out, "    free-space   = %u%%\n", keep->free_percent);
	} else if (keep->free_bytes) {
		format_size(keep->free_bytes, text, sizeof(text));
		buf_addf(out, "    free-space   = %s\n", text);
	}
	write_duration_key(out, "max-age", keep->max_age_ns);
	buf_adds(out, "}\n");
}

static void write_common(const struct rules *rules, struct buf *out)
{
	char text[64];

	if (!rules->all_captures && !rules->all_pause_ns)
		return;
	buf_adds(out, "\nlimits {\n");
	if (rules->all_captures) {
		format_duration(rules->all_window_ns, text, sizeof(text));
		buf_addf(out, "    captures     = \"%u/%s\"\n", rules->all_captures, text);
	}
	write_duration_key(out, "pause", rules->all_pause_ns);
	buf_adds(out, "}\n");
}

/* Words that begin with the prefix; of "" those without one. */
static void write_members(const struct watch_set *set, const char *key, const char *prefix, struct buf *out)
{
	const char *comma = "";

	for (size_t i = 0; set->word && set->word[i]; i++) {
		const char *word = set->word[i];

		if (*prefix ? strncmp(word, prefix, strlen(prefix)) != 0 : strchr(word, ':') != NULL)
			continue;
		if (!*comma) {
			write_key(out, key);
			buf_adds(out, "{");
		}
		buf_adds(out, comma);
		config_write_text(word + strlen(prefix), out);
		comma = ", ";
	}
	buf_adds(out, *comma ? "}\n" : "");
}

static void write_watch(const struct watch_set *set, struct buf *out)
{
	buf_adds(out, "\nwatch ");
	config_write_text(set->name, out);
	buf_adds(out, " {\n");
	write_members(set, "process", "", out);
	write_members(set, "port", ":", out);
	write_members(set, "unit", "unit:", out);
	write_members(set, "cgroup", "cgroup:", out);
	write_members(set, "user", "user:", out);
	buf_adds(out, "}\n");
}

void config_write(const struct rules *rules, struct buf *out)
{
	if (rules->store) {
		buf_adds(out, "store           = ");
		config_write_text(rules->store, out);
		buf_adds(out, "\n");
	}
	buf_addf(out, "actions-enabled = %s\n", rules->actions_enabled ? "true" : "false");
	if (rules->show_values)
		buf_adds(out, "show-values     = true\n");
	write_keep(&rules->keep, out);
	write_common(rules, out);
	for (size_t i = 0; i < rules->watch_count; i++)
		write_watch(&rules->watch[i], out);
	for (size_t i = 0; i < rules->count; i++) {
		buf_adds(out, "\n");
		if (rules->rule[i].file)
			buf_addf(out, "# from %s\n", rules->rule[i].file);
		config_write_rule(&rules->rule[i], out);
	}
}
