#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The stop itself: busy targets, what it may cost, and what killed workers leave.

load helpers

setup_file() {
	live_begin
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/d_odd" "$ROOT/tests/victims/d_odd.c" -lpthread
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	PIDS=()
}

teardown() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
}

odd() { # KIND [N]: a victim that says 'ready': VICTIM
	local said=$BATS_TEST_TMPDIR/said.${#PIDS[@]}
	: >"$said"
	"$LIVE/d_odd" "$@" >"$said" 2>&1 3>&- </dev/null &
	VICTIM=$!
	PIDS+=("$VICTIM")
	remember "$VICTIM"
	wait_for 10 grep -q ready "$said" || fail "the victim is not ready: $(cat "$said")"
}

dump() { # PID OPTIONS...: sets status, output, errors
	local pid=$1
	shift
	status=0
	output=$(timeout 60 "$REQTRAP" dump --json --compress none -o "$OUT/core" "$@" "$pid" 2>"$OUT.err") || status=$?
	errors=$(cat "$OUT.err")
	rm -f "$OUT"/core*
}

worker_of() { # DUMP: its worker, and the copy that it holds in VICTIM
	WORKER=$(children "$1" | awk '{ print $1 }') && COPY=$(children "$VICTIM" | awk '{ print $1 }') &&
		[[ -n $WORKER && -n $COPY && $(awk '/^TracerPid/ { print $2 }' "/proc/$COPY/status") == "$WORKER" ]]
}

killed_dump() { # leaves VICTIM with a dead copy, and nobody who knows of it
	"$REQTRAP" dump --compress none --max-rate 1M --pause-budget 5s -o "$OUT/killed" "$VICTIM" >/dev/null 2>&1 3>&- </dev/null &
	local dump=$!
	remember "$dump"
	wait_for 10 worker_of "$dump" || fail "there is no copy"
	kill -KILL "$dump" "$WORKER"
	wait "$dump" 2>/dev/null || :
	dead() { [[ $(awk '/^State/ { print $2 }' "/proc/$COPY/status") == Z ]]; }
	wait_for 5 dead || fail "the copy lives on"
}

priorities() { # PID: priority and policy of all its threads, each once
	cat /proc/"$1"/task/*/stat | sed 's/.*) //' | awk '{ print $16, $39 }' | sort -u
}

@test "a busy process is stopped, and its priorities are as before" {
	odd spin 6
	local busy=$VICTIM i
	odd spin 3
	for ((i = 0; i < 3; i++)); do
		dump "$busy"
		is "$status" 0 "exit code ($errors)"
		is "$(jq -r .method <<<"$output")" clone "method"
	done
	is "$(priorities "$busy")" "20 0" "priorities and policies"
	is "$(cat /proc/"$busy"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
}

@test "what a killed worker leaves is reaped by the next dump, of whatever process" {
	odd ranges 50
	local victim=$VICTIM
	killed_dump
	odd threads 1
	dump "$VICTIM" --pause-budget 5s
	is "$status" 0 "exit code ($errors)"
	is "$(children "$victim")" "" "children"
	is "$(awk '/^State/ { print $2 }' "/proc/$victim/status")" S "state"
	lacks "$(ls /run/reqtrap/leftovers)" "$victim." "journal"
}

@test "... and by the next watch" {
	odd ranges 50
	local victim=$VICTIM
	killed_dump
	odd threads 1
	"$REQTRAP" watch "$VICTIM" --time-taken 10s >/dev/null 2>&1 3>&- </dev/null &
	PIDS+=("$!")
	remember "$!"
	reaped() { [[ -z $(children "$victim") ]]; }
	wait_for 10 reaped || fail "a dead child stays: $(children "$victim")"
}

@test "a dump leaves no entry in the journal; entries of the dead go" {
	odd ranges 50
	dump "$VICTIM"
	is "$status" 0 "exit code ($errors)"
	lacks "$(ls /run/reqtrap/leftovers)" "$VICTIM." "journal"
	killed_dump
	local victim=$VICTIM
	has "$(ls /run/reqtrap/leftovers)" "$victim." "journal"
	kill -KILL "$victim"
	wait "$victim" 2>/dev/null || :
	odd threads 1
	dump "$VICTIM"
	lacks "$(ls /run/reqtrap/leftovers)" "$victim." "journal"
}

@test "more than the budget: the choices are told, and nothing is stopped" {
	odd threads 3
	dump "$VICTIM" --full --pause-budget 100us
	is "$status" 3 "exit code"
	one_line "$errors" "errors"
	has "$errors" "would stop process $VICTIM for about" "errors"
	has "$errors" "more than the 0.1 ms allowed" "errors"
	dump "$VICTIM" --mini --pause-budget 100us
	is "$status" 3 "exit code"
	has "$errors" "--pause-budget" "errors"
	odd ranges 2000
	dump "$VICTIM" --full --pause-budget 10ms
	is "$status" 3 "exit code"
	has "$errors" "take a mini core or the stacks only, allow a longer pause, or let it stand still" "errors"
	has "$errors" "--mini, --stacks, --pause-budget D, --snapshot stop" "errors"
	is "$(ls -A "$OUT")" "" "files"
}

@test "the result has the guess that was made" {
	odd threads 3
	dump "$VICTIM"
	is "$status" 0 "exit code ($errors)"
	between "$(jq .estimate_ms <<<"$output")" 0.1 100 "estimate"
}

@test "strict seccomp: no call is made in it" {
	odd strict
	strict() { grep -q '^Seccomp:.1' "/proc/$VICTIM/status"; }
	wait_for 5 strict || skip "no strict mode here"
	dump "$VICTIM"
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .method <<<"$output")" stop "method"
	has "$(jq -r .why_not_clone <<<"$output")" "strict seccomp mode" "reason"
	is "$(awk '/^State/ { print $2 }' "/proc/$VICTIM/status")" R "state"
}

@test "a thread that can stop only later does not wait for the disk then" {
	need strace
	odd vfork 3
	local victim=$VICTIM child dump
	child=$(children "$victim")
	strace -f -qq -o "$OUT.trace" -e trace=fsync -e inject=fsync:delay_enter=9000000:when=1 \
		"$REQTRAP" dump --mini --compress none -o "$OUT/core" "$victim" >/dev/null 2>&1 3>&- </dev/null &
	dump=$!
	PIDS+=("$dump")
	wait_for 6 gone "$child" || fail "vfork's child is stuck"
	goes_on() { ! grep -q '^State:.t' /proc/"$victim"/task/*/status; }
	wait_for 2 goes_on || fail "a thread stands still while the core is synced"
	kill -0 "$dump" || fail "the dump was over before"
}

@test "no time limit, no stop" {
	need strace
	odd threads 1
	status=0
	errors=$(strace -f -qq -o "$OUT.trace" -e trace=timer_create,ptrace -e inject=timer_create:error=EAGAIN \
		"$REQTRAP" dump -o "$OUT/core" "$VICTIM" 2>&1 3>&-) || status=$?
	is "$status" 3 "exit code"
	has "$errors" "time limit" "the reason"
	lacks "$(cat "$OUT.trace")" PTRACE_SEIZE "calls"
}
