#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Who holds the request? Each server says which thread worked on which, many at once. The
# watch has to name that thread, or to say that it is not certain and have it among those
# that may be: never another one for certain.

load helpers

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq
}

teardown() {
	watch_kill
}

start_holder() { # KIND [WORKERS [UPSTREAM]]: in HOLDER, at HOLDER_PORT
	HOLDER_PORT=$(free_port)
	start_on_port "$1" "$HOLDER_PORT" python3 "$LIVE_TESTS/servers/holder.py" "$1" "$HOLDER_PORT" "${@:2}"
	HOLDER=$STARTED
}

# Asks COUNT at once, has all trapped, and compares with what the server says: RIGHT for
# certain, SEVERAL with the truth among them, WRONG.
ask_and_compare() { # PORT PATH COUNT
	client "$1" bodies "$2" "$3" | sed 's/,$//' >"$BATS_TEST_TMPDIR/truth"
	wait_events "$3" '.event == "ended"'
	watch_stop
	watch_clean
	total trapped "$3"
	read -r RIGHT SEVERAL WRONG < <(events '.event == "trapped"' | jq -rs --rawfile truth "$BATS_TEST_TMPDIR/truth" '
		($truth | split("\n") | map(select(. != "") | split(" ") | { (.[0]): (.[1] | split(",") | map(tonumber)) }) |
			add) as $of |
		map(.tid as $tid | [.holder.candidates[].tid] as $may | $of[.url] as $did |
			if .holder.certain then if $did | index($tid) then "right" else "wrong" end
			elif $did - $may != $did then "several" else "wrong" end) |
		[map(select(. == "right")), map(select(. == "several")), map(select(. == "wrong"))] | map(length) | @tsv')
	echo "# $BATS_TEST_DESCRIPTION: $RIGHT right, $SEVERAL several, $WRONG wrong" >&3
	is "$WRONG" 0 "wrong holders"
}

# Not certain: it says why, the one that is named comes first, each once.
doubts_are_told() {
	is "$(events '.event == "trapped" and (.holder.certain | not) and ((.holder.why // "") == "" or
		.holder.candidates[0].tid != .tid or
		([.holder.candidates[].tid] | length != (unique | length)))' | wc -l)" 0 "doubts without their words"
}

own_threads() { # COMMAND... with PORT in it: each request has a thread of its own
	local port
	port=$(free_port)
	start_on_port server "$port" "${@//PORT/$port}"
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	ask_and_compare "$port" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
	is "$(events '.event == "trapped"' | jq .tid | sort -u | wc -l)" 8 "different threads"
}

@test "gunicorn, eight processes" {
	need gunicorn
	own_threads gunicorn --chdir "$LIVE_TESTS/servers" -b 127.0.0.1:PORT --workers 8 wsgi:app
}

@test "gunicorn, one process and eight threads" {
	need gunicorn
	own_threads gunicorn --chdir "$LIVE_TESTS/servers" -b 127.0.0.1:PORT --threads 8 wsgi:app
}

@test "a pool that takes requests from a queue: another thread than the reader" {
	start_holder queue 8
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$SEVERAL" 8 "said not to be certain"
	doubts_are_told
}

@test "one request at a time through a queue: the worker is named first" {
	local i
	start_holder queue 4
	watch_start auto --time-taken 100ms --limit 100 --capture trace "$HOLDER"
	for i in 1 2 3; do
		client "$HOLDER_PORT" bodies "/work?ms=400&n=$i" 1 >>"$BATS_TEST_TMPDIR/did"
	done
	wait_events 3 '.event == "ended"'
	watch_stop
	watch_clean
	doubts_are_told
	diff <(sort "$BATS_TEST_TMPDIR/did") <(events '.event == "trapped"' | jq -r '"\(.url) \(.tid)"' | sort)
}

@test "more requests than workers: those that still wait in the queue belong to nobody" {
	start_holder queue 3
	watch_start auto --time-taken 700ms --limit 100 --capture trace "$HOLDER"
	client "$HOLDER_PORT" bodies '/work?ms=500' 9 >"$BATS_TEST_TMPDIR/did"
	wait_events 6 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(count_events '.event == "trapped" and .holder.certain')" 0 "said to be certain"
	doubts_are_told
}

@test "an event loop whose pool works: the loop reads and answers" {
	start_holder executor 8
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$SEVERAL" 8 "said not to be certain"
	doubts_are_told
}

@test "an event loop alone that waits for time to pass: for certain" {
	start_holder loop
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
}

@test "a process forked for each request: the child alone has the connection" {
	start_holder fork
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
	is "$(events '.event == "trapped"' | jq -r '"\(.chain[0].pid) \(.chain[0].via) \(.chain | length)"' | sort -u)" \
		"$HOLDER fork 2" "chains"
}

start_apache_with() { # MPM: at APACHE_PORT
	[[ -e /usr/lib/apache2/modules/mod_lua.so ]] || skip "Apache has no mod_lua"
	APACHE_PORT=$(free_port)
	fill apache-lua.conf.in PORT="$APACHE_PORT" MPM="$1" LIVE="$LIVE_TESTS" >"$LIVE/apache-$1.conf"
	# setsid: at its end it ends its whole process group
	start_on_port "apache-$1" "$APACHE_PORT" setsid apache2 -f "$LIVE/apache-$1.conf" -DFOREGROUND
}

apache() { # MPM
	need apache2
	start_apache_with "$1"
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	ask_and_compare "$APACHE_PORT" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
	is "$(events '.event == "trapped"' | jq .tid | sort -u | wc -l)" 8 "different threads"
}

@test "Apache, event: a listener, and workers that read" {
	apache event
}

@test "Apache, prefork" {
	apache prefork
}

@test "Node: one loop, for certain" {
	need node
	local port
	port=$(free_port)
	start_on_port loop "$port" node "$LIVE_TESTS/servers/pool.js" "$port"
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	ask_and_compare "$port" '/work?ms=800' 8
	is "$RIGHT" 8 "certain and right"
}

opens() { # PID: the thread of it that waits until somebody opens the other end
	OPENER=$(grep -ls "^257 " "/proc/$1/task"/*/syscall | cut -d/ -f5)
	[[ -n $OPENER ]]
}

@test "Node: a thread of libuv's pool works" {
	need node
	local port asker
	port=$(free_port)
	start_on_port pool "$port" node "$LIVE_TESTS/servers/pool.js" "$port"
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	watch_start auto --time-taken 300ms --capture trace "$STARTED"
	client "$port" status "/open?path=$BATS_TEST_TMPDIR/fifo" >/dev/null 3>&- &
	asker=$!
	wait_for 10 opens "$STARTED"
	wait_events 1 '.event == "trapped"'
	: >"$BATS_TEST_TMPDIR/fifo"
	wait "$asker"
	watch_stop
	watch_clean
	doubts_are_told
	is "$(events '.event == "trapped"' | jq "(.holder.certain | not) and .tid == $OPENER")" true "the pool's thread, not certain"
}

@test "Go: its scheduler moves requests, so never for certain" {
	need go
	local port path
	mkdir "$BATS_TEST_TMPDIR/go"
	cp "$LIVE_TESTS/servers/work.go" "$BATS_TEST_TMPDIR/go/"
	(cd "$BATS_TEST_TMPDIR/go" && HOME=$PWD GOCACHE=$PWD/cache GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED=0 \
		go build -o work work.go)
	port=$(free_port)
	start_on_port go "$port" "$BATS_TEST_TMPDIR/go/work" "$port"
	for path in /spin /block; do
		watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
		ask_and_compare "$port" "$path?ms=800" 8
		is "$SEVERAL" 8 "said not to be certain ($path)"
		doubts_are_told
	done
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	client "$port" bodies '/work?ms=800' 8 >/dev/null # waits in no thread at all
	wait_events 8 '.event == "ended"'
	watch_stop
	is "$(count_events '.event == "trapped" and .holder.certain')" 0 "said to be certain"
}

start_chain() { # UPSTREAM: at CHAIN_PORT
	CHAIN_PORT=$(free_port)
	fill chain.conf.in PORT="$CHAIN_PORT" UPSTREAM="$1" >"$LIVE/chain.conf"
	start_on_port chain "$CHAIN_PORT" nginx -c "$LIVE/chain.conf" -e "$LIVE/chain.error.log"
}

@test "five processes deep, over IPv4, IPv6 and a unix socket, ten at once" {
	need nginx
	start_holder threads
	start_holder threads 1 "127.0.0.1:$HOLDER_PORT"
	start_chain "127.0.0.1:$HOLDER_PORT"
	watch_start auto --time-taken 500ms --limit 100 --capture trace "$STARTED"
	ask_and_compare "$CHAIN_PORT" '/call?ms=1000' 10
	is "$RIGHT" 10 "certain and right"
	is "$(events '.event == "trapped"' | jq -c '[.chain[].process]' | sort -u)" \
		'["nginx","nginx","nginx","python3","python3"]' "chain"
	is "$(events '.event == "trapped"' | jq -r '.chain[1].via' | sort -u)" "unix:$LIVE/chain.sock" "second call"
}

calls() { # PATH MS
	start_holder threads
	local upstream=$HOLDER
	start_holder threads 1 "127.0.0.1:$HOLDER_PORT"
	watch_start auto --time-taken 400ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" "$1?ms=$2" 4
	is "$(events '.event == "trapped"' | jq .pid | sort -u)" "$upstream" "process"
}

@test "one call after the other, on one connection: the one that is under way" {
	calls /thrice 300
	is "$RIGHT" 4 "certain and right"
}

@test "several calls at the same time: the oldest, and the others are told" {
	calls /many 1000
	is "$RIGHT" 4 "certain and right"
	is "$(events '.event == "trapped"' | jq '.holder.candidates | length' | sort -u)" 2 "others"
}

@test "calls by threads that were started for them: followed, and said to be likely only" {
	calls /fan 1000
	is "$SEVERAL" 4 "said not to be certain"
	doubts_are_told
}

@test "a pool behind a queue calls another server: followed, and said to be likely only" {
	start_holder threads
	start_holder queue 4 "127.0.0.1:$HOLDER_PORT"
	watch_start auto --time-taken 400ms --limit 100 --capture trace "$HOLDER"
	ask_and_compare "$HOLDER_PORT" '/call?ms=1000' 4
	is "$SEVERAL" 4 "said not to be certain"
	doubts_are_told
}

@test "a call into another network name space is outside, not guessed" {
	need nsenter ip
	local inside outside port
	unshare -n true 2>/dev/null || skip "cannot make a network name space"
	start inside unshare -n sleep 60
	inside=$STARTED
	start outside unshare -n sleep 60
	outside=$STARTED
	other_space() { [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
	wait_for 5 other_space "$inside"
	wait_for 5 other_space "$outside"
	nsenter -t "$inside" -n ip link add in type veth peer name out netns "$outside" || skip "cannot make a veth pair"
	nsenter -t "$inside" -n sh -c 'ip addr add 10.77.0.1/24 dev in && ip link set in up && ip link set lo up'
	nsenter -t "$outside" -n sh -c 'ip addr add 10.77.0.2/24 dev out && ip link set out up && ip link set lo up'
	start far nsenter -t "$outside" -n python3 "$LIVE_TESTS/servers/holder.py" threads 10.77.0.2:8080
	start near nsenter -t "$inside" -n python3 "$LIVE_TESTS/servers/holder.py" threads 8081 1 10.77.0.2:8080
	listens() { nsenter -t "$1" -n bash -c "exec 4<>/dev/tcp/$2/$3"; }
	wait_for 10 listens "$inside" 10.77.0.2 8080
	wait_for 10 listens "$inside" 127.0.0.1 8081
	watch_start auto --time-taken 300ms --capture trace "$STARTED"
	nsenter -t "$inside" -n python3 "$LIVE_TESTS/client.py" 8081 status '/call?ms=900' >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -c '[.pid, (.chain | length), .holder.waits_for, .holder.outside]')" \
		"[$STARTED,1,\"tcp:10.77.0.2:8080\",true]" "holder"
}

@test "two watches trap the same request, each names the same thread" {
	start_holder threads
	local other=$BATS_TEST_TMPDIR/other one
	watch_start auto --time-taken 400ms --capture trace,stacks "$HOLDER"
	one=$WATCH_OUT
	mkdir "$other"
	env --default-signal=INT,TERM "$REQTRAP" watch --json -n 1 -o "$other/store" --time-taken 400ms \
		--capture trace,stacks "$HOLDER" >"$other/out" 2>"$other/err" 3>&- </dev/null &
	local second=$!
	remember "$second"
	wait_for 15 grep -q watching "$other/out"
	client "$HOLDER_PORT" bodies '/work?ms=2500' 1 >"$BATS_TEST_TMPDIR/did"
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	wait_for 15 gone "$second"
	wait "$second"
	is "$(cat "$BATS_TEST_TMPDIR/did")" "$(jq -r 'select(.event == "trapped") | "\(.url) \(.tid)"' "$one")" "the first watch"
	is "$(cat "$BATS_TEST_TMPDIR/did")" "$(jq -r 'select(.event == "trapped") | "\(.url) \(.tid)"' "$other/out")" "the second"
	is "$(jq -r 'select(.event == "trapped") | .capture.failed' "$one" "$other/out" | sort -u)" null "captures that failed"
}

# While wrk sends other requests, each with a URL of its own, through the same proxy over
# the same kept connections: no slow one is linked to another one's call.
@test "links under load: none is wrong" {
	need nginx wrk
	start_holder threads
	local PYTHON_PORT=$HOLDER_PORT load linked round
	start_nginx 2
	cat >"$BATS_TEST_TMPDIR/unique.lua" <<-'END'
		local n = 0
		function request()
			n = n + 1
			return wrk.format("GET", "/py/work?ms=" .. n % 3 .. "&n=" .. n)
		end
	END
	watch_start auto --time-taken 400ms --limit 1000 --slots 4096 --capture trace "$NGINX" "$HOLDER"
	wrk -t1 -c32 -d6s -s "$BATS_TEST_TMPDIR/unique.lua" "http://127.0.0.1:$NGINX_PORT/" >"$BATS_TEST_TMPDIR/wrk" 3>&- &
	load=$!
	for round in 1 2 3 4; do
		client "$NGINX_PORT" bodies "/py/work?ms=900&round=$round" 16 | sed 's,^/py,,' >>"$BATS_TEST_TMPDIR/did"
	done
	wait "$load"
	watch_stop
	watch_clean
	linked='.event == "trapped" and (.url | test("round=")) and (.chain | length) == 2'
	echo "# links under load: $(count_events "$linked") of $(wc -l <"$BATS_TEST_TMPDIR/did") linked, $(jq .requests <<<"$TOTALS") requests" >&3
	is "$(events "$linked and (.holder.certain | not)" | wc -l)" 0 "doubts"
	is "$(events "$linked" | jq -r '"\(.url | ltrimstr("/py")) \(.tid)"' | sort | comm -23 - <(sort "$BATS_TEST_TMPDIR/did"))" "" \
		"wrong links"
	between "$(count_events "$linked")" 60 64 "linked"
}
