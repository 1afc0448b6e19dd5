#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Whatever becomes of an action, the incident says it, and the capture is there.

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

program() { # TEXT: a script in $PROGRAM
	PROGRAM=$LIVE/program
	printf '#!/bin/sh\n%s\n' "$1" >"$PROGRAM"
	chmod 755 "$PROGRAM"
}

trapped() { # ACTION OPTIONS...: one slow request by that rule; its incident is INCIDENT
	watch_start auto --time-taken 300ms --action "$1" "${@:2}" "$PYTHON"
	client "$PYTHON_PORT" status "/slow?ms=800" >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	wait_for 30 over || fail "the action's end is not in the incident"
	watch_stop
	captured
}

over() {
	[[ $(fact .action.state) != none ]]
}

captured() { # the capture was not lost with it
	is "$(fact '.capture.failed // "-"')" - "capture"
	[[ $(fact '.analysis.thread | length') -gt 0 ]] || fail "no stacks"
}

result() { # STATE WORDS
	is "$(fact .action.state)" "$1" "state"
	has "$(fact .action.why)" "$2" "why"
	has "$(tr -s " \n" " " <"$INCIDENT/report.txt")" "$2" "the page"
}

@test "an action that is missing, not executable, no program or others' to change" {
	trapped "$LIVE/none %1%"
	result failed "No such file"
	program 'exit 0'
	chmod 644 "$PROGRAM"
	trapped "$PROGRAM"
	result failed "Permission denied"
	chmod 777 "$PROGRAM"
	trapped "$PROGRAM"
	result failed "others may change it"
	printf 'no program' >"$PROGRAM"
	chmod 755 "$PROGRAM"
	trapped "$PROGRAM"
	result failed "Exec format error"
}

@test "an action that hangs is asked to end at its time limit, then ended with all it has started" {
	local pid
	# a daemon of its own session, which hears no SIGTERM; its first line is there before the limit
	program "trap 'echo asked' TERM
setsid sh -c 'trap \"\" TERM HUP; exec sleep 600' &
echo daemon \$!
while :; do sleep 600 & wait; done"
	trapped "$PROGRAM" --action-timeout 1500ms
	is "$(fact .action.state)" "timed out" "state"
	is "$(fact .action.exit_code)" 137 "exit code"
	has "$(fact .action.output)" asked "SIGTERM before"
	between "$(fact '.action.took_ns / 1e9')" 6.5 60 "the limit and the grace, in seconds"
	pid=$(fact .action.output | sed -n 's/^daemon //p')
	wait_for 5 gone "$pid" || fail "the daemon $pid is still there"
	has "$(cat "$INCIDENT/report.txt")" "killed at its time limit" "the page"
}

@test "an action that floods its output, or fails" {
	program 'head -c 5000000 /dev/zero | tr "\0" x; exit 5'
	trapped "$PROGRAM"
	is "$(fact .action.state) $(fact .action.exit_code)" "ran 5" "state, exit code"
	is "$(fact '.action.output | length')" 65536 "what is kept"
	is "$(fact .action.output_cut)" true "that it is not all"
	has "$(cat "$INCIDENT/report.txt")" "wrote more than is kept" "the page"
	has "$(cat "$INCIDENT/report.txt")" "exit code 5" "the page"
}

@test "arguments with blanks, quotes, newlines and what a shell would do stay one each" {
	local nasty=$'; rm -rf / "\' $(id)\n`id` %% *'
	program 'for a; do printf "<%s>" "$a"; done'
	printf 'actions-enabled = true\nrule r { time-taken = 300ms action = {"%s", %s, "%%URL%%"} }\n' "$PROGRAM" \
		"$(jq -Rs 'rtrimstr("\n")' <<<"$nasty")" >"$LIVE/rules.conf"
	watch_start auto --config "$LIVE/rules.conf" "$PYTHON"
	client "$PYTHON_PORT" status "/slow?ms=800&x=;rm\${IFS}-rf'\"" >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	wait_for 30 over || fail "the action's end is not in the incident"
	watch_stop
	captured
	is "$(fact .action.output)" "<${nasty/\%\%/%}></slow?ms=800&x=;rm\${IFS}-rf'\">" "arguments"
}

@test "a URL of 1 MiB" {
	program 'printf "%s" "$1" | wc -c'
	watch_start auto --status 414 --action "$PROGRAM %URL%" "$PYTHON"
	python3 - "$PYTHON_PORT" <<'END'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
try:
    s.sendall(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    s.recv(100)
except OSError:
    pass # it answers before it has read all
END
	wait_events 1 '.event == "ended"'
	incident_of 0
	wait_for 30 over || fail "the action's end is not in the incident"
	watch_stop
	is "$(fact .action.state) $(fact .action.exit_code)" "ran 0" "state"
	between "$(fact .action.output)" 100 131072 "length of the URL that is known"
	is "$(fact '.capture.failed // "-"')" - "capture"
}

@test "an action as somebody else" {
	program 'id -un; id -Gn; grep CapPrm /proc/self/status; echo x >"'"$LIVE"'/as-nobody" || echo denied'
	trapped "$PROGRAM" --action-user nobody
	is "$(fact .action.state)" ran "state"
	is "$(fact .action.output | head -n 3 | tr -s '\n\t' '  ')" "nobody nogroup CapPrm: 0000000000000000 " "who it was"
	has "$(fact .action.output)" denied "what it may"
	trapped "$PROGRAM" --action-user no-such-user
	result failed "there is no user 'no-such-user'"
}

first() { # MS OPTIONS...: an action before the capture of a request of that length
	watch_start auto --time-taken 300ms --action "$PROGRAM %1%" --when before-capture "${@:2}" "$PYTHON"
	client "$PYTHON_PORT" status "/slow?ms=$1" >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	captured
	captured_after=$(fact '.capture.started_after_ns / 1e6')
}

@test "an action before the capture, which waits for it, and does not depend on it" {
	program 'grep TracerPid "/proc/$1/status"; ls -A "'"$BATS_TEST_TMPDIR/store"'"; sleep 0.5'
	first 2500
	is "$(fact .action.state) $(fact .action.exit_code)" "ran 0" "state"
	is "$(fact .action.output | tr -s '\t\n' '  ')" "TracerPid: 0 " "what it found: no tracer, no incident"
	between "$captured_after" 500 2200 "ms from the trigger to the capture"
	is "$(events '.event == "trapped"' | jq .running_at_snapshot)" true "the request still ran"
	first 600 # over by then: captured all the same
	is "$(fact .action.state)" ran "state"
	between "$captured_after" 500 5000 "ms from the trigger to the capture"
	program 'sleep 600'
	first 6000
	is "$(fact .action.state)" "timed out" "one that hangs"
	between "$captured_after" 2000 5500 "ms from the trigger to the capture"
	PROGRAM=$LIVE/none
	first 900
	is "$(fact .action.state)" failed "one that is missing"
	between "$captured_after" 0 500 "ms from the trigger to the capture"
}

@test "no more than four actions run at once: the others wait, none is lost" {
	local running=$LIVE/running
	mkdir -p "$running"
	program 'touch "'"$running"'/$$"; ls "'"$running"'" | wc -l; sleep 1; rm "'"$running"'/$$"'
	for when in after-capture before-capture; do
		watch_start auto --time-taken 300ms --limit 100 --action "$PROGRAM" --when $when "$PYTHON"
		client "$PYTHON_PORT" concurrent "/slow?ms=$([[ $when == after-capture ]] && echo 1500 || echo 7000)" 10 >/dev/null
		wait_events 10 '.event == "ended"'
		for n in 0 1 2 3 4 5 6 7 8 9; do
			incident_of "$n"
			wait_for 30 over || fail "the action's end is not in the incident"
			is "$(fact .action.state)" ran "state, $when"
			between "$(fact .action.output)" 1 4 "actions at once, $when"
			is "$(fact .capture.failed)" null "the capture, $when"
		done
		watch_stop
	done
}

@test "what an action before the capture cannot have is refused" {
	local out
	out=$("$REQTRAP" watch --time-taken 1s --action '/bin/true %DUMP%' --when before-capture 1 2>&1) && fail "taken"
	has "$out" "there is no %DUMP% yet before the capture" "a token"
	out=$("$REQTRAP" watch --time-taken 1s --action '/bin/true' --action-timeout 11s --when before-capture 1 2>&1) && fail "taken"
	has "$out" "action-timeout is 10s at most before it" "a time limit"
	out=$("$REQTRAP" watch --time-taken 1s --when before-capture 1 2>&1) && fail "taken"
	has "$out" "'when' is about an action, but it has none" "no action"
}
