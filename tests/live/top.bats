#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# 'top': who is in flight, who holds it and what that thread does; on a terminal, in a
# table, and as JSON; ten thousand of them.

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
	need jq
	TOP_OUT=$BATS_TEST_TMPDIR/out TOP_ERR=$BATS_TEST_TMPDIR/err TOP='' CLIENTS=()
}

teardown() {
	local pid
	[[ -z $TOP ]] || end_process "$TOP"
	for pid in ${CLIENTS[@]+"${CLIENTS[@]}"}; do
		end_process "$pid"
	done
}

top_is() { # PID
	TOP=$1
	remember "$1"
}

ends_with_us() { # PID
	CLIENTS+=("$1")
	remember "$1"
}

top_ready() {
	gone "$TOP" || grep -q watching "$TOP_ERR"
}

top_start() { # OPTION-OR-TARGET...
	env --default-signal=INT,TERM "$REQTRAP" top --show-values "$@" >"$TOP_OUT" 2>"$TOP_ERR" 3>&- </dev/null &
	top_is "$!"
	wait_for 20 top_ready || fail "top does not say that it watches: $(cat "$TOP_ERR")"
	gone "$TOP" && fail "top has ended at once: $(cat "$TOP_ERR")"
	return 0
}

top_stop() {
	kill -INT "$TOP"
	top_wait
}

top_pid() {
	echo "$TOP"
}

top_wait() {
	wait_for 20 gone "$TOP" || fail "top does not end"
	TOP_STATUS=0
	wait "$TOP" || TOP_STATUS=$?
	TOP=
}

ask() { # URL: in the background
	curl -s -o /dev/null "127.0.0.1:$PYTHON_PORT$1" 3>&- &
	ends_with_us "$!"
}

round_with() { # FILTER of a round: a whole line for which it is true, the last one
	grep '}$' "$TOP_OUT" | jq -c "select($1)" | tail -n 1 | grep .
}

wait_round() { # FILTER: then $ROUND
	wait_for 20 round_with "$1" >/dev/null || fail "no round is '$1'; the last: $(tail -n 1 "$TOP_OUT")"
	ROUND=$(round_with "$1")
}

@test "each request with its thread and what it does, oldest first" {
	top_start --json --every 100ms "$PYTHON"
	ask '/slow?ms=30000&n=1'
	wait_round '.in_flight == 1'
	ask '/lock?ms=30000&n=2'
	wait_round '.in_flight == 2'
	ask '/lock?ms=30000&n=3'
	wait_round '.in_flight == 3 and .requests[2].state == "lock"'
	is "$(jq -r '[.requests[].url] | join(" ")' <<<"$ROUND")" "/slow?ms=30000&n=1 /lock?ms=30000&n=2 /lock?ms=30000&n=3" "oldest first"
	is "$(jq -r '[.requests[].state] | join(" ")' <<<"$ROUND")" "sleep sleep lock" "states"
	is "$(jq -r '.requests[0].call' <<<"$ROUND")" clock_nanosleep "call"
	is "$(jq -r '.requests[2].call' <<<"$ROUND")" futex "call"
	has "$(jq -r '.requests[2].on' <<<"$ROUND")" "futex 0x" "the lock"
	is "$(jq -r '[.requests[].method] | unique[]' <<<"$ROUND")" GET "method"
	is "$(jq -r '[.requests[].pid] | unique[]' <<<"$ROUND")" "$PYTHON" "pid"
	is "$(jq -r '[.requests[].tid] | unique | length' <<<"$ROUND")" 3 "threads"
	is "$(jq -r '.requests | [.[].elapsed_ms] == ([.[].elapsed_ms] | sort | reverse)' <<<"$ROUND")" true "order"
	# In a later round they are older by what has passed.
	local n before
	n=$(jq .round <<<"$ROUND") before=$(jq '.requests[0].elapsed_ms' <<<"$ROUND")
	wait_round ".round >= $((n + 3)) and .in_flight == 3"
	between "$(jq '.requests[0].elapsed_ms' <<<"$ROUND")" "$(jq -n "$before + 250")" 20000 "elapsed_ms of a later round"
	top_stop
	is "$TOP_STATUS" 0 "exit code"
}

@test "what runs already when it begins: shown, start unknown, since when at least" {
	start_python # of its own: the others' clients are gone, but its threads sleep on
	ask '/slow?ms=30000&n=1'
	wait_for 10 sleeps_now
	top_start --json --every 100ms "$PYTHON"
	wait_round '.in_flight == 1'
	is "$(jq -r '[.start_unknown, .seen, .requests[0].start_unknown, .requests[0].pid, .requests[0].url] | join(" ")' <<<"$ROUND")" \
		"1 0 true $PYTHON " "in JSON"
	between "$(jq '.requests[0].elapsed_ms' <<<"$ROUND")" 100 20000 "since when at least"
	top_stop
	is "$TOP_STATUS" 0 "exit code"
	top_start -n 1 --every 100ms "$PYTHON"
	top_wait
	grep -q '>.*start unknown' "$TOP_OUT" || fail "no row: $(cat "$TOP_OUT")"
}

sleeps_now() {
	grep -qs '^230 ' "/proc/$PYTHON/task"/*/syscall
}

@test "requests of an event loop that is idle wait in its poll, none is behind another" {
	need node
	start_node
	top_start --json --every 100ms "$NODE"
	local n
	for n in 1 2 3; do
		curl -s -o /dev/null "127.0.0.1:$NODE_PORT/slow?ms=30000&n=$n" 3>&- &
		ends_with_us "$!"
	done
	wait_round '.in_flight == 3 and ([.requests[].state] == ["poll", "poll", "poll"])'
	top_stop
}

@test "of an event loop that is idle no request is behind another" {
	LOOP_PORT=$(free_port)
	start_on_port loop "$LOOP_PORT" python3 "$LIVE_TESTS/servers/loop.py" "$LOOP_PORT" "$PYTHON_PORT"
	top_start --json --every 100ms "$STARTED"
	client "$LOOP_PORT" concurrent '/slow?ms=30000' 3 >"$BATS_TEST_TMPDIR/slow" 2>&1 3>&- &
	ends_with_us "$!"
	wait_round '.in_flight == 3 and all(.requests[]; .elapsed_ms > 100)'
	is "$(jq -r '[.requests[].state] | unique | join(" ")' <<<"$ROUND")" poll "while the loop is idle"
	curl -s -o /dev/null "127.0.0.1:$LOOP_PORT/spin?ms=3000" 3>&- &
	ends_with_us "$!"
	wait_round '.in_flight == 4 and (.requests[3].state | IN("cpu", "runnable"))'
	is "$(jq -r '[.requests[:3][].state] | unique | join(" ")' <<<"$ROUND")" behind "while it computes"
}

@test "behind nginx it is the process that works on it" {
	need nginx
	start_python # one where nothing of another test still sleeps
	start_nginx
	top_start --json --every 100ms "$NGINX" "$PYTHON"
	curl -s -o /dev/null "127.0.0.1:$NGINX_PORT/py/slow?ms=30000" 3>&- &
	ends_with_us "$!"
	wait_round ".in_flight == 1 and .inner == 1 and .requests[0].pid == $PYTHON"
	is "$(jq -r '.requests[0].state' <<<"$ROUND")" sleep "state"
	is "$(jq -r '.requests[0].via' <<<"$ROUND")" "tcp:127.0.0.1:$PYTHON_PORT" "via"
	has " $(children "$NGINX" | tr '\n' ' ')" " $(jq -r '.requests[0].first_pid' <<<"$ROUND") " "a worker of nginx"
	is "$(jq -r '.requests[0].url' <<<"$ROUND")" "/py/slow?ms=30000" "as the client asked"
}

@test "a table per round, as many as asked for; nothing to see is exit code 1" {
	start_python
	top_start -n 2 --every 200ms "$PYTHON"
	top_wait
	is "$TOP_STATUS" 1 "exit code without a request"
	is "$(grep -c 'in flight' "$TOP_OUT")" 2 "rounds"
	top_start -n 1000 --every 100ms "$PYTHON"
	ask '/slow?ms=30000&x=%1b%5b31m'
	wait_for 20 grep -q 'GET.*/slow.*sleep' "$TOP_OUT" || fail "no row: $(tail "$TOP_OUT")"
	top_stop
	is "$TOP_STATUS" 0 "exit code"
}

@test "on a terminal of 80 columns: no line is longer, and 'q' ends it" {
	need script
	local typed=$BATS_TEST_TMPDIR/typed screen=$BATS_TEST_TMPDIR/screen long
	long=$(printf 'long%.0s' {1..100})
	mkfifo "$typed"
	script -qfec "stty cols 80 rows 10; exec '$REQTRAP' top --show-values --every 100ms $PYTHON" "$screen" <"$typed" >/dev/null 2>&1 3>&- &
	top_is "$!"
	exec 7>"$typed"
	wait_for 20 grep -q 'in flight' "$screen" || fail "no screen: $(cat -v "$screen")"
	ask "/slow?ms=30000&$long"
	ask "/slow?ms=30000&2"
	wait_for 20 grep -q 'slow.*sleep' "$screen" || fail "no row: $(tail -c 2000 "$screen" | cat -v)"
	printf q >&7
	exec 7>&-
	wait_for 20 gone "$TOP" || fail "'q' does not end it"
	top_wait
	# shellcheck disable=SC1003 # escape sequences
	sed 's/\x1b\[H/\n/g; s/\x1b\[[0-9?;]*[A-Za-z]//g; s/\r//g' "$screen" >"$screen.text"
	is "$(awk 'length > 80 && !/^Script/' "$screen.text" | wc -l)" 0 "lines of more than 80 columns"
	grep -q 'longlong.*\.\. *sleep' "$screen.text" || fail "a cut URL is not marked: $(grep long "$screen.text" | tail -n 1)"
	has "$(tail -c 200 "$screen")" $'\x1b[?1049l' "the screen as it was"
}

@test "ten thousand in flight: all are there, within the round" {
	(($(ulimit -Hn) > 10100)) || skip "fewer than 10100 files are allowed here"
	local port asked=$BATS_TEST_TMPDIR/asked server
	port=$(free_port)
	start_on_port hold "$port" python3 "$LIVE_TESTS/servers/hold.py" serve "$port"
	server=$STARTED
	top_start --json --every 500ms --slots 12000 "$server"
	python3 "$LIVE_TESTS/servers/hold.py" ask "$port" 10000 >"$asked" 3>&- &
	ends_with_us "$!"
	wait_for 60 grep -q asked "$asked" || fail "not all were asked"
	wait_round '.in_flight == 10000'
	is "$(jq '[.requests[].url] | unique | length' <<<"$ROUND")" 10000 "different requests"
	is "$(jq '.refused + .torn' <<<"$ROUND")" 0 "refused or torn"
	between "$(awk '/VmRSS/ { print $2 }' "/proc/$(top_pid)/status")" 1 262144 "memory in KiB, slots included"
	kill -USR1 "$server"
	wait_round '.in_flight == 0 and .seen == 10000'
	top_stop
	end_process "$server"
}

@test "what is wrong is said, and how to mend it" {
	run "$REQTRAP" top
	is "$status" 2 "exit code"
	has "$output" "which process?" "no target"
	run "$REQTRAP" top --every 1ms "$PYTHON"
	is "$status" 2 "exit code"
	has "$output" "10ms at least" "every"
	run "$REQTRAP" top no-such-process-here
	is "$status" 2 "exit code"
	has "$output" "no process is called 'no-such-process-here'" "target"
	run "$REQTRAP" top cgroup:/no/such
	is "$status" 2 "exit code"
	has "$output" "no cgroup" "cgroup"
}
