// SPDX-License-Identifier: MIT
/* 'serve': the rules of a file, for months. One loop: requests, captures, pages, metrics.
 * SIGHUP, or a file that has changed, swaps the rules as a whole or not at all. Trap:
 * what is watched comes and goes, so the names are looked for again and again. */
#include "cmd.h"
#include "cmd_targets.h"
#include "config.h"
#include "control.h"
#include "dump.h"
#include "facts.h"
#include "folder.h"
#include "incident_mask.h"
#include "journal.h"
#include "ktime.h"
#include "log.h"
#include "notify.h"
#include "serve.h"
#include "store.h"
#include "target.h"
#include "value.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define CONFIG_PATH "/etc/reqtrap/reqtrap.conf"
#define LOOK_NS (2 * NSEC_PER_SEC) /* between two looks for targets and at the file */
#define FINISH_NS (30 * NSEC_PER_SEC)
#define PAUSE_BUDGET_NS (250 * NSEC_PER_MSEC)
#define BUDGET_PPM 20000

const double serve_pause_bounds[SERVE_PAUSES] = { .001, .0025, .005, .01, .025, .05, .1, .25, 1 };

struct daemon {
	struct serve serve;
	struct command_line line;
	char socket[108], url_path[120], token[WEB_TOKEN_LEN + 1];
	uint16_t port;
	uint64_t named; /* which processes the words named last */
	bool looked;
};

/* ---- what happened ---- */

struct serve_rule *serve_rule_of(struct serve *serve, const char *name)
{
	struct serve_rule *rule;

	for (size_t i = 0; i < serve->rule_count; i++) {
		if (!strcmp(serve->rule[i].name, name))
			return &serve->rule[i];
	}
	rule = list_add(&serve->rule, &serve->rule_count, sizeof(*rule));
	if (!rule)
		return NULL;
	*rule = (struct serve_rule){ .name = strdup(name) };
	if (!rule->name)
		serve->rule_count--;
	return rule->name ? rule : NULL;
}

static void row_done(struct serve_row *row)
{
	char *const texts[] = { row->folder,  row->rule,    row->method,       row->url,
				row->process, row->verdict, row->not_captured, row->core };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
}

static char *copy_of(const char *text)
{
	return text ? strdup(text) : NULL;
}

static struct serve_row *row_add(struct serve *serve)
{
	if (serve->row_count >= SERVE_ROWS) {
		row_done(&serve->row[0]);
		memmove(serve->row, serve->row + 1, --serve->row_count * sizeof(*serve->row));
	}
	return list_add(&serve->row, &serve->row_count, sizeof(struct serve_row));
}

static void remember(struct serve *serve, const struct incident *in, const char *path)
{
	struct serve_row *row = row_add(serve);
	const char *name = path ? strrchr(path, '/') : NULL;

	if (!row)
		return;
	*row = (struct serve_row){
		.folder = copy_of(name		  ? name + 1
				  : path && *path ? path
						  : NULL),
		.rule = copy_of(in->rule),
		.method = copy_of(in->request.method),
		.url = copy_of(in->request.url),
		.process = copy_of(in->chain_count ? in->chain[in->chain_count - 1].process : NULL),
		.verdict = copy_of(in->verdict),
		.not_captured = copy_of(in->suppressed ? in->suppressed : in->capture.failed),
		.core = copy_of(in->capture.core_file),
		.reason = in->reason,
		.status = in->status,
		.pid = in->holder_pid,
		.wall_ns = in->trapped_wall_ns,
		.elapsed_ns = in->elapsed_ns,
		.pause_ns = in->capture.pause_ns,
	};
	snprintf(row->id, sizeof(row->id), "%s", in->id);
}

static void count_pause(struct serve *serve, uint64_t ns)
{
	int i = 0;

	while (i < SERVE_PAUSES && (double)ns / 1e9 > serve_pause_bounds[i])
		i++;
	serve->pauses[i]++;
	serve->pause_count++;
	serve->pause_sum_ns += ns;
}

static struct journal_line about; /* what the next line is about, for those who ask the journal */

static bool to_journal(int priority, const char *text)
{
	struct journal_line line = about;

	line.priority = priority;
	line.text = text;
	return journal_line(JOURNAL_SOCKET, &line) == 0;
}

static void tell_trapped(const struct incident *in, const char *rule, const char *path)
{
	about = (struct journal_line){ .incident = in->id,
				       .rule = rule,
				       .method = in->request.method,
				       .url = in->request.url,
				       .pid = in->holder_pid,
				       .elapsed_ns = in->elapsed_ns };
	log_note("rule '%s' trapped %s %s after %.0f ms in process %d: %s (%s)", rule,
		 in->request.method ? in->request.method : "?", in->request.url ? in->request.url : "?",
		 ns_to_ms(in->elapsed_ns), in->holder_pid,
		 in->suppressed	      ? in->suppressed
		 : in->capture.failed ? in->capture.failed
		 : in->verdict	      ? in->verdict
				      : "no verdict",
		 *path ? path : "not stored");
	about = (struct journal_line){ .incident = NULL };
}

static void on_trapped(void *arg, const struct incident *in, const char *path)
{
	struct serve *serve = arg;
	struct serve_rule *rule = serve_rule_of(serve, in->rule ? in->rule : "?");

	remember(serve, in, path);
	if (rule) {
		rule->trapped++;
		rule->suppressed += in->suppressed != NULL;
		rule->failed += in->capture.failed != NULL;
		rule->captured += !in->suppressed && !in->capture.failed;
		rule->last_wall_ns = in->trapped_wall_ns;
		if (in->capture.failed)
			text_set(&rule->last_error, in->capture.failed);
	}
	if (in->capture.pause_ns)
		count_pause(serve, in->capture.pause_ns);
	tell_trapped(in, in->rule ? in->rule : "?", path);
}

static void on_ended(void *arg, const struct incident *in, const char *path UNUSED)
{
	struct serve *serve = arg;

	for (size_t i = serve->row_count; i-- > 0;) {
		if (!strcmp(serve->row[i].id, in->id)) {
			serve->row[i].status = in->status;
			serve->row[i].elapsed_ns = MAX(in->time_taken_ns, serve->row[i].elapsed_ns);
			return;
		}
	}
}

/* What is no longer there is not listed either. */
static void on_pruned(void *arg)
{
	struct serve *serve = arg;
	CLEAN(fd) int dir = open(serve->store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t left = 0;

	for (size_t i = 0; dir >= 0 && i < serve->row_count; i++) {
		struct serve_row *row = &serve->row[i];

		if (row->folder && faccessat(dir, row->folder, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			row_done(row);
		else
			serve->row[left++] = *row;
	}
	serve->row_count = dir >= 0 ? left : serve->row_count;
}

const struct serve_row *serve_row_find(const struct serve *serve, const char *id)
{
	for (size_t i = serve->row_count; i-- > 0;) {
		if (!strcmp(serve->row[i].id, id))
			return &serve->row[i];
	}
	return NULL;
}

static void on_failed(void *arg UNUSED, const char *text)
{
	log_warn("%s", text);
}

static void on_shed(void *arg UNUSED, enum budget_word word, enum detail detail, uint32_t spent_ppm)
{
	log_warn("the watch takes %.4g %% of the host's CPU time: %s%s", spent_ppm / 1e4,
		 detail < DETAIL_COUNT ? detail_name(detail) : "no detail is left to shed",
		 word == BUDGET_BACK	? " detail is back"
		 : word == BUDGET_STUCK ? ""
					: " detail is shed");
}

static void on_rules_done(void *arg UNUSED, const struct rules *rules)
{
	struct rules *old = (struct rules *)(uintptr_t)rules; /* ours: engine_reload gives it back */

	rules_free(old);
	free(old);
}

/* ---- rules ---- */

int serve_read_rules(const char *path, struct rules **ret_rules, struct buf *problems, struct err *err)
{
	struct rules *rules = calloc(1, sizeof(*rules));
	int r = rules ? config_read(path, rules, problems, err) : err_sys(err, -ENOMEM, "cannot read '%s'", path);

	if (r < 0) {
		if (rules)
			rules_free(rules);
		free(rules);
		return r;
	}
	*ret_rules = rules;
	return 0;
}

int serve_reload(struct serve *serve, struct err *err)
{
	struct rules *rules = NULL;
	struct buf problems;
	int r;

	buf_init(&problems, 1 << 20);
	notify_reloading();
	serve->seen = config_stamp(serve->config_path); /* before: a change while it is read is another one */
	r = serve_read_rules(serve->config_path, &rules, &problems, err);
	if (r == 0)
		r = engine_reload(serve->engine, rules, err);
	if (r == 0) {
		serve->rules = rules;
		mask_show_values(rules->show_values);
	} else if (rules) {
		on_rules_done(serve, rules);
	}
	if (problems.len)
		fputs(problems.data, stderr);
	buf_done(&problems);
	serve->reload_wall_ns = wall_ns();
	text_set(&serve->reload_error, r < 0 ? err->text : NULL);
	if (r == 0) {
		serve->reloads++;
		log_note("rules are read anew: %zu in force", serve->rules->count);
	} else {
		log_error("the old rules stay: %s", err->text);
	}
	notify("READY=1\nSTATUS=%zu rules in force%s%s", serve->rules->count, r < 0 ? "; the last reload failed: " : "",
	       r < 0 ? err->text : "");
	return r;
}

/* ---- targets ---- */

/* All that the words name. What has been forked since is followed by the engine: workers
 * are looked for, which costs a look at every process, when somebody else is named. */
static void look(struct daemon *d)
{
	struct targets targets = { 0 };
	uint64_t named = 0;
	struct err err;
	size_t now = 0;

	for (int i = 0; i < d->line.rest_count; i++)
		target_find(&targets, d->line.rest[i], &err);
	for (size_t i = 0; i < d->serve.rules->watch_count; i++) {
		for (char **word = d->serve.rules->watch[i].word; word && *word; word++)
			target_find(&targets, *word, &err);
	}
	for (size_t i = 0; i < targets.count; i++)
		named = named * 31 + (uint64_t)targets.pid[i];
	if (named != d->named)
		targets_workers(&targets);
	for (size_t i = 0; i < targets.count; i++)
		now += targets.pid[i] != getpid() && engine_add_process(d->serve.engine, targets.pid[i], &err) == 0;
	targets_done(&targets);
	if (named == d->named && d->looked)
		return;
	if (now && engine_older(d->serve.engine, &err) < 0)
		log_warn("%s", err.text);
	log_note("watching %zu process%s by name%s", now, now == 1 ? "" : "es", now ? "" : ": none is there yet");
	d->named = named;
	d->looked = true;
}

static void on_look(void *arg, uint32_t events UNUSED)
{
	struct daemon *d = arg;
	uint64_t stamp = config_stamp(d->serve.config_path);
	struct err err;

	look(d);
	if (stamp == d->serve.seen || access(d->serve.config_path, F_OK) < 0) /* the same, or between two versions */
		return;
	serve_reload(&d->serve, &err);
}

/* ---- signals and life ---- */

static void on_over(void *arg)
{
	struct daemon *d = arg;

	loop_stop(d->serve.loop, 0);
}

static void on_signal(void *arg, uint32_t signal)
{
	struct daemon *d = arg;
	struct err err;

	if (signal == SIGHUP) {
		serve_reload(&d->serve, &err);
	} else if (d->serve.ending) {
		loop_stop(d->serve.loop, 0);
	} else {
		d->serve.ending = true;
		notify("STOPPING=1");
		log_note("ending: captures under way are finished");
		engine_finish(d->serve.engine, now_ns() + FINISH_NS, on_over, d);
	}
}

static void on_heat(void *arg, uint32_t events UNUSED)
{
	heat_tick(arg);
}

static void on_watchdog(void *arg UNUSED, uint32_t events UNUSED)
{
	notify("WATCHDOG=1");
}

static int make_token(struct daemon *d, struct err *err)
{
	uint8_t raw[WEB_TOKEN_LEN / 2];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return err_sys(err, -errno, "cannot make a token");
	for (size_t i = 0; i < sizeof(raw); i++)
		sprintf(d->token + 2 * i, "%02x", raw[i]);
	return 0;
}

/* Beside the socket, for root alone. */
static int write_url(struct daemon *d, struct err *err)
{
	char *path = d->url_path, text[96];
	CLEAN(fd) int fd = -1;
	int n;

	snprintf(path, sizeof(d->url_path), "%.*s/web-url", (int)(strrchr(d->socket, '/') - d->socket), d->socket);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	n = snprintf(text, sizeof(text), "http://127.0.0.1:%u/?token=%s\n", d->port, d->token);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return err_sys(err, -errno, "cannot write '%s'", path);
	log_note("the pages: 'cat %s' says the address", path);
	return 0;
}

static int open_web(struct daemon *d, struct err *err)
{
	struct web_config config = { .loop = d->serve.loop,
				     .socket_path = d->socket,
				     .port = d->port,
				     .token = d->token,
				     .allows = serve_allows,
				     .serve = serve_answer,
				     .arg = &d->serve };
	int r;

	if (!option_given(&d->line, "socket") && !getenv("REQTRAP_SOCKET")) {
		CLEAN(fd) int fd = folder_runtime(NULL, "reqtrap", true);

		if (fd < 0)
			return err_sys(err, fd, "cannot make the folder for '%s'", d->socket);
	}
	r = d->port ? make_token(d, err) : 0;
	if (r == 0)
		r = web_open(&config, &d->serve.web, err);
	if (r == 0 && d->port)
		r = write_url(d, err);
	return r;
}

static void load_row(struct serve *serve, struct store *store, const struct store_row *at)
{
	struct incident *in = NULL;
	struct err err;

	if (store_load(store, at->id, &in, NULL, &err) < 0)
		return;
	remember(serve, in, at->name);
	incident_free(in);
}

/* What was captured before we began. */
static void load_rows(struct serve *serve)
{
	struct store_row *rows = NULL;
	struct store *store = NULL;
	size_t count = 0;
	struct err err;

	if (store_open(serve->store_path, false, &store, &err) < 0)
		return;
	text_set(&serve->store_path, store_path(store)); /* absolute, for others to read */
	if (store_list(store, &rows, &count, &err) == 0) {
		for (size_t i = MIN(count, 200u); i-- > 0;) /* newest first there, oldest first here */
			load_row(serve, store, &rows[i]);
	}
	store_rows_free(rows, count);
	store_free(store);
}

static int set_up(struct daemon *d, struct err *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct serve *serve = &d->serve;
	const char *store = option_value(&d->line, "store");
	struct engine_config config = {
		.rules = serve->rules,
		.store_dir = store ? store : serve->rules->store,
		.pause_budget_ns = PAUSE_BUDGET_NS,
		.budget_ppm = BUDGET_PPM,
		.compress = true,
		.books = true,
		.trapped = on_trapped,
		.ended = on_ended,
		.pruned = on_pruned,
		.shed = on_shed,
		.failed = on_failed,
		.rules_done = on_rules_done,
		.arg = serve,
	};
	uint64_t every = notify_watchdog_ns();
	int r = targets_how(&d->line, &config.hooks, &config.slots, err);

	if (r < 0)
		return r;

	if (option_given(&d->line, "max-overhead"))
		budget_parse(option_value(&d->line, "max-overhead"), &config.budget_ppm, NULL);
	serve->store_path = config.store_dir ? strdup(config.store_dir) : store_default_dir();
	dump_reap();
	r = loop_new(&serve->loop, err);
	if (r == 0)
		r = loop_add_signals(serve->loop, signals, ARRAY_LEN(signals), on_signal, d, err);
	if (r == 0)
		r = open_web(d, err); /* first: it says if another one is at work here */
	if (r == 0)
		r = engine_new(serve->loop, &config, &serve->engine, err);
	if (r < 0)
		return r;
	load_rows(serve);
	look(d);
	r = loop_add_timer(serve->loop, now_ns() + LOOK_NS, LOOK_NS, on_look, d, NULL);
	if (r == 0)
		r = loop_add_timer(serve->loop, now_ns() + HEAT_NS, HEAT_NS, on_heat, serve, NULL);
	if (r == 0 && every)
		r = loop_add_timer(serve->loop, now_ns() + every, every, on_watchdog, d, NULL);
	return r < 0 ? err_sys(err, r, "cannot set a timer") : 0;
}

static void tear_down(struct daemon *d)
{
	struct serve *serve = &d->serve;

	web_close(serve->web);
	if (d->url_path[0])
		unlink(d->url_path);
	engine_free(serve->engine);
	dump_settle();
	loop_free(serve->loop);
	if (serve->rules)
		on_rules_done(serve, serve->rules);
	for (size_t i = 0; i < serve->row_count; i++)
		row_done(&serve->row[i]);
	free(serve->row);
	for (size_t i = 0; i < serve->rule_count; i++) {
		free(serve->rule[i].name);
		free(serve->rule[i].last_error);
	}
	free(serve->rule);
	free(serve->store_path);
	free(serve->reload_error);
}

static int read_first(struct daemon *d, struct err *err)
{
	struct buf problems;
	int r;

	buf_init(&problems, 1 << 20);
	d->serve.seen = config_stamp(d->serve.config_path);
	r = serve_read_rules(d->serve.config_path, &d->serve.rules, &problems, err);
	if (problems.len)
		fputs(problems.data, stderr);
	buf_done(&problems);
	return r;
}

int cmd_serve(int argc, char **argv)
{
	static struct daemon d;
	const char *path;
	struct err err = { "" };
	uint64_t number;
	int r = verb_begin("serve", argc, argv, &d.line);

	if (r != VERB_GO_ON)
		return r;
	if (journal_is_stderr())
		log_to(to_journal);
	d.serve.config_path = option_given(&d.line, "config") ? option_value(&d.line, "config") : CONFIG_PATH;
	d.serve.started_wall_ns = wall_ns();
	path = option_given(&d.line, "socket") ? option_value(&d.line, "socket") : control_path();
	snprintf(d.socket, sizeof(d.socket), "%s", path);
	if (path[0] != '/' || strlen(path) >= sizeof(d.socket)) {
		log_error("--socket: '%s' is no absolute path, or too long for a socket", path);
		return EXIT_MISTAKE;
	}
	d.serve.may_edit = option_given(&d.line, "web-edit");
	if (option_given(&d.line, "web-port") &&
	    parse_count(option_value(&d.line, "web-port"), 1, 65535, &number, NULL) == 0)
		d.port = (uint16_t)number;
	r = read_first(&d, &err);
	if (r == 0 && !d.line.rest_count && !d.serve.rules->watch_count)
		r = err_say(
			&err, -EINVAL,
			"which processes? Name them, or give '%s' a section: watch \"shop\" { process = {\"nginx\"} }",
			d.serve.config_path);
	if (r == 0) {
		mask_show_values(d.serve.rules->show_values);
		r = set_up(&d, &err);
	}
	if (r == 0) {
		log_note("serving %zu rule%s of '%s' by %s hooks", d.serve.rules->count,
			 d.serve.rules->count == 1 ? "" : "s", d.serve.config_path, engine_hooks_name(d.serve.engine));
		notify("READY=1\nSTATUS=%zu rules in force", d.serve.rules->count);
		r = loop_run(d.serve.loop);
	}
	if (r < 0)
		log_error("%s", err.text[0] ? err.text : strerror(-r));
	tear_down(&d);
	return r < 0 ? exit_code_of(r) : EXIT_DONE;
}
