/* SPDX-License-Identifier: MIT */
/* The opt-in programs: load, attach to processes, look at what was noted. Private to
 * the tracer. Probes hang on descriptors of ours alone, each for one process: they go
 * when that process, its area or we go. Attaching takes milliseconds a probe. */
#ifndef REQTRAP_TRACER_APP_H
#define REQTRAP_TRACER_APP_H

#include "err.h"
#include "profile.h"

#include <sys/types.h>

struct tracer_app;

struct tracer_app_config {
	struct areas areas;
	int slots_fd, threads_fd, ring_fd, per_cpu_fd; /* maps of requests.bpf.c, the caller's */
	uint32_t slot_count;
	void (*tell)(void *arg, const char *text); /* a probe that was refused; the watch goes on */
	void *arg;
};

/* -ENOTSUP when the kernel cannot attach a probe without tracefs. */
int tracer_app_open(const struct tracer_app_config *config, struct tracer_app **ret_app, struct err *err);
void tracer_app_close(struct tracer_app *app);

/* Reads /proc/PID/maps. What was probed already is left as it is: to be called again
 * for libraries that were loaded later. */
void tracer_app_attach(struct tracer_app *app, pid_t pid);
void tracer_app_detach(struct tracer_app *app, pid_t pid);

bool tracer_app_notes(const struct tracer_app *app, uint32_t index, uint64_t gen, struct notes *ret_notes);

/* RECORD_MARK for marks so grave; 0: for none. Those are seen while the rest rests. */
void tracer_app_fires(struct tracer_app *app, enum severity severity);

/* Takes all probes away until it is called again with false (then the tracepoints come back
 * at once, the probes with tracer_app_attach). */
void tracer_app_rest(struct tracer_app *app, bool rest);
uint64_t tracer_app_spent(const struct tracer_app *app); /* run time so far, and the traps into the kernel */

struct area_total {
	uint64_t probes;   /* attached now */
	uint64_t runs, ns; /* of the BPF programs; the trap into the kernel comes on top */
	struct area_count count;
	bool on;
};

void tracer_app_totals(const struct tracer_app *app, struct area_total ret_totals[AREA_COUNT]);

#endif
