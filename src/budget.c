// SPDX-License-Identifier: MIT
/* Two looks in a row over the budget and the next detail goes, in the order of the enum; a
 * detail that takes too little of what is over is passed over, since to shed it would only
 * blind. It comes back, the latest first, when what is spent and what it took then leave a
 * quarter of the budget, and not within a minute, each time twice as long: a load that
 * swings about the budget must not have detail swing with it. */
#include "budget.h"

#include "err.h"
#include "ktime.h"

#include <stdlib.h>
#include <string.h>

#define LOOKS_OVER 2
#define HELPS_SHARE 16 /* of what is over, at least one in so many */
#define TRACE_SHARE 8  /* of what the programs at the sockets take, roughly */
#define BACK_AFTER_NS (60 * NSEC_PER_SEC)
#define BACK_DOUBLED_MOST 6
#define PPM 1000000u

static const char *const names[DETAIL_COUNT] = { "areas", "scheduler", "trace" };

const char *detail_name(enum detail detail)
{
	return names[detail];
}

void details_format(unsigned int bits, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (enum detail d = 0; d < DETAIL_COUNT; d++) {
		if (bits & 1u << d && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "", names[d]);
	}
}

static uint32_t share(uint64_t ns, uint64_t whole_ns)
{
	double ppm = whole_ns ? (double)ns * PPM / (double)whole_ns : 0;

	return ppm < PPM ? (uint32_t)ppm : PPM;
}

static uint32_t would_save(const struct budget_spent *spent, enum detail d)
{
	return share(d == DETAIL_TRACE ? spent->part_ns[d] / TRACE_SHARE : spent->part_ns[d], spent->whole_ns);
}

static enum budget_word over(struct budget *b, const struct budget_spent *spent, uint64_t now, enum detail *ret_detail)
{
	uint32_t excess = b->spent_ppm - b->ppm;

	if (++b->over < LOOKS_OVER)
		return BUDGET_OVER;
	b->over = 0;
	for (enum detail d = 0; d < DETAIL_COUNT; d++) {
		uint32_t saved = would_save(spent, d);

		if (b->off[d] || !b->offered[d] || (uint64_t)saved * HELPS_SHARE < excess || !spent->part_ns[d])
			continue;
		b->off[d] = true;
		b->saved_ppm[d] = saved;
		b->shed_at_ns[d] = now;
		b->times[d]++;
		*ret_detail = d;
		return BUDGET_SHED;
	}
	if (b->stuck)
		return BUDGET_FINE;
	b->stuck = true;
	return BUDGET_STUCK;
}

enum budget_word budget_look(struct budget *b, const struct budget_spent *spent, uint64_t now, enum detail *ret_detail)
{
	uint64_t sum = spent->own_ns, wait;

	for (enum detail d = 0; d < DETAIL_COUNT; d++)
		sum += spent->part_ns[d];
	b->spent_ppm = share(sum, spent->whole_ns);
	if (!b->ppm)
		return BUDGET_FINE;
	if (b->spent_ppm > b->ppm)
		return over(b, spent, now, ret_detail);
	b->over = 0;
	for (enum detail d = DETAIL_COUNT; d-- > 0;) {
		if (!b->off[d])
			continue;
		wait = BACK_AFTER_NS << MIN(b->times[d] - 1, (unsigned int)BACK_DOUBLED_MOST);
		if (now - b->shed_at_ns[d] < wait ||
		    (uint64_t)b->spent_ppm + b->saved_ppm[d] > (uint64_t)b->ppm * 3 / 4)
			return BUDGET_FINE; /* one after the other */
		b->off[d] = false;
		b->stuck = false;
		*ret_detail = d;
		return BUDGET_BACK;
	}
	return BUDGET_FINE;
}

int budget_parse(const char *text, uint32_t *ret_ppm, struct err *err)
{
	char *end;
	double percent;

	errno = 0;
	percent = *text >= '0' && *text <= '9' ? strtod(text, &end) : -1;
	if (percent < 0 || errno || strspn(text, "0123456789.") != (size_t)(end - text) || (*end && strcmp(end, "%")))
		return err_say(err, -EINVAL, "'%s' is not a share in per cent (2, 0.5%%)", text);
	if (percent > 100 || percent * 1e4 < 1)
		return err_say(err, -EINVAL, "'%s' is not between 0.0001 and 100 per cent", text);
	*ret_ppm = percent >= 100 ? 0 : (uint32_t)(percent * 1e4);
	return 0;
}
