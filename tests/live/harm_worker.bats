#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The dump worker killed, stopped, orphaned, slowed down, its calls and allocations
# failing: what becomes of the process that it dumps. A sample; all: ./run bench harm N.

load helpers

setup() {
	need_watch
}

harm() { # POINTS OPTIONS...: of tests/harm/harm.c
	run timeout 280 "$ROOT/tests/harm/run" "$REQTRAP" "$@"
	echo "# ${lines[-1]}" >&3
	is "$status" 0 "$output"
}

@test "killed at its system calls, and at any instant: 300 times" {
	harm 300 -w kill
}

@test "its system calls fail, one after the other" {
	harm 100 -w fail
}

@test "its allocations fail, once and for ever" {
	harm 60 -w alloc
}

@test "stopped itself: a watchdog lets the process go" {
	harm 6 -w hang
}

@test "each of its ptrace calls takes 100 ms more" {
	harm 4 -w delay
}

@test "its parent is killed, and both at once" {
	harm 12 -w parent
	harm 12 -w orphan
}

@test "killed while it looks at the process that another one waits for: both go on" {
	run timeout 280 python3 "$ROOT/tests/harm/beyond_kill.py" "$REQTRAP" 80
	echo "# ${lines[-1]}" >&3
	is "$status" 0 "$output"
}

@test "a call that fails is told by the command: exit code, words, no file, no harm" {
	need strace
	live_begin
	local rule call victim folder=$BATS_TEST_TMPDIR/dumps
	mkdir -m 700 "$folder"
	sleep 300 3>&- &
	victim=$!
	remember "$victim"
	for rule in fsync:EIO:1 linkat:ENOSPC:1 write:ENOSPC:2+ pwrite64:ENOSPC:1+ memfd_create:EMFILE:1+; do
		IFS=: read -r call error when <<<"$rule"
		status=0
		timeout 60 strace -f -qq -o "$BATS_TEST_TMPDIR/trace" -e trace="$call" -e inject="$call:error=$error:when=$when" \
			"$REQTRAP" dump --json --compress none -o "$folder/core" "$victim" \
			>"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- || status=$?
		if grep -q INJECTED "$BATS_TEST_TMPDIR/trace" && [[ $status != 0 ]]; then
			is "$status" 3 "exit code with $rule"
			[[ -s $BATS_TEST_TMPDIR/err ]] || fail "nothing is said with $rule"
			is "$(ls -A "$folder")" "" "files with $rule"
		fi
		rm -f "$folder/core"
		is "$(awk '/^State/ { print $2 }' "/proc/$victim/status")" S "state with $rule"
		is "$(awk '/^TracerPid/ { print $2 }' "/proc/$victim/status")" 0 "tracer with $rule"
	done
	grep -q INJECTED "$BATS_TEST_TMPDIR/trace" || :
	live_end
}
