#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Names and lines for an incident's frames out of debug files that a server has.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	live_begin
	command -v gcc >/dev/null && command -v objcopy >/dev/null || return 0
	mkdir "$LIVE/debug" "$LIVE/folder"
	gcc -g -O1 -w -Wl,--build-id=sha1 -o "$LIVE/whole" "$LIVE_TESTS/../verdict/servers/slow.c" -lpthread || return 0
	ID=$(readelf -n "$LIVE/whole" | awk '/Build ID/ { print $3 }')
	objcopy --only-keep-debug "$LIVE/whole" "$LIVE/debug/$ID.debug"
	strip -o "$LIVE/slow" "$LIVE/whole"
	SLOW_PORT=$(free_port) DEBUG_PORT=$(free_port)
	start_on_port slow "$SLOW_PORT" "$LIVE/slow" "$SLOW_PORT" "$LIVE/folder"
	SLOW=$STARTED
	start_on_port debuginfod "$DEBUG_PORT" python3 "$LIVE_TESTS/servers/debuginfod.py" "$DEBUG_PORT" "$LIVE/debug"
	export SLOW SLOW_PORT DEBUG_PORT ID
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq curl
	[[ -n ${SLOW:-} ]] || skip "no compiler for the server"
	[[ -e /usr/lib/x86_64-linux-gnu/libdebuginfod.so.1 ]] || skip "libdebuginfod is not installed"
	export DEBUGINFOD_URLS=http://127.0.0.1:$DEBUG_PORT DEBUGINFOD_CACHE_PATH=$BATS_TEST_TMPDIR/cache
}

teardown() {
	rm -f "$LIVE/debug/slow"
	watch_kill
}

trapped_sleep() {
	watch_start auto --time-taken 200ms "$SLOW"
	curl -sS -m 20 "http://127.0.0.1:$SLOW_PORT/c_sleep" >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of
	watch_stop
}

report() {
	env HOME="$BATS_TEST_TMPDIR" "$REQTRAP" report --store "$STORE" last --debuginfod "$@"
}

@test "a stripped server's functions get their names and lines, on the page alone" {
	trapped_sleep
	before=$(cat "$INCIDENT/incident.json")
	has "$(fact '.analysis.thread[0].stack.frame[].function')" fn_ "the capture has no name for them"
	is "$(fact '.analysis.module[] | select(.name == "slow") | .build_id')" "$ID" "the build-id"
	run --separate-stderr report
	is "$status" 0 "exit code"
	has "$output" "nap" "a static function"
	has "$output" "slow.c:" "its file and line"
	is "$(report --format json 2>/dev/null | jq '[.analysis.thread[].stack.frame[] |
		select(.module == "slow" and (.function | startswith("fn_")))] | length')" 0 "functions without a name"
	has "$stderr" "1 found" "the note"
	is "$(cat "$INCIDENT/incident.json")" "$before" "the incident in the store"
	# the same line as the compiler's own tool says
	pc=$(report --format json 2>/dev/null | jq -r '.analysis | (.module[] | select(.name == "slow") | .bias) as $b |
		[.thread[0].stack.frame[] | select(.module == "slow")][0] | "\(.pc) \($b) \(.line)"')
	read -r at bias line <<<"$pc"
	is "$(addr2line -e "$LIVE/whole" "$(printf '%#x' $((at - bias - 1)))" | sed 's/.*:\([0-9]*\).*/\1/')" "$line" "the line"
	report --format html -o "$BATS_TEST_TMPDIR/page.html" 2>/dev/null
	has "$(cat "$BATS_TEST_TMPDIR/page.html")" "slow.c" "the page as HTML"
}

@test "no server, a server without the file, a file that is none, and one that never comes" {
	trapped_sleep
	run --separate-stderr env -u DEBUGINFOD_URLS "$REQTRAP" report --store "$STORE" last --debuginfod
	is "$status" 3 "no server is named"
	has "$stderr" "DEBUGINFOD_URLS" "what to do"
	mv "$LIVE/debug/$ID.debug" "$LIVE/kept.debug"
	run --separate-stderr report
	is "$status" 0 "a server without it"
	has "$output" "no debug file for slow: no server has it" "says so"
	has "$output" "fn_" "the names stay"
	head -c 300000 /dev/urandom >"$LIVE/debug/$ID.debug"
	rm -rf "$BATS_TEST_TMPDIR/cache"
	run --separate-stderr report
	is "$status" 0 "no debug file at all"
	has "$(tr -s ' \n' ' ' <<<"$output")" "no debug file for slow: it is no debug file that can be read" "says so"
	cp "$LIVE/kept.debug" "$LIVE/debug/$ID.debug"
	rm -rf "$BATS_TEST_TMPDIR/cache"
	: >"$LIVE/debug/slow"
	before=$SECONDS
	run --separate-stderr report --budget 1s
	is "$status" 0 "one that never comes"
	has "$(tr -s ' \n' ' ' <<<"$output")" "no debug file for slow: it did not come in time" "says so"
	between $((SECONDS - before)) 0 10 "seconds"
	mv "$LIVE/kept.debug" "$LIVE/debug/$ID.debug"
}
