#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A watch that begins when the server is at work already: what was under way is counted and
# shown as 'start unknown', nothing of it fires a rule of time, and from the next request on
# all is exact. For a count that can be compared the server is stopped while the watch begins:
# what was answered until then is none of its business, all the rest is.

load helpers

setup_file() {
	live_begin
	start_python
	start_nginx 2
	start_apache
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx apache2 jq
	STOPPED=()
}

teardown() {
	go_on
	watch_kill
}

go_on() {
	local pid
	for pid in ${STOPPED[@]+"${STOPPED[@]}"}; do
		kill -CONT "$pid"
	done
	STOPPED=()
}

halt() { # PID...: it, then it forks no more, and its children
	local pid child
	for pid; do
		kill -STOP "$pid"
		STOPPED+=("$pid")
		for child in $(children "$pid"); do
			kill -STOP "$child"
			STOPPED+=("$child")
		done
	done
}

load_start() { # ARGUMENT...: of load.py
	mkfifo "$BATS_TEST_TMPDIR/orders"
	python3 "$LIVE_TESTS/load.py" "$@" <"$BATS_TEST_TMPDIR/orders" >"$BATS_TEST_TMPDIR/load" 3>&- &
	LOADER=$!
	remember "$LOADER"
	exec 7>"$BATS_TEST_TMPDIR/orders"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/load" || fail "the load does not begin"
}

load_count() { # then $ANSWERED
	local before
	before=$(wc -l <"$BATS_TEST_TMPDIR/load")
	echo count >&7
	wait_for 10 longer "$before"
	read -r ANSWERED _ < <(tail -n 1 "$BATS_TEST_TMPDIR/load")
}

longer() {
	(($(wc -l <"$BATS_TEST_TMPDIR/load") > $1))
}

load_past() { # NUMBER answered
	load_count
	((ANSWERED > $1))
}

load_stands() { # nothing more is answered
	local before=${ANSWERED:-x}
	load_count
	[[ $before == "$ANSWERED" ]]
}

load_end() {
	echo end >&7
	exec 7>&-
	wait_for 20 gone "$LOADER" || fail "the load does not end"
	wait "$LOADER" || fail "the load: $(cat "$BATS_TEST_TMPDIR/load")"
	read -r ANSWERED _ < <(tail -n 1 "$BATS_TEST_TMPDIR/load")
}

in_the_midst() { # HOOKS LEAST-UNKNOWN MOST-UNKNOWN TARGETS LOAD...
	local least=$2 most=$3 targets=$4 before seen unknown
	load_start "${@:5}"
	wait_for 20 load_past 300
	# shellcheck disable=SC2086 # several
	halt $targets
	wait_for 10 load_stands
	before=$ANSWERED
	# shellcheck disable=SC2086
	watch_start "$1" --time-taken 10s --status 500-599 --capture trace $targets 7>&-
	go_on
	wait_for 20 load_past $((before + 1000))
	load_end
	watch_stop
	seen=$(jq .requests <<<"$TOTALS") unknown=$(jq .start_unknown <<<"$TOTALS")
	between "$((seen + unknown))" "$((ANSWERED - before))" "$((ANSWERED - before + ${APART:-0}))" \
		"requests and those that had begun before ($unknown)"
	between "$unknown" "$least" "$most" "those that had begun before"
	total unseen 0
	total refused 0
	total in_flight 0
	total start_unknown_in_flight 0
	is "$(jq '.requests + .inner - .complete - .gap - .end_inferred - .aborted' <<<"$TOTALS")" 0 "requests without a verdict"
	is "$(jq '.gap + .end_inferred + .aborted' <<<"$TOTALS")" 0 "requests whose end is not sure"
}

@test "in the midst of load: nginx, small files (sock)" {
	in_the_midst sock 0 2 "$NGINX" "$NGINX_PORT" 32 /small.txt
}

@test "in the midst of load: nginx, small files (syscalls)" {
	in_the_midst syscalls 0 2 "$NGINX" "$NGINX_PORT" 32 /small.txt
}

@test "in the midst of load: nginx, large files (sock)" {
	in_the_midst sock 0 32 "$NGINX" "$NGINX_PORT" 32 /big.bin
}

# A call that the proxy sent before the watch, and that is read after its begin, may be a request of its own.
@test "in the midst of load: a proxy and the server behind it, both watched (sock)" {
	APART=24 in_the_midst sock 10 24 "$NGINX $PYTHON" "$NGINX_PORT" 24 '/py/slow?ms=20'
}

@test "in the midst of load: a proxy and the server behind it, both watched (syscalls)" {
	APART=24 in_the_midst syscalls 10 24 "$NGINX $PYTHON" "$NGINX_PORT" 24 '/py/slow?ms=20'
}

@test "in the midst of load: a server with a thread for each connection (sock)" {
	in_the_midst sock 10 24 "$PYTHON" "$PYTHON_PORT" 24 '/slow?ms=20'
}

@test "in the midst of load: Apache (sock)" {
	in_the_midst sock 0 32 "$APACHE" "$APACHE_PORT" 32 /small.txt
}

# Known to the byte: three that run, one that is half read, one whose reply is half out, and
# three connections at rest. Then all goes on.
under_way() { # HOOKS
	local idler pids=() i
	mkfifo "$BATS_TEST_TMPDIR/rest"
	client "$PYTHON_PORT" idle 3 '/fast' <"$BATS_TEST_TMPDIR/rest" >"$BATS_TEST_TMPDIR/idle" 3>&- &
	idler=$!
	exec 7>"$BATS_TEST_TMPDIR/rest"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/idle"
	for i in 1 2 3; do
		client "$PYTHON_PORT" get "/slow?ms=4000&n=$i" '/fast?then' >/dev/null 3>&- 7>&- &
		pids+=("$!")
	done
	mkfifo "$BATS_TEST_TMPDIR/second"
	client "$PYTHON_PORT" halves /echo '/chunked?ms=4000' <"$BATS_TEST_TMPDIR/second" >"$BATS_TEST_TMPDIR/halves" 3>&- 7>&- &
	pids+=("$!")
	exec 8>"$BATS_TEST_TMPDIR/second"
	wait_for 10 grep -q half "$BATS_TEST_TMPDIR/halves"
	wait_for 10 sleeping "$PYTHON" 4
	watch_start "$1" --time-taken 300ms --status 200 --limit 100 --capture trace "$PYTHON" 7>&- 8>&-
	exec 7>&- 8>&-
	for i in "$idler" "${pids[@]}"; do
		wait "$i"
	done
	watch_stop
	watch_clean
	total requests 7 # three after a rest, three behind the slow ones, one behind the half read one
	total start_unknown 5
	total start_unknown_in_flight 0
	total complete 7
	total unseen 0
	# Of the five the one whose status line was out already cannot be caught by its status.
	is "$(events '.event == "trapped"' | jq -r '[.reason, .start_unknown, .status] | join(" ")' | sort | uniq -c | xargs)" \
		"7 STATUS_CODE false 200 4 STATUS_CODE true 200" "trapped"
	INCIDENT=$(events '.event == "trapped" and .start_unknown' | jq -r .incident | head -n 1)
	has "$(cat "$INCIDENT/report.txt")" "had begun before the watch" "the page"
	is "$(fact .request.start_unknown)" true "in the facts"
}

sleeping() { # PID COUNT: threads in clock_nanosleep
	(($(grep -ls "^230 " "/proc/$1/task"/*/syscall | wc -l) >= $2))
}

@test "under way when the watch begins: running, half read, half answered, at rest (sock)" {
	under_way sock
}

@test "under way when the watch begins: running, half read, half answered, at rest (syscalls)" {
	under_way syscalls
}
