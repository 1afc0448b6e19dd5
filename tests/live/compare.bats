#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# 'reqtrap stacks -n': a process whose threads each do one thing, and what three samples
# of it have in common; which of its mappings grows.

load helpers

setup_file() {
	need_watch
	need cc jq
	live_begin
	cc -O1 -g -fno-optimize-sibling-calls -D_GNU_SOURCE -pthread "$ROOT/tests/victims/c_series.c" -o "$LIVE/c_series"
	start victim "$LIVE/c_series" 50
	export VICTIM=$STARTED
	wait_for 20 grep -q ready "$LIVE/log.victim" || fail "the victim is not ready"
}

teardown_file() {
	live_end
}

tids() { # NAME
	awk -v n="$1" '$1 == n { print $2 }' "$LIVE/log.victim" | sort -n | paste -sd' '
}

group() { # TIDS JQ: of the one group that consists of these threads
	jq -r --arg t "$1" ".stacks.groups[] | select([.threads[].tid | tostring] | join(\" \") == \$t) | $2" <<<"$COMPARED"
}

state() { # what a stop would leave behind
	grep -E '^(TracerPid|SigPnd|ShdPnd|Threads)' "/proc/$VICTIM/status"
	children "$VICTIM"
}

@test "stacks -n: each thread is told for what it is" {
	local before out
	before=$(state)
	out=$("$REQTRAP" stacks "$VICTIM" -n 3 --every 200ms --json)
	is "$(jq -r '"\(.event) \(.sample)"' <<<"$out" | paste -sd,)" "stacks 1,stacks 2,stacks 3,compare null" "lines"
	COMPARED=$(tail -n 1 <<<"$out")
	is "$(jq -c '[.pid, .stacks.samples, .stacks.samples_failed, .stacks.threads, .stacks.came, .stacks.went]' <<<"$COMPARED")" \
		"[$VICTIM,3,0,60,0,0]" "the samples"
	between "$(jq .stacks.over_ms <<<"$COMPARED")" 1 60000 "time between first and last"

	# always seen in the same of its two callees, that is the loop
	[[ $(group "$(tids spinner)" .words) == "cpu loop in spin"@(|_a|_b)": 3/3" ]] ||
		fail "the spinning thread: $(group "$(tids spinner)" .words)"
	between "$(group "$(tids spinner)" '.threads[0] | .core_percent + .queued_percent')" 50 101 "CPU of the spinning thread"
	has "$(group "$(tids holder)" .words)" "same in 3/3, waiting in clock_nanosleep, holds mutex 0x" "the holder"
	has "$(group "$(tids holder)" .words)" "that 2 threads wait for" "the holder"
	is "$(group "$(tids waiter)" .means)" stuck "the waiters"
	is "$(group "$(tids waiter)" .words)" "stuck: same in 3/3, waiting in futex" "the waiters"
	is "$(group "$(tids waiter)" '.threads[0].waits_for_tid')" "$(tids holder)" "whom they wait for"
	is "$(group "$(tids acceptor)" .words)" "idle: same in 3/3, waiting in accept4" "the acceptors"
	is "$(group "$(tids mover)" .words)" "moves: 3 places in 3 samples" "the moving thread"
	is "$(jq '[.stacks.groups[] | select(.means == "idle or stuck" and .call == "futex") | .threads | length]' <<<"$COMPARED" |
		jq -c .)" "[50]" "the pool"
	is "$(jq -r '[.stacks.groups[].means] | index("loop"), index("holder"), index("stuck")' <<<"$COMPARED" | paste -sd' ')" \
		"0 1 2" "the order"
	is "$(state)" "$before" "the process afterwards"
}

@test "stacks -n: the mapping that leaks is the first, with its address" {
	local memory range
	memory=$("$REQTRAP" stacks "$VICTIM" -n 3 --every 200ms --json | tail -n 1 | jq .memory)
	range=$(awk '/^leaks/ { print $2 }' "$LIVE/log.victim")
	is "$(jq -r '.mappings[0] | "\(.start)-\(.end)"' <<<"$memory")" "0x${range%-*}-0x${range#*-}" "what grew most"
	is "$(jq '.mappings[0].steps_grown' <<<"$memory")" 2 "steps at which it grew"
	between "$(jq '.mappings[0].grew_bytes' <<<"$memory")" 2097152 1073741824 "by how much"
	is "$(jq '.grew_bytes == ([.mappings[].grew_bytes] | add)' <<<"$memory")" true "the rows are the sum"
}

@test "stacks -n: as text, within 80 columns" {
	local out
	out=$("$REQTRAP" stacks "$VICTIM" -n 2 --every 100ms)
	has "$out" "--- sample 2 of 2" "text"
	out=$(sed -n '/^--- .* compared$/,$p' <<<"$out")
	has "$out" "thread $(tids spinner) \"c_series\": cpu loop in spin" "text"
	has "$out" "50 threads: idle or stuck: same in 2/2, waiting in futex" "text"
	has "$out" "MiB  no name, $(awk '/^leaks/ { print $2 }' "$LIVE/log.victim") (1.0 GiB)" "text"
	is "$(LC_ALL=C.UTF-8 grep -cE '^.{81,}' <<<"$out" || :)" 0 "lines that are too long"
}

@test "stacks -n: Ctrl-C ends the series, and what was taken is compared" {
	local pid status=0
	env --default-signal=INT "$REQTRAP" stacks "$VICTIM" -n 1000 --every 100ms --json >"$LIVE/series" 3>&- &
	pid=$!
	remember "$pid"
	wait_for 10 grep -q '"sample":2' "$LIVE/series" || fail "no second sample"
	kill -INT "$pid"
	wait "$pid" || status=$?
	is "$status" 130 "exit code"
	is "$(tail -n 1 "$LIVE/series" | jq -r '.event, (.stacks.samples >= 2)' | paste -sd' ')" "compare true" "the last line"
}

@test "stacks -n: two processes in turn; one ends, the other is sampled on" {
	local pid status=0
	start sleeper sleep 1000
	("$REQTRAP" stacks "$STARTED" "$VICTIM" -n 4 --every 500ms --json >"$LIVE/two" 2>"$LIVE/two.err" 3>&-) &
	pid=$!
	remember "$pid"
	wait_for 10 grep -q '"sample":1' "$LIVE/two"
	end_process "$STARTED"
	wait "$pid" || status=$?
	is "$status" 1 "exit code"
	has "$(cat "$LIVE/two.err")" "process $STARTED 'sleep' ended after" "message"
	is "$(jq -c "select(.event == \"compare\" and .pid == $VICTIM) | .stacks.samples" "$LIVE/two")" 4 "samples of the other"
	is "$(jq -r 'select(.event == "compare") | .process' "$LIVE/two" | paste -sd' ')" "sleep c_series" "comparisons"
}

@test "stacks -n: what is wrong is told" {
	local out status
	for wrong in "-n 0" "-n x" "-n 2 --every 5" "--every 0"; do
		status=0
		# shellcheck disable=SC2086 # words
		out=$("$REQTRAP" stacks "$VICTIM" $wrong 2>&1) || status=$?
		is "$status" 2 "$wrong: exit code"
		one_line "$out" "$wrong"
	done
}
