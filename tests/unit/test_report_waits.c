// SPDX-License-Identifier: MIT
/* What pages make of a request's calls, of the chain of its waits, of the looks at it. */
#include "report.h"

#include "report_spans.h"
#include "report_steps.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char *render(const char *format, const struct incident *incident)
{
	struct err err;
	struct buf out;

	buf_init(&out, REPORT_BYTES_MAX);
	if (report_format_find(format)->render(incident, &out, &err) != 0)
		fail_msg("%s: %s", format, err.text);
	return buf_take(&out);
}

static struct trace_event *event_of(struct incident *i, uint64_t at_ms, uint64_t dur_ms, const char *kind,
				    const char *name, const char *detail)
{
	sample_event(i, at_ms * SAMPLE_MS, dur_ms * SAMPLE_MS, kind, name, detail);
	i->trace[i->trace_count - 1].tid = 5;
	return &i->trace[i->trace_count - 1];
}

/* From the first byte to the end of the last wait; a wait behind a hole is another call's. */
static void test_calls(void **state UNUSED)
{
	static const struct {
		const char *to;
		uint64_t at_ms, end_ms;
	} want[] = { { "tcp:1.2.3.4:80", 10, 23 }, { "unix:/x", 30, 40 }, { "unix:/x", 60, 65 } };
	struct incident *i = incident_new();
	struct call *calls = NULL;
	size_t count = 0;
	char *page;

	event_of(i, 10, 0, "call", "call to tcp:1.2.3.4:80", NULL);
	event_of(i, 12, 5, "wait", "poll", "the answer of tcp:1.2.3.4:80");
	event_of(i, 20, 3, "wait", "recvfrom", "tcp 9.9.9.9:1 -> 1.2.3.4:80");
	event_of(i, 30, 0, "call", "call to another service", NULL);
	event_of(i, 31, 9, "wait", "poll", "the answer of unix:/x")->count = 4;
	event_of(i, 45, 2, "wait", "recvfrom", "tcp 9.9.9.9:2 -> 5.5.5.5:80"); /* its client, as far as one knows */
	event_of(i, 50, 5, "lost", "12 events", NULL);
	event_of(i, 60, 5, "wait", "poll", "the answer of unix:/x");
	event_of(i, 70, 0, "call", "call to another service", NULL); /* that nobody waited for */
	i->elapsed_ns = 80 * SAMPLE_MS;
	i->holder_tid = 5;
	assert_int_equal(calls_make(i, &calls, &count), 0);
	assert_int_equal(count, ARRAY_LEN(want));
	for (size_t n = 0; n < ARRAY_LEN(want); n++) {
		assert_string_equal(calls[n].to, want[n].to);
		assert_int_equal(calls[n].at_ns, want[n].at_ms * SAMPLE_MS);
		assert_int_equal(calls[n].end_ns, want[n].end_ms * SAMPLE_MS);
	}
	calls_free(calls, count);
	page = render("text", i);
	assert_non_null(strstr(page, "2 calls   thread 5 -> unix:/x: 15.0 ms together; the longest 10.0 ms, from"));
	free(page);
	/* four waits in one event: until what its thread does next, and not as if it were one */
	page = render("html", i);
	assert_non_null(strstr(page, "<rect class=\"breaks\""));
	assert_non_null(strstr(page, "<rect class=\"lost\""));
	assert_null(strstr(page, "have no row"));
	for (unsigned int n = 0; n < 9; n++) {
		char to[40];

		snprintf(to, sizeof(to), "the answer of tcp:10.0.0.%u:1", n);
		event_of(i, 71 + n / 2, 1, "wait", "poll", to);
	}
	free(page);
	page = render("html", i);
	assert_non_null(strstr(page, "7 events and calls have no row: see the trace")); /* 6 of 11 callees */
	free(page);
	i->trace[4].count = 1;
	page = render("html", i);
	assert_null(strstr(page, "<rect class=\"breaks\""));
	free(page);
	incident_free(i);
}

static void look_at(struct incident *i, uint32_t line, const char *inner, pid_t tid)
{
	struct later_look *s = list_add(&i->sample, &i->sample_count, sizeof(*s));

	s->repeat = true;
	s->at_ns = i->sample_count * 600 * SAMPLE_MS;
	s->thread.tid = tid;
	text_set(&s->thread.call, "flock");
	if (inner)
		sample_frame(&s->thread.script, inner, NULL, 0, "php", 0, true);
	sample_frame(&s->thread.script, "Cart::open", "/srv/shop/Cart.php", line, "php", 0, true);
}

/* A frame counts where all that called it stood, too: at the same lines. */
static void test_frames_are_counted_over_the_looks(void **state UNUSED)
{
	struct incident *i = sample_incident();
	struct thread_use *u;
	char *page;

	look_at(i, 44, "session_start", 19957);
	look_at(i, 44, "usleep", 19957);
	look_at(i, 45, "session_start", 19957);
	look_at(i, 44, NULL, 19957);
	look_at(i, 44, "session_start", 777); /* another thread had it: no look at this one */
	page = render("text", i);
	assert_non_null(strstr(page, "   #0   2/5  session_start"));
	assert_non_null(strstr(page, "   #1   4/5  Cart::open"));
	assert_non_null(strstr(page, "   #2   1/5  flock"));
	free(page);
	page = render("html", i);
	assert_non_null(strstr(page, "<i>4/5</i><b>Cart::open"));
	assert_null(strstr(page, "TOP CPU"));
	free(page);

	u = list_add(&i->thread_use, &i->thread_use_count, sizeof(*u));
	*u = (struct thread_use){
		.tid = 19957, .looks = 5, .same = 1, .cpu_ns = SAMPLE_MS, .over_ns = 2400 * SAMPLE_MS
	};
	u = list_add(&i->thread_use, &i->thread_use_count, sizeof(*u));
	*u = (struct thread_use){ .tid = 19958, .looks = 5, .same = 3, .cpu_ns = 600 * SAMPLE_MS };
	u->over_ns = 2400 * SAMPLE_MS;
	text_set(&u->comm, "helper");
	page = render("text", i);
	assert_non_null(strstr(page, "TOP CPU   in 2.40 s from the first look to the last"));
	assert_non_null(strstr(page, "25.0 %    helper 19958"));
	assert_non_null(strstr(page, "there in 3 of 5 looks; 600 ms of CPU in 2.40 s"));
	free(page);
	incident_free(i);
}

static struct thread *waiting(struct incident *i, pid_t tid, pid_t owner)
{
	struct thread *t = list_add(&i->analysis.thread, &i->analysis.thread_count, sizeof(*t));

	t->tid = tid;
	t->waits_for_tid = owner;
	text_set(&t->comm, "shop");
	text_set(&t->call, "futex");
	text_setf(&t->waits_for, "mutex 0x%d0 held by %d \"shop\"", tid, owner);
	return t;
}

static size_t chain_of(const struct incident *i, bool *ret_cycle, size_t *ret_back)
{
	struct steps s;
	size_t count;

	assert_int_equal(steps_make(i, &s), 0);
	count = s.count;
	*ret_cycle = s.row[count - 1].cycle;
	*ret_back = step_back(&s, count - 1);
	steps_free(&s);
	return count;
}

/* From thread to thread of the process by what memory says of owners, which may be anything. */
static void test_chain_inside_the_process(void **state UNUSED)
{
	struct incident *i = incident_new();
	struct beyond *b;
	bool cycle;
	size_t back;
	char *page;

	i->holder_pid = 9;
	i->holder_tid = 10;
	text_set(&i->process.comm, "shop");
	waiting(i, 10, 0)->holder = true;
	waiting(i, 11, 12);
	waiting(i, 12, 13);
	waiting(i, 13, 11);
	assert_int_equal(chain_of(i, &cycle, &back), 1); /* waits for nobody */
	assert_null(strstr(page = render("html", i), "id=\"chain\""));
	free(page);
	i->analysis.thread[0].waits_for_tid = 11;
	assert_int_equal(chain_of(i, &cycle, &back), 5); /* 10 11 12 13, and 11 again */
	assert_true(cycle);
	assert_int_equal(back, 1);
	page = render("html", i);
	assert_non_null(strstr(page, "comes round: shop 9 thread 11 holds mutex 0x130"));
	assert_non_null(strstr(page, "waits for this one, which holds mutex 0x110"));
	free(page);
	i->analysis.thread[3].waits_for_tid = 77; /* nobody that was captured */
	assert_int_equal(chain_of(i, &cycle, &back), 5);
	assert_false(cycle);
	page = render("text", i);
	assert_non_null(strstr(page, "not looked at: it is not"));
	free(page);

	/* what was found beyond it begins at the holder, too */
	b = list_add(&i->beyond, &i->beyond_count, sizeof(*b));
	*b = (struct beyond){ .pid = 9, .tid = 11, .how = strdup("holds mutex 0x100") };
	b = list_add(&i->beyond, &i->beyond_count, sizeof(*b));
	*b = (struct beyond){ .pid = 20, .tid = 20, .how = strdup("holds flock /x"), .process = strdup("sh") };
	b = list_add(&i->beyond, &i->beyond_count, sizeof(*b));
	*b = (struct beyond){ .pid = 9, .tid = 11, .how = strdup("holds flock /y"), .cycle = true };
	assert_int_equal(chain_of(i, &cycle, &back), 4);
	assert_true(cycle);
	assert_int_equal(back, 1);
	page = render("html", i);
	assert_non_null(strstr(page, "comes round: "));
	free(page);
	incident_free(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_frames_are_counted_over_the_looks),
		cmocka_unit_test(test_chain_inside_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
