// SPDX-License-Identifier: MIT
/* The kernel adds what is forked or adopted to its table by itself and tells; here is
 * who takes it out again. Trap: a fork told just before its parent's end must count
 * before the parent is forgotten, or the last process would seem to be gone. */
#include "watched.h"

#include "proc.h"

#include <sys/epoll.h>

struct member {
	struct member *next;
	struct watched *all;
	struct proc proc;
	struct source *source;
	bool adopted; /* answers calls only: the watch does not live by it */
};

struct watched {
	struct watched_config config;
	struct member *member;
	bool gone_told;
};

int watched_new(const struct watched_config *config, struct watched **ret_watched, struct err *err)
{
	struct watched *watched = calloc(1, sizeof(*watched));

	if (!watched)
		return err_sys(err, -ENOMEM, "cannot list the watched processes");
	watched->config = *config;
	*ret_watched = watched;
	return 0;
}

static void member_free(struct member *m)
{
	loop_remove(m->all->config.loop, m->source);
	proc_close(&m->proc);
	free(m);
}

void watched_free(struct watched *watched)
{
	struct member *next;

	for (struct member *m = watched ? watched->member : NULL; m; m = next) {
		next = m->next;
		member_free(m);
	}
	free(watched);
}

static void on_end(void *arg, uint32_t events UNUSED)
{
	struct member *gone = arg;
	struct watched *watched = gone->all;
	const struct watched_config *config = &watched->config;
	bool alive = false;

	tracer_poll(config->tracer);
	tracer_forget(config->tracer, gone->proc.pid);
	if (config->gone)
		config->gone(config->arg, gone->proc.pid);
	for (struct member **at = &watched->member; *at;) {
		if (*at == gone) {
			*at = gone->next;
			continue;
		}
		alive |= !(*at)->adopted;
		at = &(*at)->next;
	}
	member_free(gone);
	if (!alive && !watched->gone_told && config->all_gone) {
		watched->gone_told = true;
		config->all_gone(config->arg);
	}
}

static int member_add(struct watched *watched, pid_t pid, bool adopted, struct err *err)
{
	struct member *m;
	int r;

	for (m = watched->member; m; m = m->next) {
		if (m->proc.pid == pid && proc_alive(&m->proc)) {
			m->adopted &= adopted;
			return 0;
		}
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_sys(err, -ENOMEM, "cannot watch process %d", pid);
	m->all = watched;
	m->adopted = adopted;
	r = proc_open(&m->proc, pid, err);
	if (r < 0) {
		free(m);
		return r;
	}
	r = loop_add_fd(watched->config.loop, m->proc.pidfd, EPOLLIN, on_end, m, &m->source);
	if (r < 0) {
		proc_close(&m->proc);
		free(m);
		return err_sys(err, r, "cannot watch process %d", pid);
	}
	m->next = watched->member;
	watched->member = m;
	tracer_probe(watched->config.tracer, pid);
	if (watched->config.came)
		watched->config.came(watched->config.arg, pid);
	return 0;
}

void watched_probe(struct watched *watched)
{
	for (const struct member *m = watched->member; m; m = m->next)
		tracer_probe(watched->config.tracer, m->proc.pid);
}

int watched_add(struct watched *watched, pid_t pid, struct err *err)
{
	int r = member_add(watched, pid, false, err);

	return r < 0 ? r : tracer_watch(watched->config.tracer, pid, err);
}

static bool is_adopted(const struct watched *watched, pid_t pid)
{
	for (const struct member *m = watched->member; m; m = m->next) {
		if (m->proc.pid == pid)
			return m->adopted;
	}
	return false;
}

/* value: the parent of a fork; what an adopted process forks is adopted too */
bool watched_record(struct watched *watched, const struct record *record)
{
	bool adopted = record->kind == RECORD_ADOPTED;

	if (!adopted && record->kind != RECORD_FORK)
		return false;
	if (member_add(watched, (pid_t)record->pid, adopted || is_adopted(watched, (pid_t)record->value), NULL) < 0)
		tracer_forget(watched->config.tracer, (pid_t)record->pid);
	return true;
}
