/* SPDX-License-Identifier: MIT */
/* A copied page of notes into lines of the incident's trace. Pure. */
#ifndef REQTRAP_NOTES_H
#define REQTRAP_NOTES_H

#include "incident.h"
#include "note.h"
#include "profile.h"

/* pid: of the process whose threads noted. copied_ns: when the copy was made; a span
 * that was open then is shown up to it. areas: statements are shown with their values
 * only at 'query=verbose'. What was overwritten is added to the losses. */
void notes_trace(const struct notes *notes, pid_t pid, uint64_t origin_ns, uint64_t copied_ns,
		 const struct areas *areas, struct incident *incident);

/* Takes lines of areas that are off out of the trace: of what always runs they were
 * recorded all the same, for the time spent is their sum. */
void notes_hide(const struct areas *areas, struct incident *incident);

#endif
