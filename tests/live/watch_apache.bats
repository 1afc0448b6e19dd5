#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Apache with the event MPM: static files, a CGI program, a server behind it.

load helpers

setup_file() {
	live_begin
	start_python
	start_apache
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need apache2 jq
}

teardown() {
	watch_kill
}

conversation() { # HOOKS
	watch_start "$1" --status 100-599 --limit 1000 --capture trace "$APACHE"
	client "$APACHE_PORT" get /small.txt /big.bin /no-such-page /small.txt?again >/dev/null
	client "$APACHE_PORT" pipeline /small.txt?1 /big.bin?2 /small.txt?3
	client "$APACHE_PORT" split /small.txt?split 4
	client "$APACHE_PORT" head /small.txt
	client "$APACHE_PORT" unchanged /small.txt?unchanged
	client "$APACHE_PORT" get '/cgi/slow.cgi?0.05' >/dev/null
	wait_events 12 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 12
	total trapped 12
	trapped_are <<'END'
GET /small.txt 200
GET /big.bin 200
GET /no-such-page 404
GET /small.txt?again 200
GET /small.txt?1 200
GET /big.bin?2 200
GET /small.txt?3 200
GET /small.txt?split 200
HEAD /small.txt 200
GET /small.txt?unchanged 200
GET /small.txt?unchanged 304
GET /cgi/slow.cgi?0.05 200
END
	incident_where '.url == "/big.bin"'
	between "$(fact .request.response_bytes)" 1000001 1000999 "response_bytes of the big file"
}

@test "static files, pipelining, HEAD, 304, 404, CGI (sock)" {
	conversation sock
}

@test "static files, pipelining, HEAD, 304, 404, CGI (syscalls)" {
	conversation syscalls
}

slow_cgi() { # HOOKS
	watch_start "$1" --time-taken 500ms --capture trace,stacks "$APACHE"
	client "$APACHE_PORT" get '/cgi/slow.cgi?1.5' /small.txt >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	total requests 2
	total trapped 1
	between "$(events '.event == "trapped"' | jq .elapsed_ms)" 500 1000 "elapsed_ms"
	is "$(fact .capture.running_at_snapshot)" true "running_at_snapshot"
	times_add_up
	is "$(fact .process.comm)" apache2 "process"
	children "$APACHE" | grep -qx "$(fact .holder_pid)" || fail "pid $(fact .holder_pid) is no child of Apache"
	[[ $(fact .holder_tid) != "$(fact .holder_pid)" ]] || fail "the main thread is named, not the worker's"
}

@test "a slow CGI program: trapped in the worker thread that waits for it (sock)" {
	slow_cgi sock
}

@test "a slow CGI program: trapped in the worker thread that waits for it (syscalls)" {
	slow_cgi syscalls
}

behind_apache() { # HOOKS
	watch_start "$1" --time-taken 400ms --limit 10 "$APACHE" "$PYTHON"
	client "$APACHE_PORT" get /py/fast '/py/slow?ms=900' /py/fast >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total requests 3
	total trapped 1
	is "$(events '.event == "trapped"' | jq -r .pid)" "$PYTHON" "pid"
	is "$(events '.event == "trapped"' | jq -r '.chain[0] | [.process, .via] | join(" ")')" \
		"apache2 tcp:127.0.0.1:$PYTHON_PORT" "first hop"
}

@test "mod_proxy to a server behind it: the trap names that server (sock)" {
	behind_apache sock
}

@test "mod_proxy to a server behind it: the trap names that server (syscalls)" {
	behind_apache syscalls
}
