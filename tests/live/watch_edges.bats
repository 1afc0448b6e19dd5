#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What real traffic does now and then: '100 Continue', HTTP/1.0, heads longer than any
# buffer, uploads that break off, dual-stack listeners, HTTP over a unix socket, and
# many requests at once through a proxy.

load helpers

setup_file() {
	live_begin
	start_python
	start_node ::
	start nodesock node "$LIVE_TESTS/servers/server.js" "$LIVE/node.sock"
	export NODESOCK=$STARTED
	wait_for 15 test -S "$LIVE/node.sock"
	chmod 777 "$LIVE/node.sock"
	start_nginx 2
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx node jq
}

teardown() {
	watch_kill
}

edges() { # HOOKS
	watch_start "$1" --status 100-599 --limit 1000 --capture trace "$PYTHON"
	client "$PYTHON_PORT" post-expect /echo?expect 50000
	client "$PYTHON_PORT" old /old
	client "$PYTHON_PORT" long-head /long 30000
	client "$PYTHON_PORT" get /fast/last >/dev/null
	wait_events 5 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 5
	trapped_are <<'END'
POST /echo?expect 200
GET /old 200
GET /long 200
GET /long?next 200
GET /fast/last 200
END
	incident_where '.url == "/long"'
	between "$(fact .request.request_bytes)" 30000 30400 "request_bytes of the long head"
	incident_where '.url == "/echo?expect"'
	between "$(fact .request.request_bytes)" 50000 50400 "request_bytes after 100 Continue"
	between "$(fact .request.response_bytes)" 50000 50600 "response_bytes after 100 Continue"
}

@test "100 Continue, HTTP/1.0, a head of 30 KB (sock)" {
	edges sock
}

@test "100 Continue, HTTP/1.0, a head of 30 KB (syscalls)" {
	edges syscalls
}

@test "an upload that breaks off is one request, and does not hurt the next" {
	watch_start auto --time-taken 5s "$PYTHON"
	client "$PYTHON_PORT" post-half /echo 100000
	client "$PYTHON_PORT" get /fast /fast >/dev/null
	watch_stop
	watch_clean 1
	total requests 3
	total trapped 0
	total in_flight 0
}

dual_stack() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 10 "$NGINX" "$NODE"
	client "$NGINX_PORT" get /node/fast '/node/slow?ms=900' /node/fast >/dev/null
	client "$NODE_PORT" get /fast '/slow?ms=901' >/dev/null
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 5
	total trapped 2
	is "$(events '.event == "trapped"' | jq -r .pid | sort -u)" "$NODE" "pids"
	is "$(events '.event == "trapped" and (.chain | length) == 2' | jq -r '.chain[0] | [.process, .via] | join(" ")')" \
		"nginx tcp:127.0.0.1:$NODE_PORT" "first hop of the one through nginx"
}

@test "a server that listens on all addresses of both families, behind nginx and alone (sock)" {
	dual_stack sock
}

@test "a server that listens on all addresses of both families, behind nginx and alone (syscalls)" {
	dual_stack syscalls
}

over_unix() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 10 "$NGINX" "$NODESOCK"
	client "$NGINX_PORT" get /nodesock/fast '/nodesock/slow?ms=900' /nodesock/fast >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 3
	total trapped 1
	is "$(events '.event == "trapped"' | jq -r '[.pid, .chain[0].process, .chain[0].via] | join(" ")')" \
		"$NODESOCK nginx unix:$LIVE/node.sock" "holder and first hop"
}

@test "HTTP over a unix socket behind nginx (sock)" {
	over_unix sock
}

@test "HTTP over a unix socket behind nginx (syscalls)" {
	over_unix syscalls
}

many_through_a_proxy() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 100 --capture trace "$NGINX" "$PYTHON"
	client "$NGINX_PORT" concurrent '/py/slow?ms=1200' 20
	wait_events 20 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 20
	total trapped 20
	is "$(events '.event == "trapped"' | jq -r .url | sort -u | wc -l)" 20 "different URLs"
	is "$(events '.event == "trapped"' | jq -r .tid | sort -u | wc -l)" 20 "different threads"
	is "$(events '.event == "trapped"' | jq -r '[.pid, (.chain | length), .chain[0].process] | join(" ")' | sort -u)" \
		"$PYTHON 2 nginx" "holders and chains"
}

@test "twenty at once through a proxy: each is trapped once, in its own thread (sock)" {
	many_through_a_proxy sock
}

@test "twenty at once through a proxy: each is trapped once, in its own thread (syscalls)" {
	many_through_a_proxy syscalls
}

@test "only the proxy is named: the trap is in the server behind it all the same" {
	watch_start auto --time-taken 400ms --capture trace,stacks "$NGINX"
	client "$NGINX_PORT" get '/py/slow?ms=1000' >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	total requests 1
	is "$(events '.event == "trapped"' | jq -r '[.pid, .chain[0].process] | join(" ")')" "$PYTHON nginx" "holder, first hop"
	is "$(fact '.analysis.thread[0].call')" clock_nanosleep "call of the holder"
	times_add_up
}

# Connections that were there before the watch: at rest, and in the middle of a request.
older_connections() { # HOOKS
	mkfifo "$BATS_TEST_TMPDIR/rest"
	client "$PYTHON_PORT" idle 3 '/slow?ms=700' <"$BATS_TEST_TMPDIR/rest" >"$BATS_TEST_TMPDIR/idle" 3>&- &
	local idler=$! slow
	exec 7>"$BATS_TEST_TMPDIR/rest"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/idle"
	client "$PYTHON_PORT" get '/slow?ms=8000' '/slow?ms=701' >/dev/null 3>&- 7>&- &
	slow=$!
	wait_for 10 sleeps_in "$PYTHON" clock_nanosleep
	watch_start "$1" --time-taken 400ms --limit 100 --capture trace "$PYTHON" 7>&-
	exec 7>&-
	wait "$idler"
	wait "$slow"
	wait_events 4 '.event == "ended"'
	watch_stop
	watch_clean
	# The one under way was not seen to begin; all that began later were.
	total requests 4
	total trapped 4
	is "$(events '.event == "trapped"' | jq -r .url | sort | tr '\n' ' ')" \
		"/slow?ms=700 /slow?ms=700 /slow?ms=700 /slow?ms=701 " "trapped"
}

sleeps_in() { # PID CALL: one of its threads
	local nr
	case $2 in clock_nanosleep) nr=230 ;; esac
	grep -qs "^$nr " "/proc/$1/task"/*/syscall
}

@test "connections older than the watch: what begins on them later is seen (sock)" {
	older_connections sock
}

@test "connections older than the watch: what begins on them later is seen (syscalls)" {
	older_connections syscalls
}

@test "a server that is killed while it holds a trapped request: told once, kept, the watch ends" {
	local port server
	port=$(free_port)
	start_on_port mortal "$port" python3 "$LIVE_TESTS/servers/server.py" "$port"
	server=$STARTED
	watch_start auto --time-taken 300ms --capture trace,stacks,full "$server"
	client "$port" status '/slow?ms=20000' >/dev/null 2>&1 3>&- &
	local asker=$!
	wait_events 1 '.event == "trapped"'
	kill -KILL "$server"
	watch_wait
	wait "$asker" || :
	is "$WATCH_STATUS" 0 "exit code"
	total trapped 1
	incident_of 0
	no_half_incident
	[[ $(fact '.analysis.thread | length') -gt 0 ]] || fail "the incident has no stacks"
	zstd -qt "$INCIDENT/core.zst"
}
