#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Targets, rules, limits, actions, totals: what is the same for every server.

load helpers

setup_file() {
	live_begin
	start_python
	printf '#!/bin/sh\nprintf "%%s\\n" "$@" >"%s/told"\necho "to stdout"\necho "to stderr" >&2\nexit 3\n' "$LIVE" \
		>"$LIVE/tell"
	chmod 755 "$LIVE/tell"
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq
	rm -f "$LIVE/told"
}

teardown() {
	watch_kill
}

ask_slow() { # [PORT] [QUERY]
	client "${1:-$PYTHON_PORT}" status "/slow?ms=800${2:-}" >/dev/null
}

@test "a target by its name" {
	local port name=shop$$
	port=$(free_port)
	# A script without env in between: the kernel names the process after it.
	{ echo "#!$(python3 -c 'import sys; print(sys.executable)')"; cat "$LIVE_TESTS/servers/server.py"; } >"$LIVE/$name"
	chmod 755 "$LIVE/$name"
	start_on_port named "$port" "$LIVE/$name" "$port"
	watch_start auto --time-taken 300ms "$name"
	ask_slow "$port"
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -r '[.pid, .process] | join(" ")')" "$STARTED $name" "holder"
}

@test "a target by its port" {
	watch_start auto --time-taken 300ms ":$PYTHON_PORT"
	ask_slow
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -r .pid)" "$PYTHON" "pid"
}

@test "a target that is started; the watch ends with it" {
	local port pid
	port=$(free_port)
	watch_start auto --time-taken 300ms -- python3 "$LIVE_TESTS/servers/server.py" "$port"
	wait_for 15 connects "$port" || fail "the server does not listen"
	pid=$(client "$port" get /pid)
	pid=${pid##* }
	remember "$pid"
	ask_slow "$port"
	wait_events 1 '.event == "ended"'
	kill -TERM "$pid"
	watch_wait
	watch_clean
	is "$(events '.event == "trapped"' | jq -r .pid)" "$pid" "pid"
}

@test "the watch ends when its target does, and says so in its totals" {
	local port
	port=$(free_port)
	start_on_port mortal "$port" python3 "$LIVE_TESTS/servers/server.py" "$port"
	watch_start auto --time-taken 300ms "$STARTED"
	client "$port" get /fast /fast >/dev/null
	kill -TERM "$STARTED"
	watch_wait
	is "$WATCH_STATUS" 1 "exit code when nothing was trapped"
	total requests 2
}

@test "-n 1: the watch ends after one capture" {
	watch_start auto --time-taken 300ms -n 1 --limit 10 "$PYTHON"
	ask_slow
	watch_wait
	is "$WATCH_STATUS" 0 "exit code"
	total trapped 1
	incident_of 0
}

@test "nothing is left attached, and the target is as it was" {
	need bpftool
	watch_start auto --time-taken 300ms --capture trace,stacks,full "$PYTHON"
	ask_slow
	wait_events 1 '.event == "ended"'
	local id ids
	ids=$(cat "/proc/$WATCH/fdinfo"/* 2>/dev/null | awk '$1 == "prog_id:" { print $2 }' | sort -u)
	[[ -n $ids ]] || fail "the watch has no BPF programs"
	watch_stop
	watch_clean
	for id in $ids; do
		! bpftool prog show id "$id" >/dev/null 2>&1 || fail "BPF program $id is still there"
	done
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$PYTHON/status")" 0 "TracerPid"
	is "$(children "$PYTHON")" "" "children"
	client "$PYTHON_PORT" get /fast >/dev/null
}

@test "the limit is one capture for each life of the process; more are told, not captured" {
	watch_start auto --time-taken 300ms "$PYTHON"
	ask_slow "$PYTHON_PORT" '&n=1'
	ask_slow "$PYTHON_PORT" '&n=2'
	wait_events 2 '.event == "ended"'
	incident_of 1
	watch_stop
	is "$WATCH_STATUS" 0 "exit code"
	total trapped 2
	is "$(fact .limit_reached)" true "limit_reached of the second"
	is "$(fact .capture.method)" none "capture of the second"
	has "$(fact .suppressed)" "limit" "why the second was not captured"
	has "$(cat "$INCIDENT/report.txt")" "limit" "the page"
	incident_of 0
	[[ $(fact '.analysis.thread | length') -gt 0 ]] || fail "the first has no stacks"
}

action() { # OPTIONS...
	watch_start auto --time-taken 300ms --action "$LIVE/tell %1% '%URL%' two' words' %REASON% %% %INCIDENT%" "$@" "$PYTHON"
}

@test "an action gets its arguments whole, whatever the URL holds; its exit code and output stand in the incident" {
	action
	client "$PYTHON_PORT" get '/slow?ms=800&x=$(touch${IFS}'"$LIVE"'/harm);`id`|"'"'"'*' >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	is "$WATCH_STATUS" 0 "exit code"
	[[ ! -e $LIVE/harm ]] || fail "a shell has seen the URL"
	diff - "$LIVE/told" <<END || fail "other arguments"
$PYTHON
/slow?ms=800&x=\$(touch\${IFS}$LIVE/harm);\`id\`|"'*
two words
TIME_TAKEN
%
$INCIDENT
END
	is "$(fact .action.state)" ran "state"
	is "$(fact .action.exit_code)" 3 "exit code of the action"
	has "$(fact .action.output)" "to stdout" "output"
	has "$(fact .action.output)" "to stderr" "output"
	is "$(fact '.action.argv[1]')" "$PYTHON" "argv[1]"
}

@test "an action runs once by default; the second request is told with the reason" {
	action
	ask_slow "$PYTHON_PORT" '&n=1'
	wait_for 10 test -s "$LIVE/told"
	rm "$LIVE/told"
	ask_slow "$PYTHON_PORT" '&n=2'
	wait_events 2 '.event == "ended"'
	incident_of 1
	watch_stop
	is "$(fact .action.state)" limit "state of the second"
	[[ ! -e $LIVE/told ]] || fail "the action ran twice"
}

@test "an action whose program is not there costs nothing but itself" {
	watch_start auto --time-taken 300ms --action "$LIVE/no-such-program %1%" "$PYTHON"
	ask_slow
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	is "$(fact .action.state)" failed "state"
	has "$(fact .action.why)" "no-such-program" "why"
	[[ $(fact '.analysis.thread | length') -gt 0 ]] || fail "the incident has no stacks"
}

@test "rules of a file: the first that matches fires, the page names the others; actions only if enabled" {
	cat >"$LIVE/rules.conf" <<END
actions-enabled = false
rule "posts only" {
	method = "POST"
	time-taken = 100ms
}
rule "slow path" {
	path = "/slow*"
	time-taken = 300ms
	action = {"$LIVE/tell", "%1%"}
}
rule "anything slow" {
	time-taken = 300ms
	status = "404"
}
END
	watch_start auto --config "$LIVE/rules.conf" "$PYTHON"
	ask_slow
	client "$PYTHON_PORT" get /status/404 /status/500 >/dev/null
	wait_events 2 '.event == "ended"'
	incident_of 0
	watch_stop
	is "$WATCH_STATUS" 0 "exit code"
	total requests 3
	is "$(events '.event == "trapped"' | jq -r '[.rule, .reason] | join(" / ")' | tr '\n' ';')" \
		"slow path / TIME_TAKEN;anything slow / STATUS_CODE;" "rules"
	is "$(fact '.also_matched[0]')" "anything slow" "also_matched"
	is "$(fact .action.state)" disabled "state of the action"
	[[ ! -e $LIVE/told ]] || fail "the action ran"
}

@test "conditions by option: path, method and --all" {
	watch_start auto --path '/slow*' --method GET --time-taken 300ms --status 200-299 --all --limit 9 --capture trace "$PYTHON"
	client "$PYTHON_PORT" get '/lock?ms=500' '/slow?ms=10' '/slow?ms=500' /status/200 >/dev/null
	client "$PYTHON_PORT" status '/slow?ms=501' >/dev/null
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 5
	is "$(events '.event == "trapped"' | jq -r .url | tr '\n' ' ')" "/slow?ms=500 /slow?ms=501 " "trapped"
}

@test "requests are told in the order in which they were trapped" {
	watch_start auto --status 200 --limit 100 --capture trace "$PYTHON"
	client "$PYTHON_PORT" get /1 /2 /3 /4 /5 /6 /7 /8 /9 >/dev/null
	wait_events 9 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -r .url | tr '\n' ' ')" "/1 /2 /3 /4 /5 /6 /7 /8 /9 " "order"
}

@test "for people: a line for each trapped request, totals and what it cost" {
	local code=0
	STORE=$BATS_TEST_TMPDIR/store WATCH_OUT=$BATS_TEST_TMPDIR/out WATCH_ERR=$BATS_TEST_TMPDIR/err
	chmod go-w "$BATS_TEST_TMPDIR"
	# as in a script: the shell has it started with SIGINT ignored
	"$REQTRAP" watch --time-taken 300ms -o "$STORE" "$PYTHON" >"$WATCH_OUT" 2>"$WATCH_ERR" 3>&- &
	WATCH=$!
	remember "$WATCH"
	wait_for 15 watch_ready
	ask_slow
	wait_for 15 grep -qF 'slow?ms=***' "$WATCH_OUT"
	kill -INT "$WATCH"
	wait "$WATCH" || code=$?
	WATCH=
	is "$code" 0 "exit code"
	has "$(cat "$WATCH_OUT" "$WATCH_ERR")" "1 request" "totals"
}
