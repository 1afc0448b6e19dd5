// SPDX-License-Identifier: MIT
/* A step is: which call is the thread in, who has the other end, may that one be looked at,
 * which of its threads is meant, and again. Rejected: to look at all processes that might be
 * on the way at once (most of them are not, and each pays with a pause). Traps: a thread may
 * have moved on since its look, so its call is read again before its wait is followed; a
 * file lock is its process's, and which of many threads took it nobody knows. */
#include "beyond.h"

#include "facts.h"
#include "ktime.h"
#include "locks.h"
#include "peers.h"
#include "shot.h"
#include "subject.h"
#include "waits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SLICE_NS (2 * NSEC_PER_MSEC) /* of a hunt, between other work of the loop */
#define SOON_NS (200 * NSEC_PER_USEC)
#define BACK_NS (50 * NSEC_PER_MSEC) /* for a thread that was stopped to be back in its call */
#define RECENT_BYTES (1u << 20)	     /* of a look that is remembered */
#define LOOK_LEAST_NS (20 * NSEC_PER_MSEC)

/* A process that was looked at: its threads but for those that became rows. */
struct seen {
	pid_t pid;
	struct analysis analysis;
};

struct beyond_walk {
	struct beyond_spec spec;
	uint64_t until_ns;
	uint64_t back_ns; /* until then the thread may be on its way back into its call */
	struct source *soon;
	struct quarry quarry;
	struct hunt *hunt;
	struct subject subject;
	struct shot *shot;
	struct seen *seen;
	size_t seen_count;
	size_t kept; /* rows up to the last that says something of another process */
	int peer_fd; /* in the process of the last row: the end that was waited for; -1 */
	bool over;
};

static void on_soon(void *arg, uint32_t events);

static void go_on(struct beyond_walk *w)
{
	loop_remove(w->spec.loop, w->soon);
	w->soon = NULL;
	loop_add_timer(w->spec.loop, now_ns() + SOON_NS, 0, on_soon, w, &w->soon);
}

/* ---- where the chain stands ---- */

static struct beyond *last_row(const struct beyond_walk *w)
{
	struct incident *in = w->spec.incident;

	return in->beyond_count ? &in->beyond[in->beyond_count - 1] : NULL;
}

static struct thread *find_thread(const struct analysis *a, pid_t tid)
{
	for (size_t i = 0; i < a->thread_count && tid; i++) {
		if (a->thread[i].tid == tid)
			return &a->thread[i];
	}
	return NULL;
}

static struct analysis *analysis_of(const struct beyond_walk *w, pid_t pid)
{
	if (pid == w->spec.incident->holder_pid)
		return &w->spec.incident->analysis;
	for (size_t i = 0; i < w->seen_count; i++) {
		if (w->seen[i].pid == pid)
			return &w->seen[i].analysis;
	}
	return NULL;
}

static pid_t pid_now(const struct beyond_walk *w)
{
	const struct beyond *row = last_row(w);

	return row ? row->pid : w->spec.incident->holder_pid;
}

static const struct thread *thread_now(const struct beyond_walk *w)
{
	const struct beyond *row = last_row(w);

	if (row && row->thread.tid)
		return &row->thread;
	return find_thread(&w->spec.incident->analysis, row ? row->tid : w->spec.tid);
}

/* Is the chain there already? */
static bool been_there(const struct beyond_walk *w, pid_t pid, pid_t tid)
{
	const struct incident *in = w->spec.incident;

	if (!tid)
		return false;
	if (pid == in->holder_pid && tid == w->spec.tid)
		return true;
	for (size_t i = 0; i < in->beyond_count; i++) {
		if (in->beyond[i].pid == pid && in->beyond[i].tid == tid)
			return true;
	}
	return false;
}

static struct beyond *add_row(struct beyond_walk *w, pid_t pid, pid_t tid, const char *how)
{
	struct incident *in = w->spec.incident;
	struct beyond *row;
	char name[80];

	if (in->beyond_count >= BEYOND_STEPS) {
		row = last_row(w);
		if (!row->failed)
			text_setf(&row->failed, "the chain goes on behind %d steps: followed no further", BEYOND_STEPS);
		w->over = true;
		return NULL;
	}
	row = list_add(&in->beyond, &in->beyond_count, sizeof(*row));
	w->over |= !row;
	if (!row)
		return NULL;
	row->pid = pid;
	row->tid = tid;
	text_set(&row->how, how);
	if (pid) {
		proc_name(pid, name, sizeof(name));
		text_set(&row->process, name);
	}
	if (pid != in->holder_pid)
		w->kept = in->beyond_count;
	return row;
}

/* Somebody is there, but no more can be said. */
static void end_at(struct beyond_walk *w, pid_t pid, const char *how, const char *why)
{
	struct beyond *row = add_row(w, pid, 0, how);

	if (row) {
		text_set(&row->failed, why);
		w->kept = w->spec.incident->beyond_count;
	}
	w->over = true;
}

/* ---- which thread ---- */

/* Does it wait for this very descriptor? */
static bool waits_for_fd(const struct thread *t, int fd)
{
	char text[24];

	snprintf(text, sizeof(text), "fd %d (", fd);
	return fd >= 0 && t->waits_for && !strncmp(t->waits_for, text, strlen(text));
}

/* ret_guess: another one might be meant. */
static struct thread *pick_thread(const struct beyond_walk *w, pid_t pid, const struct analysis *a, bool *ret_guess)
{
	struct thread *best = NULL;
	bool several = false;

	*ret_guess = false;
	for (size_t i = 0; i < a->thread_count; i++) {
		struct thread *t = &a->thread[i];

		if (a->thread_count == 1 || waits_for_fd(t, w->peer_fd))
			return t;
		if (!t->tid || been_there(w, pid, t->tid))
			continue;
		if (!best || wait_at_work(t) >= wait_at_work(best)) {
			several = best && wait_at_work(t) == wait_at_work(best);
			best = t;
		}
	}
	*ret_guess = true;
	return several ? NULL : best;
}

/* A circle through a thread that may not be the one that is meant would be none. */
static bool guessed(const struct beyond_walk *w)
{
	const struct incident *in = w->spec.incident;

	for (size_t i = 0; i < in->beyond_count; i++) {
		if (in->beyond[i].how && strstr(in->beyond[i].how, BEYOND_GUESS))
			return true;
	}
	return false;
}

/* ---- a look ---- */

/* A program that is us, or that somebody else has stopped already, is left alone. */
static const char *why_not_stop(const struct subject *s, char *buf, size_t size)
{
	struct proc_status status;
	struct statx ours, theirs;

	if (s->proc.pid == 1)
		return "process 1 is never stopped";
	if (proc_status_read(s->proc.dir_fd, "status", &status) < 0)
		return "it has ended";
	if (status.tracer) {
		char name[80];

		proc_name(status.tracer, name, sizeof(name));
		snprintf(buf, size, "process %d \"%s\" traces it already", status.tracer, name);
		return buf;
	}
	if (statx(AT_FDCWD, "/proc/self/exe", AT_STATX_DONT_SYNC, STATX_INO, &ours) == 0 &&
	    statx(s->proc.dir_fd, "exe", AT_STATX_DONT_SYNC, STATX_INO, &theirs) == 0 &&
	    ours.stx_ino == theirs.stx_ino && ours.stx_dev_major == theirs.stx_dev_major &&
	    ours.stx_dev_minor == theirs.stx_dev_minor)
		return "it is reqtrap itself";
	return NULL;
}

/* The thread of the last row, out of what its process was seen to do. */
static void settle_thread(struct beyond_walk *w)
{
	struct beyond *row = last_row(w);
	struct analysis *a = analysis_of(w, row->pid);
	bool guess = false;
	struct thread *t = row->tid ? find_thread(a, row->tid) : pick_thread(w, row->pid, a, &guess);

	if (!t) {
		if (row->tid)
			text_setf(&row->failed, "its thread %d had ended", row->tid);
		else
			text_setf(&row->failed, "which of its %zu threads it is, is not known", a->thread_count);
		w->over = true;
		return;
	}
	if (been_there(w, row->pid, t->tid) && t->tid != row->tid) {
		w->over = true;
		row->cycle = !guessed(w);
		if (!row->cycle)
			text_set(&row->failed,
				 "whether the chain comes round here is not known: it led here by a guess");
		row->tid = t->tid;
		return;
	}
	row->tid = t->tid;
	if (guess)
		text_setf(&row->how,
			  "%s (that it is this one of its %zu threads " BEYOND_GUESS ": the only one at work)",
			  row->how, a->thread_count);
	if (a == &w->spec.incident->analysis)
		return;
	for (size_t i = 0; i < a->module_count; i++)
		module_add(&w->spec.incident->analysis, &a->module[i]);
	row->thread = *t; /* the name stays behind: this one is not to be met again */
	*t = (struct thread){ 0 };
}

static void look_failed(struct beyond_walk *w, const char *why)
{
	text_set(&last_row(w)->failed, why);
	w->over = true;
}

/* ---- looks of a moment ago ---- */

static void remember(struct beyond_walk *w, const struct analysis *a)
{
	struct beyond_recent *oldest = w->spec.recent;
	struct buf text;

	for (size_t i = 1; i < BEYOND_RECENT && oldest; i++) {
		if (w->spec.recent[i].taken_ns < oldest->taken_ns)
			oldest = &w->spec.recent[i];
	}
	if (!oldest)
		return;
	buf_init(&text, RECENT_BYTES);
	free(oldest->analysis);
	*oldest = (struct beyond_recent){ .pid = w->subject.proc.pid,
					  .start_ticks = w->subject.proc.start_ticks,
					  .taken_ns = now_ns() };
	if (analysis_write(a, &text, NULL) == 0)
		oldest->analysis = buf_take(&text);
	buf_done(&text);
}

/* What the process of the last row was seen to do just now, on another walk. */
static bool recall(struct beyond_walk *w)
{
	uint64_t now = now_ns();

	for (size_t i = 0; i < BEYOND_RECENT && w->spec.recent; i++) {
		const struct beyond_recent *r = &w->spec.recent[i];
		struct beyond *row = last_row(w);
		struct seen *seen;

		if (!r->analysis || r->pid != row->pid || r->start_ticks != w->subject.proc.start_ticks ||
		    now - r->taken_ns > BEYOND_RECENT_NS)
			continue;
		seen = list_add(&w->seen, &w->seen_count, sizeof(*seen));
		if (!seen)
			return false;
		seen->pid = row->pid;
		if (analysis_read(r->analysis, strlen(r->analysis), &seen->analysis, NULL) < 0) {
			w->seen_count--;
			return false;
		}
		text_setf(&row->how, "%s (as seen %.2f s before)", row->how, (double)(now - r->taken_ns) / 1e9);
		settle_thread(w);
		return true;
	}
	return false;
}

void beyond_recent_done(struct beyond_recent recent[BEYOND_RECENT])
{
	for (size_t i = 0; i < BEYOND_RECENT; i++) {
		free(recent[i].analysis);
		recent[i] = (struct beyond_recent){ 0 };
	}
}

static void on_look(void *arg, const struct shot_result *result)
{
	struct beyond_walk *w = arg;
	struct beyond *row = last_row(w);
	struct analysis *a = result->analysis;
	struct seen *seen;

	w->shot = NULL;
	w->back_ns = now_ns() + BACK_NS;
	row->pause_ns = result->dump->pause_ns;
	if (!result->dump->threads || a->failed) {
		look_failed(w, result->given_up	  ? "it could not be looked at in time"
			       : result->code < 0 ? result->text
			       : a->failed	  ? a->failed
						  : "nothing was captured");
	} else {
		seen = list_add(&w->seen, &w->seen_count, sizeof(*seen));
		if (seen) {
			*seen = (struct seen){ .pid = row->pid, .analysis = *a };
			*a = (struct analysis){ 0 };
			waits_name_fds(&seen->analysis, w->subject.proc.dir_fd);
			remember(w, &seen->analysis);
			settle_thread(w);
		}
		w->over |= !seen;
	}
	go_on(w);
}

static void on_part(void *arg UNUSED, const struct shot_result *result UNUSED)
{
}

static void on_progress(void *arg UNUSED, uint64_t done UNUSED, uint64_t total UNUSED)
{
}

static void look(struct beyond_walk *w)
{
	static const struct shot_calls calls = { .ended = on_look, .one = on_part, .under_way = on_progress };
	struct shot_calls mine = calls;
	struct beyond *row = last_row(w);
	uint64_t now = now_ns();
	struct shot_spec spec;
	const char *why;
	struct err err = { "" };
	char text[160];

	subject_close(&w->subject);
	w->subject.proc = (struct proc){ .pidfd = -1, .dir_fd = -1 };
	if (now + LOOK_LEAST_NS > w->until_ns) {
		look_failed(w, "there was no time left for it");
		return;
	}
	if (subject_open(row->pid, &w->subject, &err) < 0) {
		w->subject.proc = (struct proc){ .pidfd = -1, .dir_fd = -1 };
		look_failed(w, err.text);
		return;
	}
	why = why_not_stop(&w->subject, text, sizeof(text));
	if (why) {
		look_failed(w, why);
		return;
	}
	spec = (struct shot_spec){
		.subject = &w->subject,
		.order = { .kinds = DUMP_STACKS, .holder_tid = row->tid, .pause_budget_ns = w->spec.pause_budget_ns },
		.give_up_ns = w->until_ns - now
	};
	mine.arg = w;
	if (recall(w))
		return;
	if (shot_begin(w->spec.loop, &spec, &mine, &w->shot, &err) < 0)
		look_failed(w, err.text);
}

/* The next step is this process, or thread of it. */
static void arrive(struct beyond_walk *w, pid_t pid, pid_t tid, const char *how)
{
	struct beyond works = { .pid = pid, .tid = tid };
	struct beyond *row;
	bool cycle;

	if (w->spec.work && pid != w->spec.incident->holder_pid)
		w->spec.work(w->spec.arg, &works, w->quarry.kind == QUARRY_SOCKET ? w->quarry.ino : 0);
	cycle = been_there(w, pid, works.tid);
	if (cycle && guessed(w)) {
		w->over = true;
		beyond_done(&works);
		return;
	}
	row = add_row(w, pid, works.tid, how);
	if (!row) {
		beyond_done(&works);
		return;
	}
	row->request = works.request;
	row->request_age_ns = works.request_age_ns;
	row->cycle = cycle;
	w->over |= cycle;
	if (!cycle && analysis_of(w, pid))
		settle_thread(w);
	else if (!cycle)
		look(w);
	/* among the threads of one process it is in the analysis already */
	if (row->cycle && (w->kept || w->quarry.kind != QUARRY_NONE))
		w->kept = w->spec.incident->beyond_count;
}

/* ---- who comes next ---- */

static void put_how(const struct quarry *q, size_t others, char *buf, size_t size)
{
	int n;

	if (q->kind == QUARRY_LOCK)
		n = snprintf(buf, size, "holds %s", q->what);
	else if (q->kind == QUARRY_PIPE)
		n = snprintf(buf, size, "%s %s", q->to_read ? "reads from" : "writes to", q->what);
	else
		n = snprintf(buf, size, "has the other end of %s", q->what);
	if (others && n < (int)size)
		snprintf(buf + n, size - (size_t)n, ", as do %zu more", others);
}

static void hunt_over(struct beyond_walk *w)
{
	const struct peer *peer;
	size_t count = hunt_peers(w->hunt, &peer), all = hunt_count(w->hunt);
	pid_t own = hunt_own(w->hunt) ? pid_now(w) : 0;
	char how[480];

	put_how(&w->quarry, all > 1 ? all - 1 : 0, how, sizeof(how));
	w->peer_fd = count ? peer[0].fd : -1;
	if (count)
		arrive(w, peer[0].pid, 0, how);
	else if (own && w->quarry.kind == QUARRY_LOCK)
		arrive(w, own, 0, how);
	else
		end_at(w, own, how,
		       own ? "it is the same process: which thread of it, is not known"
			   : "no process that can be seen here has it");
	hunt_free(w->hunt);
	w->hunt = NULL;
}

/* Is the thread where it was seen? ret_arg: of its call. Behind its stop it may be on its
 * way back into that call: -EAGAIN. */
static int still_there(int dir_fd, const struct thread *t, uint64_t ret_arg[6])
{
	struct proc_syscall call;
	const char *name;
	char path[48];

	snprintf(path, sizeof(path), "task/%d/syscall", t->tid);
	if (!t->call || proc_syscall_read(dir_fd, path, &call) < 0)
		return -ENOENT;
	if (call.nr == -2)
		return -EAGAIN;
	name = call.nr < 0 ? NULL : syscall_name(call.nr);
	memcpy(ret_arg, call.arg, sizeof(call.arg));
	return call.nr == SYS_restart_syscall || (name && !strcmp(name, t->call)) ? 0 : -ENOENT;
}

static bool follow_child(struct beyond_walk *w, int dir_fd, const struct thread *t, const uint64_t arg[6])
{
	int id = !strcmp(t->call, "waitid") ? (arg[0] == 1 ? (int)arg[1] : -1) : (int)arg[0];
	pid_t child;
	size_t count = children_of(dir_fd, MAX(id, 0), &child);
	char how[80] = "is the child that is waited for";

	if (!count)
		return false;
	if (count > 1)
		snprintf(how, sizeof(how), "is one of the %zu children that are waited for", count);
	arrive(w, child, 0, how);
	return true;
}

static bool follow_fd(struct beyond_walk *w, int dir_fd, pid_t pid, int fd, enum quarry_call lock)
{
	char why[160], what[300], how[360];

	if (!quarry_find(dir_fd, pid, fd, lock, &w->quarry, why, sizeof(why))) {
		if (!why[0])
			return false;
		fd_describe(dir_fd, fd, what, sizeof(what));
		snprintf(how, sizeof(how), "has the other end of %s", what);
		end_at(w, 0, how, why);
		return true;
	}
	w->hunt = hunt_new(&w->quarry, pid);
	return w->hunt;
}

/* 'mutex 0x7f..' of 'mutex 0x7f.. held by 4711' */
static void put_lock(const struct thread *t, char *buf, size_t size)
{
	const char *end = t->waits_for ? strstr(t->waits_for, LOCKS_HELD_BY) : NULL;

	if (end)
		snprintf(buf, size, "holds %.*s", (int)MIN(end - t->waits_for, 80), t->waits_for);
	else
		snprintf(buf, size, "is the thread that is waited for");
}

static bool follow_owner(struct beyond_walk *w, pid_t pid, const struct thread *t)
{
	pid_t tid = t->waits_for_tid, owner = pid;
	char how[120];

	put_lock(t, how, sizeof(how));
	w->quarry.kind = QUARRY_NONE;
	if (!find_thread(analysis_of(w, pid), tid) && !been_there(w, pid, tid)) {
		CLEAN(fd) int dir_fd = proc_dir_open(tid);
		CLEAN(fd) int here_fd = proc_dir_open(pid);
		unsigned long long addr;
		struct proc_status st;

		/* memory names this thread: it is believed only if it has that memory, too */
		if (dir_fd < 0 || here_fd < 0 || proc_status_read(dir_fd, "status", &st) < 0 || !t->waits_for ||
		    sscanf(t->waits_for, "%*s 0x%llx", &addr) != 1 || !memory_shared(here_fd, addr, st.tgid))
			return false;
		owner = st.tgid;
	}
	arrive(w, owner, tid, how);
	return true;
}

static bool follow_call(struct beyond_walk *w, int dir_fd, pid_t pid, const struct thread *t, const uint64_t arg[6])
{
	int fd;

	switch (wait_kind_of(t->call)) {
	case WAIT_CHILD:
		w->quarry.kind = QUARRY_NONE;
		return follow_child(w, dir_fd, t, arg);
	case WAIT_FD:
		return strncmp(t->call, "accept", 6) && follow_fd(w, dir_fd, pid, (int)arg[0], QUARRY_BYTES);
	case WAIT_FILE_LOCK:
		return follow_fd(w, dir_fd, pid, (int)arg[0],
				 strcmp(t->call, "flock") ? QUARRY_RECORD_LOCK : QUARRY_FLOCK);
	case WAIT_POLL: /* for one; of several nobody knows which */
		return t->waits_for && sscanf(t->waits_for, "fd %d", &fd) == 1 &&
		       follow_fd(w, dir_fd, pid, fd, QUARRY_BYTES);
	default:
		return false;
	}
}

/* 0: a step further, or on the way to it. -ENOENT: the thread waits for nothing further. */
static int follow(struct beyond_walk *w)
{
	const struct thread *t = thread_now(w);
	pid_t pid = pid_now(w);
	CLEAN(fd) int dir_fd = -1;
	uint64_t arg[6];
	bool further;
	int r;

	w->peer_fd = -1;
	if (t && t->waits_for_tid) {
		further = follow_owner(w, pid, t);
	} else {
		dir_fd = t ? proc_dir_open(pid) : -1;
		r = dir_fd < 0 ? -ENOENT : still_there(dir_fd, t, arg);
		if (r == -EAGAIN && now_ns() < w->back_ns)
			return r;
		further = r == 0 && follow_call(w, dir_fd, pid, t, arg);
	}
	return further ? 0 : -ENOENT;
}

/* ---- the walk ---- */

/* What led nowhere beyond its own process is in the analysis already. */
static void drop_rows(struct beyond_walk *w)
{
	struct incident *in = w->spec.incident;

	while (in->beyond_count > w->kept)
		beyond_done(&in->beyond[--in->beyond_count]);
}

static void on_soon(void *arg, uint32_t events UNUSED)
{
	struct beyond_walk *w = arg;

	if (w->hunt) {
		bool through = hunt_go_on(w->hunt, SLICE_NS);

		if (through) {
			hunt_over(w);
		} else if (now_ns() > w->until_ns) {
			char how[480];

			put_how(&w->quarry, 0, how, sizeof(how));
			end_at(w, 0, how, "it was not found in time");
		}
	} else if (!w->over) {
		w->over |= follow(w) == -ENOENT;
	}
	if (w->over) {
		drop_rows(w);
		w->spec.done(w->spec.arg);
	} else if (!w->shot) {
		go_on(w);
	}
}

struct beyond_walk *beyond_begin(const struct beyond_spec *spec)
{
	struct beyond_walk *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct beyond_walk){ .spec = *spec, .until_ns = now_ns() + BEYOND_NS, .peer_fd = -1 };
	w->subject.proc = (struct proc){ .pidfd = -1, .dir_fd = -1 };
	w->back_ns = now_ns() + BACK_NS;
	if (follow(w) == -ENOENT) {
		drop_rows(w);
		beyond_free(w);
		return NULL;
	}
	if (!w->shot)
		go_on(w);
	return w;
}

void beyond_free(struct beyond_walk *w)
{
	if (!w)
		return;
	loop_remove(w->spec.loop, w->soon);
	shot_free(w->shot);
	hunt_free(w->hunt);
	subject_close(&w->subject);
	for (size_t i = 0; i < w->seen_count; i++)
		analysis_done(&w->seen[i].analysis);
	free(w->seen);
	free(w);
}
