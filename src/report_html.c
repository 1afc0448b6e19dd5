// SPDX-License-Identifier: MIT
/* The page as one self-contained HTML file: no script, no fetch, nothing but text
 * nodes from outside, and a policy that would stop what slips through. Rejected: XSL
 * and viewers (the file is mailed and opened anywhere), folding by script (<details>
 * does it). Trap: what is in an attribute or a node is escaped by add_html alone;
 * nothing from outside ever names a class, an id or a URL. */
#include "report.h"

#include "report_page.h"
#include "report_spans.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

static const char style[] =
	":root{color-scheme:light dark;--bg:#f4f5f7;--card:#fff;--ink:#1c2128;--soft:#59636e;--line:#d9dee4;--rule:#eceff2;"
	"--trap:#b3261e;--trap-bg:#fdf1f0;--good:#1a7f4b;--wait:#b8640a;--wait-bg:#f7d9ae;--run:#6f42c1;--run-bg:#e3d8f6;"
	"--cpu:#2b6cb0;--cpu-ink:#fff;--io:#2f7d6b;--other:#8b949e;--after:rgba(90,100,115,.09);--code:#f6f8fa}\n"
	"@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--card:#171c23;--ink:#e4e8ee;--soft:#9aa5b1;--line:#2d3540;"
	"--rule:#232a33;--trap:#ff8a80;--trap-bg:#2a1a1b;--good:#5fd08f;--wait:#f0a13c;--wait-bg:#4f3713;--run:#b79af0;"
	"--run-bg:#392a5c;--cpu:#4d8fd6;--cpu-ink:#08121d;--io:#4db8a0;--other:#6e7884;--after:rgba(160,175,195,.1);"
	"--code:#11161c}}\n"
	"*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
	"body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,"
	"'Liberation Sans',sans-serif}main{max-width:1040px;margin:0 auto;padding:28px 20px 56px}"
	"header{margin-bottom:18px}.kind{margin:0;font-size:12.5px;font-weight:700;letter-spacing:.09em;color:var(--trap)}"
	"h1{margin:2px 0 4px;font-size:25px;line-height:1.25;font-weight:650;overflow-wrap:anywhere}"
	"h1 .verb{color:var(--soft);font-weight:500}.sub{margin:0;color:var(--soft);overflow-wrap:anywhere}"
	"section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px 20px 18px;margin:0 0 14px}"
	"h2{margin:0 0 10px;font-size:13px;letter-spacing:.06em;font-weight:700}h2 small{font-weight:400;letter-spacing:0;"
	"color:var(--soft);font-size:13px;margin-left:8px}"
	".verdict{border-left:5px solid var(--trap);background:var(--trap-bg)}.verdict .say{margin:0;font-size:19px;"
	"line-height:1.4;font-weight:600;overflow-wrap:anywhere}.verdict ul{margin:10px 0 0;padding-left:20px;"
	"color:var(--ink);overflow-wrap:anywhere}.verdict p.more{margin:10px 0 0;overflow-wrap:anywhere}\n"
	".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:10px;margin:0 0 14px}"
	".tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}"
	".tile b{display:block;font-size:20px;font-weight:650;line-height:1.3}.tile span{color:var(--soft);font-size:13px}"
	".tile.bad b{color:var(--trap)}.tile.good b{color:var(--good)}\n"
	"dl{display:grid;grid-template-columns:104px 1fr;gap:3px 14px;margin:0}dt{color:var(--soft)}dd{margin:0;min-width:0;"
	"overflow-wrap:anywhere}dl+*,ol+*,table+*,.warn+*,p+*{margin-top:10px}\n"
	"p.line{margin:8px 0 0;overflow-wrap:anywhere}.warn{margin:6px 0 0;padding-left:22px;position:relative;"
	"overflow-wrap:anywhere}.warn::before{content:'!';position:absolute;left:4px;font-weight:800;color:var(--trap)}\n"
	"table{border-collapse:collapse;width:100%}td{padding:4px 10px 4px 0;vertical-align:top;border-top:1px solid var(--rule);"
	"overflow-wrap:anywhere}tr:first-child td{border-top:0}td.n{text-align:right;white-space:nowrap;"
	"font-variant-numeric:tabular-nums;overflow-wrap:normal}tr.sum td{border-top:1px solid var(--line);font-weight:650}"
	"td.bar{width:34%;padding-right:0}td.bar i{display:block;height:13px;margin-top:5px;border-radius:2px;min-width:2px}"
	"i.wait{background:repeating-linear-gradient(135deg,var(--wait) 0 2px,var(--wait-bg) 2px 7px)}"
	"i.cpu{background:var(--cpu)}i.runnable{background:var(--run-bg);border:1px dotted var(--run)}"
	"i.none{background:transparent;border:1px dashed var(--other)}\n"
	"ol,.code,.trace{font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}"
	"ol{padding:0;list-style:none;margin:8px 0 0}details:not(.view) p.line{margin-left:46px}ol li{display:grid;grid-template-columns:38px minmax(0,2fr) minmax(0,3fr);"
	"gap:0 10px;padding:1px 0;overflow-wrap:anywhere}ol li>:first-child{color:var(--soft)}ol li>:last-child{color:var(--soft)}"
	"ol li.looks{grid-template-columns:38px 5ch minmax(0,2fr) minmax(0,3fr)}ol li i{font-style:normal;color:var(--soft)}"
	"ol li.script b{font-weight:650}ol li b{font-weight:400}\n"
	"details{border-top:1px solid var(--rule);padding:8px 0}details:first-of-type{border-top:0}"
	"summary{cursor:pointer;overflow-wrap:anywhere}summary b{display:inline-block;min-width:46px}"
	"details p.tids{margin:4px 0 6px 46px;color:var(--soft);font-size:13px;overflow-wrap:anywhere}details ol{margin-left:46px}"
	".code{background:var(--code);border:1px solid var(--line);border-radius:6px;padding:8px 12px;margin:10px 0 0;"
	"white-space:pre-wrap;overflow-wrap:anywhere}\n"
	".trace td:first-child{color:var(--soft);width:110px}.trace td:nth-child(2){width:92px}"
	".trace tr.trap td{color:var(--trap);font-weight:700;border-top:2px solid var(--trap);border-bottom:2px solid var(--trap)}"
	".trace tr.after{background:var(--after)}.trace tr.fold td{color:var(--soft);font-style:italic}.who{color:var(--soft)}\n"
	"nav{margin:0 0 14px;color:var(--soft);font-size:13px}details.view>div{scroll-margin-top:56px}nav a{display:inline-block;padding:5px 14px;margin:0 4px 4px 0;border:1px solid var(--line);"
	"border-radius:14px;background:var(--card);color:var(--ink);font-size:13px}"
	"th{text-align:left;font-weight:400;color:var(--soft);padding:2px 10px 4px 0}th.n{text-align:right}"
	"details.view{padding:0;border:0}details.view>summary h2{display:inline}h3{margin:16px 0 6px;font-size:13px;"
	"letter-spacing:.04em}.spans td{padding:2px 10px 2px 0}.spans{font-size:13px}.spans th.who,.spans td:last-child{overflow-wrap:anywhere}.spans th.who{color:var(--ink);"
	"font-weight:650;padding-top:10px}td.span,th.span{width:34%;padding-right:0!important}"
	"td.span{background:linear-gradient(90deg,transparent calc(var(--at) - 1px),var(--trap) 0 var(--at),transparent 0)}"
	"td.span i{display:block;height:11px;margin-top:4px;border-radius:2px;min-width:2px}"
	"i.call{background:var(--io)}\n"
	".picture{overflow-x:auto;margin-top:14px}svg{display:block;width:100%;min-width:640px;height:auto;"
	"font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}"
	"svg text{fill:var(--ink)}svg text.tick,svg text.lane{fill:var(--soft)}svg .grid{stroke:var(--rule);fill:none}"
	"svg rect.wait{fill:url(#p-wait)}svg rect.breaks{fill:url(#p-breaks);stroke:var(--wait);stroke-dasharray:2 3}svg .base-breaks{fill:var(--card)}svg rect.runnable{fill:url(#p-runnable)}svg rect.cpu{fill:var(--cpu)}"
	"svg rect.call{fill:var(--io);fill-opacity:.28;stroke:var(--io);stroke-width:1.2}"
	"svg rect.lost{fill:var(--card);stroke:var(--other);stroke-width:1.2;stroke-dasharray:4 3}"
	"svg rect.io{fill:var(--io)}svg rect.other{fill:var(--other)}svg .mark{fill:var(--io);stroke:var(--card);stroke-width:.7}"
	"svg .mark.other{fill:var(--other)}svg .base-wait{fill:var(--wait-bg)}svg .line-wait{fill:var(--wait)}"
	"svg .base-runnable{fill:var(--run-bg)}svg .line-runnable{fill:var(--run)}svg rect.after{fill:var(--after)}"
	"svg path.trap{stroke:var(--trap);stroke-width:1.6;stroke-dasharray:5 3;fill:none}svg text.trap{fill:var(--trap);"
	"font-weight:700}svg rect.chip{fill:var(--card);opacity:.88}\n"
	"svg.chain{max-width:760px;min-width:560px}svg rect.box{fill:var(--code);stroke:var(--line);stroke-width:1.2}"
	"svg rect.hop{stroke-dasharray:3 3}svg rect.end{stroke:var(--trap);stroke-width:2.4}svg text.who{font-weight:700}"
	"svg text.note,svg text.edge{fill:var(--soft)}svg text.note{font-style:italic}svg .arrow,svg .round{fill:none;"
	"stroke:var(--ink);stroke-width:1.6}svg .head{fill:var(--ink)}svg path.round{stroke:var(--trap);stroke-width:2.4;"
	"stroke-dasharray:7 3}svg .round-head{fill:var(--trap)}svg text.round{fill:var(--trap);font-weight:700;stroke:none}\n"
	"footer{color:var(--soft);font-size:13px;overflow-wrap:anywhere}\n"
	"@media(max-width:620px){main{padding:16px 10px 32px}section{padding:12px 14px 14px}h1{font-size:20px}"
	"dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:6px}td.bar,td.span,th.span,.trace thead{display:none}ol li{grid-template-columns:30px 1fr}"
	"ol li>:last-child{grid-column:2}"
	"ol li.looks{grid-template-columns:30px 5ch 1fr}ol li.looks>:last-child{grid-column:3}details ol,details p.tids{margin-left:0}.trace tr{display:grid;"
	"grid-template-columns:auto 1fr auto;border-top:1px solid var(--rule)}.trace tr td{border:0!important;"
	"padding:2px 8px 2px 0}.trace tr.trap{border-bottom:2px solid var(--trap);border-top:2px solid var(--trap)}"
	".trace td:nth-child(3){grid-column:1/4;grid-row:2}.trace td:first-child,.trace td:nth-child(2){width:auto}}\n"
	"@media print{body{background:#fff}section,.tile{break-inside:avoid}}\n";

enum block { BLOCK_NONE, BLOCK_FIELDS, BLOCK_TIMES, BLOCK_FRAMES, BLOCK_EVENTS, BLOCK_SPANS, BLOCK_OUTPUT };

struct html_pen {
	struct pen pen; /* first: the pen is this */
	struct buf *out;
	enum block block; /* open now */
	bool in_section, in_group, in_view;
	size_t groups;
	uint64_t trap_ns, end_ns; /* of the axis that spans are drawn on */
};

static struct html_pen *html_of(struct pen *pen)
{
	return (struct html_pen *)pen;
}

static void add(struct html_pen *h, const char *html)
{
	buf_adds(h->out, html);
}

static void text(struct html_pen *h, const char *raw)
{
	add_html(h->out, raw, strlen(raw));
}

/* Closes the open block if it is another one, and opens this. */
static struct html_pen *block(struct pen *pen, enum block want)
{
	static const struct {
		const char *open, *close;
	} tag[] = {
		[BLOCK_NONE] = { "", "" },
		[BLOCK_FIELDS] = { "<dl>\n", "</dl>\n" },
		[BLOCK_TIMES] = { "<table>\n", "</table>\n" },
		[BLOCK_FRAMES] = { "<ol>\n", "</ol>\n" },
		[BLOCK_EVENTS] = { "<table class=\"trace\">\n<thead><tr><th class=\"n\">ms</th><th>event</th>"
				   "<th>what</th><th class=\"n\">took</th></tr></thead>\n",
				   "</table>\n" },
		[BLOCK_SPANS] = { "<table class=\"spans\">\n<thead><tr><th class=\"n\">began, ms</th>"
				  "<th class=\"n\">took</th><th class=\"n\">itself</th><th>what</th>"
				  "<th class=\"span\">from begin to end of the request</th></tr></thead>\n",
				  "</table>\n" },
		[BLOCK_OUTPUT] = { "<div class=\"code\">", "</div>\n" },
	};
	struct html_pen *h = html_of(pen);

	if (h->block != want) {
		add(h, tag[h->block].close);
		add(h, tag[want].open);
		h->block = want;
	}
	return h;
}

static void group_end(struct pen *pen)
{
	struct html_pen *h = block(pen, BLOCK_NONE);

	if (h->in_group)
		add(h, "</details>\n");
	h->in_group = false;
}

/* The title is one of ours: 'WHERE THE TIME WENT' is #where-the-time-went. */
static void add_id(struct html_pen *h, const char *title)
{
	char id[2] = "";

	add(h, " id=\"");
	for (; *title; title++) {
		id[0] = *title == ' ' ? '-' : (char)(*title | 0x20);
		add(h, (id[0] >= 'a' && id[0] <= 'z') || id[0] == '-' ? id : "");
	}
	add(h, "\"");
}

static void heading(struct html_pen *h, const char *tag, const char *title, const char *note)
{
	buf_addf(h->out, "<%s>", tag);
	text(h, title);
	if (note) {
		add(h, "<small>");
		text(h, note);
		add(h, "</small>");
	}
	buf_addf(h->out, "</%s>", tag);
}

static void section_open(struct pen *pen)
{
	struct html_pen *h = html_of(pen);

	group_end(pen);
	if (h->in_section)
		add(h, h->in_view ? "</div>\n</details>\n</section>\n" : "</section>\n");
	h->in_section = true;
	h->in_view = false;
	h->groups = 0;
}

static void section(struct pen *pen, const char *title, const char *note)
{
	struct html_pen *h = html_of(pen);

	if (h->in_view) {
		group_end(pen);
		heading(h, "h3", title, note);
		return;
	}
	section_open(pen);
	add(h, "<section");
	add_id(h, title);
	add(h, ">\n");
	heading(h, "h2", title, note);
	add(h, "\n");
}

/* The id stands on what is folded away: a link to it opens it. */
static void view(struct pen *pen, const char *title, const char *note)
{
	struct html_pen *h = html_of(pen);

	section_open(pen);
	h->in_view = true;
	add(h, "<section>\n<details class=\"view\"><summary>");
	heading(h, "h2", title, note);
	add(h, "</summary>\n<div");
	add_id(h, title);
	add(h, ">\n");
}

static void tile(struct html_pen *h, const char *class, const char *big, const char *small)
{
	buf_addf(h->out, "<div class=\"tile %s\"><b>", class);
	text(h, big);
	add(h, "</b><span>");
	text(h, small);
	add(h, "</span></div>\n");
}

static void tiles(struct html_pen *h, const struct incident *i)
{
	const struct capture_facts *c = &i->capture;
	char small[128];

	add(h, "<div class=\"tiles\">\n");
	if (i->limit_ns)
		snprintf(small, sizeof(small), "when trapped; limit %s", word_duration(i->limit_ns).s);
	else
		snprintf(small, sizeof(small), "when trapped (%s)", reason_name(i->reason));
	tile(h, "bad", word_duration(i->elapsed_ns).s, small);
	if (i->ended) {
		if (i->status)
			snprintf(small, sizeof(small), "in all, status %d", i->status);
		else
			snprintf(small, sizeof(small), "in all, no status sent");
		tile(h, "", word_duration(i->time_taken_ns).s, small);
	} else {
		tile(h, "", "not ended", "when this was written");
	}
	if (c->method == METHOD_NONE) {
		tile(h, "", "no capture", i->suppressed || i->limit_reached ? "limit or cool-down" : "trace only");
	} else {
		tile(h, "", word_duration(c->pause_ns).s, "pause of the process");
		/* a status is known when it is sent: to be late is no fault then */
		tile(h,
		     c->running_at_snapshot	      ? "good"
		     : i->reason == REASON_TIME_TAKEN ? "bad"
						      : "",
		     c->running_at_snapshot ? "in time" : "after the reply",
		     c->running_at_snapshot ? "request was running at the snapshot"
					    : "request was over at the snapshot");
	}
	add(h, "</div>\n");
}

static void verdict(struct html_pen *h, const struct incident *i)
{
	add(h, "<section class=\"verdict\" id=\"summary\">\n<h2>VERDICT</h2>\n<p class=\"say\">");
	text(h, i->verdict ? i->verdict : "none: nothing was found out.");
	add(h, "</p>\n");
	if (i->evidence && i->evidence[0]) {
		add(h, "<ul>\n");
		for (size_t n = 0; i->evidence[n]; n++) {
			if (!i->evidence[n][0])
				continue;
			add(h, "<li>");
			text(h, i->evidence[n]);
			add(h, "</li>\n");
		}
		add(h, "</ul>\n");
	}
	if (i->advice) {
		add(h, "<p class=\"more\"><b>Advice:</b> ");
		text(h, i->advice);
		add(h, "</p>\n");
	}
	if (i->confidence) {
		add(h, "<p class=\"more\"><b>Confidence:</b> ");
		text(h, i->confidence);
		add(h, "</p>\n");
	}
	add(h, "</section>\n");
}

static void head(struct pen *pen, const struct incident *i)
{
	struct html_pen *h = html_of(pen);
	const char *method = i->request.method ? i->request.method : "";
	const char *url = i->request.url ? i->request.url : "unknown";
	size_t url_len = strcspn(url, "?");

	add(h, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
	       "base-uri 'none'; form-action 'none'\">\n"
	       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
	       "<meta name=\"referrer\" content=\"no-referrer\">\n<title>");
	buf_addf(h->out, "%s ", word_title(i).s);
	add_html(h->out, method, MIN(strlen(method), 20u));
	add(h, " ");
	add_html(h->out, url, MIN(url_len, 200u));
	add(h, "</title>\n<style>\n");
	add(h, style);
	add(h, "</style>\n</head>\n<body>\n<main>\n<header>\n<p class=\"kind\">");
	add(h, word_title(i).s);
	add(h, "</p>\n<h1><span class=\"verb\">");
	add_html(h->out, method, MIN(strlen(method), 20u));
	add(h, "</span> ");
	add_html(h->out, url, MIN(url_len, 400u));
	add(h, "</h1>\n<p class=\"sub\">");
	if (i->request.host) {
		text(h, i->request.host);
		add(h, ", ");
	}
	buf_addf(h->out, "%s, incident %s</p>\n</header>\n", word_wall(i->started_wall_ns).s, i->id);
	verdict(h, i);
	tiles(h, i);
	add(h, "<nav aria-label=\"Views\">Views: <a href=\"#summary\">Summary</a> <a href=\"#trace\">Compact</a> "
	       "<a href=\"#details\">Details</a> <a href=\"#performance\">Performance</a></nav>\n");
}

static void field(struct pen *pen, const char *label, const char *value)
{
	struct html_pen *h = block(pen, BLOCK_FIELDS);

	add(h, "<dt>");
	text(h, label);
	add(h, "</dt><dd>");
	text(h, value);
	add(h, "</dd>\n");
}

static void line(struct pen *pen, const char *value)
{
	struct html_pen *h = block(pen, BLOCK_NONE);

	add(h, "<p class=\"line\">");
	text(h, value);
	add(h, "</p>\n");
}

static void warn(struct pen *pen, const char *value)
{
	struct html_pen *h = block(pen, BLOCK_NONE);

	add(h, "<p class=\"warn\">");
	text(h, value);
	add(h, "</p>\n");
}

static void time_row(struct pen *pen, const struct time_row *row)
{
	static const char *const css[] = { "cpu", "runnable", "wait", "none", "runnable", "cpu" };
	struct html_pen *h = block(pen, BLOCK_TIMES);

	add(h, row->total ? "<tr class=\"sum\"><td>" : "<tr><td>");
	text(h, row->label);
	if (row->count > 1)
		buf_addf(h->out, " &#215;%s", word_count(row->count).s);
	if (row->open)
		add(h, " *");
	buf_addf(h->out, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"bar\">",
		 word_duration(row->ns).s, word_percent(row->permille).s);
	if (!row->total && row->permille)
		buf_addf(h->out, "<i class=\"%s\" style=\"width:%u.%u%%\"></i>", css[row->kind], row->permille / 10,
			 row->permille % 10);
	add(h, "</td></tr>\n");
}

/* A long one is broken behind a folder rather than inside a name. */
static void path(struct html_pen *h, const char *raw)
{
	for (const char *end = strchr(raw, '/'); end; end = strchr(raw, '/')) {
		add_html(h->out, raw, (size_t)(end + 1 - raw));
		if (end[1])
			add(h, "<wbr>");
		raw = end + 1;
	}
	text(h, raw);
}

static void frame(struct pen *pen, const struct frame_row *row)
{
	struct html_pen *h = block(pen, BLOCK_FRAMES);

	buf_addf(h->out, "<li class=\"%s%s\"><span>#%zu</span>", row->script ? "script" : "", row->of ? " looks" : "",
		 row->index);
	if (row->of)
		buf_addf(h->out, "<i>%zu/%zu</i>", row->seen, row->of);
	add(h, "<b>");
	text(h, row->function);
	add(h, "</b><span>");
	path(h, row->place);
	add(h, "</span></li>\n");
}

static void group(struct pen *pen, size_t count, const char *what, const char *tids)
{
	struct html_pen *h = html_of(pen);

	group_end(pen);
	h->in_group = true;
	buf_addf(h->out, "<details%s><summary><b>%zu &#215;</b> ", h->groups++ < 3 ? " open" : "", count);
	text(h, what);
	add(h, "</summary>\n<p class=\"tids\">tid ");
	text(h, tids);
	add(h, "</p>\n");
}

static void event(struct pen *pen, const struct event_row *row)
{
	struct html_pen *h = block(pen, BLOCK_EVENTS);
	const char *kind = row->event && row->event->kind ? row->event->kind : "";

	buf_addf(h->out, "<tr class=\"%s\"><td class=\"n\">%s</td><td>",
		 row->trigger  ? "trap"
		 : row->folded ? "fold"
		 : row->after  ? "after"
			       : "",
		 row->folded ? "" : word_ms(row->at_ns).s);
	text(h, row->trigger ? "TRAP" : kind);
	add(h, "</td><td>");
	if (row->who) {
		add(h, "<span class=\"who\">[");
		text(h, row->who);
		add(h, "]</span> ");
	}
	if (row->folded)
		buf_addf(h->out, "... %s event%s not shown here: see trace.json", word_count(row->folded).s,
			 word_plural(row->folded));
	else
		text(h, row->text);
	buf_addf(h->out, "</td><td class=\"n\">%s</td></tr>\n", row->dur_ns ? word_duration(row->dur_ns).s : "");
}

static double share_of(const struct html_pen *h, uint64_t ns)
{
	return h->end_ns ? 100.0 * (double)MIN(ns, h->end_ns) / (double)h->end_ns : 0;
}

static void span(struct pen *pen, const struct span_row *row)
{
	static const struct {
		const char *kind, *css;
	} bar[] = { { "wait", "wait" }, { "runnable", "runnable" }, { "behind", "runnable" }, { "lost", "none" } };
	struct html_pen *h = block(pen, BLOCK_SPANS);
	double from = share_of(h, row->at_ns);
	const char *css = "call";

	for (size_t n = 0; n < ARRAY_LEN(bar); n++) {
		if (row->event->kind && !strcmp(row->event->kind, bar[n].kind))
			css = bar[n].css;
	}
	if (row->who) {
		add(h, "<tr><th class=\"who\" colspan=\"5\">");
		text(h, row->who);
		add(h, "</th></tr>\n");
	}
	buf_addf(h->out,
		 "<tr><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td>"
		 "<td style=\"padding-left:%zuem\">",
		 word_ms(row->at_ns).s, word_duration(row->dur_ns).s, word_duration(row->self_ns).s,
		 MIN(row->depth, (size_t)12));
	text(h, row->text);
	buf_addf(
		h->out,
		"</td><td class=\"span\" style=\"--at:%.2f%%\"><i class=\"%s\" style=\"margin-left:%.2f%%;width:%.2f%%\"></i>"
		"</td></tr>\n",
		share_of(h, h->trap_ns), css, from, share_of(h, row->at_ns + row->dur_ns) - from);
}

static void output(struct pen *pen, const char *raw, size_t len)
{
	struct html_pen *h = block(pen, BLOCK_OUTPUT);

	add_html(h->out, raw, len);
	add(h, "\n");
}

static void picture(struct pen *pen, const struct incident *incident,
		    int (*draw)(const struct incident *incident, struct buf *out), const char *label)
{
	struct html_pen *h = block(pen, BLOCK_NONE);

	/* it scrolls on a narrow screen: also by the keyboard */
	buf_addf(h->out, "<div class=\"picture\" tabindex=\"0\" role=\"group\" aria-label=\"%s\">\n", label);
	if (draw(incident, h->out) < 0)
		add(h, "<p class=\"warn\">no memory for the picture</p>\n");
	add(h, "</div>\n");
}

static void foot(struct html_pen *h, const struct incident *i)
{
	group_end(&h->pen);
	if (h->in_section)
		section_open(&h->pen); /* closes the last one */
	add(h, "<footer>reqtrap");
	if (i->version) {
		add(h, " ");
		text(h, i->version);
	}
	if (i->kernel) {
		add(h, ", Linux ");
		text(h, i->kernel);
	}
	add(h, ". Beside this page: incident.json (all facts), report.txt, stacks.txt, trace.json (Perfetto)");
	if (i->capture.core_file) {
		add(h, ", ");
		text(h, i->capture.core_file);
	}
	add(h, ".</footer>\n</main>\n</body>\n</html>\n");
}

int report_html(const struct incident *incident, struct buf *out, struct err *err)
{
	struct html_pen h = {
		.pen = { .events_most = 1000,
			 .groups_most = 60,
			 .frames_most = 60,
			 .output_lines_most = 200,
			 .head = head,
			 .section = section,
			 .field = field,
			 .line = line,
			 .warn = warn,
			 .time_row = time_row,
			 .frame = frame,
			 .group = group,
			 .event = event,
			 .span = span,
			 .view = view,
			 .output = output,
			 .picture = picture },
		.out = out,
		.trap_ns = incident->elapsed_ns,
		.end_ns = MAX(incident->elapsed_ns, incident->ended ? incident->time_taken_ns : 0),
	};
	int r;

	for (size_t n = 0; n < incident->trace_count; n++)
		h.end_ns = MAX(h.end_ns, event_end_ns(&incident->trace[n]));
	r = page_draw(incident, &h.pen, err);

	foot(&h, incident);
	return r < 0 ? r : report_done(out, "html", err);
}
