// SPDX-License-Identifier: MIT
/* 'dump' and 'procdump': two grammars, one series of dumps (series.h), and its telling.
 * Rejected: a second way to dump for the second grammar. Trap: standard output may be
 * gone while the dumps go on: what cannot be told is no reason to stop. */
#include "cmd.h"
#include "cmd_dump_tell.h"
#include "journal.h"
#include "ktime.h"
#include "log.h"
#include "place.h"
#include "procdump.h"
#include "rule.h"

#include <signal.h>
#include <string.h>

#define INTERVAL_MIN_NS (10 * NSEC_PER_MSEC)

/* ---- the run ---- */

struct run {
	bool json, no_journal, untold;
	struct progress progress;
};

static void tell_journal(const struct series_dump *dump)
{
	uint64_t now = now_ns(), taken_ns = dump->result->taken_ns;
	uint64_t ago_ns = taken_ns && taken_ns < now ? now - taken_ns : 0;
	struct err err = { .text = "" };

	if (journal_core(JOURNAL_SOCKET,
			 &(struct journal_core){ .process = dump->facts,
						 .path = dump->path,
						 .kind = dump_kind_name(dump->kind),
						 .wall_ns = wall_ns() - ago_ns,
						 .pause_ns = dump->result->pause_ns },
			 &err) < 0)
		log_warn("%s", err.text);
}

static void on_dumped(void *arg, const struct series_dump *dump)
{
	struct run *run = arg;

	progress_clear(&run->progress);
	if (!tell_dump(dump, run->json) && errno != EPIPE && !run->untold) {
		log_error("'%s' is written, but standard output does not take the news: %s",
			  dump->path ? dump->path : "", strerror(errno));
		run->untold = true;
	}
	if (dump->path && !run->no_journal)
		tell_journal(dump);
}

static void on_compared(void *arg, const struct series_result *result)
{
	struct run *run = arg;

	progress_clear(&run->progress);
	tell_compared(result, run->json);
}

static void on_under_way(void *arg, const struct series_dump *dump)
{
	struct run *run = arg;

	progress_show(&run->progress, dump);
}

static void on_waiting(void *arg, const struct series_state *state)
{
	struct run *run = arg;

	if (run->json)
		tell_waiting(&run->progress, state);
	else
		progress_wait(&run->progress, state);
}

static void on_say(void *arg, enum series_word word, const char *text)
{
	struct run *run = arg;

	progress_clear(&run->progress);
	if (word == SERIES_NOTE)
		log_note("%s", text);
	else
		(word == SERIES_WARNING ? log_warn : log_error)("%s", text);
	if (run->json)
		tell_said(word, text);
}

/* As a shell expects of a program that a signal ended. */
static void die_of(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(number);
}

static int run_series(const struct series_spec *spec, struct run *run)
{
	struct series_calls calls = { .dumped = on_dumped,
				      .under_way = on_under_way,
				      .compared = on_compared,
				      .waiting = on_waiting,
				      .say = on_say,
				      .arg = run };
	int number, code = series_run(spec, &calls, &number);

	progress_clear(&run->progress);
	if (number)
		die_of(number);
	return code == EXIT_DONE && run->untold ? EXIT_REFUSED : code;
}

/* ---- the two grammars ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

/* --compress decides; else a name that was given; else the kind. */
static enum series_compress choose_compression(const char *option, const char *path)
{
	if (option ? !strcmp(option, "zstd") : place_is_file(path) && ends_with(path, ".zst"))
		return COMPRESS_ZSTD;
	return option || place_is_file(path) ? COMPRESS_NONE : COMPRESS_BY_KIND;
}

static struct series_step choose_kinds(bool mini, bool full, unsigned int turns)
{
	struct series_step step = { .turns = turns };

	if (mini)
		step.shot[step.shots++] = DUMP_MINI;
	if (full || !mini)
		step.shot[step.shots++] = DUMP_FULL;
	return step;
}

/* 0 is typed for 'as long as it takes'. */
static uint64_t hold_of(uint64_t typed_ns)
{
	return typed_ns ? typed_ns : SERIES_HOLD_FOREVER_NS;
}

/* The order's fields, from values that were checked already. */
static void read_limits(struct series_spec *s, const struct command_line *line)
{
	const char *value;

	s->order.everything = option_given(line, "everything");
	s->budget_given = option_given(line, "pause-budget");
	if ((value = option_value(line, "pause-budget")))
		parse_duration(value, &s->order.pause_budget_ns, NULL);
	if ((value = option_value(line, "hold")))
		parse_duration(value, &s->order.hold_ns, NULL), s->order.hold_ns = hold_of(s->order.hold_ns);
	if ((value = option_value(line, "max-size")))
		parse_size(value, &s->order.max_bytes, NULL);
	if ((value = option_value(line, "free-space")))
		parse_space(value, &s->order.free_bytes, &s->order.free_percent, NULL);
	if ((value = option_value(line, "max-rate")))
		parse_size(value, &s->order.rate, NULL);
}

/* Options that are conditions. --cpu is of one core, or with --cpu-of of the machine. */
static const struct condition {
	const char *option;
	enum trigger_kind kind;
} conditions[] = {
	{ "cpu", TRIGGER_CPU },
	{ "memory", TRIGGER_MEMORY },
	{ "threads", TRIGGER_THREADS },
	{ "fds", TRIGGER_FDS },
	{ "cpu-pressure", TRIGGER_CPU_PRESSURE },
	{ "memory-pressure", TRIGGER_MEMORY_PRESSURE },
	{ "io-pressure", TRIGGER_IO_PRESSURE },
	{ "memory-events", TRIGGER_MEMORY_EVENTS },
	{ "hung", TRIGGER_HUNG },
};

static int add_condition(struct series_spec *s, const struct option_use *use, bool machine, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
		enum trigger_kind kind = conditions[i].kind;
		int r;

		if (strcmp(use->row->name, conditions[i].option) != 0)
			continue;
		if (s->trigger_count == ARRAY_LEN(s->trigger))
			return err_say(err, -EINVAL, "more than %zu conditions", ARRAY_LEN(s->trigger));
		if (kind == TRIGGER_CPU && machine)
			kind = TRIGGER_CPU_MACHINE;
		r = trigger_parse(kind, use->value, &s->trigger[s->trigger_count], err);
		if (r < 0)
			return err_wrap(err, r, "--%s", use->row->name);
		if (kind == TRIGGER_HUNG && !s->trigger[s->trigger_count].for_ns)
			return err_say(err, -EINVAL, "--hung %s: for how long without progress?", use->value);
		s->trigger_count++;
	}
	return 0;
}

static int read_conditions(struct series_spec *s, const struct command_line *line, struct err *err)
{
	const char *value = option_value(line, "cpu-of");
	bool machine = value && !strcmp(value, "machine");
	uint64_t for_ns = 0;

	for (size_t i = 0; i < line->use_count; i++) {
		int r = add_condition(s, &line->use[i], machine, err);

		if (r < 0)
			return r;
	}
	if ((value = option_value(line, "for")))
		parse_duration(value, &for_ns, NULL);
	for (size_t i = 0; i < s->trigger_count; i++) {
		if (s->trigger[i].kind != TRIGGER_HUNG)
			s->trigger[i].for_ns = for_ns;
	}
	for (size_t i = 0; i < line->use_count; i++) {
		uint64_t bits = 0;
		int r = strcmp(line->use[i].row->name, "signal") != 0 ? 0
								      : trigger_signals(line->use[i].value, &bits, err);

		if (r < 0)
			return err_wrap(err, r, "--signal");
		s->order.on.signals |= bits;
	}
	s->order.on.exit = option_given(line, "exit");
	s->order.on.fatal = option_given(line, "crash");
	if (option_given(line, "hang") && (s->order.on.signals || s->order.on.fatal || s->order.on.exit))
		return err_say(err, -EINVAL, "--hang takes stacks of a process that goes on: it does not go with --%s",
			       s->order.on.fatal  ? "crash"
			       : s->order.on.exit ? "exit"
						  : "signal");
	if (for_ns && !s->trigger_count)
		return err_say(err, -EINVAL,
			       "--for says how long a condition must hold, but there is none, such as --cpu");
	if ((value = option_value(line, "interval")))
		parse_duration(value, &s->interval_ns, NULL);
	if (value && s->interval_ns < INTERVAL_MIN_NS)
		return err_say(err, -EINVAL, "--interval %s: the shortest is 10ms", value);
	s->all = option_given(line, "all");
	s->wait = option_given(line, "wait");
	if ((value = option_value(line, "timeout")))
		parse_duration(value, &s->timeout_ns, NULL);
	return 0;
}

/* Three looks at the stacks and then the memory, as one turn. */
static struct series_step hang_recipe(unsigned int turns, bool mini)
{
	return (struct series_step){
		.turns = turns,
		.shot = { DUMP_STACKS, DUMP_STACKS, DUMP_STACKS, mini ? DUMP_MINI : DUMP_FULL },
		.shots = 4,
		.gap_ns = NSEC_PER_SEC,
	};
}

static int read_steps(struct series_spec *s, const struct command_line *line, struct err *err)
{
	const char *plan = option_value(line, "series"), *value = option_value(line, "count");
	bool mini = option_given(line, "mini"), full = option_given(line, "full"), hang = option_given(line, "hang");
	uint64_t count = 1;
	int r = value ? parse_count(value, 1, PROCDUMP_COUNT_MAX, &count, err) : 0;

	if (r < 0)
		return r;
	if (plan && (value || mini || full || hang))
		return err_say(err, -EINVAL, "--series says what is taken and how often: it does not go with --%s",
			       value  ? "count"
			       : hang ? "hang"
			       : mini ? "mini"
				      : "full");
	if (plan)
		return series_plan(s, plan, err);
	s->step[s->step_count++] =
		hang ? hang_recipe((unsigned int)count, mini && !full) : choose_kinds(mini, full, (unsigned int)count);
	return 0;
}

static int read_options(struct series_spec *s, const struct command_line *line, struct err *err)
{
	const char *snapshot = option_value(line, "snapshot");
	const char *value;
	uint64_t number = 1;
	int r = read_steps(s, line, err);

	s->every_ns = PROCDUMP_EVERY_NS;
	if (r == 0 && (value = option_value(line, "every")))
		r = parse_duration(value, &s->every_ns, err);
	if (snapshot && strcmp(snapshot, "auto"))
		s->order.snapshot = !strcmp(snapshot, "clone") ? SNAPSHOT_CLONE : SNAPSHOT_STOP;
	if (r == 0 && (value = option_value(line, "concurrent")))
		r = parse_count(value, 1, SERIES_CONCURRENT_MAX, &number, err);
	s->concurrent = (unsigned int)number;
	if (r == 0 && (value = option_value(line, "at"))) {
		r = parse_duration(value, &s->give_up_ns, err);
		if (r == 0 && !s->give_up_ns)
			r = err_say(err, -EINVAL, "--at %s: no dump takes so little", value);
	}
	s->avoid_outage = option_given(line, "avoid-outage");
	s->kill = option_given(line, "kill");
	read_limits(s, line);
	if (r == 0)
		r = read_conditions(s, line, err);
	s->compress = choose_compression(option_value(line, "compress"), s->path);
	return r;
}

/* No file: what the verb 'stacks' prints. */
static int print_stacks(const struct command_line *line)
{
	char *argv[4] = { (char *)(uintptr_t) "stacks", line->rest[0], NULL, NULL };
	int argc = 2;

	for (size_t i = 0; i < line->use_count; i++) {
		const char *name = line->use[i].row->name;

		if (!strcmp(name, "json") && argc == 2)
			argv[argc++] = (char *)(uintptr_t) "--json";
		else if (strcmp(name, "stacks") != 0 && strcmp(name, "quiet") != 0 && strcmp(name, "json") != 0)
			return log_error("--stacks prints and writes no dump: it does not go with --%s", name),
			       EXIT_MISTAKE;
	}
	if (line->rest_count > 1)
		return log_error("--stacks prints and writes no dump: send it to '%s' with '>'", line->rest[1]),
		       EXIT_MISTAKE;
	return cmd_stacks(argc, argv);
}

static int cancel_series(struct run *run, const char *word)
{
	struct err err = { .text = "" };
	int n;

	n = series_cancel(word, &err);
	if (n == 0)
		err_say(&err, 0, "no series of dumps runs on '%s'", word);
	if (n <= 0) {
		on_say(run, SERIES_ERROR, err.text);
		return n < 0 ? exit_code_of(n) : EXIT_NOTHING;
	}
	log_note("%d series on '%s' asked to end", n, word);
	return EXIT_DONE;
}

/* Whoever reads events reads of a wrong word, too. */
static int say_mistake(struct run *run, int argc, char **argv, const char *text)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		run->json |= !strcmp(argv[i], "--json");
	on_say(run, SERIES_ERROR, text);
	return EXIT_MISTAKE;
}

int cmd_dump(int argc, char **argv)
{
	struct command_line line;
	struct series_spec spec = { .target_count = 1 };
	struct run run = { .json = false };
	struct err err = { .text = "" }, said;
	int r = options_parse(verb_find("dump"), argc, argv, &line, &err);

	if (r < 0) {
		err_say(&said, r, "%s; see 'reqtrap help dump'", err.text);
		return say_mistake(&run, argc, argv, said.text);
	}
	if (r > 0)
		return EXIT_DONE;
	run.json = option_given(&line, "json");
	run.no_journal = option_given(&line, "no-journal");
	run.progress.off = option_given(&line, "quiet");
	log_quiet(run.progress.off);
	if (option_given(&line, "cancel") && (line.rest_count || line.command || line.use_count > 1u + run.json)) {
		on_say(&run, SERIES_ERROR, "--cancel PID|NAME goes alone");
		return EXIT_MISTAKE;
	}
	if (option_given(&line, "cancel"))
		return cancel_series(&run, option_value(&line, "cancel"));
	spec.path = option_value(&line, "output");
	spec.target = line.rest;
	spec.command = line.command;
	if (line.command && line.rest_count <= 1 && !(line.rest_count && spec.path))
		spec.target_count = 0, spec.path = line.rest_count ? line.rest[0] : spec.path;
	else if (line.command)
		r = err_say(&err, -EINVAL, "'%s' and '-- %s': which of the two?", line.rest[0], line.command[0]);
	else if (line.rest_count < 1)
		r = err_say(&err, -EINVAL, "no process is named: reqtrap dump [OPTIONS] PID|NAME [PATH]");
	else if (spec.path)
		spec.target_count = (size_t)line.rest_count;
	else if (line.rest_count > 2)
		r = err_say(&err, -EINVAL,
			    "'%s' is one word too many: a process and a path are all (several processes: -o PATH)",
			    line.rest[2]);
	else if (line.rest_count == 2)
		spec.path = line.rest[1];
	if (r == 0 && spec.path && !spec.path[0])
		r = err_say(&err, -EINVAL, "the path is empty");
	if (r >= 0)
		r = read_options(&spec, &line, &err);
	if (r < 0) {
		on_say(&run, SERIES_ERROR, err.text);
		return EXIT_MISTAKE;
	}
	if (option_given(&line, "stacks"))
		return print_stacks(&line);
	return run_series(&spec, &run);
}

static struct series_spec procdump_series(const struct procdump *pd)
{
	struct series_spec spec = {
		.target = pd->target,
		.target_count = pd->target_count,
		.command = pd->command,
		.any_case = true,
		.all = pd->all,
		.wait = pd->wait,
		.trigger_count = pd->trigger_count,
		.interval_ns = pd->interval_ns,
		.every_ns = pd->every_ns,
		.order = { .on = pd->on, .hold_ns = pd->hold_ns == PROCDUMP_UNSET ? 0 : hold_of(pd->hold_ns) },
		.budget_given = pd->pause_budget_ns != PROCDUMP_UNSET,
		.compress = COMPRESS_NONE,
		.concurrent = pd->concurrent,
		.give_up_ns = pd->timeout_ns,
		.avoid_outage = pd->avoid_outage,
		.path = pd->path,
		.pattern = pd->as == PROCDUMP_LINUX ? PROCDUMP_FILE_NAME_LINUX : PROCDUMP_FILE_NAME,
		.kill = pd->kill,
		.overwrite = pd->overwrite,
	};

	_Static_assert(ARRAY_LEN(spec.trigger) >= PROCDUMP_TRIGGERS_MAX, "all of them fit");
	memcpy(spec.trigger, pd->trigger, sizeof(pd->trigger));
	if (spec.budget_given)
		spec.order.pause_budget_ns = pd->pause_budget_ns;
	spec.step[spec.step_count++] = choose_kinds(pd->mini, pd->full, pd->count);
	snprintf(spec.order.comment, sizeof(spec.order.comment), "%s", pd->comment ? pd->comment : "");
	return spec;
}

static void tell_notes(char *text)
{
	for (char *line = text; line && *line;) {
		char *end = line + strcspn(line, "\n");
		bool more = *end;

		*end = '\0';
		log_note("%s", line);
		line = end + more;
	}
}

int cmd_procdump(int argc, char **argv)
{
	struct procdump pd = { 0 };
	struct series_spec spec;
	struct run run = { .json = false };
	struct err err = { .text = "" };
	struct buf text;
	int r;

	buf_init(&text, 65536);
	r = procdump_parse(argc, argv, &pd, &text, &err);
	if (r == 0)
		tell_notes(text.data);
	if (r == 0 && pd.help) {
		buf_done(&text);
		procdump_help(&text);
		fputs(text.data, stdout);
	}
	buf_done(&text);
	run.json = pd.json;
	if (r < 0) {
		on_say(&run, SERIES_ERROR, err.text);
		return EXIT_MISTAKE;
	}
	if (pd.help)
		return EXIT_DONE;
	if (pd.cancel)
		return cancel_series(&run, pd.cancel);
	run.no_journal = pd.no_journal;
	spec = procdump_series(&pd);
	return run_series(&spec, &run);
}
