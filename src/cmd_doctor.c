// SPDX-License-Identifier: MIT
/* Each thing that reqtrap needs, tried as far as that harms nothing, as one row: what
 * was found, and for a 'no' what to do. Rejected: reading kernel versions. Trap: root
 * in a container has capabilities by name that the kernel does not honour, so the BPF
 * row loads a program of two instructions for true. */
#include "cmd.h"
#include "ktime.h"
#include "log.h"
#include "store.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define BTF_MAX (64u << 20)
#define SPACE_WANTED (1ull << 30)
#define GRANT "run as root, or 'setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep' on the program"

struct finding {
	bool ok;
	char found[256];
	char fix[512]; /* for a 'no' */
};

/* What several rows look at. */
struct patient {
	char *btf; /* NULL: cannot be read */
	size_t btf_len;
	int btf_errno;
	uint64_t caps; /* effective */
};

static void found(struct finding *f, bool ok, const char *fmt, ...) PRINTF(3, 4);
static void found(struct finding *f, bool ok, const char *fmt, ...)
{
	va_list ap;

	f->ok = ok;
	va_start(ap, fmt);
	vsnprintf(f->found, sizeof(f->found), fmt, ap);
	va_end(ap);
}

static void fix(struct finding *f, const char *fmt, ...) PRINTF(2, 3);
static void fix(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->fix, sizeof(f->fix), fmt, ap);
	va_end(ap);
}

/* At most max bytes of a file, NUL-terminated. Negative errno. */
static ssize_t read_file(const char *path, size_t max, char **ret_text)
{
	CLEAN(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL, *more;
	size_t len = 0, cap = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (;;) {
		if (len + 1 >= cap) {
			cap = cap ? MIN(cap * 2, max + 1) : 65536;
			more = len < max ? realloc(text, cap) : NULL;
			if (!more) {
				free(text);
				return len < max ? -ENOMEM : -EFBIG;
			}
			text = more;
		}
		n = read(fd, text + len, cap - 1 - len);
		if (n < 0) {
			n = -errno;
			free(text);
			return n;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret_text = text;
	return (ssize_t)len;
}

static bool btf_has(const struct patient *p, const char *name)
{
	/* BTF's strings are NUL-terminated, and so is the one before */
	char whole[80];
	int len = snprintf(whole + 1, sizeof(whole) - 1, "%s", name);

	whole[0] = '\0';
	return p->btf && memmem(p->btf, p->btf_len, whole, (size_t)len + 2) != NULL;
}

static bool has_cap(const struct patient *p, int cap)
{
	return p->caps >> cap & 1;
}

static void check_btf(const struct patient *p, struct finding *f)
{
	if (p->btf) {
		found(f, true, "%s, %zu KiB", BTF_PATH, p->btf_len >> 10);
		return;
	}
	found(f, false, "%s: %s", BTF_PATH, strerror(p->btf_errno));
	fix(f, "a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's and most others are since 2020");
}

static void check_hooks(const struct patient *p, struct finding *f)
{
	bool sock = btf_has(p, "btf_trace_sock_recv_length") && btf_has(p, "btf_trace_sock_send_length");
	bool calls = btf_has(p, "btf_trace_sys_exit");

	if (sock)
		found(f, true, "sock_recv_length, sock_send_length");
	else if (calls)
		found(f, true, "no sock_recv_length: falls back to the system calls' tracepoints");
	else
		found(f, false, "neither sock_recv_length nor sys_exit is there to attach to");
	fix(f, "a kernel with CONFIG_FTRACE_SYSCALLS, or Linux 6.3 and later");
}

static void check_timer(const struct patient *p, struct finding *f)
{
	bool ok = btf_has(p, "bpf_timer_start") && btf_has(p, "bpf_ringbuf_reserve");

	found(f, ok, ok ? "bpf_timer, ring buffer" : "bpf_timer is missing");
	fix(f, "Linux 5.15 or later");
}

/* r0 = 0; exit */
static const struct bpf_insn nothing[] = {
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
	{ .code = BPF_JMP | BPF_EXIT },
};

static void check_bpf(const struct patient *p UNUSED, struct finding *f)
{
	static const char license[] = "Dual BSD/GPL";
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT;
	attr.insn_cnt = ARRAY_LEN(nothing);
	attr.insns = (uint64_t)(uintptr_t)nothing;
	attr.license = (uint64_t)(uintptr_t)license;
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0) {
		close(fd);
		found(f, true, "a tracing program can be loaded");
		return;
	}
	found(f, false, "a tracing program cannot be loaded: %s", strerror(errno));
	if (errno == ENOSYS)
		fix(f, "a kernel with CONFIG_BPF_SYSCALL");
	else
		fix(f, GRANT "; in a container it needs these from outside, without a user namespace");
}

static void check_lockdown(const struct patient *p UNUSED, struct finding *f)
{
	CLEAN(free) char *text = NULL;

	if (read_file("/sys/kernel/security/lockdown", 4096, &text) < 0 || !strstr(text, "[confidentiality]")) {
		found(f, true, "the kernel lets programs read memory");
		return;
	}
	found(f, false, "the kernel is locked down: confidentiality");
	fix(f, "boot with lockdown=integrity or without lockdown");
}

static void check_cap(const struct patient *p, struct finding *f, int cap, const char *what)
{
	/* what CAP_BPF and CAP_PERFMON were split from still does for both */
	bool by_admin = (cap == CAP_BPF || cap == CAP_PERFMON) && has_cap(p, CAP_SYS_ADMIN);

	found(f, has_cap(p, cap) || by_admin, "%s%s",
	      has_cap(p, cap) ? ""
	      : by_admin      ? "by CAP_SYS_ADMIN: "
			      : "missing: ",
	      what);
	fix(f, GRANT);
}

static void check_cap_bpf(const struct patient *p, struct finding *f)
{
	check_cap(p, f, CAP_BPF, "load programs");
}

static void check_cap_perfmon(const struct patient *p, struct finding *f)
{
	check_cap(p, f, CAP_PERFMON, "attach them");
}

static void check_cap_ptrace(const struct patient *p, struct finding *f)
{
	check_cap(p, f, CAP_SYS_PTRACE, "capture other users' processes");
}

static void check_cap_dac(const struct patient *p, struct finding *f)
{
	check_cap(p, f, CAP_DAC_READ_SEARCH, "read other users' memory and files");
}

static void check_yama(const struct patient *p, struct finding *f)
{
	static const char *const meaning[] = { "0: processes of the same user", "1: only one's own children",
					       "2: only with CAP_SYS_PTRACE", "3: nobody" };
	CLEAN(free) char *text = NULL;
	long scope;

	if (read_file("/proc/sys/kernel/yama/ptrace_scope", 64, &text) < 0) {
		found(f, true, "no Yama");
		return;
	}
	scope = strtol(text, NULL, 10);
	found(f, scope == 0 || (scope < 3 && has_cap(p, CAP_SYS_PTRACE)), "ptrace_scope %s",
	      scope >= 0 && scope < 4 ? meaning[scope] : text);
	if (scope == 3)
		fix(f, "kernel.yama.ptrace_scope = 3 holds until the next boot; set it lower in /etc/sysctl.d");
	else
		fix(f, GRANT);
}

static void check_memfd(const struct patient *p UNUSED, struct finding *f)
{
	CLEAN(fd) int fd = memfd_create("reqtrap", MFD_CLOEXEC);

	found(f, fd >= 0, fd >= 0 ? "memory files" : "no memory files: %s", strerror(errno));
	fix(f, "a kernel with CONFIG_MEMFD_CREATE, and a seccomp profile that allows memfd_create");
}

static void check_pidfd(const struct patient *p UNUSED, struct finding *f)
{
	CLEAN(fd) int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	found(f, fd >= 0, fd >= 0 ? "processes by descriptor" : "no pidfd_open: %s", strerror(errno));
	fix(f, "Linux 5.3 or later, and a seccomp profile that allows pidfd_open");
}

static void check_seccomp(const struct patient *p UNUSED, struct finding *f)
{
	bool ok = access("/proc/sys/kernel/seccomp/actions_avail", R_OK) == 0;

	found(f, ok, ok ? "stacks are read in a sandbox" : "no seccomp filters");
	fix(f, "a kernel with CONFIG_SECCOMP_FILTER");
}

/* Where the store is or will be: the first folder upwards that is there. */
static void existing_parent(const char *path, char *buf, size_t size)
{
	struct stat st;

	snprintf(buf, size, "%s", path);
	while (stat(buf, &st) < 0) {
		char *slash = strrchr(buf, '/');

		if (!slash || slash == buf) {
			snprintf(buf, size, "/");
			return;
		}
		*slash = '\0';
	}
}

static void check_store(const struct patient *p UNUSED, struct finding *f)
{
	CLEAN(free) char *dir = store_default_dir();
	struct store *store = NULL;
	char there[4096];
	struct err err;
	int code;

	if (!dir) {
		found(f, false, "no home directory is known");
		fix(f, "set REQTRAP_STORE, or give -o DIR");
		return;
	}
	code = store_open(dir, false, &store, &err);
	store_free(store);
	existing_parent(dir, there, sizeof(there));
	if (code < 0 && code != -ENOENT) {
		found(f, false, "%s", err.text);
		fix(f, "set REQTRAP_STORE, or give -o DIR: a folder that only you may write");
	} else if (access(there, W_OK | X_OK) < 0) {
		found(f, false, "'%s' may not be written: %s", there, strerror(errno));
		fix(f, "run as its owner, set REQTRAP_STORE, or give -o DIR");
	} else {
		found(f, true, "%s%s", dir, code == -ENOENT ? " (made at the first watch)" : "");
	}
}

static void check_space(const struct patient *p UNUSED, struct finding *f)
{
	CLEAN(free) char *dir = store_default_dir();
	struct statvfs vfs;
	char there[4096];
	uint64_t bytes;

	existing_parent(dir ? dir : "/", there, sizeof(there));
	if (statvfs(there, &vfs) < 0) {
		found(f, false, "'%s': %s", there, strerror(errno));
		return;
	}
	bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	found(f, bytes >= SPACE_WANTED, "%.1f GiB free at '%s'", (double)bytes / (1ull << 30), there);
	fix(f,
	    "free some space, or put the store elsewhere (-o DIR): a full core needs as much as the process's memory");
}

static void check_gdb(const struct patient *p UNUSED, struct finding *f)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (const char *at = path ? path : ""; *at;) {
		size_t len = strcspn(at, ":");

		snprintf(file, sizeof(file), "%.*s/gdb", (int)len, at);
		if (len && access(file, X_OK) == 0) {
			found(f, true, "%s", file);
			return;
		}
		at += len + (at[len] == ':');
	}
	found(f, false, "not found: only 'reqtrap open' needs it");
	fix(f, "apt install gdb");
}

static const struct check {
	const char *name;
	bool required; /* a 'no' here means that watch or dump cannot work */
	void (*run)(const struct patient *p, struct finding *f);
} checks[] = {
	{ "btf", true, check_btf },
	{ "hooks", true, check_hooks },
	{ "timer", true, check_timer },
	{ "bpf", true, check_bpf },
	{ "lockdown", true, check_lockdown },
	{ "CAP_BPF", true, check_cap_bpf },
	{ "CAP_PERFMON", true, check_cap_perfmon },
	{ "CAP_SYS_PTRACE", true, check_cap_ptrace },
	{ "CAP_DAC_READ_SEARCH", false, check_cap_dac },
	{ "ptrace", true, check_yama },
	{ "memfd", true, check_memfd },
	{ "pidfd", true, check_pidfd },
	{ "seccomp", false, check_seccomp },
	{ "store", true, check_store },
	{ "space", false, check_space },
	{ "gdb", false, check_gdb },
};

static void examine(struct patient *p)
{
	CLEAN(free) char *status = NULL;
	ssize_t n = read_file(BTF_PATH, BTF_MAX, &p->btf);
	const char *caps;

	if (n < 0)
		p->btf_errno = (int)-n;
	else
		p->btf_len = (size_t)n;
	if (read_file("/proc/self/status", 65536, &status) < 0 || !status)
		return;
	caps = strstr(status, "\nCapEff:");
	if (caps)
		p->caps = strtoull(caps + 8, NULL, 16);
}

static void print_text(const struct check *check, const struct finding *f)
{
	struct buf clean;

	buf_init(&clean, 4096);
	buf_add_escaped(&clean, f->found, strlen(f->found));
	printf("%-5s %-20s %s\n",
	       f->ok		 ? "yes"
	       : check->required ? "NO"
				 : "no",
	       check->name, clean.data ? clean.data : "");
	if (!f->ok && f->fix[0])
		printf("%26s fix: %s\n", "", f->fix);
	buf_done(&clean);
}

static json_t *as_json(const struct check *check, const struct finding *f)
{
	json_t *text = json_string(f->found);

	return json_pack("{s:s, s:b, s:b, s:o, s:s?}", "name", check->name, "ok", f->ok, "required", check->required,
			 "found", text ? text : json_string("?"), "fix", f->ok || !f->fix[0] ? NULL : f->fix);
}

int cmd_doctor(int argc, char **argv)
{
	struct command_line line;
	struct patient patient = { .btf = NULL };
	struct utsname kernel = { .release = "unknown" };
	json_t *list = NULL;
	bool ready = true;
	int code = verb_begin("doctor", argc, argv, &line);

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count || line.command) {
		log_error("doctor: it takes no arguments");
		return EXIT_MISTAKE;
	}
	uname(&kernel);
	if (option_given(&line, "json"))
		list = json_array();
	else
		printf("Linux %s, uid %u\n", kernel.release, (unsigned int)geteuid());
	examine(&patient);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		struct finding f = { .ok = false };

		checks[i].run(&patient, &f);
		ready &= f.ok || !checks[i].required;
		if (list)
			json_array_append_new(list, as_json(&checks[i], &f));
		else
			print_text(&checks[i], &f);
	}
	free(patient.btf);
	code = ready ? EXIT_DONE : EXIT_REFUSED;
	if (list) {
		json_t *whole = json_pack("{s:b, s:s, s:i, s:o}", "ok", ready, "kernel", kernel.release, "uid",
					  (int)geteuid(), "checks", list);

		if (!whole || json_dumpf(whole, stdout, JSON_COMPACT) < 0 || puts("") == EOF)
			code = EXIT_REFUSED;
		json_decref(whole);
	} else {
		puts(ready ? "reqtrap can watch here" : "reqtrap cannot watch here: mend what says NO");
	}
	return code;
}
