#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the watch may cost: over it, detail goes and is told; what is counted and trapped stays.

bats_require_minimum_version 1.5.0

load helpers

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq curl
}

teardown() {
	watch_kill
}

get() { # PATH
	curl -s -o /dev/null --max-time 20 "127.0.0.1:$PYTHON_PORT$1" && SENT=$((SENT + 1))
}

# Requests until the watch says so, 20 s at most.
get_until() { # FILTER of an event
	local end=$((SECONDS + 20))
	until at_least 1 "$1"; do
		((SECONDS < end)) || fail "no event '$1' in 20 s of requests"
		get "/slow?ms=1"
	done
}

@test "a light load never costs so much that detail is shed" {
	SENT=0
	WATCH_BUDGET='' watch_start auto --time-taken 300ms --capture trace "$PYTHON"
	local end=$((SECONDS + 4))
	while ((SECONDS < end)); do
		get "/slow?ms=20"
	done
	get "/slow?ms=400"
	wait_events 1 '.event == "ended"'
	incident_of
	watch_stop
	watch_clean
	total requests "$SENT"
	is "$(jq -c .shed <<<"$TOTALS")" "[]" "what was shed"
	between "$(jq .overhead_percent <<<"$TOTALS")" 0.0001 2 "the overhead that was seen"
	is "$(fact .losses.shed)" null "what the incident lacks"
	is "$(fact '[.spending[] | select(.kind == "wait")] | length > 0')" true "waits"
}

@test "over the budget detail goes, one after the other; what is trapped stays exact, and is marked" {
	SENT=0
	watch_start auto --time-taken 300ms --capture trace --limit 9 --max-overhead 0.0001 "$PYTHON"
	get_until '.event == "shed" and .detail == "scheduler"'
	has "$(cat "$WATCH_ERR")" "scheduler detail is shed" "the message"
	get "/slow?ms=600"
	wait_events 1 '.event == "ended"'
	incident_of
	times_add_up
	between "$(fact .time_taken_ns)" 600000000 2000000000 "time taken"
	has "$(fact .losses.shed)" scheduler "what the incident lacks"
	# Nobody has seen what its thread did: neither on the CPU nor waiting, but said to be so.
	is "$(fact '([.spending[] | select(.kind == "unattributed") | .ns] | add) > 0.9 * .elapsed_ns')" true "unattributed"
	has "$(fact '.spending[] | select(.kind == "unattributed") | .object')" "scheduler was not watched" "why"
	has "$(cat "$INCIDENT/report.txt")" "to stay within --max-overhead" "the page"
	watch_stop
	is "$WATCH_STATUS" 0 "exit code"
	total requests "$SENT"
	total lost_events 0
	is "$(jq -c '[.shed[].detail] | index("scheduler") != null' <<<"$TOTALS")" true "the totals"
}

@test "a budget of all there is sheds nothing, and a wrong one is refused" {
	SENT=0
	watch_start auto --time-taken 300ms --capture trace --max-overhead 100 "$PYTHON"
	local end=$((SECONDS + 3))
	while ((SECONDS < end)); do
		get "/slow?ms=1"
	done
	watch_stop
	is "$(jq -c .shed <<<"$TOTALS")" "[]" "what was shed"
	run -2 "$REQTRAP" watch --time-taken 1s --max-overhead 101 1
	has "$output" "'101' is not between" "the error"
}

@test "what a request costs at the sockets is told apart from what the host's context switches cost" {
	run "$REQTRAP" watch --time-taken 10s -o "$BATS_TEST_TMPDIR/store" -- sleep 0.5
	has "$output" "0 ns of BPF time at the sockets a request" "without a request"
	has "$output" "% of a core for the context switches and wake-ups of the host" "the scheduler's part"
}
