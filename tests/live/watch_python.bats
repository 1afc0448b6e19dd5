#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A threaded Python server: keep-alive, every kind of request and answer, and a load
# of which exactly the slow ones are trapped.

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
}

teardown() {
	watch_kill
}

exactly_the_slow_ones() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 100 --capture trace "$PYTHON"
	client "$PYTHON_PORT" mixed 600 30 10 700 | sort >"$BATS_TEST_TMPDIR/slow"
	wait_events 30 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 600
	total trapped 30
	diff "$BATS_TEST_TMPDIR/slow" <(events '.event == "trapped"' | jq -r .url | sort) || fail "other requests"
	is "$(events '.event == "trapped"' | jq -r .id | sort -u | wc -l)" 30 "ids"
	diff <(events '.event == "trapped"' | jq -r .id | sort) <(events '.event == "ended"' | jq -r .id | sort) ||
		fail "trapped and ended are not the same requests"
	is "$(events '.event == "trapped"' | jq -r .pid | sort -u)" "$PYTHON" "pids"
	between "$(events '.event == "trapped"' | jq .elapsed_ms | sort -n | head -n 1)" 400 690 "least elapsed_ms"
	between "$(events '.event == "trapped"' | jq .elapsed_ms | sort -n | tail -n 1)" 400 690 "most elapsed_ms"
	is "$(ls "$STORE" | wc -l)" 30 "incidents in the store"
	between "$(jq .cpu_ns_per_request <<<"$TOTALS")" 1 1000000 "cpu_ns_per_request"
}

@test "600 requests, 30 of them slow, 10 connections: exactly those 30 (sock)" {
	exactly_the_slow_ones sock
}

@test "600 requests, 30 of them slow, 10 connections: exactly those 30 (syscalls)" {
	exactly_the_slow_ones syscalls
}

@test "with stacks taken, too: the slow ones, each in its own thread" {
	watch_start auto --time-taken 400ms --limit 100 --capture trace,stacks "$PYTHON"
	client "$PYTHON_PORT" mixed 60 4 4 1500 | sort >"$BATS_TEST_TMPDIR/slow"
	wait_events 4 '.event == "ended"'
	watch_stop
	watch_clean
	diff "$BATS_TEST_TMPDIR/slow" <(events '.event == "trapped"' | jq -r .url | sort) || fail "other requests"
	is "$(events '.event == "trapped"' | jq -r .running_at_snapshot | sort -u)" true "running_at_snapshot"
	is "$(events '.event == "trapped"' | jq -r .tid | sort -u | wc -l)" 4 "different threads"
	lacks "$(events '.event == "trapped"' | jq -r .tid)" "$PYTHON" "holders"
	local n
	for n in 0 1 2 3; do
		incident_of "$n"
		times_add_up
		is "$(fact '.analysis.thread[0].holder')" true "first thread is the holder"
		is "$(fact '.analysis.thread[0].tid')" "$(fact .holder_tid)" "tid of the first thread"
		is "$(fact '.analysis.thread[0].call')" clock_nanosleep "call of the holder"
		has "$(fact '.analysis.thread[0].stack.frame[].function')" "clock_nanosleep" "stack of the holder"
	done
}

# All that is asked, in order on one connection where it can be, is seen as it was.
conversation() { # HOOKS
	watch_start "$1" --status 100-599 --limit 1000 --capture trace "$PYTHON"
	client "$PYTHON_PORT" get /fast/1 /fast/2 '/status/404' '/chunked?ms=20' '/slow?ms=20' /fast/3 >/dev/null
	client "$PYTHON_PORT" pipeline /pipe/1 '/slow?ms=30&pipe=2' /pipe/3
	client "$PYTHON_PORT" split /split/1 4
	client "$PYTHON_PORT" head /head
	client "$PYTHON_PORT" status /status/204
	client "$PYTHON_PORT" status /status/304
	client "$PYTHON_PORT" get /fast/4 >/dev/null
	client "$PYTHON_PORT" post /echo 100000
	client "$PYTHON_PORT" post-chunked /echo?chunked 100000
	wait_events 16 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 16
	total trapped 16
	trapped_are <<'END'
GET /fast/1 200
GET /fast/2 200
GET /status/404 404
GET /chunked?ms=20 200
GET /slow?ms=20 200
GET /fast/3 200
GET /pipe/1 200
GET /slow?ms=30&pipe=2 200
GET /pipe/3 200
GET /split/1 200
HEAD /head 200
GET /status/204 204
GET /status/304 304
GET /fast/4 200
POST /echo 200
POST /echo?chunked 200
END
	incident_where '.url == "/echo"'
	between "$(fact .request.request_bytes)" 100000 101000 "request_bytes of the POST"
	between "$(fact .request.response_bytes)" 100000 101000 "response_bytes of the POST"
	incident_where '.url == "/echo?chunked"'
	between "$(fact .request.request_bytes)" 100000 101000 "request_bytes of the chunked POST"
	incident_where '.url == "/slow?ms=20"'
	between "$(fact .time_taken_ns)" 20000000 5000000000 "time_taken_ns of /slow?ms=20"
	incident_where '.url == "/chunked?ms=20"'
	between "$(fact .time_taken_ns)" 20000000 5000000000 "time_taken_ns of /chunked?ms=20"
}

@test "keep-alive, pipelining, split heads, bodies both ways, HEAD, 204, 304, chunked (sock)" {
	conversation sock
}

@test "keep-alive, pipelining, split heads, bodies both ways, HEAD, 204, 304, chunked (syscalls)" {
	conversation syscalls
}

# Ten connections rest for longer than the limit, while one request is slow.
idle_connections() { # HOOKS
	watch_start "$1" --time-taken 300ms --limit 10 --capture trace "$PYTHON"
	mkfifo "$BATS_TEST_TMPDIR/rest"
	client "$PYTHON_PORT" idle 10 /fast <"$BATS_TEST_TMPDIR/rest" >"$BATS_TEST_TMPDIR/idle" 3>&- &
	local idler=$!
	exec 7>"$BATS_TEST_TMPDIR/rest"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/idle"
	client "$PYTHON_PORT" status '/slow?ms=900'
	exec 7>&-
	wait "$idler"
	watch_stop
	watch_clean
	total requests 21
	total trapped 1
	is "$(events '.event == "trapped"' | jq -r .url)" '/slow?ms=900' "trapped"
}

@test "a connection that rests is never trapped (sock)" {
	idle_connections sock
}

@test "a connection that rests is never trapped (syscalls)" {
	idle_connections syscalls
}

@test "a client that goes away: the request is told once" {
	watch_start auto --time-taken 300ms --limit 10 --capture trace "$PYTHON"
	mkfifo "$BATS_TEST_TMPDIR/go"
	client "$PYTHON_PORT" abort '/slow?ms=1000&abort' <"$BATS_TEST_TMPDIR/go" >"$BATS_TEST_TMPDIR/sent" 3>&- &
	local client=$!
	exec 7>"$BATS_TEST_TMPDIR/go"
	wait_events 1 '.event == "trapped"'
	exec 7>&-
	wait "$client"
	wait_events 1 '.event == "ended"'
	client "$PYTHON_PORT" status /fast
	watch_stop
	watch_clean
	total requests 2
	total trapped 1
	is "$(count_events '.event == "ended"')" 1 "ended"
}

@test "slots: four requests are followed, the other sixteen are refused and counted" {
	watch_start auto --time-taken 300ms --limit 100 --capture trace --slots 4 "$PYTHON"
	client "$PYTHON_PORT" concurrent '/slow?ms=1200' 20
	wait_events 4 '.event == "ended"'
	client "$PYTHON_PORT" status /fast
	watch_stop
	is "$WATCH_STATUS" 0 "exit code"
	total refused 16
	total trapped 4
	total lost_events 0
	no_half_incident
}
