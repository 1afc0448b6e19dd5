// SPDX-License-Identifier: MIT
/* What outlives the engine: the books about captures, in a file of the store, and what
 * stays in it; and how much is under way at a time. The scribe writes; here nobody waits
 * for the disk but at the begin. */
#include "engine_inside.h"

#include "ktime.h"
#include "proc.h"

#include <fcntl.h>
#include <string.h>

#define PRUNED_TELL_NS (10 * 60 * NSEC_PER_SEC)
#define CROWDED_TELL_NS (5 * NSEC_PER_SEC)
#define TRAPS_MAX 256 /* trapped requests that are not written, or whose end is awaited */
#define BOOKS "limits.json"

static void read_boot(char *buf, size_t size)
{
	CLEAN(free) char *text = NULL;

	buf[0] = '\0';
	if (proc_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, NULL) == 0)
		snprintf(buf, size, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Where the store is full each new incident costs an old one: told now and then, in sum. */
static void tell_pruned(struct engine *engine, const struct store_pruned *pruned)
{
	char text[160];

	engine->pruned += pruned->removed;
	engine->pruned_bytes += pruned->bytes;
	if (!engine->pruned || (engine->pruned_told_ns && now_ns() < engine->pruned_told_ns + PRUNED_TELL_NS))
		return;
	snprintf(text, sizeof(text), "removed %llu incident%s of %llu KiB, to keep within 'keep' of the rules file",
		 (unsigned long long)engine->pruned, engine->pruned == 1 ? "" : "s",
		 (unsigned long long)(engine->pruned_bytes >> 10));
	engine->config.failed(engine->config.arg, text);
	engine->pruned = engine->pruned_bytes = 0;
	engine->pruned_told_ns = now_ns();
}

/* What it is full of: captures that are not written yet, or requests that do not end. */
void engine_tell_crowded(struct engine *engine)
{
	size_t running = 0;
	char text[200];

	if (!engine->crowded || (engine->crowded_told_ns && now_ns() < engine->crowded_told_ns + CROWDED_TELL_NS))
		return;
	for (const struct trap *t = engine->traps; t; t = t->next)
		running += t->stage == TRAP_STORED && !trap_request_over(t);
	snprintf(text, sizeof(text),
		 "%zu trapped requests are under way, which is the most (captures to be made or written: %zu, requests "
		 "still running: %zu): %llu more counted, not followed",
		 engine->trap_count, engine->trap_count - running, running, (unsigned long long)engine->crowded);
	engine->config.failed(engine->config.arg, text);
	engine->crowded = 0;
	engine->crowded_told_ns = now_ns();
}

bool engine_has_room(struct engine *engine)
{
	if (engine->trap_count < TRAPS_MAX)
		return true;
	engine->totals.suppressed++;
	engine->totals.trapped++;
	engine->crowded++;
	engine_tell_crowded(engine);
	return false;
}

static void on_pruned(void *arg, const struct store_pruned *pruned)
{
	struct engine *engine = arg;

	tell_pruned(engine, pruned);
	if (pruned->removed && engine->config.pruned)
		engine->config.pruned(engine->config.arg);
	if (pruned->short_of_space != (quota_throttled(engine->quota) != NULL)) {
		quota_throttle(engine->quota,
			       pruned->short_of_space ? "the disk has less free than 'free-space' wishes" : NULL);
		engine->config.failed(engine->config.arg,
				      pruned->short_of_space
					      ? "captures stop: the disk has less free than 'free-space' wishes"
					      : "captures go on: the disk has room again");
	}
}

void engine_keep(struct engine *engine)
{
	const struct store_keep *keep = &engine->config.rules->keep;

	if (scribe_keep(engine->scribe, keep, on_pruned, engine, NULL) == 0 && !keep->free_bytes && !keep->free_percent)
		quota_throttle(engine->quota, NULL);
}

/* Who has ended while nobody looked has no limit any more. */
static bool is_alive(const struct life *life, void *arg UNUSED)
{
	struct proc proc;
	bool same;

	if (proc_open(&proc, life->pid, NULL) < 0)
		return false;
	same = proc.start_ticks == life->start_ticks;
	proc_close(&proc);
	return same;
}

void engine_books_open(struct engine *engine)
{
	CLEAN(free) char *text = NULL;
	char boot[64], said[160];
	struct err err;
	size_t len = 0;
	int r = engine->config.books ? store_state_read(engine->store, BOOKS, &text, &len, &err) : -ENOENT;

	read_boot(boot, sizeof(boot));
	if (r == 0)
		r = quota_read(engine->quota, text, len, boot, now_ns(), wall_ns());
	if (r < 0 && r != -ENOENT) {
		snprintf(said, sizeof(said), "'%s' of the store is not to be read: limits are counted anew", BOOKS);
		engine->config.failed(engine->config.arg, said);
	}
	quota_forget(engine->quota, is_alive, NULL);
	quota_changed(engine->quota);
	engine_keep(engine);
}

/* Written again at each tick until it is; told once. */
static void on_books(void *arg, int code, const char *text)
{
	struct engine *engine = arg;
	char said[700];

	if (code < 0) {
		quota_unwritten(engine->quota);
		snprintf(said, sizeof(said), "%s: limits do not outlive a restart until it can be", text);
		if (!engine->books_unwritten)
			engine->config.failed(engine->config.arg, said);
	} else if (engine->books_unwritten) {
		snprintf(said, sizeof(said), "'%s' of the store is written again", BOOKS);
		engine->config.failed(engine->config.arg, said);
	}
	engine->books_unwritten = code < 0;
}

void engine_books_write(struct engine *engine)
{
	struct buf text;
	char boot[64];

	if (!engine->config.books || !engine->scribe || !quota_changed(engine->quota))
		return;
	read_boot(boot, sizeof(boot));
	buf_init(&text, STORE_STATE_MAX);
	quota_write(engine->quota, boot, now_ns(), wall_ns(), &text);
	if (text.full)
		on_books(engine, -E2BIG, "'" BOOKS "' would be too long");
	else if (scribe_state(engine->scribe, BOOKS, &text, on_books, engine, NULL) < 0)
		quota_unwritten(engine->quota);
	buf_done(&text);
}

void engine_dumped(struct engine *engine, const struct trap *trap)
{
	const struct capture_facts *capture = &trap->incident->capture;

	if (capture->core_file && capture->pause_ns)
		engine->dumped[engine->dumped_count++ % ARRAY_LEN(engine->dumped)] = (struct dumped){
			.life = { .pid = trap->incident->holder_pid, .start_ticks = trap->holder_ticks },
			.trap = trap->number,
			.until_ns = trap->trigger_ns + capture->started_after_ns + capture->pause_ns,
		};
}

bool engine_overlaps_dump(const struct engine *engine, const struct trap *trap, const struct life *life)
{
	if (trap->incident->reason != REASON_TIME_TAKEN)
		return false;
	for (size_t i = 0; i < MIN(engine->dumped_count, ARRAY_LEN(engine->dumped)); i++) {
		const struct dumped *d = &engine->dumped[i];

		if (d->trap != trap->number && d->life.pid == life->pid && d->life.start_ticks == life->start_ticks &&
		    trap->hop[0].copy.begin_ns < d->until_ns)
			return true;
	}
	return false;
}

const char *engine_limit_check(struct engine *engine, struct trap *trap, const struct rule *rule, char *buf,
			       size_t size)
{
	struct life life = { .pid = trap->incident->holder_pid };
	uint64_t now = now_ns();
	struct proc proc;
	int code;

	if (proc_open(&proc, life.pid, NULL) == 0) {
		life.start_ticks = proc.start_ticks;
		proc_close(&proc);
	}
	if (rule == trap->rule)
		trap->holder_ticks = life.start_ticks;
	if (engine_overlaps_dump(engine, trap, &life))
		return ENGINE_OVERLAPS;
	code = quota_take(engine->quota, engine->config.rules, rule, &life, now, buf, size);
	if (code == 0 && rule == trap->rule && !trap->taken_ns)
		trap->taken_ns = now;
	trap->incident->limit_reached |= code == -EDQUOT && rule == trap->rule;
	return code < 0 ? buf : NULL;
}

void engine_rule_report(struct engine *engine, const struct rule *rule, struct quota_report *ret_report)
{
	quota_report(engine->quota, engine->config.rules, rule, now_ns(), ret_report);
}
