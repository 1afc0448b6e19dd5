// SPDX-License-Identifier: MIT
/* Facts go out and come back; hostile ones are refused with the field's name. */
#include "facts.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char *write_whole(const struct incident *incident)
{
	struct err err;
	struct buf out;

	buf_init(&out, FACTS_BYTES_MAX);
	if (facts_write(incident, &out, &err) != 0)
		fail_msg("%s", err.text);
	return buf_take(&out);
}

static struct incident *read_whole(const char *json)
{
	struct incident *incident = NULL;
	struct err err;

	if (facts_read(json, strlen(json), &incident, &err) != 0)
		fail_msg("%s", err.text);
	return incident;
}

static void same_after_reading(const struct incident *incident)
{
	char *once = write_whole(incident), *twice;
	struct incident *back = read_whole(once);

	twice = write_whole(back);
	assert_string_equal(once, twice);
	incident_free(back);
	free(once);
	free(twice);
}

static void test_every_field(void **state UNUSED)
{
	struct incident *i = sample_incident(), *back;
	struct candidate *may = list_add(&i->holder.candidate, &i->holder.candidate_count, sizeof(*may));
	char *json;

	i->holder.certain = false;
	text_set(&i->holder.why, "two of them");
	*may = (struct candidate){ .pid = 5, .tid = 6, .why = strdup("woken") };
	text_set(&i->holder.call, "tcp:10.0.0.1:80");
	i->holder.call_outside = true;
	text_set(&i->chain[0].doubt, "late");
	assert_int_equal(module_add(&i->analysis, &(struct module_id){ 7, "libx.so", "4f1c", 0x55d000001000 }), 0);
	json = write_whole(i);
	back = read_whole(json);
	assert_false(back->holder.certain);
	assert_string_equal(back->holder.why, "two of them");
	assert_int_equal(back->holder.candidate_count, 1);
	assert_int_equal(back->holder.candidate[0].tid, 6);
	assert_string_equal(back->holder.candidate[0].why, "woken");
	assert_string_equal(back->holder.call, "tcp:10.0.0.1:80");
	assert_true(back->holder.call_outside);
	assert_string_equal(back->chain[0].doubt, "late");
	assert_string_equal(back->id, i->id);
	assert_int_equal(back->started_wall_ns, i->started_wall_ns);
	assert_int_equal(back->reason, REASON_STATUS_CODE);
	assert_int_equal(back->request.protocol, PROTOCOL_FASTCGI);
	assert_true(back->request.head_cut);
	assert_true(back->request.start_unknown);
	assert_true(back->request.unread_known);
	assert_int_equal(back->request.unread_ns, 47000000);
	assert_string_equal(back->also_matched[0], "everything");
	assert_null(back->also_matched[1]);
	assert_int_equal(back->chain_count, 2);
	assert_string_equal(back->chain[0].via, "unix:/run/php.sock");
	assert_null(back->chain[1].via);
	assert_int_equal(back->spending_count, 4);
	assert_int_equal(back->spending[3].kind, SPEND_UNATTRIBUTED);
	assert_true(back->spending[0].open);
	assert_int_equal(back->trace_count, 3);
	assert_int_equal(back->trace[1].waker, 20214);
	assert_int_equal(back->trace[1].dur_ns, 480 * SAMPLE_MS);
	assert_int_equal(back->capture.method, METHOD_CLONE);
	assert_string_equal(back->capture.omitted[0].why, "not readable");
	assert_int_equal(back->action.state, ACTION_RAN);
	assert_int_equal(strings_count(back->action.argv), 2);
	assert_int_equal(back->action.exit_code, 3);
	assert_string_equal(back->action.output, "told\nyou\n");
	assert_int_equal(back->losses.blind_io, 4);
	assert_string_equal(back->losses.shed, "scheduler");
	assert_int_equal(back->analysis.thread_count, 2);
	assert_int_equal(back->analysis.thread[0].stack.frame[0].pc, 0x7f0012345678);
	assert_true(back->analysis.thread[0].script.frame[1].script);
	assert_int_equal(back->analysis.thread[0].state, 'S');
	assert_int_equal(back->analysis.lock[0].waiter[1], 19961);
	assert_int_equal(back->analysis.lock[0].waiter_count, 2);
	assert_string_equal(back->analysis.thread[0].script.frame[1].arguments, "44, \"x\"");
	assert_string_equal(back->analysis.variable[1].name, "HTTP_COOKIE");
	assert_true(back->analysis.variable[1].masked);
	assert_int_equal(back->analysis.module_count, 1);
	assert_string_equal(back->analysis.module[0].build_id, "4f1c");
	assert_int_equal(back->analysis.module[0].bias, 0x55d000001000);
	incident_free(back);
	same_after_reading(i);
	incident_free(i);
	free(json);
}

/* A member added to a struct needs a row in its table. Then change the number. */
static void test_no_member_forgotten(void **state UNUSED)
{
	assert_int_equal(sizeof(struct request_info), 80);
	assert_int_equal(sizeof(struct hop), 32);
	assert_int_equal(sizeof(struct candidate), 16);
	assert_int_equal(sizeof(struct holder_facts), 48);
	assert_int_equal(sizeof(struct spending), 96);
	assert_int_equal(sizeof(struct trace_event), 88);
	assert_int_equal(sizeof(struct frame), 56);
	assert_int_equal(sizeof(struct stack), 24);
	assert_int_equal(sizeof(struct thread), 112);
	assert_int_equal(sizeof(struct lock), 40);
	assert_int_equal(sizeof(struct variable), 24);
	assert_int_equal(sizeof(struct module_id), 32);
	assert_int_equal(sizeof(struct process_facts), 72);
	assert_int_equal(sizeof(struct capture_facts), 96);
	assert_int_equal(sizeof(struct action_facts), 56);
	assert_int_equal(sizeof(struct losses), 56);
	assert_int_equal(sizeof(struct task), 40);
	assert_int_equal(sizeof(struct analysis), 128);
	assert_int_equal(sizeof(struct later_look), 232);
	assert_int_equal(sizeof(struct beyond), 176);
	assert_int_equal(sizeof(struct open_end), 72);
	assert_int_equal(sizeof(struct pool_group), 24);
	assert_int_equal(sizeof(struct pool), 56);
	assert_int_equal(sizeof(struct host_facts), 96);
	assert_int_equal(sizeof(struct scene), 184);
	assert_int_equal(sizeof(struct thread_use), 40);
	assert_int_equal(sizeof(struct incident), 1032);
}

static void test_scene(void **state UNUSED)
{
	struct incident *i = incident_new();
	struct beyond *b = list_add(&i->beyond, &i->beyond_count, sizeof(*b));
	struct open_end *end = list_add(&i->scene.end, &i->scene.end_count, sizeof(*end));
	struct pool_group *group = list_add(&i->scene.pool.group, &i->scene.pool.group_count, sizeof(*group));

	*b = (struct beyond){ .pid = 20214, .tid = 20215, .request_age_ns = 41, .pause_ns = 9, .cycle = true };
	text_set(&b->process, "php-fpm");
	text_set(&b->how, "holds flock /var/lib/php/sessions/sess_x");
	text_set(&b->request, "GET /report");
	b->thread.tid = 20215;
	b->thread.cpu_ns = 3;
	b->thread.cpu_over_ns = 4;
	text_set(&b->failed, "is gone");
	*end = (struct open_end){
		.fd = 9, .recv_queue = 1, .send_queue = 2, .waited = true, .mine = true, .unaccepted = true
	};
	text_set(&end->what, "tcp 10.0.0.8:51234 -> 10.0.0.5:5432");
	text_set(&end->peer, "postgres 77");
	text_set(&end->peer_request, "GET /other");
	text_set(&end->protocol, "PostgreSQL");
	text_set(&end->statement, "SELECT 1");
	i->scene.looked = true;
	text_set(&i->scene.pool.name, "php-fpm: pool www");
	text_set(&i->scene.pool.listen, "unix:/run/php.sock");
	i->scene.pool.called = true;
	i->scene.pool.workers = 20;
	i->scene.pool.busy = 19;
	i->scene.pool.queue = 37;
	i->scene.pool.backlog = 511;
	group->count = 9;
	text_set(&group->what, "waits for file /x");
	text_set(&group->place, "session.php:12");
	i->scene.host = (struct host_facts){ 8, 1400, 12, HOST_UNKNOWN, 120, 200, 5, 10, 6, 7, 8, 9, 11, 13, 14 };
	assert_int_equal(strings_add(&i->scene.note, "the socket's other end is in another name space"), 0);
	same_after_reading(i);
	incident_free(i);
}

static void test_later_looks(void **state UNUSED)
{
	struct incident *i = incident_new(), *back;
	struct later_look *look = list_add(&i->sample, &i->sample_count, sizeof(*look));
	struct frame *frame = list_add(&look->thread.stack.frame, &look->thread.stack.count, sizeof(*frame));
	struct buf out;
	struct err err;

	*look = (struct later_look){ .at_ns = 5000000000,
				     .reason = REASON_STATUS_CODE,
				     .repeat = true,
				     .pid = 7,
				     .tid = 8,
				     .thread = look->thread };
	text_set(&look->rule, "hung");
	text_set(&look->failed, "it ended");
	text_set(&look->action.output, "told");
	look->action.state = ACTION_RAN;
	look->thread.tid = 8;
	text_set(&frame->function, "sleep");
	same_after_reading(i);
	buf_init(&out, FACTS_BYTES_MAX);
	assert_int_equal(facts_write(i, &out, &err), 0);
	assert_int_equal(facts_read(out.data, out.len, &back, &err), 0);
	assert_int_equal(back->sample_count, 1);
	assert_true(back->sample[0].repeat);
	assert_int_equal(back->sample[0].at_ns, 5000000000);
	assert_string_equal(back->sample[0].rule, "hung");
	assert_string_equal(back->sample[0].action.output, "told");
	assert_string_equal(back->sample[0].thread.stack.frame[0].function, "sleep");
	incident_free(back);
	incident_free(i);
	buf_done(&out);
}

static void test_empty_incident(void **state UNUSED)
{
	struct incident *i = incident_new();

	same_after_reading(i);
	incident_free(i);
}

/* Whatever bytes a client or a process put there. */
static void test_hostile_text(void **state UNUSED)
{
	struct incident *i = sample_incident(), *back;
	char all[300], *json;
	size_t n = 0;

	for (int c = 1; c < 256; c++)
		all[n++] = (char)c;
	strcpy(all + n, "\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xe2\x82");
	text_set(&i->request.url, all);
	text_set(&i->analysis.thread[0].comm, "\x1b]52;c;\xff\"\\\n\xe2\x80\x8b\xf3\xa0\x81\x81");
	i->analysis.thread[0].state = 7;
	i->holder_tid = i->chain[0].tid = -1;
	i->losses.refused = UINT64_MAX;
	same_after_reading(i);
	json = write_whole(i);
	back = read_whole(json);
	assert_string_equal(back->analysis.thread[0].comm, "\x1b]52;c;\xef\xbf\xbd\"\\\n\xe2\x80\x8b\xf3\xa0\x81\x81");
	assert_non_null(strstr(json, "\\u200b\\udb40\\udc41"));
	assert_int_equal(back->analysis.thread[0].state, 0);
	assert_int_equal(back->holder_tid, 0);
	assert_int_equal(back->losses.refused, INT64_MAX);
	assert_null(strchr(json, '\x1b'));
	incident_free(back);
	incident_free(i);
	free(json);
}

static void test_long_text_is_marked(void **state UNUSED)
{
	struct incident *i = incident_new(), *back;
	char *json, *longer = malloc((1u << 20) + 1);

	memset(longer, 0xfe, 1u << 20);
	longer[1u << 20] = '\0';
	text_set(&i->action.output, longer);
	json = write_whole(i);
	back = read_whole(json);
	assert_non_null(strstr(back->action.output, "bytes cut]"));
	same_after_reading(i);
	incident_free(back);
	incident_free(i);
	free(longer);
	free(json);
}

static void test_does_not_fit(void **state UNUSED)
{
	struct incident *i = sample_incident();
	struct err err;
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(facts_write(i, &out, &err), -E2BIG);
	assert_non_null(strstr(err.text, "1000"));
	buf_done(&out);
	incident_free(i);
}

static void test_refused(void **state UNUSED)
{
	static const struct {
		const char *json, *text;
		int code;
	} row[] = {
		{ "", "not well-formed", -EINVAL },
		{ "[]", "schema", -EINVAL },
		{ "{\"schema\":1", "not well-formed", -EINVAL },
		{ "{\"schema\":1}", "'id' is missing", -EINVAL },
		{ "{\"schema\":2,\"id\":\"0123456789ab\"}", "newer", -EPROTO },
		{ "{\"schema\":1,\"id\":\"../../../etc\"}", "'id'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"id\":\"0123456789ab\"}", "duplicate", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"status\":\"200\"}", "'status'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"status\":5000000000}", "'status'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"elapsed_ns\":-1}", "'elapsed_ns'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"elapsed_ns\":1.5}", "'elapsed_ns'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"holder_pid\":2147483648}", "'holder_pid'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"reason\":\"BORED\"}", "'reason'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"ended\":1}", "'ended'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"request\":7}", "'request'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"evidence\":[null]}", "'evidence[0]'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"trace\":[{},{\"at_ns\":true}]}", "'trace[1].at_ns'",
		  -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"capture\":{\"core_file\":\"../../etc/shadow\"}}",
		  "'capture.core_file'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"capture\":{\"core_file\":\"..\"}}", "'capture.core_file'",
		  -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"analysis\":{\"thread\":[{\"stack\":{\"frame\":[{\"pc\":\"0xzz\"}]}}]}}",
		  "'analysis.thread[0].stack.frame[0].pc'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"analysis\":{\"thread\":[{\"state\":\"SS\"}]}}",
		  "'analysis.thread[0].state'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"analysis\":{\"lock\":[{\"waiter\":[1,\"2\"]}]}}",
		  "'analysis.lock[0].waiter[1]'", -EINVAL },
		{ "{\"schema\":1,\"id\":\"0123456789ab\",\"verdict\":\"a\\u0000b\"}", "not well-formed", -EINVAL },
	};

	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		struct incident *i = NULL;
		struct err err = { "" };
		int r = facts_read(row[n].json, strlen(row[n].json), &i, &err);

		if (r != row[n].code || !strstr(err.text, row[n].text) || i)
			fail_msg("%s: %d '%s'", row[n].json, r, err.text);
	}
}

static void test_too_many_hops(void **state UNUSED)
{
	struct incident *i = NULL;
	struct err err;
	struct buf json;

	buf_init(&json, 1u << 20);
	buf_adds(&json, "{\"schema\":1,\"id\":\"0123456789ab\",\"chain\":[{}");
	for (int n = 0; n < 256; n++)
		buf_adds(&json, ",{}");
	buf_adds(&json, "]}");
	assert_int_equal(facts_read(json.data, json.len, &i, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'chain': expected a shorter list"));
	buf_done(&json);
}

static void test_unknown_keys_pass(void **state UNUSED)
{
	struct incident *i =
		read_whole("{\"schema\":1,\"id\":\"0123456789ab\",\"colour\":[1,{\"a\":2}],\"status\":404}");

	assert_int_equal(i->status, 404);
	incident_free(i);
}

static void test_analysis_alone(void **state UNUSED)
{
	struct analysis a = { 0 }, back;
	struct buf one, two;
	struct err err;

	sample_analysis(&a);
	buf_init(&one, ANALYSIS_BYTES_MAX);
	buf_init(&two, ANALYSIS_BYTES_MAX);
	assert_int_equal(analysis_write(&a, &one, &err), 0);
	assert_int_equal(analysis_read(one.data, one.len, &back, &err), 0);
	assert_int_equal(analysis_write(&back, &two, &err), 0);
	assert_string_equal(one.data, two.data);
	assert_string_equal(back.deadlock[0], "5689 -> 5690 -> 5689");
	assert_int_equal(analysis_read(one.data, one.len - 2, &back, &err), -EINVAL);
	analysis_done(&a);
	analysis_done(&back);
	buf_done(&one);
	buf_done(&two);
}

static void test_utf8(void **state UNUSED)
{
	char *clean = facts_utf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc0\xaf\xed\xa0\x80z");

	assert_string_equal(
		clean,
		"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
	free(clean);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_no_member_forgotten),
		cmocka_unit_test(test_scene),
		cmocka_unit_test(test_later_looks),
		cmocka_unit_test(test_empty_incident),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_long_text_is_marked),
		cmocka_unit_test(test_does_not_fit),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many_hops),
		cmocka_unit_test(test_unknown_keys_pass),
		cmocka_unit_test(test_analysis_alone),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
