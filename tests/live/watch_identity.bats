#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Requests answered = reported + counted as lost, error 0, on real servers under load: many
# keep-alive connections, deep pipelines, files sent in other ways than written. What a server
# reads but throws away (its side is closed already) is no request, and told apart.

load helpers

setup_file() {
	live_begin
	start_python
	start_node
	start_nginx 2
	start_apache
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx apache2 node jq
}

teardown() {
	watch_kill
}

load_run() { # LEAST ARGUMENT...: of load.py; then $ANSWERED, $SENT, $UNANSWERED
	mkfifo "$BATS_TEST_TMPDIR/orders"
	python3 "$LIVE_TESTS/load.py" "${@:2}" <"$BATS_TEST_TMPDIR/orders" >"$BATS_TEST_TMPDIR/load" 3>&- &
	local loader=$!
	remember "$loader"
	exec 7>"$BATS_TEST_TMPDIR/orders"
	wait_for 20 load_past "$1" || fail "the load does not come to $1 requests: $(tail -n 1 "$BATS_TEST_TMPDIR/load")"
	echo end >&7
	exec 7>&-
	wait_for 20 gone "$loader" || fail "the load does not end"
	wait "$loader" || fail "the load: $(cat "$BATS_TEST_TMPDIR/load")"
	read -r ANSWERED SENT UNANSWERED < <(tail -n 1 "$BATS_TEST_TMPDIR/load")
	rm "$BATS_TEST_TMPDIR/orders"
}

load_past() { # NUMBER
	local answered
	echo count >&7
	read -r answered _ < <(tail -n 1 "$BATS_TEST_TMPDIR/load")
	[[ $answered != ready ]] && ((answered > $1))
}

# All that was answered is reported, or counted.
identity() {
	is "$((SENT - UNANSWERED))" "$ANSWERED" "what the client says"
	is "$(jq '.requests + .refused' <<<"$TOTALS")" "$ANSWERED" "requests and those refused"
	is "$(jq '.requests + .inner - .complete' <<<"$TOTALS")" 0 "those not complete"
	between "$(jq .discarded <<<"$TOTALS")" 0 "$UNANSWERED" "those thrown away"
	total unseen 0
	total in_flight 0
	total start_unknown 0
	total lost_events 0
}

exact_under() { # HOOKS TARGET LOAD...
	watch_start "$1" --time-taken 10s "$2"
	load_run 20000 "${@:3}"
	watch_stop
	identity
}

@test "nginx, 32 connections (sock)" {
	exact_under sock "$NGINX" "$NGINX_PORT" 32 /small.txt
}

@test "Apache's event MPM, 32 connections, more than it keeps: those it closes, too (sock)" {
	exact_under sock "$APACHE" "$APACHE_PORT" 32 /small.txt
}

@test "Apache's event MPM, 32 connections, more than it keeps: those it closes, too (syscalls)" {
	exact_under syscalls "$APACHE" "$APACHE_PORT" 32 /small.txt
}

pipelines() { # HOOKS TARGET PORT PATH
	exact_under "$1" "$2" "$3" 8 -p 64 "$4"
	# Of each write the queue takes the first eight, when they come in one read.
	between "$(jq .refused_pipelined <<<"$TOTALS")" 1 "$((ANSWERED * 7 / 8))" "those that the queue did not take"
}

@test "Apache's event MPM, pipelines of 64 (sock)" {
	pipelines sock "$APACHE" "$APACHE_PORT" /small.txt
}

@test "nginx, pipelines of 64 (sock)" {
	pipelines sock "$NGINX" "$NGINX_PORT" /small.txt
}

@test "Node, pipelines of 64 (sock)" {
	pipelines sock "$NODE" "$NODE_PORT" /fast
}

@test "Node, pipelines of 64 (syscalls)" {
	pipelines syscalls "$NODE" "$NODE_PORT" /fast
}

@test "nobody reads the ring: each failed request is trapped, or counted as one that was to be" {
	local sent=3000
	watch_start auto --map-share 10 --status 404 --limit 100000 --capture trace "$NGINX"
	kill -STOP "$WATCH"
	curl -s -o /dev/null "http://127.0.0.1:$NGINX_PORT/none/[1-$sent]"
	kill -CONT "$WATCH"
	watch_stop
	is "$(jq '.requests + .refused' <<<"$TOTALS")" "$sent" "requests and those refused"
	is "$(jq '.trapped + .lost_triggers' <<<"$TOTALS")" "$(jq .requests <<<"$TOTALS")" "trapped, and not for want of room"
	between "$(jq .lost_triggers <<<"$TOTALS")" 1 "$sent" "those that found no room"
	between "$(jq .lost_ring <<<"$TOTALS")" "$(jq .lost_triggers <<<"$TOTALS")" $((2 * sent)) "records that found none"
	total in_flight 0
}
