// SPDX-License-Identifier: MIT
/* The processes of a series. Traps: looking for names reads all of /proc, so it is done
 * for a small share of the time; a member stays in the list when its process has ended,
 * for its shot may be under way. */
#include "series_state.h"

#include "ktime.h"
#include "process.h"

#include <limits.h>
#include <string.h>
#include <sys/epoll.h>

#define LOOK_SHARE 200 /* looks for new processes take 1/200 of the time */

bool series_any_left(const struct series *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!s->member[i]->ended)
			return true;
	}
	return false;
}

void series_member_out(struct member *m)
{
	m->ended = true;
	m->queued = false;
	m->series->changed = true;
	loop_remove(m->series->loop, m->end_source);
	m->end_source = NULL;
}

static void tell_gone(struct series *s, const struct member *m)
{
	const struct subject *subject = &m->subject;

	if (!series_has_conditions(s))
		series_say(s, SERIES_ERROR, "process %d '%s' ended%s after %u of %u dumps", subject->proc.pid,
			   subject->process, m->how, m->taken, s->wanted);
	else
		series_say(s, SERIES_NOTE, "process %d '%s' ended%s", subject->proc.pid, subject->process, m->how);
}

void series_member_gone(struct member *m)
{
	struct series *s = m->series;

	if (m->ended)
		return;
	series_member_out(m);
	if (m->running) {
		series_rests(m);
		loop_remove(s->loop, m->gap_source);
		m->gap_source = NULL;
	}
	tell_gone(s, m);
	if (!series_has_conditions(s))
		series_worse(s, EXIT_NOTHING);
	series_begin_turns(s);
}

static void on_end(void *arg, uint32_t events UNUSED)
{
	struct member *m = arg;

	loop_remove(m->series->loop, m->end_source);
	m->end_source = NULL;
	m->gone = true;
	if (!m->shot && !m->guard) /* else its own end will tell */
		series_member_gone(m);
}

void series_member_free(struct member *m)
{
	shot_free(m->shot);
	shot_free(m->guard);
	compare_free(m->compare);
	growth_free(m->growth);
	moment_done(&m->moment);
	process_done(&m->facts);
	subject_close(&m->subject);
	free(m);
}

static bool is_member(const struct series *s, pid_t pid)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->member[i]->subject.proc.pid == pid && !s->member[i]->ended)
			return true;
	}
	return false;
}

static int add_member(struct series *s, pid_t pid, struct err *err)
{
	struct member *m, **at;
	int r;

	if (is_member(s, pid))
		return 0;
	m = calloc(1, sizeof(*m));
	at = m ? list_add(&s->member, &s->count, sizeof(struct member *)) : NULL;
	if (!at) {
		free(m);
		return err_sys(err, -ENOMEM, "cannot take process %d in", pid);
	}
	s->count--; /* until it is one */
	m->series = s;
	r = subject_open(pid, &m->subject, err);
	if (r < 0) {
		free(m);
		return r;
	}
	if (s->compares) {
		m->compare = compare_new();
		m->growth = growth_new();
	}
	roster_add(&s->roster, &m->subject.proc);
	memcpy(m->trigger, s->spec->trigger, sizeof(m->trigger));
	if (s->parts)
		r = meter_init(&m->meter, &m->subject.proc, s->parts, err);
	if (r == 0) {
		r = loop_add_fd(s->loop, m->subject.proc.pidfd, EPOLLIN, on_end, m, &m->end_source);
		if (r < 0)
			err_sys(err, r, "cannot wait for process %d", pid);
	}
	if (r < 0) {
		series_member_free(m);
		return r;
	}
	s->count++;
	*at = m;
	s->changed = true;
	return 0;
}

static int add_word(struct series *s, const char *word, struct err *err)
{
	struct targets targets = { 0 };
	bool loosely = false, later = s->looked_ns != 0;
	size_t added = 0;
	int r = subject_find(word, s->spec->any_case, &targets, &loosely, err);

	if (r == 0 && !s->spec->all)
		r = subject_only(word, &targets, err);
	for (size_t i = 0; r == 0 && i < targets.count; i++) {
		r = add_member(s, targets.pid[i], err);
		added += r == 0;
		if (targets.count > 1 && (r == -ESRCH || (later && r < 0)))
			r = 0;
	}
	if (r == 0 && !added)
		r = err_say(err, -ESRCH, "every process that '%s' names has ended", word);
	if (r == 0 && loosely && !later)
		series_say(s, SERIES_NOTE, "'%s' is taken for process %d '%s'", word,
			   s->member[s->count - 1]->subject.proc.pid, s->member[s->count - 1]->subject.process);
	targets_done(&targets);
	return r;
}

/* What was started by us: it has our input and output, and we end with it. */
static int start_command(struct series *s, struct err *err)
{
	char *const *argv = s->spec->command;
	struct child_spec spec = { .argv = argv, .inherit_env = true, .keep_stdio = true };
	char path[PATH_MAX];
	int r;

	if (child_find(argv[0], path, sizeof(path)) < 0)
		return err_say(err, -ENOENT, "cannot start '%s': no such program", argv[0]);
	spec.path = path;
	spec.hold = &s->hold; /* a short one would have ended before it is a member */
	r = child_start(&spec, &s->command, err);
	if (r == 0)
		r = add_member(s, s->command.pid, err);
	if (r < 0 || series_has_events(s))
		return r;
	r = child_release(&s->hold, true, NULL);
	if (r < 0)
		return err_sys(err, r, "cannot start '%s'", argv[0]);
	proc_name(s->command.pid, s->member[0]->subject.process, sizeof(s->member[0]->subject.process));
	return 0;
}

/* At the begin, and again for those that come later. */
int series_look(struct series *s, struct err *err)
{
	uint64_t begun = now_ns();
	int r = 0;

	if (s->looked_ns && !(s->awaited || s->spec->all))
		return 0;
	if (s->looked_ns && begun - s->looked_ns < s->look_took_ns * LOOK_SHARE)
		return 0;
	s->awaited = NULL;
	if (s->spec->command && !s->looked_ns)
		r = start_command(s, err);
	for (size_t i = 0; i < s->spec->target_count && r == 0; i++) {
		const char *word = s->spec->target[i];

		if (s->looked_ns && word[strspn(word, "0123456789")] == '\0')
			continue; /* a number does not come again */
		r = add_word(s, word, err);
		if (r == -ESRCH && s->spec->wait && !series_any_left(s) && word[strspn(word, "0123456789")]) {
			s->awaited = word;
			r = 0;
		} else if (r == -ESRCH && s->looked_ns) {
			r = 0;
		}
	}
	s->looked_ns = now_ns();
	s->look_took_ns = s->looked_ns - begun;
	return r;
}
