// SPDX-License-Identifier: MIT
/* The groups as text and as JSON. What is worst comes first, and a pool of idle workers
 * is one line: of fifty threads one wants to see the three that matter. */
#include "compare_rows.h"

#include "cause.h"
#include "facts.h"
#include "ktime.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

#define TIDS_SHOWN 8
#define FRAMES_SHOWN 4 /* that say something */
#define NAME_COLUMNS 60
#define QUEUED_PERMILLE 200   /* of the time: worth a word */
#define TEXT_MAX (256u << 10) /* of one group */

static void add_text(struct buf *out, const char *text)
{
	add_clean(out, text, strlen(text));
}

/* ---- of a group ---- */

/* What all its members wait for, in the same words; NULL. */
static const char *common_wait(const struct group *g)
{
	const char *text = g->member[0]->waits_for;

	for (size_t i = 1; i < g->count && text; i++) {
		if (!g->member[i]->waits_for || strcmp(g->member[i]->waits_for, text) != 0)
			text = NULL;
	}
	return g->meaning == MEANS_LOOP || g->meaning == MEANS_COMPUTES ? NULL : text;
}

/* Of all members, and of the one with the least and the most. */
struct group_cpu {
	uint64_t ns;
	unsigned int least, most, queued_most; /* permille */
	bool known;
};

static struct group_cpu group_cpu(const struct group *g)
{
	struct group_cpu cpu = { .least = UINT32_MAX };

	for (size_t i = 0; i < g->count; i++) {
		struct cpu_use use;

		if (!tracked_cpu(g->member[i], &use))
			continue;
		cpu.known = true;
		cpu.ns += use.ns;
		cpu.least = MIN(cpu.least, use.permille);
		cpu.most = MAX(cpu.most, use.permille);
		cpu.queued_most = MAX(cpu.queued_most, use.queued_permille);
	}
	return cpu;
}

static unsigned int percent(unsigned int permille)
{
	return (permille + 5) / 10;
}

static void put_percent(struct buf *out, const struct group *g)
{
	struct group_cpu cpu = group_cpu(g);

	if (!cpu.known || (!percent(cpu.most) && cpu.queued_most < QUEUED_PERMILLE))
		return;
	buf_addf(out, ", %u", percent(cpu.least));
	if (percent(cpu.least) != percent(cpu.most))
		buf_addf(out, " to %u", percent(cpu.most));
	buf_addf(out, " %% of a core%s", g->count > 1 ? " each" : "");
	if (cpu.queued_most >= QUEUED_PERMILLE)
		buf_addf(out, " (waits for a free one %s%u %% of the time)", g->count > 1 ? "up to " : "",
			 percent(cpu.queued_most));
}

static void put_frame(struct buf *out, const struct frame *f)
{
	const char *base = f->file ? strrchr(f->file, '/') : NULL;

	add_head(out, frame_function(f), NAME_COLUMNS);
	if (f->file) {
		buf_adds(out, " ");
		add_tail(out, base ? base + 1 : f->file, NAME_COLUMNS);
		if (f->line)
			buf_addf(out, ":%u", f->line);
	}
}

/* The innermost frames that say something: 'find Shop.php:12 < page Shop.php:7'. */
static size_t put_frames(struct buf *out, const struct group *g)
{
	const struct place *p = g->place;
	struct stack left;
	size_t shown = 0;

	for (size_t i = g->script_skip; p && i < p->script.count && shown < FRAMES_SHOWN; i++, shown++) {
		buf_adds(out, shown ? " < " : "");
		put_frame(out, &p->script.frame[i]);
	}
	if (!p || shown)
		return shown;
	left = (struct stack){ .frame = p->native.frame + g->native_skip, .count = p->native.count - g->native_skip };
	while (shown < FRAMES_SHOWN) {
		struct thread t = { .stack = left };
		const struct frame *f = native_frame(&t);

		if (!f && !shown && left.count) /* better than nothing */
			f = &left.frame[0];
		if (!f)
			break;
		buf_adds(out, shown++ ? " < " : "");
		put_frame(out, f);
		left.count -= (size_t)(f + 1 - left.frame);
		left.frame += f + 1 - left.frame;
	}
	return shown;
}

/* ---- text ---- */

static void put_members(struct buf *out, const struct group *g)
{
	const char *comm = g->member[0]->comm;

	for (size_t i = 1; i < g->count && comm; i++) {
		if (!g->member[i]->comm || strcmp(g->member[i]->comm, comm) != 0)
			comm = NULL;
	}
	for (size_t i = 0; i < MIN(g->count, (size_t)TIDS_SHOWN); i++)
		buf_addf(out, "%s%d", i ? " " : "", g->member[i]->tid);
	if (g->count > TIDS_SHOWN)
		buf_addf(out, " and %zu more", g->count - TIDS_SHOWN);
	if (comm) {
		buf_adds(out, " \"");
		add_text(out, comm);
		buf_adds(out, "\"");
	}
}

static void add_paragraph(struct buf *out, const char *lead, struct buf *text)
{
	if (text->len)
		add_wrapped(out, lead, text->data, 4);
	text->len = 0;
}

static void add_group(struct buf *out, const struct group *g)
{
	const char *wait = common_wait(g);
	struct group_cpu cpu = group_cpu(g);
	struct buf text;

	buf_init(&text, TEXT_MAX);
	if (g->count > 1) {
		buf_addf(&text, "%zu threads", g->count);
	} else {
		buf_adds(&text, "thread ");
		put_members(&text, g);
	}
	buf_adds(&text, ": ");
	add_text(&text, g->words);
	put_percent(&text, g);
	add_paragraph(out, "", &text);
	if (g->count > 1) {
		put_members(&text, g);
		add_paragraph(out, "    ", &text);
	}
	if (wait) {
		buf_adds(&text, "for ");
		add_text(&text, wait);
		add_paragraph(out, "    ", &text);
	}
	put_frames(&text, g);
	add_paragraph(out, "    ", &text);
	if (cpu.known && cpu.ns >= NSEC_PER_MSEC) {
		buf_addf(&text, "%s of CPU in between%s", word_duration(cpu.ns).s, g->count > 1 ? ", together" : "");
		add_paragraph(out, "    ", &text);
	}
	if (text.full)
		out->full = true;
	buf_done(&text);
}

static void add_head_line(const struct compare *c, struct buf *out)
{
	struct buf text;

	buf_init(&text, TEXT_MAX);
	buf_addf(&text, "%zu samples in %s, %zu thread%s", c->samples, word_duration(c->last_ns - c->first_ns).s,
		 c->thread_count, word_plural(c->thread_count));
	if (c->came)
		buf_addf(&text, ", %zu came", c->came);
	if (c->went) {
		buf_addf(&text, ", %zu went:", c->went);
		for (size_t i = 0; i < MIN(c->went, (size_t)TIDS_SHOWN); i++) {
			buf_addf(&text, " %d \"", c->gone[i].tid);
			add_text(&text, c->gone[i].comm ? c->gone[i].comm : "");
			buf_adds(&text, "\"");
		}
		if (c->went > TIDS_SHOWN)
			buf_addf(&text, " and %zu more", c->went - TIDS_SHOWN);
	}
	add_paragraph(out, "", &text);
	if (c->failed) {
		buf_addf(&text, "%zu sample%s could not be read: ", c->failed, word_plural(c->failed));
		add_text(&text, c->why_failed ? c->why_failed : "?");
		add_paragraph(out, "", &text);
	}
	for (char **d = c->deadlock; d && *d; d++) {
		buf_adds(&text, "DEADLOCK ");
		add_text(&text, *d);
		add_paragraph(out, "", &text);
	}
	buf_done(&text);
}

int compare_text(const struct compare *c, struct buf *out)
{
	struct group *groups;
	size_t count;
	int r;

	if (c->samples < 2) {
		buf_addf(out, "nothing to compare: %zu sample%s of the stacks\n", c->samples, word_plural(c->samples));
		return 0;
	}
	r = compare_groups(c, &groups, &count);
	if (r < 0)
		return r;
	add_head_line(c, out);
	for (size_t i = 0; i < count; i++)
		add_group(out, &groups[i]);
	groups_free(groups, count);
	return out->full ? -ENOMEM : 0;
}

/* ---- JSON ---- */

static void add_key(struct buf *out, const char *key, const char *text)
{
	buf_addf(out, ",\"%s\":", key);
	facts_add_string(out, text);
}

static void add_cpu(struct buf *out, const struct tracked *t)
{
	struct cpu_use use;

	if (tracked_cpu(t, &use))
		buf_addf(out, ",\"cpu_ms\":%s,\"core_percent\":%u.%u,\"queued_percent\":%u.%u", word_ms(use.ns).s,
			 use.permille / 10, use.permille % 10, use.queued_permille / 10, use.queued_permille % 10);
	else
		buf_adds(out, ",\"cpu_ms\":null,\"core_percent\":null,\"queued_percent\":null");
}

static void add_stack(struct buf *out, const struct stack *stack, size_t skip)
{
	buf_adds(out, "[");
	for (size_t i = skip; i < stack->count; i++) {
		const struct frame *f = &stack->frame[i];

		buf_adds(out, i > skip ? ",{\"function\":" : "{\"function\":");
		facts_add_string(out, f->function);
		if (f->file)
			add_key(out, "file", f->file);
		if (f->line)
			buf_addf(out, ",\"line\":%u", f->line);
		if (f->module)
			add_key(out, "module", f->module);
		buf_adds(out, "}");
	}
	buf_adds(out, "]");
}

static void add_member(struct buf *out, const struct tracked *t)
{
	buf_addf(out, "{\"tid\":%d", t->tid);
	add_key(out, "name", t->comm);
	buf_addf(out, ",\"seen\":%zu,\"first_seen\":%zu", t->seen, t->first + 1);
	add_cpu(out, t);
	if (t->waits_for)
		add_key(out, "waits_for", t->waits_for);
	if (t->waits_for_tid)
		buf_addf(out, ",\"waits_for_tid\":%d", t->waits_for_tid);
	if (t->holds) {
		add_key(out, "holds", t->holds);
		buf_addf(out, ",\"waiters\":%zu", t->holds_for);
	}
	buf_adds(out, "}");
}

static size_t most_often(const struct tracked *t)
{
	size_t most = 0;

	for (size_t i = 0; i < t->stand_count; i++)
		most = MAX(most, t->stand[i].count);
	return most;
}

static void add_json_group(struct buf *out, const struct group *g)
{
	const struct tracked *t = g->member[0];

	buf_addf(out, "{\"means\":\"%s\"", meaning_name(g->meaning));
	add_key(out, "words", g->words);
	buf_addf(out, ",\"same\":%zu,\"seen\":%zu", g->meaning == MEANS_LOOP ? t->computing : most_often(t), t->seen);
	add_key(out, "call", g->place ? g->place->call : NULL);
	if (g->place) {
		buf_adds(out, ",\"script\":");
		add_stack(out, &g->place->script, g->script_skip);
		buf_adds(out, ",\"native\":");
		add_stack(out, &g->place->native, g->native_skip);
	}
	buf_adds(out, ",\"threads\":[");
	for (size_t i = 0; i < g->count; i++) {
		buf_adds(out, i ? "," : "");
		add_member(out, g->member[i]);
	}
	buf_adds(out, "]}");
}

int compare_json(const struct compare *c, struct buf *out)
{
	struct group *groups;
	size_t count;
	int r = compare_groups(c, &groups, &count);

	if (r < 0)
		return r;
	buf_addf(out, "{\"samples\":%zu,\"samples_failed\":%zu", c->samples, c->failed);
	add_key(out, "why_failed", c->why_failed);
	buf_addf(out, ",\"over_ms\":%s,\"threads\":%zu,\"came\":%zu,\"went\":%zu,\"went_first\":[",
		 word_ms(c->last_ns - c->first_ns).s, c->thread_count, c->came, c->went);
	for (size_t i = 0; i < MIN(c->went, ARRAY_LEN(c->gone)); i++) {
		buf_addf(out, "%s{\"tid\":%d", i ? "," : "", c->gone[i].tid);
		add_key(out, "name", c->gone[i].comm);
		buf_adds(out, "}");
	}
	buf_adds(out, "],\"deadlock\":[");
	for (size_t i = 0; c->deadlock && c->deadlock[i]; i++) {
		buf_adds(out, i ? "," : "");
		facts_add_string(out, c->deadlock[i]);
	}
	buf_adds(out, "],\"groups\":[");
	for (size_t i = 0; i < count; i++) {
		buf_adds(out, i ? "," : "");
		add_json_group(out, &groups[i]);
	}
	buf_adds(out, "]}");
	groups_free(groups, count);
	return out->full ? -ENOMEM : 0;
}
