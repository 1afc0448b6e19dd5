// SPDX-License-Identifier: MIT
/* The idea: while a thread runs a call of ours, the return address on its stack leads
 * into an rt_sigreturn frame with its whole state. If we die, it restores itself.
 * Rejected: changing registers and changing them back (dead targets when the dumper
 * is killed in between); a frame below the thread's own stack pointer (Go moves
 * goroutine stacks). Trap: the XSAVE image in a signal frame may not be longer than
 * what the kernel gave this thread (AMX), or the kernel restores SSE only. */
#include "arch.h"

#include <cpuid.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

/* The kernel's own codes for 'start this call again'; never seen by programs. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define ALTSTACK_KEEP 0x7f00 /* no valid ss_flags: the kernel leaves the alternate stack as it is */
#define XSAVE_SW 464	     /* software part of the FXSAVE area */
#define XSAVE_LEGACY 576     /* FXSAVE area and XSAVE header */
#define XSAVE_MAGIC1 0x46505853u
#define XSAVE_MAGIC2 0x46505845u

/* The kernel's rt_sigframe without its siginfo, which rt_sigreturn does not read. */
struct frame {
	uint64_t return_address;
	uint64_t uc_flags, uc_link;
	uint64_t ss_sp;
	uint32_t ss_flags, ss_pad;
	uint64_t ss_size;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
	uint64_t sigmask;
};
_Static_assert(sizeof(struct frame) == 312, "layout of the kernel's rt_sigframe");

/* Where the XSAVE components lie on this CPU. Asked once, before any stop: under a
 * hypervisor each CPUID costs tens of microseconds. */
static const struct xsave_layout {
	size_t total;
	struct {
		unsigned int offset, size;
	} component[63];
} * xsave_layout(void)
{
	static struct xsave_layout layout;
	unsigned int eax, ebx, ecx, edx, a, d;
	uint64_t enabled;

	if (layout.total)
		return &layout;
	layout.total = XSAVE_LEGACY;
	if (!__get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx))
		return &layout;
	layout.total = MAX(layout.total, (size_t)MAX(ebx, ecx));
	enabled = (uint64_t)edx << 32 | eax;
	for (unsigned int i = 2; i < ARRAY_LEN(layout.component); i++) {
		if (enabled >> i & 1)
			__cpuid_count(0xd, i, layout.component[i].size, layout.component[i].offset, a, d);
	}
	return &layout;
}

size_t arch_xstate_size(void)
{
	return xsave_layout()->total;
}

/* Calls that return EINTR after a stop without a signal although nothing happened.
 * Never close or connect: those have already acted. */
static bool starts_again(long nr)
{
	static const int calls[] = {
		SYS_epoll_wait,	     SYS_epoll_pwait,  SYS_epoll_pwait2,  SYS_semop,	      SYS_semtimedop,
		SYS_rt_sigtimedwait, SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter, SYS_msgrcv,
		SYS_msgsnd,	     SYS_read,	       SYS_readv,	  SYS_write,	      SYS_writev,
		SYS_futex,	     SYS_poll,	       SYS_select,	  SYS_recvfrom,	      SYS_recvmsg,
		SYS_accept,	     SYS_accept4,      SYS_sendto,	  SYS_sendmsg,	      SYS_recvmmsg,
		SYS_sendmmsg,	     SYS_splice,       SYS_sendfile,
	};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

int arch_read(pid_t tid, struct arch_state *state)
{
	struct iovec iov = { .iov_base = &state->regs, .iov_len = sizeof(state->regs) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) < 0)
		return -errno;
	if (iov.iov_len != sizeof(state->regs))
		return -ENOTSUP;
	state->resume = state->regs;
	/* Not a rewind of the instruction pointer: with this code the kernel starts the
	 * call again by itself, and still returns EINTR when a signal handler runs. */
	if ((int64_t)state->regs.orig_rax >= 0 && (int64_t)state->regs.rax == -EINTR &&
	    starts_again((long)state->regs.orig_rax))
		state->resume.rax = (uint64_t)-ERESTARTNOHAND;
	state->xstate_len = 0;
	if (!state->xstate)
		return 0;
	iov = (struct iovec){ .iov_base = state->xstate, .iov_len = arch_xstate_size() };
	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov) == 0)
		state->xstate_len = iov.iov_len;
	return 0;
}

void arch_as_found(struct arch_state *state)
{
	state->resume = state->regs;
	state->regs.rax = (uint64_t)-EINTR;
}

size_t arch_xstate_core(const struct arch_state *state, uint8_t out[ARCH_XSTATE_CORE_BYTES])
{
	static const struct {
		unsigned int component, offset, size;
	} layout[] = { { 2, 576, 256 }, { 5, 1088, 64 }, { 6, 1152, 512 }, { 7, 1664, 1024 }, { 9, 2688, 8 } };
	const struct xsave_layout *ours = xsave_layout();
	uint64_t mask, known = 7, present;
	size_t len = XSAVE_LEGACY;
	bool differs = false;

	if (state->xstate_len < XSAVE_LEGACY)
		return 0;
	memcpy(&mask, state->xstate + XSAVE_SW, sizeof(mask));
	memcpy(&present, state->xstate + 512, sizeof(present));
	memset(out, 0, ARCH_XSTATE_CORE_BYTES);
	memcpy(out, state->xstate, XSAVE_LEGACY);
	for (size_t i = 0; i < ARRAY_LEN(layout); i++) {
		unsigned int offset = ours->component[layout[i].component].offset;
		unsigned int size = MIN(ours->component[layout[i].component].size, layout[i].size);

		if (!(mask >> layout[i].component & 1) || !size)
			continue;
		if ((size_t)offset + size > state->xstate_len)
			continue;
		differs |= offset != layout[i].offset;
		memcpy(out + layout[i].offset, state->xstate + offset, size);
		len = layout[i].offset + layout[i].size;
		known |= 1ull << layout[i].component;
	}
	if (!differs)
		return 0;
	mask &= known;
	present &= known;
	memcpy(out + XSAVE_SW, &mask, sizeof(mask));
	memcpy(out + 512, &present, sizeof(present));
	return len;
}

int arch_set(pid_t tid, const struct user_regs_struct *regs)
{
	struct iovec iov = { .iov_base = (void *)regs, .iov_len = sizeof(*regs) };

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov) < 0 ? -errno : 0;
}

bool arch_stands(pid_t tid, const struct user_regs_struct *regs)
{
	struct user_regs_struct now;

	return ptrace(PTRACE_GETREGS, tid, NULL, &now) == 0 && !memcmp(&now, regs, sizeof(now));
}

int arch_result(pid_t tid, int64_t *ret_value)
{
	struct user_regs_struct regs;
	struct iovec iov = { .iov_base = &regs, .iov_len = sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) < 0)
		return -errno;
	*ret_value = (int64_t)regs.rax;
	return 0;
}

uint64_t arch_sp(const struct user_regs_struct *regs)
{
	return regs->rsp;
}

long arch_call_of(const struct user_regs_struct *regs)
{
	return (long)regs->orig_rax;
}

uint64_t arch_thread_block(const struct user_regs_struct *regs)
{
	return regs->fs_base;
}

static long restarted_call(uint64_t pc, const struct memory *mem, const char *wchan)
{
	static const struct {
		const char *wchan;
		long nr;
	} waits[] = {
		{ "hrtimer_nanosleep", SYS_clock_nanosleep },
		{ "do_nanosleep", SYS_clock_nanosleep },
		{ "futex", SYS_futex },
		{ "poll", SYS_poll },
	};
	uint8_t code[7];
	uint32_t nr;

	/* 'mov eax, NR; syscall' is how libraries call. */
	if (mem && memory_get(mem, pc - 7, code, sizeof(code)) == 0 && code[0] == 0xb8 && code[5] == 0x0f &&
	    code[6] == 0x05) {
		memcpy(&nr, code + 1, sizeof(nr));
		return (long)nr;
	}
	for (size_t i = 0; wchan && i < ARRAY_LEN(waits); i++) {
		if (strstr(wchan, waits[i].wchan))
			return waits[i].nr;
	}
	return SYS_restart_syscall;
}

long arch_syscall(const struct user_regs_struct *regs, const struct memory *mem, const char *wchan, uint64_t ret_arg[6])
{
	int64_t value = (int64_t)regs->rax;
	long nr = (long)regs->orig_rax;

	memset(ret_arg, 0, 6 * sizeof(*ret_arg));
	if (nr < 0)
		return -1;
	/* Any other value: the call had ended and the thread was on its way out. */
	if (value != -EINTR && value != -ERESTARTSYS && value != -ERESTARTNOINTR && value != -ERESTARTNOHAND &&
	    value != -ERESTART_RESTARTBLOCK)
		return -1;
	ret_arg[0] = regs->rdi;
	ret_arg[1] = regs->rsi;
	ret_arg[2] = regs->rdx;
	ret_arg[3] = regs->r10;
	ret_arg[4] = regs->r8;
	ret_arg[5] = regs->r9;
	return nr == SYS_restart_syscall ? restarted_call(regs->rip, mem, wchan) : nr;
}

void arch_regs_guess(const struct proc_syscall *sc, struct user_regs_struct *ret_regs)
{
	*ret_regs = (struct user_regs_struct){
		.orig_rax = (unsigned long long)(sc->nr >= 0 ? sc->nr : -1),
		.rdi = sc->arg[0],
		.rsi = sc->arg[1],
		.rdx = sc->arg[2],
		.r10 = sc->arg[3],
		.r8 = sc->arg[4],
		.r9 = sc->arg[5],
		.rip = sc->pc,
		.rsp = sc->sp,
		.cs = 0x33,
		.ss = 0x2b,
		.eflags = 0x202,
	};
}

bool arch_in_rseq(pid_t tid, const struct user_regs_struct *regs, const struct memory *mem)
{
	struct {
		uint64_t area;
		uint32_t size, signature, flags, pad;
	} conf = { 0 };
	struct {
		uint32_t version, flags;
		uint64_t start, len, abort;
	} cs;
	uint64_t cs_addr;

	if ((int64_t)regs->orig_rax >= 0)
		return false; /* in a system call: not in user code */
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(conf), &conf) < 0 || !conf.area)
		return false;
	if (!memory_u64(mem, conf.area + 8, &cs_addr) || !cs_addr)
		return false;
	if (memory_get(mem, cs_addr, &cs, sizeof(cs)) < 0)
		return true;
	return regs->rip - cs.start < cs.len;
}

static const uint8_t call_ret_code[] = { 0x0f, 0x05, 0xc3 };
static const uint8_t sigreturn_code[][9] = {
	{ 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 }, /* mov rax, 15; syscall */
	{ 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05, 0, 0 },	 /* mov eax, 15; syscall */
};
static const size_t sigreturn_len[] = { 9, 7 };

static void site_scan(const struct proc_map *map, const struct memory *mem, uint8_t *chunk, size_t size,
		      struct arch_site *site)
{
	const size_t overlap = 16;

	for (uint64_t at = map->start; at < map->end; at += size - overlap) {
		ssize_t n = mem->read(mem->arg, at, chunk, MIN(size, map->end - at));
		uint8_t *p;

		if (n <= 0)
			return;
		if (!site->call_ret && (p = memmem(chunk, (size_t)n, call_ret_code, sizeof(call_ret_code))))
			site->call_ret = at + (uint64_t)(p - chunk);
		for (size_t i = 0; i < ARRAY_LEN(sigreturn_len) && !site->sigreturn; i++) {
			p = memmem(chunk, (size_t)n, sigreturn_code[i], sigreturn_len[i]);
			if (p)
				site->sigreturn = at + (uint64_t)(p - chunk);
		}
		if ((site->call_ret && site->sigreturn) || (size_t)n < MIN(size, map->end - at))
			return;
	}
}

int arch_site_find(const struct proc_maps *maps, const struct memory *mem, struct arch_site *ret_site,
		   const char **ret_missing)
{
	const size_t size = 1u << 20;
	CLEAN(free) uint8_t *chunk = malloc(size);
	struct arch_site site = { 0 };

	if (!chunk)
		return -ENOMEM;
	/* The libc first: it has both, and other code can be hundreds of MiB. */
	for (int pass = 0; pass < 2 && !(site.call_ret && site.sigreturn); pass++) {
		for (size_t i = 0; i < maps->count && !(site.call_ret && site.sigreturn); i++) {
			const struct proc_map *map = &maps->map[i];
			const char *name;

			if (!map->executable || !(map->inode || map->kind == PROC_MAP_VDSO))
				continue;
			name = proc_map_name(maps, map);
			if ((strstr(name, "/libc") || strstr(name, "/ld-")) == !pass)
				site_scan(map, mem, chunk, size, &site);
		}
	}
	for (size_t i = 0; i < maps->count; i++) {
		if (maps->map[i].kind == PROC_MAP_STACK) {
			site.stack_low = maps->map[i].start;
			site.stack_high = maps->map[i].end;
		}
	}
	*ret_missing = !site.call_ret	 ? "a 'syscall; ret' in its code"
		       : !site.sigreturn ? "a signal restorer in its code"
		       : !site.stack_low ? "its main stack"
					 : NULL;
	if (*ret_missing)
		return -ENOENT;
	*ret_site = site;
	return 0;
}

bool arch_site_holds(const struct arch_site *site, const struct memory *mem)
{
	uint8_t code[9];

	if (memory_get(mem, site->call_ret, code, sizeof(call_ret_code)) < 0 ||
	    memcmp(code, call_ret_code, sizeof(call_ret_code)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(sigreturn_len); i++) {
		if (memory_get(mem, site->sigreturn, code, sigreturn_len[i]) == 0 &&
		    !memcmp(code, sigreturn_code[i], sigreturn_len[i]))
			return true;
	}
	return false;
}

bool arch_site_unused(const struct arch_site *site, const uint8_t *bytes)
{
	struct frame frame;
	size_t at = 0;

	while (at < ARCH_SITE_BYTES && !bytes[at])
		at++;
	at &= ~(size_t)7;
	if (at >= ARCH_SITE_BYTES)
		return true;
	if (at + sizeof(frame) > ARCH_SITE_BYTES)
		return false;
	memcpy(&frame, bytes + at, sizeof(frame));
	/* A frame that the kernel made has other flags: nobody else writes these. */
	return frame.return_address == site->sigreturn && frame.ss_flags == ALTSTACK_KEEP && !frame.uc_link;
}

/* The part of the regset that holds something: what the thread's own signal frames hold. */
static size_t xstate_used(const struct arch_state *state)
{
	const struct xsave_layout *layout = xsave_layout();
	size_t used = XSAVE_LEGACY;
	uint64_t components;

	memcpy(&components, state->xstate + 512, sizeof(components));
	for (unsigned int i = 2; i < ARRAY_LEN(layout->component); i++) {
		if (components >> i & 1)
			used = MAX(used, (size_t)layout->component[i].offset + layout->component[i].size);
	}
	return MIN(used, state->xstate_len);
}

/* Where the thread goes on: a call that the stop cut short is started again here by
 * hand, as the kernel does it, for rt_sigreturn does not. */
static void frame_resume(struct frame *frame, const struct user_regs_struct *regs)
{
	int64_t value = (int64_t)regs->rax;

	*frame = (struct frame){
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.di = regs->rdi,
		.si = regs->rsi,
		.bp = regs->rbp,
		.bx = regs->rbx,
		.dx = regs->rdx,
		.ax = regs->rax,
		.cx = regs->rcx,
		.sp = regs->rsp,
		.ip = regs->rip,
		.flags = regs->eflags,
		.cs = (uint16_t)regs->cs,
		.ss = (uint16_t)regs->ss,
		.ss_flags = ALTSTACK_KEEP,
	};
	if ((int64_t)regs->orig_rax < 0)
		return;
	if (value == -ERESTARTSYS || value == -ERESTARTNOINTR || value == -ERESTARTNOHAND)
		frame->ax = regs->orig_rax;
	else if (value == -ERESTART_RESTARTBLOCK)
		frame->ax = SYS_restart_syscall;
	else
		return;
	frame->ip -= 2;
}

static void put(uint8_t *image, uint64_t start, uint64_t addr, const void *data, size_t len)
{
	memcpy(image + (addr - start), data, len);
}

int arch_frames_write(const struct arch_site *site, int mem_fd, const struct arch_state *state, uint64_t sigmask,
		      struct arch_frames *ret_frames)
{
	static uint8_t image[ARCH_SITE_BYTES];
	size_t used = state->xstate_len ? xstate_used(state) : 0;
	uint32_t sw[5] = { XSAVE_MAGIC1, (uint32_t)used + 4, 0, 0, (uint32_t)used };
	const uint32_t magic2 = XSAVE_MAGIC2;
	struct frame parent, child;
	uint64_t top = site->stack_low + ARCH_SITE_BYTES, xsave;

	if (used < XSAVE_LEGACY || used + 4096 > ARCH_SITE_BYTES / 2)
		return -ENOTSUP;
	/* The parent's frame is the lowest: a signal handler started on it may
	 * write below it, and so never over the child's. */
	xsave = (top - used - 4) & ~63ull;
	ret_frames->child = ((xsave - sizeof(child)) & ~15ull) - 8;
	ret_frames->parent = ((ret_frames->child - sizeof(parent)) & ~15ull) - 8;
	ret_frames->start = ret_frames->parent;
	ret_frames->len = (size_t)(xsave + used + 4 - ret_frames->start);

	memset(image, 0, ret_frames->len);
	frame_resume(&parent, &state->resume);
	parent.return_address = site->sigreturn;
	parent.uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	parent.fpstate = xsave;
	parent.sigmask = sigmask;
	child = (struct frame){
		.return_address = site->sigreturn,
		.uc_flags = UC_STRICT_RESTORE_SS,
		.ss_flags = ALTSTACK_KEEP,
		.ax = SYS_exit_group,
		.di = ARCH_CHILD_EXIT,
		.ip = site->call_ret,
		.sp = ret_frames->child + 8,
		.flags = 0x202,
		.cs = parent.cs,
		.ss = parent.ss,
		.sigmask = ~0ull,
	};
	put(image, ret_frames->start, ret_frames->parent, &parent, sizeof(parent));
	put(image, ret_frames->start, ret_frames->child, &child, sizeof(child));
	put(image, ret_frames->start, xsave, state->xstate, used);
	memcpy(&sw[2], state->xstate + XSAVE_SW, 8); /* ptrace puts the feature mask there */
	memset(image + (xsave - ret_frames->start) + XSAVE_SW, 0, 48);
	put(image, ret_frames->start, xsave + XSAVE_SW, sw, sizeof(sw));
	put(image, ret_frames->start, xsave + used, &magic2, sizeof(magic2));

	if (pread(mem_fd, ret_frames->old, ret_frames->len, (off_t)ret_frames->start) != (ssize_t)ret_frames->len ||
	    pwrite(mem_fd, image, ret_frames->len, (off_t)ret_frames->start) != (ssize_t)ret_frames->len)
		return -EFAULT;
	return 0;
}

int arch_frames_erase(const struct arch_frames *frames, int mem_fd)
{
	ssize_t n = pwrite(mem_fd, frames->old, frames->len, (off_t)frames->start);

	return n == (ssize_t)frames->len ? 0 : -EFAULT;
}

void arch_call(const struct arch_site *site, const struct arch_frames *frames, const struct arch_state *state, long nr,
	       const uint64_t arg[6], struct user_regs_struct *ret_regs)
{
	*ret_regs = state->resume;
	ret_regs->rip = site->call_ret;
	ret_regs->rsp = frames->parent;
	ret_regs->rax = (unsigned long long)nr;
	ret_regs->orig_rax = (unsigned long long)-1;
	ret_regs->rdi = arg[0];
	ret_regs->rsi = arg[1];
	ret_regs->rdx = arg[2];
	ret_regs->r10 = arg[3];
	ret_regs->r8 = arg[4];
	ret_regs->r9 = arg[5];
}
