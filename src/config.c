// SPDX-License-Identifier: MIT
/* libconfuse parses, rule_set judges every value, config_scan finds what libconfuse
 * would stop at or swallow; all problems are collected and told in the file's order.
 * Rejected: stopping at the first mistake. Trap: libconfuse's callbacks carry no
 * argument of ours, so the reader in hand is a static pointer: one read at a time. */
#include "config.h"

#include "action.h"
#include "config_scan.h"
#include "options.h"

#include <confuse.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PROBLEMS_MAX 200
#define KEYS_MAX 48

struct problem {
	unsigned int line;
	bool warning;
	char *text;
};

struct reader {
	const char *name;
	struct problem *problem;
	size_t count, left_out;
	bool failed; /* at least one is no warning, or memory ran out */
	bool scan_ok;
	bool may_be_empty;
	const struct rules *main;	      /* of a file of rules.d: what the main file says; else NULL */
	unsigned int *rule_line, *watch_line; /* of each one's beginning, in the file's order */
	size_t rule_count, watch_count;
	const cfg_opt_t *list;	     /* libconfuse asks at each element of a list: the last answer counts */
	struct problem list_problem; /* text NULL: none */
};

static struct reader *reading;

static const char *const top_keys[] = { "store", "actions-enabled", "show-values", NULL };
static const char *const keep_keys[] = { "files", "max-size", "free-space", "max-age", NULL };
static const char *const limits_keys[] = { "captures", "pause", NULL };
static const char *const watch_keys[] = { "process", "port", "unit", "cgroup", "user", NULL };
static const char *rule_keys[KEYS_MAX]; /* the option table's, plus what only a file has */
static const char *const rule_only_keys[] = { "limit-window", "watch" };

static const struct config_section keep_section = { .name = "keep", .keys = keep_keys };
static const struct config_section limits_section = { .name = "limits", .keys = limits_keys };
static const struct config_section watch_section = { .name = "watch", .titled = true, .keys = watch_keys };
static const struct config_section rule_section = { .name = "rule", .titled = true, .keys = rule_keys };
static const struct config_section *const top_sections[] = { &keep_section, &limits_section, &watch_section,
							     &rule_section, NULL };
static const struct config_section top_section = { .keys = top_keys, .sections = top_sections };

static void add_problem(struct reader *reader, unsigned int line, bool warning, const char *text)
{
	struct problem *p;
	struct buf clean;

	reader->failed |= !warning;
	p = reader->count < PROBLEMS_MAX ? list_add(&reader->problem, &reader->count, sizeof(*p)) : NULL;
	if (!p) {
		reader->left_out++;
		return;
	}
	buf_init(&clean, 4096);
	buf_add_escaped(&clean, text, strlen(text));
	*p = (struct problem){ .line = line, .warning = warning, .text = buf_take(&clean) };
}

static void on_scan_problem(void *arg, unsigned int line, const char *text)
{
	add_problem(arg, line, false, text);
}

static void on_scan_section(void *arg, unsigned int line, const struct config_section *section)
{
	struct reader *reader = arg;
	unsigned int *at = NULL;

	if (reader->main && section != &rule_section) {
		char text[120];

		snprintf(text, sizeof(text), "'%s' is the main file's to say, not one's in " CONFIG_SITES,
			 section->name);
		add_problem(reader, line, false, text);
	}
	if (section == &rule_section)
		at = list_add(&reader->rule_line, &reader->rule_count, sizeof(*at));
	if (section == &watch_section)
		at = list_add(&reader->watch_line, &reader->watch_count, sizeof(*at));
	if (at)
		*at = line;
}

static void on_confuse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[400];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (reading->scan_ok) /* else the cause was told already, and this is its echo */
		add_problem(reading, (unsigned int)cfg->line, false, text);
}

static unsigned int line_of(cfg_t *cfg)
{
	return (unsigned int)MAX(cfg->line, 1);
}

static void key_problem(cfg_t *cfg, const cfg_opt_t *opt, const char *text)
{
	char whole[600];

	snprintf(whole, sizeof(whole), "%s: %s", opt->name, text);
	add_problem(reading, line_of(cfg), false, whole);
}

/* A list option's words with commas, as the command line has them. */
static char *join(cfg_opt_t *opt)
{
	struct buf out;

	buf_init(&out, 4096);
	for (unsigned int i = 0; i < cfg_opt_size(opt); i++) {
		buf_adds(&out, i ? "," : "");
		buf_adds(&out, cfg_opt_getnstr(opt, i));
	}
	return buf_take(&out);
}

static int set_action(cfg_opt_t *opt, struct rule *rule, struct err *err)
{
	char **argv = NULL;
	int code = 0;

	for (unsigned int i = 0; i < cfg_opt_size(opt) && code == 0; i++)
		code = strings_add(&argv, cfg_opt_getnstr(opt, i));
	if (code < 0) {
		strings_free(argv);
		return err_say(err, code, "out of memory");
	}
	if (!argv)
		return err_say(err, -EINVAL, "the list is empty");
	if (!argv[1] && argv[0][0] == '/' && strchr(argv[0], ' '))
		code = err_say(err, -EINVAL, "each word stands apart: {\"/bin/program\", \"%%1%%\"}");
	else
		code = action_check(argv, err);
	if (code < 0) {
		strings_free(argv);
		return code;
	}
	strings_free(rule->action);
	rule->action = argv;
	return 0;
}

static bool is_time(const cfg_opt_t *opt)
{
	return strcmp(opt->name, "time-taken") == 0;
}

/* Puts an option that is there into the rule; of several times the last stays. */
static int set_key(cfg_opt_t *opt, struct rule *rule, struct err *err)
{
	if (strcmp(opt->name, "action") == 0)
		return set_action(opt, rule, err);
	if (rule_key_is_list(opt->name) || is_time(opt)) {
		int code = 0;

		for (unsigned int i = 0; i < cfg_opt_size(opt) && code == 0; i++)
			code = rule_set(rule, opt->name, cfg_opt_getnstr(opt, i), err);
		return code;
	}
	if (opt->flags & CFGF_LIST) {
		CLEAN(free) char *joined = join(opt);

		return rule_set(rule, opt->name, joined ? joined : "", err);
	}
	return rule_set(rule, opt->name, cfg_opt_getstr(opt), err);
}

static void settle_list(struct reader *reader)
{
	if (reader->list_problem.text)
		add_problem(reader, reader->list_problem.line, false, reader->list_problem.text);
	text_set(&reader->list_problem.text, NULL);
	reader->list = NULL;
}

/* What an option's value is worth; text NULL: it is right. */
static void judge(cfg_t *cfg, const cfg_opt_t *opt, const char *text)
{
	size_t len = strlen(opt->name);

	if (text && strncmp(text, opt->name, len) == 0 && strncmp(text + len, ": ", 2) == 0)
		text += len + 2; /* it says the key itself */
	if (reading->list != opt)
		settle_list(reading);
	text_set(&reading->list_problem.text, NULL);
	reading->list = opt->flags & CFGF_LIST ? opt : NULL;
	if (text && reading->list) {
		reading->list_problem.line = line_of(cfg);
		text_setf(&reading->list_problem.text, "%s: %s", opt->name, text);
	} else if (text) {
		key_problem(cfg, opt, text);
	}
}

static int check_rule_key(cfg_t *cfg, cfg_opt_t *opt)
{
	struct rule scratch = { .name = NULL };
	struct err err;
	int code = set_key(opt, &scratch, &err);

	rule_done(&scratch);
	judge(cfg, opt, code < 0 ? err.text : NULL);
	return 0; /* told; libconfuse goes on */
}

static bool is_the_mains(cfg_t *cfg, const cfg_opt_t *opt)
{
	if (reading->main)
		key_problem(cfg, opt, "this is the main file's to say, not one's in " CONFIG_SITES);
	return reading->main;
}

static int check_store(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *value = cfg_opt_getstr(opt);

	if (!is_the_mains(cfg, opt) && value[0] != '/')
		key_problem(cfg, opt, "it must be an absolute path (try \"/var/lib/reqtrap\")");
	return 0;
}

static int check_bool(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *value = cfg_opt_getstr(opt);

	if (!is_the_mains(cfg, opt) && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		key_problem(cfg, opt, "it is either true or false");
	return 0;
}

static int set_keep(const cfg_opt_t *opt, const char *value, struct store_keep *keep, struct err *err)
{
	if (strcmp(opt->name, "files") == 0)
		return parse_count(value, 1, 1000000, &keep->files, err);
	if (strcmp(opt->name, "max-age") == 0)
		return parse_duration(value, &keep->max_age_ns, err);
	if (strcmp(opt->name, "free-space") == 0)
		return parse_space(value, &keep->free_bytes, &keep->free_percent, err);
	return parse_size(value, &keep->max_bytes, err);
}

static int check_keep(cfg_t *cfg, cfg_opt_t *opt)
{
	struct store_keep keep;
	struct err err;

	if (set_keep(opt, cfg_opt_getstr(opt), &keep, &err) < 0)
		key_problem(cfg, opt, err.text);
	return 0;
}

static int set_common(const cfg_opt_t *opt, const char *value, struct rules *rules, struct err *err)
{
	uint32_t captures = 0;
	uint64_t window = 0;
	int code;

	if (strcmp(opt->name, "pause") == 0)
		return parse_duration(value, &rules->all_pause_ns, err);
	code = parse_limit(value, &captures, &window, err);
	if (code < 0)
		return code;
	if (!window || !captures)
		return err_say(err, -EINVAL, "'%s': so many of all rules together in which time? (try 20/1h)", value);
	rules->all_captures = captures;
	rules->all_window_ns = window;
	return 0;
}

static int check_common(cfg_t *cfg, cfg_opt_t *opt)
{
	struct rules scratch;
	struct err err;

	if (set_common(opt, cfg_opt_getstr(opt), &scratch, &err) < 0)
		key_problem(cfg, opt, err.text);
	return 0;
}

/* The word of target.h for one value. */
static int set_word(const cfg_opt_t *opt, const char *value, char ***words, struct err *err)
{
	static const char *const prefix[][2] = {
		{ "process", "" }, { "port", ":" }, { "unit", "unit:" }, { "cgroup", "cgroup:" }, { "user", "user:" },
	};
	CLEAN(free) char *word = NULL;
	uint64_t number;
	int code = 0;

	if (strcmp(opt->name, "port") == 0)
		code = parse_count(value, 1, 65535, &number, err);
	else if (!*value)
		code = err_say(err, -EINVAL, "an empty text names nothing");
	else if (strcmp(opt->name, "process") == 0 && strchr(value, ':'))
		code = err_say(err, -EINVAL,
			       "'%s' is no process name (port, unit, cgroup and user are keys of their own)", value);
	for (size_t i = 0; code == 0 && i < ARRAY_LEN(prefix); i++) {
		if (strcmp(prefix[i][0], opt->name) != 0)
			continue;
		text_setf(&word, "%s%s", prefix[i][1], value);
		code = word && strings_add(words, word) == 0 ? 0 : err_say(err, -ENOMEM, "out of memory");
	}
	return code;
}

static int check_watch(cfg_t *cfg, cfg_opt_t *opt)
{
	char **words = NULL;
	struct err err;
	int code = 0;

	for (unsigned int i = 0; i < cfg_opt_size(opt) && code == 0; i++)
		code = set_word(opt, cfg_opt_getnstr(opt, i), &words, &err);
	strings_free(words);
	judge(cfg, opt, code < 0 ? err.text : NULL);
	return 0;
}

static bool is_list(const char *name)
{
	static const char *const others[] = { "capture", "areas", "action", "time-taken" };

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (strcmp(others[i], name) == 0)
			return true;
	}
	return rule_key_is_list(name);
}

static void fill_rule_keys(cfg_opt_t *opts)
{
	cfg_opt_t text = CFG_STR(NULL, NULL, CFGF_NODEFAULT), list = CFG_STR_LIST(NULL, NULL, CFGF_NODEFAULT),
		  end = CFG_END();
	size_t n = 0;

	for (size_t i = 0; i < option_row_count + ARRAY_LEN(rule_only_keys); i++) {
		bool in_table = i < option_row_count;
		const char *name = in_table ? option_rows[i].name : rule_only_keys[i - option_row_count];

		if ((in_table && !option_rows[i].config_key) || n + 1 >= KEYS_MAX)
			continue;
		opts[n] = is_list(name) ? list : text;
		opts[n].name = name;
		opts[n].validcb = check_rule_key;
		rule_keys[n++] = name;
	}
	opts[n] = end;
	rule_keys[n] = NULL;
}

static cfg_t *open_grammar(void)
{
	static cfg_opt_t rule[KEYS_MAX];
	static cfg_opt_t keep[] = { CFG_STR("files", NULL, CFGF_NODEFAULT), CFG_STR("max-size", NULL, CFGF_NODEFAULT),
				    CFG_STR("free-space", NULL, CFGF_NODEFAULT),
				    CFG_STR("max-age", NULL, CFGF_NODEFAULT), CFG_END() };
	static cfg_opt_t limits[] = { CFG_STR("captures", NULL, CFGF_NODEFAULT), CFG_STR("pause", NULL, CFGF_NODEFAULT),
				      CFG_END() };
	static cfg_opt_t watch[] = {
		CFG_STR_LIST("process", NULL, CFGF_NODEFAULT), CFG_STR_LIST("port", NULL, CFGF_NODEFAULT),
		CFG_STR_LIST("unit", NULL, CFGF_NODEFAULT),    CFG_STR_LIST("cgroup", NULL, CFGF_NODEFAULT),
		CFG_STR_LIST("user", NULL, CFGF_NODEFAULT),    CFG_END()
	};
	cfg_opt_t top[] = { CFG_STR("store", NULL, CFGF_NODEFAULT),
			    CFG_STR("actions-enabled", NULL, CFGF_NODEFAULT),
			    CFG_STR("show-values", NULL, CFGF_NODEFAULT),
			    CFG_SEC("keep", keep, CFGF_NODEFAULT),
			    CFG_SEC("limits", limits, CFGF_NODEFAULT),
			    CFG_SEC("watch", watch, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
			    CFG_SEC("rule", rule, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
			    CFG_END() };

	fill_rule_keys(rule);
	for (size_t i = 0; keep_keys[i]; i++)
		keep[i].validcb = check_keep;
	for (size_t i = 0; limits_keys[i]; i++)
		limits[i].validcb = check_common;
	for (size_t i = 0; watch_keys[i]; i++)
		watch[i].validcb = check_watch;
	top[0].validcb = check_store;
	top[1].validcb = check_bool;
	top[2].validcb = check_bool;
	return cfg_init(top, CFGF_NONE);
}

static bool is_given(cfg_opt_t *opt)
{
	return cfg_opt_size(opt) > 0 && (opt->flags & CFGF_LIST || cfg_opt_getstr(opt));
}

/* What comes once, at the end, belongs to the first of several times. */
static bool is_of_the_first(const cfg_opt_t *opt)
{
	static const char *const names[] = { "status", "aborted", "response-size", "severity" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], opt->name) == 0)
			return true;
	}
	return false;
}

/* The rule of one section, of several times the one that stands at 'level'. Values were
 * checked, so what fails now is memory. */
static int add_rule(struct rules *rules, cfg_t *section, unsigned int level, struct err *err)
{
	cfg_opt_t *times = cfg_getopt(section, "time-taken"), *all = cfg_getopt(section, "all");
	bool joined = is_given(all) && strcmp(cfg_opt_getstr(all), "true") == 0;
	CLEAN(free) char *name = NULL;
	struct rule *rule;
	int code;

	text_set(&name, cfg_title(section));
	if (level)
		text_setf(&name, "%s, %s", cfg_title(section), cfg_opt_getnstr(times, level));
	rule = name ? rules_add(rules, name) : NULL;
	if (!rule)
		return err_say(err, -ENOMEM, "out of memory");
	rule->server_time = true; /* nobody looks on: no client is to have it capture */
	for (unsigned int i = 0; section->opts[i].name; i++) {
		cfg_opt_t *opt = &section->opts[i];

		if (!is_given(opt) || (level && !joined && is_of_the_first(opt)))
			continue;
		code = opt == times ? rule_set(rule, opt->name, cfg_opt_getnstr(opt, level), err)
				    : set_key(opt, rule, err);
		if (code < 0)
			return code;
	}
	return 0;
}

static int add_watch(struct rules *rules, cfg_t *section, struct err *err)
{
	struct watch_set *set = list_add(&rules->watch, &rules->watch_count, sizeof(*set));
	int code = 0;

	if (!set)
		return err_say(err, -ENOMEM, "out of memory");
	text_set(&set->name, cfg_title(section));
	for (unsigned int i = 0; section->opts[i].name; i++) {
		cfg_opt_t *opt = &section->opts[i];

		for (unsigned int n = 0; n < cfg_opt_size(opt) && code == 0; n++)
			code = set_word(opt, cfg_opt_getnstr(opt, n), &set->word, err);
	}
	if (code == 0 && !set->word)
		code = err_say(err, -EINVAL, "watch '%s' names no process (try process = {\"nginx\"})", set->name);
	return code;
}

static bool is_named(const struct rules *rules, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rules->rule[i].name, name) == 0)
			return true;
	}
	return false;
}

/* A rule of rules.d runs nothing, whatever the main file allows. */
static void make_harmless(struct reader *reader, unsigned int line, struct rule *rule)
{
	if (rule->action)
		add_problem(reader, line, true,
			    "the action of this rule never runs: only the main file's rules have any");
	strings_free(rule->action);
	rule->action = NULL;
	rule->action_limit_ns = 0;
	if (rule->action_user)
		add_problem(reader, line, false, "'action-user' is the main file's to say, not one's in " CONFIG_SITES);
}

/* All rules of one section; what is wrong with them as a whole is told. */
static void build_rule(struct reader *reader, cfg_t *section, unsigned int line, struct rules *rules)
{
	const struct rules *main = reader->main ? reader->main : rules;
	unsigned int levels = MAX(cfg_size(section, "time-taken"), 1u);
	struct rule *rule = NULL;
	struct err err;

	for (unsigned int level = 0; level < levels; level++) {
		int code = add_rule(rules, section, level, &err);

		rule = rules->count ? &rules->rule[rules->count - 1] : NULL;
		if (code == 0)
			code = rule_check(rule, &err);
		if (code == 0 && is_named(rules, rules->count - 1, rule->name))
			code = err_say(&err, -EINVAL, "there are two rules '%s'", rule->name);
		if (code == 0 && reader->main && is_named(main, main->count, rule->name))
			code = err_say(&err, -EINVAL, "there is a rule '%s' in another file", rule->name);
		for (char **name = rule ? rule->watch : NULL; code == 0 && name && *name; name++) {
			if (!rules_watch(main, *name))
				code = err_say(&err, -EINVAL, "watch: there is no watch \"%s\" { ... } in %s file",
					       *name, reader->main ? "the main" : "this");
		}
		if (code < 0) {
			add_problem(reader, line, false, err.text);
			return;
		}
		if (reader->main)
			make_harmless(reader, line, rule);
	}
	if (rule && rule->action && !rules->actions_enabled)
		add_problem(reader, line, true,
			    "the action of this rule will not run: 'actions-enabled = true' is missing at the top");
}

static void build_shared(cfg_t *cfg, struct rules *rules)
{
	cfg_t *keep = cfg_size(cfg, "keep") ? cfg_getsec(cfg, "keep") : NULL,
	      *limits = cfg_size(cfg, "limits") ? cfg_getsec(cfg, "limits") : NULL;

	for (unsigned int i = 0; keep && keep->opts[i].name; i++) {
		if (is_given(&keep->opts[i]))
			set_keep(&keep->opts[i], cfg_opt_getstr(&keep->opts[i]), &rules->keep, NULL);
	}
	for (unsigned int i = 0; limits && limits->opts[i].name; i++) {
		if (is_given(&limits->opts[i]))
			set_common(&limits->opts[i], cfg_opt_getstr(&limits->opts[i]), rules, NULL);
	}
}

static void build(struct reader *reader, cfg_t *cfg, struct rules *rules)
{
	const char *store = cfg_getstr(cfg, "store"), *enabled = cfg_getstr(cfg, "actions-enabled"),
		   *values = cfg_getstr(cfg, "show-values");
	struct err err;

	text_set(&rules->store, store);
	rules->actions_enabled = enabled && strcmp(enabled, "true") == 0;
	rules->show_values = values && strcmp(values, "true") == 0;
	build_shared(cfg, rules);
	for (unsigned int i = 0; i < cfg_size(cfg, "watch"); i++) {
		cfg_t *section = cfg_getnsec(cfg, "watch", i);

		if (add_watch(rules, section, &err) < 0)
			add_problem(reader, i < reader->watch_count ? reader->watch_line[i] : 1, false, err.text);
	}
	for (unsigned int i = 0; i < cfg_size(cfg, "rule"); i++)
		build_rule(reader, cfg_getnsec(cfg, "rule", i), i < reader->rule_count ? reader->rule_line[i] : 1,
			   rules);
	if (rules->count == 0 && !reader->may_be_empty)
		add_problem(reader, 1, false, "there is no rule in it (try rule \"slow\" { time-taken = 2s })");
}

static int by_line(const void *a, const void *b)
{
	const struct problem *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

/* Hands the problems over and frees them. */
static int report(struct reader *reader, struct buf *problems, struct err *err)
{
	bool first = true;

	if (reader->count)
		qsort(reader->problem, reader->count, sizeof(*reader->problem), by_line);
	for (size_t i = 0; i < reader->count; i++) {
		struct problem *p = &reader->problem[i];

		buf_addf(problems, "%s:%u: %s%s\n", reader->name, p->line, p->warning ? "warning: " : "",
			 p->text ? p->text : "");
		if (first && !p->warning) {
			err_say(err, -EINVAL, "%s:%u: %s", reader->name, p->line, p->text ? p->text : "");
			first = false;
		}
		free(p->text);
	}
	if (reader->left_out)
		buf_addf(problems, "%s: %zu more problems\n", reader->name, reader->left_out);
	free(reader->problem);
	free(reader->rule_line);
	free(reader->watch_line);
	return reader->failed ? -EINVAL : 0;
}

static int parse(struct reader reader, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		 struct err *err)
{
	const struct config_scan_calls calls = { on_scan_problem, on_scan_section, &reader };
	struct rules rules = { 0 };
	const char *nul = len ? memchr(text, '\0', len) : NULL;
	bool parsed;
	char *copy;
	cfg_t *cfg;
	int code;

	if (nul) {
		unsigned int line = 1;

		for (const char *p = text; p < nul; p++)
			line += *p == '\n';
		add_problem(&reader, line, false, "this is not a text file: it holds a NUL byte");
		return report(&reader, problems, err);
	}
	copy = malloc(len + 1);
	reading = &reader;
	cfg = open_grammar();
	if (!copy || !cfg) {
		free(copy);
		cfg_free(cfg);
		return err_say(err, -ENOMEM, "cannot read '%s': out of memory", reader.name);
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	reader.scan_ok = config_scan(&top_section, copy, len, &calls);
	cfg_set_error_function(cfg, on_confuse_error);
	parsed = cfg_parse_buf(cfg, copy) == CFG_SUCCESS;
	settle_list(&reader);
	if (!parsed && !reader.failed) /* libconfuse gives up at some things without a word */
		add_problem(&reader, line_of(cfg), false, "this makes no sense here");
	if (!reader.failed)
		build(&reader, cfg, &rules);
	cfg_free(cfg);
	free(copy);
	reading = NULL;
	code = report(&reader, problems, err);
	if (code < 0)
		rules_free(&rules);
	else
		*ret_rules = rules;
	return code;
}

int config_parse(const char *name, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		 struct err *err)
{
	return parse((struct reader){ .name = name }, text, len, ret_rules, problems, err);
}

int config_parse_main(const char *name, const char *text, size_t len, struct rules *ret_rules, struct buf *problems,
		      struct err *err)
{
	return parse((struct reader){ .name = name, .may_be_empty = true }, text, len, ret_rules, problems, err);
}

int config_parse_site(const char *name, const char *text, size_t len, struct rules *rules, struct buf *problems,
		      struct err *err)
{
	struct rules more = { 0 };
	int code = parse((struct reader){ .name = name, .main = rules, .may_be_empty = true }, text, len, &more,
			 problems, err);

	for (size_t i = 0; i < more.count && code == 0; i++) {
		struct rule *rule = &more.rule[i], *at;

		text_set(&rule->file, name);
		at = rule->file ? list_add(&rules->rule, &rules->count, sizeof(*at)) : NULL;
		if (!at)
			code = err_say(err, -ENOMEM, "cannot read '%s': out of memory", name);
		else
			*at = *rule, *rule = (struct rule){ 0 };
	}
	rules_free(&more);
	return code;
}
