/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The few kernel structs the programs look into. Only the fields used, found at
 * load time by their names (CO-RE), so no vmlinux.h and no BTF are needed to build.
 * Names are the kernel's: that is what the relocation goes by. */
#ifndef REQTRAP_KERNEL_H
#define REQTRAP_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed short s16;
typedef signed int s32;
typedef signed long long s64;
typedef _Bool bool;
#define true 1
#define false 0

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	u16 skc_family;
	unsigned char skc_state;
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct {
		struct net *net;
	} skc_net;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	u16 sk_type;
	u8 sk_shutdown;
};

struct inet_connection_sock {
	struct {
		u32 lrcvtime;
	} icsk_ack;
};

struct tcp_sock {
	u32 copied_seq, rcv_nxt, write_seq, snd_nxt, lsndtime;
	u64 bytes_received, bytes_sent;
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct sockaddr_un {
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct socket {
	struct sock *sk;
	struct file *file;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct signal_struct {
	int nr_threads;
};

struct task_struct {
	unsigned int __state;
	int pid;
	int tgid;
	struct files_struct *files;
	struct task_struct *group_leader;
	struct task_struct *parent, *real_parent; /* who traces it, who made it */
	struct signal_struct *signal;
	u64 utime, stime;
	unsigned long maj_flt;
	unsigned int in_iowait : 1;
};

struct bpf_iter__task_file {
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct pt_regs {
	unsigned long r10;
	unsigned long r8;
	unsigned long ax;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
};

#pragma clang attribute pop

/* User-space layouts (x86-64 ABI), read from the target's memory. */
struct user_iovec {
	u64 base, len;
};

struct user_msghdr_abi {
	u64 name;
	u32 namelen, pad;
	u64 iov, iovlen;
};

#endif
