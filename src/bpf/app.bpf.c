// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Detail that is asked for: an application's own marks, probes in servers and
 * libraries, and tracepoints beyond the always present ones. A second object, loaded
 * only when an area wants it; it shares the slots and the threads' storage with
 * requests.bpf.c and writes into pages of its own, so nothing here can harm what
 * finds requests.
 *
 * Rejected: return probes (a system call since 6.11, which a seccomp filter of the
 * target may answer by killing it); ring records (a wake-up per hit).
 *
 * Trap: a probe's program can be preempted, and since 6.13 such programs get a private
 * stack that is not safe against that from 64 bytes on: the frames here stay below
 * (tests/live/areas.bats looks), and nothing per CPU is used for work. */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#define __VMLINUX_H__ /* pt_regs by the kernel's names */
#define BPF_USDT_MAX_SPEC_CNT 4096
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

#include "../note.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

u32 least[AREA_COUNT]; /* severity that is still noted, 0: nothing (the area is off) */
u32 fires;	       /* so grave a mark is told of at once; 0 none */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, union slot_value);
} slots SEC(".maps"); /* requests.bpf.c's */

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ref);
} threads SEC(".maps"); /* requests.bpf.c's */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, struct notes);
} pages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps"); /* requests.bpf.c's */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct per_cpu);
} per_cpu SEC(".maps"); /* requests.bpf.c's */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AREA_COUNT);
	__type(key, u32);
	__type(value, struct area_count);
} counts SEC(".maps");

static __always_inline struct area_count *count_of(u64 cookie)
{
	u32 area = COOKIE_FIELD(cookie, COOKIE_AREA);

	return bpf_map_lookup_elem(&counts, &area);
}

/* The page of the request that this thread works on. */
static __noinline struct notes *page_here(void)
{
	struct ref *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
	union slot_value *v;
	struct notes *page;
	u32 index;

	if (!mine || !mine->gen)
		return NULL;
	index = mine->slot;
	v = bpf_map_lookup_elem(&slots, &index);
	page = bpf_map_lookup_elem(&pages, &index);
	if (!v || !page || v->slot.gen != mine->gen || v->slot.state == SLOT_FREE || v->slot.state == SLOT_ENDED)
		return NULL;
	if (page->gen != mine->gen) {
		page->count = page->cut = page->deep = page->lost = 0;
		for (int i = 0; i < NOTE_SPANS; i++)
			page->open[i].at_ns = 0;
		page->gen = mine->gen;
	}
	return page;
}

static __always_inline u32 note_place(u32 n)
{
	if (n >= NOTES_KEPT)
		n = NOTES_KEPT + (n - NOTES_KEPT) % (NOTES - NOTES_KEPT);
	/* The compiler knows the bound and would drop the test of it. */
	asm volatile("" : "+r"(n));
	return n;
}

/* The newest span of this thread and area that is open gets its end. */
static __noinline int span_close(struct notes *page, u32 area)
{
	u32 tid = (u32)bpf_get_current_pid_tgid(), best = NOTE_SPANS, place;
	u64 newest = 0, now;

	if (!page)
		return 0;
	for (u32 i = 0; i < NOTE_SPANS; i++) {
		struct open_span *o = &page->open[i];

		if (o->at_ns > newest && o->tid == tid && o->area == area) {
			newest = o->at_ns;
			best = i;
		}
	}
	if (page->deep) { /* the one that found no room is the innermost */
		page->deep--;
		return 0;
	}
	asm volatile("" : "+r"(best));
	if (best >= NOTE_SPANS)
		return 0;
	place = page->open[best].place;
	page->open[best].at_ns = 0;
	if (place >= NOTES || page->note[place].at_ns != newest || page->note[place].tid != tid)
		return 0; /* overwritten meanwhile, which 'count' tells */
	now = bpf_ktime_get_ns();
	page->note[place].dur_ns = now > newest ? now - newest : 1;
	page->note[place].flags &= ~NOTE_OPEN;
	return 0;
}

static __always_inline bool span_open(struct notes *page, u64 at, u32 tid, u32 place, u32 area)
{
	for (u32 i = 0; i < NOTE_SPANS; i++) {
		struct open_span *o = &page->open[i];

		if (o->at_ns)
			continue;
		o->at_ns = at;
		o->tid = tid;
		o->place = place;
		o->area = area;
		return true;
	}
	page->deep++;
	page->lost++;
	return false;
}

static __noinline struct note *note_take(struct notes *page, u64 cookie, u64 number)
{
	u32 how = COOKIE_FIELD(cookie, COOKIE_HOW), place = note_place(__sync_fetch_and_add(&page->count, 1));
	struct note *n;

	if (place >= NOTES)
		return NULL;
	n = &page->note[place];
	n->at_ns = bpf_ktime_get_ns();
	n->dur_ns = 0;
	n->number = number;
	n->tid = (u32)bpf_get_current_pid_tgid();
	n->row = COOKIE_FIELD(cookie, COOKIE_ROW);
	n->severity = COOKIE_FIELD(cookie, COOKIE_SEVERITY);
	n->flags = COOKIE_FIELD(cookie, COOKIE_NUMBER) ? NOTE_NUMBER : 0;
	n->text[0] = '\0';
	if (how == HOW_BEGIN) {
		n->flags |= NOTE_SPAN;
		if (span_open(page, n->at_ns, n->tid, place, COOKIE_FIELD(cookie, COOKIE_AREA)))
			n->flags |= NOTE_OPEN;
	}
	return n;
}

static __noinline int note_text(struct notes *page, struct note *n, u64 cookie, u64 text, u64 length)
{
	struct area_count *count = count_of(cookie);
	u32 room = NOTE_TEXT;
	long got;

	if (!page || !n)
		return 0;
	if (length + 1 < room)
		room = length + 1;
	asm volatile("%0 &= 0xff" : "+r"(room));
	if (room > NOTE_TEXT || !count)
		return 0;
	got = bpf_probe_read_user_str(n->text, room, (void *)text);
	if (got < 0) {
		n->flags |= NOTE_UNREAD;
		n->text[0] = '\0';
		__sync_fetch_and_add(&count->unread, 1);
	} else if (got == NOTE_TEXT) {
		n->flags |= NOTE_CUT;
		__sync_fetch_and_add(&page->cut, 1);
		__sync_fetch_and_add(&count->cut, 1);
	}
	return 0;
}

/* One hit of a probe. 'length' bounds a text that has no end of its own. */
static __noinline int noted(u64 cookie, u64 text, u64 number, u64 length)
{
	u32 area = COOKIE_FIELD(cookie, COOKIE_AREA), severity = COOKIE_FIELD(cookie, COOKIE_SEVERITY);
	struct area_count *count = count_of(cookie);
	struct notes *page;
	struct note *n;

	if (area >= AREA_COUNT || !count || severity > least[area])
		return 0;
	page = page_here();
	if (!page) {
		__sync_fetch_and_add(&count->stray, 1);
		return 0;
	}
	__sync_fetch_and_add(&count->hits, 1);
	if (COOKIE_FIELD(cookie, COOKIE_HOW) == HOW_END)
		return span_close(page, area);
	n = note_take(page, cookie, number);
	if (n && COOKIE_FIELD(cookie, COOKIE_TEXT))
		note_text(page, n, cookie, text, length);
	return 0;
}

/* ---- functions ---- */

static __always_inline u64 argument(u32 n, u64 first, u64 second, u64 third)
{
	return n == 1 ? first : n == 2 ? second : n == 3 ? third : 0;
}

static __always_inline int entered(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx), a = ctx->di, b = ctx->si, c = ctx->dx, length = ~0ull >> 1;

	/* Loaded here, else the compiler makes one load of a computed place of it, which
	 * the verifier refuses. */
	asm volatile("" : "+r"(a), "+r"(b), "+r"(c));
	if (COOKIE_FIELD(cookie, COOKIE_LENGTH))
		length = argument(COOKIE_FIELD(cookie, COOKIE_LENGTH), a, b, c);
	return noted(cookie, argument(COOKIE_FIELD(cookie, COOKIE_TEXT), a, b, c),
		     argument(COOKIE_FIELD(cookie, COOKIE_NUMBER), a, b, c), length);
}

/* One program for each area, so that the kernel counts the run time of each. */
#define ENTRY(area)                   \
	SEC("uprobe")                 \
	int area(struct pt_regs *ctx) \
	{                             \
		return entered(ctx);  \
	}
ENTRY(query)
ENTRY(dns)
ENTRY(nginx)
ENTRY(apache)

/* ---- USDT ---- */

static __always_inline u64 usdt_argument(struct pt_regs *ctx, u32 n)
{
	long value = 0;

	if (n && bpf_usdt_arg(ctx, n - 1, &value))
		return 0;
	return value;
}

static __noinline int usdt_hit(struct pt_regs *ctx)
{
	u64 cookie = bpf_usdt_cookie(ctx), text = usdt_argument(ctx, COOKIE_FIELD(cookie, COOKIE_TEXT));

	return noted(cookie, text, usdt_argument(ctx, COOKIE_FIELD(cookie, COOKIE_NUMBER)), ~0ull >> 1);
}

SEC("usdt")
int php(struct pt_regs *ctx)
{
	return usdt_hit(ctx);
}

SEC("usdt")
int python(struct pt_regs *ctx)
{
	return usdt_hit(ctx);
}

static __noinline int trigger_lost(void)
{
	u32 zero = 0;
	struct per_cpu *here = bpf_map_lookup_elem(&per_cpu, &zero);

	if (here) {
		here->counters.lost_ring++;
		here->counters.lost_trigger++;
	}
	return 0;
}

/* The gravest mark of a request stays in its slot. One that some rule asks for holds the request
 * and is told of while it runs; each that follows only if it is graver. */
static __noinline int mark_fires(u64 severity)
{
	struct ref *mine = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
	struct record *r;
	union slot_value *v;
	u32 index;

	if (!mine || !mine->gen)
		return 0;
	index = mine->slot;
	v = bpf_map_lookup_elem(&slots, &index);
	if (!v || v->slot.gen != mine->gen || (v->slot.severity && v->slot.severity <= severity))
		return 0;
	v->slot.severity = severity;
	if (severity > fires)
		return 0;
	index = __sync_val_compare_and_swap(&v->slot.state, SLOT_OPEN, SLOT_HELD);
	if (index != SLOT_OPEN && index != SLOT_HELD)
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r)
		return trigger_lost();
	r->kind = RECORD_MARK;
	r->slot = mine->slot;
	r->gen = mine->gen;
	r->at_ns = bpf_ktime_get_ns();
	r->value = severity;
	r->inner_slot = SLOT_NONE;
	r->inner_gen = 0;
	r->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* A mark says its severity itself: its first argument. */
SEC("usdt")
int mark(struct pt_regs *ctx)
{
	u64 cookie = bpf_usdt_cookie(ctx), severity = usdt_argument(ctx, 1) & 0xff, text;

	if (severity < SEVERITY_CRITICAL || severity > SEVERITY_VERBOSE)
		severity = SEVERITY_INFO;
	cookie = (cookie & ~(0xffull << COOKIE_SEVERITY)) | severity << COOKIE_SEVERITY;
	text = usdt_argument(ctx, COOKIE_FIELD(cookie, COOKIE_TEXT));
	noted(cookie, text, usdt_argument(ctx, COOKIE_FIELD(cookie, COOKIE_NUMBER)), ~0ull >> 1);
	if (COOKIE_FIELD(cookie, COOKIE_HOW) == HOW_MOMENT && fires)
		mark_fires(severity);
	return 0;
}

/* ---- tracepoints ---- */

enum {
	NR_OPEN = 2,
	NR_RENAME = 82,
	NR_UNLINK = 87,
	NR_OPENAT = 257,
	NR_UNLINKAT = 263,
	NR_RENAMEAT = 264,
	NR_RENAMEAT2 = 316
};

/* Rows of profile.c's table, set by user space. */
const volatile u32 row_file, row_fork;

/* Comes by at the end of every system call of the host: what is not of a file first. */
SEC("tp_btf/sys_exit")
int BPF_PROG(file, struct pt_regs *regs, long ret)
{
	u64 nr = regs->orig_ax, text = regs->si;

	if (nr == NR_OPEN || nr == NR_RENAME || nr == NR_UNLINK)
		text = regs->di;
	else if (nr != NR_OPENAT && nr != NR_UNLINKAT && nr != NR_RENAMEAT && nr != NR_RENAMEAT2)
		return 0;
	return noted(COOKIE(row_file, AREA_FILE, SEVERITY_INFO, HOW_MOMENT, 1, 1, 0), text, ret, ~0ull >> 1);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process, struct task_struct *parent, struct task_struct *child)
{
	if (parent->tgid == child->tgid)
		return 0;
	return noted(COOKIE(row_fork, AREA_PROCESS, SEVERITY_INFO, HOW_MOMENT, 0, 1, 0), 0, child->tgid, 0);
}
