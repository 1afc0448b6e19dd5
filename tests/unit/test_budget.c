// SPDX-License-Identifier: MIT
/* What is shed when, and when it comes back. */
#include "budget.h"

#include "err.h"
#include "ktime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static enum detail what;
static uint64_t now;

static struct budget two_percent(void)
{
	now = 1000 * NSEC_PER_SEC;
	return (struct budget){ .ppm = 20000, .offered = { true, true, true } };
}

/* In ppm; the part at the sockets last. */
static enum budget_word look(struct budget *b, uint64_t own, uint64_t areas, uint64_t sched, uint64_t sockets)
{
	struct budget_spent spent = { .whole_ns = 1000000, .own_ns = own, .part_ns = { areas, sched, sockets } };

	what = DETAIL_COUNT;
	now += NSEC_PER_SEC;
	return budget_look(b, &spent, now, &what);
}

static void within_it_nothing_happens(void **state UNUSED)
{
	struct budget b = two_percent();

	for (int i = 0; i < 100; i++)
		assert_int_equal(look(&b, 1000, 3000, 5000, 10000), BUDGET_FINE);
	assert_int_equal(b.spent_ppm, 19000);
	b = (struct budget){ .offered = { true, true, true } }; /* none */
	for (int i = 0; i < 10; i++)
		assert_int_equal(look(&b, 900000, 0, 50000, 50000), BUDGET_FINE);
}

static void one_look_over_it_is_not_enough(void **state UNUSED)
{
	struct budget b = two_percent();

	for (int i = 0; i < 10; i++) {
		assert_int_equal(look(&b, 0, 9000, 9000, 9000), BUDGET_OVER);
		assert_int_equal(look(&b, 0, 1000, 1000, 1000), BUDGET_FINE);
	}
}

static enum budget_word two_looks(struct budget *b, uint64_t areas, uint64_t sched, uint64_t sockets)
{
	assert_int_equal(look(b, 0, areas, sched, sockets), BUDGET_OVER);
	return look(b, 0, areas, sched, sockets);
}

static void areas_go_first_then_the_scheduler_then_the_trace(void **state UNUSED)
{
	struct budget b = two_percent();

	assert_int_equal(two_looks(&b, 30000, 30000, 30000), BUDGET_SHED);
	assert_int_equal(what, DETAIL_AREAS);
	assert_int_equal(two_looks(&b, 0, 30000, 30000), BUDGET_SHED);
	assert_int_equal(what, DETAIL_SCHED);
	assert_int_equal(two_looks(&b, 0, 0, 30000), BUDGET_SHED);
	assert_int_equal(what, DETAIL_TRACE);
	assert_int_equal(two_looks(&b, 0, 0, 30000), BUDGET_STUCK);
	assert_int_equal(two_looks(&b, 0, 0, 30000), BUDGET_FINE); /* said once */
}

static void what_would_not_help_stays(void **state UNUSED)
{
	struct budget b = two_percent();

	assert_int_equal(two_looks(&b, 100, 30000, 30000), BUDGET_SHED);
	assert_int_equal(what, DETAIL_SCHED);
	b = two_percent();
	b.offered[DETAIL_AREAS] = false;
	assert_int_equal(two_looks(&b, 90000, 30000, 0), BUDGET_SHED);
	assert_int_equal(what, DETAIL_SCHED);
	b = two_percent(); /* all is reqtrap's own work: nothing helps */
	assert_int_equal(look(&b, 500000, 10, 10, 10), BUDGET_OVER);
	assert_int_equal(look(&b, 500000, 10, 10, 10), BUDGET_STUCK);
}

static void it_comes_back_when_there_is_room_and_not_soon(void **state UNUSED)
{
	struct budget b = two_percent();
	int looks;

	assert_int_equal(two_looks(&b, 0, 15000, 10000), BUDGET_SHED);
	assert_int_equal(what, DETAIL_SCHED);
	/* what it took does not fit */
	for (int i = 0; i < 500; i++)
		assert_int_equal(look(&b, 0, 0, 0, 10000), BUDGET_FINE);
	b = two_percent();
	assert_int_equal(two_looks(&b, 0, 12000, 10000), BUDGET_SHED);
	for (looks = 1; look(&b, 0, 0, 0, 2000) == BUDGET_FINE && looks < 1000; looks++)
		;
	assert_int_equal(looks, 60);
	assert_int_equal(what, DETAIL_SCHED);
	/* and the second time later */
	assert_int_equal(two_looks(&b, 0, 12000, 10000), BUDGET_SHED);
	for (looks = 1; look(&b, 0, 0, 0, 2000) == BUDGET_FINE && looks < 1000; looks++)
		;
	assert_int_equal(looks, 120);
}

static void the_latest_comes_back_first(void **state UNUSED)
{
	struct budget b = two_percent();
	enum detail first = DETAIL_COUNT, second = DETAIL_COUNT;

	two_looks(&b, 12000, 12000, 1000);
	two_looks(&b, 0, 25000, 1000);
	b.saved_ppm[DETAIL_SCHED] = 5000;
	for (int i = 0; i < 1000 && second == DETAIL_COUNT; i++) {
		if (look(&b, 0, 0, 0, 1000) == BUDGET_BACK)
			*(first == DETAIL_COUNT ? &first : &second) = what;
	}
	assert_int_equal(first, DETAIL_SCHED);
	assert_int_equal(second, DETAIL_AREAS);
}

static void shares_are_read(void **state UNUSED)
{
	static const char *const wrong[] = { "", "-1", "0", "x", "2x", "101", "1e5", "2%%", "nan", " 2", "0.00001" };
	struct err err;
	uint32_t ppm;

	assert_int_equal(budget_parse("2", &ppm, &err), 0);
	assert_int_equal(ppm, 20000);
	assert_int_equal(budget_parse("0.5%", &ppm, &err), 0);
	assert_int_equal(ppm, 5000);
	assert_int_equal(budget_parse("0.0001", &ppm, &err), 0);
	assert_int_equal(ppm, 1);
	assert_int_equal(budget_parse("100", &ppm, &err), 0);
	assert_int_equal(ppm, 0);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(budget_parse(wrong[i], &ppm, &err), -EINVAL);
}

static void details_have_names(void **state UNUSED)
{
	char text[64];

	details_format(1u << DETAIL_SCHED | 1u << DETAIL_AREAS, text, sizeof(text));
	assert_string_equal(text, "areas, scheduler");
	details_format(0, text, sizeof(text));
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_it_nothing_happens),
		cmocka_unit_test(one_look_over_it_is_not_enough),
		cmocka_unit_test(areas_go_first_then_the_scheduler_then_the_trace),
		cmocka_unit_test(what_would_not_help_stays),
		cmocka_unit_test(it_comes_back_when_there_is_room_and_not_soon),
		cmocka_unit_test(the_latest_comes_back_first),
		cmocka_unit_test(shares_are_read),
		cmocka_unit_test(details_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
