// SPDX-License-Identifier: MIT
/* 'watch': rules from the command line or a file, targets, one line per trapped
 * request, totals at the end. The first Ctrl-C ends trapping and lets captures under
 * way finish; the second gives them up. Either way the targets run on. */
#include "action.h"
#include "cmd.h"
#include "cmd_targets.h"
#include "config.h"
#include "dump.h"
#include "engine.h"
#include "facts.h"
#include "ktime.h"
#include "log.h"
#include "incident_mask.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#define PAUSE_BUDGET_NS (250 * NSEC_PER_MSEC)
#define BUDGET_DEFAULT "2" /* per cent */
#define FINISH_NS (30 * NSEC_PER_SEC)

struct watch {
	struct loop *loop;
	struct engine *engine;
	struct rules rules;
	char **words;	      /* of the rules' watch sets, if nobody was named */
	struct child command; /* started by us */
	bool json, finishing;
	uint32_t budget_ppm;
	uint64_t most; /* stop after so many captures, 0 never */
	uint64_t trapped, captured, stored;
};

/* ---- telling ---- */

static json_t *text_json(const char *text)
{
	CLEAN(free) char *clean = text ? facts_utf8(text) : NULL;

	return clean ? json_string(clean) : json_null();
}

static json_t *ms_json(uint64_t ns)
{
	const uint64_t us = ns / NSEC_PER_USEC;

	return json_real((double)us / 1e3);
}

static void print_json(json_t *json)
{
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

static json_t *file_json(const struct incident *in, const char *path, const char *name)
{
	char full[PATH_MAX];

	(void)in;
	if (!name || !*path)
		return json_null();
	snprintf(full, sizeof(full), "%s/%s", path, name);
	return text_json(full);
}

static json_t *capture_json(const struct incident *in, const char *path)
{
	const struct capture_facts *c = &in->capture;
	bool stacks = in->analysis.thread_count > 0;
	json_t *json = json_object();

	json_object_set_new(json, "stacks", file_json(in, path, stacks ? "stacks.txt" : NULL));
	json_object_set_new(json, "core", file_json(in, path, c->core_file));
	if (c->core_file)
		json_object_set_new(json, "kind", json_string(core_kind_name(c->core_kind)));
	json_object_set_new(json, "pause_ms", ms_json(c->pause_ns));
	json_object_set_new(json, "method", json_string(capture_method_name(c->method)));
	json_object_set_new(json, "failed", text_json(c->failed));
	return json;
}

static json_t *chain_json(const struct incident *in)
{
	json_t *chain = json_array();

	for (size_t i = 0; i < in->chain_count; i++) {
		json_t *hop = json_object();

		json_object_set_new(hop, "pid", json_integer(in->chain[i].pid));
		json_object_set_new(hop, "process", text_json(in->chain[i].process));
		json_object_set_new(hop, "via", text_json(in->chain[i].via));
		json_object_set_new(hop, "doubt", text_json(in->chain[i].doubt));
		json_array_append_new(chain, hop);
	}
	return chain;
}

static json_t *holder_json(const struct holder_facts *h)
{
	json_t *json = json_object(), *candidates = json_array();

	for (size_t i = 0; i < h->candidate_count; i++) {
		json_t *one = json_object();

		json_object_set_new(one, "pid", json_integer(h->candidate[i].pid));
		json_object_set_new(one, "tid", json_integer(h->candidate[i].tid));
		json_object_set_new(one, "why", text_json(h->candidate[i].why));
		json_array_append_new(candidates, one);
	}
	json_object_set_new(json, "certain", json_boolean(h->certain));
	json_object_set_new(json, "why", text_json(h->why));
	json_object_set_new(json, "candidates", candidates);
	if (h->call) {
		json_object_set_new(json, "waits_for", text_json(h->call));
		json_object_set_new(json, "answered_by", h->call_pid ? json_integer(h->call_pid) : json_null());
		json_object_set_new(json, "outside", json_boolean(h->call_outside));
	}
	return json;
}

static void trapped_json(const struct incident *in, const char *path)
{
	json_t *json = json_object();

	json_object_set_new(json, "event", json_string("trapped"));
	json_object_set_new(json, "id", json_string(in->id));
	json_object_set_new(json, "rule", text_json(in->rule));
	json_object_set_new(json, "reason", json_string(reason_name(in->reason)));
	json_object_set_new(json, "method", text_json(in->request.method));
	json_object_set_new(json, "url", text_json(in->request.url));
	json_object_set_new(json, "host", text_json(in->request.host));
	json_object_set_new(json, "status", json_integer(in->status));
	json_object_set_new(json, "pid", json_integer(in->holder_pid));
	json_object_set_new(json, "tid", json_integer(in->holder_tid));
	json_object_set_new(json, "process",
			    text_json(in->chain_count ? in->chain[in->chain_count - 1].process : NULL));
	json_object_set_new(json, "chain", chain_json(in));
	json_object_set_new(json, "holder", holder_json(&in->holder));
	json_object_set_new(json, "limit_ms", json_integer((json_int_t)(in->limit_ns / NSEC_PER_MSEC)));
	json_object_set_new(json, "start_unknown", json_boolean(in->request.start_unknown));
	json_object_set_new(json, "unread_ms", in->request.unread_known ? ms_json(in->request.unread_ns) : json_null());
	json_object_set_new(json, "elapsed_ms", ms_json(in->elapsed_ns));
	json_object_set_new(json, "fired_after_ms", ms_json(in->fired_after_ns));
	json_object_set_new(json, "running_at_snapshot", json_boolean(in->capture.running_at_snapshot));
	json_object_set_new(json, "capture", capture_json(in, path));
	json_object_set_new(json, "suppressed", text_json(in->suppressed));
	json_object_set_new(json, "verdict", text_json(in->verdict));
	json_object_set_new(json, "cause", text_json(in->cause));
	json_object_set_new(json, "incident", text_json(*path ? path : NULL));
	print_json(json);
}

static void trapped_text(const struct incident *in, const char *path)
{
	time_t when = (time_t)(in->trapped_wall_ns / NSEC_PER_SEC);
	const char *process = in->chain_count ? in->chain[in->chain_count - 1].process : NULL;
	struct tm tm;
	struct buf out;

	localtime_r(&when, &tm);
	buf_init(&out, 65536);
	buf_addf(&out, "%02d:%02d:%02d  ", tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (in->reason == REASON_STATUS_CODE)
		buf_addf(&out, "status %d", in->status);
	else if (in->reason == REASON_ABORTED)
		buf_addf(&out, "aborted after %.0f ms", ns_to_ms(in->elapsed_ns));
	else if (in->reason == REASON_RESPONSE_SIZE)
		buf_addf(&out, "%llu bytes", (unsigned long long)in->request.response_bytes);
	else if (in->reason == REASON_APP_MARK)
		buf_addf(&out, "marked %s, after %.0f ms", severity_name(in->severity), ns_to_ms(in->elapsed_ns));
	else
		buf_addf(&out, "%.0f ms, running", ns_to_ms(in->elapsed_ns));
	buf_adds(&out, "  ");
	buf_add_escaped(&out, in->request.method ? in->request.method : "?",
			strlen(in->request.method ? in->request.method : "?"));
	buf_adds(&out, " ");
	buf_add_escaped(&out, in->request.url ? in->request.url : "?", strlen(in->request.url ? in->request.url : "?"));
	buf_addf(&out, "  held by %s %d", process ? process : "?", in->holder_pid);
	if (in->holder_tid != in->holder_pid)
		buf_addf(&out, " thread %d", in->holder_tid);
	if (!in->holder.certain)
		buf_addf(&out, " or %zu other%s", in->holder.candidate_count - 1,
			 in->holder.candidate_count == 2 ? "" : "s");
	buf_addf(&out, "  (rule '%s')\n", in->rule ? in->rule : "?");
	if (in->holder.why)
		buf_addf(&out, "          %s\n", in->holder.why);
	if (in->verdict) {
		buf_adds(&out, "          ");
		buf_add_escaped(&out, in->verdict, strlen(in->verdict));
		buf_adds(&out, "\n");
	}
	if (in->suppressed || in->capture.failed)
		buf_addf(&out, "          not captured: %s\n", in->suppressed ? in->suppressed : in->capture.failed);
	else if (in->capture.method != METHOD_NONE || in->capture.pause_ns)
		buf_addf(&out, "          the process stood still for %.1f ms\n", ns_to_ms(in->capture.pause_ns));
	if (*path)
		buf_addf(&out, "          %s\n", path);
	fputs(out.data ? out.data : "", stdout);
	fflush(stdout);
	buf_done(&out);
}

static void areas_text(const struct area_total *area)
{
	for (enum area a = 0; a < AREA_COUNT; a++) {
		const struct area_total *t = &area[a];

		if (!t->on)
			continue;
		printf("  area %s: %" PRIu64 " events, %" PRIu64 " outside of requests; %" PRIu64
		       " ns of BPF time at each "
		       "of %" PRIu64 " runs%s\n",
		       area_name(a), t->count.hits, t->count.stray, t->runs ? t->ns / t->runs : 0, t->runs,
		       a >= AREA_APP ? " (and the trap into the kernel)" : "");
		if (t->count.cut || t->count.unread)
			printf("    of their texts %" PRIu64 " were cut, %" PRIu64 " could not be read\n", t->count.cut,
			       t->count.unread);
	}
}

static json_t *areas_json(const struct area_total *area)
{
	json_t *list = json_array();

	for (enum area a = 0; a < AREA_COUNT; a++) {
		const struct area_total *t = &area[a];

		if (!t->on)
			continue;
		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "area", area_name(a),
						"probes", (json_int_t)t->probes, "events", (json_int_t)t->count.hits,
						"stray", (json_int_t)t->count.stray, "texts_cut",
						(json_int_t)t->count.cut, "texts_unread", (json_int_t)t->count.unread,
						"runs", (json_int_t)t->runs, "ns", (json_int_t)t->ns));
	}
	return list;
}

static void totals_text(const struct engine_totals *t)
{
	printf("%" PRIu64 " requests seen, %" PRIu64 " trapped", t->requests, t->trapped);
	if (t->older)
		printf(", %" PRIu64 " that had begun before (start unknown)", t->older);
	if (t->inner)
		printf(", %" PRIu64 " calls between the watched", t->inner);
	printf("; lost events %" PRIu64 ", refused %" PRIu64 "; %" PRIu64 " ns of BPF time at the sockets a request\n",
	       t->lost_ring + t->lost_map, t->refused, t->cpu_ns_per_request);
	if (t->sched_runs)
		printf("  and %.3f %% of a core for the context switches and wake-ups of the host: %" PRIu64
		       " ns at each of %" PRIu64 "\n",
		       t->watched_ns ? (double)t->sched_ns * 100 / (double)t->watched_ns : 0,
		       t->sched_ns / t->sched_runs, t->sched_runs);
	areas_text(t->area);
	if (t->lost_ring || t->lost_map)
		printf("  lost: %" PRIu64 " records found the ring full (%" PRIu64
		       " of them would have trapped a request), "
		       "%" PRIu64 " probe runs were left out\n",
		       t->lost_ring, t->lost_trigger, t->lost_map);
	if (t->refused)
		printf("  refused: new requests found no free slot or connection entry (see --slots)\n");
	if (t->inferred || t->gap || t->unseen)
		printf("  not sure: %" PRIu64 " ends inferred, %" PRIu64 " with a gap, %" PRIu64
		       " replies to requests that were not seen\n",
		       t->inferred, t->gap, t->unseen);
	if (t->discarded)
		printf("  thrown away: %" PRIu64 " requests came on connections that the server had closed already\n",
		       t->discarded);
	if (t->blind)
		printf("  blind: the bytes of %" PRIu64
		       " socket calls could not be read (io_uring, splice, recvmmsg)\n",
		       t->blind);
	if (t->head_cut)
		printf("  cut: %" PRIu64 " heads were longer than what is kept; their end is inferred\n", t->head_cut);
	for (enum detail d = 0; d < DETAIL_COUNT; d++) {
		if (t->shed_ns[d])
			printf("  shed: %s detail for %.0f s, to stay within --max-overhead\n", detail_name(d),
			       (double)t->shed_ns[d] / 1e9);
	}
	if (t->suppressed)
		printf("  not captured: %" PRIu64 " of the trapped, by a limit or another capture\n", t->suppressed);
	fflush(stdout);
}

/* All requests there were = requests + inner + start_unknown + refused + unseen; the first two are
 * complete, end_inferred, aborted, gap or in flight. */
static void identity_json(json_t *json, const struct engine_totals *t)
{
	const struct {
		const char *name;
		uint64_t number;
	} rows[] = {
		{ "start_unknown", t->older },
		{ "start_unknown_in_flight", t->older_in_flight },
		{ "complete", t->complete },
		{ "end_inferred", t->inferred },
		{ "aborted", t->aborted },
		{ "gap", t->gap },
		{ "unseen", t->unseen },
		{ "discarded", t->discarded },
		{ "lost_triggers", t->lost_trigger },
		{ "refused_slots", t->refused_slot },
		{ "refused_connections", t->refused_conn },
		{ "refused_pipelined", t->refused_queue },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		json_object_set_new(json, rows[i].name, json_integer((json_int_t)rows[i].number));
}

static json_t *shed_json(const struct engine_totals *t)
{
	json_t *list = json_array();

	for (enum detail d = 0; d < DETAIL_COUNT; d++) {
		if (t->shed_ns[d])
			json_array_append_new(list, json_pack("{s:s, s:o}", "detail", detail_name(d), "ms",
							      ms_json(t->shed_ns[d])));
	}
	return list;
}

static void totals_json(const struct engine_totals *t, const char *hooks)
{
	json_t *json =
		json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}",
			  "event", "totals", "requests", (json_int_t)t->requests, "trapped", (json_int_t)t->trapped,
			  "lost_events", (json_int_t)(t->lost_ring + t->lost_map), "refused", (json_int_t)t->refused,
			  "cpu_ns_per_request", (json_int_t)t->cpu_ns_per_request, "inner", (json_int_t)t->inner,
			  "lost_ring", (json_int_t)t->lost_ring, "lost_map", (json_int_t)t->lost_map, "blind",
			  (json_int_t)t->blind, "head_cut", (json_int_t)t->head_cut, "suppressed",
			  (json_int_t)t->suppressed, "in_flight", (json_int_t)t->in_flight, "sched_ns",
			  (json_int_t)t->sched_ns, "sched_runs", (json_int_t)t->sched_runs, "hooks", hooks, "areas",
			  areas_json(t->area));

	identity_json(json, t);
	json_object_set_new(json, "shed", shed_json(t));
	json_object_set_new(json, "overhead_percent", json_real(t->spent_ppm / 1e4));
	print_json(json);
}

static const char *sample_reason(const struct later_look *s)
{
	return s->repeat ? "REPEAT" : reason_name(s->reason);
}

static void sample_json(const struct incident *in, size_t index, const char *path)
{
	const struct later_look *s = &in->sample[index];
	json_t *json = json_object();

	json_object_set_new(json, "event", json_string("sample"));
	json_object_set_new(json, "id", json_string(in->id));
	json_object_set_new(json, "number", json_integer((json_int_t)index + 2));
	json_object_set_new(json, "rule", text_json(s->rule));
	json_object_set_new(json, "reason", json_string(sample_reason(s)));
	json_object_set_new(json, "url", text_json(in->request.url));
	json_object_set_new(json, "limit_ms", json_integer((json_int_t)(s->limit_ns / NSEC_PER_MSEC)));
	json_object_set_new(json, "elapsed_ms", ms_json(s->at_ns));
	json_object_set_new(json, "pid", json_integer(s->pid));
	json_object_set_new(json, "tid", json_integer(s->tid));
	json_object_set_new(json, "pause_ms", ms_json(s->pause_ns));
	json_object_set_new(json, "taken", json_boolean(s->thread.tid != 0));
	json_object_set_new(json, "failed", text_json(s->failed));
	json_object_set_new(json, "incident", text_json(*path ? path : NULL));
	print_json(json);
}

static void sample_text(const struct incident *in, size_t index)
{
	const struct later_look *s = &in->sample[index];
	struct buf out;

	buf_init(&out, 65536);
	buf_addf(&out, "          %s at %.0f ms: ", s->repeat ? "looked at again" : "still running",
		 ns_to_ms(s->at_ns));
	buf_add_escaped(&out, in->request.url ? in->request.url : "?", strlen(in->request.url ? in->request.url : "?"));
	buf_addf(&out, "  (rule '%s')", s->rule);
	if (s->failed)
		buf_addf(&out, "; not captured: %s", s->failed);
	printf("%s\n", out.data ? out.data : "");
	fflush(stdout);
	buf_done(&out);
}

/* ---- what happens ---- */

static void on_done(void *arg)
{
	struct watch *watch = arg;

	loop_stop(watch->loop, 0);
}

static void finish(struct watch *watch)
{
	if (watch->finishing)
		return;
	watch->finishing = true;
	engine_finish(watch->engine, now_ns() + FINISH_NS, on_done, watch);
}

static void on_trapped(void *arg, const struct incident *in, const char *path)
{
	struct watch *watch = arg;

	watch->trapped++;
	if (watch->json)
		trapped_json(in, path);
	else
		trapped_text(in, path);
	watch->captured += !in->suppressed;
	if (watch->most && watch->captured >= watch->most)
		finish(watch);
}

static void on_sampled(void *arg, const struct incident *in, size_t index, const char *path)
{
	struct watch *watch = arg;

	if (watch->json)
		sample_json(in, index, path);
	else
		sample_text(in, index);
}

static void on_ended(void *arg, const struct incident *in, const char *path)
{
	struct watch *watch = arg;
	json_t *json;

	(void)path;
	if (!watch->json)
		return;
	json = json_object();
	json_object_set_new(json, "event", json_string("ended"));
	json_object_set_new(json, "id", json_string(in->id));
	json_object_set_new(json, "status", json_integer(in->status));
	json_object_set_new(json, "time_taken_ms", ms_json(in->time_taken_ns));
	print_json(json);
}

static void on_failed(void *arg, const char *text)
{
	(void)arg;
	log_warn("%s", text);
}

/* Exit code and counts stay what they are: only detail goes. */
static void on_shed(void *arg, enum budget_word word, enum detail detail, uint32_t spent_ppm)
{
	struct watch *watch = arg;
	const char *name = detail < DETAIL_COUNT ? detail_name(detail) : NULL;
	double spent = spent_ppm / 1e4, most = watch->budget_ppm / 1e4;

	if (watch->json)
		print_json(json_pack("{s:s, s:s?, s:f, s:f}", "event", word == BUDGET_BACK ? "restored" : "shed",
				     "detail", name, "spent_percent", spent, "budget_percent", most));
	if (word == BUDGET_STUCK)
		log_warn(
			"the watch takes %.4g %% of the host's CPU time, --max-overhead is %.4g: no detail is left to shed "
			"that would help; what is trapped, and the counts, stay exact",
			spent, most);
	else
		log_warn("%s detail %s: the watch takes %.4g %% of the host's CPU time, --max-overhead is %.4g", name,
			 word == BUDGET_BACK ? "is back" : "is shed", spent, most);
}

static void on_targets_gone(void *arg)
{
	struct watch *watch = arg;

	log_note("the last watched process has ended");
	finish(watch);
}

static void on_signal(void *arg, uint32_t signal UNUSED)
{
	struct watch *watch = arg;

	if (watch->finishing)
		loop_stop(watch->loop, 0);
	else
		finish(watch);
}

static void on_stored(void *arg, const struct incident *in UNUSED, const char *path UNUSED)
{
	struct watch *watch = arg;

	watch->stored++;
}

/* ---- setting up ---- */

static bool is_limit(const struct option_use *use)
{
	return !strcmp(use->row->name, "time-taken");
}

static bool comes_once(const struct option_use *use)
{
	return !strcmp(use->row->name, "status") || !strcmp(use->row->name, "aborted") ||
	       !strcmp(use->row->name, "response-size") || !strcmp(use->row->name, "severity");
}

/* One rule of all options; of several --time-taken only the one that was given as
 * 'limit'. What comes once, at the end, belongs to the first. */
static int rule_of_options(const struct command_line *line, const struct option_use *limit, struct rules *rules,
			   struct err *err)
{
	CLEAN(free) char *name = NULL;
	struct rule *rule;

	if (rules->count)
		text_setf(&name, "command line, %s", limit->value);
	rule = rules_add(rules, name ? name : "command line");
	if (!rule)
		return err_sys(err, -ENOMEM, "cannot make the rule");
	for (size_t i = 0; i < line->use_count; i++) {
		const struct option_use *use = &line->use[i];
		int r;

		if (!use->row->config_key || (is_limit(use) && use != limit) ||
		    (rules->count > 1 && !option_given(line, "all") && comes_once(use)))
			continue;
		r = rule_set(rule, use->row->name, use->value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int rules_of_options(const struct command_line *line, struct rules *rules, struct err *err)
{
	const struct rule *rule;
	int r = 0;

	for (size_t i = 0; i < line->use_count && r == 0; i++) {
		if (is_limit(&line->use[i]))
			r = rule_of_options(line, &line->use[i], rules, err);
	}
	if (r == 0 && !rules->count)
		r = rule_of_options(line, NULL, rules, err);
	if (r < 0)
		return r;
	rule = &rules->rule[0];
	if (!rule->time_taken_ns && !rule->status_count && !rule->aborted && !rule->response_bytes && !rule->severity)
		return err_say(err, -EINVAL,
			       "what is a failed request? Give --time-taken (try '--time-taken 2s'), "
			       "--status (try '--status 500-599') or --config");
	rules->actions_enabled = true; /* whoever types a command means it */
	return rule_check(rule, err);
}

static int rules_of_file(const char *path, struct rules *rules, struct err *err)
{
	struct buf problems;
	int r;

	buf_init(&problems, 1 << 20);
	r = config_read(path, rules, &problems, err);
	if (problems.len)
		fputs(problems.data, stderr); /* warnings too */
	if (r < 0 && problems.len)
		err_say(err, r, "the rules file '%s' has mistakes; 'reqtrap check' shows them too", path);
	buf_done(&problems);
	return r;
}

static int check_later(const struct rules *rules, struct err *err)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->rule[i];

		if (rule->action && action_check(rule->action, err) < 0)
			return err_wrap(err, -EINVAL, "rule '%s'", rule->name);
	}
	return 0;
}

static int make_rules(const struct command_line *line, struct rules *rules, struct err *err)
{
	const char *config = option_value(line, "config");
	int r;

	if (!config) {
		r = rules_of_options(line, rules, err);
		return r < 0 ? r : check_later(rules, err);
	}
	for (size_t i = 0; i < line->use_count; i++) {
		if (line->use[i].row->config_key)
			return err_say(err, -EINVAL, "--%s and --config do not go together: put it into a rule of '%s'",
				       line->use[i].row->name, config);
	}
	r = rules_of_file(config, rules, err);
	if (r == 0 && !rules->count)
		return err_say(err, -EINVAL, "the rules file '%s' has no rule", config);
	return r < 0 ? r : check_later(rules, err);
}

static int add_target(void *arg, pid_t pid, struct err *err)
{
	struct watch *watch = arg;

	return engine_add_process(watch->engine, pid, err);
}

/* Nobody is named: the sets of the rules file are. The words are the rules'. */
static int targets_of_rules(struct watch *watch, struct command_line *line, struct err *err)
{
	for (size_t i = 0; !line->rest_count && !line->command && i < watch->rules.watch_count; i++) {
		for (char **word = watch->rules.watch[i].word; word && *word; word++) {
			if (strings_add(&watch->words, *word) < 0)
				return err_sys(err, -ENOMEM, "cannot list the targets");
		}
	}
	if (watch->words) {
		line->rest = watch->words;
		line->rest_count = (int)strings_count(watch->words);
	}
	return targets_named(line, err);
}

static int add_targets(struct watch *watch, const struct command_line *line, struct err *err)
{
	size_t added = 0;
	int r = targets_add(line, &watch->command, add_target, watch, &added, err);

	if (r == 0)
		r = engine_older(watch->engine, err);
	if (r == 0 && watch->json)
		print_json(json_pack("{s:s, s:I, s:s}", "event", "watching", "processes", (json_int_t)added, "hooks",
				     engine_hooks_name(watch->engine)));
	else if (r == 0)
		log_note("watching %zu process%s by %s hooks; Ctrl-C ends it", added, added == 1 ? "" : "es",
			 engine_hooks_name(watch->engine));
	return r;
}

static int set_up(struct watch *watch, const struct command_line *line, struct err *err)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	const char *compress = option_value(line, "compress");
	struct engine_config config = {
		.rules = &watch->rules,
		.store_dir = option_value(line, "store") ? option_value(line, "store") : watch->rules.store,
		.pause_budget_ns = PAUSE_BUDGET_NS,
		.compress = !compress || !strcmp(compress, "zstd"),
		.no_journal = option_given(line, "no-journal"),
		.books = option_given(line, "config"), /* a rule that was typed begins anew */
		.normal_priority = option_given(line, "priority") && !strcmp(option_value(line, "priority"), "normal"),
		.trapped = on_trapped,
		.ended = on_ended,
		.sampled = on_sampled,
		.stored = on_stored,
		.shed = on_shed,
		.failed = on_failed,
		.targets_gone = on_targets_gone,
		.arg = watch,
	};
	uint64_t number;
	int r;

	r = targets_how(line, &config.hooks, &config.slots, err);
	if (r < 0)
		return r;
	if (option_given(line, "map-share")) {
		r = parse_count(option_value(line, "map-share"), 1, 100, &number, err);
		if (r < 0)
			return err_wrap(err, r, "--map-share");
		config.map_share = (unsigned int)number;
	}
	r = budget_parse(option_given(line, "max-overhead") ? option_value(line, "max-overhead") : BUDGET_DEFAULT,
			 &watch->budget_ppm, err);
	if (r < 0)
		return r;
	config.budget_ppm = watch->budget_ppm;
	if (option_given(line, "pause-budget"))
		parse_duration(option_value(line, "pause-budget"), &config.pause_budget_ns, NULL);
	if (option_given(line, "max-size"))
		parse_size(option_value(line, "max-size"), &config.core_max_bytes, NULL);
	if (option_given(line, "free-space"))
		parse_space(option_value(line, "free-space"), &config.core_free_bytes, &config.core_free_percent, NULL);
	if (option_given(line, "max-rate"))
		parse_size(option_value(line, "max-rate"), &config.core_rate, NULL);
	if (option_given(line, "count"))
		parse_count(option_value(line, "count"), 1, UINT32_MAX, &watch->most, NULL);
	dump_reap();
	r = loop_new(&watch->loop, err);
	if (r < 0)
		return r;
	r = loop_add_signals(watch->loop, ends, ARRAY_LEN(ends), on_signal, watch, err);
	if (r == 0)
		r = engine_new(watch->loop, &config, &watch->engine, err);
	return r < 0 ? r : add_targets(watch, line, err);
}

static void tear_down(struct watch *watch)
{
	engine_free(watch->engine);
	dump_settle();
	watch->finishing = true; /* a Ctrl-C from now on ends the waiting */
	command_end(&watch->command, watch->loop);
	loop_free(watch->loop);
	rules_free(&watch->rules);
	strings_free(watch->words);
}

int cmd_watch(int argc, char **argv)
{
	struct watch watch = { .command = { .pidfd = -1 } };
	struct engine_totals totals;
	struct command_line line;
	struct err err = { "" };
	int r = verb_begin("watch", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	r = 0;
	watch.json = option_given(&line, "json");
	log_quiet(option_given(&line, "quiet"));
	if (!option_given(&line, "config"))
		r = targets_named(&line, &err);
	r = r < 0 ? r : make_rules(&line, &watch.rules, &err);
	if (r == 0)
		r = targets_of_rules(&watch, &line, &err);
	mask_show_values(watch.rules.show_values || option_given(&line, "show-values"));
	if (r == 0)
		r = set_up(&watch, &line, &err);
	if (r == 0)
		r = loop_run(watch.loop);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		tear_down(&watch);
		return exit_code_of(r);
	}
	engine_totals(watch.engine, &totals);
	if (watch.json)
		totals_json(&totals, engine_hooks_name(watch.engine));
	else
		totals_text(&totals);
	tear_down(&watch);
	if (watch.trapped && !watch.stored)
		return EXIT_REFUSED; /* why was told */
	return watch.trapped ? EXIT_DONE : EXIT_NOTHING;
}
