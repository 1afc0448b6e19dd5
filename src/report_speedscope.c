// SPDX-License-Identifier: MIT
/* For speedscope: what each thread of the trace did, as profiles in nanoseconds, and the
 * stacks of the snapshot, as a profile in which each thread counts one. Trap: the format
 * wants events that nest and never go back in time; spans_make sees to that. */
#include "report.h"

#include "facts.h"
#include "report_spans.h"
#include "report_words.h"

#include <inttypes.h>
#include <string.h>

struct scope {
	const struct incident *incident;
	struct buf *out;   /* the profiles */
	struct buf frames; /* the list that they share */
	size_t frame_count, profile_count;
};

static size_t add_frame(struct scope *s, const char *name, const char *file, uint32_t line)
{
	buf_adds(&s->frames, s->frame_count ? ",\n{\"name\":" : "\n{\"name\":");
	facts_add_string(&s->frames, name && name[0] ? name : "?");
	if (file) {
		buf_adds(&s->frames, ",\"file\":");
		facts_add_string(&s->frames, file);
	}
	if (file && line)
		buf_addf(&s->frames, ",\"line\":%u", line);
	buf_adds(&s->frames, "}");
	return s->frame_count++;
}

static void begin_profile(struct scope *s, const char *type, const char *name, const char *unit, uint64_t end)
{
	buf_addf(s->out, "%s{\"type\":\"%s\",\"name\":", s->profile_count++ ? ",\n" : "\n", type);
	facts_add_string(s->out, name);
	buf_addf(s->out, ",\"unit\":\"%s\",\"startValue\":0,\"endValue\":%" PRIu64, unit, end);
}

/* --- the trace --- */

static void add_mark(struct scope *s, bool *first, char type, uint64_t at, size_t frame)
{
	buf_addf(s->out, "%s{\"type\":\"%c\",\"at\":%" PRIu64 ",\"frame\":%zu}", *first ? "" : ",\n", type, at, frame);
	*first = false;
}

static size_t span_frame(struct scope *s, const struct span *span)
{
	const struct trace_event *e = span->event;
	char *name = NULL;
	size_t frame;

	text_setf(&name, "%s%s%s%s%s", e->kind ? e->kind : "?", e->name ? " " : "", e->name ? e->name : "",
		  e->detail ? ": " : "", e->detail ? e->detail : "");
	frame = add_frame(s, name, NULL, 0);
	free(name);
	return frame;
}

static const char *thread_comm(const struct incident *i, pid_t tid)
{
	for (size_t n = 0; n < i->chain_count; n++) {
		if (i->chain[n].tid == tid || (!i->chain[n].tid && i->chain[n].pid == tid))
			return i->chain[n].process;
	}
	return tid == i->holder_tid ? i->process.comm : NULL;
}

/* The spans of one thread inside a frame for the whole. */
static int add_thread(struct scope *s, const struct span *span, size_t count)
{
	CLEAN(free) size_t *open = calloc(count + 2, sizeof(*open)), *frame = calloc(count + 2, sizeof(*frame));
	const struct incident *i = s->incident;
	const char *comm = thread_comm(i, span[0].tid);
	uint64_t end = i->ended ? i->time_taken_ns : i->elapsed_ns;
	size_t depth = 0, whole;
	bool first = true;
	char *name = NULL;

	if (!open || !frame)
		return -ENOMEM;
	for (size_t n = 0; n < count; n++)
		end = MAX(end, span[n].end_ns);
	text_setf(&name, "%s %d", comm ? comm : "thread", span[0].tid);
	begin_profile(s, "evented", name, "nanoseconds", end);
	free(name);
	buf_adds(s->out, ",\"events\":[\n");
	name = NULL;
	text_setf(&name, "%s %s", i->request.method ? i->request.method : "?", i->request.url ? i->request.url : "?");
	whole = add_frame(s, name, NULL, 0);
	free(name);
	add_mark(s, &first, 'O', 0, whole);
	for (size_t n = 0; n < count; n++) {
		while (depth && span[open[depth - 1]].end_ns <= span[n].at_ns) {
			depth--;
			add_mark(s, &first, 'C', span[open[depth]].end_ns, frame[open[depth]]);
		}
		frame[n] = span_frame(s, &span[n]);
		add_mark(s, &first, 'O', span[n].at_ns, frame[n]);
		open[depth++] = n;
	}
	while (depth) {
		depth--;
		add_mark(s, &first, 'C', span[open[depth]].end_ns, frame[open[depth]]);
	}
	add_mark(s, &first, 'C', end, whole);
	buf_adds(s->out, "\n]}");
	return 0;
}

static int add_trace(struct scope *s)
{
	struct span *span = NULL;
	size_t count = 0;
	int r = spans_make(s->incident, &span, &count);

	for (size_t n = 0, same; r == 0 && n < count; n += same) {
		for (same = 1; n + same < count && span[n + same].tid == span[n].tid;)
			same++;
		r = add_thread(s, &span[n], same);
	}
	free(span);
	return r;
}

/* --- stacks --- */

static int add_stack(struct scope *s, struct buf *samples, size_t *count, const struct thread *t)
{
	CLEAN(free) const struct frame **path = NULL;
	char *name = NULL;
	size_t frames;
	int r = stack_path(t, &path, &frames);

	if (r < 0 || !frames)
		return r;
	text_setf(&name, "%s %d%s", t->comm ? t->comm : "thread", t->tid, t->holder ? " holds the request" : "");
	buf_addf(samples, "%s[%zu", (*count)++ ? ",\n" : "\n", add_frame(s, name, NULL, 0));
	free(name);
	for (size_t n = 0; n < frames; n++) {
		const struct frame *f = path[n];

		buf_addf(samples, ",%zu",
			 add_frame(s, frame_function(f), f->file ? f->file : f->module, f->file ? f->line : 0));
	}
	buf_adds(samples, "]");
	return 0;
}

static int add_snapshot(struct scope *s)
{
	const struct analysis *a = &s->incident->analysis;
	struct buf samples;
	size_t count = 0;
	int r = 0;

	buf_init(&samples, REPORT_BYTES_MAX);
	for (size_t n = 0; r == 0 && n < a->thread_count; n++)
		r = add_stack(s, &samples, &count, &a->thread[n]);
	if (r == 0 && count) {
		begin_profile(s, "sampled", "all threads at the snapshot", "none", count);
		buf_adds(s->out, ",\"samples\":[");
		buf_adds(s->out, samples.data);
		buf_adds(s->out, "],\"weights\":[");
		for (size_t n = 0; n < count; n++)
			buf_adds(s->out, n ? ",1" : "1");
		buf_adds(s->out, "]}");
	}
	s->out->full |= samples.full;
	buf_done(&samples);
	return r;
}

int report_speedscope(const struct incident *incident, struct buf *out, struct err *err)
{
	struct buf profiles;
	struct scope s = { .incident = incident, .out = &profiles };
	char *name = NULL;
	int r;

	buf_init(&profiles, out->max);
	buf_init(&s.frames, out->max);
	r = add_trace(&s);
	if (r == 0)
		r = add_snapshot(&s);
	text_setf(&name, "%s %s #%s", incident->request.method ? incident->request.method : "?",
		  incident->request.url ? incident->request.url : "?", incident->id);
	buf_adds(
		out,
		"{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"reqtrap\",\"name\":");
	facts_add_string(out, name);
	free(name);
	buf_adds(out, ",\"shared\":{\"frames\":[");
	buf_add(out, s.frames.data ? s.frames.data : "", s.frames.len);
	buf_adds(out, "]},\n\"profiles\":[");
	buf_add(out, profiles.data ? profiles.data : "", profiles.len);
	buf_adds(out, "]}\n");
	out->full |= profiles.full || s.frames.full;
	buf_done(&s.frames);
	buf_done(&profiles);
	return r < 0 ? err_sys(err, r, "cannot make the profiles") : report_done(out, "speedscope", err);
}
