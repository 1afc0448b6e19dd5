// SPDX-License-Identifier: MIT
/* Running somebody's command when a request failed. Rejected: a shell (the URL is an
 * argument and its sender is not our friend) and expanding before splitting (a blank
 * in a URL would make arguments). Trap: a command that ends may leave children that
 * hold its output open, so the end is that of the warden, which leaves none of them, not
 * of the pipe. */
#include "action.h"

#include "buf.h"
#include "child.h"
#include "ktime.h"
#include "warden.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ARGUMENT_MAX (128u << 10) /* the kernel takes no longer one */
#define ARGUMENTS_MAX 256
#define DRAIN_MAX (1u << 20) /* bytes read after the end */
#define ABORT_NS (WARDEN_END_NS + NSEC_PER_SEC)
#define LATE_NS \
	(WARDEN_END_NS + 5 * NSEC_PER_SEC) /* a warden that answers no more: its user's name is asked for, say */

/* --- words and tokens --- */

/* One word from *at; false at the end of the line. */
static int take_word(const char **at, struct buf *word, struct err *err)
{
	const char *p = *at + strspn(*at, " \t\n");
	char quote = '\0';

	if (!*p)
		return 0;
	buf_adds(word, "");
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"')
			quote = quote ? '\0' : *p;
		else
			buf_add(word, p, 1);
	}
	if (quote)
		return err_say(err, -EINVAL, "action '%s': the %c quote is not closed", *at, quote);
	if (word->full)
		return err_say(err, -E2BIG, "action: an argument is longer than %u bytes", ARGUMENT_MAX);
	*at = p;
	return 1;
}

int action_split(const char *line, char ***ret_argv, struct err *err)
{
	const char *at = line;
	char **argv = NULL;
	int r;

	for (;;) {
		struct buf word;

		buf_init(&word, ARGUMENT_MAX);
		r = take_word(&at, &word, err);
		if (r == 1 && strings_count(argv) == ARGUMENTS_MAX)
			r = err_say(err, -E2BIG, "action: more than %d arguments", ARGUMENTS_MAX);
		if (r == 1 && strings_add(&argv, word.data) < 0)
			r = err_sys(err, -ENOMEM, "action");
		buf_done(&word);
		if (r != 1)
			break;
	}
	if (r == 0 && !argv)
		r = err_say(err, -EINVAL, "action is empty: name a program, like '/usr/local/bin/tell-us %%1%%'");
	if (r < 0) {
		strings_free(argv);
		return r;
	}
	*ret_argv = argv;
	return 0;
}

enum token {
	TOKEN_PID,
	TOKEN_DUMP,
	TOKEN_TID,
	TOKEN_ID,
	TOKEN_RULE,
	TOKEN_REASON,
	TOKEN_METHOD,
	TOKEN_URL,
	TOKEN_STATUS,
	TOKEN_ELAPSED_MS,
	TOKEN_INCIDENT,
	TOKEN_REPORT
};

static const struct {
	const char *name;
	enum token token;
} tokens[] = {
	{ "1", TOKEN_PID },
	{ "PID", TOKEN_PID },
	{ "2", TOKEN_DUMP },
	{ "DUMP", TOKEN_DUMP },
	{ "TID", TOKEN_TID },
	{ "ID", TOKEN_ID },
	{ "RULE", TOKEN_RULE },
	{ "REASON", TOKEN_REASON },
	{ "METHOD", TOKEN_METHOD },
	{ "URL", TOKEN_URL },
	{ "STATUS", TOKEN_STATUS },
	{ "ELAPSED_MS", TOKEN_ELAPSED_MS },
	{ "INCIDENT", TOKEN_INCIDENT },
	{ "REPORT", TOKEN_REPORT },
};

static const char *text_of(enum token token, const struct action_values *v, char *number, size_t size)
{
	switch (token) {
	case TOKEN_PID:
		snprintf(number, size, "%d", v->pid);
		return number;
	case TOKEN_TID:
		snprintf(number, size, "%d", v->tid);
		return number;
	case TOKEN_STATUS:
		snprintf(number, size, "%d", v->status);
		return number;
	case TOKEN_ELAPSED_MS:
		snprintf(number, size, "%.0f", v->elapsed_ms);
		return number;
	case TOKEN_DUMP:
		return v->dump;
	case TOKEN_ID:
		return v->id;
	case TOKEN_RULE:
		return v->rule;
	case TOKEN_REASON:
		return v->reason;
	case TOKEN_METHOD:
		return v->method;
	case TOKEN_URL:
		return v->url;
	case TOKEN_INCIDENT:
		return v->incident;
	case TOKEN_REPORT:
		return v->report;
	}
	return NULL;
}

/* The token at p ('%NAME%'): its row and its length with both signs. */
static int find_token(const char *p, size_t *ret_row, size_t *ret_len)
{
	size_t len = strcspn(p + 1, "%");

	for (size_t n = 0; p[len + 1] && n < ARRAY_LEN(tokens); n++) {
		if (strlen(tokens[n].name) != len || strncmp(tokens[n].name, p + 1, len))
			continue;
		*ret_row = n;
		*ret_len = len + 2;
		return 0;
	}
	return -EINVAL;
}

/* Expands one argument; with values NULL it only checks. */
static int expand_one(const char *arg, const struct action_values *values, struct buf *out, struct err *err)
{
	for (const char *p = arg; *p;) {
		size_t plain = strcspn(p, "%"), row, len;
		char number[48];
		const char *text;

		buf_add(out, p, plain);
		p += plain;
		if (!*p)
			break;
		if (p[1] == '%') {
			buf_adds(out, "%");
			p += 2;
			continue;
		}
		if (find_token(p, &row, &len) < 0)
			return err_say(
				err, -EINVAL,
				"action: unknown token in '%s' at '%.20s': known are %%1%% %%2%% %%PID%% "
				"%%DUMP%% %%TID%% %%ID%% %%RULE%% %%REASON%% %%METHOD%% %%URL%% %%STATUS%% %%ELAPSED_MS%% "
				"%%INCIDENT%% %%REPORT%%; a percent sign is %%%%",
				arg, p);
		text = values ? text_of(tokens[row].token, values, number, sizeof(number)) : NULL;
		if (text)
			buf_adds(out, text);
		p += len;
	}
	if (out->full)
		return err_say(err, -E2BIG, "action: an argument becomes longer than %u bytes", ARGUMENT_MAX);
	return 0;
}

static bool has_token(const char *arg)
{
	for (const char *p = strchr(arg, '%'); p; p = strchr(p + 2, '%')) {
		if (p[1] != '%')
			return true;
	}
	return false;
}

int action_check(char *const *argv, struct err *err)
{
	if (!argv || !argv[0] || !argv[0][0])
		return err_say(err, -EINVAL, "action is empty: name a program, like '/usr/local/bin/tell-us %%1%%'");
	for (size_t n = 0; argv[n]; n++) {
		struct buf sink;
		int r;

		buf_init(&sink, ARGUMENT_MAX);
		r = expand_one(argv[n], NULL, &sink, err);
		buf_done(&sink);
		if (r < 0)
			return r;
	}
	if (argv[0][0] != '/')
		return err_say(err, -EINVAL, "action: program '%s' must be an absolute path, like '/usr/bin/%s'",
			       argv[0], argv[0]);
	if (has_token(argv[0]))
		return err_say(err, -EINVAL, "action: program '%s' must not depend on the request", argv[0]);
	return 0;
}

static bool is_later(enum token token)
{
	return token == TOKEN_DUMP || token == TOKEN_INCIDENT || token == TOKEN_REPORT;
}

const char *action_later_token(char *const *argv)
{
	size_t row, len;

	for (; *argv; argv++) {
		for (const char *p = strchr(*argv, '%'); p; p = strchr(p + len, '%')) {
			len = 2; /* '%%' */
			if (p[1] != '%' && find_token(p, &row, &len) == 0 && is_later(tokens[row].token))
				return tokens[row].name;
		}
	}
	return NULL;
}

int action_expand(char *const *argv, const struct action_values *values, char ***ret_argv, struct err *err)
{
	char **list = NULL;

	for (size_t n = 0; argv[n]; n++) {
		struct buf arg;
		int r;

		buf_init(&arg, ARGUMENT_MAX);
		buf_adds(&arg, "");
		r = expand_one(argv[n], values, &arg, err);
		if (r == 0 && strings_add(&list, arg.data ? arg.data : "") < 0)
			r = err_sys(err, -ENOMEM, "action");
		buf_done(&arg);
		if (r < 0) {
			strings_free(list);
			return r;
		}
	}
	*ret_argv = list;
	return 0;
}

/* --- running --- */

struct action {
	struct loop *loop;
	struct action_facts *facts;
	void (*done)(void *arg);
	void *arg;
	struct child child; /* the warden */
	int control_fd, out_fd;
	struct buf output;
	uint64_t started_ns;
	bool killed; /* by us: state is set already */
	struct source *on_output, *on_end, *on_limit;
};

/* NUL would end the text. What is beyond the maximum is read and dropped. */
static void keep_output(struct action *action, const char *data, size_t len)
{
	for (size_t n = 0; n < len; n++) {
		size_t size = data[n] ? 1 : 3;

		if (size > action->output.max - action->output.len || action->output.full) {
			action->facts->output_cut = true;
			return;
		}
		buf_add(&action->output, data[n] ? data + n : "\xef\xbf\xbd", size);
	}
}

/* Returns the bytes read; 0 at the end of file, -EAGAIN when there is no more. */
static ssize_t read_output(struct action *action)
{
	char data[16384];
	ssize_t n = read(action->out_fd, data, sizeof(data));

	if (n > 0)
		keep_output(action, data, (size_t)n);
	return n < 0 ? -errno : n;
}

static void output_event(void *arg, uint32_t events UNUSED)
{
	struct action *action = arg;
	ssize_t n = read_output(action);

	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
		loop_remove(action->loop, action->on_output);
		action->on_output = NULL;
	}
}

static void hear_word(struct action *action, int code)
{
	struct action_facts *facts = action->facts;
	struct warden_word word;
	bool heard = recv(action->control_fd, &word, sizeof(word), MSG_DONTWAIT) == (ssize_t)sizeof(word);

	facts->exit_code = heard && !word.failed[0] ? word.exit_code : 255;
	if (action->killed)
		return;
	facts->state = ACTION_FAILED;
	if (!heard) {
		text_setf(&facts->why, "the process that looks after it ended before it (code %d)", code);
		return;
	}
	word.failed[sizeof(word.failed) - 1] = '\0';
	text_set(&facts->why, word.failed[0] ? word.failed : NULL);
	if (word.failed[0])
		return;
	facts->state = word.timed_out ? ACTION_TIMED_OUT : ACTION_RAN;
	if (word.left)
		text_setf(&facts->why, "%u of its processes did not end", word.left);
}

/* The warden has ended. */
static void finish(struct action *action, int code)
{
	struct action_facts *facts = action->facts;
	void (*done)(void *arg) = action->done;
	void *arg = action->arg;
	size_t drained = 0;

	hear_word(action, code);
	for (ssize_t n = 1; n > 0 && drained<DRAIN_MAX; drained += n> 0 ? (size_t)n : 0)
		n = action->on_output ? read_output(action) : 0;
	loop_remove(action->loop, action->on_output);
	loop_remove(action->loop, action->on_end);
	loop_remove(action->loop, action->on_limit);
	close(action->out_fd);
	close(action->control_fd);
	facts->took_ns = now_ns() - action->started_ns;
	facts->output = action->output.len ? buf_take(&action->output) : NULL;
	buf_done(&action->output);
	free(action);
	done(arg);
}

static void end_event(void *arg, uint32_t events UNUSED)
{
	struct action *action = arg;

	finish(action, child_reap(&action->child, true));
}

/* The warden itself is late. */
static void limit_event(void *arg, uint32_t events UNUSED)
{
	struct action *action = arg;

	action->killed = true;
	action->facts->state = ACTION_TIMED_OUT;
	child_kill(&action->child);
}

void action_kill(struct action *action)
{
	if (!action->killed) {
		action->facts->state = ACTION_FAILED;
		text_set(&action->facts->why, "killed when the watch ended");
	}
	action->killed = true;
	shutdown(action->control_fd, SHUT_WR);
}

static void nobody_asks(void *arg UNUSED)
{
}

void action_abort(struct action *action)
{
	int code;

	action->done = nobody_asks;
	action_kill(action);
	code = child_reap_until(&action->child, now_ns() + ABORT_NS);
	if (code == -ETIMEDOUT)
		child_leave(&action->child);
	finish(action, code);
}

/* A program that others may change would run as us. */
static int check_program(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, -errno, "cannot start '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_say(err, -EACCES, "cannot start '%s': it is not a program", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return err_say(err, -EPERM,
			       "'%s' is not run: others may change it (uid %u, mode %04o); 'chown root' and "
			       "'chmod go-w' it",
			       path, st.st_uid, st.st_mode & 07777);
	if (!(st.st_mode & 0111))
		return err_sys(err, -EACCES, "cannot start '%s'", path);
	return 0;
}

static int watch(struct action *action, const struct action_spec *spec)
{
	uint64_t late_ns = now_ns() + spec->limit_ns + spec->grace_ns + LATE_NS;
	int r = loop_add_fd(action->loop, action->out_fd, EPOLLIN, output_event, action, &action->on_output);

	if (r == 0)
		r = loop_add_fd(action->loop, action->child.pidfd, EPOLLIN, end_event, action, &action->on_end);
	if (r == 0 && spec->limit_ns)
		r = loop_add_timer(action->loop, late_ns, 0, limit_event, action, &action->on_limit);
	if (r == 0)
		return 0;
	loop_remove(action->loop, action->on_output);
	loop_remove(action->loop, action->on_end);
	child_kill(&action->child); /* with it its child dies */
	child_reap(&action->child, true);
	return r;
}

static int spawn(const struct action_spec *spec, int control_fd, int output_fd, struct child *ret_child,
		 struct err *err)
{
	const struct child_fd fds[] = { { control_fd, WARDEN_CONTROL_FD }, { output_fd, WARDEN_OUTPUT_FD } };
	char limit[24], grace[24], **argv = NULL;
	int r;

	snprintf(limit, sizeof(limit), "%llu", (unsigned long long)spec->limit_ns);
	snprintf(grace, sizeof(grace), "%llu", (unsigned long long)spec->grace_ns);
	r = strings_add(&argv, "reqtrap");
	for (size_t n = 0; n < 4 && r == 0; n++)
		r = strings_add(&argv, (const char *[]){ WARDEN_VERB, limit, grace, spec->user ? spec->user : "" }[n]);
	for (size_t n = 0; spec->argv[n] && r == 0; n++)
		r = strings_add(&argv, spec->argv[n]);
	if (r == 0)
		r = child_start(&(struct child_spec){ .argv = argv,
						      .fds = fds,
						      .fd_count = ARRAY_LEN(fds),
						      /* Ctrl-C is for us */
						      .own_session = true },
				ret_child, err);
	else
		err_sys(err, r, "cannot start '%s'", spec->argv[0]);
	strings_free(argv);
	return r;
}

static int start(struct action *action, const struct action_spec *spec, struct err *err)
{
	CLEAN(fd) int read_fd = -1;
	CLEAN(fd) int write_fd = -1;
	CLEAN(fd) int ours = -1;
	CLEAN(fd) int theirs = -1;
	int fds[2], r = check_program(spec->argv[0], err);

	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot start '%s'", spec->argv[0]);
	read_fd = fds[0];
	write_fd = fds[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, -errno, "cannot start '%s'", spec->argv[0]);
	ours = fds[0];
	theirs = fds[1];
	fcntl(read_fd, F_SETFL, O_NONBLOCK);
	r = spawn(spec, theirs, write_fd, &action->child, err);
	if (r < 0)
		return err_wrap(err, r, "cannot start '%s'", spec->argv[0]);
	action->out_fd = read_fd;
	action->control_fd = ours;
	r = watch(action, spec);
	if (r < 0)
		return err_sys(err, r, "cannot watch '%s'", spec->argv[0]);
	take_fd(&read_fd);
	take_fd(&ours);
	return 0;
}

int action_start(struct loop *loop, const struct action_spec *spec, struct action_facts *facts, void (*done)(void *arg),
		 void *arg, struct action **ret_action, struct err *err)
{
	struct action *action = calloc(1, sizeof(*action));
	struct err why = { "" };
	int r = action ? 0 : err_sys(&why, -ENOMEM, "cannot start '%s'", spec->argv[0]);

	for (size_t n = 0; r == 0 && spec->argv[n]; n++)
		r = strings_add(&facts->argv, spec->argv[n]);
	if (r == 0) {
		*action = (struct action){ .loop = loop,
					   .facts = facts,
					   .done = done,
					   .arg = arg,
					   .control_fd = -1,
					   .out_fd = -1,
					   .child.pidfd = -1,
					   .started_ns = now_ns() };
		buf_init(&action->output, ACTION_OUTPUT_MAX);
		r = start(action, spec, &why);
	}
	if (r < 0) {
		facts->state = ACTION_FAILED;
		text_set(&facts->why, why.text);
		free(action);
		return err_say(err, r, "%s", why.text);
	}
	if (ret_action)
		*ret_action = action;
	return 0;
}
