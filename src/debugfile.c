// SPDX-License-Identifier: MIT
/* File by file: its frames' addresses, its debug file, a child that names them, the frames
 * anew. Rejected: the debuginfod client inside libdw (no time limit, and it would run
 * where hostile bytes are parsed); linking libdebuginfod (a curl for everybody, for what
 * few ask for). Trap: a return address is the instruction after the call. */
#include "debugfile.h"

#include "buf.h"
#include "child.h"
#include "facts.h"
#include "ktime.h"
#include "sandbox.h"
#include "symbol.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ADDRESSES_MAX 20000 /* of one file */

/* --- the library --- */

typedef struct debuginfod_client client;
typedef int progress_fn(client *, long, long);

struct library {
	void *handle;
	client *(*begin)(void);
	void (*end)(client *);
	int (*find)(client *, const unsigned char *id, int len, char **ret_path);
	void (*progress)(client *, progress_fn *);
	client *client;
};

static uint64_t fetch_until_ns; /* the library hands its callbacks nothing of ours in all versions */

static int stop_when_late(client *c UNUSED, long a UNUSED, long b UNUSED)
{
	return now_ns() > fetch_until_ns;
}

static void library_close(struct library *l)
{
	if (l->client)
		l->end(l->client);
	if (l->handle)
		dlclose(l->handle);
}

static int library_open(struct library *l, struct err *err)
{
	const char *urls = getenv("DEBUGINFOD_URLS");

	*l = (struct library){ .handle = NULL };
	if (!urls || !urls[strspn(urls, " ")])
		return err_say(err, -ENOENT,
			       "no debuginfod server is named: DEBUGINFOD_URLS=https://debuginfod.debian.net, for one");
	l->handle = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return err_say(err, -ENOENT, "libdebuginfod is not here: 'apt install libdebuginfod1'");
	*(void **)&l->begin = dlsym(l->handle, "debuginfod_begin");
	*(void **)&l->end = dlsym(l->handle, "debuginfod_end");
	*(void **)&l->find = dlsym(l->handle, "debuginfod_find_debuginfo");
	*(void **)&l->progress = dlsym(l->handle, "debuginfod_set_progressfn");
	if (l->begin && l->end && l->find && l->progress)
		l->client = l->begin();
	if (!l->client) {
		library_close(l);
		return err_say(err, -ENOENT, "libdebuginfod is here and cannot be used");
	}
	l->progress(l->client, stop_when_late);
	return 0;
}

/* --- the stacks of an incident --- */

struct spot {
	pid_t pid;
	struct stack *stack;
};

static size_t spots_of(struct incident *in, struct spot *ret)
{
	struct analysis *a = &in->analysis;
	size_t n = 0;

	for (size_t i = 0; i < a->thread_count; i++)
		ret[n++] = (struct spot){ in->holder_pid, &a->thread[i].stack };
	for (size_t i = 0; i < in->sample_count; i++)
		ret[n++] = (struct spot){ in->sample[i].pid, &in->sample[i].thread.stack };
	for (size_t i = 0; i < in->beyond_count; i++)
		ret[n++] = (struct spot){ in->beyond[i].pid, &in->beyond[i].thread.stack };
	return n;
}

struct naming {
	const struct module_id *module;
	struct spot *spot;
	size_t spot_count;
	uint64_t *addr; /* in the file; sorted, each once */
	size_t count;
	uint64_t until_ns;
	struct analysis answer; /* a thread for each address */
	size_t frames;
};

/* The address in the file that a frame's name is looked up by; 0: it is not of this file, or
 * has its line. */
static uint64_t address_of(const struct module_id *m, const struct stack *stack, size_t k)
{
	const struct frame *f = &stack->frame[k];

	if (f->script || f->file || !f->module || strcmp(f->module, m->name) != 0 || f->pc <= m->bias)
		return 0;
	return f->pc - m->bias - (f->pc == stack->frame[0].pc ? 0 : 1);
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int collect(struct naming *n)
{
	size_t kept = 0;

	n->count = 0;
	for (size_t i = 0; i < n->spot_count; i++) {
		const struct stack *stack = n->spot[i].stack;

		for (size_t k = 0; k < stack->count && n->spot[i].pid == n->module->pid; k++) {
			uint64_t addr = address_of(n->module, stack, k), *at;

			if (!addr || n->count == ADDRESSES_MAX)
				continue;
			at = list_add(&n->addr, &n->count, sizeof(*at));
			if (!at)
				return -ENOMEM;
			*at = addr;
		}
	}
	if (n->count)
		qsort(n->addr, n->count, sizeof(*n->addr), compare_addresses);
	for (size_t i = 0; i < n->count; i++) {
		if (!kept || n->addr[kept - 1] != n->addr[i])
			n->addr[kept++] = n->addr[i];
	}
	n->count = kept;
	return 0;
}

/* --- the child --- */

static int read_answer(int fd, uint64_t until_ns, struct buf *out)
{
	char chunk[65536];

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = now_ns();
		ssize_t n;

		if (now >= until_ns || poll(&pfd, 1, (int)((until_ns - now) / NSEC_PER_MSEC) + 1) == 0)
			return -ETIMEDOUT;
		n = read(fd, chunk, sizeof(chunk));
		if (n == 0)
			return out->full ? -EFBIG : 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			buf_add(out, chunk, (size_t)n);
	}
}

static int start_child(const struct naming *n, int file_fd, struct child *child, int *ret_fd)
{
	char *argv[] = { "reqtrap", "--names", NULL };
	CLEAN(fd) int in = memfd_create("addresses", MFD_CLOEXEC), out = -1;
	size_t bytes = n->count * sizeof(*n->addr);
	int pair[2], r;

	if (in < 0 || write(in, n->addr, bytes) != (ssize_t)bytes || pipe2(pair, O_CLOEXEC) < 0)
		return errno ? -errno : -EIO;
	out = pair[1];
	r = child_start(&(struct child_spec){ .argv = argv,
					      .fd_count = 3,
					      .fds = (struct child_fd[]){ { file_fd, 3 }, { out, 4 }, { in, 5 } } },
			child, NULL);
	if (r < 0)
		close(pair[0]);
	else
		*ret_fd = pair[0];
	return r;
}

static int ask_child(struct naming *n, int file_fd, struct err *err)
{
	struct child child;
	struct buf text;
	int fd = -1, r = start_child(n, file_fd, &child, &fd);

	if (r < 0)
		return err_sys(err, r, "the child that reads it cannot be started");
	buf_init(&text, ANALYSIS_BYTES_MAX);
	r = read_answer(fd, n->until_ns, &text);
	close(fd);
	child_kill(&child);
	child_reap(&child, true);
	if (r < 0)
		err_say(err, r, r == -ETIMEDOUT ? "reading it took too long" : "its names could not be read");
	else if (text.len)
		r = analysis_read(text.data, text.len, &n->answer, err);
	else
		r = err_say(err, -EIO, "reading it failed");
	buf_done(&text);
	if (r == 0 && n->answer.failed)
		r = err_say(err, -EIO, "%s", n->answer.failed);
	if (r == 0 && n->answer.thread_count != n->count)
		r = err_say(err, -EPROTO, "its names make no sense");
	return r;
}

int debugfile_main(int argc UNUSED, char **argv UNUSED)
{
	struct analysis a = { .failed = NULL };
	struct stack *stacks = NULL;
	uint64_t *addr = NULL;
	struct stat st = { 0 };
	size_t count = 0;
	struct err err = { "" };
	struct buf text;
	int r = sandbox_enter(&err);

	if (r == 0 && fstat(5, &st) == 0 && st.st_size > 0 && (size_t)st.st_size <= ADDRESSES_MAX * sizeof(*addr)) {
		count = (size_t)st.st_size / sizeof(*addr);
		addr = malloc((size_t)st.st_size);
		stacks = calloc(count, sizeof(*stacks));
		a.thread = calloc(count, sizeof(*a.thread));
	}
	if (r == 0 && (!addr || !stacks || !a.thread || pread(5, addr, (size_t)st.st_size, 0) != st.st_size))
		r = err_say(&err, -EIO, "the addresses cannot be read");
	if (r == 0) {
		r = symbols_name_file(3, addr, count, stacks);
		if (r < 0)
			err_say(&err, r, "it is no debug file that can be read");
	}
	for (; r == 0 && a.thread_count < count; a.thread_count++)
		a.thread[a.thread_count].stack = stacks[a.thread_count];
	if (r < 0)
		text_set(&a.failed, err.text);
	buf_init(&text, ANALYSIS_BYTES_MAX);
	r = analysis_write(&a, &text, NULL);
	if (r == 0)
		r = write_all(4, text.data, text.len);
	/* The process ends here: what it holds goes with it. */
	_exit(r < 0 ? 1 : 0);
}

/* --- the frames anew --- */

static const struct stack *named(const struct naming *n, uint64_t addr)
{
	const uint64_t *at = bsearch(&addr, n->addr, n->count, sizeof(addr), compare_addresses);
	const struct stack *s = at ? &n->answer.thread[at - n->addr].stack : NULL;

	return s && s->count ? s : NULL;
}

/* What is there beneath the compiler's inlining: as many frames as the debug file has for the address. */
static int put_named(const struct frame *old, const struct stack *names, struct stack *ret)
{
	for (size_t k = 0; k < names->count; k++) {
		const struct frame *name = &names->frame[k];
		struct frame *f = list_add(&ret->frame, &ret->count, sizeof(*f));

		if (!f)
			return -ENOMEM;
		text_set(&f->function, name->function ? name->function : old->function);
		text_set(&f->file, name->file);
		text_set(&f->module, old->module);
		f->line = name->line;
		f->inlined = name->inlined;
		f->pc = old->pc;
	}
	return 0;
}

static int rename_stack(struct naming *n, struct stack *stack)
{
	struct stack fresh = { .unavailable = stack->unavailable };

	for (size_t k = 0; k < stack->count; k++) {
		struct frame *old = &stack->frame[k], *f;
		uint64_t addr = address_of(n->module, stack, k);
		const struct stack *names = addr ? named(n, addr) : NULL;

		if (names) {
			if (put_named(old, names, &fresh) < 0)
				goto no_memory;
			n->frames++;
			continue;
		}
		f = list_add(&fresh.frame, &fresh.count, sizeof(*f));
		if (!f)
			goto no_memory;
		*f = *old;
		*old = (struct frame){ .pc = old->pc };
	}
	stack->unavailable = NULL;
	stack_done(stack);
	*stack = fresh;
	return 0;
no_memory:
	fresh.unavailable = NULL;
	stack_done(&fresh);
	return -ENOMEM;
}

static int name_module(struct naming *n, const struct library *library, struct err *err)
{
	CLEAN(free) char *path = NULL;
	CLEAN(fd) int fd = -1;
	int r;

	if (!n->module->build_id)
		return err_say(err, -ENOENT, "it has no build-id, or there are two files of that name");
	if (now_ns() >= n->until_ns)
		return err_say(err, -ETIMEDOUT, "the time was over");
	fd = library->find(library->client, (const unsigned char *)n->module->build_id, 0, &path);
	if (fd < 0)
		return err_say(err, fd, "%s",
			       now_ns() >= n->until_ns ? "it did not come in time"
			       : fd == -ENOENT	       ? "no server has it"
						       : strerror(-fd));
	r = ask_child(n, fd, err);
	for (size_t i = 0; i < n->spot_count && r == 0; i++) {
		if (n->spot[i].pid == n->module->pid && rename_stack(n, n->spot[i].stack) < 0)
			r = err_sys(err, -ENOMEM, "its names");
	}
	return r;
}

static void tell(struct analysis *a, const char *name, int r, const struct err *why)
{
	CLEAN(free) char *text = NULL;

	if (r < 0)
		text_setf(&text, "no debug file for %s: %s", name, why->text);
	else
		text_setf(&text, "names and lines in %s are from its debug file, which a debuginfod server had", name);
	if (text)
		strings_add(&a->note, text);
}

int debugfile_name(struct incident *in, uint64_t budget_ns, struct debugfile_result *ret, struct err *err)
{
	CLEAN(free)
	struct spot *spot = calloc(in->analysis.thread_count + in->sample_count + in->beyond_count + 1, sizeof(*spot));
	struct naming n = { .spot = spot, .until_ns = now_ns() + budget_ns };
	struct library library;
	int r;

	*ret = (struct debugfile_result){ 0 };
	if (!spot)
		return err_sys(err, -ENOMEM, "cannot name frames");
	r = library_open(&library, err);
	if (r < 0)
		return r;
	fetch_until_ns = n.until_ns;
	n.spot_count = spots_of(in, spot);
	for (size_t i = 0; i < in->analysis.module_count && r == 0; i++) {
		struct err why = { "" };
		int one;

		n.module = &in->analysis.module[i];
		r = collect(&n);
		if (r < 0 || !n.count)
			continue;
		one = name_module(&n, &library, &why);
		ret->files += one == 0;
		ret->missing += one < 0;
		tell(&in->analysis, n.module->name, one, &why);
		analysis_done(&n.answer);
	}
	ret->frames = n.frames;
	free(n.addr);
	library_close(&library);
	return r < 0 ? err_sys(err, r, "cannot name frames") : 0;
}
