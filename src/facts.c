// SPDX-License-Identifier: MIT
/* The tables: which field of the incident stands under which key, how long lists
 * may be. Rejected: a text format of our own. Trap: a change of meaning must raise
 * INCIDENT_SCHEMA, a new key need not. */
#include "facts.h"

#include "shape.h"

#include <string.h>

static const char *reason_at(unsigned int n)
{
	return reason_name((enum reason)n);
}
static const char *protocol_at(unsigned int n)
{
	return protocol_name((enum protocol)n);
}
static const char *method_at(unsigned int n)
{
	return capture_method_name((enum capture_method)n);
}
static const char *core_kind_at(unsigned int n)
{
	return core_kind_name((enum core_kind)n);
}
static const char *action_at(unsigned int n)
{
	return action_state_name((enum action_state)n);
}

static const char *spend_at(unsigned int n)
{
	static const char *const name[] = { "cpu", "runnable", "wait", "unattributed", "behind", "loop" };

	return name[n];
}

static const struct field request_fields[] = {
	CHOICE(struct request_info, protocol, protocol_at, PROTOCOL_FASTCGI + 1),
	TEXT(struct request_info, method),
	TEXT(struct request_info, url),
	TEXT(struct request_info, host),
	TEXT(struct request_info, user_agent),
	TEXT(struct request_info, client),
	FLAG(struct request_info, head_cut),
	FLAG(struct request_info, start_unknown),
	FLAG(struct request_info, unread_known),
	NUMBER(struct request_info, unread_ns),
	NUMBER(struct request_info, request_bytes),
	NUMBER(struct request_info, response_bytes),
};
static const struct shape request_shape = SHAPE(request_fields, struct request_info, false);

static const struct field hop_fields[] = {
	PID(struct hop, pid),  PID(struct hop, tid),	TEXT(struct hop, process),
	TEXT(struct hop, via), TEXT(struct hop, doubt),
};
static const struct shape hop_shape = SHAPE(hop_fields, struct hop, true);

static const struct field candidate_fields[] = {
	PID(struct candidate, pid),
	PID(struct candidate, tid),
	TEXT(struct candidate, why),
};
static const struct shape candidate_shape = SHAPE(candidate_fields, struct candidate, true);

static const struct field holder_fields[] = {
	FLAG(struct holder_facts, certain),
	TEXT(struct holder_facts, why),
	LIST(struct holder_facts, candidate, candidate_count, candidate_shape, 1024),
	TEXT(struct holder_facts, call),
	PID(struct holder_facts, call_pid),
	FLAG(struct holder_facts, call_outside),
};
static const struct shape holder_shape = SHAPE(holder_fields, struct holder_facts, false);

static const struct field spending_fields[] = {
	CHOICE(struct spending, kind, spend_at, SPEND_LOOP + 1),
	TEXT(struct spending, call),
	TEXT(struct spending, what),
	TEXT(struct spending, object),
	TEXT(struct spending, peer),
	TEXT(struct spending, waker),
	TEXT(struct spending, who),
	NUMBER(struct spending, ns),
	NUMBER(struct spending, user_ns),
	NUMBER(struct spending, kernel_ns),
	NUMBER(struct spending, count),
	FLAG(struct spending, open),
};
static const struct shape spending_shape = SHAPE(spending_fields, struct spending, true);

static const struct field event_fields[] = {
	NUMBER(struct trace_event, at_ns), NUMBER(struct trace_event, dur_ns),	 PID(struct trace_event, pid),
	PID(struct trace_event, tid),	   TEXT(struct trace_event, kind),	 TEXT(struct trace_event, name),
	TEXT(struct trace_event, detail),  NUMBER(struct trace_event, bytes),	 NUMBER(struct trace_event, count),
	PID(struct trace_event, waker),	   TEXT(struct trace_event, waker_name), NUMBER32(struct trace_event, severity),
};
static const struct shape event_shape = SHAPE(event_fields, struct trace_event, true);

static const struct field frame_fields[] = {
	TEXT(struct frame, function),  TEXT(struct frame, file),
	NUMBER32(struct frame, line),  TEXT(struct frame, module),
	TEXT(struct frame, arguments), { .key = "pc", .kind = KIND_HEX, AT(struct frame, pc) },
	FLAG(struct frame, script),    FLAG(struct frame, inlined),
};
static const struct shape frame_shape = SHAPE(frame_fields, struct frame, true);

static const struct field stack_fields[] = {
	LIST(struct stack, frame, count, frame_shape, 4096),
	TEXT(struct stack, unavailable),
};
static const struct shape stack_shape = SHAPE(stack_fields, struct stack, true);

static const struct field task_fields[] = {
	TEXT(struct task, name),
	TEXT(struct task, waits_for),
	OBJECT(struct task, stack, stack_shape),
};
static const struct shape task_shape = SHAPE(task_fields, struct task, true);

static const struct field thread_fields[] = {
	PID(struct thread, tid),
	TEXT(struct thread, comm),
	{ .key = "state", .kind = KIND_LETTER, AT(struct thread, state) },
	TEXT(struct thread, call),
	TEXT(struct thread, waits_for),
	PID(struct thread, waits_for_tid),
	FLAG(struct thread, holder),
	NUMBER(struct thread, cpu_ns),
	NUMBER(struct thread, cpu_over_ns),
	OBJECT(struct thread, script, stack_shape),
	OBJECT(struct thread, stack, stack_shape),
};
static const struct shape thread_shape = SHAPE(thread_fields, struct thread, true);

static const struct field lock_fields[] = {
	TEXT(struct lock, name),
	PID(struct lock, owner),
	TEXT(struct lock, owner_name),
	{ .key = "waiter",
	  .kind = KIND_PIDS,
	  AT(struct lock, waiter),
	  .count_at = offsetof(struct lock, waiter_count),
	  .max = 1u << 17 },
};
static const struct shape lock_shape = SHAPE(lock_fields, struct lock, true);

static const struct field variable_fields[] = {
	TEXT(struct variable, name),
	TEXT(struct variable, value),
	FLAG(struct variable, masked),
};
static const struct shape variable_shape = SHAPE(variable_fields, struct variable, true);

static const struct field own_fields[] = {
	TEXT(struct own_lock, name),
	{ .key = "addr", .kind = KIND_HEX, AT(struct own_lock, addr) },
	NUMBER(struct own_lock, len),
	PID(struct own_lock, owner),
};
static const struct shape own_shape = SHAPE(own_fields, struct own_lock, true);

static const struct field module_fields[] = {
	PID(struct module_id, pid),
	TEXT(struct module_id, name),
	TEXT(struct module_id, build_id),
	{ .key = "bias", .kind = KIND_HEX, AT(struct module_id, bias) },
};
static const struct shape module_shape = SHAPE(module_fields, struct module_id, true);

static const struct field analysis_fields[] = {
	TEXT(struct analysis, failed),
	TEXT(struct analysis, language),
	TEXTS(struct analysis, note, 4096),
	TEXTS(struct analysis, deadlock, 1024),
	LIST(struct analysis, variable, variable_count, variable_shape, 4096),
	LIST(struct analysis, lock, lock_count, lock_shape, 1u << 16),
	LIST(struct analysis, own, own_count, own_shape, 64),
	LIST(struct analysis, task, task_count, task_shape, 4096),
	LIST(struct analysis, module, module_count, module_shape, 4096),
	LIST(struct analysis, thread, thread_count, thread_shape, 1u << 17),
};
static const struct shape analysis_shape = SHAPE(analysis_fields, struct analysis, false);

static const struct field process_fields[] = {
	PID(struct process_facts, pid),		 TEXT(struct process_facts, comm),
	TEXT(struct process_facts, exe),	 TEXT(struct process_facts, cmdline),
	TEXT(struct process_facts, cgroup),	 TEXT(struct process_facts, language),
	NUMBER(struct process_facts, rss_bytes), NUMBER32(struct process_facts, thread_count),
	NUMBER32(struct process_facts, uid),	 NUMBER32(struct process_facts, gid),
};
static const struct shape process_shape = SHAPE(process_fields, struct process_facts, false);

static const struct field omission_fields[] = {
	TEXT(struct omission, range),
	TEXT(struct omission, why),
};
static const struct shape omission_shape = SHAPE(omission_fields, struct omission, true);

static const struct field capture_fields[] = {
	CHOICE(struct capture_facts, method, method_at, METHOD_STOP + 1),
	TEXT(struct capture_facts, why_not_clone),
	TEXT(struct capture_facts, failed),
	NUMBER(struct capture_facts, started_after_ns),
	NUMBER(struct capture_facts, pause_ns),
	NUMBER(struct capture_facts, wall_ns),
	FLAG(struct capture_facts, running_at_snapshot),
	FLAG(struct capture_facts, core_complete),
	CHOICE(struct capture_facts, core_kind, core_kind_at, CORE_MINI + 1),
	{ .key = "core_file", .kind = KIND_NAME, AT(struct capture_facts, core_file) },
	NUMBER(struct capture_facts, core_bytes),
	NUMBER(struct capture_facts, core_bytes_on_disk),
	LIST(struct capture_facts, omitted, omitted_count, omission_shape, 1u << 17),
};
static const struct shape capture_shape = SHAPE(capture_fields, struct capture_facts, false);

static const struct field action_fields[] = {
	CHOICE(struct action_facts, state, action_at, ACTION_DISABLED + 1),
	TEXTS(struct action_facts, argv, 4096),
	SIGNED(struct action_facts, exit_code),
	NUMBER(struct action_facts, took_ns),
	FLAG(struct action_facts, output_cut),
	TEXT(struct action_facts, why),
	TEXT(struct action_facts, output),
};
static const struct shape action_shape = SHAPE(action_fields, struct action_facts, false);

static const struct field sample_fields[] = {
	NUMBER(struct later_look, at_ns),
	TEXT(struct later_look, rule),
	CHOICE(struct later_look, reason, reason_at, REASON_APP_MARK + 1),
	NUMBER(struct later_look, limit_ns),
	FLAG(struct later_look, repeat),
	PID(struct later_look, pid),
	PID(struct later_look, tid),
	NUMBER(struct later_look, pause_ns),
	TEXT(struct later_look, failed),
	OBJECT(struct later_look, thread, thread_shape),
	OBJECT(struct later_look, action, action_shape),
};
static const struct shape sample_shape = SHAPE(sample_fields, struct later_look, true);

static const struct field use_fields[] = {
	PID(struct thread_use, tid),	 TEXT(struct thread_use, comm),	    NUMBER(struct thread_use, looks),
	NUMBER(struct thread_use, same), NUMBER(struct thread_use, cpu_ns), NUMBER(struct thread_use, over_ns),
};
static const struct shape use_shape = SHAPE(use_fields, struct thread_use, true);

static const struct field beyond_fields[] = {
	PID(struct beyond, pid),	 PID(struct beyond, tid),
	TEXT(struct beyond, process),	 TEXT(struct beyond, how),
	TEXT(struct beyond, request),	 NUMBER(struct beyond, request_age_ns),
	NUMBER(struct beyond, pause_ns), TEXT(struct beyond, failed),
	FLAG(struct beyond, cycle),	 OBJECT(struct beyond, thread, thread_shape),
};
static const struct shape beyond_shape = SHAPE(beyond_fields, struct beyond, true);

#define BEYOND LIST(struct incident, beyond, beyond_count, beyond_shape, 256)

static const struct field end_fields[] = {
	NUMBER32(struct open_end, fd),	     TEXT(struct open_end, what),	  TEXT(struct open_end, peer),
	TEXT(struct open_end, peer_request), TEXT(struct open_end, protocol),	  TEXT(struct open_end, statement),
	NUMBER(struct open_end, recv_queue), NUMBER(struct open_end, send_queue), FLAG(struct open_end, waited),
	FLAG(struct open_end, mine),	     FLAG(struct open_end, unaccepted),
};
static const struct shape end_shape = SHAPE(end_fields, struct open_end, true);

static const struct field group_fields[] = {
	NUMBER32(struct pool_group, count),
	TEXT(struct pool_group, what),
	TEXT(struct pool_group, place),
};
static const struct shape group_shape = SHAPE(group_fields, struct pool_group, true);

static const struct field pool_fields[] = {
	TEXT(struct pool, name),	TEXT(struct pool, listen),
	FLAG(struct pool, called),	NUMBER32(struct pool, workers),
	NUMBER32(struct pool, busy),	NUMBER32(struct pool, queue),
	NUMBER32(struct pool, backlog), LIST(struct pool, group, group_count, group_shape, 1u << 12),
};
static const struct shape pool_shape = SHAPE(pool_fields, struct pool, false);

static const struct field host_fields[] = {
	NUMBER32(struct host_facts, cpus),
	NUMBER32(struct host_facts, load_permille),
	NUMBER32(struct host_facts, cpu_some),
	NUMBER32(struct host_facts, memory_some),
	NUMBER32(struct host_facts, io_some),
	NUMBER32(struct host_facts, cpu_limit_permille),
	NUMBER(struct host_facts, throttled_ns),
	NUMBER(struct host_facts, throttled_over_ns),
	NUMBER(struct host_facts, memory_bytes),
	NUMBER(struct host_facts, memory_limit_bytes),
	NUMBER(struct host_facts, memory_high_bytes),
	NUMBER(struct host_facts, memory_over),
	NUMBER(struct host_facts, memory_stalled_ns),
	NUMBER(struct host_facts, swap_bytes),
	NUMBER(struct host_facts, oom_kills),
};
static const struct shape host_shape = SHAPE(host_fields, struct host_facts, false);

static const struct field scene_fields[] = {
	FLAG(struct scene, looked),
	LIST(struct scene, end, end_count, end_shape, 1u << 12),
	OBJECT(struct scene, pool, pool_shape),
	OBJECT(struct scene, host, host_shape),
	TEXTS(struct scene, note, 256),
};
static const struct shape scene_shape = SHAPE(scene_fields, struct scene, false);

#define SCENE OBJECT(struct incident, scene, scene_shape)
static const struct field around_fields[] = { BEYOND, SCENE };
static const struct shape around_shape = SHAPE(around_fields, struct incident, false);

static const struct field losses_fields[] = {
	NUMBER(struct losses, events_overwritten),
	NUMBER(struct losses, texts_cut),
	NUMBER(struct losses, spans_lost),
	NUMBER(struct losses, ring_lost),
	NUMBER(struct losses, refused),
	NUMBER(struct losses, blind_io),
	TEXT(struct losses, shed),
};
static const struct shape losses_shape = SHAPE(losses_fields, struct losses, false);

static const struct field incident_fields[] = {
	{ .key = "id", .kind = KIND_ID, AT(struct incident, id) },
	NUMBER(struct incident, started_wall_ns),
	NUMBER(struct incident, trapped_wall_ns),
	TEXT(struct incident, host_name),
	TEXT(struct incident, kernel),
	TEXT(struct incident, version),
	TEXT(struct incident, verdict),
	TEXT(struct incident, cause),
	TEXT(struct incident, confidence),
	TEXT(struct incident, advice),
	TEXTS(struct incident, evidence, 1024),
	TEXT(struct incident, rule),
	CHOICE(struct incident, reason, reason_at, REASON_APP_MARK + 1),
	NUMBER32(struct incident, severity),
	TEXTS(struct incident, also_matched, 4096),
	NUMBER(struct incident, limit_ns),
	FLAG(struct incident, limit_server),
	NUMBER(struct incident, server_ns),
	NUMBER(struct incident, elapsed_ns),
	NUMBER(struct incident, fired_after_ns),
	FLAG(struct incident, limit_reached),
	TEXT(struct incident, suppressed),
	OBJECT(struct incident, request, request_shape),
	LIST(struct incident, chain, chain_count, hop_shape, 256),
	PID(struct incident, holder_pid),
	PID(struct incident, holder_tid),
	OBJECT(struct incident, holder, holder_shape),
	OBJECT(struct incident, process, process_shape),
	FLAG(struct incident, ended),
	SIGNED(struct incident, status),
	NUMBER(struct incident, time_taken_ns),
	TEXT(struct incident, end_note),
	LIST(struct incident, spending, spending_count, spending_shape, 1u << 16),
	NUMBER(struct incident, page_faults),
	OBJECT(struct incident, capture, capture_shape),
	OBJECT(struct incident, action, action_shape),
	OBJECT(struct incident, losses, losses_shape),
	OBJECT(struct incident, analysis, analysis_shape),
	LIST(struct incident, sample, sample_count, sample_shape, 4096),
	LIST(struct incident, thread_use, thread_use_count, use_shape, 1u << 20),
	BEYOND,
	SCENE,
	LIST(struct incident, trace, trace_count, event_shape, 1u << 20),
};
static const struct shape incident_shape = SHAPE(incident_fields, struct incident, false);

char *facts_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	struct buf out;
	uint32_t cp;

	buf_init(&out, SIZE_MAX / 2);
	buf_adds(&out, "");
	while (*p) {
		size_t n = utf8_sequence(p, &cp);

		if (n)
			buf_add(&out, p, n);
		else
			buf_adds(&out, "\xef\xbf\xbd");
		p += n ? n : 1;
	}
	if (out.full) {
		buf_done(&out);
		return NULL;
	}
	return buf_take(&out);
}

static int written(const struct buf *out, struct err *err)
{
	if (out->full)
		return err_say(err, -E2BIG, "cannot write the facts: more than %zu bytes, or out of memory", out->max);
	return 0;
}

void facts_add_string(struct buf *out, const char *text)
{
	shape_add_string(out, text);
}

int facts_write(const struct incident *incident, struct buf *out, struct err *err)
{
	int r;

	buf_addf(out, "{\n \"schema\": %d", INCIDENT_SCHEMA);
	r = shape_write_fields(&incident_shape, incident, 0, false, out, err);
	buf_adds(out, "\n}\n");
	return r < 0 ? r : written(out, err);
}

int analysis_write(const struct analysis *analysis, struct buf *out, struct err *err)
{
	int r = shape_write(&analysis_shape, analysis, -1, out, err);

	buf_adds(out, "\n");
	return r < 0 ? r : written(out, err);
}

int around_write(const struct incident *incident, struct buf *out, struct err *err)
{
	int r = shape_write(&around_shape, incident, -1, out, err);

	return r < 0 ? r : written(out, err);
}

static void clean_json(json_t **json)
{
	json_decref(*json);
}

static int parse(const char *text, size_t len, size_t max, json_t **ret_json, struct err *err)
{
	json_error_t where;

	if (len > max)
		return err_say(err, -E2BIG, "cannot read the facts: %zu bytes, at most %zu are read", len, max);
	*ret_json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!*ret_json)
		return err_say(err, -EINVAL, "not well-formed JSON: line %d, column %d: %s", where.line, where.column,
			       where.text);
	return 0;
}

int facts_read(const char *text, size_t len, struct incident **ret_incident, struct err *err)
{
	CLEAN(json) json_t *json = NULL;
	struct incident *incident;
	const json_t *schema;
	int r = parse(text, len, FACTS_BYTES_MAX, &json, err);

	if (r < 0)
		return r;
	schema = json_object_get(json, "schema");
	if (!json_is_integer(schema) || json_integer_value(schema) < 1)
		return err_say(err, -EINVAL,
			       "wrong value of 'schema': expected a whole number: is this an incident.json?");
	if (json_integer_value(schema) > INCIDENT_SCHEMA)
		return err_say(err, -EPROTO, "written by a newer reqtrap (schema %lld, this one reads up to %d)",
			       (long long)json_integer_value(schema), INCIDENT_SCHEMA);
	if (!json_object_get(json, "id"))
		return err_say(err, -EINVAL, "'id' is missing");
	incident = incident_new();
	if (!incident)
		return err_sys(err, -ENOMEM, "cannot read the facts");
	r = shape_read(&incident_shape, json, incident, err);
	if (r < 0) {
		incident_free(incident);
		return r;
	}
	*ret_incident = incident;
	return 0;
}

int analysis_read(const char *text, size_t len, struct analysis *ret_analysis, struct err *err)
{
	CLEAN(json) json_t *json = NULL;
	struct analysis analysis = { 0 };
	int r = parse(text, len, ANALYSIS_BYTES_MAX, &json, err);

	if (r < 0)
		return r;
	r = shape_read(&analysis_shape, json, &analysis, err);
	if (r < 0) {
		analysis_done(&analysis);
		return r;
	}
	*ret_analysis = analysis;
	return 0;
}
