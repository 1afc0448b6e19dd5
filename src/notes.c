// SPDX-License-Identifier: MIT
/* Trap: the page is written while it is copied, and its texts are the application's:
 * every length and index is checked, and whoever prints escapes. */
#include "notes.h"

#include <string.h>

static void note_words(const struct note *note, const struct profile_row *row, const struct areas *areas,
		       struct trace_event *t)
{
	char text[NOTE_TEXT], masked[NOTE_TEXT];
	bool own = row->area == AREA_MARK;

	memcpy(text, note->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	if (row->area == AREA_QUERY && areas_least(areas, AREA_QUERY) < SEVERITY_VERBOSE) {
		profile_mask(text, masked, sizeof(masked));
		memcpy(text, masked, sizeof(text));
	}
	text_set(&t->kind, own && note->flags & NOTE_SPAN ? "span" : area_name(row->area));
	if (note->flags & NOTE_UNREAD)
		text_setf(&t->name, "%s%s(text not in memory)", own ? "" : row->label, own ? "" : " ");
	else if (text[0])
		text_setf(&t->name, "%s%s%s%s", own ? "" : row->label, own ? "" : " ", text,
			  note->flags & NOTE_CUT ? "... (cut)" : "");
	else
		text_set(&t->name, row->label);
	if (note->flags & NOTE_NUMBER && (note->number || !own))
		text_setf(&t->detail, "%lld%s", (long long)(int64_t)note->number,
			  note->flags & NOTE_OPEN ? ", still open" : "");
	else if (note->flags & NOTE_OPEN)
		text_set(&t->detail, "still open");
}

void notes_trace(const struct notes *notes, pid_t pid, uint64_t origin_ns, uint64_t copied_ns,
		 const struct areas *areas, struct incident *incident)
{
	uint32_t kept = MIN(notes->count, (uint32_t)NOTES);

	if (notes->count > NOTES)
		incident->losses.events_overwritten += notes->count - NOTES;
	incident->losses.texts_cut += notes->cut;
	incident->losses.spans_lost += notes->lost;
	for (uint32_t i = 0; i < kept; i++) {
		const struct note *note = &notes->note[i];
		struct trace_event *t;

		if (!note->at_ns || note->row >= profile_row_count)
			continue;
		t = list_add(&incident->trace, &incident->trace_count, sizeof(*t));
		if (!t)
			return;
		t->at_ns = note->at_ns > origin_ns ? note->at_ns - origin_ns : 0;
		t->dur_ns = note->dur_ns;
		if (note->flags & NOTE_OPEN)
			t->dur_ns = copied_ns > note->at_ns ? copied_ns - note->at_ns : 1;
		t->pid = pid;
		t->tid = (pid_t)note->tid;
		t->count = 1;
		t->severity = MIN(note->severity, (uint8_t)SEVERITY_VERBOSE);
		note_words(note, &profile_rows[note->row], areas, t);
	}
}

/* A line's area, for those that have no probes. */
static const struct {
	const char *kind, *name; /* NULL: any */
	enum area area;
} usual[] = {
	{ "recv", NULL, AREA_SOCKET },	      { "send", NULL, AREA_SOCKET },	  { "call", NULL, AREA_UPSTREAM },
	{ "wait", "futex", AREA_LOCK },	      { "wait", "flock", AREA_LOCK },	  { "wait", "openat", AREA_FILE },
	{ "wait", "fsync", AREA_FILE },	      { "wait", "fdatasync", AREA_FILE }, { "wait", "pread64", AREA_FILE },
	{ "wait", "pwrite64", AREA_FILE },    { "wait", "wait4", AREA_PROCESS },  { "wait", "waitid", AREA_PROCESS },
	{ "wait", "page fault", AREA_FAULT },
};

static bool hidden(const struct areas *areas, const struct trace_event *e)
{
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (e->kind && !strcmp(e->kind, usual[i].kind) &&
		    (!usual[i].name || (e->name && !strcmp(e->name, usual[i].name))))
			return areas_least(areas, usual[i].area) == SEVERITY_NONE;
	}
	return false;
}

void notes_hide(const struct areas *areas, struct incident *incident)
{
	size_t kept = 0;

	for (size_t i = 0; i < incident->trace_count; i++) {
		struct trace_event *e = &incident->trace[i];

		if (!hidden(areas, e)) {
			incident->trace[kept++] = *e;
			continue;
		}
		free(e->kind);
		free(e->name);
		free(e->detail);
	}
	incident->trace_count = kept;
}
