// SPDX-License-Identifier: MIT
/* Programs that return at once, one at each tracepoint named: what it costs to be called at
 * all, the floor under whatever watches there. Says 'attached' and stays until its
 * input ends. empty TRACEPOINT... */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <error.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	char c;

	for (int i = 1; i < argc; i++) {
		LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP);
		int id = libbpf_find_vmlinux_btf_id(argv[i], BPF_TRACE_RAW_TP), prog;

		if (id < 0)
			error(3, -id, "the kernel has no tracepoint '%s'", argv[i]);
		opts.attach_btf_id = (unsigned int)id;
		prog = bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", nothing, 2, &opts);
		if (prog < 0 || bpf_raw_tracepoint_open(NULL, prog) < 0)
			error(1, errno, "cannot attach to '%s'", argv[i]);
	}
	puts("attached");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
