// SPDX-License-Identifier: MIT
/* The key is in words, so that it can be shown as the reason. Rejected: the sentence of the
 * verdict with its numbers taken out (it names objects whose names have no number). Trap: two
 * looks into one loop stand on different lines, two visitors have two session files. */
#include "alike.h"

#include "cause.h"

#include <string.h>

/* 'load_session() in /srv/lib/session.php' */
static void put_where(struct buf *out, const struct thread *t)
{
	const struct stack *script = t ? &t->script : NULL;
	const struct frame *f = script && script->count ? own_frame(script) : native_frame(t);

	if (!f)
		return;
	if (script && script->count)
		put_function(out, f);
	else
		buf_adds(out, f->function);
	if (f->file || f->module)
		buf_addf(out, " in %s", f->file ? f->file : f->module);
}

static void put_folder(struct buf *out, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash)
		buf_addf(out, "a file in %.*s", (int)MAX(slash - path, 1), path);
	else
		buf_adds(out, "a file");
}

/* What several requests may have in common of an object. */
static void put_sort(struct buf *out, const char *object)
{
	struct buf plain;
	const char *text, *to;

	buf_init(&plain, PIECE_MAX);
	put_object(&plain, object); /* without its descriptor */
	text = plain.data ? plain.data : "";
	to = strstr(text, " -> ");
	if (to)
		buf_addf(out, "%.*s %s", (int)strcspn(text, " "), text, to + 4);
	else if (starts(text, "file "))
		put_folder(out, text + strlen("file "));
	else if (starts(text, CALLED) || starts(text, "unix:"))
		buf_adds(out, text);
	else
		buf_addf(out, "%.*s", (int)strcspn(text, "0123456789(\""), text);
	while (out->len && out->data[out->len - 1] == ' ')
		out->data[--out->len] = '\0';
	buf_done(&plain);
}

static void put_wait(struct buf *out, const struct view *v)
{
	static const char *const word[] = { "on CPU",	      "ready to run without a CPU", NULL, "not attributed",
					    "behind another", "in its event loop" };
	const char *call = v->call;

	if (v->top && word[v->top->kind]) {
		buf_adds(out, word[v->top->kind]);
		return;
	}
	if (!call && !v->object) {
		buf_adds(out, v->t ? "on CPU" : "not known");
		return;
	}
	buf_adds(out, "waiting");
	if (call)
		buf_addf(out, " in %s", call);
	if (v->object && starts(v->object, QUEUED))
		buf_addf(out, " %s", v->object);
	else if (v->object) {
		buf_adds(out, " for ");
		if (test_client(v))
			buf_adds(out, "its client");
		else
			put_sort(out, v->object);
	}
}

void alike_of(const struct incident *incident, struct alike *ret)
{
	struct view v = view_of(incident);
	struct buf place, wait;

	*ret = (struct alike){ .cause = NULL };
	text_set(&ret->cause, incident->cause ? incident->cause : "unknown");
	buf_init(&place, PIECE_MAX);
	buf_init(&wait, PIECE_MAX);
	if (incident->capture.running_at_snapshot || v.agrees)
		put_where(&place, v.t);
	if (place.len)
		text_set(&ret->place, place.data);
	put_wait(&wait, &v);
	text_set(&ret->wait, wait.data);
	buf_done(&place);
	buf_done(&wait);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool alike_same(const struct alike *a, const struct alike *b)
{
	return same(a->cause, b->cause) && same(a->place, b->place) && same(a->wait, b->wait);
}

void alike_done(struct alike *alike)
{
	free(alike->cause);
	free(alike->place);
	free(alike->wait);
	*alike = (struct alike){ .cause = NULL };
}
