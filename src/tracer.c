// SPDX-License-Identifier: MIT
/* libbpf in one place. Kernel features are found in its BTF, never by its version.
 * Trap: slots are shared memory that the kernel writes while we read: copy first,
 * then look whether 'gen' is still the same. State changes only by compare-and-swap. */
#include "tracer.h"

#include "ktime.h"
#include "tracer_inside.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define SLOTS_DEFAULT 2048
#define SPARE_SHARE 32 /* one slot in so many may lie at a CPU that does not need it */
#define CLOCK_TRIES 4000
#define PARENTS_MOST 16 /* of a request that others wait for */
#define LOOK_TRIES 4
#define BRING 24
#define CONN_IDLE_NS (60 * NSEC_PER_SEC) /* a unix connection without traffic is forgotten */
#define CONN_DOUBT_NS (5 * NSEC_PER_SEC) /* one with a request in flight is looked at */

static __thread char first_words[256]; /* what libbpf said first, for the error's text */
static __thread char refusal[256];     /* the verifier's last word, when it was that */

/* It stands right above the line 'processed N insns'. */
static void keep_refusal(const char *fmt, va_list ap)
{
	CLEAN(free) char *text = NULL;
	char *end, *line;

	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		return;
	}
	end = strstr(text, "\nprocessed ");
	if (!end)
		return;
	*end = '\0';
	line = strrchr(text, '\n');
	snprintf(refusal, sizeof(refusal), "%s", line ? line + 1 : text);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN && strstr(fmt, "PROG LOAD LOG"))
		keep_refusal(fmt, ap);
	else if (level == LIBBPF_WARN && !first_words[0])
		vsnprintf(first_words, sizeof(first_words), fmt, ap);
	return 0;
}

static bool kernel_has(const struct btf *btf, const char *tracepoint)
{
	char name[128];

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	return btf && btf__find_by_name(btf, name) > 0;
}

static int explain(int code, struct err *err)
{
	first_words[strcspn(first_words, "\n")] = '\0';
	/* The verifier says 'not permitted' too, but no capability mends that. */
	if (refusal[0])
		return err_say(err, -ENOTSUP,
			       "this kernel refuses a BPF program (%s: %s): a fault of reqtrap, please report it",
			       first_words, refusal);
	if (code == -EPERM || code == -EACCES)
		return err_say(err, -EPERM,
			       "cannot load the BPF programs: not permitted. Run as root, or grant "
			       "CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE (setcap cap_bpf,cap_perfmon,"
			       "cap_sys_ptrace,cap_dac_read_search+ep reqtrap)");
	return err_sys(err, code, "cannot load the BPF programs (%s)", first_words);
}

static int choose_hooks(struct tracer *t, struct err *err)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = kernel_has(btf, "sock_recv_length") && kernel_has(btf, "sock_send_length");
	bool usable = kernel_has(btf, "sched_switch");

	btf__free(btf);
	if (!usable)
		return err_say(err, -ENOTSUP,
			       "the kernel has no type information (/sys/kernel/btf/vmlinux): "
			       "reqtrap needs CONFIG_DEBUG_INFO_BTF");
	if (t->config.hooks == TRACER_SOCK && !has)
		return err_say(err, -ENOTSUP,
			       "the kernel has no socket tracepoints (before about 6.3): use --hooks syscalls");
	t->sock_hooks = t->config.hooks == TRACER_SYSCALLS ? false : has;
	bpf_program__set_autoload(t->skel->progs.sock_recv, t->sock_hooks);
	bpf_program__set_autoload(t->skel->progs.sock_send, t->sock_hooks);
	bpf_program__set_autoload(t->skel->progs.sys_exit, !t->sock_hooks);
	return 0;
}

static size_t loops_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (LOOPS * sizeof(struct loop) + page - 1) / page * page;
}

static size_t slots_bytes(const struct tracer *t)
{
	return (size_t)t->slot_count * sizeof(union slot_value);
}

/* Into our memory, and all of its places onto the list of those that are free. */
static int map_places(struct bpf_map *map, size_t bytes, struct bpf_map *free_list, uint32_t count, const char *what,
		      void *ret_places, struct err *err)
{
	void *places = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (places == MAP_FAILED)
		return err_sys(err, -errno, "cannot map the %s", what);
	*(void **)ret_places = places;
	for (uint32_t i = count; i-- > 0;) {
		if (bpf_map_update_elem(bpf_map__fd(free_list), NULL, &i, BPF_ANY) < 0)
			return err_sys(err, -errno, "cannot fill the list of free %s", what);
	}
	return 0;
}

/* The kernel makes a timer out of what the slab of this CPU has at hand (it may not
 * wait there), and a slab that is used up is only replaced by somebody who may wait.
 * Pipes, timerfds and sockets are of the like sizes: making some brings in new slabs. */
static void bring_slabs(void)
{
	int fds[BRING][6];

	memset(fds, 0xff, sizeof(fds));
	for (int i = 0; i < BRING; i++) {
		if (pipe2(fds[i], O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i] + 2) < 0)
			break;
		fds[i][4] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		fds[i][5] = eventfd(0, EFD_CLOEXEC);
	}
	for (int i = 0; i < BRING; i++) {
		for (int k = 0; k < 6; k++) {
			if (fds[i][k] >= 0)
				close(fds[i][k]);
		}
	}
}

static int make_clocks(struct tracer *t, struct err *err)
{
	int fd = bpf_program__fd(t->skel->progs.clock_make);

	if (t->has_clocks || !t->config.limit_count)
		return 0;
	for (uint32_t key = 0; key < CLOCKS; key++) {
		struct ref order = { .slot = key }; /* of the timer */
		LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &order, .ctx_size_in = sizeof(order));
		int tries = 0;

		do {
			if (tries)
				bring_slabs();
			if (tries > 10)
				usleep(500);
			if (bpf_prog_test_run_opts(fd, &opts) < 0)
				return err_sys(err, -errno, "cannot make the kernel's timers");
		} while (opts.retval && ++tries < CLOCK_TRIES);
		if (opts.retval)
			return err_say(err, -ENOMEM, "the kernel has no memory for timers (number %u of %d, step %u)",
				       key, CLOCKS, opts.retval);
	}
	t->has_clocks = true;
	return 0;
}

static void set_marks(struct tracer *t)
{
	if (t->app)
		tracer_app_fires(t->app, t->config.want_mark ? t->config.want_mark(t->config.arg) : SEVERITY_NONE);
}

/* What fires. A program that runs meanwhile sees the old limits or the new, all of them. */
static void set_triggers(struct tracer *t)
{
	struct requests_bpf__bss *bss = t->skel->bss;
	uint32_t set = ~__atomic_load_n(&bss->limit_set, __ATOMIC_RELAXED) & 1;
	uint64_t bytes = 0;
	bool aborted = false;

	for (size_t i = 0; i < LIMITS_MAX; i++)
		bss->limits[set][i] = i < t->config.limit_count ? t->config.limits[i] : 0;
	__atomic_store_n(&bss->limit_set, set, __ATOMIC_SEQ_CST);
	__atomic_store_n(&bss->shortest, t->config.limit_count ? t->config.limits[0] : 0, __ATOMIC_SEQ_CST);
	if (t->config.want_over)
		t->config.want_over(t->config.arg, &aborted, &bytes);
	__atomic_store_n(&bss->over_aborted, aborted, __ATOMIC_RELAXED);
	__atomic_store_n(&bss->over_bytes, bytes, __ATOMIC_RELAXED);
	for (unsigned int word = 0; word < ARRAY_LEN(bss->status_wanted); word++) {
		uint64_t wanted = 0;

		for (unsigned int bit = 0; bit < 64 && t->config.want_status; bit++) {
			int status = (int)(word * 64 + bit);

			if (status >= 100 && status < 1000 && t->config.want_status(t->config.arg, status))
				wanted |= 1ull << bit;
		}
		__atomic_store_n(&bss->status_wanted[word], wanted, __ATOMIC_RELAXED);
	}
	set_marks(t);
}

int tracer_retrigger(struct tracer *t, const uint64_t *limits, size_t count, struct err *err)
{
	int r;

	if (count > LIMITS_MAX)
		return err_say(err, -E2BIG, "more than %d different 'time-taken' limits", LIMITS_MAX);
	t->config.limits = limits;
	t->config.limit_count = count;
	r = make_clocks(t, err);
	if (r == 0)
		set_triggers(t);
	t->config.limits = NULL;
	for (uint32_t key = 0; key < CLOCKS && r == 0 && count; key++) {
		struct ref order = { .slot = key }; /* of the timer */
		LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &order, .ctx_size_in = sizeof(order));

		/* Not rung: the next request of this timer does it. */
		bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.clock_ring), &opts);
	}
	return r;
}

/* What is marked in a call fails the request that made it, the outermost one: 'inner' is its call
 * then. Both are held. */
static void mark_of_outer(struct tracer *t, struct record *record)
{
	struct ref order = { .gen = record->gen, .slot = record->slot };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &order, .ctx_size_in = sizeof(order));

	bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.slot_link), &opts);
	for (int i = 0; i < PARENTS_MOST; i++) {
		const struct slot *s = &t->slots[record->slot].slot;
		uint32_t outer = s->parent_slot;
		uint64_t gen = s->parent_gen;
		struct slot *o;

		if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != record->gen || !(s->flags & SLOT_INNER) ||
		    !tracer_hold(t, outer, gen))
			return;
		if (record->inner_gen)
			tracer_release(t, record->inner_slot, record->inner_gen); /* found again on the way down */
		record->inner_slot = record->slot;
		record->inner_gen = record->gen;
		record->slot = outer;
		record->gen = gen;
		o = &t->slots[outer].slot;
		if (!o->severity || o->severity > record->value)
			o->severity = (uint8_t)record->value;
	}
}

static int on_record(void *arg, void *data, size_t size)
{
	struct tracer *t = arg;
	struct record record;

	if (size < sizeof(record))
		return 0;
	memcpy(&record, data, sizeof(record));
	if (record.kind == RECORD_MARK)
		mark_of_outer(t, &record);
	t->config.record(t->config.arg, &record);
	return 0;
}

static int open_app(struct tracer *t, struct err *err)
{
	struct tracer_app_config config = { .areas = t->config.areas,
					    .slots_fd = bpf_map__fd(t->skel->maps.slots),
					    .threads_fd = bpf_map__fd(t->skel->maps.threads),
					    .ring_fd = bpf_map__fd(t->skel->maps.ring),
					    .per_cpu_fd = bpf_map__fd(t->skel->maps.per_cpu),
					    .slot_count = t->slot_count,
					    .tell = t->config.tell,
					    .arg = t->config.arg };

	int r = areas_want_programs(&config.areas) ? tracer_app_open(&config, &t->app, err) : 0;

	if (r == 0)
		set_marks(t);
	return r < 0 && refusal[0] ? explain(r, err) : r;
}

/* For tests of what happens when tables are full. */
static void shrink(struct tracer *t)
{
	struct bpf_map *const maps[] = { t->skel->maps.conns, t->skel->maps.tuples, t->skel->maps.targets };

	for (size_t i = 0; t->config.map_share && i < ARRAY_LEN(maps); i++)
		bpf_map__set_max_entries(maps[i], bpf_map__max_entries(maps[i]) * t->config.map_share / 100);
	if (t->config.map_share && t->config.map_share < 50)
		bpf_map__set_max_entries(t->skel->maps.ring, 16384); /* a power of two */
}

/* The kernel counts the time of packets in ticks, which are what its coarse clock goes by. */
static uint64_t tick_ns(void)
{
	struct timespec tick;

	return clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0 ? (uint64_t)tick.tv_nsec : 0;
}

static int load(struct tracer *t, struct err *err)
{
	struct requests_bpf *skel = t->skel;
	int r;

	if (skel->rodata->layout != EVENT_LAYOUT)
		return err_say(err, -EPROTO, "the BPF programs are of another build");
	r = choose_hooks(t, err);
	if (r < 0)
		return r;
	bpf_map__set_max_entries(skel->maps.slots, t->slot_count);
	bpf_map__set_max_entries(skel->maps.free_slots, t->slot_count);
	bpf_map__set_max_entries(skel->maps.hands, t->slot_count);
	bpf_map__set_max_entries(skel->maps.asked, t->slot_count);
	shrink(t);
	skel->rodata->slot_count = t->slot_count;
	skel->rodata->own_tgid = (uint32_t)getpid();
	skel->rodata->keep_spare = t->slot_count >= (unsigned int)libbpf_num_possible_cpus() * SPARE_SHARE;
	set_triggers(t);
	skel->bss->tick_ns = tick_ns();
	bpf_program__set_autoattach(skel->progs.older_look, false);
	r = requests_bpf__load(skel);
	if (r < 0)
		return explain(r, err);
	r = map_places(skel->maps.slots, slots_bytes(t), skel->maps.free_slots, t->slot_count, "request slots",
		       &t->slots, err);
	if (r == 0)
		r = map_places(skel->maps.loops, loops_bytes(), skel->maps.free_loops, LOOPS, "event loops", &t->loops,
			       err);
	if (r == 0)
		r = make_clocks(t, err);
	if (r < 0)
		return r;
	t->ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), on_record, t, NULL);
	if (!t->ring)
		return err_sys(err, -errno, "cannot open the ring buffer");
	gauge_open(&t->gauge, 0);
	r = requests_bpf__attach(skel);
	if (r < 0)
		return explain(r, err);
	return open_app(t, err);
}

int tracer_open(const struct tracer_config *config, struct tracer **ret_tracer, struct err *err)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct tracer *t;
	int r;

	if (config->limit_count > LIMITS_MAX)
		return err_say(err, -E2BIG, "more than %d different 'time-taken' limits", LIMITS_MAX);
	if (config->slots > SLOTS_MOST)
		return err_say(err, -E2BIG, "more than %d slots", SLOTS_MOST);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_sys(err, -ENOMEM, "cannot start the tracer");
	t->config = *config;
	gauge_init(&t->gauge);
	t->budget.ppm = config->budget_ppm;
	t->budget.offered[DETAIL_AREAS] = areas_want_programs(&config->areas);
	t->budget.offered[DETAIL_SCHED] = t->budget.offered[DETAIL_TRACE] = true;
	t->slot_count = config->map_share ? SLOTS_DEFAULT * config->map_share / 100 : SLOTS_DEFAULT;
	if (config->slots)
		t->slot_count = config->slots;
	libbpf_set_print(quiet);
	first_words[0] = refusal[0] = '\0';
	/* Kernels before 5.11 count maps against this; where it is refused it is not needed. */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	t->skel = requests_bpf__open();
	r = t->skel ? load(t, err) : err_sys(err, -errno, "cannot open the BPF programs");
	if (r < 0) {
		tracer_close(t);
		return r;
	}
	*ret_tracer = t;
	return 0;
}

void tracer_close(struct tracer *t)
{
	if (!t)
		return;
	ring_buffer__free(t->ring);
	if (t->slots)
		munmap(t->slots, slots_bytes(t));
	if (t->loops)
		munmap(t->loops, loops_bytes());
	tracer_app_close(t->app);
	requests_bpf__destroy(t->skel);
	gauge_done(&t->gauge);
	free(t);
}

/* The filter in front of the targets (event.h) follows the map. */
static bool target_remove(struct tracer *t, uint32_t pid)
{
	uint32_t kind;

	if (bpf_map_lookup_and_delete_elem(bpf_map__fd(t->skel->maps.targets), &pid, &kind) < 0)
		return false;
	__sync_fetch_and_sub(&t->skel->bss->watched[pid % WATCHED], watched_as(pid, kind));
	return true;
}

int tracer_watch(struct tracer *t, pid_t pid, struct err *err)
{
	uint32_t key = (uint32_t)pid, kind = TARGET_NAMED, old = 0;
	int fd = bpf_map__fd(t->skel->maps.targets);
	uint64_t sum = watched_as(key, kind);

	/* There already: adopted, or forked by one that is watched. */
	if (bpf_map_lookup_elem(fd, &key, &old) == 0)
		sum -= watched_as(key, old);
	if (bpf_map_update_elem(fd, &key, &kind, BPF_ANY) < 0)
		return err_sys(err, -errno, "cannot watch process %d", pid);
	__sync_fetch_and_add(&t->skel->bss->watched[key % WATCHED], sum);
	return 0;
}

static void give_back(struct tracer *t, uint32_t index)
{
	bpf_map_update_elem(bpf_map__fd(t->skel->maps.free_slots), NULL, &index, BPF_ANY);
}

static void slot_abort(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct slot *s = &t->slots[index].slot;

	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != gen)
		return;
	s->flags |= SLOT_ABORTED;
	s->end_ns = now_ns();
	if (slot_in_flight(s->state))
		t->aborted += slot_begun(s);
	if (__sync_bool_compare_and_swap(&s->state, SLOT_OPEN, SLOT_FREE)) {
		give_back(t, index);
	} else if (__sync_bool_compare_and_swap(&s->state, SLOT_HELD, SLOT_ENDED)) {
		struct record r = {
			.kind = RECORD_ENDED, .slot = index, .gen = s->gen, .at_ns = s->end_ns, .pid = s->pid
		};

		t->config.record(t->config.arg, &r);
	}
}

/* A process is gone: a request it held on a unix socket has no other sign of its
 * end. TCP connections have been ended by the kernel already. */
void tracer_forget(struct tracer *t, pid_t pid)
{
	uint32_t key = (uint32_t)pid;

	target_remove(t, key);
	bpf_map_delete_elem(bpf_map__fd(t->skel->maps.handing), &key);
	if (t->app)
		tracer_app_detach(t->app, pid);
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct slot *s = &t->slots[i].slot;

		if (s->pid != (uint32_t)pid || !slot_in_flight(s->state))
			continue;
		slot_abort(t, i, s->gen);
	}
}

bool tracer_socket_open(pid_t pid, int fd, uint64_t ino)
{
	char path[64], link[64], want[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	snprintf(want, sizeof(want), "socket:[%llu]", (unsigned long long)ino);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return errno != ENOENT;
	link[n] = '\0';
	return !strcmp(link, want);
}

/* Does the process still have this very socket open, or one that it forked meanwhile? */
static bool socket_open(struct tracer *t, uint32_t index, const struct slot *s, uint64_t ino)
{
	struct hands hands;

	if (tracer_socket_open((pid_t)s->pid, s->fd, ino))
		return true;
	if (!tracer_hands(t, index, s->gen, &hands))
		return false;
	for (uint32_t i = 0; i < hands.count; i++) {
		if (hands.hand[i].how == HAND_FORKED && tracer_socket_open((pid_t)hands.hand[i].pid, s->fd, ino))
			return true;
	}
	return false;
}

static bool conn_dead(struct tracer *t, const struct conn *conn, uint64_t now)
{
	uint64_t idle = now > conn->last_ns ? now - conn->last_ns : 0;
	const struct ref *oldest = &conn->queue[conn->queue_head % QUEUE_MAX];
	struct slot *s;

	if (conn->family != AF_UNIX) /* TCP tells its end */
		return false;
	if (!conn->queue_len) /* what an older one waits for may take its time */
		return idle > CONN_IDLE_NS && conn->role != ROLE_OLDER;
	if (idle < CONN_DOUBT_NS || oldest->slot >= t->slot_count)
		return false;
	s = &t->slots[oldest->slot].slot;
	if (s->gen != oldest->gen || !slot_in_flight(s->state))
		return idle > CONN_IDLE_NS;
	if (s->fd < 0 || socket_open(t, oldest->slot, s, conn->ino))
		return false;
	slot_abort(t, oldest->slot, oldest->gen);
	return true;
}

bool tracer_alive(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct slot *s;

	if (index >= t->slot_count)
		return false;
	s = &t->slots[index].slot;
	if (s->gen != gen || s->client.family != AF_UNIX || s->fd < 0 || socket_open(t, index, s, s->ino))
		return true;
	slot_abort(t, index, gen);
	return false;
}

const struct slot *tracer_next(struct tracer *t, uint32_t *index)
{
	for (uint32_t i = *index; i < t->slot_count; i++) {
		const struct slot *s = &t->slots[i].slot;

		if (slot_in_flight(s->state)) {
			*index = i;
			return s;
		}
	}
	return NULL;
}

bool tracer_hands(struct tracer *t, uint32_t index, uint64_t gen, struct hands *ret_hands)
{
	if (bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.hands), &index, ret_hands) < 0 || ret_hands->gen != gen)
		return false;
	ret_hands->count = MIN(ret_hands->count, (uint32_t)HANDS); /* of memory that is written meanwhile */
	return ret_hands->count > 0;
}

bool tracer_asked(struct tracer *t, uint32_t index, uint64_t gen, struct asked *ret_asked)
{
	if (bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.asked), &index, ret_asked) < 0 || ret_asked->gen != gen)
		return false;
	ret_asked->len = MIN(ret_asked->len, (uint32_t)ASKED_BYTES);
	return ret_asked->len > 0;
}

bool tracer_handing(struct tracer *t, pid_t pid)
{
	uint32_t key = (uint32_t)pid, yes;

	return bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.handing), &key, &yes) == 0;
}

/* Of threads that have ended. */
static void sweep_loops(struct tracer *t)
{
	char path[32];

	for (uint32_t i = 0; i < LOOPS; i++) {
		struct loop *lp = &t->loops[i];

		if (!lp->tid)
			continue;
		snprintf(path, sizeof(path), "/proc/%u", lp->tid);
		if (access(path, F_OK) == 0)
			continue;
		lp->tid = 0;
		bpf_map_update_elem(bpf_map__fd(t->skel->maps.free_loops), NULL, &i, BPF_ANY);
	}
}

void tracer_sweep(struct tracer *t, bool (*owned)(void *arg, uint32_t slot, uint64_t gen), void *arg)
{
	int fd = bpf_map__fd(t->skel->maps.conns);
	uint64_t key, next, now = now_ns();
	struct conn conn;
	int more = bpf_map_get_next_key(fd, NULL, &next);

	while (more == 0) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next);
		if (bpf_map_lookup_elem(fd, &key, &conn) == 0 && conn_dead(t, &conn, now))
			bpf_map_delete_elem(fd, &key);
	}
	sweep_loops(t);
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct slot *s = &t->slots[i].slot;

		if (s->state == SLOT_ENDED && s->end_ns + CONN_DOUBT_NS < now && !owned(arg, i, s->gen))
			tracer_release(t, i, s->gen);
	}
}

int tracer_fd(const struct tracer *t)
{
	return ring_buffer__epoll_fd(t->ring);
}

void tracer_poll(struct tracer *t)
{
	ring_buffer__consume(t->ring);
}

bool tracer_slot(struct tracer *t, uint32_t index, uint64_t gen, struct slot *ret_slot)
{
	const struct slot *s;

	if (index >= t->slot_count)
		return false;
	s = &t->slots[index].slot;
	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != gen)
		return false;
	memcpy(ret_slot, s, sizeof(*ret_slot));
	__sync_synchronize();
	return __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) == gen && ret_slot->state != SLOT_FREE;
}

unsigned int tracer_slots(const struct tracer *t)
{
	return t->slot_count;
}

/* The kernel counts 'gen' up before it writes a new request's fields, and sets the
 * state last: what was read between two equal looks at both is one request's. */
enum tracer_look tracer_brief(struct tracer *t, uint32_t index, struct tracer_brief *ret_brief)
{
	const struct slot *s = &t->slots[index].slot;
	uint64_t gen = __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE);

	if (!slot_in_flight(__atomic_load_n(&s->state, __ATOMIC_ACQUIRE)) ||
	    (!slot_begun(s) && !(s->flags & SLOT_START_UNKNOWN)))
		return LOOK_FREE;
	*ret_brief = (struct tracer_brief){ .slot = index,
					    .gen = gen,
					    .begin_ns = s->begin_ns,
					    .parent_slot = s->parent_slot,
					    .parent_gen = s->parent_gen };
	__sync_synchronize();
	return __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) == gen ? LOOK_TAKEN : LOOK_TORN;
}

static bool same_moment(const struct slot *a, const struct slot *b)
{
	return a->gen == b->gen && a->tid == b->tid && a->seg_kind == b->seg_kind &&
	       a->seg_since_ns == b->seg_since_ns && a->up_fd == b->up_fd && a->up_waiting == b->up_waiting;
}

enum tracer_look tracer_look(struct tracer *t, uint32_t index, uint64_t gen, struct slot *ret_slot)
{
	const struct slot *s = &t->slots[index].slot;

	for (int i = 0; i < LOOK_TRIES; i++) {
		if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != gen ||
		    !slot_in_flight(__atomic_load_n(&s->state, __ATOMIC_ACQUIRE)))
			return LOOK_FREE;
		memcpy(ret_slot, s, offsetof(struct slot, reply));
		__sync_synchronize();
		if (same_moment(ret_slot, s))
			return LOOK_TAKEN;
	}
	return LOOK_TORN;
}

bool tracer_loop(struct tracer *t, uint32_t number, struct loop *ret_loop)
{
	const struct slot *s;

	if (!number || number > LOOPS)
		return false;
	memcpy(ret_loop, &t->loops[number - 1], sizeof(*ret_loop));
	ret_loop->head[0] = '\0';
	if (!ret_loop->gen || ret_loop->slot >= t->slot_count)
		return true;
	s = &t->slots[ret_loop->slot].slot;
	memcpy(ret_loop->head, s->head, sizeof(ret_loop->head));
	__sync_synchronize();
	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != ret_loop->gen || s->flags & SLOT_FASTCGI)
		ret_loop->head[0] = '\0';
	return true;
}

void tracer_usage(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct ref order = { .gen = gen, .slot = index };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &order, .ctx_size_in = sizeof(order));

	bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.slot_look), &opts);
}

void tracer_release(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct slot *s;

	if (index >= t->slot_count)
		return;
	s = &t->slots[index].slot;
	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != gen)
		return;
	if (__sync_bool_compare_and_swap(&s->state, SLOT_HELD, SLOT_OPEN))
		return;
	if (__sync_bool_compare_and_swap(&s->state, SLOT_ENDED, SLOT_FREE))
		give_back(t, index);
}

bool tracer_hold(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct slot *s;

	if (index >= t->slot_count)
		return false;
	s = &t->slots[index].slot;
	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) != gen)
		return false;
	if (!__sync_bool_compare_and_swap(&s->state, SLOT_OPEN, SLOT_HELD) && s->state != SLOT_HELD)
		return false;
	/* Between the look at 'gen' and the swap the slot may have got a new request. */
	if (__atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) == gen)
		return true;
	tracer_release(t, index, s->gen);
	return false;
}

void tracer_probe(struct tracer *t, pid_t pid)
{
	if (t->app)
		tracer_app_attach(t->app, pid);
}

struct notes *tracer_notes(struct tracer *t, uint32_t index, uint64_t gen)
{
	struct notes *copy = t->app ? malloc(sizeof(*copy)) : NULL;

	if (copy && !tracer_app_notes(t->app, index, gen, copy)) {
		free(copy);
		return NULL;
	}
	return copy;
}

const char *tracer_hooks_name(const struct tracer *t)
{
	return t->sock_hooks ? "sock" : "syscalls";
}

int tracer_older(struct tracer *t, struct err *err)
{
	struct bpf_link *link = bpf_program__attach_iter(t->skel->progs.older_look, NULL);
	int r = link ? 0 : -errno;
	char none[64];

	for (uint32_t step = 0; r == 0 && step < 3; step++) { /* enum older_step */
		CLEAN(fd) int fd = bpf_iter_create(bpf_link__fd(link));

		t->skel->bss->older_step = step;
		if (fd < 0 || read(fd, none, sizeof(none)) < 0)
			r = -errno;
	}
	bpf_link__destroy(link);
	return r < 0 ? err_sys(err, r, "cannot look at the sockets that are open already") : 0;
}
