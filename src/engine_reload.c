// SPDX-License-Identifier: MIT
/* Other rules while requests are in flight. Rejected: a second engine beside the first,
 * which would know no request that has begun. Trap: what was trapped keeps pointers to
 * the rule that did it, so rules outlive their use. */
#include "engine_inside.h"

#include <string.h>

bool engine_captures(const struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (rules->rule[i].capture & CAPTURE_STOPS)
			return true;
	}
	return false;
}

void engine_retire(struct engine *engine)
{
	uint64_t oldest = engine->traps ? engine->traps->number : UINT64_MAX;
	size_t left = 0;

	for (size_t i = 0; i < engine->retired_count; i++) {
		if (oldest < engine->retired[i].until)
			engine->retired[left++] = engine->retired[i];
		else if (engine->config.rules_done)
			engine->config.rules_done(engine->config.arg, engine->retired[i].rules);
	}
	engine->retired_count = left;
}

int engine_reload(struct engine *engine, const struct rules *rules, struct err *err)
{
	const struct rules *old = engine->config.rules;
	struct areas areas[2] = { 0 };
	uint64_t limits[LIMITS_MAX];
	struct retired *retired;
	int r = rules_limits(rules, limits, LIMITS_MAX);

	if (r < 0)
		return err_say(err, r, "more than %d different 'time-taken' limits", LIMITS_MAX);
	rules_areas(old, &areas[0]);
	rules_areas(rules, &areas[1]);
	if (memcmp(&areas[0], &areas[1], sizeof(areas[0])) != 0)
		return err_say(err, -EBUSY, "other 'areas' take a restart, as does the first rule by severity");
	retired = list_add(&engine->retired, &engine->retired_count, sizeof(*retired));
	if (!retired)
		return err_sys(err, -ENOMEM, "cannot take the new rules");
	if (engine_captures(rules) && !engine->host_log)
		engine->host_log = engine->world.host_log = host_log_new();
	engine->config.rules = rules; /* want_status() asks them */
	r = tracer_retrigger(engine->tracer, limits, (size_t)r, err);
	if (r < 0) {
		engine->config.rules = old;
		engine->retired_count--;
		return r;
	}
	engine_input_done(engine); /* the old sets */
	*retired = (struct retired){ .rules = old, .until = engine->traps_made };
	engine_keep(engine);
	if (engine_captures(rules))
		engine_warm_up(engine);
	engine_settle_soon(engine);
	return 0;
}
