#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Whose requests a rule is about, and what makes them failed ones, beyond time and status.

load helpers

setup_file() {
	live_begin
	start_python
	start_fpm
	start_nginx
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

ask() { # [CURL OPTIONS] PATH
	curl -s -o /dev/null --max-time 60 "${@:1:$#-1}" "127.0.0.1:$PYTHON_PORT${*: -1}" || :
}

rules() { # LINE...: the file, as it stands
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/rules.conf"
	RULES=$BATS_TEST_TMPDIR/rules.conf
}

trapped() { # JQ-PATH of each trapped request
	events '.event == "trapped"' | jq -r "$1" | paste -sd' '
}

@test "by path with folders, exclude, header and client; the others go by" {
	watch_start auto --time-taken 100ms --limit 50 --path '/**/status/*' --exclude '/status/404' \
		--header 'X-Wanted: y*' --client 127.0.0.0/8 --client unix "$PYTHON"
	ask -H 'x-wanted: yes' '/status/201?ms=300'
	ask -H 'x-wanted: no' '/status/202?ms=300'
	ask '/status/203?ms=300'
	ask -H 'X-Wanted: y' '/status/404?ms=300'
	ask -H 'X-Wanted: y' '/slow?ms=300'
	ask -H 'X-Wanted: yy' '/status/206?ms=300'
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(trapped .status)" "0 0" "trapped while they ran"
	is "$(events '.event == "ended"' | jq -r .status | paste -sd' ')" "201 206" "which ones"
	watch_start auto --time-taken 100ms --client 10.0.0.0/8 "$PYTHON"
	ask '/slow?ms=300'
	watch_stop
	is "$WATCH_STATUS" 1 "exit code when no client fits"
	total requests 1
}

@test "a header that PHP got as a parameter" {
	watch_start auto --time-taken 100ms --header 'X-Wanted: yes' --limit 9 "$FPM"
	curl -s -o /dev/null -H 'X-Wanted: no' "127.0.0.1:$NGINX_PORT/tcp/slow.php?ms=300"
	curl -s -o /dev/null -H 'X-Wanted: yes' "127.0.0.1:$NGINX_PORT/tcp/slow.php?ms=300"
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
}

@test "a request whose client goes away before the reply" {
	watch_start auto --aborted --limit 9 "$PYTHON"
	ask '/fast'
	ask --max-time 0.3 '/slow?ms=900'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(trapped .reason)" ABORTED "reason"
	incident_of
	is "$(fact .ended)" true "it has ended"
	has "$(cat "$INCIDENT/report.txt")" "ABORTED REQUEST" "the page"
}

@test "a request whose response is long" {
	watch_start auto --response-size 64K --limit 9 --capture trace "$PYTHON"
	ask '/big?bytes=60000'
	ask '/big?bytes=70000'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	is "$(trapped .reason)" RESPONSE_SIZE "reason"
	incident_of
	between "$(fact .request.response_bytes)" 70000 71000 "its size"
	has "$(cat "$INCIDENT/report.txt")" "LARGE RESPONSE" "the page"
}

@test "all: slow AND large" {
	watch_start auto --response-size 64K --time-taken 200ms --all --limit 9 --capture trace "$PYTHON"
	ask '/big?bytes=70000'
	ask '/slow?ms=400'
	ask '/big?bytes=70000&ms=400'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	has "$(trapped .url)" "/big?bytes=70000&ms=400" "which one"
}

@test "a rule that was slow to begin with looks again at an end that another asks for" {
	rules 'rule slow  { time-taken = 200ms capture = trace }' 'rule large { response-size = 64K limit = 5 }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/big?bytes=70000&ms=500'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	is "$(trapped .rule)" slow "rule"
	is "$(events '.event == "sample"' | jq -r '[.rule, .reason] | join(" ")')" "large RESPONSE_SIZE" "later rule"
}

@test "only when it is the third within a minute" {
	watch_start auto --time-taken 100ms --occurrences 3/1m --limit 9 --capture trace "$PYTHON"
	for n in 1 2 3 4; do ask "/slow?ms=300&n=$n"; done
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	total requests 4
	has "$(trapped .url)" "n=3" "which one"
}

@test "several times in one rule: one request, looked at again" {
	rules 'rule slow { time-taken = {200ms, 600ms} limit = 5 }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=1000'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	is "$(events '.event == "sample"' | jq -r .rule)" "slow, 600ms" "the later look"
}

@test "watch sets: the targets when none is named, and what a rule is about" {
	rules "watch front { port = {$NGINX_PORT} }" "watch app { port = {$PYTHON_PORT} }" \
		'rule front { watch = front time-taken = 100ms limit = 5 }' 'rule app { watch = app time-taken = 100ms limit = 5 }'
	watch_start auto --config "$RULES"
	ask '/slow?ms=300'
	curl -s -o /dev/null "127.0.0.1:$NGINX_PORT/tcp/slow.php?ms=300"
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(trapped .rule)" "app front" "which rule"
}

@test "all rules together may capture only so often" {
	rules 'limits { captures = "1/1h" }' 'rule a { path = "/slow" time-taken = 100ms limit = 5 }' \
		'rule b { time-taken = 100ms limit = 5 }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=300'
	ask '/status/200?ms=300'
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 2
	total suppressed 1
	incident_of 1
	has "$(fact .suppressed)" "all rules together, 1 captures in 1h" "why not"
}
