#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# nginx: static files (writev, sendfile), slow senders, workers of a reload, and a
# server behind it.

load helpers

setup_file() {
	live_begin
	start_python
	start_nginx 2
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx jq
}

teardown() {
	watch_kill
}

conversation() { # HOOKS
	watch_start "$1" --status 100-599 --limit 1000 --capture trace "$NGINX"
	client "$NGINX_PORT" get /small.txt /big.bin /no-such-page /small.txt?again /empty >/dev/null
	client "$NGINX_PORT" pipeline /small.txt?1 /big.bin?2 /small.txt?3
	client "$NGINX_PORT" split /small.txt?split 4
	client "$NGINX_PORT" head /small.txt
	client "$NGINX_PORT" unchanged /small.txt?unchanged
	client "$NGINX_PORT" status /small.txt?last
	wait_events 13 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 13
	total trapped 13
	trapped_are <<'END'
GET /small.txt 200
GET /big.bin 200
GET /no-such-page 404
GET /small.txt?again 200
GET /empty 204
GET /small.txt?1 200
GET /big.bin?2 200
GET /small.txt?3 200
GET /small.txt?split 200
HEAD /small.txt 200
GET /small.txt?unchanged 200
GET /small.txt?unchanged 304
GET /small.txt?last 200
END
	incident_where '.url == "/big.bin"'
	between "$(fact .request.response_bytes)" 1000001 1000999 "response_bytes of a file sent by sendfile"
	incident_where '.url == "/big.bin?2"'
	between "$(fact .request.response_bytes)" 1000001 1000999 "response_bytes of a pipelined file"
	incident_where '.url == "/small.txt?again"'
	between "$(fact .request.response_bytes)" 100 600 "response_bytes of the small page"
}

@test "static files: writev and sendfile, pipelining, HEAD, 204, 304, 404 (sock)" {
	conversation sock
}

@test "static files: writev and sendfile, pipelining, HEAD, 204, 304, 404 (syscalls)" {
	conversation syscalls
}

slow_sender() { # HOOKS
	watch_start "$1" --time-taken 500ms --capture trace,stacks "$NGINX"
	client "$NGINX_PORT" status /drip/big.bin >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	total requests 1
	total trapped 1
	local pid
	pid=$(events '.event == "trapped"' | jq .pid)
	children "$NGINX" | grep -qx "$pid" || fail "pid $pid is no worker of nginx"
	between "$(events '.event == "trapped"' | jq .elapsed_ms)" 500 1000 "elapsed_ms"
	times_add_up
	# The head went out long ago: the status is known while it runs.
	is "$(events '.event == "trapped"' | jq .status)" 200 "status at the trigger"
	between "$(fact .request.response_bytes)" 1000001 1000999 "response_bytes"
	is "$(fact .capture.running_at_snapshot)" true "running_at_snapshot"
}

@test "an answer that drips is trapped in nginx while it is sent (sock)" {
	slow_sender sock
}

@test "an answer that drips is trapped in nginx while it is sent (syscalls)" {
	slow_sender syscalls
}

workers_of_a_reload() { # HOOKS
	local before after
	watch_start "$1" --status 404 --capture trace "$NGINX"
	before=$(children "$NGINX")
	kill -HUP "$NGINX"
	local pid
	for pid in $before; do
		wait_for 15 gone "$pid" || fail "worker $pid does not end"
	done
	client "$NGINX_PORT" status /no-such-page >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	pid=$(events '.event == "trapped"' | jq .pid)
	after=$(children "$NGINX")
	has " $(echo $after) " " $pid " "workers after the reload"
	lacks " $(echo $before) " " $pid " "workers of before"
}

@test "workers of a reload belong to the watch (sock)" {
	workers_of_a_reload sock
}

@test "workers of a reload belong to the watch (syscalls)" {
	workers_of_a_reload syscalls
}

behind_nginx() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 10 "$NGINX" "$PYTHON"
	client "$NGINX_PORT" get /py/fast '/py/slow?ms=900' '/py/slow?ms=901' /py/fast >/dev/null
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 4
	total trapped 2
	is "$(events '.event == "trapped"' | jq -r .pid | sort -u)" "$PYTHON" "pids"
	is "$(events '.event == "trapped"' | jq -r '.chain[0] | [.process, .via] | join(" ")' | sort -u)" \
		"nginx tcp:127.0.0.1:$PYTHON_PORT" "first hop"
}

@test "behind nginx over TCP with keep-alive: the trap names the server that holds it (sock)" {
	behind_nginx sock
}

@test "behind nginx over TCP with keep-alive: the trap names the server that holds it (syscalls)" {
	behind_nginx syscalls
}

@test "under load by wrk: nothing is lost, every request is seen" {
	need wrk
	watch_start auto --time-taken 5s "$NGINX"
	local sent
	sent=$(wrk -t1 -c8 -d2s "http://127.0.0.1:$NGINX_PORT/small.txt" | awk '/requests in/ { print $1 }')
	watch_stop
	is "$WATCH_STATUS" 1 "exit code when nothing was trapped"
	total lost_events 0
	total refused 0
	total trapped 0
	# wrk counts what was answered; up to 8 more were under way when it stopped.
	between "$(jq .requests <<<"$TOTALS")" "$sent" "$((sent + 8))" "requests seen, of those sent"
}
