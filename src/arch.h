/* SPDX-License-Identifier: MIT */
/* What depends on the CPU: registers of a stopped thread, which of its system calls
 * our stop cut short, and the self-restoring frame that makes a call injected into it
 * survive our own death. Knows ptrace's register calls; does not stop or resume
 * anything and does not know why a call is injected. One arch_X.c per CPU.
 * All functions on a tid need it ptrace-stopped by the caller; none of them blocks. */
#ifndef REQTRAP_ARCH_H
#define REQTRAP_ARCH_H

#include "memory.h"
#include "proc.h"

#include <sys/user.h>

#define ARCH_ELF_MACHINE 62	    /* EM_X86_64 */
#define ARCH_SITE_BYTES (32u << 10) /* low end of [stack] that frames may use */
#define ARCH_STACK_FREE (48u << 10) /* least distance of the stack pointer from that low end */
#define ARCH_RED_ZONE 128u

struct arch_state {
	struct user_regs_struct regs;	/* as found */
	struct user_regs_struct resume; /* as to be left: a call that we cut short starts again */
	uint8_t *xstate;		/* NT_X86_XSTATE; the caller's arch_xstate_size() bytes, or NULL */
	size_t xstate_len;		/* 0: not read */
};

/* Bytes that NT_X86_XSTATE can take on this CPU. */
size_t arch_xstate_size(void);

/* Reads registers; 'resume' is set so that a call which our stop made return EINTR
 * starts again. -ENOTSUP: not a 64-bit thread. */
int arch_read(pid_t tid, struct arch_state *state);
/* Of a thread that was set to an earlier 'resume', and read again: 'regs' as they were before. */
void arch_as_found(struct arch_state *state);
int arch_set(pid_t tid, const struct user_regs_struct *regs);
bool arch_stands(pid_t tid, const struct user_regs_struct *regs); /* with exactly these registers */
int arch_result(pid_t tid, int64_t *ret_value);			  /* what the last system call returned */

/* The extended registers as debuggers expect them in a core: they know one layout, that
 * of Intel; AMD's differs. Returns the length in 'out'; 0: they are in that layout already. */
#define ARCH_XSTATE_CORE_BYTES 2696
size_t arch_xstate_core(const struct arch_state *state, uint8_t out[ARCH_XSTATE_CORE_BYTES]);

uint64_t arch_sp(const struct user_regs_struct *regs);

/* The call the thread came into the kernel by, finished or not; -1: by none. */
long arch_call_of(const struct user_regs_struct *regs);

/* The thread's control block: thread libraries put it on top of the stack that they
 * make, so that a stack below it in the same mapping ends there. */
uint64_t arch_thread_block(const struct user_regs_struct *regs);
#define ARCH_THREAD_BLOCK_BYTES 4096u /* at most, from there */

/* The call the thread waits in: its number, and arguments; -1 when it waits in none.
 * 'mem' resolves restart_syscall to the call that is started again, else wchan does. */
long arch_syscall(const struct user_regs_struct *regs, const struct memory *mem, const char *wchan,
		  uint64_t ret_arg[6]);

/* Registers of a thread that could not be stopped, as far as /proc knows them. */
void arch_regs_guess(const struct proc_syscall *sc, struct user_regs_struct *ret_regs);

/* True when the thread is inside a restartable sequence (rseq): its registers must
 * not be changed then. */
bool arch_in_rseq(pid_t tid, const struct user_regs_struct *regs, const struct memory *mem);

/* Where calls can be injected: two byte runs in the target's own code, and the low
 * end of its main stack. */
struct arch_site {
	uint64_t call_ret;  /* 'syscall; ret' */
	uint64_t sigreturn; /* the libc's signal restorer */
	uint64_t stack_low, stack_high;
};

/* Reads the target's code, stops nothing. -ENOENT with the missing thing in ret_missing. */
int arch_site_find(const struct proc_maps *maps, const struct memory *mem, struct arch_site *ret_site,
		   const char **ret_missing);
bool arch_site_holds(const struct arch_site *site, const struct memory *mem); /* still the same bytes */

/* Is the low end of the main stack ('bytes': all ARCH_SITE_BYTES of it) free of anything
 * but zeros and the frames that an earlier call, whose maker died, may have left? */
bool arch_site_unused(const struct arch_site *site, const uint8_t *bytes);

/* The frames of one injected call, as written into the target. */
struct arch_frames {
	uint64_t start, parent, child;
	size_t len;
	uint8_t old[ARCH_SITE_BYTES]; /* what was there */
};

/* Writes the frames (mem_fd: /proc/PID/mem, read-write). Registers are untouched. */
int arch_frames_write(const struct arch_site *site, int mem_fd, const struct arch_state *state, uint64_t sigmask,
		      struct arch_frames *ret_frames);
int arch_frames_erase(const struct arch_frames *frames, int mem_fd); /* puts back what was there */

/* Registers that run one system call and then return into the parent frame. For a
 * clone the new stack is frames->child: that ends in exit_group(ARCH_CHILD_EXIT). */
#define ARCH_CHILD_EXIT 197 /* like no other program's, so that it is known for ours */
void arch_call(const struct arch_site *site, const struct arch_frames *frames, const struct arch_state *state, long nr,
	       const uint64_t arg[6], struct user_regs_struct *ret_regs);

#endif
