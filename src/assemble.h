/* SPDX-License-Identifier: MIT */
/* Puts a core together: which thread comes first, which mappings go in and from
 * where, what is left out and why. Reads the frozen memory and /proc; writes nothing. */
#ifndef REQTRAP_ASSEMBLE_H
#define REQTRAP_ASSEMBLE_H

#include "core.h"
#include "freeze.h"
#include "mini.h"
#include "side.h"

/* Of the process as a whole. */
struct assembly_about {
	struct core_process process;
	char *auxv; /* owned */
	size_t auxv_len;
};

struct assembly {
	/* given by the caller */
	const struct proc *proc;
	const struct assembly_about *about;
	struct freeze *freeze;
	const struct proc_maps *before; /* from before the stop: those with flags */
	struct proc_maps *frozen;	/* of the frozen memory; gets what only 'before' knows */
	struct side *side;
	struct mini *mini;	/* a mini core, of what this one holds; else NULL */
	bool flags_known;	/* ... with the flags of 'before' */
	bool cloned;		/* the frozen memory is a clone: shared pages are not in it */
	int mem_fd, pagemap_fd; /* the frozen memory */
	unsigned int filter;	/* coredump_filter */
	pid_t holder_tid;
	const siginfo_t *siginfo; /* the signal that the holder stands before, NULL: none */
	void (*omit)(void *arg, uint64_t start, uint64_t end, const char *name, const char *why, bool lost);
	void *omit_arg;

	/* result */
	struct core core;
	uint64_t in_files_bytes;

	/* inside */
	struct pages_cache pages;
	struct core_source present, every;
	struct core_process process;
	struct freeze_thread *first; /* as counted */
	bool counted;
	const char *text;
	size_t text_len;
};

/* Before the stop: when the core is written the process may be gone, its name too. */
void assemble_look(const struct proc *proc, struct assembly_about *ret_about);
void assembly_about_done(struct assembly_about *about);

/* The segments, and what is left out. Pointers given must outlive the assembly. */
int assemble(struct assembly *assembly, struct err *err);

/* Then the notes; text: our own one, which must outlive the assembly. assembly->core
 * is ready then. */
void assemble_notes(struct assembly *assembly, const char *text, size_t len);
void assembly_done(struct assembly *assembly);

unsigned int assemble_filter(int proc_dir_fd); /* /proc/PID/coredump_filter */

#endif
