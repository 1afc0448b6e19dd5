// SPDX-License-Identifier: MIT
/* From a slot to words: the parts of the time add up to the whole, to the nanosecond,
 * whenever the copy was made; events come out in order; what the ring lost is counted. */
#include "request.h"

#include "ktime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MS NSEC_PER_MSEC
#define T0 (1000 * NSEC_PER_SEC)

static const char *call(long nr)
{
	return nr == 230 ? "clock_nanosleep" : nr == 45 ? "recvfrom" : nr == 202 ? "futex" : NULL;
}

static void wait_words(void *arg UNUSED, const struct slot *slot, const struct waited *w, struct wait_words *ret)
{
	*ret = (struct wait_words){ .kind = w->nr == 202 ? "futex" : NULL };
	if (w->nr == 202)
		snprintf(ret->object, sizeof(ret->object), "futex 0x%llx of %u", (unsigned long long)w->a, slot->pid);
	if (w->object)
		snprintf(ret->object, sizeof(ret->object), "object %llu", (unsigned long long)w->object->ino);
	if (w->waker)
		snprintf(ret->waker, sizeof(ret->waker), "%.16s %u", (const char *)w->waker->comm, w->waker->tid);
}

static const struct wording words = { .call = call, .wait = wait_words };

static struct slot *new_slot(void)
{
	struct slot *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	*s = (struct slot){ .gen = 1,
			    .state = SLOT_HELD,
			    .begin_ns = T0,
			    .pid = 10,
			    .tid = 11,
			    .seg_since_ns = T0,
			    .up_fd = -1,

			    .parent_slot = SLOT_NONE };
	return s;
}

static void add_event(struct slot *s, u8 kind, s16 nr, u64 a, u64 at, u64 dur)
{
	s->event[s->event_count++] = (struct slot_event){
		.at_ns = at, .dur_ns = dur, .a = a, .tid = s->tid, .count = 1, .nr = nr, .kind = kind
	};
}

static void add_sum(struct slot *s, s16 nr, u64 a, u64 ns, u32 count)
{
	s->sum[s->sum_count++] = (struct slot_sum){ .ns = ns, .a = a, .count = count, .nr = nr };
}

static uint64_t sum(const struct incident *in)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < in->spending_count; i++)
		ns += in->spending[i].ns;
	return ns;
}

/* 1 ms on CPU, 99 ms in futex, then asleep since; the limit passed at 500 ms. */
static struct slot *sleeping_slot(void)
{
	struct slot *s = new_slot();

	s->acc[SEGMENT_CPU] = 1 * MS;
	s->acc[SEGMENT_WAIT] = 99 * MS;
	add_event(s, EVENT_WAIT, 202, 0x1234, T0 + 1 * MS, 99 * MS);
	add_sum(s, 202, 0x1234, 99 * MS, 1);
	s->seg_kind = SEGMENT_WAIT;
	s->seg_since_ns = T0 + 100 * MS;
	s->wait_nr = 230;
	return s;
}

static void parts_add_up_whenever_the_copy_was_made(void **state UNUSED)
{
	for (uint64_t late = 0; late < 30 * MS; late += 3 * MS + 7) {
		struct incident *in = incident_new();
		struct slot *s = sleeping_slot();

		request_spending(&(struct holding){ .slot = s, .copied_ns = T0 + 500 * MS + late }, 1, T0 + 500 * MS,
				 &words, in);
		assert_int_equal(sum(in), 500 * MS);
		assert_string_equal(in->spending[0].call, "clock_nanosleep");
		assert_int_equal(in->spending[0].ns, 400 * MS);
		assert_true(in->spending[0].open);
		assert_string_equal(in->spending[1].call, "futex");
		assert_string_equal(in->spending[1].object, "futex 0x1234 of 10");
		assert_false(in->spending[1].open);
		free(s);
		incident_free(in);
	}
}

static void time_before_the_holder_is_a_part_too(void **state UNUSED)
{
	struct slot *outer = new_slot(), *holder = sleeping_slot();
	struct incident *in = incident_new();

	outer->begin_ns = T0 - 20 * MS;
	request_spending((struct holding[]){ { .slot = outer, .copied_ns = T0 + 501 * MS },
					     { .slot = holder, .copied_ns = T0 + 501 * MS } },
			 2, T0 + 500 * MS, &words, in);
	assert_int_equal(sum(in), 520 * MS);
	assert_string_equal(in->spending[2].object, "before the holder got the request");
	assert_int_equal(in->spending[2].ns, 20 * MS);
	free(outer);
	free(holder);
	incident_free(in);
}

/* The outer one computed for 200 ms, then made the call that nobody took for 100 ms. */
static void what_was_before_the_last_call_is_told(void **state UNUSED)
{
	struct slot *outer = new_slot(), *holder = new_slot();
	struct incident *in = incident_new();
	struct hop *hop = list_add(&in->chain, &in->chain_count, sizeof(*hop));

	text_set(&hop->process, "nginx");
	outer->acc[SEGMENT_CPU] = 200 * MS;
	outer->seg_kind = SEGMENT_WAIT;
	outer->wait_nr = 45;
	outer->seg_since_ns = T0 + 200 * MS;
	add_event(outer, EVENT_UPSTREAM, 0, 9, T0 + 50 * MS, 0);
	add_event(outer, EVENT_UPSTREAM, 0, 9, T0 + 200 * MS, 0);
	holder->begin_ns = T0 + 300 * MS;
	holder->seg_kind = SEGMENT_WAIT;
	holder->wait_nr = 230;
	holder->seg_since_ns = T0 + 300 * MS;
	request_spending((struct holding[]){ { .slot = outer, .copied_ns = T0 + 501 * MS },
					     { .slot = holder, .copied_ns = T0 + 501 * MS } },
			 2, T0 + 500 * MS, &words, in);
	assert_int_equal(sum(in), 500 * MS);
	assert_int_equal(in->spending_count, 3);
	for (size_t i = 0; i < in->spending_count; i++) {
		const struct spending *s = &in->spending[i];

		if (s->kind == SPEND_CPU) {
			assert_string_equal(s->who, "nginx 10");
			assert_int_equal(s->ns, 200 * MS);
		} else if (s->call) {
			assert_string_equal(s->call, "clock_nanosleep");
			assert_null(s->who);
			assert_int_equal(s->ns, 200 * MS);
		} else {
			assert_string_equal(s->object, "before the holder got the request");
			assert_int_equal(s->ns, 100 * MS);
		}
	}
	free(outer);
	free(holder);
	incident_free(in);
}

/* Twice the same lock under two addresses is one row. */
static void locks_of_the_interpreter_have_a_name(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct own_lock *own = list_add(&in->analysis.own, &in->analysis.own_count, sizeof(*own));

	text_set(&own->name, "the GIL");
	own->addr = 0x7f00;
	own->len = 0x80;
	for (int i = 0; i < 3; i++) {
		struct spending *s = list_add(&in->spending, &in->spending_count, sizeof(*s));

		s->kind = SPEND_WAIT;
		s->ns = 10;
		s->count = 2;
		text_set(&s->call, "futex");
		text_setf(&s->object, "futex 0x7f%02x", i * 0x40);
	}
	request_name_locks(in);
	assert_int_equal(in->spending_count, 2);
	assert_string_equal(in->spending[0].object, "the GIL");
	assert_int_equal(in->spending[0].ns, 20);
	assert_int_equal(in->spending[0].count, 4);
	assert_string_equal(in->spending[1].object, "futex 0x7f80"); /* one byte behind it */
	incident_free(in);
}

static void what_nothing_explains_is_shown(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct slot *s = new_slot();

	s->acc[SEGMENT_CPU] = 30 * MS;
	s->acc[SEGMENT_AWAY] = 60 * MS;
	s->seg_kind = SEGMENT_AWAY;
	s->seg_since_ns = T0 + 90 * MS;
	request_spending(&(struct holding){ .slot = s, .copied_ns = T0 + 100 * MS }, 1, T0 + 100 * MS, &words, in);
	assert_int_equal(sum(in), 100 * MS);
	assert_int_equal(in->spending[0].kind, SPEND_UNATTRIBUTED);
	assert_int_equal(in->spending[0].ns, 70 * MS);
	free(s);
	incident_free(in);
}

/* More different waits than are kept apart: the last sum is nobody's. */
static void waits_that_were_not_kept_apart_are_named(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct slot *s = new_slot();

	s->acc[SEGMENT_WAIT] = 100 * MS;
	for (u64 i = 0; i < SLOT_SUMS; i++)
		add_sum(s, 202, i, i + 1 < SLOT_SUMS ? 1 * MS : 77 * MS, 1);
	s->sum_count = 255; /* whatever stands there */
	s->seg_kind = SEGMENT_CPU;
	s->seg_since_ns = T0 + 100 * MS;
	request_spending(&(struct holding){ .slot = s, .copied_ns = T0 + 100 * MS }, 1, T0 + 100 * MS, &words, in);
	assert_int_equal(sum(in), 100 * MS);
	assert_int_equal(in->spending[0].ns, 77 * MS);
	assert_null(in->spending[0].call);
	free(s);
	incident_free(in);
}

/* Objects and wakers are told by index; indexes that are none are nobody. */
static void objects_and_wakers_are_found(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct slot *s = new_slot();

	s->acc[SEGMENT_WAIT] = 100 * MS;
	s->object[2].ino = 4711;
	s->wakers[SLOT_WAKERS - 1] = (struct slot_waker){ .tid = 12, .pid = 12, .comm = "sixteen letters." };
	add_sum(s, 45, 0, 60 * MS, 3);
	s->sum[0].object = 3;
	s->sum[0].waker = SLOT_WAKERS;
	add_sum(s, 45, 0, 40 * MS, 3);
	s->sum[1].object = s->sum[1].waker = 255;
	s->seg_kind = SEGMENT_CPU;
	s->seg_since_ns = T0 + 100 * MS;
	request_spending(&(struct holding){ .slot = s, .copied_ns = T0 + 100 * MS }, 1, T0 + 100 * MS, &words, in);
	assert_int_equal(in->spending_count, 2);
	assert_string_equal(in->spending[0].object, "object 4711");
	assert_string_equal(in->spending[0].waker, "sixteen letters. 12");
	assert_null(in->spending[1].object);
	assert_null(in->spending[1].waker);
	free(s);
	incident_free(in);
}

/* Ticks give the proportion only, and too few of them give none. */
static void cpu_is_split_by_its_ticks(void **state UNUSED)
{
	for (u64 ticks = 0; ticks < 2; ticks++) {
		struct incident *in = incident_new();
		struct slot *s = new_slot();

		s->acc[SEGMENT_CPU] = 100 * MS;
		s->seg_since_ns = T0 + 100 * MS;
		s->user_ns = ticks ? 60 * MS : 8 * MS;
		s->task = 1;
		s->kernel_from = 1000 * MS;
		s->kernel_seen = s->kernel_from + (ticks ? 20 * MS : 4 * MS);
		request_spending(&(struct holding){ .slot = s, .copied_ns = T0 + 100 * MS }, 1, T0 + 100 * MS, &words,
				 in);
		assert_int_equal(in->spending[0].user_ns, ticks ? 75 * MS : 0);
		assert_int_equal(in->spending[0].kernel_ns, ticks ? 25 * MS : 0);
		free(s);
		incident_free(in);
	}
}

static void a_futex_is_the_lock_that_it_is_of(void **state UNUSED)
{
	static const char *const object[] = { "futex 0x7f10", "futex 0x7f1", "tcp a -> b" };
	struct incident *in = incident_new();
	struct lock *lock = list_add(&in->analysis.lock, &in->analysis.lock_count, sizeof(*lock));
	struct thread *t = list_add(&in->analysis.thread, &in->analysis.thread_count, sizeof(*t));

	for (size_t i = 0; i < ARRAY_LEN(object); i++) {
		struct spending *s = list_add(&in->spending, &in->spending_count, sizeof(*s));

		s->kind = SPEND_WAIT;
		text_set(&s->object, object[i]);
	}
	text_set(&lock->name, "mutex 0x7f10");
	t->holder = true;
	text_set(&t->call, "futex");
	text_set(&t->waits_for, "the GIL");
	in->capture.running_at_snapshot = true;
	request_name_locks(in);
	assert_string_equal(in->spending[0].object, "mutex 0x7f10");
	assert_string_equal(in->spending[1].object, "futex 0x7f1"); /* over, and another address */
	assert_string_equal(in->spending[2].object, "tcp a -> b");
	in->spending[1].open = true;
	request_name_locks(in);
	assert_string_equal(in->spending[1].object, "the GIL");

	/* the holder's futexes in the trace, and nobody else's */
	in->holder_pid = 10;
	request_trace_mark(in, 0, "wait", "futex", "futex 0x7f10", 10, 11);
	request_trace_mark(in, 0, "wait", "futex", "futex 0x7f10", 20, 20);
	request_trace_mark(in, 0, "wait", "futex", NULL, 10, 11);
	request_name_trace(in);
	assert_string_equal(in->trace[0].detail, "mutex 0x7f10");
	assert_string_equal(in->trace[1].detail, "futex 0x7f10");
	assert_null(in->trace[2].detail);
	incident_free(in);
}

static struct loop *busy_loop(void)
{
	struct loop *lp = calloc(1, sizeof(*lp));

	assert_non_null(lp);
	*lp = (struct loop){
		.tid = 11, .idle_ns = 1000 * MS, .turn_since_ns = T0 + 200 * MS, .gen = 7, .slot = 3, .turn_count = 2
	};
	strcpy((char *)lp->head, "GET /spin?n=1 HTTP/1.1\r\n");
	/* before the request came, and while it was there */
	lp->turn[0] = (struct loop_turn){ .at_ns = T0 - 50 * MS, .dur_ns = 50 * MS, .gen = 5, .slot = 3 };
	lp->turn[1] = (struct loop_turn){ .at_ns = T0 + 100 * MS, .dur_ns = 40 * MS, .gen = 6, .slot = 3 };
	memset(lp->turn[1].head, 'A', sizeof(lp->turn[1].head)); /* a head without an end */
	memcpy(lp->turn[1].head, "GET /", 5);
	return lp;
}

/* 10 ms on the CPU, then its loop was idle for 60 ms and went on with others until now. */
static struct slot *left_slot(void)
{
	struct slot *s = new_slot();

	s->acc[SEGMENT_CPU] = 10 * MS;
	s->seg_kind = SEGMENT_AWAY;
	s->seg_since_ns = T0 + 10 * MS;
	s->idle_from = 940 * MS;
	s->wait_nr = 230;
	return s;
}

static const struct spending *row_of(const struct incident *in, enum spend kind, const char *object)
{
	for (size_t i = 0; i < in->spending_count; i++) {
		const struct spending *s = &in->spending[i];

		if (s->kind == kind && (!object || (s->object && !strncmp(s->object, object, strlen(object)))))
			return s;
	}
	return NULL;
}

static void what_a_request_waits_behind_is_named(void **state UNUSED)
{
	for (uint64_t late = 0; late < 20 * MS; late += 3 * MS + 7) {
		struct incident *in = incident_new();
		struct slot *s = left_slot();
		struct loop *lp = busy_loop();
		struct holding h = { .slot = s, .index = 4, .loop = lp, .copied_ns = T0 + 500 * MS + late };

		request_spending(&h, 1, T0 + 500 * MS, &words, in);
		assert_int_equal(sum(in), 500 * MS);
		assert_int_equal(row_of(in, SPEND_BEHIND, "GET /spin?n=***")->ns, 300 * MS);
		assert_true(row_of(in, SPEND_BEHIND, "GET /spin?n=***")->open);
		assert_int_equal(row_of(in, SPEND_BEHIND, "GET /AAAA")->ns, 40 * MS);
		assert_false(row_of(in, SPEND_BEHIND, "GET /AAAA")->open);
		assert_int_equal(row_of(in, SPEND_WAIT, NULL)->ns, 60 * MS);
		assert_false(row_of(in, SPEND_WAIT, NULL)->open);
		assert_int_equal(row_of(in, SPEND_BEHIND, "others")->ns, 90 * MS);
		assert_null(row_of(in, SPEND_UNATTRIBUTED, NULL));
		request_trace_turns(&h, T0, in);
		assert_int_equal(in->trace_count, 2);
		assert_int_equal(in->trace[0].at_ns, 100 * MS);
		free(lp);
		free(s);
		incident_free(in);
	}
}

/* From its poll on it is nobody's turn that is known, unless there is only one request. */
static void a_turn_of_nobody_is_the_only_one_s(void **state UNUSED)
{
	for (int alone = 0; alone < 2; alone++) {
		struct incident *in = incident_new();
		struct slot *s = left_slot();
		struct loop *lp = busy_loop();

		lp->gen = 0;
		lp->turn_count = 0;
		lp->turn_since_ns = T0 + 70 * MS;
		s->seg_kind = SEGMENT_PARKED;
		request_spending(
			&(struct holding){
				.slot = s, .index = 4, .loop = lp, .alone = alone, .copied_ns = T0 + 101 * MS },
			1, T0 + 100 * MS, &words, in);
		assert_int_equal(sum(in), 100 * MS);
		assert_int_equal(row_of(in, SPEND_CPU, NULL)->ns, alone ? 40 * MS : 10 * MS);
		assert_true(alone || row_of(in, SPEND_LOOP, NULL)->ns == 30 * MS);
		assert_int_equal(row_of(in, SPEND_WAIT, NULL)->ns, 60 * MS);
		free(lp);
		free(s);
		incident_free(in);
	}
}

/* Its loop is in its poll: so it waits for whatever is to come. */
static void a_parked_request_waits(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct slot *s = left_slot();
	struct loop *lp = busy_loop();

	lp->idle_ns = s->idle_from;
	lp->idle_since_ns = T0 + 10 * MS;
	lp->turn_count = 0xffffffff; /* whatever stands there */
	s->seg_kind = SEGMENT_PARKED;
	request_spending(&(struct holding){ .slot = s, .index = 4, .loop = lp, .copied_ns = T0 + 103 * MS }, 1,
			 T0 + 100 * MS, &words, in);
	assert_int_equal(sum(in), 100 * MS);
	assert_int_equal(row_of(in, SPEND_WAIT, NULL)->ns, 90 * MS);
	assert_true(row_of(in, SPEND_WAIT, NULL)->open);
	free(lp);
	free(s);
	incident_free(in);
}

static void the_trace_is_in_order_and_counts_its_losses(void **state UNUSED)
{
	struct incident *in = incident_new();
	struct slot *s = sleeping_slot();

	add_event(s, EVENT_RECV, 45, 83, T0, 0);
	request_trace(s, NULL, T0, T0 + 300 * MS, &words, in);
	request_trace_mark(in, 250 * MS, "trigger", "now", NULL, 10, 11);
	request_trace_sort(in);
	assert_int_equal(in->trace_count, 4);
	assert_string_equal(in->trace[0].kind, "recv");
	assert_int_equal(in->trace[0].bytes, 83);
	assert_string_equal(in->trace[1].name, "futex");
	assert_string_equal(in->trace[2].name, "clock_nanosleep"); /* the one that goes on */
	assert_int_equal(in->trace[2].dur_ns, 200 * MS);
	assert_string_equal(in->trace[3].kind, "trigger");
	assert_int_equal(in->losses.events_overwritten, 0);
	free(s);
	incident_free(in);
}

/* The n-th event as the kernel puts it into the ring: a send of n bytes after n ms. */
static void write_events(struct slot *s, uint32_t to)
{
	for (; s->event_count < to; s->event_count++) {
		uint32_t n = s->event_count;

		if (n >= SLOT_EVENTS_KEPT)
			n = SLOT_EVENTS_KEPT + (n - SLOT_EVENTS_KEPT) % (SLOT_EVENTS - SLOT_EVENTS_KEPT);
		s->event[n] = (struct slot_event){ .kind = EVENT_SEND,
						   .a = s->event_count,
						   .at_ns = T0 + s->event_count * MS,
						   .tid = 11,
						   .count = 1,
						   .nr = 1 };
	}
}

/* Those before the trap, of the copy made then; those at the end; between them a hole that is told. */
static void what_led_to_the_trap_stays_in_the_trace(void **state UNUSED)
{
	enum { RING = SLOT_EVENTS - SLOT_EVENTS_KEPT, THEN = 200, END = 1000 };
	struct incident *in = incident_new();
	struct slot *s = new_slot(), then;
	size_t lost = 0, at = 0;

	s->event_count = 0;
	write_events(s, THEN);
	then = *s;
	write_events(s, END);
	request_trace(s, &then, T0, T0 + END * MS, &words, in);
	request_trace_sort(in);
	assert_int_equal(in->losses.events_overwritten, END - SLOT_EVENTS - RING);
	assert_int_equal(in->trace_count, SLOT_EVENTS + RING + 2);
	for (size_t i = 0; i < in->trace_count; i++) {
		const struct trace_event *e = &in->trace[i];

		if (!strcmp(e->kind, "lost")) {
			assert_int_equal(e->at_ns, (at - 1) * MS);
			at = lost++ ? END - RING : THEN - RING;
			assert_int_equal(e->at_ns + e->dur_ns, at * MS);
			continue;
		}
		assert_int_equal(e->bytes, at);
		assert_int_equal(e->at_ns, at++ * MS);
	}
	assert_int_equal(lost, 2);
	assert_int_equal(at, END);
	request_trace_clear(in);

	/* nothing was written since, or little: no hole, nothing twice */
	request_trace(&then, &then, T0, T0, &words, in);
	assert_int_equal(in->trace_count, SLOT_EVENTS + 1);
	assert_int_equal(in->losses.events_overwritten, THEN - SLOT_EVENTS);
	request_trace_clear(in);
	s->event_count = 0;
	write_events(s, SLOT_EVENTS);
	then = *s;
	write_events(s, SLOT_EVENTS + RING / 2);
	request_trace(s, &then, T0, T0, &words, in);
	assert_int_equal(in->trace_count, SLOT_EVENTS + RING / 2);
	assert_int_equal(in->losses.events_overwritten, 0);
	free(s);
	incident_free(in);
}

static void heads_become_requests(void **state UNUSED)
{
	static const char head[] = "GET /a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n";
	struct request_info info = { 0 };
	struct slot *s = new_slot();

	memcpy(s->head, head, strlen(head));
	s->head_len = (u32)strlen(head);
	request_describe(s, &info);
	assert_string_equal(info.method, "GET");
	assert_string_equal(info.url, "/a?b=***");
	assert_string_equal(info.host, "shop");
	s->head_len = 0xffffffff; /* whatever stands there, no byte beyond is read */
	memset(s->head, 'A', sizeof(s->head));
	s->flags = SLOT_HEAD_CUT;
	request_describe(s, &info);
	assert_true(info.head_cut);
	free(info.method);
	free(info.url);
	free(info.host);
	free(info.user_agent);
	free(s);
}

static void a_nul_in_a_head_hides_nothing(void **state UNUSED)
{
	static const char head[] = "GET /a\0/b HTTP/1.1\r\nHost: shop\0\r\nUser-Agent: \0\0x\r\n\r\n";
	static const char params[] = "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0\1\4\0\1\0\17\0\0\13\2REQUEST_URI/\0";
	struct request_info info = { 0 };
	struct slot *s = new_slot();

	memcpy(s->head, head, sizeof(head) - 1);
	s->head_len = sizeof(head) - 1;
	request_describe(s, &info);
	assert_string_equal(info.url, "/a\u2400/b");
	assert_string_equal(info.host, "shop\u2400");
	assert_string_equal(info.user_agent, "\u2400\u2400x");
	memcpy(s->head, params, sizeof(params) - 1);
	s->head_len = sizeof(params) - 1;
	s->flags = SLOT_FASTCGI;
	request_describe(s, &info);
	assert_string_equal(info.url, "/\u2400");
	free(info.method);
	free(info.url);
	free(info.host);
	free(info.user_agent);
	free(s);
}

static void endpoints_have_names(void **state UNUSED)
{
	struct endpoint v4 = { .family = AF_INET, .port = 3306, .addr = { 0x0500000a } };
	struct endpoint v6 = { .family = AF_INET6, .port = 80, .addr = { 0, 0, 0, 0x01000000 } };
	struct endpoint un = { .family = AF_UNIX };
	uint8_t path[UNIX_PATH] = "/run/x.sock", abstract[UNIX_PATH] = "\0abc", full[UNIX_PATH];
	char buf[256];

	request_endpoint(&v4, NULL, buf, sizeof(buf));
	assert_string_equal(buf, "tcp:10.0.0.5:3306");
	request_endpoint(&v6, NULL, buf, sizeof(buf));
	assert_string_equal(buf, "tcp:[::1]:80");
	request_endpoint(&un, path, buf, sizeof(buf));
	assert_string_equal(buf, "unix:/run/x.sock");
	request_endpoint(&un, abstract, buf, sizeof(buf));
	assert_string_equal(buf, "unix:@abc");
	memset(full, 'p', sizeof(full)); /* no NUL at its end */
	request_endpoint(&un, full, buf, sizeof(buf));
	assert_int_equal(strlen(buf), 5 + UNIX_PATH);
	request_endpoint(&(struct endpoint){ .family = 0 }, NULL, buf, sizeof(buf));
	assert_string_equal(buf, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_add_up_whenever_the_copy_was_made),
		cmocka_unit_test(time_before_the_holder_is_a_part_too),
		cmocka_unit_test(what_was_before_the_last_call_is_told),
		cmocka_unit_test(locks_of_the_interpreter_have_a_name),
		cmocka_unit_test(what_nothing_explains_is_shown),
		cmocka_unit_test(waits_that_were_not_kept_apart_are_named),
		cmocka_unit_test(objects_and_wakers_are_found),
		cmocka_unit_test(cpu_is_split_by_its_ticks),
		cmocka_unit_test(a_futex_is_the_lock_that_it_is_of),
		cmocka_unit_test(what_a_request_waits_behind_is_named),
		cmocka_unit_test(a_turn_of_nobody_is_the_only_one_s),
		cmocka_unit_test(a_parked_request_waits),
		cmocka_unit_test(the_trace_is_in_order_and_counts_its_losses),
		cmocka_unit_test(what_led_to_the_trap_stays_in_the_trace),
		cmocka_unit_test(heads_become_requests),
		cmocka_unit_test(a_nul_in_a_head_hides_nothing),
		cmocka_unit_test(endpoints_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
