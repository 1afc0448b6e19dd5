// SPDX-License-Identifier: MIT
/* The daemon's pages but for those of the rules: plain HTML that is whole without script;
 * the script only fetches the table of live requests again and puts it in place. Trap:
 * everything here is a client's text or a file's: it goes through page_text alone. */
#include "facts.h"
#include "flight.h"
#include "ktime.h"
#include "report_words.h"
#include "serve.h"
#include "serve_files.h"
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define LIVE_ROWS 200
#define RECENT_ROWS 20
#define LIST_ROWS 300

void page_text(struct buf *out, const char *text)
{
	if (text && *text)
		add_html(out, text, strlen(text));
	else
		buf_adds(out, "-");
}

void page_begin(struct buf *out, const char *title, const char *here)
{
	static const struct {
		const char *path, *name;
	} rooms[] = { { "/", "Live" }, { "/incidents", "Incidents" }, { "/rules", "Rules" }, { "/metrics", "Metrics" } };

	buf_adds(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
	page_text(out, title);
	buf_adds(
		out,
		" - reqtrap</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page.css\">\n"
		"<script src=\"/page.js\" defer></script>\n</head>\n<body>\n"
		"<a class=\"skip\" href=\"#main\">Skip to the page</a>\n<header><b>reqtrap</b>\n<nav aria-label=\"Pages\">");
	for (size_t i = 0; i < ARRAY_LEN(rooms); i++)
		buf_addf(out, "<a href=\"%s\"%s>%s</a>\n", rooms[i].path,
			 !strcmp(rooms[i].path, here) ? " aria-current=\"page\"" : "", rooms[i].name);
	buf_adds(out, "</nav></header>\n<main id=\"main\">\n<h1>");
	page_text(out, title);
	buf_adds(out, "</h1>\n");
}

void page_end(struct buf *out)
{
	buf_adds(out, "</main>\n</body>\n</html>\n");
}

/* ---- live ---- */

static void add_state(struct buf *out, const struct flight_state *state)
{
	page_text(out, state->word);
	if (!state->on[0])
		return;
	buf_adds(out, " <span class=\"soft\">");
	page_text(out, state->on);
	buf_adds(out, "</span>");
}

static void add_flight_row(struct buf *out, const struct flight_row *row)
{
	buf_addf(out, "<tr><td class=\"n\">%s</td><td>", word_duration(row->elapsed_ns).s);
	page_text(out, row->method);
	buf_adds(out, " <code>");
	page_text(out, row->url);
	buf_adds(out, "</code></td><td>");
	page_text(out, row->process);
	buf_addf(out, " %d", row->pid);
	if (row->tid != row->pid)
		buf_addf(out, " <span class=\"soft\">thread %d</span>", row->tid);
	if (row->via[0]) {
		buf_adds(out, " <span class=\"soft\">by ");
		page_text(out, row->via);
		buf_adds(out, "</span>");
	}
	buf_adds(out, "</td><td>");
	add_state(out, &row->state);
	buf_addf(out, "</td><td class=\"n\">%s</td></tr>\n", row->status ? word_count((uint64_t)row->status).s : "");
}

static void add_flight(struct serve *serve, struct buf *out)
{
	struct tracer *tracer = engine_tracer(serve->engine);
	struct flight flight;
	size_t shown = 0;
	bool torn;

	if (flight_take(tracer, &flight) < 0) {
		buf_adds(out, "<p>There is no memory to look at them.</p>\n");
		return;
	}
	buf_addf(out, "<p class=\"soft\" role=\"status\">%s in flight", word_count(flight.count).s);
	if (flight.inner)
		buf_addf(out, ", and %s call%s between them", word_count(flight.inner).s, word_plural(flight.inner));
	buf_adds(out, "</p>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Requests in flight\">"
		      "<table>\n<thead><tr><th class=\"n\">for</th><th>request</th><th>held by</th><th>which is</th>"
		      "<th class=\"n\">status</th></tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < flight.count && shown < LIVE_ROWS; i++) {
		struct flight_row row;

		if (!flight_describe(tracer, &flight.request[i], &row, &torn))
			continue;
		add_flight_row(out, &row);
		flight_row_done(&row);
		shown++;
	}
	if (!shown)
		buf_adds(out, "<tr><td colspan=\"5\" class=\"soft\">none at this moment</td></tr>\n");
	buf_adds(out, "</tbody></table></div>\n");
	if (flight.count > LIVE_ROWS)
		buf_addf(out, "<p class=\"soft\">%zu more, all younger, are not shown.</p>\n",
			 flight.count - LIVE_ROWS);
	flight_done(&flight);
}

void serve_live_rows(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		     struct web_reply *reply)
{
	reply->type = "text/html";
	add_flight(serve, &reply->body);
}

/* ---- incidents ---- */

static void add_when(struct buf *out, uint64_t wall_ns)
{
	time_t when = (time_t)(wall_ns / NSEC_PER_SEC);
	char text[40];
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_addf(out, "<time datetime=\"%s\">", text);
	strftime(text, sizeof(text), "%m-%d %H:%M:%S", &tm);
	buf_addf(out, "%s</time>", text);
}

static void add_incident_row(struct buf *out, const struct serve_row *row)
{
	buf_adds(out, "<tr><td class=\"n\">");
	add_when(out, row->wall_ns);
	buf_adds(out, "</td><td>");
	if (row->folder)
		buf_addf(out, "<a href=\"/incident/%s/report.html\">", row->id);
	page_text(out, row->method);
	buf_adds(out, " <code>");
	page_text(out, row->url);
	buf_adds(out, row->folder ? "</code></a>" : "</code>");
	buf_addf(out, "</td><td class=\"n\">%s</td><td class=\"n\">", word_duration(row->elapsed_ns).s);
	if (row->status)
		buf_addf(out, "%d", row->status);
	else
		buf_adds(out, "-");
	buf_adds(out, "</td><td>");
	page_text(out, row->rule);
	buf_adds(out, "</td><td>");
	if (row->not_captured) {
		buf_adds(out, "<span class=\"soft\">not captured: ");
		page_text(out, row->not_captured);
		buf_adds(out, "</span>");
	} else {
		page_text(out, row->verdict);
	}
	buf_adds(out, "</td><td>");
	if (row->folder)
		buf_addf(out, "<a href=\"/incident/%s/trace.json\">trace</a>", row->id);
	if (row->folder && row->core)
		buf_addf(out, " <a href=\"/incident/%s/core\">core</a>", row->id);
	buf_adds(out, "</td></tr>\n");
}

static void add_incidents_head(struct buf *out, const char *label)
{
	buf_addf(
		out,
		"<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table>\n<thead><tr><th class=\"n\">"
		"trapped, UTC</th><th>request</th><th class=\"n\">took</th><th class=\"n\">status</th><th>rule</th>"
		"<th>verdict</th><th>files</th></tr></thead>\n<tbody>\n",
		label);
}

static bool has(const char *text, const char *part)
{
	return text && strcasestr(text, part);
}

static bool is_asked(const struct serve_row *row, const char *rule, const char *text)
{
	if (rule && *rule && (!row->rule || strcmp(row->rule, rule)))
		return false;
	return !text || !*text || has(row->url, text) || has(row->verdict, text) || has(row->process, text) ||
	       has(row->id, text) || has(row->method, text);
}

static size_t add_incidents(struct serve *serve, struct buf *out, const char *rule, const char *text, size_t most)
{
	size_t shown = 0, more = 0;

	add_incidents_head(out, "Incidents");
	for (size_t i = serve->row_count; i-- > 0;) {
		if (!is_asked(&serve->row[i], rule, text))
			continue;
		if (shown < most)
			add_incident_row(out, &serve->row[i]);
		shown < most ? shown++ : more++;
	}
	if (!shown)
		buf_adds(out, "<tr><td colspan=\"7\" class=\"soft\">none</td></tr>\n");
	buf_adds(out, "</tbody></table></div>\n");
	if (more)
		buf_addf(out, "<p class=\"soft\">%zu older ones are not shown here.</p>\n", more);
	return shown;
}

void serve_live_page(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		     struct web_reply *reply)
{
	struct buf *out = &reply->body;

	reply->type = "text/html";
	page_begin(out, "Requests in flight", "/");
	if (serve->reload_error) {
		buf_adds(out, "<p class=\"warn\">The rules file was not taken: ");
		page_text(out, serve->reload_error);
		buf_adds(out, ". The old rules stay in force.</p>\n");
	}
	buf_adds(out, "<div id=\"live\" data-from=\"/live\">\n");
	add_flight(serve, out);
	buf_adds(out,
		 "</div>\n<p><button type=\"button\" id=\"hold\" hidden>Hold</button></p>\n<h2>Trapped last</h2>\n");
	add_incidents(serve, out, NULL, NULL, RECENT_ROWS);
	page_end(out);
}

/* Same rule, verdict and path: one line. */
struct kind {
	const struct serve_row *last, *first;
	uint64_t count, longest_ns;
};

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_path(const char *a, const char *b)
{
	size_t len = a ? strcspn(a, "?") : 0;

	return a && b && len == strcspn(b, "?") && !memcmp(a, b, len);
}

static void add_kind(struct buf *out, const struct kind *k)
{
	buf_addf(out, "<tr><td class=\"n\">%s</td><td><code>", word_count(k->count).s);
	page_text(out, k->last->url);
	buf_adds(out, "</code></td><td>");
	page_text(out, k->last->rule);
	buf_addf(out, "</td><td class=\"n\">%s</td><td>", word_duration(k->longest_ns).s);
	add_when(out, k->first->wall_ns);
	buf_adds(out, "</td><td>");
	if (k->last->folder)
		buf_addf(out, "<a href=\"/incident/%s/report.html\">", k->last->id);
	add_when(out, k->last->wall_ns);
	buf_adds(out, k->last->folder ? "</a></td></tr>\n" : "</td></tr>\n");
}

static void add_kinds(struct serve *serve, struct buf *out, const char *rule, const char *text)
{
	CLEAN(free) struct kind *kind = NULL;
	size_t count = 0, k;

	for (size_t i = serve->row_count; i-- > 0;) {
		const struct serve_row *row = &serve->row[i];

		if (!is_asked(row, rule, text))
			continue;
		for (k = 0; k < count; k++) {
			if (same(kind[k].last->rule, row->rule) && same_path(kind[k].last->url, row->url))
				break;
		}
		if (k == count) {
			struct kind *new = list_add(&kind, &count, sizeof(*kind));

			if (!new)
				break;
			new->last = row;
		}
		kind[k].first = row;
		kind[k].count++;
		kind[k].longest_ns = MAX(kind[k].longest_ns, row->elapsed_ns);
	}
	buf_adds(
		out,
		"<p class=\"soft\">Grouped because rule and path are the same.</p>\n<div class=\"wide\" tabindex=\"0\" "
		"role=\"region\" aria-label=\"Groups\"><table><thead><tr><th class=\"n\">count</th><th>path</th>"
		"<th>rule</th><th class=\"n\">longest</th><th>first</th><th>last</th></tr></thead><tbody>\n");
	for (k = 0; k < count; k++)
		add_kind(out, &kind[k]);
	buf_adds(out, "</tbody></table></div>\n");
}

static void add_filter(struct serve *serve, struct buf *out, const char *rule, const char *text, bool group)
{
	buf_adds(
		out,
		"<form class=\"filter\" method=\"get\" action=\"/incidents\">\n<label>text <input name=\"q\" value=\"");
	if (text && *text)
		page_text(out, text);
	buf_adds(out, "\"></label>\n<label>rule <select name=\"rule\"><option value=\"\">all</option>\n");
	for (size_t i = 0; i < serve->rule_count; i++) {
		const char *name = serve->rule[i].name;

		buf_addf(out, "<option%s>", rule && !strcmp(rule, name) ? " selected" : "");
		page_text(out, name);
		buf_adds(out, "</option>\n");
	}
	buf_addf(out,
		 "</select></label>\n<label><input type=\"checkbox\" name=\"group\" value=\"1\"%s> group</label>\n"
		 "<button>Show</button>\n</form>\n",
		 group ? " checked" : "");
}

void serve_list_page(struct serve *serve, const struct web_request *request, const char *in UNUSED,
		     struct web_reply *reply)
{
	const char *rule = web_query(request, "rule"), *text = web_query(request, "q");
	bool group = web_query(request, "group") != NULL;
	struct buf *out = &reply->body;

	reply->type = "text/html";
	page_begin(out, "Incidents", "/incidents");
	add_filter(serve, out, rule, text, group);
	heat_draw(serve, out);
	if (group)
		add_kinds(serve, out, rule, text);
	else
		add_incidents(serve, out, rule, text, LIST_ROWS);
	buf_adds(out, "<p class=\"soft\">They lie in <code>");
	page_text(out, serve->store_path);
	buf_adds(out, "</code></p>\n");
	page_end(out);
}

/* ---- one incident: its files ---- */

static const struct {
	const char *name, *type;
	bool saved;
} files[] = {
	{ "report.html", "text/html", false },		{ "report.txt", "text/plain", false },
	{ "stacks.txt", "text/plain", false },		{ "action.log", "text/plain", false },
	{ "incident.json", "application/json", false }, { "trace.json", "application/json", true },
	{ "core", "application/octet-stream", true },
};

/* Names come from our tables and from the store's folder alone, never from the URL. */
static int open_file(const struct serve *serve, const struct serve_row *row, const char *name)
{
	CLEAN(fd) int store = open(serve->store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEAN(fd)
	int folder = store < 0 ? -1 : openat(store, row->folder, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

void serve_incident(struct serve *serve, const struct web_request *request UNUSED, const char *in,
		    struct web_reply *reply)
{
	const char *slash = strchr(in, '/');
	const struct serve_row *row;
	char id[INCIDENT_ID_LEN + 1];

	snprintf(id, sizeof(id), "%.*s", (int)(slash ? slash - in : 0), in);
	row = slash && slash - in == INCIDENT_ID_LEN ? serve_row_find(serve, id) : NULL;
	for (size_t i = 0; row && row->folder && i < ARRAY_LEN(files); i++) {
		const char *name = files[i].name;

		if (strcmp(slash + 1, name) != 0)
			continue;
		if (!strcmp(name, "core"))
			name = row->core;
		reply->fd = name ? open_file(serve, row, name) : -1;
		if (reply->fd < 0)
			break;
		reply->type = files[i].type;
		/* The page has its style inside; a script in it, however it got there, is nothing. */
		reply->policy =
			"default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'";
		if (files[i].saved)
			snprintf(reply->download, sizeof(reply->download), "%s-%s", row->id, name);
		return;
	}
	reply->status = 404;
	buf_adds(&reply->body, "There is no such incident, or it has no such file.\n");
}

/* ---- which page ---- */

static void send_style(struct serve *serve UNUSED, const struct web_request *request UNUSED, const char *in UNUSED,
		       struct web_reply *reply)
{
	reply->type = "text/css";
	buf_adds(&reply->body, serve_style);
}

static void send_script(struct serve *serve UNUSED, const struct web_request *request UNUSED, const char *in UNUSED,
			struct web_reply *reply)
{
	reply->type = "text/javascript";
	buf_adds(&reply->body, serve_script);
}

static void send_health(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
			struct web_reply *reply)
{
	reply->status = serve->ending ? 503 : 200;
	buf_adds(&reply->body, serve->ending ? "ending\n" : "ok\n");
}

static const struct route {
	const char *path;
	bool deep, post; /* what is below it, too; may be posted to */
	void (*answer)(struct serve *serve, const struct web_request *request, const char *in, struct web_reply *reply);
} routes[] = {
	{ "/", false, false, serve_live_page },		 { "/live", false, false, serve_live_rows },
	{ "/incidents", false, false, serve_list_page }, { "/incident/", true, false, serve_incident },
	{ "/rules", false, false, serve_rules_page },	 { "/rules/edit", false, true, serve_edit_page },
	{ "/metrics", false, false, serve_metrics },	 { "/healthz", false, false, send_health },
	{ "/page.css", false, false, send_style },	 { "/page.js", false, false, send_script },
	{ "/api/live", false, false, serve_api_live },	 { "/api/incidents", false, false, serve_api_incidents },
	{ "/api/rules", false, false, serve_api_rules }, { "/api/daemon", false, false, serve_api_daemon },
};

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		const struct route *r = &routes[i];

		if (r->deep ? !strncmp(path, r->path, strlen(r->path)) : !strcmp(path, r->path))
			return r;
	}
	return NULL;
}

int serve_allows(const char *path, bool post)
{
	const struct route *r = find_route(path);

	return !r ? 404 : post && !r->post ? 405 : 0;
}

void serve_answer(void *arg, const struct web_request *request, struct web_reply *reply)
{
	const struct route *r = find_route(request->path); /* serve_allows() found it */

	r->answer(arg, request, request->path + strlen(r->path), reply);
}
