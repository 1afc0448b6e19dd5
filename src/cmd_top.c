// SPDX-License-Identifier: MIT
/* 'top': the tracer of 'watch' without a rule; who is in flight is read out of its slots
 * each round, so that the requests pay nothing for being looked at. On a terminal the
 * screen is drawn anew in one write; else a table, or with --json a line, per round.
 * Trap: the terminal's settings are put back on every way out that we see; a SIGKILL
 * leaves it without echo ('reset' mends that). */
#include "cmd.h"
#include "cmd_targets.h"
#include "cmd_top.h"
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
	struct termios before; /* of the terminal */
	bool json, screen, keys;
	uint64_t every_ns, most, rounds, seen, older, last_ns;
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

static void write_all(const char *data, size_t len)
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
static void draw(struct top *top, const struct top_round *round)
{
	unsigned int columns, lines;
	struct buf table, out;

	screen_size(&columns, &lines);
	buf_init(&table, SCREEN_MAX);
	buf_init(&out, SCREEN_MAX);
	top_table(top->tracer, round, columns, lines, &table);
	buf_adds(&out, "\033[H");
	for (char *line = table.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		buf_add(&out, line, (size_t)(end - line));
		buf_adds(&out, end[1] ? "\033[K\r\n" : "\033[K");
	}
	buf_adds(&out, "\033[J");
	write_all(out.data, out.len);
	buf_done(&table);
	buf_done(&out);
}

static void print_table(struct top *top, const struct top_round *round)
{
	struct buf out;

	buf_init(&out, TABLE_MAX);
	top_table(top->tracer, round, PLAIN_COLUMNS, 0, &out);
	if (out.full)
		log_warn("the table is longer than %u MiB: not all of it is printed", TABLE_MAX >> 20);
	printf("%s%s", top->rounds > 1 ? "\n" : "", out.data ? out.data : "");
	fflush(stdout);
	buf_done(&out);
}

static void show(struct top *top)
{
	struct top_round round = { .number = top->rounds };
	uint64_t now = now_ns();

	tracer_totals(top->tracer, &round.totals);
	if (flight_take(top->tracer, &round.flight) < 0) {
		log_warn("no memory for a round");
		return;
	}
	if (now > top->last_ns)
		round.per_second =
			(double)(round.totals.counters.requests - top->seen) * 1e9 / (double)(now - top->last_ns);
	top->seen = round.totals.counters.requests;
	top->older = round.totals.counters.older;
	top->last_ns = now;
	if (top->screen)
		draw(top, &round);
	else if (top->json)
		top_json(top->tracer, &round);
	else
		print_table(top, &round);
	flight_done(&round.flight);
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

	write_all("\033[?1049h\033[?25l\033[H\033[J", 20);
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
	write_all("\033[?25h\033[?1049l", 14);
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
		r = trace(top, line, err);
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
	r = targets_named(&line, &err);
	if (r == 0)
		r = set_up(&top, &line, &err);
	if (r == 0)
		r = loop_run(top.loop);
	tear_down(&top);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return exit_code_of(r);
	}
	return top.seen || top.older ? EXIT_DONE : EXIT_NOTHING;
}
