// SPDX-License-Identifier: MIT
/* What a rule is asked about, out of a slot. Rejected: reading all headers of each request
 * that fires: most rules ask for none. Trap: which processes are of a watch set changes
 * while they fork, so it is looked up, and only so often. */
#include "engine_inside.h"

#include "ktime.h"
#include "proc.h"
#include "request.h"
#include "target.h"

#include <string.h>

#define SETS_FRESH_NS (2 * NSEC_PER_SEC)
#define ANCESTORS_MAX 32

static void sets_done(struct engine *engine)
{
	for (size_t i = 0; i < engine->set_count; i++)
		targets_done(&engine->set[i]);
	free(engine->set);
	engine->set = NULL;
	engine->set_count = 0;
	engine->set_rules = NULL;
}

/* The processes of all sets, as of now. */
static bool sets_read(struct engine *engine)
{
	const struct rules *rules = engine->config.rules;
	uint64_t now = now_ns();

	if (engine->set_rules == rules && now < engine->set_ns + SETS_FRESH_NS)
		return true;
	sets_done(engine);
	engine->set = calloc(rules->watch_count + 1, sizeof(*engine->set));
	if (!engine->set)
		return false;
	engine->set_count = rules->watch_count;
	engine->set_rules = rules;
	engine->set_ns = now;
	for (size_t i = 0; i < engine->set_count; i++) {
		for (char **word = rules->watch[i].word; word && *word; word++)
			target_find(&engine->set[i], *word, NULL); /* nothing of that name runs: it has no member */
	}
	return true;
}

static pid_t parent_of(pid_t pid)
{
	CLEAN(fd) int dir_fd = proc_dir_open(pid);
	struct proc_stat stat;

	return dir_fd >= 0 && proc_stat_read(dir_fd, "stat", &stat) == 0 ? stat.ppid : 0;
}

static bool set_has(const struct targets *set, pid_t pid)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++, pid = parent_of(pid)) {
		for (size_t k = 0; k < set->count; k++) {
			if (set->pid[k] == pid)
				return true;
		}
	}
	return false;
}

static bool in_watch(void *arg, const char *name)
{
	const struct engine_asking *asking = arg;
	const struct rules *rules = asking->engine->config.rules;
	const struct watch_set *set = rules_watch(rules, name);

	return set && sets_read(asking->engine) &&
	       set_has(&asking->engine->set[set - rules->watch], (pid_t)asking->slot->pid);
}

static char *header(void *arg, const char *name)
{
	const struct engine_asking *asking = arg;

	return request_header(asking->slot, name);
}

void engine_input(struct engine_asking *asking, const struct request_info *info, const struct record *record,
		  struct rule_input *ret_input)
{
	const struct slot *slot = asking->slot;
	bool over = record->kind == RECORD_OVER || record->kind == RECORD_ENDED;

	*ret_input = (struct rule_input){
		.method = info->method,
		.url = info->url,
		.host = info->host,
		.client = info->client,
		.status = record->kind == RECORD_STATUS ? (int)record->value : slot->status,
		/* When it began nobody knows: then no rule of time asks for it. */
		.elapsed_ns = record->at_ns > slot->begin_ns && !(slot->flags & SLOT_START_UNKNOWN)
				      ? record->at_ns - slot->begin_ns
				      : 0,
		.server_ns = slot->flags & SLOT_START_UNKNOWN ? 0 : slot->server_ns,
		.aborted = over && slot->flags & SLOT_ABORTED && !(slot->flags & (SLOT_GAP | SLOT_END_INFERRED)),
		.severity = slot->severity,
		.response_bytes = over ? slot->reply_bytes : 0,
		.header = header,
		.in_watch = in_watch,
		.arg = asking,
	};
}

const struct rule *engine_match(struct engine *engine, const struct rule_input *input, enum rule_verdict *ret_why)
{
	const struct rules *rules = engine->config.rules;
	uint64_t now = now_ns();

	for (size_t i = 0; i < rules->count; i++) {
		*ret_why = rule_match(&rules->rule[i], input, NULL, 0);
		if (*ret_why != RULE_NO && quota_occur(engine->quota, &rules->rule[i], now))
			return &rules->rule[i];
	}
	return NULL;
}

void engine_input_done(struct engine *engine)
{
	sets_done(engine);
}
