// SPDX-License-Identifier: MIT
/* The self-restoring frame as the kernel will read it, and what registers say. */
#include "arch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define LOW 0x10000ull
#define HIGH (LOW + (132u << 10))

static const struct arch_site site = {
	.call_ret = 0x400010, .sigreturn = 0x400020, .stack_low = LOW, .stack_high = HIGH
};
static int mem_fd = -1; /* a file plays the target's memory: its offsets are addresses */
static struct arch_frames frames;

static int set_up(void **state)
{
	(void)state;
	mem_fd = memfd_create("test_arch", MFD_CLOEXEC);
	return mem_fd < 0 || ftruncate(mem_fd, HIGH) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(mem_fd);
	return 0;
}

static uint64_t word(uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(pread(mem_fd, &value, sizeof(value), (off_t)addr), sizeof(value));
	return value;
}

static uint32_t half(uint64_t addr)
{
	return (uint32_t)word(addr);
}

static struct arch_state waiting(int64_t rax, int64_t orig_rax)
{
	static uint8_t xstate[16384];
	struct arch_state st = { .xstate = xstate, .xstate_len = arch_xstate_size() };

	memset(xstate, 0, sizeof(xstate));
	xstate[0] = 0x7f;
	xstate[464] = 0x07; /* features, where ptrace puts them */
	xstate[512] = 0x03; /* x87 and SSE are in use */
	st.regs = (struct user_regs_struct){ .rip = 0x7000,
					     .rsp = HIGH - 4096,
					     .rbx = 0xb,
					     .rcx = 0xc,
					     .r11 = 0x11,
					     .cs = 0x33,
					     .ss = 0x2b,
					     .eflags = 0x246,
					     .rax = (unsigned long long)rax,
					     .orig_rax = (unsigned long long)orig_rax };
	st.resume = st.regs;
	return st;
}

/* Offsets in the kernel's rt_sigframe: uc_flags 8, ss_flags 32, r8 48 ... ax 152, cx 160,
 * sp 168, ip 176, flags 184, cs 192, fpstate 232, sigmask 304. */
static void test_frames(void **state)
{
	struct arch_state st = waiting(-514, SYS_epoll_wait);
	uint64_t parent, child, xsave;

	(void)state;
	assert_int_equal(pwrite(mem_fd, "old", 3, LOW + ARCH_SITE_BYTES - 600), 3);
	assert_int_equal(arch_frames_write(&site, mem_fd, &st, 0xabc, &frames), 0);
	parent = frames.parent;
	child = frames.child;
	assert_int_equal(parent % 16, 8);
	assert_int_equal(child % 16, 8);
	assert_true(parent >= LOW + ARCH_SITE_BYTES / 4); /* room for a signal handler below */
	assert_true(child >= parent + 312);
	assert_int_equal(word(parent), site.sigreturn);
	assert_int_equal(half(parent + 8), 7);
	assert_int_equal(half(parent + 32), 0x7f00);
	assert_int_equal(word(parent + 152), SYS_epoll_wait); /* the call starts again */
	assert_int_equal(word(parent + 160), 0xc);
	assert_int_equal(word(parent + 168), HIGH - 4096);
	assert_int_equal(word(parent + 176), 0x7000 - 2);
	assert_int_equal(word(parent + 184), 0x246);
	assert_int_equal(word(parent + 192), 0x33ull | 0x2bull << 48);
	assert_int_equal(word(parent + 304), 0xabc);
	xsave = word(parent + 232);
	assert_int_equal(xsave % 64, 0);
	assert_true(xsave >= child + 312);
	assert_true(xsave + 576 + 4 <= LOW + ARCH_SITE_BYTES);
	assert_int_equal(half(xsave), 0x7f);
	assert_int_equal(half(xsave + 464), 0x46505853);
	assert_int_equal(half(xsave + 468), 576 + 4); /* only what is in use */
	assert_int_equal(word(xsave + 472), 7);
	assert_int_equal(half(xsave + 480), 576);
	assert_int_equal(half(xsave + 576), 0x46505845);

	assert_int_equal(word(child), site.sigreturn);
	assert_int_equal(word(child + 152), SYS_exit_group);
	assert_int_equal(word(child + 176), site.call_ret);
	assert_int_equal(word(child + 232), 0);
	assert_int_equal(word(child + 304), ~0ull);

	assert_int_equal(arch_frames_erase(&frames, mem_fd), 0);
	assert_int_equal(word(parent), 0);
	assert_int_equal(half(LOW + ARCH_SITE_BYTES - 600) & 0xffffff, 'o' | 'l' << 8 | 'd' << 16);
}

static void test_restarts(void **state)
{
	static const struct {
		int64_t rax, orig_rax;
		uint64_t want_rax;
		bool rewound;
	} rows[] = {
		{ -512, SYS_read, SYS_read, true },
		{ -513, SYS_clone, SYS_clone, true },
		{ -514, SYS_pause, SYS_pause, true },
		{ -516, SYS_nanosleep, SYS_restart_syscall, true },
		{ 5, SYS_read, 5, false },
		{ -4, SYS_close, (uint64_t)-4, false },
		{ -512, -1, (uint64_t)-512, false }, /* in user mode: just a value */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arch_state st = waiting(rows[i].rax, rows[i].orig_rax);

		assert_int_equal(arch_frames_write(&site, mem_fd, &st, 0, &frames), 0);
		assert_int_equal(word(frames.parent + 152), rows[i].want_rax);
		assert_int_equal(word(frames.parent + 176), rows[i].rewound ? 0x6ffe : 0x7000);
	}
}

static void test_call(void **state)
{
	struct arch_state st = waiting(-512, SYS_read);
	const uint64_t arg[6] = { 1, 2, 3, 4, 5, 6 };
	struct user_regs_struct regs;

	(void)state;
	assert_int_equal(arch_frames_write(&site, mem_fd, &st, 0, &frames), 0);
	arch_call(&site, &frames, &st, SYS_wait4, arg, &regs);
	assert_int_equal(regs.rip, site.call_ret);
	assert_int_equal(regs.rsp, frames.parent);
	assert_int_equal(regs.rax, SYS_wait4);
	assert_int_equal(regs.orig_rax, -1); /* else the kernel restarts the old call */
	assert_int_equal(regs.rdi, 1);
	assert_int_equal(regs.r10, 4);
	assert_int_equal(regs.r9, 6);
	assert_int_equal(regs.rbx, 0xb);
}

static void test_unused(void **state)
{
	static uint8_t bytes[ARCH_SITE_BYTES];
	struct arch_state st = waiting(0, -1);

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	assert_true(arch_site_unused(&site, bytes));
	bytes[sizeof(bytes) - 1] = 1;
	assert_false(arch_site_unused(&site, bytes));
	bytes[sizeof(bytes) - 1] = 0;
	bytes[100] = 1;
	assert_false(arch_site_unused(&site, bytes));
	/* what a killed worker left */
	assert_int_equal(arch_frames_write(&site, mem_fd, &st, 0, &frames), 0);
	assert_int_equal(pread(mem_fd, bytes, sizeof(bytes), LOW), sizeof(bytes));
	assert_true(arch_site_unused(&site, bytes));
	bytes[8] = 1; /* and something else below */
	assert_false(arch_site_unused(&site, bytes));
}

static ssize_t code_read(void *arg, uint64_t addr, void *buf, size_t len)
{
	(void)addr;
	memcpy(buf, arg, len);
	return (ssize_t)len;
}

static void test_syscall(void **state)
{
	uint8_t code[7] = { 0xb8, SYS_poll, 0, 0, 0, 0x0f, 0x05 };
	struct memory mem = { .read = code_read, .arg = code };
	struct arch_state st = waiting(-516, SYS_restart_syscall);
	uint64_t arg[6];

	(void)state;
	st.regs.rdi = 7;
	assert_int_equal(arch_syscall(&st.regs, &mem, "", arg), SYS_poll);
	assert_int_equal(arg[0], 7);
	code[0] = 0x90;
	assert_int_equal(arch_syscall(&st.regs, &mem, "hrtimer_nanosleep", arg), SYS_clock_nanosleep);
	assert_int_equal(arch_syscall(&st.regs, NULL, NULL, arg), SYS_restart_syscall);
	st = waiting(-4, SYS_epoll_wait);
	assert_int_equal(arch_syscall(&st.regs, &mem, "", arg), SYS_epoll_wait);
	st = waiting(3, SYS_read); /* it had ended */
	assert_int_equal(arch_syscall(&st.regs, &mem, "", arg), -1);
	st = waiting(-512, -1);
	assert_int_equal(arch_syscall(&st.regs, &mem, "", arg), -1);
}

/* In our own code all that is needed is there. */
static void test_site(void **state)
{
	int self = open("/proc/self/mem", O_RDONLY | O_CLOEXEC),
	    dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct memory mem = memory_of_fd(&self);
	struct proc_maps maps;
	struct arch_site found;
	const char *missing;

	(void)state;
	assert_int_equal(proc_maps_read(dir, false, &maps, NULL), 0);
	assert_int_equal(arch_site_find(&maps, &mem, &found, &missing), 0);
	assert_true(arch_site_holds(&found, &mem));
	assert_true(found.stack_low < (uintptr_t)&found && (uintptr_t)&found < found.stack_high);
	found.call_ret++;
	assert_false(arch_site_holds(&found, &mem));
	for (size_t i = 0; i < maps.count; i++)
		maps.map[i].executable = false;
	assert_int_equal(arch_site_find(&maps, &mem, &found, &missing), -ENOENT);
	assert_non_null(strstr(missing, "syscall; ret"));
	proc_maps_free(&maps);
	close(self);
	close(dir);
}

/* Registers that are read when the thread has been told to start its call again. */
static void test_as_found(void **unused)
{
	struct arch_state state = { .regs = { .orig_rax = SYS_epoll_wait, .rax = (uint64_t)-514, .rip = 0x400012 } };

	(void)unused;
	arch_as_found(&state);
	assert_int_equal((int64_t)state.regs.rax, -EINTR);
	assert_int_equal((int64_t)state.resume.rax, -514);
	assert_int_equal(state.resume.rip, 0x400012);
	assert_int_equal(state.resume.orig_rax, SYS_epoll_wait);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames), cmocka_unit_test(test_restarts), cmocka_unit_test(test_call),
		cmocka_unit_test(test_unused), cmocka_unit_test(test_as_found), cmocka_unit_test(test_syscall),
		cmocka_unit_test(test_site),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
