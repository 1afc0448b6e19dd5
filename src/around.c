// SPDX-License-Identifier: MIT
/* The walk and the scene as after a trap, on a loop that ends with them. Rejected: a second
 * reader of sockets for 'stacks' (the two would come to say different things). Trap: the
 * first thread of a server waits for connections, and tells nothing of what is slow. */
#include "around.h"

#include "host.h"
#include "scene.h"
#include "waits.h"

#include <string.h>

struct around {
	struct loop *loop;
	unsigned int under_way;
};

static const struct lock *most_wanted(const struct analysis *a)
{
	const struct lock *most = NULL;

	for (size_t n = 0; n < a->lock_count; n++) {
		if (a->lock[n].waiter_count && (!most || a->lock[n].waiter_count > most->waiter_count))
			most = &a->lock[n];
	}
	return most;
}

pid_t around_judge(const struct analysis *a, size_t *ret_like)
{
	const struct lock *lock = most_wanted(a);
	const struct thread *best = NULL;
	unsigned int most = 0;

	*ret_like = 0;
	if (a->deadlock)
		return atoi(a->deadlock[0]);
	if (lock)
		return lock->waiter[0];
	for (size_t n = 0; n < a->thread_count; n++) {
		const struct thread *t = &a->thread[n];
		/* of equals the one that runs a script says more */
		unsigned int weight = 2 * wait_at_work(t) + (t->script.count != 0);

		if (wait_kind_of(t->call) == WAIT_FILE_LOCK) {
			*ret_like = 0;
			return t->tid;
		}
		*ret_like = !best || weight > most ? 1 : *ret_like + (weight == most);
		if (!best || weight > most) {
			best = t;
			most = weight;
		}
	}
	return best ? best->tid : 0;
}

static void on_done(void *arg)
{
	struct around *around = arg;

	if (!--around->under_way)
		loop_stop(around->loop, 0);
}

void around_look(struct incident *incident, const struct moment *before, struct beyond_recent *recent)
{
	struct around around = { .under_way = 0 };
	struct beyond_walk *walk = NULL;
	struct scene_look *look = NULL;

	if (loop_new(&around.loop, NULL) < 0)
		return;
	if (incident->holder_tid)
		walk = beyond_begin(&(struct beyond_spec){ .loop = around.loop,
							   .incident = incident,
							   .tid = incident->holder_tid,
							   .recent = recent,
							   .done = on_done,
							   .arg = &around });
	around.under_way += walk != NULL;
	look = scene_begin(&(struct scene_spec){ .loop = around.loop,
						 .incident = incident,
						 .fd = -1,
						 .waited_fd = -1,
						 .before = before,
						 .done = on_done,
						 .arg = &around });
	around.under_way += look != NULL;
	if (around.under_way)
		loop_run(around.loop);
	beyond_free(walk);
	scene_free(look);
	loop_free(around.loop);
}
