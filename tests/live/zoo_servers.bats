#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Real servers and languages: dumped again and again while a client asks them things.
# Each request is answered as it must be, and the core opens with all threads.

load helpers
load zoo

setup_file() {
	live_begin
}

teardown_file() {
	live_end
}

setup() {
	zoo_setup
}

# Dumps of TARGET while a client asks for PATH on a connection that is kept; a wrong
# answer, or none, is its exit code.
asked_and_dumped() { # PORT PATH REQUESTS METHOD [PROGRAM]
	local asking i n
	client "$1" repeat "$2" "$3" >"$BATS_TEST_TMPDIR/client" 2>&1 3>&- </dev/null &
	asking=$!
	remember "$asking"
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump --pause-budget 2s
		dumped "$4"
		not_traced
		is "$(jq .complete <<<"$output")" true "complete"
		if ((i == 0)); then
			! gone "$asking" || fail "the client had ended before the dump: $(cat "$BATS_TEST_TMPDIR/client")"
			n=$(jq .threads <<<"$output")
			is "$(eu-readelf -n "$CORE" 2>/dev/null | grep -c ' PRSTATUS')" "$n" "threads in the core"
			is "$(gdb -batch -nx -ex 'info threads' ${5:+"$5"} -c "$CORE" 2>/dev/null </dev/null | grep -cE '^[* ] +[0-9]+ ')" \
				"$n" "threads of gdb"
			is "$(eu-stack --core="$CORE" 2>/dev/null | grep -c '^TID')" "$n" "threads of eu-stack"
		fi
		rm "$CORE"
	done
	dump --snapshot stop --pause-budget 10s
	dumped stop
	not_traced
	rm "$CORE"
	wait "$asking" || fail "the client is not content: $(cat "$BATS_TEST_TMPDIR/client")"
	is "$(client "$1" status "$2" | cut -d' ' -f1)" 200 "an answer afterwards"
}

not_traced() {
	is "$(cat /proc/"$TARGET"/task/*/status 2>/dev/null | awk '/^TracerPid/ && $2 != 0 || /^State:.[TtZ]/' | wc -l)" 0 \
		"traced, stopped or dead threads"
	is "$(children "$TARGET" | while read -r pid; do grep -l '^State:.Z' "/proc/$pid/status"; done)" "" "zombies"
}

@test "Python, a thread for each connection" {
	start_python
	TARGET=$PYTHON
	asked_and_dumped "$PYTHON_PORT" /fast 1500 clone
}

@test "Python, one event loop (asyncio)" {
	local port
	port=$(free_port)
	start_on_port asyncio "$port" python3 "$LIVE_TESTS/servers/events.py" "$port"
	TARGET=$STARTED
	asked_and_dumped "$port" /fast 4000 clone
	is "$(client "$port" get /interrupted)" "200 1 0" "calls that were interrupted"
}

@test "Node" {
	need node
	start_node
	TARGET=$NODE
	asked_and_dumped "$NODE_PORT" /fast 5000 clone "$(command -v node)"
}

@test "Go, a hundred goroutines that check their memory" {
	need go
	mkdir "$BATS_TEST_TMPDIR/go"
	cp "$LIVE_TESTS/servers/server.go" "$BATS_TEST_TMPDIR/go/"
	(cd "$BATS_TEST_TMPDIR/go" && HOME=$PWD GOCACHE=$PWD/cache GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED=0 \
		go build -o server server.go)
	local port
	port=$(free_port)
	start_on_port go "$port" "$BATS_TEST_TMPDIR/go/server" "$port"
	TARGET=$STARTED
	asked_and_dumped "$port" /fast 5000 clone "$BATS_TEST_TMPDIR/go/server"
	is "$(client "$port" get /wrong)" "200 1 0" "pages found changed"
}

@test "nginx's worker, and php-fpm's behind it" {
	start_fpm
	start_nginx 1
	TARGET=$(children "$NGINX")
	asked_and_dumped "$NGINX_PORT" /small.txt 4000 clone "$(command -v nginx)"
	is "$(client "$NGINX_PORT" status /tcp/hello.php | cut -d' ' -f1)" 200 "PHP"
	TARGET=$(children "$FPM" | tail -n 1)
	asked_and_dumped "$NGINX_PORT" /tcp/hello.php 3000 clone
	TARGET=$FPM
	asked_and_dumped "$NGINX_PORT" /tcp/hello.php 3000 clone
}

@test "Apache's workers and their parent" {
	start_apache
	local pid
	for pid in $(children "$APACHE" | tail -n 1) "$APACHE"; do
		TARGET=$pid
		asked_and_dumped "$APACHE_PORT" /small.txt 4000 clone "$(command -v apache2)"
	done
}
