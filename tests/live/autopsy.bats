#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016,SC2030,SC2031,SC2153,SC2154,SC2164
# 'stacks CORE': what is read in a core of ours, of gcore's or of the kernel's is what is
# read in the live process; what is not here is named, and no frame is made up.

load helpers

setup_file() {
	live_begin
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/t_load" "$ROOT/tests/victims/t_load.c" -lpthread
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	cd "$BATS_TEST_TMPDIR"
}

crowd() { # PROGRAM: sets VICTIM, 41 threads
	"$1" threads 50 >said 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 sh -c "[ \"\$(ls /proc/$VICTIM/task | wc -l)\" = 41 ]" || fail "it has no threads"
}

frames() { # of each thread, from JSON on stdin: its id, its call and its functions
	jq -r 'select(.event == "stacks").analysis.thread[] | "\(.tid) \(.call // "-") " +
		([.stack.frame[].function] | join(" "))' | sort -n
}

@test "a core of ours, whole or mini, packed or not, and gcore's: as the live process" {
	crowd "$LIVE/t_load"
	local core live
	live=$("$REQTRAP" stacks --json "$VICTIM" | frames)
	is "$(wc -l <<<"$live")" 41 "threads"
	has "$live" "pause pause idle" "a stack"
	"$REQTRAP" dump -q "$VICTIM" a.core
	"$REQTRAP" dump -q "$VICTIM" b.core.zst
	"$REQTRAP" dump -q --mini "$VICTIM" c.core
	! command -v gcore >/dev/null || gcore -o g "$VICTIM" >/dev/null 2>&1
	for core in ./a.core ./b.core.zst c.core $(ls g.* 2>/dev/null || :); do
		is "$("$REQTRAP" stacks --json "$core" | frames)" "$live" "stacks in $core"
	done
	has "$("$REQTRAP" stacks ./b.core.zst)" "out of ./b.core.zst" "text"
	kill -KILL "$VICTIM"
}

@test "the kernel's own core: the signal, and the thread that got it, first" {
	[[ $(cat /proc/sys/kernel/core_pattern) != '|'* ]] || skip "the kernel hands its cores to a program"
	local core out
	(ulimit -c unlimited && exec "$LIVE/t_load" segv 50 >said 2>&1 3>&-) || :
	core=$(find . -name 'core*' | head -n 1)
	[[ -n $core ]] || skip "the kernel has written no core here"
	out=$("$REQTRAP" stacks "$core")
	has "$out" "ended by signal 11 (SEGV), which thread" "the signal"
	has "$out" "raiser" "the stack of the thread at fault"
	is "$("$REQTRAP" stacks --json "$core" | jq .signal)" 11 "signal"
}

@test "a program that is gone or was built anew: named, not guessed; --exe and --sysroot find it" {
	cp "$LIVE/t_load" ./moved
	crowd "$PWD/moved"
	"$REQTRAP" dump -q "$VICTIM" a.core
	kill -KILL "$VICTIM"
	mkdir -p "root$PWD"
	mv moved "root$PWD/moved"
	local out
	out=$("$REQTRAP" stacks ./a.core)
	has "$out" "$PWD/moved" "the note"
	lacks "$out" "idle" "frames of a program that is not here"
	has "$out" "pause" "frames of a library that is here"
	has "$("$REQTRAP" stacks ./a.core --exe "root$PWD/moved")" "idle" "--exe"
	cp -L --parents "$(ldd "$LIVE/t_load" | awk '/libc.so/ { print $3 }' | xargs readlink -f)" root/
	has "$("$REQTRAP" stacks ./a.core --sysroot "$PWD/root")" "idle" "--sysroot"
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -o moved "$ROOT/tests/victims/t_load.c" -lpthread
	out=$("$REQTRAP" stacks ./a.core)
	has "$out" "moved (another build)" "the note"
	lacks "$out" "idle" "frames of another build"
}

@test "several cores are compared: what grew, which threads are the same" {
	"$LIVE/t_load" grow 50 >said 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 grep -q grown said
	"$REQTRAP" dump -q "$VICTIM" a.core.zst
	wait_for 10 sh -c '[ "$(grep -c grown said)" -gt 1 ]'
	"$REQTRAP" dump -q "$VICTIM" b.core.zst
	kill -KILL "$VICTIM"
	local out
	out=$("$REQTRAP" stacks ./a.core.zst ./b.core.zst --json | tail -n 1)
	is "$(jq -r '.event, .stacks.samples, .pid' <<<"$out" | paste -sd' ')" "compare 2 $VICTIM" "the comparison"
	between "$(jq .memory.grew_bytes <<<"$out")" 33000000 200000000 "bytes that it grew by"
}

@test "a Python server's frames" {
	start_python
	client "$PYTHON_PORT" get /fast >/dev/null
	"$REQTRAP" dump -q "$PYTHON" p.core.zst
	local live core
	live=$("$REQTRAP" stacks --json "$PYTHON" | jq -c '[.analysis.thread[0].script.frame[]?.function]')
	core=$("$REQTRAP" stacks --json ./p.core.zst | jq -c '[.analysis.thread[0].script.frame[]?.function]')
	is "$core" "$live" "the script's frames"
}

@test "what is no core is one clear line" {
	local word status
	printf 'text\n' >text
	: >empty
	mkfifo pipe
	head -c 5000 /dev/urandom >noise
	for word in ./text ./empty ./nowhere ./pipe ./noise . "$REQTRAP"; do
		status=0
		"$REQTRAP" stacks "$word" >out 2>err || status=$?
		is "$status" 2 "exit code of '$word' ($(cat err))"
		one_line "$(cat err)" "message"
		is "$(cat out)" "" "output"
	done
	status=0
	"$REQTRAP" stacks ./text $$ 2>err || status=$?
	is "$status" 2 "exit code of a core and a process"
	status=0
	"$REQTRAP" stacks $$ --exe /bin/true 2>err || status=$?
	is "$status" 2 "exit code of --exe with a process"
}
