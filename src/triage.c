// SPDX-License-Identifier: MIT
/* Streams into a memfd with one small buffer. Rejected: shared memory mapped by both
 * sides (the reader would see it change). Trap: a stack pointer is hostile: whatever
 * mapping it points into is copied up to its end, within CAPTURE_STACK_MAX. */
#include "triage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void text_of(int dir_fd, const char *path, char *buf, size_t size)
{
	CLEAN(free) char *text = NULL;
	size_t len;

	if (proc_file(dir_fd, path, 4096, &text, &len) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	snprintf(buf, size, "%s", text);
}

static bool same_pid_namespace(int dir_fd)
{
	struct stat ours, theirs;

	return fstatat(dir_fd, "ns/pid", &theirs, 0) == 0 && stat("/proc/self/ns/pid", &ours) == 0 &&
	       ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

int triage_look(const struct proc *proc, struct triage *ret_triage)
{
	bool same = same_pid_namespace(proc->dir_fd);
	CLEAN(free) pid_t *tids = NULL;
	struct triage triage = { 0 };
	int r = proc_threads(proc->dir_fd, &tids, &triage.count);

	if (r < 0)
		return r;
	triage.thread = calloc(triage.count, sizeof(*triage.thread));
	if (!triage.thread)
		return -ENOMEM;
	for (size_t i = 0; i < triage.count; i++) {
		struct triage_thread *t = &triage.thread[i];
		struct proc_stat stat = { .state = '?' };
		struct proc_status status;
		char path[64];

		t->tid = t->ns_tid = tids[i];
		snprintf(path, sizeof(path), "task/%d/stat", t->tid);
		proc_stat_read(proc->dir_fd, path, &stat);
		t->state = stat.state;
		t->utime_ticks = stat.utime_ticks;
		t->stime_ticks = stat.stime_ticks;
		snprintf(path, sizeof(path), "task/%d/comm", t->tid);
		text_of(proc->dir_fd, path, t->comm, sizeof(t->comm));
		snprintf(path, sizeof(path), "task/%d/wchan", t->tid);
		text_of(proc->dir_fd, path, t->wchan, sizeof(t->wchan));
		snprintf(path, sizeof(path), "task/%d/status", t->tid);
		if (!same && proc_status_read(proc->dir_fd, path, &status) == 0 && status.ns_tid)
			t->ns_tid = status.ns_tid;
	}
	*ret_triage = triage;
	return 0;
}

void triage_free(struct triage *triage)
{
	free(triage->thread);
	*triage = (struct triage){ 0 };
}

static const struct triage_thread *look_of(const struct triage *triage, pid_t tid)
{
	size_t lo = 0, hi = triage->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (triage->thread[mid].tid == tid)
			return &triage->thread[mid];
		if (triage->thread[mid].tid < tid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int put(int fd, const void *data, size_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data = (const char *)data + n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int triage_stack(int fd, const struct proc_maps *maps, const struct memory *mem, const struct user_regs_struct *regs,
		 uint64_t off, struct capture_thread *row, uint32_t *cut)
{
	static uint8_t chunk[64 << 10];
	uint64_t sp = arch_sp(regs), block = arch_thread_block(regs), at, end;
	const struct proc_map *map = proc_maps_find(maps, sp);

	row->stack_off = off;
	if (!map || !map->readable)
		return 0;
	at = MAX(sp - MIN(sp, (uint64_t)ARCH_RED_ZONE), map->start);
	end = map->end;
	if (block > sp && block < end) /* other memory may lie right behind */
		end = MIN(end, (block + 2 * ARCH_THREAD_BLOCK_BYTES - 1) & ~(uint64_t)(ARCH_THREAD_BLOCK_BYTES - 1));
	if (end - at > CAPTURE_STACK_MAX) {
		end = at + CAPTURE_STACK_MAX;
		++*cut;
	}
	row->stack_addr = at;
	while (at < end) {
		ssize_t n = mem->read(mem->arg, at, chunk, (size_t)MIN(end - at, (uint64_t)sizeof(chunk)));
		int r = n > 0 ? put(fd, chunk, (size_t)n, off + row->stack_len) : 0;

		if (r < 0 || n <= 0)
			return r;
		row->stack_len += (uint64_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static void fill_row(struct capture_thread *row, const struct freeze_thread *thread, const struct arch_state *state,
		     const struct triage_thread *look, const struct memory *mem)
{
	_Static_assert(sizeof(row->reg) == sizeof(state->regs), "registers in the capture");
	row->tid = row->ns_tid = thread->tid;
	row->state = '?';
	row->syscall_nr = -1;
	if (look) {
		row->ns_tid = look->ns_tid;
		row->state = look->state;
		row->utime_ticks = look->utime_ticks;
		row->stime_ticks = look->stime_ticks;
		memcpy(row->comm, look->comm, sizeof(row->comm));
		memcpy(row->wchan, look->wchan, sizeof(row->wchan));
	}
	row->stopped = state != NULL;
	if (!state)
		return;
	memcpy(row->reg, &state->regs, sizeof(row->reg));
	row->syscall_nr = arch_syscall(&state->regs, mem, row->wchan, row->arg);
}

/* A thread that did not stop: what /proc says of it now. */
static void fill_running(struct capture_thread *row, const struct proc *proc)
{
	struct user_regs_struct regs;
	struct proc_syscall sc;
	char path[64];

	snprintf(path, sizeof(path), "task/%d/syscall", row->tid);
	if (proc_syscall_read(proc->dir_fd, path, &sc) < 0 || sc.nr == -2)
		return;
	arch_regs_guess(&sc, &regs);
	memcpy(row->reg, &regs, sizeof(row->reg));
	row->syscall_nr = sc.nr;
	memcpy(row->arg, sc.arg, sizeof(row->arg));
}

static int put_text(int fd, const struct spool *text, uint64_t off)
{
	char piece[16384];
	int r = 0;

	for (uint64_t at = 0; at < text->len && r == 0; at += sizeof(piece)) {
		size_t n = (size_t)MIN((uint64_t)sizeof(piece), text->len - at);

		r = spool_get(text, at, piece, n);
		if (r == 0)
			r = put(fd, piece, n, off + at);
	}
	return r;
}

int triage_write(const struct triage *triage, struct freeze *freeze, const struct memory *mem,
		 const struct proc_maps *maps, const struct spool *maps_text, pid_t holder_tid, int *ret_fd,
		 struct err *err)
{
	struct capture_head head = {
		.magic = CAPTURE_MAGIC,
		.size = sizeof(head),
		.pid = freeze->proc->pid,
		.holder_tid = holder_tid,
		.taken_ns = freeze->taken_ns,
		.maps_len = maps_text->len,
	};
	CLEAN(fd) int fd = memfd_create("reqtrap-capture", MFD_CLOEXEC);
	uint64_t off, row_off = sizeof(head);
	int r = fd < 0 ? -errno : 0;

	for (size_t i = 0; i < freeze->count; i++)
		head.thread_count += !freeze->thread[i].gone || freeze->thread[i].taken;
	off = sizeof(head) + head.thread_count * sizeof(struct capture_thread);
	for (size_t i = 0; i < freeze->count && r == 0; i++) {
		struct freeze_thread *thread = &freeze->thread[i];
		struct capture_thread row = { 0 };
		struct user_regs_struct regs;

		if (thread->gone && !thread->taken)
			continue;
		fill_row(&row, thread, freeze_state(freeze, thread), look_of(triage, thread->tid), mem);
		if (!thread->taken)
			fill_running(&row, freeze->proc);
		memcpy(&regs, row.reg, sizeof(regs));
		r = triage_stack(fd, maps, mem, &regs, off, &row, &head.stack_bytes_cut);
		off += row.stack_len;
		if (r == 0)
			r = put(fd, &row, sizeof(row), row_off);
		row_off += sizeof(row);
	}
	head.maps_off = off;
	head.total_len = off + maps_text->len;
	if (r == 0)
		r = put_text(fd, maps_text, off);
	if (r == 0)
		r = put(fd, &head, sizeof(head), 0);
	if (r < 0)
		return err_sys(err, r, "cannot keep the stacks of process %d", freeze->proc->pid);
	*ret_fd = take_fd(&fd);
	return 0;
}
