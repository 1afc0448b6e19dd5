// SPDX-License-Identifier: MIT
/* Measuring run times costs more than much of what is measured, and every program on the
 * host pays: so it is done in windows. */
#include "tracer_gauge.h"

#include "ktime.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <sys/sysinfo.h>

#define METER_TICKS 32	    /* one in so many is measured */
#define METER_REQUESTS 1000 /* but the first until it has seen so many */

bool gauge_program(const struct bpf_program *prog, uint64_t *add_ns, uint64_t *add_runs, uint64_t *add_missed)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (!prog || bpf_program__fd(prog) < 0 || bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len) < 0)
		return false;
	*add_ns += info.run_time_ns;
	*add_runs += info.run_cnt;
	*add_missed += info.recursion_misses;
	return true;
}

void gauge_init(struct gauge *gauge)
{
	*gauge = (struct gauge){ .stats_fd = -1 };
}

void gauge_done(struct gauge *gauge)
{
	if (gauge->stats_fd >= 0)
		close(gauge->stats_fd);
	gauge->stats_fd = -1;
}

void gauge_open(struct gauge *gauge, uint64_t requests)
{
	gauge->begin_ns = now_ns();
	gauge->begin_requests = requests;
	gauge->look_ns = 0;
	if (!gauge->attached_ns)
		gauge->attached_ns = gauge->begin_ns;
	gauge->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
}

void gauge_seen(const struct gauge *gauge, uint64_t requests, uint64_t *ret_ns, uint64_t *ret_requests)
{
	*ret_ns = gauge->metered_ns;
	*ret_requests = gauge->metered_requests;
	if (gauge->stats_fd < 0)
		return;
	*ret_ns += now_ns() - gauge->begin_ns;
	*ret_requests += requests - gauge->begin_requests;
}

void gauge_again(struct gauge *gauge, uint64_t requests)
{
	uint64_t look = gauge->look_ns;

	if (gauge->stats_fd < 0) {
		gauge_open(gauge, requests);
		gauge->look_ns = look; /* nothing has run between the two */
	}
}

bool gauge_tick(struct gauge *gauge, uint64_t requests, bool keep)
{
	uint64_t ns, seen;

	gauge->tick++;
	if (gauge->stats_fd < 0 && gauge->tick % METER_TICKS == 0) {
		gauge_open(gauge, requests);
		return gauge->stats_fd >= 0;
	}
	gauge_seen(gauge, requests, &ns, &seen);
	/* It is closed a tick after what was to be seen: that one is looked at yet. */
	if (gauge->stats_fd < 0 || keep || (gauge->tick < METER_TICKS && seen < METER_REQUESTS) || !gauge->look_ns)
		return gauge->stats_fd >= 0;
	gauge->metered_ns = ns;
	gauge->metered_requests = seen;
	gauge_done(gauge);
	return true;
}

bool gauge_look(struct gauge *gauge, const uint64_t part_ns[DETAIL_COUNT], struct budget_spent *ret_spent)
{
	uint64_t now = now_ns(), before = gauge->look_ns, own_before = gauge->look_own_ns;

	gauge->look_own_ns = time_of(CLOCK_PROCESS_CPUTIME_ID);
	for (enum detail d = 0; d < DETAIL_COUNT; d++) {
		ret_spent->part_ns[d] = part_ns[d] - gauge->look_runs[d];
		gauge->look_runs[d] = part_ns[d];
	}
	gauge->look_ns = now;
	if (!before)
		return false;
	ret_spent->own_ns = gauge->look_own_ns - own_before;
	ret_spent->whole_ns = (now - before) * (uint64_t)get_nprocs();
	return true;
}
