#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The server's own time: from the last byte of a request to the first of its reply. Whoever is
# slow on purpose makes no request slow by it, and the server's part is counted to the end.

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

urls() { # of what was trapped
	events '.event == "trapped"' | jq -r .url | sort | paste -sd' '
}

@test "a client that is slow to send or to read makes no request slow, whole time does" {
	local counts
	local -A trapped=([server]=1 [whole]=4)
	for counts in server whole; do
		watch_start auto --time-counts $counts --time-taken 300ms --capture trace --limit 100 "$PYTHON"
		client "$PYTHON_PORT" trickle '/fast?head' 6 120 >/dev/null
		client "$PYTHON_PORT" trickle-body '/echo?body' 6 120 >/dev/null
		client "$PYTHON_PORT" get '/chunked?ms=600' >/dev/null # it began at once
		client "$PYTHON_PORT" get '/slow?ms=600' >/dev/null
		wait_events ${trapped[$counts]} '.event == "ended"'
		watch_stop
		watch_clean
		if [[ $counts == server ]]; then
			is "$(urls)" "/slow?ms=600" "trapped by the server's time"
		else
			is "$(urls)" "/chunked?ms=600 /echo?body /fast?head /slow?ms=600" "trapped by the whole time"
		fi
	done
}

@test "it begins with the last byte of an upload, to the millisecond, and is told" {
	watch_start auto --time-counts server --time-taken 300ms --capture trace --limit 100 "$PYTHON"
	client "$PYTHON_PORT" trickle-body '/echo?ms=600' 5 100 >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of
	watch_stop
	watch_clean
	is "$(fact .running_at_snapshot)$(fact .limit_server)" "nulltrue" "whose time it is"
	between "$(fact '.server_ns / 1e6')" 300 340 "the server's time at the trap, ms"
	between "$(fact '(.elapsed_ns - .server_ns) / 1e6')" 490 900 "the client's part, ms"
	has "$("$REQTRAP" show "$INCIDENT" | tr -s ' \n' ' ')" "the server has had all of it for 30" "the page"
}

@test "a body that the server leaves unread is the server's, so is one it has not asked for yet" {
	watch_start auto --time-counts server --time-taken 300ms --capture trace --limit 100 "$PYTHON"
	head -c 300000 /dev/zero >"$BATS_TEST_TMPDIR/body"
	# /slow never reads it; what a socket holds is more than what the head's read took
	curl -sS -m 20 -H 'Expect:' --data-binary @"$BATS_TEST_TMPDIR/body" "http://127.0.0.1:$PYTHON_PORT/slow?ms=700&unread" >/dev/null || :
	wait_events 1 '.event == "trapped"'
	client "$PYTHON_PORT" post-expect '/echo?ms=600' 5000 >/dev/null
	wait_events 2 '.event == "trapped"'
	watch_stop
	is "$(urls)" "/echo?ms=600 /slow?ms=700&unread" "trapped"
}

@test "both kinds of limits side by side, each by its clock" {
	watch_start auto --config <(cat <<-END
		rule "all of it" { time-taken = 400ms time-counts = whole capture = "trace" limit = 100 path = "/echo*" }
		rule "its own"   { time-taken = 300ms capture = "trace" limit = 100 }
	END
	) "$PYTHON" || skip "no file by a pipe"
	client "$PYTHON_PORT" trickle-body '/echo?client' 6 100 >/dev/null
	client "$PYTHON_PORT" get '/echo?ms=600&server' >/dev/null
	client "$PYTHON_PORT" trickle '/fast?client' 6 100 >/dev/null
	wait_events 2 '.event == "ended"'
	watch_stop
	is "$(events '.event == "trapped"' | jq -r '"\(.url) \(.rule)"' | sort | paste -sd,)" \
		"/echo?client all of it,/echo?ms=600&server its own" "which rule"
}

@test "in a file the server's time is what a rule means; check says so; test takes it" {
	local file=$BATS_TEST_TMPDIR/rules.conf
	printf 'rule "slow" { time-taken = 2s }\nrule "all" { time-taken = 3s time-counts = "whole" }\n' >"$file"
	run --separate-stderr "$REQTRAP" check "$file"
	is "$status" 0 "check"
	is "$(grep -c 'time-counts  = server' <<<"$output") $(grep -c 'time-counts  = whole' <<<"$output")" "1 1" "the effective rules"
	run --separate-stderr "$REQTRAP" test "$file" GET / --time-taken 2500ms
	has "$output" "2500ms of the server's time reached the limit of 2s" "test"
	printf 'rule "slow" { time-taken = 2s time-counts = "client" }\n' >"$file"
	run --separate-stderr "$REQTRAP" check "$file"
	is "$status" 2 "a wrong one"
	has "$output$stderr" "'client' is neither server nor whole" "says what is right"
}
