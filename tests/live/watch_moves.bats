#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Bytes that are moved, not written: sendfile, also by threads of a pool, splice in both
# directions: counted to the last byte, so that the next request is not mistaken. What goes
# by io_uring is a blind spot: told at the begin, and counted where the kernel lets us; so is a
# head that is read by splice or recvmmsg.

load helpers

setup_file() {
	live_begin
	MOVES_PORT=$(free_port)
	start_on_port moves "$MOVES_PORT" python3 "$LIVE_TESTS/servers/moves.py" "$MOVES_PORT" "$LIVE/www/big.bin"
	MOVES=$STARTED
	NGINX_PORT=$(free_port)
	fill nginx.conf.in PORT="$NGINX_PORT" WORKERS=1 PYTHON=1 NODE=1 FPM=1 |
		sed 's/sendfile on;/sendfile on; aio threads; sendfile_max_chunk 64k;/' >"$LIVE/nginx.conf"
	start_on_port nginx "$NGINX_PORT" nginx -c "$LIVE/nginx.conf" -e "$LIVE/nginx.error.log"
	NGINX=$STARTED
	export MOVES_PORT MOVES NGINX_PORT NGINX
	gcc -O2 -Wall -Wextra -Werror -o "$LIVE/uring" "$LIVE_TESTS/servers/uring.c" -lpthread || return 0
	URING_PORT=$(free_port)
	start uring "$LIVE/uring" "$URING_PORT"
	URING=$STARTED
	export URING_PORT URING
	wait_for 5 connects "$URING_PORT" || : # not allowed here
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

exact() { # REQUESTS
	watch_clean 1
	total requests "$1"
	total complete "$1"
	total unseen 0
	total blind 0
	total in_flight 0
}

downloads() { # HOOKS
	watch_start "$1" --time-taken 30s "$MOVES"
	client "$MOVES_PORT" get /sendfile /splice /sendfile?2 /splice?2 /splice?3 >/dev/null
	watch_stop
	exact 5
}

@test "bodies by sendfile and by splice (sock)" {
	downloads sock
}

@test "bodies by sendfile and by splice (syscalls)" {
	downloads syscalls
}

uploads() { # HOOKS
	watch_start "$1" --time-taken 30s "$MOVES"
	client "$MOVES_PORT" uploads /upload 100000 5
	client "$MOVES_PORT" get /sendfile >/dev/null
	watch_stop
	exact 6
}

@test "uploads that are read by splice, one behind the other (sock)" {
	uploads sock
}

@test "uploads that are read by splice, one behind the other (syscalls)" {
	uploads syscalls
}

pool() { # HOOKS
	watch_start "$1" --status 200 --time-taken 30s --capture trace --limit 100 "$NGINX"
	client "$NGINX_PORT" get /big.bin?1 /small.txt /big.bin?2 /big.bin?3 >/dev/null
	wait_events 4 '.event == "ended"'
	watch_stop
	watch_clean
	total complete 4
	total requests 4
	incident_where '.url == "/big.bin?2"'
	between "$(fact .request.response_bytes)" 1000001 1000999 "response_bytes"
}

@test "nginx with 'aio threads': files that threads of a pool send (sock)" {
	pool sock
}

@test "nginx with 'aio threads': files that threads of a pool send (syscalls)" {
	pool syscalls
}

# Each is counted by its reply, and what was not seen has a name.
unseen_heads() { # HOOKS HOW
	local port
	port=$(free_port)
	start_on_port "$2" "$port" python3 "$LIVE_TESTS/servers/moves.py" "$port" "$LIVE/www/small.txt" "$2"
	watch_start "$1" --time-taken 30s "$STARTED"
	client "$port" get /sendfile /sendfile?2 /splice >/dev/null
	client "$port" get /splice >/dev/null
	watch_stop
	end_process "$STARTED"
	is "$WATCH_STATUS" 1 "exit code"
	total requests 0
	total unseen 4
	total blind 4
	total in_flight 0
}

@test "heads that are read by splice are counted as blind (sock)" {
	unseen_heads sock splice
}

@test "heads that are read by splice are counted as blind (syscalls)" {
	unseen_heads syscalls splice
}

@test "heads that are read by recvmmsg are counted as blind (sock)" {
	unseen_heads sock recvmmsg
}

@test "heads that are read by recvmmsg are counted as blind (syscalls)" {
	unseen_heads syscalls recvmmsg
}

blind() { # HOOKS BLIND
	[[ -n ${URING:-} ]] && ! gone "$URING" || skip "no compiler, or no io_uring here"
	watch_start "$1" --time-taken 30s "$URING"
	client "$URING_PORT" get /a /b /c >/dev/null
	watch_stop
	has "$(cat "$WATCH_ERR")" "process $URING has an io_uring: requests that it receives by that are not seen" "what is told"
	total requests 0
	total blind "$2"
}

@test "io_uring is told, and each receive is counted (sock)" {
	blind sock 3
}

@test "io_uring is told (syscalls)" {
	blind syscalls 0
}
