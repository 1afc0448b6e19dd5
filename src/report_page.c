// SPDX-License-Identifier: MIT
/* The order of a page: verdict, request, time, stack, locks, the others, how it was
 * captured, the user's command, what is missing, the trace. Rejected: one renderer
 * per medium (they come to say different things). Trap: every part may be absent,
 * and an absent part says why it is. */
#include "report_page.h"

#include "buf.h"
#include "report_words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define PARTS_MAX (64u << 20) /* of a value put together; what is shown is clipped */

static const char *known(const char *text)
{
	return text && text[0] ? text : "unknown";
}

/* Cut at a character, with a mark that says how much. */
static char *clipped(char *text)
{
	size_t len = text ? strlen(text) : 0, at = PAGE_TEXT_MAX;
	char mark[64];

	if (len <= PAGE_TEXT_MAX + sizeof(mark))
		return text;
	while (at > PAGE_TEXT_MAX - 4 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	snprintf(mark, sizeof(mark), " [%zu more bytes: see incident.json]", len - at);
	memcpy(text + at, mark, strlen(mark) + 1);
	return text;
}

enum place { PLACE_LINE, PLACE_WARN };

static void PRINTF(3, 4) fieldf(struct pen *pen, const char *label, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	pen->field(pen, label, text ? clipped(text) : "out of memory");
	free(text);
}

static void PRINTF(3, 4) sayf(struct pen *pen, enum place place, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	(place == PLACE_WARN ? pen->warn : pen->line)(pen, text ? clipped(text) : "out of memory");
	free(text);
}

/* --- request --- */

static void draw_outcome(const struct incident *i, struct pen *pen)
{
	struct word took = word_duration(i->time_taken_ns);
	const char *note = i->end_note ? i->end_note : "";

	if (!i->ended)
		fieldf(pen, "outcome", "%s", note[0] ? note : "still running when this was written");
	else if (i->status)
		fieldf(pen, "outcome", "status %d after %s%s%s", i->status, took.s, note[0] ? "; " : "", note);
	else
		fieldf(pen, "outcome", "no status, over after %s%s%s", took.s, note[0] ? "; " : "", note);
}

static void draw_trap(const struct incident *i, struct pen *pen)
{
	struct word at = word_duration(i->elapsed_ns), limit = word_duration(i->limit_ns);
	char told[128] = "";

	if (i->fired_after_ns)
		snprintf(told, sizeof(told), "; reqtrap knew at %s ms", word_ms(i->fired_after_ns).s);
	if (i->reason == REASON_TIME_TAKEN && i->limit_ns)
		fieldf(pen, "trapped", "after %s, while running: limit %s (TIME_TAKEN)%s", at.s, limit.s, told);
	else if (i->reason == REASON_STATUS_CODE && i->status)
		fieldf(pen, "trapped", "after %s, at the response's status %d (STATUS_CODE)%s", at.s, i->status, told);
	else
		fieldf(pen, "trapped", "after %s (%s)%s", at.s, reason_name(i->reason), told);
}

static void add_list(struct buf *out, char *const *list, const char *between)
{
	for (size_t n = 0; list && list[n]; n++)
		buf_addf(out, "%s%s", n ? between : "", list[n]);
}

static void draw_chain(const struct incident *i, struct pen *pen)
{
	struct buf way;

	if (!i->chain_count)
		return;
	buf_init(&way, PARTS_MAX);
	for (size_t n = 0; n < i->chain_count; n++) {
		const struct hop *h = &i->chain[n];

		buf_addf(&way, "%s %d", known(h->process), h->pid);
		if (h->tid && h->tid != h->pid)
			buf_addf(&way, " thread %d", h->tid);
		if (n + 1 < i->chain_count)
			buf_addf(&way, " -> %s -> ", h->via ? h->via : "?");
	}
	fieldf(pen, "chain", "%s", way.data);
	buf_done(&way);
}

/* Said only where there is more to say than who it is. */
static void draw_doubt(const struct incident *i, struct pen *pen)
{
	const struct holder_facts *h = &i->holder;

	if (h->why)
		fieldf(pen, "holder", "%s%s", h->certain ? "" : "not certain: ", h->why);
	for (size_t n = 0; n < h->candidate_count; n++) {
		const struct candidate *c = &h->candidate[n];

		fieldf(pen,
		       n	    ? "or"
		       : h->certain ? "besides"
				    : "perhaps",
		       "process %d thread %d, %s", c->pid, c->tid, known(c->why));
	}
	if (h->call && h->call_outside)
		fieldf(pen, "waits for", "%s, outside: not on this host, or in another network name space", h->call);
	else if (h->call && h->call_pid)
		fieldf(pen, "waits for", "%s, process %d", h->call, h->call_pid);
	else if (h->call)
		fieldf(pen, "waits for", "%s, on this host: who reads it is not known", h->call);
}

static void draw_process(const struct incident *i, struct pen *pen)
{
	const struct process_facts *p = &i->process;
	const char *language = p->language ? p->language : i->analysis.language;
	struct buf more;

	if (!p->pid)
		return;
	buf_init(&more, PARTS_MAX);
	buf_addf(&more, "%s %d", known(p->comm), p->pid);
	if (language)
		buf_addf(&more, ", %s", language);
	if (p->thread_count)
		buf_addf(&more, ", %s thread%s", word_count(p->thread_count).s, word_plural(p->thread_count));
	if (p->rss_bytes)
		buf_addf(&more, ", %s in memory", word_bytes(p->rss_bytes).s);
	buf_addf(&more, ", uid %u", p->uid);
	fieldf(pen, "process", "%s", more.data);
	buf_done(&more);
	if (p->exe)
		fieldf(pen, "program", "%s", p->exe);
	if (p->cmdline && (!p->exe || strcmp(p->cmdline, p->exe)))
		fieldf(pen, "command", "%s", p->cmdline);
	if (p->cgroup)
		fieldf(pen, "cgroup", "%s", p->cgroup);
}

static void draw_request(const struct incident *i, struct pen *pen)
{
	const struct request_info *r = &i->request;
	struct buf others;

	pen->section(pen, "REQUEST", NULL);
	fieldf(pen, "request", "%s %s", known(r->method), known(r->url));
	fieldf(pen, "host", "%s (%s)", r->host ? r->host : "not named", protocol_name(r->protocol));
	fieldf(pen, "client", "%s%s%s", known(r->client), r->user_agent ? ", " : "",
	       r->user_agent ? r->user_agent : "");
	fieldf(pen, "started", "%s%s%s", word_wall(i->started_wall_ns).s, i->host_name ? " on " : "",
	       i->host_name ? i->host_name : "");
	draw_trap(i, pen);
	draw_outcome(i, pen);
	fieldf(pen, "bytes", "%s in, %s out", word_bytes(r->request_bytes).s, word_bytes(r->response_bytes).s);
	buf_init(&others, PARTS_MAX);
	add_list(&others, i->also_matched, ", ");
	fieldf(pen, "rule", "%s%s%s", known(i->rule), others.len ? "; these would have fired too: " : "",
	       others.len ? others.data : "");
	buf_done(&others);
	draw_chain(i, pen);
	draw_doubt(i, pen);
	draw_process(i, pen);
}

/* --- time --- */

static int draw_time(const struct incident *i, struct pen *pen)
{
	struct time_row *rows = NULL;
	bool open = false;
	char note[256];
	size_t count = 0;
	int r = time_rows_make(i, &rows, &count);

	if (r < 0)
		return r;
	snprintf(note, sizeof(note), "%s, from the first byte to the trap", word_duration(i->elapsed_ns).s);
	pen->section(pen, "WHERE THE TIME WENT", note);
	if (!count)
		pen->line(pen, "Not known: the trace has no times of the thread that holds the request.");
	for (size_t n = 0; n < count; n++) {
		pen->time_row(pen, &rows[n]);
		open |= rows[n].open && !rows[n].total;
	}
	if (open)
		pen->line(pen, "* still going on at the trap");
	if (count && rows[count - 1].ns > i->elapsed_ns)
		sayf(pen, PLACE_WARN, "the parts overlap: they are %s more than the time that passed",
		     word_duration(rows[count - 1].ns - i->elapsed_ns).s);
	if (i->losses.events_overwritten)
		pen->warn(pen, "events of this request were lost: times are lower bounds");
	if (pen->picture)
		pen->picture(pen, i);
	time_rows_free(rows, count);
	return 0;
}

/* --- stacks --- */

static void draw_frame(struct pen *pen, size_t index, const struct frame *f)
{
	char *place = NULL;

	if (f->file && f->line)
		text_setf(&place, "%s:%u", f->file, f->line);
	else if (f->file)
		text_set(&place, f->file);
	else if (f->script)
		text_setf(&place, "[%s]", f->module ? f->module : "internal");
	else
		text_set(&place, f->module);
	pen->frame(pen, index, frame_function(f), place ? clipped(place) : "", f->script);
	free(place);
}

/* Script frames first, then what the machine does below them. */
static void draw_stack(struct pen *pen, const struct thread *t, size_t most)
{
	size_t shown = 0, left = 0;

	for (size_t n = 0; n < t->script.count; n++) {
		if (shown < most)
			draw_frame(pen, shown++, &t->script.frame[n]);
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
			draw_frame(pen, shown++, &t->stack.frame[n]);
		else
			left++;
	}
	if (left)
		sayf(pen, PLACE_LINE, "... %zu more frame%s: see stacks.txt", left, word_plural(left));
	if (t->stack.unavailable)
		sayf(pen, PLACE_WARN, "stack: %s", t->stack.unavailable);
	if (t->script.unavailable)
		sayf(pen, PLACE_WARN, "script stack: %s", t->script.unavailable);
}

static const char *why_no_stacks(const struct incident *i)
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

static void doing(const struct thread *t, struct buf *out)
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

static void draw_holder(const struct incident *i, struct pen *pen)
{
	const struct thread *t = holder_thread(i);
	struct buf what;

	pen->section(pen, "STACK OF THE REQUEST'S THREAD", NULL);
	if (!t) {
		sayf(pen, PLACE_LINE, i->analysis.thread_count ? "It was not among the captured threads." : "None: %s.",
		     why_no_stacks(i));
		return;
	}
	buf_init(&what, PARTS_MAX);
	buf_addf(&what, "%s %d, ", known(t->comm), t->tid);
	doing(t, &what);
	fieldf(pen, "thread", "%s", what.data);
	buf_done(&what);
	if (!t->stack.count && !t->script.count && !t->stack.unavailable && !t->script.unavailable)
		pen->line(pen, "no frames");
	draw_stack(pen, t, pen->frames_most);
}

static void draw_locks(const struct incident *i, struct pen *pen)
{
	const struct analysis *a = &i->analysis;
	size_t most = pen->groups_most;

	if (!a->lock_count && !a->deadlock)
		return;
	pen->section(pen, "LOCKS", NULL);
	for (size_t n = 0; a->deadlock && a->deadlock[n]; n++)
		sayf(pen, PLACE_WARN, "DEADLOCK  %s", a->deadlock[n]);
	for (size_t n = 0; n < MIN(a->lock_count, most); n++) {
		const struct lock *l = &a->lock[n];
		struct buf who;

		buf_init(&who, PARTS_MAX);
		if (l->owner)
			buf_addf(&who, "held by %d%s%s%s", l->owner, l->owner_name ? " \"" : "",
				 l->owner_name ? l->owner_name : "", l->owner_name ? "\"" : "");
		else
			buf_adds(&who, "holder unknown");
		buf_addf(&who, "; %zu wait%s", l->waiter_count, l->waiter_count == 1 ? "s" : "");
		for (size_t k = 0; k < MIN(l->waiter_count, 12u); k++)
			buf_addf(&who, "%s %d", k ? "" : ":", l->waiter[k]);
		if (l->waiter_count > 12)
			buf_addf(&who, " and %zu more", l->waiter_count - 12);
		sayf(pen, PLACE_LINE, "%s  %s", known(l->name), who.data ? who.data : "");
		buf_done(&who);
	}
	if (a->lock_count > most)
		sayf(pen, PLACE_LINE, "... %zu more locks: see incident.json", a->lock_count - most);
}

static void draw_group(const struct incident *i, struct pen *pen, const struct thread_group *g)
{
	const struct thread *t = &i->analysis.thread[g->member[0]];
	struct buf what, tids;

	buf_init(&what, PARTS_MAX);
	buf_init(&tids, PARTS_MAX);
	buf_addf(&what, "%s ", known(t->comm));
	doing(t, &what);
	for (size_t n = 0; n < MIN(g->count, 8u); n++)
		buf_addf(&tids, "%s%d", n ? " " : "", i->analysis.thread[g->member[n]].tid);
	if (g->count > 8)
		buf_addf(&tids, " and %zu more", g->count - 8);
	pen->group(pen, g->count, what.data ? clipped(what.data) : "", tids.data ? tids.data : "");
	draw_stack(pen, t, MAX(pen->frames_most / 4, 4u));
	buf_done(&what);
	buf_done(&tids);
}

static int draw_others(const struct incident *i, struct pen *pen)
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
		sayf(pen, PLACE_LINE, "... %zu more groups with %zu threads: see stacks.txt", count - pen->groups_most,
		     left);
	thread_groups_free(groups, count);
	return 0;
}

/* --- capture --- */

/* Something to paste into a shell: only if no byte of it could do more. */
static bool is_harmless(const char *text)
{
	return text && text[0] &&
	       !text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-")];
}

static void draw_core(const struct incident *i, struct pen *pen)
{
	const struct capture_facts *c = &i->capture;
	const char *program = is_harmless(i->process.exe) ? i->process.exe : "PROGRAM";
	size_t len = c->core_file ? strlen(c->core_file) : 0;

	if (!c->core_file) {
		fieldf(pen, "core", "none");
		return;
	}
	fieldf(pen, "core", "%s, %s%s%s%s%s, %s", c->core_file, c->core_kind == CORE_MINI ? "mini, " : "",
	       word_bytes(c->core_bytes).s, c->core_bytes_on_disk != c->core_bytes ? " (" : "",
	       c->core_bytes_on_disk != c->core_bytes ? word_bytes(c->core_bytes_on_disk).s : "",
	       c->core_bytes_on_disk != c->core_bytes ? " on disk)" : "",
	       c->core_complete ? "complete" : "NOT COMPLETE");
	fieldf(pen, "open it", "reqtrap open %s", i->id);
	if (!is_harmless(c->core_file))
		return;
	if (len > 4 && !strcmp(c->core_file + len - 4, ".zst"))
		fieldf(pen, "or", "zstd -d %s && gdb %s %.*s", c->core_file, program, (int)len - 4, c->core_file);
	else
		fieldf(pen, "or", "gdb %s %s", program, c->core_file);
}

static void draw_capture(const struct incident *i, struct pen *pen)
{
	static const char *const how[] = { "none", "clone: a frozen copy of its memory was read, the process went on",
					   "stop: the process stood still while it was read" };
	const struct capture_facts *c = &i->capture;

	pen->section(pen, "CAPTURE", NULL);
	if (c->method == METHOD_NONE) {
		sayf(pen, PLACE_LINE, "None: %s.", why_no_stacks(i));
		if (c->core_file) /* of a later look */
			draw_core(i, pen);
		return;
	}
	fieldf(pen, "method", "%s", how[c->method]);
	if (c->why_not_clone)
		fieldf(pen, "no clone", "%s", c->why_not_clone);
	fieldf(pen, "pause", "%s; it began %s after the trap, the whole capture took %s", word_duration(c->pause_ns).s,
	       word_duration(c->started_after_ns).s, word_duration(c->wall_ns).s);
	if (c->running_at_snapshot)
		fieldf(pen, "in time", "yes: the request was still running when the threads stood still");
	else
		fieldf(pen, "in time", "%s: the request was over before the threads stood still%s",
		       i->reason == REASON_TIME_TAKEN ? "NO" : "no",
		       i->reason == REASON_STATUS_CODE ? " (a status is known when it is sent)" : "");
	draw_core(i, pen);
	for (size_t n = 0; n < MIN(c->omitted_count, 8u); n++)
		fieldf(pen, n ? "" : "left out", "%s: %s", known(c->omitted[n].range), known(c->omitted[n].why));
	if (c->omitted_count > 8)
		fieldf(pen, "", "and %zu more: see incident.json", c->omitted_count - 8);
	if (c->failed)
		sayf(pen, PLACE_WARN, "capture: %s", c->failed);
}

static void draw_output(const struct action_facts *a, struct pen *pen)
{
	size_t len = a->output ? strlen(a->output) : 0, at = 0, lines = 0, rest = 0;

	while (at < len && lines < pen->output_lines_most && at < 16384) {
		const char *end = memchr(a->output + at, '\n', len - at);
		size_t n = end ? (size_t)(end - a->output) - at : len - at;

		pen->output(pen, a->output + at, MIN(n, (size_t)PAGE_TEXT_MAX));
		rest += n > PAGE_TEXT_MAX ? n - PAGE_TEXT_MAX : 0;
		at += n + 1;
		lines++;
	}
	if (at < len)
		rest += len - at;
	if (rest)
		sayf(pen, PLACE_LINE, "... %zu more bytes of output: see incident.json", rest);
	if (a->output_cut)
		pen->warn(pen, "the command wrote more than is kept");
}

static void draw_action(const struct action_facts *a, struct pen *pen)
{
	struct buf argv;

	if (a->state == ACTION_NONE)
		return;
	pen->section(pen, "ACTION", NULL);
	buf_init(&argv, PARTS_MAX);
	for (size_t n = 0; a->argv && a->argv[n]; n++) {
		bool quote = !a->argv[n][0] || strpbrk(a->argv[n], " \t\n\"'");

		buf_addf(&argv, "%s%s%s%s", n ? " " : "", quote ? "'" : "", a->argv[n], quote ? "'" : "");
	}
	if (argv.len)
		fieldf(pen, "command", "%s", argv.data);
	buf_done(&argv);
	if (a->state == ACTION_RAN)
		fieldf(pen, "result", "exit code %d after %s", a->exit_code, word_duration(a->took_ns).s);
	else if (a->state == ACTION_TIMED_OUT)
		fieldf(pen, "result", "killed at its time limit, after %s%s%s", word_duration(a->took_ns).s,
		       a->why ? ": " : "", a->why ? a->why : "");
	else
		fieldf(pen, "result", "%s%s%s",
		       a->state == ACTION_FAILED  ? "could not be run"
		       : a->state == ACTION_LIMIT ? "not run: limit reached"
						  : "not run: actions are disabled",
		       a->why ? ": " : "", a->why ? a->why : "");
	draw_output(a, pen);
}

/* --- later looks --- */

static bool same_stack(const struct stack *a, const struct stack *b)
{
	if (a->count != b->count)
		return false;
	for (size_t n = 0; n < a->count; n++) {
		if (a->frame[n].pc != b->frame[n].pc || a->frame[n].line != b->frame[n].line ||
		    strcmp(frame_function(&a->frame[n]), frame_function(&b->frame[n])))
			return false;
	}
	return true;
}

static bool same_place(const struct thread *a, const struct thread *b)
{
	return a && a->tid == b->tid && (a->stack.count || a->script.count) && same_stack(&a->stack, &b->stack) &&
	       same_stack(&a->script, &b->script);
}

static void draw_sample(const struct later_look *s, const struct thread *before, struct pen *pen)
{
	const struct thread *t = &s->thread;
	struct buf what;

	buf_init(&what, PARTS_MAX);
	buf_addf(&what, "after %s: ", word_duration(s->at_ns).s);
	if (s->repeat)
		buf_addf(&what, "again, as rule '%s' asks", known(s->rule));
	else
		buf_addf(&what, "rule '%s' fired too (%s)", known(s->rule), reason_name(s->reason));
	if (t->tid) {
		buf_addf(&what, "; %s %d, ", known(t->comm), t->tid);
		doing(t, &what);
		if (same_place(before, t))
			buf_adds(&what, "; the same stack as before");
	}
	sayf(pen, PLACE_LINE, "%s", what.data ? what.data : "");
	buf_done(&what);
	if (s->failed)
		sayf(pen, PLACE_WARN, "no stack: %s", s->failed);
	if (t->tid && !same_place(before, t))
		draw_stack(pen, t, MAX(pen->frames_most / 2, 4u));
}

static void draw_samples(const struct incident *i, struct pen *pen)
{
	const struct thread *before = holder_thread(i);
	char note[128];

	if (!i->sample_count)
		return;
	snprintf(note, sizeof(note), "%s more of the request's thread, while it went on",
		 word_count(i->sample_count).s);
	pen->section(pen, "LATER LOOKS", note);
	for (size_t n = 0; n < i->sample_count; n++) {
		draw_sample(&i->sample[n], before, pen);
		if (i->sample[n].thread.tid)
			before = &i->sample[n].thread;
	}
	for (size_t n = 0; n < i->sample_count; n++)
		draw_action(&i->sample[n].action, pen);
}

/* --- what is missing --- */

static void draw_losses(const struct incident *i, struct pen *pen)
{
	const struct losses *l = &i->losses;
	const struct {
		uint64_t count;
		const char *what;
	} row[] = {
		{ l->events_overwritten,
		  "events of this request overwritten by later ones, so times are lower bounds" },
		{ l->texts_cut, "texts of marks or statements cut" },
		{ l->spans_lost, "spans nested deeper than what is kept" },
		{ l->ring_lost, "records lost between kernel and reqtrap during the watch" },
		{ l->refused, "requests not traced for want of a free slot during the watch" },
		{ l->blind_io, "socket calls whose bytes could not be read (io_uring, splice)" },
	};
	char *const *note = i->analysis.note;
	size_t shown = 0;

	pen->section(pen, "LOST OR LEFT OUT", NULL);
	for (size_t n = 0; n < ARRAY_LEN(row); n++) {
		if (row[n].count)
			sayf(pen, PLACE_WARN, "%s: %s", row[n].what, word_count(row[n].count).s);
		shown += row[n].count != 0;
	}
	if (i->limit_reached && ++shown)
		sayf(pen, PLACE_WARN, "the rule's limit was reached: logged only, capture and action not run%s%s",
		     i->suppressed ? ": " : "", i->suppressed ? i->suppressed : "");
	else if (i->suppressed && ++shown)
		sayf(pen, PLACE_WARN, "not captured: %s", i->suppressed);
	if (i->capture.core_file && !i->capture.core_complete && ++shown)
		pen->warn(pen, "the core does not hold everything that was asked for");
	if (i->request.head_cut && ++shown)
		pen->warn(pen, "the request's head was longer than what is kept");
	if (i->analysis.failed && ++shown)
		sayf(pen, PLACE_WARN, "analysis: %s", i->analysis.failed);
	for (size_t n = 0; note && note[n]; n++, shown++)
		sayf(pen, PLACE_WARN, "%s", note[n]);
	if (!shown)
		pen->line(pen, "Nothing that is known of.");
}

static int draw_trace(const struct incident *i, struct pen *pen)
{
	struct event_rows rows = { 0 };
	char note[256];
	int r = event_rows_make(i, pen->events_most, &rows);

	if (r < 0)
		return r;
	snprintf(note, sizeof(note), "%s event%s; milliseconds after the first byte", word_count(i->trace_count).s,
		 word_plural(i->trace_count));
	pen->section(pen, "TRACE", note);
	if (!rows.count)
		pen->line(pen, "No events.");
	for (size_t n = 0; n < rows.count; n++)
		pen->event(pen, &rows.row[n]);
	event_rows_free(&rows);
	return 0;
}

int page_draw(const struct incident *incident, struct pen *pen, struct err *err)
{
	int r;

	pen->head(pen, incident);
	draw_request(incident, pen);
	r = draw_time(incident, pen);
	if (r == 0) {
		draw_holder(incident, pen);
		draw_locks(incident, pen);
		r = draw_others(incident, pen);
	}
	if (r == 0) {
		draw_capture(incident, pen);
		draw_action(&incident->action, pen);
		draw_samples(incident, pen);
		draw_losses(incident, pen);
		r = draw_trace(incident, pen);
	}
	return r < 0 ? err_sys(err, r, "cannot draw the page of incident '%s'", incident->id) : 0;
}
