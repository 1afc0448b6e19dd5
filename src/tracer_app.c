// SPDX-License-Identifier: MIT
/* libbpf's probes, one link for each probe and process. Rejected: one link for all
 * processes of a file (hits in those nobody asked about), tracefs (what it makes
 * outlives us when we are killed). Traps: a probe with a pid is for the whole process,
 * not for a thread, and a child that is forked has it only until its first hit, so each
 * child gets its own. Looking for a probe means reading a whole ELF file: what a file
 * does not have is remembered. */
#include "tracer_app.h"

#include "app.skel.h"
#include "child.h"
#include "incident.h"
#include "proc.h"
#include "tracer_gauge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PROBES_MOST 8192
#define TRAP_NS 1000 /* what a probe takes beside its program: 300 ns to 4 us, by the instruction it is on */
#define UPROBE_TYPE "/sys/bus/event_source/devices/uprobe/type"

struct probe {
	struct bpf_link *link;
	pid_t pid;
	dev_t dev;
	ino_t ino;
	uint8_t row;
};

struct known_file {
	dev_t dev;
	ino_t ino;
	uint64_t absent; /* bit per row of profile_rows */
};

struct tracer_app {
	struct app_bpf *skel;
	struct tracer_app_config config;
	struct notes *pages;
	struct probe *probe;
	size_t probe_count;
	struct known_file *known;
	size_t known_count;
	struct bpf_link *tracepoint[AREA_COUNT];
	bool refused[AREA_COUNT], full_told, resting;
};

static struct bpf_program *program_of(const struct tracer_app *app, enum area area)
{
	/* named as their areas are; a mark's begin and end need no program of their own */
	return bpf_object__find_program_by_name(app->skel->obj, area_name(area));
}

static bool wanted(const struct tracer_app *app, enum area area)
{
	enum severity least = areas_least(&app->config.areas, area);

	return area >= AREA_APP ? least != SEVERITY_NONE
				: (area == AREA_FILE || area == AREA_PROCESS) && least >= SEVERITY_INFO;
}

static int attach_tracepoints(struct tracer_app *app, struct err *err)
{
	for (enum area a = 0; a < AREA_APP; a++) {
		struct bpf_program *prog = program_of(app, a);

		if (!prog || !wanted(app, a))
			continue;
		app->tracepoint[a] = bpf_program__attach(prog);
		if (!app->tracepoint[a])
			return err_sys(err, -errno, "cannot attach the programs of area '%s'", area_name(a));
	}
	return 0;
}

static int load(struct tracer_app *app, struct err *err)
{
	struct app_bpf *skel = app->skel;
	int r;

	skel->rodata->row_file = PROFILE_ROW_FILE;
	skel->rodata->row_fork = PROFILE_ROW_FORK;
	for (enum area a = 0; a < AREA_COUNT; a++) {
		struct bpf_program *prog = program_of(app, a);

		if (prog)
			bpf_program__set_autoload(prog, wanted(app, a));
		skel->bss->least[a] = areas_least(&app->config.areas, a);
	}
	bpf_map__set_max_entries(skel->maps.slots, app->config.slot_count);
	bpf_map__set_max_entries(skel->maps.pages, app->config.slot_count);
	r = bpf_map__reuse_fd(skel->maps.slots, app->config.slots_fd);
	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.threads, app->config.threads_fd);
	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.ring, app->config.ring_fd);
	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.per_cpu, app->config.per_cpu_fd);
	if (r == 0)
		r = app_bpf__load(skel);
	if (r < 0)
		return err_sys(err, r, "cannot load the BPF programs of the areas asked for");
	app->pages = mmap(NULL, app->config.slot_count * sizeof(*app->pages), PROT_READ, MAP_SHARED,
			  bpf_map__fd(skel->maps.pages), 0);
	if (app->pages == MAP_FAILED) {
		app->pages = NULL;
		return err_sys(err, -errno, "cannot map the areas' notes");
	}
	return attach_tracepoints(app, err);
}

static bool wants_probes(const struct tracer_app *app)
{
	for (enum area a = AREA_APP; a < AREA_COUNT; a++) {
		if (wanted(app, a))
			return true;
	}
	return false;
}

int tracer_app_open(const struct tracer_app_config *config, struct tracer_app **ret_app, struct err *err)
{
	struct tracer_app *app = calloc(1, sizeof(*app));
	int r = 0;

	if (!app)
		return err_sys(err, -ENOMEM, "cannot open the areas");
	app->config = *config;
	/* Without it libbpf would make the probes in tracefs, and those outlive us. */
	if (wants_probes(app) && access(UPROBE_TYPE, R_OK) < 0)
		r = err_say(err, -ENOTSUP,
			    "this kernel has no probes on descriptors (" UPROBE_TYPE "): leave out the areas that "
			    "need probes in the target");
	app->skel = r == 0 ? app_bpf__open() : NULL;
	if (r == 0)
		r = app->skel ? load(app, err) : err_sys(err, -errno, "cannot open the areas' BPF programs");
	if (r < 0) {
		tracer_app_close(app);
		return r;
	}
	*ret_app = app;
	return 0;
}

void tracer_app_close(struct tracer_app *app)
{
	if (!app)
		return;
	for (size_t i = 0; i < app->probe_count; i++)
		bpf_link__destroy(app->probe[i].link);
	for (size_t i = 0; i < AREA_COUNT; i++)
		bpf_link__destroy(app->tracepoint[i]);
	if (app->pages)
		munmap(app->pages, app->config.slot_count * sizeof(*app->pages));
	app_bpf__destroy(app->skel);
	free(app->probe);
	free(app->known);
	free(app);
}

/* ---- processes ---- */

static struct known_file *known_of(struct tracer_app *app, const struct stat *st)
{
	struct known_file *known;

	for (size_t i = 0; i < app->known_count; i++) {
		known = &app->known[i];
		if (known->dev == st->st_dev && known->ino == st->st_ino)
			return known;
	}
	known = list_add(&app->known, &app->known_count, sizeof(*known));
	if (known) {
		known->dev = st->st_dev;
		known->ino = st->st_ino;
	}
	return known;
}

static bool probed(const struct tracer_app *app, pid_t pid, size_t row, const struct stat *st)
{
	for (size_t i = 0; i < app->probe_count; i++) {
		const struct probe *p = &app->probe[i];

		if (p->pid == pid && p->row == row && p->ino == st->st_ino && p->dev == st->st_dev)
			return true;
	}
	return false;
}

static struct bpf_link *attach(struct tracer_app *app, size_t index, pid_t pid, const char *path)
{
	const struct profile_row *row = &profile_rows[index];
	struct bpf_program *prog = program_of(app, row->area);
	uint64_t cookie = COOKIE(index, row->area, row->severity, row->how, row->text, row->number, row->length);
	LIBBPF_OPTS(bpf_uprobe_opts, function, .func_name = row->symbol, .bpf_cookie = cookie);
	LIBBPF_OPTS(bpf_usdt_opts, usdt, .usdt_cookie = cookie);

	errno = 0;
	return row->provider ? bpf_program__attach_usdt(prog, pid, path, row->provider, row->symbol, &usdt)
			     : bpf_program__attach_uprobe_opts(prog, pid, path, 0, &function);
}

static void probe_add(struct tracer_app *app, size_t row, pid_t pid, const char *path, const char *name,
		      const struct stat *st, struct known_file *known)
{
	struct bpf_link *link;
	struct probe *probe;
	char text[512];
	int code;

	link = attach(app, row, pid, path);
	code = -errno;
	if (!link && (code == -ENOENT || code == -ESRCH || code == -EINVAL)) {
		known->absent |= 1ull << row; /* it is not in this file */
		return;
	}
	probe = link ? list_add(&app->probe, &app->probe_count, sizeof(*probe)) : NULL;
	if (probe) {
		*probe = (struct probe){ link, pid, st->st_dev, st->st_ino, (uint8_t)row };
		return;
	}
	bpf_link__destroy(link);
	if (app->refused[profile_rows[row].area])
		return;
	app->refused[profile_rows[row].area] = true;
	snprintf(text, sizeof(text), "area '%s': no probe '%s' in '%s' of process %d: %s",
		 area_name(profile_rows[row].area), profile_rows[row].symbol, name, pid, strerror(-code));
	app->config.tell(app->config.arg, text);
}

static bool row_wanted(const struct tracer_app *app, size_t i, const char *base)
{
	const struct profile_row *row = &profile_rows[i];

	return wanted(app, row->area) && (!app->resting || row->area == AREA_MARK) &&
	       row->severity <= areas_least(&app->config.areas, row->area) && fnmatch(row->object, base, 0) == 0;
}

static void attach_file(struct tracer_app *app, pid_t pid, const struct proc_map *map, const char *name)
{
	const char *base = strrchr(name, '/');
	struct known_file *known;
	char path[96];
	struct stat st;

	/* by the mapping: the file may be in a container, or replaced by another since */
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid, (unsigned long long)map->start,
		 (unsigned long long)map->end);
	if (stat(path, &st) < 0)
		return;
	known = known_of(app, &st);
	for (size_t i = 0; known && base && i < profile_row_count; i++) {
		if (known->absent & 1ull << i || !row_wanted(app, i, base + 1) || probed(app, pid, i, &st))
			continue;
		if (app->probe_count >= PROBES_MOST) {
			if (!app->full_told)
				app->config.tell(app->config.arg, "too many probes: further processes get none");
			app->full_told = true;
			return;
		}
		probe_add(app, i, pid, path, base + 1, &st, known);
	}
}

void tracer_app_attach(struct tracer_app *app, pid_t pid)
{
	struct proc_maps maps;
	CLEAN(fd) int dir_fd = -1;

	if (!wants_probes(app) || (app->resting && !app->skel->bss->fires))
		return;
	dir_fd = proc_dir_open(pid);
	if (dir_fd < 0 || proc_maps_read(dir_fd, false, &maps, NULL) < 0)
		return;
	for (size_t i = 0; i < maps.count; i++) {
		const struct proc_map *map = &maps.map[i];

		if (map->executable && map->path && map->inode && !map->memory && !map->devices)
			attach_file(app, pid, map, proc_map_name(&maps, map));
	}
	proc_maps_free(&maps);
}

/* The kernel waits tens of milliseconds when the last descriptor of a probe goes. A child
 * that has them, too, and ends, waits for it in our place. Rejected: a thread. */
static void let_go(struct tracer_app *app, bool (*which)(const struct probe *probe, pid_t pid), pid_t pid)
{
	struct child_hold hold = { -1, -1 };
	char *argv[] = { "reqtrap", NULL };
	struct child closer = { .pidfd = -1 };
	bool any = false;

	for (size_t i = 0; i < app->probe_count && !any; i++)
		any = which(&app->probe[i], pid);
	if (!any)
		return;
	child_start(&(struct child_spec){ .argv = argv, .hold = &hold }, &closer, NULL);
	for (size_t i = app->probe_count; i-- > 0;) {
		if (!which(&app->probe[i], pid))
			continue;
		bpf_link__destroy(app->probe[i].link);
		app->probe[i] = app->probe[--app->probe_count];
	}
	child_release(&hold, false, NULL);
	if (closer.pid > 0)
		child_leave(&closer);
}

static bool of_process(const struct probe *probe, pid_t pid)
{
	return probe->pid == pid;
}

static bool each(const struct probe *probe UNUSED, pid_t pid UNUSED)
{
	return true;
}

static bool each_but_marks(const struct probe *probe, pid_t pid UNUSED)
{
	return profile_rows[probe->row].area != AREA_MARK;
}

void tracer_app_fires(struct tracer_app *app, enum severity severity)
{
	__atomic_store_n(&app->skel->bss->fires, severity, __ATOMIC_RELAXED);
}

void tracer_app_detach(struct tracer_app *app, pid_t pid)
{
	let_go(app, of_process, pid);
}

void tracer_app_rest(struct tracer_app *app, bool rest)
{
	struct err err;

	app->resting = rest;
	if (!rest) {
		if (attach_tracepoints(app, &err) < 0)
			app->config.tell(app->config.arg, err.text);
		return;
	}
	let_go(app, app->skel->bss->fires ? each_but_marks : each, 0);
	for (size_t i = 0; i < AREA_COUNT; i++) {
		bpf_link__destroy(app->tracepoint[i]);
		app->tracepoint[i] = NULL;
	}
}

/* ---- looking ---- */

bool tracer_app_notes(const struct tracer_app *app, uint32_t index, uint64_t gen, struct notes *ret_notes)
{
	const struct notes *page = &app->pages[index];

	if (index >= app->config.slot_count || __atomic_load_n(&page->gen, __ATOMIC_ACQUIRE) != gen)
		return false;
	memcpy(ret_notes, page, sizeof(*ret_notes));
	__sync_synchronize();
	return __atomic_load_n(&page->gen, __ATOMIC_ACQUIRE) == gen;
}

uint64_t tracer_app_spent(const struct tracer_app *app)
{
	uint64_t ns = 0, none = 0;

	for (enum area a = 0; a < AREA_COUNT; a++) {
		uint64_t runs = 0;

		gauge_program(program_of(app, a), &ns, &runs, &none);
		ns += a >= AREA_APP ? runs * TRAP_NS : 0;
	}
	return ns;
}

void tracer_app_totals(const struct tracer_app *app, struct area_total ret_totals[AREA_COUNT])
{
	memset(ret_totals, 0, AREA_COUNT * sizeof(*ret_totals));
	for (uint32_t a = 0; a < AREA_COUNT; a++) {
		struct area_total *total = &ret_totals[a];
		struct bpf_program *prog = program_of(app, a);
		uint64_t none = 0;

		total->on = wanted(app, a);
		total->probes = app->tracepoint[a] != NULL;
		bpf_map_lookup_elem(bpf_map__fd(app->skel->maps.counts), &a, &total->count);
		gauge_program(prog, &total->ns, &total->runs, &none);
	}
	for (size_t i = 0; i < app->probe_count; i++)
		ret_totals[profile_rows[app->probe[i].row].area].probes++;
}
