// SPDX-License-Identifier: MIT
/* The sections about threads: the one that holds the request, the locks between them,
 * what the others do, and the later looks. */
#include "report_sections.h"

#include "report_words.h"

#include <string.h>

/* In how many looks of 'of' each frame of a thread stood, outer frames and all. */
struct frames_seen {
	size_t *script, *native; /* by frame, innermost first; NULL: there was one look */
	size_t of;
};

static void draw_frame(struct pen *pen, size_t index, const struct frame *f, const struct frames_seen *seen,
		       const size_t *count)
{
	char *place = NULL, *called = frame_called(f);

	if (f->file && f->line)
		text_setf(&place, "%s:%u", f->file, f->line);
	else if (f->file)
		text_set(&place, f->file);
	else if (f->script)
		text_setf(&place, "[%s]", f->module ? f->module : "internal");
	else
		text_set(&place, f->module);
	pen->frame(pen, &(struct frame_row){ .index = index,
					     .function = called ? page_clip(called) : "",
					     .place = place ? page_clip(place) : "",
					     .script = f->script,
					     .seen = seen->of ? *count : 0,
					     .of = seen->of });
	free(called);
	free(place);
}

/* Script frames first, then what the machine does below them. */
static void draw_stack(struct pen *pen, const struct thread *t, const struct frames_seen *seen, size_t most)
{
	size_t shown = 0, left = 0;

	for (size_t n = 0; n < t->script.count; n++) {
		if (shown < most)
			draw_frame(pen, shown++, &t->script.frame[n], seen, seen->of ? seen->script + n : NULL);
		else
			left++;
	}
	if (t->script.count && t->stack.count)
		pen->line(pen, "native:");
	/* a deep script must not hide which call the machine is in */
	most = shown + (t->script.count ? MAX(most / 2, 4u) : most);
	for (size_t n = 0; n < t->stack.count; n++) {
		if (t->script.count && t->stack.frame[n].script)
			continue;
		if (shown < most)
			draw_frame(pen, shown++, &t->stack.frame[n], seen, seen->of ? seen->native + n : NULL);
		else
			left++;
	}
	if (left)
		page_line(pen, "... %zu more frame%s: see stacks.txt", left, word_plural(left));
	if (t->stack.unavailable)
		page_warn(pen, "stack: %s", t->stack.unavailable);
	if (t->script.unavailable)
		page_warn(pen, "script stack: %s", t->script.unavailable);
}

void page_stack(struct pen *pen, const struct thread *t, size_t most)
{
	draw_stack(pen, t, &(struct frames_seen){ 0 }, most);
}

const char *page_why_no_stacks(const struct incident *i)
{
	if (i->suppressed)
		return i->suppressed;
	if (i->capture.failed)
		return i->capture.failed;
	if (i->analysis.failed)
		return i->analysis.failed;
	if (i->limit_reached)
		return "the rule's limit was reached";
	return i->capture.method == METHOD_NONE ? "the rule asks for no capture" : "the capture holds no thread";
}

void page_doing(const struct thread *t, struct buf *out)
{
	if (t->call)
		buf_addf(out, "in %s", t->call);
	else if (t->state == 'R')
		buf_adds(out, "running");
	else
		buf_adds(out, "in no system call");
	if (t->state)
		buf_addf(out, " (%c)", t->state);
	if (t->waits_for)
		buf_addf(out, ", waits for %s", t->waits_for);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* A frame stood there, too, if all that called it did: counted from the outermost. */
static void count_seen(const struct stack *first, const struct stack *later, size_t *seen)
{
	for (size_t n = 1; n <= MIN(first->count, later->count); n++) {
		const struct frame *x = &first->frame[first->count - n], *y = &later->frame[later->count - n];

		if (x->line != y->line || !same_text(x->function, y->function) || !same_text(x->file, y->file))
			break;
		seen[first->count - n]++;
	}
}

static int seen_make(const struct incident *i, const struct thread *t, struct frames_seen *ret_seen)
{
	size_t all = t->script.count + t->stack.count;
	struct frames_seen seen = { .script = calloc(all + 1, sizeof(*seen.script)) };

	if (!seen.script)
		return -ENOMEM;
	seen.native = seen.script + t->script.count;
	for (size_t n = 0; n < all; n++)
		seen.script[n] = 1; /* the first look */
	for (size_t n = 0; n < i->sample_count; n++) {
		const struct thread *later = &i->sample[n].thread;

		if (later->tid != t->tid || (!later->stack.count && !later->script.count))
			continue;
		seen.of += seen.of ? 1 : 2;
		count_seen(&t->script, &later->script, seen.script);
		count_seen(&t->stack, &later->stack, seen.native);
	}
	*ret_seen = seen;
	return 0;
}

int section_holder(const struct incident *i, struct pen *pen)
{
	const struct thread *t = holder_thread(i);
	struct frames_seen seen = { 0 };
	struct buf what;

	pen->section(pen, "STACK OF THE REQUEST'S THREAD", NULL);
	if (!t) {
		page_line(pen, i->analysis.thread_count ? "It was not among the captured threads." : "None: %s.",
			  page_why_no_stacks(i));
		return 0;
	}
	buf_init(&what, PAGE_PARTS_MAX);
	buf_addf(&what, "%s %d, ", page_known(t->comm), t->tid);
	page_doing(t, &what);
	page_field(pen, "thread", "%s", what.data);
	buf_done(&what);
	if (!t->stack.count && !t->script.count && !t->stack.unavailable && !t->script.unavailable)
		pen->line(pen, "no frames");
	if (seen_make(i, t, &seen) < 0)
		return -ENOMEM;
	if (seen.of)
		page_field(pen, "looks", "%s; n/m: the frame stood there, called alike, in n of m",
			   word_count(seen.of).s);
	draw_stack(pen, t, &seen, pen->frames_most);
	free(seen.script);
	return 0;
}

int section_locks(const struct incident *i, struct pen *pen)
{
	const struct analysis *a = &i->analysis;
	size_t most = pen->groups_most;

	if (!a->lock_count && !a->deadlock)
		return 0;
	pen->section(pen, "LOCKS", NULL);
	for (size_t n = 0; a->deadlock && a->deadlock[n]; n++)
		page_warn(pen, "DEADLOCK  %s", a->deadlock[n]);
	for (size_t n = 0; n < MIN(a->lock_count, most); n++) {
		const struct lock *l = &a->lock[n];
		struct buf who;

		buf_init(&who, PAGE_PARTS_MAX);
		if (l->owner)
			buf_addf(&who, "held by %d%s%s%s", l->owner, l->owner_name ? " \"" : "",
				 l->owner_name ? l->owner_name : "", l->owner_name ? "\"" : "");
		else
			buf_adds(&who, "holder unknown");
		buf_addf(&who, "; %zu thread%s", l->waiter_count, l->waiter_count == 1 ? " waits" : "s wait");
		for (size_t k = 0; k < MIN(l->waiter_count, 12u); k++)
			buf_addf(&who, "%s %d", k ? "" : ":", l->waiter[k]);
		if (l->waiter_count > 12)
			buf_addf(&who, " and %zu more", l->waiter_count - 12);
		page_line(pen, "%s  %s", page_known(l->name), who.data ? who.data : "");
		buf_done(&who);
	}
	if (a->lock_count > most)
		page_line(pen, "... %zu more locks: see incident.json", a->lock_count - most);
	return 0;
}

static const struct thread_use *use_of(const struct incident *i, pid_t tid)
{
	for (size_t n = 0; n < i->thread_use_count; n++) {
		if (i->thread_use[n].tid == tid)
			return &i->thread_use[n];
	}
	return NULL;
}

/* What became of a group's threads at the later looks. */
static void draw_group_use(const struct incident *i, struct pen *pen, const struct thread_group *g)
{
	size_t known = 0, stayed = 0, here = 0;
	uint64_t cpu_ns = 0, over_ns = 0;
	uint32_t looks = 0;

	for (size_t n = 0; n < g->count && i->thread_use_count; n++) {
		const struct thread_use *u = use_of(i, i->analysis.thread[g->member[n]].tid);

		known += u != NULL;
		stayed += u && u->same == u->looks;
		here = u ? u->same : here;
		looks = u ? MAX(looks, u->looks) : looks;
		cpu_ns += u ? u->cpu_ns : 0;
		over_ns = u ? MAX(over_ns, u->over_ns) : over_ns;
	}
	if (!known || looks < 2)
		return;
	if (known == 1)
		page_line(pen, "there in %zu of %u looks; %s of CPU in %s", here, looks, word_duration(cpu_ns).s,
			  word_duration(over_ns).s);
	else
		page_line(pen, "%zu of %zu there in all of %u looks; %s of CPU together in %s", stayed, known, looks,
			  word_duration(cpu_ns).s, word_duration(over_ns).s);
}

/* The locks that somebody waits for and that one of the group has. */
static void draw_group_locks(const struct incident *i, struct pen *pen, const struct thread_group *g)
{
	const struct analysis *a = &i->analysis;

	for (size_t n = 0; n < a->lock_count; n++) {
		for (size_t k = 0; k < g->count; k++) {
			if (a->lock[n].owner && a->lock[n].owner == a->thread[g->member[k]].tid)
				page_line(pen, "%d holds %s", a->lock[n].owner, page_known(a->lock[n].name));
		}
	}
}

static void draw_group(const struct incident *i, struct pen *pen, const struct thread_group *g)
{
	const struct thread *t = &i->analysis.thread[g->member[0]];
	struct buf what, tids;

	buf_init(&what, PAGE_PARTS_MAX);
	buf_init(&tids, PAGE_PARTS_MAX);
	buf_addf(&what, "%s ", page_known(t->comm));
	page_doing(t, &what);
	if (g->apart)
		buf_adds(&what, " (not all for the same)");
	for (size_t n = 0; n < MIN(g->count, 8u); n++)
		buf_addf(&tids, "%s%d", n ? " " : "", i->analysis.thread[g->member[n]].tid);
	if (g->count > 8)
		buf_addf(&tids, " and %zu more", g->count - 8);
	pen->group(pen, g->count, what.data ? page_clip(what.data) : "", tids.data ? tids.data : "");
	draw_group_locks(i, pen, g);
	draw_group_use(i, pen, g);
	page_stack(pen, t, MAX(pen->frames_most / 4, 4u));
	buf_done(&what);
	buf_done(&tids);
}

int section_others(const struct incident *i, struct pen *pen)
{
	struct thread_group *groups = NULL;
	size_t count = 0, threads = 0, left = 0;
	char note[256];
	int r = threads_group(i, &groups, &count);

	if (r < 0 || !count)
		return r;
	for (size_t n = 0; n < count; n++) {
		threads += groups[n].count;
		left += n >= pen->groups_most ? groups[n].count : 0;
	}
	snprintf(note, sizeof(note), "%s, in %s group%s of the same stack", word_count(threads).s, word_count(count).s,
		 word_plural(count));
	pen->section(pen, "OTHER THREADS", note);
	for (size_t n = 0; n < MIN(count, pen->groups_most); n++)
		draw_group(i, pen, &groups[n]);
	if (left)
		page_line(pen, "... %zu more groups with %zu threads: see stacks.txt", count - pen->groups_most, left);
	thread_groups_free(groups, count);
	return 0;
}

/* --- later looks --- */

static bool same_look(const struct thread *before, const struct later_look *s)
{
	return before && before->tid == s->thread.tid && thread_same_place(before, &s->thread);
}

/* Looks at a thread that did not move are one line. Returns how many these are. */
static size_t draw_looks(const struct later_look *s, size_t left, const struct thread *before, struct pen *pen)
{
	const struct thread *t = &s->thread;
	bool same = same_look(before, s);
	size_t count = 1;
	struct buf what;

	while (same && s->repeat && count < left && s[count].repeat && same_look(before, &s[count]) &&
	       !s[count].failed && !s->failed)
		count++;
	buf_init(&what, PAGE_PARTS_MAX);
	buf_addf(&what, "after %s", word_duration(s->at_ns).s);
	if (count > 1)
		buf_addf(&what, " to %s, %s looks", word_duration(s[count - 1].at_ns).s, word_count(count).s);
	if (s->repeat)
		buf_addf(&what, ": again, as rule '%s' asks", page_known(s->rule));
	else
		buf_addf(&what, ": rule '%s' fired too (%s)", page_known(s->rule), reason_name(s->reason));
	if (t->tid) {
		buf_addf(&what, "; %s %d, ", page_known(t->comm), t->tid);
		page_doing(t, &what);
		if (same)
			buf_adds(&what, "; the same stack as before");
	}
	page_line(pen, "%s", what.data ? what.data : "");
	buf_done(&what);
	if (s->failed)
		page_warn(pen, "no stack: %s", s->failed);
	if (t->tid && !same)
		page_stack(pen, t, MAX(pen->frames_most / 2, 4u));
	return count;
}

int section_samples(const struct incident *i, struct pen *pen)
{
	const struct thread *before = holder_thread(i);
	char note[128];

	if (!i->sample_count)
		return 0;
	snprintf(note, sizeof(note), "%s more of the request's thread, while it went on",
		 word_count(i->sample_count).s);
	pen->section(pen, "LATER LOOKS", note);
	for (size_t n = 0; n < i->sample_count;) {
		n += draw_looks(&i->sample[n], i->sample_count - n, before, pen);
		if (i->sample[n - 1].thread.tid)
			before = &i->sample[n - 1].thread;
	}
	for (size_t n = 0; n < i->sample_count; n++)
		page_action(&i->sample[n].action, pen);
	return 0;
}

/* Work that waits without a thread. */
int section_tasks(const struct incident *i, struct pen *pen)
{
	const struct analysis *a = &i->analysis;
	size_t shown = 0, left = 0;
	char note[96];

	if (!a->task_count)
		return 0;
	snprintf(note, sizeof(note), "%ss that wait: %s", task_word(a), word_count(a->task_count).s);
	pen->section(pen, "TASKS", note);
	for (size_t n = 0; n < a->task_count; n++) {
		const struct task *t = &a->task[n];
		const struct thread thread = { .script = t->stack };
		size_t count = task_equals(a, n);
		char *what = NULL;

		left += count && shown == pen->groups_most;
		if (!count || shown == pen->groups_most)
			continue;
		shown++;
		text_setf(&what, "%s%s", t->waits_for ? "waiting for " : "waiting", t->waits_for ? t->waits_for : "");
		pen->group(pen, count, what ? what : "", t->name ? t->name : "");
		free(what);
		page_stack(pen, &thread, pen->frames_most);
	}
	if (left)
		page_line(pen, "... %zu more sorts of tasks: see incident.json", left);
	return 0;
}
