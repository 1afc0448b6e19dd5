// SPDX-License-Identifier: MIT
/* Thresholds: what is typed, and when they fire on made-up samples. */
#include "ktime.h"
#include "sentry.h"
#include "trigger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SEC NSEC_PER_SEC

static struct trigger parsed(enum trigger_kind kind, const char *text)
{
	struct trigger t;
	struct err err;

	assert_int_equal(trigger_parse(kind, text, &t, &err), 0);
	return t;
}

static void values(void **state UNUSED)
{
	static const struct {
		enum trigger_kind kind;
		const char *text;
		bool below;
		uint64_t threshold, step;
	} good[] = {
		{ TRIGGER_CPU, ">80%", false, 800, 0 },
		{ TRIGGER_CPU, "80%", false, 800, 0 },
		{ TRIGGER_CPU, "> 250%", false, 2500, 0 },
		{ TRIGGER_CPU, "<0.5%", true, 5, 0 },
		{ TRIGGER_MEMORY, ">2G", false, 2ull << 30, 0 },
		{ TRIGGER_MEMORY, ">2G+500M", false, 2ull << 30, 500ull << 20 },
		{ TRIGGER_MEMORY, "<1M", true, 1ull << 20, 0 },
		{ TRIGGER_THREADS, ">100", false, 100, 0 },
		{ TRIGGER_FDS, ">0", false, 0, 0 },
		{ TRIGGER_IO_PRESSURE, ">10%", false, 100, 0 },
	};
	static const struct {
		enum trigger_kind kind;
		const char *text;
	} bad[] = {
		{ TRIGGER_CPU, "" },
		{ TRIGGER_CPU, ">80" },
		{ TRIGGER_CPU, ">%" },
		{ TRIGGER_CPU, ">-1%" },
		{ TRIGGER_CPU, "=80%" },
		{ TRIGGER_CPU, "<0%" },
		{ TRIGGER_CPU, ">80%+" },
		{ TRIGGER_CPU, ">99999999%" },
		{ TRIGGER_CPU, ">80%x" },
		{ TRIGGER_MEMORY, ">2" },
		{ TRIGGER_MEMORY, ">2G+0M" },
		{ TRIGGER_MEMORY, ">>2G" },
		{ TRIGGER_MEMORY, "<2G+500M" },
		{ TRIGGER_THREADS, ">many" },
		{ TRIGGER_FDS, ">1.5" },
		{ TRIGGER_HUNG, "5" },
		{ TRIGGER_MEMORY, ">222222222222222222222222222222222222222222222222222222222222222222222222G" },
	};
	struct trigger t;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		t = parsed(good[i].kind, good[i].text);
		assert_int_equal(t.below, good[i].below);
		assert_int_equal(t.threshold, good[i].threshold);
		assert_int_equal(t.step, good[i].step);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err.text[0] = '\0';
		assert_int_equal(trigger_parse(bad[i].kind, bad[i].text, &t, &err), -EINVAL);
		assert_true(err.text[0]);
	}
	assert_int_equal(parsed(TRIGGER_HUNG, "5s").for_ns, 5 * SEC);
}

/* At second 'at' it has used so much CPU and memory. */
static struct usage usage_at(double at, double cpu, uint64_t memory)
{
	return (struct usage){
		.parts = ~0u, .at_ns = (uint64_t)(at * 1e9), .cpu_ns = (uint64_t)(cpu * 1e9), .memory_bytes = memory
	};
}

static bool fires(struct trigger *t, const struct usage *before, const struct usage *now, unsigned int cpus)
{
	if (!trigger_feed(t, before, now, cpus))
		return false;
	assert_int_equal(trigger_nearness(t, now->at_ns), 1000);
	trigger_fired(t);
	return true;
}

/* Idle for twenty seconds, then spinning: the first interval of it fires, not before. */
static void idle_then_busy(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_CPU, ">80%"), machine = parsed(TRIGGER_CPU_MACHINE, ">80%");
	struct usage before = usage_at(0, 1000, 0), now;

	assert_false(fires(&t, NULL, &before, 2));
	for (int i = 1; i <= 20; i++) {
		now = usage_at(i, 1000 + i * 0.001, 0);
		assert_false(fires(&t, &before, &now, 2));
		before = now;
	}
	now = usage_at(21, 1000.02 + 0.99, 0);
	assert_true(fires(&t, &before, &now, 2));
	assert_int_equal(t.value, 990);
	assert_false(fires(&machine, &before, &now, 2)); /* one of two cores */
}

static void for_so_long(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_CPU, ">50%");
	struct usage before = usage_at(0, 0, 0), now;
	double cpu = 0;
	static const struct {
		double used;
		bool fires;
	} second[] = { { 1, false }, { 1, false }, { 0.1, false }, { 1, false }, { 1, false },
		       { 1, true },  { 1, false }, { 1, false },   { 1, true } };

	t.for_ns = 3 * SEC;
	for (size_t i = 0; i < ARRAY_LEN(second); i++) {
		cpu += second[i].used;
		now = usage_at((double)(i + 1), cpu, 0);
		assert_int_equal(fires(&t, &before, &now, 1), second[i].fires);
		before = now;
	}
}

/* Ticks come a moment early or late: the third is the third second all the same. */
static void for_so_long_by_ticks(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_CPU, ">50%");
	struct usage before = usage_at(0.0004, 0, 0), now;

	t.for_ns = 3 * SEC;
	for (int i = 1; i <= 3; i++) {
		now = usage_at(i, i, 0);
		assert_int_equal(trigger_feed(&t, &before, &now, 1), i == 3);
		before = now;
	}
}

static void steps(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_MEMORY, ">100M+50M"), low = parsed(TRIGGER_MEMORY, "<100M");
	static const struct {
		uint64_t mib;
		bool fires;
	} up[] = { { 100, false }, { 101, true }, { 120, false }, { 151, true },
		   { 149, false }, { 320, true }, { 350, false }, { 351, true } },
	  down[] = { { 100, false }, { 99, true }, { 60, false }, { 49, true }, { 10, false }, { 0, false } };

	for (size_t i = 0; i < ARRAY_LEN(up); i++) {
		struct usage s = usage_at((double)i + 1, 0, up[i].mib << 20);

		assert_int_equal(fires(&t, NULL, &s, 1), up[i].fires);
	}
	low.step = 50ull << 20; /* of ProcDump's '-ml A,B': cannot be typed */
	for (size_t i = 0; i < ARRAY_LEN(down); i++) {
		struct usage s = usage_at((double)i + 1, 0, down[i].mib << 20);

		assert_int_equal(fires(&low, NULL, &s, 1), down[i].fires);
	}
}

/* What could not be read is no zero: it neither fires nor counts as held. */
static void unknown(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_FDS, "<10");
	struct usage s = { .at_ns = SEC, .parts = USAGE_CPU };

	assert_false(fires(&t, NULL, &s, 1));
	assert_false(t.known);
	s.parts |= USAGE_FDS;
	assert_true(fires(&t, NULL, &s, 1));
}

/* Nobody took a dump of it: it stays fulfilled, for as long as it holds. */
static void stays_fulfilled(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_MEMORY, ">100M");
	struct usage s = usage_at(1, 0, 101 << 20);

	t.for_ns = SEC;
	assert_false(trigger_feed(&t, NULL, &s, 1));
	for (int i = 2; i < 5; i++) {
		s.at_ns = (uint64_t)i * SEC;
		assert_true(trigger_feed(&t, NULL, &s, 1));
	}
	s.memory_bytes = 100 << 20;
	s.at_ns = 5 * SEC;
	assert_false(trigger_feed(&t, NULL, &s, 1));
}

static void nearness(void **state UNUSED)
{
	struct trigger above = parsed(TRIGGER_MEMORY, ">100M"), below = parsed(TRIGGER_MEMORY, "<10M");
	unsigned int last[2] = { 0, 0 };

	assert_int_equal(trigger_nearness(&above, SEC), 0);
	for (uint64_t mib = 1; mib <= 100; mib++) {
		struct usage up = usage_at(1, 0, mib << 20), down = usage_at(1, 0, (110 - mib) << 20);

		trigger_feed(&above, NULL, &up, 1);
		trigger_feed(&below, NULL, &down, 1);
		assert_true(trigger_nearness(&above, SEC) >= last[0] && trigger_nearness(&above, SEC) < 500);
		assert_true(trigger_nearness(&below, SEC) >= last[1] && trigger_nearness(&below, SEC) < 500);
		last[0] = trigger_nearness(&above, SEC);
		last[1] = trigger_nearness(&below, SEC);
	}
	assert_true(last[0] > 480 && last[1] > 480);
}

static void hung(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_HUNG, "2s");
	struct usage before = usage_at(1, 5, 0), now = usage_at(2, 5, 0);

	before.place = now.place = 7;
	assert_false(fires(&t, NULL, &before, 1));
	assert_false(fires(&t, &before, &now, 1));
	before = now;
	now = usage_at(3, 5, 0);
	now.place = 8; /* a thread went elsewhere */
	assert_false(fires(&t, &before, &now, 1));
	before = now;
	now = usage_at(4, 5.0005, 0);
	now.place = 8; /* a heartbeat of half a millisecond is no progress */
	assert_false(fires(&t, &before, &now, 1));
	before = now;
	now = usage_at(5, 5.0005, 0);
	now.place = 8;
	assert_true(fires(&t, &before, &now, 1));
}

static void words(void **state UNUSED)
{
	struct trigger t = parsed(TRIGGER_CPU, ">80%");
	struct usage before = usage_at(0, 0, 0), now = usage_at(1, 0.931, 0);
	char text[80];

	t.for_ns = 3 * SEC;
	trigger_words(&t, SEC, text, sizeof(text));
	assert_string_equal(text, "cpu ?, waits for > 80% for 0.0 of 3.0 s");
	trigger_feed(&t, &before, &now, 1);
	before.at_ns = 1; /* 0 is no moment */
	trigger_words(&t, SEC, text, sizeof(text));
	assert_non_null(strstr(text, "cpu 93.1% > 80%"));
	t = (struct trigger){ .kind = TRIGGER_CPU, .or_equal = true, .threshold = 200 };
	t.known = true;
	t.value = 200;
	trigger_words(&t, SEC, text, sizeof(text));
	assert_string_equal(text, "cpu 20% >= 20%");
	t = (struct trigger){ .kind = TRIGGER_MEMORY, .known = true, .value = 1024, .threshold = 2048 };
	trigger_words(&t, SEC, text, sizeof(text));
	assert_string_equal(text, "memory 1.0 KiB, waits for > 2.0 KiB");
}

static void signals(void **state UNUSED)
{
	static const char *const bad[] = { "",	     "SEGV,", ",",	   "0",	       "65",	  "-1",
					   "NOSUCH", "SIG",   "SEGV ABRT", "RTMAX-99", "RTMAX+1", "RTMAX-1x" };
	uint64_t bits;
	struct err err;
	char name[16];

	assert_int_equal(trigger_signals("SEGV,sigabrt,10", &bits, &err), 0);
	assert_int_equal(bits, sentry_bit(SIGSEGV) | sentry_bit(SIGABRT) | sentry_bit(10));
	assert_int_equal(trigger_signals("RTMIN+3", &bits, &err), 0);
	assert_int_equal(bits, sentry_bit(SIGRTMIN + 3));
	assert_int_equal(trigger_signals("RTMAX,SIGRTMAX-1,IOT", &bits, &err), 0);
	assert_int_equal(bits, sentry_bit(SIGRTMAX) | sentry_bit(SIGRTMAX - 1) | sentry_bit(SIGABRT));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err.text[0] = '\0';
		assert_int_equal(trigger_signals(bad[i], &bits, &err), -EINVAL);
		assert_true(err.text[0]);
	}
	trigger_signal_name(SIGUSR1, name, sizeof(name));
	assert_string_equal(name, "USR1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(idle_then_busy),
		cmocka_unit_test(for_so_long),
		cmocka_unit_test(for_so_long_by_ticks),
		cmocka_unit_test(steps),
		cmocka_unit_test(unknown),
		cmocka_unit_test(hung),
		cmocka_unit_test(words),
		cmocka_unit_test(stays_fulfilled),
		cmocka_unit_test(nearness),
		cmocka_unit_test(signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
