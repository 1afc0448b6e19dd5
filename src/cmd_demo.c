// SPDX-License-Identifier: MIT
/* 'demo': a shop of our own, its clients, and the engine of 'watch' upon them.
 * Rejected: a canned page (a demo that cannot fail shows nothing). Trap: the two
 * children must end with us however we end, so they hang on a socket of ours and on
 * the parent-death signal; kill is only the last word. */
#include "cmd.h"
#include "child.h"
#include "demo_server.h"
#include "engine.h"
#include "facts.h"
#include "incident.h"
#include "ktime.h"
#include "log.h"
#include "loop.h"
#include "report.h"
#include "rule.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SECONDS_DEFAULT 20
#define SECONDS_MAX 3600
#define START_MS 10000		      /* for the shop to listen */
#define FINISH_NS (10 * NSEC_PER_SEC) /* for captures under way at the end */
#define CHILD_FD 3

struct demo {
	struct loop *loop;
	struct engine *engine;
	struct rules rules;
	struct child server, load;
	struct source *load_source;
	int server_fd, load_fd; /* our ends: closing one ends the child */
	uint16_t port;
	char store[PATH_MAX];
	bool json;
	bool finishing;
	bool interrupted;

	/* by row of demo_kinds */
	struct told {
		char *path; /* of the incident; NULL: not trapped (yet) */
		char *verdict;
		char *page; /* report_text */
		char id[INCIDENT_ID_LEN + 1];
		char *core;
		double pause_ms;
		bool ended;
	} * told;
	size_t told_count;
};

/* ---- children ---- */

static int start_child(const char *verb, const char *arg, struct child *ret_child, int *ret_fd, struct err *err)
{
	char *argv[] = { (char *)(uintptr_t) "reqtrap", (char *)(uintptr_t)verb, (char *)(uintptr_t)arg, NULL };
	CLEAN(fd) int ours = -1;
	CLEAN(fd) int theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "cannot start '%s'", verb);
	ours = pair[0];
	theirs = pair[1];
	r = child_start(&(struct child_spec){ .argv = argv,
					      .fds = (struct child_fd[]){ { theirs, CHILD_FD }, { 2, 2 } },
					      .fd_count = 2,
					      .own_session = true },
			ret_child, err);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&ours);
	return 0;
}

static void end_child(struct child *child, int *fd)
{
	struct pollfd pfd = { .fd = child->pidfd, .events = POLLIN };

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	if (child->pid <= 0)
		return;
	if (poll(&pfd, 1, 2000) <= 0)
		child_kill(child);
	child_reap(child, true);
}

static int start_server(struct demo *demo, struct err *err)
{
	struct pollfd pfd = { .events = POLLIN };
	char line[16] = "";
	ssize_t n;
	int r = start_child(DEMO_SERVER_VERB, NULL, &demo->server, &demo->server_fd, err);

	if (r < 0)
		return r;
	pfd.fd = demo->server_fd;
	if (poll(&pfd, 1, START_MS) <= 0)
		return err_say(err, -ETIMEDOUT, "the demo's server did not start within %d s", START_MS / 1000);
	n = read(demo->server_fd, line, sizeof(line) - 1);
	demo->port = (uint16_t)(n > 0 ? atoi(line) : 0);
	return demo->port ? 0 : err_say(err, -EIO, "the demo's server could not start");
}

/* ---- what the watch tells ---- */

static struct told *told_of(struct demo *demo, const struct incident *incident)
{
	for (size_t i = 0; i < demo->told_count; i++) {
		if (incident->request.url && !strcmp(incident->request.url, demo_kinds[i].path))
			return &demo->told[i];
	}
	return NULL;
}

static void finished(void *arg)
{
	struct demo *demo = arg;

	loop_stop(demo->loop, 0);
}

static void finish(struct demo *demo)
{
	if (demo->finishing)
		return;
	demo->finishing = true;
	engine_finish(demo->engine, now_ns() + FINISH_NS, finished, demo);
}

/* One of each kind, from its first byte to its last. */
static void finish_if_all(struct demo *demo)
{
	for (size_t i = 0; i < demo->told_count; i++) {
		if (!demo->told[i].ended)
			return;
	}
	finish(demo);
}

static void on_trapped(void *arg, const struct incident *incident, const char *path)
{
	struct demo *demo = arg;
	struct told *told = told_of(demo, incident);

	(void)path;
	if (!told || (told->path && strcmp(told->id, incident->id)) || incident->suppressed || demo->json)
		return;
	printf("trapped after %6.1f ms: GET %-10s it %s\n", ns_to_ms(incident->elapsed_ns),
	       demo_kinds[told - demo->told].path, demo_kinds[told - demo->told].why);
	fflush(stdout);
}

static void tell_json(const struct incident *incident, const char *path)
{
	CLEAN(free) char *url = facts_utf8(incident->request.url ? incident->request.url : "");
	CLEAN(free) char *verdict = facts_utf8(incident->verdict ? incident->verdict : "");
	CLEAN(free) char *where = facts_utf8(path);
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:f, s:f, s:b, s:s}", "event", "stored", "id",
				 incident->id, "rule", incident->rule ? incident->rule : "", "reason",
				 reason_name(incident->reason), "url", url, "status", incident->status, "verdict",
				 verdict, "elapsed_ms", ns_to_ms(incident->elapsed_ns), "pause_ms",
				 ns_to_ms(incident->capture.pause_ns), "running_at_snapshot",
				 (int)incident->capture.running_at_snapshot, "incident", where);

	json_object_set_new(json, "core",
			    incident->capture.core_file ? json_string(incident->capture.core_file) : json_null());
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

/* The page as it is now; it grows until the request ends. */
static void keep_page(struct told *told, const struct incident *incident)
{
	struct buf page;

	buf_init(&page, 1u << 20);
	if (report_text(incident, &page, NULL) == 0) {
		free(told->page);
		told->page = buf_take(&page);
	}
	buf_done(&page);
	text_set(&told->verdict, incident->verdict);
}

static void on_stored(void *arg, const struct incident *incident, const char *path)
{
	struct demo *demo = arg;
	struct told *told = told_of(demo, incident);

	if (!told || told->path || incident->suppressed)
		return;
	keep_page(told, incident);
	text_set(&told->path, path);
	text_set(&told->core, incident->capture.core_file);
	memcpy(told->id, incident->id, sizeof(told->id));
	told->pause_ms = ns_to_ms(incident->capture.pause_ns);
	told->ended = incident->ended;
	if (demo->json)
		tell_json(incident, path);
	finish_if_all(demo);
}

static void on_ended(void *arg, const struct incident *incident, const char *path)
{
	struct demo *demo = arg;
	struct told *told = told_of(demo, incident);

	(void)path;
	if (!told || !told->path || strcmp(told->id, incident->id) != 0)
		return;
	keep_page(told, incident);
	told->ended = true;
	finish_if_all(demo);
}

static void on_failed(void *arg, const char *text)
{
	(void)arg;
	log_warn("%s", text);
}

static void on_server_gone(void *arg)
{
	struct demo *demo = arg;

	if (!demo->finishing)
		log_error("the demo's server has ended before it was told to");
	finish(demo);
}

static void on_load_gone(void *arg, uint32_t events)
{
	struct demo *demo = arg;

	(void)events;
	loop_remove(demo->loop, demo->load_source);
	demo->load_source = NULL;
	log_error("the demo's clients have ended before they were told to");
	finish(demo);
}

static void on_time_over(void *arg, uint32_t events)
{
	(void)events;
	finish(arg);
}

static void on_signal(void *arg, uint32_t signal)
{
	struct demo *demo = arg;

	(void)signal;
	if (demo->interrupted)
		loop_stop(demo->loop, 0);
	demo->interrupted = true;
	finish(demo);
}

/* ---- the run ---- */

/* One rule for each kind, so that each is captured once (limit 1) and none of them
 * takes the others' turn. */
static int make_rules(struct demo *demo, struct err *err)
{
	for (size_t i = 0; i < demo_kind_count; i++) {
		const struct demo_kind *kind = &demo_kinds[i];
		struct rule *rule = rules_add(&demo->rules, kind->fails ? "failing" : kind->path + 1);
		char limit[16];
		int r;

		if (!rule)
			return err_sys(err, -ENOMEM, "cannot make the demo's rules");
		snprintf(limit, sizeof(limit), "%dms", DEMO_LIMIT_MS);
		r = rule_set(rule, "path", kind->path, err);
		if (r == 0)
			r = rule_set(rule, kind->fails ? "status" : "time-taken", kind->fails ? "500-599" : limit, err);
		if (r == 0)
			r = rule_set(rule, "capture", "trace,stacks,full", err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run(struct demo *demo, uint64_t seconds, struct err *err)
{
	struct engine_config config = {
		.rules = &demo->rules,
		.store_dir = demo->store,
		.compress = true,
		.no_journal = true,
		.trapped = on_trapped,
		.ended = on_ended,
		.stored = on_stored,
		.failed = on_failed,
		.targets_gone = on_server_gone,
		.arg = demo,
	};
	char port[8];
	int r = start_server(demo, err);

	if (r == 0)
		r = engine_new(demo->loop, &config, &demo->engine, err);
	if (r == 0)
		r = engine_add_process(demo->engine, demo->server.pid, err);
	snprintf(port, sizeof(port), "%u", demo->port);
	if (r == 0)
		r = start_child(DEMO_LOAD_VERB, port, &demo->load, &demo->load_fd, err);
	if (r == 0)
		r = loop_add_fd(demo->loop, demo->load.pidfd, EPOLLIN, on_load_gone, demo, &demo->load_source);
	if (r == 0)
		r = loop_add_timer(demo->loop, now_ns() + seconds * NSEC_PER_SEC, 0, on_time_over, demo, NULL);
	if (r < 0)
		return r;
	if (!demo->json) {
		printf("a small shop serves http://127.0.0.1:%u (process %d) to %s; some requests are slow by chance.\n"
		       "Trapping what takes %d ms, and what fails, for %llu s at most.\n\n",
		       demo->port, demo->server.pid, "ten clients", DEMO_LIMIT_MS, (unsigned long long)seconds);
		fflush(stdout);
	}
	r = loop_run(demo->loop);
	return r < 0 ? err_sys(err, r, "the demo's watch failed") : 0;
}

static const struct told *best_of(const struct demo *demo, size_t *ret_trapped)
{
	const struct told *best = NULL;

	*ret_trapped = 0;
	for (size_t i = 0; i < demo->told_count; i++) {
		if (!demo->told[i].path)
			continue;
		(*ret_trapped)++;
		if (!best)
			best = &demo->told[i];
	}
	return best;
}

static void print_totals(const struct demo *demo)
{
	struct engine_totals totals;

	engine_totals(demo->engine, &totals);
	printf("%llu requests seen, %llu trapped; lost events %llu, refused %llu; %llu ns of BPF time at the sockets for each request.\n",
	       (unsigned long long)totals.requests, (unsigned long long)totals.trapped,
	       (unsigned long long)(totals.lost_ring + totals.lost_map), (unsigned long long)totals.refused,
	       (unsigned long long)totals.cpu_ns_per_request);
}

static void print_rest(const struct demo *demo, const struct told *best)
{
	for (size_t i = 0; i < demo->told_count; i++) {
		const struct told *told = &demo->told[i];

		if (!told->path)
			printf("  %-10s was not slow in this time: it %s\n", demo_kinds[i].path, demo_kinds[i].why);
		else if (told != best)
			printf("  %-10s %s\n             reqtrap show %.6s -o %s\n", demo_kinds[i].path,
			       told->verdict ? told->verdict : "no verdict", told->id, demo->store);
	}
}

static void print_result(const struct demo *demo, const struct told *best)
{
	printf("\n%s\n", best->page ? best->page : "The page could not be made.\n");
	printf("Where it lies: %s\n"
	       "  report.html, report.txt   this page\n"
	       "  trace.json                the trace, for ui.perfetto.dev or chrome://tracing\n",
	       best->path);
	if (best->core)
		printf("  %-25s the core; the process stood still for %.1f ms\n"
		       "                            gdb: reqtrap open %.6s -o %s\n",
		       best->core, best->pause_ms, best->id, demo->store);
	printf("\nThe others:\n");
	print_rest(demo, best);
	putchar('\n');
	print_totals(demo);
	printf("\nOn a server of your own, as root, while it runs:\n"
	       "  reqtrap watch :80 --time-taken 2s --capture trace,stacks,full\n"
	       "  reqtrap show last\n");
}

static int tell(const struct demo *demo)
{
	size_t trapped;
	const struct told *best = best_of(demo, &trapped);
	struct engine_totals totals;

	if (demo->json) {
		json_t *json;

		engine_totals(demo->engine, &totals);
		json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "event", "totals", "requests",
				 (json_int_t)totals.requests, "trapped", (json_int_t)totals.trapped, "lost_events",
				 (json_int_t)(totals.lost_ring + totals.lost_map), "refused",
				 (json_int_t)totals.refused, "cpu_ns_per_request",
				 (json_int_t)totals.cpu_ns_per_request, "store", demo->store);
		json_dumpf(json, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(json);
	} else if (best) {
		print_result(demo, best);
	} else {
		print_totals(demo);
	}
	if (!best)
		log_error("nothing was trapped");
	fflush(stdout);
	return best ? EXIT_DONE : EXIT_NOTHING;
}

static void demo_done(struct demo *demo)
{
	end_child(&demo->load, &demo->load_fd);
	engine_free(demo->engine);
	end_child(&demo->server, &demo->server_fd);
	loop_free(demo->loop);
	rules_free(&demo->rules);
	for (size_t i = 0; i < demo->told_count; i++) {
		free(demo->told[i].path);
		free(demo->told[i].verdict);
		free(demo->told[i].page);
		free(demo->told[i].core);
	}
	free(demo->told);
}

static int choose_store(struct demo *demo, const char *given, struct err *err)
{
	const char *tmp = getenv("TMPDIR");

	if (given)
		return snprintf(demo->store, sizeof(demo->store), "%s", given) < (int)sizeof(demo->store)
			       ? 0
			       : err_say(err, -ENAMETOOLONG, "the path '%s' is too long", given);
	snprintf(demo->store, sizeof(demo->store), "%s/reqtrap-demo-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (!mkdtemp(demo->store))
		return err_sys(err, -errno, "cannot make a folder for the demo's pages ('%s')", demo->store);
	return 0;
}

int cmd_demo(int argc, char **argv)
{
	struct demo demo = { .server = { .pidfd = -1 }, .load = { .pidfd = -1 }, .server_fd = -1, .load_fd = -1 };
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	uint64_t seconds = SECONDS_DEFAULT;
	struct err err = { .text = "" };
	struct command_line line;
	int code, r = verb_begin("demo", argc, argv, &line);

	if (r != VERB_GO_ON)
		return r;
	demo.json = option_given(&line, "json");
	log_quiet(option_given(&line, "quiet"));
	r = 0;
	if (line.rest_count || line.command)
		r = err_say(&err, -EINVAL, "'demo' takes no '%s'", line.rest_count ? line.rest[0] : "--");
	if (r == 0 && option_given(&line, "seconds"))
		r = parse_count(option_value(&line, "seconds"), 1, SECONDS_MAX, &seconds, &err);
	if (r == 0)
		r = choose_store(&demo, option_value(&line, "store"), &err);
	if (r == 0)
		r = make_rules(&demo, &err);
	if (r == 0) {
		demo.told = calloc(demo_kind_count, sizeof(*demo.told));
		demo.told_count = demo.told ? demo_kind_count : 0;
		r = demo.told ? loop_new(&demo.loop, &err) : err_sys(&err, -ENOMEM, "cannot run the demo");
	}
	if (r == 0)
		r = loop_add_signals(demo.loop, ends, ARRAY_LEN(ends), on_signal, &demo, &err);
	if (r == 0)
		r = run(&demo, seconds, &err);
	if (r < 0)
		log_error("%s", err.text);
	code = r < 0 ? exit_code_of(r) : tell(&demo);
	demo_done(&demo);
	if (!option_given(&line, "store"))
		rmdir(demo.store); /* only if nothing lies there */
	return code;
}
