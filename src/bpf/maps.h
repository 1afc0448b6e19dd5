/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs keep: connections, slots, timers, who is watched. Included by
 * requests.bpf.c alone: one object, several files for the reader. */
#ifndef REQTRAP_BPF_MAPS_H
#define REQTRAP_BPF_MAPS_H

/* Set by user space before load (const) or at any time (the rest). */
const volatile u32 layout = EVENT_LAYOUT;
const volatile u32 slot_count = 2048;
const volatile bool follow = true; /* look at who answers the calls of watched requests */
u64 limits[LIMITS_MAX];
u32 limit_count;
u64 status_wanted[16]; /* bit per status code below 1024 */
u32 client_conns;      /* how many calls to others were ever seen: 0 spares strangers the lookup */

enum in_phase { IN_IDLE, IN_HEAD, IN_LENGTH, IN_CHUNKED, IN_FASTCGI, IN_UNKNOWN };
enum out_phase { OUT_NONE, OUT_HEAD, OUT_LENGTH, OUT_CHUNKED, OUT_CLOSE, OUT_FASTCGI, OUT_UNKNOWN };

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
	__type(value, struct ref);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counters SEC(".maps");

#define COUNT(field)                                                          \
	do {                                                                  \
		u32 zero_ = 0;                                                \
		struct counters *c_ = bpf_map_lookup_elem(&counters, &zero_); \
		if (c_)                                                       \
			c_->field++;                                          \
	} while (0)

#endif
