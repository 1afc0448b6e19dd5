// SPDX-License-Identifier: MIT
/* 'top': the tracer of 'watch' without a rule; who is in flight is read out of its slots
 * each round, so that the requests pay nothing for being looked at. On a terminal the
 * screen is drawn anew in one write; else a table, or with --json a line, per round.
 * Without a TARGET it is the daemon who looks, and tells each round. Trap: the terminal's settings are put back on every way out that we see; a SIGKILL
 * leaves it without echo ('reset' mends that). */
#include "cmd.h"
#include "cmd_targets.h"
#include "cmd_top.h"
#include "control.h"
#include "ktime.h"
#include "log.h"
#include "incident_mask.h"
#include "rule.h"
#include "watched.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>

#define PLAIN_COLUMNS 120
#define SCREEN_MAX (4u << 20)
#define TABLE_MAX (64u << 20)
#define SWEEP_NS (10 * NSEC_PER_SEC)

struct top {
	struct loop *loop;
	struct tracer *tracer;
	struct watched *watched;
	struct child command;
	struct termios before;		       /* of the terminal */
	struct err *err;		       /* what ends it */
	bool json, screen, keys, daemons, any; /* it asks the daemon; there was a request */
	uint64_t every_ns, most, rounds, seen, last_ns;
};

/* ---- rounds ---- */

static void screen_size(unsigned int *ret_columns, unsigned int *ret_lines)
{
	struct winsize size;

	*ret_columns = 80;
	*ret_lines = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		*ret_columns = size.ws_col;
		*ret_lines = size.ws_row;
	}
}

static void screen_write(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

/* Home, each line cleared to its end, the rest of the screen too: no flicker. */
static void draw(const struct buf *table)
{
	struct buf out;

	buf_init(&out, SCREEN_MAX);
	buf_adds(&out, "\033[H");
	for (char *line = table->data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		buf_add(&out, line, (size_t)(end - line));
		buf_adds(&out, end[1] ? "\033[K\r\n" : "\033[K");
	}
	buf_adds(&out, "\033[J");
	screen_write(out.data, out.len);
	buf_done(&out);
}

static void print(const struct top *top, const struct buf *table)
{
	if (table->full)
		log_warn("the table is longer than %u MiB: not all of it is printed", TABLE_MAX >> 20);
	printf("%s%s", top->rounds > 1 ? "\n" : "", table->data ? table->data : "");
	fflush(stdout);
}

/* One of the two has the round. */
static void show_table(const struct top *top, const struct top_round *round, const json_t *told, double per_second)
{
	unsigned int columns = PLAIN_COLUMNS, lines = 0;
	struct buf table;

	if (top->screen)
		screen_size(&columns, &lines);
	buf_init(&table, top->screen ? SCREEN_MAX : TABLE_MAX);
	if (told)
		top_table_told(told, per_second, columns, lines, &table);
	else
		top_table(top->tracer, round, columns, lines, &table);
	if (top->screen)
		draw(&table);
	else
		print(top, &table);
	buf_done(&table);
}

/* Requests a second since the last round. */
static double pace(struct top *top, uint64_t seen)
{
	uint64_t now = now_ns(), before = top->last_ns, since = seen >= top->seen ? seen - top->seen : 0;

	top->seen = seen;
	top->last_ns = now;
	return now > before ? (double)since * 1e9 / (double)(now - before) : 0;
}

static void show_own(struct top *top)
{
	struct top_round round = { .number = top->rounds };

	tracer_totals(top->tracer, &round.totals);
	if (flight_take(top->tracer, &round.flight) < 0) {
		log_warn("no memory for a round");
		return;
	}
	round.per_second = pace(top, round.totals.counters.requests);
	top->any = round.totals.counters.requests || round.totals.counters.older;
	if (top->json)
		top_json(top->tracer, &round);
	else
		show_table(top, &round, NULL, 0);
	flight_done(&round.flight);
}

static int ask(struct top *top, json_t **ret_round, uint64_t *ret_seen)
{
	int r = control_json("/api/live", ret_round, top->err);
	json_t *seen;

	if (r < 0)
		return r;
	seen = json_object_get(*ret_round, "seen");
	if (!json_is_integer(seen) || !json_is_array(json_object_get(*ret_round, "requests"))) {
		json_decref(*ret_round);
		return err_say(top->err, -EPROTO, "the daemon at '%s' does not tell what is in flight", control_path());
	}
	*ret_seen = (uint64_t)json_integer_value(seen);
	return 0;
}

static void show_daemons(struct top *top)
{
	uint64_t seen, before = top->seen;
	double per_second;
	json_t *round;
	int r = ask(top, &round, &seen);

	if (r < 0) {
		loop_stop(top->loop, r);
		return;
	}
	per_second = pace(top, seen);
	top->any |= seen != before || json_array_size(json_object_get(round, "requests"));
	if (top->json) {
		json_object_set_new(round, "round", json_integer((json_int_t)top->rounds));
		json_dumpf(round, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
		putchar('\n');
		fflush(stdout);
	} else {
		show_table(top, NULL, round, per_second);
	}
	json_decref(round);
}

static void show(struct top *top)
{
	if (top->daemons)
		show_daemons(top);
	else
		show_own(top);
}

static void on_round(void *arg, uint32_t events UNUSED)
{
	struct top *top = arg;

	top->rounds++;
	show(top);
	if ((top->most && top->rounds >= top->most) || ferror(stdout))
		loop_stop(top->loop, 0);
}

/* ---- what else happens ---- */

static void on_record(void *arg, const struct record *record)
{
	struct top *top = arg;

	watched_record(top->watched, record);
}

static void on_ring(void *arg, uint32_t events UNUSED)
{
	struct top *top = arg;

	tracer_poll(top->tracer);
}

static bool nobody_owns(void *arg UNUSED, uint32_t slot UNUSED, uint64_t gen UNUSED)
{
	return false;
}

static void on_sweep(void *arg, uint32_t events UNUSED)
{
	struct top *top = arg;

	tracer_sweep(top->tracer, nobody_owns, NULL);
}

static void on_all_gone(void *arg)
{
	struct top *top = arg;

	if (!top->screen)
		log_note("the last watched process has ended");
	loop_stop(top->loop, 0);
}

static void on_signal(void *arg, uint32_t signal)
{
	struct top *top = arg;

	if (signal == SIGWINCH)
		show(top);
	else
		loop_stop(top->loop, 0);
}

static void on_key(void *arg, uint32_t events UNUSED)
{
	struct top *top = arg;
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0 || memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n))
		loop_stop(top->loop, 0);
}

/* ---- the terminal ---- */

static int screen_begin(struct top *top, struct err *err)
{
	struct termios keys;
	int r;

	screen_write("\033[?1049h\033[?25l\033[H\033[J", 20);
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &top->before) < 0)
		return 0;
	keys = top->before;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	r = tcsetattr(STDIN_FILENO, TCSANOW, &keys) < 0 ? -errno : 0;
	top->keys = r == 0;
	if (r == 0)
		r = loop_add_fd(top->loop, STDIN_FILENO, EPOLLIN, on_key, top, NULL);
	return r < 0 ? err_sys(err, r, "cannot read keys") : 0;
}

static void screen_end(struct top *top)
{
	if (!top->screen)
		return;
	if (top->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
	screen_write("\033[?25h\033[?1049l", 14);
	top->screen = false;
}

/* ---- life ---- */

static int add_target(void *arg, pid_t pid, struct err *err)
{
	struct top *top = arg;

	return watched_add(top->watched, pid, err);
}

static int trace(struct top *top, const struct command_line *line, struct err *err)
{
	struct tracer_config config = { .record = on_record, .arg = top };
	size_t added;
	int r = targets_how(line, &config.hooks, &config.slots, err);

	if (r < 0)
		return r;
	r = tracer_open(&config, &top->tracer, err);
	if (r == 0)
		r = watched_new(
			&(struct watched_config){
				.loop = top->loop, .tracer = top->tracer, .all_gone = on_all_gone, .arg = top },
			&top->watched, err);
	if (r == 0)
		r = loop_add_fd(top->loop, tracer_fd(top->tracer), EPOLLIN, on_ring, top, NULL);
	if (r == 0)
		r = loop_add_timer(top->loop, now_ns() + SWEEP_NS, SWEEP_NS, on_sweep, top, NULL);
	if (r < 0)
		return err->text[0] ? r : err_sys(err, r, "cannot wait for the tracer");
	r = targets_add(line, &top->command, add_target, top, &added, err);
	if (r == 0)
		r = tracer_older(top->tracer, err);
	if (r == 0 && !top->screen)
		log_note("watching %zu process%s by %s hooks", added, added == 1 ? "" : "es",
			 tracer_hooks_name(top->tracer));
	return r;
}

/* What the daemon has seen so far is not of the first round. */
static int meet_daemon(struct top *top, const struct command_line *line, struct err *err)
{
	static const char *const others[] = { "hooks", "slots", "show-values" };
	json_t *round;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (option_given(line, others[i]))
			return err_say(err, -EINVAL,
				       "--%s goes with a TARGET: without one the daemon is asked, as it runs",
				       others[i]);
	}
	r = ask(top, &round, &top->seen);
	if (r == -ECONNREFUSED) {
		r = targets_named(line, err);
		return err_say(err, r, "%s (and there is no daemon to ask at '%s')", strdupa(err->text),
			       control_path());
	}
	if (r == 0)
		json_decref(round);
	return r;
}

static int set_up(struct top *top, const struct command_line *line, struct err *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH };
	int r;

	mask_show_values(option_given(line, "show-values"));
	top->every_ns = NSEC_PER_SEC;
	if (option_given(line, "every"))
		parse_duration(option_value(line, "every"), &top->every_ns, NULL);
	if (top->every_ns < 10 * NSEC_PER_MSEC)
		return err_say(err, -EINVAL, "--every: a round takes 10ms at least");
	if (option_given(line, "count"))
		parse_count(option_value(line, "count"), 1, UINT32_MAX, &top->most, NULL);
	r = loop_new(&top->loop, err);
	if (r == 0)
		r = loop_add_signals(top->loop, signals, top->screen ? 4 : 3, on_signal, top, err);
	if (r == 0)
		r = (top->daemons ? meet_daemon : trace)(top, line, err);
	if (r < 0)
		return r;
	top->last_ns = now_ns();
	r = loop_add_timer(top->loop, top->last_ns + top->every_ns, top->every_ns, on_round, top, NULL);
	if (r < 0)
		return err_sys(err, r, "cannot set a timer");
	if (!top->screen)
		return 0;
	r = screen_begin(top, err);
	if (r == 0)
		show(top);
	return r;
}

static void tear_down(struct top *top)
{
	screen_end(top);
	watched_free(top->watched);
	tracer_close(top->tracer);
	command_end(&top->command, top->loop);
	loop_free(top->loop);
}

int cmd_top(int argc, char **argv)
{
	struct top top = { .command = { .pidfd = -1 } };
	struct command_line line;
	struct err err = { "" };
	int r = verb_begin("top", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	top.json = option_given(&line, "json");
	top.screen = !top.json && isatty(STDOUT_FILENO);
	log_quiet(option_given(&line, "quiet"));
	top.err = &err;
	top.daemons = targets_named(&line, &err) < 0;
	r = set_up(&top, &line, &err);
	if (r == 0)
		r = loop_run(top.loop);
	tear_down(&top);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return exit_code_of(r);
	}
	return top.any ? EXIT_DONE : EXIT_NOTHING;
}
