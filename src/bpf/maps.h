/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs keep: connections, slots, timers, who is watched. Included by
 * requests.bpf.c alone: one object, several files for the reader. */
#ifndef REQTRAP_BPF_MAPS_H
#define REQTRAP_BPF_MAPS_H

/* What a request does not mostly come by is kept out of its way: the code that it goes through
 * lies together, and less of it is fetched. */
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Set by user space before load (const) or at any time (the rest). */
const volatile u32 layout = EVENT_LAYOUT;
const volatile u32 slot_count = 2048;
const volatile bool keep_spare = true; /* a free slot at hand for each CPU: not when they are few */
const volatile u32 own_tgid;	       /* whose children's stops are captures */
const volatile bool follow = true;     /* look at who answers the calls of watched requests */
u64 limits[2][LIMITS_MAX];	       /* ascending, zeros behind; user space writes the one that does not count ... */
u32 limit_set;			       /* ... and then has it count */
u64 shortest;			       /* of them, 0 none */
u64 over_bytes;			       /* a reply so long is told of at its end; 0 none */
u32 over_aborted;		       /* and one that was cut off */
u64 status_wanted[16];		       /* bit per status code below 1024 */
bool unseen;			       /* nobody listens to the scheduler: what a thread does is not known */
bool lean;			       /* no line in the trace for each read and write */
/* Was a call to somebody else ever seen, and one on a unix socket? Not: spares strangers the lookup. */
u32 client_conns, unix_calls;

u32 conns_full; /* a request found no room in the table of connections: it is counted, its reply is not */

u64 tick_ns;		/* of the kernel's clock for packets; 0: not known */
u32 older_step;		/* enum older_step: what the look at open sockets is for */
u64 served[65536 / 64]; /* bit per TCP port that a watched process listens on */

u64 watched[WATCHED]; /* watched_as(): strangers, who come by at each context switch, go after one load */

u64 called[65536 / 64]; /* bit per TCP port that a watched process ever called */

enum in_phase { IN_IDLE, IN_HEAD, IN_LENGTH, IN_WALK, IN_UNKNOWN };
enum out_phase { OUT_NONE, OUT_HEAD, OUT_LENGTH, OUT_WALK, OUT_CLOSE, OUT_UNKNOWN };

struct clock {
	struct bpf_timer timer;
	u64 due_ns; /* when it rings; 0: it does not */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, union slot_value);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK); /* last in, first out: few slots, warm in the cache */
	__uint(max_entries, 2048);
	__type(value, u32);
} free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LOOPS);
	__type(key, u32);
	__type(value, struct loop);
} loops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, LOOPS);
	__type(value, u32);
} free_loops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLOCKS);
	__type(key, u32);
	__type(value, struct clock);
} clocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* struct sock * */
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tuple);
	__type(value, u64); /* the caller's struct sock * */
} tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);   /* tgid */
	__type(value, u32); /* enum target_kind */
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct work);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, struct hands);
} hands SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, u32);
	__type(value, struct asked);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32); /* tgid: its threads were seen to hand requests to each other */
	__type(value, u32);
} handing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct per_cpu);
} per_cpu SEC(".maps");

static __always_inline struct per_cpu *this_cpu(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&per_cpu, &zero);
}

#define COUNT_BY(field, by)                         \
	do {                                        \
		struct per_cpu *c_ = this_cpu();    \
		if (c_)                             \
			c_->counters.field += (by); \
	} while (0)
#define COUNT(field) COUNT_BY(field, 1)

#endif
