#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A mark that the application makes as a rule's condition: it traps the request while it runs,
# also the one that is waiting for whoever made the mark; milder marks do not.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	live_begin
	if ! command -v gcc >/dev/null ||
		! gcc -O2 -Wall -Wextra -Werror -o "$LIVE/marks" "$LIVE_TESTS/servers/marks.c" -lpthread; then
		return 0
	fi
	MARKS_PORT=$(free_port)
	start_on_port marks "$MARKS_PORT" "$LIVE/marks" "$MARKS_PORT"
	MARKS=$STARTED
	export MARKS MARKS_PORT
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq curl
	[[ -n ${MARKS:-} ]] || skip "no compiler for the server with marks"
}

teardown() {
	watch_kill
}

get() { # PATH [PORT]
	curl -sS -o /dev/null -m 20 "http://127.0.0.1:${2:-$MARKS_PORT}$1"
}

@test "a mark so grave traps the request at once, while it runs; a milder one does not" {
	watch_start auto --severity error --limit 9 "$MARKS"
	get /severity/3/0
	get /severity/4/0
	get /severity/2/700
	wait_events 1 '.event == "ended"'
	get /severity/1/200
	wait_events 2 '.event == "ended"'
	is "$(events '.event == "trapped"' | jq -r '[.url, .reason, .cause] | join(" ")')" \
		"$(printf '%s\n' "/severity/2/700 APP_MARK app-mark" "/severity/1/200 APP_MARK app-mark")" "what was trapped"
	incident_of
	between "$(fact '.elapsed_ns / 1e6')" 0 600 "ms to the mark"
	is "$(fact .severity)" 2 "the severity"
	is "$(fact .capture.running_at_snapshot)" true "the request still ran"
	has "$(fact .verdict)" "GET /severity/2/700 was marked error ('cart is empty') after" "the verdict"
	has "$(fact .verdict)" "which was in serve" "the verdict's place"
	has "$(cat "$INCIDENT/report.txt")" "at a mark of the application, error (APP_MARK)" "the page"
	has "$(cat "$INCIDENT/report.txt")" "MARKED REQUEST" "the page"
	watch_stop
	watch_clean
	is "$(jq -c '[.requests, .complete, .trapped]' <<<"$TOTALS")" "[4,4,2]" "the totals"
}

@test "one that comes to be graver fires no second time for the same rule; all joins it with the time" {
	cat >"$LIVE/rules.conf" <<-END
		rule "marked" { severity = information limit = 99 capture = {"trace"} }
	END
	watch_start auto --config "$LIVE/rules.conf" -o "$LIVE/store" "$MARKS"
	get /marks
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(count_events '.event == "trapped"')" 1 "captures of a request with all severities"
	watch_start auto --severity error --time-taken 300ms --all --limit 9 --capture trace "$MARKS"
	get /severity/2/0
	get /severity/3/700
	get /severity/2/900
	wait_events 1 '.event == "ended"'
	is "$(events '.event == "trapped"' | jq -r '[.url, .reason] | join(" ")')" "/severity/2/900 TIME_TAKEN" "both hold"
	incident_of
	between "$(fact '.elapsed_ns / 1e6')" 299 880 "ms to the limit"
	watch_stop
	watch_clean
}

@test "a mark in a call traps the request that made the call, with who made the mark" {
	need nginx
	start_nginx 1
	sed -i "s|location /node/ {|location /severity/ { proxy_pass http://127.0.0.1:$MARKS_PORT; }\n\t\t&|" "$LIVE/nginx.conf"
	kill -HUP "$NGINX"
	wait_for 10 get /severity/4/0 "$NGINX_PORT"
	watch_start auto --severity warning --limit 99 "$NGINX" "$MARKS"
	for n in 1 2 3 4 5 6; do
		get "/severity/3/300?$n" "$NGINX_PORT"
	done
	wait_events 6 '.event == "ended"'
	is "$(events '.event == "trapped"' | jq -r '[.reason, (.chain | length), .chain[-1].pid] | join(" ")' | sort | uniq -c |
		awk '{ $1 = $1; print }')" "6 APP_MARK 2 $MARKS" "each with its chain"
	watch_stop
	watch_clean
	is "$(jq -c '[.requests, .inner, .trapped]' <<<"$TOTALS")" "[6,6,6]" "the totals"
}
