#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Where the time went, against servers with a stopwatch of their own: each part has the length
# that the server says, the object's name and who was at its other end, and all of
# them together are the time taken.

load helpers

setup_file() {
	live_begin
	start_python
	STOP_PORT=$(free_port)
	: >"$LIVE/locked"
	start_on_port stopwatch "$STOP_PORT" python3 "$LIVE_TESTS/servers/stopwatch.py" "$STOP_PORT" "$PYTHON_PORT" \
		"$LIVE/locked"
	STOP=$STARTED
	start_fpm
	start_nginx
	export STOP STOP_PORT
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq flock
}

teardown() {
	watch_kill
}

# Somebody else has the lock, until 60 ms after somebody waits for it.
hold_the_lock() {
	local waits
	waits="-> FLOCK .*:$(stat -c %i "$LIVE/locked") "
	flock -o "$LIVE/locked" sh -c "echo held; until grep -q -e '$waits' /proc/locks; do sleep 0.01; done; sleep 0.06" \
		>"$BATS_TEST_TMPDIR/held" 3>&- &
	wait_for 5 grep -q held "$BATS_TEST_TMPDIR/held"
}

# The incident of the request, and the server's own words on it in $TOOK, $USER_MS, $KERNEL_MS.
answered() { # URL ANSWER
	read -r _ _ TOOK USER_MS KERNEL_MS <<<"$2"
	incident_where ".url == \"$1\""
	times_add_up
	# What nothing explains is less than a hundredth.
	is "$(fact '([.spending[] | select(.kind == "unattributed") | .ns] | add // 0) <= .elapsed_ns / 100')" true \
		"unattributed ($(fact '[.spending[] | select(.kind == "unattributed") | .ns]'))"
}

# The row of the wait: no longer than the scene took, and with the time on the CPU and for
# want of one all of it.
row() { # FILTER of a row, that has .spending
	local ns others
	ns=$(fact "[.spending[] | map_values(. // \"\") | select(.kind == \"wait\" and ($1)) | .ns] | add // 0")
	others=$(fact '[.spending[] | select(.kind == "cpu" or .kind == "runnable") | .ns] | add // 0')
	awk -v ns="$ns" -v others="$others" -v took="$TOOK" 'BEGIN {
		exit !(ns / 1e6 <= took + 5 && (ns + others) / 1e6 >= took * 0.75 && ns > 0) }' ||
		fail "'$1' waited $ns ns, $others ns on a CPU or ready, of $TOOK ms: $(fact '.spending | tostring')"
}

# User and kernel as the server's own accounting has them, together and in proportion.
cpu_row() {
	awk -v user="$(fact '[.spending[] | .user_ns // 0] | add')" -v kernel="$(fact '[.spending[] | .kernel_ns // 0] | add')" \
		-v u="$USER_MS" -v k="$KERNEL_MS" 'BEGIN {
		user /= 1e6; kernel /= 1e6; all = u + k
		exit !(user > all * 0.6 && user + kernel > all * 0.85 && user + kernel < all * 1.15 + 20 &&
			kernel < k + all * 0.3) }' ||
		fail "CPU: the server says $USER_MS + $KERNEL_MS ms: $(fact '.spending | tostring')"
}

ask() { # URL: its answer
	client "$STOP_PORT" get "$1"
}

@test "python: sleep, CPU, lock of a file, disk, upstream call, child, pipe, lock of a thread" {
	local scene
	declare -A answer
	watch_start auto --status 200 --limit 100 --capture trace "$STOP"
	for scene in sleep upstream poll child pipe futex file; do
		answer[$scene]=$(ask "/$scene?ms=60")
	done
	answer[cpu]=$(ask "/cpu?ms=250")
	hold_the_lock
	answer[flock]=$(ask "/flock?ms=60")
	wait_events 9 '.event == "ended"'
	watch_stop
	watch_clean

	answered '/sleep?ms=60' "${answer[sleep]}"
	row '.what == "sleep"'
	answered '/upstream?ms=60' "${answer[upstream]}"
	row ".what == \"socket\" and (.object | test(\"tcp 127.0.0.1:[0-9]+ -> 127.0.0.1:$PYTHON_PORT\")) and .peer == \"python3 $PYTHON\""
	answered '/poll?ms=60' "${answer[poll]}"
	row ".call == \"pselect6\" and .object == \"the answer of tcp:127.0.0.1:$PYTHON_PORT\" and .peer == \"python3 $PYTHON\""
	answered '/child?ms=60' "${answer[child]}"
	row '.what == "child" and (.object | test("^child process [0-9]+$")) and (.peer | test("^sleep [0-9]+$"))'
	answered '/pipe?ms=60' "${answer[pipe]}"
	row '.what == "pipe" and (.object | startswith("pipe")) and (.peer | test("^sh [0-9]+$"))'
	answered '/futex?ms=60' "${answer[futex]}"
	row '.what == "futex" and (.object | startswith("futex 0x"))'
	# Waits for the interpreter's lock, too, are futexes: one that its own timer of 5 ms has ended has no waker.
	is "$(fact '[.spending[] | select(.what == "futex")] | max_by(.ns).waker | test("^python3 [0-9]+$")')" true "waker of the lock"
	answered '/flock?ms=60' "${answer[flock]}"
	row ".what == \"file lock\" and .object == \"file $LIVE/locked\" and (.peer | test(\"^(flock|sh) [0-9]+$\"))"
	answered '/file?ms=60' "${answer[file]}"
	row ".call == \"fsync\" and .what == \"block\" and .object == \"file $LIVE/locked.data\""
	answered '/cpu?ms=250' "${answer[cpu]}"
	cpu_row
}

# The id that wait4 was given is the one in the container; the page has the one outside.
@test "a child of a server in a container: named, with its id outside" {
	unshare -p -f true 2>/dev/null || skip "cannot make a pid name space"
	local port box server
	port=$(free_port)
	start_on_port box "$port" unshare -p -f --kill-child python3 "$LIVE_TESTS/servers/stopwatch.py" "$port" \
		"$PYTHON_PORT" "$LIVE/locked"
	box=$STARTED
	server=$(children "$box")
	watch_start auto --time-taken 200ms --capture trace,stacks "$server"
	client "$port" get "/child?ms=600" >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	incident_where '.url == "/child?ms=600"'
	is "$(fact '[.spending[] | select(.what == "child" and .peer) | .peer | test("^sleep [0-9]+$")] | tostring')" "[true]" \
		"whom it waited for"
	end_process "$box"
}

@test "php behind nginx: sleep, CPU, lock of a file, upstream call, pipe" {
	need nginx php-fpm8.2
	local scene url
	declare -A answer
	watch_start auto --status 200 --limit 100 --capture trace "$NGINX" "$FPM"
	url="/unix/stopwatch.php?port=$PYTHON_PORT&file=$LIVE/locked"
	for scene in sleep upstream pipe; do
		answer[$scene]=$(client "$NGINX_PORT" get "$url&ms=60&scene=$scene")
	done
	answer[cpu]=$(client "$NGINX_PORT" get "$url&ms=250&scene=cpu")
	hold_the_lock
	answer[flock]=$(client "$NGINX_PORT" get "$url&ms=60&scene=flock")
	wait_events 5 '.event == "ended"'
	watch_stop
	watch_clean

	answered "$url&ms=60&scene=sleep" "${answer[sleep]}"
	row '.what == "sleep"'
	answered "$url&ms=60&scene=upstream" "${answer[upstream]}"
	row ".object == \"the answer of tcp:127.0.0.1:$PYTHON_PORT\" and .peer == \"python3 $PYTHON\""
	answered "$url&ms=60&scene=pipe" "${answer[pipe]}"
	row '.what == "pipe" and (.object | startswith("pipe")) and (.peer | test("^sh [0-9]+$"))'
	answered "$url&ms=60&scene=flock" "${answer[flock]}"
	row ".what == \"file lock\" and .object == \"file $LIVE/locked\" and (.peer | test(\"^(flock|sh) [0-9]+$\"))"
	answered "$url&ms=250&scene=cpu" "${answer[cpu]}"
	cpu_row
}

# One request waits for a timer of 100 ms, another one computes from before that on.
behind_another() { # PORT TARGET
	watch_start auto --time-taken 500ms --path '/slow*' --limit 100 --capture trace "$2"
	client "$1" get /fast >/dev/null # the loop has gone to its poll since
	# Without a program to start in between: the other one comes before the timer is due.
	exec 5<>"/dev/tcp/127.0.0.1/$1" 6<>"/dev/tcp/127.0.0.1/$1"
	printf 'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' '/slow?ms=100' >&5
	printf 'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' '/spin?ms=1200&who=other' >&6
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	times_add_up
	is "$(fact '[.spending[] | select(.kind == "unattributed")] | length')" 0 "unattributed"
	is "$(fact '.spending | max_by(.ns) | [.kind, .object, .open] | join(" ")')" \
		"behind GET /spin?ms=1200&who=other true" "the largest part ($(fact '.spending | tostring'))"
	# What it did not wait for the other it waited in the poll, for its own timer.
	is "$(fact '[.spending[] | select(.kind == "behind" or .call == "epoll_wait" or .call == "epoll_pwait") | .ns] | add >= 400000000')" \
		true "behind and in the poll: $(fact '.spending | tostring')"
	has "$(fact .verdict)" "waited behind GET /spin?ms=1200&who=other" "the verdict"
	has "$(cat "$INCIDENT/report.txt")" "behind GET /spin?ms=1200&who=other" "the page"
	is "$(fact '[.trace[] | select(.kind == "behind" and .name == "GET /spin?ms=1200&who=other")] | length >= 1')" true \
		"the loop's time line"
	exec 5>&- 6>&-
}

@test "node: blocked behind another request of its loop, which is named" {
	need node
	start_node
	behind_another "$NODE_PORT" "$NODE"
}

@test "asyncio: blocked behind another request of its loop, which is named" {
	start_loop
	behind_another "$LOOP_PORT" "$LOOP"
}

start_loop() {
	LOOP_PORT=$(free_port)
	start_on_port loop "$LOOP_PORT" python3 "$LIVE_TESTS/servers/loop.py" "$LOOP_PORT" "$PYTHON_PORT"
	LOOP=$STARTED
}

# The poll of a loop is for whatever comes; a request's wait there is for the answer it asked for.
waits_for_the_answer() { # PORT URL TARGET
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$3"
	client "$1" get /small.txt >/dev/null
	client "$1" get "$2" >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	times_add_up
	is "$(fact '[.spending[] | select(.kind == "unattributed") | .ns] | add // 0 | . <= 3000000')" true "unattributed"
}

@test "asyncio: the wait in the poll is for the answer of the call under way" {
	start_loop
	waits_for_the_answer "$LOOP_PORT" '/call?ms=600' "$LOOP"
	# Its call is followed: the time is that of who answers it.
	is "$(fact '.chain[0].pid')" "$LOOP" "first of the chain"
	is "$(fact '.chain[1].pid')" "$PYTHON" "who answers"
	has "$(fact '.trace[] | select(.pid == '"$LOOP"' and .kind == "wait" and .dur_ns > 200000000) | .detail')" \
		"the answer of tcp:127.0.0.1:$PYTHON_PORT" "what its poll is for"
}

@test "a server that somebody else has stopped: by a signal, not by the capture" {
	start_python
	watch_start auto --time-taken 1s --capture trace,stacks "$PYTHON"
	client "$PYTHON_PORT" get '/slow?ms=500' >"$BATS_TEST_TMPDIR/answer" &
	local asking=$!
	remember "$asking"
	wait_for 10 sleeps_now || fail "it does not sleep"
	kill -STOP "$PYTHON"
	wait_for 20 trapped_once || fail "it is not trapped"
	kill -CONT "$PYTHON"
	wait "$asking" || fail "no answer"
	watch_stop
	incident_of
	is "$(jq -r .cause "$INCIDENT/incident.json")" stopped "the cause"
	has "$(fact .verdict)" "stood still, stopped by a signal" "the verdict"
	between "$(jq '[.spending[] | select(.call == "stopped by a signal") | .ns] | add / 1e6' "$INCIDENT/incident.json")" 800 1010 "ms"
}

# Idle in its poll when it is stopped: the stop is no work of the loop, and of nobody's request.
@test "an event loop that somebody else has stopped" {
	start_loop
	watch_start auto --time-taken 1s --capture trace "$LOOP"
	client "$LOOP_PORT" get '/slow?ms=400' >"$BATS_TEST_TMPDIR/answer" &
	local asking=$!
	remember "$asking"
	wait_for 10 loop_has_one || fail "it is not in its poll with a request"
	kill -STOP "$LOOP"
	wait_for 20 trapped_once || fail "it is not trapped"
	kill -CONT "$LOOP"
	wait "$asking" || fail "no answer"
	wait_events 1 '.event == "ended"'
	watch_stop
	incident_of
	times_add_up
	is "$(fact .cause)" stopped "the cause ($(fact '.spending | tostring'))"
	is "$(fact '.spending | max_by(.ns) | [.call, .open] | join(" ")')" "stopped by a signal true" "the largest part"
	is "$(fact '[.spending[] | select(.kind == "loop" or .kind == "cpu") | .ns] | add // 0 | . < 100000000')" true \
		"at work ($(fact '.spending | tostring'))"
}

loop_has_one() {
	[[ -n $(ss -Htn state established "sport = :$LOOP_PORT") ]] && grep -qsE '^(232|281) ' "/proc/$LOOP/syscall"
}

@test "a server that a debugger has stopped: which, and that it is no capture" {
	need gdb
	start_python
	watch_start auto --time-taken 1s --capture trace "$PYTHON"
	client "$PYTHON_PORT" get '/slow?ms=500' >"$BATS_TEST_TMPDIR/answer" &
	local asking=$! go=$BATS_TEST_TMPDIR/go debugger
	remember "$asking"
	wait_for 10 sleeps_now || fail "it does not sleep"
	gdb -batch -nx -p "$PYTHON" -ex "shell until test -e '$go'; do sleep 0.05; done" >"$BATS_TEST_TMPDIR/gdb" 2>&1 3>&- &
	debugger=$!
	remember "$debugger"
	wait_for 20 trapped_once || fail "it is not trapped"
	: >"$go"
	wait "$debugger" "$asking" || fail "no answer"
	watch_stop
	incident_of
	times_add_up
	is "$(fact .cause)" traced "the cause ($(fact '.spending | tostring'))"
	has "$(fact .verdict)" "stood still, stopped by the tracer gdb $debugger" "the verdict"
}

sleeps_now() {
	grep -qs '^230 ' "/proc/$PYTHON/task"/*/syscall
}

trapped_once() {
	[[ -n $(events '.event == "trapped"') ]]
}

# Nobody has seen the loop in its poll yet: it is one all the same.
@test "asyncio: the first requests that are seen of a loop, several at a time" {
	start_loop
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$LOOP"
	client "$LOOP_PORT" concurrent '/slow?ms=600' 4
	wait_events 4 '.event == "ended"'
	watch_stop
	watch_clean
	for INCIDENT in $(events '.event == "trapped"' | jq -r .incident); do
		times_add_up
		is "$(fact '[.spending[] | select(.kind == "unattributed")] | length')" 0 "unattributed of $(fact .request.url)"
		has "$(fact '.spending | max_by(.ns) | .call')" "epoll_" "where the first ones waited ($(fact '.spending | tostring'))"
	done
}

@test "one after the other from one read: the second waits behind the first" {
	watch_start auto --time-taken 200ms --limit 100 --capture trace "$PYTHON"
	client "$PYTHON_PORT" pipeline '/slow?ms=400&n=1' '/slow?ms=100&n=2'
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	incident_where '.url == "/slow?ms=400&n=1"'
	times_add_up
	is "$(fact '.spending | max_by(.ns) | .call')" clock_nanosleep "the first"
	incident_where '.url == "/slow?ms=100&n=2"'
	times_add_up
	is "$(fact '[.spending[] | select(.kind == "unattributed")] | length')" 0 "unattributed"
	is "$(fact '.spending | max_by(.ns) | [.kind, .object] | join(" ")')" "behind GET /slow?ms=400&n=1" "the second"
	is "$(fact .cause)" behind-another "its cause"
}
