// SPDX-License-Identifier: MIT
/* Where the time went: the sums of the slot, what was going on when it was copied, and what the
 * thread's event loop did meanwhile, as rows that add up to the whole. Trap: the kernel
 * may have gone on writing since the trigger, so every sum is cut to the asked moment. */
#include "ktime.h"
#include "incident_mask.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

#define BEFORE_FRACTION 20 /* of the whole: what is less is not told in rows of its own */

static struct spending *spend(struct incident *incident, enum spend kind, const char *call, const char *object,
			      uint64_t ns, uint64_t count)
{
	struct spending *s;

	for (size_t i = 0; i < incident->spending_count; i++) {
		s = &incident->spending[i];
		if (s->kind == kind && !s->who && !strcmp(s->call ? s->call : "", call ? call : "") &&
		    !strcmp(s->object ? s->object : "", object ? object : "")) {
			s->ns += ns;
			s->count += count;
			return s;
		}
	}
	s = list_add(&incident->spending, &incident->spending_count, sizeof(*s));
	if (!s)
		return NULL;
	s->kind = kind;
	s->ns = ns;
	s->count = count;
	text_set(&s->call, call);
	text_set(&s->object, object && *object ? object : NULL);
	return s;
}

static int by_size(const void *a, const void *b)
{
	const struct spending *x = a, *y = b;

	return x->ns > y->ns ? -1 : x->ns < y->ns;
}

/* What was going on when the slot was copied. */
struct going_on {
	uint32_t kind;	  /* enum segment; what is cut to 'until' first */
	uint64_t ns;	  /* of it */
	uint64_t wait_ns; /* in the wait that the slot names */
};

/* Its thread is in its poll, or works on something else: the loop's clocks say which, and
 * since when. */
static void close_away(struct slot *s, const struct holding *h, uint64_t end, struct going_on *now)
{
	uint64_t away = end > s->seg_since_ns ? end - s->seg_since_ns : 0, idle, turn = 0;
	const struct loop *lp = h->loop;

	now->kind = SEGMENT_AWAY;
	if (!lp) {
		s->acc[SEGMENT_AWAY] += away;
		now->ns = away;
		return;
	}
	idle = lp->idle_ns - s->idle_from;
	if (lp->idle_since_ns && h->copied_ns > lp->idle_since_ns)
		idle += h->copied_ns - lp->idle_since_ns;
	idle = MIN(idle, away);
	if (!lp->idle_since_ns && !lp->gen && !lp->stopped && end > lp->turn_since_ns)
		turn = MIN(end - lp->turn_since_ns, away - idle);
	s->acc[SEGMENT_WAIT] += idle;
	s->acc[h->alone ? SEGMENT_CPU : SEGMENT_LOOP] += turn;
	s->acc[SEGMENT_AWAY] += away - idle - turn;
	now->wait_ns = idle;
	now->kind = lp->idle_since_ns	     ? SEGMENT_WAIT
		    : lp->gen || lp->stopped ? SEGMENT_AWAY
		    : h->alone		     ? SEGMENT_CPU
					     : SEGMENT_LOOP;
	now->ns = now->kind == SEGMENT_WAIT ? idle : now->kind == SEGMENT_AWAY ? away - idle - turn : turn;
}

/* The segment that was going on when the copy was made, cut to 'until'. */
static struct going_on close_segment(struct slot *s, const struct holding *h, uint64_t until_ns)
{
	uint64_t end = s->end_ns && s->end_ns < h->copied_ns ? s->end_ns : h->copied_ns, excess;
	struct going_on now = { .kind = s->seg_kind & (SEGMENTS - 1) };

	if (now.kind == SEGMENT_AWAY || now.kind == SEGMENT_PARKED) {
		if (!s->end_ns)
			close_away(s, h, end, &now);
	} else {
		now.ns = end > s->seg_since_ns && !s->end_ns ? end - s->seg_since_ns : 0;
		s->acc[now.kind] += now.ns;
		if (now.kind == SEGMENT_WAIT)
			now.wait_ns = now.ns;
	}
	s->acc[SEGMENT_AWAY] += s->acc[SEGMENT_PARKED];
	s->acc[SEGMENT_PARKED] = 0;
	/* What happened between the trigger and the copy does not belong to it. */
	excess = end > until_ns ? end - until_ns : 0;
	for (int pass = 0; pass < 2 && excess; pass++) {
		for (uint32_t i = 0; i < SEGMENTS && excess; i++) {
			uint64_t cut = MIN(excess, s->acc[i]);

			if ((pass == 0) != (i == now.kind))
				continue;
			s->acc[i] -= cut;
			excess -= cut;
			if (i == now.kind)
				now.ns = now.ns > cut ? now.ns - cut : 0;
			if (i == SEGMENT_WAIT)
				now.wait_ns = now.wait_ns > cut ? now.wait_ns - cut : 0;
		}
	}
	return now;
}

static void spend_wait(const struct slot *s, const struct waited *w, uint64_t ns, uint64_t count, bool open,
		       const struct wording *wording, struct incident *incident)
{
	struct wait_words words;
	struct spending *row;
	char number[32];

	if (!ns)
		return;
	wording->wait(wording->arg, s, w, &words);
	row = spend(incident, SPEND_WAIT, request_call(wording, w->nr, number, sizeof(number)), words.object, ns,
		    count);
	if (!row)
		return;
	row->open |= open;
	text_set(&row->what, words.kind);
	if (words.peer[0])
		text_set(&row->peer, words.peer);
	if (words.waker[0])
		text_set(&row->waker, words.waker);
}

static void spend_waits(const struct slot *s, const struct going_on *now, const struct wording *wording,
			struct incident *incident)
{
	uint64_t named = MIN(now->wait_ns, s->acc[SEGMENT_WAIT]), total = s->acc[SEGMENT_WAIT];
	uint32_t kept = MIN(s->sum_count, (uint32_t)SLOT_SUMS - 1);

	if (named) {
		struct waited w = request_waited(s, s->wait_nr, s->wait_a, s->wait_state, s->wait_object, 0);

		spend_wait(s, &w, named, 1, now->kind == SEGMENT_WAIT, wording, incident);
	}
	for (uint32_t i = 0; i < kept; i++) {
		const struct slot_sum *sum = &s->sum[i];
		struct waited w = request_waited(s, sum->nr, sum->a, sum->state, sum->object, sum->waker);
		uint64_t ns = MIN(sum->ns, total - named);

		spend_wait(s, &w, ns, sum->count, false, wording, incident);
		named += ns;
	}
	/* More different waits than are added up one by one. */
	if (total > named)
		spend(incident, SPEND_WAIT, NULL, "in waits that are not listed one by one", total - named, 1);
}

/* ---- what the loop did for others ---- */

/* 'GET /path' of the first bytes of a head; '' when they are not there. */
static void turn_name(const uint8_t *head, char *buf, size_t size)
{
	const char *text = (const char *)head, *end;
	size_t len = strnlen(text, LOOP_HEAD), method = strcspn(text, " ");
	CLEAN(free) char *url = NULL, *told = NULL;

	buf[0] = '\0';
	if (method >= len)
		return;
	end = memchr(text + method + 1, ' ', len - method - 1);
	url = strndup(text + method + 1, (end ? (size_t)(end - text) : len) - method - 1);
	told = url ? mask_url(url) : NULL;
	if (told)
		snprintf(buf, size, "%.*s %s%s", (int)method, text, told, end ? "" : "...");
}

/* Calls fn for each turn that the loop has taken for others while the request was there. */
static void turns_each(const struct holding *h, uint64_t until_ns,
		       void (*fn)(void *arg, const struct loop_turn *turn, uint64_t from, uint64_t ns), void *arg)
{
	const struct loop *lp = h->loop;
	struct loop_turn current = {
		.at_ns = lp->turn_since_ns, .gen = lp->gen, .slot = lp->slot, .stopped = lp->stopped
	};
	uint32_t count = lp->turn_count, kept = MIN(count, (uint32_t)LOOP_TURNS);

	memcpy(current.head, lp->head, sizeof(current.head));
	if (!lp->idle_since_ns && (lp->gen || lp->stopped) && until_ns > current.at_ns)
		current.dur_ns = until_ns - current.at_ns;
	for (uint32_t i = 0; i <= kept; i++) {
		const struct loop_turn *turn = i == kept ? &current : &lp->turn[(count - kept + i) % LOOP_TURNS];
		uint64_t from = MAX(turn->at_ns, h->slot->begin_ns), to = MIN(turn->at_ns + turn->dur_ns, until_ns);

		if (to > from && (turn->gen != h->slot->gen || turn->slot != h->index))
			fn(arg, turn, from, to - from);
	}
}

struct behind {
	struct incident *incident;
	uint64_t left; /* not named so far */
	uint64_t current_at;
};

/* No request's, and no work: something has stopped the loop's thread. */
static struct spending *spend_stop(struct incident *incident, int by, uint64_t ns)
{
	struct spending *row = spend(incident, SPEND_WAIT, request_call(NULL, by, NULL, 0), NULL, ns, 1);

	if (row)
		text_set(&row->what, "stopped");
	return row;
}

static void spend_turn(void *arg, const struct loop_turn *turn, uint64_t from UNUSED, uint64_t ns)
{
	struct behind *b = arg;
	struct spending *row;
	char name[LOOP_HEAD + 8];

	ns = MIN(ns, b->left);
	turn_name(turn->head, name, sizeof(name));
	row = ns && turn->stopped ? spend_stop(b->incident, turn->stopped, ns)
	      : ns		  ? spend(b->incident, turn->gen ? SPEND_BEHIND : SPEND_LOOP, NULL,
				  turn->gen && !name[0] ? "a request whose name is not known" : name, ns, 1)
				  : NULL;
	if (row && turn->at_ns == b->current_at)
		row->open = true;
	b->left -= ns;
}

static void spend_away(const struct slot *s, const struct holding *h, const struct going_on *now, uint64_t until_ns,
		       struct incident *incident)
{
	struct behind b = { .incident = incident, .left = s->acc[SEGMENT_AWAY] };

	if (!h->loop || !b.left)
		return;
	if (now->kind == SEGMENT_AWAY)
		b.current_at = h->loop->turn_since_ns;
	turns_each(h, until_ns, spend_turn, &b);
	if (b.left)
		spend(incident, SPEND_BEHIND, NULL, "others, each for less than 1 ms at a time", b.left, 1);
}

static void trace_turn(void *arg, const struct loop_turn *turn, uint64_t from, uint64_t ns)
{
	struct incident *incident = arg;
	struct trace_event *t = list_add(&incident->trace, &incident->trace_count, sizeof(*t));
	char name[LOOP_HEAD + 8];

	if (!t)
		return;
	turn_name(turn->head, name, sizeof(name));
	t->at_ns = from;
	t->dur_ns = ns;
	t->count = 1;
	text_set(&t->kind, turn->stopped ? "wait" : turn->gen ? "behind" : "loop");
	text_set(&t->name, name[0]	   ? name
			   : turn->stopped ? request_call(NULL, turn->stopped, NULL, 0)
			   : turn->gen	   ? "another request"
					   : "timers and the like: no byte of a request moved");
}

void request_trace_turns(const struct holding *h, uint64_t origin_ns, struct incident *incident)
{
	size_t first = incident->trace_count;

	if (!h->loop)
		return;
	turns_each(h, h->copied_ns, trace_turn, incident);
	for (size_t i = first; i < incident->trace_count; i++) {
		struct trace_event *t = &incident->trace[i];

		t->at_ns = t->at_ns > origin_ns ? t->at_ns - origin_ns : 0;
		t->pid = (pid_t)h->slot->pid;
		t->tid = (pid_t)h->slot->tid;
	}
}

/* The kernel's ticks give the proportion, the switches between threads the sum. */
#define TICKS_ENOUGH_NS (20 * NSEC_PER_MSEC)

static void split_cpu(const struct slot *s, struct spending *cpu)
{
	uint64_t user = s->user_ns, kernel = s->kernel_ns;

	if (s->task) {
		user += s->user_seen - s->user_from;
		kernel += s->kernel_seen - s->kernel_from;
	}
	if (user + kernel < TICKS_ENOUGH_NS || user + kernel < user)
		return;
	cpu->kernel_ns = (uint64_t)((double)cpu->ns * (double)kernel / (double)(user + kernel));
	cpu->user_ns = cpu->ns - MIN(cpu->kernel_ns, cpu->ns);
}

/* When the slot's last call to somebody else was begun, at or before 'until'; 0 unknown. */
static uint64_t last_call_ns(const struct slot *s, uint64_t until)
{
	uint64_t last = 0;

	for (size_t i = 0; i < SLOT_EVENTS; i++) {
		const struct slot_event *e = &s->event[i];

		if (e->kind == EVENT_UPSTREAM && e->at_ns <= until && e->at_ns > last)
			last = e->at_ns;
	}
	return last;
}

/* What one hop did from its begin to 'until'. Returns the sum of its rows. */
static uint64_t spend_hop(const struct holding *h, uint64_t until_ns, const struct wording *wording,
			  struct incident *incident)
{
	struct slot s = *h->slot;
	struct going_on now = close_segment(&s, h, until_ns);
	struct spending *row;

	if (s.acc[SEGMENT_CPU]) {
		row = spend(incident, SPEND_CPU, NULL, NULL, s.acc[SEGMENT_CPU], 1);
		if (row) {
			row->open = now.kind == SEGMENT_CPU && now.ns;
			split_cpu(&s, row);
		}
	}
	if (s.acc[SEGMENT_RUNNABLE])
		spend(incident, SPEND_RUNNABLE, NULL, NULL, s.acc[SEGMENT_RUNNABLE], 1);
	if (s.acc[SEGMENT_LOOP]) {
		row = spend(incident, SPEND_LOOP, NULL, NULL, s.acc[SEGMENT_LOOP], 1);
		if (row)
			row->open = now.kind == SEGMENT_LOOP;
	}
	spend_waits(&s, &now, wording, incident);
	spend_away(&s, h, &now, until_ns, incident);
	return s.acc[SEGMENT_CPU] + s.acc[SEGMENT_RUNNABLE] + s.acc[SEGMENT_WAIT] + s.acc[SEGMENT_LOOP] +
	       (h->loop ? s.acc[SEGMENT_AWAY] : 0);
}

/* A hop before the holder's: what it did until it made the call that is under way, if that
 * is worth a word, and how long nobody took the call. */
static uint64_t spend_before(const struct holding *h, uint64_t next_ns, uint64_t whole, const char *who,
			     const struct wording *wording, struct incident *incident)
{
	uint64_t from = h->slot->begin_ns, called = last_call_ns(h->slot, next_ns), sum = 0;

	if (called > from && called - from > whole / BEFORE_FRACTION) {
		/* rows of its own: they are not the holder's */
		struct incident own = { 0 };

		sum = spend_hop(h, called, wording, &own);
		for (size_t i = 0; i < own.spending_count; i++) {
			struct spending *row = list_add(&incident->spending, &incident->spending_count, sizeof(*row));

			if (!row) {
				sum -= own.spending[i].ns;
				continue; /* of no memory: shown as not attributed */
			}
			*row = own.spending[i];
			own.spending[i] = (struct spending){ 0 };
			row->open = false;
			text_set(&row->who, who);
		}
		free(own.spending);
		from = MIN(from + sum, next_ns);
	}
	if (next_ns > from)
		spend(incident, SPEND_WAIT, NULL, "before the holder got the request", next_ns - from, 1);
	return sum + next_ns - from;
}

static bool unseen(const struct slot *s)
{
	return s->acc[SEGMENT_UNSEEN] || s->seg_kind == SEGMENT_UNSEEN;
}

void request_spending(const struct holding *hops, size_t hop_count, uint64_t until_ns, const struct wording *wording,
		      struct incident *incident)
{
	const struct holding *last = &hops[hop_count - 1];
	uint64_t origin = hops[0].slot->begin_ns, whole = until_ns > origin ? until_ns - origin : 0, sum = 0;
	char who[64];

	for (size_t i = 0; i + 1 < hop_count; i++) {
		uint64_t next = MIN(hops[i + 1].slot->begin_ns, until_ns);
		const char *name = i < incident->chain_count ? incident->chain[i].process : NULL;

		if (next <= hops[i].slot->begin_ns)
			continue;
		snprintf(who, sizeof(who), "%s %u", name ? name : "process", hops[i].slot->pid);
		sum += spend_before(&hops[i], next, whole, who, wording, incident);
	}
	incident->page_faults =
		last->slot->faults + (last->slot->task ? last->slot->faults_seen - last->slot->faults_from : 0);
	sum += spend_hop(last, until_ns, wording, incident);
	if (whole > sum)
		spend(incident, SPEND_UNATTRIBUTED, NULL,
		      unseen(last->slot) ? "the scheduler was not watched, to stay within --max-overhead" : NULL,
		      whole - sum, 1);
	if (incident->spending_count)
		qsort(incident->spending, incident->spending_count, sizeof(*incident->spending), by_size);
}

#define FUTEX "futex 0x"

/* Does the lock's name have this address? 'address' is digits without '0x'. */
static bool lock_at(const char *name, const char *address)
{
	size_t len = strlen(address);

	for (const char *at = name; at && (at = strstr(at, "0x")); at += 2) {
		if (!strncmp(at + 2, address, len) && !strchr("0123456789abcdef", at[2 + len] ? at[2 + len] : ' '))
			return true;
	}
	return false;
}

/* The interpreter's lock that this futex is a part of; NULL. */
static const struct own_lock *own_at(const struct analysis *a, const char *digits)
{
	uint64_t addr = strtoull(digits, NULL, 16);

	for (size_t k = 0; k < a->own_count; k++) {
		if (addr - a->own[k].addr < a->own[k].len)
			return &a->own[k];
	}
	return NULL;
}

static bool same(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* Two futexes may be one lock. */
static void merge_rows(struct incident *incident)
{
	struct spending *row = incident->spending;
	size_t kept = 0;

	for (size_t i = 0; i < incident->spending_count; i++) {
		size_t k = 0;

		while (k < kept && (row[k].kind != row[i].kind || !same(row[k].call, row[i].call) ||
				    !same(row[k].object, row[i].object) || !same(row[k].who, row[i].who)))
			k++;
		if (k == kept) {
			row[kept++] = row[i];
			continue;
		}
		row[k].ns += row[i].ns;
		row[k].count += row[i].count;
		row[k].open |= row[i].open;
		spending_done(&row[i]);
	}
	incident->spending_count = kept;
}

/* What the analysis calls the futex of these words; NULL: as they do. */
static const char *lock_name(const struct analysis *a, const char *object)
{
	const char *digits = object + strlen(FUTEX);

	for (size_t k = 0; k < a->lock_count; k++) {
		if (lock_at(a->lock[k].name, digits))
			return a->lock[k].name;
	}
	return own_at(a, digits) ? own_at(a, digits)->name : NULL;
}

static bool is_futex(const char *object)
{
	return object && !strncmp(object, FUTEX, strlen(FUTEX));
}

void request_name_trace(struct incident *incident)
{
	for (size_t i = 0; i < incident->trace_count; i++) {
		struct trace_event *e = &incident->trace[i];
		const char *name = NULL;

		if (e->pid == incident->holder_pid && is_futex(e->detail))
			name = lock_name(&incident->analysis, e->detail);
		if (name)
			text_set(&e->detail, name);
	}
}

/* The two words that a condition variable is waited for with: of the one that the thread
 * waits with now, the other. A JVM's threads wait with nothing else. */
static uint64_t other_word(const struct incident *incident, const struct thread *t)
{
	bool by_condition = t && t->waits_for &&
			    (!strncmp(t->waits_for, "condition variable ", strlen("condition variable ")) ||
			     (incident->analysis.language && !strncmp(incident->analysis.language, "Java", 4)));

	for (size_t i = 0; i < incident->spending_count && by_condition; i++) {
		const struct spending *s = &incident->spending[i];

		if (s->open && s->kind == SPEND_WAIT && is_futex(s->object))
			return strtoull(s->object + strlen(FUTEX), NULL, 16) ^ 4;
	}
	return 0;
}

void request_name_locks(struct incident *incident)
{
	const struct analysis *a = &incident->analysis;
	const struct thread *t = a->thread_count && a->thread[0].holder ? &a->thread[0] : NULL;
	uint64_t other = other_word(incident, t);

	for (size_t i = 0; i < incident->spending_count; i++) {
		struct spending *s = &incident->spending[i];
		const char *name = NULL;

		if (s->kind != SPEND_WAIT || !is_futex(s->object))
			continue;
		name = lock_name(a, s->object);
		if (!name && (s->open || strtoull(s->object + strlen(FUTEX), NULL, 16) == other) && t && t->call &&
		    !strcmp(t->call, "futex") && t->waits_for && !is_futex(t->waits_for) &&
		    incident->capture.running_at_snapshot)
			name = t->waits_for;
		if (name)
			text_set(&s->object, name);
	}
	merge_rows(incident);
}
