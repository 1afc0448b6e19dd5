#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Heads that are not as they mostly are: replies in many buffers, methods of any name, FastCGI
# parameters longer than what is kept; and connections for which the table has no room.

load helpers

setup_file() {
	live_begin
	PIECES_PORT=$(free_port)
	start_on_port pieces "$PIECES_PORT" python3 "$LIVE_TESTS/servers/pieces.py" "$PIECES_PORT"
	PIECES=$STARTED
	export PIECES PIECES_PORT
	start_python
	start_fpm
	start_nginx
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx php-fpm8.2 jq
}

teardown() {
	watch_kill
}

in_pieces() { # HOOKS
	watch_start "$1" --time-taken 2s --status 503 --limit 100 --capture trace "$PIECES"
	client "$PIECES_PORT" get /0 /1 /2 /3 /7 /8 /15 /16 /30 /60 /120 /250 /0 '/4?status=404' >/dev/null
	client "$PIECES_PORT" status '/60?status=503' >/dev/null
	client "$PIECES_PORT" status '/240?status=503' >/dev/null
	watch_stop
	watch_clean
	total requests 16
	total complete 16
	total trapped 2
	is "$(events '.event == "ended"' | jq -r .status | tr '\n' ' ')" "503 503 " "statuses"
}

@test "heads of replies in up to a thousand buffers (sock)" {
	in_pieces sock
}

@test "heads of replies in up to a thousand buffers (syscalls)" {
	in_pieces syscalls
}

asked_with() { # METHOD [BYTES THAT ARE SENT FIRST]
	METHOD=$1 FIRST=${2:-0} python3 - "$PIECES_PORT" <<-'END'
		import os, socket, sys, time
		head = f"{os.environ['METHOD']} /1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
		first = int(os.environ["FIRST"])
		with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
		    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		    if first:
		        s.sendall(head[:first])
		        while int.from_bytes(__import__("fcntl").ioctl(s, 0x5411, b"\0" * 4), sys.byteorder):
		            pass # until the other side has acknowledged it
		        time.sleep(0.02)
		    s.sendall(head[first:])
		    assert s.recv(4096).startswith(b"HTTP/1.1 200"), "no answer"
	END
}

@test "methods of any name" {
	local methods=(FOO get Get M.X "!#\$%&'*+.^_\`|~" VND.EXAMPLE.SYNC mkworkspace1 M-SEARCH SUBSCRIBE VERSION-CONTROL UPDATEREDIRECTREF X_Y A AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA) method
	watch_start auto --status 200 --limit 100 --capture trace "$PIECES"
	for method in "${methods[@]}"; do
		asked_with "$method"
	done
	for method in 1 2 3 7 8 9 10 11; do
		asked_with SUBSCRIBE "$method"
	done
	watch_stop
	total requests $((${#methods[@]} + 8))
	total complete $((${#methods[@]} + 8))
	is "$(events '.event == "trapped"' | jq -r .method | head -n ${#methods[@]} | tr '\n' ' ')" "${methods[*]} " "methods"
}

@test "FastCGI parameters longer than what is kept: rules find path, method and host all the same" {
	local size
	for rule in '--path /unix/slow.php*' '--method GET' '--host 127.0.0.1*'; do
		# shellcheck disable=SC2086
		watch_start auto --time-taken 200ms --limit 100 --capture trace $rule "$FPM"
		for size in 100 900 2000 6000; do
			curl -s --max-time 60 -o /dev/null "http://127.0.0.1:$NGINX_PORT/unix/slow.php?ms=400&a=$(printf "%${size}s" | tr ' ' x)"
		done
		watch_stop
		total requests 4
		total trapped 4
		is "$(events '.event == "trapped"' | jq -r '[.method, .host, .url] | join(" ")' | cut -d'?' -f1 | sort | uniq -c | xargs)" \
			"4 GET 127.0.0.1 /unix/slow.php" "what is known of them ($rule)"
		between "$(jq .head_cut <<<"$TOTALS")" 2 3 "heads cut"
	done
}

# Each is counted once, where it was lost; calls to an upstream are no requests.
@test "more connections than the table has room for, before an upstream" {
	watch_start auto --map-share 1 --time-taken 30s --capture trace "$NGINX" "$PYTHON"
	mkfifo "$BATS_TEST_TMPDIR/hold"
	python3 "$LIVE_TESTS/client.py" "$NGINX_PORT" idle 250 /py/fast <"$BATS_TEST_TMPDIR/hold" >"$BATS_TEST_TMPDIR/idle" 3>&- &
	remember $!
	exec 7>"$BATS_TEST_TMPDIR/hold"
	wait_for 20 grep -q ready "$BATS_TEST_TMPDIR/idle" || fail "no 250 connections"
	seq 20 | xargs -P 20 -I{} python3 "$LIVE_TESTS/client.py" "$NGINX_PORT" repeat /py/fast 100
	watch_stop
	exec 7>&- # it asks once more
	between "$(jq .refused_connections <<<"$TOTALS")" 1 100000 "connections that had no room"
	is "$(jq '.requests + .inner + .refused + .unseen' <<<"$TOTALS")" 4500 "requests to both"
}
