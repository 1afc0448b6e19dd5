// SPDX-License-Identifier: MIT
/* What is typed: ProcDump's command lines, conditions, signals, plans and file names. The
 * first byte says which; what is accepted must be what it may be, and what is refused has
 * words. */
#include "procdump.h"
#include "procdump_table.h"
#include "series.h"

#include <limits.h>
#include <string.h>

#define WORDS_MOST 40

static void check(bool true_)
{
	if (!true_)
		abort();
}

/* A refusal is one printable line. */
static void check_words(const struct err *err)
{
	check(err->text[0] != '\0');
	for (const char *p = err->text; *p; p++)
		check((unsigned char)*p >= ' ');
}

static void command_line(char *text)
{
	char *argv[WORDS_MOST + 2] = { (char *)(uintptr_t) "procdump" }, *save = NULL;
	struct procdump pd;
	struct err err = { "" };
	struct buf notes;
	int argc = 1, r;

	for (char *word = strtok_r(text, "\n", &save); word && argc < WORDS_MOST; word = strtok_r(NULL, "\n", &save))
		argv[argc++] = word;
	buf_init(&notes, 65536);
	r = procdump_parse(argc, argv, &pd, &notes, &err);
	if (r < 0) {
		check(r == -EINVAL || r == -EOPNOTSUPP);
		check_words(&err);
	} else if (!pd.help && !pd.cancel) {
		check(pd.count >= 1 && pd.count <= PROCDUMP_COUNT_MAX);
		check(pd.concurrent >= 1 && pd.concurrent <= SERIES_CONCURRENT_MAX);
		check(pd.every_ns > 0 && pd.trigger_count <= PROCDUMP_TRIGGERS_MAX);
		check((pd.target_count > 0) != (pd.command != NULL));
		check(pd.mini || pd.full);
		for (size_t i = 0; i < pd.trigger_count; i++)
			check(pd.trigger[i].kind < TRIGGER_KINDS);
		for (size_t i = 0; i < pd.target_count; i++)
			check(pd.target[i] != NULL && (!pd.group || !strncmp(pd.target[i], "pgid:", 5)));
	}
	buf_done(&notes);
}

static void condition(uint8_t kind, const char *text)
{
	struct trigger t = { .kind = TRIGGER_KINDS };
	struct err err = { "" };
	int r = trigger_parse(kind % TRIGGER_KINDS, text, &t, &err);
	char words[96];

	if (r < 0) {
		check(r == -EINVAL);
		check_words(&err);
		return;
	}
	check(t.kind == kind % TRIGGER_KINDS);
	check(!t.below || t.threshold > 0 || t.kind == TRIGGER_HUNG || t.kind == TRIGGER_MEMORY_EVENTS);
	t.known = true;
	t.value = UINT64_MAX;
	t.since_ns = 1;
	trigger_words(&t, UINT64_MAX, words, sizeof(words));
	check(strlen(words) < sizeof(words));
	check(trigger_nearness(&t, UINT64_MAX) <= 1000);
	trigger_fired(&t);
}

static void signals(const char *text)
{
	struct err err = { "" };
	uint64_t bits = 0;

	if (trigger_signals(text, &bits, &err) < 0)
		check_words(&err);
	else
		check(bits != 0);
}

static void plan(const char *text)
{
	struct series_spec spec = { .step_count = 0 };
	struct err err = { "" };

	if (series_plan(&spec, text, &err) < 0) {
		check_words(&err);
		return;
	}
	check(spec.step_count >= 1 && spec.step_count <= SERIES_STEPS_MAX);
	check(series_turns(&spec) >= spec.step_count);
}

/* The first line is the pattern, the second a process's name. */
static void file_name(char *text)
{
	char *process = strchr(text, '\n'), name[NAME_MAX + 1];
	struct dump_name of = { .pattern = text, .process = "", .pid = 4711, .trigger = "cpu", .signal = "SEGV" };
	struct err err = { "" };

	if (process) {
		*process = '\0';
		of.process = process + 1;
	}
	if (dump_file_name(&of, (unsigned int)strlen(text) % 3, name, sizeof(name), &err) < 0) {
		check_words(&err);
		return;
	}
	check(name[0] && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 2 || size > 65536)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	if (data[0] == 'c')
		condition((uint8_t)text[0], text[0] ? text + 1 : text);
	else if (data[0] == 's')
		signals(text);
	else if (data[0] == 'p')
		plan(text);
	else if (data[0] == 'n')
		file_name(text);
	else
		command_line(text);
	free(text);
	return 0;
}
