// SPDX-License-Identifier: MIT
/* Who may capture when, and that it is still so after a restart. */
#include "quota.h"

#include "ktime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define S NSEC_PER_SEC
#define T0 (1000 * S)

static struct rules rules;
static struct quota *quota;
static struct rule *a, *b;
static char why[200];

static const struct life one = { 100, 7 }, two = { 200, 8 }, one_again = { 100, 99 };

static int begin(void **state UNUSED)
{
	quota = quota_new();
	rules = (struct rules){ 0 };
	rules_add(&rules, "a");
	b = rules_add(&rules, "b");
	a = &rules.rule[0];
	return quota ? 0 : -1;
}

static int end(void **state UNUSED)
{
	quota_free(quota);
	rules_free(&rules);
	return 0;
}

static int take(const struct rule *rule, const struct life *life, uint64_t at)
{
	why[0] = '\0';
	return quota_take(quota, &rules, rule, life, at, why, sizeof(why));
}

static enum quota_state state_of(const struct rule *rule, uint64_t at, uint64_t *ret_until)
{
	struct quota_report report;

	quota_report(quota, &rules, rule, at, &report);
	if (ret_until)
		*ret_until = report.until_ns;
	return report.state;
}

static void per_life(void **state UNUSED)
{
	assert_int_equal(state_of(a, T0, NULL), STATE_ARMED);
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + S), -EDQUOT);
	assert_non_null(strstr(why, "limit of 1 per life of the process is reached (pid 100)"));
	assert_int_equal(state_of(a, T0, NULL), STATE_SPENT);
	assert_int_equal(take(b, &one, T0), 0); /* each rule has its own */
	assert_int_equal(take(a, &two, T0), 0); /* each life, too */
	assert_int_equal(take(a, &one_again, T0), 0);
	quota_gone(quota, 100);
	assert_int_equal(state_of(a, T0, NULL), STATE_SPENT); /* of 200 */
	quota_gone(quota, 200);
	assert_int_equal(state_of(a, T0, NULL), STATE_ARMED);
	quota_refund(quota, b, &one, T0); /* gone: nothing happens */
}

static void none_at_all(void **state UNUSED)
{
	a->limit = 0;
	assert_int_equal(take(a, &one, T0), -EDQUOT);
	assert_int_equal(state_of(a, T0, NULL), STATE_SPENT);
	a->limit = 10000;
	for (int i = 0; i < 10000; i++)
		assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0), -EDQUOT);
}

static void window(void **state UNUSED)
{
	uint64_t until;

	a->limit = 2;
	a->limit_window_ns = 60 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + 10 * S), 0);
	assert_int_equal(take(a, &one, T0 + 20 * S), -EDQUOT);
	assert_int_equal(state_of(a, T0 + 20 * S, &until), STATE_LIMITED);
	assert_int_equal(until, T0 + 60 * S);
	assert_int_equal(state_of(a, T0 + 60 * S, NULL), STATE_ARMED);
	assert_int_equal(take(a, &one, T0 + 60 * S), 0);
}

static void cool_down(void **state UNUSED)
{
	uint64_t until;

	a->limit = 9;
	a->cool_down_ns = 30 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &two, T0 + S), -EAGAIN); /* whoever it is */
	assert_non_null(strstr(why, "cools down for another 29.0 s"));
	assert_int_equal(state_of(a, T0 + S, &until), STATE_LIMITED);
	assert_int_equal(until, T0 + 30 * S);
	assert_int_equal(take(a, &two, T0 + 30 * S), 0);
}

static void refunded(void **state UNUSED)
{
	rules.all_captures = 1;
	rules.all_window_ns = 60 * S;
	assert_int_equal(take(a, &one, T0), 0);
	quota_refund(quota, a, &one, T0);
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0), -EDQUOT);
}

/* What is given back is the capture's own: its cool-down, and its moment among all rules'. */
static void refunded_its_own(void **state UNUSED)
{
	a->limit = b->limit = 9;
	a->cool_down_ns = 30 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + 40 * S), 0);
	quota_refund(quota, a, &one, T0 + 40 * S);
	assert_int_equal(take(a, &two, T0 + 41 * S), 0); /* it cools down since T0 */
	rules.all_pause_ns = S;
	assert_int_equal(take(b, &one, T0 + 50 * S), 0);
	quota_paused(quota, T0 + 50 * S, 2 * S);
	quota_refund(quota, a, &two, T0 + 41 * S);
	assert_int_equal(take(b, &one, T0 + 51 * S), -EAGAIN); /* the pause of another's stays */
	assert_non_null(strstr(why, "stood still"));
}

/* Two of one life under way, the older fails: the younger's cool-down and pause stay. */
static void refunded_the_older(void **state UNUSED)
{
	a->limit = 9;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + 10 * S), 0);
	quota_paused(quota, T0 + 10 * S, 2 * S);
	quota_refund(quota, a, &one, T0);
	a->cool_down_ns = 30 * S;
	assert_int_equal(take(a, &two, T0 + 35 * S), -EAGAIN);
	assert_non_null(strstr(why, "cools down for another 5.0 s"));
	rules.all_pause_ns = S;
	assert_int_equal(take(b, &two, T0 + 35 * S), -EAGAIN);
	assert_non_null(strstr(why, "stood still"));
}

/* A pause is told when its capture is written: others may have been taken since. */
static void pause_of_the_older(void **state UNUSED)
{
	rules.all_pause_ns = S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &two, T0 + 1800 * S), 0);
	quota_paused(quota, T0, 2 * S);
	assert_int_equal(take(b, &one, T0 + 3599 * S), -EAGAIN);
	assert_int_equal(take(b, &one, T0 + 3601 * S), 0);
}

/* What was taken in a window that is over gives the new one nothing. */
static void refunded_too_late(void **state UNUSED)
{
	a->limit = 1;
	a->limit_window_ns = 60 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + 60 * S), 0);
	quota_refund(quota, a, &one, T0);
	assert_int_equal(take(a, &one, T0 + 61 * S), -EDQUOT);
}

static bool is_one(const struct life *life, void *arg UNUSED)
{
	return life->pid == one.pid && life->start_ticks == one.start_ticks;
}

static void lives_end(void **state UNUSED)
{
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &two, T0), 0);
	quota_forget(quota, is_one, NULL);
	assert_int_equal(take(a, &one, T0), -EDQUOT);
	assert_int_equal(take(a, &two, T0), 0);
	for (int i = 0; i < 5000; i++) /* of more than can be, the oldest are forgotten */
		assert_int_equal(take(a, &(struct life){ 1000 + i, 1 }, T0), 0);
	assert_int_equal(take(a, &(struct life){ 5999, 1 }, T0), -EDQUOT);
	assert_int_equal(take(a, &one, T0), 0);
}

static void hostile_words(void **state UNUSED)
{
	struct buf text;

	assert_int_equal(take(a, &one, T0), 0);
	quota_went(quota, "a", "no \xff\xfe UTF-8");
	buf_init(&text, 65536);
	quota_write(quota, "boot", T0, T0, &text);
	quota_free(quota);
	quota = quota_new();
	assert_int_equal(quota_read(quota, text.data, text.len, "boot", T0, T0), 0);
	buf_done(&text);
	assert_int_equal(take(a, &one, T0), -EDQUOT); /* the count is there */
	quota_changed(quota);
	quota_unwritten(quota);
	assert_true(quota_changed(quota));
}

static void all_together(void **state UNUSED)
{
	uint64_t until;

	a->limit = b->limit = 100;
	rules.all_captures = 3;
	rules.all_window_ns = 10 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0 + S), 0);
	assert_int_equal(take(b, &two, T0 + 2 * S), 0);
	assert_int_equal(take(b, &two, T0 + 3 * S), -EAGAIN);
	assert_non_null(strstr(why, "all rules together, 3 captures in 10s"));
	assert_int_equal(state_of(a, T0 + 3 * S, &until), STATE_THROTTLED);
	assert_int_equal(until, T0 + 10 * S);
	assert_int_equal(take(b, &two, T0 + 10 * S), 0);
}

static void pauses(void **state UNUSED)
{
	a->limit = 100;
	rules.all_pause_ns = S;
	assert_int_equal(take(a, &one, T0), 0);
	quota_paused(quota, T0, 600 * NSEC_PER_MSEC);
	assert_int_equal(take(a, &one, T0 + S), 0);
	quota_paused(quota, T0 + S, 400 * NSEC_PER_MSEC);
	assert_int_equal(take(a, &one, T0 + 2 * S), -EAGAIN);
	assert_non_null(strstr(why, "stood still for 1s within an hour"));
	assert_int_equal(take(a, &one, T0 + 3601 * S), 0); /* the first is more than an hour ago */
}

static void throttled_and_failed(void **state UNUSED)
{
	struct quota_report report;

	a->limit = 100;
	quota_throttle(quota, "the disk is full");
	assert_int_equal(take(a, &one, T0), -EAGAIN);
	assert_string_equal(why, "the disk is full");
	assert_int_equal(state_of(a, T0, NULL), STATE_THROTTLED);
	quota_throttle(quota, NULL);
	assert_int_equal(take(a, &one, T0), 0);
	quota_went(quota, "a", "no rights");
	quota_report(quota, &rules, a, T0, &report);
	assert_int_equal(report.state, STATE_FAILED);
	assert_string_equal(report.error, "no rights");
	assert_string_equal(report.held_why, "the disk is full");
	assert_int_equal(report.captured, 1);
	assert_int_equal(report.held_back, 1);
	assert_int_equal(report.failed, 1);
	quota_went(quota, "a", NULL);
	assert_int_equal(state_of(a, T0, NULL), STATE_ARMED);
	assert_string_equal(quota_state_name(STATE_THROTTLED), "throttled");
}

static void occurrences(void **state UNUSED)
{
	assert_true(quota_occur(quota, a, T0)); /* it does not ask for more */
	a->occurrences = 3;
	a->occurrences_window_ns = 10 * S;
	assert_false(quota_occur(quota, a, T0));
	assert_false(quota_occur(quota, a, T0 + 8 * S));
	assert_false(quota_occur(quota, a, T0 + 11 * S)); /* the first is too long ago */
	assert_true(quota_occur(quota, a, T0 + 17 * S));
	assert_false(quota_occur(quota, a, T0 + 18 * S)); /* anew */
	assert_false(quota_occur(quota, a, T0 + 18 * S));
	assert_true(quota_occur(quota, a, T0 + 18 * S));
	assert_true(quota_occur(quota, b, T0));
}

/* Out as text, into new books. */
static void restart(const char *boot_then, uint64_t then, uint64_t wall_then, const char *boot, uint64_t now,
		    uint64_t wall)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	quota_write(quota, boot_then, then, wall_then, &text);
	quota_free(quota);
	quota = quota_new();
	assert_int_equal(quota_read(quota, text.data, text.len, boot, now, wall), 0);
	buf_done(&text);
}

static void a_restart_forgets_nothing(void **state UNUSED)
{
	struct quota_report report;
	uint64_t until;

	a->limit = 2;
	a->limit_window_ns = 60 * S;
	b->limit = 9;
	b->cool_down_ns = 30 * S;
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(take(a, &one, T0), -EDQUOT);
	assert_int_equal(take(b, &two, T0 + S), 0);
	quota_went(quota, "b", "broken \"pipe\"");
	assert_true(quota_changed(quota));
	assert_false(quota_changed(quota));
	restart("boot", T0 + 2 * S, 5, "boot", T0 + 20 * S, 1 /* the wall clock was set back */);
	assert_int_equal(take(a, &one, T0 + 59 * S), -EDQUOT);
	assert_int_equal(take(b, &one, T0 + 30 * S), -EAGAIN);
	quota_report(quota, &rules, b, T0 + 40 * S, &report);
	assert_string_equal(report.error, "broken \"pipe\"");
	assert_int_equal(report.held_back, 1);
	assert_int_equal(state_of(a, T0 + 59 * S, &until), STATE_LIMITED);
	assert_int_equal(until, T0 + 60 * S);
	assert_int_equal(take(a, &one, T0 + 60 * S), 0);
	assert_int_equal(take(b, &one, T0 + 31 * S), 0);
}

static void another_boot_has_other_processes(void **state UNUSED)
{
	rules.all_captures = 1;
	rules.all_window_ns = 3600 * S;
	a->cool_down_ns = 600 * S;
	assert_int_equal(take(a, &one, T0), 0);
	/* a minute later, and ten seconds into the new boot */
	restart("boot", T0 + S, 5000 * S, "next", 10 * S, 5059 * S);
	assert_int_equal(state_of(a, 10 * S, NULL), STATE_THROTTLED);
	rules.all_captures = 0;
	assert_int_equal(take(a, &one, 11 * S), -EAGAIN); /* it cools down, over the boot */
	a->cool_down_ns = 0;
	assert_int_equal(take(a, &one, 11 * S), 0); /* the life is another */
}

static void nonsense_is_refused(void **state UNUSED)
{
	static const char *const bad[] = { "",
					   "{",
					   "[]",
					   "{}",
					   "{\"format\":1}",
					   "{\"format\":2,\"boot\":\"x\",\"rules\":[]}",
					   "{\"format\":1,\"boot\":7,\"rules\":[]}",
					   "\xff\xff" };
	static const char odd[] = "{\"format\":1,\"boot\":\"x\",\"now\":-5,\"rules\":[7,{},{\"rule\":\"a\",\"last\":-1,"
				  "\"uses\":[{\"pid\":-1},{\"pid\":1e99},[],{\"pid\":100,\"count\":9999999999999}]}],"
				  "\"spent\":[[],[1],[\"x\",2],7]}";

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(quota_read(quota, bad[i], strlen(bad[i]), "x", T0, T0), -EINVAL);
	assert_int_equal(take(a, &one, T0), 0);
	assert_int_equal(quota_read(quota, odd, strlen(odd), "x", T0, T0), 0);
	assert_int_equal(take(a, &two, T0), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(per_life),
		TEST(none_at_all),
		TEST(window),
		TEST(cool_down),
		TEST(refunded),
		TEST(refunded_its_own),
		TEST(refunded_the_older),
		TEST(pause_of_the_older),
		TEST(refunded_too_late),
		TEST(lives_end),
		TEST(hostile_words),
		TEST(all_together),
		TEST(pauses),
		TEST(throttled_and_failed),
		TEST(occurrences),
		TEST(a_restart_forgets_nothing),
		TEST(another_boot_has_other_processes),
		TEST(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
