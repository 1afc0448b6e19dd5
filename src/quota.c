// SPDX-License-Identifier: MIT
/* Books about captures. Rejected: counting in the rules themselves (a reload makes new
 * ones), and a token bucket (nobody can say afterwards why it refused). Trap: what is
 * written today is read by tomorrow's boot: its processes and its clock are others. */
#include "quota.h"

#include "ktime.h"

#include <jansson.h>
#include <string.h>

#define HOUR_NS (3600 * NSEC_PER_SEC)
#define LIVES_MAX 4096 /* per rule: a host has no more workers; of more the oldest are forgotten */
#define FORMAT 1

struct use { /* of one life of a process */
	struct life life;
	uint64_t window_ns; /* when the counting began */
	uint64_t taken_ns;  /* the latest, and of the rule before that: for a refund */
	uint64_t before_ns;
	uint32_t count;
	bool refused; /* since it was used up */
};

struct book { /* of one rule */
	char *name;
	struct use *use;
	size_t use_count;
	uint64_t last_ns;   /* of a capture; 0 none */
	uint64_t *occurred; /* a ring of the latest */
	uint32_t occurred_size, occurred_count;
	uint64_t captured, held_back, failed;
	char *error, *held_why;
};

struct moment_spent {
	uint64_t at_ns, pause_ns;
};

struct quota {
	struct book *book;
	size_t count;
	struct moment_spent *spent; /* captures of all rules within the longest window, oldest first */
	size_t spent_count;
	char *throttled;
	bool changed;
};

struct quota *quota_new(void)
{
	return calloc(1, sizeof(struct quota));
}

static void book_done(struct book *book)
{
	free(book->name);
	free(book->use);
	free(book->occurred);
	free(book->error);
	free(book->held_why);
}

void quota_free(struct quota *quota)
{
	if (!quota)
		return;
	for (size_t i = 0; i < quota->count; i++)
		book_done(&quota->book[i]);
	free(quota->book);
	free(quota->spent);
	free(quota->throttled);
	free(quota);
}

const char *quota_state_name(enum quota_state state)
{
	static const char *const names[] = { "armed", "limited", "spent", "throttled", "failed" };

	return names[state];
}

static struct book *find_book(const struct quota *quota, const char *name)
{
	for (size_t i = 0; i < quota->count; i++) {
		if (strcmp(quota->book[i].name, name) == 0)
			return &quota->book[i];
	}
	return NULL;
}

static struct book *book_of(struct quota *quota, const char *name)
{
	struct book *book = find_book(quota, name);

	if (book)
		return book;
	book = list_add(&quota->book, &quota->count, sizeof(*book));
	if (!book)
		return NULL;
	text_set(&book->name, name);
	if (!book->name) {
		quota->count--;
		return NULL;
	}
	return book;
}

/* ---- so many in a window ---- */

bool quota_occur(struct quota *quota, const struct rule *rule, uint64_t now)
{
	struct book *book = rule->occurrences > 1 ? book_of(quota, rule->name) : NULL;
	uint64_t oldest;

	if (!book)
		return true;
	if (book->occurred_size != rule->occurrences) {
		uint64_t *ring = calloc(rule->occurrences, sizeof(*ring));

		if (!ring)
			return true;
		free(book->occurred);
		book->occurred = ring;
		book->occurred_size = rule->occurrences;
		book->occurred_count = 0;
	}
	book->occurred[book->occurred_count++ % book->occurred_size] = now;
	if (book->occurred_count < book->occurred_size)
		return false;
	oldest = book->occurred[book->occurred_count % book->occurred_size];
	if (now - oldest > rule->occurrences_window_ns)
		return false;
	book->occurred_count = 0;
	return true;
}

/* ---- what one rule may ---- */

static struct use *use_of(struct book *book, const struct life *life, uint64_t now)
{
	struct use *use;

	for (size_t i = 0; i < book->use_count; i++) {
		use = &book->use[i];
		if (use->life.pid == life->pid && use->life.start_ticks == life->start_ticks)
			return use;
	}
	if (book->use_count >= LIVES_MAX) /* they lie in the order they came */
		memmove(book->use, book->use + 1, --book->use_count * sizeof(*use));
	use = list_add(&book->use, &book->use_count, sizeof(*use));
	if (use)
		*use = (struct use){ .life = *life, .window_ns = now };
	return use;
}

static int refuse(struct quota *quota, struct book *book, int code, const char *why)
{
	book->held_back++;
	text_set(&book->held_why, why);
	quota->changed = true;
	return code;
}

/* Of all rules together: how many captures, and how long processes stood still for them. */
static const char *common_limit(struct quota *quota, const struct rules *rules, uint64_t now, uint64_t *ret_until,
				char *why, size_t size)
{
	uint64_t window = rules->all_window_ns ? rules->all_window_ns : HOUR_NS, pause = 0;
	size_t gone = 0, captures = 0;
	char text[32];

	while (gone < quota->spent_count && now - quota->spent[gone].at_ns >= MAX(window, HOUR_NS))
		gone++;
	quota->spent_count -= gone;
	if (gone)
		memmove(quota->spent, quota->spent + gone, quota->spent_count * sizeof(*quota->spent));
	*ret_until = 0;
	for (size_t i = quota->spent_count; i-- > 0;) {
		const struct moment_spent *m = &quota->spent[i];

		captures += now - m->at_ns < window;
		pause += now - m->at_ns < HOUR_NS ? m->pause_ns : 0;
		if (rules->all_captures && captures >= rules->all_captures) {
			*ret_until = m->at_ns + window;
			format_duration(window, text, sizeof(text));
			snprintf(why, size, "the limit of all rules together, %u captures in %s, is reached",
				 rules->all_captures, text);
			return why;
		}
		if (rules->all_pause_ns && pause >= rules->all_pause_ns) {
			*ret_until = m->at_ns + HOUR_NS;
			format_duration(rules->all_pause_ns, text, sizeof(text));
			snprintf(why, size, "processes stood still for %s within an hour, as long as they may", text);
			return why;
		}
	}
	return NULL;
}

static int own_limit(const struct rule *rule, const struct book *book, struct use *use, uint64_t now, char *why,
		     size_t size)
{
	char text[32];

	if (rule->limit_window_ns && now - use->window_ns >= rule->limit_window_ns) {
		use->window_ns = now;
		use->count = 0;
		use->refused = false;
	}
	if (use->count >= rule->limit) {
		format_duration(rule->limit_window_ns, text, sizeof(text));
		snprintf(why, size, "the rule's limit of %u per life of the process%s%s is reached (pid %d)",
			 rule->limit, rule->limit_window_ns ? " and " : "", rule->limit_window_ns ? text : "",
			 use->life.pid);
		use->refused = true;
		return -EDQUOT;
	}
	if (rule->cool_down_ns && book->last_ns && now - book->last_ns < rule->cool_down_ns) {
		snprintf(why, size, "the rule cools down for another %.1f s",
			 (double)(rule->cool_down_ns - (now - book->last_ns)) / 1e9);
		return -EAGAIN;
	}
	return 0;
}

int quota_take(struct quota *quota, const struct rules *rules, const struct rule *rule, const struct life *life,
	       uint64_t now, char *ret_why, size_t size)
{
	struct book *book = book_of(quota, rule->name);
	struct use *use = book ? use_of(book, life, now) : NULL;
	struct moment_spent *spent;
	uint64_t until;
	int code;

	if (!use) {
		snprintf(ret_why, size, "no memory to count its limit");
		return -EAGAIN;
	}
	code = own_limit(rule, book, use, now, ret_why, size);
	if (code == 0 && quota->throttled) {
		snprintf(ret_why, size, "%s", quota->throttled);
		code = -EAGAIN;
	}
	if (code == 0 && common_limit(quota, rules, now, &until, ret_why, size))
		code = -EAGAIN;
	if (code < 0)
		return refuse(quota, book, code, ret_why);
	spent = list_add(&quota->spent, &quota->spent_count, sizeof(*spent));
	if (spent)
		spent->at_ns = now;
	use->count++;
	use->taken_ns = now;
	use->before_ns = book->last_ns;
	book->last_ns = now;
	book->captured++;
	quota->changed = true;
	return 0;
}

static void give_back_moment(struct quota *quota, uint64_t at)
{
	for (size_t i = quota->spent_count; i-- > 0;) {
		if (quota->spent[i].at_ns != at)
			continue;
		quota->spent_count--;
		memmove(quota->spent + i, quota->spent + i + 1, (quota->spent_count - i) * sizeof(*quota->spent));
		return;
	}
}

void quota_refund(struct quota *quota, const struct rule *rule, const struct life *life, uint64_t taken_ns)
{
	struct book *book = find_book(quota, rule->name);

	for (size_t i = 0; taken_ns && book && i < book->use_count; i++) {
		struct use *use = &book->use[i];

		if (use->life.pid != life->pid || use->life.start_ticks != life->start_ticks || !use->count)
			continue;
		use->count -= taken_ns >= use->window_ns; /* a window that is over was given back already */
		book->captured -= book->captured > 0;
		if (book->last_ns == taken_ns && use->taken_ns == taken_ns)
			book->last_ns = use->before_ns;
		give_back_moment(quota, taken_ns);
		quota->changed = true;
	}
}

void quota_paused(struct quota *quota, uint64_t taken_ns, uint64_t pause_ns)
{
	size_t i = quota->spent_count;

	if (!i || !pause_ns)
		return;
	while (i > 0 && quota->spent[i - 1].at_ns != taken_ns)
		i--;
	quota->spent[i ? i - 1 : quota->spent_count - 1].pause_ns += pause_ns;
	quota->changed = true;
}

void quota_went(struct quota *quota, const char *rule, const char *error)
{
	struct book *book = book_of(quota, rule);

	if (!book)
		return;
	book->failed += error != NULL;
	text_set(&book->error, error);
	quota->changed = true;
}

void quota_throttle(struct quota *quota, const char *why)
{
	text_set(&quota->throttled, why);
}

const char *quota_throttled(const struct quota *quota)
{
	return quota->throttled;
}

void quota_forget(struct quota *quota, bool (*alive)(const struct life *life, void *arg), void *arg)
{
	for (size_t i = 0; i < quota->count; i++) {
		struct book *book = &quota->book[i];
		size_t left = 0;

		for (size_t k = 0; k < book->use_count; k++) {
			if (alive(&book->use[k].life, arg))
				book->use[left++] = book->use[k];
		}
		quota->changed |= left != book->use_count;
		book->use_count = left;
	}
}

static bool is_another(const struct life *life, void *arg)
{
	return life->pid != *(const pid_t *)arg;
}

void quota_gone(struct quota *quota, pid_t pid)
{
	quota_forget(quota, is_another, &pid);
}

/* ---- what it is like ---- */

void quota_report(struct quota *quota, const struct rules *rules, const struct rule *rule, uint64_t now,
		  struct quota_report *ret)
{
	const struct book *book = find_book(quota, rule->name);
	uint64_t window_end = UINT64_MAX, until = 0;
	size_t used_up = 0;
	char why[160];

	*ret = (struct quota_report){ .state = STATE_ARMED };
	if (book) {
		*ret = (struct quota_report){ .captured = book->captured,
					      .held_back = book->held_back,
					      .failed = book->failed,
					      .error = book->error,
					      .held_why = book->held_why,
					      .state = book->error ? STATE_FAILED : STATE_ARMED };
		for (size_t i = 0; i < book->use_count; i++) {
			const struct use *use = &book->use[i];
			uint64_t end = rule->limit_window_ns ? use->window_ns + rule->limit_window_ns : UINT64_MAX;

			if (use->count < rule->limit || end <= now)
				continue;
			used_up++;
			window_end = MIN(window_end, end);
		}
		if (book->use_count && used_up == book->use_count) {
			ret->state = rule->limit_window_ns ? STATE_LIMITED : STATE_SPENT;
			ret->until_ns = rule->limit_window_ns ? window_end : 0;
		} else if (rule->cool_down_ns && book->last_ns && now - book->last_ns < rule->cool_down_ns) {
			ret->state = STATE_LIMITED;
			ret->until_ns = book->last_ns + rule->cool_down_ns;
		}
	}
	if (rule->limit == 0)
		ret->state = STATE_SPENT;
	if (ret->state != STATE_SPENT &&
	    (quota->throttled || common_limit(quota, rules, now, &until, why, sizeof(why)))) {
		ret->state = STATE_THROTTLED;
		ret->until_ns = until;
	}
}

void quota_unwritten(struct quota *quota)
{
	quota->changed = true;
}

bool quota_changed(struct quota *quota)
{
	bool changed = quota->changed;

	quota->changed = false;
	return changed;
}

/* ---- over a restart ---- */

static json_t *uses_json(const struct book *book)
{
	json_t *list = json_array();

	for (size_t i = 0; i < book->use_count; i++) {
		const struct use *use = &book->use[i];

		json_array_append_new(list, json_pack("{s:i, s:I, s:I, s:I}", "pid", (int)use->life.pid, "start",
						      (json_int_t)use->life.start_ticks, "window",
						      (json_int_t)use->window_ns, "count", (json_int_t)use->count));
	}
	return list;
}

void quota_write(const struct quota *quota, const char *boot, uint64_t now, uint64_t wall, struct buf *out)
{
	json_t *rules = json_array(), *spent = json_array(), *all;
	char *text;

	for (size_t i = 0; i < quota->count; i++) {
		const struct book *book = &quota->book[i];
		/* Text that is no UTF-8 is not kept, the figures are. */
		json_t *name = json_string(book->name), *error = json_string(book->error),
		       *held_why = json_string(book->held_why);

		json_array_append_new(rules, json_pack("{s:o*, s:I, s:I, s:I, s:I, s:o*, s:o*, s:o}", "rule", name,
						       "last", (json_int_t)book->last_ns, "captured",
						       (json_int_t)book->captured, "held_back",
						       (json_int_t)book->held_back, "failed", (json_int_t)book->failed,
						       "error", error, "held_why", held_why, "uses", uses_json(book)));
	}
	for (size_t i = 0; i < quota->spent_count; i++)
		json_array_append_new(spent, json_pack("[I, I]", (json_int_t)quota->spent[i].at_ns,
						       (json_int_t)quota->spent[i].pause_ns));
	all = json_pack("{s:i, s:s, s:I, s:I, s:o, s:o}", "format", FORMAT, "boot", boot, "now", (json_int_t)now,
			"wall", (json_int_t)wall, "rules", rules, "spent", spent);
	text = all ? json_dumps(all, JSON_COMPACT) : NULL;
	buf_adds(out, text ? text : "");
	free(text);
	json_decref(all);
}

static uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* How a moment of then is told now. */
struct bridge {
	uint64_t then, now, passed; /* then and now are 'passed' apart */
	bool same_boot;
};

/* 0 stays 0; what would lie before the clock's beginning is its beginning. */
static uint64_t moment_of(const struct bridge *bridge, uint64_t at)
{
	uint64_t ago;

	if (!at)
		return 0;
	ago = (bridge->then > at ? bridge->then - at : 0) + bridge->passed;
	return bridge->now > ago ? bridge->now - ago : 1;
}

static void read_book(struct quota *quota, const json_t *one, const struct bridge *bridge)
{
	const char *name = json_string_value(json_object_get(one, "rule"));
	const json_t *uses = json_object_get(one, "uses");
	struct book *book = name ? book_of(quota, name) : NULL;

	if (!book)
		return;
	book->last_ns = moment_of(bridge, number_of(one, "last"));
	book->captured = number_of(one, "captured");
	book->held_back = number_of(one, "held_back");
	book->failed = number_of(one, "failed");
	text_set(&book->error, json_string_value(json_object_get(one, "error")));
	text_set(&book->held_why, json_string_value(json_object_get(one, "held_why")));
	for (size_t i = 0; bridge->same_boot && i < json_array_size(uses); i++) {
		const json_t *u = json_array_get(uses, i);
		struct life life = { .pid = (pid_t)number_of(u, "pid"), .start_ticks = number_of(u, "start") };
		struct use *use = life.pid > 0 ? use_of(book, &life, 0) : NULL;

		if (!use)
			continue;
		use->window_ns = moment_of(bridge, number_of(u, "window"));
		use->count = (uint32_t)MIN(number_of(u, "count"), (uint64_t)UINT32_MAX);
	}
}

int quota_read(struct quota *quota, const char *text, size_t len, const char *boot, uint64_t now, uint64_t wall)
{
	json_t *all = json_loadb(text, len, 0, NULL);
	const json_t *rules = json_object_get(all, "rules"), *spent = json_object_get(all, "spent");
	const char *then = json_string_value(json_object_get(all, "boot"));
	struct bridge bridge = { .then = number_of(all, "now"), .now = now };

	if (number_of(all, "format") != FORMAT || !then || !json_is_array(rules)) {
		json_decref(all);
		return -EINVAL;
	}
	bridge.same_boot = strcmp(then, boot) == 0 && now >= bridge.then;
	if (bridge.same_boot)
		bridge.passed = now - bridge.then;
	else if (wall > number_of(all, "wall"))
		bridge.passed = wall - number_of(all, "wall");
	for (size_t i = 0; i < json_array_size(rules); i++)
		read_book(quota, json_array_get(rules, i), &bridge);
	for (size_t i = 0; i < json_array_size(spent); i++) {
		const json_t *pair = json_array_get(spent, i);
		json_int_t at = json_integer_value(json_array_get(pair, 0)),
			   pause = json_integer_value(json_array_get(pair, 1));
		struct moment_spent *m = list_add(&quota->spent, &quota->spent_count, sizeof(*m));

		if (m && at > 0)
			*m = (struct moment_spent){ .at_ns = moment_of(&bridge, (uint64_t)at),
						    .pause_ns = pause > 0 ? (uint64_t)pause : 0 };
	}
	json_decref(all);
	return 0;
}
