// SPDX-License-Identifier: MIT
/* The life of one dump: order, look, stop, copy, go, write, tidy, result. All that can
 * be done before the stop or after it is. Rejected: one process for many dumps: a
 * thread that cannot stop is let go by our exit only. Trap: we may be stopped
 * ourselves: a watchdog then kills us, and the kernel lets the target go. */
#include "analyst.h"
#include "assemble.h"
#include "boost.h"
#include "briefing.h"
#include "contents.h"
#include "dump.h"
#include "ktime.h"
#include "parcel.h"
#include "plan.h"
#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MINI_NS (20 * NSEC_PER_MSEC)		  /* for references, where no budget says more */
#define MINI_MAPS 4096				  /* more are read when the process runs again */
#define STOP_WAIT_NS (100 * NSEC_PER_MSEC)	  /* for threads to stop, where no budget says less ... */
#define STOP_WAIT_THREAD_NS (100 * NSEC_PER_USEC) /* ... and for each of them */
#define CLONE_OVER_NS (50 * NSEC_PER_MSEC)
#define WATCHDOG_NS NSEC_PER_SEC
#define PROGRESS_NS (200 * NSEC_PER_MSEC)
#define TARGET_GONE_NS (100 * NSEC_PER_MSEC) /* a copy of a dead process may live on for so long */
#define CRASH_GONE_NS (10 * NSEC_PER_SEC)    /* ... of one that was waited for */

/* --- what is told --- */

void worker_tell(struct worker *w, uint32_t stage, pid_t child)
{
	struct worker_note note = { .stage = stage, .child = child, .done = w->done_bytes, .total = w->cost.bytes };

	send(WORKER_FD_PARENT, &note, sizeof(note), MSG_NOSIGNAL | MSG_DONTWAIT);
	w->told_ns = now_ns();
	w->stage = stage;
}

void worker_forget_file(const struct worker *w, unsigned int number)
{
	char name[sizeof(w->order.file) + 16];

	dump_part(name, sizeof(name), w->order.file, number);
	unlinkat(w->dir_fd, name, 0);
}

void worker_answer(struct worker *w)
{
	struct dump_result *result = &w->result;
	ssize_t n;

	result->wall_ns = now_ns() - (w->fired_ns ? w->fired_ns : w->start_ns);
	result->peak_bytes = proc_peak_bytes();
	do
		n = send(WORKER_FD_PARENT, result, sizeof(*result), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && result->core_bytes) /* nobody is there to give it a name */
		worker_forget_file(w, w->number);
}

static int no_core(struct worker *w, int code)
{
	w->core_code = code;
	sink_abort(w->sink);
	w->sink = NULL;
	return code;
}

/* --- the stop --- */

static void let_go(struct worker *w)
{
	freeze_thaw(&w->freeze);
	envoy_start(&w->envoy, &w->proc);
	w->result.pause_ns += w->freeze.thaw_ns - (w->fired_ns ? w->fired_ns : w->freeze.stop_ns);
}

static uint64_t stop_wait(const struct worker *w)
{
	return STOP_WAIT_NS + w->status.threads * STOP_WAIT_THREAD_NS;
}

static uint64_t longest_stop(const struct worker *w)
{
	uint64_t budget = w->order.pause_budget_ns;

	if (w->sink && !w->clone && !budget && !(w->order.kinds & DUMP_MINI))
		return w->hold_until_ns ? w->hold_until_ns - MIN(now_ns(), w->hold_until_ns) + WATCHDOG_NS
					: 0; /* as long as it takes: that was asked for */
	if (w->sink && w->clone)
		budget = MAX(budget, 4 * w->cost.clone_ns);
	return MAX(budget, stop_wait(w)) + WATCHDOG_NS;
}

/* A clone given up costs more than its end: a dead child, until that is reaped. So one
 * that is under way gets a little more than the budget. */
static uint64_t clone_wait(const struct worker *w)
{
	uint64_t budget = w->order.pause_budget_ns, spent = now_ns() - w->freeze.stop_ns;

	if (!budget || w->status.state == 'T')
		return MAX(2 * w->cost.clone_ns, NSEC_PER_SEC);
	return budget - MIN(budget, spent) + CLONE_OVER_NS;
}

/* In the stop: the clone. Falls back to stop-and-copy where that is allowed. */
static int make_copy(struct worker *w, struct err *err)
{
	struct dump_result *result = &w->result;
	int r;

	if (w->side.copy_cap)
		side_copy(&w->side);
	r = snapshot_take(&w->snapshot, &w->freeze, clone_wait(w), result->why_not_clone,
			  sizeof(result->why_not_clone));
	if (r == 0) {
		result->method = METHOD_CLONE;
		return 0;
	}
	if (r == -ETIMEDOUT) {
		w->left.name[0] = '\0'; /* the entry stays, for the next one of us */
		w->snapshot.child = 0;	/* nothing is waited for: it ends by its own frame */
		return err_say(err, r, "the copying of process %d was given up after %.3g ms: %s", w->order.pid,
			       ns_to_ms(now_ns() - w->freeze.stop_ns), result->why_not_clone);
	}
	worker_tell(w, WORKER_NONE, 0);
	w->clone = false;
	freeze_longest(&w->freeze, longest_stop(w));
	if (w->order.snapshot == SNAPSHOT_CLONE)
		no_core(w, err_say(&w->core_err, -EOPNOTSUPP, "process %d cannot be copied while it runs: %s",
				   w->order.pid, result->why_not_clone));
	else if ((r = plan_allowed_stop(w, &w->core_err)) < 0)
		no_core(w, r);
	return 0;
}

static int stop(struct worker *w, struct err *err)
{
	uint64_t budget = w->order.pause_budget_ns, wait_ns = budget ? MIN(budget, stop_wait(w)) : stop_wait(w);
	struct dump_result *result = &w->result;
	int r;

	w->freeze.later = w->sink && w->clone;
	if (w->freeze.later)
		worker_tell(w, WORKER_CLONING, 0); /* soon: in the stop it would take its time */
	r = freeze_stop(&w->freeze, 0, wait_ns, err);
	result->stop_ns = w->freeze.stop_ns;
	if (r == 0 && !proc_program_same(w->proc.dir_fd, &w->program))
		/* All that was looked at before the stop is of a program that is no more. */
		r = err_say(err, -ESTALE, "process %d has become another program (exec) as its dump began: try again",
			    w->order.pid);
	if (r < 0 && w->freeze.later)
		worker_tell(w, WORKER_NONE, 0);
	if (r < 0)
		return r;
	result->taken_ns = w->freeze.taken_ns;
	result->method = METHOD_STOP;
	result->threads_not_stopped = (uint32_t)w->freeze.running;
	if (w->sink && w->clone)
		r = make_copy(w, err);
	if (r == 0)
		r = freeze_take(&w->freeze, 0, err);
	freeze_shown(&w->freeze);
	for (size_t i = 0; i < w->freeze.count; i++)
		result->threads += !w->freeze.thread[i].gone || w->freeze.thread[i].taken;
	return r;
}

/* --- after it, or in it: the frozen memory is read --- */

static int frozen_fds(const struct worker *w, int *ret_mem, int *ret_pagemap, int *ret_dir)
{
	bool copy = w->result.method == METHOD_CLONE;

	*ret_mem = copy ? w->snapshot.mem_fd : w->side.mem_fd;
	*ret_pagemap = copy ? w->snapshot.pagemap_fd : w->side.pagemap_fd;
	*ret_dir = copy ? w->snapshot.dir_fd : w->proc.dir_fd;
	return *ret_mem;
}

static bool is_not_copied(void *arg, const struct proc_map *map)
{
	return !proc_maps_find(arg, map->start);
}

static bool is_among(void *arg, const struct proc_map *map)
{
	const struct proc_map *same = proc_maps_find(arg, map->start);

	return same && same->start == map->start && same->end == map->end;
}

/* What the process has, had before the stop, and its copy lacks, was kept out of it. */
static void find_dontfork(struct worker *w)
{
	CLEAN(fd) int fd = openat(w->proc.dir_fd, "maps", O_RDONLY | O_CLOEXEC);
	struct proc_maps live = { 0 };

	if (fd < 0 || proc_maps_load(fd, is_not_copied, &w->frozen, &live) < 0)
		return;
	if (proc_maps_load(w->before_text.fd, is_among, &live, &w->before) < 0)
		w->before = (struct proc_maps){ 0 };
	for (size_t i = 0; i < w->before.count; i++)
		w->before.map[i].dontfork = true;
	proc_maps_free(&live);
}

static int read_frozen_maps(struct worker *w, struct err *err)
{
	bool flags = w->sink && !w->flags_known && !(w->order.kinds & DUMP_MINI);
	int mem, pagemap, dir, r;

	frozen_fds(w, &mem, &pagemap, &dir);
	r = w->analyst_fd >= 0 ? plan_text(dir, &w->frozen_text) : 0;
	if (r == 0 && w->analyst_fd >= 0 && !flags)
		r = proc_maps_load(w->frozen_text.fd, NULL, NULL, &w->frozen);
	else if (r == 0)
		r = proc_maps_read(dir, flags, &w->frozen, NULL);
	if (r == 0 && w->sink && !w->flags_known && w->result.method == METHOD_CLONE)
		find_dontfork(w);
	return r < 0 ? err_sys(err, r, "cannot read the memory map of process %d", w->order.pid) : 0;
}

static int brief_analyst(struct worker *w, struct err *err)
{
	CLEAN(fd) int capture = -1;
	struct memory mem;
	int mem_fd, pagemap, dir, r;

	if (w->analyst_fd < 0)
		return 0;
	frozen_fds(w, &mem_fd, &pagemap, &dir);
	mem = memory_of_fd(&mem_fd);
	r = triage_write(&w->triage, &w->freeze, &mem, &w->frozen, &w->frozen_text, w->order.holder_tid, &capture, err);
	if (r == 0)
		r = briefing_go(w->analyst_fd, w->order.pid, capture, w->result.method == METHOD_CLONE ? mem_fd : -1,
				w->envoy.theirs, w->order.arguments);
	return r;
}

static int copy_died(const struct worker *w, struct err *err)
{
	return err_say(err, -ECANCELED, "the copy of process %d was killed while it was written (out of memory?)",
		       w->order.pid);
}

/* Its memory is gone a moment before it is seen to be dead. */
static bool copy_lost(const struct worker *w, int code)
{
	return code == -ESRCH || !snapshot_alive(&w->snapshot);
}

static int go_on(void *arg, uint64_t done_bytes, struct err *err)
{
	struct worker *w = arg;
	uint64_t now = now_ns(), budget = w->order.pause_budget_ns, total = w->cost.bytes, left_ns;

	freeze_late(&w->freeze);
	w->done_bytes = done_bytes;
	if (plan_held_out(w))
		return plan_say_held_out(w, err);
	if (now > w->told_ns + PROGRESS_NS)
		worker_tell(w, w->stage, w->snapshot.child);
	if (w->result.method != METHOD_CLONE) {
		if (budget && !w->freeze.thaw_ns && w->status.state != 'T' && now > w->freeze.stop_ns + budget)
			return err_say(err, -EBUSY,
				       "writing the core of process %d took longer than the %.0f ms it may be stopped",
				       w->order.pid, ns_to_ms(budget));
		return 0;
	}
	if (!snapshot_alive(&w->snapshot))
		return copy_died(w, err);
	if (proc_alive(&w->proc))
		return snapshot_room(&w->snapshot, w->status.rss_anon_bytes, err);
	if (!done_bytes)
		return 0;
	/* The copy holds the dead server's port and locks: its successor waits for them. */
	left_ns = total > done_bytes ? (now - w->write_ns) * (total - done_bytes) / done_bytes : 0;
	if (left_ns <= (w->fired_ns ? CRASH_GONE_NS : TARGET_GONE_NS))
		return 0;
	return err_say(err, -ECANCELED, "process %d ended while its core was written", w->order.pid);
}

static void unread(void *arg, uint64_t start, uint64_t end, const char *why)
{
	struct worker *w = arg;

	account_unread(&w->account, start, end, why);
}

static int write_core(struct worker *w, struct err *err)
{
	struct core_watch watch = { .unread = unread, .go_on = go_on, .arg = w };
	struct assembly a = {
		.proc = &w->proc,
		.about = &w->about,
		.freeze = &w->freeze,
		.before = &w->before,
		.frozen = &w->frozen,
		.side = &w->side,
		.mini = w->order.kinds & DUMP_MINI ? &w->mini : NULL,
		.flags_known = w->flags_known,
		.cloned = w->result.method == METHOD_CLONE,
		.filter = plan_filter(w),
		.holder_tid = w->order.holder_tid,
		.siginfo = w->event.kind == FOLLOW_SIGNAL ? &w->event.info : NULL,
		.omit = account_omit,
		.omit_arg = &w->account,
	};
	struct buf note;
	int dir, r;

	w->write_ns = now_ns();
	w->result.complete = 1;
	frozen_fds(w, &a.mem_fd, &a.pagemap_fd, &dir);
	r = assemble(&a, err);
	w->result.in_files_bytes = a.in_files_bytes;
	account_note(&w->account, &w->order, &note);
	if (r == 0 && !note.data)
		r = err_sys(err, -ENOMEM, "cannot put the core of process %d together", w->order.pid);
	if (r == 0)
		assemble_notes(&a, note.data, note.len + 1);
	if (r == 0)
		r = core_write(&a.core, w->sink, &watch, err);
	buf_done(&note);
	account_flush(&w->account);
	assembly_done(&a);
	return r;
}

static int finish_core(struct worker *w, struct err *err UNUSED)
{
	struct dump_result *result = &w->result;
	uint64_t on_disk = 0, bytes;
	int r;

	if (!w->sink)
		return 0;
	bytes = sink_written(w->sink);
	r = sink_commit(w->sink, &on_disk, &w->core_err);
	w->sink = NULL;
	if (r < 0)
		return no_core(w, r);
	result->core_bytes = bytes;
	result->core_bytes_on_disk = on_disk;
	return 0;
}

/* A disk takes its time; threads that stop only now, or that get a signal and are
 * attached to, must not wait for it. */
static void finish(struct worker *w)
{
	worker_beside(w, finish_core, NULL);
}

/* What is in the journal for this process, by workers that are gone, is settled. */
static void forget_same(void *arg, int dir_fd, struct leftover *left)
{
	const struct worker *w = arg;

	if (left->target == w->proc.pid && left->target_start == w->proc.start_ticks)
		leftover_forget(dir_fd, left);
}

static void tidy(struct worker *w)
{
	struct err err = { "" };
	bool alive = proc_alive(&w->proc);

	if (!w->snapshot.child)
		return;
	w->snapshot.host = w->stays ? &w->freeze : NULL;
	if (snapshot_drop(&w->snapshot, &w->result.pause_ns, &err) == 0) {
		worker_tell(w, WORKER_REAPED, 0);
	} else if (alive) {
		w->left.name[0] = '\0'; /* the entry stays: the next one of us tries again */
		snprintf(w->result.error, sizeof(w->result.error), "%s", err.text);
	}
}

/* All of the copy that is wanted. */
static int read_copy(struct worker *w, struct err *err)
{
	uint64_t go_ns;
	int r = read_frozen_maps(w, err);

	if (r < 0)
		return copy_lost(w, r) ? copy_died(w, err) : r;
	go_ns = now_ns();
	r = brief_analyst(w, err);
	if (r < 0)
		briefing_failed(w->analyst_fd, w->order.pid, err->text);
	r = write_core(w, &w->core_err);
	if (r < 0)
		no_core(w, copy_lost(w, r) ? copy_died(w, &w->core_err) : r);
	if (!proc_alive(&w->proc))
		go_ns = 0; /* its successor waits for what the copy holds */
	briefing_wait(w->analyst_fd, go_ns + (go_ns ? ANALYST_COPY_NS : 0));
	return 0;
}

/* With a clone: the process goes on at once, all is read from the copy. */
static int after_clone(struct worker *w, struct err *err)
{
	int r;

	let_go(w);
	worker_tell(w, WORKER_CLONED, w->snapshot.child);
	pages_cache_init(&w->side.pages, w->side.pagemap_fd); /* as they are now */
	r = snapshot_hold(&w->snapshot, err);
	if (r < 0)
		return copy_lost(w, r) ? copy_died(w, err) : r;
	r = worker_beside(w, read_copy, err);
	if (r < 0)
		return r;
	tidy(w);
	finish(w);
	return 0;
}

/* In the stop. References for half of the time that the process may stand still,
 * stacks for three quarters. */
static int take_mini(struct worker *w)
{
	uint64_t budget = w->order.pause_budget_ns, stop_ns = w->freeze.stop_ns;
	int r;

	pages_cache_init(&w->side.pages, w->side.pagemap_fd); /* as they are now */
	w->result.complete = 1;
	r = mini_take(&w->mini, &w->freeze, budget ? stop_ns + budget / 2 : now_ns() + MINI_NS,
		      budget ? stop_ns + budget / 4 * 3 : 0, &w->core_err);
	return r;
}

/* After it: the flags of mappings that were not read before. */
static void find_flags(struct worker *w)
{
	struct proc_maps live = { 0 };

	if (w->flags_known || proc_maps_read(w->proc.dir_fd, true, &live, NULL) < 0)
		return;
	w->flags_known = live.count > 0;
	for (size_t i = 0; i < w->before.count; i++) {
		const struct proc_map *now = proc_maps_find(&live, w->before.map[i].start);

		w->before.map[i].dontdump |= now && now->dontdump;
	}
	proc_maps_free(&live);
}

static int write_mini(struct worker *w, struct err *err UNUSED)
{
	int r = w->frozen.map ? 0 : read_frozen_maps(w, &w->core_err);

	if (r == 0 && !w->order.everything)
		find_flags(w);
	if (r == 0)
		r = write_core(w, &w->core_err);
	return r < 0 ? no_core(w, r) : 0;
}

/* It must go, and the disk may never answer: what is written has no name, and goes with us. */
static int held_out(struct worker *w)
{
	w->sink = NULL;
	return plan_say_held_out(w, &w->core_err);
}

/* Without: it stands still until the memory is read. */
static int in_stop(struct worker *w, struct err *err)
{
	bool mini = w->order.kinds & DUMP_MINI;
	int r = 0, analyst_r = 0, core_r = 0;
	uint64_t go_ns = now_ns();

	if (w->sink && !mini)
		boost_close(); /* this takes long: not before all others */
	if ((w->sink && (!mini || w->before.count <= MINI_MAPS)) || w->analyst_fd >= 0)
		r = read_frozen_maps(w, err);
	if (r == 0)
		analyst_r = brief_analyst(w, err);
	if (r == 0 && w->sink)
		core_r = mini ? take_mini(w) : write_core(w, &w->core_err);
	if (r == 0 && analyst_r == 0)
		briefing_wait(w->analyst_fd, go_ns + ANALYST_LIVE_NS);
	if (core_r < 0 && plan_held_out(w))
		core_r = held_out(w);
	let_go(w);
	if (r < 0 || core_r < 0)		/* may wait for the disk */
		no_core(w, r < 0 ? r : core_r); /* no name for what is not whole */
	if (analyst_r < 0)
		briefing_failed(w->analyst_fd, w->order.pid, err->text);
	if (r == 0 && w->sink && mini)
		worker_beside(w, write_mini, NULL);
	finish(w);
	return r; /* as after a clone: what the analyst could not be told costs the analysis only */
}

static bool has_flags(void *arg UNUSED, const struct proc_map *map)
{
	return map->dontdump || map->dontfork || map->wipeonfork || map->huge || map->device;
}

/* A full core needs the flags alone from here on; what has none is read again when it
 * is asked for. */
static void forget_maps(struct worker *w)
{
	if (!(w->order.kinds & DUMP_FULL))
		return;
	if (w->flags_known)
		proc_maps_keep(&w->before, has_flags, NULL);
	else
		proc_maps_free(&w->before);
}

int worker_dump(struct worker *w, struct err *err)
{
	bool stacks = (w->order.kinds & DUMP_STACKS) || w->analyst_fd >= 0;
	int r = plan_maps(w, err);

	if (r == 0)
		r = cost_estimate(&w->proc, &w->before, w->order.kinds & DUMP_FULL, w->order.pause_budget_ns, &w->cost,
				  err);
	if (r == 0)
		r = plan_allowed(w, w->cost.look_ns, "a look at its stacks", "allow a longer pause", err);
	if (r == 0 && (w->order.kinds & DUMP_CORE)) {
		w->core_code = plan_core(w, &w->core_err);
		if (w->core_code < 0 && !stacks) {
			*err = w->core_err;
			return w->core_code;
		}
		if (w->core_code < 0)
			w->result.estimate_ns = w->cost.look_ns;
	}
	if (r == 0 && w->side.mem_fd < 0 && side_open(&w->side, w->proc.dir_fd) < 0)
		r = err_say(err, -EPERM, "cannot read the memory of process %d", w->order.pid);
	if (r == 0 && w->analyst_fd >= 0) {
		/* Its failure, or its being slow, costs the analysis only. A frozen copy waits
		 * for it, so that the stop need not. */
		bool copy = w->clone && (w->order.kinds & DUMP_FULL) && w->core_code == 0;

		if (!w->held)
			envoy_prepare(&w->envoy, &w->before);
		briefing_prepare(w->analyst_fd, &w->proc, &w->before, w->before_text.fd, copy ? 0 : ANALYST_PREPARE_NS);
		if (triage_look(&w->proc, &w->triage) < 0)
			r = err_say(err, -ESRCH, "process %d has ended", w->order.pid);
	}
	if (r == 0 && w->clone && w->sink) {
		w->journal_fd = leftover_open(NULL, true);
		leftover_note(w->journal_fd, &w->proc, &w->left); /* without one: told if it comes to that */
	}
	boost_prepare();
	if (r == 0 && w->sink)
		forget_maps(w);
	/* Right before the stop: a thread attached to stands still at each signal it gets. */
	w->freeze.longest_ns = longest_stop(w);
	if (r == 0)
		r = freeze_seize(&w->freeze, 0, err);
	if (r == -EPERM && !w->freeze.count && plan_other_dump_ends(w))
		r = freeze_seize(&w->freeze, 0, err);
	if (r == 0 && w->fired_ns && !w->freeze.held && freeze_show(&w->freeze, w->event.tid) < 0)
		w->event.kind = FOLLOW_NOTHING; /* killed: the signal is not its last news */
	if (r < 0)
		return r;
	r = stop(w, err);
	if (r < 0)
		return r; /* our exit, soon, lets all go */
	return w->result.method == METHOD_CLONE ? after_clone(w, err) : in_stop(w, err);
}

static int look_and_dump(struct worker *w, struct err *err)
{
	const struct sentry_wish *wish = &w->order.on;
	int r = proc_open(&w->proc, w->order.pid, err);

	if (r == 0)
		r = plan_target(w, err);
	if (r < 0)
		return r;
	if (!wish->signals && !wish->fatal && !wish->exit)
		return worker_dump(w, err);
	prctl(PR_SET_NAME, WORKER_STAYS); /* other workers need not wait for our end */
	return worker_wait(w, err);
}

static int reap(struct worker *w, struct err *err)
{
	int r = proc_open(&w->proc, w->order.pid, err);

	if (r == 0)
		r = plan_target(w, err);
	if (r == 0)
		r = proc_maps_read(w->proc.dir_fd, false, &w->before, err);
	if (r == 0)
		r = snapshot_reap(&w->snapshot, &w->proc, &w->before, &w->result.pause_ns, err);
	if (r < 0)
		return r;
	w->journal_fd = leftover_open(NULL, false);
	leftover_each(w->journal_fd, forget_same, w);
	return 0;
}

static int take_order(struct worker *w)
{
	size_t count;
	int dir_fd;

	if (parcel_receive(WORKER_FD_PARENT, &w->order, sizeof(w->order), &dir_fd, 1, &count) !=
	    (ssize_t)sizeof(w->order))
		return -EPIPE; /* the parent is gone, or no parent of ours */
	if (count)
		w->dir_fd = dir_fd;
	w->order.file[sizeof(w->order.file) - 1] = '\0';
	w->order.comment[sizeof(w->order.comment) - 1] = '\0';
	return 0;
}

static bool fd_is(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

static struct worker worker = {
	.dir_fd = -1,
	.analyst_fd = -1,
	.journal_fd = -1,
	.account = { .result = &worker.result, .maps = &worker.frozen },
	.envoy = ENVOY_NONE,
	.before_text.fd = -1,
	.frozen_text.fd = -1,
	.side = { .mem_fd = -1, .pagemap_fd = -1, .copy.fd = -1 },
	.proc = { .pidfd = -1, .dir_fd = -1 },
	.snapshot = { .status_fd = -1, .target_mem_fd = -1, .dir_fd = -1, .mem_fd = -1, .pagemap_fd = -1 },
};

int dump_worker_main(int argc, char **argv)
{
	struct worker *w = &worker;
	struct dump_result *result = &w->result;
	struct err err = { "" };
	sigset_t all;
	int r;

	(void)argc;
	(void)argv;
	/* SIGCHLD is waited for; what a terminal sends must not end us in the stop. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (fd_is(WORKER_FD_DIR, S_IFDIR))
		w->dir_fd = WORKER_FD_DIR;
	if (fd_is(WORKER_FD_ANALYST, S_IFSOCK))
		w->analyst_fd = WORKER_FD_ANALYST;
	boost_ahead(); /* until the target runs on: a request's limit has just passed */
	if (take_order(w) < 0)
		return 0;
	w->start_ns = now_ns();
	freeze_init(&w->freeze, &w->proc);
	if (w->order.kinds & DUMP_REAP)
		r = reap(w, &err);
	else if ((w->order.kinds & DUMP_CORE) && w->dir_fd < 0)
		r = err_say(&err, -EINVAL, "there is no directory for the core");
	else
		r = look_and_dump(w, &err);
	if (r < 0) {
		if (!w->freeze.thaw_ns)
			envoy_end(&w->envoy); /* nobody would read its answer */
		if (w->freeze.stop_ns && !w->freeze.thaw_ns)
			let_go(w);
		tidy(w);
		sink_abort(w->sink);
		briefing_failed(w->analyst_fd, w->order.pid, err.text);
	} else if (w->core_code < 0) {
		r = w->core_code;
		err = w->core_err;
	}
	if (r < 0) {
		result->code = r;
		result->complete = 0;
		snprintf(result->error, sizeof(result->error), "%s", err.text[0] ? err.text : strerror(-r));
	}
	leftover_forget(w->journal_fd, &w->left);
	assembly_about_done(&w->about);
	envoy_end(&w->envoy);
	worker_answer(w);
	return 0;
}
