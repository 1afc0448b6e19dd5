#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Detail by area: an application's own marks, probes in real servers and libraries,
# what they note and where it is shown, what is counted, and that nothing stays behind.

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
}

teardown() {
	watch_kill
}

need_marks() {
	[[ -n ${MARKS:-} ]] || skip "no compiler for the server with marks"
}

get() { # PORT PATH
	curl -sS -m 20 "http://127.0.0.1:$1$2"
}

lines() { # KIND: at in ms, duration in ms, name, detail, severity
	fact ".trace[] | select(.kind == \"$1\") |
		[(.at_ns / 1e6 | floor), ((.dur_ns // 0) / 1e6 | floor), .name, .detail, (.severity // 0)] | @tsv"
}

area() { # AREA FIELD: of the totals
	jq ".areas[] | select(.area == \"$1\") | .$2" <<<"$TOTALS"
}

listened() {
	get "$MARKS_PORT" /listened
}

not_listened() {
	is "$(listened)" 0 "listeners"
}

@test "spans: nested, with true durations, an open one up to the copy; then its end" {
	need_marks
	watch_start auto --time-taken 400ms --capture trace --areas mark "$MARKS"
	is "$(listened)" 1 "the application can ask whether somebody looks"
	get "$MARKS_PORT" /spans/150 &
	client=$!
	wait_events 1 '.event == "trapped"'
	incident_of
	open=$(lines span)
	wait "$client"
	wait_events 1 '.event == "ended"'
	wait_for 10 bash -c "grep -q '\"ended\": true' '$INCIDENT/incident.json'"
	IFS=$'\t' read -r at dur name detail severity < <(lines span | sed -n 1p)
	is "$name $detail $severity" "outer 150 4" "the outer span"
	between "$dur" 769 8000 "its duration in ms"
	IFS=$'\t' read -r at dur name detail severity < <(lines span | sed -n 2p)
	is "$name $detail" "inner 1" "the inner span"
	between "$at" 19 7000 "its begin"
	between "$dur" 149 7000 "its duration"
	if [[ $open != *"still open"* ]]; then # it was written before the end, most likely
		echo "the end came before the first page was read" >&3
	else
		has "$(sed -n 1p <<<"$open")" "150, still open" "the outer span while it was open"
	fi
	lacks "$(lines span)" "still open" "all spans at the end"
	has "$(cat "$INCIDENT/report.txt")" "never ended before the trap" "the page"
	has "$(cat "$INCIDENT/trace.json")" '"name":"inner"' "the trace for Perfetto"
	watch_stop
	watch_clean
	is "$(area mark events)" 6 "events"
}

@test "marks: severity, number and text of each; escaped, and cut where it is longer" {
	need_marks
	watch_start auto --time-taken 100ms --capture trace --areas mark=verbose "$MARKS"
	get "$MARKS_PORT" /marks
	wait_events 1 '.event == "ended"'
	incident_of
	is "$(lines mark | cut -f3- | head -5 | tr '\t' '|')" "$(printf '%s\n' "disk is full|1|1" "cart is empty|-7|2" \
		"cache miss|42|3" "three <b>bold</b> "$'\e'"[31m words||4" "step|5|5")" "the marks"
	has "$(lines mark | sed -n 6p)" "xxx... (cut)" "a long text"
	is "$(fact .losses.texts_cut)" 1 "texts that were cut"
	page=$(cat "$INCIDENT/report.html")
	lacks "$page" "<b>bold" "the page"
	has "$page" "cart is empty" "the page"
	has "$(cat "$INCIDENT/report.txt")" "disk is full" "the page"
	has "$(cat "$INCIDENT/report.txt")" "(critical)" "the page"
	lacks "$(cat "$INCIDENT/report.txt")" $'\e' "the page"
	watch_stop
	watch_clean
	is "$(area mark events)" 6 "events"
	is "$(area mark texts_cut)" 1 "texts cut"
	between "$(area mark ns)" 1 1000000 "their cost"
}

@test "verbosity: marks below it are not there; an area that is off notes nothing" {
	need_marks
	watch_start auto --time-taken 100ms --capture trace --areas mark=error,socket=off,dns "$MARKS"
	get "$MARKS_PORT" /marks
	wait_events 1 '.event == "ended"'
	incident_of
	is "$(lines mark | cut -f3 | tr '\n' '|')" "disk is full|cart is empty|" "the marks"
	is "$(lines recv)$(lines send)" "" "events of sockets"
	watch_stop
	watch_clean
	is "$(area mark events)" 2 "events"
}

@test "many marks: the first and the last stay, the rest is counted; deep spans too" {
	need_marks
	watch_start auto --time-taken 100ms --limit 9 --capture trace --areas mark "$MARKS"
	get "$MARKS_PORT" /many/100
	wait_events 1 '.event == "ended"'
	incident_of
	is "$(lines mark | cut -f4 | tr '\n' ' ')" "$(echo '' {1..9} {70..99} '')" "the numbers of the marks"
	is "$(fact .losses.events_overwritten)" 60 "marks that were overwritten"
	get "$MARKS_PORT" /deep
	wait_events 2 '.event == "ended"'
	incident_of 1
	is "$(lines span | grep -c level)" 12 "spans"
	is "$(fact .losses.spans_lost)" 4 "spans without an end"
	watch_stop
	watch_clean
}

@test "requests at one time: each has its own marks" {
	need_marks
	watch_start auto --time-taken 100ms --limit 50 --capture trace --areas mark "$MARKS"
	clients=()
	for n in 1 2 3 4 5 6; do
		get "$MARKS_PORT" "/many/$n" &
		clients+=($!)
	done
	wait "${clients[@]}"
	wait_events 6 '.event == "ended"'
	for n in 1 2 3 4 5 6; do
		incident_where ".url == \"/many/$n\""
		is "$(lines mark | wc -l)" "$n" "marks of /many/$n"
	done
	watch_stop
	watch_clean
}

@test "a child that is forked later has its probes, and they go with it" {
	need_marks
	port=$(free_port)
	start child "$LIVE/marks" "$port" child
	wait_for 10 connects "$port" # the parent listens already
	watch_start auto --time-taken 100ms --capture trace --areas mark "$STARTED"
	kill -USR1 "$STARTED"
	until [[ $(get "$port" /listened) == 1 ]]; do
		((SECONDS < 60)) || fail "the child is not listened to"
	done
	get "$port" /marks
	wait_events 1 '.event == "ended"'
	incident_of
	is "$(lines mark | sed -n 2p | cut -f3)" "cart is empty" "a mark of the child"
	watch_stop
	watch_clean
	end_process "$STARTED"
}

@test "kill -9 leaves no probe; nor does a Ctrl-C" {
	need_marks
	watch_start auto --time-taken 10s --capture trace --areas app "$MARKS"
	is "$(listened)" 1 "listeners"
	kill -KILL "$WATCH"
	wait_for 10 gone "$WATCH"
	WATCH=
	wait_for 20 not_listened || fail "the probes are still there: $(listened)"
	watch_start auto --time-taken 10s --capture trace --areas app "$MARKS"
	is "$(listened)" 1 "listeners"
	watch_stop
	wait_for 20 not_listened || fail "the probes are still there: $(listened)"
	is "$WATCH_STATUS" 1 "exit code"
}

@test "php-fpm: script, exceptions, with the time of the script" {
	need php-fpm8.2 nginx
	start_fpm
	start_nginx
	watch_start auto --time-taken 150ms --capture trace --areas php "$FPM"
	get "$NGINX_PORT" /unix/areas.php >/dev/null
	wait_events 1 '.event == "trapped"'
	incident_of
	has "$(lines php)" "script $LIVE/php/areas.php" "the script"
	has "$(lines php)" "exception thrown LengthException" "the exception"
	watch_stop
	watch_clean
}

@test "python: garbage collections and imports, as spans" {
	[[ -x /usr/bin/python3 ]] || skip "no python3 of Debian's"
	readelf -n "$(readlink -f /usr/bin/python3)" 2>/dev/null | grep -q 'Provider: python' || skip "python3 without probes"
	port=$(free_port)
	start_on_port areas "$port" /usr/bin/python3 "$LIVE_TESTS/servers/areas.py" "$port"
	watch_start auto --time-taken 100ms --limit 9 --capture trace --areas python "$STARTED"
	get "$port" /gc
	get "$port" /import
	wait_events 2 '.event == "ended"'
	incident_where '.url == "/gc"'
	has "$(lines python)" $'garbage collection, generation\t2' "the collection"
	between "$(fact '[.trace[] | select(.kind == "python") | .dur_ns][0]')" 10000 2000000000 "its time"
	incident_where '.url == "/import"'
	has "$(lines python)" "import colorsys" "the import"
	watch_stop
	watch_clean
	end_process "$STARTED"
}

@test "nginx: what it exports; the phases when asked for" {
	need nginx
	start_python
	start_nginx
	watch_start auto --time-taken 100ms --capture trace --areas nginx=verbose "$NGINX"
	get "$NGINX_PORT" '/py/slow?ms=300'
	wait_events 1 '.event == "ended"'
	incident_of
	for name in "request processing begins" "access phase" "content phase" "upstream begins"; do
		has "$(lines nginx)" "$name" "the phases"
	done
	watch_stop
	watch_clean
}

@test "apache: its hooks, by the process that answers" {
	need apache2
	start_python
	start_apache
	watch_start auto --time-taken 100ms --capture trace --areas apache=verbose "$APACHE"
	get "$APACHE_PORT" '/py/slow?ms=300'
	wait_events 1 '.event == "ended"'
	incident_of
	for name in "request read" "URL to file name" "fixups" "content handler"; do
		has "$(lines apache)" "$name" "the hooks"
	done
	watch_stop
	watch_clean
}

@test "dns: the name that is looked up, while nobody answers" {
	need_marks
	need_mounts
	silent=127.77.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
	start silent python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('$silent', 53))
print('bound', flush=True)
time.sleep(300)"
	wait_for 10 grep -q bound "$LIVE/log.silent"
	printf 'nameserver %s\noptions timeout:1 attempts:1\n' "$silent" >"$LIVE/resolv.conf"
	port=$(free_port)
	start_on_port dns "$port" unshare -m --propagation private sh -c \
		"mount --bind '$LIVE/resolv.conf' /etc/resolv.conf && exec '$LIVE/marks' $port"
	watch_start auto --time-taken 200ms --capture trace --areas dns "$STARTED"
	get "$port" /dns &
	client=$!
	wait_events 1 '.event == "trapped"'
	incident_of
	has "$(lines dns)" "look-up of no-such-host.invalid" "the look-up"
	wait "$client"
	watch_stop
	watch_clean
	end_process "$STARTED"
}

@test "query: the statement, without the values in it" {
	gcc -O2 -DWITH_PQ -I/usr/include/postgresql -o "$LIVE/query" "$LIVE_TESTS/servers/marks.c" -lpthread -lpq \
		2>/dev/null || skip "no libpq-dev, or no compiler"
	port=$(free_port) sink=$(free_port)
	# a server that lets everybody in and answers no statement
	start_on_port sink "$sink" python3 "$LIVE_TESTS/servers/pgsink.py" "$sink"
	start_on_port query "$port" env PQ_CONNINFO="host=127.0.0.1 port=$sink user=a dbname=a sslmode=disable gssencmode=disable" \
		"$LIVE/query" "$port"
	watch_start auto --time-taken 100ms --limit 9 --capture trace --areas query "$STARTED"
	get "$port" /query
	wait_events 1 '.event == "ended"'
	incident_of
	is "$(lines query | cut -f3)" "query SELECT pg_sleep(?), ? AS word, ?" "the statement"
	lacks "$(cat "$INCIDENT"/*.json "$INCIDENT"/report.*)" "'secret'" "everything that was written"
	watch_stop
	watch_clean
	is "$(area query events)" 1 "events"
	end_process "$STARTED"
}

@test "file and process: a path that is opened, a child that is forked" {
	port=$(free_port)
	start_on_port areas "$port" /usr/bin/python3 "$LIVE_TESTS/servers/areas.py" "$port"
	watch_start auto --time-taken 100ms --capture trace --areas file,process "$STARTED"
	get "$port" /run >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of
	has "$(lines file)" "open, rename or unlink of /dev/null" "the file"
	has "$(lines process)" "forked" "the child"
	watch_stop
	watch_clean
	end_process "$STARTED"
}

@test "a word that is no area, or no verbosity, is refused with what there is" {
	run -2 "$REQTRAP" watch --time-taken 1s --areas marks 1
	has "$output" "'marks' is not an area" "the error"
	run -2 "$REQTRAP" watch --time-taken 1s --areas mark=loud 1
	has "$output" "off, critical, error, warning, information or verbose" "the error"
}
