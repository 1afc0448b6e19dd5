// SPDX-License-Identifier: MIT
/* What the watch costs, and the detail that is switched off and on to stay in its budget.
 * Trap: programs of ours run on other CPUs while a detail goes, so a part of a slot that
 * both write is changed by compare-and-swap, or left to be unattributed. */
#include "tracer_inside.h"

#include "ktime.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

static void add_counters(struct counters *sum, const struct counters *one)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

struct counters tracer_count(const struct tracer *t)
{
	int cpus = libbpf_num_possible_cpus();
	CLEAN(free) struct per_cpu *per_cpu = cpus > 0 ? calloc((size_t)cpus, sizeof(*per_cpu)) : NULL;
	struct counters sum = { 0 };
	uint32_t zero = 0;

	if (per_cpu && bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.per_cpu), &zero, per_cpu) == 0) {
		for (int i = 0; i < cpus; i++)
			add_counters(&sum, &per_cpu[i].counters);
	}
	sum.aborted += t->aborted;
	return sum;
}

/* It runs when bytes or connections of requests move; the others when a thread of the host is
 * switched to or made. */
static bool is_for_requests(const struct tracer *t, const struct bpf_program *prog)
{
	const struct bpf_program *const those[] = { t->skel->progs.sock_recv, t->skel->progs.sock_send,
						    t->skel->progs.sys_exit, t->skel->progs.tcp_state,
						    t->skel->progs.tcp_gone };

	for (size_t i = 0; i < ARRAY_LEN(those); i++) {
		if (prog == those[i])
			return true;
	}
	return false;
}

/* Run times so far by the detail that the programs are for, and of those for requests. */
static void parts(const struct tracer *t, uint64_t part_ns[DETAIL_COUNT], uint64_t *ret_request_ns,
		  uint64_t *ret_sched_runs, uint64_t *ret_missed)
{
	struct bpf_program *prog;
	uint64_t runs[DETAIL_COUNT] = { 0 };

	memset(part_ns, 0, DETAIL_COUNT * sizeof(*part_ns));
	*ret_missed = *ret_request_ns = 0;
	bpf_object__for_each_program(prog, t->skel->obj)
	{
		bool sched = prog == t->skel->progs.switched || prog == t->skel->progs.waking;
		enum detail d = sched ? DETAIL_SCHED : DETAIL_TRACE;
		uint64_t before = part_ns[d];

		gauge_program(prog, &part_ns[d], &runs[d], ret_missed);
		if (is_for_requests(t, prog))
			*ret_request_ns += part_ns[d] - before;
	}
	*ret_sched_runs = runs[DETAIL_SCHED];
	if (t->app)
		part_ns[DETAIL_AREAS] = tracer_app_spent(t->app);
}

/* Nobody sees any more what their threads do: what goes on is closed, the rest of it is not
 * attributed. A thread may move bytes meanwhile, and has then closed it itself. */
static void blind_slots(struct tracer *t)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct slot *s = &t->slots[i].slot;
		uint8_t kind = s->seg_kind;
		uint64_t since = s->seg_since_ns, now = now_ns();

		if (!slot_in_flight(s->state) || kind == SEGMENT_UNSEEN ||
		    !__sync_bool_compare_and_swap(&s->seg_kind, kind, SEGMENT_UNSEEN))
			continue;
		if (kind < SEGMENT_AWAY && now > since && __sync_bool_compare_and_swap(&s->seg_since_ns, since, now))
			s->acc[kind] += now - since;
	}
}

/* What they did meanwhile nobody has seen. */
static void loops_anew(struct tracer *t)
{
	uint64_t now = now_ns();

	for (uint32_t i = 0; i < LOOPS; i++) {
		struct loop *lp = &t->loops[i];

		lp->idle_since_ns = lp->off_since_ns = lp->blocked_ns = lp->ready_ns = lp->gen = 0;
		lp->turn_since_ns = now;
	}
}

static bool sched_set(struct tracer *t, bool on)
{
	struct bpf_link **const links[] = { &t->skel->links.switched, &t->skel->links.waking };
	struct bpf_program *const progs[] = { t->skel->progs.switched, t->skel->progs.waking };

	__atomic_store_n(&t->skel->bss->unseen, true, __ATOMIC_SEQ_CST);
	loops_anew(t);
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		bpf_link__destroy(*links[i]);
		*links[i] = on ? bpf_program__attach(progs[i]) : NULL;
		if (on && !*links[i])
			return sched_set(t, false) && false;
	}
	if (on)
		__atomic_store_n(&t->skel->bss->unseen, false, __ATOMIC_SEQ_CST);
	else
		blind_slots(t);
	return true;
}

static void detail_set(struct tracer *t, enum detail d, bool on)
{
	uint64_t now = now_ns();

	if (d == DETAIL_TRACE) {
		t->skel->bss->lean = !on;
	} else if (d == DETAIL_AREAS) {
		tracer_app_rest(t->app, !on);
	} else if (!sched_set(t, on)) {
		t->budget.off[d] = true; /* the kernel refuses it now: it stays as it is */
		t->budget.shed_at_ns[d] = now;
		return;
	}
	if (on)
		t->off_ns[d] += now - t->off_since[d];
	else
		t->off_since[d] = now;
	t->off_until[d] = on ? now : UINT64_MAX;
	if (t->config.shed)
		t->config.shed(t->config.arg, on ? BUDGET_BACK : BUDGET_SHED, d, t->budget.spent_ppm);
}

unsigned int tracer_shed(const struct tracer *t, uint64_t since_ns)
{
	unsigned int bits = 0;

	for (enum detail d = 0; d < DETAIL_COUNT; d++)
		bits |= t->off_until[d] > since_ns ? 1u << d : 0;
	return bits;
}

void tracer_tick(struct tracer *t)
{
	uint64_t part_ns[DETAIL_COUNT], request_ns, runs, missed, requests;
	struct counters seen = tracer_count(t);
	struct budget_spent spent;
	enum budget_word word;
	enum detail d;

	requests = seen.requests + seen.inner;
	if (!gauge_tick(&t->gauge, requests, t->budget.over > 0))
		return;
	parts(t, part_ns, &request_ns, &runs, &missed);
	if (!gauge_look(&t->gauge, part_ns, &spent))
		return;
	word = budget_look(&t->budget, &spent, now_ns(), &d);
	if (word == BUDGET_SHED || word == BUDGET_BACK)
		detail_set(t, d, word == BUDGET_BACK);
	else if (word == BUDGET_STUCK && t->config.shed)
		t->config.shed(t->config.arg, word, DETAIL_COUNT, t->budget.spent_ppm);
	if (word == BUDGET_OVER || word == BUDGET_SHED)
		gauge_again(&t->gauge, requests);
}

void tracer_totals(struct tracer *t, struct tracer_totals *ret_totals)
{
	struct tracer_totals sum = { .counters = tracer_count(t) };
	uint64_t part_ns[DETAIL_COUNT], ns, now = now_ns();

	gauge_seen(&t->gauge, sum.counters.requests + sum.counters.inner, &ns, &sum.metered_requests);
	parts(t, part_ns, &sum.request_ns, &sum.sched_runs, &sum.missed);
	sum.sched_ns = part_ns[DETAIL_SCHED];
	sum.watched_ns = now - t->gauge.attached_ns;
	if (ns) { /* of the whole time, as far as the windows tell */
		double whole = (double)(now - t->gauge.attached_ns) / (double)ns;

		sum.sched_ns = (uint64_t)((double)sum.sched_ns * whole);
		sum.sched_runs = (uint64_t)((double)sum.sched_runs * whole);
	}
	for (uint32_t i = 0; i < t->slot_count; i++) {
		const struct slot *s = &t->slots[i].slot;

		sum.in_flight += slot_in_flight(s->state);
		sum.older_in_flight += slot_in_flight(s->state) && s->flags & SLOT_START_UNKNOWN;
	}
	if (t->app)
		tracer_app_totals(t->app, sum.area);
	for (enum detail d = 0; d < DETAIL_COUNT; d++)
		sum.shed_ns[d] = t->off_ns[d] + (t->budget.off[d] ? now - t->off_since[d] : 0);
	sum.spent_ppm = t->budget.spent_ppm;
	*ret_totals = sum;
}
