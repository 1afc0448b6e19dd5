// SPDX-License-Identifier: MIT
/* 'dump' and 'procdump': two grammars, one series of dumps. Rejected: letting the
 * worker write under the final name (a name is taken only by a whole dump: written
 * under a hidden one, renamed without replacing). Trap: the process may end and its
 * number be given to another between two dumps, so the pidfd is asked each time. */
#include "cmd.h"
#include "cmd_dump_tell.h"
#include "dump.h"
#include "journal.h"
#include "ktime.h"
#include "log.h"
#include "loop.h"
#include "place.h"
#include "proc.h"
#include "procdump.h"
#include "process.h"
#include "process.h"
#include "rule.h"
#include "target.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#define FULL_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.core"
#define MINI_FILE_NAME "PROCESSNAME_PID_YYMMDD_HHMMSS.mini.core"
#define PAUSE_BUDGET_NS (250 * NSEC_PER_MSEC) /* of a full dump, where none is given */
#define CANCEL_NS (3 * NSEC_PER_SEC)	      /* for a worker that was asked to end */
#define PIDS_NAMED 12			      /* of several processes with one name, in the error */

struct series {
	/* what is asked for */
	struct proc proc;
	char process[64];
	struct place place;
	const char *pattern; /* of the file's name, where the place has none; NULL: by kind */
	enum compression { BY_KIND, ZSTD, PLAIN } compress;
	bool overwrite, json;
	bool windows; /* names as typed there */
	bool no_journal;
	struct dump_order order; /* as far as all dumps have it in common */
	bool budget_given;
	uint32_t kind[2]; /* enum dump_kind, in this order at each turn */
	unsigned int kind_count;
	uint64_t every_ns, timeout_ns;
	unsigned int count;

	/* where it is */
	struct loop *loop;
	struct dump_job *job;
	struct source *job_source, *next_source, *timeout_source;
	char part[48]; /* the hidden name it is being written under */
	struct tm started;
	uint64_t first_ns;
	unsigned int done, at; /* turns, and the kind that this one is at */
	int signal;	       /* the one that ended it, 0 none */
	bool timed_out, cancelled, untold;
	struct progress progress;
	struct process_facts facts; /* as it was when the dump began: it may end meanwhile */
};

/* ---- the process meant ---- */

/* Several matches are an error, not a guess: the newest nginx is a worker today and
 * the master after a reload. */
static int only_one(const char *word, const struct targets *targets, pid_t *ret_pid, struct err *err)
{
	char list[256] = "";
	size_t len = 0, count = 0;

	for (size_t i = 0; i < targets->count; i++) {
		struct proc proc;

		if (proc_open(&proc, targets->pid[i], NULL) < 0) /* a zombie has a name, too */
			continue;
		proc_close(&proc);
		*ret_pid = targets->pid[i];
		if (count < PIDS_NAMED)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%d", count ? ", " : "", *ret_pid);
		count++;
	}
	if (count == 0)
		return err_say(err, -ESRCH, "every process that '%s' names has ended", word);
	if (count > 1)
		return err_say(err, -EINVAL, "'%s' names %zu processes (%s%s): give the id of one of them", word, count,
			       list, count > PIDS_NAMED ? " ..." : "");
	return 0;
}

static void tell_taken(const char *word, pid_t pid)
{
	char name[64];

	proc_name(pid, name, sizeof(name));
	log_note("'%s' is taken for process %d '%s'", word, pid, name);
}

static int pid_of(const char *word, bool any_case, pid_t *ret_pid, struct err *err)
{
	struct targets targets = { 0 };
	bool loosely;
	long pid;
	int r;

	if (!word[0] || strspn(word, "0123456789") != strlen(word)) {
		r = target_find(&targets, word, err);
		loosely = r == -ESRCH && any_case;
		if (loosely && target_find_any_case(&targets, word, NULL) == 0)
			r = 0;
		if (r == 0)
			r = only_one(word, &targets, ret_pid, err);
		if (r == 0 && loosely)
			tell_taken(word, *ret_pid);
		targets_done(&targets);
		return r;
	}
	errno = 0;
	pid = strtol(word, NULL, 10);
	if (errno || pid > INT_MAX || pid <= 0)
		return err_say(err, -EINVAL, "'%s' is not a process id", word);
	*ret_pid = (pid_t)pid;
	return 0;
}

static bool is_kernel_thread(int dir_fd)
{
	CLEAN(free) char *text = NULL;
	unsigned int flags;
	const char *p;

	if (proc_file(dir_fd, "stat", 4096, &text, NULL) < 0)
		return false;
	p = strrchr(text, ')');
	return p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && flags & 0x00200000; /* PF_KTHREAD */
}

static bool is_zombie(pid_t pid)
{
	struct proc_stat stat;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return proc_stat_read(AT_FDCWD, path, &stat) == 0 && stat.state == 'Z';
}

static bool may_trace(void)
{
	CLEAN(free) char *text = NULL;
	const char *caps =
		proc_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) == 0 ? strstr(text, "\nCapEff:") : NULL;

	return caps && strtoull(caps + 8, NULL, 16) >> CAP_SYS_PTRACE & 1;
}

/* The same question the kernel asks at PTRACE_SEIZE, without stopping anything. */
static int check_rights(const struct proc *proc, const char *process, struct err *err)
{
	CLEAN(fd) int fd = openat(proc->dir_fd, "mem", O_RDONLY | O_CLOEXEC);
	struct proc_status status;
	char path[PATH_MAX], user[64] = "another user";
	ssize_t n;

	if (fd >= 0)
		return 0;
	if (errno != EACCES && errno != EPERM)
		return err_sys(err, -errno, "cannot read process %d '%s'", proc->pid, process);
	if (proc_status_read(proc->dir_fd, "status", &status) == 0) {
		const struct passwd *pw = getpwuid(status.euid);

		snprintf(user, sizeof(user), status.euid == geteuid() ? "yours, but protected" : "user '%.50s'",
			 pw ? pw->pw_name : "?");
	}
	if (may_trace())
		return err_say(err, -EPERM,
			       "process %d '%s' cannot be dumped: CAP_SYS_PTRACE is there, but a security module "
			       "(AppArmor, SELinux, Yama, Landlock) or another user name space forbids it",
			       proc->pid, process);
	if (geteuid() == 0)
		return err_say(err, -EPERM,
			       "process %d '%s' needs CAP_SYS_PTRACE, which root lacks here: start the container "
			       "with '--cap-add SYS_PTRACE' (Kubernetes: capabilities: add: [SYS_PTRACE])",
			       proc->pid, process);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[MAX(n, 0)] = '\0';
	return err_say(err, -EPERM,
		       "process %d '%s' (%s) needs CAP_SYS_PTRACE: run as root, or once 'setcap cap_sys_ptrace+ep %s'",
		       proc->pid, process, user, path);
}

static int open_target(const char *target, bool any_case, struct proc *ret_proc, char *process, size_t process_size,
		       struct err *err)
{
	struct proc proc;
	pid_t pid = 0;
	int r = pid_of(target, any_case, &pid, err);

	if (r < 0)
		return r;
	if (pid == getpid())
		return err_say(err, -EINVAL, "%d is this reqtrap itself: it cannot stop itself to take a dump", pid);
	r = proc_open(&proc, pid, err);
	if (r == -ESRCH && is_zombie(pid))
		err_say(err, r, "process %d is a zombie: it has ended, and its parent has not collected it", pid);
	if (r < 0)
		return r;
	proc_name(pid, process, process_size);
	if (is_kernel_thread(proc.dir_fd))
		r = err_say(err, -EINVAL, "%d '%s' is a thread of the kernel: it has no memory of its own to dump", pid,
			    process);
	else
		r = check_rights(&proc, process, err);
	if (r < 0)
		proc_close(&proc);
	else
		*ret_proc = proc;
	return r;
}

/* ---- one dump ---- */

/* A mini is small: as it stands, a debugger opens it. */
static bool is_mini(const struct series *s)
{
	return s->kind[s->at] == DUMP_MINI;
}

static bool compressed(const struct series *s)
{
	return s->compress == ZSTD || (s->compress == BY_KIND && !is_mini(s));
}

static const char *pattern_of(const struct series *s)
{
	static const char *const names[2][2] = { { FULL_FILE_NAME, FULL_FILE_NAME ".zst" },
						 { MINI_FILE_NAME, MINI_FILE_NAME ".zst" } };

	if (s->place.pattern)
		return s->place.pattern;
	return s->pattern ? s->pattern : names[is_mini(s)][compressed(s)];
}

static struct place_name name_of(const struct series *s)
{
	/* -o: the second kind does not overwrite the first */
	return (struct place_name){ .pattern = pattern_of(s),
				    .process = s->process,
				    .pid = s->proc.pid,
				    .when = s->started,
				    .replace = s->overwrite,
				    .number = s->overwrite ? s->at : 0 };
}

static struct dump_subject subject_of(const struct series *s)
{
	return (struct dump_subject){ .pid = s->proc.pid, .process = s->process, .mini = is_mini(s) };
}

/* ---- the series ---- */

static void end_series(struct series *s, int exit_code)
{
	loop_stop(s->loop, exit_code);
}

static void begin_dump(void *arg, uint32_t events);

static void schedule_next(struct series *s)
{
	uint64_t when = s->first_ns + s->done * s->every_ns;
	int r;

	loop_remove(s->loop, s->next_source);
	s->next_source = NULL;
	r = loop_add_timer(s->loop, MAX(when, now_ns()), 0, begin_dump, s, &s->next_source);
	if (r < 0) {
		log_error("cannot wait for the next dump: %s", strerror(-r));
		end_series(s, EXIT_REFUSED);
	}
}

static void target_gone(struct series *s)
{
	log_error("process %d '%s' ended after %u of %u dumps", s->proc.pid, s->process, s->done, s->count);
	end_series(s, EXIT_NOTHING);
}

/* The worker knows the hidden name only; the user is told the one that was meant. */
static void name_in_error(const struct series *s, const char *text, int code, struct err *err)
{
	const char *at = strstr(text, s->part);
	const struct place_name meant = name_of(s);
	char name[NAME_MAX + 1];

	if (at && place_look(&s->place, &meant, name, sizeof(name), NULL) == 0)
		err_say(err, code, "%.*s%s%s", (int)(at - text), text, name, at + strlen(s->part));
	else if (code == -EBUSY) /* over the pause budget */
		err_say(err, code, "%s (%s)", text,
			is_mini(s) ? "--stacks, --pause-budget D"
				   : "--mini, --stacks, --pause-budget D, --snapshot stop");
	else
		err_say(err, code, "%s", text);
}

/* What was typed was right when the dump began: the system has failed since. */
static int failed_code(int r)
{
	return r == -ESRCH ? EXIT_NOTHING : r == -EINVAL || r == -EEXIST ? EXIT_MISTAKE : EXIT_REFUSED;
}

static void show_progress(struct series *s)
{
	const struct dump_subject subject = subject_of(s);
	uint64_t done, total;

	dump_progress(s->job, &done, &total);
	progress_show(&s->progress, &subject, done, total);
}

static void tell_journal(const struct series *s, const char *path, const struct dump_result *result)
{
	uint64_t now = now_ns(), ago_ns = result->taken_ns && result->taken_ns < now ? now - result->taken_ns : 0;
	struct err err = { .text = "" };

	if (!s->no_journal && journal_core(JOURNAL_SOCKET,
					   &(struct journal_core){ .process = &s->facts,
								   .path = path,
								   .kind = is_mini(s) ? "mini" : "full",
								   .wall_ns = wall_ns() - ago_ns,
								   .pause_ns = result->pause_ns },
					   &err) < 0)
		log_warn("%s", err.text);
}

static void finished(struct series *s, const char *path, const struct dump_result *result)
{
	struct dump_subject subject = subject_of(s);

	subject.path = path;
	if (!tell_dump(&subject, result, s->json) && errno != EPIPE && !s->untold) {
		log_error("'%s' is written, but standard output does not take the news: %s", path, strerror(errno));
		s->untold = true;
	}
	tell_journal(s, path, result);
}

static void take_result(void *arg, uint32_t events)
{
	struct series *s = arg;
	struct dump_result result;
	const struct place_name meant = name_of(s);
	char name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 2];
	struct err err = { .text = "" };
	int r = dump_finish(s->job, false, &result);

	(void)events;
	if (r == -EAGAIN) {
		show_progress(s);
		return;
	}
	progress_clear(&s->progress);
	loop_remove(s->loop, s->job_source);
	loop_remove(s->loop, s->timeout_source);
	s->job_source = s->timeout_source = NULL;
	s->job = NULL;
	if (r == 0 && result.code < 0) {
		r = result.code;
		name_in_error(s, result.error, r, &err);
	} else if (r < 0) {
		err_sys(&err, r, "cannot take a dump of process %d '%s'", s->proc.pid, s->process);
	} else if (result.error[0]) {
		log_warn("%s", result.error);
	}
	if (r == 0 && !result.core_bytes)
		r = err_say(&err, -EOPNOTSUPP, "this version writes no %s dumps", is_mini(s) ? "mini" : "full");
	if (r == 0)
		r = place_take(&s->place, s->part, &meant, name, sizeof(name), &err);
	if (r < 0) {
		unlinkat(s->place.dir_fd, s->part, 0);
		if (s->timed_out)
			log_error("the dump of process %d was given up after %llu s", s->proc.pid,
				  (unsigned long long)(s->timeout_ns / NSEC_PER_SEC));
		else if (s->cancelled)
			log_note("the dump of process %d was cancelled: no file is left", s->proc.pid);
		else
			log_error("%s", err.text);
		end_series(s, s->timed_out ? EXIT_NOTHING : failed_code(r));
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", strcmp(s->place.dir, "/") ? s->place.dir : "", name);
	finished(s, path, &result);
	s->at = (s->at + 1) % s->kind_count;
	s->done += s->at == 0;
	if (s->done == s->count || s->signal)
		end_series(s, EXIT_DONE);
	else if (s->at)
		begin_dump(s, 0);
	else
		schedule_next(s);
}

static void on_cancel_late(void *arg, uint32_t events)
{
	struct series *s = arg;

	(void)events;
	if (s->job)
		dump_cancel(s->job); /* asked again: it is killed */
}

/* It is asked to end and clean up behind it; if it does not, it is made to. */
static void cancel(struct series *s)
{
	dump_cancel(s->job);
	loop_add_timer(s->loop, now_ns() + CANCEL_NS, 0, on_cancel_late, s, NULL);
}

static void give_up(void *arg, uint32_t events)
{
	struct series *s = arg;

	(void)events;
	progress_clear(&s->progress);
	s->timed_out = true;
	if (s->job)
		cancel(s);
}

static void begin_dump(void *arg, uint32_t events)
{
	struct series *s = arg;
	struct dump_order order = s->order;
	time_t now = time(NULL);
	struct err err = { .text = "" };
	unsigned int random = 0;
	int r;

	(void)events;
	loop_remove(s->loop, s->next_source);
	s->next_source = NULL;
	if ((s->done || s->at) && !proc_alive(&s->proc)) {
		target_gone(s);
		return;
	}
	if (s->at == 0)
		localtime_r(&now, &s->started);
	order.pid = s->proc.pid;
	order.start_ticks = s->proc.start_ticks;
	order.kinds = s->kind[s->at];
	order.compress = compressed(s);
	if (order.kinds == DUMP_FULL && order.snapshot != SNAPSHOT_STOP && !s->budget_given)
		order.pause_budget_ns = PAUSE_BUDGET_NS;
	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (unsigned int)now_ns();
	snprintf(s->part, sizeof(s->part), ".reqtrap-%d-%08x.part", getpid(), random);
	snprintf(order.file, sizeof(order.file), "%s", s->part);
	s->facts.pid = s->proc.pid;
	process_read(s->proc.dir_fd, &s->facts);
	s->progress.begun_ns = s->progress.told_ns = now_ns();
	r = dump_start(s->place.dir_fd, -1, &s->job, &err);
	if (r == 0)
		r = dump_order_send(s->job, &order, &err);
	if (r == 0) {
		r = loop_add_fd(s->loop, dump_fd(s->job), EPOLLIN, take_result, s, &s->job_source);
		if (r == 0 && s->timeout_ns)
			r = loop_add_timer(s->loop, now_ns() + s->timeout_ns, 0, give_up, s, &s->timeout_source);
		if (r < 0)
			err_sys(&err, r, "cannot wait for the dump");
	}
	if (r < 0) {
		log_error("%s", err.text);
		end_series(s, exit_code_of(r));
	}
}

/* Once: the dump under way is finished, the series ends. Twice: it is cancelled. */
static void on_signal(void *arg, uint32_t signal)
{
	struct series *s = arg;

	progress_clear(&s->progress);
	if (s->job && s->signal) {
		s->cancelled = true;
		cancel(s);
		return;
	}
	s->signal = (int)signal;
	if (!s->job)
		end_series(s, EXIT_DONE);
	else
		log_note("finishing the dump under way; once more cancels it");
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

static int series_run(struct series *s)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct err err = { .text = "" };
	int r = loop_new(&s->loop, &err);

	if (r == 0)
		r = loop_add_signals(s->loop, ends, ARRAY_LEN(ends), on_signal, s, &err);
	if (r < 0) {
		log_error("%s", err.text);
		loop_free(s->loop);
		return EXIT_REFUSED;
	}
	s->first_ns = now_ns();
	schedule_next(s);
	r = loop_run(s->loop);
	if (s->job) { /* something of ours failed while it ran */
		struct dump_result result;

		dump_cancel(s->job);
		dump_finish(s->job, true, &result);
		progress_clear(&s->progress);
		unlinkat(s->place.dir_fd, s->part, 0);
	}
	loop_free(s->loop);
	if (s->signal)
		die_of(s->signal);
	return r < 0 || (r == EXIT_DONE && s->untold) ? EXIT_REFUSED : r;
}

static int series_open_and_run(struct series *s, const char *target, const char *path)
{
	struct err err = { .text = "" };
	char name[NAME_MAX + 1];
	int r;

	s->place.dir_fd = -1;
	r = open_target(target, s->windows, &s->proc, s->process, sizeof(s->process), &err);
	if (r < 0) {
		log_error("%s", err.text);
		return exit_code_of(r);
	}
	r = place_open(path, &s->place, &err);
	if (r == 0) {
		const struct place_name meant = name_of(s);

		r = place_look(&s->place, &meant, name, sizeof(name), &err); /* a bad pattern shows before the stop */
	}
	if (r < 0)
		log_error("%s", err.text);
	if (r == 0)
		dump_reap();
	r = r < 0 ? exit_code_of(r) : series_run(s);
	proc_close(&s->proc);
	place_close(&s->place);
	process_done(&s->facts);
	return r;
}

/* ---- the two grammars ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

/* --compress decides; else a name that was given; else the kind. */
static enum compression choose_compression(const char *option, const char *path)
{
	if (option ? !strcmp(option, "zstd") : place_is_file(path) && ends_with(path, ".zst"))
		return ZSTD;
	return option || place_is_file(path) ? PLAIN : BY_KIND;
}

static void choose_kinds(struct series *s, bool mini, bool full)
{
	s->kind_count = 0;
	if (mini)
		s->kind[s->kind_count++] = DUMP_MINI;
	if (full || !mini)
		s->kind[s->kind_count++] = DUMP_FULL;
}

/* The order's fields, from values that were checked already. */
static void read_limits(struct series *s, const struct command_line *line)
{
	const char *value;

	s->order.everything = option_given(line, "everything");
	s->budget_given = option_given(line, "pause-budget");
	if ((value = option_value(line, "pause-budget")))
		parse_duration(value, &s->order.pause_budget_ns, NULL);
	if ((value = option_value(line, "max-size")))
		parse_size(value, &s->order.max_bytes, NULL);
	if ((value = option_value(line, "free-space")))
		parse_space(value, &s->order.free_bytes, &s->order.free_percent, NULL);
	if ((value = option_value(line, "max-rate")))
		parse_size(value, &s->order.rate, NULL);
}

static int read_options(struct series *s, const struct command_line *line, const char *path, struct err *err)
{
	const char *snapshot = option_value(line, "snapshot");
	const char *value;
	uint64_t count = 1;
	int r = 0;

	s->count = 1;
	s->every_ns = PROCDUMP_EVERY_NS;
	s->json = option_given(line, "json");
	s->no_journal = option_given(line, "no-journal");
	s->progress.off = option_given(line, "quiet");
	log_quiet(s->progress.off);
	if (line->command)
		return err_say(err, -EOPNOTSUPP, "'-- %s': a dump needs a process that runs already", line->command[0]);
	if ((value = option_value(line, "count")))
		r = parse_count(value, 1, PROCDUMP_COUNT_MAX, &count, err);
	s->count = (unsigned int)count;
	if (r == 0 && (value = option_value(line, "every")))
		r = parse_duration(value, &s->every_ns, err);
	if (snapshot && strcmp(snapshot, "auto"))
		s->order.snapshot = !strcmp(snapshot, "clone") ? SNAPSHOT_CLONE : SNAPSHOT_STOP;
	choose_kinds(s, option_given(line, "mini"), option_given(line, "full"));
	read_limits(s, line);
	s->compress = choose_compression(option_value(line, "compress"), path);
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

int cmd_dump(int argc, char **argv)
{
	struct command_line line;
	struct series s = { .proc = { .pidfd = -1, .dir_fd = -1 } };
	struct err err = { .text = "" };
	const char *path;
	int r = verb_begin("dump", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	path = option_value(&line, "output");
	if (line.rest_count < 1)
		r = err_say(&err, -EINVAL, "no process is named: reqtrap dump [OPTIONS] PID|NAME [PATH]");
	else if (line.rest_count > (path ? 1 : 2))
		r = err_say(&err, -EINVAL, "'%s' is one word too many: a process and a path are all",
			    line.rest[path ? 1 : 2]);
	else
		r = read_options(&s, &line, path = path || line.rest_count < 2 ? path : line.rest[1], &err);
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_MISTAKE;
	}
	if (option_given(&line, "stacks"))
		return print_stacks(&line);
	return series_open_and_run(&s, line.rest[0], path);
}

int cmd_procdump(int argc, char **argv)
{
	struct procdump pd;
	struct series s = { .proc = { .pidfd = -1, .dir_fd = -1 }, .pattern = PROCDUMP_FILE_NAME, .compress = PLAIN };
	struct err err = { .text = "" };
	struct buf text;
	int r;

	buf_init(&text, 65536);
	r = procdump_parse(argc, argv, &pd, &text, &err);
	for (char *line = text.data; r == 0 && line && *line;) {
		char *end = line + strcspn(line, "\n");
		bool more = *end;

		*end = '\0';
		log_note("%s", line);
		line = end + more;
	}
	if (r == 0 && pd.help) {
		buf_done(&text);
		procdump_help(&text);
		fputs(text.data, stdout);
	}
	buf_done(&text);
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_MISTAKE;
	}
	if (pd.help)
		return EXIT_DONE;
	s.count = pd.count;
	s.every_ns = pd.every_ns;
	s.timeout_ns = pd.timeout_ns;
	s.overwrite = pd.overwrite;
	s.windows = true;
	s.no_journal = pd.no_journal;
	s.json = pd.json;
	s.budget_given = pd.pause_budget_ns != 0;
	s.order.pause_budget_ns = pd.pause_budget_ns;
	choose_kinds(&s, pd.mini, pd.full);
	snprintf(s.order.comment, sizeof(s.order.comment), "%s", pd.comment ? pd.comment : "");
	return series_open_and_run(&s, pd.target, pd.path);
}
