// SPDX-License-Identifier: MIT
/* Figures for Prometheus, and JSON for programs. */
#include "cmd_top.h"
#include "facts.h"
#include "ktime.h"
#include "quota.h"
#include "serve.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/resource.h>

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: '\', '"' and line breaks are escaped, other control bytes as everywhere. */
static void label(struct buf *out, const char *text)
{
	struct buf clean;

	buf_init(&clean, 4096);
	buf_add_escaped(&clean, text, strlen(text));
	for (const char *p = clean.data ? clean.data : ""; *p; p++) {
		if (*p == '\\' || *p == '"')
			buf_adds(out, "\\");
		buf_add(out, p, 1);
	}
	buf_done(&clean);
}

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	buf_addf(out, "%s %" PRIu64 "\n", name, value);
}

struct cell {
	const char *label;
	uint64_t value;
};

static void many(struct buf *out, const char *name, const char *help, const char *key, const struct cell *cell,
		 size_t count)
{
	head(out, name, "counter", help);
	for (size_t i = 0; i < count; i++)
		buf_addf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, key, cell[i].label, cell[i].value);
}

/* In seconds; the last bucket has no end. */
static double bucket_end(int bucket)
{
	return (double)(1ull << (LATENCY_SHIFT + bucket)) / 1e9;
}

/* The sum is not known: each is counted as long as the middle of its bucket. */
static void durations(const struct engine_totals *t, struct buf *out)
{
	uint64_t count = 0;
	double sum = 0;

	head(out, "http_server_request_duration_seconds", "histogram",
	     "How long requests took; the sum is an estimate by buckets.");
	for (int i = 0; i < LATENCY_BUCKETS - 1; i++) {
		count += t->latency[i];
		sum += (double)t->latency[i] * bucket_end(i) * 0.75;
		buf_addf(out, "http_server_request_duration_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n", bucket_end(i),
			 count);
	}
	count += t->latency[LATENCY_BUCKETS - 1];
	sum += (double)t->latency[LATENCY_BUCKETS - 1] * bucket_end(LATENCY_BUCKETS - 2);
	buf_addf(out,
		 "http_server_request_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64
		 "\nhttp_server_request_duration_seconds_sum %.6f\nhttp_server_request_duration_seconds_count %" PRIu64
		 "\n",
		 count, sum, count);
}

static void requests(const struct engine_totals *t, struct buf *out)
{
	const struct cell verdicts[] = { { "complete", t->complete },
					 { "end_inferred", t->inferred },
					 { "aborted", t->aborted },
					 { "gap", t->gap } };
	const struct cell lost[] = { { "ring_full", t->lost_ring },
				     { "probe_left_out", t->lost_map },
				     { "no_slot", t->refused_slot },
				     { "connection_table_full", t->refused_conn },
				     { "pipeline_too_deep", t->refused_queue },
				     { "unreadable", t->blind },
				     { "reply_without_request", t->unseen } };

	one(out, "reqtrap_actions_running", "gauge", "Actions that run now; the others wait for their turn.",
	    t->actions);
	one(out, "http_server_active_requests", "gauge", "Requests in flight in the watched processes.", t->in_flight);
	one(out, "reqtrap_requests_total", "counter", "Requests seen.", t->requests);
	one(out, "reqtrap_inner_requests_total", "counter", "Requests between watched processes.", t->inner);
	many(out, "reqtrap_ended_requests_total", "Requests that are over, by how their end is known.", "verdict",
	     verdicts, ARRAY_LEN(verdicts));
	many(out, "reqtrap_lost_total", "What was not seen or not followed, by cause.", "cause", lost, ARRAY_LEN(lost));
	head(out, "reqtrap_bpf_seconds_per_request", "gauge",
	     "Run time a request of the BPF programs for socket calls and connections.");
	buf_addf(out, "reqtrap_bpf_seconds_per_request %.9f\n", (double)t->cpu_ns_per_request / 1e9);
	head(out, "reqtrap_overhead_ratio", "gauge",
	     "Share of the host's CPU time that the watch took at the latest look.");
	buf_addf(out, "reqtrap_overhead_ratio %.6f\n", t->spent_ppm / 1e6);
}

static void captures(const struct serve *serve, struct buf *out)
{
	head(out, "reqtrap_captures_total", "counter", "Trapped requests by rule and by what became of their capture.");
	for (size_t i = 0; i < serve->rule_count; i++) {
		const struct serve_rule *r = &serve->rule[i];
		const struct cell cell[] = { { "captured", r->captured },
					     { "limited", r->suppressed },
					     { "failed", r->failed } };

		for (size_t k = 0; k < ARRAY_LEN(cell); k++) {
			buf_adds(out, "reqtrap_captures_total{rule=\"");
			label(out, r->name);
			buf_addf(out, "\",result=\"%s\"} %" PRIu64 "\n", cell[k].label, cell[k].value);
		}
	}
}

static void pauses(const struct serve *serve, struct buf *out)
{
	uint64_t sum = 0;

	head(out, "reqtrap_pause_seconds", "histogram", "How long a process stood still for a capture.");
	for (int i = 0; i < SERVE_PAUSES; i++) {
		sum += serve->pauses[i];
		buf_addf(out, "reqtrap_pause_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", serve_pause_bounds[i], sum);
	}
	buf_addf(out,
		 "reqtrap_pause_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\nreqtrap_pause_seconds_sum %.6f\n"
		 "reqtrap_pause_seconds_count %" PRIu64 "\n",
		 serve->pause_count, (double)serve->pause_sum_ns / 1e9, serve->pause_count);
}

static uint64_t resident_bytes(void)
{
	CLEAN(file) FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	return f && fscanf(f, "%*u %llu", &pages) == 1 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t open_fds(void)
{
	CLEAN(dir) DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	return n > 3 ? n - 3 : 0; /* '.', '..' and the one to look with */
}

static double seconds(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

static void ourselves(const struct serve *serve, struct buf *out)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	head(out, "process_cpu_seconds_total", "counter", "CPU time of the daemon itself.");
	buf_addf(out, "process_cpu_seconds_total %.3f\n", seconds(&self.ru_utime) + seconds(&self.ru_stime));
	head(out, "reqtrap_helper_cpu_seconds_total", "counter", "CPU time of captures, analyses, pages and actions.");
	buf_addf(out, "reqtrap_helper_cpu_seconds_total %.3f\n",
		 seconds(&children.ru_utime) + seconds(&children.ru_stime));
	one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the daemon itself.", resident_bytes());
	one(out, "process_open_fds", "gauge", "Open file descriptors of the daemon.", open_fds());
	head(out, "process_start_time_seconds", "gauge", "When the daemon began.");
	buf_addf(out, "process_start_time_seconds %.3f\n", (double)serve->started_wall_ns / 1e9);
	one(out, "reqtrap_rules", "gauge", "Rules in force.", serve->rules->count);
	one(out, "reqtrap_config_reloads_total", "counter", "How often the rules were swapped.", serve->reloads);
	one(out, "reqtrap_config_last_reload_successful", "gauge", "1, or 0 when the file in place has mistakes.",
	    !serve->reload_error);
	head(out, "reqtrap_build_info", "gauge", "Which reqtrap this is.");
	buf_adds(out, "reqtrap_build_info{version=\"" REQTRAP_VERSION "\"} 1\n");
}

void serve_metrics(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		   struct web_reply *reply)
{
	struct engine_totals t;

	reply->type = "text/plain; version=0.0.4";
	engine_totals(serve->engine, &t);
	requests(&t, &reply->body);
	durations(&t, &reply->body);
	captures(serve, &reply->body);
	pauses(serve, &reply->body);
	ourselves(serve, &reply->body);
}

/* ---- JSON ---- */

static void send_json(json_t *json, struct web_reply *reply)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(13)) : NULL;

	reply->type = "application/json";
	if (text)
		buf_addf(&reply->body, "%s\n", text);
	else
		reply->status = 500;
	free(text);
	json_decref(json);
}

static json_t *text_json(const char *text)
{
	CLEAN(free) char *clean = text ? facts_utf8(text) : NULL;

	return clean ? json_string(clean) : json_null();
}

static json_t *time_json(uint64_t wall_ns)
{
	const uint64_t ms = wall_ns / NSEC_PER_MSEC;

	return wall_ns ? json_real((double)ms / 1e3) : json_null();
}

void serve_api_live(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		    struct web_reply *reply)
{
	struct tracer *tracer = engine_tracer(serve->engine);
	struct top_round round = { .number = 1 };

	tracer_totals(tracer, &round.totals);
	if (flight_take(tracer, &round.flight) < 0) {
		reply->status = 500;
		return;
	}
	send_json(top_round_json(tracer, &round), reply);
	flight_done(&round.flight);
}

static json_t *row_json(const struct serve_row *row)
{
	json_t *json = json_object();
	const uint64_t us = row->elapsed_ns / NSEC_PER_USEC, pause_us = row->pause_ns / NSEC_PER_USEC;

	json_object_set_new(json, "id", json_string(row->id));
	json_object_set_new(json, "time", time_json(row->wall_ns));
	json_object_set_new(json, "rule", text_json(row->rule));
	json_object_set_new(json, "reason", json_string(reason_name(row->reason)));
	json_object_set_new(json, "method", text_json(row->method));
	json_object_set_new(json, "url", text_json(row->url));
	json_object_set_new(json, "status", json_integer(row->status));
	json_object_set_new(json, "elapsed_ms", json_real((double)us / 1e3));
	json_object_set_new(json, "pause_ms", json_real((double)pause_us / 1e3));
	json_object_set_new(json, "pid", json_integer(row->pid));
	json_object_set_new(json, "process", text_json(row->process));
	json_object_set_new(json, "verdict", text_json(row->verdict));
	json_object_set_new(json, "not_captured", text_json(row->not_captured));
	json_object_set_new(json, "folder", text_json(row->folder));
	return json;
}

void serve_api_incidents(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
			 struct web_reply *reply)
{
	json_t *list = json_array();

	for (size_t i = serve->row_count; i-- > 0;)
		json_array_append_new(list, row_json(&serve->row[i]));
	send_json(json_pack("{s:o, s:o}", "store", text_json(serve->store_path), "incidents", list), reply);
}

/* What the other verbs ask before they go on by themselves. */
void serve_api_daemon(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		      struct web_reply *reply)
{
	send_json(json_pack("{s:i, s:o, s:o, s:o}", "pid", (int)getpid(), "store", text_json(serve->store_path), "file",
			    text_json(serve->config_path), "started", time_json(serve->started_wall_ns)),
		  reply);
}

void serve_api_rules(struct serve *serve, const struct web_request *request UNUSED, const char *in UNUSED,
		     struct web_reply *reply)
{
	json_t *list = json_array();

	for (size_t i = 0; i < serve->rules->count; i++) {
		const struct serve_rule *r = serve_rule_of(serve, serve->rules->rule[i].name);
		json_t *json = json_object();
		struct quota_report report;

		if (!r)
			continue;
		engine_rule_report(serve->engine, &serve->rules->rule[i], &report);
		json_object_set_new(json, "rule", text_json(r->name));
		json_object_set_new(json, "file",
				    serve->rules->rule[i].file ? text_json(serve->rules->rule[i].file) : json_null());
		json_object_set_new(json, "state", json_string(quota_state_name(report.state)));
		json_object_set_new(json, "until",
				    report.until_ns ? time_json(wall_ns() + report.until_ns - now_ns()) : json_null());
		json_object_set_new(json, "held_why", text_json(report.held_why));
		json_object_set_new(json, "trapped", json_integer((json_int_t)r->trapped));
		json_object_set_new(json, "captured", json_integer((json_int_t)r->captured));
		json_object_set_new(json, "suppressed", json_integer((json_int_t)r->suppressed));
		json_object_set_new(json, "failed", json_integer((json_int_t)r->failed));
		json_object_set_new(json, "last", time_json(r->last_wall_ns));
		json_object_set_new(json, "last_error", text_json(r->last_error));
		json_array_append_new(list, json);
	}
	send_json(json_pack("{s:o, s:o, s:I, s:o, s:I}", "file", text_json(serve->config_path), "rules", list,
			    "reloads", (json_int_t)serve->reloads, "reload_error", text_json(serve->reload_error),
			    "refused_files", (json_int_t)serve->rules->refused),
		  reply);
}
