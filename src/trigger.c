// SPDX-License-Identifier: MIT
/* A threshold is crossed by what was measured between two samples, never by an average
 * over the process's life. Trap: 'for D' counts from the begin of the first interval
 * that fulfilled it for rates, and from the sample for levels. */
#include "trigger.h"

#include "ktime.h"
#include "rule.h"
#include "sentry.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

enum unit { UNIT_MILLI, UNIT_BYTES, UNIT_COUNT, UNIT_TIME };

static const struct row {
	const char *name;
	uint32_t parts;
	enum unit unit;
	bool rate; /* needs two samples */
} rows[] = {
	[TRIGGER_CPU] = { "cpu", USAGE_CPU, UNIT_MILLI, true },
	[TRIGGER_CPU_MACHINE] = { "cpu-machine", USAGE_CPU, UNIT_MILLI, true },
	[TRIGGER_MEMORY] = { "memory", USAGE_MEMORY, UNIT_BYTES, false },
	[TRIGGER_THREADS] = { "threads", USAGE_THREADS, UNIT_COUNT, false },
	[TRIGGER_FDS] = { "fds", USAGE_FDS, UNIT_COUNT, false },
	[TRIGGER_CPU_PRESSURE] = { "cpu-pressure", USAGE_CPU_PRESSURE, UNIT_MILLI, true },
	[TRIGGER_MEMORY_PRESSURE] = { "memory-pressure", USAGE_MEMORY_PRESSURE, UNIT_MILLI, true },
	[TRIGGER_IO_PRESSURE] = { "io-pressure", USAGE_IO_PRESSURE, UNIT_MILLI, true },
	[TRIGGER_MEMORY_EVENTS] = { "memory-events", USAGE_MEMORY_EVENTS, UNIT_COUNT, true },
	[TRIGGER_HUNG] = { "hung", USAGE_CPU | USAGE_PLACE, UNIT_TIME, true },
};

const char *trigger_name(enum trigger_kind kind)
{
	return rows[kind].name;
}

uint32_t trigger_parts(const struct trigger *trigger)
{
	return rows[trigger->kind].parts;
}

/* '80%', '0.5%', '250%' into thousandths. */
static int parse_percent(const char *text, uint64_t *ret_milli)
{
	uint64_t n = 0;
	unsigned int digits = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && n < 10000000; p++, digits++)
		n = n * 10 + (uint64_t)(*p - '0');
	n *= 10;
	if (digits && *p == '.' && p[1] >= '0' && p[1] <= '9') {
		n += (uint64_t)(p[1] - '0');
		p += 2;
	}
	if (!digits || strcmp(p, "%") || n > 10000000)
		return -EINVAL;
	*ret_milli = n;
	return 0;
}

static int parse_value(enum unit unit, const char *text, uint64_t *ret, struct err *err)
{
	switch (unit) {
	case UNIT_MILLI:
		return parse_percent(text, ret) < 0
			       ? err_say(err, -EINVAL, "'%s' is not a percentage (try '>80%%' or '<5%%')", text)
			       : 0;
	case UNIT_BYTES:
		return parse_size(text, ret, err);
	case UNIT_TIME:
		return parse_duration(text, ret, err);
	case UNIT_COUNT:
		break;
	}
	return parse_count(text, 0, INT64_MAX, ret, err);
}

int trigger_parse(enum trigger_kind kind, const char *text, struct trigger *ret_trigger, struct err *err)
{
	struct trigger t = { .kind = kind };
	char first[64];
	const char *plus;
	int r;

	if (kind == TRIGGER_MEMORY_EVENTS && !text) {
		*ret_trigger = t;
		return 0;
	}
	if (kind == TRIGGER_HUNG) {
		r = parse_duration(text, &t.for_ns, err);
		*ret_trigger = t;
		return r;
	}
	t.below = *text == '<';
	text += *text == '<' || *text == '>';
	text += strspn(text, " ");
	plus = strchr(text, '+');
	if (snprintf(first, sizeof(first), "%.*s", (int)(plus ? plus - text : (ptrdiff_t)strlen(text)), text) >=
	    (int)sizeof(first))
		return err_say(err, -EINVAL, "'%.20s...' is too long for a threshold", text);
	r = parse_value(rows[kind].unit, first, &t.threshold, err);
	if (r == 0 && plus)
		r = parse_value(rows[kind].unit, plus + 1, &t.step, err);
	if (r == 0 && plus && !t.step)
		r = err_say(err, -EINVAL, "'%s': a step of nothing", text);
	if (r == 0 && plus && t.below)
		r = err_say(err, -EINVAL, "'<%s': a step is for what grows: it goes with '>'", text);
	if (r == 0 && t.below && !t.threshold)
		r = err_say(err, -EINVAL, "'<%s' can never be", text);
	*ret_trigger = t;
	return r;
}

/* Thousandths of the interval. */
static uint64_t share(uint64_t from, uint64_t to, uint64_t interval_ns)
{
	return to > from && interval_ns ? (to - from) * 1000 / interval_ns : 0;
}

static uint64_t measure(const struct trigger *t, const struct usage *before, const struct usage *now, unsigned int cpus)
{
	uint64_t interval_ns = before ? now->at_ns - before->at_ns : 0;

	switch (t->kind) {
	case TRIGGER_CPU:
		return share(before->cpu_ns, now->cpu_ns, interval_ns);
	case TRIGGER_CPU_MACHINE:
		return share(before->cpu_ns, now->cpu_ns, interval_ns * cpus);
	case TRIGGER_MEMORY:
		return now->memory_bytes;
	case TRIGGER_THREADS:
		return now->threads;
	case TRIGGER_FDS:
		return now->fds;
	case TRIGGER_CPU_PRESSURE:
	case TRIGGER_MEMORY_PRESSURE:
	case TRIGGER_IO_PRESSURE:
		return share(before->pressure_ns[t->kind - TRIGGER_CPU_PRESSURE],
			     now->pressure_ns[t->kind - TRIGGER_CPU_PRESSURE], interval_ns);
	case TRIGGER_MEMORY_EVENTS:
		return now->memory_events - MIN(before->memory_events, now->memory_events);
	case TRIGGER_HUNG: /* a sleeping process wakes up for microseconds now and then */
		return now->place != before->place || share(before->cpu_ns, now->cpu_ns, interval_ns) > 0;
	case TRIGGER_KINDS:
		break;
	}
	return 0;
}

static bool holds(const struct trigger *t)
{
	if (t->kind == TRIGGER_HUNG)
		return t->value == 0;
	if (t->or_equal && t->value == t->threshold)
		return true;
	return t->below ? t->value < t->threshold : t->value > t->threshold;
}

bool trigger_feed(struct trigger *t, const struct usage *before, const struct usage *now, unsigned int cpus)
{
	const struct row *row = &rows[t->kind];

	t->known = !(row->parts & ~now->parts) && (!row->rate || (before && !(row->parts & ~before->parts)));
	if (t->known)
		t->value = measure(t, before, now, cpus);
	if (!t->known || !holds(t)) {
		t->since_ns = 0;
		return false;
	}
	if (!t->since_ns)
		t->since_ns = row->rate ? before->at_ns : now->at_ns;
	/* the tick at which it has held so long may come a moment early */
	return now->at_ns - t->since_ns + (before ? (now->at_ns - before->at_ns) / 4 : 0) >= t->for_ns;
}

/* A threshold that steps goes past where the value is now: one dump, however many steps
 * it went at once. */
void trigger_fired(struct trigger *t)
{
	uint64_t beyond =
		t->below ? t->threshold - MIN(t->value, t->threshold) : t->value - MIN(t->value, t->threshold);

	t->since_ns = 0;
	if (t->step && t->below)
		t->threshold -= MIN(t->step, t->threshold);
	else if (t->step)
		t->threshold += t->step * (beyond / t->step + 1);
}

unsigned int trigger_nearness(const struct trigger *t, uint64_t now_ns)
{
	uint64_t held_ns = t->since_ns ? now_ns - t->since_ns : 0, most = MAX(t->threshold, 1u);

	if (!t->known)
		return 0;
	if (t->since_ns)
		return (unsigned int)(t->for_ns > held_ns ? 500 + held_ns / (t->for_ns / 499 + 1) : 1000);
	if (t->kind == TRIGGER_HUNG)
		return 0;
	if (t->below)
		return (unsigned int)(499 * most / MAX(t->value, most));
	return (unsigned int)(MIN(t->value, most) / (most / 499 + 1));
}

static void value_words(enum unit unit, uint64_t value, char *buf, size_t size)
{
	unsigned long long n = value, tenth = value % 10;
	double mib = (double)value / 1048576.0;

	if (unit == UNIT_MILLI && tenth)
		snprintf(buf, size, "%llu.%llu%%", n / 10, tenth);
	else if (unit == UNIT_MILLI)
		snprintf(buf, size, "%llu%%", n / 10);
	else if (unit == UNIT_BYTES && value >= 10ull << 30)
		snprintf(buf, size, "%.1f GiB", mib / 1024);
	else if (unit == UNIT_BYTES && value < 1u << 20)
		snprintf(buf, size, "%.1f KiB", mib * 1024);
	else if (unit == UNIT_BYTES)
		snprintf(buf, size, "%.1f MiB", mib);
	else
		snprintf(buf, size, "%llu", n);
}

void trigger_value(const struct trigger *t, char *buf, size_t size)
{
	if (!t->known)
		snprintf(buf, size, "?");
	else if (t->kind == TRIGGER_HUNG)
		snprintf(buf, size, "%s", t->value ? "moving" : "still");
	else
		value_words(rows[t->kind].unit, t->value, buf, size);
}

void trigger_words(const struct trigger *t, uint64_t now_ns, char *buf, size_t size)
{
	char value[32], threshold[32], held[48] = "";
	bool now_it_holds = t->known && holds(t);

	if (t->for_ns)
		snprintf(held, sizeof(held), " for %.1f of %.1f s",
			 t->since_ns ? (double)(now_ns - t->since_ns) / 1e9 : 0, (double)t->for_ns / 1e9);
	if (t->kind == TRIGGER_HUNG) {
		snprintf(buf, size, "no progress%s", held);
		return;
	}
	trigger_value(t, value, sizeof(value));
	value_words(rows[t->kind].unit, t->threshold, threshold, sizeof(threshold));
	/* '12% > 80%' would read as if it were so */
	snprintf(buf, size, "%s %s%s %c%s %s%s", rows[t->kind].name, value, now_it_holds ? "" : ", waits for",
		 t->below ? '<' : '>', t->or_equal ? "=" : "", threshold, held);
}

/* ---- signals ---- */

void trigger_signal_name(int number, char *buf, size_t size)
{
	const char *name = sigabbrev_np(number);

	if (name)
		snprintf(buf, size, "%s", name);
	else if (number >= SIGRTMIN && number <= SIGRTMAX)
		snprintf(buf, size, number == SIGRTMIN ? "RTMIN" : "RTMIN+%d", number - SIGRTMIN);
	else
		snprintf(buf, size, "%d", number);
}

const char *trigger_event(uint32_t cause)
{
	return cause == SENTRY_EXIT ? "exit" : cause == SENTRY_FATAL ? "crash" : "signal";
}

static int signal_number(const char *word)
{
	static const struct {
		const char *name;
		int number;
	} also[] = { { "IOT", SIGABRT }, { "POLL", SIGPOLL }, { "CLD", SIGCHLD } };
	char *end, name[16];
	long number = strtol(word, &end, 10);

	if (end != word && !*end)
		return number >= 1 && number <= SENTRY_SIGNALS ? (int)number : -EINVAL;
	if (!strncasecmp(word, "SIG", 3))
		word += 3;
	for (int i = 1; i <= SENTRY_SIGNALS; i++) {
		trigger_signal_name(i, name, sizeof(name));
		if (!strcasecmp(word, name))
			return i;
	}
	for (size_t i = 0; i < ARRAY_LEN(also); i++) {
		if (!strcasecmp(word, also[i].name))
			return also[i].number;
	}
	if (strncasecmp(word, "RTMAX", 5) != 0 || (word[5] && (word[5] != '-' || word[6] < '0' || word[6] > '9')))
		return -EINVAL;
	number = SIGRTMAX - (word[5] ? strtol(word + 6, &end, 10) : 0);
	return (word[5] && *end) || number < SIGRTMIN || number > SIGRTMAX ? -EINVAL : (int)number;
}

int trigger_signals(const char *text, uint64_t *ret_bits, struct err *err)
{
	uint64_t bits = 0;

	for (const char *p = text;; p++) {
		size_t len = strcspn(p, ",");
		char word[16];
		int number = -EINVAL;

		if (len && len < sizeof(word)) {
			snprintf(word, sizeof(word), "%.*s", (int)len, p);
			number = signal_number(word);
		}
		if (number < 0)
			return err_say(err, -EINVAL, "'%.*s' is no signal (try 'SEGV,ABRT', or a number)", (int)len, p);
		bits |= sentry_bit(number);
		p += len;
		if (!*p)
			break;
	}
	*ret_bits = bits;
	return 0;
}
