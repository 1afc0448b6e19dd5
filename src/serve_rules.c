// SPDX-License-Identifier: MIT
/* Rules with their state, and their editor: a text is checked, compared with the file and
 * tried on a made-up request before it is swapped in; what is wrong changes nothing. Trap:
 * the file may have changed since it was shown, and then it is somebody else's work. */
#include "config.h"
#include "config_save.h"
#include "ktime.h"
#include "log.h"
#include "quota.h"
#include "report_words.h"
#include "serve.h"
#include "value.h"

#include <string.h>

#define SAVE_NS NSEC_PER_SEC /* that the loop waits for it */
#define LINES_MOST 3000	     /* of a file that is compared */

/* ---- state ---- */

/* In front of a condition that is not the first. */
static const char *join(const struct rule *rule, const struct buf *line)
{
	return !line->len ? "" : rule->all ? " and " : " or ";
}

static void add_conditions(const struct rule *rule, struct buf *out)
{
	char text[64];
	struct buf line;

	buf_init(&line, 4096);
	if (rule->time_taken_ns) {
		format_duration(rule->time_taken_ns, text, sizeof(text));
		buf_addf(&line, rule->server_time ? "takes the server %s" : "takes %s", text);
	}
	if (rule->status_count) {
		buf_addf(&line, "%sstatus ", join(rule, &line));
		format_status(rule->status, rule->status_count, &line);
	}
	if (rule->severity)
		buf_addf(&line, "%smarked %s", join(rule, &line), severity_name(rule->severity));
	if (rule->aborted)
		buf_addf(&line, "%saborted", join(rule, &line));
	if (rule->response_bytes) {
		format_size(rule->response_bytes, text, sizeof(text));
		buf_addf(&line, "%sresponse of %s", join(rule, &line), text);
	}
	if (rule->method)
		buf_addf(&line, "; method %s", rule->method);
	if (rule->host)
		buf_addf(&line, "; host %s", rule->host);
	if (rule->path)
		buf_addf(&line, "; path %s", rule->path);
	page_text(out, line.data);
	buf_done(&line);
}

static void add_state(const struct quota_report *report, struct buf *out)
{
	buf_addf(out, "<td class=\"%s\">%s",
		 report->state == STATE_ARMED	 ? "good"
		 : report->state == STATE_FAILED ? "bad"
						 : "soft",
		 quota_state_name(report->state));
	if (report->until_ns > now_ns())
		buf_addf(out, " for %s", word_duration(report->until_ns - now_ns()).s);
	if (report->error || (report->state != STATE_ARMED && report->held_why)) {
		buf_adds(out, "<br><span class=\"soft\">");
		page_text(out, report->error ? report->error : report->held_why);
		buf_adds(out, "</span>");
	}
	buf_adds(out, "</td>");
}

static void add_rule(struct serve *serve, const struct rule *rule, struct buf *out)
{
	const struct serve_rule *did = serve_rule_of(serve, rule->name);
	struct quota_report report;
	char text[64] = "";
	struct buf what;

	engine_rule_report(serve->engine, rule, &report);
	buf_adds(out, "<tr><td>");
	page_text(out, rule->name);
	if (rule->file) {
		buf_adds(out, "<br><span class=\"soft\">");
		page_text(out, rule->file);
		buf_adds(out, "</span>");
	}
	buf_adds(out, "</td>");
	add_state(&report, out);
	buf_adds(out, "<td>");
	add_conditions(rule, out);
	buf_adds(out, "</td><td>");
	buf_init(&what, 256);
	format_capture(rule->capture, &what);
	page_text(out, what.data);
	buf_done(&what);
	buf_addf(out, "</td><td class=\"n\">%u", rule->limit);
	if (rule->limit_window_ns) {
		format_duration(rule->limit_window_ns, text, sizeof(text));
		buf_addf(out, " per %s", text);
	}
	buf_addf(out, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n",
		 word_count(did ? did->trapped : 0).s, word_count(report.captured).s, word_count(report.held_back).s);
}

void serve_rules_page(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		      struct web_reply *reply)
{
	struct buf *out = &reply->body;

	reply->type = "text/html";
	page_begin(out, "Rules", "/rules");
	if (serve->reload_error) {
		buf_adds(out, "<p class=\"warn\">The file was not taken: ");
		page_text(out, serve->reload_error);
		buf_adds(out, ". These, the old ones, stay in force.</p>\n");
	}
	if (serve->rules->refused)
		buf_addf(out, "<p class=\"warn\">Left out of " CONFIG_SITES ", the log says why: %s.</p>\n",
			 word_count(serve->rules->refused).s);
	buf_adds(out,
		 "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Rules in force\"><table><thead><tr>"
		 "<th>rule</th><th>is</th><th>a request is trapped that</th><th>captured</th>"
		 "<th class=\"n\">limit per process</th><th class=\"n\">trapped</th><th class=\"n\">captured</th>"
		 "<th class=\"n\">held back</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < serve->rules->count; i++)
		add_rule(serve, &serve->rules->rule[i], out);
	buf_adds(out,
		 "</tbody></table></div>\n<p>The first rule that matches wins. <a href=\"/rules/edit\">Change or test "
		 "them</a></p>\n<p class=\"soft\">From <code>");
	page_text(out, serve->config_path);
	buf_adds(out, "</code></p>\n");
	page_end(out);
}

/* ---- the editor: what changed ---- */

struct lines {
	const char *at[LINES_MOST];
	size_t len[LINES_MOST];
	size_t count;
};

static bool split(const char *text, struct lines *ret)
{
	ret->count = 0;
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (ret->count == LINES_MOST)
			return false;
		ret->at[ret->count] = text;
		ret->len[ret->count++] = len;
		text += len + (text[len] == '\n');
	}
	return true;
}

static bool same_line(const struct lines *a, size_t i, const struct lines *b, size_t k)
{
	return a->len[i] == b->len[k] && !memcmp(a->at[i], b->at[k], a->len[i]);
}

static void add_diff_line(struct buf *out, char sign, const struct lines *lines, size_t i)
{
	buf_addf(out, "<span class=\"%s\">%c ", sign == '+' ? "add" : "del", sign);
	for (size_t at = 0, len; at <= lines->len[i]; at += len + 1) { /* a tab is no danger, and no '\\x09' */
		const char *text = lines->at[i] + at, *tab = memchr(text, '\t', lines->len[i] - at);

		len = tab ? (size_t)(tab - text) : lines->len[i] - at;
		add_html(out, text, len);
		buf_adds(out, tab ? "\t" : "");
	}
	buf_adds(out, "</span>");
}

/* The longest common run of lines, by the table that everybody knows. */
static void add_diff(const char *before, const char *after, struct buf *out)
{
	static struct lines a, b;
	size_t i = 0, k = 0, changes = 0;
	uint16_t *most;

	if (!split(before, &a) || !split(after, &b)) {
		buf_addf(out, "<p class=\"soft\">More than %d lines: what changed is not shown.</p>\n", LINES_MOST);
		return;
	}
	most = calloc((a.count + 1) * (b.count + 1), sizeof(*most));
	if (!most)
		return;
#define MOST(x, y) most[(x) * (b.count + 1) + (y)]
	for (size_t x = a.count; x-- > 0;) {
		for (size_t y = b.count; y-- > 0;)
			MOST(x, y) = same_line(&a, x, &b, y) ? (uint16_t)(MOST(x + 1, y + 1) + 1)
							     : MAX(MOST(x + 1, y), MOST(x, y + 1));
	}
	buf_adds(out, "<h2>What changes</h2>\n<pre>");
	while (i < a.count || k < b.count) {
		if (i < a.count && k < b.count && same_line(&a, i, &b, k)) {
			i++;
			k++;
			continue;
		}
		changes++;
		if (k < b.count && (i == a.count || MOST(i, k + 1) > MOST(i + 1, k))) {
			add_diff_line(out, '+', &b, k++);
		} else {
			add_diff_line(out, '-', &a, i++);
		}
	}
#undef MOST
	buf_adds(out, changes ? "</pre>\n" : "nothing</pre>\n");
	free(most);
}

/* ---- the editor ---- */

/* Each byte as it is: what comes back is saved. */
static void add_exact(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			buf_adds(out, "&lt;");
		else if (*text == '&')
			buf_adds(out, "&amp;");
		else
			buf_add(out, text, 1);
	}
}

/* As browsers send it: CR LF. */
static void plain_lines(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		if (*p != '\r' || p[1] != '\n')
			*to++ = *p;
	}
	*to = '\0';
}

static uint64_t sum_of(const char *text)
{
	uint64_t sum = 0xcbf29ce484222325ull; /* FNV-1a: to see that a file is another one */

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * 0x100000001b3ull;
	return sum;
}

struct edit {
	char *text, *file; /* as it is wished; as it is */
	char *method, *url, *host, *status, *taken, *severity, *watch, *base, *wish;
	struct rules rules; /* of 'text', and of rules.d */
	bool ok;
};

static void edit_done(struct edit *e)
{
	char *const all[] = { e->text,	e->file,     e->method, e->url,	 e->host, e->status,
			      e->taken, e->severity, e->watch,	e->base, e->wish };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		free(all[i]);
	rules_free(&e->rules);
}

static void add_input(struct buf *out, const char *label, const char *name, const char *value, int size)
{
	buf_addf(out, "<label>%s <input name=\"%s\" size=\"%d\" value=\"", label, name, size);
	if (value && *value)
		page_text(out, value);
	buf_adds(out, "\"></label>\n");
}

static void add_form(const struct edit *e, struct buf *out)
{
	buf_addf(
		out,
		"<form method=\"post\" action=\"/rules/edit\">\n<input type=\"hidden\" name=\"base\" value=\"%016llx\">\n"
		"<label for=\"text\">The rules file</label>\n<textarea id=\"text\" name=\"text\" spellcheck=\"false\" "
		"autocomplete=\"off\">\n",
		(unsigned long long)sum_of(e->file));
	add_exact(out, e->text);
	buf_adds(out, "</textarea>\n<p class=\"row\"><button name=\"do\" value=\"check\">Check</button>\n"
		      "<button name=\"do\" value=\"save\">Save and put in force</button></p>\n"
		      "<fieldset><legend>Which rule would fire?</legend><p class=\"row\">\n");
	add_input(out, "method", "method", e->method ? e->method : "GET", 8);
	add_input(out, "URL", "url", e->url ? e->url : "/", 32);
	add_input(out, "host", "host", e->host, 16);
	add_input(out, "status", "status", e->status, 5);
	add_input(out, "time taken", "taken", e->taken, 8);
	add_input(out, "severity", "severity", e->severity, 9);
	add_input(out, "watch set", "watch", e->watch, 12);
	buf_adds(out, "<button name=\"do\" value=\"test\">Test</button></p></fieldset>\n</form>\n");
}

static void add_problems(const struct buf *problems, struct buf *out)
{
	if (!problems->len)
		return;
	buf_adds(out, "<h2>Problems</h2>\n<pre>");
	add_exact(out, problems->data); /* config.c escaped what is no text */
	buf_adds(out, "</pre>\n");
}

static bool is_in_watch(void *arg, const char *name)
{
	const struct edit *e = arg;

	return e->watch && !strcmp(e->watch, name);
}

static void add_test(struct edit *e, struct buf *out)
{
	struct rule_input input = { .method = e->method,
				    .url = e->url,
				    .host = e->host && *e->host ? e->host : NULL,
				    .in_watch = is_in_watch,
				    .arg = e };
	const struct rule *first;
	enum rule_verdict verdict;
	uint64_t number;
	struct err err;

	if (e->status && *e->status && parse_count(e->status, 100, 999, &number, &err) == 0)
		input.status = (int)number;
	else if (e->status && *e->status) {
		buf_adds(out, "<p class=\"warn\">status: ");
		page_text(out, err.text);
		buf_adds(out, "</p>\n");
	}
	if (e->taken && *e->taken && parse_duration(e->taken, &input.elapsed_ns, &err) < 0) {
		buf_adds(out, "<p class=\"warn\">time taken: ");
		page_text(out, err.text);
		buf_adds(out, "</p>\n");
	}
	input.severity = e->severity ? severity_of(e->severity) : SEVERITY_NONE;
	if (e->severity && *e->severity && !input.severity)
		buf_adds(out, "<p class=\"warn\">severity: critical, error, warning, information or verbose.</p>\n");
	input.server_ns = input.elapsed_ns; /* of no client it is said that it was slow */
	first = rules_match_passing(&e->rules, &input, &verdict);
	buf_adds(
		out,
		"<h2>Such a request</h2>\n<div class=\"wide\"><table><thead><tr><th>rule</th><th></th><th>why</th></tr>"
		"</thead><tbody>\n");
	for (size_t i = 0; i < e->rules.count; i++) {
		const struct rule *rule = &e->rules.rule[i];
		char why[900];
		bool would = rule_match(rule, &input, why, sizeof(why)) != RULE_NO;

		buf_adds(out, "<tr><td>");
		page_text(out, rule->name);
		if (rule->file) {
			buf_adds(out, "<br><span class=\"soft\">");
			page_text(out, rule->file);
			buf_adds(out, "</span>");
		}
		buf_adds(out, would && rule == first ? "</td><td><b class=\"good\">fires</b></td><td>"
			      : would		     ? "</td><td>would; another one comes first</td><td>"
						     : "</td><td class=\"soft\">no</td><td>");
		page_text(out, why);
		buf_adds(out, "</td></tr>\n");
	}
	buf_adds(out, "</tbody></table></div>\n");
}

/* True: it is in force, and there is nothing more to show. */
static bool save(struct serve *serve, const struct web_request *request, const struct edit *e, struct buf *out)
{
	struct err err = { "" };
	int r = 0;

	if (!request->local && !serve->may_edit)
		r = err_say(&err, -EPERM, "over the port rules are changed only where 'serve' runs with --web-edit");
	else if (!e->ok)
		r = err_say(&err, -EINVAL, "it has mistakes");
	else if (!e->base || strtoull(e->base, NULL, 16) != sum_of(e->file))
		r = err_say(&err, -EBUSY,
			    "the file has changed since this page was made; see below how "
			    "yours differs, and save again if that is meant");
	if (r == 0)
		r = config_save_apart(serve->config_path, e->file, e->text, SAVE_NS, &err);
	if (r == -EINPROGRESS) /* the next look at the file finds it */
		log_warn("%s", err.text);
	else if (r < 0)
		err_wrap(&err, r, "not saved");
	else
		log_note("the rules were changed through the page");
	if (r > 0)
		log_warn("%s", err.text);
	if (r >= 0) {
		struct err again;

		r = serve_reload(serve, &err);
		if (r < 0 && config_save_apart(serve->config_path, e->text, e->file, SAVE_NS, &again) >= 0)
			serve->seen = config_stamp(serve->config_path); /* what is in force already */
	}
	if (r == 0)
		return true;
	buf_adds(out, "<p class=\"warn\" role=\"alert\">");
	page_text(out, err.text);
	buf_adds(out, "</p>\n");
	return false;
}

static void edit_read(struct edit *e, const struct web_request *request, struct serve *serve, struct err *err)
{
	size_t len;

	if (config_load(serve->config_path, CONFIG_BYTES_MAX, &e->file, &len, err) == 0)
		e->file[len] = '\0'; /* there is room for it */
	e->text = web_field(request->body, "text");
	e->base = web_field(request->body, "base");
	e->wish = web_field(request->body, "do");
	e->method = web_field(request->body, "method");
	e->url = web_field(request->body, "url");
	e->host = web_field(request->body, "host");
	e->status = web_field(request->body, "status");
	e->taken = web_field(request->body, "taken");
	e->severity = web_field(request->body, "severity");
	e->watch = web_field(request->body, "watch");
	if (!e->text)
		e->text = strdup(e->file ? e->file : "");
	if (e->text)
		plain_lines(e->text);
}

static void add_judgement(const struct edit *e, struct buf *out)
{
	if (!e->ok || !e->wish)
		return;
	buf_addf(out, "<p class=\"good\" role=\"status\">No mistakes: %zu rule%s.</p>\n", e->rules.count,
		 e->rules.count == 1 ? "" : "s");
	if (e->rules.refused)
		buf_addf(out, "<p class=\"warn\">Left out of " CONFIG_SITES ": %s.</p>\n",
			 word_count(e->rules.refused).s);
}

void serve_edit_page(struct serve *serve, const struct web_request *request, const char *in UNUSED,
		     struct web_reply *reply)
{
	struct buf *out = &reply->body, problems;
	struct err err = { "" };
	struct edit e = { 0 };

	reply->type = "text/html";
	edit_read(&e, request, serve, &err);
	page_begin(out, "Change the rules", "/rules");
	buf_init(&problems, 1u << 20);
	if (!e.file || !e.text) {
		buf_adds(out, "<p class=\"warn\">");
		page_text(out, err.text[0] ? err.text : "out of memory");
		buf_adds(out, "</p>\n");
	} else {
		e.ok = config_read_as(serve->config_path, e.text, &e.rules, &problems, &err) == 0;
		if (!e.ok && !problems.len) /* nothing about a line of it */
			buf_addf(&problems, "%s\n", err.text);
		if (e.wish && !strcmp(e.wish, "save") && save(serve, request, &e, out)) {
			reply->status = 303;
			snprintf(reply->location, sizeof(reply->location), "/rules");
		}
		add_problems(&problems, out);
		add_judgement(&e, out);
		if (e.wish)
			add_diff(e.file, e.text, out);
		if (e.ok && e.wish && !strcmp(e.wish, "test"))
			add_test(&e, out);
		add_form(&e, out);
	}
	page_end(out);
	buf_done(&problems);
	edit_done(&e);
}
