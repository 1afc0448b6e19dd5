/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a thread waits on and who ends the wait, noted while both are there: the file, pipe or
 * socket behind a descriptor, the process that wakes. Added up by call and object, so
 * that no sum is lost when the ring of events comes round. Runs only for threads that hold
 * a request, and only when they block. */
#ifndef REQTRAP_BPF_OBJECTS_H
#define REQTRAP_BPF_OBJECTS_H

#include "recorder.h"
#include "source.h"

#define S_KIND 0170000
#define S_SOCKET 0140000

static __always_inline struct file *file_of_fd(struct task_struct *task, u32 fd)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **table, *file = NULL;

	if (!fdt || fd >= BPF_CORE_READ(fdt, max_fds))
		return NULL;
	table = BPF_CORE_READ(fdt, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), table + fd))
		return NULL;
	return file;
}

static __always_inline void here_of(struct sock *sk, struct endpoint *at)
{
	at->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	at->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (at->family == AF_INET)
		at->addr[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	else if (at->family == AF_INET6)
		BPF_CORE_READ_INTO(&at->addr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
}

static __always_inline void socket_note(struct slot_object *o, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = socket ? BPF_CORE_READ(socket, sk) : NULL;
	struct unix_address *addr;

	if (!sk)
		return;
	o->type = BPF_CORE_READ(sk, sk_type);
	endpoint_of((u64)sk, &o->peer);
	here_of(sk, &o->here);
	if (o->here.family != AF_UNIX)
		return;
	o->here.port = 0;
	unix_path_of((u64)sk, o->name);
	if (o->name[0] || o->name[1]) {
		o->parts = 1; /* the other end's */
		return;
	}
	addr = BPF_CORE_READ((struct unix_sock *)sk, addr);
	if (addr)
		bpf_probe_read_kernel(o->name, UNIX_PATH, __builtin_preserve_access_index(&addr->name[0].sun_path));
}

/* From the file up to the root of its file system. */
static __always_inline void path_note(struct slot_object *o, struct file *file)
{
	struct dentry *d = BPF_CORE_READ(file, f_path.dentry), *up;
	u32 at = 0;

	for (int i = 0; i < OBJECT_PARTS; i++) {
		long n;

		if (!d)
			return;
		up = BPF_CORE_READ(d, d_parent);
		if (up == d && (i || o->mode)) {
			o->rooted = 1;
			return;
		}
		asm volatile("" : "+r"(at));
		if (at > OBJECT_NAME - OBJECT_PART)
			return;
		n = bpf_probe_read_kernel_str(o->name + at, OBJECT_PART, BPF_CORE_READ(d, d_name.name));
		if (n <= 0 || n > OBJECT_PART)
			return;
		at += n;
		o->name_len = at;
		o->parts = i + 1;
		d = up;
	}
	up = d ? BPF_CORE_READ(d, d_parent) : NULL;
	o->rooted = up && up == d;
}

/* Index + 1 of what the descriptor stands for, 0: it is not known. */
__noinline u32 object_of_fd(struct slot *s, u32 fd)
{
	struct slot_object *o;
	struct inode *inode;
	struct file *file;
	u32 dev, mode, count;
	u64 ino;

	if (!s)
		return 0;
	file = file_of_fd(bpf_get_current_task_btf(), fd);
	if (!file)
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	ino = BPF_CORE_READ(inode, i_ino);
	dev = BPF_CORE_READ(inode, i_sb, s_dev);
	mode = BPF_CORE_READ(inode, i_mode) & S_KIND;
	count = s->object_count;
	for (u32 i = 0; i < SLOT_OBJECTS; i++) {
		o = &s->object[i];
		if (i >= count)
			break;
		/* All eventfds share one inode. */
		if (o->ino == ino && o->dev == dev && (mode || o->fd == (s32)fd))
			return i + 1;
	}
	asm volatile("" : "+r"(count));
	if (count >= SLOT_OBJECTS)
		return 0;
	o = &s->object[count];
	__builtin_memset(o, 0, sizeof(*o));
	o->ino = ino;
	o->dev = dev;
	o->mode = mode;
	o->fd = (s32)fd;
	if (mode == S_SOCKET)
		socket_note(o, file);
	else
		path_note(o, file);
	s->object_count = count + 1;
	return count + 1;
}

/* Index + 1 of the current thread as one that ends a wait, 0: no room, or the idle thread. It
 * may only have been interrupted by what does: user space weighs that (naming.c). */
__noinline u32 waker_note(struct slot *s)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = (u32)id, count;
	struct slot_waker *w;

	if (!s || !tid)
		return 0;
	count = s->waker_count;
	for (u32 i = 0; i < SLOT_WAKERS; i++) {
		w = &s->wakers[i];
		if (i >= count)
			break;
		if (w->tid == tid) {
			/* It may run another program by now. */
			bpf_get_current_comm(w->comm, sizeof(w->comm));
			return i + 1;
		}
	}
	asm volatile("" : "+r"(count));
	if (count >= SLOT_WAKERS)
		return 0;
	w = &s->wakers[count];
	w->tid = tid;
	w->pid = id >> 32;
	bpf_get_current_comm(w->comm, sizeof(w->comm));
	s->waker_count = count + 1;
	return count + 1;
}

/* A wait of the slot has ended: which and on what, it says itself. */
__noinline int wait_add(struct slot *s, u64 at, u64 ns)
{
	struct slot_sum *sum;
	u32 i, count;
	u64 a;

	if (!s)
		return 0;
	event(s, EVENT_WAIT, s->wait_nr, s->wait_a, at, ns);
	count = s->sum_count;
	a = s->wait_a;
	for (i = 0; i < SLOT_SUMS - 1; i++) {
		sum = &s->sum[i];
		if (i >= count)
			break;
		if (sum->nr == s->wait_nr && sum->object == s->wait_object && sum->a == a &&
		    sum->state == s->wait_state) {
			sum->ns += ns;
			sum->count++;
			sum->waker = s->waker;
			return 0;
		}
	}
	asm volatile("" : "+r"(count));
	if (count >= SLOT_SUMS)
		count = SLOT_SUMS - 1; /* of different waits: user space names none of them */
	asm volatile("" : "+r"(count));
	if (count >= SLOT_SUMS)
		return 0;
	sum = &s->sum[count];
	if (count == SLOT_SUMS - 1 && s->sum_count >= SLOT_SUMS) {
		sum->ns += ns;
		sum->count++;
		return 0;
	}
	sum->ns = ns;
	sum->a = a;
	sum->count = 1;
	sum->nr = s->wait_nr;
	sum->object = s->wait_object;
	sum->state = s->wait_state;
	sum->waker = s->waker;
	s->sum_count = count + 1;
	return 0;
}

static __always_inline void wait_over(struct slot *s, u64 now)
{
	wait_add(s, s->seg_since_ns, now > s->seg_since_ns ? now - s->seg_since_ns : 0);
}

#endif
