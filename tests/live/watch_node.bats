#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Node: many requests in one thread, answers by writev and in chunks.

load helpers

setup_file() {
	live_begin
	start_node
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need node jq
}

teardown() {
	watch_kill
}

conversation() { # HOOKS
	watch_start "$1" --status 100-599 --limit 1000 --capture trace "$NODE"
	client "$NODE_PORT" get /fast/1 /fast/2 /status/404 '/chunked?ms=20' '/slow?ms=20' /fast/3 >/dev/null
	client "$NODE_PORT" pipeline /pipe/1 /pipe/2 /pipe/3
	client "$NODE_PORT" split /split/1 4
	client "$NODE_PORT" head /head
	client "$NODE_PORT" status /status/204
	client "$NODE_PORT" status /status/304
	client "$NODE_PORT" post /echo 100000
	client "$NODE_PORT" post-chunked /echo?chunked 100000
	wait_events 15 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 15
	total trapped 15
	trapped_are <<'END'
GET /fast/1 200
GET /fast/2 200
GET /status/404 404
GET /chunked?ms=20 200
GET /slow?ms=20 200
GET /fast/3 200
GET /pipe/1 200
GET /pipe/2 200
GET /pipe/3 200
GET /split/1 200
HEAD /head 200
GET /status/204 204
GET /status/304 304
POST /echo 200
POST /echo?chunked 200
END
}

@test "keep-alive, pipelining, split heads, bodies both ways, HEAD, 204, 304, chunked (sock)" {
	conversation sock
}

@test "keep-alive, pipelining, split heads, bodies both ways, HEAD, 204, 304, chunked (syscalls)" {
	conversation syscalls
}

slow_ones() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 100 --capture trace "$NODE"
	client "$NODE_PORT" mixed 300 20 10 700 | sort >"$BATS_TEST_TMPDIR/slow"
	wait_events 20 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 300
	total trapped 20
	diff "$BATS_TEST_TMPDIR/slow" <(events '.event == "trapped"' | jq -r .url | sort) || fail "other requests"
	is "$(events '.event == "trapped"' | jq -r .pid | sort -u)" "$NODE" "pids"
	is "$(events '.event == "trapped"' | jq -r .tid | sort -u)" "$NODE" "threads"
}

@test "exactly the slow ones of many in one event loop (sock)" {
	slow_ones sock
}

@test "exactly the slow ones of many in one event loop (syscalls)" {
	slow_ones syscalls
}

# Two at a time are an event loop's, also before it was seen in its poll.
@test "the first requests after the watch began, four at once: where their time went is known" {
	local n
	watch_start auto --time-taken 300ms --limit 10 --capture trace "$NODE"
	client "$NODE_PORT" concurrent '/slow?ms=600' 4 >/dev/null
	wait_events 4 '.event == "ended"'
	watch_stop
	total trapped 4
	for n in 0 1 2 3; do
		incident_of "$n"
		between "$(jq '([.spending[] | select(.kind == "unattributed") | .ns] | add // 0) / .elapsed_ns' "$INCIDENT/incident.json")" \
			0 0.05 "the share that nothing explains"
	done
}

@test "a request that computes is trapped on the CPU, with a core that gdb reads" {
	need gdb
	watch_start auto --time-taken 300ms --capture trace,stacks,full --compress none "$NODE"
	client "$NODE_PORT" status '/spin?ms=1500'
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	is "$(fact .capture.running_at_snapshot)" true "running_at_snapshot"
	between "$(fact '[.spending[] | select(.kind == "cpu" or .kind == "runnable") | .ns] | add')" 250000000 400000000 "time on the CPU or ready for it"
	has "$(gdb -batch -nx -ex 'info threads' "$(command -v node)" "$(events '.event == "trapped"' | jq -r .capture.core)" 2>&1)" \
		"LWP $NODE" "gdb's threads"
}

# The client's stopwatch and the socket's tell the same: both requests took what they waited.
unread() { # HOOKS
	local ms old new page
	watch_start "$1" --status 418 --limit 10 --capture trace "$NODE"
	ms=$(client "$NODE_PORT" unread '/spin?ms=700' /status/418 | xargs)
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	old=$(events '.event == "trapped" and .url == "/status/418?old"' | jq .unread_ms)
	new=$(events '.event == "trapped" and .url == "/status/418?new"' | jq .unread_ms)
	between "$old" $((${ms% *} - 60)) $((${ms% *} + 8)) "unread_ms of the older connection ($ms)"
	between "$new" $((${ms#* } - 60)) $((${ms#* } + 8)) "unread_ms of the one that nobody had accepted ($ms)"
	incident_where '.url == "/status/418?old"'
	page=$(cat "$INCIDENT/report.txt")
	has "$page" "waited unread" "the page"
	between "$(fact .request.unread_ns)" "$(jq -n "$old * 1e6 - 1e6")" "$(jq -n "$old * 1e6 + 1e6")" "in the facts"
}

@test "requests that wait unread behind a busy loop: for how long (sock)" {
	unread sock
}

@test "requests that wait unread behind a busy loop: for how long (syscalls)" {
	unread syscalls
}

@test "a request that is read at once has waited for nothing" {
	watch_start sock --status 418 --capture trace "$NODE"
	client "$NODE_PORT" get /status/418 >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	between "$(events '.event == "trapped"' | jq .unread_ms)" 0 30 "unread_ms"
}
