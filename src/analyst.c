// SPDX-License-Identifier: MIT
/* Two halves: the parent's side (start, read the answer), and the child that does the
 * work inside a sandbox. The work is ordered by what may go away: interpreter memory
 * and lock words first, then stacks, then MEMORY_DONE; names come after the target
 * runs again. Rejected: analysing in the worker (a crash there would cost the dump).
 * Trap: after MEMORY_DONE not one byte of the target may be read any more. */
#include "analyst.h"

#include "capture.h"
#include "child.h"
#include "facts.h"
#include "ktime.h"
#include "lang.h"
#include "locks.h"
#include "memory.h"
#include "parcel.h"
#include "proc.h"
#include "sandbox.h"
#include "stack.h"
#include "symbol.h"
#include "waits.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ANSWER_MAX (64u << 20)
#define STUCK_SECONDS 60 /* from PREPARE to the answer */
#define MAPS_MAX (64u << 20)
#define PAGES_KEPT 256u
#define THREADS_MAX 100000u
#define FRAMES_MAX 100000u  /* of all threads together */
#define FRAMES_AT_LEAST 16u /* of each thread all the same */

/* --- the parent's side --- */

struct analyst {
	struct child child;
	int answer_fd;
	struct buf answer;
	char why[200]; /* cancelled, and why */
};

int analyst_start(int *ret_worker_fd, struct analyst **ret_analyst, struct err *err)
{
	CLEAN(fd) int ours = -1, theirs = -1, answer_in = -1, answer_out = -1;
	char *argv[] = { "reqtrap", "--analyst", NULL };
	struct analyst *a;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "cannot start the analyst");
	ours = pair[0];
	theirs = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot start the analyst");
	answer_in = pair[0];
	answer_out = pair[1];
	if (fcntl(answer_in, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, -errno, "cannot start the analyst");
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_sys(err, -ENOMEM, "cannot start the analyst");
	buf_init(&a->answer, ANSWER_MAX);
	r = child_start(&(struct child_spec){ .argv = argv,
					      .no_wait = true,
					      .fd_count = 2,
					      .fds = (struct child_fd[]){ { theirs, 3 }, { answer_out, 4 } } },
			&a->child, err);
	if (r < 0) {
		free(a);
		return r;
	}
	a->answer_fd = take_fd(&answer_in);
	*ret_worker_fd = take_fd(&ours);
	*ret_analyst = a;
	return 0;
}

int analyst_fd(const struct analyst *analyst)
{
	return analyst->answer_fd;
}

void analyst_cancel(struct analyst *analyst, const char *why)
{
	snprintf(analyst->why, sizeof(analyst->why), "%s", why);
	child_kill(&analyst->child);
}

/* 0 at the end of the answer. */
static int take_answer(struct analyst *a, bool block)
{
	char chunk[65536];

	for (;;) {
		ssize_t n = read(a->answer_fd, chunk, sizeof(chunk));

		if (n == 0)
			return 0;
		if (n > 0) {
			buf_add(&a->answer, chunk, (size_t)n);
			if (a->answer.full)
				analyst_cancel(a, "its answer is too long");
		} else if (errno == EAGAIN) {
			if (!block)
				return -EAGAIN;
			poll(&(struct pollfd){ .fd = a->answer_fd, .events = POLLIN }, 1, -1);
		} else if (errno != EINTR) {
			return 0;
		}
	}
}

/* The pipe is at its end, so the child is about to exit; a hostile one may not. */
static int reap(struct analyst *a)
{
	if (poll(&(struct pollfd){ .fd = a->child.pidfd, .events = POLLIN }, 1, 200) == 0)
		child_kill(&a->child);
	return child_reap(&a->child, true);
}

int analyst_read(struct analyst *a, bool block, struct analysis *ret_analysis)
{
	struct analysis analysis = { 0 };
	struct err err = { "" };
	int status;

	if (take_answer(a, block) == -EAGAIN)
		return -EAGAIN;
	/* With an answer how it ends is of no interest, and a busy host may take long over it. */
	if (a->answer.len && !block) {
		child_leave(&a->child);
		status = 0;
	} else {
		status = reap(a);
	}
	if (a->why[0])
		text_setf(&analysis.failed, "the analyst was stopped: %s", a->why);
	else if (a->answer.len && analysis_read(a->answer.data, a->answer.len, &analysis, &err) < 0)
		text_setf(&analysis.failed, "the analyst's answer makes no sense: %s", err.text);
	else if (!a->answer.len && status > 128)
		text_setf(&analysis.failed, "the analyst was killed by signal %d%s", status - 128,
			  status - 128 == SIGXCPU || status - 128 == SIGALRM ? " (it took too long)" : "");
	else if (!a->answer.len)
		text_setf(&analysis.failed, "the analyst gave no answer (exit code %d)", status);
	close(a->answer_fd);
	buf_done(&a->answer);
	free(a);
	*ret_analysis = analysis;
	return 0;
}

/* --- the child: what it was given --- */

struct job {
	int mem_fd, copy_fd;
	struct images *images;
	struct proc_maps maps;
	char *maps_text;
	size_t maps_len;
	const struct language *language;
	void *language_state;
	char *language_why;
	struct capture {
		const char *data; /* the mapped memfd */
		size_t len;
		struct capture_head head;
		struct capture_thread *thread; /* checked copies, the holder first, then by tid */
		size_t count;
	} cap;
	struct stack_copy {
		uint64_t addr, len;
		const char *data;
	} * copy; /* by address */
	bool live, memory_open, worker_gone, arguments;
	struct analyst_page *page; /* PAGES_KEPT of its memory */
	bool served;		   /* they are asked for ... */
	int sock;		   /* ... here */
	uint64_t go_ns;
	struct lang_lock lock[LANG_LOCKS_MAX];
	size_t lock_count;
	int envoy_fd;		/* what the process says itself comes here; -1: nothing */
	struct lang_said *said; /* ... and is this, one per thread; NULL */
	struct analysis analysis;
};

static int receive(int sock, struct analyst_message *msg, int *fds, size_t fd_max, size_t *ret_fds)
{
	ssize_t n = parcel_receive(sock, msg, sizeof(*msg), fds, fd_max, ret_fds);

	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	return n == sizeof(*msg) ? 0 : -EPROTO;
}

static int tell(int sock, enum analyst_message_type type)
{
	struct analyst_message msg = { .type = type };

	return parcel_send(sock, &msg, sizeof(msg), NULL, 0, 0);
}

static int read_whole(int fd, size_t max, char **ret_text, size_t *ret_len)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (size_t)st.st_size > max)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	n = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
	if (n < 0) {
		free(text);
		return text ? -errno : -ENOMEM;
	}
	text[n] = '\0';
	*ret_text = text;
	*ret_len = (size_t)n;
	return 0;
}

static int set_maps(struct job *job, const char *text, size_t len)
{
	struct proc_maps maps;
	int r = proc_maps_parse(text, len, &maps);

	if (r < 0)
		return r;
	proc_maps_free(&job->maps);
	job->maps = maps;
	return images_place(job->images, &job->maps);
}

static int take_prepare(struct job *job, const struct analyst_message *msg, int *fds, size_t fd_count, bool first)
{
	size_t at = 0;
	int r;

	if (msg->type != ANALYST_PREPARE || msg->file_count > ANALYST_FILES_MAX ||
	    fd_count != msg->file_count + (first ? 2 : 0))
		return -EPROTO;
	if (first) {
		job->mem_fd = fds[at++];
		r = read_whole(fds[at], MAPS_MAX, &job->maps_text, &job->maps_len);
		close(fds[at++]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < msg->file_count; i++) {
		const struct analyst_file *f = &msg->file[i];

		r = images_add_file(job->images, f->dev_major, f->dev_minor, f->inode, fds[at++]);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static void find_language(struct job *job)
{
	static const struct language *const languages[] = { LANGUAGES };

	for (size_t i = 0; i < ARRAY_LEN(languages) && !job->language; i++) {
		if (languages[i]->find(job->images, &job->language_state, &job->analysis.language, &job->language_why) >
		    0)
			job->language = languages[i];
	}
}

static int prepare(struct job *job, int sock, struct err *err)
{
	struct analyst_message msg;
	bool first = true;
	int r;

	if (images_new(&job->images) < 0)
		return err_say(err, -ENOMEM, "out of memory");
	do {
		int fds[ANALYST_FILES_MAX + 2];
		size_t count;

		r = receive(sock, &msg, fds, ARRAY_LEN(fds), &count);
		if (first)
			alarm(STUCK_SECONDS);
		if (r == 0 && msg.type == ANALYST_FAILED)
			return err_say(err, -ECANCELED, "%.*s", (int)sizeof(msg.text), msg.text);
		if (r == 0)
			r = take_prepare(job, &msg, fds, count, first);
		if (r < 0)
			return err_sys(err, r, "cannot take what the dump worker sent");
		first = false;
	} while (msg.more);
	r = set_maps(job, job->maps_text, job->maps_len);
	if (r < 0)
		return err_sys(err, r, "cannot read the target's memory map");
	find_language(job);
	/* It waits for so long only; what it sent before it ended is there. */
	job->worker_gone = tell(sock, ANALYST_PREPARED) < 0;
	return 0;
}

/* --- the capture --- */

static int by_copy_addr(const void *a, const void *b)
{
	const struct stack_copy *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int take_threads(struct job *job)
{
	struct capture *c = &job->cap;
	size_t holder = 0;

	c->count = c->head.thread_count;
	if (c->count > THREADS_MAX || c->count * sizeof(*c->thread) > c->len - sizeof(c->head))
		return -EPROTO;
	c->thread = malloc(c->count * sizeof(*c->thread) + 1);
	job->copy = calloc(c->count + 1, sizeof(*job->copy));
	if (!c->thread || !job->copy)
		return -ENOMEM;
	memcpy(c->thread, c->data + sizeof(c->head), c->count * sizeof(*c->thread));
	for (size_t i = 0; i < c->count; i++) {
		struct capture_thread *t = &c->thread[i];

		t->comm[sizeof(t->comm) - 1] = '\0';
		t->wchan[sizeof(t->wchan) - 1] = '\0';
		if (t->stack_off > c->len || t->stack_len > c->len - t->stack_off ||
		    t->stack_addr + t->stack_len < t->stack_addr)
			return -EPROTO;
		if (t->tid == c->head.holder_tid)
			holder = i;
	}
	if (holder) {
		struct capture_thread t = c->thread[holder];

		memmove(c->thread + 1, c->thread, holder * sizeof(t));
		c->thread[0] = t;
	}
	for (size_t i = 0; i < c->count; i++) {
		const struct capture_thread *t = &c->thread[i];

		job->copy[i] = (struct stack_copy){ t->stack_addr, t->stack_len, c->data + t->stack_off };
	}
	qsort(job->copy, c->count, sizeof(*job->copy), by_copy_addr);
	return 0;
}

static int take_capture(struct job *job, int fd)
{
	struct capture *c = &job->cap;
	struct stat st;
	void *data;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(c->head))
		return -EPROTO;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	c->data = data;
	c->len = (size_t)st.st_size;
	memcpy(&c->head, data, sizeof(c->head));
	if (c->head.magic != CAPTURE_MAGIC || c->head.size != sizeof(c->head) || c->head.maps_off > c->len ||
	    c->head.maps_len > c->len - c->head.maps_off)
		return -EPROTO;
	return take_threads(job);
}

/* A core's memory is at the other end of the socket. */
static bool ask_page(struct job *job, uint64_t start, struct analyst_page *page)
{
	struct analyst_message ask = { .type = ANALYST_READ, .addr = start };
	size_t n;

	return parcel_send(job->sock, &ask, sizeof(ask), NULL, 0, 0) >= 0 &&
	       parcel_receive(job->sock, page, sizeof(*page), NULL, 0, &n) == (ssize_t)sizeof(*page) &&
	       page->addr == start && page->len <= sizeof(page->data);
}

/* The frozen copy, or the target: by pages, because a walk reads a few bytes here and
 * there, often the same, and the target may be standing still meanwhile. */
static bool fetch_page(struct job *job, uint64_t start, struct analyst_page *page)
{
	struct memory rest = memory_of_fd(job->copy_fd >= 0 ? &job->copy_fd : &job->mem_fd);
	ssize_t n = rest.read(rest.arg, start, page->data, sizeof(page->data));

	page->addr = start;
	page->len = n > 0 ? (uint64_t)n : 0;
	return n > 0;
}

static ssize_t read_page(struct job *job, uint64_t addr, void *buf, size_t len)
{
	uint64_t start = addr & ~(uint64_t)(ANALYST_PAGE_BYTES - 1);
	struct analyst_page *page = &job->page[start / ANALYST_PAGE_BYTES % PAGES_KEPT];
	size_t at = (size_t)(addr - start), n;

	if ((page->addr != start || !page->len) &&
	    !(job->served ? ask_page(job, start, page) : fetch_page(job, start, page))) {
		page->len = 0;
		return 0;
	}
	n = page->len > at ? MIN(len, (size_t)page->len - at) : 0;
	memcpy(buf, page->data + at, n);
	return (ssize_t)n;
}

/* Stack copies first: they are of the moment of the stop; then the frozen copy, or
 * the target while it stands still, or the core. */
static ssize_t read_target(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct job *job = arg;
	size_t lo = 0, hi = job->cap.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (job->copy[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo > 0 && addr - job->copy[lo - 1].addr < job->copy[lo - 1].len) {
		const struct stack_copy *c = &job->copy[lo - 1];
		size_t n = MIN(len, (size_t)(c->addr + c->len - addr));

		memcpy(buf, c->data + (addr - c->addr), n);
		return (ssize_t)n;
	}
	return job->memory_open ? read_page(job, addr, buf, len) : 0;
}

/* A read may begin in a stack copy and end beyond it. */
static ssize_t read_pieces(void *arg, uint64_t addr, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read_target(arg, addr + done, (char *)buf + done, len - done);

		if (n <= 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int wait_for_go(struct job *job, int sock, struct err *err)
{
	struct analyst_message msg;
	int fds[3], r;
	size_t count;

	r = receive(sock, &msg, fds, ARRAY_LEN(fds), &count);
	job->go_ns = now_ns();
	if (r == -EPIPE)
		return err_say(err, r, "the dump worker ended before the capture");
	if (r == 0 && msg.type == ANALYST_FAILED)
		return err_say(err, -ECANCELED, "%.*s", (int)sizeof(msg.text), msg.text);
	if (r == 0 &&
	    (msg.type != ANALYST_GO || count != 1 + (size_t)(msg.has_copy != 0) + (size_t)(msg.has_envoy != 0)))
		r = -EPROTO;
	if (r == 0) {
		job->live = msg.live && !job->worker_gone;
		job->arguments = msg.arguments;
		job->copy_fd = msg.has_copy ? fds[1] : -1;
		job->envoy_fd = msg.has_envoy ? fds[count - 1] : -1;
		job->memory_open = true;
		job->sock = sock;
		job->served = msg.served;
		job->page = calloc(PAGES_KEPT, sizeof(*job->page));
		r = job->page ? take_capture(job, fds[0]) : -ENOMEM;
	}
	return r < 0 ? err_sys(err, r, "cannot take the capture") : 0;
}

/* --- the work --- */

static void note(struct job *job, const char *fmt, ...) PRINTF(2, 3);
static void note(struct job *job, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strings_add(&job->analysis.note, text);
}

static int make_threads(struct job *job)
{
	for (size_t i = 0; i < job->cap.count; i++) {
		const struct capture_thread *c = &job->cap.thread[i];
		struct thread *t = list_add(&job->analysis.thread, &job->analysis.thread_count, sizeof(*t));
		const char *call = syscall_name((long)c->syscall_nr);

		if (!t)
			return -ENOMEM;
		t->tid = c->tid;
		t->state = c->state ? c->state : '?';
		t->holder = c->tid == job->cap.head.holder_tid;
		if (c->comm[0])
			text_set(&t->comm, c->comm);
		if (call)
			text_set(&t->call, call);
		else if (c->syscall_nr >= 0)
			text_setf(&t->call, "system call %lld", (long long)c->syscall_nr);
	}
	return 0;
}

/* What a thread says of itself needs memory: the fds of a poll, the time of a sleep. */
static void read_waits(struct job *job, const struct memory *mem, struct lock_words *words)
{
	for (size_t i = 0; i < job->cap.count; i++) {
		struct capture_thread *c = &job->cap.thread[i];
		struct wait w;

		c->syscall_nr = wait_restarted(mem, (long)c->syscall_nr, c->reg[16]);
		wait_describe(mem, (long)c->syscall_nr, c->arg, &w);
		if (w.text[0])
			text_set(&job->analysis.thread[i].waits_for, w.text);
		if (syscall_name((long)c->syscall_nr))
			text_set(&job->analysis.thread[i].call, syscall_name((long)c->syscall_nr));
		locks_read(mem, c, &words[i]);
	}
}

static void read_tasks(struct job *job, const struct memory *mem)
{
	struct analysis *a = &job->analysis;
	const char *why = NULL;
	size_t more = 0;

	if (job->language_state && job->language->tasks)
		why = job->language->tasks(job->language_state, mem, &a->task, &a->task_count, &more);
	if (why)
		note(job, "%ss %s: %s", task_word(a), a->task_count ? "incomplete" : "unavailable", why);
	if (more)
		note(job, "%zu more %ss were not looked at", more, task_word(a));
}

static void read_scripts(struct job *job, const struct memory *mem)
{
	struct stack *scripts = calloc(job->cap.count + 1, sizeof(*scripts));
	struct analysis *a = &job->analysis;
	const char *why = NULL;

	if (job->language_state && job->language->walk && scripts)
		job->lock_count = job->language->walk(job->language_state, mem, job->cap.head.pid, job->cap.thread,
						      job->cap.count, job->arguments, scripts, job->lock);
	if (job->lock_count == LANG_LOCKS_MAX)
		note(job, "more than %d waits for the script's locks: the others are not told", LANG_LOCKS_MAX - 1);
	if (job->language_state && job->language->request)
		why = job->language->request(job->language_state, mem, &a->variable, &a->variable_count);
	if (why)
		note(job, "the request as %s sees it: %s", a->language, why);
	read_tasks(job, mem);
	for (size_t i = 0; i < job->cap.count && scripts; i++)
		job->analysis.thread[i].script = scripts[i];
	if (job->language_why && job->cap.count)
		text_setf(&job->analysis.thread[0].script.unavailable, "%s stack unavailable: %s",
			  job->analysis.language, job->language_why);
	free(scripts);
}

/* --- what the process says itself --- */

static void take_said(struct job *job, const struct analyst_told *told)
{
	uint64_t after_ns = told->asked_ns - MIN(job->cap.head.taken_ns, told->asked_ns);

	for (size_t i = 0; i < job->cap.count; i++) {
		struct thread *t = &job->analysis.thread[i];
		struct lang_said *said = &job->said[i];

		stack_done(&t->script);
		t->script = said->script;
		said->script = (struct stack){ 0 };
		t->cpu_ns = said->cpu_ns;
		t->cpu_over_ns = said->over_ns;
	}
	note(job,
	     "%s itself told its stacks and locks %.0f ms after the snapshot, and stood still for it for %.1f ms at most",
	     job->analysis.language, ns_to_ms(after_ns), ns_to_ms(told->first_ns));
	if (told->cut)
		note(job, "what it told is longer than the %u MiB that are read", ANALYST_TOLD_MAX >> 20);
}

static void read_said(struct job *job)
{
	struct analyst_told told = { 0 };
	const char *why;

	if (!job->language_state || !job->language->told || job->served)
		return;
	why = said_hear(job->envoy_fd, job->language, job->cap.thread, job->cap.count, &told, &job->said);
	if (job->said)
		take_said(job, &told);
	if (why && job->cap.count)
		text_setf(&job->analysis.thread[0].script.unavailable, "%s stack %s: %s", job->analysis.language,
			  job->said ? "incomplete" : "unavailable", why);
}

static void memory_done(struct job *job, int sock)
{
	if (!job->memory_open)
		return;
	if (job->live && now_ns() - job->go_ns > ANALYST_LIVE_NS)
		note(job, "reading took %.0f ms, so some memory was read after the target went on",
		     ns_to_ms(now_ns() - job->go_ns));
	job->memory_open = false;
	tell(sock, ANALYST_MEMORY_DONE); /* the worker may be past waiting for it */
}

/* So many frames that nobody reads them all would make the answer too long. */
static void cut_walks(struct job *job, struct walk *walks)
{
	size_t total = 0, most = MAX(FRAMES_AT_LEAST, FRAMES_MAX / MAX(job->cap.count, (size_t)1)), cut = 0;

	for (size_t i = 0; i < job->cap.count; i++)
		total += walks[i].count;
	for (size_t i = 1; i < job->cap.count && total > FRAMES_MAX; i++) {
		if (walks[i].count <= most)
			continue;
		walks[i].count = most;
		text_setf(&walks[i].why, "cut after %zu frames", most);
		cut++;
	}
	if (cut)
		note(job, "the stacks of %zu threads were cut after %zu frames", cut, most);
}

static int name_stacks(struct job *job, struct walk *walks)
{
	struct stack *stacks = calloc(job->cap.count + 1, sizeof(*stacks));
	CLEAN(free) char *missing = NULL;
	size_t late = 0;
	int r = stacks ? 0 : -ENOMEM;

	cut_walks(job, walks);
	if (r == 0)
		r = symbols_name(job->images, walks, job->cap.count, stacks, &late);
	if (late)
		note(job, "looking up source lines took too long: %zu addresses are without one", late);
	missing = r == 0 ? symbols_missing(job->images, stacks, job->cap.count) : NULL;
	if (missing)
		note(job,
		     "without debug information: %s; functions that are not exported there are shown as fn_ADDRESS",
		     missing);
	for (size_t i = 0; i < job->cap.count && r == 0; i++)
		job->analysis.thread[i].stack = stacks[i];
	free(stacks);
	return r < 0 ? r : symbols_modules(job->images, job->cap.head.pid, &job->analysis);
}

static void add_notes(struct job *job)
{
	size_t running = 0;

	for (size_t i = 0; i < job->cap.count; i++)
		running += !job->cap.thread[i].stopped;
	if (running)
		note(job, "%zu thread%s could not be stopped in time", running, running == 1 ? "" : "s");
	if (job->cap.head.stack_bytes_cut)
		note(job, "the stacks of %u threads are longer than the %u KiB that are copied",
		     job->cap.head.stack_bytes_cut, CAPTURE_STACK_MAX >> 10);
	if (images_bad(job->images))
		note(job, "%zu mapped files are no ELF that can be read", images_bad(job->images));
	if (!job->live && job->copy_fd < 0 && !job->served)
		note(job, "memory outside the stacks was read while the process ran");
}

static int analyse(struct job *job, int sock)
{
	struct memory mem = { .read = read_pieces, .arg = job };
	const struct capture *c = &job->cap;
	CLEAN(free) struct lock_words *words = calloc(c->count + 1, sizeof(*words));
	CLEAN(free) struct walk *walks = calloc(c->count + 1, sizeof(*walks));
	int r = words && walks ? make_threads(job) : -ENOMEM;

	if (r < 0)
		return r;
	read_scripts(job, &mem);
	read_waits(job, &mem, words);
	/* The stacks are copies: a target that stands still need not wait for the walks. */
	if (job->live && c->head.stack_bytes_cut == 0)
		memory_done(job, sock);
	/* Something was mapped between PREPARE and the stop. */
	if (c->head.maps_len &&
	    (c->head.maps_len != job->maps_len || memcmp(c->data + c->head.maps_off, job->maps_text, job->maps_len)))
		r = set_maps(job, c->data + c->head.maps_off, c->head.maps_len);
	if (r == 0)
		r = images_walk(job->images, &mem, c->thread, c->count, walks);
	memory_done(job, sock);
	/* From here on nothing hurries: the server's own work comes first. */
	setpriority(PRIO_PROCESS, 0, 10);
	if (r == 0)
		r = name_stacks(job, walks);
	for (size_t i = 0; i < c->count; i++)
		walk_done(&walks[i]);
	if (r == 0)
		read_said(job);
	if (r == 0)
		r = locks_solve(c->thread, words, c->count, job->lock, job->lock_count, job->said, &job->analysis);
	add_notes(job);
	return r;
}

static int answer(const struct analysis *analysis)
{
	struct err err = { "" };
	struct buf out;
	int r;

	buf_init(&out, ANSWER_MAX);
	r = analysis_write(analysis, &out, &err);
	if (r < 0) {
		struct analysis failed = { .failed = err.text };

		buf_done(&out);
		r = analysis_write(&failed, &out, NULL);
	}
	if (r >= 0)
		r = write_all(4, out.data, out.len);
	buf_done(&out);
	return r;
}

int analyst_main(int argc UNUSED, char **argv UNUSED)
{
	struct job job = { .mem_fd = -1, .copy_fd = -1, .envoy_fd = -1 };
	struct err err = { "" };
	int r = sandbox_enter(&err);

	if (r == 0)
		r = prepare(&job, 3, &err);
	if (r == 0)
		r = wait_for_go(&job, 3, &err);
	if (r == 0) {
		r = analyse(&job, 3);
		if (r < 0)
			err_sys(&err, r, "cannot analyse the capture");
	}
	if (r < 0)
		text_set(&job.analysis.failed, err.text);
	r = answer(&job.analysis);
	/* The process ends here: what it holds goes with it. */
	_exit(r < 0 ? 1 : 0);
}
