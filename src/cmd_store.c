// SPDX-License-Identifier: MIT
/* A daemon's store is where its rules file says, which the one who types 'list' need not
 * know. Who may not ask the daemon may not read its incidents either: his own store, if he has
 * one, is what is meant then. */
#include "cmd_store.h"

#include "control.h"
#include "log.h"

#include <string.h>

/* *ret_dir is the caller's; NULL: the default. */
static int daemons_store(char **ret_dir, struct err *err)
{
	CLEAN(free) char *own = NULL;
	const char *dir;
	json_t *daemon;
	int r = control_json("/api/daemon", &daemon, err);

	*ret_dir = NULL;
	if (r == -ECONNREFUSED)
		return 0;
	if (r == -EACCES) {
		own = store_default_dir();
		if (own && access(own, F_OK) == 0)
			return 0;
		return err_say(err, r,
			       "a daemon's incidents are for root, and for who runs it: try 'sudo reqtrap', or name a "
			       "store with --store");
	}
	if (r < 0) {
		log_warn("%s; the default store is read", err->text);
		return 0;
	}
	dir = json_string_value(json_object_get(daemon, "store"));
	*ret_dir = dir ? strdup(dir) : NULL;
	json_decref(daemon);
	return 0;
}

int store_open_meant(const struct command_line *line, struct store **ret_store, struct err *err)
{
	const char *dir = option_value(line, "store"), *set = getenv("REQTRAP_STORE");
	CLEAN(free) char *daemons = NULL;
	int r = 0;

	if (!dir && !(set && *set))
		r = daemons_store(&daemons, err);
	return r < 0 ? r : store_open(dir ? dir : daemons, false, ret_store, err);
}
