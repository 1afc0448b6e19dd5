// SPDX-License-Identifier: MIT
/* 'stacks': the capture of a dump without its core, and the analyst's answer printed.
 * Equal stacks are printed once. Rejected: reading stacks without a stop (they would
 * be of different moments, and owners of locks wrong). */
#include "analyst.h"
#include "cmd.h"
#include "dump.h"
#include "facts.h"
#include "incident.h"
#include "ktime.h"
#include "log.h"
#include "proc.h"
#include "report_words.h"
#include "target.h"
#include "verdict.h"
#include "waits.h"

#include <jansson.h>
#include <string.h>

#define PAGE_MAX (64u << 20)
#define TIDS_SHOWN 20

static void add_text(struct buf *out, const char *text)
{
	buf_add_escaped(out, text, strlen(text));
}

static void add_stack(struct buf *out, const struct stack *stack)
{
	for (size_t n = 0; n < stack->count; n++) {
		const struct frame *f = &stack->frame[n];

		buf_addf(out, "    #%-3zu ", n);
		add_text(out, frame_function(f));
		if (f->file) {
			buf_adds(out, " ");
			add_text(out, f->file);
			if (f->line)
				buf_addf(out, ":%u", f->line);
		} else if (f->module && (!f->function || !strstr(f->function, "+0x"))) {
			buf_adds(out, " [");
			add_text(out, f->module);
			buf_adds(out, "]");
		}
		buf_adds(out, "\n");
	}
	if (stack->unavailable) {
		buf_adds(out, "    ! ");
		add_text(out, stack->unavailable);
		buf_adds(out, "\n");
	}
}

static void add_group(struct buf *out, const struct analysis *a, const struct thread_group *g)
{
	const struct thread *t = &a->thread[g->member[0]];

	buf_addf(out, "\n%zu thread%s, ", g->count, word_plural(g->count));
	if (t->call) {
		buf_adds(out, "in ");
		add_text(out, t->call);
	} else {
		buf_adds(out, t->state == 'R' ? "running" : "in user mode");
	}
	if (t->waits_for) {
		buf_adds(out, ": ");
		add_text(out, t->waits_for);
	}
	buf_adds(out, "\n   ");
	for (size_t n = 0; n < g->count && n < TIDS_SHOWN; n++) {
		const struct thread *each = &a->thread[g->member[n]];

		buf_addf(out, " %d", each->tid);
		if (each->comm &&
		    (n == 0 ||
		     strcmp(each->comm, a->thread[g->member[n - 1]].comm ? a->thread[g->member[n - 1]].comm : ""))) {
			buf_adds(out, " \"");
			add_text(out, each->comm);
			buf_adds(out, "\"");
		}
	}
	if (g->count > TIDS_SHOWN)
		buf_addf(out, " and %zu more", g->count - TIDS_SHOWN);
	buf_adds(out, "\n");
	if (t->script.count || t->script.unavailable) {
		buf_adds(out, "  script\n");
		add_stack(out, &t->script);
		buf_adds(out, "  native\n");
	}
	add_stack(out, &t->stack);
}

static void add_locks(struct buf *out, const struct analysis *a)
{
	for (size_t n = 0; n < a->lock_count; n++) {
		const struct lock *lock = &a->lock[n];

		buf_adds(out, n ? "  " : "\nlocks waited for\n  ");
		add_text(out, lock->name);
		if (lock->owner)
			buf_addf(out, "  held by %d", lock->owner);
		else
			buf_adds(out, "  holder not known");
		buf_adds(out, "  waiting:");
		for (size_t k = 0; k < lock->waiter_count && k < TIDS_SHOWN; k++)
			buf_addf(out, " %d", lock->waiter[k]);
		if (lock->waiter_count > TIDS_SHOWN)
			buf_addf(out, " and %zu more", lock->waiter_count - TIDS_SHOWN);
		buf_adds(out, "\n");
	}
	for (char **d = a->deadlock; d && *d; d++) {
		buf_adds(out, "  DEADLOCK ");
		add_text(out, *d);
		buf_adds(out, "\n");
	}
}

/* Without a request there is no holder; the thread to judge is the one that the most
 * threads are held up by, or the only one. 0: none stands out. */
static pid_t thread_to_judge(const struct analysis *a)
{
	const struct lock *most = NULL;

	if (a->deadlock)
		return atoi(a->deadlock[0]);
	for (size_t n = 0; n < a->lock_count; n++) {
		if (!most || a->lock[n].waiter_count > most->waiter_count)
			most = &a->lock[n];
	}
	if (most && most->waiter_count)
		return most->waiter[0];
	for (size_t n = 0; n < a->thread_count; n++) {
		if (a->thread[n].script.count || a->thread_count == 1)
			return a->thread[n].tid;
	}
	return 0;
}

static int print_text(const struct incident *i, const struct dump_result *result)
{
	const struct analysis *a = &i->analysis;
	struct thread_group *group = NULL;
	size_t count = 0;
	struct buf out;
	int r = threads_group(i, &group, &count);

	if (r < 0)
		return r;
	buf_init(&out, PAGE_MAX);
	add_text(&out, i->process.comm);
	buf_addf(&out, " %d", i->holder_pid);
	if (a->language) {
		buf_adds(&out, ", ");
		add_text(&out, a->language);
	}
	buf_addf(&out, ", %zu thread%s, stood still for %.1f ms\n", a->thread_count, word_plural(a->thread_count),
		 ns_to_ms(result->pause_ns));
	if (i->verdict) {
		add_text(&out, i->verdict);
		buf_addf(&out, " (confidence %s: one sample)\n", i->confidence);
	}
	for (size_t n = 0; n < count; n++)
		add_group(&out, a, &group[n]);
	add_locks(&out, a);
	for (char **n = a->note; n && *n; n++) {
		buf_adds(&out, n == a->note ? "\nnote: " : "note: ");
		add_text(&out, *n);
		buf_adds(&out, "\n");
	}
	fwrite(out.data, 1, out.len, stdout);
	if (out.full)
		log_warn("the list of stacks is too long and was cut; --json has all of them");
	buf_done(&out);
	thread_groups_free(group, count);
	return 0;
}

static int print_json(const struct incident *i, const struct dump_result *result)
{
	CLEAN(free) char *name = facts_utf8(i->process.comm);
	CLEAN(free) char *verdict = i->verdict ? facts_utf8(i->verdict) : NULL;
	json_t *json, *analysis;
	struct buf text;
	struct err err;
	int r;

	buf_init(&text, PAGE_MAX);
	r = analysis_write(&i->analysis, &text, &err);
	analysis = r < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
	buf_done(&text);
	json = json_pack("{s:s, s:i, s:s, s:s?, s:s?, s:I, s:I, s:f, s:o}", "event", "stacks", "pid",
			 (int)i->holder_pid, "process", name ? name : "", "verdict", verdict, "confidence",
			 verdict ? i->confidence : NULL, "threads", (json_int_t)result->threads, "threads_not_stopped",
			 (json_int_t)result->threads_not_stopped, "pause_ms", ns_to_ms(result->pause_ns), "analysis",
			 analysis);
	if (!json)
		return r < 0 ? r : -ENOMEM;
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(json);
	return 0;
}

/* Stops the process, takes the stacks, waits for the answer. */
static int take(const struct proc *proc, struct dump_result *ret_result, struct analysis *ret_analysis, struct err *err)
{
	struct dump_order order = { .pid = proc->pid, .start_ticks = proc->start_ticks, .kinds = DUMP_STACKS };
	struct analyst *analyst;
	struct dump_job *job;
	int worker_fd, r;

	r = analyst_start(&worker_fd, &analyst, err);
	if (r < 0)
		return r;
	r = dump_start(-1, worker_fd, &job, err);
	close(worker_fd);
	if (r < 0) {
		analyst_cancel(analyst, "there is nothing to analyse");
		analyst_read(analyst, true, ret_analysis);
		return r;
	}
	r = dump_order_send(job, &order, err);
	if (r < 0)
		dump_cancel(job);
	/* The worker may fail after the stop, when the stacks are taken already. */
	if (dump_finish(job, true, ret_result) < 0)
		*ret_result = (struct dump_result){ .code = -EIO, .error = "the dump worker gave no result" };
	analyst_read(analyst, true, ret_analysis);
	if (r < 0)
		return r;
	if (ret_result->code < 0 && ret_result->threads == 0)
		return err_say(err, ret_result->code, "%s", ret_result->error);
	if (ret_analysis->failed)
		return err_say(err, -EIO, "cannot read the stacks of process %d: %s", proc->pid, ret_analysis->failed);
	if (ret_result->error[0])
		log_warn("%s", ret_result->error);
	return 0;
}

static int stacks_of(pid_t pid, bool json, struct err *err)
{
	struct proc proc;
	struct incident *i;
	struct dump_result result;
	char name[64];
	int r = proc_open(&proc, pid, err);

	if (r < 0)
		return r;
	i = incident_new();
	if (!i) {
		proc_close(&proc);
		return err_sys(err, -ENOMEM, "cannot read the stacks of process %d", pid);
	}
	proc_name(pid, name, sizeof(name));
	text_set(&i->process.comm, name);
	i->holder_pid = pid;
	r = take(&proc, &result, &i->analysis, err);
	if (r == 0) {
		waits_name_fds(&i->analysis, proc.dir_fd);
		i->holder_tid = thread_to_judge(&i->analysis);
		i->capture.running_at_snapshot = true;
		if (i->holder_tid)
			verdict_make(i);
		i->holder_tid = 0; /* so that it is grouped like the others */
		r = json ? print_json(i, &result) : print_text(i, &result);
		if (r < 0)
			err_sys(err, r, "cannot print the stacks of process %d", pid);
	}
	incident_free(i);
	proc_close(&proc);
	return r;
}

int cmd_stacks(int argc, char **argv)
{
	struct command_line line;
	struct targets targets = { 0 };
	struct err err = { "" };
	bool json;
	int worst = EXIT_DONE, r = verb_begin("stacks", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	json = option_given(&line, "json");
	r = 0;
	if (line.rest_count == 0)
		r = err_say(&err, -EINVAL, "no process is named: reqtrap stacks [--json] PID|NAME");
	for (int n = 0; n < line.rest_count && r == 0; n++)
		r = target_find(&targets, line.rest[n], &err);
	if (r < 0) {
		log_error("%s", err.text);
		targets_done(&targets);
		return exit_code_of(r);
	}
	for (size_t n = 0; n < targets.count; n++) {
		if (n && !json)
			putchar('\n');
		r = stacks_of(targets.pid[n], json, &err);
		if (r < 0) {
			log_error("%s", err.text);
			worst = MAX(worst, exit_code_of(r));
		}
		fflush(stdout);
	}
	targets_done(&targets);
	return worst;
}
