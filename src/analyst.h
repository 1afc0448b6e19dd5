/* SPDX-License-Identifier: MIT */
/* The analyst: this binary re-executed with the hidden verb '--analyst', without
 * privileges, with rlimits and a seccomp filter. It alone parses ELF, DWARF and
 * interpreter memory: all hostile. It may die or hang: that costs the analysis,
 * never the dump. This header has the parent's side and the messages that the dump
 * worker sends it over a SOCK_SEQPACKET pair, so that DUMP and UNDERSTAND share no
 * code but this contract.
 *
 *   PREPARE  before the stop: the text of /proc/PID/maps in a memfd, and read-only
 *            fds of the target's mapped ELF files (analyst_file rows say which); the
 *            target's /proc/PID/mem is the first fd. Several messages, 'more' set on
 *            all but the last. The analyst opens nothing itself.
 *   PREPARED analyst to worker: symbols that the language readers need are found.
 *            The worker waits for it at most ANALYST_PREPARE_NS, then goes on; not at
 *            all when there will be a frozen copy.
 *   GO       threads stand still: the capture (capture.h) in a memfd, and, if there
 *            is a frozen copy, its /proc/PID/mem. 'live' says that the target itself
 *            stands still until MEMORY_DONE.
 *   MEMORY_DONE analyst to worker: no more reads of memory that may change or go.
 *            With 'live' the worker waits for it at most ANALYST_LIVE_NS, with a
 *            frozen copy until the core is written or ANALYST_COPY_NS is over.
 *   READ     analyst to whoever plays the worker over a core file ('served' in GO): one
 *            page of memory, answered by an analyst_page. Until MEMORY_DONE.
 *   FAILED   worker to analyst: there will be no GO; text says why.
 * With 'has_envoy' GO brings a stream as well: what the process itself says of its threads
 * once it runs again, asked by the envoy (envoy.h): an analyst_told, then text to its end.
 * The answer, an 'analysis' as JSON (facts.h), goes to the parent's pipe. */
#ifndef REQTRAP_ANALYST_H
#define REQTRAP_ANALYST_H

#include "err.h"
#include "incident.h"

#define ANALYST_PREPARE_NS 200000000ull
#define ANALYST_LIVE_NS 20000000ull
#define ANALYST_COPY_NS 5000000000ull
#define ANALYST_FILES_MAX 64 /* ELF files in one PREPARE message */

enum analyst_message_type {
	ANALYST_PREPARE = 1,
	ANALYST_PREPARED,
	ANALYST_GO,
	ANALYST_MEMORY_DONE,
	ANALYST_FAILED,
	ANALYST_READ,
};

/* The fixed part of each message; fds come by SCM_RIGHTS in the order given above:
 * PREPARE: [mem (first message only)] [maps memfd (first message only)] files...
 * GO: capture memfd [copy mem] [envoy's stream]. */
struct analyst_message {
	uint32_t type;
	int32_t pid;
	uint32_t more;
	uint32_t live;
	uint32_t has_copy;
	uint32_t served;    /* GO: memory is asked for, page by page */
	uint32_t arguments; /* GO: what functions were called with is wanted, too */
	uint32_t file_count;
	uint32_t has_envoy;
	uint64_t addr; /* READ: of a page; the answer is an analyst_page */
	struct analyst_file {
		uint64_t dev_major, dev_minor, inode; /* as in maps: which mappings this file is */
	} file[ANALYST_FILES_MAX];
	char text[256];
};

#define ANALYST_PAGE_BYTES 4096

/* The answer to READ: as much of the page as there is. */
struct analyst_page {
	uint64_t addr;
	uint64_t len;
	uint8_t data[ANALYST_PAGE_BYTES];
};

#define ANALYST_TOLD_MAX (32u << 20) /* bytes of text */

struct analyst_told {
	uint64_t size;	   /* of this struct: a check */
	uint64_t asked_ns; /* CLOCK_MONOTONIC */
	uint64_t first_ns; /* from then to the first byte of the answer */
	uint32_t cut;	   /* the text is longer */
	char why[236];	   /* '': it follows; else why not */
};

struct analyst; /* a running one */

/* Starts one, waiting for PREPARE on 'ret_worker_fd', the other end of which is
 * the analyst's: pass it to dump_start and close it. Blocks for the exec only. */
int analyst_start(int *ret_worker_fd, struct analyst **ret_analyst, struct err *err);

/* The pipe with its answer: readable as it writes, end of file when done. For an
 * epoll loop; call analyst_read at each event until it says other than -EAGAIN. */
int analyst_fd(const struct analyst *analyst);

/* Takes what there is. -EAGAIN: not finished. Otherwise 0 with ret_analysis filled
 * (its 'failed' set if the analyst died, was stuck or sent nonsense) and the
 * analyst freed. */
int analyst_read(struct analyst *analyst, bool block, struct analysis *ret_analysis);

/* Kills it; analyst_read must follow, and gives an analysis that failed with 'why'. */
void analyst_cancel(struct analyst *analyst, const char *why);

/* Entry of the hidden verb '--analyst': fd 3 the worker's socket, fd 4 the answer. */
int analyst_main(int argc, char **argv);

#endif
