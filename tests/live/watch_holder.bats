#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Who holds the request? Each server says which thread worked on which, many at once. The
# watch has to name that thread, or to say that it is not certain and have it among those
# that may be: never another one for certain.

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

start_holder() { # KIND [WORKERS [UPSTREAM]]: in HOLDER, at HOLDER_PORT
	HOLDER_PORT=$(free_port)
	start_on_port "$1" "$HOLDER_PORT" python3 "$LIVE_TESTS/servers/holder.py" "$1" "$HOLDER_PORT" "${@:2}"
	HOLDER=$STARTED
}

# Asks COUNT at once, has all trapped, and compares with what the server says: RIGHT for
# certain, SEVERAL with the truth among them, WRONG.
ask_and_compare() { # PORT PATH COUNT
	client "$1" bodies "$2" "$3" | sed 's/,$//' >"$BATS_TEST_TMPDIR/truth"
	wait_events "$3" '.event == "ended"'
	watch_stop
	watch_clean
	total trapped "$3"
	read -r RIGHT SEVERAL WRONG < <(events '.event == "trapped"' | jq -rs --rawfile truth "$BATS_TEST_TMPDIR/truth" '
		($truth | split("\n") | map(select(. != "") | split(" ") | { (.[0]): (.[1] | split(",") | map(tonumber)) }) |
			add) as $of |
		map(.tid as $tid | [.holder.candidates[].tid] as $may | $of[.url] as $did |
			if .holder.certain then if $did | index($tid) then "right" else "wrong" end
			elif $did - $may != $did then "several" else "wrong" end) |
		[map(select(. == "right")), map(select(. == "several")), map(select(. == "wrong"))] | map(length) | @tsv')
	echo "# $BATS_TEST_DESCRIPTION: $RIGHT right, $SEVERAL several, $WRONG wrong" >&3
	is "$WRONG" 0 "wrong holders"
}

# Not certain: it says why, the one that is named comes first, each once.
doubts_are_told() {
	is "$(events '.event == "trapped" and (.holder.certain | not) and ((.holder.why // "") == "" or
		.holder.candidates[0].tid != .tid or
		([.holder.candidates[].tid] | length != (unique | length)))' | wc -l)" 0 "doubts without their words"
}

own_threads() { # COMMAND... with PORT in it: each request has a thread of its own
	local port
	port=$(free_port)
	start_on_port server "$port" "${@//PORT/$port}"
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	ask_and_compare "$port" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
	is "$(events '.event == "trapped"' | jq .tid | sort -u | wc -l)" 8 "different threads"
}

@test "gunicorn, eight processes" {
	need gunicorn
	own_threads gunicorn --chdir "$LIVE_TESTS/servers" -b 127.0.0.1:PORT --workers 8 wsgi:app
}

@test "gunicorn, one process and eight threads" {
	need gunicorn
	own_threads gunicorn --chdir "$LIVE_TESTS/servers" -b 127.0.0.1:PORT --threads 8 wsgi:app
}

@test "a pool that takes requests from a queue: another thread than the reader" {
	start_holder queue 8
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$SEVERAL" 8 "said not to be certain"
	doubts_are_told
}

@test "one request at a time through a queue: the worker is named first" {
	local i
	start_holder queue 4
	watch_start auto --time-taken 100ms --limit 100 --capture trace "$HOLDER"
	for i in 1 2 3; do
		client "$HOLDER_PORT" bodies "/work?ms=400&n=$i" 1 >>"$BATS_TEST_TMPDIR/did"
	done
	wait_events 3 '.event == "ended"'
	watch_stop
	watch_clean
	doubts_are_told
	diff <(sort "$BATS_TEST_TMPDIR/did") <(events '.event == "trapped"' | jq -r '"\(.url) \(.tid)"' | sort)
}

@test "more requests than workers: those that still wait in the queue belong to nobody" {
	start_holder queue 3
	watch_start auto --time-taken 700ms --limit 100 --capture trace "$HOLDER"
	client "$HOLDER_PORT" bodies '/work?ms=500' 9 >"$BATS_TEST_TMPDIR/did"
	wait_events 6 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(count_events '.event == "trapped" and .holder.certain')" 0 "said to be certain"
	doubts_are_told
}

@test "an event loop whose pool works: the loop reads and answers" {
	start_holder executor 8
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$SEVERAL" 8 "said not to be certain"
	doubts_are_told
}

@test "an event loop alone that waits for time to pass: for certain" {
	start_holder loop
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
}

@test "a process forked for each request: the child alone has the connection" {
	start_holder fork
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
	is "$(events '.event == "trapped"' | jq -r '"\(.chain[0].pid) \(.chain[0].via) \(.chain | length)"' | sort -u)" \
		"$HOLDER fork 2" "chains"
}
