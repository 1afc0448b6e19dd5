/* SPDX-License-Identifier: MIT */
/* An ELF64 core file as gdb, lldb and elfutils read it. Given threads, segments and
 * where their bytes come from, streams it into a sink. Stops nothing, knows no process.
 * Memory: one buffer, however many threads and segments there are. */
#ifndef REQTRAP_CORE_H
#define REQTRAP_CORE_H

#include "arch.h"
#include "memory.h"
#include "pages.h"
#include "sink.h"
#include "spool.h"

#include <signal.h>
#include <sys/procfs.h>

#define CORE_NOTE_TEXT 0x52540001u /* type of our own note: no number that others use */

/* Where a segment's bytes come from. */
struct core_source {
	struct memory memory;
	struct pages pages;	/* .next NULL: every page is read */
	const char *unreadable; /* why pages of it may fail to be read; NULL: they should not */
};

struct core_segment {
	uint64_t start, end;
	uint64_t data_end; /* [start, data_end) is in the file, absent pages as zeros */
	uint32_t flags;	   /* PF_R PF_W PF_X */
	const struct core_source *source;
};

#define CORE_BLOCK 64

struct core_notes; /* where notes go */

struct core {
	/* set by the caller: gives all notes, by the calls below. Asked twice, for their
	 * length first: both times the same notes of the same lengths must come. */
	int (*notes)(void *arg, struct core_notes *notes);
	void *notes_arg;

	size_t count; /* of segments */

	/* inside */
	struct core_segment block[CORE_BLOCK]; /* from 'from' on; all the others are in the spool */
	size_t from;
	struct spool segments;
};

/* What the process is, for NT_PRPSINFO. */
struct core_process {
	pid_t pid, ppid, pgrp, session;
	uid_t uid;
	gid_t gid;
	char state;
	int nice;
	unsigned long flags;
	char comm[17];
	char args[81];
	siginfo_t siginfo; /* of the first thread's signal; zeros: none */
};

struct core_thread {
	pid_t tid;
	const struct user_regs_struct *regs;
	const uint8_t *xstate; /* NULL: not known */
	size_t xstate_len;
	uint64_t sigpend, sighold;
	int signal; /* that the first thread is about to get, 0 none */
};

void core_init(struct core *core);
void core_done(struct core *core);

/* Notes go into the file in the order of the calls: the thread that a debugger is to
 * show first comes first, right after it the process. */
void core_add_thread(struct core_notes *notes, const struct core_process *process, const struct core_thread *thread);
void core_add_process(struct core_notes *notes, const struct core_process *process, const void *auxv, size_t auxv_len,
		      const struct proc_maps *maps);
void core_add_text(struct core_notes *notes, const char *text, size_t len); /* our own note, 'REQTRAP' */

uint32_t core_flags(const struct proc_map *map); /* of a segment: PF_R PF_W PF_X */

/* Ascending addresses. What 'segment' points to must outlive the core. -ENOMEM, -ENOSPC. */
int core_add_segment(struct core *core, const struct core_segment *segment);

/* Told of pages that could not be read (they are zeros in the file) and asked now
 * and then whether to go on: a negative return ends the writing with that code. */
struct core_watch {
	void (*unread)(void *arg, uint64_t start, uint64_t end, const char *why);
	int (*go_on)(void *arg, uint64_t done_bytes, struct err *err);
	void *arg;
};

/* Once; whatever the notes, the sink or go_on return. */
int core_write(struct core *core, struct sink *sink, const struct core_watch *watch, struct err *err);

#endif
