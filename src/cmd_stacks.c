// SPDX-License-Identifier: MIT
/* 'stacks': the capture of a dump without its core, and the analyst's answer printed;
 * with -n several of them, and what they have in common. Equal stacks are printed once.
 * Rejected: reading stacks without a stop (they would be of different moments, and
 * owners of locks wrong). Trap: CPU times are read on the same side of each stop, so
 * that what a stop costs a thread is in all differences alike. */
#include "cmd_stacks.h"

#include "analyst.h"
#include "around.h"
#include "autopsy.h"
#include "cmd.h"
#include "corefile.h"
#include "ktime.h"
#include "log.h"
#include "rule.h"
#include "target.h"
#include "verdict.h"
#include "waits.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define COUNT_MAX 10000
#define EVERY_NS NSEC_PER_SEC

struct samples {
	bool json, arguments;
	unsigned int count;
	uint64_t every_ns;
	struct subject *subject;
	size_t subject_count;
	struct beyond_recent recent[BEYOND_RECENT];
	int worst;     /* enum exit_code */
	int signal_fd; /* -1: none is waited for */
	int signal;    /* that ended it, 0 none */
};

/* Stops the process, takes the stacks, waits for the answer. ret_moment NULL: not wanted. */
static int take(const struct proc *proc, bool arguments, struct dump_result *ret_result, struct moment *ret_moment,
		struct analysis *ret_analysis, struct err *err)
{
	struct dump_order order = {
		.pid = proc->pid, .start_ticks = proc->start_ticks, .kinds = DUMP_STACKS, .arguments = arguments
	};
	struct analyst *analyst;
	struct dump_job *job;
	int worker_fd, r;

	r = analyst_start(&worker_fd, &analyst, err);
	if (r < 0)
		return r;
	r = dump_start(-1, worker_fd, &job, err);
	close(worker_fd);
	if (r < 0) {
		analyst_cancel(analyst, "there is nothing to analyse");
		analyst_read(analyst, true, ret_analysis);
		return r;
	}
	r = dump_order_send(job, &order, err);
	if (r < 0)
		dump_cancel(job);
	/* The worker may fail after the stop, when the stacks are taken already. */
	if (dump_finish(job, true, ret_result) < 0)
		*ret_result = (struct dump_result){ .code = -EIO, .error = "the dump worker gave no result" };
	if (r == 0 && ret_moment)
		r = moment_read(proc, MOMENT_CPU | MOMENT_MEMORY, ret_moment, err);
	analyst_read(analyst, true, ret_analysis);
	if (r < 0)
		return r;
	if (ret_result->code < 0 && ret_result->threads == 0)
		return err_say(err, ret_result->code, "%s", ret_result->error);
	if (ret_analysis->failed)
		return err_say(err, -EIO, "cannot read the stacks of process %d: %s", proc->pid, ret_analysis->failed);
	if (ret_result->error[0])
		log_warn("%s", ret_result->error);
	return 0;
}

/* Makes of the analysis what is printed. result and before NULL: of a core. */
static int tell(struct samples *s, struct subject *subject, struct incident *i, const struct dump_result *result,
		const struct moment *before)
{
	text_set(&i->process.comm, subject->name);
	i->holder_pid = subject->proc.pid;
	if (result)
		waits_name_fds(&i->analysis, subject->proc.dir_fd);
	i->holder_tid = around_judge(&i->analysis, &subject->like);
	if (subject->signal && subject->like) /* no lock stands out: what ended the process does */
		i->holder_tid = subject->signal_tid;
	i->capture.running_at_snapshot = true;
	if (result)
		around_look(i, before, s->recent);
	if (i->holder_tid)
		verdict_make(i);
	if (i->cause && !strcmp(i->cause, "unknown")) /* its words are of a trapped request */
		text_set(&i->verdict, NULL);
	if (s->json)
		return stacks_print_json(subject, i, result, s->count > 1 ? subject->turn : 0);
	if (subject->taken || subject != s->subject)
		putchar('\n');
	if (s->count > 1)
		printf("--- sample %u of %u\n", subject->turn, s->count);
	return stacks_print_text(subject, i, result);
}

/* For the comparison, whatever came of it. */
static int remember(struct subject *subject, const struct moment *moment, const struct analysis *analysis)
{
	int r = subject->compare ? compare_add(subject->compare, moment, analysis) : 0;

	return r == 0 && subject->compare ? growth_add(subject->growth, moment) : r;
}

static int sample(struct samples *s, struct subject *subject, struct err *err)
{
	struct incident *i = incident_new();
	struct moment moment = { 0 }, before = { 0 };
	struct dump_result result;
	int r, added;

	subject->turn++;
	if (!i)
		return err_sys(err, -ENOMEM, "cannot read the stacks of process %d", subject->proc.pid);
	moment_read(&subject->proc, MOMENT_CPU, &before, NULL);
	r = take(&subject->proc, s->arguments, &result, subject->compare ? &moment : NULL, &i->analysis, err);
	if (r == 0) {
		r = tell(s, subject, i, &result, before.parts ? &before : NULL);
		if (r < 0)
			err_sys(err, r, "cannot print the stacks of process %d", subject->proc.pid);
	}
	if (r < 0)
		text_set(&i->analysis.failed, err->text);
	added = remember(subject, &moment, &i->analysis);
	if (r == 0 && added < 0)
		r = err_sys(err, added, "cannot compare the stacks of process %d", subject->proc.pid);
	moment_done(&moment);
	moment_done(&before);
	incident_free(i);
	subject->taken += r == 0;
	fflush(stdout);
	return r;
}

/* A sample of several that failed is told; what the others say holds. */
static void fail(struct samples *s, struct subject *subject, int r, const struct err *err)
{
	bool alive = proc_alive(&subject->proc);

	if (subject->taken && alive) {
		log_warn("sample %u: %s", subject->turn, err->text);
		return;
	}
	if (subject->taken)
		log_error("process %d '%s' ended after %u of %u samples", subject->proc.pid, subject->name,
			  subject->turn - 1, s->count);
	else
		log_error("%s", err->text);
	s->worst = MAX(s->worst, subject->taken ? EXIT_NOTHING : exit_code_of(r));
	subject->over = true;
}

/* Until 'when', or a signal that ends the series. One is seen also when it is late. */
static void wait_until(struct samples *s, uint64_t when_ns)
{
	struct pollfd fd = { .fd = s->signal_fd, .events = POLLIN };
	struct signalfd_siginfo info;
	uint64_t now;

	do {
		uint64_t left_ns = (now = now_ns()) < when_ns ? when_ns - now : 0;
		const struct timespec left = { .tv_sec = (time_t)(left_ns / NSEC_PER_SEC),
					       .tv_nsec = (long)(left_ns % NSEC_PER_SEC) };

		if (ppoll(&fd, 1, &left, NULL) > 0 && read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
			s->signal = (int)info.ssi_signo;
	} while (!s->signal && now < when_ns);
}

static bool all_over(const struct samples *s)
{
	for (size_t n = 0; n < s->subject_count; n++) {
		if (!s->subject[n].over)
			return false;
	}
	return true;
}

static void take_all(struct samples *s)
{
	uint64_t begun_ns = now_ns();

	for (unsigned int k = 0; k < s->count && !s->signal && !all_over(s); k++) {
		if (k)
			wait_until(s, begun_ns + k * s->every_ns);
		for (size_t n = 0; n < s->subject_count && !s->signal; n++) {
			struct err err = { "" };
			int r = s->subject[n].over ? 0 : sample(s, &s->subject[n], &err);

			if (r < 0)
				fail(s, &s->subject[n], r, &err);
		}
	}
	for (size_t n = 0; n < s->subject_count && s->count > 1; n++) {
		int r = s->subject[n].taken ? stacks_print_comparison(&s->subject[n], s->json) : 0;

		if (r < 0) {
			log_error("cannot compare the samples of process %d: %s", s->subject[n].proc.pid, strerror(-r));
			s->worst = MAX(s->worst, EXIT_REFUSED);
		}
	}
	fflush(stdout);
}

/* Ctrl-C in a series: what was taken is compared all the same. */
static int catch_signals(struct samples *s, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_sys(err, -errno, "cannot wait for signals") : 0;
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

static int open_subject(struct samples *s, pid_t pid, struct err *err)
{
	struct subject *subject = &s->subject[s->subject_count];
	int r = proc_open(&subject->proc, pid, err);

	if (r < 0)
		return r;
	s->subject_count++;
	proc_name(pid, subject->name, sizeof(subject->name));
	if (s->count < 2)
		return 0;
	subject->compare = compare_new();
	subject->growth = growth_new();
	return subject->compare && subject->growth ? 0 : err_sys(err, -ENOMEM, "cannot compare samples");
}

static int read_options(const struct command_line *line, struct samples *s, struct err *err)
{
	const char *value = option_value(line, "count");
	uint64_t count = 1;
	int r = value ? parse_count(value, 1, COUNT_MAX, &count, err) : 0;

	s->json = option_given(line, "json");
	s->arguments = option_given(line, "arguments");
	s->count = (unsigned int)count;
	s->every_ns = EVERY_NS;
	if (r == 0 && (value = option_value(line, "every")))
		r = parse_duration(value, &s->every_ns, err);
	if (r == 0 && line->rest_count == 0)
		r = err_say(err, -EINVAL, "no process is named: reqtrap stacks [--json] PID|NAME|CORE");
	return r;
}

static void run(struct samples *s, const struct targets *targets)
{
	struct err err = { "" };
	int r = 0;

	s->subject = calloc(targets->count + 1, sizeof(*s->subject));
	if (!s->subject)
		r = err_sys(&err, -ENOMEM, "cannot read stacks");
	else if (s->count > 1)
		r = catch_signals(s, &err);
	if (r < 0) {
		log_error("%s", err.text);
		s->worst = EXIT_REFUSED;
		return;
	}
	for (size_t n = 0; n < targets->count; n++) {
		r = open_subject(s, targets->pid[n], &err);
		if (r < 0) {
			log_error("%s", err.text);
			s->worst = MAX(s->worst, exit_code_of(r));
		}
	}
	take_all(s);
}

static void done(struct samples *s)
{
	for (size_t n = 0; n < s->subject_count; n++) {
		proc_close(&s->subject[n].proc);
		compare_free(s->subject[n].compare);
		growth_free(s->subject[n].growth);
	}
	free(s->subject);
	beyond_recent_done(s->recent);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	if (s->signal)
		die_of(s->signal);
}

/* ---- cores ---- */

/* A word with a slash is a path; else a file of that name is meant only if it is a core. */
static bool is_core(const char *word)
{
	CLEAN(fd) int fd = -1;
	struct corefile *core;
	struct stat st;
	bool is;

	if (strchr(word, '/'))
		return true;
	if (stat(word, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	fd = open(word, O_RDONLY | O_CLOEXEC);
	is = fd >= 0 && corefile_open(fd, &core, NULL) == 0;
	if (is)
		corefile_close(core);
	return is;
}

/* HotSpot's own reader knows each build's frames; ours asks living JVMs only. */
static void point_to_jhsdb(const struct subject *subject, const char *program, struct analysis *a)
{
	size_t len = strlen(subject->core), dir = strlen(program) - MIN(strlen(program), strlen("java"));
	bool packed = len > 4 && !strcmp(subject->core + len - 4, ".zst");
	struct buf line;

	if (!a->language || strncmp(a->language, "Java", 4) != 0 || strcmp(program + dir, "java") != 0)
		return;
	buf_init(&line, 2 * PATH_MAX + 256);
	buf_adds(&line, "Java's own frames are read by the JDK of the same build, out of a full core: ");
	if (packed)
		buf_addf(&line, "zstd -d '%s' && ", subject->core);
	buf_addf(&line, "%.*sjhsdb jstack --core '%.*s' --exe '%s'", (int)dir, program, (int)(packed ? len - 4 : len),
		 subject->core, program);
	if (line.data)
		strings_add(&a->note, line.data);
	buf_done(&line);
}

static int read_core(struct samples *s, struct subject *subject, const struct autopsy_spec *spec, struct incident *i,
		     struct err *err)
{
	/* O_NONBLOCK: a pipe must not hold us up */
	CLEAN(fd) int fd = open(subject->core, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct autopsy_facts facts;
	struct moment moment = { 0 };
	int r = fd < 0 ? err_sys(err, -errno, "cannot open the file") : 0;

	if (r == 0)
		r = autopsy(fd, spec, &facts, &i->analysis, &moment, err);
	if (r < 0)
		return r;
	subject->proc.pid = facts.pid;
	subject->signal = facts.signal;
	subject->signal_tid = facts.tid;
	snprintf(subject->name, sizeof(subject->name), "%s", facts.process);
	point_to_jhsdb(subject, facts.program, &i->analysis);
	r = tell(s, subject, i, NULL, NULL);
	if (r == 0)
		r = remember(subject, &moment, &i->analysis);
	moment_done(&moment);
	return r < 0 ? err_sys(err, r, "cannot print what is in it") : 0;
}

/* One after the other; of several, what they have in common. */
static void take_cores(struct samples *s, const struct command_line *line)
{
	struct autopsy_spec spec = { .exe = option_value(line, "exe"),
				     .sysroot = option_value(line, "sysroot"),
				     .arguments = s->arguments,
				     .memory = line->rest_count > 1 };
	struct subject *subject = s->subject = calloc(1, sizeof(*subject));

	if (!subject)
		return;
	s->subject_count = 1;
	s->count = (unsigned int)line->rest_count;
	subject->proc = (struct proc){ .pidfd = -1, .dir_fd = -1 };
	subject->compare = s->count > 1 ? compare_new() : NULL;
	subject->growth = s->count > 1 ? growth_new() : NULL;
	for (int n = 0; n < line->rest_count; n++) {
		struct incident *i = incident_new();
		struct err err = { "" };
		int r = -ENOMEM;

		subject->core = line->rest[n];
		subject->turn++;
		if (i)
			r = read_core(s, subject, &spec, i, &err);
		if (r < 0) {
			log_error("'%s': %s", subject->core, err.text);
			s->worst = MAX(s->worst, r == -ESPIPE ? EXIT_MISTAKE : exit_code_of(r));
		}
		subject->taken += r == 0;
		incident_free(i);
	}
	if (subject->compare && subject->growth && subject->taken > 1)
		stacks_print_comparison(subject, s->json);
	fflush(stdout);
}

static int check_words(const struct command_line *line, struct err *err)
{
	bool given = option_given(line, "exe") || option_given(line, "sysroot");
	int cores = 0;

	for (int n = 0; n < line->rest_count; n++)
		cores += is_core(line->rest[n]);
	if (cores && cores < line->rest_count)
		return err_say(err, -EINVAL, "cores and processes together: which of the two?");
	if (cores && (option_given(line, "count") || option_given(line, "every")))
		return err_say(err, -EINVAL, "--count and --every are of processes, not of cores");
	if (!cores && given)
		return err_say(err, -EINVAL, "--exe and --sysroot are of cores, not of processes");
	return cores;
}

int cmd_stacks(int argc, char **argv)
{
	struct samples s = { .worst = EXIT_DONE, .signal_fd = -1 };
	struct command_line line;
	struct targets targets = { 0 };
	struct err err = { "" };
	int r = verb_begin("stacks", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	r = read_options(&line, &s, &err);
	if (r == 0)
		r = check_words(&line, &err);
	if (r > 0) {
		take_cores(&s, &line);
		done(&s);
		return s.worst;
	}
	for (int n = 0; n < line.rest_count && r == 0; n++)
		r = target_find(&targets, line.rest[n], &err);
	if (r == 0) {
		run(&s, &targets);
	} else {
		log_error("%s", err.text);
		s.worst = exit_code_of(r);
	}
	targets_done(&targets);
	done(&s);
	return s.worst;
}
