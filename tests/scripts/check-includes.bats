#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The check of the rooms finds what it is there for.

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir -p "$TREE/src/bpf"
	echo '#include "util.h"' >"$TREE/src/err.h"
	: >"$TREE/src/util.h"
}

check() {
	run "$ROOT/scripts/check-includes" "$TREE"
}

@test "the repository itself is right" {
	run "$ROOT/scripts/check-includes"
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "a small right tree" {
	echo '#include "err.h"' >"$TREE/src/engine.c"
	check
	[ "$status" -eq 0 ]
}

@test "a room may not include a higher one" {
	echo '#include "options.h"' >"$TREE/src/buf.c"
	check
	[ "$status" -eq 1 ]
	[ "$output" = 'src/buf.c:1: BASE may not include "options.h" of POLICY' ]
}

@test "rooms of one level may not include one another" {
	printf '\n#include "stack.h"\n' >"$TREE/src/tracer.c"
	check
	[ "$status" -eq 1 ]
	[ "$output" = 'src/tracer.c:2: WATCH may not include "stack.h" of UNDERSTAND' ]
}

@test "the dump worker may include the analyst's message contract, nobody else may" {
	echo '#include "analyst.h"' >"$TREE/src/dump.c"
	check
	[ "$status" -eq 0 ]
	echo '#include "analyst.h"' >"$TREE/src/core.c"
	check
	[ "$status" -eq 1 ]
}

@test "a file without a room" {
	: >"$TREE/src/helpers.c"
	check
	[ "$status" -eq 1 ]
	[[ $output == 'src/helpers.c:1: is in no room:'* ]]
}

@test "a header without a room" {
	echo '#include "helpers.h"' >"$TREE/src/engine.c"
	check
	[ "$status" -eq 1 ]
	[ "$output" = 'src/engine.c:1: "helpers.h" is in no room' ]
}

@test "one library, one room" {
	local file line
	while IFS='|' read -r file line; do
		echo "$line" >"$TREE/src/$file"
		check
		echo "$file: $output"
		[ "$status" -eq 1 ]
		[[ $output == "src/$file:1: "*': only in '* ]]
		rm "$TREE/src/$file"
	done <<-'END'
		engine.c|#include <bpf/libbpf.h>
		engine.c|#include "requests.skel.h"
		dump.c|	ptrace(PTRACE_SEIZE, pid, 0, 0);
		snapshot.c|#include <sys/ptrace.h>
		lang_php.c|#include <elfutils/libdw.h>
		core.c|#include <zstd.h>
		action.c|	pid_t pid = fork();
		action.c|	execve(path, argv, envp);
		action.c|	return posix_spawn(&pid, path, NULL, NULL, argv, envp);
		cmd_show.c|	system("gdb");
		child.c|	f = popen(line, "r");
		rule.c|#include <confuse.h>
		cmd_demo.c|#include <microhttpd.h>
		analyst.c|#include <seccomp.h>
		buf.c|#include "log.h"
	END
}

@test "the owner of a library may use it; words in comments and longer names are no use" {
	echo '#include <zstd.h>' >"$TREE/src/frames.c"
	printf '/* not fork() */\n\tchild_fork(1);\n\tloop->system(2);\n' >"$TREE/src/action.c"
	echo '#include <bpf/bpf_helpers.h>' >"$TREE/src/bpf/requests.bpf.c"
	check
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "no sources is a mistake too" {
	rm "$TREE"/src/*.h
	check
	[ "$status" -eq 1 ]
}
